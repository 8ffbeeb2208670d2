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
    message
        .answers
        .retain(|record| answers(question, record, &names));
    message.authorities.truncate(AUTHORITIES_MAX);
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

/// Whether a record, or what a signature covers, is what was asked for, or an alias on the way.
fn answers(question: &Query, record: &Record, names: &[Name]) -> bool {
    let kind = signature(record).map_or(record.record_type(), |signature| {
        signature.input().type_covered
    });
    if kind == RecordType::DNAME {
        return names.iter().any(|name| record.name.zone_of(name));
    }
    (kind == question.query_type() || kind == RecordType::CNAME) && names.contains(&record.name)
}

fn is_answered(question: &Query, last: &Name, answers: &[Record]) -> bool {
    answers
        .iter()
        .any(|record| record.record_type() == question.query_type() && record.name == *last)
}

/// Who signed the answer that a wildcard gave, if one did; nobody if two claim to, of which one must be lying.
fn wildcard_signer(answers: &[Record]) -> Option<&Name> {
    let mut signers = answers.iter().filter_map(|record| {
        let input = signature(record)?.input();
        (input.num_labels < record.name.num_labels()).then_some(&input.signer_name)
    });
    let first = signers.next()?;
    signers.all(|signer| signer == first).then_some(first)
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
    if nsec3.iterations() > super::HASH_ITERATIONS_MAX {
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

/// Records of an authority section that are looked at; an honest one has a dozen.
const AUTHORITIES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::dnssec::Algorithm;
    use hickory_resolver::proto::dnssec::rdata::{NSEC, SigInput};
    use hickory_resolver::proto::rr::SerialNumber;
    use hickory_resolver::proto::rr::rdata::{A, CNAME, SOA};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap_or_default()
    }

    fn signed(owner: &str, covers: RecordType, labels: u8, signer: &str) -> Record {
        let input = SigInput {
            type_covered: covers,
            algorithm: Algorithm::ECDSAP256SHA256,
            num_labels: labels,
            original_ttl: 60,
            sig_expiration: SerialNumber::new(0),
            sig_inception: SerialNumber::new(0),
            key_tag: 0,
            signer_name: name(signer),
        };
        let signature = RRSIG::from_sig(input, Vec::new());
        let data = RData::DNSSEC(DNSSECRData::RRSIG(signature));
        Record::from_rdata(name(owner), u32::MAX, data)
    }

    fn nsec(owner: &str) -> Record {
        let data = NSEC::new(name("zzz."), [RecordType::NSEC]);
        Record::from_rdata(name(owner), 60, RData::DNSSEC(DNSSECRData::NSEC(data)))
    }

    fn address(owner: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, 1)))
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    fn kept(kind: RecordType, answers: Vec<Record>, authorities: Vec<Record>) -> Vec<String> {
        let mut message = Message::query();
        message.answers = answers;
        message.authorities = authorities;
        message.additionals = vec![address("x.capulet.lit.")];
        keep_relevant(&Query::query(name("x.capulet.lit."), kind), &mut message);
        assert!(message.additionals.is_empty());
        message
            .all_sections()
            .map(|record| {
                assert!(record.ttl <= 3_600);
                format!("{} {}", record.name, record.record_type())
            })
            .collect()
    }

    #[test]
    fn answers_are_what_was_asked_for_and_the_aliases_on_the_way() {
        let answers = vec![
            alias("x.capulet.lit.", "y.lit."),
            signed("x.capulet.lit.", RecordType::CNAME, 3, "capulet.lit."),
            address("y.lit."),
            address("evil.lit."),
            signed("y.lit.", RecordType::TXT, 2, "lit."),
            alias("evil.lit.", "x.capulet.lit."),
        ];
        assert_eq!(
            kept(RecordType::A, answers.clone(), Vec::new()),
            ["x.capulet.lit. CNAME", "x.capulet.lit. RRSIG", "y.lit. A"]
        );
        // The chain of trust has no aliases.
        assert_eq!(
            kept(RecordType::DS, answers, Vec::new()),
            ["x.capulet.lit. CNAME", "x.capulet.lit. RRSIG"]
        );
    }

    #[test]
    fn only_the_zone_that_was_asked_denies() {
        let soa = |owner: &str| {
            let data = SOA::new(name("ns.lit."), name("x.lit."), 1, 60, 60, 60, 60);
            Record::from_rdata(name(owner), 60, RData::SOA(data))
        };
        let denial = |zone: &str| {
            vec![
                nsec("capulet.lit."),
                signed("capulet.lit.", RecordType::NSEC, 2, zone),
            ]
        };
        let says = |soa: Vec<Record>, zone: &str| {
            kept(RecordType::A, Vec::new(), [soa, denial(zone)].concat())
        };
        assert_eq!(
            says(vec![soa("capulet.lit.")], "capulet.lit."),
            [
                "capulet.lit. SOA",
                "capulet.lit. NSEC",
                "capulet.lit. RRSIG"
            ]
        );
        assert_eq!(
            says(vec![soa("capulet.lit.")], "lit."),
            ["capulet.lit. SOA"]
        );
        let nothing: [&str; 0] = [];
        assert_eq!(says(vec![soa("evil.lit.")], "evil.lit."), nothing);
        assert_eq!(says(Vec::new(), "capulet.lit."), nothing);
    }

    #[test]
    fn two_that_claim_a_wildcard_are_both_not_believed() {
        let wildcard = |zone: &str| signed("x.capulet.lit.", RecordType::A, 2, zone);
        let denial = vec![
            nsec("capulet.lit."),
            signed("capulet.lit.", RecordType::NSEC, 2, "capulet.lit."),
        ];
        let one = vec![address("x.capulet.lit."), wildcard("capulet.lit.")];
        let two = [one.clone(), vec![wildcard("lit.")]].concat();
        assert_eq!(kept(RecordType::A, one, denial.clone()).len(), 4);
        assert_eq!(kept(RecordType::A, two, denial).len(), 3);
    }

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
