//! A small XEP-0114 component, attached as any program in any language would be.
//!
//! The demonstration sends and receives nothing behind the engines' backs: its stanzas come in over this socket.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verona_xml::{Limits, Scan, Scanner};

use super::world;

/// An attached component.
pub(super) struct Component {
    domain: &'static str,
    stream: TcpStream,
    scanner: Scanner,
    pending: Vec<u8>,
}

/// What a component is sent.
pub(super) struct Stanza {
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) id: Option<String>,
    pub(super) from: Option<String>,
    /// As it came.
    pub(super) xml: String,
}

enum Piece {
    Header { id: String },
    Element(Stanza),
}

impl Component {
    /// Connects and proves to know the secret (XEP-0114 §3).
    pub(super) async fn attach(at: SocketAddr, domain: &'static str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(at)
            .await
            .with_context(|| format!("the component of {domain} cannot connect to {at}"))?;
        stream.set_nodelay(true)?;
        let mut component = Self {
            domain,
            stream,
            scanner: Scanner::new(Limits::default()),
            pending: Vec::new(),
        };
        component
            .send(&format!(
                "<stream:stream xmlns='jabber:component:accept' \
                 xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
            ))
            .await?;
        let Piece::Header { id } = component.read().await? else {
            bail!("{domain}: the server did not begin with a stream header");
        };
        let digest = Sha1::digest(format!("{id}{}", world::secret(domain)));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        component
            .send(&format!("<handshake>{hex}</handshake>"))
            .await?;
        match component.read().await? {
            Piece::Element(element) if element.name == "handshake" => Ok(component),
            Piece::Element(element) => {
                bail!("{domain}: the handshake was answered by {}", element.xml)
            }
            Piece::Header { .. } => bail!("{domain}: the handshake was answered by another header"),
        }
    }

    /// Writes a stanza.
    pub(super) async fn send(&mut self, xml: &str) -> anyhow::Result<()> {
        self.stream
            .write_all(xml.as_bytes())
            .await
            .with_context(|| format!("the component of {} lost its connection", self.domain))
    }

    /// The next stanza.
    pub(super) async fn receive(&mut self) -> anyhow::Result<Stanza> {
        let piece = tokio::time::timeout(RECEIVE_TIMEOUT, self.read())
            .await
            .with_context(|| {
                format!(
                    "nothing arrived at {} within {} s",
                    self.domain,
                    RECEIVE_TIMEOUT.as_secs()
                )
            })??;
        match piece {
            Piece::Element(stanza) => Ok(stanza),
            Piece::Header { .. } => bail!("the stream of {} began anew", self.domain),
        }
    }

    async fn read(&mut self) -> anyhow::Result<Piece> {
        loop {
            if let Some(piece) = self.next()? {
                return Ok(piece);
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                bail!(
                    "the server closed the connection of the component of {}",
                    self.domain
                );
            }
            self.pending.extend(buffer.iter().take(count));
        }
    }

    /// What is complete in the bytes that have arrived.
    fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        loop {
            let (len, piece) = match self.scanner.scan(&self.pending)? {
                Scan::More => return Ok(None),
                Scan::Space { len } | Scan::Declaration { len } => (len, None),
                Scan::Close { .. } => bail!("the server closed the stream of {}", self.domain),
                Scan::Header { len, head } => {
                    let id = head.id(&self.pending).unwrap_or_default().into_owned();
                    (len, Some(Piece::Header { id }))
                }
                Scan::Element { len, head } => {
                    let bytes = &self.pending;
                    let text = |value: Option<std::borrow::Cow<'_, str>>| {
                        value.map(std::borrow::Cow::into_owned)
                    };
                    let element = Stanza {
                        name: head.local(bytes).to_owned(),
                        kind: text(head.kind(bytes)),
                        id: text(head.id(bytes)),
                        from: text(head.from(bytes)),
                        xml: String::from_utf8_lossy(bytes.get(..len).unwrap_or(bytes))
                            .into_owned(),
                    };
                    (len, Some(Piece::Element(element)))
                }
            };
            self.pending.drain(..len.min(self.pending.len()));
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }
}

/// Longer than any handshake on loopback, shorter than anybody's patience.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(4);
