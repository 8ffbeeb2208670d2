//! The command `verona-bench`: measures verona and other servers with the same load, by turns, and writes the page.
//! Why a program of its own: whoever doubts a figure repeats one work alone.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    reason = "the figures are the product of this program"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "figures have three digits that matter"
)]

mod bare;
mod load;
mod page;
mod results;
mod system;
mod talk;
mod work;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use verona_interop::namespace;

use results::{Results, Work};
use work::Terms;
use world::Kind;

/// Measures verona and other servers with the same load.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stanzas from peers to a component and back: CPU, throughput.
    Relay(Usual),
    /// A message to a component and back: how long it takes.
    Latency(Usual),
    /// The first stanza where there is no link: how many round trips it waits.
    Cold(Usual),
    /// What a stanza costs with many pairs and many domains.
    Growth(Usual),
    /// The memory of idle links, and of streams that have proven nothing.
    Idle(Usual),
    /// Complete link set-ups for each second of the accepting server's CPU.
    Setup(Usual),
    /// The scanner alone and TLS alone.
    Bare(Usual),
    /// Writes the page anew from what was measured.
    Page {
        /// The folder with results.json.
        #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
        results: PathBuf,
    },
    /// A relay without XMPP (started by `relay`).
    #[command(hide = true)]
    BareRelay(bare::relay::Arguments),
}

/// What every work may be told.
#[derive(Clone, Debug, Args)]
struct Usual {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How often each is measured, by turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Short runs and three rounds: to try it, not to publish.
    #[arg(long)]
    quick: bool,
    /// Only these servers.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    servers: Vec<String>,
    /// Only cases whose name has this in it, such as `in-200`.
    #[arg(long, value_name = "TEXT", default_value = "")]
    case: String,
    /// The folder with results.json, which is read and written.
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    results: PathBuf,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    #[arg(long, hide = true)]
    inside_namespace: bool,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Relay(usual) => measure(&usual, "relay", work::relay::run),
        Command::Latency(usual) => measure(&usual, "latency", work::latency::run),
        Command::Cold(usual) => measure(&usual, "cold", work::cold::run),
        Command::Growth(usual) => measure(&usual, "growth", work::growth::run),
        Command::Idle(usual) => measure(&usual, "idle", work::idle::run),
        Command::Setup(usual) => measure(&usual, "setup", work::setup::run),
        Command::Bare(usual) => measure(&usual, "bare", work::bare::run),
        Command::Page { results } => Results::read(&results.join("results.json"))
            .and_then(|read| page::write(&read, &results)),
        Command::BareRelay(arguments) => bare::relay::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does one work in a network of its own, and notes what came of it.
fn measure(usual: &Usual, name: &str, work: fn(&Terms) -> Result<Work>) -> Result<()> {
    if !usual.inside_namespace {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match namespace::enter(&arguments)? {}
    }
    let mut folder = tempfile::Builder::new().prefix("verona-bench-").tempdir()?;
    folder.disable_cleanup(usual.keep);
    let done = work(&terms(usual, folder.path().to_owned())?);
    if usual.keep {
        println!("kept in {}", folder.path().display());
    }
    let file = usual.results.join("results.json");
    let mut results = Results::read(&file)?;
    results.works.insert(name.to_owned(), done?);
    results.write(&file)?;
    page::write(&results, &usual.results)
}

fn terms(usual: &Usual, dir: PathBuf) -> Result<Terms> {
    let beside = std::env::current_exe()?.with_file_name("verona");
    let verona = usual.verona.clone().unwrap_or(beside);
    let verona = verona
        .canonicalize()
        .with_context(|| format!("{}: --verona PATH names the binary", verona.display()))?;
    let kinds = match usual.servers.as_slice() {
        [] => Kind::ALL.to_vec(),
        names => names
            .iter()
            .map(|name| match Kind::named(name) {
                Some(kind) => Ok(kind),
                None => bail!("there is no server `{name}` here"),
            })
            .collect::<Result<_>>()?,
    };
    let rounds = match usual.quick {
        true => 3,
        false => usual.rounds,
    };
    ensure!(
        (1..=99).contains(&rounds),
        "--rounds is a number from 1 to 99"
    );
    Ok(Terms {
        verona,
        dir,
        rounds,
        is_quick: usual.quick,
        case: usual.case.clone(),
        kinds,
    })
}
