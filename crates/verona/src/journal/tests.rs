//! The whole journal over a disk that fails when it is told to.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redb::StorageBackend;
use tokio::time::timeout;
use verona_proto::addr::{Domain, Hosts, Jid};
use verona_proto::limits::Limit;
use verona_proto::stanza::{Admitted, Stanza, StanzaKind, originate};

use super::book::Bounds;
use super::recovery::{Recovered, read};
use super::store::Store;
use super::writer::Writer;
use super::{Journal, Refusal};
use crate::shared::lock;

/// A disk of which the test keeps the other end: what is on it, and whether it takes more.
#[derive(Clone, Debug, Default)]
struct Disk {
    content: Arc<std::sync::Mutex<Vec<u8>>>,
    is_full: Arc<AtomicBool>,
    /// It does not grow beyond this; 0 is no bound.
    bytes_max: Arc<AtomicUsize>,
    flushes: Arc<AtomicUsize>,
}

impl Disk {
    fn store(&self) -> Store {
        let disk = self.clone();
        Store::with(Box::new(move || {
            redb::Builder::new().create_with_backend(disk.clone())
        }))
    }

    fn takes(&self) -> io::Result<()> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(lock(&self.content).len()).unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let begin = usize::try_from(offset).unwrap();
        let content = lock(&self.content);
        let Some(part) = content.get(begin..begin + out.len()) else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.takes()?;
        let (len, max) = (usize::try_from(len).unwrap(), &self.bytes_max);
        let max = max.load(Ordering::Relaxed);
        if max > 0 && len > max {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        lock(&self.content).resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.takes()?;
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.takes()?;
        let begin = usize::try_from(offset).unwrap();
        let mut content = lock(&self.content);
        content[begin..begin + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn hosts() -> Hosts {
    Hosts::new([domain("rooms.capulet.lit"), domain("capulet.lit")])
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn message(from: &str, id: &str) -> Admitted {
    stanza(StanzaKind::Message, from, None, id)
}

fn stanza(kind: StanzaKind, from: &str, type_attribute: Option<&str>, id: &str) -> Admitted {
    let to = Jid::parse("romeo@montague.lit").unwrap();
    let from = Jid::parse(from).unwrap();
    let stanza = Stanza::build(kind, &from, &to, type_attribute, Some(id), "<body>x</body>");
    originate(&hosts(), stanza).unwrap()
}

fn opened(store: Store, entries: u64) -> (Journal, Recovered) {
    let domains: BTreeSet<Domain> = [domain("rooms.capulet.lit")].into();
    let bounds = Bounds {
        entries,
        bytes: 1 << 20,
    };
    read(store, "a disk".into(), domains, bounds, &hosts(), 10_000).unwrap()
}

/// A journal that is being written.
fn serving(disk: &Disk) -> Journal {
    let (journal, recovered) = opened(disk.store(), 100);
    let writer = Writer::start(&journal, recovered.into_store()).unwrap();
    *lock(&journal.0.writer) = Some(writer);
    journal
}

async fn safe(journal: &Journal, number: u64) {
    let mut safe = journal.safe();
    let reached = timeout(PATIENCE, safe.wait_for(|safe| *safe >= number)).await;
    reached.unwrap().unwrap();
}

async fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it did not come to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The ids of what the next run delivers, and whether each is marked.
fn left(disk: &Disk) -> Vec<(String, bool)> {
    let (_, recovered) = opened(disk.store(), 100);
    recovered
        .stanzas()
        .map(|stanza| {
            let text = String::from_utf8(stanza.bytes().to_vec()).unwrap();
            let is_marked = text.contains("<delay xmlns='urn:xmpp:delay' from='rooms.capulet.lit'");
            (stanza.id().unwrap(), is_marked)
        })
        .collect()
}

const PATIENCE: Duration = Duration::from_secs(10);
const ROOM: &str = "room@rooms.capulet.lit";

#[tokio::test]
async fn what_is_neither_delivered_nor_returned_is_there_after_a_crash() {
    //= SM-11
    let disk = Disk::default();
    let journal = serving(&disk);
    let (one, two) = (message(ROOM, "1"), message(ROOM, "2"));
    let (one, two) = (journal.keep(one).unwrap(), journal.keep(two).unwrap());
    assert_eq!(two.stanza().safekeeping().unwrap().number(), 2);
    safe(&journal, 2).await;
    drop(one);
    until(|| journal.status().commits >= 2).await;
    // The process ends: nothing is told to anybody.
    journal.freeze();
    drop(two);
    until(|| {
        lock(&journal.0.writer)
            .as_mut()
            .unwrap()
            .ended
            .try_recv()
            .is_ok()
    })
    .await;
    assert_eq!(left(&disk), [("2".to_owned(), true)]);
}

#[tokio::test]
async fn nothing_is_called_safe_before_a_flush_and_a_flush_is_for_all_that_waits() {
    //= SM-11
    let disk = Disk::default();
    let journal = serving(&disk);
    let before = disk.flushes.load(Ordering::Relaxed);
    let kept: Vec<Admitted> = (0..90)
        .map(|id| journal.keep(message(ROOM, &id.to_string())).unwrap())
        .collect();
    safe(&journal, 90).await;
    let flushes = disk.flushes.load(Ordering::Relaxed) - before;
    let commits = usize::try_from(journal.status().commits).unwrap();
    assert!(
        flushes >= commits.max(1),
        "{flushes} flushes, {commits} groups"
    );
    assert!(
        commits < kept.len(),
        "{commits} groups for {} messages",
        kept.len()
    );
}

#[tokio::test]
async fn only_messages_of_the_chosen_domains_are_kept() {
    let journal = serving(&Disk::default());
    for not_kept in [
        message("romeo@capulet.lit", "1"),
        stanza(StanzaKind::Presence, ROOM, None, "2"),
        stanza(StanzaKind::Iq, ROOM, Some("set"), "3"),
    ] {
        let same = journal.keep(not_kept).unwrap();
        assert_eq!(same.stanza().safekeeping(), None);
    }
    let kept = journal.keep(message(ROOM, "4")).unwrap();
    assert!(kept.stanza().safekeeping().is_some());
    let again = journal.keep(kept.clone()).unwrap();
    assert_eq!(journal.status().entries, 1, "one copy is enough");
    drop((kept, again));
    assert_eq!(journal.status().entries, 0);
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_loses_nothing_and_recovers() {
    let disk = Disk::default();
    let journal = serving(&disk);
    let first = journal.keep(message(ROOM, "1")).unwrap();
    safe(&journal, 1).await;
    // Both are taken before the writer can find out that the disk is full: after that everything is refused.
    let (second, third) = {
        let _disk = lock(&disk.content);
        let second = journal.keep(message(ROOM, "2")).unwrap();
        let third = journal.keep(message(ROOM, "3")).unwrap();
        disk.is_full.store(true, Ordering::Relaxed);
        (second, third)
    };
    until(|| journal.status().failure.is_some()).await;
    assert_eq!(journal.safe_up_to(), 1, "nobody is told that it is taken");
    let (stanza, refusal) = journal.keep(message(ROOM, "4")).unwrap_err();
    assert_eq!(
        (stanza.id().as_deref(), refusal),
        (Some("4"), Refusal::Broken)
    );
    let error = stanza_of_error();
    assert_eq!(journal.keep(error).unwrap().stanza().safekeeping(), None);
    // It arrives while the disk is full: then no disk is needed.
    drop(second);
    assert_eq!(journal.safe_up_to(), 2);
    disk.is_full.store(false, Ordering::Relaxed);
    safe(&journal, 3).await;
    assert_eq!(journal.status().failure, None);
    let fifth = journal.keep(message(ROOM, "5")).unwrap();
    safe(&journal, fifth.stanza().safekeeping().unwrap().number()).await;
    journal.close().await;
    drop((first, third, fifth));
    let ids: Vec<String> = left(&disk).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["1", "3", "5"]);
}

#[tokio::test]
async fn who_waits_for_the_disk_hears_of_the_last_group_and_of_the_end() {
    //= SM-11
    let disk = Disk::default();
    let journal = serving(&disk);
    disk.is_full.store(true, Ordering::Relaxed);
    let first = journal.keep(message(ROOM, "1")).unwrap();
    until(|| journal.status().failure.is_some()).await;
    disk.is_full.store(false, Ordering::Relaxed);
    journal.close().await;
    assert_eq!(journal.safe_up_to(), 1);
    // What comes behind the last group is never written.
    let second = journal.keep(message(ROOM, "2")).unwrap();
    timeout(PATIENCE, journal.safe_or_ended(2)).await.unwrap();
    assert_eq!(journal.safe_up_to(), 1);
    drop((first, second));
}

fn stanza_of_error() -> Admitted {
    stanza(StanzaKind::Message, ROOM, Some("error"), "e")
}

#[tokio::test]
async fn a_disk_that_has_room_for_a_few_bytes_is_full_all_the_same() {
    let disk = Disk::default();
    let journal = serving(&disk);
    let first = journal.keep(message(ROOM, "1")).unwrap();
    safe(&journal, 1).await;
    drop(first);
    let room = lock(&disk.content).len();
    disk.bytes_max.store(room, Ordering::Relaxed);
    disk.is_full.store(true, Ordering::Relaxed);
    let second = journal.keep(message(ROOM, "2")).unwrap();
    until(|| journal.status().failed_commits == 1).await;
    disk.is_full.store(false, Ordering::Relaxed);
    drop(second);
    until(|| journal.status().failed_commits >= 2).await;
    assert!(
        journal.status().failure.is_some(),
        "a few bytes are not enough"
    );
    disk.bytes_max.store(0, Ordering::Relaxed);
    until(|| journal.status().failure.is_none()).await;
}

#[tokio::test]
async fn a_domain_that_has_its_share_is_refused() {
    let (journal, _recovered) = opened(Disk::default().store(), 1);
    let kept = journal.keep(message(ROOM, "1")).unwrap();
    let (_, refusal) = journal.keep(message(ROOM, "2")).unwrap_err();
    assert_eq!(refusal, Refusal::Full(Limit::JournalEntriesMax));
    drop(kept);
    journal.keep(message(ROOM, "3")).unwrap();
    assert_eq!(journal.status().refused, 1);
}

#[tokio::test]
async fn what_nobody_hosts_any_more_is_put_aside() {
    let disk = Disk::default();
    let journal = serving(&disk);
    let kept = journal.keep(message(ROOM, "1")).unwrap();
    safe(&journal, 1).await;
    journal.close().await;
    drop(kept);
    let bounds = Bounds {
        entries: 100,
        bytes: 1 << 20,
    };
    let nobody = Hosts::new([domain("verona.lit")]);
    let (journal, recovered) = read(
        disk.store(),
        "a disk".into(),
        BTreeSet::new(),
        bounds,
        &nobody,
        10_000,
    )
    .unwrap();
    assert_eq!(recovered.stanzas().count(), 0);
    assert_eq!(journal.status().set_aside, 1);
    // It does not come back with its domain: an operator decides.
    drop((journal, recovered));
    assert_eq!(left(&disk), []);
}

#[tokio::test]
async fn a_message_that_the_mark_would_make_too_large_goes_without() {
    let disk = Disk::default();
    let journal = serving(&disk);
    let body = format!("<body>{}</body>", "x".repeat(9_850));
    let jid = |text| Jid::parse(text).unwrap();
    let large = Stanza::build(
        StanzaKind::Message,
        &jid(ROOM),
        &jid("romeo@montague.lit"),
        None,
        Some("large"),
        &body,
    );
    let kept = journal.keep(originate(&hosts(), large).unwrap()).unwrap();
    safe(&journal, 1).await;
    journal.close().await;
    drop(kept);
    assert_eq!(left(&disk), [("large".to_owned(), false)]);
}

#[test]
fn an_error_names_the_file_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.redb");
    std::fs::write(&file, b"this is a letter".repeat(4096)).unwrap();
    let bounds = Bounds {
        entries: 1,
        bytes: 1,
    };
    let store = Store::at(Path::new(&file));
    let error = read(store, file.clone(), BTreeSet::new(), bounds, &hosts(), 1);
    let text = error.err().unwrap().to_string();
    assert!(
        text.starts_with(&format!(
            "the journal {} cannot be opened: ",
            file.display()
        )),
        "{text}"
    );
    assert!(text.contains("put it aside (mv "), "{text}");
}
