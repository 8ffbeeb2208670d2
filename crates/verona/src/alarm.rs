//! One timer for everything that a connection waits for.
//!
//! A connection has half a dozen deadlines, and nearly all of them are put off by whatever happens, many thousand times a
//! second. So its timer is left alone when it would ring too early: then it is set anew, when it does.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings at the time that it was set to, or before.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(crate) fn new(at: Instant) -> Self {
        Self(Box::pin(sleep_until(at)))
    }

    /// It must ring at `at` at the latest.
    pub(crate) fn set(&mut self, at: Instant) {
        if at < self.0.deadline() || self.0.is_elapsed() {
            self.0.as_mut().reset(at);
        }
    }

    /// Whoever hears it looks which of its deadlines have passed: there may be none.
    pub(crate) async fn rings(&mut self) {
        self.0.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_rings_in_time_and_early_when_it_was_put_off() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(at(10));
        alarm.set(at(5));
        alarm.rings().await;
        assert_eq!(Instant::now(), at(5));
        alarm.set(at(7));
        alarm.set(at(20));
        alarm.rings().await;
        assert_eq!(Instant::now(), at(7), "it was left alone");
        alarm.set(at(20));
        alarm.rings().await;
        assert_eq!(Instant::now(), at(20));
        alarm.set(at(1));
        alarm.rings().await;
        assert_eq!(Instant::now(), at(20), "what has passed rings at once");
    }
}
