//! One stanza after the other through the machines, without I/O: what a peer sends to a component, and what a component
//! sends to a peer.
//!
//! `relay in 1000` and `relay out 1000` do nothing else, so that a profiler counts nothing else; `cargo xtask count` has the
//! instructions for each stanza counted so.
#![allow(clippy::print_stdout, reason = "it says what it did")]

// The tests count what it allocates.
#[path = "../tests/relay/world.rs"]
mod world;

use std::process::ExitCode;

use world::Relay;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (way, count) = (words.next(), words.next().map(|count| count.parse()));
    let (Some(way), Some(Ok(count))) = (way, count) else {
        println!("usage: relay in|out STANZAS");
        return ExitCode::FAILURE;
    };
    let mut relay = Relay::new();
    let bytes = match way.as_str() {
        "in" => relay.inward(count),
        "out" => relay.outward(count),
        other => {
            println!("{other} is no way: in, or out");
            return ExitCode::FAILURE;
        }
    };
    println!("{count} stanzas {way}, {bytes} bytes written");
    ExitCode::SUCCESS
}
