//! A peer that hangs up behind `<bidi/>` costs two connections once, and one from then on, over a restart as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine, LearnedPeer};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::learned::{Outcome, Phase, Topic};
use verona_proto::policy::{DomainPattern, Policy, UseLearned};
use verona_proto::stanza::{Stanza, StanzaKind};

/// What one connection to the old server came to.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// It was asked for bidi, and hung up.
    Bidi,
    /// A message arrived on it.
    Message,
}

#[tokio::test]
async fn what_a_peer_dies_of_is_known_after_a_restart() {
    //= BIDI-69
    let (address, mut seen) = old_server().await;
    let first = Engine::start(config(address, Vec::new(), UseLearned::Use))
        .await
        .unwrap();
    assert_eq!(
        deliver(&first, &mut seen).await,
        [Seen::Bidi, Seen::Message]
    );
    let peers = first.handle().peers();
    assert_eq!(peers.len(), 1, "{peers:#?}");
    assert_eq!(peers[0].links.len(), 1, "{peers:#?}");
    let learned = &peers[0].learned;
    assert_eq!(learned.domain, domain("montague.lit"));
    let lesson = &learned.lessons[0];
    assert_eq!(
        (lesson.topic, lesson.outcome),
        (Topic::Bidi, Outcome::HangsUp)
    );
    // Dates are rounded to the millisecond, up or down.
    let now = SystemTime::now();
    assert!(lesson.since <= now + Duration::from_millis(1) && lesson.until > now);
    first.shutdown().await;

    let learned = vec![learned.clone()];
    let second = Engine::start(config(address, learned.clone(), UseLearned::Use))
        .await
        .unwrap();
    let restored = second.handle().peers();
    assert_eq!(restored[0].links, Vec::<u64>::new());
    assert_eq!(restored[0].learned.lessons.len(), 1, "{restored:#?}");
    assert_eq!(deliver(&second, &mut seen).await, [Seen::Message]);
    second.shutdown().await;

    // The operator has the last word.
    let third = Engine::start(config(address, learned.clone(), UseLearned::Ignore))
        .await
        .unwrap();
    assert_eq!(third.handle().peers()[0].used, UseLearned::Ignore);
    assert_eq!(
        deliver(&third, &mut seen).await,
        [Seen::Bidi, Seen::Message]
    );
    third.shutdown().await;

    let fourth = Engine::start(config(address, learned, UseLearned::Use))
        .await
        .unwrap();
    let revision = fourth.handle().learned_revision();
    assert!(fourth.handle().forget(&domain("montague.lit")));
    assert!(!fourth.handle().forget(&domain("montague.lit")));
    assert!(fourth.handle().learned_revision() > revision);
    assert_eq!(fourth.handle().peers(), []);
    assert_eq!(
        deliver(&fourth, &mut seen).await,
        [Seen::Bidi, Seen::Message]
    );
    assert_eq!(fourth.handle().forget_all(), 1);
    fourth.shutdown().await;
}

#[tokio::test]
async fn why_a_peer_cannot_be_reached_is_known_after_a_restart() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let first = Engine::start(config(closed, Vec::new(), UseLearned::Use))
        .await
        .unwrap();
    let patience = Duration::from_secs(10);
    let (from, to) = (domain("capulet.lit"), Jid::parse("montague.lit").unwrap());
    let refused = first.handle().ping(&from, &to, patience).await;
    assert!(refused.is_err());
    let peer = first.handle().peers().pop().unwrap();
    let failure = peer.learned.failure.clone().unwrap();
    assert_eq!(failure.phase, Phase::Connect);
    assert!(failure.cause.contains("Connection refused"), "{failure:?}");
    assert!(failure.next.is_some_and(|next| next > failure.since));
    assert_eq!(failure.reached, None);
    first.shutdown().await;

    let second = Engine::start(config(closed, vec![peer.learned], UseLearned::Use))
        .await
        .unwrap();
    let restored = second.handle().peers()[0].learned.failure.clone().unwrap();
    assert_eq!(
        (restored.phase, restored.cause, restored.next),
        (failure.phase, failure.cause, None)
    );
    second.shutdown().await;
}

/// Has a message brought to the old server; says what that took.
async fn deliver(engine: &Engine, seen: &mut mpsc::UnboundedReceiver<Seen>) -> Vec<Seen> {
    let juliet = engine.handle().attach(&domain("capulet.lit")).unwrap();
    let jid = |text: &str| Jid::parse(text).unwrap();
    let message = Stanza::build(
        StanzaKind::Message,
        &jid("juliet@capulet.lit"),
        &jid("romeo@montague.lit"),
        Some("chat"),
        None,
        "<body>art thou</body>",
    );
    juliet.send(message).await.unwrap();
    let mut all = Vec::new();
    while all.last() != Some(&Seen::Message) {
        let next = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await;
        all.push(next.expect("nothing came").unwrap());
    }
    all
}

/// A server that offers bidi, hangs up when it is asked for it, and serves who does not ask.
async fn old_server() -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(serve(tcp, sender.clone()));
        }
    });
    (address, seen)
}

async fn serve(mut tcp: TcpStream, seen: mpsc::UnboundedSender<Seen>) {
    until(&mut tcp, &["<stream:stream", ">"]).await;
    let features = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
    say(&mut tcp, &header(features)).await;
    until(&mut tcp, &["<starttls", "/>"]).await;
    say(
        &mut tcp,
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    )
    .await;
    let mut tls = acceptor().accept(tcp).await.unwrap();
    until(&mut tls, &["<stream:stream", ">"]).await;
    let features =
        "<dialback xmlns='urn:xmpp:features:dialback'/><bidi xmlns='urn:xmpp:features:bidi'/>";
    say(&mut tls, &header(features)).await;
    let asked = until(&mut tls, &["</db:result>"]).await;
    if asked.contains("<bidi") {
        seen.send(Seen::Bidi).unwrap();
        return;
    }
    say(
        &mut tls,
        "<db:result from='montague.lit' to='capulet.lit' type='valid'/>",
    )
    .await;
    until(&mut tls, &["</message>"]).await;
    // The test may have seen enough.
    let _ = seen.send(Seen::Message);
    until(&mut tls, &["</stream:stream>"]).await;
    say(&mut tls, "</stream:stream>").await;
}

fn header(features: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='montague.lit' to='capulet.lit' version='1.0' \
         id='{}'><stream:features>{features}</stream:features>",
        KeyPair::generate().unwrap().public_key_raw()[1..9]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    )
}

fn acceptor() -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["montague.lit".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn say(io: &mut (impl AsyncWrite + Unpin), text: &str) {
    // A peer that has gone is seen by who reads.
    let _ = io.write_all(text.as_bytes()).await;
}

/// Reads until all `parts` were seen, or the end.
async fn until(io: &mut (impl AsyncRead + Unpin), parts: &[&str]) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !parts.iter().all(|part| text.contains(part)) {
        match io.read(&mut byte).await {
            Ok(1) => text.push(char::from(byte[0])),
            Ok(_) | Err(_) => return text,
        }
    }
    text
}

fn config(address: SocketAddr, learned: Vec<LearnedPeer>, used: UseLearned) -> Config {
    let mut policy = Policy::default();
    policy.defaults.learned = used;
    Config {
        domains: vec![HostedDomain {
            name: domain("capulet.lit"),
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
        addresses: vec![(
            DomainPattern::Exact(domain("montague.lit")),
            PeerAddress {
                address,
                direct_tls: false,
            },
        )],
        version: None,
        learned,
        trace: None,
        journal: None,
        simulated: None,
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}
