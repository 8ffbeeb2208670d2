//! One certificate, and what has to come of it.

use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::super::Issued;

/// One certificate of the zoo, and who shows it.
pub(super) struct Specimen {
    /// What it is, for a reader.
    pub(super) what: String,
    /// Whom its owner claims to be.
    pub(super) domain: &'static str,
    /// None is shown where there is none.
    pub(super) shown: Option<Arc<CertifiedKey>>,
    /// Written down by hand, from the standards.
    pub(super) expected: Expected,
}

/// What the standards say of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It proves the domain of its owner.
    Proves,
    /// It does not, in the words for the operator.
    Not(String),
    /// The TLS handshake fails, in the words for the operator.
    NoTls(String),
}

/// Somebody who claims to be montague.lit shows this.
pub(super) fn shown(what: &str, issued: &Issued) -> Shown {
    Shown {
        what: what.to_owned(),
        domain: MONTAGUE,
        key: Some(issued.certified()),
    }
}

/// The same, with a key of any kind.
pub(super) fn shown_with(what: &str, key: Arc<CertifiedKey>) -> Shown {
    Shown {
        what: what.to_owned(),
        domain: MONTAGUE,
        key: Some(key),
    }
}

/// Nothing is shown.
pub(super) fn nothing(what: &str) -> Shown {
    Shown {
        what: what.to_owned(),
        domain: MONTAGUE,
        key: None,
    }
}

/// A certificate of which nothing is expected yet.
pub(super) struct Shown {
    what: String,
    domain: &'static str,
    key: Option<Arc<CertifiedKey>>,
}

impl Shown {
    /// By somebody who claims to be another domain.
    pub(super) fn by(self, domain: &'static str) -> Self {
        Self { domain, ..self }
    }

    pub(super) fn proves(self) -> Specimen {
        self.expecting(Expected::Proves)
    }

    /// There is no path to an authority that is trusted.
    pub(super) fn untrusted(self, reason: &str) -> Specimen {
        self.not(format!("the peer's certificate is not trusted: {reason}"))
    }

    /// It is for others.
    pub(super) fn names_others(self, names: &str) -> Specimen {
        let domain = self.domain;
        self.not(format!(
            "the peer's certificate is for {names}, not for {domain}"
        ))
    }

    /// It is for nobody.
    pub(super) fn names_nobody(self) -> Specimen {
        let domain = self.domain;
        self.not(format!(
            "the peer's certificate names no domain in its subjectAltName, so it does not cover {domain}"
        ))
    }

    pub(super) fn not(self, sentence: impl Into<String>) -> Specimen {
        self.expecting(Expected::Not(sentence.into()))
    }

    pub(super) fn no_tls(self, reason: &str) -> Specimen {
        self.expecting(Expected::NoTls(reason.to_owned()))
    }

    fn expecting(self, expected: Expected) -> Specimen {
        Specimen {
            what: self.what,
            domain: self.domain,
            shown: self.key,
            expected,
        }
    }
}

/// The domain of most peers.
pub(super) const MONTAGUE: &str = "montague.lit";
