//! `verona-interop matrix`: plays the cells, judges each, and prints a line for each.
//! Why a command of its own: its servers are started once for all cells, and in a namespace.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use super::play::{self, Seen};
use super::world::World;
use super::{Cell, cells};
use crate::namespace;

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
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &Arguments, words: &[String]) -> Result<ExitCode> {
    let chosen: Vec<Cell> = if arguments.newer {
        cells::newer()
    } else {
        cells::usual()
    }
    .into_iter()
    .filter(|cell| {
        arguments.cells.is_empty()
            || arguments
                .cells
                .iter()
                .any(|word| cell.name().contains(word.as_str()))
    })
    .collect();
    ensure!(!chosen.is_empty(), "no cell is named so; --list shows them");
    if arguments.list {
        for cell in chosen {
            println!("{}", cell.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.inside_namespace {
        let mut all = vec!["matrix".to_owned()];
        all.extend_from_slice(words);
        match namespace::enter(&all)? {}
    }
    let program = arguments
        .verona
        .clone()
        .or_else(|| Some(std::env::current_exe().ok()?.with_file_name("verona")))
        .context("no verona binary; --verona PATH names one")?
        .canonicalize()
        .context("finding the verona binary")?;
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-matrix-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    let began = Instant::now();
    let world = World::set(folder.path(), &chosen, &program, &arguments.roots)?;
    println!("the servers run after {:.1} s", began.elapsed().as_secs_f32());
    let seen = play::play_all(&world);
    for (placed, seen) in world.cells.iter().zip(&seen) {
        match seen {
            Ok(seen) => println!("{}", line(&placed.cell, seen)),
            Err(error) => println!("FAILED: {}: {error:#}", placed.cell.name()),
        }
    }
    world.strike()?;
    println!("all after {:.1} s", began.elapsed().as_secs_f32());
    Ok(ExitCode::SUCCESS)
}

fn line(cell: &Cell, seen: &Seen) -> String {
    format!(
        "{} ({:.1} s): {:?} | {:?} | {:?}",
        cell.name(),
        seen.took.as_secs_f32(),
        seen.near_to_far,
        seen.far_to_near,
        seen.links
    )
}
