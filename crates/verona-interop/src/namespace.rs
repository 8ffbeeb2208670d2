//! A network of our own: this program starts itself again where nobody but it and its servers can be reached.
//! Why: several servers read the machine's resolver configuration and take ports that others may have; here they get
//! private ones, and what they send cannot leave the loopback interface that they share.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The argument by which this program knows that it is inside.
pub const INSIDE: &str = "--inside-namespace";

/// Whether this machine lets us make one; if not, why.
///
/// # Errors
/// It does not.
pub fn available() -> Result<()> {
    let tried = Command::new("unshare")
        .args(["--mount", "--net", "true"])
        .output()
        .context("running unshare (Debian package util-linux)")?;
    ensure!(
        tried.status.success(),
        "no network namespace can be made here (root can): {}",
        String::from_utf8_lossy(&tried.stderr).trim()
    );
    Ok(())
}

/// Becomes the same program with the same arguments in a mount and a network namespace of its own. Returns only when
/// that fails.
///
/// # Errors
/// No namespace can be made.
pub fn enter(arguments: &[String]) -> Result<std::convert::Infallible> {
    available()?;
    let own = std::env::current_exe().context("asking for our own path")?;
    // `exec`: a signal that ends this program ends the one inside, and the servers end with it.
    let error = Command::new("unshare")
        .args(["--mount", "--net", "--"])
        .arg(own)
        .args(arguments)
        .arg(INSIDE)
        .exec();
    Err(error).context("starting unshare")
}

/// Furnishes the namespace: the loopback interface is up, and names are asked of `NAME_SERVER` only.
///
/// # Errors
/// A command fails; the machine's own file is never written to.
pub fn furnish(dir: &Path) -> Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    let ours = dir.join("resolv.conf");
    fs::write(&ours, RESOLVER)?;
    run(
        "mount",
        &["--bind", &ours.to_string_lossy(), "/etc/resolv.conf"],
    )
}

/// Where the name server of the namespace answers: the only port at which the resolvers of C libraries ask.
pub const NAME_SERVER: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// A `resolv.conf` that names it.
pub const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n";

/// Runs a program of the system to its end.
///
/// # Errors
/// It is missing, or fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {} {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
