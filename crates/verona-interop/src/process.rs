//! Child processes that cannot outlive the case that started them, and waits that cannot last for ever.
//! Why one place: a test that leaves a server behind spoils the next one, and one that waits without end says nothing.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// A running child with its output in `NAME.log`; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `program` with `arguments` in `dir`; both outputs go to `dir/NAME.log`.
    ///
    /// # Errors
    /// The program cannot be started or the log cannot be written.
    pub fn start(name: &str, dir: &Path, program: &Path, arguments: &[&str]) -> Result<Self> {
        let log = log_file(dir, name)?;
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

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until somebody listens on every address, without connecting to it: a connection made only to look would
    /// be one more in the evidence.
    ///
    /// # Errors
    /// The process ended before, or the deadline passed.
    pub fn wait_for_listeners(
        &mut self,
        addresses: &[SocketAddr],
        deadline: Duration,
    ) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            let listening = listening_addresses()?;
            if addresses
                .iter()
                .all(|wanted| listening.iter().any(|found| covers(*found, *wanted)))
            {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it listened", self.name);
            }
            if Instant::now() > until {
                bail!(
                    "{} does not listen on {addresses:?} after {deadline:?}",
                    self.name
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends the signal of this name: `STOP`, `CONT`, `HUP`, …
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        // `kill` is a program here because the standard library sends no signal but SIGKILL.
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .context("running kill")?;
        ensure!(status.success(), "{} cannot be sent SIG{name}", self.name);
        Ok(())
    }

    /// Sends SIGTERM and waits; a process that stays is killed and reported.
    ///
    /// # Errors
    /// The process did not end before the deadline.
    pub fn terminate(mut self, deadline: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal("TERM")?;
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                bail!(
                    "{} still runs {deadline:?} after SIGTERM: killed",
                    self.name
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A script that reports in JSON lines on its standard output and leaves when its standard input ends.
#[derive(Debug)]
pub struct Script {
    name: String,
    child: Child,
    lines: Receiver<Value>,
    /// Every line so far, for whoever asks for one that has passed already.
    seen: Vec<Value>,
}

impl Script {
    /// Starts `script` (its text) under Debian's Python; lines are kept in `dir/NAME.jsonl`, errors in `dir/NAME.log`.
    ///
    /// # Errors
    /// The script cannot be written or started.
    pub fn start(name: &str, dir: &Path, script: &str, arguments: &[String]) -> Result<Self> {
        let path = dir.join(format!("{name}.py"));
        fs::write(&path, script).with_context(|| format!("writing {}", path.display()))?;
        // -I: neither the caller's environment nor his own packages; slixmpp is Debian's.
        let mut all = vec!["-I".to_owned(), path.to_string_lossy().into_owned()];
        all.extend_from_slice(arguments);
        Self::run(name, dir, Path::new(PYTHON), &all)
    }

    /// The same for any program that reports so.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn run(name: &str, dir: &Path, program: &Path, arguments: &[String]) -> Result<Self> {
        let mut child = tied_to_us(program)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file(dir, name)?)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let mut kept = File::create(dir.join(format!("{name}.jsonl")))?;
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The file is for people who look at a failure; the case lives without it.
                let _ = writeln!(kept, "{line}");
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if send.send(value).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            seen: Vec::new(),
        })
    }

    /// The first line that has the key, now or before the deadline. A line with `failed` ends the wait at once.
    ///
    /// # Errors
    /// The script failed, ended or stayed silent.
    pub fn wait_for(&mut self, key: &str, deadline: Duration) -> Result<Value> {
        let until = Instant::now() + deadline;
        loop {
            for line in &self.seen {
                if line.get(key).is_some() {
                    return Ok(line.clone());
                }
                if let Some(why) = line.get("failed") {
                    bail!("{} failed: {why}", self.name);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} said no \"{key}\" within {deadline:?}", self.name)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended without \"{key}\"", self.name)
                }
            }
        }
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// The script has ended.
    pub fn tell(&mut self, line: &Value) -> Result<()> {
        let input = self.child.stdin.as_mut().context("it was told to leave")?;
        writeln!(input, "{line}").with_context(|| format!("telling {}", self.name))
    }

    /// The next line, whatever it is; `None` when there is none before the deadline.
    ///
    /// # Errors
    /// The script failed or ended.
    pub fn next(&mut self, deadline: Duration) -> Result<Option<Value>> {
        let line = match self.lines.recv_timeout(deadline) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("{} ended", self.name),
        };
        if let Some(why) = line.get("failed") {
            bail!("{} failed: {why}", self.name);
        }
        Ok(Some(line))
    }

    /// Every line so far that has the key.
    pub fn all(&mut self, key: &str) -> Vec<Value> {
        self.seen.extend(self.lines.try_iter());
        self.seen
            .iter()
            .filter(|line| line.get(key).is_some())
            .cloned()
            .collect()
    }

    /// Lets the script say goodbye: its standard input ends.
    pub fn leave(mut self) {
        drop(self.child.stdin.take());
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ports on `address` that are free, below the range from which the kernel takes the other end of a connection, so
/// that no connection can take one before its server does.
///
/// # Errors
/// No free port was found.
pub fn free_ports(address: [u8; 4], number: usize) -> Result<Vec<SocketAddr>> {
    let mut held = Vec::new();
    let mut seed = std::process::id() ^ clock_bits();
    for _ in 0..10_000 {
        if held.len() == number {
            break;
        }
        // A step of a linear congruential generator: the ports only have to differ between runs.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let port = 20_000 + (seed >> 16) % 12_000;
        let candidate = SocketAddr::from((address, u16::try_from(port)?));
        if let Ok(listener) = TcpListener::bind(candidate) {
            held.push((candidate, listener));
        }
    }
    if held.len() < number {
        bail!("no free ports on {address:?}");
    }
    Ok(held.into_iter().map(|(address, _)| address).collect())
}

/// The resident memory of a process, in KiB.
#[must_use]
pub fn resident_kib(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The last `lines` lines of a text file; empty when there is none.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all.get(from..).unwrap_or_default().join("\n")
}

/// The interpreter for which Debian packages slixmpp.
pub const PYTHON: &str = "/usr/bin/python3";

/// `setpriv` asks the kernel to kill the child when this process dies, however it dies.
pub(crate) fn tied_to_us(program: &Path) -> Command {
    let setpriv = PathBuf::from("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn end(child: &mut Child) {
    // Either call fails only when the child is gone already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

/// What a lock holds, whoever panicked with it: whole entries are left behind here.
pub(crate) fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_file(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(format!("{name}.log"));
    File::create(&path).with_context(|| format!("creating {}", path.display()))
}

fn clock_bits() -> u32 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.subsec_nanos())
}

/// Listening IPv4 sockets as the kernel lists them.
fn listening_addresses() -> Result<Vec<SocketAddr>> {
    let table = fs::read_to_string("/proc/net/tcp").context("reading /proc/net/tcp")?;
    Ok(table.lines().filter_map(listening_address).collect())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::*;

    #[test]
    fn a_listener_is_found_without_connecting() {
        let listener = TcpListener::bind("127.0.0.7:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(becomes(true, address));
        drop(listener);
        assert!(becomes(false, address));
    }

    /// The table is not read at one instant, and a child of another test holds our descriptors until it has started.
    fn becomes(listening: bool, address: SocketAddr) -> bool {
        (0..200).any(|_| {
            thread::sleep(Duration::from_millis(10));
            listening_addresses().unwrap().contains(&address) == listening
        })
    }

    #[test]
    fn a_dropped_process_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start("sleep", dir.path(), Path::new("sleep"), &["60"]).unwrap();
        let id = process.id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_wait_ends_when_the_process_does() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start("true", dir.path(), Path::new("true"), &[]).unwrap();
        let nobody = SocketAddr::from(([127, 0, 0, 7], 1));
        let error = process
            .wait_for_listeners(&[nobody], Duration::from_secs(5))
            .unwrap_err();
        assert!(
            error.to_string().contains("before it listened"),
            "{error:#}"
        );
    }

    #[test]
    fn free_ports_differ_and_stay_below_the_ephemeral_range() {
        let ports = free_ports([127, 0, 0, 7], 5).unwrap();
        let mut distinct: Vec<u16> = ports.iter().map(SocketAddr::port).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 5);
        assert!(distinct.iter().all(|port| (20_000..32_000).contains(port)));
    }
}
