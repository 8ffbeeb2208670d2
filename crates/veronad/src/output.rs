//! Writes results to stdout and complaints to stderr.
//!
//! `println!` ends the process in panic when the reader has gone, as in `verona links | head -1`; this does not.

use std::io::{IsTerminal as _, Write as _};

/// Writes to stdout. Whoever stopped reading has read enough.
pub(crate) fn result(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Writes to stderr.
pub(crate) fn complaint(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether what goes to stdout may have colours.
pub(crate) fn stdout_colours() -> bool {
    std::io::stdout().is_terminal() && colours_wanted()
}

/// Whether what goes to stderr may have colours.
pub(crate) fn stderr_colours() -> bool {
    std::io::stderr().is_terminal() && colours_wanted()
}

/// The convention of `NO_COLOR`: any value but the empty one.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text of somebody else as it may stand in a message: no control characters, not endless.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(PRINTABLE_CHARS_MAX)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(PRINTABLE_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The longest domain name has 253 characters; nothing else in a file is that long.
const PRINTABLE_CHARS_MAX: usize = 256;
