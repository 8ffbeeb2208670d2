//! Prosody, as Debian packages it, with certificates that it believes and dialback for those that it does not.
//! Why both: a case about EXTERNAL and one about dialback shall meet the same server.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use verona_interop::process::Process;

use super::process::free_port;
use super::{HOSTED, Running, SECOND, Settings, subject};

/// Starts Prosody and waits until it listens.
///
/// # Errors
/// It is not installed or does not start.
pub fn start(settings: &Settings<'_>) -> Result<Running> {
    let address = free_port([127, 0, 0, 1])?;
    settings.write_certificates(&[HOSTED, SECOND])?;
    let home = settings.dir.display();
    std::fs::create_dir_all(settings.dir.join("data"))?;
    let file = settings.dir.join("prosody.cfg.lua");
    let mut text = format!(
        r#"run_as_root = true
daemonize = false
pidfile = "{home}/prosody.pid"
data_path = "{home}/data"
certificates = "{home}/none"
log = {{ {{ levels = {{ min = "debug" }}, to = "console" }} }}
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "ping", "version", "time", "smacks", "s2s_bidi" }}
modules_disabled = {{ "offline" }}
-- Without the option libunbound does not ask a loopback address.
unbound = {{
	resolvconf = false, hoststxt = false, forward = "{dns_ip}@{dns_port}",
	options = {{ ["do-not-query-localhost:"] = "no" }},
}}
c2s_ports = {{ }}
c2s_direct_tls_ports = {{ }}
legacy_ssl_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
component_ports = {{ }}
authentication = "internal_hashed"
s2s_interfaces = {{ "127.0.0.1" }}
s2s_ports = {{ {port} }}
s2s_direct_tls_ports = {{ }}
s2s_require_encryption = true
s2s_secure_auth = false
s2s_timeout = {timeout}
ssl = {{ cafile = "{home}/ca.pem" }}
"#,
        dns_ip = settings.dns.ip(),
        dns_port = settings.dns.port(),
        port = address.port(),
        timeout = PATIENCE.as_secs() - 5,
    );
    for domain in [HOSTED, SECOND] {
        text.push_str(&format!(
            "\nVirtualHost \"{domain}\"\n\tssl = {{ certificate = \"{home}/{domain}.crt\", key = \"{home}/{domain}.key\" }}\n"
        ));
    }
    std::fs::write(&file, text)?;
    let mut process = Process::start(
        "prosody",
        settings.dir,
        Path::new("/usr/bin/prosody"),
        &["-F", "--config", &file.to_string_lossy()],
    )?;
    process.wait_for_listeners(&[address], Duration::from_secs(30))?;
    Ok(Running {
        subject: subject(address, PATIENCE),
        processes: vec![process],
    })
}

const PATIENCE: Duration = Duration::from_secs(20);
