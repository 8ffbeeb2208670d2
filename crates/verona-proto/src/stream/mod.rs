//! One XML stream, from the first byte to the last, without I/O.
//!
//! Contract: one mutation ([`Stream::handle`], [`Stream::send`]), then [`Stream::poll`] to `None` and write what
//! [`Stream::transmit`] holds, then the next. Time is an argument. A phase is a type; a transition consumes it:
//!
//! ```text
//! initiating:  AwaitHeader → AwaitFeatures ─┬→ AwaitProceed → AwaitSecured → AwaitHeader (restart)
//!                                           ├→ AwaitSaslOutcome → AwaitHeader (restart) → AwaitFeatures → Open
//!                                           ├→ Open       (dialback: pairs are requested there)
//!                                           └→ Verifying  (a connection for dialback keys and nothing else)
//! receiving:   AwaitHeader ─(AwaitAttestation)→ AwaitChoice ─┬→ AwaitSecured → AwaitHeader (restart)
//!                                                            ├→ (SASL) AwaitHeader (restart) → Open
//!                                                            └→ Open       (first <db:result/>)
//! both:        Open → Closing → Closed
//! ```

mod announced;
mod bidi;
mod closing;
mod context;
mod error;
mod features;
mod header;
mod initiating;
mod input;
mod management;
mod open;
mod output;
mod probe;
mod receiving;
mod sasl;
mod starttls;
mod verifying;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use verona_xml::{Element, Head, Scan, Scanner};

pub use crate::authorizations::{Flow, Granted, Role};
pub use context::{Attestations, Memory, StreamConfig, StreamIds};
pub use error::{Cause, Fault, StreamError, TheirWords, Wire};
pub use input::{Check, Command, Input, Pace, Purpose, Secured};
pub use management::{ResumePoint, TheirSide, Ticket};
pub use open::ANSWERS_FOR;
pub use output::{Event, KeyCheck, Output, Peer};

use crate::addr::{Direction, DomainPair, RecentDomains};
use crate::carriage::Custody;
use crate::certificate::Attestation;
use crate::discovery::Target;
use crate::limits::{Limit, Sender, size};
use crate::ns;
use crate::policy::InForce;
use crate::stanza::condition::StreamCondition;
use crate::stanza::{BadStanza, Reason, Stanza};
use closing::Closing;
use context::{Context, Restart};
use open::Open;
use verifying::Verifying;

/// The state machine of one stream: both directions of one connection.
#[derive(Debug)]
pub struct Stream {
    phase: Phase,
    context: Context,
    scanner: Scanner,
    /// Whether the scanner ends with the header that is to come.
    until_header: bool,
    inbox: BytesMut,
    domains: RecentDomains,
}

impl Stream {
    /// A connection was opened by us; the header is in [`Stream::transmit`] at once. `secured` when TLS came first
    /// (XEP-0368).
    #[must_use]
    pub fn initiating(
        config: Arc<StreamConfig>,
        purpose: Purpose,
        ids: StreamIds,
        secured: Option<Secured>,
        now: Instant,
    ) -> Self {
        let context = Self::dialling(&purpose, config, ids, now);
        Self::begin(purpose, secured, context, now)
    }

    /// The same, on a connection to this endpoint: how sure the way to it is counts for who may be there, and one whose
    /// certificate DNS names must show it (DNS-15).
    #[must_use]
    pub fn initiating_by_way_of(
        target: &Target,
        config: Arc<StreamConfig>,
        purpose: Purpose,
        ids: StreamIds,
        secured: Option<Secured>,
        now: Instant,
    ) -> Self {
        let mut context = Self::dialling(&purpose, config, ids, now);
        context.assurance = target.assurance;
        //= DNS-15
        if !target.tlsa.records().is_empty() {
            context.policy.require_tls();
        }
        Self::begin(purpose, secured, context, now)
    }

    fn dialling(
        purpose: &Purpose,
        config: Arc<StreamConfig>,
        ids: StreamIds,
        now: Instant,
    ) -> Context {
        let policy = config.policy.in_force(purpose.pair().remote().domain());
        let mut context = Context::new(Role::Initiating, config, ids, policy, now);
        context.principal = Some(purpose.pair().clone());
        context
    }

    fn begin(
        purpose: Purpose,
        secured: Option<Secured>,
        mut context: Context,
        now: Instant,
    ) -> Self {
        let phase = initiating::Phase::start(purpose, secured, &mut context, now);
        Self::new(Phase::Initiating(phase), context)
    }

    /// A connection was accepted: we are the receiving entity. `secured` when TLS came first (XEP-0368).
    #[must_use]
    pub fn receiving(
        config: Arc<StreamConfig>,
        ids: StreamIds,
        secured: Option<Secured>,
        now: Instant,
    ) -> Self {
        let policy = InForce::defaults(&config.policy);
        let context = Context::new(Role::Receiving, config, ids, policy, now);
        let phase = receiving::Phase::start(secured, &context, now);
        Self::new(Phase::Receiving(phase), context)
    }

    fn new(phase: Phase, context: Context) -> Self {
        let scanner = Scanner::new(context.policy.limits.negotiation_xml());
        Self {
            phase,
            context,
            scanner,
            until_header: false,
            inbox: BytesMut::new(),
            domains: RecentDomains::default(),
        }
    }

    /// Feeds one input. Drain [`Self::poll`] before the next.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Bytes(bytes) => self.on_bytes(bytes, now),
            Input::Secured(secured) => self.step(now, |phase, context| {
                phase.on_secured(secured, context, now)
            }),
            Input::Attested(attestation) => {
                self.step(now, |phase, context| {
                    phase.on_attested(attestation, context, now)
                });
                // What the peer said meanwhile.
                self.on_bytes(&[], now);
            }
            Input::Command(command) => self.step(now, |phase, context| {
                phase.on_command(command, context, now)
            }),
            Input::Tick => self.step(now, |phase, context| phase.on_tick(context, now)),
            Input::Eof => self.on_eof(),
        }
    }

    /// Writes a stanza for a pair that this stream carries; says until when it is in our hands.
    ///
    /// # Errors
    /// [`NotSent`] when the pair is not authorised outbound here, the stream no longer takes stanzas, or the peer said
    /// that it takes none of that size; the stanza stays with the caller.
    pub fn send(
        &mut self,
        pair: &DomainPair,
        stanza: &Stanza,
        now: Instant,
    ) -> Result<Custody, NotSent> {
        match &mut self.phase {
            Phase::Open(open) => open.send(pair, stanza, &mut self.context, now),
            Phase::Initiating(_)
            | Phase::Receiving(_)
            | Phase::Verifying(_)
            | Phase::Closing(_)
            | Phase::Closed => Err(NotSent::NotPermitted),
        }
    }

    /// Takes the next output; `None` means drained.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.context.outputs.pop_front();
        if output.is_none() {
            // An idle stream holds no memory for what it once had to say.
            self.context.outputs = VecDeque::new();
        }
        output
    }

    /// Of the stanzas that were [`counted`](Self::counted), the last `count` have not all found their place yet, or are not
    /// safe there: they are not acknowledged
    /// (SM-11), and the end of our side waits for them. To be said whenever it changes, before the next
    /// [`Self::transmit`].
    pub fn unhandled(&mut self, count: u32) {
        self.context.unhandled = count;
    }

    /// How many stanzas of the peer's are counted (XEP-0198), modulo 2³²: for whoever says how many are
    /// [`unhandled`](Self::unhandled).
    #[must_use]
    pub fn counted(&self) -> u32 {
        self.context.management.counted()
    }

    /// There is nothing more to send for now.
    pub fn drained(&mut self, now: Instant) {
        match &self.phase {
            Phase::Open(_) => self.context.drained(now),
            Phase::Initiating(_)
            | Phase::Receiving(_)
            | Phase::Verifying(_)
            | Phase::Closing(_)
            | Phase::Closed => {}
        }
    }

    /// How far both sides came, if the stream can be taken up on another connection (XEP-0198 §5).
    #[must_use]
    pub fn resume_point(&self) -> Option<ResumePoint> {
        Some(ResumePoint {
            ticket: self.context.management.ticket()?,
            pair: self.context.principal.clone()?,
            role: self.context.role,
            used: self.context.last_stanza,
            their_side: self.context.their_side,
        })
    }

    /// How many stanzas the peer has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> u32 {
        self.context.management.unacknowledged()
    }

    /// How long the peer took to acknowledge, when it was asked last.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.context.management.round_trip()
    }

    /// What is to be written to the peer; the driver takes from its front what it wrote.
    pub fn transmit(&mut self) -> &mut BytesMut {
        self.context.flush();
        &mut self.context.transmit
    }

    /// When to call [`Self::handle`] with [`Input::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.phase.deadline(&self.context)
    }

    /// Whether the stream takes stanzas from [`Stream::send`] now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.phase {
            Phase::Open(open) => open.takes_stanzas(&self.context),
            Phase::Initiating(_)
            | Phase::Receiving(_)
            | Phase::Verifying(_)
            | Phase::Closing(_)
            | Phase::Closed => false,
        }
    }

    /// Whether the stream is open and not for this pair; for a domain of ours that departed it is for answers, and only
    /// for a while (BIDI-79). Whether there is room for a stanza now is [another matter](Self::is_open).
    #[must_use]
    pub fn forbids(&self, pair: &DomainPair) -> bool {
        match &self.phase {
            Phase::Open(open) => !open.permits(pair),
            Phase::Initiating(_)
            | Phase::Receiving(_)
            | Phase::Verifying(_)
            | Phase::Closing(_)
            | Phase::Closed => false,
        }
    }

    /// Whether a `<bidi/>` was agreed on (XEP-0288).
    #[must_use]
    pub fn is_bidirectional(&self) -> bool {
        match &self.phase {
            Phase::Open(open) => open.is_bidirectional(),
            Phase::Closing(closing) => closing.is_bidirectional(),
            Phase::Initiating(_) | Phase::Receiving(_) | Phase::Verifying(_) | Phase::Closed => {
                false
            }
        }
    }

    /// All that is authorised on the stream (contract §4).
    #[must_use]
    pub fn grants(&self) -> Vec<Granted> {
        match &self.phase {
            Phase::Open(open) => open.grants(),
            Phase::Closing(closing) => closing.grants(),
            Phase::Initiating(_) | Phase::Receiving(_) | Phase::Verifying(_) | Phase::Closed => {
                Vec::new()
            }
        }
    }

    /// The pairs of which the peer may send something.
    #[must_use]
    pub fn inbound(&self) -> Vec<DomainPair> {
        let granted = self.grants().into_iter();
        granted
            .filter(|granted| granted.direction == Direction::Inbound)
            .map(|granted| granted.pair)
            .collect()
    }

    /// Where the stream stands, in a word or two, for status.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Initiating(phase) => phase.name(),
            Phase::Receiving(phase) => phase.name(),
            Phase::Verifying(_) => "verifying a dialback key",
            Phase::Open(_) => "open",
            Phase::Closing(_) => "closing",
            Phase::Closed => "closed",
        }
    }

    /// Stanzas read and written so far.
    #[must_use]
    pub fn stanzas(&self) -> (u64, u64) {
        (self.context.stanzas_in, self.context.stanzas_out)
    }

    fn on_bytes(&mut self, bytes: &[u8], now: Instant) {
        if !bytes.is_empty() {
            self.context.last_read = now;
            self.context.reads = self.context.reads.wrapping_add(1);
        }
        // Elements are read where they stand; only what is not whole yet is kept.
        if self.inbox.is_empty() {
            let rest = self.read(bytes, now);
            self.inbox.extend_from_slice(rest);
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.extend_from_slice(bytes);
        let rest = self.read(&inbox, now).len();
        // An idle stream holds no memory for what was once read.
        if rest > 0 {
            inbox.advance(inbox.len() - rest);
            // Nor for what stood in front of a few bytes.
            self.inbox = match inbox.capacity() > rest * 4 + INBOX_KEPT {
                true => BytesMut::from(inbox.as_ref()),
                false => inbox,
            };
        }
    }

    /// Reads as much as can be read; says what is left.
    fn read<'a>(&mut self, bytes: &'a [u8], now: Instant) -> &'a [u8] {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.phase.is_deaf() {
                return self.on_ignored_bytes(rest);
            }
            match self.next_frame(rest, now) {
                Some(len) => rest = rest.get(len..).unwrap_or_default(),
                None => break,
            }
        }
        rest
    }

    /// Reads what comes next, and says how long it was; `None` when it is not whole, or when it is not its time.
    fn next_frame(&mut self, rest: &[u8], now: Instant) -> Option<usize> {
        if self.phase.awaits_attestation() {
            self.on_early_bytes(rest, now);
            return None;
        }
        //= TLS-07
        // Bytes behind <starttls/> or <proceed/> were not protected and must never be read as if they were.
        if self.phase.awaits_tls() {
            self.fail(StreamError::injected(), now);
            return Some(0);
        }
        if self.until_header {
            match receiving::behind_auth(rest) {
                Some(Restart::AtHeader) => {}
                Some(Restart::Now) => self.restart(),
                None => return None,
            }
        }
        let scan = match self.scanner.scan(rest) {
            Ok(scan) => scan,
            Err(error) => {
                self.refuse_xml(&error, now);
                return Some(0);
            }
        };
        let (len, frame) = match scan {
            Scan::More => return None,
            Scan::Space { len } | Scan::Declaration { len } => (len, Frame::Nothing),
            Scan::Header { len, .. } => (len, Frame::Header),
            Scan::Element { len, head } => (len, Frame::Element(head)),
            Scan::Close { len } => (len, Frame::Close),
        };
        let element = rest.get(..len).unwrap_or(rest);
        //= STREAM-52
        self.on_frame(frame, element, now);
        match self.context.restart.take() {
            None => {}
            Some(Restart::Now) => self.restart(),
            Some(Restart::AtHeader) => self.until_header = true,
        }
        Some(element.len())
    }

    /// The peer need not wait for our features, but what it sends before them is bounded.
    fn on_early_bytes(&mut self, rest: &[u8], now: Instant) {
        if rest.len() > size(self.context.policy.limits.negotiation_bytes_max) {
            self.context.reached(Limit::NegotiationBytesMax);
            let error = StreamError::peer(
                StreamCondition::PolicyViolation,
                "too much was sent before our features",
            );
            self.fail(error, now);
        }
    }

    /// After an error nothing is understood any more; but a peer that closes its side need not be waited for. Only as
    /// much is kept as may be the beginning of its closing tag.
    fn on_ignored_bytes<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let closed = bytes.windows(CLOSE.len()).any(|bytes| bytes == CLOSE);
        if closed && self.phase.is_waiting_for_close() {
            self.context.outputs.push_back(Output::Close);
            self.phase = Phase::Closed;
            return &[];
        }
        let kept = bytes.len().min(CLOSE.len() - 1);
        bytes.get(bytes.len() - kept..).unwrap_or_default()
    }

    fn on_frame(&mut self, frame: Frame, bytes: &[u8], now: Instant) {
        match frame {
            Frame::Nothing => {}
            Frame::Header => match Element::parse_header(bytes) {
                Ok(header) => {
                    let scope = self.scanner.scope().clone();
                    self.step(now, |phase, context| {
                        phase.on_header(&header, &scope, context, now)
                    });
                }
                Err(error) => self.refuse_xml(&error, now),
            },
            Frame::Close => self.step(now, |phase, context| phase.on_close(context, now)),
            Frame::Element(head) => self.on_element(&head, bytes, now),
        }
    }

    fn on_element(&mut self, head: &Head, bytes: &[u8], now: Instant) {
        let scope = self.scanner.scope();
        if head.namespace(bytes, scope) == ns::SERVER {
            // Reading a stanza is work, which a peer that may send none does not get.
            let stanza = match self.phase.hears_stanzas() {
                true => {
                    let lang = self.context.peer_lang.as_deref();
                    Stanza::read_among(&mut self.domains, bytes, head, scope, lang)
                }
                false => Err(BadStanza::Stream(StreamCondition::NotAuthorized)),
            };
            let stanza = stanza.and_then(|stanza| self.check_size(stanza));
            return self.on_stanza(stanza, now);
        }
        if let Phase::Open(open) = &self.phase
            && open.is_authorized()
            && self.context.reload.is_none()
            && management::is_question(head, bytes, scope)
        {
            return self.on_question(now);
        }
        let element = match Element::parse(bytes, scope) {
            Ok(element) => element,
            Err(error) => return self.refuse_xml(&error, now),
        };
        if element.is("error", ns::STREAM) {
            return self.on_stream_error(&element, now);
        }
        self.step(now, |phase, context| {
            phase.on_element(&element, context, now)
        });
    }

    /// It comes behind every few stanzas, or behind each: the stream stays as it is, and no tree is built of it.
    fn on_question(&mut self, now: Instant) {
        if let Err(error) = self.context.on_question(now) {
            self.fail(error, now);
        }
    }

    /// An open stream stays as it is, so it need not be moved for each stanza.
    fn on_stanza(&mut self, stanza: Result<Stanza, BadStanza>, now: Instant) {
        match &self.phase {
            Phase::Open(open) if self.context.reload.is_none() => {
                if let Err(error) = open.on_stanza(stanza, &mut self.context, now) {
                    self.fail(error, now);
                }
            }
            Phase::Open(_)
            | Phase::Initiating(_)
            | Phase::Receiving(_)
            | Phase::Verifying(_)
            | Phase::Closing(_)
            | Phase::Closed => {
                self.step(now, |phase, context| phase.on_stanza(stanza, context, now));
            }
        }
    }

    /// What is made of a stanza must not be larger than what may be sent: declarations that it took from the header
    /// are repeated in it (ROUTE-12).
    fn check_size(&self, stanza: Stanza) -> Result<Stanza, BadStanza> {
        //= ROUTE-12
        //= ERR-03
        match stanza.bytes().len() <= size(self.context.policy.limits.stanza_bytes_max) {
            true => Ok(stanza),
            false => {
                self.context.reached(Limit::StanzaBytesMax);
                Err(BadStanza::Stanza {
                    stanza: Box::new(stanza),
                    reason: Reason::TooLarge,
                })
            }
        }
    }

    /// The peer ended the stream with an error: both directions and all pairs are over (BIDI-59).
    fn on_stream_error(&mut self, element: &Element, now: Instant) {
        let error = StreamError::received(element, self.phase.cause());
        let context = &mut self.context;
        //= STREAM-49
        if context.header_sent && !self.phase.is_closing() {
            context.write_close();
        }
        context.event(Event::Failed(error));
        let _ = now;
        let close = match &self.phase {
            Phase::Open(_) => close_behind_the_peer(context),
            Phase::Initiating(_)
            | Phase::Receiving(_)
            | Phase::Verifying(_)
            | Phase::Closing(_)
            | Phase::Closed => Output::Close,
        };
        context.outputs.push_back(close);
        self.phase = Phase::Closed;
    }

    fn on_eof(&mut self) {
        match &self.phase {
            Phase::Closed => return,
            //= STREAM-48
            Phase::Closing(_) => {}
            Phase::Initiating(_) | Phase::Receiving(_) | Phase::Verifying(_) | Phase::Open(_) => {
                let error = StreamError::cut(self.phase.cause());
                self.context.event(Event::Failed(error));
                // It may have closed one direction only.
                //= SM-07
                self.context.hasten_answer();
            }
        }
        self.context.outputs.push_back(Output::Close);
        self.phase = Phase::Closed;
    }

    /// Runs one transition, and turns its error into the end of the stream.
    fn step(
        &mut self,
        now: Instant,
        transition: impl FnOnce(Phase, &mut Context) -> Result<Phase, StreamError>,
    ) {
        let phase = std::mem::replace(&mut self.phase, Phase::Closed);
        let was_open = matches!(phase, Phase::Open(_));
        let may_write = phase.may_write();
        let next = transition(phase, &mut self.context)
            .and_then(|phase| phase.reload_if_due(&mut self.context, now));
        match next {
            Ok(phase) => self.phase = phase,
            Err(error) => return self.end(error, may_write, now),
        }
        if let Phase::Open(open) = &self.phase
            && (!was_open || self.context.limits_raised != Some(open.is_authorized()))
        {
            self.context.limits_raised = Some(open.is_authorized());
            self.scanner.set_limits(match open.is_authorized() {
                true => self.context.policy.limits.xml(),
                false => self.context.policy.limits.negotiation_xml(),
            });
        }
    }

    fn refuse_xml(&mut self, error: &verona_xml::Error, now: Instant) {
        let sender = match self.context.limits_raised {
            Some(true) => Sender::Authorized,
            Some(false) | None => Sender::Stranger,
        };
        if let Some(limit) = Limit::of_xml(error, sender) {
            self.context.reached(limit);
        }
        self.fail(StreamError::from_xml(error), now);
    }

    fn fail(&mut self, error: StreamError, now: Instant) {
        self.end(error, self.phase.may_write(), now);
    }

    fn end(&mut self, error: StreamError, may_write: bool, now: Instant) {
        let error = match may_write {
            true => error,
            false => error.silently(),
        };
        self.phase = closing::after_error(error, &mut self.context, now);
    }

    /// The stream begins anew on the same connection (RFC 6120 §4.3.3).
    fn restart(&mut self) {
        self.scanner = Scanner::new(self.context.policy.limits.negotiation_xml());
        self.until_header = false;
    }
}

/// Why a stanza was not sent; its sender's queue keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The stream may not carry it.
    NotPermitted,
    /// The peer takes no stanza of that size (LIM-05): it is for its sender to hear, as `policy-violation`.
    TooLarge {
        /// What the peer takes, in bytes.
        max_bytes: u64,
    },
}

/// What the scanner found.
enum Frame {
    Nothing,
    Header,
    Element(Head),
    Close,
}

/// Where the stream stands. Each phase owns what it needs, its deadline included.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a stream is open for nearly all of its life"
)]
enum Phase {
    Initiating(initiating::Phase),
    Receiving(receiving::Phase),
    Verifying(Verifying),
    Open(Open),
    Closing(Closing),
    Closed,
}

/// How a connection ends on which the peer has ended the stream.
fn close_behind_the_peer(context: &Context) -> Output {
    //= ROUTE-09
    match context.may_be_on_its_way() {
        true => Output::CloseLast,
        false => Output::Close,
    }
}

impl Phase {
    fn on_header(
        self,
        header: &Element,
        scope: &verona_xml::Scope,
        context: &mut Context,
        now: Instant,
    ) -> Result<Self, StreamError> {
        match self {
            Self::Initiating(phase) => phase.on_header(header, scope, context, now),
            Self::Receiving(phase) => phase.on_header(header, scope, context, now),
            Self::Verifying(_) | Self::Open(_) | Self::Closing(_) | Self::Closed => Err(
                StreamError::peer(StreamCondition::BadFormat, "a second stream header"),
            ),
        }
    }

    fn on_element(
        self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<Self, StreamError> {
        match self {
            Self::Initiating(phase) => phase.on_element(element, context, now),
            Self::Receiving(phase) => phase.on_element(element, context, now),
            Self::Verifying(phase) => phase.on_element(element, context, now),
            Self::Open(phase) => phase.on_element(element, context, now),
            Self::Closing(phase) => phase.on_element(element, context, now),
            Self::Closed => Ok(Self::Closed),
        }
    }

    fn on_stanza(
        self,
        stanza: Result<Stanza, crate::stanza::BadStanza>,
        context: &mut Context,
        now: Instant,
    ) -> Result<Self, StreamError> {
        match self {
            Self::Open(phase) => {
                phase.on_stanza(stanza, context, now)?;
                Ok(Self::Open(phase))
            }
            Self::Closing(phase) => phase.on_stanza(stanza, context, now),
            Self::Closed => Ok(Self::Closed),
            //= STREAM-34
            //= BIDI-77
            Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_) => {
                Err(StreamError::peer(
                    StreamCondition::NotAuthorized,
                    "a stanza before anything was authorised",
                ))
            }
        }
    }

    fn on_close(self, context: &mut Context, now: Instant) -> Result<Self, StreamError> {
        let cause = self.cause();
        context.their_side = TheirSide::Closed;
        match self {
            Self::Closing(_) | Self::Closed => {}
            //= STREAM-47
            //= BIDI-58
            Self::Open(open) => {
                context.expect_no_management();
                context.write_close();
                context.event(Event::Closed {
                    cause: open.close_cause(),
                });
                context.outputs.push_back(close_behind_the_peer(context));
                return Ok(Self::Closed);
            }
            Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_) => {
                let _ = now;
                context.write_close();
                context.event(Event::Failed(StreamError::closed_by_peer(cause)));
            }
        }
        context.outputs.push_back(Output::Close);
        Ok(Self::Closed)
    }

    fn on_secured(
        self,
        secured: Secured,
        context: &mut Context,
        now: Instant,
    ) -> Result<Self, StreamError> {
        match self {
            Self::Initiating(phase) => {
                Ok(Self::Initiating(phase.on_secured(secured, context, now)))
            }
            Self::Receiving(phase) => Ok(Self::Receiving(phase.on_secured(secured, now))),
            unchanged @ (Self::Verifying(_) | Self::Open(_) | Self::Closing(_) | Self::Closed) => {
                Ok(unchanged)
            }
        }
    }

    fn on_attested(
        self,
        attestation: Attestation,
        context: &mut Context,
        now: Instant,
    ) -> Result<Self, StreamError> {
        match self {
            Self::Receiving(phase) => Ok(phase.on_attested(attestation, context, now)),
            unchanged @ (Self::Initiating(_)
            | Self::Verifying(_)
            | Self::Open(_)
            | Self::Closing(_)
            | Self::Closed) => Ok(unchanged),
        }
    }

    fn on_command(
        self,
        command: Command,
        context: &mut Context,
        now: Instant,
    ) -> Result<Self, StreamError> {
        match (self, command) {
            (Self::Open(open), command) => open.on_command(command, context, now),
            (Self::Closing(closing), Command::Verdict { pair, verdict, .. }) => {
                Ok(Self::Closing(closing.on_verdict(&pair, verdict)))
            }
            (Self::Closed, _) => Ok(Self::Closed),
            (
                Self::Closing(closing),
                Command::Request { .. }
                | Command::Converge
                | Command::Close(_)
                | Command::Resume(_),
            ) => Ok(Self::Closing(closing)),
            (Self::Closing(_), Command::Abandon) => {
                context.outputs.push_back(Output::Close);
                Ok(Self::Closed)
            }
            // What the peer had said was allowed when it was said; that its domain of ours is gone is told all the same.
            (Self::Closing(closing), Command::Reload(config)) => {
                context.config = config;
                Ok(Self::Closing(closing))
            }
            (
                phase @ (Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_)),
                Command::Reload(config),
            ) => {
                context.reload = Some(config);
                Ok(phase)
            }
            (
                phase @ (Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_)),
                Command::Request { .. }
                | Command::Verdict { .. }
                | Command::Converge
                | Command::Resume(_)
                | Command::Abandon,
            ) => Ok(phase),
            (
                Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_),
                Command::Close(error),
            ) => Err(error),
        }
    }

    /// A configuration that came during the negotiation counts from here on.
    fn reload_if_due(self, context: &mut Context, now: Instant) -> Result<Self, StreamError> {
        match self {
            Self::Open(open) => match context.reload.take() {
                Some(config) => open.on_reload(config, context, now),
                None => Ok(Self::Open(open)),
            },
            other @ (Self::Initiating(_)
            | Self::Receiving(_)
            | Self::Verifying(_)
            | Self::Closing(_)
            | Self::Closed) => Ok(other),
        }
    }

    fn on_tick(self, context: &mut Context, now: Instant) -> Result<Self, StreamError> {
        if self.deadline(context).is_none_or(|at| at > now) {
            return Ok(self);
        }
        match self {
            Self::Open(open) => open.on_tick(context, now),
            Self::Closing(_) | Self::Closed => {
                context.reached(Limit::CloseSeconds);
                context.outputs.push_back(Output::Close);
                Ok(Self::Closed)
            }
            //= STREAM-57
            phase @ (Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_)) => {
                Err(phase.timed_out(context))
            }
        }
    }

    fn timed_out(&self, context: &Context) -> StreamError {
        match self {
            Self::Receiving(phase) => {
                context.reached(phase.time_limit());
                return phase.timed_out();
            }
            Self::Initiating(phase) => context.reached(phase.time_limit()),
            Self::Verifying(_) => context.reached(Limit::VerificationSeconds),
            Self::Open(_) | Self::Closing(_) | Self::Closed => {}
        }
        StreamError::timeout(self.cause())
    }

    fn deadline(&self, context: &Context) -> Option<Instant> {
        match self {
            Self::Initiating(phase) => Some(phase.deadline()),
            Self::Receiving(phase) => Some(phase.deadline()),
            Self::Verifying(phase) => Some(phase.deadline()),
            Self::Open(open) => open.deadline(context),
            Self::Closing(closing) => Some(closing.deadline()),
            Self::Closed => None,
        }
    }

    /// At which step an end of the connection would find us.
    fn cause(&self) -> Cause {
        match self {
            Self::Initiating(phase) => phase.cause(),
            Self::Receiving(phase) => phase.cause(),
            Self::Verifying(_) => Cause::Dialback,
            Self::Open(open) => open.close_cause(),
            Self::Closing(_) | Self::Closed => Cause::Stream,
        }
    }

    fn is_closing(&self) -> bool {
        match self {
            Self::Closing(_) | Self::Closed => true,
            Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_) | Self::Open(_) => false,
        }
    }

    fn hears_stanzas(&self) -> bool {
        match self {
            Self::Open(open) => open.is_authorized(),
            Self::Closing(_) => true,
            Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_) | Self::Closed => false,
        }
    }

    fn is_waiting_for_close(&self) -> bool {
        match self {
            Self::Closing(_) => true,
            Self::Closed
            | Self::Initiating(_)
            | Self::Receiving(_)
            | Self::Verifying(_)
            | Self::Open(_) => false,
        }
    }

    /// Whether anything of ours may still follow on the wire: nothing comes before the handshake that was agreed on
    /// (TLS-09), and nothing behind our closing tag (STREAM-46).
    fn may_write(&self) -> bool {
        //= TLS-09
        //= STREAM-46
        !self.awaits_tls() && !self.is_closing()
    }

    /// Whether the next byte must be one of TLS.
    fn awaits_tls(&self) -> bool {
        match self {
            Self::Initiating(phase) => phase.awaits_tls(),
            Self::Receiving(phase) => phase.awaits_tls(),
            Self::Verifying(_) | Self::Open(_) | Self::Closing(_) | Self::Closed => false,
        }
    }

    /// Whether what the peer says has to wait.
    fn awaits_attestation(&self) -> bool {
        match self {
            Self::Receiving(phase) => phase.awaits_attestation(),
            Self::Initiating(_)
            | Self::Verifying(_)
            | Self::Open(_)
            | Self::Closing(_)
            | Self::Closed => false,
        }
    }

    /// Whether what the peer still sends is of no interest.
    fn is_deaf(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Closing(closing) => closing.is_deaf(),
            Self::Initiating(_) | Self::Receiving(_) | Self::Verifying(_) | Self::Open(_) => false,
        }
    }
}

/// The peer's closing tag, as every server that we know writes it.
const CLOSE: &[u8] = b"</stream:stream>";
/// So much may be kept beyond what is needed for the beginning of an element.
const INBOX_KEPT: usize = 4096;
