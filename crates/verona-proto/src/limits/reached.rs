//! How often each limit took effect.
//!
//! A machine counts where the limit takes effect and nowhere else, so what is within its limits pays nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Limit;

/// How often each [`Limit`] took effect since the start; clones share the counts.
#[derive(Clone, Debug)]
pub struct LimitCounts(Arc<[AtomicU64]>);

impl Default for LimitCounts {
    fn default() -> Self {
        Self(Limit::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl LimitCounts {
    /// The limit took effect: something was refused, ended, delayed or done because of it.
    pub fn reached(&self, limit: Limit) {
        if let Some(count) = self.0.get(limit as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that was.
    #[must_use]
    pub fn count(&self, limit: Limit) -> u64 {
        self.0
            .get(limit as usize)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// All limits with their counts, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.iter().map(|limit| (*limit, self.count(*limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_count_of_its_own_and_clones_share_it() {
        let counts = LimitCounts::default();
        for (times, limit) in (1..).zip(Limit::ALL) {
            for _ in 0..times {
                counts.clone().reached(*limit);
            }
        }
        let found: Vec<(Limit, u64)> = counts.iter().collect();
        let expected: Vec<(Limit, u64)> = Limit::ALL.iter().copied().zip(1..).collect();
        assert_eq!(found, expected);
    }
}
