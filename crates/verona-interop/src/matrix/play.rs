//! How a cell goes: an end on either side, who begins, what each hears, and which connections carried it.
//! Why observing and judging are apart: what was seen is also what the table tells of a cell.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::world::{Placed, SECRET, World};
use super::{Certificate, Dials, Kind};
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
    /// Messages that were sent: all numbers below this one.
    pub sent: usize,
    /// Those sent while the peer was breaking its own connection, which never came.
    pub lost: Vec<usize>,
    /// The numbers that came, in their order.
    pub came: Vec<usize>,
    /// The first message that came back to its sender.
    pub bounce: Option<Bounce>,
    /// Anything else that came.
    pub surprises: Vec<String>,
}

/// A connection as verona tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Who opened it: `initiating` is verona.
    pub role: String,
    /// Our end.
    pub local_address: String,
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
    let (peer, all) = (placed.cell.peer.kind(), world.messages);
    let (near_to_far, far_to_near) = match placed.cell.dials {
        Dials::Verona => in_turn(&near, &far, peer, all)?,
        Dials::Peer => {
            let (there, back) = in_turn(&far, &near, peer, all)?;
            (back, there)
        }
        Dials::Both => at_once(&near, &far, peer, all)?,
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
fn in_turn(first: &Speaker, second: &Speaker, peer: Kind, all: usize) -> Result<(Flow, Flow)> {
    let there = settled(first, second, 0..1)?;
    let back = settled(second, first, 0..1)?;
    thread::scope(|scope| {
        let answer = scope.spawn(move || rest(second, first, 1..all, back, peer));
        let there = rest(first, second, 1..all, there, peer)?;
        let back = answer
            .join()
            .map_err(|_| anyhow::anyhow!("a speaker panicked"))??;
        Ok((there, back))
    })
}

/// Both begin at the same moment: with all that they have, or with one message where the peer bears no more.
fn at_once(near: &Speaker, far: &Speaker, peer: Kind, all: usize) -> Result<(Flow, Flow)> {
    let (start, then) = (Barrier::new(2), Barrier::new(2));
    let first = match peer {
        Kind::Jabberd2 => 1,
        Kind::Verona | Kind::Prosody | Kind::Ejabberd => all,
    };
    thread::scope(|scope| {
        let (start, then) = (&start, &then);
        let speak = move |from: &Speaker, to: &Speaker| -> Result<Flow> {
            start.wait();
            let came = settled(from, to, 0..first);
            then.wait();
            rest(from, to, first..all, came?, peer)
        };
        let other = scope.spawn(move || speak(far, near));
        let own = speak(near, far);
        let other = other
            .join()
            .map_err(|_| anyhow::anyhow!("a speaker panicked"))??;
        Ok((own?, other))
    })
}

/// After the first messages, the others, if those came.
fn rest(
    from: &Speaker,
    to: &Speaker,
    numbers: std::ops::Range<usize>,
    came: bool,
    peer: Kind,
) -> Result<Flow> {
    let (mut sent, all) = (numbers.start, numbers.end);
    let mut lost = Vec::new();
    if came {
        // jabberd2 takes an error that is left over from the handshake of another connection for one of the connection
        // on which it finds half a record. So it gets one message at a time, and loses one at most when that happens.
        while peer == Kind::Jabberd2 && sent < all && lost.len() < LOST_MAX {
            from.say(to.domain(), sent..sent + 1)?;
            sent += 1;
            let wanted = sent - lost.len();
            if to.wait_for(wanted, PROBE) < wanted {
                lost.push(sent - 1);
            }
        }
        from.say(to.domain(), sent..all)?;
        sent = all;
        to.wait_for(all - lost.len(), TALK);
    }
    Ok(Flow {
        sent,
        lost,
        came: to.messages(),
        bounce: from.bounces().first().cloned(),
        surprises: to.surprises(),
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
                local_address: text(link, "local_address"),
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
pub fn play_all(world: &World, workers: usize) -> Vec<Result<Seen>> {
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
        for _ in 0..workers {
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

/// Between looks whether a message came or came back.
const LOOK: Duration = Duration::from_millis(20);
/// For the first message to come or to come back: servers look for another way for a while.
const SETTLE: Duration = Duration::from_secs(75);
/// For one message to come where connections were made before.
const PROBE: Duration = Duration::from_millis(1_500);
/// How many of those may not come.
const LOST_MAX: usize = 3;
/// For the rest.
const TALK: Duration = Duration::from_secs(45);
