//! All TCP of the engine: the system's, or that of a simulated network. No other file opens a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::simulated::{Pipe, SimulatedNetwork};

/// Where the engine dials and listens.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    System,
    Simulated(Arc<dyn SimulatedNetwork>),
}

impl Wire {
    pub(crate) fn new(simulated: Option<Arc<dyn SimulatedNetwork>>) -> Self {
        simulated.map_or(Self::System, Self::Simulated)
    }

    /// Opens a connection, from the first of `sources` that is of the address's family.
    pub(crate) async fn dial(&self, sources: &[IpAddr], to: SocketAddr) -> io::Result<Tcp> {
        let same_family = |source: &&IpAddr| source.is_ipv4() == to.is_ipv4();
        let source = sources.iter().find(same_family).copied();
        match self {
            Self::System => {
                let socket = match to {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                if let Some(source) = source {
                    socket.bind(SocketAddr::new(source, 0))?;
                }
                socket.connect(to).await.map(Tcp::System)
            }
            Self::Simulated(network) => {
                let pipe = network.dial(source, to).await?;
                Ok(Tcp::Simulated(Box::new(pipe)))
            }
        }
    }

    /// Binds a listener; `[::]` takes IPv4 as well where the system does so.
    pub(crate) async fn listen(&self, at: SocketAddr) -> io::Result<Listener> {
        match self {
            Self::System => TcpListener::bind(at).await.map(Listener::System),
            Self::Simulated(network) => network
                .listen(at)
                .map(|(at, pipes)| Listener::Simulated(at, pipes)),
        }
    }
}

/// Takes connections.
#[derive(Debug)]
pub(crate) enum Listener {
    System(TcpListener),
    Simulated(SocketAddr, mpsc::Receiver<Pipe>),
}

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::System(listener) => listener.local_addr(),
            Self::Simulated(at, _) => Ok(*at),
        }
    }

    /// The next connection, and where it comes from. Giving up the wait loses none.
    pub(crate) async fn accept(&mut self) -> io::Result<(Tcp, SocketAddr)> {
        match self {
            Self::System(listener) => {
                let (tcp, peer) = listener.accept().await?;
                Ok((Tcp::System(tcp), peer))
            }
            Self::Simulated(_, pipes) => match pipes.recv().await {
                Some(pipe) => {
                    let peer = pipe.peer();
                    Ok((Tcp::Simulated(Box::new(pipe)), peer))
                }
                None => Err(io::Error::other("the simulated network has ended")),
            },
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) enum Tcp {
    System(TcpStream),
    /// Boxed, for each connection of the system's would have room for one.
    Simulated(Box<Pipe>),
}

impl Tcp {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::System(tcp) => tcp.local_addr(),
            Self::Simulated(pipe) => Ok(pipe.local()),
        }
    }

    /// The socket, where there is one that has options.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::System(tcp) => Some(tcp),
            Self::Simulated(_) => None,
        }
    }

    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket().map_or(Ok(()), |tcp| tcp.set_nodelay(nodelay))
    }

    /// Waits for something to read, and copies as much of it as fits without taking it; 0 means the end.
    pub(crate) async fn peek(&mut self, seen: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::System(tcp) => tcp.peek(seen).await,
            Self::Simulated(pipe) => pipe.peek(seen).await,
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_read(context, read),
            Self::Simulated(pipe) => Pin::new(pipe).poll_read(context, read),
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Simulated(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Simulated(pipe) => Pin::new(pipe).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::System(tcp) => tcp.is_write_vectored(),
            Self::Simulated(pipe) => pipe.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Simulated(pipe) => Pin::new(pipe).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Simulated(pipe) => Pin::new(pipe).poll_shutdown(context),
        }
    }
}
