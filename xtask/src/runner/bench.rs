//! The benchmarks: built for release, one work after the other, each of which renews its part of the page.
//! Why apart from the tests: they take twenty minutes of a machine to themselves, and their verdict is a page to read.

use std::time::Duration;

use super::Place;
use super::command::Run;
use super::stage::Outcome;
use super::tally::Tally;

/// In the order in which they are done.
const WORKS: &[&str] = &[
    "bare", "relay", "latency", "cold", "setup", "idle", "growth",
];

/// For the longest, with all servers and five rounds, tripled.
const WORK_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// Whether these words can stand behind `cargo xtask bench`.
pub(crate) fn knows(words: &[&str]) -> bool {
    words
        .iter()
        .all(|word| *word == QUICK || WORKS.contains(word))
}

/// The works that are meant: all when none is named.
pub(super) fn works(words: &[&str]) -> Vec<&'static str> {
    let is_named = words.iter().any(|word| WORKS.contains(word));
    WORKS
        .iter()
        .copied()
        .filter(|work| !is_named || words.contains(work))
        .collect()
}

/// Builds the program that measures.
pub(super) fn build(place: &Place) -> Outcome {
    let arguments = ["build", "--release", "--package", "verona-bench"];
    super::gate(place.cargo().args(arguments))
}

/// Does one work.
pub(super) fn run(place: &Place, work: &str, words: &[&str]) -> Outcome {
    let mut run = Run::new(place.target.join("release").join("verona-bench"))
        .directory(&place.root)
        .args([work, "--verona"])
        .args([place.verona()])
        .env("PATH", super::interop::path_with_servers())
        .deadline(WORK_MAX);
    if words.contains(&QUICK) {
        run = run.args([QUICK]);
    }
    match run.go() {
        Ok(done) if done.is_success() => {
            let mut outcome = Outcome::passed();
            outcome.tally = Tally {
                passed: 1,
                ..Tally::default()
            };
            outcome
        }
        Ok(done) => Outcome::failed(done.ending()),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

const QUICK: &str = "--quick";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_named_or_all() {
        assert!(knows(&[]) && knows(&["relay", "--quick"]));
        assert!(!knows(&["eyeballs"]) && !knows(&["relay", "--slow"]));
        assert_eq!(works(&["--quick"]), WORKS);
        assert_eq!(works(&["setup", "bare"]), ["bare", "setup"]);
    }
}
