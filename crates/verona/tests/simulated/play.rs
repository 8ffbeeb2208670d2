//! Plays a story, lets all faults end, and judges what became of every stanza.

use std::collections::BTreeMap;
use std::sync::mpsc;

use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, sleep_until};
use verona::Drained;
use verona_proto::stanza::StanzaKind;

use crate::ledger::{Entry, Fate, State};
use crate::network::{Counts, Network};
use crate::story::{Deed, Story};
use crate::town::{Town, host};

/// What came of a story.
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) fates: BTreeMap<Fate, usize>,
    pub(crate) refused: usize,
    /// What must not be; nothing if all is well.
    pub(crate) wrongs: Vec<String>,
}

/// Plays it in a runtime of its own, whose clock jumps to whatever happens next.
pub(crate) fn play(story: &Story) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let (done, watched) = mpsc::channel::<()>();
        scope.spawn(move || {
            // Somebody turns in circles, and no time goes by: nothing but the end of the process ends that.
            if watched.recv_timeout(REAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!(
                    "{story}it takes longer than {REAL:?}, in which its own time stands still"
                );
                std::process::abort();
            }
        });
        let outcome = runtime.block_on(async { Playing::new(story).run(story).await });
        drop(done);
        outcome
    })
}

struct Playing {
    town: Town,
    servers: usize,
    ending: BTreeMap<usize, JoinHandle<Drained>>,
    wrongs: Vec<String>,
    begun: Instant,
}

impl Playing {
    fn new(story: &Story) -> Self {
        Self {
            servers: story.ways.domains.len(),
            town: Town::new(Network::new(story.road), story.ways.clone()),
            ending: BTreeMap::new(),
            wrongs: Vec::new(),
            begun: Instant::now(),
        }
    }

    async fn run(mut self, story: &Story) -> Outcome {
        self.town.start_all().await;
        self.begun = Instant::now();
        for (at, deed) in &story.deeds {
            sleep_until(self.begun + *at).await;
            self.act(deed).await;
        }
        self.mend().await;
        self.settle().await;
        self.talk_again().await;
        self.close().await;
        self.judge()
    }

    async fn act(&mut self, deed: &Deed) {
        let network = self.town.network.clone();
        match deed {
            Deed::Say {
                from,
                to,
                count,
                bytes,
                iqs,
            } => self.say(from, to, *count, *bytes, *iqs),
            Deed::Cut { from, to, cut } => network.cut(host(*from), host(*to), *cut),
            Deed::CutNext { from, to, cut } => network.cut_next(host(*from), host(*to), *cut),
            Deed::Darken { from, to } => {
                network.pave(host(*from), host(*to), |road| road.dark = true)
            }
            Deed::Light { from, to } => {
                network.pave(host(*from), host(*to), |road| road.dark = false)
            }
            Deed::Pace {
                from,
                to,
                bytes_per_second,
            } => network.pave(host(*from), host(*to), |road| {
                road.bytes_per_second = *bytes_per_second;
            }),
            Deed::Crash(server) => self.town.crash(*server),
            Deed::LosePower(server) => {
                network.power_off(host(*server));
                self.town.crash(*server);
            }
            Deed::Stop(server) => {
                if let Some(ending) = self.town.begin_to_shut_down(*server) {
                    self.ending.insert(*server, ending);
                }
            }
            Deed::Start(server) => self.start(*server).await,
            Deed::Renew(server) => self.town.renew(*server),
            Deed::Sleep { bot, time } => self.town.put_to_sleep(bot, *time),
        }
    }

    fn say(&self, from: &str, to: &str, count: usize, bytes: usize, iqs: bool) {
        let kind = |index: usize| match iqs && index.is_multiple_of(2) {
            true => StanzaKind::Iq,
            false => StanzaKind::Message,
        };
        let stanzas = (0..count).map(|index| self.town.ledger.make(from, to, kind(index), bytes));
        self.town.send(from, stanzas.collect());
    }

    async fn start(&mut self, server: usize) {
        if let Some(ending) = self.ending.remove(&server) {
            ending.await.unwrap();
        }
        if self.town.engine(server).is_none() {
            self.town.network.power_on(host(server));
            self.town.start(server).await;
        }
    }

    /// Whatever is broken is whole again.
    async fn mend(&mut self) {
        for from in 0..self.servers {
            for to in 0..self.servers {
                self.town.network.pave(host(from), host(to), |road| {
                    road.dark = false;
                    road.bytes_per_second = None;
                });
            }
            self.start(from).await;
        }
        self.town.network.disarm();
    }

    /// Time goes by until nothing is unsettled that can be settled.
    async fn settle(&mut self) {
        let begun = Instant::now();
        while self.town.ledger.unsettled() > 0 && begun.elapsed() < SETTLED {
            sleep(Duration::from_secs(1)).await;
        }
        // Nor comes anything a second time.
        sleep(QUIET).await;
    }

    /// Everybody can talk with everybody.
    async fn talk_again(&mut self) {
        let domains = self.town.domains();
        let begun = Instant::now();
        let mut left = Vec::new();
        for from in &domains {
            for to in &domains {
                if self.town.server_of(from) != self.town.server_of(to) {
                    left.push((from.clone(), to.clone()));
                }
            }
        }
        while !left.is_empty() && begun.elapsed() < HEALED {
            let mut asked = Vec::new();
            for (from, to) in left {
                let stanza = self.town.ledger.make(&from, &to, StanzaKind::Message, 0);
                let id = stanza.id().unwrap();
                self.town.send(&from, vec![stanza]);
                asked.push((from, to, id));
            }
            sleep(Duration::from_secs(10)).await;
            asked.retain(|(_, _, id)| self.town.ledger.fate_of(id) != Fate::Delivered);
            left = asked.into_iter().map(|(from, to, _)| (from, to)).collect();
        }
        for (from, to) in left {
            self.wrongs.push(format!(
                "{from} cannot reach {to}, though nothing hinders it"
            ));
        }
    }

    async fn close(&mut self) {
        for server in 0..self.servers {
            if let Some(ending) = self.town.begin_to_shut_down(server) {
                self.ending.insert(server, ending);
            }
        }
        let begun = Instant::now();
        for ending in std::mem::take(&mut self.ending).into_values() {
            ending.await.unwrap();
        }
        if begun.elapsed() > Duration::from_secs(11) {
            self.wrongs
                .push(format!("the end took {:?}", begun.elapsed()));
        }
        // What was on the way, and what dialled without need.
        sleep(Duration::from_secs(15)).await;
        for server in 0..self.servers {
            let open = self.town.network.open(host(server));
            if open > 0 {
                self.wrongs.push(format!(
                    "server {server} has ended, and has {open} connections"
                ));
            }
        }
    }

    fn judge(mut self) -> Outcome {
        let mut fates = BTreeMap::new();
        let mut refused = 0;
        // An error for which there was no room is counted where it was made, and that is all that is known of it.
        let mut dropped: u64 = (0..self.servers)
            .map(|server| self.town.dropped(server))
            .sum();
        self.wrongs.extend(self.town.ledger.wrongs());
        let entries = self.town.ledger.entries();
        for id in self.town.ledger.late() {
            self.wrongs
                .push(format!("{id} was delivered after a later one"));
        }
        for (id, entry) in entries {
            let fate = entry.fate();
            match entry.state {
                State::Accepted => {
                    *fates.entry(fate).or_default() += 1;
                    let is_excused = match fate {
                        Fate::Delivered | Fate::Bounced => true,
                        Fate::Both => self.may_be_uncertain(&entry),
                        Fate::Unknown if self.town.ledger.was_crashed_over(&entry) => true,
                        Fate::Unknown => {
                            let is_counted = dropped > 0;
                            dropped = dropped.saturating_sub(1);
                            is_counted
                        }
                    };
                    if !is_excused {
                        self.wrongs
                            .push(format!("{id} {fate:?}: {}", entry.tell(self.begun)));
                    }
                }
                State::Refused => {
                    refused += 1;
                    if fate != Fate::Unknown {
                        self.wrongs
                            .push(format!("{id} was refused, and yet {fate:?}"));
                    }
                }
                State::Unsaid => {
                    let ledger = &self.town.ledger;
                    if !ledger.was_crashed_over(&entry)
                        && !ledger.was_stopped_over(&entry, &entry.from)
                    {
                        self.wrongs
                            .push(format!("{id} was neither taken nor refused"));
                    }
                }
            }
        }
        Outcome {
            counts: self.town.network.counts(),
            fates,
            refused,
            wrongs: self.wrongs,
        }
    }

    /// Whether a sender may be told that something did not arrive that did. A server that crashes takes with it what it
    /// knew, and one that stops delivers what it hears behind its last acknowledgement. A connection that breaks, wherever
    /// and however often, is no excuse: the servers compare how far they came.
    fn may_be_uncertain(&self, entry: &Entry) -> bool {
        let ledger = &self.town.ledger;
        ledger.was_crashed_over(entry) || ledger.was_stopped_over(entry, &entry.to)
    }
}

/// What waits is returned after `outbox_age_seconds`; a connection that nobody hears on is given up after 90 s.
const SETTLED: Duration = Duration::from_secs(400);
const QUIET: Duration = Duration::from_secs(100);
/// Attempts rest for eight seconds at most.
const HEALED: Duration = Duration::from_secs(120);
/// A story takes less than a second, on a machine that has nothing else to do.
const REAL: Duration = Duration::from_secs(120);
