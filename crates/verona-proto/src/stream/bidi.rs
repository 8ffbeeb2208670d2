//! XEP-0288: the offer and the request.
//!
//! Two namespaces, one local name: what is understood under which is decided here alone (BIDI-04).

use verona_xml::{Element, Tag, end};

use crate::ns;

/// Whether a child of `<stream:features/>` offers bidi. ejabberd 24.10 to 24.12 offers under the request's namespace.
pub(super) fn is_offer(feature: &Element) -> bool {
    //= BIDI-04
    feature.is("bidi", ns::BIDI_FEATURE) || feature.is("bidi", ns::BIDI)
}

/// Whether a first-level element requests bidi; its children are free (BIDI-66).
pub(super) fn is_request(element: &Element) -> bool {
    element.is("bidi", ns::BIDI)
}

/// Whether the request tells that its sender copes with many pairs and reverse requests.
pub(super) fn multiplexes(request: &Element) -> bool {
    request.child("multiplex", ns::MULTIPLEX).is_some()
}

/// Writes the request. It says that we multiplex only to a peer that said so before.
pub(super) fn write_request(out: &mut String, multiplex: bool) {
    match multiplex {
        false => Tag::new(out, "bidi").attribute("xmlns", ns::BIDI).empty(),
        true => {
            Tag::new(out, "bidi").attribute("xmlns", ns::BIDI).open();
            Tag::new(out, "multiplex")
                .attribute("xmlns", ns::MULTIPLEX)
                .empty();
            end(out, "bidi");
        }
    }
}
