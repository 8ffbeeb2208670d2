//! Words that no identifier and no file bears.
//! Each stands for a confusion of other servers: a connection with one owner, a thing without a purpose.

use super::Finding;
use super::source::Kind;
use super::tree::Tree;

/// The word, and what to say in its place. One is written in two halves: tidy reads this file as well.
const WORDS: &[(&str, &str)] = &[
    ("session", "say stream, connection or exchange"),
    (
        "s2sin",
        "a stream has no owner: say inbound for a direction, receiving for a role",
    ),
    (
        "s2sout",
        "a stream has no owner: say outbound for a direction, initiating for a role",
    ),
    (
        "authed",
        "say granted, and for which pair in which direction",
    ),
    ("unauthed", "say which pair is not granted"),
    ("virtual", "say hosted, or local"),
    ("manager", "name it for what it owns"),
    (concat!("hel", "per"), "name it for what it does"),
    (
        "util",
        "put it where it is used, or name it for what it is about",
    ),
    (
        "utils",
        "put them where they are used, or name them for what they are about",
    ),
];

/// Names of other people's, which we must write as they did.
const FOREIGN: &[&str] = &[
    "http_body_util",
    "hyper_util",
    "tokio_util",
    "session_storage",
    "NoServerSessionStorage",
    "ClientSessionMemoryCache",
    "ClientSessionStore",
    "ServerSessionMemoryCache",
    "StoresServerSessions",
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        let stem = source.path.trim_end_matches(".rs");
        for part in stem.split('/') {
            if let Some((word, say)) = banned(part) {
                let say = format!("the word `{word}` names no file here: {say}");
                findings.push(Finding::new(&source.path, 1, say));
            }
        }
        for token in &source.tokens {
            if token.kind != Kind::Word || FOREIGN.contains(&token.text.as_str()) {
                continue;
            }
            if let Some((word, say)) = banned(&token.text) {
                let say = format!("`{}` has the word `{word}`: {say}", token.text);
                findings.push(Finding::new(&source.path, token.line, say));
            }
        }
    }
}

fn banned(name: &str) -> Option<(&'static str, &'static str)> {
    let parts = parts(name);
    WORDS
        .iter()
        .copied()
        .find(|(word, _)| parts.iter().any(|part| part == word))
}

/// The words of a name in snake, kebab or camel case, in lower case; a plural counts as its singular.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for character in name.chars() {
        let splits = matches!(character, '_' | '-' | '.');
        if splits || (character.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        after_lower = character.is_lowercase();
        if !splits && let Some(last) = parts.last_mut() {
            last.extend(character.to_lowercase());
        }
    }
    for part in &mut parts {
        if part.len() > 5 && part.ends_with('s') {
            part.pop();
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let mut findings = Vec::new();
        check(&Tree::default().with(path, text), &mut findings);
        findings.len()
    }

    #[test]
    fn a_banned_word_is_found_in_every_case() {
        for text in [
            "struct StreamManager;",
            "fn open_session() {}",
            "let sessions = 1;",
            "const S2SIN: u8 = 1;",
            "mod utils;",
            "fn is_authed() {}",
        ] {
            assert_eq!(count("crates/verona/src/a.rs", text), 1, "{text}");
        }
        assert_eq!(count("crates/verona/src/dns_util.rs", ""), 1);
    }

    #[test]
    fn other_words_and_other_people_s_names_are_let_be() {
        for text in [
            "use hyper_util::rt::TokioIo;",
            "fn utility_of_obsession() {}",
            "let a = \"session\"; // the manager of the session",
            "fn managed() {}",
        ] {
            assert_eq!(count("crates/verona/src/a.rs", text), 0, "{text}");
        }
    }
}
