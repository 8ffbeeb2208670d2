//! The task of one connection with another server: moves bytes between the socket and the stream machine.
//!
//! It owns the socket, TLS, the [`Stream`] and the queues that the stream carries; others know it by its key.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use verona_proto::addr::{Direction, Domain, DomainPair};
use verona_proto::carriage::{Carriage, Counted, Keep, Left, TooLarge};
use verona_proto::certificate::Attestation;
use verona_proto::dialback::Verdict;
use verona_proto::discovery::Target;
use verona_proto::federation::{LostStream, Remains, Signal, StreamKey};
use verona_proto::grounds::Assurance;
use verona_proto::limits::{Limit, seconds};
use verona_proto::outbox::{Bell, Drain, Feeder};
use verona_proto::stanza::{StanzaClass, StanzaCondition};
use verona_proto::stream::{
    self, Command, Event, Input, NotSent, Output, Purpose, ResumePoint, Role, Secured, Stream,
    StreamError, Ticket,
};

use crate::alarm::Alarm;
use crate::attest::{self, Shown};
use crate::gate::Admission;
use crate::held::Held;
use crate::journal::{self, Journal};
use crate::mailbox::{Inbox, Mailbox, mailbox};
use crate::observe::log;
use crate::read::{READ_BYTES, read, read_or_say};
use crate::shared::{Shared, lock, now};
use crate::status::{Link, LinkCertificate, LinkPair, LinkRole, LinkTls, LinkTransport};
use crate::throttle::Throttle;
use crate::tls::{TlsFacts, TlsStream};
use crate::trace::{Traced, TracedWhat};
use crate::wire::Tcp;

/// What the federation wants of a connection.
#[derive(Debug)]
pub(crate) enum ConnectionCommand {
    Request {
        pair: DomainPair,
    },
    Verdict {
        pair: DomainPair,
        verdict: Verdict,
        assurance: Assurance,
    },
    /// What was found out about the peer's certificate.
    Attested(Attestation),
    Carry {
        pair: DomainPair,
        drain: Drain,
    },
    /// The peer takes up a lost stream here: this is known of it.
    Resume(Option<Ticket>),
    /// The peer has lost this connection.
    Abandon,
    Converge,
    Close(StreamError),
}

/// How others reach a connection.
#[derive(Debug)]
pub(crate) struct ConnectionHandle {
    pub(crate) commands: Mailbox,
    pub(crate) link: Arc<Mutex<Link>>,
    pub(crate) abort: AbortHandle,
    /// Notes a queue that is sent to the connection, so that it is given back whatever becomes of the connection.
    pub(crate) feeders: Feeders,
}

/// How a connection came about.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A peer connected to us.
    Accepted {
        /// Whether the listener is one for direct TLS; the peer may begin otherwise (DTLS-09).
        direct_tls: bool,
        admission: Admission,
    },
    /// We connected to a peer.
    Dialled {
        /// Where, and why there.
        target: Box<Target>,
        purpose: Box<Purpose>,
    },
}

/// Makes the task of a connection. Should it panic, what it carried is given back all the same.
/// It is in the registry at once and begins when told, so that whoever hears of it first can reach it.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    key: StreamKey,
    tcp: Tcp,
    peer: SocketAddr,
    origin: Origin,
) -> Start {
    let local_address = tcp.local_addr().unwrap_or(peer);
    let (role, admission, beginning) = match origin {
        Origin::Accepted {
            direct_tls,
            admission,
        } => (
            LinkRole::Receiving,
            Some(admission),
            Beginning::Accepted { direct_tls },
        ),
        Origin::Dialled { target, purpose } => {
            let dialled = Box::new(Dialled {
                target: *target,
                purpose: *purpose,
            });
            (LinkRole::Initiating, None, Beginning::Dialled(dialled))
        }
    };
    let link = Arc::new(Mutex::new(Link {
        id: key.0,
        role,
        peer_address: peer,
        local_address,
        transport: LinkTransport::Plain,
        tls: None,
        local: None,
        remote: None,
        bidi: false,
        pairs: Vec::new(),
        stanzas_in: 0,
        stanzas_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        rtt_ms: None,
        unacknowledged: 0,
        since: SystemTime::now(),
        state: "connecting",
    }));
    let pairs_max = verona_proto::limits::size(shared.limits().pairs_per_stream_max);
    let (sender, commands) = mailbox(pairs_max.saturating_add(COMMANDS_BESIDE_CARRY));
    let feeders: Feeders = Arc::default();
    // Before the stream takes the configuration that there is, so that no change is missed.
    let reloads = shared.reloads.subscribe();
    let connection = Box::new(Connection {
        shared: Arc::clone(shared),
        key,
        link: Arc::clone(&link),
        reloads,
        carriage: Carriage::new(bell(&commands)),
        commands,
        held: Held::new(shared),
        lost: None,
        bytes_written: 0,
        offered: None,
        transport: LinkTransport::Plain,
        admission,
        throttle: Throttle::new(shared.limits().bytes_per_second_max),
        shown: None,
        attesting: None,
    });
    let (start, started) = oneshot::channel::<()>();
    let registered = Registered {
        shared: Arc::clone(shared),
        key,
        feeders: Some(Arc::clone(&feeders)),
    };
    let life = Life {
        connection,
        registered,
    };
    let task = tokio::spawn(life.run(tcp, beginning, started));
    shared.connections().insert(
        key,
        ConnectionHandle {
            commands: sender,
            link,
            abort: task.abort_handle(),
            feeders,
        },
    );
    Start(start)
}

/// All that the task of a connection has.
struct Life {
    connection: Box<Connection>,
    /// Dropped behind the connection, which has let go of its queues by then.
    registered: Registered,
}

impl Life {
    #[allow(
        clippy::manual_async_fn,
        reason = "that would hold twice what it is given"
    )]
    fn run(
        mut self,
        mut tcp: Tcp,
        beginning: Beginning,
        started: oneshot::Receiver<()>,
    ) -> impl Future<Output = ()> + Send {
        async move {
            // Not before the registry knows us, or a command could find nobody.
            let begins = started.await;
            if begins.is_ok() {
                self.connection.run(&mut tcp, beginning).await;
            }
            drop(tcp);
            Box::pin(self.connection.end()).await;
            self.registered.leave();
        }
    }
}

/// The place of a connection in the registry: it has it until its task is over, however that came about.
struct Registered {
    shared: Arc<Shared>,
    key: StreamKey,
    /// What is given back for a connection that did not come to its end.
    feeders: Option<Feeders>,
}

impl Registered {
    /// The connection has come to its end.
    fn leave(mut self) {
        self.feeders = None;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.connections().remove(&self.key);
        let Some(feeders) = self.feeders.take() else {
            return;
        };
        // Who gives one up has said so.
        if std::thread::panicking() {
            tracing::error!(stream = self.key.0, "the task of a connection panicked");
        }
        // Without a runtime there is nobody to whom anything could be given.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, key) = (Arc::clone(&self.shared), self.key);
            runtime.spawn(async move { give_back(&shared, key, &feeders).await });
        }
    }
}

/// Gives back what a connection carried that can do so itself no more.
async fn give_back(shared: &Shared, key: StreamKey, feeders: &Feeders) {
    let reclaimed: Vec<(DomainPair, Drain)> = lock(feeders)
        .drain(..)
        .filter_map(|(pair, feeder)| feeder.reclaim().map(|drain| (pair, drain)))
        .collect();
    // Nobody knows any more how far it had come.
    let queues = reclaimed
        .into_iter()
        .map(|(pair, drain)| Left {
            pair,
            uncertain: drain.unacknowledged(),
            drain,
        })
        .collect();
    let remains = Remains { queues, lost: None };
    shared.signal(Signal::Ended(key, remains)).await;
}

/// Lets a connection that is in the registry begin. Dropping it ends the connection before it began.
#[must_use = "the connection waits for it"]
pub(crate) struct Start(oneshot::Sender<()>);

impl Start {
    pub(crate) fn now(self) {
        // A task that is gone already has said so.
        let _ = self.0.send(());
    }
}

/// The feeding ends of what a connection carries, kept outside its task for the case that it panics, or is given up.
pub(crate) type Feeders = Arc<Mutex<Vec<(DomainPair, Feeder)>>>;

struct Connection {
    shared: Arc<Shared>,
    key: StreamKey,
    link: Arc<Mutex<Link>>,
    /// Its bell rings too when a queue that was empty is not any more, and when the configuration has changed.
    commands: Inbox,
    /// Turns when the configuration has changed.
    reloads: watch::Receiver<u64>,
    carriage: Carriage,
    held: Held,
    /// How far both sides came, when the stream is over.
    lost: Option<Box<ResumePoint>>,
    bytes_written: u64,
    /// Where what was offered ends, once a write has failed: any part of it may have left us, and nothing more is known
    /// to have.
    offered: Option<u64>,
    transport: LinkTransport,
    admission: Option<Admission>,
    throttle: Throttle,
    /// What the peer showed in the TLS handshake, as long as somebody may have to look at it.
    shown: Option<Box<Shown>>,
    attesting: Option<Attesting>,
}

/// A task that asks about the peer's certificate. Nobody asks on for a connection that has ended.
struct Attesting(AbortHandle);

impl Drop for Attesting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// TLS over a connection.
type Tls<'a> = TlsStream<&'a mut Tcp>;

/// Where a connection of ours leads, and what for.
struct Dialled {
    target: Target,
    purpose: Purpose,
}

/// How a connection begins.
enum Beginning {
    Accepted { direct_tls: bool },
    Dialled(Box<Dialled>),
}

/// Why the loop over a transport ended.
enum Exit {
    /// TLS is to take over the transport.
    StartTls {
        role: Role,
        local: Option<Box<Domain>>,
    },
    /// The connection is over.
    End,
    /// It is when the peer has ended it.
    EndLast,
}

/// What the stream wants that is not carried out at once.
#[derive(Default)]
struct Wants {
    exit: Option<Exit>,
    /// Pairs whose keys we do not check.
    unchecked: Vec<DomainPair>,
}

/// How a peer that connected begins.
enum Begins {
    WithTls,
    WithXml,
    /// Not at all, though TLS was expected within this time.
    Late(Duration),
    /// We end it before it has said anything, where TLS was expected.
    Never,
}

impl Connection {
    // What awaits the life of a connection has nothing of its own beside it: each local would be held by ten thousand.
    async fn run(&mut self, tcp: &mut Tcp, beginning: Beginning) {
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(stream = self.key.0, "TCP_NODELAY could not be set: {error}");
        }
        let stall = seconds(self.shared.limits().write_stall_seconds);
        notice_death(tcp, self.key, stall);
        match beginning {
            Beginning::Accepted { direct_tls } => self.accepted(tcp, direct_tls).await,
            Beginning::Dialled(dialled) if dialled.target.direct_tls => {
                //= DTLS-01
                self.direct_tls(tcp, Some(dialled), now()).await;
            }
            Beginning::Dialled(dialled) => {
                //= DTLS-02
                let stream = self.stream(Some(&dialled), None, now());
                self.in_the_clear(tcp, stream, Some(dialled)).await;
            }
        }
    }

    /// Serves a peer that connected, in whichever way it begins.
    async fn accepted(&mut self, tcp: &mut Tcp, direct_tls: bool) {
        let begun = now();
        let mut stream = self.stream(None, None, begun);
        //= DTLS-09
        match Box::pin(self.first_byte(tcp, direct_tls, &mut stream)).await {
            // What there was of a stream is forgotten; its time goes on.
            Begins::WithTls => self.direct_tls(tcp, None, begun).await,
            Begins::WithXml => self.in_the_clear(tcp, stream, None).await,
            Begins::Late(patience) => {
                let error = self.handshake_too_long(patience);
                Box::pin(self.fail(error)).await;
            }
            Begins::Never => {}
        }
    }

    /// Looks at the first byte and leaves it where it is. A peer that says nothing is answered as if it began with XML
    /// when it has had its time for a stream, or left when it has had its time for TLS where that is expected.
    async fn first_byte(
        &mut self,
        tcp: &mut Tcp,
        tls_expected: bool,
        stream: &mut Stream,
    ) -> Begins {
        let patience = seconds(self.shared.limits().tls_handshake_seconds);
        let tls_by = match tls_expected {
            true => tokio::time::Instant::now() + patience,
            false => far_away(),
        };
        let xml_by = stream
            .deadline()
            .map_or_else(far_away, tokio::time::Instant::from_std);
        let mut byte = [0];
        loop {
            tokio::select! {
                // An end or an error is met again by whoever reads.
                seen = tcp.peek(&mut byte) => return match seen {
                    Ok(1..) if byte == [TLS_HANDSHAKE] => Begins::WithTls,
                    Ok(_) | Err(_) => Begins::WithXml,
                },
                // How the peer begins is the peer's to say, unless this is the end.
                () = self.commands.rung() => match self.commands.take() {
                    Some(ConnectionCommand::Close(_)) if tls_expected => return Begins::Never,
                    Some(ConnectionCommand::Abandon) => return Begins::Never,
                    Some(command) => {
                        let ends = matches!(command, ConnectionCommand::Close(_));
                        self.on_command(command, stream, 0);
                        if ends {
                            return Begins::WithXml;
                        }
                    }
                    None => {}
                },
                () = tokio::time::sleep_until(tls_by) => return Begins::Late(patience),
                () = tokio::time::sleep_until(xml_by) => return Begins::WithXml,
            }
        }
    }

    /// A connection that begins with TLS (XEP-0368).
    async fn direct_tls(&mut self, tcp: &mut Tcp, dialled: Option<Box<Dialled>>, begun: Instant) {
        let role = match dialled {
            Some(_) => Role::Initiating,
            None => Role::Receiving,
        };
        let until = begun + seconds(self.shared.limits().negotiation_seconds);
        let tls = self.tls(tcp, role, None, dialled.as_deref(), true, Some(until));
        let Some((mut tls, secured)) = Box::pin(tls).await else {
            return;
        };
        let mut stream = self.stream(dialled.as_deref(), Some(secured), begun);
        drop(dialled);
        self.pump(&mut tls, &mut stream).await;
        self.look_back(&stream);
    }

    /// A connection that begins with XML, and may come to TLS by STARTTLS.
    async fn in_the_clear(
        &mut self,
        tcp: &mut Tcp,
        mut stream: Box<Stream>,
        dialled: Option<Box<Dialled>>,
    ) {
        let exit = self.pump(tcp, &mut stream).await;
        self.look_back(&stream);
        let Exit::StartTls { role, local } = exit else {
            return;
        };
        let until = stream.deadline();
        let tls = self.tls(tcp, role, local, dialled.as_deref(), false, until);
        let Some((mut tls, secured)) = Box::pin(tls).await else {
            return;
        };
        drop(dialled);
        stream.handle(Input::Secured(secured), now());
        self.pump(&mut tls, &mut stream).await;
        self.look_back(&stream);
    }

    /// A stream whose time counts from `begun`.
    fn stream(
        &self,
        dialled: Option<&Dialled>,
        secured: Option<Secured>,
        begun: Instant,
    ) -> Box<Stream> {
        let config = self.shared.streams();
        let ids = self.shared.stream_ids();
        Box::new(match dialled {
            Some(Dialled { target, purpose }) => {
                Stream::initiating_by_way_of(target, config, purpose.clone(), ids, secured, begun)
            }
            None => Stream::receiving(config, ids, secured, begun),
        })
    }

    /// Has TLS take over a connection, or fails it.
    async fn tls<'a>(
        &mut self,
        tcp: &'a mut Tcp,
        role: Role,
        local: Option<Box<Domain>>,
        dialled: Option<&Dialled>,
        direct: bool,
        until: Option<Instant>,
    ) -> Option<(Tls<'a>, Secured)> {
        let local = local.map(|local| *local);
        match self
            .handshake(tcp, role, local, dialled, direct, until)
            .await
        {
            Ok(secured) => Some(secured),
            Err(error) => {
                Box::pin(self.fail(error)).await;
                None
            }
        }
    }

    async fn handshake<'a>(
        &mut self,
        tcp: &'a mut Tcp,
        role: Role,
        local: Option<Domain>,
        dialled: Option<&Dialled>,
        direct: bool,
        until: Option<Instant>,
    ) -> Result<(Tls<'a>, Secured), StreamError> {
        //= LIM-14
        // What is left of the time for the negotiation, where that is less.
        let until = until.map_or_else(far_away, tokio::time::Instant::from_std);
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        let patience = seconds(self.shared.limits().tls_handshake_seconds);
        let deadline = patience.min(left);
        let tls = self.shared.tls();
        let own = |domain: &Domain| tls.certificates().get(domain).is_some();
        let (handshake, own_certificate) = match (role, dialled) {
            (Role::Initiating, Some(dialled)) => {
                let pair = dialled.purpose.pair();
                let (local, remote) = (pair.local().domain(), pair.remote().domain());
                let handshake =
                    tokio::time::timeout(deadline, tls.connect(tcp, local, remote, direct)).await;
                (handshake, own(local))
            }
            (Role::Initiating | Role::Receiving, _) => {
                let handshake =
                    tokio::time::timeout(deadline, tls.accept(tcp, local.as_ref(), direct)).await;
                (handshake, true)
            }
        };
        match handshake {
            Ok(Ok((stream, facts))) => {
                self.secured(&facts, direct);
                let mut certificate = facts.evidence;
                if let Some(Dialled { target, purpose }) = dialled {
                    let shown = self.shown.take().unwrap_or_default();
                    let attesting = attest::of_server(&self.shared, purpose, target, &shown);
                    let attested = tokio::time::timeout_at(until, attesting).await;
                    let attestation =
                        attested.map_err(|_| self.no_time_left(Some(purpose), direct))?;
                    certificate.attestations.push(attestation);
                }
                let secured = Secured {
                    certificate,
                    own_certificate,
                };
                Ok((stream, secured))
            }
            //= TLS-09
            Ok(Err(error)) => Err(StreamError::tls(error.to_string())),
            Err(_) if left < patience => {
                let purpose = dialled.map(|dialled| &dialled.purpose);
                Err(self.no_time_left(purpose, direct))
            }
            Err(_) => Err(self.handshake_too_long(patience)),
        }
    }

    fn handshake_too_long(&self, patience: Duration) -> StreamError {
        self.shared.reached(Limit::TlsHandshakeSeconds);
        StreamError::tls(format!(
            "the TLS handshake took longer than {} s",
            patience.as_secs()
        ))
    }

    /// The time of the stream is over: one that began in the clear has that of its purpose.
    fn no_time_left(&self, purpose: Option<&Purpose>, direct: bool) -> StreamError {
        self.shared.reached(match purpose {
            Some(Purpose::Verify { .. }) if !direct => Limit::VerificationSeconds,
            Some(Purpose::Carry { .. } | Purpose::Verify { .. }) | None => {
                Limit::NegotiationSeconds
            }
        });
        StreamError::tls("the time for the negotiation was over before TLS was there")
    }

    fn secured(&mut self, facts: &TlsFacts, direct: bool) {
        self.transport = match direct {
            true => LinkTransport::Tls,
            false => LinkTransport::StartTls,
        };
        {
            let mut link = lock(&self.link);
            link.transport = self.transport;
            //= TLS-32
            link.tls = Some(LinkTls {
                version: facts.version.to_owned(),
                cipher_suite: facts.cipher_suite.clone(),
                certificate: LinkCertificate::of(&facts.evidence),
            });
        }
        self.shown = Some(Box::new(Shown::new(facts)));
        self.trace(TracedWhat::Secured);
    }

    /// The stream is over, or goes on over another transport: how far both sides came.
    fn look_back(&mut self, stream: &Stream) {
        // What is taken up again begins with how much was handled, and that has to be true.
        let is_safe = !self.held.is_exposed(self.shared.safe_up_to());
        self.lost = stream.resume_point().filter(|_| is_safe).map(Box::new);
    }

    /// Moves bytes until the transport changes or ends.
    async fn pump<IO: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        stream: &mut Stream,
    ) -> Exit {
        let (mut reader, mut writer) = tokio::io::split(io);
        let mut incoming = BytesMut::new();
        let mut outgoing = BytesMut::new();
        let mut unflushed = false;
        let stall = seconds(self.shared.limits().write_stall_seconds);
        let mut progress = tokio::time::Instant::now();
        let mut exit: Option<Exit> = self.outputs(stream).await;
        let mut leaving = None;
        let mut safe = self.shared.journal.as_ref().map(Journal::safe);
        let mut alarm = Alarm::new(far_from(progress));
        // Something may have come before anybody waited for it.
        self.commands.ring();
        loop {
            // The end has a deadline of its own, which nothing that the peer does or does not do puts off.
            if exit.is_none() {
                leaving = None;
            } else if leaving.is_some_and(|at| at <= tokio::time::Instant::now()) {
                self.shared.reached(Limit::CloseSeconds);
                return Exit::End;
            }
            let safe_up_to = self.shared.safe_up_to();
            let is_exposed = self.held.is_exposed(safe_up_to);
            stream.unhandled(self.held.unhandled(stream.counted(), safe_up_to));
            // What was taken is flushed, and so known to have left, before more is taken: under a standing backlog too.
            // After a write that failed nothing leaves us any more: what is written then would only fail again.
            if outgoing.is_empty() && !unflushed && self.offered.is_none() {
                self.fill(stream, 0);
                // To send may have settled something, which nothing else would say.
                exit = self.outputs(stream).await.or(exit);
                // Asked for once: what is written while it is asked for must not be dropped with the buffer.
                let transmit = stream.transmit();
                if transmit.is_empty() {
                    // An idle connection holds no buffer, and a part of one holds all of it.
                    *transmit = BytesMut::new();
                    outgoing = BytesMut::new();
                    // What is refused has nothing in front of it that must leave first.
                    self.acknowledge();
                } else {
                    outgoing = transmit.split();
                    progress = tokio::time::Instant::now();
                    self.trace(TracedWhat::Sent(&outgoing));
                }
            }
            if outgoing.is_empty()
                && !unflushed
                && self.held.is_empty()
                && !is_exposed
                && let Some(exit) = exit.take()
            {
                self.held.nothing_follows();
                let leave_at = self.leave_at(&mut leaving);
                let farewell = self.farewell(&exit, &mut reader, &mut writer);
                if Box::pin(tokio::time::timeout_at(leave_at, farewell))
                    .await
                    .is_err()
                {
                    self.shared.reached(Limit::CloseSeconds);
                }
                return exit;
            }
            self.publish(stream);
            // Whoever was to hear of something may have been waited for. What follows takes microseconds.
            let wait_begins = tokio::time::Instant::now();
            let deadline = stream
                .deadline()
                .map_or(far_from(wait_begins), tokio::time::Instant::from_std);
            let writing = !outgoing.is_empty() || unflushed;
            // A peer that asks and does not take the answers is not read from.
            let reading =
                exit.is_none() && self.held.is_empty() && stream.transmit().len() < WRITE_BYTES;
            //= LIM-11
            let throttled = self.throttle.until(wait_begins).filter(|_| reading);
            let is_reading = reading && throttled.is_none();
            if exit.is_some() {
                self.held.nothing_follows();
            } else if !is_reading {
                self.held.fall_behind(&self.shared, || stream.inbound());
            }
            //= LIM-12
            let stalled_at = writing.then(|| progress + stall);
            let own = match exit {
                Some(_) => self.leave_at(&mut leaving),
                None => deadline,
            };
            alarm.set(
                [throttled, stalled_at, self.held.next(is_reading)]
                    .into_iter()
                    .flatten()
                    .fold(own, tokio::time::Instant::min),
            );
            let counted = stream.counted();
            let mut nothing_there = false;
            tokio::select! {
                read = read_or_say(&mut reader, &mut incoming, self.throttle.room(wait_begins), &mut nothing_there), if is_reading => {
                    match read {
                        Ok(0) => stream.handle(Input::Eof, now()),
                        Err(error) => {
                            log::broken(self.key, &lock(&self.link), &error);
                            stream.handle(Input::Eof, now());
                        }
                        Ok(count) => {
                            let now = tokio::time::Instant::now();
                            if self.throttle.spend(count, now) {
                                self.shared.reached(Limit::BytesPerSecondMax);
                            }
                            lock(&self.link).bytes_in += u64::try_from(incoming.len()).unwrap_or(0);
                            self.trace(TracedWhat::Received(&incoming));
                            stream.handle(Input::Bytes(&incoming), now.into_std());
                            // An idle connection holds no buffer.
                            incoming = BytesMut::new();
                        }
                    }
                    exit = self.outputs(stream).await;
                }
                written = write(&mut writer, &outgoing), if writing => {
                    match written {
                        Ok(Written { count, all }) => {
                            outgoing.advance(count.min(outgoing.len()));
                            self.bytes_written += u64::try_from(count).unwrap_or(0);
                            if count > 0 {
                                progress = tokio::time::Instant::now();
                            }
                            unflushed = matches!(all, Flushed::NotYet);
                            if !unflushed {
                                self.acknowledge();
                            }
                        }
                        Err(error) => {
                            log::broken(self.key, &lock(&self.link), &error);
                            // TLS may have sent some of it before it failed, and does not say how much.
                            let offered = u64::try_from(outgoing.len()).unwrap_or(0);
                            self.offered.get_or_insert(self.bytes_written + offered);
                            outgoing.clear();
                            unflushed = false;
                            stream.handle(Input::Eof, now());
                            exit = self.outputs(stream).await.or(Some(Exit::End));
                            stream.transmit().clear();
                        }
                    }
                }
                // What it rings for is a queue, a command or another configuration; of commands one at a time.
                () = self.commands.rung(), if exit.is_none() => {
                    if self.reloads.has_changed().is_ok_and(|has| has) {
                        self.reloads.mark_unchanged();
                        self.reload(stream);
                        exit = self.outputs(stream).await;
                        self.commands.ring();
                    } else if let Some(command) = self.commands.take() {
                        let abandoned = matches!(command, ConnectionCommand::Abandon);
                        self.on_command(command, stream, outgoing.len());
                        exit = self.outputs(stream).await;
                        if abandoned {
                            // What is not written has nowhere to go.
                            return Exit::End;
                        }
                    }
                }
                //= SM-11
                () = async { Box::pin(journal::changed(&mut safe)).await }, if is_exposed => {}
                () = alarm.rings() => {
                    let now = tokio::time::Instant::now();
                    if stalled_at.is_some_and(|at| at <= now) {
                        self.shared.reached(Limit::WriteStallSeconds);
                        Box::pin(self.fail(StreamError::stalled(stall))).await;
                        return Exit::End;
                    }
                    if self.held.next(is_reading).is_some_and(|at| at <= now) {
                        self.held.retry(&self.shared);
                    }
                    if exit.is_none() && deadline <= now {
                        stream.handle(Input::Tick, now.into_std());
                        exit = self.outputs(stream).await;
                    }
                }
            }
            // Whatever had it read: what came early is read when a command or a time has come.
            if stream.counted() != counted {
                self.held.has_read(counted, self.shared.safe_up_to());
            }
            if nothing_there {
                self.held.nothing_to_read();
            }
        }
    }

    /// When a connection that is to end ends at the latest: counted from when that is asked first.
    fn leave_at(&self, leaving: &mut Option<tokio::time::Instant>) -> tokio::time::Instant {
        let patience = seconds(self.shared.limits().close_seconds);
        *leaving.get_or_insert_with(|| tokio::time::Instant::now() + patience)
    }

    /// Everything is said and flushed.
    async fn farewell<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        exit: &Exit,
        reader: &mut R,
        writer: &mut W,
    ) {
        if matches!(exit, Exit::StartTls { .. }) {
            return;
        }
        //= TLS-28
        let patience = seconds(CLOSE_NOTIFY_SECONDS);
        let _ = tokio::time::timeout(patience, writer.shutdown()).await;
        //= ROUTE-09
        let mut ignored = 0;
        while matches!(exit, Exit::EndLast) && ignored < IGNORED_BYTES {
            tokio::select! {
                more = ignore(reader) => match more {
                    Some(more) => ignored += more,
                    None => return,
                },
                () = self.commands.rung() => match self.commands.take() {
                    Some(ConnectionCommand::Carry { pair, drain }) => self.carriage.add(pair, drain),
                    // Somebody wants what it carries, or the end of all.
                    Some(ConnectionCommand::Abandon | ConnectionCommand::Close(_)) => return,
                    Some(
                        ConnectionCommand::Request { .. }
                        | ConnectionCommand::Verdict { .. }
                        | ConnectionCommand::Attested(_)
                        | ConnectionCommand::Resume(_)
                        | ConnectionCommand::Converge,
                    ) => {}
                    None if self.reloads.has_changed().is_ok_and(|has| has) => return,
                    None => {}
                },
            }
        }
    }

    fn on_command(&mut self, command: ConnectionCommand, stream: &mut Stream, unsent: usize) {
        match command {
            ConnectionCommand::Request { pair } => {
                stream.handle(Input::Command(Command::Request { pair }), now());
            }
            ConnectionCommand::Verdict {
                pair,
                verdict,
                assurance,
            } => {
                if let Some(admission) = &mut self.admission {
                    admission.end_verification(&pair);
                }
                let command = Command::Verdict {
                    pair,
                    verdict,
                    assurance,
                };
                stream.handle(Input::Command(command), now());
            }
            ConnectionCommand::Attested(attestation) => {
                // A handle on a task that is over holds all that the task held.
                self.attesting = None;
                stream.handle(Input::Attested(attestation), now());
            }
            ConnectionCommand::Carry { pair, drain } => self.carry(pair, drain, stream),
            ConnectionCommand::Converge => {
                stream.handle(Input::Command(Command::Converge), now());
            }
            ConnectionCommand::Resume(found) => {
                stream.handle(Input::Command(Command::Resume(found)), now());
            }
            ConnectionCommand::Abandon => {
                stream.handle(Input::Command(Command::Abandon), now());
            }
            ConnectionCommand::Close(error) => {
                // What is queued for the stream goes out before its closing tag.
                if matches!(error.fault, stream::Fault::Local) {
                    self.fill(stream, unsent);
                }
                stream.handle(Input::Command(Command::Close(error)), now());
            }
        }
    }

    /// Takes a queue to write, or gives it back: the configuration may have changed on its way here.
    fn carry(&mut self, pair: DomainPair, drain: Drain, stream: &Stream) {
        if stream.forbids(&pair) {
            let left = Left {
                pair,
                drain,
                uncertain: 0,
            };
            self.decline(left);
        } else {
            self.carriage.add(pair, drain);
        }
    }

    /// Gives back the queues of departed pairs, as soon as nothing of them is on its way.
    fn decline_departed(&mut self) {
        for left in self.carriage.departed() {
            self.decline(left);
        }
    }

    fn decline(&self, left: Left) {
        self.shared
            .signal_whatever_happens(Signal::Declined(self.key, left));
    }

    /// The configuration changed.
    fn reload(&mut self, stream: &mut Stream) {
        let config = self.shared.streams();
        self.throttle = Throttle::new(self.shared.limits().bytes_per_second_max);
        stream.handle(Input::Command(Command::Reload(config)), now());
    }

    /// Pulls stanzas while the write buffer has room, fairly over the pairs that have some. `unsent` bytes are on their
    /// way already.
    fn fill(&mut self, stream: &mut Stream, unsent: usize) {
        if !stream.is_open() {
            return self.carriage.pause();
        }
        // It takes microseconds: one look at the clock does for all.
        let now = now();
        while stream.transmit().len() < WRITE_BYTES {
            let at = |stream: &mut Stream, written: u64| {
                written + u64::try_from(unsent + stream.transmit().len()).unwrap_or(0)
            };
            let begin = at(stream, self.bytes_written);
            if !stream.is_open() {
                // What had its turn waits where it is seen to wait.
                return self.carriage.pause();
            }
            let Some((pair, stanza)) = self.carriage.pull() else {
                return stream.drained(now);
            };
            let custody = match stream.send(pair, &stanza, now) {
                Ok(custody) => custody,
                Err(NotSent::NotPermitted) => {
                    // What is not sent is still in its queue. A stream that is over gives all back when it ends.
                    let forbidden = stream.forbids(pair).then(|| pair.clone());
                    self.carriage.put_back();
                    let Some(pair) = forbidden else {
                        return;
                    };
                    self.carriage.depart(&pair);
                    self.decline_departed();
                    continue;
                }
                Err(NotSent::TooLarge { max_bytes }) => {
                    let refused = TooLarge { stanza, max_bytes };
                    self.carriage.refused(begin, refused);
                    continue;
                }
            };
            let end = at(stream, self.bytes_written);
            let counted = match stanza.class() {
                StanzaClass::Error => Counted::No,
                StanzaClass::Request | StanzaClass::Answer | StanzaClass::Other => Counted::Yes,
            };
            self.carriage.sent(begin, end, custody, counted);
        }
    }

    /// All that was handed to the transport has left it.
    fn acknowledge(&mut self) {
        if self.offered.is_some() {
            return;
        }
        let settled = self.carriage.written(self.bytes_written);
        self.decline_departed();
        self.shared.settled(settled);
    }

    /// The peer has handled the next of what was sent to it (XEP-0198).
    fn acknowledged(&mut self, count: u32) {
        self.shared.counters.acknowledged(count);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let settled = self.carriage.acknowledged(count, self.bytes_written);
        self.decline_departed();
        self.shared.settled(settled);
    }

    /// Carries out what the stream wants.
    async fn outputs(&mut self, stream: &mut Stream) -> Option<Exit> {
        let mut wants = Wants::default();
        while let Some(event) = self.next_event(stream, &mut wants) {
            Box::pin(self.on_event(*event)).await;
        }
        wants.exit
    }

    /// Carries out what the stream wants, up to the next event: whoever is to hear of it may have to be waited for.
    fn next_event(&mut self, stream: &mut Stream, wants: &mut Wants) -> Option<Box<Event>> {
        loop {
            while let Some(output) = stream.poll() {
                match output {
                    Output::Attest(domain) => self.attest(domain),
                    Output::Deliver(admitted) => {
                        let inbound = || stream.inbound();
                        self.held.deliver(&self.shared, admitted, inbound);
                    }
                    Output::Acknowledged(count) => self.acknowledged(count),
                    Output::Answered => {
                        let settled = self.carriage.answered(self.bytes_written);
                        self.decline_departed();
                        self.shared.settled(settled);
                    }
                    Output::Unmanaged => {
                        self.carriage.unmanaged();
                        self.acknowledge();
                    }
                    Output::Event(Event::KeyReceived(check)) if !self.may_check(&check.pair) => {
                        wants.unchecked.push(check.pair);
                    }
                    Output::Event(event) => return Some(Box::new(event)),
                    Output::StartTls { role, local } => {
                        let local = local.map(Box::new);
                        wants.exit = Some(Exit::StartTls { role, local });
                    }
                    Output::Close => wants.exit = Some(Exit::End),
                    Output::CloseLast => wants.exit = Some(Exit::EndLast),
                }
            }
            if wants.unchecked.is_empty() {
                return None;
            }
            for pair in wants.unchecked.drain(..) {
                let verdict = Verdict::Error(StanzaCondition::ResourceConstraint);
                let command = Command::Verdict {
                    pair,
                    verdict,
                    assurance: Assurance::Dns,
                };
                stream.handle(Input::Command(command), now());
            }
        }
    }

    /// Has DNS and the web asked about the peer's certificate, while the connection lives on.
    fn attest(&mut self, domain: Domain) {
        let commands = self.commands.mailbox();
        let shared = Arc::clone(&self.shared);
        let shown = self.shown.take().unwrap_or_default();
        let task = tokio::spawn(async move {
            let attestation = attest::of_peer(&shared, domain, &shown).await;
            // A connection that has ended needs no answer.
            let _ = commands.insist(ConnectionCommand::Attested(attestation));
        });
        self.attesting = Some(Attesting(task.abort_handle()));
    }

    /// Whether a key that arrived here may be checked: not when its address has too many under way (DB-53).
    fn may_check(&mut self, pair: &DomainPair) -> bool {
        let begun = match &mut self.admission {
            Some(admission) => admission.begin_verification(pair),
            None => Ok(()),
        };
        match begun {
            Ok(()) => true,
            Err(limit) => {
                self.shared.reached(limit);
                false
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        if let Event::Granted(granted) = &event {
            if let Some(admission) = &mut self.admission {
                admission.authenticated();
            }
            if granted.direction == Direction::Inbound {
                self.held.serves(&granted.pair);
            }
            let mut link = lock(&self.link);
            let (local, remote) = (
                granted.pair.local().to_string(),
                granted.pair.remote().to_string(),
            );
            let position = link
                .pairs
                .iter()
                .position(|pair| pair.local == local && pair.remote == remote);
            let mut pair = match position {
                Some(position) => link.pairs.swap_remove(position),
                None => LinkPair {
                    local,
                    remote,
                    send: None,
                    receive: None,
                },
            };
            match granted.direction {
                Direction::Outbound => pair.send = Some(granted.grounds),
                Direction::Inbound => pair.receive = Some(granted.grounds),
            }
            if link.pairs.is_empty() {
                link.pairs.reserve_exact(1);
            }
            link.pairs.push(pair);
            link.pairs
                .sort_by(|a, b| (&a.local, &a.remote).cmp(&(&b.local, &b.remote)));
        }
        if let Event::Revoked { pair, direction } = &event {
            lock(&self.link).revoke(pair, *direction);
        }
        if let Event::Departed { pair } = &event {
            self.carriage.depart(pair);
            self.decline_departed();
        }
        if let Event::Identified(peer) = &event {
            let mut link = lock(&self.link);
            link.local = Some(peer.local.to_string());
            link.remote = peer.remote.as_ref().map(ToString::to_string);
            // Nobody has to look at the certificate any more.
            self.shown = None;
        }
        if matches!(event, Event::Bidirectional) {
            lock(&self.link).bidi = true;
        }
        if let Event::Failed(error) = &event
            && error.blames_us(lock(&self.link).stanzas_out)
        {
            self.shared.counters.blamed();
            log::blamed(self.key, &lock(&self.link), error);
        }
        log::stream(self.key, &lock(&self.link), &event);
        if concerns_federation(&event) {
            self.shared.signal(Signal::Stream(self.key, event)).await;
        }
    }

    async fn fail(&mut self, error: StreamError) {
        self.on_event(Event::Failed(error)).await;
    }

    /// Gives back what the connection carried, commands that it did not get round to included.
    async fn end(mut self: Box<Self>) {
        for command in self.commands.close() {
            match command {
                ConnectionCommand::Carry { pair, drain } => self.carriage.add(pair, drain),
                ConnectionCommand::Request { .. }
                | ConnectionCommand::Verdict { .. }
                | ConnectionCommand::Attested(_)
                | ConnectionCommand::Resume(_)
                | ConnectionCommand::Abandon
                | ConnectionCommand::Converge
                | ConnectionCommand::Close(_) => {}
            }
        }
        self.held.give_up(&self.shared);
        self.trace(TracedWhat::Closed);
        let keep = match &self.lost {
            Some(_) => Keep::InFlight,
            None => Keep::Nothing,
        };
        let left_us = self.offered.unwrap_or(self.bytes_written);
        let queues = self.carriage.end(left_us, keep);
        let carriage = self.carriage;
        let lost = self.lost.map(|mark| LostStream {
            ticket: mark.ticket,
            pair: mark.pair,
            role: mark.role,
            used: mark.used,
            their_side: mark.their_side,
            carriage,
        });
        drop(self.admission);
        drop(self.attesting);
        self.shared
            .signal(Signal::Ended(self.key, Remains { queues, lost }))
            .await;
    }

    fn publish(&self, stream: &Stream) {
        let (stanzas_in, stanzas_out) = stream.stanzas();
        let mut link = lock(&self.link);
        link.stanzas_in = stanzas_in;
        link.stanzas_out = stanzas_out;
        link.bytes_out = self.bytes_written;
        link.unacknowledged = u64::from(stream.unacknowledged());
        // Another one may have been measured by a ping.
        if let Some(time) = stream.round_trip() {
            link.rtt_ms = Some(time.as_secs_f64() * 1000.0);
        }
        link.state = stream.state();
    }

    fn trace(&self, what: TracedWhat<'_>) {
        let Some(trace) = &self.shared.trace else {
            return;
        };
        let (role, local_address, peer_address) = {
            let link = lock(&self.link);
            (link.role, link.local_address, link.peer_address)
        };
        trace.show(&Traced {
            link: self.key.0,
            role,
            local_address,
            peer_address,
            secured: self.transport != LinkTransport::Plain,
            what,
        });
    }
}

/// What one call of [`write`] did.
struct Written {
    /// So many bytes were taken.
    count: usize,
    all: Flushed,
}

/// Whether everything that was taken has left us.
enum Flushed {
    Yes,
    NotYet,
}

/// Writes what there is, and flushes where nothing is left. It may be given up at any await without loss.
async fn write<IO: AsyncWrite>(
    writer: &mut tokio::io::WriteHalf<IO>,
    bytes: &[u8],
) -> std::io::Result<Written> {
    std::future::poll_fn(|context| {
        let mut writer = Pin::new(&mut *writer);
        if bytes.is_empty() {
            ready!(writer.poll_flush(context))?;
            let all = Flushed::Yes;
            return Poll::Ready(Ok(Written { count: 0, all }));
        }
        let count = ready!(writer.as_mut().poll_write(context, bytes))?;
        if count == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
        }
        // Nearly always that is done at once. Where it is not, or fails, what was taken is told first, and it is tried anew.
        let all = match count == bytes.len()
            && writer.poll_flush(context).map(|done| done.is_ok()) == Poll::Ready(true)
        {
            true => Flushed::Yes,
            false => Flushed::NotYet,
        };
        Poll::Ready(Ok(Written { count, all }))
    })
    .await
}

/// Has the system notice a peer that vanished without a word (reliability T7), and hold little of what we write.
pub(crate) fn notice_death(tcp: &Tcp, key: StreamKey, stall: Duration) {
    let Some(tcp) = tcp.socket() else {
        return;
    };
    let socket = socket2::SockRef::from(tcp);
    let vanished = stall + VANISHED_AFTER;
    let vanished = vanished.clamp(VANISHED_LEAST, VANISHED_MOST);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(vanished)
        .with_interval(vanished / 4);
    // What the system holds when a connection is lost is lost with it: no more than this, until XEP-0198 tells.
    let set = socket
        .set_send_buffer_size(SEND_BUFFER_BYTES)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(vanished)));
    if let Err(error) = set {
        tracing::debug!(
            stream = key.0,
            "the socket's time-outs could not be set: {error}"
        );
    }
}

/// Wakes the connection.
fn bell(commands: &Inbox) -> Bell {
    let mailbox = commands.mailbox();
    Arc::new(move || mailbox.ring())
}

/// Whether the federation acts on an event; what it only would throw away must not fill its queue.
fn concerns_federation(event: &Event) -> bool {
    match event {
        Event::Identified(_)
        | Event::Bidirectional
        | Event::Multiplexes
        | Event::Pipelines
        | Event::OldBidiNamespace
        | Event::SaslFailed { .. }
        | Event::KeyReceived(_)
        | Event::Granted(_)
        | Event::Refused { .. }
        | Event::Unanswered { .. }
        | Event::Verified { .. }
        | Event::Managed { .. }
        | Event::ResumeRequested { .. }
        | Event::Resumed { .. }
        | Event::Revoked { .. }
        | Event::Departed { .. }
        | Event::Failed(_)
        | Event::Closed { .. } => true,
        Event::Vouched { .. } | Event::Denied { .. } | Event::Irregular { .. } => false,
    }
}

/// What the peer still says after the end of its stream means nothing; `None` when it has ended the connection.
async fn ignore<R: AsyncRead + Unpin>(reader: &mut R) -> Option<usize> {
    let mut ignored = BytesMut::new();
    let count = read(reader, &mut ignored, READ_BYTES).await;
    count.ok().filter(|count| *count > 0)
}

fn far_away() -> tokio::time::Instant {
    far_from(tokio::time::Instant::now())
}

fn far_from(now: tokio::time::Instant) -> tokio::time::Instant {
    now + seconds(FAR_AWAY_SECONDS)
}

/// The first byte of every TLS connection, the type of its first record (RFC 8446 §5.1); no XML begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// One write takes what is ready up to this much: four TLS records.
const WRITE_BYTES: usize = 64 * 1024;
/// Requests, verdicts and the closing beside one `Carry` for each pair.
const COMMANDS_BESIDE_CARRY: usize = 16;
/// Who says more than this after the end of its stream is not waited for.
const IGNORED_BYTES: usize = 1024 * 1024;
/// How long our own close_notify may take to be written.
const CLOSE_NOTIFY_SECONDS: u64 = 2;
/// How long the system waits for a peer that acknowledges nothing: longer than `write_stall_seconds`, which says more …
const VANISHED_AFTER: Duration = Duration::from_secs(5);
/// … but not so short that a network which is mended loses connections, nor so long that what is lost is noticed late.
const VANISHED_LEAST: Duration = Duration::from_secs(45);
const VANISHED_MOST: Duration = Duration::from_secs(75);
/// What the system may hold of what we wrote; it takes about twice as much.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// When nothing has a deadline.
const FAR_AWAY_SECONDS: u64 = 3600;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use tokio::net::TcpStream;
    use tokio::time::{Duration, sleep, timeout};
    use verona_proto::addr::Jid;
    use verona_proto::outbox::{self, OutboxLimit};
    use verona_proto::stanza::{Stanza, StanzaKind};

    use super::*;
    use crate::config::{Config, HostedDomain};
    use crate::engine::Engine;
    use crate::federation::Question;

    #[tokio::test]
    async fn what_a_task_carried_that_ended_before_its_time_is_given_back() {
        let domain = |name: &str| Domain::parse(name).unwrap();
        let mut config = Config {
            domains: vec![HostedDomain {
                name: domain("a.lit"),
                component: None,
            }],
            dns_servers: vec![([127, 0, 0, 1], 9).into()],
            ..Config::default()
        };
        config.s2s.listen = vec![([127, 0, 0, 1], 0).into()];
        let engine = Engine::start(config).await.unwrap();
        let handle = engine.handle();
        let shared = Arc::clone(&handle.shared);
        let address = *engine.s2s_addresses().first().unwrap();
        let _peer = TcpStream::connect(address).await.unwrap();
        let patience = Duration::from_secs(10);
        let carrying = timeout(patience, async {
            while shared.connections().is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        carrying.await.unwrap();

        let hosts = shared.hosts();
        let pair = hosts.pair(Direction::Outbound, &domain("a.lit"), &domain("x.lit"));
        let pair = pair.unwrap();
        let (feeder, drain) = outbox::new(OutboxLimit {
            stanzas: 10,
            bytes: 10_000,
        });
        let (from, to) = (Jid::parse("a.lit").unwrap(), Jid::parse("x.lit").unwrap());
        let stanza = Stanza::build(StanzaKind::Message, &from, &to, None, None, "");
        feeder.push(stanza, now()).unwrap();
        {
            let connections = shared.connections();
            let connection = connections.values().next().unwrap();
            let carry = ConnectionCommand::Carry {
                pair: pair.clone(),
                drain,
            };
            connection.commands.give(carry).unwrap();
            lock(&connection.feeders).push((pair.clone(), feeder.clone()));
            connection.abort.abort();
        }
        let served = timeout(patience, async {
            loop {
                let (answer, routes) = oneshot::channel();
                shared
                    .questions
                    .send(Question::Routes(answer))
                    .await
                    .unwrap();
                if routes.await.unwrap().contains_key(&pair) {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        served.await.unwrap();
        assert!(shared.connections().is_empty(), "and its place is free");
        assert!(feeder.reclaim().is_none(), "the federation has the drain");
    }

    /// What a call of a function makes.
    fn size_made<A, B, C, D, Made>(_: impl Fn(A, B, C, D) -> Made) -> usize {
        size_of::<Made>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        // With what Tokio adds its task has 1,024 bytes, and 128 more with the next one.
        let task = size_made(Life::run);
        assert!(task <= 920, "{task} bytes");
        let connection = size_of::<Connection>();
        assert!(connection <= 496, "{connection} bytes");
        assert!(size_of::<Tcp>() <= 40, "{}", size_of::<Tcp>());
    }
}
