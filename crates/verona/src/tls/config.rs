//! The configurations for rustls: which certificate is shown to whom, and what is switched off.
//!
//! Federation connections live for hours, so a resumed handshake saves nothing worth its state, and 0-RTT would
//! let anybody replay stanzas: both are off in both directions (TLS-29, TLS-30).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use verona_proto::addr::Domain;

use super::certificates::{Certificates, OwnCertificate};
use super::verify::DeferredVerifier;

/// For peers that connect to us by STARTTLS.
pub(super) fn server(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<DeferredVerifier>,
    certificates: &Certificates,
) -> Result<ServerConfig, rustls::Error> {
    //= TLS-26
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::clone(verifier) as _)
        .with_cert_resolver(Arc::new(ByName::new(certificates, None)));
    //= TLS-29
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    //= TLS-30
    config.max_early_data_size = 0;
    Ok(config)
}

/// As `base`, for a connection that began with TLS.
pub(super) fn direct(base: &ServerConfig) -> ServerConfig {
    let mut config = base.clone();
    //= DTLS-08
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

/// As `base`, for one handshake, of a stream that is addressed to `fallback` where that is known. The second notes which
/// name the client asks for.
pub(super) fn for_one(
    base: &ServerConfig,
    certificates: &Certificates,
    fallback: Option<&Domain>,
) -> (ServerConfig, Arc<ByName>) {
    let by_name = Arc::new(ByName::new(certificates, fallback));
    let mut config = base.clone();
    config.cert_resolver = Arc::clone(&by_name) as _;
    (config, by_name)
}

/// For servers that we connect to by STARTTLS, without a certificate of ours.
pub(super) fn client(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<DeferredVerifier>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as _)
        .with_no_client_auth();
    //= TLS-29
    config.resumption = Resumption::disabled();
    //= TLS-30
    config.enable_early_data = false;
    Ok(config)
}

/// As `base`, for web servers: they speak another protocol.
pub(super) fn web(base: &ClientConfig) -> ClientConfig {
    let mut config = base.clone();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    config
}

/// As `base`, showing a certificate to a server that asks for one.
pub(super) fn presenting(base: &ClientConfig, own: &OwnCertificate) -> ClientConfig {
    let mut config = base.clone();
    //= TLS-13
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(own.key())));
    config
}

/// The name for SNI, which is the domain's and not that of the server that DNS named for it; an address, which rustls
/// does not send, for what cannot stand there (RFC 6066 §3).
pub(super) fn server_name(remote: &Domain) -> ServerName<'static> {
    //= TLS-15
    //= DTLS-06
    //= DNS-11
    let name = remote.ascii();
    let bare = name
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(name);
    if let Ok(v6) = bare.parse::<Ipv6Addr>() {
        return ServerName::from(IpAddr::V6(v6));
    }
    ServerName::try_from(name.to_owned())
        .unwrap_or_else(|_| ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// The two ways to connect on behalf of one domain of ours.
pub(super) struct Dialling {
    starttls: Arc<ClientConfig>,
    direct: Arc<ClientConfig>,
}

impl Dialling {
    pub(super) fn new(starttls: ClientConfig) -> Self {
        let mut direct = starttls.clone();
        //= DTLS-07
        direct.alpn_protocols = vec![ALPN.to_vec()];
        Self {
            starttls: Arc::new(starttls),
            direct: Arc::new(direct),
        }
    }

    pub(super) fn config(&self, direct: bool) -> Arc<ClientConfig> {
        Arc::clone(if direct { &self.direct } else { &self.starttls })
    }
}

/// Chooses the certificate to show: that of the name asked for, else of the stream's 'to', else the first.
#[derive(Debug)]
pub(super) struct ByName {
    certificates: Certificates,
    fallback: Option<Domain>,
    asked: OnceLock<String>,
}

impl ByName {
    fn new(certificates: &Certificates, fallback: Option<&Domain>) -> Self {
        Self {
            certificates: certificates.clone(),
            fallback: fallback.cloned(),
            asked: OnceLock::new(),
        }
    }

    /// The name that the client asked for.
    pub(super) fn asked(&self) -> Option<&str> {
        self.asked.get().map(String::as_str)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        //= TLS-14
        let asked = hello.server_name();
        if let Some(name) = asked {
            // A client that has to say hello twice asks for the same name.
            self.asked.get_or_init(|| name.to_owned());
        }
        asked
            .and_then(|name| Domain::parse(name).ok())
            .and_then(|domain| self.certificates.get(&domain))
            .or_else(|| {
                self.fallback
                    .as_ref()
                    .and_then(|domain| self.certificates.get(domain))
            })
            .or_else(|| self.certificates.first())
            .map(|own| Arc::clone(own.key()))
    }
}

/// The protocol name of server-to-server XMPP (XEP-0368 §3).
const ALPN: &[u8] = b"xmpp-server";
/// HTTP/1.1 (RFC 7301 §6).
const ALPN_HTTP: &[u8] = b"http/1.1";
