//! The servers that the kit can start by itself, and the one that an operator runs already.
//! Why the kit starts them: a deadline that is an hour by default is a minute here, and the authority has to be trusted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::authority::{Authority, Order};
use crate::scene::Subject;

mod component;
pub mod ejabberd;
pub mod jabberd2;
pub mod process;
pub mod prosody;
pub mod verona;

use verona_interop::process::Process;

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// verona, from this program.
    Verona(PathBuf),
    /// Prosody, as Debian packages it.
    Prosody,
    /// ejabberd, as Debian packages it.
    Ejabberd,
    /// jabberd2, as Debian packages it.
    Jabberd2,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verona(_) => "verona",
            Self::Prosody => "prosody",
            Self::Ejabberd => "ejabberd",
            Self::Jabberd2 => "jabberd2",
        }
    }

    /// Whether its resolver can only ask the standard port.
    #[must_use]
    pub fn needs_port_53(&self) -> bool {
        match self {
            Self::Ejabberd | Self::Jabberd2 => true,
            Self::Verona(_) | Self::Prosody => false,
        }
    }
}

/// A server that was started, until it is dropped.
pub struct Running {
    /// What the cases have to know of it.
    pub subject: Subject,
    /// The processes that it consists of.
    pub processes: Vec<Process>,
}

/// What every server is told.
pub struct Settings<'a> {
    /// A folder of its own.
    pub dir: &'a Path,
    /// The authority that it is to trust.
    pub authority: &'a Authority,
    /// The name server.
    pub dns: SocketAddr,
}

impl Settings<'_> {
    /// Writes the authority's certificate and one for each hosted domain: `ca.pem`, `DOMAIN.crt`, `DOMAIN.key`,
    /// `DOMAIN.pem` with both.
    fn write_certificates(&self, domains: &[&str]) -> Result<()> {
        self.authority.write(&self.dir.join("ca.pem"))?;
        for domain in domains {
            let (certificate, key) = self.authority.issue(&Order::good(&[domain]))?.pem;
            let write = |ending: &str, text: &str| {
                std::fs::write(self.dir.join(format!("{domain}.{ending}")), text)
            };
            write("crt", &certificate)?;
            write("key", &key)?;
            write("pem", &format!("{certificate}{key}"))?;
        }
        Ok(())
    }
}

/// The domains that every server is told to host.
pub const HOSTED: &str = "target.test";
/// The second one.
pub const SECOND: &str = "second.test";
/// The dialback secret of servers that can be told one.
pub const SECRET: &str = "known to the kit";

/// Starts a server.
///
/// # Errors
/// It is not installed, or does not start.
pub fn start(kind: &Kind, settings: &Settings<'_>) -> Result<Running> {
    match kind {
        Kind::Verona(program) => verona::start(program, settings),
        Kind::Prosody => prosody::start(settings),
        Kind::Ejabberd => ejabberd::start(settings),
        Kind::Jabberd2 => jabberd2::start(settings),
    }
}

/// A subject with the waits that fit a server on the same machine.
fn subject(address: SocketAddr, patience: Duration) -> Subject {
    Subject {
        address,
        hosted: HOSTED.to_owned(),
        second: Some(SECOND.to_owned()),
        secret: None,
        trusts_us: true,
        bidi: true,
        patience,
        settle: Duration::from_secs(2),
    }
}
