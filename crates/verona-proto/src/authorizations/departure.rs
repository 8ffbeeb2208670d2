//! A domain of ours is taken out of the configuration while streams carry its pairs, or comes back (BIDI-79).
//!
//! Its authorisations are over at once: nothing is taken from the domain or for it. But a peer cannot know, and an error of
//! the stream would hit the other domains on it; so for a while what comes is answered, on the grounds that were there.

use super::{Authorizations, Granted};
use crate::addr::{Direction, Domain, DomainPair, Hosts};

impl Authorizations {
    /// Ends the authorisations for our domains of which `hosts` knows nothing any more; says which these were.
    pub fn retire(&mut self, hosts: &Hosts) -> Vec<(DomainPair, Direction)> {
        //= BIDI-79
        let is_gone = |pair: &DomainPair| hosts.local(pair.local().domain()).is_none();
        let inbound = self
            .inbound_mut()
            .map(|inbound| inbound.retire(is_gone))
            .unwrap_or_default();
        let outbound = self
            .outbound_mut()
            .map(|outbound| outbound.retire(is_gone))
            .unwrap_or_default();
        let inbound = inbound.into_iter().map(|pair| (pair, Direction::Inbound));
        let outbound = outbound.into_iter().map(|pair| (pair, Direction::Outbound));
        inbound.chain(outbound).collect()
    }

    /// Domains that are ours again get back what they had.
    pub fn restore(&mut self, hosts: &Hosts) -> Vec<Granted> {
        let is_back = |pair: &DomainPair| hosts.local(pair.local().domain()).is_some();
        let inbound = self
            .inbound_mut()
            .map(|inbound| inbound.restore(is_back))
            .unwrap_or_default();
        let outbound = self
            .outbound_mut()
            .map(|outbound| outbound.restore(is_back))
            .unwrap_or_default();
        inbound.into_iter().chain(outbound).collect()
    }

    /// The time for answers is over; says for which pairs we might send some.
    pub fn forget_retired(&mut self) -> Vec<DomainPair> {
        if let Some(inbound) = self.inbound_mut() {
            inbound.forget_retired();
        }
        self.outbound_mut()
            .map(|outbound| outbound.forget_retired())
            .unwrap_or_default()
    }

    /// Whether a stanza from `from` is to be answered, because its peer might send it to `to` while that was ours.
    #[must_use]
    pub fn retires(&self, hosts: &Hosts, from: &Domain, to: &Domain) -> bool {
        self.inbound().is_some_and(|inbound| {
            hosts
                .answering_pair(to, from)
                .is_some_and(|pair| inbound.retires(&pair))
        })
    }

    /// Requests of ours for these pairs are not to be granted any more, whatever the answer is.
    pub fn withdraw(&mut self, is_unwanted: impl Fn(&DomainPair) -> bool) {
        if let Some(outbound) = self.outbound_mut() {
            outbound.withdraw(is_unwanted);
        }
    }
}
