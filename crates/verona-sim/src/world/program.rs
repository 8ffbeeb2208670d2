//! A component: it connects, sends what it is told to, answers requests, and checks what it gets.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};
use sha1::{Digest as _, Sha1};
use verona_proto::stanza::{Stanza, StanzaClass, StanzaKind};
use verona_xml::{Element, Scan, Scanner};

use super::clock::{Actor, Moment};
use super::ledger::{Key, Ledger, Loss};
use super::network::{End, Read};
use super::outside::Outside;

/// The component of a domain.
#[derive(Debug)]
pub(crate) struct Program {
    /// The domain's position among all domains.
    pub(crate) index: usize,
    /// The server that hosts it.
    pub(crate) server: usize,
    pub(crate) domain: String,
    /// Whether it is to be connected.
    pub(crate) is_wanted: bool,
    pub(crate) connection: Option<Connected>,
    /// Not read before this time.
    pub(crate) stalled_until: Moment,
    to_send: VecDeque<Bytes>,
}

/// Its connection.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) end: End,
    scanner: Scanner,
    inbox: BytesMut,
    outgoing: BytesMut,
    is_open: bool,
    /// It has closed its stream.
    is_closing: bool,
}

impl Program {
    pub(crate) fn new(index: usize, server: usize, domain: String) -> Self {
        Self {
            index,
            server,
            domain,
            is_wanted: false,
            connection: None,
            stalled_until: 0,
            to_send: VecDeque::new(),
        }
    }

    /// It has a connection, and speaks first.
    pub(crate) fn connected(&mut self, end: End, outside: &mut Outside) {
        let mut connected = Connected {
            end,
            scanner: Scanner::new(verona_proto::limits::Limits::default().xml()),
            inbox: BytesMut::new(),
            outgoing: BytesMut::new(),
            is_open: false,
            is_closing: false,
        };
        let header = format!(
            "<stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' to='{}'>",
            self.domain
        );
        connected.outgoing.extend_from_slice(header.as_bytes());
        self.connection = Some(connected);
        outside.own(end, Actor::Program(self.index));
    }

    /// It is to send some stanzas to a domain.
    pub(crate) fn send(
        &mut self,
        (to, name): (usize, &str),
        kind: StanzaKind,
        (count, size): (u32, usize),
        outside: &mut Outside,
    ) {
        for _ in 0..count {
            let number = outside.ledger.write(self.index, to, kind);
            let own = &self.domain;
            let text = filler(number, size);
            let stanza = match kind {
                StanzaKind::Message => format!(
                    "<message from='s@{own}' to='r@{name}' id='{number}'><body>{text}</body></message>"
                ),
                StanzaKind::Presence => format!(
                    "<presence from='s@{own}' to='r@{name}' id='{number}'><status>{text}</status></presence>"
                ),
                StanzaKind::Iq => format!(
                    "<iq from='s@{own}' to='r@{name}' id='{number}' type='get'><query xmlns='urn:sim'>{text}</query></iq>"
                ),
            };
            self.to_send.push_back(Bytes::from(stanza));
        }
        outside.soon(Actor::Program(self.index));
    }

    /// It closes its stream, and reads what still comes.
    pub(crate) fn part(&mut self, outside: &mut Outside) {
        self.is_wanted = false;
        if let Some(connection) = &mut self.connection {
            connection.is_closing = true;
            connection.outgoing.extend_from_slice(b"</stream:stream>");
            outside.soon(Actor::Program(self.index));
        }
    }

    /// It is killed: what it had not read is lost.
    pub(crate) fn kill(&mut self, outside: &mut Outside) {
        if let Some(connection) = self.connection.take() {
            outside.network.trouble(connection.end);
            outside.close(connection.end);
        }
    }

    /// Reads and writes; `false` when its connection is over.
    pub(crate) fn turn(&mut self, outside: &mut Outside) -> bool {
        let Some(mut connection) = self.connection.take() else {
            return true;
        };
        self.write(&mut connection, outside);
        let lives = self.read(&mut connection, outside);
        if lives {
            // What was read may want an answer.
            self.write(&mut connection, outside);
            self.connection = Some(connection);
        } else {
            outside.close(connection.end);
        }
        lives
    }

    fn read(&mut self, connection: &mut Connected, outside: &mut Outside) -> bool {
        if self.stalled_until > outside.now {
            outside
                .clock
                .wake(Actor::Program(self.index), self.stalled_until);
            return true;
        }
        loop {
            match outside.read(connection.end, 4096) {
                Read::Bytes(bytes) => connection.inbox.extend_from_slice(&bytes),
                Read::Nothing => return true,
                Read::Eof | Read::Broken => return false,
            }
            if !self.hear(connection, outside) {
                return false;
            }
        }
    }

    /// Understands what has come; `false` at the end of the stream.
    fn hear(&mut self, connection: &mut Connected, outside: &mut Outside) -> bool {
        loop {
            match connection.scanner.scan(&connection.inbox) {
                Ok(Scan::More) => return true,
                Ok(Scan::Space { len } | Scan::Declaration { len }) => {
                    connection.inbox.advance(len)
                }
                Ok(Scan::Header { len, .. }) => {
                    let header = connection.inbox.split_to(len);
                    self.on_header(&header, connection);
                }
                Ok(Scan::Close { .. }) => return false,
                Ok(Scan::Element { len, head }) => {
                    let element = connection.inbox.split_to(len);
                    match head.local(&element) {
                        "handshake" => connection.is_open = true,
                        // Our domain is served by a former connection of ours, or the server leaves.
                        "error" => return false,
                        _ => {
                            let scope = connection.scanner.scope();
                            match Stanza::read(&element, &head, scope, None) {
                                Ok(stanza) => self.on_stanza(&stanza, connection.end, outside),
                                Err(error) => {
                                    outside.ledger.fail(format!("a component was sent {error}"))
                                }
                            }
                        }
                    }
                }
                Err(error) => {
                    let domain = &self.domain;
                    outside.ledger.fail(format!(
                        "the component of {domain} was sent bad XML: {error}"
                    ));
                    return false;
                }
            }
        }
    }

    fn on_header(&self, header: &[u8], connection: &mut Connected) {
        let id = Element::parse_header(header)
            .ok()
            .and_then(|header| header.attribute("id").map(str::to_owned))
            .unwrap_or_default();
        let digest = Sha1::new()
            .chain_update(&id)
            .chain_update(secret(&self.domain))
            .finalize();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let handshake = format!("<handshake>{hex}</handshake>");
        connection.outgoing.extend_from_slice(handshake.as_bytes());
    }

    fn on_stanza(&mut self, stanza: &Stanza, end: End, outside: &mut Outside) {
        let key = outside.ledger.key(stanza);
        if key.is_none() && Ledger::is_probe(stanza) {
            return self.on_probe(stanza);
        }
        let Some(key) = key else {
            let domain = &self.domain;
            let text = String::from_utf8_lossy(stanza.bytes()).into_owned();
            return outside
                .ledger
                .fail(format!("{domain} got what nobody sent: {text}"));
        };
        outside.network.note_arrived(end, key);
        let (domain, what) = (&self.domain, outside.ledger.name(key));
        outside.tell(|| format!("{domain} gets {what}"));
        outside.ledger.delivered(key, self.index, outside.now);
        if !key.is_error && stanza.class() != StanzaClass::Answer {
            self.check_text(stanza, key, outside);
        }
        if stanza.class() == StanzaClass::Request && outside.ledger.answer(key.number).is_some() {
            let answer = format!(
                "<iq from='{}' to='{}' id='{}' type='result'/>",
                stanza.recipient(),
                stanza.sender(),
                key.number
            );
            self.to_send.push_back(Bytes::from(answer));
        }
    }

    /// A stream asks whether anybody is there.
    fn on_probe(&mut self, stanza: &Stanza) {
        if stanza.class() == StanzaClass::Request {
            let answer = format!(
                "<iq from='{}' to='{}' id='{}' type='result'/>",
                stanza.recipient(),
                stanza.sender(),
                stanza.id().unwrap_or_default()
            );
            self.to_send.push_back(Bytes::from(answer));
        }
    }

    /// Nothing on the way may have changed what a stanza says.
    fn check_text(&self, stanza: &Stanza, key: Key, outside: &mut Outside) {
        let text = String::from_utf8_lossy(stanza.bytes());
        let number = format!(">{}:", key.number);
        if !text.contains(&number) {
            let what = outside.ledger.name(key);
            outside.ledger.fail(format!("{what} came as {text}"));
        }
    }

    fn write(&mut self, connection: &mut Connected, outside: &mut Outside) {
        loop {
            if connection.outgoing.is_empty() {
                let ready = connection.is_open && !connection.is_closing;
                if !ready {
                    return;
                }
                match self.to_send.pop_front() {
                    Some(stanza) => connection.outgoing.extend_from_slice(&stanza),
                    None => return,
                }
            }
            match outside.write(connection.end, &connection.outgoing) {
                Ok(0) => return,
                Ok(count) => connection.outgoing.advance(count),
                // What came before is read all the same.
                Err(_) => {
                    connection.outgoing.clear();
                    connection.is_closing = true;
                }
            }
        }
    }
}

/// What a stanza of a server that crashed or a component that was killed may leave behind.
pub(crate) fn note_lost(stanza: &Stanza, loss: Loss, outside: &mut Outside) {
    if let Some(key) = outside.ledger.key(stanza) {
        outside.ledger.lost(key, loss);
    }
}

/// The secret of a domain's component.
pub(crate) fn secret(domain: &str) -> String {
    format!("secret of {domain}")
}

fn filler(number: u32, size: usize) -> String {
    let mut text = format!("{number}:");
    text.extend(std::iter::repeat_n('x', size));
    text
}
