//! Two veronas that know each other by DNS alone: self-signed certificates, TLSA records, a root of their own.
//! Why no Prosody: it knows DANE, but its binding to unbound takes no root of ours (`trusted = {}` breaks it).

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::certs::{Issued, Purposes};
use crate::process::free_ports;
use crate::signed::{Realm, Recursive, Signing, Zone};
use crate::verona::Verona;

/// Plays the case in `dir`.
pub(crate) fn play(dir: &Path, program: Option<&Path>, evidence: &mut Vec<String>) -> Result<()> {
    let program = program.context("no verona binary")?;
    let near = one_port([127, 0, 0, 2])?;
    let far = one_port([127, 0, 0, 3])?;
    let certificates = dir.join("certs");
    let hosted: Vec<(&Domain, Issued)> = DOMAINS
        .iter()
        .map(|domain| {
            Ok((
                domain,
                Issued::new(domain.name, Purposes::ServerOnly, None)?,
            ))
        })
        .collect::<Result<_>>()?;
    let other = Issued::new("other.signed", Purposes::ServerOnly, None)?;
    let mut zones: Vec<Zone> = Vec::new();
    for (name, signing) in [
        ("signed.", Signing::Nsec),
        ("plain.", Signing::Unsigned),
        ("broken.", Signing::Nsec3),
    ] {
        let mut records = String::new();
        for (domain, certificate) in &hosted {
            let Some(label) = domain
                .name
                .strip_suffix(&format!(".{}", name.trim_end_matches('.')))
            else {
                continue;
            };
            let address = if domain.near { near } else { far };
            let named = if domain.wrong { &other } else { certificate };
            records.push_str(&format!(
                "_xmpp-server._tcp.{label} SRV 0 0 {port} xmpp.{label}\n\
                 xmpp.{label} A {ip}\n\
                 _{port}._tcp.xmpp.{label} TLSA 3 1 1 {digest}\n",
                port = address.port(),
                ip = address.ip(),
                digest = named.key_digest(),
            ));
        }
        let zone = Zone::new(name, signing, &records);
        // Somebody leads to the near server what belongs to the far one.
        zones.push(match name {
            "broken." => zone.spoilt("127.0.0.3", "127.0.0.2"),
            _ => zone,
        });
    }
    for (domain, certificate) in &hosted {
        certificate.write_together(&certificates, domain.name)?;
    }
    let realm = Realm::start(dir, &zones)?;
    let resolver = realm.resolver(dir, false)?;
    let start = |name: &str, address: SocketAddr, near: bool, validates: bool| {
        let local: Vec<&str> = DOMAINS
            .iter()
            .filter(|domain| domain.near == near)
            .map(|domain| domain.name)
            .collect();
        start(
            dir,
            name,
            program,
            address,
            &local,
            &certificates,
            &realm,
            &resolver,
            validates,
        )
    };
    {
        let near_server = start("verona", near, true, true)?;
        let far_server = start("near", far, false, true)?;
        both_ways(&near_server, &far_server, evidence)?;
        for (domain, words) in [
            (
                "wrong.signed",
                "DNS names other certificates for the peer (TLSA)",
            ),
            (
                "b.plain",
                "DNS has no TLSA record for it that may be believed",
            ),
            ("b.broken", "DNSSEC disproves what DNS answered"),
        ] {
            refused(&near_server, domain, words, evidence)?;
        }
        // A domain whose records name another certificate is not believed when it comes to us either.
        match far_server.ping("wrong.signed", "a.signed") {
            Ok(told) => bail!("wrong.signed was believed: {told}"),
            Err(error) => {
                let told = format!("{error:#}");
                ensure!(told.contains("not-authorized"), "wrong.signed: {told}");
                evidence.push("wrong.signed dials: not-authorized".to_owned());
            }
        }
    }
    // The same names, but nobody validates: the records mean nothing.
    let near_server = start("verona-off", near, true, false)?;
    let _far_server = start("near-again", far, false, true)?;
    refused(
        &near_server,
        "b.signed",
        "the peer's certificate is not trusted: self-signed",
        evidence,
    )
}

/// One domain, all of whose servers are one verona.
struct Domain {
    name: &'static str,
    /// On the near server, else on the far one.
    near: bool,
    /// Its TLSA record names another certificate.
    wrong: bool,
}

const fn domain(name: &'static str, near: bool) -> Domain {
    Domain {
        name,
        near,
        wrong: false,
    }
}

const DOMAINS: [Domain; 6] = [
    domain("a.signed", true),
    domain("c.signed", true),
    domain("b.signed", false),
    domain("b.plain", false),
    domain("b.broken", false),
    Domain {
        name: "wrong.signed",
        near: false,
        wrong: true,
    },
];

/// Each dials the other for a pair of its own, and is believed by DANE in both directions.
fn both_ways(near: &Verona, far: &Verona, evidence: &mut Vec<String>) -> Result<()> {
    let told = near.ping("a.signed", "b.signed")?;
    evidence.push(format!("near dials: {}", told.trim()));
    let told = far.ping("b.signed", "c.signed")?;
    evidence.push(format!("far dials: {}", told.trim()));
    for (server, who) in [(near, "near"), (far, "far")] {
        let links = server.links()?;
        let mut grounds = Vec::new();
        for pair in links
            .iter()
            .filter_map(|link| link.get("pairs")?.as_array())
            .flatten()
        {
            for direction in ["send", "receive"] {
                let by = pair.get(direction).and_then(|found| found.get("by"));
                grounds.extend(by.and_then(Value::as_str).map(str::to_owned));
            }
        }
        grounds.sort();
        grounds.dedup();
        evidence.push(format!(
            "{who}: {} links, grounds {}",
            links.len(),
            grounds.join(", ")
        ));
        // What one proved with EXTERNAL rests on SASL, whatever proved the certificate.
        ensure!(
            grounds.contains(&"dane".to_owned())
                && grounds.iter().all(|by| by == "dane" || by == "sasl"),
            "{who}: {grounds:?} in {links:?}"
        );
    }
    Ok(())
}

fn refused(near: &Verona, domain: &str, words: &str, evidence: &mut Vec<String>) -> Result<()> {
    match near.ping("a.signed", domain) {
        Ok(told) => bail!("{domain} answered: {told}"),
        Err(error) => {
            let told = format!("{error:#}");
            ensure!(told.contains(words), "{domain}: {told}");
            evidence.push(format!("{domain}: {words}"));
            Ok(())
        }
    }
}

fn one_port(ip: [u8; 4]) -> Result<SocketAddr> {
    free_ports(ip, 1)?.first().copied().context("no free port")
}

#[expect(
    clippy::too_many_arguments,
    reason = "one call, and each is a line of the file"
)]
fn start(
    dir: &Path,
    name: &str,
    program: &Path,
    address: SocketAddr,
    local: &[&str],
    certificates: &Path,
    realm: &Realm,
    resolver: &Recursive,
    validates: bool,
) -> Result<Verona> {
    let [components, admin] = *free_ports([127, 0, 0, 1], 2)?.as_slice() else {
        bail!("no free ports");
    };
    let dnssec = match validates {
        true => format!(
            "dnssec = \"validate\"\ntrust_anchor_file = \"{}\"\n",
            realm.anchors.display()
        ),
        false => String::new(),
    };
    let mut text = format!(
        "[s2s]\nlisten = [\"{address}\"]\nlisten_tls = []\nbind = [\"{}\"]\nallow_networks = [\"127.0.0.0/8\"]\n\
         [tls]\ncertificates = \"{}\"\ntrust = []\n\
         [dns]\nservers = [\"{}\"]\n{dnssec}\
         [components]\nlisten = [\"{components}\"]\n\
         [admin]\nlisten = \"{admin}\"\n\
         [log]\nlevel = \"debug\"\n\
         [defaults]\nidentity = [\"certificate\", \"dane\"]\n",
        address.ip(),
        certificates.display(),
        resolver.address,
    );
    for domain in local {
        text.push_str(&format!("[[domain]]\nname = \"{domain}\"\n"));
    }
    let listeners = [address, components, admin];
    Verona::start_with(dir, name, program, &text, &listeners, components)
}
