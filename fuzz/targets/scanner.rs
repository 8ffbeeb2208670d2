//! Fuzzes `verona_fuzz::scanner`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::scanner::run(input));
