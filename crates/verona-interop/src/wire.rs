//! What went over which connection, from the log of raw bytes that Prosody writes.
//! Why this is the chief witness: it is in the clear, it is complete, and the server under test has no say in it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::elements::{Element, Reader};

/// Which of the two servers. The near one is under test, the far one is the Prosody that keeps the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server under test.
    Near,
    /// The Prosody that keeps the log.
    Far,
}

/// A near and a far domain.
pub type Pair = (String, String);

/// Something that passed, in the order of the log.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Seconds since 1970, by Prosody's clock.
    pub at: f64,
    /// Who wrote it.
    pub writer: Side,
    /// Whether TLS protected it.
    pub protected: bool,
    /// The element.
    pub element: Element,
}

/// One TCP connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who opened it.
    pub opener: Side,
    /// The near end.
    pub near: SocketAddr,
    /// The far end.
    pub far: SocketAddr,
    /// When its first byte passed.
    pub since: f64,
    /// XML bytes, inside TLS, that the near server wrote.
    pub bytes_from_near: u64,
    /// XML bytes, inside TLS, that the far server wrote.
    pub bytes_from_far: u64,
    /// Every first-level element.
    pub elements: Vec<Passed>,
    /// Bytes that were no XML stream, in words.
    pub malformed: Option<String>,
}

impl Connection {
    /// Elements of one writer.
    pub fn by(&self, writer: Side) -> impl Iterator<Item = &Element> {
        self.elements
            .iter()
            .filter(move |passed| passed.writer == writer)
            .map(|passed| &passed.element)
    }

    /// Stanzas of one writer.
    #[must_use]
    pub fn stanzas(&self, writer: Side) -> usize {
        self.by(writer)
            .filter(|element| element.is_stanza())
            .count()
    }

    /// Stanzas of one writer with this name.
    #[must_use]
    pub fn count(&self, writer: Side, name: &str) -> usize {
        self.by(writer)
            .filter(|element| element.is_stanza() && element.name == name)
            .count()
    }

    /// Whether its opener asked for both directions.
    #[must_use]
    pub fn asked_for_bidi(&self) -> bool {
        self.by(self.opener)
            .any(|element| element.is("urn:xmpp:bidi", "bidi"))
    }

    /// Whether its opener was authenticated by SASL EXTERNAL.
    #[must_use]
    pub fn external(&self) -> bool {
        self.by(self.opener)
            .any(|element| element.is(SASL, "auth") && element.mechanism == "EXTERNAL")
            && self
                .by(self.opener.other())
                .any(|element| element.is(SASL, "success"))
    }

    /// Whether `writer` sent a dialback request of this name (`result` or `verify`), not an answer.
    #[must_use]
    pub fn requested(&self, writer: Side, name: &str) -> bool {
        self.by(writer)
            .any(|element| element.is(DIALBACK, name) && element.kind.is_empty())
    }

    /// Whether `writer` answered that the key is valid.
    #[must_use]
    pub fn valid(&self, writer: Side) -> bool {
        self.by(writer)
            .any(|element| element.is(DIALBACK, "result") && element.kind == "valid")
    }

    /// The pairs of its stanzas, both directions.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = self
            .elements
            .iter()
            .filter(|passed| passed.element.is_stanza())
            .map(
                |Passed {
                     writer, element, ..
                 }| {
                    let (from, to) = (domain(&element.from), domain(&element.to));
                    match writer {
                        Side::Near => (from, to),
                        Side::Far => (to, from),
                    }
                },
            )
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    /// What it was for, in a few words.
    #[must_use]
    pub fn purpose(&self) -> String {
        let mut words = Vec::new();
        if self.asked_for_bidi() {
            words.push("bidi");
        }
        if self.external() {
            words.push("EXTERNAL");
        }
        if self.requested(self.opener, "result") {
            words.push("db:result");
        }
        if self.requested(self.opener, "verify") {
            words.push("db:verify");
        }
        words.join("+")
    }
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// Reads the log of a Prosody, which is the far side; `near` is the listener of the server under test.
///
/// # Errors
/// The log is missing or not as the module writes it.
pub fn read(log: &Path) -> Result<Vec<Connection>> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let mut open: BTreeMap<u64, (Connection, Reader, Reader)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        read_line(line, &mut open).with_context(|| format!("{}:{}", log.display(), number + 1))?;
    }
    let mut connections: Vec<Connection> = open
        .into_values()
        .map(|(connection, ..)| connection)
        .collect();
    connections.sort_by(|a, b| a.since.total_cmp(&b.since));
    Ok(connections)
}

/// The same log as text for people: time, connection, direction, bytes.
///
/// # Errors
/// The log is missing or not as the module writes it.
pub fn transcript(log: &Path) -> Result<String> {
    let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let mut lines = String::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line)?;
        let field = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("");
        let data = BASE64_STANDARD.decode(field("data"))?;
        lines.push_str(&format!(
            "{:.6} #{} {} {} {}{}\n",
            record.get("at").and_then(Value::as_f64).unwrap_or(0.0),
            record
                .get("connection")
                .and_then(Value::as_u64)
                .unwrap_or(0),
            match field("direction") {
                "in" => "near>",
                "out" => "far> ",
                _ => "     ",
            },
            field("layer"),
            field("event"),
            String::from_utf8_lossy(&data),
        ));
    }
    Ok(lines)
}

fn read_line(line: &str, open: &mut BTreeMap<u64, (Connection, Reader, Reader)>) -> Result<()> {
    let record: Value = serde_json::from_str(line)?;
    let field = |name: &str| {
        record
            .get(name)
            .and_then(Value::as_str)
            .with_context(|| format!("no {name}"))
    };
    let number = record
        .get("connection")
        .and_then(Value::as_u64)
        .context("no connection")?;
    let at = record
        .get("at")
        .and_then(Value::as_f64)
        .context("no time")?;
    if record.get("event").is_some() {
        return Ok(());
    }
    let data = BASE64_STANDARD.decode(field("data")?)?;
    let writer = match field("direction")? {
        "in" => Side::Near,
        _ => Side::Far,
    };
    if let std::collections::btree_map::Entry::Vacant(place) = open.entry(number) {
        place.insert((
            Connection {
                opener: if field("opened")? == "here" {
                    Side::Far
                } else {
                    Side::Near
                },
                near: field("peer")?.parse()?,
                far: field("here")?.parse()?,
                since: at,
                bytes_from_near: 0,
                bytes_from_far: 0,
                elements: Vec::new(),
                malformed: None,
            },
            Reader::default(),
            Reader::default(),
        ));
    }
    let (connection, near, far) = open.get_mut(&number).context("no connection")?;
    let length = u64::try_from(data.len())?;
    let reader = match writer {
        Side::Near => {
            connection.bytes_from_near += length;
            near
        }
        Side::Far => {
            connection.bytes_from_far += length;
            far
        }
    };
    let protected = field("layer")? == "tls";
    match reader.read(&data) {
        Ok(elements) => connection
            .elements
            .extend(elements.into_iter().map(|element| Passed {
                at,
                writer,
                protected,
                element,
            })),
        Err(error) => connection.malformed = Some(format!("{writer:?} wrote: {error}")),
    }
    Ok(())
}

/// The domain of an address.
fn domain(address: &str) -> String {
    let bare = address.split('/').next().unwrap_or_default();
    bare.rsplit('@').next().unwrap_or_default().to_owned()
}

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const DIALBACK: &str = "jabber:server:dialback";
