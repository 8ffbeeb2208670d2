//! `verona-interop crossing`: both sides dial at the same moment, many times, each time with domains that never met.
//! Why so often: what two connections for one pair can do to order, or to a stanza, depends on who is a moment earlier.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::matrix::command::{answer, enter_namespace, missing, not_run, program};
use crate::matrix::play::{self, Link};
use crate::matrix::witness::Witnesses;
use crate::matrix::world::World;
use crate::matrix::{Asked, Cell, Certificate, Dials, Peer, table};
use crate::namespace;

/// Lets both sides dial at the same moment.
#[derive(Debug, Parser)]
#[command(name = "verona-interop crossing")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How often, with each peer and each proof.
    #[arg(long, default_value_t = 20)]
    times: usize,
    /// Write the table into this document, between its marks, when nothing failed.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    #[arg(long, hide = true)]
    inside_namespace: bool,
    /// These only; a part of a name such as prosody/external selects all that have it.
    #[arg(value_name = "KIND")]
    kinds: Vec<String>,
}

/// Runs it with the words after `crossing`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    answer("crossing", words, go)
}

fn go(arguments: &Arguments, words: &[String]) -> Result<ExitCode> {
    let mut kinds = kinds();
    let words_given = &arguments.kinds;
    kinds.retain(|kind| {
        words_given.is_empty() || words_given.iter().any(|word| name(kind).contains(word))
    });
    ensure!(
        !kinds.is_empty(),
        "no kind of crossing is named so: verona/external, prosody/dialback, …"
    );
    let lacking = missing(&kinds, Path::new(""));
    if !lacking.is_empty() {
        return Ok(not_run("kinds of crossing", kinds.len(), &lacking));
    }
    if !arguments.inside_namespace {
        match enter_namespace("crossing", words)? {}
    }
    let program = program(arguments.verona.clone())?;
    let folder = tempfile::Builder::new()
        .prefix("verona-interop-crossing-")
        .tempdir()?;
    namespace::furnish(folder.path())?;
    let mut tallies = BTreeMap::new();
    let (mut passed, mut failed) = (0_usize, 0_usize);
    for kind in kinds {
        let began = Instant::now();
        let mut tally = Tally::default();
        while tally.times < arguments.times {
            let number = (arguments.times - tally.times).min(ROUND);
            round(folder.path(), &kind, number, &program, &mut tally)?;
            if tally.times < arguments.times {
                println!(
                    "… crossing/{}: {} of {}, {} faults",
                    name(&kind),
                    tally.times,
                    arguments.times,
                    tally.faults.len()
                );
            }
        }
        let took = began.elapsed().as_secs_f32();
        if tally.faults.is_empty() {
            passed += 1;
            println!("ok: crossing/{} ({took:.1} s): {tally}", name(&kind));
        } else {
            failed += 1;
            println!(
                "FAILED: crossing/{} ({took:.1} s): {} of {}; the others: {tally}\n    {}",
                name(&kind),
                tally.faults.len(),
                tally.times,
                tally.faults.join("\n    ")
            );
        }
        tallies.insert(kind, tally);
    }
    if let Some(path) = &arguments.markdown
        && failed == 0
    {
        let document = fs::read_to_string(path)?;
        fs::write(
            path,
            table::put(&document, "crossing", &markdown(&tallies))?,
        )?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// With another verona and with Prosody, by certificates and by dialback.
fn kinds() -> Vec<Cell> {
    let mut kinds = Vec::new();
    for peer in [Peer::Verona, Peer::Prosody] {
        for certificate in [Certificate::Full, Certificate::SelfSigned] {
            kinds.push(Cell {
                peer,
                asked: Asked::Either,
                dials: Dials::Both,
                ours: certificate,
                theirs: certificate,
            });
        }
    }
    kinds
}

fn name(kind: &Cell) -> String {
    let proof = match kind.ours {
        Certificate::Full | Certificate::ServerOnly => "external",
        Certificate::SelfSigned | Certificate::WrongName => "dialback",
    };
    format!("{}/{proof}", kind.peer.word())
}

/// What came of one kind.
#[derive(Debug, Default)]
struct Tally {
    times: usize,
    messages: usize,
    /// How often so many connections carried stanzas.
    carriers: BTreeMap<usize, usize>,
    /// How often one direction was spread over two connections.
    moved: usize,
    /// How often so many connections were made, those that verify keys included.
    connections: BTreeMap<usize, usize>,
    faults: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} times, {} messages, none lost, none twice, all in order; connections with stanzas: {}; a direction \
             moved from one to another: {} times; connections in all: {}",
            self.times,
            self.messages,
            counts(&self.carriers),
            self.moved,
            counts(&self.connections)
        )
    }
}

fn counts(numbers: &BTreeMap<usize, usize>) -> String {
    let each: Vec<String> = numbers
        .iter()
        .map(|(number, times)| format!("{number} ({times} times)"))
        .collect();
    each.join(", ")
}

fn round(dir: &Path, kind: &Cell, number: usize, program: &Path, tally: &mut Tally) -> Result<()> {
    let folder = tempfile::tempdir_in(dir)?;
    let cells = vec![*kind; number];
    let world = World::set(folder.path(), &cells, MESSAGES, program, Path::new(""))?;
    let all = play::play_all(&world, WORKERS);
    let witnesses = Witnesses::hear(world)?;
    for (placed, seen) in witnesses.cells.iter().zip(all) {
        tally.times += 1;
        let judged = seen.and_then(|seen| {
            let judged = witnesses.judge(placed, &seen);
            judged
                .with_context(|| format!("{seen:?}"))
                .map(|connections| (seen, connections))
        });
        match judged {
            Ok((seen, connections)) => {
                let carrying: Vec<&Link> = seen
                    .links
                    .iter()
                    .filter(|link| link.has_carried())
                    .collect();
                let spread =
                    |of: fn(&Link) -> u64| carrying.iter().filter(|link| of(link) > 0).count();
                let is_moved =
                    spread(|link| link.stanzas_out) > 1 || spread(|link| link.stanzas_in) > 1;
                tally.messages += seen.near_to_far.came.len() + seen.far_to_near.came.len();
                tally.moved += usize::from(is_moved);
                *tally.carriers.entry(carrying.len()).or_default() += 1;
                *tally.connections.entry(connections).or_default() += 1;
            }
            Err(error) => tally.faults.push(format!("{error:#}")),
        }
    }
    Ok(())
}

fn markdown(tallies: &BTreeMap<Cell, Tally>) -> String {
    let mut text = "| peer | proof | times | messages | connections with stanzas | a direction moved | connections in all |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (kind, tally) in tallies {
        let name = name(kind);
        let proof = name.rsplit('/').next().unwrap_or_default();
        text.push_str(&format!(
            "| {} | {proof} | {} | {} | {} | {} | {} |\n",
            kind.peer.title(),
            tally.times,
            tally.messages,
            counts(&tally.carriers),
            tally.moved,
            counts(&tally.connections)
        ));
    }
    text
}

/// Messages each way: enough for payload to stand out in the kernel's account.
const MESSAGES: usize = 60;
/// Pairs that meet in one world: each keeps descriptors in every server.
const ROUND: usize = 50;
/// Pairs that meet at one moment.
const WORKERS: usize = 4;
