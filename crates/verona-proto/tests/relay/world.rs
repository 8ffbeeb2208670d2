//! A stream with capulet.lit, the component echo.montague.lit, and the queues between them.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "it is made of what is known to be good, and begins at some instant"
)]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};
use verona_proto::addr::{Domain, Hosts};
use verona_proto::carriage::{Carriage, Counted};
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::component::{ComponentDomains, ComponentInput, ComponentLink, ComponentOutput};
use verona_proto::dialback::{Secret, Secrets};
use verona_proto::limits::Limits;
use verona_proto::outbox::{Drain, OutboxLimit};
use verona_proto::policy::Policy;
use verona_proto::stanza::Admitted;
use verona_proto::stream::{
    Attestations, Input, Memory, Output, Secured, Stream, StreamConfig, StreamIds,
};
use verona_proto::switchboard::{Routed, Switchboard};

/// Stanzas that come in one read.
const BATCH: usize = 50;
const ID: &str = "id";
const SECRET: &str = "secret";

/// What stands between a peer and a component.
pub(crate) struct Relay {
    now: Instant,
    stream: Stream,
    link: ComponentLink,
    switchboard: Switchboard,
    /// What waits for the component.
    inbound: Drain,
    /// What waits for the peer.
    carriage: Carriage,
    acknowledged: usize,
    written: u64,
}

impl Relay {
    /// With everything negotiated.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let domain = |name: &str| Domain::parse(name).expect("a domain");
        let hosts = Arc::new(Hosts::new([domain("echo.montague.lit")]));
        let ours = hosts.local(&domain("echo.montague.lit")).expect("ours");
        let limit = OutboxLimit {
            stanzas: 1 << 14,
            bytes: 1 << 22,
        };
        let switchboard = Switchboard::new(Arc::clone(&hosts), limit, 100);
        let (feeder, inbound) = switchboard.outbox(limit);
        switchboard
            .attach(ours.clone(), feeder)
            .expect("nobody has it");
        let mut link = ComponentLink::new(
            ComponentDomains::new([(ours, SECRET.to_owned())]),
            Arc::clone(&hosts),
            Limits::default(),
            ID.to_owned(),
            now,
        );
        open_link(&mut link, now);
        let mut relay = Self {
            now,
            stream: open_stream(config(hosts), now),
            link,
            switchboard,
            inbound,
            carriage: Carriage::new(Arc::new(|| {})),
            acknowledged: 0,
            written: 0,
        };
        // The first of a pair makes its queue.
        relay.outward(1);
        relay
    }

    /// What the peer sends to the component. Says how many bytes were written for it.
    pub(crate) fn inward(&mut self, count: usize) -> usize {
        let stanza = stanza("juliet@capulet.lit/balcony", "romeo@echo.montague.lit");
        let mut stanzas = VecDeque::new();
        let mut bytes = 0;
        for batch in batches(count) {
            let input = stanza.repeat(batch);
            self.stream.handle(Input::Bytes(input.as_bytes()), self.now);
            while let Some(output) = self.stream.poll() {
                if let Output::Deliver(admitted) = output {
                    self.route(admitted);
                }
            }
            self.inbound
                .pull_up_to(usize::MAX, usize::MAX, &mut stanzas);
            let pulled = stanzas.len();
            assert_eq!(pulled, batch, "all of them are for the component");
            for stanza in stanzas.drain(..) {
                assert!(self.link.send(&stanza), "the link is open");
            }
            self.inbound.acknowledge(pulled);
            bytes += self.link.transmit().split().len();
        }
        bytes
    }

    /// What the component sends to the peer. Says how many bytes were written for it.
    pub(crate) fn outward(&mut self, count: usize) -> usize {
        let stanza = stanza("romeo@echo.montague.lit", "juliet@capulet.lit/balcony");
        let mut bytes = 0;
        for batch in batches(count) {
            let input = stanza.repeat(batch);
            self.link
                .handle(ComponentInput::Bytes(input.as_bytes()), self.now);
            while let Some(output) = self.link.poll() {
                if let ComponentOutput::Deliver(admitted) = output {
                    self.route(admitted);
                }
            }
            let begin = self.written;
            while let Some((pair, stanza)) = self.carriage.pull() {
                let custody = self.stream.send(pair, &stanza, self.now);
                let custody = custody.expect("the stream is open and the window is wide");
                let end = begin + self.stream.transmit().len() as u64;
                self.carriage.sent(self.written, end, custody, Counted::Yes);
                self.written = end;
            }
            assert_eq!(
                self.carriage.in_flight(),
                batch,
                "all of them are for the peer"
            );
            bytes += self.stream.transmit().split().len();
            let _ = self.carriage.written(self.written);
            self.acknowledge(batch);
        }
        bytes
    }

    /// The peer has handled so many more.
    fn acknowledge(&mut self, count: usize) {
        self.acknowledged += count;
        let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.acknowledged);
        self.stream
            .handle(Input::Bytes(answer.as_bytes()), self.now);
        while let Some(output) = self.stream.poll() {
            if let Output::Acknowledged(count) = output {
                let _ = self.carriage.acknowledged(count as usize, self.written);
            }
        }
        assert_eq!(self.carriage.in_flight(), 0, "all of them have arrived");
    }

    fn route(&mut self, admitted: Admitted) {
        match self.switchboard.route(admitted, self.now) {
            Routed::Queued => {}
            Routed::Wanted(pair, drain) => self.carriage.add(pair, drain),
            other @ (Routed::NoComponent(..)
            | Routed::Full(..)
            | Routed::Crowded(_)
            | Routed::TooManyPairs(_)) => unreachable!("there is room: {other:?}"),
        }
    }
}

/// How many stanzas come at a time, for so many in all.
fn batches(count: usize) -> impl Iterator<Item = usize> {
    let rest = Some(count % BATCH).filter(|rest| *rest > 0);
    std::iter::repeat_n(BATCH, count / BATCH).chain(rest)
}

/// 200 bytes of chat.
fn stanza(from: &str, to: &str) -> String {
    let head = format!("<message from='{from}' to='{to}' id='a7f3c9' type='chat'><body>");
    let tail = "</body></message>";
    let body = "x".repeat(200 - head.len() - tail.len());
    format!("{head}{body}{tail}")
}

/// What all streams share.
pub(crate) fn config(hosts: Arc<Hosts>) -> Arc<StreamConfig> {
    Arc::new(StreamConfig {
        hosts,
        policy: Arc::new(Policy::default()),
        secrets: Secrets::from(Secret::new("d14lb4ck43v3r")),
        tls_available: true,
        attestations: Attestations::Unavailable,
        memory: Memory::default(),
    })
}

/// A stream that capulet.lit opened, proven by its certificate, bidi and stream management on. Nothing is left to be
/// written.
pub(crate) fn open_stream(config: Arc<StreamConfig>, now: Instant) -> Stream {
    const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
        xmlns:stream='http://etherx.jabber.org/streams' from='capulet.lit' to='echo.montague.lit' version='1.0'>";
    const AUTH: &str = "<bidi xmlns='urn:xmpp:bidi'/>\
        <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    let secured = Secured {
        certificate: PeerCertificate {
            chain: Chain::Valid,
            names: vec![CertificateName::Dns("capulet.lit".into())],
            expires: Some(now + Duration::from_secs(1_000_000)),
            ..PeerCertificate::absent()
        },
        own_certificate: true,
    };
    let mut count = 0;
    let ids = StreamIds::new(move || {
        count += 1;
        format!("id{count}")
    });
    let mut stream = Stream::receiving(config, ids, Some(secured), now);
    for text in [HEADER, AUTH, HEADER, "<enable xmlns='urn:xmpp:sm:3'/>"] {
        stream.handle(Input::Bytes(text.as_bytes()), now);
        while stream.poll().is_some() {}
    }
    assert!(stream.is_open() && stream.is_bidirectional(), "{stream:?}");
    drop(std::mem::take(stream.transmit()));
    stream
}

/// The component shakes hands.
fn open_link(link: &mut ComponentLink, now: Instant) {
    let header = "<stream:stream xmlns='jabber:component:accept' \
        xmlns:stream='http://etherx.jabber.org/streams' to='echo.montague.lit'>";
    let mut handshake = String::from("<handshake>");
    for byte in Sha1::digest(format!("{ID}{SECRET}")) {
        let _ = write!(handshake, "{byte:02x}");
    }
    handshake.push_str("</handshake>");
    link.handle(ComponentInput::Bytes(header.as_bytes()), now);
    link.handle(ComponentInput::Bytes(handshake.as_bytes()), now);
    assert!(matches!(link.poll(), Some(ComponentOutput::Claim(_))));
    link.handle(ComponentInput::Accepted, now);
    while link.poll().is_some() {}
    link.transmit().clear();
}
