//! Finds out what DNS and the web say of a peer's certificate: the questions, of which the trust engine judges the answers.
//!
//! Anybody who connects causes these questions, so each has a deadline, and what they find is remembered where it was
//! asked for.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use verona_proto::addr::Domain;
use verona_proto::certificate::{Attestation, PeerCertificate, Posh};
use verona_proto::dane::{Dane, Tlsa, TlsaRecord};
use verona_proto::discovery::{DiscoveryErrorKind, Target};
use verona_proto::grounds::Assurance;
use verona_proto::limits::seconds;
use verona_proto::policy::{IdentityMethod, PeerPolicy};
use verona_proto::stream::Purpose;

use crate::shared::{Shared, now};
use crate::tls::{TlsFacts, compare};

/// What a peer showed in the TLS handshake.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Its certificates, its own first.
    chain: Vec<CertificateDer<'static>>,
    /// What PKIX says of them.
    certificate: PeerCertificate,
}

impl Shown {
    pub(crate) fn new(facts: &TlsFacts) -> Self {
        Self {
            chain: facts.chain.clone(),
            certificate: facts.evidence.clone(),
        }
    }

    fn compare(&self, records: &[TlsaRecord], domain: &Domain, hosts: &[Domain]) -> Dane {
        let clocks = (SystemTime::now(), now());
        compare(
            records,
            &self.chain,
            &self.certificate,
            domain,
            hosts,
            clocks,
        )
    }
}

impl Default for Shown {
    /// Nothing yet.
    fn default() -> Self {
        Self {
            chain: Vec::new(),
            certificate: PeerCertificate::absent(),
        }
    }
}

/// What is known of the certificate of a peer that connected to us and claims to be `domain` (DNS-19); within
/// `attestation_seconds`, whatever comes of it.
pub(crate) async fn of_peer(shared: &Shared, domain: Domain, shown: &Shown) -> Attestation {
    let policy = shared.policy.for_peer(&domain);
    let (dane, hosts) = published(shared, &domain, &policy, shown).await;
    Attestation {
        domain,
        dane,
        posh: Posh::NotLooked,
        hosts,
    }
}

/// What is known of the certificate of a server that we dialled: DNS was asked already (DNS-15, DNS-16).
pub(crate) fn of_server(
    shared: &Shared,
    purpose: &Purpose,
    target: &Target,
    shown: &Shown,
) -> Attestation {
    let domain = purpose.pair().remote().domain().clone();
    let policy = shared.policy.for_peer(&domain);
    //= DNS-16
    let hosts = match target.assurance {
        Assurance::Dnssec => hosts_of(&domain, [target.host.as_str()]),
        Assurance::Redirected | Assurance::Dns | Assurance::Configured | Assurance::Proven => {
            Vec::new()
        }
    };
    let dane = match (&target.tlsa, target.assurance) {
        _ if !policy.accepts(IdentityMethod::Dane) || !shared.resolver.validates() => {
            Dane::NotLooked
        }
        //= DNS-15
        (Tlsa::Secure(records), _) => shown.compare(records, &domain, &hosts),
        (Tlsa::None, Assurance::Dns | Assurance::Dnssec) => Dane::NoRecords,
        // Nobody asked DNS where it is.
        (Tlsa::None, Assurance::Redirected | Assurance::Configured | Assurance::Proven) => {
            Dane::NotLooked
        }
    };
    Attestation {
        domain,
        dane,
        posh: Posh::NotLooked,
        hosts,
    }
}

/// What DNSSEC proves about the certificates of a domain's servers, whichever of them connected.
async fn published(
    shared: &Shared,
    domain: &Domain,
    policy: &PeerPolicy,
    shown: &Shown,
) -> (Dane, Vec<Domain>) {
    if !shared.resolver.validates() {
        return (Dane::NotLooked, Vec::new());
    }
    //= DNS-19
    let deadline = seconds(shared.limits.attestation_seconds);
    let unknown = |why: &str| Dane::Differs(format!("could not be compared: {why}"));
    let (dane, hosts) = match timeout(deadline, shared.resolver.certificates_of(domain)).await {
        Ok(Ok(published)) => {
            let hosts = hosts_of(domain, published.hosts.iter().map(String::as_str));
            let dane = shown.compare(&published.tlsa, domain, &hosts);
            let dane = match (&dane, &published.doubt) {
                (Dane::NoRecords | Dane::Differs(_), Some(why)) => unknown(why),
                (
                    Dane::NotLooked | Dane::NoRecords | Dane::Matches { .. } | Dane::Differs(_),
                    _,
                ) => dane,
            };
            (dane, hosts)
        }
        Ok(Err(error)) => match error.kind {
            DiscoveryErrorKind::NotFound => (Dane::NoRecords, Vec::new()),
            DiscoveryErrorKind::Temporary => (unknown(&error.text), Vec::new()),
        },
        Err(_) => (unknown("DNS did not answer in time"), Vec::new()),
    };
    match policy.accepts(IdentityMethod::Dane) {
        true => (dane, hosts),
        false => (Dane::NotLooked, hosts),
    }
}

/// The servers' names other than the domain's own, which is looked for anyway.
fn hosts_of<'a>(domain: &Domain, names: impl IntoIterator<Item = &'a str>) -> Vec<Domain> {
    names
        .into_iter()
        .filter_map(|name| Domain::parse(name).ok())
        .filter(|host| host != domain)
        .collect()
}
