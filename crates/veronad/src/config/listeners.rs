//! Every address that will be listened on, so that no two are the same.
//!
//! The second bind would fail at start, after the first had succeeded: better said before anything is bound.

use std::net::{IpAddr, SocketAddr};
use std::path::{self, Path};

use verona::config::ListenAddress;

use super::problem::{Place, Report};

/// The addresses claimed so far, and by which key.
#[derive(Default)]
pub(super) struct Listeners {
    claimed: Vec<(ListenAddress, String)>,
}

impl Listeners {
    /// Claims `address` for `what`, or reports who has it already.
    pub(super) fn add(
        &mut self,
        address: ListenAddress,
        place: &Place,
        what: &str,
        report: &mut Report,
    ) {
        if let Some((other, owner)) = self
            .claimed
            .iter()
            .find(|(other, _)| clash(other, &address))
        {
            let message = if *other == address {
                format!("two listeners on one address: `{address}` is taken by `{owner}`")
            } else {
                format!(
                    "two listeners on one address: `{address}` and `{other}` of `{owner}` overlap"
                )
            };
            report
                .error(place, message)
                .suggest("give each listener its own address or port");
        }
        let owner = if place.key.is_empty() {
            what
        } else {
            &place.key
        };
        self.claimed.push((address, owner.to_owned()));
    }
}

fn clash(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => sockets_clash(*a, *b),
        (ListenAddress::Unix(a), ListenAddress::Unix(b)) => same_file(a, b),
        (ListenAddress::Tcp(_), ListenAddress::Unix(_))
        | (ListenAddress::Unix(_), ListenAddress::Tcp(_)) => false,
    }
}

/// `a.sock` and `./a.sock` are one: the second listener would take it for one that a dead process left behind.
fn same_file(a: &Path, b: &Path) -> bool {
    match (path::absolute(a), path::absolute(b)) {
        (Ok(a), Ok(b)) => a == b,
        (Err(_), _) | (_, Err(_)) => a == b,
    }
}

/// Whether the second of two binds fails. Port 0 is any free port.
fn sockets_clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// `[::]` covers both families, `0.0.0.0` its own.
fn covers(all: IpAddr, one: IpAddr) -> bool {
    match all {
        IpAddr::V4(v4) => v4.is_unspecified() && one.is_ipv4(),
        IpAddr::V6(v6) => v6.is_unspecified(),
    }
}
