//! What was made or seen a short while ago: keys of ours, ids of the peers' streams.
//!
//! A key is computed and not kept, so a key that leaked once would be good for ever, and on a bidirectional stream the
//! prover chooses the id that goes into it (BIDI-34). Two short memories close that: we vouch only for keys that we
//! made just now (DB-35), and hear no reverse request on a stream whose id we have met before (BIDI-35).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::key::trim_xml;
use crate::addr::Domain;

/// The keys that we made a short while ago; clones share them.
#[derive(Clone, Debug)]
pub struct IssuedKeys(Issued);

#[derive(Clone, Debug)]
enum Issued {
    /// Whoever has the secret may have made it: several machines share it.
    Elsewhere,
    /// This process makes all keys of its secret.
    Here(Arc<Mutex<Recent>>),
}

impl Default for IssuedKeys {
    fn default() -> Self {
        Self(Issued::Here(Arc::default()))
    }
}

impl IssuedKeys {
    /// No memory: every key of our secret is vouched for. For several machines that share a secret (DB-03).
    #[must_use]
    pub fn shared_secret() -> Self {
        Self(Issued::Elsewhere)
    }

    /// We made `key`; it is vouched for until `until`.
    pub fn note(&self, key: &str, until: Instant, now: Instant) {
        match &self.0 {
            Issued::Elsewhere => {}
            Issued::Here(recent) => {
                lock(recent).note(fingerprint(&[key]), until, now);
            }
        }
    }

    /// Whether we made `key` and its time is not over. White space around it is ignored (DB-36).
    #[must_use]
    pub fn knows(&self, key: &str, now: Instant) -> bool {
        match &self.0 {
            Issued::Elsewhere => true,
            Issued::Here(recent) => lock(recent).knows(fingerprint(&[trim_xml(key)]), now),
        }
    }
}

/// The ids of streams that we opened, as the peers chose them; clones share them.
#[derive(Clone, Debug, Default)]
pub struct PeerStreamIds(Arc<Mutex<Recent>>);

impl PeerStreamIds {
    /// A stream to `remote` has that id. Says whether an earlier one had it, within [`ID_MEMORY`] (BIDI-35).
    pub fn note(&self, remote: &Domain, id: &str, now: Instant) -> IdSeen {
        let fingerprint = fingerprint(&[remote.as_str(), " ", id]);
        let mut recent = lock(&self.0);
        match recent.knows(fingerprint, now) {
            true => IdSeen::Before,
            false => {
                recent.note(fingerprint, now + ID_MEMORY, now);
                IdSeen::First
            }
        }
    }
}

/// Whether a stream's id is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdSeen {
    /// It is.
    First,
    /// Another stream to the same domain had it: a key made for that one would fit this one.
    Before,
}

/// How long an id is remembered. Authoritative servers that keep no memory of their keys confirm old ones for ever, so
/// this is long.
pub const ID_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Things that are remembered for a while, and not too many of them.
#[derive(Debug, Default)]
struct Recent {
    until: BTreeMap<Fingerprint, Instant>,
    order: BTreeSet<(Instant, Fingerprint)>,
}

/// A digest: it is small whatever the peer sends.
type Fingerprint = [u8; 32];

impl Recent {
    fn note(&mut self, fingerprint: Fingerprint, until: Instant, now: Instant) {
        while self
            .order
            .first()
            .is_some_and(|(at, _)| *at <= now || self.order.len() >= REMEMBERED_MAX)
        {
            if let Some((_, old)) = self.order.pop_first() {
                self.until.remove(&old);
            }
        }
        if let Some(before) = self.until.insert(fingerprint, until) {
            self.order.remove(&(before, fingerprint));
        }
        self.order.insert((until, fingerprint));
    }

    fn knows(&self, fingerprint: Fingerprint, now: Instant) -> bool {
        self.until
            .get(&fingerprint)
            .is_some_and(|until| *until > now)
    }
}

/// How many are remembered; the oldest make room. About 10 MB at most.
const REMEMBERED_MAX: usize = 65_536;

fn fingerprint(parts: &[&str]) -> Fingerprint {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
    }
    digest.finalize().into()
}

fn lock(recent: &Mutex<Recent>) -> MutexGuard<'_, Recent> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a test may panic and read the clock"
    )]
    use super::*;

    #[test]
    fn a_key_is_known_until_its_time_is_over() {
        //= DB-35
        let (keys, now) = (IssuedKeys::default(), Instant::now());
        keys.note("abc", now + Duration::from_secs(90), now);
        assert!(keys.knows("abc", now));
        assert!(keys.clone().knows(" abc\n", now));
        assert!(!keys.knows("abd", now));
        assert!(!keys.knows("abc", now + Duration::from_secs(90)));
        assert!(IssuedKeys::shared_secret().knows("whatever", now));
    }

    #[test]
    fn an_id_is_new_once() {
        //= BIDI-35
        let (ids, now) = (PeerStreamIds::default(), Instant::now());
        let domain = |text| Domain::parse(text).unwrap();
        let (one, two) = (domain("montague.lit"), domain("verona.lit"));
        assert_eq!(ids.note(&one, "id", now), IdSeen::First);
        assert_eq!(ids.note(&two, "id", now), IdSeen::First);
        assert_eq!(ids.note(&one, "id", now), IdSeen::Before);
        assert_eq!(ids.note(&one, "id", now + ID_MEMORY), IdSeen::First);
    }

    #[test]
    fn the_oldest_make_room() {
        let (keys, now) = (IssuedKeys::default(), Instant::now());
        for n in 0..=REMEMBERED_MAX {
            let until = now + Duration::from_millis(1 + u64::try_from(n).unwrap());
            keys.note(&n.to_string(), until, now);
        }
        assert!(!keys.knows("0", now));
        assert!(keys.knows("1", now));
        assert!(keys.knows(&REMEMBERED_MAX.to_string(), now));
    }
}
