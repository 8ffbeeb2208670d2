//! Single faults, each at every place where it can strike.

use std::sync::Mutex;

use tokio::time::{Duration, Instant, sleep};
use verona_proto::policy::IdentityMethod;

use crate::network::{Cut, Network, Notices, Road};
use crate::play::play;
use crate::story::{Deed, Story};
use crate::town::{Town, Ways, host};

const ROAD: Road = Road {
    latency: Duration::from_millis(100),
    bytes_per_second: None,
    buffer: 64 * 1024,
    dark: false,
};

fn ways(identity: IdentityMethod, direct_tls: bool) -> Ways {
    Ways {
        domains: vec![vec!["capulet.lit".into()], vec!["montague.lit".into()]],
        identity,
        direct_tls,
        limits: vec![("retry_seconds_max", 8)],
    }
}

fn say(from: &str, to: &str, count: usize) -> Deed {
    Deed::Say {
        from: from.into(),
        to: to.into(),
        count,
        bytes: 100,
        iqs: true,
    }
}

/// Both say something, the connection is cut after so many bytes of one direction, and both say more.
fn cut(name: &str, ways: Ways, from: usize, cut: Cut) -> Vec<String> {
    let seconds = Duration::from_secs;
    let story = Story {
        seed: cut.after,
        ways,
        road: ROAD,
        deeds: vec![
            (
                seconds(0),
                Deed::CutNext {
                    from,
                    to: 1 - from,
                    cut,
                },
            ),
            (seconds(0), say("capulet.lit", "montague.lit", 5)),
            (seconds(0), say("montague.lit", "capulet.lit", 5)),
            (seconds(1), say("capulet.lit", "montague.lit", 5)),
            (seconds(3), say("montague.lit", "capulet.lit", 5)),
        ],
    };
    let wrongs = play(&story).wrongs;
    let told = |wrong| format!("{name}, from {from}, {cut:?}: {wrong}");
    wrongs.into_iter().map(told).collect()
}

/// Every byte of a connection's life is one after which it may break. `SIMULATED_STEP=1` tries each.
#[test]
fn a_connection_that_is_cut_anywhere_loses_nothing_unsaid() {
    let step = crate::number("SIMULATED_STEP").unwrap_or(397);
    let kinds = [
        ("EXTERNAL", IdentityMethod::Certificate, false),
        ("EXTERNAL, direct TLS", IdentityMethod::Certificate, true),
        ("dialback", IdentityMethod::Dialback, false),
    ];
    let mut places = Vec::new();
    for (name, identity, direct_tls) in kinds {
        for (from, notices) in [0, 1]
            .into_iter()
            .flat_map(|from| NOTICES.map(|who| (from, who)))
        {
            // Each kind of notice has places of its own.
            let first = step * (notices as u64) / 3;
            for after in (first..LIFE).step_by(usize::try_from(step).unwrap()) {
                places.push((
                    name,
                    ways(identity, direct_tls),
                    from,
                    Cut { after, notices },
                ));
            }
        }
    }
    let wrongs = Mutex::new(Vec::new());
    crate::on_all_cores(places.len().try_into().unwrap(), |index| {
        let (name, ways, from, at) = places[usize::try_from(index).unwrap()].clone();
        let found = cut(name, ways, from, at);
        wrongs.lock().unwrap().extend(found);
    });
    let wrongs = wrongs.into_inner().unwrap();
    assert!(wrongs.is_empty(), "{wrongs:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_dropped_while_it_dialled_begins_nothing() {
    let mut town = Town::new(Network::new(ROAD), ways(IdentityMethod::Certificate, false));
    town.start_all().await;
    let stanza = town.ledger.make(
        "capulet.lit",
        "montague.lit",
        verona_proto::stanza::StanzaKind::Message,
        1,
    );
    town.send("capulet.lit", vec![stanza]);
    sleep(ROAD.latency).await;
    town.crash(0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(town.network.counts().bytes, 0);
    }
    assert_eq!(town.network.open(host(0)), 0);
}

const NOTICES: [Notices; 3] = [Notices::Both, Notices::Reader, Notices::Writer];
/// More bytes than one direction of such a connection has.
const LIFE: u64 = 9_000;
