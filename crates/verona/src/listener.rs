//! Accepts connections: of servers by STARTTLS or direct TLS, and of components.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep};
use verona_proto::federation::Signal;

use crate::component;
use crate::connection::{self, Origin};
use crate::shared::Shared;

/// Accepts servers until it is aborted.
pub(crate) fn servers(
    shared: Arc<Shared>,
    listener: TcpListener,
    direct_tls: bool,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (tcp, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    rest(&error).await;
                    continue;
                }
            };
            let admission = match shared.gate.admit(peer.ip()) {
                Ok(admission) => admission,
                Err(limit) => {
                    //= LIM-08
                    //= ERR-04
                    tracing::warn!(%peer, limit, "a connection was closed at once: too many from there, or in all");
                    continue;
                }
            };
            let key = shared.next_stream();
            shared.signal(Signal::Accepted(key)).await;
            connection::spawn(
                &shared,
                key,
                tcp,
                peer,
                Origin::Accepted {
                    direct_tls,
                    admission,
                },
            );
        }
    })
}

/// Accepts components over TCP until it is aborted.
pub(crate) fn components_tcp(shared: Arc<Shared>, listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => {
                    let _ = tcp.set_nodelay(true);
                    tokio::spawn(component::serve(Arc::clone(&shared), tcp, peer.to_string()));
                }
                Err(error) => rest(&error).await,
            }
        }
    })
}

/// Accepts components over a socket in the file system until it is aborted.
pub(crate) fn components_unix(
    shared: Arc<Shared>,
    listener: UnixListener,
    path: String,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((unix, _)) => {
                    tokio::spawn(component::serve(Arc::clone(&shared), unix, path.clone()));
                }
                Err(error) => rest(&error).await,
            }
        }
    })
}

/// Binds a listener; `[::]` takes IPv4 as well where the system does so.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// An accept that fails does so for want of files or memory: trying at once would only burn time.
async fn rest(error: &io::Error) {
    tracing::error!("a connection could not be accepted: {error}");
    sleep(Duration::from_millis(ACCEPT_REST_MS)).await;
}

const ACCEPT_REST_MS: u64 = 100;
