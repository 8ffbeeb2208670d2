//! Whose turn it is to queue a stanza.
//!
//! A sender that changes its connection sends the rest of a pair on the new one. Where we did not keep up with the old
//! one, because a recipient was slow, what we have not queued of it was sent earlier, and has to go first: each reader
//! routes for itself, and would find room in an order of chance (ROUTE-09).
//!
//! So every reader has an [`Age`]. One that stops reading for a moment takes a [`Place`] until it has caught up, and of
//! the pairs that it serves no younger one queues anything before. Only the younger wait, so however many wait for one
//! another, the oldest does not. A sender that goes back to an older connection is not helped by this.
//!
//! ```
//! use std::sync::Arc;
//! use verona_proto::addr::Domain;
//! use verona_proto::turns::Turns;
//!
//! let turns = Arc::new(Turns::default());
//! let (juliet, romeo) = (Domain::parse("capulet.lit")?, Domain::parse("montague.lit")?);
//! let (old, new) = (turns.next(), turns.next());
//! assert!(turns.is_turn_of(new, &juliet, &romeo));
//!
//! let mut behind = turns.fall_behind(old);
//! behind.serves(&juliet, &romeo);
//! assert!(turns.is_turn_of(old, &juliet, &romeo));
//! assert!(!turns.is_turn_of(new, &juliet, &romeo), "what it brings was sent later");
//! assert!(turns.is_turn_of(new, &romeo, &juliet), "another pair");
//!
//! drop(behind);
//! assert!(turns.is_turn_of(new, &juliet, &romeo));
//! # Ok::<(), verona_proto::addr::BadDomain>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addr::Domain;

/// When a reader began, among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(u64);

/// The readers that are behind, shared by all readers.
#[derive(Debug, Default)]
pub struct Turns {
    last: AtomicU64,
    /// How many are behind. Nearly always none is, and then nobody takes the lock.
    behind: AtomicUsize,
    lines: Mutex<Lines>,
}

/// By sender and recipient, the ages of those readers that serve the pair and are behind.
type Lines = BTreeMap<Domain, BTreeMap<Domain, BTreeSet<Age>>>;

impl Turns {
    /// The age of a reader that begins now: all others are older.
    #[must_use]
    pub fn next(&self) -> Age {
        Age(self.last.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a reader of this age may queue a stanza from `from` to `to` now.
    #[must_use]
    pub fn is_turn_of(&self, age: Age, from: &Domain, to: &Domain) -> bool {
        if self.behind.load(Ordering::Acquire) == 0 {
            return true;
        }
        let lines = self.lines();
        let oldest = lines
            .get(from)
            .and_then(|recipients| recipients.get(to))
            .and_then(BTreeSet::first);
        //= ROUTE-09
        oldest.is_none_or(|oldest| age <= *oldest)
    }

    /// A reader of this age stops reading for a moment.
    #[must_use = "it has caught up when the place is dropped"]
    pub fn fall_behind(self: &Arc<Self>, age: Age) -> Place {
        self.behind.fetch_add(1, Ordering::AcqRel);
        Place {
            age,
            pairs: BTreeSet::new(),
            turns: Arc::clone(self),
        }
    }

    /// A lock whose former holder panicked is as good as any other: no critical section leaves half a change.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one reader that is behind, until it is dropped.
#[derive(Debug)]
pub struct Place {
    age: Age,
    pairs: BTreeSet<(Domain, Domain)>,
    turns: Arc<Turns>,
}

impl Place {
    /// The reader may have something from `from` to `to` that it has not queued. Of more than 1,024 pairs at once the
    /// order is not watched.
    pub fn serves(&mut self, from: &Domain, to: &Domain) {
        self.serves_all([(from, to)]);
    }

    /// The same of several pairs.
    pub fn serves_all<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a Domain, &'a Domain)>) {
        let mut lines = self.turns.lines();
        for (from, to) in pairs {
            if self.pairs.len() < PAIRS_MAX && self.pairs.insert((from.clone(), to.clone())) {
                let recipients = lines.entry(from.clone()).or_default();
                recipients.entry(to.clone()).or_default().insert(self.age);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        for (from, to) in &self.pairs {
            let Some(recipients) = lines.get_mut(from) else {
                continue;
            };
            if let Some(ages) = recipients.get_mut(to) {
                ages.remove(&self.age);
                if ages.is_empty() {
                    recipients.remove(to);
                }
            }
            if recipients.is_empty() {
                lines.remove(from);
            }
        }
        self.turns.behind.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Pairs of which one reader's order is watched: a component may write to any number of domains.
const PAIRS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    #[test]
    fn of_those_that_serve_a_pair_and_are_behind_the_oldest_has_its_turn() {
        //= ROUTE-09
        let turns = Arc::new(Turns::default());
        let (a, b) = (domain("a.lit"), domain("b.lit"));
        let [oldest, older, young] = [turns.next(), turns.next(), turns.next()];
        let mut later = turns.fall_behind(older);
        later.serves(&a, &b);
        let is_turn = || [oldest, older, young].map(|age| turns.is_turn_of(age, &a, &b));
        assert_eq!(is_turn(), [true, true, false]);
        let mut earlier = turns.fall_behind(oldest);
        assert_eq!(is_turn(), [true, true, false], "it does not serve the pair");
        earlier.serves(&a, &b);
        assert_eq!(is_turn(), [true, false, false]);
        drop(earlier);
        assert_eq!(is_turn(), [true, true, false]);
        drop(later);
        assert_eq!(is_turn(), [true, true, true]);
    }

    #[test]
    fn two_that_serve_both_pairs_do_not_wait_for_each_other() {
        let turns = Arc::new(Turns::default());
        let (a, b) = (domain("a.lit"), domain("b.lit"));
        let (old, young) = (turns.next(), turns.next());
        let mut first = turns.fall_behind(young);
        let mut second = turns.fall_behind(old);
        for (from, to) in [(&a, &b), (&b, &a)] {
            first.serves(from, to);
            second.serves(from, to);
        }
        assert!(turns.is_turn_of(old, &a, &b) && turns.is_turn_of(old, &b, &a));
        assert!(!turns.is_turn_of(young, &a, &b) && !turns.is_turn_of(young, &b, &a));
    }

    #[test]
    fn a_reader_of_many_pairs_is_watched_for_some_and_leaves_nothing() {
        let turns = Arc::new(Turns::default());
        let to = domain("b.lit");
        let mut place = turns.fall_behind(turns.next());
        for n in 0..PAIRS_MAX + 10 {
            place.serves(&domain(&format!("d{n}.lit")), &to);
        }
        assert_eq!(turns.lines().len(), PAIRS_MAX);
        drop(place);
        assert!(turns.lines().is_empty());
        assert_eq!(turns.behind.load(Ordering::Acquire), 0);
    }
}
