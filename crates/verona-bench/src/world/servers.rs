//! The servers that are measured, each started with the configuration that an operator who wants speed would write.
//! Why twice for those that acknowledge: with XEP-0198 they do more, and say more.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use verona_interop::ejabberd::{self, Ejabberd};
use verona_interop::jabberd2::{self, Jabberd2};
use verona_interop::process::Process;
use verona_interop::prosody::{self, Prosody};
use verona_interop::verona::Verona;

use super::{World, configuration};
use crate::system::{self, Family};
use crate::talk::Proof;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Verona,
    VeronaUnmanaged,
    Prosody,
    ProsodyUnmanaged,
    Ejabberd,
    Jabberd2,
    /// No server: TLS on one side, none on the other, and the bytes between.
    Relay,
    /// The same, with every stanza scanned.
    ScanningRelay,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Relay,
        Self::ScanningRelay,
        Self::Verona,
        Self::VeronaUnmanaged,
        Self::Prosody,
        Self::ProsodyUnmanaged,
        Self::Ejabberd,
        Self::Jabberd2,
    ];

    /// In file names and results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Verona => "verona",
            Self::VeronaUnmanaged => "verona-unmanaged",
            Self::Prosody => "prosody",
            Self::ProsodyUnmanaged => "prosody-unmanaged",
            Self::Ejabberd => "ejabberd",
            Self::Jabberd2 => "jabberd2",
            Self::Relay => "relay",
            Self::ScanningRelay => "scanning-relay",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// For people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Verona => "verona",
            Self::VeronaUnmanaged => "verona, no XEP-0198",
            Self::Prosody => "Prosody",
            Self::ProsodyUnmanaged => "Prosody, no XEP-0198",
            Self::Ejabberd => "ejabberd",
            Self::Jabberd2 => "jabberd2",
            Self::Relay => "bare relay",
            Self::ScanningRelay => "bare relay that scans",
        }
    }

    /// Whether it is no server, and takes one peer only.
    pub(crate) const fn is_bare(self) -> bool {
        matches!(self, Self::Relay | Self::ScanningRelay)
    }

    /// How many peers it can be measured with, of so many that are wanted.
    pub(crate) fn peers(self, wanted: usize) -> usize {
        match self {
            Self::Relay | Self::ScanningRelay => 1,
            Self::Verona
            | Self::VeronaUnmanaged
            | Self::Prosody
            | Self::ProsodyUnmanaged
            | Self::Ejabberd
            | Self::Jabberd2 => wanted,
        }
    }

    /// Whether it acknowledges stanzas of other servers.
    pub(crate) const fn is_managed(self) -> bool {
        match self {
            Self::Verona | Self::Prosody => true,
            Self::VeronaUnmanaged
            | Self::ProsodyUnmanaged
            | Self::Ejabberd
            | Self::Jabberd2
            | Self::Relay
            | Self::ScanningRelay => false,
        }
    }

    /// What proves the peers to it.
    pub(crate) const fn proof(self) -> Proof {
        match self {
            Self::Verona
            | Self::VeronaUnmanaged
            | Self::Prosody
            | Self::ProsodyUnmanaged
            | Self::Ejabberd
            | Self::Relay
            | Self::ScanningRelay => Proof::Certificate,
            // It has no EXTERNAL.
            Self::Jabberd2 => Proof::Dialback,
        }
    }

    pub(crate) const fn is_verona(self) -> bool {
        matches!(self, Self::Verona | Self::VeronaUnmanaged)
    }

    /// Its version.
    pub(crate) fn version(self, verona: &Path) -> String {
        match self {
            Self::Verona | Self::VeronaUnmanaged => {
                system::said(verona, &["--version"]).unwrap_or_else(|| "?".to_owned())
            }
            Self::Prosody | Self::ProsodyUnmanaged => system::package_version("prosody"),
            Self::Ejabberd => system::package_version("ejabberd"),
            Self::Jabberd2 => system::package_version("jabberd2"),
            Self::Relay | Self::ScanningRelay => "of this program".to_owned(),
        }
    }

    /// What is missing of it on this machine.
    pub(crate) fn missing(self, verona: &Path) -> Option<String> {
        let (program, from) = match self {
            Self::Verona | Self::VeronaUnmanaged => (
                verona,
                "build it: cargo build --release -p veronad".to_owned(),
            ),
            Self::Prosody | Self::ProsodyUnmanaged => {
                (Path::new("/usr/bin/prosody"), "package prosody".to_owned())
            }
            Self::Ejabberd => (
                Path::new("/usr/sbin/ejabberdctl"),
                "package ejabberd".to_owned(),
            ),
            Self::Jabberd2 => (
                Path::new("/usr/sbin/jabberd2-router"),
                "package jabberd2".to_owned(),
            ),
            Self::Relay | Self::ScanningRelay => return None,
        };
        (!program.exists()).then(|| format!("{} is not there ({from})", program.display()))
    }

    /// An address that is its own in the namespace.
    fn address(self, port: u16) -> SocketAddr {
        let last = match self {
            Self::Verona => 11,
            Self::VeronaUnmanaged => 12,
            Self::Prosody => 13,
            Self::ProsodyUnmanaged => 14,
            Self::Ejabberd => 15,
            Self::Jabberd2 => 16,
            Self::Relay => 17,
            Self::ScanningRelay => 18,
        };
        SocketAddr::from(([127, 0, 0, last], port))
    }
}

/// What one work wants of a server beyond the usual.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuning {
    /// More domains that verona hosts.
    pub(crate) hosted: usize,
    /// More of verona's configuration.
    pub(crate) more: String,
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// The component's.
    pub(crate) domain: String,
    pub(crate) s2s: SocketAddr,
    /// Where it takes direct TLS, if it does.
    pub(crate) s2s_tls: Option<SocketAddr>,
    pub(crate) components: SocketAddr,
    pub(crate) family: Family,
    _running: Running,
}

/// Keeps the processes alive.
#[expect(dead_code, reason = "what it holds ends when it is dropped")]
enum Running {
    Verona(Verona),
    Prosody(Prosody),
    Ejabberd(Ejabberd),
    Jabberd2(Jabberd2),
    Bare(Process),
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(world: &World, kind: Kind, verona: &Path, tuning: &Tuning) -> Result<Self> {
        let domain = format!("rooms.{}.lit", kind.name());
        let (s2s, components) = (kind.address(5269), kind.address(5347));
        let (running, roots, components) = match kind {
            Kind::Verona | Kind::VeronaUnmanaged => {
                let running = start_verona(world, kind, &domain, verona, tuning)?;
                let id = running.process.id();
                (Running::Verona(running), vec![id], components)
            }
            Kind::Prosody | Kind::ProsodyUnmanaged => {
                let running = start_prosody(world, kind, &domain)?;
                let id = running.process.id();
                let components = running.components;
                (Running::Prosody(running), vec![id], components)
            }
            Kind::Ejabberd => {
                let running = start_ejabberd(world, kind, &domain)?;
                let id = running.process.id();
                (Running::Ejabberd(running), vec![id], components)
            }
            Kind::Jabberd2 => {
                let running = start_jabberd2(world, kind, &domain)?;
                let ids = vec![running.s2s.id(), running.router.id()];
                (Running::Jabberd2(running), ids, components)
            }
            Kind::Relay | Kind::ScanningRelay => {
                let running = start_bare(world, kind)?;
                let id = running.id();
                (Running::Bare(running), vec![id], components)
            }
        };
        Ok(Self {
            kind,
            domain,
            s2s,
            s2s_tls: kind.is_verona().then(|| kind.address(5270)),
            components,
            family: Family::of(&roots),
            _running: running,
        })
    }

    /// A component that has authenticated.
    pub(crate) fn component(&self) -> Result<std::net::TcpStream> {
        if self.kind.is_bare() {
            let tcp = std::net::TcpStream::connect(self.components)?;
            tcp.set_nodelay(true)?;
            return Ok(tcp);
        }
        let mut last = None;
        // jabberd2's parts need a moment to find each other.
        for _ in 0..50 {
            match verona_interop::speaker::attach(self.components, &self.domain, SECRET, PATIENCE) {
                Ok((tcp, _, early)) if early.is_empty() => return Ok(tcp),
                Ok((_, _, early)) => bail!("the component got {early:?} at once"),
                Err(error) => last = Some(error),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(last.context("not tried")?).context("attaching the component")
    }
}

fn start_verona(
    world: &World,
    kind: Kind,
    domain: &str,
    verona: &Path,
    tuning: &Tuning,
) -> Result<Verona> {
    let name = kind.name();
    let certificates = world.dir.join(format!("{name}-certs"));
    world
        .issue(&[domain, "*.hosted.lit"])?
        .write_together(&certificates, "all")?;
    let place = configuration::Place {
        name,
        domain,
        s2s: kind.address(5269),
        s2s_tls: kind.address(5270),
        components: kind.address(5347),
        admin: kind.address(5280),
        certificates: &certificates,
        authority: &world.authority_file(),
        is_managed: kind.is_managed(),
    };
    let listeners = [place.s2s, place.s2s_tls, place.components, place.admin];
    Verona::start_with(
        &world.dir,
        name,
        verona,
        &configuration::verona(&place, tuning),
        &listeners,
        place.components,
    )
}

fn start_prosody(world: &World, kind: Kind, domain: &str) -> Result<Prosody> {
    let folder = world.dir.join(format!("{}-certs", kind.name()));
    let of = |name: &str| world.issue(&[name])?.write_apart(&folder, name);
    let own = format!("{}.lit", kind.name());
    // The suite's log of every byte is off, and what is off must be said after what is on.
    let off = match kind.is_managed() {
        true => "modules_disabled = { \"offline\", \"wire_log\" }\n",
        false => "modules_disabled = { \"offline\", \"wire_log\", \"smacks\" }\n",
    };
    Prosody::start(
        &world.dir,
        &prosody::Settings {
            name: kind.name(),
            address: kind.address(5269),
            direct_tls: false,
            domain: &own,
            certificate: &of(&own)?,
            component: Some((domain, SECRET, &of(domain)?)),
            authority: Some(&world.authority_file()),
            secure: true,
            dns: verona_interop::namespace::NAME_SERVER,
            root: None,
            log: "error",
            global: off,
            hosts: "",
        },
    )
}

fn start_ejabberd(world: &World, kind: Kind, domain: &str) -> Result<Ejabberd> {
    let folder = world.dir.join("ejabberd-certs");
    world.issue(&[domain])?.write_together(&folder, domain)?;
    let mut running = Ejabberd::start(
        &world.dir,
        &ejabberd::Settings {
            name: kind.name(),
            root: None,
            address: kind.address(5269),
            direct_tls: false,
            components: kind.address(5347),
            domain: "ejabberd.lit",
            hosts: &[domain.to_owned()],
            secret: SECRET,
            certificates: &[folder.join(format!("{domain}.pem"))],
            authority: &world.authority_file(),
            bidi: false,
            log: "error",
        },
    )?;
    running.wait()?;
    Ok(running)
}

fn start_jabberd2(world: &World, kind: Kind, domain: &str) -> Result<Jabberd2> {
    let folder = world.dir.join("jabberd2-certs");
    world.issue(&[domain])?.write_together(&folder, domain)?;
    fs::create_dir_all(world.dir.join(kind.name()))?;
    let mut running = Jabberd2::start(
        &world.dir,
        &jabberd2::Settings {
            name: kind.name(),
            address: kind.address(5269),
            components: kind.address(5347),
            secret: SECRET,
            certificate: &folder.join(format!("{domain}.pem")),
        },
    )?;
    running.wait()?;
    Ok(running)
}

fn start_bare(world: &World, kind: Kind) -> Result<Process> {
    let name = kind.name();
    let certificates = world.dir.join(format!("{name}-certs"));
    world
        .issue(&["relay.lit"])?
        .write_together(&certificates, "all")?;
    let (s2s, components) = (kind.address(5269), kind.address(5347));
    let mut arguments = vec![
        "bare-relay".to_owned(),
        format!("--peers={s2s}"),
        format!("--components={components}"),
        format!("--certificate={}", certificates.join("all.pem").display()),
    ];
    if kind == Kind::ScanningRelay {
        arguments.push("--scan".to_owned());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut process = Process::start(name, &world.dir, &std::env::current_exe()?, &arguments)?;
    process.wait_for_listeners(&[s2s, components], PATIENCE)?;
    Ok(process)
}

/// Of all components.
pub(crate) const SECRET: &str = "wisely and slow";
const PATIENCE: Duration = Duration::from_secs(30);
