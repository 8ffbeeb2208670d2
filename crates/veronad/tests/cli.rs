//! The command line as a user meets it: usage, exit statuses, where each kind of output goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::path::Path;
use std::process::Stdio;

use support::{command, machine, stderr, stdout, verona, write};

fn here() -> &'static Path {
    Path::new(".")
}

#[test]
fn wrong_usage_is_told_on_stderr_with_status_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["run", "extra"],
        &["demo", "--auth", "sasl"],
        &["ping", "capulet.lit"],
        &["ping", "juliet@capulet.lit", "montague.lit"],
        &["ping", "capulet.lit", "monta gue.lit"],
        &["ping", "capulet.lit", "montague.lit", "--timeout", "0"],
        &["links", "--format", "json"],
        &["check-config", "-c"],
        &["forget"],
        &["forget", "--all", "montague.lit"],
        &["forget", "mon tague.lit"],
        &["peers", "montague.lit"],
        &["close"],
        &["close", "mon tague.lit"],
        &["reload", "now"],
        &["completions"],
        &["completions", "command.com"],
    ] {
        let output = verona(here(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        let said = stderr(&output);
        assert!(
            said.contains("Usage: verona") || said.contains("try '--help'"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn the_short_help_fits_a_screen() {
    for arguments in [
        &["-h"][..],
        &["run", "-h"],
        &["demo", "-h"],
        &["ping", "-h"],
        &["links", "-h"],
        &["check-config", "-h"],
        &["peers", "-h"],
        &["forget", "-h"],
        &["queue", "-h"],
        &["close", "-h"],
        &["completions", "-h"],
    ] {
        let output = verona(here(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let text = stdout(&output);
        assert!(text.lines().count() <= 24, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
        assert!(text.contains("Usage: verona"), "{text}");
    }
}

#[test]
fn every_command_of_the_contract_is_offered_but_the_one_that_does_not_exist() {
    let help = stdout(&verona(here(), &["--help"]));
    for present in [
        "run",
        "demo",
        "check-config",
        "gen-config",
        "ping",
        "status",
        "links",
        "peers",
        "queue",
        "components",
        "drain",
        "reload",
        "close",
        "completions",
        "man",
    ] {
        let line = help
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{present} ")));
        assert!(line.is_some(), "{present} is not in\n{help}");
        let own = verona(here(), &[present, "--help"]);
        assert_eq!(own.status.code(), Some(0), "{present}");
        assert!(stdout(&own).contains(&format!("Usage: verona {present}")));
    }
    assert!(!help.contains("doctor"), "{help}");
    assert_eq!(verona(here(), &["doctor"]).status.code(), Some(2));
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = verona(here(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let text = stdout(&output);
        for command in ["check-config", "queue", "reload"] {
            assert!(text.contains(command), "{command} is not for {shell}");
        }
    }
    let output = verona(here(), &["man"]);
    assert_eq!(output.status.code(), Some(0));
    let page = stdout(&output);
    assert!(page.contains(".TH verona 1"), "{page}");
    assert!(page.contains("verona\\-reload(1)"), "{page}");
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = verona(here(), &["--version"]);
    assert_eq!(
        stdout(&output),
        format!("verona {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_starting_point_needs_only_certificates() {
    let dir = machine();
    let output = verona(dir.path(), &["gen-config"]);
    assert_eq!(output.status.code(), Some(0));
    write(&dir.path().join("verona.toml"), &stdout(&output));
    let output = verona(dir.path(), &["check-config", "-c", "verona.toml", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors: Vec<_> = document["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .map(|problem| problem["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        errors,
        ["certs/example.org.pem: there is no certificate for example.org"]
    );
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let dir = machine();
    for (command, stream) in [
        ("check-config", "stdout"),
        ("run", "stderr"),
        ("links", "stderr"),
        ("peers", "stderr"),
    ] {
        let output = verona(dir.path(), &[command, "-c", "none.toml"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let text = if stream == "stdout" {
            stdout(&output)
        } else {
            stderr(&output)
        };
        assert!(
            text.starts_with(
                "error: cannot read the configuration: No such file or directory\n --> none.toml\n"
            ),
            "{text}"
        );
        assert!(text.contains("verona gen-config > none.toml"), "{text}");
    }
}

#[test]
fn a_wrong_file_keeps_the_daemon_from_starting() {
    let dir = machine();
    write(
        &dir.path().join("verona.toml"),
        "[s2s]\nlissten = []\n[[domain]]\nname = \"capulet.lit\"\n",
    );
    let output = verona(dir.path(), &["run", "-c", "verona.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    assert!(said.contains("error: unknown key `lissten`"), "{said}");
    assert!(said.contains("help: did you mean `listen`?"), "{said}");
}

#[test]
fn a_file_that_is_not_text_is_told() {
    let dir = machine();
    std::fs::write(dir.path().join("verona.toml"), b"[log]\n# \xff\n").unwrap();
    let output = verona(dir.path(), &["check-config", "-c", "verona.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("the file is not UTF-8 text\n --> verona.toml:2:3\n"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn who_asks_a_daemon_that_does_not_run_is_told_so() {
    let dir = machine();
    write(
        &dir.path().join("verona.toml"),
        "[admin]\nlisten = \"unix:verona.sock\"\n",
    );
    for arguments in [
        &["links"][..],
        &["status"],
        &["peers"],
        &["ping", "capulet.lit", "montague.lit"],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-c", "verona.toml"]);
        let output = verona(dir.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(stdout(&output), "");
        let said = stderr(&output);
        assert!(
            said.starts_with("error: verona is not running (tried unix:verona.sock: "),
            "{said}"
        );
        assert!(
            said.contains("help: start it with `verona run -c verona.toml`"),
            "{said}"
        );
    }
}

#[test]
fn who_changes_something_needs_a_token_and_is_told_how_to_get_one() {
    let dir = machine();
    let config = "[admin]\nlisten = \"unix:verona.sock\"\n";
    let forget = |config: &str| {
        write(&dir.path().join("verona.toml"), config);
        let output = verona(dir.path(), &["forget", "--all", "-c", "verona.toml"]);
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(1), "")
        );
        stderr(&output)
    };
    let said = forget(config);
    assert!(
        said.starts_with(
            "error: this changes something, and verona.toml names no token for it\nhelp: "
        ),
        "{said}"
    );
    assert!(said.contains("token_file = \"admin.token\""), "{said}");
    let said = forget(&format!("{config}token_file = \"none.token\"\n"));
    assert!(
        said.starts_with("error: cannot read `none.token`: "),
        "{said}"
    );
    let said = forget(&format!("{config}token_file = \"rooms.secret\"\n"));
    assert!(said.starts_with("error: verona is not running"), "{said}");
}

#[test]
fn a_reader_that_leaves_is_no_accident() {
    let mut child = command(here(), &["gen-config"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "");
}
