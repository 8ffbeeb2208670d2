//! Events as log lines: one closed `match` for each kind, so that a new event cannot be forgotten here.
//!
//! Field names are fixed: `stream`, `role`, `peer`, `local`, `remote`, `direction`, `grounds`, `condition`, `fault`.
//! Payload never appears.

use tracing::{debug, info, warn};
use verona_proto::addr::Direction;
use verona_proto::component::ComponentEvent;
use verona_proto::dialback::Answer;
use verona_proto::federation::{Report, StreamKey};
use verona_proto::stanza::StreamCondition;
use verona_proto::stream::{Cause, Event, Fault, StreamError};

use crate::status::{Link, LinkRole};

/// Something happened on a stream.
pub(crate) fn stream(key: StreamKey, link: &Link, event: &Event) {
    let (stream, peer) = (key.0, link.peer_address);
    let role = match link.role {
        LinkRole::Initiating => "initiating",
        LinkRole::Receiving => "receiving",
    };
    match event {
        Event::Identified(who) => {
            let remote = who
                .remote
                .as_ref()
                .map_or_else(|| "(no 'from')".to_owned(), ToString::to_string);
            match &who.certificate {
                Ok(()) => {
                    debug!(stream, role, %peer, local = %who.local, remote, "the peer's certificate is good")
                }
                Err(reason) => {
                    debug!(stream, role, %peer, local = %who.local, remote, "certificate: {reason}")
                }
            }
        }
        Event::Bidirectional => debug!(stream, role, %peer, "both directions use this stream"),
        Event::Multiplexes => {
            debug!(stream, role, %peer, "the peer takes many domain pairs on one stream")
        }
        Event::SaslFailed { text } => info!(stream, role, %peer, "SASL EXTERNAL failed: {text}"),
        Event::KeyReceived(check) => debug!(
            stream, role, %peer,
            local = %check.pair.local(), remote = %check.pair.remote(),
            "a dialback key is being verified on another connection"
        ),
        Event::Vouched {
            receiving,
            originating,
            valid,
        } => debug!(
            stream, role, %peer, local = %originating, remote = %receiving,
            "told whether a dialback key is ours: {}", if *valid { "valid" } else { "invalid" }
        ),
        Event::Granted(granted) => info!(
            stream, role, %peer,
            local = %granted.pair.local(), remote = %granted.pair.remote(),
            direction = direction(granted.direction), grounds = %granted.grounds,
            "stanzas may flow"
        ),
        Event::Refused { pair, answer } => warn!(
            stream, role, %peer, local = %pair.local(), remote = %pair.remote(),
            "the peer refused our dialback key: {}", outcome(*answer)
        ),
        Event::Unanswered { pair } => warn!(
            stream, role, %peer, local = %pair.local(), remote = %pair.remote(),
            "the peer did not answer our dialback key in time"
        ),
        Event::Denied {
            from,
            to,
            answer,
            text,
        } => warn!(
            stream, role, %peer, local = %to, remote = %from,
            "refused the peer's dialback key ({}): {text}", outcome(*answer)
        ),
        Event::Verified { check, verdict } => debug!(
            stream, role, %peer, local = %check.pair.local(), remote = %check.pair.remote(),
            "the authoritative server says: {verdict:?}"
        ),
        Event::Irregular { what } => info!(stream, role, %peer, "ignored {what}"),
        Event::Failed(error) => failed(stream, role, link, error),
        Event::Closed { cause } => info!(
            stream, role, %peer,
            "the stream closes{}", if *cause == Cause::Idle { ": nobody used it" } else { "" }
        ),
    }
}

fn failed(stream: u64, role: &str, link: &Link, error: &StreamError) {
    let peer = link.peer_address;
    let condition = error.condition.name();
    match error.fault {
        // A key is checked and the connection for it ends, or we are told to stop: nothing is wrong.
        Fault::Local => debug!(stream, role, %peer, "the stream ends: {error}"),
        Fault::Policy => {
            warn!(stream, role, %peer, condition, fault = "policy", "the stream ends: {error}")
        }
        Fault::Peer => match error.cause {
            Cause::Idle => {
                debug!(stream, role, %peer, condition, fault = "peer", "the stream ends: {error}")
            }
            // A peer that restarts is an everyday thing.
            Cause::Established if error.condition == StreamCondition::SystemShutdown => {
                info!(stream, role, %peer, condition, fault = "peer", "the stream ends: {error}");
            }
            Cause::Stream
            | Cause::Tls
            | Cause::Sasl
            | Cause::Dialback
            | Cause::Identity
            | Cause::Established => {
                warn!(stream, role, %peer, condition, fault = "peer", "the stream ends: {error}");
            }
        },
    }
}

/// The federation decided something.
pub(crate) fn report(report: &Report) {
    match report {
        Report::Seeking { pair } => {
            debug!(local = %pair.local(), remote = %pair.remote(), "looking for a server")
        }
        Report::TargetFailed { pair, target, text } => info!(
            local = %pair.local(), remote = %pair.remote(), target, "a server could not be used: {text}"
        ),
        Report::Unreachable {
            pair,
            text,
            stanzas,
            retry_seconds,
        } => warn!(
            local = %pair.local(), remote = %pair.remote(), stanzas, retry_seconds,
            "{text}; the stanzas waiting were returned to their senders"
        ),
        Report::Carried { pair, stream } => debug!(
            local = %pair.local(), remote = %pair.remote(), stream = stream.0, "a stream carries the pair"
        ),
        Report::VerificationFailed { pair, text } => warn!(
            local = %pair.local(), remote = %pair.remote(), "a dialback key could not be verified: {text}"
        ),
    }
}

/// Something happened on a component's connection.
pub(crate) fn component(peer: &str, event: &ComponentEvent) {
    match event {
        ComponentEvent::Attached { domain } => info!(peer, local = %domain, "a component attached"),
        ComponentEvent::Refused {
            domain,
            condition,
            text,
        } => match domain {
            Some(domain) => {
                warn!(peer, local = %domain, condition = condition.name(), "a component was refused: {text}")
            }
            None => warn!(
                peer,
                condition = condition.name(),
                "a component was refused: {text}"
            ),
        },
        ComponentEvent::Closed { domain, end } => match domain {
            Some(domain) => info!(peer, local = %domain, "a component left: {end}"),
            None => debug!(peer, "a connection to the component listener ended: {end}"),
        },
        ComponentEvent::Rejected { domain, condition } => {
            warn!(peer, local = %domain, condition = condition.name(), "a stanza of the component was not accepted");
        }
        ComponentEvent::Ignored { domain, what } => info!(peer, local = %domain, "ignored {what}"),
    }
}

fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

fn outcome(answer: Answer) -> &'static str {
    match answer {
        Answer::Valid => "valid",
        Answer::Invalid => "invalid",
        Answer::Error(condition) => condition.name(),
    }
}
