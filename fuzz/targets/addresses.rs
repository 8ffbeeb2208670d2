//! Fuzzes `verona_fuzz::addresses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::addresses::run(input));
