//! The demonstration ends by itself, and succeeds only by what it counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Child, command, interrupt, stderr, stdout, verona};

fn here() -> &'static Path {
    Path::new(".")
}

#[test]
fn both_directions_share_one_connection_with_certificates() {
    let began = Instant::now();
    let output = verona(here(), &["demo"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    assert!(began.elapsed() < Duration::from_secs(10));
    for part in [
        "<mechanism>EXTERNAL</mechanism>",
        "C → S  <bidi xmlns='urn:xmpp:bidi'>",
        "C ← S  <success",
        "C → S  <iq from='juliet@capulet.lit/balcony' to='montague.lit' type='get' id='8dfc70af'>",
        "C ← S  <iq from='montague.lit' to='juliet@capulet.lit/balcony' type='result' id='8dfc70af'/>",
        "C ← S  <message from='romeo@montague.lit/orchard'",
        "carried 1 stanza from C to S and 2 stanzas from S to C",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("db:verify"), "{text}");
    assert_eq!(table(&text).len(), 1, "{text}");
}

#[test]
fn verification_has_connections_of_its_own_with_dialback() {
    let output = verona(here(), &["demo", "--auth", "dialback", "--transcript"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for part in [
        "\n  C → S  <db:result from='capulet.lit' to='montague.lit'>",
        "\n  C ← S  <db:result from='montague.lit' to='capulet.lit' type='valid'/>",
        "\n  C ← S  <db:result from='conference.montague.lit' to='capulet.lit'>",
        "\n  C → S  <db:result from='capulet.lit' to='conference.montague.lit' type='valid'/>",
        "\n  C → S  <presence ",
        "carried 2 stanzas from C to S and 3 stanzas from S to C",
        "The 2 connections that verified keys carried none.",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    // The connection itself verifies nothing, the others do nothing else.
    assert!(
        !text
            .lines()
            .any(|line| line.starts_with("  C") && line.contains("<db:verify")),
        "{text}"
    );
    let others = text.lines().filter(|line| line.contains('┊'));
    assert!(
        others.clone().any(|line| line.contains("<db:verify")),
        "{text}"
    );
    for line in others {
        assert!(
            !["<iq", "<message", "<presence"]
                .iter()
                .any(|stanza| line.contains(stanza)),
            "{line}"
        );
    }
    assert!(
        !text.contains('…'),
        "--transcript shortens nothing:\n{text}"
    );
    assert_eq!(table(&text).len(), 3, "{text}");
}

#[test]
fn held_servers_can_be_used() {
    let child = command(here(), &["demo", "--hold"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Child(child);
    let mut reader = BufReader::new(child.0.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("S  http://") {
        assert!(
            reader.read_line(&mut text).unwrap() > 0,
            "it ended:\n{text}"
        );
    }
    assert!(text.contains("secret secret-of-capulet.lit"), "{text}");
    for name in ["C", "S"] {
        let page = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("  {name}  http://")))
            .unwrap();
        let (address, path) = page.split_once('/').unwrap();
        let (status, body) = support::http(
            address,
            &format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        );
        assert_eq!(status, 200);
        let links: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(links["links"].as_array().unwrap().len(), 1, "{body}");
        assert_eq!(links["links"][0]["bidi"], true);
    }
    interrupt(&child.0);
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0), "{text}");
}

/// The rows of the table of connections.
fn table(text: &str) -> Vec<&str> {
    text.lines()
        .skip_while(|line| !line.starts_with("CONNECTION"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect()
}
