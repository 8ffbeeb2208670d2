//! Where the daemon is asked how it is: the page's API on one end, the command line on the other.
//!
//! What only reads, and ping, needs no token; what changes something does.

pub(crate) mod ask;
mod client;
mod guard;
mod listener;
mod metrics;
mod orders;
mod routes;
mod table;
mod token;

pub(crate) use listener::Listener;
pub(crate) use orders::Order;
pub(crate) use routes::Admin;
pub(crate) use table::aligned;
pub(crate) use token::{CurrentToken, Token};
