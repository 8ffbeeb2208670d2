//! The servers of one case: name server, far Prosody, near server, and the scripts that talk through them.
//! Why near and far: the server under test is one of several, so the assertions can be tried on one that must fail them.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::certs::{Authority, Issued, Purposes};
use crate::dns::{NameServer, Service};
use crate::haproxy::Haproxy;
use crate::process::{Script, free_ports};
use crate::prosody::{self, Prosody};
use crate::sockets::SocketWatch;
use crate::verona::{self, Verona};

/// How the servers prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Certificates of an authority that both trust; SASL EXTERNAL (XEP-0178).
    External,
    /// Self-signed certificates; dialback (XEP-0220).
    Dialback,
}

/// How servers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// STARTTLS.
    StartTls,
    /// TLS from the first byte (XEP-0368): DNS names no other way.
    DirectTls,
    /// STARTTLS, and to the near server through a proxy that sends PROXY headers.
    Proxied,
}

/// The program that is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// Ours.
    Verona,
    /// A second Prosody, on which the assertions themselves are tried.
    Prosody,
}

/// The domains of one case. Every case has names of its own, so that a server that looked into another's would be seen.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Hosted by the near server, without a component.
    pub near: &'static str,
    /// Hosted by the near server, with the echo component.
    pub echo: &'static str,
    /// Hosted by the far server, with accounts.
    pub far: &'static str,
}

/// What one case asks for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The server under test.
    pub near: Implementation,
    /// The way there.
    pub transport: Transport,
    /// The proof.
    pub auth: Auth,
    /// What the certificates are for.
    pub purposes: Purposes,
    /// The domains.
    pub names: Names,
    /// The name in the far server's certificate; its domain, unless the case is about that.
    pub far_certificate: &'static str,
    /// More of verona's configuration.
    pub peers: &'static str,
}

/// The server under test.
#[derive(Debug)]
pub enum Near {
    /// Ours.
    Verona(Verona),
    /// A second Prosody.
    Prosody(Prosody),
}

/// Everything that runs for one case. Fields are dropped, and so ended, from the top.
#[derive(Debug)]
pub struct Scene {
    /// The server under test.
    pub near: Near,
    /// The Prosody that keeps the wire log.
    pub far: Prosody,
    /// Where DNS says that they listen, near and far.
    pub listeners: [SocketAddr; 2],
    /// The kernel's account.
    pub sockets: SocketWatch,
    /// The domains.
    pub names: Names,
    dir: PathBuf,
    _proxy: Option<Haproxy>,
    _dns: NameServer,
}

impl Scene {
    /// Starts everything below `dir`.
    ///
    /// # Errors
    /// A server is missing or does not start.
    pub fn set(dir: &Path, plan: &Plan, program: Option<&Path>) -> Result<Self> {
        let names = plan.names;
        let near_address = one_port([127, 0, 0, 2])?;
        let far_address = one_port([127, 0, 0, 3])?;
        let direct_tls = plan.transport == Transport::DirectTls;
        let proxy = match plan.transport {
            Transport::Proxied => Some((one_port([127, 0, 0, 4])?, IpAddr::from([127, 0, 0, 5]))),
            Transport::StartTls | Transport::DirectTls => None,
        };
        let near_published = proxy.map_or(near_address, |(listen, _)| listen);
        let service = |domain: &str, address| Service {
            domain: domain.to_owned(),
            address,
            direct_tls,
        };
        let dns = NameServer::start(
            dir,
            &[
                service(names.near, near_published),
                service(names.echo, near_published),
                service(names.far, far_address),
            ],
        )?;

        let authority = Authority::new()?;
        let authority_file = dir.join("ca.pem");
        authority.write(&authority_file)?;
        let (signer, trusted) = match plan.auth {
            Auth::External => (Some(&authority), Some(authority_file.as_path())),
            Auth::Dialback => (None, None),
        };
        let certificates = dir.join("certs");
        let far_certificate = Issued::new(plan.far_certificate, plan.purposes, signer)?
            .write_apart(&dir.join("far-certs"), names.far)?;
        let near_certificate = Issued::new(names.near, plan.purposes, signer)?;
        let echo_certificate = Issued::new(names.echo, plan.purposes, signer)?;

        let sockets = SocketWatch::start()?;
        let far = Prosody::start(
            dir,
            &prosody::Settings {
                log: "debug",
                name: "far",
                address: far_address,
                direct_tls,
                domain: names.far,
                certificate: &far_certificate,
                component: None,
                authority: trusted,
                secure: trusted.is_some(),
                dns: dns.address,
                root: None,
                global: "",
                hosts: "",
            },
        )
        .with_context(|| crate::process::tail(&dir.join("far.log"), 20))?;
        let near = match plan.near {
            Implementation::Verona => {
                near_certificate.write_together(&certificates, names.near)?;
                echo_certificate.write_together(&certificates, names.echo)?;
                Near::Verona(Verona::start(
                    dir,
                    &verona::Settings {
                        program: program.context("no verona program")?,
                        address: near_address,
                        direct_tls,
                        proxy: proxy.map(|(_, source)| source),
                        local: &[names.near],
                        component: Some((names.echo, SECRET)),
                        certificates: &certificates,
                        authority: &authority_file,
                        dns: dns.address,
                        peers: plan.peers,
                    },
                )?)
            }
            Implementation::Prosody => {
                let domain = near_certificate.write_apart(&certificates, names.near)?;
                let echo = echo_certificate.write_apart(&certificates, names.echo)?;
                Near::Prosody(Prosody::start(
                    dir,
                    &prosody::Settings {
                        log: "debug",
                        name: "near",
                        address: near_address,
                        direct_tls,
                        domain: names.near,
                        certificate: &domain,
                        component: Some((names.echo, SECRET, &echo)),
                        authority: trusted,
                        secure: trusted.is_some(),
                        dns: dns.address,
                        root: None,
                        global: "",
                        hosts: "",
                    },
                )?)
            }
        };
        let proxy = match proxy {
            Some((listen, source)) => Some(Haproxy::start(dir, listen, near_address, source)?),
            None => None,
        };
        Ok(Self {
            near,
            far,
            listeners: [near_published, far_address],
            sockets,
            names,
            dir: dir.to_owned(),
            _proxy: proxy,
            _dns: dns,
        })
    }

    /// The account that the client uses.
    #[must_use]
    pub fn user(&self) -> String {
        format!("romeo@{}", self.names.far)
    }

    /// Starts the echo component behind the near server; it greets `hello` when it is given.
    ///
    /// # Errors
    /// The script cannot be started.
    pub fn component(&self, secret: &str, hello: Option<&str>) -> Result<Script> {
        let address = match &self.near {
            Near::Verona(verona) => verona.components,
            Near::Prosody(prosody) => prosody.components,
        };
        let mut arguments = vec![
            format!("--jid={}", self.names.echo),
            format!("--secret={secret}"),
            format!("--host={}", address.ip()),
            format!("--port={}", address.port()),
        ];
        arguments.extend(hello.map(|target| format!("--hello={target}")));
        Script::start(
            "component",
            &self.dir,
            include_str!("../peers/echo_component.py"),
            &arguments,
        )
    }

    /// Starts the client on the far server with more arguments than the usual.
    ///
    /// # Errors
    /// The script cannot be started.
    pub fn client(&self, arguments: &[String]) -> Result<Script> {
        let mut all = vec![
            format!("--jid={}", self.user()),
            "--password=any".to_owned(),
            format!("--host={}", self.far.clients.ip()),
            format!("--port={}", self.far.clients.port()),
        ];
        all.extend_from_slice(arguments);
        Script::start(
            "client",
            &self.dir,
            include_str!("../peers/client.py"),
            &all,
        )
    }

    /// Ends both servers as an operator would, the near one first, and gives the sockets back.
    ///
    /// # Errors
    /// The near server ends with a failure, or not at all.
    pub fn strike(self) -> Result<SocketWatch> {
        match self.near {
            Near::Verona(verona) => {
                // Contract §4: SIGTERM drains, at most 10 s, and exits 0.
                let status = verona.process.terminate(Duration::from_secs(12))?;
                if !status.success() {
                    bail!("verona ended with {status} after SIGTERM");
                }
            }
            Near::Prosody(prosody) => {
                prosody.process.terminate(Duration::from_secs(12))?;
            }
        }
        self.far.process.terminate(Duration::from_secs(12))?;
        Ok(self.sockets)
    }
}

/// The component's secret; any will do.
pub const SECRET: &str = "a rose by any other name";

fn one_port(address: [u8; 4]) -> Result<SocketAddr> {
    free_ports(address, 1)?.pop().context("no free port")
}

/// What is missing on this machine, in words; empty when every case can run.
#[must_use]
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    for (program, package) in [
        ("/usr/bin/prosody", "prosody"),
        ("/usr/sbin/unbound", "unbound"),
        ("/usr/bin/ss", "iproute2"),
        ("/usr/bin/stdbuf", "coreutils"),
    ] {
        if !Path::new(program).exists() {
            missing.push(format!("{program} (Debian package {package})"));
        }
    }
    let modules = [
        (
            "slixmpp",
            "python3-slixmpp",
            crate::process::PYTHON,
            "-c",
            "import slixmpp",
        ),
        (
            "lunbound",
            "lua-unbound",
            &lua(),
            "-e",
            "require 'lunbound'",
        ),
    ];
    for (module, package, interpreter, flag, code) in modules {
        let found = std::process::Command::new(interpreter)
            .args([flag, code])
            .output()
            .is_ok_and(|output| output.status.success());
        if !found {
            missing.push(format!(
                "{module} for {interpreter} (Debian package {package})"
            ));
        }
    }
    missing
}

/// The interpreter that Prosody's first line names: modules of another version of Lua would not serve it.
fn lua() -> String {
    let text = fs::read_to_string("/usr/bin/prosody").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    first
        .rsplit(['/', ' '])
        .next()
        .filter(|name| name.starts_with("lua"))
        .unwrap_or("lua")
        .to_owned()
}
