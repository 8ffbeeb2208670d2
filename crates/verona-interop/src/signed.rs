//! A DNS of one's own with DNSSEC: a private root and the zones below it, really signed, served by Knot DNS, with unbound
//! in front.
//!
//! Why not the machine's own DNS: what is tried here are zones that are forged, expired or signed with the wrong key,
//! and nobody publishes those. Keys and signatures are made by ldns; nothing leaves loopback.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::dns::{UNBOUND, unbound};
use crate::process::{Process, free_ports};

/// One zone.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name with the final dot.
    pub name: String,
    /// Its records as in a zone file, relative to its name; SOA and NS are added.
    pub records: String,
    /// How it is signed.
    pub signing: Signing,
    /// What its parent says of its key.
    pub delegation: Delegation,
    /// From when to when its signatures are good.
    pub validity: Validity,
    /// Text of the signed zone that is replaced, so that a signature no longer fits.
    pub spoilt: Option<(String, String)>,
}

/// How a zone proves that something does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// It proves nothing.
    Unsigned,
    /// By names.
    Nsec,
    /// By hashes of names.
    Nsec3,
    /// The same, with room for unsigned zones between the hashes.
    OptOut,
    /// By hashes of hashes, more often than anybody should have to compute.
    Nsec3Costly,
    /// As [`Signing::Nsec`], with a second key on its way in.
    Rollover,
}

/// What the parent zone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// The digest of its key.
    Signed,
    /// Nothing: the zone counts as unsigned.
    Unsigned,
    /// The digest of another key.
    WrongKey,
    /// A digest for an algorithm that nobody has.
    UnknownAlgorithm,
}

/// When signatures are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From 2020 to 2037.
    Now,
    /// Until 2021.
    Past,
    /// From 2036.
    Future,
}

impl Zone {
    /// A zone with nothing wrong.
    #[must_use]
    pub fn new(name: &str, signing: Signing, records: &str) -> Self {
        Self {
            name: name.to_owned(),
            records: records.to_owned(),
            signing,
            delegation: if signing == Signing::Unsigned {
                Delegation::Unsigned
            } else {
                Delegation::Signed
            },
            validity: Validity::Now,
            spoilt: None,
        }
    }

    /// The same with another word of its parent.
    #[must_use]
    pub fn delegated(mut self, delegation: Delegation) -> Self {
        self.delegation = delegation;
        self
    }

    /// The same, good at another time.
    #[must_use]
    pub fn valid(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }

    /// The same with `this` replaced by `that` after it was signed.
    #[must_use]
    pub fn spoilt(mut self, this: &str, that: &str) -> Self {
        self.spoilt = Some((this.to_owned(), that.to_owned()));
        self
    }

    fn is_below(&self, other: &str) -> bool {
        other == "." || self.name.ends_with(&format!(".{other}"))
    }
}

/// A root with the zones below it, and the server that has them all.
#[derive(Debug)]
pub struct Realm {
    /// Where the authoritative server answers, UDP and TCP.
    pub address: SocketAddr,
    /// The root's key, as a file of trust anchors.
    pub anchors: PathBuf,
    /// The digest of each signed zone's key, as its DS record.
    pub digests: Vec<(String, String)>,
    zones: Vec<String>,
    _process: Process,
}

impl Realm {
    /// Signs the zones, and a root above them, in `dir`, and starts the server.
    ///
    /// # Errors
    /// A program is missing, or refuses what it is given.
    pub fn start(dir: &Path, zones: &[Zone]) -> Result<Self> {
        let mut zones = zones.to_vec();
        zones.push(Zone::new(".", Signing::Nsec, ""));
        // Children first: a parent holds the digests of their keys.
        zones.sort_by_key(|zone| std::cmp::Reverse(labels(&zone.name)));
        let names: Vec<String> = zones.iter().map(|zone| zone.name.clone()).collect();
        let mut delegations: Vec<(String, String)> = Vec::new();
        let mut digests = Vec::new();
        for zone in &zones {
            let below: String = delegations
                .iter()
                .filter(|(parent, _)| *parent == zone.name)
                .map(|(_, text)| text.as_str())
                .collect();
            let digest = sign(dir, zone, &below)?;
            let parent = names
                .iter()
                .filter(|name| **name != zone.name && zone.is_below(name))
                .max_by_key(|name| labels(name));
            if let Some(parent) = parent {
                delegations.push((parent.clone(), delegation(zone, &digest)));
            }
            digests.push((zone.name.clone(), digest));
        }
        let anchors = dir.join("root.key");
        let address = *free_ports([127, 0, 0, 1], 1)?
            .first()
            .context("no free port")?;
        let file = dir.join("knot.conf");
        fs::write(&file, configuration(dir, address, &names))?;
        let mut process = Process::start(
            "knotd",
            dir,
            Path::new("/usr/sbin/knotd"),
            &["-c", &file.to_string_lossy()],
        )?;
        process.wait_for_listeners(&[address], Duration::from_secs(10))?;
        Ok(Self {
            address,
            anchors,
            digests,
            zones: names,
            _process: process,
        })
    }

    /// Starts a resolver for the realm in `dir`: one that validates itself, or one that only passes on.
    ///
    /// # Errors
    /// unbound is missing or does not start.
    pub fn resolver(&self, dir: &Path, validates: bool) -> Result<Recursive> {
        let address = *free_ports([127, 0, 0, 1], 1)?
            .first()
            .context("no free port")?;
        let name = if validates { "validating" } else { "passing" };
        Ok(Recursive {
            address,
            _process: unbound(name, dir, address, &self.stubs(validates))?,
        })
    }

    /// All our zones are asked for at the realm.
    fn stubs(&self, validates: bool) -> String {
        let modules = match validates {
            true => "validator iterator",
            false => "iterator",
        };
        let mut text = format!(
            "\x20 do-not-query-localhost: no\n\
             \x20 do-ip6: no\n\
             \x20 module-config: \"{modules}\"\n"
        );
        if validates {
            let _ = writeln!(text, "  trust-anchor-file: \"{}\"", self.anchors.display());
        }
        for zone in &self.zones {
            let _ = write!(
                text,
                "stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n",
                self.address.ip(),
                self.address.port()
            );
        }
        text
    }
}

/// A running unbound.
#[derive(Debug)]
pub struct Recursive {
    /// Where it answers, UDP and TCP.
    pub address: SocketAddr,
    _process: Process,
}

/// The programs that this needs and that are not there.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    [KNOTD, UNBOUND, KEYGEN, SIGNZONE, KEY2DS]
        .into_iter()
        .filter(|program| !Path::new(program).exists())
        .collect()
}

fn labels(name: &str) -> usize {
    name.split('.').filter(|label| !label.is_empty()).count()
}

/// Writes the zone's file, signed if it is to be, and gives the digest of its key.
fn sign(dir: &Path, zone: &Zone, below: &str) -> Result<String> {
    let plain = dir.join(file_name(&zone.name));
    let text = format!(
        "$ORIGIN {}\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{}\n{below}",
        zone.name, zone.records
    );
    fs::write(&plain, text).with_context(|| format!("writing {}", plain.display()))?;
    if zone.signing == Signing::Unsigned {
        return Ok(String::new());
    }
    let mut keys = vec![key(dir, &zone.name)?];
    if zone.signing == Signing::Rollover {
        keys.push(key(dir, &zone.name)?);
    }
    let first = keys.first().context("no key")?;
    let digest = run(dir, KEY2DS, &["-n", "-2", &format!("{first}.key")])?;
    if zone.name == "." {
        fs::copy(dir.join(format!("{first}.key")), dir.join("root.key"))?;
    }
    let (inception, expiration) = match zone.validity {
        Validity::Now => ("20200101000000", "20370101000000"),
        Validity::Past => ("20200101000000", "20210101000000"),
        Validity::Future => ("20360101000000", "20370101000000"),
    };
    let signed = format!("{}.signed", file_name(&zone.name));
    let mut arguments = vec!["-i", inception, "-e", expiration, "-f", &signed];
    match zone.signing {
        Signing::Unsigned | Signing::Nsec | Signing::Rollover => {}
        Signing::Nsec3 => arguments.extend(["-n", "-t", "1", "-s", "aabb"]),
        Signing::OptOut => arguments.extend(["-n", "-p", "-t", "1", "-s", "aabb"]),
        Signing::Nsec3Costly => arguments.extend(["-n", "-t", "200", "-s", "aabb"]),
    }
    let name = file_name(&zone.name);
    arguments.push(&name);
    arguments.extend(keys.iter().map(String::as_str));
    run(dir, SIGNZONE, &arguments)?;
    let signed = dir.join(signed);
    let mut text = fs::read_to_string(&signed)?;
    if let Some((this, that)) = &zone.spoilt {
        if !text.contains(this.as_str()) {
            bail!("{} has no {this} to spoil", zone.name);
        }
        text = text.replace(this.as_str(), that);
    }
    fs::write(&plain, text)?;
    Ok(digest)
}

/// Makes a key that signs keys and records alike, and gives the start of its files' names.
fn key(dir: &Path, zone: &str) -> Result<String> {
    let made = run(dir, KEYGEN, &["-a", "ECDSAP256SHA256", "-k", zone])?;
    Ok(made.trim().to_owned())
}

/// What stands in the parent zone.
fn delegation(zone: &Zone, digest: &str) -> String {
    let mut text = format!("{0} NS ns.{0}\nns.{0} A 127.0.0.1\n", zone.name);
    match zone.delegation {
        Delegation::Unsigned => {}
        Delegation::Signed => text.push_str(digest),
        Delegation::WrongKey => {
            let _ = writeln!(text, "{} DS 4711 13 2 {}", zone.name, "ab".repeat(32));
        }
        Delegation::UnknownAlgorithm => {
            let _ = writeln!(text, "{} DS 4711 200 2 {}", zone.name, "ab".repeat(32));
        }
    }
    text
}

fn file_name(zone: &str) -> String {
    format!("{}zone", if zone == "." { "root." } else { zone })
}

fn configuration(dir: &Path, address: SocketAddr, zones: &[String]) -> String {
    let mut text = format!(
        "server:\n  rundir: \"{0}\"\n  listen: {1}@{2}\n  background-workers: 1\n  udp-workers: 1\n  tcp-workers: 1\n\
         database:\n  storage: \"{0}/knot\"\n\
         log:\n  - target: stderr\n    any: warning\n\
         template:\n  - id: default\n    storage: \"{0}\"\n    journal-content: none\n    zonefile-load: whole\n    zonefile-sync: -1\n\
         zone:\n",
        dir.display(),
        address.ip(),
        address.port()
    );
    for zone in zones {
        let _ = write!(
            text,
            "  - domain: \"{zone}\"\n    file: \"{}\"\n",
            file_name(zone)
        );
    }
    text
}

fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output()
        .with_context(|| format!("running {program}"))?;
    if !done.status.success() {
        bail!(
            "{program} {}: {} {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

const KNOTD: &str = "/usr/sbin/knotd";
const KEYGEN: &str = "/usr/bin/ldns-keygen";
const SIGNZONE: &str = "/usr/bin/ldns-signzone";
const KEY2DS: &str = "/usr/bin/ldns-key2ds";
