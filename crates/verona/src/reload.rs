//! Another configuration for a running engine: as if it had been started with that one, but nobody is disturbed whom the
//! change does not concern.
//!
//! What can fail is done first, and then nothing has changed. What follows cannot fail: the snapshot that every task
//! reads is replaced, streams and components are told to look at theirs, the federation hears of domains and policy.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

use tokio::time::{Duration, sleep};
use verona_proto::addr::Domain;
use verona_proto::federation::{Reload, Signal};
use verona_proto::limits::size;
use verona_proto::policy::DomainPattern;

use crate::config::{Config, Dnssec, ListenAddress, PeerAddress};
use crate::current::{self, Current};
use crate::engine::{Handle, StartError};
use crate::shared::Shared;
use crate::tls::Tls;
use crate::waiting;

impl Handle {
    /// Replaces the configuration.
    ///
    /// From here on everything that begins follows `config`. Connections and components that it still allows live on
    /// untouched. A connection with something on it that the new policy forbids is closed in good order: what was not
    /// sent yet goes by the new policy, and what is still allowed begins anew. A domain that is not hosted any more is
    /// taken off the connections that it shares with others; for a minute its peers are answered with
    /// `service-unavailable`, and its component, if it has one, hears what became of its stanzas and is disconnected with
    /// `host-gone`. An [`Attachment`](crate::Attachment) of it gets nothing new and sends nothing.
    ///
    /// [`Config::version`], [`Config::learned`], [`Config::issued_keys`], [`Config::journal`], [`Config::trace`] and
    /// [`Config::simulated`] are of the start and stay as they were.
    ///
    /// # Errors
    /// [`StartError`], as [`Engine::start`](crate::Engine::start) has it, and then nothing has changed.
    pub async fn reload(&self, mut config: Config) -> Result<Reloaded, StartError> {
        let shared = &self.shared;
        let _alone = shared.reloading.lock().await;
        let before = shared.current();
        let (certificates, trust) = (
            std::mem::take(&mut config.certificates),
            std::mem::take(&mut config.trust),
        );
        let is_trust_new = !trust.are_same_as(before.tls.trust());
        let tls = Arc::new(Tls::new(certificates, trust).map_err(StartError::Tls)?);
        // One that asks the same is kept, with what it knows.
        let resolver = match asks_the_same(&before.config, &config) {
            true => before.resolver.clone(),
            false => current::resolver(&config).map_err(StartError::Resolver)?,
        };
        let listeners = shared.listeners.prepare(shared, &config).await?;

        let next = before.replaced_by(config, tls, resolver);
        shared.guard.reload(&next.config, &next.limits);
        shared.gate.limit(&next.limits);
        shared.switchboard.limit_pairs(
            next.pair_limit(),
            size(next.limits.pairs_max),
            size(next.limits.outboxes_bytes_max),
        );
        shared.switchboard.limit_components(next.component_limit());
        shared.replace(|_| Some(next.clone()));
        if is_trust_new {
            shared.posh.forget();
        }
        let changed = shared.listeners.replace(shared, listeners);
        shared
            .signal(Signal::Reload(Reload {
                hosts: Arc::clone(&next.streams.hosts),
                policy: Arc::clone(&next.streams.policy),
                moved: moved(&before.config, &next.config),
            }))
            .await;
        shared.reloads.send_modify(|count| *count += 1);
        for handle in shared.connections().values() {
            handle.commands.ring();
        }
        waiting::reload(shared).await;
        if let Some(wait) = next.forgets_in() {
            tokio::spawn(forget(Arc::downgrade(shared), wait));
        }
        let hosted = |current: &Current| -> BTreeSet<Domain> {
            current.streams.hosts.iter().cloned().collect()
        };
        let (were, are) = (hosted(&before), hosted(&next));
        Ok(Reloaded {
            added: are.difference(&were).cloned().collect(),
            removed: were.difference(&are).cloned().collect(),
            opened: changed.opened,
            closed: changed.closed,
        })
    }
}

/// What another configuration brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Domains that are hosted from now on.
    pub added: Vec<Domain>,
    /// Domains that are not hosted any more.
    pub removed: Vec<Domain>,
    /// Where we listen from now on.
    pub opened: Vec<ListenAddress>,
    /// Where we do not listen any more.
    pub closed: Vec<ListenAddress>,
}

impl fmt::Display for Reloaded {
    /// Such as `domains added: a.lit; domains removed: b.lit`, or `the same domains and listeners as before`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn listed<T: fmt::Display>(what: &str, items: &[T]) -> Option<String> {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            (!items.is_empty()).then(|| format!("{what}: {}", items.join(", ")))
        }
        let parts: Vec<String> = [
            listed("domains added", &self.added),
            listed("domains removed", &self.removed),
            listed("listening on", &self.opened),
            listed("no longer listening on", &self.closed),
        ]
        .into_iter()
        .flatten()
        .collect();
        match parts.is_empty() {
            true => f.write_str("the same domains and listeners as before"),
            false => f.write_str(&parts.join("; ")),
        }
    }
}

/// Forgets, when its time is over, what a reload kept for a while.
async fn forget(shared: Weak<Shared>, wait: Duration) {
    sleep(wait + FORGET_LATER).await;
    let Some(shared) = shared.upgrade() else {
        return;
    };
    let _alone = shared.reloading.lock().await;
    let before = shared.current();
    shared.replace(Current::later);
    let next = shared.current();
    for domain in before.streams.hosts.departed() {
        // What the program itself attached gets no answers any more either.
        if let Some(domain) = before.streams.hosts.answering(domain)
            && next.streams.hosts.answering(domain.domain()).is_none()
            && let Some(feeder) = shared.switchboard.component(&domain)
        {
            shared.switchboard.detach(&domain, &feeder);
        }
    }
}

/// Whether DNS is asked in the same way.
fn asks_the_same(before: &Config, next: &Config) -> bool {
    let dnssec = match (&before.dnssec, &next.dnssec) {
        (Dnssec::Off, Dnssec::Off) => true,
        // Keys of the root change rarely; what was learned of DNS is learned again soon.
        (Dnssec::Validate(_), _) | (Dnssec::Off, Dnssec::Validate(_)) => false,
    };
    // Without servers of its own the system's are meant, and those may be others by now.
    dnssec
        && !next.dns_servers.is_empty()
        && before.dns_servers == next.dns_servers
        && before.policy.defaults.limits.dns_seconds == next.policy.defaults.limits.dns_seconds
}

/// The peers whose address is another one, or is not configured any more.
fn moved(before: &Config, next: &Config) -> Vec<DomainPattern> {
    let missing = |from: &[(DomainPattern, PeerAddress)],
                   among: &[(DomainPattern, PeerAddress)]| {
        from.iter()
            .filter(|one| !among.contains(one))
            .map(|(pattern, _)| pattern.clone())
            .collect::<Vec<_>>()
    };
    let mut moved = missing(&before.addresses, &next.addresses);
    moved.extend(missing(&next.addresses, &before.addresses));
    moved
}

/// Streams keep time by themselves: what they wait for is over when this is.
const FORGET_LATER: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
