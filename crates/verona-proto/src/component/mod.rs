//! The link of an external component (XEP-0114), our side of it, without I/O.
//!
//! A component is trusted to speak for one domain and for nothing else: what it sends is admitted here, and what is
//! wrong with a stanza is answered here, so that nothing a component does can end a stream that others share (ROUTE-12).

mod event;
mod handshake;
mod phase;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use verona_xml::{Element, Head, Scan, Scanner, Tag};

pub use event::{ComponentEvent, ComponentInput, ComponentOutput, LinkEnd, Settings};
pub use handshake::ComponentDomains;

use crate::addr::{Direction, Domain, Hosts, Jid, LocalDomain, Parts, RecentDomains};
use crate::limits::{Limit, LimitCounts, Limits, Sender, seconds, size};
use crate::ns;
use crate::stanza::condition::{Application, read_stream_error, stream_error};
use crate::stanza::{
    Admitted, BadStanza, Destination, Reason, Stanza, StanzaKind, StreamCondition, Undelivered,
    bounce,
};
use phase::{AwaitAcceptance, AwaitHandshake, AwaitHeader, Closing, Open, Phase};

/// One connection of a component.
///
/// [`handle`](Self::handle) once, [`poll`](Self::poll) to `None`, write [`transmit`](Self::transmit), then the next
/// input; [`deadline`](Self::deadline) says when a [`ComponentInput::Tick`] is due.
#[derive(Debug)]
pub struct ComponentLink {
    domains: ComponentDomains,
    hosts: Arc<Hosts>,
    limits: Limits,
    reached: LimitCounts,
    /// Of the response header: it is what the handshake is computed with.
    stream_id: String,
    scanner: Scanner,
    recent: RecentDomains,
    pending: BytesMut,
    transmit: BytesMut,
    outputs: VecDeque<ComponentOutput>,
    phase: Phase,
}

/// Which of our domains a component asks for, and the language of what it will send.
type Claim = (LocalDomain, Option<Arc<str>>);

impl ComponentLink {
    /// A connection that was just accepted. `stream_id` must be unpredictable, new, and plain ASCII letters and digits
    /// (STREAM-15, COMP-04).
    #[must_use]
    pub fn new(
        domains: ComponentDomains,
        hosts: Arc<Hosts>,
        limits: Limits,
        stream_id: String,
        now: Instant,
    ) -> Self {
        let deadline = now + seconds(limits.component_handshake_seconds);
        Self {
            scanner: Scanner::new(limits.negotiation_xml()),
            recent: RecentDomains::default(),
            domains,
            hosts,
            limits,
            reached: LimitCounts::default(),
            stream_id,
            pending: BytesMut::new(),
            transmit: BytesMut::new(),
            outputs: VecDeque::new(),
            phase: Phase::AwaitHeader(AwaitHeader { deadline }),
        }
    }

    /// The same, counting where others count too how often each limit took effect.
    #[must_use]
    pub fn counting(self, reached: LimitCounts) -> Self {
        Self { reached, ..self }
    }

    /// Takes what happened.
    pub fn handle(&mut self, input: ComponentInput<'_>, now: Instant) {
        match input {
            ComponentInput::Bytes(bytes) => self.on_bytes(bytes),
            ComponentInput::Accepted => self.on_accepted(),
            ComponentInput::Conflict => self.on_conflict(),
            ComponentInput::Close(condition) => self.close(condition, now),
            ComponentInput::Reload(settings) => self.on_reload(settings),
            ComponentInput::Tick => self.on_tick(now),
            ComponentInput::Eof => self.end(LinkEnd::Eof),
        }
    }

    /// Writes a stanza for the component. Says whether it was written: only between acceptance and our closing.
    #[must_use = "a stanza that was not written has not arrived"]
    pub fn send(&mut self, stanza: &Stanza) -> bool {
        match self.phase {
            //= COMP-11
            //= COMP-19
            Phase::Open(_) => {
                self.transmit.extend_from_slice(stanza.bytes());
                true
            }
            Phase::AwaitHeader(_)
            | Phase::AwaitHandshake(_)
            | Phase::AwaitAcceptance(_)
            | Phase::Closing(_)
            | Phase::Closed => false,
        }
    }

    /// What is to be done next; `None` when that was all.
    pub fn poll(&mut self) -> Option<ComponentOutput> {
        self.outputs.pop_front()
    }

    /// The bytes to be written. Whoever wrote some removes them from the front.
    pub fn transmit(&mut self) -> &mut BytesMut {
        &mut self.transmit
    }

    /// When a [`ComponentInput::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::AwaitHeader(phase) => Some(phase.deadline),
            Phase::AwaitHandshake(phase) => Some(phase.deadline),
            Phase::AwaitAcceptance(phase) => Some(phase.deadline),
            Phase::Closing(phase) => Some(phase.deadline),
            Phase::Open(_) | Phase::Closed => None,
        }
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        match self.phase {
            Phase::Closed => return,
            Phase::AwaitAcceptance(_) => {
                // Nothing is read before the answer to the claim; nor is it hoarded.
                let max = size(self.limits.stanza_bytes_max);
                if self.pending.len().saturating_add(bytes.len()) > max {
                    self.reached.reached(Limit::StanzaBytesMax);
                    let text = "too much data before the handshake was answered";
                    return self.fail(StreamCondition::PolicyViolation, text, None);
                }
            }
            Phase::AwaitHeader(_)
            | Phase::AwaitHandshake(_)
            | Phase::Open(_)
            | Phase::Closing(_) => {}
        }
        self.pending.extend_from_slice(bytes);
        self.read();
    }

    fn on_accepted(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AwaitAcceptance(AwaitAcceptance { domain, lang, .. }) => {
                //= COMP-07
                self.write(|out| Tag::new(out, "handshake").empty());
                // What the header says for all stanzas each of them will say itself on other streams: a peer that counts as
                // we do must not find one attribute too many, and close what all our domains share.
                //= ROUTE-12
                let mut limits = self.limits.xml();
                let repeated = 1 + self.scanner.scope().iter().count();
                limits.attributes_max = limits.attributes_max.saturating_sub(repeated).max(1);
                self.scanner.set_limits(limits);
                self.event(ComponentEvent::Attached {
                    domain: domain.clone(),
                });
                self.phase = Phase::Open(Open { domain, lang });
                self.read();
            }
            other @ (Phase::AwaitHeader(_)
            | Phase::AwaitHandshake(_)
            | Phase::Open(_)
            | Phase::Closing(_)
            | Phase::Closed) => self.phase = other,
        }
    }

    fn on_conflict(&mut self) {
        match self.phase {
            Phase::AwaitAcceptance(_) => {
                //= COMP-12
                let text = "another component serves this domain";
                self.fail(StreamCondition::Conflict, text, None);
            }
            Phase::AwaitHeader(_)
            | Phase::AwaitHandshake(_)
            | Phase::Open(_)
            | Phase::Closing(_)
            | Phase::Closed => {}
        }
    }

    /// A handshake that comes is judged by the secrets of now. What is attached stays, whatever becomes of its domain:
    /// it hears of that in answers, until it is told to go.
    fn on_reload(&mut self, settings: &Settings) {
        self.domains = settings.domains.clone();
        self.hosts = Arc::clone(&settings.hosts);
        self.limits = settings.limits.clone();
    }

    fn on_tick(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            //= COMP-08
            Phase::AwaitHeader(_) | Phase::AwaitHandshake(_) | Phase::AwaitAcceptance(_) => {
                self.reached.reached(Limit::ComponentHandshakeSeconds);
                let text = "no handshake in time";
                self.fail(StreamCondition::ConnectionTimeout, text, None);
            }
            Phase::Closing(_) => {
                self.reached.reached(Limit::CloseSeconds);
                self.end(LinkEnd::Eof);
            }
            Phase::Open(_) | Phase::Closed => {}
        }
    }

    /// Reads as many elements as are complete, and as the phase allows, where they stand.
    fn read(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let mut rest: &[u8] = &pending;
        while let Some(len) = self.read_next(rest) {
            rest = rest.get(len..).unwrap_or_default();
        }
        let rest = rest.len();
        // A component that says nothing holds no memory for what it once said.
        if rest > 0 {
            pending.advance(pending.len() - rest);
            self.pending = match pending.capacity() > rest * 4 + PENDING_KEPT {
                true => BytesMut::from(pending.as_ref()),
                false => pending,
            };
        }
    }

    /// Reads what comes next, and says how long it was; `None` when it is not whole, or when it is not its time.
    fn read_next(&mut self, rest: &[u8]) -> Option<usize> {
        match self.phase {
            Phase::AwaitAcceptance(_) | Phase::Closed => return None,
            Phase::AwaitHeader(_)
            | Phase::AwaitHandshake(_)
            | Phase::Open(_)
            | Phase::Closing(_) => {}
        }
        match self.scanner.scan(rest) {
            Ok(Scan::More) => None,
            Ok(Scan::Space { len } | Scan::Declaration { len }) => Some(len),
            Ok(Scan::Header { len, .. }) => {
                self.on_header(rest.get(..len).unwrap_or(rest));
                Some(len)
            }
            Ok(Scan::Element { len, head }) => {
                self.on_element(rest.get(..len).unwrap_or(rest), &head);
                Some(len)
            }
            //= COMP-21
            Ok(Scan::Close { .. }) => {
                self.end(LinkEnd::Closed);
                None
            }
            Err(error) => {
                if let Some(limit) = Limit::of_xml(&error, self.sender()) {
                    self.reached.reached(limit);
                }
                let (condition, application) = StreamCondition::of_xml(&error);
                self.fail(condition, &error.to_string(), application);
                None
            }
        }
    }

    /// Whose limits the scanner has.
    fn sender(&self) -> Sender {
        match self.phase {
            Phase::Open(_) | Phase::Closing(Closing { open: Some(_), .. }) => Sender::Authorized,
            Phase::AwaitHeader(_)
            | Phase::AwaitHandshake(_)
            | Phase::AwaitAcceptance(_)
            | Phase::Closing(Closing { open: None, .. })
            | Phase::Closed => Sender::Stranger,
        }
    }

    fn on_header(&mut self, header: &[u8]) {
        let deadline = match &self.phase {
            Phase::AwaitHeader(phase) => phase.deadline,
            Phase::AwaitHandshake(_)
            | Phase::AwaitAcceptance(_)
            | Phase::Open(_)
            | Phase::Closing(_)
            | Phase::Closed => return,
        };
        match self.examine(header) {
            Ok((domain, lang)) => {
                //= COMP-01
                self.write_header(Some(domain.clone()));
                self.phase = Phase::AwaitHandshake(AwaitHandshake {
                    deadline,
                    domain,
                    lang,
                });
            }
            Err((condition, text)) => self.fail(condition, text, None),
        }
    }

    /// Which of our domains the component asks for, and the language of what it will send.
    fn examine(&self, header: &[u8]) -> Result<Claim, (StreamCondition, &'static str)> {
        let root = Element::parse_header(header)
            .map_err(|error| (StreamCondition::of_xml(&error).0, error.what()))?;
        //= COMP-03
        if root.namespace() != ns::STREAM
            || self.scanner.scope().default_namespace() != ns::COMPONENT
        {
            let text = "this is a stream of jabber:component:accept";
            return Err((StreamCondition::InvalidNamespace, text));
        }
        if root.name() != "stream" {
            return Err((StreamCondition::BadFormat, "the root is no stream"));
        }
        //= COMP-01
        let to = root
            .attribute("to")
            .ok_or((StreamCondition::HostUnknown, "no component is named"))?;
        let domain = Domain::parse(to)
            .map_err(|_| (StreamCondition::ImproperAddressing, "'to' is no domain"))?;
        //= COMP-02
        let domain = self
            .hosts
            .local(&domain)
            .filter(|domain| self.domains.contains(domain))
            .ok_or((StreamCondition::HostUnknown, "no component has this domain"))?;
        Ok((domain, root.lang().map(Arc::from)))
    }

    fn on_element(&mut self, element: &[u8], head: &Head) {
        let scope = self.scanner.scope();
        if head.local(element) == "error" && head.namespace(element, scope) == ns::STREAM {
            let (condition, text) = match Element::parse(element, scope) {
                Ok(error) => read_stream_error(&error),
                Err(_) => (StreamCondition::UndefinedCondition, None),
            };
            return self.end(LinkEnd::Error { condition, text });
        }
        match &self.phase {
            Phase::AwaitHandshake(_) => self.on_handshake(element),
            Phase::Open(open)
            | Phase::Closing(Closing {
                open: Some(open), ..
            }) => {
                let open = open.clone();
                self.on_stanza(&open, element, head);
            }
            Phase::AwaitHeader(_)
            | Phase::AwaitAcceptance(_)
            | Phase::Closing(Closing { open: None, .. })
            | Phase::Closed => {}
        }
    }

    fn on_handshake(&mut self, element: &[u8]) {
        let Phase::AwaitHandshake(phase) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let candidate = Element::parse(element, self.scanner.scope())
            .ok()
            .filter(|element| element.is("handshake", ns::COMPONENT))
            .map(|element| element.text());
        //= COMP-05
        let refused = match candidate {
            //= COMP-08
            None => Some("a handshake comes first"),
            //= COMP-06
            Some(digest) => {
                let is_right = self
                    .domains
                    .is_handshake(&phase.domain, &self.stream_id, &digest);
                (!is_right).then_some("the handshake is wrong")
            }
        };
        if let Some(text) = refused {
            self.phase = Phase::AwaitHandshake(phase);
            return self.fail(StreamCondition::NotAuthorized, text, None);
        }
        let AwaitHandshake {
            deadline,
            domain,
            lang,
        } = phase;
        self.outputs
            .push_back(ComponentOutput::Claim(domain.clone()));
        self.phase = Phase::AwaitAcceptance(AwaitAcceptance {
            deadline,
            domain,
            lang,
        });
    }

    fn on_stanza(&mut self, open: &Open, element: &[u8], head: &Head) {
        //= COMP-11
        let is_content = matches!(
            head.namespace(element, self.scanner.scope()),
            ns::COMPONENT | ns::CLIENT | ns::SERVER | ""
        );
        let Some(kind) = StanzaKind::from_name(head.local(element)).filter(|_| is_content) else {
            //= ROUTE-22
            return self.event(ComponentEvent::Ignored {
                domain: open.domain.clone(),
                what: "an element that is no stanza",
            });
        };
        //= COMP-09
        //= COMP-10
        let from = head.from(element);
        let domain = from
            .as_deref()
            .map(|from| self.recent.parse(Parts::of(from).domain));
        let Some((from, Ok(domain))) = from.as_deref().zip(domain) else {
            let text = "a stanza without a valid 'from'";
            return self.fail(StreamCondition::InvalidFrom, text, None);
        };
        if domain != *open.domain.domain() {
            let text = "a stanza from a domain that is not this component's";
            return self.fail(StreamCondition::InvalidFrom, text, None);
        }
        //= COMP-09
        let refused = match head.to(element) {
            Some(to) if self.recent.parse(Parts::of(&to).domain).is_ok() => None,
            Some(_) => Some(Reason::BadAddress),
            None => Some(Reason::NoRecipient),
        };
        if let Some(reason) = refused {
            let stanza = Stanza::build(
                kind,
                &Jid::parse(from).unwrap_or_else(|_| Jid::from(domain)),
                &Jid::from(open.domain.domain().clone()),
                head.kind(element).as_deref(),
                head.id(element).as_deref(),
                "",
            );
            return self.reject(open, &stanza, reason);
        }
        let lang = open.lang.as_deref();
        match Stanza::read_among(&mut self.recent, element, head, self.scanner.scope(), lang) {
            Ok(stanza) => self.deliver(open, stanza),
            //= ROUTE-12
            Err(BadStanza::Stanza { stanza, reason }) => self.reject(open, &stanza, reason),
            Err(BadStanza::Stream(condition)) => self.fail(condition, "a stanza is bad", None),
        }
    }

    fn deliver(&mut self, open: &Open, stanza: Stanza) {
        //= BIDI-79
        if self.hosts.local(open.domain.domain()).is_none() {
            return self.reject(open, &stanza, Reason::DomainRemoved);
        }
        let destination = match self.hosts.local(stanza.to()) {
            //= ROUTE-25
            Some(domain) => Destination::Local(domain),
            None => {
                let direction = Direction::Outbound;
                match self.hosts.pair(direction, stanza.from(), stanza.to()) {
                    Ok(pair) => Destination::Remote(pair),
                    Err(_) => return self.reject(open, &stanza, Reason::NoRoute),
                }
            }
        };
        let admitted = Admitted::new(destination, stanza);
        self.outputs.push_back(ComponentOutput::Deliver(admitted));
    }

    /// Answers a stanza of the component with an error; an error or a result that is bad is only told of.
    fn reject(&mut self, open: &Open, stanza: &Stanza, reason: Reason) {
        self.event(ComponentEvent::Rejected {
            domain: open.domain.clone(),
            condition: reason.condition(),
        });
        let why = Undelivered::new(reason, stanza.to(), "");
        if let Some(error) = bounce(&self.hosts, stanza, &why) {
            self.outputs.push_back(ComponentOutput::Deliver(error));
        }
    }

    /// The component broke a rule of the stream: an error, our end tag, and the end, for nothing that follows can be
    /// believed.
    fn fail(
        &mut self,
        condition: StreamCondition,
        text: &str,
        application: Option<(&'static str, &'static str)>,
    ) {
        let (domain, is_attached) = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AwaitHeader(_) => {
                // An error needs a stream to stand in (RFC 6120 §4.9.1.2).
                //= COMP-02
                self.write_header(None);
                (None, false)
            }
            Phase::AwaitHandshake(phase) => (Some(phase.domain), false),
            Phase::AwaitAcceptance(phase) => (Some(phase.domain), false),
            Phase::Open(open) => (Some(open.domain), true),
            closing @ Phase::Closing(_) => {
                // Our end tag is out: nothing may follow it.
                self.phase = closing;
                return self.end(LinkEnd::Eof);
            }
            Phase::Closed => return,
        };
        self.write(|out| {
            let application =
                application.map(|(name, namespace)| Application::Named(name, namespace));
            stream_error(out, condition, Some(text), application);
            out.push_str(END);
        });
        let text = text.to_owned();
        self.event(match (domain, is_attached) {
            (domain @ Some(_), true) => ComponentEvent::Closed {
                domain,
                end: LinkEnd::Failed { condition, text },
            },
            (domain, _) => ComponentEvent::Refused {
                domain,
                condition,
                text,
            },
        });
        self.outputs.push_back(ComponentOutput::Close);
    }

    /// We want the link to end: error and end tag, and what the component still sends is taken until it ends as well.
    fn close(&mut self, condition: StreamCondition, now: Instant) {
        let open = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AwaitHeader(_) => {
                self.write_header(None);
                None
            }
            Phase::AwaitHandshake(_) | Phase::AwaitAcceptance(_) => None,
            Phase::Open(open) => Some(open),
            other @ (Phase::Closing(_) | Phase::Closed) => {
                self.phase = other;
                return;
            }
        };
        self.write(|out| {
            stream_error(out, condition, None, None);
            out.push_str(END);
        });
        self.phase = Phase::Closing(Closing {
            deadline: now + seconds(self.limits.close_seconds),
            condition,
            open,
        });
        self.read();
    }

    /// The component, or the connection, came to an end by itself.
    fn end(&mut self, end: LinkEnd) {
        let (domain, end) = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::AwaitHeader(_) => (None, end),
            Phase::AwaitHandshake(AwaitHandshake { domain, .. })
            | Phase::AwaitAcceptance(AwaitAcceptance { domain, .. })
            | Phase::Open(Open { domain, .. }) => {
                //= COMP-21
                if end != LinkEnd::Eof {
                    self.write(|out| out.push_str(END));
                }
                (Some(domain), end)
            }
            Phase::Closing(Closing {
                condition, open, ..
            }) => (open.map(|open| open.domain), LinkEnd::ByUs { condition }),
            Phase::Closed => return,
        };
        self.event(ComponentEvent::Closed { domain, end });
        self.outputs.push_back(ComponentOutput::Close);
    }

    fn write_header(&mut self, from: Option<LocalDomain>) {
        //= COMP-01
        //= COMP-04
        let id = std::mem::take(&mut self.stream_id);
        self.write(|out| {
            out.push_str("<?xml version='1.0'?>");
            Tag::new(out, "stream:stream")
                .attribute("xmlns", ns::COMPONENT)
                .attribute("xmlns:stream", ns::STREAM)
                .attribute_if("from", from.as_ref().map(|domain| domain.domain().as_str()))
                .attribute("id", &id)
                .open();
        });
        self.stream_id = id;
    }

    fn write(&mut self, what: impl FnOnce(&mut String)) {
        let mut out = String::new();
        what(&mut out);
        self.transmit.extend_from_slice(out.as_bytes());
    }

    fn event(&mut self, event: ComponentEvent) {
        self.outputs.push_back(ComponentOutput::Event(event));
    }
}

/// The end of our stream.
const END: &str = "</stream:stream>";
/// So much may be kept beyond what is needed for the beginning of an element.
const PENDING_KEPT: usize = 4096;

#[cfg(test)]
mod tests;
