//! What we offer at each step: in the clear, before authentication, behind it (RFC 6120 §4.3.2).
//!
//! Features are complete in every state, and nothing is offered that would be refused (DB-31).

use std::time::Instant;

use super::super::announced::Announced;
use super::super::bidi::{self, Agreement};
use super::super::context::Context;
use super::super::features::{Offer, StartTls};
use super::super::management::{Early, Management, Offered};
use super::super::open::{Open, Opening};
use super::super::{Event, Role, Secured, StreamError};
use super::{Addresses, Agreed, AwaitChoice, Phase, Prospect, certified};
use crate::addr::{Direction, Domain};
use crate::authorizations::Authorizations;
use crate::grounds::{Identity, Proof};
use crate::limits::seconds;
use crate::policy::{IdentityMethod, Multiplex, TlsPolicy};
use crate::stanza::condition::StreamCondition;
use crate::stream;

/// Features in the clear (TLS-04, BIDI-02).
pub(super) fn await_choice(
    secured: Option<Secured>,
    addresses: Addresses,
    id: String,
    deadline: Instant,
    context: &mut Context,
    now: Instant,
) -> stream::Phase {
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
pub(super) fn offer_authentication(
    secured: Secured,
    addresses: Addresses,
    id: String,
    deadline: Instant,
    context: &mut Context,
    now: Instant,
) -> stream::Phase {
    let certified = certified(&secured, &addresses, context, now).is_ok();
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
        management: Offered::No,
        limits: limits(context),
    };
    //= SM-01
    // Behind dialback no further features come: where that may follow, these are the last.
    let offer = Offer {
        management: match offer.dialback {
            true => context.management_offered(),
            false => Offered::No,
        },
        ..offer
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
) -> stream::Phase {
    //= STREAM-28
    //= STREAM-29
    context.write(|out| offer.write(out));
    stream::Phase::Receiving(Phase::Choice(Box::new(AwaitChoice {
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
pub(super) fn open_after_sasl(
    secured: Secured,
    addresses: Addresses,
    (remote, identity): (&Domain, Identity),
    id: String,
    agreed: Agreed,
    context: &mut Context,
    now: Instant,
) -> Result<stream::Phase, StreamError> {
    //= SASL-17
    let offer = Offer {
        //= BIDI-03
        bidi: bidi::offer(addresses.remote.as_ref(), context, now)
            .filter(|_| agreed.bidi != Agreement::Requested),
        //= DB-31
        // It was certified: further domains of the certificate need no more than a request.
        dialback: true,
        multiplex: multiplex_offered(context),
        //= SM-01
        management: context.management_offered(),
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
        .prove(pair, Proof::Sasl(identity), context.policy.bidi)
        .unwrap_or_default();
    //= BIDI-17
    //= STREAM-33
    // Only now, behind header and features, may anything be sent: the grants tell the federation so.
    Ok(stream::Phase::Open(Open::enter(
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
            management: await_management(context),
        },
        granted,
        context,
        now,
    )))
}

/// What a peer that opened the stream may do about acknowledgements.
pub(super) fn await_management(context: &Context) -> Management {
    match context.management_offered() {
        Offered::No => Management::Off,
        offered @ (Offered::Acknowledgements | Offered::Resumption) => Management::Offered {
            offered,
            held_until: None,
            claims: 0,
            id: None,
            early: Early::default(),
        },
    }
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
