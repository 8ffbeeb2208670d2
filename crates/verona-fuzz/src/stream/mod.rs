//! A stream in either role, against a peer that says anything in any order, while the federation answers and time
//! passes. What flows is compared with a `model` that knows only what was said.
//!
//! An input is a configuration, then events; the peer speaks in the words of `words`, or in raw bytes.

mod model;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Domain, DomainPair, Hosts, Jid};
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::dialback::{Secret, Secrets, Verdict};
use verona_proto::policy::{
    BidiPolicy, Federate, IdentityMethod, Multiplex, PeerPolicy, Policy, Strictness, TlsPolicy,
};
use verona_proto::stanza::condition::{StanzaCondition, StreamCondition};
use verona_proto::stanza::{Admitted, Destination, Stanza, StanzaKind};
use verona_proto::stream::{
    Check, Command, Event, Input, Memory, Output, Pace, Purpose, Role, Secured, Stream,
    StreamConfig, StreamError, StreamIds, Ticket,
};

use crate::choices::Choices;
use crate::wire::Wire;
use model::{Model, Names};

/// The domains of this side.
const OURS: [&str; 2] = ["montague.lit", "conference.montague.lit"];
/// The domains of the peer, and one that is not its own.
const THEIRS: [&str; 3] = ["capulet.lit", "rooms.capulet.lit", "bank.lit"];

/// Events in one input; a fuzzer that finds more of the same is not better.
const EVENTS_MAX: usize = 48;

/// The peer opened the stream.
pub fn receiving(input: &[u8]) {
    run(Role::Receiving, input);
}

/// We opened the stream.
pub fn initiating(input: &[u8]) {
    run(Role::Initiating, input);
}

fn run(role: Role, input: &[u8]) {
    let mut choices = Choices::new(input);
    let setup = Setup::choose(role, &mut choices);
    let compares_cuts = choices.below(8) == 7;
    let whole = Play::new(setup.clone(), Cut::Whole, compares_cuts).perform(choices);
    if compares_cuts {
        let single = Play::new(setup, Cut::Single, compares_cuts).perform(choices);
        assert_eq!(
            whole, single,
            "what happens depends on how the bytes are cut"
        );
    }
}

/// How what the peer says arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Whole,
    /// Byte by byte.
    Single,
}

/// What is fixed before the first byte.
#[derive(Clone, Debug)]
struct Setup {
    role: Role,
    policy: PeerPolicy,
    tls_available: bool,
    /// TLS came first (XEP-0368).
    is_direct: bool,
    certificate: Certificate,
    purpose: Aim,
    /// How far a well-meaning peer goes before this one speaks.
    depth: usize,
}

/// What the peer shows in the handshake.
#[derive(Clone, Debug)]
struct Certificate {
    chain: Chain,
    names: Vec<CertificateName>,
    seconds: u64,
    own: bool,
}

/// What we open the stream for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Carry {
        external: bool,
        bidi: bool,
        pace: Pace,
    },
    Verify,
}

impl Setup {
    fn choose(role: Role, choices: &mut Choices<'_>) -> Self {
        use IdentityMethod as Method;
        let mut policy = PeerPolicy::default();
        policy.tls = choices.one_of(&[TlsPolicy::Required, TlsPolicy::Optional]);
        policy.identity = match choices.below(4) {
            0 => vec![Method::Certificate, Method::Dialback],
            1 => vec![Method::Certificate],
            2 => vec![Method::Dialback],
            _ => policy.identity,
        };
        policy.bidi = choices.one_of(&[BidiPolicy::Auto, BidiPolicy::Auto, BidiPolicy::Off]);
        policy.multiplex = choices.one_of(&[Multiplex::Auto, Multiplex::On, Multiplex::Off]);
        policy.to = choices.one_of(&[Strictness::ExactPair, Strictness::AnyHosted]);
        policy.federate = match choices.below(16) {
            15 => Federate::Deny,
            _ => Federate::Allow,
        };
        if choices.flag() {
            policy.limits.pairs_per_stream_max = 2;
            policy.limits.verifications_per_stream_max = 2;
            policy.limits.irregular_elements_max = 2;
            policy.limits.sasl_failures_max = 1;
            policy.limits.negotiation_elements_max = 12;
            policy.limits.negotiation_bytes_max = 1000;
            policy.limits.stanza_bytes_max = 10_000;
        }
        let dns = |name: &str| CertificateName::Dns(name.to_owned());
        let names = match choices.below(6) {
            0 => vec![dns(THEIRS[0])],
            1 => vec![dns(THEIRS[0]), dns(THEIRS[1])],
            2 => vec![dns(THEIRS[2])],
            3 => vec![dns("*.capulet.lit")],
            4 => vec![CertificateName::XmppAddr(THEIRS[0].to_owned())],
            _ => Vec::new(),
        };
        let chain = match choices.below(4) {
            3 => Chain::Invalid("self-signed".to_owned()),
            2 if names.is_empty() => Chain::Absent,
            _ => Chain::Valid,
        };
        let certificate = Certificate {
            chain,
            names,
            seconds: choices.one_of(&[1_000_000, 1_000_000, 40]),
            own: choices.below(4) != 3,
        };
        let purpose = match choices.below(6) {
            5 => Aim::Verify,
            how => Aim::Carry {
                external: how != 3,
                bidi: how != 4,
                pace: match how {
                    2 => Pace::Ahead,
                    _ => Pace::Stepwise,
                },
            },
        };
        let is_direct = choices.below(4) == 3;
        Self {
            role,
            tls_available: policy.tls == TlsPolicy::Required || choices.flag(),
            policy,
            is_direct,
            certificate,
            purpose,
            depth: choices.below(8),
        }
    }

    fn secured(&self, now: Instant) -> Secured {
        let Certificate {
            chain,
            names,
            seconds,
            own,
        } = self.certificate.clone();
        let expires = (chain == Chain::Valid).then(|| now + Duration::from_secs(seconds));
        Secured {
            certificate: PeerCertificate {
                chain,
                names,
                expires,
                ..PeerCertificate::absent()
            },
            own_certificate: own,
        }
    }

    /// The domains that the peer's certificate proves, while it holds.
    fn certified(&self) -> Vec<String> {
        let covers = |name: &str| {
            let mut names = self.certificate.names.iter();
            self.certificate.chain == Chain::Valid && names.any(|it| it.covers(&domain(name)))
        };
        let covered = THEIRS.into_iter().filter(|name| covers(name));
        covered.map(str::to_owned).collect()
    }
}

/// A stream, its model, and what a driver would know.
struct Play {
    setup: Setup,
    cut: Cut,
    stream: Stream,
    model: Model,
    now: Instant,
    hosts: Hosts,
    is_over: bool,
    ours: Wire,
    /// Bytes that the peer sent, and what was written and told for them.
    heard: usize,
    written: usize,
    told: usize,
    trace: Option<Vec<String>>,
}

impl Play {
    fn new(setup: Setup, cut: Cut, keeps_trace: bool) -> Self {
        let now = Instant::now();
        let hosts = Hosts::new(OURS.map(domain));
        let config = Arc::new(StreamConfig {
            hosts: Arc::new(hosts.clone()),
            policy: Arc::new(Policy {
                defaults: setup.policy.clone(),
                peers: Vec::new(),
            }),
            secrets: secrets(),
            tls_available: setup.tls_available,
            attestations: verona_proto::stream::Attestations::Unavailable,
            memory: Memory::default(),
        });
        let mut count = 0_u32;
        let ids = StreamIds::new(move || {
            count += 1;
            format!("id{count}")
        });
        let secured = setup.is_direct.then(|| setup.secured(now));
        let mut model = Model::new(setup.role, &setup.policy);
        let stream = match setup.role {
            Role::Receiving => Stream::receiving(config, ids, secured, now),
            Role::Initiating => {
                let pair = pair(&hosts, OURS[0], THEIRS[0]);
                let purpose = match setup.purpose {
                    Aim::Carry {
                        external,
                        bidi,
                        pace,
                    } => {
                        model.dialled = Some((OURS[0].to_owned(), THEIRS[0].to_owned()));
                        Purpose::Carry {
                            pair,
                            external,
                            bidi,
                            pace,
                            resume: Vec::new(),
                        }
                    }
                    Aim::Verify => {
                        let check = |id: &str| Check {
                            id: id.to_owned(),
                            key: "key".to_owned(),
                        };
                        Purpose::Verify {
                            pair,
                            checks: vec![check("id1"), check("x")],
                        }
                    }
                };
                Stream::initiating(config, purpose, ids, secured, now)
            }
        };
        if setup.is_direct {
            model.secure(setup.certified());
        }
        Self {
            setup,
            cut,
            stream,
            model,
            now,
            hosts,
            is_over: false,
            ours: Wire::default(),
            heard: 0,
            written: 0,
            told: 0,
            trace: keeps_trace.then(Vec::new),
        }
    }

    /// All that the input chooses, then silence until the end.
    fn perform(mut self, mut choices: Choices<'_>) -> Vec<String> {
        self.settle();
        for step in 0..self.setup.depth {
            let said = words::well_meant(self.setup.role, self.setup.is_direct, step);
            self.hear(said.as_bytes());
        }
        let mut step = self.setup.depth;
        for _ in 0..EVENTS_MAX {
            if choices.is_used_up() {
                break;
            }
            self.event(&mut choices, &mut step);
        }
        self.stays_small();
        self.falls_silent();
        self.trace.unwrap_or_default()
    }

    fn event(&mut self, choices: &mut Choices<'_>, step: &mut usize) {
        match choices.below(16) {
            0..=6 => {
                let key = self.model.latest_key.clone();
                let said = words::anything(choices, &key);
                self.hear(said.as_bytes());
            }
            7 => {
                let said = words::well_meant(self.setup.role, self.setup.is_direct, *step);
                *step += 1;
                self.hear(said.as_bytes());
            }
            8 => {
                let names = self.one_that(choices, Model::asked_pairs);
                let verdict = match choices.below(4) {
                    0 | 1 => Verdict::Valid,
                    2 => Verdict::Invalid,
                    _ => Verdict::Error(StanzaCondition::RemoteServerTimeout),
                };
                self.model.verdict(&names, verdict);
                let pair = pair(&self.hosts, &names.0, &names.1);
                self.tell(Input::Command(Command::Verdict {
                    pair,
                    verdict,
                    assurance: verona_proto::grounds::Assurance::Dns,
                }));
            }
            9 => {
                let names = names(choices);
                let pair = pair(&self.hosts, &names.0, &names.1);
                self.tell(Input::Command(Command::Request { pair }));
            }
            10 => {
                let names = self.one_that(choices, Model::sendable_pairs);
                self.send(&names);
            }
            11 => {
                let names = names(choices);
                self.send(&names);
            }
            12 => {
                match choices.below(8) {
                    0 => {
                        self.now = self
                            .stream
                            .deadline()
                            .map_or(self.now, |at| at.max(self.now))
                    }
                    _ => self.now += Duration::from_secs(u64::from(choices.byte())),
                }
                self.tell(Input::Tick);
            }
            13 => match choices.below(8) {
                0 => self.tell(Input::Eof),
                1 => {
                    let error = StreamError::local(StreamCondition::SystemShutdown, "enough");
                    self.tell(Input::Command(Command::Close(error.quietly())));
                }
                2 => {
                    let error = StreamError::policy(StreamCondition::PolicyViolation, "<enough>&");
                    self.tell(Input::Command(Command::Close(error)));
                }
                // The federation has found what the peer asks for, or not; it may never have asked.
                3 => {
                    let found = choices.flag().then(|| Ticket {
                        id: "peer".to_owned(),
                        handled: u32::from(choices.byte()),
                        acknowledged: 0,
                        sent: 0,
                    });
                    self.tell(Input::Command(Command::Resume(found)));
                }
                4 => {
                    let count = u32::from(choices.byte() % 3).min(self.stream.counted());
                    self.stream.unhandled(count);
                    self.settle();
                }
                _ => self.hear(b" "),
            },
            14 => {
                let bytes = choices.bytes();
                self.hear(bytes);
            }
            _ => {
                let key = self.model.latest_key.clone();
                let said = words::anything(choices, &key);
                for _ in 0..choices.below(80) {
                    self.hear(said.as_bytes());
                }
            }
        }
    }

    /// A pair of which something is true if there is one, and any otherwise.
    fn one_that(&self, choices: &mut Choices<'_>, of: fn(&Model) -> Vec<Names>) -> Names {
        let pairs = of(&self.model);
        let which = choices.below(pairs.len().max(1));
        let any = names(choices);
        // Only those that can be made a pair: a peer may have asked for what is not ours.
        let hosted =
            |pair: &&Names| OURS.contains(&pair.0.as_str()) && !OURS.contains(&pair.1.as_str());
        pairs.get(which).filter(hosted).cloned().unwrap_or(any)
    }

    /// The peer says something.
    fn hear(&mut self, bytes: &[u8]) {
        // A connection that has nothing to read says nothing: no driver hands that on.
        if bytes.is_empty() {
            return;
        }
        if crate::is_shown() {
            crate::show(&format!("heard {}", bytes.escape_ascii()));
        }
        self.model.peer_says(bytes);
        self.heard += bytes.len();
        match self.cut {
            Cut::Whole => self.tell(Input::Bytes(bytes)),
            Cut::Single => {
                for byte in bytes {
                    self.tell(Input::Bytes(&[*byte]));
                }
            }
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.stream.handle(input, self.now);
        self.settle();
    }

    /// The queue of a pair has a stanza.
    fn send(&mut self, names: &Names) {
        let pair = pair(&self.hosts, &names.0, &names.1);
        let jid = |name: &str| Jid::from(domain(name));
        let (from, to) = (jid(&names.0), jid(&names.1));
        let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, "<body/>");
        let is_sent = self.stream.send(&pair, &stanza, self.now).is_ok();
        if is_sent {
            assert!(
                self.model.may_send(names),
                "sent for {names:?} without grounds"
            );
            self.may_flow("a stanza was sent");
            self.heard += stanza.bytes().len();
        }
        self.note(|| format!("sent {is_sent}"));
        self.settle();
    }

    /// Takes what the stream wants, and judges it.
    fn settle(&mut self) {
        let was_over = self.is_over;
        let written = self.stream.transmit().split();
        self.written += written.len();
        let element = self.ours.read(&written);
        for element in element {
            self.model.we_say(&element);
        }
        self.model.is_answered();
        assert!(self.ours.is_complete(), "half an element was written");
        self.note_bytes(&written);
        let mut told = 0;
        let mut shakes_hands = false;
        while let Some(output) = self.stream.poll() {
            told += 1;
            self.note(|| format!("{output:?}"));
            match output {
                Output::StartTls { .. } => shakes_hands = true,
                Output::Close | Output::CloseLast => self.is_over = true,
                Output::Attest(domain) => panic!("nobody can be asked about {domain}"),
                Output::Acknowledged(_) | Output::Answered | Output::Unmanaged => {}
                Output::Deliver(admitted) => self.delivered(&admitted),
                Output::Event(event) => self.happened(&event),
            }
        }
        self.told += told;
        assert!(
            !was_over || told == 0 && written.is_empty(),
            "something happened after the end"
        );
        // A peer that says little makes us say little.
        assert!(
            self.written <= 8192 + 24 * self.heard,
            "{} bytes written for {}",
            self.written,
            self.heard
        );
        assert!(
            self.told <= 64 + self.heard,
            "{} outputs for {}",
            self.told,
            self.heard
        );
        for granted in self.stream.grants() {
            self.granted(&granted.pair, granted.direction);
        }
        assert_eq!(
            self.is_over,
            self.stream.deadline().is_none(),
            "a stream that lives has a deadline, and one that is over has none"
        );
        if shakes_hands {
            self.model.secure(self.setup.certified());
            self.ours = Wire::default();
            let secured = self.setup.secured(self.now);
            self.tell(Input::Secured(secured));
        }
    }

    fn happened(&mut self, event: &Event) {
        match event {
            Event::Granted(granted) => {
                self.may_flow("a pair was granted");
                self.granted(&granted.pair, granted.direction);
            }
            Event::Bidirectional => assert!(self.model.is_bidirectional(), "nobody asked for bidi"),
            Event::KeyReceived(check) => {
                assert!(
                    self.model.was_asked(&names_of(&check.pair)),
                    "{check:?} was not asked"
                );
            }
            Event::Vouched {
                receiving,
                originating,
                valid,
            } => {
                let is_ours = self.model.was_vouched_for(receiving, originating);
                assert!(
                    !*valid || is_ours,
                    "a key that is not ours was called valid"
                );
            }
            Event::Verified { check, verdict, .. } => {
                assert_eq!(self.setup.purpose, Aim::Verify);
                let is_valid = *verdict == Verdict::Valid;
                assert!(
                    !is_valid || self.model.was_verified(&check.id),
                    "{check:?} was not answered"
                );
            }
            Event::Revoked { .. } | Event::Departed { .. } => {
                unreachable!("nobody changed the configuration")
            }
            Event::Identified(_)
            | Event::Multiplexes
            | Event::Pipelines
            | Event::OldBidiNamespace
            | Event::Managed { .. }
            | Event::ResumeRequested { .. }
            | Event::Resumed { .. }
            | Event::SaslFailed { .. }
            | Event::Refused { .. }
            | Event::Unanswered { .. }
            | Event::Denied { .. }
            | Event::Irregular { .. }
            | Event::Failed(_)
            | Event::Closed { .. } => {}
        }
    }

    fn delivered(&self, admitted: &Admitted) {
        self.may_flow("a stanza was delivered");
        let stanza = admitted.stanza();
        let names = match admitted.destination() {
            Destination::Local(local) => (local.to_string(), stanza.from().to_string()),
            // An error of ours: to a peer that may send.
            Destination::Remote(pair) => names_of(pair),
        };
        let may = match self.setup.policy.to {
            Strictness::ExactPair => self.model.may_receive(&names),
            Strictness::AnyHosted => self.model.may_receive_any(&names.1),
        };
        assert!(may, "delivered for {names:?} without grounds");
        let mut wire = Wire::opened();
        let read = wire.read(stanza.bytes());
        let [element] = &read[..] else {
            panic!("{stanza:?} is not one element");
        };
        let domain_in = |attribute| {
            let jid = element
                .attribute(attribute)
                .and_then(|text| Jid::parse(text).ok());
            jid.map(|jid| jid.domain().clone())
        };
        assert_eq!(
            domain_in("from").as_ref(),
            Some(stanza.from()),
            "{stanza:?}"
        );
        assert_eq!(domain_in("to").as_ref(), Some(stanza.to()), "{stanza:?}");
    }

    fn granted(&self, pair: &DomainPair, direction: Direction) {
        let names = names_of(pair);
        let is_known = match direction {
            Direction::Inbound => self.model.may_receive(&names),
            Direction::Outbound => self.model.may_send(&names),
        };
        assert!(
            is_known,
            "granted {direction:?} for {names:?} without grounds"
        );
    }

    /// What the operator forbids does not happen, whatever the peer proves.
    fn may_flow(&self, what: &str) {
        let policy = &self.setup.policy;
        assert!(
            policy.federate == Federate::Allow,
            "{what}, and federation is forbidden"
        );
        assert!(
            policy.tls == TlsPolicy::Optional || self.model.is_secured(),
            "{what}, and there is no TLS"
        );
    }

    /// What is kept for a peer does not grow with what it says.
    fn stays_small(&self) {
        if self.heard > 4096 {
            let size = format!("{:?}", self.stream).len();
            assert!(
                size < 60_000,
                "{size} characters describe a stream that heard {}",
                self.heard
            );
        }
    }

    /// Whatever happened, silence ends it.
    fn falls_silent(&mut self) {
        for _ in 0..100 {
            let Some(deadline) = self.stream.deadline() else {
                assert!(self.is_over);
                return;
            };
            self.now = self.now.max(deadline);
            self.heard += 100;
            self.tell(Input::Tick);
        }
        panic!("a hundred deadlines and no end");
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if crate::is_shown() {
            crate::show(&what());
        } else if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// Bytes are added up: in how many pieces they were written says nothing.
    fn note_bytes(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        if crate::is_shown() && !bytes.is_empty() {
            crate::show(&format!("wrote {text}"));
        }
        match self.trace.as_mut() {
            Some(trace) if !bytes.is_empty() => match trace.last_mut() {
                Some(last) if last.starts_with("wrote ") => last.push_str(&text),
                Some(_) | None => trace.push(format!("wrote {text}")),
            },
            Some(_) | None => {}
        }
    }
}

fn secrets() -> Secrets {
    Secrets::from(Secret::new("secret"))
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a domain of the stage")
}

fn names(choices: &mut Choices<'_>) -> Names {
    (
        choices.one_of(&OURS).to_owned(),
        choices.one_of(&THEIRS).to_owned(),
    )
}

fn names_of(pair: &DomainPair) -> Names {
    (pair.local().to_string(), pair.remote().to_string())
}

fn pair(hosts: &Hosts, local: &str, remote: &str) -> DomainPair {
    let pair = hosts.pair(Direction::Outbound, &domain(local), &domain(remote));
    pair.expect("one is ours, one is not")
}
