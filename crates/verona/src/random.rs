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

    /// 160 bits in lower-case hexadecimal.
    pub(crate) fn id(&self) -> String {
        //= STREAM-15
        self.block()
            .iter()
            .take(20)
            .map(|byte| format!("{byte:02x}"))
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
        assert!(
            ids.iter()
                .all(|id| id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        );
    }
}
