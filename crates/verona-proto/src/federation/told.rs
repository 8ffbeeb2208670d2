//! What a peer's stream error makes us do (ERR-08): whom we leave alone because of it, and for how long.
//!
//! One table, so that no condition is forgotten. `docs/errors.md` shows it.

use std::time::{Duration, Instant};

use super::backoff::{Rest, Scope};
use super::{Federation, StreamKey};
use crate::addr::DomainPair;
use crate::limits::{Limit, seconds};
use crate::stanza::Reason;
use crate::stanza::condition::StreamCondition;
use crate::stream::{StreamError, TheirWords};

/// What follows for the pairs that the stream was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The next attempt after the usual wait, which doubles with each failure.
    BackOff,
    /// The next attempt at once.
    AtOnce,
    /// The next attempt at a time by chance within so long.
    Within(Duration),
    /// No attempt for so long; what is sent meanwhile comes back at once.
    NotBefore(Duration),
}

/// Whether the stream had been of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// It was being negotiated: what the peer says is about who we are and whom we want.
    Negotiating,
    /// It was: what the peer says may be about one stanza of one sender.
    Serving,
}

/// The table.
pub(super) fn effect(condition: StreamCondition, when: When) -> Effect {
    //= ERR-08
    match (condition, when) {
        (StreamCondition::HostUnknown | StreamCondition::HostGone, When::Negotiating) => {
            Effect::NotBefore(Duration::from_secs(5 * 60))
        }
        (StreamCondition::PolicyViolation, When::Negotiating) => {
            Effect::NotBefore(Duration::from_secs(10 * 60))
        }
        // Another connection has what this one had: it is used, and none is made against it.
        (StreamCondition::Conflict, When::Negotiating | When::Serving) => {
            Effect::Within(Duration::from_secs(60))
        }
        // Everybody who was connected would come back at once.
        (StreamCondition::SystemShutdown, When::Negotiating | When::Serving) => {
            Effect::Within(Duration::from_secs(60))
        }
        (StreamCondition::Reset | StreamCondition::SeeOtherHost, When::Serving) => Effect::AtOnce,
        // One sender's stanza must not silence the domain for all others, but neither is it sent into the same wall at once.
        (
            StreamCondition::HostUnknown
            | StreamCondition::HostGone
            | StreamCondition::PolicyViolation
            | StreamCondition::ResourceConstraint,
            When::Serving,
        ) => Effect::BackOff,
        (
            StreamCondition::BadFormat
            | StreamCondition::BadNamespacePrefix
            | StreamCondition::ConnectionTimeout
            | StreamCondition::ImproperAddressing
            | StreamCondition::InternalServerError
            | StreamCondition::InvalidFrom
            | StreamCondition::InvalidNamespace
            | StreamCondition::InvalidXml
            | StreamCondition::NotAuthorized
            | StreamCondition::NotWellFormed
            | StreamCondition::RemoteConnectionFailed
            | StreamCondition::RestrictedXml
            | StreamCondition::UndefinedCondition
            | StreamCondition::UnsupportedEncoding
            | StreamCondition::UnsupportedFeature
            | StreamCondition::UnsupportedStanzaType
            | StreamCondition::UnsupportedVersion,
            When::Serving,
        ) => Effect::AtOnce,
        (
            StreamCondition::BadFormat
            | StreamCondition::BadNamespacePrefix
            | StreamCondition::ConnectionTimeout
            | StreamCondition::ImproperAddressing
            | StreamCondition::InternalServerError
            | StreamCondition::InvalidFrom
            | StreamCondition::InvalidNamespace
            | StreamCondition::InvalidXml
            | StreamCondition::NotAuthorized
            | StreamCondition::NotWellFormed
            | StreamCondition::RemoteConnectionFailed
            | StreamCondition::Reset
            | StreamCondition::ResourceConstraint
            | StreamCondition::RestrictedXml
            | StreamCondition::SeeOtherHost
            | StreamCondition::UndefinedCondition
            | StreamCondition::UnsupportedEncoding
            | StreamCondition::UnsupportedFeature
            | StreamCondition::UnsupportedStanzaType
            | StreamCondition::UnsupportedVersion,
            When::Negotiating,
        ) => Effect::BackOff,
    }
}

/// Why stanzas come back while a domain is left alone because of it.
pub(super) fn reason(condition: StreamCondition) -> Option<Reason> {
    match effect(condition, When::Negotiating) {
        Effect::NotBefore(_) if condition == StreamCondition::PolicyViolation => {
            Some(Reason::StreamFailed)
        }
        Effect::NotBefore(_) => Some(Reason::HostUnknown),
        Effect::BackOff | Effect::AtOnce | Effect::Within(_) => None,
    }
}

/// Whether it says something about the domain as such, whoever of ours asked.
pub(super) fn is_remote_wide(condition: StreamCondition) -> bool {
    matches!(
        condition,
        StreamCondition::HostUnknown | StreamCondition::HostGone | StreamCondition::SystemShutdown
    )
}

impl Federation {
    /// An attempt ended with the peer's words: how long the next one waits, unless as usual.
    pub(super) fn rest_after(
        &mut self,
        pair: &DomainPair,
        condition: StreamCondition,
        text: &str,
        now: Instant,
    ) -> Option<Duration> {
        let wait = self.wait_for(effect(condition, When::Negotiating))?;
        let scope = Scope::of(pair, is_remote_wide(condition));
        let rest = Rest {
            until: now + wait,
            refuses: reason(condition),
        };
        self.backoff.rest(scope, rest, text, now);
        Some(wait)
    }

    /// A stream that served ended with the peer's words.
    pub(super) fn on_told(&mut self, stream: StreamKey, error: &StreamError, now: Instant) {
        if error.words != TheirWords::Said {
            return;
        }
        let Some(record) = self.streams.get(stream) else {
            return;
        };
        let pairs: Vec<DomainPair> = record.sending().cloned().collect();
        for pair in pairs {
            let wait = match effect(error.condition, When::Serving) {
                Effect::BackOff => {
                    self.reached.reached(Limit::RetrySecondsMin);
                    Some(seconds(self.limits.retry_seconds_min))
                }
                effect @ (Effect::AtOnce | Effect::Within(_) | Effect::NotBefore(_)) => {
                    self.wait_for(effect)
                }
            };
            if let Some(wait) = wait {
                let rest = Rest {
                    until: now + wait,
                    refuses: None,
                };
                self.backoff
                    .rest(Scope::of(&pair, false), rest, &error.text, now);
            }
        }
    }

    fn wait_for(&mut self, effect: Effect) -> Option<Duration> {
        match effect {
            Effect::BackOff | Effect::AtOnce => None,
            // What waits must be tried at least once before it is returned.
            Effect::Within(most) => {
                let most = most.min(seconds(self.limits.outbox_age_seconds) / 2);
                let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
                Some(Duration::from_millis((self.random)(millis)))
            }
            Effect::NotBefore(wait) => Some(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_condition_has_its_effect() {
        //= ERR-08
        let minutes = |minutes: u64| Effect::NotBefore(Duration::from_secs(60 * minutes));
        let minute = Effect::Within(Duration::from_secs(60));
        for (condition, negotiating, serving) in [
            (StreamCondition::HostUnknown, minutes(5), Effect::BackOff),
            (StreamCondition::HostGone, minutes(5), Effect::BackOff),
            (
                StreamCondition::PolicyViolation,
                minutes(10),
                Effect::BackOff,
            ),
            (StreamCondition::Conflict, minute, minute),
            (StreamCondition::SystemShutdown, minute, minute),
            (StreamCondition::Reset, Effect::BackOff, Effect::AtOnce),
            (
                StreamCondition::SeeOtherHost,
                Effect::BackOff,
                Effect::AtOnce,
            ),
            (
                StreamCondition::NotAuthorized,
                Effect::BackOff,
                Effect::AtOnce,
            ),
        ] {
            assert_eq!(
                effect(condition, When::Negotiating),
                negotiating,
                "{condition}"
            );
            assert_eq!(effect(condition, When::Serving), serving, "{condition}");
        }
    }

    /// `UPDATE=1 cargo test -p verona-proto told` writes the page anew.
    #[test]
    fn the_page_of_errors_says_what_is_done() {
        let said = |condition, when| match effect(condition, when) {
            Effect::BackOff if when == When::Serving => "`retry_seconds_min`".to_owned(),
            Effect::BackOff => "the usual back-off".to_owned(),
            Effect::AtOnce => "at once".to_owned(),
            Effect::Within(most) => format!("within {} s, by chance", most.as_secs()),
            Effect::NotBefore(wait) => format!("not for {} min", wait.as_secs() / 60),
        };
        let mut table = String::from(
            "\n| the peer says | while we negotiate | once the stream served |\n|---|---|---|\n",
        );
        let mut usual = Vec::new();
        for condition in StreamCondition::ALL {
            let row = (
                said(*condition, When::Negotiating),
                said(*condition, When::Serving),
            );
            if row == ("the usual back-off".to_owned(), "at once".to_owned()) {
                usual.push(format!("`{}`", condition.name()));
            } else {
                writeln!(table, "| `{}` | {} | {} |", condition.name(), row.0, row.1).unwrap();
            }
        }
        let usual = usual.join(", ");
        writeln!(table, "| {usual} | the usual back-off | at once |").unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (old, after) = rest.split_once(END).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        } else if old != table {
            panic!("docs/errors.md is not what the table says; UPDATE=1 writes it:\n{table}");
        }
    }

    const BEGIN: &str = "<!-- stream errors: written by a test -->";
    const END: &str = "<!-- end of stream errors -->";
}
