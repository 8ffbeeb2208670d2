//! Starts the tasks, holds their handles, and ends them in good order.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout_at};
use verona_proto::addr::{Domain, Jid};
use verona_proto::dialback::Secret;
use verona_proto::federation::Signal;
use verona_proto::limits::{Limit, seconds};
use verona_proto::local::LocalServices;
use verona_proto::ns;
use verona_proto::stanza::{Reason, Stanza, StanzaKind, StreamCondition, originate};
use verona_proto::stream::Memory;

use crate::attachment::{AttachError, Attachment};
use crate::component::{ComponentCommand, ComponentHandle};
use crate::config::{Config, ListenAddress};
use crate::connection::{ConnectionCommand, ConnectionHandle};
use crate::current::{self, Current};
use crate::federation;
use crate::journal::{self, Journal, JournalError};
use crate::learned::Now;
use crate::ping::{Outcome, PingError};
use crate::random::Random;
use crate::resolver::ResolverError;
use crate::shared::{Parts, Shared, lock};
use crate::status::{
    JournalStatus, Link, LinkRole, LinkTransport, LostStreamCounts, Peer, StanzaCounts,
};
use crate::tls::{Certificates, Tls, TlsError, TrustRoots};
use crate::waiting;

/// A running federation: listeners, connections, components, and the machine that assigns them.
///
/// It lives until [`Engine::shutdown`] or until it is dropped, which ends everything at once.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    federation: JoinHandle<()>,
}

impl Engine {
    /// Binds the listeners and starts.
    ///
    /// # Errors
    /// [`StartError`], and then nothing is left running.
    pub async fn start(mut config: Config) -> Result<Self, StartError> {
        let random =
            Arc::new(Random::from_system().map_err(|error| StartError::Random(error.to_string()))?);
        // Keys that have been replaced are to be forgotten, so they are kept in one place.
        let (certificates, trust) = (
            mem::take(&mut config.certificates),
            mem::take(&mut config.trust),
        );
        let tls = Arc::new(Tls::new(certificates, trust).map_err(StartError::Tls)?);
        let resolver = current::resolver(&config).map_err(StartError::Resolver)?;
        let memory = Memory {
            issued: config.issued_keys.clone(),
            ..Memory::default()
        };
        Now::read().restore(&memory.learned, &config.learned);
        let secret = Secret::new(&format!("{}{}", random.id(), random.id()));
        let current = Current::new(config, tls, resolver, memory, secret);
        let (journal, recovered) = match &current.config.journal {
            Some(wanted) => {
                let opened = journal::open(wanted, &current.streams.hosts, &current.limits).await;
                let (journal, recovered) = opened.map_err(StartError::Journal)?;
                (Some(journal), Some(recovered))
            }
            None => (None, None),
        };
        let (signals, receiver) = mpsc::channel(SIGNALS);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let local = LocalServices {
            name: "verona".into(),
            version: current.config.version.clone(),
            ..LocalServices::default()
        };
        let shared = Arc::new(Shared::new(Parts {
            current,
            local,
            journal,
            signals,
            questions,
            random,
        }));
        let engine = Self {
            federation: tokio::spawn(federation::run(Arc::clone(&shared), receiver, asked)),
            handle: Handle { shared },
        };
        // A failure drops the engine, and with it what was started.
        if let (Some(journal), Some(recovered)) = (&engine.handle.shared.journal, recovered) {
            // Before anything new is taken, so that what was first stays first.
            journal::recover(&engine.handle.shared, journal, recovered)
                .await
                .map_err(StartError::Journal)?;
        }
        let shared = &engine.handle.shared;
        let prepared = shared.listeners.prepare(shared, &shared.config()).await?;
        shared.listeners.replace(shared, prepared);
        Ok(engine)
    }

    /// For everything that is asked of a running engine.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where servers reach us: those for STARTTLS first, then those for direct TLS; ports chosen by the system are
    /// filled in.
    #[must_use]
    pub fn s2s_addresses(&self) -> Vec<SocketAddr> {
        self.handle.s2s_addresses()
    }

    /// Where components reach us; ports chosen by the system are filled in.
    #[must_use]
    pub fn component_addresses(&self) -> Vec<ListenAddress> {
        self.handle.component_addresses()
    }

    /// Stops in good order: nothing new is taken, what was taken is delivered or returned, streams are closed. Takes
    /// at most `drain_seconds` (10 by default).
    pub async fn shutdown(self) -> Drained {
        let shared = Arc::clone(&self.handle.shared);
        let whole = seconds(shared.limits().drain_seconds);
        let begun = tokio::time::Instant::now();
        let by = |share: u32| begun + whole * share / 100;
        // What components sent is delivered, and what waits for them. Peers still reach us meanwhile: a server that gets a key
        // of ours has to ask us about it.
        shared.stop.send_replace(true);
        shared.listeners.stop_components();
        waiting::give_up(&shared).await;
        let mut in_time = timeout_at(by(50), emptied(&shared)).await.is_ok();
        shared.listeners.stop();
        // A component that does not take what waits for it is let go, and the senders are told while they can be.
        close_components(&shared, |handle| handle.queued() > 0);
        in_time &= timeout_at(by(60), let_go(&shared)).await.is_ok();
        in_time &= timeout_at(by(65), pairs_emptied(&shared)).await.is_ok();
        // Streams close; what peers had sent by then is still heard, and brought to the components.
        //= STREAM-59
        shared.signal(Signal::Shutdown).await;
        in_time &= timeout_at(by(85), ended(&shared)).await.is_ok();
        // Whoever has not answered by now will not: what it was sent is returned while somebody can be told.
        if !in_time {
            shared.reached(Limit::DrainSeconds);
        }
        abandon(&shared);
        let _ = timeout_at(by(90), ended(&shared)).await;
        let _ = timeout_at(by(95), emptied(&shared)).await;
        close_components(&shared, |_| true);
        let _ = timeout_at(by(100), unattached(&shared)).await;
        if let Some(journal) = &shared.journal {
            journal.close().await;
        }
        let closed = async {
            while !shared.listeners.are_closed() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        let _ = timeout_at(by(100), closed).await;
        let StanzaCounts {
            delivered,
            bounced,
            dropped,
        } = shared.counters.read();
        Drained {
            delivered,
            bounced,
            dropped,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What is thrown away from here on was neither delivered nor returned.
        if let Some(journal) = &self.handle.shared.journal {
            journal.freeze();
        }
        self.handle.shared.listeners.end();
        for handle in self.handle.shared.connections().values() {
            handle.abort.abort();
        }
        self.federation.abort();
    }
}

/// Asks things of a running engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    /// All live connections with other servers, the oldest first.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        self.shared
            .connections()
            .values()
            .map(|handle| lock(&handle.link).clone())
            .collect()
    }

    /// How many live connections with other servers there are of each kind.
    #[must_use]
    pub fn link_counts(&self) -> BTreeMap<(LinkRole, LinkTransport), usize> {
        let mut counts = BTreeMap::new();
        for handle in self.shared.connections().values() {
            let link = lock(&handle.link);
            *counts.entry((link.role, link.transport)).or_default() += 1;
        }
        counts
    }

    /// The domains that are hosted, and whether a component may serve each.
    #[must_use]
    pub fn hosted(&self) -> Vec<(Domain, bool)> {
        self.shared
            .config()
            .domains
            .iter()
            .map(|domain| (domain.name.clone(), domain.component.is_some()))
            .collect()
    }

    /// Where servers reach us; as [`Engine::s2s_addresses`].
    #[must_use]
    pub fn s2s_addresses(&self) -> Vec<SocketAddr> {
        self.shared.listeners.servers()
    }

    /// Where components reach us; as [`Engine::component_addresses`].
    #[must_use]
    pub fn component_addresses(&self) -> Vec<ListenAddress> {
        self.shared.listeners.components()
    }

    /// How long [`Engine::shutdown`] takes at most, in seconds.
    #[must_use]
    pub fn drain_seconds(&self) -> u64 {
        self.shared.limits().drain_seconds
    }

    /// Whether the engine is on its way to its end: nothing more is taken from components.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.shared.stop.borrow()
    }

    /// What became of stanzas since the start.
    #[must_use]
    pub fn stanza_counts(&self) -> StanzaCounts {
        self.shared.counters.read()
    }

    /// How it stands with the journal, if there is one.
    #[must_use]
    pub fn journal(&self) -> Option<JournalStatus> {
        self.shared.journal.as_ref().map(Journal::status)
    }

    /// How many stanzas were returned to their senders since the start, by why.
    #[must_use]
    pub fn bounced(&self) -> Vec<(Reason, u64)> {
        self.shared.counters.bounced_by_reason().collect()
    }

    /// How often a limit took effect, since the start (`docs/limits.md`).
    #[must_use]
    pub fn limit_reached(&self, limit: Limit) -> u64 {
        self.shared.memory.reached.count(limit)
    }

    /// How often a peer called what we had sent on an open stream wrong, since the start (ERR-08).
    #[must_use]
    pub fn blamed(&self) -> u64 {
        self.shared.counters.read_blamed()
    }

    /// How many stanzas peers have acknowledged, since the start (XEP-0198).
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.counters.read_acknowledged()
    }

    /// What became of streams that were lost with stanzas on their way.
    #[must_use]
    pub fn lost_stream_counts(&self) -> LostStreamCounts {
        self.shared.counters.lost_streams()
    }

    /// How many bytes wait in all queues together, what holds the stanzas included (`outboxes_bytes_max`).
    #[must_use]
    pub fn outboxes_bytes(&self) -> usize {
        self.shared.switchboard.bytes()
    }

    /// The certificates that are shown to whoever connects now.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        self.shared.tls().certificates().clone()
    }

    /// Whose certificates are believed now, and whose are not.
    #[must_use]
    pub fn trust(&self) -> TrustRoots {
        self.shared.tls().trust().clone()
    }

    /// Replaces the certificates that we show and the authorities that we believe, with the lists of what they revoked.
    ///
    /// Every handshake that begins from here on uses the new ones. Connections that are there live on with what they
    /// have: neither side of TLS can change its certificate on a connection, and what a peer proved it has proven. With a
    /// first certificate STARTTLS is offered from here on.
    ///
    /// # Errors
    /// [`TlsError::Setup`], and then nothing is replaced.
    pub fn replace_tls(
        &self,
        certificates: Certificates,
        trust: TrustRoots,
    ) -> Result<(), TlsError> {
        self.shared.replace_tls(Tls::new(certificates, trust)?);
        Ok(())
    }

    /// Every peer that is connected or of which something is known, by domain.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let shared = &self.shared;
        let known = Now::read().export(&shared.memory.learned);
        crate::status::peers(known, &self.links(), |domain| {
            shared.policy().for_peer(domain).learned
        })
    }

    /// A number that grows with every change of what is known of peers: whoever stores it stores it when this has grown.
    #[must_use]
    pub fn learned_revision(&self) -> u64 {
        self.shared.memory.learned.revision()
    }

    /// Forgets what was learned about one peer; says whether anything was known. Its connections live on.
    pub fn forget(&self, peer: &Domain) -> bool {
        self.shared.memory.learned.clear(Some(peer)) > 0
    }

    /// Forgets what was learned about all peers; says about how many something was known.
    pub fn forget_all(&self) -> usize {
        self.shared.memory.learned.clear(None)
    }

    /// Takes the traffic of a hosted domain into the program's own hands, instead of a component's.
    ///
    /// # Errors
    /// [`AttachError`] when the domain is not hosted, or served already.
    pub fn attach(&self, domain: &Domain) -> Result<Attachment, AttachError> {
        Attachment::new(&self.shared, domain)
    }

    /// The domains of the components that are attached now.
    #[must_use]
    pub fn components(&self) -> Vec<Domain> {
        self.shared
            .attached()
            .keys()
            .map(|domain| domain.domain().clone())
            .collect()
    }

    /// Pings `to` from `from`, which must be hosted here (XEP-0199), and says how long the answer took. An error that
    /// the other side itself sends proves that it lives, and counts as an answer (LOCAL-16).
    ///
    /// # Errors
    /// [`PingError`] says why there was no answer.
    pub async fn ping(
        &self,
        from: &Domain,
        to: &Jid,
        timeout: Duration,
    ) -> Result<Duration, PingError> {
        let shared = &self.shared;
        if shared.hosts().local(from).is_none() {
            return Err(PingError::NotHosted(from.to_string()));
        }
        //= LOCAL-16
        //= BIDI-63
        let id = format!("ping-{}", shared.random.id());
        let payload = format!("<ping xmlns='{}'/>", ns::PING);
        let stanza = Stanza::build(
            StanzaKind::Iq,
            &Jid::from(from.clone()),
            to,
            Some("get"),
            Some(&id),
            &payload,
        );
        let Some(admitted) = originate(&shared.hosts(), stanza) else {
            return Err(PingError::BadRecipient(format!(
                "{to} cannot be pinged from {from}"
            )));
        };
        let began = tokio::time::Instant::now();
        let mut expected = shared.pings.expect(id, to.clone());
        if let Some(full) = shared.route(admitted) {
            shared.reached(full.limit);
            shared.pings.fails(
                full.admitted.stanza(),
                "too much is waiting for this domain already",
            );
        }
        let outcome = tokio::time::timeout(timeout, &mut expected.answer).await;
        match outcome {
            Ok(Ok(Outcome::Answered)) => {
                let trip = began.elapsed();
                self.note_round_trip(from, to.domain(), trip);
                Ok(trip)
            }
            Ok(Ok(Outcome::Undeliverable(text))) => Err(PingError::Undeliverable(text)),
            Ok(Err(_)) | Err(_) => Err(PingError::NoAnswer {
                to: to.to_string(),
                seconds: timeout.as_secs(),
            }),
        }
    }

    /// The link that carries the pair shows how long the last ping took.
    fn note_round_trip(&self, from: &Domain, to: &Domain, trip: Duration) {
        let (from, to) = (from.to_string(), to.to_string());
        for handle in self.shared.connections().values() {
            let mut link = lock(&handle.link);
            let carries = link
                .pairs
                .iter()
                .any(|pair| pair.local == from && pair.remote == to && pair.send.is_some());
            if carries && link.stanzas_out > 0 {
                link.rtt_ms = Some(trip.as_secs_f64() * 1000.0);
            }
        }
    }
}

/// What became of stanzas, from the start to the end of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Written to a peer or to a component.
    pub delivered: u64,
    /// Returned to their senders with an error.
    pub bounced: u64,
    /// Neither: errors that found nobody to take them, and must not be answered themselves.
    pub dropped: u64,
}

/// Why an engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// The system gave no random numbers.
    Random(String),
    /// TLS could not be set up.
    Tls(TlsError),
    /// Name resolution could not be set up.
    Resolver(ResolverError),
    /// The journal could not be opened.
    Journal(JournalError),
    /// A listener could not be bound.
    Bind {
        /// Where.
        address: String,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => write!(f, "the system gave no random numbers: {error}"),
            Self::Tls(error) => error.fmt(f),
            Self::Resolver(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Bind { address, error } => {
                write!(f, "cannot listen on {address}: {error}")?;
                if error.kind() == io::ErrorKind::AddrInUse {
                    f.write_str("; another program has it: stop that one or choose another")?;
                }
                if error.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str("; ports below 1024 need a privilege")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Until nothing waits for a peer or a component any more.
async fn emptied(shared: &Shared) {
    pairs_emptied(shared).await;
    while shared.attached().values().any(|handle| handle.queued() > 0)
        || shared
            .switchboard
            .pairs()
            .iter()
            .any(|(_, feeder)| feeder.queued() > 0)
    {
        sleep(POLL).await;
    }
}

/// Until nothing waits for a peer any more.
async fn pairs_emptied(shared: &Shared) {
    while shared
        .switchboard
        .pairs()
        .iter()
        .any(|(_, feeder)| feeder.queued() > 0)
    {
        sleep(POLL).await;
    }
}

/// Tells components that the server stops.
fn close_components(shared: &Shared, which: impl Fn(&ComponentHandle) -> bool) {
    for handle in shared.attached().values().filter(|handle| which(handle)) {
        let close = ComponentCommand::Close(StreamCondition::SystemShutdown);
        // One that has ended already needs no telling.
        let _ = handle.commands.send(close);
    }
}

/// Ends the connections that are left, and has them give back what they carry.
fn abandon(shared: &Shared) {
    for handle in shared.connections().values() {
        // One that does not read its commands is ending.
        let _ = handle.commands.insist(ConnectionCommand::Abandon);
    }
}

/// Until no component is left that does not take what waits for it.
async fn let_go(shared: &Shared) {
    while shared.attached().values().any(|handle| handle.queued() > 0) {
        sleep(POLL).await;
    }
}

/// Until no component is attached any more.
async fn unattached(shared: &Shared) {
    while !shared.attached().is_empty() {
        sleep(POLL).await;
    }
}

/// Until all connections have ended on which stanzas may flow. What is still being negotiated carries none, and a peer
/// that says nothing is not waited for.
async fn ended(shared: &Shared) {
    let carries = |handle: &ConnectionHandle| !lock(&handle.link).pairs.is_empty();
    while shared.connections().values().any(carries) {
        sleep(POLL).await;
    }
}

/// Signals that may wait for the federation; whoever sends one more waits.
const SIGNALS: usize = 1024;
/// What people may ask at once.
const QUESTIONS: usize = 16;
/// How often the end is looked for.
const POLL: Duration = Duration::from_millis(10);
