//! `[tls]`: our certificates, whose certificates we believe, and which of these are revoked.
//!
//! All are loaded here, so that a key that does not match is found before anything is bound.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use verona::tls::{
    CertificateProblem, CertificateProblemKind, CertificateStore, Certificates, Patience,
    RevocationLists, TrustFiles, TrustRoots,
};
use verona_proto::addr::Domain;
use verona_proto::policy::TlsPolicy;

use super::problem::{Place, Problem, Report};
use super::section::Section;
use super::{Base, domains, secrets};
use crate::expiry::{self, Stage};
use crate::output::printable;

/// Loads the certificates of all `domains`. What is wrong with one is told at the domain that it is for.
pub(super) fn certificates(
    section: &mut Section<'_>,
    domains: &[domains::Read],
    policy: TlsPolicy,
    base: &Base,
    report: &mut Report,
) -> (Certificates, CertificateStore) {
    let mut directories = Vec::new();
    match section.get("certificates") {
        Some(node) => {
            for (item, text) in node.text_or_texts(report) {
                directories.extend(directory(text, &item.place(), domains, base, report));
            }
        }
        None => directories.extend(directory(DIRECTORY, section.place(), domains, base, report)),
    }
    let mut store = CertificateStore::new(directories);
    // Else every domain would be told that its own certificate is missing.
    if domains.is_empty() || store.directories().is_empty() {
        return (Certificates::default(), store);
    }
    let names: Vec<Domain> = domains
        .iter()
        .map(|read| read.domain.name.clone())
        .collect();
    let now = SystemTime::now();
    store.look(Patience::None, now);
    let (certificates, problems) = store.choose(&names, &Certificates::default(), now);
    for problem in &problems {
        tell(problem, domains, policy, report);
    }
    warn_of_ends(&certificates, domains, now, report);
    warn_of_open_keys(&certificates, &store, domains, report);
    (certificates, store)
}

fn directory(
    named: &str,
    place: &Place,
    domains: &[domains::Read],
    base: &Base,
    report: &mut Report,
) -> Option<PathBuf> {
    let directory = base.path(named);
    match std::fs::read_dir(&directory) {
        Ok(_) => Some(directory),
        Err(_) if domains.is_empty() => None,
        Err(error) => {
            let shown = printable(&directory.display().to_string());
            report
                .error(place, format!("the certificates in `{shown}` cannot be read: {}", secrets::cause(&error)))
                .suggest("`[tls] certificates` is a directory with DOMAIN.pem (chain and key) for each domain");
            None
        }
    }
}

/// Loads the trust anchors and the lists of what they revoked.
pub(super) fn trust(
    section: &mut Section<'_>,
    base: &Base,
    report: &mut Report,
) -> (TrustRoots, TrustFiles) {
    let (roots, system, files) = roots(section, base, report);
    let mut lists = Vec::new();
    let mut read = Vec::new();
    let items = section
        .get("crls")
        .map(|node| node.texts(report))
        .unwrap_or_default();
    for (item, text) in items {
        let file = base.path(text);
        // One at a time, so that the complaint stands where the file is named.
        match RevocationLists::load(std::slice::from_ref(&file)) {
            Ok(list) => {
                for (file, day) in list.overdue(SystemTime::now()) {
                    let (message, suggestion) = split(&expiry::overdue(file, &day));
                    report
                        .warning(&item.place(), message)
                        .suggest(suggestion.unwrap_or_default());
                }
                read.push(file.clone());
            }
            Err(error) => {
                report.error(&item.place(), split(&error.to_string()).0);
            }
        }
        lists.push(file);
    }
    let revoked = RevocationLists::load(&read).unwrap_or_default();
    (
        roots.revoking(revoked),
        TrustFiles::new(system, files, lists),
    )
}

/// Loads the trust anchors; and whether those of the system are among them, and from which files the others came.
fn roots(
    section: &mut Section<'_>,
    base: &Base,
    report: &mut Report,
) -> (TrustRoots, bool, Vec<PathBuf>) {
    let Some(node) = section.get("trust") else {
        let roots = TrustRoots::load(true, &[]).unwrap_or_else(|error| {
            // Nobody asked for it by name, and dialback works without.
            let (message, suggestion) = split(&error.to_string());
            report
                .warning(section.place(), message)
                .suggest(suggestion.unwrap_or_else(|| TRUST_HINT.to_owned()));
            TrustRoots::default()
        });
        return (roots, true, Vec::new());
    };
    let items = node.texts(report);
    if items.is_empty() && !report.has_errors() {
        report
            .warning(
                &node.place(),
                "`trust` is empty: no certificate proves anybody, dialback alone does",
            )
            .suggest("`trust = [\"system\"]` believes whom this machine believes");
    }
    let mut system = false;
    let mut files = Vec::new();
    for (item, text) in items {
        let is_system = text == "system";
        let file: Vec<_> = (!is_system).then(|| base.path(text)).into_iter().collect();
        // One at a time, so that the complaint stands where the file is named.
        if let Err(error) = TrustRoots::load(is_system, &file) {
            let (message, suggestion) = split(&error.to_string());
            let problem = report.error(&item.place(), message);
            if let Some(suggestion) = suggestion {
                problem.suggest(suggestion);
            }
            continue;
        }
        system |= is_system;
        files.extend(file);
    }
    let roots = TrustRoots::load(system, &files).unwrap_or_default();
    (roots, system, files)
}

fn tell(
    problem: &CertificateProblem,
    domains: &[domains::Read],
    policy: TlsPolicy,
    report: &mut Report,
) {
    let Some(read) = domains
        .iter()
        .find(|read| read.domain.name == problem.domain)
    else {
        return;
    };
    let (message, suggestion) = split(&problem.to_string());
    let noted = if problem.kind == CertificateProblemKind::Missing {
        note(policy, &read.place, message, report)
    } else if problem.is_fatal() {
        report.error(&read.place, message)
    } else {
        report.warning(&read.place, message)
    };
    if let Some(suggestion) = suggestion {
        noted.suggest(suggestion);
    }
}

/// Without a certificate there is no TLS: an error, unless stanzas may flow without.
fn note<'r>(
    policy: TlsPolicy,
    at: &Place,
    message: String,
    report: &'r mut Report,
) -> &'r mut Problem {
    match policy {
        TlsPolicy::Required => report.error(at, message),
        TlsPolicy::Optional => report.warning(at, message),
    }
}

/// Our errors say what is wrong and, after a semicolon, what to do.
fn split(sentence: &str) -> (String, Option<String>) {
    let sentence = secrets::without_number(sentence);
    match sentence.rsplit_once("; ") {
        Some((message, suggestion)) => (printable(message), Some(printable(suggestion))),
        None => (printable(&sentence), None),
    }
}

/// Those that end soon; that one has ended is told already.
fn warn_of_ends(
    certificates: &Certificates,
    domains: &[domains::Read],
    now: SystemTime,
    report: &mut Report,
) {
    for read in domains {
        let Some(own) = certificates.get(&read.domain.name) else {
            continue;
        };
        match Stage::of(own, now) {
            Stage::Fine | Stage::Expired => {}
            Stage::Soon | Stage::VerySoon => {
                let (message, suggestion) = split(&expiry::ends(own, &read.domain.name, now));
                report
                    .warning(&read.place, message)
                    .suggest(suggestion.unwrap_or_default());
            }
        }
    }
}

/// Keys that everybody may read: of what is shown, and of what would be if it could be used; each told of once.
fn warn_of_open_keys(
    certificates: &Certificates,
    store: &CertificateStore,
    domains: &[domains::Read],
    report: &mut Report,
) {
    let mut seen = BTreeSet::new();
    for read in domains {
        let name = read.domain.name.ascii();
        let named = store.directories().iter().flat_map(|directory| {
            [
                directory.join(format!("{name}.pem")),
                directory.join(name).join("privkey.pem"),
            ]
        });
        let shown = certificates.get(&read.domain.name);
        let shown = shown.map(|own| own.key_file().to_owned());
        for file in named.chain(shown) {
            if seen.insert(file.clone()) {
                secrets::warn_if_world_readable(&file, "key", &read.place, report);
            }
        }
    }
}

const DIRECTORY: &str = "certs";
const TRUST_HINT: &str =
    "install the system's certificates (ca-certificates), or name PEM files in `[tls] trust`";
