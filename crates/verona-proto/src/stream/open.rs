//! The open stream. It has no role any more, only authorisations.
//!
//! What arrives is looked up in tables of this very stream and nowhere else: that single rule defeats the whole
//! family of unsolicited dialback (conformance §0.3, §4.1).

use std::time::{Duration, Instant};

use verona_xml::Element;

use super::announced::Announced;
use super::bidi::Agreement;
use super::closing::Closing;
use super::context::Context;
use super::{
    Cause, Command, Event, Fault, Granted, KeyCheck, NotSent, Output, Role, Secured, StreamError,
    bidi, starttls,
};
use crate::addr::{Direction, Domain, DomainPair, NotAPair};
use crate::authorizations::{Authorizations, Rejected};
use crate::dialback::{
    Answer, Dialback, DialbackError, IdSeen, Verdict, write_answer, write_request, write_verdict,
};
use crate::grounds::{Identity, Proof};
use crate::limits::{seconds, size};
use crate::ns;
use crate::policy::{BidiPolicy, Federate, IdentityMethod, Multiplex, TlsPolicy};
use crate::stanza::condition::{StanzaCondition, StreamCondition, stream_error};
use crate::stanza::{BadStanza, Stanza, bounce};

/// Stanzas may flow, pair by pair and direction by direction.
#[derive(Debug)]
pub(super) struct Open {
    role: Role,
    authorizations: Authorizations,
    /// The id of the latest response header: every key on this stream is made with it (DB-04, BIDI-34). Without one
    /// there are no keys.
    id: Option<String>,
    remote: Option<Domain>,
    secured: Option<Secured>,
    /// What we believe of the server that we dialled; `None` on a stream that we accepted.
    identity: Option<Identity>,
    /// Whether the peer copes with reverse requests and many pairs (BIDI-76).
    multiplexes: bool,
    bidi: Agreement,
    /// When the peer must have something authorised (STREAM-57); `None` once it has.
    negotiation: Option<Instant>,
    last_stanza: Instant,
    /// How many keys of ours the peer had checked here: a stream that is for that may end without a grant.
    vouched: u64,
    /// Whether the id is new, if the peer chose it: a key made for an earlier stream would fit a repeated one.
    id_seen: IdSeen,
    /// Time without a stanza after which the stream is closed.
    idle: Duration,
    /// When the certificate expires on which something is authorised here (BIDI-70).
    expires: Option<Instant>,
}

/// What an open stream begins with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) role: Role,
    pub(super) authorizations: Authorizations,
    pub(super) id: Option<String>,
    pub(super) remote: Option<Domain>,
    pub(super) secured: Option<Secured>,
    pub(super) identity: Option<Identity>,
    pub(super) multiplexes: bool,
    pub(super) bidi: Agreement,
}

impl Open {
    pub(super) fn enter(
        opening: Opening,
        granted: Vec<Granted>,
        context: &mut Context,
        now: Instant,
    ) -> Self {
        if opening.authorizations.is_bidirectional() {
            context.event(Event::Bidirectional);
        }
        //= BIDI-35
        let id_seen = match (opening.role, &opening.remote, &opening.id) {
            (Role::Initiating, Some(remote), Some(id)) => {
                context.config.memory.ids.note(remote, id, now)
            }
            (Role::Initiating, _, _) => IdSeen::Before,
            (Role::Receiving, _, _) => IdSeen::First,
        };
        for grant in granted {
            context.event(Event::Granted(grant));
        }
        //= BIDI-82
        let negotiation = opening
            .authorizations
            .is_empty()
            .then(|| now + seconds(context.policy.limits.negotiation_dialback_seconds));
        let expires = match opening.authorizations.rests_on_certificate() {
            true => opening
                .secured
                .as_ref()
                .and_then(|secured| secured.certificate.expires),
            false => None,
        };
        Self {
            expires,
            role: opening.role,
            authorizations: opening.authorizations,
            id: opening.id,
            remote: opening.remote,
            secured: opening.secured,
            identity: opening.identity,
            multiplexes: opening.multiplexes,
            bidi: opening.bidi,
            negotiation,
            last_stanza: now,
            vouched: 0,
            id_seen,
            idle: seconds(context.policy.limits.idle_seconds),
        }
    }

    pub(super) fn on_element(
        self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        if self.authorizations.is_empty() {
            context.count_unauthorized()?;
        }
        if element.namespace() == ns::DIALBACK {
            return self.on_dialback(element, context, now);
        }
        if bidi::is_request(element) {
            return self.on_bidi(element, context);
        }
        if starttls::is_request(element) {
            //= TLS-08
            context.write(starttls::write_failure);
            return Err(StreamError::peer(
                StreamCondition::PolicyViolation,
                "STARTTLS on an open stream",
            )
            .at(Cause::Established)
            .quietly());
        }
        //= STREAM-41
        //= ROUTE-22
        context.irregular("an unknown element")?;
        Ok(super::Phase::Open(self))
    }

    pub(super) fn on_stanza(
        mut self,
        stanza: Result<Stanza, BadStanza>,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        self.last_stanza = now;
        self.receive(stanza, context)?;
        Ok(super::Phase::Open(self))
    }

    /// Admits one stanza and has it routed (ROUTE-01..08).
    pub(super) fn receive(
        &self,
        stanza: Result<Stanza, BadStanza>,
        context: &mut Context,
    ) -> Result<(), StreamError> {
        let hosts = &context.config.hosts;
        // The policy of whoever sent the stanza, not of whoever the header named.
        let strictness = |from: &Domain| context.policy_for(from).to;
        match stanza {
            Ok(stanza) => {
                let admitted = self
                    .authorizations
                    .admit(hosts, strictness, stanza)
                    .map_err(rejected)?;
                context.stanzas_in = context.stanzas_in.saturating_add(1);
                context.outputs.push_back(Output::Deliver(admitted));
            }
            //= ROUTE-01
            //= ROUTE-02
            Err(BadStanza::Stream(condition)) => {
                //= STREAM-34
                if self
                    .authorizations
                    .inbound()
                    .is_none_or(|inbound| inbound.is_empty())
                {
                    return Err(rejected(Rejected::NotAuthorized));
                }
                return Err(StreamError::peer(
                    condition,
                    "a stanza without valid addresses, or of no known kind",
                )
                .at(Cause::Established));
            }
            //= ROUTE-07
            //= ROUTE-30
            Err(BadStanza::Stanza { stanza, condition }) => {
                self.authorizations
                    .admits(hosts, strictness, stanza.from(), stanza.to())
                    .map_err(rejected)?;
                let text = "the stanza's address or element names are not acceptable here";
                if let Some(answer) = bounce(hosts, &stanza, condition, text) {
                    context.outputs.push_back(Output::Deliver(answer));
                }
            }
        }
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        pair: &DomainPair,
        stanza: &Stanza,
        context: &mut Context,
        now: Instant,
    ) -> Result<(), NotSent> {
        //= BIDI-16
        //= BIDI-19
        //= BIDI-20
        //= DB-06
        if !self.authorizations.permits(pair) {
            return Err(NotSent::NotPermitted);
        }
        //= LIM-05
        if let Some(max_bytes) = context.peer_limits.max_bytes
            && stanza.bytes().len() > size(max_bytes)
        {
            return Err(NotSent::TooLarge { max_bytes });
        }
        context.transmit.extend_from_slice(stanza.bytes());
        context.stanzas_out = context.stanzas_out.saturating_add(1);
        context.last_written = now;
        self.last_stanza = now;
        Ok(())
    }

    pub(super) fn on_command(
        mut self,
        command: Command,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        match command {
            Command::Request { pair } => {
                self.request(pair, context, now);
                Ok(super::Phase::Open(self))
            }
            Command::Verdict { pair, verdict } => self.on_verdict(&pair, verdict, context, now),
            //= BIDI-53
            Command::Converge => {
                self.idle = self
                    .idle
                    .min(seconds(context.policy.limits.converge_seconds));
                Ok(super::Phase::Open(self))
            }
            // A stream that ends in good order still hears what the peer is saying (BIDI-57).
            Command::Close(error) if error.condition == StreamCondition::UndefinedCondition => {
                Ok(self.close(error.cause, context, now))
            }
            Command::Close(error) if error.fault == Fault::Local => {
                //= STREAM-46
                //= STREAM-59
                context.write(|out| stream_error(out, error.condition, Some(&error.text), None));
                context.write_close();
                context.event(Event::Failed(error));
                Ok(super::Phase::Closing(Closing::listening(
                    self, context, now,
                )))
            }
            Command::Close(error) => Err(error),
        }
    }

    pub(super) fn on_tick(
        mut self,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        //= DB-07
        let unanswered = self
            .authorizations
            .outbound_mut()
            .map(|outbound| outbound.expire(now))
            .unwrap_or_default();
        for pair in unanswered {
            context.event(Event::Unanswered { pair });
        }
        let late = self
            .authorizations
            .inbound()
            .map(|inbound| inbound.expired(now))
            .unwrap_or_default();
        for pair in late {
            self.settle(
                &pair,
                Verdict::Error(StanzaCondition::RemoteServerTimeout),
                context,
                now,
            )?;
        }
        //= STREAM-57
        if self.negotiation.is_some_and(|at| at <= now) {
            let error = StreamError::timeout(Cause::Dialback);
            return Err(match self.vouched > 0 {
                true => error.quietly(),
                false => error,
            });
        }
        //= TLS-25
        //= BIDI-70
        if self.expires.is_some_and(|at| at <= now) {
            return Err(StreamError::policy(
                StreamCondition::Reset,
                "the certificate that proved the peer has expired",
            )
            .at(Cause::Established));
        }
        //= STREAM-55
        //= BIDI-62
        if self.idle_deadline(context) <= now {
            return Ok(self.close(Cause::Idle, context, now));
        }
        //= SASL-26
        if self.keepalive_deadline(context) <= now {
            //= STREAM-40
            context.write(|out| out.push(' '));
            context.last_written = now;
        }
        Ok(super::Phase::Open(self))
    }

    pub(super) fn deadline(&self, context: &Context) -> Option<Instant> {
        [
            self.negotiation,
            self.authorizations.deadline(),
            self.expires,
            Some(self.idle_deadline(context)),
            Some(self.keepalive_deadline(context)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn is_authorized(&self) -> bool {
        !self.authorizations.is_empty()
    }

    pub(super) fn is_bidirectional(&self) -> bool {
        self.authorizations.is_bidirectional()
    }

    pub(super) fn grants(&self) -> Vec<Granted> {
        self.authorizations.grants()
    }

    pub(super) fn close_cause(&self) -> Cause {
        match self.authorizations.is_empty() {
            true => Cause::Dialback,
            false => Cause::Established,
        }
    }

    /// Sends our key for a pair (XEP-0220 §2.1.1), if there is a reason to ask this very peer.
    pub(super) fn request(&mut self, pair: DomainPair, context: &mut Context, now: Instant) {
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
        let certified = self
            .secured
            .as_ref()
            .is_some_and(|secured| secured.certificate.covers(remote, now).is_ok());
        //= BIDI-27
        (self.role == Role::Initiating
            && self.multiplexes
            && certified
            && policy.accepts(IdentityMethod::Certificate))
        .then_some(Identity::Certificate)
    }

    /// Late `<bidi/>`: accepted, and the inverses of what is proven open at once (BIDI-13, BIDI-14).
    fn on_bidi(
        mut self,
        element: &Element,
        context: &mut Context,
    ) -> Result<super::Phase, StreamError> {
        match (self.role, self.bidi) {
            (Role::Receiving, Agreement::Offered | Agreement::Requested) => {}
            //= BIDI-11
            (Role::Receiving, Agreement::NotOffered)
            | (
                Role::Initiating,
                Agreement::NotOffered | Agreement::Offered | Agreement::Requested,
            ) => {
                context.irregular("a request for bidi that was not offered")?;
                return Ok(super::Phase::Open(self));
            }
        }
        context.peer_limits.update(Announced::read(element));
        let announced = match context.policy.multiplex {
            Multiplex::Auto => bidi::multiplexes(element),
            Multiplex::On => true,
            Multiplex::Off => false,
        };
        if announced && !self.multiplexes {
            self.multiplexes = true;
            context.event(Event::Multiplexes);
        }
        //= BIDI-12
        if self.bidi == Agreement::Requested {
            return Ok(super::Phase::Open(self));
        }
        self.bidi = Agreement::Requested;
        let (authorizations, granted) = self
            .authorizations
            .into_both(|remote| context.policy_for(remote).bidi);
        self.authorizations = authorizations;
        context.event(Event::Bidirectional);
        for grant in granted {
            context.event(Event::Granted(grant));
        }
        Ok(super::Phase::Open(self))
    }

    /// The dispatch of conformance §4.1.
    fn on_dialback(
        mut self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        context.count_question(now)?;
        match Dialback::read(element) {
            //= DB-47
            //= BIDI-30
            Ok(Dialback::Request { from, to, key }) => {
                self.on_request(from, to, key, context, now)?
            }
            Ok(Dialback::Answer { from, to, answer }) => {
                return self.on_answer(&from, &to, answer, context);
            }
            Ok(Dialback::Verify { from, to, id, key }) => {
                //= BIDI-43
                vouch(&from, &to, &id, &key, self.id.as_deref(), context, now);
                self.vouched += 1;
                //= STREAM-57
                if self.vouched <= VOUCHED_MAX
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
                refuse_verify(from.as_ref(), to.as_ref(), id.as_deref(), context)?;
            }
        }
        Ok(super::Phase::Open(self))
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
            Judgement::Refuse(condition, text) => {
                let answer = Answer::Error(condition);
                //= DB-40
                //= BIDI-29
                context.write(|out| write_answer(out, &to, &from, answer));
                context.event(Event::Denied {
                    from,
                    to,
                    answer,
                    text: text.into(),
                });
                Ok(())
            }
            //= DB-48
            Judgement::Granted => {
                context.write(|out| write_answer(out, &to, &from, Answer::Valid));
                Ok(())
            }
            //= DB-44
            //= BIDI-48
            Judgement::Certified(pair) => {
                context.write(|out| write_answer(out, &to, &from, Answer::Valid));
                let granted = self
                    .authorizations
                    .prove(pair, Proof::Certificate, context.policy_for(&from).bidi)
                    .unwrap_or_default();
                self.granted(granted, context);
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
            return Refuse(
                StanzaCondition::ResourceConstraint,
                "too many domain pairs on one stream",
            );
        }
        let certified = self
            .secured
            .as_ref()
            .is_some_and(|secured| secured.certificate.covers(from, now).is_ok());
        //= DB-44
        if certified && policy.accepts(IdentityMethod::Certificate) {
            return Judgement::Certified(pair);
        }
        //= DB-46
        if !policy.accepts(IdentityMethod::Dialback) {
            return Refuse(
                StanzaCondition::NotAuthorized,
                "the policy for this domain does not accept dialback",
            );
        }
        //= DB-53
        if !inbound.verifies(&pair)
            && inbound.verifying() >= size(policy.limits.verifications_per_stream_max)
        {
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
    ) -> Result<super::Phase, StreamError> {
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
                self.granted(granted, context);
            }
            //= DB-09
            //= BIDI-37
            //= BIDI-39
            Err(crate::authorizations::Unsolicited) => {
                context.irregular("an unsolicited <db:result/> answer")?
            }
        }
        Ok(super::Phase::Open(self))
    }

    fn on_verdict(
        mut self,
        pair: &DomainPair,
        verdict: Verdict,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        match self.settle(pair, verdict, context, now)? {
            Settled::Stays => Ok(super::Phase::Open(self)),
            Settled::Ends => Ok(self.close(Cause::Dialback, context, now)),
        }
    }

    /// Tells the peer what the authoritative server said (XEP-0220 §2.2.1).
    fn settle(
        &mut self,
        pair: &DomainPair,
        verdict: Verdict,
        context: &mut Context,
        now: Instant,
    ) -> Result<Settled, StreamError> {
        // A verdict for a pair that nobody waits for any more is dropped (DB-28).
        let bidi = context.policy_for(pair.remote().domain()).bidi;
        let Ok(concluded) = self.authorizations.conclude(pair, verdict, bidi) else {
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
        self.granted(concluded.granted, context);
        Ok(settled)
    }

    fn granted(&mut self, granted: Vec<Granted>, context: &mut Context) {
        if !granted.is_empty() {
            self.negotiation = None;
        }
        if self.expires.is_none() && self.authorizations.rests_on_certificate() {
            let secured = self.secured.as_ref();
            self.expires = secured.and_then(|secured| secured.certificate.expires);
        }
        //= BIDI-71
        // From now on the policy is that of whoever is proven, not of whoever the header named.
        let proven = granted
            .iter()
            .find(|grant| grant.direction == Direction::Inbound);
        if let (Role::Receiving, Some(grant)) = (self.role, proven)
            && self.remote.as_ref() != Some(grant.pair.remote().domain())
        {
            context.policy = context.policy_for(grant.pair.remote().domain());
            self.idle = seconds(context.policy.limits.idle_seconds);
        }
        for grant in granted {
            context.event(Event::Granted(grant));
        }
    }

    /// Ends the stream in good order: what the peer still sends is heard until it closes too (STREAM-46).
    fn close(self, cause: Cause, context: &mut Context, now: Instant) -> super::Phase {
        context.write_close();
        context.event(Event::Closed { cause });
        super::Phase::Closing(Closing::listening(self, context, now))
    }

    fn idle_deadline(&self, context: &Context) -> Instant {
        match self.role {
            Role::Initiating => self.last_stanza + self.idle,
            // Whoever opened the stream should be the one to close it; a peer that sends nothing at all is let go later, as we
            // announced (LIM-03).
            Role::Receiving => self.last_stanza.max(context.last_read) + self.idle * 2,
        }
    }

    fn keepalive_deadline(&self, context: &Context) -> Instant {
        let own = seconds(context.policy.limits.keepalive_seconds);
        //= LIM-07
        let theirs = context.peer_limits.keepalive().unwrap_or(own);
        context.last_written + own.min(theirs)
    }
}

/// What a `<db:result>KEY</db:result>` deserves.
enum Judgement {
    /// No: the stream has no such direction.
    Misplaced,
    /// No, and why.
    Refuse(StanzaCondition, &'static str),
    /// It may already.
    Granted,
    /// Its certificate suffices (XEP-0344).
    Certified(DomainPair),
    /// The authoritative server must be asked.
    Verify(DomainPair),
}

/// Whether the stream lives on after a verdict.
enum Settled {
    Stays,
    Ends,
}

/// How many checks of keys move the deadline of a peer that has nothing authorised: a small cap (STREAM-57).
pub(super) const VOUCHED_MAX: u64 = 16;

/// Answers a check of one of our keys: we are the authoritative server (XEP-0220 §2.2.2).
pub(super) fn vouch(
    from: &Domain,
    to: &Domain,
    id: &str,
    key: &str,
    own_id: Option<&str>,
    context: &mut Context,
    now: Instant,
) {
    let verdict = if context.config.hosts.local(to).is_none() {
        //= DB-33
        Verdict::Error(StanzaCondition::ItemNotFound)
    } else if own_id == Some(id) {
        //= BIDI-43
        Verdict::Error(StanzaCondition::NotAcceptable)
    } else if context.config.secrets.is_key(from, to, id, key)
        //= DB-35
        //= BIDI-35
        && context.config.memory.issued.knows(key, now)
    {
        //= DB-34
        Verdict::Valid
    } else {
        Verdict::Invalid
    };
    context.write(|out| write_verdict(out, to, from, id, verdict));
    context.event(Event::Vouched {
        receiving: from.clone(),
        originating: to.clone(),
        valid: verdict == Verdict::Valid,
    });
}

/// Refuses a check that lacks something: answered where there is an address to answer to (DB-51).
pub(super) fn refuse_verify(
    from: Option<&Domain>,
    to: Option<&Domain>,
    id: Option<&str>,
    context: &mut Context,
) -> Result<(), StreamError> {
    //= DB-51
    if let (Some(from), Some(to)) = (from, to) {
        let verdict = Verdict::Error(StanzaCondition::BadRequest);
        context.write(|out| write_verdict(out, to, from, id.unwrap_or_default(), verdict));
    }
    context.irregular("a <db:verify/> without valid 'from', 'to' and 'id'")
}

fn rejected(rejected: Rejected) -> StreamError {
    let (condition, text) = match rejected {
        Rejected::NotAuthorized => (
            StreamCondition::NotAuthorized,
            "a stanza before anything was authorised in this direction",
        ),
        Rejected::HostUnknown => (
            StreamCondition::HostUnknown,
            "a stanza for a domain that is not that of an authorised pair",
        ),
        Rejected::InvalidFrom => (
            StreamCondition::InvalidFrom,
            "a stanza from a domain for which the peer is not proven",
        ),
    };
    StreamError::peer(condition, text).at(Cause::Established)
}
