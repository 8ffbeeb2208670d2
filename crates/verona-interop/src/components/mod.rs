//! Components that people run, behind verona, and clients of another server that talk to them through federation.
//! Why real ones: XEP-0114 leaves much unsaid, and what it leaves unsaid each library does in its own way.

mod biboumi;
mod irc;
mod mu_conference;
mod npm;
mod slixmpp;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cases::{Case, Kind};
use crate::certs::Purposes;
use crate::clients::{Driven, Role, go_sendxmpp};
use crate::judge;
use crate::scene::{Auth, Implementation, Names, Near, Plan, SECRET, Scene};
use crate::verona::Verona;
use crate::wire;

/// What stands behind verona, or in front of the other server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Software {
    /// slixmpp's `ComponentXMPP`, from Debian.
    Slixmpp,
    /// `@xmpp/component`, from npm.
    Npm,
    /// biboumi with ngircd behind it, from Debian.
    Biboumi,
    /// mu-conference, from Debian (package jabber-muc).
    MuConference,
    /// The client go-sendxmpp, from Debian, with a slixmpp component.
    GoSendxmpp,
}

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name, about, software, names| Case {
        name,
        about,
        plan: Plan {
            near: Implementation::Verona,
            auth: auth(software),
            purposes: Purposes::ServerAndClient,
            names,
            far_certificate: names.far,
            peers: "",
        },
        kind: Kind::Software(software),
    };
    vec![
        case(
            "component-slixmpp",
            "slixmpp on both sides: messages, queries and a presence subscription, both ways, then the component goes and returns",
            Software::Slixmpp,
            names("prospero.lit", "ariel.prospero.lit", "milan.lit"),
        ),
        case(
            "component-npm",
            "@xmpp/component answers queries and returns what it gets",
            Software::Npm,
            names("theseus.lit", "puck.theseus.lit", "athens.lit"),
        ),
        case(
            "component-biboumi",
            "biboumi and ngircd: a client of another server joins an IRC channel, speaks, is answered, and leaves",
            Software::Biboumi,
            names("orsino.lit", "irc.orsino.lit", "illyria.lit"),
        ),
        case(
            "component-mu-conference",
            "mu-conference: two clients of another server in one room, entering, speaking and leaving",
            Software::MuConference,
            names("macbeth.lit", "rooms.macbeth.lit", "scotland.lit"),
        ),
        case(
            "client-go-sendxmpp",
            "go-sendxmpp on another server sends to a component, and listens to its answer",
            Software::GoSendxmpp,
            names("shylock.lit", "bond.shylock.lit", "venice.lit"),
        ),
    ]
}

/// How the servers prove themselves: each way is taken by some.
const fn auth(software: Software) -> Auth {
    match software {
        Software::Slixmpp | Software::Biboumi | Software::GoSendxmpp => Auth::External,
        Software::Npm | Software::MuConference => Auth::Dialback,
    }
}

const fn names(near: &'static str, echo: &'static str, far: &'static str) -> Names {
    Names { near, echo, far }
}

/// What this machine lacks for it, in words.
pub(crate) fn missing(software: Software) -> Vec<String> {
    let programs: &[(&str, &str)] = match software {
        Software::Slixmpp => &[],
        Software::Npm => return npm::missing(),
        Software::Biboumi => &[(biboumi::PROGRAM, "biboumi"), (biboumi::NGIRCD, "ngircd")],
        Software::MuConference => &[(mu_conference::PROGRAM, "jabber-muc")],
        Software::GoSendxmpp => &[(go_sendxmpp::PROGRAM, "go-sendxmpp")],
    };
    programs
        .iter()
        .filter(|(program, _)| !Path::new(program).exists())
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect()
}

/// Plays the case and judges the wire, the log and the lists.
pub(crate) fn converse(
    software: Software,
    scene: Scene,
    dir: &Path,
    evidence: &mut Vec<String>,
) -> Result<()> {
    let result = Stage::new(&scene, dir, evidence).and_then(|mut stage| {
        match software {
            Software::Slixmpp => slixmpp::converse(&mut stage)?,
            Software::Npm => npm::converse(&mut stage)?,
            Software::Biboumi => biboumi::converse(&mut stage)?,
            Software::MuConference => mu_conference::converse(&mut stage)?,
            Software::GoSendxmpp => go_sendxmpp::converse(&mut stage)?,
        }
        Ok(stage.warnings)
    });
    // Whatever happened, what was on the wire is worth telling.
    let connections = wire::read(&scene.far.wire_log)?;
    for (number, connection) in connections.iter().enumerate() {
        evidence.push(judge::one_line(number, connection));
    }
    let warnings = result?;

    judge::clean(&connections)?;
    judge::one_connection_per_pair(&connections)?;
    judge::proven_by(auth(software), &connections)?;
    judge::verifying_connections_do_nothing_else(&connections)?;
    let Near::Verona(verona) = &scene.near else {
        bail!("these cases are about verona");
    };
    judge::links_agree(auth(software), &connections, &verona.links()?)?;
    let (far_log, listeners) = (scene.far.wire_log.clone(), scene.listeners);
    let sockets = scene.strike()?;
    // The kernel tells of a socket when it ends.
    std::thread::sleep(Duration::from_millis(50));
    judge::kernel_agrees(
        &wire::read(&far_log)?,
        &sockets.accounts(&listeners),
        sockets.is_complete(),
    )?;
    complaints_are(&warnings, dir)
}

/// verona logged these warnings and errors, in this order, and no others.
fn complaints_are(wanted: &[String], dir: &Path) -> Result<()> {
    let log = fs::read_to_string(dir.join("verona.log")).context("reading verona's log")?;
    let found: Vec<&str> = log
        .lines()
        .filter(|line| {
            [" WARN ", " ERROR "]
                .iter()
                .any(|level| line.contains(level))
        })
        .collect();
    let right = found.len() == wanted.len()
        && found
            .iter()
            .zip(wanted)
            .all(|(line, text)| line.contains(text));
    ensure!(
        right,
        "verona was to complain {wanted:?} and complained {found:#?}"
    );
    Ok(())
}

/// What the conversation of a case sees of its scene.
pub(crate) struct Stage<'a> {
    pub(crate) verona: &'a Verona,
    pub(crate) names: Names,
    /// Where clients of the other server connect.
    pub(crate) clients: SocketAddr,
    pub(crate) dir: &'a Path,
    pub(crate) evidence: &'a mut Vec<String>,
    /// What verona has reason to complain of, in order.
    pub(crate) warnings: Vec<String>,
}

impl<'a> Stage<'a> {
    fn new(scene: &'a Scene, dir: &'a Path, evidence: &'a mut Vec<String>) -> Result<Self> {
        let Near::Verona(verona) = &scene.near else {
            bail!("these cases are about verona");
        };
        Ok(Self {
            verona,
            names: scene.names,
            clients: scene.far.clients,
            dir,
            evidence,
            warnings: Vec::new(),
        })
    }

    /// The address of an account on the other server.
    pub(crate) fn account(&self, name: &str) -> String {
        format!("{name}@{}", self.names.far)
    }

    /// A slixmpp client with an account there; its log has the name of the account.
    pub(crate) fn client(&self, name: &str, resource: &str) -> Result<Driven> {
        let jid = format!("{}/{resource}", self.account(name));
        Driven::client(name, self.dir, &jid, self.clients)
    }

    /// A slixmpp component behind verona.
    pub(crate) fn component(&self, name: &str) -> Result<Driven> {
        Driven::start(
            name,
            self.dir,
            Role::Component,
            self.names.echo,
            SECRET,
            self.verona.components,
        )
    }

    /// `verona components` comes to show the component in this state.
    pub(crate) fn component_becomes(&mut self, state: &str) -> Result<()> {
        let domain = self.names.echo;
        let width = domain.len();
        let wanted = format!("{:width$}  STATE\n{domain}  {state}\n", "DOMAIN");
        let until = std::time::Instant::now() + crate::clients::WAIT;
        loop {
            let shown = self.verona.says(&["components"])?;
            if shown == wanted {
                return Ok(());
            }
            ensure!(
                std::time::Instant::now() < until,
                "`verona components` was to print {wanted:?} and prints {shown:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
