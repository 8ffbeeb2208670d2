//! What becomes of stanzas when the connection that wrote them is lost.
//!
//! What certainly did not arrive waits again, in front. Of the rest nobody knows: the operator chose what is worse, an
//! error for something that arrived or a second copy of it (SM-12).

use std::time::Instant;

use super::{Command, Federation};
use crate::carriage::Left;
use crate::outbox::Fate;
use crate::policy::OnUncertain;
use crate::stanza::{Reason, Stanza, StanzaKind, Undelivered};

impl Federation {
    /// Takes back a queue that a stream gave up, and finds another way for what is in it.
    pub(super) fn take_back(&mut self, left: Left, now: Instant) {
        let Left {
            pair,
            mut drain,
            uncertain,
        } = left;
        let policy = self.policy.for_peer(pair.remote().domain()).on_uncertain;
        //= BIDI-60
        //= SM-12
        let returned = drain.settle(uncertain, |stanza, _| fate(policy, stanza));
        if !returned.is_empty() {
            let why = Undelivered::new(Reason::Lost, pair.remote(), "");
            self.commands.push_back(Command::Bounce {
                stanzas: returned,
                why,
            });
        }
        // An idle pair is forgotten; its next stanza makes a new queue.
        if let Err(drain) = drain.close_if_empty() {
            self.serve(pair, drain, now);
        }
    }
}

/// What becomes of a stanza of which nobody knows whether it arrived.
fn fate(policy: OnUncertain, stanza: &Stanza) -> Fate {
    match (policy, stanza.kind()) {
        // An IQ may have had its effect: it is never sent twice.
        (OnUncertain::Bounce, _) | (OnUncertain::Resend, StanzaKind::Iq) => Fate::Return,
        (OnUncertain::Resend, StanzaKind::Message | StanzaKind::Presence) => {
            Fate::Resend(stanza.clone())
        }
    }
}
