//! One server: its federation, its connections, and the glue that verona/src/federation.rs and dialer.rs are.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use verona_proto::addr::{Domain, Hosts};
use verona_proto::carriage::Left;
use verona_proto::component::ComponentDomains;
use verona_proto::dialback::{Secret, Secrets};
use verona_proto::discovery::Target;
use verona_proto::federation::{
    AttemptKey, Command, Federation, Reached, Remains, Report, Signal, StreamKey, Unreached,
};
use verona_proto::limits::{Limits, size};
use verona_proto::local::LocalServices;
use verona_proto::outbox::{Feeder, OutboxLimit};
use verona_proto::policy::{BidiPolicy, PeerPolicy, Policy};
use verona_proto::stanza::{Reason, Stanza, StreamCondition};
use verona_proto::stream::{Attestations, Fault, Memory, Purpose, StreamConfig};
use verona_proto::switchboard::Switchboard;

use super::chance::Chance;
use super::clock::{Actor, Moment};
use super::connection::{Connection, ConnectionCommand, Dialled, micros};
use super::ledger::Loss;
use super::link::{Link, LinkCommand};
use super::outside::Outside;
use super::plan::{Plan, ServerPlan};
use super::program::{note_lost, secret};
use super::shared::{Job, Shared};

/// One server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) shared: Shared,
    pub(crate) federation: Federation,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) dials: BTreeMap<u64, Dial>,
    pub(crate) departure: Option<Departure>,
}

/// A search for a server, by whoever asked for it.
#[derive(Debug)]
pub(crate) enum Dial {
    /// DNS is asked.
    Discover {
        attempt: AttemptKey,
        remote: Domain,
        direct_tls: bool,
    },
    /// The servers are dialled, one after the other.
    Connect {
        attempt: AttemptKey,
        targets: VecDeque<Target>,
        failed: Vec<Unreached>,
        until: Moment,
        /// When the one in front is given up.
        each: Moment,
        purpose: Purpose,
    },
}

/// How far a server has come that is shutting down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) begun: Moment,
    pub(crate) step: Step,
}

/// What a server that is shutting down waits for, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Emptied,
    LetGo,
    PairsEmptied,
    Ended,
    Abandoned,
    EmptiedAgain,
    Unattached,
}

impl Server {
    /// `life` tells one start of a server from the next.
    pub(crate) fn new(plan: &Plan, index: usize, life: u64, start: Instant) -> Self {
        let own = &plan.servers[index];
        let domains: Vec<Domain> = own.hosts.iter().map(|name| domain(name)).collect();
        let hosts = Arc::new(Hosts::new(domains.clone()));
        let policy = Arc::new(Policy {
            defaults: policy(own),
            peers: Vec::new(),
        });
        let limits = policy.defaults.limits.clone();
        let mut chance = Chance::new(
            plan.seed,
            100 + life * 16 + u64::try_from(index).unwrap_or(0),
        );
        let key = Secret::new(&format!("{:x}", chance.next()));
        let memory = Memory::default();
        let streams = Arc::new(StreamConfig {
            hosts: Arc::clone(&hosts),
            policy: Arc::clone(&policy),
            secrets: Secrets {
                current: key,
                previous: None,
            },
            tls_available: true,
            attestations: Attestations::Unavailable,
            memory: memory.clone(),
        });
        let components = ComponentDomains::new(domains.iter().filter_map(|domain| {
            let secret = secret(domain.as_str());
            Some((hosts.local(domain)?, secret))
        }));
        let switchboard = Switchboard::new(
            Arc::clone(&hosts),
            OutboxLimit {
                stanzas: size(limits.outbox_stanzas_max),
                bytes: size(limits.outbox_bytes_max),
            },
            size(limits.pairs_max),
        )
        .within(size(limits.outboxes_bytes_max));
        let _ = start;
        let secret = chance.next();
        let federation =
            Federation::new(policy, move |bound| chance.below(bound)).remembering(memory.learned);
        Self {
            shared: Shared {
                index,
                name: own.name.clone(),
                hosts,
                limits,
                streams,
                switchboard,
                turns: Arc::default(),
                local: LocalServices {
                    name: "verona".into(),
                    ..LocalServices::default()
                },
                components,
                signals: VecDeque::new(),
                attached: BTreeMap::new(),
                jobs: VecDeque::new(),
                waiting: BTreeMap::new(),
                departures: 0,
                stopping: false,
                secret,
            },
            federation,
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            departure: None,
        }
    }

    /// The federation takes some of what it was told.
    pub(crate) fn federate(&mut self, outside: &mut Outside) {
        let turns = outside.chance.between(1, 8);
        for _ in 0..turns {
            let now = outside.instant();
            let late = self.federation.deadline().is_some_and(|at| at <= now);
            let ticks = late && (self.shared.signals.is_empty() || outside.chance.percent(50));
            let signal = match ticks {
                true => Signal::Tick,
                false => match self.shared.signals.pop_front() {
                    Some(signal) => signal,
                    None => break,
                },
            };
            self.federation.handle(signal, now);
            while let Some(command) = self.federation.poll() {
                if let Some(undone) = self.execute(command, outside) {
                    self.federation.handle(undone, now);
                }
            }
        }
        let actor = Actor::Federation(self.shared.index);
        if !self.shared.signals.is_empty() {
            outside.soon(actor);
        } else if let Some(at) = self.federation.deadline() {
            outside.at(actor, at);
        }
    }

    /// Carries out one command; what could not be done comes back as a signal.
    fn execute(&mut self, command: Command, outside: &mut Outside) -> Option<Signal> {
        match command {
            Command::Discover {
                attempt,
                remote,
                direct_tls,
            } => {
                let dial = Dial::Discover {
                    attempt,
                    remote,
                    direct_tls,
                };
                self.dial(attempt, dial, outside);
                None
            }
            Command::Resolve { attempt, .. } => {
                let text = "this world has no other hosts";
                let error = verona_proto::discovery::DiscoveryError::not_found(text);
                Some(Signal::Discovered(attempt, Err(error)))
            }
            Command::Connect {
                attempt,
                targets,
                until,
                purpose,
            } => {
                let dial = Dial::Connect {
                    attempt,
                    targets: targets.into(),
                    failed: Vec::new(),
                    until: outside.moment(until),
                    each: outside.now + micros(self.shared.limits.connect_seconds),
                    purpose,
                };
                self.dial(attempt, dial, outside);
                None
            }
            Command::Request { stream, pair } => {
                self.send(stream, ConnectionCommand::Request { pair }, outside)
            }
            Command::Verdict {
                stream,
                pair,
                verdict,
                assurance,
            } => {
                let command = ConnectionCommand::Verdict {
                    pair,
                    verdict,
                    assurance,
                };
                self.send(stream, command, outside)
            }
            Command::Carry {
                stream,
                pair,
                drain,
            } => self.send(stream, ConnectionCommand::Carry { pair, drain }, outside),
            Command::Resume { stream, found } => {
                if let Some(ticket) = &found {
                    let (index, id) = (self.shared.index, &ticket.id);
                    let until = outside.now + micros(self.shared.limits.resume_seconds);
                    outside.ledger.resolve(index, id, outside.now);
                    outside.ledger.keeps(index, id, until);
                }
                self.send(stream, ConnectionCommand::Resume(found), outside)
            }
            Command::Abandon { stream } => self.send(stream, ConnectionCommand::Abandon, outside),
            Command::Settled(settled) => {
                self.shared.job(Job::Settled(settled), outside);
                None
            }
            Command::Converge { stream } => {
                outside
                    .coverage
                    .count("reached", "crossed streams that converge");
                self.send(stream, ConnectionCommand::Converge, outside)
            }
            Command::Close { stream, error } => {
                self.send(stream, ConnectionCommand::Close(error), outside)
            }
            Command::Return { pair, drain, why } => {
                let link = self
                    .shared
                    .attached
                    .get(pair.local())
                    .and_then(|(key, _)| self.links.get_mut(key));
                match link {
                    Some(link) => {
                        link.commands.push_back(LinkCommand::Return { drain, why });
                        let actor = Actor::Link(self.shared.index, link.key);
                        outside.soon(actor);
                    }
                    None => {
                        self.shared.job(Job::BounceAll { drain, why }, outside);
                    }
                }
                None
            }
            Command::Bounce { stanzas, why } => {
                if why.reason() == Reason::Lost {
                    for stanza in &stanzas {
                        super::invariants::uncertain(stanza, &self.shared, outside);
                    }
                }
                self.shared.job(Job::Bounce { stanzas, why }, outside);
                None
            }
            Command::Report(report) => {
                self.report(&report, outside);
                None
            }
        }
    }

    fn report(&self, report: &Report, outside: &mut Outside) {
        let which = match report {
            Report::Seeking { .. } => "seeking",
            Report::TargetFailed { .. } => "a server that could not be used",
            Report::Redirected { .. } => "redirected",
            Report::Unreachable { .. } => "unreachable",
            Report::Carried { .. } => "carried",
            Report::OtherKey { .. } => "another key",
            Report::VerificationFailed { .. } => "a key that could not be checked",
            Report::Lost { .. } => "lost",
            Report::TakenUp { .. } => "taken up",
            Report::LetGo { .. } => "let go",
        };
        outside.coverage.count("federation", which);
        let name = &self.shared.name;
        outside.tell(|| format!("{name} federation: {report:?}"));
    }

    fn dial(&mut self, attempt: AttemptKey, dial: Dial, outside: &mut Outside) {
        self.dials.insert(attempt.0, dial);
        let latency = outside.chance.between(1_000, 40_000);
        let actor = Actor::Dial(self.shared.index, attempt.0);
        outside.clock.wake(actor, outside.now + latency);
    }

    fn send(
        &mut self,
        stream: StreamKey,
        command: ConnectionCommand,
        outside: &mut Outside,
    ) -> Option<Signal> {
        let undone = match self.connections.get_mut(&stream.0) {
            Some(connection) => {
                let most = size(self.shared.limits.pairs_per_stream_max).saturating_add(16);
                if connection.commands.len() >= most {
                    let name = &self.shared.name;
                    outside.ledger.fail(format!(
                        "{} commands wait for stream {} of {name}",
                        connection.commands.len(),
                        stream.0
                    ));
                }
                connection.commands.push_back(command);
                outside.soon(Actor::Connection(self.shared.index, stream.0));
                return None;
            }
            None => command,
        };
        match undone {
            ConnectionCommand::Carry { pair, drain } => {
                Some(Signal::Undone(stream, pair, Some(drain)))
            }
            ConnectionCommand::Request { pair } => Some(Signal::Undone(stream, pair, None)),
            ConnectionCommand::Verdict { .. }
            | ConnectionCommand::Resume(_)
            | ConnectionCommand::Abandon
            | ConnectionCommand::Converge
            | ConnectionCommand::Close(_) => None,
        }
    }

    /// One of the connections does something.
    pub(crate) fn turn_connection(&mut self, key: u64, outside: &mut Outside) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if !connection.turn(&mut self.shared, outside)
            && let Some(connection) = self.connections.remove(&key)
        {
            connection.end(&mut self.shared, outside);
        }
    }

    /// One of the components' links does something.
    pub(crate) fn turn_link(&mut self, key: u64, outside: &mut Outside) {
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        if !link.turn(&mut self.shared, outside)
            && let Some(link) = self.links.remove(&key)
        {
            link.end(&mut self.shared, outside);
        }
    }

    /// Something is done on the side.
    pub(crate) fn work(&mut self, outside: &mut Outside) {
        let at = outside.chance.index(self.shared.jobs.len());
        if let Some(job) = self.shared.jobs.remove(at) {
            job.run(&mut self.shared, outside);
        }
        if !self.shared.jobs.is_empty() {
            outside.soon(Actor::Jobs(self.shared.index));
        }
    }

    /// A connection stands that this server opened.
    pub(crate) fn begin(
        &mut self,
        connection: Connection,
        attempt: AttemptKey,
        reached: Reached,
        outside: &mut Outside,
    ) {
        let _: Option<Dialled> = None;
        self.connections.insert(connection.key.0, connection);
        self.shared
            .signal(Signal::Connected(attempt, Ok(reached)), outside);
    }

    /// The task of a connection panics: what it carried is given back all the same.
    pub(crate) fn panic(&mut self, outside: &mut Outside) {
        let at = outside.chance.index(self.connections.len());
        let Some(key) = self.connections.keys().nth(at).copied() else {
            return;
        };
        let Some(connection) = self.connections.remove(&key) else {
            return;
        };
        outside.coverage.count("faults", "panic of a connection");
        outside.tell(|| format!("{} stream {key} panics", self.shared.name));
        let end = connection.end;
        let mut feeders: Vec<_> = self.shared.switchboard.pairs();
        let before: Vec<_> = connection.carriage.pairs().cloned().collect();
        let given: Vec<_> = connection.commands.iter().filter_map(carried).collect();
        feeders.retain(|(pair, _)| before.contains(pair) || given.contains(pair));
        for stanza in connection.held.stanzas() {
            note_lost(stanza, Loss::Crash, outside);
        }
        outside.network.crashed(end);
        outside.ledger.upset(self.shared.index);
        super::connection::note_adrift(end, outside);
        super::connection::note_uncertain(end, u64::MAX, outside);
        drop(connection);
        outside.close(end);
        let queues = feeders
            .into_iter()
            .filter_map(|(pair, feeder)| feeder.reclaim().map(|drain| (pair, drain)))
            .map(|(pair, drain)| Left {
                pair,
                uncertain: drain.unacknowledged(),
                drain,
            })
            .collect();
        self.shared.signal(
            Signal::Ended(StreamKey(key), Remains { queues, lost: None }),
            outside,
        );
    }

    /// Everything in memory is gone: says which stanzas that were.
    pub(crate) fn forget(self, outside: &mut Outside) {
        let Self {
            shared,
            federation,
            connections,
            links,
            dials,
            departure: _,
        } = self;
        for connection in connections.values().filter(|it| !it.is_managed) {
            connection
                .held
                .stanzas()
                .for_each(|stanza| note_lost(stanza, Loss::Crash, outside));
        }
        for link in links.values() {
            link.held
                .stanzas()
                .for_each(|stanza| note_lost(stanza, Loss::Crash, outside));
        }
        let Shared {
            switchboard,
            signals,
            jobs,
            waiting,
            ..
        } = shared;
        let mut gone: Vec<Stanza> = Vec::new();
        for job in jobs {
            match job {
                Job::Bounce { stanzas, .. } => gone.extend(stanzas),
                Job::Settled(settled) => {
                    gone.extend(settled.refused.into_iter().map(|refused| refused.stanza));
                }
                // Its queue is among those below.
                Job::BounceAll { .. } => {}
            }
        }
        drop((federation, connections, links, signals, dials, waiting));
        let pairs = switchboard.pairs().into_iter().map(|(_, feeder)| feeder);
        let components = switchboard
            .components()
            .into_iter()
            .map(|(_, feeder)| feeder);
        for feeder in pairs.chain(components) {
            gone.extend(contents(&feeder));
        }
        for stanza in gone {
            outside
                .coverage
                .count("reached", "a stanza in the memory of a crash");
            note_lost(&stanza, Loss::Crash, outside);
        }
    }

    /// Begins to leave in good order.
    pub(crate) fn leave(&mut self, outside: &mut Outside) {
        self.shared.stopping = true;
        self.shared.stop_waiting(outside);
        self.departure = Some(Departure {
            begun: outside.now,
            step: Step::Emptied,
        });
        outside.soon(Actor::Departure(self.shared.index));
    }

    /// Looks whether the next step of leaving has come; `true` when all are done (verona/src/engine.rs, `shutdown`).
    pub(crate) fn depart(&mut self, outside: &mut Outside) -> bool {
        let Some(Departure { begun, step }) = self.departure else {
            return false;
        };
        let whole = micros(self.shared.limits.drain_seconds);
        let late = |share: u64| begun + whole * share / 100 <= outside.now;
        let queued = self.shared.attached.values().any(|(_, it)| it.queued() > 0);
        let pairs = self.shared.switchboard.pairs();
        let waits = pairs.iter().any(|(_, feeder)| feeder.queued() > 0);
        let next = match step {
            Step::Emptied if !queued && !waits || late(50) => {
                self.close_links(|feeder| feeder.queued() > 0, outside);
                Step::LetGo
            }
            Step::LetGo if !queued || late(60) => Step::PairsEmptied,
            Step::PairsEmptied if !waits || late(65) => {
                outside.ledger.leaves(self.shared.index);
                self.shared.signal(Signal::Shutdown, outside);
                Step::Ended
            }
            Step::Ended if self.connections.is_empty() || late(85) => {
                for (key, connection) in &mut self.connections {
                    connection.commands.push_back(ConnectionCommand::Abandon);
                    outside.soon(Actor::Connection(self.shared.index, *key));
                }
                Step::Abandoned
            }
            Step::Abandoned if self.connections.is_empty() || late(90) => Step::EmptiedAgain,
            Step::EmptiedAgain if !queued && !waits || late(95) => {
                self.close_links(|_| true, outside);
                Step::Unattached
            }
            Step::Unattached if self.shared.attached.is_empty() || late(100) => return true,
            Step::Emptied
            | Step::LetGo
            | Step::PairsEmptied
            | Step::Ended
            | Step::Abandoned
            | Step::EmptiedAgain
            | Step::Unattached => step,
        };
        self.departure = Some(Departure { begun, step: next });
        let actor = Actor::Departure(self.shared.index);
        outside.clock.wake(actor, outside.now + POLL);
        false
    }

    fn close_links(&mut self, which: impl Fn(&Feeder) -> bool, outside: &mut Outside) {
        for (key, feeder) in self.shared.attached.values() {
            if which(feeder)
                && let Some(link) = self.links.get_mut(key)
            {
                link.commands
                    .push_back(LinkCommand::Close(StreamCondition::SystemShutdown));
                outside.soon(Actor::Link(self.shared.index, *key));
            }
        }
    }
}

/// Everything in a queue whose drain is gone.
fn contents(feeder: &Feeder) -> Vec<Stanza> {
    feeder
        .reclaim()
        .map(|drain| drain.close())
        .unwrap_or_default()
}

fn carried(command: &ConnectionCommand) -> Option<verona_proto::addr::DomainPair> {
    match command {
        ConnectionCommand::Carry { pair, .. } => Some(pair.clone()),
        ConnectionCommand::Request { .. }
        | ConnectionCommand::Verdict { .. }
        | ConnectionCommand::Resume(_)
        | ConnectionCommand::Abandon
        | ConnectionCommand::Converge
        | ConnectionCommand::Close(_) => None,
    }
}

/// A target that could not be reached.
pub(crate) fn unreached(target: Target, text: &str) -> Unreached {
    Unreached {
        text: format!("no connection to {}: {text}", target.address),
        target,
        fault: Fault::Peer,
    }
}

/// Where a server listens.
pub(crate) fn address(server: usize, direct_tls: bool) -> SocketAddr {
    let last = u8::try_from(server + 1).unwrap_or(u8::MAX);
    let port = if direct_tls { 5270 } else { 5269 };
    SocketAddr::from(([192, 0, 2, last], port))
}

/// Which server listens there.
pub(crate) fn server_at(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(address) => usize::from(address.ip().octets()[3]).checked_sub(1),
        SocketAddr::V6(_) => None,
    }
}

pub(crate) fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("a domain of the plan")
}

fn policy(own: &ServerPlan) -> PeerPolicy {
    let mut limits = limits();
    for (name, value) in &own.limits {
        limits.set(name, *value).expect("a limit of the plan");
    }
    PeerPolicy {
        bidi: match own.bidi {
            true => BidiPolicy::Auto,
            false => BidiPolicy::Off,
        },
        multiplex: own.multiplex,
        on_uncertain: own.on_uncertain,
        management: own.management,
        limits,
        ..PeerPolicy::default()
    }
}

/// Shorter waits than in life, in the same order, so that a story ends sooner.
fn limits() -> Limits {
    Limits {
        negotiation_seconds: 10,
        negotiation_dialback_seconds: 20,
        crossing_seconds: 2,
        converge_seconds: 6,
        dialback_answer_seconds: 15,
        verification_seconds: 10,
        tls_handshake_seconds: 5,
        connect_seconds: 4,
        dns_seconds: 4,
        attempt_seconds: 20,
        close_seconds: 5,
        idle_seconds: 40,
        keepalive_seconds: 15,
        write_stall_seconds: 20,
        outbox_age_seconds: 20,
        component_handshake_seconds: 10,
        component_reconnect_seconds: 3,
        retry_seconds_min: 1,
        retry_seconds_max: 16,
        drain_seconds: 10,
        acknowledgement_seconds: 8,
        resume_seconds: 30,
        ..Limits::default()
    }
}

/// How often a server that leaves looks whether it may go on.
const POLL: Moment = 50_000;
