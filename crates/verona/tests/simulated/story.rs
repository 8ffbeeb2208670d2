//! What happens in one town: made from a seed, and printed when it ends badly.

use std::fmt;
use std::time::Duration;

use verona_proto::policy::IdentityMethod;

use crate::chance::Chance;
use crate::network::{Cut, Notices, Road};
use crate::town::Ways;

pub(crate) struct Story {
    pub(crate) seed: u64,
    pub(crate) ways: Ways,
    pub(crate) road: Road,
    /// In the order of time.
    pub(crate) deeds: Vec<(Duration, Deed)>,
}

/// One thing that happens. Servers are named by their index, bots by their domain.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Say {
        from: String,
        to: String,
        count: usize,
        bytes: usize,
        iqs: bool,
    },
    Cut {
        from: usize,
        to: usize,
        cut: Cut,
    },
    CutNext {
        from: usize,
        to: usize,
        cut: Cut,
    },
    Darken {
        from: usize,
        to: usize,
    },
    Light {
        from: usize,
        to: usize,
    },
    Pace {
        from: usize,
        to: usize,
        bytes_per_second: Option<u64>,
    },
    Crash(usize),
    LosePower(usize),
    /// In good order.
    Stop(usize),
    Start(usize),
    Renew(usize),
    Sleep {
        bot: String,
        time: Duration,
    },
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let chance = &mut chance;
        let servers = usize::try_from(chance.between(2, 3)).unwrap();
        let ways = ways(chance, servers);
        let road = Road {
            latency: Duration::from_millis(*chance.one_of(&[0, 1, 10, 50, 200])),
            bytes_per_second: None,
            buffer: *chance.one_of(&[2 * 1024, 16 * 1024, 128 * 1024]),
            dark: false,
        };
        let mut deeds = talk(chance, &ways);
        for _ in 0..chance.between(1, 4) {
            trouble(chance, servers, &ways, &mut deeds);
        }
        deeds.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            ways,
            road,
            deeds,
        }
    }
}

fn ways(chance: &mut Chance, servers: usize) -> Ways {
    let names = ["capulet", "montague", "laurence"];
    let domains = names.iter().take(servers).map(|name| {
        let mut own = vec![format!("{name}.lit")];
        if chance.percent(30) {
            own.push(format!("rooms.{name}.lit"));
        }
        own
    });
    let domains = domains.collect();
    let mut limits = vec![("retry_seconds_max", 8)];
    if chance.percent(25) {
        // So short that streams are closed for want of traffic while something is said.
        limits.push(("idle_seconds", 3));
    }
    if chance.percent(25) {
        limits.push(("converge_seconds", 1));
    }
    if chance.percent(25) {
        limits.push(("keepalive_seconds", 5));
    }
    if chance.percent(20) {
        limits.push(("component_backlog_stanzas_max", 20));
    }
    if chance.percent(20) {
        limits.push(("outbox_stanzas_max", 30));
    }
    Ways {
        domains,
        identity: match chance.percent(25) {
            true => IdentityMethod::Dialback,
            false => IdentityMethod::Certificate,
        },
        direct_tls: chance.percent(30),
        limits,
    }
}

/// Who says what to whom, and when: now and then all at once.
fn talk(chance: &mut Chance, ways: &Ways) -> Vec<(Duration, Deed)> {
    let mut pairs = Vec::new();
    for (server, names) in ways.domains.iter().enumerate() {
        for (other, others) in ways.domains.iter().enumerate() {
            if server != other {
                pairs.extend(
                    names
                        .iter()
                        .flat_map(|from| others.iter().map(move |to| (from.clone(), to.clone()))),
                );
            }
        }
    }
    let mut deeds = Vec::new();
    for _ in 0..chance.between(2, 5) {
        let at = moment(chance);
        for (from, to) in &pairs {
            if chance.percent(60) {
                deeds.push((at, say(chance, from, to)));
            }
        }
    }
    for _ in 0..chance.between(5, 25) {
        let (from, to) = chance.one_of(&pairs);
        let at = moment(chance);
        deeds.push((at, say(chance, from, to)));
    }
    deeds
}

fn say(chance: &mut Chance, from: &str, to: &str) -> Deed {
    Deed::Say {
        from: from.to_owned(),
        to: to.to_owned(),
        count: *chance.one_of(&[1, 1, 3, 10, 40]),
        bytes: *chance.one_of(&[0, 20, 200, 200, 5000]),
        iqs: chance.percent(20),
    }
}

/// One fault, and its end.
fn trouble(chance: &mut Chance, servers: usize, ways: &Ways, deeds: &mut Vec<(Duration, Deed)>) {
    let at = moment(chance);
    let from = chance.below(servers);
    let to = (from + 1 + chance.below(servers - 1)) % servers;
    let mut then = |after: Duration, deed: Deed| deeds.push((at + after, deed));
    let begin = Duration::ZERO;
    match chance.below(10) {
        0 | 1 => {
            let cut = cut(chance);
            then(begin, Deed::Cut { from, to, cut });
        }
        2 => {
            let cut = cut(chance);
            then(begin, Deed::CutNext { from, to, cut });
        }
        3 => {
            let end = patience(chance);
            then(begin, Deed::Darken { from, to });
            then(end, Deed::Light { from, to });
        }
        4 => {
            let end = patience(chance);
            for (from, to) in [(from, to), (to, from)] {
                then(begin, Deed::Darken { from, to });
                then(end, Deed::Light { from, to });
            }
        }
        5 => {
            let bytes_per_second = Some(*chance.one_of(&[300, 3_000, 30_000]));
            then(
                begin,
                Deed::Pace {
                    from,
                    to,
                    bytes_per_second,
                },
            );
            let (end, bytes_per_second) = (patience(chance), None);
            then(
                end,
                Deed::Pace {
                    from,
                    to,
                    bytes_per_second,
                },
            );
        }
        6 => {
            let deed = match chance.percent(50) {
                true => Deed::Crash(from),
                false => Deed::LosePower(from),
            };
            then(begin, deed);
            then(patience(chance), Deed::Start(from));
        }
        7 => {
            then(begin, Deed::Stop(from));
            then(patience(chance), Deed::Start(from));
        }
        8 => then(begin, Deed::Renew(from)),
        _ => {
            let bot = chance.one_of(&ways.domains[from]).clone();
            let time = patience(chance);
            then(begin, Deed::Sleep { bot, time });
        }
    }
}

fn cut(chance: &mut Chance) -> Cut {
    Cut {
        // Headers and features, the handshake, authentication, stanzas, and far into them.
        after: match chance.below(5) {
            0 => chance.between(0, 500),
            1 => chance.between(500, 3_000),
            2 => chance.between(3_000, 6_000),
            3 => chance.between(0, 30),
            _ => chance.between(6_000, 60_000),
        },
        notices: *chance.one_of(&[
            Notices::Both,
            Notices::Both,
            Notices::Reader,
            Notices::Writer,
        ]),
    }
}

fn moment(chance: &mut Chance) -> Duration {
    // Some at the same moment as others.
    match chance.percent(30) {
        true => Duration::from_secs(chance.between(0, 6) * 5),
        false => Duration::from_millis(chance.between(0, 30_000)),
    }
}

/// How long a fault lasts.
fn patience(chance: &mut Chance) -> Duration {
    let (low, high) = *chance.one_of(&[(1, 500), (500, 5_000), (5_000, 40_000), (60_000, 150_000)]);
    Duration::from_millis(chance.between(low, high))
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "{:?}", self.ways)?;
        writeln!(f, "{:?}", self.road)?;
        for (at, deed) in &self.deeds {
            writeln!(f, "{:>8.3} s  {deed:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
