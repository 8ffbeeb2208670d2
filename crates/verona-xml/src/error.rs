//! Why XML was refused: the kind decides the stream error, the words are for the operator.

use std::fmt;

/// A peer sent bytes that are not the XML that XMPP allows, or more of it than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    what: &'static str,
}

impl Error {
    /// Which stream error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was wrong, as the end of a sentence; for a limit, its name.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    pub(crate) const fn new(kind: ErrorKind, what: &'static str) -> Self {
        Self { kind, what }
    }

    //= STREAM-36
    pub(crate) const fn not_well_formed(what: &'static str) -> Self {
        Self::new(ErrorKind::NotWellFormed, what)
    }

    //= STREAM-35
    pub(crate) const fn restricted(what: &'static str) -> Self {
        Self::new(ErrorKind::Restricted, what)
    }

    //= STREAM-37
    pub(crate) const fn encoding(what: &'static str) -> Self {
        Self::new(ErrorKind::UnsupportedEncoding, what)
    }

    //= LIM-02
    pub(crate) const fn too_large(what: &'static str) -> Self {
        Self::new(ErrorKind::TooLarge, what)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ErrorKind::NotWellFormed => "the XML is not well-formed",
            ErrorKind::Restricted => "the XML uses what XMPP forbids",
            ErrorKind::UnsupportedEncoding => "the encoding is not UTF-8",
            ErrorKind::TooLarge => "the XML exceeds a limit",
        };
        write!(f, "{kind}: {}", self.what)
    }
}

impl std::error::Error for Error {}

/// The stream error that an [`Error`] becomes (RFC 6120 §4.9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// `<not-well-formed/>`: not XML, or not namespace-well-formed (RFC 6120 §4.9.3.13).
    NotWellFormed,
    /// `<restricted-xml/>`: XML that XMPP leaves out, such as comments and DTDs (RFC 6120 §4.9.3.18).
    Restricted,
    /// `<unsupported-encoding/>`: not UTF-8 (RFC 6120 §4.9.3.22).
    UnsupportedEncoding,
    /// `<policy-violation/>`: one of the [`crate::Limits`] is exceeded (RFC 6120 §4.9.3.14).
    TooLarge,
}
