//! The kernel's account of TCP connections: who dialled whom, and how many bytes went each way.
//! Why beside the wire log: the log could miss a connection, the kernel cannot.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::tied_to_us;

/// One TCP connection to a watched listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Bytes that the dialling end sent, TLS included.
    pub to_listener: u64,
    /// Bytes that the listening end sent, TLS included.
    pub to_dialer: u64,
}

/// The ends of a connection: who dialled, and the listener.
pub type Ends = (SocketAddr, SocketAddr);

/// Records every TCP socket on the machine while it lives.
///
/// With `CAP_NET_ADMIN` the kernel tells of each socket as it ends (`ss --events`), and none is missed. Without it the
/// open ones are looked at again and again, and what lives shorter than that is missed.
#[derive(Debug)]
pub struct SocketWatch {
    seen: Arc<Mutex<Vec<Socket>>>,
    events: Option<Child>,
    running: Arc<AtomicBool>,
}

impl SocketWatch {
    /// Starts watching. Whether the kernel tells is tried: a connection made for the purpose has to be reported.
    ///
    /// # Errors
    /// `ss` is missing.
    pub fn start() -> Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let running = Arc::new(AtomicBool::new(true));
        let mut watch = Self {
            events: Some(follow(Arc::clone(&seen))?),
            seen,
            running,
        };
        if !watch.is_told()? {
            watch.end_events();
            let (seen, running) = (Arc::clone(&watch.seen), Arc::clone(&watch.running));
            thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    if let Ok(sockets) = open() {
                        lock(&seen).extend(sockets);
                    }
                    thread::sleep(BETWEEN_LOOKS);
                }
            });
        }
        Ok(watch)
    }

    /// Whether every connection is in the account, with all its bytes once it has ended.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.events.is_some()
    }

    /// Looks at the open sockets now, beside what the kernel tells of those that end: of many that end at once it may
    /// tell less than all.
    ///
    /// # Errors
    /// `ss` fails.
    pub fn look(&self) -> Result<()> {
        let sockets = open()?;
        lock(&self.seen).extend(sockets);
        Ok(())
    }

    /// The connections to these listeners.
    #[must_use]
    pub fn accounts(&self, listeners: &[SocketAddr]) -> BTreeMap<Ends, Account> {
        accounts(&lock(&self.seen), listeners)
    }

    fn is_told(&self) -> Result<bool> {
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let mut stream = TcpStream::connect(address)?;
            drop(listener.accept()?);
            stream.read_to_end(&mut Vec::new())?;
            drop(stream);
            for _ in 0..20 {
                if !self.accounts(&[address]).is_empty() {
                    return Ok(true);
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(false)
    }

    fn end_events(&mut self) {
        if let Some(mut child) = self.events.take() {
            // Either call fails only when ss is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for SocketWatch {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        self.end_events();
    }
}

/// ss writes to a pipe in blocks, so stdbuf makes it write lines.
fn follow(seen: Arc<Mutex<Vec<Socket>>>) -> Result<Child> {
    let mut child = tied_to_us(Path::new("stdbuf"))
        .args(["-oL", "ss", "-tinOEH"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting ss")?;
    let output = child.stdout.take().context("no output of ss")?;
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(socket) = parse(&line) {
                lock(&seen).push(socket);
            }
        }
    });
    Ok(child)
}

/// The connected sockets of the machine.
fn open() -> Result<Vec<Socket>> {
    let output = Command::new("ss")
        .arg("-tinOH")
        .output()
        .context("running ss")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(parse).collect())
}

fn lock(seen: &Mutex<Vec<Socket>>) -> MutexGuard<'_, Vec<Socket>> {
    // A thread that panicked has left whole entries behind.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fine enough for every connection that carries a conversation.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// One end of one connection as `ss` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    peer: SocketAddr,
    sent: u64,
    received: u64,
}

/// `STATE RECVQ SENDQ LOCAL PEER … bytes_sent:N … bytes_received:N …`; a listener has no peer and is left out.
fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(3);
    let local = words.next()?.parse().ok()?;
    let peer = words.next()?.parse().ok()?;
    let (mut sent, mut received) = (0, 0);
    for word in words {
        if let Some(number) = word.strip_prefix("bytes_sent:") {
            sent = number.parse().ok()?;
        } else if let Some(number) = word.strip_prefix("bytes_received:") {
            received = number.parse().ok()?;
        }
    }
    Some(Socket {
        local,
        peer,
        sent,
        received,
    })
}

/// Joins both ends of each connection. What an end sent counts: `bytes_received` has the FIN in it.
fn accounts(sockets: &[Socket], listeners: &[SocketAddr]) -> BTreeMap<Ends, Account> {
    let mut accounts = BTreeMap::new();
    for socket in sockets {
        let (ends, sent_by_dialer) = if listeners.contains(&socket.peer) {
            ((socket.local, socket.peer), true)
        } else if listeners.contains(&socket.local) {
            ((socket.peer, socket.local), false)
        } else {
            continue;
        };
        let account = accounts.entry(ends).or_insert(Account {
            to_listener: 0,
            to_dialer: 0,
        });
        let (sent, received) = if sent_by_dialer {
            (&mut account.to_listener, &mut account.to_dialer)
        } else {
            (&mut account.to_dialer, &mut account.to_listener)
        };
        *sent = (*sent).max(socket.sent);
        *received = (*received).max(socket.received.saturating_sub(1));
    }
    accounts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_one_account() {
        let dialer = "127.0.0.1:46122".parse().unwrap();
        let listener = "127.0.0.9:5269".parse().unwrap();
        let sockets: Vec<Socket> = [
            "UNCONN 0 0 127.0.0.1:46122 127.0.0.9:5269 wscale:10,10 bytes_sent:1000 bytes_acked:1002",
            "UNCONN 1 0 127.0.0.9:5269 127.0.0.1:46122 ato:40 bytes_acked:1 bytes_received:1001",
            "UNCONN 0 0 127.0.0.9:5269 0.0.0.0:* rto:1000",
        ]
        .iter()
        .filter_map(|line| parse(line))
        .collect();
        let found = accounts(&sockets, &[listener]);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [(
                (dialer, listener),
                Account {
                    to_listener: 1000,
                    to_dialer: 0
                }
            )]
        );
    }
}
