//! Whose attempt is next: domains that belong together share a turn, so that nobody waits behind all names of one site.
//!
//! A peer can have as many names as it likes below a domain of its own, and each can be made to be dialled. Which names
//! belong together is not known; that they end in the same two labels is close enough for a bound.

use std::collections::{BTreeMap, VecDeque};

use super::AttemptKey;
use crate::addr::Domain;

/// Attempts that wait for their turn, and how many are under way for each site.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: BTreeMap<String, VecDeque<AttemptKey>>,
    /// The sites that have attempts waiting, the next one in front.
    order: VecDeque<String>,
    running: BTreeMap<String, usize>,
}

impl Turns {
    pub(super) fn push(&mut self, remote: &Domain, key: AttemptKey) {
        let site = remote.site().to_owned();
        let queue = self.waiting.entry(site.clone()).or_default();
        if queue.is_empty() {
            self.order.push_back(site);
        }
        queue.push_back(key);
    }

    /// The next attempt to start, of a site that has fewer than `per_site` under way.
    pub(super) fn next(&mut self, per_site: usize) -> Option<AttemptKey> {
        for _ in 0..self.order.len() {
            let site = self.order.pop_front()?;
            let running = self.running.get(&site).copied().unwrap_or_default();
            if running >= per_site {
                self.order.push_back(site);
                continue;
            }
            let Some(queue) = self.waiting.get_mut(&site) else {
                continue;
            };
            let key = queue.pop_front();
            if queue.is_empty() {
                self.waiting.remove(&site);
            } else {
                self.order.push_back(site.clone());
            }
            if key.is_some() {
                return key;
            }
        }
        None
    }

    /// One has begun.
    pub(super) fn begin(&mut self, remote: &Domain) {
        *self.running.entry(remote.site().to_owned()).or_default() += 1;
    }

    /// One that had begun is over.
    pub(super) fn end(&mut self, remote: &Domain) {
        let site = remote.site().to_owned();
        if let Some(running) = self.running.get_mut(&site) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.running.remove(&site);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn sites_take_turns_and_none_has_more_than_its_share() {
        let mut turns = Turns::default();
        for n in 0..10 {
            turns.push(&domain(&format!("p{n}.evil.example")), AttemptKey(n));
        }
        turns.push(&domain("capulet.lit"), AttemptKey(100));
        let mut started = Vec::new();
        while let Some(key) = turns.next(3) {
            let remote = match key.0 {
                100 => domain("capulet.lit"),
                n => domain(&format!("p{n}.evil.example")),
            };
            turns.begin(&remote);
            started.push(key.0);
        }
        assert_eq!(started, [0, 100, 1, 2]);
        turns.end(&domain("p1.evil.example"));
        assert_eq!(turns.next(3), Some(AttemptKey(3)));
    }

    #[test]
    fn a_site_is_the_last_two_labels() {
        for (name, expected) in [
            ("capulet.lit", "capulet.lit"),
            ("a.b.capulet.lit", "capulet.lit"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(domain(name).site(), expected);
        }
    }
}
