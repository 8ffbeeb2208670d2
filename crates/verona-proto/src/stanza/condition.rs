//! The defined conditions of stream errors and stanza errors, and how both errors look on the wire.
//!
//! A condition decides what the other side does next, so it is a closed enum and never a string (RFC 6120 §4.9.3, §8.3.3).

use std::fmt;

use verona_xml::{Element, ErrorKind, Tag, end};

use crate::ns;

/// A defined condition of a stream error (RFC 6120 §4.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamCondition {
    /// XML that cannot be processed: well-formed, yet no stream (§4.9.3.1).
    BadFormat,
    /// A namespace prefix that is not supported, or a missing one (§4.9.3.2).
    BadNamespacePrefix,
    /// Another stream takes the place of this one (§4.9.3.3).
    Conflict,
    /// The other side was silent for too long (§4.9.3.4).
    ConnectionTimeout,
    /// The domain was hosted here once (§4.9.3.5).
    HostGone,
    /// The domain is not hosted here (§4.9.3.6).
    HostUnknown,
    /// A stanza lacks 'to' or 'from', or the address is malformed (§4.9.3.7).
    ImproperAddressing,
    /// A fault of the side that reports it (§4.9.3.8).
    InternalServerError,
    /// The 'from' is not one that the stream may use (§4.9.3.9).
    InvalidFrom,
    /// The stream's or the content's namespace is not supported (§4.9.3.10).
    InvalidNamespace,
    /// XML that a validating server refuses (§4.9.3.11).
    InvalidXml,
    /// Data before authentication, or a failed one (§4.9.3.12).
    NotAuthorized,
    /// Not well-formed XML (§4.9.3.13).
    NotWellFormed,
    /// A rule of the local service is broken (§4.9.3.14).
    PolicyViolation,
    /// A remote entity that is needed to go on cannot be reached (§4.9.3.15).
    RemoteConnectionFailed,
    /// What was negotiated must be negotiated anew (§4.9.3.16).
    Reset,
    /// The resources to serve the stream are missing (§4.9.3.17).
    ResourceConstraint,
    /// A comment, processing instruction, DTD or entity (§4.9.3.18).
    RestrictedXml,
    /// The service is provided elsewhere (§4.9.3.19).
    SeeOtherHost,
    /// The server is being shut down (§4.9.3.20).
    SystemShutdown,
    /// None of the others, and whatever is unknown here (§4.9.3.21).
    UndefinedCondition,
    /// An encoding other than UTF-8 (§4.9.3.22).
    UnsupportedEncoding,
    /// A mandatory feature is not supported (§4.9.3.23).
    UnsupportedFeature,
    /// A first-level element in the content namespace that is no stanza (§4.9.3.24).
    UnsupportedStanzaType,
    /// A version of the stream that is not supported (§4.9.3.25).
    UnsupportedVersion,
}

impl StreamCondition {
    /// Every condition, in the order of RFC 6120 §4.9.3.
    pub const ALL: &'static [Self] = &[
        Self::BadFormat,
        Self::BadNamespacePrefix,
        Self::Conflict,
        Self::ConnectionTimeout,
        Self::HostGone,
        Self::HostUnknown,
        Self::ImproperAddressing,
        Self::InternalServerError,
        Self::InvalidFrom,
        Self::InvalidNamespace,
        Self::InvalidXml,
        Self::NotAuthorized,
        Self::NotWellFormed,
        Self::PolicyViolation,
        Self::RemoteConnectionFailed,
        Self::Reset,
        Self::ResourceConstraint,
        Self::RestrictedXml,
        Self::SeeOtherHost,
        Self::SystemShutdown,
        Self::UndefinedCondition,
        Self::UnsupportedEncoding,
        Self::UnsupportedFeature,
        Self::UnsupportedStanzaType,
        Self::UnsupportedVersion,
    ];

    /// The name of the element that stands for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadFormat => "bad-format",
            Self::BadNamespacePrefix => "bad-namespace-prefix",
            Self::Conflict => "conflict",
            Self::ConnectionTimeout => "connection-timeout",
            Self::HostGone => "host-gone",
            Self::HostUnknown => "host-unknown",
            Self::ImproperAddressing => "improper-addressing",
            Self::InternalServerError => "internal-server-error",
            Self::InvalidFrom => "invalid-from",
            Self::InvalidNamespace => "invalid-namespace",
            Self::InvalidXml => "invalid-xml",
            Self::NotAuthorized => "not-authorized",
            Self::NotWellFormed => "not-well-formed",
            Self::PolicyViolation => "policy-violation",
            Self::RemoteConnectionFailed => "remote-connection-failed",
            Self::Reset => "reset",
            Self::ResourceConstraint => "resource-constraint",
            Self::RestrictedXml => "restricted-xml",
            Self::SeeOtherHost => "see-other-host",
            Self::SystemShutdown => "system-shutdown",
            Self::UndefinedCondition => "undefined-condition",
            Self::UnsupportedEncoding => "unsupported-encoding",
            Self::UnsupportedFeature => "unsupported-feature",
            Self::UnsupportedStanzaType => "unsupported-stanza-type",
            Self::UnsupportedVersion => "unsupported-version",
        }
    }

    /// The condition of that name; an unknown one is `undefined-condition`.
    ///
    /// RFC 3920 had other names for two: `xml-not-well-formed` is understood, `invalid-id` has no successor.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        //= STREAM-50
        if name == "xml-not-well-formed" {
            return Self::NotWellFormed;
        }
        Self::ALL
            .iter()
            .copied()
            .find(|condition| condition.name() == name)
            .unwrap_or(Self::UndefinedCondition)
    }

    /// The condition for XML that the scanner refused, and the application-specific one that goes with it (ERR-02).
    #[must_use]
    pub fn of_xml(error: &verona_xml::Error) -> (Self, Option<(&'static str, &'static str)>) {
        match error.kind() {
            ErrorKind::NotWellFormed => (Self::NotWellFormed, None),
            ErrorKind::Restricted => (Self::RestrictedXml, None),
            ErrorKind::UnsupportedEncoding => (Self::UnsupportedEncoding, None),
            //= ERR-02
            ErrorKind::TooLarge if error.what() == "stanza_bytes_max" => {
                (Self::PolicyViolation, Some(("stanza-too-big", ns::ERRORS)))
            }
            ErrorKind::TooLarge => (Self::PolicyViolation, None),
        }
    }
}

impl fmt::Display for StreamCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A defined condition of a stanza error (RFC 6120 §8.3.3), and dialback's own (XEP-0220 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StanzaCondition {
    /// Malformed, or not what the schema says (§8.3.3.1).
    BadRequest,
    /// Something of that name exists (§8.3.3.2).
    Conflict,
    /// Understood, but not implemented (§8.3.3.3).
    FeatureNotImplemented,
    /// The sender lacks the permission (§8.3.3.4).
    Forbidden,
    /// The address is used no more (§8.3.3.5).
    Gone,
    /// A fault of the side that reports it (§8.3.3.6).
    InternalServerError,
    /// There is no such thing (§8.3.3.7).
    ItemNotFound,
    /// An address is malformed (§8.3.3.8).
    JidMalformed,
    /// It does not meet the criteria of the recipient (§8.3.3.9).
    NotAcceptable,
    /// Nobody may do that (§8.3.3.10).
    NotAllowed,
    /// Proof of identity is needed first (§8.3.3.11).
    NotAuthorized,
    /// A rule of the local service is broken (§8.3.3.12).
    PolicyViolation,
    /// The recipient is away for a while (§8.3.3.13).
    RecipientUnavailable,
    /// Another address is to be used (§8.3.3.14).
    Redirect,
    /// Registration is needed first (§8.3.3.15).
    RegistrationRequired,
    /// A server cannot be connected to; used in dialback errors only (XEP-0220 §2.5).
    RemoteConnectionFailed,
    /// The remote domain does not exist (§8.3.3.16).
    RemoteServerNotFound,
    /// The remote server does not answer in time (§8.3.3.17).
    RemoteServerTimeout,
    /// The resources are missing (§8.3.3.18).
    ResourceConstraint,
    /// Nobody here provides that (§8.3.3.19).
    ServiceUnavailable,
    /// A subscription is needed first (§8.3.3.20).
    SubscriptionRequired,
    /// None of the others, and whatever is unknown here (§8.3.3.21).
    UndefinedCondition,
    /// Out of order (§8.3.3.22).
    UnexpectedRequest,
}

impl StanzaCondition {
    /// Every condition, in the order of their names.
    pub const ALL: &'static [Self] = &[
        Self::BadRequest,
        Self::Conflict,
        Self::FeatureNotImplemented,
        Self::Forbidden,
        Self::Gone,
        Self::InternalServerError,
        Self::ItemNotFound,
        Self::JidMalformed,
        Self::NotAcceptable,
        Self::NotAllowed,
        Self::NotAuthorized,
        Self::PolicyViolation,
        Self::RecipientUnavailable,
        Self::Redirect,
        Self::RegistrationRequired,
        Self::RemoteConnectionFailed,
        Self::RemoteServerNotFound,
        Self::RemoteServerTimeout,
        Self::ResourceConstraint,
        Self::ServiceUnavailable,
        Self::SubscriptionRequired,
        Self::UndefinedCondition,
        Self::UnexpectedRequest,
    ];

    /// The name of the element that stands for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Conflict => "conflict",
            Self::FeatureNotImplemented => "feature-not-implemented",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
            Self::InternalServerError => "internal-server-error",
            Self::ItemNotFound => "item-not-found",
            Self::JidMalformed => "jid-malformed",
            Self::NotAcceptable => "not-acceptable",
            Self::NotAllowed => "not-allowed",
            Self::NotAuthorized => "not-authorized",
            Self::PolicyViolation => "policy-violation",
            Self::RecipientUnavailable => "recipient-unavailable",
            Self::Redirect => "redirect",
            Self::RegistrationRequired => "registration-required",
            Self::RemoteConnectionFailed => "remote-connection-failed",
            Self::RemoteServerNotFound => "remote-server-not-found",
            Self::RemoteServerTimeout => "remote-server-timeout",
            Self::ResourceConstraint => "resource-constraint",
            Self::ServiceUnavailable => "service-unavailable",
            Self::SubscriptionRequired => "subscription-required",
            Self::UndefinedCondition => "undefined-condition",
            Self::UnexpectedRequest => "unexpected-request",
        }
    }

    /// The condition of that name; an unknown one is `undefined-condition` (ERR-09).
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        //= ERR-09
        Self::ALL
            .iter()
            .copied()
            .find(|condition| condition.name() == name)
            .unwrap_or(Self::UndefinedCondition)
    }

    /// The type that goes with the condition where nothing else is said (RFC 6120 §8.3.3, ERR-10).
    #[must_use]
    pub fn error_type(self) -> ErrorType {
        //= ERR-10
        match self {
            Self::Forbidden
            | Self::NotAuthorized
            | Self::RegistrationRequired
            | Self::SubscriptionRequired => ErrorType::Auth,
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::Gone
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable
            | Self::UndefinedCondition => ErrorType::Cancel,
            Self::BadRequest
            | Self::JidMalformed
            | Self::NotAcceptable
            | Self::PolicyViolation
            | Self::Redirect => ErrorType::Modify,
            Self::RecipientUnavailable
            | Self::RemoteConnectionFailed
            | Self::RemoteServerTimeout
            | Self::ResourceConstraint
            | Self::UnexpectedRequest => ErrorType::Wait,
        }
    }
}

impl fmt::Display for StanzaCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the sender of a refused stanza may do about it (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    /// Try again with credentials.
    Auth,
    /// Give up.
    Cancel,
    /// Go on: it was a warning.
    Continue,
    /// Try again with other data.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// The value of the 'type' attribute.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }
}

/// Writes `<stream:error>…</stream:error>`, without the stream's end tag (RFC 6120 §4.9.2, ERR-01).
///
/// `application` is an application-specific condition. The prefix `stream` is bound by
/// every header of ours.
pub fn stream_error(
    out: &mut String,
    condition: StreamCondition,
    text: Option<&str>,
    application: Option<Application>,
) {
    //= ERR-01
    Tag::new(out, "stream:error").open();
    Tag::new(out, condition.name())
        .attribute("xmlns", ns::STREAM_ERRORS)
        .empty();
    write_text(out, ns::STREAM_ERRORS, text);
    match application {
        None => {}
        Some(Application::Named(name, namespace)) => {
            Tag::new(out, name).attribute("xmlns", namespace).empty();
        }
        //= SM-09
        Some(Application::HandledCountTooHigh { h, sent }) => {
            Tag::new(out, "handled-count-too-high")
                .attribute("xmlns", ns::MANAGEMENT)
                .attribute("h", &h.to_string())
                .attribute("send-count", &sent.to_string())
                .empty();
        }
    }
    end(out, "stream:error");
}

/// A condition of an application's that goes with one of a stream's (RFC 6120 §4.9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// An element of this name and this namespace.
    Named(&'static str, &'static str),
    /// The peer acknowledged more than it was sent (XEP-0198 §6).
    HandledCountTooHigh {
        /// How much it acknowledged.
        h: u32,
        /// How much it was sent.
        sent: u32,
    },
}

/// Reads a `<stream:error/>`: its condition, and its text for the operator's eyes (ERR-01: nothing acts on the text).
#[must_use]
pub fn read_stream_error(error: &Element) -> (StreamCondition, Option<String>) {
    let condition = defined_condition(error, ns::STREAM_ERRORS).map_or(
        StreamCondition::UndefinedCondition,
        StreamCondition::from_name,
    );
    let text = error
        .child("text", ns::STREAM_ERRORS)
        .map(Element::text)
        .filter(|text| !text.is_empty());
    (condition, text)
}

/// Reads where a `<stream:error/>` with the condition `see-other-host` sends us: the text of that element, whatever it
/// says (RFC 6120 §4.9.3.19).
#[must_use]
pub fn read_other_host(error: &Element) -> Option<String> {
    error
        .child(StreamCondition::SeeOtherHost.name(), ns::STREAM_ERRORS)
        .map(Element::text)
}

/// Writes `<error type='…'>…</error>` in the namespace of the content (RFC 6120 §8.3.2).
pub fn stanza_error(
    out: &mut String,
    condition: StanzaCondition,
    error_type: ErrorType,
    text: Option<&str>,
) {
    Tag::new(out, "error")
        .attribute("type", error_type.name())
        .open();
    Tag::new(out, condition.name())
        .attribute("xmlns", ns::STANZA_ERRORS)
        .empty();
    write_text(out, ns::STANZA_ERRORS, text);
    end(out, "error");
}

/// Reads the condition out of the `<error/>` that `stanza` holds, in whatever namespace that child is (DB-39).
///
/// Without one, or without a defined condition in it, it is `undefined-condition`.
#[must_use]
pub fn read_stanza_error(stanza: &Element) -> StanzaCondition {
    //= DB-39
    stanza
        .children()
        .find(|child| child.name() == "error")
        .and_then(|error| defined_condition(error, ns::STANZA_ERRORS))
        .map_or(
            StanzaCondition::UndefinedCondition,
            StanzaCondition::from_name,
        )
}

fn defined_condition<'a>(error: &'a Element, namespace: &str) -> Option<&'a str> {
    error
        .children()
        .find(|child| child.namespace() == namespace && child.name() != "text")
        .map(Element::name)
}

fn write_text(out: &mut String, namespace: &str, text: Option<&str>) {
    if let Some(text) = text {
        //= ERR-11
        Tag::new(out, "text")
            .attribute("xmlns", namespace)
            .attribute("xml:lang", "en")
            .text(text);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::stanza::fixtures::{element, first_level};

    #[test]
    fn every_name_leads_back_to_its_condition() {
        for condition in StreamCondition::ALL {
            assert_eq!(StreamCondition::from_name(condition.name()), *condition);
        }
        for condition in StanzaCondition::ALL {
            assert_eq!(StanzaCondition::from_name(condition.name()), *condition);
        }
    }

    #[test]
    fn old_and_unknown_names_are_understood() {
        //= ERR-09
        for (name, condition) in [
            ("xml-not-well-formed", StreamCondition::NotWellFormed),
            ("invalid-id", StreamCondition::UndefinedCondition),
            ("bad-format", StreamCondition::BadFormat),
            ("", StreamCondition::UndefinedCondition),
        ] {
            assert_eq!(StreamCondition::from_name(name), condition, "{name}");
        }
        assert_eq!(
            StanzaCondition::from_name("payment-required"),
            StanzaCondition::UndefinedCondition
        );
    }

    #[test]
    fn each_condition_has_the_type_that_tells_the_sender_what_to_do() {
        //= ERR-10
        for (name, error_type) in [
            ("item-not-found", "cancel"),
            ("remote-server-not-found", "cancel"),
            ("remote-server-timeout", "wait"),
            ("remote-connection-failed", "wait"),
            ("policy-violation", "modify"),
            ("not-authorized", "auth"),
            ("forbidden", "auth"),
            ("not-acceptable", "modify"),
            ("resource-constraint", "wait"),
            ("internal-server-error", "cancel"),
            ("service-unavailable", "cancel"),
            ("not-allowed", "cancel"),
            ("bad-request", "modify"),
            ("jid-malformed", "modify"),
        ] {
            assert_eq!(
                StanzaCondition::from_name(name).error_type().name(),
                error_type,
                "{name}"
            );
        }
    }

    #[test]
    fn xml_that_is_refused_has_a_condition() {
        //= ERR-02
        let limits = verona_xml::Limits {
            stanza_bytes_max: 40,
            element_depth_max: 2,
            ..verona_xml::Limits::default()
        };
        for (text, condition, application) in [
            ("<a", None, None),
            ("<a b c/>", Some("not-well-formed"), None),
            ("<!-- x -->", Some("restricted-xml"), None),
            ("<a><b><c/></b></a>", Some("policy-violation"), None),
            (
                "<a>0123456789012345678901234567890123456789</a>",
                Some("policy-violation"),
                Some(("stanza-too-big", ns::ERRORS)),
            ),
        ] {
            let mut scanner = verona_xml::Scanner::new(limits);
            let mut rest = format!("<s xmlns='u'>{text}").into_bytes();
            let refused = loop {
                match scanner.scan(&rest) {
                    Ok(verona_xml::Scan::Header { len, .. }) => drop(rest.drain(..len)),
                    Ok(_) => break None,
                    Err(error) => break Some(StreamCondition::of_xml(&error)),
                }
            };
            let expected = condition.map(|name| (StreamCondition::from_name(name), application));
            assert_eq!(refused, expected, "{text}");
        }
    }

    #[test]
    fn a_stream_error_is_written_and_read_back() {
        //= ERR-01
        //= ERR-11
        let mut out = String::new();
        stream_error(
            &mut out,
            StreamCondition::PolicyViolation,
            Some("too <big>"),
            Some(Application::Named("stanza-too-big", ns::ERRORS)),
        );
        assert_eq!(
            out,
            "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>too &lt;big&gt;</text>\
             <stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>"
        );
        assert_eq!(
            read_stream_error(&element(&out)),
            (
                StreamCondition::PolicyViolation,
                Some("too <big>".to_owned())
            )
        );
    }

    #[test]
    fn the_other_host_is_the_text_of_its_element() {
        //= STREAM-51
        let other = "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[2001:db8::1]:9222\
                     </see-other-host><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>we moved</text></stream:error>";
        assert_eq!(
            read_other_host(&element(other)).as_deref(),
            Some("[2001:db8::1]:9222")
        );
        let (condition, text) = read_stream_error(&element(other));
        assert_eq!(condition, StreamCondition::SeeOtherHost);
        assert_eq!(text.as_deref(), Some("we moved"));
        let foreign = "<stream:error><see-other-host xmlns='urn:x'>capulet.lit</see-other-host></stream:error>";
        assert_eq!(read_other_host(&element(foreign)), None);
        assert_eq!(read_other_host(&element("<stream:error/>")), None);
    }

    #[test]
    fn a_stream_error_without_a_known_condition_is_undefined() {
        for text in [
            "<stream:error/>",
            "<stream:error><x xmlns='urn:x'/></stream:error>",
            "<stream:error><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        ] {
            assert_eq!(
                read_stream_error(&element(text)),
                (StreamCondition::UndefinedCondition, None),
                "{text}"
            );
        }
    }

    #[test]
    fn a_stanza_error_is_found_in_either_namespace_or_is_undefined() {
        //= DB-39
        for (text, condition) in [
            (
                "<message><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
                StanzaCondition::Gone,
            ),
            (
                "<message><x:error xmlns:x='urn:x'><x:y/><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></x:error></message>",
                StanzaCondition::Gone,
            ),
            (
                "<message><error/></message>",
                StanzaCondition::UndefinedCondition,
            ),
            ("<message/>", StanzaCondition::UndefinedCondition),
        ] {
            assert_eq!(read_stanza_error(&element(text)), condition, "{text}");
        }
    }

    #[test]
    fn a_stanza_error_names_type_condition_and_text() {
        let mut out = String::new();
        stanza_error(
            &mut out,
            StanzaCondition::RemoteServerTimeout,
            ErrorType::Cancel,
            Some("no answer"),
        );
        assert_eq!(
            out,
            "<error type='cancel'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>no answer</text></error>"
        );
        let (bytes, _, _) = first_level(&out);
        assert_eq!(bytes.len(), out.len(), "it is one well-formed element");
    }
}
