//! The secrets of the components and the handshake computed from them (XEP-0114 §3).
//!
//! The handshake is all that stands between a connection and a domain of ours, so it is compared in constant time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::addr::LocalDomain;
use crate::dialback::hexadecimal;

/// The domains that components serve, each with its secret. Cheap to clone; its `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct ComponentDomains {
    secrets: Arc<BTreeMap<LocalDomain, Box<str>>>,
}

impl ComponentDomains {
    /// The given domains with their secrets.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (LocalDomain, String)>) -> Self {
        let secrets = secrets.into_iter();
        Self {
            secrets: Arc::new(
                secrets
                    .map(|(domain, text)| (domain, text.into()))
                    .collect(),
            ),
        }
    }

    /// Whether a component may serve the domain.
    #[must_use]
    pub fn contains(&self, domain: &LocalDomain) -> bool {
        self.secrets.contains_key(domain)
    }

    /// The domains, in order.
    pub fn iter(&self) -> impl Iterator<Item = &LocalDomain> {
        self.secrets.keys()
    }

    /// Whether `candidate` is the handshake for that domain on the stream with that id: hexadecimal digits of either
    /// case, white space around them ignored (COMP-05).
    #[must_use]
    pub fn is_handshake(&self, domain: &LocalDomain, stream_id: &str, candidate: &str) -> bool {
        //= COMP-05
        let Some(secret) = self.secrets.get(domain) else {
            return false;
        };
        let digest = Sha1::new()
            .chain_update(stream_id)
            .chain_update(&**secret)
            .finalize();
        let expected: Vec<u8> = digest.into_iter().flat_map(hexadecimal).collect();
        let candidate = candidate.trim().to_ascii_lowercase();
        expected.ct_eq(candidate.as_bytes()).into()
    }
}

impl fmt::Debug for ComponentDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::addr::{Domain, Hosts};

    fn local(name: &str) -> LocalDomain {
        let domain = Domain::parse(name).unwrap();
        Hosts::new([domain.clone()]).local(&domain).unwrap()
    }

    #[test]
    fn the_known_handshake_is_recognised() {
        //= COMP-05
        let rooms = local("rooms.capulet.lit");
        let domains = ComponentDomains::new([(rooms.clone(), "secret".to_owned())]);
        let right = "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136";
        for (id, candidate, is_right) in [
            ("3BF96D32", right, true),
            ("3BF96D32", "B09EA9B3B7F586BE8A08D0A3DD7466F110AEB136", true),
            ("3BF96D32", &format!("\n {right}\t"), true),
            ("3BF96D33", right, false),
            ("3BF96D32", &right[1..], false),
            (
                "3BF96D32",
                "b09ea9b3b7f586be8a08d0a3dd7466f110aeb137",
                false,
            ),
            ("3BF96D32", "", false),
        ] {
            assert_eq!(
                domains.is_handshake(&rooms, id, candidate),
                is_right,
                "{id} {candidate}"
            );
        }
        assert!(!domains.is_handshake(&local("other.capulet.lit"), "3BF96D32", right));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let domains = ComponentDomains::new([(local("rooms.capulet.lit"), "hush".to_owned())]);
        assert_eq!(format!("{domains:?}"), "{rooms.capulet.lit}");
    }
}
