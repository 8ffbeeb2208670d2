//! The kernel's account of TCP connections: who dialled whom, and how many bytes went each way.
//! Why beside the wire log: the log could miss a connection, the kernel cannot.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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

/// Records the end of every TCP socket on the machine while it lives (`ss --events`).
#[derive(Debug)]
pub struct SocketWatch {
    child: Child,
    lines: Arc<Mutex<Vec<Socket>>>,
}

impl SocketWatch {
    /// Starts watching, and makes sure that it does: a connection made for the purpose has to be seen.
    ///
    /// # Errors
    /// `ss` is missing, or the kernel reports nothing (it wants `CAP_NET_ADMIN`).
    pub fn start() -> Result<Self> {
        // ss writes to a pipe in blocks, so stdbuf makes it write lines.
        let mut child = tied_to_us(Path::new("stdbuf"))
            .args(["-oL", "ss", "-tinOEH"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting ss")?;
        let output = child.stdout.take().context("no output of ss")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(socket) = parse(&line) {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(socket);
                }
            }
        });
        let watch = Self { child, lines };
        watch.prove()?;
        Ok(watch)
    }

    /// The connections to these listeners that have ended, in the order in which they did.
    #[must_use]
    pub fn ended(&self, listeners: &[SocketAddr]) -> BTreeMap<Ends, Account> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        accounts(&lines, listeners)
    }

    fn prove(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let stream = TcpStream::connect(address)?;
            drop(listener.accept()?);
            let mut rest = Vec::new();
            (&stream).read_to_end(&mut rest)?;
            drop(stream);
            for _ in 0..20 {
                if !self.ended(&[address]).is_empty() {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        bail!("`ss --events` reports no ended socket: CAP_NET_ADMIN is missing")
    }
}

impl Drop for SocketWatch {
    fn drop(&mut self) {
        // Either call fails only when ss is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The connections to these listeners that are open.
///
/// # Errors
/// `ss` is missing.
pub fn open(listeners: &[SocketAddr]) -> Result<BTreeMap<Ends, Account>> {
    let output = Command::new("ss")
        .args(["-tinOH", "state", "established"])
        .output()
        .context("running ss")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // With a state filter ss leaves out the column of the state.
    let sockets: Vec<Socket> = text
        .lines()
        .filter_map(|line| parse(&format!("ESTAB {line}")))
        .collect();
    Ok(accounts(&sockets, listeners))
}

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
