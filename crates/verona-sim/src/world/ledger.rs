//! The observer's books: what became of every stanza that a server took from a component.
//!
//! The observer sees what no machine sees, both ends of everything. It knows for certain what was lost with a wire or
//! with the memory of a server that crashed; whatever else is neither delivered nor returned is a fault of ours.

use std::collections::{BTreeMap, BTreeSet};

use verona_proto::stanza::{Stanza, StanzaClass, StanzaKind};

use super::clock::Moment;
use super::coverage::Coverage;
use super::network::Sent;

/// What became of all stanzas, and the first thing that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    /// The names of the domains, by their position.
    domains: Vec<String>,
    /// For each sender and recipient: how many were taken, and the last one that was delivered.
    flows: BTreeMap<(usize, usize), Flow>,
    failure: Option<String>,
    /// How often each server forgot something, or stopped taking up streams.
    upsets: BTreeMap<usize, u32>,
    /// How often each server has begun anew.
    lives: BTreeMap<usize, u32>,
    /// Servers that take up nothing, for they are about to end.
    leaving: BTreeSet<usize>,
    /// Which streams that can be taken up each server knows, and how often it had forgotten before.
    known: BTreeMap<(usize, String), u32>,
    /// Until when a server keeps what it knows of a stream that it has lost.
    kept: BTreeMap<(usize, String), Moment>,
    /// Streams that a peer refused to take up, for a good reason.
    given_up: BTreeSet<String>,
}

/// A stanza of which a server will come to know whether it arrived, unless something else happens.
#[derive(Clone, Debug)]
struct Doubt {
    /// The sender and its peer.
    servers: [usize; 2],
    upsets: [u32; 2],
    stream: String,
    until: Moment,
}

#[derive(Debug, Default)]
struct Flow {
    taken: u64,
    delivered: u64,
}

/// Which stanza, or the error about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) number: u32,
    pub(crate) is_error: bool,
}

impl Key {
    fn side(self) -> usize {
        usize::from(self.is_error)
    }
}

/// What is known of one stanza.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kind: StanzaKind,
    /// The request that it answers.
    answers: Option<u32>,
    /// The answer to it.
    answer: Option<u32>,
    /// Its place among those of its flow that a server took.
    place: Option<u64>,
    delivered: u32,
    returned: u32,
    lost: Option<Loss>,
    /// Nobody knew for a while whether it had arrived, so that it may be delivered and returned, or sent again.
    /// Its connection has ended before it came out, and nobody waits to hear of it: it may come late.
    adrift: bool,
    /// The stanza, and the error about it.
    uncertain: [bool; 2],
    doubt: [Option<Doubt>; 2],
}

/// Where a stanza was lost, as the rules allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// On a wire between servers that do not acknowledge.
    Wire,
    /// Between a server and a component.
    Component,
    /// In the memory of a server that crashed.
    Crash,
    /// It is an error or an answer that found nobody to take it.
    Unheard,
    /// It is an error or an answer that found no room.
    NoRoom,
}

impl Loss {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wire => "lost on the wire",
            Self::Component => "lost between server and component",
            Self::Crash => "lost in a crash",
            Self::Unheard => "an error or answer that nobody takes",
            Self::NoRoom => "an error or answer without room",
        }
    }
}

impl Ledger {
    pub(crate) fn new(domains: Vec<String>) -> Self {
        Self {
            domains,
            ..Self::default()
        }
    }

    /// Notes what is wrong; what comes first counts.
    pub(crate) fn fail(&mut self, text: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(text.into());
        }
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// A stanza that a component is about to send.
    pub(crate) fn write(&mut self, from: usize, to: usize, kind: StanzaKind) -> u32 {
        self.entries.push(Entry {
            from,
            to,
            kind,
            answers: None,
            answer: None,
            place: None,
            delivered: 0,
            returned: 0,
            lost: None,
            adrift: false,
            uncertain: [false; 2],
            doubt: [None, None],
        });
        u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
    }

    /// The answer to a request that a component is about to send.
    pub(crate) fn answer(&mut self, request: u32) -> Option<u32> {
        let (from, to) = self.entry(request).map(|entry| (entry.to, entry.from))?;
        let number = self.write(from, to, StanzaKind::Iq);
        self.entry_mut(number)?.answers = Some(request);
        self.entry_mut(request)?.answer = Some(number);
        Some(number)
    }

    pub(crate) fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(number).ok()?)
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?)
    }

    /// Which stanza it is; `None` when no component ever sent it.
    pub(crate) fn key(&self, stanza: &Stanza) -> Option<Key> {
        let number: u32 = stanza.id()?.parse().ok()?;
        let entry = self.entry(number)?;
        match stanza.class() {
            StanzaClass::Error => Some(Key {
                number,
                is_error: true,
            }),
            StanzaClass::Answer => Some(Key {
                number: entry.answer?,
                is_error: false,
            }),
            StanzaClass::Request | StanzaClass::Other => Some(Key {
                number,
                is_error: false,
            }),
        }
    }

    /// Whether a stanza is a ping that a stream made itself, or what became of one: nobody waits for it but that stream.
    pub(crate) fn is_probe(stanza: &Stanza) -> bool {
        stanza.kind() == StanzaKind::Iq && stanza.id().is_some_and(|id| id.starts_with("id"))
    }

    /// A server took a stanza from the component that sent it.
    pub(crate) fn taken(&mut self, key: Key) {
        let Some(entry) = self.entry(key.number).filter(|_| !key.is_error) else {
            return;
        };
        if entry.place.is_some() {
            let text = format!("3: {} was taken twice from its component", self.name(key));
            return self.fail(text);
        }
        let flow = self.flows.entry((entry.from, entry.to)).or_default();
        flow.taken += 1;
        let place = flow.taken;
        if let Some(entry) = self.entry_mut(key.number) {
            entry.place = Some(place);
        }
    }

    /// A stanza came to a component.
    pub(crate) fn delivered(&mut self, key: Key, at: usize, now: Moment) {
        let name = self.name(key);
        let uncertain = self.is_uncertain(key, now);
        let message = Key {
            is_error: false,
            ..key
        };
        let message_uncertain = self.is_uncertain(message, now);
        let Some(entry) = self.entry_mut(key.number) else {
            return;
        };
        let at_home = match key.is_error {
            true => entry.from == at,
            false => entry.to == at,
        };
        if !at_home {
            return self.fail(format!("3: {name} came to another component"));
        }
        let Some(place) = entry.place else {
            return self.fail(format!("3: {name} came, though no server had taken it"));
        };
        match key.is_error {
            true => entry.returned += 1,
            false => entry.delivered += 1,
        }
        let (delivered, returned) = (entry.delivered, entry.returned);
        let (flow, kind) = ((entry.from, entry.to), entry.kind);
        // One that a server forgot may still be on the way.
        let adrift = entry.adrift || entry.lost.is_some();
        if delivered > 0 && returned > 0 && !message_uncertain {
            return self.fail(format!(
                "3: {name} was delivered and returned with an error"
            ));
        }
        if returned > 1 && !uncertain && !message_uncertain {
            return self.fail(format!("3: {name} was returned {returned} times"));
        }
        if key.is_error {
            return;
        }
        if delivered > 1 {
            if !uncertain || kind == StanzaKind::Iq {
                self.fail(format!("3: {name} was delivered {delivered} times"));
            }
            return;
        }
        let flow = self.flows.entry(flow).or_default();
        if place < flow.delivered {
            // One that was given up for lost, or sent again, may come late.
            if uncertain || adrift {
                return;
            }
            let text = format!("2: {name} came behind one that was sent later");
            return self.fail(text);
        }
        flow.delivered = place;
    }

    /// What a peer cannot know happened to a stanza that it was sending.
    pub(crate) fn uncertain(&mut self, key: Key) {
        if let Some(entry) = self.entry_mut(key.number) {
            entry.uncertain[key.side()] = true;
        }
    }

    /// A stanza may come late, for its connection has ended and its sender has let it go.
    pub(crate) fn adrift(&mut self, key: Key) {
        if let Some(entry) = self.entry_mut(key.number) {
            entry.adrift |= !key.is_error;
        }
    }

    /// A server waits for its peer to take up a stream again, and to say whether a stanza arrived.
    pub(crate) fn suspend(
        &mut self,
        key: Key,
        servers: [usize; 2],
        stream: &str,
        (now, until): (Moment, Moment),
    ) {
        // What was given up once stays so, though it was sent again.
        let uncertain = self.is_uncertain(key, now);
        let doubt = Doubt {
            servers,
            upsets: servers.map(|server| self.upsets_of(server)),
            stream: stream.to_owned(),
            until,
        };
        if let Some(entry) = self.entry_mut(key.number) {
            entry.uncertain[key.side()] |= uncertain;
            entry.doubt[key.side()] = Some(doubt);
        }
    }

    /// Whether nobody can know of a stanza whether it arrived.
    pub(crate) fn is_uncertain(&self, key: Key, now: Moment) -> bool {
        let Some(entry) = self.entry(key.number) else {
            return false;
        };
        entry.uncertain[key.side()]
            || entry.doubt[key.side()].as_ref().is_some_and(|doubt| {
                doubt.until <= now
                    || doubt.servers.iter().any(|it| self.leaving.contains(it))
                    || doubt.servers.map(|server| self.upsets_of(server)) != doubt.upsets
                    || self.given_up.contains(&doubt.stream)
            })
    }

    /// A server has come to know what had arrived on a stream. What it had given up before stays uncertain.
    pub(crate) fn resolve(&mut self, server: usize, stream: &str, now: Moment) {
        let settles = |doubt: &Doubt| doubt.servers[0] == server && doubt.stream == stream;
        for number in 0..self.entries.len() {
            for is_error in [false, true] {
                let key = Key {
                    number: u32::try_from(number).unwrap_or(u32::MAX),
                    is_error,
                };
                let Some(entry) = self.entries.get(number) else {
                    continue;
                };
                if !entry.doubt[key.side()].as_ref().is_some_and(settles) {
                    continue;
                }
                let uncertain = self.is_uncertain(key, now);
                if let Some(entry) = self.entries.get_mut(number) {
                    entry.uncertain[key.side()] |= uncertain;
                    entry.doubt[key.side()] = None;
                }
            }
        }
    }

    fn upsets_of(&self, server: usize) -> u32 {
        self.upsets.get(&server).copied().unwrap_or(0)
    }

    /// A server has forgotten something, or takes up no streams any more.
    pub(crate) fn upset(&mut self, server: usize) {
        *self.upsets.entry(server).or_default() += 1;
    }

    /// A server is about to end, and takes up nothing any more.
    pub(crate) fn leaves(&mut self, server: usize) {
        self.upset(server);
        self.leaving.insert(server);
    }

    /// A server begins anew.
    pub(crate) fn starts(&mut self, server: usize) {
        self.upset(server);
        self.leaving.remove(&server);
        *self.lives.entry(server).or_default() += 1;
    }

    /// Which life of a machine this is: what it knew in another one, it does not know.
    pub(crate) fn life_of(&self, host: usize) -> u32 {
        self.lives.get(&host).copied().unwrap_or(0)
    }

    /// A server has a stream that can be taken up.
    pub(crate) fn know(&mut self, server: usize, stream: &str) {
        let upsets = self.upsets_of(server);
        self.known.insert((server, stream.to_owned()), upsets);
    }

    /// Whether a server has been told of a stream by its name, which no other has.
    pub(crate) fn was_told(&self, server: usize, stream: &str) -> bool {
        self.known.contains_key(&(server, stream.to_owned()))
    }

    /// A server has lost a stream, or was asked for it, and keeps what it knows of it so long.
    pub(crate) fn keeps(&mut self, server: usize, stream: &str, until: Moment) {
        let kept = self.kept.entry((server, stream.to_owned())).or_default();
        *kept = until.max(*kept);
    }

    /// A peer does not take up a stream of a server's; says whether that harms nobody or has a good reason.
    pub(crate) fn give_up(
        &mut self,
        stream: &str,
        server: usize,
        peer: usize,
        now: Moment,
    ) -> bool {
        let waits = self.entries.iter().any(|entry| {
            let mut doubts = entry.doubt.iter().flatten();
            doubts.any(|it| it.servers[0] == server && it.stream == stream && it.until > now)
        });
        if !waits {
            return true;
        }
        self.given_up.insert(stream.to_owned());
        let of_peer = (peer, stream.to_owned());
        let is_known = self.known.get(&of_peer) == Some(&self.upsets_of(peer));
        let is_over = self.kept.get(&of_peer).is_some_and(|until| *until <= now);
        !is_known || is_over || self.leaving.contains(&peer)
    }

    /// A stanza is gone, as the rules allow.
    pub(crate) fn lost(&mut self, key: Key, loss: Loss) {
        if let Some(entry) = self.entry_mut(key.number) {
            entry.lost.get_or_insert(loss);
        }
    }

    /// A stanza that its sender has let go did not come out of the wire.
    pub(crate) fn lost_on_wire(&mut self, sent: &Sent, loss: Loss, had_trouble: bool) {
        let name = self.name(sent.key);
        if !had_trouble {
            return self.fail(format!("3: {name} was lost on a wire that was well"));
        }
        self.lost(sent.key, loss);
    }

    /// How a stanza is called in stories.
    pub(crate) fn name(&self, key: Key) -> String {
        let Some(entry) = self.entry(key.number) else {
            return format!("stanza {}", key.number);
        };
        let domain = |index: usize| self.domains.get(index).map_or("?", String::as_str);
        let what = match entry.answers {
            Some(request) => format!("the answer {} to {request}", key.number),
            None => format!("{} {}", entry.kind.name(), key.number),
        };
        let error = match key.is_error {
            true => "the error for ",
            false => "",
        };
        format!(
            "{error}{what} ({} to {})",
            domain(entry.from),
            domain(entry.to)
        )
    }

    /// Whether everything that was taken is settled; counts what became of it.
    pub(crate) fn conclude(&mut self, coverage: &mut Coverage) {
        let mut open = None;
        for (number, entry) in self.entries.iter().enumerate() {
            if entry.place.is_none() {
                coverage.count("stanzas", "never taken by a server");
                continue;
            }
            let fate = match (entry.delivered, entry.returned, entry.lost) {
                (0, 0, None) => {
                    open.get_or_insert(number);
                    "neither delivered nor returned"
                }
                (0, 0, Some(loss)) => loss.name(),
                (0, _, _) => "returned",
                (1, 0, _) => "delivered",
                (_, 0, _) => "delivered more than once, as it may be",
                (_, _, _) => "delivered and returned, as it may be",
            };
            coverage.count("stanzas", fate);
        }
        if let Some(number) = open {
            let key = Key {
                number: u32::try_from(number).unwrap_or(u32::MAX),
                is_error: false,
            };
            let text = format!("3: {} was neither delivered nor returned", self.name(key));
            self.fail(text);
        }
    }

    /// How many were delivered at least once, returned and not delivered, and lost.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let taken = || self.entries.iter().filter(|entry| entry.place.is_some());
        let count = |which: &dyn Fn(&Entry) -> bool| {
            u64::try_from(taken().filter(|entry| which(entry)).count()).unwrap_or(u64::MAX)
        };
        (
            count(&|entry| entry.delivered > 0),
            count(&|entry| entry.delivered == 0 && entry.returned > 0),
            count(&|entry| entry.delivered == 0 && entry.returned == 0),
        )
    }
}
