//! The daemon takes over another configuration while it runs: nobody is disturbed whom the change does not concern.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use support::daemon::{Daemon, address};
use support::{machine, signal, stderr, stdout, verona, write};

const ADMIN: &str = "[admin]\nlisten = \"unix:verona.sock\"\ntoken_file = \"admin.token\"\n";
const CAPULET: &str = "[[domain]]\nname = \"capulet.lit\"\n";
const ROOMS: &str =
    "[[domain]]\nname = \"rooms.capulet.lit\"\ncomponent = { secret_file = \"rooms.secret\" }\n";

/// Two servers that know each other.
struct World {
    ours: tempfile::TempDir,
    theirs: tempfile::TempDir,
    capulet: Daemon,
    _montague: Daemon,
    /// The part of our configuration that stays.
    common: String,
}

impl World {
    fn new() -> Self {
        let (ours, theirs) = (machine(), machine());
        for file in [
            "ca.pem",
            "certs/montague.lit/fullchain.pem",
            "certs/montague.lit/privkey.pem",
        ] {
            std::fs::copy(ours.path().join(file), theirs.path().join(file)).unwrap();
        }
        write(&ours.path().join("admin.token"), "t0k3n\n");
        // Whoever starts first does not know where the other will be.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = format!(
            "[[domain]]\nname = \"montague.lit\"\n[s2s]\nlisten = [\"127.0.0.1:0\"]\n[tls]\ntrust = [\"ca.pem\"]\n\
             [admin]\nlisten = \"unix:verona.sock\"\n\
             [[peer]]\ndomain = \"capulet.lit\"\naddress = \"{port}\"\n\
             [[peer]]\ndomain = \"*.capulet.lit\"\naddress = \"{port}\"\n"
        );
        let montague = Daemon::start(theirs.path(), &config);
        let common = format!(
            "[s2s]\nlisten = [\"{port}\"]\n[tls]\ntrust = [\"ca.pem\"]\n[components]\nlisten = [\"127.0.0.1:0\"]\n\
             {ADMIN}[[peer]]\ndomain = \"montague.lit\"\naddress = \"{}\"\n",
            listening(&montague, "servers")
        );
        let capulet = Daemon::start(ours.path(), &format!("{CAPULET}{ROOMS}{common}"));
        Self {
            ours,
            theirs,
            capulet,
            _montague: montague,
            common,
        }
    }

    fn put(&self, config: &str) {
        write(&self.ours.path().join("verona.toml"), config);
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        ask(self.ours.path(), arguments)
    }

    fn reload(&self, config: &str) -> String {
        self.put(config);
        let output = self.ask(&["reload"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    }

    /// The links as JSON.
    fn links(&self) -> Vec<serde_json::Value> {
        let output = self.ask(&["links", "--json"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        document["links"].as_array().unwrap().clone()
    }

    /// Which links carry a pair of this domain of ours, by their names.
    fn links_of(&self, local: &str) -> Vec<u64> {
        self.links()
            .iter()
            .filter(|link| {
                let pairs = link["pairs"].as_array().unwrap();
                pairs.iter().any(|pair| pair["local"] == local)
            })
            .map(|link| link["id"].as_u64().unwrap())
            .collect()
    }

    fn component(&self, secret: &str) -> TcpStream {
        let at = listening(&self.capulet, "components");
        support::component(&at, "rooms.capulet.lit", secret)
    }
}

fn ask(dir: &Path, arguments: &[&str]) -> Output {
    let mut arguments = arguments.to_vec();
    arguments.extend(["-c", "verona.toml"]);
    verona(dir, &arguments)
}

fn listening(daemon: &Daemon, whom: &str) -> String {
    let line = daemon
        .log
        .lines()
        .find(|line| line.contains(&format!("listening for {whom}")));
    address(line.unwrap())
}

fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "{wanted} is not in {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[test]
fn a_domain_goes_and_comes_back_and_the_others_do_not_notice() {
    //= BIDI-79
    let mut world = World::new();
    let ping = |dir: &Path, from: &str, to: &str| {
        let output = ask(dir, &["ping", "--timeout", "10", from, to]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    };
    let mut rooms = world.component("s3cr3t");
    ping(world.ours.path(), "capulet.lit", "montague.lit");
    rooms
        .write_all(b"<message from='a@rooms.capulet.lit' to='romeo@montague.lit' id='m1'/>")
        .unwrap();
    read_until(&mut rooms, "</message>");
    let before = world.links_of("capulet.lit");
    assert!(!world.links_of("rooms.capulet.lit").is_empty());

    let said = world.reload(&format!("{CAPULET}{}", world.common));
    assert_eq!(said, "reloaded: domains removed: rooms.capulet.lit\n");
    let end = read_until(&mut rooms, "</stream:stream>");
    assert!(end.contains("<host-gone "), "{end}");
    drop(rooms);
    assert_eq!(world.links_of("capulet.lit"), before);
    assert!(world.links_of("rooms.capulet.lit").is_empty());
    // Who has a proven link hears it from there; the answer is an error, and an error answers a ping.
    ping(world.theirs.path(), "montague.lit", "rooms.capulet.lit");
    ping(world.ours.path(), "capulet.lit", "montague.lit");
    assert_eq!(world.links_of("capulet.lit"), before);

    write(&world.ours.path().join("rooms.secret"), "0th3r\n");
    world.put(&format!("{CAPULET}{ROOMS}{}", world.common));
    signal(&world.capulet.child.0, "HUP");
    world
        .capulet
        .wait_for("the configuration was reloaded: domains added: rooms.capulet.lit");
    let mut rooms = world.component("0th3r");
    rooms
        .write_all(b"<message from='a@rooms.capulet.lit' to='romeo@montague.lit' id='m2'/>")
        .unwrap();
    assert!(read_until(&mut rooms, "</message>").contains("id='m2'"));
    ping(world.ours.path(), "capulet.lit", "montague.lit");
    assert_eq!(world.links_of("capulet.lit"), before);
}

#[test]
fn a_component_without_a_place_goes_and_its_domain_stays() {
    let world = World::new();
    let mut rooms = world.component("s3cr3t");
    let plain = "[[domain]]\nname = \"rooms.capulet.lit\"\n";
    let said = world.reload(&format!("{CAPULET}{plain}{}", world.common));
    assert_eq!(said, "reloaded: the same domains and listeners as before\n");
    let end = read_until(&mut rooms, "</stream:stream>");
    assert!(end.contains("<not-authorized "), "{end}");
    assert_eq!(
        stdout(&world.ask(&["components"])),
        "no domain has a component\n"
    );
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let mut world = World::new();
    let _rooms = world.component("s3cr3t");
    world.put(&format!(
        "{CAPULET}{}[log]\nlevle = \"debug\"\n",
        world.common
    ));
    let output = world.ask(&["reload"]);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(1), String::new())
    );
    let said = stderr(&output);
    assert!(
        said.starts_with(
            "error: the configuration was not reloaded, and the one before stays in force\n"
        ),
        "{said}"
    );
    assert!(said.contains("error: unknown key `levle`"), "{said}");
    assert!(said.contains(" --> verona.toml:"), "{said}");
    assert!(said.contains("did you mean `level`?"), "{said}");
    let line = world.capulet.wait_for("unknown key");
    assert!(
        line.contains("file=verona.toml") && line.contains("line="),
        "{line}"
    );
    world
        .capulet
        .wait_for("the configuration was not reloaded: the one before stays in force");
    signal(&world.capulet.child.0, "HUP");
    world
        .capulet
        .wait_for("the configuration was not reloaded: the one before stays in force");
    assert_eq!(
        stdout(&world.ask(&["components"])),
        "DOMAIN             STATE\nrooms.capulet.lit  attached\n"
    );
    // An address that somebody else has is found out before anything is replaced.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("[\"127.0.0.1:0\", \"{}\"]", taken.local_addr().unwrap());
    let config = format!("{CAPULET}{}", world.common).replace(
        "[components]\nlisten = [\"127.0.0.1:0\"]",
        &format!("[components]\nlisten = {listen}"),
    );
    world.put(&config);
    let output = world.ask(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("cannot listen on"), "{said}");
    assert_eq!(
        stdout(&world.ask(&["components"])),
        "DOMAIN             STATE\nrooms.capulet.lit  attached\n"
    );
}

#[test]
fn what_a_peer_may_not_any_more_ends_in_good_order() {
    //= BIDI-71
    let world = World::new();
    let ping = |from: &str| world.ask(&["ping", "--timeout", "10", from, "montague.lit"]);
    assert_eq!(ping("capulet.lit").status.code(), Some(0));
    let config = format!("{CAPULET}{ROOMS}{}", world.common);
    let denied = config.replace(
        "domain = \"montague.lit\"\n",
        "domain = \"montague.lit\"\nfederate = \"deny\"\n",
    );
    world.reload(&denied);
    let until = Instant::now() + Duration::from_secs(5);
    while !world.links().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.links(), Vec::<serde_json::Value>::new());
    let output = ping("capulet.lit");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("the configuration forbids federation with montague.lit"),
        "{}",
        stderr(&output)
    );
    world.reload(&config);
    assert_eq!(ping("capulet.lit").status.code(), Some(0));
}

#[test]
fn listeners_the_token_and_the_level_of_the_log_follow() {
    let mut world = World::new();
    let config = format!("{CAPULET}{ROOMS}{}", world.common);
    let more = config.replace(
        "[components]\nlisten = [\"127.0.0.1:0\"]",
        "[components]\nlisten = [\"127.0.0.1:0\", \"unix:rooms.sock\"]",
    ) + "[log]\nlevel = \"debug\"\nformat = \"json\"\n[state]\ndirectory = \"elsewhere\"\n";
    let said = world.reload(&more);
    assert_eq!(
        said,
        "reloaded: listening on: unix:rooms.sock\n\
         a restart is needed for what changed in: state.directory, log.format\n"
    );
    assert!(world.ours.path().join("rooms.sock").exists());
    assert_eq!(
        world
            .ask(&["ping", "--timeout", "10", "capulet.lit", "montague.lit"])
            .status
            .code(),
        Some(0)
    );
    world.capulet.wait_for("looking for a server");
    write(&world.ours.path().join("admin.token"), "an0th3r\n");
    // It is shown before the server knows it.
    let output = world.ask(&["reload"]);
    assert!(
        stderr(&output).contains("that is not the token"),
        "{}",
        stderr(&output)
    );
    signal(&world.capulet.child.0, "HUP");
    world.capulet.wait_for("the configuration was reloaded");
    let said = world.reload(&config);
    assert!(
        said.contains("no longer listening on: unix:rooms.sock"),
        "{said}"
    );
    assert!(!world.ours.path().join("rooms.sock").exists());
}

#[test]
fn links_are_closed_on_request_and_what_waits_is_listed() {
    let world = World::new();
    assert_eq!(stdout(&world.ask(&["queue"])), "nothing waits\n");
    assert_eq!(
        stdout(&world.ask(&["close", "montague.lit"])),
        "there is no link with montague.lit\n"
    );
    let ping = || world.ask(&["ping", "--timeout", "10", "capulet.lit", "montague.lit"]);
    assert_eq!(ping().status.code(), Some(0));
    let before = world.links_of("capulet.lit");
    let document: serde_json::Value =
        serde_json::from_slice(&world.ask(&["queue", "--json"]).stdout).unwrap();
    assert_eq!(document["version"], 1);
    let queue = &document["queue"][0];
    assert_eq!(
        (&queue["local"], &queue["remote"], &queue["route"]),
        (
            &"capulet.lit".into(),
            &"montague.lit".into(),
            &"carried".into()
        )
    );
    assert_eq!(queue["link"].as_u64(), before.first().copied());
    assert_eq!(
        (&queue["stanzas"], &queue["bytes"], &queue["oldest_seconds"]),
        (&0.into(), &0.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        stdout(&world.ask(&["close", "montague.lit"])),
        "closing 1 link with montague.lit\n"
    );
    let until = Instant::now() + Duration::from_secs(5);
    while !world.links().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.links(), Vec::<serde_json::Value>::new());
    assert_eq!(ping().status.code(), Some(0));
    assert_ne!(world.links_of("capulet.lit"), before);
}

#[test]
fn the_end_can_be_asked_for_by_the_command_line() {
    let world = World::new();
    let output = world.ask(&["ping", "--timeout", "10", "capulet.lit", "montague.lit"]);
    assert_eq!(output.status.code(), Some(0));
    let output = world.ask(&["drain"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "stopped; since the start 1 stanzas were delivered, 0 returned to their senders, 0 dropped\n"
    );
    let World { capulet, .. } = world;
    let (status, log) = capulet.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("delivered=1 bounced=0"), "{log}");
}
