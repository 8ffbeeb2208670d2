//! Certificates that DNS vouches for: TLSA records, and what they match (RFC 6698, RFC 7671, RFC 7673).
//!
//! Whether an answer may be believed at all (DNSSEC) is decided where the questions are asked; what a record that may
//! be believed says of a certificate is decided here.

use std::fmt;
use std::time::Instant;

use sha2::{Digest as _, Sha256, Sha512};

/// What DNS says about the certificate of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tlsa {
    /// Nothing that may be believed: the zone is not signed, there are no records, or nobody asked (DNS-14).
    #[default]
    None,
    /// Records that DNSSEC proves, at least one. Usable or not, they make TLS mandatory (DNS-15).
    Secure(Vec<TlsaRecord>),
}

impl Tlsa {
    /// The records.
    #[must_use]
    pub fn records(&self) -> &[TlsaRecord] {
        match self {
            Self::None => &[],
            Self::Secure(records) => records,
        }
    }

    /// Whether a certificate can match at all: a record that nobody can use constrains nobody (DNS-16, DNS-18).
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.records().iter().any(TlsaRecord::is_usable)
    }
}

/// What TLSA records say of the certificate that a peer showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dane {
    /// Nobody looked: the policy does not ask for it, or DNSSEC is not validated here.
    #[default]
    NotLooked,
    /// There is nothing to compare with that may be believed and used.
    NoRecords,
    /// It is one that a record names; `until` is the end of its path where the record names an authority (RFC 7671
    /// §5.2), `None` where it names the certificate, whose own dates count for nothing (DNS-17).
    Matches {
        /// On our clock.
        until: Option<Instant>,
    },
    /// It is none of them; the text says why, to stand after "the certificate".
    Differs(String),
}

/// The records that count: of usable ones that name the same by digests, those with the strongest digest, so that a
/// digest which is broken one day cannot be picked by whoever broke it (RFC 7671 §9).
pub fn counting(records: &[TlsaRecord]) -> impl Iterator<Item = &TlsaRecord> {
    records.iter().filter(|record| {
        record.is_usable()
            && (record.matching == FULL
                || !records.iter().any(|other| {
                    other.is_usable()
                        && (other.usage, other.selector) == (record.usage, record.selector)
                        && other.matching > record.matching
                }))
    })
}

/// One TLSA record (RFC 6698 §2.1), its numbers as they are on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsaRecord {
    /// What is named: 3 the server's own certificate (DANE-EE), 2 an authority for it (DANE-TA); 1 and 0 the same with
    /// a path to a public authority besides.
    pub usage: u8,
    /// Of it: 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// How: 0 itself, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// The data to compare with.
    pub data: Vec<u8>,
}

/// One certificate that a peer showed, as TLSA sees it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The certificate in DER.
    pub certificate: &'a [u8],
    /// Its SubjectPublicKeyInfo in DER.
    pub public_key: &'a [u8],
}

impl TlsaRecord {
    /// Whether the record is of a kind that we use: DANE-EE, DANE-TA and PKIX-EE, compared by a method that we know
    /// (DNS-18). PKIX-TA (0) is not: what it asks for is asked of every certificate that PKIX proves.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        //= DNS-18
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, PKIX_EE | DANE_TA | DANE_EE) && self.selector <= 1 && length
    }

    /// Whether the record's data are those of this certificate, whatever its usage.
    #[must_use]
    pub fn matches(&self, shown: Shown<'_>) -> bool {
        let selected = match self.selector {
            0 => shown.certificate,
            1 => shown.public_key,
            _ => return false,
        };
        match self.matching {
            0 => selected == self.data,
            1 => Sha256::digest(selected).as_slice() == self.data,
            2 => Sha512::digest(selected).as_slice() == self.data,
            _ => false,
        }
    }
}

impl fmt::Display for TlsaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data
            .iter()
            .take(SHOWN_BYTES_MAX)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        match self.data.len() > SHOWN_BYTES_MAX {
            true => f.write_str("…"),
            false => Ok(()),
        }
    }
}

/// The server's certificate, which a public authority must have issued as well.
pub const PKIX_EE: u8 = 1;
/// An authority's certificate, whoever else knows it.
pub const DANE_TA: u8 = 2;
/// The server's certificate, whatever stands in it (DNS-17).
pub const DANE_EE: u8 = 3;
/// The data are what is named, and no digest of it.
pub const FULL: u8 = 0;
/// A digest is shown as far as an operator compares it by eye.
const SHOWN_BYTES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, data: Vec<u8>) -> TlsaRecord {
        TlsaRecord {
            usage,
            selector,
            matching,
            data,
        }
    }

    #[test]
    fn a_record_matches_what_it_selects_in_the_way_that_it_says() {
        let shown = Shown {
            certificate: b"certificate",
            public_key: b"key",
        };
        for (selector, selected) in [(0, &b"certificate"[..]), (1, b"key")] {
            for (matching, data) in [
                (0, selected.to_vec()),
                (1, Sha256::digest(selected).to_vec()),
                (2, Sha512::digest(selected).to_vec()),
            ] {
                let right = record(3, selector, matching, data.clone());
                assert!(right.matches(shown), "{right}");
                let other = record(3, 1 - selector, matching, data.clone());
                assert!(!other.matches(shown), "{other}");
                let mut spoilt = data;
                spoilt.pop();
                assert!(!record(3, selector, matching, spoilt).matches(shown));
            }
        }
        assert!(!record(3, 2, 0, b"certificate".to_vec()).matches(shown));
        assert!(!record(3, 0, 3, b"certificate".to_vec()).matches(shown));
    }

    #[test]
    fn only_kinds_that_are_known_are_used() {
        //= DNS-18
        for (usage, selector, matching, length, usable) in [
            (3, 1, 1, 32, true),
            (3, 0, 2, 64, true),
            (2, 0, 0, 500, true),
            (1, 1, 1, 32, true),
            (0, 1, 1, 32, false),
            (4, 1, 1, 32, false),
            (255, 1, 1, 32, false),
            (3, 2, 1, 32, false),
            (3, 1, 1, 31, false),
            (3, 1, 2, 32, false),
            (3, 1, 3, 32, false),
            (3, 0, 0, 0, false),
        ] {
            let record = record(usage, selector, matching, vec![0; length]);
            assert_eq!(record.is_usable(), usable, "{record}");
            assert_eq!(Tlsa::Secure(vec![record]).is_usable(), usable);
        }
        assert!(!Tlsa::None.is_usable());
    }

    #[test]
    fn the_strongest_digest_counts() {
        let all = [
            record(3, 1, 1, vec![1; 32]),
            record(3, 1, 2, vec![2; 64]),
            record(3, 1, 2, vec![3; 63]),
            record(3, 1, 0, vec![4; 91]),
            record(3, 0, 1, vec![5; 32]),
            record(2, 1, 1, vec![6; 32]),
            record(0, 1, 2, vec![7; 64]),
        ];
        let firsts = |records: &[TlsaRecord]| -> Vec<u8> {
            counting(records)
                .filter_map(|record| record.data.first().copied())
                .collect()
        };
        assert_eq!(firsts(&all), [2, 4, 5, 6]);
        // One that is malformed outdoes nobody.
        assert_eq!(firsts(&[all[0].clone(), all[2].clone()]), [1]);
    }
}
