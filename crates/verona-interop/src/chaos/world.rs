//! The servers of a soak, the proxies between them, and who talks with whom.
//! Why fixed addresses: in a namespace of our own all are free, and a log is read more easily.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::ledger::{Ledger, Way};
use super::voice::{self, Voice};
use crate::certs::{Authority, CertificateFiles, Issued, Purposes};
use crate::chance::Chance;
use crate::dns::{NameServer, Service};
use crate::fault_proxy::FaultProxy;
use crate::namespace;
use crate::process::lock;
use crate::prosody::{self, Prosody};
use crate::verona::Verona;

/// Everything that runs. Fields are dropped, and so ended, from the top.
pub(super) struct World {
    pub(super) voices: Vec<Voice>,
    pub(super) ledger: Arc<Ledger>,
    speaks: Arc<AtomicBool>,
    near: Mutex<Server>,
    far: Mutex<Server>,
    acking: Mutex<Option<Prosody>>,
    plain: Mutex<Option<Prosody>>,
    pub(super) links: Links,
    names: NameServer,
    authority: Authority,
    dir: PathBuf,
    program: PathBuf,
    size: Size,
}

/// A verona, and how it was configured.
pub(super) struct Server {
    pub(super) verona: Verona,
}

/// One of the two veronas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Near,
    Far,
}

/// One of the two Prosodys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// With XEP-0198.
    Acking,
    /// Without.
    Plain,
}

/// The proxies of each link, by who is behind them.
pub(super) struct Links {
    /// Between the veronas: one in front of each, and a second place for the far one that DNS names.
    veronas: [FaultProxy; 4],
    acking: [FaultProxy; 2],
    plain: [FaultProxy; 2],
}

/// What lies between two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    Veronas,
    Acking,
    Plain,
}

/// What can be made larger for a long run, and smaller for a short one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Stanzas a second of each flow.
    pub(super) per_second: f64,
    /// How long a stanza waits for a connection.
    pub(super) outbox_age_seconds: u64,
    /// How long a peer may take to acknowledge something.
    pub(super) acknowledgement_seconds: u64,
    /// How long a lost stream can be taken up again.
    pub(super) resume_seconds: u64,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Near, Self::Far];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    const fn site(self) -> &'static str {
        match self {
            Self::Near => "capulet.lit",
            Self::Far => "montague.lit",
        }
    }

    const fn ip(self) -> [u8; 4] {
        match self {
            Self::Near => [127, 0, 1, 1],
            Self::Far => [127, 0, 2, 1],
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }

    /// Its domains that talk with the other verona.
    fn domains(self) -> Vec<String> {
        (0..PAIRS)
            .map(|number| format!("v{number}.{}", self.site()))
            .collect()
    }

    /// Its domains that have a component.
    fn all_domains(self) -> Vec<String> {
        let mut all = self.domains();
        if self == Self::Near {
            for peer in Peer::ALL {
                all.extend(peer.near_domains());
            }
        }
        all
    }

    fn hall(self) -> String {
        format!("hall.{}", self.site())
    }
}

impl Peer {
    pub(super) const ALL: [Self; 2] = [Self::Acking, Self::Plain];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Acking => "acking",
            Self::Plain => "plain",
        }
    }

    const fn ip(self) -> [u8; 4] {
        match self {
            Self::Acking => [127, 0, 3, 1],
            Self::Plain => [127, 0, 4, 1],
        }
    }

    fn domain(self) -> String {
        format!("{}.lit", self.word())
    }

    fn components(self) -> Vec<String> {
        (0..PROSODY_PAIRS)
            .map(|number| format!("c{number}.{}", self.domain()))
            .collect()
    }

    /// The near verona's domains that talk with it.
    fn near_domains(self) -> Vec<String> {
        (0..PROSODY_PAIRS)
            .map(|number| format!("{}{number}.{}", self.word(), Side::Near.site()))
            .collect()
    }

    const fn ways(self) -> (Way, Way) {
        match self {
            Self::Acking => (Way::ToAcking, Way::FromAcking),
            Self::Plain => (Way::ToPlain, Way::FromPlain),
        }
    }
}

impl Links {
    fn start(chance: &mut Chance) -> Result<Self> {
        let mut proxy = |ip: [u8; 4], upstream: [u8; 4]| {
            FaultProxy::start(
                SocketAddr::from((ip, PORT)),
                SocketAddr::from((upstream, PORT)),
                chance.next(),
            )
        };
        let (near, far) = (Side::Near.ip(), Side::Far.ip());
        Ok(Self {
            veronas: [
                proxy(BEFORE_NEAR, near)?,
                proxy(BEFORE_FAR, far)?,
                proxy(BY_DNS[0], far)?,
                proxy(BY_DNS[1], far)?,
            ],
            acking: [
                proxy(BEFORE_ACKING, Peer::Acking.ip())?,
                proxy(NEAR_FOR_ACKING, near)?,
            ],
            plain: [
                proxy(BEFORE_PLAIN, Peer::Plain.ip())?,
                proxy(NEAR_FOR_PLAIN, near)?,
            ],
        })
    }

    pub(super) fn of(&self, link: Link) -> &[FaultProxy] {
        match link {
            Link::Veronas => &self.veronas,
            Link::Acking => &self.acking,
            Link::Plain => &self.plain,
        }
    }
}

impl World {
    /// Starts everything below `dir`, in a namespace that is furnished.
    pub(super) fn set(dir: &Path, program: &Path, size: Size, chance: &mut Chance) -> Result<Self> {
        let authority = Authority::new()?;
        authority.write(&dir.join("ca.pem"))?;
        let names = NameServer::start_for(dir, namespace::NAME_SERVER, &records(0), DNS_TTL)?;
        let links = Links::start(chance)?;
        for side in Side::ALL {
            let certificates = dir.join(format!("{}-certs", side.word()));
            for domain in side
                .all_domains()
                .iter()
                .chain([&side.hall(), &extra(side)])
            {
                Issued::new(domain, Purposes::ServerAndClient, Some(&authority))?
                    .write_together(&certificates, domain)?;
            }
            let state = state(dir, side);
            fs::create_dir_all(&state)?;
            // So little that it can be filled.
            let path = state.to_string_lossy();
            namespace::run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", &path])?;
        }
        let start = |side| -> Result<Mutex<Server>> {
            let text = configuration(dir, side, size, false);
            Ok(Mutex::new(Server {
                verona: start_verona(dir, program, side, &text)?,
            }))
        };
        let (near, far) = (start(Side::Near)?, start(Side::Far)?);
        let acking = start_prosody(dir, &authority, Peer::Acking)?;
        let plain = start_prosody(dir, &authority, Peer::Plain)?;
        let ledger = Arc::new(Ledger::open());
        let speaks = Arc::new(AtomicBool::new(false));
        let mut world = Self {
            voices: Vec::new(),
            ledger,
            speaks,
            near,
            far,
            acking: Mutex::new(Some(acking)),
            plain: Mutex::new(Some(plain)),
            links,
            names,
            authority,
            dir: dir.to_owned(),
            program: program.to_owned(),
            size,
        };
        world.voices = world.raise_voices(size)?;
        Ok(world)
    }

    /// Each component with the flows that it sends.
    fn raise_voices(&self, size: Size) -> Result<Vec<Voice>> {
        let mut voices = Vec::new();
        let mut voice = |domain: &str, hall: &str, server: SocketAddr, ways: &[(Way, &str)]| {
            let mut flows = Vec::new();
            for (way, to) in ways {
                for user in 0..USERS {
                    let (from, to) = (format!("u{user}@{domain}"), format!("u{user}@{to}"));
                    flows.push(self.ledger.flow(*way, &from, &to));
                }
            }
            voices.push(Voice::start(voice::Settings {
                domain,
                secret: SECRET,
                hall,
                server,
                ledger: &self.ledger,
                speaks: &self.speaks,
                flows,
                per_second: size.per_second,
            }));
        };
        for side in Side::ALL {
            let server = self.server(side).verona.components;
            let others = side.other().domains();
            for (number, domain) in side.domains().iter().enumerate() {
                // Each pair, and one across: several pairs share a sender and a target.
                let next = others
                    .get((number + 1) % others.len())
                    .context("a domain")?;
                let same = others.get(number).context("a domain")?;
                let ways = [(Way::Veronas, same.as_str()), (Way::Veronas, next.as_str())];
                voice(domain, &side.hall(), server, &ways);
            }
        }
        for peer in Peer::ALL {
            let (there, back) = peer.ways();
            let near = self.server(Side::Near).verona.components;
            let far = lock(self.slot(peer))
                .as_ref()
                .context("a Prosody")?
                .components;
            for (ours, theirs) in peer.near_domains().iter().zip(peer.components()) {
                voice(ours, &Side::Near.hall(), near, &[(there, theirs.as_str())]);
                voice(&theirs, &peer.domain(), far, &[(back, ours.as_str())]);
            }
        }
        Ok(voices)
    }

    /// From here on all components send, or none.
    pub(super) fn speak(&self, speaks: bool) {
        self.speaks.store(speaks, Ordering::Relaxed);
    }

    pub(super) fn server(&self, side: Side) -> MutexGuard<'_, Server> {
        lock(match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        })
    }

    fn slot(&self, peer: Peer) -> &Mutex<Option<Prosody>> {
        match peer {
            Peer::Acking => &self.acking,
            Peer::Plain => &self.plain,
        }
    }

    /// Sends a Prosody a signal.
    pub(super) fn signal_prosody(&self, peer: Peer, name: &str) -> Result<()> {
        match &*lock(self.slot(peer)) {
            Some(prosody) => prosody.process.signal(name),
            None => Ok(()),
        }
    }

    /// Kills a Prosody by SIGKILL.
    pub(super) fn kill_prosody(&self, peer: Peer) {
        // Dropped, and so killed and waited for.
        drop(lock(self.slot(peer)).take());
    }

    /// Starts it again.
    pub(super) fn start_prosody(&self, peer: Peer) -> Result<()> {
        let prosody = start_prosody(&self.dir, &self.authority, peer)?;
        for domain in peer.components() {
            for voice in self.voices.iter().filter(|voice| voice.domain() == domain) {
                voice.moves_to(prosody.components);
            }
        }
        *lock(self.slot(peer)) = Some(prosody);
        Ok(())
    }

    /// Kills a verona by SIGKILL, and starts it again when it was away for so long.
    pub(super) fn kill_verona(&self, side: Side, away: Duration) -> Result<()> {
        let mut server = self.server(side);
        server.verona.process.signal("KILL")?;
        std::thread::sleep(away);
        let text = configuration(&self.dir, side, self.size, false);
        server.verona = start_verona(&self.dir, &self.program, side, &text)?;
        Ok(())
    }

    /// Has one more domain hosted, or no more, and says so by SIGHUP.
    pub(super) fn reload(&self, side: Side, has_extra: bool) -> Result<()> {
        let text = configuration(&self.dir, side, self.size, has_extra);
        fs::write(self.dir.join(name(side)).join("verona.toml"), text)?;
        self.server(side).verona.process.signal("HUP")
    }

    /// Gives one of a verona's domains a new certificate.
    pub(super) fn rotate(&self, side: Side, chance: &mut Chance) -> Result<String> {
        let domains = side.all_domains();
        let domain = chance.one_of(&domains).context("a domain")?;
        Issued::new(domain, Purposes::ServerAndClient, Some(&self.authority))?
            .write_together(&self.dir.join(format!("{}-certs", side.word())), domain)?;
        self.server(side).verona.process.signal("HUP")?;
        Ok(domain.clone())
    }

    /// Has DNS name the other of the two places of the far verona.
    pub(super) fn change_dns(&self, place: usize) -> Result<()> {
        self.names.change(&records(place))
    }

    /// Fills the file system of a verona's state, or makes room again.
    pub(super) fn fill_disk(&self, side: Side, is_full: bool) -> Result<()> {
        let filler = state(&self.dir, side).join("filler");
        if is_full {
            // The file system takes what it has room for and refuses the rest.
            let refused = fs::write(&filler, vec![0; 1024 * 1024]).is_err();
            ensure!(refused, "the disk is larger than it should be");
        } else {
            fs::remove_file(&filler)?;
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

fn name(side: Side) -> String {
    format!("{}-verona", side.word())
}

/// Where the log of a verona is.
pub(super) fn log(dir: &Path, side: Side) -> PathBuf {
    dir.join(format!("{}.log", name(side)))
}

/// Where the wire log of a Prosody is.
pub(super) fn wire_log(dir: &Path, peer: Peer) -> PathBuf {
    dir.join(peer.word()).join("wire.jsonl")
}

fn state(dir: &Path, side: Side) -> PathBuf {
    dir.join(format!("{}-state", side.word()))
}

fn start_verona(dir: &Path, program: &Path, side: Side, text: &str) -> Result<Verona> {
    let at = |port| SocketAddr::from((side.ip(), port));
    let listeners = [at(PORT), at(COMPONENTS), at(ADMIN)];
    Verona::start_with(dir, &name(side), program, text, &listeners, at(COMPONENTS))
        .with_context(|| format!("starting the {} verona", side.word()))
}

/// A domain that is hosted now and then.
fn extra(side: Side) -> String {
    format!("extra.{}", side.site())
}

fn configuration(dir: &Path, side: Side, size: Size, has_extra: bool) -> String {
    let ip = SocketAddr::from((side.ip(), 0)).ip();
    let mut text = format!(
        r#"[s2s]
listen = ["{ip}:{PORT}"]
listen_tls = []
bind = ["{ip}"]
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["{dns}"]

[components]
listen = ["{ip}:{COMPONENTS}"]

[admin]
listen = "{ip}:{ADMIN}"

[state]
directory = "{state}"

[defaults]
limits = {{ outbox_age_seconds = {age}, acknowledgement_seconds = {acknowledgement}, resume_seconds = {resume}, retry_seconds_max = 4, streams_per_address_max = 4096, negotiations_max = 4096, write_stall_seconds = 120 }}

[[domain]]
name = "{hall}"
"#,
        certificates = dir.join(format!("{}-certs", side.word())).display(),
        authority = dir.join("ca.pem").display(),
        dns = namespace::NAME_SERVER,
        state = state(dir, side).display(),
        age = size.outbox_age_seconds,
        acknowledgement = size.acknowledgement_seconds,
        resume = size.resume_seconds,
        hall = side.hall(),
    );
    for domain in side.all_domains() {
        text.push_str(&format!(
            "\n[[domain]]\nname = \"{domain}\"\ncomponent = {{ secret = \"{SECRET}\" }}\n"
        ));
    }
    if has_extra {
        text.push_str(&format!("\n[[domain]]\nname = \"{}\"\n", extra(side)));
    }
    // The last domain of the far side is looked for in DNS.
    let others = side.other().domains();
    let fixed = match side {
        Side::Near => others.len() - 1,
        Side::Far => others.len(),
    };
    let place = match side {
        Side::Near => BEFORE_FAR,
        Side::Far => BEFORE_NEAR,
    };
    let mut peers: Vec<(String, [u8; 4])> = others
        .into_iter()
        .take(fixed)
        .map(|domain| (domain, place))
        .collect();
    if side == Side::Near {
        for (peer, place) in [(Peer::Acking, BEFORE_ACKING), (Peer::Plain, BEFORE_PLAIN)] {
            peers.extend(peer.components().into_iter().map(|domain| (domain, place)));
        }
    }
    for (domain, place) in peers {
        let address = SocketAddr::from((place, PORT));
        text.push_str(&format!(
            "\n[[peer]]\ndomain = \"{domain}\"\naddress = \"{address}\"\n"
        ));
    }
    text
}

fn start_prosody(dir: &Path, authority: &Authority, peer: Peer) -> Result<Prosody> {
    let (domain, components) = (peer.domain(), peer.components());
    let mut names: Vec<&str> = vec![&domain];
    names.extend(components.iter().map(String::as_str));
    let files = Issued::for_names(&names, Purposes::ServerAndClient, Some(authority))?
        .write_apart(&dir.join("prosody-certs"), &domain)?;
    let CertificateFiles { certificate, key } = &files;
    let hosts: String = components
        .iter()
        .map(|name| {
            format!(
                "\nComponent \"{name}\"\n\tcomponent_secret = \"{SECRET}\"\n\tssl = {{ certificate = \"{}\", key = \"{}\" }}\n",
                certificate.display(),
                key.display()
            )
        })
        .collect();
    Prosody::start(
        dir,
        &prosody::Settings {
            name: peer.word(),
            address: SocketAddr::from((peer.ip(), PORT)),
            direct_tls: false,
            domain: &domain,
            certificate: &files,
            component: None,
            authority: Some(&dir.join("ca.pem")),
            secure: true,
            dns: namespace::NAME_SERVER,
            root: None,
            log: "info",
            global: match peer {
                Peer::Acking => "",
                Peer::Plain => "smacks_enabled_s2s = false\n",
            },
            hosts: &hosts,
        },
    )
    .with_context(|| format!("starting the Prosody {}", peer.word()))
}

/// What DNS says: where the near verona is for each peer, and the place of the far one's last domain.
fn records(place: usize) -> Vec<Service> {
    let mut all = Vec::new();
    let mut name = |domain: String, ip: [u8; 4]| {
        all.push(Service {
            domain,
            address: SocketAddr::from((ip, PORT)),
            direct_tls: false,
        });
    };
    for (peer, ip) in [
        (Peer::Acking, NEAR_FOR_ACKING),
        (Peer::Plain, NEAR_FOR_PLAIN),
    ] {
        for domain in peer.near_domains() {
            name(domain, ip);
        }
    }
    let [first, second] = BY_DNS;
    let there = if place == 0 { first } else { second };
    if let Some(last) = Side::Far.domains().pop() {
        name(last, there);
    }
    all
}

/// Domains of each verona that talk with the other.
const PAIRS: usize = 4;
/// Components of each Prosody.
const PROSODY_PAIRS: usize = 2;
/// Senders of each component.
const USERS: usize = 2;
const SECRET: &str = "star-crossed";
const PORT: u16 = 5269;
const COMPONENTS: u16 = 5347;
const ADMIN: u16 = 5280;
const DNS_TTL: u32 = 1;
const BEFORE_NEAR: [u8; 4] = [127, 0, 1, 2];
const BEFORE_FAR: [u8; 4] = [127, 0, 2, 2];
const BY_DNS: [[u8; 4]; 2] = [[127, 0, 2, 3], [127, 0, 2, 4]];
const NEAR_FOR_ACKING: [u8; 4] = [127, 0, 1, 3];
const NEAR_FOR_PLAIN: [u8; 4] = [127, 0, 1, 4];
const BEFORE_ACKING: [u8; 4] = [127, 0, 3, 2];
const BEFORE_PLAIN: [u8; 4] = [127, 0, 4, 2];
