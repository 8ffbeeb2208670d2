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
        let ended = self.lines.try_iter().map(|line| {
            // It may be gone already.
            let _ = line.shutdown(Shutdown::Both);
        });
        ended.count()
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
