//! What a stream wants done, and what it tells.

use super::{Cause, Granted, Role, StreamError};
use crate::addr::{Direction, Domain, DomainPair};
use crate::certificate::CertificateName;
use crate::dialback::{Answer, Verdict};
use crate::grounds::{Assurance, Identity};
use crate::stanza::Admitted;
use crate::trust::Unproven;

/// What a stream wants done.
#[derive(Debug)]
pub enum Output {
    /// Write what there is to transmit, then do the TLS handshake, then [`super::Input::Secured`]. Bytes that the
    /// peer sent before must not reach the TLS layer as XML (TLS-07).
    StartTls {
        /// Who shakes hands as the TLS client: the initiating entity.
        role: Role,
        /// The domain that the peer asked for, to choose a certificate where SNI says nothing (TLS-14).
        local: Option<Domain>,
    },
    /// Find out what DNS and the web say of the peer's certificate for this domain, then [`super::Input::Attested`],
    /// within `attestation_seconds`, whatever comes of it. Until then the stream understands nothing.
    Attest(Domain),
    /// Route this stanza.
    Deliver(Admitted),
    /// Tell the federation and the operator.
    Event(Event),
    /// So many of the stanzas that were sent, the oldest ones, have been handled by the peer (XEP-0198).
    Acknowledged(u32),
    /// What was sent before the peer asked for acknowledgements has reached it ([`crate::carriage::Custody::Answered`]).
    Answered,
    /// The peer acknowledges nothing, although it seemed that it would: what was sent is delivered when it is written.
    Unmanaged,
    /// Write what there is to transmit, then end the connection.
    Close,
    /// The same, but wait for the peer to end it: it ended the stream while something was on its way to it, and has read
    /// that when it ends the connection (RFC 6120 §4.4), if it ends in good order. Until then what goes out on another
    /// connection could overtake what went out here. `close_seconds` is long enough.
    CloseLast,
}

/// What happened on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The header of the protected stream is known: who is there.
    Identified(Peer),
    /// Both sides may send (XEP-0288).
    Bidirectional,
    /// The peer announced that it copes with many pairs and reverse requests (house rule: only veronas do).
    Multiplexes,
    /// The server that we dialled announced that what we say need not wait for its answers (XEP-0305).
    Pipelines,
    /// The peer offers bidi under the namespace of the request, and only there (BIDI-04).
    OldBidiNamespace,
    /// SASL EXTERNAL was refused; dialback follows on the same stream (SASL-20).
    SaslFailed {
        /// The condition, and the peer's text if any.
        text: String,
    },
    /// A key arrived that the authoritative server must check, on another connection (BIDI-24, BIDI-25).
    KeyReceived(KeyCheck),
    /// We answered a check of one of our own keys (DB-32).
    Vouched {
        /// Who asked.
        receiving: Domain,
        /// For which of our domains.
        originating: Domain,
        /// Whether the key was ours.
        valid: bool,
    },
    /// A direction of a pair is authorised.
    Granted(Granted),
    /// Both sides acknowledge from now on, or will when the peer agrees (XEP-0198).
    Managed {
        /// The pair that the stream was opened for.
        pair: DomainPair,
        /// Names the stream, if it can be taken up again.
        id: Option<String>,
    },
    /// The peer takes up a lost stream: the answer is [`super::Command::Resume`].
    ResumeRequested {
        /// Which stream.
        id: String,
        /// How many of our stanzas it has handled.
        h: u32,
    },
    /// The peer answered when we wanted to take up a lost stream.
    Resumed {
        /// Which stream.
        id: String,
        /// How many of our stanzas it has handled; `None` if it does not know the stream any more.
        h: Option<u32>,
    },
    /// A direction of a pair is not authorised any more, though the stream goes on: our domain of it is not hosted any
    /// more. For a while the pair still carries answers (BIDI-79).
    Revoked {
        /// The pair.
        pair: DomainPair,
        /// Which way it flowed.
        direction: Direction,
    },
    /// That while is over: nothing can be sent for the pair on this stream.
    Departed {
        /// The pair.
        pair: DomainPair,
    },
    /// The peer refused a request of ours.
    Refused {
        /// The pair.
        pair: DomainPair,
        /// How.
        answer: Answer,
    },
    /// The peer did not answer a request of ours in time.
    Unanswered {
        /// The pair.
        pair: DomainPair,
    },
    /// We refused a request of the peer's.
    Denied {
        /// From which domain.
        from: Domain,
        /// To which domain.
        to: Domain,
        /// How.
        answer: Answer,
        /// Why, as a sentence.
        text: String,
    },
    /// The authoritative server answered (only on a connection with [`super::Purpose::Verify`]).
    Verified {
        /// Which key.
        check: KeyCheck,
        /// The answer.
        verdict: Verdict,
        /// How sure it is that this is the authoritative server (DB-54).
        assurance: Assurance,
    },
    /// Something that should not have been sent, and was ignored.
    Irregular {
        /// What it was.
        what: &'static str,
    },
    /// The stream is over because of an error, ours or the peer's.
    Failed(StreamError),
    /// The stream is over in good order.
    Closed {
        /// Why.
        cause: Cause,
    },
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Our domain of the stream's header.
    pub local: Domain,
    /// The peer's domain of the stream's header, claimed and not yet proven.
    pub remote: Option<Domain>,
    /// How its certificate proves that domain, or why it does not.
    pub certificate: Result<Identity, Unproven>,
    /// The SHA-256 of its certificate's public key, if it showed one.
    pub public_key: Option<[u8; 32]>,
    /// The names of its certificate, if that is valid: further domains that the peer may speak for.
    pub names: Vec<CertificateName>,
}

/// A dialback key in need of a verdict (XEP-0220 §2.2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyCheck {
    /// Our domain that received it, and the domain that it is about.
    pub pair: DomainPair,
    /// The id of the stream on which it was received.
    pub id: String,
    /// The key.
    pub key: String,
}
