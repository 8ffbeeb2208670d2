//! Our own certificates and keys, found by domain.
//!
//! A set is made once and never changed: a reload makes another, so that each handshake sees the one or the other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};
use verona_proto::addr::Domain;
use verona_proto::certificate::CertificateName;

use super::files::Patience;
use super::problem::{CertificateProblem, CertificateProblemKind, Unusable};
use super::store::CertificateStore;
use super::trust::damage;
use super::verify::{date, moment, names, parse};

/// The certificates that we show, by the domain that we show them for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Certificates {
    by_domain: Arc<BTreeMap<Domain, Arc<OwnCertificate>>>,
    first: Option<Arc<OwnCertificate>>,
}

impl Certificates {
    /// Finds the certificates of `domains` in a directory, once: see [`CertificateStore`], which finds them again.
    #[must_use]
    pub fn from_directory(dir: &Path, domains: &[Domain]) -> (Self, Vec<CertificateProblem>) {
        let mut store = CertificateStore::new(vec![dir.to_owned()]);
        let now = SystemTime::now();
        store.look(Patience::None, now);
        store.choose(domains, &Self::default(), now)
    }

    /// Takes certificates from memory, each a PEM text with chain and key: for tests, demonstrations and embedding.
    ///
    /// # Errors
    /// The first that cannot be used. Dates and names are not looked at.
    pub fn from_pem(given: Vec<(Domain, String)>) -> Result<Self, CertificateProblem> {
        let mut found = Self::default();
        for (domain, pem) in given {
            let file = PathBuf::from(format!("{}.pem", domain.ascii()));
            let own = OwnCertificate::read(&file, pem.as_bytes(), &file, pem.as_bytes())
                .map_err(|(file, kind)| CertificateProblem::new(&domain, file, kind))?;
            found.insert(&domain, Arc::new(own));
        }
        Ok(found)
    }

    /// The same, but a domain for which `shown` has a certificate keeps it: whoever replaces the configuration need not
    /// judge certificates as well.
    #[must_use]
    pub fn keeping(mut self, shown: &Self, domains: &[Domain]) -> Self {
        for domain in domains {
            if let Some(own) = shown.get(domain) {
                self.insert(domain, Arc::clone(own));
            }
        }
        self
    }

    pub(super) fn insert(&mut self, domain: &Domain, own: Arc<OwnCertificate>) {
        self.first.get_or_insert_with(|| Arc::clone(&own));
        Arc::make_mut(&mut self.by_domain).insert(domain.clone(), own);
    }

    /// The certificate that we show for `domain`.
    #[must_use]
    pub fn get(&self, domain: &Domain) -> Option<&Arc<OwnCertificate>> {
        self.by_domain.get(domain)
    }

    /// The certificate of the first domain that has one.
    #[must_use]
    pub fn first(&self) -> Option<&Arc<OwnCertificate>> {
        self.first.as_ref()
    }

    /// All, in the order of their domains.
    pub fn iter(&self) -> impl Iterator<Item = (&Domain, &Arc<OwnCertificate>)> {
        self.by_domain.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_domain.is_empty()
    }

    /// For how many domains of the other set another certificate, or none, is shown by this one.
    #[must_use]
    pub fn differing_from(&self, other: &Self) -> usize {
        let differs = |(domain, own): &(&Domain, &Arc<OwnCertificate>)| {
            other
                .get(domain)
                .is_none_or(|theirs| !Arc::ptr_eq(own, theirs))
        };
        let gone = other
            .by_domain
            .keys()
            .filter(|domain| !self.by_domain.contains_key(*domain));
        self.iter().filter(differs).count() + gone.count()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.by_domain
                    .iter()
                    .map(|(domain, own)| (domain, &own.file)),
            )
            .finish()
    }
}

/// A certificate of ours with its key.
pub struct OwnCertificate {
    key: Arc<CertifiedKey>,
    names: Vec<CertificateName>,
    not_before: SystemTime,
    not_after: SystemTime,
    for_servers: bool,
    file: PathBuf,
    key_file: PathBuf,
}

impl OwnCertificate {
    /// Chain and key, as rustls takes them.
    #[must_use]
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The names that it covers.
    #[must_use]
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// When it begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When it ceases to be valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The file that it came from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file that its key came from.
    #[must_use]
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// Whether one of its names covers `domain`.
    #[must_use]
    pub fn covers(&self, domain: &Domain) -> bool {
        self.names.iter().any(|name| name.covers(domain))
    }

    /// Whether it is the same chain, from wherever.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    pub(super) fn read(
        chain_file: &Path,
        chain: &[u8],
        key_file: &Path,
        key: &[u8],
    ) -> Result<Self, Unusable> {
        use CertificateProblemKind as Kind;
        let at_chain = |kind| (chain_file.to_owned(), kind);
        let at_key = |kind| (key_file.to_owned(), kind);
        let certificates = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|cause| at_chain(Kind::Damaged(damage(&cause))))?;
        let Some(leaf) = certificates.first() else {
            return Err(at_chain(Kind::NoCertificate));
        };
        let Some(parsed) = parse(leaf) else {
            return Err(at_chain(Kind::Damaged(
                "its certificate is no X.509".to_owned(),
            )));
        };
        let validity = parsed.validity();
        let not_before = moment(validity.not_before.timestamp());
        let not_after = moment(validity.not_after.timestamp());
        let for_servers = match parsed.extended_key_usage() {
            Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
            Ok(None) => true,
            Err(_) => false,
        };
        let names = names(leaf);
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| {
            at_key(if matches!(cause, PemError::NoItemsFound) {
                Kind::NoKey
            } else {
                Kind::Damaged(damage(&cause))
            })
        })?;
        let key = aws_lc_rs::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|cause| at_key(Kind::BadKey(cause.to_string())))?;
        let key = CertifiedKey::new(certificates, key);
        match key.keys_match() {
            Ok(()) | Err(RustlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(at_key(Kind::KeyMismatch));
            }
            Err(cause) => return Err(at_chain(Kind::Unsupported(cause.to_string()))),
        }
        Ok(Self {
            key: Arc::new(key),
            names,
            not_before,
            not_after,
            for_servers,
            file: chain_file.to_owned(),
            key_file: key_file.to_owned(),
        })
    }

    /// How well it serves `domain`: whether it covers it, is for servers, is valid yet and still, and until when.
    pub(super) fn rank(&self, domain: &Domain, now: SystemTime) -> Rank {
        (
            self.covers(domain),
            self.for_servers,
            self.not_before <= now,
            self.not_after >= now,
            self.not_after,
        )
    }

    /// What peers will dislike about it.
    pub(super) fn shortcomings(
        &self,
        domain: &Domain,
        now: SystemTime,
    ) -> Vec<CertificateProblemKind> {
        use CertificateProblemKind as Kind;
        let mut seen = Vec::new();
        if self.not_after < now {
            seen.push(Kind::Expired(day(self.not_after)));
        }
        if self.not_before > now {
            seen.push(Kind::NotYetValid(day(self.not_before)));
        }
        if !self.covers(domain) {
            seen.push(Kind::DoesNotCover(
                self.names.iter().map(ToString::to_string).collect(),
            ));
        }
        //= TLS-22
        if !self.for_servers {
            seen.push(Kind::NotForServers);
        }
        seen
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCertificate")
            .field("file", &self.file)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The better, the greater.
pub(super) type Rank = (bool, bool, bool, bool, SystemTime);

fn day(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok());
    date(seconds.unwrap_or_default())
}
