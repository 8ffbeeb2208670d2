//! What the other side said: elements as small trees, and the reader that cuts a stream into them.
//! Why a parser of somebody else's: the server under test must not be judged by its own.

use rxml::{Event, Parse, Parser};

/// The namespaces that the kit speaks of.
pub mod ns {
    /// Stanzas between servers.
    pub const SERVER: &str = "jabber:server";
    /// The stream itself.
    pub const STREAM: &str = "http://etherx.jabber.org/streams";
    /// Server dialback (XEP-0220).
    pub const DIALBACK: &str = "jabber:server:dialback";
    /// STARTTLS.
    pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
    /// SASL.
    pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
    /// The request for both directions (XEP-0288).
    pub const BIDI: &str = "urn:xmpp:bidi";
    /// The offer of both directions (XEP-0288).
    pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
    /// Conditions of stream errors.
    pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
    /// Conditions of stanza errors.
    pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
}

/// An element with what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its namespace.
    pub namespace: String,
    /// Its local name.
    pub name: String,
    /// Attributes without a namespace, and `xml:lang` as `lang`.
    pub attributes: Vec<(String, String)>,
    /// Its child elements.
    pub children: Vec<Element>,
    /// All its text, without that of its children.
    pub text: String,
}

impl Element {
    /// Whether it has this name in this namespace.
    #[must_use]
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// An attribute; empty when absent.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes
            .iter()
            .find(|(own, _)| own == name)
            .map_or("", |(_, value)| value)
    }

    /// Whether the attribute is there, empty or not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(own, _)| own == name)
    }

    /// The first child of that name and namespace.
    #[must_use]
    pub fn child(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    /// Whether it is a message, presence or iq between servers.
    #[must_use]
    pub fn is_stanza(&self) -> bool {
        self.namespace == ns::SERVER && matches!(self.name.as_str(), "message" | "presence" | "iq")
    }

    /// The condition of a stream, stanza, dialback or SASL error: the first child that is not its text.
    #[must_use]
    pub fn condition(&self) -> String {
        let inside = self
            .children
            .iter()
            .find(|child| child.name == "error")
            .unwrap_or(self);
        inside
            .children
            .iter()
            .find(|child| child.name != "text")
            .map_or_else(String::new, |child| child.name.clone())
    }

    /// Whether a list of stream features has EXTERNAL among its mechanisms.
    #[must_use]
    pub fn offers_external(&self) -> bool {
        self.child(ns::SASL, "mechanisms").is_some_and(|list| {
            list.children
                .iter()
                .any(|mechanism| mechanism.text.trim() == "EXTERNAL")
        })
    }

    /// It in a few words, for a report.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = format!("<{}", self.name);
        for (name, value) in &self.attributes {
            if matches!(name.as_str(), "type" | "from" | "to" | "id" | "mechanism") {
                let value: String = value.chars().take(48).collect();
                text.push_str(&format!(" {name}='{value}'"));
            }
        }
        if self.children.is_empty() {
            text.push_str("/>");
            return text;
        }
        text.push('>');
        for child in self.children.iter().take(6) {
            text.push_str(&child.short_name());
        }
        text
    }

    fn short_name(&self) -> String {
        match self.children.first() {
            Some(child) => format!("<{}>{}", self.name, child.short_name()),
            None if self.name == "text" => format!("\"{}\"", self.text),
            None => format!("<{}/>", self.name),
        }
    }
}

/// One thing that was heard on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A stream header; its children are not read yet.
    Header(Element),
    /// A complete first-level element.
    Element(Element),
    /// `</stream:stream>`.
    End,
    /// The other side closed the connection.
    Eof,
    /// The connection broke.
    Broken(String),
    /// What came is no XML stream.
    Garbled(String),
    /// Nothing came in the time given.
    Silence,
}

impl Heard {
    /// The header, when it is one.
    ///
    /// # Errors
    /// Something else was heard.
    pub fn into_header(self) -> anyhow::Result<Element> {
        if let Self::Header(header) = self {
            return Ok(header);
        }
        anyhow::bail!("no stream header but {self:?}")
    }

    /// The element, when it is one.
    ///
    /// # Errors
    /// Something else was heard.
    pub fn into_element(self) -> anyhow::Result<Element> {
        if let Self::Element(element) = self {
            return Ok(element);
        }
        anyhow::bail!("no element but {self:?}")
    }
}

/// How a record with an alert begins (RFC 8446 §5.1): its type, and the major version that never changes.
const TLS_ALERT: [u8; 2] = [21, 3];

/// Cuts the bytes of one direction into elements, over stream restarts.
pub struct Reader {
    parser: Parser,
    /// The elements that are open, the stream itself not among them.
    open: Vec<Element>,
    is_in_stream: bool,
    rest: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            parser: Parser::new(),
            open: Vec::new(),
            is_in_stream: false,
            rest: Vec::new(),
        }
    }
}

impl Reader {
    /// Takes what was read.
    ///
    /// A declaration where an element belongs begins a new document: some servers write a second header before an error.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.rest.is_empty() && self.open.is_empty() && bytes.starts_with(b"<?xml ") {
            *self = Self::default();
        }
        self.rest.extend_from_slice(bytes);
    }

    /// Begins a new document with what was fed and not yet read (RFC 6120 §4.3.3).
    pub fn restart(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        *self = Self {
            rest,
            ..Self::default()
        };
    }

    /// Whether bytes are waiting that nobody has read.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The next complete thing, if there is one.
    pub fn next_heard(&mut self) -> Option<Heard> {
        // Whoever takes TLS on the same port answers bad TLS in TLS; a fatal alert is the end of the connection
        // (RFC 8446 §6.2).
        if !self.is_in_stream && self.rest.starts_with(&TLS_ALERT) {
            return Some(Heard::Broken("a TLS alert".to_owned()));
        }
        loop {
            let mut rest = self.rest.as_slice();
            let before = rest.len();
            let event = self.parser.parse(&mut rest, false);
            let used = before - rest.len();
            self.rest.drain(..used);
            match event {
                Ok(Some(event)) => {
                    if let Some(heard) = self.on_event(event) {
                        return Some(heard);
                    }
                }
                Ok(None) | Err(rxml::error::EndOrError::NeedMoreData) => return None,
                Err(rxml::error::EndOrError::Error(error)) => {
                    return Some(Heard::Garbled(error.to_string()));
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Option<Heard> {
        match event {
            Event::StartElement(_, (namespace, name), attributes) => {
                let element = Element {
                    namespace: namespace.as_str().to_owned(),
                    name: name.as_str().to_owned(),
                    attributes: attributes
                        .iter()
                        .map(|((_, name), value)| (name.as_str().to_owned(), value.clone()))
                        .collect(),
                    ..Element::default()
                };
                if !self.is_in_stream {
                    self.is_in_stream = true;
                    return Some(Heard::Header(element));
                }
                self.open.push(element);
                None
            }
            Event::EndElement(_) => {
                let Some(element) = self.open.pop() else {
                    return Some(Heard::End);
                };
                match self.open.last_mut() {
                    Some(parent) => {
                        parent.children.push(element);
                        None
                    }
                    None => Some(Heard::Element(element)),
                }
            }
            Event::Text(_, text) => {
                if let Some(element) = self.open.last_mut() {
                    element.text.push_str(&text);
                }
                None
            }
            Event::XmlDeclaration(..) => None,
        }
    }
}

/// Text fit for an attribute or for content.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&apos;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' id='7' \
        xmlns:stream='http://etherx.jabber.org/streams'>";

    #[test]
    fn elements_come_when_they_are_complete() {
        let mut reader = Reader::default();
        reader.feed(HEADER);
        let Some(Heard::Header(header)) = reader.next_heard() else {
            unreachable!("no header");
        };
        assert_eq!(header.attribute("id"), "7");
        reader.feed(b"<iq type='error'><error type='cancel'><gone xmlns='u'/></error></iq");
        assert_eq!(reader.next_heard(), None);
        reader.feed(b"></stream:stream>");
        let Some(Heard::Element(iq)) = reader.next_heard() else {
            unreachable!("no element");
        };
        assert!(iq.is_stanza());
        assert_eq!(iq.condition(), "gone");
        assert_eq!(reader.next_heard(), Some(Heard::End));
    }

    #[test]
    fn a_restart_keeps_what_was_not_read() {
        let mut reader = Reader::default();
        reader.feed(HEADER);
        reader.feed(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        reader.feed(HEADER);
        assert!(matches!(reader.next_heard(), Some(Heard::Header(_))));
        assert!(matches!(reader.next_heard(), Some(Heard::Element(_))));
        reader.restart();
        assert!(matches!(reader.next_heard(), Some(Heard::Header(_))));
    }

    #[test]
    fn what_is_no_xml_is_said_to_be_none() {
        let mut reader = Reader::default();
        reader.feed(b"<html><head></body>");
        assert!(matches!(reader.next_heard(), Some(Heard::Header(_))));
        assert!(matches!(reader.next_heard(), Some(Heard::Garbled(_))));
        let mut reader = Reader::default();
        reader.feed(&[21, 3, 1, 0, 2, 2, 50]);
        assert!(matches!(reader.next_heard(), Some(Heard::Broken(_))));
    }
}
