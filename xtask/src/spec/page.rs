//! The page for readers, docs/compliance.md: every rule, what we do about it, and where to look.
//! It is generated, so that it says nothing that the tree does not.

use std::fmt::Write as _;

use super::check::Ledger;
use super::citation::{Citation, Place};
use super::requirement::{Area, Requirement, Status};

/// The whole page.
pub(super) fn write(ledger: &Ledger) -> String {
    let mut out = String::from(HEAD);
    write_counts(&mut out, ledger);
    for area in &ledger.areas {
        write_area(&mut out, ledger, area);
    }
    out
}

/// The page as far as it does not depend on line numbers: an edit above a citation moves it and makes nothing untrue.
pub(super) fn without_lines(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut rest = page;
    while let Some(at) = rest.find("#L") {
        let (before, behind) = rest.split_at(at + 2);
        out.push_str(before);
        rest = behind.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    // The visible number stands in front of `](`.
    let mut plain = String::with_capacity(out.len());
    let mut rest = out.as_str();
    while let Some(at) = rest.find("](") {
        let (before, behind) = rest.split_at(at);
        plain.push_str(before.trim_end_matches(|c: char| c.is_ascii_digit()));
        plain.push_str("](");
        rest = behind.get(2..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

fn write_counts(out: &mut String, ledger: &Ledger) {
    out.push_str("| area | rules | MUST | SHOULD | ours | planned | declined | not code |\n");
    out.push_str("|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for area in &ledger.areas {
        let name = format!("[{}](#{})", area.title, anchor(&area.title));
        write_count(out, &name, &area.count(ledger));
    }
    write_count(out, "all", &ledger.count());
}

fn write_count(out: &mut String, name: &str, count: &super::check::Count) {
    let _ = writeln!(
        out,
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        count.rows,
        count.must,
        count.should,
        count.ours,
        count.planned,
        count.declined,
        count.not_code
    );
}

fn write_area(out: &mut String, ledger: &Ledger, area: &Area) {
    let _ = write!(
        out,
        "\n## {}\n\n{}. Ids begin with `{}-`; the rules with their tests and traps: [{}]({}).\n\n",
        area.title,
        capital(&area.about),
        area.name,
        area.path,
        link(&area.path)
    );
    out.push_str("| id | level, role | the rule in short | status | code | tests |\n");
    out.push_str("|---|---|---|---|---|---|\n");
    for rule in &area.requirements {
        let _ = writeln!(
            out,
            "| {} | {}, {} | {} ({}) | {} | {} | {} |",
            rule.id,
            rule.level,
            rule.role,
            cell(&rule.text),
            cell(&rule.source),
            status(rule),
            places(ledger.cites(&rule.id, Place::Code)),
            places(ledger.cites(&rule.id, Place::Test)),
        );
    }
}

fn status(rule: &Requirement) -> String {
    let reason = rule.reason.as_deref().map(cell).unwrap_or_default();
    match (rule.status, &rule.issue) {
        (Status::Implemented, _) => rule.status.to_string(),
        (Status::Planned, Some(issue)) => format!("planned (issue {issue}): {reason}"),
        (Status::Planned | Status::Declined | Status::NotCode, _) => {
            format!("{}: {reason}", rule.status)
        }
    }
}

/// Links to the first few citing lines, and how many more there are.
fn places<'a>(citations: impl Iterator<Item = &'a Citation>) -> String {
    let all: Vec<&Citation> = citations.collect();
    let mut shown: Vec<String> = all
        .iter()
        .take(SHOWN)
        .map(|citation| {
            format!(
                "[{}:{}]({}#L{})",
                short(&citation.path),
                citation.line,
                link(&citation.path),
                citation.line
            )
        })
        .collect();
    if all.len() > SHOWN {
        shown.push(format!("and {} more", all.len() - SHOWN));
    }
    shown.join(", ")
}

/// Citing lines that are linked; more say no more.
const SHOWN: usize = 4;

/// A path without what every path of its kind has.
fn short(path: &str) -> &str {
    let path = path.strip_prefix("crates/").unwrap_or(path);
    path.strip_prefix("verona-proto/tests/stream/")
        .unwrap_or(path)
}

/// A path as seen from the folder of the page.
fn link(path: &str) -> String {
    format!("../{path}")
}

/// Text that may stand in a cell of a table.
fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut is_code = false;
    for character in text.chars() {
        match character {
            '`' => {
                is_code = !is_code;
                out.push('`');
            }
            '|' => out.push_str("\\|"),
            '<' if !is_code => out.push_str("&lt;"),
            '\n' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}

const HEAD: &str = "\
# Compliance

Which rules of XMPP federation verona obeys, rule by rule, with the lines of code that obey each and the tests that show it.
`cargo xtask spec --write` writes this page from `docs/spec/*.toml` and from the citations in the tree (`//= BIDI-19` in Rust,
`spec BIDI-19` in a transcript); `cargo xtask spec`, a stage of `cargo xtask test`, fails when a rule that counts as implemented is
cited by no code or by no test, when something cites a rule that does not exist, and when this page says something else than the
tree. Numbers of lines are those of the last writing.

The levels are those of the specifications (MUST NOT counts as MUST, RECOMMENDED as SHOULD); *derived* follows from them without
standing in one of them, *decided* is an open point with our decision in it. Both bind us like a MUST and are counted as *ours*,
together with what is optional and was built. *Planned* rules name the issue that brings them, *declined* ones the reason; *not code* are
rules for people or for others, and rules that leave nothing to do. `init` and `recv` are the sides that opened and accepted the connection.

";
