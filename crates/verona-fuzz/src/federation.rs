//! The federation against streams, dials and look-ups that go any way: no queue is lost, none is given to a stream that
//! may not send for it, no verdict is made up, and in the end everything is given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Domain, DomainPair, Hosts, Jid};
use verona_proto::dialback::{Answer, Verdict};
use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{
    AttemptKey, Command, Federation, Reached, Remains, Route, Signal, StreamKey, Unreached,
};
use verona_proto::grounds::{Assurance, Grounds, Identity, Proof};
use verona_proto::limits::Limits;
use verona_proto::outbox::{self, Drain, Feeder, OutboxLimit};
use verona_proto::policy::{Federate, Multiplex, PeerPolicy, Policy};
use verona_proto::stanza::condition::{StanzaCondition, StreamCondition};
use verona_proto::stanza::{Stanza, StanzaKind};
use verona_proto::stream::{Cause, Event, Fault, Granted, KeyCheck, Peer, Purpose, StreamError};
use verona_proto::trust::Unproven;

use crate::choices::Choices;

const OURS: [&str; 2] = ["montague.lit", "conference.montague.lit"];
const THEIRS: [&str; 3] = ["capulet.lit", "rooms.capulet.lit", "bank.lit"];
const EVENTS_MAX: usize = 96;
const STREAMS_MAX: usize = 12;

/// One byte of choices, then events.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new(&mut choices);
    for _ in 0..EVENTS_MAX {
        if choices.is_used_up() {
            break;
        }
        world.event(&mut choices);
        world.nothing_is_lost();
    }
    world.end();
}

/// All that is outside of the federation.
struct World {
    federation: Federation,
    hosts: Hosts,
    limits: Limits,
    multiplex: Multiplex,
    now: Instant,
    feeders: BTreeMap<DomainPair, Feeder>,
    streams: BTreeMap<u64, Connection>,
    /// Every key that was ever given to a stream.
    last_stream: u64,
    searches: BTreeMap<u64, Search>,
    /// Keys that the authoritative server called valid, on a connection that we opened to ask it.
    vouched: BTreeSet<KeyCheck>,
    /// Stanzas that went into queues, and those that came out in any way.
    pushed: usize,
    gone: usize,
    is_over: bool,
}

/// A live stream.
#[derive(Default)]
struct Connection {
    /// Why we opened it; none when it was accepted.
    purpose: Option<Purpose>,
    may_send: BTreeSet<DomainPair>,
    /// Keys that it has brought and that have no verdict yet.
    keys: Vec<KeyCheck>,
    has_failed: bool,
    carried: BTreeMap<DomainPair, Drain>,
}

/// An attempt that waits for an answer.
enum Search {
    Looking,
    Dialling {
        targets: Vec<Target>,
        until: Instant,
        purpose: Purpose,
    },
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let how = choices.byte();
        let multiplex = [Multiplex::Auto, Multiplex::On, Multiplex::Off];
        let mut defaults = PeerPolicy {
            multiplex: multiplex[usize::from(how & 3) % 3],
            ..PeerPolicy::default()
        };
        if how & 4 != 0 {
            defaults.limits.attempts_concurrent_max = 2;
            defaults.limits.verifications_pending_max = 2;
            defaults.limits.pairs_per_stream_max = 2;
        }
        if how & 0xF0 == 0xF0 {
            defaults.federate = Federate::Deny;
        }
        let limits = defaults.limits.clone();
        let multiplex = defaults.multiplex;
        let mut chance = u64::from(how);
        let random = move |below: u64| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (chance >> 33) % below.max(1)
        };
        let policy = Policy {
            defaults,
            peers: Vec::new(),
        };
        Self {
            federation: Federation::new(Arc::new(policy), random),
            hosts: Hosts::new(OURS.map(domain)),
            limits,
            multiplex,
            now: Instant::now(),
            feeders: BTreeMap::new(),
            streams: BTreeMap::new(),
            last_stream: 0,
            searches: BTreeMap::new(),
            vouched: BTreeSet::new(),
            pushed: 0,
            gone: 0,
            is_over: false,
        }
    }

    fn event(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 | 1 => {
                let pair = self.pair(choices);
                self.push(&pair);
            }
            2 => {
                if self.streams.len() < STREAMS_MAX {
                    let stream = self.begin(None);
                    self.tell(Signal::Accepted(StreamKey(stream)));
                }
            }
            3..=7 => self.on_stream(choices),
            8 => {
                if let Some(stream) = any_key(&self.streams, choices) {
                    self.end_stream(stream, choices.flag());
                }
            }
            9..=11 => {
                if let Some(key) = any_key(&self.searches, choices) {
                    self.answer(key, choices);
                }
            }
            12 => {
                match choices.below(4) {
                    0 => self.now += Duration::from_secs(u64::from(choices.byte())),
                    _ => {
                        self.now = self
                            .federation
                            .deadline()
                            .map_or(self.now, |at| at.max(self.now))
                    }
                }
                self.tell(Signal::Tick);
            }
            13 => {
                // An answer that comes when nobody waits for it any more.
                let key = AttemptKey(u64::from(choices.byte()));
                if !self.searches.contains_key(&key.0) {
                    let signal = match choices.below(3) {
                        0 => Signal::Discovered(key, Ok(targets(2))),
                        1 => Signal::Connected(key, Err(Vec::new())),
                        _ => {
                            let stream = self.begin(None);
                            Signal::Connected(key, Ok(reached(stream, targets(2), choices)))
                        }
                    };
                    self.tell(signal);
                }
            }
            14 => {
                if let Some(stream) = any_key(&self.streams, choices) {
                    self.write(stream, choices);
                }
            }
            _ => {
                if choices.byte() > 240 {
                    self.is_over = true;
                    self.tell(Signal::Shutdown);
                }
            }
        }
    }

    /// A pair has a stanza: the first one brings its queue along.
    fn push(&mut self, pair: &DomainPair) {
        let jid = |domain: &Domain| Jid::from(domain.clone());
        let (from, to) = (jid(pair.local().domain()), jid(pair.remote().domain()));
        let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, "");
        let is_open = self
            .feeders
            .get(pair)
            .is_some_and(|feeder| !feeder.is_closed());
        if is_open {
            let pushed = self
                .feeders
                .get(pair)
                .map(|feeder| feeder.push(stanza, self.now).is_ok());
            self.pushed += usize::from(pushed == Some(true));
            return;
        }
        let (feeder, drain) = outbox::new(OutboxLimit {
            stanzas: 8,
            bytes: 10_000,
        });
        self.pushed += usize::from(feeder.push(stanza, self.now).is_ok());
        self.feeders.insert(pair.clone(), feeder);
        self.tell(Signal::Wanted(pair.clone(), drain));
    }

    fn begin(&mut self, purpose: Option<Purpose>) -> u64 {
        self.last_stream += 1;
        let connection = Connection {
            purpose,
            ..Connection::default()
        };
        self.streams.insert(self.last_stream, connection);
        self.last_stream
    }

    /// Something happens on a live stream.
    fn on_stream(&mut self, choices: &mut Choices<'_>) {
        let Some(stream) = any_key(&self.streams, choices) else {
            return;
        };
        let pair = self.pair(choices);
        let Some(connection) = self.streams.get_mut(&stream) else {
            return;
        };
        if connection.has_failed {
            return;
        }
        let check = |id: &str| KeyCheck {
            pair: pair.clone(),
            id: id.to_owned(),
            key: "key".to_owned(),
        };
        let granted = |direction| {
            let grounds = Grounds::inbound(Proof::Dialback(Assurance::Dns));
            Event::Granted(Granted {
                pair: pair.clone(),
                direction,
                grounds,
            })
        };
        let event = match choices.below(16) {
            0..=3 => {
                connection.may_send.insert(pair.clone());
                granted(Direction::Outbound)
            }
            4 => granted(Direction::Inbound),
            5 => Event::Identified(Peer {
                local: pair.local().domain().clone(),
                remote: Some(pair.remote().domain().clone()),
                certificate: match choices.flag() {
                    true => Ok(choices.one_of(&[Identity::Certificate, Identity::Dane])),
                    false => Err(Unproven::Nameless),
                },
                public_key: None,
                names: Vec::new(),
            }),
            6 => Event::Bidirectional,
            7 => Event::Multiplexes,
            8 => {
                // A stream has one key of a pair checked at a time.
                if connection.keys.iter().any(|it| it.pair == pair) {
                    return;
                }
                let check = check(choices.one_of(&["id1", "id2"]));
                connection.keys.push(check.clone());
                Event::KeyReceived(check)
            }
            9 | 10 => {
                let verdict = choices.one_of(&[
                    Verdict::Valid,
                    Verdict::Invalid,
                    Verdict::Error(StanzaCondition::ItemNotFound),
                ]);
                let Some(Purpose::Verify { pair, checks }) = &connection.purpose else {
                    return;
                };
                let Some(asked) = checks.first() else {
                    return;
                };
                let check = KeyCheck {
                    pair: pair.clone(),
                    id: asked.id.clone(),
                    key: asked.key.clone(),
                };
                if verdict == Verdict::Valid {
                    self.vouched.insert(check.clone());
                }
                Event::Verified {
                    check,
                    verdict,
                    assurance: verona_proto::grounds::Assurance::Dns,
                }
            }
            11 => Event::Refused {
                pair,
                answer: choices.one_of(&[
                    Answer::Invalid,
                    Answer::Error(StanzaCondition::RemoteServerTimeout),
                ]),
            },
            12 => Event::Unanswered { pair },
            13 => {
                connection.has_failed = true;
                let cause = choices.one_of(&[
                    Cause::Tls,
                    Cause::Sasl,
                    Cause::Dialback,
                    Cause::Established,
                    Cause::Stream,
                ]);
                let condition = choices.one_of(&[
                    StreamCondition::UndefinedCondition,
                    StreamCondition::SeeOtherHost,
                ]);
                let mut error = StreamError::peer(condition, "it broke").at(cause);
                error.other_host = choices
                    .one_of(&[
                        None,
                        Some("xmpp.capulet.lit"),
                        Some("xmpp.capulet.lit:9222"),
                        Some("192.0.2.1"),
                        Some("[2001:db8::1]:5270"),
                        Some("server.invalid:5269"),
                        Some("nowhere at all"),
                    ])
                    .map(str::to_owned);
                Event::Failed(error)
            }
            14 => {
                connection.has_failed = true;
                Event::Closed {
                    cause: choices.one_of(&[Cause::Idle, Cause::Established]),
                }
            }
            _ => Event::SaslFailed {
                text: "no".to_owned(),
            },
        };
        self.tell(Signal::Stream(StreamKey(stream), event));
    }

    /// A stream ends and hands back what it carried; what it had pulled it puts back, or it is gone.
    fn end_stream(&mut self, stream: u64, requeues: bool) {
        let Some(connection) = self.streams.remove(&stream) else {
            return;
        };
        let mut drains = Vec::new();
        for (pair, mut drain) in connection.carried {
            match requeues {
                true => drain.requeue(),
                false => {
                    let gone = drain.unacknowledged();
                    drain.acknowledge(gone);
                    self.gone += gone;
                }
            }
            drains.push((pair, drain));
        }
        let remains = Remains::untouched(drains);
        self.tell(Signal::Ended(StreamKey(stream), remains));
    }

    fn answer(&mut self, key: u64, choices: &mut Choices<'_>) {
        let how = choices.below(8);
        let Some(search) = self.searches.remove(&key) else {
            return;
        };
        let attempt = AttemptKey(key);
        let signal = match (search, how) {
            (Search::Looking, 0) => Signal::Discovered(attempt, Ok(Vec::new())),
            (Search::Looking, 1) => {
                Signal::Discovered(attempt, Err(DiscoveryError::not_found("no")))
            }
            (Search::Looking, 2) => {
                Signal::Discovered(attempt, Err(DiscoveryError::temporary("no")))
            }
            (Search::Looking, _) => Signal::Discovered(attempt, Ok(targets(how - 2))),
            (Search::Dialling { targets, .. }, 0 | 1) => {
                let failed = targets.into_iter().map(|target| unreached(target, choices));
                Signal::Connected(attempt, Err(failed.collect()))
            }
            (
                Search::Dialling {
                    targets, purpose, ..
                },
                _,
            ) => {
                let stream = self.begin(Some(purpose));
                Signal::Connected(attempt, Ok(reached(stream, targets, choices)))
            }
        };
        self.tell(signal);
    }

    /// A stream writes some of what it carries.
    fn write(&mut self, stream: u64, choices: &mut Choices<'_>) {
        let Some(connection) = self.streams.get_mut(&stream) else {
            return;
        };
        for drain in connection.carried.values_mut() {
            for _ in 0..choices.below(4) {
                let _ = drain.pull();
            }
            let count = choices.below(4).min(drain.unacknowledged());
            drain.acknowledge(count);
            self.gone += count;
        }
    }

    fn tell(&mut self, signal: Signal) {
        self.federation.handle(signal, self.now);
        let mut said = 0;
        while let Some(command) = self.federation.poll() {
            said += 1;
            assert!(said < 500, "one signal, and no end of commands");
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Discover { attempt, .. } | Command::Resolve { attempt, .. } => {
                assert!(!self.is_over, "a search begins after the end");
                let former = self.searches.insert(attempt.0, Search::Looking);
                assert!(former.is_none(), "an attempt looks for servers twice");
            }
            Command::Connect {
                attempt,
                targets,
                until,
                purpose,
            } => {
                assert!(!self.is_over, "a dial begins after the end");
                assert!(!targets.is_empty(), "nothing is to be dialled");
                let dialling = Search::Dialling {
                    targets,
                    until,
                    purpose,
                };
                let former = self.searches.insert(attempt.0, dialling);
                assert!(former.is_none(), "an attempt dials twice at once");
            }
            Command::Request { stream, pair } => {
                let connection = self.live(stream);
                assert!(!connection.has_failed, "asked on a stream that has failed");
                assert!(
                    !connection.may_send.contains(&pair),
                    "asked for what is granted"
                );
                assert!(self.multiplex != Multiplex::Off, "multiplexing is off");
            }
            Command::Verdict {
                stream,
                pair,
                verdict,
                ..
            } => self.settle(stream, &pair, verdict),
            Command::Converge { stream }
            | Command::Resume { stream, .. }
            | Command::Abandon { stream } => {
                let _ = self.live(stream);
            }
            Command::Settled(_) => {}
            Command::Carry {
                stream,
                pair,
                drain,
            } => {
                let connection = self.live(stream);
                assert!(
                    connection.may_send.contains(&pair),
                    "{pair} is not granted on {stream:?}"
                );
                let former = connection.carried.insert(pair, drain);
                assert!(former.is_none(), "two queues of one pair");
            }
            Command::Return { pair, drain, .. } => {
                assert!(self.feeders.contains_key(&pair));
                self.gone += drain.close().len();
            }
            Command::Bounce { stanzas, .. } => self.gone += stanzas.len(),
            Command::Close { stream, .. } => {
                assert!(stream.0 <= self.last_stream, "{stream:?} never was");
            }
            Command::Report(_) => {}
        }
    }

    /// A verdict answers a key, and `valid` is only said when the authoritative server said so.
    fn settle(&mut self, stream: StreamKey, pair: &DomainPair, verdict: Verdict) {
        let Some(connection) = self.streams.get_mut(&stream.0) else {
            panic!("a verdict for {stream:?}, which has ended");
        };
        let position = connection.keys.iter().position(|check| check.pair == *pair);
        let Some(position) = position else {
            panic!("a verdict {verdict:?} for {pair}, of which there is no key on {stream:?}");
        };
        let check = connection.keys.remove(position);
        assert!(
            verdict != Verdict::Valid || self.vouched.contains(&check),
            "`valid` for {check:?}, which nobody vouched for"
        );
    }

    fn live(&mut self, stream: StreamKey) -> &mut Connection {
        let connection = self.streams.get_mut(&stream.0);
        connection.unwrap_or_else(|| panic!("{stream:?} has ended"))
    }

    /// Each queue is with the federation or with one stream; what waits has somebody who wakes it.
    fn nothing_is_lost(&self) {
        let mut waits = false;
        for (pair, route) in self.federation.routes() {
            match route {
                Route::Carried { stream } => {
                    let connection = self.streams.get(&stream.0);
                    let carries = connection.is_some_and(|it| it.carried.contains_key(pair));
                    assert!(carries, "{pair} is not carried by {stream:?}");
                }
                Route::Seeking { .. }
                | Route::Requested { .. }
                | Route::Expected { .. }
                | Route::Resting { .. }
                | Route::Suspended => waits = true,
            }
        }
        assert!(
            !waits || self.federation.deadline().is_some(),
            "waits for ever"
        );
        assert!(self.federation.routes().count() <= OURS.len() * THEIRS.len());
        let mut queued = 0;
        for (pair, feeder) in &self.feeders {
            assert!(
                feeder.reclaim().is_none(),
                "the queue of {pair} was dropped"
            );
            queued += feeder.queued();
        }
        let carried = self.streams.values().flat_map(|it| it.carried.values());
        let pulled: usize = carried.map(Drain::unacknowledged).sum();
        assert_eq!(
            self.pushed,
            self.gone + queued + pulled,
            "stanzas came from nowhere, or went there"
        );
        let (mut carrying, mut verifying) = (0, 0);
        for search in self.searches.values() {
            match search {
                // Whoever dials has given up by then.
                Search::Dialling { until, .. } if *until <= self.now => {}
                Search::Dialling {
                    purpose: Purpose::Carry { .. },
                    ..
                } => carrying += 1,
                Search::Dialling {
                    purpose: Purpose::Verify { .. },
                    ..
                } => verifying += 1,
                Search::Looking => {}
            }
        }
        assert!(
            carrying <= self.limits.attempts_concurrent_max.max(12),
            "{carrying} dials at once"
        );
        assert!(
            verifying <= self.limits.verifications_pending_max,
            "{verifying} dials for keys at once"
        );
    }

    /// Everything ends, and everything is given back.
    fn end(mut self) {
        self.is_over = true;
        self.tell(Signal::Shutdown);
        let streams: Vec<u64> = self.streams.keys().copied().collect();
        for stream in streams {
            self.end_stream(stream, true);
            self.nothing_is_lost();
        }
        assert_eq!(self.federation.routes().count(), 0, "{:?}", self.federation);
        for (pair, feeder) in &self.feeders {
            assert!(feeder.is_closed(), "the queue of {pair} was not given back");
        }
        assert_eq!(self.pushed, self.gone, "stanzas were not given back");
    }

    fn pair(&self, choices: &mut Choices<'_>) -> DomainPair {
        let (local, remote) = (
            domain(choices.one_of(&OURS)),
            domain(choices.one_of(&THEIRS)),
        );
        let pair = self.hosts.pair(Direction::Outbound, &local, &remote);
        pair.expect("one is ours, one is not")
    }
}

fn any_key<T>(from: &BTreeMap<u64, T>, choices: &mut Choices<'_>) -> Option<u64> {
    let at = choices.below(from.len());
    from.keys().nth(at).copied()
}

/// Any of the servers answered; some of the others had failed, and some are left.
fn reached(stream: u64, mut targets: Vec<Target>, choices: &mut Choices<'_>) -> Reached {
    let target = targets.remove(choices.below(targets.len()));
    let mut left = Vec::new();
    let mut failed = Vec::new();
    for target in targets {
        match choices.flag() {
            true => left.push(target),
            false => failed.push(unreached(target, choices)),
        }
    }
    Reached {
        stream: StreamKey(stream),
        target,
        failed,
        left,
    }
}

fn unreached(target: Target, choices: &mut Choices<'_>) -> Unreached {
    Unreached {
        target,
        text: "refused".to_owned(),
        fault: choices.one_of(&[Fault::Peer, Fault::Local, Fault::Policy]),
    }
}

fn targets(count: usize) -> Vec<Target> {
    let target = |last: usize| {
        let address = format!("192.0.2.{last}:5269").parse().expect("an address");
        Target::new(address, last.is_multiple_of(2), "server.invalid")
    };
    (1..=count).map(target).collect()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a domain of the stage")
}
