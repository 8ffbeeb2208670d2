//! The commands for one connection, and the bell that wakes it.
//!
//! A channel of Tokio has room for 32 messages with the first one, for each of ten thousand connections that are sent a
//! handful in their lives. This is a list behind a lock that is taken when there is something in it. The bell is the one that
//! the queues of a connection ring: whoever is woken looks what there is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::connection::ConnectionCommand;
use crate::shared::lock;

/// A mailbox in which at most `most` commands wait, and its two ends.
pub(crate) fn mailbox(most: usize) -> (Mailbox, Inbox) {
    let slot = Arc::new(Slot {
        bell: Notify::new(),
        count: AtomicUsize::new(0),
        most,
        contents: Mutex::new(Contents::Open(VecDeque::new())),
    });
    (Mailbox(Arc::clone(&slot)), Inbox(slot))
}

#[derive(Debug)]
struct Slot {
    bell: Notify,
    /// How many wait: looked at without the lock, for nearly always there is none.
    count: AtomicUsize,
    most: usize,
    contents: Mutex<Contents>,
}

#[derive(Debug)]
enum Contents {
    Open(VecDeque<ConnectionCommand>),
    /// The connection takes no more.
    Closed,
}

/// The end that gives; anyone may have one.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(Arc<Slot>);

/// Why a command was not taken; it comes back.
#[derive(Debug)]
pub(crate) enum Refused {
    /// As many wait as may.
    Full(ConnectionCommand),
    /// The connection has ended, or ends.
    Closed(ConnectionCommand),
}

impl Mailbox {
    /// Gives a command.
    pub(crate) fn give(&self, command: ConnectionCommand) -> Result<(), Refused> {
        self.put(command, self.0.most)
    }

    /// Gives a command even where as many wait as may: for those of which a connection gets one or two.
    pub(crate) fn insist(&self, command: ConnectionCommand) -> Result<(), Refused> {
        self.put(command, usize::MAX)
    }

    fn put(&self, command: ConnectionCommand, most: usize) -> Result<(), Refused> {
        {
            let mut contents = lock(&self.0.contents);
            let Contents::Open(commands) = &mut *contents else {
                return Err(Refused::Closed(command));
            };
            if commands.len() >= most {
                return Err(Refused::Full(command));
            }
            commands.push_back(command);
            self.0.count.store(commands.len(), Ordering::Release);
        }
        self.ring();
        Ok(())
    }

    /// Wakes the connection.
    pub(crate) fn ring(&self) {
        self.0.bell.notify_one();
    }
}

/// The end that takes. When it is dropped nothing more is taken, and what waits is dropped with it.
#[derive(Debug)]
pub(crate) struct Inbox(Arc<Slot>);

impl Inbox {
    /// Until the bell has rung since this was waited for last: once for however many times. Giving up the wait loses nothing.
    pub(crate) fn rung(&self) -> Notified<'_> {
        self.0.bell.notified()
    }

    /// The next command. If there are more, the bell rings again.
    pub(crate) fn take(&self) -> Option<ConnectionCommand> {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut contents = lock(&self.0.contents);
        let Contents::Open(commands) = &mut *contents else {
            return None;
        };
        let command = commands.pop_front();
        self.0.count.store(commands.len(), Ordering::Release);
        match commands.is_empty() {
            // Nothing waits for long: an idle connection holds no room for it.
            true => *commands = VecDeque::new(),
            false => self.ring(),
        }
        command
    }

    /// Takes nothing more, and gives out what waits.
    pub(crate) fn close(&self) -> VecDeque<ConnectionCommand> {
        let closed = std::mem::replace(&mut *lock(&self.0.contents), Contents::Closed);
        self.0.count.store(0, Ordering::Release);
        match closed {
            Contents::Open(commands) => commands,
            Contents::Closed => VecDeque::new(),
        }
    }

    /// Rings it from here: there may be something to look at.
    pub(crate) fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// The other end.
    pub(crate) fn mailbox(&self) -> Mailbox {
        Mailbox(Arc::clone(&self.0))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        drop(self.close());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Polls once.
    fn is_ready(future: impl Future<Output = ()>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(pin!(future).poll(&mut context), Poll::Ready(()))
    }

    #[test]
    fn the_bell_rings_while_something_waits() {
        let (mailbox, inbox) = mailbox(2);
        assert!(!is_ready(inbox.rung()));
        for _ in 0..2 {
            mailbox.give(ConnectionCommand::Converge).unwrap();
        }
        let refused = mailbox.give(ConnectionCommand::Converge);
        assert!(matches!(refused, Err(Refused::Full(_))));
        mailbox.insist(ConnectionCommand::Abandon).unwrap();
        for _ in 0..2 {
            assert!(is_ready(inbox.rung()));
            assert!(matches!(inbox.take(), Some(ConnectionCommand::Converge)));
        }
        assert!(is_ready(inbox.rung()));
        assert!(matches!(inbox.take(), Some(ConnectionCommand::Abandon)));
        assert!(!is_ready(inbox.rung()));
        assert!(inbox.take().is_none());
    }

    #[test]
    fn who_is_gone_takes_nothing() {
        let (mailbox, inbox) = mailbox(2);
        mailbox.give(ConnectionCommand::Converge).unwrap();
        assert_eq!(inbox.close().len(), 1);
        let refused = mailbox.give(ConnectionCommand::Converge);
        assert!(matches!(refused, Err(Refused::Closed(_))));
        assert!(inbox.take().is_none());
        drop(inbox);
        let refused = mailbox.insist(ConnectionCommand::Converge);
        assert!(matches!(refused, Err(Refused::Closed(_))));
    }

    #[test]
    fn one_that_is_empty_is_small() {
        assert!(size_of::<Slot>() <= 112, "{}", size_of::<Slot>());
    }
}
