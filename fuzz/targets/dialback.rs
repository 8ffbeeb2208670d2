//! Fuzzes `verona_fuzz::dialback`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::dialback::run(input));
