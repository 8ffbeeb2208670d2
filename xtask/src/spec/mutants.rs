//! `cargo xtask spec --mutants`: the code broken on purpose, one rule at a time; a test must notice.
//! A citation says that a test shows a rule. This asks the test.
//!
//! A mutant is a row of docs/spec/mutants.toml: a text near the citation, what it becomes, and the tests that must fail.
//! It is a real edit of a copy of the tree, which keeps its own target directory, so that only what changed is built anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::check::Ledger;
use super::citation::Place;
use super::requirement::{Level, MUTANTS, Status};
use crate::runner::command::Run;
use crate::tidy::{Finding, Tree};

/// The whole table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    mutant: Vec<Mutant>,
}

/// One edit that breaks a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    /// The rules that it breaks; each is cited in the file.
    ids: Vec<String>,
    /// Relative to the workspace, inside verona-proto.
    file: String,
    /// Stands in the file exactly once.
    find: String,
    replace: String,
    /// Tests of verona-proto that must fail, each `TARGET FILTER`: `lib dialback::`, `transcripts b-m09`, `federation a_name`.
    tests: Vec<String>,
}

/// The areas in which every MUST has a mutant.
const COMPLETE: &[&str] = &["BIDI", "DB"];

/// How far from the text that it breaks a rule may be cited, in lines.
const NEAR: usize = 60;

/// Whether the table still fits the tree: each text stands where it should, near a citation of its rule, and no rule that
/// needs a mutant is without one.
pub(super) fn check(tree: &Tree, ledger: &Ledger, findings: &mut Vec<Finding>) {
    let table = match read(tree) {
        Ok(table) => table,
        Err(error) => return findings.push(Finding::new(MUTANTS, 1, format!("{error:#}"))),
    };
    let mut covered = BTreeSet::new();
    for mutant in &table.mutant {
        covered.extend(mutant.ids.iter().map(String::as_str));
        if let Err(error) = mutant.fits(tree, ledger) {
            let line = tree
                .texts
                .get(MUTANTS)
                .and_then(|text| {
                    text.find(mutant.find.trim())
                        .map(|at| super::requirement::line_of(text, at))
                })
                .unwrap_or(1);
            let say = format!("{}: {error:#}", mutant.ids.join(" "));
            findings.push(Finding::new(MUTANTS, line, say));
        }
    }
    for area in ledger
        .areas
        .iter()
        .filter(|area| COMPLETE.contains(&area.name.as_str()))
    {
        for rule in &area.requirements {
            let needs = rule.level == Level::Must && rule.status == Status::Implemented;
            if needs && !covered.contains(rule.id.as_str()) {
                let say = format!("{} is a MUST and has no mutant", rule.id);
                findings.push(Finding::new(MUTANTS, 1, say));
            }
        }
    }
}

/// Applies the mutants of the rules `ids`, or all of them, and says whether each was noticed.
pub(super) fn run(root: &Path, ids: &[&str]) -> Result<bool> {
    let tree = Tree::read(root)?;
    let table = read(&tree)?;
    let wanted =
        |mutant: &&Mutant| ids.is_empty() || mutant.ids.iter().any(|id| ids.contains(&id.as_str()));
    let mutants: Vec<&Mutant> = table.mutant.iter().filter(wanted).collect();
    ensure!(!mutants.is_empty(), "{MUTANTS} has no such mutant");
    let copy = Copy::of(root)?;
    let runs: BTreeSet<&str> = mutants
        .iter()
        .flat_map(|mutant| mutant.tests.iter().map(String::as_str))
        .collect();
    println!(
        "{} mutants; first {} runs of tests on the tree as it is",
        mutants.len(),
        runs.len()
    );
    let mut mute = BTreeSet::new();
    for run in runs {
        let why = match copy.test(run)? {
            Verdict::Passed => continue,
            Verdict::Failed => "fails on the tree as it is, so it can tell nothing",
            Verdict::Empty => "runs no test",
            Verdict::NotBuilt => "does not compile",
        };
        println!("`{run}` {why}");
        mute.insert(run);
    }
    let mut survivors = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let start = Instant::now();
        let fate = copy.fate(mutant, &mute)?;
        println!(
            "{:>3}/{} {:<9} {:>5.1} s  {}  {}",
            index + 1,
            mutants.len(),
            fate.name(),
            start.elapsed().as_secs_f64(),
            mutant.ids.join(" "),
            mutant.file.rsplit("src/").next().unwrap_or(&mutant.file),
        );
        if fate != Fate::Killed {
            survivors.push((*mutant, fate));
        }
    }
    println!(
        "{} of {} mutants killed",
        mutants.len() - survivors.len(),
        mutants.len()
    );
    for (mutant, fate) in &survivors {
        println!(
            "{}: {} in {}\n  - {}\n  + {}\n  tests: {}",
            fate.name(),
            mutant.ids.join(" "),
            mutant.file,
            mutant.find.trim(),
            mutant.replace.trim(),
            mutant.tests.join(", ")
        );
    }
    Ok(survivors.is_empty())
}

fn read(tree: &Tree) -> Result<Table> {
    let text = tree
        .texts
        .get(MUTANTS)
        .context("the table of mutants is missing")?;
    toml::from_str(text).context("the table of mutants cannot be understood")
}

impl Mutant {
    /// Whether the edit can be made, and breaks what cites its rules.
    fn fits(&self, tree: &Tree, ledger: &Ledger) -> Result<()> {
        let text = tree
            .texts
            .get(&self.file)
            .with_context(|| format!("there is no {}", self.file))?;
        let line = super::requirement::line_of(text, place(&self.file, text, &self.find)?);
        ensure!(self.find != self.replace, "changes nothing");
        ensure!(!self.ids.is_empty(), "breaks no rule");
        ensure!(!self.tests.is_empty(), "no test is named");
        for id in &self.ids {
            ensure!(
                ledger
                    .cites(id, Place::Code)
                    .any(|citation| citation.path == self.file
                        && citation.line.abs_diff(line) <= NEAR),
                "{id} is not cited within {NEAR} lines of line {line} of {}",
                self.file
            );
        }
        Ok(())
    }
}

/// Where the text to be replaced begins.
fn place(file: &str, text: &str, find: &str) -> Result<usize> {
    let mut places = text.match_indices(find);
    let (at, _) = places
        .next()
        .with_context(|| format!("{file} does not have the text"))?;
    ensure!(
        places.next().is_none(),
        "{file} has the text more than once"
    );
    Ok(at)
}

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Killed,
    Survived,
    /// It does not compile, so no test had a say.
    NotBuilt,
    /// Its text is no more, or more than once, in the file.
    Misplaced,
    /// None of its tests passes without it.
    NotAsked,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Survived => "SURVIVED",
            Self::NotBuilt => "NO BUILD",
            Self::Misplaced => "NO PLACE",
            Self::NotAsked => "NO TEST",
        }
    }
}

/// How one run of tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// The filter fits no test.
    Empty,
    NotBuilt,
}

/// A copy of the tree to break.
pub(crate) struct Copy {
    directory: PathBuf,
    target: PathBuf,
    cargo: PathBuf,
}

impl Copy {
    /// Copies the workspace at `root` into its target directory; files that are there already and the same keep their
    /// times, so that nothing is built again.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let place = root.join("target").join("spec-mutants");
        let copy = Copy {
            directory: place.join("tree"),
            target: place.join("target"),
            cargo: std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from),
        };
        mirror(root, &copy.directory)?;
        Ok(copy)
    }

    /// Breaks the copy, runs the tests, mends the copy.
    fn fate(&self, mutant: &Mutant, mute: &BTreeSet<&str>) -> Result<Fate> {
        let tests: Vec<&str> = mutant
            .tests
            .iter()
            .map(String::as_str)
            .filter(|test| !mute.contains(test))
            .collect();
        if tests.is_empty() {
            return Ok(Fate::NotAsked);
        }
        let edit = (mutant.find.as_str(), mutant.replace.as_str());
        let fate = self.broken(&mutant.file, edit, || self.judge(&tests))?;
        Ok(fate.unwrap_or(Fate::Misplaced))
    }

    /// What `judge` says of the copy while one text of a file is another; `None` if the file does not have it just once.
    pub(crate) fn broken<T>(
        &self,
        file: &str,
        (find, replace): (&str, &str),
        judge: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        let path = self.directory.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {file}"))?;
        let Ok(at) = place(file, &text, find) else {
            return Ok(None);
        };
        let mut broken = text.clone();
        broken.replace_range(at..at + find.len(), replace);
        fs::write(&path, broken).with_context(|| format!("writing {file}"))?;
        let judged = judge();
        fs::write(&path, text).with_context(|| format!("mending {file}"))?;
        judged.map(Some)
    }

    /// Cargo in the copy: what is thrown away need not be debugged.
    pub(crate) fn cargo(&self) -> Run {
        Run::new(&self.cargo)
            .directory(&self.directory)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .quiet()
    }

    fn judge(&self, tests: &[&str]) -> Result<Fate> {
        for test in tests {
            match self.test(test)? {
                Verdict::Failed => return Ok(Fate::Killed),
                Verdict::NotBuilt => return Ok(Fate::NotBuilt),
                Verdict::Passed | Verdict::Empty => {}
            }
        }
        Ok(Fate::Survived)
    }

    /// Builds and runs the tests that `test` names.
    fn test(&self, test: &str) -> Result<Verdict> {
        let (target, filter) = test.split_once(' ').unwrap_or((test, ""));
        let kind: &[&str] = match target {
            "lib" => &["--lib"],
            other => &["--test", other],
        };
        let cargo = || {
            self.cargo()
                .args(["test", "--package", "verona-proto"])
                .args(kind)
        };
        let built = cargo().args(["--no-run"]).deadline(BUILD_MAX).go()?;
        if !built.is_success() {
            return Ok(Verdict::NotBuilt);
        }
        let run = match target {
            "transcripts" => cargo().env("TRANSCRIPT", filter),
            _ => cargo().args(["--", filter]),
        };
        let done = run.deadline(TEST_MAX).go()?;
        let ran = done
            .lines
            .iter()
            .any(|line| line.starts_with("test ") && line.contains(" ... "));
        Ok(match (done.is_success(), ran) {
            (true, true) => Verdict::Passed,
            (true, false) => Verdict::Empty,
            // Killed at its deadline, too: whoever waits for ever has noticed.
            (false, _) => Verdict::Failed,
        })
    }
}

pub(crate) const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
const TEST_MAX: Duration = Duration::from_secs(5 * 60);

/// Makes `to` the same as `from`, without what is built and without the history.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    let mut open = vec![PathBuf::new()];
    let mut wanted = BTreeSet::new();
    while let Some(inside) = open.pop() {
        let directory = from.join(&inside);
        fs::create_dir_all(to.join(&inside)).with_context(|| format!("making {}", to.display()))?;
        let entries =
            fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
        for entry in entries {
            let entry = entry.context("reading a directory")?;
            let kind = entry.file_type().context("asking for the type of a file")?;
            let path = inside.join(entry.file_name());
            if kind.is_dir() {
                let name = entry.file_name();
                if name != "target" && name != ".git" && name != "node_modules" {
                    open.push(path);
                }
            } else if kind.is_file() {
                let bytes = fs::read(entry.path())
                    .with_context(|| format!("reading {}", path.display()))?;
                if fs::read(to.join(&path)).ok().as_deref() != Some(&bytes) {
                    fs::write(to.join(&path), bytes)
                        .with_context(|| format!("copying {}", path.display()))?;
                }
                wanted.insert(path);
            }
        }
    }
    remove_others(to, Path::new(""), &wanted)
}

/// Removes what an earlier copy had and the tree has no more.
fn remove_others(to: &Path, inside: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
    let directory = to.join(inside);
    for entry in
        fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?
    {
        let entry = entry.context("reading a directory")?;
        let path = inside.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_others(to, &path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(entry.path())
                .with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}
