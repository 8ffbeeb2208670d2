//! On which grounds two engines believe each other, with all that this takes: DNS, web servers, handshakes, a restart.
//!
//! Each engine has an address of its own on loopback, found by DNS. What a bot on one of them reads is what people get.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod certificate;
mod log;
mod pins;
mod plain;
mod posh;
mod posh_expires;
mod server;
mod weaker;
mod web;
mod world;
