//! How often one address is dialled: so many times within any second, whoever asks for it.
//!
//! A thousand domains may have one server, and anybody can make a thousand domains that have his victim's.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::time::{Duration, Instant};
use verona_proto::federation::Errand;

use crate::network::neighbourhood;
use crate::shared::lock;

/// Gives out the moments at which an address (an IPv6 /64) may be dialled.
#[derive(Debug)]
pub(super) struct Pace {
    lanes: Mutex<Lanes>,
}

#[derive(Debug, Default)]
struct Lanes {
    /// Of each kind of errand, within any second: strangers do not use up what we need ourselves.
    per_second: usize,
    wait_max: Duration,
    /// The latest moments given out, in ascending order, as many as there are in a second.
    given: BTreeMap<(IpAddr, Errand), VecDeque<Instant>>,
    /// How many lanes there are when those are looked for that nobody needs any more.
    sweep_at: usize,
}

impl Pace {
    /// At most `dials` within a second to one address, of which strangers may cause half; nobody waits longer than
    /// `wait_max`.
    pub(super) fn new(dials: usize, wait_max: Duration) -> Self {
        let pace = Self {
            lanes: Mutex::default(),
        };
        pace.limit(dials, wait_max);
        pace
    }

    /// The same, with other numbers from now on.
    pub(super) fn limit(&self, dials: usize, wait_max: Duration) {
        let mut lanes = lock(&self.lanes);
        lanes.per_second = (dials / 2).max(1);
        lanes.wait_max = wait_max;
    }

    /// The moment at which the caller may dial `address`, or how long it would have to wait.
    pub(super) fn reserve(&self, address: IpAddr, errand: Errand) -> Result<Instant, Duration> {
        let now = Instant::now();
        let mut lanes = lock(&self.lanes);
        lanes.sweep(now);
        let (per_second, wait_max) = (lanes.per_second, lanes.wait_max);
        let lane = lanes
            .given
            .entry((neighbourhood(address), errand))
            .or_default();
        // More may have been given out than may be from now on.
        while lane.len() > per_second {
            lane.pop_front();
        }
        // What lies a second back counts no more, however many a second may have.
        while lane.front().is_some_and(|first| *first + SECOND <= now) {
            lane.pop_front();
        }
        let free_at = match lane.front() {
            Some(first) if lane.len() >= per_second => *first + SECOND,
            Some(_) | None => now,
        };
        let at = free_at.max(now);
        if at - now > wait_max {
            return Err(at - now);
        }
        if lane.len() >= per_second {
            lane.pop_front();
        }
        lane.push_back(at);
        Ok(at)
    }
}

impl Lanes {
    /// Forgets addresses that were left alone for a second, so that the table grows with what happens now and not with
    /// what ever happened.
    fn sweep(&mut self, now: Instant) {
        if self.given.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.given
            .retain(|_, lane| lane.back().is_some_and(|last| *last + SECOND > now));
        self.sweep_at = self.given.len().saturating_mul(2);
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Fewer lanes than this are not worth looking through.
const SWEEP_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `moments` lie within the fullest second.
    fn fullest(moments: &[Instant]) -> usize {
        moments
            .iter()
            .map(|from| {
                let within = |at: &&Instant| **at >= *from && **at < *from + SECOND;
                moments.iter().filter(within).count()
            })
            .max()
            .unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_dialled_so_often_in_a_second_and_no_more() {
        let pace = Pace::new(10, Duration::from_secs(10));
        let mut moments = Vec::new();
        for _ in 0..100 {
            for errand in [Errand::Own, Errand::Stranger] {
                moments.extend(pace.reserve(address("192.0.2.1"), errand));
            }
            tokio::time::advance(Duration::from_millis(13)).await;
        }
        assert_eq!(fullest(&moments), 10);
        // 11.3 s went by when the last that may wait 10 s asked.
        assert!(moments.len() > 100, "{}", moments.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_waits_and_what_would_wait_too_long_is_refused() {
        let pace = Pace::new(10, Duration::from_secs(2));
        let now = Instant::now();
        let waits: Vec<_> = (0..17)
            .map(|_| pace.reserve(address("192.0.2.1"), Errand::Own))
            .collect();
        for (seconds, share) in waits.chunks(5).enumerate() {
            for wait in share {
                let after = Duration::from_secs(u64::try_from(seconds).unwrap());
                match seconds {
                    0..=2 => assert_eq!(*wait, Ok(now + after)),
                    _ => assert_eq!(*wait, Err(after)),
                }
            }
        }
        // A refusal costs nobody else anything.
        tokio::time::advance(Duration::from_secs(1)).await;
        let next = pace.reserve(address("192.0.2.1"), Errand::Own);
        assert_eq!(next, Ok(now + Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_limit_does_not_make_the_past_be_kept() {
        let pace = Pace::new(usize::MAX, Duration::from_secs(1));
        for _ in 0..10_000 {
            pace.reserve(address("192.0.2.1"), Errand::Own).unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let kept: usize = lock(&pace.lanes).given.values().map(VecDeque::len).sum();
        assert!(kept <= 10, "{kept}");
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_do_not_use_up_what_we_need() {
        let pace = Pace::new(10, Duration::from_secs(1));
        while pace.reserve(address("192.0.2.1"), Errand::Stranger).is_ok() {}
        let own = pace.reserve(address("192.0.2.1"), Errand::Own);
        assert_eq!(own, Ok(Instant::now()));
        // And other addresses are no concern of theirs; an IPv6 /64 is one address, however IPv4 is written.
        let given = |text: &str| pace.reserve(address(text), Errand::Stranger).is_ok();
        assert!(given("192.0.2.2"));
        assert!(!given("::ffff:192.0.2.1"));
        for last in 0..10 {
            assert!(given(&format!("2001:db8:0:1::{last:x}")), "{last}");
        }
        assert!(!given("2001:db8:0:1:ffff::1"));
        assert!(given("2001:db8:0:2::1"));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_nobody_dials_any_more_are_forgotten() {
        let pace = Pace::new(10, Duration::from_secs(1));
        for wave in 0..20_u8 {
            for host in 0..=u8::MAX {
                for net in 0..8 {
                    let address = IpAddr::from([10, wave, net, host]);
                    pace.reserve(address, Errand::Own).unwrap();
                }
            }
            tokio::time::advance(Duration::from_secs(3)).await;
        }
        let kept = lock(&pace.lanes).given.len();
        assert!(kept <= 2 * 2048 + 1, "{kept}");
    }
}
