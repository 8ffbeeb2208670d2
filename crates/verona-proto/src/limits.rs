//! Every bound that verona keeps: unit, default and reason.
//!
//! A number that limits a peer, a component or a wait stands here and nowhere else, so that an operator
//! can read and change them all in one place (`limits = { … }` in the configuration).

use std::time::Duration;

/// The bounds in force for a peer, a component or the whole engine. Every field can be set by its name
/// ([`Limits::set`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one stanza, from its `<` to its last `>` (LIM-01). 512 KiB: what Prosody and ejabberd take.
    pub stanza_bytes_max: u64,
    /// Bytes of one element before the peer has authenticated (LIM-09). Headers, keys and certificates' names fit easily.
    pub negotiation_bytes_max: u64,
    /// Elements that a peer may send before it has an authorised pair (LIM-09).
    pub negotiation_elements_max: u64,
    /// Nesting of one stanza (LIM-13). Real payloads stay below 20.
    pub element_depth_max: u64,
    /// Elements of one stanza (LIM-13).
    pub elements_max: u64,
    /// Attributes of one element (LIM-13).
    pub attributes_max: u64,
    /// Bytes of one attribute's value (LIM-13).
    pub attribute_bytes_max: u64,
    /// Namespace declarations in scope at once inside one stanza (LIM-13).
    pub namespaces_max: u64,
    /// Seconds from connecting or accepting to the first authorised pair (STREAM-57).
    pub negotiation_seconds: u64,
    /// Seconds for the same when a dialback key is being verified on the way (STREAM-57).
    pub negotiation_dialback_seconds: u64,
    /// Seconds that a peer which nothing can prove under its policy is heard: long enough to have a key of ours checked
    /// (SASL-25).
    pub unprovable_seconds: u64,
    /// Seconds that a first stanza waits for a bidirectional stream which its peer is just opening (BIDI-56).
    pub crossing_seconds: u64,
    /// Seconds without a stanza after which a stream of ours is closed that crossed with one of the peer's (BIDI-53).
    pub converge_seconds: u64,
    /// Seconds that a request of ours may wait for its `<db:result/>` (DB-07).
    pub dialback_answer_seconds: u64,
    /// Seconds that the authoritative server may take, connection included (LIM-14).
    pub verification_seconds: u64,
    /// Seconds for a TLS handshake (LIM-14).
    pub tls_handshake_seconds: u64,
    /// Seconds to find out what DNS and the web say of the certificate of a peer that connected to us, before it gets our
    /// features (DNS-19, DNS-24).
    pub attestation_seconds: u64,
    /// Seconds for one TCP connection attempt (LIM-14).
    pub connect_seconds: u64,
    /// Seconds for the discovery of a domain's servers (LIM-14).
    pub dns_seconds: u64,
    /// Seconds for one attempt to reach a domain, all its servers together (LIM-14).
    pub attempt_seconds: u64,
    /// Seconds between our `</stream:stream>` and the end of the connection, should the peer not answer (STREAM-46).
    pub close_seconds: u64,
    /// Seconds without a stanza in either direction after which a stream that we opened is closed (STREAM-55).
    pub idle_seconds: u64,
    /// Seconds without our sending anything after which white space keeps the stream alive (STREAM-54).
    pub keepalive_seconds: u64,
    /// Seconds that a peer may take to acknowledge what it was asked about, or to say whether a stream is taken up again
    /// (SM-17).
    pub acknowledgement_seconds: u64,
    /// Seconds for which a lost stream can be taken up again. What is uncertain waits as long for its answer (SM-12).
    pub resume_seconds: u64,
    /// Stanzas of one stream that the peer has not acknowledged; then no more are sent until it does (SM-18).
    pub unacknowledged_stanzas_max: u64,
    /// Lost streams that can be taken up again; the oldest are forgotten first.
    pub lost_streams_max: u64,
    /// Seconds without a peer or component taking a byte of what is written to it, after which its connection ends (LIM-12).
    pub write_stall_seconds: u64,
    /// Bytes a second that one peer's connection or one component may send, beyond a burst of one second's worth; then it
    /// is not read for a while (LIM-11). 128 MiB: nobody who means well sends that much.
    pub bytes_per_second_max: u64,
    /// Domain pairs of one stream (LIM-10).
    pub pairs_per_stream_max: u64,
    /// Keys of unproven pairs that may await a verdict on one stream (LIM-09, DB-53).
    pub verifications_per_stream_max: u64,
    /// Unsolicited or unknown elements after which a stream is closed (BIDI-41, STREAM-41).
    pub irregular_elements_max: u64,
    /// Failed `<auth/>` after which a stream is closed (SASL-21).
    pub sasl_failures_max: u64,
    /// Keys of peers at one address that await their verdict (DB-53): nobody may use up what all share.
    pub verifications_per_address_max: u64,
    /// Verifications under way at once, those that wait for their turn included, all peers together (DB-53); a quarter
    /// of them at most for domains that end in the same two labels.
    pub verifications_pending_max: u64,
    /// Seconds for which a domain that could not be asked about a key is not asked again, whoever names it (DB-53). Short,
    /// for a server that has just started may claim its domain a moment before it listens.
    pub verification_retry_seconds: u64,
    /// Attempts to reach a domain under way at once (reliability, reconnect storms).
    pub attempts_concurrent_max: u64,
    /// Of them, and apart from them of verifications under way, towards domains that end in the same two labels: one site
    /// cannot use up what all share.
    pub attempts_per_site_max: u64,
    /// Connections that we open to one address (IPv4, or an IPv6 /64) within any second, whatever leads there; half of
    /// them at most for peers that have proven nothing. A domain's owner can make a thousand others point at a victim.
    pub dials_per_address_max: u64,
    /// Seconds that a connection waits because of that; what would wait longer fails.
    pub dial_wait_seconds: u64,
    /// Stanzas that wait for one domain pair, those not yet known to be written included (ROUTE-23).
    pub outbox_stanzas_max: u64,
    /// Bytes that wait for one domain pair (ROUTE-23).
    pub outbox_bytes_max: u64,
    /// Seconds that a stanza may wait for a stream before it is returned to its sender (ROUTE-24).
    pub outbox_age_seconds: u64,
    /// Bytes that wait in all queues together, of pairs and of components, what holds the stanzas included (reliability
    /// R5). Whoever has much gets no more while others might need it; a sixteenth is for errors.
    pub outboxes_bytes_max: u64,
    /// Domain pairs in all.
    pub pairs_max: u64,
    /// Bytes that wait for one component.
    pub component_backlog_bytes_max: u64,
    /// Stanzas that wait for one component.
    pub component_backlog_stanzas_max: u64,
    /// Seconds that what waits for a component which left waits for its return (COMP-13). 10: a bridge restarts in less,
    /// and nobody has given up on a request by then.
    pub component_reconnect_seconds: u64,
    /// Seconds for a component's handshake (COMP-08).
    pub component_handshake_seconds: u64,
    /// Connections to the component listeners, those that have not shaken hands included (LIM-09).
    pub component_connections_max: u64,
    /// Streams that one address (IPv4, or an IPv6 /64) may have open towards us (LIM-08).
    pub streams_per_address_max: u64,
    /// Streams towards us that have not authenticated, all addresses together (LIM-08).
    pub negotiations_max: u64,
    /// Seconds of the shortest wait after a failed attempt; it doubles with each failure (STREAM-56).
    pub retry_seconds_min: u64,
    /// Seconds of the longest wait after failed attempts (STREAM-56).
    pub retry_seconds_max: u64,
    /// Seconds for finishing everything after SIGTERM (contract §3).
    pub drain_seconds: u64,
    /// Bytes of messages that the journal keeps for one domain; the next is returned to its sender. As much as sixteen
    /// full outboxes hold.
    pub journal_bytes_max: u64,
    /// Messages that the journal keeps for one domain, likewise.
    pub journal_entries_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_bytes_max: 512 * 1024,
            negotiation_bytes_max: 16 * 1024,
            negotiation_elements_max: 64,
            element_depth_max: 64,
            elements_max: 4096,
            attributes_max: 64,
            attribute_bytes_max: 8 * 1024,
            namespaces_max: 32,
            negotiation_seconds: 30,
            negotiation_dialback_seconds: 60,
            unprovable_seconds: 5,
            attestation_seconds: 5,
            crossing_seconds: 2,
            converge_seconds: 30,
            dialback_answer_seconds: 45,
            verification_seconds: 30,
            tls_handshake_seconds: 10,
            connect_seconds: 10,
            dns_seconds: 10,
            attempt_seconds: 60,
            close_seconds: 5,
            idle_seconds: 15 * 60,
            //= STREAM-54
            keepalive_seconds: 5 * 60,
            acknowledgement_seconds: 30,
            resume_seconds: 120,
            unacknowledged_stanzas_max: 1024,
            lost_streams_max: 16_384,
            write_stall_seconds: 40,
            bytes_per_second_max: 128 * 1024 * 1024,
            pairs_per_stream_max: 256,
            verifications_per_stream_max: 4,
            irregular_elements_max: 5,
            sasl_failures_max: 3,
            verifications_per_address_max: 16,
            verifications_pending_max: 256,
            verification_retry_seconds: 5,
            attempts_concurrent_max: 200,
            attempts_per_site_max: 25,
            dials_per_address_max: 10,
            dial_wait_seconds: 10,
            outbox_stanzas_max: 16_384,
            outbox_bytes_max: 4 * 1024 * 1024,
            outbox_age_seconds: 60,
            outboxes_bytes_max: 256 * 1024 * 1024,
            pairs_max: 100_000,
            component_backlog_bytes_max: 4 * 1024 * 1024,
            component_backlog_stanzas_max: 16_384,
            component_reconnect_seconds: 10,
            component_handshake_seconds: 30,
            component_connections_max: 1024,
            streams_per_address_max: 32,
            negotiations_max: 200,
            retry_seconds_min: 1,
            retry_seconds_max: 300,
            drain_seconds: 10,
            journal_bytes_max: 64 * 1024 * 1024,
            journal_entries_max: 100_000,
        }
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

    fn field(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "stanza_bytes_max" => &mut self.stanza_bytes_max,
            "negotiation_bytes_max" => &mut self.negotiation_bytes_max,
            "negotiation_elements_max" => &mut self.negotiation_elements_max,
            "element_depth_max" => &mut self.element_depth_max,
            "elements_max" => &mut self.elements_max,
            "attributes_max" => &mut self.attributes_max,
            "attribute_bytes_max" => &mut self.attribute_bytes_max,
            "namespaces_max" => &mut self.namespaces_max,
            "negotiation_seconds" => &mut self.negotiation_seconds,
            "negotiation_dialback_seconds" => &mut self.negotiation_dialback_seconds,
            "unprovable_seconds" => &mut self.unprovable_seconds,
            "attestation_seconds" => &mut self.attestation_seconds,
            "crossing_seconds" => &mut self.crossing_seconds,
            "converge_seconds" => &mut self.converge_seconds,
            "dialback_answer_seconds" => &mut self.dialback_answer_seconds,
            "verification_seconds" => &mut self.verification_seconds,
            "tls_handshake_seconds" => &mut self.tls_handshake_seconds,
            "connect_seconds" => &mut self.connect_seconds,
            "dns_seconds" => &mut self.dns_seconds,
            "attempt_seconds" => &mut self.attempt_seconds,
            "close_seconds" => &mut self.close_seconds,
            "idle_seconds" => &mut self.idle_seconds,
            "keepalive_seconds" => &mut self.keepalive_seconds,
            "acknowledgement_seconds" => &mut self.acknowledgement_seconds,
            "resume_seconds" => &mut self.resume_seconds,
            "unacknowledged_stanzas_max" => &mut self.unacknowledged_stanzas_max,
            "lost_streams_max" => &mut self.lost_streams_max,
            "write_stall_seconds" => &mut self.write_stall_seconds,
            "bytes_per_second_max" => &mut self.bytes_per_second_max,
            "pairs_per_stream_max" => &mut self.pairs_per_stream_max,
            "verifications_per_stream_max" => &mut self.verifications_per_stream_max,
            "irregular_elements_max" => &mut self.irregular_elements_max,
            "sasl_failures_max" => &mut self.sasl_failures_max,
            "verifications_per_address_max" => &mut self.verifications_per_address_max,
            "verifications_pending_max" => &mut self.verifications_pending_max,
            "verification_retry_seconds" => &mut self.verification_retry_seconds,
            "attempts_concurrent_max" => &mut self.attempts_concurrent_max,
            "attempts_per_site_max" => &mut self.attempts_per_site_max,
            "dials_per_address_max" => &mut self.dials_per_address_max,
            "dial_wait_seconds" => &mut self.dial_wait_seconds,
            "outbox_stanzas_max" => &mut self.outbox_stanzas_max,
            "outbox_bytes_max" => &mut self.outbox_bytes_max,
            "outbox_age_seconds" => &mut self.outbox_age_seconds,
            "outboxes_bytes_max" => &mut self.outboxes_bytes_max,
            "pairs_max" => &mut self.pairs_max,
            "component_backlog_bytes_max" => &mut self.component_backlog_bytes_max,
            "component_backlog_stanzas_max" => &mut self.component_backlog_stanzas_max,
            "component_reconnect_seconds" => &mut self.component_reconnect_seconds,
            "component_handshake_seconds" => &mut self.component_handshake_seconds,
            "component_connections_max" => &mut self.component_connections_max,
            "streams_per_address_max" => &mut self.streams_per_address_max,
            "negotiations_max" => &mut self.negotiations_max,
            "retry_seconds_min" => &mut self.retry_seconds_min,
            "retry_seconds_max" => &mut self.retry_seconds_max,
            "drain_seconds" => &mut self.drain_seconds,
            "journal_bytes_max" => &mut self.journal_bytes_max,
            "journal_entries_max" => &mut self.journal_entries_max,
            _ => return None,
        })
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

const NAMES: &[&str] = &[
    "stanza_bytes_max",
    "negotiation_bytes_max",
    "negotiation_elements_max",
    "element_depth_max",
    "elements_max",
    "attributes_max",
    "attribute_bytes_max",
    "namespaces_max",
    "negotiation_seconds",
    "negotiation_dialback_seconds",
    "unprovable_seconds",
    "attestation_seconds",
    "crossing_seconds",
    "converge_seconds",
    "dialback_answer_seconds",
    "verification_seconds",
    "tls_handshake_seconds",
    "connect_seconds",
    "dns_seconds",
    "attempt_seconds",
    "close_seconds",
    "idle_seconds",
    "keepalive_seconds",
    "acknowledgement_seconds",
    "resume_seconds",
    "unacknowledged_stanzas_max",
    "lost_streams_max",
    "write_stall_seconds",
    "bytes_per_second_max",
    "pairs_per_stream_max",
    "verifications_per_stream_max",
    "irregular_elements_max",
    "sasl_failures_max",
    "verifications_per_address_max",
    "verifications_pending_max",
    "verification_retry_seconds",
    "attempts_concurrent_max",
    "attempts_per_site_max",
    "dials_per_address_max",
    "dial_wait_seconds",
    "outbox_stanzas_max",
    "outbox_bytes_max",
    "outbox_age_seconds",
    "outboxes_bytes_max",
    "pairs_max",
    "component_backlog_bytes_max",
    "component_backlog_stanzas_max",
    "component_reconnect_seconds",
    "component_handshake_seconds",
    "component_connections_max",
    "streams_per_address_max",
    "negotiations_max",
    "retry_seconds_min",
    "retry_seconds_max",
    "drain_seconds",
    "journal_bytes_max",
    "journal_entries_max",
];

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
    fn a_stanza_limit_below_the_floor_is_refused() {
        //= LIM-01
        let mut limits = Limits::default();
        assert_eq!(
            limits.set("stanza_bytes_max", 9_999),
            Err(BadLimit::BelowFloor(10_000))
        );
    }
}
