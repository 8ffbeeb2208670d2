//! A peer, and a component that sends each message back: how long the way there and back takes.
//! Why at a pace of its own: a load that waits for answers is slow when the server is, and does not see what that costs.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stanza::blocks;
use super::wire::Wire;
use super::{QUIET, READ_BYTES, SETTLED_WITHIN, STALLED_AFTER};
use crate::talk::Standing;

/// One peer and the component behind the server.
pub(crate) struct Echo {
    component: Wire,
    /// The peer's connections; it sends on the first.
    peer: Vec<Wire>,
    /// As many messages as are ever sent at once, and as many answers.
    there: Vec<u8>,
    back: Vec<u8>,
    buffer: Vec<u8>,
    /// How many messages the component has answered, of all that ever came.
    answered: u64,
}

/// How far one run is.
struct Run {
    start: Instant,
    /// When each message that is under way was sent, or should have been if it had to wait for the connection.
    under_way: VecDeque<Instant>,
    sent: u64,
    /// The waits that are over.
    took: Vec<Duration>,
    moved: Instant,
}

/// When the next message is due.
enum Course {
    /// So many a second.
    Paced { pace: f64, until: Instant },
    /// As soon as fewer than this are under way.
    Windowed { window: usize, until: Instant },
}

impl Echo {
    /// Takes over connections that stand: `from` is the peer's domain, `to` the component's.
    pub(crate) fn new(
        component: TcpStream,
        peer: Vec<Standing>,
        from: &str,
        to: &str,
    ) -> Result<Self> {
        let all_of = |pair: (&str, &str)| -> Vec<u8> {
            let pair = (pair.0.to_owned(), pair.1.to_owned());
            blocks(&[pair], BYTES, AT_ONCE)
                .into_iter()
                .flat_map(|block| block.bytes)
                .collect()
        };
        Ok(Self {
            component: Wire::plain(component)?,
            peer: peer.into_iter().map(Wire::secured).collect::<Result<_>>()?,
            there: all_of((from, to)),
            back: all_of((to, from)),
            buffer: vec![0; READ_BYTES],
            answered: 0,
        })
    }

    /// How many messages a second go there and back when there is always one to be sent.
    pub(crate) fn most(&mut self, lasting: Duration) -> Result<f64> {
        let start = Instant::now();
        let until = start + lasting;
        let window = WINDOW;
        let took = self.run(&Course::Windowed { window, until })?;
        Ok(took.len() as f64 / start.elapsed().as_secs_f64())
    }

    /// Sends so many a second, and says how long each was on its way, without those of the time before: connections that
    /// rested have to find their pace, and some servers' first messages wait for an acknowledgement of TCP's.
    pub(crate) fn at(
        &mut self,
        pace: f64,
        before: Duration,
        lasting: Duration,
    ) -> Result<Vec<Duration>> {
        let until = Instant::now() + before + lasting;
        let took = self.run(&Course::Paced { pace, until })?;
        let first = (pace * before.as_secs_f64()) as usize;
        Ok(took.into_iter().skip(first).collect())
    }

    fn run(&mut self, course: &Course) -> Result<Vec<Duration>> {
        let start = Instant::now();
        let mut run = Run {
            start,
            under_way: VecDeque::new(),
            sent: 0,
            took: Vec::new(),
            moved: start,
        };
        let before = self.came_back();
        loop {
            let now = Instant::now();
            self.send(course, &mut run, now)?;
            if run.under_way.is_empty() && course.is_over(now) {
                self.settle()?;
                return Ok(run.took);
            }
            ensure!(
                run.moved.elapsed() < STALLED_AFTER,
                "nothing moves for {STALLED_AFTER:?}: {} sent, {} came back",
                run.sent,
                run.took.len()
            );
            let may_send =
                run.under_way.len() < UNDER_WAY_MAX && self.peer.first().is_some_and(Wire::is_free);
            self.turn(match may_send {
                true => course.wait(&run, now),
                false => IDLE,
            })?;
            let came = usize::try_from(self.came_back() - before)?;
            let heard = self.peer.iter().map(Wire::heard).max();
            let heard = heard.context("no peer")?;
            for _ in run.took.len()..came {
                let sent = run
                    .under_way
                    .pop_front()
                    .context("more came than was sent")?;
                run.took.push(heard.saturating_duration_since(sent));
                run.moved = heard;
            }
        }
    }

    /// Sends what is due, and the component's answers.
    fn send(&mut self, course: &Course, run: &mut Run, now: Instant) -> Result<()> {
        let mouth = self.peer.first_mut().context("no peer")?;
        let room = UNDER_WAY_MAX.saturating_sub(run.under_way.len());
        let due = course.due(run, now).min(AT_ONCE).min(room);
        if due > 0 && mouth.is_free() {
            mouth.send(self.there.get(..due * BYTES).context("too many at once")?)?;
            for _ in 0..due {
                run.under_way.push_back(course.stamp(run, now));
                run.sent += 1;
            }
        }
        let owed = usize::try_from(self.component.received() - self.answered)?.min(AT_ONCE);
        if owed > 0 && self.component.is_free() {
            self.component
                .send(self.back.get(..owed * BYTES).context("too many at once")?)?;
            self.answered += owed as u64;
        }
        Ok(())
    }

    /// Answers what is still asked: the next run may be long in coming.
    fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + SETTLED_WITHIN;
        while self.turn(QUIET)? && Instant::now() < until {}
        self.peer.iter_mut().try_for_each(Wire::show_life)
    }

    /// Waits until something can be read or written, or as long as this. Says whether anything could.
    fn turn(&mut self, wait: Duration) -> Result<bool> {
        let mut ready = [PollFlags::empty(); WIRES_MAX];
        {
            let mut waits: Vec<PollFd<'_>> = std::iter::once(&self.component)
                .chain(&self.peer)
                .map(|wire| {
                    let flags = match wire.is_free() {
                        true => PollFlags::IN,
                        false => PollFlags::IN | PollFlags::OUT,
                    };
                    PollFd::from_borrowed_fd(wire.descriptor().as_fd(), flags)
                })
                .collect();
            poll(&mut waits, Some(&Timespec::try_from(wait)?)).context("waiting")?;
            for (ready, wait) in ready.iter_mut().zip(&waits) {
                *ready = wait.revents();
            }
        }
        let wires = std::iter::once(&mut self.component).chain(&mut self.peer);
        for (wire, ready) in wires.zip(ready) {
            if ready.intersects(PollFlags::OUT) {
                wire.flush()?;
            }
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                wire.read(&mut self.buffer)?;
            }
        }
        Ok(ready.iter().any(|ready| !ready.is_empty()))
    }

    /// How many answers have ever come to the peer.
    fn came_back(&self) -> u64 {
        self.peer.iter().map(Wire::received).sum()
    }
}

impl Course {
    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Paced { until, .. } | Self::Windowed { until, .. } => now >= *until,
        }
    }

    /// How many messages should be sent now.
    fn due(&self, run: &Run, now: Instant) -> usize {
        if self.is_over(now) {
            return 0;
        }
        match self {
            Self::Paced { pace, .. } => {
                let since = now.saturating_duration_since(run.start).as_secs_f64();
                let all = (since * pace) as u64 + 1;
                usize::try_from(all.saturating_sub(run.sent)).unwrap_or(usize::MAX)
            }
            Self::Windowed { window, .. } => window.saturating_sub(run.under_way.len()),
        }
    }

    /// From when the next message counts: from now, or from when it was due, if it is late by more than a generator that
    /// sleeps in between must be.
    fn stamp(&self, run: &Run, now: Instant) -> Instant {
        match self {
            Self::Paced { pace, .. } => {
                let due = run.start + Duration::from_secs_f64(run.sent as f64 / pace);
                match now.saturating_duration_since(due) < OVERSLEPT {
                    true => now,
                    false => due,
                }
            }
            Self::Windowed { .. } => now,
        }
    }

    /// How long nothing is due.
    fn wait(&self, run: &Run, now: Instant) -> Duration {
        match self {
            Self::Paced { pace, .. } if !self.is_over(now) => {
                let due = run.start + Duration::from_secs_f64(run.sent as f64 / pace);
                due.saturating_duration_since(now)
            }
            Self::Paced { .. } | Self::Windowed { .. } => IDLE,
        }
    }
}

/// The short stanza of the other works.
const BYTES: usize = 200;
/// As many are written together at most.
const AT_ONCE: usize = 80;
/// Under way where as many go as can.
const WINDOW: usize = 512;
/// Under way at most: what is due beyond that waits here, and counts from when it was due. Servers return what is too much.
const UNDER_WAY_MAX: usize = 2_048;
/// The component's, and the peer's in either direction.
const WIRES_MAX: usize = 3;
/// When nothing is to be sent: what comes ends the wait.
const IDLE: Duration = Duration::from_millis(100);
/// A sleep ends so much later than asked for at most, on a machine that is not busy.
const OVERSLEPT: Duration = Duration::from_micros(200);
