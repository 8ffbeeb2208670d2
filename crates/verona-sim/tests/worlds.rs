//! Ten thousand worlds, each by its seed, and those that once went wrong.
//!
//! `SIM_SEEDS` says how many (`cargo xtask soak`: a million), `SIM_FIRST` where to begin, `SIM_SEED` one of which the
//! whole story is told, `SIM_PLAN` a file with a plan of which it is, `SIM_ALL=1` that all that fail are listed and not
//! only the first (`docs/simulation.md`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, print, read the clock and be told how much to do"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use verona_sim::world::{Coverage, Plan, generate, parse, play, print, shrink, tell};

/// How many worlds there are unless somebody says otherwise.
const SEEDS: u64 = 10_000;

#[test]
fn every_seed_is_a_world_in_which_nothing_is_wrong() {
    if let Some(seed) = variable("SIM_SEED") {
        return one(&format!("seed {seed}"), &generate(seed));
    }
    if let Ok(path) = std::env::var("SIM_PLAN") {
        return one(&path, &read(Path::new(&path)));
    }
    let (first, seeds) = (
        variable("SIM_FIRST").unwrap_or(1),
        variable("SIM_SEEDS").unwrap_or(SEEDS),
    );
    let lists = variable("SIM_ALL").is_some();
    let start = Instant::now();
    let next = AtomicU64::new(first);
    let total = Mutex::new(Total::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut own = Total::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        break;
                    }
                    let outcome = play(&generate(seed));
                    own.coverage.merge(&outcome.coverage);
                    own.steps += outcome.steps;
                    if let Some(failure) = outcome.failure {
                        match lists {
                            true => println!("seed {seed}: {failure}"),
                            // The others need not go on.
                            false => next.store(first + seeds, Ordering::Relaxed),
                        }
                        own.failures.push(seed);
                    }
                }
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.coverage.merge(&own.coverage);
                total.steps += own.steps;
                total.failures.append(&mut own.failures);
            });
        }
    });
    let Total {
        coverage,
        steps,
        mut failures,
    } = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    if let Some(seed) = failures.first() {
        one(&format!("seed {seed}"), &generate(*seed));
        panic!("seed {seed} failed once, and not again: the world is not the same twice");
    }
    if seeds >= SEEDS {
        let missing = coverage.missing(FAULTS);
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{coverage}");
    // Past the test runner, which keeps what a test prints: that much everybody should see.
    let summary = format!(
        "sim: {seeds} worlds, {steps} steps, {} stanzas, {} faults, {seconds:.1} s\n",
        coverage.all("stanzas"),
        coverage.all("faults"),
    );
    let _ = std::io::stderr().write_all(summary.as_bytes());
}

/// What must happen in so many worlds.
const FAULTS: &[(&str, &str)] = &[
    ("faults", "black hole"),
    ("faults", "component does not read"),
    ("faults", "component killed"),
    ("faults", "component leaves"),
    ("faults", "connection cut, and both hear of it"),
    ("faults", "connection cut, and nobody hears of it"),
    ("faults", "connection cut, half open"),
    ("faults", "dials refused"),
    ("faults", "DNS fails"),
    ("faults", "DNS names a dead address"),
    ("faults", "DNS names a dead address first"),
    ("faults", "DNS names another server"),
    ("faults", "DNS names no server"),
    ("faults", "panic of a connection"),
    ("faults", "power lost"),
    ("faults", "server frozen"),
    ("faults", "server killed"),
    ("faults", "shutdown"),
    ("reached", "a full outbox"),
    ("reached", "a peer that does not close"),
    ("reached", "a reader that waits for its turn"),
    ("reached", "a reader that waits for room"),
    ("reached", "a server begins anew"),
    ("reached", "a stanza in the memory of a crash"),
    ("reached", "a stanza of unknown fate"),
    ("reached", "a stanza that waits for resumption"),
    ("reached", "a writer that gives up"),
    ("reached", "an answer behind what is not counted"),
    ("reached", "crossed streams that converge"),
    ("reached", "full outboxes, all together"),
    ("reached", "too many pairs"),
];

/// What came of many worlds.
#[derive(Default)]
struct Total {
    coverage: Coverage,
    steps: u64,
    failures: Vec<u64>,
}

/// Tells the story of one plan, the shortest that there is if it fails.
fn one(name: &str, plan: &Plan) {
    if play(plan).failure.is_none() {
        let (_, story) = tell(plan);
        println!("{}\n{}", print(plan), story.join("\n"));
        return;
    }
    let (shorter, failure) = shrink(plan);
    let (_, story) = tell(&shorter);
    let text = format!("# {failure}.\n{}", print(&shorter));
    let path = std::env::temp_dir().join(format!("verona-sim-{}.txt", plan.seed));
    let _ = fs::write(&path, &text);
    println!("{name}: {failure}");
    panic!(
        "{name}: {failure}\n\n{text}\n{}\n\n{name}: {failure}\nthe plan is in {}",
        story.join("\n"),
        path.display()
    );
}

#[test]
fn worlds_that_went_wrong_once_go_well() {
    let mut count = 0;
    for path in transcripts() {
        let plan = read(&path);
        if let Some(failure) = play(&plan).failure {
            let (_, story) = tell(&plan);
            panic!("{}: {failure}\n{}", path.display(), story.join("\n"));
        }
        count += 1;
    }
    println!("{count} worlds");
}

#[test]
fn a_plan_is_read_as_it_was_printed() {
    for seed in 0..500 {
        let plan = generate(seed);
        assert_eq!(parse(&print(&plan)), Ok(plan));
    }
    for path in transcripts() {
        let plan = read(&path);
        assert_eq!(parse(&print(&plan)), Ok(plan), "{}", path.display());
    }
}

#[test]
fn a_world_is_the_same_twice() {
    for seed in 0..100 {
        let plan = generate(seed);
        assert_eq!(play(&plan), play(&plan), "seed {seed}");
        assert_eq!(tell(&plan), tell(&plan), "seed {seed}");
    }
}

fn read(path: &Path) -> Plan {
    let text = fs::read_to_string(path).unwrap();
    parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn transcripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world");
    let entries = fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "txt"));
    paths.sort();
    paths
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
