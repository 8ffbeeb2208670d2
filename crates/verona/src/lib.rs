//! XMPP federation for any Tokio program.
#![forbid(unsafe_code)]

pub mod config;
pub mod network;
pub mod resolver;
pub mod status;
pub mod tls;
pub mod trace;
