//! `docs/limits.md`: the table, for whoever runs a server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::Path;

use super::{Limit, Limits, Scope};

/// `UPDATE=1 cargo test -p verona-proto page_of_limits` writes the page anew.
#[test]
fn the_page_of_limits_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        committed, page,
        "docs/limits.md is stale: UPDATE=1 cargo test -p verona-proto page_of_limits"
    );
}

fn page() -> String {
    let mut page = String::from(HEAD);
    let defaults = Limits::default();
    for limit in Limit::ALL {
        let scope = match limit.scope() {
            Scope::Peer => "peer",
            Scope::Everybody => "",
        };
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            limit.name(),
            defaults.of(*limit),
            scope,
            without_ids(limit.about()),
            limit.effect(),
        )
        .unwrap();
    }
    page
}

const HEAD: &str = "\
# Limits

Every number that bounds a peer, a component or a wait. This page is made from the table in the code.

Set by name: `limits = { stanza_bytes_max = 1048576 }` in `[defaults]`, and those marked *peer* also in a `[[peer]]`; the
others are taken from `[defaults]` alone. All are at least 1; `stanza_bytes_max` at least 10 000,
`dials_per_address_max` at least 2, `component_reconnect_seconds` 0 to 30, `drain_seconds` at most 10.

How often each took effect is counted: `verona_limit_reached_total{limit=\"outbox_stanzas_max\"}` in `/metrics`. Every limit has
its series from the start, and nothing that a peer sends makes another one. `keepalive_seconds`, `idle_seconds` and the two of
the wait after failures count in ordinary life; any other that counts is either too low for your traffic or keeps somebody
off. The last column says what happened then.

| name | default | whose | what it bounds | when it is reached |
|---|---|---|---|---|
";

/// What the page of the code's own words leaves out: ids of requirements in parentheses.
fn without_ids(about: &str) -> String {
    let mut out = String::new();
    let mut rest = about;
    while let Some((before, behind)) = rest.split_once(" (") {
        out.push_str(before);
        let (inside, after) = behind.split_once(')').unwrap_or((behind, ""));
        if !inside.split(", ").all(is_id) {
            write!(out, " ({inside})").unwrap();
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(area, number)| {
        area.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}
