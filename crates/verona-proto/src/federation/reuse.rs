//! May a pair ask on a stream that is there already? (XEP-0220 §2.6, XEP-0288 §2.2)
//!
//! Only a peer that announced that it copes, or was seen to, is asked: to others, a second pair on a bidirectional stream is a trap
//! (peers P4, P5), and a stream of its own is safe.

use super::StreamKey;
use super::streams::{Record, Streams};
use crate::addr::DomainPair;
use crate::learned::Outcome;
use crate::limits::{Limit, LimitCounts, size};
use crate::policy::{Multiplex, PeerPolicy};

/// The stream on which `pair` may be asked for, if any. `known` is what experience says of such requests.
pub(super) fn stream_for(
    pair: &DomainPair,
    streams: &Streams,
    policy: &PeerPolicy,
    known: Option<Outcome>,
    reached: &LimitCounts,
) -> Option<StreamKey> {
    let remote = pair.remote().domain();
    streams
        .towards(remote)
        .chain(streams.certified(remote).take(LOOKED_AT_MAX))
        .filter(|(_, record)| copes(record, policy, known) && may_ask(pair, record))
        .find(|(_, record)| has_place(record, policy, reached))
        .map(|(stream, _)| stream)
}

fn copes(record: &Record, policy: &PeerPolicy, known: Option<Outcome>) -> bool {
    //= BIDI-76
    match (policy.multiplex, known) {
        (Multiplex::On, _) => true,
        (Multiplex::Off, _) | (Multiplex::Auto, Some(Outcome::HangsUp)) => false,
        (Multiplex::Auto, Some(Outcome::Works)) => true,
        (Multiplex::Auto, Some(Outcome::Refused) | None) => record.multiplexes,
    }
}

fn has_place(record: &Record, policy: &PeerPolicy, reached: &LimitCounts) -> bool {
    //= LIM-10
    let has_place = record.pairs() < size(policy.limits.pairs_per_stream_max);
    if !has_place {
        reached.reached(Limit::PairsPerStreamMax);
    }
    has_place
}

fn may_ask(pair: &DomainPair, record: &Record) -> bool {
    if !record.is_serving() || record.refuses_requests {
        return false;
    }
    let remote = pair.remote().domain();
    match (record.initiating, record.remote.as_ref() == Some(remote)) {
        // Sender multiplexing: the same target domain that we dialled, once something flows there (XEP-0220 §2.6.1).
        //= DB-42
        //= COMP-14
        (true, true) => record.pairs() > 0,
        // Target multiplexing (XEP-0220 §2.6.2): a server that announced that it copes, and whose certificate names the
        // domain. That DNS leads to the same place is not known here, so nothing less will do.
        //= DB-43
        (true, false) => record.pairs() > 0 && record.multiplexes,
        // A request in the reverse direction, to a domain that the peer has proven here (BIDI-26..28).
        //= BIDI-26
        //= BIDI-27
        (false, _) => record.bidirectional && record.proven.contains_key(remote),
    }
}

/// Streams of servers whose certificates name a domain that are looked at: a wildcard may name very many.
const LOOKED_AT_MAX: usize = 16;
