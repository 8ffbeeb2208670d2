//! What the peer may send: we are the receiving server (XEP-0220 §2.2.1).
//!
//! "The peer may send" and "the peer has asked" are two facts, not two values of one: on a bidirectional stream a
//! pair can be granted as an inverse while the peer's own key is still being checked. So there are two maps.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Granted;
use crate::addr::{Direction, Domain, DomainPair};
use crate::few::FewMap;
use crate::grounds::{Grounds, Proof};

/// The inbound authorisations of one stream.
#[derive(Debug, Default)]
pub struct Inbound {
    granted: FewMap<DomainPair, Proof>,
    /// What was granted for domains that are not ours any more: it is answered for a while (BIDI-79).
    retired: BTreeMap<DomainPair, Proof>,
    verifying: BTreeMap<DomainPair, Verifying>,
}

/// A key of the peer's that is being checked elsewhere.
#[derive(Debug)]
struct Verifying {
    deadline: Instant,
    /// How often the peer asked: each request gets its answer (DB-48).
    requests: u32,
}

impl Inbound {
    /// The peer sent a key; the authoritative server is asked until `deadline`. Says whether that is a new question.
    pub fn verify(&mut self, pair: DomainPair, deadline: Instant) -> bool {
        let mut new = false;
        let verifying = self.verifying.entry(pair).or_insert_with(|| {
            new = true;
            Verifying {
                deadline,
                requests: 0,
            }
        });
        verifying.requests = verifying.requests.saturating_add(1);
        new
    }

    /// How many keys are being checked (DB-53).
    #[must_use]
    pub fn verifying(&self) -> usize {
        self.verifying.len()
    }

    /// Whether a key for the pair is being checked.
    #[must_use]
    pub fn verifies(&self, pair: &DomainPair) -> bool {
        self.verifying.contains_key(pair)
    }

    /// The pairs whose keys nobody confirmed in time.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Vec<DomainPair> {
        self.verifying
            .iter()
            .filter(|(_, verifying)| verifying.deadline <= now)
            .map(|(pair, _)| pair.clone())
            .collect()
    }

    /// Whether the peer may send for the pair.
    #[must_use]
    pub fn grants(&self, pair: &DomainPair) -> bool {
        self.granted.contains_key(pair)
    }

    /// Whether the peer is proven for the domain, towards whichever domain of ours.
    #[must_use]
    pub fn proves(&self, remote: &Domain) -> bool {
        self.granted
            .keys()
            .any(|pair| pair.remote().domain() == remote)
    }

    /// How the peer is proven for the domain, if it is.
    #[must_use]
    pub fn proof_of(&self, remote: &Domain) -> Option<Proof> {
        self.granted
            .iter()
            .find(|(pair, _)| pair.remote().domain() == remote)
            .map(|(_, proof)| *proof)
    }

    /// All that the peer may send, and why.
    pub fn granted(&self) -> impl Iterator<Item = (&DomainPair, Proof)> {
        self.granted.iter().map(|(pair, proof)| (pair, *proof))
    }

    /// Whether the peer may send nothing, not even to a domain that is not ours any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.retired.is_empty()
    }

    /// The pairs whose keys are being checked.
    pub fn verified(&self) -> impl Iterator<Item = &DomainPair> {
        self.verifying.keys()
    }

    /// Whether the peer might send for the pair while our domain of it was ours.
    pub(super) fn retires(&self, pair: &DomainPair) -> bool {
        self.retired.contains_key(pair)
    }

    /// Ends what is granted for pairs of which `is_gone` says so; says which.
    pub(super) fn retire(&mut self, is_gone: impl Fn(&DomainPair) -> bool) -> Vec<DomainPair> {
        let pairs: Vec<DomainPair> = self
            .granted
            .keys()
            .filter(|pair| is_gone(pair))
            .cloned()
            .collect();
        for pair in &pairs {
            if let Some(proof) = self.granted.remove(pair) {
                self.retired.insert(pair.clone(), proof);
            }
        }
        pairs
    }

    /// Our domains came back: what was proven for them still is.
    pub(super) fn restore(&mut self, is_back: impl Fn(&DomainPair) -> bool) -> Vec<Granted> {
        let (back, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|(pair, _)| is_back(pair));
        self.retired = gone;
        back.into_iter()
            .filter_map(|(pair, proof)| self.grant(pair, proof))
            .collect()
    }

    /// What was granted for domains that are not ours any more is over for good.
    pub(super) fn forget_retired(&mut self) -> Vec<DomainPair> {
        std::mem::take(&mut self.retired).into_keys().collect()
    }

    /// How many pairs the peer may send for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.granted.len()
    }

    pub(super) fn conclude(&mut self, pair: &DomainPair) -> Option<u32> {
        self.verifying
            .remove(pair)
            .map(|verifying| verifying.requests)
    }

    /// The first grounds stay: a weaker proof never replaces a stronger one. `None` when the pair was granted before.
    pub(super) fn grant(&mut self, pair: DomainPair, proof: Proof) -> Option<Granted> {
        if self.granted.contains_key(&pair) {
            return None;
        }
        //= BIDI-49
        self.granted.insert(pair.clone(), proof);
        Some(Granted {
            pair,
            direction: Direction::Inbound,
            grounds: Grounds::inbound(proof),
        })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.verifying
            .values()
            .map(|verifying| verifying.deadline)
            .min()
    }
}
