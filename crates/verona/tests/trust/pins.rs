//! Keys that the operator names for a peer (TLS-34).

use verona::Config;
use verona_proto::learned::Phase;
use verona_proto::policy::{DomainPattern, IdentityMethod, PeerRule};

use crate::certificate::Certificate;
use crate::log::Log;
use crate::server::{Server, end, talk};
use crate::world::{CAPULET, MONTAGUE, World, domain};

/// capulet.lit, for which nothing but these keys proves montague.lit.
fn pinning(world: &World, pins: Vec<[u8; 32]>) -> Config {
    let mut config = world.config(CAPULET, Some(&world.authority.issue(CAPULET)));
    let mut rule = PeerRule::new(DomainPattern::Exact(domain(MONTAGUE)));
    rule.identity = Some(vec![IdentityMethod::Pin]);
    rule.pins = Some(pins);
    config.policy.peers.push(rule);
    config
}

#[tokio::test]
async fn the_key_that_is_pinned_serves_whoever_signed_it() {
    //= TLS-34
    for montague_dials in [false, true] {
        let world = World::new();
        let shown = Certificate::self_signed(MONTAGUE);
        // The next one is named before it is there.
        let next = Certificate::self_signed(MONTAGUE);
        let ours = pinning(&world, vec![next.pin(), shown.pin()]);
        let mut capulet = Server::start(ours).await;
        let mut montague = Server::start(world.config(MONTAGUE, Some(&shown))).await;
        match montague_dials {
            false => talk(&mut capulet, &mut montague).await,
            true => talk(&mut montague, &mut capulet).await,
        }
        let (_, receive, send) = capulet.grounds();
        assert_eq!((receive.by, send.by), ("pin", "pin"));
        assert_eq!(capulet.crossed("db:result"), (0, 0));
        // What the operator is to copy is what is pinned.
        let certificate = capulet.link().tls.unwrap().certificate.unwrap();
        assert_eq!(certificate.public_key, shown.pin());
        assert!(capulet.peer().learned.proven.is_empty());
        end(capulet, montague).await;
    }
}

#[tokio::test]
async fn another_key_is_refused_whoever_signed_it() {
    //= TLS-34
    //= BIDI-23
    let world = World::new();
    let pinned = Certificate::self_signed(MONTAGUE).pin();
    for (shown, because) in [
        (
            world.authority.issue(MONTAGUE),
            "the peer's certificate is valid, but the policy for this peer does not accept certificates; its key is none \
             of those that are pinned for it",
        ),
        (
            Certificate::self_signed(MONTAGUE),
            "its key is none of those that are pinned for it",
        ),
    ] {
        let log = Log::new();
        let mut capulet = Server::start(pinning(&world, vec![pinned])).await;
        let mut montague = Server::start(world.config(MONTAGUE, Some(&shown))).await;
        let bounce = capulet.bounce().await;
        let failure = capulet.failure();
        assert_eq!(failure.phase, Phase::Identity);
        for told in [&bounce, &failure.cause] {
            assert!(told.contains(because), "{told}");
        }
        let bounce = montague.bounce().await;
        assert!(bounce.contains("not-authorized"), "{bounce}");
        assert_eq!(capulet.crossed(">EXTERNAL<"), (0, 1), "not offered");
        let key = "refused the peer's dialback key (not-authorized): ";
        let said = log.says(&["WARN", "remote=montague.lit", key, because]);
        assert!(said, "{}", log.all());
        end(capulet, montague).await;
    }
}
