//! The tree that tidy reads: every text file of the workspace, Rust files as tokens.
//! It can also be made from memory, so that a test can break one rule at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::Source;

/// All that the checks look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    /// Every text file, Rust or not, by its path relative to the workspace.
    pub(crate) texts: BTreeMap<String, String>,
    /// Where the workspace lies on this machine; no file may name it.
    pub(crate) root: String,
}

impl Tree {
    /// Reads the workspace at `root`; what is built, hidden or binary is left out.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        let mut open: Vec<PathBuf> = vec![root.to_path_buf()];
        while let Some(directory) = open.pop() {
            let entries = fs::read_dir(&directory)
                .with_context(|| format!("reading {}", directory.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
                let kind = entry.file_type().context("asking for the type of a file")?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if kind.is_dir() {
                    if !SKIPPED.contains(&name.as_str()) {
                        open.push(entry.path());
                    }
                } else if kind.is_file()
                    && is_text(&name, &directory)
                    && let Ok(text) = fs::read_to_string(entry.path())
                {
                    texts.insert(relative(&entry.path(), root), text);
                }
            }
        }
        Ok(Self::new(texts, &root.to_string_lossy()))
    }

    fn new(texts: BTreeMap<String, String>, root: &str) -> Self {
        let mut sources: Vec<Source> = texts
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| Source::new(path, text))
            .collect();
        mark_test_files(&mut sources);
        Tree {
            sources,
            texts,
            root: root.to_owned(),
        }
    }

    /// The same tree with one file written anew.
    #[cfg(test)]
    pub(crate) fn with(&self, path: &str, text: &str) -> Self {
        let mut texts = self.texts.clone();
        texts.insert(path.to_owned(), text.to_owned());
        Self::new(texts, &self.root)
    }

    /// The same tree without one file.
    #[cfg(test)]
    pub(crate) fn without(&self, path: &str) -> Self {
        let mut texts = self.texts.clone();
        texts.remove(path);
        Self::new(texts, &self.root)
    }
}

/// The crate that a path belongs to and the path inside its `src`.
pub(crate) fn in_src(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("crates/").unwrap_or(path);
    let (name, inside) = rest.split_once('/')?;
    Some((name, inside.strip_prefix("src/")?))
}

const SKIPPED: &[&str] = &["target", ".git", "node_modules"];

const TEXTS: &[&str] = &[
    "rs", "md", "toml", "txt", "sh", "yml", "yaml", "service", "html", "css", "js", "jsonl",
];

fn is_text(name: &str, directory: &Path) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| TEXTS.contains(&extension))
        || directory.file_name().is_some_and(|name| name == ".ci")
}

fn relative(path: &Path, root: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

/// A module declared for tests only makes its file, and all below it, test code.
fn mark_test_files(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in sources.iter() {
        let home = match source.path.rsplit_once('/') {
            Some((directory, "mod.rs" | "lib.rs" | "main.rs")) => directory.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        for name in &source.test_modules {
            roots.push(format!("{home}/{name}.rs"));
            roots.push(format!("{home}/{name}/"));
        }
    }
    for source in sources {
        source.is_test |= roots.iter().any(|root| {
            source.path == *root || (root.ends_with('/') && source.path.starts_with(root.as_str()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_test_modules_are_tests() {
        let tree = Tree::default()
            .with("crates/a/src/lib.rs", "mod b;")
            .with("crates/a/src/b.rs", "#[cfg(test)] mod tests;")
            .with("crates/a/src/b/tests.rs", "fn x() {}")
            .with("crates/a/src/b/tests_not.rs", "fn x() {}")
            .with("crates/a/tests/all.rs", "fn x() {}");
        let tests: Vec<&str> = tree
            .sources
            .iter()
            .filter(|source| source.is_test)
            .map(|source| source.path.as_str())
            .collect();
        assert_eq!(tests, ["crates/a/src/b/tests.rs", "crates/a/tests/all.rs"]);
    }

    #[test]
    fn a_path_is_split_into_crate_and_inside() {
        assert_eq!(in_src("crates/a/src/b/c.rs"), Some(("a", "b/c.rs")));
        assert_eq!(in_src("xtask/src/main.rs"), Some(("xtask", "main.rs")));
        assert_eq!(in_src("crates/a/tests/b.rs"), None);
    }
}
