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

use crate::shared::Shared;
use crate::tls::is_valid_at;
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

    /// The certificates that `domain` names: remembered, or fetched within [`LOOK_UP`] however many ask at once.
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
                let way = Way {
                    domain: &domain,
                    errand,
                    resolver: &shared.resolver,
                    guard: &shared.guard,
                    sources: &shared.config.s2s.bind,
                    tls: tls.web(),
                };
                let port = shared.config.s2s.https_port.unwrap_or(url::HTTPS);
                look_up(way, port).await
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
async fn look_up(way: Way<'_>, port: u16) -> Result<Fingerprints, PoshFailure> {
    let began = crate::shared::now();
    let domain = way.domain;
    let (list, expires) = tokio::time::timeout(LOOK_UP, ask(way, port))
        .await
        .map_err(|_| {
            let waited = LOOK_UP.as_secs();
            PoshFailure::passing(format!(
                "the web server of {domain} did not come up with its POSH document within {waited} s"
            ))
        })??;
    //= DNS-22
    Ok(Fingerprints {
        list: list.into(),
        until: began + expires.min(KEPT_MAX),
    })
}

async fn ask(way: Way<'_>, port: u16) -> Result<(Vec<Fingerprint>, Duration), PoshFailure> {
    //= DNS-20
    let first = Url::well_known(way.domain, port).map_err(PoshFailure::definite)?;
    let mut budget = Budget {
        redirects: REDIRECTS_MAX,
        connections: CONNECTIONS_MAX,
    };
    let (url, document) = way.document(first, &mut budget).await?;
    match document {
        Document::Fingerprints(list, expires) => Ok((list, expires)),
        Document::Reference(place, delegated) => {
            let next = url
                .follow(&place)
                .map_err(|why| PoshFailure::definite(format!("the reference at {url} {why}")))?;
            match way.document(next, &mut budget).await? {
                //= DNS-22
                (_, Document::Fingerprints(list, expires)) => Ok((list, expires.min(delegated))),
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
    pub(crate) until: Instant,
}

impl Fingerprints {
    /// Whether the certificate, a peer's own in DER, is among them and is valid at this time of day: an expired one proves
    /// nobody, whoever lists it (RFC 7711 §6).
    pub(crate) fn matches(&self, leaf_der: &[u8]) -> bool {
        //= DNS-23
        self.list.iter().any(|one| one.matches(leaf_der))
            && is_valid_at(leaf_der, SystemTime::now())
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

/// For everything: DNS, connections, redirects and a reference. A peer that dials us waits so long for its features.
const LOOK_UP: Duration = Duration::from_secs(6);
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
