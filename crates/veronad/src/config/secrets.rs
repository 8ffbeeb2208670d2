//! Secrets: read from the file or from a file of their own, never shown.
//!
//! A problem shows the line where it stands, and that line may hold a secret: it is masked first.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::Base;
use super::problem::{Place, Report};
use super::section::{Node, Section};

/// Reads `secret` or `secret_file` of a table. `None` when neither is set, or when what is set was reported.
pub(super) fn read(section: &mut Section<'_>, base: &Base, report: &mut Report) -> Option<String> {
    let inline = section.get("secret");
    let file = section.get("secret_file");
    match (inline, file) {
        (Some(inline), Some(_)) => {
            report
                .error(
                    &inline.key_place(),
                    "`secret` and `secret_file` are both set: which one counts cannot be known",
                )
                .suggest("keep `secret_file`, and remove `secret`");
            None
        }
        (Some(inline), None) => {
            let secret = inline.text(report)?;
            if secret.is_empty() {
                report
                    .error(&inline.place(), "`secret` is empty")
                    .suggest("`openssl rand -hex 32` makes a good one");
                return None;
            }
            Some(secret.to_owned())
        }
        (None, Some(file)) => from_file(&file, base, report),
        (None, None) => None,
    }
}

/// Reads the secret in the file that `node` names; its trailing newline does not belong to it.
pub(super) fn from_file(node: &Node<'_>, base: &Base, report: &mut Report) -> Option<String> {
    let path = base.path(node.text(report)?);
    let place = node.place();
    let mut bytes = Vec::new();
    let read =
        File::open(&path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let problem = report.error(
            &place,
            format!("cannot read `{}`: {}", path.display(), cause(&error)),
        );
        if error.kind() == ErrorKind::NotFound {
            problem.suggest(format!(
                "make it with `openssl rand -hex 32 > {}`",
                path.display()
            ));
        }
        return None;
    }
    warn_if_world_readable(&path, "secret", &place, report);
    if u64::try_from(bytes.len()).is_ok_and(|length| length > SECRET_BYTES_MAX) {
        report.error(
            &place,
            format!(
                "`{}` has more than {SECRET_BYTES_MAX} bytes: it is no secret",
                path.display()
            ),
        );
        return None;
    }
    let Ok(text) = String::from_utf8(bytes) else {
        report.error(&place, format!("`{}` is not UTF-8 text", path.display()));
        return None;
    };
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        report
            .error(&place, format!("`{}` is empty", path.display()))
            .suggest(format!(
                "fill it with `openssl rand -hex 32 > {}`",
                path.display()
            ));
        return None;
    }
    Some(secret.to_owned())
}

/// Warns when everybody on the machine may read the file.
pub(super) fn warn_if_world_readable(path: &Path, what: &str, place: &Place, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    if metadata.permissions().mode() & 0o004 != 0 {
        report
            .warning(
                place,
                format!(
                    "everybody on this machine may read the {what} in `{}`",
                    path.display()
                ),
            )
            .suggest(format!("chmod o= {}", path.display()));
    }
}

/// The cause of an I/O error without the number that the standard library adds.
pub(crate) fn cause(error: &std::io::Error) -> String {
    without_number(&error.to_string())
}

/// The text without ` (os error N)`.
pub(super) fn without_number(text: &str) -> String {
    let Some((before, after)) = text.split_once(" (os error ") else {
        return text.to_owned();
    };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}{}", rest.strip_prefix(')').unwrap_or(rest))
}

/// The line with the value of every `secret` key replaced, character by character.
pub(super) fn masked(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(found) = rest.find(KEY) {
        let (before, after) = rest.split_at(found + KEY.len());
        shown.push_str(before);
        rest = after;
        let value = value_of(after);
        if let Some((start, end)) = value {
            shown.push_str(after.get(..start).unwrap_or(""));
            shown.extend(after.get(start..end).unwrap_or("").chars().map(|_| '*'));
            rest = after.get(end..).unwrap_or("");
        }
    }
    shown.push_str(rest);
    shown
}

/// The bytes between the quotes of `= "…"`; what is not closed goes on to the end of the line.
fn value_of(after: &str) -> Option<(usize, usize)> {
    // The key may be quoted itself.
    let bare = after.trim_start_matches(['"', '\'']).trim_start();
    let value = bare.strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let opened = value.get(1..)?;
    let twice = [quote, quote].iter().collect::<String>();
    // Three quotes open a text of several lines.
    let body = opened.strip_prefix(twice.as_str()).unwrap_or(opened);
    let start = after.len() - body.len();
    let mut escaped = false;
    for (index, c) in body.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some((start, start + index));
        }
    }
    Some((start, after.len()))
}

const KEY: &str = "secret";

/// Longer than any secret that a person or a program makes.
const SECRET_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn no_line_shows_a_secret() {
        for (line, shown) in [
            (r#"secret = "hunter2""#, r#"secret = "*******""#),
            (
                r#"component={secret='a"b', conflict="x"}"#,
                r#"component={secret='***', conflict="x"}"#,
            ),
            (
                r#"component.secret = "a\"b" # c"#,
                r#"component.secret = "****" # c"#,
            ),
            (r#""secret" = "open"#, r#""secret" = "****"#),
            (r#"secret = """long"#, r#"secret = """****"#),
            (r#"secret = "", b = "c""#, r#"secret = "", b = "c""#),
            ("secret = \"", "secret = \""),
            (
                r#"secret_file = "rooms.secret""#,
                r#"secret_file = "rooms.secret""#,
            ),
            (r#"secret = 5"#, r#"secret = 5"#),
            ("secret", "secret"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }
}
