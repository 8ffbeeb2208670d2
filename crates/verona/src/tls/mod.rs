//! TLS as federation needs it: the handshake never judges a certificate, a pure function does afterwards.
//!
//! A peer without a usable certificate may still prove itself by dialback, so a handshake fails only for reasons of
//! TLS itself; what the certificate is worth travels on as [`PeerCertificate`].

mod certificates;
mod config;
mod dane;
mod files;
mod problem;
mod protocol;
mod revocation;
mod store;
mod stream;
mod trust;
mod verify;
mod web;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CommonState, InvalidMessage, PeerMisbehaved, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use verona_proto::addr::Domain;
use verona_proto::certificate::PeerCertificate;

pub use certificates::{Certificates, OwnCertificate};
pub use files::Patience;
pub use problem::{CertificateProblem, CertificateProblemKind};
pub use revocation::RevocationLists;
pub use store::CertificateStore;
pub use stream::TlsStream;
pub use trust::{TrustFiles, TrustRoots};
pub use verify::{DeferredVerifier, evidence};

pub(crate) use dane::compare;
pub(crate) use verify::valid_until;
pub(crate) use web::WebTlsError;

use config::Dialling;

/// All that TLS needs, made once and shared in an `Arc`; a reload makes another.
///
/// Neither function has a deadline of its own: `tls_handshake_seconds` is the caller's to keep.
pub struct Tls {
    certificates: Certificates,
    trust: TrustRoots,
    accepting: rustls::ServerConfig,
    accepting_direct: rustls::ServerConfig,
    /// By our own domain; those without a certificate share `dialling_bare`.
    dialling: BTreeMap<Domain, Dialling>,
    dialling_bare: Dialling,
    /// For web servers.
    web: Arc<rustls::ClientConfig>,
}

impl Tls {
    /// Prepares TLS 1.2 and 1.3 with our certificates and the authorities that we believe.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when the cryptographic library cannot be used.
    pub fn new(certificates: Certificates, trust: TrustRoots) -> Result<Self, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(DeferredVerifier::new(&provider));
        let accepting = config::server(&provider, &verifier, &certificates)?;
        let bare = config::client(&provider, &verifier)?;
        let dialling = certificates
            .iter()
            .map(|(domain, own)| {
                (
                    domain.clone(),
                    Dialling::new(config::presenting(&bare, own)),
                )
            })
            .collect();
        Ok(Self {
            accepting_direct: config::direct(&accepting),
            accepting,
            web: Arc::new(config::web(&bare)),
            dialling,
            dialling_bare: Dialling::new(bare),
            certificates,
            trust,
        })
    }

    /// Our certificates.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The authorities that we believe.
    #[must_use]
    pub fn trust(&self) -> &TrustRoots {
        &self.trust
    }

    /// Makes the TLS handshake with a peer that connected to us.
    ///
    /// Shows the certificate for the name that the peer asks for, if we host it, else for `fallback` (the stream's
    /// 'to'), else the first that we have (TLS-14). With `direct` the connection began with TLS and ALPN is spoken
    /// (XEP-0368).
    ///
    /// # Errors
    /// [`TlsError::Handshake`], or [`TlsError::NoCertificate`] when we have none to show. Nothing more may be sent on
    /// the connection (TLS-09).
    pub async fn accept<IO>(
        &self,
        io: IO,
        fallback: Option<&Domain>,
        direct: bool,
    ) -> Result<(TlsStream<IO>, TlsFacts), TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        if self.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let base = if direct {
            &self.accepting_direct
        } else {
            &self.accepting
        };
        let (config, by_name) = config::for_one(base, &self.certificates, fallback);
        let stream = TlsStream::accept(io, Arc::new(config))
            .await
            .map_err(|cause| TlsError::Handshake {
                peer: None,
                direct,
                cause,
            })?;
        let facts = self.facts(stream.common(), by_name.asked().map(str::to_owned));
        Ok((stream, facts))
    }

    /// Makes the TLS handshake with a server that we connected to, for streams from `local` to `remote`.
    ///
    /// Shows the certificate of `local` (TLS-13) and asks for `remote` by its A-labels (TLS-15), or by no name if it
    /// is an address. With `direct` the handshake begins the connection and offers ALPN (XEP-0368).
    ///
    /// # Errors
    /// [`TlsError::Handshake`]. Nothing more may be sent on the connection.
    pub async fn connect<IO>(
        &self,
        io: IO,
        local: &Domain,
        remote: &Domain,
        direct: bool,
    ) -> Result<(TlsStream<IO>, TlsFacts), TlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let dialling = self.dialling.get(local).unwrap_or(&self.dialling_bare);
        let name = config::server_name(remote);
        let sni = if let ServerName::DnsName(name) = &name {
            Some(name.as_ref().to_owned())
        } else {
            None
        };
        let stream = TlsStream::connect(io, dialling.config(direct), name)
            .await
            .map_err(|cause| TlsError::Handshake {
                peer: Some(remote.clone()),
                direct,
                cause,
            })?;
        let facts = self.facts(stream.common(), sni);
        Ok((stream, facts))
    }

    /// The same whoever connected, and whether or not the connection began with TLS.
    //= DTLS-03
    fn facts(&self, connection: &CommonState, sni: Option<String>) -> TlsFacts {
        let chain = connection.peer_certificates();
        // Tokio's clock, so that a test that pauses time moves a certificate's end too.
        let now = tokio::time::Instant::now().into_std();
        TlsFacts {
            evidence: evidence(chain, &self.trust, SystemTime::now(), now),
            chain: chain
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            version: connection
                .protocol_version()
                .map_or("unknown", version_name),
            cipher_suite: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .map_or_else(
                    || "unknown".to_owned(),
                    |name| name.replacen("TLS13_", "TLS_", 1),
                ),
            sni,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificates", &self.certificates)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// What a handshake established (TLS-32).
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// What the peer's certificate is worth.
    pub evidence: PeerCertificate,
    /// The certificates themselves, the peer's own first; empty if it showed none. Kept so that they can be judged
    /// again when the trust roots change, or by DANE and POSH.
    pub chain: Vec<CertificateDer<'static>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name in IANA's registry, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
    /// The server name that the connecting side asked for.
    pub sni: Option<String>,
}

/// What went wrong with TLS.
#[derive(Debug)]
pub enum TlsError {
    /// A handshake failed.
    Handshake {
        /// The domain that we dialled; none if the peer connected to us.
        peer: Option<Domain>,
        /// Whether the connection began with TLS (XEP-0368).
        direct: bool,
        /// The cause, a [`rustls::Error`] inside unless the connection itself failed.
        cause: io::Error,
    },
    /// We have no certificate to show.
    NoCertificate,
    /// Trust roots could not be loaded.
    Trust {
        /// The file; none for the system's store.
        file: Option<PathBuf>,
        /// What is wrong with it.
        problem: String,
    },
    /// A list of revoked certificates could not be loaded.
    Revocation {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The cryptographic library cannot be used.
    Setup(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake { peer, direct, cause } => {
                let (what, advice) = explain(cause, *direct);
                match peer {
                    Some(domain) => write!(f, "TLS with {domain} failed: {what}; {advice}"),
                    None => write!(f, "TLS with a connecting server failed: {what}; {advice}"),
                }
            }
            Self::NoCertificate => f.write_str(
                "there is no certificate to show; put one for each hosted domain into the certificate directory",
            ),
            Self::Trust { file: Some(file), problem } => {
                write!(f, "trust roots in {}: {problem}", file.display())
            }
            Self::Trust { file: None, problem } => write!(f, "trust roots: {problem}"),
            Self::Revocation { file, problem } => {
                write!(f, "revoked certificates in {}: {problem}", file.display())
            }
            Self::Setup(cause) => write!(
                f,
                "the cryptographic library refuses the TLS settings: {cause}; this is a defect of verona, please report it"
            ),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Handshake { cause, .. } => Some(cause),
            Self::Setup(cause) => Some(cause),
            Self::NoCertificate | Self::Trust { .. } | Self::Revocation { .. } => None,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(cause: rustls::Error) -> Self {
        Self::Setup(cause)
    }
}

/// What happened in a handshake, and what an operator can do about it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn explain(cause: &io::Error, direct: bool) -> (String, &'static str) {
    use rustls::Error as E;
    let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    match inner {
        Some(E::AlertReceived(alert)) => (format!("it sent the alert {alert:?}"), advice(*alert)),
        Some(E::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)) => (
            "it sent more than 64 KiB in one handshake message".to_owned(),
            "its certificate chain may hold what it does not need",
        ),
        Some(E::InvalidMessage(_)) => (
            "it answered with something that is not TLS".to_owned(),
            not_tls(direct),
        ),
        Some(E::PeerIncompatible(why)) => {
            (format!("we have nothing in common ({why:?})"), IN_COMMON)
        }
        Some(E::NoApplicationProtocol) => (
            "it offered no protocol that we speak".to_owned(),
            "only servers (ALPN xmpp-server) are served on this port, clients and web browsers are not",
        ),
        Some(E::InvalidCertificate(_)) => (
            "it did not prove that it has the key of its certificate".to_owned(),
            "its key is another or too weak (RSA needs 2048 bits); its operator must look at the certificate",
        ),
        Some(E::PeerMisbehaved(
            PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme
            | PeerMisbehaved::SignedKxWithWrongAlgorithm,
        )) => (
            "it signs with a key of a kind that is not accepted".to_owned(),
            "its certificate needs a key that is RSA, ECDSA on a curve of NIST, or Ed25519",
        ),
        Some(other) => (other.to_string(), "its operator's log may say more"),
        None => match cause.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => (
                "it closed the connection during the handshake".to_owned(),
                "its log may say why; often it does not host the domain, or refuses our certificate",
            ),
            _ => (
                cause.to_string(),
                "the network between the two may be at fault",
            ),
        },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn advice(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => IN_COMMON,
        AlertDescription::UnrecognisedName => {
            "it has no certificate for that domain, so it may not host it"
        }
        AlertDescription::NoApplicationProtocol => {
            "that port is not for servers (ALPN xmpp-server); the SRV record may name the wrong port"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            "it refuses our certificate: look at its dates, its names and whether the intermediates are in the file"
        }
        _ => "its operator's log may say more",
    }
}

fn not_tls(direct: bool) -> &'static str {
    if direct {
        "the port may be one for STARTTLS, though an _xmpps-server record names it"
    } else {
        "the peer or something between us breaks STARTTLS"
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        other => other.as_str().unwrap_or("unknown"),
    }
}

const IN_COMMON: &str = "it must speak TLS 1.2 or later, with forward secrecy";
