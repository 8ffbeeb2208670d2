//! What bounds cost, and whom: components that leave and return, recipients that are slow, queues that are full.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod crowd;
mod returning;
mod world;
