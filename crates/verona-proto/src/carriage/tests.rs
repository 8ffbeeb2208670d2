//! The draining side of a connection against a plain model of it: what leaves when, and what is given back.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and needs some instant to begin with"
)]

use std::sync::Arc;
use std::time::Instant;

use super::{Carriage, Counted, Custody, Keep};
use crate::addr::{Direction, Domain, DomainPair, Hosts, Jid};
use crate::outbox::{self, Feeder, OutboxLimit};
use crate::stanza::{Stanza, StanzaKind};

fn pair() -> DomainPair {
    let ours = Domain::parse("montague.lit").unwrap();
    let remote = Domain::parse("capulet.lit").unwrap();
    let hosts = Hosts::new([ours.clone()]);
    hosts.pair(Direction::Outbound, &ours, &remote).unwrap()
}

fn push(feeder: &Feeder) {
    let (from, to) = (Jid::parse("montague.lit"), Jid::parse("capulet.lit"));
    let (from, to) = (from.unwrap(), to.unwrap());
    let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, "");
    feeder.push(stanza, Instant::now()).unwrap();
}

/// With so many stanzas waiting.
fn carriage(stanzas: usize) -> (Carriage, Feeder) {
    let limit = OutboxLimit {
        stanzas: 1 << 10,
        bytes: 1 << 20,
    };
    let (feeder, drain) = outbox::new(limit);
    for _ in 0..stanzas {
        push(&feeder);
    }
    let mut carriage = Carriage::new(Arc::new(|| {}));
    carriage.add(pair(), drain);
    (carriage, feeder)
}

fn send(carriage: &mut Carriage, begin: u64, end: u64) {
    send_into(carriage, begin, end, Custody::Written);
}

fn send_into(carriage: &mut Carriage, begin: u64, end: u64, custody: Custody) {
    carriage.pull().unwrap();
    carriage.sent(begin, end, custody, Counted::Yes);
}

#[test]
fn a_departed_queue_is_given_back_when_nothing_of_it_is_on_its_way() {
    //= BIDI-79
    let (mut carriage, feeder) = carriage(2);
    send(&mut carriage, 0, 100);
    carriage.depart(&pair());
    assert!(carriage.departed().is_empty());
    push(&feeder);
    assert!(carriage.pull().is_none(), "it may not be sent any more");
    assert_eq!(carriage.written(100).delivered, 1);
    let left = carriage.departed();
    assert_eq!(left.len(), 1);
    assert_eq!(carriage.pairs().count(), 0);
    let mut drain = left.into_iter().next().unwrap().drain;
    let waiting = std::iter::from_fn(|| drain.pull()).count();
    assert_eq!(waiting, 2);
}

#[test]
fn what_never_left_us_is_not_delivered_by_an_acknowledgement_of_nothing() {
    //= SM-12
    let (mut carriage, _feeder) = carriage(2);
    send(&mut carriage, 0, 100);
    send(&mut carriage, 100, 200);
    let given_back = carriage.end(100, Keep::InFlight);
    assert!(given_back.is_empty());
    let (settled, left) = carriage.resolve(0);
    assert_eq!(settled.delivered, 1);
    assert_eq!(left.first().unwrap().drain.unacknowledged(), 1);
}

#[test]
fn what_waits_for_an_answer_is_uncertain_until_there_is_one() {
    //= SM-12
    let early_and_counted = || {
        let (mut carriage, feeder) = carriage(2);
        send_into(&mut carriage, 0, 100, Custody::Answered);
        send_into(&mut carriage, 100, 200, Custody::Acknowledged);
        assert_eq!(carriage.written(200).delivered, 0);
        (carriage, feeder)
    };
    let (mut carriage, _feeder) = early_and_counted();
    let left = carriage.end(200, Keep::Nothing);
    assert_eq!(left.first().unwrap().uncertain, 2);

    let (mut carriage, _feeder) = early_and_counted();
    assert_eq!(carriage.answered(200).delivered, 1);
    assert_eq!(carriage.acknowledged(1, 200).delivered, 1);
    assert_eq!(carriage.in_flight(), 0);

    // An acknowledgement of what is behind it says no less.
    let (mut carriage, _feeder) = early_and_counted();
    assert!(carriage.end(200, Keep::InFlight).is_empty());
    let (settled, left) = carriage.resolve(1);
    assert_eq!(settled.delivered, 2);
    assert_eq!(left.first().unwrap().drain.unacknowledged(), 0);

    // One of nothing says nothing of what was sent before the counting.
    let (mut carriage, _feeder) = early_and_counted();
    assert!(carriage.end(200, Keep::InFlight).is_empty());
    let (settled, left) = carriage.resolve(0);
    assert_eq!(settled.delivered, 0);
    let left = left.first().unwrap();
    assert_eq!((left.uncertain, left.drain.unacknowledged()), (1, 2));
}

#[test]
fn what_was_not_sent_yet_is_not_uncertain_when_a_driver_panics() {
    //= SM-12
    let (mut carriage, feeder) = carriage(3);
    send(&mut carriage, 0, 100);
    assert_eq!(feeder.queued(), 0, "it was the turn of all three");
    drop(carriage);
    let drain = feeder.reclaim().unwrap();
    assert_eq!((drain.unacknowledged(), drain.queued()), (1, 2));
}
