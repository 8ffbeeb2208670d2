//! `cargo xtask test`: every stage in order, each timed, then a summary that ends in one line of counts.
//! A stage that fails does not stop the next, so that one run tells all that is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) mod bench;
pub(crate) mod command;
mod count;
mod debian;
mod demo;
mod deny;
mod hostile;
mod interop;
mod packages;
mod stage;
mod tally;

use command::Run;
use stage::{Outcome, Report};
use tally::Tally;

/// Runs all stages over the workspace at `root` and says whether nothing failed.
pub(crate) fn run(root: &Path) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    // First: the tests of verona-xml ask expat and libxml2 too.
    report.stage("packages", || packages::install(&place));
    report.stage("fmt", || {
        gate(place.cargo().args(["fmt", "--all", "--check"]))
    });
    report.stage("clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        gate(place.cargo().args(arguments))
    });
    report.stage("doc", || {
        let run = place.cargo().args(["doc", "--workspace", "--no-deps"]);
        gate(run.env("RUSTDOCFLAGS", "-D warnings"))
    });
    report.stage("tidy", || match crate::tidy::run(&place.root) {
        Ok(true) => Outcome::passed(),
        Ok(false) => Outcome::failed("the lines above say what to do"),
        Err(error) => Outcome::failed(format!("{error:#}")),
    });
    report.stage("spec", || match crate::spec::run(&place.root) {
        Ok(true) => Outcome::passed(),
        Ok(false) => Outcome::failed("the lines above say what to do"),
        Err(error) => Outcome::failed(format!("{error:#}")),
    });
    let compiles = report.stage("compile the tests", || {
        gate(place.cargo().args(["test", "--workspace", "--no-run"]))
    });
    report.stage("tests", || match compiles {
        true => tests(&place),
        false => Outcome::failed("not run: the tests do not compile"),
    });
    let is_built = report.stage("release build", || build(&place));
    report.stage("demo", || match is_built {
        true => demo::run(&place),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.stage("count", || count::run(&place));
    report.stage("deny", || deny::run(&place));
    report.stage("hostile", || match is_built {
        true => hostile::run(&place),
        false => Outcome::failed("not run: there is no binary"),
    });
    against(&place, &mut report, is_built, Servers::Usual);
    report.conclude()
}

/// Which of the servers `cargo xtask interop` runs verona against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// Those of this Debian.
    Usual,
    /// Those of newer Debians, which are fetched.
    Newer,
}

/// Runs the interop suite alone.
pub(crate) fn interop(root: &Path, servers: Servers) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    let is_built = prepare(&place, &mut report);
    against(&place, &mut report, is_built, servers);
    report.conclude()
}

/// A stage's name, and what runs it.
type Stage = (&'static str, fn(&Place) -> Outcome);

fn against(place: &Place, report: &mut Report, is_built: bool, servers: Servers) {
    let stages: &[Stage] = match servers {
        Servers::Usual => &[
            ("interop", interop::run),
            ("interop matrix", interop::matrix),
            ("interop crossing", |place| interop::crossing(place, "20")),
            ("rotation", |place| interop::rotation(place, "20")),
            ("chaos", |place| interop::chaos(place, "1")),
            ("power loss", |place| interop::power_loss(place, "2")),
            ("journal", |place| interop::journal(place, "15")),
        ],
        Servers::Newer => &[("interop newer", interop::newer)],
    };
    for (name, run) in stages {
        report.stage(name, || match is_built {
            true => run(place),
            false => Outcome::failed("not run: there is no binary"),
        });
    }
}

/// What takes longer than a change should wait for: both sides dialling at the same moment, a thousand times, a thousand
/// certificates replaced under traffic, half an hour of chaos, 50 power losses, a verona with a journal killed 300 times, and
/// what is measured.
pub(crate) fn soak(root: &Path) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    let is_built = prepare(&place, &mut report);
    report.stage("crossing", || match is_built {
        true => interop::crossing(&place, "1000"),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.stage("rotation", || match is_built {
        true => interop::rotation(&place, "1000"),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.stage("chaos", || match is_built {
        true => interop::chaos(&place, "30"),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.stage("power loss", || match is_built {
        true => interop::power_loss(&place, "50"),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.stage("journal", || match is_built {
        true => interop::journal(&place, "300"),
        false => Outcome::failed("not run: there is no binary"),
    });
    measure_eyeballs(&place, &mut report, is_built);
    measure_slow_peer(&place, &mut report, is_built);
    report.stage("simulated engines", || simulated(&place));
    report.stage("simulation", || {
        match crate::sim::run(&place.root, "1000000") {
            Ok(true) => Outcome::passed(),
            Ok(false) => Outcome::failed("the lines above tell the shortest story that fails"),
            Err(error) => Outcome::failed(format!("{error:#}")),
        }
    });
    report.conclude()
}

/// Whole engines in a simulated network: many stories, and a connection cut after many more of its bytes.
fn simulated(place: &Place) -> Outcome {
    gate(
        place
            .cargo()
            .args(["test", "--package", "verona", "--test", "simulated"])
            .env("SIMULATED_SEEDS", "20000")
            .env("SIMULATED_STEP", "7"),
    )
}

/// Measures verona beside other servers; `words` name the works and say how.
pub(crate) fn benchmarks(root: &Path, words: &[&str]) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    let is_built =
        prepare(&place, &mut report) && report.stage("benchmark build", || bench::build(&place));
    for work in bench::works(words) {
        report.stage(work, || match is_built {
            true => bench::run(&place, work, words),
            false => Outcome::failed("not run: there is no binary"),
        });
    }
    report.conclude()
}

/// Counts what a stanza costs in instructions.
pub(crate) fn count(root: &Path) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    report.stage("packages", || packages::install(&place));
    report.stage("count", || count::run(&place));
    report.conclude()
}

/// What a peer that never reads costs the others.
pub(crate) fn slow_peer(root: &Path) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    let is_built = prepare(&place, &mut report);
    measure_slow_peer(&place, &mut report, is_built);
    report.conclude()
}

fn measure_slow_peer(place: &Place, report: &mut Report, is_built: bool) {
    report.stage("slow peer", || match is_built {
        true => interop::slow_peer(place),
        false => Outcome::failed("not run: there is no binary"),
    });
}

/// How much later a first stanza arrives because of a dead IPv6 address.
pub(crate) fn eyeballs(root: &Path) -> bool {
    let place = Place::new(root);
    let mut report = Report::default();
    let is_built = prepare(&place, &mut report);
    measure_eyeballs(&place, &mut report, is_built);
    report.conclude()
}

fn measure_eyeballs(place: &Place, report: &mut Report, is_built: bool) {
    report.stage("eyeballs", || match is_built {
        true => interop::eyeballs(place),
        false => Outcome::failed("not run: there is no binary"),
    });
}

fn prepare(place: &Place, report: &mut Report) -> bool {
    report.stage("packages", || packages::install(place));
    report.stage("release build", || build(place))
}

fn build(place: &Place) -> Outcome {
    gate(
        place
            .cargo()
            .args(["build", "--release", "--package", "veronad"]),
    )
}

/// Where the stages run and how they reach their tools.
struct Place {
    root: PathBuf,
    cargo: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
    /// `CI=true`: what is missing is a failure, and tools may be installed.
    is_ci: bool,
}

impl Place {
    fn new(root: &Path) -> Self {
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        // This program lies in TARGET/debug, wherever the person's configuration put TARGET.
        let target = std::env::current_exe()
            .ok()
            .and_then(|own| own.ancestors().nth(2).map(Path::to_path_buf))
            .unwrap_or_else(|| root.join("target"));
        Place {
            root: root.to_path_buf(),
            cargo,
            target,
            is_ci: std::env::var("CI").is_ok_and(|value| value == "true"),
        }
    }

    /// A run of Cargo in the workspace; its deadline is that of the longest build we have seen, tripled.
    fn cargo(&self) -> Run {
        Run::new(&self.cargo)
            .directory(&self.root)
            .deadline(BUILD_MAX)
    }

    /// The binary of the daemon, once it is built.
    fn verona(&self) -> PathBuf {
        self.target.join("release").join("verona")
    }
}

const BUILD_MAX: Duration = Duration::from_secs(60 * 60);

/// A stage that only passes or fails.
fn gate(run: Run) -> Outcome {
    match run.go() {
        Ok(done) if done.is_success() => Outcome::passed(),
        Ok(done) => Outcome::failed(done.ending()),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

fn tests(place: &Place) -> Outcome {
    let done = match place
        .cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("MODEL_NEGOTIATIONS", "1000000")
        .go()
    {
        Ok(done) => done,
        Err(error) => return Outcome::failed(format!("{error:#}")),
    };
    let tally = Tally::of_cargo_test(&done.lines);
    Outcome::counted(tally, &done)
}
