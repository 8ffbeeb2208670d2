//! Citations: the lines that say which rule is obeyed or shown there.
//!
//! | kind of file | how it cites |
//! |---|---|
//! | Rust | a line of its own, `//= BIDI-19`, above what obeys it |
//! | transcript (`crates/*/tests/**/*.txt`) | `spec BIDI-19 BIDI-20` |
//! | configuration with its mistakes (`crates/*/tests/config/*.txt`) | `# spec COMP-16` |
//! | case of the conformance kit (`crates/verona-hostile`) | `.tests(&["BIDI-19", "BIDI-20"])` |
//!
//! What ships is code, everything else is a test: `tests/`, `tests.rs`, what is under `#[cfg(test)]`, whole crates that exist
//! to test the others, and the demo, which judges what it shows.

use super::requirement::line_of;
use crate::tidy::{Finding, Source, Tree, in_src};

/// One line that cites one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Citation {
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// What the citing line is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// What ships.
    Code,
    /// What shows that it does what it should.
    Test,
}

/// Crates that exist to test the others.
const TESTERS: &[&str] = &[
    "verona-sim",
    "verona-interop",
    "verona-hostile",
    "verona-fuzz",
];

/// How a Rust file cites.
const MARK: &str = "//=";
/// The conformance kit, and how its cases cite.
const KIT: &str = "crates/verona-hostile/src/";
const CASE: &str = ".tests(&[";
/// How a transcript cites.
const WORD: &str = "spec ";

/// All citations of the tree, in the order of files and lines.
pub(super) fn read(tree: &Tree, findings: &mut Vec<Finding>) -> Vec<Citation> {
    let mut citations = Vec::new();
    for source in &tree.sources {
        if source.path.starts_with("crates/") {
            read_rust(source, &mut citations, findings);
        }
    }
    for (path, text) in &tree.texts {
        if path.starts_with("crates/") && path.contains("/tests/") && path.ends_with(".txt") {
            read_transcript(path, text, &mut citations, findings);
        }
    }
    citations.sort();
    citations
}

fn read_rust(source: &Source, citations: &mut Vec<Citation>, findings: &mut Vec<Finding>) {
    for (line, text) in numbered(&source.text) {
        let Some(ids) = text.trim_start().strip_prefix(MARK) else {
            continue;
        };
        cite(
            ids,
            place_of(source, line),
            &source.path,
            line,
            citations,
            findings,
        );
    }
    if source.path.starts_with(KIT) {
        read_cases(source, citations, findings);
    }
}

/// The requirements that the cases of the conformance kit test: they are data there, for its reports.
fn read_cases(source: &Source, citations: &mut Vec<Citation>, findings: &mut Vec<Finding>) {
    for (start, _) in source.text.match_indices(CASE) {
        let first = line_of(&source.text, start);
        let inside = source.text.get(start + CASE.len()..).unwrap_or_default();
        let list = inside.split(']').next().unwrap_or_default();
        for (offset, line) in list.lines().enumerate() {
            for id in line.split('"').skip(1).step_by(2) {
                let at = first + offset;
                cite(id, Place::Test, &source.path, at, citations, findings);
            }
        }
    }
}

/// What a line of a Rust file is part of.
pub(super) fn place_of(source: &Source, line: usize) -> Place {
    let is_tester = in_src(&source.path).is_none_or(|(name, inside)| {
        TESTERS.contains(&name) || (name == "veronad" && inside.starts_with("demo/"))
    });
    match is_tester || source.is_test || is_in_test(source, line) {
        true => Place::Test,
        false => Place::Code,
    }
}

/// Whether the first token at or behind a line is compiled for tests only.
fn is_in_test(source: &Source, line: usize) -> bool {
    source
        .tokens
        .iter()
        .find(|token| token.line >= line)
        .is_some_and(|token| token.in_test)
}

fn read_transcript(
    path: &str,
    text: &str,
    citations: &mut Vec<Citation>,
    findings: &mut Vec<Finding>,
) {
    let is_configuration = path.contains("/tests/config/");
    for (line, text) in numbered(text) {
        let text = match is_configuration {
            // To the configuration itself it is a comment.
            true => text.strip_prefix("# ").unwrap_or_default(),
            false => text,
        };
        if let Some(ids) = text.strip_prefix(WORD) {
            cite(ids, Place::Test, path, line, citations, findings);
        }
    }
}

fn cite(
    ids: &str,
    place: Place,
    path: &str,
    line: usize,
    citations: &mut Vec<Citation>,
    findings: &mut Vec<Finding>,
) {
    let mut is_empty = true;
    for id in ids.split_whitespace() {
        is_empty = false;
        match is_id(id) {
            true => citations.push(Citation {
                id: id.to_owned(),
                place,
                path: path.to_owned(),
                line,
            }),
            false => findings.push(Finding::new(
                path,
                line,
                format!("`{id}` is no requirement's id, such as BIDI-19"),
            )),
        }
    }
    if is_empty {
        findings.push(Finding::new(path, line, "cites nothing"));
    }
}

/// Whether a word has the form of an id: `BIDI-19`.
pub(super) fn is_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(area, number)| {
        !area.is_empty()
            && area.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.len() >= 2
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}
