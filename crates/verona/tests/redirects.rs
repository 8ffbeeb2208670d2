//! A server that answers sends an engine elsewhere: with certificates it arrives there, and nowhere else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::{DomainPattern, IdentityMethod, Policy};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An engine that hosts `name` and shows a certificate for it.
    fn config(&self, name: &str) -> Config {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
        let mut policy = Policy::default();
        policy.defaults.identity = vec![IdentityMethod::Certificate];
        Config {
            domains: vec![HostedDomain {
                name: domain(name),
                component: None,
            }],
            s2s: S2s {
                listen: vec!["127.0.0.1:0".parse().unwrap()],
                allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
                ..S2s::default()
            },
            certificates: Certificates::from_pem(vec![(domain(name), pem)]).unwrap(),
            trust: TrustRoots::from_pem(&self.0.pem()).unwrap(),
            dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
            dnssec: verona::config::Dnssec::Off,
            dialback_secret: None,
            dialback_previous_secret: None,
            issued_keys: IssuedKeys::default(),
            component_proxies: Vec::new(),
            components: Vec::new(),
            policy,
            addresses: Vec::new(),
            version: None,
            learned: Vec::new(),
            trace: None,
            journal: None,
            simulated: None,
        }
    }
}

/// A server that takes a stream header and sends whoever said it to `place`, before TLS.
async fn sends_to(place: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         from='montague.lit' to='capulet.lit' version='1.0' id='x'><stream:error>\
         <see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{place}</see-other-host></stream:error></stream:stream>"
    );
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b">") {
                if tcp.read_buf(&mut heard).await.unwrap() == 0 {
                    break;
                }
            }
            tcp.write_all(answer.as_bytes()).await.unwrap();
            // Until the other side closes.
            let _ = tcp.read_to_end(&mut heard).await;
        }
    });
    address
}

/// capulet.lit pings montague.lit, which it is told to find at `address`.
async fn ping(mut capulet: Config, address: SocketAddr) -> Result<(), String> {
    let address = PeerAddress {
        address,
        direct_tls: false,
    };
    capulet.addresses = vec![(DomainPattern::Exact(domain("montague.lit")), address)];
    let engine = Engine::start(capulet).await.unwrap();
    let to = Jid::parse("montague.lit").unwrap();
    let pinged = engine
        .handle()
        .ping(&domain("capulet.lit"), &to, Duration::from_secs(10))
        .await;
    pinged.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_server_may_send_us_to_another_that_proves_the_domain() {
    //= STREAM-51
    let ca = Ca::new();
    let montague = Engine::start(ca.config("montague.lit")).await.unwrap();
    let there = montague.s2s_addresses()[0];
    let first = sends_to(&there.to_string()).await;
    // Twice over, and a name that is resolved nowhere is no help to anybody.
    let before = sends_to(&first.to_string()).await;
    ping(ca.config("capulet.lit"), before).await.unwrap();
    let link = montague.handle().links();
    assert_eq!(link[0].remote.as_deref(), Some("capulet.lit"));
}

#[tokio::test]
async fn who_sends_us_to_an_impostor_gains_nothing() {
    //= STREAM-51
    let ca = Ca::new();
    let mallory = Engine::start(ca.config("mallory.example")).await.unwrap();
    let there = mallory.s2s_addresses()[0];
    let first = sends_to(&there.to_string()).await;
    let why = ping(ca.config("capulet.lit"), first).await.unwrap_err();
    assert!(why.contains("could not reach montague.lit"), "{why}");
}

#[tokio::test]
async fn nobody_sends_us_where_dns_may_not_either() {
    //= STREAM-51
    //= DNS-27
    let ca = Ca::new();
    let montague = Engine::start(ca.config("montague.lit")).await.unwrap();
    let there = montague.s2s_addresses()[0];
    let mut strict = ca.config("capulet.lit");
    strict.s2s.allow_networks.clear();
    let why = ping(strict, sends_to(&there.to_string()).await)
        .await
        .unwrap_err();
    assert!(why.contains("is not a public address (loopback"), "{why}");
    assert_eq!(montague.handle().links().len(), 0);
    for (place, expected) in [
        ("127.0.0.1:25", "port 25 is for SMTP"),
        (
            "localhost.invalid:5269",
            "sends us to localhost.invalid:5269",
        ),
        ("2001:db8::1", "an IPv6 address must stand in brackets"),
        ("&#9;&#x202e;&lt;junk&gt;", "that is no host"),
    ] {
        let mut quick = ca.config("capulet.lit");
        quick.policy.defaults.limits.set("dns_seconds", 1).unwrap();
        let why = ping(quick, sends_to(place).await).await.unwrap_err();
        assert!(why.contains(expected), "{place}: {why}");
    }
    // Our own listener, at every address that it has.
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = own.local_addr().unwrap().port();
    drop(own);
    let mut ours = ca.config("capulet.lit");
    ours.s2s.listen = vec![SocketAddr::from(([0, 0, 0, 0], port))];
    let place = format!("127.8.9.10:{port}");
    let why = ping(ours, sends_to(&place).await).await.unwrap_err();
    assert!(why.contains("is our own listener"), "{why}");
}
