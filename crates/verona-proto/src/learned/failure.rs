//! The last failure to reach a peer: at which step, why, and what can be done about it.
//!
//! "Why can I not reach them?" is asked hours later, when the log has rolled away.

use std::time::{Duration, Instant};

/// A failed search for a stream to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// At which step.
    pub phase: Phase,
    /// Why, as a sentence.
    pub cause: String,
    /// When.
    pub since: Instant,
    /// When the next attempt may begin; `None` once the peer was reached.
    pub next: Option<Instant>,
    /// When the peer was reached after all.
    pub reached: Option<Instant>,
}

impl LastFailure {
    /// Whether the peer has not been reached since.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.reached.is_none()
    }

    /// Whether nobody asks for it any more.
    #[must_use]
    pub fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= FAILURE_MEMORY
    }
}

/// A step on the way to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking up its servers.
    Discovery,
    /// Connecting to one.
    Connect,
    /// TLS with one.
    Tls,
    /// Believing that it is who it should be.
    Identity,
    /// Stream headers and features.
    Stream,
    /// Proving ourselves by SASL EXTERNAL.
    Sasl,
    /// Proving ourselves by dialback.
    Dialback,
    /// Our own time, or a decision of ours.
    Local,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Discovery,
        Self::Connect,
        Self::Tls,
        Self::Identity,
        Self::Stream,
        Self::Sasl,
        Self::Dialback,
        Self::Local,
    ];

    /// Its name in files and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Identity => "identity",
            Self::Stream => "stream",
            Self::Sasl => "sasl",
            Self::Dialback => "dialback",
            Self::Local => "local",
        }
    }

    /// The phase of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// What an operator can do about a failure at this step, and on whose side it is likely to be.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Discovery => {
                "check the domain's name and its SRV records (`_xmpp-server._tcp`); if other domains fail too, check [dns]"
            }
            Self::Connect => {
                "the peer's server is down, or a firewall on either side is in the way (ports 5269 and 5270)"
            }
            Self::Tls => "the two sides found no common TLS; see the cause for which side refused",
            Self::Identity => {
                "the peer's certificate does not prove its domain, or less than before; its operator must mend it, or allow `dialback` in `identity`, or `weaker`, for this [[peer]]"
            }
            Self::Stream => "the peer refused the stream; its own log says more",
            Self::Sasl => {
                "the peer did not accept our certificate; check that it is current, complete and names our domain"
            }
            Self::Dialback => {
                "the peer could not check our key: it must be able to reach our domain by DNS, on our port"
            }
            Self::Local => "the peer was too slow, or verona was told to stop",
        }
    }
}

/// How long a failure is shown.
const FAILURE_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);
