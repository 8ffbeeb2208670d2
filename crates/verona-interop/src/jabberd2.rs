//! One jabberd2: its router, to which components connect, and its S2S server; the other two parts are not needed.
//! Why it is among the peers: it knows dialback only, shares connections among domains, and has not changed for years.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::process::Process;

/// What one jabberd2 is told.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Name of its folder and logs.
    pub name: &'a str,
    /// Its S2S listener.
    pub address: SocketAddr,
    /// Its router, for components.
    pub components: SocketAddr,
    /// The components' secret.
    pub secret: &'a str,
    /// The one certificate with its key, PEM, for all its domains.
    pub certificate: &'a Path,
}

/// A running jabberd2.
#[derive(Debug)]
pub struct Jabberd2 {
    /// The S2S server; it ends first.
    pub s2s: Process,
    /// The router.
    pub router: Process,
    listeners: [SocketAddr; 2],
}

impl Jabberd2 {
    /// Starts both parts in a folder of their own below `dir`; [`Self::wait`] waits until they listen.
    ///
    /// # Errors
    /// jabberd2 is missing or does not start.
    pub fn start(dir: &Path, settings: &Settings<'_>) -> Result<Self> {
        let home = dir.join(settings.name);
        fs::create_dir_all(&home)?;
        fs::write(home.join("users.xml"), users(settings))?;
        fs::write(home.join("filter.xml"), "<filter/>\n")?;
        let router_file = home.join("router.xml");
        fs::write(&router_file, router(&home, settings))?;
        let s2s_file = home.join("s2s.xml");
        fs::write(&s2s_file, s2s(&home, settings))?;
        let start = |part: &str, file: &Path| {
            let name = format!("{}-{part}", settings.name);
            let program = format!("/usr/sbin/jabberd2-{part}");
            Process::start(
                &name,
                dir,
                Path::new(&program),
                &["-c", &file.to_string_lossy()],
            )
        };
        Ok(Self {
            router: start("router", &router_file)?,
            // It tries again when it comes before its router.
            s2s: start("s2s", &s2s_file)?,
            listeners: [settings.components, settings.address],
        })
    }

    /// Waits until both parts listen.
    ///
    /// # Errors
    /// One of them ended, or does not listen in time.
    pub fn wait(&mut self) -> Result<()> {
        let [components, address] = self.listeners;
        let patience = Duration::from_secs(20);
        self.router.wait_for_listeners(&[components], patience)?;
        self.s2s.wait_for_listeners(&[address], patience)
    }
}

fn users(settings: &Settings<'_>) -> String {
    format!(
        "<users><user><name>jabberd</name><secret>{}</secret></user></users>\n",
        settings.secret
    )
}

fn router(home: &Path, settings: &Settings<'_>) -> String {
    let Settings {
        components, secret, ..
    } = settings;
    format!(
        r#"<router>
  <id>router</id>
  <log type='stdout'/>
  <local>
    <ip>{ip}</ip>
    <port>{port}</port>
    <users>{home}/users.xml</users>
    <secret>{secret}</secret>
  </local>
  <io><max_fds>1024</max_fds></io>
  <aci>
    <acl type='all'><user>jabberd</user></acl>
    <filter>{home}/filter.xml</filter>
  </aci>
</router>
"#,
        ip = components.ip(),
        port = components.port(),
        home = home.display(),
    )
}

fn s2s(home: &Path, settings: &Settings<'_>) -> String {
    let Settings {
        address,
        components,
        secret,
        certificate,
        ..
    } = settings;
    format!(
        r#"<s2s>
  <id>s2s</id>
  <pidfile>{home}/s2s.pid</pidfile>
  <router>
    <ip>{router_ip}</ip>
    <port>{router_port}</port>
    <user>jabberd</user>
    <pass>{secret}</pass>
    <retry><init>20</init><lost>3</lost><sleep>1</sleep></retry>
  </router>
  <log type='stdout'/>
  <local>
    <ip>{ip}</ip>
    <port>{port}</port>
    <pemfile>{certificate}</pemfile>
  </local>
  <io><max_fds>1024</max_fds></io>
  <check><interval>5</interval><queue>20</queue></check>
  <lookup><srv>xmpp-server</srv></lookup>
  <security><require_tls/></security>
</s2s>
"#,
        home = home.display(),
        router_ip = components.ip(),
        router_port = components.port(),
        ip = address.ip(),
        port = address.port(),
        certificate = certificate.display(),
    )
}
