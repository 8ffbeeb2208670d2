//! The XML declaration, `<?xml version='1.0'?>`: read whole, because it is short and comes at most once.

use crate::error::Error;
use crate::name::is_space;
use crate::tag::Attributes;

/// A declaration longer than this is none: the longest sensible one has 58 bytes.
pub(crate) const DECLARATION_BYTES_MAX: usize = 256;

/// Checks what has arrived of something that begins with `<?`, and gives the length of the declaration once it is whole.
///
/// # Errors
///
/// A processing instruction, which XMPP forbids; a version other than 1.0; an encoding other than UTF-8; `standalone`
/// with another value than `yes`, since nothing can stand outside a stream; and what is no declaration at all.
pub(crate) fn check(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let whole = bytes.get(..DECLARATION_BYTES_MAX).unwrap_or(bytes);
    for (at, &byte) in whole.iter().enumerate() {
        let expected = OPENING.get(at);
        let fits = match expected {
            Some(&expected) => byte == expected,
            None => at > OPENING.len() || is_space(byte),
        };
        if !fits {
            //= STREAM-35
            return Err(Error::restricted("a processing instruction"));
        }
        if at > OPENING.len() && byte == b'<' {
            return Err(MALFORMED);
        }
        if byte == b'>' {
            return content(whole.get(..at).unwrap_or_default()).map(|()| Some(at + 1));
        }
    }
    if bytes.len() >= DECLARATION_BYTES_MAX {
        return Err(Error::too_large("the XML declaration has no end"));
    }
    Ok(None)
}

/// `declaration` goes from `<?xml` to before the `>`.
fn content(declaration: &[u8]) -> Result<(), Error> {
    let Some(inside) = declaration.strip_suffix(b"?") else {
        return Err(MALFORMED);
    };
    let mut expected = ["version", "encoding", "standalone"].iter();
    let mut attributes = Attributes::new(inside, OPENING.len());
    let mut first = true;
    let mut end = OPENING.len();
    for attribute in attributes.by_ref() {
        let spaced = inside.get(end).copied().is_some_and(is_space);
        end = attribute.end;
        if !spaced || !expected.any(|name| *name == attribute.name) {
            return Err(MALFORMED);
        }
        if first && attribute.name != "version" {
            return Err(MALFORMED);
        }
        first = false;
        match (attribute.name, attribute.value) {
            ("version", "1.0") | ("standalone", "yes") => {}
            ("version", _) => return Err(Error::restricted("the XML version is not 1.0")),
            ("standalone", _) => {
                return Err(Error::restricted(
                    "the XML declaration says standalone='no'",
                ));
            }
            //= STREAM-37
            (_, encoding) if !encoding.eq_ignore_ascii_case("utf-8") => {
                return Err(Error::encoding(
                    "the XML declaration names another encoding",
                ));
            }
            (_, _) => {}
        }
    }
    let rest = inside.get(attributes.position()..).unwrap_or_default();
    if first || !rest.iter().copied().all(is_space) {
        return Err(MALFORMED);
    }
    Ok(())
}

const OPENING: &[u8] = b"<?xml";
const MALFORMED: Error = Error::not_well_formed("the XML declaration is malformed");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn verdict(text: &str) -> Result<Option<usize>, ErrorKind> {
        check(text.as_bytes()).map_err(|error| error.kind())
    }

    #[test]
    fn what_may_be_declared() {
        for text in [
            "<?xml version='1.0'?>",
            "<?xml version=\"1.0\" ?>",
            "<?xml\tversion = '1.0'\r\n encoding='UTF-8'?>",
            "<?xml version='1.0' encoding='utf-8' standalone='yes'?>",
            "<?xml version='1.0' standalone='yes'?>",
        ] {
            assert_eq!(verdict(text), Ok(Some(text.len())), "{text}");
            assert_eq!(verdict(&text[..text.len() - 1]), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_may_not() {
        for (text, kind) in [
            ("<?xml version='1.1'?>", ErrorKind::Restricted),
            (
                "<?xml version='1.0' standalone='no'?>",
                ErrorKind::Restricted,
            ),
            (
                "<?xml version='1.0' encoding='UTF-16'?>",
                ErrorKind::UnsupportedEncoding,
            ),
            ("<?xml encoding='UTF-8'?>", ErrorKind::NotWellFormed),
            (
                "<?xml version='1.0' version='1.0'?>",
                ErrorKind::NotWellFormed,
            ),
            (
                "<?xml version='1.0'encoding='UTF-8'?>",
                ErrorKind::NotWellFormed,
            ),
            (
                "<?xml version='1.0' standalone='yes' encoding='UTF-8'?>",
                ErrorKind::NotWellFormed,
            ),
            ("<?xml version='1.0' x?>", ErrorKind::NotWellFormed),
            ("<?xml version='1.0'>", ErrorKind::NotWellFormed),
            ("<?xml ?>", ErrorKind::NotWellFormed),
            ("<?xml version='1.0' <", ErrorKind::NotWellFormed),
            ("<?xml?>", ErrorKind::Restricted),
            ("<?xml-stylesheet", ErrorKind::Restricted),
            ("<?p", ErrorKind::Restricted),
        ] {
            assert_eq!(verdict(text), Err(kind), "{text}");
        }
        assert_eq!(
            verdict(&format!("<?xml{}", " ".repeat(300))),
            Err(ErrorKind::TooLarge)
        );
    }
}
