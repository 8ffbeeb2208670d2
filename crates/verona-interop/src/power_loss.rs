//! `verona-interop power-loss`: a peer vanishes from the network, is killed meanwhile, and comes back after 15 s.
//! Why this one by itself: it is how servers lose messages in silence; two Prosodys as they are installed lose all of them.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::certs::{Authority, Issued, Purposes};
use crate::dns::{NameServer, Service};
use crate::fault_proxy::FaultProxy;
use crate::matrix::command::{not_run, program};
use crate::process::lock;
use crate::prosody::{self, Prosody};
use crate::speaker::Speaker;
use crate::verona::Verona;
use crate::{namespace, scene};

/// Lets peers lose their power while messages are on the way to them.
#[derive(Debug, Parser)]
#[command(name = "verona-interop power-loss")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How many peers lose it.
    #[arg(long, default_value_t = 2)]
    times: usize,
    /// How many at a time.
    #[arg(long, default_value_t = 10)]
    at_once: usize,
    /// Peers without stream management, whose losses nobody can know of: count them, and pass.
    #[arg(long)]
    plain: bool,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    #[arg(long, hide = true)]
    inside_namespace: bool,
}

/// Runs it with the words after `power-loss`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop power-loss".to_owned()).chain(words.iter().cloned()),
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
        (1..=200).contains(&arguments.times) && (1..=50).contains(&arguments.at_once),
        "--times is a number from 1 to 200, --at-once one from 1 to 50"
    );
    let mut lacking = scene::missing();
    if let Err(error) = namespace::available() {
        lacking.push(format!("{error:#}"));
    }
    if !lacking.is_empty() {
        return Ok(not_run("power losses", arguments.times, &lacking));
    }
    if !arguments.inside_namespace {
        let mut all = vec!["power-loss".to_owned()];
        all.extend_from_slice(words);
        match namespace::enter(&all)? {}
    }
    let program = program(arguments.verona.clone())?;
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-power-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    namespace::furnish(folder.path())?;
    let world = World::set(folder.path(), &program, arguments)?;
    let results = world.play_all(arguments.times, arguments.at_once);
    Ok(judge(&results, arguments.plain))
}

fn judge(results: &[Result<Seen>], is_plain: bool) -> ExitCode {
    let (mut passed, mut failed) = (0_usize, 0_usize);
    let mut sum = Seen::default();
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(seen) => {
                let is_good = is_plain || seen.lost.is_empty() && seen.twice == 0;
                passed += usize::from(is_good);
                failed += usize::from(!is_good);
                let word = if is_good { "ok" } else { "FAILED" };
                println!("{word}: power loss {number}: {seen}");
                sum.add(seen);
            }
            Err(error) => {
                failed += 1;
                println!("FAILED: power loss {number}: {error:#}");
            }
        }
    }
    println!(
        "in all: {sum}; the last was known {:.1} s after the power came back at the latest",
        sum.known_after.as_secs_f32()
    );
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// What became of the messages of one power loss.
#[derive(Clone, Debug, Default)]
struct Seen {
    delivered: usize,
    returned: usize,
    both: usize,
    twice: usize,
    lost: Vec<usize>,
    /// From the peer's return to the moment at which the last message's fate was known.
    known_after: Duration,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.returned += other.returned;
        self.both += other.both;
        self.twice += other.twice;
        self.lost.extend(&other.lost);
        self.known_after = self.known_after.max(other.known_after);
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} messages arrived, {} came back, {} both, {} arrived twice, {} were lost",
            self.delivered,
            self.returned,
            self.both,
            self.twice,
            self.lost.len()
        )
    }
}

/// One verona; the peers come and go.
struct World {
    verona: Verona,
    _names: NameServer,
    authority: Authority,
    dir: PathBuf,
    is_plain: bool,
}

impl World {
    fn set(dir: &Path, program: &Path, arguments: &Arguments) -> Result<Self> {
        let authority = Authority::new()?;
        authority.write(&dir.join("ca.pem"))?;
        let certificates = dir.join("certs");
        let mut text = format!(
            r#"[s2s]
listen = ["{NEAR}:{PORT}"]
listen_tls = []
bind = ["{NEAR}"]
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["{dns}"]

[components]
listen = ["{NEAR}:{COMPONENTS}"]

[admin]
listen = "{NEAR}:{ADMIN}"

[defaults]
limits = {{ retry_seconds_max = 5, streams_per_address_max = 4096 }}
"#,
            certificates = certificates.display(),
            authority = dir.join("ca.pem").display(),
            dns = namespace::NAME_SERVER,
        );
        let (mut services, mut names) = (Vec::new(), Vec::new());
        for number in 0..arguments.times {
            let place = Place::of(number)?;
            text.push_str(&format!(
                "\n[[domain]]\nname = \"{}\"\ncomponent = {{ secret = \"{SECRET}\" }}\n\n\
                 [[peer]]\ndomain = \"{}\"\naddress = \"{}\"\nlimits = {{ acknowledgement_seconds = {} }}\n",
                place.near,
                place.component,
                place.proxy,
                // Noticed before the power is back by some, and by others behind it.
                if matches!(number % 4, 0 | 3) { 30 } else { 10 }
            ));
            services.push(Service {
                domain: place.near.clone(),
                address: SocketAddr::new(NEAR.parse()?, PORT),
                direct_tls: false,
            });
            names.push(place.near);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Issued::for_names(&names, Purposes::ServerAndClient, Some(&authority))?
            .write_together(&certificates, "all")?;
        let names = NameServer::start_at(dir, namespace::NAME_SERVER, &services)?;
        let at = |port| -> Result<SocketAddr> { Ok(SocketAddr::new(NEAR.parse()?, port)) };
        let listeners = [at(PORT)?, at(COMPONENTS)?, at(ADMIN)?];
        let verona =
            Verona::start_with(dir, "verona", program, &text, &listeners, at(COMPONENTS)?)?;
        Ok(Self {
            verona,
            _names: names,
            authority,
            dir: dir.to_owned(),
            is_plain: arguments.plain,
        })
    }

    fn play_all(&self, times: usize, at_once: usize) -> Vec<Result<Seen>> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..at_once.min(times) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= times {
                            return;
                        }
                        let seen = self.play(number);
                        lock(&results).push((number, seen));
                    }
                });
            }
        });
        let mut results = std::mem::take(&mut *lock(&results));
        results.sort_by_key(|(number, _)| *number);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn play(&self, number: usize) -> Result<Seen> {
        let place = Place::of(number)?;
        let seed = u64::try_from(number)?;
        let proxy = FaultProxy::start(place.proxy, place.server, seed)?;
        let prosody = self.start_prosody(&place)?;
        let before = Speaker::connect(prosody.components, &place.component, SECRET)?;
        let near = Speaker::connect(self.verona.components, &place.near, SECRET)?;
        // The two know each other.
        near.say(&place.component, 0..1)?;
        ensure!(
            before.wait_for(1, MEET_MAX) == 1,
            "the first message did not arrive: {:?}",
            near.bounces()
        );
        thread::sleep(AT_REST);
        proxy.black_hole();
        // Every other peer comes back behind a line on which nobody ends the old connections.
        if number % 2 == 1 {
            proxy.strand();
        }
        let began = Instant::now();
        let mut prosody = Some(prosody);
        for message in 1..=MESSAGES {
            near.say(&place.component, message..message + 1)?;
            if message == MESSAGES / 4 {
                drop(prosody.take());
            }
            thread::sleep(AWAY / 2 / u32::try_from(MESSAGES)?);
        }
        thread::sleep(AWAY.saturating_sub(began.elapsed()));
        let prosody = self.start_prosody(&place)?;
        let after = Speaker::connect(prosody.components, &place.component, SECRET)?;
        proxy.heal();
        let back = Instant::now();
        let fate = |message: usize| {
            let arrived = [&before, &after]
                .iter()
                .map(|speaker| {
                    speaker
                        .messages()
                        .iter()
                        .filter(|one| **one == message)
                        .count()
                })
                .sum::<usize>();
            let bounces = near.bounces();
            (
                arrived,
                bounces.iter().any(|bounce| bounce.number == message),
            )
        };
        let known = || {
            let known = (1..=MESSAGES).map(fate);
            known
                .filter(|(arrived, is_back)| *arrived > 0 || *is_back)
                .count()
        };
        while known() < MESSAGES && back.elapsed() < KNOWN_MAX {
            thread::sleep(Duration::from_millis(100));
        }
        let mut seen = Seen {
            known_after: back.elapsed(),
            ..Seen::default()
        };
        // What comes twice comes by then.
        thread::sleep(AT_REST);
        for message in 1..=MESSAGES {
            let (arrived, is_back) = fate(message);
            seen.twice += arrived.saturating_sub(1);
            match (arrived > 0, is_back) {
                (true, false) => seen.delivered += 1,
                (false, true) => seen.returned += 1,
                (true, true) => seen.both += 1,
                (false, false) => seen.lost.push(message),
            }
        }
        let numbers: BTreeSet<usize> = near.bounces().iter().map(|bounce| bounce.number).collect();
        ensure!(
            !numbers.contains(&0),
            "the first message arrived and came back"
        );
        Ok(seen)
    }

    fn start_prosody(&self, place: &Place) -> Result<Prosody> {
        let names = [place.peer.as_str(), place.component.as_str()];
        let files = Issued::for_names(&names, Purposes::ServerAndClient, Some(&self.authority))?
            .write_apart(&self.dir.join("prosody-certs"), &place.peer)?;
        Prosody::start(
            &self.dir,
            &prosody::Settings {
                name: &place.peer,
                address: place.server,
                direct_tls: false,
                domain: &place.peer,
                certificate: &files,
                component: Some((&place.component, SECRET, &files)),
                authority: Some(&self.dir.join("ca.pem")),
                secure: true,
                dns: namespace::NAME_SERVER,
                root: None,
                log: "info",
                global: match self.is_plain {
                    true => "smacks_enabled_s2s = false\n",
                    false => "",
                },
                hosts: "",
            },
        )
        .with_context(|| format!("starting {}", place.peer))
    }
}

/// Where a peer is and what it is called.
struct Place {
    near: String,
    peer: String,
    component: String,
    server: SocketAddr,
    proxy: SocketAddr,
}

impl Place {
    fn of(number: usize) -> Result<Self> {
        let own = u8::try_from(number)?;
        Ok(Self {
            near: format!("t{number}.capulet.lit"),
            peer: format!("p{number}.lit"),
            component: format!("c.p{number}.lit"),
            server: SocketAddr::from(([127, 2, own, 1], PORT)),
            proxy: SocketAddr::from(([127, 2, own, 2], PORT)),
        })
    }
}

const NEAR: &str = "127.0.1.1";
const PORT: u16 = 5269;
const COMPONENTS: u16 = 5347;
const ADMIN: u16 = 5280;
const SECRET: &str = "a plague o' both your houses";
/// While the peer is away.
const MESSAGES: usize = 20;
const AWAY: Duration = Duration::from_secs(15);
const AT_REST: Duration = Duration::from_millis(500);
const MEET_MAX: Duration = Duration::from_secs(30);
/// Nobody waits longer for an error: the limits for acknowledgements and for the age of a stanza, and something.
const KNOWN_MAX: Duration = Duration::from_secs(150);
