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
/// A queue that gets something puts its pair into the line, so that the connection need not ask all of them. Each pair
/// that has some gets its turn.
pub struct Carriage {
    drains: BTreeMap<DomainPair, Drain>,
    /// Pairs whose queues are given back as soon as nothing of them is on its way.
    departing: BTreeSet<DomainPair>,
    turns: Arc<Turns>,
    bell: Bell,
    /// Stanzas handed to the stream, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Acknowledgements that cover stanzas of `in_flight` whose turn has not come, because one before them is not
    /// written yet.
    credit: usize,
    last: Option<DomainPair>,
    /// What had been written when the connection ended.
    ended_at: u64,
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
    pair: DomainPair,
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
    Refused(TooLarge),
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
            drains: BTreeMap::new(),
            departing: BTreeSet::new(),
            turns: Arc::default(),
            bell,
            in_flight: VecDeque::new(),
            credit: 0,
            last: None,
            ended_at: 0,
        }
    }

    /// Carries a pair's queue from now on.
    pub fn add(&mut self, pair: DomainPair, mut drain: Drain) {
        let turns = Arc::clone(&self.turns);
        let bell = Arc::clone(&self.bell);
        let named = pair.clone();
        drain.ring_with(Arc::new(move || {
            turns.enter(&named);
            bell();
        }));
        self.drains.insert(pair, drain);
    }

    /// The next stanza: each pair that has some gets its turn.
    pub fn pull(&mut self) -> Option<(DomainPair, Stanza)> {
        loop {
            let pair = self.turns.next()?;
            if self.departing.contains(&pair) {
                self.turns.passed(&pair);
                continue;
            }
            let Some(stanza) = self.drains.get_mut(&pair).and_then(Drain::pull) else {
                self.turns.passed(&pair);
                continue;
            };
            self.turns.took(&pair, stanza.bytes().len());
            self.last = Some(pair.clone());
            return Some((pair, stanza));
        }
    }

    /// The stanza pulled last was not taken: it is still the first of its queue that is not on its way.
    pub fn put_back(&mut self) {
        let Some(pair) = self.last.take() else {
            return;
        };
        if let Some(drain) = self.drains.get_mut(&pair) {
            drain.put_back();
        }
    }

    /// The stanza pulled last goes from `begin` to `end` in all that is written.
    pub fn sent(
        &mut self,
        pair: &DomainPair,
        begin: u64,
        end: u64,
        custody: Custody,
        counted: Counted,
    ) {
        self.in_flight.push_back(InFlight {
            pair: pair.clone(),
            begin,
            end,
            departure: Departure::Leaves(custody, counted),
        });
    }

    /// The stanza pulled last is too large for the peer. It has its turn all the same, so that it is answered once.
    pub fn refused(&mut self, pair: &DomainPair, at: u64, refused: TooLarge) {
        self.in_flight.push_back(InFlight {
            pair: pair.clone(),
            begin: at,
            end: at,
            departure: Departure::Refused(refused),
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
        self.forget_bell();
        self.ended_at = written;
        // What left us unnoticed is no loss to be told of: without acknowledgements written is delivered.
        let mut uncertain: BTreeMap<&DomainPair, usize> = BTreeMap::new();
        for stanza in &self.in_flight {
            let may_have_arrived = usize::from(stanza.begin < written);
            *uncertain.entry(&stanza.pair).or_default() += may_have_arrived;
        }
        let stays = |pair: &DomainPair| keep == Keep::InFlight && uncertain.contains_key(pair);
        let (kept, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.drains)
            .into_iter()
            .partition(|(pair, _)| stays(pair));
        let left = left
            .into_iter()
            .map(|(pair, drain)| Left {
                uncertain: uncertain.get(&pair).copied().unwrap_or(0),
                pair,
                drain,
            })
            .collect();
        self.drains = kept;
        if keep == Keep::Nothing {
            self.in_flight.clear();
        }
        left
    }

    /// Of what stayed ([`Keep::InFlight`]) the peer has handled the next `count` stanzas, and nothing behind them. The
    /// queues are given back: nothing of them is uncertain.
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
        (settled, self.end(0, Keep::Nothing))
    }

    /// What stayed ([`Keep::InFlight`]) will never be known: the queues are given back as they are.
    pub fn lose(mut self) -> Vec<Left> {
        self.end(self.ended_at, Keep::Nothing)
    }

    /// Takes out the stanzas that wait to be pulled and were pushed before `before` (ROUTE-24).
    #[must_use = "each of them is to be returned to its sender"]
    pub fn expire(&mut self, before: Instant) -> Vec<Stanza> {
        self.drains
            .values_mut()
            .flat_map(|drain| drain.expire(before))
            .collect()
    }

    /// Nothing more is pulled for a pair, and [`Self::departed`] gives its queue back.
    pub fn depart(&mut self, pair: &DomainPair) {
        if self.drains.contains_key(pair) {
            self.departing.insert(pair.clone());
        }
    }

    /// The queues that [depart](Self::depart) and of which nothing is on its way any more: to be asked for whenever
    /// something may have settled.
    #[must_use = "the queues are nowhere else"]
    pub fn departed(&mut self) -> Vec<Left> {
        if self.departing.is_empty() {
            return Vec::new();
        }
        let in_flight: BTreeSet<&DomainPair> =
            self.in_flight.iter().map(|stanza| &stanza.pair).collect();
        let (stay, go): (BTreeSet<_>, BTreeSet<_>) = std::mem::take(&mut self.departing)
            .into_iter()
            .partition(|pair| in_flight.contains(pair));
        self.departing = stay;
        go.into_iter()
            .filter_map(|pair| {
                let mut drain = self.drains.remove(&pair)?;
                drain.silence();
                Some(Left {
                    pair,
                    drain,
                    uncertain: 0,
                })
            })
            .collect()
    }

    /// The pairs whose queues are here, in order.
    pub fn pairs(&self) -> impl Iterator<Item = &DomainPair> {
        self.drains.keys()
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
        while let Some(first) = self.in_flight.front() {
            match first.departure {
                Departure::Leaves(Custody::Acknowledged, _) if self.credit > 0 => self.credit -= 1,
                Departure::Leaves(Custody::Written, _) | Departure::Refused(_)
                    if first.end <= written => {}
                Departure::Leaves(..) | Departure::Refused(_) => break,
            }
            if let Some(gone) = self.in_flight.pop_front() {
                if let Some(drain) = self.drains.get_mut(&gone.pair) {
                    drain.acknowledge(1);
                }
                match gone.departure {
                    Departure::Leaves(_, Counted::Yes) => settled.delivered += 1,
                    Departure::Leaves(_, Counted::No) => {}
                    Departure::Refused(refused) => settled.refused.push(refused),
                }
            }
        }
        settled
    }

    fn forget_bell(&mut self) {
        for drain in self.drains.values_mut() {
            drain.silence();
        }
        self.turns.clear();
        self.last = None;
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

impl fmt::Debug for Carriage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carriage")
            .field("drains", &self.drains)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
