//! What the federation is told, and what it wants done.

use std::time::Instant;

use super::reloading::Reload;
use super::resumption::LostStream;
use crate::addr::{Domain, DomainPair};
use crate::carriage::{Left, Settled};
use crate::dialback::Verdict;
use crate::discovery::{DiscoveryError, OtherHost, Target};
use crate::grounds::{Assurance, Identity};
use crate::outbox::Drain;
use crate::stanza::{Stanza, Undelivered};
use crate::stream::{Event, Fault, Purpose, StreamError, Ticket};

/// Names a stream within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(pub u64);

/// Names an attempt to reach a domain within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey(pub u64);

/// On whose account something is looked up or dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Errand {
    /// Somebody of ours has something to send.
    Own,
    /// A peer that may have proven nothing wants to be believed: anybody can make us do it.
    Stranger,
}

/// One thing that happens to the federation.
#[derive(Debug)]
pub enum Signal {
    /// A pair has its first stanza (said once for each queue).
    Wanted(DomainPair, Drain),
    /// A connection was accepted.
    Accepted(StreamKey),
    /// Something happened on a stream.
    Stream(StreamKey, Event),
    /// A stream has ended; it hands back the queues that it carried.
    Ended(StreamKey, Remains),
    /// A stream took no command for a pair any more, to carry its queue (which is here) or to ask for it: it has ended or
    /// is about to, and says so itself ([`Self::Ended`]).
    Undone(StreamKey, DomainPair, Option<Drain>),
    /// A domain's servers were looked up.
    Discovered(AttemptKey, Result<Vec<Target>, DiscoveryError>),
    /// The servers were dialled: the first one that answered, or why none did.
    Connected(AttemptKey, Result<Reached, Vec<Unreached>>),
    /// A stream that lives on gives back a queue: it may not send for the pair any more.
    Declined(StreamKey, Left),
    /// The configuration changed.
    Reload(Reload),
    /// Nothing new is begun, and every stream ends.
    Shutdown,
    /// The deadline may have passed.
    Tick,
}

/// The first of several servers that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The stream that begins on the connection.
    pub stream: StreamKey,
    /// Which server it is.
    pub target: Target,
    /// Those that failed before.
    pub failed: Vec<Unreached>,
    /// Those that were not dialled, or had not answered yet, in their order: they are worth a try.
    pub left: Vec<Target>,
}

/// A server to which there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// Which one.
    pub target: Target,
    /// Why.
    pub text: String,
    /// Whose fault it is. `Local`: we were too busy, and nothing is learned about the server. `Policy`: it may not be dialled
    /// at all.
    pub fault: Fault,
}

/// What is left of a stream.
#[derive(Debug, Default)]
pub struct Remains {
    /// The queues that it carried.
    pub queues: Vec<Left>,
    /// What can be taken up again.
    pub lost: Option<LostStream>,
}

impl Remains {
    /// Queues of which everything that was pulled certainly did not arrive.
    pub fn untouched(queues: impl IntoIterator<Item = (DomainPair, Drain)>) -> Self {
        let certain = |(pair, drain)| Left {
            pair,
            drain,
            uncertain: 0,
        };
        Self {
            queues: queues.into_iter().map(certain).collect(),
            lost: None,
        }
    }
}

/// What the federation wants done.
#[derive(Debug)]
pub enum Command {
    /// Look up the servers of a domain; the answer is [`Signal::Discovered`].
    Discover {
        /// For which attempt.
        attempt: AttemptKey,
        /// The domain.
        remote: Domain,
        /// Whether direct TLS is wanted as well (XEP-0368).
        direct_tls: bool,
    },
    /// Look up another host, to which a server of the domain sends us; the answer is [`Signal::Discovered`].
    Resolve {
        /// For which attempt.
        attempt: AttemptKey,
        /// The host. With a port its addresses are wanted, without one its servers, as for a domain (RFC 6120 §3.2).
        host: OtherHost,
        /// With a port: whether TLS begins at once there. Without one: whether direct TLS is wanted as well.
        direct_tls: bool,
    },
    /// Open a connection to the first of these servers that answers, and begin a stream on it; the answer is
    /// [`Signal::Connected`].
    Connect {
        /// For which attempt.
        attempt: AttemptKey,
        /// Where, the preferred one in front; at least one.
        targets: Vec<Target>,
        /// Until when: then the attempt is given up.
        until: Instant,
        /// What for.
        purpose: Purpose,
    },
    /// Ask on a live stream for a further pair (XEP-0220 §2.6, XEP-0288 §2.2).
    Request {
        /// The stream.
        stream: StreamKey,
        /// The pair.
        pair: DomainPair,
    },
    /// Tell a stream what the authoritative server said.
    Verdict {
        /// The stream that asked.
        stream: StreamKey,
        /// The pair in question.
        pair: DomainPair,
        /// The answer.
        verdict: Verdict,
        /// How sure it is that the authoritative server gave it (DB-54).
        assurance: Assurance,
    },
    /// Let a stream end as soon as nobody uses it: another one carries the same pairs (BIDI-53).
    Converge {
        /// The stream.
        stream: StreamKey,
    },
    /// A stream gets a queue to write.
    Carry {
        /// The stream.
        stream: StreamKey,
        /// The pair.
        pair: DomainPair,
        /// Its queue.
        drain: Drain,
    },
    /// A pair cannot be served: its queue goes to whoever filled it, to be answered with errors.
    Return {
        /// The pair.
        pair: DomainPair,
        /// Its queue.
        drain: Drain,
        /// Why.
        why: Undelivered,
    },
    /// Stanzas waited too long: they go to their senders with an error.
    Bounce {
        /// The stanzas, oldest first.
        stanzas: Vec<Stanza>,
        /// Why.
        why: Undelivered,
    },
    /// Answer a stream on which the peer takes up a lost one: how far both sides came, or nothing.
    Resume {
        /// The stream.
        stream: StreamKey,
        /// What was found.
        found: Option<Ticket>,
    },
    /// End a stream at once and without a word: the peer has lost its connection.
    Abandon {
        /// The stream.
        stream: StreamKey,
    },
    /// It became known what had arrived on a lost stream.
    Settled(Settled),
    /// End a stream.
    Close {
        /// The stream.
        stream: StreamKey,
        /// Why.
        error: StreamError,
    },
    /// Tell the operator.
    Report(Report),
}

/// What an operator may want to know of the federation's decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// We begin to look for a server of a domain.
    Seeking {
        /// The pair that wants it.
        pair: DomainPair,
    },
    /// One of a domain's servers could not be used; the next one is tried, or the attempt fails.
    TargetFailed {
        /// The pair that wanted it.
        pair: DomainPair,
        /// Which server.
        target: String,
        /// Why.
        text: String,
    },
    /// One of a domain's servers sends us to another place, which is dialled.
    Redirected {
        /// The pair that wanted it.
        pair: DomainPair,
        /// Which server.
        target: String,
        /// Where it sends us.
        host: String,
    },
    /// A domain cannot be reached now.
    Unreachable {
        /// The pair that wanted it.
        pair: DomainPair,
        /// Why.
        text: String,
        /// How many stanzas are returned to their senders.
        stanzas: usize,
        /// In how many seconds the next attempt may begin.
        retry_seconds: u64,
    },
    /// A stream serves a pair from now on.
    Carried {
        /// The pair.
        pair: DomainPair,
        /// The stream.
        stream: StreamKey,
    },
    /// A peer proved itself with another key than before (TLS-32).
    OtherKey {
        /// The peer.
        remote: Domain,
        /// What vouches for the new one.
        identity: Identity,
        /// The SHA-256 of the key before.
        before: [u8; 32],
        /// The SHA-256 of the key that it has.
        now: [u8; 32],
    },
    /// A stream was lost with stanzas on their way, and may be taken up again (XEP-0198).
    Lost {
        /// The pair that it was opened for.
        pair: DomainPair,
        /// How many stanzas the peer had not acknowledged.
        stanzas: usize,
    },
    /// A lost stream was taken up: it is known what had arrived.
    TakenUp {
        /// The pair that it was opened for.
        pair: DomainPair,
        /// How many of the stanzas on their way had arrived.
        arrived: usize,
        /// How many had not, and are sent again.
        again: usize,
    },
    /// A lost stream was not taken up: nobody knows what had arrived.
    LetGo {
        /// The pair that it was opened for.
        pair: DomainPair,
        /// How many stanzas may have arrived.
        uncertain: usize,
    },
    /// A key could not be checked.
    VerificationFailed {
        /// The pair in question.
        pair: DomainPair,
        /// Why.
        text: String,
    },
}
