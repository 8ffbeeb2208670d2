//! The hostile kit: the built binary against a peer that plays every rule well and badly, run by `verona-hostile`.
//! Other people's servers keep to the rules most of the time; what this one does not keep to is the point of it.

use std::time::Duration;

use super::Place;
use super::stage::Outcome;
use super::tally::Tally;

const HOSTILE_MAX: Duration = Duration::from_secs(20 * 60);

/// Runs all cases and reads the counts from the last line.
pub(super) fn run(place: &Place) -> Outcome {
    let run = place
        .cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "verona-hostile",
            "--",
            "--target",
            "verona",
            "--verona",
        ])
        .args([place.verona()])
        .deadline(HOSTILE_MAX);
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
