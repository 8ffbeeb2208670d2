//! The tables of `docs/discovery.md`: one row for each case, made of what was seen.
//!
//! What stands above them there is written by hand. A row has no figure that changes from run to run: times and numbers of
//! questions are the bounds that were kept.

use std::collections::BTreeMap;
use std::path::Path;

use crate::case::{Again, Case, Takes};
use crate::world::Came;

/// A heading and what stands below it.
pub(crate) struct Table {
    title: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: Vec::new(),
        }
    }
}

/// One case.
pub(crate) struct Row {
    what: &'static str,
    /// None where the machine could not play it: the page keeps what it has.
    seen: Option<Seen>,
}

struct Seen {
    dialled: String,
    read: String,
    bounds: String,
    why: &'static str,
}

impl Row {
    pub(crate) fn new(case: &Case, came: &Came) -> Self {
        let time = match case.takes {
            Takes::AtOnce => "at once",
            Takes::AMoment => "a moment",
            Takes::DnsSeconds => "¾ `dns_seconds`",
        };
        Self {
            what: case.what,
            seen: Some(Seen {
                dialled: dialled(came),
                read: read(came),
                bounds: format!("{time}, ≤ {}", case.questions_max),
                why: case.why,
            }),
        }
    }

    pub(crate) fn not_run(case: &Case) -> Self {
        Self {
            what: case.what,
            seen: None,
        }
    }

    /// What came of a second message.
    pub(crate) fn second(&mut self, again: &Again, came: &Came) {
        let Some(seen) = &mut self.seen else {
            return;
        };
        let asked = match again.asks {
            true => "SRV asked again",
            false => "SRV not asked again",
        };
        let then = dialled(came);
        seen.dialled.push_str(&format!("; then {then} ({asked})"));
        match (seen.read.as_str(), read(came)) {
            (_, then) if then == NOTHING => {}
            (NOTHING, then) => seen.read = format!("then {then}"),
            (_, then) => seen.read.push_str(&format!("; then {then}")),
        }
    }

    fn write(&self, kept: &BTreeMap<String, String>) -> String {
        let what = cell(self.what);
        match &self.seen {
            Some(seen) => format!(
                "| {what} | {} | {} | {} | {} |",
                cell(&seen.dialled),
                cell(&seen.read),
                seen.bounds,
                cell(seen.why)
            ),
            None => kept
                .get(&what)
                .unwrap_or_else(|| panic!("the page has no row \"{what}\""))
                .clone(),
        }
    }
}

/// What was dialled, in words.
fn dialled(came: &Came) -> String {
    if came.dialled.is_empty() {
        return NOTHING.to_owned();
    }
    let words = came.dialled.iter().map(|seen| match seen.as_str() {
        "the domain:5269" => "the domain's address".to_owned(),
        "[::1]" => "`a` by IPv6".to_owned(),
        seen => {
            let host = seen.split(':').next().unwrap_or(seen);
            let tls = if seen.ends_with(" TLS") {
                " by TLS"
            } else {
                ""
            };
            format!("`{host}`{tls}")
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What the sender of the message reads, if it is about DNS.
fn read(came: &Came) -> String {
    if !came.dialled.is_empty() {
        // The listeners hang up, so every message comes back; that is no news.
        return NOTHING.to_owned();
    }
    let text = came.text.split_once(": ").map_or("", |(_, text)| text);
    let text = text.split(" (os error").next().unwrap_or(text);
    format!("`{}`: {text}", came.condition)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// Whether the page says what was seen; with `UPDATE=1` it does afterwards.
pub(crate) fn compare(tables: &[Table]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/discovery.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (by_hand, old) = page.split_once(BEGIN).unwrap();
    let kept = old
        .lines()
        .filter_map(|line| {
            let what = line.strip_prefix("| ")?.split(" | ").next()?;
            Some((what.to_owned(), line.to_owned()))
        })
        .collect();
    let mut new = String::new();
    let total: usize = tables.iter().map(|table| table.rows.len()).sum();
    new.push_str(&format!("\n{total} behaviours.\n"));
    for table in tables {
        new.push_str(&format!("\n### {}\n\n{HEAD}", table.title));
        for row in &table.rows {
            new.push_str(&row.write(&kept));
            new.push('\n');
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{by_hand}{BEGIN}{new}")).unwrap();
    } else if let Some((said, seen)) = first_difference(old, &new) {
        panic!(
            "docs/discovery.md does not say what was seen; UPDATE=1 writes it\n--- it says\n{said}\n--- seen\n{seen}"
        );
    }
}

fn first_difference<'a>(old: &'a str, new: &'a str) -> Option<(&'a str, &'a str)> {
    let (mut old, mut new) = (old.lines(), new.lines());
    loop {
        match (old.next(), new.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => return Some((one.unwrap_or_default(), other.unwrap_or_default())),
        }
    }
}

/// The heading of the part that is written by this test.
const BEGIN: &str = "## What DNS does, and what verona did\n";
const HEAD: &str =
    "| DNS | dialled | the sender reads | time, questions | because |\n|---|---|---|---|---|\n";
const NOTHING: &str = "–";
