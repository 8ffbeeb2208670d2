//! The queues that one connection writes: which of them have something, and how much of each has arrived.
//!
//! It is the draining side of a connection, without the connection: the driver pulls from it, says what was written,
//! and what the peer acknowledged (XEP-0198). A stanza leaves its queue when it is out of our hands, and not before:
//! with an acknowledgement where the peer gives one, else when its bytes are written.

mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::addr::DomainPair;
use crate::outbox::{Bell, Drain};
use crate::stanza::Stanza;
use turns::Turns;

/// The drains that a connection has.
///
/// A queue that gets something enters the line, so that the connection need not ask all of them. Each that has some gets
/// its turn, and is asked once for all that its turn is worth.
pub struct Carriage {
    /// By key, and so in the order in which they came. Most connections have one.
    lanes: Vec<Lane>,
    next_key: LaneKey,
    /// Queues that are given back as soon as nothing of them is on its way.
    departing: BTreeSet<LaneKey>,
    turns: Arc<Turns>,
    bell: Bell,
    /// Whose turn it is.
    turn: Option<Turn>,
    /// Stanzas handed to the stream, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Acknowledgements that cover stanzas of `in_flight` whose turn has not come, because one before them is not
    /// written yet.
    credit: usize,
    /// What had been written when the connection ended.
    ended_at: u64,
}

/// Stands for a pair on one connection: it is copied where a pair would be cloned.
type LaneKey = u64;

/// The queue of one pair.
#[derive(Debug)]
struct Lane {
    key: LaneKey,
    pair: DomainPair,
    drain: Drain,
    /// Stanzas of it in `in_flight`.
    in_flight: usize,
}

/// What a queue gave for its turn.
#[derive(Debug)]
struct Turn {
    key: LaneKey,
    /// Pulled from the queue, and not from here.
    stanzas: VecDeque<Stanza>,
    /// What was pulled from here, in bytes.
    bytes: usize,
    /// The turn ends with the stanza that reaches so many.
    worth: usize,
}

/// Until when a stanza is in our hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// Until its bytes are written: the peer does not say what arrived.
    Written,
    /// Until the peer answers something that is written behind it. It may ask for acknowledgements yet, and those will
    /// not count this stanza.
    Answered,
    /// Until the peer acknowledges it (XEP-0198 §4).
    Acknowledged,
}

/// Whether a stanza counts as delivered when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It does.
    Yes,
    /// It is an error, which was counted where it was made.
    No,
}

/// A stanza that is on its way.
#[derive(Debug)]
struct InFlight {
    lane: LaneKey,
    /// Where it begins in all that was ever written.
    begin: u64,
    /// Where it ends.
    end: u64,
    departure: Departure,
}

/// What becomes of a stanza when those before it have left.
#[derive(Debug)]
enum Departure {
    /// It leaves too, when its custody ends.
    Leaves(Custody, Counted),
    /// It stays: the peer takes none of its size.
    Refused(Box<TooLarge>),
}

/// A stanza that is larger than the peer takes (LIM-05).
#[derive(Debug)]
pub struct TooLarge {
    /// The stanza.
    pub stanza: Stanza,
    /// What the peer takes, in bytes.
    pub max_bytes: u64,
}

/// What left our hands.
#[derive(Debug, Default)]
#[must_use = "it is to be counted, and what was refused to be returned"]
pub struct Settled {
    /// How many stanzas were delivered by it.
    pub delivered: u64,
    /// What must go back to its senders.
    pub refused: Vec<TooLarge>,
}

/// A queue that a connection gives back.
#[derive(Debug)]
pub struct Left {
    /// Whose it is.
    pub pair: DomainPair,
    /// The queue. What was pulled and did not arrive is still pulled.
    pub drain: Drain,
    /// How many of the stanzas that are pulled may have arrived, the oldest ones. Those behind them certainly did not.
    pub uncertain: usize,
}

impl Carriage {
    /// Carries nothing yet. `bell` is rung when there may be something to pull.
    #[must_use]
    pub fn new(bell: Bell) -> Self {
        Self {
            lanes: Vec::new(),
            next_key: 0,
            departing: BTreeSet::new(),
            turns: Arc::default(),
            bell,
            turn: None,
            in_flight: VecDeque::new(),
            credit: 0,
            ended_at: 0,
        }
    }

    /// Carries a pair's queue from now on.
    pub fn add(&mut self, pair: DomainPair, mut drain: Drain) {
        let key = self.next_key;
        self.next_key += 1;
        let turns = Arc::clone(&self.turns);
        let bell = Arc::clone(&self.bell);
        drain.ring_with(Arc::new(move || {
            turns.enter(key);
            bell();
        }));
        if self.lanes.is_empty() {
            self.lanes.reserve_exact(1);
        }
        self.lanes.push(Lane {
            key,
            pair,
            drain,
            in_flight: 0,
        });
    }

    /// The next stanza: each pair that has some gets its turn. Behind it comes [`Self::sent`], [`Self::refused`] or
    /// [`Self::put_back`].
    pub fn pull(&mut self) -> Option<(&DomainPair, Stanza)> {
        while !self.has_turn() {
            let next = self.turns.next()?;
            self.turn = Some(Turn {
                key: next.key,
                stanzas: VecDeque::new(),
                bytes: 0,
                worth: next.bytes,
            });
        }
        let turn = self.turn.as_mut()?;
        let stanza = turn.stanzas.pop_front()?;
        turn.bytes += stanza.bytes().len();
        let lane = lane(&self.lanes, turn.key)?;
        Some((&lane.pair, stanza))
    }

    /// Whether there is a stanza for the turn that somebody has. Whoever has none, or has given what it is worth, has it no
    /// longer.
    fn has_turn(&mut self) -> bool {
        let Some(turn) = &mut self.turn else {
            return false;
        };
        if turn.stanzas.is_empty() && turn.bytes >= turn.worth {
            self.turns.took(turn.key, turn.bytes);
            self.turn = None;
            return false;
        }
        if turn.stanzas.is_empty()
            && !self.departing.contains(&turn.key)
            && let Some(lane) = lane_mut(&mut self.lanes, turn.key)
        {
            let rest = turn.worth - turn.bytes;
            lane.drain.pull_up_to(rest, usize::MAX, &mut turn.stanzas);
        }
        if turn.stanzas.is_empty() {
            // It gave all that it had; its bell has rung, or will, for what came since.
            self.turns.passed(turn.key, turn.bytes);
            self.turn = None;
            return false;
        }
        true
    }

    /// The stanza pulled last was not taken: it is still the first of its queue that is not on its way.
    pub fn put_back(&mut self) {
        let Some(turn) = self.turn.take() else {
            return;
        };
        if let Some(lane) = lane_mut(&mut self.lanes, turn.key) {
            lane.drain.put_back(turn.stanzas.len() + 1);
        }
        // It has not lost its place.
        self.turns.resume(turn.key, turn.bytes);
    }

    /// The stanza pulled last goes from `begin` to `end` in all that is written.
    pub fn sent(&mut self, begin: u64, end: u64, custody: Custody, counted: Counted) {
        self.follow(begin, end, Departure::Leaves(custody, counted));
    }

    /// The stanza pulled last is too large for the peer. It has its turn all the same, so that it is answered once.
    pub fn refused(&mut self, at: u64, refused: TooLarge) {
        self.follow(at, at, Departure::Refused(Box::new(refused)));
    }

    fn follow(&mut self, begin: u64, end: u64, departure: Departure) {
        let Some(lane) = self.turn.as_ref().map(|turn| turn.key) else {
            return;
        };
        if let Some(lane) = lane_mut(&mut self.lanes, lane) {
            lane.in_flight += 1;
        }
        self.in_flight.push_back(InFlight {
            lane,
            begin,
            end,
            departure,
        });
    }

    /// Everything up to `written` has left us.
    pub fn written(&mut self, written: u64) -> Settled {
        self.settle(written)
    }

    /// The peer has handled the next `count` of the stanzas that wait for its acknowledgement, and everything up to
    /// `written` has left us.
    pub fn acknowledged(&mut self, count: usize, written: u64) -> Settled {
        self.credit = self.credit.saturating_add(count);
        self.settle(written)
    }

    /// The peer has come as far as the last stanza whose custody is [`Custody::Answered`], and everything up to `written`
    /// has left us.
    pub fn answered(&mut self, written: u64) -> Settled {
        self.end_custody(|custody| *custody == Custody::Answered);
        self.settle(written)
    }

    /// The peer acknowledges nothing after all: what waits for it waits for its bytes.
    pub fn unmanaged(&mut self) {
        self.credit = 0;
        self.end_custody(|_| true);
    }

    /// How many stanzas are on their way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The connection is over, and everything up to `written` may have reached the peer. Queues of which nothing is on
    /// its way are given back; the others too, unless what arrived will be known (`keep`): those stay.
    pub fn end(&mut self, written: u64, keep: Keep) -> Vec<Left> {
        self.pause();
        self.turns.clear();
        self.ended_at = written;
        // What left us unnoticed is no loss to be told of: without acknowledgements written is delivered.
        let mut uncertain: BTreeMap<LaneKey, usize> = BTreeMap::new();
        for stanza in &self.in_flight {
            let may_have_arrived = usize::from(stanza.begin < written);
            *uncertain.entry(stanza.lane).or_default() += may_have_arrived;
        }
        let stays = |lane: &Lane| keep == Keep::InFlight && lane.in_flight > 0;
        let (kept, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lanes).into_iter().partition(stays);
        self.lanes = kept;
        for lane in &mut self.lanes {
            lane.drain.silence();
        }
        if keep == Keep::Nothing {
            self.in_flight.clear();
        }
        let mut left: Vec<Left> = left
            .into_iter()
            .map(|lane| {
                let uncertain = uncertain.get(&lane.key).copied().unwrap_or(0);
                lane.leave(uncertain)
            })
            .collect();
        left.sort_by(|one, other| one.pair.cmp(&other.pair));
        left
    }

    /// Of what stayed ([`Keep::InFlight`]) the peer has handled the next `count` stanzas, and nothing behind them. The
    /// queues are given back: nothing of them is uncertain, unless nothing was handled of what was counted.
    pub fn resolve(mut self, count: usize) -> (Settled, Vec<Left>) {
        // What was sent before acknowledgements began arrived before whatever they cover. If they cover nothing, it is as
        // far as it came.
        let written = match count {
            0 => self.ended_at,
            _ => {
                self.end_custody(|custody| *custody == Custody::Answered);
                u64::MAX
            }
        };
        let settled = self.acknowledged(count, written);
        // What was sent before that and waits for an answer no count says anything of.
        let uncounted = self.in_flight.iter().rev().find(|stanza| {
            let custody = &stanza.departure;
            matches!(custody, Departure::Leaves(Custody::Answered, _))
        });
        let up_to = uncounted.map_or(0, |stanza| stanza.end.min(self.ended_at));
        (settled, self.end(up_to, Keep::Nothing))
    }

    /// What stayed ([`Keep::InFlight`]) will never be known: the queues are given back as they are.
    pub fn lose(mut self) -> Vec<Left> {
        self.end(self.ended_at, Keep::Nothing)
    }

    /// Takes out the stanzas that wait to be pulled and were pushed before `before` (ROUTE-24).
    #[must_use = "each of them is to be returned to its sender"]
    pub fn expire(&mut self, before: Instant) -> Vec<Stanza> {
        self.lanes
            .iter_mut()
            .flat_map(|lane| lane.drain.expire(before))
            .collect()
    }

    /// Nothing more is pulled for a pair, and [`Self::departed`] gives its queue back.
    pub fn depart(&mut self, pair: &DomainPair) {
        let Some(key) = self
            .lanes
            .iter()
            .find(|lane| lane.pair == *pair)
            .map(|lane| lane.key)
        else {
            return;
        };
        if self.turn.as_ref().is_some_and(|turn| turn.key == key) {
            self.pause();
        }
        self.departing.insert(key);
    }

    /// The queues that [depart](Self::depart) and of which nothing is on its way any more: to be asked for whenever
    /// something may have settled.
    #[must_use = "the queues are nowhere else"]
    pub fn departed(&mut self) -> Vec<Left> {
        if self.departing.is_empty() {
            return Vec::new();
        }
        let is_on_its_way =
            |key: &LaneKey| lane(&self.lanes, *key).is_some_and(|lane| lane.in_flight > 0);
        let (stay, go): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut self.departing)
            .into_iter()
            .partition(is_on_its_way);
        self.departing = stay;
        go.into_iter()
            .filter_map(|key| {
                self.turns.leave(key);
                let place = self.lanes.binary_search_by_key(&key, |lane| lane.key);
                Some(self.lanes.remove(place.ok()?).leave(0))
            })
            .collect()
    }

    /// The pairs whose queues are here.
    pub fn pairs(&self) -> impl Iterator<Item = &DomainPair> {
        self.lanes.iter().map(|lane| &lane.pair)
    }

    /// Nothing is pulled for a while: what was taken from a queue for its turn, and not pulled from here, waits in the queue
    /// again.
    pub fn pause(&mut self) {
        if let Some(turn) = self.turn.take() {
            if let Some(lane) = lane_mut(&mut self.lanes, turn.key) {
                lane.drain.put_back(turn.stanzas.len());
            }
            self.turns.resume(turn.key, turn.bytes);
        }
    }

    /// Of what is in such custody nothing but its bytes is waited for any more.
    fn end_custody(&mut self, is_such: impl Fn(&Custody) -> bool) {
        for stanza in &mut self.in_flight {
            if let Departure::Leaves(custody, _) = &mut stanza.departure
                && is_such(custody)
            {
                *custody = Custody::Written;
            }
        }
    }

    fn settle(&mut self, written: u64) -> Settled {
        let mut settled = Settled::default();
        // Those of one queue that stand together leave it together.
        let mut leaving: Option<(LaneKey, usize)> = None;
        while let Some(first) = self.in_flight.front() {
            match first.departure {
                Departure::Leaves(Custody::Acknowledged, _) if self.credit > 0 => self.credit -= 1,
                Departure::Leaves(Custody::Written, _) | Departure::Refused(_)
                    if first.end <= written => {}
                Departure::Leaves(..) | Departure::Refused(_) => break,
            }
            let Some(gone) = self.in_flight.pop_front() else {
                break;
            };
            leaving = match leaving {
                Some((lane, count)) if lane == gone.lane => Some((lane, count + 1)),
                others => {
                    self.leave(others);
                    Some((gone.lane, 1))
                }
            };
            match gone.departure {
                Departure::Leaves(_, Counted::Yes) => settled.delivered += 1,
                Departure::Leaves(_, Counted::No) => {}
                Departure::Refused(refused) => settled.refused.push(*refused),
            }
        }
        self.leave(leaving);
        // A burst that is over holds no memory.
        if self.in_flight.is_empty() && self.in_flight.capacity() > CAPACITY_KEPT {
            self.in_flight = VecDeque::new();
        }
        settled
    }

    /// The oldest of a queue have arrived.
    fn leave(&mut self, leaving: Option<(LaneKey, usize)>) {
        if let Some((lane, count)) = leaving
            && let Some(lane) = lane_mut(&mut self.lanes, lane)
        {
            lane.in_flight = lane.in_flight.saturating_sub(count);
            lane.drain.acknowledge(count);
        }
    }
}

fn lane(lanes: &[Lane], key: LaneKey) -> Option<&Lane> {
    let place = lanes.binary_search_by_key(&key, |lane| lane.key);
    lanes.get(place.ok()?)
}

fn lane_mut(lanes: &mut [Lane], key: LaneKey) -> Option<&mut Lane> {
    let place = lanes.binary_search_by_key(&key, |lane| lane.key);
    lanes.get_mut(place.ok()?)
}

impl Lane {
    fn leave(mut self, uncertain: usize) -> Left {
        self.drain.silence();
        Left {
            pair: self.pair,
            drain: self.drain,
            uncertain,
        }
    }
}

/// What of a connection that is over waits until it is known what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: that will not be known.
    Nothing,
    /// The queues of which something is on its way: the peer will say, when the stream is resumed.
    InFlight,
}

/// A driver that panics tells nothing: but what it had not taken from here, it had not written.
impl Drop for Carriage {
    fn drop(&mut self) {
        self.pause();
    }
}

impl fmt::Debug for Carriage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carriage")
            .field("lanes", &self.lanes)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

/// Room for so many stanzas on their way is kept.
const CAPACITY_KEPT: usize = 16;

#[cfg(test)]
mod tests;
