//! The journal's file: what is kept, how often it was tried, and what was put aside.
//!
//! The only module that knows the database (ADR 0016). Whatever a file contains, the answer is a value and not a crash.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use redb::{
    Database, DatabaseError, ReadableTable as _, ReadableTableMetadata as _, StorageError,
    TableDefinition,
};

use super::book::{Group, Record};

/// The database, and how it is opened again after a failure.
pub(super) struct Store {
    open: Opener,
    database: Option<Database>,
}

/// Opens the file, or makes it.
pub(super) type Opener = Box<dyn FnMut() -> Result<Database, DatabaseError> + Send>;

/// What an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Oldest first.
    pub(super) entries: Vec<Entry>,
    /// How many were put aside, in this run and before.
    pub(super) aside: u64,
    /// What was put aside just now, and why.
    pub(super) put_aside: Vec<(u64, String)>,
    /// The first number that was never used.
    pub(super) next: u64,
}

/// A message that an earlier run took, and neither delivered nor returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) record: Record,
    /// How many runs have ended abruptly while they had it to deliver.
    pub(super) abrupt_ends: u8,
}

impl Store {
    /// The file at `path`, which is opened when it is first needed.
    pub(super) fn at(path: &Path) -> Self {
        let path = path.to_owned();
        Self::with(Box::new(move || open(&path)))
    }

    pub(super) fn with(open: Opener) -> Self {
        Self {
            open,
            database: None,
        }
    }

    /// Opens the file and reads what is in it. What `judge` objects to is put aside, and so is what ended the process
    /// whenever it was tried: it is neither tried again nor lost.
    pub(super) fn load(
        &mut self,
        judge: impl Fn(&Record) -> Result<(), String>,
    ) -> Result<Left, Failure> {
        self.guarded(|database| load(database, &judge))
    }

    /// Writes a group, with one flush.
    pub(super) fn write(&mut self, group: &Group) -> Result<(), Failure> {
        self.guarded(|database| write(database, group))
    }

    /// Whether there is room for more than a few bytes: a disk that is full takes them, and fails again with the next message.
    pub(super) fn has_room(&mut self) -> Result<(), Failure> {
        self.guarded(|database| {
            let trial = vec![0; ROOM_BYTES];
            for is_there in [true, false] {
                let transaction = database.begin_write()?;
                {
                    let mut table = transaction.open_table(TRIAL)?;
                    match is_there {
                        true => table.insert(0, trial.as_slice())?,
                        false => table.remove(0)?,
                    };
                }
                transaction.commit()?;
            }
            Ok(())
        })
    }

    /// Says which message is tried next, so that the next run knows should this one end by it; `None` when all are.
    pub(super) fn trying(&mut self, number: Option<u64>) -> Result<(), Failure> {
        self.guarded(|database| {
            let transaction = database.begin_write()?;
            {
                let mut facts = transaction.open_table(FACTS)?;
                match number {
                    Some(number) => facts.insert(TRYING, number)?,
                    None => facts.remove(TRYING)?,
                };
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Closes the file in good order: what is left did not end anything.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        let closed = self.guarded(|database| {
            let transaction = database.begin_write()?;
            transaction.delete_table(ENDS)?;
            transaction.commit()?;
            Ok(())
        });
        self.database = None;
        closed
    }

    /// Runs something on the database. After a failure the database is opened anew for the next, which is what mends it.
    fn guarded<T>(
        &mut self,
        run: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, Failure> {
        let database = match self.database.take() {
            Some(database) => database,
            // A file that was tampered with must not end more than the journal.
            None => match catch_unwind(AssertUnwindSafe(|| (self.open)())) {
                Ok(Ok(database)) => database,
                Ok(Err(error)) => return Err(Failure::of_opening(&error)),
                Err(_) => return Err(Failure::damaged("its structure makes no sense")),
            },
        };
        let done = catch_unwind(AssertUnwindSafe(|| match run(&database) {
            Ok(value) => Ok((database, value)),
            // Closing what has failed may fail as well.
            Err(error) => {
                drop(database);
                Err(error)
            }
        }));
        match done {
            Ok(Ok((database, value))) => {
                self.database = Some(database);
                Ok(value)
            }
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::damaged("its structure makes no sense")),
        }
    }
}

fn open(path: &Path) -> Result<Database, DatabaseError> {
    let directory = directory(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    // What people write to each other is nobody else's business; the database would make a file that all can read.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let until = std::time::Instant::now() + PREDECESSOR_PATIENCE;
    let mut database = loop {
        match redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
        {
            // One that just ends in this process still has it.
            Err(DatabaseError::DatabaseAlreadyOpen) if std::time::Instant::now() < until => {
                std::thread::sleep(PREDECESSOR_POLL);
            }
            other => break other?,
        }
    };
    // The name of a new file is to survive as its content does.
    File::open(&directory)?.sync_all()?;
    if path.metadata()?.len() > COMPACT_BYTES {
        let _ = database.compact();
    }
    Ok(database)
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

fn load(
    database: &Database,
    judge: &impl Fn(&Record) -> Result<(), String>,
) -> Result<Left, redb::Error> {
    let transaction = database.begin_write()?;
    let mut left = Left::default();
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut ends = transaction.open_table(ENDS)?;
        let mut aside = transaction.open_table(ASIDE)?;
        let mut facts = transaction.open_table(FACTS)?;
        let format = facts.get(FORMAT)?.map(|format| format.value());
        match format {
            None => {
                facts.insert(FORMAT, FORMAT_VERSION)?;
            }
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                return Err(redb::Error::Corrupted(format!(
                    "it has version {other}, and this verona knows version {FORMAT_VERSION}"
                )));
            }
        }
        let fatal = facts.remove(TRYING)?.map(|number| number.value());
        for item in entries.iter()? {
            let (number, value) = item?;
            let (number, value) = (number.value(), value.value());
            left.next = number;
            let tried = ends.get(number)?.map_or(0, |ends| ends.value());
            let objection = match Record::read(value) {
                _ if fatal == Some(number) => {
                    Err("the process ended just as it was being tried".to_owned())
                }
                _ if tried >= ABRUPT_ENDS_MAX => Err(format!(
                    "the process ended abruptly {tried} times in a row while this was to be delivered"
                )),
                None => Err("it is no entry of a journal".to_owned()),
                Some(record) => judge(&record).map(|()| record),
            };
            match objection {
                Ok(record) => left.entries.push(Entry {
                    number,
                    record,
                    abrupt_ends: tried,
                }),
                Err(why) => {
                    aside.insert(number, (why.as_str(), value))?;
                    left.put_aside.push((number, why));
                }
            }
        }
        for (number, _) in &left.put_aside {
            entries.remove(number)?;
            ends.remove(number)?;
        }
        for entry in &left.entries {
            ends.insert(entry.number, entry.abrupt_ends.saturating_add(1))?;
        }
        if let Some((last, _)) = aside.last()? {
            left.next = left.next.max(last.value());
        }
        while aside.len()? > ASIDE_MAX {
            let oldest = aside.pop_first()?.map(|(number, _)| number.value());
            tracing::error!(
                number = oldest,
                "more than {ASIDE_MAX} messages were put aside by the journal; the oldest is thrown away"
            );
        }
        left.aside = aside.len()?;
    }
    left.next += 1;
    transaction.commit()?;
    Ok(left)
}

fn write(database: &Database, group: &Group) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for (number, record) in &group.added {
            entries.insert(number, record.write().as_slice())?;
        }
        for number in &group.removed {
            entries.remove(number)?;
        }
    }
    if !group.removed.is_empty() {
        let mut ends = transaction.open_table(ENDS)?;
        for number in &group.removed {
            ends.remove(number)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What was put aside, and why.
#[cfg(test)]
pub(super) fn put_aside(path: &Path) -> Vec<(u64, String)> {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use redb::ReadableDatabase as _;
    let database = open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(ASIDE).unwrap();
    table
        .iter()
        .unwrap()
        .map(|item| item.unwrap())
        .map(|(number, value)| (number.value(), value.value().0.to_owned()))
        .collect()
}

impl Record {
    /// The version of this layout, when it was taken in milliseconds since 1970, the stanza.
    fn write(&self) -> Vec<u8> {
        let millis = self.taken.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(millis.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = Vec::with_capacity(self.stanza.len() + 9);
        bytes.push(LAYOUT);
        bytes.extend_from_slice(&millis.to_le_bytes());
        bytes.extend_from_slice(&self.stanza);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (layout, rest) = bytes.split_first()?;
        let (millis, stanza) = rest.split_first_chunk()?;
        // No calendar has what lies behind.
        if *layout != LAYOUT || u64::from_le_bytes(*millis) > MILLIS_MAX {
            return None;
        }
        Some(Self {
            taken: UNIX_EPOCH.checked_add(Duration::from_millis(u64::from_le_bytes(*millis)))?,
            stanza: Arc::from(stanza),
        })
    }
}

/// What went wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) what: String,
}

/// What can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Another process has the file.
    Taken,
    /// It has another version, or it makes no sense.
    Damaged,
    /// The system refused.
    System,
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the library's and the system's errors are not ours, and more may come"
)]
impl Failure {
    fn damaged(what: &str) -> Self {
        Self {
            kind: FailureKind::Damaged,
            what: what.to_owned(),
        }
    }

    fn of_opening(error: &DatabaseError) -> Self {
        let kind = match error {
            DatabaseError::DatabaseAlreadyOpen => FailureKind::Taken,
            DatabaseError::Storage(StorageError::Io(error)) => FailureKind::of_io(error),
            // The library may learn to fail in more ways.
            _ => FailureKind::Damaged,
        };
        Self {
            kind,
            what: error.to_string(),
        }
    }

    fn of(error: &redb::Error) -> Self {
        let kind = match error {
            redb::Error::Io(error) => FailureKind::of_io(error),
            redb::Error::PreviousIo => FailureKind::System,
            // The library may learn to fail in more ways.
            _ => FailureKind::Damaged,
        };
        Self {
            kind,
            what: error.to_string(),
        }
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the system's errors are not ours, and more may come"
)]
impl FailureKind {
    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            // The system may refuse in many ways.
            _ => Self::System,
        }
    }
}

/// What is to be delivered.
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
/// How many runs ended abruptly while they had each of them.
const ENDS: TableDefinition<u64, u8> = TableDefinition::new("abrupt-ends");
/// What is not tried any more: why, and the entry.
const ASIDE: TableDefinition<u64, (&str, &[u8])> = TableDefinition::new("aside");
/// Written and removed to see whether it can be.
const TRIAL: TableDefinition<u64, &[u8]> = TableDefinition::new("trial");
const FACTS: TableDefinition<&str, u64> = TableDefinition::new("facts");
const FORMAT: &str = "format";
const TRYING: &str = "trying";
const FORMAT_VERSION: u64 = 1;
const LAYOUT: u8 = 1;
/// The end of the year 9999.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// Runs that end abruptly one after the other, each with the same message: the next does not try it.
pub(super) const ABRUPT_ENDS_MAX: u8 = 8;
/// More were put aside than somebody will look at.
const ASIDE_MAX: u64 = 10_000;
/// More than the largest stanza by default.
const ROOM_BYTES: usize = 1024 * 1024;
/// What the database may hold in memory; the library's default is a gigabyte.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// A larger file is made small again at the start: what was removed leaves holes.
const COMPACT_BYTES: u64 = 256 * 1024 * 1024;
/// How long a predecessor in this process may take to let go of the file.
const PREDECESSOR_PATIENCE: Duration = Duration::from_secs(2);
const PREDECESSOR_POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn record(text: &str) -> Record {
        Record {
            taken: UNIX_EPOCH + Duration::from_millis(1_764_000_000_123),
            stanza: Arc::from(text.as_bytes()),
        }
    }

    fn added(entries: &[(u64, &str)]) -> Group {
        Group {
            added: entries
                .iter()
                .map(|(number, text)| (*number, record(text)))
                .collect(),
            removed: Vec::new(),
        }
    }

    fn anything(_: &Record) -> Result<(), String> {
        Ok(())
    }

    /// What the next run finds, after one that ended without a word.
    fn reopened(path: &Path) -> (Store, Left) {
        let mut store = Store::at(path);
        let left = store.load(anything).unwrap();
        (store, left)
    }

    fn numbers(left: &Left) -> Vec<u64> {
        left.entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn what_was_written_is_there_for_the_next_run_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("journal.redb");
        let (mut store, left) = reopened(&path);
        assert_eq!((left.next, left.aside), (1, 0));
        store
            .write(&added(&[(1, "a"), (2, "b"), (3, "c")]))
            .unwrap();
        let removal = Group {
            removed: vec![2, 99],
            ..Group::default()
        };
        store.write(&removal).unwrap();
        drop(store);
        let (_, left) = reopened(&path);
        assert_eq!((numbers(&left), left.next), (vec![1, 3], 4));
        assert_eq!(left.entries[1].record, record("c"));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    }

    #[test]
    fn what_ends_the_process_again_and_again_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        reopened(&path).0.write(&added(&[(1, "poison")])).unwrap();
        for run in 0..ABRUPT_ENDS_MAX {
            let (_, left) = reopened(&path);
            assert_eq!(left.entries[0].abrupt_ends, run);
        }
        let (mut store, left) = reopened(&path);
        assert_eq!((numbers(&left), left.aside, left.next), (vec![], 1, 2));
        assert!(left.put_aside[0].1.contains("abruptly 8 times"));
        store.write(&added(&[(2, "innocent")])).unwrap();
        drop(store);
        let (_, left) = reopened(&path);
        assert_eq!((numbers(&left), left.aside), (vec![2], 1));
        assert_eq!(left.put_aside, [], "it was told once");
        let aside = put_aside(&path);
        assert_eq!(aside.len(), 1);
        assert_eq!(aside[0].0, 1);
    }

    #[test]
    fn an_end_in_good_order_is_held_against_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        reopened(&path).0.write(&added(&[(1, "a")])).unwrap();
        for _ in 0..ABRUPT_ENDS_MAX + 2 {
            let (mut store, left) = reopened(&path);
            assert_eq!(left.entries[0].abrupt_ends, 0);
            store.close().unwrap();
        }
    }

    #[test]
    fn what_was_being_tried_when_the_process_ended_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let (mut store, _) = reopened(&path);
        store
            .write(&added(&[(1, "a"), (2, "b"), (3, "c")]))
            .unwrap();
        store.trying(Some(1)).unwrap();
        store.trying(Some(2)).unwrap();
        drop(store);
        let (mut store, left) = reopened(&path);
        assert_eq!(numbers(&left), [1, 3]);
        assert_eq!(left.put_aside.len(), 1);
        store.trying(Some(3)).unwrap();
        store.trying(None).unwrap();
        drop(store);
        assert_eq!(numbers(&reopened(&path).1), [1, 3]);
    }

    #[test]
    fn what_cannot_be_read_is_put_aside_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        reopened(&path)
            .0
            .write(&added(&[(1, "good"), (2, "bad")]))
            .unwrap();
        {
            let database = open(&path).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction
                .open_table(ENTRIES)
                .unwrap()
                .insert(3, [9, 9, 9].as_slice())
                .unwrap();
            transaction.commit().unwrap();
        }
        let left = Store::at(&path)
            .load(|record| match record.stanza.as_ref() {
                b"bad" => Err("it is bad".to_owned()),
                _ => Ok(()),
            })
            .unwrap();
        assert_eq!((numbers(&left), left.next), (vec![1], 4));
        let why = [
            (2, "it is bad".to_owned()),
            (3, "it is no entry of a journal".to_owned()),
        ];
        assert_eq!(left.put_aside, why);
        assert_eq!(put_aside(&path), why);
    }

    #[test]
    fn a_file_that_is_no_journal_is_an_error_and_not_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        reopened(&path).0.write(&added(&[(1, "a")])).unwrap();
        let good = std::fs::read(&path).unwrap();
        let mut kinds = Vec::new();
        let cut = good[..good.len() / 2].to_vec();
        let text = b"this is a letter".repeat(4096);
        for bytes in [cut, text] {
            std::fs::write(&path, bytes).unwrap();
            kinds.push(Store::at(&path).load(anything).unwrap_err().kind);
        }
        assert_eq!(kinds, [FailureKind::Damaged; 2]);
        // Somewhere in the middle: an error, or all is well if nothing that is used was hit; never a crash.
        for at in (0..good.len()).step_by(good.len() / 64) {
            let mut bytes = good.clone();
            for byte in bytes.iter_mut().skip(at).take(64) {
                *byte ^= 0xff;
            }
            std::fs::write(&path, bytes).unwrap();
            if let Err(failure) = Store::at(&path).load(anything) {
                assert_ne!(failure.kind, FailureKind::Taken, "{failure:?}");
            }
        }
    }

    #[test]
    fn one_file_has_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let (_first, _) = reopened(&path);
        let failure = Store::at(&path).load(anything).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Taken);
    }

    #[test]
    fn a_place_where_no_file_can_be_is_the_systems_refusal() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file").join("journal.redb");
        let failure = Store::at(&path).load(anything).unwrap_err();
        assert_eq!(failure.kind, FailureKind::System);
    }
}
