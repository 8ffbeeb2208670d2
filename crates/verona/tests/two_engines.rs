//! Two engines on loopback federate over one connection, by certificate and by dialback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::status::{Link, LinkRole};
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::limits::Limit;
use verona_proto::policy::{DomainPattern, Policy};
use verona_proto::stanza::{Stanza, StanzaKind};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn config(domains: &[&str], certificates: Vec<(Domain, String)>, trust: &str) -> Config {
    Config {
        domains: domains
            .iter()
            .map(|name| HostedDomain {
                name: domain(name),
                component: None,
            })
            .collect(),
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(certificates).unwrap(),
        trust: match trust {
            "" => TrustRoots::default(),
            trust => TrustRoots::from_pem(trust).unwrap(),
        },
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        dnssec: verona::config::Dnssec::Off,
        dialback_secret: None,
        dialback_previous_secret: None,
        issued_keys: IssuedKeys::default(),
        components: Vec::new(),
        component_proxies: Vec::new(),
        policy: Policy::default(),
        addresses: Vec::new(),
        version: None,
        learned: Vec::new(),
        journal: None,
        trace: None,
        simulated: None,
    }
}

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, name: &str) -> (Domain, String) {
        self.issue_for(&[name])
    }

    /// One certificate for several names; the domain is the first.
    fn issue_for(&self, names: &[&str]) -> (Domain, String) {
        let key = KeyPair::generate().unwrap();
        let name = names[0];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            domain(name),
            format!("{}{}", certificate.pem(), key.serialize_pem()),
        )
    }
}

fn self_signed(name: &str) -> (Domain, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    (
        domain(name),
        format!("{}{}", certificate.pem(), key.serialize_pem()),
    )
}

fn at(name: &str, address: SocketAddr) -> (DomainPattern, PeerAddress) {
    let address = PeerAddress {
        address,
        direct_tls: false,
    };
    (DomainPattern::Exact(domain(name)), address)
}

/// Starts both; each knows where the other is, so the port of the second must be known before the first starts.
async fn start(mut capulet: Config, mut montague: Config, montagues: &[&str]) -> (Engine, Engine) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = free.local_addr().unwrap();
    drop(free);
    capulet.s2s.listen = vec![here];
    montague.addresses = vec![at("capulet.lit", here)];
    let montague = Engine::start(montague).await.unwrap();
    let there = montague.s2s_addresses()[0];
    capulet.addresses = montagues.iter().map(|name| at(name, there)).collect();
    (Engine::start(capulet).await.unwrap(), montague)
}

async fn ping(engine: &Engine, from: &str, to: &str) -> Duration {
    engine
        .handle()
        .ping(
            &domain(from),
            &Jid::parse(to).unwrap(),
            Duration::from_secs(10),
        )
        .await
        .unwrap_or_else(|error| panic!("{from} to {to}: {error}"))
}

fn carrying(engine: &Engine) -> Vec<Link> {
    let links = engine.handle().links();
    links
        .into_iter()
        .filter(|link| link.stanzas_in + link.stanzas_out > 0)
        .collect()
}

#[tokio::test]
async fn by_certificate_one_connection_carries_both_directions() {
    let ca = Ca::new();
    let capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    let (capulet, montague) = start(capulet, montague, &["montague.lit"]).await;
    ping(&capulet, "capulet.lit", "montague.lit").await;
    ping(&montague, "montague.lit", "capulet.lit").await;
    let (here, there) = (capulet.handle().links(), montague.handle().links());
    assert_eq!((here.len(), there.len()), (1, 1), "{here:#?} {there:#?}");
    assert_eq!(here[0].role, LinkRole::Initiating);
    assert!(here[0].bidi && there[0].bidi);
    assert_eq!((here[0].stanzas_out, here[0].stanzas_in), (2, 2));
    let pair = &there[0].pairs[0];
    assert_eq!(
        (pair.receive.unwrap().by, pair.send.unwrap().inverse),
        ("sasl", true)
    );
    let drained = capulet.shutdown().await;
    assert_eq!((drained.delivered, drained.bounced), (2, 0));
}

#[tokio::test]
async fn whom_the_configuration_places_nobody_looks_up() {
    //= DNS-09
    let ca = Ca::new();
    let name_server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    capulet.dns_servers = vec![name_server.local_addr().unwrap()];
    let montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    let (capulet, _montague) = start(capulet, montague, &["montague.lit"]).await;
    ping(&capulet, "capulet.lit", "montague.lit").await;
    let mut question = [0; 512];
    assert!(name_server.try_recv(&mut question).is_err());
    // It would have heard one.
    let (handle, elsewhere) = (capulet.handle(), Jid::parse("elsewhere.lit").unwrap());
    tokio::spawn(async move {
        let patience = Duration::from_secs(10);
        handle
            .ping(&domain("capulet.lit"), &elsewhere, patience)
            .await
    });
    let heard = tokio::time::timeout(Duration::from_secs(10), name_server.recv(&mut question));
    assert!(heard.await.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn by_dialback_a_second_domain_proves_itself_in_the_reverse_direction() {
    let capulet = config(&["capulet.lit"], vec![self_signed("capulet.lit")], "");
    let montague = config(
        &["montague.lit", "conference.montague.lit"],
        vec![
            self_signed("montague.lit"),
            self_signed("conference.montague.lit"),
        ],
        "",
    );
    let (capulet, montague) = start(
        capulet,
        montague,
        &["montague.lit", "conference.montague.lit"],
    )
    .await;
    ping(&capulet, "capulet.lit", "montague.lit").await;
    ping(&montague, "conference.montague.lit", "capulet.lit").await;
    ping(&capulet, "capulet.lit", "conference.montague.lit").await;
    let (here, there) = (carrying(&capulet), carrying(&montague));
    assert_eq!((here.len(), there.len()), (1, 1), "{here:#?} {there:#?}");
    assert_eq!(there[0].role, LinkRole::Receiving);
    assert_eq!(there[0].pairs.len(), 2, "{:#?}", there[0].pairs);
    assert!(
        there[0]
            .pairs
            .iter()
            .all(|pair| pair.send.is_some() && pair.receive.is_some())
    );
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_why() {
    let ca = Ca::new();
    let mut montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    montague.addresses = vec![at("nobody.lit", closed)];
    let montague = Engine::start(montague).await.unwrap();
    let error = montague
        .handle()
        .ping(
            &domain("montague.lit"),
            &Jid::parse("nobody.lit").unwrap(),
            Duration::from_secs(5),
        )
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no connection to"), "{error}");
}

#[tokio::test]
async fn a_program_serves_a_domain_of_its_own() {
    let ca = Ca::new();
    let capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    let (capulet, montague) = start(capulet, montague, &["montague.lit"]).await;
    let mut juliet = capulet.handle().attach(&domain("capulet.lit")).unwrap();
    let mut romeo = montague.handle().attach(&domain("montague.lit")).unwrap();
    assert!(montague.handle().attach(&domain("montague.lit")).is_err());
    let sent = 2_000;
    let echo = tokio::spawn(async move {
        for _ in 0..sent {
            let got = romeo.receive().await;
            let n = body(&got);
            let back = message("romeo@montague.lit", "juliet@capulet.lit", n);
            romeo.send(back).await.unwrap();
        }
        romeo
    });
    for n in 0..sent {
        juliet
            .send(message("juliet@capulet.lit", "romeo@montague.lit", n))
            .await
            .unwrap();
    }
    for n in 0..sent {
        let got = tokio::time::timeout(Duration::from_secs(20), juliet.receive())
            .await
            .unwrap();
        assert_eq!(body(&got), n, "in order, none lost, none twice");
    }
    let forged = message("romeo@montague.lit", "juliet@capulet.lit", 0);
    assert_eq!(
        juliet.send(forged).await,
        Err(verona::SendError::ForeignSender)
    );
    drop(echo.await.unwrap());
    assert_eq!(carrying(&capulet).len(), 1);
    // The domain is the local services' again.
    ping(&montague, "montague.lit", "montague.lit").await;
}

#[tokio::test]
async fn nothing_is_taken_from_a_program_when_the_engine_stops() {
    let ca = Ca::new();
    let capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let engine = Engine::start(capulet).await.unwrap();
    let handle = engine.handle().clone();
    let juliet = handle.attach(&domain("capulet.lit")).unwrap();
    let ending = tokio::spawn(engine.shutdown());
    while !handle.is_draining() {
        tokio::task::yield_now().await;
    }
    let late = message("juliet@capulet.lit", "romeo@montague.lit", 1);
    let refused = verona::SendError::Stopping(Box::new(late.clone()));
    assert_eq!(juliet.send(late.clone()).await, Err(refused.clone()));
    ending.await.unwrap();
    assert_eq!(juliet.send(late).await, Err(refused));
}

#[tokio::test]
async fn a_stanza_that_the_peer_does_not_take_goes_back_and_the_stream_lives() {
    //= LIM-05
    let ca = Ca::new();
    let capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let mut montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    montague.policy.defaults.limits.stanza_bytes_max = 10_000;
    let (capulet, montague) = start(capulet, montague, &["montague.lit"]).await;
    let mut juliet = capulet.handle().attach(&domain("capulet.lit")).unwrap();
    let mut romeo = montague.handle().attach(&domain("montague.lit")).unwrap();
    let (from, to) = ("juliet@capulet.lit", "romeo@montague.lit");
    let large = format!("<body>{}</body>", "x".repeat(10_000));
    juliet.send(message(from, to, 1)).await.unwrap();
    juliet.send(written(from, to, &large)).await.unwrap();
    juliet.send(message(from, to, 2)).await.unwrap();
    let received = [romeo.receive().await, romeo.receive().await];
    assert_eq!(received.map(|stanza| body(&stanza)), [1, 2]);
    let refused = juliet.receive().await;
    let text = String::from_utf8(refused.bytes().to_vec()).unwrap();
    assert!(
        text.contains("<policy-violation") && text.contains("at most 10000 bytes"),
        "{text}"
    );
    assert_eq!(
        (carrying(&capulet).len(), carrying(&montague).len()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_further_domain_of_the_peers_shares_the_connection_where_its_certificate_names_it() {
    //= DB-43
    let ca = Ca::new();
    let capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let names = ["montague.lit", "conference.montague.lit"];
    let (_, pem) = ca.issue_for(&names);
    let certificates = names.map(|name| (domain(name), pem.clone())).to_vec();
    let montague = config(&names, certificates, &ca.pem());
    let (capulet, montague) = start(capulet, montague, &names).await;
    ping(&capulet, "capulet.lit", "montague.lit").await;
    ping(&capulet, "capulet.lit", "conference.montague.lit").await;
    ping(&montague, "conference.montague.lit", "capulet.lit").await;
    let (here, there) = (carrying(&capulet), carrying(&montague));
    assert_eq!((here.len(), there.len()), (1, 1), "{here:#?} {there:#?}");
    assert_eq!(here[0].pairs.len(), 2);
}

#[tokio::test]
async fn of_two_crossed_connections_one_goes_when_it_is_idle() {
    //= BIDI-53
    let ca = Ca::new();
    let mut capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let mut montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    for config in [&mut capulet, &mut montague] {
        config.policy.defaults.limits.converge_seconds = 1;
    }
    let (capulet, montague) = start(capulet, montague, &["montague.lit"]).await;
    tokio::join!(
        ping(&capulet, "capulet.lit", "montague.lit"),
        ping(&montague, "montague.lit", "capulet.lit"),
    );
    let converged = async {
        // Nothing but the links themselves tells when it is done.
        while capulet.handle().links().len() != 1 || montague.handle().links().len() != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), converged)
        .await
        .unwrap();
    ping(&montague, "montague.lit", "capulet.lit").await;
    ping(&capulet, "capulet.lit", "montague.lit").await;
    let (here, there) = (capulet.handle().links(), montague.handle().links());
    assert_eq!((here.len(), there.len()), (1, 1), "{here:#?} {there:#?}");
}

#[tokio::test]
async fn a_peer_that_sends_too_fast_is_slowed_down_and_loses_nothing() {
    //= LIM-11
    let ca = Ca::new();
    let capulet = config(&["capulet.lit"], vec![ca.issue("capulet.lit")], &ca.pem());
    let mut montague = config(&["montague.lit"], vec![ca.issue("montague.lit")], &ca.pem());
    let limits = &mut montague.policy.defaults.limits;
    limits.set("bytes_per_second_max", 64 * 1024).unwrap();
    let (capulet, montague) = start(capulet, montague, &["montague.lit"]).await;
    let juliet = capulet.handle().attach(&domain("capulet.lit")).unwrap();
    let mut romeo = montague.handle().attach(&domain("montague.lit")).unwrap();
    let began = std::time::Instant::now();
    let padding = " ".repeat(4096);
    for n in 0..48 {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let (from, to) = (jid("juliet@capulet.lit"), jid("romeo@montague.lit"));
        let payload = format!("<body>{n}</body><x xmlns='urn:padding'>{padding}</x>");
        let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, &payload);
        juliet.send(stanza).await.unwrap();
    }
    for n in 0..48 {
        let got = tokio::time::timeout(Duration::from_secs(30), romeo.receive()).await;
        assert_eq!(body(&got.unwrap()), n, "in order, none lost");
    }
    // 192 KiB at 64 KiB a second, the first 64 at once, the last read not waited for.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1500), "{took:?}");
    assert!(montague.handle().limit_reached(Limit::BytesPerSecondMax) > 0);
}

fn body(stanza: &Stanza) -> usize {
    let text = std::str::from_utf8(stanza.bytes()).unwrap();
    let (_, rest) = text.split_once("<body>").unwrap();
    rest.split_once("</body>").unwrap().0.parse().unwrap()
}

fn message(from: &str, to: &str, n: usize) -> Stanza {
    written(from, to, &format!("<body>{n}</body>"))
}

fn written(from: &str, to: &str, payload: &str) -> Stanza {
    let jid = |text: &str| Jid::parse(text).unwrap();
    Stanza::build(
        StanzaKind::Message,
        &jid(from),
        &jid(to),
        Some("chat"),
        None,
        payload,
    )
}
