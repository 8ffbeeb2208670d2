//! What every task of the engine shares: configuration, routing, the registry of connections.
//!
//! The routing of a stanza is here, once, for whoever read it: connection, component or the engine itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use verona_proto::addr::{Domain, Hosts, LocalDomain};
use verona_proto::carriage::{Settled, TooLarge};
use verona_proto::federation::{Report, Signal, StreamKey};
use verona_proto::limits::{Limit, Limits, size};
use verona_proto::local::{ComponentState, LocalServices};
use verona_proto::outbox::Feeder;
use verona_proto::policy::Policy;
use verona_proto::stanza::{Admitted, Reason, Stanza, StanzaClass, Undelivered, bounce};
use verona_proto::stream::{Memory, StreamConfig, StreamIds};
use verona_proto::switchboard::{Routed, Switchboard};
use verona_proto::turns::Turns;

use crate::attest::LookUps;
use crate::component::ComponentHandle;
use crate::config::Config;
use crate::connection::ConnectionHandle;
use crate::current::Current;
use crate::dialer::guard::Guard;
use crate::federation::Question;
use crate::gate::{Gate, Places};
use crate::journal::{Journal, Refusal};
use crate::listeners::Listeners;
use crate::observe::log;
use crate::ping::Pings;
use crate::posh::Posh;
use crate::random::Random;
use crate::resolver::Resolver;
use crate::status::{LostStreamCounts, StanzaCounts};
use crate::tls::Tls;
use crate::trace::Trace;
use crate::waiting::Waiting;
use crate::wire::Wire;

/// What every task of the engine shares.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Replaced as a whole, never changed.
    current: RwLock<Arc<Current>>,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// Counts reloads: whoever follows the configuration looks at it anew when this changes.
    pub(crate) reloads: watch::Sender<u64>,
    pub(crate) listeners: Listeners,
    pub(crate) trace: Option<Trace>,
    pub(crate) memory: Memory,
    pub(crate) switchboard: Switchboard,
    pub(crate) turns: Arc<Turns>,
    pub(crate) local: LocalServices,
    /// What domains' web servers say of their certificates.
    pub(crate) posh: Posh,
    /// Keeps messages of the domains that want it.
    pub(crate) journal: Option<Journal>,
    pub(crate) signals: mpsc::Sender<Signal>,
    /// What people want to know of the federation.
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) random: Arc<Random>,
    pub(crate) pings: Pings,
    pub(crate) gate: Gate,
    pub(crate) counters: Counters,
    /// What waits for components that are away for a moment.
    pub(crate) waiting: Waiting,
    overflows: log::Overflows,
    lost_errors: log::Overflows,
    /// The network that we dial and listen on.
    pub(crate) wire: Wire,
    unkept: log::Overflows,
    /// What may be dialled, and how often.
    pub(crate) guard: Guard,
    /// Places for connections to the component listeners.
    pub(crate) component_places: Places,
    /// Look-ups of what DNS says of the certificates of peers that connect.
    pub(crate) look_ups: LookUps,
    /// Turns true when nothing more is to be taken from components.
    pub(crate) stop: watch::Sender<bool>,
    connections: Mutex<BTreeMap<StreamKey, ConnectionHandle>>,
    attached: Mutex<BTreeMap<LocalDomain, ComponentHandle>>,
    last_stream: AtomicU64,
}

/// What happened to stanzas, since the start.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Written to a peer or to a component.
    pub(crate) delivered: AtomicU64,
    /// Returned to their sender with an error, by the reason's place in [`Reason::ALL`].
    bounced: Vec<AtomicU64>,
    /// Neither delivered nor returned: errors and answers that nobody takes, which must not be answered (ROUTE-14).
    dropped: AtomicU64,
    /// How often a peer called what we had sent wrong.
    blamed: AtomicU64,
    /// Acknowledged by a peer (XEP-0198).
    acknowledged: AtomicU64,
    /// Lost streams that wait to be taken up again now.
    suspended: AtomicU64,
    /// Streams that were lost with stanzas on their way, and what became of them.
    lost: AtomicU64,
    taken_up: AtomicU64,
    let_go: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            delivered: AtomicU64::new(0),
            bounced: Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            dropped: AtomicU64::new(0),
            blamed: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            suspended: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            taken_up: AtomicU64::new(0),
            let_go: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// One was returned.
    fn bounced(&self, reason: Reason) {
        if let Some(counter) = self.bounced.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A peer called what we had sent wrong.
    pub(crate) fn blamed(&self) {
        self.blamed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_blamed(&self) -> u64 {
        self.blamed.load(Ordering::Relaxed)
    }

    /// One was lost, which must not be answered.
    fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> StanzaCounts {
        StanzaCounts {
            delivered: self.delivered.load(Ordering::Relaxed),
            bounced: self.bounced_by_reason().map(|(_, count)| count).sum(),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// How many were returned for each reason.
    pub(crate) fn bounced_by_reason(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self
            .bounced
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Reason::ALL.iter().copied().zip(counts)
    }

    pub(crate) fn read_acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn lost_streams(&self) -> LostStreamCounts {
        LostStreamCounts {
            suspended: self.suspended.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            taken_up: self.taken_up.load(Ordering::Relaxed),
            let_go: self.let_go.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn acknowledged(&self, count: u32) {
        self.acknowledged
            .fetch_add(u64::from(count), Ordering::Relaxed);
    }

    /// How many lost streams wait now.
    pub(crate) fn note_suspended(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.suspended.store(count, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, report: &Report) {
        let counter = match report {
            Report::Lost { .. } => &self.lost,
            // Those of which nothing of ours was on its way are no loss.
            Report::TakenUp { arrived, again, .. } if arrived + again > 0 => &self.taken_up,
            Report::LetGo { .. } => &self.let_go,
            Report::TakenUp { .. }
            | Report::Seeking { .. }
            | Report::TargetFailed { .. }
            | Report::Redirected { .. }
            | Report::Unreachable { .. }
            | Report::Carried { .. }
            | Report::OtherKey { .. }
            | Report::VerificationFailed { .. } => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stanza that found its outbox full.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) admitted: Admitted,
    pub(crate) feeder: Feeder,
    /// Of the outbox.
    pub(crate) limit: Limit,
}

/// What became of a stanza.
enum Brought {
    /// It is in its outbox, or answered.
    There,
    /// Nobody takes it, and it must not be answered.
    Unheard,
    /// Its outbox is full.
    Full(Full),
}

/// The parts of [`Shared`] that are made before it.
pub(crate) struct Parts {
    pub(crate) current: Current,
    pub(crate) local: LocalServices,
    pub(crate) journal: Option<Journal>,
    pub(crate) signals: mpsc::Sender<Signal>,
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) random: Arc<Random>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let current = parts.current;
        Self {
            gate: Gate::new(&current.limits),
            look_ups: LookUps::new(current.streams.memory.reached.clone()),
            wire: Wire::new(current.config.simulated.clone()),
            guard: Guard::new(
                &current.config,
                &current.limits,
                current.streams.memory.reached.clone(),
            ),
            memory: current.streams.memory.clone(),
            switchboard: Switchboard::new(
                Arc::clone(&current.streams.hosts),
                current.pair_limit(),
                size(current.limits.pairs_max),
            )
            .within(size(current.limits.outboxes_bytes_max)),
            turns: Arc::default(),
            trace: current.config.trace.clone(),
            current: RwLock::new(Arc::new(current)),
            reloading: tokio::sync::Mutex::default(),
            reloads: watch::Sender::new(0),
            listeners: Listeners::default(),
            local: parts.local,
            posh: Posh::new(),
            journal: parts.journal,
            signals: parts.signals,
            questions: parts.questions,
            random: parts.random,
            pings: Pings::default(),
            counters: Counters::default(),
            waiting: Waiting::default(),
            overflows: log::Overflows::default(),
            lost_errors: log::Overflows::default(),
            unkept: log::Overflows::default(),
            component_places: Places::default(),
            stop: watch::Sender::new(false),
            connections: Mutex::default(),
            attached: Mutex::default(),
            last_stream: AtomicU64::new(0),
        }
    }

    /// The configuration in force, and what was made of it: all of one piece.
    pub(crate) fn current(&self) -> Arc<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Another one is in force from here on, if `change` makes one of what there is.
    pub(crate) fn replace(&self, change: impl FnOnce(&Current) -> Option<Current>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = change(&current) {
            self.switchboard.reload(Arc::clone(&next.streams.hosts));
            *current = Arc::new(next);
        }
    }

    /// A limit took effect.
    pub(crate) fn reached(&self, limit: Limit) {
        self.memory.reached.reached(limit);
    }

    /// What a stream that begins is to follow.
    pub(crate) fn streams(&self) -> Arc<StreamConfig> {
        Arc::clone(&self.current().streams)
    }

    /// What a handshake that begins is to show and to believe.
    pub(crate) fn tls(&self) -> Arc<Tls> {
        Arc::clone(&self.current().tls)
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current().config)
    }

    pub(crate) fn hosts(&self) -> Arc<Hosts> {
        Arc::clone(&self.current().streams.hosts)
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.current().streams.policy)
    }

    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.current().limits)
    }

    pub(crate) fn resolver(&self) -> Resolver {
        self.current().resolver.clone()
    }

    /// Has the handshakes that begin from now on show and believe something else, and offers STARTTLS if there is a
    /// certificate to show (TLS-02).
    pub(crate) fn replace_tls(&self, tls: Tls) {
        let are_others = !tls.trust().are_same_as(self.tls().trust());
        let tls = Arc::new(tls);
        self.replace(|current| Some(current.with_tls(tls)));
        // It stood on the authorities, and not on certificates of ours.
        if are_others {
            self.posh.forget();
        }
    }

    /// A name for a connection that begins.
    pub(crate) fn next_stream(&self) -> StreamKey {
        StreamKey(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Stream ids for one connection (STREAM-15).
    pub(crate) fn stream_ids(&self) -> StreamIds {
        let random = Arc::clone(&self.random);
        StreamIds::new(move || random.id())
    }

    /// Tells the federation. It ends only with the engine, so a failure means that nobody needs to know any more.
    pub(crate) async fn signal(&self, signal: Signal) {
        if self.signals.send(signal).await.is_err() {
            tracing::debug!("the federation has ended; a signal was dropped");
        }
    }

    /// Tells the federation, even if whoever called is given up meanwhile: a queue that it never hears of is lost.
    pub(crate) fn signal_whatever_happens(&self, signal: Signal) {
        if let Err(mpsc::error::TrySendError::Full(signal)) = self.signals.try_send(signal) {
            let signals = self.signals.clone();
            tokio::spawn(async move { signals.send(signal).await });
        }
    }

    /// Brings a stanza where it belongs; what cannot be brought is answered. A full outbox gives the stanza back: the
    /// caller knows whether waiting is of use.
    pub(crate) fn route(&self, admitted: Admitted) -> Option<Full> {
        let is_unanswerable = matches!(
            admitted.stanza().class(),
            StanzaClass::Answer | StanzaClass::Error
        );
        match self.bring(admitted) {
            Brought::There => None,
            Brought::Unheard => {
                // What nobody needs to hear, such as a presence for nobody, is no loss.
                if is_unanswerable {
                    self.counters.dropped();
                }
                None
            }
            Brought::Full(full) => Some(full),
        }
    }

    /// Brings where it belongs what an earlier run left: no outbox is too full for it.
    pub(crate) fn restore(&self, admitted: Admitted) {
        self.conclude(self.switchboard.restore(admitted, now()));
    }

    fn bring(&self, admitted: Admitted) -> Brought {
        match self.pings.settles(admitted.stanza()) {
            true => Brought::There,
            false => self.conclude(self.switchboard.route(admitted, now())),
        }
    }

    fn conclude(&self, routed: Routed) -> Brought {
        let mut routed = routed;
        // An answer is never answered, so this ends after the second round at the latest.
        loop {
            let answer = match routed {
                Routed::Queued => return Brought::There,
                Routed::Wanted(pair, drain) => {
                    self.signal_whatever_happens(Signal::Wanted(pair, drain));
                    return Brought::There;
                }
                Routed::Full(admitted, feeder, limit) => {
                    return Brought::Full(Full {
                        admitted,
                        feeder,
                        limit,
                    });
                }
                Routed::NoComponent(stanza, domain) => self.answer(&stanza, &domain),
                Routed::Crowded(stanza) => {
                    match self.refuse(&stanza, Reason::QueuesFull, Limit::OutboxesBytesMax) {
                        Some(error) => error,
                        None => return Brought::There,
                    }
                }
                Routed::TooManyPairs(stanza) => {
                    match self.refuse(&stanza, Reason::TooManyPairs, Limit::PairsMax) {
                        Some(error) => error,
                        None => return Brought::There,
                    }
                }
            };
            match answer {
                Some(answer) if self.pings.settles(answer.stanza()) => return Brought::There,
                Some(answer) => routed = self.switchboard.route(answer, now()),
                None => return Brought::Unheard,
            }
        }
    }

    /// The error for a stanza that no queue takes, `Some(None)` if it must get none; `None` if it was a ping of ours, which
    /// has failed.
    #[allow(clippy::option_option, reason = "the two kinds of nothing differ")]
    fn refuse(&self, stanza: &Stanza, reason: Reason, limit: Limit) -> Option<Option<Admitted>> {
        self.overflows.log(stanza.to(), REFUSED);
        self.reached(limit);
        let why = Undelivered::new(reason, stanza.to(), "");
        if self.pings.fails(stanza, why.text()) {
            return None;
        }
        let error = bounce(&self.hosts(), stanza, &why);
        if error.is_some() {
            self.counters.bounced(reason);
        }
        Some(error)
    }

    /// The number up to which all messages are safe in the journal.
    pub(crate) fn safe_up_to(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::safe_up_to)
    }

    /// Has a copy kept of what was read, if its domain wants that. A message of which none can be kept is returned to its
    /// sender instead of being taken on a promise that does not hold.
    pub(crate) fn keep(&self, admitted: Admitted) -> Option<Admitted> {
        let Some(journal) = &self.journal else {
            return Some(admitted);
        };
        let (stanza, refusal) = match journal.keep(admitted) {
            Ok(admitted) => return Some(admitted),
            Err(refused) => refused,
        };
        //= ROUTE-23
        self.unkept.log(stanza.to(), UNKEPT);
        let reason = match refusal {
            Refusal::Full(limit) => {
                self.reached(limit);
                Reason::JournalFull
            }
            Refusal::Broken => Reason::JournalBroken,
        };
        let why = Undelivered::new(reason, stanza.to(), "");
        self.bounce(&stanza, &why);
        None
    }

    /// The outbox of a stanza stayed full: its sender is told (ROUTE-23).
    pub(crate) fn overflow(&self, full: &Full) {
        //= ROUTE-23
        self.reached(full.limit);
        let stanza = full.admitted.stanza();
        self.overflows.log(stanza.to(), REFUSED);
        let why = Undelivered::new(Reason::QueueFull, stanza.to(), "");
        self.bounce(stanza, &why);
    }

    /// Returns a stanza to its sender with an error, unless it must not be answered (ROUTE-14). An error that finds no
    /// room, or nobody to take it, is dropped; both are counted.
    pub(crate) fn bounce(&self, stanza: &Stanza, why: &Undelivered) {
        if self.pings.fails(stanza, why.text()) {
            return;
        }
        let brought = match bounce(&self.hosts(), stanza, why) {
            Some(error) => self.bring(error),
            None => Brought::Unheard,
        };
        match brought {
            Brought::There => self.counters.bounced(why.reason()),
            Brought::Unheard => self.counters.dropped(),
            Brought::Full(full) => {
                self.reached(full.limit);
                self.lost_errors.log(stanza.from(), DROPPED);
                self.counters.dropped();
            }
        }
    }

    /// Counts what was delivered to a peer, and returns what it does not take.
    pub(crate) fn settled(&self, settled: Settled) {
        self.counters
            .delivered
            .fetch_add(settled.delivered, Ordering::Relaxed);
        for TooLarge { stanza, max_bytes } in settled.refused {
            //= LIM-05
            let detail = format!(
                "stanzas of at most {max_bytes} bytes, and this one has {}",
                stanza.bytes().len()
            );
            let why = Undelivered::new(Reason::TooLargeForPeer, stanza.to(), &detail);
            self.bounce(&stanza, &why);
        }
    }

    fn answer(&self, stanza: &Stanza, domain: &LocalDomain) -> Option<Admitted> {
        let current = self.current();
        let (state, reason) = match current.components.contains(domain) {
            true => (ComponentState::Absent, Reason::ComponentAway),
            false => (ComponentState::None, Reason::NotProvided),
        };
        let hosts = &current.streams.hosts;
        let answer = self.local.answer(hosts, stanza, domain, state)?;
        if answer.stanza().class() == StanzaClass::Error {
            self.counters.bounced(reason);
        }
        Some(answer)
    }

    /// The configured address of a peer, if any.
    pub(crate) fn configured_address(&self, remote: &Domain) -> Option<crate::config::PeerAddress> {
        self.config()
            .addresses
            .iter()
            .find(|(pattern, _)| pattern.matches(remote))
            .map(|(_, address)| *address)
    }

    pub(crate) fn connections(&self) -> MutexGuard<'_, BTreeMap<StreamKey, ConnectionHandle>> {
        lock(&self.connections)
    }

    pub(crate) fn attached(&self) -> MutexGuard<'_, BTreeMap<LocalDomain, ComponentHandle>> {
        lock(&self.attached)
    }
}

/// Tokio's clock, so that a test that pauses time pauses the machines too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A lock whose former holder panicked is as good as any other: every critical section leaves whole values behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const REFUSED: &str =
    "stanzas were returned with resource-constraint: too much is waiting for their recipients";
const UNKEPT: &str = "messages were returned with resource-constraint: the journal takes no more of their domain, or cannot be written";
const DROPPED: &str = "errors were dropped: their recipient takes less than it is sent";
