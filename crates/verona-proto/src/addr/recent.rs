//! The domains that stood in the last stanzas of a connection.
//!
//! Most stanzas name the same few. A domain that is known need not be prepared again, and all its stanzas share the memory of
//! its name.

use super::{BadDomain, Domain};

/// Domains that were read lately. What it holds is bounded, whatever a peer sends.
#[derive(Debug, Default)]
pub struct RecentDomains {
    domains: Vec<Domain>,
    /// The next to be replaced.
    oldest: usize,
}

impl RecentDomains {
    /// As [`Domain::parse`].
    ///
    /// # Errors
    /// [`BadDomain`], likewise.
    pub fn parse(&mut self, text: &str) -> Result<Domain, BadDomain> {
        // The form that is written is its own preparation.
        if let Some(known) = self.domains.iter().find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let domain = Domain::parse(text)?;
        if domain.as_str() == text {
            match self.domains.get_mut(self.oldest) {
                Some(place) => *place = domain.clone(),
                None => {
                    if self.domains.is_empty() {
                        self.domains.reserve_exact(USUAL);
                    }
                    self.domains.push(domain.clone());
                }
            }
            self.oldest = (self.oldest + 1) % DOMAINS_MAX;
        }
        Ok(domain)
    }
}

/// One of ours, and one of theirs.
const USUAL: usize = 2;
/// One of ours, and some of theirs.
const DOMAINS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn what_it_says_is_what_parsing_says() {
        let mut recent = RecentDomains::default();
        for _ in 0..2 {
            for text in [
                "montague.lit",
                "Montague.LIT",
                "montague.lit.",
                "bücher.example",
                "xn--bcher-kva.example",
                "[::1]",
                "[0:0::1]",
                "127.0.0.1",
                "",
                "a b",
                "xn--a",
            ] {
                assert_eq!(recent.parse(text), Domain::parse(text), "{text:?}");
            }
        }
    }

    #[test]
    fn it_holds_the_last_few_and_no_more() {
        let mut recent = RecentDomains::default();
        for number in 0..1_000 {
            recent.parse(&format!("d{number}.lit")).unwrap();
        }
        assert_eq!(recent.domains.len(), DOMAINS_MAX);
        let (first, again) = (recent.parse("d999.lit"), recent.parse("d999.lit"));
        assert_eq!(
            first.unwrap().as_str().as_ptr(),
            again.unwrap().as_str().as_ptr()
        );
    }
}
