//! Sets up the log: one line per event on stderr, for people or for programs.
//!
//! `RUST_LOG` overrides the level of the file, for one look without an edit.

use std::fmt;

use tracing_subscriber::fmt as subscriber;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{LogConfig, LogFormat};
use crate::output;

/// Begins to log. A second call changes nothing.
pub(crate) fn start(config: LogConfig) -> Level {
    let builder = subscriber().with_writer(std::io::stderr).with_target(false);
    match config.format {
        LogFormat::Text => {
            let builder = builder
                .with_ansi(output::stderr_colours())
                .with_env_filter(filter(config.level))
                .with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Level::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let builder = builder
                .json()
                .flatten_event(true)
                .with_env_filter(filter(config.level))
                .with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Level::new(move |filter| handle.reload(filter))
        }
    }
}

/// How much is logged, while the daemon runs.
pub(crate) struct Level(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl Level {
    fn new(set: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static) -> Self {
        Self(Box::new(set))
    }

    /// Logs by the level of the file from now on.
    pub(crate) fn set(&self, level: &str) {
        if let Err(error) = (self.0)(filter(level)) {
            tracing::warn!(%error, "the level of the log could not be changed");
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Level(..)")
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_from_default_env()
        // The libraries below have much to say that no operator needs. That of DNS warns of each forged answer, with all
        // that is in it, so whoever forges could fill the log.
        .unwrap_or_else(|_| {
            EnvFilter::new(format!(
                "warn,hickory_net=off,hickory_proto=off,hickory_resolver=off,verona={level},verona_proto={level}"
            ))
        })
}
