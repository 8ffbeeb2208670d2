//! A daemon with a journal that ends, by force or in good order, while the system still has much of what it wrote.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use support::daemon::{Daemon, address};
use support::{machine, signal};

/// More than a socket takes on both sides of a connection, and less than the queue of a component.
const MESSAGES: usize = 1_000;
const BODY_BYTES: usize = 2_000;

fn start(dir: &Path) -> (Daemon, String) {
    let component = "component = { secret_file = \"rooms.secret\" }\n";
    let config = format!(
        "[[domain]]\nname = \"capulet.lit\"\n[[domain]]\nname = \"rooms.capulet.lit\"\n{component}journal = true\n\
         [[domain]]\nname = \"gateway.capulet.lit\"\n{component}\
         [s2s]\nlisten = [\"127.0.0.1:0\"]\n[tls]\ntrust = [\"ca.pem\"]\n[components]\nlisten = [\"127.0.0.1:0\"]\n\
         [admin]\nlisten = \"unix:verona.sock\"\n[journal]\nfile = \"messages.redb\"\n"
    );
    let daemon = Daemon::start(dir, &config);
    let line = daemon
        .log
        .lines()
        .find(|line| line.contains("listening for components"));
    let at = address(line.unwrap());
    (daemon, at)
}

/// Reads until the connection ends, or nothing has come for so long; the ids of the messages that came whole.
fn read(mut stream: &TcpStream, patience: Duration, ids: &mut BTreeSet<usize>) {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8(text).unwrap();
    for message in text.split("<message ").skip(1) {
        if message.contains("</message>") {
            let (_, rest) = message.split_once("id='").unwrap();
            ids.insert(rest.split('\'').next().unwrap().parse().unwrap());
        }
    }
}

/// Sends so many messages to the rooms, and returns when they are taken: from there on none may be lost.
fn send(gateway: &mut TcpStream, messages: usize) {
    let body = "x".repeat(BODY_BYTES);
    for id in 0..messages {
        let message = format!(
            "<message from='romeo@gateway.capulet.lit' to='room@rooms.capulet.lit' id='{id}'><body>{body}</body></message>"
        );
        gateway.write_all(message.as_bytes()).unwrap();
    }
    gateway
        .write_all(b"<iq from='romeo@gateway.capulet.lit' to='capulet.lit' type='get' id='taken'><ping xmlns='urn:xmpp:ping'/></iq>")
        .unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"/>") {
        let count = gateway.read(&mut buffer).unwrap();
        answer.extend_from_slice(&buffer[..count]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.contains("id='taken'") && answer.contains("type='result'"),
        "{answer}"
    );
}

#[test]
fn what_the_system_had_for_a_component_that_reads_slowly_comes_after_a_kill() {
    //= SM-11
    let dir = machine();
    let (daemon, at) = start(dir.path());
    let rooms = support::component(&at, "rooms.capulet.lit", "s3cr3t");
    let mut gateway = support::component(&at, "gateway.capulet.lit", "s3cr3t");
    send(&mut gateway, MESSAGES);
    // What left the journal in the meantime is gone from the disk too.
    std::thread::sleep(Duration::from_millis(500));
    signal(&daemon.child.0, "KILL");
    daemon.end();
    // It talks on, for it does not know yet, and only then reads. The system answers that nobody is there any more, and
    // throws away what it had for it.
    let _ = (&rooms).write_all(
        b"<message from='room@rooms.capulet.lit' to='romeo@gateway.capulet.lit' id='late'/>",
    );
    std::thread::sleep(Duration::from_millis(100));
    let mut ids = BTreeSet::new();
    read(&rooms, Duration::from_secs(1), &mut ids);
    let before = ids.len();

    let (_daemon, at) = start(dir.path());
    let rooms = support::component(&at, "rooms.capulet.lit", "s3cr3t");
    let until = Instant::now() + Duration::from_secs(20);
    while ids.len() < MESSAGES && Instant::now() < until {
        read(&rooms, Duration::from_secs(1), &mut ids);
    }
    let lost: Vec<usize> = (0..MESSAGES).filter(|id| !ids.contains(id)).collect();
    assert!(
        lost.is_empty(),
        "{} came before it was killed, and {} never: {:?} to {:?}",
        before,
        lost.len(),
        lost.first(),
        lost.last()
    );
    assert!(before < MESSAGES, "the test shows nothing");
}

#[test]
fn what_the_system_has_at_a_good_end_does_not_come_again() {
    //= SM-11
    let dir = machine();
    let (daemon, at) = start(dir.path());
    let rooms = support::component(&at, "rooms.capulet.lit", "s3cr3t");
    let mut gateway = support::component(&at, "gateway.capulet.lit", "s3cr3t");
    send(&mut gateway, 200);
    signal(&daemon.child.0, "TERM");
    // It reads nothing all the while: what is not on its way to it goes back.
    let (status, log) = daemon.end();
    assert_eq!(status, Some(0), "{log}");
    let (mut delivered, mut returned) = (BTreeSet::new(), BTreeSet::new());
    read(&rooms, Duration::from_secs(1), &mut delivered);
    read(&gateway, Duration::from_secs(1), &mut returned);
    let all: BTreeSet<usize> = (0..200).collect();
    assert_eq!(&delivered | &returned, all, "{log}");
    assert!(!delivered.is_empty() && !returned.is_empty(), "{log}");

    let (_daemon, at) = start(dir.path());
    let rooms = support::component(&at, "rooms.capulet.lit", "s3cr3t");
    let mut again = BTreeSet::new();
    read(&rooms, Duration::from_secs(1), &mut again);
    assert_eq!(again, BTreeSet::new(), "{log}");
}
