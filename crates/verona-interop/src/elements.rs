//! The first-level elements of one direction of one connection, read from its raw bytes.
//! Why a parser of somebody else's: the code under test must not be its own judge.

use anyhow::{Result, anyhow};
use rxml::{Event, Parse, Parser};

/// A child of the stream, or the stream's own end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Namespace.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// `from`, empty when absent.
    pub from: String,
    /// `to`, empty when absent.
    pub to: String,
    /// `type`, empty when absent.
    pub kind: String,
    /// `mechanism`, of SASL's `<auth/>`; empty when absent.
    pub mechanism: String,
    /// `id`, empty when absent.
    pub id: String,
    /// `h`, of an acknowledgement (XEP-0198); empty when absent.
    pub h: String,
    /// Local names of the children.
    pub children: Vec<String>,
    /// The text of the child `<body/>`; empty when there is none.
    pub body: String,
    /// Local name of the defined condition in the child `<error/>`; empty when there is none.
    pub condition: String,
    /// The text in the child `<error/>`; empty when there is none.
    pub explanation: String,
}

impl Element {
    /// Whether it is a message, presence or iq between servers.
    #[must_use]
    pub fn is_stanza(&self) -> bool {
        self.namespace == "jabber:server"
            && matches!(self.name.as_str(), "message" | "presence" | "iq")
    }

    /// Whether it has this name in this namespace.
    #[must_use]
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }
}

/// Reads one direction, chunk by chunk, over stream restarts.
pub struct Reader {
    parser: Parser,
    depth: usize,
    element: Element,
    /// `id` in the stream's header.
    stream: String,
    /// Local name of the grandchild that is open.
    inner: String,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            parser: Parser::new(),
            depth: 0,
            element: Element::default(),
            stream: String::new(),
            inner: String::new(),
        }
    }
}

impl Reader {
    /// The stream's id, as its header says it; empty before there is a header.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Takes a chunk as it was read or written and returns the elements that it completes.
    ///
    /// A new stream on the same connection begins a new document (RFC 6120 §4.3.3). Nobody can write its header
    /// before he has read the answer that causes it, so it begins a chunk.
    ///
    /// # Errors
    /// The bytes are no XML stream.
    pub fn read(&mut self, chunk: &[u8]) -> Result<Vec<Element>> {
        if begins_stream(chunk) {
            *self = Self::default();
        }
        let mut elements = Vec::new();
        let mut rest = chunk;
        loop {
            match self.parser.parse(&mut rest, false) {
                Ok(Some(event)) => self.on_event(event, &mut elements),
                Ok(None) => return Ok(elements),
                Err(rxml::error::EndOrError::NeedMoreData) => return Ok(elements),
                Err(rxml::error::EndOrError::Error(error)) => {
                    return Err(anyhow!("{error} in {:?}", String::from_utf8_lossy(chunk)));
                }
            }
        }
    }

    fn on_event(&mut self, event: Event, elements: &mut Vec<Element>) {
        match event {
            Event::StartElement(_, (namespace, name), attributes) => {
                let attribute = |wanted: &str| {
                    attributes
                        .iter()
                        .find(|((namespace, name), _)| {
                            namespace.as_str().is_empty() && name.as_str() == wanted
                        })
                        .map_or_else(String::new, |(_, value)| value.clone())
                };
                if self.depth == 0 {
                    self.stream = attribute("id");
                } else if self.depth == 1 {
                    self.element = Element {
                        namespace: namespace.as_str().to_owned(),
                        name: name.as_str().to_owned(),
                        from: attribute("from"),
                        to: attribute("to"),
                        kind: attribute("type"),
                        mechanism: attribute("mechanism"),
                        id: attribute("id"),
                        h: attribute("h"),
                        ..Element::default()
                    };
                } else if self.depth == 2 {
                    self.element.children.push(name.as_str().to_owned());
                } else if self.depth == 3 {
                    name.as_str().clone_into(&mut self.inner);
                    let is_condition = self.is_in("error") && name.as_str() != "text";
                    if is_condition && self.element.condition.is_empty() {
                        name.as_str().clone_into(&mut self.element.condition);
                    }
                }
                self.depth += 1;
            }
            Event::EndElement(_) => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 1 {
                    elements.push(std::mem::take(&mut self.element));
                }
            }
            Event::Text(_, text) => {
                if self.depth == 2 + 1 && self.is_in("body") {
                    self.element.body.push_str(&text);
                } else if self.depth == 3 + 1 && self.is_in("error") && self.inner == "text" {
                    self.element.explanation.push_str(&text);
                }
            }
            Event::XmlDeclaration(..) => {}
        }
    }

    /// Whether the child that is open is called so.
    fn is_in(&self, child: &str) -> bool {
        self.element
            .children
            .last()
            .is_some_and(|name| name == child)
    }
}

fn begins_stream(chunk: &[u8]) -> bool {
    let chunk = chunk.trim_ascii_start();
    chunk.starts_with(b"<?xml") || chunk.starts_with(b"<stream:stream")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::*;

    const HEADER: &[u8] =
        b"<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
        xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

    fn names(elements: &[Element]) -> Vec<&str> {
        elements
            .iter()
            .map(|element| element.name.as_str())
            .collect()
    }

    #[test]
    fn elements_come_out_whole_however_they_are_cut() {
        let text = b"<message from='a@b.lit' to='c@d.lit'><body>1 &amp; \xF0\x9F\x8C\xB9</body></message> \
            <db:result from='b.lit' to='d.lit'>key</db:result><bidi xmlns='urn:xmpp:bidi'/>";
        for cut in 1..text.len() {
            let mut reader = Reader::default();
            reader.read(HEADER).unwrap();
            let (first, second) = text.split_at(cut);
            let mut all = reader.read(first).unwrap();
            all.extend(reader.read(second).unwrap());
            assert_eq!(names(&all), ["message", "result", "bidi"], "cut at {cut}");
            assert!(all.first().is_some_and(Element::is_stanza));
            assert!(!all.last().is_some_and(Element::is_stanza));
        }
    }

    #[test]
    fn a_restart_begins_a_new_document() {
        let mut reader = Reader::default();
        reader.read(b"<?xml version='1.0'?>").unwrap();
        reader.read(HEADER).unwrap();
        let first = reader
            .read(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        assert_eq!(first.unwrap().first().unwrap().mechanism, "EXTERNAL");
        reader.read(HEADER).unwrap();
        let second = reader
            .read(b"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
            .unwrap();
        assert_eq!(second.first().unwrap().children, ["ping"]);
    }

    #[test]
    fn a_stanza_inside_an_element_is_not_counted() {
        let mut reader = Reader::default();
        reader.read(HEADER).unwrap();
        let elements = reader
            .read(b"<message><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:server'/></forwarded></message>")
            .unwrap();
        assert_eq!(names(&elements), ["message"]);
    }

    #[test]
    fn ids_bodies_and_errors_are_read() {
        let mut reader = Reader::default();
        reader
            .read(b"<stream:stream xmlns='jabber:server' id='s1' xmlns:stream='http://etherx.jabber.org/streams'>")
            .unwrap();
        assert_eq!(reader.stream(), "s1");
        let elements = reader
            .read(
                b"<message id='m1' type='error'><body>a &amp; b</body><error type='wait'>\
                <remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no &lt;answer/></text></error></message>",
            )
            .unwrap();
        let element = elements.first().unwrap();
        assert_eq!(element.id, "m1");
        assert_eq!(element.body, "a & b");
        assert_eq!(element.condition, "remote-server-timeout");
        assert_eq!(element.explanation, "no <answer/>");
    }

    #[test]
    fn what_is_no_stream_is_an_error() {
        let mut reader = Reader::default();
        reader.read(HEADER).unwrap();
        assert!(reader.read(b"</message>").is_err());
    }
}
