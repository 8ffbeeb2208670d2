//! A component that talks all the time, comes back whenever it is thrown out, and can be killed or made slow.
//! Why in this program and not a process of its own: what a killed process had read would be known to nobody.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::SockRef;

use super::ledger::{Id, Ledger};
use crate::elements::{Element, Reader};
use crate::process::lock;
use crate::speaker::attach;

/// A component that lives until it is dropped.
#[derive(Debug)]
pub(super) struct Voice {
    wishes: Arc<Wishes>,
    life: Option<JoinHandle<()>>,
}

/// How it shall live.
#[derive(Debug)]
struct Wishes {
    domain: String,
    secret: String,
    /// A domain of its own server that answers pings.
    hall: String,
    server: Mutex<SocketAddr>,
    flows: Vec<usize>,
    ledger: Arc<Ledger>,
    speaks: Arc<AtomicBool>,
    per_second: f64,
    is_over: AtomicBool,
    death: Mutex<Option<Death>>,
    deaf_until: Mutex<Instant>,
}

/// How a component goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// It is killed while it reads: its end is an RST.
    Reset,
    /// It is killed with nothing unread: its end is a FIN, and what comes after is still seen.
    Fin,
}

/// What a voice is made of.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) domain: &'a str,
    pub(super) secret: &'a str,
    pub(super) hall: &'a str,
    pub(super) server: SocketAddr,
    pub(super) ledger: &'a Arc<Ledger>,
    /// Whether all voices speak or only listen.
    pub(super) speaks: &'a Arc<AtomicBool>,
    /// The flows that it sends, and each one's stanzas a second.
    pub(super) flows: Vec<usize>,
    pub(super) per_second: f64,
}

impl Voice {
    pub(super) fn start(settings: Settings<'_>) -> Self {
        let wishes = Arc::new(Wishes {
            domain: settings.domain.to_owned(),
            secret: settings.secret.to_owned(),
            hall: settings.hall.to_owned(),
            server: Mutex::new(settings.server),
            flows: settings.flows,
            ledger: Arc::clone(settings.ledger),
            speaks: Arc::clone(settings.speaks),
            per_second: settings.per_second,
            is_over: AtomicBool::new(false),
            death: Mutex::new(None),
            deaf_until: Mutex::new(Instant::now()),
        });
        let own = Arc::clone(&wishes);
        Self {
            wishes,
            life: Some(thread::spawn(move || live(&own))),
        }
    }

    pub(super) fn domain(&self) -> &str {
        &self.wishes.domain
    }

    /// Dies now, and comes back.
    pub(super) fn die(&self, death: Death) {
        *lock(&self.wishes.death) = Some(death);
    }

    /// Reads nothing for so long.
    pub(super) fn turn_deaf(&self, time: Duration) {
        *lock(&self.wishes.deaf_until) = Instant::now() + time;
    }

    /// Its server is somewhere else from its next life on.
    pub(super) fn moves_to(&self, server: SocketAddr) {
        *lock(&self.wishes.server) = server;
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.wishes.is_over.store(true, Ordering::Relaxed);
        if let Some(life) = self.life.take() {
            // A panic in it has been printed; the numbers show the rest.
            let _ = life.join();
        }
    }
}

impl Wishes {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn death(&self) -> Option<Death> {
        *lock(&self.death)
    }
}

fn live(wishes: &Arc<Wishes>) {
    while !wishes.is_over() {
        let server = *lock(&wishes.server);
        match attach(server, &wishes.domain, &wishes.secret, ATTACH_MAX) {
            Ok((stream, reader, early)) => one_life(wishes, stream, reader, early),
            // Its server is away, or has not noticed yet that the life before has ended.
            Err(_) => thread::sleep(BETWEEN_LIVES),
        }
    }
}

fn one_life(wishes: &Arc<Wishes>, stream: TcpStream, reader: Reader, early: Vec<Element>) {
    let stream = Arc::new(stream);
    let is_dead = Arc::new(AtomicBool::new(false));
    let (answers, to_answer) = channel();
    // For both halves: whoever waits looks up often enough to see that he shall die.
    let _ = stream.set_read_timeout(Some(LOOK_UP));
    let _ = stream.set_write_timeout(Some(LOOK_UP));
    let ears = Ears {
        wishes: Arc::clone(wishes),
        stream: Arc::clone(&stream),
        reader,
        answers,
        is_dead: Arc::clone(&is_dead),
    };
    let ears = thread::spawn(move || ears.listen(&early));
    let mut mouth = Mouth {
        wishes,
        stream: &stream,
        is_dead: &is_dead,
        pings: 0,
        asked: Vec::new(),
        accepted: to_answer,
    };
    // Why it ended is seen by what came of its stanzas.
    let _ = mouth.talk();
    let death = wishes.death();
    match death {
        None => {
            let _ = stream.shutdown(Shutdown::Both);
        }
        Some(Death::Fin) => {
            let _ = stream.shutdown(Shutdown::Write);
        }
        Some(Death::Reset) => {
            // With nothing to wait for, the system ends a connection by an RST.
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        }
    }
    is_dead.store(true, Ordering::Relaxed);
    let _ = ears.join();
    drop(stream);
    if death == Some(Death::Reset) {
        wishes.ledger.target_killed(&wishes.domain);
    }
    wishes.ledger.sender_died(&wishes.flows);
    *lock(&wishes.death) = None;
}

/// What the ears have for the mouth.
enum Heard {
    /// Somebody asked: this is the answer.
    Answer(String),
    /// The server has answered this ping.
    Pong(u64),
}

struct Mouth<'a> {
    wishes: &'a Wishes,
    stream: &'a TcpStream,
    is_dead: &'a AtomicBool,
    pings: u64,
    /// What each flow had sent before a ping.
    asked: Vec<(u64, Vec<usize>)>,
    accepted: Receiver<Heard>,
}

impl Mouth<'_> {
    fn talk(&mut self) -> Result<()> {
        let mut last = Instant::now();
        let mut pinged = last;
        let mut credit = vec![0.0; self.wishes.flows.len()];
        loop {
            let mut text = String::new();
            for heard in self.accepted.try_iter().collect::<Vec<_>>() {
                match heard {
                    Heard::Answer(answer) => text.push_str(&answer),
                    Heard::Pong(ping) => self.on_pong(ping),
                }
            }
            let passed = last.elapsed().as_secs_f64();
            last = Instant::now();
            if self.wishes.speaks.load(Ordering::Relaxed) {
                for (flow, credit) in self.wishes.flows.iter().zip(&mut credit) {
                    *credit = (*credit + passed * self.wishes.per_second).min(CREDIT_MAX);
                    while *credit >= 1.0 {
                        *credit -= 1.0;
                        let id = self.wishes.ledger.send(*flow).context("a flow")?;
                        text.push_str(&self.stanza(id)?);
                    }
                }
            }
            if pinged.elapsed() >= BETWEEN_PINGS && self.asked.len() < PINGS_MAX {
                pinged = Instant::now();
                self.pings += 1;
                let sent = self.wishes.ledger.sent(&self.wishes.flows);
                self.asked.push((self.pings, sent));
                text.push_str(&format!(
                    "<iq from='a@{}' to='{}' type='get' id='p{}'><ping xmlns='urn:xmpp:ping'/></iq>",
                    self.wishes.domain, self.wishes.hall, self.pings
                ));
            }
            self.write(text.as_bytes())?;
            thread::sleep(TICK);
            self.is_alive()?;
        }
    }

    fn on_pong(&mut self, ping: u64) {
        let (answered, asked) = std::mem::take(&mut self.asked)
            .into_iter()
            .partition(|(number, _)| *number <= ping);
        self.asked = asked;
        let answered: Vec<(u64, Vec<usize>)> = answered;
        if let Some((_, sent)) = answered.last() {
            self.wishes.ledger.accept(&self.wishes.flows, sent);
        }
    }

    fn stanza(&self, id: Id) -> Result<String> {
        let (from, to) = self.wishes.ledger.ends(id.flow).context("a flow")?;
        let body = body(id).replace('&', "&amp;");
        Ok(match id.is_request() {
            true => format!(
                "<iq from='{from}' to='{to}' type='get' id='{id}'><body xmlns='urn:example:chaos'>{body}</body></iq>"
            ),
            false => format!(
                "<message from='{from}' to='{to}' type='chat' id='{id}'><body>{body}</body></message>"
            ),
        })
    }

    fn write(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match (&*self.stream).write(bytes) {
                Ok(0) => bail!("the connection takes nothing more"),
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(error) if waits(&error) => {}
                Err(error) => return Err(error.into()),
            }
            self.is_alive()?;
        }
        Ok(())
    }

    fn is_alive(&self) -> Result<()> {
        if self.wishes.is_over() || self.wishes.death().is_some() {
            bail!("it shall end");
        }
        if self.is_dead.load(Ordering::Relaxed) {
            bail!("the server has ended the connection");
        }
        Ok(())
    }
}

struct Ears {
    wishes: Arc<Wishes>,
    stream: Arc<TcpStream>,
    reader: Reader,
    answers: Sender<Heard>,
    is_dead: Arc<AtomicBool>,
}

impl Ears {
    /// Begins with what came together with the answer to the handshake.
    fn listen(mut self, early: &[Element]) {
        early.iter().for_each(|element| self.take(element));
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let deaf_until = *lock(&self.wishes.deaf_until);
            while Instant::now() < deaf_until && !self.shall_end() {
                thread::sleep(LOOK_UP);
            }
            let shall_end = self.shall_end();
            match (&*self.stream).read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let elements = self.reader.read(buffer.get(..length).unwrap_or_default());
                    match elements {
                        Ok(elements) => elements.iter().for_each(|element| self.take(element)),
                        Err(error) => {
                            let domain = &self.wishes.domain;
                            let what = format!("{domain} cannot read what it gets: {error:#}");
                            self.wishes.ledger.surprise(what);
                            break;
                        }
                    }
                }
                // Everything has been read that had come before its end.
                Err(error) if waits(&error) && shall_end => break,
                Err(error) if waits(&error) => {}
                Err(_) => break,
            }
        }
        self.is_dead.store(true, Ordering::Relaxed);
    }

    /// The mouth has ended, or the connection.
    fn shall_end(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    fn take(&self, element: &Element) {
        let ledger = &self.wishes.ledger;
        let id = Id::parse(&element.id);
        match (element.name.as_str(), element.kind.as_str(), id) {
            ("message" | "iq", "error", Some(id)) => {
                // Of a long row of attempts, the first is enough to see what it was.
                let text = element
                    .explanation
                    .split([':', ';'])
                    .next()
                    .unwrap_or_default();
                ledger.bounce(id, &element.condition, text);
            }
            ("message", "chat", Some(id)) => ledger.arrive(id, element.body == body(id)),
            ("iq", "get", Some(id)) => {
                ledger.arrive(id, element.body == body(id));
                let answer = format!(
                    "<iq from='{}' to='{}' type='result' id='{id}'/>",
                    element.to, element.from
                );
                // The mouth may have gone; then nobody answers.
                let _ = self.answers.send(Heard::Answer(answer));
            }
            ("iq", "result", Some(id)) => ledger.answer(id),
            ("iq", "result" | "error", None) => {
                if let Some(ping) = element.id.strip_prefix('p').and_then(|id| id.parse().ok()) {
                    let _ = self.answers.send(Heard::Pong(ping));
                }
            }
            // The other server asks whether anybody is here.
            ("iq", "get", None) if element.children == ["ping"] => {
                let pong = format!(
                    "<iq from='{}' to='{}' type='result' id='{}'/>",
                    element.to, element.from, element.id
                );
                let _ = self.answers.send(Heard::Answer(pong));
            }
            // A server says why it ends the connection.
            ("error", ..) => {}
            _ => ledger.surprise(format!("{}: {element:?}", self.wishes.domain)),
        }
    }
}

/// What stands in a stanza: as long as its number says, and known to whoever reads the number.
fn body(id: Id) -> String {
    let mixed = id.number.wrapping_mul(2_654_435_761) ^ id.flow.wrapping_mul(40_503);
    let length = match id.number % 100 {
        50 => 12_000,
        _ => mixed % 700,
    };
    let mut text = format!("{id} ");
    while text.len() < length {
        text.push_str(WORDS);
    }
    text
}

fn waits(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

const WORDS: &str =
    "ancient grudge breaks to new mutiny where civil blood makes civil hands unclean & ";
const TICK: Duration = Duration::from_millis(20);
const LOOK_UP: Duration = Duration::from_millis(20);
const ATTACH_MAX: Duration = Duration::from_secs(10);
const BETWEEN_LIVES: Duration = Duration::from_millis(200);
const BETWEEN_PINGS: Duration = Duration::from_millis(100);
/// Of pings that have not been answered yet.
const PINGS_MAX: usize = 100;
/// After a pause it does not make up for more than this of each flow.
const CREDIT_MAX: f64 = 20.0;
