//! `cargo xtask sim`: worlds by the million, and the simulator put to the test.
//! A simulator that finds nothing proves nothing until it is shown what it would find: `--mutants` breaks the delivery on
//! purpose, one way at a time, and each must be found.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::runner::command::Run;
use crate::spec::mutants::{BUILD_MAX, Copy};

/// How many worlds each mutant has to go wrong in one of.
const SEEDS: &str = "10000";
const RUN_MAX: Duration = Duration::from_secs(20 * 60);
/// The table of mutants.
const MUTANTS: &str = "crates/verona-sim/tests/mutants.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mutant: Vec<Mutant>,
}

/// One way in which the delivery is broken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    /// What it does wrong.
    what: String,
    /// Relative to the workspace.
    file: String,
    /// Stands in the file exactly once.
    find: String,
    replace: String,
}

/// Plays so many worlds on all cores, as fast as they go.
///
/// # Errors
/// When Cargo cannot be run.
pub(crate) fn run(root: &Path, seeds: &str) -> Result<bool> {
    let done = worlds(Run::new(cargo()).directory(root), seeds)
        .args(["--release"])
        .args(TEST)
        .deadline(Duration::from_secs(6 * 3600))
        .go()?;
    Ok(done.is_success())
}

/// Breaks a copy of the tree in each way, and says whether the simulator finds it within [`SEEDS`] worlds.
///
/// # Errors
/// When the table or the tree cannot be read, or Cargo cannot be run.
pub(crate) fn run_mutants(root: &Path, words: &[&str]) -> Result<bool> {
    let table = read(root)?;
    let wanted = |mutant: &&Mutant| words.iter().all(|word| mutant.what.contains(word));
    let mutants: Vec<&Mutant> = table.mutant.iter().filter(wanted).collect();
    ensure!(!mutants.is_empty(), "{MUTANTS} has no such mutant");
    let copy = Copy::of(root)?;
    ensure!(
        matches!(judge(&copy)?, Verdict::NotFound),
        "the tree as it is fails already, so it can tell nothing"
    );
    let mut found = 0;
    for mutant in &mutants {
        let start = Instant::now();
        let edit = (mutant.find.as_str(), mutant.replace.as_str());
        let verdict = copy.broken(&mutant.file, edit, || judge(&copy))?;
        let says = match verdict {
            Some(Verdict::Found(how)) => {
                found += 1;
                format!("found  {how}")
            }
            Some(Verdict::NotFound) => "NOT FOUND".to_owned(),
            Some(Verdict::NotBuilt) => "NO BUILD".to_owned(),
            None => format!("NO PLACE in {}", mutant.file),
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("{seconds:>6.1} s  {}\n          {says}", mutant.what);
    }
    println!("{found} of {} mutants found", mutants.len());
    Ok(found == mutants.len())
}

fn read(root: &Path) -> Result<Table> {
    let text =
        fs::read_to_string(root.join(MUTANTS)).with_context(|| format!("reading {MUTANTS}"))?;
    toml::from_str(&text).with_context(|| format!("reading {MUTANTS}"))
}

/// What the simulator says of a tree.
enum Verdict {
    /// In which world, and what is wrong there.
    Found(String),
    NotFound,
    NotBuilt,
}

fn judge(copy: &Copy) -> Result<Verdict> {
    let built = worlds(copy.cargo(), SEEDS)
        .args(["--no-run"])
        .deadline(BUILD_MAX)
        .go()?;
    if !built.is_success() {
        return Ok(Verdict::NotBuilt);
    }
    let done = worlds(copy.cargo(), SEEDS)
        .args(TEST)
        .deadline(RUN_MAX)
        .go()?;
    if done.is_success() {
        return Ok(Verdict::NotFound);
    }
    let line = done.lines.iter().find(|line| line.starts_with("seed "));
    // Whoever never comes to an end has been found out, too.
    let how = line.cloned().unwrap_or_else(|| done.ending());
    Ok(Verdict::Found(how))
}

fn worlds(cargo: Run, seeds: &str) -> Run {
    cargo
        .env("SIM_SEEDS", seeds)
        .args(["test", "--package", "verona-sim", "--test", "worlds"])
}

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The one test that plays worlds, with what it prints.
const TEST: [&str; 3] = ["every_seed", "--", "--nocapture"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn every_mutant_has_its_place_in_the_code_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let table = read(root).unwrap();
        for Mutant {
            what, file, find, ..
        } in &table.mutant
        {
            let text = fs::read_to_string(root.join(file)).unwrap();
            assert_eq!(text.matches(find.as_str()).count(), 1, "{what}: {file}");
        }
        // Each of the invariants that the simulator looks at is broken by one at least.
        for invariant in '1'..='7' {
            let breaks = |mutant: &Mutant| mutant.what.starts_with(invariant);
            assert!(table.mutant.iter().any(breaks), "invariant {invariant}");
        }
    }
}
