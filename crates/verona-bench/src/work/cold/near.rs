//! The side that calls: the engine in this process, for only from within can be seen what is said inside TLS.
//! Why not the daemon: it shows nobody what it says, and what the two are made of is the same.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;
use verona::config::{Component, Conflict, HostedDomain, ListenAddress, S2s};
use verona::status::LinkRole;
use verona::tls::{Certificates, TrustRoots};
use verona::{Config, Engine};
use verona_interop::namespace;
use verona_proto::addr::Domain;
use verona_proto::policy::{PeerPolicy, Policy};

use super::Place;
use super::diagram::Heard;
use crate::world::{SECRET, World};

/// A running engine.
pub(super) struct Near {
    pub(super) components: SocketAddr,
    pub(super) heard: Heard,
    engine: Engine,
    /// It ends after the engine, which runs in it.
    _runtime: Runtime,
}

impl Near {
    /// Starts it where the case has its place.
    pub(super) fn start(world: &World, place: &Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let heard = Heard::default();
        let config = config(world, place, &heard)?;
        let engine = runtime
            .block_on(Engine::start(config))
            .context("starting the near engine")?;
        let components = engine
            .component_addresses()
            .into_iter()
            .find_map(|address| match address {
                ListenAddress::Tcp(address) => Some(address),
                ListenAddress::Unix(_) => None,
            })
            .context("no place for components")?;
        Ok(Self {
            components,
            heard,
            engine,
            _runtime: runtime,
        })
    }

    /// Waits until the links that it opened have ended of themselves.
    pub(super) fn until_its_links_end(&self, patience: Duration) -> Result<LinksLeft> {
        let until = Instant::now() + patience;
        loop {
            let links = self.engine.handle().links();
            let mut roles = links.iter().map(|link| link.role);
            match roles.find(|role| matches!(role, LinkRole::Initiating)) {
                Some(_) => {}
                None if links.is_empty() => return Ok(LinksLeft::None),
                None => return Ok(LinksLeft::Theirs),
            }
            ensure!(Instant::now() < until, "a link that nobody uses stays");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What there is when what we opened has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinksLeft {
    None,
    /// One that the far side opened, and will end when it likes.
    Theirs,
}

fn config(world: &World, place: &Place, heard: &Heard) -> Result<Config> {
    let name = Domain::parse(&place.near)?;
    let issued = match place.case.is_dialback {
        false => world.issue(&[&place.near])?,
        true => World::issue_by_itself(&place.near)?,
    };
    let authority = std::fs::read_to_string(world.authority_file())?;
    let listeners = vec![place.near_at];
    let (listen, listen_tls) = match place.case.direct_tls {
        false => (listeners, Vec::new()),
        true => (Vec::new(), listeners),
    };
    let mut policy = PeerPolicy::default();
    // So that a link ends soon after it was used, and not while a key is being checked.
    policy.limits.idle_seconds = 3;
    Ok(Config {
        domains: vec![HostedDomain {
            name: name.clone(),
            component: Some(Component {
                secret: Arc::from(SECRET),
                conflict: Conflict::RejectNew,
            }),
        }],
        s2s: S2s {
            listen,
            listen_tls,
            bind: vec![place.near_at.ip()],
            allow_networks: vec!["127.0.0.0/8".parse()?],
            ..S2s::default()
        },
        certificates: Certificates::from_pem(vec![(
            name,
            [issued.certificate(), issued.key()].concat(),
        )])?,
        trust: TrustRoots::from_pem(&authority)?,
        dns_servers: vec![namespace::NAME_SERVER],
        components: vec![ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())],
        policy: Policy {
            defaults: policy,
            peers: Vec::new(),
        },
        trace: Some(heard.trace()),
        ..Config::default()
    })
}
