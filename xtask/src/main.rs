//! The tasks of this workspace: `cargo xtask test`, `cargo xtask tidy`, `cargo xtask spec`.
//! One runner for a desk and for CI, so that both can only say the same.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "a task talks to the person who started it"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use runner::bench;

mod runner;
mod sim;
mod spec;
mod tidy;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => workspace_root().map(|root| runner::run(&root)),
        ["interop"] => workspace_root().map(|root| runner::interop(&root, runner::Servers::Usual)),
        ["interop", "--newer"] => {
            workspace_root().map(|root| runner::interop(&root, runner::Servers::Newer))
        }
        ["soak"] => workspace_root().map(|root| runner::soak(&root)),
        ["bench", "slow-peer"] => workspace_root().map(|root| runner::slow_peer(&root)),
        ["bench", "eyeballs"] => workspace_root().map(|root| runner::eyeballs(&root)),
        ["count"] => workspace_root().map(|root| runner::count(&root)),
        ["sim"] => workspace_root().and_then(|root| sim::run(&root, "100000")),
        ["sim", "--mutants", words @ ..] => {
            workspace_root().and_then(|root| sim::run_mutants(&root, words))
        }
        ["sim", seeds] => workspace_root().and_then(|root| sim::run(&root, seeds)),
        ["bench", words @ ..] if bench::knows(words) => {
            workspace_root().map(|root| runner::benchmarks(&root, words))
        }
        ["tidy"] => workspace_root().and_then(|root| tidy::run(&root)),
        ["spec"] => workspace_root().and_then(|root| spec::run(&root)),
        ["spec", "--write"] => workspace_root().and_then(|root| spec::write(&root)),
        ["spec", "--mutants", ids @ ..] => {
            workspace_root().and_then(|root| spec::run_mutants(&root, ids))
        }
        [] | ["help" | "-h" | "--help"] => {
            println!("{HELP}");
            Ok(true)
        }
        _ => {
            println!("There is no task `{}`.\n\n{HELP}", words.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The directory of the workspace's `Cargo.toml`, from wherever in the tree the task was started.
fn workspace_root() -> Result<PathBuf> {
    let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(own) => PathBuf::from(own),
        None => std::env::current_dir().context("asking for the current directory")?,
    };
    for directory in start.ancestors() {
        let manifest = directory.join("Cargo.toml");
        if let Ok(text) = std::fs::read_to_string(&manifest)
            && text.contains("[workspace]")
        {
            return Ok(directory.to_path_buf());
        }
    }
    bail!("no workspace above {}", start.display())
}

const HELP: &str = "\
cargo xtask test    everything a change must pass: fmt, clippy, doc, tidy, the tests, the release
                    build, the demo, deny, and the interop suite against real servers
cargo xtask tidy    the rules that no compiler checks: layers, makers, words, the code map
cargo xtask spec    every requirement of docs/spec against the code and the tests that cite it;
                    --write   also writes docs/compliance.md
                    --mutants [ID…]   breaks the code at its citations, and sees whether a test fails
cargo xtask count   the instructions that a stanza costs (valgrind), part of the test
cargo xtask sim [SEEDS]   simulated worlds (verona-sim), 100,000 of them, on all cores
                    --mutants [WORD…]   breaks the delivery on purpose, and sees whether the simulator finds it
cargo xtask interop the interop suite alone; `--newer` with servers of newer Debians, which are fetched
cargo xtask soak    what takes long: both sides dialling at once, 1,000 times with each peer and proof; 1,000
                    certificates replaced under traffic; half an hour of chaos; 50 power losses; and the
                    measurements
cargo xtask bench   what verona costs beside other servers, by turns in one run; writes docs/benchmarks.md.
                    bench WORK does one alone: bare, relay, latency, cold, setup, idle, growth; `--quick` to try it
cargo xtask bench eyeballs   how much later a first stanza arrives because of a dead IPv6 address
cargo xtask bench slow-peer  what a peer that never reads costs the others
cargo xtask help    this text

`test` runs every stage even when one fails, lists them with their minutes, and ends with one line
`N passed, N failed`, to which `, N skipped` is added when something was not run. The count is of
tests; a stage that has none of its own (fmt, clippy, …) counts only when it fails. Exit status: 0
when nothing failed, 1 otherwise.

Servers that the interop suite needs are installed with apt by root; without root, or without apt,
what is missing is listed as `not run: …`. With CI=true a missing server or tool is a failure.";
