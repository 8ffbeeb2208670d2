//! Text that belongs to one machine or to one afternoon: home directories, notes to oneself.
//! A path of somebody's machine is wrong on every other; a note to oneself is an issue that nobody can find.

use super::Finding;
use super::tree::Tree;

/// Each is written in two halves: tidy reads this file as well.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

const NOTES: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in &tree.texts {
        for (index, line) in text.lines().enumerate() {
            if let Some(place) = machine(line, &tree.root) {
                let say =
                    format!("`{place}` is a path of one machine: say it relative to the workspace");
                findings.push(Finding::new(path, index + 1, say));
            }
            if let Some(note) = NOTES.iter().find(|note| has_word(line, note)) {
                let say = format!("`{note}` is a note to oneself: do it, or open an issue");
                findings.push(Finding::new(path, index + 1, say));
            }
        }
    }
}

fn machine<'a>(line: &str, root: &'a str) -> Option<&'a str> {
    // A root of one short component would be found in innocent text.
    let own = (root.matches('/').count() > 1).then_some(root);
    own.into_iter()
        .chain(MACHINE.iter().copied())
        .find(|place| {
            line.match_indices(place).any(|(at, _)| {
                let before = line.get(..at).and_then(|before| before.chars().next_back());
                // Deeper in a path or a URL it is a name like any other.
                !before.is_some_and(|c| {
                    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~')
                })
            })
        })
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line
            .get(at + word.len()..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let mut findings = Vec::new();
        check(&Tree::default().with("docs/a.md", text), &mut findings);
        findings.len()
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        assert_eq!(count(concat!("see /ho", "me/ann/verona")), 1);
        assert_eq!(count(concat!("let a = \"/wo", "rk/main\";")), 1);
        assert_eq!(
            count(concat!(
                "https://example.net/ho",
                "me/page, /etc/verona, docs/wo",
                "rk/a"
            )),
            0
        );
    }

    #[test]
    fn a_note_to_oneself_is_found() {
        assert_eq!(count(concat!("// FIX", "ME: later")), 1);
        assert_eq!(count(concat!("// AXX", "XXB")), 0);
    }
}
