//! What is known of the peers in terms of the calendar, so that it outlives the process.
//!
//! The machines know only a clock that starts with the machine; a file and a person need dates. What is restored is
//! checked entry by entry: it was stored somewhere in between, and a wrong date must not be believed for ever.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use verona_proto::addr::Domain;
use verona_proto::grounds::Strength;
use verona_proto::learned::{
    KnownPeer, LastFailure, Learned, Lesson, Outcome, PROVEN_LASTS, Phase, Topic,
};

/// What experience taught about one peer: given by [`Handle::peers`](crate::Handle::peers), taken by
/// [`Config::learned`](crate::Config::learned).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedPeer {
    /// The remote domain.
    pub domain: Domain,
    /// What was learned, at most one for each topic.
    pub lessons: Vec<LearnedLesson>,
    /// Streams in a row that ended with an error soon after they had begun to serve (BIDI-69).
    pub early_deaths: u32,
    /// The last failure to reach it; kept for a while when it has been reached since.
    pub failure: Option<LearnedFailure>,
    /// How strongly it proved itself by its certificate in the last 30 days: it is held to that (contract §3, `weaker`).
    pub proven: Vec<LearnedProof>,
}

/// A peer proved itself by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedProof {
    /// How strongly.
    pub strength: Strength,
    /// When it last did, to the hour.
    pub since: SystemTime,
}

/// One experience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedLesson {
    /// About what.
    pub topic: Topic,
    /// What came of it.
    pub outcome: Outcome,
    /// What was seen, as a sentence. A peer may have had a say in it.
    pub text: String,
    /// When it was last seen.
    pub since: SystemTime,
    /// When it is forgotten.
    pub until: SystemTime,
}

/// A failed search for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedFailure {
    /// At which step.
    pub phase: Phase,
    /// Why, as a sentence. A peer may have had a say in it.
    pub cause: String,
    /// When.
    pub since: SystemTime,
    /// Before when no other attempt begins; `None` once that is over. It is not restored: a new process may try at once.
    pub next: Option<SystemTime>,
    /// When the peer was reached after all.
    pub reached: Option<SystemTime>,
}

/// The same moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    monotonic: Instant,
    calendar: SystemTime,
}

impl Now {
    /// This moment.
    pub(crate) fn read() -> Self {
        Self {
            monotonic: crate::shared::now(),
            calendar: SystemTime::now(),
        }
    }

    /// All that is known, by domain.
    pub(crate) fn export(self, learned: &Learned) -> Vec<LearnedPeer> {
        let known = learned.export(self.monotonic);
        known.into_iter().map(|peer| self.dated(peer)).collect()
    }

    /// Takes over what is believable of what an earlier run knew.
    pub(crate) fn restore(self, learned: &Learned, peers: &[LearnedPeer]) {
        let known = peers.iter().map(|peer| self.believable(peer)).collect();
        learned.restore(known, self.monotonic);
    }

    fn dated(self, peer: KnownPeer) -> LearnedPeer {
        LearnedPeer {
            domain: peer.domain,
            lessons: peer
                .lessons
                .into_iter()
                .map(|(topic, lesson)| LearnedLesson {
                    topic,
                    outcome: lesson.outcome,
                    text: lesson.text,
                    since: self.calendar(lesson.since),
                    until: self.calendar(lesson.until),
                })
                .collect(),
            early_deaths: peer.early_deaths,
            failure: peer.failure.map(|failure| LearnedFailure {
                phase: failure.phase,
                cause: failure.cause,
                since: self.calendar(failure.since),
                next: failure
                    .next
                    .filter(|next| *next > self.monotonic)
                    .map(|next| self.calendar(next)),
                reached: failure.reached.map(|reached| self.calendar(reached)),
            }),
            proven: peer
                .proven
                .into_iter()
                .map(|(strength, at)| LearnedProof {
                    strength,
                    since: self.calendar(at),
                })
                .collect(),
        }
    }

    fn believable(self, peer: &LearnedPeer) -> KnownPeer {
        KnownPeer {
            domain: peer.domain.clone(),
            lessons: peer
                .lessons
                .iter()
                .filter_map(|lesson| Some((lesson.topic, self.lesson(lesson)?)))
                .collect(),
            early_deaths: peer.early_deaths,
            failure: peer
                .failure
                .as_ref()
                .and_then(|failure| self.failure(failure)),
            proven: peer
                .proven
                .iter()
                .filter_map(|proof| {
                    let age = self.age(proof.since)?;
                    (age < PROVEN_LASTS).then(|| (proof.strength, self.ago(age)))
                })
                .collect(),
        }
    }

    /// A lesson of the past that is not over, believed for as long as a lesson of its kind is and no longer.
    fn lesson(self, lesson: &LearnedLesson) -> Option<Lesson> {
        let age = self.age(lesson.since)?;
        let lasts = lesson.until.duration_since(lesson.since).ok()?;
        let left = lasts.min(lesson.outcome.lasts()).checked_sub(age)?;
        Some(Lesson {
            outcome: lesson.outcome,
            text: lesson.text.clone(),
            since: self.ago(age),
            until: self.monotonic.checked_add(left)?,
        })
    }

    fn failure(self, failure: &LearnedFailure) -> Option<LastFailure> {
        let reached = match failure.reached {
            Some(reached) => Some(self.ago(self.age(reached)?)),
            None => None,
        };
        Some(LastFailure {
            phase: failure.phase,
            cause: failure.cause.clone(),
            since: self.ago(self.age(failure.since)?),
            next: None,
            reached,
        })
    }

    /// How long ago; `None` for the future, and for more than anything is remembered. A second ahead is the present: the
    /// calendar's clock is set now and then while nobody looks.
    fn age(self, at: SystemTime) -> Option<Duration> {
        let age = match self.calendar.duration_since(at) {
            Ok(age) => age,
            Err(ahead) if ahead.duration() <= AHEAD_MAX => Duration::ZERO,
            Err(_) => return None,
        };
        (age <= AGE_MAX).then_some(age)
    }

    /// So long ago. A clock that did not run then has its first moment: only what is shown depends on it.
    fn ago(self, age: Duration) -> Instant {
        self.monotonic.checked_sub(age).unwrap_or(self.monotonic)
    }

    /// To the millisecond, which is what is stored: the two clocks are never read at quite the same moment, and a date
    /// must not creep with every restart.
    fn calendar(self, at: Instant) -> SystemTime {
        let moved = match at.checked_duration_since(self.monotonic) {
            Some(ahead) => self.calendar.checked_add(ahead),
            None => self
                .calendar
                .checked_sub(self.monotonic.saturating_duration_since(at)),
        };
        let moved = moved.unwrap_or(self.calendar);
        let rounded = moved
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| u64::try_from((since + HALF_A_MILLISECOND).as_millis()).ok())
            .and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
        rounded.unwrap_or(moved)
    }
}

const HALF_A_MILLISECOND: Duration = Duration::from_micros(500);

/// How far a date may lie ahead and still be believed.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// Longer than anything is remembered, and short enough for every clock.
const AGE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may panic"
    )]
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn lesson(topic: Topic, outcome: Outcome, since: SystemTime, until: SystemTime) -> LearnedPeer {
        LearnedPeer {
            domain: Domain::parse("montague.lit").unwrap(),
            lessons: vec![LearnedLesson {
                topic,
                outcome,
                text: "it hung up".into(),
                since,
                until,
            }],
            early_deaths: 0,
            failure: None,
            proven: Vec::new(),
        }
    }

    /// What another run makes of it.
    fn again(peers: &[LearnedPeer], now: Now) -> Vec<LearnedPeer> {
        let learned = Learned::default();
        now.restore(&learned, peers);
        now.export(&learned)
    }

    /// A moment without microseconds, as it is stored.
    fn now() -> Now {
        let Now {
            monotonic,
            calendar,
        } = Now::read();
        let since = calendar.duration_since(UNIX_EPOCH).unwrap();
        let millis = u64::try_from(since.as_millis()).unwrap();
        Now {
            monotonic,
            calendar: UNIX_EPOCH + Duration::from_millis(millis),
        }
    }

    #[tokio::test]
    async fn a_date_does_not_creep_over_a_hundred_restarts() {
        let first = now();
        let since = first.calendar - DAY / 2;
        let peer = lesson(Topic::Bidi, Outcome::Works, since, since + DAY * 30);
        let mut known = vec![peer.clone()];
        for n in 0..100 {
            let learned = Learned::default();
            let skewed = |micros: u64| Now {
                monotonic: first.monotonic,
                calendar: first.calendar + Duration::from_micros(micros),
            };
            skewed(n).restore(&learned, &known);
            known = skewed(100 - n).export(&learned);
        }
        assert_eq!(known, [peer]);
    }

    #[tokio::test]
    async fn dates_survive_and_a_lesson_gets_no_older_and_no_younger() {
        let now = now();
        let since = now.calendar - DAY / 4;
        let peer = lesson(Topic::Bidi, Outcome::HangsUp, since, since + DAY);
        assert_eq!(
            again(std::slice::from_ref(&peer), now),
            std::slice::from_ref(&peer)
        );
        let later = Now {
            monotonic: now.monotonic,
            calendar: now.calendar + DAY / 4,
        };
        assert_eq!(again(std::slice::from_ref(&peer), later), [peer]);
    }

    #[tokio::test]
    async fn what_is_over_or_not_yet_or_for_ever_is_not_believed() {
        let now = now();
        let at = now.calendar;
        let bad = [
            (at - DAY * 2, at - DAY),                           // over
            (at + DAY, at + DAY * 2),                           // not yet
            (at - DAY * 2, at + DAY * 400),                     // longer than such a lesson lasts
            (at - DAY, at - DAY * 2),                           // over before it began
            (UNIX_EPOCH, at + DAY),                             // older than anything
            (UNIX_EPOCH - DAY * 365_000, at),                   // older than the calendar
            (at - DAY * 2, UNIX_EPOCH + DAY * 365 * 1_000_000), // a clock would overflow
        ];
        for (since, until) in bad {
            let peer = lesson(Topic::Bidi, Outcome::HangsUp, since, until);
            assert_eq!(again(&[peer], now), [], "{since:?} to {until:?}");
        }
        // What claims to last longer than such a lesson does lasts as long as that.
        let peer = lesson(Topic::Bidi, Outcome::HangsUp, at, at + DAY * 400);
        assert_eq!(again(&[peer], now)[0].lessons[0].until, at + DAY);
    }

    #[tokio::test]
    async fn a_failure_is_restored_without_its_next_attempt() {
        let now = now();
        let mut peer = lesson(Topic::Bidi, Outcome::Works, now.calendar, now.calendar);
        peer.lessons.clear();
        let failure = LearnedFailure {
            phase: Phase::Connect,
            cause: "refused".into(),
            since: now.calendar - DAY,
            next: Some(now.calendar + DAY),
            reached: Some(now.calendar - DAY / 2),
        };
        peer.failure = Some(failure.clone());
        let next = None;
        assert_eq!(
            again(&[peer.clone()], now)[0].failure,
            Some(LearnedFailure { next, ..failure })
        );
        for (since, reached) in [(now.calendar + DAY, None), (now.calendar - DAY * 8, None)] {
            let failure = peer.failure.as_mut().unwrap();
            (failure.since, failure.reached) = (since, reached);
            assert_eq!(again(&[peer.clone()], now), []);
        }
    }
}
