//! `verona-interop matrix`: plays the cells, judges each, and prints a line for each.
//! Why a command of its own: its servers are started once for all cells, and in a namespace.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use super::play::{self, Seen};
use super::witness::Witnesses;
use super::world::World;
use super::{Cell, Kind, cells, table};
use crate::{namespace, scene};

/// Plays every peer with every proof, order of dialling and certificate.
#[derive(Debug, Parser)]
#[command(name = "verona-interop matrix")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// The newer servers in place of the usual ones.
    #[arg(long)]
    newer: bool,
    /// Where the newer servers' systems are.
    #[arg(long, value_name = "DIR", default_value = "target/debian")]
    roots: PathBuf,
    /// Write the table into this document, between its marks, when every cell passed.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    /// List the cells.
    #[arg(long)]
    list: bool,
    #[arg(long, hide = true)]
    inside_namespace: bool,
    /// Play these only; a part of a name selects all that have it.
    #[arg(value_name = "CELL")]
    cells: Vec<String>,
}

/// Runs it with the words after `matrix`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    answer("matrix", words, go)
}

fn go(arguments: &Arguments, words: &[String]) -> Result<ExitCode> {
    let chosen = chosen(arguments);
    ensure!(!chosen.is_empty(), "no cell is named so; --list shows them");
    if arguments.list {
        for cell in chosen {
            println!("{}", cell.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let lacking = missing(&chosen, &arguments.roots);
    if !lacking.is_empty() {
        return Ok(not_run("cells of the matrix", chosen.len(), &lacking));
    }
    if !arguments.inside_namespace {
        match enter_namespace("matrix", words)? {}
    }
    play_and_judge(arguments, &chosen)
}

fn chosen(arguments: &Arguments) -> Vec<Cell> {
    let all = if arguments.newer {
        cells::newer()
    } else {
        cells::usual()
    };
    let words = &arguments.cells;
    all.into_iter()
        .filter(|cell| {
            let name = cell.name();
            words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
        })
        .collect()
}

/// What the cells want and this machine lacks, in words.
#[must_use]
pub fn missing(cells: &[Cell], roots: &Path) -> Vec<String> {
    let mut missing = scene::missing();
    if let Err(error) = namespace::available() {
        missing.push(format!("{error:#}"));
    }
    let wanted = |kind| {
        cells
            .iter()
            .any(|cell| cell.peer.kind() == kind && cell.peer.release().is_none())
    };
    for (kind, program, package) in [
        (Kind::Ejabberd, "/usr/sbin/ejabberdctl", "ejabberd"),
        (Kind::Jabberd2, "/usr/sbin/jabberd2-s2s", "jabberd2"),
    ] {
        if wanted(kind) && !Path::new(program).exists() {
            missing.push(format!("{program} (Debian package {package})"));
        }
    }
    let mut releases: Vec<_> = cells
        .iter()
        .filter_map(|cell| cell.peer.release())
        .collect();
    releases.sort_unstable();
    releases.dedup();
    for release in releases {
        let root = roots.join(release.name());
        if !root.join("usr/sbin/ejabberdctl").exists() || !root.join("usr/bin/prosody").exists() {
            missing.push(format!(
                "Debian {} with prosody and ejabberd in {} (`cargo xtask interop --newer` puts it there)",
                release.name(),
                root.display()
            ));
        }
    }
    missing
}

/// Reads the words behind `verona-interop NAME` and does what they say; a failure is a line and the last one's count.
pub fn answer<A: Parser>(
    name: &str,
    words: &[String],
    go: impl FnOnce(&A, &[String]) -> Result<ExitCode>,
) -> ExitCode {
    let all = std::iter::once(format!("verona-interop {name}")).chain(words.iter().cloned());
    match go(&A::parse_from(all), words) {
        Ok(code) => code,
        Err(error) => {
            println!("FAILED: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

/// Runs the same command again in a namespace of its own.
///
/// # Errors
/// There is none to be had.
pub fn enter_namespace(name: &str, words: &[String]) -> Result<Infallible> {
    let all: Vec<String> = std::iter::once(name.to_owned())
        .chain(words.iter().cloned())
        .collect();
    namespace::enter(&all)
}

/// Where everything has to be there, what is missing is a failure and not an excuse (contract §1).
#[must_use]
pub fn not_run(what: &str, number: usize, lacking: &[String]) -> ExitCode {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    println!("not run: {number} {what}: {}", lacking.join(", "));
    if strict {
        println!("0 passed, {number} failed");
        ExitCode::FAILURE
    } else {
        println!("0 passed, 0 failed, {number} skipped");
        ExitCode::SUCCESS
    }
}

/// The verona binary that was named, or the one beside this program.
///
/// # Errors
/// There is none.
pub fn program(named: Option<PathBuf>) -> Result<PathBuf> {
    named
        .or_else(|| Some(std::env::current_exe().ok()?.with_file_name("verona")))
        .context("no verona binary; --verona PATH names one")?
        .canonicalize()
        .context("finding the verona binary")
}

fn play_and_judge(arguments: &Arguments, chosen: &[Cell]) -> Result<ExitCode> {
    let program = program(arguments.verona.clone())?;
    let roots = arguments.roots.canonicalize().unwrap_or_default();
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-matrix-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    namespace::furnish(folder.path())?;
    let began = Instant::now();
    let world = World::set(folder.path(), chosen, MESSAGES, &program, &roots)?;
    let started = began.elapsed();
    let seen = play::play_all(&world, WORKERS);
    let witnesses = Witnesses::hear(world)?;
    let mut results = BTreeMap::new();
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for (placed, seen) in witnesses.cells.iter().zip(seen) {
        let name = placed.cell.name();
        let judged = seen.and_then(|seen| {
            let judged = witnesses.judge(placed, &seen);
            judged
                .with_context(|| format!("{seen:?}"))
                .map(|connections| (seen, connections))
        });
        match judged {
            Ok((seen, connections)) => {
                passed += 1;
                println!("{}", line(&name, &seen, connections));
                results.insert(placed.cell, table::says(&seen));
            }
            Err(error) => {
                failed += 1;
                let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
                println!("FAILED: {name}: {}\n    {error}", causes.join(": "));
            }
        }
    }
    println!(
        "the servers ran after {:.1} s, all was judged after {:.1} s",
        started.as_secs_f32(),
        began.elapsed().as_secs_f32()
    );
    if let Some(path) = &arguments.markdown
        && failed == 0
    {
        let name = if arguments.newer { "newer" } else { "matrix" };
        let document = fs::read_to_string(path)?;
        fs::write(
            path,
            table::put(&document, name, &table::markdown(&results))?,
        )?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn line(name: &str, seen: &Seen, connections: usize) -> String {
    let ends = |flow: &play::Flow| format!("{} of {}", flow.came.len(), flow.sent);
    let why = seen
        .near_to_far
        .bounce
        .as_ref()
        .map_or_else(String::new, |bounce| {
            format!("; {}: {}", bounce.condition, bounce.text)
        });
    format!(
        "ok: {name} ({:.1} s): {}; out {}, in {}; {connections} connections in all{why}",
        seen.took.as_secs_f32(),
        table::says(seen),
        ends(&seen.near_to_far),
        ends(&seen.far_to_near),
    )
}

/// Messages each way in a cell.
pub const MESSAGES: usize = 200;
/// Cells at once.
const WORKERS: usize = 16;
