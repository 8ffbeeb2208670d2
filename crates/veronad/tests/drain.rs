//! SIGTERM with much waiting: every stanza that was taken is delivered or returned, and each of them is counted by those
//! who sent and received them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and this one has figures to tell"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::daemon::{Daemon, address};
use support::{Authority, machine, signal, write};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// So many domains that can be reached, and as many that cannot.
const PEERS: usize = 50;
/// For each.
const STANZAS: usize = 100;

fn reachable(n: usize) -> String {
    format!("r{n}.lit")
}

fn unreachable(n: usize) -> String {
    format!("u{n}.lit")
}

/// Lets connections through once it is told to; until then they are held.
struct Gate {
    address: String,
    open: mpsc::Sender<()>,
}

impl Gate {
    fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, opened) = mpsc::channel();
        std::thread::spawn(move || {
            let (accepted, waiting) = mpsc::channel();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if accepted.send(stream).is_err() {
                        return;
                    }
                }
            });
            if opened.recv().is_err() {
                return;
            }
            for stream in waiting {
                let target = TcpStream::connect(&target).unwrap();
                relay(&stream, &target);
                relay(&target, &stream);
            }
        });
        Self { address, open }
    }
}

fn relay(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// When a line of the log was written.
fn moment(line: &str) -> OffsetDateTime {
    let stamp = line.split_whitespace().next().unwrap();
    OffsetDateTime::parse(stamp, &Rfc3339).expect(line)
}

/// Counts messages by id, and whether each is an error, until the connection ends.
fn count(mut stream: TcpStream) -> std::thread::JoinHandle<BTreeMap<(String, bool), usize>> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        let until = Instant::now() + Duration::from_secs(25);
        while Instant::now() < until {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
            }
        }
        let text = String::from_utf8(text).unwrap();
        let mut counts = BTreeMap::new();
        for message in text.split("<message ").skip(1) {
            let tag = message.split('>').next().unwrap();
            let (_, rest) = tag.split_once("id='").unwrap();
            let id = rest.split('\'').next().unwrap().to_owned();
            *counts
                .entry((id, tag.contains("type='error'")))
                .or_default() += 1;
        }
        counts
    })
}

#[test]
fn of_ten_thousand_stanzas_each_is_delivered_or_returned() {
    //= STREAM-59
    let (ours, theirs) = (machine(), machine());
    let authority = Authority::new();
    for dir in [&ours, &theirs] {
        write(&dir.path().join("ca.pem"), &authority.pem());
    }
    let (chain, key) = authority.issue(&["rooms.capulet.lit"], false);
    write(
        &ours.path().join("certs/rooms.capulet.lit.pem"),
        &format!("{chain}{key}"),
    );
    let names: Vec<String> = (0..PEERS).map(reachable).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (chain, key) = authority.issue(&names, false);
    let mut domains = String::new();
    for name in &names {
        write(
            &theirs.path().join(format!("certs/{name}.pem")),
            &format!("{chain}{key}"),
        );
        domains.push_str(&format!(
            "[[domain]]\nname = \"{name}\"\ncomponent = {{ secret_file = \"rooms.secret\" }}\n"
        ));
    }
    let limits = "[defaults]\nlimits = { streams_per_address_max = 1000, component_backlog_stanzas_max = 100000 }\n";
    let montague = Daemon::start(
        theirs.path(),
        &format!(
            "{domains}[s2s]\nlisten = [\"127.0.0.1:0\"]\n[tls]\ntrust = [\"ca.pem\"]\n[components]\nlisten = [\"127.0.0.1:0\"]\n\
             [admin]\nlisten = \"unix:verona.sock\"\n{limits}"
        ),
    );
    let listening = |daemon: &Daemon, whom: &str| {
        let line = daemon.log.lines().find(|line| line.contains(whom));
        address(line.unwrap())
    };
    let at = listening(&montague, "listening for components");
    let receivers: Vec<_> = names
        .iter()
        .map(|name| count(support::component(&at, name, "s3cr3t")))
        .collect();
    // Those that cannot be reached take the connection, and say nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = Gate::before(listening(&montague, "listening for servers"));
    let mut peers = String::new();
    for n in 0..PEERS {
        let (reachable, unreachable) = (reachable(n), unreachable(n));
        peers.push_str(&format!(
            "[[peer]]\ndomain = \"{reachable}\"\naddress = \"{}\"\n[[peer]]\ndomain = \"{unreachable}\"\naddress = \"{}\"\n",
            gate.address,
            silent.local_addr().unwrap()
        ));
    }
    let mut capulet = Daemon::start(
        ours.path(),
        &format!(
            "[[domain]]\nname = \"rooms.capulet.lit\"\ncomponent = {{ secret_file = \"rooms.secret\" }}\n\
             [s2s]\nlisten = [\"127.0.0.1:0\"]\n[tls]\ntrust = [\"ca.pem\"]\n[components]\nlisten = [\"127.0.0.1:0\"]\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[defaults]\n\
             limits = {{ attempts_concurrent_max = 1000, component_backlog_stanzas_max = 100000 }}\n{peers}"
        ),
    );
    let admin = listening(&capulet, "the API");
    let mut sender = support::component(
        &listening(&capulet, "listening for components"),
        "rooms.capulet.lit",
        "s3cr3t",
    );
    let returned = count(sender.try_clone().unwrap());
    let mut sent = BTreeSet::new();
    for round in 0..STANZAS {
        let mut burst = String::new();
        for n in 0..PEERS {
            for to in [reachable(n), unreachable(n)] {
                let id = format!("{to}-{round}");
                burst.push_str(&format!(
                    "<message from='a@rooms.capulet.lit' to='b@{to}' id='{id}'><body>x</body></message>"
                ));
                sent.insert(id);
            }
        }
        sender.write_all(burst.as_bytes()).unwrap();
    }
    assert_eq!(sent.len(), 10_000);
    // All of them wait.
    let until = Instant::now() + Duration::from_secs(8);
    let queued = || -> u64 {
        let (status, body) = support::http(
            &admin,
            &format!("GET /api/v1/queue HTTP/1.1\r\nHost: {admin}\r\n\r\n"),
        );
        assert_eq!(status, 200);
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        let queues = document["queue"].as_array().unwrap();
        assert!(queues.len() <= 2 * PEERS);
        queues
            .iter()
            .map(|queue| queue["stanzas"].as_u64().unwrap())
            .sum()
    };
    while queued() < 10_000 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(queued(), 10_000);

    signal(&capulet.child.0, "TERM");
    let draining = moment(&capulet.wait_for("draining"));
    let began = Instant::now();
    let ready = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    // The log is a moment ahead.
    while support::http(&admin, &ready).0 != 503 && began.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        support::http(&admin, &ready),
        (503, "draining\n".to_owned())
    );
    gate.open.send(()).unwrap();
    let (status, log) = capulet.end();
    assert_eq!(status, Some(0), "{log}");
    // By the daemon's own clock: how long this machine takes to start a process, or to show us a line, is not its doing.
    let stopped = log.lines().find(|line| line.contains(" stopped "));
    let took = moment(stopped.expect("its last line")) - draining;
    assert!(took <= time::Duration::seconds(10), "it took {took}\n{log}");
    let returned = returned.join().unwrap();
    // The receivers have what they have: their connections end with the other server.
    signal(&montague.child.0, "TERM");
    let (_, their_log) = montague.end();
    let mut delivered = BTreeMap::new();
    for receiver in receivers {
        delivered.extend(receiver.join().unwrap());
    }
    for (id, times) in delivered.iter().chain(&returned) {
        assert_eq!(*times, 1, "{id:?} came more than once");
    }
    let ids = |counts: &BTreeMap<(String, bool), usize>, errors: bool| -> BTreeSet<String> {
        let wanted = counts.keys().filter(|(_, is_error)| *is_error == errors);
        wanted.map(|(id, _)| id.clone()).collect()
    };
    let (delivered, returned) = (ids(&delivered, false), ids(&returned, true));
    assert!(
        delivered.is_disjoint(&returned),
        "both delivered and returned"
    );
    let settled: BTreeSet<String> = delivered.union(&returned).cloned().collect();
    let lost: Vec<&String> = sent.difference(&settled).take(10).collect();
    assert!(lost.is_empty(), "neither: {lost:?}\n{log}\n{their_log}");
    assert_eq!(delivered.len(), 5_000, "{log}");
    assert!(
        log.contains("delivered=5000 bounced=5000 dropped=0"),
        "{log}"
    );
    println!(
        "of {} stanzas {} were delivered and {} returned within {took}",
        sent.len(),
        delivered.len(),
        returned.len()
    );
}
