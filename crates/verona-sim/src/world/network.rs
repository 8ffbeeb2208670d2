//! Connections: bytes in flight, bounded buffers, and what goes wrong with them.
//!
//! A connection is two ends. What one writes arrives at the other in order and some time later; how much may be on its
//! way is bounded, and an end learns that there is room again from the other. An end that hears of nothing for long is
//! told by its system that the connection is broken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use verona_proto::carriage::Custody;

use super::clock::{Actor, Moment};
use super::ledger::{Key, Loss};
use super::outside::Outside;
use super::plan::LinkPlan;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) wires: BTreeMap<u64, Wire>,
    last: u64,
    /// From whom to whom nothing passes, and since when.
    holes: BTreeMap<(Host, Host), Moment>,
    /// Machines that are off.
    off: BTreeSet<Host>,
}

/// A machine: a server, or behind those a component.
pub(crate) type Host = usize;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) wire: u64,
    pub(crate) side: usize,
}

impl End {
    pub(crate) fn other(self) -> Self {
        Self {
            wire: self.wire,
            side: 1 - self.side,
        }
    }
}

/// One connection. The first end is that of whoever opened it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) hosts: [Host; 2],
    /// In which of their lives the two opened it.
    lives: [u32; 2],
    link: LinkPlan,
    /// How what it loses is called.
    loss: Loss,
    /// Both ends acknowledge what arrives and take up what is lost: only a crash may lose anything.
    strict: bool,
    ends: [WireEnd; 2],
    trouble: Trouble,
    /// Something in between has cut it: what is written from here on is answered with a reset.
    severed: bool,
}

/// What was done to a connection or to one of its ends, so that what it carried may be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// An end has ended its stream with an error: what it carries comes, and perhaps behind what was sent later elsewhere.
    Ended,
    /// It was cut, or an end was too slow, or gave up.
    Lost,
    /// An end has forgotten what it knew.
    Crashed,
}

/// What one end has.
#[derive(Debug, Default)]
struct WireEnd {
    /// Whoever reads and writes here; nobody when the process is gone.
    owner: Option<Actor>,
    /// On its way here, in order.
    coming: VecDeque<(Moment, Packet)>,
    /// Lost on its way here, and sent again when the way is free.
    stalled: VecDeque<Packet>,
    readable: BytesMut,
    finished: bool,
    broken: bool,
    /// What was written here and not read there, as far as is known here.
    unread: usize,
    /// The wire is cut when so many more bytes have come here.
    cut_after: Option<(usize, Cut)>,
    /// The stanzas written here that did not come out there, or that are not let go here.
    sent: VecDeque<Sent>,
}

impl WireEnd {
    fn forget(&mut self) {
        self.sent.retain(|sent| !(sent.arrived && sent.left));
    }
}

/// What travels.
#[derive(Debug)]
enum Packet {
    Bytes(Bytes),
    /// So many bytes were read.
    Room(usize),
    /// No more bytes follow.
    Fin,
    /// The connection is over.
    Reset,
}

/// How a connection is cut: which ends are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) heard: [bool; 2],
}

/// A stanza on a wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) key: Key,
    /// Where it begins and ends in all that is written at its end of the wire.
    pub(crate) begin: u64,
    pub(crate) end: u64,
    /// Whether it came out at the other end.
    pub(crate) arrived: bool,
    /// Whether its sender let it go.
    pub(crate) left: bool,
    /// When its sender lets it go.
    pub(crate) custody: Custody,
}

/// What a read brings.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(BytesMut),
    Nothing,
    /// The other end has closed.
    Eof,
    Broken,
}

/// The connection is broken.
#[derive(Debug)]
pub(crate) struct Broken;

impl Network {
    fn end(&self, end: End) -> Option<&WireEnd> {
        self.wires.get(&end.wire)?.ends.get(end.side)
    }

    fn end_mut(&mut self, end: End) -> Option<&mut WireEnd> {
        self.wires.get_mut(&end.wire)?.ends.get_mut(end.side)
    }

    /// The machine at the other end.
    pub(crate) fn peer(&self, end: End) -> Option<Host> {
        let wire = self.wires.get(&end.wire)?;
        wire.hosts.get(end.other().side).copied()
    }

    /// In which of its lives the machine at the other end was when the connection was opened.
    pub(crate) fn peer_life(&self, end: End) -> Option<u32> {
        let wire = self.wires.get(&end.wire)?;
        wire.lives.get(end.other().side).copied()
    }

    /// Whether a read brings something.
    pub(crate) fn is_readable(&self, end: End) -> bool {
        self.end(end)
            .is_none_or(|end| !end.readable.is_empty() || end.finished || end.broken)
    }

    /// Whether a write does something.
    pub(crate) fn is_writable(&self, end: End) -> bool {
        let Some(wire) = self.wires.get(&end.wire) else {
            return true;
        };
        self.end(end)
            .is_none_or(|it| it.broken || it.unread < wire.link.room)
    }

    /// Whether nothing passes from one machine to another.
    pub(crate) fn is_hole(&self, from: Host, to: Host) -> bool {
        self.holes.contains_key(&(from, to)) || self.off.contains(&to) || self.off.contains(&from)
    }

    /// The live connections between two machines, the oldest first, each with the end of the first machine.
    pub(crate) fn between(&self, a: Host, b: Host) -> Vec<End> {
        let side = |wire: &Wire| match wire.hosts {
            [x, y] if (x, y) == (a, b) => Some(0),
            [x, y] if (x, y) == (b, a) => Some(1),
            [_, _] => None,
        };
        let live = |wire: &&Wire| wire.ends.iter().all(|end| end.owner.is_some());
        let found = self.wires.iter().filter(|(_, wire)| live(wire));
        found
            .filter_map(|(number, wire)| {
                Some(End {
                    wire: *number,
                    side: side(wire)?,
                })
            })
            .collect()
    }

    /// A stanza was written at an end.
    pub(crate) fn note_sent(&mut self, end: End, sent: Sent) {
        if let Some(end) = self.end_mut(end) {
            end.sent.push_back(sent);
        }
    }

    /// A stanza came out at an end.
    pub(crate) fn note_arrived(&mut self, end: End, key: Key) {
        if let Some(other) = self.end_mut(end.other()) {
            let waits = |sent: &Sent| sent.key == key && !sent.arrived;
            if let Some(at) = other.sent.iter().position(waits) {
                other.sent[at].arrived = true;
                other.forget();
            }
        }
    }

    /// Whoever writes at an end has let go of what it wrote up to `written`, unless it waits to hear of it.
    pub(crate) fn note_left(&mut self, end: End, written: u64) {
        if let Some(end) = self.end_mut(end) {
            for sent in &mut end.sent {
                sent.left |= sent.end <= written && sent.custody == Custody::Written;
            }
            end.forget();
        }
    }

    /// The stanzas written at an end that their sender has not let go.
    pub(crate) fn kept(&self, end: End) -> impl Iterator<Item = &Sent> {
        let sent = self.end(end).map(|end| end.sent.iter());
        sent.into_iter().flatten().filter(|sent| !sent.left)
    }

    /// The stanzas written at an end that their sender has let go and that have not come out, if something was done to
    /// the connection: they may come out late, or not at all.
    pub(crate) fn adrift(&self, end: End) -> Vec<Key> {
        let troubled = self
            .wires
            .get(&end.wire)
            .is_some_and(|wire| wire.trouble > Trouble::None);
        let sent = self
            .end(end)
            .filter(|_| troubled)
            .map(|end| end.sent.iter());
        let adrift = sent
            .into_iter()
            .flatten()
            .filter(|it| it.left && !it.arrived);
        adrift.map(|sent| sent.key).collect()
    }

    /// What the connection carries may be lost.
    pub(crate) fn trouble(&mut self, end: End) {
        if let Some(wire) = self.wires.get_mut(&end.wire) {
            wire.trouble = wire.trouble.max(Trouble::Lost);
        }
    }

    /// A stream was ended with an error.
    pub(crate) fn ended(&mut self, end: End) {
        if let Some(wire) = self.wires.get_mut(&end.wire) {
            wire.trouble = wire.trouble.max(Trouble::Ended);
        }
    }

    /// What an end knew is forgotten.
    pub(crate) fn crashed(&mut self, end: End) {
        if let Some(wire) = self.wires.get_mut(&end.wire) {
            wire.trouble = Trouble::Crashed;
        }
    }

    /// The peer acknowledges nothing after all.
    pub(crate) fn note_unmanaged(&mut self, end: End) {
        let sent = self.end_mut(end).map(|end| &mut end.sent);
        for sent in sent.into_iter().flatten() {
            sent.custody = Custody::Written;
        }
    }

    /// Everything of a machine that is alive on the network: its ends.
    pub(crate) fn ends_of(&self, host: Host) -> Vec<End> {
        let mut ends = Vec::new();
        for (number, wire) in &self.wires {
            for side in 0..2 {
                if wire.hosts.get(side) == Some(&host) {
                    ends.push(End {
                        wire: *number,
                        side,
                    });
                }
            }
        }
        ends
    }
}

impl Outside {
    /// A connection between two machines. Nobody is at its ends yet.
    pub(crate) fn connect(
        &mut self,
        hosts: [Host; 2],
        link: LinkPlan,
        loss: Loss,
        strict: bool,
    ) -> u64 {
        self.network.last += 1;
        let wire = Wire {
            hosts,
            lives: hosts.map(|host| self.ledger.life_of(host)),
            link,
            loss,
            strict,
            ends: <[WireEnd; 2]>::default(),
            trouble: Trouble::None,
            severed: false,
        };
        self.network.wires.insert(self.network.last, wire);
        self.network.last
    }

    /// Somebody is at an end from now on.
    pub(crate) fn own(&mut self, end: End, owner: Actor) {
        if let Some(end) = self.network.end_mut(end) {
            end.owner = Some(owner);
        }
        self.soon(owner);
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, end: End, most: usize) -> Read {
        let Some(it) = self.network.end_mut(end) else {
            return Read::Broken;
        };
        if !it.readable.is_empty() {
            let count = it.readable.len().min(most);
            let bytes = it.readable.split_to(count);
            self.pass(end.other(), Packet::Room(count));
            return Read::Bytes(bytes);
        }
        match (it.broken, it.finished) {
            (true, _) => Read::Broken,
            (false, true) => Read::Eof,
            (false, false) => Read::Nothing,
        }
    }

    /// Writes as much as there is room for, and says how much that was.
    pub(crate) fn write(&mut self, end: End, bytes: &[u8]) -> Result<usize, Broken> {
        let Some(wire) = self.network.wires.get_mut(&end.wire) else {
            return Err(Broken);
        };
        let room = wire.link.room;
        let Some(it) = wire.ends.get_mut(end.side).filter(|it| !it.broken) else {
            return Err(Broken);
        };
        let count = bytes.len().min(room.saturating_sub(it.unread));
        if count > 0 {
            it.unread += count;
            let packet = Packet::Bytes(Bytes::copy_from_slice(&bytes[..count]));
            self.pass(end.other(), packet);
        }
        Ok(count)
    }

    /// The process at an end is done with it. What it has not read is lost, and the other end is told so.
    pub(crate) fn close(&mut self, end: End) {
        let Some(it) = self.network.end_mut(end) else {
            return;
        };
        if it.owner.take().is_none() {
            return;
        }
        let packet = match it.readable.is_empty() {
            true => Packet::Fin,
            false => Packet::Reset,
        };
        it.readable.clear();
        self.pass(end.other(), packet);
        self.conclude(end.wire);
    }

    /// The machine at an end is off: nobody is told.
    pub(crate) fn vanish(&mut self, end: End) {
        if let Some(it) = self.network.end_mut(end) {
            it.owner = None;
            it.readable.clear();
        }
        if let Some(other) = self.network.end_mut(end.other()) {
            other.stalled.clear();
        }
        self.network.crashed(end);
        self.be_patient(end.wire);
        self.conclude(end.wire);
    }

    /// A machine is off, and with it everything that it said or heard.
    pub(crate) fn switch_off(&mut self, host: Host) {
        for end in self.network.ends_of(host) {
            self.vanish(end);
        }
        self.network.off.insert(host);
    }

    /// A machine is on again, and knows nothing of its former connections.
    pub(crate) fn switch_on(&mut self, host: Host) {
        self.network.off.remove(&host);
        for end in self.network.ends_of(host) {
            self.send_again(end);
            self.send_again(end.other());
        }
    }

    /// Nothing passes from one machine to another from now on.
    pub(crate) fn open_hole(&mut self, from: Host, to: Host) {
        let now = self.now;
        self.network.holes.entry((from, to)).or_insert(now);
        for end in self.network.between(from, to) {
            self.network.trouble(end);
            self.be_patient(end.wire);
        }
    }

    /// Everything passes again, what was lost is sent again.
    pub(crate) fn close_hole(&mut self, from: Host, to: Host) {
        if self.network.holes.remove(&(from, to)).is_none() {
            return;
        }
        for end in self.network.ends_of(to) {
            if self.network.peer(end) == Some(from) {
                self.send_again(end);
            }
        }
    }

    /// Something in between cuts a connection when so many more bytes have come to an end.
    pub(crate) fn cut(&mut self, end: End, after: usize, cut: Cut) {
        match after {
            0 => self.cut_now(end.wire, cut),
            _ => {
                if let Some(it) = self.network.end_mut(end) {
                    it.cut_after = Some((after, cut));
                }
            }
        }
    }

    fn cut_now(&mut self, number: u64, cut: Cut) {
        let Some(wire) = self.network.wires.get_mut(&number) else {
            return;
        };
        let which = match cut.heard {
            [true, true] => "connection cut, and both hear of it",
            [true, false] | [false, true] => "connection cut, half open",
            [false, false] => "connection cut, and nobody hears of it",
        };
        self.coverage.count("faults", which);
        wire.trouble = wire.trouble.max(Trouble::Lost);
        wire.severed = true;
        for end in &mut wire.ends {
            end.coming.clear();
            end.stalled.clear();
            end.cut_after = None;
        }
        for (side, heard) in cut.heard.into_iter().enumerate() {
            if heard {
                self.pass(End { wire: number, side }, Packet::Reset);
            }
        }
        self.tell(|| format!("connection {number} is cut"));
        self.be_patient(number);
    }

    /// What arrives at an end.
    pub(crate) fn arrive(&mut self, end: End) {
        loop {
            let now = self.now;
            let Some(wire) = self.network.wires.get(&end.wire) else {
                return;
            };
            let (severed, hosts, room) = (wire.severed, wire.hosts, wire.link.room);
            let (to, from) = (hosts[end.side], hosts[1 - end.side]);
            let lost = self.network.is_hole(from, to);
            let sender_is_off = self.network.off.contains(&from);
            let Some(it) = self.network.end_mut(end) else {
                return;
            };
            let Some((at, packet)) = it.coming.pop_front() else {
                return;
            };
            if at > now {
                it.coming.push_front((at, packet));
                return self.clock.wake(Actor::Wire(end.wire, end.side), at);
            }
            if lost || !it.stalled.is_empty() {
                // A reset is not sent again, nor is anything of a machine that is off: there is nobody who would.
                if !matches!(packet, Packet::Reset) && !sender_is_off {
                    it.stalled.push_back(packet);
                }
                continue;
            }
            if it.owner.is_none() || severed && !matches!(packet, Packet::Reset) {
                // Whoever gets something for a connection that it does not know says so.
                if matches!(packet, Packet::Bytes(_)) {
                    self.pass(end.other(), Packet::Reset);
                }
                continue;
            }
            let mut wakes = it.owner;
            match packet {
                Packet::Bytes(mut bytes) => {
                    let cut = match it.cut_after {
                        Some((after, cut)) if after <= bytes.len() => Some((after, cut)),
                        Some((after, cut)) => {
                            it.cut_after = Some((after - bytes.len(), cut));
                            None
                        }
                        None => None,
                    };
                    if let Some((after, _)) = cut {
                        bytes.truncate(after);
                    }
                    if it.broken {
                        wakes = None;
                    } else {
                        it.readable.extend_from_slice(&bytes);
                    }
                    if let Some((_, cut)) = cut {
                        self.cut_now(end.wire, cut);
                    }
                }
                Packet::Room(count) => {
                    // Only whoever found no room waits for it.
                    wakes = wakes.filter(|_| it.unread >= room);
                    it.unread = it.unread.saturating_sub(count);
                }
                Packet::Fin => it.finished = true,
                Packet::Reset => it.broken = true,
            }
            if let Some(owner) = wakes {
                self.soon(owner);
            }
        }
    }

    /// The system gives up on a connection on which nothing has moved for long.
    pub(crate) fn lose_patience(&mut self, number: u64) {
        let Some(wire) = self.network.wires.get(&number) else {
            return;
        };
        let [a, b] = wire.hosts;
        let since = |from, to| self.network.holes.get(&(from, to)).copied();
        let hole = since(a, b).into_iter().chain(since(b, a)).min();
        let gone = wire.severed || wire.ends.iter().any(|end| end.owner.is_none());
        match hole {
            _ if gone => {}
            Some(since) if since + PATIENCE <= self.now => {}
            Some(since) => return self.clock.wake(Actor::Patience(number), since + PATIENCE),
            None => return,
        }
        let Some(wire) = self.network.wires.get_mut(&number) else {
            return;
        };
        let mut owners = Vec::new();
        for end in &mut wire.ends {
            // One that was closed in good order has its end from the other.
            if !end.finished && !end.broken {
                end.broken = true;
                owners.extend(end.owner);
            }
        }
        for owner in owners {
            self.soon(owner);
        }
    }

    /// A peer says that it has handled the next of what was written at an end.
    pub(crate) fn note_acknowledged(&mut self, end: End, count: usize) {
        let Some(it) = self.network.end_mut(end) else {
            return;
        };
        let waits = |sent: &Sent| sent.custody == Custody::Acknowledged && !sent.left;
        let waiting = it.sent.iter_mut().filter(|sent| waits(sent));
        let mut unarrived = None;
        for sent in waiting.take(count) {
            sent.left = true;
            if !sent.arrived {
                unarrived = Some(sent.key);
            }
        }
        it.forget();
        if let Some(key) = unarrived {
            let name = self.ledger.name(key);
            self.ledger
                .fail(format!("3: {name} was acknowledged, and had not arrived"));
        }
    }

    /// A peer has answered what was written behind all that waits for that at an end.
    pub(crate) fn note_answered(&mut self, end: End) {
        let Some(it) = self.network.end_mut(end) else {
            return;
        };
        let mut unarrived = None;
        for sent in &mut it.sent {
            if sent.custody == Custody::Answered {
                sent.custody = Custody::Written;
                if !sent.arrived {
                    unarrived = Some(sent.key);
                }
            }
        }
        if let Some(key) = unarrived {
            let name = self.ledger.name(key);
            self.ledger
                .fail(format!("3: {name} was taken to have arrived, and had not"));
        }
    }

    fn be_patient(&mut self, wire: u64) {
        self.clock.wake(Actor::Patience(wire), self.now + PATIENCE);
    }

    fn send_again(&mut self, end: End) {
        let Some(it) = self.network.end_mut(end) else {
            return;
        };
        if it.stalled.is_empty() {
            return;
        }
        let stalled = std::mem::take(&mut it.stalled);
        let coming = std::mem::take(&mut it.coming);
        let delay = self.chance.between(0, 400_000);
        // What was sent later comes later.
        for packet in stalled
            .into_iter()
            .chain(coming.into_iter().map(|(_, it)| it))
        {
            self.pass_later(end, packet, delay);
        }
    }

    /// Sends something to an end.
    fn pass(&mut self, to: End, packet: Packet) {
        self.pass_later(to, packet, 0);
    }

    fn pass_later(&mut self, to: End, packet: Packet, delay: Moment) {
        let Some(wire) = self.network.wires.get(&to.wire) else {
            return;
        };
        let link = wire.link;
        let at = self.now + delay + link.latency + self.chance.between(0, link.jitter);
        let Some(end) = self.network.end_mut(to) else {
            return;
        };
        // Never before what was sent earlier.
        let at = end.coming.back().map_or(at, |(last, _)| at.max(*last));
        end.coming.push_back((at, packet));
        self.clock.wake(Actor::Wire(to.wire, to.side), at);
    }

    /// Nobody is at either end any more: what did not come out will not.
    fn conclude(&mut self, number: u64) {
        let over = self
            .network
            .wires
            .get(&number)
            .is_some_and(|wire| wire.ends.iter().all(|end| end.owner.is_none()));
        if !over {
            return;
        }
        let Some(wire) = self.network.wires.remove(&number) else {
            return;
        };
        for end in &wire.ends {
            for sent in end.sent.iter().filter(|sent| sent.left) {
                let enough = match wire.strict {
                    true => Trouble::Crashed,
                    false => Trouble::Lost,
                };
                self.ledger
                    .lost_on_wire(sent, wire.loss, wire.trouble >= enough);
            }
        }
    }
}

/// How long a system waits for one that acknowledges nothing.
const PATIENCE: Moment = 25_000_000;
