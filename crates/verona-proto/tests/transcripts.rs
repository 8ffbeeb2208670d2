//! Every transcript below `tests/stream`, played against the stream machine: the protocol as its peers see it.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a failed transcript is a failed test, and says so; TRANSCRIPT chooses some of them"
)]

use std::path::Path;

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
