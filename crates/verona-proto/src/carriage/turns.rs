//! Whose turn it is to be written: the pairs that share a connection get the same bytes each, whatever their stanzas weigh.
//!
//! By stanzas in turn, a pair with pictures would get a thousand times what a pair with words gets. So each turn is worth a
//! number of bytes, and whoever took more waits as many turns as that was worth (surplus round robin).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::LaneKey;
use crate::few::{FewMap, FewSet};

/// Those that have something to be written, in turn.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    order: VecDeque<LaneKey>,
    /// Who stands in it: nobody does twice, or would have two turns.
    standing: FewSet<LaneKey>,
    /// What is left of a turn in bytes, or what was taken too much.
    balances: FewMap<LaneKey, i64>,
}

/// Whose turn it is, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) key: LaneKey,
    /// The turn ends with the stanza that reaches it.
    pub(super) bytes: usize,
}

impl Turns {
    /// It has something.
    pub(super) fn enter(&self, key: LaneKey) {
        let mut line = self.lock();
        line.stand(key, false);
    }

    /// Whose turn it is; it steps out of the line.
    pub(super) fn next(&self) -> Option<Next> {
        let mut line = self.lock();
        loop {
            let key = line.order.pop_front()?;
            let alone = line.order.is_empty();
            let mut balance = line.balance(key);
            if balance <= 0 {
                balance += TURN_BYTES;
            }
            // Where nobody else waits, nobody is owed anything.
            if alone {
                balance = balance.max(1);
            }
            line.balances.insert(key, balance);
            if balance > 0 {
                let worth = match alone {
                    true => balance.max(TURN_ALONE_BYTES),
                    false => balance,
                };
                line.standing.remove(&key);
                return Some(Next {
                    key,
                    bytes: usize::try_from(worth).unwrap_or(usize::MAX),
                });
            }
            line.order.push_back(key);
        }
    }

    /// It had so many bytes written, all that its turn was worth, and may have more.
    pub(super) fn took(&self, key: LaneKey, bytes: usize) {
        let mut line = self.lock();
        let balance = line.balance(key).saturating_sub(bytes_of(bytes));
        line.balances.insert(key, balance);
        let goes_on = balance > 0;
        line.stand(key, goes_on);
    }

    /// It had so many bytes written and did not come to the end of its turn: it is the next one.
    pub(super) fn resume(&self, key: LaneKey, bytes: usize) {
        let mut line = self.lock();
        let balance = line.balance(key).saturating_sub(bytes_of(bytes)).max(1);
        line.balances.insert(key, balance);
        line.stand(key, true);
    }

    /// It has nothing more: what is left of its turn is not saved up.
    pub(super) fn passed(&self, key: LaneKey, bytes: usize) {
        let mut line = self.lock();
        let Some(balance) = line.balances.get(&key) else {
            return;
        };
        let balance = balance.saturating_sub(bytes_of(bytes));
        match balance >= 0 {
            true => drop(line.balances.remove(&key)),
            false => line.balances.insert(key, balance),
        }
    }

    /// It is gone.
    pub(super) fn leave(&self, key: LaneKey) {
        let mut line = self.lock();
        line.balances.remove(&key);
        if line.standing.remove(&key).is_some() {
            line.order.retain(|other| *other != key);
        }
    }

    pub(super) fn clear(&self) {
        *self.lock() = Line::default();
    }

    /// Nothing that runs under the lock can leave the line half changed.
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn stand(&mut self, key: LaneKey, in_front: bool) {
        if self.standing.contains_key(&key) {
            return;
        }
        self.standing.add(key);
        match in_front {
            true => self.order.push_front(key),
            false => self.order.push_back(key),
        }
    }

    fn balance(&self, key: LaneKey) -> i64 {
        self.balances.get(&key).copied().unwrap_or_default()
    }
}

fn bytes_of(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What a turn is worth: some ordinary stanzas, so that those of a burst go out together, and little enough that nobody
/// waits long for 256 others.
const TURN_BYTES: i64 = 2048;
/// What it is worth where nobody else waits: whoever comes in the middle of it does not wait long for its end.
const TURN_ALONE_BYTES: i64 = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "a test may panic, and needs some instant to begin with"
    )]
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::addr::{Direction, Domain, DomainPair, Hosts, Jid};
    use crate::carriage::Carriage;
    use crate::outbox::{self, Feeder, OutboxLimit};
    use crate::stanza::{Stanza, StanzaKind};

    fn pair(remote: &str) -> DomainPair {
        let ours = Domain::parse("montague.lit").unwrap();
        let remote = Domain::parse(remote).unwrap();
        let hosts = Hosts::new([ours.clone()]);
        hosts.pair(Direction::Outbound, &ours, &remote).unwrap()
    }

    fn stanza(remote: &str, bytes: usize) -> Stanza {
        let (from, to) = (Jid::parse("montague.lit"), Jid::parse(remote));
        let body = format!("<body>{}</body>", "x".repeat(bytes.saturating_sub(80)));
        Stanza::build(
            StanzaKind::Message,
            &from.unwrap(),
            &to.unwrap(),
            None,
            None,
            &body,
        )
    }

    /// Pairs that always have something to send, each with stanzas of its own size.
    struct Busy {
        carriage: Carriage,
        feeders: BTreeMap<DomainPair, (Feeder, Stanza)>,
        got: BTreeMap<DomainPair, usize>,
    }

    impl Busy {
        fn new(sizes: &[usize]) -> Self {
            let mut busy = Self {
                carriage: Carriage::new(Arc::new(|| {})),
                feeders: BTreeMap::new(),
                got: BTreeMap::new(),
            };
            for (number, bytes) in sizes.iter().enumerate() {
                let name = format!("d{number}.lit");
                let (feeder, drain) = outbox::new(OutboxLimit {
                    stanzas: 1 << 20,
                    bytes: 1 << 30,
                });
                let stanza = stanza(&name, *bytes);
                for _ in 0..3 {
                    feeder.push(stanza.clone(), Instant::now()).unwrap();
                }
                busy.carriage.add(pair(&name), drain);
                busy.feeders.insert(pair(&name), (feeder, stanza));
            }
            busy
        }

        /// Writes one stanza; says whose and how large.
        fn write(&mut self, now: Instant) -> (DomainPair, usize) {
            let (pair, stanza) = self.carriage.pull().unwrap();
            let pair = pair.clone();
            let bytes = stanza.bytes().len();
            *self.got.entry(pair.clone()).or_default() += bytes;
            let (feeder, again) = self.feeders.get(&pair).unwrap();
            feeder.push(again.clone(), now).unwrap();
            (pair, bytes)
        }

        /// Jain's index: one where all got the same, 1/n where one got all.
        #[allow(clippy::cast_precision_loss, reason = "an index is a fraction")]
        fn fairness(&self) -> f64 {
            let got: Vec<f64> = self
                .feeders
                .keys()
                .map(|pair| self.got.get(pair).copied().unwrap_or(0) as f64)
                .collect();
            let sum: f64 = got.iter().sum();
            let squares: f64 = got.iter().map(|got| got * got).sum();
            sum * sum / (got.len() as f64 * squares)
        }
    }

    #[test]
    fn pairs_get_the_same_bytes_whatever_their_stanzas_weigh() {
        let now = Instant::now();
        let mut busy = Busy::new(&[100_000, 200, 200, 1_000, 3_000, 10_000, 200, 500]);
        for _ in 0..60_000 {
            busy.write(now);
        }
        let fairness = busy.fairness();
        assert!(fairness >= 0.98, "{fairness}: {:?}", busy.got);
    }

    #[test]
    fn nobody_waits_for_more_than_a_turn_of_each_and_one_large_stanza() {
        let now = Instant::now();
        let sizes: Vec<usize> = (0..50)
            .map(|n| if n < 10 { 500_000 } else { 200 })
            .collect();
        let mut busy = Busy::new(&sizes);
        let (mut waited, mut longest) = (BTreeMap::new(), 0);
        for _ in 0..30_000 {
            let (pair, bytes) = busy.write(now);
            let large = usize::from(bytes > 1_000);
            for (other, waited) in &mut waited {
                if *other != pair {
                    *waited += large;
                    longest = longest.max(*waited);
                }
            }
            if large == 0 {
                waited.insert(pair, 0);
            }
        }
        // Each large one has its first turn before anybody's second.
        assert!(
            longest <= 10,
            "{longest} large stanzas between two small ones"
        );
        let large: usize = busy.got.values().filter(|got| **got >= 500_000).sum();
        assert!(large <= 20 * 510_000, "{large} bytes of large ones");
    }

    #[test]
    fn who_is_alone_waits_for_nobody_and_owes_nothing() {
        let now = Instant::now();
        let mut busy = Busy::new(&[500_000]);
        for _ in 0..5 {
            busy.write(now);
        }
        let mut both = Busy::new(&[500_000, 200]);
        both.write(now);
        let turns: Vec<usize> = (0..30).map(|_| both.write(now).1).collect();
        assert!(turns.iter().all(|bytes| *bytes < 1_000), "{turns:?}");
    }
}
