//! Keys that are being checked, each on a connection of our own making, never on the one that asked (BIDI-24).
//!
//! The table is keyed by the asking stream, not by the id on the wire: ids of streams that we opened are chosen by
//! the peer, and two peers may choose the same (BIDI-36).

use std::collections::BTreeMap;

use super::{AttemptKey, StreamKey};
use crate::addr::DomainPair;

/// Which question: the stream on which the key arrived, and the pair that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VerificationKey {
    //= BIDI-36
    pub(super) stream: StreamKey,
    pub(super) pair: DomainPair,
}

/// All questions without an answer.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    pending: BTreeMap<VerificationKey, AttemptKey>,
}

impl Verifications {
    /// Begins one; says which attempt was for the same question.
    pub(super) fn begin(
        &mut self,
        key: VerificationKey,
        attempt: AttemptKey,
    ) -> Option<AttemptKey> {
        self.pending.insert(key, attempt)
    }

    /// Settles a question; `false` when nobody waits for the answer any more (DB-28).
    pub(super) fn settle(&mut self, key: &VerificationKey) -> bool {
        self.pending.remove(key).is_some()
    }

    /// Whether the attempt's answer is still waited for.
    pub(super) fn waits_for(&self, key: &VerificationKey, attempt: AttemptKey) -> bool {
        self.pending.get(key) == Some(&attempt)
    }

    /// The asking stream is gone: its questions are dropped, their attempts are of no use.
    pub(super) fn forget(&mut self, stream: StreamKey) -> Vec<AttemptKey> {
        let keys: Vec<VerificationKey> = self
            .pending
            .keys()
            .filter(|key| key.stream == stream)
            .cloned()
            .collect();
        keys.iter()
            .filter_map(|key| self.pending.remove(key))
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}
