//! `verona-interop journal`: a verona with a journal is killed again and again while components talk through it.
//! Why at random instants: what a crash can lose, it loses between two lines of code that nobody thought of.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

mod account;
mod measure;
mod talker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::Value;

use crate::certs::{Authority, Issued, Purposes};
use crate::matrix::command::program;
use crate::process::{Process, free_ports, tail};
use crate::verona::Verona;
use account::{Account, told};
use talker::{End, Talker};

/// Kills a verona with a journal under traffic.
#[derive(Debug, Parser)]
#[command(name = "verona-interop journal")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How often it is killed.
    #[arg(long, default_value_t = 15)]
    times: usize,
    /// The instants are drawn from this number [default: the time].
    #[arg(long)]
    seed: Option<u64>,
    /// Kill nothing, and measure what the journal costs, so many times.
    #[arg(long, value_name = "TIMES")]
    measure: Option<usize>,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
}

/// Runs it with the words after `journal`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop journal".to_owned()).chain(words.iter().cloned()),
    );
    let began = Instant::now();
    match go(&arguments) {
        Ok(seen) => {
            let took = began.elapsed().as_secs_f32();
            println!("ok: journal ({took:.1} s): {seen}\n1 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("FAILED: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn go(arguments: &Arguments) -> Result<String> {
    let program = program(arguments.verona.clone())?;
    let mut folder = tempfile::Builder::new()
        .prefix("verona-interop-journal-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    if let Some(rounds) = arguments.measure {
        return measure::run(folder.path(), &program, rounds);
    }
    let seed = arguments.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::from(now.unwrap_or_default().subsec_nanos())
    });
    let mut chance = Chance(seed);
    let world = World::set(folder.path(), &program)?;
    let outgoing = Arc::new(Account::default());
    let incoming = Arc::new(Account::default());
    let talkers = [
        Talker::begin(
            End {
                address: world.near.components,
                domain: NEAR.to_owned(),
                asked: NEAR_SITE.to_owned(),
                other: FAR.to_owned(),
                outgoing: Arc::clone(&outgoing),
                incoming: Arc::clone(&incoming),
            },
            SECRET,
        ),
        Talker::begin(
            End {
                address: world.far.components,
                domain: FAR.to_owned(),
                asked: FAR_SITE.to_owned(),
                other: NEAR.to_owned(),
                outgoing: Arc::clone(&incoming),
                incoming: Arc::clone(&outgoing),
            },
            SECRET,
        ),
    ];
    let mut young = 0;
    for time in 0..arguments.times {
        // Now and then it does not live to see its first connection.
        if time % 5 == 4 {
            let mut process = world.near.launch(folder.path(), &program)?;
            thread::sleep(chance.below(YOUNG));
            ensure!(process.is_running(), "{}", world.near.said(folder.path()));
            young += 1;
        } else {
            let verona = world.near.start(folder.path(), &program, &world.far)?;
            thread::sleep(chance.below(OLD));
            // Dropping it kills it.
            drop(verona);
        }
        if time % 50 == 49 {
            println!("… journal: {} of {} times", time + 1, arguments.times);
        }
    }
    // The last one lives, and what was taken is to arrive.
    let last = world.near.start(folder.path(), &program, &world.far)?;
    thread::sleep(OLD);
    for talker in &talkers {
        talker.hush();
    }
    settle(&outgoing, &incoming);
    let status: Value = serde_json::from_str(&last.says(&["status", "--json"])?)?;
    for talker in talkers {
        talker.end();
    }
    let ended = last.process.terminate(Duration::from_secs(12))?;
    ensure!(ended.success(), "the last verona ended with {ended}");
    judge(&outgoing, &incoming, &status).with_context(|| {
        let (out, back) = (outgoing.result(), incoming.result());
        format!(
            "seed {seed}; of {} from the component nobody knows {}; of {} to it {}; {status}",
            out.sent,
            told(&out.unknown),
            back.sent,
            told(&back.unknown)
        )
    })?;
    let (out, back) = (outgoing.result(), incoming.result());
    Ok(format!(
        "killed at {} random instants ({young} of them before it listened, seed {seed}); from its component {} messages, {} \
         accepted, 0 missing, {} came {} times more, all marked; to its component {} messages, {} returned, {} unknown, {} \
         came again, all marked; {} and {} out of order",
        arguments.times,
        out.sent,
        out.accepted,
        out.repetitions.min(out.arrived),
        out.repetitions,
        back.sent,
        back.returned,
        back.unknown.len(),
        back.repetitions,
        out.inversions,
        back.inversions,
    ))
}

/// Waits until nothing more comes.
fn settle(outgoing: &Account, incoming: &Account) {
    let until = Instant::now() + SETTLED_MAX;
    let mut quiet_since = Instant::now();
    let mut before = 0;
    while Instant::now() < until {
        let (out, back) = (outgoing.result(), incoming.result());
        let known = out.arrived + out.returned + out.accepted + back.arrived + back.returned;
        if known != before {
            before = known;
            quiet_since = Instant::now();
        }
        let is_all = out.missing.is_empty() && back.unknown.is_empty();
        if quiet_since.elapsed() > if is_all { QUIET } else { QUIET * 10 } {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn judge(outgoing: &Account, incoming: &Account, status: &Value) -> Result<()> {
    let (out, back) = (outgoing.result(), incoming.result());
    ensure!(
        out.accepted > 0 && back.arrived > 0,
        "nothing was said: the test shows nothing"
    );
    ensure!(
        out.missing.is_empty(),
        "{} accepted messages are missing: {}",
        out.missing.len(),
        told(&out.missing)
    );
    for (whose, result) in [("from", &out), ("to", &back)] {
        ensure!(
            result.unmarked.is_empty(),
            "{} messages {whose} the component came twice without a mark: {:?}",
            result.unmarked.len(),
            result.unmarked.first()
        );
        ensure!(
            result.inversions == 0,
            "{} messages {whose} the component came out of order",
            result.inversions
        );
    }
    // What the near one had not acknowledged came back from the far one, which nobody killed.
    ensure!(
        back.unknown.is_empty(),
        "{} messages to the component neither came nor came back",
        back.unknown.len()
    );
    ensure!(
        out.marked > 0,
        "nothing was ever recovered: the test shows nothing"
    );
    for account in [outgoing, incoming] {
        let surprises = &account.entries().surprises;
        ensure!(surprises.is_empty(), "{:?}", surprises.first());
    }
    let journal = status
        .get("status")
        .and_then(|status| status.get("journal"))
        .context("the status tells of no journal")?;
    for (what, wanted) in [("entries", 0), ("set_aside", 0), ("refused", 0)] {
        let count = journal.get(what).and_then(Value::as_u64);
        ensure!(count == Some(wanted), "{what} of the journal: {count:?}");
    }
    Ok(())
}

/// The two veronas: the near one is killed.
struct World {
    near: Side,
    far: Side,
    /// It lives as long as the test.
    _far: Verona,
}

struct Side {
    name: &'static str,
    s2s: SocketAddr,
    components: SocketAddr,
    admin: SocketAddr,
}

impl Side {
    fn new(name: &'static str, address: [u8; 4]) -> Result<Self> {
        let [s2s, components, admin] = *free_ports(address, 3)?.as_slice() else {
            bail!("no free ports");
        };
        Ok(Self {
            name,
            s2s,
            components,
            admin,
        })
    }

    fn text(&self, dir: &Path, peer: SocketAddr, domains: &str, other: &str) -> String {
        format!(
            r#"[s2s]
listen = ["{s2s}"]
listen_tls = []
bind = ["{ip}"]

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
identity = ["certificate"]
# One that was killed takes up no stream, and here one is killed all the time.
limits = {{ resume_seconds = 1, retry_seconds_max = 1 }}

[[peer]]
domain = "*.{other}"
address = "{peer}"

{domains}"#,
            s2s = self.s2s,
            ip = self.s2s.ip(),
            certificates = dir.join("certs").display(),
            authority = dir.join("ca.pem").display(),
            components = self.components,
            admin = self.admin,
        )
    }

    /// Starts it, and waits until it listens.
    fn start(&self, dir: &Path, program: &Path, peer: &Self) -> Result<Verona> {
        let text = match self.name {
            "near" => {
                let domains = hosted(&[NEAR, PLAIN], true, NEAR_SITE);
                self.text(dir, peer.s2s, &domains, FAR_SITE)
            }
            _ => self.text(dir, peer.s2s, &hosted(&[FAR], false, FAR_SITE), NEAR_SITE),
        };
        let listeners = [self.s2s, self.components, self.admin];
        Verona::start_with(dir, self.name, program, &text, &listeners, self.components)
    }

    /// Starts it with the configuration that it has, and waits for nothing.
    fn launch(&self, dir: &Path, program: &Path) -> Result<Process> {
        let file = dir.join(self.name).join("verona.toml");
        Process::start(
            self.name,
            dir,
            program,
            &["run", "-c", &file.to_string_lossy()],
        )
    }

    fn said(&self, dir: &Path) -> String {
        tail(&dir.join(format!("{}.log", self.name)), 20)
    }
}

impl World {
    fn set(dir: &Path, program: &Path) -> Result<Self> {
        let authority = Authority::new()?;
        authority.write(&dir.join("ca.pem"))?;
        for domain in [NEAR, NEAR_SITE, PLAIN, FAR, FAR_SITE] {
            Issued::new(domain, Purposes::ServerAndClient, Some(&authority))?
                .write_together(&dir.join("certs"), domain)?;
        }
        let near = Side::new("near", [127, 0, 0, 2])?;
        let far = Side::new("far", [127, 0, 0, 3])?;
        let far_verona = far.start(dir, program, &near)?;
        Ok(Self {
            near,
            far,
            _far: far_verona,
        })
    }
}

/// Components, of which the first may have a journal, and a domain without one.
fn hosted(components: &[&str], has_journal: bool, site: &str) -> String {
    let mut text = format!("[[domain]]\nname = \"{site}\"\n");
    for (index, name) in components.iter().enumerate() {
        let journal = has_journal && index == 0;
        text.push_str(&format!(
            "\n[[domain]]\nname = \"{name}\"\ncomponent = {{ secret = \"{SECRET}\" }}\njournal = {journal}\n"
        ));
    }
    text
}

/// SplitMix64: instants that a seed repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(z % micros)
    }
}

const NEAR: &str = "rooms.capulet.lit";
/// A component beside that one, without a journal.
const PLAIN: &str = "plain.capulet.lit";
const NEAR_SITE: &str = "capulet.lit";
const FAR: &str = "rooms.montague.lit";
const FAR_SITE: &str = "montague.lit";
const SECRET: &str = "a plague on both your houses";
/// How long one lives at most, from when it listens.
const OLD: Duration = Duration::from_millis(700);
/// How long one lives at most that is not waited for.
const YOUNG: Duration = Duration::from_millis(200);
/// When nothing came for so long and nothing is missing, nothing more comes.
const QUIET: Duration = Duration::from_millis(500);
const SETTLED_MAX: Duration = Duration::from_secs(90);
