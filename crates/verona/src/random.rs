//! Unpredictable numbers and ids from one seed of the operating system.
//!
//! The seed is drawn once, at the start, where its failure can be reported; afterwards nothing here can fail.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// A source of ids that nobody can guess and that never repeat (STREAM-15).
#[derive(Debug)]
pub(crate) struct Random {
    seed: [u8; 32],
    counter: AtomicU64,
}

impl Random {
    /// Draws the seed.
    pub(crate) fn from_system() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self {
            seed,
            counter: AtomicU64::new(0),
        })
    }

    /// 150 bits in thirty digits of base 32, `0` to `9` and `a` to `v`. Not one more than 31: mu-conference computes its
    /// handshake from the first 31 characters of a stream's id and could never attach.
    pub(crate) fn id(&self) -> String {
        //= STREAM-15
        self.block()
            .iter()
            .take(30)
            .filter_map(|byte| char::from_digit(u32::from(byte % 32), 32))
            .collect()
    }

    /// A number below `bound`; zero for a bound of zero.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.block();
        match bound {
            0 => 0,
            bound => u64::from_be_bytes([a, b, c, d, e, f, g, h]) % bound,
        }
    }

    fn block(&self) -> [u8; 32] {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(count.to_be_bytes())
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn ids_never_repeat() {
        //= STREAM-15
        let random = Random::from_system().unwrap();
        let ids: std::collections::BTreeSet<String> = (0..30_000).map(|_| random.id()).collect();
        assert_eq!(ids.len(), 30_000);
        assert!(ids.iter().all(|id| {
            id.len() == 30
                && id
                    .chars()
                    .all(|digit| digit.is_digit(32) && !digit.is_uppercase())
        }));
    }
}
