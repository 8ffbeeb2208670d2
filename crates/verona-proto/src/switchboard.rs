//! Which outbox a stanza goes to.
//!
//! Every task routes for itself through this table; no stanza waits behind another pair's, and the federation hears of
//! a pair once and not of each stanza.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::addr::{DomainPair, Hosts, LocalDomain};
use crate::limits::Limit;
use crate::outbox::{self, Budget, Drain, Feeder, Measure, OutboxLimit, Refused, Share};
use crate::stanza::{Admitted, Destination, Stanza};

/// The outboxes of all pairs and components, shared by all tasks.
#[derive(Debug)]
pub struct Switchboard {
    bounds: RwLock<Bounds>,
    budget: Arc<Budget>,
    /// What the pairs of each domain of ours have of it.
    shares: Mutex<BTreeMap<LocalDomain, Arc<Share>>>,
    hosts: RwLock<Arc<Hosts>>,
    pairs: RwLock<BTreeMap<DomainPair, Feeder>>,
    components: RwLock<BTreeMap<LocalDomain, Feeder>>,
}

/// What the table may hold.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// For the outbox of each pair.
    pair: OutboxLimit,
    /// How many pairs there may be.
    pairs: usize,
}

impl Switchboard {
    /// A table without routes. `pair_limit` bounds the outbox of each pair, `pairs_max` how many pairs there are.
    #[must_use]
    pub fn new(hosts: Arc<Hosts>, pair_limit: OutboxLimit, pairs_max: usize) -> Self {
        Self {
            bounds: RwLock::new(Bounds {
                pair: pair_limit,
                pairs: pairs_max,
            }),
            budget: Budget::new(usize::MAX),
            shares: Mutex::default(),
            hosts: RwLock::new(hosts),
            pairs: RwLock::default(),
            components: RwLock::default(),
        }
    }

    /// The same, with a bound on what all outboxes together hold, in bytes.
    #[must_use]
    pub fn within(self, bytes_max: usize) -> Self {
        Self {
            budget: Budget::new(bytes_max),
            ..self
        }
    }

    /// How many bytes all outboxes together hold, what holds the stanzas included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.budget.used()
    }

    /// An outbox for whatever is to serve a domain of ours; what it holds counts with that of all others.
    #[must_use]
    pub fn outbox(&self, limit: OutboxLimit) -> (Feeder, Drain) {
        outbox::sharing(limit, &self.budget.share())
    }

    /// Puts a stanza into the outbox where it belongs.
    #[must_use = "what was not queued is to be answered"]
    pub fn route(&self, admitted: Admitted, now: Instant) -> Routed {
        self.put(admitted, now, Feeder::push)
    }

    /// As [`route`](Self::route), for what was taken before a restart: no outbox is too full for it.
    #[must_use = "what was not queued is to be answered"]
    pub fn restore(&self, admitted: Admitted, now: Instant) -> Routed {
        self.put(admitted, now, Feeder::restore)
    }

    fn put(&self, admitted: Admitted, now: Instant, push: Push) -> Routed {
        match admitted.into_parts() {
            (Destination::Local(domain), stanza) => {
                self.route_to_component(domain, stanza, now, push)
            }
            (Destination::Remote(pair), stanza) => self.route_to_pair(pair, stanza, now, push),
        }
    }

    /// Connects what serves one of our domains (COMP-12).
    ///
    /// # Errors
    /// [`Conflict`] when something does already.
    pub fn attach(&self, domain: LocalDomain, feeder: Feeder) -> Result<(), Conflict> {
        //= COMP-12
        match write(&self.components).entry(domain) {
            Entry::Occupied(entry) if !entry.get().is_closed() => Err(Conflict),
            Entry::Occupied(mut entry) => {
                entry.insert(feeder);
                Ok(())
            }
            Entry::Vacant(entry) => {
                entry.insert(feeder);
                Ok(())
            }
        }
    }

    /// Connects what serves one of our domains in the place of what did, which is given back.
    pub fn replace(&self, domain: LocalDomain, feeder: Feeder) -> Option<Feeder> {
        write(&self.components).insert(domain, feeder)
    }

    /// Disconnects what serves a domain, if it is still that one. Says whether it was.
    pub fn detach(&self, domain: &LocalDomain, feeder: &Feeder) -> bool {
        let mut components = write(&self.components);
        let is_that_one = components
            .get(domain)
            .is_some_and(|attached| attached.is_same(feeder));
        if is_that_one {
            components.remove(domain);
        }
        is_that_one
    }

    /// Whether something serves the domain.
    #[must_use]
    pub fn is_attached(&self, domain: &LocalDomain) -> bool {
        read(&self.components)
            .get(domain)
            .is_some_and(|feeder| !feeder.is_closed())
    }

    /// What serves a domain, if anything does.
    #[must_use]
    pub fn component(&self, domain: &LocalDomain) -> Option<Feeder> {
        read(&self.components).get(domain).cloned()
    }

    /// The outbox of a pair, if it has one.
    #[must_use]
    pub fn pair(&self, pair: &DomainPair) -> Option<Feeder> {
        read(&self.pairs).get(pair).cloned()
    }

    /// Forgets a pair if its outbox is closed: for whoever closed it, at once. Says whether it was.
    pub fn remove(&self, pair: &DomainPair) -> bool {
        let mut pairs = write(&self.pairs);
        let is_closed = pairs.get(pair).is_some_and(Feeder::is_closed);
        if is_closed {
            pairs.remove(pair);
        }
        is_closed
    }

    /// Forgets every pair and every component whose outbox is closed. Says how many there were.
    pub fn remove_closed(&self) -> usize {
        let mut removed = 0;
        write(&self.pairs).retain(|_, feeder| keep_open(feeder, &mut removed));
        write(&self.components).retain(|_, feeder| keep_open(feeder, &mut removed));
        // Nobody draws on it: its domain sends nothing, or is not ours any more.
        lock(&self.shares).retain(|_, share| Arc::strong_count(share) > 1);
        removed
    }

    /// All pairs with their outboxes, in order: a snapshot.
    #[must_use]
    pub fn pairs(&self) -> Vec<(DomainPair, Feeder)> {
        snapshot(&self.pairs)
    }

    /// All domains that something serves, with the outboxes, in order: a snapshot.
    #[must_use]
    pub fn components(&self) -> Vec<(LocalDomain, Feeder)> {
        snapshot(&self.components)
    }

    /// Our domains as they are known to the table.
    #[must_use]
    pub fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&read(&self.hosts))
    }

    /// Replaces our domains at a reload.
    pub fn reload(&self, hosts: Arc<Hosts>) {
        *write(&self.hosts) = hosts;
    }

    /// Bounds the outboxes of pairs anew, those that there are as well, and what all outboxes together may hold.
    pub fn limit_pairs(&self, pair_limit: OutboxLimit, pairs_max: usize, bytes_max: usize) {
        self.budget.set_max(bytes_max);
        *write(&self.bounds) = Bounds {
            pair: pair_limit,
            pairs: pairs_max,
        };
        for feeder in read(&self.pairs).values() {
            feeder.set_limit(pair_limit);
        }
    }

    /// Bounds the outboxes of components that there are anew.
    pub fn limit_components(&self, limit: OutboxLimit) {
        for feeder in read(&self.components).values() {
            feeder.set_limit(limit);
        }
    }

    fn route_to_component(
        &self,
        domain: LocalDomain,
        stanza: Stanza,
        now: Instant,
        push: Push,
    ) -> Routed {
        //= ROUTE-18
        let Some(feeder) = self.component(&domain) else {
            return Routed::NoComponent(stanza, domain);
        };
        match push(&feeder, stanza, now) {
            Ok(()) => Routed::Queued,
            Err(Refused::Full(stanza, measure)) => Routed::Full(
                Admitted::new(Destination::Local(domain), stanza),
                feeder,
                match measure {
                    Measure::Stanzas => Limit::ComponentBacklogStanzasMax,
                    Measure::Bytes => Limit::ComponentBacklogBytesMax,
                },
            ),
            Err(Refused::Crowded(stanza)) => Routed::Crowded(stanza),
            Err(Refused::Closed(stanza)) => {
                self.detach(&domain, &feeder);
                Routed::NoComponent(stanza, domain)
            }
        }
    }

    fn route_to_pair(&self, pair: DomainPair, stanza: Stanza, now: Instant, push: Push) -> Routed {
        let Some(feeder) = self.pair(&pair) else {
            return self.route_to_new_pair(pair, stanza, now, push);
        };
        match push(&feeder, stanza, now) {
            Ok(()) => Routed::Queued,
            Err(Refused::Full(stanza, measure)) => full(pair, stanza, feeder, measure),
            Err(Refused::Crowded(stanza)) => Routed::Crowded(stanza),
            Err(Refused::Closed(stanza)) => self.route_to_new_pair(pair, stanza, now, push),
        }
    }

    /// What the pairs of a domain have together: their component is one party, to however many domains it writes.
    fn share(&self, local: &LocalDomain) -> Arc<Share> {
        let mut shares = lock(&self.shares);
        let share = shares
            .entry(local.clone())
            .or_insert_with(|| self.budget.share());
        Arc::clone(share)
    }

    /// The outbox was missing or closed a moment ago; another task may have made one since.
    fn route_to_new_pair(
        &self,
        pair: DomainPair,
        stanza: Stanza,
        now: Instant,
        push: Push,
    ) -> Routed {
        let mut pairs = write(&self.pairs);
        let bounds = *read(&self.bounds);
        let stanza = match pairs.get(&pair) {
            None => stanza,
            Some(feeder) => match push(feeder, stanza, now) {
                Ok(()) => return Routed::Queued,
                Err(Refused::Full(stanza, measure)) => {
                    return full(pair, stanza, feeder.clone(), measure);
                }
                Err(Refused::Crowded(stanza)) => return Routed::Crowded(stanza),
                Err(Refused::Closed(stanza)) => {
                    pairs.remove(&pair);
                    stanza
                }
            },
        };
        if pairs.len() >= bounds.pairs {
            return Routed::TooManyPairs(stanza);
        }
        let (feeder, drain) = outbox::sharing(bounds.pair, &self.share(pair.local()));
        match push(&feeder, stanza, now) {
            Ok(()) => {
                pairs.insert(pair.clone(), feeder);
                Routed::Wanted(pair, drain)
            }
            Err(Refused::Crowded(stanza)) => Routed::Crowded(stanza),
            // It exceeds even an empty outbox: a pair without a stanza is not wanted.
            Err(Refused::Full(stanza, measure)) => full(pair, stanza, feeder, measure),
            Err(Refused::Closed(stanza)) => full(pair, stanza, feeder, Measure::Bytes),
        }
    }
}

/// The outbox of a pair is full.
fn full(pair: DomainPair, stanza: Stanza, feeder: Feeder, measure: Measure) -> Routed {
    let limit = match measure {
        Measure::Stanzas => Limit::OutboxStanzasMax,
        Measure::Bytes => Limit::OutboxBytesMax,
    };
    Routed::Full(
        Admitted::new(Destination::Remote(pair), stanza),
        feeder,
        limit,
    )
}

/// How a stanza gets into an outbox.
type Push = fn(&Feeder, Stanza, Instant) -> Result<(), Refused>;

/// What became of a stanza.
#[derive(Debug)]
pub enum Routed {
    /// It is in its outbox.
    Queued,
    /// It is in the outbox of a new pair, for which the federation is to find a stream.
    Wanted(DomainPair, Drain),
    /// Nothing serves the domain: the local services answer.
    NoComponent(Stanza, LocalDomain),
    /// The outbox is full: what was to be routed comes back, with the outbox to wait for, and its limit. `resource-constraint` when
    /// waiting is of no use (ROUTE-23).
    Full(Admitted, Feeder, Limit),
    /// All outboxes together are full, as far as this one may draw on that: `resource-constraint`.
    Crowded(Stanza),
    /// There may be no further pair: `resource-constraint`.
    TooManyPairs(Stanza),
}

/// Another component serves the domain (COMP-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another component serves the domain")
    }
}

impl std::error::Error for Conflict {}

fn snapshot<K: Clone>(table: &RwLock<BTreeMap<K, Feeder>>) -> Vec<(K, Feeder)> {
    read(table)
        .iter()
        .map(|(key, feeder)| (key.clone(), feeder.clone()))
        .collect()
}

fn keep_open(feeder: &Feeder, removed: &mut usize) -> bool {
    let is_open = !feeder.is_closed();
    *removed += usize::from(!is_open);
    is_open
}

/// Each change of a table is one call, so poison says nothing about it.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::disallowed_methods,
        reason = "a test may panic, and needs some instant to begin with"
    )]
    use super::*;
    use crate::addr::{Domain, Jid};
    use crate::stanza::{StanzaKind, originate};

    const LIMIT: OutboxLimit = OutboxLimit {
        stanzas: 3,
        bytes: 10_000,
    };

    fn hosts() -> Arc<Hosts> {
        let domains = ["montague.lit", "rooms.montague.lit"];
        Arc::new(Hosts::new(domains.map(|name| Domain::parse(name).unwrap())))
    }

    fn board(pairs_max: usize) -> Switchboard {
        Switchboard::new(hosts(), LIMIT, pairs_max)
    }

    fn rooms() -> LocalDomain {
        hosts()
            .local(&Domain::parse("rooms.montague.lit").unwrap())
            .unwrap()
    }

    fn admitted(to: &str, id: &str) -> Admitted {
        let from = Jid::parse("romeo@montague.lit").unwrap();
        let to = Jid::parse(to).unwrap();
        let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, Some(id), "");
        originate(&hosts(), stanza).unwrap()
    }

    fn ids(mut drain: Drain) -> Vec<String> {
        std::iter::from_fn(|| drain.pull())
            .map(|stanza| stanza.id().unwrap())
            .collect()
    }

    #[test]
    fn a_pair_is_wanted_once_and_keeps_its_order() {
        //= ROUTE-09
        let (board, now) = (board(10), Instant::now());
        let Routed::Wanted(pair, drain) = board.route(admitted("a@capulet.lit", "1"), now) else {
            panic!("the first of a pair");
        };
        assert_eq!(pair.to_string(), "montague.lit~capulet.lit");
        for id in ["2", "3"] {
            let routed = board.route(admitted("b@capulet.lit/x", id), now);
            assert!(matches!(routed, Routed::Queued));
        }
        //= ROUTE-23
        let routed = board.route(admitted("a@capulet.lit", "4"), now);
        assert!(
            matches!(routed, Routed::Full(admitted, _, Limit::OutboxStanzasMax) if admitted.stanza().id().as_deref() == Some("4"))
        );
        assert!(board.pair(&pair).unwrap().is_same(&drain.feeder()));
        assert_eq!(ids(drain), ["1", "2", "3"]);
    }

    #[test]
    fn what_was_taken_before_a_restart_finds_room() {
        let (board, now) = (board(10), Instant::now());
        let Routed::Wanted(_, drain) = board.restore(admitted("capulet.lit", "1"), now) else {
            panic!("the first of a pair");
        };
        for id in ["2", "3", "4", "5"] {
            let routed = board.restore(admitted("capulet.lit", id), now);
            assert!(matches!(routed, Routed::Queued), "{id}");
        }
        let routed = board.route(admitted("capulet.lit", "6"), now);
        assert!(matches!(routed, Routed::Full(..)), "what is new does not");
        assert_eq!(ids(drain), ["1", "2", "3", "4", "5"]);
    }

    #[test]
    fn a_closed_pair_is_made_anew_and_an_orphaned_one_is_not() {
        let (board, now) = (board(1), Instant::now());
        let Routed::Wanted(pair, mut drain) = board.route(admitted("capulet.lit", "1"), now) else {
            panic!("the first of a pair");
        };
        assert!(!board.remove(&pair), "it is open");
        let _sent = drain.pull();
        drain.acknowledge(1);
        drain.close_if_empty().unwrap();
        let Routed::Wanted(_, drain) = board.route(admitted("capulet.lit", "2"), now) else {
            panic!("wanted again, though there may be one pair only");
        };
        drop(drain);
        assert!(matches!(
            board.route(admitted("capulet.lit", "3"), now),
            Routed::Queued
        ));
        let drain = board.pair(&pair).unwrap().reclaim().unwrap();
        assert_eq!(ids(drain), ["2", "3"]);
    }

    #[test]
    fn there_are_no_more_pairs_than_may_be() {
        let (board, now) = (board(2), Instant::now());
        let mut drains = Vec::new();
        for name in ["a.lit", "b.lit"] {
            let Routed::Wanted(_, drain) = board.route(admitted(name, "1"), now) else {
                panic!("the first of a pair");
            };
            drains.push(drain);
        }
        assert!(matches!(
            board.route(admitted("c.lit", "1"), now),
            Routed::TooManyPairs(_)
        ));
        assert_eq!(board.pairs().len(), 2);
        for drain in drains {
            assert_eq!(drain.close().len(), 1);
        }
        assert_eq!(board.remove_closed(), 2);
        assert!(board.pairs().is_empty());
        assert!(matches!(
            board.route(admitted("c.lit", "1"), now),
            Routed::Wanted(..)
        ));
    }

    #[test]
    fn a_stanza_that_no_outbox_takes_makes_no_pair() {
        let limit = OutboxLimit {
            stanzas: 1,
            bytes: 10,
        };
        let board = Switchboard::new(hosts(), limit, 10);
        let routed = board.route(admitted("capulet.lit", "1"), Instant::now());
        assert!(matches!(routed, Routed::Full(_, _, Limit::OutboxBytesMax)));
        assert!(board.pairs().is_empty());
    }

    #[test]
    fn a_component_s_queue_that_is_full_says_of_what() {
        let to = "a@rooms.montague.lit";
        let length = admitted(to, "1").stanza().bytes().len();
        for (stanzas, bytes, expected) in [
            (1, 10 * length, Limit::ComponentBacklogStanzasMax),
            (10, 2 * length - 1, Limit::ComponentBacklogBytesMax),
        ] {
            let (board, now) = (board(10), Instant::now());
            let (feeder, _drain) = board.outbox(OutboxLimit { stanzas, bytes });
            board.attach(rooms(), feeder).unwrap();
            assert!(matches!(
                board.route(admitted(to, "1"), now),
                Routed::Queued
            ));
            let routed = board.route(admitted(to, "2"), now);
            assert!(
                matches!(&routed, Routed::Full(_, _, limit) if *limit == expected),
                "{routed:?}"
            );
        }
    }

    #[test]
    fn one_component_cannot_use_up_what_all_share() {
        let hosts = hosts();
        let limit = OutboxLimit {
            stanzas: 1_000,
            bytes: 1_000_000,
        };
        let board = Switchboard::new(Arc::clone(&hosts), limit, 1_000).within(320_000);
        let now = Instant::now();
        let body = format!("<body>{}</body>", "x".repeat(500));
        let mut drains = Vec::new();
        let mut write = |from: &str, to: String| {
            let (from, to) = (Jid::parse(from).unwrap(), Jid::parse(&to).unwrap());
            let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, &body);
            match board.route(originate(&hosts, stanza).unwrap(), now) {
                Routed::Queued => true,
                Routed::Wanted(_, drain) => {
                    drains.push(drain);
                    true
                }
                Routed::Crowded(_) => false,
                other @ (Routed::NoComponent(..) | Routed::Full(..) | Routed::TooManyPairs(_)) => {
                    panic!("{other:?}")
                }
            }
        };
        // One writes to three hundred domains of which none answers.
        for turn in 0..3_000 {
            write("romeo@montague.lit", format!("n@d{}.lit", turn % 300));
        }
        let held = board.bytes();
        assert!((148_000..=151_000).contains(&held), "{held}: its half");
        assert!(!write("romeo@montague.lit", "n@d1.lit".into()));
        // Another one has room, a good deal of it.
        let room = (0..100).filter(|_| write("a@rooms.montague.lit", "n@d1.lit".into()));
        assert_eq!(room.count(), 52, "a third of what is left, for one pair");
        assert!(board.bytes() <= 301_000, "{}", board.bytes());
        // So do errors for the one that has too much.
        let (feeder, drain) = board.outbox(limit);
        let error = Stanza::build(
            StanzaKind::Message,
            &Jid::parse("n@d1.lit").unwrap(),
            &Jid::parse("romeo@montague.lit").unwrap(),
            Some("error"),
            None,
            "",
        );
        feeder.push(error, now).unwrap();
        // What is taken out is free again.
        for drain in drains.into_iter().chain([drain]) {
            assert!(!drain.close().is_empty());
        }
        assert_eq!(board.bytes(), 0);
    }

    #[test]
    fn stanzas_for_our_domains_go_to_their_component_or_come_back() {
        //= ROUTE-18
        //= ROUTE-25
        let (board, now) = (board(10), Instant::now());
        let to = "room@rooms.montague.lit";
        assert!(matches!(
            board.route(admitted(to, "1"), now),
            Routed::NoComponent(stanza, domain) if domain == rooms() && stanza.id().as_deref() == Some("1")
        ));
        let (feeder, drain) = outbox::new(LIMIT);
        board.attach(rooms(), feeder.clone()).unwrap();
        assert!(board.is_attached(&rooms()));
        for id in ["2", "3", "4"] {
            assert!(matches!(board.route(admitted(to, id), now), Routed::Queued));
        }
        assert!(matches!(
            board.route(admitted(to, "5"), now),
            Routed::Full(..)
        ));
        assert!(board.pairs().is_empty(), "nothing of it leaves the process");
        assert_eq!(drain.close().len(), 3);
        assert!(!board.is_attached(&rooms()));
        assert!(matches!(
            board.route(admitted(to, "6"), now),
            Routed::NoComponent(..)
        ));
        assert!(board.components().is_empty());
    }

    #[test]
    fn a_second_component_is_refused_or_takes_over() {
        //= COMP-12
        let board = board(10);
        let (first, _first_drain) = outbox::new(LIMIT);
        let (second, _second_drain) = outbox::new(LIMIT);
        board.attach(rooms(), first.clone()).unwrap();
        assert_eq!(board.attach(rooms(), second.clone()), Err(Conflict));
        assert!(
            board
                .replace(rooms(), second.clone())
                .unwrap()
                .is_same(&first)
        );
        assert!(
            !board.detach(&rooms(), &first),
            "it is not that one any more"
        );
        assert!(board.is_attached(&rooms()));
        assert!(board.detach(&rooms(), &second));
        assert!(!board.is_attached(&rooms()));
        board.attach(rooms(), first).unwrap();
    }

    #[test]
    fn a_closed_component_conflicts_with_nobody() {
        let board = board(10);
        let (first, drain) = outbox::new(LIMIT);
        board.attach(rooms(), first).unwrap();
        drain.close_if_empty().unwrap();
        let (second, _drain) = outbox::new(LIMIT);
        board.attach(rooms(), second).unwrap();
        assert!(board.is_attached(&rooms()));
    }

    #[test]
    fn many_tasks_want_a_pair_once() {
        let board = Switchboard::new(
            hosts(),
            OutboxLimit {
                stanzas: 1000,
                bytes: 1 << 20,
            },
            10,
        );
        let now = Instant::now();
        let drains: Vec<Drain> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let routed =
                            (0..50).map(|_| board.route(admitted("capulet.lit", "1"), now));
                        routed
                            .filter_map(|routed| match routed {
                                Routed::Wanted(_, drain) => Some(drain),
                                Routed::Queued
                                | Routed::NoComponent(..)
                                | Routed::Full(..)
                                | Routed::Crowded(_)
                                | Routed::TooManyPairs(_) => None,
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            tasks
                .into_iter()
                .flat_map(|task| task.join().unwrap())
                .collect()
        });
        assert_eq!(drains.len(), 1);
        assert_eq!(drains[0].queued(), 400);
    }

    #[test]
    fn a_reload_replaces_our_domains() {
        let board = board(1);
        let fewer = Arc::new(Hosts::new([Domain::parse("montague.lit").unwrap()]));
        board.reload(Arc::clone(&fewer));
        assert!(Arc::ptr_eq(&board.hosts(), &fewer));
    }
}
