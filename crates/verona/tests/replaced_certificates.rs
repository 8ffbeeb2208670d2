//! Certificates and trust that change while two engines federate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verona::config::{HostedDomain, PeerAddress, S2s};
use verona::tls::{Certificates, RevocationLists, TrustRoots};
use verona::{Attachment, Config, Engine};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::{DomainPattern, IdentityMethod, Policy};
use verona_proto::stanza::{Stanza, StanzaKind};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trust(&self) -> TrustRoots {
        TrustRoots::from_pem(&self.0.pem()).unwrap()
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificates {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
        Certificates::from_pem(vec![(domain(name), pem)]).unwrap()
    }

    /// One that expires at a whole second so many from now.
    fn short_lived(&self, name: &str, seconds: u64) -> Certificates {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = Duration::from_secs(now.as_secs() + seconds);
        self.issue(name, |params| {
            params.not_after = date_time_ymd(1970, 1, 1) + end;
        })
    }
}

/// Only certificates prove anybody.
fn config(name: &str, certificates: Certificates, trust: TrustRoots) -> Config {
    let mut policy = Policy::default();
    policy.defaults.identity = vec![IdentityMethod::Certificate];
    Config {
        domains: vec![HostedDomain {
            name: domain(name),
            component: None,
        }],
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            ..S2s::default()
        },
        certificates,
        trust,
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

fn at(name: &str, address: SocketAddr) -> (DomainPattern, PeerAddress) {
    let address = PeerAddress {
        address,
        direct_tls: false,
    };
    (DomainPattern::Exact(domain(name)), address)
}

/// Starts both; each knows where the other is.
async fn start(mut capulet: Config, mut montague: Config) -> (Engine, Engine) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let here = free.local_addr().unwrap();
    drop(free);
    capulet.s2s.listen = vec![here];
    montague.addresses = vec![at("capulet.lit", here)];
    let montague = Engine::start(montague).await.unwrap();
    capulet.addresses = vec![at("montague.lit", montague.s2s_addresses()[0])];
    (Engine::start(capulet).await.unwrap(), montague)
}

async fn ping(engine: &Engine, from: &str, to: &str) -> Result<Duration, String> {
    let to = Jid::parse(to).unwrap();
    let (handle, from) = (engine.handle(), domain(from));
    let pinged = handle.ping(&from, &to, Duration::from_secs(10)).await;
    pinged.map_err(|error| error.to_string())
}

fn message(from: &str, to: &str, n: usize) -> Stanza {
    let jid = |text: &str| Jid::parse(text).unwrap();
    let payload = format!("<body>{n}</body>");
    Stanza::build(
        StanzaKind::Message,
        &jid(from),
        &jid(to),
        Some("chat"),
        None,
        &payload,
    )
}

fn body(stanza: &Stanza) -> usize {
    let text = std::str::from_utf8(stanza.bytes()).unwrap();
    let Some((_, rest)) = text
        .split_once("<body>")
        .filter(|_| !text.contains("type='error'"))
    else {
        panic!("{text}");
    };
    rest.split_once("</body>").unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn connections_outlive_the_certificates_that_they_were_made_with() {
    let ca = Ca::new("An Authority");
    let numbered = |name: &str, number: u64| {
        ca.issue(name, |params| {
            params.serial_number = Some(SerialNumber::from(number));
        })
    };
    let capulet = config("capulet.lit", numbered("capulet.lit", 1), ca.trust());
    let montague = config("montague.lit", numbered("montague.lit", 1), ca.trust());
    let (capulet, montague) = start(capulet, montague).await;
    ping(&capulet, "capulet.lit", "montague.lit").await.unwrap();
    let before = montague.handle().links();
    let new = numbered("montague.lit", 2);
    let handle = montague.handle();
    handle.replace_tls(new.clone(), ca.trust()).unwrap();
    assert_eq!(handle.certificates().differing_from(&new), 0);
    ping(&capulet, "capulet.lit", "montague.lit").await.unwrap();
    ping(&montague, "montague.lit", "capulet.lit")
        .await
        .unwrap();
    let after = montague.handle().links();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_eq!(before[0].id, after[0].id);
}

/// What the peer is offered before TLS.
async fn features(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                  from='montague.lit' to='capulet.lit' version='1.0'>";
    stream.write_all(header.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("</stream:features>") && !text.contains("<stream:features/>") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn with_a_first_certificate_starttls_is_offered() {
    //= TLS-02
    let ca = Ca::new("An Authority");
    let capulet = config("capulet.lit", Certificates::default(), ca.trust());
    let montague = ca.issue("montague.lit", |_| {});
    let montague = config("montague.lit", montague, ca.trust());
    let (capulet, montague) = start(capulet, montague).await;
    let address = capulet.s2s_addresses()[0];
    assert!(!features(address).await.contains("<starttls"));
    let own = ca.issue("capulet.lit", |_| {});
    capulet.handle().replace_tls(own, ca.trust()).unwrap();
    assert!(features(address).await.contains("<starttls"));
    ping(&montague, "montague.lit", "capulet.lit")
        .await
        .unwrap();
    ping(&capulet, "capulet.lit", "montague.lit").await.unwrap();
}

#[tokio::test]
async fn peers_are_judged_by_the_authorities_of_the_moment() {
    //= TLS-24
    let (old, new) = (Ca::new("Old"), Ca::new("New"));
    let capulet = config("capulet.lit", old.issue("capulet.lit", |_| {}), old.trust());
    let theirs = |ca: &Ca| {
        ca.issue("montague.lit", |params| {
            params.serial_number = Some(SerialNumber::from(7_u64));
        })
    };
    let montague = config("montague.lit", theirs(&new), old.trust());
    let (capulet, montague) = start(capulet, montague).await;
    let (capulet, _montague) = (capulet, montague);
    until(&capulet, "issued by an unknown authority").await;
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(3000, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(7_u64),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), list.signed_by(&new.0).unwrap().der()).unwrap();
    let lists = RevocationLists::load(&[file.path().to_owned()]).unwrap();
    let handle = capulet.handle();
    let believe = |trust: TrustRoots| handle.replace_tls(handle.certificates(), trust).unwrap();
    believe(new.trust().revoking(lists.clone()));
    until(&capulet, "revoked, says a list").await;
    believe(new.trust());
    until(&capulet, "reached").await;
    // What was proven stays proven, for as long as the connection lives.
    believe(new.trust().revoking(lists));
    ping(&capulet, "capulet.lit", "montague.lit").await.unwrap();
}

/// Until a ping says so; after a failure the engine waits a moment before it tries again, and says the same meanwhile.
async fn until(capulet: &Engine, expected: &str) {
    let mut said = String::new();
    for _ in 0..200 {
        said = match ping(capulet, "capulet.lit", "montague.lit").await {
            Ok(_) => "reached".to_owned(),
            Err(why) => why,
        };
        if said.contains(expected) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {expected}: {said}");
}

/// Sends a message every few milliseconds each way while the certificate of one side expires, and its next one is there.
async fn across_the_end(theirs_expires: bool) {
    let ca = Ca::new("An Authority");
    let certificate = |name: &str, is_short: bool| match is_short {
        true => ca.short_lived(name, 3),
        false => ca.issue(name, |_| {}),
    };
    let capulet = config(
        "capulet.lit",
        certificate("capulet.lit", !theirs_expires),
        ca.trust(),
    );
    let montague = config(
        "montague.lit",
        certificate("montague.lit", theirs_expires),
        ca.trust(),
    );
    let (capulet, montague) = start(capulet, montague).await;
    ping(&capulet, "capulet.lit", "montague.lit").await.unwrap();
    let first = capulet.handle().links()[0].id;
    let juliet = capulet.handle().attach(&domain("capulet.lit")).unwrap();
    let romeo = montague.handle().attach(&domain("montague.lit")).unwrap();
    let renewed = if theirs_expires { &montague } else { &capulet };
    let name = if theirs_expires {
        "montague.lit"
    } else {
        "capulet.lit"
    };
    let handle = renewed.handle();
    handle
        .replace_tls(ca.issue(name, |_| {}), ca.trust())
        .unwrap();
    tokio::join!(
        talk(juliet, "juliet@capulet.lit", "romeo@montague.lit"),
        talk(romeo, "romeo@montague.lit", "juliet@capulet.lit"),
    );
    let links = capulet.handle().links();
    assert!(
        links.iter().all(|link| link.id != first),
        "the first connection ended: {links:#?}"
    );
    for engine in [capulet, montague] {
        let counts = engine.handle().stanza_counts();
        assert_eq!((counts.bounced, counts.dropped), (0, 0));
    }
}

/// Says numbers for five seconds, and hears those of the other side: all, in order, none returned.
async fn talk(mut own: Attachment, from: &str, to: &str) {
    const MESSAGES: usize = 15_000;
    let mut heard = 0;
    let mut clock = tokio::time::interval(Duration::from_micros(300));
    let mut said = 0;
    while heard < MESSAGES || said < MESSAGES {
        tokio::select! {
            _ = clock.tick(), if said < MESSAGES => {
                own.send(message(from, to, said)).await.unwrap();
                said += 1;
            }
            got = tokio::time::timeout(Duration::from_secs(20), own.receive()) => {
                assert_eq!(body(&got.unwrap()), heard, "to {from}: in order, none lost, none returned");
                heard += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_certificate_of_the_server_that_was_dialled_expires() {
    //= TLS-25
    across_the_end(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_certificate_of_the_server_that_dialled_expires() {
    //= TLS-25
    across_the_end(false).await;
}
