//! A TCP proxy that does to connections what networks do: it delays, stalls, cuts, corrupts, and loses.
//! Why our own: it must act at a byte, on command of the test that counts what comes of it, and without a network that
//! only root can break.

mod carry;
pub mod command;
mod fault;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::chance::Chance;
use crate::process::lock;
use carry::{Track, carry};
pub use fault::{Direction, Door, Marks, Shape};

/// A running proxy in front of one server; it and all its connections end when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    plan: watch::Sender<Plan>,
    tracks: Arc<Tracks>,
    task: JoinHandle<()>,
}

/// What all connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    upstream: SocketAddr,
    shapes: [Shape; 2],
    door: Door,
}

#[derive(Debug, Default)]
struct Tracks {
    open: Mutex<BTreeMap<u64, Arc<Track>>>,
    /// What the connections to come are told, the next one first.
    armed: Mutex<Vec<[Marks; 2]>>,
}

/// How much one open connection has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its number, from 0, in the order of their arrival.
    pub number: u64,
    /// Bytes that the server was given.
    pub to_server: u64,
    /// Bytes that the dialling end was given.
    pub to_dialer: u64,
}

impl FaultProxy {
    /// Listens at `listen` and connects whoever comes with `upstream`; chance comes from `seed`.
    ///
    /// # Errors
    /// The address is not free.
    pub fn start(listen: SocketAddr, upstream: SocketAddr, seed: u64) -> Result<Self> {
        let runtime = runtime()?;
        // Sockets belong to the runtime in which they are made.
        let _inside = runtime.enter();
        let listener =
            bind(listen).with_context(|| format!("listening as a fault proxy at {listen}"))?;
        let address = listener.local_addr()?;
        let plan = watch::Sender::new(Plan {
            upstream,
            shapes: [Shape::default(); 2],
            door: Door::Open,
        });
        let tracks = Arc::new(Tracks::default());
        let task = runtime.spawn(
            Porter {
                address,
                plan: plan.subscribe(),
                tracks: Arc::clone(&tracks),
                chance: Chance::new(seed),
                next: 0,
                connections: JoinSet::new(),
                fillers: BTreeSet::new(),
            }
            .serve(Some(listener)),
        );
        Ok(Self {
            address,
            plan,
            tracks,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that are open.
    #[must_use]
    pub fn connections(&self) -> Vec<Passed> {
        let load = |track: &Track, direction: Direction| {
            track.passed[direction as usize].load(Ordering::Relaxed)
        };
        lock(&self.tracks.open)
            .iter()
            .map(|(number, track)| Passed {
                number: *number,
                to_server: load(track, Direction::ToServer),
                to_dialer: load(track, Direction::ToDialer),
            })
            .collect()
    }

    /// From here on bytes travel so in this direction, on every connection.
    pub fn shape(&self, direction: Direction, shape: Shape) {
        self.plan
            .send_modify(|plan| plan.shapes[direction as usize] = shape);
    }

    /// Delays both directions by a fixed time. A connection's first bytes come a round trip later still, as they would
    /// behind a handshake of TCP over such a line.
    pub fn delay(&self, each_way: Duration) {
        for direction in Direction::ALL {
            let shape = Shape {
                latency: each_way,
                ..Shape::default()
            };
            self.shape(direction, shape);
        }
    }

    /// Nothing passes in this direction; connections stay open.
    pub fn stall(&self, direction: Direction) {
        self.plan
            .send_modify(|plan| plan.shapes[direction as usize].is_stalled = true);
    }

    /// Nothing passes, connections stay open, and whoever connects is not answered.
    pub fn black_hole(&self) {
        self.plan.send_modify(|plan| {
            plan.door = Door::Hangs;
            for shape in &mut plan.shapes {
                shape.is_stalled = true;
            }
        });
    }

    /// Who connects is refused; connections stay as they are.
    pub fn refuse(&self) {
        self.plan.send_modify(|plan| plan.door = Door::Refuses);
    }

    /// As at the beginning: everything passes, at once.
    pub fn heal(&self) {
        self.plan.send_modify(|plan| {
            plan.door = Door::Open;
            plan.shapes = [Shape::default(); 2];
        });
    }

    /// Connections to come lead to another server.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.plan.send_modify(|plan| plan.upstream = upstream);
    }

    /// Ends every open connection with an RST to both ends; says how many there were.
    pub fn cut(&self) -> usize {
        let open = lock(&self.tracks.open);
        open.values().for_each(|track| track.cut());
        open.len()
    }

    /// On the open connections nothing passes any more, not even their end; connections to come are as the others.
    pub fn strand(&self) {
        for track in lock(&self.tracks.open).values() {
            track.orders.send_modify(|orders| orders.is_stranded = true);
        }
    }

    /// Cuts every open connection once so many more bytes have passed in this direction.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.mark(direction, |marks, passed| {
            marks.cut_at = Some(passed + bytes);
        });
    }

    /// Tells the receiving end of every open connection, by a FIN, that nothing more comes in this direction once so
    /// many more bytes have passed; what comes all the same is thrown away.
    pub fn half_close_after(&self, direction: Direction, bytes: u64) {
        self.mark(direction, |marks, passed| {
            marks.half_close_at = Some(passed + bytes);
        });
    }

    /// Changes a bit of a byte of every open connection, so many bytes from here.
    pub fn corrupt_after(&self, direction: Direction, bytes: u64) {
        self.mark(direction, |marks, passed| {
            marks.corrupt_at = Some(passed + bytes);
        });
    }

    /// What happens to the next connection that nothing was said about, by direction.
    pub fn arm(&self, to_server: Marks, to_dialer: Marks) {
        lock(&self.tracks.armed).push([to_server, to_dialer]);
    }

    fn mark(&self, direction: Direction, change: impl Fn(&mut Marks, u64)) {
        for track in lock(&self.tracks.open).values() {
            let at = direction as usize;
            let passed = track.passed[at].load(Ordering::Relaxed);
            track
                .orders
                .send_modify(|orders| change(&mut orders.marks[at], passed));
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Its connections are its children and end with it.
        self.task.abort();
    }
}

/// Stands at the door.
struct Porter {
    address: SocketAddr,
    plan: watch::Receiver<Plan>,
    tracks: Arc<Tracks>,
    chance: Chance,
    next: u64,
    connections: JoinSet<()>,
    /// Where connections come from that we made ourselves to fill the queue before the door.
    fillers: BTreeSet<SocketAddr>,
}

impl Porter {
    async fn serve(mut self, mut listener: Option<TcpListener>) {
        loop {
            let plan = *self.plan.borrow_and_update();
            match (plan.door, &listener) {
                (Door::Open, Some(open)) => {
                    tokio::select! {
                        accepted = open.accept() => self.admit(accepted, plan.upstream).await,
                        changed = self.plan.changed() => if changed.is_err() { return },
                        Some(_) = self.connections.join_next() => {}
                    }
                }
                (Door::Open | Door::Hangs, None) => {
                    listener = bind(self.address).ok();
                    if listener.is_none() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                (Door::Hangs, Some(_)) => {
                    let _fillers = self.fill().await;
                    if self.plan.changed().await.is_err() {
                        return;
                    }
                }
                (Door::Refuses, _) => {
                    listener = None;
                    if self.plan.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn admit(
        &mut self,
        accepted: std::io::Result<(TcpStream, SocketAddr)>,
        upstream: SocketAddr,
    ) {
        match accepted {
            Ok((_, from)) if self.fillers.remove(&from) => {}
            Ok((stream, _)) => {
                let number = self.next;
                self.next += 1;
                let mut armed = lock(&self.tracks.armed);
                let marks = match armed.is_empty() {
                    true => [Marks::default(); 2],
                    false => armed.remove(0),
                };
                drop(armed);
                let connection = Connection {
                    number,
                    track: Arc::new(Track::new(marks)),
                    tracks: Arc::clone(&self.tracks),
                };
                let (plan, seed) = (self.plan.clone(), self.chance.next());
                self.connections
                    .spawn(connection.serve(stream, upstream, plan, seed));
            }
            // Out of descriptors, for example: whoever waits is taken later.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }

    /// Fills the queue before the door. The system loses the SYN of whoever comes then, as a broken line would.
    async fn fill(&mut self) -> Vec<TcpStream> {
        let mut fillers = Vec::new();
        while fillers.len() < FILLERS_MAX {
            let connect = timeout(FILLED_AFTER, TcpStream::connect(self.address)).await;
            let Ok(Ok(filler)) = connect else {
                break;
            };
            self.fillers.extend(filler.local_addr());
            fillers.push(filler);
        }
        fillers
    }
}

/// A connection with its place in the list of those that are open.
struct Connection {
    number: u64,
    track: Arc<Track>,
    tracks: Arc<Tracks>,
}

impl Connection {
    async fn serve(
        self,
        mut near: TcpStream,
        upstream: SocketAddr,
        plan: watch::Receiver<Plan>,
        seed: u64,
    ) {
        lock(&self.tracks.open).insert(self.number, Arc::clone(&self.track));
        let Ok(Ok(mut far)) = timeout(CONNECT_MAX, TcpStream::connect(upstream)).await else {
            // Whoever dialled learns that nobody is there.
            let _ = near.set_zero_linger();
            return;
        };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let ((near_reader, near_writer), (far_reader, far_writer)) = (near.split(), far.split());
        let mut chance = Chance::new(seed);
        let both = async {
            tokio::join!(
                carry(
                    (near_reader, far_writer),
                    Direction::ToServer,
                    &self.track,
                    plan.clone(),
                    Chance::new(chance.next()),
                ),
                carry(
                    (far_reader, near_writer),
                    Direction::ToDialer,
                    &self.track,
                    plan.clone(),
                    Chance::new(chance.next()),
                ),
            )
        };
        tokio::select! {
            biased;
            () = self.track.is_cut() => {}
            _ = both => {}
        }
        if self.track.orders.borrow().is_cut {
            // With nothing to wait for, the system ends a connection by an RST.
            let _ = (near.set_zero_linger(), far.set_zero_linger());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.tracks.open).remove(&self.number);
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// One runtime for all proxies of a process.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fault-proxy")
        .enable_all()
        .build()
        .context("starting the runtime of the fault proxies")?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Connections that the system makes before we take them: few, so that the queue can be filled.
const BACKLOG: u32 = 16;
/// The queue takes one more than it says; the rest is for those who came before us.
const FILLERS_MAX: usize = BACKLOG as usize + 2;
/// On loopback a connection that does not come at once does not come.
const FILLED_AFTER: Duration = Duration::from_millis(100);
const CONNECT_MAX: Duration = Duration::from_secs(10);
