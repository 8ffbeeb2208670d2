//! The documents of `verona queue`, `verona reload`, `verona drain` and `verona close`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{VERSION, timestamp};

/// `verona queue --json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queues {
    pub(crate) version: u32,
    pub(crate) queue: Vec<Queue>,
}

/// The queue of a pair.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queue {
    pub(crate) local: String,
    pub(crate) remote: String,
    /// How many wait to be written.
    pub(crate) stanzas: u64,
    /// Of all that is in the queue, written and not yet known to have arrived included.
    pub(crate) bytes: u64,
    /// How long the oldest of those that wait has waited.
    pub(crate) oldest_seconds: Option<f64>,
    /// `carried`, `seeking`, `requested`, `expected`, `resting`, `suspended` or `new`.
    pub(crate) route: String,
    /// The link that writes it, or on which it was asked for.
    pub(crate) link: Option<u64>,
    /// Before when no attempt begins.
    pub(crate) next_attempt: Option<String>,
}

/// `verona reload`: what changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    pub(crate) version: u32,
    /// A sentence.
    pub(crate) changed: String,
    /// Warnings of the configuration, as `check-config` has them.
    pub(crate) warnings: Vec<String>,
    /// Keys that changed and count only after a restart.
    pub(crate) restart: Vec<String>,
}

/// `verona drain`: what became of stanzas since the start.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Drained {
    pub(crate) version: u32,
    pub(crate) delivered: u64,
    pub(crate) bounced: u64,
    pub(crate) dropped: u64,
}

/// `verona close`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) version: u32,
    /// How many links.
    pub(crate) closed: u64,
}

impl Queues {
    pub(crate) fn new(queues: Vec<verona::Queue>) -> Self {
        Self {
            version: VERSION,
            queue: queues.into_iter().map(Queue::new).collect(),
        }
    }
}

impl Queue {
    fn new(queue: verona::Queue) -> Self {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            local: queue.local.to_string(),
            remote: queue.remote.to_string(),
            stanzas: number(queue.stanzas),
            bytes: number(queue.bytes),
            oldest_seconds: queue.oldest.map(|age| age.as_secs_f64()),
            route: queue.route.state.to_owned(),
            link: queue.route.link,
            next_attempt: queue
                .route
                .retry_in
                .map(|wait| timestamp(SystemTime::now() + wait)),
        }
    }
}
