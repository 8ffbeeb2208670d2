//! go-sendxmpp on the other server: a message from the shell to a component, and the answer on standard output.
//! Why: it is what scripts use to send, in Go, with a library of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::clients::WAIT;
use crate::components::Stage;
use crate::process::{Process, tied_to_us};

pub(crate) const PROGRAM: &str = "/usr/bin/go-sendxmpp";

/// The whole conversation.
pub(crate) fn converse(stage: &mut Stage<'_>) -> Result<()> {
    let mut component = stage.component("component")?;
    stage.component_becomes("attached")?;
    let bot = format!("bond@{}", stage.names.echo);

    for text in TEXTS {
        send(stage, "nerissa", &bot, text)?;
        let mut said = component.take("message")?;
        let sender = String::from(said.get("from").and_then(Value::as_str).unwrap_or_default());
        ensure!(
            sender.starts_with(&format!("{}/go-sendxmpp.", stage.account("nerissa"))),
            "it came from {sender}"
        );
        if let Some(members) = said.as_object_mut() {
            members.remove("id");
        }
        ensure!(
            said == json!({"event": "message", "from": sender, "to": bot, "type": "chat", "body": text}),
            "{text:?} came as {said}"
        );
    }

    // Another client of the same account is shown when the listener is there, and under which address.
    let mut watcher = stage.client("portia", "desk")?;
    let listener = listen(stage, "portia")?;
    let there = watcher.take("presence")?;
    let seat = there
        .get("from")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    ensure!(
        seat.starts_with(&format!("{}/go-sendxmpp.", stage.account("portia"))),
        "{there} is not the listener"
    );
    for number in 0..MANY {
        component.tell(&json!({"do": "message", "to": seat, "sender": bot, "body": format!("{number}: {ANSWER}")}))?;
    }
    let heard = heard(stage, MANY)?;
    // Behind the time of arrival.
    let texts: Vec<&str> = heard
        .iter()
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .collect();
    let wanted: Vec<String> = (0..MANY)
        .map(|number| format!("{bot}: {number}: {ANSWER}"))
        .collect();
    ensure!(
        texts == wanted,
        "the listener was to print {wanted:#?} and printed {heard:#?}"
    );
    stage.evidence.push(format!(
        "{} messages sent, {MANY} heard, in order",
        TEXTS.len()
    ));
    listener.terminate(Duration::from_secs(5))?;
    let gone = watcher.take("presence")?;
    ensure!(
        gone.get("from") == Some(&json!(seat)) && gone.get("type") == Some(&json!("unavailable")),
        "the listener went and its server says {gone}"
    );
    watcher.leave()?;
    component.leave()?;
    stage.component_becomes("absent")
}

/// Starts a client that prints what comes, to `listener.log`.
fn listen(stage: &Stage<'_>, name: &str) -> Result<Process> {
    let mut arguments = arguments(stage, name);
    arguments.push("--listen".to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start("listener", stage.dir, Path::new(PROGRAM), &arguments)
}

/// What the listener has printed, as soon as there are so many lines, and a moment later.
fn heard(stage: &Stage<'_>, lines: usize) -> Result<Vec<String>> {
    let read = || -> Result<Vec<String>> {
        let text = fs::read_to_string(stage.dir.join("listener.log"))?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let until = Instant::now() + WAIT;
    while read()?.len() < lines && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    read()
}

fn send(stage: &Stage<'_>, name: &str, to: &str, text: &str) -> Result<()> {
    let file = stage.dir.join("message.txt");
    fs::write(&file, text)?;
    let log = fs::File::create(stage.dir.join("go-sendxmpp.log"))?;
    let mut child = tied_to_us(Path::new(PROGRAM))
        .args(arguments(stage, name))
        .arg("-m")
        .arg(&file)
        .arg(to)
        .current_dir(stage.dir)
        .env("HOME", stage.dir)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting go-sendxmpp")?;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "go-sendxmpp ended with {status}");
            return Ok(());
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            bail!("go-sendxmpp did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn arguments(stage: &Stage<'_>, name: &str) -> Vec<String> {
    vec![
        // The server's certificate is its own; the connection stays on loopback.
        "--no-tls-verify".to_owned(),
        format!("--username={}", stage.account(name)),
        "--password=any".to_owned(),
        format!("--jserver={}", stage.clients),
    ]
}

const TEXTS: [&str; 3] = [
    "The quality of mercy is not strain'd",
    "It droppeth & <as> \"the\" gentle rain ]]> \u{1F327}",
    "Upon the place\nbeneath",
];
const ANSWER: &str = "It is twice blest & <i> \"'";
const MANY: usize = 20;
