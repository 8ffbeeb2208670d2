//! TLS over a connection, holding no buffer while nothing is under way.
//!
//! Ciphertext is read into the thread's memory and decrypted there, and plaintext is encrypted there and written from it.
//! A connection keeps only what cannot go on: the beginning of a record, plaintext that nobody asked for yet, ciphertext
//! that the socket did not take. Each of these gives its memory back when it is empty.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::protocol::{End, Protocol, Unable, Wanted};
use crate::memory;

/// A TLS connection whose handshake is done.
///
/// What is written is encrypted at once, and is on its way when a flush has succeeded. A read gives 0 when the peer has
/// said close_notify, and [`io::ErrorKind::UnexpectedEof`] when it ended the connection without. Giving up a read, a write
/// or a flush loses nothing. Both halves belong to one task: a read may have to write, and wakes whoever read last.
pub struct TlsStream<IO> {
    io: IO,
    /// Boxed, for it is large, and moved about in futures.
    state: Box<State>,
}

struct State {
    protocol: Protocol,
    receiving: Receiving,
    sending: Sending,
    /// Ciphertext with which TLS is not done: the beginning of a record, or of a handshake message.
    left: Vec<u8>,
    /// Plaintext beyond what was asked for.
    unread: Kept,
    /// Ciphertext that is to be written before any other.
    outgoing: Kept,
}

/// Bytes that wait for their turn. When the last has had it, no memory is held.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// How many of them have had theirs.
    gone: usize,
}

/// What may still come from the peer.
enum Receiving {
    Open,
    /// It has said close_notify.
    Closed,
    /// Nothing any more, in either direction.
    Failed(rustls::Error),
}

/// What may still be sent.
enum Sending {
    Open,
    /// We have said close_notify, or a write has failed.
    Closed,
}

/// What one read from the connection brought.
enum Arrived {
    Something,
    /// The end of the connection.
    End,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Makes the handshake with a server.
    ///
    /// # Errors
    /// A [`rustls::Error`] inside if TLS failed, of which the peer was told if TLS has a word for it; else that of the
    /// connection.
    pub(super) async fn connect(
        io: IO,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        Self::handshake(io, Protocol::client(config, name)).await
    }

    /// Makes the handshake with a client.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(super) async fn accept(io: IO, config: Arc<ServerConfig>) -> io::Result<Self> {
        Self::handshake(io, Protocol::server(config)).await
    }

    async fn handshake(io: IO, protocol: Result<Protocol, rustls::Error>) -> io::Result<Self> {
        let protocol = protocol.map_err(io::Error::other)?;
        let mut stream = Self {
            io,
            state: Box::new(State {
                protocol,
                receiving: Receiving::Open,
                sending: Sending::Open,
                left: Vec::new(),
                unread: Kept::default(),
                outgoing: Kept::default(),
            }),
        };
        // A client begins.
        stream.state.proceed(&mut [], &mut ReadBuf::new(&mut []));
        std::future::poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.state.check()?;
            ready!(self.poll_flushed(context))?;
            if !self.state.protocol.common().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.poll_receive(context, &mut ReadBuf::new(&mut [])))? {
                Arrived::Something => {}
                Arrived::End => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection ended within the TLS handshake",
                    )));
                }
            }
        }
    }

    /// Reads from the connection once, and takes what came.
    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Arrived>> {
        let Self { io, state } = self;
        let arrived = memory::borrow(|memory| {
            // What a record has beside its plaintext may come on top, so that a whole one is not cut for it.
            let asked = read.remaining().saturating_add(read.remaining() / 512);
            let end = asked.max(READ_LEAST).min(memory.len());
            let (room, _) = memory.split_at_mut(end);
            let mut arriving = ReadBuf::new(room);
            ready!(Pin::new(io).poll_read(context, &mut arriving))?;
            if arriving.filled().is_empty() {
                return Poll::Ready(Ok(Arrived::End));
            }
            state.receive(arriving.filled_mut(), read);
            Poll::Ready(Ok(Arrived::Something))
        });
        if matches!(self.state.receiving, Receiving::Failed(_)) {
            // The peer is told why, if that can be done at once.
            let _ = self.poll_flushed(context);
        }
        arrived
    }

    /// Writes what has to go before all else.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, state } = self;
        while !state.outgoing.rest().is_empty() {
            let written = ready!(Pin::new(&mut *io).poll_write(context, state.outgoing.rest()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.outgoing.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flushed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    /// Encrypts and writes as much as one call may, and keeps what the connection does not take.
    fn write_some(&mut self, context: &mut Context<'_>, data: &[u8]) -> io::Result<Option<usize>> {
        let Self { io, state } = self;
        let data = data.get(..WRITE_BYTES).unwrap_or(data);
        memory::borrow(|memory| {
            let Some(made) = state.make(Wanted::Data(data, memory))? else {
                return Ok(None);
            };
            let made = memory.get(..made).unwrap_or_default();
            let written = match Pin::new(io).poll_write(context, made) {
                Poll::Ready(Ok(written)) if written > 0 => written,
                Poll::Pending => 0,
                Poll::Ready(failed) => {
                    // The record is lost, and no other can take its place.
                    state.sending = Sending::Closed;
                    return Err(failed.err().unwrap_or(io::ErrorKind::WriteZero.into()));
                }
            };
            let kept = made.get(written..).unwrap_or_default();
            state.outgoing.bytes.extend_from_slice(kept);
            Ok(Some(data.len()))
        })
    }
}

impl<IO> TlsStream<IO> {
    /// What was agreed.
    pub(super) fn common(&self) -> &CommonState {
        self.state.protocol.common()
    }

    /// How much memory is held for bytes under way.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        let State {
            left,
            unread,
            outgoing,
            ..
        } = &*self.state;
        left.capacity() + unread.bytes.capacity() + outgoing.bytes.capacity()
    }

    #[cfg(test)]
    pub(super) fn connection(&mut self) -> &mut IO {
        &mut self.io
    }
}

impl State {
    /// An error once TLS has failed.
    fn check(&self) -> io::Result<()> {
        match &self.receiving {
            Receiving::Open | Receiving::Closed => Ok(()),
            Receiving::Failed(error) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()))
            }
        }
    }

    /// Takes what arrived, behind what was kept.
    fn receive(&mut self, bytes: &mut [u8], read: &mut ReadBuf<'_>) {
        // It is decrypted where it lies. What is kept is moved for nothing that comes: in however many pieces a message
        // arrives, each of its bytes is copied once.
        let mut left = std::mem::take(&mut self.left);
        if left.is_empty() {
            let taken = self.proceed(bytes, read);
            left.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            left.extend_from_slice(bytes);
            let taken = self.proceed(&mut left, read);
            left.drain(..taken.min(left.len()));
            left.shrink_to(left.len().saturating_mul(2));
        }
        match self.receiving {
            Receiving::Open if left.len() > LEFT_MAX => {
                // The bound of rustls for one message, here for all that begins with it.
                let error = InvalidMessage::HandshakePayloadTooLarge;
                self.receiving = Receiving::Failed(error.into());
            }
            Receiving::Open => self.left = left,
            // It counts no more.
            Receiving::Closed | Receiving::Failed(_) => {}
        }
    }

    /// Hands over what waits to be read.
    fn deliver(&mut self, read: &mut ReadBuf<'_>) {
        let unread = self.unread.rest();
        let count = unread.len().min(read.remaining());
        read.put_slice(unread.get(..count).unwrap_or_default());
        self.unread.advance(count);
    }

    /// Whether close_notify can still be said.
    fn is_open(&self) -> bool {
        matches!(
            (&self.sending, &self.receiving),
            (Sending::Open, Receiving::Open | Receiving::Closed)
        )
    }

    /// Says close_notify, unless TLS has answers to send first.
    fn close(&mut self) {
        let mut memory = [0; ALERT_BYTES];
        match self.make(Wanted::Close(&mut memory)) {
            Ok(Some(made)) => {
                self.sending = Sending::Closed;
                self.outgoing
                    .bytes
                    .extend_from_slice(memory.get(..made).unwrap_or_default());
            }
            Ok(None) => {}
            // There is nobody to say it to.
            Err(_) => self.sending = Sending::Closed,
        }
    }

    /// Shows bytes to TLS; says with how many it is done.
    fn proceed(&mut self, bytes: &mut [u8], read: &mut ReadBuf<'_>) -> usize {
        let unread = &mut self.unread.bytes;
        let mut deliver = |plaintext: &[u8]| {
            let (now, later) = plaintext.split_at(plaintext.len().min(read.remaining()));
            read.put_slice(now);
            unread.extend_from_slice(later);
        };
        let progress = self.protocol.proceed(
            bytes,
            Wanted::Nothing,
            &mut deliver,
            &mut self.outgoing.bytes,
        );
        match progress.end {
            End::PeerClosed => self.receiving = Receiving::Closed,
            End::Failed(error) => self.receiving = Receiving::Failed(error),
            End::Starved | End::Answers | End::Made(_) | End::Unable(_) => {}
        }
        progress.taken
    }

    /// Has TLS make something; nothing if it has answers of its own to send first.
    fn make(&mut self, wanted: Wanted<'_>) -> io::Result<Option<usize>> {
        self.check()?;
        match self.sending {
            Sending::Open => {}
            Sending::Closed => return Err(Unable::Closed.into()),
        }
        let unread = &mut self.unread.bytes;
        let mut deliver = |plaintext: &[u8]| unread.extend_from_slice(plaintext);
        let progress = self.protocol.proceed(
            &mut self.left,
            wanted,
            &mut deliver,
            &mut self.outgoing.bytes,
        );
        self.left.drain(..progress.taken.min(self.left.len()));
        match progress.end {
            End::Made(made) => Ok(Some(made)),
            End::Answers => Ok(None),
            End::PeerClosed => {
                self.receiving = Receiving::Closed;
                Ok(None)
            }
            End::Starved => Err(Unable::Closed.into()),
            End::Unable(unable) => Err(unable.into()),
            End::Failed(error) => {
                self.receiving = Receiving::Failed(error);
                self.check().map(|()| None)
            }
        }
    }
}

impl Kept {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.gone..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.gone = self.gone.saturating_add(count);
        if self.gone >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if read.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let before = read.filled().len();
            this.state.deliver(read);
            if read.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            match &this.state.receiving {
                Receiving::Open => {}
                Receiving::Closed => return Poll::Ready(Ok(())),
                Receiving::Failed(_) => return Poll::Ready(this.state.check()),
            }
            match ready!(this.poll_receive(context, read))? {
                Arrived::Something if read.filled().len() > before => return Poll::Ready(Ok(())),
                Arrived::Something => {}
                Arrived::End => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the connection ended without TLS close_notify",
                    )));
                }
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            ready!(this.poll_sent(context))?;
            if let Some(written) = this.write_some(context, data)? {
                return Poll::Ready(Ok(written));
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flushed(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.state.is_open() {
            ready!(this.poll_sent(context))?;
            this.state.close();
        }
        ready!(this.poll_sent(context))?;
        match ready!(Pin::new(&mut this.io).poll_shutdown(context)) {
            // What is ended already need not be ended.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

impl<IO> fmt::Debug for TlsStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

/// An encrypted alert takes no more.
const ALERT_BYTES: usize = 256;
/// A read from the connection may take so much though less is asked for: a full record is worth one.
const READ_LEAST: usize = 16 * 1024;
/// One write takes up to this much, four full records.
const WRITE_BYTES: usize = 64 * 1024;
/// What is kept of an unfinished handshake message, and so of anything.
const LEFT_MAX: usize = 0xffff;
const _: () = assert!(WRITE_BYTES < memory::BYTES);
