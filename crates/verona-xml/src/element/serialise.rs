//! Writing a tree, without recursion, so that it means the same where it is written.

use super::{Element, Node};
use crate::writer;

/// The namespace whose elements are written without prefix or declaration.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) namespace: &'a str,
    /// Whether the default namespace where the tree is written has that name too, and not another one.
    pub(super) name_known: bool,
}

/// Where a tree goes.
pub(super) struct Serialiser<'a, 'out> {
    content: Content<'a>,
    /// The prefixes declared by what has been written, outermost first.
    bindings: Vec<(&'a str, &'a str)>,
    out: &'out mut String,
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

impl<'a, 'out> Serialiser<'a, 'out> {
    pub(super) fn new(content: Content<'a>, out: &'out mut String) -> Self {
        Self {
            content,
            bindings: Vec::new(),
            out,
        }
    }

    pub(super) fn write(mut self, root: &'a Element) {
        let is_content = root.namespace == self.content.namespace;
        let mut open = vec![self.start(root, is_content, None)];
        while let Some(current) = open.last_mut() {
            match current.nodes.next() {
                Some(Node::Text(text)) => writer::escape_text(self.out, text),
                Some(Node::Element(child)) => {
                    let takes_on = current.is_content || child.inherits && child.prefix.is_none();
                    let is_content = takes_on && child.namespace == self.content.namespace;
                    let default = current.default;
                    open.push(self.start(child, is_content, default));
                }
                None => {
                    self.end(current);
                    open.pop();
                }
            }
        }
    }

    /// Writes a start tag, with the declarations that it needs and those that it had.
    fn start(
        &mut self,
        element: &'a Element,
        is_content: bool,
        default: Option<&'a str>,
    ) -> Written<'a> {
        let first_binding = self.bindings.len();
        self.out.push('<');
        self.name(element, is_content);
        for (prefix, namespace) in &element.declarations {
            // One of the content namespace would name that of another stream; who needs it declares it below.
            if namespace != self.content.namespace {
                self.declare(prefix, namespace);
            }
        }
        let default = self.declare_own(element, is_content, default);
        for attribute in &element.attributes {
            if let Some(prefix) = &attribute.prefix {
                self.declare(prefix, &attribute.namespace);
            }
        }
        for attribute in &element.attributes {
            let name = match &attribute.prefix {
                Some(prefix) => &format!("{prefix}:{}", attribute.name),
                None => &attribute.name,
            };
            writer::attribute(self.out, name, &attribute.value);
        }
        let empty = element.nodes.is_empty();
        self.out.push_str(if empty { "/>" } else { ">" });
        Written {
            element,
            nodes: element.nodes.iter(),
            default,
            is_content,
            first_binding,
        }
    }

    /// Sees to it that the element's name is in its namespace, and gives the default namespace inside.
    fn declare_own(
        &mut self,
        element: &'a Element,
        is_content: bool,
        default: Option<&'a str>,
    ) -> Option<&'a str> {
        if is_content {
            // What is content stands in content, or inherits, so the default has not changed on the way here.
            return None;
        }
        if let Some(prefix) = &element.prefix {
            self.declare(prefix, &element.namespace);
            return default;
        }
        let known = Some(self.content.namespace).filter(|_| self.content.name_known);
        if default.or(known) == Some(&element.namespace) {
            return default;
        }
        writer::declaration(self.out, "", &element.namespace);
        Some(&element.namespace)
    }

    /// Declares a prefix unless it means that already.
    fn declare(&mut self, prefix: &'a str, namespace: &'a str) {
        let mut known = self.bindings.iter().rev();
        let bound = known.find(|(known, _)| *known == prefix);
        let means_that = bound.is_some_and(|(_, bound)| *bound == namespace);
        if !means_that && prefix != "xml" {
            writer::declaration(self.out, prefix, namespace);
            self.bindings.push((prefix, namespace));
        }
    }

    fn end(&mut self, written: &Written<'a>) {
        self.bindings.truncate(written.first_binding);
        if !written.element.nodes.is_empty() {
            self.out.push_str("</");
            self.name(written.element, written.is_content);
            self.out.push('>');
        }
    }

    fn name(&mut self, element: &Element, is_content: bool) {
        if let Some(prefix) = element.prefix.as_ref().filter(|_| !is_content) {
            self.out.push_str(prefix);
            self.out.push(':');
        }
        self.out.push_str(&element.name);
    }
}
