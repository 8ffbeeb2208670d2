//! Shows every element that crosses a connection, for demonstrations and debugging.
//!
//! Payload never reaches the log; whoever wants to see it installs a trace on purpose.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::status::LinkRole;

/// A function that is shown what crosses the connections. It is called in the connection's task: it must not block.
#[derive(Clone)]
pub struct Trace(Arc<dyn Fn(&Traced<'_>) + Send + Sync>);

impl Trace {
    /// Shows everything to `function`.
    pub fn new(function: impl Fn(&Traced<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(function))
    }

    pub(crate) fn show(&self, traced: &Traced<'_>) {
        (self.0)(traced);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace(..)")
    }
}

/// A piece of a stream's conversation.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    /// The connection, as in [`crate::status::Link::id`].
    pub link: u64,
    /// Who opened the connection.
    pub role: LinkRole,
    /// Our end.
    pub local_address: SocketAddr,
    /// The other end.
    pub peer_address: SocketAddr,
    /// Whether TLS protects it.
    pub secured: bool,
    /// What happened.
    pub what: TracedWhat<'a>,
}

/// What a [`Trace`] is shown.
#[derive(Clone, Copy, Debug)]
pub enum TracedWhat<'a> {
    /// We wrote these bytes in one go: headers, elements, stanzas.
    Sent(&'a [u8]),
    /// We read these bytes in one go.
    Received(&'a [u8]),
    /// The TLS handshake succeeded.
    Secured,
    /// The connection ended.
    Closed,
}
