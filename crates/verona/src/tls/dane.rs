//! What TLSA records say of the certificates that a peer showed (RFC 7671, RFC 7673 §4).
//!
//! The records are those that DNSSEC proves; who asked for them, and whether they may be believed, is the resolver's
//! concern.

use std::time::{Instant, SystemTime};

use rustls::pki_types::CertificateDer;
use verona_proto::addr::Domain;
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::dane::{DANE_EE, DANE_TA, Dane, FULL, Shown, TlsaRecord, counting};

use super::revocation::RevocationLists;
use super::verify::{date, is_dns, moment, names, on_our_clock, parse, path, spki};

/// What `records` say of the certificates that a peer showed, the peer's own first.
///
/// `certificate` is what PKIX says of them, for `domain` and the `hosts` that DNSSEC proves to be its servers; the
/// clocks show the same moment.
pub(crate) fn compare(
    records: &[TlsaRecord],
    chain: &[CertificateDer<'_>],
    certificate: &PeerCertificate,
    domain: &Domain,
    hosts: &[Domain],
    (now_wall, now): (SystemTime, Instant),
) -> Dane {
    let counting: Vec<&TlsaRecord> = counting(records).collect();
    //= DNS-16
    if counting.is_empty() {
        return Dane::NoRecords;
    }
    let Some((leaf, authorities)) = chain.split_first() else {
        return Dane::Differs("is missing: the peer showed none".to_owned());
    };
    let judge = Judge {
        leaf,
        authorities,
        certificate,
        domain,
        hosts,
        now_wall,
        now,
    };
    let mut because = None;
    for record in &counting {
        //= DNS-18
        let judged = match record.usage {
            DANE_EE => judge.own(record),
            DANE_TA => judge.authority(record),
            // Of the others only PKIX-EE is usable.
            _ => judge.public(record),
        };
        match judged {
            Verdict::Matches(until) => return Dane::Matches { until },
            Verdict::Differs(Some(why)) => because = because.or(Some(why)),
            Verdict::Differs(None) => {}
        }
    }
    Dane::Differs(because.unwrap_or_else(|| {
        let named: Vec<String> = counting
            .iter()
            .take(RECORDS_SHOWN_MAX)
            .map(ToString::to_string)
            .collect();
        format!("is none of those that they name ({})", named.join("; "))
    }))
}

/// What one record says.
enum Verdict {
    /// It is meant, until then if the certificates' own dates count.
    Matches(Option<Instant>),
    /// It is not meant, or it is and does not suffice, for that reason.
    Differs(Option<String>),
}

struct Judge<'a> {
    leaf: &'a CertificateDer<'a>,
    authorities: &'a [CertificateDer<'a>],
    certificate: &'a PeerCertificate,
    domain: &'a Domain,
    hosts: &'a [Domain],
    now_wall: SystemTime,
    now: Instant,
}

impl Judge<'_> {
    /// DANE-EE: the peer's own certificate or key, and nothing else of it counts.
    fn own(&self, record: &TlsaRecord) -> Verdict {
        //= DNS-17
        if is_named(record, self.leaf) {
            Verdict::Matches(None)
        } else {
            Verdict::Differs(None)
        }
    }

    /// DANE-TA: an authority that the peer showed, or that the record holds as a whole (RFC 7671 §5.2.2), with a path
    /// to it, good dates and a name.
    fn authority(&self, record: &TlsaRecord) -> Verdict {
        let whole = (record.selector == 0 && record.matching == FULL)
            .then(|| CertificateDer::from(record.data.as_slice()));
        let named = self
            .authorities
            .iter()
            .filter(|authority| is_named(record, authority))
            .take(AUTHORITIES_MAX)
            .chain(&whole);
        let mut because = None;
        for authority in named {
            match self.below(authority) {
                Ok(until) => return Verdict::Matches(Some(until)),
                Err(why) => because = Some(why),
            }
        }
        Verdict::Differs(because)
    }

    /// Until when the path from the peer's certificate to this authority is good.
    fn below(&self, authority: &CertificateDer<'_>) -> Result<Instant, String> {
        let unusable = || {
            "is below an authority that its TLSA record names and that cannot be used".to_owned()
        };
        let anchor = webpki::anchor_from_trusted_cert(authority).map_err(|_| unusable())?;
        let parsed = parse(authority).ok_or_else(unusable)?;
        let constraints = parsed
            .basic_constraints()
            .ok()
            .flatten()
            .filter(|constraints| constraints.value.ca)
            .ok_or_else(|| {
                "is below a certificate that its TLSA record names and that is no authority's (CA:FALSE)".to_owned()
            })?;
        let verified = path(
            self.leaf,
            self.authorities,
            &[anchor],
            &RevocationLists::default(),
            self.now_wall,
        )
        .map_err(|why| {
            format!("does not lead to the authority that its TLSA record names: {why}")
        })?;
        // The library takes an anchor's dates and the length of paths below it for granted.
        let validity = parsed.validity();
        let (start, end) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        if moment(start) > self.now_wall || moment(end) <= self.now_wall {
            return Err(format!(
                "is below an authority that its TLSA record names and that is valid from {} to {} only",
                date(start),
                date(end)
            ));
        }
        let longest = constraints.value.path_len_constraint;
        if longest.is_some_and(|longest| verified.intermediates > longest as usize) {
            return Err(
                "is too far below the authority that its TLSA record names (pathLenConstraint)"
                    .to_owned(),
            );
        }
        let names = names(self.leaf);
        let (constrained, not_after) = (verified.constrained, verified.not_after.min(end));
        let names = names.iter().filter(|name| !constrained || is_dns(name));
        self.is_named_among(names)?;
        Ok(on_our_clock(not_after, self.now_wall, self.now))
    }

    /// PKIX-EE: the peer's own certificate, which a public authority must have issued too.
    fn public(&self, record: &TlsaRecord) -> Verdict {
        if !is_named(record, self.leaf) {
            return Verdict::Differs(None);
        }
        let judged = match &self.certificate.chain {
            Chain::Valid => self.is_named_among(self.certificate.names.iter()),
            Chain::Invalid(why) => Err(format!(
                "is the one that its TLSA record names, which asks for a public authority besides (PKIX-EE), but it is \
                 not trusted: {why}"
            )),
            Chain::Absent => Err("is missing".to_owned()),
        };
        match (judged, self.certificate.expires) {
            (Ok(()), Some(until)) if until > self.now => Verdict::Matches(Some(until)),
            (Ok(()), _) => Verdict::Differs(Some("has expired".to_owned())),
            (Err(why), _) => Verdict::Differs(Some(why)),
        }
    }

    /// Whether one of these names is the domain's, or that of a host that is its server (DNS-16).
    fn is_named_among<'n>(
        &self,
        mut names: impl Iterator<Item = &'n CertificateName>,
    ) -> Result<(), String> {
        let (domain, hosts) = (self.domain, self.hosts);
        //= DNS-16
        let fits = names.any(|name| {
            name.covers(domain) || (is_dns(name) && hosts.iter().any(|host| name.covers(host)))
        });
        if fits {
            Ok(())
        } else {
            Err(format!(
                "is vouched for as its TLSA record says, but is neither for {domain} nor for a server of it"
            ))
        }
    }
}

/// Whether a record names this certificate or its key.
fn is_named(record: &TlsaRecord, certificate: &CertificateDer<'_>) -> bool {
    record.matches(Shown {
        certificate,
        public_key: &spki(certificate).unwrap_or_default(),
    })
}

/// Records that are shown to an operator.
const RECORDS_SHOWN_MAX: usize = 4;
/// Authorities of one chain that a record may mean: with a key that was certified anew there are two.
const AUTHORITIES_MAX: usize = 4;
