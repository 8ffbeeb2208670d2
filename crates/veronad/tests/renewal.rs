//! Certificates that are renewed while the daemon runs: by SIGHUP, by a change of the file, and badly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::time::{Duration, Instant};

use rcgen::date_time_ymd;
use support::daemon::{Daemon, address};
use support::{Authority, http, machine, signal, since_1970, stdout, verona, write};
use verona_proto::limits::{Limit, Limits};

const CONFIG: &str = r#"
[[domain]]
name = "capulet.lit"
[s2s]
listen = ["127.0.0.1:0"]
[tls]
trust = ["ca.pem"]
crls = ["revoked.crl"]
[admin]
listen = "127.0.0.1:0"
"#;

struct World {
    dir: tempfile::TempDir,
    authority: Authority,
    daemon: Daemon,
    admin: String,
    servers: String,
}

impl World {
    fn new() -> Self {
        let dir = machine();
        let authority = Authority::new();
        write(&dir.path().join("revoked.crl"), &authority.list(&[]));
        let mut daemon = Daemon::start(dir.path(), CONFIG);
        let listening = |what: &str| {
            let line = daemon.log.lines().find(|line| line.contains(what));
            address(line.unwrap())
        };
        let admin = listening("for the command line and the API");
        let servers = listening("listening for servers");
        daemon.log.clear();
        Self {
            dir,
            authority,
            daemon,
            admin,
            servers,
        }
    }

    /// A certificate that ends in January of the year, in the file of the domain.
    fn renew(&self, year: i32) -> String {
        let end = date_time_ymd(year, 1, 1);
        let (chain, key) = self
            .authority
            .issue_until(&["capulet.lit"], |params| params.not_after = end);
        format!("{chain}{key}")
    }

    fn put(&self, text: &str) {
        write(&self.dir.path().join("certs/capulet.lit.pem"), text);
    }

    /// The log may be a moment ahead of it.
    fn wait_for_status(&self, year: &str, problems: usize) {
        let expected = (year.to_owned(), problems);
        let until = Instant::now() + Duration::from_secs(5);
        while self.status() != expected && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.status(), expected);
    }

    fn hang_up(&mut self) -> String {
        signal(&self.daemon.child.0, "HUP");
        self.daemon.wait_for("were read again, as a reload asks")
    }

    fn metrics(&self) -> String {
        let (status, body) = http(
            &self.admin,
            &format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", self.admin),
        );
        assert_eq!(status, 200);
        body
    }

    fn assert_says(&self, line: &str) {
        let metrics = self.metrics();
        let found = metrics.lines().any(|found| found == line);
        assert!(found, "{line} is not in\n{metrics}");
    }

    /// The year in which the certificate that is shown ends, and what is said to be wrong.
    fn status(&self) -> (String, usize) {
        let request = format!(
            "GET /api/v1/status HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.admin
        );
        let document: serde_json::Value =
            serde_json::from_str(&http(&self.admin, &request).1).unwrap();
        let status = &document["status"];
        let expires = status["certificates"][0]["expires"].as_str().unwrap();
        (
            expires[..4].to_owned(),
            status["certificate_problems"].as_array().unwrap().len(),
        )
    }
}

#[test]
fn sighup_has_certificates_read_again() {
    let mut world = World::new();
    assert_eq!(
        world.status(),
        ("4000".to_owned(), 1),
        "the list is out of date"
    );
    world.put(&world.renew(3001));
    let line = world.hang_up();
    assert!(line.contains("replaced=1 problems=1"), "{line}");
    assert_eq!(world.status().0, "3001");
    world.assert_says(
        "verona_certificate_expiry_timestamp_seconds{domain=\"capulet.lit\"} 32535216000",
    );
    // What is half written replaces nothing, and what is whole again does.
    let new = world.renew(3002);
    world.put(&new[..new.len() / 2]);
    let line = world.hang_up();
    assert!(line.contains("replaced=0 problems=2"), "{line}");
    assert_eq!(world.status().0, "3001");
    world.put(&new);
    let line = world.hang_up();
    assert!(line.contains("replaced=1 problems=1"), "{line}");
    assert_eq!(world.status().0, "3002");
    world.assert_says("verona_certificate_reloads_total{outcome=\"replaced\"} 2");
    signal(&world.daemon.child.0, "TERM");
    let (status, log) = world.daemon.end();
    assert_eq!(status, Some(0), "{log}");
    // The configuration as a whole is judged each time, and a certificate that is half written is a mistake in it.
    let lasting: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .filter(|line| !line.contains("file=verona.toml") && !line.contains("was not reloaded"))
        .collect();
    assert!(lasting.is_empty(), "nothing lasted: {log}");
}

#[test]
fn a_change_of_the_file_is_enough_and_what_lasts_is_told_once() {
    let mut world = World::new();
    world.put(&world.renew(3001));
    world
        .daemon
        .wait_for("certificates were replaced: new connections show the new ones domains=1");
    assert_eq!(world.status().0, "3001");
    // Another list, and one that is none.
    write(
        &world.dir.path().join("revoked.crl"),
        &world.authority.list(&[7]),
    );
    world
        .daemon
        .wait_for("the files that say whom to trust were read again");
    world.put("-----BEGIN CERTIFICATE-----\nAAAA\n");
    write(&world.dir.path().join("revoked.crl"), "nothing");
    let began = Instant::now();
    for _ in 0..2 {
        let line = world.daemon.wait_for(" WARN ");
        let certificate = "the certificate before it is still shown: certs/capulet.lit.pem: damaged: the line \
                           \"-----END CERTIFICATE-----\" is missing; write the file for capulet.lit anew";
        let list = "what was believed before still is: revoked certificates in revoked.crl: there is no list in it";
        assert!(line.contains(certificate) || line.contains(list), "{line}");
    }
    assert!(
        began.elapsed() >= Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    world.wait_for_status("3001", 3);
    world.assert_says("verona_certificate_problems 3");
    // Several looks later nothing more was said.
    std::thread::sleep(Duration::from_secs(5));
    world.put(&world.renew(3002));
    world
        .daemon
        .wait_for("no more: the certificate before it is still shown");
    assert_eq!(
        world.daemon.log.matches(" WARN ").count(),
        2,
        "{}",
        world.daemon.log
    );
    world.wait_for_status("3002", 2);
}

#[test]
fn a_certificate_that_ends_is_told_in_advance_and_at_the_end() {
    let mut world = World::new();
    let until = |seconds| date_time_ymd(1970, 1, 1) + since_1970(seconds);
    let day = 24 * 60 * 60;
    for (seconds, expected) in [
        (
            13 * day + 60,
            " WARN the certificate for capulet.lit expires in 13 days, on 2",
        ),
        (
            2 * day + 60,
            " WARN the certificate for capulet.lit expires in 2 days, on 2",
        ),
    ] {
        let end = until(seconds);
        let (chain, key) = world
            .authority
            .issue_until(&["capulet.lit"], |params| params.not_after = end);
        world.put(&format!("{chain}{key}"));
        world.hang_up();
        world.daemon.wait_for(expected);
    }
    let end = until(3);
    let (chain, key) = world
        .authority
        .issue_until(&["capulet.lit"], |params| params.not_after = end);
    world.put(&format!("{chain}{key}"));
    world.hang_up();
    std::thread::sleep(Duration::from_secs(4));
    world.hang_up();
    let line = world
        .daemon
        .wait_for("ERROR the certificate for capulet.lit expired on 2");
    assert!(line.contains("renew it"), "{line}");
}

/// The text as any reader of OpenMetrics takes it apart: names, types and samples agree, and the end is marked.
#[test]
fn metrics_are_openmetrics() {
    let world = World::new();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", world.admin);
    let (head, text) = raw(&world.admin, &request);
    assert!(
        head.to_ascii_lowercase()
            .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
        }
        assert!(
            line.starts_with('#') || line.starts_with(family),
            "{line} in {family}"
        );
        assert!(
            family.is_empty() || family.starts_with("verona_"),
            "{family}"
        );
    }
    for line in [
        "# TYPE verona_certificate_expiry_timestamp_seconds gauge",
        "# UNIT verona_certificate_expiry_timestamp_seconds seconds",
        "verona_certificate_expiry_timestamp_seconds{domain=\"capulet.lit\"} 64060588800",
        "verona_streams{role=\"receiving\",transport=\"starttls\"} 0",
        "verona_stanzas_total{outcome=\"bounced\"} 0",
        "verona_certificate_reloads_total{outcome=\"failed\"} 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    let version = format!(
        "verona_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    assert!(text.contains(&version), "{text}");
    // Whoever reads it may not come from a web page.
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {0}\r\nOrigin: http://evil.example\r\n\r\n",
        world.admin
    );
    assert_eq!(http(&world.admin, &request).0, 403);
}

/// Every limit has its series before anything happened, and no other has one; what is reached is counted there.
#[test]
fn every_limit_has_a_metric() {
    use std::io::{Read as _, Write as _};
    let world = World::new();
    let counts = || -> Vec<(String, u64)> {
        let text = world.metrics();
        let series = text
            .lines()
            .filter_map(|line| line.strip_prefix("verona_limit_reached_total{limit=\""));
        let mut counts: Vec<_> = series
            .map(|line| {
                let (name, count) = line.split_once("\"} ").unwrap();
                (name.to_owned(), count.parse().unwrap())
            })
            .collect();
        counts.sort();
        counts
    };
    let mut expected: Vec<_> = Limits::names()
        .iter()
        .map(|name| ((*name).to_owned(), 0))
        .collect();
    expected.sort();
    assert_eq!(counts(), expected);
    let mut stream = std::net::TcpStream::connect(&world.servers).unwrap();
    let endless = format!(
        "<?xml version='1.0'?><stream:stream a='{}",
        "x".repeat(9_000)
    );
    stream.write_all(endless.as_bytes()).unwrap();
    let mut answer = String::new();
    while !answer.ends_with("</stream:stream>") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    assert!(answer.contains("<policy-violation "), "{answer}");
    let met: Vec<_> = counts()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(met, [(Limit::NegotiationBytesMax.name().to_owned(), 1)]);
}

fn raw(address: &str, request: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn status_tells_which_certificate_ends_first() {
    let world = World::new();
    let config = CONFIG.replace(
        "listen = \"127.0.0.1:0\"",
        &format!("listen = \"{}\"", world.admin),
    );
    write(&world.dir.path().join("asked.toml"), &config);
    let said = stdout(&verona(world.dir.path(), &["status", "-c", "asked.toml"]));
    assert!(said.contains("certificates: 1, the first to expire is that of capulet.lit on 4000-01-01\n  the list of revoked"), "{said}");
}

#[test]
fn check_config_warns_of_a_certificate_that_ends_soon() {
    let dir = machine();
    let config = "[[domain]]\nname = \"soon.lit\"\n[tls]\ntrust = [\"ca.pem\"]\n";
    write(&dir.path().join("verona.toml"), config);
    let output = verona(dir.path(), &["check-config", "-c", "verona.toml"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("warning: the certificate for soon.lit expires in 10 days, on 2"),
        "{said}"
    );
    assert!(
        said.contains("help: look at what should have renewed it"),
        "{said}"
    );
}
