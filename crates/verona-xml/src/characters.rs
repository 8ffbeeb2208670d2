//! Characters: valid UTF-8 and only what XML allows, found out as bytes arrive, so that nothing forbidden hides in an
//! element that is never finished.

use crate::error::Error;

/// How far the pending bytes are known to be good.
///
/// The scanner looks at good bytes only; when it needs more, and the next byte is a bad one, the stream is refused. So
/// an error in the tenth element never keeps the first nine from being delivered, however the bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct Characters {
    good: usize,
    bad: Option<Error>,
    /// Bytes gone before the pending ones; the first two of a stream may show another encoding.
    consumed: usize,
}

impl Characters {
    /// Examines what is new in `pending` and gives the number of bytes examined.
    pub(crate) fn examine(&mut self, pending: &[u8]) -> usize {
        if self.bad.is_some() {
            return 0;
        }
        let new = pending.get(self.good..).unwrap_or_default();
        let controls = first_control(new);
        let clean = new.get(..controls.at).unwrap_or_default();
        let mut good = clean.len();
        if controls.at < new.len() {
            self.bad = Some(self.control(new, controls.at));
        }
        if controls.has_non_ascii {
            //= STREAM-37
            if let Err(error) = simdutf8::compat::from_utf8(clean) {
                good = error.valid_up_to();
                // Cut off at the end is only an error when something follows that cannot complete it.
                if error.error_len().is_some() || controls.at < new.len() {
                    self.bad = Some(Error::encoding("a byte sequence is not UTF-8"));
                }
            }
            let valid = clean.get(..good).unwrap_or_default();
            if let Some(at) = first_noncharacter(valid) {
                good = at;
                self.bad = Some(FORBIDDEN);
            }
        }
        self.good += good;
        new.len()
    }

    /// The number of pending bytes known to be good, always ending between two characters.
    pub(crate) fn good(&self) -> usize {
        self.good
    }

    /// What is wrong with the byte after the good ones, if that is known.
    pub(crate) fn bad(&self) -> Option<Error> {
        self.bad
    }

    /// Takes note that the first `length` bytes are gone.
    pub(crate) fn consume(&mut self, length: usize) {
        self.good = self.good.saturating_sub(length);
        self.consumed = self.consumed.saturating_add(length);
    }

    fn control(&self, new: &[u8], at: usize) -> Error {
        let position = self.consumed.saturating_add(self.good).saturating_add(at);
        if position < 2 && new.get(at) == Some(&0) {
            // UTF-16 or UTF-32 without a mark: every second byte of `<?` is NUL.
            //= STREAM-37
            return Error::encoding("the stream begins as UTF-16 or UTF-32 would");
        }
        FORBIDDEN
    }
}

struct Controls {
    /// Position of the first forbidden control character, or the length.
    at: usize,
    has_non_ascii: bool,
}

/// Looks at blocks without branches, which the compiler turns into vector instructions; only a bad block is searched.
fn first_control(bytes: &[u8]) -> Controls {
    let mut before = 0;
    let mut high = 0;
    for block in bytes.chunks(64) {
        let mut forbidden = 0;
        for &byte in block {
            high |= byte;
            forbidden |= u8::from(is_control(byte));
        }
        if forbidden != 0 {
            let inside = block.iter().position(|&byte| is_control(byte));
            let at = before + inside.unwrap_or(0);
            return Controls {
                at,
                has_non_ascii: high >= 0x80,
            };
        }
        before += block.len();
    }
    Controls {
        at: bytes.len(),
        has_non_ascii: high >= 0x80,
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r')
}

/// Position of U+FFFE or U+FFFF in valid UTF-8.
fn first_noncharacter(valid: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(valid, b"\xEF\xBF")
        .find(|&at| valid.get(at + 2).is_some_and(|&last| last >= 0xBE))
}

const FORBIDDEN: Error =
    Error::not_well_formed("a character is used that XML forbids, such as a control character");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn examine(pieces: &[&[u8]]) -> (usize, Option<ErrorKind>) {
        let mut characters = Characters::default();
        let mut pending = Vec::new();
        for piece in pieces {
            pending.extend_from_slice(piece);
            characters.examine(&pending);
        }
        (
            characters.good(),
            characters.bad().map(|error| error.kind()),
        )
    }

    #[test]
    fn a_cut_character_waits_for_its_rest() {
        assert_eq!(examine(&[b"ab\xE2\x82"]), (2, None));
        assert_eq!(examine(&[b"ab\xE2\x82", b"\xAC"]), (5, None));
        assert_eq!(
            examine(&[b"ab\xE2\x82", b"c"]),
            (2, Some(ErrorKind::UnsupportedEncoding))
        );
        assert_eq!(
            examine(&[b"ab\xE2\x82\x00"]),
            (2, Some(ErrorKind::UnsupportedEncoding))
        );
    }

    #[test]
    fn forbidden_characters_are_found_where_they_stand() {
        let long = [b'a'; 100];
        assert_eq!(
            examine(&[&long, b"\x01"]),
            (100, Some(ErrorKind::NotWellFormed))
        );
        assert_eq!(
            examine(&[b"a\xEF\xBF\xBE"]),
            (1, Some(ErrorKind::NotWellFormed))
        );
        assert_eq!(examine(&[b"a\xEF\xBF\xBD\x7F\xC2\x85"]), (7, None));
        assert_eq!(
            examine(&[b"<\x00"]),
            (1, Some(ErrorKind::UnsupportedEncoding))
        );
    }
}
