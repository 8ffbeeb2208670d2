//! Who may make a proof: `Admitted`, `DomainPair`, `LocalDomain`, `RemoteDomain`.
//! Rust's visibility cannot tell one sibling module from another; a forged proof would compile.

use super::Finding;
use super::source::{Kind, Source};
use super::tree::{Tree, in_src};

/// How a proof is made, and the files (or, with `/`, directories) of `verona-proto/src` that may.
struct Maker {
    proof: &'static str,
    by: By,
    homes: &'static [&'static str],
}

enum By {
    /// `Proof::new(…)`.
    New,
    /// `Proof { … }`.
    Fields,
    /// `Proof(…)`.
    Tuple,
}

const MAKERS: &[Maker] = &[
    Maker {
        proof: "Admitted",
        by: By::New,
        homes: &[
            "authorizations/",
            "component.rs",
            "component/",
            "stanza/bounce.rs",
            "local.rs",
            "local/",
            // Gives back what it was given, when an outbox is full.
            "switchboard.rs",
        ],
    },
    Maker {
        proof: "Admitted",
        by: By::Fields,
        homes: &["stanza/admitted.rs"],
    },
    Maker {
        proof: "DomainPair",
        by: By::Fields,
        homes: &["addr/"],
    },
    Maker {
        proof: "LocalDomain",
        by: By::Tuple,
        homes: &["addr/"],
    },
    Maker {
        proof: "RemoteDomain",
        by: By::Tuple,
        homes: &["addr/"],
    },
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        let Some((owner, inside)) = in_src(&source.path) else {
            continue;
        };
        for (index, token) in source.tokens.iter().enumerate() {
            if token.kind != Kind::Word || !source.ships(index) {
                continue;
            }
            for maker in MAKERS.iter().filter(|maker| token.text == maker.proof) {
                if maker.makes(source, index) && !(owner == "verona-proto" && maker.is_home(inside))
                {
                    let say = format!(
                        "`{}` is a proof and is made only in verona-proto's {}: take one as an argument",
                        maker.proof,
                        maker.homes.join(", "),
                    );
                    findings.push(Finding::new(&source.path, token.line, say));
                }
            }
        }
    }
}

impl Maker {
    fn is_home(&self, inside: &str) -> bool {
        self.homes
            .iter()
            .any(|home| inside == *home || (home.ends_with('/') && inside.starts_with(home)))
    }

    fn makes(&self, source: &Source, index: usize) -> bool {
        let before = |texts: &[&str]| {
            let previous = index.checked_sub(1).and_then(|at| source.tokens.get(at));
            previous.is_some_and(|token| texts.iter().any(|text| token.is(text)))
        };
        match self.by {
            By::New => source.follows(index + 1, &[":", ":", "new"]),
            // Declared, implemented or returned, not made.
            By::Fields => {
                source.at(index + 1, "{")
                    && !before(&["struct", "impl", "for", ">", "&", "enum", "union"])
            }
            By::Tuple => source.at(index + 1, "(") && !before(&["struct", "fn"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let mut findings = Vec::new();
        check(&Tree::default().with(path, text), &mut findings);
        findings.len()
    }

    #[test]
    fn a_forged_proof_is_found() {
        let forged = "fn a() { let x = Admitted::new(destination, stanza); }";
        assert_eq!(count("crates/verona-proto/src/stream/open.rs", forged), 1);
        assert_eq!(count("crates/verona/src/connection.rs", forged), 1);
        assert_eq!(
            count("crates/verona-proto/src/authorizations/mod.rs", forged),
            0
        );
        assert_eq!(count("crates/verona-proto/src/stanza/bounce.rs", forged), 0);
        assert_eq!(count("crates/verona-proto/src/stanza/mod.rs", forged), 1);
    }

    #[test]
    fn a_pair_is_made_where_the_hosts_are_known() {
        let forged =
            "fn a() { DomainPair { local, remote } } fn b() { LocalDomain(d); RemoteDomain(d); }";
        assert_eq!(
            count("crates/verona-proto/src/federation/mod.rs", forged),
            3
        );
        assert_eq!(count("crates/verona-proto/src/addr/hosts.rs", forged), 0);
    }

    #[test]
    fn to_declare_or_return_one_is_not_to_make_one() {
        let fair =
            "impl DomainPair { } fn a() -> DomainPair { b() } impl From<A> for DomainPair { }
                    fn c(pair: &DomainPair, l: LocalDomain) { }";
        assert_eq!(count("crates/verona-proto/src/stream/open.rs", fair), 0);
    }

    #[test]
    fn tests_may_forge() {
        let text = "#[cfg(test)] mod tests { fn a() { Admitted::new(d, s); } }";
        assert_eq!(count("crates/verona-proto/src/switchboard.rs", text), 0);
    }
}
