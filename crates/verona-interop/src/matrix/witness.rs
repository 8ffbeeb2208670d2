//! The witnesses of a matrix beside verona: the kernel, and the wire logs of the peers that keep one.
//! Why kept after the servers have ended: the kernel's account of a socket is whole only then.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::play::Seen;
use super::world::{Placed, World};
use super::{Peer, expect};
use crate::sockets::SocketWatch;
use crate::wire::{self, Side};

/// What they know.
#[derive(Debug)]
pub struct Witnesses {
    /// The cells that were played.
    pub cells: Vec<Placed>,
    orders: Orders,
    sockets: SocketWatch,
}

impl Witnesses {
    /// Ends the servers and keeps what is known of them.
    ///
    /// # Errors
    /// verona did not end as it has to.
    pub fn hear(world: World) -> Result<Self> {
        let cells = world.cells.clone();
        let orders = Orders::of(&world);
        world.sockets.look()?;
        let sockets = world.strike()?;
        // The kernel tells of a socket a little after its end.
        std::thread::sleep(Duration::from_millis(200));
        Ok(Self {
            cells,
            orders,
            sockets,
        })
    }

    /// Judges a cell and gives the number of its connections.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, placed: &Placed, seen: &Seen) -> Result<usize> {
        expect::judge(placed, seen, self.orders.order(placed)?.as_deref())?;
        let listeners = [placed.near_address, placed.far_address];
        let kernel = self.sockets.accounts(&listeners);
        if self.sockets.is_complete() {
            expect::kernel_agrees(placed, seen, &kernel)
        } else {
            Ok(kernel.len())
        }
    }
}

/// The wire logs of the peers that keep one: in which order they wrote their messages is for them to answer for, in
/// which order those came is for verona. Prosody 0.12 writes what it gets between the header and the features of an
/// authenticated stream at once, and only then what waited before.
#[derive(Debug)]
struct Orders {
    logs: BTreeMap<Peer, Vec<wire::Connection>>,
    faults: BTreeMap<Peer, String>,
}

impl Orders {
    fn of(world: &World) -> Self {
        let mut orders = Self {
            logs: BTreeMap::new(),
            faults: BTreeMap::new(),
        };
        let mut peers: Vec<Peer> = world.cells.iter().map(|placed| placed.cell.peer).collect();
        peers.dedup();
        for peer in peers {
            let Some(log) = world.wire_log(peer) else {
                continue;
            };
            match wire::read(log) {
                Ok(connections) => {
                    orders.logs.insert(peer, connections);
                }
                Err(error) => {
                    orders.faults.insert(peer, format!("{error:#}"));
                }
            }
        }
        orders
    }

    /// The numbers of the messages from the peer to verona in this cell, as the peer wrote them.
    fn order(&self, placed: &Placed) -> Result<Option<Vec<usize>>> {
        let peer = placed.cell.peer;
        if let Some(fault) = self.faults.get(&peer) {
            anyhow::bail!("the wire log of {}: {fault}", peer.word());
        }
        let Some(connections) = self.logs.get(&peer) else {
            return Ok(None);
        };
        let mut written: Vec<(f64, usize)> = Vec::new();
        let from = format!("a@{}", placed.far);
        for passed in connections
            .iter()
            .flat_map(|connection| &connection.elements)
        {
            let element = &passed.element;
            let is_ours = passed.writer == Side::Far
                && element.from == from
                && element.name == "message"
                && element.kind == "chat";
            if is_ours {
                written.push((passed.at, element.id.parse()?));
            }
        }
        // Stable: what one write held stays in its order.
        written.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Some(
            written.into_iter().map(|(_, number)| number).collect(),
        ))
    }
}
