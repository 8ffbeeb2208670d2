//! What the journal has and what it owes to the disk, without a disk.
//!
//! A message is safe when it is on disk, or when it is no longer needed; both count, so one that arrives sooner than the
//! disk turns is never written. Everything waiting goes into the next group (one flush for all of it).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use verona_proto::addr::Domain;
use verona_proto::limits::Limit;

/// The accounts. Numbers grow by one with each message.
#[derive(Debug)]
pub(super) struct Book {
    bounds: Bounds,
    next: u64,
    /// Whose each message is, and its bytes.
    owners: BTreeMap<u64, (Domain, u64)>,
    usage: BTreeMap<Domain, Usage>,
    /// For the next group.
    waiting: BTreeMap<u64, Record>,
    /// Of the group that is being written.
    writing: BTreeMap<u64, Record>,
    /// Needed, and not on disk yet.
    exposed: BTreeSet<u64>,
    /// On disk, or on the way there, and not needed.
    removed: Vec<u64>,
    failure: Option<String>,
    pub(super) counts: Counts,
}

/// One message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// When it was taken.
    pub(super) taken: SystemTime,
    pub(super) stanza: Arc<[u8]>,
}

/// What one domain may have in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) commits: u64,
    pub(super) failed_commits: u64,
    pub(super) commit_time: Duration,
    pub(super) refused: u64,
}

/// What one flush makes durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) added: Vec<(u64, Record)>,
    pub(super) removed: Vec<u64>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The domain has as much in the journal as it may, by this limit.
    Full(Limit),
    /// The disk does not take anything at the moment.
    Broken,
}

impl Book {
    /// `next` is the first number that was never used.
    pub(super) fn new(bounds: Bounds, next: u64) -> Self {
        Self {
            bounds,
            next,
            owners: BTreeMap::new(),
            usage: BTreeMap::new(),
            waiting: BTreeMap::new(),
            writing: BTreeMap::new(),
            exposed: BTreeSet::new(),
            removed: Vec::new(),
            failure: None,
            counts: Counts::default(),
        }
    }

    /// Takes a message, and numbers it.
    pub(super) fn take(&mut self, owner: &Domain, record: Record) -> Result<u64, Refusal> {
        let used = self.usage.get(owner).copied().unwrap_or_default();
        let bytes = length(&record.stanza);
        let refusal = if self.failure.is_some() {
            Some(Refusal::Broken)
        } else if used.entries >= self.bounds.entries {
            Some(Refusal::Full(Limit::JournalEntriesMax))
        } else if used.bytes.saturating_add(bytes) > self.bounds.bytes {
            Some(Refusal::Full(Limit::JournalBytesMax))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.counts.refused += 1;
            return Err(refusal);
        }
        let number = self.next;
        self.next += 1;
        self.own(number, owner, bytes);
        self.waiting.insert(number, record);
        self.exposed.insert(number);
        Ok(number)
    }

    /// Notes a message that an earlier run left on disk. It counts, and is never refused.
    pub(super) fn own(&mut self, number: u64, owner: &Domain, bytes: u64) {
        let usage = self.usage.entry(owner.clone()).or_default();
        usage.entries += 1;
        usage.bytes += bytes;
        self.owners.insert(number, (owner.clone(), bytes));
    }

    /// A message is no longer needed: it has arrived, or its sender was told.
    pub(super) fn release(&mut self, number: u64) {
        let Some((owner, bytes)) = self.owners.remove(&number) else {
            return;
        };
        if let Some(usage) = self.usage.get_mut(&owner) {
            usage.entries = usage.entries.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(bytes);
            if usage.entries == 0 {
                self.usage.remove(&owner);
            }
        }
        self.exposed.remove(&number);
        if self.waiting.remove(&number).is_none() {
            self.removed.push(number);
        }
    }

    /// Everything that waits. It comes back by [`written`](Self::written) or [`not_written`](Self::not_written).
    pub(super) fn group(&mut self) -> Group {
        self.writing = std::mem::take(&mut self.waiting);
        Group {
            added: self
                .writing
                .iter()
                .map(|(number, record)| (*number, record.clone()))
                .collect(),
            removed: std::mem::take(&mut self.removed),
        }
    }

    /// The group is on disk.
    pub(super) fn written(&mut self, group: &Group, took: Duration) {
        self.writing.clear();
        for (number, _) in &group.added {
            self.exposed.remove(number);
        }
        self.counts.commits += 1;
        self.counts.commit_time += took;
        self.failure = None;
    }

    /// The group may or may not be on disk: it waits again, but for what is no longer needed. Until a group is written
    /// nothing more is taken.
    pub(super) fn not_written(&mut self, group: Group, why: String) {
        let exposed = &self.exposed;
        self.waiting.extend(
            std::mem::take(&mut self.writing)
                .into_iter()
                .filter(|(number, _)| exposed.contains(number)),
        );
        self.removed.splice(0..0, group.removed);
        self.counts.failed_commits += 1;
        self.failure = Some(why);
    }

    /// All messages up to this number are safe.
    pub(super) fn safe_up_to(&self) -> u64 {
        self.exposed.first().unwrap_or(&self.next).saturating_sub(1)
    }

    /// The number of the newest message.
    pub(super) fn newest(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Whether a message waits for a group: that is urgent.
    pub(super) fn is_urgent(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether there is something to write at all.
    pub(super) fn owes(&self) -> bool {
        self.is_urgent() || !self.removed.is_empty()
    }

    /// Why the last group was not written, while that is so.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// What all domains have in the journal.
    pub(super) fn usage(&self) -> Usage {
        self.usage
            .values()
            .fold(Usage::default(), |sum, usage| Usage {
                entries: sum.entries + usage.entries,
                bytes: sum.bytes + usage.bytes,
            })
    }
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn book() -> Book {
        let bounds = Bounds {
            entries: 3,
            bytes: 100,
        };
        Book::new(bounds, 1)
    }

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn record(bytes: usize) -> Record {
        Record {
            taken: SystemTime::UNIX_EPOCH,
            stanza: Arc::from(vec![b'x'; bytes]),
        }
    }

    fn take(book: &mut Book, bytes: usize) -> Result<u64, Refusal> {
        book.take(&domain("rooms.capulet.lit"), record(bytes))
    }

    #[test]
    fn a_message_is_safe_when_it_is_on_disk() {
        //= SM-11
        let mut book = book();
        assert_eq!(book.safe_up_to(), 0);
        assert_eq!((take(&mut book, 1), take(&mut book, 1)), (Ok(1), Ok(2)));
        assert_eq!((book.safe_up_to(), book.newest()), (0, 2));
        let group = book.group();
        assert_eq!(group.added.len(), 2, "one flush for all that waits");
        assert_eq!(take(&mut book, 1), Ok(3));
        assert_eq!(book.safe_up_to(), 0, "it is only being written");
        book.written(&group, Duration::ZERO);
        assert_eq!(book.safe_up_to(), 2);
        assert!(book.is_urgent());
    }

    #[test]
    fn what_arrives_sooner_than_the_disk_turns_is_never_written() {
        let mut book = book();
        take(&mut book, 1).unwrap();
        take(&mut book, 1).unwrap();
        book.release(2);
        assert_eq!(book.safe_up_to(), 0, "the first is not safe");
        book.release(1);
        assert_eq!(book.safe_up_to(), 2);
        assert!(!book.owes());
        assert_eq!(book.usage(), Usage::default());
        book.release(1);
        assert!(!book.owes(), "once is enough");
    }

    #[test]
    fn what_is_let_go_while_it_is_written_is_removed_by_the_next_group() {
        let mut book = book();
        take(&mut book, 1).unwrap();
        let group = book.group();
        book.release(1);
        assert_eq!(book.safe_up_to(), 1, "nobody needs it");
        book.written(&group, Duration::ZERO);
        assert_eq!(book.group().removed, [1]);
    }

    #[test]
    fn a_domain_that_has_its_share_is_refused_and_another_is_not() {
        let mut book = book();
        assert_eq!(take(&mut book, 99), Ok(1));
        let full = |limit| Err(Refusal::Full(limit));
        assert_eq!(take(&mut book, 2), full(Limit::JournalBytesMax));
        assert_eq!((take(&mut book, 1), take(&mut book, 0)), (Ok(2), Ok(3)));
        assert_eq!(take(&mut book, 0), full(Limit::JournalEntriesMax));
        assert_eq!(book.take(&domain("capulet.lit"), record(100)), Ok(4));
        book.release(1);
        assert_eq!(take(&mut book, 2), Ok(5));
        assert_eq!(book.counts.refused, 2);
    }

    #[test]
    fn a_disk_that_takes_nothing_loses_nothing_and_takes_nothing_more() {
        let mut book = book();
        for _ in 0..3 {
            take(&mut book, 1).unwrap();
        }
        book.own(9, &domain("capulet.lit"), 5);
        book.release(9);
        let group = book.group();
        assert_eq!(group.removed, [9]);
        book.release(2);
        book.not_written(group, "no space".into());
        assert_eq!(book.failure(), Some("no space"));
        assert_eq!(
            book.take(&domain("capulet.lit"), record(1)),
            Err(Refusal::Broken)
        );
        let again = book.group();
        let numbers: Vec<u64> = again.added.iter().map(|(number, _)| *number).collect();
        assert_eq!(
            (numbers.as_slice(), again.removed.as_slice()),
            (&[1, 3][..], &[9, 2][..])
        );
        assert_eq!(book.safe_up_to(), 0);
        book.written(&again, Duration::ZERO);
        assert_eq!((book.safe_up_to(), book.failure()), (3, None));
        assert_eq!(take(&mut book, 1), Ok(4));
    }

    #[test]
    fn while_the_disk_takes_nothing_what_is_delivered_is_safe() {
        let mut book = book();
        take(&mut book, 1).unwrap();
        let group = book.group();
        book.not_written(group, "no space".into());
        book.release(1);
        assert_eq!(book.safe_up_to(), 1);
        assert!(!book.is_urgent());
    }
}
