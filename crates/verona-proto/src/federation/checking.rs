//! Dialback keys that peers sent us: each is checked on a connection that we open for it (BIDI-24).
//!
//! An answer counts where the question was asked, and on no other stream.

use std::time::Instant;

use super::attempt::{Aim, Attempt, Failure};
use super::verification::VerificationKey;
use super::{Command, Federation, Phase, StreamKey};
use crate::addr::Domain;
use crate::dialback::Verdict;
use crate::grounds::Assurance;
use crate::limits::{Limit, seconds, size};
use crate::stanza::condition::StanzaCondition;
use crate::stream::{Check, KeyCheck};

impl Federation {
    /// A peer sent a key: the authoritative server is asked, on a connection that we open for it (DB-23, BIDI-24).
    pub(super) fn on_key(&mut self, stream: StreamKey, check: KeyCheck, now: Instant) {
        let question = VerificationKey {
            stream,
            pair: check.pair.clone(),
        };
        let remote = check.pair.remote().domain();
        let refusal = if self.phase == Phase::ShuttingDown {
            Some(StanzaCondition::ResourceConstraint)
        } else if let Some(failure) = self.legs.unreachable(remote, now) {
            // It was asked a moment ago, on whoever's behalf.
            self.reached.reached(Limit::VerificationRetrySeconds);
            Some(failure.dialback_condition())
        } else {
            //= DB-53
            let most = size(self.limits.verifications_pending_max);
            let has_room = self.verifications.len() < most && self.legs.has_room(remote, most);
            (!has_room).then(|| {
                self.reached.reached(Limit::VerificationsPendingMax);
                StanzaCondition::ResourceConstraint
            })
        };
        if let Some(condition) = refusal {
            self.commands.push_back(Command::Verdict {
                stream,
                pair: check.pair,
                verdict: Verdict::Error(condition),
                assurance: Assurance::Dns,
            });
            return;
        }
        //= DB-23
        let aim = Aim::Verify(
            question.clone(),
            Check {
                id: check.id,
                key: check.key,
            },
        );
        let attempt = self.add_attempt(Attempt::new(check.pair, aim), now);
        // The stream asks again where it gave up waiting: the first attempt answers nobody.
        if let Some(before) = self.verifications.begin(question, attempt) {
            self.abandon(before, now);
        }
        self.start_waiting(now);
        self.note_waiting(attempt);
    }

    pub(super) fn on_verified(
        &mut self,
        stream: StreamKey,
        check: KeyCheck,
        verdict: Verdict,
        assurance: Assurance,
        now: Instant,
    ) {
        let Some(key) = self.negotiating.get(&stream).copied() else {
            return;
        };
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        let Aim::Verify(question, asked) = &attempt.aim else {
            return;
        };
        //= DB-27
        if asked.id != check.id || asked.key != check.key || question.pair != check.pair {
            return;
        }
        let question = question.clone();
        self.drop_attempt(key, now);
        self.answer(question, from_authority(verdict), assurance);
    }

    /// The domain could not be asked: whoever waits to ask it gets the same answer, and so does who asks soon.
    pub(super) fn on_unreachable(&mut self, remote: &Domain, failure: &Failure, now: Instant) {
        if !failure.is_lasting() {
            return;
        }
        let until = now + seconds(self.limits.verification_retry_seconds);
        for key in self.legs.note_unreachable(remote, failure, until, now) {
            if let Some(attempt) = self.attempts.remove(&key)
                && let Aim::Verify(question, _) = attempt.aim
            {
                let verdict = Verdict::Error(failure.dialback_condition());
                self.answer(question, verdict, Assurance::Dns);
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        question: VerificationKey,
        verdict: Verdict,
        assurance: Assurance,
    ) {
        if self.verifications.settle(&question) {
            self.commands.push_back(Command::Verdict {
                stream: question.stream,
                pair: question.pair,
                verdict,
                assurance,
            });
        }
    }
}

/// What the authoritative server's answer means to the peer that asked to be believed (DB-38).
fn from_authority(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Valid | Verdict::Invalid => verdict,
        //= DB-38
        Verdict::Error(StanzaCondition::ItemNotFound) => {
            Verdict::Error(StanzaCondition::RemoteServerNotFound)
        }
        Verdict::Error(_) => Verdict::Error(StanzaCondition::NotAcceptable),
    }
}
