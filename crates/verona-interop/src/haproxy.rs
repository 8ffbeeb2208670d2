//! One haproxy in front of verona, which says in a PROXY header whose connections it relays.
//! Why a real one: the header is its invention, and its health checks are what such a listener hears all day.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::process::Process;

/// A running haproxy.
#[derive(Debug)]
pub struct Haproxy {
    _process: Process,
}

impl Haproxy {
    /// Relays what comes to `listen` to `server`, from `source`, and checks every moment whether somebody is there.
    ///
    /// # Errors
    /// haproxy is missing or does not start.
    pub fn start(
        dir: &Path,
        listen: SocketAddr,
        server: SocketAddr,
        source: IpAddr,
    ) -> Result<Self> {
        let file = dir.join("haproxy.cfg");
        fs::write(
            &file,
            format!(
                "defaults\n\
                 \x20 mode tcp\n\
                 \x20 timeout connect 5s\n\
                 \x20 timeout client 2m\n\
                 \x20 timeout server 2m\n\
                 listen servers\n\
                 \x20 bind {listen}\n\
                 \x20 server verona {server} source {source} send-proxy-v2 proxy-v2-options crc32c,unique-id check inter 200\n"
            ),
        )?;
        let mut process = Process::start(
            "haproxy",
            dir,
            Path::new(PROGRAM),
            &["-db", "-f", &file.to_string_lossy()],
        )?;
        process.wait_for_listeners(&[listen], Duration::from_secs(10))?;
        Ok(Self { _process: process })
    }
}

/// Debian's package haproxy.
pub const PROGRAM: &str = "/usr/sbin/haproxy";
