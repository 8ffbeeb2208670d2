//! Stanzas that found their outbox full: verona/src/held.rs without its clock.

use std::collections::VecDeque;
use std::time::Duration;

use verona_proto::addr::Direction;
use verona_proto::outbox::Feeder;
use verona_proto::stanza::{Admitted, Destination, Stanza};

use super::clock::Moment;
use super::outside::Outside;
use super::shared::{Full, Shared};

/// What waits for room, in the order in which it was read.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: VecDeque<Admitted>,
    since: Option<Moment>,
    next: Option<Moment>,
    slow: Vec<(Feeder, usize)>,
    /// What had been counted before the read of which something waits.
    unhandled_read: Option<u32>,
}

impl Held {
    /// Routes a stanza, or keeps it behind those that wait.
    pub(crate) fn deliver(
        &mut self,
        shared: &mut Shared,
        admitted: Admitted,
        outside: &mut Outside,
    ) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(admitted);
            return;
        }
        if let Some(full) = shared.route(admitted, outside) {
            match self.is_worth_waiting(&full, outside) {
                true => {
                    outside
                        .coverage
                        .count("reached", "a reader that waits for room");
                    self.since = Some(outside.now);
                    self.next = Some(outside.now + RETRY);
                    self.waiting.push_front(full.admitted);
                }
                false => shared.overflow(full.admitted.stanza(), outside),
            }
        }
    }

    /// Tries again what waits.
    pub(crate) fn retry(&mut self, shared: &mut Shared, outside: &mut Outside) {
        self.next = Some(outside.now + RETRY);
        while let Some(admitted) = self.waiting.pop_front() {
            let Some(full) = shared.route(admitted, outside) else {
                self.since = Some(outside.now);
                continue;
            };
            let waited = self.since.map_or(0, |since| outside.now - since);
            if waited < PATIENCE && self.is_worth_waiting(&full, outside) {
                self.waiting.push_front(full.admitted);
                return;
            }
            self.mark_slow(&full.feeder);
            shared.overflow(full.admitted.stanza(), outside);
        }
        self.since = None;
        self.next = None;
    }

    /// The reader ends: what did not find room is answered, for nobody else knows of it.
    pub(crate) fn give_up(&mut self, shared: &mut Shared, outside: &mut Outside) {
        while let Some(admitted) = self.waiting.pop_front() {
            if let Some(full) = shared.route(admitted, outside) {
                shared.overflow(full.admitted.stanza(), outside);
            }
        }
    }

    /// When to try again, while something waits.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.next.filter(|_| !self.waiting.is_empty())
    }

    /// Something was read when `counted` stanzas had been counted before: if something of it waits, it is not to be
    /// acknowledged. Nothing more is read while something waits, so there is one such read at most.
    pub(crate) fn has_read(&mut self, counted: u32) {
        if !self.is_empty() {
            self.unhandled_read.get_or_insert(counted);
        }
    }

    /// How many of `counted` stanzas are not to be acknowledged.
    pub(crate) fn unhandled(&mut self, counted: u32) -> u32 {
        if self.is_empty() {
            self.unhandled_read = None;
        }
        self.unhandled_read
            .map_or(0, |read| counted.wrapping_sub(read))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits.
    pub(crate) fn stanzas(&self) -> impl Iterator<Item = &Stanza> {
        self.waiting.iter().map(Admitted::stanza)
    }

    fn is_worth_waiting(&mut self, full: &Full, outside: &Outside) -> bool {
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
            Direction::Inbound => true,
            Direction::Outbound => full
                .feeder
                .drained_within(outside.instant(), Duration::from_micros(PATIENCE)),
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
const PATIENCE: Moment = 200_000;
/// How often it looks.
const RETRY: Moment = 5_000;
