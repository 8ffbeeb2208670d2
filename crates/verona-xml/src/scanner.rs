//! Bytes in, complete first-level elements out: everything about a stanza is checked here, once, so that what is routed
//! afterwards are bytes that nobody has to look at again.

use memchr::{memchr, memchr3};

use crate::characters::Characters;
use crate::declaration;
use crate::error::Error;
use crate::limits::Limits;
use crate::name::{NameReader, Progress, QName, is_space};
use crate::reference::{Reference, Step};
use crate::scope::{Bindings, DeclaredBy, Resolved, Scope, Space};
use crate::tag::{Head, HeadSpace, Span, skip_space};

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

    // Between first-level elements.

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

    // Start tags.

    fn element_begins(&mut self) -> Result<(), Error> {
        if self.open.is_empty() {
            self.elements = 0;
            self.bindings.truncate(0);
            self.head = Head::default();
        }
        //= LIM-13
        if self.open.len() >= self.limits.depth() {
            return Err(Error::too_large("element_depth_max"));
        }
        if self.elements >= self.limits.elements_max {
            return Err(Error::too_large("elements_max"));
        }
        self.elements += 1;
        self.state = State::ElementName(NameReader::new(self.at));
        Ok(())
    }

    fn element_name(&mut self, bytes: &[u8], reader: NameReader) -> Result<(), Error> {
        match reader.read(bytes, &mut self.at, self.limits.name_bytes_max)? {
            Progress::Unfinished(reader) => self.state = State::ElementName(reader),
            Progress::Finished(name) => {
                self.head.has_non_ascii_name |= !name.ascii;
                self.tag.begin(name, self.bindings.len());
                self.state = State::Tag { spaced: false };
            }
        }
        Ok(())
    }

    fn tag(&mut self, bytes: &[u8], byte: u8, spaced: bool) -> Result<Option<Scan>, Error> {
        match byte {
            b'>' => {
                self.at += 1;
                return self.start_tag_ended(bytes, Ending::Open);
            }
            b'/' => {
                self.at += 1;
                self.state = State::Slash;
            }
            byte if is_space(byte) => {
                self.at = skip_space(bytes, self.at);
                self.state = State::Tag { spaced: true };
            }
            _ if spaced => self.state = State::AttributeName(NameReader::new(self.at)),
            _ => {
                return Err(Error::not_well_formed(
                    "something other than white space follows a name or a value in a tag",
                ));
            }
        }
        Ok(None)
    }

    fn attribute_name(&mut self, bytes: &[u8], reader: NameReader) -> Result<(), Error> {
        match reader.read(bytes, &mut self.at, self.limits.name_bytes_max)? {
            Progress::Unfinished(reader) => self.state = State::AttributeName(reader),
            Progress::Finished(name) => {
                if declared_prefix(bytes, name).is_none()
                    && self.tag.attributes.len() >= self.limits.attributes_max
                {
                    return Err(Error::too_large("attributes_max"));
                }
                self.head.has_non_ascii_name |= !name.ascii;
                self.state = State::Equals(name);
            }
        }
        Ok(())
    }

    fn equals(&mut self, bytes: &[u8], byte: u8, name: QName) -> Result<(), Error> {
        if is_space(byte) {
            self.at = skip_space(bytes, self.at);
        } else if byte == b'=' {
            self.at += 1;
            self.state = State::Quote(name);
        } else {
            return Err(Error::not_well_formed("an attribute has no value"));
        }
        Ok(())
    }

    fn quote(&mut self, bytes: &[u8], byte: u8, name: QName) -> Result<(), Error> {
        if is_space(byte) {
            self.at = skip_space(bytes, self.at);
        } else if matches!(byte, b'\'' | b'"') {
            self.at += 1;
            self.state = State::Value(Value {
                name,
                start: self.at,
                quote: byte,
                declares: declared_prefix(bytes, name),
            });
        } else {
            return Err(Error::not_well_formed("an attribute's value is not quoted"));
        }
        Ok(())
    }

    fn value(&mut self, bytes: &[u8], value: Value) -> Result<(), Error> {
        let bytes_max = self.limits.attribute_bytes_max;
        // One byte more than allowed is looked at, which decides whether the value ends in time.
        let last = value.start.saturating_add(bytes_max).saturating_add(1);
        let ahead = bytes
            .get(self.at..last.min(bytes.len()))
            .unwrap_or_default();
        let Some(length) = memchr3(value.quote, b'<', b'&', ahead) else {
            self.at += ahead.len();
            return value.check_length(self.at, bytes_max);
        };
        self.at += length;
        match ahead.get(length) {
            Some(b'<') => Err(Error::not_well_formed(
                "a less-than sign stands in an attribute's value",
            )),
            Some(b'&') if value.declares.is_some() => {
                Err(Error::restricted("a namespace name contains a reference"))
            }
            Some(b'&') => {
                self.at += 1;
                self.state = State::ValueReference(value, Reference::Empty);
                value.check_length(self.at, bytes_max)
            }
            Some(_) | None => {
                let span = Span::new(value.start, self.at);
                self.at += 1;
                self.state = State::Tag { spaced: false };
                self.attribute(bytes, value, span)
            }
        }
    }

    fn value_reference(
        &mut self,
        byte: u8,
        value: Value,
        reference: Reference,
    ) -> Result<(), Error> {
        self.state = match reference.step(byte)? {
            Step::Unfinished(reference) => State::ValueReference(value, reference),
            Step::Finished(_) => State::Value(value),
        };
        self.at += 1;
        value.check_length(self.at, self.limits.attribute_bytes_max)
    }

    fn attribute(&mut self, bytes: &[u8], value: Value, span: Span) -> Result<(), Error> {
        let Some(prefix) = value.declares else {
            self.tag.attributes.push(Attribute {
                name: value.name,
                value: span,
            });
            return Ok(());
        };
        if span
            .of(bytes)
            .iter()
            .any(|byte| matches!(byte, b'\t' | b'\n' | b'\r'))
        {
            return Err(Error::restricted(
                "a namespace name contains a tab or a line end",
            ));
        }
        let space = self.bindings.declare(
            bytes,
            (prefix, span),
            self.tag.first_binding,
            &self.scope,
            self.limits.namespaces_max,
            &mut self.work,
        )?;
        if prefix.len() == 0 {
            self.tag.default = Some(space);
        }
        Ok(())
    }

    fn start_tag_ended(&mut self, bytes: &[u8], ending: Ending) -> Result<Option<Scan>, Error> {
        let name = self.tag.name;
        let inherited = match self.open.last() {
            Some(parent) => parent.default,
            None => self.resolve(bytes, Span::default())?.space,
        };
        let default = self.tag.default.unwrap_or(inherited);
        let element = match name.prefix() {
            Some(prefix) if prefix.of(bytes) == b"xmlns" => {
                return Err(Error::not_well_formed("an element has the prefix xmlns"));
            }
            Some(prefix) => Some(self.resolve(bytes, prefix)?),
            None => None,
        };
        self.check_attributes(bytes)?;
        let space = element.map_or(default, |resolved| resolved.space);
        let content = match self.open.last() {
            None => {
                self.describe(bytes, element)?;
                Content::of_root(space)
            }
            Some(parent) => {
                let inherits = parent.content.inherits && self.tag.default.is_none();
                let within = space == parent.content.root
                    && (parent.content.within || inherits && element.is_none());
                //= STREAM-06
                if within && (element.is_some() || !inherits) {
                    self.head.content_spelled_out = true;
                }
                Content {
                    root: parent.content.root,
                    within,
                    inherits,
                }
            }
        };
        if self.stage != Stage::Stream {
            return self.stream_opened(bytes, ending).map(Some);
        }
        let first_binding = self.tag.first_binding;
        match ending {
            Ending::Open => {
                self.open.push(Open {
                    name: name.span,
                    first_binding,
                    default,
                    content,
                });
                self.state = State::Text { brackets: 0 };
                Ok(None)
            }
            Ending::Empty => Ok(self.element_ended(first_binding)),
        }
    }

    /// No two attributes may have the same name, neither as written nor after prefixes are resolved.
    fn check_attributes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let work = &mut self.work;
        self.tag.attributes.sort_unstable_by(|one, other| {
            let (one, other) = (one.name.span, other.name.span);
            *work += one.len().min(other.len()) as u64;
            one.of(bytes).cmp(other.of(bytes))
        });
        let twice = self.tag.attributes.windows(2).any(|pair| match pair {
            [one, other] => one.name.span.of(bytes) == other.name.span.of(bytes),
            _ => false,
        });
        if twice {
            return Err(TWICE);
        }
        if self.tag.attributes.iter().all(|it| it.name.colon.is_none()) {
            return Ok(());
        }
        let mut expanded = std::mem::take(&mut self.tag.expanded);
        expanded.clear();
        for index in 0..self.tag.attributes.len() {
            let Some(name) = self.tag.attributes.get(index).map(|it| it.name) else {
                break;
            };
            if let Some(prefix) = name.prefix() {
                let space = self.resolve(bytes, prefix)?.space;
                expanded.push((space, name.local()));
            }
        }
        let work = &mut self.work;
        expanded.sort_unstable_by(|(space, local), (other_space, other_local)| {
            *work += local.len().min(other_local.len()) as u64;
            (space, local.of(bytes)).cmp(&(other_space, other_local.of(bytes)))
        });
        let twice = expanded.windows(2).any(|pair| match pair {
            [(space, local), (other_space, other_local)] => {
                space == other_space && local.of(bytes) == other_local.of(bytes)
            }
            _ => false,
        });
        self.tag.expanded = expanded;
        if twice { Err(TWICE) } else { Ok(()) }
    }

    fn describe(&mut self, bytes: &[u8], element: Option<Resolved>) -> Result<(), Error> {
        let resolved = match element {
            Some(resolved) => resolved,
            None => self.resolve(bytes, Span::default())?,
        };
        self.head.name = self.tag.name;
        self.head.declares_default = self.tag.default.is_some();
        self.head.space = match (resolved.space, resolved.from) {
            (Space::Xml, _) => HeadSpace::Xml,
            (_, DeclaredBy::Element(span)) => HeadSpace::Inside(span),
            (_, DeclaredBy::Header(index)) => HeadSpace::Header(index),
            (_, DeclaredBy::Nobody) => HeadSpace::None,
        };
        for attribute in &self.tag.attributes {
            let place = match attribute.name.span.of(bytes) {
                b"from" => &mut self.head.from,
                b"to" => &mut self.head.to,
                b"id" => &mut self.head.id,
                b"type" => &mut self.head.kind,
                b"xml:lang" => &mut self.head.lang,
                _ => continue,
            };
            *place = Some(attribute.value);
        }
        Ok(())
    }

    /// What a prefix means here; the empty one asks for the default namespace.
    fn resolve(&mut self, bytes: &[u8], prefix: Span) -> Result<Resolved, Error> {
        let resolved = self
            .bindings
            .resolve(bytes, prefix, &self.scope, &mut self.work)
            .ok_or(Error::not_well_formed("a prefix is not declared"))?;
        match resolved.from {
            // Whoever inherits the default namespace inherits that of any stream; a prefix is only of this one.
            //= STREAM-09
            DeclaredBy::Header(index) if prefix.len() > 0 => self.head.scope_used.insert(index),
            DeclaredBy::Header(_) | DeclaredBy::Element(_) | DeclaredBy::Nobody => {}
        }
        Ok(resolved)
    }

    fn stream_opened(&mut self, bytes: &[u8], ending: Ending) -> Result<Scan, Error> {
        if ending == Ending::Empty {
            return Err(Error::not_well_formed("the stream ends in its header"));
        }
        self.stream_name = self.tag.name.span.of(bytes).to_vec();
        self.scope = self.bindings.to_scope(bytes);
        self.stage = Stage::Stream;
        let head = std::mem::take(&mut self.head);
        Ok(Scan::Header { len: self.at, head })
    }

    // Content and end tags.

    fn text(&mut self, bytes: &[u8], byte: u8, brackets: u8) -> Result<(), Error> {
        match byte {
            b'<' => {
                self.at += 1;
                self.state = State::Markup;
            }
            b'&' => {
                self.at += 1;
                self.state = State::TextReference(Reference::Empty);
            }
            b']' => {
                self.at += 1;
                self.state = State::Text {
                    brackets: brackets.saturating_add(1),
                };
            }
            b'>' if brackets >= 2 => {
                return Err(Error::not_well_formed("character data contains ]]>"));
            }
            _ => {
                let ahead = bytes.get(self.at..).unwrap_or_default();
                self.at += memchr3(b'<', b'&', b']', ahead).unwrap_or(ahead.len());
                self.state = State::Text { brackets: 0 };
            }
        }
        Ok(())
    }

    fn text_reference(&mut self, byte: u8, reference: Reference) -> Result<(), Error> {
        self.state = match reference.step(byte)? {
            Step::Unfinished(reference) => State::TextReference(reference),
            Step::Finished(_) => State::Text { brackets: 0 },
        };
        self.at += 1;
        Ok(())
    }

    fn character_data(&mut self, bytes: &[u8], byte: u8, brackets: u8) {
        match byte {
            b']' => {
                self.at += 1;
                self.state = State::CharacterData {
                    brackets: brackets.saturating_add(1),
                };
            }
            b'>' if brackets >= 2 => {
                self.at += 1;
                self.state = State::Text { brackets: 0 };
            }
            _ => {
                let ahead = bytes.get(self.at..).unwrap_or_default();
                self.at += memchr(b']', ahead).unwrap_or(ahead.len());
                self.state = State::CharacterData { brackets: 0 };
            }
        }
    }

    fn end_name(&mut self, bytes: &[u8], byte: u8, start: usize) -> Result<(), Error> {
        let expected = match self.open.last() {
            Some(open) => open.name.of(bytes),
            None => &self.stream_name,
        };
        let compared = self.at.saturating_sub(start);
        let rest = expected.get(compared..).unwrap_or_default();
        if rest.is_empty() {
            if !is_space(byte) && byte != b'>' {
                return Err(MISMATCH);
            }
            self.state = State::EndTag;
            return Ok(());
        }
        let ahead = bytes.get(self.at..).unwrap_or_default();
        let length = rest.len().min(ahead.len());
        if rest.get(..length) != ahead.get(..length) {
            return Err(MISMATCH);
        }
        self.at += length;
        Ok(())
    }

    fn end_tag(&mut self, bytes: &[u8], byte: u8) -> Result<Option<Scan>, Error> {
        if is_space(byte) {
            self.at = skip_space(bytes, self.at);
            return Ok(None);
        }
        if byte != b'>' {
            return Err(Error::not_well_formed(
                "something follows the name in an end tag",
            ));
        }
        self.at += 1;
        match self.open.pop() {
            Some(open) => Ok(self.element_ended(open.first_binding)),
            None => {
                self.stage = Stage::Closed;
                Ok(Some(Scan::Close { len: self.at }))
            }
        }
    }

    fn element_ended(&mut self, first_binding: usize) -> Option<Scan> {
        self.bindings.truncate(first_binding);
        if !self.open.is_empty() {
            self.state = State::Text { brackets: 0 };
            return None;
        }
        let head = std::mem::take(&mut self.head);
        Some(Scan::Element { len: self.at, head })
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

/// An attribute whose value is being read.
#[derive(Clone, Copy, Debug)]
struct Value {
    name: QName,
    start: usize,
    quote: u8,
    /// The prefix that the attribute declares, empty for the default namespace; nothing for other attributes.
    declares: Option<Span>,
}

impl Value {
    fn check_length(&self, at: usize, bytes_max: usize) -> Result<(), Error> {
        if at.saturating_sub(self.start) > bytes_max {
            return Err(Error::too_large("attribute_bytes_max"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Empty,
}

/// The start tag being read; kept to reuse its memory.
#[derive(Debug, Default)]
struct StartTag {
    name: QName,
    attributes: Vec<Attribute>,
    /// The prefixed attributes, resolved.
    expanded: Vec<(Space, Span)>,
    /// How many namespace declarations were in force before this tag.
    first_binding: usize,
    /// The default namespace that the tag declares.
    default: Option<Space>,
}

impl StartTag {
    fn begin(&mut self, name: QName, first_binding: usize) {
        self.name = name;
        self.attributes.clear();
        self.first_binding = first_binding;
        self.default = None;
    }
}

#[derive(Clone, Copy, Debug)]
struct Attribute {
    name: QName,
    value: Span,
}

/// An element whose end tag has not come.
#[derive(Clone, Copy, Debug)]
struct Open {
    name: Span,
    first_binding: usize,
    default: Space,
    content: Content,
}

/// Whether an element belongs to the stanza itself and not to an extension: then it takes on the content namespace of
/// whatever stream the stanza is written to (`STREAM-08`).
#[derive(Clone, Copy, Debug)]
struct Content {
    /// The namespace of the first-level element.
    root: Space,
    within: bool,
    /// Whether the default namespace here is that of the first-level element's own start tag or of the stream.
    inherits: bool,
}

impl Content {
    fn of_root(root: Space) -> Self {
        Self {
            root,
            within: true,
            inherits: true,
        }
    }
}

/// The largest number of bytes, up to `length`, that does not end inside a character, given that those around it are
/// good: so no character has begun more than three bytes before.
fn whole_characters(bytes: &[u8], length: usize) -> usize {
    let mut ends = (length.saturating_sub(3)..=length).rev();
    ends.find(|&end| bytes.get(end).is_none_or(|byte| byte & 0xC0 != 0x80))
        .unwrap_or(length)
}

/// The prefix that an attribute declares: `p` for `xmlns:p`, empty for `xmlns`.
fn declared_prefix(bytes: &[u8], name: QName) -> Option<Span> {
    match name.prefix() {
        Some(prefix) => (prefix.of(bytes) == b"xmlns").then_some(name.local()),
        None => (name.span.of(bytes) == b"xmlns").then_some(Span::default()),
    }
}

const CDATA: &[u8] = b"[CDATA[";
const TWICE: Error = Error::not_well_formed("an element has the same attribute twice");
const MISMATCH: Error = Error::not_well_formed("an end tag does not match its start tag");
