//! SASL, EXTERNAL only: elements and failures (RFC 6120 §6, XEP-0178).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use verona_xml::{Element, Tag, end};

use super::error::quoted;
use crate::addr::Domain;
use crate::ns;

/// Why an authentication failed (RFC 6120 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaslFailure {
    Aborted,
    EncryptionRequired,
    IncorrectEncoding,
    InvalidAuthzid,
    InvalidMechanism,
    NotAuthorized,
}

impl SaslFailure {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::NotAuthorized => "not-authorized",
        }
    }
}

pub(super) fn is_auth(element: &Element) -> bool {
    element.is("auth", ns::SASL)
}

pub(super) fn is_abort(element: &Element) -> bool {
    element.is("abort", ns::SASL)
}

pub(super) fn is_success(element: &Element) -> bool {
    element.is("success", ns::SASL)
}

pub(super) fn is_failure(element: &Element) -> bool {
    element.is("failure", ns::SASL)
}

/// Whose identity an `<auth/>` asks for: `None` means that of the stream's header (SASL-08, SASL-10).
pub(super) fn read_auth(element: &Element) -> Result<Option<Domain>, SaslFailure> {
    //= SASL-13
    if element.attribute("mechanism") != Some("EXTERNAL") {
        return Err(SaslFailure::InvalidMechanism);
    }
    let text = element.text();
    //= SASL-12
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    //= SASL-08
    if text.is_empty() || text == "=" {
        return Ok(None);
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| SaslFailure::IncorrectEncoding)?;
    let authzid = String::from_utf8(bytes).map_err(|_| SaslFailure::InvalidAuthzid)?;
    //= SASL-09
    Domain::parse(&authzid)
        .map(Some)
        .map_err(|_| SaslFailure::InvalidAuthzid)
}

/// Writes `<auth/>` with our domain as the authorisation identity: the form that every peer takes (SASL-07).
pub(super) fn write_auth(out: &mut String, local: &Domain) {
    //= SASL-07
    Tag::new(out, "auth")
        .attribute("xmlns", ns::SASL)
        .attribute("mechanism", "EXTERNAL")
        .text(&STANDARD.encode(local.as_str()));
}

pub(super) fn write_success(out: &mut String) {
    //= SASL-14
    Tag::new(out, "success")
        .attribute("xmlns", ns::SASL)
        .empty();
}

pub(super) fn write_failure(out: &mut String, failure: SaslFailure) {
    Tag::new(out, "failure").attribute("xmlns", ns::SASL).open();
    Tag::new(out, failure.name()).empty();
    end(out, "failure");
}

/// The condition of a peer's `<failure/>` and its text, for people (SASL-23).
pub(super) fn read_failure(element: &Element) -> String {
    //= SASL-23
    let condition = element
        .children()
        .find(|child| child.name() != "text")
        .map_or("not-authorized", |child| child.name());
    quoted(&match element.child("text", ns::SASL).map(Element::text) {
        Some(text) if !text.is_empty() => format!("{condition}: {text}"),
        Some(_) | None => condition.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn read(inner: &str, mechanism: &str) -> Result<Option<String>, SaslFailure> {
        let xml = format!(
            "<auth xmlns='{}' mechanism='{mechanism}'>{inner}</auth>",
            ns::SASL
        );
        let element = Element::parse(xml.as_bytes(), &verona_xml::Scope::default()).unwrap();
        read_auth(&element).map(|domain| domain.map(|domain| domain.to_string()))
    }

    #[test]
    fn the_authorisation_identity_is_read_in_every_legal_form() {
        //= SASL-08
        //= SASL-12
        let capulet = || Ok(Some("capulet.lit".to_owned()));
        for (inner, expected) in [
            ("Y2FwdWxldC5saXQ=", capulet()),
            ("\n  Y2FwdWxldC5saXQ=\n", capulet()),
            ("=", Ok(None)),
            ("", Ok(None)),
            ("Y2Fw dWxldC5saXQ=", Err(SaslFailure::IncorrectEncoding)),
            ("Y2FwdWxldC5saXR=", Err(SaslFailure::IncorrectEncoding)),
            ("Y2FwdWxldC5saXQ", Err(SaslFailure::IncorrectEncoding)),
            ("YSBi", Err(SaslFailure::InvalidAuthzid)),
            ("/////w==", Err(SaslFailure::InvalidAuthzid)),
        ] {
            assert_eq!(read(inner, "EXTERNAL"), expected, "{inner:?}");
        }
        assert_eq!(
            read("AGEAYg==", "PLAIN"),
            Err(SaslFailure::InvalidMechanism)
        );
    }
}
