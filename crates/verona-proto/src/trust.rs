//! On which grounds a peer is believed: from evidence, policy and what it proved before, to an identity or a reason why
//! not. Pure, so that it can be asked again whenever one of the three changes, and put into one table.
//!
//! The evidence is a [`PeerCertificate`]: what the TLS handshake showed, the path to an authority, what DNS and the web
//! say of it. PKIX, DANE, POSH and pins are alternatives, and any one that the policy accepts suffices (TLS-34); a server
//! that we dialled may be believed for the way that led to it, where the policy accepts dialback (BIDI-23).

use std::fmt;
use std::time::Instant;

use crate::addr::Domain;
use crate::certificate::{Attestation, Chain, NotCovered, PeerCertificate, Posh};
use crate::dane::Dane;
use crate::grounds::{Assurance, Identity, Strength};
use crate::policy::{IdentityMethod, PeerPolicy, Weaker};

/// Whether a peer's certificate proves a domain, and by which of the accepted methods: the strongest that does.
///
/// `before` is what the domain proved in the last 30 days.
///
/// # Errors
/// [`Unproven`] says what was tried and why it did not do.
pub fn certified(
    certificate: &PeerCertificate,
    domain: &Domain,
    policy: &PeerPolicy,
    before: Option<Strength>,
    now: Instant,
) -> Result<Identity, Unproven> {
    //= TLS-34
    let identity = STRONGEST_FIRST
        .into_iter()
        .filter(|method| policy.accepts(*method))
        .find_map(|method| by(method, certificate, domain, policy, now))
        .ok_or_else(|| Unproven::Certificate {
            not: certificate.covers(domain, now).err(),
            elsewhere: elsewhere(certificate, domain, policy),
        })?;
    let attested = certificate.attestation(domain);
    not_weaker(identity, None, attested, policy, before)
}

/// What may be believed of the server that we dialled: what its certificate proves, else the way that led to it.
/// `certificate` is `None` where the connection is not encrypted.
///
/// # Errors
/// [`Unproven`]: nothing that the policy accepts, or less than before, or DNS names other certificates.
pub fn dialled(
    certificate: Option<&PeerCertificate>,
    domain: &Domain,
    assurance: Assurance,
    policy: &PeerPolicy,
    before: Option<Strength>,
    now: Instant,
) -> Result<Identity, Unproven> {
    let attested = certificate.and_then(|certificate| certificate.attestation(domain));
    let refusal = match certificate {
        Some(certificate) => match certified(certificate, domain, policy, before, now) {
            Ok(Identity::Pin) => return Ok(Identity::Pin),
            judged => {
                //= TLS-34
                //= DNS-15
                // Whoever publishes TLSA records says that nothing else will do (RFC 7673 §3.4).
                if let (true, Some(Dane::Differs(why))) = (
                    policy.accepts(IdentityMethod::Dane),
                    attested.map(|attestation| &attestation.dane),
                ) {
                    return Err(Unproven::Dane(why.clone()));
                }
                match judged {
                    Ok(identity) => return Ok(identity),
                    Err(refusal) => refusal,
                }
            }
        },
        None => Unproven::Unencrypted,
    };
    //= BIDI-23
    //= STREAM-51
    if matches!(refusal, Unproven::Weaker { .. })
        || !policy.accepts(IdentityMethod::Dialback)
        || assurance == Assurance::Redirected
    {
        return Err(refusal);
    }
    let identity = Identity::Resolution(assurance);
    not_weaker(identity, Some(&refusal), attested, policy, before)
}

/// Whether it is worth finding out what DNS and the web say of a certificate: not if it proves its domain already, as
/// strongly as it did before.
#[must_use]
pub fn is_attestation_wanted(
    certificate: &PeerCertificate,
    domain: &Domain,
    policy: &PeerPolicy,
    before: Option<Strength>,
    now: Instant,
) -> bool {
    let asked = [IdentityMethod::Dane, IdentityMethod::Posh];
    let proven = certified(certificate, domain, policy, None, now);
    let enough = proven.is_ok_and(|identity| {
        identity == Identity::Pin || before.is_none_or(|before| identity.strength() >= Some(before))
    });
    certificate.chain != Chain::Absent
        && certificate.attestation(domain).is_none()
        && asked.into_iter().any(|method| policy.accepts(method))
        && !enough
}

/// Until when an identity holds that rests on a certificate; `None` if nothing ends it.
#[must_use]
pub fn expires(
    certificate: &PeerCertificate,
    domain: &Domain,
    identity: Identity,
) -> Option<Instant> {
    let attested = certificate.attestation(domain);
    match identity {
        //= BIDI-70
        Identity::Certificate => certificate.expires,
        //= DNS-17
        Identity::Dane => match attested.map(|attestation| &attestation.dane) {
            Some(Dane::Matches { until }) => *until,
            Some(Dane::NotLooked | Dane::NoRecords | Dane::Differs(_)) | None => None,
        },
        //= DNS-22
        Identity::Posh => match attested.map(|attestation| &attestation.posh) {
            Some(Posh::Matches { until }) => Some(*until),
            Some(Posh::NotLooked | Posh::Differs | Posh::Failed(_)) | None => None,
        },
        Identity::Pin | Identity::Dialback(_) | Identity::Resolution(_) => None,
    }
}

/// Whether one method proves the domain.
fn by(
    method: IdentityMethod,
    certificate: &PeerCertificate,
    domain: &Domain,
    policy: &PeerPolicy,
    now: Instant,
) -> Option<Identity> {
    let attested = certificate.attestation(domain);
    match method {
        IdentityMethod::Pin => certificate
            .public_key
            .is_some_and(|key| policy.pins.contains(&key))
            .then_some(Identity::Pin),
        //= DNS-17
        IdentityMethod::Dane => match attested?.dane {
            Dane::Matches { until } => until
                .is_none_or(|until| until > now)
                .then_some(Identity::Dane),
            Dane::NotLooked | Dane::NoRecords | Dane::Differs(_) => None,
        },
        //= TLS-16
        //= TLS-17
        IdentityMethod::Certificate => certificate
            .covers(domain, now)
            .is_ok()
            .then_some(Identity::Certificate),
        //= DNS-23
        IdentityMethod::Posh => match attested?.posh {
            Posh::Matches { until } => (until > now).then_some(Identity::Posh),
            Posh::NotLooked | Posh::Differs | Posh::Failed(_) => None,
        },
        IdentityMethod::Dialback => None,
    }
}

/// Holds an identity against what the domain proved before.
fn not_weaker(
    identity: Identity,
    refusal: Option<&Unproven>,
    attested: Option<&Attestation>,
    policy: &PeerPolicy,
    before: Option<Strength>,
) -> Result<Identity, Unproven> {
    //= TLS-34
    // Where the operator has nobody look for TLSA records, their absence says nothing about the peer. Where it was merely
    // not done for this name (a further pair, a server that we were sent to), a stream of its own does it.
    let looked = policy.accepts(IdentityMethod::Dane)
        && attested.is_none_or(|attestation| attestation.dane != Dane::NotLooked);
    let by_certificate = [
        IdentityMethod::Dane,
        IdentityMethod::Certificate,
        IdentityMethod::Posh,
    ];
    let measure = match before {
        Some(before) if looked => Some(before),
        // What the operator does not accept any more cannot be asked for.
        Some(_) => by_certificate
            .into_iter()
            .any(|method| policy.accepts(method))
            .then_some(Strength::Certificate),
        None => None,
    };
    match measure {
        Some(measure)
            if policy.weaker == Weaker::Refuse
                && identity != Identity::Pin
                && identity.strength() < Some(measure) =>
        {
            Err(Unproven::Weaker {
                before: measure,
                offered: identity,
                why: refusal.map(ToString::to_string),
            })
        }
        Some(_) | None => Ok(identity),
    }
}

/// What pins, DNS and the web say, as the rest of a sentence about why a certificate did not do.
fn elsewhere(certificate: &PeerCertificate, domain: &Domain, policy: &PeerPolicy) -> Vec<String> {
    let pinned = policy.accepts(IdentityMethod::Pin) && certificate.chain != Chain::Absent;
    let pin = pinned.then(|| "its key is none of those that are pinned for it".to_owned());
    let Some(attested) = certificate.attestation(domain) else {
        return pin.into_iter().collect();
    };
    let dane = match &attested.dane {
        Dane::NotLooked | Dane::Matches { .. } => None,
        Dane::NoRecords => Some("DNS has no TLSA record for it that may be believed".to_owned()),
        Dane::Differs(why) => Some(format!("by its TLSA records the certificate {why}")),
    };
    let posh = match &attested.posh {
        Posh::NotLooked | Posh::Matches { .. } => None,
        Posh::Differs => Some("its POSH document names other certificates".to_owned()),
        Posh::Failed(why) => Some(format!("POSH: {why}")),
    };
    pin.into_iter().chain(dane).chain(posh).collect()
}

/// Why a peer is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// The peer does not say who it is.
    Nameless,
    /// The connection is not encrypted, so nothing was shown.
    Unencrypted,
    /// The certificate does not prove the domain by any method that the policy accepts.
    Certificate {
        /// Why PKIX does not do; `None` if it would, but the policy does not accept it.
        not: Option<NotCovered>,
        /// What was found out elsewhere.
        elsewhere: Vec<String>,
    },
    /// DNSSEC proves that the domain's servers have other certificates.
    Dane(String),
    /// The domain proved itself more strongly before.
    Weaker {
        /// By what.
        before: Strength,
        /// What it offers.
        offered: Identity,
        /// Why it is no more than that.
        why: Option<String>,
    },
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless => f.write_str("the header has no 'from'"),
            Self::Unencrypted => f.write_str("the connection is not encrypted"),
            Self::Certificate { not, elsewhere } => {
                match not {
                    Some(not) => write!(f, "{not}")?,
                    None => f.write_str(
                        "the peer's certificate is valid, but the policy for this peer does not accept certificates",
                    )?,
                }
                elsewhere
                    .iter()
                    .try_for_each(|found| write!(f, "; {found}"))
            }
            Self::Dane(why) => write!(
                f,
                "DNS names other certificates for the peer (TLSA): the one that it shows {why}"
            ),
            Self::Weaker {
                before,
                offered,
                why,
            } => {
                let before = match before {
                    Strength::Certificate => "its certificate",
                    Strength::Dane => "DANE",
                };
                write!(
                    f,
                    "the peer proved itself by {before} in the last 30 days and offers only {offered}"
                )?;
                if let Some(why) = why {
                    write!(f, " ({why})")?;
                }
                f.write_str(
                    "; if that is meant, forget what is known of it (`verona forget DOMAIN`), or set weaker = \"allow\" \
                     for it",
                )
            }
        }
    }
}

impl std::error::Error for Unproven {}

/// The methods that judge a certificate, the strongest first.
const STRONGEST_FIRST: [IdentityMethod; 4] = [
    IdentityMethod::Pin,
    IdentityMethod::Dane,
    IdentityMethod::Certificate,
    IdentityMethod::Posh,
];

#[cfg(test)]
mod tests;
