//! A pipe that gives and takes its bytes in pieces, and peers whose bytes a test has in its hands.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::*;

/// One end of a pipe, through which no more goes at once than `sizes` says.
pub(super) struct Chopped {
    inner: DuplexStream,
    sizes: Sizes,
    /// It takes so much more and breaks then.
    pub(super) takes: usize,
}

/// How much goes at once.
pub(super) enum Sizes {
    Exactly(usize),
    /// Anything from nothing at all, for now, to this.
    Random(Random, usize),
}

impl Chopped {
    pub(super) fn new(inner: DuplexStream, sizes: Sizes) -> Self {
        Self {
            inner,
            sizes,
            takes: usize::MAX,
        }
    }

    fn next(&mut self, context: &Context<'_>) -> Poll<usize> {
        match &mut self.sizes {
            Sizes::Exactly(size) => Poll::Ready(*size),
            Sizes::Random(random, most) => match random.below(*most + 1) {
                0 => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                size => Poll::Ready(size),
            },
        }
    }
}

impl AsyncRead for Chopped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = ready!(self.next(context)).min(read.remaining());
        let mut piece = vec![0; size];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut piece))?;
        read.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chopped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let size = ready!(self.next(context)).min(bytes.len()).min(self.takes);
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, &bytes[..size]))?;
        self.takes -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The same numbers for the same seed (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

pub(super) type Peer = tokio_rustls::TlsStream<DuplexStream>;

/// What `peer` would send for `plaintext`, in records of its own.
pub(super) fn ciphertext(peer: &mut Peer, plaintext: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match peer {
        Peer::Client(stream) => {
            let protocol = stream.get_mut().1;
            protocol.writer().write_all(plaintext).unwrap();
            while protocol.wants_write() {
                protocol.write_tls(&mut bytes).unwrap();
            }
        }
        Peer::Server(stream) => {
            let protocol = stream.get_mut().1;
            protocol.writer().write_all(plaintext).unwrap();
            while protocol.wants_write() {
                protocol.write_tls(&mut bytes).unwrap();
            }
        }
    }
    bytes
}

/// Sends bytes as they are, past the TLS of the peer.
pub(super) async fn raw(peer: &mut Peer, bytes: &[u8]) {
    let io = match peer {
        Peer::Client(stream) => stream.get_mut().0,
        Peer::Server(stream) => stream.get_mut().0,
    };
    io.write_all(bytes).await.unwrap();
}

/// Has the peer change its keys, and ask that we change ours.
pub(super) fn refresh_keys(peer: &mut Peer) {
    match peer {
        Peer::Client(stream) => stream.get_mut().1.refresh_traffic_keys().unwrap(),
        Peer::Server(stream) => stream.get_mut().1.refresh_traffic_keys().unwrap(),
    }
}
