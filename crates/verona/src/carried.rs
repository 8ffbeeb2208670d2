//! The queues that one connection writes: which of them have something, and how much of each has left us.

use std::collections::{BTreeMap, VecDeque};
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
    /// Stanzas handed to the stream, oldest first: whose, and where they end in all that was ever written.
    in_flight: VecDeque<(DomainPair, u64)>,
    last: Option<DomainPair>,
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
        if !self.in_flight.iter().any(|(other, _)| *other == pair)
            && let Some(drain) = self.drains.get_mut(&pair)
        {
            drain.requeue();
        }
    }

    /// The stanza pulled last ends at `end` in all that is written.
    pub(crate) fn sent(&mut self, pair: &DomainPair, end: u64) {
        self.in_flight.push_back((pair.clone(), end));
    }

    /// Everything up to `written` has left us; says how many stanzas those were.
    pub(crate) fn acknowledge(&mut self, written: u64) -> u64 {
        let mut count = 0;
        while self
            .in_flight
            .front()
            .is_some_and(|(_, end)| *end <= written)
        {
            if let Some((pair, _)) = self.in_flight.pop_front() {
                if let Some(drain) = self.drains.get_mut(&pair) {
                    drain.acknowledge(1);
                }
                count += 1;
            }
        }
        count
    }

    /// Gives the drains back; the flag says whether something of the queue may have reached the peer unnoticed.
    pub(crate) fn into_drains(self, written: u64) -> Vec<(DomainPair, Drain, bool)> {
        let mut begins_at = 0;
        let mut uncertain: Vec<&DomainPair> = Vec::new();
        for (pair, end) in &self.in_flight {
            if begins_at < written {
                uncertain.push(pair);
            }
            begins_at = *end;
        }
        let uncertain: Vec<DomainPair> = uncertain.into_iter().cloned().collect();
        self.drains
            .into_iter()
            .map(|(pair, drain)| {
                let begun = uncertain.contains(&pair);
                (pair, drain, begun)
            })
            .collect()
    }
}
