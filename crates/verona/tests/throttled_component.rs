//! A component that sends too fast is read no faster than the limit, and nothing of it is lost (LIM-11).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};
use verona::config::{Component, Conflict, HostedDomain, ListenAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::Domain;
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::Policy;

const MESSAGES: usize = 48;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_component_is_slowed_down_and_loses_nothing() {
    //= LIM-11
    let engine = Engine::start(config()).await.unwrap();
    let ListenAddress::Tcp(address) = engine.component_addresses()[0] else {
        panic!("no address")
    };
    let capulet = Domain::parse("capulet.lit").unwrap();
    let mut capulet = engine.handle().attach(&capulet).unwrap();
    let began = Instant::now();
    let component = std::thread::spawn(move || {
        let mut socket = attach(TcpStream::connect(address).unwrap());
        for n in 0..MESSAGES {
            let padding = "x".repeat(4096);
            write!(
                socket,
                "<message from='echo.capulet.lit' to='capulet.lit' id='{n}'><body>{padding}</body></message>"
            )
            .unwrap();
        }
        socket
    });
    for n in 0..MESSAGES {
        let got = tokio::time::timeout(Duration::from_secs(30), capulet.receive()).await;
        assert_eq!(got.unwrap().id(), Some(n.to_string()));
    }
    // 192 KiB at 64 KiB a second, the first 64 at once, the last read not waited for.
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    drop(component.join().unwrap());
}

fn attach(mut socket: TcpStream) -> TcpStream {
    socket
        .write_all(b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='echo.capulet.lit'>")
        .unwrap();
    let mut header = String::new();
    while !(header.contains(" id='") && header.ends_with('>')) {
        header.push(next(&mut socket));
    }
    let (_, rest) = header.split_once(" id='").unwrap();
    let id = rest.split('\'').next().unwrap();
    let digest: String = Sha1::digest(format!("{id}secret"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    write!(socket, "<handshake>{digest}</handshake>").unwrap();
    let mut answer = String::new();
    while !answer.ends_with('>') {
        answer.push(next(&mut socket));
    }
    assert_eq!(answer, "<handshake/>");
    socket
}

fn next(socket: &mut TcpStream) -> char {
    let mut byte = [0];
    socket.read_exact(&mut byte).unwrap();
    char::from(byte[0])
}

fn config() -> Config {
    let mut policy = Policy::default();
    policy
        .defaults
        .limits
        .set("bytes_per_second_max", 64 * 1024)
        .unwrap();
    let hosted = |name: &str, component| HostedDomain {
        name: Domain::parse(name).unwrap(),
        component,
    };
    Config {
        domains: vec![
            hosted("capulet.lit", None),
            hosted(
                "echo.capulet.lit",
                Some(Component {
                    secret: "secret".into(),
                    conflict: Conflict::RejectNew,
                }),
            ),
        ],
        s2s: S2s::default(),
        certificates: Certificates::from_pem(Vec::new()).unwrap(),
        trust: TrustRoots::default(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: verona::config::Dnssec::Off,
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
