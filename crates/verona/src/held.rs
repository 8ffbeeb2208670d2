//! Stanzas that found their outbox full: whoever read them stops reading for a moment, and only then are they refused.
//!
//! So a burst is slowed down by TCP instead of being answered with errors, and a recipient that does not keep up
//! slows nobody for longer than that moment.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};
use verona_proto::addr::Direction;
use verona_proto::outbox::Feeder;
use verona_proto::stanza::{Admitted, Destination};

use crate::shared::{Full, Shared};

/// What waits for room, in the order in which it was read.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: VecDeque<Admitted>,
    since: Option<Instant>,
    /// When to look for room again; kept, so that other work cannot put it off.
    next: Option<Instant>,
    /// Outboxes that did not get room in time, and how full they were: not waited for again until they are half empty.
    slow: Vec<(Feeder, usize)>,
    /// The number that the journal gave to the last message that was read here.
    kept: u64,
}

impl Held {
    /// Routes a stanza, or keeps it behind those that wait.
    pub(crate) async fn deliver(&mut self, shared: &Shared, admitted: Admitted) {
        let Some(admitted) = shared.keep(admitted).await else {
            return;
        };
        if let Some(custody) = admitted.stanza().custody() {
            self.kept = self.kept.max(custody.number());
        }
        if !self.waiting.is_empty() {
            self.waiting.push_back(admitted);
            return;
        }
        if let Some(full) = shared.route(admitted).await {
            match self.is_worth_waiting(&full) {
                true => {
                    let now = Instant::now();
                    self.since = Some(now);
                    self.next = Some(now + RETRY);
                    self.waiting.push_front(full.admitted);
                }
                false => shared.overflow(full.admitted.stanza()).await,
            }
        }
    }

    /// Tries again what waits.
    pub(crate) async fn retry(&mut self, shared: &Shared) {
        self.next = Some(Instant::now() + RETRY);
        while let Some(admitted) = self.waiting.pop_front() {
            let Some(full) = shared.route(admitted).await else {
                self.since = Some(Instant::now());
                continue;
            };
            let waited = self.since.map_or(Duration::ZERO, |since| since.elapsed());
            if waited < PATIENCE && self.is_worth_waiting(&full) {
                self.waiting.push_front(full.admitted);
                return;
            }
            self.mark_slow(&full.feeder);
            shared.overflow(full.admitted.stanza()).await;
        }
        self.since = None;
        self.next = None;
    }

    /// The reader ends: what did not find room is answered, for nobody else knows of it.
    pub(crate) async fn give_up(&mut self, shared: &Shared) {
        while let Some(admitted) = self.waiting.pop_front() {
            if let Some(full) = shared.route(admitted).await {
                shared.overflow(full.admitted.stanza()).await;
            }
        }
    }

    /// When to try again; only asked while something waits.
    pub(crate) fn next(&self) -> Instant {
        self.next.unwrap_or_else(Instant::now)
    }

    /// How many stanzas wait.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Once the journal is safe up to this number, so is everything that was read here.
    pub(crate) fn kept(&self) -> u64 {
        self.kept
    }

    /// Whether nothing waits, so that more may be read.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn is_worth_waiting(&mut self, full: &Full) -> bool {
        self.slow
            .retain(|(feeder, was)| !feeder.is_closed() && feeder.queued() > was / 2);
        if self
            .slow
            .iter()
            .any(|(feeder, _)| feeder.is_same(&full.feeder))
        {
            return false;
        }
        match direction(&full.admitted) {
            //= COMP-15
            // A component is near; it gets its moment.
            Direction::Inbound => true,
            // A peer that has not taken anything lately will not in the next moment.
            Direction::Outbound => full.feeder.drained_within(crate::shared::now(), PATIENCE),
        }
    }

    fn mark_slow(&mut self, feeder: &Feeder) {
        if !self.slow.iter().any(|(other, _)| other.is_same(feeder)) {
            self.slow.push((feeder.clone(), feeder.queued()));
        }
    }
}

fn direction(admitted: &Admitted) -> Direction {
    match admitted.destination() {
        Destination::Local(_) => Direction::Inbound,
        Destination::Remote(_) => Direction::Outbound,
    }
}

/// How long a reader waits for room.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often it looks.
const RETRY: Duration = Duration::from_millis(5);
