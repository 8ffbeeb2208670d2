//! A program between one peer and one component that knows nothing of XMPP: TLS on one side, none on the other.
//! Why a process of its own: it is measured as a server is, by the kernel, with the same load.

use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConnection;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use verona_xml::{Limits, Scan, Scanner};

use super::HEADER;

/// What it is told.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the peer connects, with TLS.
    #[arg(long)]
    peers: SocketAddr,
    /// Where the component connects.
    #[arg(long)]
    components: SocketAddr,
    /// Certificate and key.
    #[arg(long)]
    certificate: PathBuf,
    /// Whether everything is scanned on the way.
    #[arg(long)]
    scan: bool,
}

/// Relays for peers and components, a pair of them at a time, until the process is ended.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let chain = vec![CertificateDer::from_pem_file(&arguments.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&arguments.certificate)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let config = Arc::new(config);
    let peers = TcpListener::bind(arguments.peers)?;
    let components = TcpListener::bind(arguments.components)?;
    loop {
        let (component, _) = components.accept()?;
        let (mut peer, _) = peers.accept()?;
        let mut tls = ServerConnection::new(Arc::clone(&config))?;
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut peer)?;
        }
        tls.set_buffer_limit(None);
        for tcp in [&peer, &component] {
            tcp.set_nodelay(true)?;
            tcp.set_nonblocking(true)?;
        }
        let relay = Relay {
            peer: TcpStream::from_std(peer),
            component: TcpStream::from_std(component),
            tls,
            to_component: Vec::new(),
            inbound: Check::new(arguments.scan)?,
            outbound: Check::new(arguments.scan)?,
        };
        // It ends with its connections; the next pair may come.
        let _ = relay.carry();
    }
}

struct Relay {
    peer: TcpStream,
    component: TcpStream,
    tls: ServerConnection,
    to_component: Vec<u8>,
    inbound: Check,
    outbound: Check,
}

impl Relay {
    fn carry(mut self) -> Result<()> {
        let mut poll = Poll::new()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut self.peer, PEER, both)?;
        poll.registry()
            .register(&mut self.component, COMPONENT, both)?;
        let mut events = Events::with_capacity(16);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            poll.poll(&mut events, None)?;
            for event in &events {
                if event.is_readable() {
                    match event.token() {
                        PEER => self.hear_peer(&mut buffer)?,
                        _ => self.hear_component(&mut buffer)?,
                    }
                }
            }
            // All that came in one turn goes out at once.
            self.write()?;
        }
    }

    fn hear_peer(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            let Some(length) = some(self.peer.read(buffer))? else {
                return Ok(());
            };
            let mut bytes = buffer.get(..length).unwrap_or_default();
            while !bytes.is_empty() {
                self.tls.read_tls(&mut bytes)?;
                let state = self.tls.process_new_packets()?;
                let mut left = state.plaintext_bytes_to_read();
                let mut reader = self.tls.reader();
                while left > 0 {
                    let text = reader.fill_buf()?;
                    let taken = text.len();
                    self.inbound.pass(text, &mut self.to_component)?;
                    reader.consume(taken);
                    left = left.saturating_sub(taken.max(1));
                }
            }
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    fn hear_component(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            let Some(length) = some(self.component.read(buffer))? else {
                return Ok(());
            };
            let text = buffer.get(..length).unwrap_or_default();
            self.outbound.pass(text, &mut self.tls.writer())?;
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        while self.tls.wants_write() && some(self.tls.write_tls(&mut self.peer))?.is_some() {}
        while !self.to_component.is_empty() {
            let Some(taken) = some(self.component.write(&self.to_component))? else {
                return Ok(());
            };
            self.to_component.drain(..taken);
        }
        Ok(())
    }
}

/// Lets everything pass, or everything that was scanned.
enum Check {
    No,
    Scan {
        scanner: Box<Scanner>,
        pending: Vec<u8>,
    },
}

impl Check {
    fn new(scan: bool) -> Result<Self> {
        if !scan {
            return Ok(Self::No);
        }
        let mut scanner = Box::new(Scanner::new(Limits::default()));
        if !matches!(scanner.scan(HEADER)?, Scan::Header { .. }) {
            bail!("our own header is none");
        }
        Ok(Self::Scan {
            scanner,
            pending: Vec::new(),
        })
    }

    fn pass(&mut self, text: &[u8], out: &mut impl std::io::Write) -> Result<()> {
        match self {
            Self::No => out.write_all(text)?,
            Self::Scan { scanner, pending } => {
                pending.extend_from_slice(text);
                let mut done = 0;
                while let Some(rest) = pending.get(done..).filter(|rest| !rest.is_empty()) {
                    match scanner.scan(rest)? {
                        Scan::More => break,
                        Scan::Element { len, .. } | Scan::Space { len } => done += len,
                        Scan::Declaration { .. } | Scan::Header { .. } | Scan::Close { .. } => {
                            bail!("not a stanza")
                        }
                    }
                }
                out.write_all(pending.get(..done).unwrap_or_default())?;
                pending.drain(..done);
            }
        }
        Ok(())
    }
}

/// What was done, or nothing for the moment.
fn some(done: std::io::Result<usize>) -> Result<Option<usize>> {
    match done {
        Ok(0) => bail!("the other side has left"),
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error).context("a connection broke"),
    }
}

const PEER: Token = Token(0);
const COMPONENT: Token = Token(1);
const READ_BYTES: usize = 128 * 1024;
