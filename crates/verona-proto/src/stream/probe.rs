//! A ping of the stream's own (XEP-0199): a peer that takes what we send and does nothing with it is noticed.
//!
//! TCP tells of a machine that is gone, and not of a program that hangs. Where the peer acknowledges (XEP-0198) that is
//! found out as well, and nothing is asked here; nor where the answer would come on another connection, which says
//! nothing about this one.

use std::time::{Duration, Instant};

use super::StreamError;
use super::context::Context;
use super::error::Cause;
use super::management::Management;
use crate::addr::{Domain, DomainPair, Jid};
use crate::ns;
use crate::stanza::condition::StreamCondition;
use crate::stanza::{Stanza, StanzaClass, StanzaKind};

/// What is known of a peer.
#[derive(Debug, Default)]
pub(super) struct Probe {
    state: State,
    since: Option<Since>,
}

/// Since when the peer is to be heard.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    /// How often it had said something by then.
    reads: u64,
}

#[derive(Debug, Default)]
enum State {
    /// It was not asked.
    #[default]
    Unasked,
    /// It was asked; boxed, for nearly none is.
    Asked(Box<Question>),
}

#[derive(Debug)]
struct Question {
    id: String,
    ours: Domain,
    theirs: Domain,
}

/// What a probe wants when its time has come.
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// The peer is to be asked.
    Ask,
    /// The peer did not answer.
    Gone,
}

impl Probe {
    /// A stanza was sent.
    pub(super) fn sent(&mut self, context: &Context, now: Instant) {
        if self.waits(context).is_none() {
            self.state = State::Unasked;
            self.wait(context, now);
        }
    }

    pub(super) fn deadline(&self, context: &Context) -> Option<Instant> {
        let since = self.waits(context).filter(|_| may_ask(context))?;
        Some(match &self.state {
            State::Unasked => since.at + ASK_AFTER,
            State::Asked(_) => since.at + ANSWER_WITHIN,
        })
    }

    pub(super) fn due(&self, context: &Context, now: Instant) -> Due {
        match (&self.state, self.deadline(context)) {
            (State::Unasked, Some(at)) if at <= now => Due::Ask,
            (State::Asked(_), Some(at)) if at <= now => Due::Gone,
            (State::Unasked | State::Asked(_), _) => Due::Nothing,
        }
    }

    /// Asks on behalf of a pair that may use the stream both ways; without one there is nobody to ask.
    pub(super) fn ask(&mut self, pair: Option<&DomainPair>, context: &mut Context, now: Instant) {
        let Some(pair) = pair else {
            self.since = None;
            return;
        };
        let (ours, theirs) = (pair.local().domain(), pair.remote().domain());
        let id = context.ids.next();
        //= STREAM-53
        //= BIDI-63
        let ping = Stanza::build(
            StanzaKind::Iq,
            &Jid::from(ours.clone()),
            &Jid::from(theirs.clone()),
            Some("get"),
            Some(&id),
            &format!("<ping xmlns='{}'/>", ns::PING),
        );
        context.transmit.extend_from_slice(ping.bytes());
        context.last_written = now;
        self.state = State::Asked(Box::new(Question {
            id,
            ours: ours.clone(),
            theirs: theirs.clone(),
        }));
        self.wait(context, now);
    }

    /// Whether the stanza is the answer; then nobody else gets it. Any answer will do: an error is a sign of life too.
    pub(super) fn is_answer(&self, stanza: &Stanza) -> bool {
        let State::Asked(asked) = &self.state else {
            return false;
        };
        let answers = match stanza.class() {
            StanzaClass::Answer | StanzaClass::Error => stanza.kind() == StanzaKind::Iq,
            StanzaClass::Request | StanzaClass::Other => false,
        };
        answers
            && *stanza.from() == asked.theirs
            && *stanza.to() == asked.ours
            && stanza.id().as_deref() == Some(&asked.id)
    }

    fn wait(&mut self, context: &Context, now: Instant) {
        self.since = Some(Since {
            at: now,
            reads: context.reads,
        });
    }

    /// Since when nothing was heard that should have been.
    fn waits(&self, context: &Context) -> Option<Since> {
        self.since.filter(|since| since.reads == context.reads)
    }
}

/// Whether a ping would be counted by nobody, and is not held back by anything.
fn may_ask(context: &Context) -> bool {
    match &context.management {
        Management::Off
        | Management::Offered {
            held_until: None, ..
        } => true,
        Management::Offered { .. }
        | Management::Wanted { .. }
        | Management::Enabling { .. }
        | Management::Resuming { .. }
        | Management::Claimed { .. }
        | Management::Active(_) => false,
    }
}

/// The peer took what we sent, and did not answer.
pub(super) fn gone() -> StreamError {
    //= STREAM-53
    StreamError::peer(
        StreamCondition::ConnectionTimeout,
        "the peer takes what is sent and answers nothing",
    )
    .at(Cause::Established)
}

/// With an answer to most that is sent, a peer is asked seldom; with the time for the answer a dead one is noticed within
/// 40 s of the first stanza that it does not hear.
const ASK_AFTER: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
