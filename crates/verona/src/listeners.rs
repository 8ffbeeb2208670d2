//! The sockets on which we listen: bound before anything is replaced, so that a reload that cannot have them changes
//! nothing.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::config::{Config, ListenAddress};
use crate::engine::StartError;
use crate::listener;
use crate::shared::{Shared, lock};
use crate::wire::Listener;

/// All of them that accept.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<Vec<Accepting>>);

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Servers { direct_tls: bool },
    Components,
}

/// A listener, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    whom: Whom,
    address: ListenAddress,
}

#[derive(Debug)]
struct Accepting {
    wanted: Wanted,
    /// Where it is bound: ports chosen by the system are filled in.
    bound: ListenAddress,
    task: JoinHandle<()>,
}

/// Listeners that are bound, beside those that accept already.
#[derive(Debug)]
pub(crate) struct Prepared {
    wanted: Vec<Wanted>,
    bound: Vec<(Wanted, ListenAddress, Socket)>,
}

#[derive(Debug)]
enum Socket {
    Tcp(Listener),
    Unix(UnixListener),
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) opened: Vec<ListenAddress>,
    pub(crate) closed: Vec<ListenAddress>,
}

impl Listeners {
    /// Binds what `config` names and what does not accept yet.
    ///
    /// # Errors
    /// [`StartError::Bind`]; nothing is bound then that was not before.
    pub(crate) async fn prepare(
        &self,
        shared: &Shared,
        config: &Config,
    ) -> Result<Prepared, StartError> {
        let wanted = wanted(config);
        let mut there: Vec<Wanted> = lock(&self.0)
            .iter()
            .map(|accepting| accepting.wanted.clone())
            .collect();
        let mut bound = Vec::new();
        for one in &wanted {
            // Each that is there serves once: a port that the system chooses may be wanted twice.
            if let Some(position) = there.iter().position(|other| other == one) {
                there.swap_remove(position);
                continue;
            }
            let (at, socket) = bind(shared, &one.address).await?;
            bound.push((one.clone(), at, socket));
        }
        Ok(Prepared { wanted, bound })
    }

    /// Accepts on what was prepared, and not any more on what is not wanted.
    pub(crate) fn replace(&self, shared: &Arc<Shared>, prepared: Prepared) -> Changed {
        let Prepared { wanted, mut bound } = prepared;
        let mut changed = Changed::default();
        let mut accepting = lock(&self.0);
        let mut before = std::mem::take(&mut *accepting);
        for one in wanted {
            if let Some(position) = before.iter().position(|other| other.wanted == one) {
                accepting.push(before.remove(position));
            } else if let Some(position) = bound.iter().position(|(other, ..)| *other == one) {
                let (wanted, at, socket) = bound.remove(position);
                if let ListenAddress::Tcp(at) = &at {
                    shared.guard.never_dial(*at);
                }
                changed.opened.push(at.clone());
                let task = accept(shared, wanted.whom, socket, &at);
                accepting.push(Accepting {
                    wanted,
                    bound: at,
                    task,
                });
            }
        }
        for one in before {
            one.end();
            if let ListenAddress::Tcp(at) = &one.bound {
                shared.guard.may_dial(*at);
            }
            changed.closed.push(one.bound);
        }
        changed
    }

    /// Accepts no component any more.
    pub(crate) fn stop_components(&self) {
        let accepting = lock(&self.0);
        let components = accepting
            .iter()
            .filter(|one| one.wanted.whom == Whom::Components);
        for component in components {
            component.task.abort();
        }
    }

    /// Accepts nothing more.
    pub(crate) fn stop(&self) {
        for accepting in lock(&self.0).iter() {
            accepting.task.abort();
        }
    }

    /// Whether all sockets are closed, so that another engine can have their addresses.
    pub(crate) fn are_closed(&self) -> bool {
        lock(&self.0).iter().all(|one| one.task.is_finished())
    }

    /// The end: sockets in the file system are removed as well.
    pub(crate) fn end(&self) {
        for accepting in lock(&self.0).drain(..) {
            accepting.end();
        }
    }

    /// Where servers reach us: those for STARTTLS first.
    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        let is_servers = |accepting: &&Accepting| accepting.wanted.whom != Whom::Components;
        lock(&self.0)
            .iter()
            .filter(is_servers)
            .filter_map(|accepting| match &accepting.bound {
                ListenAddress::Tcp(address) => Some(*address),
                ListenAddress::Unix(_) => None,
            })
            .collect()
    }

    /// Where components reach us.
    pub(crate) fn components(&self) -> Vec<ListenAddress> {
        let is_components = |accepting: &&Accepting| accepting.wanted.whom == Whom::Components;
        lock(&self.0)
            .iter()
            .filter(is_components)
            .map(|accepting| accepting.bound.clone())
            .collect()
    }
}

impl Accepting {
    fn end(&self) {
        self.task.abort();
        if let ListenAddress::Unix(path) = &self.bound {
            // Left behind it would do no harm: the next start replaces it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let servers = |addresses: &[SocketAddr], direct_tls| {
        let named = |address: &SocketAddr| Wanted {
            whom: Whom::Servers { direct_tls },
            address: ListenAddress::Tcp(*address),
        };
        addresses.iter().map(named).collect::<Vec<_>>()
    };
    let components = config.components.iter().map(|address| Wanted {
        whom: Whom::Components,
        address: address.clone(),
    });
    servers(&config.s2s.listen, false)
        .into_iter()
        .chain(servers(&config.s2s.listen_tls, true))
        .chain(components)
        .collect()
}

fn accept(shared: &Arc<Shared>, whom: Whom, socket: Socket, at: &ListenAddress) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    match (socket, whom) {
        (Socket::Tcp(listener), Whom::Servers { direct_tls }) => {
            listener::servers(shared, listener, direct_tls)
        }
        (Socket::Tcp(listener), Whom::Components) => listener::components_tcp(shared, listener),
        (Socket::Unix(listener), Whom::Servers { .. } | Whom::Components) => {
            let path = match at {
                ListenAddress::Unix(path) => path.display().to_string(),
                ListenAddress::Tcp(address) => address.to_string(),
            };
            listener::components_unix(shared, listener, path)
        }
    }
}

async fn bind(
    shared: &Shared,
    address: &ListenAddress,
) -> Result<(ListenAddress, Socket), StartError> {
    let failed = |error| StartError::Bind {
        address: address.to_string(),
        error,
    };
    match address {
        ListenAddress::Tcp(at) => {
            let listener = shared.wire.listen(*at).await.map_err(failed)?;
            let bound = listener.local_addr().map_err(failed)?;
            Ok((ListenAddress::Tcp(bound), Socket::Tcp(listener)))
        }
        ListenAddress::Unix(path) => {
            let listener = bind_unix(path).map_err(failed)?;
            Ok((address.clone(), Socket::Unix(listener)))
        }
    }
}

/// Binds a socket in the file system; one that a former run left behind is replaced, one in use is not.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}
