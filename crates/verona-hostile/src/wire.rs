//! One connection: bytes of any kind out, elements in, STARTTLS between.
//! Why sending never fails: a server that hangs up in the middle of an attack has answered, and the next read tells how.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::element::{Heard, Reader};

/// What was said on the connections of a case, the latest last.
#[derive(Clone, Default)]
pub struct Trail(Arc<Mutex<Vec<String>>>);

impl Trail {
    /// Adds a line.
    pub fn note(&self, line: impl Into<String>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = line.into();
        // A flood shall not fill the report.
        if lines.len() < LINES_MAX {
            lines.push(line);
        } else if let Some(last) = lines.last_mut() {
            *last = line;
        }
    }

    /// The last lines.
    #[must_use]
    pub fn last(&self, number: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = lines.len().saturating_sub(number);
        lines.get(from..).unwrap_or_default().to_vec()
    }
}

const LINES_MAX: usize = 200;

/// A connection to the target, or from it.
pub struct Wire {
    transport: Transport,
    reader: Reader,
    trail: Trail,
    label: String,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed, or we hung up.
    Gone,
}

impl Wire {
    /// Takes a connection; `label` names it in the trail.
    #[must_use]
    pub fn new(stream: TcpStream, label: &str, trail: Trail) -> Self {
        // Without it, what is written byte by byte waits for acknowledgements; a socket that cannot is no worse.
        let _ = stream.set_nodelay(true);
        Self {
            transport: Transport::Plain(stream),
            reader: Reader::default(),
            trail,
            label: label.to_owned(),
        }
    }

    /// Writes, as far as the other side takes it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let shown: String = String::from_utf8_lossy(bytes).chars().take(SHOWN).collect();
        self.trail.note(format!("{} > {shown}", self.label));
        self.send_quietly(bytes).await;
    }

    /// Writes without a word in the trail.
    pub async fn send_quietly(&mut self, bytes: &[u8]) {
        let written = async {
            match &mut self.transport {
                Transport::Plain(stream) => stream.write_all(bytes).await,
                Transport::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Transport::Gone => Ok(()),
            }
        };
        match timeout(WRITE_MAX, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self
                .trail
                .note(format!("{} ! not written: {error}", self.label)),
            Err(_) => self
                .trail
                .note(format!("{} ! not taken within {WRITE_MAX:?}", self.label)),
        }
    }

    /// The next thing that is heard within `wait`.
    pub async fn hear(&mut self, wait: Duration) -> Heard {
        let until = Instant::now() + wait;
        loop {
            if let Some(heard) = self.reader.next_heard() {
                self.note(&heard);
                return heard;
            }
            let mut buffer = vec![0_u8; 16 * 1024];
            let read = async {
                match &mut self.transport {
                    Transport::Plain(stream) => stream.read(&mut buffer).await,
                    Transport::Tls(stream) => stream.read(&mut buffer).await,
                    Transport::Gone => Ok(0),
                }
            };
            let heard = match timeout_at(until, read).await {
                Err(_) => Heard::Silence,
                Ok(Ok(0)) => Heard::Eof,
                // A TLS connection that ends without a goodbye has ended all the same.
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Heard::Eof,
                Ok(Err(error)) => Heard::Broken(error.to_string()),
                Ok(Ok(size)) => {
                    self.reader.feed(buffer.get(..size).unwrap_or_default());
                    continue;
                }
            };
            self.note(&heard);
            return heard;
        }
    }

    fn note(&self, heard: &Heard) {
        let text = match heard {
            Heard::Header(header) => header.short(),
            Heard::Element(element) => element.short(),
            Heard::End => "</stream:stream>".to_owned(),
            Heard::Eof => "end of the connection".to_owned(),
            Heard::Broken(error) => format!("connection lost: {error}"),
            Heard::Garbled(error) => format!("no XML: {error}"),
            Heard::Silence => return,
        };
        self.trail.note(format!("{} < {text}", self.label));
    }

    /// What comes next belongs to a new document.
    pub fn restart(&mut self) {
        self.reader.restart();
    }

    /// TLS as the side that connects; nothing read before counts any more.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn secure_as_client(&mut self, config: Arc<ClientConfig>, name: &str) -> Result<()> {
        let stream = self.take_plain()?;
        let name = ServerName::try_from(name.to_owned())?;
        let connector = TlsConnector::from(config);
        match timeout(HANDSHAKE_MAX, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => self.transport = Transport::Tls(Box::new(stream.into())),
            Ok(Err(error)) => {
                self.trail.note(format!("{} ! TLS: {error}", self.label));
                bail!("TLS: {error}");
            }
            Err(_) => bail!("no TLS within {HANDSHAKE_MAX:?}"),
        }
        self.reader = Reader::default();
        Ok(())
    }

    /// TLS as the side that was connected to.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn secure_as_server(&mut self, config: Arc<ServerConfig>) -> Result<()> {
        let stream = self.take_plain()?;
        let acceptor = TlsAcceptor::from(config);
        match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.transport = Transport::Tls(Box::new(stream.into())),
            Ok(Err(error)) => {
                self.trail.note(format!("{} ! TLS: {error}", self.label));
                bail!("TLS: {error}");
            }
            Err(_) => bail!("no TLS within {HANDSHAKE_MAX:?}"),
        }
        self.reader = Reader::default();
        Ok(())
    }

    /// The bare connection, when there is no TLS on it yet.
    fn take_plain(&mut self) -> Result<TcpStream> {
        match std::mem::replace(&mut self.transport, Transport::Gone) {
            Transport::Plain(stream) => Ok(stream),
            secured @ (Transport::Tls(_) | Transport::Gone) => {
                self.transport = secured;
                bail!("no bare connection to secure")
            }
        }
    }

    /// Whether TLS is on.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// Hangs up without a word.
    pub fn drop_connection(&mut self) {
        self.transport = Transport::Gone;
    }

    /// Says that nothing more comes from us, and goes on listening.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn shut_down(&mut self) -> Result<()> {
        match &mut self.transport {
            Transport::Plain(stream) => stream.shutdown().await,
            Transport::Tls(stream) => stream.shutdown().await,
            Transport::Gone => Ok(()),
        }
        .context("shutting down")
    }
}

const SHOWN: usize = 120;
/// A target that takes nothing for so long is not going to.
const WRITE_MAX: Duration = Duration::from_secs(15);
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
