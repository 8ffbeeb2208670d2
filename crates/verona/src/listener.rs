//! Accepts connections: of servers by STARTTLS or direct TLS, and of components; straight from them or through a proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep};
use verona_proto::federation::{Signal, StreamKey};
use verona_proto::limits::{Limit, seconds, size};

use crate::component;
use crate::config::Config;
use crate::connection::{self, Origin};
use crate::journal::Departures;
use crate::network::Network;
use crate::proxied::{self, Unnamed};
use crate::shared::Shared;
use crate::wire::{Listener, Tcp};

/// Accepts servers until it is aborted.
pub(crate) fn servers(shared: Arc<Shared>, listener: Listener, direct_tls: bool) -> JoinHandle<()> {
    let mut door = Door::new(listener, Arc::clone(&shared), |config| &config.s2s.proxies);
    tokio::spawn(async move {
        let mut refusals = Seldom::default();
        loop {
            let (tcp, peer) = door.next().await;
            let admission = match shared.gate.admit(peer.ip()) {
                Ok(admission) => admission,
                Err(limit) => {
                    //= LIM-08
                    //= ERR-04
                    shared.reached(limit);
                    if let Some(unsaid) = refusals.due() {
                        tracing::warn!(%peer, %limit, unsaid, "a connection was closed at once: too many from there, or in all");
                    }
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
pub(crate) fn components_tcp(shared: Arc<Shared>, listener: Listener) -> JoinHandle<()> {
    let mut door = Door::new(listener, Arc::clone(&shared), |config| {
        &config.component_proxies
    });
    tokio::spawn(async move {
        loop {
            let (tcp, peer) = door.next().await;
            let _ = tcp.set_nodelay(true);
            let stall = seconds(shared.limits().write_stall_seconds);
            connection::notice_death(&tcp, StreamKey(0), stall);
            let departures = departures(&shared, &tcp);
            serve_component(&shared, tcp, departures, peer.to_string());
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
                // What a socket in the file system takes is at the other end.
                Ok((unix, _)) => {
                    serve_component(&shared, unix, Departures::default(), path.clone());
                }
                Err(error) => rest(&error).await,
            }
        }
    })
}

/// What knows how much of what a component was sent has left the system; nothing, where nothing is kept on disk.
fn departures(shared: &Shared, tcp: &Tcp) -> Departures {
    let socket = tcp.socket().filter(|_| shared.journal.is_some());
    let Some(socket) = socket else {
        return Departures::default();
    };
    Departures::of(socket).unwrap_or_else(|error| {
        tracing::warn!("what the system takes for a component counts as arrived: {error}");
        Departures::default()
    })
}

/// Serves a component's connection, if there may be one more.
fn serve_component<IO>(shared: &Arc<Shared>, io: IO, departures: Departures, peer: String)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    //= LIM-09
    let most = size(shared.limits().component_connections_max);
    let Some(place) = shared.component_places.take(most) else {
        shared.reached(Limit::ComponentConnectionsMax);
        tracing::warn!(
            peer,
            "a component's connection was closed at once: component_connections_max is reached"
        );
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        component::serve(shared, io, departures, peer).await;
        drop(place);
    });
}

/// A listener that knows whose a connection is, behind a proxy as well.
///
/// From the networks of proxies a PROXY header is required; from anywhere else none is looked for, so nobody else can
/// claim an address. A connection that waits for its header holds up no other and counts for nothing, so their number
/// has a bound of its own.
struct Door {
    listener: Listener,
    shared: Arc<Shared>,
    proxies: Proxies,
    /// Ends with the listener, and those that wait in it too.
    waiting: JoinSet<Read>,
    crowded: Seldom,
    unnamed: Seldom,
}

/// The networks of the proxies in front of a listener, as the configuration has them at the moment.
type Proxies = fn(&Config) -> &Vec<Network>;

/// A connection of a proxy, and what its header said.
type Read = (Tcp, SocketAddr, Result<SocketAddr, Unnamed>);

impl Door {
    fn new(listener: Listener, shared: Arc<Shared>, proxies: Proxies) -> Self {
        Self {
            listener,
            shared,
            proxies,
            waiting: JoinSet::new(),
            crowded: Seldom::default(),
            unnamed: Seldom::default(),
        }
    }

    /// The next connection, and whose it is.
    async fn next(&mut self) -> (Tcp, SocketAddr) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, peer)) if self.is_proxy(peer) => self.wait(tcp, peer),
                    Ok(direct) => return direct,
                    Err(error) => rest(&error).await,
                },
                Some(read) = self.waiting.join_next() => match read {
                    Ok((tcp, proxy, Ok(client))) => {
                        tracing::debug!(peer = %client, %proxy, "a connection through a proxy");
                        return (tcp, client);
                    }
                    Ok((_, proxy, Err(why))) => self.complain(proxy, &why),
                    Err(error) => tracing::error!("the reading of a PROXY header ended abnormally: {error}"),
                },
            }
        }
    }

    fn is_proxy(&self, peer: SocketAddr) -> bool {
        (self.proxies)(&self.shared.config())
            .iter()
            .any(|network| network.contains(peer.ip()))
    }

    fn wait(&mut self, mut tcp: Tcp, proxy: SocketAddr) {
        if self.waiting.len() < HEADERS_AWAITED_MAX {
            self.waiting.spawn(async move {
                let client = proxied::client(&mut tcp, proxy).await;
                (tcp, proxy, client)
            });
        } else if let Some(unsaid) = self.crowded.due() {
            tracing::warn!(
                %proxy, unsaid,
                "a connection was closed at once: {HEADERS_AWAITED_MAX} others from networks of proxy_protocol have not sent their PROXY header yet"
            );
        }
    }

    fn complain(&mut self, proxy: SocketAddr, why: &Unnamed) {
        if matches!(why, Unnamed::Gone) {
            tracing::debug!(%proxy, "a connection was closed: {why}");
        } else if let Some(unsaid) = self.unnamed.due() {
            tracing::warn!(
                %proxy, unsaid,
                "a connection was closed: {why}, and proxy_protocol requires one from there; let the proxy send it, or take its address out of proxy_protocol"
            );
        }
    }
}

/// What is said at most once a second: a flood must not fill the log as well.
#[derive(Debug, Default)]
struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Whether it is time to say it, and how often it was not said since the last time.
    fn due(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < Duration::from_secs(1))
        {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// An accept that fails does so for want of files or memory: trying at once would only burn time.
async fn rest(error: &io::Error) {
    tracing::error!("a connection could not be accepted: {error}");
    sleep(Duration::from_millis(ACCEPT_REST_MS)).await;
}

const ACCEPT_REST_MS: u64 = 100;
/// A proxy sends the header with the connection, so many more than arrive at one moment never wait; each may hold
/// 4 KiB.
const HEADERS_AWAITED_MAX: usize = 256;
