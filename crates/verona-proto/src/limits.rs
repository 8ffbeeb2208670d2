//! Every bound that verona keeps: unit, default and reason.
//!
//! A number that limits a peer, a component or a wait stands here and nowhere else, so that an operator
//! can read and change them all in one place (`limits = { … }` in the configuration), and is told by name which one
//! took effect ([`Limit`], [`LimitCounts`], `docs/limits.md`).

#[cfg(test)]
mod page;
mod reached;
mod xml;

use std::fmt;
use std::time::Duration;

pub use reached::LimitCounts;
pub use xml::Sender;

/// Makes of one table the numbers ([`Limits`]) and the names ([`Limit`]). A row has what it bounds, the name in the
/// configuration and in the code, whose it is, the default, and what happens when it is reached.
macro_rules! limits {
    ($($(#[doc = $about:literal])+ $name:ident / $limit:ident for $scope:ident = $default:expr, $effect:literal;)+) => {
        /// The bounds in force for a peer, a component or the whole engine. Every field can be set by its name
        /// ([`Limits::set`]).
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $about])+ pub $name: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// The number of one of them.
            #[must_use]
            pub fn of(&self, limit: Limit) -> u64 {
                match limit {
                    $(Limit::$limit => self.$name,)+
                }
            }

            fn field(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }

        /// One of the [`Limits`], by name: which one took effect. They are as many as there are fields, whoever connects:
        /// no peer makes another.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit {
            $(#[doc = concat!("[`Limits::", stringify!($name), "`]: ", $effect, ".")] $limit,)+
        }

        impl Limit {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$limit,)+];

            /// Its name in the configuration and in the metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$limit => stringify!($name),)+
                }
            }

            /// Whose it is.
            #[must_use]
            pub const fn scope(self) -> Scope {
                match self {
                    $(Self::$limit => Scope::$scope,)+
                }
            }

            /// What it bounds, as a sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$limit => concat!($($about,)+).trim_ascii(),)+
                }
            }

            /// What happens when it is reached, as a sentence without its end.
            #[must_use]
            pub const fn effect(self) -> &'static str {
                match self {
                    $(Self::$limit => $effect,)+
                }
            }
        }

        const NAMES: &[&str] = &[$(stringify!($name),)+];
    };
}

limits! {
    /// Bytes of one stanza, from its `<` to its last `>` (LIM-01). 512 KiB: what Prosody and ejabberd take.
    stanza_bytes_max / StanzaBytesMax for Peer = 512 * 1024,
        "the stream ends with `policy-violation`; one that only grows beyond it by what it takes from the stream's header is returned";
    /// Bytes of one element before the peer has authenticated (LIM-09). Headers, keys and certificates' names fit easily.
    negotiation_bytes_max / NegotiationBytesMax for Peer = 16 * 1024,
        "the stream ends with `policy-violation`";
    /// Elements that a peer may send before it has an authorised pair (LIM-09).
    negotiation_elements_max / NegotiationElementsMax for Peer = 64,
        "the stream ends with `policy-violation`";
    /// Nesting of one stanza (LIM-13). Real payloads stay below 20.
    element_depth_max / ElementDepthMax for Peer = 64,
        "the stream ends with `policy-violation`";
    /// Elements of one stanza (LIM-13).
    elements_max / ElementsMax for Peer = 4096,
        "the stream ends with `policy-violation`";
    /// Attributes of one element (LIM-13).
    attributes_max / AttributesMax for Peer = 64,
        "the stream ends with `policy-violation`";
    /// Bytes of one attribute's value (LIM-13).
    attribute_bytes_max / AttributeBytesMax for Peer = 8 * 1024,
        "the stream ends with `policy-violation`";
    /// Namespace declarations in scope at once inside one stanza (LIM-13).
    namespaces_max / NamespacesMax for Peer = 32,
        "the stream ends with `policy-violation`";
    /// Seconds from connecting or accepting to the first authorised pair (STREAM-57).
    negotiation_seconds / NegotiationSeconds for Peer = 30,
        "the stream ends with `connection-timeout`; the next server of the domain is tried";
    /// Seconds for the same when a dialback key is being verified on the way (STREAM-57).
    negotiation_dialback_seconds / NegotiationDialbackSeconds for Peer = 60,
        "the stream ends with `connection-timeout`";
    /// Seconds that a peer which nothing can prove under its policy is heard: long enough to have a key of ours checked
    /// (SASL-25).
    unprovable_seconds / UnprovableSeconds for Peer = 5,
        "the stream ends with `policy-violation`";
    /// Seconds that a first stanza waits for a bidirectional stream which its peer is just opening (BIDI-56).
    crossing_seconds / CrossingSeconds for Peer = 2,
        "a connection of our own is opened";
    /// Seconds without a stanza after which a stream of ours is closed that crossed with one of the peer's (BIDI-53).
    converge_seconds / ConvergeSeconds for Peer = 30,
        "the stream is closed in good order";
    /// Seconds that a request of ours may wait for its `<db:result/>` (DB-07).
    dialback_answer_seconds / DialbackAnswerSeconds for Peer = 45,
        "the pair looks for another way";
    /// Seconds that the authoritative server may take, connection included (LIM-14).
    verification_seconds / VerificationSeconds for Peer = 30,
        "the peer that sent the key gets `remote-server-timeout`";
    /// Seconds for a TLS handshake (LIM-14).
    tls_handshake_seconds / TlsHandshakeSeconds for Everybody = 10,
        "the connection ends; the next server of the domain is tried";
    /// Seconds to find out what DNS and the web say of the certificate of a peer that connected to us, before it gets our
    /// features (DNS-19, DNS-24).
    attestation_seconds / AttestationSeconds for Everybody = 5,
        "the peer is judged without what was not found out";
    /// Seconds for one TCP connection attempt (LIM-14).
    connect_seconds / ConnectSeconds for Everybody = 10,
        "the next server of the domain is tried";
    /// Seconds for the discovery of a domain's servers (LIM-14).
    dns_seconds / DnsSeconds for Everybody = 10,
        "the domain counts as unreachable: what waits for it is returned";
    /// Seconds for one attempt to reach a domain, all its servers together (LIM-14).
    attempt_seconds / AttemptSeconds for Everybody = 60,
        "what waits for the domain is returned with `remote-server-timeout`";
    /// Seconds between our `</stream:stream>` and the end of the connection, should the peer not answer (STREAM-46).
    close_seconds / CloseSeconds for Peer = 5,
        "the connection ends without the other side's last word";
    /// Seconds without a stanza in either direction after which a stream that we opened is closed (STREAM-55); one that we
    /// accepted, after twice that.
    idle_seconds / IdleSeconds for Peer = 15 * 60,
        "the stream is closed in good order";
    /// Seconds without our sending anything after which white space keeps the stream alive (STREAM-54).
    //= STREAM-54
    keepalive_seconds / KeepaliveSeconds for Peer = 5 * 60,
        "white space is sent, or a question about acknowledgements";
    /// Seconds that a peer may take to acknowledge what it was asked about, or to say whether a stream is taken up again
    /// (SM-17).
    acknowledgement_seconds / AcknowledgementSeconds for Peer = 30,
        "the stream counts as lost";
    /// Seconds for which a lost stream can be taken up again. What is uncertain waits as long for its answer (SM-12).
    resume_seconds / ResumeSeconds for Peer = 120,
        "the stream is let go, and what is uncertain is returned or sent again (`on_uncertain`)";
    /// Stanzas of one stream that the peer has not acknowledged; then no more are sent until it does (SM-18).
    unacknowledged_stanzas_max / UnacknowledgedStanzasMax for Peer = 1024,
        "no stanza is sent on the stream until the peer acknowledges some";
    /// Lost streams that can be taken up again; the oldest are forgotten first.
    lost_streams_max / LostStreamsMax for Everybody = 16_384,
        "the oldest is let go as if its time were over";
    /// Seconds without a peer or component taking a byte of what is written to it, after which its connection ends (LIM-12).
    write_stall_seconds / WriteStallSeconds for Everybody = 40,
        "the connection ends";
    /// Bytes a second that one peer's connection or one component may send, beyond a burst of one second's worth; then it
    /// is not read for a while (LIM-11). 128 MiB: nobody who means well sends that much.
    bytes_per_second_max / BytesPerSecondMax for Everybody = 128 * 1024 * 1024,
        "the connection is not read for a while; nothing is lost";
    /// Domain pairs of one stream (LIM-10).
    pairs_per_stream_max / PairsPerStreamMax for Peer = 256,
        "the peer's key is answered with `resource-constraint`; a pair of ours gets a stream of its own";
    /// Keys of unproven pairs that may await a verdict on one stream (LIM-09, DB-53).
    verifications_per_stream_max / VerificationsPerStreamMax for Peer = 4,
        "the key is answered with `resource-constraint`";
    /// Unsolicited or unknown elements after which a stream is closed (BIDI-41, STREAM-41).
    irregular_elements_max / IrregularElementsMax for Peer = 5,
        "the stream ends with `policy-violation`";
    /// Failed `<auth/>` after which a stream is closed (SASL-21).
    sasl_failures_max / SaslFailuresMax for Peer = 3,
        "the stream ends with `policy-violation`";
    /// Keys of peers at one address that await their verdict (DB-53): nobody may use up what all share.
    verifications_per_address_max / VerificationsPerAddressMax for Everybody = 16,
        "the key is answered with `resource-constraint`";
    /// Verifications under way at once, those that wait for their turn included, all peers together (DB-53); a quarter
    /// of them at most for domains that end in the same two labels.
    verifications_pending_max / VerificationsPendingMax for Everybody = 256,
        "the key is answered with `resource-constraint`";
    /// Seconds for which a domain that could not be asked about a key is not asked again, whoever names it (DB-53). Short,
    /// for a server that has just started may claim its domain a moment before it listens.
    verification_retry_seconds / VerificationRetrySeconds for Everybody = 5,
        "a key of the domain is answered as the one before, and nobody is asked";
    /// Attempts to reach a domain under way at once: a restart is no storm.
    attempts_concurrent_max / AttemptsConcurrentMax for Everybody = 200,
        "the attempt waits for its turn";
    /// Of them, and apart from them of verifications under way, towards domains that end in the same two labels: one site
    /// cannot use up what all share.
    attempts_per_site_max / AttemptsPerSiteMax for Everybody = 25,
        "the attempt or the verification waits for its turn";
    /// Connections that we open to one address (IPv4, or an IPv6 /64) within any second, whatever leads there; half of
    /// them at most for peers that have proven nothing. A domain's owner can make a thousand others point at a victim. An
    /// `address` of a `[[peer]]` is dialled without.
    dials_per_address_max / DialsPerAddressMax for Everybody = 10,
        "the connection waits, up to `dial_wait_seconds`";
    /// Seconds that a connection waits because of that; what would wait longer fails.
    dial_wait_seconds / DialWaitSeconds for Everybody = 10,
        "the connection is not opened; the next server of the domain is tried";
    /// Stanzas that wait for one domain pair, those not yet known to be written included (ROUTE-23).
    outbox_stanzas_max / OutboxStanzasMax for Everybody = 16_384,
        "the sender is not read for a moment where that helps; then the stanza is returned with `resource-constraint`";
    /// Bytes that wait for one domain pair (ROUTE-23).
    outbox_bytes_max / OutboxBytesMax for Everybody = 4 * 1024 * 1024,
        "the sender is not read for a moment where that helps; then the stanza is returned with `resource-constraint`";
    /// Seconds that a stanza may wait for a stream before it is returned to its sender (ROUTE-24).
    outbox_age_seconds / OutboxAgeSeconds for Everybody = 60,
        "the stanza is returned with `remote-server-timeout`";
    /// Bytes that wait in all queues together, of pairs and of components, what holds the stanzas included. Whoever has
    /// much gets no more while others might need it; a sixteenth is for errors.
    outboxes_bytes_max / OutboxesBytesMax for Everybody = 256 * 1024 * 1024,
        "the stanza is returned with `resource-constraint`";
    /// Domain pairs in all.
    pairs_max / PairsMax for Everybody = 100_000,
        "the stanza is returned with `resource-constraint`";
    /// Bytes that wait for one component.
    component_backlog_bytes_max / ComponentBacklogBytesMax for Everybody = 4 * 1024 * 1024,
        "the sender is not read for a moment; then the stanza is returned with `resource-constraint`";
    /// Stanzas that wait for one component.
    component_backlog_stanzas_max / ComponentBacklogStanzasMax for Everybody = 16_384,
        "the sender is not read for a moment; then the stanza is returned with `resource-constraint`";
    /// Seconds that what waits for a component which left waits for its return (COMP-13). 10: a bridge restarts in less,
    /// and nobody has given up on a request by then.
    component_reconnect_seconds / ComponentReconnectSeconds for Everybody = 10,
        "what waits is returned with `service-unavailable`";
    /// Seconds for a component's handshake (COMP-08).
    component_handshake_seconds / ComponentHandshakeSeconds for Everybody = 30,
        "the connection ends with `connection-timeout`";
    /// Connections to the component listeners, those that have not shaken hands included (LIM-09).
    component_connections_max / ComponentConnectionsMax for Everybody = 1024,
        "the new connection is closed at once";
    /// Streams that one address (IPv4, or an IPv6 /64) may have open towards us (LIM-08).
    streams_per_address_max / StreamsPerAddressMax for Everybody = 32,
        "the new connection is closed at once";
    /// Streams towards us that have not authenticated, all addresses together (LIM-08).
    negotiations_max / NegotiationsMax for Everybody = 200,
        "the new connection is closed at once";
    /// Seconds of the shortest wait after a failed attempt; it doubles with each failure (STREAM-56).
    retry_seconds_min / RetrySecondsMin for Everybody = 1,
        "the domain is left alone for at least half of it";
    /// Seconds of the longest wait after failed attempts (STREAM-56).
    retry_seconds_max / RetrySecondsMax for Everybody = 300,
        "the wait does not grow any more";
    /// Seconds for finishing everything after SIGTERM.
    drain_seconds / DrainSeconds for Everybody = 10,
        "what still waits is returned, and the process ends";
    /// Bytes of messages that the journal keeps for one domain; the next is returned to its sender. As much as sixteen
    /// full outboxes hold.
    journal_bytes_max / JournalBytesMax for Everybody = 64 * 1024 * 1024,
        "the message is returned with `resource-constraint`";
    /// Messages that the journal keeps for one domain, likewise.
    journal_entries_max / JournalEntriesMax for Everybody = 100_000,
        "the message is returned with `resource-constraint`";
}

/// Whose number a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each peer may have another one.
    Peer,
    /// There is one for all.
    Everybody,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Limits {
    /// Sets the limit called `name`, as the configuration does.
    ///
    /// # Errors
    /// [`BadLimit`] when there is no such limit, or when the value would break a rule of the protocol.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), BadLimit> {
        //= LIM-01
        if name == "stanza_bytes_max" && value < STANZA_BYTES_FLOOR {
            return Err(BadLimit::BelowFloor(STANZA_BYTES_FLOOR));
        }
        let floor = match name {
            // One for us and one for strangers.
            "dials_per_address_max" => 2,
            // Not at all.
            "component_reconnect_seconds" => 0,
            _ => 1,
        };
        if value < floor {
            return Err(BadLimit::BelowFloor(floor));
        }
        match self.field(name) {
            Some(field) => {
                *field = value;
                Ok(())
            }
            None => Err(BadLimit::Unknown),
        }
    }

    /// The names that [`Limits::set`] knows.
    #[must_use]
    pub fn names() -> &'static [&'static str] {
        NAMES
    }

    /// The scanner's limits before the peer has authenticated: small, whoever it is (LIM-09).
    #[must_use]
    pub fn negotiation_xml(&self) -> verona_xml::Limits {
        verona_xml::Limits {
            stanza_bytes_max: size(self.negotiation_bytes_max),
            element_depth_max: size(self.element_depth_max.min(8)),
            elements_max: size(self.elements_max.min(256)),
            ..self.xml()
        }
    }

    /// The scanner's limits once the peer has authenticated.
    #[must_use]
    pub fn xml(&self) -> verona_xml::Limits {
        verona_xml::Limits {
            header_bytes_max: size(self.negotiation_bytes_max.min(8 * 1024)),
            stanza_bytes_max: size(self.stanza_bytes_max),
            element_depth_max: size(self.element_depth_max),
            elements_max: size(self.elements_max),
            attributes_max: size(self.attributes_max),
            attribute_bytes_max: size(self.attribute_bytes_max),
            namespaces_max: size(self.namespaces_max),
            name_bytes_max: 1024,
        }
    }
}

/// Why a limit was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLimit {
    /// There is no limit of that name.
    Unknown,
    /// The value is below what the protocol or good sense allows.
    BelowFloor(u64),
}

/// Seconds as a duration, for the fields whose names end in `_seconds`.
#[must_use]
pub fn seconds(value: u64) -> Duration {
    Duration::from_secs(value.min(SECONDS_CEILING))
}

/// A limit as a size in memory; what does not fit a `usize` is no limit.
#[must_use]
pub fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Ten years: what is longer is for ever, and must not overflow a clock.
const SECONDS_CEILING: u64 = 10 * 365 * 24 * 3600;

/// The smallest stanza limit that a server may set (RFC 6120 §13.12).
pub const STANZA_BYTES_FLOOR: u64 = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn every_name_sets_a_limit_and_is_known_once() {
        for name in Limits::names() {
            let mut limits = Limits::default();
            limits.set(name, 123_456_789).unwrap();
            assert_ne!(limits, Limits::default(), "{name}");
        }
        let mut limits = Limits::default();
        assert_eq!(limits.set("no_such_limit", 1), Err(BadLimit::Unknown));
    }

    #[test]
    fn a_limit_is_called_the_same_everywhere() {
        let mut limits = Limits::default();
        for (value, limit) in (100_000..).zip(Limit::ALL) {
            let spoken: String = limit.name().split('_').collect();
            assert_eq!(format!("{limit:?}").to_lowercase(), spoken);
            limits.set(limit.name(), value).unwrap();
        }
        let found: Vec<u64> = Limit::ALL.iter().map(|limit| limits.of(*limit)).collect();
        let set: Vec<u64> = (100_000..).take(Limit::ALL.len()).collect();
        assert_eq!(found, set);
    }

    #[test]
    fn a_stanza_limit_below_the_floor_is_refused() {
        //= LIM-01
        let mut limits = Limits::default();
        assert_eq!(
            limits.set("stanza_bytes_max", 9_999),
            Err(BadLimit::BelowFloor(10_000))
        );
    }
}
