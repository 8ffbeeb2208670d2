//! The daemon `verona`: the engine with a configuration file, signals, a log and a page to look at.
//!
//! Everything about XMPP is in the crates below; here stands what only an operator's machine needs.
#![forbid(unsafe_code)]

mod admin;
mod cli;
mod config;
mod demo;
mod json;
mod log;
mod output;
mod run;
mod state;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cli::Cli::parse().execute()
}
