//! Stands between a component and verona and can cut the line.
//! Why: whether a component comes back when verona was restarted or the network failed is the library's doing, and what
//! an operator wants to know first.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result};

use crate::process::free_ports;

/// Passes every connection on, both ways, until it is cut.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    lines: Receiver<TcpStream>,
}

impl Relay {
    /// Listens on loopback for connections to `target`. Its threads end with the program or with their connection.
    pub(crate) fn start(target: SocketAddr) -> Result<Self> {
        let address = free_ports([127, 0, 0, 1], 1)?
            .pop()
            .context("no free port")?;
        let listener = TcpListener::bind(address).context("listening for a component")?;
        let (opened, lines) = channel();
        thread::spawn(move || {
            // It ends when nobody is left to cut what it would open.
            while let Ok((near, _)) = listener.accept() {
                if join(&near, target, &opened).is_err() && opened.send(near).is_err() {
                    break;
                }
            }
        });
        Ok(Self { address, lines })
    }

    /// Ends all connections that there are, without a word, as a restart or a broken network does. New ones are passed on.
    pub(crate) fn cut(&self) -> usize {
        // All of them first: who is cut off may be back before the next is, and is not meant.
        let lines: Vec<TcpStream> = self.lines.try_iter().collect();
        for line in &lines {
            // It may be gone already.
            let _ = line.shutdown(Shutdown::Both);
        }
        lines.len()
    }
}

fn join(near: &TcpStream, target: SocketAddr, opened: &Sender<TcpStream>) -> io::Result<()> {
    let far = TcpStream::connect(target)?;
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    opened.send(near.try_clone()?).map_err(gone)?;
    opened.send(far.try_clone()?).map_err(gone)?;
    pass(near.try_clone()?, far.try_clone()?);
    pass(far, near.try_clone()?);
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // How it ended is seen by both ends.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_cut_off_and_comes_back_at_once_is_not_cut_again() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(target.local_addr().unwrap()).unwrap();
        let (arrived, arrivals) = channel();
        thread::spawn(move || {
            for line in target.incoming().map_while(Result::ok) {
                let mut line = line;
                if line.write_all(b"x").is_err() || arrived.send(line).is_err() {
                    return;
                }
            }
        });
        let address = relay.address;
        let (seen, heard) = channel();
        thread::spawn(move || {
            while let Ok(mut line) = TcpStream::connect(address) {
                let mut byte = [0];
                // Once it is through, until it is cut.
                while line.read(&mut byte).is_ok_and(|count| count > 0) {
                    if seen.send(()).is_err() {
                        return;
                    }
                }
            }
        });
        let patience = Duration::from_secs(10);
        for _ in 0..50 {
            heard.recv_timeout(patience).unwrap();
            assert_eq!(relay.cut(), 2, "both halves of one line");
        }
        drop(arrivals);
    }
}
