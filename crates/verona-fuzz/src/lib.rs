//! What the fuzzers run, and the corpus that the tests replay.
#![forbid(unsafe_code)]
