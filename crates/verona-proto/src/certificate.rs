//! Which domains a peer's certificate covers (RFC 6120 §13.7).
//!
//! The engine checks chain, dates and possession of the key, and reads the names; whether they cover a domain is
//! decided here, so that the rule is pure and the same in both directions of a connection.

use std::fmt;
use std::time::Instant;

use crate::addr::Domain;
use crate::dane::Dane;

/// What a peer's certificate says, after the TLS handshake proved that the peer has its key (TLS-16, TLS-17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The chain, judged as a server's certificate whichever side presents it (TLS-22).
    pub chain: Chain,
    /// The names of its subjectAltName.
    pub names: Vec<CertificateName>,
    /// When it ceases to be valid, on our clock; `None` when the chain is not valid.
    pub expires: Option<Instant>,
    /// The SHA-256 of its public key (SubjectPublicKeyInfo): what a pin names, and what tells one key from another.
    pub public_key: Option<[u8; 32]>,
    /// What was found out about it elsewhere, domain by domain.
    pub attestations: Vec<Attestation>,
}

/// What DNS and the web say about a certificate, for one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The domain that was looked up.
    pub domain: Domain,
    /// By TLSA records (RFC 7673).
    pub dane: Dane,
    /// By the domain's web server (RFC 7711).
    pub posh: Posh,
    /// The hosts that DNSSEC proves to be the domain's servers: a certificate may bear the name of one in place of the
    /// domain's (DNS-16).
    pub hosts: Vec<Domain>,
}

impl Attestation {
    /// Nothing was found out, for nobody looked.
    #[must_use]
    pub fn none(domain: Domain) -> Self {
        Self {
            domain,
            dane: Dane::NotLooked,
            posh: Posh::NotLooked,
            hosts: Vec::new(),
        }
    }
}

/// What the domain's web server says of the certificate (RFC 7711).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Posh {
    /// Nobody asked.
    #[default]
    NotLooked,
    /// It is one that the document names, which counts until then.
    Matches {
        /// On our clock.
        until: Instant,
    },
    /// The document names others.
    Differs,
    /// There is no document that can be used; the text says why.
    Failed(String),
}

impl PeerCertificate {
    /// The peer showed no certificate (TLS-12).
    #[must_use]
    pub fn absent() -> Self {
        Self {
            chain: Chain::Absent,
            names: Vec::new(),
            expires: None,
            public_key: None,
            attestations: Vec::new(),
        }
    }

    /// What was found out for a domain.
    #[must_use]
    pub fn attestation(&self, domain: &Domain) -> Option<&Attestation> {
        self.attestations
            .iter()
            .find(|attestation| attestation.domain == *domain)
    }

    /// Whether the certificate proves `domain` now.
    ///
    /// # Errors
    /// [`NotCovered`] says why not, for the operator's log.
    pub fn covers(&self, domain: &Domain, now: Instant) -> Result<(), NotCovered> {
        match &self.chain {
            Chain::Absent => return Err(NotCovered::Absent),
            Chain::Invalid(reason) => return Err(NotCovered::Chain(reason.clone())),
            Chain::Valid => {}
        }
        //= SASL-11
        if self.expires.is_none_or(|at| at <= now) {
            return Err(NotCovered::Expired);
        }
        if self.names.iter().any(|name| name.covers(domain)) {
            return Ok(());
        }
        //= DNS-16
        let hosts = self
            .attestation(domain)
            .map(|attestation| attestation.hosts.as_slice())
            .unwrap_or_default();
        if hosts.iter().any(|host| self.is_for_host(host)) {
            return Ok(());
        }
        Err(NotCovered::Name {
            domain: domain.clone(),
            names: shown(&self.names),
        })
    }
}

impl PeerCertificate {
    /// Whether it bears a host's name, as the certificate of any server on that host does.
    fn is_for_host(&self, host: &Domain) -> bool {
        self.names.iter().any(|name| match name {
            CertificateName::Dns(_) => name.covers(host),
            CertificateName::Srv { .. } | CertificateName::XmppAddr(_) => false,
        })
    }
}

/// The result of building a path to a trusted root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// There was no certificate.
    Absent,
    /// A path exists, the dates are good, and server authentication is a permitted use (TLS-22).
    Valid,
    /// There is none; the text says why.
    Invalid(String),
}

/// One name in a certificate (TLS-18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// A dNSName: DNS-ID, possibly with a wildcard.
    Dns(String),
    /// An SRVName with its service label, such as `_xmpp-server` (RFC 4985).
    Srv {
        /// With its underscore.
        service: String,
        /// The domain.
        domain: String,
    },
    /// An id-on-xmppAddr (RFC 6120 §13.7.1.4).
    XmppAddr(String),
}

impl CertificateName {
    /// Whether this name covers `domain`.
    #[must_use]
    pub fn covers(&self, domain: &Domain) -> bool {
        match self {
            Self::Dns(name) => dns_id(name, domain),
            //= TLS-19
            Self::Srv {
                service,
                domain: name,
            } => service.eq_ignore_ascii_case("_xmpp-server") && dns_id(name, domain),
            //= TLS-18
            Self::XmppAddr(name) => {
                !name.contains(['@', '/', '*']) && Domain::parse(name).is_ok_and(|d| d == *domain)
            }
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "{name}"),
            Self::Srv { service, domain } => write!(f, "{service}.{domain} (SRVName)"),
            Self::XmppAddr(name) => write!(f, "{name} (XmppAddr)"),
        }
    }
}

/// Compares a DNS-ID, wildcard included, with a domain.
fn dns_id(name: &str, domain: &Domain) -> bool {
    // The root's dot, with which `Domain` copes, has no place in a certificate (RFC 5280 §4.2.1.6).
    if domain.is_address() || name.ends_with('.') {
        return false;
    }
    match name.strip_prefix("*.") {
        //= TLS-20
        Some(parent) => {
            let Ok(parent) = Domain::parse(parent) else {
                return false;
            };
            let Some((label, rest)) = domain.ascii().split_once('.') else {
                return false;
            };
            // A wildcard for a whole top-level domain is nobody's.
            !label.is_empty() && parent.ascii().contains('.') && rest == parent.ascii()
        }
        None => Domain::parse(name).is_ok_and(|d| d == *domain),
    }
}

/// Why a certificate does not prove a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCovered {
    /// The peer showed none.
    Absent,
    /// No valid chain.
    Chain(String),
    /// It has expired since the handshake.
    Expired,
    /// It is for other names.
    Name {
        /// The domain asked for.
        domain: Domain,
        /// What it covers, the first few, fit for a log.
        names: Vec<String>,
    },
}

impl fmt::Display for NotCovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the peer showed no certificate"),
            Self::Chain(reason) => write!(f, "the peer's certificate is not trusted: {reason}"),
            Self::Expired => f.write_str("the peer's certificate has expired"),
            Self::Name { domain, .. } if domain.is_address() => {
                write!(
                    f,
                    "the peer's domain is an address ({domain}), which a certificate proves by an XmppAddr alone"
                )
            }
            Self::Name { domain, names } if names.is_empty() => {
                write!(
                    f,
                    "the peer's certificate names no domain in its subjectAltName, so it does not cover {domain}"
                )
            }
            Self::Name { domain, names } => {
                write!(
                    f,
                    "the peer's certificate is for {}, not for {domain}",
                    names.join(", ")
                )
            }
        }
    }
}

/// The first names, and how many there are besides: a stranger wrote them, and they go into a log.
fn shown(names: &[CertificateName]) -> Vec<String> {
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    let first = names.iter().take(NAMES_SHOWN_MAX).map(legible);
    let rest = (more > 0).then(|| format!("{more} more"));
    first.chain(rest).collect()
}

/// One name on one line, not a long one, without characters that a terminal obeys.
fn legible(name: &CertificateName) -> String {
    let name = name.to_string();
    if name.is_empty() {
        return "an empty name".to_owned();
    }
    let mut shown: String = name
        .chars()
        .take(NAME_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

const NAMES_SHOWN_MAX: usize = 5;
/// What a name of DNS may have, and some more for its kind.
const NAME_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a test may panic and read the clock"
    )]
    use super::*;
    use std::time::Duration;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn names_cover_what_rfc_6120_and_rfc_9525_say() {
        let srv = |service: &str, domain: &str| CertificateName::Srv {
            service: service.into(),
            domain: domain.into(),
        };
        let dns = |name: &str| CertificateName::Dns(name.into());
        let addr = |name: &str| CertificateName::XmppAddr(name.into());
        for (name, target, covered) in [
            (dns("capulet.lit"), "capulet.lit", true),
            (dns("CAPULET.lit"), "capulet.lit", true),
            (dns("xn--bcher-kva.example"), "bücher.example", true),
            (dns("*.capulet.lit"), "rooms.capulet.lit", true),
            (dns("*.capulet.lit"), "capulet.lit", false),
            (dns("*.capulet.lit"), "a.b.capulet.lit", false),
            (dns("*.lit"), "capulet.lit", false),
            (dns("r*.capulet.lit"), "rooms.capulet.lit", false),
            (dns("*"), "capulet.lit", false),
            (dns("capulet.lit\u{0}.evil.lit"), "capulet.lit", false),
            (dns("capulet.lit."), "capulet.lit", false),
            (dns("*.capulet.lit."), "rooms.capulet.lit", false),
            (srv("_xmpp-server", "capulet.lit."), "capulet.lit", false),
            (dns("127.0.0.1"), "127.0.0.1", false),
            (srv("_xmpp-server", "capulet.lit"), "capulet.lit", true),
            (srv("_xmpp-client", "capulet.lit"), "capulet.lit", false),
            (addr("capulet.lit"), "capulet.lit", true),
            (addr("juliet@capulet.lit"), "capulet.lit", false),
            (addr("*.capulet.lit"), "rooms.capulet.lit", false),
        ] {
            assert_eq!(name.covers(&domain(target)), covered, "{name} for {target}");
        }
    }

    #[test]
    fn what_a_stranger_named_is_told_on_one_line() {
        let now = Instant::now();
        let told = |names: &[&str], target: &str| {
            let certificate = PeerCertificate {
                chain: Chain::Valid,
                names: names
                    .iter()
                    .map(|name| CertificateName::Dns((*name).into()))
                    .collect(),
                expires: Some(now + Duration::from_secs(5)),
                ..PeerCertificate::absent()
            };
            let target = domain(target);
            certificate.covers(&target, now).unwrap_err().to_string()
        };
        assert_eq!(
            told(
                &["a.lit\nERROR all is lost", "\u{1b}[2J", "", "\u{202e}"],
                "capulet.lit"
            ),
            "the peer's certificate is for a.lit\\nERROR all is lost, \\u{1b}[2J, an empty name, \\u{202e}, not for \
             capulet.lit"
        );
        let long = "a".repeat(100_000);
        let told = |names: &[&str]| told(names, "capulet.lit").len();
        assert!(told(&[&long, &long, &long, &long, &long, &long]) < 1_700);
    }

    #[test]
    fn a_certificate_that_expires_covers_nothing_afterwards() {
        //= SASL-11
        let now = Instant::now();
        let certificate = PeerCertificate {
            chain: Chain::Valid,
            names: vec![CertificateName::Dns("capulet.lit".into())],
            expires: Some(now + Duration::from_secs(5)),
            ..PeerCertificate::absent()
        };
        assert_eq!(certificate.covers(&domain("capulet.lit"), now), Ok(()));
        assert_eq!(
            certificate.covers(&domain("capulet.lit"), now + Duration::from_secs(5)),
            Err(NotCovered::Expired)
        );
    }
}
