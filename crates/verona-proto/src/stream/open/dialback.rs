//! Dialback on an open stream: requests in both directions, and their answers (conformance §4.1).
//!
//! A question is judged before any key is looked at; an answer counts only where the question was asked on this very
//! stream.

use std::time::Instant;

use verona_xml::Element;

use super::super::context::{Attestations, Context};
use super::super::{Cause, Event, KeyCheck, Role, StreamError};
use super::{Ending, Open, authority};
use crate::addr::{Direction, Domain, DomainPair, NotAPair};
use crate::dialback::{
    Answer, Dialback, DialbackError, IdSeen, Verdict, write_answer, write_request,
};
use crate::grounds::{Assurance, Identity, Proof};
use crate::limits::{Limit, seconds, size};
use crate::policy::{BidiPolicy, Federate, IdentityMethod, TlsPolicy, Weaker};
use crate::stanza::condition::{StanzaCondition, StreamCondition};
use crate::trust::Unproven;

impl Open {
    /// Sends our key for a pair (XEP-0220 §2.1.1), if there is a reason to ask this very peer.
    pub(in crate::stream) fn request(
        &mut self,
        pair: DomainPair,
        context: &mut Context,
        now: Instant,
    ) {
        // It came as the inverse of another grant meanwhile: whoever wanted it has it.
        if self.authorizations.permits(&pair) {
            return;
        }
        //= STREAM-17
        let asked = self
            .may_request(&pair, context, now)
            .zip(self.id.as_deref());
        let Some((identity, id)) = asked else {
            //= BIDI-27
            context.event(Event::Refused {
                pair,
                answer: Answer::Error(StanzaCondition::NotAcceptable),
            });
            return;
        };
        //= BIDI-80
        //= DB-01
        //= DB-04
        //= DTLS-11
        //= BIDI-34
        let (sender, target) = (pair.local().domain(), pair.remote().domain());
        let key = context.config.secrets.key(target, sender, id);
        let deadline = now + seconds(context.policy.limits.dialback_answer_seconds);
        if let Some(outbound) = self.authorizations.outbound_mut() {
            outbound.request(pair.clone(), identity, deadline);
        }
        //= DB-35
        let until = now + seconds(context.policy.limits.dialback_answer_seconds) * 2;
        context.config.memory.issued.note(&key, until, now);
        context.write(|out| write_request(out, sender, target, &key));
        context.last_written = now;
    }

    /// Who the peer is for the pair's remote domain: without an answer it is not asked (XEP-0220 §2.6.2).
    fn may_request(&self, pair: &DomainPair, context: &Context, now: Instant) -> Option<Identity> {
        let outbound = self.authorizations.outbound()?;
        if outbound.requested(pair) || outbound.grants(pair) {
            return None;
        }
        let remote = pair.remote().domain();
        let policy = context.policy_for(remote);
        if policy.federate == Federate::Deny {
            return None;
        }
        //= BIDI-71
        if self.role == Role::Receiving && policy.bidi == BidiPolicy::Off {
            return None;
        }
        //= BIDI-26
        //= BIDI-28
        if let Some(proof) = self
            .authorizations
            .inbound()
            .and_then(|inbound| inbound.proof_of(remote))
        {
            return Some(proof.identity());
        }
        //= DB-42
        if self.remote.as_ref() == Some(remote) {
            return self.identity;
        }
        //= DB-43
        // A further domain of the peer's must be certified for: that DNS leads to the same place is not known here.
        //= BIDI-27
        if self.role != Role::Initiating || !self.multiplexes {
            return None;
        }
        let certificate = &self.secured.as_ref()?.certificate;
        //= DNS-15
        // Where DANE may say no, a stream of its own hears it; nobody asked about this domain here.
        let is_dane_open = match context.config.attestations {
            Attestations::WithDnssec => {
                policy.accepts(IdentityMethod::Dane) && certificate.attestation(remote).is_none()
            }
            Attestations::Available | Attestations::Unavailable => false,
        };
        if is_dane_open {
            return None;
        }
        context.certified(certificate, remote, now).ok()
    }

    /// The dispatch of conformance §4.1.
    pub(super) fn on_dialback(
        mut self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::super::Phase, StreamError> {
        context.count_question(now)?;
        match Dialback::read(element) {
            //= DB-47
            //= BIDI-30
            Ok(Dialback::Request { from, to, key }) => {
                self.on_request(from, to, key, context, now)?
            }
            Ok(Dialback::Answer { from, to, answer }) => {
                return self.on_answer(&from, &to, answer, context, now);
            }
            Ok(Dialback::Verify { from, to, id, key }) => {
                //= BIDI-43
                authority::vouch(&from, &to, &id, &key, self.id.as_deref(), context, now);
                self.vouched += 1;
                //= STREAM-57
                if self.vouched <= authority::VOUCHED_MAX
                    && let Some(at) = &mut self.negotiation
                {
                    *at = (*at).max(context.negotiation_deadline(now));
                }
            }
            //= BIDI-38
            //= BIDI-40
            // Keys are checked on connections made for it; on any other stream nobody was asked.
            Ok(Dialback::Verdict { .. }) => {
                context.irregular("an unsolicited <db:verify/> answer")?
            }
            Ok(Dialback::Irregular(what)) => context.irregular(what)?,
            //= DB-16
            Err(error @ DialbackError::ImproperAddressing) => {
                return Err(StreamError::peer(
                    StreamCondition::ImproperAddressing,
                    error.to_string(),
                )
                .at(Cause::Dialback));
            }
            Err(DialbackError::BadVerify { from, to, id }) => {
                authority::refuse_verify(from.as_ref(), to.as_ref(), id.as_deref(), context)?;
            }
        }
        Ok(super::super::Phase::Open(self))
    }

    /// The peer asks to be believed (XEP-0220 §2.2.1).
    fn on_request(
        &mut self,
        from: Domain,
        to: Domain,
        key: String,
        context: &mut Context,
        now: Instant,
    ) -> Result<(), StreamError> {
        //= DB-15
        match self.judge(&from, &to, context, now) {
            Judgement::Misplaced => {
                let answer = Answer::Error(StanzaCondition::NotAllowed);
                //= BIDI-42
                context.write(|out| write_answer(out, &to, &from, answer));
                context.event(Event::Denied {
                    from,
                    to,
                    answer,
                    text: "the stream is not bidirectional".into(),
                });
                context.irregular("a request on a stream that is not bidirectional")
            }
            //= DB-40
            //= BIDI-29
            Judgement::Refuse(condition, text) => {
                refuse(from, to, condition, text.into(), context);
                Ok(())
            }
            Judgement::Unproven(not) => {
                let strict = "the policy for this domain does not accept dialback";
                let text = match not {
                    Some(not) => format!("{not}; {strict}"),
                    None => strict.into(),
                };
                refuse(from, to, StanzaCondition::NotAuthorized, text, context);
                Ok(())
            }
            //= DB-48
            Judgement::Granted => {
                context.write(|out| write_answer(out, &to, &from, Answer::Valid));
                Ok(())
            }
            //= DB-44
            //= BIDI-48
            Judgement::Certified(pair, identity) => {
                context.write(|out| write_answer(out, &to, &from, Answer::Valid));
                let granted = self
                    .authorizations
                    .prove(
                        pair,
                        Proof::Certificate(identity),
                        context.policy_for(&from).bidi,
                    )
                    .unwrap_or_default();
                self.granted(granted, context, now);
                Ok(())
            }
            Judgement::Verify(pair) => {
                //= DB-19
                //= BIDI-78
                let deadline = now + seconds(context.policy.limits.verification_seconds);
                let new = self
                    .authorizations
                    .inbound_mut()
                    .is_some_and(|inbound| inbound.verify(pair.clone(), deadline));
                if new {
                    //= DB-23
                    //= DB-24
                    //= BIDI-24
                    //= BIDI-25
                    // Elsewhere: the federation opens a connection of its own to the domain in question.
                    context.event(Event::KeyReceived(KeyCheck {
                        pair,
                        //= DTLS-11
                        // A stream without an id has no requests judged worth checking.
                        id: self.id.clone().unwrap_or_default(),
                        key,
                    }));
                }
                Ok(())
            }
        }
    }

    /// What a request deserves, before any key is looked at.
    fn judge(&self, from: &Domain, to: &Domain, context: &Context, now: Instant) -> Judgement {
        use Judgement::Refuse;
        let policy = context.policy_for(from);
        //= BIDI-42
        let Some(inbound) = self.authorizations.inbound() else {
            return Judgement::Misplaced;
        };
        //= BIDI-72
        let pair = match context.config.hosts.pair(Direction::Inbound, from, to) {
            Ok(pair) => pair,
            //= DB-17
            Err(NotAPair::LocalNotServed(_)) => {
                return Refuse(
                    StanzaCondition::ItemNotFound,
                    "the target domain is not hosted here",
                );
            }
            //= DB-18
            //= BIDI-31
            Err(NotAPair::RemoteIsServed(_)) => {
                return Refuse(
                    StanzaCondition::NotAcceptable,
                    "the sender domain is hosted here",
                );
            }
        };
        //= BIDI-71
        if policy.federate == Federate::Deny {
            return Refuse(
                StanzaCondition::PolicyViolation,
                "the configuration forbids federation with this domain",
            );
        }
        if self.role == Role::Initiating && policy.bidi == BidiPolicy::Off {
            return Refuse(
                StanzaCondition::PolicyViolation,
                "the configuration forbids bidi with this domain",
            );
        }
        //= DB-41
        if policy.tls == TlsPolicy::Required && self.secured.is_none() {
            return Refuse(
                StanzaCondition::PolicyViolation,
                "dialback without TLS, which the policy requires",
            );
        }
        //= DB-41
        // Nor from one that came with a certificate before: somebody in the way may have taken TLS out.
        if self.secured.is_none()
            && policy.weaker == Weaker::Refuse
            && context.before(from, now).is_some()
        {
            return Refuse(
                StanzaCondition::PolicyViolation,
                "dialback without TLS, from a domain that proved itself by its certificate before",
            );
        }
        //= BIDI-31
        if self.role == Role::Initiating
            && !self
                .authorizations
                .outbound()
                .is_some_and(|outbound| outbound.proves(to))
        {
            return Refuse(
                StanzaCondition::NotAcceptable,
                "the target domain is not proven on this stream",
            );
        }
        if inbound.grants(&pair) {
            //= DB-49
            return Judgement::Granted;
        }
        //= BIDI-35
        if self.id_seen == IdSeen::Before {
            return Refuse(
                StanzaCondition::NotAcceptable,
                "the peer used this stream's id before, so its key proves nothing",
            );
        }
        //= LIM-10
        if self.authorizations.pairs() >= size(policy.limits.pairs_per_stream_max) {
            context.reached(Limit::PairsPerStreamMax);
            return Refuse(
                StanzaCondition::ResourceConstraint,
                "too many domain pairs on one stream",
            );
        }
        //= DB-44
        if let Some(secured) = &self.secured
            && let Ok(identity) = context.certified(&secured.certificate, from, now)
        {
            return Judgement::Certified(pair, identity);
        }
        //= DB-46
        if !policy.accepts(IdentityMethod::Dialback) {
            return Judgement::Unproven(match &self.secured {
                Some(secured) => context.certified(&secured.certificate, from, now).err(),
                None => None,
            });
        }
        //= DB-53
        if !inbound.verifies(&pair)
            && inbound.verifying() >= size(policy.limits.verifications_per_stream_max)
        {
            context.reached(Limit::VerificationsPerStreamMax);
            return Refuse(
                StanzaCondition::ResourceConstraint,
                "too many keys await their verdict",
            );
        }
        Judgement::Verify(pair)
    }

    /// The peer answers a request of ours (XEP-0220 §2.1.1).
    fn on_answer(
        mut self,
        from: &Domain,
        to: &Domain,
        answer: Answer,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::super::Phase, StreamError> {
        let settled = match context.config.hosts.pair(Direction::Outbound, to, from) {
            Ok(pair) => self
                .authorizations
                .answer(&pair, answer, context.policy_for(from).bidi)
                .map(|granted| (pair, granted)),
            Err(_) => Err(crate::authorizations::Unsolicited),
        };
        match settled {
            Ok((pair, granted)) => {
                match answer {
                    //= DB-11
                    Answer::Valid => {}
                    //= DB-12
                    //= DB-14
                    Answer::Invalid | Answer::Error(_) => {
                        context.event(Event::Refused { pair, answer })
                    }
                }
                self.granted(granted, context, now);
            }
            //= DB-09
            //= BIDI-37
            //= BIDI-39
            Err(crate::authorizations::Unsolicited) => {
                context.irregular("an unsolicited <db:result/> answer")?
            }
        }
        Ok(super::super::Phase::Open(self))
    }

    pub(super) fn on_verdict(
        mut self,
        pair: &DomainPair,
        verdict: Verdict,
        assurance: Assurance,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::super::Phase, StreamError> {
        match self.settle(pair, verdict, assurance, context, now)? {
            Settled::Stays => Ok(super::super::Phase::Open(self)),
            Settled::Ends => Ok(self.leave(Ending::Quiet(Cause::Dialback), context, now)),
        }
    }

    /// Tells the peer what the authoritative server said (XEP-0220 §2.2.1).
    pub(super) fn settle(
        &mut self,
        pair: &DomainPair,
        verdict: Verdict,
        assurance: Assurance,
        context: &mut Context,
        now: Instant,
    ) -> Result<Settled, StreamError> {
        // A verdict for a pair that nobody waits for any more is dropped (DB-28).
        let bidi = context.policy_for(pair.remote().domain()).bidi;
        let Ok(concluded) = self.authorizations.conclude(pair, verdict, assurance, bidi) else {
            return Ok(Settled::Stays);
        };
        let (answer, settled) = match verdict {
            Verdict::Valid => (Answer::Valid, Settled::Stays),
            //= DB-21
            Verdict::Invalid => match self.authorizations.is_empty() {
                true => (Answer::Invalid, Settled::Ends),
                false => (Answer::Error(StanzaCondition::Forbidden), Settled::Stays),
            },
            //= DB-37
            //= ERR-07
            Verdict::Error(condition) => (Answer::Error(condition), Settled::Stays),
        };
        let (sender, target) = (pair.remote().domain(), pair.local().domain());
        for _ in 0..concluded.requests {
            //= DB-20
            //= BIDI-32
            context.write(|out| write_answer(out, target, sender, answer));
        }
        context.last_written = now;
        if answer != Answer::Valid {
            context.event(Event::Denied {
                from: sender.clone(),
                to: target.clone(),
                answer,
                text: "the authoritative server did not confirm the key".into(),
            });
        }
        //= BIDI-18
        // The answer is written already: what the grants set free comes behind it.
        self.granted(concluded.granted, context, now);
        Ok(settled)
    }
}

/// Answers a request with an error (XEP-0220 §2.5).
fn refuse(
    from: Domain,
    to: Domain,
    condition: StanzaCondition,
    text: String,
    context: &mut Context,
) {
    let answer = Answer::Error(condition);
    context.write(|out| write_answer(out, &to, &from, answer));
    context.event(Event::Denied {
        from,
        to,
        answer,
        text,
    });
}

/// What a `<db:result>KEY</db:result>` deserves.
enum Judgement {
    /// No: the stream has no such direction.
    Misplaced,
    /// No, and why.
    Refuse(StanzaCondition, &'static str),
    /// No: dialback is not accepted, and this is why its certificate does not do, if it showed any.
    Unproven(Option<Unproven>),
    /// It may already.
    Granted,
    /// Its certificate suffices (XEP-0344).
    Certified(DomainPair, Identity),
    /// The authoritative server must be asked.
    Verify(DomainPair),
}

/// Whether the stream lives on after a verdict.
pub(super) enum Settled {
    Stays,
    Ends,
}
