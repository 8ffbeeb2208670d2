//! Names: which characters they consist of, read as bytes arrive, because a name may be cut anywhere between two reads.

use crate::error::Error;
use crate::tag::Span;

/// A name being read: starts before its first byte, ends at the first byte that cannot belong to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameReader {
    start: usize,
    /// Where the colon stands.
    colon: Option<usize>,
    /// Whether the next character begins a prefix or a local part, for which fewer characters are allowed.
    part: Part,
    ascii: bool,
}

/// How a read of a name ended.
pub(crate) enum Progress {
    /// All bytes belong to the name so far.
    Unfinished(NameReader),
    /// The byte at the position reached does not belong to it.
    Finished(QName),
}

/// A qualified name as written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QName {
    pub(crate) span: Span,
    /// Position of the colon, when there is one.
    pub(crate) colon: Option<u32>,
    pub(crate) ascii: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Begins,
    Continues,
}

impl NameReader {
    pub(crate) fn new(start: usize) -> Self {
        Self {
            start,
            colon: None,
            part: Part::Begins,
            ascii: true,
        }
    }

    /// Reads on from `*at`; `bytes` end between two characters.
    ///
    /// # Errors
    ///
    /// A character that may not stand there, a second colon, an empty part, or more than `bytes_max` bytes.
    pub(crate) fn read(
        mut self,
        bytes: &[u8],
        at: &mut usize,
        bytes_max: usize,
    ) -> Result<Progress, Error> {
        while let Some(&byte) = bytes.get(*at) {
            let class = class(byte);
            if class & NAME != 0 {
                if self.part == Part::Begins && class & NAME_START == 0 {
                    return Err(Error::not_well_formed(
                        "a name begins with a character that may not begin a name",
                    ));
                }
                self.part = Part::Continues;
                *at += 1;
            } else if byte == b':' {
                if self.colon.is_some() || self.part == Part::Begins {
                    return Err(Error::not_well_formed(
                        "a colon stands in the wrong place of a name",
                    ));
                }
                self.colon = Some(*at);
                self.part = Part::Begins;
                *at += 1;
            } else if byte >= 0x80 {
                let Some(character) = character_at(bytes, *at) else {
                    return Err(Error::encoding("a byte sequence in a name is not UTF-8"));
                };
                let allowed = match self.part {
                    Part::Begins => is_name_start(character),
                    Part::Continues => is_name_start(character) || is_name_only_inside(character),
                };
                if !allowed {
                    return Err(Error::not_well_formed(
                        "a name contains a character that no name may contain",
                    ));
                }
                self.part = Part::Continues;
                self.ascii = false;
                *at += character.len_utf8();
            } else {
                return self.finish(*at);
            }
            if at.saturating_sub(self.start) > bytes_max {
                return Err(Error::too_large("name_bytes_max"));
            }
        }
        Ok(Progress::Unfinished(self))
    }

    fn finish(self, end: usize) -> Result<Progress, Error> {
        if self.part == Part::Begins {
            return Err(Error::not_well_formed("a name, or a part of one, is empty"));
        }
        Ok(Progress::Finished(QName {
            span: Span::new(self.start, end),
            colon: self
                .colon
                .map(|colon| u32::try_from(colon).unwrap_or(u32::MAX)),
            ascii: self.ascii,
        }))
    }
}

impl QName {
    /// The prefix, or nothing.
    pub(crate) fn prefix(self) -> Option<Span> {
        self.colon.map(|colon| Span {
            start: self.span.start,
            end: colon,
        })
    }

    /// The part after the colon, or all of it.
    pub(crate) fn local(self) -> Span {
        Span {
            start: self
                .colon
                .map_or(self.span.start, |colon| colon.saturating_add(1)),
            end: self.span.end,
        }
    }
}

/// Whether a byte is white space in XML.
pub(crate) fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

/// Whether a byte may stand in a name, counting every byte outside ASCII and the colon.
pub(crate) fn may_be_in_name(byte: u8) -> bool {
    byte >= 0x80 || byte == b':' || class(byte) & NAME != 0
}

/// Whether a byte may begin a name, counting every byte outside ASCII and the colon.
pub(crate) fn may_begin_name(byte: u8) -> bool {
    byte >= 0x80 || byte == b':' || class(byte) & NAME_START != 0
}

/// The character whose first byte stands at `at`, unless it is cut off.
fn character_at(bytes: &[u8], at: usize) -> Option<char> {
    let rest = bytes.get(at..)?;
    let head = rest.get(..rest.len().min(4))?;
    match std::str::from_utf8(head) {
        Ok(text) => text.chars().next(),
        Err(error) => {
            let whole = head.get(..error.valid_up_to())?;
            std::str::from_utf8(whole).ok()?.chars().next()
        }
    }
}

/// `NameStartChar` outside ASCII (XML 1.0, fifth edition, production 4).
fn is_name_start(character: char) -> bool {
    matches!(character,
        '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}'
        | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}'
        | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// `NameChar` outside ASCII that may not begin a name (XML 1.0, fifth edition, production 4a).
fn is_name_only_inside(character: char) -> bool {
    matches!(character, '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

#[allow(
    clippy::indexing_slicing,
    reason = "a table of 256 entries has one for every byte"
)]
#[inline]
fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

const NAME: u8 = 1;
const NAME_START: u8 = 2;
const SPACE: u8 = 4;

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse a wrong index"
)]
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME | NAME_START,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            b' ' | b'\t' | b'\n' | b'\r' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)] // a failed step is a failed test
    use super::*;

    fn read(text: &str) -> Result<Option<(usize, Option<u32>)>, Error> {
        let mut at = 0;
        match NameReader::new(0).read(text.as_bytes(), &mut at, 16)? {
            Progress::Unfinished(_) => Ok(None),
            Progress::Finished(name) => Ok(Some((at, name.colon))),
        }
    }

    #[test]
    fn names_end_where_they_must() {
        assert_eq!(read("message ").unwrap(), Some((7, None)));
        assert_eq!(read("db:result>").unwrap(), Some((9, Some(2))));
        assert_eq!(read("\u{F8}x/").unwrap(), Some((3, None)));
        assert_eq!(read("unfinished").unwrap(), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "1a ",
            "-a ",
            ":a ",
            "a: ",
            "a:b:c ",
            "a:1 ",
            " ",
            "\u{B7}a ",
            "a\u{D7} ",
            "a\u{37E} ",
            "a\u{3000} ",
            "a:\u{300} ",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_long_name_is_refused_before_it_ends() {
        assert!(read("abcdefghijklmnop").unwrap().is_none());
        assert_eq!(
            read("abcdefghijklmnopq"),
            Err(Error::too_large("name_bytes_max"))
        );
    }
}
