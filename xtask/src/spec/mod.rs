//! `cargo xtask spec`: every requirement of docs/spec against the lines that cite it.
//! A rule without an address is a rule that nobody can check: code and tests name the rules that they obey and show,
//! and this says which rules nobody names.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

mod check;
mod citation;
mod limits;
pub(crate) mod mutants;
mod page;
mod requirement;

#[cfg(test)]
mod tests;

use crate::tidy::{Finding, Tree};
use check::Ledger;

/// Where the page for readers lies.
const PAGE: &str = "docs/compliance.md";

/// Checks the requirements against the tree at `root` and prints a table by area; says whether nothing is wrong.
///
/// # Errors
/// When the tree cannot be read.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let (ledger, mut findings) = Ledger::read(&tree);
    print!("{}", table(&ledger));
    println!("{}", limits::summary(&tree));
    limits::check(&tree, &mut findings);
    let page = page::write(&ledger);
    let committed = tree.texts.get(PAGE).map_or("", String::as_str);
    if page::without_lines(committed) != page::without_lines(&page) {
        findings.push(Finding::new(
            PAGE,
            1,
            "is stale: `cargo xtask spec --write`",
        ));
    } else if committed != page {
        println!("{PAGE}: some lines have moved; `cargo xtask spec --write` follows them");
    }
    Ok(conclude(&findings))
}

/// Writes the page for readers, and checks as [`run`] does.
///
/// # Errors
/// When the tree cannot be read or the page cannot be written.
pub(crate) fn write(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let (ledger, mut findings) = Ledger::read(&tree);
    limits::check(&tree, &mut findings);
    std::fs::write(root.join(PAGE), page::write(&ledger))
        .with_context(|| format!("writing {PAGE}"))?;
    print!("{}", table(&ledger));
    Ok(conclude(&findings))
}

/// Breaks the code at its citations, one line at a time, and says whether a test noticed each; all of them, or those
/// of the requirements `ids`.
///
/// # Errors
/// When the table of mutants or the tree cannot be read, or the copy of the tree cannot be made.
pub(crate) fn run_mutants(root: &Path, ids: &[&str]) -> Result<bool> {
    mutants::run(root, ids)
}

fn conclude(findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        println!("spec: {} to put right", findings.len());
    }
    findings.is_empty()
}

/// One line for each area, and their sum.
fn table(ledger: &Ledger) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<10} {:>5} {:>16} {:>16} {:>16} {:>8} {:>9} {:>9}",
        "area", "rows", "MUST", "SHOULD", "ours", "planned", "declined", "not code"
    );
    for area in &ledger.areas {
        let _ = writeln!(out, "{}", line(&area.name, &area.count(ledger)));
    }
    let _ = writeln!(out, "{}", line("all", &ledger.count()));
    let _ = writeln!(
        out,
        "(MUST, SHOULD, ours: rows with code and test, of those that are neither planned nor declined; ours: what we derived \
         or decided, and what is optional)"
    );
    out
}

fn line(name: &str, count: &check::Count) -> String {
    format!(
        "{name:<10} {:>5} {:>16} {:>16} {:>16} {:>8} {:>9} {:>9}",
        count.rows,
        count.must.to_string(),
        count.should.to_string(),
        count.ours.to_string(),
        count.planned,
        count.declined,
        count.not_code
    )
}
