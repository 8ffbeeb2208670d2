//! Fuzzes `verona_fuzz::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| verona_fuzz::proxy_header::run(input));
