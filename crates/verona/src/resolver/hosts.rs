//! What DNS says of the servers that SRV records name: their addresses and, where DNSSEC proves both, their TLSA
//! records (RFC 7673 §3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use verona_proto::dane::{Tlsa, TlsaRecord};
use verona_proto::discovery::{DiscoveryError, SrvRecord};
use verona_proto::grounds::Assurance;

use super::Resolver;
use super::ask::Answer;

/// One server.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) ipv6: Vec<Ipv6Addr>,
    pub(super) ipv4: Vec<Ipv4Addr>,
    /// How sure it is that these are its addresses.
    pub(super) assurance: Assurance,
    /// What is published for its ports, or why that cannot be known; only for those that were asked for.
    tlsa: BTreeMap<u16, Result<Tlsa, String>>,
}

impl Host {
    /// What is published for one port; nothing for one that was not asked for.
    ///
    /// # Errors
    /// Why that cannot be known.
    pub(super) fn tlsa(&self, port: u16) -> Result<Tlsa, String> {
        self.tlsa.get(&port).cloned().unwrap_or(Ok(Tlsa::None))
    }
}

impl Resolver {
    /// Asks for all hosts that `records` name, each once and all at once; what has not come by the deadline is missing
    /// in the answer.
    pub(super) async fn hosts(
        &self,
        records: &[SrvRecord],
        deadline: Instant,
    ) -> BTreeMap<String, Result<Host, DiscoveryError>> {
        let mut ports: BTreeMap<&String, BTreeSet<u16>> = BTreeMap::new();
        for record in records {
            let ports = ports.entry(&record.target).or_default();
            //= DNS-13
            if record.assurance == Assurance::Dnssec {
                ports.insert(record.port);
            }
        }
        let mut asked = JoinSet::new();
        for (host, ports) in ports {
            let (resolver, host) = (self.clone(), host.clone());
            asked.spawn(async move {
                let found = resolver.host(&host, ports).await;
                (host, found)
            });
        }
        let mut found = BTreeMap::new();
        while let Ok(Some(answer)) = timeout_at(deadline, asked.join_next()).await {
            // A lookup that panicked is a lookup without an answer.
            found.extend(answer.ok());
        }
        found
    }

    async fn host(&self, host: &str, ports: BTreeSet<u16>) -> Result<Host, DiscoveryError> {
        let mut found = self.addresses(host).await?;
        //= DNS-14
        if found.assurance == Assurance::Dnssec {
            let mut asked = JoinSet::new();
            for port in ports {
                let (resolver, host) = (self.clone(), host.to_owned());
                asked.spawn(async move { (port, resolver.tlsa(&host, port).await) });
            }
            while let Some(answer) = asked.join_next().await {
                // A lookup that panicked takes its server out: nobody may think that it found nothing.
                let (port, tlsa) = answer.map_err(|_| {
                    DiscoveryError::temporary(format!(
                        "the look-up of {host}'s TLSA records broke off"
                    ))
                })?;
                found.tlsa.insert(port, tlsa);
            }
        }
        Ok(found)
    }

    /// The addresses of one host, for whoever connects to it for another reason than a stream.
    pub(crate) async fn addresses_of(
        &self,
        host: &str,
    ) -> Result<(Vec<Ipv6Addr>, Vec<Ipv4Addr>), DiscoveryError> {
        let host = self.addresses(host).await?;
        Ok((host.ipv6, host.ipv4))
    }

    /// The addresses of one host: either family suffices, and does not wait long for the other. A family of which we
    /// know nothing, or were lied to about, has no addresses; what the other proves is proven.
    async fn addresses(&self, host: &str) -> Result<Host, DiscoveryError> {
        let Ok(name) = Name::from_ascii(format!("{host}.")) else {
            return Err(DiscoveryError::not_found(format!("{host} is no host name")));
        };
        //= DNS-07
        //= DNS-12
        let mut aaaa = pin!(self.ask(&name, RecordType::AAAA));
        let mut a = pin!(self.ask(&name, RecordType::A));
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
        let (mut ipv6, mut ipv4) = (Vec::new(), Vec::new());
        let mut assurance = Assurance::Dnssec;
        let mut doubt = None;
        for answer in [aaaa, a] {
            match answer {
                Answer::Records(records, worth) => {
                    assurance = assurance.min(worth);
                    for data in records {
                        if let RData::AAAA(address) = data {
                            ipv6.push(address.0);
                        } else if let RData::A(address) = data {
                            ipv4.push(address.0);
                        }
                    }
                }
                Answer::Absent(_) => {}
                Answer::Bogus(why) | Answer::Failed(why) => doubt = doubt.or(Some(why)),
            }
        }
        if !ipv6.is_empty() || !ipv4.is_empty() {
            return Ok(Host {
                ipv6,
                ipv4,
                assurance,
                tlsa: BTreeMap::new(),
            });
        }
        Err(match doubt {
            Some(why) => DiscoveryError::temporary(why),
            None => DiscoveryError::not_found(format!("DNS has no address for {host}")),
        })
    }

    /// What is published for one port of a host. What cannot be known must not be mistaken for nothing: that is what
    /// whoever wants another certificate believed would arrange.
    async fn tlsa(&self, host: &str, port: u16) -> Result<Tlsa, String> {
        let Ok(name) = Name::from_ascii(format!("_{port}._tcp.{host}.")) else {
            // A name that DNS cannot hold has no records there.
            return Ok(Tlsa::None);
        };
        match self.ask(&name, RecordType::TLSA).await {
            Answer::Records(records, Assurance::Dnssec) => {
                let records: Vec<_> = records
                    .iter()
                    .filter_map(tlsa_record)
                    .take(TLSA_RECORDS_MAX)
                    .collect();
                Ok(if records.is_empty() {
                    Tlsa::None
                } else {
                    Tlsa::Secure(records)
                })
            }
            Answer::Records(..) | Answer::Absent(_) => Ok(Tlsa::None),
            //= DNS-15
            Answer::Bogus(why) | Answer::Failed(why) => Err(why),
        }
    }
}

/// Waits for the other family: briefly once the first is there (RFC 8305 §3), else as long as it takes.
async fn second_family(first: &Answer, second: impl Future<Output = Answer>) -> Answer {
    match first {
        Answer::Records(..) => tokio::time::timeout(SECOND_FAMILY, second)
            .await
            .unwrap_or_else(|_| Answer::Failed("DNS was slow to answer".to_owned())),
        Answer::Absent(_) | Answer::Bogus(_) | Answer::Failed(_) => second.await,
    }
}

fn tlsa_record(data: &RData) -> Option<TlsaRecord> {
    let RData::TLSA(tlsa) = data else {
        return None;
    };
    Some(TlsaRecord {
        usage: tlsa.cert_usage.into(),
        selector: tlsa.selector.into(),
        matching: tlsa.matching.into(),
        data: tlsa.cert_data.clone(),
    })
}

/// How long the addresses of one family wait for those of the other. A quarter of a second more than RFC 8305 has for
/// browsers: here nobody looks at a blank page.
const SECOND_FAMILY: Duration = Duration::from_millis(300);
/// Records of one endpoint that are looked at: two keys in every way to name them are a dozen.
const TLSA_RECORDS_MAX: usize = 16;
