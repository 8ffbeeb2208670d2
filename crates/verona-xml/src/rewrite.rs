//! Making a stanza fit for another stream: what the peer's stream header said for it has to be said by itself, and its
//! own content namespace has to give way to that of the stream it goes to.

use std::borrow::Cow;

use crate::element::Element;
use crate::scope::Scope;
use crate::tag::{Attributes, Head};
use crate::writer;

/// What else changes on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// The attribute `from` that the element shall have.
    pub from: Option<&'a str>,
    /// The attribute `to` that the element shall have.
    pub to: Option<&'a str>,
    /// The `xml:lang` that the element gets when it has none, for example that of its stream (RFC 6120 §8.1.5).
    pub lang: Option<&'a str>,
}

/// Makes a first-level element, written in the content namespace of its stream, fit to be written on another stream
/// whose content namespace is the default there (`STREAM-08`, `STREAM-09`, `ROUTE-11`).
///
/// The result has no declaration of a default namespace on its root, so that it and whatever inherited its namespace
/// take on that of the other stream. It declares every prefix that it used from its own stream's header, and carries
/// the edits. Everything after the root's start tag is copied: a stanza inside an extension keeps its namespace.
///
/// When nothing has to change, the bytes are given back, which is the case of nearly all stanzas. Where a prefix or a
/// declaration names the content namespace where it should be inherited (`<x:message xmlns:x='jabber:server'/>`), the
/// element is read and written again instead of copied.
///
/// The element, its head and the scope must come from one scanner; bytes that do not are given back as they are.
#[must_use]
pub fn rewrite<'a>(
    element: &'a [u8],
    head: &Head,
    scope: &Scope,
    edit: &Edit<'_>,
) -> Cow<'a, [u8]> {
    if head.is_prefixed() || head.content_spelled_out {
        return rebuild(element, head, scope, edit);
    }
    let from = edit
        .from
        .filter(|from| head.from(element).as_deref() != Some(*from));
    let to = edit
        .to
        .filter(|to| head.to(element).as_deref() != Some(*to));
    let lang = edit.lang.filter(|_| head.lang.is_none());
    let unchanged = from.is_none() && to.is_none() && lang.is_none();
    if unchanged && !head.declares_default() && !head.leans_on_scope() {
        return Cow::Borrowed(element);
    }
    match start_tag(element, head, scope, &Edit { from, to, lang }) {
        Some(edited) => Cow::Owned(edited),
        None => Cow::Borrowed(element),
    }
}

/// Copies the element with another start tag.
fn start_tag(element: &[u8], head: &Head, scope: &Scope, edit: &Edit<'_>) -> Option<Vec<u8>> {
    let name_end = head.name.span.end as usize;
    let mut out = String::with_capacity(element.len() + 128);
    out.push_str(std::str::from_utf8(element.get(..name_end)?).ok()?);
    //= STREAM-09
    for (index, (prefix, namespace)) in scope.iter().enumerate() {
        if head.scope_used.contains(index) && !prefix.is_empty() && !declares(element, head, prefix)
        {
            writer::declaration(&mut out, prefix, namespace);
        }
    }
    let mut edit = *edit;
    let mut attributes = Attributes::new(element, name_end);
    for attribute in attributes.by_ref() {
        let changed = match attribute.name {
            //= STREAM-08
            "xmlns" => continue,
            "from" => edit.from.take(),
            "to" => edit.to.take(),
            _ => None,
        };
        match changed {
            Some(value) => writer::attribute(&mut out, attribute.name, value),
            None => {
                let written = element.get(attribute.start..attribute.end)?;
                out.push_str(std::str::from_utf8(written).ok()?);
            }
        }
    }
    let added = [
        ("from", edit.from),
        ("to", edit.to),
        ("xml:lang", edit.lang),
    ];
    for (name, value) in added {
        if let Some(value) = value {
            writer::attribute(&mut out, name, value);
        }
    }
    let mut out = out.into_bytes();
    out.extend_from_slice(element.get(attributes.position()..)?);
    Some(out)
}

/// Whether the root itself declares a prefix. The scope's last bit stands for many prefixes, of which it may be one.
fn declares(element: &[u8], head: &Head, prefix: &str) -> bool {
    let mut attributes = Attributes::new(element, head.name.span.end as usize);
    attributes.any(|it| it.name.strip_prefix("xmlns:") == Some(prefix))
}

/// Reads the element and writes it again.
//= STREAM-06
fn rebuild<'a>(element: &'a [u8], head: &Head, scope: &Scope, edit: &Edit<'_>) -> Cow<'a, [u8]> {
    let Ok(mut tree) = Element::parse(element, scope) else {
        return Cow::Borrowed(element);
    };
    if let Some(from) = edit.from {
        tree.set_attribute("from", from);
    }
    if let Some(to) = edit.to {
        tree.set_attribute("to", to);
    }
    if let Some(lang) = edit.lang.filter(|_| head.lang.is_none()) {
        tree.set_lang(lang);
    }
    let mut out = String::with_capacity(element.len());
    tree.write_as_content(&mut out);
    Cow::Owned(out.into_bytes())
}
