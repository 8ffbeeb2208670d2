//! The rules of this tree that no compiler checks, read from its text.
//! A rule that is not checked is a wish: this runs under `cargo test` and as `cargo xtask tidy`.

use std::fmt;
use std::path::Path;

use anyhow::Result;

mod attributes;
mod crates;
mod layers;
mod makers;
mod map;
mod panics;
mod places;
mod source;
mod tree;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use source::Source;
pub(crate) use tree::{Tree, in_src};

/// Checks the tree at `root`, prints what it finds, and says whether that is nothing.
///
/// # Errors
/// When the tree cannot be read.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} Rust files, nothing to say", tree.sources.len());
    } else {
        println!("tidy: {} to put right", findings.len());
    }
    Ok(findings.is_empty())
}

/// All checks over one tree, in the order of path and line.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    layers::check(tree, &mut findings);
    crates::check(tree, &mut findings);
    makers::check(tree, &mut findings);
    panics::check(tree, &mut findings);
    words::check(tree, &mut findings);
    attributes::check(tree, &mut findings);
    map::check(tree, &mut findings);
    places::check(tree, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

/// One place where a rule is broken, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    say: String,
}

impl Finding {
    /// A finding at a line (counted from 1) of the file at `path`.
    pub(crate) fn new(path: &str, line: usize, say: impl Into<String>) -> Self {
        Finding {
            path: path.to_owned(),
            line,
            say: say.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.say)
    }
}
