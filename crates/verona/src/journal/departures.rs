//! Copies of what was written to a connection, kept until the system has sent it (SM-11).
//!
//! What the system has taken and not sent it throws away when this process is killed: as soon as the other end says one
//! more word, it answers that nobody is there any more. What it has sent is with the other end, which lives on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};
use verona_proto::stanza::{Safekeeping, Stanza};

/// What of the kept messages one connection has written and the system may still have.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// The socket, where there is one that can be asked.
    socket: Option<OwnedFd>,
    /// Where each ends in all that is written, in order.
    copies: VecDeque<(u64, Safekeeping)>,
    next: Option<Instant>,
}

impl Departures {
    /// Of a TCP connection.
    ///
    /// # Errors
    /// The system does not tell what it has sent.
    pub(crate) fn of(tcp: &TcpStream) -> io::Result<Self> {
        // Then the socket takes more only when it has sent all that it had, and says so by that. Other systems have no such
        // word.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        socket2::SockRef::from(tcp).set_tcp_notsent_lowat(1)?;
        Ok(Self {
            socket: Some(tcp.as_fd().try_clone_to_owned()?),
            ..Self::default()
        })
    }

    /// A stanza is written up to `end` in all that is written.
    pub(crate) fn keep(&mut self, end: u64, stanza: &Stanza) {
        if let Some(safekeeping) = stanza.safekeeping() {
            self.copies.push_back((end, safekeeping.clone()));
        }
    }

    /// The system has taken everything up to `written`: lets go of what it has sent.
    pub(crate) fn look(&mut self, written: u64) {
        let is_taken = |(end, _): &(u64, Safekeeping)| *end <= written;
        if !self.copies.front().is_some_and(is_taken) {
            self.next = None;
            return;
        }
        if !self.are_all_sent() {
            self.next = Some(Instant::now() + LOOK);
            return;
        }
        while self.copies.front().is_some_and(is_taken) {
            self.copies.pop_front();
        }
        self.next = None;
    }

    /// When to look again, if not after the next write.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether to write no more before the system has sent what it has: behind one who reads slowly and never stops there
    /// would always be something.
    pub(crate) fn are_many(&self) -> bool {
        self.next.is_some() && self.copies.len() >= COPIES_MAX
    }

    fn are_all_sent(&self) -> bool {
        let Some(socket) = &self.socket else {
            // A socket in the file system puts all that it takes at the other end.
            return true;
        };
        let mut asked = [PollFd::new(socket, PollFlags::OUT)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // One that is broken takes everything and sends nothing.
        poll(&mut asked, Some(&at_once)).is_ok()
            && asked.iter().all(|one| one.revents() == PollFlags::OUT)
    }
}

/// How often the system is asked.
const LOOK: Duration = Duration::from_millis(10);
/// Stanzas of one connection that may wait for the last of them to leave.
const COPIES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use std::io::ErrorKind;
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use verona_proto::addr::Jid;
    use verona_proto::stanza::StanzaKind;

    use super::*;
    use crate::shared::lock;

    /// Both ends of a connection.
    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
        (accepted.unwrap().0, dialled.unwrap())
    }

    /// A message whose copy has this number.
    fn kept(number: u64, released: &Arc<Mutex<Vec<u64>>>) -> Stanza {
        let note = Arc::clone(released);
        let jid = |text| Jid::parse(text).unwrap();
        let (from, to) = (jid("romeo@montague.lit"), jid("room@rooms.capulet.lit"));
        Stanza::build(StanzaKind::Message, &from, &to, None, Some("1"), "").in_safekeeping(
            Safekeeping::new(number, Arc::new(move |number| lock(&note).push(number))),
        )
    }

    /// Writes until the system takes no more; how much it took.
    async fn fill(tcp: &TcpStream) -> u64 {
        let mut written = 0;
        loop {
            tcp.writable().await.unwrap();
            match tcp.try_write(&[b' '; 100_000]) {
                Ok(count) => written += u64::try_from(count).unwrap(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_copy_is_let_go_when_the_system_has_sent_what_it_stands_for() {
        //= SM-11
        let released: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (ours, mut theirs) = connected().await;
        let mut departures = Departures::of(&ours).unwrap();
        departures.keep(5, &kept(1, &released));
        departures.look(4);
        assert_eq!((departures.next(), lock(&released).len()), (None, 0));
        ours.writable().await.unwrap();
        assert_eq!(ours.try_write(b"<one>").unwrap(), 5);
        departures.look(5);
        assert_eq!(*lock(&released), [1], "the other end takes it");
        let written = 5 + fill(&ours).await;
        departures.keep(written, &kept(2, &released));
        departures.look(written);
        assert!(departures.next().is_some(), "the system still has some");
        assert_eq!(*lock(&released), [1]);
        let mut left = usize::try_from(written).unwrap();
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            left -= theirs.read(&mut buffer).await.unwrap();
        }
        departures.look(written);
        assert_eq!(*lock(&released), [1, 2]);
        assert_eq!(departures.next(), None);
    }

    #[tokio::test]
    async fn what_is_broken_has_sent_nothing() {
        let released: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (ours, theirs) = connected().await;
        let mut departures = Departures::of(&ours).unwrap();
        let written = fill(&ours).await;
        departures.keep(written, &kept(1, &released));
        // With something that it has not read: a reset.
        drop(theirs);
        tokio::time::sleep(Duration::from_millis(50)).await;
        departures.look(written);
        assert!(lock(&released).is_empty());
        drop(departures);
        assert_eq!(*lock(&released), [1], "whoever had it ends");
    }

    #[tokio::test]
    async fn no_more_is_written_while_the_system_has_much() {
        let released: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (ours, _theirs) = connected().await;
        let mut departures = Departures::of(&ours).unwrap();
        let written = fill(&ours).await;
        for number in 0..2_000 {
            departures.keep(written + number, &kept(number, &released));
        }
        assert!(!departures.are_many(), "nothing of it is known to be taken");
        departures.look(written);
        assert!(departures.are_many());
    }
}
