//! Sets up the log: one line per event on stderr, for people or for programs.
//!
//! `RUST_LOG` overrides the level of the file, for one look without an edit.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogConfig, LogFormat};
use crate::output;

/// Begins to log. A second call changes nothing.
pub(crate) fn start(config: LogConfig) {
    let level = config.level;
    let filter = EnvFilter::try_from_default_env()
        // The libraries below have much to say that no operator needs. That of DNS warns of each forged answer, with all
        // that is in it, so whoever forges could fill the log.
        .unwrap_or_else(|_| {
            EnvFilter::new(format!(
                "warn,hickory_net=off,hickory_proto=off,hickory_resolver=off,verona={level},verona_proto={level}"
            ))
        });
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(output::stderr_colours()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
