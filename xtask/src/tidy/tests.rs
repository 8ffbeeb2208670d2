//! Tidy on a small good tree, on the same tree with one rule broken at a time, and on this workspace.
//! The last makes `cargo test` the gate; the others show that the gate can shut.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its tree fails")]

use std::fs;
use std::path::Path;

use super::*;

/// A workspace in miniature that keeps every rule.
fn good() -> Tree {
    let root = "//! A crate.\n#![forbid(unsafe_code)]\n";
    Tree::default()
        .with("ARCHITECTURE.md", MAP)
        .with(
            "crates/verona-proto/Cargo.toml",
            "[dependencies]\nverona-xml.workspace = true\n",
        )
        .with("crates/verona-proto/src/lib.rs", root)
        .with(
            "crates/verona-proto/src/outbox.rs",
            "//! A queue.\nuse crate::addr::DomainPair;\nfn pull(pair: &DomainPair) -> Option<u8> { None }\n",
        )
        .with("crates/verona-proto/src/stream/mod.rs", "//! A stream.\nuse crate::outbox::Drain;\n")
        .with("xtask/src/main.rs", root)
}

const MAP: &str = "\
# Code map
```text
verona/
├── crates/verona-proto/src/
│   ├── lib.rs           the crate
│   ├── outbox.rs        a queue
│   └── stream/mod.rs    a stream
└── xtask/src/main.rs    tasks
```
";

#[test]
fn the_good_tree_passes() {
    assert_eq!(check(&good()), []);
}

#[test]
fn each_broken_rule_is_found_where_it_is_broken() {
    let outbox = "crates/verona-proto/src/outbox.rs";
    let cases = [
        (
            "a crossed layer",
            outbox,
            "//! A.\nuse crate::stream::Stream;\n",
            2,
        ),
        (
            "a forged maker",
            outbox,
            "//! A.\nfn a() { Admitted::new(d, s); }\n",
            2,
        ),
        (
            "a forged pair",
            outbox,
            "//! A.\nfn a() { b(DomainPair { local, remote }) }\n",
            2,
        ),
        (
            "an unwrap",
            outbox,
            "//! A.\n\nfn a() { b().unwrap(); }\n",
            3,
        ),
        ("no first line", outbox, "fn a() {}\n", 1),
        ("a banned word", outbox, "//! A.\nstruct QueueManager;\n", 2),
        (
            "an unreasoned allow",
            outbox,
            "//! A.\n#[allow(dead_code)]\nfn a() {}\n",
            2,
        ),
        (
            "unsafe possible",
            "xtask/src/main.rs",
            "//! A.\nfn main() {}\n",
            1,
        ),
        (
            "a crate that climbs",
            "crates/verona-proto/Cargo.toml",
            "[dependencies]\nverona = \"1\"\n",
            2,
        ),
        (
            "a runtime in the core",
            "crates/verona-proto/Cargo.toml",
            "[dependencies]\ntokio = \"1\"\n",
            2,
        ),
        ("a note to oneself", "docs/a.md", concat!("FIX", "ME\n"), 1),
    ];
    for (what, path, text, line) in cases {
        let found = check(&good().with(path, text));
        let places: Vec<_> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(places, [(path, line)], "{what}: {found:?}");
    }
}

#[test]
fn the_map_and_the_tree_must_agree() {
    let unmapped = check(&good().with("crates/verona-proto/src/ns.rs", "//! Names.\n"));
    assert_eq!(unmapped.len(), 1, "{unmapped:?}");
    let gone = check(&good().without("crates/verona-proto/src/outbox.rs"));
    assert_eq!(gone.len(), 1, "{gone:?}");
}

#[test]
fn a_tree_on_disk_is_read_as_one_in_memory() {
    let directory = std::env::temp_dir().join(format!("verona-tidy-{}", std::process::id()));
    let tree = good();
    for (path, text) in &tree.texts {
        let file = directory.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&directory)).unwrap();
        fs::write(&file, text).unwrap();
    }
    fs::create_dir_all(directory.join("target/debug")).unwrap();
    fs::write(directory.join("target/debug/built.rs"), "broken").unwrap();
    let read = Tree::read(&directory);
    fs::remove_dir_all(&directory).unwrap();
    let read = read.unwrap();
    assert_eq!(read.texts, tree.texts);
    assert_eq!(check(&read), []);
}

/// Rule 10, executed: a layer crossed in the real tree is a failing test.
#[test]
fn a_layer_crossed_in_the_real_tree_is_found() {
    let tree = workspace();
    let before = check(&tree);
    let path = "crates/verona-proto/src/grounds.rs";
    let text = tree.texts.get(path).map_or("//! A.\n", String::as_str);
    let crossed = tree.with(
        path,
        &format!("{text}\nuse crate::federation::Federation;\n"),
    );
    let new: Vec<_> = check(&crossed)
        .into_iter()
        .filter(|finding| !before.contains(finding))
        .filter(|finding| finding.path == path)
        .collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(new[0].say.contains("a higher layer"), "{new:?}");
}

#[test]
fn this_workspace_is_tidy() {
    let findings = check(&workspace());
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}\n", list.join("\n"));
}

fn workspace() -> Tree {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Tree::read(own.parent().unwrap()).unwrap()
}
