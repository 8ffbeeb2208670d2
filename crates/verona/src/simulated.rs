//! A network that a test or a simulation gives in the place of the system's.
//!
//! With [`Config::simulated`](crate::Config::simulated) and Tokio's paused clock, whole engines talk through minutes of
//! faults in milliseconds. All TCP goes through it: streams, components, and the web servers of POSH. DNS does not:
//! peers need configured addresses. Nothing else should be built on it; it may change with any version.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// Where connections lead, and what becomes of them.
pub trait SimulatedNetwork: fmt::Debug + Send + Sync {
    /// Opens a connection, from an address of ours if one is configured.
    fn dial(&self, source: Option<IpAddr>, to: SocketAddr) -> Dialling;

    /// Listens at an address, until the receiver is dropped; says which address it became.
    ///
    /// # Errors
    /// As from the system: somebody listens there, or the address is not ours.
    fn listen(&self, at: SocketAddr) -> io::Result<(SocketAddr, mpsc::Receiver<Pipe>)>;
}

/// A connection that is being opened; dropping it gives it up.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Pipe>> + Send>>;

/// One end of a connection.
pub struct Pipe {
    ends: Box<dyn Ends>,
    local: SocketAddr,
    peer: SocketAddr,
    /// What was looked at and not yet read.
    ahead: BytesMut,
}

impl Pipe {
    /// An end that reads and writes by `ends`.
    pub fn new(
        ends: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Self {
        Self {
            ends: Box::new(ends),
            local,
            peer,
            ahead: BytesMut::new(),
        }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Waits for something to read, and copies as much of it as fits without taking it.
    pub(crate) async fn peek(&mut self, seen: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            self.ends.read_buf(&mut self.ahead).await?;
        }
        let (from, to) = (self.ahead.iter(), seen.iter_mut());
        Ok(to.zip(from).map(|(to, from)| *to = *from).count())
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipe({} → {})", self.local, self.peer)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.ends).poll_read(context, read);
        }
        let count = self.ahead.len().min(read.remaining());
        read.put_slice(self.ahead.get(..count).unwrap_or_default());
        self.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.ends).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ends).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ends).poll_shutdown(context)
    }
}

/// What a simulation reads and writes by.
trait Ends: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Ends for T {}
