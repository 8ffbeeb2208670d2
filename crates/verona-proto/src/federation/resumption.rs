//! Lost streams that can be taken up again (XEP-0198 §5): what was on its way waits here until it is known what arrived.
//!
//! Taking up a stream is an exchange of two counts, on a new connection that either side may open: each tells how far it
//! came, and then both know exactly. What did not arrive waits again in front of its own queue and flows as anything
//! else does, on whichever stream; so nothing here depends on which stream that is. A stream that is not taken up in
//! time is uncertain, as it is with a peer that takes up nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::attempt::{Aim, Attempt};
use super::{AttemptKey, Command, Federation, Phase, Report, Route, StreamKey};
use crate::addr::{Domain, DomainPair};
use crate::carriage::{Carriage, Left};
use crate::limits::{seconds, size};
use crate::stanza::{Reason, Undelivered};
use crate::stream::{Role, Ticket};

/// What is left of a stream that can be taken up again.
#[derive(Debug)]
pub struct LostStream {
    /// How far both sides came.
    pub ticket: Ticket,
    /// The pair that the stream was opened for: whoever takes it up must be proven for it (SM-14).
    pub pair: DomainPair,
    /// Who opened the stream.
    pub role: Role,
    /// When a stanza went over it last.
    pub used: Instant,
    /// The queues of which something is on its way.
    pub carriage: Carriage,
}

/// The names of all streams that could be taken up, and what is left of those that are lost.
#[derive(Debug, Default)]
pub(super) struct LostStreams {
    /// The names of the streams that are alive.
    live: BTreeMap<String, StreamKey>,
    by_stream: BTreeMap<StreamKey, String>,
    suspended: BTreeMap<String, Suspended>,
    /// The suspended streams of a pair.
    by_pair: BTreeMap<DomainPair, BTreeSet<String>>,
    /// When a suspended one is to be looked at.
    deadlines: BTreeSet<(Instant, String)>,
    /// Under which name a stream goes on that was taken up: whoever did not hear that name asks under the former one.
    renamed: BTreeMap<String, String>,
    /// The former name of each that was renamed.
    former: BTreeMap<String, String>,
    /// Streams on which one is taken up that has not ended yet here.
    claims: BTreeMap<String, Claim>,
    /// Under which name the peer asked on a stream, until that has a name of its own.
    claimed: BTreeMap<StreamKey, String>,
}

#[derive(Debug)]
struct Suspended {
    lost: LostStream,
    /// Until when it can be taken up.
    until: Instant,
    /// When it is looked at next.
    next: Instant,
    /// When we try to take it up ourselves.
    seek_at: Instant,
    /// Our attempt to take it up.
    attempt: Option<AttemptKey>,
    /// The stream of ours on which we take it up: nobody else is asked, for the peer would end this one.
    asked: Option<StreamKey>,
}

impl Suspended {
    /// Whether anything was on its way.
    fn waits(&self) -> bool {
        self.lost.carriage.pairs().next().is_some()
    }
}

/// What a stream wants to take up.
#[derive(Clone, Debug)]
struct Claim {
    stream: StreamKey,
    h: u32,
    name: String,
}

impl LostStreams {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What an attempt for this pair could take up.
    pub(super) fn ticket(&self, pair: &DomainPair) -> Option<Ticket> {
        let suspended = |id| self.suspended.get(id);
        let all = self.by_pair.get(pair)?.iter().filter_map(suspended);
        let unasked = all
            .filter(|suspended| suspended.asked.is_none())
            // Those for which something waits come first, or they wait behind others that nobody needs.
            .min_by_key(|suspended| (!suspended.waits(), suspended.until))?;
        let ticket = &unasked.lost.ticket;
        Some(Ticket {
            former: self.former.get(&ticket.id).cloned(),
            ..ticket.clone()
        })
    }

    /// The stream that a peer calls so. It asks under the former name of one that we let it take up, if it did not hear
    /// that; and under both if it let us take up one, for we may not have heard it.
    fn called(&self, name: &str, former: Option<&str>) -> Option<String> {
        let is_known = |id: &&str| self.live.contains_key(*id) || self.suspended.contains_key(*id);
        let renamed = self.renamed.get(name).map(String::as_str);
        let former = former.filter(|id| self.suspended.contains_key(*id));
        let known = [Some(name), renamed, former].into_iter().flatten();
        known.into_iter().find(is_known).map(str::to_owned)
    }

    /// A stream of ours is to take up a lost one.
    pub(super) fn ask(&mut self, id: &str, stream: StreamKey) {
        if let Some(suspended) = self.suspended.get_mut(id) {
            suspended.asked = Some(stream);
        }
    }

    /// A stream is over that was to take up others: they are looked at again at once.
    fn unask(&mut self, stream: StreamKey, now: Instant) {
        for (id, suspended) in &mut self.suspended {
            if suspended.asked == Some(stream) {
                suspended.asked = None;
                self.deadlines.remove(&(suspended.next, id.clone()));
                suspended.next = now.min(suspended.until);
                self.deadlines.insert((suspended.next, id.clone()));
            }
        }
    }

    /// The attempt that is to take up a stream of this pair.
    pub(super) fn attempt(&self, pair: &DomainPair) -> Option<AttemptKey> {
        let ids = self.by_pair.get(pair)?;
        ids.iter().find_map(|id| {
            self.suspended
                .get(id)
                .and_then(|suspended| suspended.attempt)
        })
    }

    /// Whether an attempt for this pair is to take up a stream.
    pub(super) fn seeks(&self, pair: &DomainPair, key: AttemptKey) -> bool {
        self.by_pair.get(pair).is_some_and(|ids| {
            ids.iter().any(|id| {
                self.suspended
                    .get(id)
                    .is_some_and(|suspended| suspended.attempt == Some(key))
            })
        })
    }

    /// An attempt is over. What it should have taken up and did not is looked at again soon.
    pub(super) fn forget_attempt(&mut self, pair: &DomainPair, key: AttemptKey) {
        for id in self.by_pair.get(pair).into_iter().flatten() {
            if let Some(suspended) = self.suspended.get_mut(id)
                && suspended.attempt == Some(key)
            {
                suspended.attempt = None;
            }
        }
    }

    fn insert(&mut self, suspended: Suspended) {
        let id = suspended.lost.ticket.id.clone();
        self.by_pair
            .entry(suspended.lost.pair.clone())
            .or_default()
            .insert(id.clone());
        self.deadlines.insert((suspended.next, id.clone()));
        self.suspended.insert(id, suspended);
    }

    fn take(&mut self, id: &str) -> Option<Suspended> {
        let suspended = self.suspended.remove(id)?;
        self.deadlines.remove(&(suspended.next, id.to_owned()));
        if let Some(ids) = self.by_pair.get_mut(&suspended.lost.pair) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_pair.remove(&suspended.lost.pair);
            }
        }
        Some(suspended)
    }

    /// Nobody can ask for the stream under any of its names any more.
    fn forget_names(&mut self, id: &str) {
        if let Some(former) = self.former.remove(id) {
            self.renamed.remove(&former);
        }
    }
}

impl Federation {
    /// A stream has a stream.
    pub(super) fn on_managed(&mut self, stream: StreamKey, id: Option<String>) {
        let former = self.lost.claimed.remove(&stream);
        let Some(id) = id else {
            return;
        };
        if let Some(former) = former {
            if let Some(replaced) = self.lost.renamed.insert(former.clone(), id.clone()) {
                self.lost.former.remove(&replaced);
            }
            self.lost.former.insert(id.clone(), former);
        }
        self.lost.by_stream.insert(stream, id.clone());
        self.lost.live.insert(id, stream);
    }

    /// A peer wants to take up a stream on a stream that it opened.
    pub(super) fn on_resume_requested(
        &mut self,
        stream: StreamKey,
        (name, former): (String, Option<String>),
        h: u32,
        now: Instant,
    ) {
        let id = self.lost.called(&name, former.as_deref());
        let id = id.unwrap_or_else(|| name.clone());
        let claim = Claim { stream, h, name };
        if let Some(old) = self.lost.live.get(&id).copied() {
            // The peer has lost a connection that we still hold for alive. Only whoever is proven may end it.
            //= SM-14
            let known = self
                .streams
                .get(old)
                .zip(self.streams.get(stream))
                .is_some_and(|(old, new)| old.peers().any(|peer| new.proven.contains(peer)));
            if known && old != stream {
                self.lost.claims.insert(id, claim);
                return self.commands.push_back(Command::Abandon { stream: old });
            }
        }
        self.settle_claim(&id, claim, now);
    }

    /// Answers a stream that wants to take up a stream.
    fn settle_claim(&mut self, id: &str, claim: Claim, now: Instant) {
        let Claim { stream, h, name } = claim;
        let newly = self.lost.suspended.get(id).and_then(|suspended| {
            let remote: &Domain = suspended.lost.pair.remote().domain();
            //= SM-14
            let is_proven = self
                .streams
                .get(stream)
                .is_some_and(|record| record.proven.contains(remote));
            is_proven
                .then(|| suspended.lost.ticket.newly_handled(h))
                .flatten()
        });
        let found = match newly {
            Some(newly) => self.resolve(id, Some(newly), now),
            None => None,
        };
        let found = found.map(|ticket| Ticket {
            acknowledged: h,
            ..ticket
        });
        if found.is_some() {
            self.lost.claimed.insert(stream, name);
        }
        self.commands.push_back(Command::Resume { stream, found });
    }

    /// The peer answered when we took up a stream: `None` if it does not know it any more.
    pub(super) fn on_resumed(&mut self, id: &str, h: Option<u32>, now: Instant) {
        let newly = h.and_then(|h| {
            let suspended = self.lost.suspended.get(id)?;
            suspended.lost.ticket.newly_handled(h)
        });
        self.resolve(id, newly, now);
    }

    /// What is left of a stream that has ended: it waits, or is settled at once if the peer asked for it already.
    pub(super) fn suspend(&mut self, lost: LostStream, is_clean: bool, now: Instant) {
        let id = lost.ticket.id.clone();
        let policy = self.policy.for_peer(lost.pair.remote().domain());
        let until = now + seconds(policy.limits.resume_seconds);
        for pair in lost.carriage.pairs() {
            self.routes.insert(pair.clone(), Route::Suspended);
        }
        let waits = lost.carriage.pairs().next().is_some();
        let recently = lost.used + RECENTLY > now;
        let seek_at = match (lost.role, waits) {
            (Role::Initiating, true) => now,
            // The peer may wait to be told.
            (Role::Initiating, false) if recently && !is_clean => now,
            // Whoever opened the stream comes first.
            (Role::Receiving, true) => now + PATIENCE,
            (Role::Initiating | Role::Receiving, false) => until,
        };
        self.lost.insert(Suspended {
            lost,
            until,
            next: seek_at.max(now).min(until),
            seek_at,
            attempt: None,
            asked: None,
        });
        while self.lost.suspended.len() > size(self.limits.lost_streams_max) {
            let Some((_, oldest)) = self.lost.deadlines.first().cloned() else {
                break;
            };
            self.resolve(&oldest, None, now);
        }
        if let Some(claim) = self.lost.claims.remove(&id) {
            return self.settle_claim(&id, claim, now);
        }
        if self.phase == Phase::ShuttingDown {
            self.resolve(&id, None, now);
        } else if seek_at <= now {
            self.seek_lost_stream(&id, now);
        }
    }

    /// A stream has ended: its stream can be found under its name only if it was suspended.
    pub(super) fn forget_live_lost_stream(
        &mut self,
        stream: StreamKey,
        now: Instant,
    ) -> Option<String> {
        self.lost.unask(stream, now);
        self.lost.claimed.remove(&stream);
        let id = self.lost.by_stream.remove(&stream)?;
        self.lost.live.remove(&id);
        Some(id)
    }

    /// A stream has ended without leaving a stream: whoever wants it gets none.
    pub(super) fn refuse_claim(&mut self, id: &str, now: Instant) {
        if let Some(claim) = self.lost.claims.remove(id) {
            self.settle_claim(id, claim, now);
        }
        self.lost.forget_names(id);
    }

    /// Looks at the streams whose time has come.
    pub(super) fn tick_lost_streams(&mut self, now: Instant) {
        while self
            .lost
            .deadlines
            .first()
            .is_some_and(|(at, _)| *at <= now)
        {
            let Some((_, id)) = self.lost.deadlines.pop_first() else {
                return;
            };
            self.look_at_lost_stream(&id, now);
        }
    }

    fn look_at_lost_stream(&mut self, id: &str, now: Instant) {
        let Some(suspended) = self.lost.suspended.get_mut(id) else {
            return;
        };
        if suspended.until <= now {
            self.resolve(id, None, now);
            return;
        }
        suspended.next = (now + LOOK).min(suspended.until);
        let next = suspended.next;
        let seeks =
            suspended.seek_at <= now && suspended.attempt.is_none() && suspended.asked.is_none();
        self.lost.deadlines.insert((next, id.to_owned()));
        self.expire_suspended(id, now);
        if seeks {
            self.seek_lost_stream(id, now);
        }
    }

    /// What waits behind the stanzas in question grows old like any other.
    fn expire_suspended(&mut self, id: &str, now: Instant) {
        let age = seconds(self.limits.outbox_age_seconds);
        let (Some(before), Some(suspended)) =
            (now.checked_sub(age), self.lost.suspended.get_mut(id))
        else {
            return;
        };
        let remote = suspended.lost.pair.remote().clone();
        //= ROUTE-24
        let stanzas = suspended.lost.carriage.expire(before);
        if !stanzas.is_empty() {
            let detail = "the connection was lost and could not be made again";
            let why = Undelivered::new(Reason::Expired, remote, detail);
            self.commands.push_back(Command::Bounce { stanzas, why });
        }
    }

    /// Tries to take up a stream, unless an attempt for its pair will do so anyway.
    fn seek_lost_stream(&mut self, id: &str, now: Instant) {
        let Some(suspended) = self.lost.suspended.get(id) else {
            return;
        };
        let pair = suspended.lost.pair.clone();
        let seeking = match self.routes.get(&pair) {
            Some(Route::Seeking { attempt, .. }) => Some(*attempt),
            Some(
                Route::Requested { .. }
                | Route::Expected { .. }
                | Route::Carried { .. }
                | Route::Resting { .. }
                | Route::Suspended,
            )
            | None => None,
        };
        let attempt = match (seeking, self.lost.attempt(&pair)) {
            (Some(attempt), _) | (None, Some(attempt)) => attempt,
            (None, None) => {
                if let Some(until) = self.backoff.until(&pair, now) {
                    return self.seek_lost_stream_later(id, until);
                }
                let aim = Aim::Carry {
                    external: true,
                    bidi: true,
                };
                self.commands
                    .push_back(Command::Report(Report::Seeking { pair: pair.clone() }));
                // Noted before it begins: it is wanted.
                let key = self.add_attempt(Attempt::new(pair, aim), now);
                if let Some(suspended) = self.lost.suspended.get_mut(id) {
                    suspended.attempt = Some(key);
                }
                return self.start_waiting(now);
            }
        };
        if let Some(suspended) = self.lost.suspended.get_mut(id) {
            suspended.attempt = Some(attempt);
        }
    }

    fn seek_lost_stream_later(&mut self, id: &str, at: Instant) {
        if let Some(suspended) = self.lost.suspended.get_mut(id) {
            suspended.seek_at = at;
            suspended.attempt = None;
            self.lost.deadlines.remove(&(suspended.next, id.to_owned()));
            suspended.next = at.min(suspended.until);
            self.lost.deadlines.insert((suspended.next, id.to_owned()));
        }
    }

    /// No attempt will take up the streams of a pair for now: they are sought again at `at`.
    pub(super) fn seek_lost_streams_again(&mut self, pair: &DomainPair, at: Instant) {
        let ids: Vec<String> = self
            .lost
            .by_pair
            .get(pair)
            .into_iter()
            .flatten()
            .filter(|id| {
                self.lost
                    .suspended
                    .get(*id)
                    .is_some_and(|suspended| suspended.attempt.is_none())
            })
            .cloned()
            .collect();
        for id in ids {
            self.seek_lost_stream_later(&id, at);
        }
    }

    /// Nothing will be taken up any more.
    pub(super) fn settle_all_lost_streams(&mut self, now: Instant) {
        let ids: Vec<String> = self.lost.suspended.keys().cloned().collect();
        for id in ids {
            self.resolve(&id, None, now);
        }
    }

    /// It is known what arrived (`Some`), or never will be. The queues go their ways again.
    fn resolve(&mut self, id: &str, newly: Option<u32>, now: Instant) -> Option<Ticket> {
        let Suspended { lost, attempt, .. } = self.lost.take(id)?;
        self.lost.forget_names(id);
        let LostStream {
            ticket, carriage, ..
        } = lost;
        let queues: Vec<Left> = match newly {
            Some(newly) => {
                let (settled, queues) = carriage.resolve(usize::try_from(newly).unwrap_or(0));
                self.commands.push_back(Command::Settled(settled));
                queues
            }
            None => carriage.lose(),
        };
        for left in &queues {
            if let Some(Route::Suspended) = self.routes.get(&left.pair) {
                self.routes.remove(&left.pair);
            }
        }
        for left in queues {
            self.take_back(left, now);
        }
        // An attempt that nobody needs any more ends; one that has come to a stream has brought what it was for.
        if let Some(key) = attempt
            && !self.is_wanted(key)
            && self
                .attempts
                .get(&key)
                .is_some_and(|attempt| attempt.stream().is_none())
        {
            self.abandon(key, now);
        }
        Some(ticket)
    }
}

/// A stream without a stanza for longer than this has nothing under way.
const RECENTLY: Duration = Duration::from_secs(60);
/// How long the accepting side waits for the one that opened the stream.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a suspended stream is looked at: what waits in it grows old.
const LOOK: Duration = Duration::from_secs(5);
