//! How far a component's link has come: each phase owns what it needs and when it gives up.
//!
//! A phase is a type, so that nothing can be asked of a link that it does not have yet.

use std::sync::Arc;
use std::time::Instant;

use crate::addr::LocalDomain;
use crate::stanza::StreamCondition;

#[derive(Debug)]
pub(super) enum Phase {
    AwaitHeader(AwaitHeader),
    AwaitHandshake(AwaitHandshake),
    AwaitAcceptance(AwaitAcceptance),
    Open(Open),
    Closing(Closing),
    Closed,
}

/// The connection was accepted.
#[derive(Debug)]
pub(super) struct AwaitHeader {
    pub(super) deadline: Instant,
}

/// The headers are exchanged.
#[derive(Debug)]
pub(super) struct AwaitHandshake {
    pub(super) deadline: Instant,
    pub(super) domain: LocalDomain,
    /// 'xml:lang' of the component's header.
    pub(super) lang: Option<Arc<str>>,
}

/// The handshake was right; whether the domain is free is known elsewhere.
#[derive(Debug)]
pub(super) struct AwaitAcceptance {
    pub(super) deadline: Instant,
    pub(super) domain: LocalDomain,
    pub(super) lang: Option<Arc<str>>,
}

/// Stanzas flow.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) domain: LocalDomain,
    pub(super) lang: Option<Arc<str>>,
}

/// Our end tag is written, the component's is not here.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) deadline: Instant,
    /// Why we closed.
    pub(super) condition: StreamCondition,
    /// What the component sends is still taken, if it was accepted.
    pub(super) open: Option<Open>,
}
