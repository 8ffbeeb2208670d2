//! An engine with limits of its own, components of raw sockets, and a program that writes to them.

use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use verona::config::{Component, Conflict, Dnssec, HostedDomain, ListenAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Attachment, Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::Policy;
use verona_proto::stanza::{Stanza, StanzaKind};

/// Longer than anything here takes.
pub(crate) const WAIT: Duration = Duration::from_secs(20);
/// The domain of the program that writes.
pub(crate) const OURS: &str = "montague.lit";
/// The domain of the component.
pub(crate) const ROOMS: &str = "rooms.montague.lit";

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// Two domains: one without and one with a component.
pub(crate) fn config(conflict: Conflict, limits: &[(&str, u64)]) -> Config {
    let mut policy = Policy::default();
    for (name, value) in limits {
        policy.defaults.limits.set(name, *value).unwrap();
    }
    let component = Component {
        secret: "secret".into(),
        conflict,
    };
    Config {
        domains: vec![
            HostedDomain {
                name: domain(OURS),
                component: None,
            },
            HostedDomain {
                name: domain(ROOMS),
                component: Some(component),
            },
        ],
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(Vec::new()).unwrap(),
        trust: TrustRoots::default(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: Dnssec::Off,
        dialback_secret: None,
        dialback_previous_secret: None,
        issued_keys: IssuedKeys::default(),
        components: vec![ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())],
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

/// A message of a program's, numbered.
pub(crate) fn message(from: &str, to: &str, number: usize, body: &str) -> Stanza {
    let payload = format!("<body>{body}</body>");
    Stanza::build(
        StanzaKind::Message,
        &Jid::parse(from).unwrap(),
        &Jid::parse(to).unwrap(),
        None,
        Some(&number.to_string()),
        &payload,
    )
}

/// The errors that come back to a program: their ids and the stanzas.
pub(crate) async fn errors(program: &mut Attachment, count: usize) -> Vec<(usize, String)> {
    let mut errors = Vec::new();
    while errors.len() < count {
        let stanza = timeout(WAIT, program.receive()).await.expect("an error");
        let id = stanza.id().unwrap().parse().unwrap();
        let text = String::from_utf8(stanza.bytes().to_vec()).unwrap();
        errors.push((id, text));
    }
    errors
}

/// A component that reads when told.
pub(crate) struct Peer {
    tcp: TcpStream,
    text: String,
}

impl Peer {
    /// Shakes hands for `ROOMS`, with a small receive buffer.
    pub(crate) async fn attach(engine: &Engine) -> Self {
        let ListenAddress::Tcp(address) = engine.component_addresses()[0] else {
            panic!("no address")
        };
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let tcp = socket.connect(address).await.unwrap();
        let mut peer = Self {
            tcp,
            text: String::new(),
        };
        peer.write(&format!(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{ROOMS}'>"
        ))
        .await;
        peer.until("?>").await;
        let header = peer.until(">").await;
        let (_, id) = header.split_once(" id='").unwrap();
        let (id, _) = id.split_once('\'').unwrap();
        let digest: String = Sha1::digest(format!("{id}secret"))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        peer.write(&format!("<handshake>{digest}</handshake>"))
            .await;
        peer.until("<handshake/>").await;
        peer
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `end` has come, and gives what came up to there.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut buffer = [0; 4096];
            let count = timeout(WAIT, self.tcp.read(&mut buffer)).await.expect(end);
            let count = count.unwrap();
            assert_ne!(count, 0, "cut after {}", self.text);
            self.text
                .push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// The ids of the next whole messages.
    pub(crate) async fn messages(&mut self, count: usize) -> Vec<usize> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let message = self.until("</message>").await;
            ids.push(id(&message));
        }
        ids
    }

    /// The ids of all whole messages until the end of the connection, and what stood behind them.
    pub(crate) async fn rest(mut self) -> (Vec<usize>, String) {
        let mut buffer = [0; 4096];
        while let Ok(Ok(count @ 1..)) = timeout(WAIT, self.tcp.read(&mut buffer)).await {
            self.text
                .push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        let mut ids = Vec::new();
        let mut rest = self.text.as_str();
        while let Some((message, behind)) = rest.split_once("</message>") {
            ids.push(id(message));
            rest = behind;
        }
        (ids, rest.to_owned())
    }
}

fn id(message: &str) -> usize {
    let (_, id) = message.split_once(" id='").expect(message);
    id.split_once('\'').unwrap().0.parse().unwrap()
}
