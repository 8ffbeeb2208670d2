//! Every input that taught a fuzzer something is tried again, on any compiler, at every test run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed step is a failed test, and one that could not run has to say so"
)]

use std::panic::catch_unwind;

use verona_fuzz::referees::Referees;
use verona_fuzz::{TARGETS, corpus, forward};

/// The corpus of each target, and its own count of inputs: one that has become empty proves nothing.
fn replay(target: &str) {
    let (name, run) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let inputs = corpus::read(name).expect("a corpus");
    assert!(inputs.len() >= 50, "{} inputs", inputs.len());
    let failed = inputs
        .iter()
        .find(|input| catch_unwind(|| run(input)).is_err());
    if let Some(input) = failed {
        panic!("{name} breaks a promise with \"{}\"", input.escape_ascii());
    }
}

#[test]
fn addresses() {
    replay("addresses");
}

#[test]
fn component() {
    replay("component");
}

#[test]
fn configuration() {
    replay("configuration");
}

#[test]
fn dialback() {
    replay("dialback");
}

#[test]
fn federation() {
    replay("federation");
}

#[test]
fn forward() {
    replay("forward");
}

#[test]
fn initiating() {
    replay("initiating");
}

#[test]
fn proxy_header() {
    replay("proxy_header");
}

#[test]
fn receiving() {
    replay("receiving");
}

#[test]
fn scanner() {
    replay("scanner");
}

/// Each target has a corpus and a test here.
#[test]
fn nothing_is_left_out() {
    let source = include_str!("corpus.rs");
    for (name, _) in TARGETS {
        assert!(source.contains(&format!("replay(\"{name}\")")), "{name}");
    }
}

/// What the scanner accepts, expat and libxml2 accept and understand alike, and what is forwarded as well.
///
/// spec ROUTE-11 ROUTE-30
#[test]
fn referees_agree() {
    let mut referees = match Referees::start() {
        Ok(referees) => referees,
        Err(error) => {
            let everything_must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!everything_must_run, "no referees, and CI=true: {error}");
            println!("not run: expat and libxml2 cannot be asked ({error})");
            return;
        }
    };
    let mut judged = 0;
    for input in corpus::read("forward").expect("a corpus") {
        if let Some(travelled) = forward::examine(&input) {
            travelled.judge(&mut referees);
            judged += 1;
        }
    }
    assert!(judged >= 50, "{judged} elements");
}
