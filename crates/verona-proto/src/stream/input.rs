//! What can happen to a stream.

use std::sync::Arc;

use super::{StreamConfig, StreamError, Ticket};
use crate::addr::DomainPair;
use crate::certificate::{Attestation, CertificateName, Chain, PeerCertificate};
use crate::dialback::Verdict;
use crate::grounds::Assurance;

/// One thing that happens to a stream.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes arrived from the peer.
    Bytes(&'a [u8]),
    /// The TLS handshake that [`super::Output::StartTls`] asked for succeeded.
    Secured(Secured),
    /// What was found out about the peer's certificate, as [`super::Output::Attest`] asked.
    Attested(Attestation),
    /// The federation wants something.
    Command(Command),
    /// The deadline may have passed.
    Tick,
    /// The connection ended: no more bytes will come.
    Eof,
}

/// What the TLS handshake showed.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The peer's certificate, judged.
    pub certificate: PeerCertificate,
    /// Whether we have a certificate of our own for this connection, so that SASL EXTERNAL is worth trying (SASL-06).
    pub own_certificate: bool,
}

impl Secured {
    /// The names of the peer's certificate, if its chain is valid.
    pub(super) fn valid_names(&self) -> Vec<CertificateName> {
        match &self.certificate.chain {
            Chain::Valid => self.certificate.names.clone(),
            Chain::Absent | Chain::Invalid(_) => Vec::new(),
        }
    }
}

/// What the federation wants of a stream.
#[derive(Debug)]
pub enum Command {
    /// Ask the peer for a further pair (XEP-0220 §2.6, XEP-0288 §2.2).
    Request {
        /// The pair. Whether this peer is the right one to ask, the stream decides by what is proven on it.
        pair: DomainPair,
    },
    /// The authoritative server answered for a key received here.
    Verdict {
        /// Whose key it was.
        pair: DomainPair,
        /// The answer.
        verdict: Verdict,
        /// How sure it is that the authoritative server gave it (DB-54).
        assurance: Assurance,
    },
    /// The stream that the peer wants to take up ([`super::Event::ResumeRequested`]): how far both sides came, where
    /// `acknowledged` is what the peer says; `None` if there is none for it.
    Resume(Option<Ticket>),
    /// The peer has lost this connection: it is over at once, and without a word.
    Abandon,
    /// Another stream carries the same pairs and stays: end this one as soon as nobody uses it (BIDI-53).
    Converge,
    /// The configuration changed: what it forbids ends, what it allows goes on. A stream that is being negotiated follows
    /// the one that it began with, and is looked at when it is open.
    Reload(Arc<StreamConfig>),
    /// End the stream.
    Close(StreamError),
}

/// Why a connection is opened.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To carry stanzas for a pair.
    Carry {
        /// The pair.
        pair: DomainPair,
        /// Whether SASL EXTERNAL may be tried; not after it made the peer hang up (P12).
        external: bool,
        /// Whether bidi may be requested; not after it made the peer hang up (BIDI-69).
        bidi: bool,
        /// Whether the peer's answers are waited for.
        pace: Pace,
        /// The lost streams to take up again.
        resume: Vec<Ticket>,
    },
    /// To have dialback keys checked, and nothing else (D-08).
    Verify {
        /// Our domain that received the keys, and the domain in question.
        pair: DomainPair,
        /// The keys.
        checks: Vec<Check>,
    },
}

/// How a stream that we open is negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// What is asked for waits for the features that offer it.
    #[default]
    Stepwise,
    /// What is sure to come next is sent at once, within what is protected alike: `<starttls/>` with the first header,
    /// then `<bidi/>`, `<auth/>` and the header behind them with the second one (XEP-0305). For a peer that offered all
    /// of it the last time, and said that it copes.
    Ahead,
}

impl Purpose {
    /// The pair of the stream's header.
    #[must_use]
    pub fn pair(&self) -> &DomainPair {
        match self {
            Self::Carry { pair, .. } | Self::Verify { pair, .. } => pair,
        }
    }

    /// Whether the peer's answers are waited for.
    pub(super) fn pace(&self) -> Pace {
        match self {
            Self::Carry { pace, .. } => *pace,
            Self::Verify { .. } => Pace::Stepwise,
        }
    }
}

/// One key to have checked (XEP-0220 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// The id of the stream on which the key was received.
    pub id: String,
    /// The key.
    pub key: String,
}
