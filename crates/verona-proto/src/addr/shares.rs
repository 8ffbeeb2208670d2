//! Places that domains take, and how many one neighbourhood may have: nobody has so many that no neighbour finds one.
//!
//! Whoever owns a domain has as many names below it as he likes, so places are shared by the endings of names. Which of
//! them are registries (`co.uk`) is not known and need not be: at each ending those below it may have no more than they
//! leave free. One alone has half of the places, two have a third each, and whoever comes then still finds some.

use std::collections::BTreeMap;

use super::Domain;

/// How many places are taken below each ending of two and more labels.
#[derive(Debug, Default)]
pub struct Shares {
    taken: BTreeMap<Box<str>, usize>,
}

impl Shares {
    /// Whether there is a place for `domain`, where all domains of its [site](Domain::site) together may have `most`.
    #[must_use]
    pub fn has_room(&self, domain: &Domain, most: usize) -> bool {
        // The site may fill all of its places; whatever is only a part of it leaves as many as it has.
        let mut free = most;
        endings(domain).all(|ending| {
            let taken = self.below(ending);
            let has_room = taken < free;
            free = free.saturating_sub(taken);
            has_room
        })
    }

    /// How many places the site of `domain` has.
    #[must_use]
    pub fn of_site(&self, domain: &Domain) -> usize {
        self.below(domain.site())
    }

    /// The domain takes a place.
    pub fn take(&mut self, domain: &Domain) {
        for ending in endings(domain) {
            match self.taken.get_mut(ending) {
                Some(taken) => *taken += 1,
                None => {
                    self.taken.insert(ending.into(), 1);
                }
            }
        }
    }

    /// The domain gives a place back.
    pub fn give_back(&mut self, domain: &Domain) {
        for ending in endings(domain) {
            if let Some(taken) = self.taken.get_mut(ending) {
                *taken = taken.saturating_sub(1);
                if *taken == 0 {
                    self.taken.remove(ending);
                }
            }
        }
    }

    fn below(&self, ending: &str) -> usize {
        self.taken.get(ending).copied().unwrap_or_default()
    }
}

/// The endings that count, the shortest first.
fn endings(domain: &Domain) -> impl Iterator<Item = &str> {
    let whole = domain.ascii().len();
    let mut longest = 0;
    (2..=LABELS_MAX)
        .map(|labels| domain.ending(labels))
        .take_while(move |ending| {
            let is_new = longest < whole && ending.len() > longest;
            longest = ending.len();
            is_new
        })
}

/// No registry gives out names deeper than this, and names that differ only in front of it may share.
const LABELS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    /// Names below `parent` that find a place, until none does.
    fn fill(shares: &mut Shares, parent: &str, most: usize) -> usize {
        let mut found = 0;
        for n in 0..1_000 {
            let name = domain(&format!("n{n}.{parent}"));
            if shares.has_room(&name, most) {
                shares.take(&name);
                found += 1;
            }
        }
        found
    }

    #[test]
    fn a_site_has_its_places_and_no_more() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "evil.example", 24), 24);
        assert!(!shares.has_room(&domain("evil.example"), 24));
        assert!(shares.has_room(&domain("capulet.lit"), 24));
        assert_eq!(shares.of_site(&domain("any.evil.example")), 24);
        shares.give_back(&domain("n7.evil.example"));
        assert!(shares.has_room(&domain("n7.evil.example"), 24));
    }

    #[test]
    fn one_neighbour_leaves_as_many_places_as_it_has() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "mallory.co.uk", 24), 12);
        // Another three registrations do not fill the rest.
        let more: Vec<usize> = (1..=3)
            .map(|n| fill(&mut shares, &format!("mallory{n}.co.uk"), 24))
            .collect();
        assert_eq!(more, [6, 3, 2]);
        for honest in ["bank.co.uk", "xmpp.bank.co.uk", "a.b.c.d.shop.co.uk"] {
            assert!(shares.has_room(&domain(honest), 24), "{honest}");
        }
        // Nor do names of another shape.
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "a.b.c.d.mallory.co.uk", 24), 5);
        assert_eq!(fill(&mut shares, "mallory.co.uk", 24), 7);
        assert!(shares.has_room(&domain("bank.co.uk"), 24));
    }

    #[test]
    fn few_places_are_places() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, "a.b.c.d.e.f.example", 1), 1);
        assert!(!shares.has_room(&domain("b.f.example"), 1));
        assert!(!shares.has_room(&domain("capulet.lit"), 0));
    }

    #[test]
    fn nothing_is_left_behind() {
        let mut shares = Shares::default();
        let names = [
            "localhost",
            "capulet.lit",
            "a.b.c.d.e.f.g.h.i",
            "[::1]",
            "192.0.2.1",
        ];
        for name in names {
            assert!(shares.has_room(&domain(name), 1));
            shares.take(&domain(name));
            assert!(!shares.has_room(&domain(name), 1), "{name}");
        }
        for name in names {
            shares.give_back(&domain(name));
        }
        assert!(shares.taken.is_empty());
    }
}
