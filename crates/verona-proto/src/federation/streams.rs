//! The live streams: who is there, and for what each is able.

use std::collections::{BTreeMap, BTreeSet};

use super::StreamKey;
use crate::addr::{Direction, Domain, DomainPair};
use crate::stream::{Event, Granted};

/// All streams that have begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Streams {
    live: BTreeMap<StreamKey, Record>,
    /// The streams that may send for a pair, the first one granted in front (BIDI-52).
    able: BTreeMap<DomainPair, Vec<StreamKey>>,
    /// The streams on which a further pair of a remote domain might be asked for: those that we opened to it, and
    /// those on which it is proven.
    towards: BTreeMap<Domain, BTreeSet<StreamKey>>,
}

/// What is known of one stream.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Our domain and the peer's of the stream's header; claimed, not proven.
    pub(super) local: Option<Domain>,
    pub(super) remote: Option<Domain>,
    pub(super) bidirectional: bool,
    pub(super) multiplexes: bool,
    /// The peer refused, or did not answer, a further request: it is not asked again (BIDI-76).
    pub(super) refuses_requests: bool,
    /// Domains for which the peer is proven here.
    pub(super) proven: BTreeSet<Domain>,
    granted: BTreeSet<DomainPair>,
    /// Pairs that were asked for on it, and whose queues wait for the answer.
    requested: BTreeSet<DomainPair>,
    /// The stream takes no stanzas any more.
    closing: bool,
    /// Who opened it.
    pub(super) initiating: bool,
}

impl Record {
    /// Whether the stream still takes stanzas.
    pub(super) fn is_usable(&self) -> bool {
        !self.closing
    }

    /// How many pairs we may send for on it.
    pub(super) fn pairs(&self) -> usize {
        self.granted.len()
    }
}

impl Streams {
    pub(super) fn begin(&mut self, stream: StreamKey, initiating: bool) {
        self.live.insert(
            stream,
            Record {
                initiating,
                ..Record::default()
            },
        );
    }

    pub(super) fn get_mut(&mut self, stream: StreamKey) -> Option<&mut Record> {
        self.live.get_mut(&stream)
    }

    /// The streams on which a further pair of `remote` might be asked for.
    pub(super) fn towards(&self, remote: &Domain) -> impl Iterator<Item = (StreamKey, &Record)> {
        self.towards
            .get(remote)
            .into_iter()
            .flatten()
            .filter_map(|stream| self.live.get(stream).map(|record| (*stream, record)))
    }

    /// A pair's queue waits for the answer to a request on the stream.
    pub(super) fn note_request(&mut self, stream: StreamKey, pair: &DomainPair) {
        if let Some(record) = self.live.get_mut(&stream) {
            record.requested.insert(pair.clone());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamKey, &Record)> {
        self.live.iter().map(|(stream, record)| (*stream, record))
    }

    /// The stream that a pair's stanzas should take, if there is one already (BIDI-55).
    pub(super) fn able(&self, pair: &DomainPair) -> Option<StreamKey> {
        let able = self.able.get(pair)?;
        //= BIDI-52
        // If several are granted when the first stanza comes, the one that we opened.
        let opened = able.iter().find(|stream| {
            self.live
                .get(stream)
                .is_some_and(|record| record.initiating)
        });
        opened.or(able.first()).copied()
    }

    /// Keeps the books of what happened on a stream.
    pub(super) fn note(&mut self, stream: StreamKey, event: &Event) {
        let Some(record) = self.live.get_mut(&stream) else {
            return;
        };
        match event {
            Event::Identified(peer) => {
                record.local = Some(peer.local.clone());
                record.remote.clone_from(&peer.remote);
                if let (true, Some(remote)) = (record.initiating, &peer.remote) {
                    self.towards
                        .entry(remote.clone())
                        .or_default()
                        .insert(stream);
                }
            }
            Event::Bidirectional => record.bidirectional = true,
            Event::Multiplexes => record.multiplexes = true,
            Event::Granted(Granted {
                pair, direction, ..
            }) => match direction {
                Direction::Inbound => {
                    let remote = pair.remote().domain().clone();
                    record.proven.insert(remote.clone());
                    self.towards.entry(remote).or_default().insert(stream);
                }
                Direction::Outbound => {
                    record.granted.insert(pair.clone());
                    self.able.entry(pair.clone()).or_default().push(stream);
                }
            },
            Event::Failed(_) | Event::Closed { .. } => self.close(stream),
            Event::OldBidiNamespace
            | Event::SaslFailed { .. }
            | Event::KeyReceived(_)
            | Event::Vouched { .. }
            | Event::Refused { .. }
            | Event::Unanswered { .. }
            | Event::Denied { .. }
            | Event::Verified { .. }
            | Event::Irregular { .. } => {}
        }
    }

    /// The stream is over; says which pairs still waited for an answer on it.
    pub(super) fn end(&mut self, stream: StreamKey) -> BTreeSet<DomainPair> {
        self.close(stream);
        let Some(record) = self.live.remove(&stream) else {
            return BTreeSet::new();
        };
        for remote in record.remote.iter().chain(&record.proven) {
            if let Some(streams) = self.towards.get_mut(remote) {
                streams.remove(&stream);
                if streams.is_empty() {
                    self.towards.remove(remote);
                }
            }
        }
        record.requested
    }

    /// The stream takes no more stanzas: nobody is sent to it again.
    fn close(&mut self, stream: StreamKey) {
        let Some(record) = self.live.get_mut(&stream) else {
            return;
        };
        record.closing = true;
        for pair in std::mem::take(&mut record.granted) {
            if let Some(able) = self.able.get_mut(&pair) {
                able.retain(|other| *other != stream);
                if able.is_empty() {
                    self.able.remove(&pair);
                }
            }
        }
    }
}
