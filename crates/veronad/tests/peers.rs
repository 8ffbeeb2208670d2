//! What is learned about peers: shown, kept over a restart and a crash, forgotten on request, and never in the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::daemon::{Daemon, address};
use support::{http, machine, signal, stderr, stdout, verona, write};

const CONFIG: &str = r#"
[[domain]]
name = "capulet.lit"
[s2s]
listen = ["127.0.0.1:0"]
[tls]
trust = ["ca.pem"]
"#;

const SOCKET: &str = "[admin]\nlisten = \"unix:verona.sock\"\n";

/// A configuration in which montague.lit is where nobody listens.
fn with_nobody() -> String {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    format!("{CONFIG}[[peer]]\ndomain = \"montague.lit\"\naddress = \"{closed}\"\n")
}

fn ping(dir: &Path) -> Option<i32> {
    let ping = ["ping", "-c", "verona.toml", "capulet.lit", "montague.lit"];
    verona(dir, &ping).status.code()
}

fn table(dir: &Path) -> String {
    let output = verona(dir, &["peers", "-c", "verona.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

fn peers(dir: &Path) -> Vec<Value> {
    let output = verona(dir, &["peers", "-c", "verona.toml", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    document["peers"].as_array().unwrap().clone()
}

/// The text with `TIME` for each moment.
fn timeless(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20") {
        let moment = rest.get(at..at + 24).filter(|text| {
            text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.'
        });
        let (before, after) = match moment {
            Some(_) => (format!("{}TIME", &rest[..at]), &rest[at + 24..]),
            None => (rest[..at + 2].to_owned(), &rest[at + 2..]),
        };
        out.push_str(&before);
        rest = after;
    }
    out + rest
}

/// Waits until the file is there and satisfies.
fn wait_for_file(path: &Path, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if wanted(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{} is\n{text}", path.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_failure_is_shown_with_advice_and_survives_a_crash() {
    let dir = machine();
    let config = with_nobody() + SOCKET;
    let mut daemon = Daemon::start(dir.path(), &config);
    assert_eq!(table(dir.path()), "nothing is known of any peer yet\n");
    assert_eq!(peers(dir.path()), Vec::<Value>::new());
    assert_eq!(ping(dir.path()), Some(1));

    let shown = table(dir.path());
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert_eq!(
        timeless(lines[0]),
        "montague.lit  not reachable, next attempt not before TIME"
    );
    let cause = timeless(lines[1]);
    assert!(
        cause.starts_with("  last failure TIME, at the step connect: ")
            && cause.contains("Connection refused"),
        "{cause}"
    );
    assert_eq!(
        lines[2],
        "    the peer's server is down, or a firewall on either side is in the way (ports 5269 and 5270)"
    );
    let peer = peers(dir.path()).remove(0);
    assert_eq!(peer["domain"], "montague.lit");
    assert_eq!(peer["links"], json!([]));
    assert_eq!(peer["learned"], json!([]));
    assert_eq!(peer["ignored"], false);
    assert_eq!(peer["early_deaths"], 0);
    assert_eq!(peer["failure"]["phase"], "connect");
    assert_eq!(peer["failure"]["reached"], Value::Null);
    for name in ["cause", "advice", "since"] {
        assert!(peer["failure"][name].is_string(), "{name} is not in {peer}");
    }
    assert!(peer["next_attempt"].is_string(), "{peer}");

    // Within seconds it is on disk, and then nothing can take it away.
    let file = dir.path().join("state/peers.json");
    wait_for_file(&file, |text| text.contains("montague.lit"));
    daemon.child.0.kill().unwrap();
    daemon.child.0.wait().unwrap();
    let daemon = Daemon::start(dir.path(), &config);
    assert!(
        daemon
            .log
            .contains("what earlier runs learned about peers was read"),
        "{}",
        daemon.log
    );
    let restored = peers(dir.path()).remove(0);
    assert_eq!(restored["failure"]["phase"], "connect");
    assert_eq!(restored["failure"]["since"], peer["failure"]["since"]);
    // A new process has no reason to wait.
    assert_eq!(restored["next_attempt"], Value::Null);
    assert!(
        table(dir.path())
            .starts_with("montague.lit  not reachable, next attempt with the next stanza\n"),
        "{}",
        table(dir.path())
    );
}

#[test]
fn what_was_learned_last_is_kept_at_the_end() {
    let dir = machine();
    let daemon = Daemon::start(dir.path(), &(with_nobody() + SOCKET));
    assert_eq!(ping(dir.path()), Some(1));
    signal(&daemon.child.0, "TERM");
    assert_eq!(daemon.end().0, Some(0));
    let kept = std::fs::read_to_string(dir.path().join("state/peers.json")).unwrap();
    let document: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["peers"][0]["domain"], "montague.lit");
    assert_eq!(document["peers"][0]["failure"]["phase"], "connect");
}

#[test]
fn what_works_is_learned_by_both_sides_and_forgotten_with_the_token_alone() {
    let (capulet, montague) = (machine(), machine());
    // Both trust the authority of the one.
    for name in [
        "ca.pem",
        "certs/montague.lit/fullchain.pem",
        "certs/montague.lit/privkey.pem",
    ] {
        std::fs::copy(capulet.path().join(name), montague.path().join(name)).unwrap();
    }
    let theirs = CONFIG.replace("capulet.lit", "montague.lit") + SOCKET;
    let theirs = Daemon::start(montague.path(), &theirs);
    let at = address(
        theirs
            .log
            .lines()
            .find(|line| line.contains("listening for servers"))
            .unwrap(),
    );
    write(&capulet.path().join("admin.token"), "s3cr3t-t0ken\n");
    let config = format!(
        "{CONFIG}[[peer]]\ndomain = \"montague.lit\"\naddress = \"{at}\"\n{SOCKET}token_file = \"admin.token\"\n"
    );
    let ours = Daemon::start(capulet.path(), &config);
    assert_eq!(ping(capulet.path()), Some(0));

    let (here, there) = (table(capulet.path()), table(montague.path()));
    assert!(
        here.starts_with("montague.lit  connected (link ")
            && there.starts_with("capulet.lit  connected (link "),
        "{here}{there}"
    );
    for (shown, lesson) in [
        (&here, "bidi        works  it took our request"),
        (&here, "external    works  it took our certificate"),
        (
            &here,
            "pipelining  works  it announced that it need not be waited for",
        ),
        (&there, "bidi      works  it requested it"),
    ] {
        let line = shown.lines().find(|line| line.contains(lesson));
        let line = line.unwrap_or_else(|| panic!("{lesson} is not in\n{shown}"));
        assert!(timeless(line).ends_with("since TIME, until TIME"), "{line}");
    }

    let forget = |extra: &[&str]| {
        let arguments = [&["forget", "-c", "verona.toml"], extra].concat();
        let output = verona(capulet.path(), &arguments);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let told = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(
        forget(&["montague.lit"]),
        told("forgot what was known about montague.lit\n")
    );
    assert_eq!(
        forget(&["montague.lit"]),
        told("nothing was known about montague.lit\n")
    );
    // It is connected all the same.
    let line = table(capulet.path());
    assert!(
        line.starts_with("montague.lit  connected") && line.lines().count() == 1,
        "{line}"
    );
    assert_eq!(
        forget(&["--all"]),
        told("forgot what was known about 0 peers\n")
    );
    wait_for_file(&capulet.path().join("state/peers.json"), |text| {
        text.contains("\"peers\": []")
    });

    // The daemon does not read the file again: another token is another token.
    write(&capulet.path().join("admin.token"), "an0ther\n");
    let (status, _, said) = forget(&["--all"]);
    assert_eq!(status, Some(1));
    assert!(
        said.starts_with("error: that is not the token in `[admin] token_file`"),
        "{said}"
    );
    // And one that runs without a token changes nothing for anybody.
    write(&montague.path().join("admin.token"), "s3cr3t-t0ken\n");
    let config = std::fs::read_to_string(montague.path().join("verona.toml")).unwrap();
    write(
        &montague.path().join("verona.toml"),
        &(config + "token_file = \"admin.token\"\n"),
    );
    let output = verona(montague.path(), &["forget", "--all", "-c", "verona.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: nothing can be changed here: the server runs without `[admin] token_file`\n"
    );
    assert!(table(montague.path()).contains("it requested it"));
    drop(ours);
}

#[test]
fn the_api_changes_nothing_without_the_token() {
    let dir = machine();
    write(&dir.path().join("admin.token"), "s3cr3t-t0ken\n");
    let config =
        format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"admin.token\"\n");
    let daemon = Daemon::start(dir.path(), &config);
    let at = address(
        daemon
            .log
            .lines()
            .find(|line| line.contains("the API"))
            .unwrap(),
    );
    let post = |query: &str, headers: &str| {
        let request = format!(
            "POST /api/v1/forget{query} HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0\r\n{headers}\r\n"
        );
        http(&at, &request)
    };
    let bearer = "Authorization: Bearer s3cr3t-t0ken\r\n";
    for (query, headers, status) in [
        ("?all=true", "", 401),
        ("?all=true", "Authorization: Bearer s3cr3t-t0ke\r\n", 401),
        ("?all=true", "Authorization: Basic s3cr3t-t0ken\r\n", 401),
        ("?all=true", &format!("{bearer}{bearer}"), 401),
        ("", "", 401),
        (
            "?all=true",
            &format!("{bearer}Origin: https://evil.example\r\n"),
            403,
        ),
        ("", bearer, 400),
        ("?all=false", bearer, 400),
        ("?all=maybe", bearer, 400),
        ("?peer=a.lit&all=true", bearer, 400),
        ("?peer=%20", bearer, 400),
        ("?peer=a.lit", bearer, 200),
        ("?all=true", bearer, 200),
    ] {
        let (said, body) = post(query, headers);
        assert_eq!(said, status, "{query} {headers}{body}");
        let document: Value = serde_json::from_str(&body).unwrap();
        match status {
            200 => assert_eq!(document, json!({"version": 1, "forgotten": 0})),
            _ => assert!(
                document["error"]
                    .as_str()
                    .is_some_and(|text| text.contains(' '))
            ),
        }
    }
    let (status, _) = http(
        &at,
        &format!("GET /api/v1/forget?all=true HTTP/1.1\r\nHost: {at}\r\n{bearer}\r\n"),
    );
    assert_eq!(status, 405);
    let (status, body) = http(
        &at,
        &format!("GET /api/v1/peers HTTP/1.1\r\nHost: {at}\r\n\r\n"),
    );
    assert_eq!(
        (status, body.as_str()),
        (200, "{\"version\":1,\"peers\":[]}")
    );
    assert!(!daemon.log.contains("s3cr3t"), "{}", daemon.log);
}

#[test]
fn a_file_that_cannot_be_read_is_put_aside_and_never_in_the_way() {
    for bad in [
        "{\"version\": 1, \"peers\": [{\"dom",
        "\u{0}\u{0}\u{0}",
        "{\"version\": 7, \"peers\": {}}",
    ] {
        let dir = machine();
        let file = dir.path().join("state/peers.json");
        write(&file, bad);
        let daemon = Daemon::start(dir.path(), &format!("{CONFIG}{SOCKET}"));
        assert_eq!(
            daemon
                .log
                .matches("cannot be read and was put aside")
                .count(),
            1,
            "{}",
            daemon.log
        );
        assert_eq!(
            daemon
                .log
                .contains("it has version 7, and this verona knows version 1"),
            bad.contains('7'),
            "{}",
            daemon.log
        );
        assert_eq!(table(dir.path()), "nothing is known of any peer yet\n");
        let aside = dir.path().join("state/peers.json.aside");
        assert_eq!(std::fs::read_to_string(aside).unwrap(), bad);
        wait_for_file(&file, |text| text.contains("\"peers\": []"));
    }
}

#[test]
fn nothing_in_the_file_is_believed_for_ever() {
    let dir = machine();
    let lesson = |since: &str, until: &str| json!({"topic": "bidi", "outcome": "hangs-up", "text": "x", "since": since, "until": until});
    let entry = |domain: &str, lesson: Value| json!({"domain": domain, "lessons": [lesson]});
    let document = json!({"version": 1, "saved": "never", "peers": [
        entry("past.lit", lesson("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z")),
        entry("future.lit", lesson("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z")),
        entry("before.lit", lesson("-9999-01-01T00:00:00Z", "0000-01-01T00:00:00Z")),
        entry("not a domain", lesson("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")),
        entry("strange.lit", json!({"topic": "weather", "outcome": 7})),
        {"domain": "deaths.lit", "early_deaths": -1, "failure": {"phase": "connect", "cause": "x", "since": "9999-12-31T23:59:59Z"}},
        {"domain": "deaths.lit", "early_deaths": 1e99, "failure": []},
        7, null, [], {},
    ]});
    write(&dir.path().join("state/peers.json"), &document.to_string());
    let daemon = Daemon::start(dir.path(), &format!("{CONFIG}{SOCKET}"));
    assert!(
        daemon.log.contains("what earlier runs learned"),
        "{}",
        daemon.log
    );
    assert_eq!(peers(dir.path()), Vec::<Value>::new());
}

#[test]
fn a_directory_that_cannot_be_written_is_told_once_and_not_in_the_way() {
    let dir = machine();
    // Not even root writes below a file.
    let config = with_nobody() + SOCKET + "[state]\ndirectory = \"ca.pem/state\"\n";
    let mut daemon = Daemon::start(dir.path(), &config);
    daemon.wait_for("what is learned about peers is not kept over a restart: Not a directory");
    assert!(daemon.log.contains("[state] directory"), "{}", daemon.log);
    assert_eq!(ping(dir.path()), Some(1));
    assert!(table(dir.path()).contains("Connection refused"));
    std::thread::sleep(Duration::from_secs(5));
    signal(&daemon.child.0, "TERM");
    let (status, log) = daemon.end();
    assert_eq!(status, Some(0), "{log}");
    assert_eq!(
        log.matches("is not kept over a restart").count(),
        1,
        "{log}"
    );
}

#[test]
fn the_directory_is_the_supervisors_unless_the_file_names_one() {
    let dir = machine();
    let given = dir.path().join("given");
    let list = format!("{}:/nowhere", given.display());
    let start = |config: &str| {
        let daemon = Daemon::start_with(dir.path(), config, |command| {
            command.env("STATE_DIRECTORY", &list);
        });
        signal(&daemon.child.0, "TERM");
        daemon.end();
    };
    start(&format!("{CONFIG}{SOCKET}[state]\ndirectory = \"named\"\n"));
    assert!(dir.path().join("named/peers.json").exists() && !given.exists());
    start(&format!("{CONFIG}{SOCKET}"));
    assert!(given.join("peers.json").exists());
    assert!(!dir.path().join("state").exists());
}
