//! Which domains are ours: the only maker of [`LocalDomain`], [`RemoteDomain`] and [`DomainPair`].
//!
//! The `<host-unknown/>` check (RFC 6120 §4.9.3.6) and the "claims to be us" check can be forgotten nowhere: without
//! them there is no pair to speak of.

use std::collections::BTreeSet;
use std::fmt;

use super::Domain;

/// The set of domains this server hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    served: BTreeSet<Domain>,
    departed: BTreeSet<Domain>,
}

impl Hosts {
    /// Hosts exactly the given domains.
    pub fn new(served: impl IntoIterator<Item = Domain>) -> Self {
        Self {
            served: served.into_iter().collect(),
            departed: BTreeSet::new(),
        }
    }

    /// The same, with domains that were ours until a moment ago: nothing is taken from them or for them any more, but
    /// what still comes for them is answered (BIDI-79). One that is hosted has not departed.
    #[must_use]
    pub fn with_departed(mut self, departed: impl IntoIterator<Item = Domain>) -> Self {
        let departed = departed.into_iter();
        self.departed = departed
            .filter(|domain| !self.served.contains(domain))
            .collect();
        self
    }

    /// Names the pair for traffic that flows from `sender` to `target`.
    ///
    /// # Errors
    /// [`NotAPair`] when the half that must be ours is not, or the half that must be theirs is ours.
    pub fn pair(
        &self,
        direction: Direction,
        sender: &Domain,
        target: &Domain,
    ) -> Result<DomainPair, NotAPair> {
        let (local, remote) = match direction {
            Direction::Inbound => (target, sender),
            Direction::Outbound => (sender, target),
        };
        //= STREAM-23
        //= BIDI-73
        if self.served.contains(remote) {
            return Err(NotAPair::RemoteIsServed(remote.clone()));
        }
        if !self.served.contains(local) {
            return Err(NotAPair::LocalNotServed(local.clone()));
        }
        Ok(DomainPair {
            local: LocalDomain(local.clone()),
            remote: RemoteDomain(remote.clone()),
        })
    }

    /// The domain as one of ours, if it is.
    #[must_use]
    pub fn local(&self, domain: &Domain) -> Option<LocalDomain> {
        self.served.get(domain).cloned().map(LocalDomain)
    }

    /// The domain as one that we speak for: one of ours, or one that was until a moment ago and still gives answers.
    #[must_use]
    pub fn answering(&self, domain: &Domain) -> Option<LocalDomain> {
        //= BIDI-79
        self.local(domain)
            .or_else(|| self.departed.get(domain).cloned().map(LocalDomain))
    }

    /// The pair for an answer that flows from `sender`, which we speak for, to `target`.
    #[must_use]
    pub fn answering_pair(&self, sender: &Domain, target: &Domain) -> Option<DomainPair> {
        if self.served.contains(target) {
            return None;
        }
        Some(DomainPair {
            local: self.answering(sender)?,
            remote: RemoteDomain(target.clone()),
        })
    }

    /// The domains that were ours until a moment ago, in order.
    pub fn departed(&self) -> impl Iterator<Item = &Domain> {
        self.departed.iter()
    }

    /// All our domains, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.served.iter()
    }

    /// Our only domain, if there is just one (STREAM-21).
    #[must_use]
    pub fn only(&self) -> Option<&Domain> {
        let mut all = self.served.iter();
        match (all.next(), all.next()) {
            (Some(domain), None) => Some(domain),
            (None | Some(_), _) => None,
        }
    }
}

/// A domain of ours and a domain of theirs (XEP-0220 §1.3, "Domain Pair").
///
/// Independent of direction: [`Direction`] says which of the two is the sender. It has no public constructor:
///
/// ```compile_fail,E0451
/// # use verona_proto::addr::{DomainPair, LocalDomain, RemoteDomain};
/// fn forge(local: LocalDomain, remote: RemoteDomain) -> DomainPair {
///     DomainPair { local, remote } // the fields are private
/// }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainPair {
    local: LocalDomain,
    remote: RemoteDomain,
}

impl DomainPair {
    /// The half we host.
    #[must_use]
    pub fn local(&self) -> &LocalDomain {
        &self.local
    }

    /// The half the peer hosts.
    #[must_use]
    pub fn remote(&self) -> &RemoteDomain {
        &self.remote
    }
}

impl fmt::Display for DomainPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.local, self.remote)
    }
}

impl fmt::Debug for DomainPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why two domains do not form a [`DomainPair`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAPair {
    /// The half that must be ours is not hosted here: `<host-unknown/>`.
    LocalNotServed(Domain),
    /// The half that must be theirs is hosted here: an impostor, or a loop.
    RemoteIsServed(Domain),
}

/// Which way stanzas flow, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the peer to us: the remote domain is the sender domain.
    Inbound,
    /// From us to the peer: the local domain is the sender domain.
    Outbound,
}

/// A domain we host. Made by [`Hosts`] only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDomain(Domain);

/// A domain we do not host. Made by [`Hosts::pair`] only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteDomain(Domain);

impl LocalDomain {
    /// The domain itself.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.0
    }
}

impl RemoteDomain {
    /// The domain itself.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.0
    }
}

impl fmt::Display for LocalDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for LocalDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for RemoteDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RemoteDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn a_pair_has_one_half_of_ours_and_one_of_theirs() {
        let hosts = Hosts::new([domain("montague.lit"), domain("conference.montague.lit")]);
        let pair = hosts
            .pair(
                Direction::Inbound,
                &domain("capulet.lit"),
                &domain("montague.lit"),
            )
            .unwrap();
        assert_eq!(pair.to_string(), "montague.lit~capulet.lit");
        let same = hosts
            .pair(
                Direction::Outbound,
                &domain("montague.lit"),
                &domain("capulet.lit"),
            )
            .unwrap();
        assert_eq!(pair, same);
    }

    #[test]
    fn a_domain_that_departed_gives_answers_and_nothing_else() {
        //= BIDI-79
        let (ours, gone, theirs) = (
            domain("montague.lit"),
            domain("conference.montague.lit"),
            domain("capulet.lit"),
        );
        let hosts = Hosts::new([ours.clone()]).with_departed([gone.clone(), ours.clone()]);
        assert_eq!(hosts.departed().collect::<Vec<_>>(), [&gone]);
        assert_eq!(hosts.local(&gone), None);
        assert!(hosts.pair(Direction::Outbound, &gone, &theirs).is_err());
        assert!(hosts.pair(Direction::Inbound, &theirs, &gone).is_err());
        assert!(hosts.pair(Direction::Inbound, &gone, &ours).is_ok());
        assert!(hosts.answering(&gone).is_some() && hosts.answering(&ours).is_some());
        assert_eq!(
            hosts.answering_pair(&gone, &theirs).unwrap().to_string(),
            "conference.montague.lit~capulet.lit"
        );
        assert_eq!(hosts.answering_pair(&gone, &ours), None);
        assert_eq!(hosts.answering_pair(&theirs, &gone), None);
        assert_eq!(hosts.answering(&theirs), None);
    }

    #[test]
    fn nobody_claims_to_be_us() {
        //= STREAM-23
        let hosts = Hosts::new([domain("montague.lit"), domain("conference.montague.lit")]);
        assert_eq!(
            hosts.pair(
                Direction::Inbound,
                &domain("conference.montague.lit"),
                &domain("montague.lit")
            ),
            Err(NotAPair::RemoteIsServed(domain("conference.montague.lit")))
        );
        assert_eq!(
            hosts.pair(
                Direction::Inbound,
                &domain("capulet.lit"),
                &domain("nobody.lit")
            ),
            Err(NotAPair::LocalNotServed(domain("nobody.lit")))
        );
    }
}
