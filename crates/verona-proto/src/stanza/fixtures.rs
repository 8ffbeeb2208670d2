//! Elements for tests, read from text by the scanner that reads them from peers.
//!
//! A test that builds its input another way would test another input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use verona_xml::{Element, Head, Limits, Scan, Scanner, Scope};

/// The header of a server-to-server stream.
pub(crate) const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
     xmlns:stream='http://etherx.jabber.org/streams' id='i' version='1.0'>";

/// The first-level element `text` under [`HEADER`].
pub(crate) fn first_level(text: &str) -> (Vec<u8>, Head, Scope) {
    under(HEADER, text)
}

/// The first-level element `text` under `header`.
pub(crate) fn under(header: &str, text: &str) -> (Vec<u8>, Head, Scope) {
    let document = format!("{header}{text}");
    let mut scanner = Scanner::new(Limits::default());
    let mut rest = document.as_bytes();
    loop {
        match scanner.scan(rest).unwrap() {
            Scan::Space { len } | Scan::Declaration { len } | Scan::Header { len, .. } => {
                rest = &rest[len..];
            }
            Scan::Element { len, head } => {
                assert_eq!(len, rest.len(), "one element: {text}");
                return (rest.to_vec(), head, scanner.scope().clone());
            }
            Scan::More | Scan::Close { .. } => panic!("not an element: {text}"),
        }
    }
}

/// The tree of the first-level element `text` under [`HEADER`].
pub(crate) fn element(text: &str) -> Element {
    let (bytes, _, scope) = first_level(text);
    Element::parse(&bytes, &scope).unwrap()
}
