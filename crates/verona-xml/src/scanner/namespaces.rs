//! What a start tag means once it is whole: which namespaces its names are in, and whether it repeats itself.

use super::content::Open;
use super::start_tag::{Attribute, StartTag};
use super::{Ending, Scan, Scanner, Stage, State};
use crate::error::Error;
use crate::scope::{Bindings, DeclaredBy, Resolved, Space};
use crate::tag::{HeadSpace, Span};

impl Scanner {
    pub(super) fn start_tag_ended(
        &mut self,
        bytes: &[u8],
        ending: Ending,
    ) -> Result<Option<Scan>, Error> {
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
            Some(parent) => {
                parent
                    .content
                    .child(space, element.is_some(), self.tag.default.is_some())
            }
            None => {
                self.describe(bytes, element)?;
                Content::of_root(space)
            }
        };
        //= STREAM-06
        let spelled_out = element.is_some() || !content.inherits;
        self.head.content_spelled_out |= content.within && spelled_out && !self.open.is_empty();
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
        let written = |attribute: &Attribute| attribute.name.span.of(bytes);
        let neighbours = self
            .tag
            .attributes
            .iter()
            .zip(self.tag.attributes.iter().skip(1));
        if neighbours
            .into_iter()
            .any(|(one, next)| written(one) == written(next))
        {
            return Err(TWICE);
        }
        if self.tag.attributes.iter().all(|it| it.name.colon.is_none()) {
            return Ok(());
        }
        self.check_expanded(bytes)
    }

    fn check_expanded(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut expanded = std::mem::take(&mut self.tag.expanded);
        expanded.clear();
        for index in 0..self.tag.attributes.len() {
            let name = self
                .tag
                .attributes
                .get(index)
                .map(|attribute| attribute.name);
            if let Some((prefix, local)) =
                name.and_then(|name| Some((name.prefix()?, name.local())))
            {
                let space = self.resolve(bytes, prefix)?.space;
                expanded.push((space, local));
            }
        }
        let work = &mut self.work;
        expanded.sort_unstable_by(|(space, local), (other_space, other_local)| {
            *work += local.len().min(other_local.len()) as u64;
            (space, local.of(bytes)).cmp(&(other_space, other_local.of(bytes)))
        });
        let name = |(space, local): &(Space, Span)| (*space, local.of(bytes));
        let mut neighbours = expanded.iter().zip(expanded.iter().skip(1));
        let twice = neighbours.any(|(one, next)| name(one) == name(next));
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
        // A stream of which nothing more is read, and most are, holds no room for tags.
        self.bindings = Bindings::default();
        self.tag = StartTag::default();
        let head = std::mem::take(&mut self.head);
        Ok(Scan::Header { len: self.at, head })
    }
}

/// Whether an element belongs to the stanza itself and not to an extension: then it takes on the content namespace of
/// whatever stream the stanza is written to (`STREAM-08`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
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

    /// What an element in this one is, given its namespace and how that is written.
    fn child(self, space: Space, prefixed: bool, declares_default: bool) -> Self {
        let inherits = self.inherits && !declares_default;
        Self {
            root: self.root,
            within: space == self.root && (self.within || inherits && !prefixed),
            inherits,
        }
    }
}

const TWICE: Error = Error::not_well_formed("an element has the same attribute twice");
