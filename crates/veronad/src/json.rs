//! The documents of the API and of `--json` (contract §4), written by the daemon and read by its command line.
//!
//! One set of types for both ends, so that a field cannot be called one thing here and another there.

mod operator;
mod peers;

use std::net::SocketAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use verona::status;

pub(crate) use operator::{Closed, Drained, Queue, Queues, Reloaded};
pub(crate) use peers::{Forgotten, Peer, Peers};

/// `verona links --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Links {
    pub(crate) version: u32,
    pub(crate) links: Vec<Link>,
}

/// One live connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) role: String,
    pub(crate) peer_address: SocketAddr,
    pub(crate) local_address: SocketAddr,
    pub(crate) transport: String,
    pub(crate) tls: Option<Tls>,
    pub(crate) bidi: bool,
    pub(crate) state: String,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) stanzas_in: u64,
    pub(crate) stanzas_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) unacknowledged: u64,
    pub(crate) since: String,
}

/// The parameters of TLS.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tls {
    pub(crate) version: String,
    pub(crate) cipher_suite: String,
    #[serde(default)]
    pub(crate) certificate: Option<Certificate>,
}

/// The certificate that the peer showed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Certificate {
    /// `sha256:HEX` of its public key, as `pins` takes it.
    pub(crate) public_key: String,
    pub(crate) names: Vec<String>,
    /// Why no authority that we believe vouches for it.
    pub(crate) untrusted: Option<String>,
}

/// A pair of domains, and why it may flow in each direction.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) send: Option<Grounds>,
    pub(crate) receive: Option<Grounds>,
}

/// Why a direction may flow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Grounds {
    pub(crate) by: String,
    pub(crate) inverse: bool,
    /// Who the peer is, by the same grounds: `certificate`, `dane`, `posh`, `pin`, `dialback` or `dns`.
    #[serde(default)]
    pub(crate) identity: String,
    /// How sure the way is, where the identity rests on it: `dns`, `dnssec`, `configured` or `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) assurance: Option<String>,
}

/// `verona status --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StatusDocument {
    pub(crate) version: u32,
    pub(crate) status: Status,
}

/// The daemon in a few numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The version of the program.
    pub(crate) verona: String,
    pub(crate) since: String,
    pub(crate) domains: Vec<String>,
    pub(crate) s2s: Vec<String>,
    pub(crate) components: Vec<String>,
    /// What is shown for each domain that has one.
    pub(crate) certificates: Vec<OwnCertificate>,
    /// What is wrong with their files, and with those of trust, in a sentence each.
    pub(crate) certificate_problems: Vec<String>,
    /// `null` without a journal.
    #[serde(default)]
    pub(crate) journal: Option<Journal>,
    /// `null` when a daemon that knows nothing of it answers.
    #[serde(default)]
    pub(crate) stream_management: Option<StreamManagement>,
    pub(crate) links: u64,
    /// Of the live links.
    pub(crate) stanzas_in: u64,
    /// Of the live links.
    pub(crate) stanzas_out: u64,
}

/// How it stands with the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) file: String,
    /// Messages that are in it, and their bytes.
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) commits: u64,
    pub(crate) failed_commits: u64,
    pub(crate) commit_seconds: f64,
    /// Messages that were returned because none could be kept.
    pub(crate) refused: u64,
    /// Messages of an earlier run that this one delivered or returned.
    pub(crate) recovered: u64,
    /// Messages that are not delivered any more, and kept for a person to look at.
    pub(crate) set_aside: u64,
    /// Why it cannot be written at the moment.
    pub(crate) failure: Option<String>,
}

/// What peers acknowledged, and what became of streams that were lost (XEP-0198), since the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StreamManagement {
    /// Stanzas that peers have acknowledged.
    pub(crate) acknowledged: u64,
    /// Stanzas on the live links that a peer has not acknowledged yet.
    pub(crate) unacknowledged: u64,
    /// Lost streams that wait to be taken up again now.
    pub(crate) suspended: u64,
    /// Streams that were lost with stanzas on their way.
    pub(crate) lost: u64,
    /// Of them taken up again: what had arrived is known.
    pub(crate) taken_up: u64,
    /// Of them not taken up: what had arrived is not known.
    pub(crate) let_go: u64,
}

/// The certificate of a domain of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnCertificate {
    pub(crate) domain: String,
    pub(crate) file: String,
    pub(crate) expires: String,
}

/// `verona components --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Components {
    pub(crate) version: u32,
    pub(crate) components: Vec<Component>,
}

/// A domain of ours that a component serves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Component {
    pub(crate) domain: String,
    /// Whether one is connected now.
    pub(crate) attached: bool,
}

/// The answer to a ping.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pong {
    pub(crate) version: u32,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) rtt_ms: f64,
}

/// Why a request was not answered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) version: u32,
    /// A sentence.
    pub(crate) error: String,
}

/// The version of all documents. Adding a field does not change it.
pub(crate) const VERSION: u32 = 1;

impl Journal {
    pub(crate) fn new(journal: status::JournalStatus) -> Self {
        Self {
            file: journal.file.display().to_string(),
            entries: journal.entries,
            bytes: journal.bytes,
            commits: journal.commits,
            failed_commits: journal.failed_commits,
            commit_seconds: journal.commit_time.as_secs_f64(),
            refused: journal.refused,
            recovered: journal.recovered,
            set_aside: journal.set_aside,
            failure: journal.failure,
        }
    }
}

impl StreamManagement {
    /// `unacknowledged` of the live links.
    pub(crate) fn new(
        acknowledged: u64,
        unacknowledged: u64,
        counts: status::LostStreamCounts,
    ) -> Self {
        Self {
            acknowledged,
            unacknowledged,
            suspended: counts.suspended,
            lost: counts.lost,
            taken_up: counts.taken_up,
            let_go: counts.let_go,
        }
    }
}

impl Links {
    pub(crate) fn new(links: Vec<status::Link>) -> Self {
        Self {
            version: VERSION,
            links: links.into_iter().map(Link::new).collect(),
        }
    }
}

impl Link {
    fn new(link: status::Link) -> Self {
        Self {
            id: link.id,
            role: link.role.word().to_owned(),
            peer_address: link.peer_address,
            local_address: link.local_address,
            transport: link.transport.word().to_owned(),
            tls: link.tls.map(|tls| Tls {
                version: tls.version,
                cipher_suite: tls.cipher_suite,
                certificate: tls.certificate.map(|certificate| Certificate {
                    public_key: certificate.pin(),
                    names: certificate.names,
                    untrusted: certificate.untrusted,
                }),
            }),
            bidi: link.bidi,
            state: link.state.to_owned(),
            pairs: link.pairs.into_iter().map(Pair::new).collect(),
            stanzas_in: link.stanzas_in,
            stanzas_out: link.stanzas_out,
            bytes_in: link.bytes_in,
            bytes_out: link.bytes_out,
            rtt_ms: link.rtt_ms,
            unacknowledged: link.unacknowledged,
            since: timestamp(link.since),
        }
    }
}

impl Pair {
    fn new(pair: status::LinkPair) -> Self {
        let grounds = |grounds: verona_proto::grounds::Grounds| Grounds {
            by: grounds.by.to_owned(),
            inverse: grounds.inverse,
            identity: grounds.identity.name().to_owned(),
            assurance: grounds
                .identity
                .assurance()
                .map(|assurance| assurance.name().to_owned()),
        };
        Self {
            local: pair.local,
            remote: pair.remote,
            send: pair.send.map(grounds),
            receive: pair.receive.map(grounds),
        }
    }
}

impl Grounds {
    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let sure = match self.assurance.as_deref() {
            None | Some("dns") => String::new(),
            Some(assurance) => format!("+{assurance}"),
        };
        if self.inverse {
            format!("inverse of {}{sure}", self.by)
        } else {
            format!("{}{sure}", self.by)
        }
    }
}

/// A moment as RFC 3339 has it, in UTC and with three digits for the milliseconds: columns stay straight, and the text
/// sorts as the time does.
pub(crate) fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// One document, indented, with a newline.
pub(crate) fn document(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::timestamp;

    #[test]
    fn milliseconds_always_have_three_digits() {
        let at = UNIX_EPOCH + Duration::from_secs(951_782_400);
        assert_eq!(timestamp(at), "2000-02-29T00:00:00.000Z");
        assert_eq!(
            timestamp(at + Duration::from_micros(40_999)),
            "2000-02-29T00:00:00.040Z"
        );
    }
}
