//! Reads into memory that the connections of one thread share.

use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use crate::memory;

/// Waits until there is something to read, and appends it to `incoming`, `most` bytes and [`READ_BYTES`] at most; 0 means
/// the end. Giving up the wait loses nothing.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    incoming: &mut BytesMut,
    most: usize,
) -> io::Result<usize> {
    read_or_say(reader, incoming, most, &mut false).await
}

/// The same; `nothing_there` says whether there was nothing when it was last looked at.
pub(crate) async fn read_or_say<R: AsyncRead + Unpin>(
    reader: &mut R,
    incoming: &mut BytesMut,
    most: usize,
    nothing_there: &mut bool,
) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        memory::borrow(|memory| {
            // Nothing at all would be taken for the end.
            let room = most.clamp(1, READ_BYTES).min(memory.len());
            let (room, _) = memory.split_at_mut(room);
            let mut buffer = ReadBuf::new(room);
            let polled = Pin::new(&mut *reader).poll_read(context, &mut buffer);
            *nothing_there = polled.is_pending();
            ready!(polled)?;
            incoming.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

/// A read takes at most this much.
pub(crate) const READ_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[tokio::test]
    async fn what_is_read_is_appended_and_the_end_is_nothing() {
        let mut incoming = BytesMut::new();
        for (text, expected) in [("one", 3), ("two", 3), ("", 0)] {
            let mut reader = text.as_bytes();
            let read = read(&mut reader, &mut incoming, READ_BYTES).await;
            assert_eq!(read.unwrap(), expected);
        }
        assert_eq!(incoming, "onetwo");
        let long = vec![b'x'; READ_BYTES + 13];
        let mut reader = long.as_slice();
        incoming.clear();
        for (most, expected) in [(usize::MAX, READ_BYTES), (0, 1), (7, 7), (7, 5)] {
            let read = read(&mut reader, &mut incoming, most).await;
            assert_eq!(read.unwrap(), expected);
        }
        assert_eq!(incoming, long);
    }

    #[tokio::test]
    async fn it_is_known_when_everything_was_read() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let mut incoming = BytesMut::new();
        tokio::io::AsyncWriteExt::write_all(&mut there, b"one")
            .await
            .unwrap();
        let mut nothing_there = false;
        let one = read_or_say(&mut here, &mut incoming, 64, &mut nothing_there).await;
        assert_eq!((one.unwrap(), nothing_there), (3, false));
        tokio::select! {
            biased;
            _ = read_or_say(&mut here, &mut incoming, 64, &mut nothing_there) => {}
            () = std::future::ready(()) => {}
        }
        assert!(nothing_there);
    }
}
