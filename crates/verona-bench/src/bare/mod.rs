//! The bare limits: what the parts cost without a server around them.
//! Why in the same run: a limit that was measured on another day is none.

pub(crate) mod alone;
pub(crate) mod relay;

/// What begins a stream, for a scanner that gets only what follows.
const HEADER: &[u8] = b"<stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
