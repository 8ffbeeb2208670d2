//! The task of one component's connection (XEP-0114): moves bytes between the socket and the link machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, watch};
use verona_proto::addr::LocalDomain;
use verona_proto::component::{ComponentInput, ComponentLink, ComponentOutput};
use verona_proto::limits::{seconds, size};
use verona_proto::outbox::{Drain, Feeder, OutboxLimit};
use verona_proto::stanza::{Reason, Stanza, StanzaClass, StreamCondition, Undelivered};

use crate::config::Conflict;
use crate::held::Held;
use crate::journal::{Barrier, Journal};
use crate::observe::log;
use crate::shared::{Shared, now};
use crate::throttle::Throttle;

/// What others want of a component's connection.
#[derive(Debug)]
pub(crate) enum ComponentCommand {
    /// The queue of a pair of this component's cannot be served: its stanzas are answered with errors.
    Return { drain: Drain, why: Undelivered },
    /// End the link.
    Close(StreamCondition),
}

/// How others reach a component's connection.
#[derive(Clone, Debug)]
pub(crate) struct ComponentHandle {
    pub(crate) commands: mpsc::UnboundedSender<ComponentCommand>,
    feeder: Feeder,
}

impl ComponentHandle {
    /// How many stanzas wait for the component.
    pub(crate) fn queued(&self) -> usize {
        self.feeder.queued()
    }
}

/// Serves one connection of a component until it ends.
pub(crate) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut io: IO,
    peer: String,
) {
    // Bounded by the pairs of one component: each queue is returned at most once at a time.
    let (sender, commands) = mpsc::unbounded_channel();
    let link = ComponentLink::new(
        shared.components.clone(),
        Arc::clone(&shared.hosts),
        shared.limits.clone(),
        shared.random.id(),
        now(),
    );
    let mut task = ComponentTask {
        shared,
        peer,
        link,
        sender,
        commands,
        attached: None,
        returns: VecDeque::new(),
        bell: Arc::default(),
        held: Held::default(),
        barrier: Barrier::default(),
        in_flight: 0,
        in_flight_counted: 0,
    };
    task.drive(&mut io).await;
    task.end().await;
}

struct ComponentTask {
    shared: Arc<Shared>,
    peer: String,
    link: ComponentLink,
    sender: mpsc::UnboundedSender<ComponentCommand>,
    commands: mpsc::UnboundedReceiver<ComponentCommand>,
    attached: Option<Attached>,
    returns: VecDeque<ComponentCommand>,
    bell: Arc<Notify>,
    held: Held,
    /// Holds back what answers messages that are not safe yet.
    barrier: Barrier,
    /// Stanzas of the component's own queue that are pulled and not yet written.
    in_flight: usize,
    /// How many of them count as delivered: errors are counted where they are made.
    in_flight_counted: u64,
}

/// The domain is the component's.
struct Attached {
    domain: LocalDomain,
    feeder: Feeder,
    drain: Drain,
}

impl ComponentTask {
    async fn drive<IO: AsyncRead + AsyncWrite + Unpin>(&mut self, io: &mut IO) {
        let (mut reader, mut writer) = tokio::io::split(io);
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let mut outgoing = BytesMut::new();
        let mut closing = false;
        let stall = seconds(self.shared.limits.write_stall_seconds);
        let mut progress = tokio::time::Instant::now();
        let mut stop = self.shared.stop.subscribe();
        let mut safe = self.shared.journal.as_ref().map(Journal::safe);
        // The end has a deadline of its own, which nothing that the component does or does not do puts off.
        let mut leave_at = None;
        let mut crowded_since = None;
        let mut throttle = Throttle::new(self.shared.limits.bytes_per_second_max);
        loop {
            if closing {
                leave_at.get_or_insert_with(|| {
                    tokio::time::Instant::now() + seconds(self.shared.limits.close_seconds)
                });
            }
            if leave_at.is_some_and(|at| at <= tokio::time::Instant::now()) {
                return;
            }
            let leave = leave_at.unwrap_or_else(tokio::time::Instant::now);
            if outgoing.is_empty() {
                self.written();
                self.fill().await;
                outgoing = self.link.transmit().split();
                progress = tokio::time::Instant::now();
            }
            if closing && outgoing.is_empty() && self.held.is_empty() {
                let _ = writer.shutdown().await;
                return;
            }
            let deadline = self.link.deadline().map_or_else(
                || tokio::time::Instant::now() + seconds(3600),
                tokio::time::Instant::from_std,
            );
            let bell = Arc::clone(&self.bell);
            // At shutdown nothing more is taken from components while what was taken is delivered.
            let room = self.link.transmit().len() < WRITE_BYTES;
            // Nor, for a moment, while much waits for it: errors to what it sends must find room. Only for a moment, for
            // a component that reads and writes in turn would wait for us as we wait for it.
            let read_on = match self.has_room_for_errors() {
                true => {
                    crowded_since = None;
                    tokio::time::Instant::now()
                }
                false => {
                    *crowded_since.get_or_insert_with(tokio::time::Instant::now) + CROWD_PATIENCE
                }
            };
            let crowded = read_on > tokio::time::Instant::now();
            let reading = !closing && room && !crowded && !*stop.borrow() && self.held.is_empty();
            //= LIM-11
            let throttled = throttle.until().filter(|_| reading);
            tokio::select! {
                read = reader.read_buf(&mut incoming), if reading && throttled.is_none() => {
                    match read {
                        Ok(0) | Err(_) => self.link.handle(ComponentInput::Eof, now()),
                        Ok(count) => {
                            throttle.spend(count);
                            self.link.handle(ComponentInput::Bytes(&incoming), now());
                            incoming.clear();
                        }
                    }
                    closing |= self.outputs().await;
                }
                written = writer.write(&outgoing), if !outgoing.is_empty() => {
                    match written {
                        Ok(count) if count > 0 => {
                            outgoing.advance(count.min(outgoing.len()));
                            progress = tokio::time::Instant::now();
                        }
                        Ok(_) | Err(_) => {
                            self.link.handle(ComponentInput::Eof, now());
                            self.outputs().await;
                            return;
                        }
                    }
                }
                command = self.commands.recv(), if !closing => {
                    match command {
                        Some(ComponentCommand::Close(condition)) => {
                            // At shutdown others wait for the answers to what it did not take.
                            if condition == StreamCondition::SystemShutdown {
                                leave_at = Some(tokio::time::Instant::now() + SHUTDOWN_PATIENCE);
                            }
                            self.link.handle(ComponentInput::Close(condition), now());
                            closing |= self.outputs().await;
                        }
                        Some(command @ ComponentCommand::Return { .. }) => self.returns.push_back(command),
                        None => return,
                    }
                }
                () = bell.notified() => {}
                //= SM-11
                () = changed(&mut safe), if self.barrier.is_down() => {}
                () = tokio::time::sleep_until(throttled.unwrap_or(leave)), if throttled.is_some() => {}
                () = tokio::time::sleep_until(read_on), if crowded => {}
                //= LIM-12
                () = tokio::time::sleep_until(progress + stall), if !outgoing.is_empty() => {
                    tracing::warn!(peer = self.peer, "a component took nothing for {} s; its connection ends", stall.as_secs());
                    self.link.handle(ComponentInput::Eof, now());
                    self.outputs().await;
                    return;
                }
                () = tokio::time::sleep_until(self.held.next()), if !self.held.is_empty() => self.held.retry(&self.shared).await,
                _ = stop.changed(), if reading => {}
                () = tokio::time::sleep_until(deadline), if !closing => {
                    self.link.handle(ComponentInput::Tick, now());
                    closing |= self.outputs().await;
                }
                () = tokio::time::sleep_until(leave), if leave_at.is_some() => {}
            }
        }
    }

    /// Carries out what the link wants; `true` when the connection is to end.
    async fn outputs(&mut self) -> bool {
        let mut closing = false;
        while let Some(output) = self.link.poll() {
            match output {
                ComponentOutput::Claim(domain) => self.claim(domain),
                ComponentOutput::Deliver(admitted) => {
                    self.held.deliver(&self.shared, admitted).await
                }
                ComponentOutput::Event(event) => log::component(&self.peer, &event),
                ComponentOutput::Close => closing = true,
            }
        }
        closing
    }

    fn claim(&mut self, domain: LocalDomain) {
        let (feeder, mut drain) = self.shared.switchboard.outbox(OutboxLimit {
            stanzas: size(self.shared.limits.component_backlog_stanzas_max),
            bytes: size(self.shared.limits.component_backlog_bytes_max),
        });
        let bell = Arc::clone(&self.bell);
        drain.ring_with(Arc::new(move || bell.notify_one()));
        // What an earlier run left comes first: nobody else has this queue yet.
        for stanza in self.shared.stranded.take(&domain) {
            // It is new, so it takes everything.
            let _ = feeder.restore(stanza, now());
        }
        //= COMP-12
        let attached = match self
            .shared
            .switchboard
            .attach(domain.clone(), feeder.clone())
        {
            Ok(()) => true,
            Err(_) => match self.shared.conflict(&domain) {
                Conflict::RejectNew => false,
                Conflict::KickOld => {
                    self.shared
                        .switchboard
                        .replace(domain.clone(), feeder.clone());
                    if let Some(old) = self.shared.attached().get(&domain) {
                        let _ = old
                            .commands
                            .send(ComponentCommand::Close(StreamCondition::Conflict));
                    }
                    true
                }
            },
        };
        if !attached {
            self.shared.stranded.put_back(domain, drain.close());
            return self.link.handle(ComponentInput::Conflict, now());
        }
        self.shared.attached().insert(
            domain.clone(),
            ComponentHandle {
                commands: self.sender.clone(),
                feeder: feeder.clone(),
            },
        );
        self.attached = Some(Attached {
            domain,
            feeder,
            drain,
        });
        self.link.handle(ComponentInput::Accepted, now());
    }

    /// Fills the write buffer: the component's own queue first, then the errors for what could not be sent.
    async fn fill(&mut self) {
        let mut free = self.free();
        while self.link.transmit().len() < WRITE_BYTES && free > 0 {
            free -= 1;
            self.barrier.pulled();
            let Some(stanza) = self
                .attached
                .as_mut()
                .and_then(|attached| attached.drain.pull())
            else {
                break;
            };
            if !self.link.send(&stanza) {
                if let Some(attached) = &mut self.attached {
                    attached.drain.requeue();
                }
                return;
            }
            self.in_flight += 1;
            self.in_flight_counted += u64::from(stanza.class() != StanzaClass::Error);
        }
        while self.link.transmit().len() < WRITE_BYTES && self.room() {
            let Some(ComponentCommand::Return { drain, why }) = self.returns.front_mut() else {
                return;
            };
            match drain.pull() {
                Some(stanza) => {
                    drain.acknowledge(1);
                    let why = why.clone();
                    self.shared.bounce(&stanza, &why).await;
                }
                None => {
                    if let Some(ComponentCommand::Return { drain, why }) = self.returns.pop_front()
                    {
                        // A stanza may have come in between: then it is answered as well.
                        if let Err(drain) = drain.close_if_empty() {
                            self.returns
                                .push_front(ComponentCommand::Return { drain, why });
                        }
                    }
                }
            }
        }
    }

    /// How much of its queue the component may see: what it takes for answers waits for the messages before.
    fn free(&mut self) -> usize {
        let Some(attached) = &self.attached else {
            return 0;
        };
        let queued = attached.drain.queued();
        match &self.shared.journal {
            //= SM-11
            Some(journal) => self
                .barrier
                .free(queued, self.held.kept(), journal.safe_up_to()),
            None => queued,
        }
    }

    /// Whether the component's own queue takes errors: no error is lost because the component is slow.
    fn room(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|attached| attached.feeder.queued() < RETURNS_AT_ONCE)
    }

    /// Whether the component's own queue has room for errors to what it sends next.
    fn has_room_for_errors(&self) -> bool {
        let limits = &self.shared.limits;
        self.attached.as_ref().is_none_or(|attached| {
            attached.feeder.queued() <= size(limits.component_backlog_stanzas_max) / 2
                && attached.feeder.bytes() <= size(limits.component_backlog_bytes_max) / 2
        })
    }

    /// The write buffer has gone out.
    fn written(&mut self) {
        if let Some(attached) = &mut self.attached {
            attached.drain.acknowledge(self.in_flight);
            self.shared
                .counters
                .delivered
                .fetch_add(self.in_flight_counted, Ordering::Relaxed);
        }
        self.in_flight = 0;
        self.in_flight_counted = 0;
    }

    /// The link is over: what waited for the component is answered.
    async fn end(mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.returns.push_back(command);
        }
        self.held.give_up(&self.shared).await;
        if let Some(Attached {
            domain,
            feeder,
            drain,
        }) = self.attached.take()
        {
            self.shared.switchboard.detach(&domain, &feeder);
            {
                let mut attached = self.shared.attached();
                if attached
                    .get(&domain)
                    .is_some_and(|handle| handle.feeder.is_same(&feeder))
                {
                    attached.remove(&domain);
                }
            }
            for stanza in drain.close() {
                //= ROUTE-19
                let why = Undelivered::new(Reason::ComponentAway, &domain, "");
                self.shared.bounce(&stanza, &why).await;
            }
        }
        for command in self.returns {
            match command {
                ComponentCommand::Return { drain, why } => {
                    bounce_all(&self.shared, drain, &why).await;
                }
                ComponentCommand::Close(_) => {}
            }
        }
    }
}

/// Waits until more of the journal is safe.
async fn changed(safe: &mut Option<watch::Receiver<u64>>) {
    if let Some(safe) = safe
        && safe.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Answers everything in a queue with errors, and ends the queue.
pub(crate) async fn bounce_all(shared: &Shared, drain: Drain, why: &Undelivered) {
    let stanzas: Vec<Stanza> = drain.close();
    for stanza in stanzas {
        shared.bounce(&stanza, why).await;
    }
}

/// A read takes at most this much.
const READ_BYTES: usize = 16 * 1024;
/// One write takes what is ready up to this much.
const WRITE_BYTES: usize = 64 * 1024;
/// Errors that may wait for a component before the next are made.
const RETURNS_AT_ONCE: usize = 1024;
/// How long a component that has much to read is not read from.
const CROWD_PATIENCE: tokio::time::Duration = tokio::time::Duration::from_secs(2);
/// How long a component has for its last bytes when the server stops.
const SHUTDOWN_PATIENCE: tokio::time::Duration = tokio::time::Duration::from_millis(500);
