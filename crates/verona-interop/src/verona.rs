//! One `verona run` with a generated configuration, and its own account of what it does.
//! Why the binary and not the engine: the tests stand where an operator stands, with the file and the commands of the contract.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{Process, free_ports, tail};

/// What one verona is told.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its S2S listener; also the source of its own connections.
    pub address: SocketAddr,
    /// Whether that is one for direct TLS.
    pub direct_tls: bool,
    /// The proxy through which servers reach it.
    pub proxy: Option<IpAddr>,
    /// Hosted domains with local services only.
    pub local: &'a [&'a str],
    /// A component's domain and secret.
    pub component: Option<(&'a str, &'a str)>,
    /// Folder of `DOMAIN.pem` files.
    pub certificates: &'a Path,
    /// The only trusted authority.
    pub authority: &'a Path,
    /// The name server.
    pub dns: SocketAddr,
    /// More lines for the end of the file: `[[peer]]` tables.
    pub peers: &'a str,
}

/// A running verona.
#[derive(Debug)]
pub struct Verona {
    /// The process.
    pub process: Process,
    /// Where components connect.
    pub components: SocketAddr,
    program: PathBuf,
    configuration: PathBuf,
}

impl Verona {
    /// Starts `verona run` in a folder of its own below `dir` and waits until it listens.
    ///
    /// # Errors
    /// The program is missing or does not start.
    pub fn start(dir: &Path, settings: &Settings<'_>) -> Result<Self> {
        let [components, admin] = *free_ports([127, 0, 0, 1], 2)?.as_slice() else {
            bail!("no free ports");
        };
        let text = text(settings, components, admin);
        let listeners = [settings.address, components, admin];
        Self::start_with(
            dir,
            "verona",
            settings.program,
            &text,
            &listeners,
            components,
        )
    }

    /// Starts `verona run` with this configuration in the folder `dir/NAME`, and waits until it listens everywhere.
    ///
    /// # Errors
    /// The program is missing or does not start.
    pub fn start_with(
        dir: &Path,
        name: &str,
        program: &Path,
        text: &str,
        listeners: &[SocketAddr],
        components: SocketAddr,
    ) -> Result<Self> {
        let home = dir.join(name);
        fs::create_dir_all(&home)?;
        let configuration = home.join("verona.toml");
        fs::write(&configuration, text)?;
        let mut process = Process::start(
            name,
            dir,
            program,
            &["run", "-c", &configuration.to_string_lossy()],
        )?;
        process
            .wait_for_listeners(listeners, Duration::from_secs(15))
            .with_context(|| tail(&dir.join(format!("{name}.log")), 20))?;
        Ok(Self {
            process,
            components,
            program: program.to_owned(),
            configuration,
        })
    }

    /// `verona links --json`: the live connections as an operator sees them (contract §4).
    ///
    /// # Errors
    /// The command fails or prints something else.
    pub fn links(&self) -> Result<Vec<Value>> {
        let output = self.ask(&["links", "--json"], Duration::from_secs(10))?;
        let document: Value = serde_json::from_str(&output)
            .with_context(|| format!("`verona links --json` printed: {output}"))?;
        document
            .get("links")
            .and_then(Value::as_array)
            .cloned()
            .with_context(|| format!("no list \"links\" in {document}"))
    }

    /// `verona ping FROM TO`: through the running daemon.
    ///
    /// # Errors
    /// No answer, or an error.
    pub fn ping(&self, from: &str, to: &str) -> Result<String> {
        self.ask(&["ping", from, to], Duration::from_secs(45))
    }

    /// What a command that asks the daemon prints, within ten seconds.
    ///
    /// # Errors
    /// The command fails.
    pub fn says(&self, arguments: &[&str]) -> Result<String> {
        self.ask(arguments, Duration::from_secs(10))
    }

    fn ask(&self, arguments: &[&str], deadline: Duration) -> Result<String> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .arg("-c")
            .arg(&self.configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("running verona {arguments:?}"))?;
        // Read while it runs: a list of links can be more than a pipe holds.
        let mut pipe = child.stdout.take().context("no standard output")?;
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).map(|_| text)
        });
        let until = Instant::now() + deadline;
        while child.try_wait()?.is_none() {
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                bail!(
                    "`verona {}` still runs after {deadline:?}",
                    arguments.join(" ")
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output()?;
        let printed = reader
            .join()
            .map_err(|_| anyhow::anyhow!("reading what verona printed"))??;
        let (out, err) = (
            String::from_utf8_lossy(&printed).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        if !output.status.success() {
            bail!(
                "`verona {}`: {}: {} {}",
                arguments.join(" "),
                output.status,
                out.trim(),
                err.trim()
            );
        }
        Ok(out)
    }
}

/// The file of contract §3.
fn text(settings: &Settings<'_>, components: SocketAddr, admin: SocketAddr) -> String {
    let quoted = |text: Option<&IpAddr>| text.map_or(String::new(), |text| format!("\"{text}\""));
    let listener = |is_there: bool| match is_there {
        true => format!("\"{}\"", settings.address),
        false => String::new(),
    };
    let mut text = format!(
        r#"[s2s]
listen = [{starttls}]
listen_tls = [{direct}]
bind = ["{ip}"]
proxy_protocol = [{proxy}]
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["{dns}"]

[components]
listen = ["{components}"]

[admin]
listen = "{admin}"

[log]
level = "debug"
"#,
        starttls = listener(!settings.direct_tls),
        direct = listener(settings.direct_tls),
        proxy = quoted(settings.proxy.as_ref()),
        ip = settings.address.ip(),
        certificates = settings.certificates.display(),
        authority = settings.authority.display(),
        dns = settings.dns,
    );
    for domain in settings.local {
        text.push_str(&format!("\n[[domain]]\nname = \"{domain}\"\n"));
    }
    if let Some((domain, secret)) = settings.component {
        text.push_str(&format!(
            "\n[[domain]]\nname = \"{domain}\"\ncomponent = {{ secret = \"{secret}\" }}\n"
        ));
    }
    text.push_str(settings.peers);
    text
}
