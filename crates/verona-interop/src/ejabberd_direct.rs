//! ejabberd behind its listener for direct TLS (`tls: true`), which is the only one that DNS names.
//! Why in a namespace: it asks the C library for addresses, and that asks nobody but the machine's name server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::certs::{Authority, Issued};
use crate::dns::{NameServer, Service};
use crate::ejabberd::{self, Ejabberd};
use crate::namespace;
use crate::process::free_ports;
use crate::scene::{Auth, Plan, SECRET};
use crate::speaker::{Speaker, exactly};
use crate::verona::{self, Verona};

/// Plays the case of this name in a network of its own.
///
/// # Errors
/// As [`inside`], or no namespace can be made.
pub(crate) fn play(
    name: &str,
    dir: &Path,
    plan: &Plan,
    program: Option<&Path>,
    evidence: &mut Vec<String>,
) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return inside(dir, plan, program, evidence);
    }
    namespace::available()?;
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--"])
        .arg(std::env::current_exe().context("asking for our own path")?)
        .arg("--verona")
        .arg(program.context("no verona program")?)
        .arg(name)
        .env(INSIDE, "yes")
        .output()
        .context("starting unshare")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "in its namespace: {said}");
    evidence.extend(said.lines().next().map(str::to_owned));
    Ok(())
}

/// verona's component speaks first; then both at once.
///
/// # Errors
/// A server is missing or does not start, a message is missing, or verona tells of another way.
fn inside(
    dir: &Path,
    plan: &Plan,
    program: Option<&Path>,
    evidence: &mut Vec<String>,
) -> Result<()> {
    let names = plan.names;
    let [near_address, far_address, components] = [
        one_port([127, 0, 0, 2])?,
        one_port([127, 0, 0, 3])?,
        one_port([127, 0, 0, 1])?,
    ];
    let service = |domain: &str, address| Service {
        domain: domain.to_owned(),
        address,
        direct_tls: true,
    };
    namespace::furnish(dir)?;
    let dns = NameServer::start_at(
        dir,
        namespace::NAME_SERVER,
        &[
            service(names.echo, near_address),
            service(names.far, far_address),
        ],
    )?;
    let authority = Authority::new()?;
    let authority_file = dir.join("ca.pem");
    authority.write(&authority_file)?;
    let signer = match plan.auth {
        Auth::External => Some(&authority),
        Auth::Dialback => None,
    };
    let (certificates, far_certificates) = (dir.join("certs"), dir.join("far-certs"));
    for (name, folder) in [
        (names.near, &certificates),
        (names.echo, &certificates),
        (names.far, &far_certificates),
    ] {
        Issued::new(name, plan.purposes, signer)?.write_together(folder, name)?;
    }
    let verona = Verona::start(
        dir,
        &verona::Settings {
            program: program.context("no verona program")?,
            address: near_address,
            direct_tls: true,
            proxy: None,
            local: &[names.near],
            component: Some((names.echo, SECRET)),
            certificates: &certificates,
            authority: &authority_file,
            dns: dns.address,
            peers: plan.peers,
        },
    )?;
    let mut ejabberd = Ejabberd::start(
        dir,
        &ejabberd::Settings {
            name: "ejabberd",
            root: None,
            address: far_address,
            direct_tls: true,
            components,
            domain: "ejabberd.lit",
            hosts: &[names.far.to_owned()],
            secret: SECRET,
            certificates: &[far_certificates.join(format!("{}.pem", names.far))],
            authority: &authority_file,
            bidi: false,
            log: "info",
        },
    )?;
    ejabberd.wait()?;

    let near = Speaker::connect(verona.components, names.echo, SECRET)?;
    let far = Speaker::connect(components, names.far, SECRET)?;
    near.say(names.far, 0..1)?;
    far.wait_for(1, TALK);
    near.say(names.far, 1..MANY)?;
    far.say(names.echo, 0..MANY)?;
    let wanted: Vec<usize> = (0..MANY).collect();
    for (who, end) in [("ejabberd", &far), ("verona", &near)] {
        end.wait_for(MANY, TALK);
        exactly(&end.messages(), &wanted)
            .with_context(|| format!("behind {who}, {:?}", end.bounces()))?;
        ensure!(
            end.messages().len() == MANY,
            "some are missing behind {who}"
        );
        ensure!(end.surprises().is_empty(), "{:?}", end.surprises());
    }
    let links = verona.links()?;
    for (role, carried) in [("initiating", "stanzas_out"), ("receiving", "stanzas_in")] {
        let carrying: Vec<&Value> = links
            .iter()
            .filter(|link| text(link, "role") == role)
            .filter(|link| link.get(carried).and_then(Value::as_u64) > Some(0))
            .collect();
        let [link] = carrying[..] else {
            anyhow::bail!("{} {role} links carried stanzas: {links:?}", carrying.len());
        };
        ensure!(text(link, "transport") == "tls", "{role}: {link}");
        let number = link.get(carried).and_then(Value::as_u64).unwrap_or(0);
        ensure!(number == u64::try_from(MANY)?, "{role}: {link}");
        let pair = link.pointer("/pairs/0").unwrap_or(&Value::Null);
        evidence.push(format!(
            "{role} by direct TLS: send {} receive {}",
            pair.pointer("/send/by").unwrap_or(&Value::Null),
            pair.pointer("/receive/by").unwrap_or(&Value::Null)
        ));
        let direction = match role {
            "initiating" => "/send/by",
            _ => "/receive/by",
        };
        let by = pair.pointer(direction).and_then(Value::as_str);
        let proof = match plan.auth {
            Auth::External => "sasl",
            Auth::Dialback => "dialback",
        };
        ensure!(by == Some(proof), "{role}: {link}");
    }
    let status = verona.process.terminate(Duration::from_secs(12))?;
    ensure!(status.success(), "verona ended with {status} after SIGTERM");
    Ok(())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn one_port(address: [u8; 4]) -> Result<SocketAddr> {
    free_ports(address, 1)?.pop().context("no free port")
}

/// Set where the namespace has been entered already.
const INSIDE: &str = "VERONA_INTEROP_INSIDE";
/// Messages each way.
const MANY: usize = 200;
/// For all of them to come.
const TALK: Duration = Duration::from_secs(45);
