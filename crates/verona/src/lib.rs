//! XMPP federation for any Tokio program.
#![forbid(unsafe_code)]

mod carried;
mod component;
pub mod config;
mod connection;
mod dialer;
mod engine;
mod federation;
mod gate;
mod held;
mod listener;
pub mod network;
mod observe;
mod ping;
mod random;
pub mod resolver;
mod shared;
pub mod status;
pub mod tls;
pub mod trace;

pub use config::Config;
pub use engine::{Drained, Engine, Handle, StartError};
pub use ping::PingError;
