//! Reads the PROXY header of a connection that came through a proxy, and not a byte of what follows it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use verona_proto::proxy_header::{self, BadHeader, HEADER_BYTES_MAX, Reading};

use crate::wire::Tcp;

/// Whose connection it is that `proxy` has opened: the client's that the header names, or the proxy's own.
pub(crate) async fn client(tcp: &mut Tcp, proxy: SocketAddr) -> Result<SocketAddr, Unnamed> {
    timeout(PATIENCE, read(tcp, proxy))
        .await
        .unwrap_or(Err(Unnamed::Late))
}

async fn read(tcp: &mut Tcp, proxy: SocketAddr) -> Result<SocketAddr, Unnamed> {
    let mut header = vec![0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        // What has arrived is looked at before it is taken: all of it, or as much as belongs to the header.
        let room = header.get_mut(taken..).unwrap_or_default();
        let arrived = tcp.peek(room).await.map_err(Unnamed::Broken)?;
        if arrived == 0 {
            return Err(match taken {
                0 => Unnamed::Gone,
                _ => Unnamed::Cut,
            });
        }
        let all = taken + arrived;
        let reading = proxy_header::read(header.get(..all).unwrap_or_default());
        let reading = reading.map_err(Unnamed::Bad)?;
        let end = match reading {
            Reading::Partial => all,
            Reading::Whole { length, .. } => length,
        };
        take(tcp, header.get_mut(taken..end).unwrap_or_default()).await?;
        taken = end;
        if let Reading::Whole { client, .. } = reading {
            return Ok(client.unwrap_or(proxy));
        }
    }
}

/// Takes what was looked at already.
async fn take(tcp: &mut Tcp, seen: &mut [u8]) -> Result<(), Unnamed> {
    match tcp.read_exact(seen).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Unnamed::Cut),
        Err(error) => Err(Unnamed::Broken(error)),
    }
}

/// Why nobody knows whose a connection is.
#[derive(Debug)]
pub(crate) enum Unnamed {
    /// It ended before it said anything: a look whether somebody listens.
    Gone,
    /// It ended within its header.
    Cut,
    /// It broke.
    Broken(io::Error),
    /// Its header did not come in time.
    Late,
    /// Its header is none.
    Bad(BadHeader),
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it ended before it sent a PROXY header"),
            Self::Cut => f.write_str("it ended within its PROXY header"),
            Self::Broken(error) => {
                write!(f, "it broke before its PROXY header was there ({error})")
            }
            Self::Late => write!(f, "no PROXY header came within {} s", PATIENCE.as_secs()),
            Self::Bad(bad) => bad.fmt(f),
        }
    }
}

/// The specification asks for three seconds at least, so that a segment may get lost once.
const PATIENCE: Duration = Duration::from_secs(5);
