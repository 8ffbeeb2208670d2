//! The clock of a world: who is to act next, and when. Time stands still while somebody acts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Microseconds since the world began.
pub(crate) type Moment = u64;

/// Whoever acts when woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Actor {
    /// The next line of the plan.
    Plan,
    /// What arrives at one end of a wire.
    Wire(u64, usize),
    /// The system's patience with a wire on which nothing moves.
    Patience(u64),
    /// The federation of a server.
    Federation(usize),
    /// A connection of a server.
    Connection(usize, u64),
    /// A component's link at a server.
    Link(usize, u64),
    /// What a server does on the side.
    Jobs(usize),
    /// A dial of a server.
    Dial(usize, u64),
    /// A component that has been away from its server for long.
    Absence(usize, u64),
    /// A server that is shutting down.
    Departure(usize),
    /// A server that is to be started again.
    Return(usize),
    /// A component.
    Program(usize),
    /// A trouble that ends, by its number.
    Relief(usize),
}

/// What is to happen, in order.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    heap: BinaryHeap<Reverse<(Moment, u64, Actor)>>,
    due: HashMap<Actor, Moment>,
    count: u64,
}

impl Clock {
    /// Has somebody act at a time, unless that is to happen before anyway.
    pub(crate) fn wake(&mut self, actor: Actor, at: Moment) {
        match self.due.get_mut(&actor) {
            Some(due) if *due <= at => return,
            Some(due) => *due = at,
            None => {
                self.due.insert(actor, at);
            }
        }
        self.count += 1;
        self.heap.push(Reverse((at, self.count, actor)));
    }

    /// Whoever is next.
    pub(crate) fn next(&mut self) -> Option<(Moment, Actor)> {
        while let Some(Reverse((at, _, actor))) = self.heap.pop() {
            // Woken earlier meanwhile: this is what is left of the later time.
            if self.due.get(&actor) == Some(&at) {
                self.due.remove(&actor);
                return Some((at, actor));
            }
        }
        None
    }
}
