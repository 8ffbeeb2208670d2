//! The elements of stream management (XEP-0198 §3, §4, §5): read and written.

use verona_xml::{Element, Tag, end};

use crate::ns;

/// An element of stream management.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nonza {
    Enable {
        resume: bool,
        /// Whether its sender takes streams up as we do.
        announced: bool,
    },
    Enabled {
        id: Option<String>,
    },
    Resume {
        id: String,
        h: Option<u32>,
    },
    Resumed {
        h: Option<u32>,
    },
    Failed {
        h: Option<u32>,
    },
    Request,
    Acknowledgement {
        h: Option<u32>,
    },
}

impl Nonza {
    pub(super) fn read(element: &Element) -> Option<Self> {
        let text = |name| element.attribute(name);
        let h = || text("h").and_then(|h| h.trim().parse().ok());
        let is_true = |name| matches!(text(name).map(str::trim), Some("true" | "1"));
        let id = |name| {
            text(name)
                .filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX)
                .map(ToOwned::to_owned)
        };
        Some(match element.name() {
            "enable" => Self::Enable {
                resume: is_true("resume"),
                announced: element.child("resumption", ns::RESUMPTION).is_some(),
            },
            "enabled" => Self::Enabled {
                id: id("id").filter(|_| is_true("resume")),
            },
            "resume" => Self::Resume {
                id: id("previd")?,
                h: h(),
            },
            "resumed" => Self::Resumed { h: h() },
            "failed" => Self::Failed { h: h() },
            REQUEST => Self::Request,
            "a" => Self::Acknowledgement { h: h() },
            _ => return None,
        })
    }
}

/// Offers acknowledgements, and the taking up of streams if `resumption`.
pub(in crate::stream) fn write_offer(out: &mut String, resumption: bool) {
    //= SM-01
    Tag::new(out, "sm")
        .attribute("xmlns", ns::MANAGEMENT)
        .empty();
    if resumption {
        write_resumption(out);
    }
}

/// Says that streams are taken up.
pub(in crate::stream) fn write_resumption(out: &mut String) {
    Tag::new(out, "resumption")
        .attribute("xmlns", ns::RESUMPTION)
        .empty();
}

pub(super) fn write_enable(out: &mut String, resume: bool) {
    let tag = Tag::new(out, "enable").attribute("xmlns", ns::MANAGEMENT);
    match resume {
        true => {
            tag.attribute("resume", "true").open();
            write_resumption(out);
            end(out, "enable");
        }
        false => tag.empty(),
    }
}

pub(super) fn write_enabled(out: &mut String, id: Option<&str>, max_seconds: u64) {
    let tag = Tag::new(out, "enabled").attribute("xmlns", ns::MANAGEMENT);
    match id {
        Some(id) => tag
            .attribute("id", id)
            .attribute("resume", "true")
            .attribute("max", &max_seconds.to_string())
            .empty(),
        None => tag.empty(),
    }
}

pub(super) fn write_resume(out: &mut String, id: &str, h: u32) {
    Tag::new(out, "resume")
        .attribute("xmlns", ns::MANAGEMENT)
        .attribute("h", &h.to_string())
        .attribute("previd", id)
        .empty();
}

pub(super) fn write_resumed(out: &mut String, id: &str, h: u32) {
    Tag::new(out, "resumed")
        .attribute("xmlns", ns::MANAGEMENT)
        .attribute("h", &h.to_string())
        .attribute("previd", id)
        .empty();
}

pub(super) fn write_failed(out: &mut String, condition: &str, h: Option<u32>) {
    let tag = Tag::new(out, "failed").attribute("xmlns", ns::MANAGEMENT);
    match h {
        Some(h) => tag.attribute("h", &h.to_string()).open(),
        None => tag.open(),
    }
    Tag::new(out, condition)
        .attribute("xmlns", ns::STANZA_ERRORS)
        .empty();
    end(out, "failed");
}

pub(super) fn write_request(out: &mut String) {
    Tag::new(out, REQUEST)
        .attribute("xmlns", ns::MANAGEMENT)
        .empty();
}

pub(super) fn write_acknowledgement(out: &mut String, h: u32) {
    Tag::new(out, "a")
        .attribute("xmlns", ns::MANAGEMENT)
        .attribute("h", &h.to_string())
        .empty();
}

/// The name of a question.
pub(super) const REQUEST: &str = "r";
/// Not now.
pub(super) const UNEXPECTED: &str = "unexpected-request";
/// Not here.
pub(super) const UNIMPLEMENTED: &str = "feature-not-implemented";
/// No such stream.
pub(super) const NOT_FOUND: &str = "item-not-found";

/// A name of a stream that is longer is none of ours.
const ID_BYTES_MAX: usize = 256;
