//! Reading a tree, without recursion, from bytes that a scanner has found good or that nobody has looked at.

use std::borrow::Cow;

use super::{Attribute, Element, Node, xml_namespace};
use crate::error::Error;
use crate::limits::Limits;
use crate::name;
use crate::reference::{normalise_line_ends, unescape_attribute, unescape_text};
use crate::scope::Scope;
use crate::tag::{Attributes, skip, skip_space};

/// What has been read of a tree.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    scope: &'a Scope,
    /// The declarations in force, outermost first.
    bindings: Vec<(&'a str, Cow<'a, str>)>,
    open: Vec<Opened<'a>>,
}

/// An element whose end tag has not been read.
struct Opened<'a> {
    element: Element,
    written_name: &'a str,
    first_binding: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], scope: &'a Scope) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::encoding("a byte sequence is not UTF-8"))?;
        Ok(Self {
            text,
            at: 0,
            scope,
            bindings: Vec::new(),
            open: Vec::new(),
        })
    }

    /// Reads one complete element.
    pub(super) fn element(mut self) -> Result<Element, Error> {
        loop {
            if let Some(root) = self.step()? {
                return Ok(root);
            }
        }
    }

    /// Reads one start tag.
    pub(super) fn header(mut self) -> Result<Element, Error> {
        let (opened, empty) = self.start_tag()?;
        if empty || self.at != self.text.len() {
            return Err(INCOMPLETE);
        }
        Ok(opened.element)
    }

    /// Reads one tag, or a piece of character data; gives the root when that was the end of it.
    fn step(&mut self) -> Result<Option<Element>, Error> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(b'<', rest.as_bytes()).ok_or(INCOMPLETE)?;
        let (data, markup) = rest.split_at_checked(length).ok_or(INCOMPLETE)?;
        match self.open.last_mut() {
            Some(parent) => parent.element.push_text(&unescape_text(data)),
            None if data.is_empty() => {}
            None => return Err(INCOMPLETE),
        }
        self.at += length;
        if markup.starts_with("</") {
            return self.end_tag(markup);
        }
        if let Some(section) = markup.strip_prefix("<![CDATA[") {
            let (data, _) = section.split_once("]]>").ok_or(INCOMPLETE)?;
            let parent = self.open.last_mut().ok_or(INCOMPLETE)?;
            parent.element.push_text(&normalise_line_ends(data));
            self.at += "<![CDATA[".len() + data.len() + "]]>".len();
            return Ok(None);
        }
        let (opened, empty) = self.start_tag()?;
        if empty {
            return self.close(opened);
        }
        if self.open.len() >= Limits::DEPTH_CEILING {
            return Err(Error::too_large("element_depth_max"));
        }
        self.open.push(opened);
        Ok(None)
    }

    /// Reads the start tag at the current position, and whether it is that of an empty element.
    fn start_tag(&mut self) -> Result<(Opened<'a>, bool), Error> {
        let text = self.text;
        let bytes = text.as_bytes();
        if bytes.get(self.at) != Some(&b'<') {
            return Err(INCOMPLETE);
        }
        let name_start = self.at + 1;
        let name_end = skip(bytes, name_start, name::may_be_in_name);
        let written_name = text.get(name_start..name_end).unwrap_or_default();
        let first_binding = self.bindings.len();
        let mut own_default = false;
        let mut element = Element::default();
        let mut raw = Vec::new();
        let mut attributes = Attributes::new(bytes, name_end);
        for attribute in attributes.by_ref() {
            let value = unescape_attribute(attribute.value);
            if attribute.name == "xmlns" {
                own_default = true;
                self.bindings.push(("", value));
            } else if let Some(prefix) = attribute.name.strip_prefix("xmlns:") {
                element
                    .declarations
                    .push((prefix.to_owned(), value.clone().into_owned()));
                self.bindings.push((prefix, value));
            } else {
                raw.push((attribute.name, value));
            }
        }
        let end = skip_space(bytes, attributes.position());
        let rest = text.get(end..).unwrap_or_default();
        let empty = rest.starts_with("/>");
        if written_name.is_empty() || !empty && !rest.starts_with('>') {
            return Err(INCOMPLETE);
        }
        self.at = end + if empty { 2 } else { 1 };
        element.inherits = match self.open.last() {
            Some(parent) => parent.element.inherits && !own_default,
            None => true,
        };
        let (prefix, local) = split(written_name);
        self.resolve(prefix.unwrap_or_default())?
            .clone_into(&mut element.namespace);
        local.clone_into(&mut element.name);
        element.prefix = prefix.map(str::to_owned);
        for (written, value) in raw {
            let (prefix, local) = split(written);
            let namespace = prefix.map_or(Ok(""), |prefix| self.resolve(prefix))?;
            element.attributes.push(Attribute {
                namespace: namespace.to_owned(),
                name: local.to_owned(),
                prefix: prefix.map(str::to_owned),
                value: value.into_owned(),
            });
        }
        Ok((
            Opened {
                element,
                written_name,
                first_binding,
            },
            empty,
        ))
    }

    fn end_tag(&mut self, markup: &str) -> Result<Option<Element>, Error> {
        let opened = self.open.pop().ok_or(INCOMPLETE)?;
        let (tag, _) = markup.split_once('>').ok_or(INCOMPLETE)?;
        self.at += tag.len() + 1;
        let written = tag.get(2..).unwrap_or_default();
        if written.trim_end_matches([' ', '\t', '\r', '\n']) != opened.written_name {
            return Err(INCOMPLETE);
        }
        self.close(opened)
    }

    fn close(&mut self, opened: Opened<'a>) -> Result<Option<Element>, Error> {
        self.bindings.truncate(opened.first_binding);
        match self.open.last_mut() {
            Some(parent) => {
                parent.element.nodes.push(Node::Element(opened.element));
                Ok(None)
            }
            None if self.at == self.text.len() => Ok(Some(opened.element)),
            None => Err(INCOMPLETE),
        }
    }

    fn resolve(&self, prefix: &str) -> Result<&str, Error> {
        if prefix == "xml" {
            return Ok(xml_namespace());
        }
        let mut inside = self.bindings.iter().rev();
        if let Some((_, namespace)) = inside.find(|(declared, _)| *declared == prefix) {
            return Ok(namespace);
        }
        match self.scope.get(prefix) {
            Some(namespace) => Ok(namespace),
            None if prefix.is_empty() => Ok(""),
            None => Err(Error::not_well_formed("a prefix is not declared")),
        }
    }
}

fn split(written: &str) -> (Option<&str>, &str) {
    match written.split_once(':') {
        Some((prefix, local)) => (Some(prefix), local),
        None => (None, written),
    }
}

const INCOMPLETE: Error = Error::not_well_formed("the bytes are not one complete element");
