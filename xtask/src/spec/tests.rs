//! The ledger on a small good tree, on that tree with one thing broken at a time, and on this workspace with one citation
//! taken away. The last is the gate: it can shut.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its tree fails")]

use std::path::Path;

use super::check::Ledger;
use super::citation::Place;
use super::requirement::Status;
use super::*;

const AREA: &str = "\
area = 'STREAM'
title = 'Streams'
about = 'headers'

[[requirement]]
id = 'STREAM-01'
role = 'init'
level = 'must'
text = 'Send a header.'
source = 'RFC 6120 §4'

[[requirement]]
id = 'STREAM-02'
role = 'init'
level = 'should'
text = 'Send it again, see STREAM-01.'
source = 'derived'
status = 'planned'
issue = 'C'
reason = 'not yet'
";

const CODE: &str = "//! A.\nfn a() {\n    //= STREAM-01\n    b();\n}\n";
const TRANSCRIPT: &str = "# A stream.\nspec STREAM-01\n";

/// A tree in miniature with one rule, its code and its test.
fn good() -> Tree {
    let mut tree = Tree::default()
        .with("docs/spec/stream.toml", AREA)
        .with("docs/spec/mutants.toml", "")
        .with("crates/a/src/lib.rs", CODE)
        .with("crates/a/tests/stream/one.txt", TRANSCRIPT);
    for area in [
        "tls",
        "sasl",
        "dialback",
        "bidi",
        "routing",
        "errors",
        "component",
        "local-services",
        "limits",
        "sm",
        "dns",
        "direct-tls",
        "quic",
    ] {
        let name: String = area.chars().filter(char::is_ascii_alphabetic).collect();
        let text = format!(
            "area = '{}'\ntitle = 'A'\nabout = 'b'\n",
            name.to_uppercase()
        );
        tree = tree.with(&format!("docs/spec/{area}.toml"), &text);
    }
    tree
}

fn findings(tree: &Tree) -> Vec<String> {
    let (_, findings) = Ledger::read(tree);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_good_tree_passes_and_is_counted() {
    let (ledger, findings) = Ledger::read(&good());
    assert_eq!(findings, []);
    let count = ledger.count();
    assert_eq!(
        (count.rows, count.must.shown, count.must.of, count.planned),
        (2, 1, 1, 1)
    );
}

#[test]
fn each_break_is_found() {
    let rule =
        |change: &dyn Fn(&str) -> String| good().with("docs/spec/stream.toml", &change(AREA));
    let code = |text: &str| good().with("crates/a/src/lib.rs", text);
    for (what, tree, say) in [
        ("no code", code("//! A.\nfn a() {}\n"), "cited by no code"),
        (
            "a citation in a test is no code",
            code("//! A.\n#[cfg(test)]\nmod tests {\n    //= STREAM-01\n    fn a() {}\n}\n"),
            "cited by no code",
        ),
        (
            "no test",
            good().without("crates/a/tests/stream/one.txt"),
            "cited by no test",
        ),
        (
            "an unknown rule",
            code(&format!("{CODE}//= STREAM-99\nfn c() {{}}\n")),
            "STREAM-99 is a requirement that docs/spec does not have",
        ),
        (
            "an unknown rule in a transcript",
            good().with("crates/a/tests/two.txt", "spec BIDI-19\n"),
            "BIDI-19 is a requirement that docs/spec does not have",
        ),
        (
            "no id",
            code(&format!("{CODE}//= stream 1\nfn c() {{}}\n")),
            "is no requirement's id",
        ),
        (
            "planned for nobody",
            rule(&|text| text.replace("issue = 'C'\n", "")),
            "not for any issue",
        ),
        (
            "without a reason",
            rule(&|text| text.replace("reason = 'not yet'\n", "")),
            "nothing says why",
        ),
        (
            "declined without a reason",
            rule(&|text| text.replace("'planned'\nissue = 'C'\nreason = 'not yet'", "'declined'")),
            "nothing says why",
        ),
        (
            "a reason for what is there",
            rule(&|text| text.replace("status = 'planned'\nissue = 'C'\n", "")),
            "needs neither reason nor issue",
        ),
        (
            "the same id twice",
            rule(&|text| text.replace("'STREAM-02'", "'STREAM-01'")),
            "twice",
        ),
        (
            "an id of another area",
            rule(&|text| text.replace("'STREAM-02'", "'TLS-02'")),
            "no id of the area",
        ),
        (
            "a reference to nothing",
            rule(&|text| text.replace("see STREAM-01", "see STREAM-09")),
            "speaks of STREAM-09",
        ),
        (
            "a level of nowhere",
            rule(&|text| text.replace("'must'", "'perhaps'")),
            "unknown variant",
        ),
        (
            "a file of nowhere",
            good().with("docs/spec/other.toml", AREA),
            "is no area",
        ),
        (
            "a missing file",
            good().without("docs/spec/sm.toml"),
            "is missing",
        ),
    ] {
        let found = findings(&tree);
        assert!(
            found.iter().any(|line| line.contains(say)),
            "{what}: {found:?}"
        );
    }
}

#[test]
fn a_mutant_must_fit_the_tree() {
    let mutant = "[[mutant]]\nids = ['STREAM-01']\nfile = 'crates/a/src/lib.rs'\nfind = 'b();'\nreplace = ''\ntests = ['lib a']\n";
    let with = |text: &str| findings(&good().with("docs/spec/mutants.toml", text));
    assert_eq!(with(mutant), Vec::<String>::new());
    for (from, to, say) in [
        ("'b();'", "'c();'", "does not have the text"),
        ("'b();'", "'(){'", "does not have the text"),
        ("'b();'", "'('", "more than once"),
        ("'STREAM-01'", "'STREAM-02'", "not cited within"),
        ("'lib a'", "", "no test is named"),
        ("crates/a/src/lib.rs", "crates/a/src/b.rs", "there is no"),
        ("ids", "rules", "cannot be understood"),
    ] {
        let found = with(&mutant.replacen(from, to, 1));
        assert!(
            found.iter().any(|line| line.contains(say)),
            "{to}: {found:?}"
        );
    }
}

#[test]
fn a_must_of_bidi_without_a_mutant_is_found() {
    let bidi = AREA.replace("STREAM", "BIDI");
    let tree = good()
        .with("docs/spec/bidi.toml", &bidi)
        .with("crates/a/src/b.rs", "//! B.\n//= BIDI-01\nfn b() {}\n")
        .with("crates/a/tests/two.txt", "spec BIDI-01\n");
    let found = findings(&tree);
    assert_eq!(
        found,
        ["docs/spec/mutants.toml:1: BIDI-01 is a MUST and has no mutant"]
    );
}

#[test]
fn the_page_tells_rules_places_and_reasons() {
    let (ledger, _) = Ledger::read(&good());
    let page = page::write(&ledger);
    for part in [
        "| STREAM-01 | MUST, init | Send a header. (RFC 6120 §4) | implemented | [a/src/lib.rs:3](../crates/a/src/lib.rs#L3) | [a/tests/stream/one.txt:2](../crates/a/tests/stream/one.txt#L2) |",
        "| planned (issue C): not yet |  |  |",
        "| [Streams](#streams) | 2 | 1 of 1 | 0 of 0 | 0 of 0 | 1 | 0 | 0 |",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
}

#[test]
fn the_page_is_stale_when_a_place_changes_and_not_when_a_line_moves() {
    let page = |code: &str| {
        let (ledger, _) = Ledger::read(&good().with("crates/a/src/lib.rs", code));
        page::without_lines(&page::write(&ledger))
    };
    let before = page(CODE);
    assert_eq!(before, page(&format!("//! B.\n{CODE}")));
    assert_ne!(before, page("//! A.\nfn a() {}\n"));
}

/// For code and for tests: a rule that has just one citation there is without any when its line is gone.
#[test]
fn a_citation_removed_from_the_real_tree_is_found() {
    let tree = workspace();
    let (ledger, _) = Ledger::read(&tree);
    for (place, name) in [(Place::Code, "code"), (Place::Test, "test")] {
        let other = match place {
            Place::Code => Place::Test,
            Place::Test => Place::Code,
        };
        let only = ledger
            .areas
            .iter()
            .flat_map(|area| &area.requirements)
            .filter(|rule| rule.status == Status::Implemented && rule.id != "STREAM-01")
            .filter(|rule| ledger.cites(&rule.id, other).next().is_some())
            .find_map(|rule| {
                let mut citations = ledger.cites(&rule.id, place);
                let first = citations.next()?;
                citations.next().is_none().then_some(first)
            })
            .unwrap();
        let mut lines: Vec<&str> = tree.texts[&only.path].lines().collect();
        let cited = lines[only.line - 1].replace(&only.id, "STREAM-01");
        lines[only.line - 1] = &cited;
        let found = findings(&tree.with(&only.path, &lines.join("\n")));
        let say = format!("is cited by no {name}");
        assert!(
            found
                .iter()
                .any(|line| line.contains(&only.id) && line.contains(&say)),
            "{} in {}: {found:?}",
            only.id,
            only.path
        );
    }
}

fn workspace() -> Tree {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Tree::read(own.parent().unwrap()).unwrap()
}
