//! Which domains are held to what they proved, by site, and whose place another one takes.
//!
//! It says nothing that the records do not say, and is kept beside them so that nobody searches all of those for each
//! certificate that somebody shows.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::addr::Domain;

/// The domains that proved something, and when each was met last.
#[derive(Debug, Default)]
pub(super) struct Proven {
    sites: BTreeMap<Box<str>, Site>,
    count: usize,
}

type Site = BTreeMap<Domain, Instant>;

impl Proven {
    pub(super) fn insert(&mut self, domain: &Domain, met: Instant) {
        if !self.sites.contains_key(domain.site()) {
            self.sites.insert(domain.site().into(), Site::new());
        }
        if let Some(site) = self.sites.get_mut(domain.site()) {
            let before = site.insert(domain.clone(), met);
            self.count += usize::from(before.is_none());
        }
    }

    /// One of them, if it is one, was met.
    pub(super) fn touch(&mut self, domain: &Domain, met: Instant) {
        let site = self.sites.get_mut(domain.site());
        if let Some(last) = site.and_then(|site| site.get_mut(domain)) {
            *last = met;
        }
    }

    pub(super) fn remove(&mut self, domain: &Domain) {
        let Some(site) = self.sites.get_mut(domain.site()) else {
            return;
        };
        self.count -= usize::from(site.remove(domain).is_some());
        if site.is_empty() {
            self.sites.remove(domain.site());
        }
    }

    /// Which domain makes room for another one, where a site may have `per_site` and all together `most`; none has to if
    /// there is room.
    pub(super) fn in_the_way_of(
        &self,
        domain: &Domain,
        per_site: usize,
        most: usize,
    ) -> Option<Domain> {
        let site = self.sites.get(domain.site());
        if site.is_some_and(|site| site.contains_key(domain)) {
            return None;
        }
        match site.filter(|site| site.len() >= per_site) {
            Some(site) => one_of_the_most(site),
            None if self.count >= most => self.one_to_forget(),
            None => None,
        }
    }

    /// All of them, in order.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(Domain, Instant)> {
        let all = self.sites.values().flatten();
        let mut all: Vec<_> = all.map(|(domain, met)| (domain.clone(), *met)).collect();
        all.sort();
        assert_eq!(all.len(), self.count);
        all
    }

    /// One of whichever site has the most of them.
    pub(super) fn one_to_forget(&self) -> Option<Domain> {
        let most = self.sites.values().max_by_key(|site| site.len())?;
        match most.len() {
            // Nobody has more than another.
            1 => oldest(self.sites.values().flatten()),
            _ => one_of_the_most(most),
        }
    }
}

impl<'a> FromIterator<(&'a Domain, Instant)> for Proven {
    fn from_iter<I: IntoIterator<Item = (&'a Domain, Instant)>>(domains: I) -> Self {
        let mut proven = Self::default();
        for (domain, met) in domains {
            proven.insert(domain, met);
        }
        proven
    }
}

/// Of a site: one of whichever longer ending has the most, then of the next within it, down to the one that was met least
/// recently. So a neighbour under the same registry (`co.uk`) does not pay for somebody's wildcard.
///
/// Under a site that has all that it may this is done for each that is new. So nothing is allocated for each of the others,
/// and of each only the label is looked at that comes next: what is behind it is the same for all that are left, however
/// deep their names go.
fn one_of_the_most(site: &Site) -> Option<Domain> {
    let mut among: Vec<Candidate<'_>> = site
        .iter()
        .map(|(domain, met)| Candidate::new(domain, met))
        .collect();
    for _ in 3..=LABELS_MAX {
        among.iter_mut().for_each(Candidate::take_label);
        among.sort_unstable_by_key(|candidate| candidate.label);
        let alike = among.chunk_by(|one, next| one.label == next.label);
        match alike.max_by_key(|alike| alike.len()) {
            Some(most) if most.len() > 1 => among = most.to_vec(),
            Some(_) | None => break,
        }
    }
    oldest(
        among
            .iter()
            .map(|candidate| (candidate.domain, candidate.met)),
    )
}

/// One of a site that may have to go.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    domain: &'a Domain,
    met: &'a Instant,
    /// The label that is looked at; empty when there is none left.
    label: &'a str,
    /// What stands in front of it.
    before: &'a str,
}

impl<'a> Candidate<'a> {
    fn new(domain: &'a Domain, met: &'a Instant) -> Self {
        let before = domain.ascii().strip_suffix(domain.site());
        let before = before.and_then(|before| before.strip_suffix('.'));
        Self {
            domain,
            met,
            label: "",
            before: before.unwrap_or_default(),
        }
    }

    fn take_label(&mut self) {
        (self.before, self.label) = self.before.rsplit_once('.').unwrap_or(("", self.before));
    }
}

fn oldest<'a>(domains: impl IntoIterator<Item = (&'a Domain, &'a Instant)>) -> Option<Domain> {
    let oldest = domains
        .into_iter()
        .min_by_key(|(domain, met)| (**met, *domain));
    oldest.map(|(domain, _)| domain.clone())
}

/// More labels than a domain has (RFC 1035 §3.1).
const LABELS_MAX: usize = 128;
