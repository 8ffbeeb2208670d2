//! Moves inputs between libFuzzer's directories and the committed corpus: `pack|unpack TARGET DIRECTORY`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::path::Path;
use std::process::ExitCode;

/// Larger inputs say little that smaller ones do not, and cost every test run time.
const LENGTH_MAX: usize = 400;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["pack", target, directory] => {
            verona_fuzz::corpus::write(target, Path::new(directory), LENGTH_MAX)
        }
        ["unpack", target, directory] => verona_fuzz::corpus::unpack(target, Path::new(directory)),
        _ => {
            eprintln!("pack|unpack TARGET DIRECTORY");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(count) => {
            println!("{count} inputs");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
