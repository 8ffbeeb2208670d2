//! How bytes come in: by STARTTLS, by TLS from the first byte, on either port, and through a proxy.
//!
//! Engines on loopback, and peers of few words on raw sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod both_ways;
mod first_byte;
mod name_server;
mod next_server;
mod proxied;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use verona::config::{HostedDomain, S2s};
use verona::status::Link;
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_proto::addr::Domain;
use verona_proto::policy::Policy;

/// Longer than anything here may take.
const WAIT: Duration = Duration::from_secs(20);
/// What a server says first.
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
    xmlns:stream='http://etherx.jabber.org/streams' to='montague.lit' from='capulet.lit' version='1.0'>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// An authority, and what it certifies.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (Domain, String) {
        let name = domain(name);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.ascii().to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            name,
            format!("{}{}", certificate.pem(), key.serialize_pem()),
        )
    }
}

/// Hosts `names`, each with a certificate, behind one listener of each kind.
fn config(authority: &Authority, names: &[&str], limits: &[(&str, u64)]) -> Config {
    let mut policy = Policy::default();
    for (name, value) in limits {
        policy.defaults.limits.set(name, *value).unwrap();
    }
    let hosted = |name: &&str| HostedDomain {
        name: domain(name),
        component: None,
    };
    let certificates = names.iter().map(|name| authority.issue(name)).collect();
    Config {
        domains: names.iter().map(hosted).collect(),
        s2s: S2s {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            listen_tls: vec!["127.0.0.1:0".parse().unwrap()],
            allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(certificates).unwrap(),
        trust: TrustRoots::from_pem(&authority.0.pem()).unwrap(),
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        policy,
        ..Config::default()
    }
}

/// The listener for STARTTLS, then the one for direct TLS.
fn ports(engine: &Engine) -> [SocketAddr; 2] {
    engine.s2s_addresses().try_into().unwrap()
}

/// Connects from one of this machine's many addresses.
async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// A TLS connection as a server makes one that shows no certificate.
async fn tls(
    tcp: TcpStream,
    authority: &Authority,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.0.pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

async fn say(stream: &mut (impl AsyncWriteExt + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads until `end` has come.
async fn until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        let read = timeout(WAIT, stream.read(&mut byte)).await.expect(end);
        assert_eq!(read.unwrap(), 1, "{end} should come after {text}");
        text.push(char::from(byte[0]));
    }
    text
}

/// All that comes until the connection ends. It may end with a reset: what was never read is thrown away so.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut said = Vec::new();
    let _ = timeout(WAIT, stream.read_to_end(&mut said))
        .await
        .expect("the connection is left open");
    String::from_utf8_lossy(&said).into_owned()
}

/// The only link of an engine.
async fn link(engine: &Engine) -> Link {
    let links = engine.handle().links();
    assert_eq!(links.len(), 1, "{links:#?}");
    links[0].clone()
}

/// Until nothing is connected any more.
async fn quiet(engine: &Engine) {
    timeout(WAIT, async {
        while !engine.handle().links().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a connection outlives its peer");
}
