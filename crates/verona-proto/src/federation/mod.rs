//! Which stream carries which pair: the routes of all pairs, attempts to reach their remote domains, and the checking
//! of dialback keys. Control only: no stanza passes through here.
//!
//! Contract: [`Federation::handle`] once, then [`Federation::poll`] to `None`, then the next. It waits for nobody.

mod attempt;
mod backoff;
mod event;
mod experience;
mod reuse;
mod route;
mod streams;
mod verification;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use event::{AttemptKey, Command, Remains, Report, Signal, StreamKey};
pub use route::Route;

use crate::addr::{Direction, Domain, DomainPair};
use crate::dialback::{Answer, Verdict};
use crate::discovery::{DiscoveryError, Target};
use crate::learned::{Learned, Outcome, Topic};
use crate::limits::{Limits, seconds, size};
use crate::outbox::Drain;
use crate::policy::{BidiPolicy, DirectTls, Federate, PeerPolicy, Policy, UseLearned};
use crate::stanza::condition::{StanzaCondition, StreamCondition};
use crate::stream::{Check, Event, Granted, KeyCheck, StreamError};
use attempt::{Aim, Attempt, Step};
use backoff::{Backoff, Span};
use streams::{Outlook, Streams};
use verification::{VerificationKey, Verifications};

/// The routes of all pairs, and what is being done for those that have none.
pub struct Federation {
    policy: Arc<Policy>,
    limits: Limits,
    routes: BTreeMap<DomainPair, Route>,
    streams: Streams,
    attempts: BTreeMap<AttemptKey, Attempt>,
    /// The attempts that negotiate on a stream.
    negotiating: BTreeMap<StreamKey, AttemptKey>,
    /// Attempts that wait for others to end.
    queue: VecDeque<AttemptKey>,
    /// How many attempts to carry stanzas are under way. Verifications have a bound of their own, so that neither can
    /// starve the other.
    carrying: usize,
    verifications: Verifications,
    backoff: Backoff,
    /// When a waiting queue must be looked at.
    deadlines: BTreeSet<(Instant, DomainPair)>,
    /// When an attempt has taken long enough.
    attempt_deadlines: BTreeSet<(Instant, AttemptKey)>,
    commands: VecDeque<Command>,
    last_attempt: u64,
    /// What experience taught about the peers.
    learned: Learned,
    phase: Phase,
    random: Box<dyn FnMut(u64) -> u64 + Send>,
}

/// Whether new things are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    ShuttingDown,
}

impl Federation {
    /// No routes yet. `random` gives a number below its argument: time and chance are arguments here.
    pub fn new(policy: Arc<Policy>, random: impl FnMut(u64) -> u64 + Send + 'static) -> Self {
        Self {
            limits: policy.defaults.limits.clone(),
            policy,
            routes: BTreeMap::new(),
            streams: Streams::default(),
            attempts: BTreeMap::new(),
            negotiating: BTreeMap::new(),
            queue: VecDeque::new(),
            carrying: 0,
            verifications: Verifications::default(),
            backoff: Backoff::default(),
            deadlines: BTreeSet::new(),
            attempt_deadlines: BTreeSet::new(),
            commands: VecDeque::new(),
            last_attempt: 0,
            learned: Learned::default(),
            phase: Phase::Serving,
            random: Box::new(random),
        }
    }

    /// The same, with what experience taught before; the streams share it ([`crate::stream::Memory`]).
    #[must_use]
    pub fn remembering(self, learned: Learned) -> Self {
        Self { learned, ..self }
    }

    /// Takes one signal. Drain [`Self::poll`] before the next.
    pub fn handle(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Wanted(pair, drain) => self.serve(pair, drain, now),
            //= BIDI-50
            Signal::Accepted(stream) => self.streams.begin(stream, false),
            Signal::Stream(stream, event) => self.on_event(stream, event, now),
            Signal::Ended(stream, remains) => self.on_ended(stream, remains, now),
            Signal::Discovered(attempt, result) => self.on_discovered(attempt, result, now),
            Signal::Connected(attempt, result) => self.on_connected(attempt, result, now),
            Signal::Shutdown => self.on_shutdown(),
            Signal::Tick => self.on_tick(now),
        }
    }

    /// Takes the next command; `None` means drained.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call [`Self::handle`] with [`Signal::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let routes = self.deadlines.first().map(|(at, _)| *at);
        let attempts = self.attempt_deadlines.first().map(|(at, _)| *at);
        routes.into_iter().chain(attempts).min()
    }

    /// How every pair is served, for status.
    pub fn routes(&self) -> impl Iterator<Item = (&DomainPair, &Route)> {
        self.routes.iter()
    }

    // Routes.

    /// Finds a way for a queue: a stream that may carry it, one that may be asked, or an attempt.
    fn serve(&mut self, pair: DomainPair, drain: Drain, now: Instant) {
        let policy = self.policy.for_peer(pair.remote().domain());
        if self.phase == Phase::ShuttingDown {
            return self.give_back(
                pair,
                drain,
                StanzaCondition::RemoteServerTimeout,
                "verona is shutting down".into(),
            );
        }
        //= ROUTE-26
        if policy.federate == Federate::Deny {
            let text = format!(
                "the configuration forbids federation with {}",
                pair.remote()
            );
            return self.give_back(pair, drain, StanzaCondition::NotAllowed, text);
        }
        //= BIDI-55
        //= BIDI-61
        if let Some(stream) = self.streams.able(&pair) {
            return self.carry(pair, drain, stream);
        }
        let known = |topic| self.known(&policy, pair.remote().domain(), topic, now);
        let (bidi, external) = (known(Topic::Bidi), known(Topic::External));
        let requests = known(Topic::Requests);
        if let Some(stream) = reuse::stream_for(&pair, &self.streams, &policy, requests) {
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
        match self.backoff.until(pair.remote(), now) {
            Some(until) => self.wait(pair, Route::Resting { drain, until }, now),
            None => {
                let attempt = self.attempt(
                    pair.clone(),
                    Aim::Carry {
                        //= SASL-20
                        external: external != Some(Outcome::HangsUp),
                        //= BIDI-69
                        bidi: bidi != Some(Outcome::HangsUp),
                    },
                    now,
                );
                self.commands
                    .push_back(Command::Report(Report::Seeking { pair: pair.clone() }));
                self.wait(pair, Route::Seeking { drain, attempt }, now);
            }
        }
    }

    /// What experience says of a peer, where the operator lets it count.
    fn known(
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
    fn expected(
        &self,
        pair: &DomainPair,
        drain: &Drain,
        bidi: Option<Outcome>,
        policy: &PeerPolicy,
        now: Instant,
    ) -> Option<(StreamKey, Instant)> {
        let wait = seconds(policy.limits.crossing_seconds);
        let fresh = drain
            .oldest()
            .is_none_or(|oldest| now.saturating_duration_since(oldest) < wait);
        if !fresh || policy.bidi == BidiPolicy::Off {
            return None;
        }
        let outlook = match bidi {
            Some(Outcome::Works) => Outlook::Likely,
            Some(Outcome::Refused | Outcome::HangsUp) | None => Outlook::Open,
        };
        self.streams.expected(pair, outlook, wait, now)
    }

    fn carry(&mut self, pair: DomainPair, drain: Drain, stream: StreamKey) {
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

    fn wait(&mut self, pair: DomainPair, mut route: Route, now: Instant) {
        let age = seconds(self.limits.outbox_age_seconds);
        let oldest = route
            .drain_mut()
            .and_then(|drain| drain.oldest())
            .unwrap_or(now);
        let at = match &route {
            Route::Resting { until, .. } | Route::Expected { until, .. } => {
                (*until).min(oldest + age)
            }
            Route::Seeking { .. } | Route::Requested { .. } | Route::Carried { .. } => oldest + age,
        };
        self.deadlines
            .insert((at.max(now + Duration::from_millis(1)), pair.clone()));
        self.routes.insert(pair, route);
    }

    fn give_back(
        &mut self,
        pair: DomainPair,
        drain: Drain,
        condition: StanzaCondition,
        text: String,
    ) {
        self.commands.push_back(Command::Return {
            pair,
            drain,
            condition,
            text,
        });
    }

    /// Takes a pair's queue back if it waits for `why`.
    fn reclaim(&mut self, pair: &DomainPair, why: impl FnOnce(&Route) -> bool) -> Option<Drain> {
        if !self.routes.get(pair).is_some_and(why) {
            return None;
        }
        self.routes.remove(pair).and_then(Route::into_drain)
    }

    // Streams.

    fn on_event(&mut self, stream: StreamKey, event: Event, now: Instant) {
        if let Some(record) = self.streams.get(stream) {
            experience::learn(&self.learned, record, &event, now);
        }
        self.streams.note(stream, &event, now);
        match event {
            Event::Granted(Granted {
                pair, direction, ..
            }) => {
                self.backoff.succeeded(pair.remote());
                match direction {
                    Direction::Outbound => self.on_able(stream, &pair, now),
                    Direction::Inbound => {
                        let one_way = |record: &streams::Record| !record.bidirectional;
                        if self.streams.get(stream).is_some_and(one_way) {
                            self.stop_expecting(stream, now);
                        }
                    }
                }
            }
            Event::KeyReceived(check) => self.on_key(stream, check, now),
            Event::Verified { check, verdict } => self.on_verified(stream, check, verdict),
            Event::Refused { pair, answer } => self.on_refused(stream, &pair, Some(answer), now),
            Event::Unanswered { pair } => self.on_refused(stream, &pair, None, now),
            Event::Failed(error) => {
                self.stop_expecting(stream, now);
                // The next server need not wait for this one's closing tag.
                if let Some(key) = self.negotiating.remove(&stream) {
                    if let Some(attempt) = self.attempts.get_mut(&key) {
                        attempt.on_failed(&error);
                    }
                    self.on_attempt_ended(key, now);
                }
            }
            Event::Bidirectional => {
                if let Some(attempt) = self.negotiating_on(stream) {
                    attempt.on_bidi();
                }
            }
            Event::Closed { cause } => {
                self.stop_expecting(stream, now);
                if let Some(attempt) = self.negotiating_on(stream) {
                    attempt.on_closed(cause);
                }
            }
            Event::Identified(_)
            | Event::OldBidiNamespace
            | Event::Multiplexes
            | Event::SaslFailed { .. }
            | Event::Vouched { .. }
            | Event::Denied { .. }
            | Event::Irregular { .. } => {}
        }
    }

    /// The attempt that waits for this stream to be of use.
    fn negotiating_on(&mut self, stream: StreamKey) -> Option<&mut Attempt> {
        self.attempts.get_mut(self.negotiating.get(&stream)?)
    }

    /// A stream may now send for a pair: whoever waits for one gets it, wherever it came from (BIDI-52).
    fn on_able(&mut self, stream: StreamKey, pair: &DomainPair, now: Instant) {
        if let Some(key) = self.negotiating.get(&stream).copied()
            && self
                .attempts
                .get(&key)
                .is_some_and(|attempt| attempt.pair == *pair)
        {
            let given_up = self
                .attempts
                .get_mut(&key)
                .map(|attempt| std::mem::take(&mut attempt.given_up));
            //= BIDI-69
            //= SASL-20
            for (topic, text) in given_up.unwrap_or_default() {
                let remote = pair.remote().domain();
                self.learned
                    .note(remote, topic, Outcome::HangsUp, text, now);
            }
            self.drop_attempt(key);
        }
        //= DB-05
        let waiting = |route: &Route| match route {
            Route::Seeking { .. }
            | Route::Requested { .. }
            | Route::Expected { .. }
            | Route::Resting { .. } => true,
            //= BIDI-51
            Route::Carried { .. } => false,
        };
        if let Some(drain) = self.reclaim(pair, waiting) {
            self.carry(pair.clone(), drain, stream);
        }
        //= BIDI-53
        if let Some(stream) = self.streams.yielding(pair) {
            self.commands.push_back(Command::Converge { stream });
        }
    }

    /// The stream is of no use to the queues that wait for it.
    fn stop_expecting(&mut self, stream: StreamKey, now: Instant) {
        let expected = self.streams.take_expected(stream);
        self.serve_expecting(expected, stream, now);
    }

    fn serve_expecting(&mut self, pairs: BTreeSet<DomainPair>, stream: StreamKey, now: Instant) {
        for pair in pairs {
            let expected_here = |route: &Route| matches!(route, Route::Expected { stream: other, .. } if *other == stream);
            if let Some(drain) = self.reclaim(&pair, expected_here) {
                self.serve(pair, drain, now);
            }
        }
    }

    /// A request of ours was refused (`Some`) or not answered in time (`None`).
    fn on_refused(
        &mut self,
        stream: StreamKey,
        pair: &DomainPair,
        answer: Option<Answer>,
        now: Instant,
    ) {
        let (step, text) = match answer {
            Some(Answer::Invalid) => (
                Step::Invalid,
                "the peer called our dialback key invalid".to_owned(),
            ),
            Some(Answer::Error(condition)) => (
                Step::Stream(crate::stream::Cause::Dialback),
                format!(
                    "the peer could not accept our dialback key: {}",
                    condition.name()
                ),
            ),
            Some(Answer::Valid) => return,
            None => (
                Step::Stream(crate::stream::Cause::Dialback),
                "the peer did not answer our dialback key in time".to_owned(),
            ),
        };
        if let Some(key) = self.negotiating.get(&stream).copied()
            && self
                .attempts
                .get(&key)
                .is_some_and(|attempt| attempt.pair == *pair)
        {
            if let Some(attempt) = self.attempts.get_mut(&key) {
                attempt.on_refused(step, text);
            }
            //= DB-13
            self.close(stream, "our request was refused");
            return self.give_up(key, now);
        }
        if let Some(record) = self.streams.get_mut(stream) {
            record.refuses_requests = true;
        }
        let remote = pair.remote().domain();
        match answer {
            None => experience::request_unanswered(&self.learned, remote, now),
            Some(Answer::Invalid) => {
                experience::request_refused(&self.learned, remote, &text, now);
                return self.on_further_invalid(stream, pair, text);
            }
            Some(Answer::Error(_) | Answer::Valid) => {}
        }
        // A further pair on a stream that serves others gets a stream of its own (BIDI-76, DB-14).
        //= BIDI-76
        self.seek_again(pair, stream, now);
    }

    /// The key of a further pair was called invalid: its queue is never sent, and the others go elsewhere, for the peer
    /// is about to close.
    fn on_further_invalid(&mut self, stream: StreamKey, pair: &DomainPair, text: String) {
        let requested_here = |route: &Route| matches!(route, Route::Requested { stream: other, .. } if *other == stream);
        //= DB-12
        if let Some(drain) = self.reclaim(pair, requested_here) {
            let condition = StanzaCondition::InternalServerError;
            self.give_back(pair.clone(), drain, condition, text);
        }
        //= DB-13
        self.close(stream, "our request was refused");
    }

    fn seek_again(&mut self, pair: &DomainPair, stream: StreamKey, now: Instant) {
        let requested_here = |route: &Route| match route {
            Route::Requested { stream: other, .. } => *other == stream,
            Route::Seeking { .. }
            | Route::Expected { .. }
            | Route::Carried { .. }
            | Route::Resting { .. } => false,
        };
        if let Some(drain) = self.reclaim(pair, requested_here) {
            self.serve(pair.clone(), drain, now);
        }
    }

    fn on_ended(&mut self, stream: StreamKey, remains: Remains, now: Instant) {
        let expected = self.streams.take_expected(stream);
        let hung_up = self
            .streams
            .get(stream)
            .is_some_and(streams::Record::hung_up);
        let requested = self.streams.end(stream);
        self.serve_expecting(expected, stream, now);
        //= DB-28
        for key in self.verifications.forget(stream) {
            self.abandon(key);
        }
        for (pair, drain) in remains.drains {
            let carried_here = |route: &Route| matches!(route, Route::Carried { stream: other } if *other == stream);
            if self.routes.get(&pair).is_some_and(carried_here) {
                self.routes.remove(&pair);
            }
            // An idle pair is forgotten; its next stanza makes a new queue.
            if let Err(drain) = drain.close_if_empty() {
                self.serve(pair, drain, now);
            }
        }
        //= DB-08
        for pair in requested {
            if hung_up {
                experience::request_unanswered(&self.learned, pair.remote().domain(), now);
            }
            self.seek_again(&pair, stream, now);
        }
        if let Some(key) = self.negotiating.remove(&stream) {
            self.on_attempt_ended(key, now);
        }
    }

    fn close(&mut self, stream: StreamKey, text: &str) {
        self.commands.push_back(Command::Close {
            stream,
            error: StreamError::local(StreamCondition::UndefinedCondition, text).quietly(),
        });
    }

    // Attempts.

    fn attempt(&mut self, pair: DomainPair, aim: Aim, now: Instant) -> AttemptKey {
        self.last_attempt += 1;
        let key = AttemptKey(self.last_attempt);
        //= LIM-14
        let time = match aim {
            Aim::Carry { .. } => self.limits.attempt_seconds,
            Aim::Verify(..) => self.limits.verification_seconds,
        };
        self.attempt_deadlines.insert((now + seconds(time), key));
        let verifies = matches!(aim, Aim::Verify(..));
        self.attempts.insert(key, Attempt::new(pair, aim));
        if verifies {
            self.start(key);
        } else {
            self.queue.push_back(key);
            self.start_waiting();
        }
        key
    }

    /// Starts what waits, as far as the limit allows.
    fn start_waiting(&mut self) {
        while self.carrying < size(self.limits.attempts_concurrent_max) {
            let Some(key) = self.queue.pop_front() else {
                return;
            };
            // One that was dropped while it waited is passed over.
            if self.attempts.contains_key(&key) {
                self.carrying += 1;
                self.start(key);
            }
        }
    }

    fn start(&mut self, key: AttemptKey) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        attempt.state = attempt::State::Discovering;
        let remote = attempt.pair.remote().domain().clone();
        let direct_tls = self.policy.for_peer(&remote).direct_tls == DirectTls::Auto;
        self.commands.push_back(Command::Discover {
            attempt: key,
            remote,
            direct_tls,
        });
    }

    fn on_discovered(
        &mut self,
        key: AttemptKey,
        result: Result<Vec<Target>, DiscoveryError>,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        let target = attempt.on_discovered(result);
        self.proceed(key, target, now);
    }

    fn on_connected(&mut self, key: AttemptKey, result: Result<StreamKey, String>, now: Instant) {
        let stream = match result {
            Ok(stream) => stream,
            Err(text) => {
                self.report_target(key, &text);
                let target = self
                    .attempts
                    .get_mut(&key)
                    .and_then(|attempt| attempt.on_unconnected(text));
                return self.proceed(key, target, now);
            }
        };
        self.streams.begin(stream, true);
        let wanted = self
            .attempts
            .get_mut(&key)
            .is_some_and(|attempt| attempt.on_connected(stream));
        match wanted && self.phase == Phase::Serving {
            true => {
                self.negotiating.insert(stream, key);
            }
            false => self.close(stream, "nobody needs the connection any more"),
        }
    }

    fn on_attempt_ended(&mut self, key: AttemptKey, now: Instant) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        let text = attempt.failure().text;
        self.report_target(key, &text);
        let target = self.attempts.get_mut(&key).and_then(Attempt::on_ended);
        self.proceed(key, target, now);
    }

    /// Dials the next target, or gives up where there is none.
    fn proceed(&mut self, key: AttemptKey, target: Option<Target>, now: Instant) {
        if !self.is_wanted(key) {
            return self.drop_attempt(key);
        }
        let (Some(target), Some(attempt)) = (target, self.attempts.get(&key)) else {
            return self.give_up(key, now);
        };
        let purpose = attempt.purpose();
        self.commands.push_back(Command::Connect {
            attempt: key,
            target,
            purpose,
        });
    }

    /// Whether anybody still waits for what the attempt is to bring.
    fn is_wanted(&self, key: AttemptKey) -> bool {
        let Some(attempt) = self.attempts.get(&key) else {
            return false;
        };
        match &attempt.aim {
            Aim::Carry { .. } => self
                .routes
                .get(&attempt.pair)
                .is_some_and(|route| seeks(route, key)),
            Aim::Verify(_, _) => true,
        }
    }

    /// Nothing is left to try: the pair's queue goes back to its senders, the asking peer gets its error.
    fn give_up(&mut self, key: AttemptKey, now: Instant) {
        let Some(attempt) = self.drop_attempt_quietly(key) else {
            return;
        };
        let failure = attempt.failure();
        match attempt.aim {
            Aim::Carry { .. } => {
                let Some(drain) = self.reclaim(&attempt.pair, |route| seeks(route, key)) else {
                    return self.start_waiting();
                };
                let span = Span {
                    min: seconds(self.limits.retry_seconds_min),
                    max: seconds(self.limits.retry_seconds_max),
                };
                let wait = self.backoff.failed(
                    attempt.pair.remote(),
                    &failure.text,
                    span,
                    &mut self.random,
                    now,
                );
                //= ERR-12
                let remote = attempt.pair.remote().domain();
                experience::unreachable(&self.learned, remote, &failure, now + wait, now);
                let text = format!(
                    "could not reach {}: {}",
                    attempt.pair.remote(),
                    failure.text
                );
                self.commands
                    .push_back(Command::Report(Report::Unreachable {
                        pair: attempt.pair.clone(),
                        text: text.clone(),
                        stanzas: drain.queued(),
                        retry_seconds: wait.as_secs().max(1),
                    }));
                self.give_back(attempt.pair, drain, failure.stanza_condition(), text);
            }
            Aim::Verify(question, _) => {
                self.commands
                    .push_back(Command::Report(Report::VerificationFailed {
                        pair: attempt.pair,
                        text: failure.text.clone(),
                    }));
                self.answer(question, Verdict::Error(failure.dialback_condition()));
            }
        }
        self.start_waiting();
    }

    fn drop_attempt(&mut self, key: AttemptKey) {
        self.drop_attempt_quietly(key);
        self.start_waiting();
    }

    fn drop_attempt_quietly(&mut self, key: AttemptKey) -> Option<Attempt> {
        let attempt = self.attempts.remove(&key)?;
        if let Some(stream) = attempt.stream() {
            self.negotiating.remove(&stream);
        }
        if attempt.is_carrying() {
            self.carrying = self.carrying.saturating_sub(1);
        }
        Some(attempt)
    }

    /// The attempt serves nobody any more: its connection, if there is one, is closed.
    fn abandon(&mut self, key: AttemptKey) {
        let stream = self.attempts.get(&key).and_then(Attempt::stream);
        self.drop_attempt(key);
        if let Some(stream) = stream {
            self.close(stream, "nobody needs the connection any more");
        }
    }

    fn report_target(&mut self, key: AttemptKey, text: &str) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        let Some(target) = attempt.target() else {
            return;
        };
        self.commands
            .push_back(Command::Report(Report::TargetFailed {
                pair: attempt.pair.clone(),
                target: target.to_string(),
                text: text.to_owned(),
            }));
    }

    // Verifications.

    /// A peer sent a key: the authoritative server is asked, on a connection that we open for it (DB-23, BIDI-24).
    fn on_key(&mut self, stream: StreamKey, check: KeyCheck, now: Instant) {
        let question = VerificationKey {
            stream,
            pair: check.pair.clone(),
        };
        //= DB-53
        if self.verifications.len() >= size(self.limits.verifications_pending_max)
            || self.phase == Phase::ShuttingDown
        {
            self.commands.push_back(Command::Verdict {
                stream,
                pair: check.pair,
                verdict: Verdict::Error(StanzaCondition::ResourceConstraint),
            });
            return;
        }
        //= DB-23
        let aim = Aim::Verify(
            question.clone(),
            Check {
                id: check.id,
                key: check.key,
            },
        );
        let attempt = self.attempt(check.pair, aim, now);
        self.verifications.begin(question, attempt);
    }

    fn on_verified(&mut self, stream: StreamKey, check: KeyCheck, verdict: Verdict) {
        let Some(key) = self.negotiating.get(&stream).copied() else {
            return;
        };
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        let Aim::Verify(question, asked) = &attempt.aim else {
            return;
        };
        //= DB-27
        if asked.id != check.id || asked.key != check.key || question.pair != check.pair {
            return;
        }
        let question = question.clone();
        self.drop_attempt(key);
        self.answer(question, from_authority(verdict));
    }

    fn answer(&mut self, question: VerificationKey, verdict: Verdict) {
        if self.verifications.settle(&question) {
            self.commands.push_back(Command::Verdict {
                stream: question.stream,
                pair: question.pair,
                verdict,
            });
        }
    }

    // Time, and the end.

    fn on_tick(&mut self, now: Instant) {
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, pair)) = self.deadlines.pop_first() else {
                return;
            };
            self.on_deadline(pair, now);
        }
        while self
            .attempt_deadlines
            .first()
            .is_some_and(|(at, _)| *at <= now)
        {
            let Some((_, key)) = self.attempt_deadlines.pop_first() else {
                return;
            };
            self.on_attempt_late(key, now);
        }
    }

    /// All servers of the domain together took too long.
    fn on_attempt_late(&mut self, key: AttemptKey, now: Instant) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        attempt.on_late();
        let stream = attempt.stream();
        self.give_up(key, now);
        if let Some(stream) = stream {
            self.close(stream, "the attempt took too long");
        }
    }

    fn on_deadline(&mut self, pair: DomainPair, now: Instant) {
        let Some(mut route) = self.routes.remove(&pair) else {
            return;
        };
        let age = seconds(self.limits.outbox_age_seconds);
        if let (Some(drain), Some(before)) = (route.drain_mut(), now.checked_sub(age)) {
            //= ROUTE-24
            let stanzas = drain.expire(before);
            if !stanzas.is_empty() {
                let text = match self.backoff.reason(pair.remote()) {
                    Some(reason) => format!("could not reach {} in time: {reason}", pair.remote()),
                    None => format!("could not reach {} in time", pair.remote()),
                };
                self.commands.push_back(Command::Bounce {
                    stanzas,
                    condition: StanzaCondition::RemoteServerTimeout,
                    text,
                });
            }
        }
        match route {
            Route::Resting { drain, until } if until <= now => match drain.close_if_empty() {
                Ok(()) => {}
                Err(drain) => self.serve(pair, drain, now),
            },
            // Nobody waits for the attempt any more: it leaves its place to another.
            Route::Seeking { drain, attempt } => match drain.close_if_empty() {
                Ok(()) => self.abandon(attempt),
                Err(drain) => self.wait(pair, Route::Seeking { drain, attempt }, now),
            },
            Route::Expected { drain, until, .. } if until <= now => match drain.close_if_empty() {
                Ok(()) => {}
                Err(drain) => self.serve(pair, drain, now),
            },
            route @ (Route::Resting { .. } | Route::Requested { .. } | Route::Expected { .. }) => {
                self.wait(pair, route, now);
            }
            route @ Route::Carried { .. } => {
                self.routes.insert(pair, route);
            }
        }
    }

    fn on_shutdown(&mut self) {
        self.phase = Phase::ShuttingDown;
        let pairs: Vec<DomainPair> = self.routes.keys().cloned().collect();
        for pair in pairs {
            let held = |route: &Route| !matches!(route, Route::Carried { .. });
            if let Some(drain) = self.reclaim(&pair, held) {
                let text = "verona is shutting down".to_owned();
                self.give_back(pair, drain, StanzaCondition::RemoteServerTimeout, text);
            }
        }
        self.queue.clear();
        self.carrying = 0;
        self.attempts.clear();
        self.attempt_deadlines.clear();
        self.negotiating.clear();
        //= STREAM-59
        let streams: Vec<StreamKey> = self.streams.iter().map(|(stream, _)| stream).collect();
        for stream in streams {
            self.commands.push_back(Command::Close {
                stream,
                error: StreamError::local(
                    StreamCondition::SystemShutdown,
                    "the server is shutting down",
                ),
            });
        }
    }
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation")
            .field("routes", &self.routes)
            .field("streams", &self.streams)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

fn seeks(route: &Route, key: AttemptKey) -> bool {
    match route {
        Route::Seeking { attempt, .. } => *attempt == key,
        Route::Requested { .. }
        | Route::Expected { .. }
        | Route::Carried { .. }
        | Route::Resting { .. } => false,
    }
}

/// What the authoritative server's answer means to the peer that asked to be believed (DB-38).
fn from_authority(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Valid | Verdict::Invalid => verdict,
        //= DB-38
        Verdict::Error(StanzaCondition::ItemNotFound) => {
            Verdict::Error(StanzaCondition::RemoteServerNotFound)
        }
        Verdict::Error(_) => Verdict::Error(StanzaCondition::NotAcceptable),
    }
}
