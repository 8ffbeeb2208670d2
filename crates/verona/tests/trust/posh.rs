//! A domain whose web server names the certificate of its XMPP server, and domains whose web server does not (RFC 7711).

use verona::status::LinkRole;
use verona_proto::grounds::{Assurance, Identity};
use verona_proto::learned::Phase;
use verona_proto::policy::IdentityMethod;

use crate::certificate::Certificate;
use crate::log::Log;
use crate::server::{Server, end, talk};
use crate::web::Web;
use crate::world::{CAPULET, MONTAGUE, World};

#[tokio::test]
async fn a_self_signed_peer_is_proven_by_its_web_server_whoever_dials() {
    //= DNS-20
    //= DNS-21
    //= DNS-23
    //= DNS-24
    //= TLS-34
    //= BIDI-23
    for montague_dials in [false, true] {
        let world = World::new();
        let shown = Certificate::self_signed(MONTAGUE);
        let web = world.web(MONTAGUE, &world.authority.issue(MONTAGUE)).await;
        web.publish(shown.document(600));
        let ours = world.authority.issue(CAPULET);
        let ours = world.strict(CAPULET, &ours, &[IdentityMethod::Posh]);
        let theirs = world.config(MONTAGUE, Some(&shown));
        let mut capulet = Server::start(ours).await;
        let mut montague = Server::start(theirs).await;
        match montague_dials {
            false => talk(&mut capulet, &mut montague).await,
            true => talk(&mut montague, &mut capulet).await,
        }
        let (role, receive, send) = capulet.grounds();
        assert_eq!(role == LinkRole::Receiving, montague_dials);
        assert_eq!((receive.by, send.by), ("posh", "posh"));
        let posh = Identity::Posh;
        assert_eq!((receive.identity, send.identity), (posh, posh));
        assert_eq!(
            (receive.inverse, send.inverse),
            (!montague_dials, montague_dials)
        );
        // One authentication, by whoever dialled, and no key.
        let said = usize::from(montague_dials);
        assert_eq!(capulet.crossed("<auth "), (1 - said, said));
        assert_eq!(capulet.crossed("<success "), (said, 1 - said));
        assert_eq!(capulet.crossed("db:result"), (0, 0));
        assert_eq!(capulet.crossed("db:verify"), (0, 0));
        assert_eq!(web.asked(), 1);
        end(capulet, montague).await;
    }
}

#[tokio::test]
async fn two_that_know_each_other_by_the_web_alone() {
    //= DNS-24
    //= TLS-34
    let world = World::new();
    let mut webs = Vec::new();
    let mut servers = Vec::new();
    for name in [CAPULET, MONTAGUE] {
        let shown = Certificate::self_signed(name);
        let web = world.web(name, &world.authority.issue(name)).await;
        web.publish(shown.document(600));
        webs.push(web);
        let config = world.strict(name, &shown, &[IdentityMethod::Posh]);
        servers.push(Server::start(config).await);
    }
    let [capulet, montague] = &mut servers[..] else {
        panic!("two servers")
    };
    talk(capulet, montague).await;
    for server in [&*capulet, montague] {
        let (_, receive, send) = server.grounds();
        assert_eq!((receive.by, send.by), ("posh", "posh"));
        assert_eq!(server.crossed("db:result"), (0, 0));
    }
}

/// What is wrong with the web server of montague.lit.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    OtherCertificate,
    NoDocument,
    SelfSigned,
}

impl Wrong {
    const ALL: [Self; 3] = [Self::OtherCertificate, Self::NoDocument, Self::SelfSigned];

    async fn web(self, world: &World, shown: &Certificate) -> Web {
        let certified = world.authority.issue(MONTAGUE);
        match self {
            Self::OtherCertificate => {
                let web = world.web(MONTAGUE, &certified).await;
                web.publish(certified.document(600));
                web
            }
            Self::NoDocument => world.web(MONTAGUE, &certified).await,
            Self::SelfSigned => {
                let web = world.web(MONTAGUE, shown).await;
                web.publish(shown.document(600));
                web
            }
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::OtherCertificate => "its POSH document names other certificates",
            Self::NoDocument => {
                "POSH: https://montague.lit:24443/.well-known/posh/xmpp-server.json answered 404 Not Found"
            }
            Self::SelfSigned => {
                "POSH: https://montague.lit:24443/.well-known/posh/xmpp-server.json cannot be believed: its certificate is \
                 not trusted: self-signed"
            }
        }
    }
}

#[tokio::test]
async fn where_the_web_alone_counts_a_peer_that_it_does_not_prove_is_refused_with_the_reason() {
    //= DNS-21
    //= DNS-23
    //= DNS-24
    //= BIDI-23
    //= DB-46
    for wrong in Wrong::ALL {
        let log = Log::new();
        let world = World::new();
        let shown = Certificate::self_signed(MONTAGUE);
        let _web = wrong.web(&world, &shown).await;
        let ours = world.authority.issue(CAPULET);
        let ours = world.strict(CAPULET, &ours, &[IdentityMethod::Posh]);
        let mut capulet = Server::start(ours).await;
        let mut montague = Server::start(world.config(MONTAGUE, Some(&shown))).await;
        let bounce = capulet.bounce().await;
        let failure = capulet.failure();
        assert_eq!(failure.phase, Phase::Identity, "{wrong:?}: {failure:?}");
        for told in [&bounce, &failure.cause] {
            assert!(told.contains(wrong.told()), "{wrong:?}: {told}");
            let strict = "the policy for this peer accepts nothing weaker";
            assert!(told.contains(strict), "{wrong:?}: {told}");
        }
        // Nor when it dials: it is not offered EXTERNAL, and its key is not looked at.
        let bounce = montague.bounce().await;
        let refused = "the peer could not accept our dialback key: not-authorized";
        assert!(bounce.contains(refused), "{wrong:?}: {bounce}");
        assert_eq!(montague.failure().phase, Phase::Dialback);
        assert_eq!(capulet.crossed(">EXTERNAL<"), (0, 1), "not offered");
        assert_eq!(capulet.crossed("db:verify"), (0, 0));
        assert_eq!(capulet.crossed("<message"), (0, 0));
        let key = "refused the peer's dialback key (not-authorized): ";
        let strict = "; the policy for this domain does not accept dialback";
        let said = log.says(&["WARN", "remote=montague.lit", key, wrong.told(), strict]);
        assert!(said, "{wrong:?}: {}", log.all());
        end(capulet, montague).await;
    }
}

#[tokio::test]
async fn by_default_dialback_serves_where_the_web_does_not() {
    //= DNS-23
    //= TLS-34
    //= DB-54
    let all = Wrong::ALL.into_iter();
    for (wrong, montague_dials) in all.flat_map(|wrong| [(wrong, false), (wrong, true)]) {
        let world = World::new();
        let shown = Certificate::self_signed(MONTAGUE);
        let web = wrong.web(&world, &shown).await;
        let ours = world.config(CAPULET, Some(&Certificate::self_signed(CAPULET)));
        let mut capulet = Server::start(ours).await;
        let mut montague = Server::start(world.config(MONTAGUE, Some(&shown))).await;
        match montague_dials {
            false => talk(&mut capulet, &mut montague).await,
            true => talk(&mut montague, &mut capulet).await,
        }
        let (_, receive, send) = capulet.grounds();
        let (by, identity) = match montague_dials {
            false => (("dns", "dialback"), Identity::Resolution(Assurance::Dns)),
            true => (("dialback", "dialback"), Identity::Dialback(Assurance::Dns)),
        };
        assert_eq!((receive.by, send.by), by, "{wrong:?}");
        assert_eq!((receive.identity, send.identity), (identity, identity));
        assert_eq!(capulet.crossed("<auth "), (0, 0));
        assert!(capulet.peer().learned.proven.is_empty());
        // It was asked, except where it could not be believed.
        let asked = usize::from(!matches!(wrong, Wrong::SelfSigned));
        assert_eq!(web.asked(), asked, "{wrong:?}");
        end(capulet, montague).await;
    }
}
