//! Reads the configuration file (contract §3) and collects every mistake in it, each with its place.
//!
//! Nothing is bound before the whole file is known to be right: half a start is worse than none.

mod address;
mod daemon;
mod domains;
mod listeners;
mod policy;
mod problem;
mod s2s;
mod secrets;
mod section;
mod suggest;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod tls;
mod unavailable;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use verona::config::Config;
use verona::tls::{CertificateStore, TrustFiles};

pub(crate) use daemon::{AdminConfig, LogConfig, LogFormat};
pub(crate) use problem::{Report, Severity};
pub(crate) use secrets::cause;
pub(crate) use summary::{summary, to_json};
pub(crate) use template::TEMPLATE;

use listeners::Listeners;
use problem::Place;
use section::Section;

/// What the file says, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    /// For the engine.
    pub(crate) engine: Config,
    /// Where the engine's certificates come from.
    pub(crate) store: CertificateStore,
    /// Where its trust comes from.
    pub(crate) trust: TrustFiles,
    /// Where the daemon is asked how it is; `None` when nobody may.
    pub(crate) admin: AdminConfig,
    /// How the daemon speaks.
    pub(crate) log: LogConfig,
    /// The directory of what outlives the process.
    pub(crate) state: PathBuf,
    /// `[dialback] strict_issued_keys`.
    pub(crate) strict_issued_keys: bool,
}

/// The outcome of reading a file: settings unless there are errors, and all the problems.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Option<Settings>,
    pub(crate) report: Report,
}

/// Reads and checks the file, and the files that it names.
pub(crate) fn load(path: &Path) -> Loaded {
    match read(path) {
        Ok(source) => parse(&source, path),
        Err(report) => Loaded {
            settings: None,
            report,
        },
    }
}

/// Reads only where the daemon can be asked: a user may know that without being allowed to read the secrets.
pub(crate) fn load_admin(path: &Path) -> Result<AdminConfig, Report> {
    load_admin_with(path, daemon::admin_listen)
}

/// Reads where the daemon can be asked, and the token with which it can be told.
pub(crate) fn load_admin_and_token(path: &Path) -> Result<AdminConfig, Report> {
    load_admin_with(path, daemon::admin)
}

fn load_admin_with(
    path: &Path,
    read_section: impl Fn(&mut Section<'_>, &Base, &mut Listeners, &mut Report) -> AdminConfig,
) -> Result<AdminConfig, Report> {
    let source = read(path)?;
    let mut report = Report::new(&path.display().to_string(), &source);
    let (root, errors) = DeTable::parse_recoverable(&source);
    syntax(&errors, &mut report);
    let base = Base::of(path);
    let mut root = Section::root(&root);
    let mut admin = root.section("admin", &mut report);
    let admin = read_section(&mut admin, &base, &mut Listeners::default(), &mut report);
    if report.has_errors() {
        Err(report)
    } else {
        Ok(admin)
    }
}

/// Checks the text of the file at `path`.
pub(crate) fn parse(source: &str, path: &Path) -> Loaded {
    let mut report = Report::new(&path.display().to_string(), source);
    let (root, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        // What the parser recovered is not what the operator meant: further complaints would mislead.
        syntax(&errors, &mut report);
        report.sort();
        return Loaded {
            settings: None,
            report,
        };
    }
    let settings = settings(Section::root(&root), &Base::of(path), &mut report);
    report.sort();
    Loaded {
        settings: (!report.has_errors()).then_some(settings),
        report,
    }
}

fn settings(mut root: Section<'_>, base: &Base, report: &mut Report) -> Settings {
    let mut listeners = Listeners::default();
    let mut section = root.section("s2s", report);
    let s2s = s2s::read(&mut section, &mut listeners, report);
    section.finish(report);

    if !root.has("domain") {
        domains::none(report);
    }
    let domains = domains::read(root.sections("domain", report), base, report);

    let mut section = root.section("dns", report);
    let (dns_servers, dnssec) = daemon::dns(&mut section, base, report);
    section.finish(report);

    let mut section = root.section("defaults", report);
    let defaults = policy::defaults(&mut section, &dnssec, report);
    section.finish(report);
    let peers = root.sections("peer", report);
    let (policy, addresses) = policy::peers(peers, defaults, &dnssec, report);

    let mut section = root.section("tls", report);
    let (certificates, store) =
        tls::certificates(&mut section, &domains, policy.defaults.tls, base, report);
    let (trust, trust_files) = tls::trust(&mut section, base, report);
    section.finish(report);

    let mut section = root.section("dialback", report);
    let dialback = daemon::dialback(&mut section, base, report);
    section.finish(report);

    let mut section = root.section("components", report);
    let has_component = domains.iter().any(|read| read.domain.component.is_some());
    let components = daemon::components(&mut section, has_component, base, &mut listeners, report);
    let component_proxies = daemon::component_proxies(&mut section, &components, report);
    section.finish(report);

    let mut section = root.section("admin", report);
    let admin = daemon::admin(&mut section, base, &mut listeners, report);
    section.finish(report);

    let mut section = root.section("state", report);
    let state = daemon::state(&mut section, base, report);
    section.finish(report);

    let mut section = root.section("journal", report);
    let kept = domains.iter().filter(|read| read.journal);
    let kept = kept.map(|read| read.domain.name.clone()).collect();
    let journal = daemon::journal(&mut section, kept, &state, base, report);
    section.finish(report);

    let mut section = root.section("log", report);
    let log = daemon::log(&mut section, report);
    section.finish(report);

    if let Some(node) = root.get("cluster") {
        unavailable::report(
            &node,
            "clustering",
            "remove `[cluster]`: one machine serves",
            report,
        );
    }
    root.finish(report);

    Settings {
        engine: Config {
            domains: domains.into_iter().map(|read| read.domain).collect(),
            s2s,
            certificates,
            trust,
            dns_servers,
            dnssec,
            dialback_secret: dialback.secret,
            dialback_previous_secret: dialback.previous_secret,
            issued_keys: dialback.issued_keys,
            learned: Vec::new(),
            components,
            component_proxies,
            policy,
            addresses,
            journal,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            trace: None,
            simulated: None,
        },
        store,
        trust: trust_files,
        admin,
        log,
        state,
        strict_issued_keys: dialback.strict,
    }
}

/// The directory of the file: what relative paths are relative to.
#[derive(Clone, Debug)]
pub(crate) struct Base(PathBuf);

impl Base {
    fn of(file: &Path) -> Self {
        Self(file.parent().map(Path::to_path_buf).unwrap_or_default())
    }

    fn path(&self, text: &str) -> PathBuf {
        self.0.join(text)
    }
}

/// The text of the file, or a report with the only problem that matters.
fn read(path: &Path) -> Result<String, Report> {
    let shown = path.display().to_string();
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    let mut report = Report::new(&shown, "");
    if let Err(error) = read {
        let problem = report.error_of_file(format!(
            "cannot read the configuration: {}",
            secrets::cause(&error)
        ));
        if error.kind() == std::io::ErrorKind::NotFound {
            problem.suggest(format!(
                "begin with `verona gen-config > {shown}`, or name another file with `-c FILE`"
            ));
        }
        return Err(report);
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        report.error_of_file(format!(
            "the configuration has more than {FILE_BYTES_MAX} bytes"
        ));
        return Err(report);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let mut report = Report::new(&shown, &text);
        let place = Place {
            key: String::new(),
            span: Some(valid..valid + 1),
        };
        report
            .error(&place, "the file is not UTF-8 text")
            .suggest("save it as UTF-8");
        report
    })
}

fn syntax(errors: &[toml::de::Error], report: &mut Report) {
    for error in errors {
        let place = Place {
            key: String::new(),
            span: error.span(),
        };
        report.error(
            &place,
            format!(
                "not valid TOML: {}",
                crate::output::printable(error.message())
            ),
        );
    }
}

/// More than thousands of peers need.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
