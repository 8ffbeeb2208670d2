//! One misbehaviour of DNS, and what must come of it.

use std::time::Duration;

use crate::world::Place;
use crate::zone::{Reply, Zone};

pub(crate) struct Case {
    /// What DNS does.
    pub(crate) what: &'static str,
    pub(crate) zone: Box<dyn Fn(&Place) -> Zone + Send + Sync>,
    pub(crate) servers: Servers,
    pub(crate) expect: Expect,
    pub(crate) takes: Takes,
    /// The most questions that may be asked for one message.
    pub(crate) questions_max: usize,
    pub(crate) again: Option<Again>,
    /// Why that is right.
    pub(crate) why: &'static str,
    pub(crate) is_loopback_allowed: bool,
    pub(crate) needs_ipv6: bool,
}

/// Which name servers the engine has.
#[derive(Clone, Copy)]
pub(crate) enum Servers {
    One,
    /// One that refuses connections.
    WithoutTcp,
    /// One that does this, and after it the case's.
    Before(fn() -> Reply),
}

/// What must come of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// These are dialled, in this order, and nothing else.
    Dials(&'static [&'static str]),
    /// The same in any order.
    DialsInAnyOrder(&'static [&'static str]),
    /// DNS proves that there is no server, or names none that may be dialled; the sender reads this. Nothing is dialled.
    NotFound(&'static str),
    /// Nothing is proven; the sender reads this. Nothing is dialled.
    Timeout(&'static str),
}

/// How long it may take until the sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// No longer than the answers.
    AtOnce,
    /// A wait that ends by itself.
    AMoment,
    /// As long as DNS may take.
    DnsSeconds,
}

/// A second message.
pub(crate) struct Again {
    pub(crate) to: &'static str,
    /// How long after the first.
    pub(crate) after: Duration,
    pub(crate) expect: Expect,
    /// Whether DNS is asked for the SRV records a second time.
    pub(crate) asks: bool,
}

impl Case {
    /// A case in which nothing is dialled, and the sender reads that nothing could be found out.
    pub(crate) fn new(
        what: &'static str,
        zone: impl Fn(&Place) -> Zone + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            zone: Box::new(zone),
            servers: Servers::One,
            expect: Expect::Timeout(""),
            takes: Takes::AtOnce,
            questions_max: 4,
            again: None,
            why: "",
            is_loopback_allowed: true,
            needs_ipv6: false,
        }
    }

    pub(crate) fn dials(mut self, these: &'static [&'static str]) -> Self {
        self.expect = Expect::Dials(these);
        self
    }

    pub(crate) fn dials_in_any_order(mut self, these: &'static [&'static str]) -> Self {
        self.expect = Expect::DialsInAnyOrder(these);
        self
    }

    pub(crate) fn not_found(mut self, text: &'static str) -> Self {
        self.expect = Expect::NotFound(text);
        self
    }

    pub(crate) fn timeout(mut self, text: &'static str) -> Self {
        self.expect = Expect::Timeout(text);
        self
    }

    pub(crate) fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    pub(crate) fn questions(mut self, max: usize) -> Self {
        self.questions_max = max;
        self
    }

    pub(crate) fn servers(mut self, servers: Servers) -> Self {
        self.servers = servers;
        self
    }

    pub(crate) fn why(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    pub(crate) fn then(mut self, again: Again) -> Self {
        self.again = Some(again);
        self
    }

    /// The engine has the default: no special-purpose network is dialled.
    pub(crate) fn on_the_internet(mut self) -> Self {
        self.is_loopback_allowed = false;
        self
    }

    pub(crate) fn needs_ipv6(mut self) -> Self {
        self.needs_ipv6 = true;
        self
    }
}
