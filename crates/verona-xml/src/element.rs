//! A small owned tree, for the few elements that are read and not routed: features, dialback, errors. No tree is built
//! of a stanza on its way, unless its namespaces are written in a way that another stream cannot take over.

mod reader;
mod serialise;

use std::fmt;

use crate::error::Error;
use crate::scope::{Scope, XML_NAMESPACE};
use reader::Reader;
use serialise::{Content, Serialiser};

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
    /// [`Limits::DEPTH_CEILING`](crate::Limits::DEPTH_CEILING). That never happens with what a scanner of the same scope has found.
    pub fn parse(bytes: &[u8], scope: &Scope) -> Result<Self, Error> {
        Reader::new(bytes, scope)?.element()
    }

    /// Reads the start tag of a stream, which has no end tag.
    ///
    /// # Errors
    ///
    /// The bytes are not one start tag, or use a prefix that they do not declare. That never happens with what a
    /// scanner has found.
    pub fn parse_header(bytes: &[u8]) -> Result<Self, Error> {
        let scope = Scope::default();
        Reader::new(bytes, &scope)?.header()
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
        Serialiser::new(content, out).write(self);
    }

    /// Writes it where the default namespace is a content namespace that takes the place of its own.
    pub(crate) fn write_as_content(&self, out: &mut String) {
        let content = Content {
            namespace: &self.namespace,
            name_known: false,
        };
        Serialiser::new(content, out).write(self);
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

fn xml_namespace() -> &'static str {
    std::str::from_utf8(XML_NAMESPACE).unwrap_or_default()
}
