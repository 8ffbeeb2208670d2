//! What every phase of a stream shares: configuration, buffers, counters.
//!
//! Phases own their state; this is the rest, so that a transition takes one argument for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use super::announced::Announced;
use super::header::Version;
use super::management::{Management, Offered, TheirSide};
use super::{Event, Output, Role, StreamError};
use crate::addr::{Domain, DomainPair, Hosts};
use crate::certificate::PeerCertificate;
use crate::dialback::{IssuedKeys, PeerStreamIds, Secrets};
use crate::grounds::{Assurance, Identity, Strength};
use crate::learned::{Learned, Outcome, Topic};
use crate::limits::{Limit, LimitCounts, seconds};
use crate::policy::{InForce, Policy, UseLearned};
use crate::stanza::condition::StreamCondition;
use crate::trust::{self, Unproven};

/// What all streams of an engine share; replaced as a whole when the configuration changes.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The domains that we host.
    pub hosts: Arc<Hosts>,
    /// What suffices for whom.
    pub policy: Arc<Policy>,
    /// The secrets of our dialback keys.
    pub secrets: Secrets,
    /// Whether we have a certificate at all, so that STARTTLS can be offered (TLS-02).
    pub tls_available: bool,
    /// Whether the driver can find out what DNS and the web say of a certificate ([`super::Output::Attest`]).
    pub attestations: Attestations,
    /// What streams tell each other across connections.
    pub memory: Memory,
}

/// Whether attestations can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attestations {
    /// There is nobody to ask: PKIX and pins decide.
    #[default]
    Unavailable,
    /// The driver looks them up: on the web, and in DNS as far as it may be believed.
    Available,
    /// The driver looks them up, and validates DNSSEC: what no record names may be one that DANE refuses.
    WithDnssec,
}

/// What an engine remembers beyond one stream; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The dialback keys that we made a short while ago (DB-35).
    pub issued: IssuedKeys,
    /// The ids of the streams that we opened (BIDI-35).
    pub ids: PeerStreamIds,
    /// What experience taught about each peer.
    pub learned: Learned,
    /// How often each limit took effect.
    pub reached: LimitCounts,
}

/// Makes stream ids: at least 128 bits that nobody can guess, never the same twice (STREAM-15).
pub struct StreamIds(Box<dyn FnMut() -> String + Send>);

impl StreamIds {
    /// Ids come from `next`.
    pub fn new(next: impl FnMut() -> String + Send + 'static) -> Self {
        Self(Box::new(next))
    }

    pub(super) fn next(&mut self) -> String {
        (self.0)()
    }
}

impl fmt::Debug for StreamIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamIds(..)")
    }
}

/// The shared part of a stream.
#[derive(Debug)]
pub(super) struct Context {
    /// Who opened the stream.
    pub(super) role: Role,
    pub(super) config: Arc<StreamConfig>,
    /// The configuration that came during the negotiation: it counts when the stream is open.
    pub(super) reload: Option<Arc<StreamConfig>>,
    /// The policy for the peer, as far as we know who it is.
    pub(super) policy: InForce,
    /// How sure the way is that led us to the peer; of no account on a stream that we accepted.
    pub(super) assurance: Assurance,
    pub(super) ids: StreamIds,
    pub(super) transmit: BytesMut,
    pub(super) outputs: VecDeque<Output>,
    /// The language of the peer's header: its stanzas inherit it (STREAM-44).
    pub(super) peer_lang: Option<String>,
    /// The version for the header that answers the peer's (STREAM-25).
    pub(super) version: Version,
    /// What the peer says that it takes (XEP-0478).
    pub(super) peer_limits: Announced,
    pub(super) management: Management,
    /// Of the stanzas that were received, how many have not found their place yet (SM-11).
    pub(super) unhandled: u32,
    /// What ends our side of the stream.
    tail: Tail,
    /// Whether our header of the current stream is written, so that an error knows whether to send it first.
    pub(super) header_sent: bool,
    /// The scanner must begin anew behind the element being handled.
    pub(super) restart: Option<Restart>,
    /// Whether the scanner has the limits of a peer that is authorised; `None` when they are to be set anew.
    pub(super) limits_raised: Option<bool>,
    pub(super) stanzas_in: u64,
    pub(super) stanzas_out: u64,
    pub(super) last_written: Instant,
    /// The pair that the stream was opened for; on one that we accepted, the first that was authorised.
    pub(super) principal: Option<DomainPair>,
    /// The id of the latest response header.
    pub(super) stream_id: Option<String>,
    /// When a stanza was sent or received last.
    pub(super) last_stanza: Instant,
    /// How the peer's side ended, if it has.
    pub(super) their_side: TheirSide,
    /// What the peer said of taking up lost streams.
    pub(super) peer_resumes: PeerResumes,
    /// When the peer sent anything, white space included.
    pub(super) last_read: Instant,
    /// How often it did.
    pub(super) reads: u64,
    irregular: u64,
    unauthorized_elements: u64,
    /// Dialback questions that the peer may still ask at once, and since when it may ask more (LIM-16).
    questions: u64,
    questions_since: Instant,
    scratch: String,
}

/// Whether a peer that opened a stream will enable stream management on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerResumes {
    /// It did not say.
    Unknown,
    /// It said so with its request for bidi.
    Announced,
}

/// What ends our side of a stream.
#[derive(Debug)]
enum Tail {
    /// It goes on.
    Open,
    /// This is to be written, behind the last acknowledgement.
    Pending(String),
    /// It has ended.
    Written,
}

/// Where the stream starts anew on the same connection (RFC 6120 §4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    /// Behind the element being handled.
    Now,
    /// With the header that comes: what the peer sent behind `<auth/>` unasked is of the old stream (BIDI-15).
    AtHeader,
}

impl Context {
    pub(super) fn new(
        role: Role,
        config: Arc<StreamConfig>,
        ids: StreamIds,
        policy: InForce,
        now: Instant,
    ) -> Self {
        Self {
            role,
            config,
            reload: None,
            policy,
            assurance: Assurance::Dns,
            ids,
            transmit: BytesMut::new(),
            outputs: VecDeque::new(),
            peer_lang: None,
            version: Version::One,
            peer_limits: Announced::default(),
            management: Management::default(),
            unhandled: 0,
            tail: Tail::Open,
            header_sent: false,
            restart: None,
            limits_raised: None,
            stanzas_in: 0,
            stanzas_out: 0,
            last_written: now,
            principal: None,
            stream_id: None,
            last_stanza: now,
            their_side: TheirSide::default(),
            peer_resumes: PeerResumes::Unknown,
            last_read: now,
            reads: 0,
            irregular: 0,
            unauthorized_elements: 0,
            questions: QUESTIONS_AT_ONCE,
            questions_since: now,
            scratch: String::new(),
        }
    }

    /// Appends what `write` produces to what goes to the peer.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut String)) {
        self.scratch.clear();
        write(&mut self.scratch);
        self.transmit.extend_from_slice(self.scratch.as_bytes());
        // What is large is not written again.
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch = String::new();
        }
    }

    /// Ends our side of the stream, behind whatever `write` produces.
    pub(super) fn write_end(&mut self, write: impl FnOnce(&mut String)) {
        let mut end = String::new();
        write(&mut end);
        end.push_str("</stream:stream>");
        self.tail = match std::mem::replace(&mut self.tail, Tail::Written) {
            Tail::Open => Tail::Pending(end),
            tail @ (Tail::Pending(_) | Tail::Written) => tail,
        };
    }

    pub(super) fn write_close(&mut self) {
        self.write_end(|_| {});
    }

    /// Completes what is to be written: what we have handled is told as late as possible, and before the end (SM-15).
    pub(super) fn flush(&mut self) {
        match std::mem::replace(&mut self.tail, Tail::Written) {
            Tail::Open => {
                self.acknowledge(false);
                self.tail = Tail::Open;
            }
            // The last word about it has to be true.
            Tail::Pending(end) if self.unhandled > 0 => self.tail = Tail::Pending(end),
            Tail::Pending(end) => {
                self.acknowledge(true);
                self.transmit.extend_from_slice(end.as_bytes());
            }
            Tail::Written => {}
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The policy for a domain that may differ from the one that the stream began with (BIDI-71).
    pub(super) fn policy_for(&self, domain: &Domain) -> InForce {
        self.config.policy.in_force(domain)
    }

    /// What experience says of a peer, where the operator lets it count.
    pub(super) fn learned(&self, peer: &Domain, topic: Topic, now: Instant) -> Option<Outcome> {
        match self.policy.learned {
            UseLearned::Use => self.config.memory.learned.outcome(peer, topic, now),
            UseLearned::Ignore => None,
        }
    }

    /// How strongly a peer proved itself lately: it may not offer less.
    pub(super) fn before(&self, peer: &Domain, now: Instant) -> Option<Strength> {
        self.config.memory.learned.proven(peer, now)
    }

    /// Whether a certificate proves a domain, under the policy for that domain.
    pub(super) fn certified(
        &self,
        certificate: &PeerCertificate,
        domain: &Domain,
        now: Instant,
    ) -> Result<Identity, Unproven> {
        let policy = self.policy_for(domain);
        trust::certified(certificate, domain, &policy, self.before(domain, now), now)
    }

    /// A limit took effect here.
    pub(super) fn reached(&self, limit: Limit) {
        self.config.memory.reached.reached(limit);
    }

    /// An element that should not have been sent but harms nobody alone (BIDI-41, STREAM-41).
    pub(super) fn irregular(&mut self, what: &'static str) -> Result<(), StreamError> {
        self.irregular = self.irregular.saturating_add(1);
        self.event(Event::Irregular { what });
        if self.irregular > self.policy.limits.irregular_elements_max {
            self.reached(Limit::IrregularElementsMax);
            return Err(StreamError::peer(
                StreamCondition::PolicyViolation,
                "too many unsolicited or unknown elements",
            ));
        }
        Ok(())
    }

    /// Counts an element of a peer that has nothing authorised yet (LIM-09).
    pub(super) fn count_unauthorized(&mut self) -> Result<(), StreamError> {
        self.unauthorized_elements = self.unauthorized_elements.saturating_add(1);
        if self.unauthorized_elements > self.policy.limits.negotiation_elements_max {
            self.reached(Limit::NegotiationElementsMax);
            return Err(StreamError::peer(
                StreamCondition::PolicyViolation,
                "too many elements before anything was authorised",
            ));
        }
        Ok(())
    }

    /// Counts a dialback question of the peer's: answering costs us more than asking costs the peer (LIM-16, DB-52).
    pub(super) fn count_question(&mut self, now: Instant) -> Result<(), StreamError> {
        //= LIM-16
        //= DB-52
        let seconds = now
            .saturating_duration_since(self.questions_since)
            .as_secs();
        if seconds > 0 {
            let more = seconds.saturating_mul(QUESTIONS_PER_SECOND);
            self.questions = self.questions.saturating_add(more).min(QUESTIONS_AT_ONCE);
            self.questions_since = now;
        }
        self.questions = self.questions.checked_sub(1).ok_or_else(|| {
            StreamError::peer(
                StreamCondition::PolicyViolation,
                "too many dialback elements in too short a time",
            )
        })?;
        Ok(())
    }

    /// What we offer of stream management.
    pub(super) fn management_offered(&self) -> Offered {
        Offered::Resumption.under(self.policy.management)
    }

    pub(super) fn negotiation_deadline(&self, now: Instant) -> Instant {
        now + seconds(self.policy.limits.negotiation_seconds)
    }
}

/// Room for an acknowledgement, which is written again and again.
const SCRATCH_KEPT: usize = 128;
/// Dialback questions that a peer may ask at once: a peer of 256 domains proves them all in a burst.
const QUESTIONS_AT_ONCE: u64 = 512;
/// Dialback questions that a peer may ask in the long run.
const QUESTIONS_PER_SECOND: u64 = 4;
