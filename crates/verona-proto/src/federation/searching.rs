//! Attempts: begun within bounds, moved on by what discovery, dialling and negotiation bring, and given up.
//!
//! An attempt that nobody waits for any more leaves its place to the next.

use std::time::Instant;

use super::attempt::{self, Aim, Attempt};
use super::backoff::{Scope, Span};
use super::{
    AttemptKey, Command, Federation, Phase, Reached, Report, Route, Unreached, experience,
};
use crate::dialback::Verdict;
use crate::discovery::{DiscoveryError, Target};
use crate::grounds::Assurance;
use crate::learned::Outcome;
use crate::limits::{Limit, seconds, size};
use crate::outbox::Drain;
use crate::policy::DirectTls;
use crate::stanza::Undelivered;

impl Federation {
    pub(super) fn attempt(&mut self, attempt: Attempt, now: Instant) -> AttemptKey {
        let key = self.add_attempt(attempt, now);
        self.start_waiting(now);
        self.note_waiting(key);
        key
    }

    /// Counts why one has to wait for its turn, if it has.
    pub(super) fn note_waiting(&self, key: AttemptKey) {
        let Some(attempt) = self.attempts.get(&key).filter(|one| !one.has_started()) else {
            return;
        };
        let remote = attempt.pair.remote().domain();
        let per_site = size(self.limits.attempts_per_site_max);
        let is_site_full = match &attempt.aim {
            Aim::Carry { .. } => self.turns.is_full(remote, per_site),
            Aim::Verify(..) => self.legs.is_full(remote, per_site),
        };
        let are_all_taken = self.carrying >= size(self.limits.attempts_concurrent_max);
        match &attempt.aim {
            Aim::Carry { .. } if are_all_taken => {
                self.reached.reached(Limit::AttemptsConcurrentMax);
            }
            Aim::Carry { .. } | Aim::Verify(..) if is_site_full => {
                self.reached.reached(Limit::AttemptsPerSiteMax);
            }
            // Behind others of its own domain.
            Aim::Carry { .. } | Aim::Verify(..) => {}
        }
    }

    /// One more, which waits for its turn.
    pub(super) fn add_attempt(&mut self, attempt: Attempt, now: Instant) -> AttemptKey {
        self.last_attempt += 1;
        let key = AttemptKey(self.last_attempt);
        let remote = attempt.pair.remote().domain().clone();
        let verifies = matches!(attempt.aim, Aim::Verify(..));
        self.attempts.insert(key, attempt);
        if verifies {
            //= LIM-14
            let time = self.policy.for_peer(&remote).limits.verification_seconds;
            self.legs.push(&remote, key);
            self.limit_attempt(key, now + seconds(time));
        } else {
            self.turns.push(&remote, key);
        }
        key
    }

    /// Starts what waits, as far as the limits allow.
    pub(super) fn start_waiting(&mut self, now: Instant) {
        let per_site = size(self.limits.attempts_per_site_max);
        while let Some(key) = self.legs.next(per_site, now) {
            self.start(key);
        }
        while self.carrying < size(self.limits.attempts_concurrent_max) {
            let Some(key) = self.turns.next(per_site) else {
                return;
            };
            // One that was dropped while it waited is passed over.
            if let Some(attempt) = self.attempts.get(&key) {
                self.turns.begin(attempt.pair.remote().domain());
                self.carrying += 1;
                //= LIM-14
                // Its time counts from here, for it is not to blame for having waited.
                self.limit_attempt(key, now + seconds(self.limits.attempt_seconds));
                self.start(key);
            }
        }
    }

    /// Begins one.
    fn start(&mut self, key: AttemptKey) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        attempt.state = attempt::State::Discovering;
        let remote = attempt.pair.remote().domain().clone();
        let policy = self.policy.for_peer(&remote);
        self.commands.push_back(Command::Discover {
            attempt: key,
            remote,
            direct_tls: policy.direct_tls == DirectTls::Auto,
        });
    }

    /// Sets the time of an attempt.
    fn limit_attempt(&mut self, key: AttemptKey, until: Instant) {
        if let Some(attempt) = self.attempts.get_mut(&key) {
            attempt.until = Some(until);
            self.attempt_deadlines.insert((until, key));
        }
    }

    pub(super) fn on_discovered(
        &mut self,
        key: AttemptKey,
        result: Result<Vec<Target>, DiscoveryError>,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        if !attempt.is_looking() {
            return;
        }
        let targets = attempt.on_discovered(result);
        self.proceed(key, targets, now);
    }

    pub(super) fn on_connected(
        &mut self,
        key: AttemptKey,
        result: Result<Reached, Vec<Unreached>>,
        now: Instant,
    ) {
        match result {
            Ok(reached) => self.on_reached(key, reached, now),
            Err(failed) => {
                self.report_unreached(key, &failed);
                let Some(attempt) = self.attempts.get_mut(&key) else {
                    return;
                };
                if attempt.is_dialling() {
                    // Whoever dials keeps to the time of the attempt as well, and may be the first to tell.
                    if attempt.until.is_some_and(|at| at <= now) {
                        self.reached.reached(attempt.time_limit());
                    }
                    let targets = attempt.on_unconnected(&failed);
                    self.proceed(key, targets, now);
                }
            }
        }
    }

    fn on_reached(&mut self, key: AttemptKey, reached: Reached, now: Instant) {
        self.report_unreached(key, &reached.failed);
        let stream = reached.stream;
        self.streams.begin(stream, true);
        let begins = self.is_wanted(key)
            && self.phase == Phase::Serving
            && self
                .attempts
                .get_mut(&key)
                .is_some_and(|attempt| attempt.on_connected(reached));
        if begins {
            self.negotiating.insert(stream, key);
            let attempt = self.attempts.get_mut(&key);
            if let Some(attempt) = attempt {
                let ids = std::mem::take(&mut attempt.takes_up);
                self.lost.ask(attempt.pair.remote().domain(), ids, stream);
            }
            return;
        }
        self.close(stream, "nobody needs the connection any more");
        if !self.is_wanted(key) {
            self.proceed(key, None, now);
        }
    }

    pub(super) fn on_attempt_ended(&mut self, key: AttemptKey, now: Instant) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        let text = attempt.failure().text;
        self.report_target(key, &text);
        let targets = self.attempts.get_mut(&key).and_then(|attempt| {
            let targets = attempt.on_ended();
            let remote = attempt.pair.remote().domain();
            for (topic, text) in attempt.doubts.drain(..) {
                self.learned
                    .note(remote, topic, Outcome::Refused, text, now);
            }
            targets
        });
        self.proceed(key, targets, now);
    }

    /// Dials what is to be dialled next, or gives up where there is nothing.
    pub(super) fn proceed(&mut self, key: AttemptKey, targets: Option<Vec<Target>>, now: Instant) {
        if !self.is_wanted(key) {
            self.drop_failed(key, now);
            return self.start_waiting(now);
        }
        let (Some(targets), Some(attempt)) = (targets, self.attempts.get_mut(&key)) else {
            return self.give_up(key, now);
        };
        let lost = self.lost.tickets(&attempt.pair);
        attempt.takes_up = lost.iter().map(|ticket| ticket.id.clone()).collect();
        let purpose = attempt.purpose(lost);
        self.commands.push_back(Command::Connect {
            attempt: key,
            targets,
            until: attempt.until.unwrap_or(now),
            purpose,
        });
    }

    /// Whether anybody still waits for what the attempt is to bring.
    pub(super) fn is_wanted(&self, key: AttemptKey) -> bool {
        let Some(attempt) = self.attempts.get(&key) else {
            return false;
        };
        match &attempt.aim {
            Aim::Carry { .. } => {
                let seeks = |route| seeks(route, key);
                self.routes.get(&attempt.pair).is_some_and(seeks)
                    || self.lost.seeks(&attempt.pair, key)
            }
            Aim::Verify(question, _) => self.verifications.waits_for(question, key),
        }
    }

    /// Nothing is left to try: the pair's queue goes back to its senders, the asking peer gets its error.
    pub(super) fn give_up(&mut self, key: AttemptKey, now: Instant) {
        let wanted = self.is_wanted(key);
        let Some(attempt) = self.drop_failed(key, now) else {
            return;
        };
        let failure = attempt.failure();
        if attempt.stream().is_none() {
            self.on_unreachable(attempt.pair.remote().domain(), &failure, now);
        }
        match attempt.aim {
            Aim::Carry { .. } => {
                let drain = self.reclaim(&attempt.pair, |route| seeks(route, key));
                if drain.is_none() && !wanted {
                    return self.start_waiting(now);
                }
                let span = Span {
                    min: seconds(self.limits.retry_seconds_min),
                    max: seconds(self.limits.retry_seconds_max),
                };
                //= ERR-08
                let told = failure.told.and_then(|condition| {
                    self.rest_after(&attempt.pair, condition, &failure.text, now)
                });
                let wait = told.unwrap_or_else(|| {
                    let (wait, bound) = self.backoff.failed(
                        Scope::of(&attempt.pair, failure.is_remote_wide()),
                        &failure.text,
                        span,
                        &mut self.random,
                        now,
                    );
                    if let Some(limit) = bound {
                        self.reached.reached(limit);
                    }
                    wait
                });
                //= ERR-12
                let remote = attempt.pair.remote().domain();
                experience::unreachable(&self.learned, remote, &failure, now + wait, now);
                self.seek_lost_streams_again(&attempt.pair, now + wait);
                let why = Undelivered::new(failure.reason(), remote, &failure.text);
                self.commands
                    .push_back(Command::Report(Report::Unreachable {
                        pair: attempt.pair.clone(),
                        text: why.text().to_owned(),
                        stanzas: drain.as_ref().map_or(0, Drain::queued),
                        retry_seconds: wait.as_secs().max(1),
                    }));
                if let Some(drain) = drain {
                    self.give_back(attempt.pair, drain, why);
                }
            }
            Aim::Verify(..) if !wanted => {}
            Aim::Verify(question, _) => {
                let remote = attempt.pair.remote().domain();
                experience::unverified(&self.learned, remote, &failure, now);
                self.commands
                    .push_back(Command::Report(Report::VerificationFailed {
                        pair: attempt.pair,
                        text: failure.text.clone(),
                    }));
                let verdict = Verdict::Error(failure.dialback_condition());
                self.answer(question, verdict, Assurance::Dns);
            }
        }
        self.start_waiting(now);
    }

    /// The attempt is over, and brought what it was for, or nobody needs that.
    pub(super) fn drop_attempt(&mut self, key: AttemptKey, now: Instant) {
        self.drop_attempt_quietly(key);
        self.start_waiting(now);
    }

    /// The attempt is over and brought nothing.
    fn drop_failed(&mut self, key: AttemptKey, now: Instant) -> Option<Attempt> {
        let attempt = self.attempts.get(&key)?;
        if attempt.has_started() && matches!(attempt.aim, Aim::Verify(..)) {
            let remote = attempt.pair.remote().domain().clone();
            self.legs.fail(&remote, key, now);
            return self.take_attempt(key);
        }
        self.drop_attempt_quietly(key)
    }

    fn drop_attempt_quietly(&mut self, key: AttemptKey) -> Option<Attempt> {
        let attempt = self.take_attempt(key)?;
        let remote = attempt.pair.remote().domain();
        match &attempt.aim {
            Aim::Carry { .. } if attempt.has_started() => {
                self.carrying = self.carrying.saturating_sub(1);
                self.turns.end(remote);
            }
            Aim::Verify(..) if attempt.has_started() => self.legs.end(remote),
            Aim::Verify(..) => self.legs.forget(key),
            // Its turn is passed over.
            Aim::Carry { .. } => {}
        }
        Some(attempt)
    }

    fn take_attempt(&mut self, key: AttemptKey) -> Option<Attempt> {
        let attempt = self.attempts.remove(&key)?;
        self.lost.forget_attempt(&attempt.pair, key);
        if let Some(stream) = attempt.stream() {
            self.negotiating.remove(&stream);
        }
        Some(attempt)
    }

    /// The attempt serves nobody any more: its connection, if there is one, is closed. A verification that waits for DNS
    /// or for a connection keeps its place until that is over: who asks and leaves again and again is not to have us
    /// do ever more at once.
    pub(super) fn abandon(&mut self, key: AttemptKey, now: Instant) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        let verifies = matches!(attempt.aim, Aim::Verify(..));
        if verifies && (attempt.is_looking() || attempt.is_dialling()) {
            return;
        }
        let stream = attempt.stream();
        match verifies {
            true => drop(self.drop_failed(key, now)),
            false => drop(self.drop_attempt_quietly(key)),
        }
        self.start_waiting(now);
        if let Some(stream) = stream {
            self.close(stream, "nobody needs the connection any more");
        }
    }

    /// The server of the attempt's stream could not be used.
    pub(super) fn report_target(&mut self, key: AttemptKey, text: &str) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        if let Some(target) = attempt.target() {
            let report = target_failed(attempt, target, text);
            self.commands.push_back(report);
        }
    }

    fn report_unreached(&mut self, key: AttemptKey, failed: &[Unreached]) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        for unreached in failed {
            let report = target_failed(attempt, &unreached.target, &unreached.text);
            self.commands.push_back(report);
        }
    }
}

fn target_failed(attempt: &Attempt, target: &Target, text: &str) -> Command {
    Command::Report(Report::TargetFailed {
        pair: attempt.pair.clone(),
        target: target.to_string(),
        text: text.to_owned(),
    })
}

fn seeks(route: &Route, key: AttemptKey) -> bool {
    match route {
        Route::Seeking { attempt, .. } => *attempt == key,
        Route::Requested { .. }
        | Route::Expected { .. }
        | Route::Carried { .. }
        | Route::Resting { .. }
        | Route::Suspended => false,
    }
}
