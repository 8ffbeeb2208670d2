//! The ledger: every rule with the code and the tests that cite it, and what is missing.

use std::collections::BTreeMap;
use std::fmt;

use super::citation::{self, Citation, Place};
use super::mutants;
use super::requirement::{self, Area, Level, Requirement, Status};
use crate::tidy::{Finding, Tree};

/// All rules, and who cites them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) areas: Vec<Area>,
    citations: BTreeMap<String, Vec<Citation>>,
}

impl Ledger {
    /// Reads rules and citations, and says what is wrong with either.
    pub(super) fn read(tree: &Tree) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let areas = requirement::read(tree, &mut findings);
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for (area, rule) in all(&areas) {
            let line = line_of(tree, area, rule);
            if !rule.id.starts_with(&format!("{}-", area.name)) || !citation::is_id(&rule.id) {
                let say = format!("`{}` is no id of the area {}", rule.id, area.name);
                findings.push(Finding::new(&area.path, line, say));
            }
            if known.insert(&rule.id, &area.path).is_some() {
                let say = format!("{} stands here twice", rule.id);
                findings.push(Finding::new(&area.path, line, say));
            }
        }
        let mut citations: BTreeMap<String, Vec<Citation>> = BTreeMap::new();
        for citation in citation::read(tree, &mut findings) {
            if known.contains_key(citation.id.as_str()) {
                let of_rule = citations.entry(citation.id.clone()).or_default();
                of_rule.push(citation);
            } else {
                let say = format!(
                    "{} is a requirement that docs/spec does not have",
                    citation.id
                );
                findings.push(Finding::new(&citation.path, citation.line, say));
            }
        }
        for (area, rule) in all(&areas) {
            for id in rule.mentions(&areas) {
                if !known.contains_key(id) {
                    let line = line_of(tree, area, rule);
                    let say = format!("{} speaks of {id}, which docs/spec does not have", rule.id);
                    findings.push(Finding::new(&area.path, line, say));
                }
            }
        }
        let ledger = Ledger {
            areas: areas.clone(),
            citations,
        };
        for (area, rule) in all(&areas) {
            if let Some(say) = ledger.judge(rule) {
                let line = line_of(tree, area, rule);
                findings.push(Finding::new(&area.path, line, format!("{} {say}", rule.id)));
            }
        }
        mutants::check(tree, &ledger, &mut findings);
        findings.sort();
        (ledger, findings)
    }

    /// What is wrong with one rule, if anything is.
    fn judge(&self, rule: &Requirement) -> Option<String> {
        let has_reason = rule
            .reason
            .as_ref()
            .is_some_and(|why| !why.trim().is_empty());
        match rule.status {
            Status::Implemented if has_reason || rule.issue.is_some() => {
                Some("is implemented and needs neither reason nor issue".into())
            }
            Status::Implemented => {
                let places = [(Place::Code, "code"), (Place::Test, "test")];
                let missing: Vec<&str> = places
                    .into_iter()
                    .filter(|(place, _)| self.cites(&rule.id, *place).next().is_none())
                    .map(|(_, name)| name)
                    .collect();
                (!missing.is_empty()).then(|| {
                    format!(
                        "({}) is cited by no {}",
                        rule.level,
                        missing.join(" and no ")
                    )
                })
            }
            Status::Planned if rule.issue.is_none() => {
                Some("is planned, but not for any issue".into())
            }
            Status::Declined | Status::NotCode if rule.issue.is_some() => {
                Some("is not planned and has an issue all the same".into())
            }
            Status::Planned | Status::Declined | Status::NotCode => {
                (!has_reason).then(|| format!("is {}, but nothing says why", rule.status))
            }
        }
    }

    /// Where a rule is cited by code or by tests.
    pub(super) fn cites(&self, id: &str, place: Place) -> impl Iterator<Item = &Citation> {
        self.citations
            .get(id)
            .into_iter()
            .flatten()
            .filter(move |citation| citation.place == place)
    }

    /// The counts over all areas.
    pub(super) fn count(&self) -> Count {
        self.areas
            .iter()
            .fold(Count::default(), |sum, area| sum.plus(&area.count(self)))
    }

    fn is_shown(&self, rule: &Requirement) -> bool {
        [Place::Code, Place::Test]
            .into_iter()
            .all(|place| self.cites(&rule.id, place).next().is_some())
    }
}

impl Area {
    /// The counts over the rules of the area.
    pub(super) fn count(&self, ledger: &Ledger) -> Count {
        let mut count = Count::default();
        for rule in &self.requirements {
            count.rows += 1;
            match rule.status {
                Status::Planned => count.planned += 1,
                Status::Declined => count.declined += 1,
                Status::NotCode => count.not_code += 1,
                Status::Implemented => {
                    let share = match rule.level {
                        Level::Must => &mut count.must,
                        Level::Should => &mut count.should,
                        Level::May | Level::Derived | Level::Decision => &mut count.ours,
                    };
                    share.of += 1;
                    share.shown += usize::from(ledger.is_shown(rule));
                }
            }
        }
        count
    }
}

/// How many rules there are, by what is done about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) rows: usize,
    pub(super) must: Share,
    pub(super) should: Share,
    /// What we derived, decided, or may do.
    pub(super) ours: Share,
    pub(super) planned: usize,
    pub(super) declined: usize,
    pub(super) not_code: usize,
}

impl Count {
    fn plus(self, other: &Self) -> Self {
        Count {
            rows: self.rows + other.rows,
            must: self.must.plus(other.must),
            should: self.should.plus(other.should),
            ours: self.ours.plus(other.ours),
            planned: self.planned + other.planned,
            declined: self.declined + other.declined,
            not_code: self.not_code + other.not_code,
        }
    }
}

/// Rules with code and test, of those that should have both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) shown: usize,
    pub(super) of: usize,
}

impl Share {
    fn plus(self, other: Self) -> Self {
        Share {
            shown: self.shown + other.shown,
            of: self.of + other.of,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.shown, self.of)
    }
}

impl Requirement {
    /// The ids of other rules in the words of this one.
    fn mentions<'a>(&'a self, areas: &'a [Area]) -> impl Iterator<Item = &'a str> {
        let fields = [
            Some(&self.text),
            Some(&self.source),
            self.test.as_ref(),
            self.notes.as_ref(),
            self.reason.as_ref(),
        ];
        fields
            .into_iter()
            .flatten()
            .flat_map(|text| text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')))
            .filter(|word| citation::is_id(word))
            .filter(move |word| {
                let area = word.split('-').next().unwrap_or_default();
                areas.iter().any(|known| known.name == area)
            })
    }
}

fn all(areas: &[Area]) -> impl Iterator<Item = (&Area, &Requirement)> {
    areas
        .iter()
        .flat_map(|area| area.requirements.iter().map(move |rule| (area, rule)))
}

/// The line at which a rule begins in its file.
fn line_of(tree: &Tree, area: &Area, rule: &Requirement) -> usize {
    let text = tree.texts.get(&area.path).map_or("", String::as_str);
    text.find(&format!("id = '{}'", rule.id))
        .map_or(1, |offset| requirement::line_of(text, offset))
}
