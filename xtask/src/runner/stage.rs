//! One stage's outcome, and the report of all of them.
//! The report is what a person reads first and CI reads last, so both get the same few lines.

use std::time::{Duration, Instant};

use super::command::Done;
use super::tally::Tally;

/// What came of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) result: Ending,
    pub(crate) tally: Tally,
}

/// How a stage ended, with what to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Passed,
    Failed(String),
    NotRun(String),
}

impl Outcome {
    pub(crate) fn passed() -> Self {
        Outcome {
            result: Ending::Passed,
            tally: Tally::default(),
        }
    }

    /// A failure of the stage itself: it counts as one.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Outcome {
            result: Ending::Failed(why.into()),
            tally: Tally {
                failed: 1,
                ..Tally::default()
            },
        }
    }

    /// Something is missing that is nobody's fault at a desk: it counts as skipped.
    pub(crate) fn not_run(why: impl Into<String>) -> Self {
        Outcome {
            result: Ending::NotRun(why.into()),
            tally: Tally {
                skipped: 1,
                ..Tally::default()
            },
        }
    }

    /// A stage that counted tests. No test at all, or a bad end without a failed test, is a failure too.
    pub(crate) fn counted(mut tally: Tally, done: &Done) -> Self {
        let result = if tally.failed > 0 {
            Ending::Failed(format!("{tally}"))
        } else if !done.is_success() {
            tally.failed = 1;
            Ending::Failed(format!("{}, although no test failed", done.ending()))
        } else if tally.passed == 0 && tally.skipped == 0 {
            tally.failed = 1;
            Ending::Failed("no test was counted".to_owned())
        } else {
            Ending::Passed
        };
        Outcome { result, tally }
    }
}

/// The outcomes in order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    stages: Vec<(&'static str, Duration, Outcome)>,
}

impl Report {
    /// Runs one stage, prints its minutes, and says whether it passed.
    pub(crate) fn stage(&mut self, name: &'static str, run: impl FnOnce() -> Outcome) -> bool {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = run();
        let took = start.elapsed();
        let passed = outcome.result == Ending::Passed;
        println!("=== {}", line(name, took, &outcome));
        self.stages.push((name, took, outcome));
        passed
    }

    /// Prints the summary, its last line last, and says whether nothing failed.
    pub(crate) fn conclude(&self) -> bool {
        println!("\n=== summary");
        for (name, took, outcome) in &self.stages {
            println!("{}", line(name, *took, outcome));
        }
        let took = self.stages.iter().map(|(_, took, _)| *took).sum();
        println!("{:<18} {}", "all", minutes(took));
        let total = self.total();
        println!("{total}");
        total.failed == 0
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for (_, _, outcome) in &self.stages {
            total.add(&outcome.tally);
        }
        if total.passed == 0 && total.failed == 0 {
            total.failed = 1;
        }
        total
    }
}

fn line(name: &str, took: Duration, outcome: &Outcome) -> String {
    let counts = match outcome.tally {
        Tally { passed: 0, .. } => String::new(),
        tally => format!(" ({tally})"),
    };
    let says = match &outcome.result {
        Ending::Passed => format!("passed{counts}"),
        Ending::Failed(why) => format!("FAILED: {why}"),
        Ending::NotRun(why) => format!("not run: {why}"),
    };
    format!("{name:<18} {} {says}", minutes(took))
}

fn minutes(took: Duration) -> String {
    format!("{:6.2} min", took.as_secs_f64() / 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        let mut report = Report::default();
        for outcome in outcomes {
            report.stage("a stage", || outcome.clone());
        }
        report
    }

    fn counted(passed: usize, failed: usize, skipped: usize, code: i32) -> Outcome {
        let tally = Tally {
            passed,
            failed,
            skipped,
        };
        Outcome::counted(tally, &Done::with_code(code))
    }

    #[test]
    fn counts_are_added_and_a_failed_gate_is_one() {
        let report = report(&[
            Outcome::passed(),
            counted(7, 0, 2, 0),
            Outcome::failed("b"),
            Outcome::not_run("c"),
        ]);
        assert_eq!(report.total().to_string(), "7 passed, 1 failed, 3 skipped");
        assert!(!report.conclude());
    }

    #[test]
    fn a_good_run_passes() {
        assert!(report(&[Outcome::passed(), counted(3, 0, 0, 0)]).conclude());
    }

    #[test]
    fn nothing_counted_is_a_failure() {
        assert!(!report(&[Outcome::passed()]).conclude());
        assert_eq!(counted(0, 0, 0, 0).tally.failed, 1);
    }

    #[test]
    fn a_bad_end_is_a_failure_although_every_test_passed() {
        assert_eq!(counted(9, 0, 0, 101).tally.failed, 1);
        assert_eq!(counted(9, 2, 0, 101).tally.failed, 2);
    }
}
