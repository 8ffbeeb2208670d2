//! One ejabberd with a generated configuration, started without its control script and without distribution.
//! Why it is among the peers: the second most deployed server; it speaks no bidi before 24.10 and does EXTERNAL its own way.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Process, tail};

/// What one ejabberd is told.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Name of its folder and logs.
    pub name: &'a str,
    /// Another system's root in which it is installed.
    pub root: Option<&'a Path>,
    /// Its S2S listener.
    pub address: SocketAddr,
    /// Whether that is one for direct TLS.
    pub direct_tls: bool,
    /// Where components connect.
    pub components: SocketAddr,
    /// Its own domain, which nobody talks to; components have the others.
    pub domain: &'a str,
    /// Domains of components, all with the secret.
    pub hosts: &'a [String],
    /// The components' secret.
    pub secret: &'a str,
    /// Certificates with their keys, PEM.
    pub certificates: &'a [PathBuf],
    /// The only trusted authority.
    pub authority: &'a Path,
    /// Whether XEP-0288 is among its modules (24.10 and later have it).
    pub bidi: bool,
    /// The least that it logs: `info`, `error`, …
    pub log: &'a str,
}

/// A running ejabberd.
#[derive(Debug)]
pub struct Ejabberd {
    /// The process.
    pub process: Process,
    /// Its own log.
    pub log: PathBuf,
    listeners: [SocketAddr; 2],
}

impl Ejabberd {
    /// Starts ejabberd in a folder of its own below `dir`, which a chroot has to show under the same path;
    /// [`Self::wait`] waits until it listens.
    ///
    /// # Errors
    /// ejabberd is missing or does not start.
    pub fn start(dir: &Path, settings: &Settings<'_>) -> Result<Self> {
        let home = dir.join(settings.name);
        fs::create_dir_all(home.join("spool"))?;
        let file = home.join("ejabberd.yml");
        fs::write(&file, configuration(settings))?;
        let inetrc = home.join("inetrc");
        fs::write(&inetrc, "{nameserver, {127,0,0,1}}.\n{lookup, [dns]}.\n")?;
        let log = home.join("ejabberd.log");
        let environment = [
            format!("HOME={}", home.display()),
            format!("EJABBERD_CONFIG_PATH={}", file.display()),
            format!("EJABBERD_LOG_PATH={}", log.display()),
            format!("ERL_INETRC={}", inetrc.display()),
            format!("ERL_LIBS={}", libraries(settings.root)?),
            "ERL_CRASH_DUMP_BYTES=0".to_owned(),
        ];
        let spool = format!("\"{}\"", home.join("spool").display());
        let mut arguments: Vec<&str> = environment.iter().map(String::as_str).collect();
        // No node name: no distribution, so no port mapper is started.
        arguments.extend([
            "/usr/bin/erl",
            "-noinput",
            "+K",
            "true",
            "+S",
            "2",
            "-mnesia",
            "dir",
            &spool,
            "-s",
            "ejabberd",
        ]);
        let process = match settings.root {
            None => Process::start(settings.name, dir, Path::new("/usr/bin/env"), &arguments)?,
            Some(root) => {
                let root = root.to_string_lossy();
                let mut inside = vec![root.as_ref(), "/usr/bin/env"];
                inside.extend(arguments);
                Process::start(settings.name, dir, Path::new("/usr/sbin/chroot"), &inside)?
            }
        };
        Ok(Self {
            process,
            log,
            listeners: [settings.address, settings.components],
        })
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It ended, or does not listen in time.
    pub fn wait(&mut self) -> Result<()> {
        self.process
            .wait_for_listeners(&self.listeners, Duration::from_secs(60))
            .with_context(|| tail(&self.log, 20))
    }
}

/// Debian's folder of Erlang applications: it has the machine's triplet in its name.
fn libraries(root: Option<&Path>) -> Result<String> {
    let root = root.unwrap_or(Path::new("/"));
    for entry in fs::read_dir(root.join("usr/lib"))? {
        let folder = entry?.path();
        let has_ejabberd = fs::read_dir(&folder).is_ok_and(|inside| {
            inside
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
        });
        if has_ejabberd {
            let name = folder.file_name().context("a folder without a name")?;
            return Ok(format!("/usr/lib/{}", name.to_string_lossy()));
        }
    }
    anyhow::bail!("ejabberd is not installed below {}", root.display())
}

/// Components on one port, TLS required, dialback allowed; no module but those that touch streams.
fn configuration(settings: &Settings<'_>) -> String {
    let Settings {
        address,
        components,
        domain,
        secret,
        ..
    } = settings;
    let mut text = format!(
        r#"hosts: ["{domain}"]
loglevel: {log}
log_rotate_count: 0
certfiles:
"#,
        log = settings.log,
    );
    for certificate in settings.certificates {
        text.push_str(&format!("  - \"{}\"\n", certificate.display()));
    }
    text.push_str(&format!(
        r#"ca_file: "{authority}"
s2s_use_starttls: required
s2s_dns_timeout: 5 seconds
# Its own domain never fails; a domain of a cell fails once and is not asked for again.
s2s_max_retry_delay: 1 second
max_fsm_queue: 20000
listen:
  - port: {s2s_port}
    ip: "{s2s_ip}"
    module: ejabberd_s2s_in
    tls: {direct_tls}
  - port: {component_port}
    ip: "{component_ip}"
    module: ejabberd_service
    access: all
    # Otherwise every component gets what is for any of them.
    global_routes: false
    hosts:
"#,
        authority = settings.authority.display(),
        direct_tls = settings.direct_tls,
        s2s_port = address.port(),
        s2s_ip = address.ip(),
        component_port = components.port(),
        component_ip = components.ip(),
    ));
    for host in settings.hosts {
        text.push_str(&format!(
            "      \"{host}\":\n        password: \"{secret}\"\n"
        ));
    }
    text.push_str("modules:\n  mod_s2s_dialback: {}\n");
    if settings.bidi {
        text.push_str("  mod_s2s_bidi: {}\n");
    }
    text
}
