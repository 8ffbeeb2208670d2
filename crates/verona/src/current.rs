//! What a reload replaces as a whole: the configuration, and everything that is made of it.
//!
//! It is never changed, only replaced: whoever took one works with one that fits together.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{Duration, Instant};
use verona_proto::addr::{Domain, Hosts};
use verona_proto::component::{ComponentDomains, Settings};
use verona_proto::dialback::Secret;
use verona_proto::limits::{Limits, seconds, size};
use verona_proto::outbox::OutboxLimit;
use verona_proto::stream::{ANSWERS_FOR, Attestations, Memory, StreamConfig};

use crate::config::{Config, Conflict, Dnssec};
use crate::resolver::{Resolver, ResolverError};
use crate::tls::Tls;

/// The configuration in force, and what was made of it.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    /// Without certificates and trust: keys that were replaced are to be forgotten, so `tls` alone has them.
    pub(crate) config: Arc<Config>,
    pub(crate) streams: Arc<StreamConfig>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) resolver: Resolver,
    pub(crate) components: ComponentDomains,
    /// Since when domains are not hosted any more; for a while they give answers (BIDI-79).
    departed: BTreeMap<Domain, Instant>,
}

impl Current {
    /// What `config` makes of an engine that has just been born; `secret` is for dialback keys where it names none.
    pub(crate) fn new(
        config: Config,
        tls: Arc<Tls>,
        resolver: Resolver,
        memory: Memory,
        secret: Secret,
    ) -> Self {
        let hosts = Hosts::new(config.domains.iter().map(|hosted| hosted.name.clone()));
        let components = components(&config, &hosts);
        let streams = StreamConfig {
            hosts: Arc::new(hosts),
            policy: Arc::new(config.policy.clone()),
            secrets: verona_proto::dialback::Secrets {
                current: config.dialback_secret.clone().unwrap_or(secret),
                previous: config.dialback_previous_secret.clone(),
            },
            tls_available: !tls.certificates().is_empty(),
            attestations: attestations(&config.dnssec),
            memory,
        };
        Self {
            limits: Arc::new(config.policy.defaults.limits.clone()),
            config: Arc::new(config),
            resolver: resolver.counting(streams.memory.reached.clone()),
            streams: Arc::new(streams),
            tls,
            components,
            departed: BTreeMap::new(),
        }
    }

    /// What `config` makes of an engine that runs: what domains left, and keys that were made a moment ago, are not
    /// forgotten at once.
    pub(crate) fn replaced_by(&self, config: Config, tls: Arc<Tls>, resolver: Resolver) -> Self {
        let before = &self.streams.secrets;
        let mut next = Self::new(
            config,
            tls,
            resolver,
            self.streams.memory.clone(),
            before.current.clone(),
        );
        let now = Instant::now();
        let left = self
            .streams
            .hosts
            .iter()
            .map(|domain| (domain.clone(), now));
        next.departed = self.departed.clone();
        next.departed.extend(left);
        next.departed
            .retain(|domain, _| next.streams.hosts.local(domain).is_none());
        let mut streams = StreamConfig::clone(&next.streams);
        // Keys of the secret before are on their way to whoever checks them.
        //= DB-03
        if next.config.dialback_secret.is_some() && streams.secrets.previous.is_none() {
            streams.secrets.previous = Some(before.current.clone());
        }
        next.streams = Arc::new(streams);
        next.among_departed()
    }

    /// The same, a while later: what was kept for a moment is kept no longer. `None` when there is nothing to forget.
    pub(crate) fn later(&self) -> Option<Self> {
        let mut next = self.clone();
        next.departed
            .retain(|_, since| since.elapsed() < ANSWERS_FOR);
        let previous = &self.config.dialback_previous_secret;
        let keeps_secret = previous.is_none() && self.streams.secrets.previous.is_some();
        if next.departed.len() == self.departed.len() && !keeps_secret {
            return None;
        }
        let mut streams = StreamConfig::clone(&self.streams);
        streams.secrets.previous.clone_from(previous);
        next.streams = Arc::new(streams);
        Some(next.among_departed())
    }

    /// The same with other certificates and trust.
    pub(crate) fn with_tls(&self, tls: Arc<Tls>) -> Self {
        //= TLS-02
        let streams = StreamConfig {
            tls_available: !tls.certificates().is_empty(),
            ..StreamConfig::clone(&self.streams)
        };
        Self {
            streams: Arc::new(streams),
            tls,
            ..self.clone()
        }
    }

    /// How long until [`Current::later`] has something to do; `None` if never.
    pub(crate) fn forgets_in(&self) -> Option<Duration> {
        let domains = self
            .departed
            .values()
            .min()
            .map(|since| (*since + ANSWERS_FOR).saturating_duration_since(Instant::now()));
        let secret = self.config.dialback_previous_secret.is_none()
            && self.streams.secrets.previous.is_some();
        domains.or(secret.then_some(ANSWERS_FOR))
    }

    /// What a component's link follows.
    pub(crate) fn for_components(&self) -> Settings {
        Settings {
            domains: self.components.clone(),
            hosts: Arc::clone(&self.streams.hosts),
            limits: Limits::clone(&self.limits),
        }
    }

    /// What a second connection of the domain's component meets (COMP-12).
    pub(crate) fn conflict(&self, domain: &Domain) -> Conflict {
        self.config
            .domains
            .iter()
            .find(|hosted| hosted.name == *domain)
            .and_then(|hosted| hosted.component.as_ref())
            .map_or(Conflict::RejectNew, |component| component.conflict)
    }

    /// What may wait for one pair.
    pub(crate) fn pair_limit(&self) -> OutboxLimit {
        OutboxLimit {
            stanzas: size(self.limits.outbox_stanzas_max),
            bytes: size(self.limits.outbox_bytes_max),
        }
    }

    /// What may wait for one component.
    pub(crate) fn component_limit(&self) -> OutboxLimit {
        OutboxLimit {
            stanzas: size(self.limits.component_backlog_stanzas_max),
            bytes: size(self.limits.component_backlog_bytes_max),
        }
    }

    fn among_departed(mut self) -> Self {
        let hosts = Hosts::new(self.streams.hosts.iter().cloned())
            .with_departed(self.departed.keys().cloned());
        self.streams = Arc::new(StreamConfig {
            hosts: Arc::new(hosts),
            ..StreamConfig::clone(&self.streams)
        });
        self
    }
}

/// Prepares the questions to DNS that `config` wants.
///
/// # Errors
/// [`ResolverError`] when there is nobody to ask.
pub(crate) fn resolver(config: &Config) -> Result<Resolver, ResolverError> {
    let patience = seconds(config.policy.defaults.limits.dns_seconds);
    match &config.dnssec {
        Dnssec::Off => Resolver::new(&config.dns_servers, patience),
        Dnssec::Validate(anchors) => Resolver::validating(&config.dns_servers, patience, anchors),
    }
}

fn components(config: &Config, hosts: &Hosts) -> ComponentDomains {
    ComponentDomains::new(config.domains.iter().filter_map(|hosted| {
        let component = hosted.component.as_ref()?;
        Some((hosts.local(&hosted.name)?, component.secret.to_string()))
    }))
}

fn attestations(dnssec: &Dnssec) -> Attestations {
    match dnssec {
        Dnssec::Off => Attestations::Available,
        Dnssec::Validate(_) => Attestations::WithDnssec,
    }
}
