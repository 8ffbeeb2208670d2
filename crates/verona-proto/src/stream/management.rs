//! Stream management (XEP-0198): what the peer has handled, what we have, and how a lost stream is taken up again.
//!
//! Both directions are counted on the one stream that the initiating entity enables (SM-10). What a peer has not
//! acknowledged when the connection is lost is known exactly after a resumption: the two sides tell each other how far
//! they came, and what did not arrive flows again as anything else does. Only servers that announce it resume
//! ([`ns::RESUMPTION`]); others get acknowledgements alone (SM-13).

mod element;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use verona_xml::{Element, Head, Scope};

use super::context::{Context, PeerResumes};
use super::error::Cause;
use super::{Event, Output, Role, StreamError};
use crate::addr::DomainPair;
use crate::carriage::Custody;
use crate::limits::{Limit, seconds};
use crate::ns;
use crate::policy::ManagementPolicy;
use crate::stanza::condition::StreamCondition;
use element::Nonza;

/// A stream that can be taken up on another stream, as whoever asks knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Names the stream.
    pub id: String,
    /// How many of the peer's stanzas we have handled, modulo 2³².
    pub handled: u32,
    /// How many of ours it had acknowledged.
    pub acknowledged: u32,
    /// How many of ours it was sent.
    pub sent: u32,
}

impl Ticket {
    /// Of what was in flight, how many stanzas a peer has handled that counts `h`; `None` if it cannot have counted so far.
    #[must_use]
    pub fn newly_handled(&self, h: u32) -> Option<u32> {
        let newly = h.wrapping_sub(self.acknowledged);
        (newly <= self.sent.wrapping_sub(self.acknowledged)).then_some(newly)
    }
}

/// What is left of a stream that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The stream.
    pub ticket: Ticket,
    /// The pair that the stream was opened for.
    pub pair: DomainPair,
    /// Who opened the stream.
    pub role: Role,
    /// When a stanza went over it last.
    pub used: Instant,
    /// How the peer's side of it ended.
    pub their_side: TheirSide,
}

/// How the peer's side of a stream ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TheirSide {
    /// It was cut off: there may be more that it sent.
    #[default]
    Cut,
    /// It closed it, and all that it sent has been read (RFC 6120 §4.4).
    Closed,
}

/// What the peer's features say of stream management.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Offered {
    /// Nothing.
    #[default]
    No,
    /// It acknowledges.
    Acknowledgements,
    /// It acknowledges, and takes up lost streams.
    Resumption,
}

impl Offered {
    /// What is offered under a policy, or made of what a peer offers.
    pub(super) fn under(self, policy: ManagementPolicy) -> Self {
        match (self, policy) {
            (_, ManagementPolicy::Off) | (Self::No, _) => Self::No,
            (Self::Acknowledgements | Self::Resumption, ManagementPolicy::Acknowledgements) => {
                Self::Acknowledgements
            }
            (offered, ManagementPolicy::Auto) => offered,
        }
    }
}

/// Where a stream stands with stream management.
#[derive(Debug, Default)]
pub(super) enum Management {
    /// Nobody speaks of it.
    #[default]
    Off,
    /// We opened the stream, and ask for it as soon as we may send (SM-02).
    Wanted {
        offered: Offered,
        /// The lost streams to ask for before.
        lost: VecDeque<Ticket>,
    },
    /// The peer opened the stream, and may ask for it.
    Offered {
        offered: Offered,
        /// It said that it will: what we send before is held, for it would not be counted.
        held_until: Option<Instant>,
        /// How many lost streams it has asked for on this one.
        claims: u32,
        /// Names the stream, if its opener may have enabled it under that name though we have not heard so.
        id: Option<String>,
        /// What was sent so far.
        early: Early,
    },
    /// `<enable/>` is out: what we send is counted.
    Enabling {
        sent: Sent,
        /// Names the stream, if it can be taken up should it be lost before the answer is here.
        id: Option<String>,
        until: Instant,
    },
    /// `<resume/>` is out; nothing is sent before the answer.
    Resuming {
        ticket: Ticket,
        rest: VecDeque<Ticket>,
        offered: Offered,
        until: Instant,
    },
    /// The peer wants to take up a stream; the federation looks for it.
    Claimed {
        id: String,
        claims: u32,
        offered: Offered,
        until: Instant,
        /// Under which name this stream is known, if it is.
        told: Option<String>,
        /// What was sent so far.
        early: Early,
    },
    /// Both directions are counted.
    Active(Active),
}

/// What is sent to a peer that may ask for acknowledgements yet: no count of its will cover that, but whatever it answers
/// behind it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Early {
    /// The peer is not expected to ask, or nothing that was sent before waits for its answer.
    #[default]
    Settled,
    /// So much may be on its way.
    Expected {
        stanzas: u64,
        bytes: usize,
        until: Instant,
        /// How often something had been read of the peer when the first of it was sent.
        reads: u64,
    },
}

impl Early {
    fn is_on_its_way(self) -> bool {
        match self {
            Self::Settled | Self::Expected { stanzas: 0, .. } => false,
            Self::Expected { .. } => true,
        }
    }

    fn until(self) -> Option<Instant> {
        match self {
            Self::Settled => None,
            Self::Expected { until, .. } => Some(until),
        }
    }
}

/// Both counters, and what is to be said of them.
#[derive(Debug)]
pub(super) struct Active {
    /// Names the stream, if it can be taken up.
    id: Option<String>,
    /// What was sent before; the next acknowledgement settles it.
    early: Early,
    sent: Sent,
    /// Stanzas received since the beginning (SM-05).
    received: u32,
    /// What we said last of them.
    reported: u32,
    question: Question,
}

/// What the peer asked of our counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Nothing that is not answered.
    Answered,
    /// It wants to know. Written at once the answer would go out before the stanzas that it is about, which are for others
    /// to write: so it goes with the next stanza to the peer, or alone when this time has come.
    Asked { until: Instant },
    /// It wants to know, and hears it at once.
    Due,
    /// It was told less than it had sent, because not all of it was handled yet: it hears again when that is so.
    Owed { received: u32 },
}

impl Question {
    /// When the answer is due, if it waits.
    fn until(self) -> Option<Instant> {
        match self {
            Self::Asked { until } => Some(until),
            Self::Answered | Self::Due | Self::Owed { .. } => None,
        }
    }

    /// The answer waits no longer.
    fn hasten(&mut self) {
        match self {
            Self::Asked { .. } => *self = Self::Due,
            Self::Answered | Self::Due | Self::Owed { .. } => {}
        }
    }
}

/// What we sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Stanzas sent since the beginning (SM-05).
    count: u32,
    /// Of them acknowledged.
    acknowledged: u32,
    /// Stanzas since the last `<r/>`.
    unasked: u32,
    /// When the first of them was sent, or the last `<r/>` if that is later.
    since: Option<Instant>,
    /// What the peer was asked about last and has not said yet.
    awaited: Option<Awaited>,
    /// The last time from a question to its answer.
    round_trip: Option<Duration>,
}

/// A question that is not answered.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    /// What was sent when it was asked.
    count: u32,
    /// When it was asked.
    asked: Instant,
    /// When the peer has had its time: counted from the first question that is not answered.
    until: Instant,
}

impl Sent {
    fn unacknowledged(&self) -> u32 {
        self.count.wrapping_sub(self.acknowledged)
    }

    /// When the peer is asked, if nothing else comes before.
    fn ask_at(&self) -> Option<Instant> {
        let at = self.since? + ASK_INTERVAL;
        (self.unasked > 0).then_some(at)
    }
}

impl Management {
    /// What becomes of a stanza that is being sent now.
    pub(super) fn custody(&self) -> Custody {
        match self {
            Self::Enabling { .. } | Self::Active(_) => Custody::Acknowledged,
            Self::Offered {
                early: Early::Expected { .. },
                ..
            } => Custody::Answered,
            Self::Off
            | Self::Wanted { .. }
            | Self::Offered {
                early: Early::Settled,
                ..
            }
            | Self::Resuming { .. }
            | Self::Claimed { .. } => Custody::Written,
        }
    }

    /// Whether stanzas may be sent now.
    pub(super) fn may_send(&self, unacknowledged_max: u64) -> bool {
        match self {
            Self::Off | Self::Wanted { .. } => true,
            Self::Offered { held_until, .. } => held_until.is_none(),
            //= SM-18
            Self::Enabling { sent, .. } | Self::Active(Active { sent, .. }) => {
                u64::from(sent.unacknowledged()) < unacknowledged_max.max(1)
            }
            Self::Resuming { .. } | Self::Claimed { .. } => false,
        }
    }

    /// Whether everything that was sent is acknowledged, as far as that can be known, and no stream is just being taken up.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Resuming { .. } | Self::Claimed { .. } => false,
            Self::Active(Active { early, sent, .. }) => {
                sent.unacknowledged() == 0 && !early.is_on_its_way()
            }
            Self::Off | Self::Wanted { .. } | Self::Offered { .. } | Self::Enabling { .. } => {
                self.unacknowledged() == 0
            }
        }
    }

    pub(super) fn unacknowledged(&self) -> u32 {
        self.sent().map_or(0, Sent::unacknowledged)
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.sent()?.round_trip
    }

    /// What is left of the stream.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Active(Active {
                id: Some(id),
                sent,
                received,
                ..
            }) => Some(Ticket {
                id: id.clone(),
                handled: *received,
                acknowledged: sent.acknowledged,
                sent: sent.count,
            }),
            // It has enabled nothing that we heard of, so nothing was counted.
            Self::Offered { id: Some(id), .. } => Some(Ticket {
                id: id.clone(),
                handled: 0,
                acknowledged: 0,
                sent: 0,
            }),
            // Whether the peer knows it by then is its to say.
            Self::Enabling {
                id: Some(id), sent, ..
            } => Some(Ticket {
                id: id.clone(),
                handled: 0,
                acknowledged: sent.acknowledged,
                sent: sent.count,
            }),
            // What was to be taken up still can be, where it is kept.
            Self::Active(_)
            | Self::Off
            | Self::Wanted { .. }
            | Self::Offered { .. }
            | Self::Enabling { .. }
            | Self::Resuming { .. }
            | Self::Claimed { .. } => None,
        }
    }

    /// Stanzas of the peer's that were counted, modulo 2³²; none before both directions are.
    pub(super) fn counted(&self) -> u32 {
        match self {
            Self::Active(active) => active.received,
            Self::Off
            | Self::Wanted { .. }
            | Self::Offered { .. }
            | Self::Enabling { .. }
            | Self::Resuming { .. }
            | Self::Claimed { .. } => 0,
        }
    }

    /// A stanza of the peer's was received.
    pub(super) fn received(&mut self) {
        //= SM-05
        //= SM-06
        //= SM-08
        //= SM-10
        //= BIDI-64
        match self {
            Self::Active(active) => {
                active.received = active.received.wrapping_add(1);
                if active.received.wrapping_sub(active.reported) >= ANSWER_STANZAS {
                    active.question.hasten();
                }
            }
            // It asks for nothing first, so it need not be waited for.
            Self::Offered { held_until, id, .. } => {
                *held_until = None;
                *id = None;
            }
            Self::Off
            | Self::Wanted { .. }
            | Self::Enabling { .. }
            | Self::Resuming { .. }
            | Self::Claimed { .. } => {}
        }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Off | Self::Wanted { .. } => None,
            Self::Offered {
                held_until, early, ..
            } => held_until.iter().copied().chain(early.until()).min(),
            Self::Resuming { until, .. }
            | Self::Claimed { until, .. }
            | Self::Enabling { until, .. } => Some(*until),
            Self::Active(Active { sent, question, .. }) => {
                let answer = sent.awaited.map(|awaited| awaited.until);
                [sent.ask_at(), answer, question.until()]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    fn sent(&self) -> Option<&Sent> {
        match self {
            Self::Enabling { sent, .. } | Self::Active(Active { sent, .. }) => Some(sent),
            Self::Off
            | Self::Wanted { .. }
            | Self::Offered { .. }
            | Self::Resuming { .. }
            | Self::Claimed { .. } => None,
        }
    }

    fn sent_mut(&mut self) -> Option<&mut Sent> {
        match self {
            Self::Enabling { sent, .. } | Self::Active(Active { sent, .. }) => Some(sent),
            Self::Off
            | Self::Wanted { .. }
            | Self::Offered { .. }
            | Self::Resuming { .. }
            | Self::Claimed { .. } => None,
        }
    }
}

impl Context {
    /// The first pair is authorised. A peer that said that it takes streams up enables at once, under a name that both sides
    /// know: what we send before would not be counted, and from here on counts how long it may take.
    pub(super) fn expect_management(&mut self, now: Instant) {
        let limits = &self.policy.limits;
        let until = now + seconds(limits.close_seconds);
        let expected = Early::Expected {
            stanzas: 0,
            bytes: 0,
            reads: self.reads,
            until: now + seconds(limits.acknowledgement_seconds),
        };
        let name = self.stream_id.clone();
        match (&mut self.management, self.peer_resumes) {
            (Management::Offered { early, .. }, PeerResumes::Unknown) => *early = expected,
            (
                Management::Offered {
                    offered,
                    held_until,
                    id,
                    ..
                },
                PeerResumes::Announced,
            ) => {
                *held_until = Some(until);
                *id = name.filter(|_| *offered == Offered::Resumption);
                let id = id.clone();
                if let (Some(pair), Some(_)) = (self.principal.clone(), &id) {
                    self.event(Event::Managed { pair, id });
                }
            }
            (
                Management::Off
                | Management::Wanted { .. }
                | Management::Enabling { .. }
                | Management::Resuming { .. }
                | Management::Claimed { .. }
                | Management::Active(_),
                PeerResumes::Announced | PeerResumes::Unknown,
            ) => {}
        }
    }

    /// We may send now: asks for acknowledgements, or for what is left of an earlier stream.
    pub(super) fn begin_management(&mut self, now: Instant) {
        //= SM-02
        if let Management::Wanted { offered, lost } = &mut self.management {
            let (offered, lost) = (*offered, std::mem::take(lost));
            self.ask_for_management(offered, lost, now);
        }
    }

    /// Asks for the next of the lost streams; for acknowledgements when there is none left.
    fn ask_for_management(&mut self, offered: Offered, mut lost: VecDeque<Ticket>, now: Instant) {
        // Who takes up nothing any more will never say.
        if offered != Offered::Resumption {
            for Ticket { id, .. } in lost.drain(..) {
                self.event(Event::Resumed { id, h: None });
            }
        }
        self.management = match (offered, lost.pop_front()) {
            (Offered::No, _) => Management::Off,
            (Offered::Resumption, Some(ticket)) => {
                self.write(|out| element::write_resume(out, &ticket.id, ticket.handled));
                Management::Resuming {
                    ticket,
                    rest: lost,
                    offered,
                    until: now + seconds(self.policy.limits.acknowledgement_seconds),
                }
            }
            (Offered::Acknowledgements | Offered::Resumption, _) => {
                let resume = offered == Offered::Resumption;
                self.write(|out| element::write_enable(out, resume));
                // A verona names a stream by the id of its header: so it has a name before the answer is here, and
                // what is sent meanwhile can be asked for.
                let id = self.stream_id.clone().filter(|_| resume);
                if let (Some(pair), Some(id)) = (self.principal.clone(), &id) {
                    let id = Some(id.clone());
                    self.event(Event::Managed { pair, id });
                }
                Management::Enabling {
                    sent: Sent::default(),
                    id,
                    until: now + seconds(self.policy.limits.acknowledgement_seconds),
                }
            }
        };
        self.last_written = now;
    }

    /// A stanza was written.
    pub(super) fn count_sent(&mut self, length: usize, now: Instant) {
        let max = self.policy.limits.unacknowledged_stanzas_max;
        if let Management::Offered {
            early:
                Early::Expected {
                    stanzas,
                    bytes,
                    reads,
                    ..
                },
            ..
        } = &mut self.management
        {
            if *stanzas == 0 {
                *reads = self.reads;
            }
            *stanzas += 1;
            *bytes = bytes.saturating_add(length);
            // So much to a peer that has not asked: it must not fill the queue of one that never will.
            if *stanzas >= max || *bytes >= EARLY_BYTES_MAX {
                self.expect_no_management();
            }
            return;
        }
        self.hasten_answer();
        let Some(sent) = self.management.sent_mut() else {
            return;
        };
        //= SM-05
        //= SM-08
        sent.count = sent.count.wrapping_add(1);
        sent.unasked = sent.unasked.saturating_add(1);
        // An interval begins with its first stanza.
        if sent.unasked == 1 && sent.since.is_none_or(|at| at + ASK_INTERVAL < now) {
            sent.since = Some(now);
        }
        //= SM-16
        // Or when no more may be sent before the answer.
        let is_full = u64::from(sent.unacknowledged()) >= max;
        let is_due = sent.unasked >= ASK_STANZAS || is_full;
        if is_full {
            self.reached(Limit::UnacknowledgedStanzasMax);
        }
        if is_due {
            self.ask(now);
        }
    }

    /// The peer said a stanza. That says nothing of whether it will ask for acknowledgements: Prosody sends what waits
    /// before it does.
    pub(super) fn received(&mut self) {
        self.management.received();
    }

    /// The peer waits for an answer, and nothing else will be said to it.
    pub(super) fn hasten_answer(&mut self) {
        if let Management::Active(Active { question, .. }) = &mut self.management {
            question.hasten();
        }
    }

    /// Whether something that was sent may not have reached the peer.
    pub(super) fn may_be_on_its_way(&self) -> bool {
        match self.management.sent() {
            Some(sent) => sent.unacknowledged() > 0,
            None => self.stanzas_out > 0,
        }
    }

    /// The peer is not expected to ask for acknowledgements any more: what was written is delivered. If it asks all the
    /// same, it is counted from there on.
    pub(super) fn expect_no_management(&mut self) {
        if let Management::Offered { early, .. } = &mut self.management
            && std::mem::take(early).is_on_its_way()
        {
            self.outputs.push_back(Output::Unmanaged);
        }
    }

    /// There is nothing more to send for now: the peer is asked, unless it was a moment ago.
    pub(super) fn drained(&mut self, now: Instant) {
        //= SM-16
        let due = |sent: &Sent| {
            let rests = sent.awaited.is_none() && sent.unasked > 0;
            rests.then_some(())
        };
        if self.management.sent().and_then(due).is_some() {
            self.ask(now);
        }
    }

    /// Asks how far the peer has come.
    pub(super) fn ask(&mut self, now: Instant) {
        let until = now + seconds(self.policy.limits.acknowledgement_seconds);
        let Management::Active(Active { sent, .. }) = &mut self.management else {
            return;
        };
        sent.unasked = 0;
        sent.since = Some(now);
        // The first question that is not answered decides when the peer has had its time.
        let until = sent.awaited.map_or(until, |awaited| awaited.until);
        sent.awaited = Some(Awaited {
            count: sent.count,
            asked: now,
            until,
        });
        self.write(element::write_request);
        self.last_written = now;
    }

    /// Writes what is owed, as late as possible: it tells what is handled by now.
    pub(super) fn acknowledge(&mut self, last: bool) {
        let unhandled = self.unhandled;
        let Management::Active(active) = &mut self.management else {
            return;
        };
        // What was said stays said, and what came before the counting does not count.
        let unhandled = unhandled.min(active.received.wrapping_sub(active.reported));
        //= SM-11
        let handled = active.received.wrapping_sub(unhandled);
        //= SM-07
        let next = match active.question {
            Question::Asked { .. } if !last => return,
            Question::Asked { .. } | Question::Due if unhandled == 0 => Question::Answered,
            Question::Asked { .. } | Question::Due => Question::Owed {
                received: active.received,
            },
            Question::Owed { received } if handled.wrapping_sub(received) < HALF => {
                Question::Answered
            }
            //= SM-15
            Question::Answered | Question::Owed { .. } if last && active.reported != handled => {
                Question::Answered
            }
            Question::Answered | Question::Owed { .. } => return,
        };
        active.question = next;
        active.reported = handled;
        self.write(|out| element::write_acknowledgement(out, handled));
    }

    /// An element of stream management before anything is authorised: a request is refused, the rest ignored.
    pub(super) fn on_early_management(&mut self, element: &Element) -> Result<(), StreamError> {
        match Nonza::read(element) {
            //= SM-02
            //= SM-03
            Some(Nonza::Enable { .. } | Nonza::Resume { .. }) => {
                self.write(|out| element::write_failed(out, element::UNEXPECTED, None));
            }
            Some(
                Nonza::Enabled { .. }
                | Nonza::Resumed { .. }
                | Nonza::Failed { .. }
                | Nonza::Request
                | Nonza::Acknowledgement { .. },
            )
            | None => {}
        }
        self.irregular("stream management before anything was authorised")
    }

    /// An element of stream management on an open stream.
    pub(super) fn on_management(
        &mut self,
        element: &Element,
        authorized: Authorized,
        now: Instant,
    ) -> Result<(), StreamError> {
        match Nonza::read(element) {
            Some(Nonza::Request) => self.on_question(now),
            Some(Nonza::Acknowledgement { h }) => self.on_acknowledgement(h, now),
            Some(Nonza::Enable { resume, announced }) => {
                let resumes = announced || self.peer_resumes == PeerResumes::Announced;
                self.on_enable(resume && resumes, authorized, now)
            }
            Some(Nonza::Resume { id, h }) => self.on_resume(id, h, authorized, now),
            Some(Nonza::Enabled { id }) => self.on_enabled(id, now),
            Some(Nonza::Resumed { h }) => self.on_resumed(h, now),
            Some(Nonza::Failed { h }) => self.on_failed(h, now),
            None => self.irregular("an unknown or spoilt element of stream management"),
        }
    }

    /// An element of stream management when our side has ended: what it says of our stanzas is true all the same, and
    /// the stanzas behind it are counted from where it says. Nothing is answered any more.
    pub(super) fn hear_management(
        &mut self,
        element: &Element,
        now: Instant,
    ) -> Result<(), StreamError> {
        match (Nonza::read(element), &mut self.management) {
            //= SM-15
            (Some(Nonza::Acknowledgement { h }), _) => self.on_acknowledgement(h, now),
            (Some(Nonza::Resumed { h }), Management::Resuming { offered, rest, .. }) => {
                // Nothing more is asked for here.
                rest.clear();
                *offered = Offered::No;
                self.on_resumed(h, now)
            }
            (Some(Nonza::Enabled { id }), Management::Enabling { sent, .. }) => {
                // No question goes out.
                sent.unasked = 0;
                self.on_enabled(id, now)
            }
            (
                Some(
                    Nonza::Enabled { .. }
                    | Nonza::Request
                    | Nonza::Enable { .. }
                    | Nonza::Resume { .. }
                    | Nonza::Resumed { .. }
                    | Nonza::Failed { .. },
                )
                | None,
                _,
            ) => Ok(()),
        }
    }

    pub(super) fn on_question(&mut self, now: Instant) -> Result<(), StreamError> {
        match &mut self.management {
            Management::Active(active) => {
                // Whoever has heard it already asks whether we live, and one that waits for much may send no more.
                let untold = active.received.wrapping_sub(active.reported);
                let waits = (1..ANSWER_STANZAS).contains(&untold);
                active.question = match active.question {
                    Question::Asked { until } if waits => Question::Asked { until },
                    Question::Answered | Question::Owed { .. } if waits => Question::Asked {
                        until: now + ANSWER_WITHIN,
                    },
                    Question::Answered
                    | Question::Owed { .. }
                    | Question::Asked { .. }
                    | Question::Due => Question::Due,
                };
                Ok(())
            }
            Management::Off
            | Management::Wanted { .. }
            | Management::Offered { .. }
            | Management::Enabling { .. }
            | Management::Resuming { .. }
            | Management::Claimed { .. } => {
                self.irregular("a question about acknowledgements that were not agreed on")
            }
        }
    }

    fn on_acknowledgement(&mut self, h: Option<u32>, now: Instant) -> Result<(), StreamError> {
        let until = now + seconds(self.policy.limits.acknowledgement_seconds);
        let Management::Active(Active { sent, early, .. }) = &mut self.management else {
            return self.irregular("an acknowledgement that was not agreed on");
        };
        let Some(h) = h else {
            return self.irregular("an acknowledgement without a count");
        };
        //= SM-08
        //= SM-09
        let newly = h.wrapping_sub(sent.acknowledged);
        if newly > sent.unacknowledged() {
            // An old count is no harm: it was overtaken.
            if newly >= HALF {
                return self.irregular("an acknowledgement of less than before");
            }
            let (count, h) = (sent.count, h);
            return Err(StreamError::handled_too_many(h, count));
        }
        if std::mem::take(early).is_on_its_way() {
            self.outputs.push_back(Output::Answered);
        }
        sent.acknowledged = h;
        if let Some(awaited) = sent.awaited {
            let is_answered = h.wrapping_sub(awaited.count) < HALF;
            sent.awaited = match (is_answered, newly > 0) {
                (true, _) => None,
                // It gets on, and has more to answer.
                (false, true) => Some(Awaited {
                    until: awaited.until.max(until),
                    ..awaited
                }),
                (false, false) => Some(awaited),
            };
            if is_answered {
                sent.round_trip = Some(now.saturating_duration_since(awaited.asked));
            }
        }
        if newly > 0 {
            self.outputs.push_back(Output::Acknowledged(newly));
        }
        Ok(())
    }

    fn on_enable(
        &mut self,
        resume: bool,
        authorized: Authorized,
        now: Instant,
    ) -> Result<(), StreamError> {
        let (offered, told, early) = match (&self.management, authorized) {
            (
                Management::Offered {
                    offered, id, early, ..
                },
                Authorized::Yes,
            ) => (*offered, id.clone(), *early),
            //= SM-02
            //= SM-03
            (Management::Offered { .. }, Authorized::No) => {
                self.write(|out| element::write_failed(out, element::UNEXPECTED, None));
                return self.irregular("stream management before anything was authorised");
            }
            //= SM-04
            (Management::Active(_) | Management::Claimed { .. }, _) => {
                return Err(StreamError::peer(
                    StreamCondition::PolicyViolation,
                    "stream management was asked for twice",
                )
                .at(Cause::Established));
            }
            (
                Management::Off
                | Management::Wanted { .. }
                | Management::Enabling { .. }
                | Management::Resuming { .. },
                _,
            ) => {
                self.write(|out| element::write_failed(out, element::UNEXPECTED, None));
                return self.irregular("stream management that was not offered");
            }
        };
        //= SM-13
        let id = match resume && offered == Offered::Resumption {
            true => self.stream_id.clone(),
            false => None,
        };
        let max = self.policy.limits.resume_seconds;
        self.write(|out| element::write_enabled(out, id.as_deref(), max));
        let is_told = told.is_some() && told == id;
        self.managed(id, early, Sent::default());
        if !is_told {
            self.tell_managed();
        }
        // Whatever it answers, it has read what came before the question.
        if early.is_on_its_way() {
            self.ask(now);
        }
        Ok(())
    }

    fn on_resume(
        &mut self,
        id: String,
        h: Option<u32>,
        authorized: Authorized,
        now: Instant,
    ) -> Result<(), StreamError> {
        let (offered, claims, told, early, h) = match (&self.management, authorized, h) {
            (
                Management::Offered {
                    offered,
                    claims,
                    id: told,
                    early,
                    ..
                },
                Authorized::Yes,
                Some(h),
            ) if *claims < CLAIMS_MAX => (*offered, *claims, told.clone(), *early, h),
            //= SM-14
            (
                Management::Off
                | Management::Wanted { .. }
                | Management::Offered { .. }
                | Management::Enabling { .. }
                | Management::Resuming { .. }
                | Management::Claimed { .. }
                | Management::Active(_),
                _,
                _,
            ) => {
                self.write(|out| element::write_failed(out, element::UNEXPECTED, None));
                return self.irregular("a stream cannot be taken up here");
            }
        };
        if offered != Offered::Resumption {
            self.write(|out| element::write_failed(out, element::UNIMPLEMENTED, None));
            return self.irregular("a stream cannot be taken up where that was not offered");
        }
        self.management = Management::Claimed {
            id: id.clone(),
            claims: claims + 1,
            offered,
            until: now + seconds(self.policy.limits.acknowledgement_seconds),
            told,
            early,
        };
        self.event(Event::ResumeRequested { id, h });
        Ok(())
    }

    /// The federation has found the stream that the peer wants to take up, or not.
    pub(super) fn on_claim_settled(&mut self, found: Option<Ticket>, now: Instant) {
        let (id, offered, claims, told, early) = match &self.management {
            Management::Claimed {
                id,
                offered,
                claims,
                told,
                early,
                ..
            } => (id.clone(), *offered, *claims, told.clone(), *early),
            Management::Off
            | Management::Wanted { .. }
            | Management::Offered { .. }
            | Management::Enabling { .. }
            | Management::Resuming { .. }
            | Management::Active(_) => return,
        };
        match found {
            Some(ticket) => self.write(|out| element::write_resumed(out, &id, ticket.handled)),
            //= SM-14
            None => self.write(|out| element::write_failed(out, element::NOT_FOUND, None)),
        }
        // The next thing that it does is to ask for another one, or to enable: it may have when it heard this.
        let name = self.stream_id.clone();
        if let (Some(pair), true) = (self.principal.clone(), told != name) {
            let id = name.clone();
            self.event(Event::Managed { pair, id });
        }
        self.management = Management::Offered {
            offered,
            held_until: Some(now + seconds(self.policy.limits.close_seconds)),
            claims,
            id: name,
            early,
        };
    }

    fn on_enabled(&mut self, id: Option<String>, now: Instant) -> Result<(), StreamError> {
        match std::mem::take(&mut self.management) {
            Management::Enabling {
                sent, id: wanted, ..
            } => {
                let asks = sent.unasked > 0;
                //= SM-13
                // A name that was not asked for is of no use: whoever gives it does not take streams up as we do.
                let id = id.filter(|_| wanted.is_some());
                let told = id.is_some() && id == wanted;
                self.managed(id, Early::Settled, sent);
                if !told {
                    self.tell_managed();
                }
                if asks {
                    self.ask(now);
                }
                Ok(())
            }
            unchanged @ (Management::Off
            | Management::Wanted { .. }
            | Management::Offered { .. }
            | Management::Resuming { .. }
            | Management::Claimed { .. }
            | Management::Active(_)) => {
                self.management = unchanged;
                self.irregular("an answer to <enable/> that was not asked for")
            }
        }
    }

    fn on_resumed(&mut self, h: Option<u32>, now: Instant) -> Result<(), StreamError> {
        match std::mem::take(&mut self.management) {
            Management::Resuming {
                ticket,
                rest,
                offered,
                ..
            } => {
                let Some(h) = h else {
                    return Err(StreamError::peer(
                        StreamCondition::BadFormat,
                        "the peer takes up a stream and does not say how far it had come",
                    )
                    .at(Cause::Established));
                };
                //= SM-09
                if ticket.newly_handled(h).is_none() {
                    return Err(StreamError::handled_too_many(h, ticket.sent));
                }
                self.event(Event::Resumed {
                    id: ticket.id,
                    h: Some(h),
                });
                self.ask_for_management(offered, rest, now);
                Ok(())
            }
            unchanged @ (Management::Off
            | Management::Wanted { .. }
            | Management::Offered { .. }
            | Management::Enabling { .. }
            | Management::Claimed { .. }
            | Management::Active(_)) => {
                self.management = unchanged;
                self.irregular("an answer to <resume/> that was not asked for")
            }
        }
    }

    fn on_failed(&mut self, h: Option<u32>, now: Instant) -> Result<(), StreamError> {
        match std::mem::take(&mut self.management) {
            Management::Enabling { .. } => {
                self.outputs.push_back(Output::Unmanaged);
                Ok(())
            }
            Management::Resuming {
                ticket,
                rest,
                offered,
                ..
            } => {
                let h = h.filter(|h| ticket.newly_handled(*h).is_some());
                self.event(Event::Resumed { id: ticket.id, h });
                self.ask_for_management(offered, rest, now);
                Ok(())
            }
            unchanged @ (Management::Off
            | Management::Wanted { .. }
            | Management::Offered { .. }
            | Management::Claimed { .. }
            | Management::Active(_)) => {
                self.management = unchanged;
                self.irregular("a refusal of stream management that was not asked for")
            }
        }
    }

    fn tell_managed(&mut self) {
        if let (Some(pair), Management::Active(active)) = (self.principal.clone(), &self.management)
        {
            let id = active.id.clone();
            self.event(Event::Managed { pair, id });
        }
    }

    fn managed(&mut self, id: Option<String>, early: Early, sent: Sent) {
        self.management = Management::Active(Active {
            id,
            early,
            sent,
            received: 0,
            reported: 0,
            question: Question::Answered,
        });
    }

    /// Time passes.
    pub(super) fn tick_management(&mut self, now: Instant) -> Result<(), StreamError> {
        match &mut self.management {
            Management::Off | Management::Wanted { .. } => Ok(()),
            // What waits here would be lost without a trace, were it sent uncounted to a peer that is gone.
            Management::Offered {
                held_until: Some(at),
                ..
            } if *at <= now => {
                self.reached(Limit::CloseSeconds);
                Err(StreamError::peer(
                    StreamCondition::ConnectionTimeout,
                    "the peer said that it would ask for acknowledgements, and did not",
                )
                .at(Cause::Established))
            }
            Management::Offered {
                early: Early::Expected { until, reads, .. },
                ..
            } if *until <= now => {
                match *reads == self.reads {
                    // Nothing came since, so it may be slow: what it has not read is not delivered. If it is gone, the
                    // stream does not live long (STREAM-53).
                    true => *until = now + seconds(self.policy.limits.acknowledgement_seconds),
                    false => self.expect_no_management(),
                }
                Ok(())
            }
            Management::Offered { .. } => Ok(()),
            Management::Claimed { until, .. } if *until <= now => {
                self.reached(Limit::AcknowledgementSeconds);
                self.on_claim_settled(None, now);
                Ok(())
            }
            Management::Resuming { until, .. } | Management::Enabling { until, .. }
                if *until <= now =>
            {
                self.reached(Limit::AcknowledgementSeconds);
                Err(unanswered())
            }
            Management::Claimed { .. }
            | Management::Resuming { .. }
            | Management::Enabling { .. } => Ok(()),
            Management::Active(Active { sent, question, .. }) => {
                //= SM-07
                if question.until().is_some_and(|at| at <= now) {
                    question.hasten();
                }
                //= SM-17
                if sent.awaited.is_some_and(|awaited| awaited.until <= now) {
                    self.reached(Limit::AcknowledgementSeconds);
                    return Err(unanswered());
                }
                if sent.ask_at().is_some_and(|at| at <= now) {
                    self.ask(now);
                }
                Ok(())
            }
        }
    }
}

/// Whether anything is authorised on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authorized {
    Yes,
    No,
}

/// Whether an element belongs to stream management; others of its versions are unknown here (SM-20).
pub(super) fn is_management(element: &Element) -> bool {
    //= SM-20
    element.namespace() == ns::MANAGEMENT
}

/// Whether an element asks how far we came: of that nothing but its name matters.
pub(super) fn is_question(head: &Head, element: &[u8], scope: &Scope) -> bool {
    //= SM-20
    head.local(element) == element::REQUEST && head.namespace(element, scope) == ns::MANAGEMENT
}

/// What a child of `<stream:features/>` offers.
pub(super) fn read_offer(feature: &Element) -> Option<Offered> {
    //= SM-20
    match (feature.name(), feature.namespace()) {
        ("sm", ns::MANAGEMENT) => Some(Offered::Acknowledgements),
        ("resumption", ns::RESUMPTION) => Some(Offered::Resumption),
        (_, _) => None,
    }
}

pub(super) use element::{write_offer, write_resumption};

/// The peer did not say in time what it has handled.
fn unanswered() -> StreamError {
    StreamError::peer(
        StreamCondition::ConnectionTimeout,
        "the peer did not say in time what has arrived",
    )
    .at(Cause::Established)
}

/// A peer that lost so many streams lately asks for no more on one; whoever guesses at names gets no more guesses.
const CLAIMS_MAX: u32 = 8;
/// A count is behind another one if the difference, modulo 2³², is in the upper half (SM-08).
const HALF: u32 = 1 << 31;
/// What waits for an answer of a peer that has not asked for acknowledgements is far less than a queue may hold.
const EARLY_BYTES_MAX: usize = 256 * 1024;
/// The peer is asked after so many stanzas …
const ASK_STANZAS: u32 = 50;
/// … and after this time.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// The peer hears what is handled within this time of its question …
const ANSWER_WITHIN: Duration = Duration::from_millis(1);
/// … or at once when it has not heard of so many stanzas.
const ANSWER_STANZAS: u32 = 16;
