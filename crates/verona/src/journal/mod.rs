//! The journal: messages of chosen domains are on disk before anybody is told that they are taken.
//!
//! Off by default (ADR 0016). It mirrors what is in memory: a message is in it from when it is read until it has arrived
//! or its sender was told. After a process that was killed the next one delivers what is left, marked as delayed.

mod barrier;
mod book;
mod departures;
mod recovery;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use verona_proto::addr::Domain;
use verona_proto::stanza::{Admitted, Release, Safekeeping, Stanza, StanzaClass, StanzaKind};

use crate::shared::lock;
use crate::status::JournalStatus;
pub(crate) use barrier::Barrier;
pub(crate) use book::Refusal;
use book::{Book, Record};
pub(crate) use departures::Departures;
pub(crate) use recovery::{open, recover};
use store::{Failure, FailureKind};
use writer::Writer;

/// The journal of an engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Inner>);

struct Inner {
    file: PathBuf,
    domains: BTreeSet<Domain>,
    desk: Desk,
    release: Release,
    aside: u64,
    recovered: u64,
    writer: Mutex<Option<Writer>>,
}

/// Where the tasks and the thread that writes meet.
struct Desk {
    book: Mutex<Entries>,
    /// Something is to be written, or the end has come.
    bell: Condvar,
    /// All messages up to this number are safe.
    safe: watch::Sender<u64>,
    /// Nothing is written any more.
    ended: watch::Sender<bool>,
}

struct Entries {
    book: Book,
    stage: Stage,
}

/// How far the journal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The last group is to be written. What is let go from here on stays on disk: nobody delivers it any more.
    Closing,
}

impl Journal {
    /// What was read from a component or a peer, with a copy on its way to the disk if its domain wants that.
    ///
    /// # Errors
    /// The stanza, when no copy can be kept: it is to be returned to its sender.
    pub(crate) fn keep(&self, admitted: Admitted) -> Result<Admitted, (Stanza, Refusal)> {
        let stanza = admitted.stanza();
        let Some(owner) = self.owner(stanza) else {
            return Ok(admitted);
        };
        let record = Record {
            taken: SystemTime::now(),
            stanza: stanza.bytes().clone(),
        };
        let taken = {
            let mut desk = self.0.desk.lock();
            let was_urgent = desk.book.is_urgent();
            let taken = desk.book.take(owner, record);
            if !was_urgent && taken.is_ok() {
                self.0.desk.bell.notify_one();
            }
            taken
        };
        match taken {
            Ok(number) => Ok(admitted.in_safekeeping(self.safekeeping(number))),
            // Nobody could be told that it is refused, so it goes on without a copy.
            Err(_) if stanza.class() == StanzaClass::Error => Ok(admitted),
            Err(refusal) => Err((admitted.into_parts().1, refusal)),
        }
    }

    /// The number up to which all messages are safe, and when it changes.
    pub(crate) fn safe(&self) -> watch::Receiver<u64> {
        self.0.desk.safe.subscribe()
    }

    /// The number up to which all messages are safe.
    pub(crate) fn safe_up_to(&self) -> u64 {
        *self.0.desk.safe.borrow()
    }

    /// The number of the newest message, safe or not.
    pub(crate) fn newest(&self) -> u64 {
        self.0.desk.lock().book.newest()
    }

    /// Waits until all messages up to a number are safe, or nothing is written any more.
    pub(crate) async fn safe_or_ended(&self, number: u64) {
        let (mut safe, mut ended) = (self.safe(), self.0.desk.ended.subscribe());
        tokio::select! {
            // Both only fail with the journal, which is ours.
            _ = safe.wait_for(|safe| *safe >= number) => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
    }

    /// How it stands with the journal.
    pub(crate) fn status(&self) -> JournalStatus {
        let desk = self.0.desk.lock();
        let (usage, counts) = (desk.book.usage(), desk.book.counts);
        JournalStatus {
            file: self.0.file.clone(),
            entries: usage.entries,
            bytes: usage.bytes,
            commits: counts.commits,
            failed_commits: counts.failed_commits,
            commit_time: counts.commit_time,
            refused: counts.refused,
            recovered: self.0.recovered,
            set_aside: self.0.aside,
            failure: desk.book.failure().map(str::to_owned),
        }
    }

    /// Nothing that is let go from here on is removed: for the end, when queues are thrown away with what is in them.
    pub(crate) fn freeze(&self) {
        self.0.desk.lock().stage = Stage::Closing;
        self.0.desk.bell.notify_one();
    }

    /// Writes the last group, and waits for that.
    pub(crate) async fn close(&self) {
        self.freeze();
        let Some(writer) = lock(&self.0.writer).take() else {
            return;
        };
        if tokio::time::timeout(LAST_GROUP, writer.ended)
            .await
            .is_err()
        {
            tracing::error!(file = %self.0.file.display(), "the journal's last group was not written in time");
        }
        self.0.desk.ended.send_replace(true);
    }

    /// Whose message it is, if its domain wants a copy kept: that of the sender before that of the recipient. Whatever has
    /// a copy already needs no other.
    fn owner<'a>(&self, stanza: &'a Stanza) -> Option<&'a Domain> {
        if stanza.kind() != StanzaKind::Message || stanza.safekeeping().is_some() {
            return None;
        }
        [stanza.from(), stanza.to()]
            .into_iter()
            .find(|domain| self.0.domains.contains(*domain))
    }

    fn safekeeping(&self, number: u64) -> Safekeeping {
        Safekeeping::new(number, Arc::clone(&self.0.release))
    }
}

/// Waits until more of a journal is safe.
pub(crate) async fn changed(safe: &mut Option<watch::Receiver<u64>>) {
    if let Some(safe) = safe
        && safe.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl Desk {
    fn new(book: Book) -> Self {
        let safe = watch::Sender::new(book.safe_up_to());
        let stage = Stage::Serving;
        Self {
            book: Mutex::new(Entries { book, stage }),
            bell: Condvar::new(),
            safe,
            ended: watch::Sender::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.book)
    }

    fn release(&self, number: u64) {
        let mut desk = self.lock();
        match desk.stage {
            Stage::Serving => desk.book.release(number),
            Stage::Closing => return,
        }
        self.publish(&desk.book);
        if desk.book.owes() {
            self.bell.notify_one();
        }
    }

    /// Tells who waits for the disk; under the lock, so that the numbers come in order.
    fn publish(&self, book: &Book) {
        let up_to = book.safe_up_to();
        self.safe.send_if_modified(|safe| {
            let is_more = up_to > *safe;
            *safe = up_to.max(*safe);
            is_more
        });
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("file", &self.0.file)
            .field("domains", &self.0.domains)
            .finish_non_exhaustive()
    }
}

/// Why an engine with a journal did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalError {
    file: PathBuf,
    failure: Failure,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(
            f,
            "the journal {file} cannot be opened: {}",
            self.failure.what
        )?;
        match self.failure.kind {
            FailureKind::Taken => {
                f.write_str("; another verona has it: each needs a file of its own")
            }
            FailureKind::Damaged => write!(
                f,
                "; put it aside (mv '{file}' '{file}.damaged') to start without the messages that are in it"
            ),
            FailureKind::System => f.write_str(
                "; its directory must be one that verona may write to, on a disk with room",
            ),
        }
    }
}

impl std::error::Error for JournalError {}

/// How long the last group may take at the end; the daemon itself ends within ten seconds.
const LAST_GROUP: Duration = Duration::from_secs(2);
