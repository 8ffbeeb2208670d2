//! What can be wrong with a certificate of ours, in words that lead to the repair.
//!
//! The same sentences serve `check-config`, the start and a reload, so that an operator meets them once.

use std::fmt;
use std::path::PathBuf;

use verona_proto::addr::Domain;

/// Something wrong with the certificate of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateProblem {
    /// The domain that it is for.
    pub domain: Domain,
    /// The file to look at.
    pub file: PathBuf,
    /// What is wrong.
    pub kind: CertificateProblemKind,
    /// Whether it is wrong with the certificate that is shown all the same, and not with files that are not used.
    pub is_shown: bool,
}

impl CertificateProblem {
    pub(super) fn new(domain: &Domain, file: PathBuf, kind: CertificateProblemKind) -> Self {
        Self {
            domain: domain.clone(),
            file,
            kind,
            is_shown: false,
        }
    }

    /// Whether the file cannot be used at all, rather than being used with peers that may dislike it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        use CertificateProblemKind as Kind;
        match self.kind {
            Kind::Missing
            | Kind::Unreadable(_)
            | Kind::Damaged(_)
            | Kind::NoCertificate
            | Kind::NoKey
            | Kind::BadKey(_)
            | Kind::KeyMismatch
            | Kind::Unsupported(_) => true,
            Kind::Expired(_)
            | Kind::NotYetValid(_)
            | Kind::DoesNotCover(_)
            | Kind::NotForServers => false,
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateProblemKind as Kind;
        let domain = &self.domain;
        write!(f, "{}: ", self.file.display())?;
        match &self.kind {
            Kind::Missing => write!(
                f,
                "there is no certificate for {domain}; put its chain and key into this file, or into {name}/fullchain.pem \
                 and {name}/privkey.pem beside it (the files of certbot, lego, acme.sh and Caddy are found as well)",
                name = domain.ascii()
            ),
            Kind::Unreadable(cause) => {
                write!(
                    f,
                    "cannot be read for {domain}: {cause}; the user that verona runs as must be able to read it"
                )
            }
            Kind::Damaged(what) => write!(f, "damaged: {what}; write the file for {domain} anew"),
            Kind::NoCertificate => write!(
                f,
                "holds no certificate for {domain}; a line \"-----BEGIN CERTIFICATE-----\" must start one"
            ),
            Kind::NoKey => write!(
                f,
                "holds no private key for {domain}; add the key that belongs to the certificate, not encrypted by a \
                 passphrase"
            ),
            Kind::BadKey(cause) => write!(
                f,
                "the private key for {domain} cannot be used: {cause}; ECDSA P-256 or P-384, Ed25519 and RSA from 2048 \
                 bits serve"
            ),
            Kind::KeyMismatch => write!(
                f,
                "the private key does not match its certificate for {domain}; the server's own certificate must stand \
                 first, and the key must be the one that it was requested with"
            ),
            Kind::Unsupported(cause) => write!(
                f,
                "the certificate for {domain} cannot be used: {cause}; have it issued anew as X.509 v3"
            ),
            Kind::Expired(day) => {
                write!(f, "the certificate for {domain} expired on {day}; renew it")
            }
            Kind::NotYetValid(day) => write!(
                f,
                "the certificate for {domain} is not valid before {day}; look at the clock of this machine"
            ),
            Kind::DoesNotCover(names) if names.is_empty() => write!(
                f,
                "the certificate names no domain (subjectAltName), so it does not cover {domain}; have one issued for it"
            ),
            Kind::DoesNotCover(names) => write!(
                f,
                "the certificate is for {}, it does not cover {domain}; have one issued for it",
                names.join(", ")
            ),
            Kind::NotForServers => write!(
                f,
                "the certificate for {domain} is not for server authentication (extendedKeyUsage), so peers will refuse \
                 it; have one issued for servers"
            ),
        }
    }
}

impl std::error::Error for CertificateProblem {}

/// What can be wrong with a certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateProblemKind {
    /// There is none for the domain.
    Missing,
    /// The file cannot be read.
    Unreadable(String),
    /// The file is no PEM, or something inside is no DER.
    Damaged(String),
    /// The file has no certificate in it.
    NoCertificate,
    /// The file has no private key in it.
    NoKey,
    /// The key is of a kind that cannot be used.
    BadKey(String),
    /// The key is another's.
    KeyMismatch,
    /// The certificate is of a kind that cannot be used, such as X.509 v1.
    Unsupported(String),
    /// It expired on that day.
    Expired(String),
    /// It is valid from that day only.
    NotYetValid(String),
    /// It is for these names.
    DoesNotCover(Vec<String>),
    /// Its extendedKeyUsage does not permit what it is used for.
    NotForServers,
}

/// A file, and why it cannot be used.
pub(super) type Unusable = (PathBuf, CertificateProblemKind);
