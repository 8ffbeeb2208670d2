//! Asks a running daemon over HTTP, on TCP or a Unix socket.
//!
//! The command line needs one request and one answer from this machine: hyper alone does that.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use verona::config::ListenAddress;

use super::token::Token;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Nobody listens there.
    NotRunning(String),
    /// Somebody does, but does not answer as verona would.
    Strange(String),
}

/// What is asked: a method, a path, and the token if it changes something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a Token>,
}

/// Sends a request without a body, and reads the answer.
pub(super) async fn request(
    address: &ListenAddress,
    asked: Asked<'_>,
    timeout: Duration,
) -> Result<(StatusCode, Bytes), NoAnswer> {
    let exchange = async {
        match address {
            ListenAddress::Tcp(at) => {
                let stream = TcpStream::connect(reachable(*at))
                    .await
                    .map_err(not_running)?;
                exchange(stream, asked).await
            }
            ListenAddress::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(not_running)?;
                exchange(stream, asked).await
            }
        }
    };
    tokio::time::timeout(timeout, exchange)
        .await
        .unwrap_or_else(|_| Err(NoAnswer::Strange("no answer came in time".to_owned())))
}

async fn exchange<IO>(stream: IO, asked: Asked<'_>) -> Result<(StatusCode, Bytes), NoAnswer>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let strange = |error: hyper::Error| NoAnswer::Strange(error.to_string());
    let mut request = Request::builder()
        .method(asked.method)
        .uri(asked.path)
        .header(HOST, "localhost");
    if let Some(token) = asked.token {
        request = request.header(AUTHORIZATION, token.authorization());
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| NoAnswer::Strange(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(strange)?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(strange)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| NoAnswer::Strange(error.to_string()))?;
    Ok((status, body.to_bytes()))
}

fn not_running(error: std::io::Error) -> NoAnswer {
    NoAnswer::NotRunning(crate::config::cause(&error))
}

/// Who listens on all addresses is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A list of a hundred thousand links.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
