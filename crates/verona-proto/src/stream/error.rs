//! How a stream fails: the condition on the wire, whose fault it is, at which step, and a sentence.
//!
//! The sentence is for the operator's log and the doctor; the peer gets the condition and a short text.

use std::fmt;

use verona_xml::Element;

use crate::stanza::condition::{Application, StreamCondition, read_other_host, read_stream_error};

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
    /// The application-specific condition that goes with it (RFC 6120 §4.9.4).
    pub application: Option<Application>,
    /// Where the peer sends us, with the condition `see-other-host`: its own words, which may be any (STREAM-51).
    pub other_host: Option<String>,
    /// Whether the condition is the peer's own word.
    pub words: TheirWords,
}

/// Whether a peer told us of the end by a `<stream:error/>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TheirWords {
    /// It did.
    Said,
    /// It did not: the condition is ours.
    None,
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
            other_host: None,
            words: TheirWords::None,
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
            application: application.map(|(name, namespace)| Application::Named(name, namespace)),
            ..Self::peer(condition, error.to_string())
        }
    }

    /// The peer acknowledged more than it was sent (XEP-0198 §6).
    pub(super) fn handled_too_many(h: u32, sent: u32) -> Self {
        //= SM-09
        Self {
            application: Some(Application::HandledCountTooHigh { h, sent }),
            ..Self::peer(
                StreamCondition::UndefinedCondition,
                format!("the peer acknowledged {h} stanzas, but only {sent} were sent"),
            )
            .at(Cause::Established)
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
            other_host: None,
            words: TheirWords::None,
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
            other_host: None,
            words: TheirWords::None,
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
            other_host: None,
            words: TheirWords::None,
        }
    }

    /// The peer has lost the connection, and takes the stream up again on another one; only the federation sees that.
    pub(super) fn superseded() -> Self {
        Self {
            condition: StreamCondition::UndefinedCondition,
            // Nobody's, and nothing is to be learned from it.
            fault: Fault::Local,
            cause: Cause::Established,
            text: "the peer takes the stream up again on another connection".into(),
            wire: Wire::Nothing,
            application: None,
            other_host: None,
            words: TheirWords::None,
        }
    }

    /// What a `<stream:error/>` of the peer's says.
    pub(super) fn received(error: &Element, cause: Cause) -> Self {
        let (condition, text) = read_stream_error(error);
        //= STREAM-51
        let other_host = (condition == StreamCondition::SeeOtherHost)
            .then(|| read_other_host(error))
            .flatten();
        let mut said = format!("the peer ended the stream with {}", condition.name());
        if let Some(host) = &other_host {
            said.push_str(&format!(" {}", quoted(host)));
        }
        if let Some(text) = text {
            said.push_str(&format!(": {}", quoted(&text)));
        }
        Self {
            condition,
            fault: Fault::Peer,
            cause,
            text: said,
            wire: Wire::Close,
            application: None,
            other_host,
            words: TheirWords::Said,
        }
    }

    /// Whether the peer says that what we sent on an open stream was wrong: a bug of ours, or a peer that lost count of
    /// what it had granted (ERR-08).
    #[must_use]
    pub fn blames_us(&self, stanzas_sent: u64) -> bool {
        //= ERR-08
        let blames = matches!(
            self.condition,
            StreamCondition::NotAuthorized
                | StreamCondition::InvalidFrom
                | StreamCondition::ImproperAddressing
                | StreamCondition::NotWellFormed
                | StreamCondition::InvalidXml
                | StreamCondition::RestrictedXml
                | StreamCondition::BadFormat
                | StreamCondition::UnsupportedStanzaType
        );
        self.words == TheirWords::Said
            && self.cause == Cause::Established
            && blames
            && stanzas_sent > 0
    }

    pub(super) fn cut(cause: Cause) -> Self {
        Self {
            condition: StreamCondition::UndefinedCondition,
            fault: Fault::Peer,
            cause,
            text: format!("the connection ended {}", cause.moment()),
            wire: Wire::Nothing,
            application: None,
            other_host: None,
            words: TheirWords::None,
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
            other_host: None,
            words: TheirWords::None,
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
            other_host: None,
            words: TheirWords::None,
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
