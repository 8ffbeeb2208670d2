//! The configuration changes while pairs are served.
//!
//! What is carried is the streams' to look at: they end, or take their domains away. Here stands what no stream has: queues
//! that wait. Those that may not be any more are given back, those whose peer is to be reached otherwise look again.

use std::sync::Arc;
use std::time::Instant;

use super::{Federation, Route, StreamKey};
use crate::addr::{Domain, DomainPair, Hosts};
use crate::carriage::Left;
use crate::outbox::Drain;
use crate::policy::{DomainPattern, Federate, Policy};
use crate::stanza::{Reason, Undelivered};

/// What is other than before.
#[derive(Clone, Debug)]
pub struct Reload {
    /// Our domains.
    pub hosts: Arc<Hosts>,
    /// What suffices for whom.
    pub policy: Arc<Policy>,
    /// The peers that are to be found elsewhere than before: what is known of failures to reach them is void.
    pub moved: Vec<DomainPattern>,
}

impl Federation {
    pub(super) fn on_reload(&mut self, reload: Reload, now: Instant) {
        let Reload {
            hosts,
            policy,
            moved,
        } = reload;
        let before = std::mem::replace(&mut self.policy, policy);
        self.limits = self.policy.defaults.limits.clone();
        self.hosts = Some(hosts);
        let policy = Arc::clone(&self.policy);
        let is_changed = |remote: &Domain| {
            policy.for_peer(remote) != before.for_peer(remote)
                || moved.iter().any(|pattern| pattern.matches(remote))
        };
        self.backoff.forget(is_changed);
        let pairs: Vec<DomainPair> = self.routes.keys().cloned().collect();
        for pair in pairs {
            let remote = pair.remote().domain();
            //= BIDI-71
            //= BIDI-79
            if self.is_over(&pair) || policy.for_peer(remote).federate == Federate::Deny {
                self.give_up_waiting(&pair, now);
            } else if is_changed(remote) {
                self.look_again(&pair, now);
            }
        }
        // There may be more places than before.
        self.start_waiting(now);
    }

    /// A stream that lives on may not send for a pair any more.
    pub(super) fn on_declined(&mut self, stream: StreamKey, left: Left, now: Instant) {
        let carried_here =
            |route: &Route| matches!(route, Route::Carried { stream: other } if *other == stream);
        if self.routes.get(&left.pair).is_some_and(carried_here) {
            self.routes.remove(&left.pair);
        }
        self.take_back(left, now);
    }

    /// Whether the pair is none any more: our domain of it departed, or the other one is ours from now on.
    pub(super) fn is_over(&self, pair: &DomainPair) -> bool {
        self.hosts.as_ref().is_some_and(|hosts| {
            hosts.local(pair.local().domain()).is_none()
                || hosts.local(pair.remote().domain()).is_some()
        })
    }

    /// The queue of a pair that is none any more: a stream that still carries answers takes it, or nobody does.
    pub(super) fn serve_departed(&mut self, pair: DomainPair, drain: Drain) {
        //= BIDI-79
        if let Some(stream) = self.streams.answering(&pair) {
            return self.carry(pair, drain, stream);
        }
        let is_ours = |domain: &Domain| {
            self.hosts
                .as_ref()
                .is_some_and(|hosts| hosts.local(domain).is_some())
        };
        let why = match is_ours(pair.local().domain()) {
            false => Undelivered::new(Reason::DomainRemoved, pair.local(), ""),
            // Both are ours from now on: what is sent again arrives.
            true => Undelivered::new(Reason::NoRoute, pair.remote(), ""),
        };
        self.give_back(pair, drain, why);
    }

    /// A queue that no stream has, of a pair that may not be: it goes back, and nobody looks for a way any more.
    fn give_up_waiting(&mut self, pair: &DomainPair, now: Instant) {
        let attempt = match self.routes.get(pair) {
            Some(Route::Seeking { attempt, .. }) => Some(*attempt),
            Some(
                Route::Requested { .. }
                | Route::Expected { .. }
                | Route::Carried { .. }
                | Route::Suspended
                | Route::Resting { .. },
            )
            | None => None,
        };
        let waits = |route: &Route| !matches!(route, Route::Carried { .. } | Route::Suspended);
        if let Some(drain) = self.reclaim(pair, waits) {
            self.serve(pair.clone(), drain, now);
        }
        if let Some(attempt) = attempt {
            self.abandon(attempt, now);
        }
    }

    /// What made the last attempt fail may be mended: a queue that rests need not wait any longer.
    fn look_again(&mut self, pair: &DomainPair, now: Instant) {
        self.legs.note_reached(pair.remote().domain());
        let rests = |route: &Route| matches!(route, Route::Resting { .. });
        if let Some(drain) = self.reclaim(pair, rests) {
            self.serve(pair.clone(), drain, now);
        }
    }
}
