//! What waits for other servers, pair by pair, and on what it waits (contract §4, `verona queue`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use verona_proto::addr::{Domain, DomainPair};
use verona_proto::federation::{Federation, Route};

use crate::engine::Handle;
use crate::federation::Question;
use crate::shared::now;

/// The queue of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Our domain.
    pub local: Domain,
    /// The other one.
    pub remote: Domain,
    /// How many stanzas wait to be written.
    pub stanzas: usize,
    /// The bytes of all that is in the queue, those that are written and may not have arrived included.
    pub bytes: usize,
    /// How long the oldest stanza that waits to be written has waited.
    pub oldest: Option<Duration>,
    /// How the pair is served.
    pub route: Waits,
}

/// How a pair is served, and what its queue waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// `carried`: a link writes it. `seeking`: a server is looked for. `requested`: asked for on a live link.
    /// `expected`: the peer is just opening a link. `resting`: unreachable a moment ago. `suspended`: its link was lost, and is to be taken up again. `new`: just begun.
    pub state: &'static str,
    /// The link that writes it, or on which it was asked for.
    pub link: Option<u64>,
    /// How long until the next attempt, for one that rests.
    pub retry_in: Option<Duration>,
}

impl Handle {
    /// What waits for other servers, by pair: all pairs that have something, and those that are served.
    pub async fn queues(&self) -> Vec<Queue> {
        let (answer, routes) = oneshot::channel();
        let asked = self.shared.questions.send(Question::Routes(answer));
        let mut routes = match tokio::time::timeout(PATIENCE, async {
            asked.await.ok()?;
            routes.await.ok()
        })
        .await
        {
            Ok(Some(routes)) => routes,
            // It has ended, or has more to do: then only the queues themselves are known.
            Ok(None) | Err(_) => BTreeMap::new(),
        };
        let now = now();
        self.shared
            .switchboard
            .pairs()
            .into_iter()
            .filter(|(_, feeder)| !feeder.is_closed())
            .map(|(pair, feeder)| Queue {
                local: pair.local().domain().clone(),
                remote: pair.remote().domain().clone(),
                stanzas: feeder.queued(),
                bytes: feeder.bytes(),
                oldest: feeder
                    .oldest()
                    .map(|since| now.saturating_duration_since(since)),
                route: routes.remove(&pair).unwrap_or(NEW),
            })
            .collect()
    }
}

/// The routes of all pairs, for people.
pub(crate) fn routes(federation: &Federation, now: Instant) -> BTreeMap<DomainPair, Waits> {
    federation
        .routes()
        .map(|(pair, route)| (pair.clone(), waits(route, now)))
        .collect()
}

fn waits(route: &Route, now: Instant) -> Waits {
    let (link, retry_in) = match route {
        Route::Carried { stream }
        | Route::Requested { stream, .. }
        | Route::Expected { stream, .. } => (Some(stream.0), None),
        Route::Resting { until, .. } => (None, Some(until.saturating_duration_since(now))),
        Route::Seeking { .. } | Route::Suspended => (None, None),
    };
    Waits {
        state: route.name(),
        link,
        retry_in,
    }
}

/// The federation has not heard of it yet.
const NEW: Waits = Waits {
    state: "new",
    link: None,
    retry_in: None,
};
/// The federation answers at once; it may have ended.
const PATIENCE: Duration = Duration::from_secs(2);
