//! The table of a matrix in a document, between two marks: written from a run, and compared with the cells by a test.
//! Why generated: a table that somebody types is a claim, one that a run writes is a finding.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::command::MESSAGES;
use super::play::{Link, Seen};
use super::{Asked, Cell, Certificate, Dials, Peer};

/// What the table says of one cell.
#[must_use]
pub fn says(seen: &Seen) -> String {
    let carrying: Vec<&Link> = seen
        .links
        .iter()
        .filter(|link| link.has_carried())
        .collect();
    if carrying.is_empty() {
        return "refused".to_owned();
    }
    let each: Vec<String> = carrying.iter().map(|link| of_link(link)).collect();
    let mut text = format!("{}: {}", carrying.len(), each.join(", "));
    if !seen.near_to_far.lost.is_empty() {
        let _ = write!(text, "; {} lost by the peer", seen.near_to_far.lost.len());
    }
    text
}

/// Out and in, each with its grounds, where something was carried.
fn of_link(link: &Link) -> String {
    let out = (link.stanzas_out > 0).then(|| format!("{}→", link.send));
    let into = (link.stanzas_in > 0).then(|| format!("←{}", link.receive));
    [out, into]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The whole table: a row for each peer, proof and pair of certificates, a column for each who may dial.
#[must_use]
pub fn markdown(results: &BTreeMap<Cell, String>) -> String {
    let mut rows: BTreeMap<Row, [String; 3]> = BTreeMap::new();
    for (cell, result) in results {
        let columns = rows.entry(Row::of(cell)).or_default();
        let column = match cell.dials {
            Dials::Verona => 0,
            Dials::Peer => 1,
            Dials::Both => 2,
        };
        if let Some(place) = columns.get_mut(column) {
            result.clone_into(place);
        }
    }
    let mut text = format!(
        "{MESSAGES} messages each way in each cell, in order, none lost and none twice.\n\n\
         | peer | asked for | verona's certificate | the peer's | verona dials first | the peer dials first | both at once |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (row, [verona, peer, both]) in rows {
        let _ = writeln!(text, "{} {verona} | {peer} | {both} |", row.key());
    }
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    peer: Peer,
    asked: Asked,
    ours: Certificate,
    theirs: Certificate,
}

impl Row {
    const fn of(cell: &Cell) -> Self {
        Self {
            peer: cell.peer,
            asked: cell.asked,
            ours: cell.ours,
            theirs: cell.theirs,
        }
    }

    /// The columns that do not depend on a run.
    fn key(&self) -> String {
        format!(
            "| {} | {} | {} | {} |",
            self.peer.title(),
            self.asked,
            self.ours,
            self.theirs
        )
    }
}

/// Puts `text` between the marks called `name` in `document`.
///
/// # Errors
/// The marks are not there.
pub fn put(document: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = marks(name);
    let (before, rest) = document
        .split_once(&begin)
        .with_context(|| format!("there is no {begin}"))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("there is no {end}"))?;
    Ok(format!("{before}{begin}\n{text}{end}{after}"))
}

/// What stands between the marks called `name` in `document`.
///
/// # Errors
/// The marks are not there.
pub fn get<'a>(document: &'a str, name: &str) -> Result<&'a str> {
    let (begin, end) = marks(name);
    let (_, rest) = document
        .split_once(&begin)
        .with_context(|| format!("there is no {begin}"))?;
    let (text, _) = rest
        .split_once(&end)
        .with_context(|| format!("there is no {end}"))?;
    Ok(text)
}

fn marks(name: &str) -> (String, String) {
    (
        format!("<!-- {name}: begin -->"),
        format!("<!-- {name}: end -->"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::super::cells;
    use super::*;
    use std::collections::BTreeSet;

    const DOCUMENT: &str = include_str!("../../../../docs/interop.md");

    /// The document says something of every cell, and of nothing else.
    fn agrees(document: &str, name: &str, cells: &[Cell]) {
        let wanted: BTreeSet<String> = cells.iter().map(|cell| Row::of(cell).key()).collect();
        let table = get(document, name).unwrap();
        let mut found = BTreeSet::new();
        for line in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
            let key: Vec<&str> = line.splitn(6, '|').take(5).collect();
            assert!(found.insert(format!("{}|", key.join("|"))), "twice: {line}");
            let results: Vec<&str> = line.split('|').skip(5).take(3).map(str::trim).collect();
            assert_eq!(results.len(), 3, "{line}");
            assert!(results.iter().all(|result| !result.is_empty()), "{line}");
        }
        assert_eq!(
            found, wanted,
            "docs/interop.md: run it again with --markdown"
        );
    }

    #[test]
    fn the_document_has_the_rows_of_the_matrix() {
        agrees(DOCUMENT, "matrix", &cells::usual());
    }

    #[test]
    fn the_document_has_the_rows_of_the_newer_servers() {
        agrees(DOCUMENT, "newer", &cells::newer());
    }

    #[test]
    fn a_table_is_put_where_its_marks_are() {
        let document = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let after = put(document, "x", "new\n").unwrap();
        assert_eq!(after, "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n");
        assert!(put(document, "y", "new\n").is_err());
        assert_eq!(get(&after, "x").unwrap().trim(), "new");
    }

    #[test]
    fn a_missing_row_is_seen() {
        let results = cells::usual()
            .into_iter()
            .map(|cell| (cell, "refused".to_owned()))
            .collect();
        let empty = "<!-- x: begin -->\n<!-- x: end -->";
        let document = put(empty, "x", &markdown(&results)).unwrap();
        agrees(&document, "x", &cells::usual());
        let fewer = document.replacen("| jabberd2", "| another", 1);
        assert!(std::panic::catch_unwind(|| agrees(&fewer, "x", &cells::usual())).is_err());
    }
}
