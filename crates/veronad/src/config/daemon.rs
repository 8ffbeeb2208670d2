//! The small tables: `[dns]`, `[dialback]`, `[components]`, `[admin]`, `[state]`, `[journal]`, `[log]`.
//!
//! Each has a few keys; a file for each would hide more than it shows.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use verona::config::{Dnssec, JournalConfig, ListenAddress};
use verona::network::Network;
use verona::resolver::TrustAnchors;
use verona_proto::addr::Domain;
use verona_proto::dialback::{IssuedKeys, Secret};

use super::listeners::Listeners;
use super::problem::Report;
use super::section::Section;
use super::{Base, address, secrets};
use crate::admin::Token;
use crate::output::printable;

/// Where the daemon is asked how it is (contract §3, `[admin]`).
#[derive(Clone, Debug)]
pub(crate) struct AdminConfig {
    /// Where HTTP is served.
    pub(crate) listen: ListenAddress,
    /// Whether the file says so, or nobody said anything else.
    pub(crate) is_default: bool,
    /// What whoever changes something must show; without one nothing can be changed.
    pub(crate) token: Option<Token>,
}

/// How dialback keys are made and vouched for (contract §3, `[dialback]`).
#[derive(Debug)]
pub(super) struct Dialback {
    pub(super) secret: Option<Secret>,
    pub(super) previous_secret: Option<Secret>,
    pub(super) issued_keys: IssuedKeys,
    /// Whether we vouch only for keys that this process made.
    pub(super) strict: bool,
}

/// How the daemon speaks (contract §3, `[log]`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: &'static str,
}

/// Who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// People.
    Text,
    /// Programs.
    Json,
}

/// Which name servers are asked, and what their answers are worth (contract §3, `[dns]`).
pub(super) fn dns(
    section: &mut Section<'_>,
    base: &Base,
    report: &mut Report,
) -> (Vec<SocketAddr>, Dnssec) {
    let mut servers = Vec::new();
    if let Some(node) = section.get("servers") {
        for (item, text) in node.texts(report) {
            servers.extend(address::socket(&item, text, 53, report));
        }
    }
    let validates = section
        .get("dnssec")
        .and_then(|node| node.choice(&[("off", false), ("validate", true)], report))
        .unwrap_or(false);
    let mut anchors = TrustAnchors::public_root();
    if let Some(node) = section.get("trust_anchor_file")
        && let Some(file) = node.text(report)
    {
        match trust_anchors(&base.path(file)) {
            Ok(read) => anchors = read,
            Err(problem) => {
                report.error(
                    &node.place(),
                    format!("trust anchors in {}: {problem}", printable(file)),
                );
            }
        }
        if !validates {
            report
                .warning(
                    &node.place(),
                    "`trust_anchor_file` has no effect without DNSSEC",
                )
                .suggest("write `dnssec = \"validate\"`, or remove the key");
        }
    }
    let dnssec = if validates {
        Dnssec::Validate(anchors)
    } else {
        Dnssec::Off
    };
    (servers, dnssec)
}

fn trust_anchors(path: &Path) -> Result<TrustAnchors, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TRUST_ANCHOR_BYTES_MAX).read_to_string(&mut text))
        .map_err(|cause| format!("it cannot be read: {cause}"))?;
    TrustAnchors::parse(&text).map_err(|problem| problem.to_string())
}

/// The secret of `[dialback]`, the one before, and for which keys we vouch.
pub(super) fn dialback(section: &mut Section<'_>, base: &Base, report: &mut Report) -> Dialback {
    let current = secrets::read(section, base, report);
    let previous = section
        .get("previous_secret_file")
        .and_then(|node| secrets::from_file(&node, base, report));
    let has_secret = section.has("secret") || section.has("secret_file");
    //= DB-35
    let strict = section.get("strict_issued_keys").and_then(|node| {
        let strict = node.boolean(report)?;
        //= DB-03
        if !strict && !has_secret {
            report
                .warning(
                    &node.place(),
                    "the secret is a random one of this process: no other machine makes keys of it",
                )
                .suggest("name the secret that the machines share as `secret_file`, or remove `strict_issued_keys`");
        }
        Some(strict)
    });
    Dialback {
        secret: current.map(|text| Secret::new(&text)),
        previous_secret: previous.map(|text| Secret::new(&text)),
        strict: strict.unwrap_or(true),
        issued_keys: match strict {
            Some(false) => IssuedKeys::shared_secret(),
            Some(true) | None => IssuedKeys::default(),
        },
    }
}

/// Where components attach. Without a component nobody would: then there is no listener unless the file names one.
pub(super) fn components(
    section: &mut Section<'_>,
    has_component: bool,
    base: &Base,
    listeners: &mut Listeners,
    report: &mut Report,
) -> Vec<ListenAddress> {
    let Some(node) = section.get("listen") else {
        if !has_component {
            return Vec::new();
        }
        let address = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, COMPONENT_PORT).into());
        listeners.add(
            address.clone(),
            section.place(),
            "components.listen",
            report,
        );
        return vec![address];
    };
    let items = node.texts(report);
    if items.is_empty() && has_component && !report.has_errors() {
        report
            .warning(
                &node.place(),
                "`listen` is empty, but a `[[domain]]` has a component: it could not attach",
            )
            .suggest("such as `listen = [\"127.0.0.1:5347\"]`");
    }
    let mut addresses = Vec::new();
    for (item, text) in items {
        let Some(address) = address::local(&item, text, COMPONENT_PORT, base, report) else {
            continue;
        };
        //= COMP-16
        if let ListenAddress::Tcp(at) = &address
            && !is_private(at.ip())
        {
            report
                .warning(&item.place(), format!("components speak without TLS, and `{at}` can be reached from other machines"))
                .suggest("listen on `127.0.0.1:5347` or on `unix:PATH`");
        }
        listeners.add(address.clone(), &item.place(), node.name, report);
        addresses.push(address);
    }
    addresses
}

/// The proxies through which components connect. To a socket in the file system nobody connects through one.
pub(super) fn component_proxies(
    section: &mut Section<'_>,
    listen: &[ListenAddress],
    report: &mut Report,
) -> Vec<Network> {
    let proxies = address::proxies(section, report);
    let has_tcp = listen
        .iter()
        .any(|address| matches!(address, ListenAddress::Tcp(_)));
    if !proxies.is_empty()
        && !has_tcp
        && let Some(node) = section.get("proxy_protocol")
    {
        report.warning(
            &node.place(),
            "`proxy_protocol` changes nothing: components do not connect over TCP here",
        );
    }
    proxies
}

/// All of `[admin]`.
pub(super) fn admin(
    section: &mut Section<'_>,
    base: &Base,
    listeners: &mut Listeners,
    report: &mut Report,
) -> AdminConfig {
    let token = section.get("token_file").and_then(|node| {
        let text = secrets::from_file(&node, base, report)?;
        let token = Token::new(&text);
        if token.is_none() {
            report
                .error(
                    &node.place(),
                    "the token has characters that HTTP cannot carry: spaces, or others than those of ASCII",
                )
                .suggest("`openssl rand -hex 32` makes a good one");
        }
        token
    });
    AdminConfig {
        token,
        ..admin_listen(section, base, listeners, report)
    }
}

/// Where the daemon is asked, without looking at files.
pub(super) fn admin_listen(
    section: &mut Section<'_>,
    base: &Base,
    listeners: &mut Listeners,
    report: &mut Report,
) -> AdminConfig {
    let default = AdminConfig {
        listen: ListenAddress::Tcp((Ipv4Addr::LOCALHOST, ADMIN_PORT).into()),
        is_default: true,
        token: None,
    };
    let Some(node) = section.get("listen") else {
        listeners.add(
            default.listen.clone(),
            section.place(),
            "admin.listen",
            report,
        );
        return default;
    };
    let address = node
        .text(report)
        .and_then(|text| address::local(&node, text, ADMIN_PORT, base, report));
    let Some(listen) = address else {
        return default;
    };
    if let ListenAddress::Tcp(at) = &listen
        && !at.ip().is_loopback()
    {
        report
            .warning(&node.place(), format!("whoever reaches `{at}` can read with whom this server talks: no token is asked for"))
            .suggest("listen on `127.0.0.1:5280` or on `unix:PATH`, and put a proxy with authentication before it");
    }
    listeners.add(listen.clone(), &node.place(), node.name, report);
    AdminConfig {
        listen,
        is_default: false,
        token: None,
    }
}

/// Where is kept what outlives the process: named here, or by systemd, or beside the file.
pub(super) fn state(section: &mut Section<'_>, base: &Base, report: &mut Report) -> PathBuf {
    let default = || {
        let given = std::env::var("STATE_DIRECTORY").unwrap_or_default();
        // systemd lists all directories of the unit; the first is ours.
        match given.split(':').next() {
            Some(first) if !first.is_empty() => PathBuf::from(first),
            Some(_) | None => base.path("state"),
        }
    };
    let Some(node) = section.get("directory") else {
        return default();
    };
    let Some(text) = node.text(report) else {
        return default();
    };
    let directory = base.path(text);
    if text.is_empty() {
        report
            .error(&node.place(), "`directory` is empty")
            .suggest("such as `directory = \"/var/lib/verona\"`; without the key it is `state` beside this file");
    } else if std::fs::metadata(&directory).is_ok_and(|metadata| !metadata.is_dir()) {
        report.error(
            &node.place(),
            format!(
                "`{}` is not a directory",
                printable(&directory.display().to_string())
            ),
        );
    }
    directory
}

/// The journal, if a domain wants one, or had one: in a file that is named here, or in the state directory. What is left in a
/// file is delivered even if nothing more is to be kept.
pub(super) fn journal(
    section: &mut Section<'_>,
    domains: Vec<Domain>,
    state: &Path,
    base: &Base,
    report: &mut Report,
) -> Option<JournalConfig> {
    let mut file = state.join("journal.redb");
    if let Some(node) = section.get("file")
        && let Some(text) = node.text(report)
    {
        file = base.path(text);
        if text.is_empty() || file.is_dir() {
            report
                .error(
                    &node.place(),
                    format!(
                        "`{}` is a directory, and the journal is a file",
                        printable(text)
                    ),
                )
                .suggest("such as `file = \"/var/lib/verona/journal.redb\"`");
        } else if domains.is_empty() && !file.exists() {
            report
                .warning(
                    &node.place(),
                    "no `[[domain]]` has a journal: `file` has no effect",
                )
                .suggest("write `journal = true` below a `[[domain]]`, or remove `[journal]`");
        }
    }
    (!domains.is_empty() || file.is_file()).then_some(JournalConfig { file, domains })
}

/// How the daemon speaks.
pub(super) fn log(section: &mut Section<'_>, report: &mut Report) -> LogConfig {
    let format = section.get("format").and_then(|node| {
        node.choice(
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            report,
        )
    });
    let level = section
        .get("level")
        .and_then(|node| node.choice(LEVELS, report));
    LogConfig {
        format: format.unwrap_or(LogFormat::Text),
        level: level.unwrap_or("info"),
    }
}

/// Whether only this machine or a private network reaches the address.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

const LEVELS: &[(&str, &str)] = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];

/// A root has a few keys at a time.
const TRUST_ANCHOR_BYTES_MAX: u64 = 64 * 1024;
const COMPONENT_PORT: u16 = 5347;
const ADMIN_PORT: u16 = 5280;
