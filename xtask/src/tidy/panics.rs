//! What may panic stands in test code only.
//! A daemon that a stranger's bytes can end is no daemon; clippy warns too, but its warnings can be allowed.

use super::Finding;
use super::source::{Kind, Source};
use super::tree::{Tree, in_src};

const METHODS: &[&str] = &[
    "unwrap",
    "expect",
    "unwrap_err",
    "expect_err",
    "unwrap_unchecked",
];
const MACROS: &[&str] = &["panic", "todo", "unimplemented", "unreachable", "dbg"];

/// Crates that exist for tests: there a panic is a verdict. Clippy still asks for its reason.
const TEST_SUPPORT: &[&str] = &["verona-sim", "verona-interop", "verona-fuzz"];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        if in_src(&source.path).is_some_and(|(own, _)| TEST_SUPPORT.contains(&own)) {
            continue;
        }
        for (index, token) in source.tokens.iter().enumerate() {
            if token.kind != Kind::Word || !source.ships(index) {
                continue;
            }
            let word = token.text.as_str();
            let is_called = index > 0 && (source.at(index - 1, ".") || source.at(index - 1, ":"));
            let say = if METHODS.contains(&word)
                && is_called
                && !has_two_arguments(source, index + 1)
            {
                format!("`{word}` panics: match, or return an error that says whose fault it is")
            } else if MACROS.contains(&word) && source.at(index + 1, "!") {
                format!("`{word}!` belongs to tests: return an error, or make the state impossible")
            } else {
                continue;
            };
            findings.push(Finding::new(&source.path, token.line, say));
        }
    }
}

/// Whether the call whose `(` is at `open` has a second argument: then it is a method of our own, since
/// none of those that panic takes two.
fn has_two_arguments(source: &Source, open: usize) -> bool {
    let mut depth = 0_usize;
    for (index, token) in source.tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "," if depth == 1 && !source.at(index + 1, ")") => return true,
            _ => {}
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let mut findings = Vec::new();
        let tree = Tree::default().with("crates/verona/src/a.rs", text);
        check(&tree, &mut findings);
        findings.len()
    }

    #[test]
    fn each_way_to_panic_is_found() {
        for text in [
            "fn a() { b().unwrap(); }",
            "fn a() { b()\n.expect(\"c\"); }",
            "fn a() { b.map(Option::unwrap) }",
            "fn a() { panic!() }",
            "fn a() { todo!() }",
            "fn a() { dbg!(b) }",
            "fn a() { b().expect(\n&format!(\"{}\", c(d, e)),\n); }",
        ] {
            assert_eq!(count(text), 1, "{text}");
        }
    }

    #[test]
    fn what_does_not_panic_is_let_be() {
        for text in [
            "fn a() { b().unwrap_or_default(); }",
            "#[expect(dead_code, reason = \"c\")] fn a() {}",
            "// unwrap()",
            "fn a() { pings.expect(id.clone(), to); }",
            "#[test] fn a() { b().unwrap(); }",
            "use std::panic::catch_unwind;",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }
}
