//! Compares the certificates that a peer showed with those that its TLSA records name (RFC 7671, RFC 7673).
//!
//! Which records may be believed is settled before; here stands what each kind of them asks for. A record that names an
//! authority asks for the same path, dates and names as any other authority would be asked for.

use std::time::{Instant, SystemTime};

use rustls::pki_types::CertificateDer;
use verona_proto::addr::Domain;
use verona_proto::certificate::{Attestation, PeerCertificate};
use verona_proto::dane::{DANE_EE, DANE_TA, Dane, PKIX_EE, Shown, TlsaRecord};

use super::trust::TrustRoots;
use super::verify::{evidence, spki};

/// What `records` say of the certificates that a peer showed, the peer's own first.
///
/// `certificate` is what PKIX says of them, for `domain` and the `hosts` that DNSSEC proves to be its servers.
pub(crate) fn compare(
    records: &[TlsaRecord],
    chain: &[CertificateDer<'_>],
    certificate: &PeerCertificate,
    domain: &Domain,
    hosts: &[Domain],
    (now_wall, now): (SystemTime, Instant),
) -> Dane {
    let usable: Vec<&TlsaRecord> = records.iter().filter(|record| record.is_usable()).collect();
    //= DNS-16
    if usable.is_empty() {
        return Dane::NoRecords;
    }
    let Some(leaf) = chain.first() else {
        return Dane::Differs("is missing: the peer showed none".to_owned());
    };
    let covers = |certificate: &PeerCertificate| {
        let attestation = Attestation {
            hosts: hosts.to_vec(),
            ..Attestation::none(domain.clone())
        };
        let certificate = PeerCertificate {
            attestations: vec![attestation],
            ..certificate.clone()
        };
        certificate.covers(domain, now)
    };
    let mut reason = None;
    for record in &usable {
        match record.usage {
            //= DNS-17
            DANE_EE if matches(record, leaf) => return Dane::Matches { until: None },
            //= DNS-18
            PKIX_EE if matches(record, leaf) => match covers(certificate) {
                Ok(()) => {
                    return Dane::Matches {
                        until: certificate.expires,
                    };
                }
                Err(not) => reason = Some(format!("is named, but {not}")),
            },
            //= DNS-18
            DANE_TA => {
                for authority in authorities(record, chain) {
                    let Some(trust) = TrustRoots::only(&authority) else {
                        continue;
                    };
                    let under = evidence(Some(chain), &trust, now_wall, now);
                    match covers(&under) {
                        Ok(()) => {
                            return Dane::Matches {
                                until: under.expires,
                            };
                        }
                        Err(not) => {
                            reason =
                                Some(format!("comes with an authority that is named, but {not}"));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Dane::Differs(reason.unwrap_or_else(|| {
        let named: Vec<String> = usable
            .iter()
            .take(RECORDS_SHOWN_MAX)
            .map(ToString::to_string)
            .collect();
        format!("is none of those that they name ({})", named.join("; "))
    }))
}

/// The certificates that a record for an authority may mean: those among the ones shown that it names, or its own data.
fn authorities(record: &TlsaRecord, chain: &[CertificateDer<'_>]) -> Vec<CertificateDer<'static>> {
    let shown = chain
        .iter()
        .filter(|certificate| matches(record, certificate))
        .map(|certificate| certificate.clone().into_owned());
    // With the whole certificate in the record the peer need not send it (RFC 7671 §5.2.2).
    let published = (record.selector == 0 && record.matching == 0)
        .then(|| CertificateDer::from(record.data.clone()));
    shown.chain(published).take(AUTHORITIES_MAX).collect()
}

fn matches(record: &TlsaRecord, certificate: &CertificateDer<'_>) -> bool {
    let Some(public_key) = spki(certificate) else {
        return false;
    };
    record.matches(Shown {
        certificate,
        public_key: &public_key,
    })
}

/// Records that are shown to an operator.
const RECORDS_SHOWN_MAX: usize = 4;
/// Certificates that are tried as the authority of one record: each costs the search for a path.
const AUTHORITIES_MAX: usize = 4;
