//! Finds our certificates in directories as the usual tools lay them out, and finds them again when they change.
//!
//! Only what changed is read anew, so that ten thousand domains may be looked at every few seconds. A certificate that
//! serves is given up for a better one only: whatever happens to its files, it serves until it expires.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use verona_proto::addr::Domain;
use verona_proto::certificate::CertificateName;

use super::certificates::{Certificates, OwnCertificate};
use super::files::{self, Patience, Stamp};
use super::problem::{CertificateProblem, CertificateProblemKind, Unusable};

/// Directories with certificates, and what was read of them.
#[derive(Debug)]
pub struct CertificateStore {
    directories: Vec<PathBuf>,
    /// What was found there, the preferred first.
    found: BTreeMap<Place, Entry>,
    /// The places of those whose files bear a name.
    by_name: BTreeMap<String, Vec<Place>>,
}

/// Where a certificate stands in the order of preference: directory, layout, files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    directory: usize,
    chain: PathBuf,
    key: PathBuf,
}

/// A chain and its key, which may be one file.
#[derive(Debug)]
struct Entry {
    name: String,
    stamps: [Option<Stamp>; 2],
    /// Whether another change of the files would show in the stamps.
    is_settled: bool,
    /// Read when it is first wanted.
    read: Option<Result<Arc<OwnCertificate>, Unusable>>,
}

impl CertificateStore {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(directories: Vec<PathBuf>) -> Self {
        Self {
            directories,
            found: BTreeMap::new(),
            by_name: BTreeMap::new(),
        }
    }

    /// The directories.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Looks at all the files, and says whether any is new, other or gone. What changed is read again when it is wanted.
    pub fn look(&mut self, patience: Patience, now: SystemTime) -> bool {
        let mut before = std::mem::take(&mut self.found);
        let mut has_changed = false;
        for (directory, path) in self.directories.iter().enumerate() {
            for (name, chain, key) in candidates(path) {
                let stamps = match chain == key {
                    true => [Stamp::of(&chain); 2],
                    false => [Stamp::of(&chain), Stamp::of(&key)],
                };
                let is_settled = stamps.iter().flatten().all(|stamp| stamp.is_settled(now));
                let place = Place {
                    directory,
                    chain,
                    key,
                };
                let known = before.remove(&place);
                let entry = match known {
                    Some(known) if known.stamps == stamps && known.is_current() => known,
                    // Its writer may be at work: what was read before holds.
                    Some(known) if patience == Patience::UntilSettled && !is_settled => known,
                    None if patience == Patience::UntilSettled && !is_settled => continue,
                    Some(_) | None => {
                        has_changed = true;
                        Entry {
                            name,
                            stamps,
                            is_settled,
                            read: None,
                        }
                    }
                };
                self.found.insert(place, entry);
            }
        }
        has_changed |= !before.is_empty();
        if has_changed {
            self.by_name.clear();
            for (place, entry) in &self.found {
                let places = self.by_name.entry(entry.name.clone()).or_default();
                places.push(place.clone());
            }
        }
        has_changed
    }

    /// Chooses a certificate for each of `domains`: one whose files bear its name, else any that covers it, as that of
    /// its parent may; of several the one that is usable, and of these the one that is so for longest.
    ///
    /// One that has expired or does not cover its domain is shown all the same if there is no better one, since peers may
    /// content themselves with dialback; that it is so is told. What `current` shows stays until something better is
    /// there, and is never given up for something worse, whatever is wrong with the files.
    pub fn choose(
        &mut self,
        domains: &[Domain],
        current: &Certificates,
        now: SystemTime,
    ) -> (Certificates, Vec<CertificateProblem>) {
        let mut chosen = Certificates::default();
        let mut problems = Vec::new();
        let mut covering = None;
        for domain in domains {
            let serving = current.get(domain);
            let (own, seen) = self.choose_for(domain, serving, &mut covering, now);
            problems.extend(seen);
            if let Some(own) = own {
                chosen.insert(domain, own);
            }
        }
        (chosen, problems)
    }

    fn choose_for(
        &mut self,
        domain: &Domain,
        serving: Option<&Arc<OwnCertificate>>,
        covering: &mut Option<Covering>,
        now: SystemTime,
    ) -> (Option<Arc<OwnCertificate>>, Vec<CertificateProblem>) {
        let problem = |(file, kind)| CertificateProblem::new(domain, file, kind);
        let (best, damaged) = self.best(domain, covering, now);
        let flaws = |own: &Arc<OwnCertificate>| own.shortcomings(domain, now);
        let is_faultless = |own: &Arc<OwnCertificate>| flaws(own).is_empty();
        // Files that are being written are no reason to fall back to those of another name, and then to return.
        if let Some(serving) = serving
            && is_faultless(serving)
            && let Some(trouble) = self.trouble_with(serving)
        {
            return (Some(Arc::clone(serving)), vec![problem(trouble)]);
        }
        let mut problems: Vec<_> = damaged.map(problem).into_iter().collect();
        let chosen = match (best, serving) {
            (Some(best), Some(serving)) if best.is_same_as(serving) => Arc::clone(serving),
            (Some(best), Some(serving))
                if !is_faultless(&best) && serving.rank(domain, now) > best.rank(domain, now) =>
            {
                let seen = flaws(&best).into_iter();
                problems.extend(seen.map(|kind| problem((best.file().to_owned(), kind))));
                Arc::clone(serving)
            }
            (Some(best), _) => best,
            (None, serving) => {
                // A domain whose file is unusable has its problem told already.
                if problems.is_empty() {
                    problems.push(problem(self.missing(domain)));
                }
                match serving {
                    Some(serving) => Arc::clone(serving),
                    None => return (None, problems),
                }
            }
        };
        problems.extend(flaws(&chosen).into_iter().map(|kind| CertificateProblem {
            is_shown: true,
            ..problem((chosen.file().to_owned(), kind))
        }));
        (Some(chosen), problems)
    }

    /// The best for a domain, and what is wrong with the files that bear its name if none of them can be used.
    fn best(
        &mut self,
        domain: &Domain,
        covering: &mut Option<Covering>,
        now: SystemTime,
    ) -> (Option<Arc<OwnCertificate>>, Option<Unusable>) {
        // An operator may write either form of an internationalised name.
        let names = [domain.ascii(), domain.as_str()];
        let different = if names[0] == names[1] { 1 } else { 2 };
        let places: Vec<Place> = names
            .iter()
            .take(different)
            .filter_map(|name| self.by_name.get(*name))
            .flatten()
            .cloned()
            .collect();
        let mut named = Vec::new();
        let mut damaged = None;
        for place in &places {
            match self.read(place) {
                Some(Ok(own)) => named.push(own),
                Some(Err(unusable)) => {
                    damaged.get_or_insert(unusable);
                }
                None => {}
            }
        }
        if !named.is_empty() {
            damaged = None;
        }
        let best = better(named, domain, now);
        if best
            .as_ref()
            .is_some_and(|own| own.shortcomings(domain, now).is_empty())
        {
            return (best, None);
        }
        let others = covering
            .get_or_insert_with(|| Covering::of(self.all()))
            .candidates(domain);
        let other = better(others, domain, now);
        let best = match (best, other) {
            (Some(named), Some(other)) if other.rank(domain, now) > named.rank(domain, now) => {
                Some(other)
            }
            (Some(named), _) => Some(named),
            (None, other) => other,
        };
        (best, damaged)
    }

    /// What is wrong with the files that a certificate came from, if they are there and cannot be used.
    fn trouble_with(&mut self, serving: &OwnCertificate) -> Option<Unusable> {
        (0..self.directories.len()).find_map(|directory| {
            let place = Place {
                directory,
                chain: serving.file().to_owned(),
                key: serving.key_file().to_owned(),
            };
            self.read(&place)?.err()
        })
    }

    /// Every usable certificate, whatever its name, in the order of preference.
    fn all(&mut self) -> Vec<Arc<OwnCertificate>> {
        let read = |(place, entry): (&Place, &mut Entry)| entry.read(place).ok();
        self.found.iter_mut().filter_map(read).collect()
    }

    fn read(&mut self, place: &Place) -> Option<Result<Arc<OwnCertificate>, Unusable>> {
        Some(self.found.get_mut(place)?.read(place))
    }

    /// No file for a domain: for want of the file, or of the whole directory.
    fn missing(&self, domain: &Domain) -> Unusable {
        let unreadable = self.directories.iter().find_map(|directory| {
            let cause = fs::read_dir(directory).err()?;
            Some((
                directory,
                CertificateProblemKind::Unreadable(cause.to_string()),
            ))
        });
        let first = self.directories.first().map(PathBuf::as_path);
        let (directory, kind) = match unreadable {
            Some((directory, kind)) => (directory.as_path(), kind),
            None => (
                first.unwrap_or(Path::new("")),
                CertificateProblemKind::Missing,
            ),
        };
        (directory.join(format!("{}.pem", domain.ascii())), kind)
    }
}

impl Entry {
    fn read(&mut self, place: &Place) -> Result<Arc<OwnCertificate>, Unusable> {
        self.read
            .get_or_insert_with(|| read_files(&place.chain, &place.key).map(Arc::new))
            .clone()
    }

    /// Whether what was read would be read again. What could not be read for want of a right, or of a network, may be
    /// readable without having changed.
    fn is_current(&self) -> bool {
        let is_unreadable = |(_, kind): &Unusable| match kind {
            CertificateProblemKind::Unreadable(_) => true,
            CertificateProblemKind::Missing
            | CertificateProblemKind::Damaged(_)
            | CertificateProblemKind::NoCertificate
            | CertificateProblemKind::NoKey
            | CertificateProblemKind::BadKey(_)
            | CertificateProblemKind::KeyMismatch
            | CertificateProblemKind::Unsupported(_)
            | CertificateProblemKind::Expired(_)
            | CertificateProblemKind::NotYetValid(_)
            | CertificateProblemKind::DoesNotCover(_)
            | CertificateProblemKind::NotForServers => false,
        };
        match &self.read {
            Some(Ok(_)) | None => self.is_settled,
            Some(Err(unusable)) => self.is_settled && !is_unreadable(unusable),
        }
    }
}

/// Certificates by the names in them, so that many domains find theirs among many.
#[derive(Debug)]
struct Covering(BTreeMap<String, Vec<Arc<OwnCertificate>>>);

impl Covering {
    fn of(all: Vec<Arc<OwnCertificate>>) -> Self {
        let mut by_name: BTreeMap<String, Vec<Arc<OwnCertificate>>> = BTreeMap::new();
        for own in all {
            for name in own.names() {
                let name = match name {
                    CertificateName::Dns(name) | CertificateName::XmppAddr(name) => name,
                    CertificateName::Srv { domain, .. } => domain,
                };
                let (star, rest) = match name.strip_prefix("*.") {
                    Some(parent) => ("*.", parent),
                    None => ("", name.as_str()),
                };
                let Ok(rest) = Domain::parse(rest) else {
                    continue;
                };
                let name = format!("{star}{}", rest.ascii());
                by_name.entry(name).or_default().push(Arc::clone(&own));
            }
        }
        Self(by_name)
    }

    fn candidates(&self, domain: &Domain) -> Vec<Arc<OwnCertificate>> {
        let wildcard = domain
            .ascii()
            .split_once('.')
            .map(|(_, parent)| format!("*.{parent}"));
        [Some(domain.ascii()), wildcard.as_deref()]
            .into_iter()
            .flatten()
            .filter_map(|name| self.0.get(name))
            .flatten()
            .filter(|own| own.covers(domain))
            .cloned()
            .collect()
    }
}

/// The one that serves best; the first of equals.
fn better(
    all: Vec<Arc<OwnCertificate>>,
    domain: &Domain,
    now: SystemTime,
) -> Option<Arc<OwnCertificate>> {
    all.into_iter()
        .rev()
        .max_by_key(|own| own.rank(domain, now))
}

fn read_files(chain_file: &Path, key_file: &Path) -> Result<OwnCertificate, Unusable> {
    let read = |file: &Path| files::read(file, FILE_BYTES_MAX);
    let unreadable = |file: &Path, cause: io::Error| {
        let kind = CertificateProblemKind::Unreadable(cause.to_string());
        (file.to_owned(), kind)
    };
    let chain = read(chain_file).map_err(|cause| unreadable(chain_file, cause))?;
    let key = read(key_file).map_err(|cause| {
        if cause.kind() == io::ErrorKind::NotFound {
            return (key_file.to_owned(), CertificateProblemKind::NoKey);
        }
        unreadable(key_file, cause)
    })?;
    OwnCertificate::read(chain_file, &chain, key_file, &key)
}

/// Chain and key of each certificate that may be in a directory, with the name that the files bear, in a fixed order.
///
/// | made by | chain | key |
/// |---|---|---|
/// | hand | `NAME.pem` | the same file |
/// | certbot (`live/`) | `NAME/fullchain.pem` | `NAME/privkey.pem` |
/// | acme.sh | `NAME/fullchain.cer`, `NAME_ecc/fullchain.cer` | `NAME.key` beside it |
/// | Kubernetes (a mounted secret) | `NAME/tls.crt` | `NAME/tls.key` |
/// | lego (`certificates/`) | `NAME.crt` | `NAME.key` |
/// | Caddy (`certificates/`) | `ISSUER/NAME/NAME.crt` | `NAME.key` beside it |
///
/// For a wildcard lego writes `_.example.org`, Caddy `wildcard_.example.org` and acme.sh `*.example.org`: no domain is
/// named so, and what they cover is read in the certificate.
fn candidates(directory: &Path) -> Vec<(String, PathBuf, PathBuf)> {
    let mut all = Vec::new();
    for (name, path, is_directory) in entries(directory) {
        if let Some(stem) = name.strip_suffix(".pem") {
            all.push((stem.to_owned(), path.clone(), path));
        } else if is_directory {
            within(&name, &path, &mut all);
        } else if let Some(stem) = name.strip_suffix(".crt")
            // lego keeps the issuer's certificate beside ours, without a key.
            && !stem.ends_with(".issuer")
        {
            all.push((stem.to_owned(), path.clone(), path.with_extension("key")));
        }
    }
    all
}

/// Those in the directory `path`, which is called `name`.
fn within(name: &str, path: &Path, all: &mut Vec<(String, PathBuf, PathBuf)>) {
    let before = all.len();
    let mut add = |name: &str, chain: PathBuf, key: PathBuf| {
        if is_there(&chain) {
            all.push((name.to_owned(), chain, key));
        }
    };
    add(name, path.join("fullchain.pem"), path.join("privkey.pem"));
    let domain = name.strip_suffix("_ecc").unwrap_or(name);
    let key = path.join(format!("{domain}.key"));
    add(domain, path.join("fullchain.cer"), key);
    add(name, path.join("tls.crt"), path.join("tls.key"));
    add(
        name,
        path.join(format!("{name}.crt")),
        path.join(format!("{name}.key")),
    );
    if all.len() > before {
        return;
    }
    for (name, path, is_directory) in entries(path) {
        let chain = path.join(format!("{name}.crt"));
        if is_directory && is_there(&chain) {
            all.push((name.clone(), chain, path.join(format!("{name}.key"))));
        }
    }
}

/// Whether something is there, be it that it cannot be read: that is told then.
fn is_there(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
    }
}

/// Names, paths and whether they lead to directories, in order; not those that are hidden, as the several versions of a
/// mounted secret are.
fn entries(directory: &Path) -> Vec<(String, PathBuf, bool)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut all: Vec<(String, PathBuf, bool)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let kind = entry.file_type().ok()?;
            let path = entry.path();
            let is_directory = match kind.is_symlink() {
                true => path.is_dir(),
                false => kind.is_dir(),
            };
            (!name.starts_with('.')).then_some((name, path, is_directory))
        })
        .collect();
    all.sort();
    all
}

/// A chain of ten certificates with its key has 30 KB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
