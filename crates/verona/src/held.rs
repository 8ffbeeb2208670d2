//! Stanzas that found their outbox full: whoever read them stops reading for a moment, and only then are they refused.
//!
//! So a burst is slowed down by TCP instead of being answered with errors, and a recipient that does not keep up
//! slows the connections that bring something for it for no longer than that moment. What a younger connection brings of
//! the same pair meanwhile was sent later: it is not read until the older one has caught up, or for three seconds
//! ([`Turns`](verona_proto::turns::Turns)).

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};
use verona_proto::addr::{Direction, DomainPair};
use verona_proto::outbox::Feeder;
use verona_proto::stanza::{Admitted, Destination};
use verona_proto::turns::{Age, Place};

use crate::shared::{Full, Shared};

/// What waits for room, in the order in which it was read.
#[derive(Debug)]
pub(crate) struct Held {
    waiting: VecDeque<Admitted>,
    /// When this reader began.
    age: Age,
    /// From when it stopped reading until it has caught up.
    stopped: Option<Box<Stopped>>,
    /// What it waited for older readers, if it ever did.
    waited: Option<Box<Waited>>,
    /// Outboxes that did not get room in time, and how full they were: not waited for again until they are half empty.
    slow: Vec<(Feeder, usize)>,
    /// The number that the journal gave to the last message that was read here.
    kept: u64,
    /// Reads of which something waits or is not safe yet, in their order.
    unsafe_reads: VecDeque<Read>,
}

/// Of a reader that is behind.
#[derive(Debug)]
struct Stopped {
    place: Place,
    /// What the first of those that wait waits for.
    first: Option<Awaited>,
    /// When there was nothing to read for the first time since it last stopped.
    quiet: Option<Instant>,
    /// When to look again; kept, so that other work cannot put it off.
    next: Instant,
}

/// Of a reader that waited for older ones.
#[derive(Debug)]
struct Waited {
    /// How long it still waits.
    patience: Duration,
    /// When it last did.
    last: Instant,
}

/// What the first stanza waits for, and since when.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    /// That its outbox has room.
    Room(Instant),
    /// That an earlier reader of its pair has caught up.
    Turn(Instant),
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
    /// For a reader that begins now.
    pub(crate) fn new(shared: &Shared) -> Self {
        Self::aged(shared.turns.next())
    }

    fn aged(age: Age) -> Self {
        Self {
            waiting: VecDeque::new(),
            age,
            stopped: None,
            waited: None,
            slow: Vec::new(),
            kept: 0,
            unsafe_reads: VecDeque::new(),
        }
    }

    /// Routes a stanza, or keeps it behind those that wait. `inbound` says which pairs the reader serves.
    pub(crate) fn deliver(
        &mut self,
        shared: &Shared,
        admitted: Admitted,
        inbound: impl FnOnce() -> Vec<DomainPair>,
    ) {
        let Some(admitted) = shared.keep(admitted) else {
            return;
        };
        if let Some(safekeeping) = admitted.stanza().safekeeping() {
            self.kept = self.kept.max(safekeeping.number());
        }
        if !self.waiting.is_empty() {
            return self.hold(shared, admitted, inbound);
        }
        if self.awaits_turn(shared, &admitted) {
            self.hold(shared, admitted, inbound);
            return self.await_for_first(Some(Awaited::Turn(Instant::now())));
        }
        if let Some(full) = shared.route(admitted) {
            match self.is_worth_waiting(&full) {
                true => {
                    shared.reached(full.limit);
                    self.hold(shared, full.admitted, inbound);
                    self.await_for_first(Some(Awaited::Room(Instant::now())));
                }
                false => shared.overflow(&full),
            }
        }
    }

    /// Tries again what waits, or sees that the reader has caught up, if it is time.
    pub(crate) fn retry(&mut self, shared: &Shared) {
        let now = Instant::now();
        let Some(stopped) = &mut self.stopped else {
            return;
        };
        if self.waiting.is_empty() && stopped.quiet.is_some_and(|quiet| now - quiet >= QUIET) {
            self.stopped = None;
            return;
        }
        stopped.next = now + RETRY;
        while let Some(admitted) = self.waiting.pop_front() {
            if self.awaits_turn(shared, &admitted) {
                if !matches!(self.first(), Some(Awaited::Turn(_))) {
                    self.await_for_first(Some(Awaited::Turn(now)));
                }
                self.waiting.push_front(admitted);
                return;
            }
            let now = Instant::now();
            let since = match self.first() {
                Some(Awaited::Room(since)) => since,
                Some(Awaited::Turn(_)) | None => now,
            };
            let Some(full) = shared.route(admitted) else {
                self.await_for_first(None);
                continue;
            };
            self.await_for_first(Some(Awaited::Room(since)));
            if now - since < PATIENCE && self.is_worth_waiting(&full) {
                self.waiting.push_front(full.admitted);
                return;
            }
            self.mark_slow(&full.feeder);
            shared.overflow(&full);
        }
        self.await_for_first(None);
    }

    /// The reader ends: what did not find room is answered, for nobody else knows of it.
    pub(crate) fn give_up(&mut self, shared: &Shared) {
        while let Some(admitted) = self.waiting.pop_front() {
            if let Some(full) = shared.route(admitted) {
                shared.overflow(&full);
            }
        }
        self.stopped = None;
    }

    /// When to try again, or to see whether the reader has caught up. A reader that `is_reading` sees that there is nothing
    /// to read; one that waits for something else is woken by that.
    pub(crate) fn next(&self, is_reading: bool) -> Option<Instant> {
        let stopped = self.stopped.as_ref()?;
        match (self.waiting.is_empty(), stopped.quiet) {
            (true, Some(quiet)) => Some(quiet + QUIET),
            (true, None) => is_reading.then_some(stopped.next),
            (false, _) => Some(stopped.next),
        }
    }

    //= ROUTE-09
    /// The reader stops for a moment: the younger ones that serve its pairs too wait for it.
    pub(crate) fn fall_behind(
        &mut self,
        shared: &Shared,
        inbound: impl FnOnce() -> Vec<DomainPair>,
    ) {
        if let Some(stopped) = &mut self.stopped {
            stopped.quiet = None;
            return;
        }
        let mut place = shared.turns.fall_behind(self.age);
        let pairs = inbound();
        let pairs = pairs.iter();
        place.serves_all(pairs.map(|pair| (pair.remote().domain(), pair.local().domain())));
        self.stopped = Some(Box::new(Stopped {
            place,
            first: None,
            quiet: None,
            next: Instant::now() + RETRY,
        }));
    }

    /// There is nothing to read. That is not the end of what came before others went on: a sender that had no window left
    /// needs a moment. Stopped again, it begins anew.
    pub(crate) fn nothing_to_read(&mut self) {
        if let Some(stopped) = &mut self.stopped
            && self.waiting.is_empty()
        {
            stopped.quiet.get_or_insert_with(Instant::now);
        }
    }

    /// Nothing more will be read.
    pub(crate) fn nothing_follows(&mut self) {
        if self.waiting.is_empty() {
            self.stopped = None;
        }
    }

    /// The peer may send something of one more pair.
    pub(crate) fn serves(&mut self, pair: &DomainPair) {
        if let Some(stopped) = &mut self.stopped {
            stopped
                .place
                .serves(pair.remote().domain(), pair.local().domain());
        }
    }

    fn hold(
        &mut self,
        shared: &Shared,
        admitted: Admitted,
        inbound: impl FnOnce() -> Vec<DomainPair>,
    ) {
        self.fall_behind(shared, inbound);
        if let Some(stopped) = &mut self.stopped {
            let stanza = admitted.stanza();
            stopped.place.serves(stanza.from(), stanza.to());
        }
        self.waiting.push_back(admitted);
    }

    fn first(&self) -> Option<Awaited> {
        self.stopped.as_ref()?.first
    }

    fn await_for_first(&mut self, awaited: Option<Awaited>) {
        if let Some(stopped) = &mut self.stopped {
            stopped.first = awaited;
        }
    }

    /// Whether a stanza, the first of those that wait, is to wait for an older reader. That has an end: two connections that
    /// serve a pair at the same time, and under more than its recipient takes, get on side by side.
    fn awaits_turn(&mut self, shared: &Shared, admitted: &Admitted) -> bool {
        let stanza = admitted.stanza();
        let (from, to) = (stanza.from(), stanza.to());
        let is_turn = shared.turns.is_turn_of(self.age, from, to);
        let Some(Awaited::Turn(since)) = self.first() else {
            return !is_turn && !self.patience().is_zero();
        };
        let (waited, patience) = (since.elapsed(), self.patience());
        if !is_turn && waited < patience {
            return true;
        }
        if !is_turn {
            tracing::debug!(%from, %to, "a connection does not wait any longer for an older one of its pair that is behind");
        }
        self.waited = Some(Box::new(Waited {
            patience: patience.saturating_sub(waited),
            last: Instant::now(),
        }));
        self.await_for_first(None);
        false
    }

    /// How long it waits for older readers, from when it began to.
    fn patience(&self) -> Duration {
        match &self.waited {
            Some(waited) if waited.last.elapsed() < REST => waited.patience,
            Some(_) | None => TURN_PATIENCE,
        }
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
/// How long it waits for older readers that are behind before it goes on beside them, until it has not waited for a
/// [`REST`]. Less than any deadline that somebody else has, an end of the stream among them.
const TURN_PATIENCE: Duration = Duration::from_secs(3);
/// After so long without it has its patience again.
const REST: Duration = Duration::from_secs(60);
/// Who has not stopped again so long after there was nothing to read has caught up: longer than the way there and back.
const QUIET: Duration = Duration::from_millis(500);
/// How often it looks.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use verona_proto::turns::Turns;

    use super::*;

    fn held() -> Held {
        Held::aged(Turns::default().next())
    }

    #[test]
    fn nothing_is_acknowledged_before_it_is_safe() {
        //= SM-11
        let mut held = held();
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
        let mut held = held();
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
