//! Fuzzes `verona_fuzz::stream::receiving`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::stream::receiving(input));
