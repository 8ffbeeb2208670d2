//! Which stream carries which pair: the routes of all pairs, attempts to reach their remote domains, and the checking
//! of dialback keys. Control only: no stanza passes through here.
//!
//! Contract: [`Federation::handle`] once, then [`Federation::poll`] to `None`, then the next. It waits for nobody.

mod attempt;
mod backoff;
mod checking;
mod event;
mod experience;
mod legs;
mod loss;
mod redirecting;
mod reloading;
mod resumption;
mod reuse;
mod route;
mod searching;
mod serving;
mod streams;
mod told;
mod turns;
mod verification;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

pub use event::{
    AttemptKey, Command, Errand, Reached, Remains, Report, Signal, StreamKey, Unreached,
};
pub use reloading::Reload;
pub use resumption::LostStream;
use resumption::{LostStreams, StreamEnd};
pub use route::Route;

use crate::addr::{Direction, DomainPair, Hosts, RemoteDomain};
use crate::carriage::Left;
use crate::dialback::Answer;
use crate::learned::{Learned, Outcome};
use crate::limits::{Limit, LimitCounts, Limits, seconds};
use crate::outbox::Drain;
use crate::policy::Policy;
use crate::stanza::condition::StreamCondition;
use crate::stanza::{Reason, Undelivered};
use crate::stream::{Event, Granted, StreamError};
use attempt::{Attempt, Step};
use backoff::Backoff;
use legs::Legs;
use streams::Streams;
use turns::Turns;
use verification::Verifications;

/// The routes of all pairs, and what is being done for those that have none.
pub struct Federation {
    policy: Arc<Policy>,
    /// Our domains, once they have changed: until then every pair has one that is ours.
    hosts: Option<Arc<Hosts>>,
    limits: Limits,
    reached: LimitCounts,
    routes: BTreeMap<DomainPair, Route>,
    streams: Streams,
    attempts: BTreeMap<AttemptKey, Attempt>,
    /// The attempts that negotiate on a stream.
    negotiating: BTreeMap<StreamKey, AttemptKey>,
    /// Attempts that wait for others to end.
    turns: Turns,
    /// How many attempts to carry stanzas are under way. Verifications have a bound of their own, so that neither can
    /// starve the other.
    carrying: usize,
    verifications: Verifications,
    legs: Legs,
    backoff: Backoff,
    /// The pairs that rest, by remote domain: its next sign of life wakes them.
    resting: BTreeMap<RemoteDomain, BTreeSet<DomainPair>>,
    /// When a waiting queue must be looked at.
    deadlines: BTreeSet<(Instant, DomainPair)>,
    /// When an attempt has taken long enough.
    attempt_deadlines: BTreeSet<(Instant, AttemptKey)>,
    commands: VecDeque<Command>,
    last_attempt: u64,
    /// What experience taught about the peers.
    learned: Learned,
    lost: LostStreams,
    phase: Phase,
    random: Box<dyn FnMut(u64) -> u64 + Send>,
    date: Date,
}

/// Writes a time as a date: the one of the first argument, when it is now the time of the second.
type Date = Box<dyn Fn(Instant, Instant) -> String + Send>;

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
            reached: LimitCounts::default(),
            hosts: None,
            routes: BTreeMap::new(),
            streams: Streams::default(),
            attempts: BTreeMap::new(),
            negotiating: BTreeMap::new(),
            turns: Turns::default(),
            carrying: 0,
            verifications: Verifications::default(),
            legs: Legs::default(),
            backoff: Backoff::default(),
            resting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            attempt_deadlines: BTreeSet::new(),
            commands: VecDeque::new(),
            last_attempt: 0,
            learned: Learned::default(),
            lost: LostStreams::default(),
            phase: Phase::Serving,
            random: Box::new(random),
            date: Box::new(|_, _| UNKNOWN_DATE.to_owned()),
        }
    }

    /// The same, with dates for stanzas that are sent again (XEP-0203). `date` writes a time as XEP-0082 has it, given
    /// also what time it is now: no clock is read here.
    #[must_use]
    pub fn dating(self, date: impl Fn(Instant, Instant) -> String + Send + 'static) -> Self {
        Self {
            date: Box::new(date),
            ..self
        }
    }

    /// The same, with what experience taught before; the streams share it ([`crate::stream::Memory`]).
    #[must_use]
    pub fn remembering(self, learned: Learned) -> Self {
        Self { learned, ..self }
    }

    /// The same, counting where others count too how often each limit took effect ([`crate::stream::Memory`]).
    #[must_use]
    pub fn counting(self, reached: LimitCounts) -> Self {
        Self { reached, ..self }
    }

    /// Takes one signal. Drain [`Self::poll`] before the next.
    pub fn handle(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Wanted(pair, drain) => self.serve(pair, drain, now),
            //= BIDI-50
            Signal::Accepted(stream) => self.streams.begin(stream, false),
            Signal::Stream(stream, event) => self.on_event(stream, event, now),
            Signal::Ended(stream, remains) => self.on_ended(stream, remains, now),
            Signal::Undone(stream, pair, drain) => self.on_undone(stream, pair, drain, now),
            Signal::Discovered(attempt, result) => self.on_discovered(attempt, result, now),
            Signal::Connected(attempt, result) => self.on_connected(attempt, result, now),
            Signal::Declined(stream, left) => self.on_declined(stream, left, now),
            Signal::Reload(reload) => self.on_reload(reload, now),
            Signal::Shutdown => self.on_shutdown(now),
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
        let places = self.legs.deadline();
        let lost = self.lost.deadline();
        let all = routes.into_iter().chain(attempts).chain(places);
        all.chain(lost).min()
    }

    /// How every pair is served, for status.
    pub fn routes(&self) -> impl Iterator<Item = (&DomainPair, &Route)> {
        self.routes.iter()
    }

    /// How many lost streams wait to be taken up again.
    #[must_use]
    pub fn suspended(&self) -> usize {
        self.lost.waiting()
    }

    // Streams.

    fn on_event(&mut self, stream: StreamKey, event: Event, now: Instant) {
        if let Some(record) = self.streams.get(stream) {
            experience::learn(&self.learned, record, &event, now);
        }
        if let Some(report) = experience::other_key(&self.learned, &event, now) {
            self.commands.push_back(Command::Report(report));
        }
        if let Event::Failed(error) = &event {
            self.on_told(stream, error, now);
        }
        self.streams.note(stream, &event, now);
        match event {
            Event::Granted(Granted {
                pair, direction, ..
            }) => {
                self.backoff.succeeded(&pair);
                self.legs.note_reached(pair.remote().domain());
                self.wake_lost_streams(&pair, now);
                match direction {
                    Direction::Outbound => {
                        self.on_able(stream, &pair, now);
                        self.wake(pair.remote(), now);
                    }
                    // On a bidirectional stream the other direction follows at once, and serves whoever waits.
                    Direction::Inbound => {
                        let one_way = |record: &streams::Record| !record.bidirectional;
                        if self.streams.get(stream).is_some_and(one_way) {
                            self.stop_expecting(stream, now);
                            self.wake(pair.remote(), now);
                        }
                    }
                }
            }
            Event::KeyReceived(check) => self.on_key(stream, check, now),
            Event::Verified {
                check,
                verdict,
                assurance,
            } => self.on_verified(stream, check, verdict, assurance, now),
            Event::Refused { pair, answer } => self.on_refused(stream, &pair, Some(answer), now),
            Event::Unanswered { pair } => self.on_refused(stream, &pair, None, now),
            Event::Failed(error) => {
                self.stop_expecting(stream, now);
                // The next server need not wait for this one's closing tag.
                if let Some(key) = self.negotiating.remove(&stream) {
                    // Nor need what was to be taken up on this one.
                    self.lost.unask(stream, now);
                    self.on_negotiation_failed(key, &error, now);
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
            Event::Managed { pair, id } => self.on_managed(stream, &pair, id),
            Event::ResumeRequested { id, h } => self.on_resume_requested(stream, &id, h, now),
            Event::Resumed { id, h } => self.on_resumed(stream, &id, h, now),
            Event::Identified(_)
            | Event::OldBidiNamespace
            | Event::Multiplexes
            | Event::Pipelines
            | Event::SaslFailed { .. }
            | Event::Revoked { .. }
            | Event::Departed { .. }
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
            self.drop_attempt(key, now);
        }
        //= DB-05
        let waiting = |route: &Route| match route {
            Route::Seeking { .. }
            | Route::Requested { .. }
            | Route::Expected { .. }
            | Route::Resting { .. } => true,
            //= BIDI-51
            Route::Carried { .. } | Route::Suspended => false,
        };
        if let Some(drain) = self.reclaim(pair, waiting) {
            self.carry(pair.clone(), drain, stream);
        }
        //= BIDI-53
        if let Some(stream) = self.streams.yielding(pair) {
            self.commands.push_back(Command::Converge { stream });
        }
    }

    /// The domain has shown that it lives: whoever was told to leave it alone need not wait any longer.
    fn wake(&mut self, remote: &RemoteDomain, now: Instant) {
        for pair in self.resting.remove(remote).unwrap_or_default() {
            let resting = |route: &Route| matches!(route, Route::Resting { .. });
            if let Some(drain) = self.reclaim(&pair, resting) {
                self.serve(pair, drain, now);
            }
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
            let again = self.attempts.get_mut(&key).and_then(|attempt| {
                attempt.on_refused(step, text);
                attempt.try_left_out()
            });
            //= DB-13
            self.close(stream, "our request was refused");
            return match again {
                Some(targets) => {
                    self.negotiating.remove(&stream);
                    self.proceed(key, Some(targets), now);
                }
                None => self.give_up(key, now),
            };
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
            let why = Undelivered::new(Reason::KeyInvalid, pair.remote(), &text);
            self.give_back(pair.clone(), drain, why);
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
            | Route::Resting { .. }
            | Route::Suspended => false,
        };
        if let Some(drain) = self.reclaim(pair, requested_here) {
            self.serve(pair.clone(), drain, now);
        }
    }

    /// A stream takes nothing any more, whatever it has still to say of its end. The queue goes another way.
    fn on_undone(
        &mut self,
        stream: StreamKey,
        pair: DomainPair,
        drain: Option<Drain>,
        now: Instant,
    ) {
        self.streams.give_up(stream, &pair);
        self.stop_expecting(stream, now);
        match drain {
            Some(drain) => {
                let left = Left {
                    pair,
                    drain,
                    uncertain: 0,
                };
                self.on_declined(stream, left, now);
            }
            None => self.seek_again(&pair, stream, now),
        }
    }

    fn on_ended(&mut self, stream: StreamKey, remains: Remains, now: Instant) {
        let expected = self.streams.take_expected(stream);
        let hung_up = self
            .streams
            .get(stream)
            .is_some_and(streams::Record::hung_up);
        let end = self
            .streams
            .get(stream)
            .map_or(StreamEnd::Broken, streams::Record::end);
        let requested = self.streams.end(stream);
        let name = self.forget_live_lost_stream(stream, now);
        match (remains.lost, name) {
            (Some(lost), _) => self.suspend(lost, end, now),
            (None, Some(name)) => self.refuse_claim(&name, now),
            (None, None) => {}
        }
        self.serve_expecting(expected, stream, now);
        //= DB-28
        for key in self.verifications.forget(stream) {
            self.abandon(key, now);
        }
        for left in remains.queues {
            let carried_here = |route: &Route| matches!(route, Route::Carried { stream: other } if *other == stream);
            if self.routes.get(&left.pair).is_some_and(carried_here) {
                self.routes.remove(&left.pair);
            }
            self.take_back(left, now);
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
        self.tick_lost_streams(now);
        self.start_waiting(now);
    }

    /// All servers of the domain together took too long.
    fn on_attempt_late(&mut self, key: AttemptKey, now: Instant) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        self.reached.reached(attempt.time_limit());
        attempt.on_late();
        let stream = attempt.stream();
        self.give_up(key, now);
        if let Some(stream) = stream {
            self.close(stream, "the attempt took too long");
        }
    }

    fn on_deadline(&mut self, pair: DomainPair, now: Instant) {
        let Some(mut route) = self.take_route(&pair) else {
            return;
        };
        let age = seconds(self.limits.outbox_age_seconds);
        if let (Some(drain), Some(before)) = (route.drain_mut(), now.checked_sub(age)) {
            //= ROUTE-24
            let stanzas = drain.expire(before);
            if !stanzas.is_empty() {
                self.reached.reached(Limit::OutboxAgeSeconds);
                let detail = self.backoff.reason(&pair).unwrap_or_default();
                let why = Undelivered::new(Reason::Expired, pair.remote(), detail);
                self.commands.push_back(Command::Bounce { stanzas, why });
            }
        }
        match route {
            Route::Resting { drain, until } if until <= now => match drain.close_if_empty() {
                Ok(()) => {}
                Err(drain) => self.serve(pair, drain, now),
            },
            // Nobody waits for the attempt any more: it leaves its place to another.
            Route::Seeking { drain, attempt } => match drain.close_if_empty() {
                Ok(()) => self.abandon(attempt, now),
                Err(drain) => self.wait(pair, Route::Seeking { drain, attempt }, now),
            },
            Route::Expected { drain, until, .. } if until <= now => match drain.close_if_empty() {
                Ok(()) => {}
                Err(drain) => {
                    self.reached.reached(Limit::CrossingSeconds);
                    self.serve(pair, drain, now);
                }
            },
            route @ (Route::Resting { .. } | Route::Requested { .. } | Route::Expected { .. }) => {
                self.wait(pair, route, now);
            }
            route @ (Route::Carried { .. } | Route::Suspended) => {
                self.routes.insert(pair, route);
            }
        }
    }

    fn on_shutdown(&mut self, now: Instant) {
        self.phase = Phase::ShuttingDown;
        // There is no later time at which they could be taken up.
        self.settle_all_lost_streams(now);
        let pairs: Vec<DomainPair> = self.routes.keys().cloned().collect();
        for pair in pairs {
            let held = |route: &Route| !matches!(route, Route::Carried { .. } | Route::Suspended);
            if let Some(drain) = self.reclaim(&pair, held) {
                let why = Undelivered::new(Reason::ShuttingDown, pair.remote(), "");
                self.give_back(pair, drain, why);
            }
        }
        self.turns.clear();
        self.legs.clear();
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

/// Without a clock nobody knows the date; it says at least that there was a delay.
const UNKNOWN_DATE: &str = "1970-01-01T00:00:00Z";

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation")
            .field("routes", &self.routes)
            .field("resting", &self.resting)
            .field("streams", &self.streams)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
