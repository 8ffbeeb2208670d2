//! Keys: how one is made and how one is recognised (XEP-0185).
//!
//! A key is computed from a secret and the names at stake, so that any machine with the secret can vouch for it.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::addr::Domain;

/// A dialback secret, prepared for use. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret {
    /// The lower-case hexadecimal SHA-256 of the secret, as ASCII: just one block of the HMAC.
    key: Arc<[u8; 64]>,
}

impl Secret {
    /// Prepares `text`, the same on every machine that vouches for the same domains (DB-03).
    #[must_use]
    pub fn new(text: &str) -> Self {
        //= DB-02
        let mut key = [0; 64];
        for (pair, byte) in key.chunks_exact_mut(2).zip(Sha256::digest(text)) {
            pair.copy_from_slice(&hexadecimal(byte));
        }
        Self { key: Arc::new(key) }
    }

    /// The key by which `originating` proves itself to `receiving` on the stream with that id: 64 hexadecimal digits.
    ///
    /// `stream_id` is that of the latest response header of the stream on which the key travels (DB-04).
    #[must_use]
    pub fn key(&self, receiving: &Domain, originating: &Domain, stream_id: &str) -> String {
        //= DB-02
        //= DB-03
        let mut mac = Hmac::<Sha256>::new(&(*self.key).into());
        mac.update(receiving.as_str().as_bytes());
        mac.update(b" ");
        mac.update(originating.as_str().as_bytes());
        mac.update(b" ");
        mac.update(stream_id.as_bytes());
        mac.finalize()
            .into_bytes()
            .into_iter()
            .flat_map(hexadecimal)
            .map(char::from)
            .collect()
    }

    /// Whether `candidate` is that key. White space around it is ignored (DB-36); the time taken tells nothing (DB-34).
    #[must_use]
    pub fn is_key(
        &self,
        receiving: &Domain,
        originating: &Domain,
        stream_id: &str,
        candidate: &str,
    ) -> bool {
        //= DB-34
        //= DB-36
        let key = self.key(receiving, originating, stream_id);
        key.as_bytes().ct_eq(trim_xml(candidate).as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secret in use and the one before it, so that a rotation breaks no verification under way.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Makes new keys.
    pub current: Secret,
    /// Still vouched for.
    pub previous: Option<Secret>,
}

impl Secrets {
    /// A key of the current secret: see [`Secret::key`].
    #[must_use]
    pub fn key(&self, receiving: &Domain, originating: &Domain, stream_id: &str) -> String {
        self.current.key(receiving, originating, stream_id)
    }

    /// Whether `candidate` is a key of either secret: see [`Secret::is_key`].
    #[must_use]
    pub fn is_key(
        &self,
        receiving: &Domain,
        originating: &Domain,
        stream_id: &str,
        candidate: &str,
    ) -> bool {
        // Both are computed whatever the first says: which of them matched is nobody's business.
        let current = self
            .current
            .is_key(receiving, originating, stream_id, candidate);
        let previous = self
            .previous
            .as_ref()
            .is_some_and(|secret| secret.is_key(receiving, originating, stream_id, candidate));
        current | previous
    }
}

impl From<Secret> for Secrets {
    fn from(current: Secret) -> Self {
        Self {
            current,
            previous: None,
        }
    }
}

/// `text` without the white space of XML around it (DB-36).
pub(super) fn trim_xml(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Two lower-case digits.
pub(crate) fn hexadecimal(byte: u8) -> [u8; 2] {
    [digit(byte >> 4), digit(byte & 0x0f)]
}

fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const CAPULET: &str = "s3cr3tf0rd14lb4ck";
    const MONTAGUE: &str = "d14lb4ck43v3r";
    const M1: &str = "65b30434afd7646699d077f7affcb2c120c48e18";
    const M2: &str = "b5cd769b1dc292c6f6557fe76cabc4d112333f9a";
    const M3: &str = "0f7c8e3a5d2b4916a8c7d6e5f4031b2a99e8c1d7";

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn the_known_keys_are_made_and_recognised() {
        //= DB-02
        for (secret, receiving, originating, id, key) in [
            (
                CAPULET,
                "montague.example",
                "capulet.example",
                "D60000229F",
                "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3",
            ),
            (
                MONTAGUE,
                "capulet.example",
                "montague.example",
                "417GAF25",
                "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d",
            ),
            (
                CAPULET,
                "xmpp.example.com",
                "example.org",
                "D60000229F",
                "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643",
            ),
            (
                CAPULET,
                "montague.lit",
                "capulet.lit",
                M2,
                "3388d61d1e7d79749d56c31dfadbb2d9dca69cb0ebc8d88748a83c18f27ae915",
            ),
            (
                MONTAGUE,
                "capulet.lit",
                "conference.montague.lit",
                M2,
                "21a6ad90105b239ca465925833f3ecc4c3f240325e428154bddaac53e179d839",
            ),
            (
                MONTAGUE,
                "capulet.lit",
                "conference.montague.lit",
                M3,
                "dde9c9d421de2ae2ce6a0c66d9ca62291e22eab89cc4dc4d8feae28a5131afa6",
            ),
            (
                CAPULET,
                "montague.lit",
                "rooms.capulet.lit",
                M3,
                "28cf2527485a9bc85500f5fe094d2cf0918b1ad25be7d0ffd50e993ad60ccdcb",
            ),
            (
                CAPULET,
                "montague.lit",
                "capulet.lit",
                M1,
                "ed05c51bad016f788001785044d01f6205884b95462d2384d55c9f6ce2054bf2",
            ),
        ] {
            let secret = Secret::new(secret);
            let (receiving, originating) = (domain(receiving), domain(originating));
            assert_eq!(secret.key(&receiving, &originating, id), key);
            assert!(secret.is_key(&receiving, &originating, id, key));
        }
    }

    #[test]
    fn a_key_is_bound_to_the_stream_the_direction_and_every_digit() {
        //= DB-34
        let secret = Secret::new(CAPULET);
        let (montague, capulet) = (domain("montague.lit"), domain("capulet.lit"));
        let key = secret.key(&montague, &capulet, M2);
        assert!(!secret.is_key(&montague, &capulet, M1, &key));
        assert!(!secret.is_key(&capulet, &montague, M2, &key));
        assert!(!secret.is_key(&montague, &capulet, M2, ""));
        assert!(!secret.is_key(&montague, &capulet, M2, &key[..63]));
        for at in 0..key.len() {
            let mut bytes = key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(bytes).unwrap();
            assert!(!secret.is_key(&montague, &capulet, M2, &wrong), "{at}");
        }
    }

    #[test]
    fn white_space_around_a_key_is_ignored_inside_it_is_not() {
        //= DB-36
        let secret = Secret::new(CAPULET);
        let (montague, capulet) = (domain("montague.lit"), domain("capulet.lit"));
        let key = secret.key(&montague, &capulet, M2);
        assert!(secret.is_key(&montague, &capulet, M2, &format!("\n  {key}\r\n\t")));
        let (a, b) = key.split_at(32);
        assert!(!secret.is_key(&montague, &capulet, M2, &format!("{a} {b}")));
    }

    #[test]
    fn two_machines_with_one_secret_vouch_for_each_other() {
        //= DB-03
        let (a, b) = (Secret::new(CAPULET), Secret::new(CAPULET));
        let (montague, capulet) = (domain("MONTAGUE.lit."), domain("capulet.lit"));
        let key = a.key(&montague, &capulet, M2);
        assert!(b.is_key(&domain("montague.lit"), &capulet, M2, &key));
    }

    #[test]
    fn the_former_secret_is_still_vouched_for_but_makes_no_keys() {
        let (old, new) = (Secret::new(CAPULET), Secret::new(MONTAGUE));
        let (montague, capulet) = (domain("montague.lit"), domain("capulet.lit"));
        let secrets = Secrets {
            current: new.clone(),
            previous: Some(old.clone()),
        };
        assert_eq!(
            secrets.key(&montague, &capulet, M2),
            new.key(&montague, &capulet, M2)
        );
        let old_key = old.key(&montague, &capulet, M2);
        assert!(secrets.is_key(&montague, &capulet, M2, &old_key));
        assert!(!Secrets::from(new).is_key(&montague, &capulet, M2, &old_key));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secrets = Secrets::from(Secret::new(CAPULET));
        let text = format!("{secrets:?}");
        assert!(!text.contains(CAPULET));
        assert_eq!(text, "Secrets { current: Secret(…), previous: None }");
    }

    #[test]
    fn a_name_outside_ascii_is_hashed_as_it_is_written_on_the_wire() {
        //= DB-02
        let secret = Secret::new(CAPULET);
        let capulet = domain("capulet.lit");
        let key = secret.key(&domain("xn--bcher-kva.example"), &capulet, M2);
        assert!(secret.is_key(&domain("bücher.example"), &capulet, M2, &key));
        let mut mac = Hmac::<Sha256>::new(&(*secret.key).into());
        mac.update(format!("bücher.example capulet.lit {M2}").as_bytes());
        let wire: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(key, wire);
    }
}
