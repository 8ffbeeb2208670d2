//! Negotiation when the peer opened the stream: one type per wait.
//!
//! Nothing said before TLS survives TLS, because it lives in the types of the waits before (TLS-10).

mod choice;
mod offers;

use std::time::Instant;

use verona_xml::{Element, Scope};

use super::announced::Announced;
use super::bidi::{self, Agreement};
use super::context::{Attestations, Context, PeerResumes, Restart};
use super::header::{self, Header, Version};
use super::{Cause, Event, Output, Peer, Secured, StreamError};
use crate::addr::{Direction, Domain};
use crate::certificate::Attestation;
use crate::grounds::Identity;
use crate::limits::Limit;
use crate::policy::{Federate, InForce, Multiplex};
use crate::stanza::condition::StreamCondition;
use crate::trust::{self, Unproven};

/// What we wait for.
#[derive(Debug)]
pub(super) enum Phase {
    Header(Box<AwaitHeader>),
    Attestation(Box<AwaitAttestation>),
    Choice(Box<AwaitChoice>),
    Secured(AwaitSecured),
}

/// The peer's header is to come.
#[derive(Debug)]
pub(super) struct AwaitHeader {
    stage: Stage,
    deadline: Instant,
}

/// The protected header is in; what DNS and the web say of the peer's certificate is to come, and our features with it.
#[derive(Debug)]
pub(super) struct AwaitAttestation {
    secured: Secured,
    addresses: Addresses,
    id: String,
    deadline: Instant,
}

/// Our features are out: the peer chooses TLS, SASL or dialback.
#[derive(Debug)]
pub(super) struct AwaitChoice {
    secured: Option<Secured>,
    addresses: Addresses,
    id: String,
    agreed: Agreed,
    sasl_failures: u64,
    vouched: u64,
    prospect: Prospect,
    deadline: Instant,
}

/// Whether anything that the peer may do now can prove it, under its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect {
    Provable,
    Unprovable,
}

/// The driver is shaking hands.
#[derive(Debug)]
pub(super) struct AwaitSecured {
    deadline: Instant,
}

/// How far the connection has come.
#[derive(Debug)]
enum Stage {
    Plain,
    Secured(Secured),
    Authenticated {
        secured: Secured,
        addresses: Addresses,
        remote: Domain,
        identity: Identity,
        agreed: Agreed,
    },
}

/// The addresses of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Addresses {
    local: Domain,
    remote: Option<Domain>,
}

/// What was settled before authentication and survives the restart behind it (BIDI-44).
#[derive(Clone, Copy, Debug)]
struct Agreed {
    bidi: Agreement,
    multiplexes: bool,
}

impl Agreed {
    fn on_bidi(&mut self, element: &Element, context: &mut Context) -> Result<(), StreamError> {
        match self.bidi {
            //= BIDI-10
            //= BIDI-12
            //= BIDI-66
            Agreement::Offered | Agreement::Requested => {
                self.bidi = Agreement::Requested;
                context
                    .peer_limits
                    .update(Announced::read(element).of_stranger());
                if bidi::resumes(element) {
                    context.peer_resumes = PeerResumes::Announced;
                }
                self.multiplexes |= match context.policy.multiplex {
                    Multiplex::Auto => bidi::multiplexes(element),
                    Multiplex::On => true,
                    Multiplex::Off => false,
                };
                Ok(())
            }
            //= BIDI-11
            Agreement::NotOffered => context.irregular("a request for bidi that was not offered"),
        }
    }
}

impl Phase {
    pub(super) fn start(secured: Option<Secured>, context: &Context, now: Instant) -> Self {
        Self::Header(Box::new(AwaitHeader {
            //= BIDI-68
            stage: secured.map_or(Stage::Plain, Stage::Secured),
            deadline: context.negotiation_deadline(now),
        }))
    }

    pub(super) fn on_header(
        self,
        element: &Element,
        scope: &Scope,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        match self {
            Self::Header(wait) => wait.on_header(element, scope, context, now),
            Self::Attestation(_) | Self::Choice(_) | Self::Secured(_) => Err(StreamError::peer(
                StreamCondition::BadFormat,
                "a second stream header",
            )),
        }
    }

    pub(super) fn on_element(
        self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        context.count_unauthorized()?;
        match self {
            Self::Choice(wait) => wait.on_element(element, context, now),
            Self::Header(wait) if bidi::is_request(element) => wait.on_bidi(element, context),
            Self::Header(_) | Self::Attestation(_) | Self::Secured(_) => Err(StreamError::peer(
                StreamCondition::BadFormat,
                "an element before the stream header",
            )),
        }
    }

    pub(super) fn on_secured(self, secured: Secured, _now: Instant) -> Self {
        match self {
            Self::Secured(AwaitSecured { deadline }) => Self::Header(Box::new(AwaitHeader {
                stage: Stage::Secured(secured),
                deadline,
            })),
            unchanged @ (Self::Header(_) | Self::Attestation(_) | Self::Choice(_)) => unchanged,
        }
    }

    pub(super) fn on_attested(
        self,
        attestation: Attestation,
        context: &mut Context,
        now: Instant,
    ) -> super::Phase {
        match self {
            Self::Attestation(wait) => wait.on_attested(attestation, context, now),
            unchanged @ (Self::Header(_) | Self::Choice(_) | Self::Secured(_)) => {
                super::Phase::Receiving(unchanged)
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Header(wait) => wait.deadline,
            Self::Attestation(wait) => wait.deadline,
            Self::Choice(wait) => wait.deadline,
            Self::Secured(wait) => wait.deadline,
        }
    }

    /// Whether the next byte must be one of TLS.
    pub(super) fn awaits_tls(&self) -> bool {
        match self {
            Self::Secured(_) => true,
            Self::Header(_) | Self::Attestation(_) | Self::Choice(_) => false,
        }
    }

    /// Whether what the peer says has to wait.
    pub(super) fn awaits_attestation(&self) -> bool {
        match self {
            Self::Attestation(_) => true,
            Self::Header(_) | Self::Choice(_) | Self::Secured(_) => false,
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Header(_) | Self::Attestation(_) => Cause::Stream,
            Self::Choice(wait) if wait.vouched > 0 => Cause::Idle,
            Self::Choice(_) => Cause::Stream,
            Self::Secured(_) => Cause::Tls,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "waiting for the peer's header",
            Self::Attestation(_) => "finding out about the peer's certificate",
            Self::Choice(_) => "waiting for the peer to authenticate",
            Self::Secured(_) => "negotiating TLS",
        }
    }

    /// Which limit ends the wait.
    pub(super) fn time_limit(&self) -> Limit {
        match self {
            Self::Choice(wait) if wait.vouched == 0 && wait.prospect == Prospect::Unprovable => {
                Limit::UnprovableSeconds
            }
            Self::Header(_) | Self::Attestation(_) | Self::Choice(_) | Self::Secured(_) => {
                Limit::NegotiationSeconds
            }
        }
    }

    /// A peer that came to have a key checked, and then stayed, is let go without reproach.
    pub(super) fn timed_out(&self) -> StreamError {
        let error = StreamError::timeout(self.cause());
        match self {
            Self::Choice(wait) if wait.vouched > 0 => error.quietly(),
            //= SASL-25
            Self::Choice(wait) if wait.prospect == Prospect::Unprovable => StreamError::policy(
                StreamCondition::PolicyViolation,
                "the peer's certificate does not prove its domain, and the policy for it accepts nothing weaker",
            )
            .at(Cause::Identity),
            Self::Header(_) | Self::Attestation(_) | Self::Choice(_) | Self::Secured(_) => error,
        }
    }
}

impl AwaitHeader {
    /// `<bidi/>` that was sent behind `<auth/>` without waiting for the outcome.
    fn on_bidi(
        mut self: Box<Self>,
        element: &Element,
        context: &mut Context,
    ) -> Result<super::Phase, StreamError> {
        match &mut self.stage {
            //= BIDI-15
            Stage::Authenticated { agreed, .. } => agreed.on_bidi(element, context)?,
            Stage::Plain | Stage::Secured(_) => {
                return Err(StreamError::peer(
                    StreamCondition::BadFormat,
                    "an element before the stream header",
                ));
            }
        }
        Ok(super::Phase::Receiving(Phase::Header(self)))
    }

    fn on_header(
        self,
        element: &Element,
        scope: &Scope,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        context.version = Version::answering(element, scope);
        let header = Header::read_initial(element, scope)?;
        context.peer_lang.clone_from(&header.lang);
        let addresses = addresses(&header, context)?;
        //= TLS-10
        //= BIDI-45
        // What an earlier header claimed says nothing any more.
        context.policy = InForce::defaults(&context.config.policy);
        if let Some(remote) = &addresses.remote {
            context.policy = context.policy_for(remote);
            //= ERR-05
            if context.policy.federate == Federate::Deny {
                respond(&addresses, context);
                return Err(StreamError::policy(
                    StreamCondition::PolicyViolation,
                    format!("the configuration forbids federation with {remote}"),
                )
                .at(Cause::Identity));
            }
        }
        let id = respond(&addresses, context);
        match self.stage {
            Stage::Plain => Ok(offers::await_choice(
                None,
                addresses,
                id,
                self.deadline,
                context,
                now,
            )),
            //= DTLS-05
            // Where TLS came first these are the first features, and the same as behind STARTTLS.
            Stage::Secured(secured) => {
                let wait = Box::new(AwaitAttestation {
                    secured,
                    addresses,
                    id,
                    deadline: self.deadline,
                });
                Ok(wait.enter(context, now))
            }
            Stage::Authenticated {
                secured,
                addresses: before,
                remote,
                identity,
                agreed,
            } => {
                //= STREAM-24
                if addresses != before {
                    return Err(StreamError::peer(
                        StreamCondition::InvalidFrom,
                        "the header's addresses changed after authentication",
                    ));
                }
                offers::open_after_sasl(
                    secured,
                    addresses,
                    (&remote, identity),
                    id,
                    agreed,
                    context,
                    now,
                )
            }
        }
    }
}

impl AwaitAttestation {
    /// Asks for what may help, if anything may; else our features go out at once.
    fn enter(self: Box<Self>, context: &mut Context, now: Instant) -> super::Phase {
        //= DNS-19
        //= DNS-24
        if context.config.attestations != Attestations::Unavailable
            && let Some(remote) = &self.addresses.remote
            && trust::is_attestation_wanted(
                &self.secured.certificate,
                remote,
                &context.policy,
                context.before(remote, now),
                now,
            )
        {
            context.outputs.push_back(Output::Attest(remote.clone()));
            return super::Phase::Receiving(Phase::Attestation(self));
        }
        self.offer(context, now)
    }

    fn on_attested(
        mut self: Box<Self>,
        attestation: Attestation,
        context: &mut Context,
        now: Instant,
    ) -> super::Phase {
        self.secured.certificate.attestations.push(attestation);
        self.offer(context, now)
    }

    fn offer(self: Box<Self>, context: &mut Context, now: Instant) -> super::Phase {
        let certificate = certified(&self.secured, &self.addresses, context, now);
        context.event(Event::Identified(Peer {
            local: self.addresses.local.clone(),
            remote: self.addresses.remote.clone(),
            certificate,
            public_key: self.secured.certificate.public_key,
            names: self.secured.valid_names(),
        }));
        offers::offer_authentication(
            self.secured,
            self.addresses,
            self.id,
            self.deadline,
            context,
            now,
        )
    }
}

/// Which of our domains is meant, and who claims to be there.
fn addresses(header: &Header, context: &Context) -> Result<Addresses, StreamError> {
    let hosts = &context.config.hosts;
    let unknown = |text: String| StreamError::peer(StreamCondition::HostUnknown, text);
    let local = match &header.to {
        Some(to) => to.clone(),
        //= STREAM-21
        None => hosts
            .only()
            .cloned()
            .ok_or_else(|| unknown("the header has no 'to'".into()))?,
    };
    //= STREAM-19
    if hosts.local(&local).is_none() {
        return Err(unknown(format!("{local} is not hosted here")));
    }
    //= STREAM-23
    if let Some(remote) = &header.from
        && hosts.pair(Direction::Inbound, remote, &local).is_err()
    {
        return Err(StreamError::peer(
            StreamCondition::InvalidFrom,
            format!("the peer claims to be {remote}, which is hosted here"),
        ));
    }
    Ok(Addresses {
        local,
        remote: header.from.clone(),
    })
}

/// Writes our header with a new id (STREAM-14, STREAM-15, SASL-16).
fn respond(addresses: &Addresses, context: &mut Context) -> String {
    //= STREAM-15
    //= SASL-16
    let id = context.ids.next();
    //= STREAM-13
    //= STREAM-14
    let version = context.version.clone();
    context.write(|out| {
        let (from, to) = (Some(&addresses.local), addresses.remote.as_ref());
        header::write_response(out, from, to, &id, &version);
    });
    context.header_sent = true;
    id
}

/// What comes behind an `<auth/>` that succeeded: a `<bidi/>` or white space of the old stream, or the header of the
/// new one. `None` when the bytes do not tell yet.
pub(super) fn behind_auth(bytes: &[u8]) -> Option<Restart> {
    const BIDI: &[u8] = b"<bidi";
    match (bytes.first(), bytes.strip_prefix(BIDI)) {
        (Some(b' ' | b'\t' | b'\r' | b'\n'), _) => Some(Restart::AtHeader),
        (_, Some([b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>', ..])) => Some(Restart::AtHeader),
        (_, Some([])) => None,
        (_, None) if BIDI.starts_with(bytes) => None,
        (_, Some(_) | None) => Some(Restart::Now),
    }
}

/// Whether the peer's certificate proves the domain that its header claims.
fn certified(
    secured: &Secured,
    addresses: &Addresses,
    context: &Context,
    now: Instant,
) -> Result<Identity, Unproven> {
    match &addresses.remote {
        Some(remote) => context.certified(&secured.certificate, remote, now),
        None => Err(Unproven::Nameless),
    }
}
