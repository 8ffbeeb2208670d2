//! Fuzzes `verona_fuzz::federation::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::federation::run(input));
