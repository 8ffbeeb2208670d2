//! Real XMPP servers against the real `verona`, judged by what was on the wire.
//! Why a crate of its own: the other tests ask whether verona does what we think; this one asks whether the world agrees.
//!
//! Reading order: [`catalogue`] (what is tried), [`cases`] (how), [`scene`] (the servers of one case), [`judge`] (what has
//! to be true of the wire), [`wire`] and [`sockets`] (the two witnesses), then [`prosody`], [`verona`], [`dns`], [`certs`]
//! and [`process`].
//!
//! Each case has its own folder, ports, authority and name server; nothing of the machine is read or changed, and every
//! process ends with its case.
#![forbid(unsafe_code)]

pub mod cases;
pub mod catalogue;
pub mod certs;
pub mod chance;
pub mod chaos;
pub mod clients;
pub mod components;
pub mod crossing;
pub mod dane;
pub mod dns;
pub mod ejabberd;
mod ejabberd_direct;
pub mod elements;
pub mod eyeballs;
pub mod fault_proxy;
pub mod haproxy;
pub mod jabberd2;
pub mod journal;
pub mod judge;
pub mod matrix;
pub mod namespace;
pub mod power_loss;
pub mod process;
pub mod prosody;
pub mod rotation;
pub mod scene;
pub mod signed;
pub mod slow_peer;
pub mod sockets;
pub mod speaker;
pub mod verona;
pub mod wire;
