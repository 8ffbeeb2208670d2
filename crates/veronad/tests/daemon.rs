//! The daemon as an operator meets it: signals, the API over TCP and a Unix socket, what it says when it cannot start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use support::daemon::{Daemon, address};
use support::{exchange, http, machine, signal, stderr, stdout, verona, write};

const CONFIG: &str = r#"
[[domain]]
name = "capulet.lit"
[[domain]]
name = "rooms.capulet.lit"
component = { secret_file = "rooms.secret" }
[s2s]
listen = ["127.0.0.1:0"]
[tls]
trust = ["ca.pem"]
[components]
listen = ["127.0.0.1:0"]
"#;

fn with_socket() -> String {
    format!("{CONFIG}[admin]\nlisten = \"unix:verona.sock\"\n")
}

#[test]
fn sigterm_drains_and_exits_0() {
    let dir = machine();
    let daemon = Daemon::start(dir.path(), &with_socket());
    signal(&daemon.child.0, "TERM");
    let (status, log) = daemon.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    assert!(log.contains("delivered=0 bounced=0"), "{log}");
    assert!(!dir.path().join("verona.sock").exists());
}

#[test]
fn ctrl_c_is_as_good_as_sigterm() {
    let dir = machine();
    let daemon = Daemon::start(dir.path(), &with_socket());
    signal(&daemon.child.0, "INT");
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let dir = machine();
    // A peer that takes the connection and says nothing keeps a stanza waiting, and so the draining going.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "{}[[peer]]\ndomain = \"montague.lit\"\naddress = \"{}\"\n",
        with_socket(),
        silent.local_addr().unwrap()
    );
    let mut daemon = Daemon::start(dir.path(), &config);
    let path = dir.path().to_owned();
    let ping = std::thread::spawn(move || {
        verona(
            &path,
            &[
                "ping",
                "-c",
                "verona.toml",
                "--timeout",
                "20",
                "capulet.lit",
                "montague.lit",
            ],
        )
    });
    let _held = silent.accept().unwrap();
    let began = Instant::now();
    signal(&daemon.child.0, "TERM");
    daemon.wait_for("draining");
    std::thread::sleep(Duration::from_millis(300));
    signal(&daemon.child.0, "TERM");
    let (status, log) = daemon.end();
    assert!(began.elapsed() < Duration::from_secs(4), "{log}");
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("stopped at once by a second signal"), "{log}");
    assert_eq!(ping.join().unwrap().status.code(), Some(1));
}

#[test]
fn what_cannot_be_delivered_is_returned_before_the_end() {
    let dir = machine();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "{}[defaults]\nlimits = {{ drain_seconds = 2 }}\n[[peer]]\ndomain = \"montague.lit\"\naddress = \"{}\"\n",
        with_socket(),
        silent.local_addr().unwrap()
    );
    let daemon = Daemon::start(dir.path(), &config);
    let at = address(
        daemon
            .log
            .lines()
            .find(|line| line.contains("listening for components"))
            .unwrap(),
    );
    let mut component = support::component(&at, "rooms.capulet.lit", "s3cr3t");
    assert_eq!(
        stdout(&verona(dir.path(), &["components", "-c", "verona.toml"])),
        "DOMAIN             STATE\nrooms.capulet.lit  attached\n"
    );
    component
        .write_all(b"<message from='a@rooms.capulet.lit' to='romeo@montague.lit' id='m1'><body>x</body></message>")
        .unwrap();
    let _held = silent.accept().unwrap();
    signal(&daemon.child.0, "TERM");
    let mut received = String::new();
    let _ = component.read_to_string(&mut received);
    let (status, log) = daemon.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("bounced=1"), "{log}");
    assert!(
        received.contains("type='error'") && received.contains("id='m1'"),
        "{received}"
    );
}

#[test]
fn the_command_line_asks_over_a_unix_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = machine();
    let _daemon = Daemon::start(dir.path(), &with_socket());
    let mode = std::fs::metadata(dir.path().join("verona.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);

    let output = verona(dir.path(), &["links", "-c", "verona.toml"]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), "no live connection\n")
    );
    let output = verona(dir.path(), &["links", "-c", "verona.toml", "--json"]);
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(links, serde_json::json!({"version": 1, "links": []}));

    let output = verona(dir.path(), &["status", "-c", "verona.toml"]);
    assert!(
        stdout(&output).contains("domains:     capulet.lit, rooms.capulet.lit"),
        "{}",
        stdout(&output)
    );
    let output = verona(dir.path(), &["components", "-c", "verona.toml"]);
    assert_eq!(
        stdout(&output),
        "DOMAIN             STATE\nrooms.capulet.lit  absent\n"
    );

    let output = verona(
        dir.path(),
        &["ping", "-c", "verona.toml", "montague.lit", "capulet.lit"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "error: montague.lit is not hosted here\n");

    let stream = UnixStream::connect(dir.path().join("verona.sock")).unwrap();
    let (status, body) = exchange(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
}

#[test]
fn two_daemons_federate_and_show_it() {
    let (capulet, montague) = (machine(), machine());
    // Both trust the authority of the one.
    std::fs::copy(
        capulet.path().join("ca.pem"),
        montague.path().join("ca.pem"),
    )
    .unwrap();
    for file in ["fullchain.pem", "privkey.pem"] {
        let name = Path::new("certs/montague.lit").join(file);
        std::fs::copy(capulet.path().join(&name), montague.path().join(&name)).unwrap();
    }
    let config = "[[domain]]\nname = \"montague.lit\"\n[s2s]\nlisten = [\"127.0.0.1:0\"]\n\
                  [tls]\ntrust = [\"ca.pem\"]\n[admin]\nlisten = \"unix:verona.sock\"\n";
    let theirs = Daemon::start(montague.path(), config);
    let at = address(
        theirs
            .log
            .lines()
            .find(|line| line.contains("listening for servers"))
            .unwrap(),
    );
    let config = format!(
        "{}[[peer]]\ndomain = \"montague.lit\"\naddress = \"{at}\"\n",
        with_socket()
    );
    let ours = Daemon::start(capulet.path(), &config);

    let output = verona(
        capulet.path(),
        &["ping", "-c", "verona.toml", "capulet.lit", "montague.lit"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).starts_with("pong from montague.lit to capulet.lit in "),
        "{}",
        stdout(&output)
    );

    let output = verona(capulet.path(), &["links", "-c", "verona.toml", "--json"]);
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [link] = links["links"].as_array().unwrap().as_slice() else {
        panic!("{links}")
    };
    assert_eq!(link["role"], "initiating");
    assert_eq!(link["transport"], "starttls");
    assert_eq!(link["peer_address"], at);
    assert_eq!(link["bidi"], true);
    assert_eq!(
        (&link["stanzas_in"], &link["stanzas_out"]),
        (&1.into(), &1.into())
    );
    for name in [
        "id",
        "local_address",
        "bytes_in",
        "bytes_out",
        "rtt_ms",
        "unacknowledged",
        "since",
    ] {
        assert!(link.get(name).is_some(), "{name} is not in {link}");
    }
    assert!(link["tls"]["version"].is_string() && link["tls"]["cipher_suite"].is_string());
    let pair = &link["pairs"][0];
    assert_eq!(
        (&pair["local"], &pair["remote"]),
        (&"capulet.lit".into(), &"montague.lit".into())
    );
    assert_eq!(
        pair["send"],
        serde_json::json!({"by": "sasl", "inverse": false, "identity": "certificate"})
    );
    assert_eq!(
        pair["receive"],
        serde_json::json!({"by": "certificate", "inverse": true, "identity": "certificate"})
    );
    let table = stdout(&verona(capulet.path(), &["links", "-c", "verona.toml"]));
    assert!(
        table.contains(
            "capulet.lit ↔ montague.lit: sends by sasl, receives by inverse of certificate"
        ),
        "{table}"
    );

    // It is acknowledged a moment later.
    let until = Instant::now() + Duration::from_secs(10);
    let managed = loop {
        let output = verona(capulet.path(), &["status", "-c", "verona.toml", "--json"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let managed = document["status"]["stream_management"].clone();
        if managed["acknowledged"] == 1 || Instant::now() > until {
            break managed;
        }
    };
    assert_eq!(
        managed,
        serde_json::json!({
            "acknowledged": 1, "unacknowledged": 0, "suspended": 0, "lost": 0, "taken_up": 0, "let_go": 0
        })
    );
    let table = stdout(&verona(capulet.path(), &["status", "-c", "verona.toml"]));
    assert!(
        table.contains(
            "\nacknowledged: 1 stanzas by peers that do, 0 are not yet; streams lost with stanzas on their way: 0, \
             0 taken up again, 0 let go, 0 wait\n"
        ),
        "{table}"
    );

    // Who drains closes the connection; the other notices and goes on.
    signal(&ours.child.0, "TERM");
    let (status, log) = ours.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("delivered=1 bounced=0"), "{log}");
    let output = verona(montague.path(), &["links", "-c", "verona.toml"]);
    assert_eq!(stdout(&output), "no live connection\n");
}

#[test]
fn the_api_answers_on_tcp_and_only_those_who_name_it_by_address() {
    let dir = machine();
    let mut daemon = Daemon::start(
        dir.path(),
        &format!("{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\n"),
    );
    let line = daemon
        .log
        .lines()
        .find(|line| line.contains("the API"))
        .unwrap()
        .to_owned();
    let at = address(&line);
    let ask = |request: &str| http(&at, request);
    let get = |path: &str| ask(&format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n"));
    for path in [
        "/healthz",
        "/readyz",
        "/api/v1/links",
        "/api/v1/status",
        "/api/v1/components",
    ] {
        assert_eq!(get(path).0, 200, "{path}");
    }
    for (status, request) in [
        (404, "GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (405, "GET /api/v1/ping?from=a&to=b HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        (405, "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (400, "POST /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (400, "POST /api/v1/ping?from=capulet.lit&to=%20 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (400, "POST /api/v1/ping?from=x.lit&to=y.lit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned()),
        (
            400,
            "POST /api/v1/ping?from=capulet.lit&to=y.lit&timeout=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
        ),
        // DNS rebinding: the name is the attacker's, the address is ours.
        (403, "GET /api/v1/links HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned()),
        (403, "GET /api/v1/links HTTP/1.0\r\n\r\n".to_owned()),
        (403, "GET /api/v1/links HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n".to_owned()),
        // A page elsewhere that makes a browser post.
        (
            403,
            "POST /api/v1/ping?from=capulet.lit&to=y.lit HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
             Content-Length: 0\r\n\r\n"
                .to_owned(),
        ),
    ] {
        let (said, body) = ask(&request);
        assert_eq!(said, status, "{request}{body}");
        let failure: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(failure["version"], 1);
        assert!(failure["error"].as_str().is_some_and(|sentence| sentence.contains(' ')), "{body}");
    }
    let huge = format!(
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let mut stream = TcpStream::connect(&at).unwrap();
    // It may stop reading in the middle, and then the rest cannot be written.
    let _ = stream.write_all(huge.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains("200 OK"), "{answer}");
    signal(&daemon.child.0, "TERM");
    daemon.wait_for("stopped");
}

#[test]
fn a_daemon_that_cannot_listen_says_where_and_why() {
    let dir = machine();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    for config in [
        CONFIG.replace(
            "[s2s]\nlisten = [\"127.0.0.1:0\"]",
            &format!("[s2s]\nlisten = [\"{at}\"]"),
        ) + "[admin]\nlisten = \"unix:verona.sock\"\n",
        format!("{CONFIG}[admin]\nlisten = \"{at}\"\n"),
    ] {
        write(&dir.path().join("verona.toml"), &config);
        let output = verona(dir.path(), &["run", "-c", "verona.toml"]);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains(&format!("cannot listen on {at}")), "{said}");
        assert!(said.contains("Address already in use"), "{said}");
    }
}

#[test]
fn the_service_supervisor_is_told() {
    let dir = machine();
    let socket = dir.path().join("notify.sock");
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let hear = || {
        let mut buffer = [0; 1024];
        let count = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let daemon = Daemon::start_with(dir.path(), &with_socket(), |command| {
        command.env("NOTIFY_SOCKET", &socket);
    });
    assert!(hear().contains("READY=1"));
    signal(&daemon.child.0, "TERM");
    assert!(hear().contains("STOPPING=1"));
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn the_log_is_json_when_asked() {
    let dir = machine();
    let config = format!("{}[log]\nformat = \"json\"\n", with_socket());
    let daemon = Daemon::start(dir.path(), &config);
    signal(&daemon.child.0, "TERM");
    let (_, log) = daemon.end();
    for line in log.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            entry["timestamp"].is_string()
                && entry["level"].is_string()
                && entry["message"].is_string(),
            "{line}"
        );
    }
}
