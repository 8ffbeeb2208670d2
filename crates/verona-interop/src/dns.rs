//! A name server for one case: unbound on a loopback port that knows the case's domains and nothing else.
//! Why not `/etc/hosts` or fixed addresses: SRV lookups and their failures are part of what federation does.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Process, free_ports};

/// Where the servers of one domain listen; a domain may be there several times, each with another address.
#[derive(Clone, Debug)]
pub struct Service {
    /// The domain.
    pub domain: String,
    /// Address and port of its S2S listener.
    pub address: SocketAddr,
    /// Whether it is one for direct TLS (`_xmpps-server`), and no other.
    pub direct_tls: bool,
}

/// A running unbound.
#[derive(Debug)]
pub struct NameServer {
    /// Where it answers, UDP and TCP.
    pub address: SocketAddr,
    dir: PathBuf,
    ttl_seconds: u32,
    process: Process,
}

impl NameServer {
    /// Starts unbound in `dir` and waits until it answers.
    ///
    /// # Errors
    /// unbound is missing or does not start.
    pub fn start(dir: &Path, services: &[Service]) -> Result<Self> {
        let address = *free_ports([127, 0, 0, 1], 1)?
            .first()
            .context("no free port")?;
        Self::start_at(dir, address, services)
    }

    /// The same at an address of the caller's.
    ///
    /// # Errors
    /// unbound is missing or does not start.
    pub fn start_at(dir: &Path, address: SocketAddr, services: &[Service]) -> Result<Self> {
        Self::start_for(dir, address, services, TTL_SECONDS)
    }

    /// The same with records that may be kept for so long.
    ///
    /// # Errors
    /// unbound is missing or does not start.
    pub fn start_for(
        dir: &Path,
        address: SocketAddr,
        services: &[Service],
        ttl_seconds: u32,
    ) -> Result<Self> {
        Ok(Self {
            address,
            dir: dir.to_owned(),
            ttl_seconds,
            process: unbound("unbound", dir, address, &zones(services, ttl_seconds))?,
        })
    }

    /// Answers with other records from here on.
    ///
    /// # Errors
    /// The file cannot be written, or unbound is gone.
    pub fn change(&self, services: &[Service]) -> Result<()> {
        let rest = zones(services, self.ttl_seconds);
        configure("unbound", &self.dir, self.address, &rest)?;
        self.process.signal("HUP")
    }
}

/// Starts unbound at `address` and waits until it answers; `rest` is the rest of its configuration, inside `server:`.
pub(crate) fn unbound(name: &str, dir: &Path, address: SocketAddr, rest: &str) -> Result<Process> {
    let file = configure(name, dir, address, rest)?;
    let mut process = Process::start(
        name,
        dir,
        Path::new(UNBOUND),
        &["-d", "-c", &file.to_string_lossy()],
    )?;
    process.wait_for_listeners(&[address], Duration::from_secs(10))?;
    Ok(process)
}

fn configure(name: &str, dir: &Path, address: SocketAddr, rest: &str) -> Result<PathBuf> {
    let text = format!(
        "server:\n\
         \x20 interface: {}@{}\n\
         \x20 directory: \"{}\"\n\
         \x20 username: \"\"\n\
         \x20 chroot: \"\"\n\
         \x20 pidfile: \"\"\n\
         \x20 use-syslog: no\n\
         \x20 do-daemonize: no\n\
         \x20 num-threads: 1\n\
         \x20 access-control: 127.0.0.0/8 allow\n\
         {rest}\
         remote-control:\n\
         \x20 control-enable: no\n",
        address.ip(),
        address.port(),
        dir.display()
    );
    let file = dir.join(format!("{name}.conf"));
    fs::write(&file, text)?;
    Ok(file)
}

/// Every zone is ours: an unknown name is answered NXDOMAIN at once and nothing leaves the machine.
fn zones(services: &[Service], ttl: u32) -> String {
    let mut text = "\x20 module-config: \"iterator\"\n\
         \x20 log-queries: yes\n\
         \x20 log-replies: yes\n\
         \x20 local-zone: \".\" static\n"
        .to_owned();
    let mut served = BTreeSet::new();
    for service in services {
        let Service {
            domain, address, ..
        } = service;
        let kind = match service.direct_tls {
            true => "_xmpps-server",
            false => "_xmpp-server",
        };
        if served.insert((domain, kind, address.port())) {
            text.push_str(&format!(
                "\x20 local-data: \"{kind}._tcp.{domain}. {ttl} IN SRV 0 5 {} xmpp.{domain}.\"\n",
                address.port()
            ));
        }
        let family = if address.is_ipv6() { "AAAA" } else { "A" };
        text.push_str(&format!(
            "\x20 local-data: \"xmpp.{domain}. {ttl} IN {family} {}\"\n",
            address.ip()
        ));
    }
    text
}

pub(crate) const UNBOUND: &str = "/usr/sbin/unbound";
/// Longer than a case takes.
const TTL_SECONDS: u32 = 60;
