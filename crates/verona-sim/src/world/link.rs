//! A component's connection at its server: verona/src/component.rs, one turn of its loop at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use verona_proto::addr::LocalDomain;
use verona_proto::carriage::Custody;
use verona_proto::component::{ComponentInput, ComponentLink, ComponentOutput};
use verona_proto::limits::size;
use verona_proto::outbox::{Drain, Feeder, OutboxLimit};
use verona_proto::stanza::{Admitted, StreamCondition, Undelivered};

use super::clock::{Actor, Moment};
use super::connection::{WRITE_BYTES, micros};
use super::held::Held;
use super::network::{End, Read, Sent};
use super::outside::Outside;
use super::shared::{Job, Shared};

/// What others want of a component's connection.
#[derive(Debug)]
pub(crate) enum LinkCommand {
    /// The queue of a pair cannot be served: its stanzas are answered with errors.
    Return {
        drain: Drain,
        why: Undelivered,
    },
    Close(StreamCondition),
}

/// A component's connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) key: u64,
    pub(crate) end: End,
    link: ComponentLink,
    pub(crate) commands: VecDeque<LinkCommand>,
    attached: Option<Attached>,
    returns: VecDeque<LinkCommand>,
    pub(crate) held: Held,
    /// Where each stanza ends that is pulled and not yet written.
    in_flight: VecDeque<u64>,
    outgoing: BytesMut,
    written: u64,
    closing: bool,
    leave_at: Option<Moment>,
    progress: Moment,
    crowded_since: Option<Moment>,
    is_broken: bool,
}

/// The domain is the component's.
#[derive(Debug)]
struct Attached {
    domain: LocalDomain,
    feeder: Feeder,
    drain: Drain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    Read,
    Write,
    Command,
    Stalled,
    Retry,
    Tick,
}

impl Link {
    pub(crate) fn new(key: u64, end: End, shared: &Shared, outside: &mut Outside) -> Self {
        let link = ComponentLink::new(
            shared.components.clone(),
            Arc::clone(&shared.hosts),
            shared.limits.clone(),
            format!("c{key}x{:x}", shared.secret),
            outside.instant(),
        );
        outside.own(end, Actor::Link(shared.index, key));
        Self {
            key,
            end,
            link,
            commands: VecDeque::new(),
            attached: None,
            returns: VecDeque::new(),
            held: Held::new(shared),
            in_flight: VecDeque::new(),
            outgoing: BytesMut::new(),
            written: 0,
            closing: false,
            leave_at: None,
            progress: outside.now,
            crowded_since: None,
            is_broken: false,
        }
    }

    /// Does some of what there is to do, and says whether the link lives on.
    pub(crate) fn turn(&mut self, shared: &mut Shared, outside: &mut Outside) -> bool {
        let turns = outside.chance.between(1, 4);
        for _ in 0..turns {
            if !self.prepare(shared, outside) {
                return false;
            }
            let branches = self.branches(shared, outside);
            if branches.is_empty() {
                self.sleep(shared, outside);
                return true;
            }
            let branch = outside.chance.pick(&branches);
            self.step(branch, shared, outside);
        }
        outside.soon(Actor::Link(shared.index, self.key));
        true
    }

    fn prepare(&mut self, shared: &mut Shared, outside: &mut Outside) -> bool {
        if self.is_broken {
            return false;
        }
        if self.closing {
            let leave = outside.now + micros(shared.limits.close_seconds);
            self.leave_at.get_or_insert(leave);
        }
        if self.leave_at.is_some_and(|at| at <= outside.now) {
            return false;
        }
        if self.held.is_empty() {
            self.held.nothing_follows();
        }
        if self.outgoing.is_empty() {
            self.fill(shared, outside);
            self.outgoing = self.link.transmit().split();
            self.progress = outside.now;
        }
        !(self.closing && self.outgoing.is_empty() && self.held.is_empty())
    }

    fn branches(&mut self, shared: &Shared, outside: &Outside) -> Vec<Branch> {
        let mut branches = Vec::new();
        let now = outside.now;
        if self.reads(shared, now) && outside.network.is_readable(self.end) {
            branches.push(Branch::Read);
        }
        if !self.outgoing.is_empty() {
            if outside.network.is_writable(self.end) {
                branches.push(Branch::Write);
            } else if self.progress + micros(shared.limits.write_stall_seconds) <= now {
                branches.push(Branch::Stalled);
            }
        }
        if !self.commands.is_empty() && !self.closing {
            branches.push(Branch::Command);
        }
        if self.held.next().is_some_and(|at| at <= now) {
            branches.push(Branch::Retry);
        }
        let late = self.link.deadline().map(|at| outside.moment(at));
        if !self.closing && late.is_some_and(|at| at <= now) {
            branches.push(Branch::Tick);
        }
        branches
    }

    fn reads(&mut self, shared: &Shared, now: Moment) -> bool {
        let room = self.link.transmit().len() < WRITE_BYTES;
        let crowded = match self.has_room_for_errors(shared) {
            true => {
                self.crowded_since = None;
                false
            }
            false => *self.crowded_since.get_or_insert(now) + CROWD_PATIENCE > now,
        };
        !self.closing && room && !crowded && !shared.stopping && self.held.is_empty()
    }

    fn step(&mut self, branch: Branch, shared: &mut Shared, outside: &mut Outside) {
        match branch {
            Branch::Read => {
                match outside.read(self.end, READ_BYTES) {
                    Read::Bytes(bytes) => {
                        self.link
                            .handle(ComponentInput::Bytes(&bytes), outside.instant());
                    }
                    Read::Eof | Read::Broken => {
                        self.link.handle(ComponentInput::Eof, outside.instant());
                    }
                    Read::Nothing => return,
                }
                self.outputs(shared, outside);
            }
            Branch::Write => match outside.write(self.end, &self.outgoing) {
                Ok(count) => {
                    self.outgoing.advance(count);
                    self.written += u64::try_from(count).unwrap_or(0);
                    self.left(outside);
                    if count > 0 {
                        self.progress = outside.now;
                    }
                }
                Err(_) => self.broken(shared, outside),
            },
            Branch::Stalled => self.broken(shared, outside),
            Branch::Command => match self.commands.pop_front() {
                Some(LinkCommand::Close(condition)) => {
                    if condition == StreamCondition::SystemShutdown {
                        self.leave_at = Some(outside.now + SHUTDOWN_PATIENCE);
                    }
                    self.link
                        .handle(ComponentInput::Close(condition), outside.instant());
                    self.outputs(shared, outside);
                }
                Some(command @ LinkCommand::Return { .. }) => self.returns.push_back(command),
                None => {}
            },
            Branch::Retry => self.held.retry(shared, outside),
            Branch::Tick => {
                self.link.handle(ComponentInput::Tick, outside.instant());
                self.outputs(shared, outside);
            }
        }
    }

    fn broken(&mut self, shared: &mut Shared, outside: &mut Outside) {
        self.link.handle(ComponentInput::Eof, outside.instant());
        self.outputs(shared, outside);
        self.is_broken = true;
    }

    fn outputs(&mut self, shared: &mut Shared, outside: &mut Outside) {
        while let Some(output) = self.link.poll() {
            match output {
                ComponentOutput::Claim(domain) => self.claim(domain, shared, outside),
                ComponentOutput::Deliver(admitted) => self.deliver(admitted, shared, outside),
                ComponentOutput::Event(event) => {
                    let (name, key) = (&shared.name, self.key);
                    outside.tell(|| format!("{name} component link {key}: {event:?}"));
                }
                ComponentOutput::Close => self.closing = true,
            }
        }
    }

    fn deliver(&mut self, admitted: Admitted, shared: &mut Shared, outside: &mut Outside) {
        if let Some(key) = outside.ledger.key(admitted.stanza()) {
            let (name, what) = (&shared.name, outside.ledger.name(key));
            outside.tell(|| format!("{name} takes {what}"));
            outside.ledger.taken(key);
        }
        self.held.deliver(shared, admitted, Vec::new, outside);
    }

    fn claim(&mut self, domain: LocalDomain, shared: &mut Shared, outside: &mut Outside) {
        let Some((feeder, mut drain)) = queue_of(&domain, shared) else {
            return self
                .link
                .handle(ComponentInput::Conflict, outside.instant());
        };
        drain.ring_with(outside.bell(Actor::Link(shared.index, self.key)));
        shared
            .attached
            .insert(domain.clone(), (self.key, feeder.clone()));
        self.attached = Some(Attached {
            domain,
            feeder,
            drain,
        });
        self.link
            .handle(ComponentInput::Accepted, outside.instant());
    }

    /// Fills the write buffer: the component's own queue first, then the errors for what could not be sent.
    fn fill(&mut self, shared: &mut Shared, outside: &mut Outside) {
        while self.link.transmit().len() < WRITE_BYTES {
            let stanza = self.attached.as_mut().and_then(|it| it.drain.pull());
            let Some(stanza) = stanza else {
                break;
            };
            let begin = self.position();
            if !self.link.send(&stanza) {
                if let Some(attached) = &mut self.attached {
                    attached.drain.put_back(1);
                }
                return;
            }
            let end = self.position();
            self.in_flight.push_back(end);
            if let Some(key) = outside.ledger.key(&stanza) {
                let sent = Sent {
                    key,
                    begin,
                    end,
                    arrived: false,
                    left: false,
                    custody: Custody::Written,
                };
                outside.network.note_sent(self.end, sent);
            }
        }
        while self.link.transmit().len() < WRITE_BYTES && self.room() {
            let Some(LinkCommand::Return { drain, why }) = self.returns.front_mut() else {
                return;
            };
            match drain.pull() {
                Some(stanza) => {
                    drain.acknowledge(1);
                    let why = why.clone();
                    shared.bounce(&stanza, &why, outside);
                }
                None => {
                    if let Some(LinkCommand::Return { drain, why }) = self.returns.pop_front()
                        && let Err(drain) = drain.close_if_empty()
                    {
                        self.returns.push_front(LinkCommand::Return { drain, why });
                    }
                }
            }
        }
    }

    fn position(&mut self) -> u64 {
        self.written + u64::try_from(self.link.transmit().len()).unwrap_or(0)
    }

    fn room(&self) -> bool {
        self.attached
            .as_ref()
            .is_some_and(|attached| attached.feeder.queued() < RETURNS_AT_ONCE)
    }

    fn has_room_for_errors(&self, shared: &Shared) -> bool {
        self.attached.as_ref().is_none_or(|attached| {
            attached.feeder.queued() <= size(shared.limits.component_backlog_stanzas_max) / 2
                && attached.feeder.bytes() <= size(shared.limits.component_backlog_bytes_max) / 2
        })
    }

    /// What was written as a whole is out of our hands: a component does not say what it read.
    fn left(&mut self, outside: &mut Outside) {
        while self
            .in_flight
            .front()
            .is_some_and(|end| *end <= self.written)
        {
            self.in_flight.pop_front();
            if let Some(attached) = &mut self.attached {
                attached.drain.acknowledge(1);
            }
        }
        outside.network.note_left(self.end, self.written);
    }

    fn sleep(&self, shared: &Shared, outside: &mut Outside) {
        let mut at = Vec::from_iter(self.leave_at);
        at.extend(self.held.next());
        if !self.outgoing.is_empty() {
            at.push(self.progress + micros(shared.limits.write_stall_seconds));
        }
        if !self.closing {
            at.extend(self.link.deadline().map(|at| outside.moment(at)));
        }
        at.extend(self.crowded_since.map(|since| since + CROWD_PATIENCE));
        let at = at.into_iter().filter(|at| *at > outside.now).min();
        if let Some(at) = at {
            outside.clock.wake(Actor::Link(shared.index, self.key), at);
        }
    }

    /// The link is over: what waited for the component is answered.
    pub(crate) fn end(mut self, shared: &mut Shared, outside: &mut Outside) {
        self.returns.append(&mut self.commands);
        self.held.give_up(shared, outside);
        outside.close(self.end);
        if let Some(Attached {
            domain, mut drain, ..
        }) = self.attached.take()
        {
            if shared
                .attached
                .get(&domain)
                .is_some_and(|(key, _)| *key == self.key)
            {
                shared.attached.remove(&domain);
            }
            drain.silence();
            drain.requeue();
            shared.leave(domain, drain, outside);
        }
        for command in self.returns {
            if let LinkCommand::Return { drain, why } = command {
                Job::BounceAll { drain, why }.run(shared, outside);
            }
        }
    }
}

/// The domain's queue: what waited for whoever serves it, or a new one; none when another serves it.
fn queue_of(domain: &LocalDomain, shared: &mut Shared) -> Option<(Feeder, Drain)> {
    //= COMP-13
    if let Some((_, drain)) = shared.waiting.remove(domain) {
        return Some((drain.feeder(), drain));
    }
    let (feeder, drain) = shared.switchboard.outbox(OutboxLimit {
        stanzas: size(shared.limits.component_backlog_stanzas_max),
        bytes: size(shared.limits.component_backlog_bytes_max),
    });
    //= COMP-12
    let attached = shared.switchboard.attach(domain.clone(), feeder.clone());
    attached.is_ok().then_some((feeder, drain))
}

const READ_BYTES: usize = 16 * 1024;
/// Errors that may wait for a component before the next are made.
const RETURNS_AT_ONCE: usize = 1024;
/// How long a component that has much to read is not read from.
const CROWD_PATIENCE: Moment = 2_000_000;
/// How long a component has for its last bytes when the server stops.
const SHUTDOWN_PATIENCE: Moment = 500_000;
