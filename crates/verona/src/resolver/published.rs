//! What DNS says of the certificates of a domain as a whole: for a peer that dials us and says that it is that domain
//! (DNS-19).
//!
//! Such a peer comes from any address, so any of the domain's servers may be it.

use std::collections::BTreeSet;

use tokio::time::Instant;
use verona_proto::addr::Domain;
use verona_proto::dane::TlsaRecord;
use verona_proto::discovery::{DiscoveryError, DiscoveryErrorKind};
use verona_proto::grounds::Assurance;

use super::Resolver;

/// What a domain's owner publishes, as far as DNSSEC proves it; nothing at all without that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishedCertificates {
    /// The TLSA records of all its servers, each once.
    pub(crate) tlsa: Vec<TlsaRecord>,
    /// The servers that it names by SRV records: a certificate for one of them is as good as one for the domain
    /// (DNS-16).
    pub(crate) hosts: Vec<String>,
    /// Why some of it could not be looked up. Nothing may then be concluded from a record that is not there.
    pub(crate) doubt: Option<String>,
}

impl PublishedCertificates {
    fn nothing() -> Self {
        Self {
            tlsa: Vec::new(),
            hosts: Vec::new(),
            doubt: None,
        }
    }
}

impl Resolver {
    /// Looks up what `domain` publishes of its servers' certificates, for both kinds of TLS, within the resolver's
    /// timeout. Without validation that is nothing, and DNS is not asked.
    ///
    /// # Errors
    /// [`DiscoveryError`]: `NotFound` if DNS proves that the domain has no server, `Temporary` if its SRV records are
    /// not to be had, or are forged.
    pub(crate) async fn certificates_of(
        &self,
        domain: &Domain,
    ) -> Result<PublishedCertificates, DiscoveryError> {
        if !self.client.validates() || domain.is_address() {
            return Ok(PublishedCertificates::nothing());
        }
        let deadline = Instant::now() + self.timeout;
        let mut records = self.servers(domain, true, deadline).await?;
        //= DNS-13
        records.retain(|record| record.assurance == Assurance::Dnssec);
        let found = self.hosts(&records, deadline).await;
        let mut tlsa = BTreeSet::new();
        let mut hosts = BTreeSet::new();
        let mut doubt = None;
        for record in &records {
            //= DNS-16
            if record.target != domain.ascii() {
                hosts.insert(record.target.clone());
            }
            match found.get(&record.target) {
                //= DNS-19
                Some(Ok(host)) => match host.tlsa(record.port) {
                    Ok(found) => tlsa.extend(found.records().iter().cloned()),
                    Err(why) => doubt = doubt.or(Some(why)),
                },
                Some(Err(error)) => match error.kind {
                    DiscoveryErrorKind::NotFound => {}
                    DiscoveryErrorKind::Temporary => {
                        doubt = doubt.or_else(|| Some(error.text.clone()));
                    }
                },
                None => doubt = doubt.or_else(|| Some(self.too_late().text)),
            }
        }
        Ok(PublishedCertificates {
            tlsa: tlsa.into_iter().collect(),
            hosts: hosts.into_iter().collect(),
            doubt,
        })
    }
}
