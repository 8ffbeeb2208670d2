//! The open stream. It has no role any more, only authorisations.
//!
//! What arrives is looked up in tables of this very stream and nowhere else: that single rule defeats the whole
//! family of unsolicited dialback (conformance §0.3, §4.1).

pub(super) mod authority;
mod dialback;
mod reloading;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use reloading::ANSWERS_FOR;

use verona_xml::Element;

use super::announced::Announced;
use super::bidi::Agreement;
use super::closing::Closing;
use super::context::Context;
use super::management::{self, Authorized, Management};
use super::probe::{self, Due, Probe};
use super::{
    Cause, Command, Event, Fault, Granted, NotSent, Output, Role, Secured, StreamError, bidi,
    starttls,
};
use crate::addr::{Direction, Domain, DomainPair};
use crate::authorizations::{Authorizations, Rejected};
use crate::carriage::Custody;
use crate::dialback::{IdSeen, Verdict};
use crate::grounds::{Assurance, Identity};
use crate::limits::{Limit, seconds, size};
use crate::ns;
use crate::policy::Multiplex;
use crate::stanza::condition::{StanzaCondition, StreamCondition, stream_error};
use crate::stanza::{BadStanza, Stanza, Undelivered, bounce};
use crate::trust;

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
    /// How many keys of ours the peer had checked here: a stream that is for that may end without a grant.
    vouched: u64,
    /// Whether the id is new, if the peer chose it: a key made for an earlier stream would fit a repeated one.
    id_seen: IdSeen,
    /// Time without a stanza after which the stream is closed.
    idle: Duration,
    /// When the proof ends on which something is authorised here (BIDI-70).
    expires: Option<Instant>,
    /// The end that waits for the peer's last acknowledgements.
    leaving: Option<Box<Leaving>>,
    /// Whether the peer does something with what it is sent.
    probe: Probe,
    /// Until when domains of ours that departed give answers here (BIDI-79).
    answers_until: Option<Instant>,
}

/// How the stream ends once the peer has acknowledged what it was sent, or has had its time.
#[derive(Debug)]
struct Leaving {
    end: Ending,
    until: Instant,
}

/// How a stream ends in good order.
#[derive(Debug)]
enum Ending {
    /// With the closing tag alone.
    Quiet(Cause),
    /// With an error that says why.
    Told(StreamError),
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
    pub(super) management: Management,
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
        context.management = opening.management;
        context.last_stanza = now;
        context.stream_id.clone_from(&opening.id);
        let first = granted.first().map(|grant| grant.pair.clone());
        context.principal = context.principal.take().or(first);
        if !granted.is_empty() {
            context.expect_management(now);
        }
        if granted
            .iter()
            .any(|grant| grant.direction == Direction::Outbound)
        {
            context.begin_management(now);
        }
        for grant in granted {
            context.event(Event::Granted(grant));
        }
        //= BIDI-82
        let negotiation = opening
            .authorizations
            .is_empty()
            .then(|| now + seconds(context.policy.limits.negotiation_dialback_seconds));
        let expires = expires(&opening.authorizations, opening.secured.as_ref());
        Self {
            expires,
            answers_until: None,
            role: opening.role,
            authorizations: opening.authorizations,
            id: opening.id,
            remote: opening.remote,
            secured: opening.secured,
            identity: opening.identity,
            multiplexes: opening.multiplexes,
            bidi: opening.bidi,
            negotiation,
            vouched: 0,
            id_seen,
            idle: seconds(context.policy.limits.idle_seconds),
            leaving: None,
            probe: Probe::default(),
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
        if management::is_management(element) {
            let authorized = match self.authorizations.is_empty() {
                true => Authorized::No,
                false => Authorized::Yes,
            };
            context.on_management(element, authorized, now)?;
            return Ok(self.leave_if_settled(context, now));
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
        &self,
        stanza: Result<Stanza, BadStanza>,
        context: &mut Context,
        now: Instant,
    ) -> Result<(), StreamError> {
        // The answer to the stream's own ping is nobody's use of it.
        let is_answer = |stanza| self.probe.is_answer(stanza);
        if !stanza.as_ref().is_ok_and(is_answer) {
            context.last_stanza = now;
        }
        self.receive(stanza, context)
    }

    /// Admits one stanza and has it routed (ROUTE-01..08).
    pub(super) fn receive(
        &self,
        stanza: Result<Stanza, BadStanza>,
        context: &mut Context,
    ) -> Result<(), StreamError> {
        if let Some(answer) = self.answer_for_departed(&stanza, context) {
            context.received();
            context.outputs.extend(answer.map(Output::Deliver));
            return Ok(());
        }
        let config = Arc::clone(&context.config);
        let hosts = &config.hosts;
        // The policy of whoever sent the stanza, not of whoever the header named.
        let strictness = |from: &Domain| context.policy_for(from).to;
        match stanza {
            Ok(stanza) => {
                let admitted = self
                    .authorizations
                    .admit(hosts, strictness, stanza)
                    .map_err(rejected)?;
                context.stanzas_in = context.stanzas_in.saturating_add(1);
                context.received();
                if self.probe.is_answer(admitted.stanza()) {
                    return Ok(());
                }
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
            Err(BadStanza::Stanza { stanza, reason }) => {
                self.authorizations
                    .admits(hosts, strictness, stanza.from(), stanza.to())
                    .map_err(rejected)?;
                context.received();
                let why = Undelivered::new(reason, stanza.to(), "");
                if let Some(answer) = bounce(hosts, &stanza, &why) {
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
    ) -> Result<Custody, NotSent> {
        //= BIDI-16
        //= BIDI-19
        //= BIDI-20
        //= DB-06
        if !self.takes_stanzas(context) || !self.authorizations.permits(pair) {
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
        context.last_stanza = now;
        self.probe.sent(context, now);
        let custody = context.management.custody();
        context.count_sent(stanza.bytes().len(), now);
        Ok(custody)
    }

    /// Whether stanzas may be sent now: not while the end is near, while much is unacknowledged, or while it is being
    /// found out what arrived on an earlier stream.
    pub(super) fn takes_stanzas(&self, context: &Context) -> bool {
        let max = context.policy.limits.unacknowledged_stanzas_max;
        self.leaving.is_none() && context.management.may_send(max)
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
            Command::Verdict {
                pair,
                verdict,
                assurance,
            } => self.on_verdict(&pair, verdict, assurance, context, now),
            Command::Reload(config) => self.on_reload(config, context, now),
            //= BIDI-53
            Command::Converge => {
                self.idle = self
                    .idle
                    .min(seconds(context.policy.limits.converge_seconds));
                Ok(super::Phase::Open(self))
            }
            Command::Resume(found) => {
                context.on_claim_settled(found, now);
                Ok(self.leave_if_settled(context, now))
            }
            // A stream that ends in good order still hears what the peer is saying (BIDI-57).
            Command::Close(error) if error.condition == StreamCondition::UndefinedCondition => {
                Ok(self.leave(Ending::Quiet(error.cause), context, now))
            }
            Command::Close(error) if error.fault == Fault::Local => {
                Ok(self.leave(Ending::Told(error), context, now))
            }
            Command::Close(error) => Err(error),
            Command::Abandon => {
                context.event(Event::Failed(StreamError::superseded()));
                context.outputs.push_back(Output::Close);
                Ok(super::Phase::Closed)
            }
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
            context.reached(Limit::DialbackAnswerSeconds);
            context.event(Event::Unanswered { pair });
        }
        let late = self
            .authorizations
            .inbound()
            .map(|inbound| inbound.expired(now))
            .unwrap_or_default();
        for pair in late {
            context.reached(Limit::VerificationSeconds);
            self.settle(
                &pair,
                Verdict::Error(StanzaCondition::RemoteServerTimeout),
                Assurance::Dns,
                context,
                now,
            )?;
        }
        if self
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.until <= now)
        {
            context.reached(Limit::CloseSeconds);
            return Ok(self.left(context, now));
        }
        context.tick_management(now)?;
        if self.answers_until.is_some_and(|at| at <= now) {
            return Ok(self.forget_departed(context, now));
        }
        // The end that is near comes by itself.
        if self.leaving.is_some() {
            return Ok(self.leave_if_settled(context, now));
        }
        match self.probe.due(context, now) {
            Due::Nothing => {}
            Due::Ask => {
                let pair = self.two_way_pair();
                self.probe.ask(pair.as_ref(), context, now);
            }
            Due::Gone => return Err(probe::gone()),
        }
        //= STREAM-57
        if self.negotiation.is_some_and(|at| at <= now) {
            context.reached(Limit::NegotiationDialbackSeconds);
            let error = StreamError::timeout(Cause::Dialback);
            return Err(match self.vouched > 0 {
                true => error.quietly(),
                false => error,
            });
        }
        //= TLS-25
        //= BIDI-70
        if self.expires.is_some_and(|at| at <= now) {
            return Ok(self.expire(context, now));
        }
        //= STREAM-55
        //= BIDI-62
        if self.leaving.is_none() && self.idle_deadline(context) <= now {
            context.reached(self.idle_limit(context));
            return Ok(self.leave(Ending::Quiet(Cause::Idle), context, now));
        }
        //= SASL-26
        if self.keepalive_deadline(context) <= now {
            context.reached(Limit::KeepaliveSeconds);
            match context.management {
                // A question has an answer: a peer that is gone is noticed.
                Management::Active(_) => context.ask(now),
                //= STREAM-40
                Management::Off
                | Management::Wanted { .. }
                | Management::Offered { .. }
                | Management::Enabling { .. }
                | Management::Resuming { .. }
                | Management::Claimed { .. } => {
                    context.write(|out| out.push(' '));
                    context.last_written = now;
                }
            }
        }
        Ok(super::Phase::Open(self))
    }

    pub(super) fn deadline(&self, context: &Context) -> Option<Instant> {
        if let Some(leaving) = &self.leaving {
            return [
                self.authorizations.deadline(),
                context.management.deadline(),
                self.answers_until,
                Some(leaving.until),
            ]
            .into_iter()
            .flatten()
            .min();
        }
        [
            self.negotiation,
            self.authorizations.deadline(),
            context.management.deadline(),
            self.probe.deadline(context),
            self.expires,
            self.answers_until,
            Some(self.idle_deadline(context)),
            Some(self.keepalive_deadline(context)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A pair that may use the stream in both directions.
    fn two_way_pair(&self) -> Option<DomainPair> {
        let inbound = self.authorizations.inbound()?;
        let mut outbound = self.authorizations.outbound()?.granted();
        outbound
            .find(|(pair, ..)| inbound.grants(pair))
            .map(|(pair, ..)| pair.clone())
    }

    pub(super) fn is_authorized(&self) -> bool {
        !self.authorizations.is_empty()
    }

    pub(super) fn permits(&self, pair: &DomainPair) -> bool {
        self.authorizations.permits(pair)
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

    fn granted(&mut self, granted: Vec<Granted>, context: &mut Context, now: Instant) {
        let is_first = !granted.is_empty() && self.negotiation.take().is_some();
        if is_first {
            // It could not be used before.
            context.last_stanza = now;
        }
        if context.principal.is_none() {
            context.principal = granted.first().map(|grant| grant.pair.clone());
        }
        if is_first {
            context.expect_management(now);
        }
        //= SM-02
        if granted
            .iter()
            .any(|grant| grant.direction == Direction::Outbound)
        {
            context.begin_management(now);
        }
        self.expires = expires(&self.authorizations, self.secured.as_ref());
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

    /// Ends the stream in good order. Nothing more is sent, and the peer is asked about what was, and has a moment to
    /// answer: then nobody need wonder what arrived.
    fn leave(mut self, end: Ending, context: &mut Context, now: Instant) -> super::Phase {
        if self.leaving.is_none() {
            if !context.management.is_settled() {
                context.ask(now);
            }
            self.leaving = Some(Box::new(Leaving {
                end,
                until: now + seconds(context.policy.limits.close_seconds),
            }));
        }
        self.leave_if_settled(context, now)
    }

    fn leave_if_settled(self, context: &mut Context, now: Instant) -> super::Phase {
        match self.leaving.is_some() && context.management.is_settled() {
            true => self.left(context, now),
            false => super::Phase::Open(self),
        }
    }

    /// The stream ends; what the peer still sends is heard until it closes too (STREAM-46).
    fn left(mut self, context: &mut Context, now: Instant) -> super::Phase {
        context.expect_no_management();
        match self.leaving.take().map(|leaving| leaving.end) {
            Some(Ending::Told(error)) => {
                //= STREAM-46
                //= STREAM-59
                context
                    .write_end(|out| stream_error(out, error.condition, Some(&error.text), None));
                context.event(Event::Failed(error));
            }
            Some(Ending::Quiet(cause)) => {
                context.write_close();
                context.event(Event::Closed { cause });
            }
            None => return super::Phase::Open(self),
        }
        super::Phase::Closing(Closing::listening(self, context, now))
    }

    /// Ends the stream, and hears what the peer had sent before it could know (RFC 6120 §4.4): that is its last, and it was
    /// proven when it was sent. Whatever else ends a stream by an error makes us deaf.
    fn expire(self, context: &mut Context, now: Instant) -> super::Phase {
        let error = StreamError::policy(
            StreamCondition::Reset,
            "the certificate that proved the peer has expired",
        )
        .at(Cause::Established);
        let (condition, text) = (error.condition, error.text.clone());
        context.write_end(|out| stream_error(out, condition, Some(&text), None));
        context.event(Event::Failed(error));
        super::Phase::Closing(Closing::listening(self, context, now))
    }

    fn idle_deadline(&self, context: &Context) -> Instant {
        match self.role {
            Role::Initiating => context.last_stanza + self.idle,
            // Whoever opened the stream should be the one to close it; a peer that sends nothing at all is let go later, as we
            // announced (LIM-03).
            Role::Receiving => context.last_stanza.max(context.last_read) + self.idle * 2,
        }
    }

    /// Which limit says how long nobody may use the stream: one that is to make room for another one is let go sooner.
    fn idle_limit(&self, context: &Context) -> Limit {
        match self.idle < seconds(context.policy.limits.idle_seconds) {
            true => Limit::ConvergeSeconds,
            false => Limit::IdleSeconds,
        }
    }

    fn keepalive_deadline(&self, context: &Context) -> Instant {
        let own = seconds(context.policy.limits.keepalive_seconds);
        //= LIM-07
        let theirs = context.peer_limits.keepalive().unwrap_or(own);
        context.last_written + own.min(theirs)
    }
}

/// When the first of the proofs ends on which something is authorised (BIDI-70).
fn expires(authorizations: &Authorizations, secured: Option<&Secured>) -> Option<Instant> {
    let certificate = &secured?.certificate;
    authorizations
        .identities()
        .filter_map(|(domain, identity)| trust::expires(certificate, domain, identity))
        .min()
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
