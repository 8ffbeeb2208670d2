//! Bytes in, complete first-level elements out: everything about a stanza is checked here, once, so that what is routed
//! afterwards are bytes that nobody has to look at again.

mod content;
mod namespaces;
mod start_tag;

use crate::characters::Characters;
use crate::declaration;
use crate::error::Error;
use crate::limits::Limits;
use crate::name::{NameReader, QName};
use crate::reference::Reference;
use crate::scope::{Bindings, Scope};
use crate::tag::{Head, skip_space};
use content::Open;
use start_tag::{StartTag, Value};

/// The scanner of one XML stream.
///
/// It owns no bytes. The caller keeps what has arrived and was not consumed yet in one buffer, and passes all of it:
/// the scanner remembers where it stopped, so every byte is examined a fixed number of times, however the bytes arrive.
///
/// A scanner that has refused a stream refuses it for ever. A stream restart (RFC 6120 §4.3.3) wants a new scanner.
#[derive(Debug)]
pub struct Scanner {
    limits: Limits,
    stage: Stage,
    state: State,
    /// Bytes of the pending ones already examined.
    at: usize,
    characters: Characters,
    /// Name of the stream's root element, which its end tag must repeat.
    stream_name: Vec<u8>,
    scope: Scope,
    /// The elements that are open, outermost first.
    open: Vec<Open>,
    bindings: Bindings,
    tag: StartTag,
    head: Head,
    elements: usize,
    work: u64,
    refused: Option<Error>,
}

/// What the scanner found at the start of the pending bytes.
#[derive(Debug)]
pub enum Scan {
    /// Nothing complete: call again with the same bytes and more behind them.
    More,
    /// White space between first-level elements, which peers send to keep a connection alive (`STREAM-40`).
    Space {
        /// Bytes to drop.
        len: usize,
    },
    /// The XML declaration.
    Declaration {
        /// Bytes to drop.
        len: usize,
    },
    /// The start tag of the stream.
    Header {
        /// Bytes that it has.
        len: usize,
        /// What it says.
        head: Head,
    },
    /// One complete first-level element.
    Element {
        /// Bytes that it has, from `<` to `>`.
        len: usize,
        /// What its start tag says.
        head: Head,
    },
    /// The end tag of the stream.
    Close {
        /// Bytes to drop.
        len: usize,
    },
}

impl Scanner {
    /// A scanner for a stream of which nothing has been read.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stage: Stage::Start,
            state: State::Between,
            at: 0,
            characters: Characters::default(),
            stream_name: Vec::new(),
            scope: Scope::default(),
            open: Vec::new(),
            bindings: Bindings::default(),
            tag: StartTag::default(),
            head: Head::default(),
            elements: 0,
            work: 0,
            refused: None,
        }
    }

    /// Changes the limits at once, also for an element that is half read.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Looks for the next complete piece of the stream.
    ///
    /// `pending` begins with the first byte that no earlier result has counted. After [`Scan::More`] it must begin with
    /// the same bytes; after any other result its first `len` bytes must have been dropped.
    ///
    /// # Errors
    ///
    /// The stream is not what XMPP allows, or exceeds a limit. Errors are found as soon as the byte that decides has
    /// arrived (duplicate attributes and unbound prefixes: when the start tag ends), and what they are does not depend
    /// on how the bytes were cut (RFC 6120 §11; `STREAM-35`, `STREAM-36`, `STREAM-37`, `STREAM-43`).
    pub fn scan(&mut self, pending: &[u8]) -> Result<Scan, Error> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let result = self.run(pending);
        if let Err(error) = &result {
            self.refused = Some(*error);
        }
        result
    }

    fn run(&mut self, pending: &[u8]) -> Result<Scan, Error> {
        let examined = self.characters.examine(pending);
        self.work += examined as u64;
        let bytes_max = self.bytes_max();
        let good = self.characters.good();
        let known = if good > bytes_max {
            whole_characters(pending, bytes_max)
        } else {
            good
        };
        let bytes = pending.get(..known).unwrap_or(pending);
        let before = self.at;
        while let Some(&byte) = bytes.get(self.at) {
            if let Some(scan) = self.step(bytes, byte)? {
                self.work += self.at.saturating_sub(before) as u64;
                return Ok(self.consumed(scan));
            }
        }
        self.work += self.at.saturating_sub(before) as u64;
        //= LIM-09
        //= STREAM-43
        if self.at >= bytes_max || known < good {
            return Err(Error::too_large(match self.stage {
                Stage::Start | Stage::Prolog => "header_bytes_max",
                Stage::Stream | Stage::Closed => "stanza_bytes_max",
            }));
        }
        match self.characters.bad() {
            Some(error) => Err(error),
            None => Ok(Scan::More),
        }
    }

    /// The namespaces declared on the stream header; none before there was one.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Bytes examined so far, counting comparisons: a measure of time that does not depend on the machine.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.work
    }

    /// Takes one step; it either moves on or changes the state to one that does.
    fn step(&mut self, bytes: &[u8], byte: u8) -> Result<Option<Scan>, Error> {
        match self.state {
            State::Between => return self.between(bytes, byte),
            State::Markup => self.markup(byte)?,
            State::Declaration => return self.declaration(bytes),
            State::Exclamation { matched } => self.exclamation(byte, matched)?,
            State::ElementName(reader) => self.element_name(bytes, reader)?,
            State::Tag { spaced } => return self.tag(bytes, byte, spaced),
            State::Slash if byte == b'>' => {
                self.at += 1;
                return self.start_tag_ended(bytes, Ending::Empty);
            }
            State::Slash => {
                return Err(Error::not_well_formed("a slash stands inside a tag"));
            }
            State::AttributeName(reader) => self.attribute_name(bytes, reader)?,
            State::Equals(name) => self.equals(bytes, byte, name)?,
            State::Quote(name) => self.quote(bytes, byte, name)?,
            State::Value(value) => self.value(bytes, value)?,
            State::ValueReference(value, reference) => {
                self.value_reference(byte, value, reference)?;
            }
            State::Text { brackets } => self.text(bytes, byte, brackets)?,
            State::TextReference(reference) => self.text_reference(byte, reference)?,
            State::CharacterData { brackets } => self.character_data(bytes, byte, brackets),
            State::EndName { start } => self.end_name(bytes, byte, start)?,
            State::EndTag => return self.end_tag(bytes, byte),
        }
        Ok(None)
    }

    fn between(&mut self, bytes: &[u8], byte: u8) -> Result<Option<Scan>, Error> {
        if byte == b'<' && self.stage != Stage::Closed {
            self.at += 1;
            self.state = State::Markup;
            return Ok(None);
        }
        //= STREAM-40
        let len = skip_space(bytes, self.at);
        if len > self.at {
            self.at = len;
            if self.stage == Stage::Start {
                self.stage = Stage::Prolog;
            }
            return Ok(Some(Scan::Space { len }));
        }
        //= STREAM-38
        Err(Error::not_well_formed(match self.stage {
            Stage::Start | Stage::Prolog => "text stands before the stream header",
            Stage::Stream => "text stands between first-level elements",
            Stage::Closed => "something follows the end of the stream",
        }))
    }

    fn markup(&mut self, byte: u8) -> Result<(), Error> {
        match byte {
            b'/' => {
                if self.open.is_empty() && self.stage != Stage::Stream {
                    return Err(Error::not_well_formed("the stream begins with an end tag"));
                }
                self.at += 1;
                self.state = State::EndName { start: self.at };
            }
            b'!' => {
                self.at += 1;
                self.state = State::Exclamation { matched: 0 };
            }
            b'?' if self.stage == Stage::Start => {
                self.at += 1;
                self.state = State::Declaration;
            }
            //= STREAM-35
            b'?' => {
                return Err(Error::restricted(
                    "a processing instruction, or an XML declaration that does not come first",
                ));
            }
            _ => self.element_begins()?,
        }
        Ok(())
    }

    fn declaration(&mut self, bytes: &[u8]) -> Result<Option<Scan>, Error> {
        // Short and only once: looked at from its start each time, and counted so.
        self.work += bytes.len().min(declaration::DECLARATION_BYTES_MAX) as u64;
        match declaration::check(bytes)? {
            Some(len) => {
                self.at = len;
                self.stage = Stage::Prolog;
                Ok(Some(Scan::Declaration { len }))
            }
            None => {
                self.at = bytes.len();
                Ok(None)
            }
        }
    }

    /// After `<!` only the opening of a CDATA section may follow, and only inside an element.
    fn exclamation(&mut self, byte: u8, matched: usize) -> Result<(), Error> {
        if CDATA.get(matched) != Some(&byte) {
            //= STREAM-35
            return Err(match (matched, byte) {
                (0, b'-') => Error::restricted("a comment"),
                (0, b'D') => Error::restricted("a document type declaration"),
                (_, _) => Error::not_well_formed("an exclamation mark follows a less-than sign"),
            });
        }
        if self.open.is_empty() {
            return Err(Error::not_well_formed(
                "a CDATA section stands between first-level elements",
            ));
        }
        self.at += 1;
        self.state = if matched + 1 == CDATA.len() {
            State::CharacterData { brackets: 0 }
        } else {
            State::Exclamation {
                matched: matched + 1,
            }
        };
        Ok(())
    }

    /// Forgets the bytes that a result counts.
    fn consumed(&mut self, scan: Scan) -> Scan {
        self.characters.consume(self.at);
        self.at = 0;
        self.state = State::Between;
        scan
    }

    /// Bytes that the piece being read may have; spans are 32 bits wide.
    fn bytes_max(&self) -> usize {
        let configured = match self.stage {
            Stage::Start | Stage::Prolog => self.limits.header_bytes_max,
            Stage::Stream | Stage::Closed => self.limits.stanza_bytes_max,
        };
        configured.min(u32::MAX as usize - 1)
    }
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come, so an XML declaration may.
    Start,
    /// The stream header has to come.
    Prolog,
    /// The header has come.
    Stream,
    /// The end tag has come.
    Closed,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum State {
    Between,
    /// After `<`.
    Markup,
    Declaration,
    /// After `<!` and this much of a CDATA section's opening.
    Exclamation {
        matched: usize,
    },
    ElementName(NameReader),
    /// In a start tag, after white space or after a name or value.
    Tag {
        spaced: bool,
    },
    /// After the slash of an empty element.
    Slash,
    AttributeName(NameReader),
    /// Before the equals sign.
    Equals(QName),
    /// Before the opening quote.
    Quote(QName),
    Value(Value),
    ValueReference(Value, Reference),
    /// Character data, after this many closing brackets in a row.
    Text {
        brackets: u8,
    },
    TextReference(Reference),
    /// A CDATA section, likewise.
    CharacterData {
        brackets: u8,
    },
    /// The name in an end tag.
    EndName {
        start: usize,
    },
    /// An end tag after its name.
    EndTag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Empty,
}

/// The largest number of bytes, up to `length`, that does not end inside a character, given that those around it are
/// good: so no character has begun more than three bytes before.
fn whole_characters(bytes: &[u8], length: usize) -> usize {
    let mut ends = (length.saturating_sub(3)..=length).rev();
    ends.find(|&end| bytes.get(end).is_none_or(|byte| byte & 0xC0 != 0x80))
        .unwrap_or(length)
}

const CDATA: &[u8] = b"[CDATA[";
