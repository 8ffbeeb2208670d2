//! The code map of ARCHITECTURE.md against the tree it maps.
//! A map that is wrong in one place is believed in none.
//!
//! The map is the first fenced block after a heading that has the words "code map". It is a tree drawn
//! with `├──`, `└──` and `│`, four columns to a level, one name to a line, a directory with a `/` at its
//! end, and after a file's name at least two spaces and a few words. A line without `── ` only carries on
//! the words of the line before.

use std::collections::BTreeMap;

use super::Finding;
use super::tree::{Tree, in_src};

const PATH: &str = "ARCHITECTURE.md";

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(text) = tree.texts.get(PATH) else {
        findings.push(Finding::new(
            PATH,
            1,
            "there is no ARCHITECTURE.md, so there is no code map",
        ));
        return;
    };
    let map = read(text, findings);
    if map.start == 0 {
        let say = "there is no fenced block after a heading with the words \"code map\"";
        findings.push(Finding::new(PATH, 1, say));
        return;
    }
    for (path, line) in &map.entries {
        if !exists(tree, path) {
            let say = format!("the code map names `{path}`, which does not exist: strike it out");
            findings.push(Finding::new(PATH, *line, say));
        }
    }
    for source in &tree.sources {
        if in_src(&source.path).is_some() && !map.entries.contains_key(&source.path) {
            let say = format!(
                "the code map does not name `{}`: add a line that says what it is",
                source.path
            );
            findings.push(Finding::new(PATH, map.start, say));
        }
    }
}

#[derive(Default)]
struct Map {
    /// The line of the opening fence; 0 when there is no map.
    start: usize,
    /// Paths relative to the workspace, a directory with a `/` at its end, and their lines.
    entries: BTreeMap<String, usize>,
}

fn read(text: &str, findings: &mut Vec<Finding>) -> Map {
    let mut map = Map::default();
    let mut after_heading = false;
    let mut open: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if map.start == 0 {
            after_heading |= line.starts_with('#') && line.to_lowercase().contains("code map");
            if after_heading && line.starts_with("```") {
                map.start = number;
            }
            continue;
        }
        if line.starts_with("```") {
            break;
        }
        let Some((indent, rest)) = line.split_once("── ") else {
            continue;
        };
        let depth = indent.chars().count() / 4;
        let name = rest.split_whitespace().next().unwrap_or_default();
        let words = rest.get(name.len()..).unwrap_or_default();
        let is_directory = name.ends_with('/');
        if depth > open.len() {
            let say = format!("`{name}` is drawn deeper than the directory above it");
            findings.push(Finding::new(PATH, number, say));
            continue;
        }
        if name.contains('{') {
            findings.push(Finding::new(
                PATH,
                number,
                "one file to a line, so that each is described",
            ));
            continue;
        }
        if !is_directory && (!words.starts_with("  ") || words.trim().is_empty()) {
            let say = format!("after `{name}` come two spaces and a few words: what is it?");
            findings.push(Finding::new(PATH, number, say));
        }
        open.truncate(depth);
        let path = format!("{}{name}", open.concat());
        open.push(if is_directory {
            name.to_owned()
        } else {
            format!("{name}/")
        });
        if !name.contains('…') {
            map.entries.insert(path, number);
        }
    }
    map
}

fn exists(tree: &Tree, path: &str) -> bool {
    tree.texts.contains_key(path)
        || (path.ends_with('/') && tree.texts.keys().any(|known| known.starts_with(path)))
        // What is no text (a licence without an extension, a picture) is not in the tree that was read.
        || (!path.ends_with('/') && !path.ends_with(".rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
# Architecture
## Code map
```text
verona/
├── README.md             what and why
├── crates/
│   ├── a/                a crate
│   │   └── src/
│   │       ├── lib.rs    the library,
│   │       │             on two lines
│   │       └── b/c.rs    another
│   └── d/src/lib.rs      a third
└── xtask/src/main.rs     tasks
```
";

    fn tree() -> Tree {
        Tree::default()
            .with("crates/a/src/lib.rs", "")
            .with("crates/a/src/b/c.rs", "")
            .with("crates/d/src/lib.rs", "")
            .with("crates/d/tests/all.rs", "")
            .with("xtask/src/main.rs", "")
    }

    fn say(tree: &Tree, map: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&tree.with(PATH, map), &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_true_map_passes() {
        assert_eq!(say(&tree(), MAP), [""; 0]);
    }

    #[test]
    fn a_file_without_an_entry_is_found() {
        let found = say(&tree().with("crates/a/src/new.rs", ""), MAP);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .starts_with("ARCHITECTURE.md:3: the code map does not name `crates/a/src/new.rs`")
        );
    }

    #[test]
    fn an_entry_without_a_file_is_found() {
        let found = say(&tree().without("crates/a/src/b/c.rs"), MAP);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("ARCHITECTURE.md:11: "), "{found:?}");
    }

    #[test]
    fn a_file_without_words_and_a_list_of_files_are_found() {
        assert_eq!(
            say(&tree(), &MAP.replace("main.rs     tasks", "main.rs")).len(),
            1
        );
        assert_eq!(say(&tree(), &MAP.replace("b/c.rs", "b/{c,e}.rs")).len(), 2);
    }

    #[test]
    fn a_missing_map_is_found() {
        assert_eq!(say(&tree(), "# Architecture\n").len(), 1);
        let mut findings = Vec::new();
        check(&tree(), &mut findings);
        assert_eq!(findings.len(), 1);
    }
}
