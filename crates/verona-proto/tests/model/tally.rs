//! What happened in all negotiations together: a property that holds of nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<(&'static str, &'static str), u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str, which: &'static str) {
        *self.0.entry((what, which)).or_default() += 1;
    }

    pub(crate) fn count_many(&mut self, what: &'static str, which: &'static str, many: u64) {
        *self.0.entry((what, which)).or_default() += many;
    }

    pub(crate) fn of(&self, what: &str, which: &str) -> u64 {
        let found = self.0.iter().find(|((w, k), _)| *w == what && *k == which);
        found.map_or(0, |(_, count)| *count)
    }

    /// How often it happened, in whatever way.
    pub(crate) fn all(&self, what: &str) -> u64 {
        let found = self.0.iter().filter(|((w, _), _)| *w == what);
        found.map(|(_, count)| count).sum()
    }

    /// The expected kinds that did not occur.
    pub(crate) fn missing(&self, expected: &[(&str, &str)]) -> Vec<String> {
        expected
            .iter()
            .filter(|(what, which)| self.of(what, which) == 0)
            .map(|(what, which)| format!("{what}: {which}"))
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((what, which), count) in &self.0 {
            writeln!(f, "{count:>10}  {what}: {which}")?;
        }
        Ok(())
    }
}
