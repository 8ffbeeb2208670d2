//! What every file must say about itself: its first line, its reasons, its ban on `unsafe`.
//! A reader who opens one file should not have to open a second to know what the first is for.

use super::Finding;
use super::source::Source;
use super::tree::{Tree, in_src};

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        first_line(source, findings);
        crate_root(source, findings);
        reasons(source, findings);
    }
}

fn first_line(source: &Source, findings: &mut Vec<Finding>) {
    let first = source.text.lines().next().unwrap_or_default();
    if first
        .strip_prefix("//! ")
        .is_none_or(|rest| rest.trim().is_empty())
    {
        let say = "begin the file with `//! `: one sentence what it is, one why";
        findings.push(Finding::new(&source.path, 1, say));
    }
}

fn crate_root(source: &Source, findings: &mut Vec<Finding>) {
    let is_root = in_src(&source.path).is_some_and(|(_, inside)| {
        let is_extra_binary = inside.starts_with("bin/")
            && (inside.matches('/').count() == 1 || inside.ends_with("/main.rs"));
        matches!(inside, "lib.rs" | "main.rs") || is_extra_binary
    });
    let forbids = |index| {
        source.follows(
            index,
            &["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"],
        )
    };
    if is_root && !(0..source.tokens.len()).any(forbids) {
        let say = "a crate root says `#![forbid(unsafe_code)]`";
        findings.push(Finding::new(&source.path, 1, say));
    }
}

/// `allow` and `expect` attributes give a reason: in the attribute, or in a `//` comment on the line
/// before or on the same line.
fn reasons(source: &Source, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    for index in 0..source.tokens.len() {
        if !source.at(index, "#") {
            continue;
        }
        let open = index + 1 + usize::from(source.at(index + 1, "!"));
        let is_ours = source.at(open, "[")
            && (source.at(open + 1, "allow") || source.at(open + 1, "expect"))
            && source.at(open + 2, "(");
        let Some(token) = source.tokens.get(index).filter(|_| is_ours) else {
            continue;
        };
        let inside: Vec<_> = source
            .tokens
            .iter()
            .skip(open)
            .take_while(|t| !t.is("]"))
            .collect();
        let last = inside.last().map_or(token.line, |t| t.line);
        let says_why = inside.iter().any(|t| t.is("reason"));
        let is_commented = |line: usize| {
            let text = line.checked_sub(1).and_then(|at| lines.get(at));
            text.and_then(|text| text.split_once("//"))
                .is_some_and(|(_, comment)| {
                    !comment.starts_with(['/', '!']) && !comment.trim().is_empty()
                })
        };
        if !says_why
            && !is_commented(token.line.saturating_sub(1))
            && !(token.line..=last).any(is_commented)
        {
            let say =
                "what is allowed needs a reason: `reason = \"…\"`, or a comment on the line before";
            findings.push(Finding::new(&source.path, token.line, say));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Tree::default().with(path, text), &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_begins_by_saying_what_it_is() {
        assert_eq!(
            say("crates/a/src/b.rs", "//! What it is.\nfn a() {}"),
            [""; 0]
        );
        assert_eq!(say("crates/a/src/b.rs", "fn a() {}").len(), 1);
        assert_eq!(say("crates/a/tests/b.rs", "//! \nfn a() {}").len(), 1);
    }

    #[test]
    fn a_crate_root_forbids_unsafe() {
        let good = "//! A.\n#![forbid(unsafe_code)]\n";
        assert_eq!(say("crates/a/src/lib.rs", good), [""; 0]);
        assert_eq!(
            say(
                "crates/a/src/lib.rs",
                "//! A.\n// #![forbid(unsafe_code)]\n"
            )
            .len(),
            1
        );
        assert_eq!(say("crates/a/src/bin/b.rs", "//! A.\n").len(), 1);
        assert_eq!(say("crates/a/src/b/lib_not.rs", "//! A.\n"), [""; 0]);
    }

    #[test]
    fn what_is_allowed_has_a_reason() {
        for good in [
            "//! A.\n#[allow(dead_code, reason = \"b\")]\nfn a() {}",
            "//! A.\n// The peer decides.\n#[allow(dead_code)]\nfn a() {}",
            "//! A.\n#![allow(dead_code)] // The peer decides.\n",
        ] {
            assert_eq!(say("crates/a/src/b.rs", good), [""; 0], "{good}");
        }
        for bad in [
            "//! A.\n#[allow(dead_code)]\nfn a() {}",
            "//! A.\n#![allow(dead_code)]\n",
            "//! A.\n/// Doc.\n#[allow(dead_code)]\nfn a() {}",
        ] {
            assert_eq!(say("crates/a/src/b.rs", bad).len(), 1, "{bad}");
        }
    }
}
