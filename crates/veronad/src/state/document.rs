//! The document in `peers.json`: versioned, and believed entry by entry.
//!
//! Whoever edits it, or a disk that fails, may put anything into it: what is not understood is left out, and the rest
//! counts. Dates are judged by the engine.

use std::fmt;
use std::marker::PhantomData;
use std::time::SystemTime;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use verona::{LearnedFailure, LearnedLesson, LearnedPeer, LearnedProof};
use verona_proto::addr::Domain;
use verona_proto::grounds::Strength;
use verona_proto::learned::{Outcome, PEERS_MAX, Phase, Topic};

use crate::json::timestamp;
use crate::output::printable;

/// The version that is written, and the latest that is read.
pub(super) const VERSION: u32 = 1;

/// More than as many peers as are remembered need.
pub(super) const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What a document says.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) peers: Vec<LearnedPeer>,
    /// Entries that were not understood.
    pub(super) ignored: usize,
}

/// Why a document says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A later verona wrote it.
    Newer(u64),
    /// Something else did.
    Corrupt(String),
}

/// What the bytes say.
pub(super) fn read(bytes: &[u8]) -> Result<Read, Unreadable> {
    let corrupt = |error: serde_json::Error| Unreadable::Corrupt(error.to_string());
    // The version first: of a later one nothing else is known.
    let Head { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
    match version {
        0 => return Err(Unreadable::Corrupt("it has no version".into())),
        newer if newer > u64::from(VERSION) => return Err(Unreadable::Newer(newer)),
        _ => {}
    }
    let body: Body = serde_json::from_slice(bytes).map_err(corrupt)?;
    let mut ignored = body.peers.ignored;
    let peers = body
        .peers
        .entries
        .into_iter()
        .filter_map(|entry| entry.peer(&mut ignored))
        .collect();
    Ok(Read { peers, ignored })
}

/// The document that says this.
pub(super) fn write(peers: &[LearnedPeer], now: SystemTime) -> Vec<u8> {
    let mut entries: Vec<PeerEntry> = peers
        .iter()
        .filter(|peer| is_worth_keeping(peer))
        .take(PEERS_MAX)
        .map(PeerEntry::of)
        .collect();
    loop {
        let document = Document {
            version: VERSION,
            saved: timestamp(now),
            peers: &entries,
        };
        let bytes = crate::json::document(&document).into_bytes();
        // What would not be read again is not written; texts are short, so this is for the worst case alone.
        if entries.is_empty()
            || u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES_MAX)
        {
            return bytes;
        }
        entries.truncate(entries.len() / 2);
    }
}

/// Whether anything is known of a peer.
pub(super) fn is_worth_keeping(peer: &LearnedPeer) -> bool {
    !peer.lessons.is_empty()
        || peer.early_deaths > 0
        || peer.failure.is_some()
        || !peer.proven.is_empty()
}

#[derive(Deserialize)]
struct Head {
    version: u64,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    saved: String,
    peers: &'a [PeerEntry],
}

#[derive(Deserialize)]
struct Body {
    peers: Entries<PeerEntry, PEERS_MAX>,
}

#[derive(Serialize, Deserialize)]
struct PeerEntry {
    domain: String,
    #[serde(default)]
    lessons: Entries<LessonEntry, LESSONS_MAX>,
    #[serde(default)]
    early_deaths: Lenient<u32>,
    #[serde(default)]
    failure: Option<Lenient<FailureEntry>>,
    #[serde(default)]
    proven: Entries<ProofEntry, PROOFS_MAX>,
}

#[derive(Serialize, Deserialize)]
struct LessonEntry {
    topic: String,
    outcome: String,
    text: String,
    since: String,
    until: String,
}

#[derive(Serialize, Deserialize)]
struct FailureEntry {
    phase: String,
    cause: String,
    since: String,
    #[serde(default)]
    reached: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ProofEntry {
    by: String,
    since: String,
}

impl PeerEntry {
    fn of(peer: &LearnedPeer) -> Self {
        Self {
            domain: peer.domain.to_string(),
            lessons: Entries {
                entries: peer
                    .lessons
                    .iter()
                    .map(|lesson| LessonEntry {
                        topic: lesson.topic.name().to_owned(),
                        outcome: lesson.outcome.name().to_owned(),
                        text: printable(&lesson.text),
                        since: timestamp(lesson.since),
                        until: timestamp(lesson.until),
                    })
                    .collect(),
                ignored: 0,
            },
            early_deaths: Lenient::Understood(peer.early_deaths),
            failure: peer.failure.as_ref().map(|failure| {
                Lenient::Understood(FailureEntry {
                    phase: failure.phase.name().to_owned(),
                    cause: printable(&failure.cause),
                    since: timestamp(failure.since),
                    reached: failure.reached.map(timestamp),
                })
            }),
            proven: Entries {
                entries: peer
                    .proven
                    .iter()
                    .map(|proof| ProofEntry {
                        by: proof.strength.name().to_owned(),
                        since: timestamp(proof.since),
                    })
                    .collect(),
                ignored: 0,
            },
        }
    }

    fn peer(self, ignored: &mut usize) -> Option<LearnedPeer> {
        let Ok(domain) = Domain::parse(&self.domain) else {
            *ignored += 1;
            return None;
        };
        *ignored += self.lessons.ignored + self.proven.ignored;
        let mut counted = |understood: bool| *ignored += usize::from(!understood);
        let lessons = self
            .lessons
            .entries
            .into_iter()
            .filter_map(|entry| {
                let lesson = entry.lesson();
                counted(lesson.is_some());
                lesson
            })
            .collect();
        let failure = self.failure.and_then(|entry| {
            let failure = entry.understood().and_then(FailureEntry::failure);
            counted(failure.is_some());
            failure
        });
        let proven = self
            .proven
            .entries
            .into_iter()
            .filter_map(|entry| {
                let proof = entry.proof();
                counted(proof.is_some());
                proof
            })
            .collect();
        let early_deaths = self.early_deaths.understood();
        counted(early_deaths.is_some());
        Some(LearnedPeer {
            domain,
            lessons,
            early_deaths: early_deaths.unwrap_or_default(),
            failure,
            proven,
        })
    }
}

impl LessonEntry {
    fn lesson(self) -> Option<LearnedLesson> {
        Some(LearnedLesson {
            topic: Topic::of_name(&self.topic)?,
            outcome: Outcome::of_name(&self.outcome)?,
            text: printable(&self.text),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
        })
    }
}

impl ProofEntry {
    fn proof(self) -> Option<LearnedProof> {
        Some(LearnedProof {
            strength: Strength::of_name(&self.by)?,
            since: moment(&self.since)?,
        })
    }
}

impl FailureEntry {
    fn failure(self) -> Option<LearnedFailure> {
        let reached = match self.reached {
            Some(reached) => Some(moment(&reached)?),
            None => None,
        };
        Some(LearnedFailure {
            phase: Phase::of_name(&self.phase)?,
            cause: printable(&self.cause),
            since: moment(&self.since)?,
            next: None,
            reached,
        })
    }
}

fn moment(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// Something that is understood, or anything else.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    Understood(T),
    #[serde(skip_serializing)]
    Strange(IgnoredAny),
}

impl<T> Lenient<T> {
    fn understood(self) -> Option<T> {
        match self {
            Self::Understood(value) => Some(value),
            Self::Strange(_) => None,
        }
    }
}

impl<T: Default> Default for Lenient<T> {
    fn default() -> Self {
        Self::Understood(T::default())
    }
}

/// The first `MAX` entries of a list that are understood; the others take no memory.
struct Entries<T, const MAX: usize> {
    entries: Vec<T>,
    ignored: usize,
}

impl<T, const MAX: usize> Default for Entries<T, MAX> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            ignored: 0,
        }
    }
}

impl<T: Serialize, const MAX: usize> Serialize for Entries<T, MAX> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Entries<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for EntriesVisitor<T, MAX> {
    type Value = Entries<T, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Entries::default();
        while entries.entries.len() < MAX {
            match list.next_element::<Lenient<T>>()? {
                None => return Ok(entries),
                Some(Lenient::Understood(entry)) => entries.entries.push(entry),
                Some(Lenient::Strange(_)) => entries.ignored += 1,
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            entries.ignored += 1;
        }
        Ok(entries)
    }
}

/// One for each topic, and some for those of other versions.
const LESSONS_MAX: usize = 32;
/// One for each strength, and some for those of other versions.
const PROOFS_MAX: usize = 8;
