//! Accepts connections: of servers by STARTTLS or direct TLS, and of components.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep};
use verona_proto::federation::{Signal, StreamKey};

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
        let mut refusals = Refusals::default();
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
                    refusals.log(peer, limit);
                    continue;
                }
            };
            let key = shared.next_stream();
            let origin = Origin::Accepted {
                direct_tls,
                admission,
            };
            let start = connection::spawn(&shared, key, tcp, peer, origin);
            shared.signal(Signal::Accepted(key)).await;
            start.now();
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
                    connection::notice_death(&tcp, StreamKey(0));
                    serve_component(&shared, tcp, peer.to_string());
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
                Ok((unix, _)) => serve_component(&shared, unix, path.clone()),
                Err(error) => rest(&error).await,
            }
        }
    })
}

/// Serves a component's connection, if there may be one more.
fn serve_component<IO>(shared: &Arc<Shared>, io: IO, peer: String)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    //= LIM-09
    let Ok(place) = Arc::clone(&shared.component_places).try_acquire_owned() else {
        tracing::warn!(
            peer,
            "a component's connection was closed at once: component_connections_max is reached"
        );
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        component::serve(shared, io, peer).await;
        drop(place);
    });
}

/// Says at most once a second that connections are refused: a flood must not fill the log as well.
#[derive(Debug, Default)]
struct Refusals {
    last: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    fn log(&mut self, peer: SocketAddr, limit: &str) {
        let now = Instant::now();
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < Duration::from_secs(1))
        {
            self.unsaid += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.last = Some(now);
        tracing::warn!(%peer, limit, unsaid, "a connection was closed at once: too many from there, or in all");
    }
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
