//! What everybody in a world shares: time, chance, the network, and the books of the observer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use verona_proto::addr::Domain;

use super::chance::Chance;
use super::clock::{Actor, Clock, Moment};
use super::coverage::Coverage;
use super::ledger::Ledger;
use super::network::{End, Network};

/// All that is outside of the machines.
#[derive(Debug)]
pub(crate) struct Outside {
    start: Instant,
    pub(crate) now: Moment,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    pub(crate) coverage: Coverage,
    /// Which server hosts a domain.
    hosted: BTreeMap<String, usize>,
    /// Whoever a bell rang for since the last step.
    rung: Arc<Mutex<Vec<Actor>>>,
    story: Option<Vec<String>>,
}

impl Outside {
    pub(crate) fn new(start: Instant, seed: u64, ledger: Ledger, network: Network) -> Self {
        Self {
            start,
            now: 0,
            clock: Clock::default(),
            chance: Chance::new(seed, 1),
            network,
            ledger,
            coverage: Coverage::default(),
            hosted: BTreeMap::new(),
            rung: Arc::default(),
            story: None,
        }
    }

    /// A server hosts a domain.
    pub(crate) fn hosted(&mut self, domain: &str, server: usize) {
        self.hosted.insert(domain.to_owned(), server);
    }

    /// Whether the server at the other end hosts the domain.
    pub(crate) fn is_hosted_at_other_end(&self, end: End, domain: &Domain) -> bool {
        let peer = self.network.peer(end);
        peer.is_some() && self.hosted.get(domain.as_str()).copied() == peer
    }

    /// Writes down what happens from here on.
    pub(crate) fn begin_story(&mut self) {
        self.story = Some(Vec::new());
    }

    pub(crate) fn take_story(&mut self) -> Vec<String> {
        self.story.take().unwrap_or_default()
    }

    /// A line of the story, if it is told.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let (seconds, micros) = (self.now / 1_000_000, self.now % 1_000_000);
            story.push(format!("{seconds:>4}.{micros:06}  {}", line()));
        }
    }

    /// Now, as the machines see it.
    pub(crate) fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    /// A time of the machines as a time of the world; a part of a microsecond counts as a whole one.
    pub(crate) fn moment(&self, at: Instant) -> Moment {
        let nanos = at.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// Has somebody act as soon as the system gets round to it.
    pub(crate) fn soon(&mut self, actor: Actor) {
        let delay = match self.chance.percent(3) {
            true => self.chance.between(50, 3_000),
            false => self.chance.between(0, 50),
        };
        self.clock.wake(actor, self.now + delay);
    }

    /// Has somebody act at a time of the machines.
    pub(crate) fn at(&mut self, actor: Actor, at: Instant) {
        let at = self.moment(at).max(self.now);
        self.clock.wake(actor, at);
    }

    /// What a bell calls that wakes somebody.
    pub(crate) fn bell(&self, actor: Actor) -> Arc<dyn Fn() + Send + Sync> {
        let rung = Arc::clone(&self.rung);
        Arc::new(move || {
            let mut rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
            if rung.last() != Some(&actor) {
                rung.push(actor);
            }
        })
    }

    /// Wakes whoever a bell rang for.
    pub(crate) fn answer_bells(&mut self) {
        let rung = {
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            if rung.is_empty() {
                return;
            }
            std::mem::take(&mut *rung)
        };
        for actor in rung {
            self.soon(actor);
        }
    }
}
