//! Asks DNS for the servers of a domain, and for what it says of their certificates.
//!
//! What the answers mean is decided in `verona_proto::discovery`; here stands how to ask: for the full name and no
//! other, without the hosts file, within one deadline for everything. `ask` puts one question, by `client`, and `judge` says
//! what an answer is worth; `guard` and `relevant` keep from the validator what could mislead it; `hosts` asks for
//! addresses and TLSA records, `published` does it for a peer that dials us.

mod anchors;
mod ask;
mod client;
mod guard;
mod hosts;
mod judge;
mod published;
mod relevant;
mod unusable;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::{Instant, timeout_at};
use verona_proto::addr::Domain;
use verona_proto::discovery::{
    DiscoveryError, DiscoveryErrorKind, FALLBACK_PORT, NO_SERVICE, Plan, SrvAnswer, SrvRecord,
    TARGETS_MAX, Target, plan, targets,
};
use verona_proto::grounds::Assurance;
use verona_proto::limits::LimitCounts;

pub use anchors::{TrustAnchors, TrustAnchorsError};

pub(crate) use published::PublishedCertificates;

use ask::Answer;
use client::Client;
use hosts::Host;

/// Finds the servers of domains. Cheap to clone; clones share one cache.
#[derive(Clone)]
pub struct Resolver {
    client: Client,
    timeout: Duration,
}

impl Resolver {
    /// Prepares questions to `servers`, or to those of the system's resolv.conf if there are none, each discovery to
    /// be done within `timeout`. Whatever they answer is believed, and proves nothing.
    ///
    /// # Errors
    /// [`ResolverError`] when the system names no usable server.
    pub fn new(servers: &[SocketAddr], timeout: Duration) -> Result<Self, ResolverError> {
        Self::prepare(servers, timeout, None)
    }

    /// The same, with every answer validated by DNSSEC: what it disproves is refused, and what it proves is told
    /// (DNS-13, DNS-28). The servers need not validate, but they must pass on DNSSEC.
    ///
    /// # Errors
    /// [`ResolverError`] when the system names no usable server.
    pub fn validating(
        servers: &[SocketAddr],
        timeout: Duration,
        anchors: &TrustAnchors,
    ) -> Result<Self, ResolverError> {
        Self::prepare(servers, timeout, Some(anchors))
    }

    fn prepare(
        servers: &[SocketAddr],
        timeout: Duration,
        anchors: Option<&TrustAnchors>,
    ) -> Result<Self, ResolverError> {
        let (name_servers, mut options) = if servers.is_empty() {
            let (config, options) = read_system_conf().map_err(|cause| ResolverError {
                cause: format!("the system's resolv.conf cannot be used: {cause}; name DNS servers in the configuration"),
            })?;
            // The system's search domains are left behind: a name in a stream header is complete.
            (config.name_servers().to_vec(), options)
        } else {
            (
                servers.iter().copied().map(name_server).collect(),
                ResolverOpts::default(),
            )
        };
        // The first question may be lost and still leave time for another, and for the addresses that follow.
        options.timeout = (timeout / 4).max(Duration::from_millis(50));
        options.attempts = 2;
        let client =
            Client::new(name_servers, options, anchors).map_err(|cause| ResolverError {
                cause: format!("the DNS resolver cannot be made: {cause}"),
            })?;
        Ok(Self { client, timeout })
    }

    /// The same, counting elsewhere how often the time was over (`dns_seconds`).
    #[must_use]
    pub fn counting(self, reached: LimitCounts) -> Self {
        Self {
            client: self.client.counting(reached),
            ..self
        }
    }

    /// Whether answers are validated by DNSSEC.
    pub(crate) fn validates(&self) -> bool {
        self.client.validates()
    }

    /// Finds the endpoints of `domain`, in the order in which to try them (DNS-01 … DNS-07); at least one, at most
    /// [`TARGETS_MAX`]. With `direct_tls` those of `_xmpps-server` take part.
    ///
    /// A domain that is an address is its own endpoint. Whether an endpoint may be dialled (special-purpose networks,
    /// our own listener) is for the caller to judge.
    ///
    /// # Errors
    /// [`DiscoveryError`]: `NotFound` only if DNS proves that there is nothing, `Temporary` for all else, the deadline
    /// included.
    pub async fn discover(
        &self,
        domain: &Domain,
        direct_tls: bool,
    ) -> Result<Vec<Target>, DiscoveryError> {
        if domain.is_address() {
            return address_literal(domain);
        }
        let deadline = Instant::now() + self.timeout;
        let records = self.servers(domain, direct_tls, deadline).await?;
        let hosts = self.hosts(&records, deadline).await;
        self.endpoints(&records, &hosts)
    }

    /// The servers of `domain` in order: those that its SRV records name, or the domain itself.
    async fn servers(
        &self,
        domain: &Domain,
        direct_tls: bool,
        deadline: Instant,
    ) -> Result<Vec<SrvRecord>, DiscoveryError> {
        //= DNS-01
        //= DNS-11
        let services = async {
            let mut xmpp = pin!(self.services("_xmpp-server._tcp", domain, false));
            if !direct_tls {
                return (xmpp.await, SrvAnswer::NotAsked);
            }
            let mut xmpps = pin!(self.services("_xmpps-server._tcp", domain, true));
            tokio::select! {
                first = &mut xmpp => {
                    let second = second_service(&first, xmpps).await;
                    (first, second)
                }
                first = &mut xmpps => {
                    let second = second_service(&first, xmpp).await;
                    (second, first)
                }
            }
        };
        let (xmpp, xmpps) = timeout_at(deadline, services)
            .await
            .map_err(|_| self.too_late())?;
        match plan(xmpp, xmpps, &mut random)? {
            Plan::Targets(mut records) => {
                records.truncate(TARGETS_MAX);
                Ok(records)
            }
            //= DNS-06
            Plan::FallBackToAddress(assurance) => Ok(vec![SrvRecord {
                priority: 0,
                weight: 0,
                port: FALLBACK_PORT,
                target: domain.ascii().to_owned(),
                direct_tls: false,
                assurance,
            }]),
        }
    }

    /// The endpoints of one host at one port, without SRV records (RFC 6120 §4.9.3.19).
    ///
    /// # Errors
    /// As [`Self::discover`].
    pub(crate) async fn at(
        &self,
        host: &Domain,
        port: u16,
        direct_tls: bool,
    ) -> Result<Vec<Target>, DiscoveryError> {
        let record = SrvRecord {
            priority: 0,
            weight: 0,
            port,
            target: host.ascii().to_owned(),
            direct_tls,
            assurance: Assurance::Redirected,
        };
        let hosts = self
            .hosts(std::slice::from_ref(&record), Instant::now() + self.timeout)
            .await;
        self.endpoints(&[record], &hosts)
    }

    async fn services(&self, service: &str, domain: &Domain, direct_tls: bool) -> SrvAnswer {
        let Ok(name) = Name::from_ascii(format!("{service}.{}.", domain.ascii())) else {
            // A name that DNS cannot hold has no records there.
            return SrvAnswer::Absent(Assurance::Dns);
        };
        match self.ask(&name, RecordType::SRV).await {
            Answer::Records(records, assurance) => srv_records(&records, direct_tls, assurance),
            Answer::Absent(assurance) => SrvAnswer::Absent(assurance),
            Answer::Bogus(why) => SrvAnswer::Bogus(why),
            Answer::Failed(why) => SrvAnswer::Failed(why),
        }
    }

    /// The endpoints of all servers, in the servers' order.
    fn endpoints(
        &self,
        records: &[SrvRecord],
        hosts: &BTreeMap<String, Result<Host, DiscoveryError>>,
    ) -> Result<Vec<Target>, DiscoveryError> {
        let mut endpoints: Vec<Target> = Vec::new();
        let mut absence = None;
        let mut doubt = None;
        for record in records {
            let found = match hosts.get(&record.target) {
                Some(Ok(host)) => endpoints_of(record, host),
                Some(Err(error)) => Err(error.clone()),
                None => Err(self.too_late()),
            };
            match found {
                Ok(found) => {
                    for target in found {
                        add(target, &mut endpoints);
                    }
                }
                Err(error) => match error.kind {
                    DiscoveryErrorKind::NotFound => absence = absence.or(Some(error)),
                    DiscoveryErrorKind::Temporary => doubt = doubt.or(Some(error)),
                },
            }
        }
        endpoints.truncate(TARGETS_MAX);
        if endpoints.is_empty() {
            // One server of which we do not know leaves open whether there is one.
            return Err(doubt.or(absence).unwrap_or_else(|| self.too_late()));
        }
        Ok(endpoints)
    }

    fn too_late(&self) -> DiscoveryError {
        self.client.late();
        DiscoveryError::temporary(format!(
            "DNS did not answer within {} s",
            self.timeout.as_secs_f32()
        ))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("timeout", &self.timeout)
            .field("validates", &self.client.validates())
            .finish_non_exhaustive()
    }
}

/// Why DNS cannot be asked at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverError {
    cause: String,
}

impl fmt::Display for ResolverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for ResolverError {}

/// Waits for the answer about the other service: briefly once servers are known, else as long as it takes. Both kinds of
/// servers have the same certificates to show, so whoever suppresses one answer gains nothing.
async fn second_service(first: &SrvAnswer, second: impl Future<Output = SrvAnswer>) -> SrvAnswer {
    let are_known = match first {
        SrvAnswer::Records(records) => records.iter().any(|record| record.target != NO_SERVICE),
        SrvAnswer::Absent(_) | SrvAnswer::NotAsked | SrvAnswer::Bogus(_) | SrvAnswer::Failed(_) => {
            false
        }
    };
    match are_known {
        true => tokio::time::timeout(SECOND_SERVICE, second)
            .await
            .unwrap_or_else(|_| SrvAnswer::Failed("DNS was slow to answer".to_owned())),
        false => second.await,
    }
}

/// By UDP, and by TCP for what UDP truncates.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![
        at_port(ConnectionConfig::udp()),
        at_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(address.ip(), true, connections)
}

fn srv_records(records: &[RData], direct_tls: bool, assurance: Assurance) -> SrvAnswer {
    let records: Vec<_> = records
        .iter()
        .filter_map(|data| {
            let RData::SRV(srv) = data else {
                return None;
            };
            srv_record(srv, direct_tls, assurance)
        })
        .collect();
    if records.is_empty() {
        SrvAnswer::Failed("DNS answered without a usable SRV record".to_owned())
    } else {
        SrvAnswer::Records(records)
    }
}

/// A record as we know it; none if its target is no host name at all, as an address is not (RFC 2782).
fn srv_record(srv: &SRV, direct_tls: bool, assurance: Assurance) -> Option<SrvRecord> {
    let target = if srv.target.is_root() {
        ".".to_owned()
    } else {
        // Host names only: the text goes to logs and into the next question.
        Domain::parse(&srv.target.to_ascii())
            .ok()
            .filter(|host| !host.is_address())?
            .ascii()
            .to_owned()
    };
    Some(SrvRecord {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target,
        direct_tls,
        assurance,
    })
}

/// The endpoints of one server, each with what DNS says of its certificate.
fn endpoints_of(record: &SrvRecord, host: &Host) -> Result<Vec<Target>, DiscoveryError> {
    //= DNS-15
    let tlsa = host.tlsa(record.port).map_err(DiscoveryError::temporary)?;
    let mut found = targets(record, &host.ipv6, &host.ipv4);
    for target in &mut found {
        //= DNS-28
        target.assurance = record.assurance.min(host.assurance);
        if target.assurance == Assurance::Dnssec {
            target.tlsa = tlsa.clone();
        }
    }
    Ok(found)
}

/// Adds an endpoint, or its name to one that is the same: under whichever name it has a certificate, it is the server.
fn add(target: Target, endpoints: &mut Vec<Target>) {
    match endpoints
        .iter_mut()
        .find(|known| same_endpoint(known, &target))
    {
        //= DNS-16
        Some(known) => {
            let is_new = known.names().all(|name| name != target.host);
            if target.assurance == Assurance::Dnssec && is_new {
                known.also.push(target.host);
            }
        }
        None => endpoints.push(target),
    }
}

/// Whether dialling both would be the same thing twice.
fn same_endpoint(a: &Target, b: &Target) -> bool {
    a.address == b.address
        && a.direct_tls == b.direct_tls
        && a.assurance == b.assurance
        && a.tlsa == b.tlsa
}

/// The endpoint of a domain that is an IPv4 address or a bracketed IPv6 address.
fn address_literal(domain: &Domain) -> Result<Vec<Target>, DiscoveryError> {
    let text = domain.ascii();
    let bare = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    let address: IpAddr = bare
        .parse()
        .map_err(|_| DiscoveryError::not_found("it is no address that can be dialled"))?;
    let address = SocketAddr::new(address, FALLBACK_PORT);
    Ok(vec![Target::new(address, false, text)])
}

/// A number from 0 to `bound`, both included.
fn random(bound: u32) -> u32 {
    // Should the system have no randomness, the order is fixed; nothing secret hangs on it.
    let drawn = u64::from(getrandom::u32().unwrap_or_default());
    let scaled = (drawn * (u64::from(bound) + 1)) >> 32;
    u32::try_from(scaled).unwrap_or(bound)
}

/// How long the servers of one service wait for those of the other.
const SECOND_SERVICE: Duration = Duration::from_secs(1);
/// Aliases that are followed for one question.
const ALIASES_MAX: usize = 8;
/// However long a record says that it holds (DNS-10).
const POSITIVE_TTL_SECONDS_MAX: u32 = 60 * 60;
/// How often a zone may have its names hashed; one that wants more proves nothing (RFC 9276 §3.2).
const HASH_ITERATIONS_MAX: u16 = 150;
/// However long a zone says that its absences hold: an operator who adds the record should not wait an hour.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
