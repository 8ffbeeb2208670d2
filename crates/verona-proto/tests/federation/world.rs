//! A federation without streams: it is told what happens, and every command that it answers with is a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Domain, DomainPair, Hosts, Jid};
use verona_proto::carriage::{Carriage, Counted, Custody, Keep};
use verona_proto::dialback::Verdict;
use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{
    AttemptKey, Command, Federation, LostStream, Reached, Remains, Report, Signal, StreamKey,
    Unreached,
};
use verona_proto::grounds::{Assurance, Grounds, Identity, Proof};
use verona_proto::learned::Learned;
use verona_proto::limits::{Limit, LimitCounts, Limits};
use verona_proto::outbox::{self, Drain, OutboxLimit};
use verona_proto::policy::{PeerPolicy, Policy};
use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stanza::{Stanza, StanzaKind};
use verona_proto::stream::{
    Cause, Check, Event, Fault, Granted, KeyCheck, Pace, Peer, Purpose, Role, StreamError,
    TheirSide, Ticket,
};
use verona_proto::trust::Unproven;

/// Our pair of scenario A, seen from montague.lit.
pub(crate) const PAIR: &str = "montague.lit~capulet.lit";
/// The second pair of scenario B.
pub(crate) const CONFERENCE: &str = "conference.montague.lit~capulet.lit";

/// A federation, and the drains that it handed out.
pub(crate) struct World {
    pub(crate) federation: Federation,
    pub(crate) learned: Learned,
    pub(crate) hosts: Hosts,
    pub(crate) now: Instant,
    /// The queue of each pair that a stream carries or that was given back.
    pub(crate) drains: BTreeMap<String, Drain>,
    /// What the operator was told of searches.
    pub(crate) reports: Vec<String>,
    /// How the peer's side of a stream ends.
    pub(crate) their_side: TheirSide,
    /// What each attempt wanted to be dialled last.
    pub(crate) dialled: BTreeMap<u64, Vec<Target>>,
    reached: LimitCounts,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(PeerPolicy::default())
    }

    pub(crate) fn with(defaults: PeerPolicy) -> Self {
        let policy = Policy {
            defaults,
            peers: Vec::new(),
        };
        // The longest wait each time: a test should not depend on chance.
        let learned = Learned::default();
        let reached = LimitCounts::default();
        let federation = Federation::new(Arc::new(policy), |below| below - 1)
            .remembering(learned.clone())
            .counting(reached.clone())
            .dating(|then, now| format!("{}s-ago", now.duration_since(then).as_secs()));
        Self {
            federation,
            learned,
            hosts: Hosts::new([domain("montague.lit"), domain("conference.montague.lit")]),
            now: Instant::now(),
            drains: BTreeMap::new(),
            reports: Vec::new(),
            their_side: TheirSide::Cut,
            dialled: BTreeMap::new(),
            reached,
        }
    }

    /// How often a limit took effect.
    pub(crate) fn reached(&self, limit: Limit) -> u64 {
        self.reached.count(limit)
    }

    /// Tells the federation something, and takes all that it wants done.
    pub(crate) fn tell(&mut self, signal: Signal) -> Vec<String> {
        self.federation.handle(signal, self.now);
        let mut said = Vec::new();
        while let Some(command) = self.federation.poll() {
            said.extend(self.say(command));
        }
        said
    }

    pub(crate) fn say(&mut self, command: Command) -> Option<String> {
        Some(match command {
            Command::Discover {
                attempt, remote, ..
            } => format!("discover {remote} for {}", attempt.0),
            Command::Resolve {
                attempt,
                host,
                direct_tls,
            } => {
                let how = if direct_tls { " with direct TLS" } else { "" };
                format!("resolve {host}{how} for {}", attempt.0)
            }
            Command::Connect {
                attempt,
                targets,
                purpose,
                ..
            } => {
                let addresses: Vec<String> = targets
                    .iter()
                    .map(|target| target.address.to_string())
                    .collect();
                let text = format!(
                    "connect {} for {} to {}",
                    addresses.join(" "),
                    attempt.0,
                    aim(&purpose)
                );
                self.dialled.insert(attempt.0, targets);
                text
            }
            Command::Request { stream, pair } => format!("request {pair} on {}", stream.0),
            Command::Verdict {
                stream,
                pair,
                verdict,
                ..
            } => format!("verdict {pair} on {} {}", stream.0, outcome(verdict)),
            Command::Carry {
                stream,
                pair,
                drain,
            } => {
                let ids = self.keep(&pair, drain);
                format!("carry {pair} on {}:{ids}", stream.0)
            }
            Command::Return { pair, drain, why } => {
                let ids = self.keep(&pair, drain);
                format!("return {pair} {}:{ids}", why.reason().condition().name())
            }
            Command::Bounce { stanzas, why } => {
                let ids: String = stanzas.iter().map(id).collect();
                format!("bounce {}:{ids}", why.reason().condition().name())
            }
            Command::Close { stream, error } => {
                format!("close {} {}", stream.0, error.condition.name())
            }
            Command::Converge { stream } => format!("converge {}", stream.0),
            Command::Resume { stream, found } => match found {
                Some(ticket) => format!("resume {} {} h={}", stream.0, ticket.id, ticket.handled),
                None => format!("resume {} nothing", stream.0),
            },
            Command::Abandon { stream } => format!("abandon {}", stream.0),
            Command::Settled(settled) => format!("settled {}", settled.delivered),
            Command::Report(report) => {
                self.reports.extend(told(&report));
                return None;
            }
        })
    }

    /// Keeps a drain, and tells what is in it without taking it out.
    pub(crate) fn keep(&mut self, pair: &DomainPair, mut drain: Drain) -> String {
        let mut ids = String::new();
        while let Some(stanza) = drain.pull() {
            ids.push_str(&id(&stanza));
        }
        drain.requeue();
        self.drains.insert(pair.to_string(), drain);
        ids
    }

    /// A queue with the named stanzas has come into being.
    pub(crate) fn want(&mut self, pair: &str, ids: &[&str]) -> Vec<String> {
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
    pub(crate) fn end(&mut self, stream: u64, pairs: &[&str]) -> Vec<String> {
        let drains: Vec<(DomainPair, Drain)> = pairs
            .iter()
            .map(|pair| (self.pair(pair), self.drains.remove(*pair).unwrap()))
            .collect();
        let remains = Remains::untouched(drains);
        self.tell(Signal::Ended(StreamKey(stream), remains))
    }

    /// Acknowledgements are agreed on, and the stream has a name.
    pub(crate) fn managed(&mut self, stream: u64, pair: &str, id: &str) {
        let event = Event::Managed {
            pair: self.pair(pair),
            id: Some(id.to_owned()),
        };
        assert_eq!(self.event(stream, event), [""; 0]);
    }

    /// A stream of that name breaks, on which the peer has acknowledged 10 stanzas and we have handled 7, with `pulled`
    /// more on their way from the queues of these pairs, of which it carried the first.
    pub(crate) fn lose(
        &mut self,
        stream: u64,
        id: &str,
        role: Role,
        pairs: &[&str],
        pulled: u32,
    ) -> Vec<String> {
        let opened_for = *pairs.first().unwrap_or(&PAIR);
        self.lose_for(stream, id, role, opened_for, pairs, pulled)
    }

    /// The same, of a stream that was opened for that pair.
    pub(crate) fn lose_for(
        &mut self,
        stream: u64,
        id: &str,
        role: Role,
        opened_for: &str,
        pairs: &[&str],
        pulled: u32,
    ) -> Vec<String> {
        let mut carriage = Carriage::new(Arc::new(|| {}));
        for pair in pairs {
            let drain = self.drains.remove(*pair).unwrap();
            carriage.add(self.pair(pair), drain);
        }
        for position in 0..u64::from(pulled) {
            carriage.pull().unwrap();
            carriage.sent(position, position + 1, Custody::Acknowledged, Counted::Yes);
        }
        let queues = carriage.end(u64::from(pulled), Keep::InFlight);
        let lost = LostStream {
            ticket: Ticket {
                id: id.to_owned(),
                handled: 7,
                acknowledged: 10,
                sent: 10 + pulled,
            },
            pair: self.pair(opened_for),
            role,
            used: self.now,
            their_side: self.their_side,
            carriage,
        };
        let remains = Remains {
            queues,
            lost: Some(lost),
        };
        self.tell(Signal::Ended(StreamKey(stream), remains))
    }

    /// The peer takes up a stream on another one, and says how many of our stanzas it has handled.
    pub(crate) fn claim(&mut self, stream: u64, id: &str, h: u32) -> Vec<String> {
        let id = id.to_owned();
        self.event(stream, Event::ResumeRequested { id, h })
    }

    /// The peer's answer when we took up a stream.
    pub(crate) fn resumed(&mut self, stream: u64, id: &str, h: Option<u32>) -> Vec<String> {
        let id = id.to_owned();
        self.event(stream, Event::Resumed { id, h })
    }

    /// The stream that carries the pair writes all that waits.
    pub(crate) fn write_all(&mut self, pair: &str) {
        let drain = self.drains.get_mut(pair).unwrap();
        while drain.pull().is_some() {}
        drain.acknowledge(drain.unacknowledged());
    }

    /// A connection was accepted on which the peer claims to be `remote`.
    pub(crate) fn accept(&mut self, stream: u64, remote: &str) {
        self.accept_as(stream, remote, Err(Unproven::Unencrypted));
    }

    /// The same, with what its certificate is worth.
    pub(crate) fn accept_as(
        &mut self,
        stream: u64,
        remote: &str,
        certificate: Result<Identity, Unproven>,
    ) {
        assert_eq!(self.tell(Signal::Accepted(StreamKey(stream))), [""; 0]);
        self.identified_as(stream, remote, certificate);
    }

    /// As [`World::accept`]; the peer asked for bidi and proved the pair.
    pub(crate) fn accept_bidi(&mut self, stream: u64, pair: &str) -> Vec<String> {
        let remote = self.pair(pair).remote().domain().clone();
        self.accept(stream, remote.as_str());
        self.event(stream, Event::Bidirectional);
        let inbound = self.granted(stream, Direction::Inbound, pair);
        assert_eq!(inbound, [""; 0]);
        self.granted(stream, Direction::Outbound, pair)
    }

    /// The first server of an attempt was reached, and a stream begins.
    pub(crate) fn reach(&mut self, attempt: u64, stream: u64, remote: &str) {
        self.discovered(attempt, &["192.0.2.1:5269"]);
        assert_eq!(self.connected(attempt, Some(stream)), [""; 0]);
        self.identified(stream, remote);
    }

    pub(crate) fn identified(&mut self, stream: u64, remote: &str) {
        self.identified_as(stream, remote, Err(Unproven::Unencrypted));
    }

    fn identified_as(
        &mut self,
        stream: u64,
        remote: &str,
        certificate: Result<Identity, Unproven>,
    ) {
        let peer = Peer {
            local: domain("montague.lit"),
            remote: Some(domain(remote)),
            certificate,
            public_key: None,
            names: Vec::new(),
        };
        assert_eq!(self.event(stream, Event::Identified(peer)), [""; 0]);
    }

    pub(crate) fn discovered(&mut self, attempt: u64, addresses: &[&str]) -> Vec<String> {
        let targets = addresses
            .iter()
            .map(|address| Target::new(address.parse().unwrap(), false, "server.invalid"));
        self.tell(Signal::Discovered(
            AttemptKey(attempt),
            Ok(targets.collect()),
        ))
    }

    pub(crate) fn undiscovered(&mut self, attempt: u64, error: DiscoveryError) -> Vec<String> {
        self.tell(Signal::Discovered(AttemptKey(attempt), Err(error)))
    }

    /// The first server that was dialled answered, or all of them refused.
    pub(crate) fn connected(&mut self, attempt: u64, stream: Option<u64>) -> Vec<String> {
        match stream {
            Some(stream) => self.connected_to(attempt, stream, 0),
            None => {
                let failed = self.dialled.remove(&attempt).unwrap_or_default();
                let failed = failed.into_iter().map(refused).collect();
                self.tell(Signal::Connected(AttemptKey(attempt), Err(failed)))
            }
        }
    }

    /// Of the servers that were dialled the one with that number answered; those before it had refused.
    pub(crate) fn connected_to(&mut self, attempt: u64, stream: u64, number: usize) -> Vec<String> {
        let mut targets = self.dialled.remove(&attempt).unwrap_or_default();
        let left = targets.split_off((number + 1).min(targets.len()));
        let nowhere = || Target::new(([192, 0, 2, 99], 5269).into(), false, "nowhere.invalid");
        let reached = Reached {
            stream: StreamKey(stream),
            target: targets.pop().unwrap_or_else(nowhere),
            failed: targets.into_iter().map(refused).collect(),
            left,
        };
        self.tell(Signal::Connected(AttemptKey(attempt), Ok(reached)))
    }

    pub(crate) fn event(&mut self, stream: u64, event: Event) -> Vec<String> {
        self.tell(Signal::Stream(StreamKey(stream), event))
    }

    pub(crate) fn granted(&mut self, stream: u64, direction: Direction, pair: &str) -> Vec<String> {
        let granted = Granted {
            pair: self.pair(pair),
            direction,
            grounds: Grounds::inbound(Proof::Dialback(Assurance::Dns)),
        };
        self.event(stream, Event::Granted(granted))
    }

    pub(crate) fn failed(&mut self, stream: u64, cause: Cause) -> Vec<String> {
        let error = StreamError::peer(StreamCondition::UndefinedCondition, "it broke").at(cause);
        self.event(stream, Event::Failed(error))
    }

    pub(crate) fn key_received(&mut self, stream: u64, pair: &str, id: &str) -> Vec<String> {
        let check = self.check(pair, id);
        self.event(stream, Event::KeyReceived(check))
    }

    pub(crate) fn verified(
        &mut self,
        stream: u64,
        pair: &str,
        id: &str,
        verdict: Verdict,
    ) -> Vec<String> {
        let check = self.check(pair, id);
        self.event(
            stream,
            Event::Verified {
                check,
                verdict,
                assurance: Assurance::Dns,
            },
        )
    }

    pub(crate) fn check(&self, pair: &str, id: &str) -> KeyCheck {
        KeyCheck {
            pair: self.pair(pair),
            id: id.into(),
            key: "key".into(),
        }
    }

    /// Time passes up to the federation's own deadline.
    pub(crate) fn wait(&mut self) -> Vec<String> {
        self.now = self.federation.deadline().unwrap().max(self.now);
        self.tell(Signal::Tick)
    }

    pub(crate) fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        self.tell(Signal::Tick)
    }

    pub(crate) fn pair(&self, text: &str) -> DomainPair {
        let (local, remote) = text.split_once('~').unwrap();
        self.hosts
            .pair(Direction::Outbound, &domain(local), &domain(remote))
            .unwrap()
    }

    /// Who serves the pair, in a word.
    pub(crate) fn route(&self, pair: &str) -> &'static str {
        let mut routes = self.federation.routes();
        let route = routes.find(|(other, _)| other.to_string() == pair);
        route.map_or("none", |(_, route)| route.name())
    }
}

fn told(report: &Report) -> Option<String> {
    match report {
        Report::Seeking { pair } => Some(format!("{pair} looks for a server")),
        Report::TargetFailed { target, text, .. } => Some(format!("{target} failed: {text}")),
        Report::Redirected { target, host, .. } => Some(format!("{target} sends us to {host}")),
        Report::Unreachable { pair, text, .. } => {
            Some(format!("{} unreachable: {text}", pair.remote()))
        }
        Report::VerificationFailed { pair, text } => {
            Some(format!("no verdict for {}: {text}", pair.remote()))
        }
        Report::Lost { pair, stanzas } => Some(format!("{pair} lost {stanzas}")),
        Report::TakenUp {
            pair,
            arrived,
            again,
        } => Some(format!("{pair} taken up: {arrived} arrived, {again} again")),
        Report::LetGo { pair, uncertain } => Some(format!("{pair} let go: {uncertain} uncertain")),
        Report::Carried { .. } | Report::OtherKey { .. } => None,
    }
}

fn refused(target: Target) -> Unreached {
    Unreached {
        target,
        text: "refused".into(),
        fault: Fault::Peer,
    }
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

pub(crate) fn id(stanza: &Stanza) -> String {
    format!(" {}", stanza.id().unwrap())
}

pub(crate) fn aim(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Carry {
            pair,
            external,
            bidi,
            pace,
            resume,
        } => {
            let mut text = format!("carry {pair}");
            for ticket in resume {
                text.push_str(&format!(" resuming {}", ticket.id));
            }
            for (wanted, name) in [(external, "external"), (bidi, "bidi")] {
                if !wanted {
                    write!(text, " without {name}").unwrap();
                }
            }
            match pace {
                Pace::Stepwise => {}
                Pace::Ahead => text.push_str(" ahead"),
            }
            text
        }
        Purpose::Verify { pair, checks } => {
            let ids: Vec<&str> = checks.iter().map(|Check { id, .. }| id.as_str()).collect();
            format!("verify {pair} {}", ids.join(" "))
        }
    }
}

pub(crate) fn outcome(verdict: Verdict) -> String {
    match verdict {
        Verdict::Valid => "valid".into(),
        Verdict::Invalid => "invalid".into(),
        Verdict::Error(condition) => condition.name().into(),
    }
}

pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> PeerPolicy {
    let mut policy = PeerPolicy::default();
    change(&mut policy.limits);
    policy
}
