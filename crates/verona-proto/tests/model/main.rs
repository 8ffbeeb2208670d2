//! A million negotiations against a reference model: no stanza is ever delivered or sent for a pair without grounds, and
//! with an honest peer every pair opens that should.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic, print, read the clock and be told how much to do"
)]

mod chance;
mod connection;
mod names;
mod peer;
mod referee;
mod rules;
mod story;
mod tally;
mod town;
mod wire;

use std::io::Write as _;
use std::time::Instant;

use story::Opener;
use tally::Tally;

/// How many negotiations there are in all; `MODEL_NEGOTIATIONS` says another number (`cargo xtask test`: a million),
/// `MODEL_SEED` where to begin.
const NEGOTIATIONS: u64 = 100_000;

/// What must have happened among the streams of a single peer, whoever opened them.
const ALWAYS: &[(&str, &str)] = &[
    ("TLS", "handshake"),
    ("stanza", "delivered"),
    ("send", "permitted"),
    ("send", "refused"),
    ("key", "to be checked"),
    ("bidi", "on"),
    ("vouched", "not valid"),
    ("SASL", "failed"),
    ("granted inbound", "certificate"),
    ("granted inbound", "dialback"),
    ("granted inbound", "inverse, by certificate"),
    ("granted inbound", "inverse, by dialback"),
    ("granted outbound", "dialback"),
    ("granted outbound", "inverse, by certificate"),
    ("granted outbound", "inverse, by dialback"),
    ("denied", "forbidden"),
    ("denied", "item-not-found"),
    ("denied", "not-acceptable"),
    ("denied", "not-authorized"),
    ("denied", "policy-violation"),
    ("denied", "remote-server-timeout"),
    ("denied", "resource-constraint"),
    ("refused", "invalid"),
    ("refused", "item-not-found"),
    ("refused", "no answer in time"),
    ("refused", "not-acceptable"),
    ("irregular", "an unsolicited <db:result/> answer"),
    ("irregular", "an unsolicited <db:verify/> answer"),
    ("irregular", "a <db:result/> of an unknown type"),
    ("stream error", "invalid-from"),
    ("stream error", "host-unknown"),
    ("stream error", "not-authorized"),
    ("stream error", "connection-timeout"),
    ("stream", "closed"),
    ("honest", "both ways"),
    ("honest", "one way"),
    ("confused", "open"),
    ("lying", "open"),
    ("lying", "ended"),
];

#[test]
fn peers_of_streams_that_they_open() {
    let expected = [
        ("granted inbound", "SASL"),
        ("denied", "invalid"),
        ("bidi", "late"),
    ];
    tell(Opener::Peer, 45, &expected);
}

#[test]
fn peers_of_streams_that_we_open() {
    let expected = [
        ("granted outbound", "SASL"),
        ("granted inbound", "inverse, by DNS"),
        ("denied", "not-allowed"),
    ];
    tell(Opener::Verona, 45, &expected);
}

#[test]
fn two_servers_and_a_liar() {
    let expected = [
        ("town", "key confirmed"),
        ("town", "key not confirmed"),
        ("town", "connection to check a key"),
        ("town", "request on a live stream"),
        ("town", "peaceful"),
        ("town", "with a liar"),
        ("vouched", "valid"),
        ("vouched", "not valid"),
        ("verified", "valid"),
        ("verified", "invalid"),
        ("granted inbound", "SASL"),
        ("granted inbound", "certificate"),
        ("granted inbound", "dialback"),
        ("granted outbound", "SASL"),
        ("granted outbound", "dialback"),
        ("stanza", "delivered"),
    ];
    let (start, mut tally) = (Instant::now(), Tally::default());
    let due = share(10);
    let mut seed = first();
    while tally.of("negotiations", "of two servers") < due {
        if let Err(text) = town::tell(seed, start, &mut tally) {
            let before = tally.of("negotiations", "of two servers");
            panic!("after {before} negotiations: {text}");
        }
        seed += 1;
    }
    conclude(&tally, &expected, start);
}

fn tell(who: Opener, percent: u64, expected: &[(&str, &str)]) {
    let (start, mut tally) = (Instant::now(), Tally::default());
    let due = share(percent);
    for seed in first()..first() + due {
        if let Err(failure) = story::tell(seed, who, start, &mut tally) {
            let before = seed - first();
            panic!("after {before} negotiations: {}", failure.text);
        }
    }
    tally.count_many("negotiations", "of one stream", due);
    let all: Vec<(&str, &str)> = ALWAYS.iter().chain(expected).copied().collect();
    conclude(&tally, &all, start);
}

/// Tells what was covered. Few negotiations need not cover everything.
fn conclude(tally: &Tally, expected: &[(&str, &str)], start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{tally}{seconds:.1} s");
    // Past the test runner, which keeps what a test prints: that much everybody should see.
    let summary = format!(
        "model: {} negotiations, {} grants, {} stanzas delivered, {} sent, {} requests denied, {seconds:.1} s\n",
        tally.all("negotiations"),
        tally.all("granted inbound") + tally.all("granted outbound"),
        tally.of("stanza", "delivered"),
        tally.of("send", "permitted"),
        tally.all("denied"),
    );
    let _ = std::io::stderr().write_all(summary.as_bytes());
    let missing = tally.missing(expected);
    assert!(
        missing.is_empty() || share(100) < NEGOTIATIONS,
        "never happened: {missing:?}"
    );
}

fn share(percent: u64) -> u64 {
    variable("MODEL_NEGOTIATIONS").unwrap_or(NEGOTIATIONS) * percent / 100
}

fn first() -> u64 {
    variable("MODEL_SEED").unwrap_or(1)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
