//! A server comes back, and everybody comes back to it at once.

use tokio::time::{Duration, Instant, sleep};
use verona::status::{Link, LinkRole};
use verona_proto::limits::{Limits, size};
use verona_proto::policy::IdentityMethod;
use verona_proto::stanza::StanzaKind;

use crate::ledger::Fate;
use crate::network::{Network, Road};
use crate::town::{Town, Ways, host};

const PEERS: usize = 300;

/// Three hundred servers and one in the middle, which all talk with.
fn town(limits: &[(&'static str, u64)]) -> Town {
    let peers = (0..PEERS).map(|peer| vec![format!("peer{peer}.lit")]);
    let hub = vec!["hub.lit".to_owned()];
    let network = Network::new(Road {
        latency: Duration::from_millis(20),
        bytes_per_second: None,
        buffer: 64 * 1024,
        dark: false,
    });
    let ways = Ways {
        domains: std::iter::once(hub).chain(peers).collect(),
        identity: IdentityMethod::Certificate,
        direct_tls: false,
        limits: limits.to_vec(),
    };
    Town::new(network, ways)
}

/// What was seen while everybody came back.
struct Seen {
    took: Duration,
    /// The most streams towards the hub that had not authenticated.
    negotiating: usize,
}

/// Says something over each pair every second, until everything has come through.
async fn talk(town: &Town, pairs: &[(String, String)]) -> Seen {
    let begun = Instant::now();
    let (mut left, mut negotiating) = (pairs.to_vec(), 0);
    while !left.is_empty() {
        assert!(begun.elapsed() < UP, "{} are not up: {left:?}", left.len());
        let mut asked = Vec::new();
        for (from, to) in left {
            let stanza = town.ledger.make(&from, &to, StanzaKind::Message, 100);
            let id = stanza.id().unwrap();
            town.send(&from, vec![stanza]);
            asked.push((from, to, id));
        }
        for _ in 0..20 {
            sleep(Duration::from_millis(50)).await;
            negotiating = negotiating.max(unproven(town));
        }
        asked.retain(|(_, _, id)| town.ledger.fate_of(id) != Fate::Delivered);
        left = asked.into_iter().map(|(from, to, _)| (from, to)).collect();
    }
    Seen {
        took: begun.elapsed(),
        negotiating,
    }
}

fn unproven(town: &Town) -> usize {
    let links = town.engine(0).unwrap().handle().links();
    let unproven = |link: &&Link| link.role == LinkRole::Receiving && link.pairs.is_empty();
    links.iter().filter(unproven).count()
}

fn name(peer: usize) -> String {
    format!("peer{peer}.lit")
}

#[tokio::test(start_paused = true)]
async fn three_hundred_peers_come_back_at_once_and_all_get_up() {
    //= STREAM-56
    let limits = [("attempts_concurrent_max", 50), ("negotiations_max", 100)];
    let mut town = town(&limits);
    town.start_all().await;
    let hub = || "hub.lit".to_owned();
    let inwards: Vec<_> = (0..PEERS).map(|peer| (name(peer), hub())).collect();
    let outwards = (0..PEERS).map(|peer| (hub(), name(peer)));
    let both: Vec<_> = outwards.chain(inwards.iter().cloned()).collect();

    let first = talk(&town, &inwards).await;
    assert_eq!(town.engine(0).unwrap().handle().links().len(), PEERS);

    // The one in the middle is gone for a while, in which nobody stops talking to it.
    town.crash(0);
    for _ in 0..5 {
        for (from, to) in &inwards {
            let stanza = town.ledger.make(from, to, StanzaKind::Message, 100);
            town.send(from, vec![stanza]);
        }
        sleep(Duration::from_secs(1)).await;
    }
    town.start(0).await;
    let again = talk(&town, &both).await;
    eprintln!(
        "{PEERS} peers were up after {:?}, and after the restart after {:?}",
        first.took, again.took
    );
    let bound = Limits {
        attempts_concurrent_max: 50,
        negotiations_max: 100,
        ..Limits::default()
    };
    // Of the hub, for nobody else opens more than one.
    let dialling = town.network.counts().dialling_most;
    assert!(
        dialling > 1 && dialling <= size(bound.attempts_concurrent_max),
        "{dialling}"
    );
    for seen in [first, again] {
        let most = seen.negotiating;
        assert!(most > 1 && most <= size(bound.negotiations_max), "{most}");
    }
    assert_eq!(
        town.network.open(host(0)),
        town.engine(0).unwrap().handle().links().len()
    );
    assert_eq!(town.ledger.wrongs(), [""; 0]);
}

/// All of them within a minute (reliability R7).
const UP: Duration = Duration::from_secs(60);
