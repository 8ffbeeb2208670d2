//! `verona-interop slow-peer`: one peer takes nothing, 99 others are well, and the others must not feel it.
//! Why one sender for all of them: what waits for the one that does not read comes from where the rest comes from.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::certs::{Authority, Issued, Purposes};
use crate::elements::Reader;
use crate::fault_proxy::{Direction, FaultProxy};
use crate::matrix::command::{not_run, program};
use crate::namespace;
use crate::process::{lock, resident_kib};
use crate::speaker::attach;
use crate::verona::Verona;

/// Measures what a peer that never reads costs the others.
#[derive(Debug, Parser)]
#[command(name = "verona-interop slow-peer")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How often with such a peer, and how often without.
    #[arg(long, default_value_t = 12)]
    times: usize,
    /// The most that the others' 99th percentile may grow to, as a ratio.
    #[arg(long, default_value_t = 1.2)]
    most: f64,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    #[arg(long, hide = true)]
    inside_namespace: bool,
}

/// Runs it with the words after `slow-peer`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop slow-peer".to_owned()).chain(words.iter().cloned()),
    );
    match go(&arguments, words) {
        Ok(code) => code,
        Err(error) => {
            println!("FAILED: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &Arguments, words: &[String]) -> Result<ExitCode> {
    ensure!(
        (1..=100).contains(&arguments.times),
        "--times is a number from 1 to 100"
    );
    if let Err(error) = namespace::available() {
        return Ok(not_run("measurement", 1, &[format!("{error:#}")]));
    }
    if !arguments.inside_namespace {
        let mut all = vec!["slow-peer".to_owned()];
        all.extend_from_slice(words);
        match namespace::enter(&all)? {}
    }
    let program = program(arguments.verona.clone())?;
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-slow-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    namespace::furnish(folder.path())?;
    go_first();
    let world = World::set(folder.path(), &program)?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..arguments.times {
        without.push(world.phase(false)?);
        with.push(world.phase(true)?);
    }
    Ok(judge(&with, &without, &world, arguments.most))
}

/// Has the system run us, and all that we start, before whatever else wants to run: a processor that others have for
/// some milliseconds hides everything that is to be measured here.
fn go_first() {
    let own = std::process::id().to_string();
    let asked = Command::new("chrt")
        .args(["--all-tasks", "--rr", "--pid", "5", &own])
        .output();
    if !asked.is_ok_and(|done| done.status.success()) {
        println!("the real-time scheduler is not for us: what else runs here is measured too");
    }
}

fn judge(with: &[Phase], without: &[Phase], world: &World, most: f64) -> ExitCode {
    // What else runs on the machine only ever makes a phase slower, so the calmer ones tell.
    let calm = |phases: &[Phase], of: fn(&Phase) -> Duration| {
        let mut all: Vec<Duration> = phases.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 4).copied().unwrap_or_default()
    };
    let (p99_with, p99_without) = (calm(with, |one| one.p99), calm(without, |one| one.p99));
    for (title, phases) in [("without", without), ("with", with)] {
        let round_trips: usize = phases.iter().map(|phase| phase.round_trips).sum();
        println!(
            "{title:>7} a peer that reads nothing: p50 {:.2} ms, p99 {:.2} ms (lower quartiles of {} phases, {round_trips} round trips with {HEALTHY} peers)",
            millis(calm(phases, |one| one.p50)),
            millis(calm(phases, |one| one.p99)),
            phases.len(),
        );
    }
    let ratio = p99_with.as_secs_f64() / p99_without.as_secs_f64().max(f64::EPSILON);
    let memory = |phase: Option<&Phase>| phase.map_or(0, |phase| phase.resident_kib);
    let (first, last) = (memory(with.first()), memory(with.last()));
    println!(
        "ratio of the p99: {ratio:.2}, the most that is allowed: {most:.2}\n\
         memory: {} MiB before, {} MiB in the first phase with it, {} MiB in the last; {} stanzas for it came back",
        world.resident_before / 1024,
        first / 1024,
        last / 1024,
        world.hub.returned.load(Ordering::Relaxed),
    );
    let mut faults = Vec::new();
    if ratio > most {
        faults.push(format!("the ratio is {ratio:.2}"));
    }
    if last > first + first / 10 + GROWTH_KIB {
        faults.push(format!("memory grew from {first} KiB to {last} KiB"));
    }
    if first > world.resident_before + BACKLOG_KIB {
        faults.push(format!(
            "one peer's backlog takes {} KiB",
            first.saturating_sub(world.resident_before)
        ));
    }
    // Otherwise its queue was never full, and nothing was measured.
    if world.hub.returned.load(Ordering::Relaxed) == 0 {
        faults.push("nothing for the peer that reads nothing came back".to_owned());
    }
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    let holds = faults.is_empty();
    println!(
        "{}",
        match holds {
            true => "1 passed, 0 failed",
            false => "0 passed, 1 failed",
        }
    );
    ExitCode::from(u8::from(!holds))
}

/// Two veronas: one hosts the sender, the other all its peers, each behind a connection of its own.
struct World {
    hub: Arc<Hub>,
    proxy: FaultProxy,
    near: Verona,
    _far: Verona,
    resident_before: u64,
}

/// One stretch of time.
struct Phase {
    p50: Duration,
    p99: Duration,
    round_trips: usize,
    resident_kib: u64,
}

impl World {
    fn set(dir: &Path, program: &Path) -> Result<Self> {
        let authority = Authority::new()?;
        authority.write(&dir.join("ca.pem"))?;
        for (side, name) in [("near", "hub.capulet.lit"), ("far", "*.montague.lit")] {
            Issued::new(name, Purposes::ServerAndClient, Some(&authority))?
                .write_together(&dir.join(format!("{side}-certs")), "all")?;
        }
        let far_domains: Vec<String> = (0..=HEALTHY).map(far_domain).collect();
        let far = start(dir, program, "far", FAR, &far_domains, "")?;
        let proxied = SocketAddr::from(([127, 0, 2, 2], PORT));
        let proxy = FaultProxy::start(proxied, SocketAddr::from((FAR, PORT)), 1)?;
        let mut peers = format!(
            "\n[[peer]]\ndomain = \"{}\"\naddress = \"{proxied}\"\n",
            far_domain(0)
        );
        peers.push_str(&format!(
            "\n[[peer]]\ndomain = \"*.montague.lit\"\naddress = \"{}\"\n",
            SocketAddr::from((FAR, PORT))
        ));
        let near = start(
            dir,
            program,
            "near",
            NEAR,
            &["hub.capulet.lit".to_owned()],
            &peers,
        )?;
        for (number, domain) in far_domains.iter().enumerate() {
            let (stream, reader, _) = attach(far.components, domain, SECRET, PATIENCE)?;
            thread::spawn(move || echo(stream, reader, number > 0));
        }
        let hub = Hub::start(near.components)?;
        let world = Self {
            hub,
            proxy,
            resident_before: 0,
            near,
            _far: far,
        };
        world.meet()?;
        Ok(Self {
            resident_before: resident_kib(world.near.process.id()).context("its memory")?,
            ..world
        })
    }

    /// Until every peer has answered once.
    fn meet(&self) -> Result<()> {
        self.hub.is_measuring.store(true, Ordering::Relaxed);
        let until = Instant::now() + PATIENCE;
        while self.hub.answered_by() < HEALTHY {
            ensure!(
                Instant::now() < until,
                "{} of {HEALTHY} peers have answered",
                self.hub.answered_by()
            );
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn phase(&self, is_bad: bool) -> Result<Phase> {
        let returned = self.hub.returned.load(Ordering::Relaxed);
        match is_bad {
            true => self.proxy.stall(Direction::ToServer),
            false => self.proxy.heal(),
        }
        self.hub.is_loading.store(true, Ordering::Relaxed);
        let until = Instant::now() + PATIENCE;
        // Its queue is full when stanzas come back, and empty when as many have arrived as were sent.
        if is_bad {
            while self.hub.returned.load(Ordering::Relaxed) == returned {
                ensure!(Instant::now() < until, "its queue never fills");
                thread::sleep(Duration::from_millis(50));
            }
        } else {
            thread::sleep(DRAINED_AFTER);
        }
        thread::sleep(CALM);
        lock(&self.hub.round_trips).clear();
        thread::sleep(MEASURED);
        let mut taken = std::mem::take(&mut *lock(&self.hub.round_trips));
        taken.sort_unstable();
        ensure!(
            taken.len() >= ROUND_TRIPS_MIN,
            "{} round trips only",
            taken.len()
        );
        let at = |part: usize| {
            taken
                .get(taken.len() * part / 100)
                .copied()
                .unwrap_or_default()
        };
        Ok(Phase {
            p50: at(50),
            p99: at(99),
            round_trips: taken.len(),
            resident_kib: resident_kib(self.near.process.id()).context("its memory")?,
        })
    }
}

/// The one who sends to all.
struct Hub {
    began: Instant,
    is_measuring: AtomicBool,
    /// Whether the peer behind the proxy is sent to.
    is_loading: AtomicBool,
    round_trips: Mutex<Vec<Duration>>,
    answered: Vec<AtomicU64>,
    returned: AtomicUsize,
}

impl Hub {
    fn start(server: SocketAddr) -> Result<Arc<Self>> {
        let (stream, reader, _) = attach(server, "hub.capulet.lit", SECRET, PATIENCE)?;
        let hub = Arc::new(Self {
            began: Instant::now(),
            is_measuring: AtomicBool::new(false),
            is_loading: AtomicBool::new(false),
            round_trips: Mutex::default(),
            answered: (0..=HEALTHY).map(|_| AtomicU64::new(0)).collect(),
            returned: AtomicUsize::new(0),
        });
        let (ears, mind, mouth) = (Arc::clone(&hub), Arc::clone(&hub), Arc::clone(&hub));
        let input = stream.try_clone()?;
        let (arrivals, arrived) = mpsc::channel();
        thread::spawn(move || ears.listen(input, &arrivals));
        thread::spawn(move || mind.understand(&arrived, reader));
        thread::spawn(move || mouth.talk(stream));
        Ok(hub)
    }

    fn answered_by(&self) -> usize {
        let answered = self.answered.iter();
        answered
            .filter(|count| count.load(Ordering::Relaxed) > 0)
            .count()
    }

    /// One peer after the other, evenly in time; the one behind the proxy gets much more.
    fn talk(&self, mut stream: TcpStream) -> Result<()> {
        let padding = "x".repeat(LOAD_BYTES);
        let mut next = Instant::now();
        let mut turn = 0_usize;
        loop {
            let peer = 1 + turn % HEALTHY;
            turn += 1;
            let mut text = String::new();
            if self.is_measuring.load(Ordering::Relaxed) {
                // The id says when it was sent.
                let sent = self.began.elapsed().as_nanos();
                text.push_str(&format!(
                    "<iq from='a@hub.capulet.lit' to='b@{}' type='get' id='{peer}-{sent}'><ping xmlns='urn:xmpp:ping'/></iq>",
                    far_domain(peer)
                ));
            }
            if self.is_loading.load(Ordering::Relaxed) && turn.is_multiple_of(LOAD_EVERY) {
                text.push_str(&format!(
                    "<message from='a@hub.capulet.lit' to='b@{}' id='load'><body>{padding}</body></message>",
                    far_domain(0)
                ));
            }
            stream.write_all(text.as_bytes())?;
            next += BETWEEN;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Notes when something comes, and reads on: an error with all that it returns takes us longer to understand than a
    /// whole round trip takes, and what comes behind it must not seem to be late for that.
    fn listen(&self, mut stream: TcpStream, arrivals: &mpsc::Sender<Arrival>) -> Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let length = read(&mut stream, &mut buffer)?;
            let at = self.began.elapsed();
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            arrivals.send(Arrival { at, bytes })?;
        }
    }

    fn understand(&self, arrived: &mpsc::Receiver<Arrival>, mut reader: Reader) -> Result<()> {
        for Arrival { at, bytes } in arrived {
            for element in reader.read(&bytes)? {
                if element.kind == "error" {
                    self.returned.fetch_add(1, Ordering::Relaxed);
                } else if let Some((peer, sent)) = element.id.split_once('-') {
                    let (peer, sent): (usize, u64) = (peer.parse()?, sent.parse()?);
                    if let Some(count) = self.answered.get(peer) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    let took = at.saturating_sub(Duration::from_nanos(sent));
                    lock(&self.round_trips).push(took);
                }
            }
        }
        Ok(())
    }
}

/// Bytes, and when they came.
struct Arrival {
    at: Duration,
    bytes: Vec<u8>,
}

/// A component that answers every IQ.
fn echo(mut stream: TcpStream, mut reader: Reader, answers: bool) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = read(&mut stream, &mut buffer)?;
        for element in reader.read(buffer.get(..length).unwrap_or_default())? {
            if answers && element.name == "iq" {
                let answer = format!(
                    "<iq from='{}' to='{}' type='result' id='{}'/>",
                    element.to, element.from, element.id
                );
                stream.write_all(answer.as_bytes())?;
            }
        }
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    match stream.read(buffer)? {
        0 => bail!("the server has ended a component's connection"),
        length => Ok(length),
    }
}

fn start(
    dir: &Path,
    program: &Path,
    name: &str,
    ip: [u8; 4],
    domains: &[String],
    peers: &str,
) -> Result<Verona> {
    let at = |port| SocketAddr::from((ip, port));
    let mut text = format!(
        r#"[s2s]
listen = ["{s2s}"]
listen_tls = []
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["127.0.0.1:9"]

[components]
listen = ["{components}"]

[admin]
listen = "{admin}"

[defaults]
multiplex = "off"
limits = {{ streams_per_address_max = 4096, negotiations_max = 4096 }}
"#,
        s2s = at(PORT),
        certificates = dir.join(format!("{name}-certs")).display(),
        authority = dir.join("ca.pem").display(),
        components = at(COMPONENTS),
        admin = at(ADMIN),
    );
    for domain in domains {
        text.push_str(&format!(
            "\n[[domain]]\nname = \"{domain}\"\ncomponent = {{ secret = \"{SECRET}\" }}\n"
        ));
    }
    text.push_str(peers);
    let listeners = [at(PORT), at(COMPONENTS), at(ADMIN)];
    Verona::start_with(dir, name, program, &text, &listeners, at(COMPONENTS))
        .with_context(|| format!("starting {name}"))
}

/// The one with the number 0 is behind the proxy.
fn far_domain(number: usize) -> String {
    format!("d{number}.montague.lit")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

const HEALTHY: usize = 99;
const NEAR: [u8; 4] = [127, 0, 1, 1];
const FAR: [u8; 4] = [127, 0, 2, 1];
const PORT: u16 = 5269;
const COMPONENTS: u16 = 5347;
const ADMIN: u16 = 5280;
const SECRET: &str = "wisely and slow";
/// A peer's turn comes every tenth of a second.
const BETWEEN: Duration = Duration::from_millis(1);
/// For the peer behind the proxy: 100 a second, so that its queue is full within seconds.
const LOAD_EVERY: usize = 10;
const LOAD_BYTES: usize = 20_000;
const CALM: Duration = Duration::from_millis(500);
const DRAINED_AFTER: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(2);
const ROUND_TRIPS_MIN: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);
/// What an allocator may keep.
const GROWTH_KIB: u64 = 4 * 1024;
/// A full queue (4 MiB), what was read and written meanwhile, and as much again for what the allocator keeps.
const BACKLOG_KIB: u64 = 24 * 1024;
