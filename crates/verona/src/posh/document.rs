//! Reads a POSH document: fingerprints of certificates, or where they are to be had (RFC 7711 §3).
//!
//! Whoever owns a domain's web server writes it, so it is as good as any stranger's text: pure, bounded, and each refusal
//! tells the author what is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use serde::Deserialize;
use serde_json::{Number, Value};
use sha2::{Digest as _, Sha256, Sha512};

/// What a POSH document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// These certificates, for so long; at least one and at most [`DESCRIPTORS_MAX`] × 2 hashes (RFC 7711 §3.1).
    Fingerprints(Vec<Fingerprint>, Duration),
    /// The document there, for so long (RFC 7711 §3.2). Whether it is an HTTPS URI is not looked at yet.
    Reference(String, Duration),
}

impl Document {
    /// Reads the bytes of a document, which the caller bounds.
    ///
    /// # Errors
    /// [`BadDocument`] says what its author has to mend.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BadDocument> {
        //= DNS-20
        let members: Members =
            serde_json::from_slice(bytes).map_err(|cause| BadDocument::Json(cause.to_string()))?;
        let expires = expires(members.expires)?;
        match (members.fingerprints, members.url) {
            (Some(_), Some(_)) => Err(BadDocument::Both),
            (None, None) => Err(BadDocument::Neither),
            (None, Some(url)) => Ok(Self::Reference(url, expires)),
            (Some(descriptors), None) => {
                Ok(Self::Fingerprints(fingerprints(&descriptors)?, expires))
            }
        }
    }
}

/// One hash over a whole certificate in DER (RFC 7711 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fingerprint {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

impl Fingerprint {
    /// Whether it is that of `certificate`.
    pub(super) fn matches(&self, certificate: &[u8]) -> bool {
        match self {
            Self::Sha256(hash) => Sha256::digest(certificate).as_slice() == hash,
            Self::Sha512(hash) => Sha512::digest(certificate).as_slice() == hash,
        }
    }
}

/// Why a document is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadDocument {
    /// It is no JSON, or not made of what it should be made of.
    Json(String),
    /// It does not say how long it holds.
    NoExpires,
    /// What it says is no number of seconds.
    BadExpires(String),
    /// It says that it does not hold.
    Expired,
    /// It is two kinds of document at once.
    Both,
    /// It is neither kind.
    Neither,
    /// It names no certificate at all.
    Empty,
    /// It names more than anybody needs.
    TooMany(usize),
    /// It names certificates, and none in a way that could match.
    NothingUsable(String),
}

impl fmt::Display for BadDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(cause) => write!(f, "it is no POSH document: {cause}"),
            Self::NoExpires => f.write_str("it has no \"expires\", a number of seconds"),
            Self::BadExpires(number) => {
                write!(
                    f,
                    "its \"expires\" is {number}, which is no whole number of seconds"
                )
            }
            Self::Expired => f.write_str("its \"expires\" is 0, which makes it invalid"),
            Self::Both => f.write_str("it has both \"fingerprints\" and \"url\""),
            Self::Neither => f.write_str("it has neither \"fingerprints\" nor \"url\""),
            Self::Empty => f.write_str("its list of \"fingerprints\" is empty"),
            Self::TooMany(count) => {
                write!(
                    f,
                    "it lists {count} certificates, more than {DESCRIPTORS_MAX}"
                )
            }
            Self::NothingUsable(why) => {
                write!(f, "it has no fingerprint that can be compared: {why}")
            }
        }
    }
}

/// The members that mean something; others may stand there too.
#[derive(Deserialize)]
struct Members {
    fingerprints: Option<Vec<BTreeMap<String, Value>>>,
    url: Option<String>,
    expires: Option<Number>,
}

fn expires(number: Option<Number>) -> Result<Duration, BadDocument> {
    //= DNS-22
    let number = number.ok_or(BadDocument::NoExpires)?;
    let seconds = match (number.as_u64(), number.as_f64()) {
        (Some(seconds), _) => seconds,
        // A whole number that no u64 holds, or that is written as 6e5. It is capped soon, whatever it is.
        (None, Some(seconds)) if seconds >= 1.0 && seconds.fract() == 0.0 => {
            Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |whole| whole.as_secs())
        }
        (None, _) => return Err(BadDocument::BadExpires(number.to_string())),
    };
    if seconds == 0 {
        return Err(BadDocument::Expired);
    }
    Ok(Duration::from_secs(seconds))
}

/// All hashes that we can compare. One that is damaged cannot match and harms no other.
fn fingerprints(descriptors: &[BTreeMap<String, Value>]) -> Result<Vec<Fingerprint>, BadDocument> {
    if descriptors.is_empty() {
        return Err(BadDocument::Empty);
    }
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(BadDocument::TooMany(descriptors.len()));
    }
    let mut usable = Vec::new();
    let mut problem = None;
    for descriptor in descriptors {
        //= DNS-23
        for (name, make) in HASHES {
            let Some(value) = descriptor.get(*name) else {
                continue;
            };
            match decode(value).and_then(|bytes| make(&bytes)) {
                Ok(fingerprint) => usable.push(fingerprint),
                Err(why) => problem = problem.or_else(|| Some(format!("its \"{name}\" {why}"))),
            }
        }
    }
    if usable.is_empty() {
        let why = problem.unwrap_or_else(|| "\"sha-256\" or \"sha-512\" is needed".to_owned());
        return Err(BadDocument::NothingUsable(why));
    }
    Ok(usable)
}

/// Base64 as RFC 4648 §4 has it; the padding may be missing, as in one of RFC 7711's own examples.
fn decode(value: &Value) -> Result<Vec<u8>, String> {
    let text = value.as_str().ok_or("is no string")?;
    STANDARD_PAD_INDIFFERENT
        .decode(text)
        .map_err(|cause| format!("is no base64: {cause}"))
}

fn sha_256(bytes: &[u8]) -> Result<Fingerprint, String> {
    let hash = bytes.try_into().map_err(|_| wrong_length(bytes, 32))?;
    Ok(Fingerprint::Sha256(hash))
}

fn sha_512(bytes: &[u8]) -> Result<Fingerprint, String> {
    let hash = bytes.try_into().map_err(|_| wrong_length(bytes, 64))?;
    Ok(Fingerprint::Sha512(hash))
}

fn wrong_length(bytes: &[u8], right: usize) -> String {
    format!("has {} bytes in place of {right}", bytes.len())
}

type Hash = (&'static str, fn(&[u8]) -> Result<Fingerprint, String>);

/// The hashes that are compared, by their names in IANA's registry. Those that are weaker prove nothing.
const HASHES: &[Hash] = &[("sha-256", sha_256), ("sha-512", sha_512)];

/// Certificates that one document may list. A site has one or two for each of its machines; the rest would only be kept.
pub(super) const DESCRIPTORS_MAX: usize = 64;

#[cfg(test)]
mod tests;
