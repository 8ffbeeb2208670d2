//! What comes of a stream when the document that proved its peer expires (RFC 7711 §6).

use std::time::Duration;

use tokio::time::{interval, timeout};
use verona::status::LinkPair;
use verona_proto::learned::Phase;
use verona_proto::policy::{IdentityMethod, PeerPolicy};

use crate::certificate::Certificate;
use crate::server::{Heard, Server, WAIT, end, talk};
use crate::web::Web;
use crate::world::{CAPULET, MONTAGUE, World};

/// capulet.lit believes the web, montague.lit is on it for a while, and they have a stream.
struct Acquainted {
    capulet: Server,
    montague: Server,
    web: Web,
    _world: World,
}

impl Acquainted {
    async fn new(methods: &[IdentityMethod], montague_dials: bool) -> Self {
        let world = World::new();
        let shown = Certificate::self_signed(MONTAGUE);
        let web = world.web(MONTAGUE, &world.authority.issue(MONTAGUE)).await;
        web.publish(shown.document(EXPIRES));
        let ours = world.authority.issue(CAPULET);
        let ours = world.strict(CAPULET, &ours, methods);
        let mut capulet = Server::start(ours).await;
        let mut montague = Server::start(world.config(MONTAGUE, Some(&shown))).await;
        match montague_dials {
            false => talk(&mut capulet, &mut montague).await,
            true => talk(&mut montague, &mut capulet).await,
        }
        Self {
            capulet,
            montague,
            web,
            _world: world,
        }
    }

    /// So many lines from each side to the other at once; all arrive, in order, and nothing else.
    async fn exchange(&mut self) {
        let (capulet, montague) = (&mut self.capulet, &mut self.montague);
        for n in 0..LINES {
            capulet.say(&n.to_string()).await;
            montague.say(&n.to_string()).await;
        }
        for n in 0..LINES {
            let line = Heard::Body(n.to_string());
            assert_eq!(montague.hear().await, line);
            assert_eq!(capulet.hear().await, line);
        }
    }
}

/// Both talk until the stream is another one, and a while longer.
async fn another_stream(montague_dials: bool) {
    let mut two = Acquainted::new(&[IdentityMethod::Posh], montague_dials).await;
    let first = two.capulet.link().id;
    let mut paced = interval(PACE);
    let replaced = async {
        let mut later = 0;
        while later < 20 {
            paced.tick().await;
            two.exchange().await;
            let links = two.capulet.engine.handle().links();
            let is_new = |pair: &LinkPair| pair.send.is_some();
            let new = links
                .iter()
                .any(|link| link.id != first && link.pairs.iter().any(is_new));
            later += usize::from(new);
        }
    };
    timeout(WAIT, replaced)
        .await
        .expect("no other stream took its place");
    assert_eq!(two.capulet.crossed("<reset "), (1, 0), "{montague_dials}");
    assert_eq!(two.web.asked(), 2);
    // Both had something to say, so both may have dialled.
    for link in two.capulet.engine.handle().links() {
        let pair = &link.pairs[0];
        let by = [pair.receive.unwrap().by, pair.send.unwrap().by];
        assert_eq!(by, ["posh", "posh"], "{link:#?}");
    }
    assert_eq!(two.capulet.crossed("db:result"), (0, 0));
    end(two.capulet, two.montague).await;
}

#[tokio::test]
async fn a_document_that_is_renewed_costs_a_stream_and_no_stanza() {
    //= DNS-22
    //= BIDI-70
    tokio::join!(another_stream(false), another_stream(true));
}

#[tokio::test]
async fn a_document_that_is_gone_ends_what_it_proved() {
    //= DNS-22
    //= BIDI-70
    //= TLS-34
    let every = PeerPolicy::default().identity;
    tokio::join!(
        nothing_more(
            vec![IdentityMethod::Posh],
            "the policy for this peer accepts nothing weaker"
        ),
        // Dialback is less than the domain proved before.
        nothing_more(
            every,
            "the peer proved itself by its certificate in the last 30 days"
        ),
    );
}

async fn nothing_more(methods: Vec<IdentityMethod>, because: &str) {
    let mut two = Acquainted::new(&methods, false).await;
    two.web.withdraw();
    let ended = async {
        // Nothing but the links themselves tells when it is done.
        while !two.capulet.engine.handle().links().is_empty() {
            tokio::time::sleep(PACE).await;
        }
    };
    timeout(WAIT, ended).await.expect("the stream lives on");
    assert_eq!(two.capulet.crossed("<reset "), (1, 0));
    let bounce = two.capulet.bounce().await;
    assert!(bounce.contains("answered 404 Not Found"), "{bounce}");
    assert!(bounce.contains(because), "{bounce}");
    assert_eq!(two.capulet.failure().phase, Phase::Identity);
    let bounce = two.montague.bounce().await;
    let refused = "could not accept our dialback key";
    assert!(bounce.contains(refused), "{bounce}");
    end(two.capulet, two.montague).await;
}

/// As short as one test has patience for: who proved itself by it may not be refused while another is fetched.
const EXPIRES: u64 = 3;
/// Of each side, at once.
const LINES: usize = 16;
const PACE: Duration = Duration::from_millis(5);
