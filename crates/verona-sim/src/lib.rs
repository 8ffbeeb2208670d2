//! Test support for verona: transcripts of streams, played against the machine that speaks in production. A protocol
//! is judged by what is on the wire, so its tests should read like the wire.
//!
//! [`transcript`] says how a transcript is written and what is demanded of the machine when one is played. [`name_server`] is
//! a DNS server that misbehaves as a test tells it to. [`world`] is a whole network of servers in computed time.

#![forbid(unsafe_code)]

pub mod name_server;
pub mod transcript;
pub mod world;
