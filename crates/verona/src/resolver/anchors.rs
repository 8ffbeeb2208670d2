//! The keys that all of DNSSEC hangs from: those of the root zone, or an operator's own.

use std::fmt;
use std::sync::Arc;

use hickory_resolver::proto::dnssec::{PublicKey as _, TrustAnchors as Keys};
use hickory_resolver::proto::serialize::txt::trust_anchor::{Entry, Parser};

/// Keys of the root zone. Cheap to clone.
#[derive(Clone)]
pub struct TrustAnchors {
    keys: Arc<Keys>,
}

impl TrustAnchors {
    /// The keys of the public root, as IANA publishes them.
    #[must_use]
    pub fn public_root() -> Self {
        Self {
            keys: Arc::new(Keys::default()),
        }
    }

    /// Reads DNSKEY records of a root zone, as they stand in a zone file or in what unbound and BIND keep.
    ///
    /// # Errors
    /// [`TrustAnchorsError`] when there is none, or anything else: a key of another zone would be of no use, because what
    /// lies outside of it could not be told from forgery.
    pub fn parse(text: &str) -> Result<Self, TrustAnchorsError> {
        let entries = Parser::new(text).parse().map_err(|cause| {
            refuse(format!(
                "{cause}; each line must be a DNSKEY record, as in `dig . DNSKEY`"
            ))
        })?;
        let mut keys = Keys::empty();
        for entry in &entries {
            let Entry::DNSKEY(record) = entry else {
                continue;
            };
            if !record.name().is_root() {
                return Err(refuse(format!(
                    "there is a key of {}; only keys of the root zone (\".\") can be trust anchors",
                    record.name()
                )));
            }
            let key = record.data().public_key();
            if !key.algorithm().is_supported() {
                return Err(refuse(format!(
                    "a key has the algorithm {}, which is not supported",
                    key.algorithm()
                )));
            }
            keys.insert(key);
        }
        if keys.is_empty() {
            return Err(refuse("there is no DNSKEY record in it".to_owned()));
        }
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    pub(super) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustAnchors({})", self.keys.len())
    }
}

/// Why a text holds no trust anchors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchorsError {
    problem: String,
}

impl fmt::Display for TrustAnchorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for TrustAnchorsError {}

fn refuse(problem: String) -> TrustAnchorsError {
    TrustAnchorsError { problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const KEY: &str = "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";

    #[test]
    fn keys_of_the_root_are_read_and_nothing_else() {
        let good =
            format!("; a comment\n. 86400 IN DNSKEY {KEY} ;{{id = 1}}\n\n. IN DNSKEY {KEY}\n");
        assert_eq!(
            format!("{:?}", TrustAnchors::parse(&good).unwrap()),
            "TrustAnchors(1)"
        );
        assert_eq!(
            format!("{:?}", TrustAnchors::public_root()),
            "TrustAnchors(2)"
        );
        for (text, problem) in [
            (String::new(), "no DNSKEY record"),
            ("; nothing\n".into(), "no DNSKEY record"),
            (
                format!("capulet.lit. IN DNSKEY {KEY}"),
                "a key of capulet.lit.; only keys of the root zone",
            ),
            (
                ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D".into(),
                "must be a DNSKEY record",
            ),
            (". IN DNSKEY 257 3".into(), "must be a DNSKEY record"),
            ("#!/bin/sh".into(), "must be a DNSKEY record"),
            (
                format!(". IN DNSKEY {}", KEY.replace(" 13 ", " 12 ")),
                "not supported",
            ),
        ] {
            let refused = TrustAnchors::parse(&text).unwrap_err().to_string();
            assert!(refused.contains(problem), "{text}: {refused}");
        }
    }
}
