//! Why an authorisation holds.
//!
//! Every authorisation keeps its grounds, so that an operator can ask "why may they?" and a weaker reason never
//! takes the place of a stronger one.

use std::fmt;

/// Why we believe that the peer speaks for a remote domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its certificate has a key that the operator named for it.
    Pin,
    /// Its certificate is the one that DNS, secured by DNSSEC, names for the domain (RFC 7673).
    Dane,
    /// Its certificate is valid and covers the domain (RFC 6120 §13.7.2).
    Certificate,
    /// Its certificate is one that the domain's web server names (RFC 7711).
    Posh,
    /// The authoritative server vouched for its key (XEP-0220); so sure it is that that one was asked.
    Dialback(Assurance),
    /// The way led us to it, and nothing more (BIDI-23).
    Resolution(Assurance),
}

impl Identity {
    /// The word of `links --json` (contract §4).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Dane => "dane",
            Self::Certificate => "certificate",
            Self::Posh => "posh",
            Self::Dialback(_) => "dialback",
            Self::Resolution(_) => "dns",
        }
    }

    /// What a later proof is measured by, if this one says something about the peer and not about us or the way.
    #[must_use]
    pub fn strength(self) -> Option<Strength> {
        match self {
            Self::Dane => Some(Strength::Dane),
            Self::Certificate | Self::Posh => Some(Strength::Certificate),
            // A pin is the operator's word, which the operator may take back.
            Self::Pin | Self::Dialback(_) | Self::Resolution(_) => None,
        }
    }

    /// How sure the way is, where the identity rests on it (DB-54).
    #[must_use]
    pub fn assurance(self) -> Option<Assurance> {
        match self {
            Self::Dialback(assurance) | Self::Resolution(assurance) => Some(assurance),
            Self::Pin | Self::Dane | Self::Certificate | Self::Posh => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.assurance() {
            //= DB-54
            Some(assurance) if assurance > Assurance::Dns => {
                write!(f, "{}+{}", self.name(), assurance.name())
            }
            Some(_) | None => f.write_str(self.name()),
        }
    }
}

/// How strongly a peer proved itself by what it showed, in ascending order: it may not offer less the next time, unless
/// the operator says so (contract §3, `weaker`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// A certificate that an authority, or the domain's web server, vouches for.
    Certificate,
    /// A certificate that DNSSEC vouches for, too.
    Dane,
}

impl Strength {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Certificate, Self::Dane];

    /// The word for people, tools and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Dane => "dane",
        }
    }

    /// The strength of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|strength| strength.name() == name)
    }
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
    /// It proved itself by its certificate besides.
    Proven,
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
            Self::Proven => "certificate",
        }
    }
}

/// The grounds of an inbound authorisation: identity alone, consent is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// SASL EXTERNAL succeeded (RFC 6120 §6, XEP-0178), with a certificate that proves the domain in this way.
    Sasl(Identity),
    /// Dialback signalling with a certificate that proves the domain in this way: no key was checked (XEP-0344 §2.4).
    Certificate(Identity),
    /// A dialback key that the authoritative server confirmed; so sure it is that that one was asked.
    Dialback(Assurance),
    /// The inverse of an outbound authorisation (XEP-0288 §2.2).
    Inverse(Identity),
}

impl Proof {
    /// What the proof tells of the peer.
    #[must_use]
    pub fn identity(self) -> Identity {
        match self {
            Self::Sasl(identity) | Self::Certificate(identity) | Self::Inverse(identity) => {
                identity
            }
            Self::Dialback(assurance) => Identity::Dialback(assurance),
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
    /// `certificate`, `dane`, `posh`, `pin`, `dialback`, `dns` or `sasl`, which is SASL EXTERNAL with what is not said
    /// by one of the others: a certificate by a trusted authority.
    pub by: &'static str,
    /// Whether it is the inverse of the other direction's (XEP-0288 §2.2).
    pub inverse: bool,
    /// Who the peer is, by the same grounds.
    pub identity: Identity,
}

impl Grounds {
    /// Why the peer may send.
    #[must_use]
    pub fn inbound(proof: Proof) -> Self {
        let identity = proof.identity();
        match proof {
            Proof::Sasl(_) => Self::direct(by_sasl(identity), identity),
            Proof::Certificate(_) | Proof::Dialback(_) => Self::direct(identity.name(), identity),
            Proof::Inverse(_) => Self::inverse(identity),
        }
    }

    /// Why we may send.
    #[must_use]
    pub fn outbound(consent: Consent, identity: Identity) -> Self {
        match consent {
            Consent::Sasl => Self::direct(by_sasl(identity), identity),
            Consent::Dialback => Self::direct("dialback", identity),
            Consent::Inverse => Self::inverse(identity),
        }
    }

    fn direct(by: &'static str, identity: Identity) -> Self {
        Self {
            by,
            inverse: false,
            identity,
        }
    }

    fn inverse(identity: Identity) -> Self {
        Self {
            by: identity.name(),
            inverse: true,
            identity,
        }
    }
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by == self.identity.name() {
            true => self.identity.to_string(),
            false => self.by.to_owned(),
        };
        match self.inverse {
            true => write!(f, "inverse of {by}"),
            false => f.write_str(&by),
        }
    }
}

/// What SASL EXTERNAL rested on, where that is more than a certificate by a trusted authority.
fn by_sasl(identity: Identity) -> &'static str {
    match identity {
        Identity::Pin | Identity::Dane | Identity::Posh => identity.name(),
        // As the server that we dialled we may be believed by a peer of whom we know less.
        Identity::Certificate | Identity::Dialback(_) | Identity::Resolution(_) => "sasl",
    }
}
