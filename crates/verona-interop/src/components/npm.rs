//! `@xmpp/component` behind verona, at the version of the committed lock file.
//! Why: the library that people take in JavaScript writes and reads streams unlike any in C or Python.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Stage;
use crate::clients::WAIT;
use crate::process::Script;
use crate::scene::SECRET;

/// The whole conversation.
pub(super) fn converse(stage: &mut Stage<'_>) -> Result<()> {
    let folder = installed()?;
    let relay = stage.relay()?;
    let mut component = Npm::start(stage, &folder, relay.address)?;
    component.expect(json!({"event": "online", "address": stage.names.echo}))?;
    stage.component_becomes("attached")?;

    let mut client = stage.client("hermia", "wood")?;
    let seat = format!("{}/wood", stage.account("hermia"));
    let bot = format!("echo@{}", stage.names.echo);
    client.ask("ping", &bot, json!({"ok": true, "from": bot}))?;
    component.expect(json!({"event": "asked", "from": seat}))?;
    client.ask(
        "unknown",
        &bot,
        json!({"ok": false, "from": bot, "error_type": "cancel", "condition": "service-unavailable", "text": ""}),
    )?;
    for number in 0..MANY {
        client.tell(
            &json!({"do": "message", "to": bot, "body": text(number), "id": format!("m-{number}")}),
        )?;
    }
    for number in 0..MANY {
        let id = format!("m-{number}");
        let body = text(number);
        component.expect(json!({"event": "message", "from": seat, "to": bot, "type": "chat", "id": id, "body": body}))?;
        client.expect(
            "message",
            json!({"from": bot, "to": seat, "type": "chat", "id": id, "body": body}),
        )?;
    }
    stage.comes_back(&relay)?;
    component.expect(json!({"event": "disconnect"}))?;
    component.expect(json!({"event": "online", "address": stage.names.echo}))?;
    client.tell(&json!({"do": "message", "to": bot, "body": "again", "id": "again"}))?;
    component.expect(json!({"event": "message", "from": seat, "to": bot, "type": "chat", "id": "again", "body": "again"}))?;
    client.expect(
        "message",
        json!({"from": bot, "to": seat, "type": "chat", "id": "again", "body": "again"}),
    )?;
    client.leave()?;
    component.nothing_more()?;
    component.script.leave();
    stage.component_becomes("absent")?;
    stage
        .evidence
        .push(format!("{MANY} messages there and back in order"));
    Ok(())
}

/// The component; every line that it tells is taken in order.
struct Npm {
    script: Script,
}

impl Npm {
    fn start(stage: &Stage<'_>, folder: &Path, server: SocketAddr) -> Result<Self> {
        let arguments = [
            folder.join("component.js").to_string_lossy().into_owned(),
            stage.names.echo.to_owned(),
            SECRET.to_owned(),
            server.ip().to_string(),
            server.port().to_string(),
        ];
        Ok(Self {
            script: Script::run("component", stage.dir, Path::new(NODE), &arguments)?,
        })
    }

    fn nothing_more(&mut self) -> Result<()> {
        match self.script.next(Duration::from_millis(400))? {
            Some(line) => bail!("the component tells {line}, which nobody sent"),
            None => Ok(()),
        }
    }

    fn expect(&mut self, wanted: Value) -> Result<()> {
        let found = self
            .script
            .next(WAIT)?
            .with_context(|| format!("the component was to tell {wanted} and told nothing"))?;
        ensure!(
            found == wanted,
            "the component was to tell {wanted} and told {found}"
        );
        Ok(())
    }
}

fn text(number: usize) -> String {
    format!("{number}: Ἑρμία & <wood/> \"'\" ]]> \u{1F319}")
}

/// What is missing, after an attempt to install it.
pub(super) fn missing() -> Vec<String> {
    let programs: Vec<String> = [(NODE, "nodejs"), (NPM, "npm")]
        .iter()
        .filter(|(program, _)| !Path::new(program).exists())
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect();
    if !programs.is_empty() {
        return programs;
    }
    match installed() {
        Ok(_) => Vec::new(),
        Err(error) => vec![format!("@xmpp/component: {error:#}")],
    }
}

/// The folder with the component and its packages, beside this program; npm fills it when the lock file is another
/// one than the last time. Not in the case's folder: that would ask the registry anew for every run.
fn installed() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("where this program is")?;
    let beside = exe.parent().context("this program is nowhere")?;
    let folder = beside.join("interop-npm");
    let same = |name: &str, text: &str| {
        fs::read_to_string(folder.join(name)).is_ok_and(|found| found == text)
    };
    if same("installed", LOCK) && same("package.json", PACKAGE) {
        fs::write(folder.join("component.js"), COMPONENT)?;
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("package.json"), PACKAGE)?;
    fs::write(folder.join("package-lock.json"), LOCK)?;
    fs::write(folder.join("component.js"), COMPONENT)?;
    let log = folder.join("npm.log");
    let output = fs::File::create(&log)?;
    // No package's script runs: what is installed is text, and the lock file knows its checksum.
    let mut child = Command::new(NPM)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("running npm")?;
    let until = Instant::now() + INSTALL;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            bail!("npm ci still runs after {INSTALL:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    ensure!(
        status.success(),
        "npm ci: {status}: {}",
        crate::process::tail(&log, 5)
    );
    fs::write(folder.join("installed"), LOCK)?;
    Ok(folder)
}

const NODE: &str = "/usr/bin/node";
const NPM: &str = "/usr/bin/npm";
const PACKAGE: &str = include_str!("../../npm/package.json");
const LOCK: &str = include_str!("../../npm/package-lock.json");
const COMPONENT: &str = include_str!("../../npm/component.js");
const INSTALL: Duration = Duration::from_secs(180);
const MANY: usize = 100;
