//! verona itself, with every deadline short enough for a test.
//! Why only deadlines: all other limits are those that an operator has who changes nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use verona_interop::process::Process;

use super::process::free_port;
use super::{HOSTED, Running, SECOND, SECRET, Settings, subject};

/// Starts `verona run` and waits until it listens.
///
/// # Errors
/// The program is missing or does not start.
pub fn start(program: &Path, settings: &Settings<'_>) -> Result<Running> {
    let address = free_port([127, 0, 0, 1])?;
    let admin = free_port([127, 0, 0, 1])?;
    settings.write_certificates(&[HOSTED, SECOND])?;
    std::fs::write(settings.dir.join("dialback.secret"), SECRET)?;
    let file = settings.dir.join("verona.toml");
    let text = format!(
        r#"[s2s]
listen = ["{address}"]
listen_tls = []
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "."
trust = ["ca.pem"]

[dns]
servers = ["{dns}"]

[dialback]
secret_file = "dialback.secret"

[admin]
listen = "{admin}"

[log]
level = "debug"

[defaults.limits]
negotiation_seconds = 8
negotiation_dialback_seconds = 10
dialback_answer_seconds = 6
verification_seconds = 6
tls_handshake_seconds = 5
connect_seconds = 5
dns_seconds = 5
attempt_seconds = 8
close_seconds = 3
write_stall_seconds = 6
outbox_age_seconds = 12

[[domain]]
name = "{HOSTED}"

[[domain]]
name = "{SECOND}"
"#,
        dns = settings.dns,
    );
    std::fs::write(&file, text)?;
    let mut process = Process::start(
        "verona",
        settings.dir,
        program,
        &["run", "-c", &file.to_string_lossy()],
    )?;
    process.wait_for_listeners(&[address], Duration::from_secs(20))?;
    let mut subject = subject(address, Duration::from_secs(12));
    subject.secret = Some(SECRET.to_owned());
    Ok(Running {
        subject,
        processes: vec![process],
    })
}
