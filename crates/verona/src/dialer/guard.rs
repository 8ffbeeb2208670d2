//! What may be dialled, and how often: one guard for streams, redirects and HTTPS.
//!
//! Where we connect is written by strangers, in DNS, in stream errors, in documents: none of them may send us into a
//! private network, to a service that is no XMPP server, back to ourselves, or to one victim all the time.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use verona_proto::addr::Domain;
use verona_proto::federation::Errand;
use verona_proto::limits::{Limit, LimitCounts, Limits, seconds, size};
use verona_proto::policy::DomainPattern;

use super::pace::Pace;
use super::ports::other_service;
use crate::config::{Config, PeerAddress};
use crate::network::{Network, is_special_purpose, is_this_machine};
use crate::shared::lock;

/// Judges every address right before a connection to it, whoever named it.
#[derive(Debug)]
pub(crate) struct Guard {
    rules: RwLock<Rules>,
    /// Our own listeners, once they are bound.
    listeners: Mutex<Vec<SocketAddr>>,
    pace: Pace,
    reached: LimitCounts,
}

/// What the operator allows.
#[derive(Debug)]
struct Rules {
    allowed: Vec<Network>,
    configured: Vec<(DomainPattern, PeerAddress)>,
}

impl Rules {
    fn new(config: &Config) -> Self {
        Self {
            allowed: config.s2s.allow_networks.clone(),
            configured: config.addresses.clone(),
        }
    }
}

impl Guard {
    pub(crate) fn new(config: &Config, limits: &Limits, reached: LimitCounts) -> Self {
        Self {
            reached,
            rules: RwLock::new(Rules::new(config)),
            listeners: Mutex::default(),
            pace: Pace::new(
                size(limits.dials_per_address_max),
                seconds(limits.dial_wait_seconds),
            ),
        }
    }

    /// Judges by another configuration from now on.
    pub(crate) fn reload(&self, config: &Config, limits: &Limits) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules::new(config);
        self.pace.limit(
            size(limits.dials_per_address_max),
            seconds(limits.dial_wait_seconds),
        );
    }

    /// A listener is ours no more.
    pub(crate) fn may_dial(&self, former: SocketAddr) {
        let mut listeners = lock(&self.listeners);
        if let Some(position) = listeners.iter().position(|own| *own == former) {
            listeners.swap_remove(position);
        }
    }

    /// A listener of ours is bound: it is never dialled.
    pub(crate) fn never_dial(&self, own: SocketAddr) {
        lock(&self.listeners).push(own);
    }

    /// Waits until a connection to `address` for the sake of `domain` may be opened, which is to be done at once.
    ///
    /// # Errors
    /// [`Refusal`]: it may not, or not soon.
    pub(crate) async fn pass(
        &self,
        domain: &Domain,
        address: SocketAddr,
        errand: Errand,
    ) -> Result<(), Refusal> {
        self.admit(domain, address)?;
        // Whom the operator names, the operator may be trusted to have asked.
        if self.is_configured(domain, address) {
            return Ok(());
        }
        let turn = self.pace.reserve(address.ip(), errand);
        match turn {
            Ok(at) => {
                if at > tokio::time::Instant::now() {
                    self.reached.reached(Limit::DialsPerAddressMax);
                }
                tokio::time::sleep_until(at).await;
            }
            Err(busy) => {
                self.reached.reached(Limit::DialWaitSeconds);
                return Err(Refusal {
                    address,
                    why: Why::TooMany(busy),
                });
            }
        }
        Ok(())
    }

    /// Whether `address` may be dialled for the sake of `domain` at all, now or later.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub(crate) fn admit(&self, domain: &Domain, address: SocketAddr) -> Result<(), Refusal> {
        let refuse = |why| Err(Refusal { address, why });
        //= DNS-27
        if lock(&self.listeners)
            .iter()
            .any(|own| is_same(*own, address))
        {
            return refuse(Why::OwnListener);
        }
        if self.is_configured(domain, address) {
            return Ok(());
        }
        if let Some(service) = other_service(address.port()) {
            return refuse(Why::OtherService(service));
        }
        match is_special_purpose(address.ip()) {
            Some(purpose) if !self.is_allowed(address.ip()) => refuse(Why::SpecialPurpose(purpose)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the operator named the very address for the domain.
    fn is_configured(&self, domain: &Domain, address: SocketAddr) -> bool {
        self.rules()
            .configured
            .iter()
            .find(|(pattern, _)| pattern.matches(domain))
            .is_some_and(|(_, configured)| configured.address == address)
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        self.rules()
            .allowed
            .iter()
            .any(|network| network.contains(address))
    }

    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no connection to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    address: SocketAddr,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    OwnListener,
    OtherService(&'static str),
    SpecialPurpose(&'static str),
    /// Others go before, for so long.
    TooMany(Duration),
}

impl Refusal {
    /// Whether it is about us and not about the address: nothing is learned of whoever is behind it.
    pub(crate) fn is_ours(self) -> bool {
        match self.why {
            Why::TooMany(_) => true,
            Why::OwnListener | Why::OtherService(_) | Why::SpecialPurpose(_) => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.why {
            Why::OwnListener => write!(
                f,
                "{address} is our own listener; its DNS, or the address in [[peer]], leads back to this server"
            ),
            Why::OtherService(service) => write!(
                f,
                "{address} is not dialled: port {} is for {service}; an address in [[peer]] allows it",
                address.port()
            ),
            Why::SpecialPurpose(purpose) => write!(
                f,
                "{address} is not a public address ({purpose}); allow it by s2s.allow_networks or by an address in [[peer]]"
            ),
            Why::TooMany(wait) => write!(
                f,
                "{address} is not dialled: so many connections to that address are being opened that this one would \
                 wait {} s (limits dials_per_address_max, dial_wait_seconds)",
                wait.as_secs()
            ),
        }
    }
}

/// Whether a connection to `address` would arrive at our listener `own`.
fn is_same(own: SocketAddr, address: SocketAddr) -> bool {
    let (bound, dialled) = (own.ip().to_canonical(), address.ip().to_canonical());
    own.port() == address.port()
        && (bound == dialled || (bound.is_unspecified() && is_this_machine(dialled)))
}

#[cfg(test)]
mod tests;
