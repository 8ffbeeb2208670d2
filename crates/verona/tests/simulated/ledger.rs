//! What became of every stanza: the judge of all these tests.
//!
//! Each has an id that says who sent it to whom and as which one, so that a stanza in the wrong place or out of order
//! tells on itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;
use verona_proto::addr::Jid;
use verona_proto::stanza::{Stanza, StanzaClass, StanzaKind};

/// The ledger. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    stanzas: BTreeMap<String, Entry>,
    /// For each sender and recipient, how many were made.
    made: BTreeMap<(String, String), u64>,
    /// The number that was delivered last, and the order in which it came.
    last: BTreeMap<(String, String), u64>,
    crashes: Vec<(Instant, Vec<String>)>,
    stops: Vec<(Instant, Vec<String>)>,
    /// Stanzas that were delivered after a later one.
    late: Vec<String>,
    wrongs: Vec<String>,
}

/// One stanza.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) from: String,
    pub(crate) to: String,
    number: u64,
    /// When its sender gave it to its engine.
    pub(crate) sent: Option<Instant>,
    pub(crate) state: State,
    pub(crate) delivered: Vec<Instant>,
    pub(crate) bounced: Vec<(Instant, String)>,
}

/// What the engine said when it was given the stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing: it was not given to it, or the engine ended over it.
    Unsaid,
    Accepted,
    Refused,
}

/// What is certain about a stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Delivered,
    Bounced,
    /// Its sender was told that it did not arrive, and it did.
    Both,
    /// Neither.
    Unknown,
}

impl Ledger {
    /// The next stanza of a sender for a recipient.
    pub(crate) fn make(&self, from: &str, to: &str, kind: StanzaKind, bytes: usize) -> Stanza {
        let mut book = self.book();
        let number = book.made.entry((from.into(), to.into())).or_default();
        *number += 1;
        let number = *number;
        let id = format!("{from}>{to}#{number}");
        let (r#type, payload) = match kind {
            StanzaKind::Iq => ("get", "<query xmlns='urn:example:simulated'/>".to_owned()),
            StanzaKind::Message | StanzaKind::Presence => {
                ("chat", format!("<body>{}</body>", "x".repeat(bytes)))
            }
        };
        let stanza = Stanza::build(
            kind,
            &Jid::parse(&format!("bot@{from}/here")).unwrap(),
            &Jid::parse(&format!("bot@{to}/there")).unwrap(),
            Some(r#type),
            Some(&id),
            &payload,
        );
        let entry = Entry {
            from: from.to_owned(),
            to: to.to_owned(),
            number,
            sent: None,
            state: State::Unsaid,
            delivered: Vec::new(),
            bounced: Vec::new(),
        };
        book.stanzas.insert(id, entry);
        stanza
    }

    pub(crate) fn sending(&self, id: &str) {
        self.book().entry(id).sent = Some(Instant::now());
    }

    pub(crate) fn accepted(&self, id: &str) {
        self.book().entry(id).state = State::Accepted;
    }

    pub(crate) fn refused(&self, id: &str) {
        self.book().entry(id).state = State::Refused;
    }

    /// A bot was given a stanza: one that another sent, or an error for one of its own.
    pub(crate) fn received(&self, stanza: &Stanza) {
        let id = stanza.id().unwrap();
        let mut book = self.book();
        let mut entry = book.entry(&id).clone();
        let now = Instant::now();
        let mut wrong = |what: &str| book.wrongs.push(format!("{id} {what}"));
        if stanza.class() == StanzaClass::Error {
            if stanza.to().to_string() != entry.from {
                wrong("bounced to somebody else");
            }
            entry.bounced.push((now, condition(stanza)));
            if entry.bounced.len() > 1 {
                wrong("bounced twice");
            }
        } else {
            if (stanza.from().to_string(), stanza.to().to_string())
                != (entry.from.clone(), entry.to.clone())
            {
                wrong("delivered to somebody else");
            }
            entry.delivered.push(now);
            if entry.delivered.len() > 1 {
                wrong("delivered twice");
            }
            let last = book
                .last
                .entry((entry.from.clone(), entry.to.clone()))
                .or_default();
            let before = std::mem::replace(last, entry.number.max(*last));
            if before > entry.number {
                book.late.push(id.clone());
            }
        }
        book.stanzas.insert(id, entry);
    }

    /// A server with these domains ended from one moment to the next.
    pub(crate) fn crashed(&self, domains: &[String]) {
        self.book().crashes.push((Instant::now(), domains.to_vec()));
    }

    /// A server with these domains has ended in good order: its bots are gone too.
    pub(crate) fn stopped(&self, domains: &[String]) {
        self.book().stops.push((Instant::now(), domains.to_vec()));
    }

    /// How many accepted stanzas nobody knows anything of.
    pub(crate) fn unsettled(&self) -> usize {
        let unknown =
            |entry: &&Entry| entry.state == State::Accepted && entry.fate() == Fate::Unknown;
        self.book().stanzas.values().filter(unknown).count()
    }

    /// Everything that was given to an engine.
    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        let book = self.book();
        let given = book
            .stanzas
            .iter()
            .filter(|(_, entry)| entry.sent.is_some());
        given
            .map(|(id, entry)| (id.clone(), entry.clone()))
            .collect()
    }

    /// What must never happen, whatever the network does.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        self.book().wrongs.clone()
    }

    /// Stanzas that were delivered after a later one of the same sender for the same recipient.
    pub(crate) fn late(&self) -> Vec<String> {
        self.book().late.clone()
    }

    /// Whether the server of `name`, the stanza's sender or recipient, was stopped while or after it was sent.
    pub(crate) fn was_stopped_over(&self, entry: &Entry, name: &String) -> bool {
        let book = self.book();
        book.stops.iter().any(|(at, domains)| {
            entry.sent.is_some_and(|sent| sent <= *at) && domains.contains(name)
        })
    }

    /// Whether the server of one of the two has crashed while or after the stanza was sent.
    pub(crate) fn was_crashed_over(&self, entry: &Entry) -> bool {
        let book = self.book();
        book.crashes.iter().any(|(at, domains)| {
            entry.sent.is_some_and(|sent| sent <= *at)
                && (domains.contains(&entry.from) || domains.contains(&entry.to))
        })
    }

    pub(crate) fn fate_of(&self, id: &str) -> Fate {
        self.book().entry(id).fate()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }
}

impl Book {
    fn entry(&mut self, id: &str) -> &mut Entry {
        self.stanzas
            .get_mut(id)
            .unwrap_or_else(|| panic!("nobody made the stanza {id}"))
    }
}

impl Entry {
    /// What happened to it, in seconds since the beginning.
    pub(crate) fn tell(&self, begun: Instant) -> String {
        let at = |moment: &Instant| format!("{:.3} s", (*moment - begun).as_secs_f64());
        let mut told = format!("sent {}", self.sent.as_ref().map(at).unwrap_or_default());
        for moment in &self.delivered {
            told += &format!(", delivered {}", at(moment));
        }
        for (moment, error) in &self.bounced {
            told += &format!(", bounced {}: {error}", at(moment));
        }
        told
    }

    pub(crate) fn fate(&self) -> Fate {
        match (self.delivered.is_empty(), self.bounced.is_empty()) {
            (false, true) => Fate::Delivered,
            (true, false) => Fate::Bounced,
            (false, false) => Fate::Both,
            (true, true) => Fate::Unknown,
        }
    }
}

/// The condition and the text of an error.
fn condition(stanza: &Stanza) -> String {
    let text = String::from_utf8_lossy(stanza.bytes()).into_owned();
    let error = text.find("<error").map_or("", |at| &text[at..]);
    error.to_owned()
}
