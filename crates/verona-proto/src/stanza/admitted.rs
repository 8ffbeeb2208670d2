//! The proof that a stanza may travel.
//!
//! Routing takes nothing else, so that no way past the check of the sender can be written by mistake.

use super::{Safekeeping, Stanza};
use crate::addr::{DomainPair, LocalDomain};

/// A stanza whose origin was allowed to send it, and where it goes.
///
/// Made where the origin is known and nowhere else: by the authorisations of a stream for what a peer sends, by a
/// component's link for what the component sends, by [`bounce`](super::bounce()) and its neighbours for what we say
/// ourselves.
///
/// ```compile_fail,E0451
/// # use verona_proto::stanza::{Admitted, Destination, Stanza};
/// fn forge(destination: Destination, stanza: Stanza) -> Admitted {
///     Admitted { destination, stanza } // the fields are private
/// }
/// ```
///
/// ```compile_fail,E0624
/// # use verona_proto::stanza::{Admitted, Destination, Stanza};
/// fn forge(destination: Destination, stanza: Stanza) -> Admitted {
///     Admitted::new(destination, stanza) // and so is the constructor
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    destination: Destination,
    stanza: Stanza,
}

impl Admitted {
    pub(crate) fn new(destination: Destination, stanza: Stanza) -> Self {
        Self {
            destination,
            stanza,
        }
    }

    /// Whose outbox it goes to.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The stanza itself.
    #[must_use]
    pub fn stanza(&self) -> &Stanza {
        &self.stanza
    }

    /// The same, of which a copy is kept until it is dropped.
    #[must_use]
    pub fn in_safekeeping(self, safekeeping: Safekeeping) -> Self {
        Self {
            stanza: self.stanza.in_safekeeping(safekeeping),
            ..self
        }
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (Destination, Stanza) {
        (self.destination, self.stanza)
    }
}

/// Where an admitted stanza goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To what serves one of our domains: it never leaves the process (ROUTE-25).
    Local(LocalDomain),
    /// Out, over whatever stream carries the pair.
    Remote(DomainPair),
}
