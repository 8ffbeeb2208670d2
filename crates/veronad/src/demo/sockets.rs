//! The operating system's own list of our TCP connections (Linux, `/proc`).
//!
//! The engines could be wrong about how many connections they have; the system's table cannot.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::transcript::Ends;
use super::world::Addresses;

/// An established connection of which both ends are sockets of this process.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) ends: Ends,
    /// The inode of the client's socket.
    pub(super) client_inode: u64,
    /// The inode of the server's socket.
    pub(super) server_inode: u64,
}

/// All established connections between the two servers.
pub(super) fn between(addresses: Addresses) -> io::Result<Vec<Connection>> {
    let own = own_inodes()?;
    let sockets: Vec<Socket> = table()?
        .into_iter()
        .filter(|socket| socket.established && own.contains(&socket.inode))
        .collect();
    let is_listener =
        |address: SocketAddr| address == addresses.capulet || address == addresses.montague;
    Ok(sockets
        .iter()
        .filter(|client| is_listener(client.remote))
        .filter_map(|client| {
            let server = sockets
                .iter()
                .find(|server| server.local == client.remote && server.remote == client.local)?;
            Some(Connection {
                ends: Ends {
                    client: client.local,
                    server: client.remote,
                },
                client_inode: client.inode,
                server_inode: server.inode,
            })
        })
        .collect())
}

struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    established: bool,
    inode: u64,
}

fn table() -> io::Result<Vec<Socket>> {
    let text = std::fs::read_to_string("/proc/self/net/tcp")?;
    // The first line names the columns.
    Ok(text.lines().skip(1).filter_map(socket).collect())
}

/// Columns: number, local, remote, state, queues, timer, retransmissions, user, timeout, inode.
fn socket(line: &str) -> Option<Socket> {
    let columns: Vec<&str> = line.split_ascii_whitespace().collect();
    Some(Socket {
        local: address(columns.get(1)?)?,
        remote: address(columns.get(2)?)?,
        established: *columns.get(3)? == "01",
        inode: columns.get(9)?.parse().ok()?,
    })
}

/// `0100007F:1495`: the address in the order of the machine's bytes, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(
        IpAddr::V4(Ipv4Addr::from(ip.to_ne_bytes())),
        port,
    ))
}

/// The inodes of all sockets that this process holds.
fn own_inodes() -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // A file that was closed meanwhile is no socket of ours.
        let Ok(target) = std::fs::read_link(entry?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_found_while_it_lives() {
        let capulet = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let montague = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addresses = Addresses {
            capulet: capulet.local_addr().unwrap(),
            montague: montague.local_addr().unwrap(),
        };
        assert!(between(addresses).unwrap().is_empty());
        let client = TcpStream::connect(addresses.montague).unwrap();
        let server = montague.accept().unwrap();
        let found = between(addresses).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].ends.client, client.local_addr().unwrap());
        assert_eq!(found[0].ends.server, addresses.montague);
        drop((client, server));
        assert!(between(addresses).unwrap().is_empty());
    }
}
