//! Stanzas that found their outbox full: verona/src/held.rs without its clock.

use std::collections::VecDeque;
use std::time::Duration;

use verona_proto::addr::{Direction, DomainPair};
use verona_proto::outbox::Feeder;
use verona_proto::stanza::{Admitted, Destination, Stanza};
use verona_proto::turns::{Age, Place};

use super::clock::Moment;
use super::outside::Outside;
use super::shared::{Full, Shared};

/// What waits for room, in the order in which it was read.
#[derive(Debug)]
pub(crate) struct Held {
    waiting: VecDeque<Admitted>,
    /// What the first of them waits for.
    first: Option<Awaited>,
    age: Age,
    /// From when it stopped reading until it has caught up.
    place: Option<Place>,
    /// When there was nothing to read for the first time since it last stopped.
    quiet: Option<Moment>,
    /// How long it still waits for older readers.
    patience: Moment,
    /// When it last did.
    rested: Option<Moment>,
    next: Option<Moment>,
    slow: Vec<(Feeder, usize)>,
    /// What had been counted before the read of which something waits.
    unhandled_read: Option<u32>,
}

/// What the first stanza waits for, and since when.
#[derive(Clone, Copy, Debug)]
enum Awaited {
    Room(Moment),
    Turn(Moment),
}

impl Held {
    /// For a reader that begins now.
    pub(crate) fn new(shared: &Shared) -> Self {
        Self {
            waiting: VecDeque::new(),
            first: None,
            age: shared.turns.next(),
            place: None,
            quiet: None,
            patience: TURN_PATIENCE,
            rested: None,
            next: None,
            slow: Vec::new(),
            unhandled_read: None,
        }
    }

    /// Routes a stanza, or keeps it behind those that wait.
    pub(crate) fn deliver(
        &mut self,
        shared: &mut Shared,
        admitted: Admitted,
        inbound: impl FnOnce() -> Vec<DomainPair>,
        outside: &mut Outside,
    ) {
        if !self.waiting.is_empty() || self.awaits_turn(shared, &admitted, outside) {
            return self.hold(shared, admitted, inbound, outside);
        }
        if let Some(full) = shared.route(admitted, outside) {
            match self.is_worth_waiting(&full, outside) {
                true => {
                    outside
                        .coverage
                        .count("reached", "a reader that waits for room");
                    self.first = Some(Awaited::Room(outside.now));
                    self.hold(shared, full.admitted, inbound, outside);
                }
                false => shared.overflow(full.admitted.stanza(), outside),
            }
        }
    }

    /// Tries again what waits.
    pub(crate) fn retry(&mut self, shared: &mut Shared, outside: &mut Outside) {
        let now = outside.now;
        if self.waiting.is_empty() && self.quiet.is_some_and(|quiet| now - quiet >= QUIET) {
            self.place = None;
        }
        self.next = Some(now + RETRY);
        while let Some(admitted) = self.waiting.pop_front() {
            if self.awaits_turn(shared, &admitted, outside) {
                self.waiting.push_front(admitted);
                return;
            }
            let since = match self.first {
                Some(Awaited::Room(since)) => since,
                Some(Awaited::Turn(_)) | None => now,
            };
            let Some(full) = shared.route(admitted, outside) else {
                self.first = None;
                continue;
            };
            self.first = Some(Awaited::Room(since));
            if now - since < PATIENCE && self.is_worth_waiting(&full, outside) {
                self.waiting.push_front(full.admitted);
                return;
            }
            self.mark_slow(&full.feeder);
            shared.overflow(full.admitted.stanza(), outside);
        }
        self.first = None;
    }

    /// The reader ends: what did not find room is answered, for nobody else knows of it.
    pub(crate) fn give_up(&mut self, shared: &mut Shared, outside: &mut Outside) {
        while let Some(admitted) = self.waiting.pop_front() {
            if let Some(full) = shared.route(admitted, outside) {
                shared.overflow(full.admitted.stanza(), outside);
            }
        }
        self.place = None;
    }

    /// When to try again, or to see whether the reader has caught up.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.place.as_ref()?;
        match self.quiet {
            Some(quiet) if self.waiting.is_empty() => Some(quiet + QUIET),
            Some(_) | None => self.next,
        }
    }

    /// The reader stops for a moment: the younger ones that serve its pairs too wait for it.
    pub(crate) fn fall_behind(
        &mut self,
        shared: &Shared,
        inbound: impl FnOnce() -> Vec<DomainPair>,
        outside: &Outside,
    ) {
        self.quiet = None;
        if self.place.is_none() {
            let place = self.place.insert(shared.turns.fall_behind(self.age));
            self.next = Some(outside.now + RETRY);
            let pairs = inbound();
            let pairs = pairs.iter();
            place.serves_all(pairs.map(|pair| (pair.remote().domain(), pair.local().domain())));
        }
    }

    /// There is nothing to read. That is not the end of what came before others went on: a sender that had no window left
    /// needs a moment. Stopped again, it begins anew.
    pub(crate) fn nothing_to_read(&mut self, outside: &Outside) {
        if self.place.is_some() && self.waiting.is_empty() {
            self.quiet.get_or_insert(outside.now);
        }
    }

    /// Nothing more will be read.
    pub(crate) fn nothing_follows(&mut self) {
        if self.waiting.is_empty() {
            self.place = None;
        }
    }

    /// The peer may send something of one more pair.
    pub(crate) fn serves(&mut self, pair: &DomainPair) {
        if let Some(place) = &mut self.place {
            place.serves(pair.remote().domain(), pair.local().domain());
        }
    }

    fn hold(
        &mut self,
        shared: &Shared,
        admitted: Admitted,
        inbound: impl FnOnce() -> Vec<DomainPair>,
        outside: &Outside,
    ) {
        self.fall_behind(shared, inbound, outside);
        if let Some(place) = &mut self.place {
            let stanza = admitted.stanza();
            place.serves(stanza.from(), stanza.to());
        }
        self.waiting.push_back(admitted);
    }

    fn awaits_turn(&mut self, shared: &Shared, admitted: &Admitted, outside: &mut Outside) -> bool {
        let stanza = admitted.stanza();
        let (from, to) = (stanza.from(), stanza.to());
        let now = outside.now;
        let since = match self.first {
            Some(Awaited::Turn(since)) => since,
            Some(Awaited::Room(_)) | None => {
                if shared.turns.is_turn_of(self.age, from, to) {
                    return false;
                }
                if self.rested.is_none_or(|rested| now - rested >= REST) {
                    self.patience = TURN_PATIENCE;
                }
                if self.patience == 0 {
                    return false;
                }
                let reached = "a reader that waits for its turn";
                outside.coverage.count("reached", reached);
                self.first = Some(Awaited::Turn(now));
                return true;
            }
        };
        let waited = now - since;
        let is_turn = shared.turns.is_turn_of(self.age, from, to);
        if !is_turn && waited < self.patience {
            return true;
        }
        if !is_turn {
            let reached = "a turn that does not come";
            outside.coverage.count("reached", reached);
        }
        self.patience = self.patience.saturating_sub(waited);
        self.rested = Some(now);
        self.first = None;
        false
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
/// How long it waits for older readers that are behind, until it has not waited for a rest.
const TURN_PATIENCE: Moment = 3_000_000;
/// After so long without it has its patience again.
const REST: Moment = 60_000_000;
/// Who has not stopped again so long after there was nothing to read has caught up.
const QUIET: Moment = 500_000;
/// How often it looks.
const RETRY: Moment = 5_000;
