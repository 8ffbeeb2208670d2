//! Accepts HTTP on TCP or a Unix socket, with bounds on everything a stranger could hold open.
//!
//! The page is for a few people and programs on this machine; whoever opens a hundred connections is neither.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use verona::config::ListenAddress;

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A socket in the file system, removed when the listener goes.
    Unix(UnixListener, SocketFile),
}

/// The file of a socket; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// What the system says; a socket file on which somebody still listens is [`io::ErrorKind::AddrInUse`].
    pub(crate) async fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            ListenAddress::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                let file = SocketFile(path.clone());
                // The owner and the group: the directory decides about the rest.
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// Where it is bound; port 0 is resolved.
    pub(crate) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.0.clone())),
        }
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, router: Router) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            match &self {
                Self::Tcp(listener) => match listener.accept().await {
                    Ok((stream, peer)) => take(stream, Some(peer), &router, &places),
                    Err(error) => rest(&error).await,
                },
                Self::Unix(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => take(stream, None, &router, &places),
                    Err(error) => rest(&error).await,
                },
            }
        }
    }
}

/// Serves one request on a connection, if there is a place for it.
fn take<IO>(stream: IO, peer: Option<SocketAddr>, router: &Router, places: &Arc<Semaphore>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        tracing::debug!(
            ?peer,
            "an admin connection was closed: {CONNECTIONS_MAX} are open"
        );
        return;
    };
    let service = TowerToHyperService::new(router.clone());
    tokio::spawn(async move {
        let _place = place;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            // One request each: what idles holds no place.
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(EXCHANGE_TIMEOUT, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(?peer, %error, "an admin connection failed"),
            Err(_) => tracing::debug!(?peer, "an admin connection took too long"),
        }
    });
}

/// Waits a moment: an error of accept, such as too many open files, does not pass at once.
async fn rest(error: &io::Error) {
    tracing::warn!(%error, "cannot accept an admin connection");
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Removes the socket of a process that has gone.
async fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        // Anything else is not ours to remove: bind says that it is there.
        Ok(_) | Err(_) => return Ok(()),
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens on it",
        )),
        Err(_) => std::fs::remove_file(path),
    }
}

/// Connections at once.
const CONNECTIONS_MAX: usize = 32;

/// For the whole header: a person's browser needs milliseconds.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// For a request and its answer; the longest ping takes 60 s.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(75);

/// Of one connection; hyper wants 8 KiB at least.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

const HEADERS_MAX: usize = 64;
