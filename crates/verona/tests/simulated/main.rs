//! Whole engines in a simulated network, with a clock that jumps: minutes of faults in milliseconds.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic"
)]

mod cases;
mod chance;
mod ledger;
mod log;
mod network;
mod play;
mod round_trips;
mod storm;
mod story;
mod town;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::Fate;
use network::Counts;
use play::Outcome;
use story::Story;

/// Stories of seeds; `SIMULATED_SEEDS=n` plays so many, `SIMULATED_FIRST=n` begins there, `SIMULATED_SEED=n` plays one
/// and shows the log.
#[test]
fn nothing_is_lost_without_a_word_whatever_the_network_does() {
    //= SM-12
    if let Some(seed) = number("SIMULATED_SEED") {
        let story = Story::new(seed);
        eprintln!("{story}");
        let _log = log::Log::new();
        let outcome = play::play(&story);
        eprintln!("{:?} {:?}", outcome.fates, outcome.counts);
        assert!(outcome.wrongs.is_empty(), "{:#?}", outcome.wrongs);
        return;
    }
    let first = number("SIMULATED_FIRST").unwrap_or(0);
    let last = first + number("SIMULATED_SEEDS").unwrap_or(SEEDS);
    let total = Mutex::new(Total::default());
    on_all_cores(last - first, |index| {
        let story = Story::new(first + index);
        let played = std::panic::catch_unwind(|| play::play(&story));
        total.lock().unwrap().add(&story, played);
    });
    let total = total.into_inner().unwrap();
    eprintln!("{total:?}");
    assert!(
        total.failed.is_empty(),
        "{} stories end badly: {:?}",
        total.failed.len(),
        total.failed
    );
}

#[derive(Debug, Default)]
struct Total {
    fates: BTreeMap<Fate, usize>,
    refused: usize,
    counts: Counts,
    failed: Vec<u64>,
}

impl Total {
    fn add(&mut self, story: &Story, played: std::thread::Result<Outcome>) {
        match played {
            Ok(outcome) => {
                for (fate, count) in outcome.fates {
                    *self.fates.entry(fate).or_default() += count;
                }
                self.refused += outcome.refused;
                self.counts.add(&outcome.counts);
                if outcome.wrongs.is_empty() {
                    return;
                }
                eprintln!("{story}{:#?}", outcome.wrongs);
            }
            Err(_) => eprintln!("{story}it panicked"),
        }
        self.failed.push(story.seed);
    }
}

/// Does something for each number below `count`, several at once.
fn on_all_cores(count: u64, each: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    each(index);
                }
            });
        }
    });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What `cargo xtask test` has time for.
const SEEDS: u64 = 250;
