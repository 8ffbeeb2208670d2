//! Namespaces in force: those of the stream header, which outlive every element, and those that an element declares.

use crate::error::Error;
use crate::tag::Span;

/// The namespaces that the peer declared on its stream header: all of them are in force inside its first-level
/// elements, and none of them on any other stream (RFC 6120 §4.8.5).
///
/// ```
/// use verona_xml::Scope;
///
/// let scope: Scope = [("", "jabber:server"), ("db", "jabber:server:dialback")].into_iter().collect();
/// assert_eq!(scope.default_namespace(), "jabber:server");
/// assert_eq!(scope.get("db"), Some("jabber:server:dialback"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    declarations: Vec<Declaration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Declaration {
    prefix: Box<str>,
    namespace: Box<str>,
    /// The first declaration of the same namespace, so that namespaces are compared once and not at every use.
    space: Space,
}

/// A namespace by identity: two of one stream are equal exactly when these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Space {
    /// In no namespace.
    #[default]
    None,
    /// That of `xml:lang`.
    Xml,
    /// First declared on the stream header, by this declaration.
    Header(usize),
    /// First declared inside the element, by this declaration of those in force.
    Element(usize),
}

/// What a prefix stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resolved {
    pub(crate) space: Space,
    pub(crate) from: DeclaredBy,
}

/// Who declared a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeclaredBy {
    /// Nobody: the prefix `xml`, or no default namespace.
    Nobody,
    /// The stream header, at this position of the scope.
    Header(usize),
    /// The first-level element or one inside; the namespace's name stands there.
    Element(Span),
}

impl Scope {
    /// The namespace that a prefix stands for; `""` asks for the default namespace.
    #[must_use]
    pub fn get(&self, prefix: &str) -> Option<&str> {
        let declaration = self.declarations.iter().find(|it| &*it.prefix == prefix)?;
        Some(&declaration.namespace)
    }

    /// All declarations, as prefix and namespace.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.declarations
            .iter()
            .map(|it| (&*it.prefix, &*it.namespace))
    }

    /// The default namespace, `""` when there is none.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        self.get("").unwrap_or_default()
    }

    pub(crate) fn at(&self, index: usize) -> Option<(&str, &str)> {
        let declaration = self.declarations.get(index)?;
        Some((&declaration.prefix, &declaration.namespace))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Scope {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(declarations: T) -> Self {
        let mut scope = Self::default();
        for (prefix, namespace) in declarations {
            if scope.get(prefix).is_some() {
                continue;
            }
            let first = scope
                .declarations
                .iter()
                .position(|it| &*it.namespace == namespace);
            let space = if namespace.is_empty() {
                Space::None
            } else {
                Space::Header(first.unwrap_or(scope.declarations.len()))
            };
            scope.declarations.push(Declaration {
                prefix: prefix.into(),
                namespace: namespace.into(),
                space,
            });
        }
        // It lives as long as its stream.
        scope.declarations.shrink_to_fit();
        scope
    }
}

/// The declarations in force inside the first-level element being scanned, outermost first.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    list: Vec<Binding>,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    prefix: Span,
    namespace: Span,
    space: Space,
}

impl Bindings {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.list.truncate(length);
    }

    /// Adds a declaration of the start tag whose first is number `first`; an empty `prefix` is the default namespace.
    ///
    /// # Errors
    ///
    /// What *Namespaces in XML 1.0* forbids, and more than `namespaces_max` at once.
    pub(crate) fn declare(
        &mut self,
        bytes: &[u8],
        declaration: (Span, Span),
        first: usize,
        scope: &Scope,
        namespaces_max: usize,
        work: &mut u64,
    ) -> Result<Space, Error> {
        let (prefix, namespace) = declaration;
        let (name, uri) = (prefix.of(bytes), namespace.of(bytes));
        if name == b"xmlns" || uri == XMLNS_NAMESPACE {
            return Err(Error::not_well_formed(
                "the prefix xmlns or its namespace is declared",
            ));
        }
        if (name == b"xml") != (uri == XML_NAMESPACE) {
            return Err(Error::not_well_formed(
                "the prefix xml is bound to another namespace, or its namespace to another prefix",
            ));
        }
        if uri.is_empty() && !name.is_empty() {
            return Err(Error::not_well_formed(
                "a prefix is declared to mean no namespace",
            ));
        }
        let same_tag = self.list.get(first..).unwrap_or_default();
        if same_tag
            .iter()
            .any(|it| equal(it.prefix.of(bytes), name, work))
        {
            return Err(Error::not_well_formed(
                "a start tag declares a prefix twice",
            ));
        }
        if self.list.len() >= namespaces_max {
            return Err(Error::too_large("namespaces_max"));
        }
        let space = if name == b"xml" {
            Space::Xml
        } else {
            self.identify(bytes, uri, scope, work)
        };
        self.list.push(Binding {
            prefix,
            namespace,
            space,
        });
        Ok(space)
    }

    /// What a prefix, or the empty one for the default namespace, stands for.
    pub(crate) fn resolve(
        &self,
        bytes: &[u8],
        prefix: Span,
        scope: &Scope,
        work: &mut u64,
    ) -> Option<Resolved> {
        let name = prefix.of(bytes);
        if name == b"xml" {
            return Some(Resolved {
                space: Space::Xml,
                from: DeclaredBy::Nobody,
            });
        }
        let mut inside = self.list.iter().rev();
        if let Some(binding) = inside.find(|it| equal(it.prefix.of(bytes), name, work)) {
            let from = DeclaredBy::Element(binding.namespace);
            return Some(Resolved {
                space: binding.space,
                from,
            });
        }
        let mut outside = scope.declarations.iter();
        if let Some(at) = outside.position(|it| equal(it.prefix.as_bytes(), name, work)) {
            let space = scope
                .declarations
                .get(at)
                .map_or(Space::None, |it| it.space);
            return Some(Resolved {
                space,
                from: DeclaredBy::Header(at),
            });
        }
        name.is_empty().then_some(Resolved {
            space: Space::None,
            from: DeclaredBy::Nobody,
        })
    }

    /// Copies the declarations of a stream header out of its bytes.
    pub(crate) fn to_scope(&self, bytes: &[u8]) -> Scope {
        self.list
            .iter()
            .map(|it| (it.prefix.text(bytes), it.namespace.text(bytes)))
            .collect()
    }

    fn identify(&self, bytes: &[u8], uri: &[u8], scope: &Scope, work: &mut u64) -> Space {
        if uri.is_empty() {
            return Space::None;
        }
        let mut outside = scope.declarations.iter();
        if let Some(known) = outside.find(|it| equal(it.namespace.as_bytes(), uri, work)) {
            return known.space;
        }
        let mut inside = self.list.iter();
        match inside.find(|it| equal(it.namespace.of(bytes), uri, work)) {
            Some(known) => known.space,
            None => Space::Element(self.list.len()),
        }
    }
}

/// Compares, and counts what comparing costs.
fn equal(one: &[u8], other: &[u8], work: &mut u64) -> bool {
    *work += 1;
    if one.len() != other.len() {
        return false;
    }
    // The default namespace has an empty prefix, which points nowhere: comparing nothing there costs as much as a hundred
    // bytes where `memcmp` loads by a mask and the page is not mapped.
    if one.is_empty() {
        return true;
    }
    *work += one.len() as u64;
    one == other
}

/// The namespace of `xml:lang`, bound to the prefix `xml` without a declaration.
pub(crate) const XML_NAMESPACE: &[u8] = b"http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE: &[u8] = b"http://www.w3.org/2000/xmlns/";
