//! The certificate authorities that we believe.
//!
//! An operator who names files wants those authorities and no others (TLS-33); an empty set is allowed and trusts
//! nobody.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::TlsError;
use super::files::{self, Patience, Stamp};
use super::revocation::RevocationLists;

/// Trust anchors. Cheap to clone.
#[derive(Clone, Default)]
pub struct TrustRoots {
    anchors: Arc<[TrustAnchor<'static>]>,
    revocations: RevocationLists,
}

impl TrustRoots {
    /// Loads the system's store, if `system`, and PEM files, all of whose certificates become roots.
    ///
    /// The system's store is the one that `SSL_CERT_FILE` and `SSL_CERT_DIR` can replace, as everywhere.
    ///
    /// # Errors
    /// [`TlsError::Trust`] names the file that cannot be read or holds something other than certificates, or says
    /// that the system has no store.
    pub fn load(system: bool, files: &[PathBuf]) -> Result<Self, TlsError> {
        let mut anchors = Vec::new();
        //= TLS-33
        if system {
            anchors.extend(system_anchors()?);
        }
        for file in files {
            let text = files::read(file, FILE_BYTES_MAX)
                .map_err(|cause| trouble(file, format!("it cannot be read: {cause}")))?;
            anchors.extend(parse(&text).map_err(|problem| trouble(file, problem))?);
        }
        Ok(Self {
            anchors: anchors.into(),
            revocations: RevocationLists::default(),
        })
    }

    /// Takes every certificate of a PEM text as a root.
    ///
    /// # Errors
    /// [`TlsError::Trust`] when there is none, or one that cannot be used.
    pub fn from_pem(pem: &str) -> Result<Self, TlsError> {
        let anchors = parse(pem.as_bytes()).map_err(|problem| TlsError::Trust {
            file: None,
            problem,
        })?;
        Ok(Self {
            anchors: anchors.into(),
            revocations: RevocationLists::default(),
        })
    }

    /// Believes them only in what these lists do not revoke (TLS-24).
    #[must_use]
    pub fn revoking(mut self, revocations: RevocationLists) -> Self {
        self.revocations = revocations;
        self
    }

    /// Whom they have revoked.
    #[must_use]
    pub fn revocations(&self) -> &RevocationLists {
        &self.revocations
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Whether they trust the same authorities, and hold the same of whom these revoked.
    #[must_use]
    pub fn are_same_as(&self, other: &Self) -> bool {
        self.anchors == other.anchors && self.revocations.are_same_as(&other.revocations)
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revocations.is_empty() {
            true => write!(f, "TrustRoots({})", self.len()),
            false => write!(f, "TrustRoots({}, {:?})", self.len(), self.revocations),
        }
    }
}

/// The files that say whom we believe, and what they looked like when they were last looked at.
#[derive(Debug)]
pub struct TrustFiles {
    system: bool,
    roots: Vec<PathBuf>,
    lists: Vec<PathBuf>,
    stamps: Vec<Option<Stamp>>,
    is_settled: bool,
}

impl TrustFiles {
    /// The system's store, if `system`, PEM files with authorities, and files with lists of what they revoked.
    #[must_use]
    pub fn new(system: bool, roots: Vec<PathBuf>, lists: Vec<PathBuf>) -> Self {
        Self {
            system,
            roots,
            lists,
            stamps: Vec::new(),
            is_settled: true,
        }
    }

    /// Looks at the named files, and says whether any is another than before. The system's store is not looked at: it is
    /// read whenever anything is.
    pub fn look(&mut self, patience: Patience, now: SystemTime) -> bool {
        let paths = self.roots.iter().chain(&self.lists);
        let stamps: Vec<Option<Stamp>> = paths.map(|path| Stamp::of(path)).collect();
        let is_settled = stamps.iter().flatten().all(|stamp| stamp.is_settled(now));
        let has_changed = stamps != self.stamps || !self.is_settled;
        if !has_changed || (patience == Patience::UntilSettled && !is_settled) {
            return false;
        }
        self.stamps = stamps;
        self.is_settled = is_settled;
        true
    }

    /// Reads them all.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(&self) -> Result<TrustRoots, TlsError> {
        let roots = TrustRoots::load(self.system, &self.roots)?;
        Ok(roots.revoking(RevocationLists::load(&self.lists)?))
    }
}

fn system_anchors() -> Result<Vec<TrustAnchor<'static>>, TlsError> {
    let loaded = rustls_native_certs::load_native_certs();
    // A store may hold oddities that its distributor put there; the others serve.
    let anchors: Vec<_> = loaded
        .certs
        .iter()
        .filter_map(|certificate| anchor(certificate).ok())
        .collect();
    if anchors.is_empty() {
        let cause = loaded
            .errors
            .first()
            .map(|error| format!(" ({error})"))
            .unwrap_or_default();
        return Err(TlsError::Trust {
            file: None,
            problem: format!(
                "the system has no certificate authorities{cause}; install its package of them (ca-certificates), or \
                 name a PEM file"
            ),
        });
    }
    Ok(anchors)
}

fn parse(pem: &[u8]) -> Result<Vec<TrustAnchor<'static>>, String> {
    let mut anchors = Vec::new();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        let certificate = certificate
            .map_err(|cause| format!("certificate {number} is damaged: {}", damage(&cause)))?;
        let anchor = anchor(&certificate).map_err(|cause| {
            format!("certificate {number} cannot be a root ({cause}); remove it")
        })?;
        anchors.push(anchor);
    }
    if anchors.is_empty() {
        return Err(
            "there is no certificate in it (a line \"-----BEGIN CERTIFICATE-----\" starts one)"
                .to_owned(),
        );
    }
    Ok(anchors)
}

fn anchor(certificate: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, webpki::Error> {
    webpki::anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned())
}

/// Says what is wrong with a PEM text, without the bytes that the library would list.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
pub(super) fn damage(cause: &PemError) -> String {
    match cause {
        PemError::MissingSectionEnd { end_marker } => {
            format!(
                "the line \"-----END {}-----\" is missing",
                String::from_utf8_lossy(end_marker)
            )
        }
        PemError::IllegalSectionStart { line } => {
            format!(
                "the line \"{}\" starts nothing",
                String::from_utf8_lossy(line).trim()
            )
        }
        other => other.to_string(),
    }
}

fn trouble(file: &Path, problem: String) -> TlsError {
    TlsError::Trust {
        file: Some(file.to_owned()),
        problem,
    }
}

/// The bundle of all public authorities has a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
