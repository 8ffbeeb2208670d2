//! What one message from DNS says, and what it is worth.
//!
//! Three things are kept apart that look alike on a bad day: there is nothing, we do not know, and we were lied to.

use std::time::Duration;

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::{DnsResponse, Message};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::proto::serialize::binary::BinDecodable as _;
use verona_proto::grounds::Assurance;

use super::relevant::signature;
use super::{ALIASES_MAX, NEGATIVE_TTL_MAX, POSITIVE_TTL_SECONDS_MAX};

/// What a message says about one question.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// There are records, at least one.
    Records(Vec<RData>, Worth),
    /// The name is an alias of another, which is to be asked for.
    Alias(Name, Worth),
    /// There are none.
    Absent(Worth),
    /// DNSSEC disproves what was answered.
    Bogus,
    /// There was no answer that says anything; the text says why.
    Failed(String),
}

/// How sure something is, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worth {
    pub(super) assurance: Assurance,
    pub(super) lifetime: Duration,
}

/// Reads the answer to a question for records of `kind` at `name`; if it `is_validated`, with the proofs that the
/// library attached to its records.
pub(super) fn judge(
    name: &Name,
    kind: RecordType,
    is_validated: bool,
    answer: Result<DnsResponse, NetError>,
) -> Step {
    let (message, denial) = match answer {
        Ok(response) => (response.into_message(), Denial::Checked),
        Err(NetError::Dns(DnsError::Nsec { response, .. })) => {
            (response.into_message(), Denial::Wrong)
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if !is_validated => {
            let is_referral = none.soa.is_none() && none.ns.is_some();
            if is_referral {
                return Step::Failed(indefinite(name));
            }
            let lifetime = Duration::from_secs(none.negative_ttl.unwrap_or_default().into());
            return Step::Absent(Worth {
                assurance: Assurance::Dns,
                lifetime: lifetime.min(NEGATIVE_TTL_MAX),
            });
        }
        Err(cause) => return Step::Failed(failure(name, &cause)),
    };
    Reading {
        message: &message,
        denial,
        is_validated,
    }
    .read(name, kind)
}

/// What the library found of the proof that there is nothing, or nothing closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    /// It is good, or none is needed.
    Checked,
    /// It is not.
    Wrong,
}

struct Reading<'a> {
    message: &'a Message,
    denial: Denial,
    is_validated: bool,
}

impl Reading<'_> {
    fn read(&self, name: &Name, kind: RecordType) -> Step {
        let mut owner = name.clone();
        let mut worth = Worth {
            assurance: if self.is_validated {
                Assurance::Dnssec
            } else {
                Assurance::Dns
            },
            lifetime: Duration::from_secs(POSITIVE_TTL_SECONDS_MAX.into()),
        };
        for _ in 0..ALIASES_MAX {
            let records = self.records(&owner, kind);
            if !records.is_empty() {
                return match self.with(worth, &records) {
                    Some(worth) => {
                        let data = records.iter().map(|record| record.data.clone());
                        Step::Records(data.collect(), worth)
                    }
                    None => Step::Bogus,
                };
            }
            let Some((record, next)) = self.alias(&owner) else {
                break;
            };
            match self.with(worth, &[record]) {
                Some(with) => worth = with,
                None => return Step::Bogus,
            }
            owner = next;
        }
        if owner != *name {
            // Whatever the message says of that name is said again, and proven, when it is asked for.
            return Step::Alias(owner, worth);
        }
        self.absence(name)
    }

    fn records(&self, owner: &Name, kind: RecordType) -> Vec<&Record> {
        self.message
            .answers
            .iter()
            .filter(|record| record.record_type() == kind && record.name == *owner)
            .collect()
    }

    /// The record that makes `owner` an alias, and of what. A CNAME that comes of a DNAME is not signed; what it should
    /// say is worked out instead (RFC 6672 §5.3.1).
    fn alias(&self, owner: &Name) -> Option<(&Record, Name)> {
        self.message
            .answers
            .iter()
            .filter(|record| record.name != *owner && record.name.zone_of(owner))
            .find_map(|record| {
                let target = dname(record)?;
                let kept = owner.num_labels().checked_sub(record.name.num_labels())?;
                let labels = owner.iter().take(kept.into()).chain(target.iter());
                let mut next = Name::from_labels(labels).ok()?;
                next.set_fqdn(true);
                Some((record, next))
            })
            .or_else(|| {
                self.records(owner, RecordType::CNAME)
                    .into_iter()
                    .find_map(|record| {
                        let RData::CNAME(target) = &record.data else {
                            return None;
                        };
                        Some((record, target.0.clone()))
                    })
            })
    }

    /// What `worth` becomes with these records of one name and kind; `None` if they are proven wrong, or were not judged
    /// at all.
    fn with(&self, worth: Worth, records: &[&Record]) -> Option<Worth> {
        let mut worth = worth;
        for record in records {
            worth.lifetime = worth.lifetime.min(Duration::from_secs(record.ttl.into()));
            if self.is_validated {
                //= DNS-13
                match record.proof {
                    Proof::Secure => {}
                    Proof::Insecure => worth.assurance = Assurance::Dns,
                    Proof::Bogus | Proof::Indeterminate => return None,
                }
            }
        }
        let first = records.first()?;
        if first.proof.is_secure() && self.denial == Denial::Wrong && !self.is_closest(first) {
            return None;
        }
        Some(worth)
    }

    /// Whether a proven record that a wildcard may have made stands for its name: nothing closer to the name may exist
    /// (RFC 4035 §5.3.4). The library asks that the wildcard itself must not exist either, if it is the name's own
    /// parent's, and so finds every such zone wrong.
    fn is_closest(&self, record: &Record) -> bool {
        let signed = self
            .message
            .answers
            .iter()
            .filter(|signed| signed.name == record.name && signed.proof.is_secure())
            .find_map(|signed| {
                let input = signature(signed)?.input();
                (input.type_covered == record.record_type()).then_some(input.num_labels)
            });
        let Some(labels) = signed else {
            return false;
        };
        if labels >= record.name.num_labels() {
            return true;
        }
        let closer = record.name.trim_to(usize::from(labels) + 1);
        self.message.authorities.iter().any(|denial| {
            let RData::DNSSEC(DNSSECRData::NSEC(nsec)) = &denial.data else {
                return false;
            };
            let next = nsec.next_domain_name();
            let is_last = *next <= denial.name;
            denial.proof.is_secure()
                && !(nsec.is_ancestor_delegation() && denial.name.zone_of(&record.name))
                && denial.name < closer
                && !closer.zone_of(next)
                && (record.name < *next || (is_last && next.zone_of(&record.name)))
        })
    }

    /// There is nothing here about the name; is that an answer?
    fn absence(&self, name: &Name) -> Step {
        let authorities = &self.message.authorities;
        let soa = authorities
            .iter()
            .find(|record| record.record_type() == RecordType::SOA);
        let lifetime = soa.map_or(0, |record| {
            let RData::SOA(soa) = &record.data else {
                return 0;
            };
            record.ttl.min(soa.minimum)
        });
        let absent = |assurance| {
            Step::Absent(Worth {
                assurance,
                lifetime: Duration::from_secs(lifetime.into()).min(NEGATIVE_TTL_MAX),
            })
        };
        if !self.message.answers.is_empty() {
            return Step::Failed(format!("DNS contradicts itself about {name}"));
        }
        if self.denial == Denial::Wrong {
            return Step::Bogus;
        }
        let has_proof = authorities.iter().any(|record| {
            record.proof.is_secure()
                && matches!(record.record_type(), RecordType::NSEC | RecordType::NSEC3)
        });
        match soa {
            // Without the zone's own SOA nothing says whose denial it is.
            Some(soa) if soa.proof.is_secure() && has_proof => absent(Assurance::Dnssec),
            Some(soa) if soa.proof.is_insecure() => absent(Assurance::Dns),
            Some(_) => Step::Bogus,
            None if authorities.is_empty() => absent(Assurance::Dns),
            None if has_proof => Step::Bogus,
            None => Step::Failed(indefinite(name)),
        }
    }
}

/// The target of a DNAME record, a type that the library does not read.
fn dname(record: &Record) -> Option<Name> {
    let RData::Unknown { code, rdata } = &record.data else {
        return None;
    };
    (*code == RecordType::DNAME)
        .then(|| Name::from_bytes(&rdata.anything).ok())
        .flatten()
}

fn indefinite(name: &Name) -> String {
    format!("DNS gave no definite answer for {name}; the DNS server in use must resolve for others")
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn failure(name: &Name, cause: &NetError) -> String {
    match cause {
        NetError::Timeout => format!("DNS did not answer for {name}"),
        NetError::Dns(DnsError::NoRecordsFound(_)) => indefinite(name),
        NetError::Proto(_) | NetError::ForeignClassRecord { .. } => {
            format!("what DNS answered for {name} cannot be read")
        }
        NetError::Truncated => {
            format!("the answer of DNS for {name} is too large for UDP, and by TCP there was none")
        }
        other => format!("DNS could not be asked for {name}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use hickory_resolver::proto::op::{MessageType, OpCode, Query};
    use hickory_resolver::proto::rr::rdata::{A, SOA};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn read(records: Vec<Record>, authorities: Vec<Record>) -> Step {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name("capulet.lit."), RecordType::A));
        message.add_answers(records);
        message.authorities = authorities;
        let answer = DnsResponse::from_message(message).unwrap();
        let answer = DnsError::from_response(answer).map_err(NetError::from);
        judge(&name("capulet.lit."), RecordType::A, false, answer)
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says_and_not_for_ever() {
        //= DNS-10
        let address = |ttl| {
            let data = RData::A(A::new(192, 0, 2, 1));
            Record::from_rdata(name("capulet.lit."), ttl, data)
        };
        for (ttl, lifetime) in [(0, 0), (7, 7), (604_800, 3_600)] {
            let step = read(vec![address(ttl), address(604_800)], Vec::new());
            let Step::Records(_, worth) = step else {
                panic!("{step:?}");
            };
            assert_eq!(worth.lifetime, Duration::from_secs(lifetime));
        }
        let soa = |ttl, minimum| {
            let data = SOA::new(name("ns.lit."), name("x.lit."), 1, 60, 60, 60, minimum);
            Record::from_rdata(name("lit."), ttl, RData::SOA(data))
        };
        for (authorities, lifetime) in [
            (vec![soa(30, 604_800)], 30),
            (vec![soa(604_800, 20)], 20),
            (vec![soa(604_800, 604_800)], 60),
            (Vec::new(), 0),
        ] {
            let step = read(Vec::new(), authorities);
            let Step::Absent(worth) = step else {
                panic!("{step:?}");
            };
            assert_eq!(worth.lifetime, Duration::from_secs(lifetime));
        }
    }
}
