//! The queue against a plain model of it, and the promises that a model does not show.
//!
//! Order, limits and the single drain hold for any sequence of calls, so sequences are made up by the machine.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, and needs some instant to begin with"
)]

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::addr::Jid;
use crate::stanza::StanzaKind;

fn stanza(number: usize, size: usize) -> Stanza {
    let from = Jid::parse("a@capulet.lit").unwrap();
    let to = Jid::parse("b@montague.lit").unwrap();
    let payload = format!("<body>{}</body>", "x".repeat(size));
    Stanza::build(
        StanzaKind::Message,
        &from,
        &to,
        None,
        Some(&number.to_string()),
        &payload,
    )
}

fn number(stanza: &Stanza) -> usize {
    stanza.id().unwrap().parse().unwrap()
}

fn numbers(stanzas: &[Stanza]) -> Vec<usize> {
    stanzas.iter().map(number).collect()
}

fn wide() -> (Feeder, Drain) {
    new(OutboxLimit {
        stanzas: 100,
        bytes: 1 << 20,
    })
}

fn bell() -> (Bell, Arc<AtomicUsize>) {
    let rings = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rings);
    let bell: Bell = Arc::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (bell, rings)
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Pull,
    Acknowledge(usize),
    PutBack,
    Settle(usize),
    Requeue,
    Expire(u64),
    Pass(u64),
    LoseAndReclaim,
    CloseIfEmpty,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..200).prop_map(Step::Push),
        5 => Just(Step::Pull),
        2 => (0usize..6).prop_map(Step::Acknowledge),
        1 => Just(Step::PutBack),
        1 => (0usize..6).prop_map(Step::Settle),
        1 => Just(Step::Requeue),
        1 => (0u64..20).prop_map(Step::Expire),
        3 => (0u64..10).prop_map(Step::Pass),
        1 => Just(Step::LoseAndReclaim),
        1 => Just(Step::CloseIfEmpty),
    ]
}

/// What the queue should be: number, size and time of each stanza.
#[derive(Default)]
struct Model {
    entries: VecDeque<(usize, usize, Instant)>,
    pulled: usize,
}

impl Model {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|(_, bytes, _)| bytes).sum()
    }

    fn take(&mut self, start: usize, count: usize) -> Vec<usize> {
        let taken = self.entries.drain(start..start + count);
        taken.map(|(number, _, _)| number).collect()
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(steps in prop::collection::vec(step(), 0..120)) {
        //= ROUTE-09
        //= ROUTE-23
        let limit = OutboxLimit { stanzas: 8, bytes: 1500 };
        let (feeder, drain) = new(limit);
        let mut drain = Some(drain);
        let mut model = Model::default();
        let mut now = Instant::now();
        for (count, step) in steps.into_iter().enumerate() {
            let Some(mut held) = drain.take() else {
                // Closed: nothing goes in, nothing comes back.
                prop_assert!(feeder.is_closed());
                prop_assert!(feeder.reclaim().is_none());
                let refused = feeder.push(stanza(count, 0), now);
                prop_assert!(matches!(refused, Err(Refused::Closed(_))));
                break;
            };
            match step {
                Step::Push(size) => {
                    let pushed = stanza(count, size);
                    let bytes = pushed.bytes().len();
                    let fits = model.entries.len() < limit.stanzas
                        && model.bytes() + bytes <= limit.bytes;
                    match feeder.push(pushed.clone(), now) {
                        Ok(()) => {
                            prop_assert!(fits);
                            model.entries.push_back((count, bytes, now));
                        }
                        Err(refused) => {
                            prop_assert!(!fits);
                            let measure = match model.entries.len() < limit.stanzas {
                                true => Measure::Bytes,
                                false => Measure::Stanzas,
                            };
                            prop_assert_eq!(refused, Refused::Full(pushed, measure));
                        }
                    }
                }
                Step::Pull => {
                    let expected = model.entries.get(model.pulled).map(|entry| entry.0);
                    prop_assert_eq!(held.pull().as_ref().map(number), expected);
                    model.pulled += usize::from(expected.is_some());
                }
                Step::Acknowledge(count) => {
                    held.acknowledge(count);
                    let count = count.min(model.pulled);
                    model.take(0, count);
                    model.pulled -= count;
                }
                Step::PutBack => {
                    held.put_back(1);
                    model.pulled = model.pulled.saturating_sub(1);
                }
                Step::Settle(uncertain) => {
                    let count = uncertain.min(std::mem::take(&mut model.pulled));
                    let (kept, returned): (Vec<_>, Vec<_>) = model
                        .entries
                        .drain(..count)
                        .partition(|entry| entry.0 % 2 == 0);
                    for entry in kept.into_iter().rev() {
                        model.entries.push_front(entry);
                    }
                    let fate = |stanza: &Stanza, _| match number(stanza) % 2 {
                        0 => Fate::Resend(stanza.clone()),
                        _ => Fate::Return,
                    };
                    let returned: Vec<_> = returned.iter().map(|entry| entry.0).collect();
                    prop_assert_eq!(numbers(&held.settle(uncertain, fate)), returned);
                }
                Step::Requeue => {
                    held.requeue();
                    model.pulled = 0;
                }
                Step::Expire(age) => {
                    let before = now.checked_sub(Duration::from_secs(age)).unwrap_or(now);
                    let old = model.entries.iter().skip(model.pulled);
                    let count = old.take_while(|entry| entry.2 < before).count();
                    let start = model.pulled;
                    prop_assert_eq!(numbers(&held.expire(before)), model.take(start, count));
                }
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
                Step::LoseAndReclaim => {
                    prop_assert!(feeder.reclaim().is_none(), "there is one");
                    drop(held);
                    held = feeder.reclaim().unwrap();
                    prop_assert!(feeder.reclaim().is_none(), "there is one again");
                }
                Step::CloseIfEmpty => match held.close_if_empty() {
                    Ok(()) => {
                        prop_assert!(model.entries.is_empty());
                        continue;
                    }
                    Err(kept) => {
                        prop_assert!(!model.entries.is_empty());
                        held = kept;
                    }
                },
            }
            prop_assert_eq!(held.unacknowledged(), model.pulled);
            prop_assert_eq!(held.queued(), model.entries.len() - model.pulled);
            prop_assert_eq!(feeder.queued(), held.queued());
            prop_assert_eq!(feeder.bytes(), model.bytes());
            prop_assert_eq!(held.oldest(), model.entries.get(model.pulled).map(|entry| entry.2));
            prop_assert_eq!(feeder.oldest(), held.oldest());
            prop_assert!(!feeder.is_closed());
            drain = Some(held);
        }
    }
}

#[test]
fn what_was_pulled_counts_until_it_is_acknowledged() {
    let (feeder, mut drain) = new(OutboxLimit {
        stanzas: 2,
        bytes: 1 << 20,
    });
    let now = Instant::now();
    feeder.push(stanza(1, 0), now).unwrap();
    feeder.push(stanza(2, 0), now).unwrap();
    assert_eq!(number(&drain.pull().unwrap()), 1);
    assert_eq!(
        feeder.push(stanza(3, 0), now),
        Err(Refused::Full(stanza(3, 0), Measure::Stanzas))
    );
    drain.acknowledge(1);
    feeder.push(stanza(4, 0), now).unwrap();
    drain.requeue();
    assert_eq!(number(&drain.pull().unwrap()), 2);
    assert_eq!(number(&drain.pull().unwrap()), 4);
}

#[test]
fn a_drain_that_is_lost_leaves_what_it_pulled_uncertain() {
    let (feeder, mut drain) = wide();
    let now = Instant::now();
    for count in 1..=3 {
        feeder.push(stanza(count, 0), now).unwrap();
    }
    assert_eq!(number(&drain.pull().unwrap()), 1);
    drop(drain);
    feeder.push(stanza(4, 0), now).unwrap();
    let mut drain = feeder.reclaim().unwrap();
    assert_eq!(drain.unacknowledged(), 1);
    assert_eq!(numbers(&drain.settle(1, |_, _| Fate::Return)), [1]);
    assert_eq!(number(&drain.pull().unwrap()), 2);
}

#[test]
fn a_panic_in_the_task_that_drains_poisons_nothing() {
    let (feeder, mut drain) = wide();
    let now = Instant::now();
    feeder.push(stanza(1, 0), now).unwrap();
    let ended = std::thread::scope(|scope| {
        let task = scope.spawn(move || {
            drain.pull().unwrap();
            let _held = drain.0.lock();
            std::panic::resume_unwind(Box::new("a fault of ours"));
        });
        task.join()
    });
    assert!(ended.is_err());
    feeder.push(stanza(2, 0), now).unwrap();
    assert_eq!(feeder.reclaim().unwrap().unacknowledged(), 1);
}

#[test]
fn closing_gives_back_everything_and_refuses_the_rest() {
    let (feeder, mut drain) = wide();
    let now = Instant::now();
    for count in 1..=3 {
        feeder.push(stanza(count, 0), now).unwrap();
    }
    drain.pull().unwrap();
    assert_eq!(numbers(&drain.close()), [1, 2, 3]);
    assert!(feeder.is_closed());
    assert_eq!(feeder.bytes(), 0);
    assert!(feeder.reclaim().is_none());
    assert_eq!(
        feeder.push(stanza(4, 0), now),
        Err(Refused::Closed(stanza(4, 0)))
    );
    assert_eq!(
        Refused::Closed(stanza(4, 0)).into_stanza(),
        stanza(4, 0),
        "nothing is lost"
    );
}

#[test]
fn the_bell_rings_when_there_is_something_to_pull_again() {
    let (feeder, mut drain) = wide();
    let now = Instant::now();
    let (first, rings) = bell();
    drain.ring_with(first);
    assert_eq!(rings.load(Ordering::SeqCst), 0, "nothing is there");
    feeder.push(stanza(1, 0), now).unwrap();
    feeder.push(stanza(2, 0), now).unwrap();
    assert_eq!(rings.load(Ordering::SeqCst), 1, "once for both");
    drain.pull().unwrap();
    feeder.push(stanza(3, 0), now).unwrap();
    assert_eq!(rings.load(Ordering::SeqCst), 1, "it was not empty");
    drain.pull().unwrap();
    drain.pull().unwrap();
    feeder.push(stanza(4, 0), now).unwrap();
    assert_eq!(rings.load(Ordering::SeqCst), 2, "unacknowledged or not");

    let (second, again) = bell();
    drain.ring_with(second);
    assert_eq!(again.load(Ordering::SeqCst), 1, "at once");
    drain.pull().unwrap();
    drain.requeue();
    assert_eq!(again.load(Ordering::SeqCst), 2, "all four wait again");
    assert_eq!(rings.load(Ordering::SeqCst), 2, "the former one is silent");
    while drain.pull().is_some() {}
    drain.silence();
    feeder.push(stanza(5, 0), now).unwrap();
    assert_eq!(again.load(Ordering::SeqCst), 2);
}

#[test]
fn the_bell_of_a_lost_drain_is_silent() {
    let (feeder, mut drain) = wide();
    let (bell, rings) = bell();
    drain.ring_with(bell);
    drop(drain);
    feeder.push(stanza(1, 0), Instant::now()).unwrap();
    assert_eq!(rings.load(Ordering::SeqCst), 0);
}

#[test]
fn a_bell_may_ask_the_queue() {
    let (feeder, mut drain) = wide();
    let seen = Arc::new(AtomicUsize::new(0));
    let (asked, write) = (feeder.clone(), Arc::clone(&seen));
    drain.ring_with(Arc::new(move || {
        write.store(asked.queued(), Ordering::SeqCst);
    }));
    feeder.push(stanza(1, 0), Instant::now()).unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[test]
fn a_queue_that_moves_is_worth_waiting_for() {
    let (feeder, mut drain) = wide();
    let moment = Duration::from_millis(200);
    let start = Instant::now();
    feeder.push(stanza(1, 0), start).unwrap();
    feeder.push(stanza(2, 0), start).unwrap();
    assert!(!feeder.drained_within(start, moment), "nothing moved yet");
    drain.pull().unwrap();
    assert!(feeder.drained_within(start + moment, moment));
    assert!(feeder.drained_within(start + 2 * moment, moment));
    assert!(!feeder.drained_within(start + 3 * moment, moment));
    drain.acknowledge(1);
    assert!(feeder.drained_within(start + 4 * moment, moment));
}

#[test]
fn feeders_and_the_drain_work_from_many_threads() {
    //= ROUTE-09
    let (feeder, mut drain) = new(OutboxLimit {
        stanzas: 4000,
        bytes: 1 << 20,
    });
    let now = Instant::now();
    let got = std::thread::scope(|scope| {
        for task in 0..4 {
            let feeder = feeder.clone();
            scope.spawn(move || {
                for count in 0..500 {
                    feeder.push(stanza(task * 1000 + count, 0), now).unwrap();
                }
            });
        }
        let mut got = Vec::new();
        while got.len() < 2000 {
            match drain.pull() {
                Some(stanza) => got.push(number(&stanza)),
                None => std::thread::yield_now(),
            }
            drain.acknowledge(1);
        }
        got
    });
    for task in 0..4 {
        let own: Vec<usize> = got.iter().copied().filter(|n| n / 1000 == task).collect();
        assert_eq!(own, (0..500).map(|n| task * 1000 + n).collect::<Vec<_>>());
    }
    assert!(drain.close_if_empty().is_ok());
    assert!(feeder.is_closed());
}
