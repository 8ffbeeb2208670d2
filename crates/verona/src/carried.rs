//! The queues that one connection writes: which of them have something, and how much of each has left us.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use verona_proto::addr::DomainPair;
use verona_proto::outbox::Drain;
use verona_proto::stanza::Stanza;

use crate::shared::lock;

/// The drains that a connection has.
///
/// A queue that gets something puts its pair on the ready list, so that the connection need not ask all of them.
#[derive(Debug)]
pub(crate) struct Carried {
    drains: BTreeMap<DomainPair, Drain>,
    ready: Arc<Ready>,
    /// Stanzas handed to the stream, oldest first.
    in_flight: VecDeque<InFlight>,
    last: Option<DomainPair>,
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
    /// It leaves too.
    Counted,
    /// It leaves too, but is an error, which was counted where it was made.
    Uncounted,
    /// It stays: the peer takes none of its size.
    Refused(TooLarge),
}

/// A stanza that is larger than the peer takes (LIM-05).
#[derive(Debug)]
pub(crate) struct TooLarge {
    pub(crate) stanza: Stanza,
    /// What the peer takes.
    pub(crate) max_bytes: u64,
}

/// What [`Carried::acknowledge`] settled.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// How many stanzas were delivered by it.
    pub(crate) delivered: u64,
    /// What must go back to its senders.
    pub(crate) refused: Vec<TooLarge>,
}

#[derive(Debug, Default)]
struct Ready {
    pairs: Mutex<VecDeque<DomainPair>>,
    notify: Arc<Notify>,
}

impl Carried {
    pub(crate) fn new() -> Self {
        Self {
            drains: BTreeMap::new(),
            ready: Arc::default(),
            in_flight: VecDeque::new(),
            last: None,
        }
    }

    pub(crate) fn add(&mut self, pair: DomainPair, mut drain: Drain) {
        let ready = Arc::clone(&self.ready);
        let named = pair.clone();
        drain.ring_with(Arc::new(move || {
            lock(&ready.pairs).push_back(named.clone());
            ready.notify.notify_one();
        }));
        self.drains.insert(pair, drain);
    }

    /// Notified when a queue that was empty is not any more.
    pub(crate) fn ready(&self) -> Arc<Notify> {
        Arc::clone(&self.ready.notify)
    }

    /// The next stanza: each pair that has some gets its turn.
    pub(crate) fn pull(&mut self) -> Option<(DomainPair, Stanza)> {
        loop {
            let pair = lock(&self.ready.pairs).pop_front()?;
            let Some(stanza) = self.drains.get_mut(&pair).and_then(Drain::pull) else {
                continue;
            };
            lock(&self.ready.pairs).push_back(pair.clone());
            self.last = Some(pair.clone());
            return Some((pair, stanza));
        }
    }

    /// The stanza pulled last was not taken: it is still the first of its queue.
    pub(crate) fn put_back(&mut self) {
        let Some(pair) = self.last.take() else {
            return;
        };
        if !self.in_flight.iter().any(|other| other.pair == pair)
            && let Some(drain) = self.drains.get_mut(&pair)
        {
            drain.requeue();
        }
    }

    /// The stanza pulled last goes from `begin` to `end` in all that is written.
    pub(crate) fn sent(&mut self, pair: &DomainPair, begin: u64, end: u64, counts: bool) {
        self.in_flight.push_back(InFlight {
            pair: pair.clone(),
            begin,
            end,
            departure: match counts {
                true => Departure::Counted,
                false => Departure::Uncounted,
            },
        });
    }

    /// The stanza pulled last is too large for the peer. It has its turn all the same, so that it is answered once.
    pub(crate) fn refused(&mut self, pair: &DomainPair, at: u64, refused: TooLarge) {
        self.in_flight.push_back(InFlight {
            pair: pair.clone(),
            begin: at,
            end: at,
            departure: Departure::Refused(refused),
        });
    }

    /// Everything up to `written` has left us.
    pub(crate) fn acknowledge(&mut self, written: u64) -> Settled {
        let mut settled = Settled::default();
        while self
            .in_flight
            .front()
            .is_some_and(|first| first.end <= written)
        {
            if let Some(gone) = self.in_flight.pop_front() {
                if let Some(drain) = self.drains.get_mut(&gone.pair) {
                    drain.acknowledge(1);
                }
                match gone.departure {
                    Departure::Counted => settled.delivered += 1,
                    Departure::Uncounted => {}
                    Departure::Refused(refused) => settled.refused.push(refused),
                }
            }
        }
        settled
    }

    /// Gives the drains back; the flag says whether something of the queue may have reached the peer unnoticed.
    pub(crate) fn into_drains(self, written: u64) -> Vec<(DomainPair, Drain, bool)> {
        let begun: BTreeSet<DomainPair> = self
            .in_flight
            .into_iter()
            .filter(|stanza| stanza.begin < written)
            .map(|stanza| stanza.pair)
            .collect();
        self.drains
            .into_iter()
            .map(|(pair, drain)| {
                let begun = begun.contains(&pair);
                (pair, drain, begun)
            })
            .collect()
    }
}
