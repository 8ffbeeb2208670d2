//! Numbers that look random and come from a seed.
//! Why our own: a run that found something must be had again, from the number that it printed.

use std::time::Duration;

/// A row of numbers that its seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The row of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        let span = most.saturating_sub(least).saturating_add(1);
        least + self.next() % span
    }

    /// Whether something happens that happens once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.between(1, times.max(1)) == 1
    }

    /// A time from `least` to `most`, in whole milliseconds.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.between(millis(least), millis(most)))
    }

    /// One of these; `None` if there is none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let last = u64::try_from(all.len()).ok()?.checked_sub(1)?;
        all.get(usize::try_from(self.between(0, last)).ok()?)
    }

    /// Puts these into an order by chance.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for index in (1..all.len()).rev() {
            let most = u64::try_from(index).unwrap_or(0);
            all.swap(index, usize::try_from(self.between(0, most)).unwrap_or(0));
        }
    }
}

/// A seed by the clock, for whoever names none.
#[must_use]
pub fn seed() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs() ^ u64::from(since.subsec_nanos()) << 20)
        // Few digits: people type it.
        % 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_row_and_bounds_hold() {
        let (mut one, mut same, mut other) = (Chance::new(7), Chance::new(7), Chance::new(8));
        let row = |chance: &mut Chance| -> Vec<u64> { (0..50).map(|_| chance.next()).collect() };
        let first = row(&mut one);
        assert_eq!(first, row(&mut same));
        assert_ne!(first, row(&mut other));
        let drawn: Vec<u64> = (0..200).map(|_| one.between(3, 5)).collect();
        for wanted in 3..=5 {
            assert!(drawn.contains(&wanted), "never {wanted}");
        }
        assert!(drawn.iter().all(|number| (3..=5).contains(number)));
        assert_eq!(one.one_of::<u8>(&[]), None);
        let mut order: Vec<u64> = (0..20).collect();
        one.shuffle(&mut order);
        assert_ne!(order, (0..20).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}
