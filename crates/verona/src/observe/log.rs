//! Events as log lines: one closed `match` for each kind, so that a new event cannot be forgotten here.
//!
//! Field names are fixed: `stream`, `role`, `peer`, `local`, `remote`, `direction`, `grounds`, `condition`, `fault`.
//! Payload never appears.

use std::fmt::Write as _;
use std::sync::Mutex;

use tokio::time::{Duration, Instant};
use tracing::{debug, info, warn};
use verona_proto::addr::{Direction, Domain};
use verona_proto::component::{ComponentEvent, LinkEnd};
use verona_proto::dialback::Answer;
use verona_proto::federation::{Report, StreamKey};
use verona_proto::stanza::StreamCondition;
use verona_proto::stream::{Cause, Event, Fault, StreamError};

use crate::shared::lock;
use crate::status::{Link, LinkRole};

/// `dnssec = "validate"`, and no name server has ever sent a signature. Told once.
pub(crate) fn dns_without_dnssec() {
    warn!(
        "the DNS server in use does not pass on DNSSEC, so nothing that it says can be validated and no peer can be \
         found: name another in [dns] servers, or write dnssec = \"off\""
    );
}

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
                Ok(identity) => {
                    debug!(stream, role, %peer, local = %who.local, remote, by = %identity, "the peer's certificate is good")
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
        Event::Pipelines => {
            debug!(stream, role, %peer, "the peer's answers need not be waited for the next time")
        }
        Event::OldBidiNamespace => debug!(
            stream, role, %peer,
            "the peer offers bidi under the namespace of the request"
        ),
        Event::SaslFailed { text } => {
            info!(stream, role, %peer, local = names(link).0, remote = names(link).1, "SASL EXTERNAL failed: {text}")
        }
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
        Event::Managed { id, .. } => debug!(
            stream, role, %peer, lost = id.as_deref(),
            "stanzas are acknowledged from now on{}",
            if id.is_some() { ", and the stream can be taken up again" } else { "" }
        ),
        Event::ResumeRequested { id, h, .. } => debug!(
            stream, role, %peer, lost = id, h,
            "the peer takes up a stream that was lost"
        ),
        Event::Resumed { id, h: Some(h) } => debug!(
            stream, role, %peer, local = names(link).0, remote = names(link).1, lost = id, h,
            "the peer takes up the lost stream again"
        ),
        Event::Resumed { id, h: None } => info!(
            stream, role, %peer, local = names(link).0, remote = names(link).1, lost = id,
            "the peer cannot take up the lost stream: what had arrived is not known"
        ),
        Event::Revoked { pair, direction } => info!(
            stream, role, %peer, local = %pair.local(), remote = %pair.remote(),
            direction = self::direction(*direction),
            "stanzas may not flow any more: {} is not hosted here any more", pair.local()
        ),
        Event::Departed { pair } => debug!(
            stream, role, %peer, local = %pair.local(), remote = %pair.remote(),
            "stanzas for a domain that is not hosted here any more are answered no longer"
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
        Event::Verified {
            check,
            verdict,
            assurance,
        } => debug!(
            stream, role, %peer, local = %check.pair.local(), remote = %check.pair.remote(),
            assurance = assurance.name(), "the authoritative server says: {verdict:?}"
        ),
        Event::Irregular { what } => {
            let (local, remote) = names(link);
            info!(stream, role, %peer, local, remote, "ignored {what}");
        }
        Event::Failed(error) => failed(stream, role, link, error),
        Event::Closed { cause } => info!(
            stream, role, %peer, local = names(link).0, remote = names(link).1,
            "the stream closes{}", if *cause == Cause::Idle { ": nobody used it" } else { "" }
        ),
    }
}

fn failed(stream: u64, role: &str, link: &Link, error: &StreamError) {
    let peer = link.peer_address;
    let (local, remote) = names(link);
    let condition = error.condition.name();
    let fault = match error.fault {
        Fault::Peer => "peer",
        Fault::Policy => "policy",
        Fault::Local => "local",
    };
    match weight(link, error) {
        Weight::Everyday => {
            debug!(stream, role, %peer, local, remote, condition, fault, "the stream ends: {error}");
        }
        Weight::Change => {
            info!(stream, role, %peer, local, remote, condition, fault, "the stream ends: {error}");
        }
        Weight::Trouble => {
            warn!(stream, role, %peer, local, remote, condition, fault, "the stream ends: {error}");
        }
    }
}

/// How much the end of a stream concerns an operator.
enum Weight {
    /// Nothing is wrong, or it is said elsewhere.
    Everyday,
    /// Worth knowing.
    Change,
    /// Somebody may have to act.
    Trouble,
}

fn weight(link: &Link, error: &StreamError) -> Weight {
    // A health check or a scanner: it connected and left.
    let said_nothing = link.bytes_in == 0 && error.cause == Cause::Stream;
    // The attempt says so itself, once, when it gives up.
    let failed_attempt = link.role == LinkRole::Initiating && link.pairs.is_empty();
    match error.fault {
        // A key is checked and the connection for it ends, or we are told to stop.
        Fault::Local => Weight::Everyday,
        Fault::Policy | Fault::Peer if failed_attempt || said_nothing => Weight::Everyday,
        Fault::Policy => Weight::Trouble,
        Fault::Peer => match error.cause {
            Cause::Idle => Weight::Everyday,
            // A peer that restarts is an everyday thing.
            Cause::Established if error.condition == StreamCondition::SystemShutdown => {
                Weight::Change
            }
            Cause::Stream
            | Cause::Restart
            | Cause::Tls
            | Cause::Sasl
            | Cause::Dialback
            | Cause::Identity
            | Cause::Established => Weight::Trouble,
        },
    }
}

/// The peer says that what we sent is wrong (ERR-08).
pub(crate) fn blamed(key: StreamKey, link: &Link, error: &StreamError) {
    let (local, remote) = names(link);
    let (peer, condition) = (link.peer_address, error.condition.name());
    tracing::error!(
        stream = key.0, %peer, local, remote, condition, stanzas = link.stanzas_out,
        "the peer calls what we sent wrong: a fault of verona's, or the peer lost count of what it had granted"
    );
}

/// The transport broke: what the system says of it.
pub(crate) fn broken(key: StreamKey, link: &Link, error: &std::io::Error) {
    let (local, remote) = names(link);
    let peer = link.peer_address;
    let error = match error.kind() == std::io::ErrorKind::UnexpectedEof {
        true => "the peer ended it without TLS close_notify".to_owned(),
        false => error.to_string(),
    };
    match link.pairs.is_empty() {
        true => debug!(stream = key.0, %peer, local, remote, "the connection broke: {error}"),
        false => info!(stream = key.0, %peer, local, remote, "the connection broke: {error}"),
    }
}

/// The domains of a stream's header, as far as they are known.
fn names(link: &Link) -> (&str, &str) {
    (
        link.local.as_deref().unwrap_or("-"),
        link.remote.as_deref().unwrap_or("-"),
    )
}

/// Stanzas that found no room: said at most once a minute, with their number.
#[derive(Debug, Default)]
pub(crate) struct Overflows {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Overflows {
    pub(crate) fn log(&self, to: &Domain, what: &str) {
        let mut state = lock(&self.state);
        let (last, unsaid) = &mut *state;
        *unsaid += 1;
        let now = Instant::now();
        if last.is_some_and(|last| now.duration_since(last) < OVERFLOWS_EVERY) {
            return;
        }
        *last = Some(now);
        let stanzas = std::mem::take(unsaid);
        warn!(%to, stanzas, "{what}");
    }
}

const OVERFLOWS_EVERY: Duration = Duration::from_secs(60);

/// The federation decided something.
pub(crate) fn report(report: &Report) {
    match report {
        Report::Seeking { pair } => {
            debug!(local = %pair.local(), remote = %pair.remote(), "looking for a server")
        }
        Report::TargetFailed { pair, target, text } => info!(
            local = %pair.local(), remote = %pair.remote(), target, "a server could not be used: {text}"
        ),
        Report::Redirected { pair, target, host } => info!(
            local = %pair.local(), remote = %pair.remote(), target, "a server sends us to {host}"
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
        Report::OtherKey {
            remote,
            identity,
            before,
            now,
        } => info!(
            %remote, by = %identity, before = hex(before), now = hex(now),
            "the peer has another key than before, as it may after a renewal"
        ),
        Report::Lost { pair, stanzas } => info!(
            local = %pair.local(), remote = %pair.remote(), unacknowledged = stanzas,
            "a stream was lost with stanzas on their way"
        ),
        Report::TakenUp {
            pair,
            arrived: 0,
            again: 0,
        } => debug!(
            local = %pair.local(), remote = %pair.remote(),
            "a lost stream was taken up again: nothing of ours had been on its way"
        ),
        Report::TakenUp {
            pair,
            arrived,
            again,
        } => info!(
            local = %pair.local(), remote = %pair.remote(), arrived, again,
            "a lost stream was taken up again: what had arrived is known, and the rest is sent again"
        ),
        Report::LetGo { pair, uncertain } => warn!(
            local = %pair.local(), remote = %pair.remote(), uncertain,
            "a lost stream was not taken up again: nobody knows what of it had arrived"
        ),
        Report::VerificationFailed { pair, text } => warn!(
            local = %pair.local(), remote = %pair.remote(), "a dialback key could not be verified: {text}"
        ),
    }
}

/// A digest as openssl and sha256sum print it.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
            Some(domain) => match end {
                // Its own doing, or the network's: its operator should know.
                LinkEnd::Failed { .. } | LinkEnd::Error { .. } | LinkEnd::Eof => {
                    warn!(peer, local = %domain, "a component left: {end}");
                }
                LinkEnd::Closed | LinkEnd::ByUs { .. } => {
                    info!(peer, local = %domain, "a component left: {end}")
                }
            },
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
