//! Cuts one direction of a connection into first-level elements, and makes a line of each.
//!
//! A socket gives bytes as it likes; people read elements.

use verona_xml::{Limits, Scan, Scanner};

/// One direction of a stream.
pub(super) struct Direction {
    scanner: Scanner,
    pending: Vec<u8>,
    /// Whether the header has passed.
    begun: bool,
}

/// Something complete that crossed.
pub(super) struct Crossed {
    pub(super) kind: Kind,
    /// As it crossed.
    pub(super) xml: String,
}

/// What it was, as far as the count needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What every stream begins with: header, features, STARTTLS.
    Opening,
    /// A dialback key on its way to the authoritative server, or its verdict.
    Verification,
    /// A message, presence or IQ.
    Stanza,
    /// Anything else of a stream that is about stanzas.
    Negotiation,
    /// The end of the stream, which both kinds of connections have.
    Close,
}

impl Direction {
    pub(super) fn new() -> Self {
        Self {
            scanner: Scanner::new(Limits::default()),
            pending: Vec::new(),
            begun: false,
        }
    }

    /// Takes the bytes and gives what they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Crossed> {
        self.pending.extend_from_slice(bytes);
        let mut crossed = Vec::new();
        while !self.pending.is_empty() {
            // After TLS and after SASL the stream begins anew.
            if self.begun {
                if OPENINGS
                    .iter()
                    .any(|opening| self.pending.starts_with(opening))
                {
                    self.scanner = Scanner::new(Limits::default());
                    self.begun = false;
                } else if OPENINGS
                    .iter()
                    .any(|opening| opening.starts_with(&self.pending))
                {
                    // Too little to know, and too little to be complete.
                    break;
                }
            }
            let Some((len, kind)) = self.next() else {
                break;
            };
            let piece: Vec<u8> = self.pending.drain(..len.min(self.pending.len())).collect();
            if let Some(kind) = kind {
                crossed.push(Crossed {
                    kind,
                    xml: String::from_utf8_lossy(&piece).into_owned(),
                });
            }
        }
        crossed
    }

    /// The length of what is complete, and what it is; white space and declarations are nothing.
    fn next(&mut self) -> Option<(usize, Option<Kind>)> {
        let scan = match self.scanner.scan(&self.pending) {
            Ok(scan) => scan,
            // It is shown as it is: the engines will have their own opinion of it.
            Err(_) => return Some((self.pending.len(), Some(Kind::Negotiation))),
        };
        match scan {
            Scan::More => None,
            Scan::Space { len } | Scan::Declaration { len } => Some((len, None)),
            Scan::Header { len, .. } => {
                self.begun = true;
                Some((len, Some(Kind::Opening)))
            }
            Scan::Close { len } => Some((len, Some(Kind::Close))),
            Scan::Element { len, head } => {
                let namespace = head.namespace(&self.pending, self.scanner.scope());
                let kind = match (head.local(&self.pending), namespace) {
                    ("message" | "presence" | "iq", "jabber:server") => Kind::Stanza,
                    ("verify", "jabber:server:dialback") => Kind::Verification,
                    ("features", "http://etherx.jabber.org/streams") => Kind::Opening,
                    (_, "urn:ietf:params:xml:ns:xmpp-tls") => Kind::Opening,
                    (_, _) => Kind::Negotiation,
                };
                Some((len, Some(kind)))
            }
        }
    }
}

/// The element on one line; `whole` leaves it as it is.
pub(super) fn line(crossed: &Crossed, whole: bool) -> String {
    // With `--hold` anybody's components may speak, and a terminal must not obey them.
    let text = crossed
        .xml
        .replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
    if whole {
        return text;
    }
    let text = if text.starts_with("<stream:stream") {
        without_declarations(&text)
    } else {
        text.replace('\n', " ")
    };
    let most = match crossed.kind {
        // What is offered is what the rest follows from, and stanzas are what it is for; keys are only long.
        Kind::Opening | Kind::Stanza => WHOLE_CHARS_MAX,
        Kind::Verification | Kind::Negotiation | Kind::Close => LINE_CHARS_MAX,
    };
    shortened(&text, most)
}

/// A header without its namespaces: they are the same in all of them.
fn without_declarations(header: &str) -> String {
    let Some(inner) = header.strip_prefix("<stream:stream") else {
        return header.to_owned();
    };
    let mut text = String::from("<stream:stream");
    for attribute in inner
        .trim_end_matches('>')
        .split_inclusive('\'')
        .collect::<Vec<_>>()
        .chunks(2)
    {
        let attribute = attribute.concat();
        if !attribute.trim_start().starts_with("xmlns") {
            text.push_str(&attribute);
        }
    }
    text.push('>');
    text
}

/// The beginning and the end of what is too long for a line.
fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let begin: String = text.chars().take(most - END_CHARS - 1).collect();
    let end: String = text.chars().skip(count - END_CHARS).collect();
    format!("{begin}…{end}")
}

const OPENINGS: [&[u8]; 2] = [b"<?xml", b"<stream:stream"];

/// Fits beside the arrows on a wide terminal.
const LINE_CHARS_MAX: usize = 150;
/// Room for every feature that there is.
const WHOLE_CHARS_MAX: usize = 400;
const END_CHARS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_cut_into_elements_however_it_arrives() {
        let bytes = b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
            xmlns:stream='http://etherx.jabber.org/streams' to='a'><stream:features/> <db:verify id='1'/>\
            <iq xmlns='urn:x'/><iq/><?xml version='1.0'?><stream:stream xmlns='jabber:server' \
            xmlns:stream='http://etherx.jabber.org/streams' to='b'><message/></stream:stream>";
        let kinds = [
            Kind::Opening,
            Kind::Opening,
            Kind::Verification,
            Kind::Negotiation,
            Kind::Stanza,
            Kind::Opening,
            Kind::Stanza,
            Kind::Close,
        ];
        for size in [1, 7, bytes.len()] {
            let mut direction = Direction::new();
            let crossed: Vec<Kind> = bytes
                .chunks(size)
                .flat_map(|chunk| direction.feed(chunk))
                .map(|crossed| crossed.kind)
                .collect();
            assert_eq!(crossed, kinds, "in chunks of {size}");
        }
    }

    #[test]
    fn lines_are_short_and_headers_without_namespaces() {
        let header = Crossed {
            kind: Kind::Opening,
            xml: "<stream:stream xmlns='jabber:server' from='a' xmlns:stream='x' to='b'>"
                .to_owned(),
        };
        assert_eq!(line(&header, false), "<stream:stream from='a' to='b'>");
        let long = Crossed {
            kind: Kind::Negotiation,
            xml: format!("<message><body>{}</body></message>", "ü".repeat(500)),
        };
        assert_eq!(line(&long, false).chars().count(), LINE_CHARS_MAX);
        assert_eq!(line(&long, true), long.xml);
    }
}
