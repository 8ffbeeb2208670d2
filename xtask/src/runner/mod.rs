//! `cargo xtask test`: every stage in order, each timed, then a summary that ends in one line of counts.
//! A stage that fails does not stop the next, so that one run tells all that is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) mod command;
mod demo;
mod deny;
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
    let is_built = report.stage("release build", || {
        gate(
            place
                .cargo()
                .args(["build", "--release", "--package", "veronad"]),
        )
    });
    report.stage("demo", || match is_built {
        true => demo::run(&place),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.stage("deny", || deny::run(&place));
    report.stage("interop", || match is_built {
        true => interop::run(&place),
        false => Outcome::failed("not run: there is no binary"),
    });
    report.conclude()
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
        .go()
    {
        Ok(done) => done,
        Err(error) => return Outcome::failed(format!("{error:#}")),
    };
    let tally = Tally::of_cargo_test(&done.lines);
    Outcome::counted(tally, &done)
}
