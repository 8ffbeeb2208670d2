//! What stands between tags, and end tags: the parts of an element that need no more than to be good.

use memchr::{memchr, memchr3};

use super::namespaces::Content;
use super::{Scan, Scanner, Stage, State};
use crate::error::Error;
use crate::name::is_space;
use crate::reference::{Reference, Step};
use crate::scope::Space;
use crate::tag::{Span, skip_space};

impl Scanner {
    pub(super) fn text(&mut self, bytes: &[u8], byte: u8, brackets: u8) -> Result<(), Error> {
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

    pub(super) fn text_reference(&mut self, byte: u8, reference: Reference) -> Result<(), Error> {
        self.state = match reference.step(byte)? {
            Step::Unfinished(reference) => State::TextReference(reference),
            Step::Finished(_) => State::Text { brackets: 0 },
        };
        self.at += 1;
        Ok(())
    }

    pub(super) fn character_data(&mut self, bytes: &[u8], byte: u8, brackets: u8) {
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

    pub(super) fn end_name(&mut self, bytes: &[u8], byte: u8, start: usize) -> Result<(), Error> {
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

    pub(super) fn end_tag(&mut self, bytes: &[u8], byte: u8) -> Result<Option<Scan>, Error> {
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

    pub(super) fn element_ended(&mut self, first_binding: usize) -> Option<Scan> {
        self.bindings.truncate(first_binding);
        if !self.open.is_empty() {
            self.state = State::Text { brackets: 0 };
            return None;
        }
        let head = std::mem::take(&mut self.head);
        Some(Scan::Element { len: self.at, head })
    }
}

/// An element whose end tag has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) name: Span,
    pub(super) first_binding: usize,
    pub(super) default: Space,
    pub(super) content: Content,
}

const MISMATCH: Error = Error::not_well_formed("an end tag does not match its start tag");
