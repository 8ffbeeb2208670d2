//! The world of one case: a name server, listeners in a network of loopback addresses, and an engine with a bot on it.
//! Each case has its own, so that they run at once and none sees what another was told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use verona::config::{Dnssec, HostedDomain, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Attachment, Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::Policy;
use verona_proto::stanza::{Stanza, StanzaKind};
use verona_sim::name_server::NameServer;

use crate::case::{Case, Servers};

/// The addresses of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The first three bytes of all its IPv4 addresses.
    block: [u8; 3],
    /// Where something listens on `::1`; none where the machine has no IPv6.
    pub(crate) v6_port: Option<u16>,
}

impl Place {
    pub(crate) fn a(&self) -> Ipv4Addr {
        self.host(1)
    }

    pub(crate) fn b(&self) -> Ipv4Addr {
        self.host(2)
    }

    pub(crate) fn c(&self) -> Ipv4Addr {
        self.host(3)
    }

    /// Where the domain's own address record leads: to be dialled where DNS proves that it has no SRV record.
    pub(crate) fn domain(&self) -> Ipv4Addr {
        self.host(10)
    }

    /// Nobody listens there.
    pub(crate) fn dead(&self) -> Ipv4Addr {
        self.host(50)
    }

    /// Whoever is led there was led astray.
    pub(crate) fn trap(&self) -> Ipv4Addr {
        self.host(66)
    }

    /// The engine itself listens there.
    pub(crate) fn own(&self) -> Ipv4Addr {
        self.host(200)
    }

    fn host(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.block;
        Ipv4Addr::new(a, b, c, last)
    }

    fn hosts(&self) -> [(Ipv4Addr, &'static str); 7] {
        [
            (self.a(), "a"),
            (self.b(), "b"),
            (self.c(), "c"),
            (self.domain(), "the domain"),
            (self.dead(), "dead"),
            (self.trap(), "TRAP"),
            (self.own(), "ourselves"),
        ]
    }

    /// The text with names in place of addresses and ports that differ from run to run.
    pub(crate) fn name(&self, text: &str, servers: &[SocketAddr]) -> String {
        let mut named = text.to_owned();
        for server in servers {
            named = named.replace(&server.to_string(), "DNS-SERVER");
        }
        for (ip, name) in self.hosts() {
            // The longer address first: 127.0.0.10 begins as 127.0.0.1 does.
            let name = name.to_uppercase().replace(' ', "-");
            named = replace_whole(&named, &ip.to_string(), &name);
        }
        match self.v6_port {
            Some(port) => named.replace(&format!("[::1]:{port}"), "[::1]:PORT"),
            None => named,
        }
    }
}

/// Replaces `from` where no further digit follows.
fn replace_whole(text: &str, from: &str, to: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(from) {
        out.push_str(before);
        match after.starts_with(|c: char| c.is_ascii_digit()) {
            true => out.push_str(from),
            false => out.push_str(to),
        }
        rest = after;
    }
    out + rest
}

/// What came of one message.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    /// What was dialled, in order, such as `a:15269`.
    pub(crate) dialled: Vec<String>,
    /// The condition of the error that the sender got.
    pub(crate) condition: String,
    /// Its text.
    pub(crate) text: String,
    pub(crate) took: Duration,
    /// Messages with questions that the name servers got for it.
    pub(crate) questions: Vec<String>,
}

pub(crate) struct World {
    place: Place,
    servers: Vec<NameServer>,
    engine: Engine,
    bot: Attachment,
    dialled: Arc<Mutex<Vec<String>>>,
    _listeners: JoinSet<()>,
}

impl World {
    /// `None` where the case needs IPv6 and the machine has none.
    pub(crate) async fn new(case: &Case, block: [u8; 3]) -> Option<Self> {
        let dialled = Arc::default();
        let mut listeners = JoinSet::new();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.ok();
        let place = Place {
            block,
            v6_port: v6.as_ref().map(|v6| v6.local_addr().unwrap().port()),
        };
        if case.needs_ipv6 && v6.is_none() {
            return None;
        }
        if let Some(v6) = v6 {
            listeners.spawn(watch(v6, "[::1]".to_owned(), Arc::clone(&dialled)));
        }
        for (ip, name) in place.hosts() {
            let ports: &[u16] = match name {
                "the domain" => &[FALLBACK],
                "dead" | "ourselves" => &[],
                "TRAP" => &[STARTTLS, DIRECT, FALLBACK],
                _ => &[STARTTLS, DIRECT],
            };
            for port in ports {
                let listener = TcpListener::bind((ip, *port))
                    .await
                    .unwrap_or_else(|error| {
                        panic!("{ip}:{port} is needed for this test, and is taken: {error}")
                    });
                let name = format!("{name}:{port}");
                listeners.spawn(watch(listener, name, Arc::clone(&dialled)));
            }
        }
        let servers = servers(case, &place);
        let config = config(case, &place, &servers);
        let engine = Engine::start(config).await.unwrap();
        let bot = engine.handle().attach(&domain(OURS)).unwrap();
        Some(Self {
            place,
            servers,
            engine,
            bot,
            dialled,
            _listeners: listeners,
        })
    }

    /// Has the bot write to somebody at `to`, and waits for the error: no server here takes a message.
    pub(crate) async fn send(&mut self, to: &str) -> Came {
        let asked_before = self.questions().len();
        self.dialled.lock().unwrap().clear();
        let (from, to) = (jid("romeo@montague.lit"), jid(&format!("juliet@{to}")));
        let payload = "<body>He jests at scars that never felt a wound.</body>";
        let message = Stanza::build(
            StanzaKind::Message,
            &from,
            &to,
            Some("chat"),
            Some("m"),
            payload,
        );
        let began = Instant::now();
        self.bot.send(message).await.unwrap();
        let error = timeout(PATIENCE, self.bot.receive())
            .await
            .expect("no error came back");
        let took = began.elapsed();
        let error = String::from_utf8(error.bytes().to_vec()).unwrap();
        let (condition, text) = read(&error);
        let addresses: Vec<SocketAddr> = self.servers.iter().map(NameServer::address).collect();
        Came {
            dialled: self.dialled.lock().unwrap().clone(),
            condition,
            text: self.place.name(&text, &addresses),
            took,
            questions: self.questions().split_off(asked_before),
        }
    }

    pub(crate) async fn end(self) {
        drop(self.bot);
        self.engine.shutdown().await;
    }

    fn questions(&self) -> Vec<String> {
        self.servers
            .iter()
            .flat_map(NameServer::asked)
            .map(|question| format!("{} {}", question.name, question.kind))
            .collect()
    }
}

/// Notes who comes, by which kind of stream, and hangs up: the engine tries the next.
async fn watch(listener: TcpListener, name: String, dialled: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut first = [0];
        let read = timeout(Duration::from_secs(2), stream.read(&mut first)).await;
        let how = match (read, first) {
            (Ok(Ok(1)), [b'<']) => "",
            (Ok(Ok(1)), [TLS_HANDSHAKE]) => " TLS",
            (Ok(Ok(1)), _) => " noise",
            _ => " silence",
        };
        let seen = format!("{name}{how}");
        let mut dialled = dialled.lock().unwrap();
        // The engine may try a server in two ways.
        if dialled.last() != Some(&seen) {
            dialled.push(seen);
        }
    }
}

fn servers(case: &Case, place: &Place) -> Vec<NameServer> {
    let zone = (case.zone)(place);
    let good = move |question: &_| zone.answer(question);
    match case.servers {
        Servers::One => vec![NameServer::start(good).unwrap()],
        Servers::WithoutTcp => vec![NameServer::start_without_tcp(good).unwrap()],
        Servers::Before(first) => {
            let first = first();
            let before = NameServer::start(move |question| first(question)).unwrap();
            vec![before, NameServer::start(good).unwrap()]
        }
    }
}

fn config(case: &Case, place: &Place, servers: &[NameServer]) -> Config {
    let mut policy = Policy::default();
    let limits = &mut policy.defaults.limits;
    limits.dns_seconds = DNS_SECONDS;
    limits.connect_seconds = 2;
    limits.drain_seconds = 1;
    // A second message is to be tried like the first.
    limits.retry_seconds_min = 0;
    limits.retry_seconds_max = 0;
    let allow_networks = match case.is_loopback_allowed {
        true => vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        false => Vec::new(),
    };
    Config {
        domains: vec![HostedDomain {
            name: domain(OURS),
            component: None,
        }],
        s2s: S2s {
            listen: vec![SocketAddr::new(IpAddr::V4(place.own()), STARTTLS)],
            allow_networks,
            ..S2s::default()
        },
        certificates: Certificates::from_pem(vec![self_signed()]).unwrap(),
        trust: TrustRoots::default(),
        dns_servers: servers.iter().map(NameServer::address).collect(),
        dnssec: Dnssec::Off,
        dialback_secret: None,
        dialback_previous_secret: None,
        issued_keys: IssuedKeys::default(),
        components: Vec::new(),
        component_proxies: Vec::new(),
        policy,
        addresses: Vec::new(),
        version: None,
        learned: Vec::new(),
        trace: None,
        journal: None,
        simulated: None,
    }
}

fn self_signed() -> (Domain, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![OURS.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    (domain(OURS), pem)
}

/// The condition and the text of an error.
fn read(error: &str) -> (String, String) {
    let (_, inside) = error.split_once("<error ").unwrap();
    let (_, inside) = inside.split_once("><").unwrap();
    let (condition, _) = inside.split_once(' ').unwrap();
    let (_, text) = inside.split_once("<text ").unwrap();
    let (_, text) = text.split_once('>').unwrap();
    let (text, _) = text.split_once("</text>").unwrap();
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&apos;", "'")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    (condition.to_owned(), text)
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

/// Of every engine; long enough that a busy machine answers in time.
pub(crate) const DNS_SECONDS: u64 = 4;
/// The port of every server that an SRV record names.
pub(crate) const STARTTLS: u16 = 15269;
/// The same for direct TLS.
pub(crate) const DIRECT: u16 = 15270;
/// Where a server without SRV records listens (RFC 6120 §3.2.2).
const FALLBACK: u16 = 5269;
const OURS: &str = "montague.lit";
/// The first byte of a TLS record with a handshake.
const TLS_HANDSHAKE: u8 = 22;
const PATIENCE: Duration = Duration::from_secs(30);
