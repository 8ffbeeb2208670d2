//! What we may send: we are the initiating server (XEP-0220 §2.1.1).
//!
//! A request needs an identity: without a reason to ask this peer for this domain, a stream could be talked into
//! carrying a domain to which the peer has no claim (XEP-0220 §2.6.2).

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Granted, Unsolicited};
use crate::addr::{Direction, Domain, DomainPair};
use crate::dialback::Answer;
use crate::few::FewMap;
use crate::grounds::{Consent, Grounds, Identity};

/// The outbound authorisations of one stream.
#[derive(Debug, Default)]
pub struct Outbound {
    granted: FewMap<DomainPair, (Consent, Identity)>,
    /// What was granted for domains that are not ours any more: they still give answers for a while (BIDI-79).
    retired: BTreeMap<DomainPair, (Consent, Identity)>,
    requests: BTreeMap<DomainPair, Request>,
}

impl Outbound {
    /// We sent a key and wait. `identity` is why we ask this peer for this domain.
    pub fn request(&mut self, pair: DomainPair, identity: Identity, deadline: Instant) {
        self.requests
            .entry(pair)
            .or_insert(Request::Pending { identity, deadline });
    }

    /// Whether we asked for the pair on this stream, whatever came of it.
    #[must_use]
    pub fn requested(&self, pair: &DomainPair) -> bool {
        self.requests.contains_key(pair)
    }

    /// We do not want the answer to a request any more: one that comes late changes nothing (BIDI-41).
    pub(super) fn withdraw(&mut self, is_unwanted: impl Fn(&DomainPair) -> bool) {
        for (pair, request) in &mut self.requests {
            if is_unwanted(pair) {
                *request = Request::Expired;
            }
        }
    }

    /// Whether we may still answer for the pair, whose domain is not ours any more.
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
            if let Some(grounds) = self.granted.remove(pair) {
                self.retired.insert(pair.clone(), grounds);
            }
        }
        pairs
    }

    /// Our domains came back: what was granted for them still is.
    pub(super) fn restore(&mut self, is_back: impl Fn(&DomainPair) -> bool) -> Vec<Granted> {
        let (back, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|(pair, _)| is_back(pair));
        self.retired = gone;
        back.into_iter()
            .filter_map(|(pair, (consent, identity))| self.grant(pair, consent, identity))
            .collect()
    }

    /// What was granted for domains that are not ours any more is over for good.
    pub(super) fn forget_retired(&mut self) -> Vec<DomainPair> {
        std::mem::take(&mut self.retired).into_keys().collect()
    }

    /// Whether we may send for the pair.
    #[must_use]
    pub fn grants(&self, pair: &DomainPair) -> bool {
        self.granted.contains_key(pair)
    }

    /// Whether we are proven to the peer for one of our domains, towards whichever domain of theirs (BIDI-31).
    #[must_use]
    pub fn proves(&self, local: &Domain) -> bool {
        self.granted
            .keys()
            .any(|pair| pair.local().domain() == local)
    }

    /// All that we may send, and why.
    pub fn granted(&self) -> impl Iterator<Item = (&DomainPair, Consent, Identity)> {
        self.granted
            .iter()
            .map(|(pair, (consent, identity))| (pair, *consent, *identity))
    }

    /// Whether we may send nothing, not even an answer of a domain that is not ours any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.retired.is_empty()
    }

    /// How many pairs we may send for or wait for an answer about.
    #[must_use]
    pub fn len(&self) -> usize {
        let waiting = self.requests.values().filter(|request| match request {
            Request::Pending { .. } => true,
            Request::Refused | Request::Expired => false,
        });
        self.granted.len() + waiting.count()
    }

    /// Gives up requests that have waited too long; a late answer finds nothing (DB-07).
    pub fn expire(&mut self, now: Instant) -> Vec<DomainPair> {
        let late: Vec<DomainPair> = self
            .requests
            .iter()
            .filter(|(_, request)| match request {
                Request::Pending { deadline, .. } => *deadline <= now,
                Request::Refused | Request::Expired => false,
            })
            .map(|(pair, _)| pair.clone())
            .collect();
        for pair in &late {
            self.requests.insert(pair.clone(), Request::Expired);
        }
        late
    }

    pub(super) fn answer(
        &mut self,
        pair: &DomainPair,
        answer: Answer,
    ) -> Result<Option<Identity>, Unsolicited> {
        match self.requests.get(pair) {
            Some(&Request::Pending { identity, .. }) => Ok(match answer {
                //= DB-10
                Answer::Valid => {
                    self.requests.remove(pair);
                    Some(identity)
                }
                Answer::Invalid | Answer::Error(_) => {
                    self.requests.insert(pair.clone(), Request::Refused);
                    None
                }
            }),
            //= BIDI-41
            // A late answer after our own timeout is innocent, and worth nothing.
            Some(Request::Expired) => Ok(None),
            Some(Request::Refused) | None => Err(Unsolicited),
        }
    }

    /// The first grounds stay: a weaker identity never replaces a stronger one. `None` when granted before.
    pub(super) fn grant(
        &mut self,
        pair: DomainPair,
        consent: Consent,
        identity: Identity,
    ) -> Option<Granted> {
        if self.granted.contains_key(&pair) {
            return None;
        }
        self.granted.insert(pair.clone(), (consent, identity));
        Some(Granted {
            pair,
            direction: Direction::Outbound,
            grounds: Grounds::outbound(consent, identity),
        })
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.requests
            .values()
            .filter_map(|request| match request {
                Request::Pending { deadline, .. } => Some(*deadline),
                Request::Refused | Request::Expired => None,
            })
            .min()
    }
}

/// A key of ours on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The peer has not answered.
    Pending {
        /// Who we believe we are asking.
        identity: Identity,
        /// When we give up.
        deadline: Instant,
    },
    /// The peer said no; we do not ask again on this stream.
    Refused,
    /// The peer did not answer in time.
    Expired,
}
