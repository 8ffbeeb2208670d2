//! STARTTLS: the three elements (RFC 6120 §5).

use verona_xml::{Element, Tag};

use crate::ns;

pub(super) fn is_request(element: &Element) -> bool {
    element.is("starttls", ns::TLS)
}

pub(super) fn is_proceed(element: &Element) -> bool {
    element.is("proceed", ns::TLS)
}

pub(super) fn is_failure(element: &Element) -> bool {
    element.is("failure", ns::TLS)
}

pub(super) fn write_request(out: &mut String) {
    Tag::new(out, "starttls")
        .attribute("xmlns", ns::TLS)
        .empty();
}

pub(super) fn write_proceed(out: &mut String) {
    Tag::new(out, "proceed").attribute("xmlns", ns::TLS).empty();
}

pub(super) fn write_failure(out: &mut String) {
    Tag::new(out, "failure").attribute("xmlns", ns::TLS).empty();
}
