//! Every mistake in a configuration, with the words, the place and the advice that the operator reads.
//! Each file in `config/` is a configuration, a line of `=====`, and all that `check-config` says; `UPDATE=1` rewrites
//! the second part, and the difference is the review.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::path::{Path, PathBuf};

use support::{machine, stderr, stdout, verona, write};

const SEPARATOR: &str = "=====\n";

#[test]
fn every_mistake_is_told_with_its_place() {
    let dir = machine();
    let mut cases = cases();
    cases.sort();
    assert!(cases.len() >= 25, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = std::fs::read_to_string(&case).unwrap();
        let (input, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        let said = check(dir.path(), input);
        if said == expected {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&case, format!("{input}{SEPARATOR}{said}")).unwrap();
        } else {
            wrong.push(format!(
                "{}\n--- expected\n{expected}--- said\n{said}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `check-config` says, with its exit status where that is a surprise.
fn check(dir: &Path, input: &str) -> String {
    write(&dir.join("verona.toml"), input);
    let output = verona(dir, &["check-config", "-c", "verona.toml"]);
    let said = stdout(&output);
    assert_eq!(stderr(&output), "");
    let has_errors = said.lines().any(|line| line.starts_with("error: "));
    assert_eq!(output.status.code(), Some(i32::from(has_errors)), "{said}");
    assert_same_problems(dir, &said);
    said
}

/// The JSON tells the same: as many problems, at the same places, in the same words.
fn assert_same_problems(dir: &Path, said: &str) {
    let output = verona(dir, &["check-config", "-c", "verona.toml", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    let problems = document["problems"].as_array().unwrap();
    let told: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("error: ") || line.starts_with("warning: "))
        .collect();
    assert_eq!(problems.len(), told.len(), "{said}");
    for (problem, line) in problems.iter().zip(told) {
        let text = |name: &str| problem[name].as_str().unwrap();
        assert_eq!(format!("{}: {}", text("severity"), text("message")), line);
        if let (Some(line), Some(column)) = (problem["line"].as_u64(), problem["column"].as_u64()) {
            let place = format!("--> {}:{line}:{column}\n", text("file"));
            assert!(said.contains(&place), "{place} is not in\n{said}");
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}
