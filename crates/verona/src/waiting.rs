//! Queues of components that are away for a moment: kept whole and in order for whoever serves the domain next.
//!
//! A bridge that restarts is gone for seconds. What comes for it meanwhile waits, so its return costs nobody an error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use verona_proto::addr::LocalDomain;
use verona_proto::limits::{Limit, seconds};
use verona_proto::outbox::{Drain, Feeder};
use verona_proto::stanza::{Reason, Undelivered};

use crate::component::bounce_all;
use crate::current::Current;
use crate::shared::{Shared, lock};

/// The queues that nobody drains at the moment, by domain. Each is still in the switchboard, and takes stanzas.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queues: Mutex<BTreeMap<LocalDomain, (Departure, Drain)>>,
    departures: AtomicU64,
}

/// Tells one departure from the next: a queue may be left again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Departure(u64);

impl Waiting {
    /// The queue of a domain, for whoever serves it from now on.
    pub(crate) fn take(&self, domain: &LocalDomain) -> Option<(Feeder, Drain)> {
        let (_, drain) = lock(&self.queues).remove(domain)?;
        Some((drain.feeder(), drain))
    }

    fn put(&self, domain: LocalDomain, drain: Drain) -> (Departure, Option<Drain>) {
        let departure = Departure(self.departures.fetch_add(1, Ordering::Relaxed));
        let other = lock(&self.queues).insert(domain, (departure, drain));
        (departure, other.map(|(_, drain)| drain))
    }

    /// Takes the queue if nobody has had it since.
    fn take_left(&self, domain: &LocalDomain, departure: Departure) -> Option<Drain> {
        let mut queues = lock(&self.queues);
        let is_same = queues.get(domain)?.0 == departure;
        is_same
            .then(|| queues.remove(domain))
            .flatten()
            .map(|(_, drain)| drain)
    }
}

/// A component left its queue: it waits for the next one, but not for long (COMP-13).
pub(crate) async fn leave(shared: &Arc<Shared>, domain: LocalDomain, drain: Drain) {
    //= COMP-13
    let patience = seconds(shared.limits().component_reconnect_seconds);
    if let Some(reason) = without_place(&shared.current(), &domain) {
        return answer(shared, &domain, drain, reason).await;
    }
    if *shared.stop.borrow() {
        return answer(shared, &domain, drain, Reason::ShuttingDown).await;
    }
    if patience.is_zero() {
        return answer(shared, &domain, drain, Reason::ComponentAway).await;
    }
    await_component(shared, domain, drain, patience).await;
}

/// Keeps a queue that is in the switchboard for whoever serves its domain next, and answers what is in it after a while.
pub(crate) async fn await_component(
    shared: &Arc<Shared>,
    domain: LocalDomain,
    drain: Drain,
    patience: Duration,
) {
    let (departure, other) = shared.waiting.put(domain.clone(), drain);
    // A domain has one queue in the switchboard, so there is no other; were there one, it must not be lost.
    if let Some(other) = other {
        answer(shared, &domain, other, Reason::ComponentAway).await;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let mut stop = shared.stop.subscribe();
        let reason = tokio::select! {
            () = tokio::time::sleep(patience) => Reason::ComponentAway,
            _ = stop.wait_for(|stops| *stops) => Reason::ShuttingDown,
        };
        if let Some(drain) = shared.waiting.take_left(&domain, departure) {
            if reason == Reason::ComponentAway {
                shared.reached(Limit::ComponentReconnectSeconds);
            }
            answer(&shared, &domain, drain, reason).await;
        }
    });
}

/// The configuration changed: nobody is waited for who may not come any more.
pub(crate) async fn reload(shared: &Shared) {
    let current = shared.current();
    let gone: Vec<(LocalDomain, Drain, Reason)> = {
        let mut queues = lock(&shared.waiting.queues);
        let reasons: Vec<(LocalDomain, Reason)> = queues
            .keys()
            .filter_map(|domain| Some((domain.clone(), without_place(&current, domain)?)))
            .collect();
        reasons
            .into_iter()
            .filter_map(|(domain, reason)| {
                let (_, drain) = queues.remove(&domain)?;
                Some((domain, drain, reason))
            })
            .collect()
    };
    for (domain, drain, reason) in gone {
        answer(shared, &domain, drain, reason).await;
    }
}

/// Why nobody will serve the domain; `None` if somebody may.
fn without_place(current: &Current, domain: &LocalDomain) -> Option<Reason> {
    let is_hosted = current.streams.hosts.local(domain.domain()).is_some();
    (!is_hosted).then_some(Reason::DomainRemoved)
}

/// The server stops: nobody is waited for any more.
pub(crate) async fn give_up(shared: &Shared) {
    let queues = std::mem::take(&mut *lock(&shared.waiting.queues));
    for (domain, (_, drain)) in queues {
        answer(shared, &domain, drain, Reason::ShuttingDown).await;
    }
}

/// The domain has nobody: what comes next is answered by the local services (ROUTE-19), what waited is answered here.
async fn answer(shared: &Shared, domain: &LocalDomain, drain: Drain, reason: Reason) {
    shared.switchboard.detach(domain, &drain.feeder());
    //= ROUTE-19
    let why = Undelivered::new(reason, domain, "");
    bounce_all(shared, drain, &why);
}
