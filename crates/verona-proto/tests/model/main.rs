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
mod wire;

use std::time::Instant;

use tally::Tally;

fn negotiations() -> u64 {
    std::env::var("MODEL_NEGOTIATIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000)
}

#[test]
fn one_stream_and_its_peer() {
    let start = Instant::now();
    let mut tally = Tally::default();
    let first: u64 = std::env::var("MODEL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    for seed in first..first + negotiations() {
        if let Err(failure) = story::tell(seed, start, &mut tally) {
            panic!("after {} negotiations: {}", seed - first + 1, failure.text);
        }
    }
    println!("{tally}{:?}", start.elapsed());
}
