//! What one peer may make the scanner hold, because a parser without bounds is a way to fill somebody's memory.

/// Bounds on the XML of one stream, each checked while the thing grows and never only afterwards.
///
/// A peer that has not proved who it is gets small ones; [`crate::Scanner::set_limits`] widens them later.
//= LIM-09
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the stream header's start tag, from `<` to `>` (8 KiB).
    pub header_bytes_max: usize,
    /// Wire bytes of one first-level element, from `<` to `>` (512 KiB, what Prosody and ejabberd allow servers; `LIM-01`).
    pub stanza_bytes_max: usize,
    /// Levels of nesting, a first-level element being level 1 (64). Values above [`Limits::DEPTH_CEILING`] count as that.
    pub element_depth_max: usize,
    /// Elements in one first-level element, itself included (4,096).
    pub elements_max: usize,
    /// Attributes of one start tag, namespace declarations not counted (64).
    pub attributes_max: usize,
    /// Bytes between the quotes of one attribute, as written on the wire (8 KiB).
    pub attribute_bytes_max: usize,
    /// Namespace declarations in force at once inside a first-level element, and those of the stream header (32 each).
    pub namespaces_max: usize,
    /// Bytes of one name, its prefix included (1,024).
    pub name_bytes_max: usize,
}

impl Limits {
    /// No element nests deeper than this whatever the limits say, so that trees built of elements stay shallow.
    pub const DEPTH_CEILING: usize = 128;

    pub(crate) fn depth(&self) -> usize {
        self.element_depth_max.min(Self::DEPTH_CEILING)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes_max: 8 * 1024,
            stanza_bytes_max: 512 * 1024,
            element_depth_max: 64,
            elements_max: 4096,
            attributes_max: 64,
            attribute_bytes_max: 8 * 1024,
            namespaces_max: 32,
            name_bytes_max: 1024,
        }
    }
}
