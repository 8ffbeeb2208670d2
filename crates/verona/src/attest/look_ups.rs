//! What DNS says of the certificates of peers that connect: one look-up for each domain, however many ask, and few at
//! once.
//!
//! Strangers cause these look-ups, and one may cost some fifty questions. So no neighbourhood has all places ([`Shares`]);
//! and a look-up goes on although nobody waits for it any more: whoever comes and goes must not cause one each time, and
//! what DNS said too late is remembered by the resolver for the next time.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use verona_proto::addr::{Domain, Shares};
use verona_proto::discovery::DiscoveryError;
use verona_proto::limits::{Limit, LimitCounts};

use crate::resolver::PublishedCertificates;
use crate::shared::lock;

/// What came of a look-up.
pub(super) type Found = Result<PublishedCertificates, DiscoveryError>;

/// The look-ups that are under way.
pub(crate) struct LookUps {
    places: Arc<Places>,
    /// Ends them when it is dropped.
    under_way: Mutex<JoinSet<()>>,
    reached: LimitCounts,
}

#[derive(Default)]
struct Places {
    taken: Mutex<Taken>,
    /// One was given back.
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    by_domain: BTreeMap<Domain, News>,
    shares: Shares,
}

/// Tells those who wait what came of a look-up.
type News = watch::Receiver<Option<Found>>;

/// What there is about a domain.
enum Look {
    UnderWay(News),
    Begin(watch::Sender<Option<Found>>, News),
    NoPlace,
}

impl LookUps {
    pub(crate) fn new(reached: LimitCounts) -> Self {
        Self {
            reached,
            places: Arc::default(),
            under_way: Mutex::default(),
        }
    }

    /// What comes of `look_up`, or of the one that is under way for `domain`, when there is a place for it. Once begun it
    /// has so much time, whatever becomes of whoever asked.
    pub(super) async fn get<F>(
        &self,
        domain: &Domain,
        within: Duration,
        look_up: impl FnOnce() -> F,
    ) -> Found
    where
        F: Future<Output = Found> + Send + 'static,
    {
        let mut news = loop {
            let mut freed = pin!(self.places.freed.notified());
            freed.as_mut().enable();
            match lock(&self.places.taken).look(domain) {
                Look::UnderWay(news) => break news,
                Look::Begin(tell, news) => {
                    self.spawn(domain.clone(), within, tell, look_up());
                    break news;
                }
                Look::NoPlace => {}
            }
            freed.await;
        };
        match news.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or_else(|| Err(given_up())),
            Err(_) => Err(given_up()),
        }
    }

    fn spawn<F>(
        &self,
        domain: Domain,
        within: Duration,
        tell: watch::Sender<Option<Found>>,
        look_up: F,
    ) where
        F: Future<Output = Found> + Send + 'static,
    {
        let place = Place {
            places: Arc::clone(&self.places),
            domain,
        };
        let mut under_way = lock(&self.under_way);
        while under_way.try_join_next().is_some() {}
        let reached = self.reached.clone();
        under_way.spawn(async move {
            let found = timeout(within, look_up).await;
            tell.send_replace(Some(found.unwrap_or_else(|_| {
                reached.reached(Limit::AttestationSeconds);
                Err(too_late())
            })));
            drop(place);
        });
    }
}

impl std::fmt::Debug for LookUps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookUps").finish_non_exhaustive()
    }
}

/// One that is taken, and given back however its look-up ends.
struct Place {
    places: Arc<Places>,
    domain: Domain,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.by_domain.remove(&self.domain);
        taken.shares.give_back(&self.domain);
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

impl Taken {
    fn look(&mut self, domain: &Domain) -> Look {
        if let Some(news) = self.by_domain.get(domain) {
            return Look::UnderWay(news.clone());
        }
        // One site has no more than all leave free.
        let free = LOOK_UPS_MAX.saturating_sub(self.by_domain.len());
        let is_free = self.shares.of_site(domain) < free;
        if !is_free || !self.shares.has_room(domain, LOOK_UPS_PER_SITE_MAX) {
            return Look::NoPlace;
        }
        let (tell, news) = watch::channel(None);
        self.shares.take(domain);
        self.by_domain.insert(domain.clone(), news.clone());
        Look::Begin(tell, news)
    }
}

fn too_late() -> DiscoveryError {
    DiscoveryError::temporary("DNS did not answer in time")
}

fn given_up() -> DiscoveryError {
    DiscoveryError::temporary("the look-up was given up")
}

/// At the same time. The others wait for a place, as long as they would for DNS.
const LOOK_UPS_MAX: usize = 64;
/// For domains that end in the same two labels; below a longer ending no more than those leave free.
const LOOK_UPS_PER_SITE_MAX: usize = 16;

#[cfg(test)]
mod tests;
