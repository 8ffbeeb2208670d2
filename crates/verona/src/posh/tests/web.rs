//! A web server that says what a test tells it to, byte by byte if need be: rustls and no library for HTTP, so that it can
//! do what no library would.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// One thing that the server does once it has read a request.
#[derive(Clone)]
pub(super) enum Step {
    Say(Vec<u8>),
    Wait(Duration),
    /// Says it again and again, as long as anybody listens.
    Repeat(Vec<u8>, Duration),
    /// Ends the connection without TLS's word for it.
    Cut,
}

/// An answer with this body.
pub(super) fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// An answer without a body.
pub(super) fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

pub(super) fn redirect(line: &str, to: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[derive(Debug, Default)]
struct Site {
    certificates: Mutex<BTreeMap<String, Arc<CertifiedKey>>>,
    pages: Mutex<Pages>,
    heads: Mutex<Vec<String>>,
    connections: Mutex<usize>,
}

#[derive(Default)]
struct Pages(BTreeMap<(String, String), Vec<Step>>);

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pages({})", self.0.len())
    }
}

/// The server; many hosts may be on it.
pub(super) struct Web {
    address: SocketAddr,
    site: Arc<Site>,
}

impl Web {
    pub(super) async fn new(ip: impl Into<IpAddr>) -> Self {
        Self::at(SocketAddr::new(ip.into(), 0)).await
    }

    pub(super) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Arc::<Site>::default();
        let served = Arc::clone(&site);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                *served.connections.lock().unwrap() += 1;
                tokio::spawn(serve(tcp, Arc::clone(&served)));
            }
        });
        Self { address, site }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Shows `certificate` to whoever asks for `host`.
    pub(super) fn certify(&self, host: &str, certificate: Arc<CertifiedKey>) {
        let mut certificates = self.site.certificates.lock().unwrap();
        certificates.insert(host.to_owned(), certificate);
    }

    /// Answers with these bytes and ends the connection.
    pub(super) fn serve(&self, host: &str, path: &str, bytes: impl Into<Vec<u8>>) {
        self.script(host, path, vec![Step::Say(bytes.into())]);
    }

    pub(super) fn script(&self, host: &str, path: &str, steps: Vec<Step>) {
        let page = (host.to_owned(), path.to_owned());
        self.site.pages.lock().unwrap().0.insert(page, steps);
    }

    /// The requests so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.site.heads.lock().unwrap().clone()
    }

    /// The connections so far, those without a request among them.
    pub(super) fn connections(&self) -> usize {
        *self.site.connections.lock().unwrap()
    }
}

impl ResolvesServerCert for Site {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name()?;
        self.certificates.lock().unwrap().get(host).cloned()
    }
}

async fn serve(tcp: TcpStream, site: Arc<Site>) {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&site) as _);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A client that does not believe us goes away here.
    let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else {
        return;
    };
    let host = tls.get_ref().1.server_name().unwrap().to_owned();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tls.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    site.heads.lock().unwrap().push(head);
    let steps = site.pages.lock().unwrap().0.get(&(host, path)).cloned();
    let missing = || vec![Step::Say(status("404 Not Found"))];
    for step in steps.unwrap_or_else(missing) {
        let done = match step {
            Step::Say(bytes) => tls.write_all(&bytes).await,
            Step::Wait(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Step::Repeat(bytes, pause) => loop {
                if let Err(gone) = tls.write_all(&bytes).await {
                    break Err(gone);
                }
                tokio::time::sleep(pause).await;
            },
            Step::Cut => {
                let _ = tls.flush().await;
                return;
            }
        };
        if done.is_err() {
            return;
        }
    }
    let _ = tls.shutdown().await;
}
