//! Rules that only real sockets can show: refusals without a word, close_notify, and what slow or absent others cost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use verona::config::{Component, Conflict, HostedDomain, ListenAddress, PeerAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::limits::Limit;
use verona_proto::policy::{DomainPattern, Policy};
use verona_proto::stanza::{Stanza, StanzaClass, StanzaKind};

const WAIT: Duration = Duration::from_secs(20);

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
    xmlns:stream='http://etherx.jabber.org/streams' to='montague.lit' from='capulet.lit' version='1.0'>";

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn hosted(name: &str) -> HostedDomain {
    HostedDomain {
        name: domain(name),
        component: None,
    }
}

/// A domain whose component has the secret `secret`.
fn component(name: &str) -> HostedDomain {
    HostedDomain {
        component: Some(Component {
            secret: "secret".into(),
            conflict: Conflict::RejectNew,
        }),
        ..hosted(name)
    }
}

fn config(domains: Vec<HostedDomain>, limits: &[(&str, u64)]) -> Config {
    let mut policy = Policy::default();
    for (name, value) in limits {
        policy.defaults.limits.set(name, *value).unwrap();
    }
    let certificates = domains
        .iter()
        .map(|hosted| self_signed(&hosted.name))
        .collect();
    Config {
        domains,
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(certificates).unwrap(),
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

fn self_signed(name: &Domain) -> (Domain, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.ascii().to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    (name.clone(), pem)
}

fn at(name: &str, address: SocketAddr) -> (DomainPattern, PeerAddress) {
    let address = PeerAddress {
        address,
        direct_tls: false,
    };
    (DomainPattern::Exact(domain(name)), address)
}

fn message(from: &str, to: &str, body: &str) -> Stanza {
    let payload = format!("<body>{body}</body>");
    Stanza::build(
        StanzaKind::Message,
        &jid(from),
        &jid(to),
        None,
        Some("m"),
        &payload,
    )
}

/// Reads until `end` has come.
async fn until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        let read = timeout(WAIT, stream.read(&mut byte)).await.expect(end);
        assert_eq!(read.unwrap(), 1, "cut after {text}");
        text.push(char::from(byte[0]));
    }
    text
}

/// One address may have one stream: the second gets neither place nor word.
//= ERR-04
//= LIM-08
#[tokio::test]
async fn a_connection_too_many_is_closed_without_a_word() {
    let engine = Engine::start(config(
        vec![hosted("montague.lit")],
        &[("streams_per_address_max", 1)],
    ))
    .await
    .unwrap();
    let address = engine.s2s_addresses()[0];
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(HEADER.as_bytes()).await.unwrap();
    until(&mut first, "</stream:features>").await;
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut said = Vec::new();
    // The system may tell of a reset, for the header was never read; what counts is that nothing was said.
    let _ = second.write_all(HEADER.as_bytes()).await;
    let _ = timeout(WAIT, second.read_to_end(&mut said)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "");
    first.write_all(b"</stream:stream>").await.unwrap();
    until(&mut first, "</stream:stream>").await;
}

/// The end of a protected stream is protected too: whoever reads it can tell it from a cut.
//= TLS-28
#[tokio::test]
async fn a_closed_stream_ends_with_close_notify() {
    let montague = domain("montague.lit");
    let (_, pem) = self_signed(&montague);
    let mut config = config(vec![hosted("montague.lit")], &[]);
    config.certificates = Certificates::from_pem(vec![(montague, pem.clone())]).unwrap();
    let engine = Engine::start(config).await.unwrap();
    let mut tcp = TcpStream::connect(engine.s2s_addresses()[0]).await.unwrap();
    tcp.write_all(HEADER.as_bytes()).await.unwrap();
    until(&mut tcp, "</stream:features>").await;
    tcp.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        .await
        .unwrap();
    until(&mut tcp, "/>").await;
    let mut tls = connect_tls(tcp, &pem).await;
    tls.write_all(HEADER.as_bytes()).await.unwrap();
    until(&mut tls, "</stream:features>").await;
    tls.write_all(b"</stream:stream>").await.unwrap();
    let mut rest = String::new();
    // Without the alert rustls says `UnexpectedEof`.
    let end = timeout(WAIT, tls.read_to_string(&mut rest)).await.unwrap();
    assert!(end.is_ok(), "{end:?} after {rest}");
    assert_eq!(rest, "</stream:stream>");
}

async fn connect_tls(tcp: TcpStream, pem: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("montague.lit").unwrap(), tcp)
        .await
        .unwrap()
}

/// Two domains behind one connection: one takes nothing, the other gets everything, in order and soon.
//= COMP-15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_stops_nobody_else_on_the_same_connection() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = free.local_addr().unwrap();
    drop(free);
    let mut montague = config(
        vec![hosted("slow.montague.lit"), hosted("quick.montague.lit")],
        &[("component_backlog_stanzas_max", 8)],
    );
    montague.addresses = vec![at("capulet.lit", here)];
    let montague = Engine::start(montague).await.unwrap();
    let there = montague.s2s_addresses()[0];
    let mut capulet = config(vec![hosted("capulet.lit")], &[]);
    capulet.s2s.listen = vec![here];
    capulet.addresses = vec![
        at("slow.montague.lit", there),
        at("quick.montague.lit", there),
    ];
    let capulet = Engine::start(capulet).await.unwrap();

    // Two senders towards one target share the connection that the first one opened, and what comes back does too.
    for from in ["slow.montague.lit", "quick.montague.lit"] {
        let handle = montague.handle();
        let (from, to) = (domain(from), jid("capulet.lit"));
        handle.ping(&from, &to, WAIT).await.unwrap();
    }
    let _slow = montague
        .handle()
        .attach(&domain("slow.montague.lit"))
        .unwrap();
    let mut quick = montague
        .handle()
        .attach(&domain("quick.montague.lit"))
        .unwrap();
    let juliet = capulet.handle().attach(&domain("capulet.lit")).unwrap();
    for _ in 0..100 {
        let stanza = message("juliet@capulet.lit", "nobody@slow.montague.lit", "x");
        juliet.send(stanza).await.unwrap();
    }
    let began = Instant::now();
    for n in 0..50 {
        let stanza = message(
            "juliet@capulet.lit",
            "romeo@quick.montague.lit",
            &n.to_string(),
        );
        juliet.send(stanza).await.unwrap();
        let got = timeout(WAIT, quick.receive()).await.unwrap();
        let text = String::from_utf8_lossy(got.bytes()).into_owned();
        assert!(text.contains(&format!("<body>{n}</body>")), "{n}: {text}");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let links = capulet.handle().links();
    let carrying: Vec<_> = links.iter().filter(|link| link.stanzas_out > 0).collect();
    assert_eq!(carrying.len(), 1, "both domains share it: {links:#?}");
    assert_eq!(carrying[0].pairs.len(), 2, "{links:#?}");
    let limit = Limit::ComponentBacklogStanzasMax;
    assert!(montague.handle().limit_reached(limit) > 0);
}

/// A component that attaches and never reads: what is held for it is bounded, and it is let go.
//= LIM-12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_never_reads_is_let_go() {
    let engine = Engine::start(config(
        vec![hosted("montague.lit"), component("deaf.montague.lit")],
        &[
            ("write_stall_seconds", 1),
            ("component_reconnect_seconds", 0),
        ],
    ))
    .await
    .unwrap();
    let _deaf = attach(&engine, "deaf.montague.lit").await;
    assert_eq!(engine.handle().components().len(), 1);
    let mut sender = engine.handle().attach(&domain("montague.lit")).unwrap();
    let body = "x".repeat(60_000);
    let (mut taken, mut refused) = (0, 0);
    let began = Instant::now();
    while !engine.handle().components().is_empty() {
        assert!(began.elapsed() < WAIT, "{taken} taken, {refused} refused");
        let stanza = message("montague.lit", "deaf.montague.lit", &body);
        sender.send(stanza).await.unwrap();
        taken += 1;
        while let Ok(back) = timeout(Duration::from_millis(20), sender.receive()).await {
            assert_eq!(back.class(), StanzaClass::Error);
            refused += 1;
        }
    }
    assert!(refused > 0, "what found no room came back: {taken} taken");
    assert_eq!(engine.handle().limit_reached(Limit::WriteStallSeconds), 1);
}

/// Opens a component's stream and shakes hands; the socket's buffer is small.
async fn attach(engine: &Engine, name: &str) -> TcpStream {
    use sha1::{Digest, Sha1};
    let ListenAddress::Tcp(address) = engine.component_addresses()[0] else {
        panic!("no address")
    };
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut tcp = socket.connect(address).await.unwrap();
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{name}'>"
    );
    tcp.write_all(header.as_bytes()).await.unwrap();
    until(&mut tcp, "?>").await;
    let header = until(&mut tcp, ">").await;
    let (_, id) = header.split_once(" id='").unwrap();
    let (id, _) = id.split_once('\'').unwrap();
    let digest: String = Sha1::digest(format!("{id}secret"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let handshake = format!("<handshake>{digest}</handshake>");
    tcp.write_all(handshake.as_bytes()).await.unwrap();
    until(&mut tcp, "<handshake/>").await;
    tcp
}

/// The sender of what cannot be delivered is told at which step it failed, and nothing about who else is connected from
/// where.
//= ERR-12
//= ROUTE-29
#[tokio::test]
async fn an_error_tells_the_step_and_no_address_of_ours() {
    let mut config = config(
        vec![hosted("montague.lit"), component("rooms.montague.lit")],
        &[("dns_seconds", 1)],
    );
    let free = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let closed = free.local_addr().unwrap();
    drop(free);
    config.addresses = vec![at("refuses.lit", closed)];
    let engine = Engine::start(config).await.unwrap();
    let mut rooms = attach(&engine, "rooms.montague.lit").await;
    let own = rooms.local_addr().unwrap();
    let mut texts = Vec::new();
    for to in ["refuses.lit", "unknown.lit"] {
        let stanza =
            format!("<message from='rooms.montague.lit' to='{to}' id='m'><body>x</body></message>");
        rooms.write_all(stanza.as_bytes()).await.unwrap();
        let error = until(&mut rooms, "</message>").await;
        assert!(
            error.contains("type='error'") && error.contains("</text>"),
            "{error}"
        );
        assert!(!error.contains(&own.ip().to_string()), "{error}");
        assert!(!error.contains(&format!(":{}", own.port())), "{error}");
        texts.push(error);
    }
    assert!(texts[0].contains("no connection to"), "{}", texts[0]);
    assert!(texts[0].contains("<remote-server-timeout "), "{}", texts[0]);
    assert!(!texts[1].contains("no connection to"), "{}", texts[1]);
    assert!(texts[1].contains("DNS"), "{}", texts[1]);
}
