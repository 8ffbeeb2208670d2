//! How often a first stanza waits for the other side before it leaves. Nothing here takes time but the way.

use tokio::time::{Duration, sleep};
use verona_proto::policy::IdentityMethod;
use verona_proto::stanza::StanzaKind;

use crate::network::{Network, Road};
use crate::town::{Town, Ways};

/// From the stanza to its delivery, in times that one way takes.
async fn ways_until_delivery(town: &Town) -> u32 {
    let (from, to) = ("capulet.lit", "montague.lit");
    let stanza = town.ledger.make(from, to, StanzaKind::Message, 100);
    let id = stanza.id().unwrap();
    town.send(from, vec![stanza]);
    loop {
        sleep(Duration::from_millis(1)).await;
        let entry = town.ledger.entries().remove(&id);
        let Some(entry) = entry.filter(|entry| !entry.delivered.is_empty()) else {
            continue;
        };
        let took = entry.delivered[0] - entry.sent.unwrap();
        // What goes a millisecond at a time in between is not a way.
        return u32::try_from(took.as_millis() / WAY.as_millis()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_known_is_reached_in_four_round_trips_and_three_with_direct_tls() {
    //= STREAM-60
    for (direct_tls, identity, never_met, met) in [
        (false, IdentityMethod::Certificate, 7, 4),
        (true, IdentityMethod::Certificate, 5, 3),
    ] {
        let ways = Ways {
            domains: vec![vec!["capulet.lit".into()], vec!["montague.lit".into()]],
            identity,
            direct_tls,
            limits: vec![("idle_seconds", 60)],
        };
        let road = Road {
            latency: WAY,
            bytes_per_second: None,
            buffer: 64 * 1024,
            dark: false,
        };
        let mut town = Town::new(Network::new(road), ways);
        town.start_all().await;
        let mut round_trips = Vec::new();
        for link in 1..=3 {
            // The last way is that of the stanza itself.
            round_trips.push(ways_until_delivery(&town).await / 2);
            assert_eq!(town.network.counts().connections, link);
            while town.network.open(crate::town::host(0)) > 0 {
                sleep(Duration::from_secs(1)).await;
            }
        }
        assert_eq!(
            round_trips,
            [never_met, met, met],
            "direct TLS: {direct_tls}"
        );
    }
}

const WAY: Duration = Duration::from_millis(100);
