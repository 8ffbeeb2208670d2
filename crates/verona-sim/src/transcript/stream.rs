//! Playing a transcript against the stream machine. The player is the driver: it moves bytes, keeps the clock, carries
//! out commands, and checks after every input what a driver may rely on.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Hosts};
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::dane::{Tlsa, TlsaRecord};
use verona_proto::dialback::{Secret, Secrets};
use verona_proto::discovery::{FALLBACK_PORT, Target};
use verona_proto::grounds::Assurance;
use verona_proto::stanza::Stanza;
use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stream::{
    Command, Input, Memory, Purpose, Secured, Stream, StreamConfig, StreamError, StreamIds,
};
use verona_xml::{Limits, Scan, Scanner};

use super::event::{self, Observed};
use super::parse::{self, Evidence, Kind, Role, Setup, Step};
use super::text::Names;
use super::wire::{Frame, Wire};
use super::{Mistake, Transcript};

/// How the peer's bytes arrive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// Each `>` line at once.
    Lines,
    /// All `>` lines between two commands at once.
    Joined,
    /// Byte by byte.
    Bytes,
    /// As `Joined`, cut at random places.
    Random(u64),
}

impl Delivery {
    /// Every delivery that a transcript must bear; the random ones are the same each time for the same path.
    pub(super) fn all(path: &str) -> Vec<Self> {
        let seed = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let random = (0..RANDOM_DELIVERIES).map(|n| Self::Random(seed.wrapping_add(n)));
        [Self::Lines, Self::Joined, Self::Bytes]
            .into_iter()
            .chain(random)
            .collect()
    }

    fn joins(self) -> bool {
        match self {
            Self::Lines | Self::Bytes => false,
            Self::Joined | Self::Random(_) => true,
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines => f.write_str("line by line"),
            Self::Joined => f.write_str("all lines at once"),
            Self::Bytes => f.write_str("byte by byte"),
            Self::Random(seed) => write!(f, "cut at random places (seed {seed})"),
        }
    }
}

/// Plays the transcript once.
pub(super) fn play(transcript: &Transcript, delivery: Delivery) -> Result<(), Mistake> {
    let start = Instant::now();
    let mut player = Player::new(transcript, delivery, start)?;
    player.drain(transcript.setup.line)?;
    let mut steps = transcript.steps.as_slice();
    while !steps.is_empty() {
        let (act, rest) = match steps.split_first() {
            Some((step, rest)) if matches!(step.kind, Kind::Command | Kind::Wait) => {
                (Some(step), rest)
            }
            Some(_) | None => (None, steps),
        };
        if let Some(step) = act {
            player.act(step)?;
        }
        let end = rest
            .iter()
            .position(|step| matches!(step.kind, Kind::Command | Kind::Wait))
            .unwrap_or(rest.len());
        let (stretch, rest) = rest.split_at(end);
        player.stretch(stretch)?;
        player.nothing_left(act.or(stretch.last()).map_or(0, |step| step.line))?;
        steps = rest;
    }
    Ok(())
}

struct Player<'a> {
    transcript: &'a Transcript,
    delivery: Delivery,
    dice: Dice,
    /// What the stream follows.
    config: Arc<StreamConfig>,
    stream: Stream,
    now: Instant,
    names: Names,
    /// What we write, and what the transcript says that we write: both are read the same way.
    written: Wire,
    wanted: Wire,
    frames: VecDeque<Frame>,
    events: VecDeque<Observed>,
    /// The line of a `send` that was refused.
    unsent: Option<usize>,
    disconnected: bool,
}

impl<'a> Player<'a> {
    fn new(transcript: &'a Transcript, delivery: Delivery, now: Instant) -> Result<Self, Mistake> {
        let setup = &transcript.setup;
        let seed = match delivery {
            Delivery::Lines | Delivery::Joined | Delivery::Bytes => 0,
            Delivery::Random(seed) => seed,
        };
        let config = config(setup, now);
        Ok(Self {
            transcript,
            delivery,
            dice: Dice(seed),
            config: Arc::clone(&config),
            stream: stream(setup, config, now),
            now,
            names: setup.names.clone(),
            written: Wire::new(),
            wanted: Wire::new(),
            frames: VecDeque::new(),
            events: VecDeque::new(),
            unsent: None,
            disconnected: false,
        })
    }

    /// Plays what the peer sends and what is expected, up to the next command.
    fn stretch(&mut self, steps: &[Step]) -> Result<(), Mistake> {
        let mut rest = steps;
        while !rest.is_empty() {
            let end = self.group(rest);
            let (group, behind) = rest.split_at(end);
            self.deliver(group)?;
            let last = group.iter().rposition(|step| step.kind == Kind::Receive);
            for (index, step) in group.iter().enumerate() {
                match step.kind {
                    Kind::Receive => {}
                    Kind::Write => self.expect_write(step)?,
                    Kind::Event => self.expect_event(step)?,
                    // What holds between two lines that arrived together cannot be seen.
                    Kind::Assertion if last.is_some_and(|last| index < last) => {}
                    Kind::Assertion => self.assert(step)?,
                    Kind::Command | Kind::Wait => {}
                }
            }
            self.nothing_left(group.last().map_or(0, |step| step.line))?;
            rest = behind;
        }
        Ok(())
    }

    /// How many steps are played together: what arrives, and what follows from it.
    fn group(&self, steps: &[Step]) -> usize {
        let mut received = false;
        let mut expects = false;
        for (index, step) in steps.iter().enumerate() {
            match step.kind {
                Kind::Receive => {
                    // What follows from a command is looked at before the peer sends anything.
                    let apart = expects && (!received || !self.delivery.joins());
                    if apart || (index > 0 && self.names.lacks(&step.text)) {
                        return index;
                    }
                    received = true;
                }
                Kind::Write | Kind::Event | Kind::Assertion => expects = true,
                Kind::Command | Kind::Wait => {}
            }
        }
        steps.len()
    }

    fn deliver(&mut self, group: &[Step]) -> Result<(), Mistake> {
        let mut lines = Vec::new();
        for step in group.iter().filter(|step| step.kind == Kind::Receive) {
            if self.names.lacks(&step.text) {
                let text = format!("`{}` has a name without a value", step.text);
                return Err(self.transcript.mistake(step.line, text));
            }
            let bytes = self.names.expand(&step.text);
            let bytes = bytes.map_err(|text| self.transcript.mistake(step.line, text))?;
            match lines.last_mut() {
                Some((_, before)) if self.delivery.joins() => extend(before, &bytes),
                Some(_) | None => lines.push((step.line, bytes)),
            }
        }
        for (line, bytes) in lines {
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                let count = match self.delivery {
                    Delivery::Lines | Delivery::Joined => bytes.len(),
                    Delivery::Bytes => 1,
                    Delivery::Random(_) => self.dice.up_to(bytes.len().min(CUT_BYTES_MAX)),
                };
                let (now, rest) = bytes.split_at(count.min(bytes.len()));
                self.input(Input::Bytes(now), line)?;
                bytes = rest;
            }
        }
        Ok(())
    }

    /// Carries out a `!` or `@` line.
    fn act(&mut self, step: &Step) -> Result<(), Mistake> {
        let text = self.names.expand_text(&step.text);
        let text = text.map_err(|text| self.transcript.mistake(step.line, text))?;
        match step.kind {
            Kind::Wait => {
                let wait = parse::duration(&text);
                let wait = wait.map_err(|text| self.transcript.mistake(step.line, text))?;
                self.wait(wait, step.line)
            }
            Kind::Command => self.command(&text, step.line),
            Kind::Receive | Kind::Write | Kind::Event | Kind::Assertion => Ok(()),
        }
    }

    fn command(&mut self, text: &str, line: usize) -> Result<(), Mistake> {
        let mistake = |text: String| self.transcript.mistake(line, text);
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        let input = match verb {
            "secured" => {
                let mut keys = parse::keys(rest).map_err(mistake)?;
                let evidence = keys
                    .remove("certificate")
                    .ok_or_else(|| mistake("`certificate` is missing".into()))?;
                let expires = match keys.remove("expires") {
                    Some(text) => parse::duration(&text).map_err(mistake)?,
                    None => CERTIFICATE_LIFE,
                };
                let remote = match &self.transcript.setup.role {
                    Role::Initiating { pair, .. } | Role::Verifying { pair, .. } => {
                        Some(pair.remote().domain().clone())
                    }
                    Role::Receiving => None,
                };
                let attestation = match remote {
                    Some(remote) if !keys.is_empty() => {
                        let found = parse::attestation(remote, &mut keys, self.now);
                        Some(found.map_err(mistake)?)
                    }
                    Some(_) | None => None,
                };
                if let Some(key) = keys.keys().next() {
                    return Err(mistake(format!("there is no key `{key}`")));
                }
                let own = self.transcript.setup.own_certificate;
                let evidence = parse::evidence(&evidence);
                let mut secured = secured(&evidence, own, self.now + expires);
                secured.certificate.attestations.extend(attestation);
                Input::Secured(secured)
            }
            "attested" => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let mut keys = parse::keys(rest).map_err(mistake)?;
                let domain = parse::domain(name).map_err(mistake)?;
                let found = parse::attestation(domain, &mut keys, self.now).map_err(mistake)?;
                if let Some(key) = keys.keys().next() {
                    return Err(mistake(format!("there is no key `{key}`")));
                }
                Input::Attested(found)
            }
            "verdict" => {
                let (pair, verdict) = split_words(rest, 3);
                let (sender, target) = parse::arrow(pair).map_err(mistake)?;
                let pair = self.hosts().pair(Direction::Inbound, &sender, &target);
                let pair = pair.map_err(|error| mistake(format!("no pair: {error:?}")))?;
                let verdict = event::verdict(verdict).map_err(mistake)?;
                Input::Command(Command::Verdict {
                    pair,
                    verdict,
                    assurance: Assurance::Dns,
                })
            }
            "request" => {
                let (sender, target) = parse::arrow(rest).map_err(mistake)?;
                let pair = self.hosts().pair(Direction::Outbound, &sender, &target);
                let pair = pair.map_err(|error| mistake(format!("no pair: {error:?}")))?;
                Input::Command(Command::Request { pair })
            }
            "resume" if rest == "nothing" => Input::Command(Command::Resume(None)),
            "resume" => {
                let found = parse::ticket(rest).map_err(mistake)?;
                Input::Command(Command::Resume(Some(found)))
            }
            "abandon" => Input::Command(Command::Abandon),
            "unhandled" => {
                let count = rest
                    .parse()
                    .map_err(|_| mistake("a number is missing".into()))?;
                self.stream.unhandled(count);
                return self.drain(line);
            }
            "drained" => {
                self.stream.drained(self.now);
                return self.drain(line);
            }
            "converge" => Input::Command(Command::Converge),
            "reload" => {
                let (hosts, policy) = parse::reload(rest).map_err(mistake)?;
                let before = &self.config.hosts;
                let gone = before.iter().chain(before.departed()).cloned();
                self.config = Arc::new(StreamConfig {
                    hosts: Arc::new(hosts.with_departed(gone)),
                    policy: Arc::new(policy),
                    ..StreamConfig::clone(&self.config)
                });
                Input::Command(Command::Reload(Arc::clone(&self.config)))
            }
            "send" => return self.send(rest, line),
            "close" => {
                let condition = match rest {
                    "" => StreamCondition::UndefinedCondition,
                    name => StreamCondition::from_name(name),
                };
                let error = StreamError::local(condition, "the transcript says so");
                let error = match rest {
                    "" => error.quietly(),
                    _ => error,
                };
                Input::Command(Command::Close(error))
            }
            "tls" if rest == "failed" => {
                Input::Command(Command::Close(StreamError::tls("the handshake failed")))
            }
            "eof" => Input::Eof,
            _ => return Err(mistake(format!("there is no command `{text}`"))),
        };
        self.input(input, line)
    }

    fn send(&mut self, xml: &str, line: usize) -> Result<(), Mistake> {
        let mistake = |text: String| self.transcript.mistake(line, text);
        let stanza = stanza(xml).map_err(mistake)?;
        let pair = self
            .hosts()
            .pair(Direction::Outbound, stanza.from(), stanza.to())
            .map_err(|error| mistake(format!("no pair: {error:?}")))?;
        if self.stream.send(&pair, &stanza, self.now).is_err() {
            self.unsent = Some(line);
        }
        self.drain(line)
    }

    /// Lets time pass as a driver does: a tick at every deadline, and one at the end.
    fn wait(&mut self, wait: Duration, line: usize) -> Result<(), Mistake> {
        let until = self.now + wait;
        while let Some(at) = self.stream.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Tick, line)?;
            if self.stream.deadline().is_some_and(|next| next <= self.now) {
                return Err(self
                    .transcript
                    .mistake(line, "a tick did not move the deadline"));
            }
        }
        self.now = until;
        self.input(Input::Tick, line)
    }

    /// One input, and what a driver may rely on after it.
    fn input(&mut self, input: Input<'_>, line: usize) -> Result<(), Mistake> {
        self.stream.handle(input, self.now);
        self.drain(line)?;
        let mistake = |text: &str| Err(self.transcript.mistake(line, text));
        match (self.disconnected, self.stream.deadline()) {
            (false, None) => mistake("the stream lives and waits for ever"),
            (true, Some(_)) => mistake("the stream is over and still has a deadline"),
            (false, Some(_)) | (true, None) => Ok(()),
        }
    }

    fn drain(&mut self, line: usize) -> Result<(), Mistake> {
        let was_over = self.disconnected;
        let mut outputs = 0_usize;
        while let Some(output) = self.stream.poll() {
            let observed = Observed::new(&output);
            let observed = observed.map_err(|text| self.transcript.mistake(line, text))?;
            self.disconnected |= matches!(&observed, Observed::Words(words) if words == "disconnect" || words == "disconnect last");
            self.events.push_back(observed);
            outputs += 1;
        }
        let bytes = self.stream.transmit().split();
        if was_over && (outputs > 0 || !bytes.is_empty()) {
            let text = "the stream was over and did something";
            return Err(self.transcript.mistake(line, text));
        }
        let frames = self.written.read(&bytes);
        let frames =
            frames.map_err(|text| self.transcript.mistake(line, format!("we wrote {text}")))?;
        self.frames.extend(frames);
        Ok(())
    }

    fn expect_write(&mut self, step: &Step) -> Result<(), Mistake> {
        let mistake = |text: String| self.transcript.mistake(step.line, text);
        let text = match step.text.as_str() {
            "(white space)" => " ".to_owned(),
            text => self.names.expand_text(text).map_err(mistake)?,
        };
        for wanted in self.wanted.read(text.as_bytes()).map_err(mistake)? {
            let Some(found) = self.frames.pop_front() else {
                return Err(mistake(format!("not written: {wanted}{}", self.pending())));
            };
            if !wanted.matches(&found, &mut self.names) {
                return Err(mistake(format!(
                    "written:    {found}\n    instead of: {wanted}{}",
                    self.pending()
                )));
            }
        }
        Ok(())
    }

    fn expect_event(&mut self, step: &Step) -> Result<(), Mistake> {
        let mistake = |text: String| self.transcript.mistake(step.line, text);
        let wanted = self.names.expand_text(&step.text).map_err(mistake)?;
        let Some(found) = self.events.pop_front() else {
            return Err(mistake(format!(
                "did not happen: {wanted}{}",
                self.pending()
            )));
        };
        match found.is(&wanted, &mut self.names).map_err(mistake)? {
            true => Ok(()),
            false => Err(mistake(format!(
                "happened:   {found}\n    instead of: {wanted}{}",
                self.pending()
            ))),
        }
    }

    fn assert(&mut self, step: &Step) -> Result<(), Mistake> {
        let mistake = |text: String| self.transcript.mistake(step.line, text);
        let text = self.names.expand_text(&step.text).map_err(mistake)?;
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (found, wanted) = match verb {
            "unsent" => match self.unsent.take() {
                Some(_) => return Ok(()),
                None => return Err(mistake("it was sent".into())),
            },
            "state" => (self.stream.state().to_owned(), rest.to_owned()),
            "lost" => {
                let lost = self.stream.resume_point().map(|mark| mark.ticket);
                let found = lost.map_or("none".to_owned(), |ticket| {
                    format!(
                        "{}:{}:{}:{}",
                        ticket.id, ticket.handled, ticket.acknowledged, ticket.sent
                    )
                });
                (found, rest.to_owned())
            }
            "unacknowledged" => (self.stream.unacknowledged().to_string(), rest.to_owned()),
            "bidirectional" => (self.stream.is_bidirectional().to_string(), "true".into()),
            "unidirectional" => (self.stream.is_bidirectional().to_string(), "false".into()),
            "reached" => {
                let counts = self.config.memory.reached.iter();
                let names = counts.filter(|(_, count)| *count > 0);
                let found: Vec<&str> = names.map(|(limit, _)| limit.name()).collect();
                (found.join(" "), rest.to_owned())
            }
            "sends" => (self.grants(Direction::Outbound), sorted(rest)),
            "accepts" => (self.grants(Direction::Inbound), sorted(rest)),
            "deadline" => {
                let wanted = parse::duration(rest).map_err(mistake)?;
                let left = self.stream.deadline().map(|at| at - self.now);
                (format!("{left:?}"), format!("{:?}", Some(wanted)))
            }
            "no" if rest == "deadline" => {
                let left = self.stream.deadline().map(|at| at - self.now);
                (format!("{left:?}"), "None".into())
            }
            _ => return Err(mistake(format!("there is no assertion `{text}`"))),
        };
        match found == wanted {
            true => Ok(()),
            false => Err(mistake(format!("it is `{found}`, not `{wanted}`"))),
        }
    }

    fn nothing_left(&self, line: usize) -> Result<(), Mistake> {
        if let Some(line) = self.unsent {
            return Err(self.transcript.mistake(line, "it was not sent"));
        }
        match self.frames.is_empty() && self.events.is_empty() {
            true => Ok(()),
            false => {
                let text = format!("after this line there is more{}", self.pending());
                Err(self.transcript.mistake(line, text))
            }
        }
    }

    fn grants(&self, direction: Direction) -> String {
        let grants = self.stream.grants();
        let arrows = grants
            .iter()
            .filter(|granted| granted.direction == direction)
            .map(|granted| event::arrow(&granted.pair, direction));
        sorted(&arrows.collect::<Vec<_>>().join(","))
    }

    /// What was written and what happened, and is not accounted for.
    fn pending(&self) -> String {
        let frames = self
            .frames
            .iter()
            .map(|frame| format!("\n    then <  {frame}"));
        let events = self
            .events
            .iter()
            .map(|event| format!("\n    then *  {event}"));
        frames.chain(events).collect()
    }

    fn hosts(&self) -> &'a Hosts {
        &self.transcript.setup.hosts
    }
}

fn config(setup: &Setup, now: Instant) -> Arc<StreamConfig> {
    Arc::new(StreamConfig {
        hosts: Arc::new(setup.hosts.clone()),
        policy: Arc::new(setup.policy.clone()),
        secrets: Secrets::from(Secret::new(&setup.secret)),
        tls_available: setup.tls_available,
        attestations: setup.attestations,
        memory: memory(setup, now),
    })
}

fn stream(setup: &Setup, config: Arc<StreamConfig>, now: Instant) -> Stream {
    let mut ids = VecDeque::from(setup.ids.clone());
    let mut count = 0_u64;
    let ids = StreamIds::new(move || {
        count += 1;
        ids.pop_front().unwrap_or_else(|| format!("id-{count}"))
    });
    let secured = setup
        .secured
        .as_ref()
        .map(|evidence| secured(evidence, setup.own_certificate, now + CERTIFICATE_LIFE));
    let purpose = match &setup.role {
        Role::Receiving => return Stream::receiving(config, ids, secured, now),
        Role::Initiating {
            pair,
            external,
            bidi,
            pace,
            resume,
        } => Purpose::Carry {
            pair: pair.clone(),
            external: *external,
            bidi: *bidi,
            pace: *pace,
            resume: resume.clone(),
        },
        Role::Verifying { pair, checks } => Purpose::Verify {
            pair: pair.clone(),
            checks: checks.clone(),
        },
    };
    Stream::initiating_by_way_of(&target(setup), config, purpose, ids, secured, now)
}

/// Where the stream leads; of it only the way and what DNS says of the certificate count here.
fn target(setup: &Setup) -> Target {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FALLBACK_PORT));
    let record = TlsaRecord {
        usage: 3,
        selector: 1,
        matching: 1,
        data: vec![0; 32],
    };
    Target {
        assurance: setup.assurance,
        tlsa: match setup.tlsa {
            true => Tlsa::Secure(vec![record]),
            false => Tlsa::None,
        },
        ..Target::new(address, false, "server.invalid")
    }
}

/// What other streams have left behind.
fn memory(setup: &Setup, now: Instant) -> Memory {
    let memory = Memory::default();
    for key in &setup.issued {
        memory.issued.note(key, now + ISSUED_LIFE, now);
    }
    if let Role::Initiating { pair, .. } = &setup.role {
        for id in &setup.met {
            memory.ids.note(pair.remote().domain(), id, now);
        }
    }
    for taught in &setup.learned {
        let text = "taught by the transcript";
        memory
            .learned
            .note(&taught.peer, taught.topic, taught.outcome, text, now);
    }
    for (peer, strength) in &setup.proven {
        memory.learned.note_proven(peer, *strength, now);
    }
    memory
}

/// How long the keys of a transcript's `issued` are vouched for.
const ISSUED_LIFE: Duration = Duration::from_secs(90);

fn secured(evidence: &Evidence, own_certificate: bool, expires: Instant) -> Secured {
    let names = evidence.names.iter().cloned().map(CertificateName::Dns);
    let certificate = match (evidence.trusted, evidence.names.is_empty()) {
        (_, true) => PeerCertificate::absent(),
        (true, false) => PeerCertificate {
            chain: Chain::Valid,
            names: names.collect(),
            expires: Some(expires),
            ..PeerCertificate::absent()
        },
        (false, false) => PeerCertificate {
            chain: Chain::Invalid("the issuer is unknown".into()),
            names: names.collect(),
            ..PeerCertificate::absent()
        },
    };
    Secured {
        certificate,
        own_certificate,
    }
}

/// The stanza of a `send` line, read as a component's would be.
fn stanza(xml: &str) -> Result<Stanza, String> {
    let header =
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>";
    let document = format!("{header}{xml}");
    let mut scanner = Scanner::new(Limits::default());
    let mut rest = document.as_bytes();
    loop {
        match scanner.scan(rest) {
            Ok(Scan::Header { len, .. }) => rest = rest.get(len..).unwrap_or_default(),
            Ok(Scan::Element { len, head }) if len == rest.len() => {
                return Stanza::read(rest, &head, scanner.scope(), None)
                    .map_err(|error| format!("no stanza: {error:?}"));
            }
            Ok(_) => return Err("not one stanza".into()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// The first `count` words, and the rest.
fn split_words(text: &str, count: usize) -> (&str, &str) {
    let mut spaces = text.match_indices(' ').map(|(at, _)| at);
    match spaces.nth(count.saturating_sub(1)) {
        Some(at) => (
            text.get(..at).unwrap_or(text),
            text.get(at..).unwrap_or("").trim(),
        ),
        None => (text, ""),
    }
}

/// A list with commas, in order; `nothing` is the empty one.
fn sorted(list: &str) -> String {
    let mut items: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty() && *item != "nothing")
        .collect();
    items.sort_unstable();
    match items.is_empty() {
        true => "nothing".into(),
        false => items.join(", "),
    }
}

fn extend(before: &mut Vec<u8>, bytes: &[u8]) {
    before.extend_from_slice(bytes);
}

/// SplitMix64: enough chance for cutting bytes, and the same on every machine.
struct Dice(u64);

impl Dice {
    /// A number from 1 to `most`.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let most = u64::try_from(most.max(1)).unwrap_or(u64::MAX);
        usize::try_from(z % most).unwrap_or(0) + 1
    }
}

const RANDOM_DELIVERIES: u64 = 8;
const CUT_BYTES_MAX: usize = 97;
const CERTIFICATE_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
