//! A domainpart, prepared so that two spellings of one domain are equal (RFC 7622 §3.2).
//!
//! Certificates and DNS speak A-labels, the wire speaks U-labels; both are kept, and the A-labels decide.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::sync::Arc;

/// A prepared domainpart: case, width, trailing dot and IDNA form are settled (STREAM-45). Cheap to clone.
///
/// ```
/// use verona_proto::addr::Domain;
/// let a = Domain::parse("BÜCHER.example.")?;
/// let b = Domain::parse("xn--bcher-kva.example")?;
/// assert_eq!(a, b);
/// assert_eq!(a.to_string(), "bücher.example");
/// assert_eq!(a.ascii(), "xn--bcher-kva.example");
/// # Ok::<(), verona_proto::addr::BadDomain>(())
/// ```
#[derive(Clone)]
pub struct Domain {
    ascii: Arc<str>,
    /// The form with U-labels, where it differs.
    unicode: Option<Arc<str>>,
}

impl Domain {
    /// Prepares `text` as a domainpart.
    ///
    /// # Errors
    /// [`BadDomain`] when `text` is no domain name, IPv4 address or bracketed IPv6 address (RFC 7622 §3.2).
    pub fn parse(text: &str) -> Result<Self, BadDomain> {
        //= STREAM-45
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(BadDomain);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().map_err(|_| BadDomain)?;
            return Ok(Self::plain(&format!("[{address}]")));
        }
        if is_plain(text) {
            return Ok(Self::plain(text));
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| BadDomain)?;
        if !is_ascii_name(&ascii) {
            return Err(BadDomain);
        }
        let (unicode, result) = idna::domain_to_unicode(&ascii);
        result.map_err(|_| BadDomain)?;
        // An A-label may hold what begins like an A-label itself: nobody could read the form that we would write.
        if !idna::domain_to_ascii(&unicode).is_ok_and(|again| again == ascii) {
            return Err(BadDomain);
        }
        Ok(Self {
            unicode: (unicode != ascii).then(|| unicode.as_str().into()),
            ascii: ascii.into(),
        })
    }

    /// The form for DNS, SNI and certificates: lower-case A-labels (DNS-11).
    #[must_use]
    pub fn ascii(&self) -> &str {
        &self.ascii
    }

    /// The last two labels. Which names belong together is not known; that they end so is close enough for a bound.
    #[must_use]
    pub fn site(&self) -> &str {
        self.ending(2)
    }

    /// The last so many labels; all where there are fewer.
    #[must_use]
    pub fn ending(&self, labels: usize) -> &str {
        let name = self.ascii();
        let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
        labels
            .checked_sub(1)
            .and_then(|before| dots.nth(before))
            .and_then(|at| name.get(at + 1..))
            .unwrap_or(name)
    }

    /// The form for the wire: U-labels (RFC 7622 §3.2).
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.unicode.as_deref().unwrap_or(&self.ascii)
    }

    /// Whether this is an address literal and no name.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.ascii.starts_with('[') || self.ascii.parse::<std::net::Ipv4Addr>().is_ok()
    }

    fn plain(text: &str) -> Self {
        let lower: Cow<'_, str> = if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
        Self {
            ascii: Arc::from(lower.as_ref()),
            unicode: None,
        }
    }
}

/// Text that is no domainpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDomain;

impl fmt::Display for BadDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a domain name (RFC 7622 §3.2)")
    }
}

impl std::error::Error for BadDomain {}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.ascii, &other.ascii) || self.ascii == other.ascii
    }
}

impl Eq for Domain {}

impl PartialOrd for Domain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Domain {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ascii.cmp(&other.ascii)
    }
}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ascii.hash(state);
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// ASCII that needs no IDNA processing: the way of nearly every domain.
fn is_plain(text: &str) -> bool {
    is_ascii_name(text) && !has_a_label(text)
}

fn is_ascii_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && labels(text).all(|label| {
            !label.is_empty()
                && label.len() <= LABEL_BYTES_MAX
                && label
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
        })
}

fn has_a_label(text: &str) -> bool {
    labels(text).any(|label| {
        label
            .get(..4)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"))
    })
}

/// By bytes: every address of every stanza is taken apart so, and names are too short for a search that looks for more.
fn labels(text: &str) -> impl Iterator<Item = &[u8]> {
    text.as_bytes().split(|byte| *byte == b'.')
}

/// RFC 7622 §3.2: a domainpart has at most 1023 bytes.
const BYTES_MAX: usize = 1023;
/// RFC 1035 §2.3.4.
const NAME_BYTES_MAX: usize = 253;
/// RFC 1035 §2.3.4.
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn spellings_of_one_domain_are_equal() {
        //= STREAM-45
        for (a, b) in [
            ("Capulet.LIT", "capulet.lit"),
            ("capulet.lit.", "capulet.lit"),
            ("BÜCHER.example.", "xn--bcher-kva.example"),
            ("xn--bcher-KVA.example", "bücher.example"),
            ("ｃａｐｕｌｅｔ.lit", "capulet.lit"),
            ("[::0001]", "[::1]"),
        ] {
            assert_eq!(Domain::parse(a).unwrap(), Domain::parse(b).unwrap(), "{a}");
        }
        assert_ne!(
            Domain::parse("capulet.lit").unwrap(),
            Domain::parse("montague.lit").unwrap()
        );
    }

    /// Found by fuzzing: its form with U-labels was no domain, so no peer could have read what we wrote.
    #[test]
    fn an_a_label_within_an_a_label_is_refused() {
        //= STREAM-45
        for text in ["XN--XN--0BCHERmnnnN0BCHEN--0nT", "xn--xn--a--gua.example"] {
            assert!(Domain::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a@b",
            "a/b",
            "a'b",
            "a<b",
            "a\u{0}b",
            "[::g]",
            "[",
            "xn--a",
            &long,
            "a\u{200d}b",
        ] {
            assert!(Domain::parse(text).is_err(), "{text:?}");
        }
    }
}
