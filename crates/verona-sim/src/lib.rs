//! Test support for verona: transcripts of streams, played against the machine that speaks in production. A protocol
//! is judged by what is on the wire, so its tests should read like the wire.
//!
//! [`transcript`] says how a transcript is written and what is demanded of the machine when one is played.

#![forbid(unsafe_code)]

pub mod transcript;
