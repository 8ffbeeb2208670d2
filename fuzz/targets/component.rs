//! Fuzzes `verona_fuzz::component::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::component::run(input));
