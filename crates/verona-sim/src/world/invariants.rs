//! What must be true after every step, whatever happens (`design`: seven invariants, numbered in the messages).

use std::collections::BTreeMap;

use verona_proto::addr::Direction;
use verona_proto::federation::Route;
use verona_proto::grounds::Identity;
use verona_proto::limits::size;
use verona_proto::stanza::{Admitted, Stanza, StanzaClass};
use verona_proto::stream::{Event, Granted};

use super::connection::{Connection, WRITE_BYTES};
use super::ledger::Ledger;
use super::outside::Outside;
use super::server::Server;
use super::shared::Shared;

/// 1 and 7: what is granted is the peer's, and proven by what it showed or by what its authoritative server said.
pub(crate) fn granted(
    connection: &mut Connection,
    granted: &Granted,
    shared: &Shared,
    outside: &mut Outside,
) {
    let remote = granted.pair.remote().domain();
    let by_certificate = match granted.grounds.identity {
        Identity::Certificate => true,
        Identity::Pin
        | Identity::Dane
        | Identity::Posh
        | Identity::Dialback(_)
        | Identity::Resolution(_) => false,
    };
    // One that ends while the stream is negotiated ends the stream at its next tick (BIDI-70).
    let certificate = connection.certificate.covers(remote, connection.begun);
    let is_there = outside.is_hosted_at_other_end(connection.end, remote);
    if !is_there || by_certificate && certificate.is_err() {
        let name = &shared.name;
        outside
            .ledger
            .fail(format!("1: {name} granted without grounds: {granted:?}"));
    }
    if granted.direction == Direction::Inbound {
        connection.receivable.insert(granted.pair.clone());
    }
}

/// 1 and 7: what comes out of a stream was authorised at that moment, and its sender is at the other end.
pub(crate) fn authorised(
    connection: &Connection,
    admitted: &Admitted,
    shared: &Shared,
    outside: &mut Outside,
) {
    let stanza = admitted.stanza();
    // An error that the stream itself makes goes the other way.
    let is_ours = shared.hosts.local(stanza.from()).is_some();
    if is_ours && stanza.class() == StanzaClass::Error {
        return;
    }
    let pair = shared
        .hosts
        .pair(Direction::Inbound, stanza.from(), stanza.to());
    let name = &shared.name;
    if !pair.is_ok_and(|pair| connection.receivable.contains(&pair)) {
        outside.ledger.fail(format!(
            "1: {name} took a stanza from {} to {} that was not authorised",
            stanza.from(),
            stanza.to()
        ));
    }
    let at_other_end = outside.is_hosted_at_other_end(connection.end, stanza.from());
    let is_known = outside.ledger.key(stanza).is_some() || Ledger::is_probe(stanza);
    if !at_other_end || !is_known {
        outside.ledger.fail(format!(
            "7: {name} took a stanza from {}, which is not at the other end",
            stanza.from()
        ));
    }
}

/// 3: a stream that can be taken up can be found, for its server was told of it by its name.
pub(crate) fn named(stream: &str, shared: &Shared, outside: &mut Outside) {
    if !outside.ledger.was_told(shared.index, stream) {
        let name = &shared.name;
        outside.ledger.fail(format!(
            "3: {name} was not told of {stream}, which can be taken up"
        ));
    }
}

/// 3: what a server gives up as uncertain, it could not come to know.
pub(crate) fn uncertain(stanza: &Stanza, shared: &Shared, outside: &mut Outside) {
    if let Some(key) = outside.ledger.key(stanza)
        && !outside.ledger.is_uncertain(key, outside.now)
    {
        let (name, what) = (&shared.name, outside.ledger.name(key));
        outside.ledger.fail(format!(
            "3: {name} gave up {what} as uncertain, and could have come to know"
        ));
    }
}

/// 3: streams are taken up again wherever that can be.
pub(crate) fn resumption(
    connection: &mut Connection,
    event: &Event,
    shared: &Shared,
    outside: &mut Outside,
) {
    let Some(peer) = outside.network.peer(connection.end) else {
        return;
    };
    match event {
        Event::Managed { id: Some(id), .. } => outside.ledger.know(shared.index, id),
        Event::Resumed { id, h: Some(_) } => {
            outside.ledger.resolve(shared.index, id, outside.now);
        }
        Event::Resumed { id, h: None } => {
            let name = &shared.name;
            if outside.ledger.give_up(id, shared.index, peer, outside.now) {
                outside.tell(|| format!("{name}: the peer does not know {id}"));
            } else {
                outside.ledger.fail(format!(
                    "3: the peer of {name} refused to take up {id}, which it knows"
                ));
            }
        }
        _ => {}
    }
}

/// 4, 5 and 6 for one server.
pub(crate) fn check(server: &mut Server, outside: &mut Outside) {
    let Server {
        shared,
        federation,
        connections,
        links,
        ..
    } = server;
    let limits = &shared.limits;
    let name = &shared.name;
    let mut wrong = None;
    let mut say = |text: String| {
        wrong.get_or_insert(text);
    };
    let mut carriers = BTreeMap::new();
    for (key, connection) in connections.iter_mut() {
        for pair in connection.carriage.pairs() {
            if let Some(other) = carriers.insert(pair.clone(), *key) {
                say(format!(
                    "4: streams {other} and {key} of {name} both carry {pair}"
                ));
            }
        }
        let written = connection.stream.transmit().len() + connection.unwritten();
        if written > WRITE_BYTES * 2 + size(limits.stanza_bytes_max) {
            say(format!(
                "5: {written} bytes wait to be written on stream {key} of {name}"
            ));
        }
        let most = limits.unacknowledged_stanzas_max;
        if u64::from(connection.stream.unacknowledged()) > most {
            say(format!(
                "5: more than {most} stanzas of stream {key} of {name} are not acknowledged"
            ));
        }
        if !connection.has_deadline() {
            say(format!("6: stream {key} of {name} waits for ever"));
        }
    }
    for (pair, feeder) in shared.switchboard.pairs() {
        // Only a drain that was dropped can be made again.
        if feeder.reclaim().is_some() {
            say(format!("4: nobody has the drain of {pair} at {name}"));
        }
        if feeder.queued() > size(limits.outbox_stanzas_max)
            || feeder.bytes() > size(limits.outbox_bytes_max)
        {
            say(format!(
                "5: the queue of {pair} at {name} exceeds its limit"
            ));
        }
    }
    for (domain, feeder) in shared.switchboard.components() {
        if feeder.queued() > size(limits.component_backlog_stanzas_max)
            || feeder.bytes() > size(limits.component_backlog_bytes_max)
        {
            say(format!(
                "5: the queue of the component of {domain} at {name} exceeds its limit"
            ));
        }
    }
    let mut waits = false;
    for (pair, route) in federation.routes() {
        match route {
            Route::Carried { stream } => {
                // The command may still be on its way, or the end of the stream.
                let _ = (stream, pair);
            }
            Route::Seeking { .. }
            | Route::Requested { .. }
            | Route::Expected { .. }
            | Route::Suspended
            | Route::Resting { .. } => waits = true,
        }
    }
    if waits && federation.deadline().is_none() {
        say(format!("6: a queue of {name} waits for ever"));
    }
    let lost = federation.suspended();
    if lost > size(limits.lost_streams_max) {
        say(format!("5: {lost} lost streams wait at {name}"));
    }
    if shared.signals.len() > SIGNALS_MAX {
        say(format!(
            "5: {} signals wait at {name}",
            shared.signals.len()
        ));
    }
    let _ = links;
    if let Some(wrong) = wrong {
        outside.ledger.fail(wrong);
    }
}

/// Signals that may wait for the federation (verona/src/engine.rs).
const SIGNALS_MAX: usize = 1024;
