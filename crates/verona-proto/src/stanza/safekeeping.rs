//! What a stanza carries with it when somebody keeps a copy of it: it is let go when the stanza is.
//!
//! A copy on disk may be thrown away when the stanza has arrived or its sender has been told, and whoever learns of
//! either lets go of the stanza. So letting go is the sign, and no place that ends a stanza has to know of the copy.

use std::fmt;
use std::sync::Arc;

/// Stands for the copy with a number. When the last clone is dropped, the copy is no longer needed.
#[derive(Clone)]
pub struct Safekeeping(Arc<Kept>);

/// Told the number of a copy that is no longer needed. It runs wherever a stanza is dropped, under the lock of an outbox
/// as well: it should do no more than note the number.
pub type Release = Arc<dyn Fn(u64) + Send + Sync>;

impl Safekeeping {
    /// Of the copy with this number.
    #[must_use]
    pub fn new(number: u64, release: Release) -> Self {
        Self(Arc::new(Kept { number, release }))
    }

    /// The number of the copy.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }
}

struct Kept {
    number: u64,
    release: Release,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A task that panics has neither delivered nor returned what it drops: the copy is all that is left of it.
        if !std::thread::panicking() {
            (self.release)(self.number);
        }
    }
}

/// A copy is kept or not; the stanza is the same.
impl PartialEq for Safekeeping {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Safekeeping {}

impl fmt::Debug for Safekeeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Safekeeping").field(&self.0.number).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    use super::*;
    use crate::addr::{Domain, Hosts, Jid};
    use crate::outbox::{self, OutboxLimit};
    use crate::stanza::{Reason, Stanza, StanzaKind, Undelivered, bounce};

    /// A stanza whose copy has this number, and what was let go.
    fn kept(number: u64) -> (Stanza, Arc<Mutex<Vec<u64>>>) {
        let released: Arc<Mutex<Vec<u64>>> = Arc::default();
        let note = Arc::clone(&released);
        let jid = |text| Jid::parse(text).unwrap();
        let stanza = Stanza::build(
            StanzaKind::Message,
            &jid("romeo@montague.lit"),
            &jid("juliet@capulet.lit"),
            None,
            Some("1"),
            "",
        );
        let release: Release = Arc::new(move |number| {
            note.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(number);
        });
        (
            stanza.in_safekeeping(Safekeeping::new(number, release)),
            released,
        )
    }

    #[test]
    fn a_copy_is_let_go_when_its_stanza_is_acknowledged_and_not_when_it_is_pulled() {
        //= SM-11
        let (stanza, released) = kept(7);
        let (feeder, mut drain) = outbox::new(OutboxLimit {
            stanzas: 1,
            bytes: 1000,
        });
        #[allow(
            clippy::disallowed_methods,
            reason = "a test needs some instant to begin with"
        )]
        feeder.push(stanza, Instant::now()).unwrap();
        drop(drain.pull());
        assert!(released.lock().unwrap().is_empty(), "it may not arrive");
        drain.acknowledge(1);
        assert_eq!(*released.lock().unwrap(), [7]);
    }

    #[test]
    fn the_error_for_a_stanza_inherits_its_copy() {
        let (stanza, released) = kept(3);
        let hosts = Hosts::new([Domain::parse("montague.lit").unwrap()]);
        let why = Undelivered::new(Reason::Expired, "capulet.lit", "");
        let error = bounce(&hosts, &stanza, &why).unwrap();
        drop(stanza);
        assert!(
            released.lock().unwrap().is_empty(),
            "the sender has not been told yet"
        );
        drop(error);
        assert_eq!(*released.lock().unwrap(), [3]);
    }

    #[test]
    fn a_panic_lets_nothing_go() {
        let (stanza, released) = kept(1);
        let task = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = stanza;
            panic!("as a task may");
        }));
        assert!(task.is_err());
        assert!(released.lock().unwrap().is_empty());
    }

    #[test]
    fn a_stanza_is_the_same_with_a_copy_and_without() {
        let ((one, _), (other, _)) = (kept(1), kept(2));
        assert_eq!(one, other);
        assert_eq!(format!("{:?}", one.safekeeping()), "Some(Safekeeping(1))");
    }
}
