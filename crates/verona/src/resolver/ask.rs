//! One question to DNS, and what its answer is worth.
//!
//! Three things are kept apart that look alike on a bad day: there is nothing, we do not know, and we were lied to.

use std::borrow::Cow;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::domain::usage::{INVALID, LOCALHOST, ONION};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use verona_proto::grounds::Assurance;

use super::{ALIASES_MAX, Resolver};
use crate::observe::log;

/// What DNS says to one question.
#[derive(Debug)]
pub(super) enum Answer {
    /// There are records, at least one, and this is how sure it is that the zone's owner wrote them, and every alias
    /// on the way to them.
    Records(Vec<RData>, Assurance),
    /// There are none, and this is how sure that is.
    Absent(Assurance),
    /// DNSSEC disproves what was answered.
    Bogus(String),
    /// There was no answer that says anything.
    Failed(String),
}

impl Answer {
    fn bogus(resolver: &Resolver, name: &Name) -> Self {
        if resolver.seen.passes_on_dnssec() {
            return Self::Bogus(format!(
                "DNSSEC disproves what DNS answered for {name}: it is forged, or its zone is badly signed"
            ));
        }
        if resolver.seen.tell() {
            log::dns_without_dnssec();
        }
        Self::Bogus(format!(
            "nothing that DNS answered for {name} can be validated: the DNS server in use does not pass on DNSSEC"
        ))
    }
}

impl Resolver {
    /// Asks for the records of one kind at `name`, or where aliases lead.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Answer {
        let mut name = Cow::Borrowed(name);
        let mut way = Assurance::Dnssec;
        for _ in 0..ALIASES_MAX {
            match self.dns().lookup(name.clone().into_owned(), kind).await {
                Ok(lookup) => return self.found(&name, kind, way, &lookup),
                Err(cause) => match absence(&cause) {
                    // Behind an alias the library takes a server's name for another alias, asks for SRV records there
                    // and finds none, which proves nothing about ours.
                    Some(none) if kind == RecordType::SRV && *none.query.name() != *name => {
                        match self.alias(&name).await {
                            Ok((next, assurance)) => {
                                // On its way it remembered the same for the alias's target.
                                self.dns().clear_lookup_cache(next.clone(), kind);
                                way = way.min(assurance);
                                name = Cow::Owned(next);
                            }
                            Err(answer) => return answer,
                        }
                    }
                    Some(none) => {
                        return match self.absence_assurance(none) {
                            Some(assurance) => Answer::Absent(way.min(assurance)),
                            None => Answer::bogus(self, &name),
                        };
                    }
                    None => return self.no_answer(&name, &cause),
                },
            }
        }
        Answer::Failed(format!(
            "DNS has a chain of aliases without an end at {name}"
        ))
    }

    /// The name that `name` is an alias of.
    async fn alias(&self, name: &Name) -> Result<(Name, Assurance), Answer> {
        let found = match self.dns().lookup(name.clone(), RecordType::CNAME).await {
            Ok(lookup) => self.found(name, RecordType::CNAME, Assurance::Dnssec, &lookup),
            Err(cause) => self.no_answer(name, &cause),
        };
        match found {
            Answer::Records(records, assurance) => records
                .into_iter()
                .find_map(|data| match data {
                    RData::CNAME(alias) => Some((alias.0, assurance)),
                    _ => None,
                })
                .ok_or_else(|| contradiction(name)),
            answer @ (Answer::Bogus(_) | Answer::Failed(_)) => Err(answer),
            Answer::Absent(_) => Err(contradiction(name)),
        }
    }

    /// The records of an answer, and what they are worth together with the aliases that led to them.
    fn found(&self, name: &Name, kind: RecordType, way: Assurance, lookup: &Lookup) -> Answer {
        let answers = lookup.answers();
        let mut owner = name;
        let mut way = way.min(self.best(name));
        for _ in 0..=ALIASES_MAX {
            let records: Vec<&Record> = answers
                .iter()
                .filter(|record| record.name == *owner && record.record_type() == kind)
                .collect();
            let step: Vec<&Record> = if records.is_empty() {
                answers
                    .iter()
                    .filter(|record| {
                        record.name == *owner && record.record_type() == RecordType::CNAME
                    })
                    .take(1)
                    .collect()
            } else {
                records.clone()
            };
            if self.best(owner) == Assurance::Dnssec {
                //= DNS-13
                match weakest(&step) {
                    Some(assurance) => way = way.min(assurance),
                    None => return Answer::bogus(self, name),
                }
            }
            if !records.is_empty() {
                let data = records.iter().map(|record| record.data.clone()).collect();
                return Answer::Records(data, way);
            }
            match step.first().map(|record| &record.data) {
                Some(RData::CNAME(alias)) => owner = &alias.0,
                _ => break,
            }
        }
        contradiction(name)
    }

    fn no_answer(&self, name: &Name, cause: &NetError) -> Answer {
        match cause {
            NetError::Dns(DnsError::Nsec {
                proof, response, ..
            }) if proof.is_insecure() && response.answers.is_empty() => {
                // The zone proves it in a way that is too costly to check, so it counts as unsigned (RFC 9276 §3.2).
                Answer::Absent(Assurance::Dns)
            }
            NetError::Dns(DnsError::DnssecBogus | DnsError::Nsec { .. }) => {
                Answer::bogus(self, name)
            }
            _ => Answer::Failed(self.failure(name, cause)),
        }
    }

    /// How sure it is that there is nothing; `None` if nothing at all supports it.
    fn absence_assurance(&self, none: &NoRecords) -> Option<Assurance> {
        let name = none.query.name();
        if self.best(name) == Assurance::Dns {
            return Some(Assurance::Dns);
        }
        let authorities = none.authorities.as_deref().unwrap_or_default();
        let is_proven = |kinds: &[RecordType]| {
            authorities
                .iter()
                .any(|record| record.proof.is_secure() && kinds.contains(&record.record_type()))
        };
        // Without the zone's own SOA the library proves less than it says.
        if is_proven(&[RecordType::NSEC, RecordType::NSEC3]) && is_proven(&[RecordType::SOA]) {
            return Some(Assurance::Dnssec);
        }
        authorities
            .iter()
            .any(|record| record.proof.is_insecure() && record.name.zone_of(name))
            .then_some(Assurance::Dns)
    }

    /// The most that an answer about `name` can be worth.
    fn best(&self, name: &Name) -> Assurance {
        // About these the library asks nobody.
        let is_local = [&*LOCALHOST, &*INVALID, &*ONION]
            .iter()
            .any(|zone| zone.zone_of(name));
        if self.validates && !is_local {
            Assurance::Dnssec
        } else {
            Assurance::Dns
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is a library's, and grows"
    )]
    fn failure(&self, question: &Name, cause: &NetError) -> String {
        match cause {
            NetError::Timeout => format!("DNS did not answer for {question}"),
            NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) if self.validates => {
                format!(
                    "DNS answered for {question}: Server Failure (so does a server that validates, when a zone is badly \
                     signed)"
                )
            }
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
}

/// What all these records are worth; `None` if one of them is proven wrong, or was not judged at all.
fn weakest(records: &[&Record]) -> Option<Assurance> {
    records
        .iter()
        .try_fold(Assurance::Dnssec, |weakest, record| match record.proof {
            Proof::Secure => Some(weakest),
            Proof::Insecure => Some(Assurance::Dns),
            Proof::Bogus | Proof::Indeterminate => None,
        })
}

/// What DNS says when there is nothing at the name asked for, or where an alias led. A referral to other servers says
/// nothing.
fn absence(cause: &NetError) -> Option<&NoRecords> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = cause else {
        return None;
    };
    let is_referral = none.soa.is_none() && none.ns.is_some();
    let is_absence = none.response_code == ResponseCode::NXDomain
        || (none.response_code == ResponseCode::NoError && !is_referral);
    is_absence.then_some(none)
}

fn contradiction(name: &Name) -> Answer {
    Answer::Failed(format!("DNS contradicts itself about {name}"))
}
