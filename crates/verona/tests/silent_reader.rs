//! A peer that asks and never reads the answers gives its place back in time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use verona::config::{HostedDomain, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::Domain;
use verona_proto::dialback::IssuedKeys;
use verona_proto::limits::Limit;
use verona_proto::policy::Policy;

fn config(limits: &[(&str, u64)]) -> Config {
    let mut policy = Policy::default();
    for (name, value) in limits {
        policy.defaults.limits.set(name, *value).unwrap();
    }
    Config {
        domains: vec![HostedDomain {
            name: Domain::parse("montague.lit").unwrap(),
            component: None,
        }],
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(Vec::new()).unwrap(),
        trust: TrustRoots::default(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: verona::config::Dnssec::Off,
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
const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' to='montague.lit' from='evil.lit' version='1.0'>";

async fn deaf(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    tcp.write_all(HEADER.as_bytes()).await.unwrap();
    let id = "'".repeat(8000);
    for _ in 0..60 {
        let x = format!("<db:verify from='evil.lit' to='montague.lit' id=\"{id}\">k</db:verify>");
        if tcp.write_all(x.as_bytes()).await.is_err() {
            break;
        }
    }
    tcp
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_is_let_go_and_leaves_its_place() {
    let engine = Engine::start(config(&[
        ("negotiation_seconds", 1),
        ("close_seconds", 1),
        ("negotiations_max", 1),
    ]))
    .await
    .unwrap();
    let address = engine.s2s_addresses()[0];
    let _deaf = deaf(address).await;
    tokio::time::sleep(Duration::from_secs(8)).await; // 1 s + 1 s + generosity
    let links = engine.handle().links();
    assert_eq!(engine.handle().limit_reached(Limit::CloseSeconds), 1);
    let mut honest = TcpStream::connect(address).await.unwrap();
    let _ = honest.write_all(HEADER.as_bytes()).await;
    let mut byte = [0];
    let answered = tokio::time::timeout(Duration::from_secs(2), honest.read(&mut byte)).await;
    assert!(
        links.is_empty() && matches!(answered, Ok(Ok(1))),
        "6 s after every deadline: {} connection(s) in state {:?}; an honest server gets {answered:?}",
        links.len(),
        links.first().map(|l| l.state)
    );
}
