//! Negotiation when we opened the stream: one type per wait.
//!
//! Everything learnt before TLS is dropped at TLS, because it lives in the types of the waits before (TLS-10).
//!
//! With a peer that is known to cope ([`Pace::Ahead`]) what comes next is on its way before its turn ([`Sent`]); the waits
//! and what is decided in them are the same. Nothing goes ahead of the TLS handshake but what is in the clear anyway, and
//! no stanza ahead of the last features.

use std::time::Instant;

use verona_xml::{Element, Scope};

use super::announced::Announced;
use super::bidi::{self, Agreement, BidiSeen};
use super::context::{Context, Restart};
use super::features::Features;
use super::header::{self, Header};
use super::management::{Management, Offered};
use super::open::{Open, Opening};
use super::verifying::Verifying;
use super::{
    Cause, Event, Flow, Output, Pace, Peer, Purpose, Role, Secured, StreamError, sasl, starttls,
};
use crate::addr::Domain;
use crate::authorizations::Authorizations;
use crate::grounds::{Assurance, Consent, Identity};
use crate::limits::{Limit, seconds};
use crate::ns;
use crate::policy::{BidiPolicy, Federate, Multiplex, TlsPolicy};
use crate::stanza::condition::StreamCondition;
use crate::trust::{self, Unproven};

/// What we wait for.
#[derive(Debug)]
pub(super) enum Phase {
    Header(AwaitHeader),
    Features(AwaitFeatures),
    Proceed(AwaitProceed),
    Secured(AwaitSecured),
    SaslOutcome(AwaitSaslOutcome),
}

/// Our header is out; the peer's is to come.
#[derive(Debug)]
pub(super) struct AwaitHeader {
    purpose: Purpose,
    stage: Stage,
    deadline: Instant,
}

/// The peer's header is in; its features are to come.
#[derive(Debug)]
pub(super) struct AwaitFeatures {
    purpose: Purpose,
    stage: Stage,
    header: Header,
    deadline: Instant,
}

/// `<starttls/>` is out.
#[derive(Debug)]
pub(super) struct AwaitProceed {
    purpose: Purpose,
    deadline: Instant,
}

/// The driver is shaking hands.
#[derive(Debug)]
pub(super) struct AwaitSecured {
    purpose: Purpose,
    deadline: Instant,
}

/// `<auth/>` is out.
#[derive(Debug)]
pub(super) struct AwaitSaslOutcome {
    purpose: Purpose,
    secured: Secured,
    header: Header,
    agreed: Agreed,
    /// The header behind it.
    restart: Sent,
    deadline: Instant,
}

/// How far the connection has come.
#[derive(Debug)]
enum Stage {
    Plain {
        starttls: Sent,
    },
    Secured {
        secured: Secured,
        authentication: Sent,
    },
    //= BIDI-44
    Authenticated {
        secured: Secured,
        agreed: Agreed,
    },
}

/// Whether what comes next in good order is written already: `<starttls/>`; or `<bidi/>`, `<auth/>` and the header behind
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It has its turn.
    InTurn,
    /// It went ahead of the peer's answer.
    Ahead,
}

impl Agreed {
    /// What is asked for when stanzas may flow (SM-02).
    fn management(self, purpose: &Purpose) -> Management {
        let lost = match purpose {
            Purpose::Carry { resume, .. } => resume.clone(),
            Purpose::Verify { .. } => Vec::new(),
        };
        Management::Wanted {
            offered: self.management,
            lost: lost.into(),
        }
    }

    fn bidi(self) -> Agreement {
        match self.flow {
            Flow::Bidirectional => Agreement::Requested,
            Flow::Unidirectional => Agreement::NotOffered,
        }
    }
}

impl Stage {
    fn cause(&self) -> Cause {
        match self {
            Self::Plain { .. } | Self::Secured { .. } => Cause::Stream,
            Self::Authenticated { .. } => Cause::Restart,
        }
    }
}

/// What was settled before authentication and survives the restart behind it (BIDI-44).
#[derive(Clone, Copy, Debug)]
struct Agreed {
    flow: Flow,
    identity: Identity,
    multiplexes: bool,
    /// Whether the peer's features speak of dialback.
    dialback: bool,
    management: Offered,
}

impl Phase {
    pub(super) fn start(
        purpose: Purpose,
        secured: Option<Secured>,
        context: &mut Context,
        now: Instant,
    ) -> Self {
        let deadline = match &purpose {
            Purpose::Carry { .. } => context.negotiation_deadline(now),
            Purpose::Verify { .. } => now + seconds(context.policy.limits.verification_seconds),
        };
        //= BIDI-68
        let stage = match secured {
            Some(secured) => begin_secured(&purpose, secured, context, now),
            None => begin_plain(&purpose, context),
        };
        Self::Header(AwaitHeader {
            purpose,
            stage,
            deadline,
        })
    }

    pub(super) fn on_header(
        self,
        element: &Element,
        scope: &Scope,
        context: &mut Context,
        _now: Instant,
    ) -> Result<super::Phase, StreamError> {
        match self {
            Self::Header(wait) => Ok(super::Phase::Initiating(
                wait.on_header(element, scope, context)?,
            )),
            Self::Features(_) | Self::Proceed(_) | Self::Secured(_) | Self::SaslOutcome(_) => Err(
                StreamError::peer(StreamCondition::BadFormat, "a second stream header"),
            ),
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
            Self::Features(wait) => wait.on_element(element, context, now),
            Self::Proceed(wait) => wait
                .on_element(element, context)
                .map(super::Phase::Initiating),
            Self::SaslOutcome(wait) => wait.on_element(element, context, now),
            Self::Header(_) | Self::Secured(_) => Err(StreamError::peer(
                StreamCondition::BadFormat,
                "an element before the stream header",
            )),
        }
    }

    pub(super) fn on_secured(self, secured: Secured, context: &mut Context, now: Instant) -> Self {
        match self {
            Self::Secured(AwaitSecured { purpose, deadline }) => {
                let stage = begin_secured(&purpose, secured, context, now);
                Self::Header(AwaitHeader {
                    purpose,
                    stage,
                    deadline,
                })
            }
            unchanged @ (Self::Header(_)
            | Self::Features(_)
            | Self::Proceed(_)
            | Self::SaslOutcome(_)) => unchanged,
        }
    }

    /// Which limit ends the wait.
    pub(super) fn time_limit(&self) -> Limit {
        let purpose = match self {
            Self::Header(wait) => &wait.purpose,
            Self::Features(wait) => &wait.purpose,
            Self::Proceed(wait) => &wait.purpose,
            Self::Secured(wait) => &wait.purpose,
            Self::SaslOutcome(wait) => &wait.purpose,
        };
        match purpose {
            Purpose::Carry { .. } => Limit::NegotiationSeconds,
            Purpose::Verify { .. } => Limit::VerificationSeconds,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Header(wait) => wait.deadline,
            Self::Features(wait) => wait.deadline,
            Self::Proceed(wait) => wait.deadline,
            Self::Secured(wait) => wait.deadline,
            Self::SaslOutcome(wait) => wait.deadline,
        }
    }

    /// Whether the next byte must be one of TLS.
    pub(super) fn awaits_tls(&self) -> bool {
        match self {
            Self::Secured(_) => true,
            Self::Header(_) | Self::Features(_) | Self::Proceed(_) | Self::SaslOutcome(_) => false,
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Header(AwaitHeader { stage, .. })
            | Self::Features(AwaitFeatures { stage, .. }) => stage.cause(),
            Self::Proceed(_) | Self::Secured(_) => Cause::Tls,
            Self::SaslOutcome(_) => Cause::Sasl,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "waiting for the peer's header",
            Self::Features(_) => "waiting for the peer's features",
            Self::Proceed(_) | Self::Secured(_) => "negotiating TLS",
            Self::SaslOutcome(_) => "authenticating by SASL EXTERNAL",
        }
    }
}

impl AwaitHeader {
    fn on_header(
        self,
        element: &Element,
        scope: &Scope,
        context: &mut Context,
    ) -> Result<Phase, StreamError> {
        //= STREAM-18
        // The peer's 'from' never changes whom we believe to talk to: the reference identity stays the pair's.
        let header = Header::read(element, scope)?;
        context.peer_lang.clone_from(&header.lang);
        Ok(Phase::Features(AwaitFeatures {
            purpose: self.purpose,
            stage: self.stage,
            header,
            deadline: self.deadline,
        }))
    }
}

impl AwaitFeatures {
    fn on_element(
        self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        if !element.is("features", ns::STREAM) {
            // Metronome's first stanza may come early, but nothing that is not a stanza does.
            context.irregular("an element before the stream features")?;
            return Ok(super::Phase::Initiating(Phase::Features(self)));
        }
        let features = Features::read(element);
        // The latest features tell: before authentication a peer may take less.
        context.peer_limits = match &self.stage {
            Stage::Plain { .. } | Stage::Secured { .. } => features.limits.of_stranger(),
            Stage::Authenticated { .. } => features.limits,
        };
        let Self {
            purpose,
            stage,
            header,
            deadline,
        } = self;
        match stage {
            Stage::Plain {
                starttls: Sent::Ahead,
            } => Ok(super::Phase::Initiating(Phase::Proceed(AwaitProceed {
                purpose,
                deadline,
            }))),
            Stage::Plain {
                starttls: Sent::InTurn,
            } => on_plain(purpose, features, header, deadline, context, now),
            Stage::Secured {
                secured,
                authentication,
            } => on_secured(
                purpose,
                features,
                (Some(secured), authentication),
                header,
                deadline,
                context,
                now,
            ),
            Stage::Authenticated { secured, agreed } => {
                if features.multiplex {
                    context.event(Event::Multiplexes);
                }
                let agreed = Agreed {
                    management: features.management.under(context.policy.management),
                    ..agreed
                };
                open_after_sasl(&purpose, secured, &header, agreed, context, now)
            }
        }
    }
}

impl AwaitProceed {
    fn on_element(self, element: &Element, context: &mut Context) -> Result<Phase, StreamError> {
        if starttls::is_proceed(element) {
            //= STREAM-32
            //= TLS-10
            context.peer_limits = Announced::default();
            context.restart = Some(Restart::Now);
            context.header_sent = false;
            context.outputs.push_back(Output::StartTls {
                role: Role::Initiating,
                local: Some(self.purpose.pair().local().domain().clone()),
            });
            return Ok(Phase::Secured(AwaitSecured {
                purpose: self.purpose,
                deadline: self.deadline,
            }));
        }
        let text = match starttls::is_failure(element) {
            true => "the peer refused STARTTLS",
            false => "the peer answered STARTTLS with something else",
        };
        Err(StreamError::peer(StreamCondition::PolicyViolation, text)
            .at(Cause::Tls)
            .quietly())
    }
}

impl AwaitSaslOutcome {
    fn on_element(
        self,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        if sasl::is_success(element) {
            //= SASL-15
            //= SASL-18
            context.restart = Some(Restart::Now);
            match self.restart {
                Sent::InTurn => write_header(&self.purpose, context),
                Sent::Ahead => {}
            }
            return Ok(super::Phase::Initiating(Phase::Header(AwaitHeader {
                purpose: self.purpose,
                stage: Stage::Authenticated {
                    secured: self.secured,
                    agreed: self.agreed,
                },
                deadline: self.deadline,
            })));
        }
        if sasl::is_failure(element) {
            let text = sasl::read_failure(element);
            // It cannot make sense of the header that is on its way, so this stream is of no use; and it may be that
            // which it refuses.
            if self.restart == Sent::Ahead {
                let text = format!("the peer took our certificate before, and not now: {text}");
                return Err(StreamError::peer(StreamCondition::NotAuthorized, text)
                    .at(Cause::Sasl)
                    .quietly());
            }
            context.event(Event::SaslFailed { text });
            //= SASL-20
            //= BIDI-46
            return request(
                self.purpose,
                Some(self.secured),
                &self.header,
                self.agreed,
                context,
                now,
            );
        }
        context.irregular("an element instead of the outcome of SASL")?;
        Ok(super::Phase::Initiating(Phase::SaslOutcome(self)))
    }
}

/// Features in the clear: TLS first, whatever they say, unless the operator waived it.
fn on_plain(
    purpose: Purpose,
    features: Features,
    header: Header,
    deadline: Instant,
    context: &mut Context,
    now: Instant,
) -> Result<super::Phase, StreamError> {
    //= TLS-05
    // A missing offer may have been stripped on the way: ask all the same.
    if features.starttls || context.policy.tls == TlsPolicy::Required {
        //= BIDI-05
        //= TLS-01
        context.write(starttls::write_request);
        return Ok(super::Phase::Initiating(Phase::Proceed(AwaitProceed {
            purpose,
            deadline,
        })));
    }
    let secured = (None, Sent::InTurn);
    on_secured(purpose, features, secured, header, deadline, context, now)
}

/// The header of a connection in the clear, and to a peer that is known to take it, `<starttls/>` with it.
fn begin_plain(purpose: &Purpose, context: &mut Context) -> Stage {
    write_header(purpose, context);
    //= STREAM-60
    let starttls = match (purpose.pace(), context.policy.tls) {
        (Pace::Ahead, TlsPolicy::Required) => {
            context.write(starttls::write_request);
            Sent::Ahead
        }
        (Pace::Ahead, TlsPolicy::Optional) | (Pace::Stepwise, _) => Sent::InTurn,
    };
    Stage::Plain { starttls }
}

/// The header of a protected connection, and to a peer that is known to take it, all that leads to the next one: if the
/// server at the other end is known to be the peer, on the grounds that suffice in its turn.
fn begin_secured(
    purpose: &Purpose,
    secured: Secured,
    context: &mut Context,
    now: Instant,
) -> Stage {
    write_header(purpose, context);
    let authentication = match purpose {
        Purpose::Carry {
            pair,
            external: true,
            bidi,
            pace: Pace::Ahead,
            ..
        } if secured.own_certificate
            && context.policy.federate == Federate::Allow
            && identity(Some(&secured), pair.remote().domain(), context, now).is_ok() =>
        {
            let flow = wanted_flow(*bidi, context);
            let multiplex = context.policy.multiplex != Multiplex::Off;
            let management = Offered::Resumption.under(context.policy.management);
            authenticate(
                pair.local().domain(),
                flow,
                (multiplex, management),
                context,
            );
            write_header(purpose, context);
            Sent::Ahead
        }
        Purpose::Carry { .. } | Purpose::Verify { .. } => Sent::InTurn,
    };
    Stage::Secured {
        secured,
        authentication,
    }
}

/// On which grounds the server at the other end is the one that we want.
fn identity(
    secured: Option<&Secured>,
    remote: &Domain,
    context: &Context,
    now: Instant,
) -> Result<Identity, Unproven> {
    trust::dialled(
        secured.map(|secured| &secured.certificate),
        remote,
        context.assurance,
        &context.policy,
        context.before(remote, now),
        now,
    )
}

/// Features on the stream as it will stay: ask for bidi, and prove ourselves.
fn on_secured(
    purpose: Purpose,
    features: Features,
    (secured, authentication): (Option<Secured>, Sent),
    header: Header,
    deadline: Instant,
    context: &mut Context,
    now: Instant,
) -> Result<super::Phase, StreamError> {
    let pair = purpose.pair().clone();
    let remote = pair.remote().domain();
    let certificate = match &secured {
        Some(secured) => context.certified(&secured.certificate, remote, now),
        None => Err(Unproven::Unencrypted),
    };
    let identity = identity(secured.as_ref(), remote, context, now).map_err(unproven);
    context.event(Event::Identified(Peer {
        local: pair.local().domain().clone(),
        remote: Some(pair.remote().domain().clone()),
        certificate,
        public_key: secured
            .as_ref()
            .and_then(|secured| secured.certificate.public_key),
        names: secured
            .as_ref()
            .map(Secured::valid_names)
            .unwrap_or_default(),
    }));
    let (external, bidi_wanted) = match purpose {
        //= BIDI-67
        //= DB-26
        //= SM-19
        Purpose::Verify { pair, checks } => {
            //= DB-54
            let identity = identity?;
            let assurance = identity.assurance().unwrap_or(Assurance::Proven);
            return Ok(super::Phase::Verifying(Verifying::start(
                pair, checks, assurance, deadline, context,
            )));
        }
        Purpose::Carry { external, bidi, .. } => (external, bidi),
    };
    let management = features.management.under(context.policy.management);
    if context.policy.federate == Federate::Deny {
        return Err(StreamError::policy(
            StreamCondition::PolicyViolation,
            format!(
                "the configuration forbids federation with {}",
                pair.remote()
            ),
        )
        .at(Cause::Identity));
    }
    let identity = identity?;
    let multiplexes = match context.policy.multiplex {
        Multiplex::Auto => features.multiplex,
        Multiplex::On => true,
        Multiplex::Off => false,
    };
    if multiplexes {
        context.event(Event::Multiplexes);
    }
    if features.pipelining {
        context.event(Event::Pipelines);
    }
    match features.bidi {
        Some(BidiSeen::OldNamespace) => context.event(Event::OldBidiNamespace),
        Some(BidiSeen::Standard) | None => {}
    }
    //= BIDI-07
    //= BIDI-08
    //= BIDI-81
    let flow = match features.bidi {
        Some(BidiSeen::Standard | BidiSeen::OldNamespace) => wanted_flow(bidi_wanted, context),
        None => Flow::Unidirectional,
    };
    //= STREAM-60
    // It would answer what it did not offer as it likes, or not at all: the next connection waits for what it offers.
    let as_before =
        features.pipelining && features.external && flow == wanted_flow(bidi_wanted, context);
    if authentication == Sent::Ahead && !as_before {
        return Err(StreamError::peer(
            StreamCondition::UnsupportedFeature,
            "the peer does not offer what it offered before",
        )
        .at(Cause::Sasl)
        .quietly());
    }
    let agreed = Agreed {
        flow,
        identity,
        multiplexes,
        dialback: features.dialback,
        management,
    };
    let extras = (features.multiplex && multiplexes, management);
    let local = pair.local().domain();
    let secured = match (secured, authentication) {
        (Some(secured), Sent::Ahead) => secured,
        //= SASL-06
        (Some(secured), Sent::InTurn)
            if features.external && secured.own_certificate && external =>
        {
            authenticate(local, flow, extras, context);
            secured
        }
        (secured @ (Some(_) | None), Sent::InTurn | Sent::Ahead) => {
            request_bidi(flow, extras, context);
            return request(purpose, secured, &header, agreed, context, now);
        }
    };
    Ok(super::Phase::Initiating(Phase::SaslOutcome(
        AwaitSaslOutcome {
            purpose,
            secured,
            header,
            agreed,
            restart: authentication,
            deadline,
        },
    )))
}

/// Which ways stanzas are to flow, if the peer takes bidi.
fn wanted_flow(bidi: bool, context: &Context) -> Flow {
    match (bidi, context.policy.bidi) {
        (true, BidiPolicy::Auto) => Flow::Bidirectional,
        (true, BidiPolicy::Off) | (false, BidiPolicy::Auto | BidiPolicy::Off) => {
            Flow::Unidirectional
        }
    }
}

/// Asks for bidi, if it is wanted, and shows who we are.
fn authenticate(local: &Domain, flow: Flow, extras: (bool, Offered), context: &mut Context) {
    request_bidi(flow, extras, context);
    //= BIDI-09
    //= SASL-01
    context.write(|out| sasl::write_auth(out, local));
}

/// Asks for bidi, if it is wanted; says with it whether we cope with many pairs, and take up lost streams.
fn request_bidi(flow: Flow, (multiplex, management): (bool, Offered), context: &mut Context) {
    match flow {
        Flow::Bidirectional => {
            let limits = Announced {
                max_bytes: Some(context.policy.limits.stanza_bytes_max),
                idle_seconds: None,
            };
            context.write(|out| bidi::write_request(out, limits, multiplex, management));
        }
        Flow::Unidirectional => {}
    }
}

/// The server that we dialled is not the one that we want, for all that we know (BIDI-23, TLS-23).
fn unproven(not: Unproven) -> StreamError {
    //= TLS-23
    let (text, cause) = match &not {
        Unproven::Unencrypted | Unproven::Certificate { .. } => (
            format!("{not}; the policy for this peer accepts nothing weaker"),
            Cause::Identity,
        ),
        Unproven::Weaker { .. } | Unproven::Nameless => (not.to_string(), Cause::Identity),
        //= DNS-15
        // It is this server that has the wrong certificate; another one of the domain may have the right one.
        Unproven::Dane(_) => (not.to_string(), Cause::Tls),
    };
    StreamError::policy(StreamCondition::NotAuthorized, text)
        .at(cause)
        .quietly()
}

/// Sends our key for the pair, and opens the stream (XEP-0220 §2.1.1).
fn request(
    purpose: Purpose,
    secured: Option<Secured>,
    header: &Header,
    agreed: Agreed,
    context: &mut Context,
    now: Instant,
) -> Result<super::Phase, StreamError> {
    //= SASL-24
    //= STREAM-31
    //= DB-30
    if !agreed.dialback && !header.dialback {
        return Err(StreamError::peer(
            StreamCondition::UnsupportedFeature,
            "the peer offers neither SASL EXTERNAL for our certificate nor dialback",
        )
        .at(Cause::Sasl));
    }
    //= STREAM-17
    //= STREAM-16
    if header.id.is_none() {
        return Err(StreamError::peer(
            StreamCondition::UndefinedCondition,
            "the peer's header has no id, so dialback is impossible",
        )
        .at(Cause::Dialback)
        .quietly());
    }
    let pair = purpose.pair().clone();
    let mut open = Open::enter(
        Opening {
            role: Role::Initiating,
            authorizations: Authorizations::new(Role::Initiating, agreed.flow),
            id: header.id.clone(),
            remote: Some(pair.remote().domain().clone()),
            secured,
            identity: Some(agreed.identity),
            multiplexes: agreed.multiplexes,
            bidi: agreed.bidi(),
            management: agreed.management(&purpose),
        },
        Vec::new(),
        context,
        now,
    );
    open.request(pair, context, now);
    Ok(super::Phase::Open(open))
}

/// The peer said `<success/>` and sent its last features: the pair of the header flows (RFC 6120 §8.1.1.2).
fn open_after_sasl(
    purpose: &Purpose,
    secured: Secured,
    header: &Header,
    agreed: Agreed,
    context: &mut Context,
    now: Instant,
) -> Result<super::Phase, StreamError> {
    let pair = purpose.pair().clone();
    let mut authorizations = Authorizations::new(Role::Initiating, agreed.flow);
    let granted = authorizations
        .consent(
            pair.clone(),
            Consent::Sasl,
            agreed.identity,
            context.policy.bidi,
        )
        .unwrap_or_default();
    Ok(super::Phase::Open(Open::enter(
        Opening {
            role: Role::Initiating,
            authorizations,
            id: header.id.clone(),
            remote: Some(pair.remote().domain().clone()),
            secured: Some(secured),
            identity: Some(agreed.identity),
            multiplexes: agreed.multiplexes,
            bidi: agreed.bidi(),
            management: agreed.management(purpose),
        },
        granted,
        context,
        now,
    )))
}

fn write_header(purpose: &Purpose, context: &mut Context) {
    let pair = purpose.pair();
    //= STREAM-10
    //= STREAM-11
    //= STREAM-12
    context.write(|out| header::write_initial(out, pair.local().domain(), pair.remote().domain()));
    context.header_sent = true;
}
