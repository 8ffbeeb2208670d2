//! What was written, as elements: two texts are the same when they mean the same. Quotes, the order of attributes and
//! the place of a declaration are nobody's business.

use std::collections::BTreeMap;
use std::fmt;

use verona_proto::ns;
use verona_xml::{Element, Limits, Scan, Scanner};

use super::text::Names;

/// One direction of a connection, read as it is written.
#[derive(Debug)]
pub(super) struct Wire {
    scanner: Scanner,
    in_stream: bool,
    pending: Vec<u8>,
}

/// One first-level piece of a stream.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    /// The header, with the namespaces that it declares.
    Header(Element, BTreeMap<String, String>),
    Element(Element),
    Space,
    Close,
}

impl Wire {
    pub(super) fn new() -> Self {
        Self {
            scanner: Scanner::new(Limits::default()),
            in_stream: false,
            pending: Vec::new(),
        }
    }

    /// Takes what was written, which must be complete pieces.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, String> {
        self.pending.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while !self.pending.is_empty() {
            if self.in_stream && is_header(&self.pending) {
                self.scanner = Scanner::new(Limits::default());
                self.in_stream = false;
            }
            let (len, frame) = match self.scanner.scan(&self.pending) {
                Ok(Scan::More) => return Err(format!("half of something: {}", self.rest())),
                Err(error) => return Err(format!("{error}: {}", self.rest())),
                Ok(Scan::Space { len }) => (len, Some(Frame::Space)),
                Ok(Scan::Declaration { len }) => (len, None),
                Ok(Scan::Close { len }) => (len, Some(Frame::Close)),
                Ok(Scan::Header { len, .. }) => {
                    self.in_stream = true;
                    let scope = self.scanner.scope().iter();
                    let scope = scope.map(|(prefix, name)| (prefix.to_owned(), name.to_owned()));
                    let header = Element::parse_header(self.first(len)).map_err(invalid)?;
                    (len, Some(Frame::Header(header, scope.collect())))
                }
                Ok(Scan::Element { len, .. }) => {
                    let element = Element::parse(self.first(len), self.scanner.scope());
                    (len, Some(Frame::Element(element.map_err(invalid)?)))
                }
            };
            self.pending.drain(..len);
            frames.extend(frame);
        }
        Ok(frames)
    }

    fn first(&self, len: usize) -> &[u8] {
        self.pending.get(..len).unwrap_or_default()
    }

    fn rest(&self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

impl Frame {
    /// Whether `found` is what this one wants.
    pub(super) fn matches(&self, found: &Self, names: &mut Names) -> bool {
        match (self, found) {
            (Self::Header(wanted, scope), Self::Header(found, found_scope)) => {
                scope == found_scope && matches(wanted, found, names)
            }
            (Self::Element(wanted), Self::Element(found)) => matches(wanted, found, names),
            (Self::Space, Self::Space) | (Self::Close, Self::Close) => true,
            (Self::Header(..) | Self::Element(_) | Self::Space | Self::Close, _) => false,
        }
    }
}

/// Whether two elements mean the same, patterns considered.
pub(super) fn matches(wanted: &Element, found: &Element, names: &mut Names) -> bool {
    if wanted.name() != found.name() || wanted.namespace() != found.namespace() {
        return false;
    }
    let attributes = |element: &Element| -> BTreeMap<(String, String), String> {
        let own = element.attributes();
        own.map(|a| ((a.namespace().into(), a.name().into()), a.value().into()))
            .collect()
    };
    let (wanted_attributes, found_attributes) = (attributes(wanted), attributes(found));
    if !wanted_attributes.keys().eq(found_attributes.keys()) {
        return false;
    }
    let mut values = wanted_attributes.values().zip(found_attributes.values());
    if !values.all(|(wanted, found)| names.matches(wanted, found)) {
        return false;
    }
    if wanted.children().next().is_none() && wanted.text() == "{any}" {
        return true;
    }
    let found_children: Vec<&Element> = found
        .children()
        .filter(|child| !stands_beside(child, wanted))
        .collect();
    names.matches(&wanted.text(), &found.text())
        && wanted.children().count() == found_children.len()
        && wanted
            .children()
            .zip(found_children)
            .all(|(wanted, found)| matches(wanted, found, names))
}

/// Whether `child` may stand in the element although `wanted` does not show it: our limits beside other features
/// (XEP-0478 §3.1, LIM-03) and in the request for bidi (§3.2, BIDI-65), and that we need not be waited for (XEP-0305 §3,
/// STREAM-60). Where a transcript shows such a thing, it is compared.
fn stands_beside(child: &Element, wanted: &Element) -> bool {
    let features = wanted.is("features", ns::STREAM);
    let allowed: &[(&str, &str)] = match (features, wanted.is("bidi", ns::BIDI)) {
        (true, _) => &[("limits", ns::LIMITS), ("pipelining", ns::PIPELINING)],
        (false, true) => &[("limits", ns::LIMITS)],
        (false, false) => &[],
    };
    allowed.iter().any(|(name, namespace)| {
        child.is(name, namespace) && !wanted.children().any(|wanted| wanted.is(name, namespace))
    })
}

fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<?xml") || bytes.starts_with(b"<stream:stream")
}

fn invalid(error: verona_xml::Error) -> String {
    error.to_string()
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(header, scope) => {
                write!(f, "<stream:stream")?;
                for attribute in header.attributes() {
                    write!(f, " {}='{}'", attribute.name(), attribute.value())?;
                }
                for (prefix, namespace) in scope {
                    write!(f, " xmlns:{prefix}='{namespace}'")?;
                }
                write!(f, ">")
            }
            Self::Element(element) => {
                let mut text = String::new();
                element.write("jabber:server", &mut text);
                f.write_str(&text)
            }
            Self::Space => f.write_str("(white space)"),
            Self::Close => f.write_str("</stream:stream>"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn same(wanted: &str, found: &str) -> bool {
        let read = |text: &str| Element::parse(text.as_bytes(), &verona_xml::Scope::default());
        let (wanted, found) = (read(wanted).unwrap(), read(found).unwrap());
        matches(&wanted, &found, &mut Names::default())
    }

    #[test]
    fn limits_may_stand_beside_what_is_shown_and_nowhere_else() {
        let limits = |bytes: &str| {
            format!(
                "<limits xmlns='{}'><max-bytes>{bytes}</max-bytes></limits>",
                ns::LIMITS
            )
        };
        let features = |inner: &str| format!("<features xmlns='{}'>{inner}</features>", ns::STREAM);
        let bidi = |inner: &str| format!("<bidi xmlns='{}'>{inner}</bidi>", ns::BIDI);
        let message = |inner: &str| format!("<message>{inner}</message>");
        assert!(same(&features(""), &features(&limits("1"))));
        assert!(same(&bidi(""), &bidi(&limits("1"))));
        assert!(same(&features(&limits("1")), &features(&limits("1"))));
        // Where they are shown, they are compared.
        assert!(!same(&features(&limits("1")), &features(&limits("2"))));
        assert!(!same(&features(&limits("1")), &features("")));
        // Nothing else is free, and nowhere else.
        assert!(!same(
            &features(""),
            &features("<sm xmlns='urn:xmpp:sm:3'/>")
        ));
        assert!(!same(&message(""), &message(&limits("1"))));
    }
}
