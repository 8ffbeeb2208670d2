//! What was found at web servers, and what is being asked for: one request for each domain, however many want to know.
//!
//! Peers that have proven nothing cause these requests. A flood of them must cost us little, and whoever is asked less.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use verona_proto::addr::{Domain, Shares};
use verona_proto::federation::Errand;

use super::{Cause, Fingerprints, PoshFailure};
use crate::shared::{lock, now};

/// What came of asking.
pub(super) type Outcome = Result<Fingerprints, PoshFailure>;

/// What is known of domains. What is under way ends when it is dropped.
pub(super) struct Memory {
    entries: Arc<Mutex<Entries>>,
    under_way: Mutex<JoinSet<()>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            entries: Arc::default(),
            under_way: Mutex::default(),
        }
    }

    /// What is known of `domain`, or what comes of `fetch`, or of the fetch that is under way for it. A fetch goes on
    /// although nobody waits for it any more, and has to have a deadline.
    pub(super) async fn get<F>(
        &self,
        domain: &Domain,
        errand: Errand,
        fetch: impl FnOnce() -> F,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut news = match lock(&self.entries).look(domain, errand, now()) {
            Look::Known(outcome) => return outcome,
            Look::UnderWay(news) => news,
            Look::Ask(tell, news) => {
                self.spawn(domain.clone(), tell, fetch());
                news
            }
        };
        match news.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(given_up(domain))),
            Err(_) => Err(given_up(domain)),
        }
    }

    /// Forgets what is known. Fetches that are under way tell those who wait for them, and nobody else.
    pub(super) fn forget(&self) {
        *lock(&self.entries) = Entries::default();
    }

    fn spawn<F>(&self, domain: Domain, tell: watch::Sender<Option<Outcome>>, fetch: F)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let entries = Arc::clone(&self.entries);
        let mut under_way = lock(&self.under_way);
        while under_way.try_join_next().is_some() {}
        under_way.spawn(async move {
            let outcome = fetch.await;
            lock(&entries).settle(domain, &tell.subscribe(), &outcome);
            tell.send_replace(Some(outcome));
        });
    }
}

/// Tells those who wait what came of a fetch.
type News = watch::Receiver<Option<Outcome>>;

/// What there is about a domain.
enum Look {
    Known(Outcome),
    UnderWay(News),
    /// Nothing, and there is room for asking.
    Ask(watch::Sender<Option<Outcome>>, News),
}

#[derive(Default)]
struct Entries {
    by_domain: BTreeMap<Domain, Entry>,
    /// Grows with each look, so that entries have an order by use.
    looks: u64,
}

enum Entry {
    UnderWay(News),
    Known(Known),
}

struct Known {
    outcome: Outcome,
    /// Before when nobody is asked again.
    again: Instant,
    /// At which look it was of use last.
    used: u64,
}

impl Entries {
    fn look(&mut self, domain: &Domain, errand: Errand, now: Instant) -> Look {
        self.looks += 1;
        match self.by_domain.get_mut(domain) {
            Some(Entry::UnderWay(news)) if is_alive(news) => return Look::UnderWay(news.clone()),
            Some(Entry::Known(known)) if known.again > now => {
                known.used = self.looks;
                return Look::Known(known.outcome.clone());
            }
            Some(Entry::UnderWay(_) | Entry::Known(_)) | None => {}
        }
        let (all, shares) = self.under_way();
        let most = match errand {
            Errand::Own => UNDER_WAY_MAX,
            Errand::Stranger => UNDER_WAY_FOR_STRANGERS_MAX,
        };
        // One site has no more than all leave free.
        let is_free = shares.of_site(domain) < most.saturating_sub(all);
        if !is_free || !shares.has_room(domain, UNDER_WAY_PER_SITE_MAX) {
            return Look::Known(Err(PoshFailure::ours(format!(
                "{domain} is not asked for its POSH document: too many web servers are being asked already"
            ))));
        }
        let (tell, news) = watch::channel(None);
        self.by_domain
            .insert(domain.clone(), Entry::UnderWay(news.clone()));
        self.make_room(now);
        Look::Ask(tell, news)
    }

    /// A fetch is over. What everybody forgot about meanwhile stays forgotten.
    fn settle(&mut self, domain: Domain, news: &News, outcome: &Outcome) {
        match self.by_domain.get(&domain) {
            Some(Entry::UnderWay(other)) if other.same_channel(news) => {}
            Some(Entry::UnderWay(_) | Entry::Known(_)) | None => return,
        }
        let again = match outcome {
            //= DNS-22
            // A document holds for a second at least, so nobody is asked more often than that.
            Ok(found) => found.until,
            Err(failure) => match failure.cause {
                Cause::Definite => now() + DEFINITE,
                Cause::Passing => now() + PASSING,
                Cause::Ours => {
                    self.by_domain.remove(&domain);
                    return;
                }
            },
        };
        let known = Known {
            outcome: outcome.clone(),
            again,
            used: self.looks,
        };
        self.by_domain.insert(domain, Entry::Known(known));
    }

    /// How many fetches are under way, and where.
    fn under_way(&self) -> (usize, Shares) {
        let running = self.by_domain.iter().filter(|(_, entry)| match entry {
            Entry::UnderWay(news) => is_alive(news),
            Entry::Known(_) => false,
        });
        let (mut all, mut shares) = (0, Shares::default());
        for (domain, _) in running {
            all += 1;
            shares.take(domain);
        }
        (all, shares)
    }

    /// Forgets what is of least use, when there is too much: first what is over, then failures, then what nobody has
    /// looked at for longest.
    fn make_room(&mut self, now: Instant) {
        while self.by_domain.len() > ENTRIES_MAX {
            let least = self
                .by_domain
                .iter()
                .filter_map(|(domain, entry)| match entry {
                    Entry::UnderWay(news) if is_alive(news) => None,
                    Entry::UnderWay(_) => Some(((false, false, 0), domain)),
                    Entry::Known(known) => {
                        let key = (known.again > now, known.outcome.is_ok(), known.used);
                        Some((key, domain))
                    }
                })
                .min_by_key(|(key, _)| *key)
                .map(|(_, domain)| domain.clone());
            let Some(least) = least else { return };
            self.by_domain.remove(&least);
        }
    }
}

/// Whether somebody will still tell: a fetch that panicked does not.
fn is_alive(news: &News) -> bool {
    news.has_changed().is_ok()
}

fn given_up(domain: &Domain) -> PoshFailure {
    PoshFailure::ours(format!(
        "asking {domain} for its POSH document was given up"
    ))
}

/// Domains of which something is known: a few kilobytes each at worst.
const ENTRIES_MAX: usize = 2048;
/// Fetches under way, all domains together: what a flood can occupy, for `attestation_seconds` each.
const UNDER_WAY_MAX: usize = 64;
/// As many as that stops only what strangers want: they do not use up what we need ourselves.
const UNDER_WAY_FOR_STRANGERS_MAX: usize = 48;
/// Fetches under way for domains that end in the same two labels; below a longer ending no more than those leave free.
const UNDER_WAY_PER_SITE_MAX: usize = 8;
/// There is no document, or it is wrong: its owner who mends it waits no longer than this.
const DEFINITE: Duration = Duration::from_secs(10 * 60);
/// It could not be had for a reason that may pass.
const PASSING: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
