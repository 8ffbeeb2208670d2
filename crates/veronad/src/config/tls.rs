//! `[tls]`: our certificates, and whose certificates we believe.
//!
//! Both are loaded here, so that a key that does not match is found before anything is bound.

use std::path::Path;

use verona::tls::{CertificateProblem, CertificateProblemKind, Certificates, TrustRoots};
use verona_proto::addr::Domain;
use verona_proto::policy::TlsPolicy;

use super::problem::{Place, Problem, Report};
use super::section::Section;
use super::{Base, domains, secrets};
use crate::output::printable;

/// Loads the certificates of all `domains`. What is wrong with one is told at the domain that it is for.
pub(super) fn certificates(
    section: &mut Section<'_>,
    domains: &[domains::Read],
    policy: TlsPolicy,
    base: &Base,
    report: &mut Report,
) -> Certificates {
    let (named, place) = match section.get("certificates") {
        Some(node) => match node.text(report) {
            Some(text) => (text, node.place()),
            None => return Certificates::default(),
        },
        None => (DIRECTORY, section.place().clone()),
    };
    if domains.is_empty() {
        return Certificates::default();
    }
    let directory = base.path(named);
    // Else every domain would be told that its own certificate is missing.
    if let Err(error) = std::fs::read_dir(&directory) {
        let shown = directory.display();
        report
            .error(&place, format!("the certificates in `{shown}` cannot be read: {}", secrets::cause(&error)))
            .suggest("`[tls] certificates` is a directory with DOMAIN.pem (chain and key) for each domain");
        return Certificates::default();
    }
    let names: Vec<Domain> = domains
        .iter()
        .map(|read| read.domain.name.clone())
        .collect();
    let (certificates, problems) = Certificates::from_directory(&directory, &names);
    for problem in &problems {
        tell(problem, domains, policy, report);
    }
    warn_of_open_keys(&directory, domains, report);
    certificates
}

/// Loads the trust anchors.
pub(super) fn trust(section: &mut Section<'_>, base: &Base, report: &mut Report) -> TrustRoots {
    let Some(node) = section.get("trust") else {
        return TrustRoots::load(true, &[]).unwrap_or_else(|error| {
            // Nobody asked for it by name, and dialback works without.
            let (message, suggestion) = split(&error.to_string());
            report
                .warning(section.place(), message)
                .suggest(suggestion.unwrap_or_else(|| TRUST_HINT.to_owned()));
            TrustRoots::default()
        });
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
    TrustRoots::load(system, &files).unwrap_or_default()
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

fn warn_of_open_keys(directory: &Path, domains: &[domains::Read], report: &mut Report) {
    for read in domains {
        let name = read.domain.name.ascii();
        for file in [
            directory.join(format!("{name}.pem")),
            directory.join(name).join("privkey.pem"),
        ] {
            secrets::warn_if_world_readable(&file, "key", &read.place, report);
        }
    }
}

const DIRECTORY: &str = "certs";
const TRUST_HINT: &str =
    "install the system's certificates (ca-certificates), or name PEM files in `[tls] trust`";
