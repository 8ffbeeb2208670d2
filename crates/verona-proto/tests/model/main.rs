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

use std::time::Instant;

use tally::Tally;

/// How many of each kind; `MODEL_NEGOTIATIONS` says another number, and `MODEL_SEED` where to begin.
fn seeds(share: u64) -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let first = number("MODEL_SEED").unwrap_or(1);
    first..first + number("MODEL_NEGOTIATIONS").unwrap_or(100_000) * share / 100
}

#[test]
fn one_stream_and_its_peer() {
    let start = Instant::now();
    let mut tally = Tally::default();
    let seeds = seeds(80);
    for seed in seeds.clone() {
        if let Err(failure) = story::tell(seed, start, &mut tally) {
            panic!(
                "after {} negotiations: {}",
                seed - seeds.start + 1,
                failure.text
            );
        }
    }
    println!("{tally}{:?}", start.elapsed());
}

#[test]
fn two_servers_and_a_liar() {
    let start = Instant::now();
    let mut tally = Tally::default();
    let seeds = seeds(20);
    for seed in seeds.clone() {
        if let Err(text) = town::tell(seed, start, &mut tally) {
            panic!("after {} negotiations: {text}", seed - seeds.start + 1);
        }
    }
    println!("{tally}{:?}", start.elapsed());
}
