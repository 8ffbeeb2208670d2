//! How one pair is served now. The drain lives in the states that have no stream.

use std::time::Instant;

use super::{AttemptKey, StreamKey};
use crate::outbox::Drain;

/// How one pair is served.
#[derive(Debug)]
pub enum Route {
    /// An attempt to reach the remote domain is under way.
    Seeking {
        /// The queue, waiting.
        drain: Drain,
        /// The attempt.
        attempt: AttemptKey,
    },
    /// The pair was asked for on a live stream (multiplexing).
    Requested {
        /// The queue, waiting.
        drain: Drain,
        /// The stream.
        stream: StreamKey,
    },
    /// The peer is just opening a stream that will do (BIDI-56).
    Expected {
        /// The queue, waiting.
        drain: Drain,
        /// The stream.
        stream: StreamKey,
        /// How long it is waited for.
        until: Instant,
    },
    /// A stream drains the queue. It has the drain, we do not.
    Carried {
        /// That stream.
        stream: StreamKey,
    },
    /// The stream that had the drain is lost, and it will be known what arrived: the stream has the drain.
    Suspended,
    /// The remote domain could not be reached a moment ago; it is left alone for a while.
    Resting {
        /// The queue, waiting.
        drain: Drain,
        /// When to try again.
        until: Instant,
    },
}

impl Route {
    /// The queue, if no stream has it.
    pub(super) fn drain_mut(&mut self) -> Option<&mut Drain> {
        match self {
            Self::Seeking { drain, .. }
            | Self::Requested { drain, .. }
            | Self::Expected { drain, .. }
            | Self::Resting { drain, .. } => Some(drain),
            Self::Carried { .. } | Self::Suspended => None,
        }
    }

    /// The queue, if no stream has it.
    pub(super) fn into_drain(self) -> Option<Drain> {
        match self {
            Self::Seeking { drain, .. }
            | Self::Requested { drain, .. }
            | Self::Expected { drain, .. }
            | Self::Resting { drain, .. } => Some(drain),
            Self::Carried { .. } | Self::Suspended => None,
        }
    }

    /// For status.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Seeking { .. } => "seeking",
            Self::Requested { .. } => "requested",
            Self::Expected { .. } => "expected",
            Self::Carried { .. } => "carried",
            Self::Suspended => "suspended",
            Self::Resting { .. } => "resting",
        }
    }
}
