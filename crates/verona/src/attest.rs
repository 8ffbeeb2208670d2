//! Finds out what DNS and the web say of a peer's certificate: the questions, of which the trust engine judges the answers.
//!
//! Anybody who connects causes these questions, so each has a deadline, and what they find is remembered where it was
//! asked for.

mod look_ups;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use verona_proto::addr::Domain;
use verona_proto::certificate::{Attestation, PeerCertificate, Posh};
use verona_proto::dane::{Dane, Tlsa, TlsaRecord};
use verona_proto::discovery::{DiscoveryErrorKind, Target};
use verona_proto::federation::Errand;
use verona_proto::grounds::Assurance;
use verona_proto::limits::seconds;
use verona_proto::policy::{IdentityMethod, PeerPolicy};
use verona_proto::stream::Purpose;
use verona_proto::trust;

use crate::shared::{Shared, now};
use crate::tls::{TlsFacts, compare};

pub(crate) use look_ups::LookUps;

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

/// What is known of the certificate of a peer that connected to us and claims to be `domain` (DNS-19, DNS-24); within
/// `attestation_seconds`, whatever comes of it.
pub(crate) async fn of_peer(shared: &Arc<Shared>, domain: Domain, shown: &Shown) -> Attestation {
    let policy = shared.policy().for_peer(&domain);
    let patience = patience(shared, &domain, &policy);
    let (published, posh) = tokio::join!(
        published(shared, &domain, &policy, shown, patience),
        async {
            match policy.accepts(IdentityMethod::Posh) {
                true => posh(shared, &domain, shown, Errand::Stranger, patience).await,
                false => Posh::NotLooked,
            }
        }
    );
    let (dane, hosts) = published;
    Attestation {
        domain,
        dane,
        posh,
        hosts,
    }
}

/// What is known of the certificate of a server that we dialled: DNS was asked already, and the web is asked only where
/// nothing else proves it (DNS-15, DNS-16, DNS-24).
pub(crate) async fn of_server(
    shared: &Arc<Shared>,
    purpose: &Purpose,
    target: &Target,
    shown: &Shown,
) -> Attestation {
    let domain = purpose.pair().remote().domain().clone();
    let policy = shared.policy().for_peer(&domain);
    //= DNS-16
    let hosts = match target.assurance {
        Assurance::Dnssec => hosts_of(&domain, target.names()),
        Assurance::Redirected | Assurance::Dns | Assurance::Configured | Assurance::Proven => {
            Vec::new()
        }
    };
    let dane = match (&target.tlsa, target.assurance) {
        _ if !policy.accepts(IdentityMethod::Dane) || !shared.resolver().validates() => {
            Dane::NotLooked
        }
        //= DNS-15
        (Tlsa::Secure(records), _) => shown.compare(records, &domain, &hosts),
        // Of a server that another server names DNS says nothing; whoever proved itself by DANE is not there (STREAM-51).
        (Tlsa::None, Assurance::Dns | Assurance::Dnssec | Assurance::Redirected) => Dane::NoRecords,
        // The operator says where it is, and nobody asked DNS.
        (Tlsa::None, Assurance::Configured | Assurance::Proven) => Dane::NotLooked,
    };
    let mut attestation = Attestation {
        domain,
        dane,
        posh: Posh::NotLooked,
        hosts,
    };
    //= DNS-24
    if is_posh_wanted(shared, purpose, &policy, &attestation, shown) {
        let patience = patience(shared, &attestation.domain, &policy);
        attestation.posh = posh(shared, &attestation.domain, shown, Errand::Own, patience).await;
    }
    attestation
}

/// Whether the web server could still help a server that we dialled.
fn is_posh_wanted(
    shared: &Shared,
    purpose: &Purpose,
    policy: &PeerPolicy,
    attestation: &Attestation,
    shown: &Shown,
) -> bool {
    let before = shared.memory.learned.proven(&attestation.domain, now());
    let needed = match purpose {
        Purpose::Carry { .. } => true,
        // Whoever is asked about a key need prove no more than before.
        Purpose::Verify { .. } => before.is_some(),
    };
    let differs = matches!(attestation.dane, Dane::Differs(_));
    if !needed || differs || shown.chain.is_empty() || !policy.accepts(IdentityMethod::Posh) {
        return false;
    }
    let mut certificate = shown.certificate.clone();
    certificate.attestations.push(attestation.clone());
    trust::certified(&certificate, &attestation.domain, policy, before, now()).is_err()
}

/// What DNSSEC proves about the certificates of a domain's servers, whichever of them connected.
async fn published(
    shared: &Shared,
    domain: &Domain,
    policy: &PeerPolicy,
    shown: &Shown,
    patience: Duration,
) -> (Dane, Vec<Domain>) {
    if !shared.resolver().validates() {
        return (Dane::NotLooked, Vec::new());
    }
    //= DNS-19
    let unknown = |why: &str| Dane::Differs(format!("could not be compared: {why}"));
    let look_up = || {
        let (resolver, domain) = (shared.resolver(), domain.clone());
        async move { resolver.certificates_of(&domain).await }
    };
    let within = seconds(shared.limits().attestation_seconds);
    let asked = shared.look_ups.get(domain, within, look_up);
    let (dane, hosts) = match timeout(patience, asked).await {
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

/// What the domain's web server says.
async fn posh(
    shared: &Arc<Shared>,
    domain: &Domain,
    shown: &Shown,
    errand: Errand,
    patience: Duration,
) -> Posh {
    let Some(leaf) = shown.chain.first() else {
        return Posh::NotLooked;
    };
    let asked = shared.posh.fingerprints(shared, domain, errand);
    match timeout(patience, asked).await {
        Ok(Ok(named)) => match named.holds_until(leaf) {
            Some(until) => Posh::Matches { until },
            None => Posh::Differs,
        },
        Ok(Err(failure)) => Posh::Failed(failure.to_string()),
        Err(_) => Posh::Failed(format!("the web server of {domain} did not answer in time")),
    }
}

/// How long an answer is waited for. Where dialback will do as well nobody is kept waiting for long: what comes later is
/// remembered for the next connection.
fn patience(shared: &Shared, domain: &Domain, policy: &PeerPolicy) -> Duration {
    let whole = seconds(shared.limits().attestation_seconds);
    let before = shared.memory.learned.proven(domain, now());
    match policy.accepts(IdentityMethod::Dialback) && before.is_none() {
        true => whole.min(NOT_NEEDED),
        false => whole,
    }
}

/// For what would be nice to know.
const NOT_NEEDED: Duration = Duration::from_secs(1);
