//! Stream features: what we offer, and what we understand of a peer's offer (RFC 6120 §4.3.2).

use verona_xml::{Element, Tag, end};

use super::announced::Announced;
use super::bidi::{self, BidiSeen};
use super::management::{self, Offered};
use crate::ns;

/// What we offer in `<stream:features/>`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offer {
    pub(super) starttls: Option<StartTls>,
    pub(super) external: bool,
    pub(super) bidi: Option<BidiOffered>,
    pub(super) dialback: bool,
    pub(super) multiplex: bool,
    pub(super) management: Offered,
    pub(super) limits: Announced,
}

/// Under which namespaces bidi is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BidiOffered {
    Standard,
    Both,
}

/// How STARTTLS is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartTls {
    Optional,
    Required,
}

impl Offer {
    pub(super) fn write(self, out: &mut String) {
        //= LIM-15
        Tag::new(out, "stream:features").open();
        match self.starttls {
            //= TLS-02
            Some(StartTls::Optional) => Tag::new(out, "starttls")
                .attribute("xmlns", ns::TLS)
                .empty(),
            //= TLS-03
            Some(StartTls::Required) => {
                Tag::new(out, "starttls").attribute("xmlns", ns::TLS).open();
                Tag::new(out, "required").empty();
                end(out, "starttls");
            }
            None => {}
        }
        //= SASL-03
        //= SASL-04
        if self.external {
            Tag::new(out, "mechanisms")
                .attribute("xmlns", ns::SASL)
                .open();
            Tag::new(out, "mechanism").text("EXTERNAL");
            end(out, "mechanisms");
        }
        //= BIDI-01
        let namespaces: &[&str] = match self.bidi {
            None => &[],
            Some(BidiOffered::Standard) => &[ns::BIDI_FEATURE],
            //= BIDI-04
            Some(BidiOffered::Both) => &[ns::BIDI_FEATURE, ns::BIDI],
        };
        for namespace in namespaces {
            Tag::new(out, "bidi").attribute("xmlns", namespace).empty();
        }
        //= DB-31
        if self.dialback {
            Tag::new(out, "dialback")
                .attribute("xmlns", ns::DIALBACK_FEATURE)
                .open();
            Tag::new(out, "errors").empty();
            end(out, "dialback");
        }
        if self.multiplex {
            Tag::new(out, "multiplex")
                .attribute("xmlns", ns::MULTIPLEX)
                .empty();
        }
        match self.management {
            Offered::No => {}
            Offered::Acknowledgements => management::write_offer(out, false),
            Offered::Resumption => management::write_offer(out, true),
        }
        //= STREAM-60
        // Whoever knows us need not wait for this.
        Tag::new(out, "pipelining")
            .attribute("xmlns", ns::PIPELINING)
            .empty();
        self.limits.write(out);
        end(out, "stream:features");
    }
}

/// What a peer offers, as far as it concerns us; the rest is ignored (STREAM-30).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) starttls: bool,
    pub(super) external: bool,
    pub(super) bidi: Option<BidiSeen>,
    pub(super) dialback: bool,
    pub(super) multiplex: bool,
    pub(super) management: Offered,
    pub(super) pipelining: bool,
    pub(super) limits: Announced,
}

impl Features {
    pub(super) fn read(element: &Element) -> Self {
        let mut features = Self {
            limits: Announced::read(element),
            ..Self::default()
        };
        let (mut acknowledgements, mut resumption) = (false, false);
        for child in element.children() {
            //= BIDI-04
            features.bidi = features.bidi.max(bidi::read_offer(child));
            resumption |= management::read_offer(child) == Some(Offered::Resumption);
            acknowledgements |= management::read_offer(child) == Some(Offered::Acknowledgements);
            match (child.name(), child.namespace()) {
                ("starttls", ns::TLS) => features.starttls = true,
                //= SASL-05
                ("mechanisms", ns::SASL) => {
                    features.external |= child.children().any(|mechanism| {
                        mechanism.is("mechanism", ns::SASL) && mechanism.text().trim() == "EXTERNAL"
                    });
                }
                //= DB-30
                ("dialback", ns::DIALBACK_FEATURE) => features.dialback = true,
                ("multiplex", ns::MULTIPLEX) => features.multiplex = true,
                //= STREAM-60
                ("pipelining", ns::PIPELINING) => features.pipelining = true,
                //= STREAM-30
                (_, _) => {}
            }
        }
        features.management = match (acknowledgements, resumption) {
            (true, true) => Offered::Resumption,
            (true, false) => Offered::Acknowledgements,
            (false, _) => Offered::No,
        };
        features
    }
}
