//! What two servers can say to each other, written and read by code of the play's own.
//!
//! The reader knows just the XML that verona writes: what it does not know is an error of the play, not silence.

use std::fmt::Write as _;

use crate::names::{Address, Name};

/// One thing said on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    Header {
        from: Address,
        to: Address,
        id: Option<String>,
        dialback: bool,
    },
    Features(Features),
    StartTls,
    Proceed,
    TlsFailure,
    Bidi(Bidi),
    Auth(Authzid),
    Success,
    SaslFailure,
    /// `<db:result>KEY</db:result>`
    Request {
        from: Address,
        to: Address,
        key: String,
    },
    /// `<db:result type='…'/>`
    Answer {
        from: Address,
        to: Address,
        outcome: Outcome,
    },
    /// `<db:verify id='…'>KEY</db:verify>`
    Verify {
        from: Address,
        to: Address,
        id: String,
        key: String,
    },
    /// `<db:verify id='…' type='…'/>`
    Verdict {
        from: Address,
        to: Address,
        id: String,
        outcome: Outcome,
    },
    Stanza {
        from: Address,
        to: Address,
        number: u64,
    },
    StreamError(String),
    Unknown,
    Close,
    Space,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) starttls: bool,
    pub(crate) external: bool,
    pub(crate) bidi: bool,
    pub(crate) dialback: bool,
    pub(crate) multiplex: bool,
}

/// How a `<bidi/>` is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bidi {
    Request,
    Multiplexing,
    /// In the namespace of the offer, which asks for nothing.
    WrongNamespace,
}

/// Whom an `<auth/>` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authzid {
    Nobody,
    Empty,
    Of(Name),
    Garbage,
    /// The mechanism is another.
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Valid,
    Invalid,
    Error,
    /// A type that nobody knows.
    Odd,
}

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const MULTIPLEX: &str = verona_proto::ns::MULTIPLEX;

impl Sentence {
    /// As bytes on the wire.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Header {
                from,
                to,
                id,
                dialback,
            } => {
                out.push_str("<?xml version='1.0'?><stream:stream xmlns='jabber:server'");
                if *dialback {
                    out.push_str(" xmlns:db='jabber:server:dialback'");
                }
                out.push_str(" xmlns:stream='http://etherx.jabber.org/streams'");
                attribute(out, "from", from.text());
                attribute(out, "to", to.text());
                attribute(out, "id", id.as_deref());
                out.push_str(" version='1.0'>");
            }
            Self::Features(features) => features.write(out),
            Self::StartTls => _ = write!(out, "<starttls xmlns='{TLS}'/>"),
            Self::Proceed => _ = write!(out, "<proceed xmlns='{TLS}'/>"),
            Self::TlsFailure => _ = write!(out, "<failure xmlns='{TLS}'/>"),
            Self::Bidi(Bidi::Request) => out.push_str("<bidi xmlns='urn:xmpp:bidi'/>"),
            Self::Bidi(Bidi::Multiplexing) => {
                _ = write!(
                    out,
                    "<bidi xmlns='urn:xmpp:bidi'><multiplex xmlns='{MULTIPLEX}'/></bidi>"
                );
            }
            Self::Bidi(Bidi::WrongNamespace) => {
                out.push_str("<bidi xmlns='urn:xmpp:features:bidi'/>");
            }
            Self::Auth(authzid) => {
                let (mechanism, text) = match authzid {
                    Authzid::Nobody => ("EXTERNAL", String::new()),
                    Authzid::Empty => ("EXTERNAL", "=".to_owned()),
                    Authzid::Of(name) => ("EXTERNAL", base64(name.text().as_bytes())),
                    Authzid::Garbage => ("EXTERNAL", "?".to_owned()),
                    Authzid::Plain => ("PLAIN", base64(b"\0romeo\0secret")),
                };
                _ = write!(
                    out,
                    "<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>"
                );
            }
            Self::Success => _ = write!(out, "<success xmlns='{SASL}'/>"),
            Self::SaslFailure => {
                _ = write!(out, "<failure xmlns='{SASL}'><not-authorized/></failure>");
            }
            Self::Request { from, to, key } => {
                dialback(out, "result", *from, *to, None, None, key);
            }
            Self::Answer { from, to, outcome } => {
                dialback(out, "result", *from, *to, None, Some(*outcome), "");
            }
            Self::Verify { from, to, id, key } => {
                dialback(out, "verify", *from, *to, Some(id), None, key);
            }
            Self::Verdict {
                from,
                to,
                id,
                outcome,
            } => dialback(out, "verify", *from, *to, Some(id), Some(*outcome), ""),
            Self::Stanza { from, to, number } => {
                out.push_str("<message");
                attribute(out, "from", from.text());
                attribute(out, "to", to.text());
                _ = write!(out, " id='{number}'><body>x</body></message>");
            }
            Self::StreamError(condition) => {
                _ = write!(
                    out,
                    "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
                );
            }
            Self::Unknown => out.push_str("<odd xmlns='urn:example:odd'/>"),
            Self::Close => out.push_str("</stream:stream>"),
            Self::Space => out.push(' '),
        }
    }
}

impl Features {
    fn write(self, out: &mut String) {
        out.push_str("<stream:features>");
        if self.starttls {
            _ = write!(out, "<starttls xmlns='{TLS}'/>");
        }
        if self.external {
            _ = write!(
                out,
                "<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
            );
        }
        if self.bidi {
            out.push_str("<bidi xmlns='urn:xmpp:features:bidi'/>");
        }
        if self.dialback {
            out.push_str("<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>");
        }
        if self.multiplex {
            _ = write!(out, "<multiplex xmlns='{MULTIPLEX}'/>");
        }
        out.push_str("</stream:features>");
    }
}

fn attribute(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        _ = write!(out, " {name}='{value}'");
    }
}

fn dialback(
    out: &mut String,
    name: &str,
    from: Address,
    to: Address,
    id: Option<&str>,
    outcome: Option<Outcome>,
    key: &str,
) {
    // Not every stream header declares the prefix.
    _ = write!(out, "<db:{name} xmlns:db='jabber:server:dialback'");
    attribute(out, "from", from.text());
    attribute(out, "to", to.text());
    attribute(out, "id", id);
    let (kind, content) = match outcome {
        None => (None, key),
        Some(Outcome::Valid) => (Some("valid"), ""),
        Some(Outcome::Invalid) => (Some("invalid"), ""),
        Some(Outcome::Error) => (
            Some("error"),
            "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
        ),
        Some(Outcome::Odd) => (Some("perhaps"), ""),
    };
    attribute(out, "type", kind);
    _ = write!(out, ">{content}</db:{name}>");
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            match at <= chunk.len() {
                true => out.push(char::from(DIGITS[(word >> (18 - 6 * at) & 63) as usize])),
                false => out.push('='),
            }
        }
    }
    out
}

fn unbase64(text: &str) -> Option<String> {
    let digit = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let mut out = Vec::new();
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        word = word << 6 | u32::from(digit(byte)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits & 0xff) as u8);
        }
    }
    String::from_utf8(out).ok()
}

/// Reads all that verona wrote. It writes whole elements at once, so nothing is left over.
pub(crate) fn read(mut text: &str) -> Result<Vec<Sentence>, String> {
    let mut all = Vec::new();
    while !text.is_empty() {
        let (sentence, rest) = read_one(text).ok_or_else(|| format!("not understood: {text}"))?;
        all.extend(sentence);
        text = rest;
    }
    Ok(all)
}

fn read_one(text: &str) -> Option<(Option<Sentence>, &str)> {
    if let Some(rest) = text.strip_prefix(' ') {
        return Some((Some(Sentence::Space), rest));
    }
    if let Some(rest) = text.strip_prefix("<?xml version='1.0'?>") {
        return Some((None, rest));
    }
    if let Some(rest) = text.strip_prefix("</stream:stream>") {
        return Some((Some(Sentence::Close), rest));
    }
    let (tag, behind) = text.strip_prefix('<')?.split_once('>')?;
    let (tag, is_empty) = match tag.strip_suffix('/') {
        Some(tag) => (tag, true),
        None => (tag, false),
    };
    let name = tag.split(' ').next()?;
    if name == "stream:stream" {
        return Some((
            Some(Sentence::Header {
                from: address(tag, "from")?,
                to: address(tag, "to")?,
                id: value(tag, "id").map(str::to_owned),
                dialback: value(tag, "xmlns:db") == Some("jabber:server:dialback"),
            }),
            behind,
        ));
    }
    let (content, rest) = match is_empty {
        true => ("", behind),
        false => {
            // No element of ours has one of its own name inside.
            let at = end_tag(behind, name)?;
            (&behind[..at], &behind[at + name.len() + 3..])
        }
    };
    Some((Some(sentence(name, tag, content)?), rest))
}

/// Where the end tag of that name begins.
fn end_tag(text: &str, name: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.bytes().position(|byte| byte == b'<')?;
        let rest = &text.as_bytes()[at + 1..];
        let tag = rest
            .strip_prefix(b"/")
            .and_then(|rest| rest.strip_prefix(name.as_bytes()));
        if tag.is_some_and(|rest| rest.first() == Some(&b'>')) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn sentence(name: &str, tag: &str, content: &str) -> Option<Sentence> {
    let namespace = value(tag, "xmlns");
    Some(match (name, namespace, value(tag, "type")) {
        ("stream:features", None, None) => Sentence::Features(Features {
            starttls: content.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'"),
            external: content.contains("<mechanism>EXTERNAL</mechanism>"),
            bidi: content.contains("<bidi xmlns='urn:xmpp:features:bidi'/>"),
            dialback: content.contains("<dialback xmlns='urn:xmpp:features:dialback'>"),
            multiplex: content.contains(MULTIPLEX),
        }),
        ("stream:error", None, None) => {
            let condition = content.strip_prefix('<')?;
            let end = condition.find([' ', '/', '>'])?;
            Sentence::StreamError(condition[..end].to_owned())
        }
        ("starttls", Some(TLS), None) => Sentence::StartTls,
        ("proceed", Some(TLS), None) => Sentence::Proceed,
        ("failure", Some(TLS), None) => Sentence::TlsFailure,
        ("bidi", Some("urn:xmpp:bidi"), None) => Sentence::Bidi(match content.is_empty() {
            true => Bidi::Request,
            false => Bidi::Multiplexing,
        }),
        ("auth", Some(SASL), None) => Sentence::Auth(match content {
            "" => Authzid::Nobody,
            "=" => Authzid::Empty,
            text => Authzid::Of(Name::read(&unbase64(text)?)?),
        }),
        ("success", Some(SASL), None) => Sentence::Success,
        ("failure", Some(SASL), None) => Sentence::SaslFailure,
        ("db:result", None, None) => Sentence::Request {
            from: address(tag, "from")?,
            to: address(tag, "to")?,
            key: content.to_owned(),
        },
        ("db:result", None, Some(kind)) => Sentence::Answer {
            from: address(tag, "from")?,
            to: address(tag, "to")?,
            outcome: outcome(kind)?,
        },
        ("db:verify", None, None) => Sentence::Verify {
            from: address(tag, "from")?,
            to: address(tag, "to")?,
            id: value(tag, "id")?.to_owned(),
            key: content.to_owned(),
        },
        ("db:verify", None, Some(kind)) => Sentence::Verdict {
            from: address(tag, "from")?,
            to: address(tag, "to")?,
            id: value(tag, "id")?.to_owned(),
            outcome: outcome(kind)?,
        },
        // A ping of the stream's own: it needs grounds like any other stanza.
        ("iq", None, Some("get")) => Sentence::Stanza {
            from: address(tag, "from")?,
            to: address(tag, "to")?,
            number: PING,
        },
        ("message", None, _) => Sentence::Stanza {
            from: address(tag, "from")?,
            to: address(tag, "to")?,
            number: value(tag, "id")?.parse().ok()?,
        },
        (_, _, _) => return None,
    })
}

/// The number of a stanza that nobody gave one.
pub(crate) const PING: u64 = u64::MAX;

fn outcome(kind: &str) -> Option<Outcome> {
    Some(match kind {
        "valid" => Outcome::Valid,
        "invalid" => Outcome::Invalid,
        "error" => Outcome::Error,
        _ => return None,
    })
}

/// The value of an attribute in a start tag as verona writes it.
fn value<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    while let Some(at) = rest.find(' ') {
        let (key, behind) = rest[at + 1..].split_once("='")?;
        let (value, behind) = behind.split_once('\'')?;
        if key == name {
            return Some(value);
        }
        rest = behind;
    }
    None
}

fn address(tag: &str, name: &str) -> Option<Address> {
    match value(tag, name) {
        None | Some("") => Some(Address::Absent),
        Some(text) => Name::read(text).map(Address::of),
    }
}
