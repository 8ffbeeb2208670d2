//! What a stanza costs in allocations on its way through the machines, and what a stream holds that is idle: numbers that are
//! the same on every machine, so that a regression is seen without a clock.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and needs some instant to begin with"
)]

#[path = "relay/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Instant;

use verona_proto::addr::{Domain, Hosts};
use verona_proto::stream::{Input, Stream};
use world::{Relay, config, open_stream};

const STANZAS: usize = 1000;

/// What [`STANZAS`] allocate, all of them: for each in thousandths. Fifty come at a time, and queues that grow for them shrink behind them.
fn thousandths(relay: &mut Relay, way: fn(&mut Relay, usize) -> usize) -> u64 {
    // What is made once is not counted.
    way(relay, STANZAS);
    let counted = allocation_counter::measure(|| {
        way(relay, STANZAS);
    });
    counted.count_total
}

#[test]
fn a_stanza_to_a_component_is_allocated_once() {
    let cost = thousandths(&mut Relay::new(), Relay::inward);
    assert!((1000..=1250).contains(&cost), "{cost} thousandths");
}

#[test]
fn a_stanza_to_a_peer_is_allocated_once() {
    let cost = thousandths(&mut Relay::new(), Relay::outward);
    assert!((1000..=1500).contains(&cost), "{cost} thousandths");
}

#[test]
fn both_ways_write_what_they_read() {
    let mut relay = Relay::new();
    assert_eq!(relay.inward(123), 123 * 200);
    // With a question to the peer now and then.
    assert!((123 * 200..124 * 200).contains(&relay.outward(123)));
}

#[test]
fn a_question_about_what_arrived_allocates_nothing() {
    let ours = Domain::parse("echo.montague.lit").unwrap();
    let mut stream = open_stream(config(Arc::new(Hosts::new([ours]))), Instant::now());
    let now = Instant::now();
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            stream.handle(Input::Bytes(b"<r xmlns='urn:xmpp:sm:3'/>"), now);
            assert!(stream.poll().is_none(), "it is nobody else's matter");
        }
    });
    assert_eq!(counted.count_total, 0);
    let answer = stream.transmit().split();
    assert_eq!(answer.as_ref(), b"<a xmlns='urn:xmpp:sm:3' h='0'/>");
}

#[test]
fn an_idle_stream_holds_little() {
    let ours = Domain::parse("echo.montague.lit").unwrap();
    let config = config(Arc::new(Hosts::new([ours])));
    // What all of them share is there.
    drop(open_stream(Arc::clone(&config), Instant::now()));
    let mut stream = None;
    let held = allocation_counter::measure(|| {
        stream = Some(Box::new(open_stream(config, Instant::now())));
    });
    assert!(stream.is_some_and(|stream| stream.is_open()));
    let (itself, all) = (size_of::<Stream>(), held.bytes_current);
    assert!(itself <= 1688, "{itself} bytes");
    assert!(all <= 2400, "{all} bytes with all that it holds");
}
