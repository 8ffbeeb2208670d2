//! Addresses, and which of them are ours.
//!
//! "Is it ours?" cannot be forgotten: only [`Hosts`] makes a [`DomainPair`], and without a pair nothing is authorised.

mod domain;
mod hosts;
mod jid;
mod recent;
mod shares;

pub use domain::{BadDomain, Domain};
pub use hosts::{Direction, DomainPair, Hosts, LocalDomain, NotAPair, RemoteDomain};
pub(crate) use jid::Parts;
pub use jid::{BadJid, Jid};
pub use recent::RecentDomains;
pub use shares::Shares;
