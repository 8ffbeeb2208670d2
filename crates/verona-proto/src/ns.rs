//! Every namespace that verona writes or understands, once.
//!
//! A namespace is compared byte by byte, so a typing error is a protocol error; nobody else spells one out.

/// The XML stream itself: `<stream:stream>`, `<stream:features>`, `<stream:error>` (RFC 6120 §4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// Content of a server-to-server stream (RFC 6120 §4.8.3).
pub const SERVER: &str = "jabber:server";
/// Content of a client-to-server stream; a component library may qualify its stanzas with it by mistake.
pub const CLIENT: &str = "jabber:client";
/// Content of a component stream (XEP-0114).
pub const COMPONENT: &str = "jabber:component:accept";
/// `<db:result/>` and `<db:verify/>` (XEP-0220).
pub const DIALBACK: &str = "jabber:server:dialback";
/// The dialback stream feature (XEP-0220 §2.4).
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// The request for bidirectional use (XEP-0288 §2.2).
pub const BIDI: &str = "urn:xmpp:bidi";
/// The offer of bidirectional use (XEP-0288 §2.1).
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Stream error conditions (RFC 6120 §4.9).
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Stanza error conditions (RFC 6120 §8.3).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// Application-specific conditions of XEP-0205 (`<stanza-too-big/>`).
pub const ERRORS: &str = "urn:xmpp:errors";
/// Stream limits (XEP-0478).
pub const LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Ours: many pairs on one stream and requests in the reverse direction are understood here.
pub const MULTIPLEX: &str = "urn:verona:multiplex:0";
/// Stream management (XEP-0198).
pub const MANAGEMENT: &str = "urn:xmpp:sm:3";
/// Ours: a lost stream is taken up again, by either side (XEP-0198 §5 between servers).
pub const RESUMPTION: &str = "urn:verona:resumption:0";
/// What is asked for need not wait for what was asked for before (XEP-0305).
pub const PIPELINING: &str = "urn:xmpp:features:pipelining";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Service discovery, information (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Service discovery, items (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Software version (XEP-0092).
pub const VERSION: &str = "jabber:iq:version";
