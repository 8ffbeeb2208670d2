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
    /// Whether it counts as delivered: errors are counted where they are made.
    counts: bool,
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
            counts,
        });
    }

    /// Everything up to `written` has left us; says how many stanzas were delivered by that.
    pub(crate) fn acknowledge(&mut self, written: u64) -> u64 {
        let mut count = 0;
        while self
            .in_flight
            .front()
            .is_some_and(|first| first.end <= written)
        {
            if let Some(gone) = self.in_flight.pop_front() {
                if let Some(drain) = self.drains.get_mut(&gone.pair) {
                    drain.acknowledge(1);
                }
                count += u64::from(gone.counts);
            }
        }
        count
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
