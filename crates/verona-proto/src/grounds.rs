//! Why an authorisation holds.
//!
//! Every authorisation keeps its grounds, so that an operator can ask "why may they?" and a weaker reason never
//! takes the place of a stronger one.

use std::fmt;

/// Why we believe that the peer speaks for a remote domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its certificate is valid and covers the domain (RFC 6120 §13.7.2).
    Certificate,
    /// The authoritative server vouched for its key (XEP-0220).
    Dialback,
    /// DNS, or the operator's configuration, led us to it; nothing more (BIDI-23).
    Resolution,
}

/// How sure it is that a server is the domain's, by the way that led to it (DB-54, DNS-28). In ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assurance {
    /// Another server sent us there: it proves nothing, only a certificate can (STREAM-51).
    Redirected,
    /// DNS named it, and nobody knows who answered for DNS.
    Dns,
    /// DNS named it, and DNSSEC proves that the domain's owner said so, address included.
    Dnssec,
    /// The operator's configuration names it.
    Configured,
}

impl Assurance {
    /// The word for people and their tools.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redirected => "redirect",
            Self::Dns => "dns",
            Self::Dnssec => "dnssec",
            Self::Configured => "configured",
        }
    }
}

/// The grounds of an inbound authorisation: identity alone, consent is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// SASL EXTERNAL succeeded with its certificate (RFC 6120 §6, XEP-0178).
    Sasl,
    /// Dialback signalling with a matching certificate: no key was checked (XEP-0344 §2.4).
    Certificate,
    /// A dialback key that the authoritative server confirmed.
    Dialback,
    /// The inverse of an outbound authorisation (XEP-0288 §2.2).
    Inverse(Identity),
}

impl Proof {
    /// What the proof tells of the peer.
    #[must_use]
    pub fn identity(self) -> Identity {
        match self {
            Self::Sasl | Self::Certificate => Identity::Certificate,
            Self::Dialback => Identity::Dialback,
            Self::Inverse(identity) => identity,
        }
    }
}

/// How the peer agreed to receive from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `<success/>`.
    Sasl,
    /// `<db:result type='valid'/>`.
    Dialback,
    /// The inverse of an inbound authorisation (XEP-0288 §2.2).
    Inverse,
}

/// The grounds of one direction of one pair, as shown to people (contract §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// `certificate`, `dialback`, `dns` or `sasl`.
    pub by: &'static str,
    /// Whether it is the inverse of the other direction's (XEP-0288 §2.2).
    pub inverse: bool,
}

impl Grounds {
    /// Why the peer may send.
    #[must_use]
    pub fn inbound(proof: Proof) -> Self {
        match proof {
            Proof::Sasl => Self {
                by: "sasl",
                inverse: false,
            },
            Proof::Certificate => Self {
                by: "certificate",
                inverse: false,
            },
            Proof::Dialback => Self {
                by: "dialback",
                inverse: false,
            },
            Proof::Inverse(identity) => Self {
                by: identity.name(),
                inverse: true,
            },
        }
    }

    /// Why we may send.
    #[must_use]
    pub fn outbound(consent: Consent, identity: Identity) -> Self {
        match consent {
            Consent::Sasl => Self {
                by: "sasl",
                inverse: false,
            },
            Consent::Dialback => Self {
                by: "dialback",
                inverse: false,
            },
            Consent::Inverse => Self {
                by: identity.name(),
                inverse: true,
            },
        }
    }
}

impl Identity {
    /// The word of `links --json` (contract §4).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Dialback => "dialback",
            Self::Resolution => "dns",
        }
    }
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inverse {
            true => write!(f, "inverse of {}", self.by),
            false => f.write_str(self.by),
        }
    }
}
