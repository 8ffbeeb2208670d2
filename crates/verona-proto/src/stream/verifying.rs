//! A connection for dialback keys and nothing else (XEP-0220 §2.1.2).
//!
//! It is always one that we opened after finding the domain in question ourselves; it never asks for bidi, never
//! authenticates, never carries a stanza, and closes when the answers are in (D-08).

use std::collections::BTreeSet;
use std::time::Instant;

use verona_xml::Element;

use super::context::Context;
use super::input::Check;
use super::{Cause, Event, KeyCheck, Phase, StreamError};
use crate::addr::DomainPair;
use crate::dialback::{Dialback, write_verify};
use crate::grounds::Assurance;
use crate::ns;
use crate::stanza::condition::StreamCondition;

/// The questions are out; the answers are to come.
#[derive(Debug)]
pub(super) struct Verifying {
    pair: DomainPair,
    pending: BTreeSet<Check>,
    /// How sure it is that this is the authoritative server.
    assurance: Assurance,
    deadline: Instant,
}

impl Verifying {
    pub(super) fn start(
        pair: DomainPair,
        checks: Vec<Check>,
        assurance: Assurance,
        deadline: Instant,
        context: &mut Context,
    ) -> Self {
        for check in &checks {
            //= DB-22
            //= DB-36
            context.write(|out| {
                write_verify(
                    out,
                    pair.local().domain(),
                    pair.remote().domain(),
                    &check.id,
                    &check.key,
                );
            });
        }
        Self {
            pair,
            pending: checks.into_iter().collect(),
            assurance,
            deadline,
        }
    }

    pub(super) fn on_element(
        mut self,
        element: &Element,
        context: &mut Context,
        _now: Instant,
    ) -> Result<Phase, StreamError> {
        context.count_unauthorized()?;
        if element.namespace() != ns::DIALBACK {
            context.irregular("an unknown element on a connection for dialback keys")?;
            return Ok(Phase::Verifying(self));
        }
        match Dialback::read(element) {
            Ok(Dialback::Verdict {
                from,
                to,
                id,
                verdict,
            }) if from == *self.pair.remote().domain() && to == *self.pair.local().domain() => {
                //= DB-27
                //= BIDI-40
                let Some(check) = self.pending.iter().find(|check| check.id == id).cloned() else {
                    context.irregular("an answer for a key that was not asked about")?;
                    return Ok(Phase::Verifying(self));
                };
                self.pending.remove(&check);
                context.event(Event::Verified {
                    check: KeyCheck {
                        pair: self.pair.clone(),
                        id: check.id,
                        key: check.key,
                    },
                    verdict,
                    assurance: self.assurance,
                });
            }
            Ok(
                Dialback::Request { .. }
                | Dialback::Answer { .. }
                | Dialback::Verify { .. }
                | Dialback::Verdict { .. }
                | Dialback::Irregular(_),
            )
            | Err(_) => context.irregular("an unsolicited dialback element")?,
        }
        match self.pending.is_empty() {
            false => Ok(Phase::Verifying(self)),
            //= DB-25
            true => Err(StreamError::local(
                StreamCondition::UndefinedCondition,
                "all keys are checked",
            )
            .at(Cause::Idle)
            .quietly()),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}
