//! Lists of revoked certificates (CRLs, RFC 5280 §5), which the operator fetches and we read.
//!
//! A list that is missing or out of date says nothing, so whom it does not name is believed: an authority whose server
//! is down must not cut us off. OCSP is not asked for: the public authorities have ended it or are about to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::revocation_list::CertificateRevocationList;

use super::TlsError;
use super::files;
use super::trust::damage;
use super::verify::{date, moment};

/// Lists of revoked certificates. Cheap to clone.
#[derive(Clone, Default)]
pub struct RevocationLists {
    /// The latest first: of several of one authority the first counts.
    lists: Arc<[List]>,
}

struct List {
    file: PathBuf,
    made: i64,
    /// Until when the next one was promised, in seconds since 1970.
    promised: Option<i64>,
    /// Of its bytes, to know it again.
    digest: [u8; 32],
    list: CertRevocationList<'static>,
}

impl RevocationLists {
    /// Reads files, each with one list in DER or any number in PEM.
    ///
    /// # Errors
    /// [`TlsError::Revocation`] names the file that cannot be read or used.
    pub fn load(paths: &[PathBuf]) -> Result<Self, TlsError> {
        let mut lists = Vec::new();
        for file in paths {
            let trouble = |problem| TlsError::Revocation {
                file: file.clone(),
                problem,
            };
            let bytes = files::read(file, FILE_BYTES_MAX)
                .map_err(|cause| trouble(format!("it cannot be read: {cause}")))?;
            lists.extend(parse(file, &bytes).map_err(trouble)?);
        }
        lists.sort_by_key(|list| std::cmp::Reverse(list.made));
        Ok(Self {
            lists: lists.into(),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether nobody is known to be revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The files whose lists should have been replaced by now, and the day on which.
    pub fn overdue(&self, now: SystemTime) -> impl Iterator<Item = (&Path, String)> {
        self.lists.iter().filter_map(move |list| {
            let promised = list.promised.filter(|at| moment(*at) < now)?;
            Some((list.file.as_path(), date(promised)))
        })
    }

    pub(super) fn are_same_as(&self, other: &Self) -> bool {
        let digests = |lists: &Self| -> Vec<[u8; 32]> {
            lists.lists.iter().map(|list| list.digest).collect()
        };
        digests(self) == digests(other)
    }

    pub(super) fn all(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().map(|list| &list.list).collect()
    }

    /// Whether one of the lists that its authority made names this very certificate.
    pub(super) fn name(&self, certificate: &X509Certificate<'_>) -> bool {
        self.lists.iter().any(|List { list, .. }| {
            certificate.issuer().as_raw().ends_with(list.issuer())
                && list
                    .find_serial(certificate.raw_serial())
                    .is_ok_and(|found| found.is_some())
        })
    }
}

impl fmt::Debug for RevocationLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationLists({})", self.len())
    }
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Vec<List>, String> {
    // A DER SEQUENCE begins with 0x30, which is a digit and begins no PEM.
    if bytes.first() == Some(&0x30) {
        return list(file, bytes).map(|list| vec![list]);
    }
    let mut lists = Vec::new();
    for (number, der) in (1..).zip(CertificateRevocationListDer::pem_slice_iter(bytes)) {
        let der = der.map_err(|cause| format!("list {number} is damaged: {}", damage(&cause)))?;
        lists.push(list(file, &der).map_err(|problem| format!("list {number}: {problem}"))?);
    }
    if lists.is_empty() {
        return Err(
            "there is no list in it (a line \"-----BEGIN X509 CRL-----\" starts one, or it is DER)"
                .to_owned(),
        );
    }
    Ok(lists)
}

fn list(file: &Path, der: &[u8]) -> Result<List, String> {
    let list = OwnedCertRevocationList::from_der(der).map_err(|cause| {
        if matches!(cause, webpki::Error::UnsupportedDeltaCrl) {
            return "it is a delta, name the whole list".to_owned();
        }
        if matches!(cause, webpki::Error::UnsupportedIndirectCrl) {
            return "it is for the certificates of other authorities (an indirect list)".to_owned();
        }
        format!("it is no list of revoked certificates that can be used ({cause})")
    })?;
    let (_, dates) = CertificateRevocationList::from_der(der)
        .map_err(|_| "its dates cannot be read".to_owned())?;
    Ok(List {
        file: file.to_owned(),
        made: dates.last_update().timestamp(),
        promised: dates.next_update().map(|at| at.timestamp()),
        digest: Sha256::digest(der).into(),
        list: list.into(),
    })
}

/// The largest lists of public authorities have a few dozen megabytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
