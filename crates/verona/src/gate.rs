//! Who may connect: bounds on streams by address and on streams that have not authenticated (LIM-08).
//!
//! A connection over a bound is closed without a word: an answer would cost more than it is worth (ERR-04).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use verona_proto::addr::DomainPair;
use verona_proto::limits::{Limit, Limits, size};

use crate::network::neighbourhood;
use crate::shared::lock;

/// The door of the listeners.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    per_address_max: usize,
    negotiating_max: usize,
    verifying_max: usize,
    by_address: BTreeMap<IpAddr, usize>,
    negotiating: usize,
    verifying: BTreeMap<IpAddr, usize>,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        let gate = Self {
            counts: Arc::default(),
        };
        gate.limit(limits);
        gate
    }

    /// Sets the bounds; who is in stays in.
    pub(crate) fn limit(&self, limits: &Limits) {
        let mut counts = lock(&self.counts);
        counts.per_address_max = size(limits.streams_per_address_max);
        counts.negotiating_max = size(limits.negotiations_max);
        counts.verifying_max = size(limits.verifications_per_address_max);
    }

    /// Lets a connection in, or says which bound it would break.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Admission, Limit> {
        let address = neighbourhood(address);
        let mut counts = lock(&self.counts);
        //= LIM-08
        if counts.negotiating >= counts.negotiating_max {
            return Err(Limit::NegotiationsMax);
        }
        let most = counts.per_address_max;
        let held = counts.by_address.entry(address).or_default();
        if *held >= most {
            return Err(Limit::StreamsPerAddressMax);
        }
        *held += 1;
        counts.negotiating += 1;
        Ok(Admission {
            gate: self.clone(),
            address,
            negotiating: true,
            verifying: BTreeSet::new(),
        })
    }
}

/// Places that are counted, and of which there may be more or fewer from one moment to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<AtomicUsize>);

impl Places {
    /// One of `most`, if there is one left.
    pub(crate) fn take(&self, most: usize) -> Option<Place> {
        let taken = |held: usize| (held < most).then_some(held + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    gate: Gate,
    address: IpAddr,
    negotiating: bool,
    /// Whose keys are being checked for this connection.
    verifying: BTreeSet<DomainPair>,
}

impl Admission {
    /// The peer has authenticated: it no longer counts among those that have not.
    pub(crate) fn authenticated(&mut self) {
        if std::mem::take(&mut self.negotiating) {
            let mut counts = lock(&self.gate.counts);
            counts.negotiating = counts.negotiating.saturating_sub(1);
        }
    }

    /// A key is about to be checked for this connection, or its address has too many under way (DB-53).
    pub(crate) fn begin_verification(&mut self, pair: &DomainPair) -> Result<(), Limit> {
        if self.verifying.contains(pair) {
            return Ok(());
        }
        let mut counts = lock(&self.gate.counts);
        let most = counts.verifying_max;
        let held = counts.verifying.entry(self.address).or_default();
        //= DB-53
        if *held >= most {
            return Err(Limit::VerificationsPerAddressMax);
        }
        *held += 1;
        self.verifying.insert(pair.clone());
        Ok(())
    }

    /// The verdict is there.
    pub(crate) fn end_verification(&mut self, pair: &DomainPair) {
        if self.verifying.remove(pair) {
            self.give_back_verifications(1);
        }
    }

    fn give_back_verifications(&self, count: usize) {
        let mut counts = lock(&self.gate.counts);
        let gone = match counts.verifying.get_mut(&self.address) {
            Some(held) => {
                *held = held.saturating_sub(count);
                *held == 0
            }
            None => false,
        };
        if gone {
            counts.verifying.remove(&self.address);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.authenticated();
        self.give_back_verifications(self.verifying.len());
        let mut counts = lock(&self.gate.counts);
        let gone = match counts.by_address.get_mut(&self.address) {
            Some(held) => {
                *held = held.saturating_sub(1);
                *held == 0
            }
            None => false,
        };
        if gone {
            counts.by_address.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn one_address_cannot_use_up_the_verifications_of_all() {
        //= DB-53
        use verona_proto::addr::{Direction, Domain, Hosts};
        let mut limits = Limits::default();
        limits.set("verifications_per_address_max", 2).unwrap();
        let gate = Gate::new(&limits);
        let ours = Domain::parse("montague.lit").unwrap();
        let hosts = Hosts::new([ours.clone()]);
        let pair = |remote: &str| {
            let remote = Domain::parse(remote).unwrap();
            hosts.pair(Direction::Inbound, &remote, &ours).unwrap()
        };
        let mut first = gate.admit("192.0.2.1".parse().unwrap()).unwrap();
        let mut second = gate.admit("192.0.2.1".parse().unwrap()).unwrap();
        let mut elsewhere = gate.admit("192.0.2.2".parse().unwrap()).unwrap();
        let full = Err(Limit::VerificationsPerAddressMax);
        assert_eq!(first.begin_verification(&pair("a.lit")), Ok(()));
        assert_eq!(first.begin_verification(&pair("a.lit")), Ok(()), "again");
        assert_eq!(second.begin_verification(&pair("b.lit")), Ok(()));
        assert_eq!(second.begin_verification(&pair("c.lit")), full);
        assert_eq!(elsewhere.begin_verification(&pair("c.lit")), Ok(()));
        first.end_verification(&pair("a.lit"));
        assert_eq!(second.begin_verification(&pair("c.lit")), Ok(()));
        drop((first, second, elsewhere));
        assert!(lock(&gate.counts).verifying.is_empty());
    }

    #[test]
    fn places_are_counted_and_given_back() {
        //= LIM-08
        let mut limits = Limits::default();
        limits.set("streams_per_address_max", 2).unwrap();
        limits.set("negotiations_max", 3).unwrap();
        let gate = Gate::new(&limits);
        let at = |text: &str| gate.admit(text.parse().unwrap());
        let mut first = at("192.0.2.1").unwrap();
        let second = at("::ffff:192.0.2.1").unwrap();
        assert_eq!(at("192.0.2.1").unwrap_err(), Limit::StreamsPerAddressMax);
        let third = at("2001:db8::1").unwrap();
        assert_eq!(at("2001:db8:1::1").unwrap_err(), Limit::NegotiationsMax);
        first.authenticated();
        let fourth = at("2001:db8::2").unwrap();
        assert_eq!(at("192.0.2.9").unwrap_err(), Limit::NegotiationsMax);
        drop((second, third, fourth));
        assert_eq!(lock(&gate.counts).by_address.len(), 1);
        drop(first);
        assert_eq!(lock(&gate.counts).by_address.len(), 0);
        assert_eq!(lock(&gate.counts).negotiating, 0);
    }
}
