//! The thread that writes the journal: it owns the file, and flushes once for everything that waits.
//!
//! A thread and no task, for a flush blocks; and one, for the flush is what costs, so two would do it twice.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::book::Group;
use super::store::{Failure, Store};
use super::{Desk, Journal, Stage};

/// The running thread.
pub(super) struct Writer {
    /// Answered, or dropped, when the last group is written.
    pub(super) ended: oneshot::Receiver<()>,
}

impl Writer {
    pub(super) fn start(journal: &Journal, store: Store) -> std::io::Result<Self> {
        let (done, ended) = oneshot::channel();
        // The file is let go when the last engine's task lets go of the journal, or at its closing.
        let inner = std::sync::Arc::clone(&journal.0);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                run(&inner.desk, store, &inner.file.display().to_string());
                // Nobody may wait for it.
                let _ = done.send(());
            })?;
        Ok(Self { ended })
    }
}

fn run(desk: &Desk, mut store: Store, file: &str) {
    while let Some((group, has_failed)) = next_group(desk) {
        let began = Instant::now();
        let result = match has_failed {
            true => store.has_room().and_then(|()| store.write(&group)),
            false => store.write(&group),
        };
        let mut entries = desk.lock();
        match result {
            Ok(()) => {
                if let Some(why) = entries.book.failure() {
                    tracing::warn!(file, "the journal is written again, after: {why}");
                }
                entries.book.written(&group, began.elapsed());
                desk.publish(&entries.book);
            }
            Err(failure) => {
                if entries.book.failure() != Some(failure.what.as_str()) {
                    tracing::error!(
                        file,
                        "the journal cannot be written: {}; messages of its domains are refused until it can",
                        failure.what
                    );
                }
                entries.book.not_written(group, failure.what);
                // What is let go meanwhile does not end the wait: the disk is not asked more often for that.
                let until = Instant::now() + RETRY;
                while let Some(left) = until.checked_duration_since(Instant::now())
                    && entries.stage == Stage::Serving
                {
                    let waited = desk.bell.wait_timeout(entries, left);
                    entries = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
    if let Err(failure) = write_last(desk, &mut store).and_then(|()| store.close()) {
        tracing::error!(
            file,
            "the end of the journal was not written: {}",
            failure.what
        );
    }
    desk.ended.send_replace(true);
}

fn write_last(desk: &Desk, store: &mut Store) -> Result<(), Failure> {
    let group = desk.lock().book.group();
    if group == Group::default() {
        return Ok(());
    }
    let began = Instant::now();
    store.write(&group)?;
    let mut entries = desk.lock();
    entries.book.written(&group, began.elapsed());
    desk.publish(&entries.book);
    Ok(())
}

/// Waits for something to write; `None` at the end. While the disk takes nothing there is always something: whether it
/// does again.
fn next_group(desk: &Desk) -> Option<(Group, bool)> {
    let mut entries = desk.lock();
    let mut lazy_until: Option<Instant> = None;
    loop {
        if entries.stage == Stage::Closing {
            return None;
        }
        let has_failed = entries.book.failure().is_some();
        if entries.book.is_urgent() || has_failed {
            return Some((entries.book.group(), has_failed));
        }
        if !entries.book.owes() {
            let woken = desk.bell.wait(entries);
            entries = woken.unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        // A removal that comes late costs a repetition after a crash, and nothing else: it waits for company.
        let until = *lazy_until.get_or_insert_with(|| Instant::now() + COMPANY);
        let Some(left) = until.checked_duration_since(Instant::now()) else {
            return Some((entries.book.group(), has_failed));
        };
        let woken = desk.bell.wait_timeout(entries, left);
        entries = woken.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// How often a disk that took nothing is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a removal waits for a message that is flushed with it.
const COMPANY: Duration = Duration::from_millis(50);
