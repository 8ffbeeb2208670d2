//! `verona-interop rotation`: certificates are replaced again and again under two veronas that talk all the while.
//! Why so often: what a renewal can break, a handshake at a bad moment or a stanza on its way, it breaks once in a thousand.

// The report is the product of this command.
#![allow(clippy::print_stdout)]

mod layout;
mod talk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde_json::Value;

use crate::certs::{Authority, Issued};
use crate::matrix::command::{not_run, program};
use crate::process::{PYTHON, Script, free_ports};
use crate::verona::Verona;
use layout::{Between, Layout, Place};
use talk::Talk;

/// Replaces certificates under traffic.
#[derive(Debug, Parser)]
#[command(name = "verona-interop rotation")]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// How many certificates are replaced.
    #[arg(long, default_value_t = 20)]
    times: usize,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
}

/// Runs it with the words after `rotation`.
#[must_use]
pub fn run(words: &[String]) -> ExitCode {
    let arguments = Arguments::parse_from(
        std::iter::once("verona-interop rotation".to_owned()).chain(words.iter().cloned()),
    );
    if !Path::new(PYTHON).exists() {
        return not_run(
            "rotation",
            1,
            &[format!("{PYTHON} (Debian package python3)")],
        );
    }
    let began = Instant::now();
    match go(&arguments) {
        Ok(seen) => {
            let took = began.elapsed().as_secs_f32();
            println!("ok: rotation ({took:.1} s): {seen}\n1 passed, 0 failed");
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
        .prefix("verona-interop-rotation-")
        .tempdir()?;
    folder.disable_cleanup(arguments.keep);
    if arguments.keep {
        println!("kept in {}", folder.path().display());
    }
    let mut world = World::set(folder.path(), &program)?;
    let talk = Talk::begin(&world.pairs())?;
    let steady = world.steady()?;
    // Several rounds even if it is few: each has its own way of being interrupted.
    let rounds = arguments.times.div_ceil(world.places.len()).max(ROUNDS_MIN);
    let mut left = arguments.times;
    for round in 0..rounds {
        let number = left.div_ceil(rounds - round);
        left -= number;
        world
            .rotate(round, number)
            .with_context(|| format!("round {round}"))?;
        if round % 10 == 9 {
            println!(
                "… rotation: {} of {}",
                arguments.times - left,
                arguments.times
            );
        }
    }
    let messages = talk.end()?;
    ensure!(
        world.steady()? == steady,
        "the connection that was busy all the time was replaced"
    );
    let handshakes = world.watch_ends()?;
    let connections = world.end()?;
    Ok(format!(
        "{} certificates replaced in {rounds} rounds and {} layouts, each shown to a new connection, none before it was \
         whole; {handshakes} handshakes of a stranger, none failed; {messages} messages on {connections} connections \
         between the two, none lost, none twice, all in order",
        arguments.times,
        Layout::ALL.len()
    ))
}

/// Two veronas, what they show, and who watches it.
struct World {
    dir: PathBuf,
    authority: Authority,
    near: Verona,
    far: Verona,
    watch: Script,
    /// The certificates that are replaced, by their domains, near and far in turn.
    places: Vec<(String, Place, Issued)>,
    /// How often each was replaced, counting the first.
    numbers: BTreeMap<String, u64>,
    /// What the watch saw of each.
    seen: BTreeMap<String, Vec<u64>>,
    next: usize,
    /// Rounds in which both were asked to reload, at a bad moment and at a good one.
    asked: usize,
}

/// One of the two.
struct Side {
    name: &'static str,
    site: &'static str,
    starttls: SocketAddr,
    direct: SocketAddr,
    components: SocketAddr,
    admin: SocketAddr,
}

impl Side {
    fn new(name: &'static str, site: &'static str, address: [u8; 4]) -> Result<Self> {
        let [starttls, direct, components, admin] = *free_ports(address, 4)?.as_slice() else {
            bail!("no free ports");
        };
        Ok(Self {
            name,
            site,
            starttls,
            direct,
            components,
            admin,
        })
    }

    fn domains(&self) -> Vec<String> {
        (0..PAIRS)
            .map(|number| format!("d{number}.{}", self.site))
            .chain([format!("{STEADY}.{}", self.site)])
            .collect()
    }

    fn start(&self, dir: &Path, program: &Path, peer: &Self, dial: &str) -> Result<Verona> {
        let root = dir.join(self.name);
        let directories: Vec<String> = Layout::ALL
            .iter()
            .map(|layout| format!("{:?}", layout.directory(&root)))
            .collect();
        let mut text = format!(
            r#"[s2s]
listen = ["{starttls}"]
listen_tls = ["{direct}"]
bind = ["{ip}"]

[tls]
certificates = [{directories}]
trust = ["{authority}"]

[dns]
servers = ["127.0.0.1:9"]

[components]
listen = ["{components}"]

[admin]
listen = "{admin}"

[defaults]
identity = ["certificate"]
multiplex = "off"
limits = {{ idle_seconds = 1, streams_per_address_max = 4096, negotiations_max = 4096 }}

[[peer]]
domain = "*.{site}"
address = "{dial}"
"#,
            starttls = self.starttls,
            direct = self.direct,
            ip = self.starttls.ip(),
            directories = directories.join(", "),
            authority = dir.join("ca.pem").display(),
            components = self.components,
            admin = self.admin,
            site = peer.site,
        );
        for domain in self.domains() {
            text.push_str(&format!(
                "\n[[domain]]\nname = \"{domain}\"\ncomponent = {{ secret = \"{SECRET}\" }}\n"
            ));
        }
        let listeners = [self.starttls, self.direct, self.components, self.admin];
        let name = format!("{}-verona", self.name);
        Verona::start_with(dir, &name, program, &text, &listeners, self.components)
    }
}

impl World {
    fn set(dir: &Path, program: &Path) -> Result<Self> {
        let authority = Authority::new()?;
        authority.write(&dir.join("ca.pem"))?;
        let near = Side::new("near", "capulet.lit", [127, 0, 0, 2])?;
        let far = Side::new("far", "montague.lit", [127, 0, 0, 3])?;
        let (mut places, mut targets) = (Vec::new(), Vec::new());
        for number in 0..=PAIRS {
            for side in [&near, &far] {
                let domains = side.domains();
                let domain = domains.get(number).context("a domain of each number")?;
                let layout = Layout::ALL.get(number % Layout::ALL.len());
                let layout = *layout.context("a layout of each number")?;
                let place = Place::new(layout, &dir.join(side.name), domain);
                let issued = Issued::numbered(domain, 1, &authority)?;
                place.finish(&issued, 1)?;
                if number < PAIRS {
                    targets.push(format!("{domain}={}", side.direct));
                    places.push((domain.clone(), place, issued));
                }
            }
        }
        // One dials by STARTTLS, the other begins with TLS.
        let by_tls = format!("tls://{}", near.direct);
        let far_verona = far.start(dir, program, &near, &by_tls)?;
        let near_verona = near.start(dir, program, &far, &far.starttls.to_string())?;
        let mut arguments = vec![dir.join("ca.pem").display().to_string(), WATCH.to_owned()];
        arguments.extend(targets);
        let source = include_str!("../../peers/tls_watch.py");
        let watch = Script::start("watch", dir, source, &arguments)?;
        let mut world = Self {
            dir: dir.to_owned(),
            authority,
            near: near_verona,
            far: far_verona,
            watch,
            numbers: places
                .iter()
                .map(|(domain, _, _)| (domain.clone(), 1))
                .collect(),
            places,
            seen: BTreeMap::new(),
            next: 0,
            asked: 0,
        };
        world.wait_until_seen().context("the first certificates")?;
        Ok(world)
    }

    /// Each pair: both domains, and where their components attach.
    fn pairs(&self) -> Vec<[(String, SocketAddr); 2]> {
        let name = |number: usize| match number {
            PAIRS => STEADY.to_owned(),
            number => format!("d{number}"),
        };
        (0..=PAIRS)
            .map(|number| {
                [
                    (
                        format!("{}.capulet.lit", name(number)),
                        self.near.components,
                    ),
                    (
                        format!("{}.montague.lit", name(number)),
                        self.far.components,
                    ),
                ]
            })
            .collect()
    }

    /// Replaces so many certificates at once: by a change of the files alone, or with SIGHUP at a bad and at a good moment.
    fn rotate(&mut self, round: usize, number: usize) -> Result<()> {
        let ways = [Between::Half, Between::ChainFirst, Between::KeyFirst];
        let between = *ways
            .get(round % ways.len())
            .context("a way for each round")?;
        let is_asked = round % 2 == 1;
        let chosen: Vec<usize> = (0..number)
            .map(|offset| (self.next + offset) % self.places.len())
            .collect();
        self.next += number;
        let mut renewed = Vec::new();
        for index in chosen {
            let (domain, place, old) = self.places.get(index).context("a place")?;
            let serial = self.numbers.get(domain).copied().unwrap_or(0) + 1;
            let new = Issued::numbered(domain, serial, &self.authority)?;
            place.begin(old, &new, serial, between)?;
            renewed.push((index, serial, new));
        }
        if is_asked {
            self.asked += 1;
            self.hang_up()?;
            thread::sleep(BAD_MOMENT);
        } else {
            // Long enough for a look at it every other time.
            thread::sleep(if round.is_multiple_of(4) {
                LONG_MOMENT
            } else {
                BAD_MOMENT
            });
        }
        self.take_in()?;
        self.check()?;
        for (index, serial, new) in renewed {
            let (domain, place, old) = self.places.get_mut(index).context("a place")?;
            self.numbers.insert(domain.clone(), serial);
            place.finish(&new, serial)?;
            *old = new;
        }
        if is_asked {
            self.hang_up()?;
        }
        self.wait_until_seen()
    }

    fn hang_up(&self) -> Result<()> {
        for verona in [&self.near, &self.far] {
            verona.process.signal("HUP")?;
        }
        Ok(())
    }

    /// Until a new connection was shown the latest certificate of every domain.
    fn wait_until_seen(&mut self) -> Result<()> {
        let until = Instant::now() + SEEN_MAX;
        loop {
            self.take_in()?;
            self.check()?;
            let is_seen = |(domain, number): (&String, &u64)| {
                self.seen.get(domain).and_then(|seen| seen.last()) == Some(number)
            };
            if self.numbers.iter().all(is_seen) {
                return Ok(());
            }
            if Instant::now() > until {
                let missed: Vec<_> = self.numbers.iter().filter(|pair| !is_seen(*pair)).collect();
                bail!("not shown within {SEEN_MAX:?}: {missed:?}");
            }
        }
    }

    /// Takes what the watch has said.
    fn take_in(&mut self) -> Result<()> {
        while let Some(line) = self.watch.next(Duration::from_millis(20))? {
            if let Some(fault) = line.get("fault") {
                bail!("a handshake failed: {fault}");
            }
            let (domain, serial) = (line.get("seen"), line.get("serial"));
            let (Some(domain), Some(serial)) = (
                domain.and_then(Value::as_str),
                serial.and_then(Value::as_u64),
            ) else {
                bail!("the watch said {line}");
            };
            self.seen.entry(domain.to_owned()).or_default().push(serial);
        }
        Ok(())
    }

    /// Every domain showed each of its certificates, in their order, and none that was not whole yet.
    fn check(&self) -> Result<()> {
        for (domain, seen) in &self.seen {
            let wanted: Vec<u64> = (1..=self.numbers.get(domain).copied().unwrap_or(0)).collect();
            let is_right = wanted.starts_with(seen);
            ensure!(is_right, "{domain} showed {seen:?} of {wanted:?}");
        }
        Ok(())
    }

    /// The ids of the connection that is never idle, on both sides.
    fn steady(&self) -> Result<Vec<u64>> {
        let until = Instant::now() + SEEN_MAX;
        loop {
            let mut ids = Vec::new();
            for verona in [&self.near, &self.far] {
                let links = verona.links()?;
                let steady = links.iter().filter(|link| is_steady(link));
                ids.extend(steady.filter_map(|link| link.get("id")?.as_u64()));
            }
            if ids.len() == 2 {
                return Ok(ids);
            }
            ensure!(
                Instant::now() < until,
                "the busy pair has the connections {ids:?}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends the watch home, and says how many handshakes it made.
    fn watch_ends(&mut self) -> Result<u64> {
        self.watch.tell(&Value::from("end"))?;
        let last = self.watch.wait_for("handshakes", SEEN_MAX)?;
        let handshakes = last.get("handshakes").and_then(Value::as_u64);
        handshakes.context("the watch did not count")
    }

    /// Ends both, and says how many connections there were between them: in their logs there is nothing to worry about,
    /// but for a stranger that comes and goes, and for what is wrong with the files at the moment of a reload.
    fn end(self) -> Result<usize> {
        let Self {
            dir,
            near,
            far,
            asked,
            ..
        } = self;
        for verona in [near, far] {
            let status = verona.process.terminate(Duration::from_secs(12))?;
            ensure!(status.success(), "a verona ended with {status}");
        }
        let mut streams = BTreeSet::new();
        for side in ["near", "far"] {
            let log = fs::read_to_string(dir.join(format!("{side}-verona.log")))?;
            let (mut taken, mut refused) = (0, 0);
            for line in log.lines() {
                taken += usize::from(line.contains(TAKEN));
                refused += usize::from(line.contains(REFUSED));
                let is_bad = line.contains(" WARN ") || line.contains(" ERROR ");
                let is_excused = [WATCH, REFUSED, OF_THE_FILE]
                    .iter()
                    .any(|excuse| line.contains(excuse));
                ensure!(!is_bad || is_excused, "{side}: {line}");
                if side == "near" && line.contains("stanzas may flow") {
                    let stream = line
                        .split(' ')
                        .find_map(|word| word.strip_prefix("stream="));
                    streams.extend(stream.map(str::to_owned));
                }
            }
            // Halfway through a renewal a reload may find what is no certificate; with all in place it must not. A signal
            // that comes before the one before it was heard is the same signal.
            ensure!(
                taken >= asked && taken + refused <= 2 * asked,
                "{side}: of 2 reloads in each of {asked} rounds {taken} were taken and {refused} refused"
            );
        }
        Ok(streams.len())
    }
}

fn is_steady(link: &Value) -> bool {
    link.get("pairs")
        .and_then(Value::as_array)
        .is_some_and(|pairs| {
            pairs.iter().any(|pair| {
                pair.get("local")
                    .and_then(Value::as_str)
                    .is_some_and(|local| local.starts_with(STEADY))
            })
        })
}

/// Pairs of domains whose certificates are replaced.
const PAIRS: usize = 10;
/// The first label of the pair that always talks, and whose certificates stay.
const STEADY: &str = "steady";
/// Where the stranger comes from.
const WATCH: &str = "127.0.0.4";
const SECRET: &str = "what's in a name";
/// What the log says of a reload.
const TAKEN: &str = "the configuration was reloaded";
const REFUSED: &str = "the configuration was not reloaded";
/// Stands behind what is wrong with the configuration, or with a file that it names.
const OF_THE_FILE: &str = "verona.toml line=";
const ROUNDS_MIN: usize = 4;
/// Between the first file of a renewal and the last.
const BAD_MOMENT: Duration = Duration::from_millis(400);
/// The same, longer than verona waits between two looks.
const LONG_MOMENT: Duration = Duration::from_millis(3500);
/// For a certificate to be shown: two looks, and a round of the watch. Between two looks verona rests for fifty times as long
/// as one took, a minute at the most: on a machine that lets it wait that is not two seconds.
const SEEN_MAX: Duration = Duration::from_secs(150);
