//! What a program holds of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use super::connection::Progress;
use super::{Network, State};

/// One end of a connection.
pub(super) struct End {
    network: Network,
    connection: u64,
    end: usize,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl End {
    pub(super) fn new(network: &Network, connection: u64, end: usize) -> Self {
        Self {
            network: network.clone(),
            connection,
            end,
            reading: None,
            writing: None,
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let read = {
                let mut state = this.network.state();
                let connection = state.connections.get_mut(&this.connection).unwrap();
                connection.read(this.end, buffer.remaining(), context.waker())
            };
            match read {
                Progress::Done(Ok(bytes)) => {
                    buffer.put_slice(&bytes);
                    return Poll::Ready(Ok(()));
                }
                Progress::Done(Err(error)) => return Poll::Ready(Err(error)),
                Progress::Wait(until) => {
                    if wait(&mut this.reading, until, context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let (written, severed) =
                this.network
                    .state()
                    .write(this.connection, this.end, bytes, context);
            if severed {
                this.network.expire(this.connection);
            }
            match written {
                Progress::Done(result) => return Poll::Ready(result),
                Progress::Wait(until) => {
                    if wait(&mut this.writing, until, context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is the system's.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let connection = &state.connections[&self.connection];
        let (from, to) = connection.hosts(self.end);
        let road = state.road(from, to);
        let connection = state.connections.get_mut(&self.connection).unwrap();
        connection.close(self.end, road);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let state = &mut *state;
        let (from, to) = state.connections[&self.connection].hosts(self.end);
        let road = state.road(from, to);
        let noticed = !state.without_power.contains(&from);
        let connection = state.connections.get_mut(&self.connection).unwrap();
        let was_severed = connection.is_severed();
        if connection.drop_end(self.end, road, noticed) && !was_severed {
            state.counts.reset += 1;
        }
        if connection.is_gone() {
            state.connections.remove(&self.connection);
        } else if !noticed {
            self.network.expire(self.connection);
        }
    }
}

impl State {
    fn write(
        &mut self,
        id: u64,
        end: usize,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> (Progress<io::Result<usize>>, bool) {
        let (from, to) = self.connections[&id].hosts(end);
        let road = self.road(from, to);
        let answers = !self.without_power.contains(&to) && !road.dark && !self.road(to, from).dark;
        let connection = self.connections.get_mut(&id).unwrap();
        let was_severed = connection.is_severed();
        let was_unheard = connection.is_unheard(end);
        let written = connection.write(end, bytes, road, context.waker());
        if let Progress::Done(Ok(count)) = written {
            self.counts.bytes += u64::try_from(count).unwrap();
        }
        let severed = connection.is_severed() && !was_severed;
        if severed {
            self.counts.cut += 1;
        }
        if was_unheard && answers && matches!(written, Progress::Done(Ok(_))) {
            // The other system knows of no such connection.
            let told = Instant::now() + road.latency * 2 + RETRANSMITTED;
            connection.reset(end, Some(told));
        }
        (written, severed)
    }
}

/// Waits for a moment, for ever if there is none.
fn wait(
    timer: &mut Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
    context: &mut Context<'_>,
) -> Poll<()> {
    match (until, &mut *timer) {
        (None, _) => {
            *timer = None;
            Poll::Pending
        }
        (Some(until), Some(sleep)) => {
            if sleep.deadline() != until {
                sleep.as_mut().reset(until);
            }
            sleep.as_mut().poll(context)
        }
        (Some(until), none) => none
            .insert(Box::pin(sleep_until(until)))
            .as_mut()
            .poll(context),
    }
}

/// Before a system sends again what nobody acknowledged.
const RETRANSMITTED: Duration = Duration::from_millis(200);
