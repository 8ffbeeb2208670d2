//! What is done to the servers and to what lies between them, in an order that a seed decides.
//! Why in tracks: faults of different places happen at once, as they do to people.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::ledger::Way;
use super::voice::Death;
use super::world::{Link, Peer, Side, World};
use crate::chance::Chance;
use crate::fault_proxy::{Direction, FaultProxy, Marks, Shape};
use crate::process::lock;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Link(LinkFault),
    Veronas(ServerFault),
    Prosody(ProsodyFault),
}

/// What is done to what lies between two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkFault {
    Cut,
    HalfClose,
    Corrupt,
    BlackHole,
    Stall,
    Narrow,
    Refuse,
    Cross,
}

/// What is done to a verona or its component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServerFault {
    StopVerona,
    KillComponent,
    SlowComponent,
    Rotate,
    DnsChange,
    Reload,
    FullDisk,
}

/// What is done to a Prosody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProsodyFault {
    StopProsody,
    KillProsody,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(fault) => write!(f, "{fault:?}"),
            Self::Veronas(fault) => write!(f, "{fault:?}"),
            Self::Prosody(fault) => write!(f, "{fault:?}"),
        }
    }
}

/// What happens at one place, one fault after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    Link(Link),
    Veronas,
    Prosody(Peer),
}

/// How long faults last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    pub(super) black_hole: [Duration; 2],
    pub(super) stop: [Duration; 2],
    pub(super) short: [Duration; 2],
    pub(super) between: [Duration; 2],
}

/// A fault that was.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) track: Track,
    pub(super) kind: Kind,
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) what: String,
}

impl Track {
    pub(super) const ALL: [Self; 6] = [
        Self::Link(Link::Veronas),
        Self::Link(Link::Acking),
        Self::Link(Link::Plain),
        Self::Veronas,
        Self::Prosody(Peer::Acking),
        Self::Prosody(Peer::Plain),
    ];

    /// How much longer than others it waits between two faults: a Prosody that is always away shows nothing.
    const fn rest(self) -> u32 {
        match self {
            Self::Link(_) | Self::Veronas => 1,
            Self::Prosody(_) => 4,
        }
    }

    fn kinds(self) -> Vec<Kind> {
        match self {
            Self::Link(_) => [
                LinkFault::Cut,
                LinkFault::Cut,
                LinkFault::HalfClose,
                LinkFault::Corrupt,
                LinkFault::BlackHole,
                LinkFault::Stall,
                LinkFault::Narrow,
                LinkFault::Refuse,
                LinkFault::Cross,
            ]
            .map(Kind::Link)
            .to_vec(),
            Self::Veronas => [
                ServerFault::StopVerona,
                ServerFault::KillComponent,
                ServerFault::KillComponent,
                ServerFault::SlowComponent,
                ServerFault::Rotate,
                ServerFault::DnsChange,
                ServerFault::Reload,
                ServerFault::FullDisk,
            ]
            .map(Kind::Veronas)
            .to_vec(),
            Self::Prosody(_) => [ProsodyFault::StopProsody, ProsodyFault::KillProsody]
                .map(Kind::Prosody)
                .to_vec(),
        }
    }
}

/// Does it to them until the time is over, and says what was done.
pub(super) fn play(
    world: &World,
    track: Track,
    mut chance: Chance,
    lengths: Lengths,
    over: Instant,
) -> Result<Vec<Event>> {
    let mut player = Player {
        world,
        lengths,
        over,
        place: 0,
        has_extra: false,
    };
    let mut events = Vec::new();
    let mut deck = Vec::new();
    loop {
        let pause = chance.time(lengths.between[0], lengths.between[1]) * track.rest();
        if Instant::now() + pause >= over {
            return Ok(events);
        }
        thread::sleep(pause);
        if deck.is_empty() {
            deck = track.kinds();
            chance.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else {
            return Ok(events);
        };
        let from = world.ledger.elapsed();
        let what = match (track, kind) {
            (Track::Link(link), Kind::Link(fault)) => {
                player.on_link(link, fault, &mut chance);
                String::new()
            }
            (Track::Veronas, Kind::Veronas(fault)) => player.on_veronas(fault, &mut chance)?,
            (Track::Prosody(peer), Kind::Prosody(fault)) => {
                player.on_prosody(peer, fault, &mut chance)?;
                String::new()
            }
            (Track::Link(_) | Track::Veronas | Track::Prosody(_), _) => String::new(),
        };
        events.push(Event {
            track,
            kind,
            from,
            until: world.ledger.elapsed(),
            what,
        });
    }
}

struct Player<'a> {
    world: &'a World,
    lengths: Lengths,
    over: Instant,
    /// Which place DNS names.
    place: usize,
    has_extra: bool,
}

impl Player<'_> {
    fn on_link(&self, link: Link, fault: LinkFault, chance: &mut Chance) {
        let proxies = self.world.links.of(link);
        let all = |act: &dyn Fn(&FaultProxy)| proxies.iter().for_each(act);
        let cut = |proxy: &FaultProxy| {
            proxy.cut();
        };
        match fault {
            LinkFault::Cut | LinkFault::HalfClose | LinkFault::Corrupt => {
                for proxy in proxies {
                    at_a_byte(proxy, fault, chance);
                }
                // A quiet link does not come to the byte.
                self.rest(chance, self.lengths.short);
                if fault == LinkFault::Cut {
                    all(&cut);
                }
            }
            LinkFault::BlackHole => {
                all(&FaultProxy::black_hole);
                self.rest(chance, self.lengths.black_hole);
                // What was on its way may be lost with it.
                if chance.once_in(2) {
                    all(&cut);
                }
            }
            LinkFault::Stall => {
                let direction = direction(chance);
                all(&|proxy| proxy.stall(direction));
                self.rest(chance, self.lengths.stop);
            }
            LinkFault::Narrow => {
                let shape = Shape {
                    jitter: Duration::from_millis(20),
                    bytes_per_second: Some(chance.between(20_000, 60_000)),
                    slice_bytes: Some(200),
                    ..Shape::default()
                };
                for direction in Direction::ALL {
                    all(&|proxy| proxy.shape(direction, shape));
                }
                self.rest(chance, self.lengths.stop);
            }
            LinkFault::Refuse => {
                all(&FaultProxy::refuse);
                all(&cut);
                self.rest(chance, self.lengths.short);
            }
            LinkFault::Cross => {
                // So far apart that both have dialled before either hears of it.
                all(&|proxy| proxy.delay(CROSSING));
                all(&cut);
                self.rest(chance, self.lengths.short);
            }
        }
        all(&FaultProxy::heal);
    }

    fn on_veronas(&mut self, fault: ServerFault, chance: &mut Chance) -> Result<String> {
        let side = *chance.one_of(&Side::ALL).unwrap_or(&Side::Near);
        match fault {
            ServerFault::StopVerona => {
                self.world.server(side).verona.process.signal("STOP")?;
                self.rest(chance, self.lengths.stop);
                self.world.server(side).verona.process.signal("CONT")?;
                return Ok(side.word().to_owned());
            }
            ServerFault::KillComponent => {
                let Some(voice) = chance.one_of(&self.world.voices) else {
                    return Ok(String::new());
                };
                let death = match chance.once_in(2) {
                    true => Death::Reset,
                    false => Death::Fin,
                };
                voice.die(death);
                return Ok(format!("{} {death:?}", voice.domain()));
            }
            ServerFault::SlowComponent => {
                if let Some(voice) = chance.one_of(&self.world.voices) {
                    let time = chance.time(self.lengths.stop[0], self.lengths.stop[1]);
                    voice.turn_deaf(self.within(time));
                    return Ok(voice.domain().to_owned());
                }
            }
            ServerFault::Rotate => return self.world.rotate(side, chance),
            ServerFault::DnsChange => {
                self.place = 1 - self.place;
                self.world.change_dns(self.place)?;
                // The connections of the place before end, and the new place is dialled.
                for proxy in self.world.links.of(Link::Veronas).iter().skip(2) {
                    proxy.cut();
                }
            }
            ServerFault::Reload => {
                self.has_extra = !self.has_extra;
                self.world.reload(side, self.has_extra)?;
                return Ok(side.word().to_owned());
            }
            ServerFault::FullDisk => {
                self.world.fill_disk(side, true)?;
                self.rest(chance, self.lengths.stop);
                self.world.fill_disk(side, false)?;
                return Ok(side.word().to_owned());
            }
        }
        Ok(String::new())
    }

    fn on_prosody(&self, peer: Peer, fault: ProsodyFault, chance: &mut Chance) -> Result<()> {
        match fault {
            ProsodyFault::StopProsody => {
                self.world.signal_prosody(peer, "STOP")?;
                self.rest(chance, self.lengths.stop);
                self.world.signal_prosody(peer, "CONT")?;
            }
            ProsodyFault::KillProsody => {
                self.world.kill_prosody(peer);
                self.rest(chance, self.lengths.short);
                self.world.start_prosody(peer)?;
            }
        }
        Ok(())
    }

    /// Waits for a time by chance, but not beyond the end.
    fn rest(&self, chance: &mut Chance, [least, most]: [Duration; 2]) {
        thread::sleep(self.within(chance.time(least, most)));
    }

    fn within(&self, time: Duration) -> Duration {
        time.min(self.over.saturating_duration_since(Instant::now()))
    }
}

/// Has something happen within the next bytes of every connection, in a direction by chance.
fn at_a_byte(proxy: &FaultProxy, fault: LinkFault, chance: &mut Chance) {
    let (direction, bytes) = (direction(chance), chance.between(0, 6_000));
    if fault == LinkFault::HalfClose {
        proxy.half_close_after(direction, bytes);
    } else if fault == LinkFault::Corrupt {
        proxy.corrupt_after(direction, bytes);
    } else {
        proxy.cut_after(direction, bytes);
        // The connection that replaces it may die of the same while it is made.
        if chance.once_in(2) {
            let marks = Marks {
                cut_at: Some(chance.between(1, 9_000)),
                ..Marks::default()
            };
            match direction {
                Direction::ToServer => proxy.arm(marks, Marks::default()),
                Direction::ToDialer => proxy.arm(Marks::default(), marks),
            }
        }
    }
}

fn direction(chance: &mut Chance) -> Direction {
    *chance
        .one_of(&Direction::ALL)
        .unwrap_or(&Direction::ToServer)
}

/// Plays all tracks at once.
pub(super) fn play_all(
    world: &World,
    chance: &mut Chance,
    lengths: Lengths,
    over: Instant,
) -> Result<Vec<Event>> {
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for track in Track::ALL {
            let (own, all) = (Chance::new(chance.next()), &all);
            scope.spawn(move || {
                let played = play(world, track, own, lengths, over);
                lock(all).push(played);
            });
        }
    });
    let mut events = Vec::new();
    for played in std::mem::take(&mut *lock(&all)) {
        events.extend(played?);
    }
    events.sort_by_key(|event: &Event| event.from);
    Ok(events)
}

/// Kills a verona so many times, with stanzas on their way, and says how many those were.
pub(super) fn kill_veronas(world: &World, chance: &mut Chance, times: usize) -> Result<usize> {
    let mut under_way = 0;
    for number in 0..times {
        world.speak(true);
        thread::sleep(UNDER_WAY);
        let side = Side::ALL[number % Side::ALL.len()];
        world
            .links
            .of(Link::Veronas)
            .iter()
            .for_each(FaultProxy::black_hole);
        thread::sleep(UNDER_WAY);
        // What is not known now is in a queue or not acknowledged; what is sent later is not taken by who is dead.
        under_way += world.ledger.open_stanzas(&[Way::Veronas]);
        let away = chance.time(Duration::from_millis(200), Duration::from_secs(3));
        world.kill_verona(side, away)?;
        world
            .links
            .of(Link::Veronas)
            .iter()
            .for_each(FaultProxy::heal);
        thread::sleep(UNDER_WAY);
        world.speak(false);
    }
    Ok(under_way)
}

const UNDER_WAY: Duration = Duration::from_secs(2);
const CROSSING: Duration = Duration::from_millis(150);
