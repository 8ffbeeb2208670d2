//! Plays an XMPP server well or badly over real sockets, and judges what another server makes of it.
//!
//! Why a kit of its own and not a test of verona: what it asks is asked of every server, and a rule that others break
//! is one that verona has to survive. Reading order: `case`, `verdict`, `scene`, then a file of `catalogue`.
#![forbid(unsafe_code)]

pub mod authority;
pub mod case;
pub mod catalogue;
pub mod dns;
pub mod element;
pub mod key;
pub mod neighbour;
pub mod report;
pub mod run;
pub mod scene;
pub mod servers;

pub mod tls;
pub mod verdict;
pub mod wire;
