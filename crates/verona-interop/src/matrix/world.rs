//! The servers of a matrix: one verona, each peer once, one name server, one authority, in a namespace of their own.
//! Why one for all cells: starting a server takes longer than a cell; domains of its own keep each cell apart.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Asked, Cell, Certificate, Kind, Peer, Release};
use crate::certs::{Authority, Issued, Purposes};
use crate::dns::{NameServer, Service};
use crate::ejabberd::{self, Ejabberd};
use crate::jabberd2::{self, Jabberd2};
use crate::namespace;
use crate::prosody::{self, Prosody};
use crate::sockets::SocketWatch;
use crate::verona::Verona;

/// A cell with its domains and addresses.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The cell.
    pub cell: Cell,
    /// verona's domain.
    pub near: String,
    /// The peer's domain.
    pub far: String,
    /// Where DNS says that verona listens for this cell.
    pub near_address: SocketAddr,
    /// Where DNS says that the peer listens for this cell.
    pub far_address: SocketAddr,
    instance: Instance,
}

/// Everything that runs. Fields are dropped, and so ended, from the top.
#[derive(Debug)]
pub struct World {
    /// The server under test.
    pub verona: Verona,
    peers: BTreeMap<Instance, Running>,
    /// The kernel's account.
    pub sockets: SocketWatch,
    /// The cells.
    pub cells: Vec<Placed>,
    /// Messages each way in each of them.
    pub messages: usize,
    mounts: Vec<PathBuf>,
    _dns: NameServer,
}

/// A running peer. jabberd2 runs once for each cell: it has one certificate for all its domains, and it takes an error
/// that one TLS handshake leaves behind in the process for one of whichever connection is busy next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Instance {
    peer: Peer,
    /// The cell's number, where there is one for each.
    cell: Option<u16>,
}

impl Instance {
    const fn of(cell: &Cell, number: u16) -> Self {
        Self {
            peer: cell.peer,
            cell: match cell.peer.kind() {
                Kind::Jabberd2 => Some(number),
                Kind::Verona | Kind::Prosody | Kind::Ejabberd => None,
            },
        }
    }

    /// Name of its folder and logs.
    fn name(self) -> String {
        match self.cell {
            None => self.peer.word().to_owned(),
            Some(number) => format!("{}-{number}", self.peer.word()),
        }
    }
}

#[derive(Debug)]
enum Running {
    Verona(Verona),
    Prosody(Prosody),
    Ejabberd(SocketAddr, Ejabberd),
    Jabberd2(SocketAddr, Jabberd2),
}

impl Running {
    /// Waits until it listens, where its start does not.
    fn wait(&mut self) -> Result<()> {
        match self {
            Self::Jabberd2(_, jabberd2) => jabberd2.wait(),
            Self::Ejabberd(_, ejabberd) => ejabberd.wait(),
            Self::Verona(_) | Self::Prosody(_) => Ok(()),
        }
    }
}

impl Running {
    const fn components(&self) -> SocketAddr {
        match self {
            Self::Verona(verona) => verona.components,
            Self::Prosody(prosody) => prosody.components,
            Self::Ejabberd(components, _) | Self::Jabberd2(components, _) => *components,
        }
    }
}

impl World {
    /// Starts what the cells need below `dir`, inside the namespace, which has to be furnished.
    ///
    /// # Errors
    /// A server is missing or does not start.
    pub fn set(
        dir: &Path,
        cells: &[Cell],
        messages: usize,
        program: &Path,
        roots: &Path,
    ) -> Result<Self> {
        let cells = place(cells);
        let services: Vec<Service> = cells
            .iter()
            .flat_map(|placed| {
                [
                    (&placed.near, placed.near_address),
                    (&placed.far, placed.far_address),
                ]
            })
            .map(|(domain, address)| Service {
                domain: domain.clone(),
                address,
                direct_tls: false,
            })
            .collect();
        let dns = NameServer::start_at(dir, namespace::NAME_SERVER, &services)?;
        let authority = Authority::new()?;
        let authority_file = dir.join("ca.pem");
        authority.write(&authority_file)?;
        let sockets = SocketWatch::start()?;
        let stage = Stage {
            dir,
            program,
            roots,
            authority: &authority,
            authority_file: &authority_file,
            cells: &cells,
            mounts: RefCell::default(),
        };
        let verona = stage.verona("near", &cells, Seat::Near, SERVER)?;
        let mut instances: Vec<Instance> = cells.iter().map(|placed| placed.instance).collect();
        instances.sort_unstable();
        instances.dedup();
        let mut peers = BTreeMap::new();
        for instance in instances {
            // Each lives as long as the thread that started it, so they are all started from this one.
            let running = stage
                .peer(instance)
                .with_context(|| format!("starting {}", instance.peer.word()))?;
            peers.insert(instance, running);
        }
        for (instance, running) in &mut peers {
            running.wait().with_context(|| instance.name())?;
        }
        let mounts = stage.mounts.take();
        Ok(Self {
            verona,
            peers,
            sockets,
            cells,
            messages,
            mounts,
            _dns: dns,
        })
    }

    /// Where the component of the peer's domain connects.
    ///
    /// # Errors
    /// The cell is not one of this world.
    pub fn far_components(&self, placed: &Placed) -> Result<SocketAddr> {
        self.peers
            .get(&placed.instance)
            .map(Running::components)
            .context("no such peer in this world")
    }

    /// The log of every byte of the peer's connections, when it is a Prosody.
    #[must_use]
    pub fn wire_log(&self, peer: Peer) -> Option<&Path> {
        self.peers.iter().find_map(|(instance, running)| {
            if instance.peer != peer {
                return None;
            }
            match running {
                Running::Prosody(prosody) => Some(prosody.wire_log.as_path()),
                Running::Verona(_) | Running::Ejabberd(..) | Running::Jabberd2(..) => None,
            }
        })
    }

    /// Ends verona as an operator would, and then the others; gives the kernel's account back.
    ///
    /// # Errors
    /// verona ends with a failure, or not at all.
    pub fn strike(self) -> Result<SocketWatch> {
        let status = self.verona.process.terminate(Duration::from_secs(15))?;
        ensure!(status.success(), "verona ended with {status} after SIGTERM");
        drop(self.peers);
        // All of it ends with the namespace, but what is mounted elsewhere cannot be removed before.
        for place in self.mounts.iter().rev() {
            namespace::run("umount", &["--lazy", &place.to_string_lossy()])?;
        }
        Ok(self.sockets)
    }
}

/// Numbers the cells: a loopback address of its own on either side tells each one's connections apart.
fn place(cells: &[Cell]) -> Vec<Placed> {
    cells
        .iter()
        .zip(0_u16..)
        .map(|(cell, number)| {
            let [high, low] = number.to_be_bytes();
            let instance = Instance::of(cell, number);
            let at = |net, port| SocketAddr::from((Ipv4Addr::new(127, net, high, low), port));
            Placed {
                cell: *cell,
                near: format!("c{number}.near.lit"),
                far: format!("c{number}.{}.lit", cell.peer.word()),
                near_address: at(1, SERVER),
                far_address: at(2, server_port(instance)),
                instance,
            }
        })
        .collect()
}

/// Which of the two servers of a cell a verona plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Near,
    Far,
}

/// What the servers are started with.
struct Stage<'a> {
    dir: &'a Path,
    program: &'a Path,
    roots: &'a Path,
    authority: &'a Authority,
    authority_file: &'a Path,
    cells: &'a [Placed],
    /// Where something was mounted.
    mounts: RefCell<Vec<PathBuf>>,
}

impl Stage<'_> {
    fn peer(&self, instance: Instance) -> Result<Running> {
        let cells: Vec<Placed> = self
            .cells
            .iter()
            .filter(|placed| placed.instance == instance)
            .cloned()
            .collect();
        let address = anywhere(server_port(instance));
        let components = SocketAddr::from((Ipv4Addr::LOCALHOST, server_port(instance) + 1));
        let root = instance
            .peer
            .release()
            .map(|release| self.root(release))
            .transpose()?;
        let name = instance.name();
        match instance.peer.kind() {
            Kind::Verona => Ok(Running::Verona(self.verona(
                &name,
                &cells,
                Seat::Far,
                address.port(),
            )?)),
            Kind::Prosody => Ok(Running::Prosody(self.prosody(
                &name,
                &cells,
                address,
                root.as_deref(),
            )?)),
            Kind::Ejabberd => Ok(Running::Ejabberd(
                components,
                self.ejabberd(
                    &name,
                    &cells,
                    address,
                    components,
                    root.as_deref(),
                    instance.peer,
                )?,
            )),
            Kind::Jabberd2 => {
                let placed = cells.first().context("no cell")?;
                let issued = self.issue(&[&placed.far], placed.cell.theirs)?;
                let folder = self.dir.join(format!("{name}-certs"));
                issued.write_together(&folder, "jabberd2")?;
                Ok(Running::Jabberd2(
                    components,
                    Jabberd2::start(
                        self.dir,
                        &jabberd2::Settings {
                            name: &name,
                            address,
                            components,
                            secret: SECRET,
                            certificate: &folder.join("jabberd2.pem"),
                        },
                    )?,
                ))
            }
        }
    }

    /// The folder of a newer Debian, in which this world's folder has the same path as outside.
    fn root(&self, release: Release) -> Result<PathBuf> {
        let root = self.roots.join(release.name());
        ensure!(
            root.join("usr/bin/erl").exists(),
            "there is no Debian {} in {}",
            release.name(),
            root.display()
        );
        let mut made = self.mounts.borrow_mut();
        if made.iter().any(|mount| mount.starts_with(&root)) {
            return Ok(root);
        }
        fs::write(root.join("etc/resolv.conf"), namespace::RESOLVER)?;
        let inside = root.join(self.dir.strip_prefix("/")?);
        fs::create_dir_all(&inside)?;
        let (outside, inside) = (self.dir.to_string_lossy(), inside.to_string_lossy());
        namespace::run("mount", &["--bind", &outside, &inside])?;
        made.push(PathBuf::from(inside.as_ref()));
        for special in ["dev", "proc"] {
            let place = root.join(special);
            namespace::run(
                "mount",
                &["--rbind", &format!("/{special}"), &place.to_string_lossy()],
            )?;
            made.push(place);
        }
        Ok(root)
    }

    fn issue(&self, names: &[&str], certificate: Certificate) -> Result<Issued> {
        match certificate {
            Certificate::Full => {
                Issued::for_names(names, Purposes::ServerAndClient, Some(self.authority))
            }
            Certificate::ServerOnly => {
                Issued::for_names(names, Purposes::ServerOnly, Some(self.authority))
            }
            Certificate::SelfSigned => Issued::for_names(names, Purposes::ServerAndClient, None),
            Certificate::WrongName => Issued::for_names(
                &["elsewhere.lit"],
                Purposes::ServerAndClient,
                Some(self.authority),
            ),
        }
    }

    /// verona on one side of all these cells.
    fn verona(&self, name: &str, cells: &[Placed], seat: Seat, port: u16) -> Result<Verona> {
        let certificates = self.dir.join(format!("{name}-certs"));
        let (components, admin) = (port + 1, port + 2);
        let mut text = format!(
            r#"[s2s]
listen = ["0.0.0.0:{port}"]
listen_tls = []
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["{dns}"]

[components]
listen = ["127.0.0.1:{components}"]

[admin]
listen = "127.0.0.1:{admin}"

[log]
level = "debug"

[defaults]
# All cells come from one address.
limits = {{ streams_per_address_max = 4096, negotiations_max = 4096, component_connections_max = 4096 }}
"#,
            certificates = certificates.display(),
            authority = self.authority_file.display(),
            dns = namespace::NAME_SERVER,
        );
        for placed in cells {
            let (own, other, certificate) = match seat {
                Seat::Near => (&placed.near, &placed.far, placed.cell.ours),
                Seat::Far => (&placed.far, &placed.near, placed.cell.theirs),
            };
            self.issue(&[own], certificate)?
                .write_together(&certificates, own)?;
            text.push_str(&format!(
                "\n[[domain]]\nname = \"{own}\"\ncomponent = {{ secret = \"{SECRET}\" }}\n"
            ));
            if placed.cell.asked == Asked::Certificate {
                text.push_str(&format!(
                    "\n[[peer]]\ndomain = \"{other}\"\nidentity = [\"certificate\"]\n"
                ));
            }
        }
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Verona::start_with(
            self.dir,
            name,
            self.program,
            &text,
            &[anywhere(port), at(components), at(admin)],
            at(components),
        )
    }

    fn prosody(
        &self,
        name: &str,
        cells: &[Placed],
        address: SocketAddr,
        root: Option<&Path>,
    ) -> Result<Prosody> {
        let folder = self.dir.join(format!("{name}-certs"));
        let own = self
            .issue(&["prosody.lit"], Certificate::Full)?
            .write_apart(&folder, "prosody.lit")?;
        let mut secure = String::new();
        let mut hosts = String::new();
        for placed in cells {
            let files = self
                .issue(&[&placed.far], placed.cell.theirs)?
                .write_apart(&folder, &placed.far)?;
            hosts.push_str(&format!(
                "\nComponent \"{}\"\n\tcomponent_secret = \"{SECRET}\"\n\tssl = {{ certificate = \"{}\", key = \"{}\" }}\n",
                placed.far,
                files.certificate.display(),
                files.key.display()
            ));
            if placed.cell.asked == Asked::Certificate {
                secure.push_str(&format!(" \"{}\";", placed.near));
            }
        }
        Prosody::start(
            self.dir,
            &prosody::Settings {
                log: "debug",
                name,
                address,
                direct_tls: false,
                domain: "prosody.lit",
                certificate: &own,
                component: None,
                authority: Some(self.authority_file),
                secure: false,
                dns: namespace::NAME_SERVER,
                root,
                global: &format!("s2s_secure_domains = {{{secure} }}\n"),
                hosts: &hosts,
            },
        )
        .with_context(|| crate::process::tail(&self.dir.join(format!("{name}.log")), 20))
    }

    fn ejabberd(
        &self,
        name: &str,
        cells: &[Placed],
        address: SocketAddr,
        components: SocketAddr,
        root: Option<&Path>,
        peer: Peer,
    ) -> Result<Ejabberd> {
        let folder = self.dir.join(format!("{name}-certs"));
        let mut certificates = Vec::new();
        // It shows a certificate for another name when it has none for the domain that is asked for.
        self.issue(&["elsewhere.lit"], Certificate::Full)?
            .write_together(&folder, "elsewhere.lit")?;
        certificates.push(folder.join("elsewhere.lit.pem"));
        for placed in cells {
            if placed.cell.theirs != Certificate::WrongName {
                self.issue(&[&placed.far], placed.cell.theirs)?
                    .write_together(&folder, &placed.far)?;
                certificates.push(folder.join(format!("{}.pem", placed.far)));
            }
        }
        let hosts: Vec<String> = cells.iter().map(|placed| placed.far.clone()).collect();
        Ejabberd::start(
            self.dir,
            &ejabberd::Settings {
                name,
                root,
                address,
                direct_tls: false,
                components,
                domain: "ejabberd.lit",
                hosts: &hosts,
                secret: SECRET,
                certificates: &certificates,
                authority: self.authority_file,
                bidi: peer.release().is_some(),
                log: "info",
            },
        )
    }
}

/// Every address of the namespace, which has loopback ones only.
fn anywhere(port: u16) -> SocketAddr {
    SocketAddr::from((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
}

/// Below the ranges from which the kernel takes ports for those who dial, and the suite for those who may listen anywhere.
const fn server_port(instance: Instance) -> u16 {
    let by_peer = match instance.peer {
        Peer::Verona => 9_000,
        Peer::Prosody => 7_000,
        Peer::Ejabberd => 8_000,
        Peer::Jabberd2 => 14_000,
        Peer::ProsodyTrixie => 10_000,
        Peer::EjabberdTrixie => 11_000,
        Peer::ProsodyForky => 12_000,
        Peer::EjabberdForky => 13_000,
    };
    // Two for the server and its components.
    let by_cell = match instance.cell {
        None => 0,
        Some(number) => 2 * number,
    };
    by_peer + by_cell
}

/// verona's own port; components and the page have the next two.
const SERVER: u16 = 5_269;

/// The components' secret, on all servers.
pub const SECRET: &str = "deny thy father and refuse thy name";
