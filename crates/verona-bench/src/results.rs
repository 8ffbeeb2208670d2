//! What was measured, as a file: each work replaces its own part, and the page is made of all parts.
//! Why every single figure is kept: a median without its spread says nothing of the noise.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Everything.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Results {
    /// By the name of the work.
    pub(crate) works: BTreeMap<String, Work>,
}

/// One work, as it was done last.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Work {
    /// When, in UTC.
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) versions: BTreeMap<String, String>,
    /// Processes that wanted a processor in the minute before, ours not among them.
    pub(crate) load_before: f64,
    pub(crate) is_quick: bool,
    pub(crate) rows: Vec<Row>,
    /// What is better shown than counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) diagrams: Vec<Diagram>,
}

/// What went over a wire in one case.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Diagram {
    pub(crate) case: String,
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// One thing that was measured, as often as it was.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Row {
    /// What, such as `in-200-1`.
    pub(crate) case: String,
    /// With which server.
    pub(crate) kind: String,
    /// The figures by their name, in the order in which they were taken.
    pub(crate) figures: BTreeMap<String, Vec<f64>>,
}

impl Results {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is no file of results", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

impl Work {
    /// Adds a figure to its row.
    pub(crate) fn note(&mut self, case: &str, kind: &str, name: &str, figure: f64) {
        let position = self
            .rows
            .iter()
            .position(|row| row.case == case && row.kind == kind);
        let row = match position {
            Some(position) => self.rows.get_mut(position),
            None => {
                self.rows.push(Row {
                    case: case.to_owned(),
                    kind: kind.to_owned(),
                    figures: BTreeMap::new(),
                });
                self.rows.last_mut()
            }
        };
        if let Some(row) = row {
            row.figures.entry(name.to_owned()).or_default().push(figure);
        }
    }

    /// Keeps a diagram in the place of an earlier one.
    pub(crate) fn show(&mut self, case: &str, kind: &str, text: String) {
        let is_other = |one: &Diagram| one.case != case || one.kind != kind;
        self.diagrams.retain(is_other);
        self.diagrams.push(Diagram {
            case: case.to_owned(),
            kind: kind.to_owned(),
            text,
        });
    }

    /// The diagram of a case, if it has one.
    pub(crate) fn diagram(&self, case: &str, kind: &str) -> Option<&str> {
        let is_it = |one: &&Diagram| one.case == case && one.kind == kind;
        self.diagrams
            .iter()
            .find(is_it)
            .map(|one| one.text.as_str())
    }

    /// The median of what was measured, if it was.
    pub(crate) fn median(&self, case: &str, kind: &str, name: &str) -> Option<f64> {
        median(self.all(case, kind, name)?)
    }

    /// How far the half of the figures in the middle spreads, as a part of the median.
    pub(crate) fn spread(&self, case: &str, kind: &str, name: &str) -> Option<f64> {
        let all = self.all(case, kind, name)?;
        let middle = median(all)?;
        let sorted = sorted(all);
        let low = sorted.get(sorted.len() / 4)?;
        let high = sorted.get(sorted.len() - 1 - sorted.len() / 4)?;
        Some((high - low) / middle)
    }

    fn all(&self, case: &str, kind: &str, name: &str) -> Option<&[f64]> {
        let row = self
            .rows
            .iter()
            .find(|row| row.case == case && row.kind == kind)?;
        row.figures.get(name).map(Vec::as_slice)
    }
}

fn median(all: &[f64]) -> Option<f64> {
    let sorted = sorted(all);
    let upper = *sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        1 => Some(upper),
        _ => sorted
            .get(sorted.len() / 2 - 1)
            .map(|lower| f64::midpoint(*lower, upper)),
    }
}

fn sorted(all: &[f64]) -> Vec<f64> {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn figures_of_one_row_come_together() {
        let mut work = Work::default();
        for figure in [1.0, 5.0, 3.0] {
            work.note("in", "verona", "cpu", figure);
            work.note("in", "prosody", "cpu", figure * 10.0);
        }
        assert_eq!(work.rows.len(), 2);
        assert_eq!(work.median("in", "verona", "cpu"), Some(3.0));
        assert_eq!(work.median("in", "prosody", "cpu"), Some(30.0));
        assert_eq!(work.median("out", "verona", "cpu"), None);
        assert_eq!(work.spread("in", "verona", "cpu"), Some(4.0 / 3.0));
    }
}
