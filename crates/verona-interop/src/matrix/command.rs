//! `verona-interop matrix`: plays the cells, judges each, and prints a line for each.
//! Why a command of its own: its servers are started once for all cells, and in a namespace.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use super::play::{self, Seen};
use super::world::{Placed, World};
use super::{Cell, Kind, Peer, cells, expect, table};
use crate::wire::{self, Side};
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
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop matrix".to_owned()).chain(words.iter().cloned()),
    );
    match go(&arguments, words) {
        Ok(code) => code,
        Err(error) => {
            println!("FAILED: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
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
    let mut lacking = missing(&chosen, &arguments.roots);
    if let Err(error) = namespace::available() {
        lacking.push(format!("{error:#}"));
    }
    if !lacking.is_empty() {
        return Ok(not_run(&chosen, &lacking));
    }
    if !arguments.inside_namespace {
        let mut all = vec!["matrix".to_owned()];
        all.extend_from_slice(words);
        match namespace::enter(&all)? {}
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
fn missing(cells: &[Cell], roots: &Path) -> Vec<String> {
    let mut missing = scene::missing();
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
    let mut releases: Vec<_> = cells.iter().filter_map(|cell| cell.peer.release()).collect();
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

/// Where everything has to be there, what is missing is a failure and not an excuse (contract §1).
fn not_run(chosen: &[Cell], lacking: &[String]) -> ExitCode {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    println!(
        "not run: {} cells of the matrix: {}",
        chosen.len(),
        lacking.join(", ")
    );
    if strict {
        println!("0 passed, {} failed", chosen.len());
        ExitCode::FAILURE
    } else {
        println!("0 passed, 0 failed, {} skipped", chosen.len());
        ExitCode::SUCCESS
    }
}

fn play_and_judge(arguments: &Arguments, chosen: &[Cell]) -> Result<ExitCode> {
    let program = arguments
        .verona
        .clone()
        .or_else(|| Some(std::env::current_exe().ok()?.with_file_name("verona")))
        .context("no verona binary; --verona PATH names one")?
        .canonicalize()
        .context("finding the verona binary")?;
    let roots = arguments.roots.canonicalize().unwrap_or_default();
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-matrix-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    let began = Instant::now();
    let world = World::set(folder.path(), chosen, &program, &roots)?;
    let started = began.elapsed();
    let seen = play::play_all(&world);
    let placed = world.cells.clone();
    let orders = Orders::of(&world);
    let sockets = world.strike()?;
    // The kernel tells of a socket when it ends, and a little later.
    std::thread::sleep(Duration::from_millis(200));
    let mut results = BTreeMap::new();
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for (placed, seen) in placed.iter().zip(seen) {
        let name = placed.cell.name();
        let judged = seen.and_then(|seen| {
            let judged = judge(placed, &seen, &orders, &sockets);
            judged.with_context(|| format!("{seen:?}")).map(|connections| (seen, connections))
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
        fs::write(path, table::put(&document, name, &table::markdown(&results))?)?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn judge(
    placed: &Placed,
    seen: &Seen,
    orders: &Orders,
    sockets: &crate::sockets::SocketWatch,
) -> Result<usize> {
    expect::judge(placed, seen, orders.order(placed)?.as_deref())?;
    let kernel = sockets.accounts(&[placed.near_address, placed.far_address]);
    if sockets.is_complete() {
        expect::kernel_agrees(placed, seen, &kernel)
    } else {
        Ok(kernel.len())
    }
}

/// The wire logs of the peers that keep one: in which order they wrote their messages is for them to answer for, in
/// which order those came is for verona. Prosody 0.12 writes what it gets between the header and the features of an
/// authenticated stream at once, and only then what waited before.
struct Orders {
    logs: BTreeMap<Peer, Vec<wire::Connection>>,
    faults: BTreeMap<Peer, String>,
}

impl Orders {
    fn of(world: &World) -> Self {
        let mut orders = Self {
            logs: BTreeMap::new(),
            faults: BTreeMap::new(),
        };
        let mut peers: Vec<Peer> = world.cells.iter().map(|placed| placed.cell.peer).collect();
        peers.dedup();
        for peer in peers {
            let Some(log) = world.wire_log(peer) else {
                continue;
            };
            match wire::read(log) {
                Ok(connections) => {
                    orders.logs.insert(peer, connections);
                }
                Err(error) => {
                    orders.faults.insert(peer, format!("{error:#}"));
                }
            }
        }
        orders
    }

    /// The numbers of the messages from the peer to verona in this cell, as the peer wrote them.
    fn order(&self, placed: &Placed) -> Result<Option<Vec<usize>>> {
        let peer = placed.cell.peer;
        if let Some(fault) = self.faults.get(&peer) {
            anyhow::bail!("the wire log of {}: {fault}", peer.word());
        }
        let Some(connections) = self.logs.get(&peer) else {
            return Ok(None);
        };
        let mut written: Vec<(f64, usize)> = Vec::new();
        let from = format!("a@{}", placed.far);
        for passed in connections.iter().flat_map(|connection| &connection.elements) {
            let element = &passed.element;
            let is_ours = passed.writer == Side::Far
                && element.from == from
                && element.name == "message"
                && element.kind == "chat";
            if is_ours {
                written.push((passed.at, element.id.parse()?));
            }
        }
        // Stable: what one write held stays in its order.
        written.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Some(written.into_iter().map(|(_, number)| number).collect()))
    }
}

fn line(name: &str, seen: &Seen, connections: usize) -> String {
    let ends = |flow: &play::Flow| format!("{} of {}", flow.came.len(), flow.sent);
    let why = seen.near_to_far.bounce.as_ref().map_or_else(String::new, |bounce| {
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
