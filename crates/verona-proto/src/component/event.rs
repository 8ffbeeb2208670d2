//! What goes into a component's link and what comes out of it.
//!
//! All three are closed enums, so that a driver that forgets a case does not compile.

use std::fmt;
use std::sync::Arc;

use super::ComponentDomains;
use crate::addr::{Hosts, LocalDomain};
use crate::limits::Limits;
use crate::stanza::{Admitted, StanzaCondition, StreamCondition};

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum ComponentInput<'a> {
    /// The component sent these bytes.
    Bytes(&'a [u8]),
    /// The answer to a [`ComponentOutput::Claim`]: the domain is the component's.
    Accepted,
    /// The other answer: another component serves the domain.
    Conflict,
    /// The link is to end, for this reason.
    Close(StreamCondition),
    /// The configuration changed.
    Reload(&'a Settings),
    /// The deadline has come.
    Tick,
    /// The connection has ended.
    Eof,
}

/// What a link follows: as the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domains that components serve, with their secrets.
    pub domains: ComponentDomains,
    /// Our domains.
    pub hosts: Arc<Hosts>,
    /// The bounds in force.
    pub limits: Limits,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentOutput {
    /// The handshake was right: answer with [`ComponentInput::Accepted`] or [`ComponentInput::Conflict`]. An answer
    /// that comes too late is ignored, so undo what it stood for when [`ComponentOutput::Close`] comes.
    Claim(LocalDomain),
    /// Route it: a stanza of the component, or an error for the component itself.
    Deliver(Admitted),
    /// Tell the operator.
    Event(ComponentEvent),
    /// Write what is left, then close the connection. The last output.
    Close,
}

/// What the operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentEvent {
    /// A component serves the domain from now on.
    Attached {
        /// The component's domain.
        domain: LocalDomain,
    },
    /// A connection did not become a component's.
    Refused {
        /// The domain, if it got that far.
        domain: Option<LocalDomain>,
        /// What it was told.
        condition: StreamCondition,
        /// Why.
        text: String,
    },
    /// The link has ended.
    Closed {
        /// The domain, if there was one.
        domain: Option<LocalDomain>,
        /// How.
        end: LinkEnd,
    },
    /// A stanza of the component was answered with an error, or dropped if it must not be answered.
    Rejected {
        /// The component's domain.
        domain: LocalDomain,
        /// What was wrong with it.
        condition: StanzaCondition,
    },
    /// Something of the component was ignored.
    Ignored {
        /// The component's domain.
        domain: LocalDomain,
        /// What it was.
        what: &'static str,
    },
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// The component closed its stream.
    Closed,
    /// The component reported an error.
    Error {
        /// Which.
        condition: StreamCondition,
        /// Its words, if any.
        text: Option<String>,
    },
    /// The component broke a rule of the stream.
    Failed {
        /// What it was told.
        condition: StreamCondition,
        /// Why.
        text: String,
    },
    /// We ended it.
    ByUs {
        /// What the component was told.
        condition: StreamCondition,
    },
    /// The connection ended without a word.
    Eof,
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the component closed its stream"),
            Self::Error { condition, text } => {
                write!(f, "the component reported {condition}")?;
                match text {
                    Some(text) => write!(f, ": {text}"),
                    None => Ok(()),
                }
            }
            Self::Failed { condition, text } => write!(f, "{text} ({condition})"),
            Self::ByUs { condition } => write!(f, "we closed it ({condition})"),
            Self::Eof => f.write_str("the connection ended without </stream:stream>"),
        }
    }
}
