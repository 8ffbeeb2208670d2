//! May a pair ask on a stream that is there already? (XEP-0220 §2.6, XEP-0288 §2.2)
//!
//! Only a peer that announced that it copes is asked: to others, a second pair on a bidirectional stream is a trap
//! (peers P4, P5), and a stream of its own is safe.

use super::StreamKey;
use super::streams::{Record, Streams};
use crate::addr::DomainPair;
use crate::policy::{Multiplex, PeerPolicy};

/// The stream on which `pair` may be asked for, if any.
pub(super) fn stream_for(
    pair: &DomainPair,
    streams: &Streams,
    policy: &PeerPolicy,
) -> Option<StreamKey> {
    streams
        .towards(pair.remote().domain())
        .find(|(_, record)| may_ask(pair, record, policy))
        .map(|(stream, _)| stream)
}

fn may_ask(pair: &DomainPair, record: &Record, policy: &PeerPolicy) -> bool {
    //= BIDI-76
    let copes = match policy.multiplex {
        Multiplex::Auto => record.multiplexes,
        Multiplex::On => true,
        Multiplex::Off => false,
    };
    if !copes || !record.is_usable() || record.refuses_requests {
        return false;
    }
    //= LIM-10
    if record.pairs() >= crate::limits::size(policy.limits.pairs_per_stream_max) {
        return false;
    }
    let remote = pair.remote().domain();
    match record.initiating {
        // Sender multiplexing: the same target domain that we dialled, once something flows there (XEP-0220 §2.6.1).
        //= DB-42
        //= COMP-14
        true => record.remote.as_ref() == Some(remote) && record.pairs() > 0,
        // A request in the reverse direction, to a domain that the peer has proven here (BIDI-26..28).
        //= BIDI-26
        //= BIDI-27
        false => record.bidirectional && record.proven.contains(remote),
    }
}
