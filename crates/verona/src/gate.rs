//! Who may connect: bounds on streams by address and on streams that have not authenticated (LIM-08).
//!
//! A connection over a bound is closed without a word: an answer would cost more than it is worth (ERR-04).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use verona_proto::limits::{Limits, size};

use crate::shared::lock;

/// The door of the listeners.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    counts: Arc<Mutex<Counts>>,
    per_address_max: usize,
    negotiating_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: BTreeMap<IpAddr, usize>,
    negotiating: usize,
}

impl Gate {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            counts: Arc::default(),
            per_address_max: size(limits.streams_per_address_max),
            negotiating_max: size(limits.negotiations_max),
        }
    }

    /// Lets a connection in, or says which bound it would break.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Admission, &'static str> {
        let address = network(address);
        let mut counts = lock(&self.counts);
        //= LIM-08
        if counts.negotiating >= self.negotiating_max {
            return Err("negotiations_max");
        }
        let held = counts.by_address.entry(address).or_default();
        if *held >= self.per_address_max {
            return Err("streams_per_address_max");
        }
        *held += 1;
        counts.negotiating += 1;
        Ok(Admission {
            gate: self.clone(),
            address,
            negotiating: true,
        })
    }
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    gate: Gate,
    address: IpAddr,
    negotiating: bool,
}

impl Admission {
    /// The peer has authenticated: it no longer counts among those that have not.
    pub(crate) fn authenticated(&mut self) {
        if std::mem::take(&mut self.negotiating) {
            let mut counts = lock(&self.gate.counts);
            counts.negotiating = counts.negotiating.saturating_sub(1);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.authenticated();
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

/// What counts as one address: an IPv4 address, or an IPv6 /64, of which anyone has plenty.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

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
        assert_eq!(at("192.0.2.1").unwrap_err(), "streams_per_address_max");
        let third = at("2001:db8::1").unwrap();
        assert_eq!(at("2001:db8:1::1").unwrap_err(), "negotiations_max");
        first.authenticated();
        let fourth = at("2001:db8::2").unwrap();
        assert_eq!(at("192.0.2.9").unwrap_err(), "negotiations_max");
        drop((second, third, fourth));
        assert_eq!(lock(&gate.counts).by_address.len(), 1);
        drop(first);
        assert_eq!(lock(&gate.counts).by_address.len(), 0);
        assert_eq!(lock(&gate.counts).negotiating, 0);
    }
}
