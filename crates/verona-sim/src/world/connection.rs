//! One connection with another server: verona/src/connection.rs, one turn of its loop at a time.
//!
//! TLS is three flights without content: what it proves is known from who is at the other end.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use verona_proto::addr::{Direction, Domain, DomainPair};
use verona_proto::carriage::{Carriage, Counted, Keep, TooLarge};
use verona_proto::certificate::PeerCertificate;
use verona_proto::dialback::Verdict;
use verona_proto::discovery::Target;
use verona_proto::federation::{LostStream, Remains, Signal, StreamKey};
use verona_proto::grounds::Assurance;
use verona_proto::limits::seconds;
use verona_proto::outbox::Drain;
use verona_proto::stanza::{Admitted, StanzaClass, StreamCondition};
use verona_proto::stream::{
    Command, Event, Fault, Input, NotSent, Output, Purpose, ResumePoint, Role, Secured, Stream,
    StreamError, Ticket,
};

use super::clock::{Actor, Moment};
use super::held::Held;
use super::invariants;
use super::network::{End, Read, Sent};
use super::outside::Outside;
use super::shared::Shared;

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
    Carry {
        pair: DomainPair,
        drain: Drain,
    },
    Resume(Option<Ticket>),
    Abandon,
    Converge,
    Close(StreamError),
}

/// A connection with another server.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) key: StreamKey,
    pub(crate) end: End,
    pub(crate) stream: Stream,
    pub(crate) commands: VecDeque<ConnectionCommand>,
    pub(crate) carriage: Carriage,
    pub(crate) held: Held,
    /// What the peer may send, by the stream's own word, and for good reasons.
    pub(crate) receivable: BTreeSet<DomainPair>,
    /// Both ends count: what is not handled here the peer still has.
    pub(crate) is_managed: bool,
    dialled: Option<Dialled>,
    /// What the other end shows in TLS.
    pub(crate) certificate: PeerCertificate,
    outgoing: BytesMut,
    /// How much of what the stream wrote was taken by the wire.
    written: u64,
    /// Where what was offered ends, once a write has failed.
    offered: Option<u64>,
    transport: Transport,
    exit: Option<Exit>,
    leave_at: Option<Moment>,
    progress: Moment,
    pub(crate) begun: Instant,
    is_over: bool,
}

/// Where a connection of ours leads, and what for.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) target: Target,
    pub(crate) purpose: Purpose,
}

/// Why the loop over a transport ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    StartTls(Role),
    End,
    /// When the peer has ended it.
    EndLast,
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Xml,
    /// A handshake of which so much was read, until it takes too long.
    Handshake {
        role: Role,
        heard: usize,
        until: Moment,
        direct: bool,
    },
}

/// What there is to do; the engine takes one of them at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    Read,
    Write,
    Command,
    Stalled,
    Retry,
    Tick,
}

impl Connection {
    pub(crate) fn new(
        key: StreamKey,
        end: End,
        dialled: Option<Dialled>,
        certificate: PeerCertificate,
        direct_tls: bool,
        shared: &Shared,
        outside: &mut Outside,
    ) -> Self {
        let actor = Actor::Connection(shared.index, key.0);
        let begun = outside.instant();
        let stream = stream(shared, key, dialled.as_ref(), None, begun);
        let role = match dialled {
            Some(_) => Role::Initiating,
            None => Role::Receiving,
        };
        let transport = match direct_tls {
            true => Transport::Handshake {
                role,
                heard: 0,
                until: outside.now + micros(shared.limits.tls_handshake_seconds),
                direct: true,
            },
            false => Transport::Xml,
        };
        let mut connection = Self {
            key,
            end,
            stream,
            commands: VecDeque::new(),
            carriage: Carriage::new(outside.bell(actor)),
            held: Held::new(shared),
            receivable: BTreeSet::new(),
            is_managed: false,
            dialled,
            certificate,
            outgoing: BytesMut::new(),
            written: 0,
            offered: None,
            transport,
            exit: None,
            leave_at: None,
            progress: outside.now,
            begun,
            is_over: false,
        };
        if direct_tls && role == Role::Initiating {
            // What a stream in the clear would have said is not said.
            connection.stream.transmit().clear();
            connection.outgoing.extend_from_slice(&FLIGHTS[0]);
        }
        outside.own(end, actor);
        connection
    }

    /// Does some of what there is to do, and says whether the connection lives on.
    pub(crate) fn turn(&mut self, shared: &mut Shared, outside: &mut Outside) -> bool {
        let turns = outside.chance.between(1, 4);
        for _ in 0..turns {
            if !self.prepare(shared, outside) {
                self.is_over = true;
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
        outside.soon(Actor::Connection(shared.index, self.key.0));
        true
    }

    /// What stands at the head of the loop. Says whether it goes on.
    fn prepare(&mut self, shared: &mut Shared, outside: &mut Outside) -> bool {
        if self.is_over {
            return false;
        }
        match self.exit {
            Some(_) => {
                let leave = outside.now + micros(shared.limits.close_seconds);
                if *self.leave_at.get_or_insert(leave) <= outside.now {
                    outside.network.trouble(self.end);
                    return false;
                }
            }
            None => self.leave_at = None,
        }
        let unhandled = self.held.unhandled(self.stream.counted());
        self.stream.unhandled(unhandled);
        if self.outgoing.is_empty() && self.transport == Transport::Xml {
            self.fill(0, shared, outside);
            self.outputs(shared, outside);
            self.outgoing = self.stream.transmit().split();
            match self.outgoing.is_empty() {
                true => self.acknowledge(shared, outside),
                false => self.progress = outside.now,
            }
        }
        if !self.outgoing.is_empty() || !self.held.is_empty() {
            return true;
        }
        match self.exit {
            None => true,
            Some(Exit::End) => false,
            Some(Exit::EndLast) => true,
            Some(Exit::StartTls(role)) => {
                self.exit = None;
                self.leave_at = None;
                self.transport = Transport::Handshake {
                    role,
                    heard: 0,
                    until: outside.now + micros(shared.limits.tls_handshake_seconds),
                    direct: false,
                };
                if role == Role::Initiating {
                    self.outgoing.extend_from_slice(&FLIGHTS[0]);
                }
                true
            }
        }
    }

    fn branches(&mut self, shared: &Shared, outside: &Outside) -> Vec<Branch> {
        let mut branches = Vec::new();
        let now = outside.now;
        let is_xml = self.transport == Transport::Xml;
        let reading = self.exit.is_none()
            && self.held.is_empty()
            && is_xml
            && self.stream.transmit().len() < WRITE_BYTES;
        let is_last = matches!(self.exit, Some(Exit::EndLast))
            && self.outgoing.is_empty()
            && self.held.is_empty();
        if (reading || is_last || !is_xml) && outside.network.is_readable(self.end) {
            branches.push(Branch::Read);
        }
        if self.exit.is_some() {
            self.held.nothing_follows();
        } else if !reading && is_xml {
            let stream = &self.stream;
            self.held.fall_behind(shared, || stream.inbound(), outside);
        } else if !outside.network.is_readable(self.end) {
            self.held.nothing_to_read(outside);
        }
        if !self.outgoing.is_empty() {
            if outside.network.is_writable(self.end) {
                branches.push(Branch::Write);
            } else if self.progress + micros(shared.limits.write_stall_seconds) <= now {
                branches.push(Branch::Stalled);
            }
        }
        if !self.commands.is_empty() && self.exit.is_none() && is_xml {
            branches.push(Branch::Command);
        }
        if self.held.next().is_some_and(|at| at <= now) {
            branches.push(Branch::Retry);
        }
        let late = match self.transport {
            Transport::Handshake { until, .. } => until <= now,
            Transport::Xml => {
                self.exit.is_none()
                    && self
                        .stream
                        .deadline()
                        .is_some_and(|at| outside.moment(at) <= now)
            }
        };
        if late {
            branches.push(Branch::Tick);
        }
        branches
    }

    fn step(&mut self, branch: Branch, shared: &mut Shared, outside: &mut Outside) {
        match (branch, self.transport) {
            (Branch::Read, Transport::Xml) => self.on_readable(shared, outside),
            (Branch::Read, Transport::Handshake { .. }) => self.on_flight(shared, outside),
            (Branch::Write, _) => self.on_writable(shared, outside),
            (Branch::Command, _) => {
                if let Some(command) = self.commands.pop_front() {
                    let abandons = matches!(command, ConnectionCommand::Abandon);
                    self.on_command(command, shared, outside);
                    self.outputs(shared, outside);
                    if abandons {
                        // What is not written has nowhere to go, and what still comes is not waited for.
                        outside.network.trouble(self.end);
                        self.is_over = true;
                    }
                }
            }
            (Branch::Stalled, _) => {
                let stall = seconds(shared.limits.write_stall_seconds);
                self.fail(StreamError::stalled(stall), shared, outside);
                outside.coverage.count("reached", "a writer that gives up");
            }
            (Branch::Retry, _) => self.held.retry(shared, outside),
            (Branch::Tick, Transport::Xml) => {
                let before = self.stream.deadline();
                if self.stream.state() == "closing" {
                    // The peer is not waited for any more.
                    outside
                        .coverage
                        .count("reached", "a peer that does not close");
                    outside.network.trouble(self.end);
                }
                self.stream.handle(Input::Tick, outside.instant());
                self.outputs(shared, outside);
                if self.exit.is_none() && before.is_some() && self.stream.deadline() == before {
                    let at = outside.now;
                    outside.ledger.fail(format!(
                        "6: a tick at its deadline does not move stream {} of {}, {} at {at} us",
                        self.key.0,
                        shared.name,
                        self.stream.state()
                    ));
                }
            }
            (Branch::Tick, Transport::Handshake { .. }) => {
                let error = StreamError::tls("the TLS handshake took too long");
                self.fail(error, shared, outside);
            }
        }
    }

    fn on_readable(&mut self, shared: &mut Shared, outside: &mut Outside) {
        let counted = self.stream.counted();
        let read = outside.read(self.end, READ_BYTES);
        if self.exit.is_some() {
            // What it still says means nothing.
            self.is_over |= matches!(read, Read::Eof | Read::Broken);
            return;
        }
        match read {
            Read::Bytes(bytes) => self.stream.handle(Input::Bytes(&bytes), outside.instant()),
            Read::Eof | Read::Broken => self.stream.handle(Input::Eof, outside.instant()),
            Read::Nothing => return,
        }
        self.outputs(shared, outside);
        self.held.has_read(counted);
        // Said at once: the observer looks at what is to be written before the next turn.
        let unhandled = self.held.unhandled(self.stream.counted());
        self.stream.unhandled(unhandled);
    }

    fn on_writable(&mut self, shared: &mut Shared, outside: &mut Outside) {
        match outside.write(self.end, &self.outgoing) {
            Ok(count) => {
                self.outgoing.advance(count);
                if self.transport == Transport::Xml {
                    self.written += u64::try_from(count).unwrap_or(0);
                }
                if count > 0 {
                    self.progress = outside.now;
                }
                if self.outgoing.is_empty() && self.transport == Transport::Xml {
                    self.acknowledge(shared, outside);
                }
            }
            Err(_) => {
                // TLS may have sent some of it before it failed, and does not say how much.
                let offered = u64::try_from(self.outgoing.len()).unwrap_or(0);
                self.offered = Some(self.written + offered);
                self.outgoing.clear();
                match self.transport {
                    Transport::Xml => {
                        self.stream.handle(Input::Eof, outside.instant());
                        self.outputs(shared, outside);
                        self.exit = Some(Exit::End);
                        self.stream.transmit().clear();
                    }
                    Transport::Handshake { .. } => self.broken(shared, outside),
                }
            }
        }
    }

    /// A flight of the TLS handshake, or some of it.
    fn on_flight(&mut self, shared: &mut Shared, outside: &mut Outside) {
        let Transport::Handshake {
            role,
            heard,
            until,
            direct,
        } = self.transport
        else {
            return;
        };
        let expected: &[usize] = match role {
            Role::Initiating => &[FLIGHTS[1].len()],
            Role::Receiving => &[FLIGHTS[0].len(), FLIGHTS[0].len() + FLIGHTS[2].len()],
        };
        let next = expected.iter().copied().find(|mark| heard < *mark);
        let Some(next) = next else {
            return;
        };
        let heard = match outside.read(self.end, next - heard) {
            Read::Bytes(bytes) => heard + bytes.len(),
            Read::Eof | Read::Broken => return self.broken(shared, outside),
            Read::Nothing => return,
        };
        self.transport = Transport::Handshake {
            role,
            heard,
            until,
            direct,
        };
        if heard < next {
            return;
        }
        match role {
            Role::Receiving if heard == FLIGHTS[0].len() => {
                self.outgoing.extend_from_slice(&FLIGHTS[1]);
            }
            Role::Initiating | Role::Receiving => self.secured(role, direct, shared, outside),
        }
    }

    fn secured(&mut self, role: Role, direct: bool, shared: &mut Shared, outside: &mut Outside) {
        // The last flight goes out in front of whatever follows.
        let flight = match role {
            Role::Initiating => FLIGHTS[2].as_slice(),
            Role::Receiving => &[],
        };
        self.transport = Transport::Xml;
        let secured = Secured {
            certificate: self.certificate.clone(),
            own_certificate: true,
        };
        if direct {
            self.stream = stream(
                shared,
                self.key,
                self.dialled.as_ref(),
                Some(secured),
                self.begun,
            );
        } else {
            self.stream
                .handle(Input::Secured(secured), outside.instant());
        }
        self.outgoing.extend_from_slice(flight);
        self.outputs(shared, outside);
    }

    /// The connection ended during the handshake.
    fn broken(&mut self, shared: &mut Shared, outside: &mut Outside) {
        let error = StreamError::tls("the connection ended during the TLS handshake");
        self.fail(error, shared, outside);
    }

    fn on_command(&mut self, command: ConnectionCommand, shared: &Shared, outside: &mut Outside) {
        let now = outside.instant();
        match command {
            ConnectionCommand::Request { pair } => {
                self.stream
                    .handle(Input::Command(Command::Request { pair }), now);
            }
            ConnectionCommand::Verdict {
                pair,
                verdict,
                assurance,
            } => {
                let command = Command::Verdict {
                    pair,
                    verdict,
                    assurance,
                };
                self.stream.handle(Input::Command(command), now);
            }
            ConnectionCommand::Carry { pair, drain } => self.carriage.add(pair, drain),
            ConnectionCommand::Converge => {
                self.stream.handle(Input::Command(Command::Converge), now);
            }
            ConnectionCommand::Resume(found) => {
                self.stream
                    .handle(Input::Command(Command::Resume(found)), now);
            }
            ConnectionCommand::Abandon => {
                self.stream.handle(Input::Command(Command::Abandon), now);
            }
            ConnectionCommand::Close(error) => {
                if self.stream.state() != "open" {
                    // Whoever is not through the negotiation is deaf, though its peer may have sent already.
                    outside.network.trouble(self.end);
                }
                if matches!(error.fault, Fault::Local) {
                    self.fill(self.outgoing.len(), shared, outside);
                }
                self.stream
                    .handle(Input::Command(Command::Close(error)), now);
            }
        }
    }

    /// Pulls stanzas while the write buffer has room. `unsent` bytes are on their way already.
    fn fill(&mut self, unsent: usize, shared: &Shared, outside: &mut Outside) {
        if !self.stream.is_open() {
            return self.carriage.pause();
        }
        while self.stream.transmit().len() < WRITE_BYTES {
            let begin = self.position(unsent);
            if !self.stream.is_open() {
                return self.carriage.pause();
            }
            let Some((pair, stanza)) = self.carriage.pull() else {
                return self.stream.drained(outside.instant());
            };
            let custody = match self.stream.send(pair, &stanza, outside.instant()) {
                Ok(custody) => custody,
                Err(NotSent::NotPermitted) => {
                    if self.stream.is_open() {
                        outside.ledger.fail(format!(
                            "1: a stream carries {pair}, and may not send for it"
                        ));
                    }
                    self.carriage.put_back();
                    return;
                }
                Err(NotSent::TooLarge { max_bytes }) => {
                    let refused = TooLarge { stanza, max_bytes };
                    self.carriage.refused(begin, refused);
                    continue;
                }
            };
            let end = self.position(unsent);
            let counted = match stanza.class() {
                StanzaClass::Error => Counted::No,
                StanzaClass::Request | StanzaClass::Answer | StanzaClass::Other => Counted::Yes,
            };
            self.carriage.sent(begin, end, custody, counted);
            if let Some(key) = outside.ledger.key(&stanza) {
                let what = outside.ledger.name(key);
                let (name, stream) = (&shared.name, self.key.0);
                outside.tell(|| format!("{name} stream {stream} sends {what}"));
                let sent = Sent {
                    key,
                    begin,
                    end,
                    arrived: false,
                    left: false,
                    custody,
                };
                outside.network.note_sent(self.end, sent);
            }
        }
    }

    /// How far everything that was written reaches once the stream's bytes and `unsent` more have gone.
    fn position(&mut self, unsent: usize) -> u64 {
        self.written + u64::try_from(unsent + self.stream.transmit().len()).unwrap_or(0)
    }

    /// All that was handed to the transport has left it.
    fn acknowledge(&mut self, shared: &mut Shared, outside: &mut Outside) {
        if self.offered.is_some() {
            return;
        }
        let settled = self.carriage.written(self.written);
        outside.network.note_left(self.end, self.written);
        shared.settled(settled, outside);
    }

    /// The peer has handled the next of what was sent to it (XEP-0198).
    fn acknowledged(&mut self, count: u32, shared: &mut Shared, outside: &mut Outside) {
        let (name, stream) = (&shared.name, self.key.0);
        outside.tell(|| format!("{name} stream {stream}: {count} more are acknowledged"));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let settled = self.carriage.acknowledged(count, self.written);
        outside.note_acknowledged(self.end, count);
        shared.settled(settled, outside);
    }

    /// Carries out what the stream wants.
    fn outputs(&mut self, shared: &mut Shared, outside: &mut Outside) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::Attest(domain) => {
                    let text = format!("nobody can find out about the certificate of {domain}");
                    outside.ledger.fail(text);
                }
                Output::Deliver(admitted) => self.deliver(admitted, shared, outside),
                Output::Acknowledged(count) => self.acknowledged(count, shared, outside),
                Output::Answered => {
                    outside
                        .coverage
                        .count("reached", "an answer behind what is not counted");
                    outside.note_answered(self.end);
                    let settled = self.carriage.answered(self.written);
                    outside.network.note_left(self.end, self.written);
                    shared.settled(settled, outside);
                }
                Output::Unmanaged => {
                    self.carriage.unmanaged();
                    outside.network.note_unmanaged(self.end);
                    self.acknowledge(shared, outside);
                }
                Output::Event(event) => self.on_event(event, shared, outside),
                Output::StartTls { role, local } => {
                    let _: Option<Domain> = local;
                    self.exit = Some(Exit::StartTls(role));
                }
                Output::Close => self.exit = Some(Exit::End),
                Output::CloseLast => self.exit = Some(Exit::EndLast),
            }
        }
    }

    fn deliver(&mut self, admitted: Admitted, shared: &mut Shared, outside: &mut Outside) {
        if let Some(key) = outside.ledger.key(admitted.stanza()) {
            let what = outside.ledger.name(key);
            let (name, stream) = (&shared.name, self.key.0);
            outside.tell(|| format!("{name} stream {stream} hears {what}"));
            outside.network.note_arrived(self.end, key);
        }
        invariants::authorised(self, &admitted, shared, outside);
        let stream = &self.stream;
        let inbound = || stream.inbound();
        self.held.deliver(shared, admitted, inbound, outside);
    }

    fn on_event(&mut self, event: Event, shared: &mut Shared, outside: &mut Outside) {
        count_event(&event, outside);
        if let Event::Granted(granted) = &event {
            invariants::granted(self, granted, shared, outside);
            if granted.direction == Direction::Inbound {
                self.held.serves(&granted.pair);
            }
        }
        self.is_managed |= matches!(&event, Event::Managed { .. });
        if let Event::Failed(error) = &event {
            match hears_on(error) {
                true => outside.network.ended(self.end),
                false => outside.network.trouble(self.end),
            }
        }
        invariants::resumption(self, &event, shared, outside);
        let (name, key, wire) = (&shared.name, self.key.0, self.end.wire);
        outside.tell(|| format!("{name} stream {key} on connection {wire}: {event:?}"));
        if concerns_federation(&event) {
            shared.signal(Signal::Stream(self.key, event), outside);
        }
    }

    fn fail(&mut self, error: StreamError, shared: &mut Shared, outside: &mut Outside) {
        self.on_event(Event::Failed(error), shared, outside);
        // At once: what is not written has nowhere to go.
        self.is_over = true;
    }

    /// Sleeps until something is to be done.
    fn sleep(&self, shared: &Shared, outside: &mut Outside) {
        let mut at = Vec::from_iter(self.leave_at);
        at.extend(self.held.next());
        if !self.outgoing.is_empty() {
            at.push(self.progress + micros(shared.limits.write_stall_seconds));
        }
        match self.transport {
            Transport::Handshake { until, .. } => at.push(until),
            Transport::Xml if self.exit.is_none() => {
                at.extend(self.stream.deadline().map(|at| outside.moment(at)));
            }
            Transport::Xml => {}
        }
        if let Some(at) = at.into_iter().min() {
            let actor = Actor::Connection(shared.index, self.key.0);
            outside.clock.wake(actor, at.max(outside.now));
        }
    }

    /// Whether it waits for something that no deadline ends.
    pub(crate) fn has_deadline(&self) -> bool {
        self.is_over || self.exit.is_some() || self.stream.deadline().is_some()
    }

    /// What waits to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.outgoing.len()
    }

    /// Gives back what the connection carried, commands that it did not get round to included.
    pub(crate) fn end(mut self, shared: &mut Shared, outside: &mut Outside) {
        while let Some(command) = self.commands.pop_front() {
            if let ConnectionCommand::Carry { pair, drain } = command {
                self.carriage.add(pair, drain);
            }
        }
        self.held.give_up(shared, outside);
        note_adrift(self.end, outside);
        let lost = self.stream.resume_point();
        let left_us = self.offered.unwrap_or(self.written);
        let keep = match &lost {
            Some(mark) => {
                outside
                    .coverage
                    .count("streams", "lost, and can be resumed");
                invariants::named(&mark.ticket.id, shared, outside);
                note_suspended(self.end, left_us, mark, shared, outside);
                Keep::InFlight
            }
            None => {
                note_uncertain(self.end, left_us, outside);
                Keep::Nothing
            }
        };
        let queues = self.carriage.end(left_us, keep);
        let carriage = self.carriage;
        let lost = lost.map(|mark| LostStream {
            ticket: mark.ticket,
            pair: mark.pair,
            role: mark.role,
            used: mark.used,
            their_side: mark.their_side,
            carriage,
        });
        let (name, key) = (&shared.name, self.key.0);
        outside.tell(|| format!("{name} stream {key} is over"));
        outside.close(self.end);
        let remains = Remains { queues, lost };
        shared.signal(Signal::Ended(self.key, remains), outside);
    }
}

/// Of what was begun and not let go, this end will know what arrived if the peer takes the stream up again.
fn note_suspended(
    end: End,
    written: u64,
    mark: &ResumePoint,
    shared: &Shared,
    outside: &mut Outside,
) {
    let Some(peer) = outside.network.peer(end) else {
        return;
    };
    let limits = &shared.limits;
    let until = outside.now + micros(limits.resume_seconds);
    // The peer may notice later, and asks from then on.
    let kept = until + micros(limits.acknowledgement_seconds) + micros(limits.close_seconds);
    outside.ledger.keeps(shared.index, &mark.ticket.id, kept);
    // Whoever had it is gone, however late we notice: that the stream can be taken up is our hope alone.
    if outside.network.peer_life(end) != Some(outside.ledger.life_of(peer)) {
        return note_uncertain(end, written, outside);
    }
    let keys: Vec<_> = outside
        .network
        .kept(end)
        .filter(|sent| sent.begin < written)
        .map(|sent| sent.key)
        .collect();
    for key in keys {
        outside
            .coverage
            .count("reached", "a stanza that waits for resumption");
        outside.ledger.suspend(
            key,
            [shared.index, peer],
            &mark.ticket.id,
            (outside.now, until),
        );
    }
}

/// What was let go and has not come out may come late.
pub(crate) fn note_adrift(end: End, outside: &mut Outside) {
    for key in outside.network.adrift(end) {
        outside.ledger.adrift(key);
    }
}

/// Of what was begun and not let go, nobody at this end knows whether it arrived.
pub(crate) fn note_uncertain(end: End, written: u64, outside: &mut Outside) {
    let uncertain: Vec<_> = outside
        .network
        .kept(end)
        .filter(|sent| sent.begin < written)
        .map(|sent| sent.key)
        .collect();
    for key in uncertain {
        outside
            .coverage
            .count("reached", "a stanza of unknown fate");
        outside.ledger.uncertain(key);
    }
}

fn stream(
    shared: &Shared,
    key: StreamKey,
    dialled: Option<&Dialled>,
    secured: Option<Secured>,
    begun: Instant,
) -> Stream {
    let config = std::sync::Arc::clone(&shared.streams);
    let ids = shared.stream_ids(key);
    match dialled {
        Some(Dialled { target, purpose }) => {
            Stream::initiating_by_way_of(target, config, purpose.clone(), ids, secured, begun)
        }
        None => Stream::receiving(config, ids, secured, begun),
    }
}

/// Whether a stream that ends like this hears what was sent to it before its peer could know (RFC 6120 §4.4). After any
/// other error it is deaf, and what was sent to it is lost unless the peer waits for acknowledgements.
fn hears_on(error: &StreamError) -> bool {
    error.fault == Fault::Local
        || error.condition == StreamCondition::SystemShutdown
        || error.condition == StreamCondition::Reset
}

fn count_event(event: &Event, outside: &mut Outside) {
    let which = match event {
        Event::Bidirectional => "bidi",
        Event::Multiplexes => "multiplexing",
        Event::Pipelines => "pipelining",
        Event::Granted(granted) => match (granted.grounds.by, granted.grounds.inverse) {
            ("sasl", false) => "granted by SASL",
            ("certificate", false) => "granted by certificate",
            ("dialback", false) => "granted by dialback",
            (_, true) => "granted as an inverse",
            (_, false) => "granted otherwise",
        },
        Event::Refused { .. } => "request refused",
        Event::Unanswered { .. } => "request unanswered",
        Event::Failed(_) => "failed",
        Event::Closed { .. } => "closed",
        Event::Verified { .. } => "key checked",
        Event::Managed { id: Some(_), .. } => "managed, with resumption",
        Event::Managed { id: None, .. } => "managed",
        Event::ResumeRequested { .. } => "the peer resumes",
        Event::Resumed { h: Some(_), .. } => "resumed",
        Event::Resumed { h: None, .. } => "not resumed",
        Event::Identified(_)
        | Event::OldBidiNamespace
        | Event::SaslFailed { .. }
        | Event::KeyReceived(_)
        | Event::Vouched { .. }
        | Event::Denied { .. }
        | Event::Revoked { .. }
        | Event::Departed { .. }
        | Event::Irregular { .. } => return,
    };
    outside.coverage.count("streams", which);
}

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

/// A limit in seconds as a span of the world.
pub(crate) fn micros(limit: u64) -> Moment {
    let span: Duration = seconds(limit);
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX / 4)
}

/// What stands for the flights of a TLS handshake.
const FLIGHTS: [[u8; 64]; 3] = [[0x16; 64], [0x17; 64], [0x18; 64]];
/// A read takes at most this much.
const READ_BYTES: usize = 16 * 1024;
/// One write takes what is ready up to this much.
pub(crate) const WRITE_BYTES: usize = 64 * 1024;
