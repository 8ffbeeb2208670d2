//! Fuzzes `verona_fuzz::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::configuration::run(input));
