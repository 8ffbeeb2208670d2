//! A snapshot of what the engine is doing, for people and their tools (contract §4).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use verona_proto::addr::{Direction, Domain, DomainPair};
use verona_proto::certificate::{Chain, PeerCertificate};
use verona_proto::grounds::Grounds;
use verona_proto::policy::UseLearned;

use crate::learned::LearnedPeer;
use crate::observe::log::hex;

/// One live connection with another server.
#[derive(Clone, Debug)]
pub struct Link {
    /// Names the connection within this process.
    pub id: u64,
    /// Who opened it.
    pub role: LinkRole,
    /// The other end.
    pub peer_address: SocketAddr,
    /// Our end.
    pub local_address: SocketAddr,
    /// How it is protected.
    pub transport: LinkTransport,
    /// Protocol version and cipher suite; `None` while plain.
    pub tls: Option<LinkTls>,
    /// Our domain of the stream's header, once the stream is protected.
    pub local: Option<String>,
    /// The peer's domain of the stream's header: claimed; what is proven stands in the pairs.
    pub remote: Option<String>,
    /// Whether both sides may send on it (XEP-0288).
    pub bidi: bool,
    /// What may flow on it, and why.
    pub pairs: Vec<LinkPair>,
    /// Stanzas read.
    pub stanzas_in: u64,
    /// Stanzas written.
    pub stanzas_out: u64,
    /// Bytes read from the socket.
    pub bytes_in: u64,
    /// Bytes written to the socket.
    pub bytes_out: u64,
    /// The last round trip measured on it, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Stanzas written of which the peer has not said that it has them.
    pub unacknowledged: u64,
    /// When it was opened.
    pub since: SystemTime,
    /// Where its negotiation stands, in a word or two.
    pub state: &'static str,
}

impl Link {
    /// Nothing may flow for the pair in that direction any more.
    pub(crate) fn revoke(&mut self, pair: &DomainPair, direction: Direction) {
        let (local, remote) = (pair.local().to_string(), pair.remote().to_string());
        for one in &mut self.pairs {
            if one.local == local && one.remote == remote {
                match direction {
                    Direction::Outbound => one.send = None,
                    Direction::Inbound => one.receive = None,
                }
            }
        }
        self.pairs
            .retain(|one| one.send.is_some() || one.receive.is_some());
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkRole {
    /// We did.
    Initiating,
    /// The peer did.
    Receiving,
}

impl LinkRole {
    /// As in the documents and metrics of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Initiating => "initiating",
            Self::Receiving => "receiving",
        }
    }
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkTransport {
    /// Not at all.
    Plain,
    /// TLS by STARTTLS.
    StartTls,
    /// TLS from the first byte (XEP-0368).
    Tls,
}

impl LinkTransport {
    /// As in the documents and metrics of the contract.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::StartTls => "starttls",
            Self::Tls => "tls",
        }
    }
}

/// The parameters of a TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTls {
    /// Such as `TLSv1_3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// The certificate that the peer showed.
    pub certificate: Option<LinkCertificate>,
}

/// The certificate that a peer showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCertificate {
    /// The SHA-256 of its public key: what a pin in the configuration names.
    pub public_key: [u8; 32],
    /// Its names, the first few.
    pub names: Vec<String>,
    /// Why no authority that we believe vouches for it; `None` if one does.
    pub untrusted: Option<String>,
}

impl LinkCertificate {
    /// Its key as the configuration's `pins` takes it: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn pin(&self) -> String {
        format!("sha256:{}", hex(&self.public_key))
    }

    pub(crate) fn of(certificate: &PeerCertificate) -> Option<Self> {
        Some(Self {
            public_key: certificate.public_key?,
            names: certificate
                .names
                .iter()
                .take(NAMES_SHOWN_MAX)
                .map(ToString::to_string)
                .collect(),
            untrusted: match &certificate.chain {
                Chain::Valid => None,
                Chain::Absent => return None,
                Chain::Invalid(why) => Some(why.clone()),
            },
        })
    }
}

/// Names of a certificate that are shown.
const NAMES_SHOWN_MAX: usize = 10;

/// What may flow for one pair of domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkPair {
    /// Our domain.
    pub local: String,
    /// Theirs.
    pub remote: String,
    /// Why we may send, if we may.
    pub send: Option<Grounds>,
    /// Why they may send, if they may.
    pub receive: Option<Grounds>,
}

/// What became of stanzas, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StanzaCounts {
    /// Written to a peer or to a component.
    pub delivered: u64,
    /// Returned to their senders with an error.
    pub bounced: u64,
    /// Neither: errors that found nobody to take them, and must not be answered themselves.
    pub dropped: u64,
}

/// How it stands with the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalStatus {
    /// Its file.
    pub file: PathBuf,
    /// Messages that are in it: taken, and neither delivered nor returned.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Groups that were written since the start, with one flush each.
    pub commits: u64,
    /// Groups that could not be written; each was tried again.
    pub failed_commits: u64,
    /// How long the writing took, all groups together.
    pub commit_time: Duration,
    /// Messages that were returned because no copy could be kept, since the start.
    pub refused: u64,
    /// Messages that an earlier run had left, and that were delivered or returned after this start.
    pub recovered: u64,
    /// Messages that were put aside and are not delivered, in all runs.
    pub set_aside: u64,
    /// Why the journal cannot be written at the moment.
    pub failure: Option<String>,
}

/// Streams that were lost with stanzas on their way (XEP-0198).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostStreamCounts {
    /// Lost streams, those with nothing on its way included, that wait to be taken up again now.
    pub suspended: u64,
    /// Lost since the start.
    pub lost: u64,
    /// Of them taken up again: what had arrived is known.
    pub taken_up: u64,
    /// Of them not taken up: what had arrived is not known.
    pub let_go: u64,
}

/// A peer: what is known of it, and how it stands with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What experience taught. Empty for a peer that is connected and gave no occasion to learn.
    pub learned: LearnedPeer,
    /// Whether the policy lets what was learned be used.
    pub used: UseLearned,
    /// The live connections on which a pair with it may flow ([`Link::id`]).
    pub links: Vec<u64>,
}

/// Every peer that is known or connected, by domain.
pub(crate) fn peers(
    known: Vec<LearnedPeer>,
    links: &[Link],
    used: impl Fn(&Domain) -> UseLearned,
) -> Vec<Peer> {
    let mut connected: BTreeMap<Domain, Vec<u64>> = BTreeMap::new();
    for link in links {
        for pair in &link.pairs {
            let Ok(remote) = Domain::parse(&pair.remote) else {
                continue;
            };
            let ids = connected.entry(remote).or_default();
            if ids.last() != Some(&link.id) {
                ids.push(link.id);
            }
        }
    }
    let mut all: BTreeMap<Domain, LearnedPeer> = known
        .into_iter()
        .map(|peer| (peer.domain.clone(), peer))
        .collect();
    for domain in connected.keys() {
        all.entry(domain.clone()).or_insert_with(|| LearnedPeer {
            domain: domain.clone(),
            lessons: Vec::new(),
            early_deaths: 0,
            failure: None,
            proven: Vec::new(),
        });
    }
    all.into_values()
        .map(|learned| Peer {
            used: used(&learned.domain),
            links: connected.remove(&learned.domain).unwrap_or_default(),
            learned,
        })
        .collect()
}
