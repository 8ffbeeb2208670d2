//! What the fuzzers run: one function for each target, which takes any bytes and panics when a promise is broken.
//! It is a library, so that the fuzzers (`fuzz/`, nightly) and the replay of the corpus (`tests/corpus.rs`, stable) run
//! the same code. `docs/fuzzing.md` says how.
#![forbid(unsafe_code)]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a panic is the verdict that a fuzzer understands"
)]

pub mod addresses;
mod choices;
pub mod component;
#[cfg(feature = "configuration")]
pub mod configuration;
pub mod corpus;
pub mod dialback;
pub mod federation;
pub mod forward;
pub mod proxy_header;
pub mod referees;
pub mod scanner;
pub mod stream;
mod wire;

/// A target: its name, which is that of its corpus and of its fuzzer, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("addresses", addresses::run),
    ("component", component::run),
    #[cfg(feature = "configuration")]
    ("configuration", configuration::run),
    ("dialback", dialback::run),
    ("federation", federation::run),
    ("forward", forward::run),
    ("initiating", stream::initiating),
    ("proxy_header", proxy_header::run),
    ("receiving", stream::receiving),
    ("scanner", scanner::run),
];

/// Whether somebody wants to see what happens: the variable `VERONA_FUZZ_SHOW` is set.
fn is_shown() -> bool {
    use std::sync::OnceLock;
    static IS_SHOWN: OnceLock<bool> = OnceLock::new();
    *IS_SHOWN.get_or_init(|| std::env::var_os("VERONA_FUZZ_SHOW").is_some())
}

#[allow(
    clippy::print_stderr,
    reason = "asked for, by whoever looks at one input"
)]
fn show(text: &str) {
    eprintln!("{text}");
}
