//! What of a DNS answer belongs to its question: all that the validator gets to see.
//!
//! A record may be proven and still have nothing to say here: whoever has one signed zone must not answer for others with
//! it (`tests/forged.rs` plays that). So what does not belong is taken out before the validator looks. Whatever is missing
//! then is missing: a signed zone's answer becomes bogus.

use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC3, RRSIG};
use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Takes out of the answer to `question` what does not belong to it.
pub(super) fn keep_relevant(question: &Query, message: &mut Message) {
    let names = names(question, &message.answers);
    let last = names.last().unwrap_or(&question.name);
    message.answers.retain(|record| answers(record, &names));
    // Only the zone that was asked, or the one whose wildcard answered, can say that there is nothing closer.
    let zone = if is_answered(question, last, &message.answers) {
        wildcard_signer(&message.answers).cloned()
    } else {
        soa(last, &message.authorities).cloned()
    };
    let denials: Vec<(Name, RecordType)> = message
        .authorities
        .iter()
        .filter_map(|record| {
            let signature = signature(record)?;
            let covered = signature.input().type_covered;
            (is_denial(covered) && Some(&signature.input().signer_name) == zone.as_ref())
                .then(|| (record.name.clone(), covered))
        })
        .collect();
    message
        .authorities
        .retain(|record| match (record.record_type(), signature(record)) {
            (RecordType::SOA | RecordType::NS, _) => record.name.zone_of(last),
            (RecordType::NSEC | RecordType::NSEC3, _) => {
                denials.contains(&(record.name.clone(), record.record_type()))
                    && !opts_out_too_much(question, record)
            }
            (_, Some(signature)) if is_denial(signature.input().type_covered) => {
                Some(&signature.input().signer_name) == zone.as_ref()
            }
            (_, Some(signature)) => signature.input().signer_name.zone_of(last),
            (_, None) => false,
        });
    // Nobody reads these, so nobody need prove them.
    message.additionals.clear();
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        // The time to live is not signed, and the validator remembers its verdicts for as long.
        record.ttl = record.ttl.min(super::POSITIVE_TTL_SECONDS_MAX);
    }
}

/// The name asked for, and those that it is an alias of according to these answers.
fn names(question: &Query, answers: &[Record]) -> Vec<Name> {
    let mut names = vec![question.name.clone()];
    // What the chain of trust is made of has no aliases.
    if matches!(
        question.query_type(),
        RecordType::DS | RecordType::DNSKEY | RecordType::NS | RecordType::CNAME
    ) {
        return names;
    }
    for _ in 0..super::ALIASES_MAX {
        let alias = answers.iter().find_map(|record| {
            let RData::CNAME(alias) = &record.data else {
                return None;
            };
            (Some(&record.name) == names.last()).then(|| alias.0.clone())
        });
        match alias {
            Some(alias) => names.push(alias),
            None => break,
        }
    }
    names
}

fn answers(record: &Record, names: &[Name]) -> bool {
    let is_dname = record.record_type() == RecordType::DNAME
        || signature(record)
            .is_some_and(|signature| signature.input().type_covered == RecordType::DNAME);
    names.contains(&record.name) || (is_dname && names.iter().any(|name| record.name.zone_of(name)))
}

fn is_answered(question: &Query, last: &Name, answers: &[Record]) -> bool {
    answers
        .iter()
        .any(|record| record.record_type() == question.query_type() && record.name == *last)
}

/// Who signed the answer that a wildcard gave, if one did.
fn wildcard_signer(answers: &[Record]) -> Option<&Name> {
    answers.iter().find_map(|record| {
        let input = signature(record)?.input();
        (input.num_labels < record.name.num_labels() && input.signer_name.zone_of(&record.name))
            .then_some(&input.signer_name)
    })
}

/// The zone that says that there is nothing.
fn soa<'a>(last: &Name, authorities: &'a [Record]) -> Option<&'a Name> {
    authorities
        .iter()
        .find(|record| record.record_type() == RecordType::SOA && record.name.zone_of(last))
        .map(|record| &record.name)
}

/// Whether a record that leaves room for unsigned zones between two hashes says more than it may about the question.
///
/// What it covers is the name below the last one that exists (RFC 5155 §8.6). The validator tests the name asked for
/// instead, so a parent could declare unsigned what lies deep in a signed child.
fn opts_out_too_much(question: &Query, record: &Record) -> bool {
    let RData::DNSSEC(DNSSECRData::NSEC3(nsec3)) = &record.data else {
        return false;
    };
    question.query_type() == RecordType::DS
        && nsec3.opt_out()
        && record.name.base_name() != question.name.base_name()
        && !is_hash_of(nsec3, record, &question.name)
}

fn is_hash_of(nsec3: &NSEC3, record: &Record, name: &Name) -> bool {
    if nsec3.iterations() > HASH_ITERATIONS_MAX {
        return false;
    }
    let Ok(hash) = nsec3
        .hash_algorithm()
        .hash(nsec3.salt(), name, nsec3.iterations())
    else {
        return false;
    };
    let label = base32hex(hash.as_ref());
    record
        .name
        .iter()
        .next()
        .is_some_and(|first| first.eq_ignore_ascii_case(&label))
}

/// Base 32 with the extended hex alphabet and without padding (RFC 4648 §7), as NSEC3 writes its hashes.
fn base32hex(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let bit = |index: usize| {
        bytes
            .get(index / 8)
            .is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1)
    };
    (0..(bytes.len() * 8).div_ceil(5))
        .map(|group| (0..5).fold(0, |sum, at| sum * 2 + usize::from(bit(group * 5 + at))))
        .filter_map(|value| ALPHABET.get(value).copied())
        .collect()
}

pub(super) fn signature(record: &Record) -> Option<&RRSIG> {
    if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data {
        Some(signature)
    } else {
        None
    }
}

fn is_denial(kind: RecordType) -> bool {
    matches!(kind, RecordType::NSEC | RecordType::NSEC3)
}

/// Beyond these a zone counts as unsigned anyway (RFC 9276 §3.2).
const HASH_ITERATIONS_MAX: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_written_as_rfc_5155_writes_them() {
        // The apex of its appendix A: "example" with the salt AABBCCDD and 12 iterations.
        let name = Name::from_ascii("example.").unwrap_or_default();
        let algorithm = hickory_resolver::proto::dnssec::Nsec3HashAlgorithm::SHA1;
        let hash = algorithm.hash(&[0xaa, 0xbb, 0xcc, 0xdd], &name, 12);
        let written = hash
            .map(|hash| base32hex(hash.as_ref()))
            .unwrap_or_default();
        assert_eq!(written, b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tom");
    }
}
