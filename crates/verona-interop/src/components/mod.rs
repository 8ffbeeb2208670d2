//! Components that people run, behind verona, and clients of another server that talk to them through federation.
//! Why real ones: XEP-0114 leaves much unsaid, and what it leaves unsaid each library does in its own way.

mod biboumi;
mod irc;
mod mu_conference;
mod npm;
mod relay;
mod slixmpp;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::relay::Relay;
use crate::cases::{Case, Kind};
use crate::certs::Purposes;
use crate::clients::{Driven, Role, WAIT, go_sendxmpp};
use crate::judge;
use crate::scene::{Auth, Implementation, Names, Near, Plan, SECRET, Scene, Transport};
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
            transport: Transport::StartTls,
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
            "@xmpp/component answers queries, returns what it gets, and comes back by itself when it is cut off",
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
    judge::links_agree(
        auth(software),
        Transport::StartTls,
        &connections,
        &verona.links()?,
    )?;
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
    complains(&log, wanted)
}

fn complains(log: &str, wanted: &[String]) -> Result<()> {
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

    /// A second component for the domain is refused, and the first one stays.
    fn second_is_refused(&mut self) -> Result<()> {
        let mut second = Driven::launch(
            "component-second",
            self.dir,
            Role::Component,
            self.names.echo,
            SECRET,
            self.verona.components,
        )?;
        second.expect("stream error", serde_json::json!({"condition": "conflict"}))?;
        self.warnings
            .push("a component was refused: another component serves this domain".to_owned());
        self.component_becomes("attached")
    }

    /// Where a component connects that is to be cut off at some time.
    fn relay(&self) -> Result<Relay> {
        Relay::start(self.verona.components)
    }

    /// Cuts the component off; it has to come back by itself, and verona says that it was gone.
    fn comes_back(&mut self, relay: &Relay) -> Result<()> {
        let before = self.attached_so_far()?;
        ensure!(relay.cut() > 0, "there was no connection to cut");
        let since = Instant::now();
        // Not by `verona components`: some are back before it could be asked.
        while self.attached_so_far()? == before {
            ensure!(
                since.elapsed() < WAIT,
                "the component did not come back within {WAIT:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.evidence.push(format!(
            "cut off, it was back after {:.2} s",
            since.elapsed().as_secs_f32()
        ));
        self.warnings.push(CUT.to_owned());
        self.component_becomes("attached")
    }

    /// How often verona has logged that a component attached.
    fn attached_so_far(&self) -> Result<usize> {
        let log =
            fs::read_to_string(self.dir.join("verona.log")).context("reading verona's log")?;
        Ok(log.matches(" INFO a component attached ").count())
    }

    /// `verona components` comes to show the component in this state.
    pub(crate) fn component_becomes(&mut self, state: &str) -> Result<()> {
        let domain = self.names.echo;
        let width = domain.len();
        let wanted = format!("{:width$}  STATE\n{domain}  {state}\n", "DOMAIN");
        let until = Instant::now() + WAIT;
        loop {
            let shown = self.verona.says(&["components"])?;
            if shown == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "`verona components` was to print {wanted:?} and prints {shown:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What verona logs of a component that went without a word.
const CUT: &str = "a component left: the connection ended without </stream:stream>";

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot connect on loopback fails"
    )]
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn complaints_are_these_and_no_others() {
        let log = "12:00 INFO a component attached\n12:01 WARN a component left: x peer=y\n";
        let wanted = |texts: &[&str]| -> Vec<String> {
            texts.iter().map(|text| (*text).to_owned()).collect()
        };
        complains(log, &wanted(&["a component left: x"])).unwrap();
        assert!(complains(log, &[]).is_err());
        assert!(complains(log, &wanted(&["a component left: z"])).is_err());
        assert!(complains(log, &wanted(&["a component left: x", "another"])).is_err());
    }

    #[test]
    fn a_relay_passes_on_until_it_is_cut_and_then_again() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(target.local_addr().unwrap()).unwrap();
        for text in ["once", "again"] {
            let mut near = TcpStream::connect(relay.address).unwrap();
            let (mut far, _) = target.accept().unwrap();
            for end in [&near, &far] {
                end.set_read_timeout(Some(WAIT)).unwrap();
            }
            near.write_all(text.as_bytes()).unwrap();
            let mut taken = vec![0; text.len()];
            far.read_exact(&mut taken).unwrap();
            assert_eq!(taken, text.as_bytes());
            far.write_all(b"heard").unwrap();
            let mut answer = [0; 5];
            near.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"heard");
            assert!(relay.cut() > 0);
            assert_eq!(far.read(&mut taken).unwrap(), 0);
            assert_eq!(near.read(&mut answer).unwrap(), 0);
            assert_eq!(relay.cut(), 0);
        }
    }
}
