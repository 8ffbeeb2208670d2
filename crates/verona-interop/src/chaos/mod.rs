//! `verona-interop chaos`: two veronas, two Prosodys and their components, everything done to them, and every stanza followed.
//! Why with real processes: what simulation cannot know is what the system, TLS and other people's servers add.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

mod acknowledged;
mod faults;
mod ledger;
mod report;
mod voice;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::chance::{self, Chance};
use crate::matrix::command::{not_run, program};
use crate::{namespace, scene};
use faults::Lengths;
use ledger::{Account, Way};
use world::{Peer, Side, Size, World};

/// Does to federating servers whatever can be done, and says what became of every stanza.
#[derive(Debug, Parser)]
#[command(name = "verona-interop chaos")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How long it takes, the end included.
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Decides the order of the faults.
    #[arg(long)]
    seed: Option<u64>,
    /// Stanzas a second in all, about.
    #[arg(long, default_value_t = 360)]
    load: u32,
    /// How often a verona is killed when all else is done; what it had is lost, and counted [default: 5 in a long run].
    #[arg(long)]
    kills: Option<usize>,
    /// Print what is wrong, and pass all the same.
    #[arg(long)]
    report_only: bool,
    /// Print every fault with its time.
    #[arg(long)]
    story: bool,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    #[arg(long, hide = true)]
    inside_namespace: bool,
}

/// Runs it with the words after `chaos`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop chaos".to_owned()).chain(words.iter().cloned()),
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
    ensure!(
        (1..=24 * 60).contains(&arguments.minutes),
        "--minutes is a number from 1 to 1440"
    );
    let mut lacking = scene::missing();
    if let Err(error) = namespace::available() {
        lacking.push(format!("{error:#}"));
    }
    if !lacking.is_empty() {
        return Ok(not_run("soak", 1, &lacking));
    }
    if !arguments.inside_namespace {
        let mut all = vec!["chaos".to_owned()];
        all.extend_from_slice(words);
        match namespace::enter(&all)? {}
    }
    let program = program(arguments.verona.clone())?;
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-chaos-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    namespace::furnish(folder.path())?;
    let problems = soak(arguments, folder.path(), &program)?;
    let passed = problems.is_empty() || arguments.report_only;
    for problem in problems {
        println!("PROBLEM: {problem}");
    }
    println!(
        "{}",
        match passed {
            true => "1 passed, 0 failed",
            false => "0 passed, 1 failed",
        }
    );
    Ok(ExitCode::from(u8::from(!passed)))
}

fn soak(arguments: &Arguments, dir: &Path, program: &Path) -> Result<Vec<String>> {
    let seed = arguments.seed.unwrap_or_else(chance::seed);
    let is_short = arguments.minutes < 5;
    println!("chaos: {} min, seed {seed}", arguments.minutes);
    let mut chance = Chance::new(seed);
    let per_second = f64::from(arguments.load) / FLOWS;
    let size = match is_short {
        true => Size {
            per_second,
            outbox_age_seconds: 8,
            acknowledgement_seconds: 4,
            resume_seconds: 20,
        },
        false => Size {
            per_second,
            outbox_age_seconds: 30,
            acknowledgement_seconds: 10,
            resume_seconds: 120,
        },
    };
    let world = World::set(dir, program, size, &mut chance)?;
    let watch = Watch::start(&world);
    let time = Duration::from_secs(60 * arguments.minutes);
    let rest = match is_short {
        true => Duration::from_secs(18),
        false => Duration::from_secs(60),
    };
    world.speak(true);
    thread::sleep(WARM_UP);
    let over = Instant::now() + time.saturating_sub(rest);
    let events = faults::play_all(&world, &mut chance, lengths(is_short), over)?;
    thread::sleep(WARM_UP);
    world.speak(false);
    settle(&world, size);
    let memory = watch.end();
    let streams = hear_prosody(&world)?;
    let accounts: Vec<(Way, Account)> = Way::ALL
        .into_iter()
        .map(|way| (way, world.ledger.account(way)))
        .collect();
    if arguments.story {
        print!("{}", report::story(&events));
    }
    println!("{}", report::faults(&events));
    println!("{memory}; streams on which Prosody acknowledges: {streams}");
    print!("{}", report::table(&accounts));
    let mut problems = report::problems(&accounts, &events);
    problems.extend(of_logs(&world)?);
    let kills = arguments.kills.unwrap_or(if is_short { 0 } else { 5 });
    if kills > 0 {
        problems.extend(kill(&world, &mut chance, kills, size)?);
    }
    problems.extend(world.ledger.surprises());
    Ok(problems)
}

/// What a verona had when it was killed is lost, and no more than that.
fn kill(world: &World, chance: &mut Chance, times: usize, size: Size) -> Result<Vec<String>> {
    let before = world.ledger.account(Way::Veronas);
    let under_way = faults::kill_veronas(world, chance, times)?;
    settle(world, size);
    let after = world.ledger.account(Way::Veronas);
    let (sent, lost) = (
        after.sent - before.sent,
        after.unknown.len().saturating_sub(before.unknown.len()),
    );
    println!(
        "kill -9 of a verona, {times} times: {sent} stanzas sent, {lost} unknown, {} both, {} twice, {} out of order; {under_way} \
         were queued or not acknowledged when it died",
        after.both.len().saturating_sub(before.both.len()),
        after.duplicates - before.duplicates,
        after.inversions - before.inversions,
    );
    let mut problems = Vec::new();
    if lost > under_way {
        problems.push(format!(
            "kill -9 of a verona: {lost} stanzas were lost, more than the {under_way} that were under way"
        ));
    }
    if after.duplicates > before.duplicates {
        problems.push("kill -9 of a verona: stanzas arrived twice".to_owned());
    }
    Ok(problems)
}

/// Waits until everything has come to its end, or nothing has changed for longer than anything may wait.
fn settle(world: &World, size: Size) {
    // Only what is lost between the veronas is waited for as long as they may wait; of what a killed Prosody had,
    // nothing will ever be heard.
    let longest = size.outbox_age_seconds.max(size.resume_seconds);
    until_settled(
        world,
        &[Way::Veronas],
        Duration::from_secs(longest) + SETTLED_AFTER,
    );
    let age = Duration::from_secs(size.outbox_age_seconds);
    until_settled(world, &Way::ALL, age + SETTLED_AFTER);
    // What arrives twice, or late, arrives by then.
    thread::sleep(WARM_UP);
}

fn until_settled(world: &World, ways: &[Way], patience: Duration) {
    let mut open = world.ledger.open_stanzas(ways);
    let mut since = Instant::now();
    while open > 0 && since.elapsed() < patience {
        thread::sleep(Duration::from_millis(200));
        let now = world.ledger.open_stanzas(ways);
        if now != open {
            open = now;
            since = Instant::now();
        }
    }
}

/// Enters into the book what was acknowledged; says on how many streams.
fn hear_prosody(world: &World) -> Result<usize> {
    let heard = acknowledged::read(&world::wire_log(world.dir(), Peer::Acking))?;
    for id in heard.by_prosody.iter().chain(&heard.by_verona) {
        world.ledger.acknowledge(*id);
    }
    Ok(heard.streams)
}

/// A verona that died, or that found a fault in itself.
fn of_logs(world: &World) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for side in Side::ALL {
        if !world.server(side).verona.process.is_running() {
            problems.push(format!("the {} verona has ended", side.word()));
        }
        let log = fs::read_to_string(world::log(world.dir(), side)).context("reading a log")?;
        for line in log.lines() {
            if line.contains(" ERROR ") || line.contains("panicked") {
                problems.push(format!("{}: {line}", side.word()));
            }
        }
    }
    problems.truncate(20);
    Ok(problems)
}

fn lengths(is_short: bool) -> Lengths {
    let span = |least: u64, most: u64| [Duration::from_millis(least), Duration::from_millis(most)];
    match is_short {
        true => Lengths {
            black_hole: span(5_000, 6_000),
            stop: span(2_000, 5_000),
            short: span(800, 2_000),
            between: span(500, 1_500),
        },
        false => Lengths {
            black_hole: span(5_000, 25_000),
            stop: span(5_000, 20_000),
            short: span(1_000, 5_000),
            between: span(1_000, 8_000),
        },
    }
}

/// Looks at the memory of the veronas meanwhile.
struct Watch {
    is_over: std::sync::Arc<AtomicBool>,
    thread: thread::JoinHandle<[Memory; 2]>,
}

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    first: u64,
    most: u64,
    last: u64,
}

impl Watch {
    fn start(world: &World) -> Self {
        let ids = Side::ALL.map(|side| world.server(side).verona.process.id());
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        let own = std::sync::Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut all = [Memory::default(); 2];
            while !own.load(Ordering::Relaxed) {
                for (memory, id) in all.iter_mut().zip(ids) {
                    memory.note(crate::process::resident_kib(id).unwrap_or(0));
                }
                thread::sleep(Duration::from_millis(500));
            }
            all
        });
        Self { is_over, thread }
    }

    fn end(self) -> String {
        self.is_over.store(true, Ordering::Relaxed);
        let all = self.thread.join().unwrap_or_default();
        let each: Vec<String> = Side::ALL
            .iter()
            .zip(all)
            .map(|(side, memory)| {
                let mib = |kib: u64| kib / 1024;
                let (first, most, last) = (mib(memory.first), mib(memory.most), mib(memory.last));
                format!(
                    "{} {first} MiB at first, {most} at most, {last} at last",
                    side.word()
                )
            })
            .collect();
        format!("memory: {}", each.join("; "))
    }
}

impl Memory {
    fn note(&mut self, kib: u64) {
        if self.first == 0 {
            self.first = kib;
        }
        self.most = self.most.max(kib);
        self.last = kib;
    }
}

/// How many flows there are: 16 + 16 between the veronas, 4 each way with each Prosody.
const FLOWS: f64 = 48.0;
const WARM_UP: Duration = Duration::from_secs(2);
const SETTLED_AFTER: Duration = Duration::from_secs(4);
