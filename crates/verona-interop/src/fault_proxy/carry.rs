//! One direction of one connection: bytes are taken in, wait as long as the line is long, and are given out.
//! Why in two halves: with a delay of 100 ms more than one piece must be under way at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Plan;
use super::fault::{Direction, Marks, Shape};
use crate::chance::Chance;

/// What one connection is told and tells.
#[derive(Debug)]
pub(super) struct Track {
    /// Bytes given out so far.
    pub(super) passed: [AtomicU64; 2],
    pub(super) orders: watch::Sender<Orders>,
}

/// What was ordered for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) is_cut: bool,
    /// Nothing passes on this connection, whatever is told to all.
    pub(super) is_stranded: bool,
    pub(super) marks: [Marks; 2],
}

impl Track {
    pub(super) fn new(marks: [Marks; 2]) -> Self {
        let orders = Orders {
            is_cut: false,
            is_stranded: false,
            marks,
        };
        Self {
            passed: [AtomicU64::new(0), AtomicU64::new(0)],
            orders: watch::Sender::new(orders),
        }
    }

    pub(super) fn cut(&self) {
        self.orders.send_modify(|orders| orders.is_cut = true);
    }

    /// Until it is cut.
    pub(super) async fn is_cut(&self) {
        // An error would mean that the sender, which is ours, is gone.
        let _ = self
            .orders
            .subscribe()
            .wait_for(|orders| orders.is_cut)
            .await;
    }
}

/// What waits in the line.
enum Parcel {
    Bytes(Instant, Vec<u8>),
    End(Instant),
}

/// Carries bytes until the reading end has no more. An error of either end cuts both.
pub(super) async fn carry(
    (reader, writer): (ReadHalf<'_>, WriteHalf<'_>),
    direction: Direction,
    track: &Track,
    plan: watch::Receiver<Plan>,
    chance: Chance,
) {
    // What the line holds; more than that waits in the sender's system.
    let (send, receive) = mpsc::channel(PARCELS);
    let line = Line {
        direction,
        track,
        plan: plan.clone(),
    };
    let give = Line {
        direction,
        track,
        plan,
    };
    let (taken, given) = tokio::join!(line.take(reader, send, chance), give.give(writer, receive));
    if taken.is_err() || given.is_err() {
        track.cut();
    }
}

struct Line<'a> {
    direction: Direction,
    track: &'a Track,
    plan: watch::Receiver<Plan>,
}

impl Line<'_> {
    async fn take(
        mut self,
        mut reader: ReadHalf<'_>,
        send: mpsc::Sender<Parcel>,
        mut chance: Chance,
    ) -> std::io::Result<()> {
        // A connection takes a round trip to make, which the system beside us did not need.
        let mut connected = Instant::now();
        if self.direction == Direction::ToServer {
            connected += self
                .plan
                .borrow()
                .shapes
                .map(|shape| shape.latency)
                .iter()
                .sum::<Duration>();
        }
        let mut last = connected;
        loop {
            self.until_it_flows().await;
            let mut buffer = vec![0; PARCEL_BYTES];
            let length = reader.read(&mut buffer).await?;
            buffer.truncate(length);
            let shape = self.shape();
            let late = shape.latency + chance.time(Duration::ZERO, shape.jitter);
            last = last.max(connected.max(Instant::now()) + late);
            let parcel = match length {
                0 => Parcel::End(last),
                _ => Parcel::Bytes(last, buffer),
            };
            if send.send(parcel).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    }

    async fn give(
        mut self,
        mut writer: WriteHalf<'_>,
        mut receive: mpsc::Receiver<Parcel>,
    ) -> std::io::Result<()> {
        let mut is_shut = false;
        while let Some(parcel) = receive.recv().await {
            match parcel {
                Parcel::Bytes(due, bytes) => {
                    sleep_until(due).await;
                    is_shut = self.pieces(&mut writer, bytes, is_shut).await?;
                }
                Parcel::End(due) => {
                    sleep_until(due).await;
                    self.until_it_flows().await;
                    if !is_shut {
                        writer.shutdown().await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives out one parcel, piece by piece; says whether the receiver was told that nothing more comes.
    async fn pieces(
        &mut self,
        writer: &mut WriteHalf<'_>,
        mut bytes: Vec<u8>,
        mut is_shut: bool,
    ) -> std::io::Result<bool> {
        let mut rest = bytes.as_mut_slice();
        while !rest.is_empty() {
            self.until_it_flows().await;
            let shape = self.shape();
            let passed = self.passed().load(Ordering::Relaxed);
            let marks = self.marks();
            if marks.cut_at.is_some_and(|mark| mark <= passed) {
                self.track.cut();
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            if !is_shut && marks.half_close_at.is_some_and(|mark| mark <= passed) {
                writer.shutdown().await?;
                is_shut = true;
            }
            let most = marks.until(passed, rest.len()).min(piece_max(&shape));
            let (piece, after) = rest.split_at_mut(most);
            if marks.corrupt_at == Some(passed) {
                piece.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            }
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            // Before it can be seen at the other end.
            self.passed().fetch_add(length, Ordering::Relaxed);
            if !is_shut {
                writer.write_all(piece).await?;
            }
            if let Some(pace) = shape.bytes_per_second {
                let wait = Duration::from_nanos(length.saturating_mul(1_000_000_000) / pace.max(1));
                self.rest_for(wait).await;
            }
            rest = after;
        }
        // A mark at the very end must not wait for a byte that may never come.
        let passed = self.passed().load(Ordering::Relaxed);
        let marks = self.marks();
        if marks.cut_at.is_some_and(|mark| mark <= passed) {
            self.track.cut();
        }
        if !is_shut && marks.half_close_at.is_some_and(|mark| mark <= passed) {
            writer.shutdown().await?;
            is_shut = true;
        }
        Ok(is_shut)
    }

    /// Waits as long as nothing may pass.
    async fn until_it_flows(&mut self) {
        let at = self.direction as usize;
        let flows = |plan: &Plan| !plan.shapes[at].is_stalled;
        // An error means that the proxy ends, and this with it.
        let _ = self.plan.wait_for(flows).await;
        let mut orders = self.track.orders.subscribe();
        let _ = orders.wait_for(|orders| !orders.is_stranded).await;
    }

    /// Waits, but not for a pace that was changed meanwhile.
    async fn rest_for(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        let before = self.shape();
        while timeout_at(until, self.plan.changed())
            .await
            .is_ok_and(|changed| changed.is_ok())
        {
            if self.shape() != before {
                return;
            }
        }
    }

    fn shape(&self) -> Shape {
        self.plan.borrow().shapes[self.direction as usize]
    }

    fn marks(&self) -> Marks {
        self.track.orders.borrow().marks[self.direction as usize]
    }

    fn passed(&self) -> &AtomicU64 {
        &self.track.passed[self.direction as usize]
    }
}

/// Pieces of a slow line are small, so that it is slow all the time and not fast at times.
fn piece_max(shape: &Shape) -> usize {
    let by_pace = shape.bytes_per_second.map_or(usize::MAX, |pace| {
        usize::try_from(pace / 50).unwrap_or(usize::MAX)
    });
    shape.slice_bytes.unwrap_or(usize::MAX).min(by_pace).max(1)
}

const PARCEL_BYTES: usize = 16 * 1024;
const PARCELS: usize = 64;
