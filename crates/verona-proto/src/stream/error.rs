//! How a stream fails: the condition on the wire, whose fault it is, at which step, and a sentence.
//!
//! The sentence is for the operator's log and the doctor; the peer gets the condition and a short text.

use std::fmt;

use crate::stanza::condition::StreamCondition;

/// The end of a stream, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// What the peer is told, or told us (RFC 6120 §4.9.3).
    pub condition: StreamCondition,
    /// Whose fault it is.
    pub fault: Fault,
    /// At which step it happened.
    pub cause: Cause,
    /// What happened, as a sentence without its subject's address.
    pub text: String,
    /// What is written to the peer.
    pub wire: Wire,
    /// The application-specific condition that goes with it: name and namespace (RFC 6120 §4.9.4).
    pub application: Option<(&'static str, &'static str)>,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The peer broke a rule, or went away.
    Peer,
    /// Nobody did anything wrong, but our policy forbids it.
    Policy,
    /// We asked for the end.
    Local,
}

/// At which step a stream failed: decides what is worth trying next, and what to tell the sender of a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Header, features, XML: the stream itself.
    Stream,
    /// STARTTLS or the handshake.
    Tls,
    /// Between `<success/>` and the features behind it (BIDI-77).
    Restart,
    /// The peer refused SASL EXTERNAL, or the connection ended right after `<auth/>` (P12).
    Sasl,
    /// A dialback key was refused or not answered.
    Dialback,
    /// The peer's identity does not satisfy our policy (TLS-23).
    Identity,
    /// It worked for a while.
    Established,
    /// It was closed in good order because nobody used it.
    Idle,
}

/// What is written to the peer when a stream fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// `<stream:error/>` and the closing tag.
    Error,
    /// The closing tag alone.
    Close,
    /// Nothing: the connection just ends (TLS-09).
    Nothing,
}

impl StreamError {
    /// The peer broke a rule.
    #[must_use]
    pub fn peer(condition: StreamCondition, text: impl Into<String>) -> Self {
        Self {
            condition,
            fault: Fault::Peer,
            cause: Cause::Stream,
            text: text.into(),
            wire: Wire::Error,
            application: None,
        }
    }

    /// Our policy forbids it.
    #[must_use]
    pub fn policy(condition: StreamCondition, text: impl Into<String>) -> Self {
        Self {
            fault: Fault::Policy,
            ..Self::peer(condition, text)
        }
    }

    /// We end the stream (shutdown, a change of configuration).
    #[must_use]
    pub fn local(condition: StreamCondition, text: impl Into<String>) -> Self {
        Self {
            fault: Fault::Local,
            ..Self::peer(condition, text)
        }
    }

    /// The same error, at another step.
    #[must_use]
    pub fn at(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// The same error, told the peer by a closing tag alone.
    #[must_use]
    pub fn quietly(self) -> Self {
        Self {
            wire: Wire::Close,
            ..self
        }
    }

    /// The same error, of which the peer is told nothing.
    pub(super) fn silently(self) -> Self {
        Self {
            wire: Wire::Nothing,
            ..self
        }
    }

    pub(super) fn from_xml(error: &verona_xml::Error) -> Self {
        //= STREAM-35
        //= STREAM-36
        //= STREAM-37
        //= ERR-02
        let (condition, application) = StreamCondition::of_xml(error);
        Self {
            application,
            ..Self::peer(condition, error.to_string())
        }
    }

    /// Bytes in the clear behind the STARTTLS switch (TLS-07): whoever sent them gets no answer at all.
    pub(super) fn injected() -> Self {
        Self {
            condition: StreamCondition::PolicyViolation,
            fault: Fault::Peer,
            cause: Cause::Tls,
            text: "unprotected bytes behind the STARTTLS switch".into(),
            wire: Wire::Nothing,
            application: None,
        }
    }

    /// The TLS handshake failed; only the driver knows why.
    #[must_use]
    pub fn tls(text: impl Into<String>) -> Self {
        Self {
            condition: StreamCondition::UndefinedCondition,
            fault: Fault::Peer,
            cause: Cause::Tls,
            text: text.into(),
            wire: Wire::Nothing,
            application: None,
        }
    }

    /// The peer stopped taking what we write; only the driver sees that (LIM-12).
    #[must_use]
    pub fn stalled(after: std::time::Duration) -> Self {
        Self {
            condition: StreamCondition::ConnectionTimeout,
            fault: Fault::Peer,
            cause: Cause::Established,
            text: format!(
                "the peer took nothing of what was written for {} s",
                after.as_secs()
            ),
            wire: Wire::Nothing,
            application: None,
        }
    }

    pub(super) fn received(condition: StreamCondition, text: Option<String>, cause: Cause) -> Self {
        let text = match text {
            Some(text) => format!(
                "the peer ended the stream with {}: {}",
                condition.name(),
                quoted(&text)
            ),
            None => format!("the peer ended the stream with {}", condition.name()),
        };
        Self {
            condition,
            fault: Fault::Peer,
            cause,
            text,
            wire: Wire::Close,
            application: None,
        }
    }

    pub(super) fn cut(cause: Cause) -> Self {
        Self {
            condition: StreamCondition::UndefinedCondition,
            fault: Fault::Peer,
            cause,
            text: format!("the connection ended {}", cause.moment()),
            wire: Wire::Nothing,
            application: None,
        }
    }

    pub(super) fn closed_by_peer(cause: Cause) -> Self {
        Self {
            condition: StreamCondition::UndefinedCondition,
            fault: Fault::Peer,
            cause,
            text: format!("the peer closed the stream {}", cause.moment()),
            wire: Wire::Close,
            application: None,
        }
    }

    pub(super) fn timeout(cause: Cause) -> Self {
        Self {
            condition: StreamCondition::ConnectionTimeout,
            fault: Fault::Peer,
            cause,
            text: format!("the peer took too long {}", cause.moment()),
            wire: Wire::Error,
            application: None,
        }
    }
}

impl Cause {
    fn moment(self) -> &'static str {
        match self {
            Self::Stream => "during the stream negotiation",
            Self::Tls => "during STARTTLS",
            Self::Restart => "while the stream began anew behind SASL EXTERNAL",
            Self::Sasl => "during SASL EXTERNAL",
            Self::Dialback => "during dialback",
            Self::Identity => "while its identity was being checked",
            Self::Established => "without closing the stream",
            Self::Idle => "while nobody used it",
        }
    }
}

/// A peer's words, fit for a log line and for an error text: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WORDS_MAX)
        .collect();
    if text.chars().nth(WORDS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// How many characters of a peer's words are shown.
const WORDS_MAX: usize = 200;

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StreamError {}
