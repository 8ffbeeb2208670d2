//! XEP-0288: the offer and the request.
//!
//! Two namespaces, one local name: what is understood under which is decided here alone (BIDI-04).

use std::time::Instant;

use verona_xml::{Element, Tag, end};

use super::Flow;
use super::announced::Announced;
use super::context::Context;
use super::features::BidiOffered;
use super::management::{self, Offered};
use crate::addr::Domain;
use crate::learned::{Outcome, Topic};
use crate::ns;
use crate::policy::{BidiOffer, BidiPolicy};

/// Where a stream that we accepted stands with bidi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// We did not offer it on this stream, so it cannot be asked for (BIDI-11).
    NotOffered,
    /// We offered it.
    Offered,
    /// The peer requested it (on a stream that we opened: we did).
    Requested,
}

impl Agreement {
    /// After an offer, or none.
    pub(super) fn offered(offer: Option<BidiOffered>) -> Self {
        match offer {
            Some(BidiOffered::Standard | BidiOffered::Both) => Self::Offered,
            None => Self::NotOffered,
        }
    }

    /// Which ways stanzas may flow.
    pub(super) fn flow(self) -> Flow {
        match self {
            Self::NotOffered | Self::Offered => Flow::Unidirectional,
            Self::Requested => Flow::Bidirectional,
        }
    }
}

/// A peer's offer; the standard one weighs more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BidiSeen {
    /// Under the request's namespace, as ejabberd 24.10 to 24.12 make it.
    OldNamespace,
    /// As XEP-0288 says.
    Standard,
}

/// What a child of `<stream:features/>` offers.
pub(super) fn read_offer(feature: &Element) -> Option<BidiSeen> {
    //= BIDI-04
    match (feature.name(), feature.namespace()) {
        ("bidi", ns::BIDI_FEATURE) => Some(BidiSeen::Standard),
        ("bidi", ns::BIDI) => Some(BidiSeen::OldNamespace),
        (_, _) => None,
    }
}

/// How we offer it to `remote`, if at all.
pub(super) fn offer(
    remote: Option<&Domain>,
    context: &Context,
    now: Instant,
) -> Option<BidiOffered> {
    match context.policy.bidi {
        BidiPolicy::Auto => {}
        BidiPolicy::Off => return None,
    }
    let uses_old = || {
        remote.is_some_and(|remote| {
            context.learned(remote, Topic::OldBidiNamespace, now) == Some(Outcome::Works)
        })
    };
    //= BIDI-04
    Some(match context.policy.bidi_offer {
        BidiOffer::Both => BidiOffered::Both,
        BidiOffer::Auto if uses_old() => BidiOffered::Both,
        BidiOffer::Auto | BidiOffer::Standard => BidiOffered::Standard,
    })
}

/// Whether a first-level element requests bidi; its children are free (BIDI-66).
pub(super) fn is_request(element: &Element) -> bool {
    //= BIDI-66
    element.is("bidi", ns::BIDI)
}

/// Whether the request tells that its sender copes with many pairs and reverse requests.
pub(super) fn multiplexes(request: &Element) -> bool {
    request.child("multiplex", ns::MULTIPLEX).is_some()
}

/// Whether the request tells that its sender will take up lost streams, and so enable stream management at once.
pub(super) fn resumes(request: &Element) -> bool {
    request.child("resumption", ns::RESUMPTION).is_some()
}

/// Writes the request, with our limits (XEP-0478 §3.2). It says that we multiplex only to a peer that
/// said so, now or before.
pub(super) fn write_request(
    out: &mut String,
    limits: Announced,
    multiplex: bool,
    resumption: Offered,
) {
    Tag::new(out, "bidi").attribute("xmlns", ns::BIDI).open();
    //= LIM-04
    //= BIDI-65
    limits.write(out);
    if multiplex {
        Tag::new(out, "multiplex")
            .attribute("xmlns", ns::MULTIPLEX)
            .empty();
    }
    match resumption {
        Offered::Resumption => management::write_resumption(out),
        Offered::Acknowledgements | Offered::No => {}
    }
    end(out, "bidi");
}
