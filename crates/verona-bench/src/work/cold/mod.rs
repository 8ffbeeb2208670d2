//! Work (c): how long a first stanza is on its way when there is no link yet, over a line of 100 ms each way.
//! Why counted in round trips: on a line that is long enough nothing else takes time, so the figure is one of the protocol.

mod diagram;
mod elements;
mod near;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use verona_interop::dns::Service;
use verona_interop::fault_proxy::FaultProxy;
use verona_interop::speaker::Speaker;

use super::Terms;
use crate::results::Work;
use crate::world::{Far, FarSettings, Kind, SECRET, World};
use near::{LinksLeft, Near};

/// One way to come to a link.
#[derive(Clone, Copy, Debug)]
struct Case {
    far: Kind,
    direct_tls: bool,
    is_dialback: bool,
}

/// What one case showed.
struct Seen {
    case: Case,
    /// The first stanza ever.
    first: Delivered,
    /// One when the link had ended again, unless one of the far side's was left.
    again: Option<Delivered>,
}

/// A stanza that came.
struct Delivered {
    took: Duration,
    diagram: String,
}

/// Runs it.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    let kinds = terms.kinds(|kind| matches!(kind, Kind::Verona | Kind::Prosody))?;
    let cases: Vec<Case> = kinds
        .iter()
        .flat_map(|far| {
            [(false, false), (false, true), (true, false), (true, true)].map(
                |(direct_tls, is_dialback)| Case {
                    far: *far,
                    direct_tls,
                    is_dialback,
                },
            )
        })
        .filter(|case| case.name("").contains(&terms.case))
        .collect();
    // The same over and over would tell the same: the line takes the time.
    let rounds = terms.rounds.min(ROUNDS_MAX);
    let places: Vec<Place> = (0..rounds)
        .flat_map(|round| {
            let number = cases.len() * round;
            cases
                .iter()
                .enumerate()
                .map(move |(index, case)| (*case, number + index))
        })
        .map(|(case, number)| Place::new(case, number))
        .collect::<Result<_>>()?;
    let services: Vec<Service> = places.iter().flat_map(Place::services).collect();
    let world = World::with(&terms.dir, &services)?;
    for round in places.chunks(cases.len().max(1)) {
        for seen in play_at_once(round, &world, &terms.verona)? {
            seen.note(&mut work);
        }
    }
    Ok(work)
}

/// All of them at once, for they do nothing but wait; and none before all stand, or their beginnings would be in it.
fn play_at_once(places: &[Place], world: &World, verona: &Path) -> Result<Vec<Seen>> {
    let all_stand = Barrier::new(places.len());
    let play = |place: &Place| {
        let stage = place.set(world, verona);
        all_stand.wait();
        stage?.play()
    };
    let play = &play;
    thread::scope(|scope| {
        let threads: Vec<_> = places
            .iter()
            .map(|place| scope.spawn(move || play(place)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .map_err(|_| anyhow!("a thread of this work has panicked"))?
            })
            .collect()
    })
}

impl Case {
    fn name(self, when: &str) -> String {
        let transport = match self.direct_tls {
            false => "starttls",
            true => "direct-tls",
        };
        let proof = match self.is_dialback {
            false => "external",
            true => "dialback",
        };
        format!("{transport}-{proof}-{when}")
    }
}

impl Seen {
    fn note(self, work: &mut Work) {
        let both = [("first", Some(self.first)), ("again", self.again)];
        for (when, delivered) in both {
            let Some(delivered) = delivered else {
                continue;
            };
            let (case, kind) = (self.case.name(when), self.case.far.name());
            let millis = delivered.took.as_secs_f64() * 1000.0;
            let trips = round_trips(delivered.took);
            work.note(&case, kind, "ms", millis);
            work.note(&case, kind, "round_trips", trips);
            println!("{case:<28} {kind:<10} {millis:7.0} ms, {trips} round trips before it leaves");
            work.show(&case, kind, delivered.diagram);
        }
    }
}

/// Whole round trips before the stanza leaves: its own way is half of one, and does not count.
fn round_trips(took: Duration) -> f64 {
    (took.saturating_sub(EACH_WAY).as_secs_f64() / (2.0 * EACH_WAY.as_secs_f64())).floor()
}

/// Where one case plays.
struct Place {
    case: Case,
    number: usize,
    near: String,
    far: String,
    /// Where each is reached: a long line away.
    near_line: SocketAddr,
    far_line: SocketAddr,
    near_at: SocketAddr,
    far_at: SocketAddr,
}

impl Place {
    fn new(case: Case, number: usize) -> Result<Self> {
        let last = u8::try_from(number + 1).context("too many cases")?;
        let at = |net: u8| SocketAddr::from(([127, 9, net, last], 5269));
        Ok(Self {
            case,
            number,
            near: format!("near{number}.cold.lit"),
            far: format!("far{number}.cold.lit"),
            near_line: at(1),
            far_line: at(2),
            near_at: at(3),
            far_at: at(4),
        })
    }

    fn services(&self) -> [Service; 2] {
        [(&self.near, self.near_line), (&self.far, self.far_line)].map(|(domain, address)| {
            Service {
                domain: domain.clone(),
                address,
                direct_tls: self.case.direct_tls,
            }
        })
    }

    /// Starts everything.
    fn set(&self, world: &World, verona: &Path) -> Result<Stage> {
        let case = self.case;
        let settings = FarSettings {
            name: &format!("far{}", self.number),
            domain: &self.far,
            address: self.far_at,
            direct_tls: case.direct_tls,
            trusts: !case.is_dialback,
        };
        let far = Far::start(world, case.far, verona, &settings)?;
        let near = Near::start(world, self)?;
        let lines = [
            FaultProxy::start(self.near_line, self.near_at, 1)?,
            FaultProxy::start(self.far_line, self.far_at, 2)?,
        ];
        for line in &lines {
            line.delay(EACH_WAY);
        }
        Ok(Stage {
            case,
            here: Speaker::connect(near.components, &self.near, SECRET)?,
            there: Speaker::connect(far.components(), &self.far, SECRET)?,
            near,
            _far: far,
            _lines: lines,
        })
    }
}

/// Where everything runs that one case needs.
struct Stage {
    case: Case,
    here: Speaker,
    there: Speaker,
    near: Near,
    _far: Far,
    _lines: [FaultProxy; 2],
}

impl Stage {
    fn play(&self) -> Result<Seen> {
        let first = self.send(0)?;
        let again = match self.near.until_its_links_end(PATIENCE)? {
            LinksLeft::None => Some(self.send(1)?),
            LinksLeft::Theirs => None,
        };
        Ok(Seen {
            case: self.case,
            first,
            again,
        })
    }

    fn send(&self, number: usize) -> Result<Delivered> {
        let began = Instant::now();
        self.here.say(self.there.domain(), number..number + 1)?;
        let came = self.there.wait_for(number + 1, PATIENCE);
        let ended = Instant::now();
        let diagram = self.near.heard.diagram(began, ended);
        ensure!(
            came == number + 1,
            "{:?}: nothing came: {:?}\n{diagram}",
            self.case,
            self.here.bounces(),
        );
        Ok(Delivered {
            took: ended - began,
            diagram,
        })
    }
}

const EACH_WAY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stanzas_own_way_is_no_round_trip() {
        let trips = |millis| round_trips(Duration::from_millis(millis));
        assert_eq!(trips(1_523), 7.0);
        assert_eq!(trips(1_499), 6.0);
        assert_eq!(trips(90), 0.0);
    }
}
