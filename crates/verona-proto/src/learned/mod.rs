//! What experience taught about each peer: what works with it and what makes it hang up, for a while.
//!
//! Peers are old and odd, and one that dies of a `<bidi/>` dies of it every time. What was learned is kept with an
//! expiry, so that a peer that was mended is met anew; the caller may store it ([`Learned::export`]) and restore it.

mod failure;
mod proven;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use failure::{LastFailure, Phase};

use crate::addr::Domain;
use crate::grounds::Strength;
use proven::Proven;

/// What is known of all peers; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Learned(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    peers: BTreeMap<Domain, Record>,
    /// Those of them that proved something.
    proven: Proven,
    revision: u64,
}

#[derive(Debug)]
struct Record {
    lessons: BTreeMap<Topic, Lesson>,
    early_deaths: u32,
    last_death: Instant,
    failure: Option<LastFailure>,
    /// When it last proved itself so strongly.
    proven: BTreeMap<Strength, Instant>,
    /// The key of its certificate, as its SHA-256.
    key: Option<[u8; 32]>,
    touched: Instant,
}

/// About what something was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Both directions on one stream (XEP-0288).
    Bidi,
    /// The offer under the request's namespace, as ejabberd 24.10 to 24.12 make it and 24.10 to 26.04 look for it.
    OldBidiNamespace,
    /// SASL EXTERNAL with our certificate (XEP-0178).
    External,
    /// Further pairs on one stream, in both directions (XEP-0220 §2.6, XEP-0288 §2.2).
    Requests,
    /// A whole negotiation without waiting for the answers (XEP-0305).
    Pipelining,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Bidi,
        Self::OldBidiNamespace,
        Self::External,
        Self::Requests,
        Self::Pipelining,
    ];

    /// Its name in files and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bidi => "bidi",
            Self::OldBidiNamespace => "old_bidi_namespace",
            Self::External => "external",
            Self::Requests => "requests",
            Self::Pipelining => "pipelining",
        }
    }

    /// The topic of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Works,
    /// The peer says no, in good order: asking again costs little, and the answer may change.
    Refused,
    /// The peer hangs up or falls silent: it is not tried again while the lesson lasts.
    HangsUp,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Works, Self::Refused, Self::HangsUp];

    /// Its name in files and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Refused => "refused",
            Self::HangsUp => "hangs-up",
        }
    }

    /// The outcome of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// How long it is believed: a good experience longer than a bad one, of which the peer may be mended (BIDI-69).
    #[must_use]
    pub fn lasts(self) -> Duration {
        match self {
            Self::Works => Duration::from_secs(30 * DAY),
            Self::Refused | Self::HangsUp => Duration::from_secs(DAY),
        }
    }
}

/// One experience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen, as a sentence.
    pub text: String,
    /// When it was last seen.
    pub since: Instant,
    /// When it is forgotten.
    pub until: Instant,
}

/// What is known of one peer, as it is shown and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// The remote domain.
    pub domain: Domain,
    /// What was learned, by topic.
    pub lessons: Vec<(Topic, Lesson)>,
    /// Bidirectional streams in a row, within a day, that ended with an error soon after they had begun to serve.
    pub early_deaths: u32,
    /// The last failure to reach it; kept when it has been reached since.
    pub failure: Option<LastFailure>,
    /// How strongly it proved itself, and when it last did.
    pub proven: Vec<(Strength, Instant)>,
}

impl Learned {
    /// Something was experienced with a peer.
    pub fn note(&self, peer: &Domain, topic: Topic, outcome: Outcome, text: &str, now: Instant) {
        let mut table = self.lock();
        let record = table.record(peer, now);
        let lesson = Lesson {
            outcome,
            text: text.to_owned(),
            since: now,
            until: now + outcome.lasts(),
        };
        // A success seen again and again is one lesson: nobody stores it each time.
        let news = record.lessons.get(&topic).is_none_or(|known| {
            known.outcome != outcome
                || known.until <= now
                || now.saturating_duration_since(known.since) >= REPEATED
        });
        if news {
            record.lessons.insert(topic, lesson);
            table.revision += 1;
        }
    }

    /// What is known about a topic, if it is known and not forgotten.
    #[must_use]
    pub fn outcome(&self, peer: &Domain, topic: Topic, now: Instant) -> Option<Outcome> {
        let table = self.lock();
        let lesson = table.peers.get(peer)?.lessons.get(&topic)?;
        (lesson.until > now).then_some(lesson.outcome)
    }

    /// The peer proved itself by its certificate (contract §3, `weaker`).
    pub fn note_proven(&self, peer: &Domain, strength: Strength, now: Instant) {
        let mut table = self.lock();
        table.make_room_to_prove(peer);
        let record = table.record(peer, now);
        let before = record.proven.insert(strength, now);
        // Who proves itself all day long is stored once a day.
        let news = before.is_none_or(|at| now.saturating_duration_since(at) >= REPEATED);
        match (news, before) {
            (false, Some(before)) => {
                record.proven.insert(strength, before);
            }
            (true, _) | (false, None) => table.revision += 1,
        }
        table.proven.insert(peer, now);
    }

    /// The peer proved itself with this key; says which it had the time before in this process, if that was another
    /// (TLS-32).
    pub fn note_key(&self, peer: &Domain, key: [u8; 32], now: Instant) -> Option<[u8; 32]> {
        let mut table = self.lock();
        let before = table.record(peer, now).key.replace(key);
        before.filter(|before| *before != key)
    }

    /// How strongly the peer proved itself in the last 30 days, at the most.
    #[must_use]
    pub fn proven(&self, peer: &Domain, now: Instant) -> Option<Strength> {
        let table = self.lock();
        let proven = &table.peers.get(peer)?.proven;
        proven
            .iter()
            .filter(|(_, at)| is_fresh(**at, now))
            .map(|(strength, _)| *strength)
            .max()
    }

    /// A stream with the peer ended with an error soon after it had begun to serve; says how often in a row by now.
    pub fn note_early_death(&self, peer: &Domain, now: Instant) -> u32 {
        let mut table = self.lock();
        let record = table.record(peer, now);
        if now.saturating_duration_since(record.last_death) >= DEATH_MEMORY {
            record.early_deaths = 0;
        }
        record.last_death = now;
        record.early_deaths = record.early_deaths.saturating_add(1);
        let deaths = record.early_deaths;
        table.revision += 1;
        deaths
    }

    /// A stream with the peer lived long enough.
    pub fn note_long_life(&self, peer: &Domain, now: Instant) {
        let mut table = self.lock();
        if table
            .peers
            .get(peer)
            .is_some_and(|record| record.early_deaths > 0)
        {
            table.record(peer, now).early_deaths = 0;
            table.revision += 1;
        }
    }

    /// The peer could not be reached.
    pub fn note_failure(&self, peer: &Domain, failure: LastFailure, now: Instant) {
        let mut table = self.lock();
        table.record(peer, now).failure = Some(failure);
        table.revision += 1;
    }

    /// The peer reached us, and was refused for what it is. When we try to reach it again is another matter.
    pub fn note_refused(&self, peer: &Domain, failure: LastFailure, now: Instant) {
        let mut table = self.lock();
        let record = table.record(peer, now);
        let known = record.failure.as_ref().filter(|known| known.lasts());
        // It comes again and again, and each time would be stored.
        let is_news = known.is_none_or(|known| {
            known.cause != failure.cause || now.saturating_duration_since(known.since) >= REPEATED
        });
        if is_news {
            let next = known.and_then(|known| known.next);
            record.failure = Some(LastFailure { next, ..failure });
            table.revision += 1;
        }
    }

    /// The peer was reached: its last failure is history.
    pub fn note_reached(&self, peer: &Domain, now: Instant) {
        let mut table = self.lock();
        let failing = |record: &Record| record.failure.as_ref().is_some_and(LastFailure::lasts);
        if table.peers.get(peer).is_some_and(failing) {
            if let Some(failure) = &mut table.record(peer, now).failure {
                failure.next = None;
                failure.reached = Some(now);
            }
            table.revision += 1;
        }
    }

    /// All that is known and not forgotten, by domain.
    #[must_use]
    pub fn export(&self, now: Instant) -> Vec<KnownPeer> {
        let mut table = self.lock();
        table.forget(now);
        table
            .peers
            .iter()
            .map(|(domain, record)| KnownPeer {
                domain: domain.clone(),
                lessons: record
                    .lessons
                    .iter()
                    .map(|(topic, lesson)| (*topic, lesson.clone()))
                    .collect(),
                early_deaths: record.early_deaths,
                failure: record.failure.clone(),
                proven: record
                    .proven
                    .iter()
                    .map(|(strength, at)| (*strength, *at))
                    .collect(),
            })
            .collect()
    }

    /// Takes over what an earlier run knew; what is known already stays.
    pub fn restore(&self, known: Vec<KnownPeer>, now: Instant) {
        let mut table = self.lock();
        for peer in known.into_iter().take(PEERS_MAX) {
            let record = table.record(&peer.domain, now);
            for (topic, lesson) in peer.lessons {
                record.lessons.entry(topic).or_insert(lesson);
            }
            record.early_deaths = record.early_deaths.max(peer.early_deaths);
            if record.failure.is_none() {
                record.failure = peer.failure;
            }
            for (strength, at) in peer.proven {
                record.proven.entry(strength).or_insert(at);
            }
        }
        table.forget(now);
    }

    /// Forgets one peer, or all; says how many were forgotten.
    pub fn clear(&self, peer: Option<&Domain>) -> usize {
        let mut table = self.lock();
        let before = table.peers.len();
        match peer {
            Some(peer) => table.remove(peer),
            None => {
                table.peers.clear();
                table.proven = Proven::default();
            }
        }
        table.revision += 1;
        before - table.peers.len()
    }

    /// A number that grows with every change: whoever stores what is known stores it when this has grown.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn record(&mut self, peer: &Domain, now: Instant) -> &mut Record {
        if !self.peers.contains_key(peer) && self.peers.len() >= PEERS_MAX {
            self.make_room(now);
        }
        self.proven.touch(peer, now);
        let record = self.peers.entry(peer.clone()).or_insert_with(|| Record {
            lessons: BTreeMap::new(),
            early_deaths: 0,
            last_death: now,
            failure: None,
            proven: BTreeMap::new(),
            key: None,
            touched: now,
        });
        record.touched = now;
        record
    }

    fn remove(&mut self, peer: &Domain) {
        self.peers.remove(peer);
        self.proven.remove(peer);
    }

    /// A certificate with a wildcard proves as many names as its owner likes: they push out one another and nobody else.
    fn make_room_to_prove(&mut self, peer: &Domain) {
        let other = self
            .proven
            .in_the_way_of(peer, PROVEN_PER_SITE_MAX, PROVEN_MAX);
        if let Some(other) = other {
            self.remove(&other);
        }
    }

    /// Who was never met but only not reached goes first: anybody can name ten thousand such domains. Then the half of
    /// those that was met least recently: seldom, and then at once. Who proved itself stays, so that nobody can have it
    /// forgotten by having many others met; they have bounds of their own.
    fn make_room(&mut self, now: Instant) {
        self.forget(now);
        self.peers.retain(|_, record| record.was_met());
        if self.peers.len() < PEERS_MAX {
            return;
        }
        let mut touched: Vec<Instant> = self
            .peers
            .values()
            .filter(|record| record.proven.is_empty())
            .map(|record| record.touched)
            .collect();
        touched.sort_unstable();
        if let Some(middle) = touched.get(touched.len() / 2).copied() {
            let mut room = touched.len() / 2;
            self.peers.retain(|_, record| {
                if !record.proven.is_empty() {
                    return true;
                }
                let kept = record.touched >= middle && room > 0;
                room -= usize::from(kept);
                kept
            });
        }
        // Only where a file says so are all of them proven.
        while self.peers.len() >= PEERS_MAX
            && let Some(one) = self.proven.one_to_forget()
        {
            self.remove(&one);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.peers.retain(|_, record| {
            record.lessons.retain(|_, lesson| lesson.until > now);
            record.proven.retain(|_, at| is_fresh(*at, now));
            if now.saturating_duration_since(record.last_death) >= DEATH_MEMORY {
                record.early_deaths = 0;
            }
            if record
                .failure
                .as_ref()
                .is_some_and(|failure| failure.is_old(now))
            {
                record.failure = None;
            }
            record.was_met() || record.failure.is_some()
        });
        let proven = self
            .peers
            .iter()
            .filter(|(_, record)| !record.proven.is_empty());
        self.proven = proven
            .map(|(domain, record)| (domain, record.touched))
            .collect();
    }
}

impl Record {
    /// Whether more is known of the peer than that it was not reached.
    fn was_met(&self) -> bool {
        !self.lessons.is_empty() || self.early_deaths > 0 || !self.proven.is_empty()
    }
}

/// Whether what was proven then still counts.
fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < PROVEN_LASTS
}

/// For how long a peer is held to what it proved (contract §3, `weaker`).
pub const PROVEN_LASTS: Duration = Duration::from_secs(30 * DAY);

/// How many early deaths in a row make bidi suspect (BIDI-69).
pub const EARLY_DEATHS_MAX: u32 = 2;

/// How long an early death counts.
const DEATH_MEMORY: Duration = Duration::from_secs(DAY);

/// How soon after its first grant a stream's end is an early death.
pub const EARLY: Duration = Duration::from_secs(30);

/// Peers that are remembered; those met least recently make room. About 10 MB.
pub const PEERS_MAX: usize = 10_000;

/// Domains that end in the same two labels and are held to what they proved.
pub const PROVEN_PER_SITE_MAX: usize = 200;

/// Domains that are held to what they proved, of all sites: room for others is always left.
pub const PROVEN_MAX: usize = PEERS_MAX / 2;

/// After how long a repeated experience is worth storing again.
const REPEATED: Duration = Duration::from_secs(3600);

const DAY: u64 = 24 * 3600;

#[cfg(test)]
mod tests;
