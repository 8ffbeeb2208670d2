//! The matrix: every peer with every proof, every order of dialling and every kind of certificate, one cell for each.
//! Why beside the cases: a case looks at one conversation closely, the matrix at all combinations, with servers that
//! are started once and domains that no other cell has.
//!
//! Reading order: this file (what a cell is), [`cells`] (which there are), [`expect`] (what has to come of each),
//! [`world`] (the servers), [`play`] (how a cell goes), [`witness`] (who else saw it), [`table`] (the report), [`command`].

pub mod cells;
pub mod command;
pub mod expect;
pub mod play;
pub mod table;
pub mod witness;
pub mod world;

use std::fmt;

/// A server that verona federates with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Another verona.
    Verona,
    /// Debian bookworm's Prosody, 0.12.
    Prosody,
    /// Debian bookworm's ejabberd, 23.01: no bidi.
    Ejabberd,
    /// Debian bookworm's jabberd2, 2.7: no bidi, no EXTERNAL.
    Jabberd2,
    /// Debian trixie's Prosody, 13.0.1.
    ProsodyTrixie,
    /// Debian trixie's ejabberd, 24.12: bidi under a namespace of its own.
    EjabberdTrixie,
    /// Debian forky's Prosody, 13.0.7.
    ProsodyForky,
    /// Debian forky's ejabberd, 26.07.
    EjabberdForky,
}

/// What may prove the servers to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Certificates only: `identity = ["certificate"]`, and the like on the peer where it can be said.
    Certificate,
    /// Certificates or dialback, as most servers are set up.
    Either,
}

/// Who has something to say first, and so dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dials {
    /// verona.
    Verona,
    /// The peer.
    Peer,
    /// Both at the same moment.
    Both,
}

/// A server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certificate {
    /// By the trusted authority, for TLS servers and clients.
    Full,
    /// By the trusted authority, for TLS servers only, as public authorities issue them since 2026.
    ServerOnly,
    /// By its own key.
    SelfSigned,
    /// By the trusted authority, for another domain.
    WrongName,
}

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// With whom.
    pub peer: Peer,
    /// By what.
    pub asked: Asked,
    /// Who begins.
    pub dials: Dials,
    /// verona's certificate.
    pub ours: Certificate,
    /// The peer's certificate.
    pub theirs: Certificate,
}

impl Cell {
    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> String {
        let Self {
            peer,
            asked,
            dials,
            ours,
            theirs,
        } = self;
        let mut name = format!("{}/{asked}/{dials}-first", peer.word());
        if *dials == Dials::Both {
            name = format!("{}/{asked}/both-at-once", peer.word());
        }
        if (*ours, *theirs) != (Certificate::Full, Certificate::Full) {
            name.push_str(&format!("/ours-{ours}/theirs-{theirs}"));
        }
        name
    }
}

impl Peer {
    /// One word for names of cells, folders and domains.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verona => "verona",
            Self::Prosody => "prosody",
            Self::Ejabberd => "ejabberd",
            Self::Jabberd2 => "jabberd2",
            Self::ProsodyTrixie => "prosody-trixie",
            Self::EjabberdTrixie => "ejabberd-trixie",
            Self::ProsodyForky => "prosody-forky",
            Self::EjabberdForky => "ejabberd-forky",
        }
    }

    /// Its program's name and, where the suite does not choose it, the version that Debian has.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Verona => "verona",
            Self::Prosody => "Prosody 0.12 (bookworm)",
            Self::Ejabberd => "ejabberd 23.01 (bookworm)",
            Self::Jabberd2 => "jabberd2 2.7 (bookworm)",
            Self::ProsodyTrixie => "Prosody 13.0 (trixie)",
            Self::EjabberdTrixie => "ejabberd 24.12 (trixie)",
            Self::ProsodyForky => "Prosody 13.0 (forky)",
            Self::EjabberdForky => "ejabberd 26.07 (forky)",
        }
    }

    /// What kind of server it is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Verona => Kind::Verona,
            Self::Prosody | Self::ProsodyTrixie | Self::ProsodyForky => Kind::Prosody,
            Self::Ejabberd | Self::EjabberdTrixie | Self::EjabberdForky => Kind::Ejabberd,
            Self::Jabberd2 => Kind::Jabberd2,
        }
    }

    /// The Debian release whose packages it comes from, unless it is this machine's.
    #[must_use]
    pub const fn release(self) -> Option<Release> {
        match self {
            Self::Verona | Self::Prosody | Self::Ejabberd | Self::Jabberd2 => None,
            Self::ProsodyTrixie | Self::EjabberdTrixie => Some(Release::Trixie),
            Self::ProsodyForky | Self::EjabberdForky => Some(Release::Forky),
        }
    }

    /// Which connections with it go both ways (XEP-0288).
    #[must_use]
    pub const fn bidi(self) -> Bidi {
        match self {
            Self::Verona
            | Self::Prosody
            | Self::ProsodyTrixie
            | Self::ProsodyForky
            | Self::EjabberdForky => Bidi::All,
            Self::EjabberdTrixie => Bidi::Ours,
            Self::Ejabberd | Self::Jabberd2 => Bidi::None,
        }
    }
}

/// Which connections go both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bidi {
    /// None: the peer does not speak it.
    None,
    /// Those that verona opens: it knows the feature under either namespace. The peer looks for it under the wrong one,
    /// under which verona offers it to those of whom it has learned that.
    Ours,
    /// All.
    All,
}

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours.
    Verona,
    /// Prosody.
    Prosody,
    /// ejabberd.
    Ejabberd,
    /// jabberd2.
    Jabberd2,
}

/// A release of Debian that is newer than the machine's, kept in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// Debian 13.
    Trixie,
    /// Debian 14, not released yet.
    Forky,
}

impl Release {
    /// Its name in the archive.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Either => "certificate-or-dialback",
        })
    }
}

impl fmt::Display for Dials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verona => "verona",
            Self::Peer => "peer",
            Self::Both => "both",
        })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::ServerOnly => "server-only",
            Self::SelfSigned => "self-signed",
            Self::WrongName => "wrong-name",
        })
    }
}
