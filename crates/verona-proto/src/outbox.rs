//! The queue of one domain pair, or of one component.
//!
//! The queue belongs to the pair and not to a connection. Whoever has a stanza for the pair holds a [`Feeder`]; exactly
//! one owner holds the [`Drain`], and the drain moves. So the order survives a reconnection, and that a flow has one
//! output stream (RFC 6120 §10.1, ROUTE-10) is a fact of ownership:
//!
//! ```compile_fail,E0599
//! # use verona_proto::outbox::{self, OutboxLimit};
//! let (_feeder, drain) = outbox::new(OutboxLimit { stanzas: 8, bytes: 4096 });
//! let again = drain.clone(); // a drain is unique
//! ```
//!
//! What is pulled is not gone: it stays until it is acknowledged, and until then it counts towards the limit. So
//! neither a panic nor a lost connection can lose a stanza silently or make the queue grow.

mod share;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use share::{Budget, Share};

use crate::stanza::{Stanza, StanzaClass};
use share::Need;

/// Makes a queue that holds no more than `limit`, and its two ends.
#[must_use]
pub fn new(limit: OutboxLimit) -> (Feeder, Drain) {
    make(limit, None)
}

/// Makes a queue that holds no more than `limit`, and no more than its party may have of what all queues together may
/// hold.
#[must_use]
pub fn sharing(limit: OutboxLimit, share: &Arc<Share>) -> (Feeder, Drain) {
    make(limit, Some(Arc::clone(share)))
}

fn make(limit: OutboxLimit, share: Option<Arc<Share>>) -> (Feeder, Drain) {
    let mut contents = Contents::default();
    contents.share = share;
    let queue = Arc::new(Queue {
        stanzas_max: AtomicUsize::new(limit.stanzas),
        bytes_max: AtomicUsize::new(limit.bytes),
        contents: Mutex::new(contents),
    });
    (Feeder(Arc::clone(&queue)), Drain(queue))
}

/// What a queue may hold, the stanzas that are pulled and not acknowledged included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimit {
    /// How many stanzas.
    pub stanzas: usize,
    /// How many bytes, all stanzas together.
    pub bytes: usize,
}

/// Called when a queue that had nothing to pull has something. It runs in the task that pushes: it should do no more
/// than wake the task that holds the drain.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// The end that takes stanzas; anyone may have one.
#[derive(Clone, Debug)]
pub struct Feeder(Arc<Queue>);

impl Feeder {
    /// Appends a stanza.
    ///
    /// # Errors
    /// [`Refused`] gives the stanza back; the newest is refused, which keeps the order (ROUTE-23).
    pub fn push(&self, stanza: Stanza, now: Instant) -> Result<(), Refused> {
        self.push_within(Some(self.0.limit()), stanza, now)
    }

    /// Appends a stanza that was taken before a restart, whatever there is: it was within a limit then, and it must not
    /// be refused now.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn restore(&self, stanza: Stanza, now: Instant) -> Result<(), Refused> {
        self.push_within(None, stanza, now)
    }

    /// Without a limit anything goes, the share of all queues included.
    fn push_within(
        &self,
        limit: Option<OutboxLimit>,
        stanza: Stanza,
        now: Instant,
    ) -> Result<(), Refused> {
        let mut contents = self.0.lock();
        contents.observe(now);
        if contents.end == End::Closed {
            return Err(Refused::Closed(stanza));
        }
        //= ROUTE-23
        let bytes = contents.bytes.saturating_add(stanza.bytes().len());
        match limit {
            Some(limit) => {
                if contents.entries.len() >= limit.stanzas {
                    return Err(Refused::Full(stanza, Measure::Stanzas));
                }
                if bytes > limit.bytes {
                    return Err(Refused::Full(stanza, Measure::Bytes));
                }
                if !contents.has_share_of(&stanza) {
                    return Err(Refused::Crowded(stanza));
                }
            }
            None => {
                if let Some(share) = &contents.share {
                    share.take_anyway(cost(1, stanza.bytes().len()));
                }
            }
        }
        let was_empty = contents.queued() == 0;
        contents.bytes = bytes;
        //= ROUTE-09
        if contents.entries.capacity() == 0 {
            contents.entries.reserve_exact(CAPACITY_KEPT);
        }
        contents.entries.push_back(Entry { stanza, since: now });
        let bell = contents.bell.clone().filter(|_| was_empty);
        drop(contents);
        ring(bell);
        Ok(())
    }

    /// How many stanzas wait to be pulled.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.lock().queued()
    }

    /// The bytes of all stanzas in the queue, pulled or not.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// When the oldest stanza that waits to be pulled was pushed.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.0.lock().oldest()
    }

    /// Whether nothing can be pushed any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.lock().end == End::Closed
    }

    /// Whether something left the queue, or was pulled, within the last `duration`: is it worth waiting for room?
    ///
    /// Pulling reads no clock, so what moved since the last call here or the last push counts as having moved at the
    /// time of this call.
    #[must_use]
    pub fn drained_within(&self, now: Instant, duration: Duration) -> bool {
        let mut contents = self.0.lock();
        contents.observe(now);
        contents
            .drained
            .is_some_and(|at| now.saturating_duration_since(at) <= duration)
    }

    /// A drain in the place of one that was dropped; `None` while there is one, and when the queue is closed.
    ///
    /// What the dropped one had pulled is still [`unacknowledged`](Drain::unacknowledged): nobody knows whether it
    /// arrived.
    #[must_use]
    pub fn reclaim(&self) -> Option<Drain> {
        let mut contents = self.0.lock();
        match contents.end {
            End::Orphaned => {
                contents.end = End::Held;
                Some(Drain(Arc::clone(&self.0)))
            }
            End::Held | End::Closed => None,
        }
    }

    /// The queue may hold so much from now on; what is in it stays.
    pub fn set_limit(&self, limit: OutboxLimit) {
        self.0.stanzas_max.store(limit.stanzas, Ordering::Relaxed);
        self.0.bytes_max.store(limit.bytes, Ordering::Relaxed);
    }

    /// Whether both feed the same queue.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Why a stanza was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue is at its limit, of what the second says.
    Full(Stanza, Measure),
    /// All queues together are, as far as this one may draw on it.
    Crowded(Stanza),
    /// The queue has ended: another one takes its place.
    Closed(Stanza),
}

/// In what a queue can be full ([`OutboxLimit`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// It holds as many stanzas as it may.
    Stanzas,
    /// The stanza has more bytes than are left.
    Bytes,
}

impl Refused {
    /// The stanza.
    #[must_use]
    pub fn into_stanza(self) -> Stanza {
        match self {
            Self::Full(stanza, _) | Self::Crowded(stanza) | Self::Closed(stanza) => stanza,
        }
    }
}

/// What becomes of a stanza of which nobody knows whether it arrived (SM-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its sender is told that this is so.
    Return,
    /// It is sent again, in this form, which says that it was delayed.
    Resend(Stanza),
}

/// The end that gives stanzas; there is one. Dropping it leaves the queue to [`Feeder::reclaim`].
#[derive(Debug)]
pub struct Drain(Arc<Queue>);

impl Drain {
    /// The oldest stanza that was not pulled yet. It remains in the queue until it is acknowledged.
    #[must_use = "a pulled stanza is to be written, or to be put back by `requeue`"]
    pub fn pull(&mut self) -> Option<Stanza> {
        let mut contents = self.0.lock();
        let stanza = contents.entries.get(contents.pulled)?.stanza.clone();
        contents.pulled += 1;
        contents.moved = true;
        Some(stanza)
    }

    /// Pulls stanzas until they come to `bytes` together, the one that reaches it included, and `count` at most. They are
    /// appended to `stanzas`.
    pub fn pull_up_to(&mut self, bytes: usize, count: usize, stanzas: &mut VecDeque<Stanza>) {
        let mut contents = self.0.lock();
        let mut total = 0_usize;
        let waiting = contents.entries.iter().skip(contents.pulled).take(count);
        let pulled = waiting
            .clone()
            .take_while(|entry| {
                let is_within = total < bytes;
                total = total.saturating_add(entry.stanza.bytes().len());
                is_within
            })
            .count();
        stanzas.extend(waiting.take(pulled).map(|entry| entry.stanza.clone()));
        contents.pulled += pulled;
        contents.moved |= pulled > 0;
    }

    /// The `count` stanzas pulled last wait again, in front of those that were not pulled: they were not taken. Whoever puts
    /// them back knows of it, so no bell is rung.
    pub fn put_back(&mut self, count: usize) {
        let mut contents = self.0.lock();
        contents.pulled = contents.pulled.saturating_sub(count);
    }

    /// Removes the oldest `count` stanzas that were pulled: they have arrived, or all that can be known is that they
    /// were written. More than were pulled is as many as were pulled.
    pub fn acknowledge(&mut self, count: usize) {
        let mut contents = self.0.lock();
        let count = count.min(contents.pulled);
        contents.pulled -= count;
        contents.forget(count);
    }

    /// How many stanzas are pulled and not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.0.lock().pulled
    }

    /// Makes everything that is not acknowledged wait again, in front and in order: it certainly did not arrive.
    pub fn requeue(&mut self) {
        let mut contents = self.0.lock();
        let had_none = contents.queued() == 0;
        contents.pulled = 0;
        let bell = contents
            .bell
            .clone()
            .filter(|_| had_none && contents.queued() > 0);
        drop(contents);
        ring(bell);
    }

    /// As [`requeue`](Self::requeue), where of the first `uncertain` stanzas nobody knows whether they arrived: `fate`
    /// decides what becomes of each, told since when it was in the queue. Those behind them certainly did not arrive.
    /// More than were pulled is as many as were pulled.
    #[must_use = "each of them is to be returned to its sender"]
    pub fn settle(
        &mut self,
        uncertain: usize,
        mut fate: impl FnMut(&Stanza, Instant) -> Fate,
    ) -> Vec<Stanza> {
        let mut returned = Vec::new();
        {
            let mut contents = self.0.lock();
            let mut position = 0;
            for _ in 0..uncertain.min(contents.pulled) {
                let Some(entry) = contents.entries.get_mut(position) else {
                    break;
                };
                match fate(&entry.stanza, entry.since) {
                    Fate::Return => returned.extend(contents.remove(position, 1)),
                    Fate::Resend(stanza) => {
                        let before = std::mem::replace(&mut entry.stanza, stanza).bytes().len();
                        let after = entry.stanza.bytes().len();
                        contents.bytes =
                            contents.bytes.saturating_sub(before).saturating_add(after);
                        if let Some(share) = &contents.share {
                            share.take_anyway(after);
                            share.give_back(before);
                        }
                        position += 1;
                    }
                }
            }
        }
        self.requeue();
        returned
    }

    /// Takes out the stanzas that wait to be pulled and were pushed before `before` (ROUTE-24).
    #[must_use = "each of them is to be returned to its sender"]
    pub fn expire(&mut self, before: Instant) -> Vec<Stanza> {
        //= ROUTE-24
        let mut contents = self.0.lock();
        let start = contents.pulled;
        let count = contents
            .entries
            .iter()
            .skip(start)
            .take_while(|entry| entry.since < before)
            .count();
        contents.remove(start, count)
    }

    /// When the oldest stanza that waits to be pulled was pushed.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.0.lock().oldest()
    }

    /// How many stanzas wait to be pulled.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.lock().queued()
    }

    /// Ends the queue if nothing is in it; a push comes either before that, or is refused.
    ///
    /// # Errors
    /// The drain, when there is something in the queue, pulled or not.
    pub fn close_if_empty(self) -> Result<(), Self> {
        let mut contents = self.0.lock();
        if contents.entries.is_empty() {
            contents.close();
            Ok(())
        } else {
            drop(contents);
            Err(self)
        }
    }

    /// Ends the queue and takes out all that is in it, pulled or not, oldest first.
    #[must_use = "each of them is to be returned to its sender"]
    pub fn close(self) -> Vec<Stanza> {
        let mut contents = self.0.lock();
        contents.close();
        contents.pulled = 0;
        let count = contents.entries.len();
        contents.remove(0, count)
    }

    /// Has `bell` rung when there is something to pull again, and at once if there is something. The former bell is
    /// silent from now on, but for a ring that is already on its way.
    pub fn ring_with(&mut self, bell: Bell) {
        let mut contents = self.0.lock();
        let now = (contents.queued() > 0).then(|| Arc::clone(&bell));
        contents.bell = Some(bell);
        drop(contents);
        ring(now);
    }

    /// Has no bell rung any more.
    pub fn silence(&mut self) {
        self.0.lock().bell = None;
    }

    /// A feeder of the same queue.
    #[must_use]
    pub fn feeder(&self) -> Feeder {
        Feeder(Arc::clone(&self.0))
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        let mut contents = self.0.lock();
        contents.bell = None;
        contents.end = match contents.end {
            End::Held | End::Orphaned => End::Orphaned,
            End::Closed => End::Closed,
        };
    }
}

#[derive(Debug)]
struct Queue {
    stanzas_max: AtomicUsize,
    bytes_max: AtomicUsize,
    contents: Mutex<Contents>,
}

impl Queue {
    fn limit(&self) -> OutboxLimit {
        OutboxLimit {
            stanzas: self.stanzas_max.load(Ordering::Relaxed),
            bytes: self.bytes_max.load(Ordering::Relaxed),
        }
    }

    /// Nothing that runs under the lock can leave the contents half changed, so poison says nothing about them.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Contents {
    /// Oldest first; the first `pulled` of them are pulled.
    entries: VecDeque<Entry>,
    pulled: usize,
    bytes: usize,
    /// Its part in what all queues may hold.
    share: Option<Arc<Share>>,
    end: End,
    bell: Option<Bell>,
    /// Something was pulled or left since `drained` was last brought up to date.
    moved: bool,
    drained: Option<Instant>,
}

impl Contents {
    fn queued(&self) -> usize {
        self.entries.len().saturating_sub(self.pulled)
    }

    fn oldest(&self) -> Option<Instant> {
        self.entries.get(self.pulled).map(|entry| entry.since)
    }

    /// Takes room for one more among all queues, if there is.
    fn has_share_of(&self, stanza: &Stanza) -> bool {
        let Some(share) = &self.share else {
            return true;
        };
        let need = match stanza.class() {
            StanzaClass::Error => Need::Error,
            StanzaClass::Request | StanzaClass::Answer | StanzaClass::Other => Need::Ordinary,
        };
        let held = cost(self.entries.len(), self.bytes);
        share.take(held, cost(1, stanza.bytes().len()), need)
    }

    fn observe(&mut self, now: Instant) {
        if std::mem::take(&mut self.moved) {
            self.drained = Some(now);
        }
    }

    /// Takes `count` entries out, from `start` on; both lie within the entries.
    fn remove(&mut self, start: usize, count: usize) -> Vec<Stanza> {
        let end = start.saturating_add(count).min(self.entries.len());
        let taken: Vec<Stanza> = self
            .entries
            .drain(start.min(end)..end)
            .map(|entry| entry.stanza)
            .collect();
        let bytes: usize = taken.iter().map(|stanza| stanza.bytes().len()).sum();
        self.left(taken.len(), bytes);
        taken
    }

    /// Removes the oldest `count` entries.
    fn forget(&mut self, count: usize) {
        let count = count.min(self.entries.len());
        let bytes = self
            .entries
            .drain(..count)
            .map(|entry| entry.stanza.bytes().len())
            .sum();
        self.left(count, bytes);
    }

    fn left(&mut self, count: usize, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(share) = &self.share {
            share.give_back(cost(count, bytes));
        }
        self.moved |= count > 0;
        if self.entries.is_empty() && self.entries.capacity() > CAPACITY_KEPT {
            self.entries = VecDeque::new();
        }
    }

    fn close(&mut self) {
        self.end = End::Closed;
        self.bell = None;
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            share.give_back(cost(self.entries.len(), self.bytes));
        }
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents")
            .field("queued", &self.queued())
            .field("pulled", &self.pulled)
            .field("bytes", &self.bytes)
            .field("end", &self.end)
            .field("rings", &self.bell.is_some())
            .finish()
    }
}

/// Room for this many stanzas is kept by an empty queue; a burst that is over holds no memory, for there may be a
/// hundred thousand queues.
const CAPACITY_KEPT: usize = 1;

/// What so many stanzas of so many bytes together take.
fn cost(count: usize, bytes: usize) -> usize {
    bytes.saturating_add(count.saturating_mul(STANZA_COST))
}

/// What a stanza takes beside its bytes: its place in a queue that grows by doubling, its two domains, and what the
/// allocator adds.
pub const STANZA_COST: usize = 384;

#[derive(Debug)]
struct Entry {
    stanza: Stanza,
    since: Instant,
}

/// Who empties the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// The owner of the drain.
    #[default]
    Held,
    /// Nobody: the drain was dropped.
    Orphaned,
    /// Nobody any more.
    Closed,
}

/// Outside the lock: a bell may do anything, asking the queue included.
fn ring(bell: Option<Bell>) {
    if let Some(bell) = bell {
        bell();
    }
}

#[cfg(test)]
mod tests;
