//! The works: what is measured, each by itself.
//! Why they share so little: each is to be read alone by whoever doubts its figure.

pub(crate) mod bare;
pub(crate) mod cold;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod relay;
pub(crate) mod setup;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::system;
use crate::world::Kind;

/// What every work is told.
pub(crate) struct Terms {
    pub(crate) verona: PathBuf,
    /// A folder for everything that is generated.
    pub(crate) dir: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) is_quick: bool,
    /// Only cases whose name has this in it.
    pub(crate) case: String,
    /// The servers that take part.
    pub(crate) kinds: Vec<Kind>,
}

impl Terms {
    /// Those of the chosen servers that a work is for, all of which have to be there.
    pub(crate) fn kinds(&self, wanted: impl Fn(Kind) -> bool) -> Result<Vec<Kind>> {
        let kinds: Vec<Kind> = self
            .kinds
            .iter()
            .copied()
            .filter(|kind| wanted(*kind))
            .collect();
        let missing: Vec<String> = kinds
            .iter()
            .filter_map(|kind| kind.missing(&self.verona))
            .collect();
        ensure!(missing.is_empty(), "{}", missing.join("; "));
        Ok(kinds)
    }

    /// A work with its circumstances, and no figures yet.
    pub(crate) fn begin(&self) -> crate::results::Work {
        let date = time::OffsetDateTime::now_utc();
        crate::results::Work {
            date: format!(
                "{}-{:02}-{:02} {:02}:{:02}",
                date.year(),
                u8::from(date.month()),
                date.day(),
                date.hour(),
                date.minute()
            ),
            machine: system::machine(),
            versions: self
                .kinds
                .iter()
                .map(|kind| (kind.name().to_owned(), kind.version(&self.verona)))
                .collect(),
            load_before: system::load_average(),
            is_quick: self.is_quick,
            rows: Vec::new(),
            diagrams: Vec::new(),
        }
    }
}
