//! One connection: what is on the way in each direction, and what its ends have noticed.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::Road;

pub(crate) struct Connection {
    addresses: [SocketAddr; 2],
    /// Lane 0 leads from end 0 to end 1.
    lanes: [Lane; 2],
    ends: [Side; 2],
    /// It broke in the middle: nothing passes any more.
    severed: bool,
}

/// What an end knows.
#[derive(Default)]
struct Side {
    gone: bool,
    /// The system has given the connection up.
    failed: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What goes one way.
struct Lane {
    on_the_way: VecDeque<Item>,
    /// Bytes that were written and are not read.
    held: usize,
    written: u64,
    closed: bool,
    /// When the last byte so far has left its sender.
    free_at: Instant,
    cut: Option<(u64, Cut)>,
    dark_since: Option<Instant>,
}

struct Item {
    /// `None` while the road is dark.
    arrives: Option<Instant>,
    what: What,
}

enum What {
    Bytes(Bytes),
    /// Nothing more comes.
    End,
    /// The connection is broken.
    Reset,
}

/// Where a connection breaks, and who notices at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// So many bytes still arrive.
    pub(crate) after: u64,
    pub(crate) notices: Notices,
}

/// Who is told by a reset that a connection broke. The other one learns it when it writes, or by and by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notices {
    Both,
    Reader,
    Writer,
}

/// What an end can do.
pub(crate) enum Progress<T> {
    Done(T),
    /// Nothing before this moment, unless something happens.
    Wait(Option<Instant>),
}

impl Connection {
    pub(crate) fn new(addresses: [SocketAddr; 2]) -> Self {
        Self {
            addresses,
            lanes: [Lane::new(), Lane::new()],
            ends: [Side::default(), Side::default()],
            severed: false,
        }
    }

    pub(crate) fn hosts(&self, end: usize) -> (IpAddr, IpAddr) {
        (self.addresses[end].ip(), self.addresses[1 - end].ip())
    }

    /// Whether it has a lane from one host to the other.
    pub(crate) fn leads(&self, from: IpAddr, to: IpAddr) -> bool {
        self.lane(from, to).is_some()
    }

    pub(crate) fn has_open(&self, host: IpAddr) -> bool {
        let is_open = |end: usize| self.addresses[end].ip() == host && !self.ends[end].gone;
        is_open(0) || is_open(1)
    }

    pub(crate) fn arm(&mut self, from: IpAddr, to: IpAddr, cut: Cut) -> bool {
        let Some(lane) = self.lane(from, to).filter(|_| !self.severed) else {
            return false;
        };
        let lane = &mut self.lanes[lane];
        lane.cut = Some((lane.written + cut.after, cut));
        true
    }

    pub(crate) fn disarm(&mut self) {
        for lane in &mut self.lanes {
            lane.cut = None;
        }
    }

    pub(crate) fn hold(&mut self, from: IpAddr, to: IpAddr, now: Instant) {
        if let Some(lane) = self.lane(from, to) {
            self.lanes[lane].dark_since = Some(now);
            for item in &mut self.lanes[lane].on_the_way {
                item.arrives = item.arrives.filter(|at| *at <= now);
            }
        }
    }

    pub(crate) fn release(&mut self, from: IpAddr, to: IpAddr, arrival: Instant) {
        if let Some(lane) = self.lane(from, to) {
            self.lanes[lane].dark_since = None;
            for item in &mut self.lanes[lane].on_the_way {
                item.arrives.get_or_insert(arrival);
            }
            self.wake(1 - lane);
        }
    }

    pub(crate) fn dark_since(&self, from: IpAddr, to: IpAddr, since: Instant) -> bool {
        self.lane(from, to)
            .is_some_and(|lane| self.lanes[lane].dark_since == Some(since))
    }

    /// Both systems give it up.
    pub(crate) fn time_out(&mut self) {
        self.severed = true;
        for end in [0, 1] {
            self.fail(end, io::ErrorKind::TimedOut);
        }
    }

    pub(crate) fn fail(&mut self, end: usize, kind: io::ErrorKind) {
        self.ends[end].failed.get_or_insert(kind);
        self.wake(end);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.ends.iter().all(|end| end.gone)
    }

    pub(crate) fn is_severed(&self) -> bool {
        self.severed
    }

    /// Takes what has arrived at an end, `room` bytes at most; nothing means that nothing more comes.
    pub(crate) fn read(
        &mut self,
        end: usize,
        room: usize,
        waker: &Waker,
    ) -> Progress<io::Result<Bytes>> {
        if let Some(kind) = self.ends[end].failed {
            return Progress::Done(Err(kind.into()));
        }
        let now = Instant::now();
        let lane = &mut self.lanes[1 - end];
        let arrives = match lane.on_the_way.front() {
            Some(item) => item.arrives,
            None => None,
        };
        let Some(item) = lane
            .on_the_way
            .front_mut()
            .filter(|_| arrives.is_some_and(|at| at <= now))
        else {
            self.ends[end].reader = Some(waker.clone());
            return Progress::Wait(arrives);
        };
        match &mut item.what {
            What::Bytes(bytes) => {
                let part = bytes.split_to(room.min(bytes.len()));
                if bytes.is_empty() {
                    lane.on_the_way.pop_front();
                }
                lane.held = lane.held.saturating_sub(part.len());
                if let Some(waker) = self.ends[1 - end].writer.take() {
                    waker.wake();
                }
                Progress::Done(Ok(part))
            }
            What::End => Progress::Done(Ok(Bytes::new())),
            What::Reset => Progress::Done(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Takes what an end writes.
    pub(crate) fn write(
        &mut self,
        end: usize,
        bytes: &[u8],
        road: Road,
        waker: &Waker,
    ) -> Progress<io::Result<usize>> {
        let now = Instant::now();
        if let Some(kind) = self.ends[end].failed {
            return Progress::Done(Err(kind.into()));
        }
        if self.is_reset(end, now) {
            return Progress::Done(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.lanes[end].closed {
            return Progress::Done(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let lane = &mut self.lanes[end];
        let room = road.buffer.saturating_sub(lane.held);
        if room == 0 {
            self.ends[end].writer = Some(waker.clone());
            return Progress::Wait(self.reset_at(end));
        }
        let count = room.min(bytes.len());
        lane.held += count;
        if !self.severed && !self.ends[1 - end].gone {
            self.carry(end, &bytes[..count], road, now);
        }
        Progress::Done(Ok(count))
    }

    fn carry(&mut self, end: usize, bytes: &[u8], road: Road, now: Instant) {
        let lane = &mut self.lanes[end];
        let count = u64::try_from(bytes.len()).unwrap();
        let due = lane.cut.filter(|(at, _)| lane.written + count >= *at);
        let passes = match due {
            Some((at, _)) => usize::try_from(at.saturating_sub(lane.written)).unwrap(),
            None => bytes.len(),
        };
        lane.written += count;
        let arrives = lane.send(&bytes[..passes], road, now);
        let Some((_, cut)) = due else {
            self.wake(1 - end);
            return;
        };
        lane.cut = None;
        self.severed = true;
        // What goes the other way does not get through either.
        let back = &mut self.lanes[1 - end];
        back.on_the_way
            .retain(|item| item.arrives.is_some_and(|at| at <= now));
        if cut.notices != Notices::Writer {
            self.reset(1 - end, arrives);
        }
        if cut.notices != Notices::Reader {
            self.reset(end, Some(now + road.latency * 2));
        }
        self.wake(1 - end);
    }

    /// Tells an end that the connection is broken.
    pub(crate) fn reset(&mut self, end: usize, arrives: Option<Instant>) {
        if self.reset_at(end).is_some() {
            return;
        }
        self.lanes[1 - end].on_the_way.push_back(Item {
            arrives,
            what: What::Reset,
        });
        self.wake(end);
    }

    /// Nothing more is written by an end.
    pub(crate) fn close(&mut self, end: usize, road: Road) {
        let lane = &mut self.lanes[end];
        if lane.closed {
            return;
        }
        lane.closed = true;
        if self.severed {
            return;
        }
        let arrives = lane.arrival(road, Instant::now());
        lane.on_the_way.push_back(Item {
            arrives,
            what: What::End,
        });
        self.wake(1 - end);
    }

    /// An end is dropped. Says whether something was lost by it.
    pub(crate) fn drop_end(&mut self, end: usize, road: Road, noticed: bool) -> bool {
        self.ends[end].gone = true;
        if !noticed {
            return true;
        }
        let unread = self.has_sent(1 - end);
        if unread && !self.severed {
            let arrives = self.lanes[end].arrival(road, Instant::now());
            self.reset(1 - end, arrives);
        } else {
            self.close(end, road);
        }
        unread
    }

    /// Whether something that an end wrote is not read yet.
    pub(crate) fn has_sent(&self, end: usize) -> bool {
        let mut items = self.lanes[end].on_the_way.iter();
        items.any(|item| matches!(item.what, What::Bytes(_)))
    }

    /// Whether what an end writes meets nobody.
    pub(crate) fn is_unheard(&self, end: usize) -> bool {
        self.severed || self.ends[1 - end].gone
    }

    fn is_reset(&self, end: usize, now: Instant) -> bool {
        self.reset_at(end).is_some_and(|at| at <= now)
    }

    fn reset_at(&self, end: usize) -> Option<Instant> {
        let mut resets = self.lanes[1 - end]
            .on_the_way
            .iter()
            .filter(|item| matches!(item.what, What::Reset));
        resets.find_map(|item| item.arrives)
    }

    fn lane(&self, from: IpAddr, to: IpAddr) -> Option<usize> {
        let [a, b] = self.addresses.map(|address| address.ip());
        match () {
            () if (a, b) == (from, to) => Some(0),
            () if (b, a) == (from, to) => Some(1),
            () => None,
        }
    }

    fn wake(&mut self, end: usize) {
        let side = &mut self.ends[end];
        for waker in [side.reader.take(), side.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            on_the_way: VecDeque::new(),
            held: 0,
            written: 0,
            closed: false,
            free_at: Instant::now(),
            cut: None,
            dark_since: None,
        }
    }

    /// Puts bytes on their way; says when they arrive.
    fn send(&mut self, bytes: &[u8], road: Road, now: Instant) -> Option<Instant> {
        if let Some(rate) = road.bytes_per_second {
            let took = Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
            self.free_at = self.free_at.max(now) + took;
        }
        let arrives = self.arrival(road, now);
        if !bytes.is_empty() {
            self.on_the_way.push_back(Item {
                arrives,
                what: What::Bytes(Bytes::copy_from_slice(bytes)),
            });
        }
        arrives
    }

    /// When what is sent at `now` arrives: not before what was sent earlier.
    fn arrival(&self, road: Road, now: Instant) -> Option<Instant> {
        if road.dark {
            return None;
        }
        let before = self.on_the_way.iter().filter_map(|item| item.arrives).max();
        let own = self.free_at.max(now) + road.latency;
        Some(before.map_or(own, |before| before.max(own)))
    }
}
