//! How fast one connection is read: a bucket of one second's worth of bytes that refills evenly (LIM-11).
//!
//! When it is empty the connection is not read, and TCP slows the sender down: nothing is dropped.

use tokio::time::{Duration, Instant};

/// A token bucket, kept as the moment at which it is full again.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: u64,
    full_at: Instant,
}

impl Throttle {
    /// A full bucket of `bytes_per_second`.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            full_at: Instant::now(),
        }
    }

    /// So many bytes were read now. The last read may take more than there was: the debt is waited for. Says whether it is.
    pub(crate) fn spend(&mut self, bytes: usize, now: Instant) -> bool {
        let nanos = u128::try_from(bytes)
            .unwrap_or(u128::MAX)
            .saturating_mul(NANOS_PER_SECOND)
            / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(COST_MAX);
        self.full_at = self.full_at.max(now) + cost;
        self.full_at.saturating_duration_since(now) > BURST
    }

    /// How much the next read may take: what is in the bucket, or a little, so that few bytes are not read one by one.
    pub(crate) fn room(&self, now: Instant) -> usize {
        let left = BURST.saturating_sub(self.full_at.saturating_duration_since(now));
        let bytes = left.as_nanos() * u128::from(self.bytes_per_second) / NANOS_PER_SECOND;
        usize::try_from(bytes).unwrap_or(usize::MAX).max(READ_LEAST)
    }

    /// Until when nothing is to be read; `None` while there is something in the bucket.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        let empty_until = self.full_at.checked_sub(BURST)?;
        (empty_until > now).then_some(empty_until)
    }
}

/// What may come at once: one second's worth.
const BURST: Duration = Duration::from_secs(1);
/// One read is paid for within this, however low the limit: a clock must not overflow.
const COST_MAX: Duration = Duration::from_secs(3600);
const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// A read may take so much though less is in the bucket.
const READ_LEAST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_a_second_is_free_and_the_rest_waits() {
        //= LIM-11
        let mut throttle = Throttle::new(1000);
        assert!(!throttle.spend(1000, Instant::now()), "the burst");
        assert_eq!(throttle.until(Instant::now()), None);
        let began = Instant::now();
        assert!(throttle.spend(500, Instant::now()));
        let until = throttle.until(Instant::now());
        assert_eq!(until, Some(began + Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(499)).await;
        assert!(throttle.until(Instant::now()).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(throttle.until(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn over_a_minute_the_rate_is_kept_whatever_the_pieces() {
        for piece in [1, 7, 999, 16_384] {
            let mut throttle = Throttle::new(1000);
            let began = Instant::now();
            let mut read = 0;
            while began.elapsed() < Duration::from_secs(60) {
                match throttle.until(Instant::now()) {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => {
                        throttle.spend(piece, Instant::now());
                        read += piece;
                        // A read takes a moment itself.
                        tokio::time::advance(Duration::from_micros(10)).await;
                    }
                }
            }
            let (fair, burst) = (60_000, 1000);
            assert!(read <= fair + burst + 2 * piece, "{piece}: {read}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_takes_what_is_there_or_a_little() {
        //= LIM-11
        let mut throttle = Throttle::new(64 * 1024);
        assert_eq!(throttle.room(Instant::now()), 64 * 1024);
        throttle.spend(40 * 1024, Instant::now());
        assert_eq!(throttle.room(Instant::now()), 24 * 1024);
        throttle.spend(20 * 1024, Instant::now());
        assert_eq!(throttle.room(Instant::now()), READ_LEAST);
        assert_eq!(Throttle::new(u64::MAX).room(Instant::now()), usize::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_rests_holds_no_more_than_a_second() {
        let mut throttle = Throttle::new(1000);
        tokio::time::advance(Duration::from_secs(100)).await;
        throttle.spend(2000, Instant::now());
        assert!(throttle.until(Instant::now()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_lowest_limit_does_not_overflow_the_clock() {
        let mut throttle = Throttle::new(0);
        for _ in 0..100 {
            throttle.spend(usize::MAX, Instant::now());
        }
        assert!(throttle.until(Instant::now()).is_some());
    }
}
