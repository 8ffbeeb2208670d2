//! Work (f): what a stanza costs verona when there are many pairs of domains, and many domains of its own.
//! Why at one pace: how much goes out together depends on how much comes, and not on how many pairs it comes from.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Terms;
use crate::load::{Block, Flow, Load, blocks};
use crate::results::Work;
use crate::talk::{Call, Standing};
use crate::world::{Kind, Server, Tuning, World, further, peer};

/// What there is of each.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Domains of the other side on each link.
    domains: usize,
    /// Domains that verona hosts beside that of the component.
    hosted: usize,
}

const CASES: [Case; 3] = [
    Case {
        name: "40-pairs",
        domains: 1,
        hosted: 0,
    },
    Case {
        name: "10000-pairs",
        domains: 250,
        hosted: 0,
    },
    Case {
        name: "10000-hosted",
        domains: 1,
        hosted: 10_000,
    },
];

/// A verona with its links.
struct Grown {
    case: Case,
    server: Server,
    load: Load,
    inbound: Vec<Block>,
    outbound: Vec<Block>,
}

/// Runs it.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    if terms.kinds(|kind| kind == Kind::Verona)?.is_empty() {
        return Ok(work);
    }
    let world = World::set(&terms.dir, 1)?;
    starts(&world, terms, &mut work)?;
    // One after the other, for they have one address; a round is a whole life.
    for _ in 0..terms.rounds {
        for case in CASES {
            if case.name.contains(&terms.case) {
                let mut grown =
                    Grown::start(&world, case, terms).with_context(|| case.name.to_owned())?;
                grown
                    .measure(terms, &mut work)
                    .with_context(|| case.name.to_owned())?;
            }
        }
    }
    Ok(work)
}

/// How long it takes from the start to where it listens, with few domains and with many.
fn starts(world: &World, terms: &Terms, work: &mut Work) -> Result<()> {
    for _ in 0..terms.rounds {
        for hosted in [0, 10_000] {
            let start = Instant::now();
            let server = Server::start(world, Kind::Verona, &terms.verona, &tuning(hosted))?;
            let took = start.elapsed();
            drop(server);
            let case = format!("start-{hosted}");
            work.note(&case, Kind::Verona.name(), "seconds", took.as_secs_f64());
            println!("{case:<16} listens after {:.3} s", took.as_secs_f64());
        }
    }
    Ok(())
}

fn tuning(hosted: usize) -> Tuning {
    Tuning {
        hosted,
        ..Tuning::default()
    }
}

impl Grown {
    fn start(world: &World, case: Case, terms: &Terms) -> Result<Self> {
        let server = Server::start(world, Kind::Verona, &terms.verona, &tuning(case.hosted))?;
        let component = server.component()?;
        let mut standing: Vec<Standing> = Vec::new();
        for link in 0..LINKS {
            let more: Vec<String> = (1..case.domains).map(|n| further(link, n)).collect();
            let call = Call {
                server: server.s2s,
                direct_tls: false,
                from: &peer(link),
                to: &server.domain,
                tls: &world.client,
                proof: server.kind.proof(),
                bidi: true,
                management: server.kind.is_managed(),
            };
            standing.push(call.make_for(&more)?);
        }
        // A block for each pair; the links take turns.
        let domain = |link, number| match number {
            0 => peer(link),
            _ => further(link, number),
        };
        let pairs: Vec<String> = (0..case.domains)
            .flat_map(|number| (0..LINKS).map(move |link| domain(link, number)))
            .collect();
        let inbound = pairs
            .iter()
            .flat_map(|remote| blocks(&[(remote.clone(), server.domain.clone())], BYTES, 1))
            .collect();
        let outbound: Vec<(String, String)> = pairs
            .iter()
            .map(|remote| (server.domain.clone(), remote.clone()))
            .collect();
        let outbound = blocks(&outbound, BYTES, 1);
        Ok(Self {
            case,
            load: Load::new(component, standing)?,
            server,
            inbound,
            outbound,
        })
    }

    fn measure(&mut self, terms: &Terms, work: &mut Work) -> Result<()> {
        let seconds = match terms.is_quick {
            true => 1.0,
            false => 3.0,
        };
        for way in ["in", "out"] {
            // Each pair at least once before: what is made once is made.
            let first = self.inbound.len() as u64;
            self.go(way, first)?;
            let stanzas = ((PACE * seconds) as u64).max(first);
            let before = self.server.family.cpu()?;
            let took = self.go(way, stanzas)?;
            let spent = self.server.family.cpu()?.saturating_sub(before);
            let cpu = spent.as_secs_f64() * 100_000.0 / stanzas as f64;
            let rate = stanzas as f64 / took.as_secs_f64();
            let case = format!("{way}-{}", self.case.name);
            work.note(&case, self.server.kind.name(), "cpu", cpu);
            work.note(&case, self.server.kind.name(), "rate", rate);
            println!("{case:<16} {cpu:8.3} s of CPU for 100,000, {rate:9.0} a second");
        }
        let resident = self.server.family.resident_kib() as f64 / 1024.0;
        work.note(
            &format!("memory-{}", self.case.name),
            self.server.kind.name(),
            "mib",
            resident,
        );
        Ok(())
    }

    fn go(&mut self, way: &str, stanzas: u64) -> Result<Duration> {
        let nothing = Flow::of(&[], 0, 0);
        let flow = |blocks| Flow::of(blocks, stanzas, WINDOW).paced(PACE);
        match way {
            "in" => self.load.run(flow(&self.inbound), nothing),
            _ => self.load.run(nothing, flow(&self.outbound)),
        }
    }
}

const LINKS: usize = 40;
const BYTES: usize = 200;
/// Stanzas a second, all links together: what verona does with ease.
const PACE: f64 = 40_000.0;
const WINDOW: u64 = 4_096;
