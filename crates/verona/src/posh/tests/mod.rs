//! Look-ups at real web servers on loopback, from the name in DNS to the fingerprint: what is found, and what is refused.
//!
//! An engine's own resolver, guard and settings are used; only DNS, the authority and the port are made up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod answers;
mod certificates;
mod danger;
mod dns;
mod web;

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha512};

use super::*;
use crate::Engine;
use crate::config::{Config, S2s};
use crate::tls::{Certificates, TrustRoots};
use certificates::Authority;
use dns::Dns;
use web::{Web, ok};

/// A domain without a certificate of its own, an engine that wants to know about it, and the web.
struct World {
    authority: Authority,
    dns: Dns,
    web: Web,
    engine: Engine,
}

impl World {
    /// A web server has certificates for both hosts of most tests, and DNS knows where it is.
    async fn new() -> Self {
        let world = Self::bare().await;
        for host in [DOMAIN, HOSTING] {
            world
                .web
                .certify(host, world.authority.issue(&[host], |_| {}));
            world.dns.set(host, &[LOCALHOST]);
        }
        world
    }

    /// DNS knows nothing, and the web server has no certificate.
    async fn bare() -> Self {
        let authority = Authority::new("Everybody");
        let dns = Dns::new().await;
        let web = Web::new(LOCALHOST).await;
        let trust = TrustRoots::from_pem(&authority.pem()).unwrap();
        let engine = Engine::start(Config {
            domains: Vec::new(),
            s2s: S2s {
                listen: vec![(LOCALHOST, 0).into()],
                allow_networks: vec!["127.0.0.1".parse().unwrap()],
                https_port: Some(web.port()),
                ..S2s::default()
            },
            certificates: Certificates::default(),
            trust,
            dns_servers: vec![dns.address()],
            ..Config::default()
        })
        .await
        .unwrap();
        Self {
            authority,
            dns,
            web,
            engine,
        }
    }

    async fn look_up(&self) -> Result<Fingerprints, PoshFailure> {
        self.look_up_domain(DOMAIN).await
    }

    async fn look_up_domain(&self, domain: &str) -> Result<Fingerprints, PoshFailure> {
        let handle = self.engine.handle();
        let domain = Domain::parse(domain).unwrap();
        let shared = &handle.shared;
        shared
            .posh
            .fingerprints(&handle.shared, &domain, Errand::Stranger)
            .await
    }

    /// Why a look-up fails, when the document of the domain is answered with `bytes`.
    async fn refusal(bytes: impl Into<Vec<u8>>) -> String {
        let world = Self::new().await;
        world.web.serve(DOMAIN, PATH, bytes);
        let failure = world.look_up().await.unwrap_err();
        assert!(!failure.is_ours(), "{failure}");
        failure.to_string()
    }

    /// A URI of the web server, its port written out.
    fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.web.port())
    }
}

impl Fingerprints {
    fn matches(&self, leaf: &[u8]) -> bool {
        self.holds_until(leaf).is_some()
    }
}

/// A document that names the certificate `leaf`.
fn document(leaf: &[u8], expires: u64) -> String {
    let (short, long) = (Sha256::digest(leaf), Sha512::digest(leaf));
    let (short, long) = (STANDARD.encode(short), STANDARD.encode(long));
    format!(
        r#"{{"fingerprints":[{{"sha-256":"{short}","sha-512":"{long}"}}],"expires":{expires}}}"#
    )
}

fn reference(url: &str, expires: u64) -> String {
    format!(r#"{{"url":"{url}","expires":{expires}}}"#)
}

/// How many seconds what was found holds, as of now.
fn seconds_left(found: &Fingerprints) -> u64 {
    let left = found.until.saturating_duration_since(crate::shared::now());
    (left + Duration::from_millis(500)).as_secs()
}

const DOMAIN: &str = "montague.lit";
const HOSTING: &str = "hosting.lit";
const PATH: &str = "/.well-known/posh/xmpp-server.json";
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// What a peer shows: issued by nobody, for nobody.
static LEAF: LazyLock<Vec<u8>> = LazyLock::new(|| certificates::self_signed_der(|_| {}));

#[tokio::test]
async fn a_domain_names_its_certificate() {
    //= DNS-20
    //= DNS-23
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let found = world.look_up().await.unwrap();
    assert!(found.matches(&LEAF));
    assert!(!found.matches(b"the certificate of somebody else"));
    assert!((595..=600).contains(&seconds_left(&found)));
    let heads = world.web.heads();
    assert_eq!(heads.len(), 1);
    let head = heads[0].to_ascii_lowercase();
    assert!(
        head.starts_with(&format!("get {PATH} http/1.1\r\n")),
        "{head}"
    );
    let host = format!("host: {DOMAIN}:{}\r\n", world.web.port());
    assert!(head.contains(&host), "{head}");
    assert!(head.contains("user-agent: verona\r\n"), "{head}");
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    for never in ["cookie", "authorization", "referer", "gzip", "from:"] {
        assert!(!head.contains(never), "{head}");
    }
    // It is remembered.
    assert_eq!(world.look_up().await.unwrap(), found);
    assert_eq!(world.web.heads().len(), 1);
}

#[tokio::test]
async fn a_domain_refers_to_whoever_hosts_it() {
    //= DNS-20
    //= DNS-22
    for (refers, names, holds) in [(600, 900, 600), (900, 300, 300)] {
        let world = World::new().await;
        let place = world.url(HOSTING, "/certificates?of=xmpp");
        world
            .web
            .serve(DOMAIN, PATH, ok(&reference(&place, refers)));
        let list = document(&LEAF, names);
        world.web.serve(HOSTING, "/certificates?of=xmpp", ok(&list));
        let found = world.look_up().await.unwrap();
        assert!(found.matches(&LEAF));
        assert!((holds - 5..=holds).contains(&seconds_left(&found)));
    }
}

#[tokio::test]
async fn a_reference_leads_to_fingerprints_and_to_no_other_reference() {
    //= DNS-20
    let world = World::new().await;
    let place = world.url(HOSTING, "/a");
    world.web.serve(DOMAIN, PATH, ok(&reference(&place, 600)));
    let place = world.url(HOSTING, "/b");
    world.web.serve(HOSTING, "/a", ok(&reference(&place, 600)));
    world.web.serve(HOSTING, "/b", ok(&document(&LEAF, 600)));
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("is a reference itself"), "{why}");
    assert_eq!(world.web.heads().len(), 2, "/b was never asked for");
    // Nor to one that does not hold.
    let world = World::new().await;
    let place = world.url(HOSTING, "/a");
    world.web.serve(DOMAIN, PATH, ok(&reference(&place, 0)));
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("its \"expires\" is 0"), "{why}");
    assert_eq!(world.web.heads().len(), 1);
}

#[tokio::test]
async fn nothing_is_believed_for_ever() {
    //= DNS-22
    let day = KEPT_MAX.as_secs();
    for (expires, holds) in [
        (u64::MAX, day),
        (day + 1, day),
        (day - 1, day - 1),
        (20, 20),
    ] {
        let world = World::new().await;
        world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, expires)));
        let found = world.look_up().await.unwrap();
        assert!(
            (holds - 5..=holds).contains(&seconds_left(&found)),
            "{expires}"
        );
    }
}

#[tokio::test]
async fn many_who_ask_at_once_cause_one_request() {
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let asked = tokio::join!(
        world.look_up(),
        world.look_up(),
        world.look_up(),
        world.look_up_domain("MONTAGUE.lit.")
    );
    assert!(asked.0.is_ok() && asked.3.is_ok());
    assert_eq!(world.web.heads().len(), 1);
}

#[tokio::test]
async fn an_international_domain_is_asked_by_its_a_labels() {
    //= DNS-20
    let world = World::bare().await;
    let ascii = "xn--bcher-kva.example";
    world
        .web
        .certify(ascii, world.authority.issue(&[ascii], |_| {}));
    world.dns.set(ascii, &[LOCALHOST]);
    world.web.serve(ascii, PATH, ok(&document(&LEAF, 600)));
    let found = world.look_up_domain("bücher.example").await.unwrap();
    assert!(found.matches(&LEAF));
}

#[tokio::test]
async fn an_address_is_not_asked() {
    let world = World::new().await;
    for address in ["127.0.0.1", "[::1]"] {
        let why = world.look_up_domain(address).await.unwrap_err().to_string();
        assert!(why.contains("is an address"), "{why}");
    }
    assert_eq!(world.web.connections(), 0);
}
