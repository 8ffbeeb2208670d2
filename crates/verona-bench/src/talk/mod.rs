//! How the load generator gets connections with a server: it speaks as another server would, and does not hurry.
//! Why blocking and by text: what is measured begins when a connection stands, and the servers are known.

mod answer;
mod call;
mod conversation;

pub(crate) use answer::{Answers, PORT};
pub(crate) use call::{Call, Proof};
pub(crate) use conversation::Conversation;

/// A connection over which stanzas may go.
pub(crate) struct Standing {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) tls: rustls::Connection,
    /// What the server has said beyond the negotiation.
    pub(crate) early: Vec<u8>,
    /// The generator's domain.
    pub(crate) ours: String,
    /// Whether stanzas may go both ways.
    pub(crate) is_bidi: bool,
    /// Whether both sides count and acknowledge (XEP-0198).
    pub(crate) is_managed: bool,
}

/// The beginning of a stream between servers.
fn header(from: &str, to: &str, id: Option<&str>) -> String {
    let id = id.map_or(String::new(), |id| format!(" id='{id}'"));
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
         xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
         from='{from}' to='{to}'{id} version='1.0'>"
    )
}
