//! jabberd2, as Debian packages it: its router, its S2S server, and components of ours for the hosted domains.
//! Why components: the parts with accounts need a database, and have no word in a federation.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use verona_interop::process::Process;

use super::process::{free_port, start_with_resolver};
use super::{HOSTED, Running, SECOND, SECRET, Settings, component, subject};

/// Starts both parts and waits until they listen.
///
/// # Errors
/// It is not installed or does not start.
pub fn start(settings: &Settings<'_>) -> Result<Running> {
    let address = free_port([127, 0, 0, 1])?;
    let inside = free_port([127, 0, 0, 1])?;
    settings.write_certificates(&[HOSTED, SECOND])?;
    let home = settings.dir.display();
    let write = |name: &str, text: &str| fs::write(settings.dir.join(name), text);
    write(
        "users.xml",
        &format!("<users><user><name>jabberd</name><secret>{SECRET}</secret></user></users>\n"),
    )?;
    write("filter.xml", "<filter/>\n")?;
    write(
        "router.xml",
        &format!(
            "<router><id>router</id><log type='stdout'/><local><ip>127.0.0.1</ip><port>{port}</port>\
             <users>{home}/users.xml</users><secret>{SECRET}</secret></local><io><max_fds>1024</max_fds></io>\
             <aci><acl type='all'><user>jabberd</user></acl><filter>{home}/filter.xml</filter></aci></router>\n",
            port = inside.port()
        ),
    )?;
    write(
        "s2s.xml",
        &format!(
            "<s2s><id>s2s</id><pidfile>{home}/s2s.pid</pidfile><router><ip>127.0.0.1</ip><port>{inside}</port>\
             <user>jabberd</user><pass>{SECRET}</pass><retry><init>20</init><lost>3</lost><sleep>1</sleep></retry></router>\
             <log type='stdout'/><local><ip>127.0.0.1</ip><port>{port}</port><pemfile>{home}/{HOSTED}.pem</pemfile></local>\
             <io><max_fds>1024</max_fds></io><check><interval>5</interval><queue>10</queue></check>\
             <lookup><srv>xmpp-server</srv></lookup><security><require_tls/></security></s2s>\n",
            inside = inside.port(),
            port = address.port()
        ),
    )?;
    let file = |name: &str| settings.dir.join(name).to_string_lossy().into_owned();
    let mut router = Process::start(
        "router",
        settings.dir,
        Path::new("/usr/sbin/jabberd2-router"),
        &["-c", &file("router.xml")],
    )?;
    router.wait_for_listeners(&[inside], Duration::from_secs(20))?;
    let mut s2s = start_with_resolver(
        "s2s",
        settings.dir,
        Path::new("/usr/sbin/jabberd2-s2s"),
        &["-c", &file("s2s.xml")],
        settings.dns,
    )?;
    s2s.wait_for_listeners(&[address], Duration::from_secs(20))?;
    for domain in [HOSTED, SECOND] {
        component::attach(inside, domain, SECRET)?;
    }
    let mut subject = subject(address, Duration::from_secs(25));
    // Dialback is all it has.
    subject.trusts_us = false;
    subject.bidi = false;
    Ok(Running {
        subject,
        processes: vec![s2s, router],
    })
}
