//! A component that talks, comes back whenever its server does, and asks after each few messages whether they are taken.
//! Why a ping: XEP-0114 has no acknowledgement, and an answer on the same connection is all that a component can know.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::account::Account;
use crate::elements::{Element, Reader};
use crate::speaker::{attach, next};

/// One end of the conversation.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) address: SocketAddr,
    pub(super) domain: String,
    /// A domain of its server without a component: it answers pings itself.
    pub(super) asked: String,
    pub(super) other: String,
    /// What it sends, and what it gets.
    pub(super) outgoing: Arc<Account>,
    pub(super) incoming: Arc<Account>,
}

/// A running component.
pub(super) struct Talker {
    silent: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Talker {
    pub(super) fn begin(end: End, secret: &'static str) -> Self {
        let (silent, gone) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (quiet, leave) = (Arc::clone(&silent), Arc::clone(&gone));
        Self {
            silent,
            gone,
            thread: thread::spawn(move || {
                while !leave.load(Ordering::Relaxed) {
                    let attached = attach(end.address, &end.domain, secret, PATIENCE);
                    if let Ok((stream, reader, early)) = attached {
                        talk(&end, stream, reader, &early, &quiet, &leave);
                    }
                    thread::sleep(RETRY);
                }
            }),
        }
    }

    /// Sends nothing more, and hears on.
    pub(super) fn hush(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Leaves.
    pub(super) fn end(self) {
        self.gone.store(true, Ordering::Relaxed);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}

fn talk(
    end: &End,
    stream: TcpStream,
    reader: Reader,
    early: &[Element],
    quiet: &AtomicBool,
    leave: &AtomicBool,
) {
    hear(end, early);
    let Ok(ears) = stream.try_clone() else {
        return;
    };
    let since = end.outgoing.entries().sent;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            listen(end, ears, reader);
            is_over.store(true, Ordering::Relaxed);
        });
        while !leave.load(Ordering::Relaxed) && !is_over.load(Ordering::Relaxed) {
            if !quiet.load(Ordering::Relaxed)
                && !end.outgoing.is_ahead_by(AHEAD_MAX, since)
                && say(end, &stream).is_err()
            {
                break;
            }
            thread::sleep(PAUSE);
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
}

/// A few messages, and a ping whose answer says that they are taken.
fn say(end: &End, mut stream: &TcpStream) -> std::io::Result<()> {
    let End {
        domain,
        other,
        asked,
        ..
    } = end;
    let numbers = end.outgoing.next(BURST);
    let ping = format!("{}-{}", numbers.start, numbers.end);
    let mut text = String::new();
    for number in numbers {
        text.push_str(&format!(
            "<message from='a@{domain}' to='b@{other}' type='chat' id='{number}'><body>{number} {WORDS}</body></message>"
        ));
    }
    text.push_str(&format!(
        "<iq from='a@{domain}' to='{asked}' type='get' id='{ping}'><ping xmlns='urn:xmpp:ping'/></iq>"
    ));
    stream.write_all(text.as_bytes())
}

fn listen(end: &End, mut stream: TcpStream, mut reader: Reader) {
    while let Ok(elements) = next(&mut stream, &mut reader) {
        hear(end, &elements);
    }
}

fn hear(end: &End, elements: &[Element]) {
    for element in elements {
        match (element.name.as_str(), element.kind.as_str()) {
            ("message", "chat") => end.incoming.entries().arrive(element),
            ("message", "error") => end.outgoing.entries().come_back(element),
            ("iq", "result") => end.outgoing.entries().accept(&element.id),
            _ => end
                .incoming
                .entries()
                .surprises
                .push(format!("{element:?}")),
        }
    }
}

/// Messages before a ping.
const BURST: usize = 5;
/// Messages of one connection that may wait for an answer.
const AHEAD_MAX: usize = 2000;
const PAUSE: Duration = Duration::from_millis(4);
/// For the server to answer the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(3);
const WORDS: &str = "two households, both alike in dignity";
