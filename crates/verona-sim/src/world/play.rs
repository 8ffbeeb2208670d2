//! Plays a plan: whoever is next acts, and after every step everything that must be true is looked at.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{AttemptKey, Reached, Signal, StreamKey};
use verona_proto::policy::ManagementPolicy;

use super::clock::{Actor, Moment};
use super::connection::{Connection, Dialled, micros};
use super::coverage::Coverage;
use super::invariants;
use super::ledger::{Ledger, Loss};
use super::link::Link;
use super::network::{Cut, End, Network};
use super::outside::Outside;
use super::plan::{
    Action, Crash, DnsAnswer, Expectation, Heard, LinkPlan, Parting, Plan, ProofPlan, Which,
};
use super::program::Program;
use super::server::{Dial, Server, address, server_at, unreached};

/// What came of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The first thing that was wrong.
    pub failure: Option<String>,
    /// What happened.
    pub coverage: Coverage,
    /// How many steps it took.
    pub steps: u64,
}

/// Plays a plan to its end.
#[must_use]
pub fn play(plan: &Plan) -> Outcome {
    World::new(plan).run().0
}

/// Plays a plan, and tells what happens, line by line.
#[must_use]
pub fn tell(plan: &Plan) -> (Outcome, Vec<String>) {
    let mut world = World::new(plan);
    world.outside.begin_story();
    world.run()
}

/// A world that runs.
struct World<'a> {
    plan: &'a Plan,
    servers: Vec<Option<Server>>,
    /// Until when a server does nothing.
    frozen: Vec<Moment>,
    /// Until when a server takes no connections.
    refusing: Vec<Moment>,
    programs: Vec<Program>,
    /// What DNS says wrongly about a domain, and until when.
    dns: Vec<Option<(DnsAnswer, Moment)>>,
    outside: Outside,
    next_action: usize,
    /// Troubles that end: from whom to whom nothing passes.
    reliefs: Vec<(usize, usize)>,
    last_key: u64,
    lives: u64,
    /// Everything is well again, and stays so.
    is_healed: bool,
    connections: u64,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let start = beginning();
        let domains: Vec<(usize, String)> = plan
            .domains()
            .map(|(server, name)| (server, name.to_owned()))
            .collect();
        let names = domains.iter().map(|(_, name)| name.clone()).collect();
        let mut outside = Outside::new(start, plan.seed, Ledger::new(names), Network::default());
        for (server, name) in &domains {
            outside.hosted(name, *server);
        }
        let programs = domains
            .iter()
            .enumerate()
            .map(|(index, (server, name))| Program::new(index, *server, name.clone()))
            .collect();
        let servers = (0..plan.servers.len())
            .map(|index| Some(Server::new(plan, index, 0, start)))
            .collect();
        outside.clock.wake(Actor::Plan, 0);
        Self {
            plan,
            servers,
            frozen: vec![0; plan.servers.len()],
            refusing: vec![0; plan.servers.len()],
            dns: vec![None; domains.len()],
            programs,
            outside,
            next_action: 0,
            reliefs: Vec::new(),
            last_key: 0,
            lives: 0,
            is_healed: false,
            connections: 0,
        }
    }

    fn run(mut self) -> (Outcome, Vec<String>) {
        let mut steps = 0;
        while let Some((at, actor)) = self.outside.clock.next() {
            self.outside.now = at.max(self.outside.now);
            let touched = self.act(actor);
            self.outside.answer_bells();
            if let Some(server) = touched.and_then(|index| self.servers.get_mut(index)?.as_mut()) {
                invariants::check(server, &mut self.outside);
            }
            if self.outside.ledger.failure().is_some() {
                break;
            }
            steps += 1;
            if self.outside.now > SILENCE_MAX || steps > STEPS_MAX {
                let text = format!(
                    "6: the world does not fall silent: {actor:?} acts after {steps} steps"
                );
                self.outside.ledger.fail(text);
                break;
            }
        }
        if self.outside.ledger.failure().is_none() {
            self.conclude();
        }
        let outcome = Outcome {
            failure: self.outside.ledger.failure().map(str::to_owned),
            coverage: std::mem::take(&mut self.outside.coverage),
            steps,
        };
        (outcome, self.outside.take_story())
    }

    /// Everything is silent: everything must be settled.
    fn conclude(&mut self) {
        for server in self.servers.iter().flatten() {
            let name = &server.shared.name;
            let routes = server.federation.routes().count();
            if !server.connections.is_empty() || routes > 0 {
                let live = server.connections.len();
                let text = format!(
                    "6: all is silent, but {name} has {live} connections and {routes} routes"
                );
                self.outside.ledger.fail(text);
            }
        }
        let Outside {
            ledger, coverage, ..
        } = &mut self.outside;
        ledger.conclude(coverage);
        coverage.add("connections", "between servers", self.connections);
        let (delivered, bounced, lost) = ledger.totals();
        for expectation in &self.plan.expectations {
            let (what, expected, found) = match *expectation {
                Expectation::Delivered(count) => ("delivered", count, delivered),
                Expectation::Bounced(count) => ("bounced", count, bounced),
                Expectation::Lost(count) => ("lost", count, lost),
                Expectation::Connections(count) => ("connections", count, self.connections),
            };
            if expected != found {
                ledger.fail(format!("{what}: expected {expected}, found {found}"));
            }
        }
    }

    /// Somebody acts. Says which server was touched.
    fn act(&mut self, actor: Actor) -> Option<usize> {
        if let Some(index) = owner(actor)
            && let Some(until) = self.frozen.get(index).copied()
            && until > self.outside.now
        {
            // It finds everything when it wakes.
            self.outside.clock.wake(actor, until);
            return None;
        }
        match actor {
            Actor::Plan => self.on_plan(),
            Actor::Wire(wire, side) => self.outside.arrive(End { wire, side }),
            Actor::Patience(wire) => self.outside.lose_patience(wire),
            Actor::Federation(index) => {
                let server = self.servers.get_mut(index)?.as_mut()?;
                server.federate(&mut self.outside);
            }
            Actor::Connection(index, key) => {
                let server = self.servers.get_mut(index)?.as_mut()?;
                server.turn_connection(key, &mut self.outside);
            }
            Actor::Link(index, key) => {
                let server = self.servers.get_mut(index)?.as_mut()?;
                server.turn_link(key, &mut self.outside);
            }
            Actor::Jobs(index) => {
                let server = self.servers.get_mut(index)?.as_mut()?;
                server.work(&mut self.outside);
            }
            Actor::Dial(index, key) => self.on_dial(index, key),
            Actor::Absence(index, departure) => {
                let server = self.servers.get_mut(index)?.as_mut()?;
                server.shared.on_absence(departure, &mut self.outside);
            }
            Actor::Departure(index) => self.on_departure(index),
            Actor::Return(index) => self.start(index),
            Actor::Program(index) => self.on_program(index),
            Actor::Relief(index) => {
                if let Some((from, to)) = self.reliefs.get(index).copied() {
                    self.outside.close_hole(from, to);
                }
            }
        }
        owner(actor)
    }

    // The plan.

    fn on_plan(&mut self) {
        while let Some((at, action)) = self.plan.actions.get(self.next_action) {
            if *at > self.outside.now {
                return self.outside.clock.wake(Actor::Plan, *at);
            }
            self.next_action += 1;
            let action = action.clone();
            self.perform(&action);
        }
        if !self.is_healed {
            let at = self.outside.now + HEALING;
            if self.next_action == self.plan.actions.len() {
                self.next_action += 1;
                return self.outside.clock.wake(Actor::Plan, at);
            }
            self.heal();
        }
    }

    fn perform(&mut self, action: &Action) {
        let plan = self.plan;
        self.outside.tell(|| super::text::action(plan, action));
        let now = self.outside.now;
        match *action {
            Action::Attach { domain } => {
                if let Some(program) = self.programs.get_mut(domain) {
                    program.is_wanted = true;
                    self.outside.soon(Actor::Program(domain));
                }
            }
            Action::Detach { domain, how } => {
                let Some(program) = self.programs.get_mut(domain) else {
                    return;
                };
                program.is_wanted = false;
                match how {
                    Parting::Politely => {
                        self.outside.coverage.count("faults", "component leaves");
                        program.part(&mut self.outside);
                    }
                    Parting::Killed => {
                        self.outside.coverage.count("faults", "component killed");
                        program.kill(&mut self.outside);
                    }
                }
            }
            Action::Send {
                from,
                to,
                kind,
                count,
                size,
            } => {
                let Some(name) = plan.domains().nth(to).map(|(_, name)| name) else {
                    return;
                };
                if let Some(program) = self.programs.get_mut(from) {
                    program.send((to, name), kind, (count, size), &mut self.outside);
                }
            }
            Action::Crash { server, how } => self.crash(server, how),
            Action::Restart { server } => self.start(server),
            Action::Shutdown { server } => {
                if let Some(server) = self.servers.get_mut(server).and_then(Option::as_mut)
                    && server.departure.is_none()
                {
                    self.outside.coverage.count("faults", "shutdown");
                    server.leave(&mut self.outside);
                }
            }
            Action::Panic { server } => {
                if let Some(server) = self.servers.get_mut(server).and_then(Option::as_mut) {
                    server.panic(&mut self.outside);
                }
            }
            Action::Freeze { server, span } => {
                if let Some(frozen) = self.frozen.get_mut(server) {
                    self.outside.coverage.count("faults", "server frozen");
                    *frozen = (*frozen).max(now + span);
                    for end in self.outside.network.ends_of(server) {
                        self.outside.network.trouble(end);
                    }
                }
            }
            Action::Stall { domain, span } => {
                if let Some(program) = self.programs.get_mut(domain) {
                    self.outside
                        .coverage
                        .count("faults", "component does not read");
                    program.stalled_until = program.stalled_until.max(now + span);
                }
            }
            Action::Cut {
                from,
                to,
                which,
                after,
                heard,
            } => self.cut(from, to, which, after, heard),
            Action::Hole { from, to, span } => {
                self.outside.coverage.count("faults", "black hole");
                self.outside.open_hole(from, to);
                self.reliefs.push((from, to));
                let relief = Actor::Relief(self.reliefs.len() - 1);
                self.outside.clock.wake(relief, now + span);
            }
            Action::Refuse { server, span } => {
                if let Some(refusing) = self.refusing.get_mut(server) {
                    self.outside.coverage.count("faults", "dials refused");
                    *refusing = (*refusing).max(now + span);
                }
            }
            Action::Dns { domain, says, span } => {
                if let Some(dns) = self.dns.get_mut(domain) {
                    let which = match says {
                        DnsAnswer::Failure => "DNS fails",
                        DnsAnswer::Nothing => "DNS names no server",
                        DnsAnswer::DeadAddress => "DNS names a dead address",
                        DnsAnswer::DeadAddressFirst => "DNS names a dead address first",
                        DnsAnswer::Elsewhere(_) => "DNS names another server",
                    };
                    self.outside.coverage.count("faults", which);
                    *dns = Some((says, now + span));
                }
            }
        }
    }

    /// Whatever was wrong is over.
    fn heal(&mut self) {
        self.is_healed = true;
        self.outside
            .tell(|| "everything is well from here on".into());
        self.frozen.fill(0);
        self.refusing.fill(0);
        self.dns.fill(None);
        for (from, to) in std::mem::take(&mut self.reliefs) {
            self.outside.close_hole(from, to);
        }
        for index in 0..self.servers.len() {
            self.start(index);
            // Whoever slept wakes.
            self.outside.soon(Actor::Federation(index));
        }
        for index in 0..self.programs.len() {
            self.programs[index].stalled_until = 0;
            self.outside.soon(Actor::Program(index));
        }
    }

    fn cut(&mut self, from: usize, to: usize, which: Which, after: usize, heard: Heard) {
        let ends = self.outside.network.between(to, from);
        let chosen: Vec<End> = match which {
            Which::First => ends.first().copied().into_iter().collect(),
            Which::Last => ends.last().copied().into_iter().collect(),
            Which::Every => ends,
        };
        for end in chosen {
            let mut told = [false; 2];
            match heard {
                Heard::Both => told = [true; 2],
                Heard::First => told[end.other().side] = true,
                Heard::Neither => {}
            }
            self.outside.cut(end, after, Cut { heard: told });
        }
    }

    fn crash(&mut self, index: usize, how: Crash) {
        let Some(server) = self.servers.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.outside.ledger.upset(index);
        match how {
            Crash::Killed => {
                self.outside.coverage.count("faults", "server killed");
                server.forget(&mut self.outside);
                for end in self.outside.network.ends_of(index) {
                    self.outside.network.crashed(end);
                    // What the system had taken is sent all the same, and may come behind what the next life sends.
                    super::connection::note_adrift(end, &mut self.outside);
                    self.outside.close(end);
                }
            }
            Crash::PowerLoss => {
                self.outside.coverage.count("faults", "power lost");
                server.forget(&mut self.outside);
                self.outside.switch_off(index);
            }
        }
        self.frozen[index] = 0;
    }

    fn start(&mut self, index: usize) {
        if self.servers.get(index).is_none_or(Option::is_some) {
            return;
        }
        self.outside
            .coverage
            .count("reached", "a server begins anew");
        self.outside.switch_on(index);
        self.outside.ledger.starts(index);
        self.lives += 1;
        let server = Server::new(self.plan, index, self.lives, beginning());
        self.servers[index] = Some(server);
        self.outside
            .tell(|| format!("{} starts", self.plan.servers[index].name));
        self.outside.soon(Actor::Federation(index));
    }

    fn on_departure(&mut self, index: usize) {
        let Some(server) = self.servers.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if server.departure.is_none() || !server.depart(&mut self.outside) {
            return;
        }
        self.outside
            .tell(|| format!("{} has left", self.plan.servers[index].name));
        if let Some(server) = self.servers[index].take() {
            server.forget(&mut self.outside);
            for end in self.outside.network.ends_of(index) {
                self.outside.network.trouble(end);
                self.outside.close(end);
            }
        }
        let later = self.outside.now + 500_000;
        self.outside.clock.wake(Actor::Return(index), later);
    }

    // Components.

    fn on_program(&mut self, index: usize) {
        let Some(program) = self.programs.get_mut(index) else {
            return;
        };
        if program.connection.is_some() {
            if !program.turn(&mut self.outside) {
                let later = self.outside.now + RECONNECT;
                self.outside.clock.wake(Actor::Program(index), later);
            }
            return;
        }
        if !program.is_wanted {
            return;
        }
        let Some(server) = self
            .servers
            .get_mut(program.server)
            .and_then(Option::as_mut)
        else {
            let later = self.outside.now + RECONNECT;
            return self.outside.clock.wake(Actor::Program(index), later);
        };
        if server.shared.stopping {
            let later = self.outside.now + RECONNECT;
            return self.outside.clock.wake(Actor::Program(index), later);
        }
        let near = LinkPlan {
            latency: 50,
            jitter: 100,
            room: 4096,
        };
        let host = self.plan.servers.len() + index;
        let wire = self
            .outside
            .connect([host, program.server], near, Loss::Component, false);
        self.last_key += 1;
        let link = Link::new(
            self.last_key,
            End { wire, side: 1 },
            &server.shared,
            &mut self.outside,
        );
        server.links.insert(self.last_key, link);
        program.connected(End { wire, side: 0 }, &mut self.outside);
    }

    // Looking for servers.

    fn on_dial(&mut self, index: usize, key: u64) {
        let Some(server) = self.servers.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        match server.dials.remove(&key) {
            None => {}
            Some(Dial::Discover {
                attempt,
                remote,
                direct_tls,
            }) => {
                let found = self.look_up(remote.as_str(), direct_tls);
                if let Some(server) = self.servers.get_mut(index).and_then(Option::as_mut) {
                    server
                        .shared
                        .signal(Signal::Discovered(attempt, found), &mut self.outside);
                }
            }
            Some(Dial::Connect {
                attempt,
                targets,
                failed,
                until,
                each,
                purpose,
            }) => self.dial(
                index,
                Dialling {
                    attempt,
                    targets,
                    failed,
                    until,
                    each,
                    purpose,
                },
            ),
        }
    }

    fn look_up(&self, name: &str, direct_tls: bool) -> Result<Vec<Target>, DiscoveryError> {
        let found = self.plan.domains().position(|(_, other)| other == name);
        let Some(index) = found else {
            return Err(DiscoveryError::not_found("there is no such domain"));
        };
        let at = |server: usize| {
            let direct = direct_tls && self.plan.servers[server].direct_tls;
            Target::new(address(server, direct), direct, "server.example")
        };
        let right = self
            .plan
            .domains()
            .nth(index)
            .map_or(0, |(server, _)| server);
        let dead = || Target::new(address(DEAD, false), false, "dead.example");
        match self.dns[index].filter(|(_, until)| *until > self.outside.now) {
            None => Ok(vec![at(right)]),
            Some((DnsAnswer::Failure, _)) => Err(DiscoveryError::temporary("DNS fails")),
            Some((DnsAnswer::Nothing, _)) => Err(DiscoveryError::not_found("DNS names no server")),
            Some((DnsAnswer::DeadAddress, _)) => Ok(vec![dead()]),
            Some((DnsAnswer::DeadAddressFirst, _)) => Ok(vec![dead(), at(right)]),
            Some((DnsAnswer::Elsewhere(other), _)) => Ok(vec![at(other)]),
        }
    }

    fn dial(&mut self, index: usize, mut dialling: Dialling) {
        let now = self.outside.now;
        let Some(target) = dialling.targets.pop_front() else {
            return self.unconnected(index, dialling);
        };
        let to = server_at(target.address).unwrap_or(DEAD);
        let silent = to >= self.servers.len()
            || self.outside.network.is_hole(index, to)
            || self.outside.network.is_hole(to, index);
        let link = self.plan.link(index, to);
        if silent {
            // Asked again and again, until it takes too long.
            let given_up = dialling.each.min(dialling.until);
            if given_up <= now {
                dialling.failed.push(unreached(target, "nobody answers"));
                dialling.each = now + micros(self.limits(index));
            } else {
                dialling.targets.push_front(target);
            }
            let again = given_up.max(now).min(now + 1_000_000).max(now + 1);
            return self.dial_later(index, dialling, again);
        }
        let refuses = self.refusing[to] > now
            || self.servers[to]
                .as_ref()
                .is_none_or(|server| server.shared.stopping);
        if refuses {
            dialling.failed.push(unreached(target, "refused"));
            dialling.each = now + micros(self.limits(index));
            return self.dial_later(index, dialling, now + link.latency * 2 + 1);
        }
        self.reached(index, to, target, dialling, link);
    }

    fn limits(&self, index: usize) -> u64 {
        self.servers[index]
            .as_ref()
            .map_or(1, |server| server.shared.limits.connect_seconds)
    }

    fn dial_later(&mut self, index: usize, dialling: Dialling, at: Moment) {
        if dialling.targets.is_empty() {
            return self.unconnected(index, dialling);
        }
        if let Some(server) = self.servers[index].as_mut() {
            let attempt = dialling.attempt.0;
            server.dials.insert(attempt, dialling.into_dial());
            self.outside.clock.wake(Actor::Dial(index, attempt), at);
        }
    }

    fn unconnected(&mut self, index: usize, dialling: Dialling) {
        if let Some(server) = self.servers[index].as_mut() {
            let signal = Signal::Connected(dialling.attempt, Err(dialling.failed));
            server.shared.signal(signal, &mut self.outside);
        }
    }

    /// A connection stands: both servers begin with it.
    fn reached(
        &mut self,
        index: usize,
        to: usize,
        target: Target,
        dialling: Dialling,
        link: LinkPlan,
    ) {
        self.connections += 1;
        let resumes =
            |server: usize| self.plan.servers[server].management == ManagementPolicy::Auto;
        let strict = resumes(index) && resumes(to);
        let wire = self.outside.connect([index, to], link, Loss::Wire, strict);
        if self.frozen[to] > self.outside.now || self.frozen[index] > self.outside.now {
            self.outside.network.trouble(End { wire, side: 0 });
        }
        let direct = target.direct_tls;
        let (ours, theirs) = (self.certificate(index), self.certificate(to));
        self.last_key += 2;
        let (own, other) = (StreamKey(self.last_key - 1), StreamKey(self.last_key));
        self.outside.tell(|| {
            let name = |index: usize| self.plan.servers[index].name.clone();
            format!(
                "{} connects to {}: connection {wire}, stream {} there and {} here",
                name(index),
                name(to),
                other.0,
                own.0
            )
        });
        if let Some(server) = self.servers[to].as_mut() {
            let end = End { wire, side: 1 };
            let connection = Connection::new(
                other,
                end,
                None,
                ours,
                direct,
                &server.shared,
                &mut self.outside,
            );
            server.connections.insert(other.0, connection);
            server
                .shared
                .signal(Signal::Accepted(other), &mut self.outside);
        }
        if let Some(server) = self.servers[index].as_mut() {
            let end = End { wire, side: 0 };
            let dialled = Dialled {
                target: target.clone(),
                purpose: dialling.purpose,
            };
            let connection = Connection::new(
                own,
                end,
                Some(dialled),
                theirs,
                direct,
                &server.shared,
                &mut self.outside,
            );
            let reached = Reached {
                stream: own,
                target,
                failed: dialling.failed,
                left: dialling.targets.into(),
            };
            server.begin(connection, dialling.attempt, reached, &mut self.outside);
        }
    }

    /// What a server shows in TLS.
    fn certificate(&self, index: usize) -> PeerCertificate {
        let own = &self.plan.servers[index];
        let (chain, expires) = match own.proof {
            ProofPlan::Certificate => (Chain::Valid, Some(FAR)),
            ProofPlan::Expiring(seconds) => (Chain::Valid, Some(seconds)),
            ProofPlan::Dialback => (Chain::Invalid("nobody knows its authority".into()), None),
        };
        PeerCertificate {
            chain,
            names: own
                .hosts
                .iter()
                .cloned()
                .map(CertificateName::Dns)
                .collect(),
            expires: expires.map(|seconds| beginning() + Duration::from_secs(seconds)),
            public_key: None,
            attestations: Vec::new(),
        }
    }
}

struct Dialling {
    attempt: AttemptKey,
    targets: VecDeque<Target>,
    failed: Vec<verona_proto::federation::Unreached>,
    until: Moment,
    each: Moment,
    purpose: verona_proto::stream::Purpose,
}

impl Dialling {
    fn into_dial(self) -> Dial {
        Dial::Connect {
            attempt: self.attempt,
            targets: self.targets,
            failed: self.failed,
            until: self.until,
            each: self.each,
            purpose: self.purpose,
        }
    }
}

/// Whose turn it is: that server does nothing while it is frozen.
fn owner(actor: Actor) -> Option<usize> {
    match actor {
        Actor::Federation(index)
        | Actor::Connection(index, _)
        | Actor::Link(index, _)
        | Actor::Jobs(index)
        | Actor::Dial(index, _)
        | Actor::Absence(index, _)
        | Actor::Departure(index) => Some(index),
        Actor::Plan
        | Actor::Wire(..)
        | Actor::Patience(_)
        | Actor::Return(_)
        | Actor::Program(_)
        | Actor::Relief(_) => None,
    }
}

/// When all worlds begin: the machines take instants, and there is no other way to one.
fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    #[allow(
        clippy::disallowed_methods,
        reason = "any instant will do to begin with"
    )]
    *BEGINNING.get_or_init(Instant::now)
}

/// The position of no server.
const DEAD: usize = 99;
/// When a certificate ends that does not end.
const FAR: u64 = 10 * 365 * 24 * 3600;
/// How long after the last line of the plan everything is well.
const HEALING: Moment = 1_000_000;
/// How long a component waits before it connects again.
const RECONNECT: Moment = 1_000_000;
/// When every world must have fallen silent.
const SILENCE_MAX: Moment = 900_000_000;
/// Steps after which a world is taken to run for ever.
const STEPS_MAX: u64 = 2_000_000;
