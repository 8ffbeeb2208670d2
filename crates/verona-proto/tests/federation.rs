//! Which stream carries which pair: what the federation is told, and every command that it answers with. The mutations
//! of scenarios A and B that concern several streams are here.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Domain, DomainPair, Hosts, Jid};
use verona_proto::dialback::{Answer, Verdict};
use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{AttemptKey, Command, Federation, Remains, Signal, StreamKey};
use verona_proto::grounds::Grounds;
use verona_proto::limits::Limits;
use verona_proto::outbox::{self, Drain, OutboxLimit};
use verona_proto::policy::{Federate, Multiplex, PeerPolicy, Policy};
use verona_proto::stanza::condition::{StanzaCondition, StreamCondition};
use verona_proto::stanza::{Stanza, StanzaKind};
use verona_proto::stream::{Cause, Check, Event, Granted, KeyCheck, Peer, Purpose, StreamError};

/// Our pair of scenario A, seen from montague.lit.
const PAIR: &str = "montague.lit~capulet.lit";
/// The second pair of scenario B.
const CONFERENCE: &str = "conference.montague.lit~capulet.lit";

/// A federation, and the drains that it handed out.
struct World {
    federation: Federation,
    hosts: Hosts,
    now: Instant,
    /// The queue of each pair that a stream carries or that was given back.
    drains: BTreeMap<String, Drain>,
}

impl World {
    fn new() -> Self {
        Self::with(PeerPolicy::default())
    }

    fn with(defaults: PeerPolicy) -> Self {
        let policy = Policy {
            defaults,
            peers: Vec::new(),
        };
        // The longest wait each time: a test should not depend on chance.
        let federation = Federation::new(Arc::new(policy), |below| below - 1);
        Self {
            federation,
            hosts: Hosts::new([domain("montague.lit"), domain("conference.montague.lit")]),
            now: Instant::now(),
            drains: BTreeMap::new(),
        }
    }

    /// Tells the federation something, and takes all that it wants done.
    fn tell(&mut self, signal: Signal) -> Vec<String> {
        self.federation.handle(signal, self.now);
        let mut said = Vec::new();
        while let Some(command) = self.federation.poll() {
            said.extend(self.say(command));
        }
        said
    }

    fn say(&mut self, command: Command) -> Option<String> {
        Some(match command {
            Command::Discover {
                attempt, remote, ..
            } => format!("discover {remote} for {}", attempt.0),
            Command::Connect {
                attempt,
                target,
                purpose,
            } => format!(
                "connect {} for {} to {}",
                target.address,
                attempt.0,
                aim(&purpose)
            ),
            Command::Request { stream, pair } => format!("request {pair} on {}", stream.0),
            Command::Verdict {
                stream,
                pair,
                verdict,
            } => format!("verdict {pair} on {} {}", stream.0, outcome(verdict)),
            Command::Carry {
                stream,
                pair,
                drain,
            } => {
                let ids = self.keep(&pair, drain);
                format!("carry {pair} on {}:{ids}", stream.0)
            }
            Command::Return {
                pair,
                drain,
                condition,
                ..
            } => {
                let ids = self.keep(&pair, drain);
                format!("return {pair} {}:{ids}", condition.name())
            }
            Command::Bounce {
                stanzas, condition, ..
            } => {
                let ids: String = stanzas.iter().map(id).collect();
                format!("bounce {}:{ids}", condition.name())
            }
            Command::Close { stream, error } => {
                format!("close {} {}", stream.0, error.condition.name())
            }
            Command::Report(_) => return None,
        })
    }

    /// Keeps a drain, and tells what is in it without taking it out.
    fn keep(&mut self, pair: &DomainPair, mut drain: Drain) -> String {
        let mut ids = String::new();
        while let Some(stanza) = drain.pull() {
            ids.push_str(&id(&stanza));
        }
        drain.requeue();
        self.drains.insert(pair.to_string(), drain);
        ids
    }

    /// A queue with the named stanzas has come into being.
    fn want(&mut self, pair: &str, ids: &[&str]) -> Vec<String> {
        let pair = self.pair(pair);
        let limit = OutboxLimit {
            stanzas: 100,
            bytes: 100_000,
        };
        let (feeder, drain) = outbox::new(limit);
        for id in ids {
            let jid = |domain: &Domain| Jid::parse(domain.as_str()).unwrap();
            let (from, to) = (jid(pair.local().domain()), jid(pair.remote().domain()));
            let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, Some(id), "");
            feeder.push(stanza, self.now).unwrap();
        }
        self.tell(Signal::Wanted(pair, drain))
    }

    /// The stream's end hands back the queues of these pairs.
    fn end(&mut self, stream: u64, pairs: &[&str]) -> Vec<String> {
        let drains = pairs
            .iter()
            .map(|pair| (self.pair(pair), self.drains.remove(*pair).unwrap()))
            .collect();
        self.tell(Signal::Ended(StreamKey(stream), Remains { drains }))
    }

    /// The stream that carries the pair writes all that waits.
    fn write_all(&mut self, pair: &str) {
        let drain = self.drains.get_mut(pair).unwrap();
        while drain.pull().is_some() {}
        drain.acknowledge(drain.unacknowledged());
    }

    /// A connection was accepted on which the peer claims to be `remote`.
    fn accept(&mut self, stream: u64, remote: &str) {
        assert_eq!(self.tell(Signal::Accepted(StreamKey(stream))), [""; 0]);
        self.identified(stream, remote);
    }

    /// As [`World::accept`]; the peer asked for bidi and proved the pair.
    fn accept_bidi(&mut self, stream: u64, pair: &str) -> Vec<String> {
        let remote = self.pair(pair).remote().domain().clone();
        self.accept(stream, remote.as_str());
        self.event(stream, Event::Bidirectional);
        let inbound = self.granted(stream, Direction::Inbound, pair);
        assert_eq!(inbound, [""; 0]);
        self.granted(stream, Direction::Outbound, pair)
    }

    /// The first server of an attempt was reached, and a stream begins.
    fn reach(&mut self, attempt: u64, stream: u64, remote: &str) {
        self.discovered(attempt, &["192.0.2.1:5269"]);
        assert_eq!(self.connected(attempt, Some(stream)), [""; 0]);
        self.identified(stream, remote);
    }

    fn identified(&mut self, stream: u64, remote: &str) {
        let peer = Peer {
            local: domain("montague.lit"),
            remote: Some(domain(remote)),
            certificate: Ok(()),
        };
        assert_eq!(self.event(stream, Event::Identified(peer)), [""; 0]);
    }

    fn discovered(&mut self, attempt: u64, addresses: &[&str]) -> Vec<String> {
        let targets = addresses.iter().map(|address| Target {
            address: address.parse().unwrap(),
            direct_tls: false,
            host: "server.invalid".into(),
        });
        self.tell(Signal::Discovered(
            AttemptKey(attempt),
            Ok(targets.collect()),
        ))
    }

    fn undiscovered(&mut self, attempt: u64, error: DiscoveryError) -> Vec<String> {
        self.tell(Signal::Discovered(AttemptKey(attempt), Err(error)))
    }

    fn connected(&mut self, attempt: u64, stream: Option<u64>) -> Vec<String> {
        let result = stream.map(StreamKey).ok_or("refused".to_owned());
        self.tell(Signal::Connected(AttemptKey(attempt), result))
    }

    fn event(&mut self, stream: u64, event: Event) -> Vec<String> {
        self.tell(Signal::Stream(StreamKey(stream), event))
    }

    fn granted(&mut self, stream: u64, direction: Direction, pair: &str) -> Vec<String> {
        let granted = Granted {
            pair: self.pair(pair),
            direction,
            grounds: Grounds {
                by: "dialback",
                inverse: false,
            },
        };
        self.event(stream, Event::Granted(granted))
    }

    fn failed(&mut self, stream: u64, cause: Cause) -> Vec<String> {
        let error = StreamError::peer(StreamCondition::UndefinedCondition, "it broke").at(cause);
        self.event(stream, Event::Failed(error))
    }

    fn key_received(&mut self, stream: u64, pair: &str, id: &str) -> Vec<String> {
        let check = self.check(pair, id);
        self.event(stream, Event::KeyReceived(check))
    }

    fn verified(&mut self, stream: u64, pair: &str, id: &str, verdict: Verdict) -> Vec<String> {
        let check = self.check(pair, id);
        self.event(stream, Event::Verified { check, verdict })
    }

    fn check(&self, pair: &str, id: &str) -> KeyCheck {
        KeyCheck {
            pair: self.pair(pair),
            id: id.into(),
            key: "key".into(),
        }
    }

    /// Time passes up to the federation's own deadline.
    fn wait(&mut self) -> Vec<String> {
        self.now = self.federation.deadline().unwrap().max(self.now);
        self.tell(Signal::Tick)
    }

    fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.tell(Signal::Tick)
    }

    fn pair(&self, text: &str) -> DomainPair {
        let (local, remote) = text.split_once('~').unwrap();
        self.hosts
            .pair(Direction::Outbound, &domain(local), &domain(remote))
            .unwrap()
    }

    /// Who serves the pair, in a word.
    fn route(&self, pair: &str) -> &'static str {
        let mut routes = self.federation.routes();
        let route = routes.find(|(other, _)| other.to_string() == pair);
        route.map_or("none", |(_, route)| route.name())
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn id(stanza: &Stanza) -> String {
    format!(" {}", stanza.id().unwrap())
}

fn aim(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Carry {
            pair,
            external,
            bidi,
        } => {
            let mut text = format!("carry {pair}");
            for (wanted, name) in [(external, "external"), (bidi, "bidi")] {
                if !wanted {
                    write!(text, " without {name}").unwrap();
                }
            }
            text
        }
        Purpose::Verify { pair, checks } => {
            let ids: Vec<&str> = checks.iter().map(|Check { id, .. }| id.as_str()).collect();
            format!("verify {pair} {}", ids.join(" "))
        }
    }
}

fn outcome(verdict: Verdict) -> String {
    match verdict {
        Verdict::Valid => "valid".into(),
        Verdict::Invalid => "invalid".into(),
        Verdict::Error(condition) => condition.name().into(),
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> PeerPolicy {
    let mut policy = PeerPolicy::default();
    change(&mut policy.limits);
    policy
}

#[test]
fn a_stanza_finds_its_way_over_the_first_server_that_answers() {
    //= DNS-08
    let mut world = World::new();
    assert_eq!(
        world.want(PAIR, &["1", "2"]),
        ["discover capulet.lit for 1"]
    );
    assert_eq!(world.route(PAIR), "seeking");
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269", "192.0.2.3:5269"]),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    assert_eq!(
        world.connected(1, None),
        ["connect 192.0.2.2:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    assert_eq!(world.connected(1, Some(7)), [""; 0]);
    // The second server speaks nonsense; the third is good.
    assert_eq!(
        world.failed(7, Cause::Stream),
        ["connect 192.0.2.3:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    assert_eq!(world.end(7, &[]), [""; 0]);
    assert_eq!(world.connected(1, Some(8)), [""; 0]);
    assert_eq!(
        world.granted(8, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 8: 1 2"]
    );
    assert_eq!(world.route(PAIR), "carried");
}

#[test]
fn a_server_that_hangs_up_at_auth_is_asked_once_more_without_it() {
    //= SASL-20
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.connected(1, Some(7));
    assert_eq!(
        world.failed(7, Cause::Sasl),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit without external"]
    );
    world.connected(1, Some(8));
    assert_eq!(
        world.failed(8, Cause::Sasl),
        ["connect 192.0.2.2:5269 for 1 to carry montague.lit~capulet.lit without external"]
    );
}

#[test]
fn a_server_that_hangs_up_behind_bidi_is_asked_once_more_without_it() {
    //= BIDI-69
    let closed = Event::Closed {
        cause: Cause::Dialback,
    };
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Bidirectional);
    assert_eq!(world.event(7, closed.clone()), [""; 0]);
    assert_eq!(
        world.end(7, &[]),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit without bidi"]
    );
    world.connected(1, Some(8));
    assert_eq!(world.event(8, closed.clone()), [""; 0]);
    assert_eq!(
        world.end(8, &[]),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
    // Where bidi was not requested it is not what made the peer hang up.
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(world.event(7, closed), [""; 0]);
    assert_eq!(
        world.end(7, &[]),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}

#[test]
fn what_another_server_would_say_too_is_asked_of_no_other() {
    //= DB-12
    for (answer, condition) in [
        (Answer::Invalid, "internal-server-error"),
        (
            Answer::Error(StanzaCondition::ItemNotFound),
            "remote-server-timeout",
        ),
    ] {
        let mut world = World::new();
        world.want(PAIR, &["1"]);
        world.discovered(1, &["192.0.2.1:5269"]);
        world.connected(1, Some(7));
        let pair = world.pair(PAIR);
        assert_eq!(
            world.event(7, Event::Refused { pair, answer }),
            [
                "close 7 undefined-condition".to_owned(),
                format!("return montague.lit~capulet.lit {condition}: 1")
            ]
        );
        assert_eq!(world.route(PAIR), "none");
    }
    // The certificate is not good enough: no other server of the domain is tried.
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.connected(1, Some(7));
    assert_eq!(
        world.failed(7, Cause::Identity),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}

#[test]
fn an_unreachable_domain_is_told_to_the_sender_and_left_alone_for_longer_each_time() {
    //= ROUTE-13
    //= STREAM-56
    let mut world = World::new();
    let mut waits = Vec::new();
    world.want(PAIR, &["1"]);
    for attempt in 1..=4 {
        world.discovered(attempt, &["192.0.2.1:5269"]);
        let id = attempt.to_string();
        assert_eq!(
            world.connected(attempt, None),
            [format!(
                "return montague.lit~capulet.lit remote-server-timeout: {id}"
            )]
        );
        // The next stanza waits out the pause, and then has an attempt of its own.
        let before = world.now;
        let next = (attempt + 1).to_string();
        assert_eq!(world.want(PAIR, &[&next]), [""; 0]);
        assert_eq!(world.route(PAIR), "resting");
        let mut said = Vec::new();
        while said.is_empty() {
            said = world.wait();
        }
        assert_eq!(said, [format!("discover capulet.lit for {next}")]);
        waits.push((world.now - before).as_secs());
    }
    assert_eq!(waits, [1, 3, 7, 15]);
}

#[test]
fn the_condition_tells_at_which_step_it_failed() {
    //= ROUTE-13
    let not_found = DiscoveryError::not_found("no such name");
    let temporary = DiscoveryError::temporary("no answer");
    for (error, condition) in [
        (not_found, "remote-server-not-found"),
        (temporary, "remote-server-timeout"),
    ] {
        let mut world = World::new();
        world.want(PAIR, &["1"]);
        assert_eq!(
            world.undiscovered(1, error),
            [format!("return montague.lit~capulet.lit {condition}: 1")]
        );
    }
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    assert_eq!(
        world.discovered(1, &[]),
        ["return montague.lit~capulet.lit remote-server-not-found: 1"]
    );
}

#[test]
fn a_domain_that_reaches_us_is_left_alone_no_longer() {
    //= STREAM-56
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.undiscovered(1, DiscoveryError::temporary("no answer"));
    assert_eq!(world.want(PAIR, &["2"]), [""; 0]);
    assert_eq!(
        world.accept_bidi(3, PAIR),
        ["carry montague.lit~capulet.lit on 3: 2"]
    );
    // Another pair with the same domain need not wait either.
    assert_eq!(
        world.want(CONFERENCE, &["3"]),
        ["discover capulet.lit for 2"]
    );
}

#[test]
fn the_connection_that_is_there_is_used_before_one_is_opened() {
    //= BIDI-55
    let mut world = World::new();
    assert_eq!(world.accept_bidi(3, PAIR), [""; 0]);
    assert_eq!(
        world.want(PAIR, &["1"]),
        ["carry montague.lit~capulet.lit on 3: 1"]
    );
}

#[test]
fn a_connection_without_bidi_is_not_used_for_the_other_direction() {
    //= BIDI-83
    //= BIDI-50
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    assert_eq!(world.granted(3, Direction::Inbound, PAIR), [""; 0]);
    assert_eq!(world.want(PAIR, &["1"]), ["discover capulet.lit for 1"]);
}

#[test]
fn simultaneous_connections_lose_nothing_and_keep_one_order() {
    // B-m22: both dial at once; each is granted on both.
    //= BIDI-51
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1", "2"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.accept_bidi(3, PAIR),
        ["carry montague.lit~capulet.lit on 3: 1 2"]
    );
    // Our own is granted as well: the pair stays where it is.
    assert_eq!(world.granted(7, Direction::Outbound, PAIR), [""; 0]);
    // The first one ends: what it gave back goes on over the other, in order.
    assert_eq!(
        world.end(3, &[PAIR]),
        ["carry montague.lit~capulet.lit on 7: 1 2"]
    );
}

#[test]
fn of_two_that_are_granted_the_one_that_we_opened_gets_the_first_stanza() {
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.granted(7, Direction::Outbound, PAIR);
    world.accept_bidi(3, PAIR);
    // The pair was idle and is forgotten.
    world.write_all(PAIR);
    assert_eq!(
        world.want(PAIR, &["2"]),
        ["carry montague.lit~capulet.lit on 7: 2"]
    );
}

#[test]
fn prosodys_own_stream_carries_when_it_is_granted_first() {
    // Our key makes the peer open a connection of its own; with bidi it is granted before ours.
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.accept(3, "capulet.lit");
    world.event(3, Event::Bidirectional);
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["discover capulet.lit for 2"],
        "its key is checked at once, whatever waits for our own (BIDI-56)"
    );
    world.reach(2, 8, "capulet.lit");
    assert_eq!(
        world.verified(8, PAIR, "M2", Verdict::Valid),
        ["verdict montague.lit~capulet.lit on 3 valid"]
    );
    world.granted(3, Direction::Inbound, PAIR);
    assert_eq!(
        world.granted(3, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 3: 1"]
    );
    // Ours is refused a moment later: nobody waits for it, nothing is returned.
    let pair = world.pair(PAIR);
    let answer = Answer::Error(StanzaCondition::ResourceConstraint);
    assert_eq!(
        world.event(7, Event::Refused { pair, answer }),
        ["close 7 undefined-condition"]
    );
    assert_eq!(world.route(PAIR), "carried");
}

#[test]
fn a_key_is_checked_on_a_connection_that_we_open_and_on_no_other() {
    //= BIDI-24
    //= BIDI-25
    //= DB-23
    let mut world = World::new();
    // B-m23: a good connection with the domain is there already, and even multiplexes.
    world.accept_bidi(2, PAIR);
    world.event(2, Event::Multiplexes);
    world.accept(3, "capulet.lit");
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["discover capulet.lit for 1"]
    );
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 1 to verify montague.lit~capulet.lit M2"]
    );
    assert_eq!(world.connected(1, Some(7)), [""; 0]);
    // Nobody but that connection may answer, and only to the question.
    for (stream, pair, id) in [
        (2, PAIR, "M2"),
        (3, PAIR, "M2"),
        (7, PAIR, "M1"),
        (7, CONFERENCE, "M2"),
    ] {
        assert_eq!(
            world.verified(stream, pair, id, Verdict::Valid),
            [""; 0],
            "{stream} {pair} {id}"
        );
    }
    assert_eq!(
        world.verified(7, PAIR, "M2", Verdict::Valid),
        ["verdict montague.lit~capulet.lit on 3 valid"]
    );
    assert_eq!(world.verified(7, PAIR, "M2", Verdict::Invalid), [""; 0]);
}

#[test]
fn two_streams_with_one_id_get_each_its_own_verdict() {
    // B-m27: ids of streams that we opened are chosen by the peer.
    //= BIDI-36
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.accept(4, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    world.key_received(4, PAIR, "M2");
    world.reach(1, 7, "capulet.lit");
    world.reach(2, 8, "capulet.lit");
    assert_eq!(
        world.verified(8, PAIR, "M2", Verdict::Invalid),
        ["verdict montague.lit~capulet.lit on 4 invalid"]
    );
    assert_eq!(
        world.verified(7, PAIR, "M2", Verdict::Valid),
        ["verdict montague.lit~capulet.lit on 3 valid"]
    );
}

#[test]
fn a_key_that_cannot_be_checked_is_answered_by_the_reason() {
    // B-m3, B-m4, B-m5.
    //= DB-38
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    assert_eq!(
        world.undiscovered(1, DiscoveryError::not_found("no such name")),
        ["verdict montague.lit~capulet.lit on 3 remote-server-not-found"]
    );
    world.key_received(3, PAIR, "M2");
    world.discovered(2, &["192.0.2.1:5269"]);
    assert_eq!(
        world.connected(2, None),
        ["verdict montague.lit~capulet.lit on 3 remote-connection-failed"]
    );
    world.key_received(3, PAIR, "M2");
    world.reach(3, 7, "capulet.lit");
    assert_eq!(
        world.end(7, &[]),
        ["verdict montague.lit~capulet.lit on 3 remote-server-timeout"]
    );
    world.key_received(3, PAIR, "M2");
    world.reach(4, 8, "capulet.lit");
    assert_eq!(
        world.failed(8, Cause::Tls),
        ["verdict montague.lit~capulet.lit on 3 policy-violation"]
    );
    world.key_received(3, PAIR, "M2");
    world.reach(5, 9, "capulet.lit");
    let unknown = Verdict::Error(StanzaCondition::ItemNotFound);
    assert_eq!(
        world.verified(9, PAIR, "M2", unknown),
        ["verdict montague.lit~capulet.lit on 3 remote-server-not-found"]
    );
}

#[test]
fn a_question_whose_asker_is_gone_is_dropped() {
    // B-m6.
    //= DB-28
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    world.reach(1, 7, "capulet.lit");
    assert_eq!(world.end(3, &[]), ["close 7 undefined-condition"]);
    assert_eq!(world.verified(7, PAIR, "M2", Verdict::Valid), [""; 0]);
    assert_eq!(world.end(7, &[]), [""; 0]);
}

#[test]
fn an_authoritative_server_that_never_answers_has_a_deadline() {
    //= DB-38
    //= LIM-14
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    assert_eq!(
        world.wait(),
        ["verdict montague.lit~capulet.lit on 3 remote-server-timeout"]
    );
    assert_eq!(world.discovered(1, &["192.0.2.1:5269"]), [""; 0]);
}

#[test]
fn a_further_pair_is_asked_for_where_the_peer_said_that_it_copes() {
    //= BIDI-26
    //= BIDI-76
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(
        world.want(CONFERENCE, &["1"]),
        ["request conference.montague.lit~capulet.lit on 3"]
    );
    assert_eq!(world.route(CONFERENCE), "requested");
    assert_eq!(
        world.granted(3, Direction::Outbound, CONFERENCE),
        ["carry conference.montague.lit~capulet.lit on 3: 1"]
    );
}

#[test]
fn nobody_else_is_asked_for_a_further_pair() {
    //= BIDI-27
    //= BIDI-76
    let seeks = "discover capulet.lit for 1";
    // It does not say that it copes.
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // It copes, but is not bidirectional.
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.event(3, Event::Multiplexes);
    world.granted(3, Direction::Inbound, PAIR);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // It copes, but has proven another domain and only claims this one.
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.event(3, Event::Multiplexes);
    world.event(3, Event::Bidirectional);
    world.granted(3, Direction::Inbound, "montague.lit~rooms.capulet.lit");
    world.granted(3, Direction::Outbound, "montague.lit~rooms.capulet.lit");
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // The configuration forbids it.
    let mut world = World::with(PeerPolicy {
        multiplex: Multiplex::Off,
        ..PeerPolicy::default()
    });
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // It has as many pairs as a stream may have.
    let mut world = World::with(limits(|limits| limits.pairs_per_stream_max = 1));
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
}

#[test]
fn a_peer_that_refuses_a_further_pair_gets_a_connection_and_is_not_asked_again() {
    // B-m17, and refusals of other kinds.
    //= BIDI-76
    let refusals: [fn(DomainPair) -> Event; 3] = [
        |pair| Event::Unanswered { pair },
        |pair| Event::Refused {
            pair,
            answer: Answer::Invalid,
        },
        |pair| Event::Refused {
            pair,
            answer: Answer::Error(StanzaCondition::NotAllowed),
        },
    ];
    for refusal in refusals {
        let mut world = World::new();
        world.accept_bidi(3, PAIR);
        world.event(3, Event::Multiplexes);
        world.want(PAIR, &["0"]);
        world.want(CONFERENCE, &["1"]);
        let pair = world.pair(CONFERENCE);
        assert_eq!(
            world.event(3, refusal(pair)),
            ["discover capulet.lit for 1"]
        );
        assert_eq!(world.route(CONFERENCE), "seeking");
        // The stream that refused goes on with what it carries.
        assert_eq!(world.route(PAIR), "carried");
        world.discovered(1, &["192.0.2.1:5269"]);
        world.connected(1, Some(7));
        assert_eq!(
            world.granted(7, Direction::Outbound, CONFERENCE),
            ["carry conference.montague.lit~capulet.lit on 7: 1"]
        );
    }
}

#[test]
fn a_peer_that_dies_of_a_further_pair_loses_no_stanza() {
    // B-m16.
    //= BIDI-76
    //= BIDI-59
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    world.want(PAIR, &["1", "2"]);
    world.want(CONFERENCE, &["3"]);
    assert_eq!(world.failed(3, Cause::Established), [""; 0]);
    assert_eq!(
        world.end(3, &[PAIR]),
        ["discover capulet.lit for 1", "discover capulet.lit for 2"]
    );
    world.reach(1, 7, "capulet.lit");
    world.reach(2, 8, "capulet.lit");
    assert_eq!(
        world.granted(7, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 7: 1 2"]
    );
    assert_eq!(
        world.granted(8, Direction::Outbound, CONFERENCE),
        ["carry conference.montague.lit~capulet.lit on 8: 3"]
    );
}

#[test]
fn a_stream_that_closes_is_given_nothing_more() {
    //= BIDI-58
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(
        3,
        Event::Closed {
            cause: Cause::Established,
        },
    );
    assert_eq!(world.want(PAIR, &["1"]), ["discover capulet.lit for 1"]);
}

#[test]
fn what_an_ended_stream_gives_back_is_served_again_in_order() {
    //= STREAM-47
    //= BIDI-58
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.want(PAIR, &["1", "2", "3"]);
    assert_eq!(world.end(3, &[PAIR]), ["discover capulet.lit for 1"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.granted(7, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 7: 1 2 3"]
    );
    // An empty queue needs nobody.
    world.write_all(PAIR);
    assert_eq!(world.end(7, &[PAIR]), [""; 0]);
    assert_eq!(world.route(PAIR), "none");
}

#[test]
fn a_stanza_that_waits_too_long_goes_back() {
    //= ROUTE-24
    let mut world = World::with(limits(|limits| {
        limits.outbox_age_seconds = 20;
        limits.attempt_seconds = 1000;
    }));
    world.want(PAIR, &["1"]);
    assert_eq!(world.pass(19), [""; 0]);
    assert_eq!(world.pass(2), ["bounce remote-server-timeout: 1"]);
    // Nobody waits for the attempt any more.
    assert_eq!(world.route(PAIR), "none");
    assert_eq!(world.discovered(1, &["192.0.2.1:5269"]), [""; 0]);
    assert_eq!(world.want(PAIR, &["2"]), ["discover capulet.lit for 2"]);
}

#[test]
fn an_attempt_over_many_slow_servers_has_an_end() {
    //= LIM-14
    let mut world = World::with(limits(|limits| limits.outbox_age_seconds = 1000));
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.wait(),
        [
            "return montague.lit~capulet.lit remote-server-timeout: 1",
            "close 7 undefined-condition"
        ]
    );
}

#[test]
fn attempts_are_bounded_and_those_that_wait_get_their_turn() {
    let mut world = World::with(limits(|limits| limits.attempts_concurrent_max = 2));
    assert_eq!(
        world.want("montague.lit~a.lit", &["1"]),
        ["discover a.lit for 1"]
    );
    assert_eq!(
        world.want("montague.lit~b.lit", &["2"]),
        ["discover b.lit for 2"]
    );
    assert_eq!(world.want("montague.lit~c.lit", &["3"]), [""; 0]);
    assert_eq!(
        world.undiscovered(1, DiscoveryError::not_found("no such name")),
        [
            "return montague.lit~a.lit remote-server-not-found: 1",
            "discover c.lit for 3"
        ]
    );
}

#[test]
fn keys_under_check_are_bounded() {
    //= DB-53
    let mut world = World::with(limits(|limits| limits.verifications_pending_max = 1));
    world.accept(3, "capulet.lit");
    world.accept(4, "other.lit");
    assert_eq!(world.key_received(3, PAIR, "M2").len(), 1);
    assert_eq!(
        world.key_received(4, "montague.lit~other.lit", "M3"),
        ["verdict montague.lit~other.lit on 4 resource-constraint"]
    );
}

#[test]
fn a_forbidden_domain_is_neither_dialled_nor_asked() {
    //= ROUTE-26
    let mut world = World::with(PeerPolicy {
        federate: Federate::Deny,
        ..PeerPolicy::default()
    });
    assert_eq!(
        world.want(PAIR, &["1"]),
        ["return montague.lit~capulet.lit not-allowed: 1"]
    );
}

#[test]
fn at_the_end_everything_is_given_back_and_every_stream_closed() {
    //= STREAM-59
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.want(PAIR, &["1"]);
    world.want("montague.lit~other.lit", &["2"]);
    world.reach(1, 7, "other.lit");
    assert_eq!(
        world.want("montague.lit~slow.lit", &["3"]),
        ["discover slow.lit for 2"]
    );
    assert_eq!(
        world.tell(Signal::Shutdown),
        [
            "return montague.lit~other.lit remote-server-timeout: 2",
            "return montague.lit~slow.lit remote-server-timeout: 3",
            "close 3 system-shutdown",
            "close 7 system-shutdown"
        ]
    );
    // What comes late is refused.
    assert_eq!(
        world.want(CONFERENCE, &["4"]),
        ["return conference.montague.lit~capulet.lit remote-server-timeout: 4"]
    );
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["verdict montague.lit~capulet.lit on 3 resource-constraint"]
    );
    assert_eq!(world.discovered(2, &["192.0.2.1:5269"]), [""; 0]);
    assert_eq!(world.connected(2, Some(9)), ["close 9 undefined-condition"]);
    assert_eq!(
        world.end(3, &[PAIR]),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}
