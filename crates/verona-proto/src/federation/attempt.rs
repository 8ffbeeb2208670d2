//! One search for a stream: discovery, targets in order, negotiation, and what to try when one fails.

use std::collections::VecDeque;

use super::StreamKey;
use super::verification::VerificationKey;
use crate::addr::DomainPair;
use crate::discovery::{DiscoveryError, DiscoveryErrorKind, Target};
use crate::learned::Topic;
use crate::stanza::condition::StanzaCondition;
use crate::stream::{Cause, Check, Purpose, StreamError};

/// One search for a stream to a remote domain.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) pair: DomainPair,
    pub(super) aim: Aim,
    pub(super) state: State,
    /// Why the last target failed: what the sender of a stanza is told.
    failure: Option<Failure>,
    /// What was given up on the way because the peer hung up on it: a lesson, if the attempt succeeds without.
    pub(super) given_up: Vec<(Topic, &'static str)>,
    /// What is left out because of an earlier experience: tried after all before the peer is called unreachable.
    left_out: Vec<Topic>,
}

/// What the stream is for.
#[derive(Debug)]
pub(super) enum Aim {
    /// To carry the pair's stanzas.
    Carry {
        /// Whether SASL EXTERNAL is tried: not again after it made the peer hang up (P12).
        external: bool,
        /// Whether bidi is requested: not again after it made the peer hang up (BIDI-69).
        bidi: bool,
    },
    /// To have a key checked (D-08).
    Verify(VerificationKey, Check),
}

/// Where the search stands.
#[derive(Debug)]
pub(super) enum State {
    /// Too many others are under way.
    Waiting,
    /// The servers are being looked up.
    Discovering,
    /// A server is being dialled.
    Connecting {
        target: Target,
        rest: VecDeque<Target>,
    },
    /// A stream is being negotiated.
    Negotiating {
        stream: StreamKey,
        target: Target,
        rest: VecDeque<Target>,
        /// Whether bidi was requested on it.
        bidi: bool,
    },
    /// There is nothing left to try.
    Exhausted,
}

/// Why a domain could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) text: String,
}

/// At which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The domain has no servers (proven).
    NotFound,
    /// The look-up failed for now.
    Discovery,
    /// No connection.
    Connect,
    /// The stream failed.
    Stream(Cause),
    /// The peer called our key invalid.
    Invalid,
    /// We took part too long, or were told to stop.
    Local,
}

impl Attempt {
    pub(super) fn new(pair: DomainPair, aim: Aim) -> Self {
        Self {
            pair,
            aim,
            state: State::Waiting,
            failure: None,
            given_up: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// The same, without what the peer hung up on before.
    pub(super) fn leaving_out(self, left_out: Vec<Topic>) -> Self {
        Self { left_out, ..self }
    }

    /// The servers are known, or there are none.
    pub(super) fn on_discovered(
        &mut self,
        result: Result<Vec<Target>, DiscoveryError>,
    ) -> Option<Target> {
        match result {
            Ok(targets) => {
                let mut rest: VecDeque<Target> = targets.into();
                let first = rest.pop_front();
                if first.is_none() {
                    self.fail(Step::NotFound, "DNS names no server for it".into());
                }
                self.connect(first, rest)
            }
            Err(error) => {
                let step = match error.kind {
                    DiscoveryErrorKind::NotFound => Step::NotFound,
                    DiscoveryErrorKind::Temporary => Step::Discovery,
                };
                self.fail(step, error.text);
                None
            }
        }
    }

    /// The dialled server did not answer: the next one, if any.
    pub(super) fn on_unconnected(&mut self, text: String) -> Option<Target> {
        let State::Connecting { rest, .. } = std::mem::replace(&mut self.state, State::Exhausted)
        else {
            return None;
        };
        self.note(Step::Connect, text);
        self.next(rest)
    }

    /// The connection stands and a stream begins on it.
    pub(super) fn on_connected(&mut self, stream: StreamKey) -> bool {
        match std::mem::replace(&mut self.state, State::Exhausted) {
            State::Connecting { target, rest } => {
                self.state = State::Negotiating {
                    stream,
                    target,
                    rest,
                    bidi: false,
                };
                true
            }
            other @ (State::Waiting
            | State::Discovering
            | State::Negotiating { .. }
            | State::Exhausted) => {
                self.state = other;
                false
            }
        }
    }

    /// The stream ended before it was of use: the same server in another way, or the next one.
    pub(super) fn on_ended(&mut self) -> Option<Target> {
        let State::Negotiating {
            target,
            rest,
            bidi: bidi_requested,
            ..
        } = std::mem::replace(&mut self.state, State::Exhausted)
        else {
            return None;
        };
        let failed_at = |cause| {
            self.failure
                .as_ref()
                .is_some_and(|failure| failure.step == Step::Stream(cause))
        };
        let (sasl_failed, dialback_failed) = (failed_at(Cause::Sasl), failed_at(Cause::Dialback));
        let restart_failed = failed_at(Cause::Restart);
        if let Aim::Carry { external, bidi } = &mut self.aim {
            //= SASL-20
            //= BIDI-47
            // The peer hung up at <auth/>: once more without it (P12).
            if sasl_failed && *external {
                *external = false;
                self.given_up
                    .push((Topic::External, "it hung up at our <auth/>"));
                return self.connect(Some(target), rest);
            }
            //= BIDI-69
            // The peer hung up behind <bidi/> and gave no answer: once more without that.
            //= BIDI-77
            // Or a stanza of the peer's overtook its own stream header: a race of its, which bidi opens.
            if *bidi && (restart_failed || dialback_failed && bidi_requested) {
                *bidi = false;
                self.given_up
                    .push((Topic::Bidi, "it hung up behind our <bidi/>"));
                return self.connect(Some(target), rest);
            }
        }
        // The lesson may be out of date: the other way failed now, so this one is asked again.
        if self.restore_left_out() {
            return self.connect(Some(target), rest);
        }
        let conclusive = self
            .failure
            .as_ref()
            .is_some_and(|failure| match failure.step {
                // Another server of the domain would say the same.
                Step::Invalid | Step::Stream(Cause::Identity) => true,
                Step::NotFound
                | Step::Discovery
                | Step::Connect
                | Step::Stream(_)
                | Step::Local => false,
            });
        //= DNS-08
        match conclusive {
            true => None,
            false => self.next(rest),
        }
    }

    /// Why the stream of this attempt is ending.
    pub(super) fn on_failed(&mut self, error: &StreamError) {
        self.note(Step::Stream(error.cause), error.text.clone());
    }

    /// The peer closed the stream in good order, before it was of use.
    pub(super) fn on_closed(&mut self, cause: Cause) {
        self.note(
            Step::Stream(cause),
            "the peer closed the stream without an answer".into(),
        );
    }

    /// Bidi was requested on the stream of this attempt.
    pub(super) fn on_bidi(&mut self) {
        match &mut self.state {
            State::Negotiating { bidi, .. } => *bidi = true,
            State::Waiting | State::Discovering | State::Connecting { .. } | State::Exhausted => {}
        }
    }

    /// The peer refused our key, or did not answer.
    pub(super) fn on_refused(&mut self, step: Step, text: String) {
        self.note(step, text);
    }

    /// The peer refused: the same server with what was left out because of an earlier experience, if anything was.
    pub(super) fn try_left_out(&mut self) -> Option<Target> {
        if !self.restore_left_out() {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Exhausted) {
            State::Negotiating { target, rest, .. } => self.connect(Some(target), rest),
            State::Waiting | State::Discovering | State::Connecting { .. } | State::Exhausted => {
                None
            }
        }
    }

    fn restore_left_out(&mut self) -> bool {
        let Aim::Carry { external, bidi } = &mut self.aim else {
            return false;
        };
        match self.left_out.pop() {
            Some(Topic::External) => *external = true,
            Some(Topic::Bidi) => *bidi = true,
            Some(Topic::OldBidiNamespace | Topic::Requests) | None => return false,
        }
        true
    }

    /// Its time is up; what failed last is the better explanation, if anything did.
    pub(super) fn on_late(&mut self) {
        if self.failure.is_none() {
            self.note(Step::Local, "its servers did not answer in time".into());
        }
    }

    /// Whether it has one of the places of attempts to carry stanzas.
    pub(super) fn is_carrying(&self) -> bool {
        let started = !matches!(self.state, State::Waiting);
        started && matches!(self.aim, Aim::Carry { .. })
    }

    pub(super) fn stream(&self) -> Option<StreamKey> {
        match &self.state {
            State::Negotiating { stream, .. } => Some(*stream),
            State::Waiting | State::Discovering | State::Connecting { .. } | State::Exhausted => {
                None
            }
        }
    }

    pub(super) fn target(&self) -> Option<&Target> {
        match &self.state {
            State::Negotiating { target, .. } | State::Connecting { target, .. } => Some(target),
            State::Waiting | State::Discovering | State::Exhausted => None,
        }
    }

    pub(super) fn purpose(&self) -> Purpose {
        match &self.aim {
            Aim::Carry { external, bidi } => Purpose::Carry {
                pair: self.pair.clone(),
                external: *external,
                bidi: *bidi,
            },
            Aim::Verify(_, check) => Purpose::Verify {
                pair: self.pair.clone(),
                checks: vec![check.clone()],
            },
        }
    }

    pub(super) fn failure(&self) -> Failure {
        self.failure.clone().unwrap_or(Failure {
            step: Step::Local,
            text: "the attempt ended".into(),
        })
    }

    fn next(&mut self, mut rest: VecDeque<Target>) -> Option<Target> {
        let target = rest.pop_front();
        self.connect(target, rest)
    }

    fn connect(&mut self, target: Option<Target>, rest: VecDeque<Target>) -> Option<Target> {
        let target = target?;
        self.state = State::Connecting {
            target: target.clone(),
            rest,
        };
        Some(target)
    }

    fn fail(&mut self, step: Step, text: String) {
        self.state = State::Exhausted;
        self.note(step, text);
    }

    /// The first conclusive reason stays: what follows on the same stream is its consequence.
    fn note(&mut self, step: Step, text: String) {
        let keep = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.step == Step::Invalid);
        if !keep {
            self.failure = Some(Failure { step, text });
        }
    }
}

impl Failure {
    /// Whether nobody of ours would fare better: nothing had been said yet about who we are.
    pub(super) fn is_remote_wide(&self) -> bool {
        match self.step {
            Step::NotFound | Step::Discovery | Step::Connect | Step::Stream(Cause::Tls) => true,
            Step::Stream(
                Cause::Stream
                | Cause::Restart
                | Cause::Sasl
                | Cause::Dialback
                | Cause::Identity
                | Cause::Established
                | Cause::Idle,
            )
            | Step::Invalid
            | Step::Local => false,
        }
    }

    /// The error for stanzas that cannot be delivered because of this (ROUTE-13, DB-12, DB-14).
    pub(super) fn stanza_condition(&self) -> StanzaCondition {
        match self.step {
            //= ROUTE-13
            Step::NotFound => StanzaCondition::RemoteServerNotFound,
            //= DB-12
            Step::Invalid => StanzaCondition::InternalServerError,
            //= DB-14
            Step::Discovery | Step::Connect | Step::Stream(_) | Step::Local => {
                StanzaCondition::RemoteServerTimeout
            }
        }
    }

    /// The error for a peer whose key could not be checked because of this (DB-38).
    pub(super) fn dialback_condition(&self) -> StanzaCondition {
        //= DB-38
        match self.step {
            Step::NotFound | Step::Discovery => StanzaCondition::RemoteServerNotFound,
            Step::Connect => StanzaCondition::RemoteConnectionFailed,
            Step::Stream(Cause::Tls | Cause::Identity) => StanzaCondition::PolicyViolation,
            Step::Stream(
                Cause::Stream
                | Cause::Restart
                | Cause::Sasl
                | Cause::Dialback
                | Cause::Established
                | Cause::Idle,
            )
            | Step::Invalid
            | Step::Local => StanzaCondition::RemoteServerTimeout,
        }
    }
}
