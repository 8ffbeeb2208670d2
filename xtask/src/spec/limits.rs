//! Every limit is counted where it takes effect, and a test reaches it.
//!
//! The table of limits (`verona-proto/src/limits.rs`) makes a variant of `Limit` for each. A place in the code that names the
//! variant counts it, or says that it was reached; a test that names it has reached it:
//!
//! | kind of file | how it names one |
//! |---|---|
//! | Rust | `Limit::IdleSeconds` |
//! | transcript | `= reached idle_seconds` |

use super::citation::{Place, place_of};
use super::requirement::line_of;
use crate::tidy::{Finding, Source, Tree};

/// The table.
const TABLE: &str = "crates/verona-proto/src/limits.rs";
/// How a transcript says which limits took effect.
const REACHED: &str = "= reached ";

/// Limits that are not yet counted or tested, with what is missing. It is to be empty.
pub(super) const OPEN: &[&str] = &[];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    variant: String,
    line: usize,
}

/// What names a limit.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    code: usize,
    tests: usize,
}

/// Limits that nothing counts, or that no test reaches.
pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for row in rows(tree) {
        let named = named(tree, &row);
        let missing: Vec<&str> = [(named.code, "no code"), (named.tests, "no test")]
            .into_iter()
            .filter(|(count, _)| *count == 0)
            .map(|(_, what)| what)
            .collect();
        let is_open = OPEN.contains(&row.name.as_str());
        let say = match (missing.is_empty(), is_open) {
            (true, false) | (false, true) => continue,
            (true, true) => format!(
                "`{}` is counted and tested, and still listed as open",
                row.name
            ),
            (false, false) => format!("`{}` is reached in {}", row.name, missing.join(" and in ")),
        };
        findings.push(Finding::new(TABLE, row.line, say));
    }
}

/// One line of counts.
pub(super) fn summary(tree: &Tree) -> String {
    let rows = rows(tree);
    let open = match OPEN {
        [] => String::new(),
        open => format!("; open: {}", open.join(", ")),
    };
    format!(
        "limits: {} of {} are counted where they take effect, and reached by a test{open}",
        rows.len().saturating_sub(OPEN.len()),
        rows.len()
    )
}

/// The rows of the table: `idle_seconds / IdleSeconds for Peer = …`.
fn rows(tree: &Tree) -> Vec<Row> {
    let text = tree.texts.get(TABLE).map_or("", String::as_str);
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let (name, rest) = line.trim_start().split_once(" / ")?;
            let (variant, rest) = rest.split_once(" for ")?;
            rest.contains(" = ").then(|| Row {
                name: name.to_owned(),
                variant: variant.to_owned(),
                line: index + 1,
            })
        })
        .filter(|row| row.name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect()
}

fn named(tree: &Tree, row: &Row) -> Named {
    let mut named = Named::default();
    for source in &tree.sources {
        if source.path.starts_with("crates/") && source.path != TABLE {
            for line in places(source, &row.variant) {
                match place_of(source, line) {
                    Place::Code => named.code += 1,
                    Place::Test => named.tests += 1,
                }
            }
        }
    }
    for (path, text) in &tree.texts {
        if path.starts_with("crates/") && path.contains("/tests/") && path.ends_with(".txt") {
            named.tests += text
                .lines()
                .filter_map(|line| line.strip_prefix(REACHED))
                .filter(|names| names.split_whitespace().any(|name| name == row.name))
                .count();
        }
    }
    named
}

/// The lines of `Limit::VARIANT` in a Rust file.
fn places<'a>(source: &'a Source, variant: &'a str) -> impl Iterator<Item = usize> + 'a {
    source
        .text
        .match_indices("Limit::")
        .filter_map(move |(at, found)| {
            let behind = source.text.get(at + found.len()..)?.strip_prefix(variant)?;
            let ends = |c: char| !c.is_alphanumeric() && c != '_';
            behind
                .chars()
                .next()
                .is_none_or(ends)
                .then(|| line_of(&source.text, at))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "limits! {\n    /// Bytes / and more for = all.\n    a_max / AMax for Peer = 1,\n        \"ends\";\n    \
        a_max_seconds / AMaxSeconds for Everybody = 2,\n        \"waits\";\n}\n";

    fn found(code: &str, test: &str) -> Vec<String> {
        let tree = Tree::default()
            .with(TABLE, ROWS)
            .with("crates/a/src/lib.rs", code)
            .with("crates/a/tests/stream/one.txt", test);
        let mut findings = Vec::new();
        check(&tree, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_limit_needs_a_place_that_counts_it_and_a_test_that_reaches_it() {
        let code = "fn a() {\n    count(Limit::AMax);\n    count(Limit::AMaxSeconds);\n}\n";
        let test = "= reached a_max a_max_seconds\n";
        assert_eq!(found(code, test), [""; 0]);
        let one = found(&code.replace("Limit::AMaxSeconds", "Limit::AMax"), test);
        assert_eq!(one.len(), 1);
        assert!(
            one[0].contains("`a_max_seconds` is reached in no code"),
            "{one:?}"
        );
        let two = found(code, "= reached a_max_seconds\n");
        assert!(two[0].contains("`a_max` is reached in no test"), "{two:?}");
        let tests = "#[cfg(test)]\nmod tests {\n    fn a() {\n        assert(Limit::AMax, Limit::AMaxSeconds);\n    }\n}\n";
        let three = found(tests, "");
        assert_eq!(three.len(), 2, "a test is no code: {three:?}");
        assert!(three.iter().all(|one| one.contains("no code")));
    }
}
