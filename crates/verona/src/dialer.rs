//! Opens a connection to one server of a domain, if it is safe to do so.

pub(crate) mod guard;
mod pace;
mod ports;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};
use verona_proto::addr::Domain;
use verona_proto::dane::Tlsa;
use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{AttemptKey, Errand, Signal};
use verona_proto::grounds::Assurance;
use verona_proto::limits::seconds;
use verona_proto::policy::DirectTls;
use verona_proto::stream::Purpose;

use crate::connection::{self, Origin};
use crate::shared::Shared;

/// Finds the servers of a domain: the configured address, or what DNS says.
pub(crate) async fn discover(
    shared: Arc<Shared>,
    attempt: AttemptKey,
    remote: Domain,
    direct_tls: bool,
) {
    let result = match shared.configured_address(&remote) {
        //= DNS-09
        Some(configured) => Ok(vec![Target {
            address: configured.address,
            direct_tls: configured.direct_tls,
            host: configured.address.ip().to_string(),
            assurance: Assurance::Configured,
            tlsa: Tlsa::None,
        }]),
        None => look_up(&shared, &remote, direct_tls).await,
    };
    shared.signal(Signal::Discovered(attempt, result)).await;
}

async fn look_up(
    shared: &Shared,
    remote: &Domain,
    direct_tls: bool,
) -> Result<Vec<Target>, DiscoveryError> {
    let wanted = direct_tls && shared.policy.for_peer(remote).direct_tls == DirectTls::Auto;
    shared.resolver.discover(remote, wanted).await
}

/// Dials one server and begins a stream on the connection.
pub(crate) async fn connect(
    shared: Arc<Shared>,
    attempt: AttemptKey,
    target: Target,
    purpose: Purpose,
) {
    let remote = purpose.pair().remote().domain().clone();
    let errand = match purpose {
        Purpose::Carry { .. } => Errand::Own,
        Purpose::Verify { .. } => Errand::Stranger,
    };
    let passed = shared.guard.pass(&remote, target.address, errand).await;
    let connected = match passed {
        Ok(()) => open(&shared, target.address).await,
        Err(refusal) => Err(refusal.to_string()),
    };
    match connected {
        Ok(tcp) => {
            let key = shared.next_stream();
            let peer = target.address;
            let origin = Origin::Dialled {
                target: Box::new(target),
                purpose: Box::new(purpose),
            };
            let start = connection::spawn(&shared, key, tcp, peer, origin);
            // Before the connection's own first event.
            shared.signal(Signal::Connected(attempt, Ok(key))).await;
            start.now();
        }
        Err(text) => shared.signal(Signal::Connected(attempt, Err(text))).await,
    }
}

async fn open(shared: &Shared, address: SocketAddr) -> Result<TcpStream, String> {
    let deadline = seconds(shared.limits.connect_seconds);
    match tokio::time::timeout(deadline, dial(shared, address)).await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(error)) => Err(format!("no connection to {address}: {error}")),
        Err(_) => Err(format!(
            "no connection to {address} within {} s",
            deadline.as_secs()
        )),
    }
}

async fn dial(shared: &Shared, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let source = shared
        .config
        .s2s
        .bind
        .iter()
        .find(|source| source.is_ipv4() == address.is_ipv4());
    if let Some(source) = source {
        socket.bind(SocketAddr::new(IpAddr::clone(source), 0))?;
    }
    socket.connect(address).await
}
