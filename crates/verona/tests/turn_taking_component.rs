//! A component that reads one stanza and writes one in turn, blocking, works through a backlog without a deadlock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use verona::config::{Component, Conflict, HostedDomain, ListenAddress, S2s};
use verona::proto::addr::{Domain, Jid};
use verona::proto::policy::Policy;
use verona::proto::stanza::{Stanza, StanzaClass, StanzaKind};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};

const BACKLOG: usize = 12_000;

fn config() -> Config {
    let hosted = |name: &str, component| HostedDomain {
        name: Domain::parse(name).unwrap(),
        component,
    };
    let component = Component {
        secret: "secret".into(),
        conflict: Conflict::RejectNew,
    };
    Config {
        domains: vec![
            hosted("capulet.lit", None),
            hosted("echo.capulet.lit", Some(component)),
        ],
        s2s: S2s::default(),
        certificates: Certificates::from_pem(Vec::new()).unwrap(),
        trust: TrustRoots::default(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: verona::config::Dnssec::Off,
        components: vec![ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())],
        policy: Policy::default(),
        ..Config::default()
    }
}

/// Attaches, waits for the word to begin, then answers each message before it reads the next.
fn echo(
    address: SocketAddr,
    secret_of: impl Fn(&str) -> String,
    begin: std::sync::mpsc::Receiver<()>,
) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .write_all(b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='echo.capulet.lit'>")
        .unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let header = until(&mut reader, "version='1.0'", "'>");
    let id = header
        .split(" id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap()
        .to_owned();
    write!(socket, "<handshake>{}</handshake>", secret_of(&id)).unwrap();
    until(&mut reader, "handshake", ">");
    begin.recv().unwrap();
    for _ in 0..BACKLOG {
        until(&mut reader, "</message", ">");
        let padding = "x".repeat(4_000); // more than the sockets in between can hold
        write!(
            socket,
            "<message from='echo.capulet.lit' to='capulet.lit'><body>{padding}</body></message>"
        )
        .unwrap();
    }
}

/// Reads up to `last` behind `first`; `first` may be missing in a header that has no version.
fn until(reader: &mut impl std::io::Read, first: &str, last: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    loop {
        assert_eq!(reader.read(&mut byte).unwrap(), 1, "cut after {text}");
        text.push(char::from(byte[0]));
        let whole_header = text.contains("<stream:stream") && text.ends_with("'>");
        if whole_header || (text.contains(first) && text.ends_with(last)) {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_takes_turns_gets_through_its_backlog() {
    let engine = Engine::start(config()).await.unwrap();
    let ListenAddress::Tcp(address) = engine.component_addresses()[0] else {
        panic!("no address")
    };
    let mut capulet = engine
        .handle()
        .attach(&Domain::parse("capulet.lit").unwrap())
        .unwrap();
    let (start, begin) = std::sync::mpsc::channel();
    let component = std::thread::spawn(move || echo(address, handshake, begin));
    while engine.handle().components().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let from = Jid::parse("capulet.lit").unwrap();
    let to = Jid::parse("echo.capulet.lit").unwrap();
    let payload = format!("<body>{}</body>", "y".repeat(200));
    for _ in 0..BACKLOG {
        let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, &payload);
        capulet.send(stanza).await.unwrap();
    }
    start.send(()).unwrap();
    for _ in 0..BACKLOG {
        let answer = tokio::time::timeout(Duration::from_secs(20), capulet.receive())
            .await
            .expect("neither waits for the other for ever");
        assert_eq!(answer.class(), StanzaClass::Other);
    }
    component.join().unwrap();
}

/// XEP-0114 §3: SHA-1 of the stream id and the secret.
fn handshake(id: &str) -> String {
    use sha1::{Digest, Sha1};
    Sha1::digest(format!("{id}secret"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
