//! Work (g), the part without any process between: the scanner alone, TLS alone.
//! Why beside the relays, which are measured as servers are: they say which part of the floor is whose.

use anyhow::{Context, Result};

use super::Terms;
use crate::bare::alone;
use crate::load::blocks;
use crate::results::Work;
use crate::world::World;

/// Runs it.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    let world = World::set(&terms.dir, 1)?;
    for _ in 0..terms.rounds {
        for bytes in [200, 2048] {
            let pair = ("p0.montague.lit".to_owned(), "rooms.verona.lit".to_owned());
            let blocks = blocks(&[pair], bytes, 16 * 1024 / bytes);
            let block = blocks.first().context("no block")?;
            let scanned = alone::scanner(block)?;
            let (encrypted, both) = alone::tls(block, &world.client, &world.server)?;
            let case = format!("{bytes}");
            for (name, figure) in [
                ("scanner", scanned),
                ("encrypt", encrypted),
                ("decrypt", both - encrypted),
            ] {
                work.note(&case, name, "cpu", figure);
                println!("{case:<12} {name:<18} {figure:8.4} s of CPU for 100,000");
            }
        }
    }
    Ok(work)
}
