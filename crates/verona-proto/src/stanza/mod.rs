//! Stanzas: what travels, the proof that it may, and what is said when it cannot.
//!
//! A stanza is read from its start tag alone, and its bytes are changed no further than another stream and normalised
//! addresses need (RFC 6120 §8.4, ROUTE-11).

mod admitted;
mod bounce;
pub mod condition;
mod delay;
#[cfg(test)]
pub(crate) mod fixtures;
mod safekeeping;
mod undelivered;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use verona_xml::{Edit, Element, Head, Scope, Tag, end, rewrite};

pub use admitted::{Admitted, Destination};
pub(crate) use bounce::reply;
pub use bounce::{bounce, originate, readmit};
pub use condition::{ErrorType, StanzaCondition, StreamCondition};
pub use safekeeping::{Release, Safekeeping};
pub use undelivered::{Reason, Undelivered};

use crate::addr::{Domain, Jid, Parts, RecentDomains};

/// A stanza with valid addresses, in bytes of its own that fit any stream whose content namespace is inherited:
/// `jabber:server`, `jabber:component:accept`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    kind: StanzaKind,
    class: StanzaClass,
    from: Domain,
    to: Domain,
    bytes: Arc<[u8]>,
    safekeeping: Option<Safekeeping>,
}

impl Stanza {
    /// Reads a first-level element of a content namespace, as the scanner reported it.
    ///
    /// `lang` is the 'xml:lang' of its stream, which holds for a stanza that has none (RFC 6120 §8.1.5).
    ///
    /// # Errors
    /// [`BadStanza::Stream`] when the stream cannot go on: no stanza, or addresses of which not even the domains are
    /// known. [`BadStanza::Stanza`] when only this stanza cannot travel.
    pub fn read(
        element: &[u8],
        head: &Head,
        scope: &Scope,
        lang: Option<&str>,
    ) -> Result<Self, BadStanza> {
        Self::read_among(&mut RecentDomains::default(), element, head, scope, lang)
    }

    /// As [`Stanza::read`], where `domains` are those of the stanzas before it on its connection.
    ///
    /// # Errors
    /// Those of [`Stanza::read`].
    pub fn read_among(
        domains: &mut RecentDomains,
        element: &[u8],
        head: &Head,
        scope: &Scope,
        lang: Option<&str>,
    ) -> Result<Self, BadStanza> {
        //= STREAM-42
        let kind = StanzaKind::from_name(head.local(element))
            .ok_or(BadStanza::Stream(StreamCondition::UnsupportedStanzaType))?;
        //= ROUTE-01
        let to = Address::read(head.to(element), domains)?;
        //= ROUTE-02
        let from = Address::read(head.from(element), domains)?;
        let type_attribute = head.kind(element);
        let class = StanzaClass::of(kind, type_attribute.as_deref());
        let refused = if from.is_malformed || to.is_malformed {
            //= ROUTE-07
            Some(Reason::BadAddress)
        } else if head.has_non_ascii_name() {
            //= ROUTE-30
            Some(Reason::BadName)
        } else {
            None
        };
        if let Some(reason) = refused {
            let stanza = Self::build(
                kind,
                &from.jid(),
                &to.jid(),
                type_attribute.as_deref(),
                head.id(element).as_deref(),
                "",
            );
            return Err(BadStanza::Stanza {
                stanza: Box::new(stanza),
                reason,
            });
        }
        //= ROUTE-06
        //= ROUTE-11
        //= STREAM-44
        //= ROUTE-28
        let edit = Edit {
            from: from.normalised.as_deref(),
            to: to.normalised.as_deref(),
            lang,
        };
        let bytes = match rewrite(element, head, scope, &edit) {
            Cow::Borrowed(bytes) => Arc::from(bytes),
            Cow::Owned(bytes) => Arc::from(bytes),
        };
        Ok(Self {
            kind,
            class,
            from: from.domain,
            to: to.domain,
            bytes,
            safekeeping: None,
        })
    }

    /// Makes a stanza of ours. `payload` is its content, well-formed and in need of no prefix.
    #[must_use]
    pub fn build(
        kind: StanzaKind,
        from: &Jid,
        to: &Jid,
        type_attribute: Option<&str>,
        id: Option<&str>,
        payload: &str,
    ) -> Self {
        let mut out = String::new();
        let tag = Tag::new(&mut out, kind.name())
            .attribute("from", &from.to_string())
            .attribute("to", &to.to_string())
            .attribute_if("id", id)
            .attribute_if("type", type_attribute);
        if payload.is_empty() {
            tag.empty();
        } else {
            tag.open();
            out.push_str(payload);
            end(&mut out, kind.name());
        }
        Self {
            kind,
            class: StanzaClass::of(kind, type_attribute),
            from: from.domain().clone(),
            to: to.domain().clone(),
            bytes: Arc::from(out.into_bytes()),
            safekeeping: None,
        }
    }

    /// Reads a stanza from what [`Stanza::bytes`] gave, as a copy that was kept of it has it.
    ///
    /// # Errors
    /// [`NoStanza`] when the bytes are something else.
    pub fn restore(bytes: Arc<[u8]>) -> Result<Self, NoStanza> {
        let root = Element::parse(&bytes, &Scope::default()).map_err(|_| NoStanza)?;
        let kind = StanzaKind::from_name(root.name())
            .filter(|_| root.namespace().is_empty())
            .ok_or(NoStanza)?;
        let domain = |name| {
            let jid = root.attribute(name).map(Jid::parse);
            match jid {
                Some(Ok(jid)) => Ok(jid.domain().clone()),
                Some(Err(_)) | None => Err(NoStanza),
            }
        };
        Ok(Self {
            kind,
            class: StanzaClass::of(kind, root.attribute("type")),
            from: domain("from")?,
            to: domain("to")?,
            bytes,
            safekeeping: None,
        })
    }

    /// The same stanza, of which a copy is kept until it is dropped.
    #[must_use]
    pub fn in_safekeeping(self, safekeeping: Safekeeping) -> Self {
        Self {
            safekeeping: Some(safekeeping),
            ..self
        }
    }

    /// What stands for the copy that is kept of it, if one is.
    #[must_use]
    pub fn safekeeping(&self) -> Option<&Safekeeping> {
        self.safekeeping.as_ref()
    }

    /// Which of the three stanzas it is.
    #[must_use]
    pub fn kind(&self) -> StanzaKind {
        self.kind
    }

    /// What may be answered to it.
    #[must_use]
    pub fn class(&self) -> StanzaClass {
        self.class
    }

    /// The domain of the sender.
    #[must_use]
    pub fn from(&self) -> &Domain {
        &self.from
    }

    /// The domain of the recipient.
    #[must_use]
    pub fn to(&self) -> &Domain {
        &self.to
    }

    /// The element as it is written on a stream: nothing else is held by them.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// The address of the sender. Read from the bytes at each call, like everything below: this is for the few stanzas
    /// that are answered here.
    #[must_use]
    pub fn sender(&self) -> Jid {
        self.attributes().sender
    }

    /// The address of the recipient.
    #[must_use]
    pub fn recipient(&self) -> Jid {
        self.attributes().recipient
    }

    /// The 'id' attribute.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        self.attributes().id
    }

    /// The 'type' attribute, whatever it says.
    #[must_use]
    pub fn type_attribute(&self) -> Option<String> {
        self.attributes().type_attribute
    }

    /// All four at once.
    pub(crate) fn attributes(&self) -> Attributes {
        let root = self.element().ok();
        let attribute = |name| root.as_ref().and_then(|root| root.attribute(name));
        let address = |name, domain: &Domain| {
            attribute(name)
                .and_then(|text| Jid::parse(text).ok())
                .unwrap_or_else(|| Jid::from(domain.clone()))
        };
        Attributes {
            sender: address("from", &self.from),
            recipient: address("to", &self.to),
            id: attribute("id").map(str::to_owned),
            type_attribute: attribute("type").map(str::to_owned),
        }
    }

    /// The whole stanza as a tree, for those that answer it themselves. Its own namespace is the empty one.
    ///
    /// # Errors
    /// Those of the parser; bytes that came through [`Stanza::read`] cause none.
    pub(crate) fn element(&self) -> Result<Element, verona_xml::Error> {
        Element::parse(&self.bytes, &Scope::default())
    }
}

/// What an answer needs to know of a stanza.
pub(crate) struct Attributes {
    pub(crate) sender: Jid,
    pub(crate) recipient: Jid,
    pub(crate) id: Option<String>,
    pub(crate) type_attribute: Option<String>,
}

/// The three stanzas (RFC 6120 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StanzaKind {
    /// `<message/>`: push.
    Message,
    /// `<presence/>`: broadcast.
    Presence,
    /// `<iq/>`: request and response.
    Iq,
}

impl StanzaKind {
    /// The kind whose element has that local name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "message" => Some(Self::Message),
            "presence" => Some(Self::Presence),
            "iq" => Some(Self::Iq),
            _ => None,
        }
    }

    /// The name of its element.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }
}

/// What the 'type' of a stanza says about answering it (RFC 6120 §8.2.3, §8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StanzaClass {
    /// An `<iq/>` of type `get` or `set`: it must be answered.
    Request,
    /// An `<iq/>` of type `result`: it must not be.
    Answer,
    /// Type `error`, of whatever kind: it must not be.
    Error,
    /// All else: it may be.
    Other,
}

impl StanzaClass {
    fn of(kind: StanzaKind, type_attribute: Option<&str>) -> Self {
        match (kind, type_attribute) {
            (_, Some("error")) => Self::Error,
            (StanzaKind::Iq, Some("get" | "set")) => Self::Request,
            (StanzaKind::Iq, Some("result")) => Self::Answer,
            (StanzaKind::Message | StanzaKind::Presence | StanzaKind::Iq, _) => Self::Other,
        }
    }
}

/// These bytes are no stanza of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStanza;

impl fmt::Display for NoStanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are no stanza")
    }
}

impl std::error::Error for NoStanza {}

/// Why an element is no [`Stanza`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadStanza {
    /// The stream is to be closed with this condition.
    Stream(StreamCondition),
    /// The stream lives: the sender gets an error, if the stream may carry stanzas between these domains at all.
    Stanza {
        /// Addresses, kind, type and id of the refused stanza; a malformed address is reduced to its domain.
        stanza: Box<Stanza>,
        /// What is wrong with it.
        reason: Reason,
    },
}

impl fmt::Display for BadStanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(condition) => write!(f, "no stanza: {condition}"),
            Self::Stanza { stanza, reason } => write!(
                f,
                "a stanza from {} to {} that cannot travel: {}",
                stanza.from,
                stanza.to,
                reason.condition()
            ),
        }
    }
}

impl std::error::Error for BadStanza {}

/// An address as it stands in a stanza.
struct Address<'a> {
    text: Cow<'a, str>,
    domain: Domain,
    /// The text to write where it differs from what came.
    normalised: Option<String>,
    /// The localpart or the resource is bad.
    is_malformed: bool,
}

impl<'a> Address<'a> {
    fn read(text: Option<Cow<'a, str>>, domains: &mut RecentDomains) -> Result<Self, BadStanza> {
        let improper = || BadStanza::Stream(StreamCondition::ImproperAddressing);
        let text = text.ok_or_else(improper)?;
        let parts = Parts::of(&text);
        let domain = domains.parse(parts.domain).map_err(|_| improper())?;
        //= ROUTE-07
        let is_malformed = !parts.are_valid_beside_the_domain();
        // Preparation changes nothing but the domain.
        let is_normal = is_malformed || parts.domain == domain.as_str();
        let normalised = match is_normal {
            true => None,
            false => Jid::parse(&text).ok().map(|jid| jid.to_string()),
        };
        Ok(Self {
            domain,
            normalised,
            is_malformed,
            text,
        })
    }

    /// The address, or its domain alone where the rest of it is bad.
    fn jid(&self) -> Jid {
        Jid::parse(&self.text).unwrap_or_else(|_| self.domain.clone().into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use super::fixtures::{first_level, under};
    use super::*;

    fn read(text: &str) -> Result<Stanza, BadStanza> {
        let (bytes, head, scope) = first_level(text);
        Stanza::read(&bytes, &head, &scope, None)
    }

    #[test]
    fn kind_and_class_say_what_may_be_answered() {
        for (text, kind, class) in [
            ("message", StanzaKind::Message, StanzaClass::Other),
            (
                "message type='chat'",
                StanzaKind::Message,
                StanzaClass::Other,
            ),
            (
                "message type='get'",
                StanzaKind::Message,
                StanzaClass::Other,
            ),
            (
                "message type='error'",
                StanzaKind::Message,
                StanzaClass::Error,
            ),
            ("presence", StanzaKind::Presence, StanzaClass::Other),
            (
                "presence type='error'",
                StanzaKind::Presence,
                StanzaClass::Error,
            ),
            (
                "presence type='result'",
                StanzaKind::Presence,
                StanzaClass::Other,
            ),
            ("iq type='get'", StanzaKind::Iq, StanzaClass::Request),
            ("iq type='set'", StanzaKind::Iq, StanzaClass::Request),
            ("iq type='result'", StanzaKind::Iq, StanzaClass::Answer),
            ("iq type='error'", StanzaKind::Iq, StanzaClass::Error),
            ("iq type='subscribe'", StanzaKind::Iq, StanzaClass::Other),
            ("iq", StanzaKind::Iq, StanzaClass::Other),
        ] {
            let stanza = read(&format!(
                "<{text} from='a@capulet.lit' to='b@montague.lit/c'/>"
            ))
            .unwrap();
            assert_eq!((stanza.kind(), stanza.class()), (kind, class), "{text}");
        }
    }

    #[test]
    fn a_stanza_that_needs_nothing_keeps_its_bytes() {
        //= ROUTE-11
        //= ROUTE-28
        let text = "<message  to=\"b@montague.lit/c\" from='a@capulet.lit' id='1&amp;2' type='chat'><body>&lt;x></body><x xmlns='urn:x'/></message >";
        let stanza = read(text).unwrap();
        assert_eq!(stanza.bytes()[..], *text.as_bytes());
        assert_eq!(stanza.from().as_str(), "capulet.lit");
        assert_eq!(stanza.to().as_str(), "montague.lit");
        assert_eq!(stanza.sender(), Jid::parse("a@capulet.lit").unwrap());
        assert_eq!(stanza.recipient(), Jid::parse("b@montague.lit/c").unwrap());
        assert_eq!(stanza.id().as_deref(), Some("1&2"));
        assert_eq!(stanza.type_attribute().as_deref(), Some("chat"));
    }

    #[test]
    fn the_bytes_of_a_stanza_are_of_its_own() {
        let (bytes, head, scope) = first_level("<message from='a@capulet.lit' to='montague.lit'/>");
        let stanza = Stanza::read(&bytes, &head, &scope, None).unwrap();
        assert_ne!(stanza.bytes().as_ptr(), bytes.as_ptr());
        assert_eq!(stanza.bytes().len(), bytes.len());
        assert_eq!(Arc::strong_count(stanza.bytes()), 1, "nobody else has them");
    }

    #[test]
    fn addresses_are_compared_and_relayed_normalised() {
        //= ROUTE-06
        let stanza =
            read("<iq type='get' id='1' from='A@CAPULET.lit./R' to='xn--bcher-kva.example'/>")
                .unwrap();
        assert_eq!(stanza.from().as_str(), "capulet.lit");
        assert_eq!(stanza.sender().to_string(), "A@capulet.lit/R");
        assert_eq!(stanza.recipient().to_string(), "bücher.example");
        let text = std::str::from_utf8(stanza.bytes()).unwrap();
        assert!(text.contains("from='A@capulet.lit/R'"), "{text}");
        assert!(text.contains("to='bücher.example'"), "{text}");
    }

    #[test]
    fn without_domains_on_both_sides_the_stream_cannot_go_on() {
        //= ROUTE-01
        //= ROUTE-02
        //= ROUTE-07
        for attributes in [
            "from='a@capulet.lit'",
            "to='montague.lit'",
            "from='' to='montague.lit'",
            "from='a@capulet.lit' to=''",
            "from='a@capulet.lit' to='b@'",
            "from='a@capulet.lit' to='/c'",
            "from='a@b c' to='montague.lit'",
        ] {
            for kind in ["message", "presence", "iq type='result'"] {
                assert_eq!(
                    read(&format!("<{kind} {attributes}/>")),
                    Err(BadStanza::Stream(StreamCondition::ImproperAddressing)),
                    "{attributes}"
                );
            }
        }
    }

    #[test]
    fn another_element_is_no_stanza() {
        assert_eq!(
            read("<route from='a@capulet.lit' to='b@montague.lit'/>"),
            Err(BadStanza::Stream(StreamCondition::UnsupportedStanzaType))
        );
    }

    #[test]
    fn one_bad_nickname_costs_one_stanza() {
        //= ROUTE-07
        for (attributes, from, to) in [
            (
                "from='a@capulet.lit' to='@montague.lit'",
                "a@capulet.lit",
                "montague.lit",
            ),
            (
                "from='a@capulet.lit' to='b b@montague.lit/c'",
                "a@capulet.lit",
                "montague.lit",
            ),
            (
                "from='a@capulet.lit/' to='b@montague.lit'",
                "capulet.lit",
                "b@montague.lit",
            ),
        ] {
            let bad = read(&format!(
                "<iq type='get' id='&apos;7' {attributes}><x xmlns='urn:x'/></iq>"
            ));
            let Err(BadStanza::Stanza { stanza, reason }) = bad else {
                panic!("{bad:?}");
            };
            assert_eq!(reason, Reason::BadAddress);
            assert_eq!(stanza.sender().to_string(), from);
            assert_eq!(stanza.recipient().to_string(), to);
            assert_eq!(stanza.id().as_deref(), Some("'7"));
            assert_eq!(stanza.class(), StanzaClass::Request);
        }
    }

    #[test]
    fn names_that_kill_the_streams_of_others_are_not_passed_on() {
        //= ROUTE-30
        for content in [
            "<\u{2C00}/>",
            "<b \u{10000}='1'/>",
            "<a><é xmlns='urn:x'/></a>",
        ] {
            let bad = read(&format!(
                "<message from='a@capulet.lit' to='b@montague.lit' id='1'>{content}</message>"
            ));
            let Err(BadStanza::Stanza { stanza, reason }) = bad else {
                panic!("{bad:?}");
            };
            assert_eq!(reason, Reason::BadName);
            assert_eq!(
                stanza.bytes()[..],
                *b"<message from='a@capulet.lit' to='b@montague.lit' id='1'/>"
            );
        }
        let text = "<message from='é@capulet.lit' to='b@montague.lit'><body é:x='' xmlns:é='urn:x'>é</body></message>";
        assert!(
            matches!(read(text), Err(BadStanza::Stanza { .. })),
            "an attribute's prefix is a name too"
        );
        let text = "<message from='é@capulet.lit' to='b@montague.lit'><body>é</body></message>";
        assert!(read(text).is_ok(), "values and text are free");
    }

    #[test]
    fn what_was_inherited_from_the_stream_goes_along() {
        //= ROUTE-11
        //= COMP-11
        let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                      xmlns:x='urn:x' xml:lang='de'>";
        let (bytes, head, scope) = under(
            header,
            "<message from='a@capulet.lit' to='b@montague.lit'><x:y/></message>",
        );
        let stanza = Stanza::read(&bytes, &head, &scope, Some("de")).unwrap();
        let root = stanza.element().unwrap();
        assert_eq!(root.lang(), Some("de"));
        assert!(root.child("y", "urn:x").is_some());
        assert_eq!(root.namespace(), "");
    }

    #[test]
    fn a_stanza_with_its_own_declaration_becomes_one_that_inherits() {
        //= COMP-11
        for text in [
            "<message xmlns='jabber:client' from='a@capulet.lit' to='b@montague.lit'><body>x</body></message>",
            "<s:message xmlns:s='jabber:server' from='a@capulet.lit' to='b@montague.lit'><s:body>x</s:body></s:message>",
        ] {
            let stanza = read(text).unwrap();
            let root = stanza.element().unwrap();
            assert_eq!((root.name(), root.namespace()), ("message", ""), "{text}");
            assert_eq!(root.child("body", "").unwrap().text(), "x", "{text}");
        }
    }

    #[test]
    fn what_we_build_reads_back() {
        let from = Jid::parse("montague.lit").unwrap();
        let to = Jid::parse("juliet@capulet.lit/it's \"her\" <balcony>").unwrap();
        let built = Stanza::build(StanzaKind::Iq, &from, &to, Some("result"), Some("a&b"), "");
        let text = std::str::from_utf8(built.bytes()).unwrap();
        assert_eq!(read(text).unwrap(), built);
        assert_eq!(built.recipient(), to);
        assert_eq!(built.id().as_deref(), Some("a&b"));
        assert_eq!(built.class(), StanzaClass::Answer);
        let built = Stanza::build(
            StanzaKind::Message,
            &from,
            &to,
            None,
            None,
            "<body>x</body>",
        );
        assert_eq!(
            built.element().unwrap().child("body", "").unwrap().text(),
            "x"
        );
        assert_eq!((built.id(), built.type_attribute()), (None, None));
    }
}
