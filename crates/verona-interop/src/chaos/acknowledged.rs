//! What Prosody and verona acknowledged to each other, read from what Prosody wrote and read.
//! Why: a stanza that its next server acknowledged is that server's, and lost by nobody else.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::ledger::Id;
use crate::elements::{Element, Reader};

/// The stanzas that were acknowledged, by who did so.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    pub(super) by_prosody: Vec<Id>,
    pub(super) by_verona: Vec<Id>,
    /// Connections on which acknowledgements were agreed upon.
    pub(super) streams: usize,
}

/// One connection, as Prosody sees it.
#[derive(Default)]
struct Connection {
    /// What Prosody reads, and what it writes.
    inward: Half,
    outward: Half,
}

/// One direction.
#[derive(Default)]
struct Half {
    reader: Reader,
    /// The stanzas since counting began, and how many of them were acknowledged; `None` before.
    counted: Option<(Vec<Option<Id>>, usize)>,
    is_broken: bool,
}

/// Reads a wire log from its beginning.
///
/// # Errors
/// There is none.
pub(super) fn read(path: &Path) -> Result<Acknowledged> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut connections: HashMap<String, Connection> = HashMap::new();
    let mut found = Acknowledged::default();
    for line in BufReader::new(file).lines() {
        // A killed Prosody may leave half a line.
        let Ok(line) = serde_json::from_str::<Value>(&line?) else {
            continue;
        };
        let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
        // A Prosody that was started again counts from one again; the ports differ.
        let number = line.get("connection").and_then(Value::as_u64).unwrap_or(0);
        let name = format!("{number} {} {}", text("peer"), text("here"));
        if text("event") == "closed" {
            connections.remove(&name);
            continue;
        }
        let Ok(bytes) = STANDARD.decode(text("data")) else {
            continue;
        };
        let connection = connections.entry(name).or_default();
        let is_inward = text("direction") == "in";
        connection.take(is_inward, &bytes, &mut found);
    }
    Ok(found)
}

impl Connection {
    fn take(&mut self, is_inward: bool, bytes: &[u8], found: &mut Acknowledged) {
        let half = match is_inward {
            true => &mut self.inward,
            false => &mut self.outward,
        };
        if half.is_broken {
            return;
        }
        let Ok(elements) = half.reader.read(bytes) else {
            // A byte that was changed on its way is TLS's to find; this is the end of a stream that was cut.
            half.is_broken = true;
            return;
        };
        for element in elements {
            self.on_element(is_inward, &element, found);
        }
    }

    fn on_element(&mut self, is_inward: bool, element: &Element, found: &mut Acknowledged) {
        let (own, other) = match is_inward {
            true => (&mut self.inward, &mut self.outward),
            false => (&mut self.outward, &mut self.inward),
        };
        if element.namespace == SM {
            match element.name.as_str() {
                // Who asks counts from there on what it sends, and who agrees likewise.
                "enable" | "enabled" => {
                    own.counted = Some((Vec::new(), 0));
                    found.streams += usize::from(element.name == "enabled");
                }
                "a" => {
                    let h: usize = element.h.parse().unwrap_or(0);
                    let Some((stanzas, settled)) = &mut other.counted else {
                        return;
                    };
                    let newly = stanzas.get(*settled..h).unwrap_or_default();
                    let by = match is_inward {
                        true => &mut found.by_verona,
                        false => &mut found.by_prosody,
                    };
                    by.extend(newly.iter().flatten());
                    *settled = h.max(*settled).min(stanzas.len());
                }
                _ => {}
            }
        } else if element.is_stanza()
            && let Some((stanzas, _)) = &mut own.counted
        {
            // An error and an answer have the id of what they answer.
            let is_original = !matches!(element.kind.as_str(), "error" | "result");
            stanzas.push(Id::parse(&element.id).filter(|_| is_original));
        }
    }
}

const SM: &str = "urn:xmpp:sm:3";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use std::io::Write as _;

    use super::*;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
        xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

    #[test]
    fn what_an_acknowledgement_covers_is_acknowledged_and_nothing_else() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let stanza = |id: &str, kind: &str| {
            format!(
                "<message from='a@a.lit' to='b@b.lit' type='{kind}' id='{id}'><body>x</body></message>"
            )
        };
        let sm = |text: &str| text.replace("SM", "xmlns='urn:xmpp:sm:3'");
        for (direction, data) in [
            ("in", HEADER.to_owned()),
            ("out", HEADER.to_owned()),
            ("in", stanza("f0-0", "chat")),
            ("in", sm("<enable SM/>")),
            ("out", sm("<enabled SM/>")),
            (
                "in",
                stanza("f0-1", "chat") + &stanza("f9-9", "error") + &stanza("f0-2", "chat"),
            ),
            ("in", stanza("f0-3", "chat")),
            ("out", sm("<a SM h='3'/>")),
            ("out", stanza("f1-0", "chat") + &stanza("f1-1", "chat")),
            ("in", sm("<a SM h='1'/>")),
            ("out", sm("<a SM h='2'/>")),
        ] {
            let line = serde_json::json!({
                "connection": 1, "peer": "127.0.0.1:2", "here": "127.0.0.1:1",
                "direction": direction, "data": STANDARD.encode(data),
            });
            writeln!(file, "{line}").unwrap();
        }
        writeln!(file, "{{\"connection\": 2, \"da").unwrap();
        let found = read(file.path()).unwrap();
        let names = |ids: &[Id]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&found.by_prosody), ["f0-1", "f0-2"]);
        assert_eq!(names(&found.by_verona), ["f1-0"]);
        assert_eq!(found.streams, 1);
    }
}
