//! The interop suite: the built binary against real servers, run by `verona-interop`.
//! Other people's servers are the only referees who never read our tests.

use std::env;
use std::ffi::OsString;
use std::time::Duration;

use super::Place;
use super::debian;
use super::stage::Outcome;
use super::tally::Tally;

const INTEROP_MAX: Duration = Duration::from_secs(60 * 60);

/// Runs the cases: one conversation each, looked at closely.
pub(super) fn run(place: &Place) -> Outcome {
    part(place, &[])
}

/// Runs the matrix: every peer, proof, dialler and certificate.
pub(super) fn matrix(place: &Place) -> Outcome {
    part(place, &["matrix"])
}

/// Lets both sides dial at the same moment, so many times with each peer and proof.
pub(super) fn crossing(place: &Place, times: &str) -> Outcome {
    part(place, &["crossing", "--times", times])
}

/// Replaces so many certificates under two veronas that talk.
pub(super) fn rotation(place: &Place, times: &str) -> Outcome {
    part(place, &["rotation", "--times", times])
}

/// Does to federating servers whatever can be done, for so many minutes.
pub(super) fn chaos(place: &Place, minutes: &str) -> Outcome {
    part(place, &["chaos", "--minutes", minutes])
}

/// Lets so many peers lose their power while messages are on the way to them.
pub(super) fn power_loss(place: &Place, times: &str) -> Outcome {
    part(place, &["power-loss", "--times", times])
}

/// Measures what a peer that never reads costs the others.
pub(super) fn slow_peer(place: &Place) -> Outcome {
    part(place, &["slow-peer"])
}

/// Kills a verona with a journal so many times while components talk through it.
pub(super) fn journal(place: &Place, times: &str) -> Outcome {
    part(place, &["journal", "--times", times])
}

/// Measures what a dead IPv6 address costs.
pub(super) fn eyeballs(place: &Place) -> Outcome {
    part(place, &["eyeballs"])
}

/// Runs the matrix with servers of newer Debians, each in a folder.
pub(super) fn newer(place: &Place) -> Outcome {
    let roots = place.target.join("debian");
    if let Err(error) = debian::make(&roots) {
        return Outcome::failed(format!("{error:#}"));
    }
    part(
        place,
        &["matrix", "--newer", "--roots", &roots.to_string_lossy()],
    )
}

/// Runs one of the suite's commands and reads the counts from its last line.
fn part(place: &Place, command: &[&str]) -> Outcome {
    let run = place
        .cargo()
        .args(["run", "--quiet", "--package", "verona-interop", "--"])
        .args(command)
        .args(["--verona"])
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

pub(super) fn path_with_servers() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}
