//! The live streams: who is there, and for what each is able.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::StreamKey;
use super::resumption::StreamEnd;
use crate::addr::{Direction, Domain, DomainPair};
use crate::certificate::CertificateName;
use crate::few::FewSet;
use crate::stanza::condition::StreamCondition;
use crate::stream::{Event, Fault, Granted};

/// All streams that have begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Boxed: they come in the order of their keys, which leaves a tree half empty.
    live: BTreeMap<StreamKey, Box<Record>>,
    /// The streams that may send for a pair, the first one granted in front (BIDI-52).
    able: BTreeMap<DomainPair, Vec<StreamKey>>,
    /// The streams that still take answers of a domain that departed (BIDI-79).
    answering: BTreeMap<DomainPair, BTreeSet<StreamKey>>,
    /// The streams on which a further pair of a remote domain might be asked for: those that we opened to it, and
    /// those on which it is proven.
    towards: BTreeMap<Domain, FewSet<StreamKey>>,
    /// The streams that we opened, by the names of the certificates that we met there.
    certified: BTreeMap<String, BTreeSet<StreamKey>>,
    /// The accepted streams on which a peer that claims the domain is still proving itself.
    negotiating_with: BTreeMap<Domain, BTreeSet<StreamKey>>,
}

/// What is known of one stream.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Our domain and the peer's of the stream's header; claimed, not proven.
    pub(super) local: Option<Domain>,
    pub(super) remote: Option<Domain>,
    pub(super) bidirectional: bool,
    pub(super) multiplexes: bool,
    /// Both sides count what arrives on it (XEP-0198).
    pub(super) managed: bool,
    /// The peer refused, or did not answer, a further request: it is not asked again (BIDI-76).
    pub(super) refuses_requests: bool,
    /// Domains for which the peer is proven here.
    pub(super) proven: FewSet<Domain>,
    /// When its header was understood.
    identified: Option<Instant>,
    /// When it became of use.
    pub(super) first_grant: Option<Instant>,
    granted: FewSet<DomainPair>,
    /// Pairs for which only answers may still be sent.
    answering: BTreeSet<DomainPair>,
    /// Pairs that were asked for on it, and whose queues wait for the answer.
    requested: BTreeSet<DomainPair>,
    /// Pairs whose queues wait for it to become of use (BIDI-56).
    expected: BTreeSet<DomainPair>,
    /// The names of the certificate of the server that we dialled.
    names: Vec<String>,
    standing: Standing,
    ended_by_peer: bool,
    end: StreamEnd,
    /// Who opened it.
    pub(super) initiating: bool,
}

/// Whether a stream is given work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// It is.
    #[default]
    Serving,
    /// Another stream serves the same pairs and stays: it keeps what it has and gets nothing new (BIDI-53).
    Yielding,
    /// It takes no stanzas any more.
    Closing,
}

impl Record {
    /// Whether it gets new work.
    pub(super) fn is_serving(&self) -> bool {
        self.standing == Standing::Serving
    }

    /// Who is there for sure: whom we dialled, or who is proven.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Domain> {
        let dialled = self
            .remote
            .as_ref()
            .filter(|remote| self.initiating && !self.proven.contains_key(remote));
        dialled.into_iter().chain(self.proven.keys())
    }

    /// Whether its end was the peer's doing.
    pub(super) fn hung_up(&self) -> bool {
        self.ended_by_peer
    }

    /// How it ended.
    pub(super) fn end(&self) -> StreamEnd {
        self.end
    }

    /// The pairs that we may send for on it.
    pub(super) fn sending(&self) -> impl Iterator<Item = &DomainPair> {
        self.granted.keys()
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
            Box::new(Record {
                initiating,
                ..Record::default()
            }),
        );
    }

    pub(super) fn get(&self, stream: StreamKey) -> Option<&Record> {
        self.live.get(&stream).map(|record| &**record)
    }

    pub(super) fn get_mut(&mut self, stream: StreamKey) -> Option<&mut Record> {
        self.live.get_mut(&stream).map(|record| &mut **record)
    }

    /// The streams on which a further pair of `remote` might be asked for.
    pub(super) fn towards(&self, remote: &Domain) -> impl Iterator<Item = (StreamKey, &Record)> {
        self.towards
            .get(remote)
            .into_iter()
            .flat_map(FewSet::keys)
            .filter_map(|stream| self.live.get(stream).map(|record| (*stream, &**record)))
    }

    /// The streams that we opened to servers whose certificates name `remote`: a hint, which the stream judges.
    pub(super) fn certified(&self, remote: &Domain) -> impl Iterator<Item = (StreamKey, &Record)> {
        let name = remote.ascii().to_owned();
        let wildcard = name
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        [Some(name), wildcard]
            .into_iter()
            .flatten()
            .filter_map(|name| self.certified.get(&name))
            .flatten()
            .filter_map(|stream| self.live.get(stream).map(|record| (*stream, &**record)))
    }

    /// A stream that the peer is opening for just this pair, and that will carry it if `bidi` is likely.
    pub(super) fn expected(
        &self,
        pair: &DomainPair,
        bidi: Outlook,
        wait: Duration,
        now: Instant,
    ) -> Option<(StreamKey, Instant)> {
        self.negotiating_with
            .get(pair.remote().domain())?
            .iter()
            .filter_map(|stream| self.live.get(stream).map(|record| (*stream, &**record)))
            .find_map(|(stream, record)| {
                let until = record.identified? + wait;
                let coming = record.is_serving()
                    && record.local.as_ref() == Some(pair.local().domain())
                    && (record.bidirectional || bidi == Outlook::Likely)
                    && until > now;
                coming.then_some((stream, until))
            })
    }

    /// A pair's queue waits for the stream to become of use.
    pub(super) fn note_expected(&mut self, stream: StreamKey, pair: &DomainPair) {
        if let Some(record) = self.live.get_mut(&stream) {
            record.expected.insert(pair.clone());
        }
    }

    /// Nobody needs to wait for the stream any more; says who did.
    pub(super) fn take_expected(&mut self, stream: StreamKey) -> BTreeSet<DomainPair> {
        self.live
            .get_mut(&stream)
            .map(|record| std::mem::take(&mut record.expected))
            .unwrap_or_default()
    }

    /// The stream of ours that crossed with one of the peer's and has to give way, if there is one: the stream stays
    /// whose opener's domain is the smaller one.
    pub(super) fn yielding(&mut self, pair: &DomainPair) -> Option<StreamKey> {
        //= BIDI-53
        let able = self.able.get(pair)?;
        let bidirectional = |stream: &&StreamKey| {
            self.live
                .get(*stream)
                .is_some_and(|record| record.bidirectional && record.is_serving())
        };
        let opened_by_us = |stream: &&StreamKey| {
            self.live
                .get(*stream)
                .is_some_and(|record| record.initiating)
        };
        let ours = *able.iter().filter(bidirectional).find(opened_by_us)?;
        let theirs = *able
            .iter()
            .filter(bidirectional)
            .find(|stream| !opened_by_us(stream))?;
        let (our, their) = (self.live.get(&ours)?, self.live.get(&theirs)?);
        let smaller = their.remote.as_ref()?.ascii() < our.local.as_ref()?.ascii();
        if !smaller || !our.granted.is_subset(&their.granted) {
            return None;
        }
        self.live.get_mut(&ours)?.standing = Standing::Yielding;
        Some(ours)
    }

    /// A pair's queue waits for the answer to a request on the stream.
    pub(super) fn note_request(&mut self, stream: StreamKey, pair: &DomainPair) {
        if let Some(record) = self.live.get_mut(&stream) {
            record.requested.insert(pair.clone());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamKey, &Record)> {
        self.live
            .iter()
            .map(|(stream, record)| (*stream, &**record))
    }

    /// The stream that a pair's stanzas should take, if there is one already (BIDI-55).
    pub(super) fn able(&self, pair: &DomainPair) -> Option<StreamKey> {
        let able = self.able.get(pair)?;
        //= BIDI-52
        // If several are granted when the first stanza comes, the one that we opened.
        let opened = able.iter().find(|stream| {
            self.live
                .get(stream)
                .is_some_and(|record| record.initiating && record.is_serving())
        });
        let accepted = able.iter().find(|stream| {
            self.live
                .get(stream)
                .is_some_and(|record| record.is_serving())
        });
        let opened = opened.or(accepted);
        opened.or(able.first()).copied()
    }

    /// A stream that still takes answers for a pair whose domain of ours departed (BIDI-79).
    pub(super) fn answering(&self, pair: &DomainPair) -> Option<StreamKey> {
        self.answering.get(pair)?.first().copied()
    }

    /// Keeps the books of what happened on a stream.
    pub(super) fn note(&mut self, stream: StreamKey, event: &Event, now: Instant) {
        let Some(record) = self.live.get_mut(&stream) else {
            return;
        };
        match event {
            Event::Identified(peer) => {
                record.local = Some(peer.local.clone());
                record.remote.clone_from(&peer.remote);
                record.identified = Some(now);
                if let (false, Some(remote)) = (record.initiating, &peer.remote) {
                    self.negotiating_with
                        .entry(remote.clone())
                        .or_default()
                        .insert(stream);
                }
                if record.initiating {
                    record.names = peer
                        .names
                        .iter()
                        .filter_map(dns_name)
                        .take(NAMES_MAX)
                        .collect();
                    for name in &record.names {
                        self.certified
                            .entry(name.clone())
                            .or_default()
                            .insert(stream);
                    }
                }
                if let (true, Some(remote)) = (record.initiating, &peer.remote) {
                    let towards = self.towards.entry(remote.clone());
                    towards.or_default().add(stream);
                }
            }
            Event::Bidirectional => record.bidirectional = true,
            Event::Multiplexes => record.multiplexes = true,
            Event::Managed { .. } => record.managed = true,
            Event::Granted(Granted {
                pair, direction, ..
            }) => {
                record.first_grant.get_or_insert(now);
                if let Some(remote) = record.remote.as_ref().filter(|_| !record.initiating) {
                    forget(&mut self.negotiating_with, remote, stream);
                }
                match direction {
                    Direction::Inbound => {
                        let remote = pair.remote().domain().clone();
                        record.proven.add(remote.clone());
                        self.towards.entry(remote).or_default().add(stream);
                    }
                    Direction::Outbound => {
                        record.granted.add(pair.clone());
                        record.requested.remove(pair);
                        if record.answering.remove(pair) {
                            forget(&mut self.answering, pair, stream);
                        }
                        self.able.entry(pair.clone()).or_default().push(stream);
                    }
                }
            }
            //= BIDI-79
            Event::Revoked {
                pair,
                direction: Direction::Outbound,
            } => {
                record.granted.remove(pair);
                record.answering.insert(pair.clone());
                self.answering
                    .entry(pair.clone())
                    .or_default()
                    .insert(stream);
                self.unable(pair, stream);
            }
            Event::Departed { pair } => {
                if record.answering.remove(pair) {
                    forget(&mut self.answering, pair, stream);
                }
            }
            Event::Refused { pair, .. } | Event::Unanswered { pair } => {
                record.requested.remove(pair);
            }
            Event::Failed(error) => {
                // A peer that says that it goes down, or moves, does not hang up on anything.
                record.ended_by_peer = error.fault == Fault::Peer
                    && error.condition != StreamCondition::SystemShutdown
                    && error.condition != StreamCondition::Reset
                    && error.condition != StreamCondition::SeeOtherHost;
                if error.fault == Fault::Peer && error.condition == StreamCondition::SystemShutdown
                {
                    record.end = StreamEnd::PeerWentDown;
                }
                self.close(stream);
            }
            Event::Closed { .. } => {
                record.end = StreamEnd::Clean;
                self.close(stream);
            }
            Event::ResumeRequested { .. }
            | Event::Resumed { .. }
            | Event::OldBidiNamespace
            | Event::Pipelines
            | Event::SaslFailed { .. }
            | Event::KeyReceived(_)
            | Event::Revoked { .. }
            | Event::Vouched { .. }
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
        for remote in record.remote.iter().chain(record.proven.keys()) {
            if let Some(streams) = self.towards.get_mut(remote) {
                streams.remove(&stream);
                if streams.is_empty() {
                    self.towards.remove(remote);
                }
            }
            forget(&mut self.negotiating_with, remote, stream);
        }
        for name in &record.names {
            forget(&mut self.certified, name, stream);
        }
        record.requested
    }

    /// The stream did not take what was asked of it for a pair, and takes no more.
    pub(super) fn give_up(&mut self, stream: StreamKey, pair: &DomainPair) {
        if let Some(record) = self.live.get_mut(&stream) {
            record.requested.remove(pair);
        }
        self.close(stream);
    }

    /// The stream takes no more stanzas: nobody is sent to it again.
    fn close(&mut self, stream: StreamKey) {
        let Some(record) = self.live.get_mut(&stream) else {
            return;
        };
        record.standing = Standing::Closing;
        for pair in std::mem::take(&mut record.answering) {
            forget(&mut self.answering, &pair, stream);
        }
        for pair in std::mem::take(&mut record.granted).into_keys() {
            self.unable(&pair, stream);
        }
    }

    /// Nobody is sent to the stream for that pair any more.
    fn unable(&mut self, pair: &DomainPair, stream: StreamKey) {
        if let Some(able) = self.able.get_mut(pair) {
            able.retain(|other| *other != stream);
            if able.is_empty() {
                self.able.remove(pair);
            }
        }
    }
}

/// Whether a stream that a peer is opening will carry both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// The peer is known to ask for bidi.
    Likely,
    /// Nothing is known.
    Open,
}

/// Takes a stream out of an index.
fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<StreamKey>>, key: &K, stream: StreamKey) {
    if let Some(streams) = index.get_mut(key) {
        streams.remove(&stream);
        if streams.is_empty() {
            index.remove(key);
        }
    }
}

/// A name under which a certificate is looked for; the others are rare, and not needed for a hint.
fn dns_name(name: &CertificateName) -> Option<String> {
    match name {
        CertificateName::Dns(name) => Some(name.to_ascii_lowercase()),
        CertificateName::Srv { .. } | CertificateName::XmppAddr(_) => None,
    }
}

/// Names of one certificate that are looked for.
const NAMES_MAX: usize = 64;
