//! What is wrong with a configuration, with its place in the file and what to do about it.
//!
//! An operator repairs a file in one go only when told every mistake at once, where it stands and what was meant.

use std::fmt::{self, Write as _};
use std::ops::Range;

use serde::Serialize;

use super::secrets;

/// Whether the daemon starts in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It does not.
    Error,
    /// It does; somebody should look all the same.
    Warning,
}

/// One mistake in a configuration file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    /// The file, as the user named it.
    pub(crate) file: String,
    /// Counted from 1; `None` when the problem has no place in the file.
    pub(crate) line: Option<usize>,
    /// In characters, counted from 1.
    pub(crate) column: Option<usize>,
    pub(crate) severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) suggestion: Option<String>,
    /// The key with its path, such as `s2s.listen[1]`.
    pub(crate) key: Option<String>,
    /// Characters to underline.
    #[serde(skip)]
    width: usize,
}

impl Problem {
    /// Adds what to do about it.
    pub(crate) fn suggest(&mut self, suggestion: impl Into<String>) {
        self.suggestion = Some(suggestion.into());
    }
}

impl fmt::Display for Problem {
    /// One line: `verona.toml:3:1: what is wrong (what to do)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

/// A place in the file: which key, and which bytes.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) key: String,
    /// `None` for a key that is not in the file: its default is at fault.
    pub(crate) span: Option<Range<usize>>,
}

/// All the problems of one file.
#[derive(Debug)]
pub(crate) struct Report {
    file: String,
    source: String,
    problems: Vec<Problem>,
}

impl Report {
    pub(crate) fn new(file: &str, source: &str) -> Self {
        Self {
            file: file.to_owned(),
            source: source.to_owned(),
            problems: Vec::new(),
        }
    }

    /// Notes something that keeps the daemon from starting.
    pub(crate) fn error(&mut self, at: &Place, message: impl Into<String>) -> &mut Problem {
        self.note(Severity::Error, Some(at), message.into())
    }

    /// Notes something that somebody should look at.
    pub(crate) fn warning(&mut self, at: &Place, message: impl Into<String>) -> &mut Problem {
        self.note(Severity::Warning, Some(at), message.into())
    }

    /// Notes an error of the file as a whole.
    pub(crate) fn error_of_file(&mut self, message: impl Into<String>) -> &mut Problem {
        self.note(Severity::Error, None, message.into())
    }

    /// The problem noted last, to add a suggestion to it.
    pub(crate) fn last(&mut self) -> Option<&mut Problem> {
        self.problems.last_mut()
    }

    /// Puts the problems in the order of the file.
    pub(crate) fn sort(&mut self) {
        self.problems
            .sort_by_key(|problem| (problem.line.is_none(), problem.line, problem.column));
    }

    /// The file, as the user named it.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// How many errors and how many warnings there are.
    pub(crate) fn count(&self) -> (usize, usize) {
        let errors = self
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count();
        (errors, self.problems.len().saturating_sub(errors))
    }

    /// The problems for people: message, place, line with carets, suggestion.
    pub(crate) fn render(&self, colours: bool) -> String {
        let paint = Paint { colours };
        let mut out = String::new();
        for problem in &self.problems {
            self.render_one(problem, &paint, &mut out);
            out.push('\n');
        }
        out
    }

    fn render_one(&self, problem: &Problem, paint: &Paint, out: &mut String) {
        let (word, colour) = match problem.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {}", paint.with(colour, word), problem.message);
        match (problem.line, problem.column) {
            (Some(line), Some(column)) => {
                let number = line.to_string();
                let margin = " ".repeat(number.len());
                let text = self
                    .source
                    .split('\n')
                    .nth(line.saturating_sub(1))
                    .unwrap_or("");
                let (shown, indent) = excerpt(text, column);
                let _ = writeln!(
                    out,
                    "{margin}{} {}:{line}:{column}",
                    paint.with(BLUE, "-->"),
                    problem.file
                );
                let _ = writeln!(out, "{margin} {}", paint.with(BLUE, "|"));
                let _ = writeln!(
                    out,
                    "{} {}{}",
                    paint.with(BLUE, &number),
                    paint.with(BLUE, "|"),
                    padded(&shown)
                );
                let room = shown.chars().count().saturating_sub(indent).max(1);
                let carets = "^".repeat(problem.width.clamp(1, room));
                let _ = writeln!(
                    out,
                    "{margin} {} {}{}",
                    paint.with(BLUE, "|"),
                    " ".repeat(indent),
                    paint.with(colour, &carets)
                );
            }
            (None, _) | (Some(_), None) => {
                let _ = writeln!(out, " {} {}", paint.with(BLUE, "-->"), problem.file);
            }
        }
        if let Some(suggestion) = &problem.suggestion {
            let _ = writeln!(out, "{}: {suggestion}", paint.with(GREEN, "help"));
        }
    }

    fn note(&mut self, severity: Severity, at: Option<&Place>, message: String) -> &mut Problem {
        let (line, column, width) = match at.and_then(|place| place.span.as_ref()) {
            Some(span) => {
                let (line, column, width) = position(&self.source, span);
                (Some(line), Some(column), width)
            }
            None => (None, None, 0),
        };
        self.problems.push(Problem {
            file: self.file.clone(),
            line,
            column,
            severity,
            message,
            suggestion: None,
            key: at
                .map(|place| place.key.clone())
                .filter(|key| !key.is_empty()),
            width,
        });
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }
}

/// Line and column of the first byte, and how many characters of that line belong to the span.
fn position(source: &str, span: &Range<usize>) -> (usize, usize, usize) {
    let start = floor(source, span.start);
    let end = floor(source, span.end).max(start);
    let before = source.get(..start).unwrap_or("");
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let marked = source.get(start..end).unwrap_or("");
    let width = marked
        .split(['\n', '\r'])
        .next()
        .unwrap_or("")
        .chars()
        .count();
    (line, column, width)
}

/// The nearest boundary of a character at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The line without secrets and control characters, cut to what fits a terminal, and where the carets begin.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let line: Vec<char> = secrets::masked(line.trim_end_matches('\r'))
        .chars()
        // A terminal must not obey what stands in a file.
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    let column = column.saturating_sub(1);
    let skipped = if column > EXCERPT_CHARS_MAX / 2 && line.len() > EXCERPT_CHARS_MAX {
        column - EXCERPT_CHARS_MAX / 2
    } else {
        0
    };
    let shown = line.iter().skip(skipped).take(EXCERPT_CHARS_MAX).collect();
    (shown, column - skipped)
}

/// A space between the bar and the text, but none at the end of an empty line.
fn padded(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() {
        String::new()
    } else {
        format!(" {text}")
    }
}

/// Colours, on a terminal that wants them.
struct Paint {
    colours: bool,
}

impl Paint {
    fn with(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[1;{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";

/// What fits a wide terminal beside the line number.
const EXCERPT_CHARS_MAX: usize = 120;
