//! What a case does: it sets its scene, lets a client and a component talk, and puts the wire before the judge.
//! Why its own runner and not `cargo test`: it wants real servers, and its report is what was on the wire.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::components::{self, Software};
use crate::dane;
use crate::judge::{self, Expected};
use crate::process::{Script, tail};
use crate::scene::{Implementation, Names, Near, Plan, SECRET, Scene, Transport};
use crate::signed;
use crate::wire::{self, Connection, Side};
use crate::{ejabberd_direct, haproxy, namespace};

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    pub(crate) plan: Plan,
    pub(crate) kind: Kind,
}

/// What happens in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A client and the domains behind the near server talk.
    Talk {
        first: Side,
        behind: Behind,
        wanted: Wanted,
    },
    /// A component with a wrong secret is refused.
    WrongSecret,
    /// A message of the component comes back with this condition and, in its text, one of these words.
    Bounce {
        to: &'static str,
        condition: &'static str,
        words: &'static [&'static str],
    },
    /// ejabberd behind direct TLS, with components on both sides.
    EjabberdDirect,
    /// A component or a client that people run has a conversation.
    Software(Software),
    /// Two veronas know each other by DNS alone; the plan counts for nothing.
    Dane,
}

/// Who answers behind the near server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Component,
    LocalServices,
    Both,
}

/// What the judge has to say about the connections of each pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    OneConnection,
    /// The claim must fail: the case shows that it can.
    SeveralConnections,
}

/// What a case leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// Why it failed, or nothing.
    pub result: Result<()>,
    /// What was seen, one sentence each.
    pub evidence: Vec<String>,
    /// How long it took.
    pub took: Duration,
    /// Ends of the logs, when it failed.
    pub logs: String,
    /// Its folder, when it was kept.
    pub folder: Option<PathBuf>,
}

impl Case {
    /// Whether it needs the verona binary.
    #[must_use]
    pub fn needs_verona(&self) -> bool {
        self.plan.near == Implementation::Verona
    }

    /// What it wants beyond what all cases want and this machine lacks, in words.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let proxy = haproxy::PROGRAM;
        let lacks_proxy = self.plan.transport == Transport::Proxied && !Path::new(proxy).exists();
        match self.kind {
            Kind::Software(software) => components::missing(software),
            Kind::EjabberdDirect if !Path::new(EJABBERD).exists() => {
                vec![format!("{EJABBERD} (Debian package ejabberd)")]
            }
            Kind::EjabberdDirect => namespace::available()
                .err()
                .map(|error| vec![format!("{error:#}")])
                .unwrap_or_default(),
            Kind::Talk { .. } if lacks_proxy => vec![format!("{proxy} (Debian package haproxy)")],
            Kind::Dane => signed::missing().into_iter().map(str::to_owned).collect(),
            Kind::Talk { .. } | Kind::WrongSecret | Kind::Bounce { .. } => Vec::new(),
        }
    }

    /// Runs it; everything that it started has ended when this returns.
    #[must_use]
    pub fn run(&self, program: Option<&Path>, keep: bool) -> Outcome {
        let began = Instant::now();
        let mut evidence = Vec::new();
        let folder = tempfile::Builder::new()
            .prefix(&format!("verona-interop-{}-", self.name))
            .tempdir();
        let mut folder = match folder {
            Ok(folder) => folder,
            Err(error) => {
                return Outcome {
                    result: Err(error.into()),
                    evidence,
                    took: began.elapsed(),
                    logs: String::new(),
                    folder: None,
                };
            }
        };
        let dir = folder.path().to_owned();
        let result = self.play(&dir, program, &mut evidence);
        let logs = match &result {
            Ok(()) => String::new(),
            Err(_) => logs(&dir),
        };
        folder.disable_cleanup(keep);
        Outcome {
            result,
            evidence,
            took: began.elapsed(),
            logs,
            folder: keep.then_some(dir),
        }
    }

    fn play(&self, dir: &Path, program: Option<&Path>, evidence: &mut Vec<String>) -> Result<()> {
        if let Kind::EjabberdDirect = self.kind {
            return ejabberd_direct::play(self.name, dir, &self.plan, program, evidence);
        }
        if matches!(self.kind, Kind::Dane) {
            return dane::play(dir, program, evidence);
        }
        let scene = Scene::set(dir, &self.plan, program)?;
        match self.kind {
            Kind::EjabberdDirect => bail!("it has a scene of its own"),
            Kind::Talk {
                first,
                behind,
                wanted,
            } => self.talk(scene, first, behind, wanted, evidence),
            Kind::WrongSecret => wrong_secret(&scene, evidence),
            Kind::Bounce {
                to,
                condition,
                words,
            } => bounce(&scene, to, condition, words, evidence),
            Kind::Software(software) => components::converse(software, scene, dir, evidence),
            Kind::Dane => bail!("it has a scene of its own"),
        }
    }

    fn talk(
        &self,
        scene: Scene,
        first: Side,
        behind: Behind,
        wanted: Wanted,
        evidence: &mut Vec<String>,
    ) -> Result<()> {
        let has_component = matches!(behind, Behind::Component | Behind::Both);
        let greets = has_component && first == Side::Near;
        let mut arguments = questions(&scene.names, behind);
        if greets {
            arguments.push("--await-hello".to_owned());
        }

        // Who is there first does not dial; who speaks first does.
        let mut component = None;
        let mut client;
        match first {
            Side::Near => {
                if has_component {
                    client = scene.client(&arguments)?;
                    client.wait_for("ready", START)?;
                    let mut script = scene.component(SECRET, Some(&scene.user()))?;
                    script.wait_for("ready", START)?;
                    component = Some(script);
                } else {
                    let Near::Verona(verona) = &scene.near else {
                        bail!("only verona can be told to speak without a component");
                    };
                    let answer = verona.ping(scene.names.near, scene.names.far)?;
                    evidence.push(format!("verona ping: {}", answer.trim()));
                    client = scene.client(&arguments)?;
                }
            }
            Side::Far => {
                if has_component {
                    let mut script = scene.component(SECRET, None)?;
                    script.wait_for("ready", START)?;
                    component = Some(script);
                }
                client = scene.client(&arguments)?;
            }
        }
        let told = client.wait_for("done", TALK);
        // Whatever happened, what was on the wire is worth telling.
        let connections = wire::read(&scene.far.wire_log)?;
        for (number, connection) in connections.iter().enumerate() {
            evidence.push(judge::one_line(number, connection));
        }
        told?;
        answered(&mut client, &scene.names, behind)?;
        if let Some(component) = &mut component {
            let bounces = component.all("bounce");
            ensure!(bounces.is_empty(), "the component got errors: {bounces:?}");
        }

        let links = match &scene.near {
            Near::Verona(verona) => Some(verona.links()?),
            Near::Prosody(_) => None,
        };
        let far_log = scene.far.wire_log.clone();
        let listeners = scene.listeners;
        judge::clean(&connections)?;
        judge::began_by(self.plan.transport, &connections)?;
        judge::dialled_first(first, &connections)?;
        match wanted {
            Wanted::OneConnection => judge::one_connection_per_pair(&connections)?,
            Wanted::SeveralConnections => match judge::one_connection_per_pair(&connections) {
                Ok(()) => bail!("one connection was enough, so the case shows nothing"),
                Err(seen) => {
                    judge::two_connections_each_one_way(&connections)?;
                    evidence.push(format!("found as it has to be: {seen}"));
                }
            },
        }
        judge::proven_by(self.plan.auth, &connections)?;
        judge::complete(expected(behind, first), &connections)?;
        if let Some(links) = links {
            judge::verifying_connections_do_nothing_else(&connections)?;
            judge::links_agree(self.plan.auth, self.plan.transport, &connections, &links)?;
        }

        client.leave();
        if let Some(component) = component {
            component.leave();
        }
        let sockets = scene.strike()?;
        // The kernel tells of a socket when it ends, so its account is whole only after the servers have.
        let connections = wire::read(&far_log)?;
        std::thread::sleep(Duration::from_millis(50));
        let kernel = sockets.accounts(&listeners);
        judge::kernel_agrees(&connections, &kernel, sockets.is_complete())?;
        evidence.push(bytes_on_tcp(&connections, &kernel));
        Ok(())
    }
}

/// What the client asks.
fn questions(names: &Names, behind: Behind) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut ask = |domain: &str| {
        for question in ["--ping", "--disco", "--version"] {
            arguments.push(format!("{question}={domain}"));
        }
    };
    if behind != Behind::Component {
        ask(names.near);
    }
    if behind != Behind::LocalServices {
        ask(names.echo);
    }
    if behind != Behind::Component {
        arguments.extend(["--pings".into(), names.near.into(), MANY.to_string()]);
    }
    if behind != Behind::LocalServices {
        let echo = format!("echo@{}", names.echo);
        arguments.extend(["--messages".into(), echo, MANY.to_string()]);
    }
    arguments
}

/// Every question has its answer, and every message came back once, in order, unchanged.
fn answered(client: &mut Script, names: &Names, behind: Behind) -> Result<()> {
    let mut domains = Vec::new();
    if behind != Behind::Component {
        domains.push(names.near);
    }
    if behind != Behind::LocalServices {
        domains.push(names.echo);
    }
    for domain in domains {
        for question in ["ping", "disco", "version"] {
            let answers = client.all(question);
            let answer = answers
                .iter()
                .find(|line| line.get(question).and_then(Value::as_str) == Some(domain))
                .with_context(|| format!("{question} {domain} was not asked"))?;
            ensure!(
                answer.get("ok") == Some(&Value::Bool(true)),
                "{question} {domain}: {answer}"
            );
            if question == "disco" {
                let list = answer.get("features").and_then(Value::as_array);
                let has = list.is_some_and(|list| list.contains(&json!("urn:xmpp:ping")));
                ensure!(
                    has,
                    "disco of {domain} does not tell of urn:xmpp:ping: {answer}"
                );
            }
            if question == "version" {
                let name = answer.get("name").and_then(Value::as_str);
                ensure!(
                    name.is_some_and(|name| !name.is_empty()),
                    "no name: {answer}"
                );
            }
        }
    }
    if behind != Behind::Component {
        let line = client.wait_for("pings", Duration::ZERO)?;
        let right = line.get("answered") == Some(&json!(MANY))
            && line.get("in_order") == Some(&Value::Bool(true));
        ensure!(right, "the pings were not all answered in order: {line}");
    }
    if behind != Behind::LocalServices {
        let line = client.wait_for("messages", Duration::ZERO)?;
        let right = line.get("echoed") == Some(&json!(MANY))
            && line.get("in_order") == Some(&Value::Bool(true))
            && line.get("errors") == Some(&json!(0));
        ensure!(right, "the messages did not all come back in order: {line}");
    }
    Ok(())
}

/// What has to be on the wire for that.
fn expected(behind: Behind, first: Side) -> Expected {
    let component = behind != Behind::LocalServices;
    let local = behind != Behind::Component;
    let messages = if component { MANY } else { 0 };
    let hello = usize::from(component && first == Side::Near);
    let three = |asked: bool| if asked { 3 } else { 0 };
    Expected {
        messages_from_near: messages + hello,
        messages_from_far: messages,
        requests: three(component) + three(local) + if local { MANY } else { 0 },
    }
}

fn wrong_secret(scene: &Scene, evidence: &mut Vec<String>) -> Result<()> {
    let mut component = scene.component("not the secret", None)?;
    let line = component.wait_for("refused", START)?;
    ensure!(
        line.get("refused") == Some(&json!("not-authorized")),
        "COMP-06 wants not-authorized: {line}"
    );
    component.wait_for("disconnected", START)?;
    ensure!(
        component.all("ready").is_empty(),
        "it was let in all the same"
    );
    evidence.push(format!("the component was told {line} and disconnected"));
    Ok(())
}

fn bounce(
    scene: &Scene,
    to: &str,
    condition: &str,
    words: &[&str],
    evidence: &mut Vec<String>,
) -> Result<()> {
    let mut component = scene.component(SECRET, Some(to))?;
    component.wait_for("ready", START)?;
    let began = Instant::now();
    let line = component.wait_for("bounce", BOUNCE)?;
    let after = began.elapsed().as_secs_f32();
    if scene.far.wire_log.exists() {
        let connections = wire::read(&scene.far.wire_log)?;
        for (number, connection) in connections.iter().enumerate() {
            evidence.push(judge::one_line(number, connection));
        }
        let carried = judge::payload(&connections).count();
        ensure!(carried == 0, "a stanza was sent over {carried} connections");
    }
    ensure!(
        line.get("bounce").and_then(Value::as_str) == Some(to),
        "ROUTE-16 wants the error from {to}: {line}"
    );
    ensure!(
        line.get("condition") == Some(&json!(condition)),
        "ROUTE-13 wants {condition}: {line}"
    );
    let text = line.get("text").and_then(Value::as_str).unwrap_or_default();
    let lower = text.to_lowercase();
    ensure!(
        words.is_empty() || words.iter().any(|word| lower.contains(word)),
        "the text names no cause ({}): {line}",
        words.join(", ")
    );
    evidence.push(format!("after {after:.1} s the component was told {line}"));
    Ok(())
}

fn bytes_on_tcp(
    connections: &[Connection],
    kernel: &std::collections::BTreeMap<crate::sockets::Ends, crate::sockets::Account>,
) -> String {
    let each: Vec<String> = connections
        .iter()
        .enumerate()
        .filter_map(|(number, connection)| {
            let account = kernel.get(&judge::ends(connection))?;
            let (near, far) = judge::by_side(connection.opener, *account);
            Some(format!("#{} near>far {near} far>near {far}", number + 1))
        })
        .collect();
    format!("TCP bytes by the kernel's account: {}", each.join("; "))
}

/// The ends of all logs of a case.
fn logs(dir: &Path) -> String {
    let mut text = String::new();
    for name in [
        "verona.log",
        "near.log",
        "far.log",
        "client.jsonl",
        "client.log",
        "component.jsonl",
        "component.log",
        "biboumi.log",
        "ngircd.log",
        "mu-conference.log",
        "go-sendxmpp.log",
        "listener.log",
        "haproxy.log",
        "ejabberd.log",
        "ejabberd/ejabberd.log",
    ] {
        let end = tail(&dir.join(name), 25);
        if !end.is_empty() {
            text.push_str(&format!("--- {name}\n{end}\n"));
        }
    }
    if let Ok(transcript) = wire::transcript(&dir.join("far/wire.jsonl")) {
        let lines: Vec<&str> = transcript.lines().take(60).collect();
        text.push_str(&format!(
            "--- the wire, as far sees it\n{}\n",
            lines.join("\n")
        ));
    }
    text
}

/// Debian's package ejabberd.
const EJABBERD: &str = "/usr/sbin/ejabberdctl";
/// How many messages, and pings, go there and back.
const MANY: usize = 1_000;
/// For a script to be connected.
const START: Duration = Duration::from_secs(20);
/// For a whole conversation; the client gives up a little earlier and says why.
const TALK: Duration = Duration::from_secs(60);
/// For a message to come back: a server may look for another way for a minute first.
const BOUNCE: Duration = Duration::from_secs(90);
