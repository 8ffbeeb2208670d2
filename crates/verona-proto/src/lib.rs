//! XMPP server-to-server federation without I/O: bytes, time and randomness come in as arguments, bytes and events go
//! out, so that every order of events can be run again exactly.
//!
//! # The idea
//!
//! > Streams authorise, pairs queue, the federation assigns.
//!
//! A [`stream::Stream`] is one XML stream, both directions of one connection. It is negotiated by role, initiating or
//! receiving, and afterwards has none: it has [`authorizations`], for each pair of domains and each direction, each
//! with its [`grounds`]. Bidirectional use (XEP-0288) is then no special case: a proof in one direction opens the
//! inverse as well.
//!
//! A queue ([`outbox`]) belongs to a pair of domains and not to a connection. It has many feeding ends and one draining
//! end, the [`outbox::Drain`], which is moved and never copied: whoever holds it sends, so the order of a pair survives
//! any number of connections.
//!
//! The [`federation::Federation`] decides which stream carries which pair: it gives the drain to a stream that may send
//! for the pair, or has one sought. It sees grants, losses and the results of dialling. It never sees a stanza.
//!
//! ```text
//!            what may flow on this connection            which connection serves a pair
//!   bytes  ┌──────────────────────────────────┐  events  ┌───────────────────────────┐
//! ───────▶ │ Stream                           │ ───────▶ │ Federation                │
//! ◀─────── │   phase, authorizations          │ ◀─────── │   route per pair, attempts│
//!   bytes  └──────────────────────────────────┘ commands └───────────────────────────┘
//!                │ Admitted         ▲ pulls                     │ gives the Drain
//!                ▼                  │                           ▼
//!          ┌─────────────┐      ┌──────────────────────────────────────────┐
//!          │ Switchboard │ ───▶ │ outboxes: one per pair and per component │
//!          └─────────────┘      └──────────────────────────────────────────┘
//! ```
//!
//! # Example
//!
//! Two servers in memory. capulet.lit has opened a connection with TLS from the first byte (XEP-0368); each has seen a
//! good certificate of the other. What one writes is fed to the other until neither has anything to say. Then the pair
//! may flow both ways on the one connection, and montague.lit sends on it although it did not open it.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use verona_proto::addr::{Direction, Domain, Hosts, Jid};
//! use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
//! use verona_proto::dialback::{Secret, Secrets};
//! use verona_proto::policy::Policy;
//! use verona_proto::stanza::{Stanza, StanzaKind};
//! use verona_proto::stream::{Event, Input, Memory, Output, Pace, Purpose, Secured, Stream, StreamConfig, StreamIds};
//!
//! /// What a server that hosts `domain` knows; two domains that it hosts would be two in `Hosts`.
//! fn server(domain: &Domain) -> Arc<StreamConfig> {
//!     Arc::new(StreamConfig {
//!         hosts: Arc::new(Hosts::new([domain.clone()])),
//!         policy: Arc::new(Policy::default()),
//!         secrets: Secrets::from(Secret::new("of no use here: certificates suffice")),
//!         tls_available: true,
//!         attestations: verona_proto::stream::Attestations::Unavailable,
//!         memory: Memory::default(),
//!     })
//! }
//!
//! /// What the TLS layer found out about a peer with a good certificate for `domain`.
//! fn certified(domain: &Domain, now: Instant) -> Secured {
//!     Secured {
//!         certificate: PeerCertificate {
//!             chain: Chain::Valid,
//!             names: vec![CertificateName::Dns(domain.to_string())],
//!             expires: Some(now + std::time::Duration::from_secs(3600)),
//!             ..PeerCertificate::absent()
//!         },
//!         own_certificate: true,
//!     }
//! }
//!
//! /// Stream ids must be unpredictable outside of an example.
//! fn ids(name: &'static str) -> StreamIds {
//!     let mut count = 0;
//!     StreamIds::new(move || {
//!         count += 1;
//!         format!("{name}-{count}")
//!     })
//! }
//!
//! /// One mutation, then `poll` to the end: the contract of every machine here.
//! fn outputs(stream: &mut Stream) -> Vec<Output> {
//!     std::iter::from_fn(|| stream.poll()).collect()
//! }
//!
//! let (capulet, montague) = (Domain::parse("capulet.lit")?, Domain::parse("montague.lit")?);
//! let (here, there) = (server(&capulet), server(&montague));
//! let now = Instant::now();
//!
//! // Only `Hosts` makes a pair, so nobody can forget to ask whether a domain is ours.
//! let pair = here.hosts.pair(Direction::Outbound, &capulet, &montague).expect("one is ours, one is not");
//! let purpose = Purpose::Carry { pair, external: true, bidi: true, pace: Pace::Stepwise, resume: Vec::new() };
//! let mut opened = Stream::initiating(here, purpose, ids("c"), Some(certified(&montague, now)), now);
//! let mut accepted = Stream::receiving(Arc::clone(&there), ids("m"), Some(certified(&capulet, now)), now);
//!
//! let mut granted = Vec::new();
//! loop {
//!     let (sent, received) = (opened.transmit().split(), accepted.transmit().split());
//!     if sent.is_empty() && received.is_empty() {
//!         break;
//!     }
//!     accepted.handle(Input::Bytes(&sent), now);
//!     for output in outputs(&mut accepted) {
//!         if let Output::Event(Event::Granted(grant)) = output {
//!             granted.push(format!("{:?} by {}", grant.direction, grant.grounds));
//!         }
//!     }
//!     opened.handle(Input::Bytes(&received), now);
//!     outputs(&mut opened);
//! }
//! // capulet.lit is believed because of its certificate (SASL EXTERNAL); the other direction follows from that.
//! assert_eq!(granted, ["Inbound by sasl", "Outbound by inverse of certificate"]);
//! assert!(opened.is_bidirectional() && accepted.is_bidirectional());
//!
//! // The accepting side sends.
//! let (from, to) = (Jid::parse("romeo@montague.lit")?, Jid::parse("juliet@capulet.lit")?);
//! let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, "<body>O, wilt thou?</body>");
//! let pair = there.hosts.pair(Direction::Outbound, &montague, &capulet).expect("one is ours, one is not");
//! accepted.send(&pair, &stanza, now).expect("the pair is granted");
//! opened.handle(Input::Bytes(&accepted.transmit().split()), now);
//! let arrived = outputs(&mut opened);
//! assert!(matches!(&arrived[..], [Output::Deliver(admitted)] if admitted.stanza().recipient() == to));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Contract
//!
//! The machines are [`stream::Stream`], [`federation::Federation`] and [`component::ComponentLink`]. Each is driven in
//! the same way: one `handle` (or `send`), then `poll` until `None`, then write what `transmit` holds, then sleep until
//! the next input or `deadline`, which is answered with a `Tick`. A caller that polls too little delays itself; it
//! cannot corrupt a machine.
//!
//! There is no clock, socket, randomness, log or global in this crate, and nothing that a peer sends makes it panic or
//! grow beyond [`limits`]. The engine `verona` drives it on Tokio; any other runtime may.
//!
//! # Reading order
//!
//! From the top of this table: a module uses the layers above its own. `cargo xtask tidy` checks that.
//!
//! | layer | modules | about |
//! |---|---|---|
//! | L1 | [`ns`], [`limits`], [`addr`] | data |
//! | L2 | [`grounds`], [`dane`], [`stanza`] | what travels, and why it may |
//! | L3 | [`outbox`], [`authorizations`], [`dialback`], [`certificate`], [`policy`], [`trust`], [`discovery`], [`learned`], [`proxy_header`] | one thing each |
//! | L4 | [`stream`], [`component`], [`switchboard`], [`local`] | one connection, and what is reached from there |
//! | L5 | [`federation`] | all connections |
#![forbid(unsafe_code)]

pub mod addr;
pub mod authorizations;
pub mod carriage;
pub mod certificate;
pub mod component;
pub mod dane;
pub mod dialback;
pub mod discovery;
pub mod federation;
mod few;
pub mod grounds;
pub mod learned;
pub mod limits;
pub mod local;
pub mod ns;
pub mod outbox;
pub mod policy;
pub mod proxy_header;
pub mod stanza;
pub mod stream;
pub mod switchboard;
pub mod trust;
pub mod turns;
