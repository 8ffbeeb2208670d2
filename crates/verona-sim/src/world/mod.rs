//! A world of servers, components and a network that fails, in time that is computed: one seed, one world.
//!
//! The machines are the real ones, all of them: streams, federations, links of components, switchboards, outboxes. What
//! drives them in the engine, tasks and sockets, is here a turn at a time, in an order that the seed chooses. No thread,
//! no I/O, no clock; TLS is three flights without content and the evidence that they would have brought.
//!
//! After every step the invariants are looked at ([`play`] names the first that is broken), and when the world has fallen
//! silent every stanza must have been delivered or returned, or be one of those of which the observer knows how they were
//! lost, by a rule that allows it.
#![allow(
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "test support: a plan that makes no sense may panic, and most events concern no invariant"
)]

mod chance;
mod clock;
mod connection;
mod coverage;
mod generate;
mod held;
mod invariants;
mod ledger;
mod link;
mod network;
mod outside;
mod plan;
mod play;
mod program;
mod server;
mod shared;
mod shrink;
mod text;

pub use coverage::Coverage;
pub use generate::generate;
pub use plan::{
    Action, Crash, DnsAnswer, Expectation, Heard, LinkPlan, Parting, Plan, ProofPlan, ServerPlan,
    Which,
};
pub use play::{Outcome, play, tell};
pub use shrink::shrink;
pub use text::{parse, print};
