//! TLS with web servers, which must prove their own names before anything is asked of them (RFC 2818 §3.1).
//!
//! They are judged by the same function as peers, so the same authorities and lists of revoked certificates count.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use verona_proto::addr::Domain;
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};

use super::{Tls, config, evidence};

impl Tls {
    /// Makes the TLS handshake with the web server of `host`, which a certificate of a trusted authority must name. It is
    /// shown none of ours.
    ///
    /// # Errors
    /// [`WebTlsError`]. Nothing may be asked of the server.
    pub(crate) async fn connect_to_web<IO>(
        &self,
        io: IO,
        host: &Domain,
    ) -> Result<TlsStream<IO>, WebTlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsConnector::from(Arc::clone(&self.web))
            .connect(config::server_name(host), io)
            .await
            .map_err(WebTlsError::Handshake)?;
        let chain = stream.get_ref().1.peer_certificates();
        let now = tokio::time::Instant::now().into_std();
        //= DNS-21
        let shown = evidence(chain, &self.trust, SystemTime::now(), now);
        judge(&shown, host).map_err(WebTlsError::NotBelieved)?;
        Ok(stream)
    }
}

fn judge(shown: &PeerCertificate, host: &Domain) -> Result<(), String> {
    match &shown.chain {
        Chain::Absent => Err("it showed no certificate".to_owned()),
        Chain::Invalid(why) => Err(format!("its certificate is not trusted: {why}")),
        Chain::Valid if shown.names.iter().any(|name| names(name, host)) => Ok(()),
        Chain::Valid => {
            let others: Vec<_> = shown
                .names
                .iter()
                .take(NAMES_SHOWN_MAX)
                .map(ToString::to_string)
                .collect();
            Err(format!(
                "its certificate is for {}, not for {host}",
                others.join(", ")
            ))
        }
    }
}

/// Only a dNSName is the name of a web server.
fn names(name: &CertificateName, host: &Domain) -> bool {
    match name {
        CertificateName::Dns(_) => name.covers(host),
        CertificateName::Srv { .. } | CertificateName::XmppAddr(_) => false,
    }
}

/// Why a web server is not asked.
#[derive(Debug)]
pub(crate) enum WebTlsError {
    /// The handshake failed, or did not begin.
    Handshake(io::Error),
    /// It does not prove its name.
    NotBelieved(String),
}

impl fmt::Display for WebTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(cause) => {
                match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(rustls::Error::InvalidMessage(_)) => {
                        f.write_str("it answered with something that is not TLS")
                    }
                    Some(_) | None => write!(f, "TLS failed: {cause}"),
                }
            }
            Self::NotBelieved(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for WebTlsError {}

const NAMES_SHOWN_MAX: usize = 4;
