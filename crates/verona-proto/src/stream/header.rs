//! Stream headers (RFC 6120 §4.7, §4.8): written one way, read liberally.

use verona_xml::{Element, Scope, Tag};

use super::StreamError;
use crate::addr::Domain;
use crate::ns;
use crate::stanza::condition::StreamCondition;

/// A peer's stream header, as far as it can be understood.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) from: Option<Domain>,
    pub(super) to: Option<Domain>,
    pub(super) id: Option<String>,
    pub(super) lang: Option<String>,
    /// Whether the dialback namespace is bound: the traditional sign of dialback (DB-30).
    pub(super) dialback: bool,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// A stream error for a wrong namespace or version (STREAM-02, STREAM-07, STREAM-26); addresses are judged by
    /// [`Header::read_initial`].
    pub(super) fn read(element: &Element, scope: &Scope) -> Result<Self, StreamError> {
        //= STREAM-02
        //= STREAM-05
        if element.namespace() != ns::STREAM {
            return Err(StreamError::peer(
                StreamCondition::InvalidNamespace,
                "the root element is not in the namespace of XML streams",
            ));
        }
        if element.name() != "stream" {
            return Err(StreamError::peer(
                StreamCondition::BadFormat,
                "the root element is not <stream:stream>",
            ));
        }
        //= STREAM-07
        //= STREAM-04
        if !matches!(scope.default_namespace(), ns::SERVER | ns::STREAM | "") {
            return Err(StreamError::peer(
                StreamCondition::InvalidNamespace,
                "the stream's content namespace is not jabber:server",
            ));
        }
        //= STREAM-25
        //= STREAM-26
        //= STREAM-27
        if !is_version_1(element.attribute("version")) {
            return Err(StreamError::peer(
                StreamCondition::UnsupportedVersion,
                "the peer speaks an XMPP version before 1.0",
            ));
        }
        Ok(Self {
            from: domain(element, "from"),
            to: domain(element, "to"),
            id: element
                .attribute("id")
                .filter(|id| !id.is_empty())
                .map(Into::into),
            lang: element.lang().map(Into::into),
            //= DB-30
            dialback: scope.iter().any(|(_, namespace)| namespace == ns::DIALBACK),
        })
    }

    /// Reads the header of a peer that opened the stream: its addresses must be domains.
    ///
    /// # Errors
    /// As [`Header::read`], and `improper-addressing` (STREAM-22).
    pub(super) fn read_initial(element: &Element, scope: &Scope) -> Result<Self, StreamError> {
        let header = Self::read(element, scope)?;
        //= STREAM-22
        for (name, read) in [("from", &header.from), ("to", &header.to)] {
            if read.is_none() && element.attribute(name).is_some_and(|text| !text.is_empty()) {
                return Err(StreamError::peer(
                    StreamCondition::ImproperAddressing,
                    format!("the header's '{name}' is not a domain"),
                ));
            }
        }
        Ok(header)
    }
}

/// The version that our header names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 1.0.
    One,
    /// The peer's own, which is lower: so old that nothing follows but the error.
    Theirs(String),
    /// The peer names none, so neither do we.
    None,
}

impl Version {
    /// The lower of the peer's and ours; what cannot be read is answered with ours.
    pub(super) fn answering(header: &Element, scope: &Scope) -> Self {
        // What is no header of XMPP has no version of XMPP.
        if !header.is("stream", ns::STREAM) || scope.default_namespace() != ns::SERVER {
            return Self::One;
        }
        //= STREAM-25
        //= STREAM-26
        match header.attribute("version") {
            None => Self::None,
            Some(version) if is_below_1(version) => Self::Theirs(version.to_owned()),
            Some(_) => Self::One,
        }
    }

    fn attribute(&self) -> Option<&str> {
        match self {
            Self::One => Some("1.0"),
            Self::Theirs(version) => Some(version),
            Self::None => None,
        }
    }
}

/// Writes the header that opens a stream (STREAM-01, STREAM-10..12).
pub(super) fn write_initial(out: &mut String, from: &Domain, to: &Domain) {
    write(out, Some(from.as_str()), Some(to), None, &Version::One);
}

/// Writes the header that answers one (STREAM-14).
pub(super) fn write_response(
    out: &mut String,
    from: Option<&Domain>,
    to: Option<&Domain>,
    id: &str,
    version: &Version,
) {
    //= STREAM-19
    // Whoever asks for a domain that is not ours does not learn which ones are.
    let from = Some(from.map_or("", Domain::as_str));
    write(out, from, to, Some(id), version);
}

fn write(
    out: &mut String,
    from: Option<&str>,
    to: Option<&Domain>,
    id: Option<&str>,
    version: &Version,
) {
    //= STREAM-39
    //= DB-29
    //= STREAM-01
    //= STREAM-05
    out.push_str("<?xml version='1.0'?>");
    Tag::new(out, "stream:stream")
        .attribute("xmlns", ns::SERVER)
        .attribute("xmlns:db", ns::DIALBACK)
        .attribute("xmlns:stream", ns::STREAM)
        .attribute_if("from", from)
        .attribute_if("to", to.map(Domain::as_str))
        .attribute_if("id", id)
        .attribute_if("version", version.attribute())
        .attribute("xml:lang", "en")
        .open();
}

fn domain(element: &Element, name: &str) -> Option<Domain> {
    element
        .attribute(name)
        .and_then(|text| Domain::parse(text).ok())
}

/// Whether the major version is at least 1, compared as a number (RFC 6120 §4.7.5).
fn is_version_1(version: Option<&str>) -> bool {
    let Some((major, minor)) = version.and_then(|text| text.split_once('.')) else {
        return false;
    };
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    number(major).is_some_and(|major| major >= 1) && number(minor).is_some()
}

/// Whether it is a version, and an old one. It is short: what is answered with it stays short too.
fn is_below_1(version: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    version.len() <= 8
        && version.split_once('.').is_some_and(|(major, minor)| {
            major.bytes().all(|b| b == b'0') && digits(major) && digits(minor)
        })
}

#[cfg(test)]
mod tests {
    use super::{is_below_1, is_version_1};

    #[test]
    fn an_old_version_is_a_number_below_one() {
        //= STREAM-25
        for (text, expected) in [
            ("0.9", true),
            ("0.10", true),
            ("00.1", true),
            ("1.0", false),
            (".9", false),
            ("0.", false),
            ("0.x", false),
            ("0.999999999", false),
        ] {
            assert_eq!(is_below_1(text), expected, "{text}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        //= STREAM-25
        for (text, expected) in [
            (Some("1.0"), true),
            (Some("01.0"), true),
            (Some("1.13"), true),
            (Some("2.0"), true),
            (Some("0.9"), false),
            (Some("1"), false),
            (Some("1.x"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(is_version_1(text), expected, "{text:?}");
        }
    }
}
