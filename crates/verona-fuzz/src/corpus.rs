//! How inputs are kept: one file for each target, one input to a line as hexadecimal digits, in order, so that git shows
//! what came and what went, and thousands of small files do not clutter the tree.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The inputs of a target that are committed, in order.
///
/// # Errors
/// There is no such file, or it is not what this module writes.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let text = fs::read_to_string(file(target))?;
    let bytes = |line: &str| {
        decode(line).ok_or_else(|| io::Error::other(format!("not hexadecimal: {line}")))
    };
    text.lines().map(bytes).collect()
}

/// Replaces the committed inputs of a target by the files in `directory` that have at most `length_max` bytes.
///
/// # Errors
/// Reading them or writing the corpus fails.
pub fn write(target: &str, directory: &Path, length_max: usize) -> io::Result<usize> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let input = fs::read(entry?.path())?;
        if input.len() <= length_max {
            inputs.push(input);
        }
    }
    inputs.sort();
    inputs.dedup();
    let mut text = String::new();
    for input in &inputs {
        for byte in input {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    fs::write(file(target), text)?;
    Ok(inputs.len())
}

/// Writes each committed input into a file of its own, as libFuzzer wants them.
///
/// # Errors
/// Reading the corpus or writing the files fails.
pub fn unpack(target: &str, directory: &Path) -> io::Result<usize> {
    fs::create_dir_all(directory)?;
    let inputs = read(target)?;
    for (number, input) in inputs.iter().enumerate() {
        fs::write(directory.join(format!("{number:05}")), input)?;
    }
    Ok(inputs.len())
}

fn file(target: &str) -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    corpus.join(format!("{target}.hex"))
}

fn decode(line: &str) -> Option<Vec<u8>> {
    let digits = line.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
