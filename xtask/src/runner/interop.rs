//! The interop suite: the built binary against real servers, run by `verona-interop`.
//! Other people's servers are the only referees who never read our tests.

use std::env;
use std::ffi::OsString;
use std::time::Duration;

use super::Place;
use super::stage::Outcome;
use super::tally::Tally;

const INTEROP_MAX: Duration = Duration::from_secs(60 * 60);

/// Runs the suite and reads the counts from its last line.
pub(super) fn run(place: &Place) -> Outcome {
    let run = place
        .cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "verona-interop",
            "--",
            "--verona",
        ])
        .args([place.verona()])
        // Debian keeps servers where only root looks for programs.
        .env("PATH", path_with_servers())
        .deadline(INTEROP_MAX);
    let done = match run.go() {
        Ok(done) => done,
        Err(error) => return Outcome::failed(format!("{error:#}")),
    };
    match Tally::of_summary(&done.lines) {
        Some(tally) => Outcome::counted(tally, &done),
        None => Outcome::failed(format!(
            "it gave no counts and ended with {}",
            done.ending()
        )),
    }
}

fn path_with_servers() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}
