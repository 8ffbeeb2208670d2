//! A queue looks for a way: a stream that may carry it, one that may be asked, one that is about to come, or an attempt.
//!
//! Every queue is in exactly one route, or given back: that is why nothing is lost here.

use std::time::{Duration, Instant};

use super::attempt::{Aim, Attempt};
use super::streams::Outlook;
use super::{Command, Federation, Phase, Report, Route, StreamKey, reuse};
use crate::addr::{Domain, DomainPair};
use crate::learned::{Outcome, Topic};
use crate::limits::seconds;
use crate::outbox::Drain;
use crate::policy::{BidiPolicy, Federate, PeerPolicy, UseLearned};
use crate::stanza::{Reason, Undelivered};
use crate::stream::Pace;

impl Federation {
    /// Finds a way for a queue: a stream that may carry it, one that may be asked, or an attempt.
    pub(super) fn serve(&mut self, pair: DomainPair, drain: Drain, now: Instant) {
        if self.is_over(&pair) {
            return self.serve_departed(pair, drain);
        }
        let policy = self.policy.for_peer(pair.remote().domain());
        if self.phase == Phase::ShuttingDown {
            let why = Undelivered::new(Reason::ShuttingDown, pair.remote(), "");
            return self.give_back(pair, drain, why);
        }
        //= ROUTE-26
        if policy.federate == Federate::Deny {
            let why = Undelivered::new(Reason::Forbidden, pair.remote(), "");
            return self.give_back(pair, drain, why);
        }
        //= BIDI-55
        //= BIDI-61
        if let Some(stream) = self.streams.able(&pair) {
            return self.carry(pair, drain, stream);
        }
        let known = |topic| self.known(&policy, pair.remote().domain(), topic, now);
        let (bidi, requests) = (known(Topic::Bidi), known(Topic::Requests));
        let (streams, reached) = (&self.streams, &self.reached);
        if let Some(stream) = reuse::stream_for(&pair, streams, &policy, requests, reached) {
            self.commands.push_back(Command::Request {
                stream,
                pair: pair.clone(),
            });
            self.streams.note_request(stream, &pair);
            //= DB-05
            return self.wait(pair, Route::Requested { drain, stream }, now);
        }
        //= BIDI-56
        if let Some((stream, until)) = self.expected(&pair, &drain, bidi, &policy, now) {
            self.streams.note_expected(stream, &pair);
            return self.wait(
                pair,
                Route::Expected {
                    drain,
                    stream,
                    until,
                },
                now,
            );
        }
        // A search that is to take up a lost stream will do.
        if let Some(attempt) = self.lost.attempt(&pair) {
            return self.wait(pair, Route::Seeking { drain, attempt }, now);
        }
        //= ERR-08
        if let Some((reason, text)) = self.backoff.refuses(&pair, now) {
            let why = Undelivered::new(reason, pair.remote(), text);
            return self.give_back(pair, drain, why);
        }
        match self.backoff.until(&pair, now) {
            Some(until) => self.wait(pair, Route::Resting { drain, until }, now),
            None => {
                let attempt = self.carrying_attempt(&pair, now);
                let attempt = self.attempt(attempt, now);
                self.commands
                    .push_back(Command::Report(Report::Seeking { pair: pair.clone() }));
                self.wait(pair, Route::Seeking { drain, attempt }, now);
            }
        }
    }

    /// An attempt to find a stream for a pair, as experience says that its peer takes it.
    pub(super) fn carrying_attempt(&self, pair: &DomainPair, now: Instant) -> Attempt {
        let remote = pair.remote().domain();
        let policy = self.policy.for_peer(remote);
        let known = |topic| (topic, self.known(&policy, remote, topic, now));
        let hangs_up = |(_, outcome)| outcome == Some(Outcome::HangsUp);
        let works = |(_, outcome)| outcome == Some(Outcome::Works);
        let lessons = [known(Topic::Bidi), known(Topic::External)];
        let [bidi, external] = lessons;
        let of = |chosen: &dyn Fn((Topic, Option<Outcome>)) -> bool| -> Vec<Topic> {
            let chosen = lessons.into_iter().filter(|lesson| chosen(*lesson));
            chosen.map(|(topic, _)| topic).collect()
        };
        let (left_out, worked) = (of(&hangs_up), of(&works));
        let aim = Aim::Carry {
            //= SASL-20
            external: !hangs_up(external),
            //= BIDI-69
            bidi: !hangs_up(bidi),
            //= STREAM-60
            // It took all of it before.
            pace: match works(known(Topic::Pipelining))
                && works(external)
                && (works(bidi) || policy.bidi == BidiPolicy::Off)
            {
                true => Pace::Ahead,
                false => Pace::Stepwise,
            },
        };
        Attempt::new(pair.clone(), aim).knowing(left_out, worked)
    }

    /// What experience says of a peer, where the operator lets it count.
    pub(super) fn known(
        &self,
        policy: &PeerPolicy,
        remote: &Domain,
        topic: Topic,
        now: Instant,
    ) -> Option<Outcome> {
        match policy.learned {
            UseLearned::Use => self.learned.outcome(remote, topic, now),
            UseLearned::Ignore => None,
        }
    }

    /// The stream that the peer is opening and that is worth a moment's wait (BIDI-56). A queue waits once: not for
    /// one such stream after the other.
    pub(super) fn expected(
        &self,
        pair: &DomainPair,
        drain: &Drain,
        bidi: Option<Outcome>,
        policy: &PeerPolicy,
        now: Instant,
    ) -> Option<(StreamKey, Instant)> {
        let wait = seconds(policy.limits.crossing_seconds);
        // Counted from the stanza, so that no chain of streams holds it up.
        let until = drain.oldest().unwrap_or(now) + wait;
        if until <= now || policy.bidi == BidiPolicy::Off {
            return None;
        }
        let outlook = match bidi {
            Some(Outcome::Works) => Outlook::Likely,
            Some(Outcome::Refused | Outcome::HangsUp) | None => Outlook::Open,
        };
        self.streams
            .expected(pair, outlook, wait, now)
            .map(|(stream, limit)| (stream, limit.min(until)))
    }

    pub(super) fn carry(&mut self, pair: DomainPair, drain: Drain, stream: StreamKey) {
        //= ROUTE-10
        self.routes.insert(pair.clone(), Route::Carried { stream });
        self.commands.push_back(Command::Report(Report::Carried {
            pair: pair.clone(),
            stream,
        }));
        self.commands.push_back(Command::Carry {
            stream,
            pair,
            drain,
        });
    }

    pub(super) fn wait(&mut self, pair: DomainPair, mut route: Route, now: Instant) {
        let age = seconds(self.limits.outbox_age_seconds);
        let oldest = route
            .drain_mut()
            .and_then(|drain| drain.oldest())
            .unwrap_or(now);
        if let Route::Resting { .. } = &route {
            let remote = pair.remote().clone();
            self.resting.entry(remote).or_default().insert(pair.clone());
        }
        let at = match &route {
            Route::Resting { until, .. } | Route::Expected { until, .. } => {
                (*until).min(oldest + age)
            }
            Route::Seeking { .. }
            | Route::Requested { .. }
            | Route::Carried { .. }
            | Route::Suspended => oldest + age,
        };
        self.deadlines
            .insert((at.max(now + Duration::from_millis(1)), pair.clone()));
        self.routes.insert(pair, route);
    }

    pub(super) fn give_back(&mut self, pair: DomainPair, drain: Drain, why: Undelivered) {
        self.commands
            .push_back(Command::Return { pair, drain, why });
    }

    /// Takes a pair's queue back if it waits for `why`.
    pub(super) fn reclaim(
        &mut self,
        pair: &DomainPair,
        why: impl FnOnce(&Route) -> bool,
    ) -> Option<Drain> {
        if !self.routes.get(pair).is_some_and(why) {
            return None;
        }
        self.take_route(pair).and_then(Route::into_drain)
    }

    /// Takes a pair's route away, and its name from the list of those that rest: a domain that is never reached again
    /// must not stay there for ever.
    pub(super) fn take_route(&mut self, pair: &DomainPair) -> Option<Route> {
        let route = self.routes.remove(pair)?;
        if let Route::Resting { .. } = &route
            && let Some(pairs) = self.resting.get_mut(pair.remote())
        {
            pairs.remove(pair);
            if pairs.is_empty() {
                self.resting.remove(pair.remote());
            }
        }
        Some(route)
    }
}
