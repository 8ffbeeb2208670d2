//! Negotiation when the peer opened the stream: one type per wait.
//!
//! Nothing said before TLS survives TLS, because it lives in the types of the waits before (TLS-10).

use std::time::Instant;

use verona_xml::{Element, Scope};

use super::announced::Announced;
use super::bidi::{self, Agreement};
use super::context::{Context, Restart};
use super::features::{Offer, StartTls};
use super::header::{self, Header, Version};
use super::open::{self, Open, Opening};
use super::sasl::{self, SaslFailure};
use super::{Cause, Event, Output, Peer, Role, Secured, StreamError, starttls};
use crate::addr::{Direction, Domain};
use crate::authorizations::Authorizations;
use crate::dialback::{Answer, Dialback, DialbackError, write_answer};
use crate::grounds::Proof;
use crate::limits::seconds;
use crate::ns;
use crate::policy::{Federate, IdentityMethod, Multiplex, TlsPolicy};
use crate::stanza::condition::{StanzaCondition, StreamCondition};

/// What we wait for.
#[derive(Debug)]
pub(super) enum Phase {
    Header(AwaitHeader),
    Choice(Box<AwaitChoice>),
    Secured(AwaitSecured),
}

/// The peer's header is to come.
#[derive(Debug)]
pub(super) struct AwaitHeader {
    stage: Stage,
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
        Self::Header(AwaitHeader {
            //= BIDI-68
            stage: secured.map_or(Stage::Plain, Stage::Secured),
            deadline: context.negotiation_deadline(now),
        })
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
            Self::Choice(_) | Self::Secured(_) => Err(StreamError::peer(
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
            Self::Header(_) | Self::Secured(_) => Err(StreamError::peer(
                StreamCondition::BadFormat,
                "an element before the stream header",
            )),
        }
    }

    pub(super) fn on_secured(self, secured: Secured, _now: Instant) -> Self {
        match self {
            Self::Secured(AwaitSecured { deadline }) => Self::Header(AwaitHeader {
                stage: Stage::Secured(secured),
                deadline,
            }),
            unchanged @ (Self::Header(_) | Self::Choice(_)) => unchanged,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Header(wait) => wait.deadline,
            Self::Choice(wait) => wait.deadline,
            Self::Secured(wait) => wait.deadline,
        }
    }

    /// Whether the next byte must be one of TLS.
    pub(super) fn awaits_tls(&self) -> bool {
        match self {
            Self::Secured(_) => true,
            Self::Header(_) | Self::Choice(_) => false,
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Header(_) => Cause::Stream,
            Self::Choice(wait) if wait.vouched > 0 => Cause::Idle,
            Self::Choice(_) => Cause::Stream,
            Self::Secured(_) => Cause::Tls,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Header(_) => "waiting for the peer's header",
            Self::Choice(_) => "waiting for the peer to authenticate",
            Self::Secured(_) => "negotiating TLS",
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
            Self::Header(_) | Self::Choice(_) | Self::Secured(_) => error,
        }
    }
}

impl AwaitHeader {
    /// `<bidi/>` that was sent behind `<auth/>` without waiting for the outcome.
    fn on_bidi(
        mut self,
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
        context.policy = context.config.policy.defaults.clone();
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
            Stage::Plain => Ok(await_choice(
                None,
                addresses,
                id,
                self.deadline,
                context,
                now,
            )),
            Stage::Secured(secured) => {
                context.event(Event::Identified(Peer {
                    local: addresses.local.clone(),
                    remote: addresses.remote.clone(),
                    certificate: covers(&secured, &addresses, now),
                    names: secured.valid_names(),
                }));
                Ok(offer_authentication(
                    secured,
                    addresses,
                    id,
                    self.deadline,
                    context,
                    now,
                ))
            }
            Stage::Authenticated {
                secured,
                addresses: before,
                remote,
                agreed,
            } => {
                //= STREAM-24
                if addresses != before {
                    return Err(StreamError::peer(
                        StreamCondition::InvalidFrom,
                        "the header's addresses changed after authentication",
                    ));
                }
                open_after_sasl(secured, addresses, &remote, id, agreed, context, now)
            }
        }
    }
}

impl AwaitChoice {
    fn on_element(
        self: Box<Self>,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        if starttls::is_request(element) {
            return self.on_starttls(context);
        }
        if bidi::is_request(element) {
            return self.on_bidi(element, context);
        }
        if sasl::is_auth(element) {
            return self.on_auth(element, context, now);
        }
        if sasl::is_abort(element) {
            //= SASL-22
            context.write(|out| sasl::write_failure(out, SaslFailure::Aborted));
            return self.stay();
        }
        if element.namespace() == ns::DIALBACK {
            return self.on_dialback(element, context, now);
        }
        //= STREAM-41
        context.irregular("an unknown element during negotiation")?;
        self.stay()
    }

    fn on_starttls(self, context: &mut Context) -> Result<super::Phase, StreamError> {
        //= TLS-08
        //= DTLS-04
        if self.secured.is_some() || !context.config.tls_available {
            context.write(starttls::write_failure);
            return Err(StreamError::peer(
                StreamCondition::PolicyViolation,
                "the peer asked for TLS where it is not offered",
            )
            .at(Cause::Tls)
            .quietly());
        }
        //= TLS-01
        context.write(starttls::write_proceed);
        context.peer_limits = Announced::default();
        context.restart = Some(Restart::Now);
        context.header_sent = false;
        context.outputs.push_back(Output::StartTls {
            role: Role::Receiving,
            local: Some(self.addresses.local),
        });
        Ok(super::Phase::Receiving(Phase::Secured(AwaitSecured {
            deadline: self.deadline,
        })))
    }

    fn on_bidi(
        mut self: Box<Self>,
        element: &Element,
        context: &mut Context,
    ) -> Result<super::Phase, StreamError> {
        //= BIDI-06
        // Where TLS must come first it counts for nothing, and real peers do it. Before TLS that is optional it lives only
        // as long as the wait that owns it does.
        if self.secured.is_none() && self.agreed.bidi == Agreement::NotOffered {
            return self.stay();
        }
        self.agreed.on_bidi(element, context)?;
        self.stay()
    }

    fn on_auth(
        mut self: Box<Self>,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        match self.authenticate(element, context, now) {
            Ok((secured, remote)) => {
                //= SASL-01
                context.write(sasl::write_success);
                //= SASL-14
                //= STREAM-32
                context.restart = Some(Restart::AtHeader);
                context.header_sent = false;
                Ok(super::Phase::Receiving(Phase::Header(AwaitHeader {
                    stage: Stage::Authenticated {
                        secured,
                        addresses: self.addresses,
                        remote,
                        //= BIDI-44
                        agreed: self.agreed,
                    },
                    deadline: self.deadline,
                })))
            }
            Err((failure, text)) => {
                //= SASL-19
                context.write(|out| sasl::write_failure(out, failure));
                context.event(Event::SaslFailed { text });
                self.sasl_failures += 1;
                //= SASL-21
                if self.sasl_failures > context.policy.limits.sasl_failures_max {
                    return Err(StreamError::peer(
                        StreamCondition::PolicyViolation,
                        "too many failed authentications",
                    )
                    .at(Cause::Sasl));
                }
                if !context.policy.accepts(IdentityMethod::Dialback) {
                    //= SASL-25
                    return Err(StreamError::policy(
                        StreamCondition::PolicyViolation,
                        "SASL EXTERNAL failed, and the policy for this peer forbids dialback",
                    )
                    .at(Cause::Identity));
                }
                self.stay()
            }
        }
    }

    /// Judges an `<auth/>` by the certificate as it is now (SASL-11).
    fn authenticate(
        &self,
        element: &Element,
        context: &Context,
        now: Instant,
    ) -> Result<(Secured, Domain), (SaslFailure, String)> {
        let authzid = sasl::read_auth(element)
            .map_err(|failure| (failure, format!("a bad <auth/>: {}", failure.name())))?;
        //= SASL-13
        let Some(secured) = self.secured.clone() else {
            return Err((
                SaslFailure::EncryptionRequired,
                "SASL EXTERNAL without TLS".into(),
            ));
        };
        let Some(remote) = self.addresses.remote.clone() else {
            return Err((
                SaslFailure::NotAuthorized,
                "the header has no 'from'".into(),
            ));
        };
        //= SASL-09
        //= SASL-10
        if authzid.is_some_and(|authzid| authzid != remote) {
            return Err((
                SaslFailure::InvalidAuthzid,
                "the authorisation identity is not the header's 'from'".into(),
            ));
        }
        if !context.policy.accepts(IdentityMethod::Certificate) {
            return Err((
                SaslFailure::NotAuthorized,
                "the policy for this peer does not accept certificates".into(),
            ));
        }
        //= SASL-11
        //= TLS-17
        secured
            .certificate
            .covers(&remote, now)
            .map_err(|not| (SaslFailure::NotAuthorized, not.to_string()))?;
        //= STREAM-58
        Ok((secured, remote))
    }

    fn on_dialback(
        mut self: Box<Self>,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<super::Phase, StreamError> {
        context.count_question(now)?;
        match Dialback::read(element) {
            //= DB-32
            //= BIDI-54
            Ok(Dialback::Verify { from, to, id, key }) => {
                open::vouch(&from, &to, &id, &key, Some(&self.id), context, now);
                self.vouched += 1;
                //= STREAM-57
                //= BIDI-54
                // Whoever came to have keys checked has time for the next one.
                if self.vouched <= open::VOUCHED_MAX {
                    self.deadline = self.deadline.max(context.negotiation_deadline(now));
                }
                self.stay()
            }
            Err(DialbackError::BadVerify { from, to, id }) => {
                open::refuse_verify(from.as_ref(), to.as_ref(), id.as_deref(), context)?;
                self.stay()
            }
            //= DB-16
            Err(error @ DialbackError::ImproperAddressing) => {
                Err(StreamError::peer(StreamCondition::ImproperAddressing, error.to_string()).at(Cause::Dialback))
            }
            Ok(Dialback::Request { from, to, .. })
                //= DB-41
                if self.secured.is_none() && context.policy_for(&from).tls == TlsPolicy::Required =>
            {
                let answer = Answer::Error(StanzaCondition::PolicyViolation);
                context.write(|out| write_answer(out, &to, &from, answer));
                context.event(Event::Denied {
                    from,
                    to,
                    answer,
                    text: "dialback without TLS, which the policy requires".into(),
                });
                self.stay()
            }
            Ok(Dialback::Request { .. }) => {
                self.open(context, now).on_element(element, context, now)
            }
            //= DB-09
            //= BIDI-37
            //= BIDI-38
            // Nothing was asked on this stream yet.
            Ok(Dialback::Answer { .. }) => {
                context.irregular("an unsolicited <db:result/> answer")?;
                self.stay()
            }
            Ok(Dialback::Verdict { .. }) => {
                context.irregular("an unsolicited <db:verify/> answer")?;
                self.stay()
            }
            Ok(Dialback::Irregular(what)) => {
                context.irregular(what)?;
                self.stay()
            }
        }
    }

    fn open(self, context: &mut Context, now: Instant) -> Open {
        if self.agreed.multiplexes {
            context.event(Event::Multiplexes);
        }
        Open::enter(
            Opening {
                role: Role::Receiving,
                authorizations: Authorizations::new(Role::Receiving, self.agreed.bidi.flow()),
                id: Some(self.id),
                remote: self.addresses.remote,
                secured: self.secured,
                identity: None,
                multiplexes: self.agreed.multiplexes,
                bidi: self.agreed.bidi,
            },
            Vec::new(),
            context,
            now,
        )
    }

    fn stay(self: Box<Self>) -> Result<super::Phase, StreamError> {
        Ok(super::Phase::Receiving(Phase::Choice(self)))
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

/// Features in the clear (TLS-04, BIDI-02).
fn await_choice(
    secured: Option<Secured>,
    addresses: Addresses,
    id: String,
    deadline: Instant,
    context: &mut Context,
    now: Instant,
) -> super::Phase {
    let bidi = bidi::offer(addresses.remote.as_ref(), context, now);
    let offer = match (context.config.tls_available, context.policy.tls) {
        //= TLS-04
        //= BIDI-02
        (true, TlsPolicy::Required) => Offer {
            starttls: Some(StartTls::Required),
            limits: limits_in_the_clear(context),
            ..Offer::default()
        },
        (tls_available, TlsPolicy::Optional | TlsPolicy::Required) => Offer {
            starttls: tls_available.then_some(StartTls::Optional),
            bidi,
            dialback: !tls_available && context.policy.accepts(IdentityMethod::Dialback),
            limits: limits(context),
            ..Offer::default()
        },
    };
    send_offer(
        offer,
        Prospect::Provable,
        secured,
        addresses,
        id,
        deadline,
        context,
    )
}

/// Features on the protected stream, before authentication.
fn offer_authentication(
    secured: Secured,
    addresses: Addresses,
    id: String,
    deadline: Instant,
    context: &mut Context,
    now: Instant,
) -> super::Phase {
    let certified = context.policy.accepts(IdentityMethod::Certificate)
        && covers(&secured, &addresses, now).is_ok();
    let offer = Offer {
        //= TLS-11
        starttls: None,
        //= SASL-02
        external: certified,
        bidi: bidi::offer(addresses.remote.as_ref(), context, now),
        //= DB-31
        // A certificate suffices for dialback as well (XEP-0344).
        dialback: certified || context.policy.accepts(IdentityMethod::Dialback),
        multiplex: multiplex_offered(context),
        limits: limits(context),
    };
    let (prospect, deadline) = match offer.dialback {
        true => (Prospect::Provable, deadline),
        //= SASL-25
        // It may still have come to have a key of ours checked, and that it may.
        false => (
            Prospect::Unprovable,
            deadline.min(now + seconds(context.policy.limits.unprovable_seconds)),
        ),
    };
    send_offer(
        offer,
        prospect,
        Some(secured),
        addresses,
        id,
        deadline,
        context,
    )
}

fn send_offer(
    offer: Offer,
    prospect: Prospect,
    secured: Option<Secured>,
    addresses: Addresses,
    id: String,
    deadline: Instant,
    context: &mut Context,
) -> super::Phase {
    //= STREAM-28
    //= STREAM-29
    context.write(|out| offer.write(out));
    super::Phase::Receiving(Phase::Choice(Box::new(AwaitChoice {
        secured,
        addresses,
        id,
        agreed: Agreed {
            //= BIDI-06
            bidi: Agreement::offered(offer.bidi),
            multiplexes: context.policy.multiplex == Multiplex::On,
        },
        sasl_failures: 0,
        vouched: 0,
        prospect,
        deadline,
    })))
}

/// The peer restarted the stream after `<success/>`: the pair of its header flows (BIDI-19).
fn open_after_sasl(
    secured: Secured,
    addresses: Addresses,
    remote: &Domain,
    id: String,
    agreed: Agreed,
    context: &mut Context,
    now: Instant,
) -> Result<super::Phase, StreamError> {
    //= SASL-17
    let offer = Offer {
        //= BIDI-03
        bidi: bidi::offer(addresses.remote.as_ref(), context, now)
            .filter(|_| agreed.bidi != Agreement::Requested),
        //= DB-31
        // It was certified: further domains of the certificate need no more than a request.
        dialback: true,
        multiplex: multiplex_offered(context),
        limits: limits(context),
        ..Offer::default()
    };
    context.write(|out| offer.write(out));
    if agreed.multiplexes {
        context.event(Event::Multiplexes);
    }
    let pair = context
        .config
        .hosts
        .pair(Direction::Inbound, remote, &addresses.local)
        .map_err(|_| {
            StreamError::peer(
                StreamCondition::HostUnknown,
                "the domain is no longer hosted here",
            )
        })?;
    let mut authorizations = Authorizations::new(Role::Receiving, agreed.bidi.flow());
    let granted = authorizations
        .prove(pair, Proof::Sasl, context.policy.bidi)
        .unwrap_or_default();
    //= BIDI-17
    //= STREAM-33
    // Only now, behind header and features, may anything be sent: the grants tell the federation so.
    Ok(super::Phase::Open(Open::enter(
        Opening {
            role: Role::Receiving,
            authorizations,
            id: Some(id),
            remote: addresses.remote,
            secured: Some(secured),
            identity: None,
            multiplexes: agreed.multiplexes,
            bidi: match agreed.bidi {
                Agreement::Requested => Agreement::Requested,
                Agreement::Offered | Agreement::NotOffered => Agreement::offered(offer.bidi),
            },
        },
        granted,
        context,
        now,
    )))
}

/// What we take once the peer is proven. Dialback follows these very features and no others come behind it, so what a
/// stranger may send (much less) is not what they tell.
fn limits(context: &Context) -> Announced {
    Announced {
        max_bytes: Some(context.policy.limits.stanza_bytes_max),
        idle_seconds: Some(context.policy.limits.idle_seconds.saturating_mul(2)),
    }
}

/// What we take where TLS must come first.
fn limits_in_the_clear(context: &Context) -> Announced {
    Announced {
        max_bytes: Some(context.policy.limits.negotiation_bytes_max),
        idle_seconds: None,
    }
}

fn multiplex_offered(context: &Context) -> bool {
    match context.policy.multiplex {
        Multiplex::Auto | Multiplex::On => true,
        Multiplex::Off => false,
    }
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

fn covers(secured: &Secured, addresses: &Addresses, now: Instant) -> Result<(), String> {
    match &addresses.remote {
        Some(remote) => secured
            .certificate
            .covers(remote, now)
            .map_err(|not| not.to_string()),
        None => Err("the header has no 'from'".into()),
    }
}
