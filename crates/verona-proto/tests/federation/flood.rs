//! Peers that have proven nothing make us look domains up and dial them: few, however many they are.

use std::collections::BTreeMap;

use verona_proto::dialback::Verdict;
use verona_proto::discovery::DiscoveryError;
use verona_proto::federation::{AttemptKey, Remains, Signal, StreamKey, Unreached};
use verona_proto::limits::Limit;
use verona_proto::stream::{Cause, Fault};

use crate::world::{World, limits};

const VICTIM: &str = "montague.lit~victim.example";
const BUSY: &str = "resource-constraint";

/// A stranger connects, names `remote` and sends a key; what the federation does then.
fn key(world: &mut World, stream: u64, remote: &str) -> Vec<String> {
    world.accept(stream, remote);
    let pair = format!("montague.lit~{remote}");
    world.key_received(stream, &pair, &format!("id{stream}"))
}

fn searches(said: &[String]) -> Vec<u64> {
    said.iter()
        .filter(|line| line.starts_with("discover") || line.starts_with("connect"))
        .filter_map(|line| line.split(" for ").nth(1)?.split(' ').next()?.parse().ok())
        .collect()
}

#[test]
fn a_thousand_connections_that_name_a_dead_victim_cause_few_look_ups_and_dials() {
    //= DB-53
    let mut world = World::new();
    let (mut look_ups, mut dials) = (0, 0);
    let mut verdicts = BTreeMap::new();
    let mut open = Vec::new();
    // Ten connections a second, for a hundred seconds; every dial fails after ten seconds.
    let mut failing: Vec<(u64, u64)> = Vec::new();
    for second in 0..100_u64 {
        let mut said = Vec::new();
        for nth in 0..10 {
            said.extend(key(&mut world, 1_000 + second * 10 + nth, "victim.example"));
        }
        said.extend(world.pass(1));
        for (at, attempt) in std::mem::take(&mut failing) {
            match at <= second {
                true => said.extend(world.connected(attempt, None)),
                false => failing.push((at, attempt)),
            }
        }
        while let Some(line) = said.pop() {
            if line.starts_with("discover") {
                look_ups += 1;
                open.extend(searches(&[line]));
            } else if line.starts_with("connect") {
                dials += 1;
                failing.extend(searches(&[line]).into_iter().map(|key| (second + 10, key)));
            } else {
                let verdict = line.rsplit(' ').next().unwrap().to_owned();
                *verdicts.entry(verdict).or_insert(0) += 1;
            }
            for attempt in open.drain(..) {
                said.extend(world.discovered(attempt, &["192.0.2.66:5269"]));
            }
        }
    }
    // Four at a time, and then a rest: without both it would be a thousand.
    assert!((4..=40).contains(&look_ups), "{look_ups}");
    assert_eq!(dials, look_ups);
    let answered: i32 = verdicts.values().sum();
    assert!(answered > 900, "{verdicts:?}");
    assert_eq!(
        verdicts.keys().collect::<Vec<_>>(),
        ["remote-connection-failed", "resource-constraint"]
    );
    let remembered = world.reached(Limit::VerificationRetrySeconds);
    assert!(remembered > 100, "{remembered}");
}

#[test]
fn names_below_one_domain_are_looked_up_a_few_at_a_time() {
    //= DB-53
    let mut world = World::new();
    let mut said = Vec::new();
    for number in 0..1_000 {
        said.extend(key(
            &mut world,
            number + 1,
            &format!("n{number}.victim.example"),
        ));
    }
    let begun = said
        .iter()
        .filter(|line| line.starts_with("discover"))
        .count();
    let refused = said.iter().filter(|line| line.ends_with(BUSY)).count();
    assert_eq!((begun, refused), (25, 1_000 - 64));
    // An honest peer has its key checked meanwhile.
    assert_eq!(
        key(&mut world, 2_000, "capulet.lit"),
        ["discover capulet.lit for 65"]
    );
    // A name that does not exist is known at once, and is not followed by the next at once.
    let none = DiscoveryError::not_found("no such name");
    for attempt in 1..=25 {
        assert_eq!(searches(&world.undiscovered(attempt, none.clone())), []);
    }
    assert_eq!(searches(&world.pass(0)), []);
    let next = world.pass(1);
    assert_eq!(searches(&next), (26..=50).collect::<Vec<_>>());
}

#[test]
fn the_neighbours_under_a_registry_are_asked_meanwhile() {
    //= DB-53
    let mut world = World::new();
    let mut said = Vec::new();
    // All of them are slow: nothing of it is ever answered.
    for number in 0..1_000 {
        said.extend(key(
            &mut world,
            number + 1,
            &format!("n{number}.mallory.co.uk"),
        ));
    }
    let begun = said.iter().filter(|line| line.starts_with("discover"));
    let refused = said.iter().filter(|line| line.ends_with(BUSY));
    assert_eq!((begun.count(), refused.count()), (13, 1_000 - 32));
    assert_eq!(
        key(&mut world, 2_000, "bank.co.uk"),
        ["discover bank.co.uk for 33"]
    );
}

#[test]
fn a_handful_of_slow_sites_does_not_take_all_places() {
    //= DB-53
    let mut world = World::new();
    for number in 0..1_000 {
        let name = format!("n{number}.slow{}.example", number / 125);
        key(&mut world, number + 1, &name);
    }
    assert_eq!(searches(&key(&mut world, 2_000, "capulet.lit")).len(), 1);
}

#[test]
fn strangers_that_hang_up_again_do_not_have_more_done_at_once() {
    //= DB-53
    let mut world = World::new();
    let mut begun = 0;
    for number in 0..500 {
        let said = key(&mut world, number + 1, &format!("n{number}.victim.example"));
        begun += searches(&said).len();
        let left = world.tell(Signal::Ended(StreamKey(number + 1), Remains::default()));
        begun += searches(&left).len();
    }
    assert_eq!(begun, 25);
    // What nobody waits for any more is not dialled.
    assert_eq!(world.discovered(1, &["192.0.2.66:5269"]), [""; 0]);
    // And the places come back.
    for attempt in 2..=25 {
        world.undiscovered(attempt, DiscoveryError::temporary("no answer"));
    }
    world.pass(1);
    assert_eq!(searches(&key(&mut world, 900, "a.victim.example")).len(), 1);
}

#[test]
fn a_connection_that_comes_too_late_is_closed() {
    let mut world = World::new();
    key(&mut world, 1, "victim.example");
    world.discovered(1, &["192.0.2.66:5269"]);
    world.tell(Signal::Ended(StreamKey(1), Remains::default()));
    assert_eq!(world.connected(1, Some(9)), ["close 9 undefined-condition"]);
    assert_eq!(world.verified(9, VICTIM, "id1", Verdict::Valid), [""; 0]);
}

#[test]
fn of_one_domain_few_keys_are_checked_at_once_and_the_others_have_their_turn() {
    let mut world = World::new();
    let mut said = Vec::new();
    for stream in 1..=6 {
        said.extend(key(&mut world, stream, "victim.example"));
    }
    assert_eq!(searches(&said), [1, 2, 3, 4]);
    world.reach(1, 11, "victim.example");
    assert_eq!(
        world.verified(11, VICTIM, "id1", Verdict::Valid),
        [
            "discover victim.example for 5",
            "verdict montague.lit~victim.example on 1 valid"
        ]
    );
}

#[test]
fn who_waits_for_a_domain_that_proves_dead_waits_no_longer() {
    let mut world = World::new();
    for stream in 1..=6 {
        key(&mut world, stream, "victim.example");
    }
    let mut said = world.undiscovered(2, DiscoveryError::temporary("no answer"));
    said.sort();
    assert_eq!(
        said,
        [2, 5, 6].map(|stream| format!("verdict {VICTIM} on {stream} remote-server-not-found"))
    );
    assert_eq!(
        key(&mut world, 7, "victim.example"),
        [format!("verdict {VICTIM} on 7 remote-server-not-found")]
    );
    // Not for long: it may just have been started.
    world.pass(5);
    assert_eq!(searches(&key(&mut world, 8, "victim.example")).len(), 1);
}

#[test]
fn a_domain_that_shows_that_it_lives_is_asked_again() {
    let mut world = World::new();
    key(&mut world, 1, "victim.example");
    world.undiscovered(1, DiscoveryError::temporary("no answer"));
    world.accept(2, "victim.example");
    world.granted(2, verona_proto::addr::Direction::Inbound, VICTIM);
    assert_eq!(searches(&key(&mut world, 3, "victim.example")).len(), 1);
}

#[test]
fn that_we_are_busy_is_not_held_against_a_domain() {
    let mut world = World::new();
    key(&mut world, 1, "victim.example");
    world.discovered(1, &["192.0.2.66:5269", "[2001:db8::66]:5269"]);
    let targets = world.dialled.remove(&1).unwrap();
    let failed = targets
        .into_iter()
        .zip([Fault::Local, Fault::Peer])
        .map(|(target, fault)| Unreached {
            target,
            text: "no".into(),
            fault,
        });
    let failed = Signal::Connected(AttemptKey(1), Err(failed.collect()));
    assert_eq!(
        world.tell(failed),
        [format!("verdict {VICTIM} on 1 {BUSY}")]
    );
    assert_eq!(searches(&key(&mut world, 2, "victim.example")).len(), 1);
}

#[test]
fn what_a_server_says_to_one_of_us_is_not_held_against_the_others() {
    // It may refuse montague.lit and speak with conference.montague.lit; strangers name whom they like.
    for cause in [Cause::Stream, Cause::Tls, Cause::Identity, Cause::Dialback] {
        let mut world = World::new();
        key(&mut world, 1, "victim.example");
        world.reach(1, 9, "victim.example");
        assert_eq!(world.failed(9, cause).len(), 1);
        assert_eq!(searches(&key(&mut world, 2, "victim.example")).len(), 1);
    }
    // Nor that it lets one wait.
    let mut world = World::new();
    key(&mut world, 1, "victim.example");
    world.reach(1, 9, "victim.example");
    world.wait();
    assert_eq!(searches(&key(&mut world, 2, "victim.example")).len(), 1);
}

#[test]
fn a_key_that_waits_for_its_turn_waits_no_longer_than_its_asker() {
    let mut world = World::with(limits(|limits| limits.attempts_per_site_max = 1));
    assert_eq!(searches(&key(&mut world, 1, "a.victim.example")), [1]);
    assert_eq!(world.reached(Limit::AttemptsPerSiteMax), 0);
    assert_eq!(key(&mut world, 2, "b.victim.example"), [""; 0]);
    assert_eq!(world.reached(Limit::AttemptsPerSiteMax), 1);
    let mut said = world.wait();
    said.sort();
    assert_eq!(
        said,
        [
            "verdict montague.lit~a.victim.example on 1 remote-server-timeout".to_owned(),
            format!("verdict montague.lit~b.victim.example on 2 {BUSY}"),
        ]
    );
    assert_eq!(world.federation.deadline(), None);
    assert_eq!(world.reached(Limit::VerificationSeconds), 2);
}
