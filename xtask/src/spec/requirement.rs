//! The requirements: one table of docs/spec/*.toml for each area of the protocol.
//! They are data, so that what is promised can be read, counted and changed without touching a program.

use std::fmt;

use serde::Deserialize;

use crate::tidy::{Finding, Tree};

/// One area of the protocol, as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Area {
    /// What the ids of its requirements begin with.
    #[serde(rename = "area")]
    pub(super) name: String,
    /// Its name for readers.
    pub(super) title: String,
    /// What it is about, in a few words.
    pub(super) about: String,
    #[serde(rename = "requirement", default)]
    pub(super) requirements: Vec<Requirement>,
    /// The file that it was read from, relative to the workspace.
    #[serde(skip)]
    pub(super) path: String,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    pub(super) id: String,
    /// Whom it binds.
    pub(super) role: String,
    pub(super) level: Level,
    /// The rule, in our own words.
    pub(super) text: String,
    /// Where it comes from.
    pub(super) source: String,
    /// What is given (`G:`) and expected (`E:`).
    pub(super) test: Option<String>,
    /// Traps, and what others do.
    pub(super) notes: Option<String>,
    #[serde(default)]
    pub(super) status: Status,
    /// The letter of the issue that will bring it, if it is planned.
    pub(super) issue: Option<String>,
    /// Why it is not implemented.
    pub(super) reason: Option<String>,
}

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// MUST and MUST NOT.
    Must,
    /// SHOULD, SHOULD NOT and RECOMMENDED.
    Should,
    /// MAY.
    May,
    /// It follows from the specifications and stands in none.
    Derived,
    /// An open point that we decided.
    Decision,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
            Self::Derived => "derived",
            Self::Decision => "decided",
        })
    }
}

/// What we do about a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    /// We obey it: some code and some test cite it.
    #[default]
    Implemented,
    /// We shall.
    Planned,
    /// We decided not to.
    Declined,
    /// It binds people or other parties, or leaves nothing to do.
    NotCode,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Implemented => "implemented",
            Self::Planned => "planned",
            Self::Declined => "declined",
            Self::NotCode => "not code",
        })
    }
}

/// The areas in the order in which a connection meets them; a file that is not here is a mistake.
const FILES: &[&str] = &[
    "stream",
    "tls",
    "sasl",
    "dialback",
    "bidi",
    "routing",
    "errors",
    "component",
    "local-services",
    "limits",
    "sm",
    "dns",
    "direct-tls",
    "quic",
];

/// Where the tables lie.
const FOLDER: &str = "docs/spec/";
/// The one file there that holds no requirements.
pub(super) const MUTANTS: &str = "docs/spec/mutants.toml";

/// Reads all areas; a file that cannot be understood is a finding.
pub(super) fn read(tree: &Tree, findings: &mut Vec<Finding>) -> Vec<Area> {
    for path in tree.texts.keys() {
        let stem = path
            .strip_prefix(FOLDER)
            .and_then(|name| name.strip_suffix(".toml"));
        if stem.is_some_and(|stem| !FILES.contains(&stem)) && path != MUTANTS {
            findings.push(Finding::new(
                path,
                1,
                "is no area that xtask/src/spec/requirement.rs knows",
            ));
        }
    }
    let mut areas = Vec::new();
    for stem in FILES {
        let path = format!("{FOLDER}{stem}.toml");
        let Some(text) = tree.texts.get(&path) else {
            findings.push(Finding::new(&path, 1, "is missing"));
            continue;
        };
        match toml::from_str::<Area>(text) {
            Ok(area) => areas.push(Area { path, ..area }),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                findings.push(Finding::new(&path, line, error.message()));
            }
        }
    }
    areas
}

/// The line of `text`, counted from 1, in which the byte at `offset` stands.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}
