//! One Prosody 0.12 with a generated configuration and the wire log of `peers/prosody/`.
//! Why that server: it is the most deployed one that speaks XEP-0288, and it keeps dialback and EXTERNAL both.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::certs::CertificateFiles;
use crate::process::{Process, free_ports};

/// What one Prosody is told.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Name of its folder and logs.
    pub name: &'a str,
    /// Loopback address of its S2S listener.
    pub address: SocketAddr,
    /// Whether that is one for direct TLS.
    pub direct_tls: bool,
    /// The domain with accounts.
    pub domain: &'a str,
    /// Its certificate.
    pub certificate: &'a CertificateFiles,
    /// A component's domain, secret and certificate.
    pub component: Option<(&'a str, &'a str, &'a CertificateFiles)>,
    /// The only authority, when there is one.
    pub authority: Option<&'a Path>,
    /// Whether every peer needs a valid certificate (`s2s_secure_auth`).
    pub secure: bool,
    /// The name server.
    pub dns: SocketAddr,
    /// Another system's root in which it is installed.
    pub root: Option<&'a Path>,
    /// The least that it logs: `debug`, `info`, …
    pub log: &'a str,
    /// More for the global section; no key that is there already.
    pub global: &'a str,
    /// More hosts and components.
    pub hosts: &'a str,
}

/// A running Prosody.
#[derive(Debug)]
pub struct Prosody {
    /// The process.
    pub process: Process,
    /// Where clients connect, in the clear.
    pub clients: SocketAddr,
    /// Where components connect.
    pub components: SocketAddr,
    /// The log of every byte of its S2S connections.
    pub wire_log: PathBuf,
}

impl Prosody {
    /// Starts Prosody in a folder of its own below `dir` and waits until it listens.
    ///
    /// # Errors
    /// Prosody is missing or does not start.
    pub fn start(dir: &Path, settings: &Settings<'_>) -> Result<Self> {
        let home = dir.join(settings.name);
        let plugins = home.join("plugins");
        fs::create_dir_all(&plugins)?;
        fs::create_dir_all(home.join("data"))?;
        fs::write(
            plugins.join("mod_wire_log.lua"),
            include_str!("../peers/prosody/mod_wire_log.lua"),
        )?;
        let [clients, components] = *free_ports([127, 0, 0, 1], 2)?.as_slice() else {
            anyhow::bail!("no free ports");
        };
        let wire_log = home.join("wire.jsonl");
        let file = home.join("prosody.cfg.lua");
        fs::write(
            &file,
            configuration(&home, settings, clients, components, &wire_log),
        )
        .with_context(|| format!("writing {}", file.display()))?;
        let file = file.to_string_lossy();
        let prosody = ["/usr/bin/prosody", "-F", "--config", &file];
        let mut process = match (settings.root, prosody) {
            (None, [program, arguments @ ..]) => {
                Process::start(settings.name, dir, Path::new(program), &arguments)?
            }
            (Some(root), inside) => {
                let root = root.to_string_lossy();
                let arguments = [[root.as_ref()].as_slice(), &inside].concat();
                Process::start(
                    settings.name,
                    dir,
                    Path::new("/usr/sbin/chroot"),
                    &arguments,
                )?
            }
        };
        let mut listeners = vec![settings.address, clients];
        if settings.component.is_some() || !settings.hosts.is_empty() {
            listeners.push(components);
        }
        process.wait_for_listeners(&listeners, Duration::from_secs(90))?;
        Ok(Self {
            process,
            clients,
            components,
            wire_log,
        })
    }
}

/// Debian's own choice of modules as far as they touch streams (smacks included), with bidi; neither archive nor
/// offline store, because a stanza that was kept would turn up in another count.
fn configuration(
    home: &Path,
    settings: &Settings<'_>,
    clients: SocketAddr,
    components: SocketAddr,
    wire_log: &Path,
) -> String {
    let Settings {
        address,
        domain,
        certificate,
        dns,
        ..
    } = settings;
    let home = home.display();
    let port = |is_there: bool| match is_there {
        true => address.port().to_string(),
        false => String::new(),
    };
    let mut text = format!(
        r#"run_as_root = true
daemonize = false
pidfile = "{home}/prosody.pid"
data_path = "{home}/data"
plugin_paths = {{ "{home}/plugins" }}
certificates = "{home}/none"
log = {{ {{ levels = {{ min = "{log}" }}, to = "console" }} }}
statistics = nil

modules_enabled = {{
	"roster", "saslauth", "tls", "dialback", "disco", "ping", "version", "time", "uptime",
	"smacks", "s2s_bidi", "wire_log",
}}
modules_disabled = {{ "offline" }}
wire_log_file = "{wire_log}"

-- The name server of this case, and no other. Without the last option libunbound does not ask a loopback address.
unbound = {{
	resolvconf = false, hoststxt = false, forward = "{dns_ip}@{dns_port}",
	options = {{ ["do-not-query-localhost:"] = "no" }},
}}

c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {c2s} }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
-- Accounts are not what is tested here: any name and password will do.
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"

s2s_interfaces = {{ "{s2s_ip}" }}
s2s_ports = {{ {starttls_port} }}
s2s_direct_tls_interfaces = {{ "{s2s_ip}" }}
s2s_direct_tls_ports = {{ {direct_port} }}
-- A port's certificate is looked for neither with the hosts nor in what is said of all.
s2s_direct_tls_ssl = {{ certificate = "{crt}", key = "{key}"; {authority} }}
legacy_ssl_ports = {{ }}
s2s_require_encryption = true
s2s_secure_auth = {secure}
component_interfaces = {{ "127.0.0.1" }}
component_ports = {{ {component} }}

ssl = {{ {authority} }}
{global}
VirtualHost "{domain}"
	ssl = {{ certificate = "{crt}", key = "{key}" }}
"#,
        log = settings.log,
        wire_log = wire_log.display(),
        dns_ip = dns.ip(),
        dns_port = dns.port(),
        c2s = clients.port(),
        s2s_ip = address.ip(),
        starttls_port = port(!settings.direct_tls),
        direct_port = port(settings.direct_tls),
        secure = settings.secure,
        global = settings.global,
        component = components.port(),
        authority = settings.authority.map_or(String::new(), |path| format!(
            "cafile = \"{}\"",
            path.display()
        )),
        crt = certificate.certificate.display(),
        key = certificate.key.display(),
    );
    if let Some((domain, secret, certificate)) = settings.component {
        text.push_str(&format!(
            "\nComponent \"{domain}\"\n\tcomponent_secret = \"{secret}\"\n\tssl = {{ certificate = \"{}\", key = \"{}\" }}\n",
            certificate.certificate.display(),
            certificate.key.display()
        ));
    }
    text.push_str(settings.hosts);
    text
}
