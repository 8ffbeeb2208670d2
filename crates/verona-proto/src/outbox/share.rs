//! What all queues together may hold, and how much of it one of them may.
//!
//! A bound on each queue is none on their number. So all of them draw on one budget, and whoever has much gets nothing
//! more while others might need it: nobody reserves, and yet there is always room for who has nothing yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of all queues together, what holds the stanzas included.
#[derive(Debug)]
pub struct Budget {
    max: AtomicUsize,
    used: AtomicUsize,
}

impl Budget {
    /// At most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(max),
            used: AtomicUsize::new(0),
        })
    }

    /// At most `max` bytes from now on; what is in use stays.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// How much is in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A further party to it: one that may have many queues, such as a component that writes to many domains.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            budget: Arc::clone(self),
            used: AtomicUsize::new(0),
        })
    }
}

/// One party's part in a [`Budget`].
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    used: AtomicUsize,
}

/// For what room is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A stanza of somebody's.
    Ordinary,
    /// An error for a stanza that was not delivered: it must find room when nothing else does, or its loss is silent.
    Error,
}

impl Share {
    /// How much the party has.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `size` for a queue that holds `queue`, if it may have that.
    ///
    /// It may while what the queue has and what its party has together is no more than what is free. So one party
    /// alone gets less than a half, `n` greedy ones a part in `n + 1` each, and as much is left for the next one;
    /// within a party it is the same with its queues.
    pub(super) fn take(&self, queue: usize, size: usize, need: Need) -> bool {
        let (max, used) = (self.budget.max(), &self.budget.used);
        let held = queue.saturating_add(self.used()).saturating_add(size);
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let after = used.checked_add(size)?;
            let may = match need {
                Need::Ordinary => held <= (max - max / ERRORS_SHARE).saturating_sub(used),
                Need::Error => after <= max,
            };
            may.then_some(after)
        });
        if taken.is_ok() {
            self.used.fetch_add(size, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Takes `size`, come what may: for what is in a queue already and grows by a few bytes.
    pub(super) fn take_anyway(&self, size: usize) {
        self.budget.used.fetch_add(size, Ordering::Relaxed);
        self.used.fetch_add(size, Ordering::Relaxed);
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&self, size: usize) {
        self.budget.used.fetch_sub(size, Ordering::Relaxed);
        self.used.fetch_sub(size, Ordering::Relaxed);
    }
}

/// A sixteenth of the budget is for errors alone.
const ERRORS_SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes pieces of ten for one queue until it gets no more; says how much it got.
    fn fill(share: &Share) -> usize {
        let mut queue = 0;
        while share.take(queue, 10, Need::Ordinary) {
            queue += 10;
        }
        queue
    }

    #[test]
    fn whoever_comes_late_finds_room() {
        let budget = Budget::new(160_000);
        // All but what is for errors.
        let ordinary = 150_000;
        let first = budget.share();
        for _ in 0..1_000 {
            fill(&first);
        }
        assert!(
            (ordinary * 49 / 100..=ordinary / 2).contains(&first.used()),
            "{} for one party of a thousand queues",
            first.used()
        );
        for others in 1..10 {
            let free = ordinary - budget.used();
            let share = budget.share();
            let got = fill(&share);
            assert!(
                (free / 3 - 20..=free / 3 + 10).contains(&got),
                "party {others} got {got} of {free} for its first queue"
            );
        }
        assert!(budget.used() <= ordinary);
    }

    #[test]
    fn greedy_parties_get_the_same() {
        let budget = Budget::new(160_000);
        let parties: Vec<Arc<Share>> = (0..4).map(|_| budget.share()).collect();
        // Each has a hundred queues and takes for the next one when it may.
        let mut queues = vec![[0; 100]; 4];
        for turn in 0..40_000 {
            let (party, queue) = (turn % 4, turn / 4 % 100);
            if parties[party].take(queues[party][queue], 10, Need::Ordinary) {
                queues[party][queue] += 10;
            }
        }
        for party in &parties {
            let part = 150_000 / 5;
            assert!(
                (part * 98 / 100..=part).contains(&party.used()),
                "{} of {part}",
                party.used()
            );
        }
    }

    #[test]
    fn errors_find_room_when_nothing_else_does_and_not_without_end() {
        let budget = Budget::new(16_000);
        let (share, sender) = (budget.share(), budget.share());
        for _ in 0..1_000 {
            fill(&share);
            fill(&sender);
        }
        assert!(!sender.take(0, 6_000, Need::Ordinary));
        let mut errors = 0;
        while sender.take(0, 10, Need::Error) {
            errors += 1;
        }
        assert!(errors >= 100, "{errors} errors");
        assert_eq!(budget.used(), 16_000, "and not a byte more");
        share.give_back(share.used());
        sender.give_back(sender.used());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn many_tasks_never_take_more_than_there_is() {
        let budget = Budget::new(100_000);
        let share = budget.share();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if share.take(0, 7, Need::Error) {
                            assert!(budget.used() <= 100_000);
                            share.give_back(7);
                        }
                        share.take(0, 1, Need::Error);
                    }
                });
            }
        });
        assert!(budget.used() <= 100_000);
        assert_eq!(budget.used(), share.used());
    }
}
