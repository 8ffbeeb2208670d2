//! What the streams' events teach about a peer: written down here, acted on where a way to the peer is chosen.
//!
//! Only what happened on a connection that we opened, or after the peer had proven itself, is believed: a stranger who
//! claims a domain teaches nothing about it.

use std::time::Instant;

use super::Report;
use super::attempt::{Failure, Step};
use super::streams::Record;
use crate::addr::{Direction, Domain};
use crate::learned::{EARLY, EARLY_DEATHS_MAX, LastFailure, Learned, Outcome, Phase, Topic};
use crate::stanza::condition::StreamCondition;
use crate::stream::{Cause, Event, Fault, Granted, Peer, StreamError, TheirWords};
use crate::trust::Unproven;

/// Learns from an event, before the books of the stream are brought up to date.
pub(super) fn learn(learned: &Learned, record: &Record, event: &Event, now: Instant) {
    match event {
        Event::Granted(granted) => on_granted(learned, record, granted, now),
        Event::OldBidiNamespace => {
            if let Some(remote) = dialled(record) {
                let text = "it offers bidi under the namespace of the request";
                learned.note(remote, Topic::OldBidiNamespace, Outcome::Works, text, now);
            }
        }
        Event::SaslFailed { text } => {
            if let Some(remote) = dialled(record) {
                learned.note(remote, Topic::External, Outcome::Refused, text, now);
            }
        }
        //= STREAM-60
        Event::Pipelines => {
            // What it announced when it died of it the last time counts for nothing.
            if let Some(remote) = dialled(record)
                && learned.outcome(remote, Topic::Pipelining, now) != Some(Outcome::HangsUp)
            {
                let text = "it announced that it need not be waited for";
                learned.note(remote, Topic::Pipelining, Outcome::Works, text, now);
            }
        }
        //= BIDI-76
        Event::KeyReceived(_) => {
            if let Some(remote) = dialled(record) {
                let text = "it asked us for a further pair itself";
                learned.note(remote, Topic::Requests, Outcome::Works, text, now);
            }
        }
        Event::Failed(error) => on_failed(learned, record, error, now),
        Event::Closed { .. } => on_over(learned, record, now),
        Event::Identified(peer) => on_identified(learned, record, peer, now),
        Event::Bidirectional
        | Event::Multiplexes
        | Event::Managed { .. }
        | Event::ResumeRequested { .. }
        | Event::Resumed { .. }
        | Event::Revoked { .. }
        | Event::Departed { .. }
        | Event::Vouched { .. }
        | Event::Refused { .. }
        | Event::Unanswered { .. }
        | Event::Denied { .. }
        | Event::Verified { .. }
        | Event::Irregular { .. } => {}
    }
}

/// The TLS handshake showed that the peer has the key of a certificate that proves its domain, whoever dialled; or that
/// it has one that is worth less than before, which is no stranger's either.
fn on_identified(learned: &Learned, record: &Record, peer: &Peer, now: Instant) {
    let Some(remote) = &peer.remote else {
        return;
    };
    match &peer.certificate {
        Ok(identity) => {
            if let Some(strength) = identity.strength() {
                learned.note_proven(remote, strength, now);
            }
        }
        //= TLS-34
        // Where we dialled, the attempt says so itself.
        Err(weaker @ Unproven::Weaker { .. }) if !record.initiating => {
            refused(
                learned,
                remote,
                format!("it connected to us: {weaker}"),
                now,
            );
        }
        Err(
            Unproven::Weaker { .. }
            | Unproven::Nameless
            | Unproven::Unencrypted
            | Unproven::Certificate { .. }
            | Unproven::Dane(_),
        ) => {}
    }
}

/// A peer connected to us, and the server of its domain, which we asked about it, is not what the domain proved to be
/// before. Of a domain that proved nothing strangers could have as much said as they like.
pub(super) fn unverified(learned: &Learned, remote: &Domain, failure: &Failure, now: Instant) {
    //= TLS-34
    if failure.step == Step::Stream(Cause::Identity) && learned.proven(remote, now).is_some() {
        let cause = format!(
            "it connected to us and could not be verified: {}",
            failure.text
        );
        refused(learned, remote, cause, now);
    }
}

fn refused(learned: &Learned, remote: &Domain, cause: String, now: Instant) {
    let failure = LastFailure {
        phase: Phase::Identity,
        cause,
        since: now,
        next: None,
        reached: None,
    };
    learned.note_refused(remote, failure, now);
}

/// The peer proved itself with another key than before: as it does after a renewal, and as nobody else should (TLS-32).
pub(super) fn other_key(learned: &Learned, event: &Event, now: Instant) -> Option<Report> {
    let Event::Identified(peer) = event else {
        return None;
    };
    let (Some(remote), Ok(identity), Some(key)) =
        (&peer.remote, &peer.certificate, peer.public_key)
    else {
        return None;
    };
    //= TLS-32
    let before = learned.note_key(remote, key, now)?;
    Some(Report::OtherKey {
        remote: remote.clone(),
        identity: *identity,
        before,
        now: key,
    })
}

fn on_granted(learned: &Learned, record: &Record, granted: &Granted, now: Instant) {
    let remote = granted.pair.remote().domain();
    learned.note_reached(remote, now);
    // A peer that requests bidi itself may still hang up on our request.
    let hung_up = learned.outcome(remote, Topic::Bidi, now) == Some(Outcome::HangsUp);
    if record.bidirectional && (record.initiating || !hung_up) {
        let text = match record.initiating {
            true => "it took our request",
            false => "it requested it",
        };
        learned.note(remote, Topic::Bidi, Outcome::Works, text, now);
    }
    //= BIDI-76
    // What it announced when it died of it the last time counts for nothing.
    let died = learned.outcome(remote, Topic::Requests, now) == Some(Outcome::HangsUp);
    if record.multiplexes && !died {
        let text = "it announced that it copes";
        learned.note(remote, Topic::Requests, Outcome::Works, text, now);
    }
    if granted.direction != Direction::Outbound || granted.grounds.inverse {
        return;
    }
    if record.initiating && granted.grounds.by == "sasl" {
        learned.note(
            remote,
            Topic::External,
            Outcome::Works,
            "it took our certificate",
            now,
        );
    } else if record.pairs() > 0 {
        let text = "it answered our request for a further pair";
        learned.note(remote, Topic::Requests, Outcome::Works, text, now);
    }
}

/// A request for a further pair was refused.
pub(super) fn request_refused(learned: &Learned, remote: &Domain, text: &str, now: Instant) {
    //= BIDI-76
    learned.note(remote, Topic::Requests, Outcome::Refused, text, now);
}

/// A request for a further pair got no answer, or the end of the connection for one.
pub(super) fn request_unanswered(learned: &Learned, remote: &Domain, now: Instant) {
    //= BIDI-76
    let text = "it did not answer our request for a further pair, or hung up on it";
    learned.note(remote, Topic::Requests, Outcome::HangsUp, text, now);
}

/// The search for a stream failed; the next may begin at `next`.
pub(super) fn unreachable(
    learned: &Learned,
    remote: &Domain,
    failure: &Failure,
    next: Instant,
    now: Instant,
) {
    let failure = LastFailure {
        phase: phase(failure.step),
        cause: failure.text.clone(),
        since: now,
        next: Some(next),
        reached: None,
    };
    learned.note_failure(remote, failure, now);
}

fn on_failed(learned: &Learned, record: &Record, error: &StreamError, now: Instant) {
    let innocent = matches!(
        error.condition,
        StreamCondition::SystemShutdown | StreamCondition::Reset | StreamCondition::SeeOtherHost
    );
    let died = error.fault == Fault::Peer && error.cause == Cause::Established && !innocent;
    let young = record
        .first_grant
        .is_some_and(|at| now.saturating_duration_since(at) < EARLY);
    // Where both sides count, it has shown that it copes: it was the connection that broke.
    let broke = record.managed && error.words == TheirWords::None;
    if !(died && young && record.bidirectional) || broke {
        return on_over(learned, record, now);
    }
    for remote in record.peers() {
        let deaths = learned.note_early_death(remote, now);
        //= BIDI-69
        if deaths >= EARLY_DEATHS_MAX {
            let text = "streams with bidi died soon after they had begun to serve";
            learned.note(remote, Topic::Bidi, Outcome::HangsUp, text, now);
        }
    }
}

fn on_over(learned: &Learned, record: &Record, now: Instant) {
    let lived = record
        .first_grant
        .is_some_and(|at| now.saturating_duration_since(at) >= EARLY);
    if lived {
        for remote in record.peers() {
            learned.note_long_life(remote, now);
        }
    }
}

/// Whom we dialled: there we know who it is.
fn dialled(record: &Record) -> Option<&Domain> {
    record.remote.as_ref().filter(|_| record.initiating)
}

fn phase(step: Step) -> Phase {
    match step {
        Step::NotFound | Step::Discovery => Phase::Discovery,
        Step::Connect => Phase::Connect,
        Step::Stream(Cause::Tls) => Phase::Tls,
        Step::Stream(Cause::Identity) => Phase::Identity,
        Step::Stream(Cause::Sasl) => Phase::Sasl,
        Step::Stream(Cause::Dialback) | Step::Invalid => Phase::Dialback,
        Step::Stream(Cause::Stream | Cause::Restart | Cause::Established | Cause::Idle) => {
            Phase::Stream
        }
        Step::Local | Step::Busy => Phase::Local,
    }
}
