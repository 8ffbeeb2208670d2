//! Every transcript below `tests/stream`, played against the stream machine: the protocol as its peers see it.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a failed transcript is a failed test, and says so; TRANSCRIPT chooses some of them"
)]

use std::fs;
use std::path::{Path, PathBuf};

use verona_sim::transcript::{Transcript, files};

#[test]
fn every_transcript_holds_in_every_delivery() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files(&root.join("tests/stream")).unwrap_or_else(|mistake| panic!("{mistake}"));
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let mut played = 0;
    let mut failed = Vec::new();
    for path in files
        .iter()
        .filter(|path| path.to_string_lossy().contains(&only))
    {
        match Transcript::read(root, path).and_then(|transcript| transcript.play()) {
            Ok(deliveries) => played += deliveries,
            Err(mistake) => failed.push(mistake.to_string()),
        }
    }
    assert!(played + failed.len() > 0, "there is no transcript to play");
    println!("{} transcripts, played {played} times", files.len());
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// The golden scenarios A and B have 24 and 28 mutations; each is a transcript that bears its number, or a test of many
/// streams that names it. A-m23 is what the player does with every one of them.
#[test]
fn every_mutation_of_the_golden_scenarios_is_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files =
        files(&tests.join("stream/mutations")).unwrap_or_else(|mistake| panic!("{mistake}"));
    let names: Vec<String> = files
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let sources = sources(&tests).unwrap_or_else(|error| panic!("{error}"));
    let missing: Vec<String> = (1..=24)
        .map(|number| ("A", number))
        .chain((1..=28).map(|number| ("B", number)))
        .filter(|mutation| *mutation != ("A", 23))
        .filter(|(scenario, number)| {
            let begins = format!("{}-m{number:02}-", scenario.to_lowercase());
            let says = [',', '.', ':', ' '].map(|end| format!("{scenario}-m{number}{end}"));
            !names.iter().any(|name| name.starts_with(&begins))
                && !sources
                    .iter()
                    .any(|text| says.iter().any(|id| text.contains(id)))
        })
        .map(|(scenario, number)| format!("{scenario}-m{number}"))
        .collect();
    assert!(missing.is_empty(), "missing: {}", missing.join(", "));
}

/// The text of every Rust file below a directory.
fn sources(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut open: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push(fs::read_to_string(&path)?);
            }
        }
    }
    Ok(texts)
}
