//! What the kit asks of a server's process beyond starting it: a name server of its own, and one free port.
//! The process itself, and the waits for it, are those of the suite that runs the same servers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use verona_interop::process::{Process, free_ports};

/// Starts a program whose system resolver asks this name server, which has to be at port 53. The machine's own file is
/// never written to: the child has a mount namespace of its own.
///
/// # Errors
/// It cannot be started.
pub fn start_with_resolver(
    name: &str,
    dir: &Path,
    program: &Path,
    arguments: &[&str],
    server: SocketAddr,
) -> Result<Process> {
    let file = dir.join("resolv.conf");
    fs::write(
        &file,
        format!("nameserver {}\noptions timeout:2 attempts:2\n", server.ip()),
    )?;
    let program = program.to_string_lossy();
    let file = file.to_string_lossy();
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    let mut all = vec!["--mount", "--", "/bin/sh", "-c", script, &file, &program];
    all.extend_from_slice(arguments);
    Process::start(name, dir, Path::new("/usr/bin/unshare"), &all)
}

/// A free port on this address.
///
/// # Errors
/// There is none.
pub fn free_port(address: [u8; 4]) -> Result<SocketAddr> {
    free_ports(address, 1)?
        .first()
        .copied()
        .context("asked for one port and given none")
}
