//! Opens a connection to one of the servers of a domain, if it is safe to do so.

pub(crate) mod guard;
mod pace;
mod ports;
mod race;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use verona_proto::addr::Domain;
use verona_proto::discovery::{DiscoveryError, OtherHost, Target};
use verona_proto::federation::{AttemptKey, Errand, Reached, Signal, Unreached};
use verona_proto::grounds::Assurance;
use verona_proto::limits::{Limit, LimitCounts, seconds};
use verona_proto::policy::DirectTls;
use verona_proto::stream::{Fault, Purpose};

use crate::connection::{self, Origin};
use crate::shared::Shared;
use guard::{Guard, Refusal};
use race::{Failed, Won, race};

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
            assurance: Assurance::Configured,
            ..Target::new(
                configured.address,
                configured.direct_tls,
                configured.address.ip().to_string(),
            )
        }]),
        None => look_up(&shared, &remote, direct_tls).await,
    };
    shared.signal(Signal::Discovered(attempt, result)).await;
}

/// Finds the servers at another host, to which one of a domain's servers sends us.
pub(crate) async fn resolve(
    shared: Arc<Shared>,
    attempt: AttemptKey,
    host: OtherHost,
    direct_tls: bool,
) {
    let result = match host.port() {
        Some(port) => shared.resolver().at(host.host(), port, direct_tls).await,
        None => shared.resolver().discover(host.host(), direct_tls).await,
    };
    shared.signal(Signal::Discovered(attempt, result)).await;
}

async fn look_up(
    shared: &Shared,
    remote: &Domain,
    direct_tls: bool,
) -> Result<Vec<Target>, DiscoveryError> {
    let wanted = direct_tls && shared.policy().for_peer(remote).direct_tls == DirectTls::Auto;
    shared.resolver().discover(remote, wanted).await
}

/// Dials the servers, and begins a stream on the first connection that stands.
pub(crate) async fn connect(
    shared: Arc<Shared>,
    attempt: AttemptKey,
    targets: Vec<Target>,
    until: Instant,
    purpose: Purpose,
) {
    let remote = purpose.pair().remote().domain();
    let errand = match purpose {
        Purpose::Carry { .. } => Errand::Own,
        Purpose::Verify { .. } => Errand::Stranger,
    };
    let way = Way {
        guard: &shared.guard,
        remote,
        errand,
        each: seconds(shared.limits().connect_seconds),
        until,
        reached: shared.memory.reached.clone(),
    };
    let config = shared.config();
    let sources = &config.s2s.bind;
    let won = way
        .reach(targets, |address| shared.wire.dial(sources, address))
        .await;
    let reached = match won {
        Ok(won) => won,
        Err(failed) => {
            shared.signal(Signal::Connected(attempt, Err(failed))).await;
            return;
        }
    };
    // An engine that was dropped meanwhile begins nothing.
    if shared.signals.is_closed() {
        return;
    }
    let stream = shared.next_stream();
    let peer = reached.target.address;
    let origin = Origin::Dialled {
        target: Box::new(reached.target.clone()),
        purpose: Box::new(purpose),
    };
    let start = connection::spawn(&shared, stream, reached.connection, peer, origin);
    let reached = Reached {
        stream,
        target: reached.target,
        failed: reached.failed,
        left: reached.left,
    };
    // Before the connection's own first event.
    shared.signal(Signal::Connected(attempt, Ok(reached))).await;
    start.now();
}

/// How the servers of a domain are dialled, and for what.
struct Way<'a> {
    guard: &'a Guard,
    remote: &'a Domain,
    errand: Errand,
    /// For one connection.
    each: Duration,
    /// For all together.
    until: Instant,
    reached: LimitCounts,
}

impl Way<'_> {
    /// A connection to the first that answers, of those that may be dialled. Whoever tests it dials nothing: `dial` is
    /// the only way out.
    async fn reach<T, F>(
        &self,
        targets: Vec<Target>,
        dial: impl Fn(SocketAddr) -> F,
    ) -> Result<Won<T>, Vec<Unreached>>
    where
        F: Future<Output = io::Result<T>>,
    {
        let open = |target: &Target| {
            let (address, dial) = (target.address, &dial);
            async move {
                let refused = |refusal: Refusal| Failed {
                    text: refusal.to_string(),
                    fault: match refusal.is_ours() {
                        true => Fault::Local,
                        false => Fault::Policy,
                    },
                };
                self.guard
                    .pass(self.remote, address, self.errand)
                    .await
                    .map_err(refused)?;
                let dialled = tokio::time::timeout(self.each, dial(address)).await;
                let text = match dialled {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(error)) => format!("no connection to {address}: {error}"),
                    Err(_) => {
                        self.reached.reached(Limit::ConnectSeconds);
                        format!(
                            "no connection to {address} within {} s",
                            self.each.as_secs()
                        )
                    }
                };
                Err(Failed {
                    text,
                    fault: Fault::Peer,
                })
            }
        };
        race(targets, self.until, open).await
    }
}

#[cfg(test)]
mod tests;
