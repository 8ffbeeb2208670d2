//! How a cell goes: an end on either side, who begins, what each hears, and which connections carried it.
//! Why observing and judging are apart: what was seen is also what the table tells of a cell.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::world::{Placed, SECRET, World};
use super::{Certificate, Dials};
use crate::speaker::{Bounce, Speaker};

/// What was seen of a cell.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From verona's domain to the peer's.
    pub near_to_far: Flow,
    /// From the peer's domain to verona's.
    pub far_to_near: Flow,
    /// verona's own account of the connections of this pair that carried stanzas.
    pub links: Vec<Link>,
    /// How long it took.
    pub took: Duration,
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Messages that were sent.
    pub sent: usize,
    /// Messages that came.
    pub came: usize,
    /// The first message that came back to its sender.
    pub bounce: Option<Bounce>,
    /// What is wrong with what came; nothing when all came in order, none twice.
    pub fault: Option<String>,
}

/// A connection as verona tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Who opened it: `initiating` is verona.
    pub role: String,
    /// The other end.
    pub peer_address: String,
    /// Whether both directions are allowed.
    pub bidi: bool,
    /// What allows verona to send for this pair; empty when nothing does.
    pub send: String,
    /// What allows the peer to send.
    pub receive: String,
    /// Stanzas from the peer.
    pub stanzas_in: u64,
    /// Stanzas to the peer.
    pub stanzas_out: u64,
}

impl Link {
    /// Whether it carried anything.
    #[must_use]
    pub const fn has_carried(&self) -> bool {
        self.stanzas_in + self.stanzas_out > 0
    }
}

/// Plays a cell.
///
/// # Errors
/// A component cannot connect, or verona does not tell of its links.
pub fn play(world: &World, placed: &Placed) -> Result<Seen> {
    let began = Instant::now();
    let near = Speaker::connect(world.verona.components, &placed.near, SECRET)?;
    let far = Speaker::connect(world.far_components(placed)?, &placed.far, SECRET)?;
    let (near_to_far, far_to_near) = match placed.cell.dials {
        Dials::Verona => in_turn(&near, &far)?,
        Dials::Peer => {
            let (there, back) = in_turn(&far, &near)?;
            (back, there)
        }
        Dials::Both => at_once(&near, &far)?,
    };
    let links = links(&world.verona.links()?, placed);
    Ok(Seen {
        near_to_far,
        far_to_near,
        links,
        took: began.elapsed(),
    })
}

/// One begins with one message; when that is settled, the other answers with one; then all that flows, flows.
fn in_turn(first: &Speaker, second: &Speaker) -> Result<(Flow, Flow)> {
    let there = settled(first, second, 0..1)?;
    let back = settled(second, first, 0..1)?;
    thread::scope(|scope| {
        let rest = |from: &Speaker, to: &Speaker, one: bool| -> Result<usize> {
            if one {
                from.say(to.domain(), 1..MESSAGES)?;
                to.wait_for(MESSAGES, TALK);
                Ok(MESSAGES)
            } else {
                Ok(1)
            }
        };
        let answer = scope.spawn(move || rest(second, first, back));
        let there = flow(first, second, rest(first, second, there)?);
        let sent = answer.join().map_err(|_| anyhow::anyhow!("a speaker panicked"))??;
        Ok((there, flow(second, first, sent)))
    })
}

/// Both begin at the same moment with all that they have.
fn at_once(near: &Speaker, far: &Speaker) -> Result<(Flow, Flow)> {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let speak = |from: &Speaker, to: &Speaker| -> Result<()> {
            start.wait();
            settled(from, to, 0..MESSAGES)?;
            if from.bounces().is_empty() {
                to.wait_for(MESSAGES, TALK);
            }
            Ok(())
        };
        let other = scope.spawn(move || speak(far, near));
        let own = speak(near, far);
        other
            .join()
            .map_err(|_| anyhow::anyhow!("a speaker panicked"))??;
        own?;
        Ok((flow(near, far, MESSAGES), flow(far, near, MESSAGES)))
    })
}

/// Says that and waits until the first message came, or came back; whether it came.
fn settled(from: &Speaker, to: &Speaker, numbers: std::ops::Range<usize>) -> Result<bool> {
    from.say(to.domain(), numbers)?;
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        if to.wait_for(1, LOOK) > 0 {
            return Ok(true);
        }
        if from.wait_for_bounce(Duration::ZERO).is_some() {
            return Ok(false);
        }
    }
    Ok(false)
}

fn flow(from: &Speaker, to: &Speaker, sent: usize) -> Flow {
    Flow {
        sent,
        came: to.messages().len(),
        bounce: from.bounces().first().cloned(),
        fault: to.heard_all(sent).err().map(|error| format!("{error:#}")),
    }
}

fn links(all: &[Value], placed: &Placed) -> Vec<Link> {
    let text = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let count = |value: &Value, field: &str| value.get(field).and_then(Value::as_u64).unwrap_or(0);
    let mut found = Vec::new();
    for link in all {
        let pairs = link.get("pairs").and_then(Value::as_array);
        for pair in pairs.into_iter().flatten() {
            if text(pair, "local") != placed.near || text(pair, "remote") != placed.far {
                continue;
            }
            let grounds = |direction: &str| {
                pair.get(direction)
                    .map_or_else(String::new, |grounds| text(grounds, "by"))
            };
            found.push(Link {
                role: text(link, "role"),
                peer_address: text(link, "peer_address"),
                bidi: link.get("bidi") == Some(&Value::Bool(true)),
                send: grounds("send"),
                receive: grounds("receive"),
                stanzas_in: count(link, "stanzas_in"),
                stanzas_out: count(link, "stanzas_out"),
            });
        }
    }
    found
}

/// Plays all cells and gives what was seen of each, in their order. Cells that will be refused mostly wait, so they
/// wait at the same time; the others run a few at once.
#[must_use]
pub fn play_all(world: &World) -> Vec<Result<Seen>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut order: Vec<usize> = (0..world.cells.len()).collect();
    order.sort_by_key(|index| {
        world
            .cells
            .get(*index)
            .is_some_and(|placed| is_good(placed.cell.ours) && is_good(placed.cell.theirs))
    });
    let results = std::sync::Mutex::new(std::collections::BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(index) = order.get(turn) else { break };
                    let Some(placed) = world.cells.get(*index) else {
                        break;
                    };
                    let seen = play(world, placed).with_context(|| placed.cell.name());
                    results
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .insert(*index, seen);
                }
            });
        }
    });
    results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .into_values()
        .collect()
}

const fn is_good(certificate: Certificate) -> bool {
    matches!(certificate, Certificate::Full | Certificate::ServerOnly)
}

/// Messages each way.
pub const MESSAGES: usize = 200;
/// Cells at once.
const WORKERS: usize = 16;
/// Between looks whether a message came or came back.
const LOOK: Duration = Duration::from_millis(20);
/// For the first message to come or to come back: servers look for another way for a while.
const SETTLE: Duration = Duration::from_secs(75);
/// For the rest.
const TALK: Duration = Duration::from_secs(45);
