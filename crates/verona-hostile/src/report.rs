//! What a run says: lines for people, JSON for programs, JUnit for build servers.
//! Why the exit status is not decided here: a report tells, the command judges.

use std::fmt::Write;

use serde_json::json;

use crate::case::{Case, Concern};
use crate::run::{Ending, Outcome};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line a case, then the counts.
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
}

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases with an acceptable verdict.
    pub passed: usize,
    /// All others that were run.
    pub failed: usize,
    /// Cases that make no sense for this target.
    pub skipped: usize,
}

impl Counts {
    /// Counts outcomes.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome.ending {
                Ending::Passed(_) => counts.passed += 1,
                Ending::Failed(_) | Ending::Broken(_) => counts.failed += 1,
                Ending::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }

    /// `N passed, N failed[, N skipped]`.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        match skipped {
            0 => format!("{passed} passed, {failed} failed"),
            _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
        }
    }
}

/// One case as a line; a failure with what was said last.
#[must_use]
pub fn line(outcome: &Outcome) -> String {
    let seconds = outcome.took.as_secs_f32();
    let id = &outcome.case.id;
    match &outcome.ending {
        Ending::Passed(verdict) => format!("ok: {id} ({seconds:.1} s): {verdict}"),
        Ending::Skipped(why) => format!("not run: {id}: {why}"),
        Ending::Failed(verdict) => format!(
            "FAILED: {id} ({seconds:.1} s): {verdict}\n    {}\n    expected: {}\n{}",
            outcome.case.about,
            expected(&outcome.case),
            said(outcome)
        ),
        Ending::Broken(why) => format!(
            "FAILED: {id} ({seconds:.1} s): it did not come so far: {why}\n    {}\n{}",
            outcome.case.about,
            said(outcome)
        ),
    }
}

fn said(outcome: &Outcome) -> String {
    let lines: Vec<String> = outcome
        .trail
        .iter()
        .map(|line| format!("      {line}"))
        .collect();
    lines.join("\n")
}

fn expected(case: &Case) -> String {
    let all: Vec<String> = case.expected.iter().map(ToString::to_string).collect();
    all.join(", or ")
}

/// The whole run in a format.
#[must_use]
pub fn whole(format: Format, target: &str, outcomes: &[Outcome]) -> String {
    match format {
        Format::Text => {
            let mut text = String::new();
            for outcome in outcomes {
                text.push_str(&line(outcome));
                text.push('\n');
            }
            text.push_str(&Counts::of(outcomes).line());
            text.push('\n');
            text
        }
        Format::Json => document(target, outcomes),
        Format::Junit => junit(target, outcomes),
    }
}

fn document(target: &str, outcomes: &[Outcome]) -> String {
    let cases: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let (result, what) = ending(&outcome.ending);
            json!({
                "id": outcome.case.id,
                "about": outcome.case.about,
                "requirements": outcome.case.requirements,
                "role": outcome.case.role.name(),
                "security": outcome.case.concern == Concern::Security,
                "expected": outcome.case.expected.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "result": result,
                "verdict": what,
                "said": outcome.trail,
                "seconds": outcome.took.as_secs_f32(),
            })
        })
        .collect();
    let counts = Counts::of(outcomes);
    format!(
        "{:#}\n",
        json!({
            "version": 1,
            "target": target,
            "passed": counts.passed,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "cases": cases,
        })
    )
}

fn ending(ending: &Ending) -> (&'static str, String) {
    match ending {
        Ending::Passed(verdict) => ("passed", verdict.to_string()),
        Ending::Failed(verdict) => ("failed", verdict.to_string()),
        Ending::Broken(why) => ("failed", format!("it did not come so far: {why}")),
        Ending::Skipped(why) => ("skipped", why.clone()),
    }
}

fn junit(target: &str, outcomes: &[Outcome]) -> String {
    let counts = Counts::of(outcomes);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"verona-hostile {}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
        attribute(target),
        outcomes.len(),
        counts.failed,
        counts.skipped
    );
    for outcome in outcomes {
        let (_, what) = ending(&outcome.ending);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">",
            attribute(outcome.case.id.split('-').next().unwrap_or_default()),
            attribute(&outcome.case.id),
            outcome.took.as_secs_f32()
        );
        let _ = match &outcome.ending {
            Ending::Passed(_) => write!(
                text,
                "<system-out>{}</system-out></testcase>",
                attribute(&what)
            ),
            Ending::Skipped(_) => write!(
                text,
                "<skipped message=\"{}\"/></testcase>",
                attribute(&what)
            ),
            Ending::Failed(_) | Ending::Broken(_) => write!(
                text,
                "<failure message=\"{}\">{}</failure></testcase>",
                attribute(&what),
                attribute(&outcome.trail.join("\n"))
            ),
        };
        text.push('\n');
    }
    text.push_str("</testsuite>\n");
    text
}

/// Text fit for XML, characters that XML does not have left out: an attack may have been full of them.
fn attribute(text: &str) -> String {
    let fit: String = text
        .chars()
        .filter(|character| {
            matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        })
        .collect();
    crate::element::escape(&fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Expect, Verdict};
    use std::time::Duration;

    fn outcome(ending: Ending) -> Outcome {
        Outcome {
            case: Case::new("xml-nul", "A NUL & more", &[Expect::Closed], |_| async {
                Ok(Verdict::Closed)
            }),
            ending,
            trail: vec!["d1 > \u{0}<x/>".to_owned()],
            took: Duration::from_millis(12),
        }
    }

    #[test]
    fn counts_are_the_last_line() {
        let outcomes = [
            outcome(Ending::Passed(Verdict::Closed)),
            outcome(Ending::Failed(Verdict::Ignored)),
            outcome(Ending::Broken("no".to_owned())),
            outcome(Ending::Skipped("no".to_owned())),
        ];
        let text = whole(Format::Text, "x", &outcomes);
        assert!(text.ends_with("1 passed, 2 failed, 1 skipped\n"), "{text}");
    }

    #[test]
    fn junit_is_well_formed_whatever_was_said() {
        use rxml::{Parse, Parser};
        let text = whole(
            Format::Junit,
            "a<b",
            &[outcome(Ending::Failed(Verdict::Other("<&".to_owned())))],
        );
        let mut parser = Parser::new();
        let mut bytes = text.trim_end().as_bytes();
        let mut events = 0;
        loop {
            match parser.parse(&mut bytes, true) {
                Ok(Some(_)) => events += 1,
                Ok(None) => break,
                Err(error) => assert_eq!(format!("{error:?}"), "well-formed", "{text}"),
            }
        }
        assert!(events > 4);
    }
}
