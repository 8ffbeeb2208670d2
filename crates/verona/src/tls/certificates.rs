//! Our own certificates and keys, found by domain.
//!
//! What is wrong with a file is said at start and at reload, in words that lead to the repair; a domain whose file is
//! unusable takes no other down with it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
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

use super::trust::damage;
use super::verify::{date, moment, names, parse};

/// The certificates that we show, by the domain that we show them for. Cheap to clone.
#[derive(Clone, Default)]
pub struct Certificates {
    by_domain: Arc<BTreeMap<Domain, Arc<OwnCertificate>>>,
    first: Option<Arc<OwnCertificate>>,
}

impl Certificates {
    /// Finds the certificates of `domains` in a directory: for each `DOMAIN.pem` (chain and key), or
    /// `DOMAIN/fullchain.pem` with `DOMAIN/privkey.pem`, else any other in the directory that covers the domain, as
    /// that of its parent may.
    ///
    /// A certificate that has expired or does not cover its domain is shown all the same if there is no better one,
    /// since peers may content themselves with dialback; that it is so is told.
    #[must_use]
    pub fn from_directory(dir: &Path, domains: &[Domain]) -> (Self, Vec<CertificateProblem>) {
        let mut found = Self::default();
        let mut problems = Vec::new();
        let mut others: Option<Vec<Arc<OwnCertificate>>> = None;
        let now = SystemTime::now();
        for domain in domains {
            let own = match named_for(dir, domain) {
                Some(Ok(own)) => Some(Arc::new(own)),
                Some(Err((file, kind))) => {
                    problems.push(CertificateProblem::new(domain, file, kind));
                    None
                }
                None => None,
            };
            let chosen = match own {
                Some(own) if own.covers(domain) => Some(own),
                own => {
                    let others = others.get_or_insert_with(|| all_in(dir));
                    best_for(others, domain, now).or(own)
                }
            };
            match chosen {
                Some(chosen) => {
                    let seen = chosen.shortcomings(domain, now);
                    problems
                        .extend(seen.into_iter().map(|kind| {
                            CertificateProblem::new(domain, chosen.file.clone(), kind)
                        }));
                    found.insert(domain, chosen);
                }
                // A domain whose file is unusable has its problem told already.
                None if problems.iter().any(|problem| problem.domain == *domain) => {}
                None => problems.push(CertificateProblem::new(
                    domain,
                    dir.join(format!("{}.pem", domain.ascii())),
                    missing(dir),
                )),
            }
        }
        (found, problems)
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

    fn insert(&mut self, domain: &Domain, own: Arc<OwnCertificate>) {
        self.first.get_or_insert_with(|| Arc::clone(&own));
        Arc::make_mut(&mut self.by_domain).insert(domain.clone(), own);
    }

    /// The certificate that we show for `domain`.
    #[must_use]
    pub fn get(&self, domain: &Domain) -> Option<&Arc<OwnCertificate>> {
        self.by_domain.get(domain)
    }

    /// The certificate that we show for `domain`, or the first that we have.
    #[must_use]
    pub fn default_for(&self, domain: &Domain) -> Option<&Arc<OwnCertificate>> {
        self.get(domain).or(self.first.as_ref())
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

    /// Whether one of its names covers `domain`.
    #[must_use]
    pub fn covers(&self, domain: &Domain) -> bool {
        self.names.iter().any(|name| name.covers(domain))
    }

    fn read(
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
        })
    }

    /// What peers will dislike about it.
    fn shortcomings(&self, domain: &Domain, now: SystemTime) -> Vec<CertificateProblemKind> {
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

/// Something wrong with the certificate of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateProblem {
    /// The domain that it is for.
    pub domain: Domain,
    /// The file to look at.
    pub file: PathBuf,
    /// What is wrong.
    pub kind: CertificateProblemKind,
}

impl CertificateProblem {
    fn new(domain: &Domain, file: PathBuf, kind: CertificateProblemKind) -> Self {
        Self {
            domain: domain.clone(),
            file,
            kind,
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
                 and {name}/privkey.pem beside it",
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
type Unusable = (PathBuf, CertificateProblemKind);

/// The certificate in the files that bear the domain's name; none if there are no such files.
fn named_for(dir: &Path, domain: &Domain) -> Option<Result<OwnCertificate, Unusable>> {
    // An operator may write either form of an internationalised name.
    [domain.ascii(), domain.as_str()]
        .into_iter()
        .find_map(|name| {
            let single = dir.join(format!("{name}.pem"));
            let chain = dir.join(name).join("fullchain.pem");
            if single.exists() {
                Some(read_files(&single, &single))
            } else if chain.exists() {
                Some(read_files(&chain, &dir.join(name).join("privkey.pem")))
            } else {
                None
            }
        })
}

fn read_files(chain_file: &Path, key_file: &Path) -> Result<OwnCertificate, Unusable> {
    let read = |file: &Path| {
        fs::read(file).map_err(|cause| {
            // The chain was there a moment ago, so it is the key that is missing.
            let kind = if cause.kind() == io::ErrorKind::NotFound {
                CertificateProblemKind::NoKey
            } else {
                CertificateProblemKind::Unreadable(cause.to_string())
            };
            (file.to_owned(), kind)
        })
    };
    let chain = read(chain_file)?;
    let key = read(key_file)?;
    OwnCertificate::read(chain_file, &chain, key_file, &key)
}

/// Every usable certificate of the directory, whatever its name; in a fixed order.
fn all_in(dir: &Path) -> Vec<Arc<OwnCertificate>> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            if path.is_dir() {
                read_files(&path.join("fullchain.pem"), &path.join("privkey.pem")).ok()
            } else if path.is_file() && path.extension().is_some_and(|extension| extension == "pem")
            {
                read_files(&path, &path).ok()
            } else {
                None
            }
        })
        .map(Arc::new)
        .collect()
}

/// The one that covers the domain and serves longest; the first of equals.
fn best_for(
    others: &[Arc<OwnCertificate>],
    domain: &Domain,
    now: SystemTime,
) -> Option<Arc<OwnCertificate>> {
    others
        .iter()
        .filter(|own| own.covers(domain))
        .rev()
        .max_by_key(|own| (own.for_servers, own.not_before <= now, own.not_after))
        .map(Arc::clone)
}

/// No file for a domain: for want of the file, or of the whole directory.
fn missing(dir: &Path) -> CertificateProblemKind {
    match fs::read_dir(dir) {
        Ok(_) => CertificateProblemKind::Missing,
        Err(cause) => CertificateProblemKind::Unreadable(cause.to_string()),
    }
}

fn day(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok());
    date(seconds.unwrap_or_default())
}
