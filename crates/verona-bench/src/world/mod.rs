//! Where all is measured: a network of its own, an authority, a name server, and the servers.
//! Why all of them at once: they take turns within one run, so that a noisy minute meets every one.

mod configuration;
mod far;
mod servers;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use verona_interop::certs::{Authority, Issued, Purposes};
use verona_interop::dns::{NameServer, Service};
use verona_interop::namespace;

use crate::talk::{self, Answers, Call, Proof, Standing};
pub(crate) use far::{Far, FarSettings};
pub(crate) use servers::{Kind, SECRET, Server, Tuning};

/// All that servers need, and what the generator shows them.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    authority: Authority,
    pub(crate) client: Arc<rustls::ClientConfig>,
    /// The same without a certificate.
    nameless: Arc<rustls::ClientConfig>,
    pub(crate) server: Arc<rustls::ServerConfig>,
    pub(crate) answers: Answers,
    _names: NameServer,
}

impl World {
    /// Furnishes the namespace for so many peers.
    pub(crate) fn set(dir: &Path, peers: usize) -> Result<Self> {
        let services: Vec<Service> = (0..peers)
            .map(|number| Service {
                domain: peer(number),
                address: peer_address(number),
                direct_tls: false,
            })
            .collect();
        Self::with(dir, &services)
    }

    /// Furnishes the namespace with these servers, which are somebody else's to start.
    pub(crate) fn with(dir: &Path, services: &[Service]) -> Result<Self> {
        namespace::furnish(dir)?;
        let authority = Authority::new()?;
        authority.write(&dir.join("ca.pem"))?;
        let ours = Issued::for_names(
            &["*.montague.lit"],
            Purposes::ServerAndClient,
            Some(&authority),
        )?;
        let server = server(&ours, &dir.join("ca.pem"))?;
        Ok(Self {
            client: client(Some(&ours))?,
            nameless: client(None)?,
            answers: Answers::start(&server)?,
            server,
            _names: NameServer::start_at(dir, namespace::NAME_SERVER, services)?,
            authority,
            dir: dir.to_owned(),
        })
    }

    /// The file of the only authority that servers trust.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Result<Issued> {
        Issued::for_names(names, Purposes::ServerAndClient, Some(&self.authority))
    }

    /// A certificate that nobody vouches for.
    pub(crate) fn issue_by_itself(name: &str) -> Result<Issued> {
        Issued::new(name, Purposes::ServerAndClient, None)
    }

    /// Connections with a server for this many peers over which stanzas may go both ways: the peers call, and where that
    /// does not suffice the server calls back, for which `component` gives it a reason.
    pub(crate) fn peers(
        &self,
        server: &Server,
        peers: usize,
        component: &mut std::net::TcpStream,
    ) -> Result<Vec<Standing>> {
        if server.kind.is_bare() {
            return Ok(vec![Call::bare(server.s2s, &self.client)?]);
        }
        let mut standing = Vec::new();
        for number in 0..peers {
            standing.push(
                Call {
                    server: server.s2s,
                    direct_tls: false,
                    from: &peer(number),
                    to: &server.domain,
                    tls: match server.kind.proof() {
                        Proof::Certificate => &self.client,
                        Proof::Dialback => &self.nameless,
                    },
                    proof: server.kind.proof(),
                    bidi: true,
                    management: server.kind.is_managed(),
                }
                .make()?,
            );
        }
        if !standing.iter().all(|one| one.is_bidi) {
            for number in 0..peers {
                use std::io::Write as _;
                let reason = format!("<presence from='{}' to='{}'/>", server.domain, peer(number));
                component.write_all(reason.as_bytes())?;
            }
            for _ in 0..peers {
                standing.push(self.answers.next(CALLED_BACK_WITHIN)?);
            }
        }
        if server.kind == Kind::Jabberd2 {
            // Each certificate that it looks at leaves an entry in OpenSSL's queue of errors, and it takes that for an error
            // of the next connection whose record is not complete. A handshake without a certificate empties the queue.
            Call::secured(server.s2s, &server.domain, &self.nameless)?;
        }
        Ok(standing)
    }
}

/// The domain of a peer that the generator plays.
pub(crate) fn peer(number: usize) -> String {
    format!("p{number}.montague.lit")
}

/// A further domain of that peer's, for which its certificate is good too.
pub(crate) fn further(number: usize, of_it: usize) -> String {
    format!("p{number}x{of_it}.montague.lit")
}

/// Each has an address of its own, as other servers have.
fn peer_address(number: usize) -> SocketAddr {
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 1, high, low), talk::PORT))
}

/// TLS 1.3 with the peers' certificate, or none. Resumption is off: it is the full handshake that is measured.
fn client(ours: Option<&Issued>) -> Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer(provider)));
    let mut config = match ours {
        Some(ours) => {
            let (chain, key) = credentials(ours)?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// TLS 1.3 for servers that call; a certificate is asked for.
fn server(ours: &Issued, authority: &Path) -> Result<Arc<rustls::ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (chain, key) = credentials(ours)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).context("reading the authority")?)?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn credentials(issued: &Issued) -> Result<Credentials> {
    Ok((
        vec![CertificateDer::from_pem_slice(
            issued.certificate().as_bytes(),
        )?],
        PrivateKeyDer::from_pem_slice(issued.key().as_bytes())?,
    ))
}

type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Believes every server: who it is, is not what is measured. Signatures are checked.
#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A hundred servers that are called back one after the other by a slow one.
const CALLED_BACK_WITHIN: Duration = Duration::from_secs(60);
