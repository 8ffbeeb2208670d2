//! A peer that says anything in any order gains nothing: what flows is compared with a small model that knows only what
//! was said, and random bytes end in no panic, no flood and no silence for ever.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use verona_proto::addr::{Direction, Domain, DomainPair, Hosts, Jid};
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::dialback::{Secret, Secrets, Verdict};
use verona_proto::ns;
use verona_proto::policy::{Multiplex, PeerPolicy, Policy, TlsPolicy};
use verona_proto::stanza::condition::{StanzaCondition, StreamCondition};
use verona_proto::stanza::{Destination, Stanza, StanzaKind};
use verona_proto::stream::{
    Command, Event, Input, Memory, Output, Pace, Purpose, Secured, Stream, StreamConfig,
    StreamError, StreamIds,
};
use verona_xml::{Element, Limits, Scan, Scanner};

const OURS: [&str; 2] = ["montague.lit", "conference.montague.lit"];
const THEIRS: [&str; 3] = ["capulet.lit", "rooms.capulet.lit", "bank.lit"];

/// One thing that the peer, the federation or the clock does.
#[derive(Clone, Debug)]
enum Act {
    /// The peer sends this, made of the names in it.
    Says(String),
    /// The authoritative server was asked and answered.
    Verdict(usize, usize, u8),
    /// The federation wants a further pair.
    Request(usize, usize),
    /// The queue of a pair has a stanza.
    Send(usize, usize),
    Wait(u64),
    Close,
}

/// A peer may send for a pair, or we may, only if the model knows why. It is made of what was said, not of the machine.
#[derive(Debug, Default)]
struct Model {
    initiating: bool,
    /// The domains of the peer's trusted certificate; none without TLS.
    certified: BTreeSet<String>,
    bidi: bool,
    /// The addresses of the peer's latest header before authentication, as (ours, theirs).
    header: Option<(String, String)>,
    /// The pair that we dialled for.
    dialled: Option<(String, String)>,
    auth_written: bool,
    success_written: bool,
    /// Keys of the peer that nobody has settled, and those that the authoritative server confirmed.
    asked: BTreeSet<(String, String)>,
    confirmed: BTreeSet<(String, String)>,
    /// Keys of ours without an answer.
    asking: BTreeSet<(String, String)>,
    /// What may be, by its own grounds.
    proven: BTreeSet<(String, String)>,
    consented: BTreeSet<(String, String)>,
}

impl Model {
    /// TLS stands: nothing said before counts (TLS-10).
    fn secure(&mut self, names: &[&str]) {
        *self = Self {
            initiating: self.initiating,
            dialled: self.dialled.clone(),
            certified: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        };
    }

    fn peer_says(&mut self, element: &Element) {
        let pair = || {
            Some((
                element.attribute("to")?.into(),
                element.attribute("from")?.into(),
            ))
        };
        match (
            element.name(),
            element.namespace(),
            element.attribute("type"),
        ) {
            ("stream", ns::STREAM, _) => {
                // Behind <success/> the peer's header completes the authentication (BIDI-17).
                match self.success_written {
                    false => self.header = pair(),
                    true => self.proven.extend(self.header.clone()),
                }
            }
            ("bidi", ns::BIDI, _) if !self.initiating => self.bidi = true,
            ("success", ns::SASL, _) if self.auth_written => {
                self.consented.extend(self.dialled.clone())
            }
            ("result", ns::DIALBACK, None) => self.asked.extend(pair()),
            ("result", ns::DIALBACK, Some("valid")) => {
                if let Some(pair) = pair().filter(|pair| self.asking.remove(pair)) {
                    self.consented.insert(pair);
                }
            }
            _ => {}
        }
    }

    fn we_say(&mut self, element: &Element) -> Result<(), String> {
        let pair = || {
            Some((
                element.attribute("from")?.into(),
                element.attribute("to")?.into(),
            ))
        };
        match (
            element.name(),
            element.namespace(),
            element.attribute("type"),
        ) {
            ("bidi", ns::BIDI, _) if self.initiating => self.bidi = true,
            ("auth", ns::SASL, _) => self.auth_written = true,
            ("success", ns::SASL, _) => {
                let header = self.header.as_ref();
                if !header.is_some_and(|(_, remote)| self.certified.contains(remote)) {
                    return Err("<success/> for a peer whose certificate is another's".into());
                }
                self.success_written = true;
            }
            ("result", ns::DIALBACK, None) => self.asking.extend(pair()),
            ("result", ns::DIALBACK, Some("valid")) => {
                let pair = pair().ok_or("an answer to nobody")?;
                let known = self.asked.contains(&pair)
                    && (self.confirmed.contains(&pair) || self.certified.contains(&pair.1));
                if !known && !self.receivable(&pair) {
                    return Err(format!("`valid` for {pair:?} without grounds"));
                }
                self.proven.insert(pair);
            }
            _ => {}
        }
        Ok(())
    }

    fn verdict(&mut self, pair: (String, String), verdict: Verdict) {
        if verdict == Verdict::Valid && self.asked.contains(&pair) {
            self.confirmed.insert(pair);
        }
    }

    /// Whether the peer may send for the pair.
    fn receivable(&self, pair: &(String, String)) -> bool {
        let inverse = self.bidi && self.consented.contains(pair);
        match self.initiating {
            true => self.bidi && (self.proven.contains(pair) || inverse),
            false => self.proven.contains(pair) || inverse,
        }
    }

    /// Whether we may send for the pair.
    fn sendable(&self, pair: &(String, String)) -> bool {
        let inverse = self.bidi && self.proven.contains(pair);
        match self.initiating {
            true => self.consented.contains(pair) || inverse,
            false => self.bidi && (self.consented.contains(pair) || inverse),
        }
    }
}

/// A stream, its model, and what a driver would know.
struct Play {
    stream: Stream,
    model: Model,
    now: Instant,
    hosts: Hosts,
    names: Vec<&'static str>,
    over: bool,
    ours: Document,
    theirs: Document,
}

/// One direction, cut into elements.
struct Document {
    scanner: Scanner,
    in_stream: bool,
    pending: Vec<u8>,
}

impl Document {
    fn new() -> Self {
        Self {
            scanner: Scanner::new(Limits::default()),
            in_stream: false,
            pending: Vec::new(),
        }
    }

    /// The elements that `bytes` complete, headers included, up to what cannot be read.
    fn read(&mut self, bytes: &[u8]) -> Vec<Element> {
        self.pending.extend_from_slice(bytes);
        let mut found = Vec::new();
        while !self.pending.is_empty() {
            if self.in_stream && is_header(&self.pending) {
                self.scanner = Scanner::new(Limits::default());
                self.in_stream = false;
            }
            let (len, element) = match self.scanner.scan(&self.pending) {
                Ok(Scan::Space { len } | Scan::Declaration { len } | Scan::Close { len }) => {
                    (len, None)
                }
                Ok(Scan::Header { len, .. }) => {
                    self.in_stream = true;
                    (len, Element::parse_header(&self.pending[..len]).ok())
                }
                Ok(Scan::Element { len, .. }) => {
                    let bytes = &self.pending[..len];
                    (len, Element::parse(bytes, self.scanner.scope()).ok())
                }
                Ok(Scan::More) | Err(_) => break,
            };
            self.pending.drain(..len);
            found.extend(element);
        }
        found
    }
}

fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<?xml") || bytes.starts_with(b"<stream:stream")
}

impl Play {
    fn new(role: Role, names: Vec<&'static str>, policy: PeerPolicy, pace: Pace) -> Self {
        let now = Instant::now();
        let hosts = Hosts::new(OURS.map(domain));
        let tls = policy.tls;
        let config = Arc::new(StreamConfig {
            hosts: Arc::new(hosts.clone()),
            policy: Arc::new(Policy {
                defaults: policy,
                peers: Vec::new(),
            }),
            secrets: Secrets::from(Secret::new("secret")),
            tls_available: tls == TlsPolicy::Required,
            attestations: verona_proto::stream::Attestations::Unavailable,
            memory: Memory::default(),
        });
        let mut count = 0_u32;
        let ids = StreamIds::new(move || {
            count += 1;
            format!("id{count}")
        });
        let mut model = Model {
            initiating: role == Role::Initiating,
            ..Model::default()
        };
        let stream = match role {
            Role::Receiving => Stream::receiving(config, ids, None, now),
            Role::Initiating => {
                model.dialled = Some((OURS[0].to_owned(), THEIRS[0].to_owned()));
                let purpose = Purpose::Carry {
                    pair: pair(&hosts, OURS[0], THEIRS[0]),
                    external: true,
                    bidi: true,
                    pace,
                    resume: Vec::new(),
                };
                Stream::initiating(config, purpose, ids, None, now)
            }
        };
        let mut play = Self {
            stream,
            model,
            now,
            hosts,
            names,
            over: false,
            ours: Document::new(),
            theirs: Document::new(),
        };
        play.settle(0).unwrap();
        play
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        let name =
            |ours: usize, theirs: usize| (OURS[ours % 2].to_owned(), THEIRS[theirs % 3].to_owned());
        match act {
            Act::Says(text) => {
                for element in self.theirs.read(text.as_bytes()) {
                    self.model.peer_says(&element);
                }
                self.stream.handle(Input::Bytes(text.as_bytes()), self.now);
                self.settle(text.len())
            }
            Act::Verdict(ours, theirs, outcome) => {
                let verdict = match outcome % 3 {
                    0 | 1 => Verdict::Valid,
                    _ => Verdict::Error(StanzaCondition::RemoteServerTimeout),
                };
                let (local, remote) = name(*ours, *theirs);
                self.model.verdict((local.clone(), remote.clone()), verdict);
                let pair = pair(&self.hosts, &local, &remote);
                let command = Command::Verdict {
                    pair,
                    verdict,
                    assurance: verona_proto::grounds::Assurance::Dns,
                };
                self.stream.handle(Input::Command(command), self.now);
                self.settle(0)
            }
            Act::Request(ours, theirs) => {
                let (local, remote) = name(*ours, *theirs);
                let pair = pair(&self.hosts, &local, &remote);
                self.stream
                    .handle(Input::Command(Command::Request { pair }), self.now);
                self.settle(0)
            }
            Act::Send(ours, theirs) => {
                let names = name(*ours, *theirs);
                let pair = pair(&self.hosts, &names.0, &names.1);
                let jid = |text: &str| Jid::parse(text).unwrap();
                let stanza = Stanza::build(
                    StanzaKind::Message,
                    &jid(&names.0),
                    &jid(&names.1),
                    None,
                    None,
                    "",
                );
                let sent = self.stream.send(&pair, &stanza, self.now).is_ok();
                if sent && !self.model.sendable(&names) {
                    return Err(format!("sent for {names:?} without grounds"));
                }
                self.settle(stanza.bytes().len())
            }
            Act::Wait(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.stream.handle(Input::Tick, self.now);
                self.settle(0)
            }
            Act::Close => {
                let error =
                    StreamError::local(StreamCondition::UndefinedCondition, "enough").quietly();
                self.stream
                    .handle(Input::Command(Command::Close(error)), self.now);
                self.settle(0)
            }
        }
    }

    /// Takes what the stream wants, and judges it.
    fn settle(&mut self, input: usize) -> Result<(), String> {
        let was_over = self.over;
        let written = self.stream.transmit().split();
        if written.len() > 4096 + 16 * input {
            return Err(format!("{} bytes written for {input}", written.len()));
        }
        for element in self.ours.read(&written) {
            self.model.we_say(&element)?;
        }
        let mut outputs = 0;
        let mut handshake = false;
        while let Some(output) = self.stream.poll() {
            outputs += 1;
            match output {
                Output::StartTls { .. } => handshake = true,
                Output::Close | Output::CloseLast => self.over = true,
                Output::Attest(domain) => panic!("nobody can be asked about {domain}"),
                Output::Acknowledged(_) | Output::Answered | Output::Unmanaged => {}
                Output::Deliver(admitted) => {
                    self.delivered(admitted.destination(), admitted.stanza())?
                }
                Output::Event(Event::Granted(granted)) => {
                    self.granted(&granted.pair, granted.direction)?
                }
                Output::Event(_) => {}
            }
        }
        if was_over && (outputs > 0 || !written.is_empty()) {
            return Err("something happened after the end".into());
        }
        if outputs > 16 + input {
            return Err(format!("{outputs} outputs for {input} bytes"));
        }
        for granted in self.stream.grants() {
            self.granted(&granted.pair, granted.direction)?;
        }
        if self.over != self.stream.deadline().is_none() {
            return Err("a stream that lives has a deadline, and one that is over has none".into());
        }
        if handshake {
            return self.shake_hands();
        }
        Ok(())
    }

    fn shake_hands(&mut self) -> Result<(), String> {
        self.model.secure(&self.names);
        self.ours = Document::new();
        self.theirs = Document::new();
        let names = self
            .names
            .iter()
            .map(|name| CertificateName::Dns((*name).to_owned()));
        let secured = Secured {
            certificate: PeerCertificate {
                chain: Chain::Valid,
                names: names.collect(),
                expires: Some(self.now + Duration::from_secs(1_000_000)),
                ..PeerCertificate::absent()
            },
            own_certificate: true,
        };
        self.stream.handle(Input::Secured(secured), self.now);
        self.settle(0)
    }

    fn delivered(&self, destination: &Destination, stanza: &Stanza) -> Result<(), String> {
        match destination {
            Destination::Local(local) => {
                let pair = (local.to_string(), stanza.from().to_string());
                match self.model.receivable(&pair) {
                    true => Ok(()),
                    false => Err(format!("delivered for {pair:?} without grounds")),
                }
            }
            // An error of ours: to a peer that may send.
            Destination::Remote(pair) => {
                let pair = (pair.local().to_string(), pair.remote().to_string());
                match self.model.receivable(&pair) {
                    true => Ok(()),
                    false => Err(format!("answered for {pair:?} without grounds")),
                }
            }
        }
    }

    fn granted(&self, pair: &DomainPair, direction: Direction) -> Result<(), String> {
        let names = (pair.local().to_string(), pair.remote().to_string());
        let known = match direction {
            Direction::Inbound => self.model.receivable(&names),
            Direction::Outbound => self.model.sendable(&names),
        };
        match known {
            true => Ok(()),
            false => Err(format!(
                "granted {direction:?} for {names:?} without grounds"
            )),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Initiating,
    Receiving,
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn pair(hosts: &Hosts, local: &str, remote: &str) -> DomainPair {
    hosts
        .pair(Direction::Outbound, &domain(local), &domain(remote))
        .unwrap()
}

fn header(from: &str, to: &str) -> String {
    format!(
        "<stream:stream xmlns='{}' xmlns:db='{}' xmlns:stream='{}' from='{from}' to='{to}' id='peer' version='1.0'>",
        ns::SERVER,
        ns::DIALBACK,
        ns::STREAM
    )
}

/// What a peer does that means well, so that the lies begin at every depth.
fn opening(role: Role, depth: usize) -> Vec<Act> {
    let (ours, theirs) = (OURS[0], THEIRS[0]);
    let header = header(theirs, ours);
    let starttls = format!("<starttls xmlns='{}'/>", ns::TLS);
    let says: Vec<String> = match role {
        Role::Receiving => vec![
            header.clone(),
            starttls,
            header.clone(),
            format!("<bidi xmlns='{}'/>", ns::BIDI),
            format!("<auth xmlns='{}' mechanism='EXTERNAL'>=</auth>", ns::SASL),
            header,
            format!(
                "<db:result from='{}' to='{ours}'>key</db:result>",
                THEIRS[1]
            ),
        ],
        Role::Initiating => vec![
            format!("{header}<stream:features>{starttls}</stream:features>"),
            format!("<proceed xmlns='{}'/>", ns::TLS),
            format!(
                "{header}<stream:features><mechanisms xmlns='{}'><mechanism>EXTERNAL</mechanism></mechanisms>\
                 <bidi xmlns='{}'/><dialback xmlns='{}'/><pipelining xmlns='{}'/></stream:features>",
                ns::SASL,
                ns::BIDI_FEATURE,
                ns::DIALBACK_FEATURE,
                ns::PIPELINING
            ),
            format!("<success xmlns='{}'/>", ns::SASL),
            format!("{header}<stream:features/>"),
            format!(
                "<db:result from='{}' to='{ours}'>key</db:result>",
                THEIRS[1]
            ),
        ],
    };
    says.into_iter().take(depth).map(Act::Says).collect()
}

fn any_domain() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec![
        OURS[0],
        OURS[1],
        THEIRS[0],
        THEIRS[0],
        THEIRS[1],
        THEIRS[2],
        "nobody.lit",
    ])
}

fn any_id() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec!["id1", "id2", "id3", "peer", "x"])
}

fn any_type() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec![
        "",
        "",
        "type='valid'",
        "type='valid'",
        "type='invalid'",
        "type='error'",
        "type='?'",
    ])
}

/// Anything that a peer might say that is at least an element.
fn anything() -> impl Strategy<Value = String> {
    let addressed = (any_domain(), any_domain(), any_id(), any_type());
    prop_oneof![
        4 => addressed.clone().prop_map(|(from, to, _, kind)| {
            format!("<db:result from='{from}' to='{to}' {kind}>key</db:result>")
        }),
        2 => addressed.clone().prop_map(|(from, to, id, kind)| {
            format!("<db:verify from='{from}' to='{to}' id='{id}' {kind}>key</db:verify>")
        }),
        4 => addressed.prop_map(|(from, to, id, _)| {
            format!("<message from='a@{from}' to='b@{to}' id='{id}'><body>x</body></message>")
        }),
        2 => (any_domain(), any_domain()).prop_map(|(from, to)| header(from, to)),
        1 => Just(format!("<bidi xmlns='{}'/>", ns::BIDI)),
        1 => Just(format!("<auth xmlns='{}' mechanism='EXTERNAL'>=</auth>", ns::SASL)),
        1 => Just(format!("<success xmlns='{}'/>", ns::SASL)),
        1 => Just(format!("<failure xmlns='{}'><not-authorized/></failure>", ns::SASL)),
        1 => Just(format!("<starttls xmlns='{}'/>", ns::TLS)),
        1 => Just(format!("<proceed xmlns='{}'/>", ns::TLS)),
        1 => prop::sample::select(vec![
            format!("<stream:features><bidi xmlns='{}'/></stream:features>", ns::BIDI_FEATURE),
            format!("<stream:features><mechanisms xmlns='{}'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>", ns::SASL),
            "<stream:features/>".to_owned(),
        ]),
        1 => prop::sample::select(vec!["</stream:stream>", "<foo xmlns='urn:foo'/>", " ", "<iq/>", "<a>", "<stream:error/>"])
            .prop_map(str::to_owned),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => anything().prop_map(Act::Says),
        3 => (0_usize..2, 0_usize..3, any::<u8>()).prop_map(|(ours, theirs, n)| Act::Verdict(ours, theirs, n)),
        2 => (0_usize..2, 0_usize..3).prop_map(|(ours, theirs)| Act::Request(ours, theirs)),
        4 => (0_usize..2, 0_usize..3).prop_map(|(ours, theirs)| Act::Send(ours, theirs)),
        1 => (1_u64..50).prop_map(Act::Wait),
        1 => Just(Act::Close),
    ]
}

fn any_policy() -> impl Strategy<Value = PeerPolicy> {
    (any::<bool>(), any::<bool>()).prop_map(|(tls, multiplex)| PeerPolicy {
        tls: if tls {
            TlsPolicy::Required
        } else {
            TlsPolicy::Optional
        },
        multiplex: if multiplex {
            Multiplex::On
        } else {
            Multiplex::Auto
        },
        ..PeerPolicy::default()
    })
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Initiating, Role::Receiving])
}

fn any_certificate() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::select(vec![
        vec![THEIRS[0]],
        vec![THEIRS[0]],
        vec![THEIRS[0], THEIRS[1]],
        vec![THEIRS[2]],
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// XEP-0220 §3.1, XEP-0288 §2.2: whatever is said, in whatever order, nothing flows without grounds.
    #[test]
    fn nothing_flows_without_grounds(
        role in any_role(),
        names in any_certificate(),
        policy in any_policy(),
        pace in prop::sample::select(vec![Pace::Stepwise, Pace::Ahead]),
        depth in 0_usize..8,
        acts in prop::collection::vec(any_act(), 1..24),
    ) {
        let mut play = Play::new(role, names, policy, pace);
        for act in opening(role, depth).iter().chain(&acts) {
            if let Err(lie) = play.act(act) {
                return Err(TestCaseError::fail(format!("{lie}, at {act:?}")));
            }
        }
    }

    /// Rule 6: no bytes make the stream panic, flood or wait for ever, and what is delivered is of the proven pair.
    #[test]
    fn damaged_bytes_do_no_harm(
        role in any_role(),
        depth in 0_usize..8,
        said in prop::collection::vec(anything(), 0..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..6),
        cuts in prop::collection::vec(1_usize..80, 1..40),
    ) {
        let mut play = Play::new(role, vec![THEIRS[0]], PeerPolicy::default(), Pace::Stepwise);
        for act in opening(role, depth) {
            play.act(&act).map_err(TestCaseError::fail)?;
        }
        let mut bytes = said.concat().into_bytes();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, behind) = rest.split_at((*cut).min(rest.len()));
            play.stream.handle(Input::Bytes(part), play.now);
            while let Some(output) = play.stream.poll() {
                match output {
                    Output::Close | Output::CloseLast => play.over = true,
                    Output::Attest(domain) => panic!("nobody can be asked about {domain}"),
                    Output::Acknowledged(_) | Output::Answered | Output::Unmanaged => {}
                    Output::Deliver(admitted) => {
                        let stanza = admitted.stanza();
                        prop_assert!(
                            matches!(admitted.destination(), Destination::Remote(_))
                                || stanza.from() == &domain(THEIRS[0]) && stanza.to() == &domain(OURS[0]),
                            "{stanza:?}"
                        );
                    }
                    Output::StartTls { .. } | Output::Event(_) => {}
                }
            }
            let written = play.stream.transmit().split().len();
            prop_assert!(written <= 4096 + 16 * part.len(), "{written} for {}", part.len());
            prop_assert_eq!(play.over, play.stream.deadline().is_none());
            rest = behind;
        }
        // Whatever happened, silence ends it.
        for _ in 0..100 {
            let Some(deadline) = play.stream.deadline() else {
                return Ok(());
            };
            play.now = play.now.max(deadline);
            play.stream.handle(Input::Tick, play.now);
            while play.stream.poll().is_some() {}
            let _ = play.stream.transmit().split();
        }
        prop_assert!(false, "a hundred deadlines and no end");
    }

    /// Rule 6, for a stranger who sends noise from the first byte.
    #[test]
    fn noise_is_refused(role in any_role(), noise in prop::collection::vec(any::<u8>(), 1..600)) {
        let mut play = Play::new(role, vec![], PeerPolicy::default(), Pace::Stepwise);
        play.stream.handle(Input::Bytes(&noise), play.now);
        let mut failed = false;
        while let Some(output) = play.stream.poll() {
            failed |= matches!(output, Output::Event(Event::Failed(_)));
            let acts = matches!(output, Output::Deliver(_) | Output::StartTls { .. });
            prop_assert!(!acts, "{output:?}");
        }
        prop_assert!(play.stream.transmit().len() <= 4096);
        prop_assert!(failed || play.stream.deadline().is_some());
    }
}
