//! Asks DNS for the servers of a domain.
//!
//! What the answers mean is decided in `verona_proto::discovery`; here stands how to ask: for the full name and no
//! other, without the hosts file, within one deadline for everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use verona_proto::addr::Domain;
use verona_proto::discovery::{
    DiscoveryError, DiscoveryErrorKind, FALLBACK_PORT, Plan, SrvAnswer, SrvRecord, TARGETS_MAX,
    Target, plan, targets,
};

/// Finds the servers of domains. Cheap to clone; clones share one cache.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
    timeout: Duration,
}

impl Resolver {
    /// Prepares questions to `servers`, or to those of the system's resolv.conf if there are none, each discovery to
    /// be done within `timeout`.
    ///
    /// # Errors
    /// [`ResolverError`] when the system names no usable server.
    pub fn new(servers: &[SocketAddr], timeout: Duration) -> Result<Self, ResolverError> {
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
        options.ndots = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // The first question may be lost and still leave time for another, and for the addresses that follow.
        options.timeout = (timeout / 4).max(Duration::from_millis(50));
        options.attempts = 2;
        options.positive_max_ttl = Some(POSITIVE_TTL_MAX);
        options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
        let config = ResolverConfig::from_parts(None, Vec::new(), name_servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let dns = builder.build().map_err(|cause| ResolverError {
            cause: format!("the DNS resolver cannot be made: {cause}"),
        })?;
        Ok(Self { dns, timeout })
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
        //= DNS-01
        //= DNS-11
        let services = async {
            tokio::join!(self.services("_xmpp-server._tcp", domain, false), async {
                if direct_tls {
                    self.services("_xmpps-server._tcp", domain, true).await
                } else {
                    SrvAnswer::NotAsked
                }
            })
        };
        let (xmpp, xmpps) = timeout_at(deadline, services)
            .await
            .map_err(|_| self.too_late())?;
        match plan(xmpp, xmpps, &mut random)? {
            Plan::Targets(mut records) => {
                records.truncate(TARGETS_MAX);
                self.endpoints(&records, deadline).await
            }
            //= DNS-06
            Plan::FallBackToAddress => {
                let record = SrvRecord {
                    priority: 0,
                    weight: 0,
                    port: FALLBACK_PORT,
                    target: domain.ascii().to_owned(),
                    direct_tls: false,
                };
                self.endpoints(&[record], deadline).await
            }
        }
    }

    async fn services(&self, service: &str, domain: &Domain, direct_tls: bool) -> SrvAnswer {
        let Ok(mut name) = Name::from_ascii(format!("{service}.{}.", domain.ascii())) else {
            // A name that DNS cannot hold has no records there.
            return SrvAnswer::Absent;
        };
        for _ in 0..ALIASES_MAX {
            match self.dns.lookup(name.clone(), RecordType::SRV).await {
                Ok(lookup) => return srv_records(&lookup, direct_tls),
                Err(cause) => match proven_absence(&cause) {
                    Some(at) if *at == name => return SrvAnswer::Absent,
                    // Behind an alias the library takes the server's name for another alias, asks for SRV records
                    // there and finds none, which proves nothing about ours.
                    Some(_) => match self.alias(&name).await {
                        Ok(next) => {
                            // On its way it remembered the same for the alias's target.
                            self.dns.clear_lookup_cache(next.clone(), RecordType::SRV);
                            name = next;
                        }
                        Err(why) => return SrvAnswer::Failed(why),
                    },
                    None => return SrvAnswer::Failed(failure(&name, &cause)),
                },
            }
        }
        SrvAnswer::Failed(format!(
            "DNS has a chain of aliases without an end at {name}"
        ))
    }

    /// The name that `name` is an alias of.
    async fn alias(&self, name: &Name) -> Result<Name, String> {
        let answer = self.dns.lookup(name.clone(), RecordType::CNAME).await;
        let lookup = answer.map_err(|cause| failure(name, &cause))?;
        lookup
            .answers()
            .iter()
            .filter(|record| record.name == *name)
            .find_map(|record| {
                let RData::CNAME(alias) = &record.data else {
                    return None;
                };
                Some(alias.0.clone())
            })
            .ok_or_else(|| format!("DNS contradicts itself about an alias at {name}"))
    }

    /// The addresses of all servers, in the servers' order. All are asked for at once, each host once; what has not
    /// come by the deadline is done without.
    async fn endpoints(
        &self,
        records: &[SrvRecord],
        deadline: Instant,
    ) -> Result<Vec<Target>, DiscoveryError> {
        let hosts: BTreeSet<&String> = records.iter().map(|record| &record.target).collect();
        let mut asked = JoinSet::new();
        for host in hosts {
            let (resolver, host) = (self.clone(), host.clone());
            asked.spawn(async move {
                let found = resolver.addresses(&host).await;
                (host, found)
            });
        }
        let mut found = BTreeMap::new();
        while let Ok(Some(answer)) = timeout_at(deadline, asked.join_next()).await {
            // A lookup that panicked is a lookup without an answer.
            found.extend(answer.ok());
        }
        let mut endpoints: Vec<Target> = Vec::new();
        let mut absence = None;
        let mut doubt = None;
        for record in records {
            match found.get(&record.target) {
                Some(Ok((ipv6, ipv4))) => {
                    for target in targets(record, ipv6, ipv4) {
                        if !endpoints.iter().any(|known| same_endpoint(known, &target)) {
                            endpoints.push(target);
                        }
                    }
                }
                Some(Err(error)) => match error.kind {
                    DiscoveryErrorKind::NotFound => absence = absence.or(Some(error.clone())),
                    DiscoveryErrorKind::Temporary => doubt = doubt.or(Some(error.clone())),
                },
                None => doubt = doubt.or_else(|| Some(self.too_late())),
            }
        }
        endpoints.truncate(TARGETS_MAX);
        if endpoints.is_empty() {
            // One server of which we do not know leaves open whether there is one.
            return Err(doubt.or(absence).unwrap_or_else(|| self.too_late()));
        }
        Ok(endpoints)
    }

    /// The addresses of one host: either family suffices, and does not wait long for the other.
    async fn addresses(
        &self,
        host: &str,
    ) -> Result<(Vec<Ipv6Addr>, Vec<Ipv4Addr>), DiscoveryError> {
        let Ok(name) = Name::from_ascii(format!("{host}.")) else {
            return Err(DiscoveryError::not_found(format!("{host} is no host name")));
        };
        //= DNS-07
        //= DNS-12
        let mut aaaa = pin!(self.dns.lookup(name.clone(), RecordType::AAAA));
        let mut a = pin!(self.dns.lookup(name.clone(), RecordType::A));
        let (aaaa, a) = tokio::select! {
            first = &mut aaaa => {
                let second = second_family(&first, a).await;
                (first, second)
            }
            first = &mut a => {
                let second = second_family(&first, aaaa).await;
                (second, first)
            }
        };
        let ipv6 = data(&aaaa, |data| {
            if let RData::AAAA(address) = data {
                Some(address.0)
            } else {
                None
            }
        });
        let ipv4 = data(&a, |data| {
            if let RData::A(address) = data {
                Some(address.0)
            } else {
                None
            }
        });
        if !ipv6.is_empty() || !ipv4.is_empty() {
            return Ok((ipv6, ipv4));
        }
        for cause in [aaaa.err(), a.err()].into_iter().flatten() {
            if proven_absence(&cause).is_none() {
                return Err(DiscoveryError::temporary(failure(&name, &cause)));
            }
        }
        Err(DiscoveryError::not_found(format!(
            "DNS has no address for {host}"
        )))
    }

    fn too_late(&self) -> DiscoveryError {
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

fn srv_records(lookup: &Lookup, direct_tls: bool) -> SrvAnswer {
    let records: Vec<_> = lookup
        .answers()
        .iter()
        .filter_map(|record| {
            let RData::SRV(srv) = &record.data else {
                return None;
            };
            srv_record(srv, direct_tls)
        })
        .collect();
    if records.is_empty() {
        SrvAnswer::Failed("DNS answered without a usable SRV record".to_owned())
    } else {
        SrvAnswer::Records(records)
    }
}

/// A record as we know it; none if its target is no host name at all.
fn srv_record(srv: &SRV, direct_tls: bool) -> Option<SrvRecord> {
    let target = if srv.target.is_root() {
        ".".to_owned()
    } else {
        // Host names only: the text goes to logs and into the next question.
        Domain::parse(&srv.target.to_ascii())
            .ok()?
            .ascii()
            .to_owned()
    };
    Some(SrvRecord {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target,
        direct_tls,
    })
}

/// Waits for the other family: briefly once the first is there (RFC 8305 §3), else as long as it takes.
async fn second_family(
    first: &Result<Lookup, NetError>,
    second: impl Future<Output = Result<Lookup, NetError>>,
) -> Result<Lookup, NetError> {
    if first.is_err() {
        return second.await;
    }
    tokio::time::timeout(SECOND_FAMILY, second)
        .await
        .unwrap_or(Err(NetError::Timeout))
}

fn data<T>(answer: &Result<Lookup, NetError>, pick: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    answer
        .iter()
        .flat_map(Lookup::answers)
        .filter_map(|record| pick(&record.data))
        .collect()
}

fn same_endpoint(a: &Target, b: &Target) -> bool {
    a.address == b.address && a.direct_tls == b.direct_tls
}

/// The name of which DNS proves that it does not exist or has no such record: the name asked for, or where an alias
/// led. A referral to other servers proves nothing.
fn proven_absence(cause: &NetError) -> Option<&Name> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = cause else {
        return None;
    };
    let is_referral = none.soa.is_none() && none.ns.is_some();
    let proven = none.response_code == ResponseCode::NXDomain
        || (none.response_code == ResponseCode::NoError && !is_referral);
    proven.then(|| none.query.name())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn failure(question: &Name, cause: &NetError) -> String {
    match cause {
        NetError::Timeout => format!("DNS did not answer for {question}"),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            format!("DNS answered for {question}: {code}")
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => {
            format!(
                "DNS gave no definite answer for {question}; the DNS server in use must resolve for others"
            )
        }
        other => format!("DNS could not be asked for {question}: {other}"),
    }
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

/// How long the addresses of one family wait for those of the other. A quarter of a second more than RFC 8305 has for
/// browsers: here nobody looks at a blank page.
const SECOND_FAMILY: Duration = Duration::from_millis(300);
/// Aliases that are followed for one question.
const ALIASES_MAX: usize = 8;
/// However long a record says that it holds (DNS-10).
const POSITIVE_TTL_MAX: Duration = Duration::from_secs(60 * 60);
/// However long a zone says that its absences hold: an operator who adds the record should not wait an hour.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
