//! Start tags, read byte by byte: names, attributes, values; what they mean together is seen when the tag ends.

use memchr::memchr3;

use super::{Ending, Scan, Scanner, State};
use crate::error::Error;
use crate::name::{NameReader, Progress, QName, is_space};
use crate::reference::{Reference, Step};
use crate::scope::Space;
use crate::tag::{Head, Span, skip_space};

impl Scanner {
    pub(super) fn element_begins(&mut self) -> Result<(), Error> {
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

    pub(super) fn element_name(&mut self, bytes: &[u8], reader: NameReader) -> Result<(), Error> {
        match reader.read(bytes, &mut self.at, self.limits.name_bytes_max)? {
            Progress::Unfinished(reader) => self.state = State::ElementName(reader),
            Progress::Finished(name) => {
                //= ROUTE-30
                self.head.has_non_ascii_name |= !name.ascii;
                self.tag.begin(name, self.bindings.len());
                self.state = State::Tag { spaced: false };
            }
        }
        Ok(())
    }

    pub(super) fn tag(
        &mut self,
        bytes: &[u8],
        byte: u8,
        spaced: bool,
    ) -> Result<Option<Scan>, Error> {
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

    pub(super) fn attribute_name(&mut self, bytes: &[u8], reader: NameReader) -> Result<(), Error> {
        match reader.read(bytes, &mut self.at, self.limits.name_bytes_max)? {
            Progress::Unfinished(reader) => self.state = State::AttributeName(reader),
            Progress::Finished(name) => {
                if declared_prefix(bytes, name).is_none()
                    && self.tag.attributes.len() >= self.limits.attributes_max
                {
                    return Err(Error::too_large("attributes_max"));
                }
                //= ROUTE-30
                self.head.has_non_ascii_name |= !name.ascii;
                self.state = State::Equals(name);
            }
        }
        Ok(())
    }

    pub(super) fn equals(&mut self, bytes: &[u8], byte: u8, name: QName) -> Result<(), Error> {
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

    pub(super) fn quote(&mut self, bytes: &[u8], byte: u8, name: QName) -> Result<(), Error> {
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

    pub(super) fn value(&mut self, bytes: &[u8], value: Value) -> Result<(), Error> {
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

    pub(super) fn value_reference(
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

    pub(super) fn attribute(
        &mut self,
        bytes: &[u8],
        value: Value,
        span: Span,
    ) -> Result<(), Error> {
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
}

/// The start tag being read; kept to reuse its memory.
#[derive(Debug, Default)]
pub(super) struct StartTag {
    pub(super) name: QName,
    pub(super) attributes: Vec<Attribute>,
    /// The prefixed attributes, resolved.
    pub(super) expanded: Vec<(Space, Span)>,
    /// How many namespace declarations were in force before this tag.
    pub(super) first_binding: usize,
    /// The default namespace that the tag declares.
    pub(super) default: Option<Space>,
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
pub(super) struct Attribute {
    pub(super) name: QName,
    pub(super) value: Span,
}

/// An attribute whose value is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) name: QName,
    pub(super) start: usize,
    pub(super) quote: u8,
    /// The prefix that the attribute declares, empty for the default namespace; nothing for other attributes.
    pub(super) declares: Option<Span>,
}

impl Value {
    fn check_length(&self, at: usize, bytes_max: usize) -> Result<(), Error> {
        if at.saturating_sub(self.start) > bytes_max {
            return Err(Error::too_large("attribute_bytes_max"));
        }
        Ok(())
    }
}

/// The prefix that an attribute declares: `p` for `xmlns:p`, empty for `xmlns`.
fn declared_prefix(bytes: &[u8], name: QName) -> Option<Span> {
    match name.prefix() {
        Some(prefix) => (prefix.of(bytes) == b"xmlns").then_some(name.local()),
        None => (name.span.of(bytes) == b"xmlns").then_some(Span::default()),
    }
}
