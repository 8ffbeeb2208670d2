//! Two whole servers of verona's, each with its federation, and now and then a liar between them.
//!
//! Keys are checked over connections of their own here, and the model knows a key for good only when it has heard the
//! answer on a connection that was dialled to ask: from the right server, about the right pair and stream.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{
    AttemptKey, Command, Federation, Reached, Remains, Signal, StreamKey, Unreached,
};
use verona_proto::outbox::{self, Drain, Feeder, OutboxLimit};
use verona_proto::policy::Multiplex;
use verona_proto::stream::{Command as StreamCommand, Event, Fault, Input, Purpose, StreamConfig};

use crate::chance::Chance;
use crate::connection::{Connection, Verdicts, domains, named, stanza, verdict};
use crate::names::{
    Address, BANK, BUCHER, CAPULET, CAPULETS, CONFERENCE, GARTEN, MONTAGUE, MONTAGUES, Name, Pair,
    ROOMS,
};
use crate::peer::{Peer, Plan, Temper};
use crate::referee::{Asked, IdsSeen, Issued, Part};
use crate::rules::{Certificate, Rule, Rules};
use crate::story::Step;
use crate::tally::Tally;
use crate::wire::{Outcome, Sentence};

/// One thing that happens in the town, as it can be told again.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// One server has a stanza for a pair.
    Want(usize, Pair, u64),
    /// What lies on one way of a connection arrives.
    Arrive(usize),
    /// The liar opens a connection.
    LiarDials,
    /// The liar says something on one of its connections.
    LiarSays(usize, Vec<Sentence>),
    Wait(u64),
    /// A connection is cut.
    Cut(usize),
}

/// What a town is like.
#[derive(Clone, Debug)]
struct Plot {
    rules: [Rc<Rules>; 2],
    certificates: [Rc<Certificate>; 2],
    liar: Option<Rc<Certificate>>,
    cuts: bool,
}

struct Server {
    rules: Rc<Rules>,
    config: Arc<StreamConfig>,
    federation: Federation,
    feeders: BTreeMap<Pair, Feeder>,
    returned: Vec<u64>,
}

/// One end of a connection at one of the servers.
struct End {
    server: usize,
    connection: Connection,
    other: Other,
    drains: Vec<(Pair, Drain)>,
    /// What is under way to it.
    coming: VecDeque<(Vec<u8>, Vec<Sentence>)>,
    is_reported: bool,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    End(usize),
    Liar,
    Nobody,
}

struct Town {
    plot: Plot,
    servers: [Server; 2],
    ends: Vec<End>,
    /// Keys that the authoritative server confirmed, for whom.
    confirmed: Vec<(usize, Asked)>,
    issued: [Vec<Issued>; 2],
    ids_seen: [IdsSeen; 2],
    start: Instant,
    now: u64,
    log: Option<String>,
}

impl Plot {
    fn any(chance: &mut Chance) -> Self {
        let mut rule = || {
            let mut rule = Rule::any(chance);
            rule.deny = false;
            rule.tls_required = chance.percent(70);
            if !rule.certificate && !rule.dialback {
                rule.dialback = true;
            }
            rule
        };
        let defaults = [rule(), rule()];
        let server = |ours, defaults, server| {
            Rc::new(Rules {
                ours,
                defaults,
                exception: None,
                tls_available: true,
                server,
            })
        };
        let certificate = |chance: &mut Chance, all: &[Name]| {
            Rc::new(match chance.below(4) {
                0 => Certificate::any(chance, all[0], all),
                1 => Certificate::good(&all[..1]),
                _ => Certificate::good(all),
            })
        };
        let liar = chance.percent(50);
        Self {
            rules: [
                server(MONTAGUES, defaults[0], 0),
                server(CAPULETS, defaults[1], 1),
            ],
            certificates: [
                certificate(chance, MONTAGUES),
                certificate(chance, CAPULETS),
            ],
            liar: liar.then(|| Rc::new(Certificate::any(chance, BANK, &[BANK]))),
            cuts: chance.percent(15),
        }
    }

    /// Whether the two can reach each other for every pair: then every stanza must arrive.
    fn is_peaceful(&self) -> bool {
        let reaches = |own: usize| {
            let other = 1 - own;
            self.rules[other].ours.iter().all(|name| {
                let rule = self.rules[own].for_peer(*name);
                rule.dialback || rule.certificate && self.certificates[other].covers(*name, 600)
            })
        };
        self.liar.is_none() && !self.cuts && reaches(0) && reaches(1)
    }
}

impl Town {
    fn new(plot: Plot, start: Instant) -> Self {
        let server = |at: usize| {
            let rules = Rc::clone(&plot.rules[at]);
            let config = rules.config();
            let federation =
                Federation::new(Arc::clone(&config.policy), |below| below.saturating_sub(1))
                    .remembering(config.memory.learned.clone());
            Server {
                rules,
                config,
                federation,
                feeders: BTreeMap::new(),
                returned: Vec::new(),
            }
        };
        Self {
            servers: [server(0), server(1)],
            plot,
            ends: Vec::new(),
            confirmed: Vec::new(),
            issued: [Vec::new(), Vec::new()],
            ids_seen: Default::default(),
            start,
            now: 0,
            log: None,
        }
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_secs(self.now)
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push_str(&text());
            log.push('\n');
        }
    }

    fn act(&mut self, act: &Act, tally: &mut Tally) -> Verdicts {
        self.note(|| format!("-- {act:?}"));
        match act {
            Act::Want(server, pair, number) => self.want(*server, *pair, *number, tally),
            Act::Arrive(end) => self.arrive(*end, tally),
            Act::LiarDials => {
                let certificate = self
                    .plot
                    .liar
                    .clone()
                    .unwrap_or_else(|| Rc::new(Certificate::good(&[])));
                let end = self.begin(0, Part::Receiving, None, certificate, Other::Liar);
                let key = self.key(end);
                self.servers[0]
                    .federation
                    .handle(Signal::Accepted(key), self.at());
                self.work(tally)
            }
            Act::LiarSays(end, sentences) => {
                let Some(end_of) = self
                    .ends
                    .get_mut(*end)
                    .filter(|end| end.other == Other::Liar)
                else {
                    return Ok(());
                };
                if end_of.connection.is_over {
                    return Ok(());
                }
                let result = end_of.connection.hear(sentences, None, tally);
                self.after(*end, result, tally)
            }
            Act::Wait(seconds) => self.wait(*seconds, tally),
            Act::Cut(end) => {
                let Some(end_of) = self.ends.get_mut(*end) else {
                    return Ok(());
                };
                let other = end_of.other;
                self.eof(*end, tally)?;
                match other {
                    Other::End(other) => self.eof(other, tally),
                    Other::Liar | Other::Nobody => Ok(()),
                }
            }
        }
    }

    fn eof(&mut self, end: usize, tally: &mut Tally) -> Verdicts {
        let at = self.at();
        let end_of = &mut self.ends[end];
        end_of.coming.clear();
        end_of.other = Other::Nobody;
        if end_of.connection.is_over {
            return Ok(());
        }
        end_of.connection.stream.handle(Input::Eof, at);
        let result = end_of.connection.settle(tally);
        self.after(end, result, tally)
    }

    /// A key of this process: the ends of both servers are numbered together.
    fn key(&self, end: usize) -> StreamKey {
        StreamKey(end as u64)
    }

    fn begin(
        &mut self,
        server: usize,
        part: Part,
        check: Option<Vec<verona_proto::stream::Check>>,
        certificate: Rc<Certificate>,
        other: Other,
    ) -> usize {
        let own = &self.servers[server];
        let certificate = Rc::new(Certificate {
            own: self.plot.certificates[server].chain == crate::rules::Trust::Trusted,
            ..(*certificate).clone()
        });
        let tag = self.ends.len() as u64 + 1;
        let mut connection = Connection::new(
            &own.rules,
            &own.config,
            part,
            check.unwrap_or_default(),
            certificate,
            (self.start, self.now),
            tag,
        );
        connection.referee.ids_seen = Rc::clone(&self.ids_seen[server]);
        self.ends.push(End {
            server,
            connection,
            other,
            drains: Vec::new(),
            coming: VecDeque::new(),
            is_reported: false,
        });
        self.ends.len() - 1
    }

    fn want(&mut self, server: usize, pair: Pair, number: u64, tally: &mut Tally) -> Verdicts {
        let at = self.at();
        let stanza = stanza(pair, number);
        let own = &mut self.servers[server];
        let stanza = match own.feeders.get(&pair) {
            Some(feeder) => match feeder.push(stanza, at) {
                Ok(()) => None,
                Err(refused) => Some(refused.into_stanza()),
            },
            None => Some(stanza),
        };
        if let Some(stanza) = stanza {
            let (feeder, drain) = outbox::new(OutboxLimit {
                stanzas: 100,
                bytes: 100_000,
            });
            feeder.push(stanza, at).map_err(|_| "a new queue is full")?;
            own.feeders.insert(pair, feeder);
            let domains = domains(&own.rules.all_hosts(), pair);
            own.federation.handle(Signal::Wanted(domains, drain), at);
        }
        for end in 0..self.ends.len() {
            if self.ends[end].server == server {
                self.flush(end, tally)?;
            }
        }
        self.work(tally)
    }

    /// Sends what waits in the queues that the stream carries.
    fn flush(&mut self, end: usize, tally: &mut Tally) -> Verdicts {
        let end_of = &mut self.ends[end];
        for (pair, drain) in &mut end_of.drains {
            while end_of.connection.stream.is_open() {
                let Some(stanza) = drain.pull() else {
                    break;
                };
                if !end_of.connection.send_stanza(*pair, &stanza, tally)? {
                    return Err(format!(
                        "the federation had {pair} carried by a stream that may not"
                    ));
                }
                drain.acknowledge(1);
            }
        }
        let result = Ok(());
        self.after(end, result, tally)
    }

    fn arrive(&mut self, end: usize, tally: &mut Tally) -> Verdicts {
        let Some(end_of) = self.ends.get_mut(end) else {
            return Ok(());
        };
        let Some((bytes, sentences)) = end_of.coming.pop_front() else {
            return Ok(());
        };
        if end_of.connection.is_over {
            return Ok(());
        }
        let result = end_of
            .connection
            .hear_bytes(&bytes, &sentences, None, tally);
        self.after(end, result, tally)
    }

    /// What a stream said is sent on its way; what it told goes to its federation.
    fn after(&mut self, end: usize, result: Verdicts, tally: &mut Tally) -> Verdicts {
        let at = self.at();
        let end_of = &mut self.ends[end];
        let (server, other) = (end_of.server, end_of.other);
        let said = std::mem::take(&mut end_of.connection.said);
        let written = std::mem::take(&mut end_of.connection.written);
        let events = std::mem::take(&mut end_of.connection.events);
        let issued = std::mem::take(&mut end_of.connection.referee.issued);
        let is_over = end_of.connection.is_over
            && !std::mem::replace(&mut end_of.is_reported, end_of.connection.is_over);
        if self.log.is_some() {
            for sentence in &said {
                let mut xml = String::new();
                sentence.write(&mut xml);
                self.note(|| format!("{end} ({}): {xml}", ["montagues", "capulets"][server]));
            }
            for event in &events {
                self.note(|| {
                    format!(
                        "{end} ({}):   ({event:?})",
                        ["montagues", "capulets"][server]
                    )
                });
            }
        }
        result?;
        for key in issued {
            for other in self.ends.iter_mut().filter(|other| other.server == server) {
                other.connection.referee.issued_elsewhere.push(key.clone());
            }
            self.issued[server].push(key);
        }
        self.learn(end);
        if let (false, Other::End(other)) = (written.is_empty(), other) {
            self.ends[other].coming.push_back((written, said));
        }
        let key = self.key(end);
        for event in events {
            if let Event::Granted(_) = event {
                tally.count("town", "granted");
            }
            self.servers[server]
                .federation
                .handle(Signal::Stream(key, event), at);
            self.obey(server, tally)?;
        }
        if is_over {
            let drains = std::mem::take(&mut self.ends[end].drains);
            let hosts = self.servers[server].rules.all_hosts();
            let drains = drains
                .into_iter()
                .map(|(pair, drain)| (domains(&hosts, pair), drain));
            let remains = Remains::untouched(drains);
            self.servers[server]
                .federation
                .handle(Signal::Ended(key, remains), at);
            if let Other::End(other) = other {
                // The last words still arrive, then nothing.
                self.ends[end].other = Other::Nobody;
                self.ends[other]
                    .coming
                    .push_back((Vec::new(), vec![Sentence::Close]));
            }
        }
        self.obey(server, tally)
    }

    /// What the model learns of keys from an answer on a connection that was made to ask.
    fn learn(&mut self, end: usize) {
        let end_of = &mut self.ends[end];
        let Part::Verifying(pair) = end_of.connection.referee.part else {
            return;
        };
        let server = end_of.server;
        for check in &end_of.connection.referee.checks {
            if check.outcome == Some(Outcome::Valid) {
                let asked = Asked::new(pair, check.id.clone(), check.key.clone());
                if !self
                    .confirmed
                    .iter()
                    .any(|(by, known)| *by == server && known.is(&asked))
                {
                    self.confirmed.push((server, asked));
                }
            }
        }
    }

    fn work(&mut self, tally: &mut Tally) -> Verdicts {
        self.obey(0, tally)?;
        self.obey(1, tally)
    }

    /// Does what a federation wants done.
    fn obey(&mut self, server: usize, tally: &mut Tally) -> Verdicts {
        while let Some(command) = self.servers[server].federation.poll() {
            self.command(server, command, tally)?;
        }
        Ok(())
    }

    fn command(&mut self, server: usize, command: Command, tally: &mut Tally) -> Verdicts {
        let at = self.at();
        self.note(|| {
            format!(
                "   ({}: {})",
                ["montagues", "capulets"][server],
                brief(&command)
            )
        });
        match command {
            Command::Discover {
                attempt, remote, ..
            } => {
                let name = Name::read(remote.as_str());
                let result = match name.filter(|name| self.server_of(server, *name).is_some()) {
                    Some(name) => Ok(vec![Target::new(
                        ([192, 0, 2, name.0], 5269).into(),
                        false,
                        name.text(),
                    )]),
                    None => Err(DiscoveryError::not_found("has no server")),
                };
                self.servers[server]
                    .federation
                    .handle(Signal::Discovered(attempt, result), at);
                Ok(())
            }
            Command::Connect {
                attempt,
                targets,
                purpose,
                ..
            } => self.connect(server, attempt, targets, purpose, tally),
            Command::Request { stream, pair } => {
                tally.count("town", "request on a live stream");
                self.tell(stream, StreamCommand::Request { pair }, tally)
            }
            Command::Verdict {
                stream,
                pair,
                verdict: outcome,
                assurance,
            } => {
                let Some(end) = self.ends.get_mut(stream.0 as usize) else {
                    return Err("a verdict for a stream that never was".into());
                };
                // The model believes its own ears.
                let name = named(&pair)?;
                let referee = &mut end.connection.referee;
                let is_known = referee
                    .asked
                    .iter()
                    .find(|asked| asked.pair == name)
                    .is_some_and(|asked| {
                        self.confirmed
                            .iter()
                            .any(|(by, known)| *by == server && known.is(asked))
                    });
                match (outcome == verdict(Outcome::Valid), is_known) {
                    (true, true) => {
                        tally.count("town", "key confirmed");
                        referee.verdict(name, Outcome::Valid);
                    }
                    (true, false) if referee.asked.iter().any(|asked| asked.pair == name) => {
                        return Err(format!(
                            "{name} is taken for confirmed on stream {}, and nobody confirmed it",
                            stream.0
                        ));
                    }
                    (true, false) => {}
                    (false, _) => {
                        tally.count("town", "key not confirmed");
                        referee.verdict(name, Outcome::Invalid);
                    }
                }
                self.tell(
                    stream,
                    StreamCommand::Verdict {
                        pair,
                        verdict: outcome,
                        assurance,
                    },
                    tally,
                )
            }
            Command::Carry {
                stream,
                pair,
                drain,
            } => {
                let name = named(&pair)?;
                let end = stream.0 as usize;
                if self.ends[end].is_reported {
                    self.servers[server]
                        .federation
                        .handle(Signal::Undone(stream, pair, Some(drain)), at);
                    return Ok(());
                }
                self.ends[end].drains.push((name, drain));
                self.flush(end, tally)
            }
            Command::Return { pair, drain, why } => {
                tally.count("returned", why.reason().condition().name());
                let pair = named(&pair)?;
                self.servers[server].feeders.remove(&pair);
                let numbers = drain.close();
                self.servers[server]
                    .returned
                    .extend(numbers.iter().filter_map(number));
                Ok(())
            }
            Command::Bounce { stanzas, why } => {
                tally.count("returned", why.reason().condition().name());
                self.servers[server]
                    .returned
                    .extend(stanzas.iter().filter_map(number));
                Ok(())
            }
            Command::Close { stream, error } => {
                self.tell(stream, StreamCommand::Close(error), tally)
            }
            Command::Converge { stream } => self.tell(stream, StreamCommand::Converge, tally),
            // What tells and asks for nothing.
            _ => Ok(()),
        }
    }

    fn tell(&mut self, stream: StreamKey, command: StreamCommand, tally: &mut Tally) -> Verdicts {
        let end = stream.0 as usize;
        let Some(end_of) = self.ends.get_mut(end) else {
            return Err("a command for a stream that never was".into());
        };
        if end_of.connection.is_over {
            return Ok(());
        }
        let result = end_of.connection.command(command, tally);
        self.after(end, result, tally)
    }

    /// Who truly serves a domain.
    fn server_of(&self, asker: usize, name: Name) -> Option<Other> {
        if self.servers[1 - asker].rules.hosts(name) {
            return Some(Other::End(1 - asker));
        }
        (name == BANK && self.plot.liar.is_some()).then_some(Other::Liar)
    }

    fn connect(
        &mut self,
        server: usize,
        attempt: AttemptKey,
        targets: Vec<Target>,
        purpose: Purpose,
        tally: &mut Tally,
    ) -> Verdicts {
        let at = self.at();
        let pair = named(purpose.pair())?;
        let (part, checks) = match purpose {
            Purpose::Carry { external, bidi, .. } => (
                Part::Initiating {
                    pair,
                    external,
                    bidi,
                },
                None,
            ),
            Purpose::Verify { checks, .. } => {
                tally.count("town", "connection to check a key");
                (Part::Verifying(pair), Some(checks))
            }
        };
        match self.server_of(server, pair.remote) {
            Some(Other::End(other)) => {
                let certificate = Rc::clone(&self.plot.certificates[other]);
                let end = self.begin(server, part, checks, certificate, Other::Nobody);
                let theirs = Rc::clone(&self.plot.certificates[server]);
                let accepted = self.begin(other, Part::Receiving, None, theirs, Other::End(end));
                self.ends[end].other = Other::End(accepted);
                let issued = self.issued[other].clone();
                self.ends[accepted].connection.referee.issued_elsewhere = issued;
                let key = self.key(accepted);
                self.servers[other]
                    .federation
                    .handle(Signal::Accepted(key), at);
                self.obey(other, tally)?;
                self.connected(server, (attempt, targets), end, tally)
            }
            Some(Other::Liar) => {
                let certificate = self
                    .plot
                    .liar
                    .clone()
                    .unwrap_or_else(|| Rc::new(Certificate::good(&[])));
                let end = self.begin(server, part, checks, certificate, Other::Liar);
                self.connected(server, (attempt, targets), end, tally)
            }
            Some(Other::Nobody) | None => {
                let unreached = |target| Unreached {
                    target,
                    text: "nobody listens".into(),
                    fault: Fault::Peer,
                };
                let failed = targets.into_iter().map(unreached).collect();
                self.servers[server]
                    .federation
                    .handle(Signal::Connected(attempt, Err(failed)), at);
                Ok(())
            }
        }
    }

    fn connected(
        &mut self,
        server: usize,
        (attempt, mut targets): (AttemptKey, Vec<Target>),
        end: usize,
        tally: &mut Tally,
    ) -> Verdicts {
        let at = self.at();
        let issued = self.issued[server].clone();
        let connection = &mut self.ends[end].connection;
        connection.referee.issued_elsewhere = issued;
        let result = connection.settle(tally);
        let key = self.key(end);
        let reached = Reached {
            stream: key,
            target: targets.remove(0),
            failed: Vec::new(),
            left: targets,
        };
        self.servers[server]
            .federation
            .handle(Signal::Connected(attempt, Ok(reached)), at);
        self.after(end, result, tally)
    }

    fn wait(&mut self, seconds: u64, tally: &mut Tally) -> Verdicts {
        self.now += seconds;
        for end in 0..self.ends.len() {
            if !self.ends[end].connection.is_over {
                let result = self.ends[end].connection.wait(self.now, tally);
                self.after(end, result, tally)?;
            }
        }
        for server in 0..2 {
            let at = self.at();
            self.servers[server].federation.handle(Signal::Tick, at);
            self.obey(server, tally)?;
        }
        Ok(())
    }

    /// Lets everything arrive that is under way, and a little time pass for what waits on purpose.
    fn calm(&mut self, tally: &mut Tally) -> Verdicts {
        for _ in 0..8 {
            for _ in 0..2_000 {
                let Some(end) = self.ends.iter().position(|end| !end.coming.is_empty()) else {
                    break;
                };
                self.arrive(end, tally)?;
            }
            self.wait(1, tally)?;
        }
        Ok(())
    }
}

/// Makes up one story of the town and plays it.
pub(crate) fn tell(seed: u64, start: Instant, tally: &mut Tally) -> Result<(), String> {
    let mut chance = Chance::new(seed ^ 0x7077_6e00);
    let plot = Plot::any(&mut chance);
    let mut acts = Vec::new();
    let result = make_up(plot.clone(), chance, &mut acts, start, tally);
    result.map_err(|error| report(seed, &plot, acts, error, start))
}

fn make_up(
    plot: Plot,
    mut chance: Chance,
    acts: &mut Vec<Act>,
    start: Instant,
    tally: &mut Tally,
) -> Verdicts {
    let mut town = Town::new(plot, start);
    let mut liars: BTreeMap<usize, Peer> = BTreeMap::new();
    let mut number = 0;
    let act_max = 12 + chance.below(40);
    while acts.len() < act_max {
        let act = next(&town, &mut chance, &mut liars, &mut number);
        acts.push(act.clone());
        town.act(&act, tally)?;
    }
    finish(&mut town, number, tally)
}

fn next(
    town: &Town,
    chance: &mut Chance,
    liars: &mut BTreeMap<usize, Peer>,
    number: &mut u64,
) -> Act {
    let coming: Vec<usize> = (0..town.ends.len())
        .filter(|end| !town.ends[*end].coming.is_empty())
        .collect();
    let wants = *number < 6;
    if wants && (coming.is_empty() || chance.percent(12)) {
        *number += 1;
        let montague = chance.pick(&[MONTAGUE, MONTAGUE, CONFERENCE, GARTEN]);
        let capulet = chance.pick(&[CAPULET, CAPULET, ROOMS, BUCHER]);
        let bank = town.plot.liar.is_some() && chance.percent(30);
        return match chance.percent(50) {
            true => Act::Want(
                0,
                Pair::new(montague, if bank { BANK } else { capulet }),
                *number,
            ),
            false => Act::Want(
                1,
                Pair::new(capulet, if bank { BANK } else { montague }),
                *number,
            ),
        };
    }
    if town.plot.liar.is_some() && chance.percent(50) {
        let ends: Vec<usize> = (0..town.ends.len())
            .filter(|end| {
                town.ends[*end].other == Other::Liar && !town.ends[*end].connection.is_over
            })
            .collect();
        if ends.len() < 2 && chance.percent(30) || ends.is_empty() {
            return Act::LiarDials;
        }
        let end = chance.pick(&ends);
        let connection = &town.ends[end].connection;
        let liar = liars.entry(end).or_insert_with(|| {
            let mut plan = Plan::any(chance, Temper::Lying);
            plan.tls = true;
            plan.remote = chance.pick(&[BANK, BANK, CAPULET, ROOMS]);
            plan.local = match connection.referee.part {
                Part::Initiating { pair, .. } | Part::Verifying(pair) => pair.local,
                Part::Receiving => chance.pick(MONTAGUES),
            };
            Peer::new(Chance::new(chance.next()), plan)
        });
        if let Step::Says(mut sentences, _) = liar.next(connection) {
            collide(town, chance, &mut sentences);
            return Act::LiarSays(end, sentences);
        }
    }
    if town.plot.cuts && !town.ends.is_empty() && chance.percent(4) {
        return Act::Cut(chance.below(town.ends.len()));
    }
    match coming.is_empty() {
        true => Act::Wait(chance.pick(&[1, 1, 3, 20])),
        false => Act::Arrive(chance.pick(&coming)),
    }
}

/// A liar that opens a stream for us may choose the id of any other stream in town, and claims what others asked for.
fn collide(town: &Town, chance: &mut Chance, sentences: &mut [Sentence]) {
    for sentence in sentences {
        if let Sentence::Header { id: Some(id), .. } = sentence
            && chance.percent(50)
        {
            let ids: Vec<&String> = town
                .ends
                .iter()
                .filter_map(|end| end.connection.referee.id.as_ref())
                .collect();
            if !ids.is_empty() {
                id.clone_from(chance.pick(&ids));
            }
        }
        if let Sentence::Request { from, to, key } = sentence
            && chance.percent(40)
        {
            let asked: Vec<&Asked> = town
                .ends
                .iter()
                .flat_map(|end| &end.connection.referee.asked)
                .collect();
            if !asked.is_empty() {
                let asked = chance.pick(&asked);
                (*from, *to) = (
                    Address::of(asked.pair.remote),
                    Address::of(asked.pair.local),
                );
                if chance.percent(50) {
                    key.clone_from(&asked.key);
                }
            }
        }
    }
}

/// Liveness: when all are honest and nothing is cut, what was sent arrives, once.
fn finish(town: &mut Town, sent: u64, tally: &mut Tally) -> Verdicts {
    town.calm(tally)?;
    tally.count_many("negotiations", "of two servers", town.ends.len() as u64);
    let mut delivered: Vec<u64> = town
        .ends
        .iter()
        .filter(|end| end.other != Other::Liar)
        .flat_map(|end| end.connection.delivered.iter().copied())
        .collect();
    delivered.sort_unstable();
    if let Some(twice) = delivered.windows(2).find(|two| two[0] == two[1]) {
        return Err(format!("stanza {} was delivered twice", twice[0]));
    }
    if town.plot.is_peaceful() {
        let due: Vec<u64> = (1..=sent).collect();
        if delivered != due {
            let returned: Vec<u64> = town
                .servers
                .iter()
                .flat_map(|server| server.returned.clone())
                .collect();
            return Err(format!(
                "of {due:?} only {delivered:?} arrived, {returned:?} came back"
            ));
        }
        tally.count("town", "peaceful");
    } else {
        tally.count(
            "town",
            if town.plot.liar.is_some() {
                "with a liar"
            } else {
                "not all can pass"
            },
        );
    }
    if town
        .plot
        .rules
        .iter()
        .any(|rules| rules.defaults.multiplex == Multiplex::On)
    {
        tally.count("town", "multiplexing");
    }
    Ok(())
}

fn report(seed: u64, plot: &Plot, mut acts: Vec<Act>, mut error: String, start: Instant) -> String {
    let is_live = error.contains("arrived");
    let mut at = 0;
    while at < acts.len() && !is_live {
        let mut fewer = acts.clone();
        fewer.remove(at);
        match replay(plot, &fewer, start, None).0 {
            Err(other) => {
                acts = fewer;
                error = other;
                at = 0;
            }
            Ok(()) => at += 1,
        }
    }
    let mut text = format!("seed {seed}: {error}\n{plot:#?}\n");
    let (_, log) = replay(plot, &acts, start, Some(String::new()));
    _ = writeln!(text, "{}", log.unwrap_or_default());
    text
}

fn replay(
    plot: &Plot,
    acts: &[Act],
    start: Instant,
    log: Option<String>,
) -> (Verdicts, Option<String>) {
    let mut tally = Tally::default();
    let mut town = Town::new(plot.clone(), start);
    town.log = log;
    for act in acts {
        if let Err(error) = town.act(act, &mut tally) {
            town.note(|| format!("wrong: {error}"));
            return (Err(error), town.log);
        }
    }
    let result = town.calm(&mut tally);
    (result, town.log)
}

fn number(stanza: &verona_proto::stanza::Stanza) -> Option<u64> {
    stanza.id()?.parse().ok()
}

fn brief(command: &Command) -> String {
    let mut text = format!("{command:?}");
    if let Some(at) = text.char_indices().nth(200).map(|(at, _)| at) {
        text.truncate(at);
    }
    text
}
