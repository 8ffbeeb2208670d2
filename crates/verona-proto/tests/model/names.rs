//! The domains of the play, each in several spellings, and sets of pairs of them.
//!
//! Which spellings mean one domain is said by this table and by no code of verona's.

use verona_proto::addr::Domain;

/// A domain of the play, however it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) u8);

/// An address as it stands on the wire: a domain in one of its spellings, something that is no domain, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Absent,
    Nonsense,
    Of(Name, u8),
}

/// Every domain: the spelling that verona writes first.
const SPELLINGS: [&[&str]; 11] = [
    &[
        "montague.lit",
        "Montague.LIT",
        "montague.lit.",
        "ｍontague.lit",
    ],
    &["conference.montague.lit", "conference.MONTAGUE.lit."],
    &[
        "gärten.montague.lit",
        "xn--grten-gra.montague.lit",
        "GÄRTEN.montague.lit",
        "XN--grten-GRA.montague.lit.",
    ],
    &["capulet.lit", "Capulet.LIT", "capulet.lit.", "ｃapulet.lit"],
    &[
        "rooms.capulet.lit",
        "ROOMS.capulet.lit",
        "rooms。capulet.lit",
    ],
    &[
        "bücher.capulet.lit",
        "xn--bcher-kva.capulet.lit",
        "BÜCHER.Capulet.lit.",
        "xn--bcher-KVA.capulet.lit",
    ],
    &["bank.lit", "bank.LIT."],
    // Names that look like others and are not.
    &["capulet.lit.bank.lit", "Capulet.lit.bank.lit"],
    &["сapulet.lit", "xn--apulet-hrf.lit"],
    &["xcapulet.lit"],
    &["mx.rooms.capulet.lit"],
];

pub(crate) const MONTAGUE: Name = Name(0);
pub(crate) const CONFERENCE: Name = Name(1);
pub(crate) const GARTEN: Name = Name(2);
pub(crate) const CAPULET: Name = Name(3);
pub(crate) const ROOMS: Name = Name(4);
pub(crate) const BUCHER: Name = Name(5);
pub(crate) const BANK: Name = Name(6);
const DOTTED_BANK: Name = Name(7);
const FAR: Name = Name(10);

/// The domains of the one server.
pub(crate) const MONTAGUES: &[Name] = &[MONTAGUE, CONFERENCE, GARTEN];
/// The domains of the other, where two play.
pub(crate) const CAPULETS: &[Name] = &[CAPULET, ROOMS, BUCHER];
/// Everybody else, seen from the montagues.
pub(crate) const STRANGERS: &[Name] = &[
    CAPULET,
    ROOMS,
    BUCHER,
    BANK,
    DOTTED_BANK,
    Name(8),
    Name(9),
    FAR,
];

impl Name {
    pub(crate) const COUNT: u8 = SPELLINGS.len() as u8;

    pub(crate) fn spelled(self, spelling: u8) -> &'static str {
        let spellings = SPELLINGS[usize::from(self.0)];
        spellings[usize::from(spelling) % spellings.len()]
    }

    pub(crate) fn text(self) -> &'static str {
        self.spelled(0)
    }

    /// The domain one label up, if it plays too: what a wildcard for it covers.
    pub(crate) fn parent(self) -> Option<Name> {
        match self {
            CONFERENCE | GARTEN => Some(MONTAGUE),
            ROOMS | BUCHER => Some(CAPULET),
            FAR => Some(ROOMS),
            _ => None,
        }
    }

    /// Whether it lies below the other, however deep.
    pub(crate) fn is_below(self, other: Name) -> bool {
        match (self, self.parent()) {
            (DOTTED_BANK, _) => other == BANK,
            (_, Some(parent)) => parent == other || parent.is_below(other),
            (_, None) => false,
        }
    }

    pub(crate) fn domain(self) -> Domain {
        DOMAINS.with(|domains| domains[usize::from(self.0)].clone())
    }

    /// Which domain verona means by what it wrote.
    pub(crate) fn read(text: &str) -> Option<Name> {
        (0..SPELLINGS.len())
            .map(|at| Name(at as u8))
            .find(|name| name.text() == text)
    }
}

thread_local! {
    static DOMAINS: Vec<Domain> = SPELLINGS
        .iter()
        .map(|spellings| Domain::parse(spellings[0]).expect("a domain"))
        .collect();
}

impl Address {
    pub(crate) fn of(name: Name) -> Self {
        Self::Of(name, 0)
    }

    pub(crate) fn name(self) -> Option<Name> {
        match self {
            Self::Of(name, _) => Some(name),
            Self::Absent | Self::Nonsense => None,
        }
    }

    /// As the value of an attribute; `None` when there is no attribute.
    pub(crate) fn text(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Nonsense => Some("not a domain"),
            Self::Of(name, spelling) => Some(name.spelled(spelling)),
        }
    }
}

/// A domain of ours and one of theirs, whoever sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) local: Name,
    pub(crate) remote: Name,
}

impl Pair {
    pub(crate) fn new(local: Name, remote: Name) -> Self {
        Self { local, remote }
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}", self.local.text(), self.remote.text())
    }
}

/// A set of pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs([u16; SPELLINGS.len()]);

impl Pairs {
    pub(crate) fn insert(&mut self, pair: Pair) {
        self.0[usize::from(pair.local.0)] |= 1 << pair.remote.0;
    }

    pub(crate) fn contains(&self, pair: Pair) -> bool {
        self.0[usize::from(pair.local.0)] >> pair.remote.0 & 1 == 1
    }

    /// The pairs of `self` whose remote domain is in the mask.
    pub(crate) fn of_remotes(&self, remotes: u16) -> Self {
        Self(self.0.map(|row| row & remotes))
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut all = *self;
        for (row, more) in all.0.iter_mut().zip(other.0) {
            *row |= more;
        }
        all
    }

    pub(crate) fn has_local(&self, local: Name) -> bool {
        self.0[usize::from(local.0)] != 0
    }

    pub(crate) fn has_remote(&self, remote: Name) -> bool {
        self.0.iter().any(|row| row >> remote.0 & 1 == 1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Pair> + '_ {
        self.0.iter().enumerate().flat_map(|(local, row)| {
            (0..16_u8)
                .filter(move |remote| row >> remote & 1 == 1)
                .map(move |remote| Pair::new(Name(local as u8), Name(remote)))
        })
    }
}
