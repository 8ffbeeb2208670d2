//! Takes the configuration file over while the daemon runs: read and checked as at the start, and then as a whole or not
//! at all.
//!
//! Certificates, trust and revocation lists stay with `renewal.rs`, which judges each file by itself and does so at every
//! reload, even when the rest of the configuration is refused.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use verona::Handle;
use verona::config::ListenAddress;
use verona_proto::addr::Domain;

use crate::admin::CurrentToken;
use crate::config::{self, Loaded, LogFormat, Report, Settings};
use crate::json::{Reloaded, VERSION};
use crate::log::Level;
use crate::renewal::{Files, Renewal};

/// What a reload needs.
#[derive(Debug)]
pub(crate) struct Reloading {
    file: PathBuf,
    handle: Handle,
    renewal: Renewal,
    token: CurrentToken,
    level: Level,
    fixed: Fixed,
    count: Count,
}

/// What counts only at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    admin: ListenAddress,
    state: PathBuf,
    format: LogFormat,
    strict_issued_keys: bool,
    /// The file of the journal, and the domains whose messages it keeps.
    journal: Option<(PathBuf, BTreeSet<Domain>)>,
}

impl Fixed {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            admin: settings.admin.listen.clone(),
            state: settings.state.clone(),
            format: settings.log.format,
            strict_issued_keys: settings.strict_issued_keys,
            journal: settings.engine.journal.as_ref().map(|journal| {
                let domains = journal.domains.iter().cloned().collect();
                (journal.file.clone(), domains)
            }),
        }
    }

    /// The keys by which another configuration differs.
    fn differences(&self, other: &Self) -> Vec<String> {
        [
            ("admin.listen", self.admin == other.admin),
            ("state.directory", self.state == other.state),
            ("log.format", self.format == other.format),
            (
                "dialback.strict_issued_keys",
                self.strict_issued_keys == other.strict_issued_keys,
            ),
        ]
        .into_iter()
        .chain([("journal", self.journal == other.journal)])
        .filter(|(_, is_same)| !is_same)
        .map(|(key, _)| key.to_owned())
        .collect()
    }
}

/// What became of reloads so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    taken: u64,
    refused: u64,
    was_last_refused: bool,
}

impl Count {
    /// How many were taken, how many refused, and whether the last one was taken.
    pub(crate) fn read(&self) -> (u64, u64, bool) {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (counted.taken, counted.refused, !counted.was_last_refused)
    }

    fn note(&self, is_taken: bool) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.taken += u64::from(is_taken);
        counted.refused += u64::from(!is_taken);
        counted.was_last_refused = !is_taken;
    }
}

impl Reloading {
    pub(crate) fn new(
        file: PathBuf,
        handle: Handle,
        renewal: Renewal,
        token: CurrentToken,
        level: Level,
        fixed: Fixed,
    ) -> Self {
        Self {
            file,
            handle,
            renewal,
            token,
            level,
            fixed,
            count: Count::default(),
        }
    }

    /// What became of reloads.
    pub(crate) fn count(&self) -> Count {
        self.count.clone()
    }

    /// Reads the file and takes it over; says what changed. The log says it, too.
    ///
    /// # Errors
    /// Why nothing changed, for whoever asked.
    pub(crate) async fn reload(&mut self) -> Result<Reloaded, String> {
        let outcome = self.attempt().await;
        self.count.note(outcome.is_ok());
        match &outcome {
            Ok(reloaded) => {
                tracing::info!("the configuration was reloaded: {}", reloaded.changed);
                if !reloaded.restart.is_empty() {
                    let keys = reloaded.restart.join(", ");
                    tracing::warn!(keys, "what changed there counts only after a restart");
                }
            }
            Err(_) => {
                tracing::error!(
                    "the configuration was not reloaded: the one before stays in force"
                );
                // Certificates that are whole are not to wait for whoever mends the rest.
                self.renewal.ask().await;
            }
        }
        outcome
    }

    /// Ends what looks for certificates.
    pub(crate) fn end(self) {
        self.renewal.end();
    }

    async fn attempt(&mut self) -> Result<Reloaded, String> {
        let file = self.file.clone();
        // Files may lie far away, and a key takes a while to read.
        let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await;
        let Loaded { settings, report } =
            loaded.map_err(|error| format!("the configuration could not be read: {error}"))?;
        crate::run::tell(&report);
        let Some(settings) = settings else {
            return Err(refused(&report));
        };
        let fixed = Fixed::of(&settings);
        let Settings {
            engine: mut config,
            store,
            trust,
            admin,
            log,
            state: _,
            strict_issued_keys: _,
        } = settings;
        let domains: Vec<Domain> = config
            .domains
            .iter()
            .map(|domain| domain.name.clone())
            .collect();
        // Two who replace certificates must not do so at once.
        self.renewal.rest().await;
        config.certificates = config
            .certificates
            .keeping(&self.handle.certificates(), &domains);
        config.trust = self.handle.trust();
        let changed = match self.handle.reload(config).await {
            Ok(changed) => changed,
            Err(error) => {
                tracing::error!("{error}");
                return Err(format!(
                    "the configuration was not reloaded, and the one before stays in force: {error}"
                ));
            }
        };
        self.renewal
            .adopt(Files {
                domains,
                store,
                trust,
            })
            .await;
        self.token.replace(admin.token);
        self.level.set(log.level);
        Ok(Reloaded {
            version: VERSION,
            changed: changed.to_string(),
            warnings: report.problems().iter().map(ToString::to_string).collect(),
            restart: self.fixed.differences(&fixed),
        })
    }
}

fn refused(report: &Report) -> String {
    format!(
        "the configuration was not reloaded, and the one before stays in force\n\n{}{}",
        report.render(false),
        config::summary(None, report).trim_end()
    )
}
