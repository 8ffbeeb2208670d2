//! Work (b): how long a message is on its way to a component and back, with little, half and much of what a server can do.
//! Why in parts of each server's own best: at one rate for all, one of them would sleep and another drown.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Terms;
use crate::load::echo::Echo;
use crate::results::Work;
use crate::world::{Kind, Server, Tuning, World, peer};

/// How much is sent.
#[derive(Clone, Copy)]
enum Rate {
    /// So many a second with every server.
    Same(f64),
    /// This part of what the server can do.
    Part(f64),
}

/// What is measured of one server before it is the next one's turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stretch {
    /// What is the same for all.
    Same,
    /// All parts of its own best.
    Parts,
}

impl Rate {
    fn stretch(self) -> Stretch {
        match self {
            Self::Same(_) => Stretch::Same,
            Self::Part(_) => Stretch::Parts,
        }
    }
}

/// The cases by name.
const CASES: [(&str, Rate); 4] = [
    ("same-200", Rate::Same(200.0)),
    ("load-1", Rate::Part(0.01)),
    ("load-50", Rate::Part(0.5)),
    ("load-90", Rate::Part(0.9)),
];

/// A server with one peer.
struct Contestant {
    server: Server,
    echo: Echo,
    /// Messages a second that it can take there and back.
    most: f64,
    /// By case: all that was measured, of all rounds.
    took: [Vec<Duration>; CASES.len()],
}

/// Runs it.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    let kinds = terms.kinds(is_measured)?;
    let world = World::set(&terms.dir, 1)?;
    let mut contestants = kinds
        .into_iter()
        .map(|kind| Contestant::start(&world, kind, terms))
        .collect::<Result<Vec<_>>>()?;
    for round in 0..terms.rounds {
        // Where few are sent, one in a hundred is six of six hundred, and a noisy second makes them: so it is many turns.
        let turns = std::iter::repeat_n(Stretch::Same, SAME_TURNS).chain([Stretch::Parts]);
        for stretch in turns {
            for contestant in &mut contestants {
                contestant
                    .measure(stretch, terms, &mut work)
                    .with_context(|| format!("{}, round {round}", contestant.server.kind.name()))?;
            }
        }
    }
    for contestant in &contestants {
        for ((case, _), took) in CASES.iter().zip(&contestant.took) {
            // One in a thousand is not to be found in one round.
            if let Some(figure) = percentile(took, 0.999) {
                work.note(case, contestant.server.kind.name(), "p999", figure);
            }
            work.note(
                case,
                contestant.server.kind.name(),
                "messages",
                took.len() as f64,
            );
        }
    }
    Ok(work)
}

/// Those with acknowledgements stand for both: what is asked here is how long, and not how much.
fn is_measured(kind: Kind) -> bool {
    match kind {
        Kind::Relay
        | Kind::ScanningRelay
        | Kind::Verona
        | Kind::Prosody
        | Kind::Ejabberd
        | Kind::Jabberd2 => true,
        Kind::VeronaUnmanaged | Kind::ProsodyUnmanaged => false,
    }
}

impl Contestant {
    fn start(world: &World, kind: Kind, terms: &Terms) -> Result<Self> {
        let server = Server::start(world, kind, &terms.verona, &Tuning::default())?;
        let mut component = server.component()?;
        let standing = world
            .peers(&server, 1, &mut component)
            .with_context(|| format!("a link with {}", kind.name()))?;
        let mut echo = Echo::new(component, standing, &peer(0), &server.domain)?;
        // Whatever is done once is done by now.
        echo.most(WARM_UP)?;
        let most = echo.most(TRIED)?;
        println!(
            "{:<12} {:<18} {most:9.0} there and back a second at most",
            "most",
            kind.name()
        );
        Ok(Self {
            server,
            echo,
            most,
            took: std::array::from_fn(|_| Vec::new()),
        })
    }

    fn measure(&mut self, stretch: Stretch, terms: &Terms, work: &mut Work) -> Result<()> {
        let lasting = match terms.is_quick {
            true => MEASURED / 3,
            false => MEASURED,
        };
        let name = self.server.kind.name();
        for ((case, rate), all) in CASES.iter().zip(&mut self.took) {
            if !case.contains(&terms.case) || rate.stretch() != stretch {
                continue;
            }
            let pace = match rate {
                Rate::Same(pace) => *pace,
                Rate::Part(part) => (self.most * part).max(1.0),
            };
            // Where few are sent, they are sent for longer.
            let lasting = match rate {
                Rate::Same(_) => lasting * SAME_LONGER,
                Rate::Part(_) => lasting,
            };
            let took = self.echo.at(pace, RUN_IN, lasting)?;
            let (half, most) = (percentile(&took, 0.5), percentile(&took, 0.99));
            work.note(case, name, "pace", pace);
            for (figure, value) in [("p50", half), ("p99", most)] {
                work.note(case, name, figure, value.context("nothing came back")?);
            }
            println!(
                "{case:<12} {name:<18} {pace:9.0} a second: p50 {:8.1} µs, p99 {:8.1} µs",
                half.unwrap_or_default(),
                most.unwrap_or_default()
            );
            all.extend(took);
        }
        Ok(())
    }
}

/// In microseconds, what this part of all stays below.
fn percentile(took: &[Duration], part: f64) -> Option<f64> {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let position = (sorted.len() as f64 * part) as usize;
    let figure = sorted.get(position).or(sorted.last())?;
    Some(figure.as_nanos() as f64 / 1000.0)
}

const WARM_UP: Duration = Duration::from_millis(200);
/// How long it is tried what a server can do.
const TRIED: Duration = Duration::from_millis(800);
/// What is sent before it is measured, in each turn.
const RUN_IN: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(1_500);
const SAME_LONGER: u32 = 2;
/// In each round so often.
const SAME_TURNS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_first_that_so_many_stay_below() {
        let took: Vec<Duration> = (1..=1000).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&took, 0.5), Some(501.0));
        assert_eq!(percentile(&took, 0.99), Some(991.0));
        assert_eq!(percentile(&took, 0.999), Some(1000.0));
        assert_eq!(percentile(&took, 1.0), Some(1000.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
