//! XMPP federation for any Tokio program: it binds the ports, finds, proves and dials other servers, and carries
//! stanzas both ways over one connection with each of them (XEP-0288).
//!
//! # The idea
//!
//! An [`Engine`] hosts domains. Behind each stands a component (XEP-0114), a program in any language that attaches over
//! a local socket, or nothing: then the engine itself answers pings and service discovery for the domain. In front is
//! the network of XMPP servers.
//!
//! ```text
//!   components                    Engine                     other servers
//!  ┌──────────┐  XEP-0114  ┌──────────────────┐   one TLS   ┌──────────────┐
//!  │ a bridge │ ◀────────▶ │ component task   │  connection │              │
//!  └──────────┘            │   ↕ outboxes     │    each     │              │
//!  ┌──────────┐            │ connection task  │ ◀─────────▶ │ montague.lit │
//!  │ a bot    │ ◀────────▶ │ connection task  │ ◀─────────▶ │ laurence.lit │
//!  └──────────┘            │   ↕ signals      │             │              │
//!                          │ federation task  │             │              │
//!                          └──────────────────┘             └──────────────┘
//! ```
//!
//! Each connection, each component and the federation is a task. The tasks move bytes; every decision is made by the
//! machines of [`verona_proto`], which do no I/O. Types of that crate (`Domain`, `Jid`, `Policy`, `Limits`) are part of
//! this one's interface, so a program that embeds the engine depends on both.
//!
//! # Example
//!
//! Two engines on loopback. Only capulet.lit is told where the other listens. Once it has dialled, montague.lit pings
//! back over the same connection. It could not dial if it wanted to: it knows no address and its DNS server is nobody.
//!
//! ```
//! use std::time::Duration;
//!
//! use verona::config::{HostedDomain, PeerAddress, S2s};
//! use verona::tls::{Certificates, TrustRoots};
//! use verona::{Config, Engine};
//! use verona_proto::addr::{Domain, Jid};
//! use verona_proto::dialback::IssuedKeys;
//! use verona_proto::policy::{DomainPattern, Policy};
//!
//! type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//!
//! /// One domain without a component. `pem` is its certificate chain and key, `authority` what proves the other side.
//! fn config(name: &Domain, pem: String, authority: &str) -> Result<Config> {
//!     Ok(Config {
//!         domains: vec![HostedDomain { name: name.clone(), component: None }],
//!         s2s: S2s { listen: vec!["127.0.0.1:0".parse()?], ..S2s::default() },
//!         certificates: Certificates::from_pem(vec![(name.clone(), pem)])?,
//!         trust: TrustRoots::from_pem(authority)?,
//!         dns_servers: vec!["127.0.0.1:9".parse()?], // empty: those of the system
//!         dialback_secret: None,                     // a random one
//!         issued_keys: IssuedKeys::default(),        // no other process makes keys of our secret
//!         policy: Policy::default(),
//!         learned: Vec::new(),                       // what `Handle::peers` gave last time
//!         ..Config::default()
//!     })
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     let (capulet, montague) = (Domain::parse("capulet.lit")?, Domain::parse("montague.lit")?);
//!     # let authority = rcgen::CertifiedIssuer::self_signed(
//!     #     { let mut ca = rcgen::CertificateParams::default();
//!     #       ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained); ca },
//!     #     rcgen::KeyPair::generate()?)?;
//!     # let pem = |name: &Domain| -> Result<String> {
//!     #     let key = rcgen::KeyPair::generate()?;
//!     #     let params = rcgen::CertificateParams::new(vec![name.to_string()])?;
//!     #     Ok(params.signed_by(&key, &authority)?.pem() + &key.serialize_pem())
//!     # };
//!     # let authority = authority.pem();
//!     // `pem` reads a domain's file and `authority` is a CA's certificate, both as text.
//!     let theirs = Engine::start(config(&montague, pem(&montague)?, &authority)?).await?;
//!
//!     let mut ours = config(&capulet, pem(&capulet)?, &authority)?;
//!     let address = PeerAddress { address: theirs.s2s_addresses()[0], direct_tls: false };
//!     ours.addresses.push((DomainPattern::Exact(montague.clone()), address));
//!     let ours = Engine::start(ours).await?;
//!
//!     let patience = Duration::from_secs(5);
//!     ours.handle().ping(&capulet, &Jid::from(montague.clone()), patience).await?;
//!     theirs.handle().ping(&montague, &Jid::from(capulet), patience).await?;
//!
//!     let links = ours.handle().links();
//!     assert_eq!(links.len(), 1);
//!     assert!(links[0].bidi);
//!     assert_eq!((links[0].stanzas_out, links[0].stanzas_in), (2, 2));
//!
//!     // Both at once: each waits a moment for the other's closing tag.
//!     let (drained, _) = tokio::join!(ours.shutdown(), theirs.shutdown());
//!     assert_eq!((drained.delivered, drained.bounced), (2, 0));
//!     Ok(())
//! }
//! ```
//!
//! # What there is
//!
//! - [`Config`]: everything that an engine needs to know. The daemon makes it from a file, your program in code.
//!   [`Certificates::from_directory`](tls::Certificates::from_directory) and [`TrustRoots::load`](tls::TrustRoots::load)
//!   read PEM files.
//! - [`Engine::start`] binds the listeners and starts; [`Engine::shutdown`] delivers or returns what was taken, and says
//!   how much that was ([`Drained`]). Dropping the engine ends everything at once.
//! - [`Handle`], cheap to clone: [`links`](Handle::links), [`peers`](Handle::peers),
//!   [`components`](Handle::components), [`queues`](Handle::queues), [`ping`](Handle::ping),
//!   [`close`](Handle::close), [`attach`](Handle::attach), [`reload`](Handle::reload).
//! - What experience taught about each peer is known to [`Handle::peers`]; [`Config::learned`] takes it over from an
//!   earlier run, and [`Handle::forget`] forgets it.
//! - [`trace`]: every element that crosses a connection, for demonstrations and debugging.
//! - Events go to `tracing`; `docs/operating.md` of the repository lists them. Payload is never logged.
//!
//! Stanzas enter and leave through components; an interface for stanzas inside the process does not exist yet.
//! [`Handle::reload`] replaces the configuration of an engine that runs.
#![forbid(unsafe_code)]

mod alarm;
mod attachment;
mod attest;
mod closing;
mod component;
pub mod config;
mod connection;
mod current;
mod date;
mod dialer;
mod engine;
mod federation;
mod gate;
mod held;
mod journal;
mod learned;
mod listener;
mod listeners;
mod mailbox;
mod memory;
pub mod network;
mod observe;
mod ping;
mod posh;
mod proxied;
mod queues;
mod random;
mod read;
mod reload;
pub mod resolver;
mod shared;
pub mod simulated;
pub mod status;
mod throttle;
pub mod tls;
pub mod trace;
mod waiting;
mod wire;

pub use attachment::{AttachError, Attachment, SendError};
pub use config::Config;
pub use engine::{Drained, Engine, Handle, StartError};
pub use journal::JournalError;
pub use learned::{LearnedFailure, LearnedLesson, LearnedPeer, LearnedProof};
pub use ping::PingError;
pub use queues::{Queue, Waits};
pub use reload::Reloaded;
/// The protocol's types, as [`Config`] and [`Handle`] use them.
pub use verona_proto as proto;
