//! What becomes of stanzas when the connection that wrote them is lost.
//!
//! What certainly did not arrive waits again, in front. Of the rest nobody knows: the operator chose what is worse, an
//! error for something that arrived or a second copy of it (SM-12).

use std::time::Instant;

use super::{Command, Federation};
use crate::carriage::Left;
use crate::limits::{Limit, size};
use crate::ns;
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
        let policy = self.policy.for_peer(pair.remote().domain());
        let bytes_max = size(policy.limits.stanza_bytes_max);
        //= BIDI-60
        //= SM-12
        let returned = drain.settle(uncertain, |stanza, since| {
            let again = match (policy.on_uncertain, stanza.kind()) {
                (OnUncertain::Bounce, _) => None,
                // An IQ may have had its effect: it is never sent twice.
                (OnUncertain::Resend, StanzaKind::Iq) => None,
                (OnUncertain::Resend, StanzaKind::Message | StanzaKind::Presence) => {
                    let again = again(stanza, &(self.date)(since, now), bytes_max);
                    if again.is_none() {
                        self.reached.reached(Limit::StanzaBytesMax);
                    }
                    again
                }
            };
            again.map_or(Fate::Return, Fate::Resend)
        });
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

/// The stanza as it is sent for the second time: it says since when it was under way, so that a recipient that has it
/// already can tell. `None` if there is no room for that.
fn again(stanza: &Stanza, date: &str, bytes_max: usize) -> Option<Stanza> {
    let by = stanza.from();
    let says_so = stanza.element().is_ok_and(|root| {
        root.children().any(|child| {
            child.is("delay", ns::DELAY) && child.attribute("from") == Some(by.as_str())
        })
    });
    if says_so {
        return Some(stanza.clone());
    }
    let late = stanza.delayed(by, date, WHY);
    (late.bytes().len() <= bytes_max).then_some(late)
}

/// What the mark says to a person who reads it.
const WHY: &str = "sent again after the connection was lost; may have arrived before";
