//! Clients and components that people use, driven from the case line by line.
//! Why driven: who says what, and what must come of it, then stands in one place, and every stanza that nobody foresaw
//! is a failure.

pub(crate) mod go_sendxmpp;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::process::Script;

/// slixmpp as a client or as a component; it tells of each stanza that reaches it, and forgets none.
#[derive(Debug)]
pub(crate) struct Driven {
    name: String,
    script: Script,
    /// Told, and not asked for yet.
    waiting: VecDeque<Value>,
}

/// What it plays.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Client,
    Component,
}

impl Driven {
    /// Starts it and waits until its stream is open.
    pub(crate) fn start(
        name: &str,
        dir: &Path,
        role: Role,
        jid: &str,
        secret: &str,
        server: SocketAddr,
    ) -> Result<Self> {
        let mut driven = Self::launch(name, dir, role, jid, secret, server)?;
        driven.expect("ready", json!({ "jid": jid }))?;
        Ok(driven)
    }

    /// Starts it and waits for nothing.
    pub(crate) fn launch(
        name: &str,
        dir: &Path,
        role: Role,
        jid: &str,
        secret: &str,
        server: SocketAddr,
    ) -> Result<Self> {
        let role = match role {
            Role::Client => "client",
            Role::Component => "component",
        };
        let arguments = [
            role.to_owned(),
            format!("--jid={jid}"),
            format!("--secret={secret}"),
            format!("--host={}", server.ip()),
            format!("--port={}", server.port()),
        ];
        Ok(Self {
            name: name.to_owned(),
            script: Script::start(name, dir, include_str!("../../peers/driven.py"), &arguments)?,
            waiting: VecDeque::new(),
        })
    }

    /// A client with presence: it waits until the server shows it its own, so that messages to its account reach it.
    pub(crate) fn client(name: &str, dir: &Path, jid: &str, server: SocketAddr) -> Result<Self> {
        let mut client = Self::start(name, dir, Role::Client, jid, "any", server)?;
        client.expect("presence", json!({ "from": jid }))?;
        Ok(client)
    }

    /// Tells it to do something.
    pub(crate) fn tell(&mut self, line: &Value) -> Result<()> {
        self.script.tell(line)
    }

    /// The first thing of this kind that nobody has taken yet. Things of one kind come in the order in which they
    /// happened; between kinds there is none to rely on.
    pub(crate) fn take(&mut self, event: &str) -> Result<Value> {
        let until = Instant::now() + WAIT;
        loop {
            let found = self.waiting.iter().position(|line| is(line, event));
            if let Some(line) = found.and_then(|position| self.waiting.remove(position)) {
                return Ok(line);
            }
            match self
                .script
                .next(until.saturating_duration_since(Instant::now()))
                .with_context(|| format!("waiting for {event}"))?
            {
                Some(line) => self.waiting.push_back(line),
                None => bail!(
                    "{} told of no {event} within {WAIT:?}; untold: {:?}",
                    self.name,
                    self.waiting
                ),
            }
        }
    }

    /// The next thing of this kind is exactly this. An id counts only when it is given: libraries make their own.
    pub(crate) fn expect(&mut self, event: &str, wanted: Value) -> Result<()> {
        let mut found = self.take(event)?;
        let shown = found.to_string();
        if let Some(members) = found.as_object_mut() {
            members.remove("event");
            if wanted.get("id").is_none() {
                members.remove("id");
            }
        }
        ensure!(
            found == wanted,
            "{} was to be told of {event} {wanted} and was told {shown}",
            self.name
        );
        Ok(())
    }

    /// Asks, and the answer is exactly this; `ask` and `to` need not be repeated.
    pub(crate) fn ask(&mut self, ask: &str, to: &str, wanted: Value) -> Result<()> {
        self.ask_as(ask, to, None, wanted)
    }

    /// The same from an address of a component.
    pub(crate) fn ask_as(
        &mut self,
        ask: &str,
        to: &str,
        sender: Option<&str>,
        mut wanted: Value,
    ) -> Result<()> {
        let mut line = json!({"do": ask, "to": to});
        if let (Some(sender), Some(members)) = (sender, line.as_object_mut()) {
            members.insert("sender".to_owned(), json!(sender));
        }
        self.tell(&line)?;
        if let Some(members) = wanted.as_object_mut() {
            members.insert("ask".to_owned(), json!(ask));
            members.insert("to".to_owned(), json!(to));
        }
        self.expect("answer", wanted)
    }

    /// Nothing came that was not taken, and nothing comes for a moment.
    pub(crate) fn nothing_more(&mut self) -> Result<()> {
        while let Some(line) = self.script.next(QUIET)? {
            self.waiting.push_back(line);
        }
        ensure!(
            self.waiting.is_empty(),
            "{} was told of things that nobody sent: {:?}",
            self.name,
            self.waiting
        );
        Ok(())
    }

    /// Goes, after a last look for what should not be there.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.nothing_more()?;
        self.script.leave();
        Ok(())
    }
}

fn is(line: &Value, event: &str) -> bool {
    line.get("event").and_then(Value::as_str) == Some(event)
}

/// For anything that is to happen; a server looks for another for a few seconds at most.
pub(crate) const WAIT: Duration = Duration::from_secs(30);
/// After which nothing is expected to follow on loopback.
const QUIET: Duration = Duration::from_millis(400);
