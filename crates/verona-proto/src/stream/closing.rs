//! Our close, theirs, and the wait between (RFC 6120 §4.4).

use std::time::Instant;

use verona_xml::Element;

use super::context::Context;
use super::management::is_management;
use super::open::Open;
use super::{Event, Granted, Output, Phase, StreamError, Wire, header};
use crate::addr::DomainPair;
use crate::dialback::Verdict;
use crate::limits::seconds;
use crate::stanza::condition::stream_error;
use crate::stanza::{BadStanza, Stanza};

/// We have closed; the peer has not.
#[derive(Debug)]
pub(super) struct Closing {
    /// What the peer may still send (BIDI-57); `None` after an error, when it may send nothing any more.
    open: Option<Box<Open>>,
    deadline: Instant,
}

impl Closing {
    pub(super) fn listening(open: Open, context: &Context, now: Instant) -> Self {
        Self {
            open: Some(Box::new(open)),
            deadline: now + seconds(context.policy.limits.close_seconds),
        }
    }

    //= STREAM-46
    //= BIDI-57
    pub(super) fn on_stanza(
        self,
        stanza: Result<Stanza, BadStanza>,
        context: &mut Context,
        _now: Instant,
    ) -> Result<Phase, StreamError> {
        let Some(open) = &self.open else {
            return Ok(Phase::Closing(self));
        };
        // What is wrong now ends a stream that is ending anyway: it is not delivered, and nothing more is heard.
        match open.receive(stanza, context) {
            Ok(()) => Ok(Phase::Closing(self)),
            Err(error) => {
                context.event(Event::Failed(error));
                Ok(Phase::Closing(Self { open: None, ..self }))
            }
        }
    }

    pub(super) fn on_element(
        self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<Phase, StreamError> {
        if self.is_deaf() || !is_management(element) {
            return Ok(Phase::Closing(self));
        }
        match context.hear_management(element, now) {
            Ok(()) => Ok(Phase::Closing(self)),
            Err(error) => {
                context.event(Event::Failed(error));
                Ok(Phase::Closing(Self { open: None, ..self }))
            }
        }
    }

    /// A verdict that comes now has nobody to be told to (DB-28).
    pub(super) fn on_verdict(self, _pair: &DomainPair, _verdict: Verdict) -> Self {
        self
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.open.is_none()
    }

    pub(super) fn is_bidirectional(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.is_bidirectional())
    }

    pub(super) fn grants(&self) -> Vec<Granted> {
        self.open
            .as_ref()
            .map(|open| open.grants())
            .unwrap_or_default()
    }
}

/// Ends a stream because of an error: both directions and all pairs at once (BIDI-59).
pub(super) fn after_error(error: StreamError, context: &mut Context, now: Instant) -> Phase {
    let wire = error.wire;
    match wire {
        Wire::Error => {
            //= STREAM-03
            if !context.header_sent {
                let id = context.ids.next();
                let version = context.version.clone();
                context.write(|out| header::write_response(out, None, None, &id, &version));
                context.header_sent = true;
            }
            let condition = error.condition;
            let text = error.text.clone();
            let application = error.application;
            //= ERR-01
            //= STREAM-49
            context.write_end(|out| stream_error(out, condition, Some(&text), application));
        }
        Wire::Close => {
            if context.header_sent {
                context.write_close();
            }
        }
        Wire::Nothing => {}
    }
    //= BIDI-59
    context.event(Event::Failed(error));
    match wire {
        Wire::Error | Wire::Close => Phase::Closing(Closing {
            open: None,
            deadline: now + seconds(context.policy.limits.close_seconds),
        }),
        Wire::Nothing => {
            context.outputs.push_back(Output::Close);
            Phase::Closed
        }
    }
}
