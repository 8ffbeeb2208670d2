//! A server at the other end of a line, for what happens before there is a link.
//! Why apart from those that are measured under load: it has an address and a name of each case's own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, bail};
use verona_interop::namespace;
use verona_interop::prosody::{self, Prosody};
use verona_interop::verona::{self, Verona};

use super::World;
use super::servers::{Kind, SECRET};

/// What it is told.
#[derive(Clone, Copy)]
pub(crate) struct FarSettings<'a> {
    /// Of its folder.
    pub(crate) name: &'a str,
    /// Its component's domain.
    pub(crate) domain: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) direct_tls: bool,
    /// Whether only a valid certificate will do.
    pub(crate) trusts: bool,
}

/// A running one.
pub(crate) enum Far {
    Verona(Verona),
    Prosody(Prosody),
}

impl Far {
    /// Starts it and waits until it listens.
    pub(crate) fn start(
        world: &World,
        kind: Kind,
        verona: &Path,
        settings: &FarSettings<'_>,
    ) -> Result<Self> {
        let dir = world.dir.join(settings.name);
        fs::create_dir_all(&dir)?;
        match kind {
            Kind::Verona => start_verona(world, &dir, verona, settings).map(Self::Verona),
            Kind::Prosody => start_prosody(world, &dir, settings).map(Self::Prosody),
            Kind::VeronaUnmanaged
            | Kind::ProsodyUnmanaged
            | Kind::Ejabberd
            | Kind::Jabberd2
            | Kind::Relay
            | Kind::ScanningRelay => bail!("{} is no far server", kind.name()),
        }
    }

    /// Where components connect.
    pub(crate) fn components(&self) -> SocketAddr {
        match self {
            Self::Verona(running) => running.components,
            Self::Prosody(running) => running.components,
        }
    }
}

fn start_verona(
    world: &World,
    dir: &Path,
    program: &Path,
    settings: &FarSettings<'_>,
) -> Result<Verona> {
    let certificates = dir.join("certs");
    world
        .issue(&[settings.domain])?
        .write_together(&certificates, settings.domain)?;
    Verona::start(
        dir,
        &verona::Settings {
            program,
            address: settings.address,
            direct_tls: settings.direct_tls,
            proxy: None,
            local: &[],
            component: Some((settings.domain, SECRET)),
            certificates: &certificates,
            authority: &world.authority_file(),
            dns: namespace::NAME_SERVER,
            peers: "",
        },
    )
}

fn start_prosody(world: &World, dir: &Path, settings: &FarSettings<'_>) -> Result<Prosody> {
    let folder = dir.join("certs");
    let of = |name: &str| world.issue(&[name])?.write_apart(&folder, name);
    let own = format!("own.{}", settings.domain);
    Prosody::start(
        dir,
        &prosody::Settings {
            name: settings.name,
            address: settings.address,
            direct_tls: settings.direct_tls,
            domain: &own,
            certificate: &of(&own)?,
            component: Some((settings.domain, SECRET, &of(settings.domain)?)),
            authority: Some(&world.authority_file()),
            secure: settings.trusts,
            dns: namespace::NAME_SERVER,
            root: None,
            log: "info",
            global: "",
            hosts: "",
        },
    )
}
