//! Whose attempt is next: domains that belong together share a turn, so that nobody waits behind all names of one site.
//!
//! A peer can have as many names as it likes below a domain of its own, and each can be made to be dialled. Which names
//! belong together is not known; that they end in the same two labels is close enough for a bound, and within that those
//! with the same three take turns, so that the neighbours under a registry (`co.uk`) do not wait behind one of them.

use std::collections::{BTreeMap, VecDeque};

use super::AttemptKey;
use crate::addr::{Domain, Shares};

/// Attempts that wait for their turn, and how many are under way.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: BTreeMap<String, Site>,
    /// The sites that have attempts waiting, the next one in front.
    order: VecDeque<String>,
    running: Shares,
}

/// What waits below one site, by the last three labels.
#[derive(Debug, Default)]
struct Site {
    waiting: BTreeMap<String, VecDeque<(AttemptKey, Domain)>>,
    /// As that of the sites.
    order: VecDeque<String>,
}

impl Turns {
    pub(super) fn push(&mut self, remote: &Domain, key: AttemptKey) {
        let name = remote.site();
        if !self.waiting.contains_key(name) {
            self.order.push_back(name.to_owned());
        }
        let site = self.waiting.entry(name.to_owned()).or_default();
        site.push(remote, key);
    }

    /// The next attempt to start, of a site that has fewer than `per_site` under way.
    pub(super) fn next(&mut self, per_site: usize) -> Option<AttemptKey> {
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            let Some(site) = self.waiting.get_mut(&name) else {
                continue;
            };
            let key = site.next(per_site, &self.running);
            if site.order.is_empty() {
                self.waiting.remove(&name);
            } else {
                self.order.push_back(name);
            }
            if key.is_some() {
                return key;
            }
        }
        None
    }

    /// Whether no more of the domain's site may begin now.
    pub(super) fn is_full(&self, remote: &Domain, per_site: usize) -> bool {
        !self.running.has_room(remote, per_site)
    }

    /// One has begun.
    pub(super) fn begin(&mut self, remote: &Domain) {
        self.running.take(remote);
    }

    /// One that had begun is over.
    pub(super) fn end(&mut self, remote: &Domain) {
        self.running.give_back(remote);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Site {
    fn push(&mut self, remote: &Domain, key: AttemptKey) {
        let name = remote.ending(3);
        if !self.waiting.contains_key(name) {
            self.order.push_back(name.to_owned());
        }
        let queue = self.waiting.entry(name.to_owned()).or_default();
        queue.push_back((key, remote.clone()));
    }

    fn next(&mut self, per_site: usize, running: &Shares) -> Option<AttemptKey> {
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            let Some(queue) = self.waiting.get_mut(&name) else {
                continue;
            };
            let front = queue.front().map(|(_, remote)| remote);
            if front.is_some_and(|remote| running.of_site(remote) >= per_site) {
                // All of them wait, and nobody loses his turn.
                self.order.push_front(name);
                return None;
            }
            // Whoever is passed over has some under way, so these are few.
            let next = match front.is_some_and(|remote| running.has_room(remote, per_site)) {
                true => queue.pop_front(),
                false => None,
            };
            if queue.is_empty() {
                self.waiting.remove(&name);
            } else {
                self.order.push_back(name);
            }
            if let Some((key, _)) = next {
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may panic"
    )]
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

    /// Starts what may be started; tells how many.
    fn start(turns: &mut Turns, per_site: usize, names: &[Domain]) -> Vec<u64> {
        let mut started = Vec::new();
        while let Some(key) = turns.next(per_site) {
            turns.begin(&names[usize::try_from(key.0).unwrap()]);
            started.push(key.0);
        }
        started
    }

    #[test]
    fn the_neighbours_under_a_registry_do_not_wait_behind_one_of_them() {
        let mut names: Vec<Domain> = (0..100)
            .map(|n| domain(&format!("x{n}.mallory.co.uk")))
            .collect();
        names.push(domain("bank.co.uk"));
        names.push(domain("xmpp.shop.co.uk"));
        let mut turns = Turns::default();
        let push = |turns: &mut Turns, numbers: std::ops::Range<usize>| {
            for n in numbers {
                turns.push(&names[n], AttemptKey(n as u64));
            }
        };
        push(&mut turns, 0..100);
        assert_eq!(start(&mut turns, 24, &names), (0..12).collect::<Vec<_>>());
        push(&mut turns, 100..102);
        assert_eq!(start(&mut turns, 24, &names), [100, 101]);
        // Whose turn it is does not depend on who has more waiting.
        let mut turns = Turns::default();
        push(&mut turns, 0..102);
        assert_eq!(start(&mut turns, 24, &names)[..4], [0, 100, 101, 1]);
    }

    #[test]
    fn nothing_is_kept_of_what_is_over() {
        let names: Vec<Domain> = (0..9)
            .map(|n| domain(&format!("x{n}.n{}.example", n % 3)))
            .collect();
        let mut turns = Turns::default();
        for (n, name) in names.iter().enumerate() {
            turns.push(name, AttemptKey(n as u64));
        }
        let started = start(&mut turns, 9, &names);
        assert_eq!(started.len(), 9, "{started:?}");
        assert!(turns.waiting.is_empty() && turns.order.is_empty());
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
