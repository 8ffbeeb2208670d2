//! Fuzzes `verona_fuzz::forward::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::forward::run(input));
