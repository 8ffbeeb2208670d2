//! The load: one thread that sends stanzas which were written before, and counts those that come.
//! Why one thread and nothing parsed: whatever it costs is taken from the server on the same machine, so it must be little.

mod count;
pub(crate) mod echo;
mod stanza;
mod wire;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token};

use crate::talk::Standing;
pub(crate) use stanza::{Block, blocks};
use wire::Wire;

/// A component and peers, with the connections between which a server stands.
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    /// The component's first, then those of the peers.
    wires: Vec<Wire>,
    /// For each peer, the connection on which it sends.
    mouths: Vec<usize>,
    buffer: Vec<u8>,
}

/// One direction of what goes through the server in one run.
#[derive(Clone, Copy)]
pub(crate) struct Flow<'a> {
    /// Written by turns, without end. Inbound, the first is the first peer's, and so on, and round again.
    blocks: &'a [Block],
    /// How many blocks in all.
    times: u64,
    /// Stanzas that may be under way.
    window: u64,
    /// Stanzas a second, where it is not as many as go.
    pace: Option<f64>,
}

/// How far one direction is.
#[derive(Default)]
struct Course {
    turn: u64,
    sent: u64,
    received: u64,
    goal: u64,
}

impl Load {
    /// Takes over connections that stand. Each peer sends on the first that is its own.
    pub(crate) fn new(component: TcpStream, peers: Vec<Standing>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut wires = vec![Wire::plain(component)?];
        let mut mouths = Vec::new();
        let mut known = BTreeSet::new();
        for standing in peers {
            if known.insert(standing.ours.clone()) {
                mouths.push(wires.len());
            }
            wires.push(Wire::secured(standing)?);
        }
        for (index, wire) in wires.iter_mut().enumerate() {
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(wire.source(), Token(index), both)?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            wires,
            mouths,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Sends everything and waits until everything has come out at the other side.
    pub(crate) fn run(&mut self, inbound: Flow<'_>, outbound: Flow<'_>) -> Result<Duration> {
        let mut coming = Course::new(&inbound);
        let mut going = Course::new(&outbound);
        let before = self.counted();
        let start = Instant::now();
        let mut moved = start;
        let wait = match (inbound.pace, outbound.pace) {
            (None, None) => STALLED_AFTER,
            (Some(_), _) | (_, Some(_)) => TICK,
        };
        loop {
            let counted = self.counted();
            coming.received = counted.0 - before.0;
            going.received = counted.1 - before.1;
            if coming.is_done() && going.is_done() {
                let took = start.elapsed();
                self.settle()?;
                return Ok(took);
            }
            ensure!(
                coming.received <= coming.goal && going.received <= going.goal,
                "more came than was sent: errors, or something twice ({coming}, {going})"
            );
            let since = start.elapsed();
            self.feed(inbound, &mut coming, since, |load, index| {
                load.mouths.get(index % load.mouths.len()).copied()
            })?;
            self.feed(outbound, &mut going, since, |_, _| Some(0))?;
            match self.turn(wait)? {
                true => moved = Instant::now(),
                false if moved.elapsed() < STALLED_AFTER => {}
                false => {
                    bail!("nothing moves for {STALLED_AFTER:?}: inbound {coming}, outbound {going}")
                }
            }
        }
    }

    /// Answers what is still asked, for others have their turn now, and a server ends a connection that does not answer.
    fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + SETTLED_WITHIN;
        while self.turn(QUIET)? && Instant::now() < until {}
        self.wires.iter_mut().try_for_each(Wire::show_life)
    }

    /// Waits for what happens next, and takes it. Says whether anything did.
    fn turn(&mut self, wait: Duration) -> Result<bool> {
        self.poll.poll(&mut self.events, Some(wait))?;
        for event in &self.events {
            let Some(wire) = self.wires.get_mut(event.token().0) else {
                continue;
            };
            if event.is_writable() {
                wire.flush()?;
            }
            if event.is_readable() {
                wire.read(&mut self.buffer)?;
            }
        }
        Ok(!self.events.is_empty())
    }

    /// Sends by turns while the next may send.
    fn feed(
        &mut self,
        flow: Flow<'_>,
        course: &mut Course,
        since: Duration,
        wire_of: impl Fn(&Self, usize) -> Option<usize>,
    ) -> Result<()> {
        while course.sent < course.goal {
            let index = usize::try_from(course.turn)? % flow.blocks.len();
            let block = flow.blocks.get(index).context("no block")?;
            if flow.pace.is_some_and(|pace| {
                (course.sent + block.stanzas) as f64 > pace * since.as_secs_f64()
            }) {
                break;
            }
            let wire = wire_of(self, index).context("no such peer")?;
            let wire = self.wires.get_mut(wire).context("no such connection")?;
            let under_way = course.sent.saturating_sub(course.received);
            if under_way + block.stanzas > flow.window || !wire.is_free() {
                break;
            }
            wire.send(&block.bytes)?;
            course.sent += block.stanzas;
            course.turn += 1;
        }
        Ok(())
    }

    /// How many stanzas have ever come to the component, and to the peers.
    fn counted(&self) -> (u64, u64) {
        let mut counts = self.wires.iter().map(Wire::received);
        let component = counts.next().unwrap_or_default();
        (component, counts.sum())
    }
}

impl<'a> Flow<'a> {
    /// About so many stanzas: whole blocks, all of which have the same number.
    pub(crate) fn of(blocks: &'a [Block], stanzas: u64, window: u64) -> Self {
        let each = blocks.first().map_or(1, |block| block.stanzas);
        Self {
            blocks,
            times: stanzas.div_ceil(each),
            window,
            pace: None,
        }
    }

    /// The same, with so many stanzas a second and no more.
    pub(crate) fn paced(self, pace: f64) -> Self {
        Self {
            pace: Some(pace),
            ..self
        }
    }

    /// Exactly so many.
    pub(crate) fn stanzas(&self) -> u64 {
        let each = self.blocks.first().map_or(0, |block| block.stanzas);
        each * self.times
    }
}

impl Course {
    fn new(flow: &Flow<'_>) -> Self {
        Self {
            goal: flow.stanzas(),
            ..Self::default()
        }
    }

    fn is_done(&self) -> bool {
        self.received == self.goal
    }
}

impl std::fmt::Display for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} sent, {} received",
            self.sent, self.goal, self.received
        )
    }
}

/// A server that takes longer for anything has lost something.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// With a pace, how long it may be until what is due is sent.
const TICK: Duration = Duration::from_millis(1);
/// When nothing comes for so long, nothing more is asked.
const QUIET: Duration = Duration::from_millis(20);
const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// What one read takes: several records of TLS.
const READ_BYTES: usize = 128 * 1024;
