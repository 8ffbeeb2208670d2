//! One end of a conversation: a component (XEP-0114) in this program, which counts what it sends and what it gets.
//! Why not a script: a matrix has two hundred ends, and a Python for each would be most of its time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha1::{Digest as _, Sha1};

use crate::elements::{Element, Reader};

/// A component that is connected and has authenticated.
#[derive(Debug)]
pub struct Speaker {
    domain: String,
    stream: TcpStream,
    heard: Arc<Heard>,
}

/// What came back for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounce {
    /// The message's number.
    pub number: usize,
    /// The defined condition.
    pub condition: String,
    /// The text, empty when there is none.
    pub text: String,
}

#[derive(Debug, Default)]
struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The numbers of the messages that came, in their order.
    messages: Vec<usize>,
    bounces: Vec<Bounce>,
    /// Anything that should not have come, in words.
    surprises: Vec<String>,
    ended: bool,
}

impl Speaker {
    /// Connects to the component port at `address` and authenticates as `domain`.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub fn connect(address: SocketAddr, domain: &str, secret: &str) -> Result<Self> {
        let (stream, reader, early) = attach(address, domain, secret, HANDSHAKE)?;
        ensure!(
            early.is_empty(),
            "{domain} got something before it said anything: {early:?}"
        );
        let heard = Arc::new(Heard::default());
        let (ears, input) = (Arc::clone(&heard), stream.try_clone()?);
        thread::spawn(move || listen(input, reader, &ears));
        Ok(Self {
            domain: domain.to_owned(),
            stream,
            heard,
        })
    }

    /// Its domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Sends the messages with these numbers to the other end's domain.
    ///
    /// # Errors
    /// The server has closed the connection.
    pub fn say(&self, to: &str, numbers: std::ops::Range<usize>) -> Result<()> {
        for number in numbers {
            let message = format!(
                "<message from='a@{from}' to='b@{to}' type='chat' id='{number}'><body>{number} {PADDING}</body></message>",
                from = self.domain
            );
            (&self.stream)
                .write_all(message.as_bytes())
                .with_context(|| format!("{} sends", self.domain))?;
        }
        Ok(())
    }

    /// Waits until as many messages have come, or the deadline passes; says how many came.
    pub fn wait_for(&self, messages: usize, deadline: Duration) -> usize {
        self.wait(deadline, |state| state.messages.len() >= messages)
            .messages
            .len()
    }

    /// Waits for a message that came back.
    pub fn wait_for_bounce(&self, deadline: Duration) -> Option<Bounce> {
        self.wait(deadline, |state| !state.bounces.is_empty())
            .bounces
            .first()
            .cloned()
    }

    /// The messages that came, in their order.
    #[must_use]
    pub fn messages(&self) -> Vec<usize> {
        lock(&self.heard.state).messages.clone()
    }

    /// The messages that came back.
    #[must_use]
    pub fn bounces(&self) -> Vec<Bounce> {
        lock(&self.heard.state).bounces.clone()
    }

    /// What should not have come at all: other stanzas, changed messages, the end of the connection.
    #[must_use]
    pub fn surprises(&self) -> Vec<String> {
        let state = lock(&self.heard.state);
        let mut all = state.surprises.clone();
        if state.ended {
            all.push("the server closed the component's connection".to_owned());
        }
        all
    }

    fn wait(&self, deadline: Duration, enough: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let until = Instant::now() + deadline;
        let mut state = lock(&self.heard.state);
        while !enough(&state) && !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .heard
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        // The server may have gone first.
        let _ = (&self.stream).write_all(b"</stream:stream>");
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Connects to the component port at `address` and authenticates as `domain`; no read on the way may take longer than
/// `patience`. The reader has seen the stream's header, and the last part is what came together with the answer.
///
/// # Errors
/// The server is not there, or refuses.
pub fn attach(
    address: SocketAddr,
    domain: &str,
    secret: &str,
    patience: Duration,
) -> Result<(TcpStream, Reader, Vec<Element>)> {
    let mut stream = TcpStream::connect(address)
        .with_context(|| format!("connecting {domain} to the component port {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
    );
    stream.write_all(header.as_bytes())?;
    let mut reader = Reader::default();
    while reader.stream().is_empty() {
        let early = next(&mut stream, &mut reader)?;
        ensure!(
            early.is_empty(),
            "{domain} was not taken as a component: {early:?}"
        );
    }
    let proof = Sha1::digest(format!("{}{secret}", reader.stream()));
    let proof: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("<handshake>{proof}</handshake>").as_bytes())?;
    let mut answers = Vec::new();
    while answers.is_empty() {
        answers = next(&mut stream, &mut reader)?;
    }
    let answer = answers.remove(0);
    ensure!(
        answer.name == "handshake",
        "{domain} was refused as a component: {answer:?}"
    );
    stream.set_read_timeout(None)?;
    Ok((stream, reader, answers))
}

/// Exactly these messages came, in this order, none twice.
///
/// # Errors
/// What is wrong.
pub fn exactly(came: &[usize], wanted: &[usize]) -> Result<()> {
    let mut sorted = came.to_vec();
    sorted.sort_unstable();
    let number = sorted.len();
    sorted.dedup();
    ensure!(
        number == sorted.len(),
        "{} messages came twice",
        number - sorted.len()
    );
    ensure!(
        number == wanted.len(),
        "{number} of {} messages came",
        wanted.len()
    );
    ensure!(
        came == wanted,
        "the messages came in another order: {}",
        disorder(came)
    );
    Ok(())
}

fn disorder(messages: &[usize]) -> String {
    messages
        .windows(2)
        .filter_map(|two| match two {
            [before, after] if after < before => Some(format!("{after} after {before}")),
            _ => None,
        })
        .take(5)
        .collect::<Vec<_>>()
        .join(", ")
}

fn listen(mut stream: TcpStream, mut reader: Reader, heard: &Heard) {
    loop {
        let elements = next(&mut stream, &mut reader);
        let mut state = lock(&heard.state);
        match elements {
            Ok(elements) => {
                for element in elements {
                    take(&mut state, &element);
                }
            }
            Err(_) => {
                state.ended = true;
                heard.changed.notify_all();
                return;
            }
        }
        heard.changed.notify_all();
    }
}

fn take(state: &mut State, element: &Element) {
    let number = element.id.parse::<usize>();
    match (element.name.as_str(), element.kind.as_str(), number) {
        ("message", "error", Ok(number)) => state.bounces.push(Bounce {
            number,
            condition: element.condition.clone(),
            text: element.explanation.clone(),
        }),
        ("message", "chat", Ok(number)) => {
            if element.body == format!("{number} {PADDING}") {
                state.messages.push(number);
            } else {
                state
                    .surprises
                    .push(format!("{number} was changed: {:?}", element.body));
            }
        }
        _ => state.surprises.push(format!("{element:?}")),
    }
}

/// Reads once; at least one element may still be incomplete.
pub(crate) fn next(stream: &mut TcpStream, reader: &mut Reader) -> Result<Vec<Element>> {
    let mut buffer = [0; 16 * 1024];
    let length = stream
        .read(&mut buffer)
        .context("the component's connection")?;
    ensure!(length > 0, "the server closed the component's connection");
    reader.read(buffer.get(..length).unwrap_or_default())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A thread that panicked has left whole entries behind.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a message big enough for payload to stand out from negotiation in the kernel's account.
const PADDING: &str = "two households, both alike in dignity, in fair Verona, where we lay our scene; \
    from ancient grudge break to new mutiny, where civil blood makes civil hands unclean";

/// The bytes of a body at least, for whoever compares with what TCP carried.
pub const MESSAGE_BYTES_MIN: u64 = 200;

/// For a server to take a component: one that listens may still be loading what it hosts.
const HANDSHAKE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::*;

    fn fault(came: &[usize]) -> String {
        exactly(came, &[0, 1, 2]).unwrap_err().to_string()
    }

    #[test]
    fn loss_doubles_and_disorder_are_told_apart() {
        assert!(exactly(&[0, 1, 2], &[0, 1, 2]).is_ok());
        assert!(fault(&[0, 2]).contains("2 of 3"));
        assert!(fault(&[0, 1, 1, 2]).contains("1 messages came twice"));
        assert!(fault(&[0, 2, 1]).contains("1 after 2"));
    }

    #[test]
    fn a_message_is_taken_once_and_only_unchanged() {
        let mut state = State::default();
        let mut element = Element {
            name: "message".into(),
            kind: "chat".into(),
            id: "7".into(),
            body: format!("7 {PADDING}"),
            ..Element::default()
        };
        take(&mut state, &element);
        assert_eq!(state.messages, [7]);
        element.body.push('!');
        take(&mut state, &element);
        assert_eq!(state.messages, [7]);
        assert_eq!(state.surprises.len(), 1);
    }
}
