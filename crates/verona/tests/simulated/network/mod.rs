//! A network in memory: hosts with addresses, roads between them that are slow, dark or cut, and connections with the
//! manners of TCP. Its clock is Tokio's, so a test that pauses that has minutes pass in milliseconds.
//!
//! What is simulated is what a program can notice: what is written arrives in order, later; a buffer in between is
//! bounded; a broken connection is noticed by both ends, by one, or by none for a while; what was on the way is lost.

mod connection;
mod end;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};
use verona::simulated::{Dialling, Pipe, SimulatedNetwork};

use connection::Connection;
pub(crate) use connection::{Cut, Notices};
use end::End;

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Network(Arc<Inside>);

struct Inside {
    state: Mutex<State>,
    /// Rung when a road or a host has changed.
    changed: Notify,
}

struct State {
    listeners: BTreeMap<SocketAddr, mpsc::Sender<Pipe>>,
    connections: BTreeMap<u64, Connection>,
    last: u64,
    usual: Road,
    roads: BTreeMap<(IpAddr, IpAddr), Road>,
    without_power: BTreeSet<IpAddr>,
    cuts: Vec<(IpAddr, IpAddr, Cut)>,
    dialling: BTreeMap<IpAddr, usize>,
    counts: Counts,
}

/// The way from one host to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Road {
    pub(crate) latency: Duration,
    pub(crate) bytes_per_second: Option<u64>,
    /// What both systems together hold of one connection that was written and not read.
    pub(crate) buffer: usize,
    /// Nothing arrives.
    pub(crate) dark: bool,
}

/// What the network saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connections: usize,
    pub(crate) refused: usize,
    pub(crate) cut: usize,
    pub(crate) timed_out: usize,
    pub(crate) reset: usize,
    pub(crate) bytes: u64,
    /// The most connections that one host was opening at once.
    pub(crate) dialling_most: usize,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.refused += other.refused;
        self.cut += other.cut;
        self.timed_out += other.timed_out;
        self.reset += other.reset;
        self.bytes += other.bytes;
        self.dialling_most = self.dialling_most.max(other.dialling_most);
    }
}

impl Network {
    pub(crate) fn new(usual: Road) -> Self {
        Self(Arc::new(Inside {
            state: Mutex::new(State {
                listeners: BTreeMap::new(),
                connections: BTreeMap::new(),
                last: 0,
                usual,
                roads: BTreeMap::new(),
                without_power: BTreeSet::new(),
                cuts: Vec::new(),
                dialling: BTreeMap::new(),
                counts: Counts::default(),
            }),
            changed: Notify::new(),
        }))
    }

    /// Changes the way from one host to another.
    pub(crate) fn pave(&self, from: IpAddr, to: IpAddr, change: impl FnOnce(&mut Road)) {
        let mut state = self.state();
        let mut road = state.road(from, to);
        let was_dark = road.dark;
        change(&mut road);
        state.roads.insert((from, to), road);
        match (was_dark, road.dark) {
            (false, true) => self.darkened(&mut state, from, to),
            (true, false) => state.lit(from, to, road.latency),
            (true, true) | (false, false) => {}
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Cuts what goes from one host to another after so many more bytes: of every connection that there is, or of the
    /// next one.
    pub(crate) fn cut(&self, from: IpAddr, to: IpAddr, cut: Cut) {
        let mut state = self.state();
        let mut found = false;
        for connection in state.connections.values_mut() {
            found |= connection.arm(from, to, cut);
        }
        if !found {
            state.cuts.push((from, to, cut));
        }
    }

    /// Cuts the next connection that is opened between the two.
    pub(crate) fn cut_next(&self, from: IpAddr, to: IpAddr, cut: Cut) {
        self.state().cuts.push((from, to, cut));
    }

    /// Forgets the cuts that nothing has met yet.
    pub(crate) fn disarm(&self) {
        let mut state = self.state();
        state.cuts.clear();
        for connection in state.connections.values_mut() {
            connection.disarm();
        }
    }

    /// The host loses its power: what its programs drop from here on is noticed by nobody, and nobody gets in.
    pub(crate) fn power_off(&self, host: IpAddr) {
        self.state().without_power.insert(host);
    }

    /// It is back, and knows of no connection.
    pub(crate) fn power_on(&self, host: IpAddr) {
        self.state().without_power.remove(&host);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// How many connections have an end at `host`.
    pub(crate) fn open(&self, host: IpAddr) -> usize {
        let state = self.state();
        let at = |connection: &&Connection| connection.has_open(host);
        state.connections.values().filter(at).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Whoever hears nothing for so long has the connection broken by its system.
    fn darkened(&self, state: &mut State, from: IpAddr, to: IpAddr) {
        let now = Instant::now();
        for connection in state.connections.values_mut() {
            connection.hold(from, to, now);
        }
        let network = self.clone();
        tokio::spawn(async move {
            sleep(SILENCE).await;
            let mut state = network.state();
            let state = &mut *state;
            if !state.road(from, to).dark {
                return;
            }
            for connection in state.connections.values_mut() {
                if connection.leads(from, to) && connection.dark_since(from, to, now) {
                    connection.time_out();
                    state.counts.timed_out += 1;
                }
            }
        });
    }

    /// A connection that one end at least does not know to be broken is given up when nothing was heard for long.
    fn expire(&self, id: u64) {
        let network = self.clone();
        // At the very end of a test there is nobody left who would wait.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                sleep(SILENCE).await;
                if let Some(connection) = network.state().connections.get_mut(&id) {
                    connection.time_out();
                }
            });
        }
    }

    async fn connect(self, from: IpAddr, to: SocketAddr) -> io::Result<Pipe> {
        let _count = Opening::new(&self, from);
        loop {
            let changed = self.0.changed.notified();
            let road = {
                let state = self.state();
                let (there, back) = (state.road(from, to.ip()), state.road(to.ip(), from));
                let off = [from, to.ip()]
                    .iter()
                    .any(|host| state.without_power.contains(host));
                (!off && !there.dark && !back.dark).then(|| there.latency + back.latency)
            };
            match road {
                Some(round_trip) => {
                    sleep(round_trip).await;
                    break;
                }
                None => changed.await,
            }
        }
        let mut state = self.state();
        let Some(listener) = state
            .listeners
            .get(&to)
            .filter(|listener| !listener.is_closed())
        else {
            state.counts.refused += 1;
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let listener = listener.clone();
        state.last += 1;
        let id = state.last;
        let port = u16::try_from(10_000 + id % 50_000).unwrap();
        let from = SocketAddr::new(from, port);
        let mut connection = Connection::new([from, to]);
        if let Some(index) = state
            .cuts
            .iter()
            .position(|(a, b, _)| connection.leads(*a, *b))
        {
            let (a, b, cut) = state.cuts.remove(index);
            connection.arm(a, b, cut);
        }
        state.connections.insert(id, connection);
        state.counts.connections += 1;
        drop(state);
        let ours = Pipe::new(End::new(&self, id, 0), from, to);
        let theirs = Pipe::new(End::new(&self, id, 1), to, from);
        match listener.try_send(theirs) {
            Ok(()) => Ok(ours),
            // Dropping the ends forgets the connection.
            Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

impl SimulatedNetwork for Network {
    fn dial(&self, source: Option<IpAddr>, to: SocketAddr) -> Dialling {
        // Every engine of these tests says where its connections come from.
        let from = source.unwrap();
        Box::pin(self.clone().connect(from, to))
    }

    fn listen(&self, at: SocketAddr) -> io::Result<(SocketAddr, mpsc::Receiver<Pipe>)> {
        let mut state = self.state();
        if state
            .listeners
            .get(&at)
            .is_some_and(|listener| !listener.is_closed())
        {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        state.listeners.insert(at, sender);
        Ok((at, receiver))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network(..)")
    }
}

impl State {
    fn road(&self, from: IpAddr, to: IpAddr) -> Road {
        self.roads.get(&(from, to)).copied().unwrap_or(self.usual)
    }

    fn lit(&mut self, from: IpAddr, to: IpAddr, latency: Duration) {
        let now = Instant::now();
        for connection in self.connections.values_mut() {
            connection.release(from, to, now + latency);
        }
    }
}

/// Counts a host's connections that are being opened.
struct Opening<'a>(&'a Network, IpAddr);

impl<'a> Opening<'a> {
    fn new(network: &'a Network, host: IpAddr) -> Self {
        let mut state = network.state();
        let dialling = state.dialling.entry(host).or_default();
        *dialling += 1;
        let dialling = *dialling;
        state.counts.dialling_most = state.counts.dialling_most.max(dialling);
        Self(network, host)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        *self.0.state().dialling.entry(self.1).or_default() -= 1;
    }
}

/// As the engine asks of the system (`notice_death`), with the probes that are due by then.
const SILENCE: Duration = Duration::from_secs(90);
/// Connections that a listener has not accepted yet.
const BACKLOG: usize = 1024;

#[cfg(test)]
mod tests;
