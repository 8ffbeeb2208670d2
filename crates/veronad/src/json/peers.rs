//! The documents of `verona peers` and `verona forget`.
//!
//! What is learned and what is stored change at different times: the file has types of its own (`state/document.rs`).

use serde::{Deserialize, Serialize};
use verona::{LearnedFailure, LearnedLesson, LearnedProof, status};
use verona_proto::learned::PROVEN_LASTS;
use verona_proto::policy::UseLearned;

use super::{VERSION, timestamp};

/// `verona peers --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peers {
    pub(crate) version: u32,
    pub(crate) peers: Vec<Peer>,
}

/// A remote domain.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) domain: String,
    /// The live connections that carry a pair with it.
    pub(crate) links: Vec<u64>,
    pub(crate) learned: Vec<Lesson>,
    /// Whether the configuration says `learned = "ignore"` for it.
    pub(crate) ignored: bool,
    /// Streams in a row that ended with an error soon after they had begun to serve.
    pub(crate) early_deaths: u32,
    /// How strongly it proved itself, to which it is held unless `weaker = "allow"`.
    #[serde(default)]
    pub(crate) proven: Vec<Proof>,
    /// The last one, kept for a week.
    pub(crate) failure: Option<LastFailure>,
    /// Before when no attempt begins.
    pub(crate) next_attempt: Option<String>,
}

/// One experience with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lesson {
    pub(crate) topic: String,
    pub(crate) outcome: String,
    /// What was seen.
    pub(crate) text: String,
    pub(crate) since: String,
    pub(crate) until: String,
}

/// It proved itself by its certificate.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// `certificate` or `dane`.
    pub(crate) by: String,
    /// When it last did, to the hour.
    pub(crate) since: String,
    /// Until when it is held to that.
    pub(crate) until: String,
}

/// Why it could not be reached.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastFailure {
    pub(crate) phase: String,
    pub(crate) cause: String,
    /// What can be done about it.
    pub(crate) advice: String,
    pub(crate) since: String,
    /// When it was reached after all.
    pub(crate) reached: Option<String>,
}

/// How many peers were forgotten.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    pub(crate) version: u32,
    pub(crate) forgotten: u64,
}

impl Peers {
    pub(crate) fn new(peers: Vec<status::Peer>) -> Self {
        Self {
            version: VERSION,
            peers: peers.into_iter().map(Peer::new).collect(),
        }
    }
}

impl Peer {
    fn new(peer: status::Peer) -> Self {
        let next = peer
            .learned
            .failure
            .as_ref()
            .and_then(|failure| failure.next);
        Self {
            domain: peer.learned.domain.to_string(),
            links: peer.links,
            learned: peer.learned.lessons.into_iter().map(Lesson::new).collect(),
            ignored: peer.used == UseLearned::Ignore,
            early_deaths: peer.learned.early_deaths,
            proven: peer.learned.proven.iter().map(Proof::new).collect(),
            failure: peer.learned.failure.map(LastFailure::new),
            next_attempt: next.map(timestamp),
        }
    }
}

impl Lesson {
    fn new(lesson: LearnedLesson) -> Self {
        Self {
            topic: lesson.topic.name().to_owned(),
            outcome: lesson.outcome.name().to_owned(),
            text: lesson.text,
            since: timestamp(lesson.since),
            until: timestamp(lesson.until),
        }
    }
}

impl Proof {
    fn new(proof: &LearnedProof) -> Self {
        Self {
            by: proof.strength.name().to_owned(),
            since: timestamp(proof.since),
            until: timestamp(proof.since + PROVEN_LASTS),
        }
    }
}

impl LastFailure {
    fn new(failure: LearnedFailure) -> Self {
        Self {
            phase: failure.phase.name().to_owned(),
            cause: failure.cause,
            advice: failure.phase.advice().to_owned(),
            since: timestamp(failure.since),
            reached: failure.reached.map(timestamp),
        }
    }
}
