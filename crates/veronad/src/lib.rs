//! The daemon `verona`: the engine with a configuration file, signals, a log and a page to look at.
//!
//! Everything about XMPP is in the crates below; here stands what only an operator's machine needs. It is a library only
//! for the program beside it and for those who test its configuration: nothing here is promised to stay.
#![forbid(unsafe_code)]

mod admin;
mod cli;
mod config;
mod demo;
mod expiry;
mod json;
mod log;
mod output;
mod reload;
mod renewal;
mod run;
mod state;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    cli::Cli::parse().execute()
}

/// What `check-config` says of a text, as if it were the file at `path`: whether the daemon would start with it, the
/// report for people, and the report as JSON.
#[must_use]
pub fn check_configuration(text: &str, path: &Path) -> (bool, String, String) {
    let config::Loaded { settings, report } = config::parse(text, path);
    let shown = report.render(false) + &config::summary(settings.as_ref(), &report);
    (settings.is_some(), shown, config::to_json(&report))
}
