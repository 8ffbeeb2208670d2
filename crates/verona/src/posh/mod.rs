//! POSH: a domain's web server says which certificates its XMPP servers show (RFC 7711, RFC 7712 §5).
//!
//! It proves domains whose hosting service has no certificate for them. Anybody who dials us can make us ask, so asking
//! is bounded everywhere: whom ([`Guard`](crate::dialer::guard::Guard)), how long, how much, how often
//! ([`memory`]).

mod document;
mod fetch;
mod memory;
mod url;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use verona_proto::addr::Domain;
use verona_proto::federation::Errand;
use verona_proto::limits::{Limit, LimitCounts, seconds};

use crate::shared::Shared;
use crate::tls::valid_until;
use document::{Document, Fingerprint};
use fetch::{Budget, Way};
use memory::Memory;
use url::Url;

/// Finds out which certificates domains name on their web servers, and remembers it for a while.
pub(crate) struct Posh {
    memory: Memory,
}

impl Posh {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::new(),
        }
    }

    /// Forgets everything: the authorities by which web servers were believed are others from now on.
    pub(crate) fn forget(&self) {
        self.memory.forget();
    }

    /// The certificates that `domain` names: remembered, or fetched within `attestation_seconds`, once
    /// however many ask.
    ///
    /// Giving up the wait does not end the fetch: whoever comes and goes must not cause one each time.
    ///
    /// # Errors
    /// [`PoshFailure`] says why nothing is known. It disproves nobody: other proofs may still hold (DNS-23).
    pub(crate) async fn fingerprints(
        &self,
        shared: &Arc<Shared>,
        domain: &Domain,
        errand: Errand,
    ) -> Result<Fingerprints, PoshFailure> {
        let fetch = || {
            let (shared, domain) = (Arc::clone(shared), domain.clone());
            async move {
                let tls = shared.tls();
                let (config, resolver) = (shared.config(), shared.resolver());
                let way = Way {
                    domain: &domain,
                    errand,
                    resolver: &resolver,
                    guard: &shared.guard,
                    wire: &shared.wire,
                    sources: &config.s2s.bind,
                    tls: &tls,
                };
                let port = config.s2s.https_port.unwrap_or(url::HTTPS);
                let within = seconds(shared.limits().attestation_seconds);
                look_up(way, port, within, &shared.memory.reached).await
            }
        };
        self.memory.get(domain, errand, fetch).await
    }
}

impl fmt::Debug for Posh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posh").finish_non_exhaustive()
    }
}

/// Asks the domain's web server, and where that refers to, once.
async fn look_up(
    way: Way<'_>,
    port: u16,
    within: Duration,
    reached: &LimitCounts,
) -> Result<Fingerprints, PoshFailure> {
    let domain = way.domain;
    let (list, until) = tokio::time::timeout(within, ask(way, port))
        .await
        .map_err(|_| {
            reached.reached(Limit::AttestationSeconds);
            let waited = within.as_secs();
            PoshFailure::passing(format!(
                "the web server of {domain} did not come up with its POSH document within {waited} s"
            ))
        })??;
    Ok(Fingerprints {
        list: list.into(),
        until,
    })
}

/// What the documents say, and until when.
async fn ask(way: Way<'_>, port: u16) -> Result<(Vec<Fingerprint>, Instant), PoshFailure> {
    //= DNS-20
    let first = Url::well_known(way.domain, port).map_err(PoshFailure::definite)?;
    let mut budget = Budget {
        redirects: REDIRECTS_MAX,
        connections: CONNECTIONS_MAX,
    };
    let (url, document) = way.document(first, &mut budget).await?;
    //= DNS-22
    // Each holds from when it is there: one that does for a second is of use, however slow its server is.
    let until = |expires: Duration| crate::shared::now() + expires.min(KEPT_MAX);
    match document {
        Document::Fingerprints(list, expires) => Ok((list, until(expires))),
        Document::Reference(place, delegated) => {
            let delegated = until(delegated);
            let next = url
                .follow(&place)
                .map_err(|why| PoshFailure::definite(format!("the reference at {url} {why}")))?;
            match way.document(next, &mut budget).await? {
                //= DNS-22
                (_, Document::Fingerprints(list, expires)) => {
                    Ok((list, until(expires).min(delegated)))
                }
                (next, Document::Reference(..)) => Err(PoshFailure::definite(format!(
                    "{url} refers to {next}, which is a reference itself; it must have the fingerprints"
                ))),
            }
        }
    }
}

/// The certificates that a domain names, and until when (RFC 7711 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprints {
    list: Arc<[Fingerprint]>,
    /// When they are stale.
    until: Instant,
}

impl Fingerprints {
    /// Until when they prove a peer by its own certificate in DER, if they do: until they are stale, or until it expires.
    /// One that has expired proves nobody, whoever lists it (RFC 7711 §6).
    pub(crate) fn holds_until(&self, leaf_der: &[u8]) -> Option<Instant> {
        //= DNS-23
        if !self.list.iter().any(|one| one.matches(leaf_der)) {
            return None;
        }
        let expires = valid_until(leaf_der, SystemTime::now(), crate::shared::now())?;
        Some(expires.min(self.until))
    }
}

/// Why it is not known which certificates a domain names: a sentence for its operator or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoshFailure {
    text: Arc<str>,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// There is no document, or it is wrong: somebody has to do something.
    Definite,
    /// It may be otherwise in a moment.
    Passing,
    /// We are busy.
    Ours,
}

impl PoshFailure {
    fn definite(text: impl AsRef<str>) -> Self {
        Self::new(text.as_ref(), Cause::Definite)
    }

    fn passing(text: impl AsRef<str>) -> Self {
        Self::new(text.as_ref(), Cause::Passing)
    }

    fn ours(text: impl AsRef<str>) -> Self {
        Self::new(text.as_ref(), Cause::Ours)
    }

    /// One line, and not a long one: strangers have a say in it.
    fn new(text: &str, cause: Cause) -> Self {
        let line: String = text
            .chars()
            .take(TEXT_CHARS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self {
            text: line.into(),
            cause,
        }
    }

    /// Whether it says something of us and nothing of the domain: nothing is learned from it.
    #[cfg(test)]
    pub(crate) fn is_ours(&self) -> bool {
        self.cause == Cause::Ours
    }
}

impl fmt::Display for PoshFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for PoshFailure {}

/// Redirects of one look-up, those behind a reference included. RFC 7711 §10 bears ten; each is another connection that
/// a stranger makes us open.
const REDIRECTS_MAX: usize = 3;
/// Connections of one look-up, those in vain included: five documents have one each, the rest is for dead addresses.
const CONNECTIONS_MAX: usize = 8;
/// What is found is asked for again after a day at the latest, whatever the document says: who lost his web server to
/// somebody else for an hour is not impersonated for a year (RFC 7711 §6).
const KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Of one failure's text.
const TEXT_CHARS_MAX: usize = 400;
