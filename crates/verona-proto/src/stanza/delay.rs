//! The mark of a stanza that is late, and may have arrived before (XEP-0203).
//!
//! Whoever gets a stanza for the second time can only know by such a mark that this may be so.

use verona_xml::{Tag, end};

use super::Stanza;
use crate::addr::Domain;
use crate::ns;

impl Stanza {
    /// The same stanza with a `<delay/>` at its end: `by` had it since `stamp`, which is a moment in UTC as XEP-0082
    /// writes it, and `why` tells a person what happened.
    #[must_use]
    pub fn delayed(&self, by: &Domain, stamp: &str, why: &str) -> Self {
        let mut out = String::new();
        Tag::new(&mut out, "delay")
            .attribute("xmlns", ns::DELAY)
            .attribute("from", by.as_str())
            .attribute("stamp", stamp)
            .text(why);
        let mut bytes = Vec::with_capacity(self.bytes.len() + out.len() + ROOM);
        match self.bytes.strip_suffix(b"/>") {
            // A stanza ends so only if it is empty: what it contains stands before its own end tag.
            Some(start_tag) => {
                bytes.extend_from_slice(start_tag);
                bytes.push(b'>');
                end(&mut out, self.kind.name());
                bytes.extend_from_slice(out.as_bytes());
            }
            None => {
                let at = self
                    .bytes
                    .windows(2)
                    .rposition(|two| two == b"</")
                    .unwrap_or(self.bytes.len());
                let (content, end_tag) = self.bytes.split_at(at);
                bytes.extend_from_slice(content);
                bytes.extend_from_slice(out.as_bytes());
                bytes.extend_from_slice(end_tag);
            }
        }
        Self {
            bytes: bytes.into_boxed_slice().into(),
            ..self.clone()
        }
    }
}

/// What an end tag takes.
const ROOM: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::stanza::NoStanza;
    use crate::stanza::fixtures::first_level;

    fn delayed(text: &str) -> String {
        let (bytes, head, scope) = first_level(text);
        let stanza = Stanza::read(&bytes, &head, &scope, None).unwrap();
        let by = Domain::parse("montague.lit").unwrap();
        let late = stanza.delayed(&by, "2026-11-29T01:02:03Z", "a & b");
        assert_eq!(
            Stanza::restore(late.bytes().clone()).unwrap(),
            late,
            "it is a stanza still"
        );
        String::from_utf8(late.bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_mark_stands_at_the_end_of_the_stanza() {
        //= SM-12
        let mark = "<delay xmlns='urn:xmpp:delay' from='montague.lit' stamp='2026-11-29T01:02:03Z'>a &amp; b</delay>";
        for (before, content, after) in [
            ("", "", "</message>"),
            ("", "<body>x</body>", "</message>"),
            ("", "<x xmlns='urn:x'/>", "</message  >"),
            (
                "",
                "<x xmlns='urn:x'><message></message></x> ",
                "</message>",
            ),
            ("", "&lt;/", "</message>"),
        ] {
            let start = format!("{before}<message from='a@montague.lit' to='b@capulet.lit'>");
            assert_eq!(
                delayed(&format!("{start}{content}{after}")),
                format!("{start}{content}{mark}{after}")
            );
        }
        assert_eq!(
            delayed("<message from='a@montague.lit' to='b@capulet.lit' />"),
            format!("<message from='a@montague.lit' to='b@capulet.lit' >{mark}</message>")
        );
    }

    #[test]
    fn what_is_no_stanza_is_not_restored() {
        for text in [
            "",
            "<message from='a@montague.lit'/>",
            "<message from='a@montague.lit' to='@'/>",
            "<message from='a@montague.lit' to='capulet.lit'>",
            "<message xmlns='urn:x' from='montague.lit' to='capulet.lit'/>",
            "<stream from='montague.lit' to='capulet.lit'/>",
            "\u{0}",
        ] {
            assert_eq!(
                Stanza::restore(text.as_bytes().to_vec().into()),
                Err(NoStanza),
                "{text}"
            );
        }
        let (bytes, head, scope) =
            first_level("<iq type='get' id='1' from='a@capulet.lit/x' to='montague.lit'/>");
        let stanza = Stanza::read(&bytes, &head, &scope, None).unwrap();
        assert_eq!(Stanza::restore(stanza.bytes().clone()), Ok(stanza));
    }
}
