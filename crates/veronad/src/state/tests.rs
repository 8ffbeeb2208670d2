//! The file's life: written whole, read back, and believed no more than it deserves.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use verona::{LearnedFailure, LearnedLesson, LearnedProof};
use verona_proto::addr::Domain;
use verona_proto::grounds::Strength;
use verona_proto::learned::{Outcome, PEERS_MAX, Phase, Topic};

use super::document::{self, Unreadable};
use super::*;

fn peer(domain: &str) -> LearnedPeer {
    // What is written has milliseconds.
    let since = UNIX_EPOCH + Duration::from_millis(1_790_000_000_123);
    LearnedPeer {
        domain: Domain::parse(domain).unwrap(),
        lessons: vec![LearnedLesson {
            topic: Topic::Bidi,
            outcome: Outcome::HangsUp,
            text: "it hung up".into(),
            since,
            until: since + Duration::from_secs(24 * 3600),
        }],
        early_deaths: 2,
        failure: Some(LearnedFailure {
            phase: Phase::Tls,
            cause: "nothing in common".into(),
            since,
            next: None,
            reached: Some(since + Duration::from_secs(1)),
        }),
        proven: vec![LearnedProof {
            strength: Strength::Dane,
            since,
        }],
    }
}

fn text(peers: &[LearnedPeer]) -> String {
    String::from_utf8(document::write(peers, SystemTime::now())).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let peers = [peer("montague.lit"), peer("xn--bcher-kva.example")];
    let read = document::read(text(&peers).as_bytes()).unwrap();
    assert_eq!((read.peers.as_slice(), read.ignored), (&peers[..], 0));
}

#[test]
fn of_a_peer_nothing_is_known_of_nothing_is_written() {
    let mut nobody = peer("nobody.lit");
    (nobody.lessons, nobody.early_deaths, nobody.failure) = (Vec::new(), 0, None);
    nobody.proven.clear();
    assert!(!text(&[nobody]).contains("nobody.lit"));
}

#[test]
fn what_a_peer_said_is_written_without_control_characters_and_not_endless() {
    let mut talker = peer("talker.lit");
    talker.lessons[0].text = format!("\u{1b}[31m{}", "x".repeat(100_000));
    let bytes = document::write(&[talker], SystemTime::now());
    assert!(bytes.len() < 2_000);
    let read = document::read(&bytes).unwrap();
    assert!(!read.peers[0].lessons[0].text.contains('\u{1b}'));
}

#[test]
fn an_entry_that_is_not_understood_costs_only_itself() {
    let good = text(&[peer("good.lit")]);
    let changes = [
        ("\"good.lit\"", "\"not a domain\"", 0, 0),
        ("\"good.lit\"", "7", 0, 0),
        ("\"bidi\"", "\"weather\"", 1, 0),
        ("\"hangs-up\"", "\"maybe\"", 1, 0),
        ("\"hangs-up\"", "null", 1, 0),
        ("\"it hung up\"", "{\"a\": [1, 2]}", 1, 0),
        ("\"early_deaths\": 2", "\"early_deaths\": -2", 1, 1),
        ("\"early_deaths\": 2", "\"early_deaths\": 1e300", 1, 1),
        ("\"tls\"", "\"magic\"", 1, 1),
        ("\"reached\": \"2026", "\"reached\": \"99999", 1, 1),
    ];
    for (from, to, peers, lessons) in changes {
        assert!(good.contains(from), "{from} is not in {good}");
        let read = document::read(good.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!((read.peers.len(), read.ignored), (peers, 1), "{to}");
        if let Some(peer) = read.peers.first() {
            assert_eq!(peer.lessons.len(), lessons, "{to}");
        }
    }
    for date in [
        "yesterday",
        "",
        "2026-13-01T00:00:00Z",
        "1790000000",
        "2026-01-01",
    ] {
        let at = good.find("\"since\": \"").unwrap() + 10;
        let mut changed = good.clone();
        changed.replace_range(at..at + 24, date);
        let read = document::read(changed.as_bytes()).unwrap();
        assert_eq!(
            (read.peers[0].lessons.len(), read.ignored),
            (0, 1),
            "{date}"
        );
    }
}

#[test]
fn what_is_no_such_document_is_told_from_one_of_a_later_version() {
    for corrupt in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"version\": 0, \"peers\": []}",
        "{\"version\": -1, \"peers\": []}",
        "{\"version\": \"1\", \"peers\": []}",
        "{\"version\": 1}",
        "{\"version\": 1, \"peers\": {}}",
        "{\"version\": 1, \"peers\": []} x",
        "\u{0}\u{0}\u{0}",
    ] {
        let said = document::read(corrupt.as_bytes());
        assert!(
            matches!(said, Err(Unreadable::Corrupt(_))),
            "{corrupt}: {said:?}"
        );
    }
    let deep = format!("{{\"version\": 1, \"peers\": {}", "[".repeat(100_000));
    assert!(matches!(
        document::read(deep.as_bytes()),
        Err(Unreadable::Corrupt(_))
    ));
    let later = b"{\"version\": 2, \"peers\": \"something else\"}";
    assert_eq!(document::read(later).unwrap_err(), Unreadable::Newer(2));
}

#[test]
fn no_more_is_taken_than_can_be_remembered() {
    let entries: Vec<String> = (0..PEERS_MAX + 500)
        .map(|n| format!("{{\"domain\": \"p{n}.lit\", \"early_deaths\": 1}}"))
        .collect();
    let document = format!("{{\"version\": 1, \"peers\": [{}]}}", entries.join(","));
    let read = document::read(document.as_bytes()).unwrap();
    assert_eq!((read.peers.len(), read.ignored), (PEERS_MAX, 500));
}

#[test]
fn no_damage_to_the_file_panics() {
    let good = document::write(&[peer("a.lit"), peer("b.lit")], SystemTime::now());
    for at in 0..good.len() {
        for byte in [0, b'"', b'9', b'{', 0xff] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let read = document::read(&bytes);
            assert!(read.is_err() || read.unwrap().peers.len() <= 2);
        }
        // Without its last newline it is whole.
        assert!(at + 1 == good.len() || document::read(&good[..at]).is_err());
    }
}

#[test]
fn a_store_keeps_what_it_is_given_and_puts_aside_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("deep/state"));
    assert_eq!(store.load(), []);
    let peers = [peer("montague.lit")];
    store.save(&peers).unwrap();
    assert_eq!(store.load(), peers);
    // A write that a crash cut short is not what is read.
    std::fs::write(store.directory.join("peers.json.new"), "{\"vers").unwrap();
    assert_eq!(store.load(), peers);
    store.save(&peers).unwrap();
    let names = |store: &Store| {
        let mut names: Vec<_> = std::fs::read_dir(&store.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&store), ["peers.json"]);
    for bad in ["{\"vers", "{\"version\": 9, \"peers\": []}"] {
        std::fs::write(store.file(), bad).unwrap();
        assert_eq!(store.load(), []);
        assert_eq!(names(&store), ["peers.json.aside"]);
        let aside = store.directory.join("peers.json.aside");
        assert_eq!(std::fs::read_to_string(aside).unwrap(), bad);
    }
    // A directory in the place of the file goes as well.
    std::fs::remove_file(store.directory.join("peers.json.aside")).unwrap();
    std::fs::create_dir(store.file()).unwrap();
    assert_eq!(store.load(), []);
    store.save(&peers).unwrap();
    assert_eq!(store.load(), peers);
}

#[test]
fn only_the_owner_reads_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("state"));
    store.save(&[]).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store.directory), 0o700);
    assert_eq!(mode(&store.file()), 0o600);
}
