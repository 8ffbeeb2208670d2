//! What a world is made of, and what is done to it: a list, so that a story is made shorter by leaving lines out.

use verona_proto::policy::{ManagementPolicy, Multiplex, OnUncertain};
use verona_proto::stanza::StanzaKind;

use super::clock::Moment;

/// Everything that makes one world differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of what happens by chance while it runs.
    pub seed: u64,
    /// The servers, at least two.
    pub servers: Vec<ServerPlan>,
    /// How fast and how regular the network is, for each pair of servers that differs from [`LinkPlan::default`].
    pub links: Vec<(usize, usize, LinkPlan)>,
    /// What is done, in order of time.
    pub actions: Vec<(Moment, Action)>,
    /// What must have come of it in the end.
    pub expectations: Vec<Expectation>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPlan {
    /// How it is called in stories.
    pub name: String,
    /// The domains that it hosts; each may have a component.
    pub hosts: Vec<String>,
    /// How it proves itself.
    pub proof: ProofPlan,
    /// Whether it uses bidi.
    pub bidi: bool,
    /// Whether it lets many pairs share a stream.
    pub multiplex: Multiplex,
    /// What it does about stanzas of which it does not know whether they arrived.
    pub on_uncertain: OnUncertain,
    /// Whether it acknowledges, and takes up lost streams.
    pub management: ManagementPolicy,
    /// Whether others find it by direct TLS.
    pub direct_tls: bool,
    /// Limits that differ from those of this simulation, by name.
    pub limits: Vec<(String, u64)>,
}

/// How a server proves itself to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofPlan {
    /// By a certificate that everybody believes.
    Certificate,
    /// By a certificate that everybody believes, and that ends after so many seconds.
    Expiring(u64),
    /// By dialback: nobody believes its certificate.
    Dialback,
}

/// The network between two servers, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkPlan {
    /// Microseconds from one to the other.
    pub latency: Moment,
    /// Microseconds more at most, by chance.
    pub jitter: Moment,
    /// Bytes that a connection holds in each direction before its writer must wait.
    pub room: usize,
}

impl Default for LinkPlan {
    fn default() -> Self {
        Self {
            latency: 10_000,
            jitter: 0,
            room: 64 * 1024,
        }
    }
}

/// One line of what is done. Domains are named by their position among all domains of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A domain's component connects, and does so again whenever it is disconnected.
    Attach {
        /// Which.
        domain: usize,
    },
    /// A component goes away.
    Detach {
        /// Which.
        domain: usize,
        /// How.
        how: Parting,
    },
    /// A component sends.
    Send {
        /// Which one.
        from: usize,
        /// To which domain.
        to: usize,
        /// What.
        kind: StanzaKind,
        /// How many.
        count: u32,
        /// How many bytes of text each has.
        size: usize,
    },
    /// A server ends without a warning.
    Crash {
        /// Which.
        server: usize,
        /// How.
        how: Crash,
    },
    /// A server that crashed or left begins again.
    Restart {
        /// Which.
        server: usize,
    },
    /// A server leaves in good order.
    Shutdown {
        /// Which.
        server: usize,
    },
    /// The task of one of a server's connections panics.
    Panic {
        /// Which server.
        server: usize,
    },
    /// A server does nothing for a while.
    Freeze {
        /// Which.
        server: usize,
        /// How long.
        span: Moment,
    },
    /// A component reads nothing for a while.
    Stall {
        /// Which.
        domain: usize,
        /// How long.
        span: Moment,
    },
    /// Connections between two servers are cut by something in between.
    Cut {
        /// One of them.
        from: usize,
        /// The other.
        to: usize,
        /// Which connections.
        which: Which,
        /// Not before so many more bytes have gone from the first to the second.
        after: usize,
        /// Who is told.
        heard: Heard,
    },
    /// Nothing passes from one server to another.
    Hole {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// How long.
        span: Moment,
    },
    /// A server takes no connections of other servers.
    Refuse {
        /// Which.
        server: usize,
        /// How long.
        span: Moment,
    },
    /// DNS says something else about a domain.
    Dns {
        /// Which.
        domain: usize,
        /// What.
        says: DnsAnswer,
        /// How long.
        span: Moment,
    },
}

/// How a component goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It closes its stream and reads what still comes.
    Politely,
    /// It is killed.
    Killed,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: the system closes its connections.
    Killed,
    /// The machine stops: nobody is told.
    PowerLoss,
}

/// Which of the connections between two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The oldest.
    First,
    /// The newest.
    Last,
    /// All.
    Every,
}

/// Who is told that a connection was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Both, each at its own time.
    Both,
    /// The first of the two: for the other it is half open.
    First,
    /// Neither: each finds out when it writes.
    Neither,
}

/// What DNS may say of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// The look-up fails.
    Failure,
    /// There is no server.
    Nothing,
    /// An address where nobody answers.
    DeadAddress,
    /// An address where nobody answers, and behind it the right one.
    DeadAddressFirst,
    /// Another server, which does not host the domain.
    Elsewhere(usize),
}

/// What must have come of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// So many stanzas reached their component.
    Delivered(u64),
    /// So many came back with an error.
    Bounced(u64),
    /// So many were lost as the rules allow.
    Lost(u64),
    /// So many connections between servers were opened.
    Connections(u64),
}

impl Plan {
    /// All domains with the servers that host them, in the order in which actions number them.
    pub fn domains(&self) -> impl Iterator<Item = (usize, &str)> {
        self.servers
            .iter()
            .enumerate()
            .flat_map(|(index, server)| server.hosts.iter().map(move |name| (index, name.as_str())))
    }

    /// The network between two servers.
    #[must_use]
    pub fn link(&self, a: usize, b: usize) -> LinkPlan {
        let found = self
            .links
            .iter()
            .find(|(x, y, _)| (*x, *y) == (a, b) || (*x, *y) == (b, a));
        found.map_or_else(LinkPlan::default, |(_, _, link)| *link)
    }
}
