//! Connections on which keys are checked: how many at once, and whom to leave alone for a while.
//!
//! Anybody who connects can name any domain and have us look it up and dial it. So no domain and no neighbourhood
//! ([`Shares`]) is asked by many at once, what fails keeps its place for a moment longer, and a domain that could not be
//! asked is not asked again right away: whoever else names it gets the same answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::AttemptKey;
use super::attempt::Failure;
use crate::addr::{Domain, Shares};

/// Verifications that wait for a place and those that have one, by domain.
#[derive(Debug, Default)]
pub(super) struct Legs {
    /// In the order in which they came.
    waiting: VecDeque<(AttemptKey, Domain)>,
    /// Places that are taken.
    domains: BTreeMap<Domain, usize>,
    shares: Shares,
    taken: usize,
    /// Places and those who wait for one.
    wanted: Shares,
    /// Places that become free at a time, after a failure.
    cooling: BTreeSet<(Instant, AttemptKey, Domain)>,
    unreachable: BTreeMap<Domain, (Instant, Failure)>,
}

impl Legs {
    /// Whether there is room for one more, under way or waiting, when there may be `most` in all: for one site a quarter
    /// of them at most, and no more than all sites leave free.
    pub(super) fn has_room(&self, remote: &Domain, most: usize) -> bool {
        let free = most.saturating_sub(self.taken + self.waiting.len());
        let of_site = (most / SHARES_OF_ONE_SITE).max(1);
        self.wanted.of_site(remote) < free && self.wanted.has_room(remote, of_site)
    }

    pub(super) fn push(&mut self, remote: &Domain, key: AttemptKey) {
        self.wanted.take(remote);
        self.waiting.push_back((key, remote.clone()));
    }

    /// The next one to begin, which takes its place.
    pub(super) fn next(&mut self, per_site: usize, now: Instant) -> Option<AttemptKey> {
        self.cool_down(now);
        let count = |held: Option<&usize>| held.copied().unwrap_or_default();
        let position = self.waiting.iter().position(|(_, domain)| {
            count(self.domains.get(domain)) < PER_DOMAIN && self.shares.has_room(domain, per_site)
        })?;
        let (key, domain) = self.waiting.remove(position)?;
        self.shares.take(&domain);
        *self.domains.entry(domain).or_default() += 1;
        self.taken += 1;
        Some(key)
    }

    /// Whether no more of the domain's site may begin now.
    pub(super) fn is_full(&self, remote: &Domain, per_site: usize) -> bool {
        !self.shares.has_room(remote, per_site)
    }

    /// One that waited is not needed any more.
    pub(super) fn forget(&mut self, key: AttemptKey) {
        let left = |(other, _): &(AttemptKey, Domain)| *other == key;
        if let Some(position) = self.waiting.iter().position(left)
            && let Some((_, domain)) = self.waiting.remove(position)
        {
            self.wanted.give_back(&domain);
        }
    }

    /// One got its answer.
    pub(super) fn end(&mut self, remote: &Domain) {
        self.taken = self.taken.saturating_sub(1);
        self.shares.give_back(remote);
        self.wanted.give_back(remote);
        if let Some(count) = self.domains.get_mut(remote) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.domains.remove(remote);
            }
        }
    }

    /// One ended without an answer: its place stays taken for a moment, so that what fails quickly is not done often.
    pub(super) fn fail(&mut self, remote: &Domain, key: AttemptKey, now: Instant) {
        self.cooling.insert((now + COOLING, key, remote.clone()));
    }

    /// When a place becomes free that somebody waits for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (at, _, _) = self.cooling.first().filter(|_| !self.waiting.is_empty())?;
        Some(*at)
    }

    /// The domain could not be asked; says who waits for the same.
    pub(super) fn note_unreachable(
        &mut self,
        remote: &Domain,
        failure: &Failure,
        until: Instant,
        now: Instant,
    ) -> Vec<AttemptKey> {
        self.unreachable.retain(|_, (at, _)| *at > now);
        if self.unreachable.len() < UNREACHABLE_MAX {
            self.unreachable
                .insert(remote.clone(), (until, failure.clone()));
        }
        let (same, others) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(_, domain)| domain == remote);
        self.waiting = others;
        let same: VecDeque<(AttemptKey, Domain)> = same;
        for (_, domain) in &same {
            self.wanted.give_back(domain);
        }
        same.into_iter().map(|(key, _)| key).collect()
    }

    /// Why the domain could not be asked a moment ago.
    pub(super) fn unreachable(&self, remote: &Domain, now: Instant) -> Option<&Failure> {
        let (until, failure) = self.unreachable.get(remote)?;
        (*until > now).then_some(failure)
    }

    /// The domain lives.
    pub(super) fn note_reached(&mut self, remote: &Domain) {
        self.unreachable.remove(remote);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn cool_down(&mut self, now: Instant) {
        while self.cooling.first().is_some_and(|(at, _, _)| *at <= now) {
            if let Some((_, _, remote)) = self.cooling.pop_first() {
                self.end(&remote);
            }
        }
    }
}

/// Keys of one domain that are checked at once. A server that lives answers one in a moment.
const PER_DOMAIN: usize = 4;
/// One site has one share of all places, at most.
const SHARES_OF_ONE_SITE: usize = 4;
/// How long a failure keeps its place.
const COOLING: Duration = Duration::from_secs(1);
/// Domains that are remembered as unreachable.
const UNREACHABLE_MAX: usize = 4096;
