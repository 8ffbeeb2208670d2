//! One question to DNS, put until it is answered: aliases are followed, each step proven like the last.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::domain::usage::{INVALID, LOCALHOST, ONION};
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use verona_proto::grounds::Assurance;

use super::judge::Step;
use super::{ALIASES_MAX, Resolver};
use crate::observe::log;

/// What DNS says to one question.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// There are records, at least one, and this is how sure it is that the zone's owner wrote them, and every alias
    /// on the way to them.
    Records(Vec<RData>, Assurance),
    /// There are none, and this is how sure that is.
    Absent(Assurance),
    /// DNSSEC disproves what was answered; the text says so.
    Bogus(String),
    /// There was no answer that says anything; the text says why.
    Failed(String),
}

impl Resolver {
    /// Asks for the records of one kind at `name`, or where aliases lead (DNS-12).
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Answer {
        let mut name = name.clone();
        let mut way = Assurance::Dnssec;
        for _ in 0..ALIASES_MAX {
            if let Some(answer) = without_dns(&name, kind) {
                return answer;
            }
            match self.client.ask(&name, kind).await {
                Step::Records(data, worth) => {
                    return Answer::Records(data, way.min(worth.assurance));
                }
                Step::Absent(worth) => return Answer::Absent(way.min(worth.assurance)),
                //= DNS-12
                Step::Alias(next, worth) => {
                    way = way.min(worth.assurance);
                    name = next;
                }
                Step::Bogus => return self.bogus(&name),
                Step::Failed(why) => return Answer::Failed(why),
            }
        }
        Answer::Failed(format!(
            "DNS has a chain of aliases without an end at {name}"
        ))
    }

    fn bogus(&self, name: &Name) -> Answer {
        let seen = self.client.seen();
        if seen.passes_on_dnssec() {
            return Answer::Bogus(format!(
                "DNSSEC disproves what DNS answered for {name}: it is forged, or its zone is badly signed"
            ));
        }
        if seen.tell() {
            log::dns_without_dnssec();
        }
        Answer::Bogus(format!(
            "nothing that DNS answered for {name} can be validated: the DNS server in use does not pass on DNSSEC"
        ))
    }
}

/// The answer about names of which DNS must not be asked (RFC 6761, RFC 7686).
fn without_dns(name: &Name, kind: RecordType) -> Option<Answer> {
    if LOCALHOST.zone_of(name) {
        let loopback = if kind == RecordType::A {
            RData::A(A(Ipv4Addr::LOCALHOST))
        } else if kind == RecordType::AAAA {
            RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))
        } else {
            return Some(Answer::Absent(Assurance::Dns));
        };
        return Some(Answer::Records(vec![loopback], Assurance::Dns));
    }
    (INVALID.zone_of(name) || ONION.zone_of(name)).then_some(Answer::Absent(Assurance::Dns))
}
