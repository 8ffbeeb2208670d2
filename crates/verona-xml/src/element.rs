//! A small owned tree, for the few elements that are read and not routed: features, dialback, errors. No tree is built
//! of a stanza on its way, unless its namespaces are written in a way that another stream cannot take over.

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;
use crate::limits::Limits;
use crate::reference::{normalise_line_ends, unescape_attribute, unescape_text};
use crate::scope::{Scope, XML_NAMESPACE};
use crate::tag::{Attributes, skip, skip_space};
use crate::{name, writer};

/// An element with all that is in it.
///
/// Two elements are equal when they mean the same: prefixes, the order of attributes, and how text is escaped are not
/// compared.
///
/// ```
/// use verona_xml::{Element, Scope};
///
/// let scope: Scope = [("db", "jabber:server:dialback")].into_iter().collect();
/// let result = Element::parse(b"<db:result from='a.example'>k&#101;y</db:result>", &scope)?;
/// assert!(result.is("result", "jabber:server:dialback"));
/// assert_eq!(result.attribute("from"), Some("a.example"));
/// assert_eq!(result.text(), "key");
/// # Ok::<(), verona_xml::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Element {
    prefix: Option<String>,
    name: String,
    namespace: String,
    /// The prefixes that the start tag declares; content may name them in ways that only its reader knows.
    declarations: Vec<(String, String)>,
    attributes: Vec<Attribute>,
    nodes: Vec<Node>,
    /// Whether the default namespace here is that of the outermost element's own start tag or of the stream.
    inherits: bool,
}

/// An attribute that is no namespace declaration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute {
    namespace: String,
    name: String,
    prefix: Option<String>,
    value: String,
}

#[derive(Clone)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// Reads one complete element, as a scanner has found it.
    ///
    /// # Errors
    ///
    /// The bytes are not one complete element, use a prefix that neither they nor `scope` declare, or nest deeper than
    /// [`Limits::DEPTH_CEILING`]. That never happens with what a scanner of the same scope has found.
    pub fn parse(bytes: &[u8], scope: &Scope) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes, scope)?;
        loop {
            if let Some(root) = reader.step()? {
                return Ok(root);
            }
        }
    }

    /// Reads the start tag of a stream, which has no end tag.
    ///
    /// # Errors
    ///
    /// The bytes are not one start tag, or use a prefix that they do not declare. That never happens with what a
    /// scanner has found.
    pub fn parse_header(bytes: &[u8]) -> Result<Self, Error> {
        let scope = Scope::default();
        let mut reader = Reader::new(bytes, &scope)?;
        let (opened, empty) = reader.start_tag()?;
        if empty || reader.at != bytes.len() {
            return Err(INCOMPLETE);
        }
        Ok(opened.element)
    }

    /// The local part of its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace, `""` when in none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether it has this name in this namespace.
    #[must_use]
    pub fn is(&self, local: &str, namespace: &str) -> bool {
        self.name == local && self.namespace == namespace
    }

    /// The value of an attribute in no namespace.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_in(name, "")
    }

    /// The value of its `xml:lang`; what it inherits is not looked at.
    #[must_use]
    pub fn lang(&self) -> Option<&str> {
        self.attribute_in("lang", xml_namespace())
    }

    /// Its attributes, in the order in which they are written; namespace declarations are not among them.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter()
    }

    /// Its first child with this name in this namespace.
    #[must_use]
    pub fn child(&self, local: &str, namespace: &str) -> Option<&Self> {
        self.children().find(|child| child.is(local, namespace))
    }

    /// Its children that are elements.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// Its own character data, without that of its children; references are resolved, line ends are line feeds.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            match node {
                Node::Element(_) => {}
                Node::Text(own) => text.push_str(own),
            }
        }
        text
    }

    /// Writes it where `default_namespace` is the default and nothing else is declared.
    ///
    /// What is in that namespace loses its prefix and its declarations of it (`STREAM-06`); everything else keeps its
    /// prefix and declares it.
    pub fn write(&self, default_namespace: &str, out: &mut String) {
        let content = Content {
            namespace: default_namespace,
            name_known: true,
        };
        write(self, content, out);
    }

    /// Writes it where the default namespace is a content namespace that takes the place of its own.
    pub(crate) fn write_as_content(&self, out: &mut String) {
        let content = Content {
            namespace: &self.namespace,
            name_known: false,
        };
        write(self, content, out);
    }

    /// Gives an attribute in no namespace another value.
    pub(crate) fn set_attribute(&mut self, name: &str, value: &str) {
        self.set("", None, name, value);
    }

    pub(crate) fn set_lang(&mut self, value: &str) {
        self.set(xml_namespace(), Some("xml"), "lang", value);
    }

    fn set(&mut self, namespace: &str, prefix: Option<&str>, name: &str, value: &str) {
        let mut attributes = self.attributes.iter_mut();
        match attributes.find(|it| it.name == name && it.namespace == namespace) {
            Some(attribute) => value.clone_into(&mut attribute.value),
            None => self.attributes.push(Attribute {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                prefix: prefix.map(str::to_owned),
                value: value.to_owned(),
            }),
        }
    }

    fn attribute_in(&self, name: &str, namespace: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|it| it.name == name && it.namespace == namespace)?;
        Some(&found.value)
    }

    /// Adds character data, joining what a CDATA section or a piece of markup has cut.
    fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.nodes.last_mut() {
            Some(Node::Text(last)) => last.push_str(text),
            Some(Node::Element(_)) | None => self.nodes.push(Node::Text(text.to_owned())),
        }
    }

    /// Everything about it but its children.
    fn same_tag(&self, other: &Self) -> bool {
        let sorted = |element: &Self| {
            let attributes = element.attributes.iter();
            let mut all: Vec<_> = attributes
                .map(|it| (it.namespace.clone(), it.name.clone(), it.value.clone()))
                .collect();
            all.sort_unstable();
            all
        };
        self.is(&other.name, &other.namespace) && sorted(self) == sorted(other)
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = vec![(self, other)];
        while let Some((one, another)) = pairs.pop() {
            if !one.same_tag(another) || one.nodes.len() != another.nodes.len() {
                return false;
            }
            for nodes in one.nodes.iter().zip(&another.nodes) {
                match nodes {
                    (Node::Text(text), Node::Text(other)) if text == other => {}
                    (Node::Element(child), Node::Element(other)) => pairs.push((child, other)),
                    (Node::Text(_) | Node::Element(_), Node::Text(_) | Node::Element(_)) => {
                        return false;
                    }
                }
            }
        }
        true
    }
}

impl Eq for Element {}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write("", &mut out);
        f.write_str(&out)
    }
}

impl Attribute {
    /// The local part of its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace, `""` for all that have no prefix.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its value, with references resolved.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Reads a tree from bytes, without recursion.
struct Reader<'a> {
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
    fn new(bytes: &'a [u8], scope: &'a Scope) -> Result<Self, Error> {
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

/// The namespace whose elements are written without prefix or declaration.
#[derive(Clone, Copy)]
struct Content<'a> {
    namespace: &'a str,
    /// Whether the default namespace where the tree is written has that name too, and not another one.
    name_known: bool,
}

/// An element whose start tag is written.
struct Written<'a> {
    element: &'a Element,
    nodes: std::slice::Iter<'a, Node>,
    /// The default namespace of its children; nothing stands for the content namespace.
    default: Option<&'a str>,
    is_content: bool,
    first_binding: usize,
}

fn write<'a>(root: &'a Element, content: Content<'a>, out: &mut String) {
    let mut bindings = Vec::new();
    let mut open: Vec<Written<'a>> = Vec::new();
    let is_content = root.namespace == content.namespace;
    let mut next = Some(write_start(
        root,
        content,
        is_content,
        None,
        &mut bindings,
        out,
    ));
    loop {
        open.extend(next.take());
        let Some(current) = open.last_mut() else {
            return;
        };
        match current.nodes.next() {
            Some(Node::Text(text)) => writer::escape_text(out, text),
            Some(Node::Element(child)) => {
                let takes_on = current.is_content || child.inherits && child.prefix.is_none();
                let is_content = takes_on && child.namespace == content.namespace;
                let default = current.default;
                next = Some(write_start(
                    child,
                    content,
                    is_content,
                    default,
                    &mut bindings,
                    out,
                ));
            }
            None => {
                if !current.element.nodes.is_empty() {
                    out.push_str("</");
                    write_name(current.element, current.is_content, out);
                    out.push('>');
                }
                bindings.truncate(current.first_binding);
                open.pop();
            }
        }
    }
}

fn write_start<'a>(
    element: &'a Element,
    content: Content<'a>,
    is_content: bool,
    default: Option<&'a str>,
    bindings: &mut Vec<(&'a str, &'a str)>,
    out: &mut String,
) -> Written<'a> {
    let first_binding = bindings.len();
    let mut declare = |prefix: &'a str, namespace: &'a str, out: &mut String| {
        let mut known = bindings.iter().rev();
        let bound = known
            .find(|(known, _)| *known == prefix)
            .map(|(_, bound)| *bound);
        if bound != Some(namespace) && prefix != "xml" {
            writer::declaration(out, prefix, namespace);
            bindings.push((prefix, namespace));
        }
    };
    out.push('<');
    write_name(element, is_content, out);
    for (prefix, namespace) in &element.declarations {
        if namespace != content.namespace {
            declare(prefix, namespace, out);
        }
    }
    let mut default_inside = default;
    match &element.prefix {
        _ if is_content => {
            // What is content stands in content, where the default was not changed.
            default_inside = None;
            if default.is_some() {
                writer::declaration(out, "", &element.namespace);
            }
        }
        Some(prefix) => declare(prefix, &element.namespace, out),
        None => {
            let in_force = match default {
                None if content.name_known => Some(content.namespace),
                other => other,
            };
            if in_force != Some(&element.namespace) {
                writer::declaration(out, "", &element.namespace);
                default_inside = Some(&element.namespace);
            }
        }
    }
    for attribute in &element.attributes {
        if let Some(prefix) = &attribute.prefix {
            declare(prefix, &attribute.namespace, out);
        }
    }
    for attribute in &element.attributes {
        let mut name = String::new();
        if let Some(prefix) = &attribute.prefix {
            name.push_str(prefix);
            name.push(':');
        }
        name.push_str(&attribute.name);
        writer::attribute(out, &name, &attribute.value);
    }
    out.push_str(if element.nodes.is_empty() { "/>" } else { ">" });
    let nodes = element.nodes.iter();
    Written {
        element,
        nodes,
        default: default_inside,
        is_content,
        first_binding,
    }
}

fn write_name(element: &Element, is_content: bool, out: &mut String) {
    if let Some(prefix) = element.prefix.as_ref().filter(|_| !is_content) {
        out.push_str(prefix);
        out.push(':');
    }
    out.push_str(&element.name);
}

fn split(written: &str) -> (Option<&str>, &str) {
    match written.split_once(':') {
        Some((prefix, local)) => (Some(prefix), local),
        None => (None, written),
    }
}

fn xml_namespace() -> &'static str {
    std::str::from_utf8(XML_NAMESPACE).unwrap_or_default()
}

const INCOMPLETE: Error = Error::not_well_formed("the bytes are not one complete element");
