//! Components on both sides that talk for as long as certificates are replaced, and what came of it.
//! Why with pauses: only a connection that ends makes room for one that is made anew, with another certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::SECRET;
use crate::speaker::{Speaker, exactly};

/// Pairs of components that talk; of the last pair neither is ever silent.
pub(super) struct Talk {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Pair>>>,
}

struct Pair {
    sides: [Speaker; 2],
    said: [usize; 2],
}

impl Talk {
    pub(super) fn begin(pairs: &[[(String, SocketAddr); 2]]) -> Result<Self> {
        let attach =
            |(domain, address): &(String, SocketAddr)| Speaker::connect(*address, domain, SECRET);
        let pairs = pairs
            .iter()
            .map(|[near, far]| {
                Ok(Pair {
                    sides: [attach(near)?, attach(far)?],
                    said: [0, 0],
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&stop);
        Ok(Self {
            stop,
            thread: thread::spawn(move || talk(pairs, &heard)),
        })
    }

    /// Ends, waits for what is under way, and says how many messages came: all of them, in order, none twice.
    pub(super) fn end(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let pairs = self
            .thread
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that talks"))??;
        let mut all = 0;
        for Pair { sides, said } in &pairs {
            let [near, far] = sides;
            for (from, to, said) in [(near, far, said[0]), (far, near, said[1])] {
                to.wait_for(said, UNDER_WAY_MAX);
                let wanted: Vec<usize> = (0..said).collect();
                let (domain, other) = (from.domain(), to.domain());
                exactly(&to.messages(), &wanted)
                    .with_context(|| format!("from {domain} to {other}"))?;
                ensure!(from.bounces().is_empty(), "{domain}: {:?}", from.bounces());
                ensure!(
                    from.surprises().is_empty(),
                    "{domain}: {:?}",
                    from.surprises()
                );
                all += said;
            }
        }
        Ok(all)
    }
}

fn talk(mut pairs: Vec<Pair>, stop: &AtomicBool) -> Result<Vec<Pair>> {
    let last = pairs.len().saturating_sub(1);
    let mut tick = 0;
    while !stop.load(Ordering::Relaxed) {
        for (index, pair) in pairs.iter_mut().enumerate() {
            let speak = match index == last {
                true => [true, tick >= HEAD_START],
                false => speaks(tick, index),
            };
            for (own, other) in [(0, 1), (1, 0)] {
                if speak[own] {
                    let number = pair.said[own];
                    let to = pair.sides[other].domain().to_owned();
                    pair.sides[own].say(&to, number..number + 1)?;
                    pair.said[own] += 1;
                }
            }
        }
        tick += 1;
        thread::sleep(TICK);
    }
    Ok(pairs)
}

/// Which side of a pair speaks: two spells in three, and now one and now the other begins, and so opens the connection.
fn speaks(tick: usize, index: usize) -> [bool; 2] {
    let (spell, moment) = (tick / SPELL + index, tick % SPELL);
    match spell % 3 {
        0 => [false, false],
        1 if moment < HEAD_START => {
            let near = spell / 3 % 2 == 0;
            [near, !near]
        }
        _ => [true, true],
    }
}

const TICK: Duration = Duration::from_millis(100);
/// Ticks: two seconds, longer than an idle connection lives.
const SPELL: usize = 20;
/// Ticks by which one side begins before the other.
const HEAD_START: usize = 3;
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_rests_and_is_opened_from_both_sides() {
        for index in 0..4 {
            let all: Vec<[bool; 2]> = (0..SPELL * 6).map(|tick| speaks(tick, index)).collect();
            for wanted in [[false, false], [true, false], [false, true], [true, true]] {
                assert!(all.contains(&wanted), "{index}: never {wanted:?}");
            }
        }
    }
}
