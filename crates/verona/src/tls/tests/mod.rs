//! TLS with every kind of certificate, in both directions, over pipes in memory.
//!
//! The peers here are plain rustls with settings that verona itself would never make.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod choice;
mod files;
mod peers;
mod revocation;
mod store;
mod stream;
mod tlsa;
mod zoo;

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verona_proto::addr::Domain;

use super::*;

/// A certificate authority made for one test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        Self::changed(name, |_| {})
    }

    fn changed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// An authority below this one.
    fn intermediate(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        self.intermediate_with(KeyPair::generate().unwrap(), change)
    }

    fn intermediate_with(&self, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params("An Intermediate");
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
    }

    /// Another certificate for this authority, whose name is `name`, by another.
    fn certified_by(
        &self,
        other: &Self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> rcgen::Certificate {
        let mut params = Self::params(name);
        change(&mut params);
        params.signed_by(self.0.key(), &other.0).unwrap()
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = common_name(name);
        params
    }

    fn trust(&self) -> TrustRoots {
        TrustRoots::from_pem(&self.0.pem()).unwrap()
    }

    /// A certificate for `names`, by default one as public authorities issue them.
    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            chain: vec![certificate.der().clone()],
            key,
        }
    }
}

/// A chain with the key of its first certificate.
struct Issued {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Issued {
    fn with(mut self, authority: &Authority) -> Self {
        self.chain.push(authority.0.der().clone());
        self
    }

    fn certified(&self) -> Arc<CertifiedKey> {
        certified(&self.chain, &self.key)
    }

    fn pem(&self) -> String {
        self.key.serialize_pem() + &self.pem_of_chain()
    }

    fn pem_of_chain(&self) -> String {
        let texts = self
            .chain
            .iter()
            .map(|certificate| pem("CERTIFICATE", certificate));
        texts.collect()
    }
}

/// A certificate of montague.lit that nobody vouches for.
fn self_signed() -> Issued {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf(&["montague.lit"]).self_signed(&key).unwrap();
    Issued {
        chain: vec![certificate.der().clone()],
        key,
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut base64 = String::new();
    for chunk in der.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            base64.push(if digit <= chunk.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63])
            } else {
                '='
            });
        }
    }
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = common_name("a server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A certificate with a key that may be another's.
fn certified(chain: &[CertificateDer<'static>], key: &KeyPair) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(der)
        .unwrap();
    Arc::new(CertifiedKey::new(chain.to_vec(), key))
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// TLS of ours, with certificates for these domains, issued by `authority`, which is trusted too.
fn ours(authority: &Authority, domains: &[&str]) -> Tls {
    let given = domains
        .iter()
        .map(|name| {
            let name = domain(name);
            let issued = authority.issue(&[name.ascii()], |_| {});
            (name, issued.pem())
        })
        .collect();
    Tls::new(Certificates::from_pem(given).unwrap(), authority.trust()).unwrap()
}

type Version = &'static SupportedProtocolVersion;

const VERSIONS: [Version; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A peer that connects, with a certificate or without.
fn connecting(version: Version, own: Option<Arc<CertifiedKey>>) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(DeferredVerifier::new(&provider));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    }
}

/// A peer that accepts.
fn accepting(version: Version, own: Arc<CertifiedKey>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(DeferredVerifier::new(&provider));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
}

type Ours = Result<(TlsStream<DuplexStream>, TlsFacts), TlsError>;

/// The peer connects to us; after the handshake a byte goes each way.
async fn accept(
    tls: &Tls,
    peer: ClientConfig,
    sni: Option<&str>,
    fallback: Option<&str>,
    direct: bool,
) -> (
    Ours,
    io::Result<tokio_rustls::client::TlsStream<DuplexStream>>,
) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let name = match sni {
        Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
        None => ServerName::try_from("192.0.2.1").unwrap(),
    };
    let fallback = fallback.map(domain);
    tokio::join!(
        async {
            let (mut stream, facts) = tls.accept(here, fallback.as_ref(), direct).await?;
            exchange(&mut stream).await;
            Ok((stream, facts))
        },
        async {
            let mut stream = TlsConnector::from(Arc::new(peer))
                .connect(name, there)
                .await?;
            stream.write_all(b"x").await?;
            stream.flush().await?;
            stream.read_u8().await?;
            Ok(stream)
        }
    )
}

/// We connect to the peer, for a stream from `local` to `remote`.
async fn connect(
    tls: &Tls,
    peer: ServerConfig,
    local: &str,
    remote: &str,
    direct: bool,
) -> (
    Ours,
    io::Result<tokio_rustls::server::TlsStream<DuplexStream>>,
) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (local, remote) = (domain(local), domain(remote));
    tokio::join!(
        async {
            let (mut stream, facts) = tls.connect(here, &local, &remote, direct).await?;
            exchange(&mut stream).await;
            Ok((stream, facts))
        },
        async {
            let mut stream = TlsAcceptor::from(Arc::new(peer)).accept(there).await?;
            stream.write_all(b"x").await?;
            stream.flush().await?;
            stream.read_u8().await?;
            Ok(stream)
        }
    )
}

async fn exchange(stream: &mut TlsStream<DuplexStream>) {
    // A peer that refused the handshake at its last moment is not at fault here.
    let _ = stream.write_all(b"x").await;
    let _ = stream.flush().await;
    let _ = stream.read_u8().await;
}

/// A subjectAltName of our own making, in DER.
fn alternative_names(entries: &[Vec<u8>]) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 17], tlv(0x30, &entries.concat()))
}

/// An otherName `1.3.6.1.5.5.7.8.last` with a string of the type `tag`.
fn other_name(last: u8, tag: u8, text: &str) -> Vec<u8> {
    let id = tlv(0x06, &[0x2b, 6, 1, 5, 5, 7, 8, last]);
    let value = tlv(0xa0, &tlv(tag, text.as_bytes()));
    tlv(0xa0, &[id, value].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        Ok(long) => vec![tag, 0x81, long],
        Err(_) => {
            let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
            vec![tag, 0x82, high, low]
        }
    };
    der.extend(content);
    der
}
