//! What happened in all worlds together: a property that holds of nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;

/// How often each thing happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<(&'static str, &'static str), u64>);

impl Coverage {
    /// It happened once more.
    pub(crate) fn count(&mut self, what: &'static str, which: &'static str) {
        self.add(what, which, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, which: &'static str, many: u64) {
        *self.0.entry((what, which)).or_default() += many;
    }

    /// Adds what happened in other worlds.
    pub fn merge(&mut self, other: &Self) {
        for ((what, which), count) in &other.0 {
            self.add(what, which, *count);
        }
    }

    /// How often it happened.
    #[must_use]
    pub fn of(&self, what: &str, which: &str) -> u64 {
        let found = self.0.iter().find(|((w, k), _)| *w == what && *k == which);
        found.map_or(0, |(_, count)| *count)
    }

    /// How often it happened in whatever way.
    #[must_use]
    pub fn all(&self, what: &str) -> u64 {
        let found = self.0.iter().filter(|((w, _), _)| *w == what);
        found.map(|(_, count)| count).sum()
    }

    /// Those of the expected things that never happened.
    #[must_use]
    pub fn missing(&self, expected: &[(&str, &str)]) -> Vec<String> {
        expected
            .iter()
            .filter(|(what, which)| self.of(what, which) == 0)
            .map(|(what, which)| format!("{what}: {which}"))
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((what, which), count) in &self.0 {
            writeln!(f, "{count:>12}  {what}: {which}")?;
        }
        Ok(())
    }
}
