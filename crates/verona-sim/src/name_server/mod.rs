//! A DNS server that says what a test tells it to, down to the byte, over UDP and TCP.
//! Discovery has to survive what no DNS library would write, so the answers are bytes; [`message`] makes the usual ones.
//!
//! ```
//! use verona_sim::name_server::{Act, NameServer, message::{Message, a}};
//!
//! let server = NameServer::start(|question| {
//!     let mut answer = Message::reply(question);
//!     answer.answers.push(a(&question.name, [192, 0, 2, 1]));
//!     vec![Act::Say(answer.to_bytes())]
//! })?;
//! assert!(server.asked().is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

// It runs in threads of its own, beside whatever runtime the test has; nothing of the core is in here.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a server for tests has sockets and waits"
)]

pub mod message;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

pub use message::Question;

/// What the server does, one after the other, when it is asked; nothing at all is silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Lets time pass.
    Wait(Duration),
    /// Sends one message to who asked, over what the question came by.
    Say(Vec<u8>),
    /// Sends it from another port than the one that was asked (UDP; over TCP nothing).
    SayFromElsewhere(Vec<u8>),
    /// Writes bytes that are no whole message (TCP; over UDP a datagram).
    Write(Vec<u8>),
    /// Closes the connection (TCP; over UDP nothing).
    HangUp,
}

/// How a question came, and how its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each.
    Udp,
    /// A stream of messages, each behind its length.
    Tcp,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Question>>>,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    /// Answers at a port of 127.0.0.1, by UDP and by TCP.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start(
        script: impl Fn(&Question) -> Vec<Act> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::begin(Arc::new(script), true)
    }

    /// The same, and whoever comes by TCP is refused.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start_without_tcp(
        script: impl Fn(&Question) -> Vec<Act> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::begin(Arc::new(script), false)
    }

    fn begin(script: Script, tcp: bool) -> io::Result<Self> {
        let (udp, listener) = sockets()?;
        let address = udp.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let desk = Desk {
            script,
            asked: Arc::clone(&asked),
            counts: Arc::default(),
            ended: Arc::clone(&ended),
        };
        udp.set_read_timeout(Some(GLANCE))?;
        let at_udp = desk.clone();
        thread::spawn(move || at_udp.serve_udp(&Arc::new(udp)));
        if tcp {
            listener.set_nonblocking(true)?;
            thread::spawn(move || desk.serve_tcp(&listener));
        }
        Ok(Self {
            address,
            asked,
            ended,
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every question that came, in order, repetitions too.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

type Script = Arc<dyn Fn(&Question) -> Vec<Act> + Send + Sync>;

/// A port that is free for both.
fn sockets() -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::other("no port was tried");
    for _ in 0..PORTS_TRIED {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        match UdpSocket::bind(listener.local_addr()?) {
            Ok(udp) => return Ok((udp, listener)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What the threads share.
#[derive(Clone)]
struct Desk {
    script: Script,
    asked: Arc<Mutex<Vec<Question>>>,
    counts: Arc<Mutex<BTreeMap<(String, u16), usize>>>,
    ended: Arc<AtomicBool>,
}

impl Desk {
    fn serve_udp(&self, socket: &Arc<UdpSocket>) {
        let mut buffer = [0_u8; 4096];
        while !self.has_ended() {
            let Ok((size, asker)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let question = buffer.get(..size).unwrap_or_default();
            let Some(acts) = self.consult(question, Transport::Udp) else {
                continue;
            };
            if acts.iter().any(|act| matches!(act, Act::Wait(_))) {
                let socket = Arc::clone(socket);
                thread::spawn(move || over_udp(acts, &socket, asker));
            } else {
                over_udp(acts, socket, asker);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.has_ended() {
            match listener.accept() {
                Ok((stream, _)) => {
                    let desk = self.clone();
                    thread::spawn(move || desk.over_tcp(stream));
                }
                Err(_) => thread::sleep(GLANCE / 4),
            }
        }
    }

    /// Ends with the first thing that goes wrong: whoever asked has gone.
    fn over_tcp(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        loop {
            let mut size = [0_u8; 2];
            stream.read_exact(&mut size).ok()?;
            let mut question = vec![0_u8; usize::from(u16::from_be_bytes(size))];
            stream.read_exact(&mut question).ok()?;
            for act in self.consult(&question, Transport::Tcp)? {
                match act {
                    Act::Wait(time) => thread::sleep(time),
                    Act::Say(message) => stream.write_all(&framed(&message)).ok()?,
                    Act::Write(bytes) => stream.write_all(&bytes).ok()?,
                    Act::SayFromElsewhere(_) => {}
                    Act::HangUp => return None,
                }
            }
        }
    }

    /// What the script says; nothing for what is no question.
    fn consult(&self, bytes: &[u8], transport: Transport) -> Option<Vec<Act>> {
        let mut question = Question::read(bytes, transport)?;
        {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (question.name.clone(), question.kind);
            let count = counts.entry(key).or_insert(0);
            question.earlier = *count;
            *count += 1;
        }
        {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(question.clone());
        }
        Some((self.script)(&question))
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Who did not get an answer asks again, so nothing that fails here matters.
fn over_udp(acts: Vec<Act>, socket: &UdpSocket, asker: SocketAddr) {
    for act in acts {
        match act {
            Act::Wait(time) => thread::sleep(time),
            Act::Say(message) | Act::Write(message) => {
                let _ = socket.send_to(&message, asker);
            }
            Act::SayFromElsewhere(message) => {
                if let Ok(other) = UdpSocket::bind(("127.0.0.1", 0)) {
                    let _ = other.send_to(&message, asker);
                }
            }
            Act::HangUp => {}
        }
    }
}

/// A message behind its length, as TCP has it (RFC 1035 §4.2.2).
#[must_use]
pub fn framed(message: &[u8]) -> Vec<u8> {
    let size = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// How often the threads look whether they should end.
const GLANCE: Duration = Duration::from_millis(40);
/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
const PORTS_TRIED: usize = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::message::{A, Message, a};
    use super::*;

    fn question(name: &str) -> Vec<u8> {
        let mut message = Message::new(7, 0x0100);
        message.questions.push((name.to_owned(), A, 1));
        message.to_bytes()
    }

    fn server() -> NameServer {
        NameServer::start(|question| {
            let mut answer = Message::reply(question);
            let last = u8::try_from(question.earlier).unwrap();
            answer.answers.push(a(&question.name, [192, 0, 2, last]));
            vec![Act::Say(answer.to_bytes())]
        })
        .unwrap()
    }

    #[test]
    fn it_answers_by_datagram_and_by_stream_and_counts() {
        let server = server();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.send_to(&question("A.lit"), server.address()).unwrap();
        let mut buffer = [0; 512];
        let (size, from) = udp.recv_from(&mut buffer).unwrap();
        assert_eq!(from, server.address());
        assert!(buffer[..size].ends_with(&[192, 0, 2, 0]));
        let mut tcp = TcpStream::connect(server.address()).unwrap();
        tcp.write_all(&framed(&question("a.lit"))).unwrap();
        let mut length = [0; 2];
        tcp.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        tcp.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(&[192, 0, 2, 1]), "the second time");
        let asked = server.asked();
        let seen: Vec<_> = asked.iter().map(|q| (q.transport, q.earlier)).collect();
        assert_eq!(seen, [(Transport::Udp, 0), (Transport::Tcp, 1)]);
    }

    #[test]
    fn without_tcp_a_connection_is_refused() {
        let server = NameServer::start_without_tcp(|_| Vec::new()).unwrap();
        assert!(TcpStream::connect(server.address()).is_err());
    }
}
