//! A hosted domain served by the program itself, without a component's socket.
//!
//! An attachment stands where a component's connection stands: it has the domain's queue, and what it sends is
//! admitted by its domain alone.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep};
use verona_proto::addr::{Domain, LocalDomain};
use verona_proto::outbox::{Drain, Feeder};
use verona_proto::stanza::{Reason, Safekeeping, Stanza, Undelivered, originate};

use crate::shared::Shared;

/// The traffic of one hosted domain, in the program's own hands. Made by [`crate::Handle::attach`].
///
/// Dropping it gives the domain back: local services answer again, and what was not received is returned to its
/// senders.
#[derive(Debug)]
pub struct Attachment {
    shared: Arc<Shared>,
    domain: LocalDomain,
    feeder: Feeder,
    /// `None` only while it is being dropped.
    drain: Option<Drain>,
    bell: Arc<Notify>,
}

impl Attachment {
    pub(crate) fn new(shared: &Arc<Shared>, domain: &Domain) -> Result<Self, AttachError> {
        let domain = shared
            .hosts()
            .local(domain)
            .ok_or_else(|| AttachError::NotHosted(domain.clone()))?;
        let (feeder, mut drain) = match shared.waiting.take(&domain) {
            Some(queue) => queue,
            None => {
                let limit = shared.current().component_limit();
                let (feeder, drain) = shared.switchboard.outbox(limit);
                //= COMP-12
                shared
                    .switchboard
                    .attach(domain.clone(), feeder.clone())
                    .map_err(|_| AttachError::Taken(domain.domain().clone()))?;
                (feeder, drain)
            }
        };
        let bell = Arc::new(Notify::new());
        let ring = Arc::clone(&bell);
        drain.ring_with(Arc::new(move || ring.notify_one()));
        Ok(Self {
            shared: Arc::clone(shared),
            domain,
            feeder,
            drain: Some(drain),
            bell,
        })
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        self.domain.domain()
    }

    /// Waits for the next stanza for the domain: from a peer, from another of our domains, or an error for something
    /// that was sent. Giving up the wait loses nothing.
    pub async fn receive(&mut self) -> Stanza {
        loop {
            if let Some(drain) = &mut self.drain
                && let Some(stanza) = drain.pull()
            {
                drain.acknowledge(1);
                return stanza;
            }
            self.bell.notified().await;
        }
    }

    /// Sends a stanza from an address of the domain. It is on its way when this returns, and on disk if the domain has a
    /// journal, unless the engine ended meanwhile; should it not arrive, an error comes back by [`Attachment::receive`].
    ///
    /// # Errors
    /// [`SendError`] when the sender is not of this domain, the recipient's domain cannot be named, too much is
    /// waiting for the recipient already, or the engine stops.
    pub async fn send(&self, stanza: Stanza) -> Result<(), SendError> {
        //= COMP-10
        if stanza.from() != self.domain.domain() {
            return Err(SendError::ForeignSender);
        }
        // As from a component: nobody would be there any more to tell what became of it.
        if *self.shared.stop.borrow() {
            return Err(SendError::Stopping(Box::new(stanza)));
        }
        let Some(mut admitted) = originate(&self.shared.hosts(), stanza) else {
            return Err(SendError::NoRoute);
        };
        admitted = match self.shared.keep(admitted) {
            Some(kept) => kept,
            // The error is on its way.
            None => return Ok(()),
        };
        let kept = admitted
            .stanza()
            .safekeeping()
            .map_or(0, Safekeeping::number);
        let until = Instant::now() + PATIENCE;
        loop {
            let full = match self.shared.route(admitted) {
                None => {
                    if let Some(journal) = &self.shared.journal {
                        journal.safe_or_ended(kept).await;
                    }
                    return Ok(());
                }
                Some(full) => full,
            };
            if *self.shared.stop.borrow() {
                return Err(SendError::Stopping(Box::new(
                    full.admitted.stanza().clone(),
                )));
            }
            if Instant::now() >= until {
                self.shared.reached(full.limit);
                return Err(SendError::Full(Box::new(full.admitted.stanza().clone())));
            }
            admitted = full.admitted;
            sleep(RETRY).await;
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.shared.switchboard.detach(&self.domain, &self.feeder);
        let (Some(drain), Ok(runtime)) = (self.drain.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (shared, domain) = (Arc::clone(&self.shared), self.domain.clone());
        runtime.spawn(async move {
            //= ROUTE-19
            let why = Undelivered::new(Reason::ComponentAway, &domain, "");
            crate::component::bounce_all(&shared, drain, &why);
        });
    }
}

/// Why a domain was not attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// It is not among the hosted domains of the configuration.
    NotHosted(Domain),
    /// A component, or another attachment, serves it (COMP-12).
    Taken(Domain),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHosted(domain) => write!(f, "{domain} is not among the hosted domains"),
            Self::Taken(domain) => {
                write!(f, "{domain} is served by a component or another attachment")
            }
        }
    }
}

impl std::error::Error for AttachError {}

/// Why a stanza was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Its 'from' is not an address of the attached domain (COMP-10).
    ForeignSender,
    /// Its 'to' and 'from' make no pair of domains.
    NoRoute,
    /// Too much waits for its recipient; here it is back (ROUTE-23).
    Full(Box<Stanza>),
    /// The engine shuts down, or has: nothing more is taken. Here it is back.
    Stopping(Box<Stanza>),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignSender => "the stanza's sender is not of the attached domain",
            Self::NoRoute => "the stanza's addresses make no pair of domains",
            Self::Full(_) => "too much is waiting for the stanza's recipient",
            Self::Stopping(_) => "the server is shutting down",
        })
    }
}

impl std::error::Error for SendError {}

/// How long a sender waits for room.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const RETRY: Duration = Duration::from_millis(5);
