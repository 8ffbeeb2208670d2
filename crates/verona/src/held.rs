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
    /// Reads of which something waits or is not safe yet, in their order.
    unsafe_reads: VecDeque<Read>,
}

/// What one read brought.
#[derive(Debug)]
struct Read {
    /// Stanzas that had been counted before.
    counted: u32,
    /// The number of the last message of it that is kept, or of one before.
    number: u64,
}

impl Held {
    /// Routes a stanza, or keeps it behind those that wait.
    pub(crate) fn deliver(&mut self, shared: &Shared, admitted: Admitted) {
        let Some(admitted) = shared.keep(admitted) else {
            return;
        };
        if let Some(safekeeping) = admitted.stanza().safekeeping() {
            self.kept = self.kept.max(safekeeping.number());
        }
        if !self.waiting.is_empty() {
            self.waiting.push_back(admitted);
            return;
        }
        if let Some(full) = shared.route(admitted) {
            match self.is_worth_waiting(&full) {
                true => {
                    shared.reached(full.limit);
                    let now = Instant::now();
                    self.since = Some(now);
                    self.next = Some(now + RETRY);
                    self.waiting.push_front(full.admitted);
                }
                false => shared.overflow(&full),
            }
        }
    }

    /// Tries again what waits.
    pub(crate) fn retry(&mut self, shared: &Shared) {
        self.next = Some(Instant::now() + RETRY);
        while let Some(admitted) = self.waiting.pop_front() {
            let Some(full) = shared.route(admitted) else {
                self.since = Some(Instant::now());
                continue;
            };
            let waited = self.since.map_or(Duration::ZERO, |since| since.elapsed());
            if waited < PATIENCE && self.is_worth_waiting(&full) {
                self.waiting.push_front(full.admitted);
                return;
            }
            self.mark_slow(&full.feeder);
            shared.overflow(&full);
        }
        self.since = None;
        self.next = None;
    }

    /// The reader ends: what did not find room is answered, for nobody else knows of it.
    pub(crate) fn give_up(&mut self, shared: &Shared) {
        while let Some(admitted) = self.waiting.pop_front() {
            if let Some(full) = shared.route(admitted) {
                shared.overflow(&full);
            }
        }
    }

    /// When to try again; only asked while something waits.
    pub(crate) fn next(&self) -> Instant {
        self.next.unwrap_or_else(Instant::now)
    }

    /// Something was read when `counted` stanzas had been counted before. What waits, or is not safe in the journal yet, is
    /// not to be acknowledged.
    pub(crate) fn has_read(&mut self, counted: u32, safe: u64) {
        if self.is_empty() && self.kept <= safe {
            return;
        }
        let number = self.kept;
        let are_many = self.unsafe_reads.len() >= READS_MAX;
        match self.unsafe_reads.back_mut() {
            // As coarse as that the truth is late, and nothing more; a disk may take nothing for long.
            Some(last) if are_many => last.number = number,
            _ => self.unsafe_reads.push_back(Read { counted, number }),
        }
    }

    /// How many of `counted` stanzas are not to be acknowledged, when the journal is safe up to the number `safe`.
    pub(crate) fn unhandled(&mut self, counted: u32, safe: u64) -> u32 {
        // What waits was read last, for nothing more is read while something does.
        let kept_back = usize::from(!self.is_empty());
        while self.unsafe_reads.len() > kept_back
            && self
                .unsafe_reads
                .front()
                .is_some_and(|read| read.number <= safe)
        {
            self.unsafe_reads.pop_front();
        }
        self.unsafe_reads
            .front()
            .map_or(0, |read| counted.wrapping_sub(read.counted))
    }

    /// Whether the journal, which is safe up to the number `safe`, still owes something to what was read here.
    pub(crate) fn is_exposed(&self, safe: u64) -> bool {
        self.kept > safe
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

/// Reads that are told apart.
const READS_MAX: usize = 256;
/// How long a reader waits for room.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often it looks.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_acknowledged_before_it_is_safe() {
        //= SM-11
        let mut held = Held::default();
        held.has_read(0, 0);
        assert_eq!(held.unhandled(3, 0), 0, "without a journal");
        // Of three stanzas one is kept as number 1; of the next two the last as number 2.
        held.kept = 1;
        held.has_read(3, 0);
        held.kept = 2;
        held.has_read(6, 0);
        assert!(held.is_exposed(1));
        assert_eq!(held.unhandled(8, 0), 5, "three were handled before");
        assert_eq!(held.unhandled(8, 1), 2);
        held.has_read(8, 1);
        assert_eq!(held.unhandled(9, 1), 3, "what comes behind waits too");
        assert_eq!(held.unhandled(9, 2), 0);
        assert!(!held.is_exposed(2));
        held.has_read(9, 2);
        assert_eq!(held.unhandled(12, 2), 0);
    }

    #[test]
    fn a_disk_that_takes_nothing_makes_no_list_without_end() {
        let mut held = Held::default();
        for read in 0..10_000_u32 {
            held.kept = u64::from(read) + 1;
            held.has_read(read, 0);
        }
        assert!(held.unsafe_reads.len() <= READS_MAX);
        assert_eq!(held.unhandled(10_000, 0), 10_000);
        assert!(held.unhandled(10_000, 9_999) > 0, "the last is not safe");
        assert_eq!(held.unhandled(10_000, 10_000), 0);
    }
}
