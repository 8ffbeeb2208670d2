//! Work (a): stanzas from peers to a component and back, over links that stand.
//! Why CPU seconds for 100,000 of them: that is what an operator pays, whatever else the machine does.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Terms;
use crate::load::{Block, Flow, Load, blocks};
use crate::results::Work;
use crate::system::Family;
use crate::world::{Server, Tuning, World, peer};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
    Both,
}

#[derive(Clone, Copy)]
struct Case {
    way: Way,
    bytes: usize,
    peers: usize,
}

/// A server with links.
struct Contestant {
    server: Server,
    load: Load,
}

/// Runs it.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    let kinds = terms.kinds(|_| true)?;
    let world = World::set(&terms.dir, PEERS)?;
    let mut contestants = Vec::new();
    for kind in kinds {
        let server = Server::start(&world, kind, &terms.verona, &Tuning::default())?;
        let mut component = server.component()?;
        let peers = world
            .peers(&server, kind.peers(PEERS), &mut component)
            .with_context(|| format!("links with {}", kind.name()))?;
        let load = Load::new(component, peers)?;
        contestants.push(Contestant { server, load });
    }
    for case in Case::all() {
        if !case.name().contains(&terms.case) {
            continue;
        }
        let mut times: Vec<Option<u64>> = vec![None; contestants.len()];
        for round in 0..terms.rounds {
            for (contestant, times) in contestants.iter_mut().zip(&mut times) {
                if contestant.server.kind.peers(case.peers) < case.peers {
                    continue;
                }
                case.measure(contestant, times, terms, &mut work)
                    .with_context(|| {
                        format!(
                            "{} with {}, round {round}",
                            case.name(),
                            contestant.server.kind.name()
                        )
                    })?;
            }
        }
    }
    Ok(work)
}

impl Case {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for peers in [1, PEERS] {
            for bytes in [200, 2048] {
                for way in [Way::In, Way::Out, Way::Both] {
                    all.push(Self { way, bytes, peers });
                }
            }
        }
        all
    }

    fn name(self) -> String {
        let way = match self.way {
            Way::In => "in",
            Way::Out => "out",
            Way::Both => "both",
        };
        format!("{way}-{}-{}", self.bytes, self.peers)
    }

    /// One run with as many stanzas as take the server some time, which the first run finds out.
    fn measure(
        self,
        contestant: &mut Contestant,
        stanzas: &mut Option<u64>,
        terms: &Terms,
        work: &mut Work,
    ) -> Result<()> {
        let number = match *stanzas {
            Some(number) => number,
            None => {
                let mut number = TRIED;
                loop {
                    let ran = self.go(contestant, number)?;
                    // Too short to be extrapolated from.
                    if ran.cpu >= Duration::from_millis(100) || number > STANZAS_MAX / 10 {
                        let each = ran.cpu.as_secs_f64().max(0.01) / number as f64;
                        let wanted = match terms.is_quick {
                            true => 0.3,
                            false => 0.5,
                        };
                        number = ((wanted / each) as u64).clamp(TRIED, STANZAS_MAX);
                        break;
                    }
                    number *= 10;
                }
                *stanzas = Some(number);
                number
            }
        };
        let ran = self.go(contestant, number)?;
        let (case, kind) = (self.name(), contestant.server.kind.name());
        let per_100k = |time: Duration| time.as_secs_f64() * 100_000.0 / ran.stanzas as f64;
        let rate = ran.stanzas as f64 / ran.took.as_secs_f64();
        work.note(&case, kind, "cpu", per_100k(ran.cpu));
        work.note(&case, kind, "generator", per_100k(ran.own));
        work.note(&case, kind, "rate", rate);
        println!(
            "{case:<12} {kind:<18} {:8.3} s of CPU for 100,000, {rate:9.0} a second, generator {:.3}",
            per_100k(ran.cpu),
            per_100k(ran.own)
        );
        Ok(())
    }

    fn go(self, contestant: &mut Contestant, stanzas: u64) -> Result<Ran> {
        let (inbound, outbound) = self.blocks(&contestant.server);
        let window = (WINDOW_BYTES / self.bytes) as u64;
        let flow = |blocks, stanzas: u64| Flow::of(blocks, stanzas, window);
        let nothing = Flow::of(&[], 0, 0);
        let (coming, going) = match self.way {
            Way::In => (flow(&inbound, stanzas), nothing),
            Way::Out => (nothing, flow(&outbound, stanzas)),
            Way::Both => (flow(&inbound, stanzas / 2), flow(&outbound, stanzas / 2)),
        };
        let stanzas = coming.stanzas() + going.stanzas();
        let (family, own) = (&contestant.server.family, Family::own());
        let before = (family.cpu()?, own.cpu()?);
        let took = contestant.load.run(coming, going)?;
        Ok(Ran {
            took,
            cpu: family.cpu()?.saturating_sub(before.0),
            own: own.cpu()?.saturating_sub(before.1),
            stanzas,
        })
    }

    /// What each peer sends, and what the component sends to all.
    fn blocks(self, server: &Server) -> (Vec<Block>, Vec<Block>) {
        let component = &server.domain;
        let a_record = BLOCK_BYTES / self.bytes;
        let of_a_peer = a_record.min(WINDOW_BYTES / self.bytes / self.peers).max(1);
        let inbound = (0..self.peers)
            .flat_map(|number| {
                let pair = (peer(number), component.clone());
                blocks(&[pair], self.bytes, of_a_peer)
            })
            .collect();
        let pairs: Vec<(String, String)> = (0..self.peers)
            .map(|number| (component.clone(), peer(number)))
            .collect();
        (inbound, blocks(&pairs, self.bytes, a_record))
    }
}

/// What came of one run.
struct Ran {
    took: Duration,
    cpu: Duration,
    own: Duration,
    stanzas: u64,
}

const PEERS: usize = 100;
/// Under way in one direction, all peers together: below every limit of every server, above what hides its latency.
const WINDOW_BYTES: usize = 512 * 1024;
/// One record of TLS.
const BLOCK_BYTES: usize = 16 * 1024;
const TRIED: u64 = 2_000;
const STANZAS_MAX: u64 = 4_000_000;
