//! The restricted XML of XMPP (RFC 6120 §11): bytes in, complete and checked first-level elements out, because what a
//! gateway forwards must be understood the same way by every server that it is forwarded to.
//!
//! # The idea
//!
//! A stanza on its way is not a tree. It is the bytes that arrived, once they are known to be good: well-formed,
//! namespace-well-formed, UTF-8, within the [`Limits`], without comments, DTDs and other things that XMPP leaves out.
//! The [`Scanner`] finds that out, in time proportional to the bytes and without recursion, and says where the element
//! ends and what its start tag says ([`Head`]). Everything later asks the head; nobody reads the stanza again.
//!
//! Bytes can be moved to another stream as they are, with two exceptions: a namespace that the stanza only has from its
//! stream's header ([`Scope`]), and a content namespace named where it should be inherited. [`rewrite`] deals with both.
//!
//! The few elements that are read and not routed (features, dialback, errors) become an [`Element`], a small tree.
//! What we say ourselves is written with [`Tag`].
//!
//! # Example
//!
//! ```
//! use verona_xml::{Edit, Limits, Scan, Scanner, rewrite};
//!
//! let mut pending = b"<?xml version='1.0'?>\
//!     <stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>\
//!     <message from='romeo@montague.example' to='juliet@capulet.example'><body>Soft!</body></message> <iq"
//!     .to_vec();
//! let mut scanner = Scanner::new(Limits::default());
//! let mut seen = Vec::new();
//! loop {
//!     let len = match scanner.scan(&pending)? {
//!         Scan::More => break, // until more bytes have arrived behind these
//!         Scan::Space { len } | Scan::Declaration { len } | Scan::Close { len } => len,
//!         Scan::Header { len, head } => {
//!             assert_eq!(head.namespace(&pending, scanner.scope()), "http://etherx.jabber.org/streams");
//!             len
//!         }
//!         Scan::Element { len, head } => {
//!             let element = &pending[..len];
//!             assert_eq!(head.local(element), "message");
//!             assert_eq!(head.namespace(element, scanner.scope()), "jabber:server");
//!             assert_eq!(head.to(element).as_deref(), Some("juliet@capulet.example"));
//!             // Another stream may have it as it is.
//!             assert_eq!(rewrite(element, &head, scanner.scope(), &Edit::default()), element);
//!             seen.push(element.to_vec());
//!             len
//!         }
//!     };
//!     pending.drain(..len);
//! }
//! assert_eq!(seen.len(), 1);
//! assert_eq!(pending, b"<iq");
//! # Ok::<(), verona_xml::Error>(())
//! ```
//!
//! # Contract
//!
//! Pure: no clock, no socket, no allocation that a peer can grow past the limits, no panic whatever bytes come in.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod characters;
mod declaration;
mod element;
mod error;
mod limits;
mod name;
mod reference;
mod rewrite;
mod scanner;
mod scope;
mod tag;
mod writer;

pub use element::{Attribute, Element};
pub use error::{Error, ErrorKind};
pub use limits::Limits;
pub use rewrite::{Edit, rewrite};
pub use scanner::{Scan, Scanner};
pub use scope::Scope;
pub use tag::Head;
pub use writer::{Tag, end, escape_attribute, escape_text};
