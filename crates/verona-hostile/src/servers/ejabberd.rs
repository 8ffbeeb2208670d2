//! ejabberd, as Debian packages it, started without its control script and without distribution.
//! Why by hand: the control script starts a port mapper that stays behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::{free_port, start_with_resolver};
use super::{HOSTED, Running, SECOND, Settings, subject};

/// Starts ejabberd and waits until it listens.
///
/// # Errors
/// It is not installed or does not start.
pub fn start(settings: &Settings<'_>) -> Result<Running> {
    let address = free_port([127, 0, 0, 1])?;
    settings.write_certificates(&[HOSTED, SECOND])?;
    let home = settings.dir.display();
    fs::create_dir_all(settings.dir.join("spool"))?;
    let mut text = format!(
        "hosts: [\"{HOSTED}\", \"{SECOND}\"]\nloglevel: debug\nlog_rotate_count: 0\ncertfiles:\n"
    );
    for domain in [HOSTED, SECOND] {
        text.push_str(&format!("  - \"{home}/{domain}.pem\"\n"));
    }
    text.push_str(&format!(
        r#"ca_file: "{home}/ca.pem"
s2s_use_starttls: required
s2s_dns_timeout: 5 seconds
s2s_max_retry_delay: 1 second
negotiation_timeout: 15 seconds
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_s2s_in
modules:
  mod_s2s_dialback: {{}}
  mod_disco: {{}}
  mod_ping: {{}}
  mod_version: {{}}
"#,
        port = address.port()
    ));
    let file = settings.dir.join("ejabberd.yml");
    fs::write(&file, text)?;
    let inetrc = settings.dir.join("inetrc");
    let server = settings.dns.ip().to_string().replace('.', ",");
    fs::write(
        &inetrc,
        format!("{{nameserver, {{{server}}}}}.\n{{lookup, [dns]}}.\n"),
    )?;
    let environment = [
        format!("HOME={home}"),
        format!("EJABBERD_CONFIG_PATH={}", file.display()),
        format!("EJABBERD_LOG_PATH={home}/ejabberd-own.log"),
        format!("ERL_INETRC={}", inetrc.display()),
        format!("ERL_LIBS={}", libraries()?),
        "ERL_CRASH_DUMP_BYTES=0".to_owned(),
    ];
    let spool = format!("\"{home}/spool\"");
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
    let mut process = start_with_resolver(
        "ejabberd",
        settings.dir,
        Path::new("/usr/bin/env"),
        &arguments,
        settings.dns,
    )?;
    process.wait_for_listeners(&[address], Duration::from_secs(60))?;
    let mut subject = subject(address, Duration::from_secs(20));
    // Since 24.10 it does; Debian has 23.01.
    subject.bidi = false;
    Ok(Running {
        subject,
        processes: vec![process],
    })
}

/// Debian's folder of Erlang applications: it has the machine's triplet in its name.
fn libraries() -> Result<String> {
    for entry in fs::read_dir("/usr/lib")? {
        let folder = entry?.path();
        let has_ejabberd = fs::read_dir(&folder).is_ok_and(|inside| {
            inside
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
        });
        if has_ejabberd {
            return Ok(folder.to_string_lossy().into_owned());
        }
    }
    Err(anyhow::anyhow!("no folder of Erlang applications has it")).context("looking for ejabberd")
}
