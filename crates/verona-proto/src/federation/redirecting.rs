//! A server that we negotiate with sends us elsewhere (`<see-other-host/>`, RFC 6120 §4.9.3.19).
//!
//! Whoever answers can say so, before anybody knows who it is. So the place is dialled as a place that nobody vouches
//! for: for the same domain, under the same policy, by the same guard, a few times and never in a circle.

use std::net::SocketAddr;
use std::time::Instant;

use super::attempt::{Attempt, State, Step};
use super::{AttemptKey, Command, Federation, Report};
use crate::addr::Domain;
use crate::dane::Tlsa;
use crate::discovery::{DiscoveryError, FALLBACK_PORT, OtherHost, Target};
use crate::grounds::Assurance;
use crate::policy::DirectTls;
use crate::stanza::condition::StreamCondition;
use crate::stream::{Fault, StreamError};

impl Federation {
    /// The stream of an attempt failed.
    pub(super) fn on_negotiation_failed(
        &mut self,
        key: AttemptKey,
        error: &StreamError,
        now: Instant,
    ) {
        let Some(attempt) = self.attempts.get_mut(&key) else {
            return;
        };
        attempt.on_failed(error);
        //= STREAM-51
        if error.condition != StreamCondition::SeeOtherHost || error.fault != Fault::Peer {
            return self.on_attempt_ended(key, now);
        }
        match attempt.redirected(error) {
            Ok(way) => self.follow(key, way, now),
            Err(text) => {
                self.report_target(key, &text);
                let targets = self
                    .attempts
                    .get_mut(&key)
                    .and_then(|attempt| attempt.pass_over(error, text));
                self.proceed(key, targets, now);
            }
        }
    }

    fn follow(&mut self, key: AttemptKey, way: Redirect, now: Instant) {
        let Some(attempt) = self.attempts.get(&key) else {
            return;
        };
        self.commands.push_back(Command::Report(Report::Redirected {
            pair: attempt.pair.clone(),
            target: way.by.to_string(),
            host: way.host.to_string(),
        }));
        let domain = attempt.pair.remote().domain();
        if let Some(address) = way.address(domain) {
            let target = Target::new(address, way.by.direct_tls, way.host.host().ascii());
            return self.on_discovered(key, Ok(vec![target]), now);
        }
        if !self.is_wanted(key) {
            return self.proceed(key, None, now);
        }
        let direct_tls = match way.host.port() {
            Some(_) => way.by.direct_tls,
            None => self.policy.for_peer(domain).direct_tls == DirectTls::Auto,
        };
        self.commands.push_back(Command::Resolve {
            attempt: key,
            host: way.host,
            direct_tls,
        });
    }
}

impl Attempt {
    /// Where the server of this attempt sends us; or why we do not go there.
    fn redirected(&mut self, error: &StreamError) -> Result<Redirect, String> {
        let State::Negotiating { target, rest, .. } = &self.state else {
            return Err(error.text.clone());
        };
        let named = error.other_host.as_deref().unwrap_or_default();
        let host: OtherHost = named
            .parse()
            .map_err(|bad| format!("{}: {bad}", error.text))?;
        if self.sent_by.len() >= REDIRECTS_MAX {
            return Err(format!(
                "{}, and we had been sent on {REDIRECTS_MAX} times",
                error.text
            ));
        }
        let (by, rest) = (target.clone(), rest.clone());
        self.sent_by.push(by.address);
        // The others are worth a try when where we are sent leads nowhere, but not before.
        self.aside.splice(0..0, rest);
        self.state = State::Redirected(host.clone());
        Ok(Redirect { by, host })
    }

    /// Where we were sent is known, or it is not.
    pub(super) fn on_resolved(
        &mut self,
        host: &OtherHost,
        result: Result<Vec<Target>, DiscoveryError>,
    ) -> Option<Vec<Target>> {
        self.state = State::Exhausted;
        let found = match result {
            Ok(targets) => targets,
            Err(error) => {
                let text = format!("a server of it sends us to {host}: {error}");
                self.note(Step::Connect, text);
                return self.connect(Vec::new());
            }
        };
        //= STREAM-51
        let left: Vec<Target> = found
            .into_iter()
            .filter(|target| !self.sent_by.contains(&target.address))
            .map(unvouched)
            .collect();
        if left.is_empty() {
            let text = format!("its servers send us in a circle: we had come from {host}");
            self.note(Step::Connect, text);
        }
        self.connect(left)
    }

    /// The server is of no use: what remains.
    fn pass_over(&mut self, error: &StreamError, text: String) -> Option<Vec<Target>> {
        let State::Negotiating { rest, .. } = std::mem::replace(&mut self.state, State::Exhausted)
        else {
            return None;
        };
        self.note(Step::Stream(error.cause), text);
        self.connect(rest)
    }
}

/// Who sends us where.
struct Redirect {
    by: Target,
    host: OtherHost,
}

impl Redirect {
    /// The address to dial, where nothing has to be looked up: it is one, or it is where we were, at another port.
    fn address(&self, domain: &Domain) -> Option<SocketAddr> {
        if let Some(address) = self.host.address() {
            let port = self.host.port().unwrap_or(FALLBACK_PORT);
            return Some(SocketAddr::new(address, port));
        }
        let name = self.host.host();
        let is_here = name == domain || name.ascii() == self.by.host;
        let port = self.host.port().filter(|_| is_here)?;
        Some(SocketAddr::new(self.by.address.ip(), port))
    }
}

/// Whatever DNS says of it: who sent us there has proven nothing.
fn unvouched(target: Target) -> Target {
    Target {
        assurance: Assurance::Redirected,
        tlsa: Tlsa::None,
        ..target
    }
}

//= STREAM-51
/// How often one attempt is sent on: the most that RFC 6120 §4.9.3.19 suggests.
const REDIRECTS_MAX: usize = 5;
