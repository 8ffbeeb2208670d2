//! Hears what crosses the connections between the two servers, prints it, and counts.
//!
//! The engine shows bytes in its connection tasks, which must not wait: they are sent on and read elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use verona::status::LinkRole;
use verona::trace::{Trace, Traced, TracedWhat};

use super::lines::{self, Crossed, Direction, Kind};
use super::world::Addresses;
use crate::output;

/// Where the engine of capulet.lit shows its traffic.
#[derive(Clone)]
pub(super) struct Traffic(mpsc::UnboundedSender<Event>);

/// The other end of [`Traffic`].
pub(super) struct Heard {
    events: mpsc::UnboundedReceiver<Event>,
    sender: mpsc::UnboundedSender<Event>,
}

enum Event {
    /// Something happened on a connection.
    Traced { link: u64, ends: Ends, what: What },
    /// A new scene of the play.
    Scene(String),
    /// All before this has been printed.
    Settled(oneshot::Sender<()>),
}

enum What {
    /// From C to S.
    ToMontague(Vec<u8>),
    /// From S to C.
    ToCapulet(Vec<u8>),
    Secured,
    Closed,
}

/// The two ends of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    /// Who connected.
    pub(super) client: SocketAddr,
    /// Who accepted.
    pub(super) server: SocketAddr,
}

impl Traffic {
    pub(super) fn new() -> (Self, Heard) {
        let (sender, events) = mpsc::unbounded_channel();
        let heard = Heard {
            events,
            sender: sender.clone(),
        };
        (Self(sender), heard)
    }

    pub(super) fn trace(&self) -> Trace {
        let sender = self.0.clone();
        Trace::new(move |traced| {
            // Nobody listens any more once the demonstration is over.
            let _ = sender.send(Event::of(traced));
        })
    }
}

impl Event {
    fn of(traced: &Traced<'_>) -> Self {
        let ends = match traced.role {
            LinkRole::Initiating => Ends {
                client: traced.local_address,
                server: traced.peer_address,
            },
            LinkRole::Receiving => Ends {
                client: traced.peer_address,
                server: traced.local_address,
            },
        };
        let what = match traced.what {
            TracedWhat::Sent(bytes) => What::ToMontague(bytes.to_vec()),
            TracedWhat::Received(bytes) => What::ToCapulet(bytes.to_vec()),
            TracedWhat::Secured => What::Secured,
            TracedWhat::Closed => What::Closed,
        };
        Self::Traced {
            link: traced.link,
            ends,
            what,
        }
    }
}

/// How the transcript looks.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Elements as they are, not shortened.
    pub(super) whole: bool,
    pub(super) colours: bool,
}

/// Prints and counts in a task of its own.
pub(super) struct Printer {
    sender: mpsc::UnboundedSender<Event>,
    conversations: Arc<Mutex<BTreeMap<u64, Conversation>>>,
}

/// What was counted on one connection.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) ends: Ends,
    /// Opened by C.
    pub(super) by_capulet: bool,
    /// The connection that the play is about.
    pub(super) is_main: bool,
    /// Keys or verdicts crossed it.
    pub(super) verifies: bool,
    /// Stanzas from C to S.
    pub(super) to_montague: u64,
    /// Stanzas from S to C.
    pub(super) to_capulet: u64,
}

impl Printer {
    pub(super) fn start(mut heard: Heard, style: Style, addresses: Addresses) -> Self {
        let conversations = Arc::new(Mutex::new(BTreeMap::new()));
        let shared = Arc::clone(&conversations);
        tokio::spawn(async move {
            while let Some(event) = heard.events.recv().await {
                match event {
                    Event::Scene(title) => output::result(&format!("\n{}\n", style.title(&title))),
                    Event::Settled(done) => drop(done.send(())),
                    Event::Traced { link, ends, what } => {
                        let mut conversations = lock(&shared);
                        let number = conversations.len() + 1;
                        let conversation = conversations
                            .entry(link)
                            .or_insert_with(|| Conversation::new(ends, number, addresses));
                        let text = conversation.take(what, style);
                        drop(conversations);
                        output::result(&text);
                    }
                }
            }
        });
        Self {
            sender: heard.sender,
            conversations,
        }
    }

    /// Begins a new scene, after all that was heard.
    pub(super) async fn scene(&self, title: &str) {
        let _ = self.sender.send(Event::Scene(title.to_owned()));
        self.settle().await;
    }

    /// Waits until all that was heard is printed.
    pub(super) async fn settle(&self) {
        let (done, printed) = oneshot::channel();
        let _ = self.sender.send(Event::Settled(done));
        let _ = printed.await;
    }

    /// What has crossed every connection so far.
    pub(super) fn counted(&self) -> Vec<Counted> {
        lock(&self.conversations)
            .values()
            .map(|conversation| conversation.counted.clone())
            .collect()
    }
}

/// One connection between the two.
struct Conversation {
    number: usize,
    counted: Counted,
    to_montague: Direction,
    to_capulet: Direction,
    /// Lines of a connection of which it is not known yet what it is for.
    held: Option<Vec<String>>,
}

impl Conversation {
    fn new(ends: Ends, number: usize, addresses: Addresses) -> Self {
        let by_capulet = ends.server == addresses.montague;
        Self {
            number,
            counted: Counted {
                ends,
                by_capulet,
                is_main: number == 1 && by_capulet,
                verifies: false,
                to_montague: 0,
                to_capulet: 0,
            },
            to_montague: Direction::new(),
            to_capulet: Direction::new(),
            held: Some(Vec::new()),
        }
    }

    /// The lines that are due.
    fn take(&mut self, what: What, style: Style) -> String {
        let mut out = String::new();
        match what {
            What::ToMontague(bytes) => {
                for crossed in self.to_montague.feed(&bytes) {
                    self.counted.to_montague += u64::from(crossed.kind == Kind::Stanza);
                    self.crossed(&crossed, "C → S", style, &mut out);
                }
            }
            What::ToCapulet(bytes) => {
                for crossed in self.to_capulet.feed(&bytes) {
                    self.counted.to_capulet += u64::from(crossed.kind == Kind::Stanza);
                    self.crossed(&crossed, "C ← S", style, &mut out);
                }
            }
            What::Secured => {
                // What follows is another stream.
                self.to_montague = Direction::new();
                self.to_capulet = Direction::new();
                self.line(
                    self.note("TLS: from here on everything is encrypted", style),
                    &mut out,
                );
            }
            What::Closed => {
                self.line(self.note("the connection is closed", style), &mut out);
                self.decide(style, &mut out);
            }
        }
        out
    }

    fn crossed(&mut self, crossed: &Crossed, arrow: &str, style: Style, out: &mut String) {
        if crossed.kind == Kind::Verification {
            self.counted.verifies = true;
        }
        let text = lines::line(crossed, style.whole);
        let line = match crossed.kind {
            Kind::Stanza => style.strong(&format!("{arrow}  {text}")),
            Kind::Opening | Kind::Verification | Kind::Negotiation | Kind::Close => {
                format!("{arrow}  {text}")
            }
        };
        self.line(self.indented(&line, style), out);
        if self.counted.is_main || !matches!(crossed.kind, Kind::Opening) {
            self.decide(style, out);
        }
    }

    /// Prints the line, or keeps it until it is known under which heading it belongs.
    fn line(&mut self, line: String, out: &mut String) {
        match &mut self.held {
            Some(held) => held.push(line),
            None => out.push_str(&line),
        }
    }

    /// Now it is known what the connection is for.
    fn decide(&mut self, style: Style, out: &mut String) {
        let Some(held) = self.held.take() else { return };
        let Counted {
            ends,
            by_capulet,
            is_main,
            verifies,
            ..
        } = self.counted;
        let who = if by_capulet { "C" } else { "S" };
        let purpose = match (is_main, verifies) {
            (true, _) => "the connection".to_owned(),
            (false, true) => format!("connection {}, for verification alone", self.number),
            (false, false) => format!("connection {}", self.number),
        };
        let heading = format!("{who} opens {purpose}: {} → {}", ends.client, ends.server);
        out.push_str(&self.note(&heading, style));
        out.extend(held);
    }

    fn note(&self, text: &str, style: Style) -> String {
        self.indented(&format!("({text})"), style)
    }

    fn indented(&self, text: &str, style: Style) -> String {
        if self.counted.is_main {
            format!("  {text}\n")
        } else {
            style.faint(&format!("      ┊{} {text}", self.number)) + "\n"
        }
    }
}

impl Style {
    fn title(self, text: &str) -> String {
        self.painted("1;4", text)
    }

    fn strong(self, text: &str) -> String {
        self.painted("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.painted("2", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A printer that panicked left whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
