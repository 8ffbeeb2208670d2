//! The configuration changes under an open stream (BIDI-71, BIDI-79).
//!
//! Everything that is authorised is looked at again. What the policy forbids cannot be taken back pair by pair, for XMPP
//! has no word for it: the stream ends in good order, and what is still allowed begins anew. A domain that is not hosted
//! any more is another matter: the others stay, and its peers are answered for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::context::{Context, StreamConfig};
use super::super::{Cause, Event, Phase, Role, StreamError};
use super::{Ending, Open};
use crate::addr::{Direction, Domain, DomainPair};
use crate::authorizations::Granted;
use crate::dialback::Verdict;
use crate::grounds::{Assurance, Identity};
use crate::limits::seconds;
use crate::policy::{BidiPolicy, Federate, IdentityMethod, InForce, PeerPolicy, TlsPolicy};
use crate::stanza::condition::{StanzaCondition, StreamCondition};
use crate::stanza::{Admitted, BadStanza, Reason, Stanza, Undelivered, bounce};
use crate::trust;

impl Open {
    /// Goes on by another configuration, or ends.
    pub(in crate::stream) fn on_reload(
        mut self,
        config: Arc<StreamConfig>,
        context: &mut Context,
        now: Instant,
    ) -> Result<Phase, StreamError> {
        let before = std::mem::replace(&mut context.config, config);
        self.adopt_limits(context);
        let hosts = Arc::clone(&context.config.hosts);
        //= BIDI-79
        for grant in self.authorizations.restore(&hosts) {
            context.event(Event::Granted(grant));
        }
        let retired = self.authorizations.retire(&hosts);
        if !retired.is_empty() {
            self.answers_until = Some(now + ANSWERS_FOR);
        }
        for (pair, direction) in retired {
            context.event(Event::Revoked { pair, direction });
        }
        //= BIDI-71
        let grants = self.authorizations.grants();
        let objection = grants
            .iter()
            .find_map(|grant| self.objection(grant, &before, context, now));
        if let Some(why) = objection {
            return Ok(self.end_in_good_order(why, context, now));
        }
        self.withdraw(context);
        self.refuse_keys(context, now)?;
        Ok(Phase::Open(self))
    }

    /// The answer to a stanza for a domain that was ours a moment ago. `Some(None)`: it gets none, and goes nowhere.
    pub(super) fn answer_for_departed(
        &self,
        stanza: &Result<Stanza, BadStanza>,
        context: &Context,
    ) -> Option<Option<Admitted>> {
        self.answers_until?;
        let stanza = match stanza {
            Ok(stanza) => stanza,
            Err(BadStanza::Stanza { stanza, .. }) => stanza,
            Err(BadStanza::Stream(_)) => return None,
        };
        let hosts = &context.config.hosts;
        let gone = hosts.local(stanza.to()).is_none()
            && self
                .authorizations
                .retires(hosts, stanza.from(), stanza.to());
        //= BIDI-79
        gone.then(|| {
            let why = Undelivered::new(Reason::DomainRemoved, stanza.to(), "");
            bounce(hosts, stanza, &why)
        })
    }

    /// The time for answers is over: from here on such a stanza ends the stream. One that carries nothing else ends now.
    pub(super) fn forget_departed(mut self, context: &mut Context, now: Instant) -> Phase {
        self.answers_until = None;
        for pair in self.authorizations.forget_retired() {
            context.event(Event::Departed { pair });
        }
        match self.authorizations.is_empty() {
            true => self.leave(Ending::Quiet(Cause::Idle), context, now),
            false => Phase::Open(self),
        }
    }

    /// The limits of whoever the peer is, as far as that is known.
    fn adopt_limits(&mut self, context: &mut Context) {
        let proven = self
            .authorizations
            .inbound()
            .and_then(|inbound| inbound.granted().next())
            .map(|(pair, _)| pair.remote().domain().clone());
        let peer = match self.role {
            Role::Initiating => self.remote.clone(),
            Role::Receiving => proven.or_else(|| self.remote.clone()),
        };
        let policy = match &peer {
            Some(peer) => context.policy_for(peer),
            None => InForce::defaults(&context.config.policy),
        };
        if policy.limits.idle_seconds != context.policy.limits.idle_seconds {
            self.idle = seconds(policy.limits.idle_seconds);
        }
        context.policy = policy;
        context.limits_raised = None;
    }

    /// Why something that is authorised may not go on; `None` if it may.
    fn objection(
        &self,
        grant: &Granted,
        before: &StreamConfig,
        context: &Context,
        now: Instant,
    ) -> Option<String> {
        let remote = grant.pair.remote().domain();
        //= BIDI-73
        if context.config.hosts.local(remote).is_some() {
            return Some(format!("{remote} is hosted here from now on"));
        }
        let policy = context.policy_for(remote);
        // Time changes what a proof is worth, too: but that is no matter of a reload.
        if *policy == before.policy.for_peer(remote) {
            return None;
        }
        if policy.federate == Federate::Deny {
            return Some(format!(
                "the configuration forbids federation with {remote} from now on"
            ));
        }
        if policy.tls == TlsPolicy::Required && self.secured.is_none() {
            return Some(format!(
                "the configuration requires TLS for {remote} from now on"
            ));
        }
        let needs_bidi = match (self.role, grant.direction) {
            (Role::Initiating, Direction::Inbound) | (Role::Receiving, Direction::Outbound) => true,
            (Role::Initiating, Direction::Outbound) | (Role::Receiving, Direction::Inbound) => {
                false
            }
        };
        if needs_bidi && policy.bidi == BidiPolicy::Off {
            return Some(format!(
                "the configuration forbids bidi with {remote} from now on"
            ));
        }
        self.disbelief(remote, grant.grounds.identity, &policy, context, now)
            .map(|why| format!("{remote} is not believed from now on: {why}"))
    }

    /// Why the identity behind an authorisation does not suffice any more.
    fn disbelief(
        &self,
        remote: &Domain,
        identity: Identity,
        policy: &PeerPolicy,
        context: &Context,
        now: Instant,
    ) -> Option<String> {
        let by_key = match identity {
            Identity::Dialback(_) => policy.accepts(IdentityMethod::Dialback),
            Identity::Pin
            | Identity::Dane
            | Identity::Certificate
            | Identity::Posh
            | Identity::Resolution(_) => false,
        };
        if by_key {
            return None;
        }
        let certificate = self.secured.as_ref().map(|secured| &secured.certificate);
        let before = context.before(remote, now);
        // Whoever is dialled may be believed for the way that led there.
        let judged = match (self.role, certificate) {
            (Role::Initiating, _) if self.remote.as_ref() == Some(remote) => {
                trust::dialled(certificate, remote, context.assurance, policy, before, now)
            }
            (Role::Initiating | Role::Receiving, Some(certificate)) => {
                trust::certified(certificate, remote, policy, before, now)
            }
            (Role::Initiating | Role::Receiving, None) => Err(trust::Unproven::Unencrypted),
        };
        judged.err().map(|refusal| refusal.to_string())
    }

    /// Requests of ours that nobody may grant any more.
    fn withdraw(&mut self, context: &Context) {
        let hosts = &context.config.hosts;
        let is_unwanted = |pair: &DomainPair| {
            let remote = pair.remote().domain();
            hosts.local(pair.local().domain()).is_none()
                || hosts.local(remote).is_some()
                || context.policy_for(remote).federate == Federate::Deny
        };
        self.authorizations.withdraw(is_unwanted);
    }

    /// Keys of the peer's whose pairs may not be any more need no verdict.
    fn refuse_keys(&mut self, context: &mut Context, now: Instant) -> Result<(), StreamError> {
        let asked: Vec<DomainPair> = self
            .authorizations
            .inbound()
            .map(|inbound| inbound.verified().cloned().collect())
            .unwrap_or_default();
        for pair in asked {
            let condition = if context.config.hosts.local(pair.local().domain()).is_none() {
                //= DB-17
                StanzaCondition::ItemNotFound
            } else if context.policy_for(pair.remote().domain()).federate == Federate::Deny {
                //= BIDI-71
                StanzaCondition::PolicyViolation
            } else {
                continue;
            };
            self.settle(
                &pair,
                Verdict::Error(condition),
                Assurance::Dns,
                context,
                now,
            )?;
        }
        Ok(())
    }

    /// Nothing more is sent; what was is acknowledged, and what the peer says is heard until it has closed too, for it was
    /// allowed when it was said (RFC 6120 §4.4).
    fn end_in_good_order(self, why: String, context: &mut Context, now: Instant) -> Phase {
        let error = StreamError::policy(StreamCondition::Reset, why).at(Cause::Established);
        self.leave(Ending::Told(error), context, now)
    }
}

/// How long stanzas for a domain that was taken out of the configuration are answered on streams that live on (BIDI-79):
/// long enough for peers to hear it from those answers, and too short to be relied upon.
pub const ANSWERS_FOR: Duration = Duration::from_secs(60);
