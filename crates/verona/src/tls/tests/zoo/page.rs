//! `docs/certificates.md`: an introduction that people write, and the tables of a run.

use std::path::Path;

use verona_proto::stream::Role;

use super::Accepts;
use super::specimen::{Expected, MONTAGUE, Specimen};
use super::verdict::Verdict;

/// One certificate's row.
pub(super) struct Row {
    what: String,
    cells: [String; 4],
    reason: String,
}

impl Row {
    pub(super) fn new(specimen: &Specimen) -> Self {
        let by = match specimen.domain {
            MONTAGUE => String::new(),
            other => format!(", shown by `{other}`"),
        };
        let reason = match &specimen.expected {
            Expected::Proves => "",
            Expected::Not(sentence) => sentence
                .strip_prefix("the peer's certificate ")
                .unwrap_or(sentence),
            Expected::NoTls(reason) => reason,
        };
        Self {
            what: format!("{}{by}", specimen.what),
            cells: std::array::from_fn(|_| "–".to_owned()),
            reason: plain(reason),
        }
    }

    /// Notes what came of it. Under `["dialback"]` all are alike, which has no column.
    pub(super) fn cell(&mut self, accepts: Accepts, role: Role, verdict: &Verdict) {
        let column = match (role, accepts) {
            (_, Accepts::DialbackOnly) => return,
            (Role::Receiving, Accepts::Default) => 0,
            (Role::Receiving, Accepts::CertificateOnly) => 1,
            (Role::Initiating, Accepts::Default) => 2,
            (Role::Initiating, Accepts::CertificateOnly) => 3,
        };
        self.cells[column] = verdict.word();
    }

    fn line(&self) -> String {
        format!(
            "| {} | {} | {} |\n",
            self.what,
            self.cells.join(" | "),
            self.reason
        )
    }
}

/// A heading, a sentence, a table.
pub(super) struct Table(String);

impl Table {
    pub(super) fn of_family(title: &str, about: &str, rows: Vec<Row>) -> Self {
        let mut text = format!(
            "## {title}\n\n{}\n| certificate | connects | connects, strict | dialled | dialled, strict | why not |\n\
             |---|---|---|---|---|---|\n",
            wrapped(about)
        );
        rows.iter().for_each(|row| text.push_str(&row.line()));
        Self(text)
    }

    /// A table of what is written in it.
    pub(super) fn of_cells(
        title: &str,
        about: &str,
        columns: &[&str],
        rows: &[Vec<String>],
    ) -> Self {
        let mut text = format!("## {title}\n\n{}\n", wrapped(about));
        let lines = [
            columns.iter().map(ToString::to_string).collect(),
            vec!["---".to_owned(); columns.len()],
        ];
        for line in lines.iter().chain(rows) {
            text.push_str(&format!("| {} |\n", line.join(" | ")));
        }
        Self(text)
    }
}

/// Compares the tables with the page, or writes them into it with `UPDATE=1`.
pub(super) fn compare(tables: &[Table]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/certificates.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (introduction, committed) = page.split_once(MARK).expect("the page has no mark");
    let texts: Vec<&str> = tables.iter().map(|table| table.0.as_str()).collect();
    let written = format!("\n\n{}", texts.join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, format!("{introduction}{MARK}{written}")).unwrap();
        return;
    }
    let differs = committed
        .lines()
        .zip(written.lines())
        .find(|(committed, written)| committed != written);
    assert!(
        committed == written,
        "docs/certificates.md is not what the run saw (UPDATE=1 writes it anew): {differs:?}"
    );
}

/// Text that means nothing to Markdown.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        if matches!(character, '*' | '_' | '|' | '<' | '\\') {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

/// Lines as long as those of the other pages.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > LINE_CHARS_MAX {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += word_length;
    }
    lines.push('\n');
    lines
}

const LINE_CHARS_MAX: usize = 125;
/// Behind it everything is the run's.
const MARK: &str = "<!-- From here on a run writes: UPDATE=1 cargo test -p verona zoo -->";
