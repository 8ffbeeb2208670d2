//! One direction of a stream as the other side reads it: with our own scanner, which must never find fault with us.

use verona_xml::{Element, Limits, Scan, Scanner};

use crate::scanner::HEADER;

/// Reads what we write. Anything that is not well-formed is a fault of ours.
pub(crate) struct Wire {
    scanner: Scanner,
    is_open: bool,
    is_closed: bool,
    pending: Vec<u8>,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            scanner: Scanner::new(Limits::default()),
            is_open: false,
            is_closed: false,
            pending: Vec::new(),
        }
    }
}

impl Wire {
    /// One whose header has been read.
    pub(crate) fn opened() -> Self {
        let mut wire = Self::default();
        wire.read(HEADER.as_bytes());
        wire
    }

    /// The elements that these bytes complete, headers included.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Element> {
        self.pending.extend_from_slice(bytes);
        let mut found = Vec::new();
        while !self.pending.is_empty() {
            assert!(
                !self.is_closed,
                "behind the end of the stream: {}",
                self.pending.escape_ascii()
            );
            if self.is_open && is_header(&self.pending) {
                self.scanner = Scanner::new(Limits::default());
                self.is_open = false;
            }
            let (len, element) = match self.scanner.scan(&self.pending) {
                Ok(Scan::Space { len } | Scan::Declaration { len }) => (len, None),
                Ok(Scan::Close { len }) => {
                    self.is_closed = true;
                    (len, None)
                }
                Ok(Scan::Header { len, .. }) => {
                    self.is_open = true;
                    (len, Some(Element::parse_header(&self.pending[..len])))
                }
                Ok(Scan::Element { len, .. }) => {
                    let element = Element::parse(&self.pending[..len], self.scanner.scope());
                    (len, Some(element))
                }
                Ok(Scan::More) => break,
                Err(error) => panic!("we wrote {}: {error}", self.pending.escape_ascii()),
            };
            self.pending.drain(..len);
            found.extend(element.map(|it| it.expect("what the scanner accepts can be read")));
        }
        found
    }

    /// Whether nothing is half written.
    pub(crate) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }
}

fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<?xml") || bytes.starts_with(b"<stream:stream")
}
