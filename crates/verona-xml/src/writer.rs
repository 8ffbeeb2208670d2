//! Writing XML: tags and escaping, so that whatever text goes in, well-formed XML comes out.

/// A start tag being written; the call that ends it says what follows.
///
/// ```
/// use verona_xml::Tag;
///
/// let mut out = String::new();
/// Tag::new(&mut out, "db:result")
///     .attribute("from", "capulet.example")
///     .attribute("to", "montague.example")
///     .text("b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3");
/// assert!(out.starts_with("<db:result from='capulet.example' to='montague.example'>b48353"));
/// assert!(out.ends_with("d23df3</db:result>"));
/// ```
#[must_use = "a tag has to be ended by `open`, `empty` or `text`"]
#[derive(Debug)]
pub struct Tag<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl<'a> Tag<'a> {
    /// Begins a start tag; `name` is written as it is, prefix included.
    pub fn new(out: &'a mut String, name: &'a str) -> Self {
        out.push('<');
        out.push_str(name);
        Self { out, name }
    }

    /// Adds an attribute; `name` is written as it is, `value` is escaped.
    pub fn attribute(self, name: &str, value: &str) -> Self {
        attribute(self.out, name, value);
        self
    }

    /// Adds an attribute when there is a value.
    pub fn attribute_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.attribute(name, value),
            None => self,
        }
    }

    /// Ends the start tag; content and an end tag (see [`end`]) follow.
    pub fn open(self) {
        self.out.push('>');
    }

    /// Ends the element, which is empty.
    pub fn empty(self) {
        self.out.push_str("/>");
    }

    /// Writes text as the only content, and the end tag.
    pub fn text(self, text: &str) {
        self.out.push('>');
        escape_text(self.out, text);
        end(self.out, self.name);
    }
}

/// Writes an end tag.
pub fn end(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Writes character data. What XML cannot carry at all (U+0000 and its like) becomes U+FFFD.
pub fn escape_text(out: &mut String, text: &str) {
    escape(out, text, Place::Text);
}

/// Writes an attribute's value without its quotes. What XML cannot carry at all becomes U+FFFD.
pub fn escape_attribute(out: &mut String, value: &str) {
    escape(out, value, Place::Attribute);
}

/// Writes ` name='value'`.
pub(crate) fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    escape_attribute(out, value);
    out.push('\'');
}

/// Writes a namespace declaration, for the empty prefix that of the default namespace.
///
/// Nothing is escaped as long as it need not be: entities in namespace names are what we ourselves refuse, so a name
/// that came without them has to leave without them.
pub(crate) fn declaration(out: &mut String, prefix: &str, namespace: &str) {
    out.push_str(" xmlns");
    if !prefix.is_empty() {
        out.push(':');
        out.push_str(prefix);
    }
    let quote = if namespace.contains('\'') { '"' } else { '\'' };
    out.push('=');
    out.push(quote);
    if namespace.contains(quote) || namespace.contains(['<', '&', '\t', '\n', '\r']) {
        escape_attribute(out, namespace);
    } else {
        out.push_str(namespace);
    }
    out.push(quote);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Attribute,
}

fn escape(out: &mut String, text: &str, place: Place) {
    out.reserve(text.len());
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        let escaped = match character {
            '<' => "&lt;",
            '>' => "&gt;",
            '&' => "&amp;",
            '\'' => "&apos;",
            '"' => "&quot;",
            // A literal carriage return would arrive as a line feed.
            '\r' => "&#13;",
            '\t' if place == Place::Attribute => "&#9;",
            '\n' if place == Place::Attribute => "&#10;",
            '\t' | '\n' => continue,
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => "\u{FFFD}",
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or_default());
        out.push_str(escaped);
        plain = at + character.len_utf8();
    }
    out.push_str(text.get(plain..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_means_something_is_escaped() {
        let mut out = String::new();
        escape_text(&mut out, "<a b='1' c=\"2\">&\r\n\t\u{0}\u{FFFE}é");
        assert_eq!(
            out,
            "&lt;a b=&apos;1&apos; c=&quot;2&quot;&gt;&amp;&#13;\n\t\u{FFFD}\u{FFFD}é"
        );
        out.clear();
        escape_attribute(&mut out, "\t\n\r'");
        assert_eq!(out, "&#9;&#10;&#13;&apos;");
    }

    #[test]
    fn tags_end_in_three_ways() {
        let mut out = String::new();
        Tag::new(&mut out, "a")
            .attribute_if("b", None)
            .attribute_if("c", Some("&"))
            .open();
        Tag::new(&mut out, "d").empty();
        Tag::new(&mut out, "e").text("<");
        end(&mut out, "a");
        assert_eq!(out, "<a c='&amp;'><d/><e>&lt;</e></a>");
    }

    #[test]
    fn declarations_keep_their_text() {
        let mut out = String::new();
        declaration(&mut out, "", "urn:a>b");
        declaration(&mut out, "p", "it's");
        assert_eq!(out, " xmlns='urn:a>b' xmlns:p=\"it's\"");
    }
}
