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
}

impl Hosts {
    /// Hosts exactly the given domains.
    pub fn new(served: impl IntoIterator<Item = Domain>) -> Self {
        Self {
            served: served.into_iter().collect(),
        }
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
