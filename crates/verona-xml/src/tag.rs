//! One start tag: where its parts lie, and what the scanner learned about the element it opens, because everything
//! later is asked of these spans and not of the text again.

use std::borrow::Cow;

use crate::name::{QName, is_space};
use crate::reference::unescape_attribute;
use crate::scope::{Scope, XML_NAMESPACE};

/// What the start tag of a first-level element, or of the stream, says; spans into that element's bytes.
///
/// Every method takes the bytes of the element that the head was found in. With other bytes the answers mean nothing,
/// but nothing panics.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub(crate) name: QName,
    pub(crate) space: HeadSpace,
    pub(crate) from: Option<Span>,
    pub(crate) to: Option<Span>,
    pub(crate) id: Option<Span>,
    pub(crate) kind: Option<Span>,
    pub(crate) lang: Option<Span>,
    pub(crate) declares_default: bool,
    pub(crate) has_non_ascii_name: bool,
    pub(crate) scope_used: ScopeUse,
    /// Whether an element in the stanza's own namespace is written with a prefix or a declaration of its own.
    pub(crate) content_spelled_out: bool,
}

/// Where the namespace of a first-level element is named.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum HeadSpace {
    /// Nowhere: there is none.
    #[default]
    None,
    /// It is that of the prefix `xml`.
    Xml,
    /// In the start tag.
    Inside(Span),
    /// In the stream header, at this position of the scope.
    Header(usize),
}

impl Head {
    /// The local part of the element's name.
    #[must_use]
    pub fn local<'a>(&self, element: &'a [u8]) -> &'a str {
        self.name.local().text(element)
    }

    /// The prefix of the element's name, if it has one.
    #[must_use]
    pub fn prefix<'a>(&self, element: &'a [u8]) -> Option<&'a str> {
        self.name.prefix().map(|prefix| prefix.text(element))
    }

    /// The namespace that the element is in, `""` when in none.
    #[must_use]
    pub fn namespace<'a>(&self, element: &'a [u8], scope: &'a Scope) -> &'a str {
        match self.space {
            HeadSpace::None => "",
            HeadSpace::Xml => std::str::from_utf8(XML_NAMESPACE).unwrap_or_default(),
            HeadSpace::Inside(span) => span.text(element),
            HeadSpace::Header(index) => scope.at(index).map_or("", |(_, namespace)| namespace),
        }
    }

    /// The attribute `from`.
    #[must_use]
    pub fn from<'a>(&self, element: &'a [u8]) -> Option<Cow<'a, str>> {
        value(self.from, element)
    }

    /// The attribute `to`.
    #[must_use]
    pub fn to<'a>(&self, element: &'a [u8]) -> Option<Cow<'a, str>> {
        value(self.to, element)
    }

    /// The attribute `id`.
    #[must_use]
    pub fn id<'a>(&self, element: &'a [u8]) -> Option<Cow<'a, str>> {
        value(self.id, element)
    }

    /// The attribute `type`.
    #[must_use]
    pub fn kind<'a>(&self, element: &'a [u8]) -> Option<Cow<'a, str>> {
        value(self.kind, element)
    }

    /// The attribute `xml:lang`.
    #[must_use]
    pub fn lang<'a>(&self, element: &'a [u8]) -> Option<Cow<'a, str>> {
        value(self.lang, element)
    }

    /// Whether the element's name has a prefix.
    #[must_use]
    pub fn is_prefixed(&self) -> bool {
        self.name.colon.is_some()
    }

    /// Whether the start tag declares a default namespace.
    #[must_use]
    pub fn declares_default(&self) -> bool {
        self.declares_default
    }

    /// Whether a prefix is used, anywhere in the element, that only the stream header declares.
    #[must_use]
    pub fn leans_on_scope(&self) -> bool {
        self.scope_used.0 != 0
    }

    /// Whether any name of an element or attribute, anywhere in the element, has a character outside ASCII.
    ///
    /// Such an element is well-formed here, but parsers of the fourth edition of XML 1.0 end the stream over it
    /// (`ROUTE-30`).
    #[must_use]
    pub fn has_non_ascii_name(&self) -> bool {
        self.has_non_ascii_name
    }
}

fn value(span: Option<Span>, element: &[u8]) -> Option<Cow<'_, str>> {
    span.map(|span| unescape_attribute(span.text(element)))
}

/// A range of an element's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The scanner looks at no more than `u32::MAX` bytes of an element, so nothing is cut here.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(end).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    pub(crate) fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }

    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
}

/// Which declarations of the stream header an element uses; the last bit stands for all from the 64th on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScopeUse(u64);

impl ScopeUse {
    pub(crate) fn insert(&mut self, index: usize) {
        self.0 |= 1 << index.min(63);
    }

    pub(crate) fn contains(self, index: usize) -> bool {
        self.0 & (1 << index.min(63)) != 0
    }
}

/// The attributes of a start tag that the scanner has found good, in order; stops at the first thing that is none.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One attribute as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawAttribute<'a> {
    pub(crate) name: &'a str,
    /// Between the quotes.
    pub(crate) value: &'a str,
    /// From the white space before the name to the closing quote.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl<'a> Attributes<'a> {
    /// `at` is where the element's name ends.
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where reading stopped: after the last attribute.
    pub(crate) fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = RawAttribute<'a>;

    fn next(&mut self) -> Option<RawAttribute<'a>> {
        let start = self.at;
        let name_start = skip_space(self.bytes, start);
        let name_end = skip(self.bytes, name_start, |byte| {
            !is_space(byte) && !matches!(byte, b'=' | b'>' | b'/')
        });
        let equals = skip_space(self.bytes, name_end);
        if name_end == name_start || self.bytes.get(equals) != Some(&b'=') {
            return None;
        }
        let quote_at = skip_space(self.bytes, equals + 1);
        let quote = *self.bytes.get(quote_at)?;
        if !matches!(quote, b'"' | b'\'') {
            return None;
        }
        let value_start = quote_at + 1;
        let length = memchr::memchr(quote, self.bytes.get(value_start..)?)?;
        let end = value_start + length + 1;
        self.at = end;
        Some(RawAttribute {
            name: std::str::from_utf8(self.bytes.get(name_start..name_end)?).ok()?,
            value: std::str::from_utf8(self.bytes.get(value_start..end - 1)?).ok()?,
            start,
            end,
        })
    }
}

/// The position of the first byte from `at` that is no white space.
pub(crate) fn skip_space(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, is_space)
}

pub(crate) fn skip(bytes: &[u8], at: usize, over: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|&&byte| over(byte)).count()
}
