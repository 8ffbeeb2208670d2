//! Child processes that end with the kit, and the wait for what they listen on.
//! Why the kernel's table is read: a connection made only to look would be one more that the server has to judge.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A running child with its output in `NAME.log`; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts a program in `dir`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, dir: &Path, program: &Path, arguments: &[&str]) -> Result<Self> {
        let path = dir.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let child = tied_to_us(program)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name} ({})", program.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// The same where the system's resolver asks this name server, which has to be at port 53. The machine's own file
    /// is never written to: the child has a mount namespace of its own.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_with_resolver(
        name: &str,
        dir: &Path,
        program: &Path,
        arguments: &[&str],
        server: SocketAddr,
    ) -> Result<Self> {
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
        Self::start(name, dir, Path::new("/usr/bin/unshare"), &all)
    }

    /// Waits until somebody listens there.
    ///
    /// # Errors
    /// The process ended before, or the deadline passed.
    pub fn wait_for_listener(&mut self, address: SocketAddr, deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            let table = fs::read_to_string("/proc/net/tcp").context("reading /proc/net/tcp")?;
            if table
                .lines()
                .filter_map(listening_address)
                .any(|found| covers(found, address))
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it listened", self.name);
            }
            if Instant::now() > until {
                bail!(
                    "{} does not listen on {address} after {deadline:?}",
                    self.name
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its memory in KiB (`VmRSS`); nothing when the kernel does not tell.
    #[must_use]
    pub fn memory_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either call fails only when the child is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `setpriv` asks the kernel to kill the child when this process dies, however it dies.
fn tied_to_us(program: &Path) -> Command {
    let setpriv = PathBuf::from("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A port that is free on this address, below the range from which the kernel takes the other end of a connection, so
/// that no connection can take it before its server does.
///
/// # Errors
/// There is none, or no randomness.
pub fn free_port(address: [u8; 4]) -> Result<SocketAddr> {
    for _ in 0..1000 {
        let mut random = [0_u8; 2];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let port = 20_000 + u16::from_be_bytes(random) % 12_000;
        let candidate = SocketAddr::from((address, port));
        if TcpListener::bind(candidate).is_ok() {
            return Ok(candidate);
        }
    }
    bail!("no free port on {address:?}")
}

/// `sl local_address rem_address st …`, the address as hexadecimal in the machine's byte order.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    Some(SocketAddr::from((
        address,
        u16::from_str_radix(port, 16).ok()?,
    )))
}

fn covers(found: SocketAddr, wanted: SocketAddr) -> bool {
    found.port() == wanted.port() && (found.ip() == wanted.ip() || found.ip().is_unspecified())
}
