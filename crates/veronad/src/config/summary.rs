//! The last line of `check-config`, and its JSON document.
//!
//! A file without mistakes deserves an answer as well: what would run.

use std::fmt::Write as _;

use serde::Serialize;

use super::Settings;
use super::problem::{Problem, Report};
use crate::output::printable;

/// One line: what would run, or how much is wrong.
pub(crate) fn summary(settings: Option<&Settings>, report: &Report) -> String {
    let (errors, warnings) = report.count();
    let file = report.file();
    let Some(settings) = settings else {
        let mut line = format!("{file}: {}", counted(errors, "error"));
        if warnings > 0 {
            let _ = write!(line, ", {}", counted(warnings, "warning"));
        }
        return line + "\n";
    };
    let engine = &settings.engine;
    let with_component = engine
        .domains
        .iter()
        .filter(|domain| domain.component.is_some())
        .count();
    let mut line = format!(
        "{file} is fine: {}",
        counted(engine.domains.len(), "domain")
    );
    if with_component > 0 {
        let _ = write!(line, " ({with_component} with a component)");
    }
    let mut servers: Vec<String> = engine.s2s.listen.iter().map(ToString::to_string).collect();
    servers.extend(
        engine
            .s2s
            .listen_tls
            .iter()
            .map(|address| format!("{address} (direct TLS)")),
    );
    if servers.is_empty() {
        line.push_str(", no listener for servers");
    } else {
        let _ = write!(line, ", servers on {}", servers.join(" and "));
    }
    if !engine.components.is_empty() {
        let addresses: Vec<String> = engine.components.iter().map(ToString::to_string).collect();
        let _ = write!(line, ", components on {}", addresses.join(" and "));
    }
    if let Some(journal) = &engine.journal
        && !journal.domains.is_empty()
    {
        let _ = write!(
            line,
            ", messages of {} kept in {}",
            counted(journal.domains.len(), "domain"),
            printable(&journal.file.display().to_string())
        );
    }
    let _ = write!(line, ", API on {}", settings.admin.listen);
    if warnings > 0 {
        let _ = write!(line, "; {}", counted(warnings, "warning"));
    }
    line + "\n"
}

/// `{"version": 1, "problems": […]}`
pub(crate) fn to_json(report: &Report) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        version: u32,
        problems: &'a [Problem],
    }
    crate::json::document(&Document {
        version: crate::json::VERSION,
        problems: report.problems(),
    })
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
