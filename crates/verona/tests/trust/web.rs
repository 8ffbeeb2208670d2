//! A web server over HTTPS that has one page, or none.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::certificate::Certificate;

/// The server; it ends when it is dropped.
pub(crate) struct Web {
    page: Arc<Mutex<Page>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Page {
    document: Option<String>,
    /// How often it was asked for.
    asked: usize,
}

impl Web {
    pub(crate) async fn start(address: SocketAddr, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.key())));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let page: Arc<Mutex<Page>> = Arc::default();
        let served = Arc::clone(&page);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                connections.spawn(serve(tcp, acceptor.clone(), Arc::clone(&served)));
            }
        });
        Self { page, _task: task }
    }

    /// From here on this is the POSH document.
    pub(crate) fn publish(&self, document: String) {
        self.page.lock().unwrap().document = Some(document);
    }

    /// From here on there is none.
    pub(crate) fn withdraw(&self) {
        self.page.lock().unwrap().document = None;
    }

    /// How often the document was asked for, whether it was there or not.
    pub(crate) fn asked(&self) -> usize {
        self.page.lock().unwrap().asked
    }
}

/// One request. A client that does not believe us, or has heard enough, goes away.
async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, page: Arc<Mutex<Page>>) -> Option<()> {
    let mut tls = acceptor.accept(tcp).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await.ok()?);
    }
    let asked = head.starts_with(b"GET /.well-known/posh/xmpp-server.json HTTP/1.1\r\n");
    let document = {
        let mut page = page.lock().unwrap();
        page.asked += usize::from(asked);
        page.document.clone().filter(|_| asked)
    };
    let (status, body) = match document {
        Some(document) => ("200 OK", document),
        None => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    tls.write_all(answer.as_bytes()).await.ok()?;
    tls.shutdown().await.ok()
}
