//! Our features are out, and the peer chooses: TLS, bidi, SASL, dialback.
//!
//! Nothing but a request that is worth judging leaves this wait: an answer to nothing is counted and forgotten.

use std::time::Instant;

use verona_xml::Element;

use super::super::announced::Announced;
use super::super::bidi::{self, Agreement};
use super::super::context::{Context, Restart};
use super::super::management::{self, Management};
use super::super::open::{self, Open, Opening};
use super::super::sasl::{self, SaslFailure};
use super::super::{Cause, Event, Output, Role, Secured, StreamError, starttls};
use super::{AwaitChoice, AwaitHeader, AwaitSecured, Phase, Stage, offers};
use crate::addr::Domain;
use crate::authorizations::Authorizations;
use crate::dialback::{Answer, Dialback, DialbackError, write_answer};
use crate::grounds::Identity;
use crate::limits::Limit;
use crate::ns;
use crate::policy::{IdentityMethod, TlsPolicy};
use crate::stanza::condition::{StanzaCondition, StreamCondition};
use crate::stream;

impl AwaitChoice {
    pub(super) fn on_element(
        self: Box<Self>,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<stream::Phase, StreamError> {
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
        if management::is_management(element) {
            context.on_early_management(element)?;
            return self.stay();
        }
        //= STREAM-41
        context.irregular("an unknown element during negotiation")?;
        self.stay()
    }

    fn on_starttls(self, context: &mut Context) -> Result<stream::Phase, StreamError> {
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
        Ok(stream::Phase::Receiving(Phase::Secured(AwaitSecured {
            deadline: self.deadline,
        })))
    }

    fn on_bidi(
        mut self: Box<Self>,
        element: &Element,
        context: &mut Context,
    ) -> Result<stream::Phase, StreamError> {
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
    ) -> Result<stream::Phase, StreamError> {
        match self.authenticate(element, context, now) {
            Ok((secured, remote, identity)) => {
                //= SASL-01
                context.write(sasl::write_success);
                //= SASL-14
                //= STREAM-32
                context.restart = Some(Restart::AtHeader);
                context.header_sent = false;
                Ok(stream::Phase::Receiving(Phase::Header(Box::new(
                    AwaitHeader {
                        stage: Stage::Authenticated {
                            secured,
                            addresses: self.addresses,
                            remote,
                            identity,
                            //= BIDI-44
                            agreed: self.agreed,
                        },
                        deadline: self.deadline,
                    },
                ))))
            }
            Err((failure, text)) => {
                //= SASL-19
                context.write(|out| sasl::write_failure(out, failure));
                context.event(Event::SaslFailed { text });
                self.sasl_failures += 1;
                //= SASL-21
                if self.sasl_failures > context.policy.limits.sasl_failures_max {
                    context.reached(Limit::SaslFailuresMax);
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
    ) -> Result<(Secured, Domain, Identity), (SaslFailure, String)> {
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
        //= SASL-11
        //= TLS-17
        let identity = context
            .certified(&secured.certificate, &remote, now)
            .map_err(|not| (SaslFailure::NotAuthorized, not.to_string()))?;
        //= STREAM-58
        Ok((secured, remote, identity))
    }

    fn on_dialback(
        mut self: Box<Self>,
        element: &Element,
        context: &mut Context,
        now: Instant,
    ) -> Result<stream::Phase, StreamError> {
        context.count_question(now)?;
        match Dialback::read(element) {
            //= DB-32
            //= BIDI-54
            Ok(Dialback::Verify { from, to, id, key }) => {
                open::authority::vouch(&from, &to, &id, &key, Some(&self.id), context, now);
                self.vouched += 1;
                //= STREAM-57
                //= BIDI-54
                // Whoever came to have keys checked has time for the next one.
                if self.vouched <= open::authority::VOUCHED_MAX {
                    self.deadline = self.deadline.max(context.negotiation_deadline(now));
                }
                self.stay()
            }
            Err(DialbackError::BadVerify { from, to, id }) => {
                open::authority::refuse_verify(from.as_ref(), to.as_ref(), id.as_deref(), context)?;
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
        let management = match self.secured {
            // In the clear it was not offered.
            None => Management::Off,
            Some(_) => offers::await_management(context),
        };
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
                management,
            },
            Vec::new(),
            context,
            now,
        )
    }

    fn stay(self: Box<Self>) -> Result<stream::Phase, StreamError> {
        Ok(stream::Phase::Receiving(Phase::Choice(self)))
    }
}
