//! Fetches one document over HTTPS, by the rules of RFC 7711 §3 and §10 and with the suspicion of a stranger's errand.
//!
//! A web server is asked with nothing of ours but our address, believed only by a certificate for its name, followed
//! only to other https URIs, and heard only so long.

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, LOCATION, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use verona_proto::addr::Domain;
use verona_proto::discovery::DiscoveryErrorKind;
use verona_proto::federation::Errand;

use super::PoshFailure;
use super::document::Document;
use super::url::Url;
use crate::dialer::guard::Guard;
use crate::resolver::Resolver;
use crate::tls::{Tls, WebTlsError};
use crate::wire::{Tcp, Wire};

/// What is needed to reach a web server, and for whose sake it is reached.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) domain: &'a Domain,
    pub(super) errand: Errand,
    pub(super) resolver: &'a Resolver,
    pub(super) guard: &'a Guard,
    pub(super) wire: &'a Wire,
    /// Where our connections come from; at most one of each family.
    pub(super) sources: &'a [IpAddr],
    pub(super) tls: &'a Tls,
}

/// What one look-up may still cause, all its documents together.
pub(super) struct Budget {
    pub(super) redirects: usize,
    pub(super) connections: usize,
}

impl Way<'_> {
    /// The document at `url`, or where that redirects to, and where it was at last.
    pub(super) async fn document(
        &self,
        mut url: Url,
        budget: &mut Budget,
    ) -> Result<(Url, Document), PoshFailure> {
        loop {
            match self.get(&url, budget).await? {
                Answer::Document(bytes) => {
                    return match Document::read(&bytes) {
                        Ok(document) => Ok((url, document)),
                        Err(why) => Err(PoshFailure::definite(format!(
                            "{url} cannot be used: {why}"
                        ))),
                    };
                }
                Answer::Redirect(to) => {
                    //= DNS-21
                    let next = url.follow(&to).map_err(|why| {
                        PoshFailure::definite(format!("the redirect at {url} {why}"))
                    })?;
                    budget.redirects = budget.redirects.checked_sub(1).ok_or_else(|| {
                        PoshFailure::definite(format!(
                            "{url} redirects once more, which is too often"
                        ))
                    })?;
                    url = next;
                }
            }
        }
    }

    /// One request on a connection of its own.
    async fn get(&self, url: &Url, budget: &mut Budget) -> Result<Answer, PoshFailure> {
        let tcp = self.connect(url, budget).await?;
        let tls = self.secure(url, tcp).await?;
        let request = Request::get(&url.path)
            .header(HOST, url.authority())
            .header(USER_AGENT, "verona")
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|cause| {
                PoshFailure::definite(format!("{url} cannot be asked for: {cause}"))
            })?;
        let broke = |cause: hyper::Error| {
            PoshFailure::passing(format!("{url} could not be read: {}", root(&cause)))
        };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(broke)?;
        let mut exchange = pin!(async {
            let response = sender.send_request(request).await.map_err(broke)?;
            answer(url, response).await
        });
        // The connection moves the bytes of the exchange; whatever becomes of it, the exchange is told.
        tokio::select! {
            answer = &mut exchange => answer,
            _ = connection => exchange.await,
        }
    }

    /// A connection to the first address of the host that may be dialled and answers.
    async fn connect(&self, url: &Url, budget: &mut Budget) -> Result<Tcp, PoshFailure> {
        let host = url.host.ascii();
        let (ipv6, ipv4) = self.resolver.addresses_of(host).await.map_err(|error| {
            let text = format!("{url} cannot be asked for: {error}");
            match error.kind {
                DiscoveryErrorKind::NotFound => PoshFailure::definite(text),
                DiscoveryErrorKind::Temporary => PoshFailure::passing(text),
            }
        })?;
        let nowhere = format!("{url} cannot be asked for: {host} has no address");
        let mut failure = PoshFailure::definite(nowhere);
        for address in in_turns(ipv6, ipv4) {
            let address = SocketAddr::new(address, url.port);
            match self.dial(url, address, budget).await {
                Ok(tcp) => return Ok(tcp),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    async fn dial(
        &self,
        url: &Url,
        address: SocketAddr,
        budget: &mut Budget,
    ) -> Result<Tcp, PoshFailure> {
        let refuse = |why: &dyn fmt::Display| format!("{url} is not asked for: {why}");
        //= DNS-21
        let turn = self.guard.pass(self.domain, address, self.errand);
        match timeout(TURN, turn).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) if refusal.is_ours() => {
                return Err(PoshFailure::ours(refuse(&refusal)));
            }
            Ok(Err(refusal)) => return Err(PoshFailure::definite(refuse(&refusal))),
            Err(_) => {
                let why = format_args!("many connections to {address} are being opened already");
                return Err(PoshFailure::ours(refuse(&why)));
            }
        }
        budget.connections = budget.connections.checked_sub(1).ok_or_else(|| {
            PoshFailure::definite(refuse(&"too many of its servers were tried in vain"))
        })?;
        match timeout(CONNECT, self.wire.dial(self.sources, address)).await {
            Ok(Ok(tcp)) => Ok(tcp),
            Ok(Err(cause)) => Err(PoshFailure::passing(format!(
                "{url} cannot be asked for: no connection to {address}: {cause}"
            ))),
            Err(_) => Err(PoshFailure::passing(format!(
                "{url} cannot be asked for: no connection to {address} within {} s",
                CONNECT.as_secs()
            ))),
        }
    }

    /// TLS with a server that proves to be the URI's host (RFC 7711 §10). A wrong certificate stays wrong until somebody
    /// does something.
    async fn secure(&self, url: &Url, tcp: Tcp) -> Result<TlsStream<Tcp>, PoshFailure> {
        //= DNS-21
        let secured = self.tls.connect_to_web(tcp, &url.host).await;
        secured.map_err(|why| {
            let text = format!("{url} cannot be believed: {why}");
            match why {
                WebTlsError::NotBelieved(_) => PoshFailure::definite(text),
                WebTlsError::Handshake(_) => PoshFailure::passing(text),
            }
        })
    }
}

/// What a web server says.
enum Answer {
    Document(Bytes),
    Redirect(String),
}

async fn answer(url: &Url, response: Response<Incoming>) -> Result<Answer, PoshFailure> {
    let status = response.status();
    let headers = response.headers();
    if REDIRECTS.contains(&status) {
        let to = headers.get(LOCATION).and_then(|to| to.to_str().ok());
        return match to {
            Some(to) => Ok(Answer::Redirect(to.to_owned())),
            None => Err(PoshFailure::definite(format!(
                "{url} redirects, and does not say where to"
            ))),
        };
    }
    if !status.is_success() {
        let text = format!("{url} answered {status}");
        return Err(if is_passing(status) {
            PoshFailure::passing(text)
        } else {
            PoshFailure::definite(text)
        });
    }
    if let Some(coding) = headers.get(CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(PoshFailure::definite(format!(
            "{url} came encoded ({coding:?}), which was not asked for"
        )));
    }
    body(url, response.into_body()).await.map(Answer::Document)
}

async fn body(url: &Url, mut body: Incoming) -> Result<Bytes, PoshFailure> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|cause| PoshFailure::passing(format!("{url} broke off: {}", root(&cause))))?;
        // Trailers say nothing that matters.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > DOCUMENT_BYTES_MAX {
            return Err(PoshFailure::definite(format!(
                "{url} has more than {DOCUMENT_BYTES_MAX} bytes"
            )));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// A server that is out of order or overrun may be well in a moment.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// The innermost cause: what hyper says around it is about hyper.
fn root(error: &hyper::Error) -> String {
    let mut innermost = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        innermost = cause.to_string();
        next = cause.source();
    }
    innermost
}

/// The families by turns, so that a dead one delays little (RFC 8305 §4); not all of what a stranger lists.
fn in_turns(
    ipv6: impl IntoIterator<Item: Into<IpAddr>>,
    ipv4: impl IntoIterator<Item: Into<IpAddr>>,
) -> Vec<IpAddr> {
    let (mut ipv6, mut ipv4) = (ipv6.into_iter(), ipv4.into_iter());
    let mut addresses = Vec::new();
    for _ in 0..ADDRESSES_MAX / 2 {
        addresses.extend(ipv6.next().map(Into::into));
        addresses.extend(ipv4.next().map(Into::into));
    }
    addresses
}

/// Those that leave the method as it is or make it GET, which it was (RFC 9110 §15.4).
const REDIRECTS: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
/// Of a document: a thousand times what one certificate needs.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Of status line and header fields, and of what is read at once.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 4;
/// For one's turn at an address that many want to dial: whoever has to wait longer has been told nothing of the domain.
const TURN: Duration = Duration::from_secs(2);
/// For one connection, so that there is time for another.
const CONNECT: Duration = Duration::from_secs(2);
