//! Lost streams that can be taken up again (XEP-0198 §5): what was on its way waits here until it is known what arrived.
//!
//! Taking up a stream is an exchange of two counts, on a new connection that either side may open: each tells how far it
//! came, and then both know exactly. What did not arrive waits again in front of its own queue and flows as anything
//! else does, on whichever stream; so nothing here depends on which stream that is. How far a side came on a stream that
//! is over never changes: it may be asked for by both sides at once, and again if an answer is lost. A stream that is not
//! taken up in time is uncertain, as it is with a peer that takes up nothing.
//!
//! Names are given by whoever accepted a stream, so a name counts together with the peer's domain: what one peer calls
//! its streams is nothing to the streams of another, and a name that is given twice helps nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{AttemptKey, Command, Federation, Phase, Report, Route, StreamKey};
use crate::addr::{Domain, DomainPair};
use crate::carriage::{Carriage, Left};
use crate::limits::{Limit, seconds, size};
use crate::stanza::{Reason, Undelivered};
use crate::stream::{Role, TheirSide, Ticket};

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
    /// How the peer's side of it ended.
    pub their_side: TheirSide,
    /// The queues of which something is on its way.
    pub carriage: Carriage,
}

impl LostStream {
    fn name(&self) -> Name {
        Name::new(self.pair.remote().domain(), &self.ticket.id)
    }
}

/// How a stream came to its end, as far as it matters to what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// It broke.
    #[default]
    Broken,
    /// In good order.
    Clean,
    /// The peer said that it goes down: it will know nothing of the stream any more.
    PeerWentDown,
}

/// A stream, as one peer and we call it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    remote: Domain,
    id: String,
}

impl Name {
    fn new(remote: &Domain, id: &str) -> Self {
        Self {
            remote: remote.clone(),
            id: id.to_owned(),
        }
    }
}

/// The names of all streams that could be taken up, and what is left of those that are lost.
#[derive(Debug, Default)]
pub(super) struct LostStreams {
    /// The streams that are alive.
    live: BTreeMap<Name, StreamKey>,
    by_stream: BTreeMap<StreamKey, Name>,
    suspended: BTreeMap<Name, Suspended>,
    /// The suspended streams of a pair.
    by_pair: BTreeMap<DomainPair, BTreeSet<Name>>,
    /// When a suspended one is to be looked at.
    deadlines: BTreeSet<(Instant, Name)>,
    /// Streams on which one is taken up that has not ended yet here.
    claims: BTreeMap<Name, Claim>,
    /// What each stream of ours is to take up.
    asking: BTreeMap<StreamKey, Vec<Name>>,
    /// How many of the suspended ones are kept for nothing but the peer's question.
    answered: usize,
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
    /// The stream of ours on which we take it up: nobody else is asked meanwhile.
    asked: Option<StreamKey>,
    /// Whether we want to know nothing more of it, because the peer asked for it or our time is over: only how far we came
    /// is kept.
    is_answered: bool,
}

/// What a stream wants to take up.
#[derive(Clone, Debug)]
struct Claim {
    stream: StreamKey,
    h: u32,
}

impl LostStreams {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many streams wait to be taken up.
    pub(super) fn waiting(&self) -> usize {
        self.suspended.len().saturating_sub(self.answered)
    }

    /// What an attempt for this pair could take up.
    pub(super) fn tickets(&self, pair: &DomainPair) -> Vec<Ticket> {
        let names = self.by_pair.get(pair).into_iter().flatten();
        let suspended = names.filter_map(|name| self.suspended.get(name));
        let mut unasked: Vec<&Suspended> = suspended
            .filter(|suspended| !suspended.is_answered && suspended.asked.is_none())
            .collect();
        // Those for which something waits come first, or they wait behind others that nobody needs.
        unasked.sort_by_key(|suspended| {
            let waits = suspended.lost.carriage.pairs().next().is_some();
            (!waits, suspended.until)
        });
        let tickets = unasked.into_iter();
        tickets
            .map(|suspended| suspended.lost.ticket.clone())
            .collect()
    }

    /// A stream of ours is to take up lost ones of that peer.
    pub(super) fn ask(&mut self, remote: &Domain, ids: Vec<String>, stream: StreamKey) {
        for id in ids {
            let name = Name::new(remote, &id);
            if let Some(suspended) = self.suspended.get_mut(&name) {
                suspended.asked = Some(stream);
                self.asking.entry(stream).or_default().push(name);
            }
        }
    }

    /// A stream is over that was to take up others: they are looked at again at once.
    pub(super) fn unask(&mut self, stream: StreamKey, now: Instant) {
        for name in self.asking.remove(&stream).unwrap_or_default() {
            if let Some(suspended) = self.suspended.get_mut(&name)
                && suspended.asked == Some(stream)
            {
                suspended.asked = None;
                self.deadlines.remove(&(suspended.next, name.clone()));
                suspended.next = now.min(suspended.until);
                self.deadlines.insert((suspended.next, name));
            }
        }
    }

    /// The attempt that is to take up a stream of this pair.
    pub(super) fn attempt(&self, pair: &DomainPair) -> Option<AttemptKey> {
        let names = self.by_pair.get(pair)?;
        names.iter().find_map(|name| {
            self.suspended
                .get(name)
                .and_then(|suspended| suspended.attempt)
        })
    }

    /// Whether an attempt for this pair is to take up a stream.
    pub(super) fn seeks(&self, pair: &DomainPair, key: AttemptKey) -> bool {
        self.by_pair.get(pair).is_some_and(|names| {
            names.iter().any(|name| {
                self.suspended
                    .get(name)
                    .is_some_and(|suspended| suspended.attempt == Some(key))
            })
        })
    }

    /// An attempt is over. What it should have taken up and did not is looked at again soon.
    pub(super) fn forget_attempt(&mut self, pair: &DomainPair, key: AttemptKey) {
        for name in self.by_pair.get(pair).into_iter().flatten() {
            if let Some(suspended) = self.suspended.get_mut(name)
                && suspended.attempt == Some(key)
            {
                suspended.attempt = None;
            }
        }
    }

    /// Whether the name means a stream already.
    fn is_taken(&self, name: &Name) -> bool {
        self.live.contains_key(name) || self.suspended.contains_key(name)
    }

    fn insert(&mut self, suspended: Suspended) {
        let name = suspended.lost.name();
        self.by_pair
            .entry(suspended.lost.pair.clone())
            .or_default()
            .insert(name.clone());
        self.deadlines.insert((suspended.next, name.clone()));
        self.answered += usize::from(suspended.is_answered);
        self.suspended.insert(name, suspended);
    }

    fn take(&mut self, name: &Name) -> Option<Suspended> {
        let suspended = self.suspended.remove(name)?;
        self.answered -= usize::from(suspended.is_answered);
        self.deadlines.remove(&(suspended.next, name.clone()));
        if let Some(names) = self.by_pair.get_mut(&suspended.lost.pair) {
            names.remove(name);
            if names.is_empty() {
                self.by_pair.remove(&suspended.lost.pair);
            }
        }
        Some(suspended)
    }

    /// The one that can be missed most, where there are too many: one of which nothing of ours is on its way, of those one
    /// of which the peer has asked, and of those the one whose time is over first.
    fn least(&self, among: Option<&DomainPair>) -> Option<Name> {
        let rank = |name: &Name| {
            let suspended = self.suspended.get(name)?;
            let waits = suspended.lost.carriage.pairs().next().is_some();
            Some((waits, !suspended.is_answered, suspended.until))
        };
        let ranked = |name: &Name| rank(name).map(|rank| (rank, name.clone()));
        let least = match among {
            Some(pair) => self.by_pair.get(pair)?.iter().filter_map(ranked).min(),
            None => self.suspended.keys().filter_map(ranked).min(),
        };
        least.map(|(_, name)| name)
    }
}

impl Federation {
    /// A stream has a name, or another one than before, or none after all.
    pub(super) fn on_managed(&mut self, stream: StreamKey, pair: &DomainPair, id: Option<String>) {
        if let Some(name) = self.lost.by_stream.remove(&stream) {
            self.lost.live.remove(&name);
        }
        let Some(name) = id.map(|id| Name::new(pair.remote().domain(), &id)) else {
            return;
        };
        if self.lost.is_taken(&name) {
            return;
        }
        self.lost.by_stream.insert(stream, name.clone());
        self.lost.live.insert(name, stream);
    }

    /// A peer wants to take up a stream on a stream that it opened.
    pub(super) fn on_resume_requested(
        &mut self,
        stream: StreamKey,
        id: &str,
        h: u32,
        now: Instant,
    ) {
        // Only what is called so by a peer that is proven here.
        //= SM-14
        let proven = self
            .streams
            .get(stream)
            .map(|record| record.proven.clone())
            .unwrap_or_default();
        let mut names = proven.keys().map(|remote| Name::new(remote, id));
        let Some(name) = names.find(|name| self.lost.is_taken(name)) else {
            return self.answer_claim(stream, None);
        };
        let claim = Claim { stream, h };
        match self.lost.live.get(&name).copied() {
            // The peer has lost a connection that we still hold for alive.
            Some(old) if old != stream => {
                self.lost.claims.insert(name, claim);
                self.commands.push_back(Command::Abandon { stream: old });
            }
            Some(_) | None => self.settle_claim(&name, claim, now),
        }
    }

    /// Answers a stream that wants to take up a stream.
    fn settle_claim(&mut self, name: &Name, claim: Claim, now: Instant) {
        let Claim { stream, h } = claim;
        // The connection that asked may be gone: then the next one asks again.
        if self.streams.get(stream).is_none() {
            return;
        }
        let newly = self
            .lost
            .suspended
            .get(name)
            .and_then(|suspended| suspended.lost.ticket.newly_handled(h));
        let lost = match newly {
            Some(newly) => self.resolve(name, Resolution::Known(newly), now),
            None => None,
        };
        let found = lost.map(|lost| {
            let ticket = Ticket {
                acknowledged: h,
                sent: h,
                ..lost.ticket
            };
            // The answer may be lost with the connection that it is for: the peer may ask again.
            let policy = self.policy.for_peer(lost.pair.remote().domain());
            let until = now + seconds(policy.limits.resume_seconds);
            self.remember(ticket.clone(), lost.pair, lost.role, (now, until));
            ticket
        });
        self.answer_claim(stream, found);
    }

    /// How far we came on a stream is kept, for the peer to ask; we ask no more.
    fn remember(
        &mut self,
        ticket: Ticket,
        pair: DomainPair,
        role: Role,
        (now, until): (Instant, Instant),
    ) {
        self.lost.insert(Suspended {
            lost: LostStream {
                ticket,
                pair: pair.clone(),
                role,
                used: now,
                their_side: TheirSide::Closed,
                carriage: Carriage::new(Arc::new(|| {})),
            },
            until,
            next: until,
            seek_at: until,
            attempt: None,
            asked: None,
            is_answered: true,
        });
        self.bound_lost_streams(&pair, now);
    }

    fn answer_claim(&mut self, stream: StreamKey, found: Option<Ticket>) {
        self.commands.push_back(Command::Resume { stream, found });
    }

    /// The peer answered when we took up a stream: `None` if it does not know it any more.
    pub(super) fn on_resumed(&mut self, stream: StreamKey, id: &str, h: Option<u32>, now: Instant) {
        let Some(name) = self
            .streams
            .get(stream)
            .and_then(|record| record.remote.as_ref())
            .map(|remote| Name::new(remote, id))
        else {
            return;
        };
        let Some(suspended) = self.lost.suspended.get(&name) else {
            return;
        };
        // It asked itself meanwhile.
        if suspended.is_answered {
            return;
        }
        let newly = h.and_then(|h| suspended.lost.ticket.newly_handled(h));
        let resolution = newly.map_or(Resolution::Unknown, Resolution::Known);
        self.resolve(&name, resolution, now);
    }

    /// What is left of a stream that has ended: it waits, or is settled at once if the peer asked for it already.
    pub(super) fn suspend(&mut self, lost: LostStream, end: StreamEnd, now: Instant) {
        let name = lost.name();
        let policy = self.policy.for_peer(lost.pair.remote().domain());
        let until = now + seconds(policy.limits.resume_seconds);
        for pair in lost.carriage.pairs() {
            self.routes.insert(pair.clone(), Route::Suspended);
        }
        if lost.carriage.in_flight() > 0 {
            self.commands.push_back(Command::Report(Report::Lost {
                pair: lost.pair.clone(),
                stanzas: lost.carriage.in_flight(),
            }));
        }
        // A peer that calls two streams the same helps nobody; one that goes down takes nothing up, and neither do we.
        if self.lost.is_taken(&name)
            || end == StreamEnd::PeerWentDown
            || self.phase == Phase::ShuttingDown
        {
            return self.let_go(lost, Resolution::Unknown, now);
        }
        let waits = lost.carriage.pairs().next().is_some();
        let recently = lost.used + RECENTLY > now;
        // Where nothing is in question on either side, the peer asks if it sees that otherwise.
        let (until, is_answered) = match (waits, lost.their_side) {
            (false, TheirSide::Closed) => (self.remembered_until(&lost.pair, until), true),
            (true, _) | (false, TheirSide::Cut) => (until, false),
        };
        let seek_at = match (lost.role, waits) {
            (Role::Initiating, true) => now,
            // The peer may wait to be told.
            (Role::Initiating, false)
                if recently && end == StreamEnd::Broken && lost.their_side == TheirSide::Cut =>
            {
                now
            }
            // Whoever opened the stream comes first.
            (Role::Receiving, true) => now + PATIENCE,
            (Role::Initiating | Role::Receiving, false) => until,
        };
        let pair = lost.pair.clone();
        self.lost.insert(Suspended {
            lost,
            until,
            next: seek_at.max(now).min(until),
            seek_at,
            attempt: None,
            asked: None,
            is_answered,
        });
        if let Some(claim) = self.lost.claims.remove(&name) {
            return self.settle_claim(&name, claim, now);
        }
        self.bound_lost_streams(&pair, now);
        if seek_at <= now {
            self.seek_lost_stream(&name, now);
        }
    }

    /// Until when it is worth knowing how far we came on a stream that can be taken up until `until`: the peer may have
    /// noticed the loss later than we did, and waits as long as we did from then on.
    fn remembered_until(&self, pair: &DomainPair, until: Instant) -> Instant {
        let limits = &self.policy.for_peer(pair.remote().domain()).limits;
        until + seconds(limits.acknowledgement_seconds) + seconds(limits.close_seconds)
    }

    /// Lets go of what is too much: of one pair, so that nobody drives out the streams of others, and altogether.
    fn bound_lost_streams(&mut self, pair: &DomainPair, now: Instant) {
        while self.lost.by_pair.get(pair).map_or(0, BTreeSet::len) > LOST_OF_A_PAIR_MAX {
            let Some(least) = self.lost.least(Some(pair)) else {
                break;
            };
            self.resolve(&least, Resolution::Unknown, now);
        }
        while self.lost.suspended.len() > size(self.limits.lost_streams_max) {
            let Some(least) = self.lost.least(None) else {
                break;
            };
            self.reached.reached(Limit::LostStreamsMax);
            self.resolve(&least, Resolution::Unknown, now);
        }
    }

    /// A stream has ended: it can be found under its name only if it is suspended now, and whatever it wanted to take up
    /// is asked for again on another one.
    pub(super) fn forget_live_lost_stream(
        &mut self,
        stream: StreamKey,
        now: Instant,
    ) -> Option<Name> {
        self.lost.unask(stream, now);
        self.lost.claims.retain(|_, claim| claim.stream != stream);
        let name = self.lost.by_stream.remove(&stream)?;
        self.lost.live.remove(&name);
        Some(name)
    }

    /// A stream has ended and left nothing: whoever waits to take it up is told so at once.
    pub(super) fn refuse_claim(&mut self, name: &Name, now: Instant) {
        if let Some(claim) = self.lost.claims.remove(name) {
            self.settle_claim(name, claim, now);
        }
    }

    /// Looks at the streams whose time has come.
    pub(super) fn tick_lost_streams(&mut self, now: Instant) {
        while self
            .lost
            .deadlines
            .first()
            .is_some_and(|(at, _)| *at <= now)
        {
            let Some((_, name)) = self.lost.deadlines.pop_first() else {
                return;
            };
            self.look_at_lost_stream(&name, now);
        }
    }

    fn look_at_lost_stream(&mut self, name: &Name, now: Instant) {
        let Some(suspended) = self.lost.suspended.get_mut(name) else {
            return;
        };
        if suspended.until <= now {
            let Suspended {
                lost: LostStream {
                    ticket, pair, role, ..
                },
                is_answered,
                ..
            } = suspended;
            let (ticket, pair, role) = (ticket.clone(), pair.clone(), *role);
            let keeps_count = !*is_answered;
            self.resolve(name, Resolution::Unknown, now);
            if keeps_count {
                self.reached.reached(Limit::ResumeSeconds);
                let until = self.remembered_until(&pair, now);
                self.remember(ticket, pair, role, (now, until));
            }
            return;
        }
        suspended.next = (now + LOOK).min(suspended.until);
        let next = suspended.next;
        let seeks =
            suspended.seek_at <= now && suspended.attempt.is_none() && suspended.asked.is_none();
        self.lost.deadlines.insert((next, name.clone()));
        self.expire_suspended(name, now);
        if seeks {
            self.seek_lost_stream(name, now);
        }
    }

    /// What waits behind the stanzas in question grows old like any other.
    fn expire_suspended(&mut self, name: &Name, now: Instant) {
        let age = seconds(self.limits.outbox_age_seconds);
        let (Some(before), Some(suspended)) =
            (now.checked_sub(age), self.lost.suspended.get_mut(name))
        else {
            return;
        };
        let remote = suspended.lost.pair.remote().clone();
        //= ROUTE-24
        let stanzas = suspended.lost.carriage.expire(before);
        if !stanzas.is_empty() {
            self.reached.reached(Limit::OutboxAgeSeconds);
            let detail = "the connection was lost and could not be made again";
            let why = Undelivered::new(Reason::Expired, remote, detail);
            self.commands.push_back(Command::Bounce { stanzas, why });
        }
    }

    /// Tries to take up a stream, unless an attempt for its pair will do so anyway.
    fn seek_lost_stream(&mut self, name: &Name, now: Instant) {
        let Some(suspended) = self.lost.suspended.get(name) else {
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
                    return self.seek_lost_stream_later(name, until);
                }
                let sought = self.carrying_attempt(&pair, now);
                self.commands
                    .push_back(Command::Report(Report::Seeking { pair: pair.clone() }));
                // Noted before it begins: it is wanted.
                let key = self.add_attempt(sought, now);
                if let Some(suspended) = self.lost.suspended.get_mut(name) {
                    suspended.attempt = Some(key);
                }
                self.start_waiting(now);
                return self.note_waiting(key);
            }
        };
        if let Some(suspended) = self.lost.suspended.get_mut(name) {
            suspended.attempt = Some(attempt);
        }
    }

    fn seek_lost_stream_later(&mut self, name: &Name, at: Instant) {
        if let Some(suspended) = self.lost.suspended.get_mut(name) {
            suspended.seek_at = at;
            suspended.attempt = None;
            // It is looked at meanwhile all the same: what waits in it grows old.
            self.lost.deadlines.remove(&(suspended.next, name.clone()));
            suspended.next = suspended.next.min(at);
            self.lost.deadlines.insert((suspended.next, name.clone()));
        }
    }

    /// No attempt will take up the streams of a pair for now: they are sought again at `at`.
    pub(super) fn seek_lost_streams_again(&mut self, pair: &DomainPair, at: Instant) {
        let names: Vec<Name> =
            self.lost
                .by_pair
                .get(pair)
                .into_iter()
                .flatten()
                .filter(|name| {
                    self.lost.suspended.get(*name).is_some_and(|suspended| {
                        suspended.attempt.is_none() && !suspended.is_answered
                    })
                })
                .cloned()
                .collect();
        for name in names {
            self.seek_lost_stream_later(&name, at);
        }
    }

    /// The peer lives: its lost streams need not wait as long as it was to be left alone. It may ask for them on the stream
    /// that shows it, so it has a moment for that; one that was killed knows nothing of them, and says so when it is asked.
    pub(super) fn wake_lost_streams(&mut self, pair: &DomainPair, now: Instant) {
        let soon = now + PATIENCE;
        let names = self.lost.by_pair.get(pair).into_iter().flatten();
        let resting: Vec<Name> = names
            .filter(|name| {
                self.lost.suspended.get(*name).is_some_and(|suspended| {
                    suspended.attempt.is_none()
                        && suspended.asked.is_none()
                        && !suspended.is_answered
                        && suspended.lost.carriage.pairs().next().is_some()
                        && suspended.seek_at > soon
                })
            })
            .cloned()
            .collect();
        for name in resting {
            self.seek_lost_stream_later(&name, soon);
        }
    }

    /// Nothing will be taken up any more.
    pub(super) fn settle_all_lost_streams(&mut self, now: Instant) {
        let names: Vec<Name> = self.lost.suspended.keys().cloned().collect();
        for name in names {
            self.resolve(&name, Resolution::Unknown, now);
        }
    }

    /// It is known what arrived, or never will be.
    fn resolve(&mut self, name: &Name, resolution: Resolution, now: Instant) -> Option<Answered> {
        let Suspended { lost, attempt, .. } = self.lost.take(name)?;
        let answered = Answered {
            ticket: lost.ticket.clone(),
            pair: lost.pair.clone(),
            role: lost.role,
        };
        self.let_go(lost, resolution, now);
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
        Some(answered)
    }

    /// The queues of a lost stream go their ways again.
    fn let_go(&mut self, lost: LostStream, resolution: Resolution, now: Instant) {
        let in_flight = lost.carriage.in_flight();
        let queues: Vec<Left> = match resolution {
            Resolution::Known(newly) => {
                let arrived = usize::try_from(newly).unwrap_or(0);
                let (settled, queues) = lost.carriage.resolve(arrived);
                self.commands.push_back(Command::Settled(settled));
                self.commands.push_back(Command::Report(Report::TakenUp {
                    pair: lost.pair,
                    arrived: arrived.min(in_flight),
                    again: in_flight.saturating_sub(arrived),
                }));
                queues
            }
            Resolution::Unknown => {
                let queues = lost.carriage.lose();
                if in_flight > 0 {
                    self.commands.push_back(Command::Report(Report::LetGo {
                        pair: lost.pair,
                        uncertain: queues.iter().map(|left| left.uncertain).sum(),
                    }));
                }
                queues
            }
        };
        for left in &queues {
            if let Some(Route::Suspended) = self.routes.get(&left.pair) {
                self.routes.remove(&left.pair);
            }
        }
        for left in queues {
            self.take_back(left, now);
        }
    }
}

/// What became of a lost stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// The peer has handled so many of the stanzas that were on their way, and none behind them.
    Known(u32),
    /// Nobody will ever know.
    Unknown,
}

/// What is told of a stream that was taken up.
#[derive(Debug)]
struct Answered {
    ticket: Ticket,
    pair: DomainPair,
    role: Role,
}

/// A stream without a stanza for longer than this has nothing under way.
const RECENTLY: Duration = Duration::from_secs(60);
/// How long the accepting side waits for the one that opened the stream.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a suspended stream is looked at: what waits in it grows old.
const LOOK: Duration = Duration::from_secs(5);
/// Two veronas have one stream for a pair, or two that crossed; a few more may wait after several losses in a row.
const LOST_OF_A_PAIR_MAX: usize = 8;
