//! Holds back what a component is told until what it sent before is safe (SM-11).
//!
//! An answer says that everything before its question was taken. Whoever made the answer does not know what else the
//! component had sent, so all that waits for the component is held: what stands in its queue when the barrier comes down
//! may answer what was sent by then, and may leave when that is on disk.

/// The barrier of one component's connection.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    /// So many may be pulled.
    free: usize,
    down: Option<Down>,
    /// The last number that whoever had the queue before may have sent.
    inherited: u64,
}

#[derive(Debug)]
struct Down {
    /// So many more may be pulled when it lifts.
    behind: usize,
    /// It lifts when all messages up to this number are safe.
    number: u64,
}

impl Barrier {
    /// The queue was another connection's, and messages were numbered up to `number` since: what is in it may answer them.
    pub(crate) fn inherit(&mut self, number: u64) {
        self.inherited = number;
    }

    /// How many of the `queued` stanzas may be pulled, when the connection has sent messages up to number `sent`, and all
    /// up to number `safe` are safe.
    pub(crate) fn free(&mut self, queued: usize, sent: u64, safe: u64) -> usize {
        let sent = sent.max(self.inherited);
        if let Some(down) = self.down.take_if(|down| down.number <= safe) {
            self.free = self.free.saturating_add(down.behind);
        }
        if sent <= safe {
            self.down = None;
            self.free = queued;
        } else if self.down.is_none() {
            let behind = queued.saturating_sub(self.free);
            // A barrier with nothing behind it would hold what comes next for longer than it must.
            self.down = (behind > 0).then_some(Down {
                behind,
                number: sent,
            });
        }
        self.free = self.free.min(queued);
        self.free
    }

    /// So many were pulled.
    pub(crate) fn pulled(&mut self, count: usize) {
        self.free = self.free.saturating_sub(count);
    }

    /// Whether something waits for the disk.
    pub(crate) fn is_down(&self) -> bool {
        self.down.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_messages_nothing_is_held() {
        let mut barrier = Barrier::default();
        assert_eq!(barrier.free(5, 0, 0), 5);
        assert!(!barrier.is_down());
    }

    #[test]
    fn an_answer_leaves_when_what_was_sent_before_it_is_safe() {
        //= SM-11
        let mut barrier = Barrier::default();
        assert_eq!(barrier.free(1, 3, 2), 0);
        assert!(barrier.is_down());
        // More is sent and answered meanwhile: the first answer does not wait for that.
        assert_eq!(barrier.free(2, 9, 2), 0);
        assert_eq!(barrier.free(2, 9, 3), 1);
        barrier.pulled(1);
        assert_eq!(barrier.free(1, 9, 8), 0, "the second waits for all nine");
        assert_eq!(barrier.free(1, 9, 9), 1);
        barrier.pulled(1);
        assert_eq!(barrier.free(0, 10, 9), 0);
        assert!(!barrier.is_down(), "there is nothing to hold");
        assert_eq!(barrier.free(1, 10, 9), 0);
    }

    #[test]
    fn what_answers_a_former_connection_waits_for_what_that_had_sent() {
        //= SM-11
        let mut barrier = Barrier::default();
        barrier.inherit(3);
        assert_eq!(barrier.free(2, 0, 2), 0);
        assert!(barrier.is_down());
        assert_eq!(barrier.free(2, 0, 3), 2);
        assert!(!barrier.is_down());
    }

    #[test]
    fn under_a_standing_stream_of_messages_answers_still_leave() {
        let mut barrier = Barrier::default();
        let (mut left, mut safe) = (0, 0);
        for sent in 1..100_u64 {
            // The disk is always three messages behind.
            safe = safe.max(sent.saturating_sub(3));
            let queued = usize::try_from(sent).unwrap_or(0) - left;
            for _ in 0..barrier.free(queued, sent, safe) {
                barrier.pulled(1);
                left += 1;
            }
            let answered = u64::try_from(left).unwrap_or(0);
            assert!(answered <= safe, "{answered} answers, {safe} are safe");
        }
        assert!(left > 80, "only {left} left");
    }
}
