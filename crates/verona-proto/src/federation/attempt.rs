//! One search for a stream: discovery, targets in order, negotiation, and what to try when one fails.

use std::net::SocketAddr;
use std::time::Instant;

use super::told;
use super::verification::VerificationKey;
use super::{Reached, StreamKey, Unreached};
use crate::addr::DomainPair;
use crate::discovery::{DiscoveryError, DiscoveryErrorKind, OtherHost, Target};
use crate::grounds::Assurance;
use crate::learned::Topic;
use crate::limits::Limit;
use crate::stanza::{Reason, StanzaCondition, StreamCondition};
use crate::stream::{Cause, Check, Fault, Pace, Purpose, StreamError, TheirWords, Ticket};

/// One search for a stream to a remote domain.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) pair: DomainPair,
    pub(super) aim: Aim,
    pub(super) state: State,
    /// When it has taken long enough.
    pub(super) until: Option<Instant>,
    /// Why the last target failed: what the sender of a stanza is told.
    failure: Option<Failure>,
    /// What was given up on the way because the peer hung up on it: a lesson, if the attempt succeeds without.
    pub(super) given_up: Vec<(Topic, &'static str)>,
    /// What is left out because of an earlier experience: tried after all before the peer is called unreachable.
    left_out: Vec<Topic>,
    /// What worked with the peer before: once more in the same way before it is given up, for connections break.
    worked: Vec<Topic>,
    /// What worked before and did not now: not relied on in the next attempt, unless it works until then.
    pub(super) doubts: Vec<(Topic, &'static str)>,
    /// The lost stream that is to be taken up on the stream that is being sought.
    pub(super) takes_up: Vec<String>,
    /// The servers that sent us elsewhere: never dialled again (STREAM-51).
    pub(super) sent_by: Vec<SocketAddr>,
    /// The servers that are tried when where we were sent leads nowhere.
    pub(super) aside: Vec<Target>,
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
        /// Whether the peer's answers are waited for: they are when it went wrong without.
        pace: Pace,
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
    /// A server sent us elsewhere, and that place is being looked up.
    Redirected(OtherHost),
    /// The servers are being dialled.
    Connecting,
    /// A stream is being negotiated.
    Negotiating {
        stream: StreamKey,
        target: Target,
        /// The servers that may still do.
        rest: Vec<Target>,
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
    /// The peer's own word for it.
    pub(super) told: Option<StreamCondition>,
    manner: Manner,
}

/// How a peer let go of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It hung up, or said something that it may say about how we negotiate.
    HungUp,
    /// It said nothing for too long.
    FellSilent,
    /// It gave another reason.
    Excused,
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
    /// We have too much of the same kind to do: nothing is known of the domain.
    Busy,
}

impl Attempt {
    pub(super) fn new(pair: DomainPair, aim: Aim) -> Self {
        Self {
            pair,
            aim,
            state: State::Waiting,
            until: None,
            failure: None,
            given_up: Vec::new(),
            left_out: Vec::new(),
            worked: Vec::new(),
            doubts: Vec::new(),
            takes_up: Vec::new(),
            sent_by: Vec::new(),
            aside: Vec::new(),
        }
    }

    /// The same, without what the peer hung up on before, and relying on what worked.
    pub(super) fn knowing(self, left_out: Vec<Topic>, worked: Vec<Topic>) -> Self {
        Self {
            left_out,
            worked,
            ..self
        }
    }

    /// The servers are known, or there are none.
    pub(super) fn on_discovered(
        &mut self,
        result: Result<Vec<Target>, DiscoveryError>,
    ) -> Option<Vec<Target>> {
        if let State::Redirected(host) = &self.state {
            let host = host.clone();
            return self.on_resolved(&host, result);
        }
        match result {
            Ok(targets) => {
                if targets.is_empty() {
                    self.fail(Step::NotFound, "DNS names no server for it".into());
                }
                self.connect(targets)
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

    /// None of the dialled servers answered.
    pub(super) fn on_unconnected(&mut self, failed: &[Unreached]) -> Option<Vec<Target>> {
        self.state = State::Exhausted;
        self.note_unreached(failed);
        self.connect(Vec::new())
    }

    /// A connection stands and a stream begins on it.
    pub(super) fn on_connected(&mut self, reached: Reached) -> bool {
        if !self.is_dialling() {
            return false;
        }
        self.note_unreached(&reached.failed);
        self.state = State::Negotiating {
            stream: reached.stream,
            target: reached.target,
            rest: reached.left,
            bidi: false,
        };
        true
    }

    /// The stream ended before it was of use: the same server in another way, or the next one.
    pub(super) fn on_ended(&mut self) -> Option<Vec<Target>> {
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
        let (stream_failed, restart_failed) = (failed_at(Cause::Stream), failed_at(Cause::Restart));
        let manner = self.failure.as_ref().map(|failure| failure.manner);
        if let Aim::Carry {
            external,
            bidi,
            pace,
        } = &mut self.aim
        {
            //= STREAM-60
            // What was said ahead of its turn may be the cause, and is nothing that the peer is judged by.
            if std::mem::take(pace) == Pace::Ahead {
                let text = "it hung up where we did not wait for it";
                match manner {
                    Some(Manner::HungUp) if stream_failed || sasl_failed || restart_failed => {
                        self.doubts.push((Topic::Pipelining, text));
                        self.given_up.push((Topic::Pipelining, text));
                        return self.connect_first(target, rest);
                    }
                    // Another server may be well.
                    Some(Manner::FellSilent) => {
                        self.doubts.push((Topic::Pipelining, text));
                        let targets = rest.into_iter().chain([target]).collect();
                        return self.connect(targets);
                    }
                    Some(Manner::HungUp) => self.doubts.push((Topic::Pipelining, text)),
                    Some(Manner::Excused) | None => {}
                }
            }
            //= SASL-20
            //= BIDI-47
            // The peer hung up at <auth/>: once more without it (P12).
            if sasl_failed && *external {
                let text = "it hung up at our <auth/>";
                if takes_out(&mut self.worked, Topic::External) {
                    self.doubts.push((Topic::External, text));
                    return self.connect_first(target, rest);
                }
                *external = false;
                self.given_up.push((Topic::External, text));
                return self.connect_first(target, rest);
            }
            //= BIDI-69
            // The peer hung up behind <bidi/> and gave no answer: once more without that.
            //= BIDI-77
            // Or a stanza of the peer's overtook its own stream header: a race of its, which bidi opens.
            if *bidi && (restart_failed || dialback_failed && bidi_requested) {
                let text = "it hung up behind our <bidi/>";
                if takes_out(&mut self.worked, Topic::Bidi) {
                    self.doubts.push((Topic::Bidi, text));
                    return self.connect_first(target, rest);
                }
                *bidi = false;
                self.given_up.push((Topic::Bidi, text));
                return self.connect_first(target, rest);
            }
        }
        // The lesson may be out of date: the other way failed now, so this one is asked again.
        if self.restore_left_out() {
            return self.connect_first(target, rest);
        }
        let conclusive = self
            .failure
            .as_ref()
            .is_some_and(|failure| match failure.step {
                // Another server of the domain would say the same.
                Step::Invalid => true,
                // That one is not known to be a server of the domain at all.
                Step::Stream(Cause::Identity) => target.assurance != Assurance::Redirected,
                Step::NotFound
                | Step::Discovery
                | Step::Connect
                | Step::Stream(_)
                | Step::Local
                | Step::Busy => false,
            });
        //= DNS-08
        //= DTLS-10
        match conclusive {
            true => None,
            false => self.connect(rest),
        }
    }

    /// Why the stream of this attempt is ending.
    pub(super) fn on_failed(&mut self, error: &StreamError) {
        self.note(Step::Stream(error.cause), error.text.clone());
        if let Some(failure) = &mut self.failure {
            failure.manner = Manner::of(error);
            match error.words {
                TheirWords::Said => failure.told = Some(error.condition),
                TheirWords::None => {}
            }
        }
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
            State::Waiting
            | State::Discovering
            | State::Redirected(_)
            | State::Connecting
            | State::Exhausted => {}
        }
    }

    /// The peer refused our key, or did not answer.
    pub(super) fn on_refused(&mut self, step: Step, text: String) {
        self.note(step, text);
    }

    /// The peer refused: the same server with what was left out because of an earlier experience, if anything was.
    pub(super) fn try_left_out(&mut self) -> Option<Vec<Target>> {
        if !self.restore_left_out() {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Exhausted) {
            State::Negotiating { target, rest, .. } => self.connect_first(target, rest),
            State::Waiting
            | State::Discovering
            | State::Redirected(_)
            | State::Connecting
            | State::Exhausted => None,
        }
    }

    fn restore_left_out(&mut self) -> bool {
        let Aim::Carry { external, bidi, .. } = &mut self.aim else {
            return false;
        };
        match self.left_out.pop() {
            Some(Topic::External) => *external = true,
            Some(Topic::Bidi) => *bidi = true,
            Some(Topic::OldBidiNamespace | Topic::Requests | Topic::Pipelining) | None => {
                return false;
            }
        }
        true
    }

    /// Its time is up; what failed last is the better explanation, if anything did.
    pub(super) fn on_late(&mut self) {
        if matches!(self.state, State::Waiting) {
            let text = "too many keys of this and of neighbouring domains are being checked";
            self.note(Step::Busy, text.into());
        } else if self.failure.is_none() {
            self.note(Step::Local, "its servers did not answer in time".into());
        }
    }

    /// Which limit its time is.
    pub(super) fn time_limit(&self) -> Limit {
        match self.aim {
            Aim::Carry { .. } => Limit::AttemptSeconds,
            Aim::Verify(..) => Limit::VerificationSeconds,
        }
    }

    /// Whether it waits for DNS.
    pub(super) fn is_looking(&self) -> bool {
        match self.state {
            State::Discovering | State::Redirected(_) => true,
            State::Waiting | State::Connecting | State::Negotiating { .. } | State::Exhausted => {
                false
            }
        }
    }

    /// Whether it waits for a connection.
    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.state, State::Connecting)
    }

    /// Whether it has begun.
    pub(super) fn has_started(&self) -> bool {
        !matches!(self.state, State::Waiting)
    }

    pub(super) fn stream(&self) -> Option<StreamKey> {
        match &self.state {
            State::Negotiating { stream, .. } => Some(*stream),
            State::Waiting
            | State::Discovering
            | State::Redirected(_)
            | State::Connecting
            | State::Exhausted => None,
        }
    }

    pub(super) fn target(&self) -> Option<&Target> {
        match &self.state {
            State::Negotiating { target, .. } => Some(target),
            State::Waiting
            | State::Discovering
            | State::Redirected(_)
            | State::Connecting
            | State::Exhausted => None,
        }
    }

    /// What the stream is opened for; `resume` is the lost one that it is to take up.
    pub(super) fn purpose(&self, resume: Vec<Ticket>) -> Purpose {
        match &self.aim {
            Aim::Carry {
                external,
                bidi,
                pace,
            } => Purpose::Carry {
                pair: self.pair.clone(),
                external: *external,
                bidi: *bidi,
                pace: *pace,
                resume,
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
            told: None,
            manner: Manner::Excused,
        })
    }

    /// The same server again, the others behind it.
    fn connect_first(&mut self, target: Target, mut rest: Vec<Target>) -> Option<Vec<Target>> {
        rest.insert(0, target);
        self.connect(rest)
    }

    pub(super) fn connect(&mut self, mut targets: Vec<Target>) -> Option<Vec<Target>> {
        if targets.is_empty() {
            targets = std::mem::take(&mut self.aside);
        }
        if targets.is_empty() {
            return None;
        }
        self.state = State::Connecting;
        Some(targets)
    }

    /// The last one to fail explains best: it was waited for. Where we kept ourselves from dialling one for the time
    /// being, nothing is known of the domain; where none may ever be dialled, it has no server.
    fn note_unreached(&mut self, failed: &[Unreached]) {
        let last = |fault| failed.iter().rfind(|unreached| unreached.fault == fault);
        let step = if last(Fault::Local).is_some() {
            Step::Busy
        } else if last(Fault::Peer).is_some() || self.failure.is_some() {
            Step::Connect
        } else {
            Step::NotFound
        };
        let told = last(Fault::Local)
            .or(last(Fault::Peer))
            .or(last(Fault::Policy));
        if let Some(unreached) = told {
            self.note(step, unreached.text.clone());
        }
    }

    fn fail(&mut self, step: Step, text: String) {
        self.state = State::Exhausted;
        self.note(step, text);
    }

    /// The first conclusive reason stays: what follows on the same stream is its consequence.
    pub(super) fn note(&mut self, step: Step, text: String) {
        let keep = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.step == Step::Invalid);
        if !keep {
            self.failure = Some(Failure {
                step,
                text,
                told: None,
                manner: Manner::HungUp,
            });
        }
    }
}

impl Manner {
    fn of(error: &StreamError) -> Self {
        match (error.fault, error.words, error.condition) {
            (Fault::Peer, TheirWords::None, StreamCondition::ConnectionTimeout) => Self::FellSilent,
            (Fault::Peer, TheirWords::None, _) => Self::HungUp,
            (Fault::Policy | Fault::Local, _, _) => Self::Excused,
            (Fault::Peer, TheirWords::Said, condition) => Self::of_words(condition),
        }
    }

    fn of_words(condition: StreamCondition) -> Self {
        match condition {
            StreamCondition::BadFormat
            | StreamCondition::BadNamespacePrefix
            | StreamCondition::InvalidNamespace
            | StreamCondition::InvalidXml
            | StreamCondition::NotAuthorized
            | StreamCondition::NotWellFormed
            | StreamCondition::RestrictedXml
            | StreamCondition::UndefinedCondition
            | StreamCondition::UnsupportedFeature
            | StreamCondition::UnsupportedStanzaType => Self::HungUp,
            StreamCondition::ConnectionTimeout => Self::FellSilent,
            StreamCondition::Conflict
            | StreamCondition::HostGone
            | StreamCondition::HostUnknown
            | StreamCondition::ImproperAddressing
            | StreamCondition::InternalServerError
            | StreamCondition::InvalidFrom
            | StreamCondition::PolicyViolation
            | StreamCondition::RemoteConnectionFailed
            | StreamCondition::Reset
            | StreamCondition::ResourceConstraint
            | StreamCondition::SeeOtherHost
            | StreamCondition::SystemShutdown
            | StreamCondition::UnsupportedEncoding
            | StreamCondition::UnsupportedVersion => Self::Excused,
        }
    }
}

/// Takes a topic out of a list; says whether it was there.
fn takes_out(topics: &mut Vec<Topic>, topic: Topic) -> bool {
    let position = topics.iter().position(|one| *one == topic);
    position.map(|at| topics.swap_remove(at)).is_some()
}

impl Failure {
    /// Whether nobody of ours would fare better: nothing had been said yet about who we are.
    pub(super) fn is_remote_wide(&self) -> bool {
        match self.step {
            Step::NotFound
            | Step::Discovery
            | Step::Connect
            | Step::Stream(Cause::Tls)
            | Step::Busy => true,
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

    /// Whether the domain itself could not be reached, and would not be a moment later either, whoever of ours asks. What
    /// came after a connection may be about the pair.
    pub(super) fn is_lasting(&self) -> bool {
        match self.step {
            Step::NotFound
            | Step::Discovery
            | Step::Connect
            // It took longer than there is time.
            | Step::Local => true,
            Step::Stream(_) | Step::Invalid | Step::Busy => false,
        }
    }

    /// Why stanzas cannot be delivered because of this (ROUTE-13, DB-12, DB-14).
    pub(super) fn reason(&self) -> Reason {
        if let Some(reason) = self.told.and_then(told::reason) {
            return reason;
        }
        match self.step {
            Step::NotFound => Reason::NoServer,
            Step::Discovery => Reason::LookUpFailed,
            Step::Connect => Reason::NotConnected,
            Step::Stream(Cause::Tls) => Reason::TlsFailed,
            Step::Stream(Cause::Identity) => Reason::NotProven,
            Step::Stream(Cause::Sasl | Cause::Dialback) => Reason::NotBelieved,
            Step::Stream(Cause::Stream | Cause::Restart | Cause::Established | Cause::Idle) => {
                Reason::StreamFailed
            }
            //= DB-12
            Step::Invalid => Reason::KeyInvalid,
            Step::Local => Reason::TooSlow,
            Step::Busy => Reason::TooBusy,
        }
    }

    /// The error for a peer whose key could not be checked because of this (DB-38).
    pub(super) fn dialback_condition(&self) -> StanzaCondition {
        //= DB-38
        match self.step {
            Step::NotFound | Step::Discovery => StanzaCondition::RemoteServerNotFound,
            Step::Connect => StanzaCondition::RemoteConnectionFailed,
            Step::Busy => StanzaCondition::ResourceConstraint,
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
