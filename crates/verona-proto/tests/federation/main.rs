//! Which stream carries which pair: what the federation is told, and every command that it answers with. The mutations
//! of scenarios A and B that concern several streams are here.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

mod crossing;
mod flood;
mod learning;
mod redirects;
mod reloads;
mod resumption;
mod routes;
mod told;
mod world;
