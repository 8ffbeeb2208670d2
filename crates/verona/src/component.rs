//! The task of one component's connection (XEP-0114): moves bytes between the socket and the link machine.

mod leaving;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use verona_proto::addr::LocalDomain;
use verona_proto::component::{ComponentInput, ComponentLink, ComponentOutput, Settings};
use verona_proto::limits::{Limit, seconds, size};
use verona_proto::outbox::{Drain, Feeder};
use verona_proto::stanza::{Stanza, StanzaClass, StreamCondition, Undelivered};

use crate::alarm::Alarm;
use crate::config::Conflict;
use crate::held::Held;
use crate::journal::{self, Barrier, Departures, Journal};
use crate::observe::log;
use crate::read::read;
use crate::shared::{Shared, now};
use crate::throttle::Throttle;
use crate::waiting;
use leaving::Leaving;

/// What others want of a component's connection.
#[derive(Debug)]
pub(crate) enum ComponentCommand {
    /// The queue of a pair of this component's cannot be served: its stanzas are answered with errors.
    Return { drain: Drain, why: Undelivered },
    /// Another connection serves the domain from now on: hand the queue over, and end the link.
    Replace(oneshot::Sender<Drain>),
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

/// Serves one connection of a component until it ends. `departures` knows what of it the system has sent.
pub(crate) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    mut io: IO,
    departures: Departures,
    peer: String,
) {
    // Bounded by the pairs of one component: each queue is returned at most once at a time.
    let (sender, commands) = mpsc::unbounded_channel();
    let reloads = shared.reloads.subscribe();
    let Settings {
        domains,
        hosts,
        limits,
    } = shared.current().for_components();
    let link = ComponentLink::new(domains, hosts, limits, shared.random.id(), now())
        .counting(shared.memory.reached.clone());
    let held = Held::new(&shared);
    let mut task = ComponentTask {
        shared,
        peer,
        link,
        sender,
        commands,
        attached: None,
        returns: VecDeque::new(),
        bell: Arc::default(),
        held,
        barrier: Barrier::default(),
        in_flight: VecDeque::new(),
        departures,
        bytes_written: 0,
        reloads,
        leaving: None,
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
    /// Stanzas of the component's own queue that are pulled and not yet written, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Kept messages that the system may still have.
    departures: Departures,
    /// What the system took of all that was ever to be written.
    bytes_written: u64,
    /// Turns when the configuration has changed.
    reloads: watch::Receiver<u64>,
    /// The configuration has no place for it any more.
    leaving: Option<Leaving>,
}

/// When a connection that ends does so, whatever is not said.
#[derive(Clone, Copy)]
struct Leave {
    at: tokio::time::Instant,
    /// The limit that says so; `None` where there is less time than that.
    bound: Option<Limit>,
}

impl Leave {
    fn soon() -> Self {
        Self {
            at: tokio::time::Instant::now() + SHUTDOWN_PATIENCE,
            bound: None,
        }
    }
}

/// A stanza that is being written: from where to where in all that is written.
#[derive(Debug)]
struct InFlight {
    begin: u64,
    end: u64,
    /// Whether it counts as delivered when it is: errors are counted where they are made.
    counts: bool,
}

/// The domain is the component's.
struct Attached {
    domain: LocalDomain,
    feeder: Feeder,
    drain: Drain,
}

/// The queue of a domain for whoever claims it.
struct Claimed {
    feeder: Feeder,
    drain: Drain,
    /// Another connection had it before, and what is in it may answer what that one sent.
    is_inherited: bool,
}

impl Claimed {
    fn inherited(drain: Drain) -> Self {
        Self {
            feeder: drain.feeder(),
            drain,
            is_inherited: true,
        }
    }
}

impl ComponentTask {
    async fn drive<IO: AsyncRead + AsyncWrite + Unpin>(&mut self, io: &mut IO) {
        let (mut reader, mut writer) = tokio::io::split(io);
        let mut incoming = BytesMut::new();
        let mut outgoing = BytesMut::new();
        let mut closing = false;
        let stall = seconds(self.shared.limits().write_stall_seconds);
        let mut progress = tokio::time::Instant::now();
        let mut stop = self.shared.stop.subscribe();
        let mut safe = self.shared.journal.as_ref().map(Journal::safe);
        // The end has a deadline of its own, which nothing that the component does or does not do puts off.
        let mut leave: Option<Leave> = None;
        let mut crowded_since = None;
        let mut throttle = Throttle::new(self.shared.limits().bytes_per_second_max);
        let mut alarm = Alarm::new(tokio::time::Instant::now());
        loop {
            // One look at the clock does until it waits, which takes microseconds.
            let turn = tokio::time::Instant::now();
            if closing {
                leave.get_or_insert_with(|| Leave {
                    at: turn + seconds(self.shared.limits().close_seconds),
                    bound: Some(Limit::CloseSeconds),
                });
            }
            if let Some(Leave { bound, .. }) = leave.filter(|leave| leave.at <= turn) {
                if let Some(limit) = bound {
                    self.shared.reached(limit);
                }
                return;
            }
            //= SM-11
            self.departures.look(self.bytes_written);
            if outgoing.is_empty() {
                self.fill();
                let transmit = self.link.transmit();
                outgoing = transmit.split();
                if outgoing.is_empty() {
                    *transmit = BytesMut::new();
                }
                progress = turn;
            }
            if closing && outgoing.is_empty() && self.held.is_empty() {
                let _ = writer.shutdown().await;
                return;
            }
            let deadline = self.link.deadline().map(tokio::time::Instant::from_std);
            let bell = Arc::clone(&self.bell);
            // At shutdown nothing more is taken from components while what was taken is delivered.
            let room = self.link.transmit().len() < WRITE_BYTES;
            // Nor, for a moment, while much waits for it: errors to what it sends must find room. Only for a moment, for
            // a component that reads and writes in turn would wait for us as we wait for it.
            let read_on = match self.has_room_for_errors() {
                true => {
                    crowded_since = None;
                    turn
                }
                false => *crowded_since.get_or_insert(turn) + CROWD_PATIENCE,
            };
            let crowded = read_on > turn;
            let reading = !closing && room && !crowded && !*stop.borrow() && self.held.is_empty();
            let writing = !outgoing.is_empty() && !self.departures.are_many();
            let departure = self.departures.next();
            //= LIM-11
            let throttled = throttle.until(turn).filter(|_| reading);
            //= LIM-12
            let stalled_at = (!outgoing.is_empty()).then(|| progress + stall);
            let retry_at = self.held.next(reading);
            let times = [
                departure,
                throttled,
                crowded.then_some(read_on),
                stalled_at,
                retry_at,
                deadline.filter(|_| !closing),
                leave.map(|leave| leave.at),
            ];
            let next = times.into_iter().flatten().min();
            alarm.set(next.unwrap_or(turn + NOTHING_DUE));
            tokio::select! {
                read = read(&mut reader, &mut incoming, throttle.room(turn)), if reading && throttled.is_none() => {
                    match read {
                        Ok(0) | Err(_) => self.link.handle(ComponentInput::Eof, now()),
                        Ok(count) => {
                            let now = tokio::time::Instant::now();
                            if throttle.spend(count, now) {
                                self.shared.reached(Limit::BytesPerSecondMax);
                            }
                            self.link.handle(ComponentInput::Bytes(&incoming), now.into_std());
                            incoming = BytesMut::new();
                        }
                    }
                    closing |= self.outputs().await;
                }
                written = writer.write(&outgoing), if writing => {
                    match written {
                        Ok(count) if count > 0 => {
                            outgoing.advance(count.min(outgoing.len()));
                            self.written(count);
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
                                leave = Some(Leave::soon());
                            }
                            self.link.handle(ComponentInput::Close(condition), now());
                            closing |= self.outputs().await;
                        }
                        Some(ComponentCommand::Replace(successor)) => {
                            self.hand_over(successor);
                            outgoing.clear();
                            // Half a stanza cannot be followed by an error.
                            if !self.is_between_stanzas() {
                                self.link.handle(ComponentInput::Eof, now());
                                self.outputs().await;
                                return;
                            }
                            self.link.handle(ComponentInput::Close(StreamCondition::Conflict), now());
                            closing |= self.outputs().await;
                        }
                        Some(command @ ComponentCommand::Return { .. }) => self.returns.push_back(command),
                        None => return,
                    }
                }
                Ok(()) = self.reloads.changed() => self.reload(),
                () = leaving::moment(self.leaving.as_ref()) => {
                    if let Some(condition) = self.may_leave() {
                        // Everything is said; its place may be another's in a moment.
                        leave = Some(Leave::soon());
                        self.link.handle(ComponentInput::Close(condition), now());
                        closing |= self.outputs().await;
                    }
                }
                () = bell.notified() => {}
                //= SM-11
                () = journal::changed(&mut safe), if self.barrier.is_down() => {}
                _ = stop.changed(), if reading => {}
                () = alarm.rings() => {
                    let now = tokio::time::Instant::now();
                    if stalled_at.is_some_and(|at| at <= now) {
                        self.shared.reached(Limit::WriteStallSeconds);
                        tracing::warn!(peer = self.peer, "a component took nothing for {} s; its connection ends", stall.as_secs());
                        self.link.handle(ComponentInput::Eof, now.into_std());
                        self.outputs().await;
                        return;
                    }
                    if retry_at.is_some_and(|at| at <= now) {
                        self.held.retry(&self.shared);
                    }
                    if !closing && deadline.is_some_and(|at| at <= now) {
                        self.link.handle(ComponentInput::Tick, now.into_std());
                        closing |= self.outputs().await;
                    }
                }
            }
            // A component has one connection at a time: what another one left unread is not read any more.
            if self.held.is_empty() {
                self.held.nothing_follows();
            }
        }
    }

    /// Carries out what the link wants; `true` when the connection is to end.
    async fn outputs(&mut self) -> bool {
        let mut closing = false;
        while let Some(output) = self.link.poll() {
            match output {
                ComponentOutput::Claim(domain) => self.claim(domain).await,
                ComponentOutput::Deliver(admitted) => {
                    self.held.deliver(&self.shared, admitted, Vec::new);
                }
                ComponentOutput::Event(event) => log::component(&self.peer, &event),
                ComponentOutput::Close => closing = true,
            }
        }
        closing
    }

    async fn claim(&mut self, domain: LocalDomain) {
        // Its handshake may have begun before the configuration changed.
        if let Some(condition) = leaving::reason(&self.shared.current(), &domain) {
            return self.link.handle(ComponentInput::Close(condition), now());
        }
        let Some(Claimed {
            feeder,
            mut drain,
            is_inherited,
        }) = self.queue_of(&domain).await
        else {
            return self.link.handle(ComponentInput::Conflict, now());
        };
        //= SM-11
        if let Some(journal) = self.shared.journal.as_ref().filter(|_| is_inherited) {
            self.barrier.inherit(journal.newest());
        }
        let bell = Arc::clone(&self.bell);
        drain.ring_with(Arc::new(move || bell.notify_one()));
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
        // It may have changed since it was looked at above.
        self.look_at_place();
    }

    /// The domain's queue: what waited for whoever serves it, or a new one; `None` when another serves it and stays.
    async fn queue_of(&self, domain: &LocalDomain) -> Option<Claimed> {
        // A second time, for one that is just leaving.
        for _ in 0..2 {
            //= COMP-13
            if let Some((_, drain)) = self.shared.waiting.take(domain) {
                return Some(Claimed::inherited(drain));
            }
            let current = self.shared.current();
            let (feeder, drain) = self.shared.switchboard.outbox(current.component_limit());
            //= COMP-12
            let attached = self
                .shared
                .switchboard
                .attach(domain.clone(), feeder.clone());
            match (attached, current.conflict(domain.domain())) {
                (Ok(()), _) => {
                    return Some(Claimed {
                        feeder,
                        drain,
                        is_inherited: false,
                    });
                }
                (Err(_), Conflict::RejectNew) => return None,
                (Err(_), Conflict::KickOld) => {
                    if let Some(drain) = self.take_over(domain).await {
                        return Some(Claimed::inherited(drain));
                    }
                }
            }
        }
        None
    }

    /// What the connection has that serves the domain until now.
    async fn take_over(&self, domain: &LocalDomain) -> Option<Drain> {
        let ComponentHandle {
            commands: old,
            feeder,
        } = self.shared.attached().get(domain)?.clone();
        let (successor, queue) = oneshot::channel();
        old.send(ComponentCommand::Replace(successor)).ok()?;
        received(queue, &feeder).await
    }

    /// Gives the queue to another connection, with all that was not written here as a whole: of half a stanza the
    /// component can have made nothing.
    fn hand_over(&mut self, successor: oneshot::Sender<Drain>) {
        let Some(Attached {
            domain,
            feeder,
            mut drain,
        }) = self.attached.take()
        else {
            return;
        };
        drain.silence();
        drain.requeue();
        if let Err(drain) = successor.send(drain) {
            self.attached = Some(Attached {
                domain,
                feeder,
                drain,
            });
        }
    }

    /// Whether what was written ends with a whole stanza.
    fn is_between_stanzas(&self) -> bool {
        self.in_flight
            .front()
            .is_none_or(|stanza| stanza.begin >= self.bytes_written)
    }

    /// Fills the write buffer: the component's own queue first, then the errors for what could not be sent.
    fn fill(&mut self) {
        let mut batch = VecDeque::new();
        loop {
            let free = self.free();
            let room = WRITE_BYTES.saturating_sub(self.link.transmit().len());
            if let Some(attached) = &mut self.attached
                && room > 0
            {
                attached.drain.pull_up_to(room, free, &mut batch);
            }
            self.barrier.pulled(batch.len());
            if batch.is_empty() {
                break;
            }
            while let Some(stanza) = batch.pop_front() {
                let begin = self.position();
                if !self.link.send(&stanza) {
                    if let Some(attached) = &mut self.attached {
                        attached.drain.put_back(batch.len() + 1);
                    }
                    return;
                }
                let end = self.position();
                self.departures.keep(end, &stanza);
                self.in_flight.push_back(InFlight {
                    begin,
                    end,
                    counts: stanza.class() != StanzaClass::Error,
                });
            }
        }
        while self.link.transmit().len() < WRITE_BYTES && self.room() {
            let Some(ComponentCommand::Return { drain, why }) = self.returns.front_mut() else {
                return;
            };
            match drain.pull() {
                Some(stanza) => {
                    drain.acknowledge(1);
                    let why = why.clone();
                    self.shared.bounce(&stanza, &why);
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
        //= SM-11
        self.barrier
            .free(queued, self.held.kept(), self.shared.safe_up_to())
    }

    /// Whether the component's own queue takes errors: no error is lost because the component is slow.
    fn room(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|attached| attached.feeder.queued() < RETURNS_AT_ONCE)
    }

    /// Whether the component's own queue has room for errors to what it sends next.
    fn has_room_for_errors(&self) -> bool {
        let limits = &self.shared.limits();
        self.attached.as_ref().is_none_or(|attached| {
            attached.feeder.queued() <= size(limits.component_backlog_stanzas_max) / 2
                && attached.feeder.bytes() <= size(limits.component_backlog_bytes_max) / 2
        })
    }

    /// Where what is written next begins, in all that is written. Only asked when the last buffer has gone out.
    fn position(&mut self) -> u64 {
        self.bytes_written + u64::try_from(self.link.transmit().len()).unwrap_or(0)
    }

    /// The system took more of what is written. A component does not say what it read, so what was taken as a whole
    /// counts as delivered.
    fn written(&mut self, count: usize) {
        self.bytes_written += u64::try_from(count).unwrap_or(0);
        let (mut gone, mut delivered) = (0, 0);
        while let Some(first) = self.in_flight.front()
            && first.end <= self.bytes_written
        {
            gone += 1;
            delivered += u64::from(first.counts);
            self.in_flight.pop_front();
        }
        if let Some(attached) = &mut self.attached {
            attached.drain.acknowledge(gone);
        }
        let counter = &self.shared.counters.delivered;
        counter.fetch_add(delivered, Ordering::Relaxed);
    }

    /// The link is over: what waits for the component waits for its return, what waited to be returned is returned.
    async fn end(mut self) {
        // After an end in good order the system sends on what it has; after another one nobody can say.
        self.departures = Departures::default();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                ComponentCommand::Replace(successor) => self.hand_over(successor),
                command @ (ComponentCommand::Return { .. } | ComponentCommand::Close(_)) => {
                    self.returns.push_back(command);
                }
            }
        }
        self.held.give_up(&self.shared);
        if let Some(Attached {
            domain,
            feeder,
            mut drain,
        }) = self.attached.take()
        {
            // Before the queue is to be had: whoever takes it is the one to be known.
            {
                let mut attached = self.shared.attached();
                if attached
                    .get(&domain)
                    .is_some_and(|handle| handle.feeder.is_same(&feeder))
                {
                    attached.remove(&domain);
                }
            }
            drain.silence();
            drain.requeue();
            waiting::leave(&self.shared, domain, drain).await;
        }
        for command in self.returns {
            match command {
                ComponentCommand::Return { drain, why } => {
                    bounce_all(&self.shared, drain, &why);
                }
                ComponentCommand::Replace(_) | ComponentCommand::Close(_) => {}
            }
        }
    }
}

/// The queue that another connection hands over. Should it not answer, it keeps its queue; should it answer just when
/// it is not waited for any more, or end without an answer, nobody has the queue, and it is taken up again.
async fn received(queue: oneshot::Receiver<Drain>, feeder: &Feeder) -> Option<Drain> {
    if let Ok(Ok(drain)) = tokio::time::timeout(TAKE_OVER_PATIENCE, queue).await {
        return Some(drain);
    }
    let mut drain = feeder.reclaim()?;
    drain.silence();
    drain.requeue();
    Some(drain)
}

/// Answers everything in a queue with errors, and ends the queue.
pub(crate) fn bounce_all(shared: &Shared, drain: Drain, why: &Undelivered) {
    let stanzas: Vec<Stanza> = drain.close();
    for stanza in stanzas {
        shared.bounce(&stanza, why);
    }
}

/// One write takes what is ready up to this much.
const WRITE_BYTES: usize = 64 * 1024;
/// Errors that may wait for a component before the next are made.
const RETURNS_AT_ONCE: usize = 1024;
/// How far away the next look is when nothing is due.
const NOTHING_DUE: tokio::time::Duration = tokio::time::Duration::from_secs(3600);
/// How long a component that has much to read is not read from.
const CROWD_PATIENCE: tokio::time::Duration = tokio::time::Duration::from_secs(2);
/// How long a connection that is being replaced has to hand over its queue.
const TAKE_OVER_PATIENCE: tokio::time::Duration = tokio::time::Duration::from_secs(2);
/// How long a component has for its last bytes when the server stops.
const SHUTDOWN_PATIENCE: tokio::time::Duration = tokio::time::Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_lost_on_its_way_is_taken_up_again() {
        //= COMP-12
        let limit = verona_proto::outbox::OutboxLimit {
            stanzas: 8,
            bytes: 4096,
        };
        let (feeder, drain) = verona_proto::outbox::new(limit);
        let (successor, queue) = oneshot::channel();
        drop((drain, successor));
        let drain = received(queue, &feeder).await.unwrap();
        // One that is only slow keeps it.
        let (_successor, queue) = oneshot::channel();
        assert!(received(queue, &feeder).await.is_none());
        drop(drain);
    }
}
