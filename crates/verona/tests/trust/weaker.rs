//! A peer that proved itself by its certificate once, and comes back with less (contract §3, `weaker`).

use verona::{Config, LearnedPeer};
use verona_proto::dialback::{IssuedKeys, Secret};
use verona_proto::grounds::{Assurance, Identity, Strength};
use verona_proto::learned::Phase;
use verona_proto::policy::Weaker;

use crate::certificate::Certificate;
use crate::log::Log;
use crate::server::{Server, end, talk};
use crate::world::{CAPULET, MONTAGUE, World, domain};

/// What is read when a peer offers less.
const LESS: &str = "the peer proved itself by its certificate in the last 30 days and offers only dns (the peer's \
    certificate is not trusted: self-signed";
/// And what to do.
const WAY_OUT: &str = "; if that is meant, forget what is known of it (`verona forget DOMAIN`), or set weaker = \"allow\" \
    for it";
/// What the peer reads, which is told no more than that.
const REFUSED: &str = "could not accept our dialback key: policy-violation";

fn ours(world: &World, learned: Vec<LearnedPeer>) -> Config {
    let mut config = world.config(CAPULET, Some(&world.authority.issue(CAPULET)));
    config.learned = learned;
    config
}

fn theirs(world: &World, shown: &Certificate) -> Config {
    world.config(MONTAGUE, Some(shown))
}

/// What capulet.lit knows of montague.lit, which met it with a good certificate.
async fn acquainted(world: &World) -> Vec<LearnedPeer> {
    let mut capulet = Server::start(ours(world, Vec::new())).await;
    let good = world.authority.issue(MONTAGUE);
    let mut montague = Server::start(theirs(world, &good)).await;
    talk(&mut capulet, &mut montague).await;
    let known = capulet.peer().learned;
    assert_eq!(known.proven[0].strength, Strength::Certificate);
    end(capulet, montague).await;
    vec![known]
}

#[tokio::test]
async fn a_server_that_has_less_than_before_is_refused_until_it_is_forgotten() {
    //= TLS-34
    //= BIDI-23
    let world = World::new();
    let mut capulet = Server::start(ours(&world, Vec::new())).await;
    let good = world.authority.issue(MONTAGUE);
    let mut montague = Server::start(theirs(&world, &good)).await;
    talk(&mut capulet, &mut montague).await;
    montague.end().await;
    let shown = Certificate::self_signed(MONTAGUE);
    let mut montague = Server::start(theirs(&world, &shown)).await;
    let bounce = capulet.bounce().await;
    let failure = capulet.failure();
    assert_eq!(failure.phase, Phase::Identity);
    for told in [&bounce, &failure.cause] {
        assert!(told.contains(LESS) && told.contains(WAY_OUT), "{told}");
    }
    assert!(capulet.engine.handle().forget(&domain(MONTAGUE)));
    talk(&mut capulet, &mut montague).await;
    let (_, receive, _) = capulet.grounds();
    assert_eq!(receive.identity, Identity::Resolution(Assurance::Dns));
    end(capulet, montague).await;
}

#[tokio::test]
async fn the_memory_outlives_the_process_and_the_operator_may_overrule_it() {
    //= TLS-34
    let world = World::new();
    let learned = acquainted(&world).await;
    let shown = Certificate::self_signed(MONTAGUE);
    for weaker in [Weaker::Refuse, Weaker::Allow] {
        for montague_dials in [false, true] {
            let mut config = ours(&world, learned.clone());
            config.policy.defaults.weaker = weaker;
            let mut capulet = Server::start(config).await;
            let mut montague = Server::start(theirs(&world, &shown)).await;
            match (weaker, montague_dials) {
                (Weaker::Allow, false) => talk(&mut capulet, &mut montague).await,
                (Weaker::Allow, true) => talk(&mut montague, &mut capulet).await,
                (Weaker::Refuse, false) => {
                    let bounce = capulet.bounce().await;
                    assert!(bounce.contains(LESS), "{bounce}");
                }
                (Weaker::Refuse, true) => {
                    let bounce = montague.bounce().await;
                    assert!(bounce.contains(REFUSED), "{bounce}");
                }
            }
            end(capulet, montague).await;
        }
    }
}

#[tokio::test]
async fn a_peer_that_dials_with_less_than_before_is_refused_until_it_is_forgotten() {
    //= TLS-34
    //= DB-54
    let world = World::new();
    let log = Log::new();
    let learned = acquainted(&world).await;
    let shown = Certificate::self_signed(MONTAGUE);
    let mut capulet = Server::start(ours(&world, learned)).await;
    let mut montague = Server::start(theirs(&world, &shown)).await;
    let bounce = montague.bounce().await;
    assert!(bounce.contains(REFUSED), "{bounce}");
    let unverified = "a dialback key could not be verified: ";
    let said = log.says(&["WARN", "remote=montague.lit", unverified, LESS, WAY_OUT]);
    assert!(said, "{}", log.all());
    // And where it is looked for when the log has rolled away.
    let failure = capulet.failure();
    assert_eq!(failure.phase, Phase::Identity);
    let cause = &failure.cause;
    assert!(cause.contains(LESS) && cause.contains(WAY_OUT), "{cause}");
    assert_eq!(failure.reached, None);
    assert_eq!(capulet.crossed("<message"), (0, 0));
    assert!(capulet.engine.handle().forget(&domain(MONTAGUE)));
    talk(&mut montague, &mut capulet).await;
    let (_, receive, _) = capulet.grounds();
    assert_eq!(receive.identity, Identity::Dialback(Assurance::Dns));
    end(capulet, montague).await;
}

/// A machine of montague.lit: all of them have one secret, and vouch for each other's keys.
fn machine(world: &World, shown: Option<&Certificate>) -> Config {
    let mut config = world.config(MONTAGUE, shown);
    config.dialback_secret = Some(Secret::new("a rose by any other name"));
    config.issued_keys = IssuedKeys::shared_secret();
    config
}

/// One that connects to others and shows no certificate: it has none.
fn outward(world: &World) -> Config {
    let mut config = machine(world, None);
    config.s2s.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config
}

#[tokio::test]
async fn a_peer_without_a_client_certificate_is_worth_what_its_server_is() {
    //= DB-54
    //= TLS-34
    let log = Log::new();
    let world = World::new();
    let good = world.authority.issue(MONTAGUE);
    let mut capulet = Server::start(ours(&world, Vec::new())).await;
    let inward = Server::start(machine(&world, Some(&good))).await;
    let mut first = Server::start(outward(&world)).await;
    talk(&mut first, &mut capulet).await;
    let (_, receive, _) = capulet.grounds();
    assert_eq!(receive.by, "dialback");
    assert_eq!(receive.identity, Identity::Dialback(Assurance::Proven));
    assert_eq!(receive.to_string(), "dialback+certificate");
    assert_eq!(capulet.crossed("<auth "), (0, 0));
    let known = capulet.peer().learned;
    assert_eq!(known.proven[0].strength, Strength::Certificate);
    // The same peer, with somebody else where DNS leads to.
    tokio::join!(capulet.end(), inward.end(), first.end());
    let shown = Certificate::self_signed(MONTAGUE);
    let capulet = Server::start(ours(&world, vec![known])).await;
    let inward = Server::start(machine(&world, Some(&shown))).await;
    let mut outward = Server::start(outward(&world)).await;
    let bounce = outward.bounce().await;
    assert!(bounce.contains(REFUSED), "{bounce}");
    let unverified = "a dialback key could not be verified: ";
    assert!(
        log.says(&["WARN", unverified, LESS, WAY_OUT]),
        "{}",
        log.all()
    );
    assert_eq!(inward.crossed("db:verify"), (0, 0), "nobody asked it");
    tokio::join!(capulet.end(), inward.end(), outward.end());
}
