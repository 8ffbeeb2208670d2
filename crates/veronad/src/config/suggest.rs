//! What was probably meant: the nearest known word, or the table where a key belongs.
//!
//! Most mistakes in a configuration are a slip of a finger or the wrong table; both can be told.

use verona_proto::limits::Limits;

/// A suggestion for the unknown `key` of the table `section`, whose known keys are `known`.
pub(super) fn key(section: &str, key: &str, known: &[&'static str]) -> Option<String> {
    let home = HOMES
        .iter()
        .filter(|(_, keys)| keys.contains(&key))
        .map(|(table, _)| format!("`{table}`"))
        .collect::<Vec<_>>();
    if let Some((last, rest)) = home.split_last() {
        let tables = if rest.is_empty() {
            last.clone()
        } else {
            format!("{} or {last}", rest.join(", "))
        };
        return Some(format!("`{key}` belongs in {tables}"));
    }
    if Limits::names().contains(&key) {
        return Some(format!(
            "`{key}` belongs in `limits = {{ … }}` of `[defaults]` or `[[peer]]`"
        ));
    }
    if let Some(word) = nearest(key, known) {
        return Some(format!("did you mean `{word}`?"));
    }
    if known.is_empty() || known.len() > 16 {
        return None;
    }
    let place = if section.is_empty() {
        "the file"
    } else {
        "this table"
    };
    Some(format!("{place} knows {}", quoted(known)))
}

/// The word of `words` that is near enough to `text` to have been meant.
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    // The distance is quadratic in the length; nobody mistypes that much.
    if text.len() > 64 {
        return None;
    }
    let lower = text.to_lowercase().replace('-', "_");
    words
        .iter()
        .map(|word| {
            (
                strsim::damerau_levenshtein(&lower, &word.replace('-', "_")),
                *word,
            )
        })
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Where each key of the contract stands, for those who put it into another table.
const HOMES: &[(&str, &[&str])] = &[
    (
        "[s2s]",
        &[
            "listen",
            "listen_tls",
            "bind",
            "proxy_protocol",
            "allow_networks",
        ],
    ),
    ("[tls]", &["certificates", "trust"]),
    ("[dns]", &["servers", "dnssec", "trust_anchor_file"]),
    (
        "[dialback]",
        &[
            "secret",
            "secret_file",
            "previous_secret_file",
            "strict_issued_keys",
        ],
    ),
    ("[components]", &["listen", "proxy_protocol"]),
    ("[admin]", &["listen", "token_file"]),
    ("[state]", &["directory"]),
    (
        "[defaults]",
        &[
            "tls",
            "identity",
            "weaker",
            "multiplex",
            "on_uncertain",
            "stream_management",
            "bidi",
            "direct_tls",
            "learned",
            "bidi_offer",
            "to",
            "federate",
            "limits",
        ],
    ),
    ("[[peer]]", &["address"]),
    ("[[domain]]", &["name", "component"]),
    ("component = { … }", &["secret", "secret_file", "conflict"]),
    ("[log]", &["format", "level"]),
];
