//! The stage: two engines, their throw-away certificates, their addresses on loopback.
//!
//! No DNS is asked and nothing is written to disk; the only thing that both engines share is this process.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tokio::signal::unix::{SignalKind, signal};
use verona::config::{
    Component, Config, Conflict, Dnssec, HostedDomain, ListenAddress, PeerAddress, S2s,
};
use verona::tls::{Certificates, TrustRoots};
use verona::{Engine, StartError};
use verona_proto::addr::Domain;
use verona_proto::dialback::IssuedKeys;
use verona_proto::policy::{DomainPattern, IdentityMethod, PeerPolicy, Policy};

use super::Auth;
use super::transcript::Traffic;
use crate::admin::{Admin, CurrentToken, Listener};
use crate::output;

/// Two servers that run.
pub(super) struct World {
    /// Who opens the connection: hosts capulet.lit.
    pub(super) capulet: Server,
    /// Who accepts it: hosts montague.lit and conference.montague.lit.
    pub(super) montague: Server,
}

/// One of the two.
pub(super) struct Server {
    pub(super) engine: Engine,
    /// Where the other reaches it.
    pub(super) s2s: SocketAddr,
    /// Where its components attach.
    pub(super) components: SocketAddr,
    domains: Vec<Domain>,
}

/// Where the two listen for each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) capulet: SocketAddr,
    pub(super) montague: SocketAddr,
}

impl World {
    /// Starts both, each knowing where the other listens.
    pub(super) async fn start(auth: Auth, traffic: &Traffic) -> anyhow::Result<Self> {
        let credentials = Credentials::new(auth)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_start(auth, traffic, &credentials).await {
                // Between looking for a free port and binding it, another program may take it.
                Err(StartError::Bind { .. }) if tries < 5 => {}
                started => return Ok(started?),
            }
        }
    }

    async fn try_start(
        auth: Auth,
        traffic: &Traffic,
        credentials: &Credentials,
    ) -> Result<Self, StartError> {
        let [capulet, montague] = free_addresses()?;
        let mut ours = config(auth, CAPULET, capulet, (MONTAGUE, montague));
        ours.certificates = credentials.capulet.clone();
        ours.trust = credentials.trust.clone();
        // All connections between the two end at C: its view is the whole conversation.
        ours.trace = Some(traffic.trace());
        let mut theirs = config(auth, MONTAGUE, montague, (CAPULET, capulet));
        theirs.certificates = credentials.montague.clone();
        theirs.trust = credentials.trust.clone();
        Ok(Self {
            capulet: Server::start(ours, CAPULET).await?,
            montague: Server::start(theirs, MONTAGUE).await?,
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            capulet: self.capulet.s2s,
            montague: self.montague.s2s,
        }
    }

    /// Who is on stage, and how to read what follows.
    pub(super) fn introduction(&self, auth: Auth) -> String {
        let proof = match auth {
            Auth::External => "certificates of an authority that both trust (SASL EXTERNAL)",
            Auth::Dialback => {
                "dialback: no certificate is trusted, keys are verified over other connections"
            }
        };
        format!(
            "C hosts capulet.lit, and listens on {}\n\
             S hosts montague.lit and conference.montague.lit, and listens on {}\n\
             Proof: {proof}.\n\
             C → S and C ← S: what crosses the one connection that C opens. A bar ┊ marks other connections.\n",
            self.capulet.s2s, self.montague.s2s
        )
    }

    /// Keeps both running until Ctrl-C, and says how to take part.
    pub(super) async fn hold(&self) -> anyhow::Result<()> {
        let mut text = String::from(
            "\nBoth servers keep running until Ctrl-C. Attach components of your own (XEP-0114):\n",
        );
        for server in [&self.capulet, &self.montague] {
            for domain in &server.domains {
                let _ = writeln!(
                    text,
                    "  {:<24} at {}, secret {}",
                    domain.to_string(),
                    server.components,
                    secret(domain.as_str())
                );
            }
        }
        text.push_str("Look at them over HTTP:\n");
        let mut pages = Vec::new();
        for (name, server) in [("C", &self.capulet), ("S", &self.montague)] {
            let listener = Listener::bind(&ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into()))
                .await
                .context("cannot listen for the admin page")?;
            let address = listener
                .address()
                .context("the admin page has no address")?;
            let _ = writeln!(text, "  {name}  http://{address}/api/v1/links");
            pages.push(tokio::spawn(listener.serve(server.admin().router())));
        }
        // Whoever reads the text may press Ctrl-C at once: it is listened for before.
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
        output::result(&text);
        interrupted.recv().await;
        for page in pages {
            page.abort();
        }
        Ok(())
    }

    /// Ends both, C first: it closes the connection that it opened.
    pub(super) async fn end(self) {
        let both = async {
            tokio::join!(
                self.capulet.engine.shutdown(),
                self.montague.engine.shutdown()
            )
        };
        // What matters has been shown; the rest is politeness.
        let _ = tokio::time::timeout(END_TIMEOUT, both).await;
    }
}

impl Server {
    async fn start(config: Config, names: &[&str]) -> Result<Self, StartError> {
        let engine = Engine::start(config).await?;
        let s2s = engine.s2s_addresses().first().copied();
        let components =
            engine
                .component_addresses()
                .into_iter()
                .find_map(|address| match address {
                    ListenAddress::Tcp(address) => Some(address),
                    ListenAddress::Unix(_) => None,
                });
        let missing = || StartError::Bind {
            address: Ipv4Addr::LOCALHOST.to_string(),
            error: std::io::ErrorKind::AddrNotAvailable.into(),
        };
        Ok(Self {
            s2s: s2s.ok_or_else(missing)?,
            components: components.ok_or_else(missing)?,
            domains: names
                .iter()
                .filter_map(|name| Domain::parse(name).ok())
                .collect(),
            engine,
        })
    }

    fn admin(&self) -> Admin {
        Admin {
            renewal: crate::renewal::Report::default(),
            handle: self.engine.handle(),
            reloads: crate::reload::Count::default(),
            token: CurrentToken::default(),
            // Nobody takes orders here, and without a token none are given.
            orders: tokio::sync::mpsc::channel(1).0,
            since: SystemTime::now(),
        }
    }
}

/// The secret of a domain's component. It guards a toy on loopback, and its holder is told it.
pub(super) fn secret(domain: &str) -> String {
    format!("secret-of-{domain}")
}

/// What a server with a file would be told, but for its certificates.
fn config(
    auth: Auth,
    names: &[&str],
    own: SocketAddr,
    (others, other): (&[&str], SocketAddr),
) -> Config {
    let parsed = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| Domain::parse(name).ok())
            .collect::<Vec<_>>()
    };
    let address = PeerAddress {
        address: other,
        direct_tls: false,
    };
    Config {
        domains: parsed(names)
            .into_iter()
            .map(|name| HostedDomain {
                component: Some(Component {
                    secret: Arc::from(secret(name.as_str())),
                    conflict: Conflict::RejectNew,
                }),
                name,
            })
            .collect(),
        s2s: S2s {
            listen: vec![own],
            ..S2s::default()
        },
        certificates: Certificates::default(),
        trust: TrustRoots::default(),
        dns_servers: Vec::new(),
        dnssec: Dnssec::Off,
        dialback_secret: None,
        dialback_previous_secret: None,
        issued_keys: IssuedKeys::default(),
        learned: Vec::new(),
        journal: None,
        components: vec![ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())],
        component_proxies: Vec::new(),
        policy: Policy {
            defaults: PeerPolicy {
                identity: vec![match auth {
                    Auth::External => IdentityMethod::Certificate,
                    Auth::Dialback => IdentityMethod::Dialback,
                }],
                ..PeerPolicy::default()
            },
            peers: Vec::new(),
        },
        addresses: parsed(others)
            .into_iter()
            .map(|name| (DomainPattern::Exact(name), address))
            .collect(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        trace: None,
        simulated: None,
    }
}

/// Certificates that live as long as this process, and whom to believe.
struct Credentials {
    capulet: Certificates,
    montague: Certificates,
    trust: TrustRoots,
}

impl Credentials {
    fn new(auth: Auth) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Throw-away authority of verona demo");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self {
            capulet: certificates(auth, CAPULET, &authority)?,
            montague: certificates(auth, MONTAGUE, &authority)?,
            trust: match auth {
                Auth::External => TrustRoots::from_pem(&authority.pem())?,
                Auth::Dialback => TrustRoots::default(),
            },
        })
    }
}

/// One certificate for each domain: signed by the authority, or by itself.
fn certificates(
    auth: Auth,
    names: &[&str],
    authority: &CertifiedIssuer<'_, KeyPair>,
) -> anyhow::Result<Certificates> {
    let mut pems = Vec::new();
    for name in names {
        let mut params = CertificateParams::new(vec![(*name).to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = match auth {
            Auth::External => params.signed_by(&key, authority)?,
            Auth::Dialback => params.self_signed(&key)?,
        };
        pems.push((
            Domain::parse(name)?,
            certificate.pem() + &key.serialize_pem(),
        ));
    }
    Ok(Certificates::from_pem(pems)?)
}

/// Two ports that nobody has at this moment: each engine must know the other's before it starts.
fn free_addresses() -> Result<[SocketAddr; 2], StartError> {
    let failed = |error| StartError::Bind {
        address: Ipv4Addr::LOCALHOST.to_string(),
        error,
    };
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed);
    let (a, b) = (bind()?, bind()?);
    Ok([
        a.local_addr().map_err(failed)?,
        b.local_addr().map_err(failed)?,
    ])
}

const CAPULET: &[&str] = &["capulet.lit"];
const MONTAGUE: &[&str] = &["montague.lit", "conference.montague.lit"];
const END_TIMEOUT: Duration = Duration::from_secs(2);
