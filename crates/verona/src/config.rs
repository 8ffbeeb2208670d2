//! What the engine is told: typed, checked by whoever made it, without files or formats.
//!
//! The daemon makes one from its TOML file; a program that embeds verona makes one in code.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use verona_proto::addr::Domain;
use verona_proto::dialback::{IssuedKeys, Secret};
use verona_proto::policy::{DomainPattern, Policy};

use crate::learned::LearnedPeer;
use crate::network::Network;
use crate::resolver::TrustAnchors;
use crate::simulated::SimulatedNetwork;
use crate::tls::{Certificates, TrustRoots};
use crate::trace::Trace;

/// Everything that the engine needs to know at its start.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The domains that we host.
    pub domains: Vec<HostedDomain>,
    /// Where servers reach us, and from where we reach them.
    pub s2s: S2s,
    /// Our certificates.
    pub certificates: Certificates,
    /// Whose certificates we believe.
    pub trust: TrustRoots,
    /// Name servers to ask; empty means those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// Whether what they answer is validated.
    pub dnssec: Dnssec,
    /// The secret of our dialback keys (XEP-0185); `None` means a random one at each start.
    pub dialback_secret: Option<Secret>,
    /// The secret before, still answered for during a rotation.
    pub dialback_previous_secret: Option<Secret>,
    /// For which keys of our secret we vouch (DB-35): by default for those alone that this process made a moment ago.
    /// Where several machines share the secret each must vouch for the keys of the others:
    /// [`IssuedKeys::shared_secret`] (DB-03).
    pub issued_keys: IssuedKeys,
    /// Where components attach (XEP-0114).
    pub components: Vec<ListenAddress>,
    /// Networks from which components connect through a proxy: as [`S2s::proxies`], and a list of its own.
    pub component_proxies: Vec<Network>,
    /// What suffices for whom.
    pub policy: Policy,
    /// Peers that are dialled at a known address, without DNS.
    pub addresses: Vec<(DomainPattern, PeerAddress)>,
    /// The version to tell in answers to XEP-0092; `None` tells none.
    pub version: Option<String>,
    /// What an earlier run learned about peers, as [`Handle::peers`](crate::Handle::peers) gave it. What is out of date or
    /// lies in the future is not taken over.
    pub learned: Vec<LearnedPeer>,
    /// Of which domains messages are kept on disk until they have arrived; `None` keeps none.
    pub journal: Option<JournalConfig>,
    /// Sees every element that is read or written, for demonstrations and debugging.
    pub trace: Option<Trace>,
    /// The network, for tests and simulations; `None` means the system's.
    pub simulated: Option<Arc<dyn SimulatedNetwork>>,
}

/// Whether what DNS says is believed as it comes.
#[derive(Clone, Debug, Default)]
pub enum Dnssec {
    /// It is: it leads to servers, and proves nothing.
    #[default]
    Off,
    /// It is validated, from these keys of the root on. What is proven may prove a server (DANE); what is disproven is
    /// refused.
    Validate(TrustAnchors),
}

/// One domain of ours.
#[derive(Clone, Debug)]
pub struct HostedDomain {
    /// Its name.
    pub name: Domain,
    /// The component that serves it; without one, local services answer (contract §3).
    pub component: Option<Component>,
}

/// The component of a domain.
#[derive(Clone)]
pub struct Component {
    /// The secret of its handshake (XEP-0114).
    pub secret: Arc<str>,
    /// What a second connection for the same domain meets (COMP-12).
    pub conflict: Conflict,
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component")
            .field("conflict", &self.conflict)
            .finish_non_exhaustive()
    }
}

/// What a second connection for the same component meets (COMP-12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflict {
    /// It is refused with `<conflict/>`.
    #[default]
    RejectNew,
    /// It takes the place of the first, which is closed with `<conflict/>`.
    KickOld,
}

/// The journal: messages are on disk before anybody is told that they are taken, and the next start delivers what a
/// killed process left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Its file, which is made when there is none. It belongs to one engine.
    pub file: PathBuf,
    /// The domains of ours whose messages are kept, those that they send and those that are sent to them.
    pub domains: Vec<Domain>,
}

/// Where servers reach us, and from where we reach them.
#[derive(Clone, Debug, Default)]
pub struct S2s {
    /// For STARTTLS.
    pub listen: Vec<SocketAddr>,
    /// For direct TLS (XEP-0368).
    pub listen_tls: Vec<SocketAddr>,
    /// Source addresses of connections that we open; at most one of each family is used.
    pub bind: Vec<IpAddr>,
    /// Special-purpose networks that may be dialled although only DNS names them.
    pub allow_networks: Vec<Network>,
    /// Networks from which a PROXY header (version 1 or 2) is required: the address in it is then the peer's. Whoever can
    /// connect from there can claim any address.
    pub proxies: Vec<Network>,
    /// Where web servers are asked for POSH documents (RFC 7711); `None` means 443. Another one is for networks of one's
    /// own, and for tests.
    pub https_port: Option<u16>,
}

/// Where a component attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The known address of a peer (contract §3, `address`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether TLS begins at once (XEP-0368) instead of by STARTTLS.
    pub direct_tls: bool,
}
