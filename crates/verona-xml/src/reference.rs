//! References (`&lt;`, `&#65;`): read byte by byte, because `&` and `;` may lie in different reads, and never more than
//! the five predefined entities, because XMPP has no others.

use std::borrow::Cow;

use crate::error::Error;
use crate::name::{may_be_in_name, may_begin_name};

/// A reference after its `&`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reference {
    /// Nothing after the `&` yet.
    Empty,
    /// The beginning of an entity's name.
    Entity { name: [u8; 4], length: u8 },
    /// `&#`.
    Hash,
    /// `&#x`.
    HashX,
    /// At least one digit.
    Number { hexadecimal: bool, value: u32 },
}

/// What one more byte made of a reference.
pub(crate) enum Step {
    Unfinished(Reference),
    Finished(char),
}

impl Reference {
    /// Takes the next byte.
    ///
    /// # Errors
    ///
    /// The byte ends the hope that this is a reference to a character that XML allows.
    pub(crate) fn step(self, byte: u8) -> Result<Step, Error> {
        match self {
            Self::Empty if byte == b'#' => Ok(Step::Unfinished(Self::Hash)),
            Self::Empty if may_begin_name(byte) => named([0; 4], 0, byte),
            Self::Empty => Err(Error::not_well_formed("an ampersand stands alone")),
            Self::Entity { name, length } if byte == b';' => predefined(name, length),
            Self::Entity { name, length } if may_be_in_name(byte) => named(name, length, byte),
            Self::Entity { .. } => Err(UNFINISHED),
            Self::Hash if byte == b'x' => Ok(Step::Unfinished(Self::HashX)),
            Self::Hash => number(false, 0, byte),
            Self::HashX => number(true, 0, byte),
            Self::Number { value, .. } if byte == b';' => character(value),
            Self::Number { hexadecimal, value } => number(hexadecimal, value, byte),
        }
    }
}

/// Resolves references, and turns literal tabs and line ends into spaces, as XML wants of an attribute's value.
pub(crate) fn unescape_attribute(raw: &str) -> Cow<'_, str> {
    if !raw
        .bytes()
        .any(|byte| matches!(byte, b'&' | b'\t' | b'\n' | b'\r'))
    {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(resolve(raw, ' '))
}

/// Resolves references, and turns every line end into a line feed, as XML wants of character data.
pub(crate) fn unescape_text(raw: &str) -> Cow<'_, str> {
    if !raw.bytes().any(|byte| matches!(byte, b'&' | b'\r')) {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(resolve(raw, '\n'))
}

/// Turns every line end into a line feed; in a CDATA section nothing else has a meaning.
pub(crate) fn normalise_line_ends(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\r') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.replace("\r\n", "\n").replace('\r', "\n"))
}

fn resolve(raw: &str, line_end: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let tail = rest.get(first.len_utf8()..).unwrap_or_default();
        rest = match first {
            '&' => match leading_reference(tail) {
                Some((character, after)) => {
                    out.push(character);
                    after
                }
                None => {
                    out.push('&');
                    tail
                }
            },
            '\r' => {
                out.push(line_end);
                tail.strip_prefix('\n').unwrap_or(tail)
            }
            '\n' => {
                out.push(line_end);
                tail
            }
            '\t' if line_end == ' ' => {
                out.push(' ');
                tail
            }
            other => {
                out.push(other);
                tail
            }
        };
    }
    out
}

/// The reference whose `&` stood before `text`, and what follows its `;`.
fn leading_reference(text: &str) -> Option<(char, &str)> {
    let mut reference = Reference::Empty;
    for (at, byte) in text.bytes().enumerate() {
        match reference.step(byte).ok()? {
            Step::Unfinished(next) => reference = next,
            Step::Finished(character) => return Some((character, text.get(at + 1..)?)),
        }
    }
    None
}

fn named(mut name: [u8; 4], length: u8, byte: u8) -> Result<Step, Error> {
    let Some(slot) = name.get_mut(usize::from(length)) else {
        return Err(UNDECLARED);
    };
    *slot = byte;
    let length = length + 1;
    let so_far = name.get(..usize::from(length)).unwrap_or_default();
    //= STREAM-35
    if !PREDEFINED
        .iter()
        .any(|(entity, _)| entity.starts_with(so_far))
    {
        return Err(UNDECLARED);
    }
    Ok(Step::Unfinished(Reference::Entity { name, length }))
}

fn predefined(name: [u8; 4], length: u8) -> Result<Step, Error> {
    let name = name.get(..usize::from(length)).unwrap_or_default();
    match PREDEFINED.iter().find(|(entity, _)| *entity == name) {
        Some((_, character)) => Ok(Step::Finished(*character)),
        None => Err(UNDECLARED),
    }
}

fn number(hexadecimal: bool, value: u32, byte: u8) -> Result<Step, Error> {
    let radix = if hexadecimal { 16 } else { 10 };
    let Some(digit) = char::from(byte).to_digit(radix) else {
        return Err(UNFINISHED);
    };
    // A value that grew past every character is refused at once; leading zeros are legal in any number.
    match value
        .checked_mul(radix)
        .and_then(|value| value.checked_add(digit))
    {
        Some(value) if value <= 0x10_FFFF => {
            Ok(Step::Unfinished(Reference::Number { hexadecimal, value }))
        }
        Some(_) | None => Err(FORBIDDEN),
    }
}

/// `Char` (XML 1.0, production 2).
fn character(value: u32) -> Result<Step, Error> {
    match char::from_u32(value) {
        Some(
            character @ ('\t' | '\n' | '\r' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}'),
        ) => Ok(Step::Finished(character)),
        Some(_) | None => Err(FORBIDDEN),
    }
}

const PREDEFINED: [(&[u8], char); 5] = [
    (b"amp", '&'),
    (b"lt", '<'),
    (b"gt", '>'),
    (b"quot", '"'),
    (b"apos", '\''),
];
const UNDECLARED: Error =
    Error::restricted("an entity is used that is not one of the five predefined");
const UNFINISHED: Error = Error::not_well_formed("a reference does not end in a semicolon");
const FORBIDDEN: Error =
    Error::not_well_formed("a character reference names a character that XML forbids");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_resolved_and_normalised() {
        assert_eq!(unescape_attribute("plain"), "plain");
        assert_eq!(
            unescape_attribute("a&lt;b&#10;c\td\r\ne\nf"),
            "a<b\nc d e f"
        );
        assert_eq!(
            unescape_attribute("&#x1F600;&apos;&quot;&amp;&gt;"),
            "\u{1F600}'\"&>"
        );
    }

    #[test]
    fn text_keeps_tabs_and_has_one_kind_of_line_end() {
        assert_eq!(unescape_text("a\tb\r\nc\rd&#13;e"), "a\tb\nc\nd\re");
        assert_eq!(normalise_line_ends("&lt;\r\n\r"), "&lt;\n\n");
    }

    #[test]
    fn what_is_no_reference_stays() {
        assert_eq!(
            unescape_text("a & b &foo; &#0; &#x110000; &amp"),
            "a & b &foo; &#0; &#x110000; &amp"
        );
    }
}
