//! The program `verona`: nothing but the start.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    veronad::main()
}
