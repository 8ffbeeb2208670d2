//! What one stream may carry, in which direction, and why.
//!
//! A stream authorises each domain pair per direction. [`Inbound`] is the table of the receiving server (XEP-0220
//! §2.2.1), [`Outbound`] that of the initiating server (§2.1.1); they know nothing of each other. Everything that
//! couples them is in this file: it is the rule of XEP-0288 §2.2 and nothing more. The policy of the pair's remote domain
//! (`bidi`) may forbid it, whoever else the stream is with (BIDI-71).

mod departure;
mod inbound;
mod outbound;

use std::time::Instant;

pub use inbound::Inbound;
pub use outbound::{Outbound, Request};

use crate::addr::{Direction, Domain, DomainPair, Hosts, LocalDomain, NotAPair};
use crate::dialback::{Answer, Verdict};
use crate::grounds::{Assurance, Consent, Grounds, Identity, Proof};
use crate::policy::{BidiPolicy, Strictness};
use crate::stanza::{Admitted, Destination, Stanza};

/// The authorisations of one stream.
///
/// A direction that the stream does not have, has no table here to be granted in.
#[derive(Debug)]
pub enum Authorizations {
    /// We initiated, without bidi: only we send.
    Outbound(Outbound),
    /// The peer initiated, without bidi: only the peer sends.
    Inbound(Inbound),
    /// Bidirectional (XEP-0288): both send, each direction on its own grounds.
    Both {
        /// What the peer may send.
        inbound: Inbound,
        /// What we may send.
        outbound: Outbound,
    },
}

impl Authorizations {
    /// The empty table for a stream.
    #[must_use]
    pub fn new(role: Role, flow: Flow) -> Self {
        match (flow, role) {
            (Flow::Bidirectional, Role::Initiating | Role::Receiving) => Self::Both {
                inbound: Inbound::default(),
                outbound: Outbound::default(),
            },
            //= BIDI-84
            (Flow::Unidirectional, Role::Initiating) => Self::Outbound(Outbound::default()),
            //= BIDI-83
            (Flow::Unidirectional, Role::Receiving) => Self::Inbound(Inbound::default()),
        }
    }

    /// Accepts a late `<bidi/>`: what is proven inbound opens outbound as well (BIDI-13, BIDI-14).
    #[must_use]
    pub fn into_both(self, bidi: impl Fn(&Domain) -> BidiPolicy) -> (Self, Vec<Granted>) {
        match self {
            Self::Inbound(inbound) => {
                let mut outbound = Outbound::default();
                //= BIDI-13
                //= BIDI-14
                let granted = inbound
                    .granted()
                    //= BIDI-71
                    .filter(|(pair, _)| bidi(pair.remote().domain()) == BidiPolicy::Auto)
                    .filter_map(|(pair, proof)| {
                        outbound.grant(pair.clone(), Consent::Inverse, proof.identity())
                    })
                    .collect();
                (Self::Both { inbound, outbound }, granted)
            }
            unchanged @ (Self::Outbound(_) | Self::Both { .. }) => (unchanged, Vec::new()),
        }
    }

    /// The peer proved that it speaks for the pair's remote domain.
    ///
    /// # Errors
    /// [`NoDirection`] when the peer may send nothing on this stream.
    pub fn prove(
        &mut self,
        pair: DomainPair,
        proof: Proof,
        bidi: BidiPolicy,
    ) -> Result<Vec<Granted>, NoDirection> {
        match self {
            Self::Outbound(_) => Err(NoDirection(Direction::Inbound)),
            Self::Inbound(inbound) => Ok(inbound.grant(pair, proof).into_iter().collect()),
            Self::Both { inbound, outbound } => {
                //= BIDI-19
                //= BIDI-20
                //= BIDI-21
                // The pair is exactly what was proven: the stream's 'to' with the SASL identity, or the verified key's pair.
                let there = inbound.grant(pair.clone(), proof);
                //= BIDI-33
                let back = match bidi {
                    BidiPolicy::Auto => outbound.grant(pair, Consent::Inverse, proof.identity()),
                    //= BIDI-71
                    BidiPolicy::Off => None,
                };
                Ok(there.into_iter().chain(back).collect())
            }
        }
    }

    /// The peer consented to receive for the pair; `identity` says who it is.
    ///
    /// # Errors
    /// [`NoDirection`] when we may send nothing on this stream.
    pub fn consent(
        &mut self,
        pair: DomainPair,
        consent: Consent,
        identity: Identity,
        bidi: BidiPolicy,
    ) -> Result<Vec<Granted>, NoDirection> {
        match self {
            Self::Inbound(_) => Err(NoDirection(Direction::Outbound)),
            Self::Outbound(outbound) => Ok(outbound
                .grant(pair, consent, identity)
                .into_iter()
                .collect()),
            Self::Both { inbound, outbound } => {
                // XEP-0288 §2.2, the same rule from the connecting server's side.
                let there = outbound.grant(pair.clone(), consent, identity);
                let back = match bidi {
                    BidiPolicy::Auto => inbound.grant(pair, Proof::Inverse(identity)),
                    //= BIDI-71
                    BidiPolicy::Off => None,
                };
                Ok(there.into_iter().chain(back).collect())
            }
        }
    }

    /// Settles a key that we had the authoritative server check; says how many requests of the peer it answers.
    ///
    /// # Errors
    /// [`Unsolicited`] when no key for the pair is being checked for this stream.
    pub fn conclude(
        &mut self,
        pair: &DomainPair,
        verdict: Verdict,
        assurance: Assurance,
        bidi: BidiPolicy,
    ) -> Result<Concluded, Unsolicited> {
        let requests = self
            .inbound_mut()
            .ok_or(Unsolicited)?
            .conclude(pair)
            .ok_or(Unsolicited)?;
        let granted = match verdict {
            Verdict::Valid => self
                .prove(pair.clone(), Proof::Dialback(assurance), bidi)
                .map_err(|_| Unsolicited)?,
            Verdict::Invalid | Verdict::Error(_) => Vec::new(),
        };
        Ok(Concluded { requests, granted })
    }

    /// Settles a request of ours with the peer's `<db:result/>`.
    ///
    /// # Errors
    /// [`Unsolicited`]: an answer to nothing is an attack (XEP-0220 §3.1).
    pub fn answer(
        &mut self,
        pair: &DomainPair,
        answer: Answer,
        bidi: BidiPolicy,
    ) -> Result<Vec<Granted>, Unsolicited> {
        //= DB-09
        //= BIDI-37
        //= BIDI-39
        let outbound = self.outbound_mut().ok_or(Unsolicited)?;
        match outbound.answer(pair, answer)? {
            None => Ok(Vec::new()),
            Some(identity) => self
                .consent(pair.clone(), Consent::Dialback, identity, bidi)
                .map_err(|_| Unsolicited),
        }
    }

    /// Admits a stanza that arrived on this stream, or says why not.
    ///
    /// # Errors
    /// [`Rejected`], each of which is a stream error (RFC 6120 §8.1.1.2, §8.1.2.2).
    pub fn admit(
        &self,
        hosts: &Hosts,
        strictness: impl FnOnce(&Domain) -> Strictness,
        stanza: Stanza,
    ) -> Result<Admitted, Rejected> {
        let local = self.admits(hosts, strictness, stanza.from(), stanza.to())?;
        Ok(Admitted::new(Destination::Local(local), stanza))
    }

    /// Whether the peer may send from `from` to `to`, and to which of our domains that is.
    ///
    /// # Errors
    /// As [`Authorizations::admit`].
    pub fn admits(
        &self,
        hosts: &Hosts,
        strictness: impl FnOnce(&Domain) -> Strictness,
        from: &Domain,
        to: &Domain,
    ) -> Result<LocalDomain, Rejected> {
        //= BIDI-22
        //= STREAM-34
        let inbound = self
            .inbound()
            .filter(|inbound| !inbound.is_empty())
            .ok_or(Rejected::NotAuthorized)?;
        let pair = match hosts.pair(Direction::Inbound, from, to) {
            Ok(pair) => pair,
            //= ROUTE-03
            Err(NotAPair::RemoteIsServed(_)) => return Err(Rejected::InvalidFrom),
            Err(NotAPair::LocalNotServed(_)) => {
                //= ROUTE-04
                //= ROUTE-08
                return Err(match inbound.proves(from) {
                    true => Rejected::HostUnknown,
                    false => Rejected::InvalidFrom,
                });
            }
        };
        if inbound.grants(&pair) {
            return Ok(pair.local().clone());
        }
        if !inbound.proves(from) {
            return Err(Rejected::InvalidFrom);
        }
        //= ROUTE-05
        match strictness(from) {
            Strictness::ExactPair => Err(Rejected::HostUnknown),
            Strictness::AnyHosted => Ok(pair.local().clone()),
        }
    }

    /// Whether we may send for `pair` on this stream; for a domain that is not ours any more there are only answers
    /// to send, and only for a while (BIDI-79).
    #[must_use]
    pub fn permits(&self, pair: &DomainPair) -> bool {
        self.outbound()
            .is_some_and(|outbound| outbound.grants(pair) || outbound.retires(pair))
    }

    /// Whether anything is authorised at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inbound().is_none_or(Inbound::is_empty)
            && self.outbound().is_none_or(Outbound::is_empty)
    }

    /// Who the peer is believed to be in all that is authorised here, and on which grounds.
    pub fn identities(&self) -> impl Iterator<Item = (&Domain, Identity)> {
        let inbound = self.inbound().into_iter().flat_map(Inbound::granted);
        let outbound = self.outbound().into_iter().flat_map(Outbound::granted);
        inbound
            .map(|(pair, proof)| (pair.remote().domain(), proof.identity()))
            .chain(outbound.map(|(pair, _, identity)| (pair.remote().domain(), identity)))
    }

    /// How many pairs are authorised or asked for, in the fuller direction (LIM-10).
    #[must_use]
    pub fn pairs(&self) -> usize {
        let inbound = self
            .inbound()
            .map_or(0, |inbound| inbound.len() + inbound.verifying());
        inbound.max(self.outbound().map_or(0, Outbound::len))
    }

    /// Whether stanzas may flow both ways (XEP-0288).
    #[must_use]
    pub fn is_bidirectional(&self) -> bool {
        match self {
            Self::Both { .. } => true,
            Self::Outbound(_) | Self::Inbound(_) => false,
        }
    }

    /// When the first request or verification has waited long enough.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let inbound = self.inbound().and_then(Inbound::deadline);
        let outbound = self.outbound().and_then(Outbound::deadline);
        inbound.into_iter().chain(outbound).min()
    }

    /// All that is granted, for status (contract §4).
    #[must_use]
    pub fn grants(&self) -> Vec<Granted> {
        let inbound = self.inbound().into_iter().flat_map(|inbound| {
            inbound.granted().map(|(pair, proof)| Granted {
                pair: pair.clone(),
                direction: Direction::Inbound,
                grounds: Grounds::inbound(proof),
            })
        });
        let outbound = self.outbound().into_iter().flat_map(|outbound| {
            outbound.granted().map(|(pair, consent, identity)| Granted {
                pair: pair.clone(),
                direction: Direction::Outbound,
                grounds: Grounds::outbound(consent, identity),
            })
        });
        inbound.chain(outbound).collect()
    }

    /// The inbound half, if the stream has one.
    #[must_use]
    pub fn inbound(&self) -> Option<&Inbound> {
        match self {
            Self::Inbound(inbound) | Self::Both { inbound, .. } => Some(inbound),
            Self::Outbound(_) => None,
        }
    }

    /// The outbound half, if the stream has one.
    #[must_use]
    pub fn outbound(&self) -> Option<&Outbound> {
        match self {
            Self::Outbound(outbound) | Self::Both { outbound, .. } => Some(outbound),
            Self::Inbound(_) => None,
        }
    }

    /// The inbound half, if the stream has one.
    pub fn inbound_mut(&mut self) -> Option<&mut Inbound> {
        match self {
            Self::Inbound(inbound) | Self::Both { inbound, .. } => Some(inbound),
            Self::Outbound(_) => None,
        }
    }

    /// The outbound half, if the stream has one.
    pub fn outbound_mut(&mut self) -> Option<&mut Outbound> {
        match self {
            Self::Outbound(outbound) | Self::Both { outbound, .. } => Some(outbound),
            Self::Inbound(_) => None,
        }
    }
}

/// Who opened the stream (RFC 6120 §4.1). It matters until the stream is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We did.
    Initiating,
    /// The peer did.
    Receiving,
}

/// Which way stanzas may flow at all (RFC 6120 §4.5, XEP-0288).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// From the initiating to the receiving entity.
    Unidirectional,
    /// Both ways.
    Bidirectional,
}

/// One direction of one pair has been authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The pair.
    pub pair: DomainPair,
    /// Which way it may now flow.
    pub direction: Direction,
    /// Why.
    pub grounds: Grounds,
}

/// A verdict has been settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concluded {
    /// How many requests of the peer wait for the answer (DB-48).
    pub requests: u32,
    /// What it opened.
    pub granted: Vec<Granted>,
}

/// The stream does not have that direction at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDirection(pub Direction);

/// An answer to a question that was not asked on this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsolicited;

/// Why a stanza was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Nothing is authorised yet in this direction (RFC 6120 §4.3.5).
    NotAuthorized,
    /// The 'to' domain is not ours, or not that of the pair (RFC 6120 §8.1.1.2).
    HostUnknown,
    /// The peer is not authorised for the 'from' domain (RFC 6120 §8.1.2.2).
    InvalidFrom,
}

#[cfg(test)]
mod tests;
