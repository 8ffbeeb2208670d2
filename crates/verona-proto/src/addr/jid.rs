//! An address: localpart, domain, resource (RFC 7622).
//!
//! The domain is prepared, for it decides routes; localpart and resource belong to their own server and stay as they are.

use std::fmt;

use super::Domain;

/// An address, split and checked.
///
/// ```
/// use verona_proto::addr::Jid;
/// let jid = Jid::parse("juliet@Capulet.LIT/balcony")?;
/// assert_eq!(jid.to_string(), "juliet@capulet.lit/balcony");
/// # Ok::<(), verona_proto::addr::BadJid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jid {
    local: Option<Box<str>>,
    domain: Domain,
    resource: Option<Box<str>>,
}

impl Jid {
    /// Splits and checks an address.
    ///
    /// # Errors
    /// [`BadJid::Domain`] when the domain is bad: whose address it is cannot be said. [`BadJid::Part`] when only the
    /// localpart or the resource is bad (ROUTE-07).
    pub fn parse(text: &str) -> Result<Self, BadJid> {
        let parts = Parts::of(text);
        let domain = Domain::parse(parts.domain).map_err(|_| BadJid::Domain)?;
        if !parts.are_valid_beside_the_domain() {
            return Err(BadJid::Part(domain));
        }
        Ok(Self {
            local: parts.local.map(Into::into),
            domain,
            resource: parts.resource.map(Into::into),
        })
    }

    /// The part before `@`.
    #[must_use]
    pub fn local(&self) -> Option<&str> {
        self.local.as_deref()
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The part after `/`.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// Whether the address is a domain alone.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        self.local.is_none() && self.resource.is_none()
    }
}

/// The parts of an address where they stand in its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    local: Option<&'a str>,
    pub(crate) domain: &'a str,
    resource: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        Self {
            local,
            domain,
            resource,
        }
    }

    /// Whether localpart and resource are what they may be.
    pub(crate) fn are_valid_beside_the_domain(&self) -> bool {
        self.local.is_none_or(is_localpart) && self.resource.is_none_or(is_resourcepart)
    }
}

impl From<Domain> for Jid {
    fn from(domain: Domain) -> Self {
        Self {
            local: None,
            domain,
            resource: None,
        }
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(local) = &self.local {
            write!(f, "{local}@")?;
        }
        write!(f, "{}", self.domain)?;
        match &self.resource {
            Some(resource) => write!(f, "/{resource}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadJid {
    /// The domain: a stream error, for the sender or the target is unknown.
    Domain,
    /// The localpart or the resource, at the domain given: a stanza error, for others share the stream (ROUTE-07).
    Part(Domain),
}

impl fmt::Display for BadJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain => f.write_str("the address has no valid domain"),
            Self::Part(domain) => {
                write!(f, "the address at {domain} has a bad localpart or resource")
            }
        }
    }
}

impl std::error::Error for BadJid {}

/// RFC 7622 §3.3: what a localpart may not hold, and its length.
fn is_localpart(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if part.is_empty() || part.len() > PART_BYTES_MAX {
        return false;
    }
    part.bytes().all(is_plain)
        || !part.chars().any(|c| {
            matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@')
                || c.is_whitespace()
                || c.is_control()
        })
}

/// RFC 7622 §3.4: nearly everything, but not nothing.
fn is_resourcepart(part: &str) -> bool {
    !part.is_empty() && part.len() <= PART_BYTES_MAX && !part.chars().any(char::is_control)
}

/// RFC 7622 §3.3, §3.4.
const PART_BYTES_MAX: usize = 1023;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn an_address_is_split_at_the_first_slash_and_then_the_first_at() {
        for (text, local, domain, resource) in [
            ("montague.lit", None, "montague.lit", None),
            ("romeo@montague.lit", Some("romeo"), "montague.lit", None),
            ("montague.lit/a@b/c", None, "montague.lit", Some("a@b/c")),
            ("r@m.lit/😀 x", Some("r"), "m.lit", Some("😀 x")),
        ] {
            let jid = Jid::parse(text).unwrap();
            assert_eq!(jid.local(), local, "{text}");
            assert_eq!(jid.domain().as_str(), domain, "{text}");
            assert_eq!(jid.resource(), resource, "{text}");
            assert_eq!(jid.to_string(), text);
        }
    }

    #[test]
    fn a_bad_domain_and_a_bad_part_are_told_apart() {
        //= ROUTE-07
        for text in ["", "@", "a@", "a@b@c", "/x", "a@/x", "a b@c d"] {
            assert_eq!(Jid::parse(text), Err(BadJid::Domain), "{text:?}");
        }
        for text in [
            "@montague.lit",
            "a b@montague.lit",
            "a'@montague.lit",
            "montague.lit/",
            "a@montague.lit/\u{7}",
        ] {
            assert!(matches!(Jid::parse(text), Err(BadJid::Part(_))), "{text:?}");
        }
    }
}
