//! When a domain that could not be reached may be tried again (STREAM-56).
//!
//! Full jitter over a doubling span, so that a restarted peer is not met by everybody at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::addr::{Domain, DomainPair, RemoteDomain};
use crate::limits::Limit;
use crate::stanza::Reason;

/// Failures; what was reached is forgotten.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: BTreeMap<Scope, Failed>,
}

/// Whom a failure is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Nobody of ours reaches the domain.
    Remote(RemoteDomain),
    /// One of our domains was refused there: the others have done nothing wrong.
    Pair(DomainPair),
}

impl Scope {
    pub(super) fn of(pair: &DomainPair, is_remote_wide: bool) -> Self {
        match is_remote_wide {
            true => Self::Remote(pair.remote().clone()),
            false => Self::Pair(pair.clone()),
        }
    }

    fn both(pair: &DomainPair) -> [Self; 2] {
        [true, false].map(|is_remote_wide| Self::of(pair, is_remote_wide))
    }
}

#[derive(Clone, Debug)]
struct Failed {
    count: u32,
    until: Instant,
    reason: String,
    /// Stanzas do not wait for the end of it, but come back at once.
    refuses: Option<Reason>,
}

/// For how long somebody is left alone because of what a peer said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) until: Instant,
    /// Why what is sent meanwhile comes back at once, if it does.
    pub(super) refuses: Option<Reason>,
}

impl Backoff {
    /// Notes a failure and says how long to wait, and which bound it met, if any. `random` gives a number below its
    /// argument.
    pub(super) fn failed(
        &mut self,
        scope: Scope,
        reason: &str,
        span: Span,
        random: &mut dyn FnMut(u64) -> u64,
        now: Instant,
    ) -> (Duration, Option<Limit>) {
        self.forget_old(now, span);
        let count = self
            .failures
            .get(&scope)
            .map_or(0, |failed| failed.count)
            .saturating_add(1);
        //= STREAM-56
        let doubled = span
            .min
            .saturating_mul(1_u32.checked_shl(count.min(16)).unwrap_or(u32::MAX))
            .min(span.max);
        let millis = u64::try_from(doubled.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let chosen = Duration::from_millis(random(millis));
        let wait = chosen.max(span.min / 2);
        let bound = if doubled >= span.max {
            Some(Limit::RetrySecondsMax)
        } else {
            (chosen < wait).then_some(Limit::RetrySecondsMin)
        };
        self.failures.insert(
            scope,
            Failed {
                count,
                until: now + wait,
                reason: reason.to_owned(),
                refuses: None,
            },
        );
        (wait, bound)
    }

    /// Notes that a peer said how it is to be left alone.
    pub(super) fn rest(&mut self, scope: Scope, rest: Rest, reason: &str, now: Instant) {
        self.forget_old(
            now,
            Span {
                min: Duration::ZERO,
                max: OVER,
            },
        );
        let count = self.failures.get(&scope).map_or(0, |failed| failed.count);
        let Rest { until, refuses } = rest;
        let reason = reason.to_owned();
        let failed = Failed {
            count,
            until,
            reason,
            refuses,
        };
        self.failures.insert(scope, failed);
    }

    /// The pair's domain was reached, or reached us.
    pub(super) fn succeeded(&mut self, pair: &DomainPair) {
        for scope in Scope::both(pair) {
            self.failures.remove(&scope);
        }
    }

    /// Forgets the failures of domains of which `is_changed` says so: what made them fail may be mended.
    pub(super) fn forget(&mut self, is_changed: impl Fn(&Domain) -> bool) {
        self.failures.retain(|scope, _| match scope {
            Scope::Remote(remote) => !is_changed(remote.domain()),
            Scope::Pair(pair) => !is_changed(pair.remote().domain()),
        });
    }

    /// Until when the pair's domain is to be left alone.
    pub(super) fn until(&self, pair: &DomainPair, now: Instant) -> Option<Instant> {
        self.failed_for(pair)
            .map(|failed| failed.until)
            .filter(|until| *until > now)
            .max()
    }

    /// Why a stanza for the pair's domain comes back at once, with the peer's words.
    pub(super) fn refuses(&self, pair: &DomainPair, now: Instant) -> Option<(Reason, &str)> {
        self.failed_for(pair)
            .filter(|failed| failed.until > now)
            .find_map(|failed| Some((failed.refuses?, failed.reason.as_str())))
    }

    /// Why the pair's domain could not be reached the last time.
    pub(super) fn reason(&self, pair: &DomainPair) -> Option<&str> {
        self.failed_for(pair)
            .max_by_key(|failed| failed.until)
            .map(|failed| failed.reason.as_str())
    }

    fn failed_for(&self, pair: &DomainPair) -> impl Iterator<Item = &Failed> {
        Scope::both(pair)
            .into_iter()
            .filter_map(|scope| self.failures.get(&scope))
    }

    /// What is long over says nothing about the next failure, and must not be kept for ever.
    fn forget_old(&mut self, now: Instant, span: Span) {
        if self.failures.len() > KEPT {
            self.failures
                .retain(|_, failed| failed.until + span.max > now);
        }
        while self.failures.len() > KEPT * 2 {
            self.failures.pop_first();
        }
    }
}

/// The shortest and the longest wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// After so long what a peer said is long over.
const OVER: Duration = Duration::from_secs(600);
/// Failures that are remembered before old ones are looked for.
const KEPT: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::disallowed_methods,
        reason = "a test may panic and read the clock"
    )]
    use super::*;
    use crate::addr::{Direction, Domain, Hosts};

    fn pair() -> DomainPair {
        let hosts = Hosts::new([Domain::parse("montague.lit").unwrap()]);
        hosts
            .pair(
                Direction::Outbound,
                &Domain::parse("montague.lit").unwrap(),
                &Domain::parse("capulet.lit").unwrap(),
            )
            .unwrap()
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_end_with_success() {
        //= STREAM-56
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let span = Span {
            min: Duration::from_secs(1),
            max: Duration::from_secs(300),
        };
        let mut longest = |below: u64| below - 1;
        let (waits, bounds): (Vec<u64>, Vec<Option<Limit>>) = (0..12)
            .map(|_| {
                let scope = Scope::of(&pair(), true);
                let (wait, bound) = backoff.failed(scope, "refused", span, &mut longest, now);
                (wait.as_secs(), bound)
            })
            .unzip();
        assert_eq!(waits, [1, 3, 7, 15, 31, 63, 127, 255, 299, 299, 299, 299]);
        assert_eq!(bounds[..8], [None; 8]);
        assert_eq!(bounds[8..], [Some(Limit::RetrySecondsMax); 4]);
        assert!(backoff.until(&pair(), now).is_some());
        assert!(
            backoff
                .until(&pair(), now + Duration::from_secs(300))
                .is_none()
        );
        backoff.succeeded(&pair());
        assert!(backoff.until(&pair(), now).is_none());
        let mut shortest = |_: u64| 0;
        let wait = backoff.failed(
            Scope::of(&pair(), true),
            "refused",
            span,
            &mut shortest,
            now,
        );
        let bound = Some(Limit::RetrySecondsMin);
        assert_eq!(wait, (Duration::from_millis(500), bound));
    }
}
