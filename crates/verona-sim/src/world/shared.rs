//! What all parts of one server share, and the routing of a stanza: verona/src/shared.rs without its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use verona_proto::addr::{Hosts, LocalDomain};
use verona_proto::carriage::{Settled, TooLarge};
use verona_proto::component::ComponentDomains;
use verona_proto::federation::{Signal, StreamKey};
use verona_proto::limits::Limits;
use verona_proto::local::{ComponentState, LocalServices};
use verona_proto::outbox::{Drain, Feeder};
use verona_proto::stanza::{Admitted, Reason, Stanza, Undelivered, bounce};
use verona_proto::stream::{StreamConfig, StreamIds};
use verona_proto::switchboard::{Routed, Switchboard};
use verona_proto::turns::Turns;

use super::clock::Actor;
use super::connection::micros;
use super::ledger::Loss;
use super::outside::Outside;

/// What all parts of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its position among the servers.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) limits: Limits,
    pub(crate) streams: Arc<StreamConfig>,
    pub(crate) switchboard: Switchboard,
    pub(crate) turns: Arc<Turns>,
    pub(crate) local: LocalServices,
    pub(crate) components: ComponentDomains,
    pub(crate) signals: VecDeque<Signal>,
    /// Which link serves a domain.
    pub(crate) attached: BTreeMap<LocalDomain, (u64, Feeder)>,
    /// What is done on the side, in any order.
    pub(crate) jobs: VecDeque<Job>,
    /// The queues of components that are away for a moment, each with the number of its departure.
    pub(crate) waiting: BTreeMap<LocalDomain, (u64, Drain)>,
    pub(crate) departures: u64,
    /// Nothing more is taken from components.
    pub(crate) stopping: bool,
    pub(crate) secret: u64,
}

/// Work that waits for nobody: tasks that the engine spawns.
#[derive(Debug)]
pub(crate) enum Job {
    /// Stanzas go back to their senders.
    Bounce {
        stanzas: Vec<Stanza>,
        why: Undelivered,
    },
    /// It became known what had arrived.
    Settled(Settled),
    /// Everything in a queue goes back, and the queue ends.
    BounceAll { drain: Drain, why: Undelivered },
}

/// A stanza that found its outbox full.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) admitted: Admitted,
    pub(crate) feeder: Feeder,
}

/// What became of a stanza.
enum Brought {
    There,
    Unheard,
    Full(Full),
}

impl Shared {
    /// Tells the federation.
    pub(crate) fn signal(&mut self, signal: Signal, outside: &mut Outside) {
        self.signals.push_back(signal);
        outside.soon(Actor::Federation(self.index));
    }

    pub(crate) fn job(&mut self, job: Job, outside: &mut Outside) {
        self.jobs.push_back(job);
        outside.soon(Actor::Jobs(self.index));
    }

    /// Ids that tell one stream from all others.
    pub(crate) fn stream_ids(&self, stream: StreamKey) -> StreamIds {
        let (index, secret) = (self.index, self.secret);
        let mut count = 0_u32;
        StreamIds::new(move || {
            count += 1;
            format!("id{index}-{}-{count}-{secret:x}", stream.0)
        })
    }

    /// Brings a stanza where it belongs; what cannot be brought is answered. A full outbox gives the stanza back.
    pub(crate) fn route(&mut self, admitted: Admitted, outside: &mut Outside) -> Option<Full> {
        match self.bring(admitted, outside) {
            Brought::There | Brought::Unheard => None,
            Brought::Full(full) => Some(full),
        }
    }

    fn bring(&mut self, admitted: Admitted, outside: &mut Outside) -> Brought {
        let mut next = admitted;
        loop {
            let (answer, stanza) = match self.switchboard.route(next, outside.instant()) {
                Routed::Queued => return Brought::There,
                Routed::Wanted(pair, drain) => {
                    self.signal(Signal::Wanted(pair, drain), outside);
                    return Brought::There;
                }
                Routed::Full(admitted, feeder, _) => {
                    return Brought::Full(Full { admitted, feeder });
                }
                Routed::NoComponent(stanza, domain) => (self.answer(&stanza, &domain), stanza),
                Routed::Crowded(stanza) => {
                    outside
                        .coverage
                        .count("reached", "full outboxes, all together");
                    let why = Undelivered::new(Reason::QueuesFull, stanza.to(), "");
                    (bounce(&self.hosts, &stanza, &why), stanza)
                }
                Routed::TooManyPairs(stanza) => {
                    outside.coverage.count("reached", "too many pairs");
                    let why = Undelivered::new(Reason::TooManyPairs, stanza.to(), "");
                    (bounce(&self.hosts, &stanza, &why), stanza)
                }
            };
            match answer {
                Some(answer) => next = answer,
                None => {
                    note_gone(&stanza, Loss::Unheard, outside);
                    return Brought::Unheard;
                }
            }
        }
    }

    /// The outbox of a stanza stayed full: its sender is told (ROUTE-23).
    pub(crate) fn overflow(&mut self, stanza: &Stanza, outside: &mut Outside) {
        outside.coverage.count("reached", "a full outbox");
        let why = Undelivered::new(Reason::QueueFull, stanza.to(), "");
        self.bounce(stanza, &why, outside);
    }

    /// Returns a stanza to its sender with an error, unless it must not be answered (ROUTE-14).
    pub(crate) fn bounce(&mut self, stanza: &Stanza, why: &Undelivered, outside: &mut Outside) {
        let name = &self.name;
        outside.coverage.count("errors", why.reason().name());
        if let Some(key) = outside.ledger.key(stanza) {
            let what = outside.ledger.name(key);
            outside.tell(|| format!("{name} returns {what}: {why}"));
        }
        match bounce(&self.hosts, stanza, why) {
            None => note_gone(stanza, Loss::Unheard, outside),
            Some(error) => match self.bring(error, outside) {
                Brought::There | Brought::Unheard => {}
                Brought::Full(full) => note_gone(full.admitted.stanza(), Loss::NoRoom, outside),
            },
        }
    }

    /// A component left its queue: it waits for the next one, but not for long (COMP-13).
    pub(crate) fn leave(&mut self, domain: LocalDomain, drain: Drain, outside: &mut Outside) {
        let patience = micros(self.limits.component_reconnect_seconds);
        if self.stopping {
            return self.answer_all(&domain, drain, Reason::ShuttingDown, outside);
        }
        if patience == 0 {
            return self.answer_all(&domain, drain, Reason::ComponentAway, outside);
        }
        self.departures += 1;
        let departure = self.departures;
        if let Some((_, other)) = self.waiting.insert(domain.clone(), (departure, drain)) {
            self.answer_all(&domain, other, Reason::ComponentAway, outside);
        }
        let absence = Actor::Absence(self.index, departure);
        outside.clock.wake(absence, outside.now + patience);
    }

    /// A component has not come back in time.
    pub(crate) fn on_absence(&mut self, departure: u64, outside: &mut Outside) {
        let found = self.waiting.iter().find(|(_, (it, _))| *it == departure);
        let Some(domain) = found.map(|(domain, _)| domain.clone()) else {
            return;
        };
        if let Some((_, drain)) = self.waiting.remove(&domain) {
            self.answer_all(&domain, drain, Reason::ComponentAway, outside);
        }
    }

    /// The server stops: no component is waited for any more.
    pub(crate) fn stop_waiting(&mut self, outside: &mut Outside) {
        for (domain, (_, drain)) in std::mem::take(&mut self.waiting) {
            self.answer_all(&domain, drain, Reason::ShuttingDown, outside);
        }
    }

    fn answer_all(
        &mut self,
        domain: &LocalDomain,
        drain: Drain,
        reason: Reason,
        outside: &mut Outside,
    ) {
        self.switchboard.detach(domain, &drain.feeder());
        let why = Undelivered::new(reason, domain, "");
        Job::BounceAll { drain, why }.run(self, outside);
    }

    /// Returns what a peer does not take.
    pub(crate) fn settled(&mut self, settled: Settled, outside: &mut Outside) {
        for TooLarge { stanza, max_bytes } in settled.refused {
            //= LIM-05
            let detail = format!("stanzas of at most {max_bytes} bytes");
            let why = Undelivered::new(Reason::TooLargeForPeer, stanza.to(), &detail);
            self.bounce(&stanza, &why, outside);
        }
    }

    fn answer(&self, stanza: &Stanza, domain: &LocalDomain) -> Option<Admitted> {
        let state = match self.components.contains(domain) {
            true => ComponentState::Absent,
            false => ComponentState::None,
        };
        self.local.answer(&self.hosts, stanza, domain, state)
    }
}

/// A stanza of which nobody will hear again.
fn note_gone(stanza: &Stanza, loss: Loss, outside: &mut Outside) {
    if let Some(key) = outside.ledger.key(stanza) {
        let what = outside.ledger.name(key);
        outside.tell(|| format!("{what} is dropped: {}", loss.name()));
        outside.ledger.lost(key, loss);
    }
}

impl Job {
    pub(crate) fn run(self, shared: &mut Shared, outside: &mut Outside) {
        let (stanzas, why) = match self {
            Self::Settled(settled) => return shared.settled(settled, outside),
            Self::Bounce { stanzas, why } => (stanzas, why),
            Self::BounceAll { drain, why } => (drain.close(), why),
        };
        for stanza in stanzas {
            shared.bounce(&stanza, &why, outside);
        }
    }
}
