//! Why a stanza comes back to its sender: the one table of reasons, each with its condition, its type and its words.
//!
//! Whoever cannot deliver names a reason; what the sender reads is decided here. `docs/errors.md` shows the table.

use std::fmt;

use super::{ErrorType, StanzaCondition};

/// Why one stanza was not delivered, told about whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    reason: Reason,
    text: String,
}

impl Undelivered {
    /// `about` is whom it did not reach: a domain, or an address. `detail` says what happened, if the reason leaves that
    /// open; it must name nothing internal (ERR-11).
    #[must_use]
    pub fn new(reason: Reason, about: impl fmt::Display, detail: &str) -> Self {
        Self {
            reason,
            text: reason.text(&about, detail),
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What the sender reads, in English.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything that can keep a stanza from its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// DNS proves that the domain has no server, or names none that may be dialled.
    NoServer,
    /// DNS gave no answer that proves anything.
    LookUpFailed,
    /// None of the domain's servers took a connection.
    NotConnected,
    /// No TLS with any of its servers.
    TlsFailed,
    /// The peer could not prove to be the domain, as our policy asks.
    NotProven,
    /// The peer says that it does not host the domain.
    HostUnknown,
    /// The peer did not believe that we are who we are: our certificate or our dialback key.
    NotBelieved,
    /// The authoritative server of the sender's domain called our dialback key invalid.
    KeyInvalid,
    /// The stream failed in another way before anything was sent.
    StreamFailed,
    /// The servers of the domain took longer than there is time.
    TooSlow,
    /// We have too much of the same kind to do.
    TooBusy,
    /// The stanza waited as long as one may.
    Expired,
    /// The configuration forbids federation with the domain.
    Forbidden,
    /// The connection was lost, and nobody knows whether the stanza had arrived.
    Lost,
    /// The peer takes no stanza of that size.
    TooLargeForPeer,
    /// As much waits for the recipient as may.
    QueueFull,
    /// As much waits for all recipients together as may, and this one has its share.
    QueuesFull,
    /// Too many pairs of domains have something waiting.
    TooManyPairs,
    /// The journal has no room for it.
    JournalFull,
    /// The journal cannot be written.
    JournalBroken,
    /// The component that serves the domain is not connected, or left with it unread.
    ComponentAway,
    /// The domain was taken out of the configuration.
    DomainRemoved,
    /// The server stops.
    ShuttingDown,
    /// An address of the stanza is malformed.
    BadAddress,
    /// A name in the stanza is one that not every server can read (ROUTE-30).
    BadName,
    /// The stanza is larger than we pass on.
    TooLarge,
    /// The stanza has no recipient.
    NoRecipient,
    /// The sender and the recipient make no pair of domains.
    NoRoute,
    /// The request is malformed.
    BadRequest,
    /// The domain has no such node.
    NoNode,
    /// Nobody here provides what was asked for.
    NotProvided,
}

impl Reason {
    /// All of them, in the order of the table.
    pub const ALL: &'static [Self] = &[
        Self::NoServer,
        Self::LookUpFailed,
        Self::NotConnected,
        Self::TlsFailed,
        Self::NotProven,
        Self::HostUnknown,
        Self::NotBelieved,
        Self::KeyInvalid,
        Self::StreamFailed,
        Self::TooSlow,
        Self::TooBusy,
        Self::Expired,
        Self::Forbidden,
        Self::Lost,
        Self::TooLargeForPeer,
        Self::QueueFull,
        Self::QueuesFull,
        Self::TooManyPairs,
        Self::JournalFull,
        Self::JournalBroken,
        Self::ComponentAway,
        Self::DomainRemoved,
        Self::ShuttingDown,
        Self::BadAddress,
        Self::BadName,
        Self::TooLarge,
        Self::NoRecipient,
        Self::NoRoute,
        Self::BadRequest,
        Self::NoNode,
        Self::NotProvided,
    ];

    /// Its name in metrics and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoServer => "no-server",
            Self::LookUpFailed => "look-up-failed",
            Self::NotConnected => "not-connected",
            Self::TlsFailed => "tls-failed",
            Self::NotProven => "not-proven",
            Self::HostUnknown => "host-unknown",
            Self::NotBelieved => "not-believed",
            Self::KeyInvalid => "key-invalid",
            Self::StreamFailed => "stream-failed",
            Self::TooSlow => "too-slow",
            Self::TooBusy => "too-busy",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::Lost => "lost",
            Self::TooLargeForPeer => "too-large-for-peer",
            Self::QueueFull => "queue-full",
            Self::QueuesFull => "queues-full",
            Self::TooManyPairs => "too-many-pairs",
            Self::JournalFull => "journal-full",
            Self::JournalBroken => "journal-broken",
            Self::ComponentAway => "component-away",
            Self::DomainRemoved => "domain-removed",
            Self::ShuttingDown => "shutting-down",
            Self::BadAddress => "bad-address",
            Self::BadName => "bad-name",
            Self::TooLarge => "too-large",
            Self::NoRecipient => "no-recipient",
            Self::NoRoute => "no-route",
            Self::BadRequest => "bad-request",
            Self::NoNode => "no-node",
            Self::NotProvided => "not-provided",
        }
    }

    /// The condition of the error.
    #[must_use]
    pub fn condition(self) -> StanzaCondition {
        match self {
            //= ROUTE-13
            Self::NoServer => StanzaCondition::RemoteServerNotFound,
            //= ROUTE-13
            //= ROUTE-24
            //= DB-14
            Self::LookUpFailed
            | Self::NotConnected
            | Self::TlsFailed
            | Self::NotProven
            | Self::HostUnknown
            | Self::NotBelieved
            | Self::StreamFailed
            | Self::TooSlow
            | Self::Expired
            | Self::Lost
            | Self::ShuttingDown => StanzaCondition::RemoteServerTimeout,
            //= DB-12
            Self::KeyInvalid | Self::NoRoute => StanzaCondition::InternalServerError,
            //= ROUTE-26
            Self::Forbidden => StanzaCondition::NotAllowed,
            //= ROUTE-23
            Self::TooBusy
            | Self::QueueFull
            | Self::QueuesFull
            | Self::TooManyPairs
            | Self::JournalFull
            | Self::JournalBroken => StanzaCondition::ResourceConstraint,
            //= LIM-05
            //= ERR-03
            Self::TooLargeForPeer | Self::TooLarge => StanzaCondition::PolicyViolation,
            //= ROUTE-19
            Self::ComponentAway | Self::NotProvided => StanzaCondition::ServiceUnavailable,
            //= BIDI-79
            Self::DomainRemoved => StanzaCondition::ServiceUnavailable,
            //= ROUTE-07
            Self::BadAddress => StanzaCondition::JidMalformed,
            //= ROUTE-30
            Self::BadName | Self::NoRecipient | Self::BadRequest => StanzaCondition::BadRequest,
            Self::NoNode => StanzaCondition::ItemNotFound,
        }
    }

    /// What the sender may do: the usual type of the condition, but for what the condition alone does not tell.
    #[must_use]
    pub fn error_type(self) -> ErrorType {
        match self {
            // Somebody has to change something there before another attempt is of use.
            //= ROUTE-13
            Self::NotProven | Self::HostUnknown => ErrorType::Cancel,
            //= ROUTE-19
            Self::ComponentAway => ErrorType::Wait,
            Self::NoServer
            | Self::LookUpFailed
            | Self::NotConnected
            | Self::TlsFailed
            | Self::NotBelieved
            | Self::KeyInvalid
            | Self::StreamFailed
            | Self::TooSlow
            | Self::TooBusy
            | Self::Expired
            | Self::Forbidden
            | Self::Lost
            | Self::TooLargeForPeer
            | Self::QueueFull
            | Self::QueuesFull
            | Self::TooManyPairs
            | Self::JournalFull
            | Self::JournalBroken
            | Self::DomainRemoved
            | Self::ShuttingDown
            | Self::BadAddress
            | Self::BadName
            | Self::TooLarge
            | Self::NoRecipient
            | Self::NoRoute
            | Self::BadRequest
            | Self::NoNode
            | Self::NotProvided => self.condition().error_type(),
        }
    }

    /// When it comes to that, for whoever reads the table.
    #[must_use]
    pub fn when(self) -> &'static str {
        match self {
            Self::NoServer => {
                "DNS proves that the domain has no server, or names none that may be dialled"
            }
            Self::LookUpFailed => "DNS gave no answer that proves anything",
            Self::NotConnected => "none of the domain's servers took a connection",
            Self::TlsFailed => "no TLS with any of its servers",
            Self::NotProven => "the peer did not prove to be the domain, as the policy asks",
            Self::HostUnknown => "the peer says that it does not host the domain",
            Self::NotBelieved => "the peer believed neither our certificate nor our dialback key",
            Self::KeyInvalid => "the peer called our dialback key invalid",
            Self::StreamFailed => "the stream failed before anything was sent",
            Self::TooSlow => "the domain's servers together took longer than `attempt_seconds`",
            Self::TooBusy => {
                "a bound on what we do at once was reached, such as `dials_per_address_max`"
            }
            Self::Expired => "it waited for `outbox_age_seconds`",
            Self::Forbidden => "`federate = \"deny\"` for the domain",
            Self::Lost => {
                "the connection was lost, and nobody knows whether it had arrived (`on_uncertain = \"bounce\"`)"
            }
            Self::TooLargeForPeer => "the peer announced a `max-bytes` below its size (XEP-0478)",
            Self::QueueFull => {
                "the queue of the pair or of the component has no room: `outbox_…_max`, `component_backlog_…_max`"
            }
            Self::QueuesFull => {
                "all queues together hold `outboxes_bytes_max`, and this one has had its share"
            }
            Self::TooManyPairs => "`pairs_max` pairs have something waiting",
            Self::JournalFull => "the journal has no room",
            Self::JournalBroken => "the journal cannot be written: its disk is full, or fails",
            Self::ComponentAway => {
                "the component is not connected, or did not come back within `component_reconnect_seconds`"
            }
            Self::DomainRemoved => "the domain was taken out of the configuration",
            Self::ShuttingDown => "the server stops",
            Self::BadAddress => "localpart or resource of an address are malformed",
            Self::BadName => "it has an element or attribute whose name is not ASCII",
            Self::TooLarge => {
                "it grew beyond `stanza_bytes_max` by what it took from the stream header"
            }
            Self::NoRecipient => "a component sent it without 'to'",
            Self::NoRoute => "its addresses make no pair of a domain of ours and another",
            Self::BadRequest => "a request to the domain itself is malformed",
            Self::NoNode => "there is no such node",
            Self::NotProvided => "the domain has no component, and does not answer that itself",
        }
    }

    fn text(self, about: &dyn fmt::Display, detail: &str) -> String {
        match self {
            //= ERR-12
            Self::NoServer
            | Self::LookUpFailed
            | Self::NotConnected
            | Self::TlsFailed
            | Self::NotProven
            | Self::HostUnknown
            | Self::NotBelieved
            | Self::KeyInvalid
            | Self::StreamFailed
            | Self::TooSlow
            | Self::TooBusy => format!("could not reach {about}: {detail}"),
            Self::Expired if detail.is_empty() => format!("could not reach {about} in time"),
            Self::Expired => format!("could not reach {about} in time: {detail}"),
            Self::Forbidden => format!("the configuration forbids federation with {about}"),
            Self::Lost => format!(
                "the connection with {about} was lost while this was being sent; it may have arrived"
            ),
            Self::TooLargeForPeer => format!("{about} takes {detail}"),
            Self::QueueFull => format!("too much is waiting for {about} already"),
            Self::QueuesFull => {
                format!("too much is waiting for {about} and for others already")
            }
            Self::TooManyPairs => {
                format!("too many domains are being talked to already to begin with {about}")
            }
            Self::JournalFull => {
                format!("there is no room to keep this safe until it is delivered to {about}")
            }
            Self::JournalBroken => {
                format!("nothing can be kept safe for {about} now: a disk does not take it")
            }
            Self::ComponentAway => format!("the service of {about} is down for the moment"),
            Self::DomainRemoved => format!("{about} is not served here any more"),
            Self::ShuttingDown => format!("verona is shutting down; {about} was not reached"),
            Self::BadAddress => "an address of the stanza is malformed".to_owned(),
            Self::BadName => {
                "a name in the stanza is one that not every server can read".to_owned()
            }
            Self::TooLarge => "the stanza is too large".to_owned(),
            Self::NoRecipient => "the stanza has no 'to'".to_owned(),
            Self::NoRoute => format!("there is no way to {about}"),
            Self::BadRequest => detail.to_owned(),
            Self::NoNode => "there is no such node".to_owned(),
            // The same words for all, known or not (ROUTE-20).
            Self::NotProvided => "nothing here provides that".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::addr::{Domain, Hosts};
    use crate::stanza::fixtures::first_level;
    use crate::stanza::{Stanza, bounce};

    #[test]
    fn every_reason_is_in_the_table_once() {
        let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(
                *reason as usize, at,
                "{reason:?} stands where it is declared"
            );
        }
        assert_eq!(Reason::ALL.len(), Reason::NotProvided as usize + 1);
    }

    #[test]
    fn every_reason_makes_an_error_of_its_own_and_never_one_for_an_error() {
        //= ROUTE-14
        //= ROUTE-15
        //= ERR-10
        let hosts = Hosts::new([Domain::parse("montague.lit").unwrap()]);
        let stanza = |kind: &str| {
            let (bytes, head, scope) = first_level(&format!(
                "<message type='{kind}' id='7' from='romeo@montague.lit' to='juliet@capulet.lit'><body>x</body></message>"
            ));
            Stanza::read(&bytes, &head, &scope, None).unwrap()
        };
        for reason in Reason::ALL {
            let why = Undelivered::new(*reason, "capulet.lit", "what happened");
            assert_eq!(bounce(&hosts, &stanza("error"), &why), None, "{reason:?}");
            let error = bounce(&hosts, &stanza("chat"), &why).unwrap();
            let root = error.stanza().element().unwrap();
            assert_eq!(root.attribute("id"), Some("7"), "{reason:?}");
            let child = root.child("error", "").unwrap();
            let ours = crate::ns::STANZA_ERRORS;
            assert!(child.child(reason.condition().name(), ours).is_some());
            assert_eq!(child.attribute("type"), Some(reason.error_type().name()));
            assert_eq!(child.child("text", ours).unwrap().text(), why.text());
        }
    }

    /// Waiting helps where it says so, and who is told to wait need not change anything.
    #[test]
    fn what_a_sender_may_do_follows_from_the_reason() {
        //= ROUTE-13
        //= ROUTE-19
        //= ROUTE-23
        //= ROUTE-26
        let said = |reason: Reason| (reason.condition().name(), reason.error_type().name());
        for (reason, condition, kind) in [
            (Reason::NoServer, "remote-server-not-found", "cancel"),
            (Reason::NotConnected, "remote-server-timeout", "wait"),
            (Reason::NotProven, "remote-server-timeout", "cancel"),
            (Reason::Expired, "remote-server-timeout", "wait"),
            (Reason::Forbidden, "not-allowed", "cancel"),
            (Reason::QueueFull, "resource-constraint", "wait"),
            (Reason::QueuesFull, "resource-constraint", "wait"),
            (Reason::ComponentAway, "service-unavailable", "wait"),
            (Reason::TooLargeForPeer, "policy-violation", "modify"),
            (Reason::KeyInvalid, "internal-server-error", "cancel"),
        ] {
            assert_eq!(said(reason), (condition, kind), "{reason:?}");
        }
    }

    /// `UPDATE=1 cargo test -p verona-proto errors` writes the page anew.
    #[test]
    fn the_page_of_errors_says_what_the_table_says() {
        let mut table = String::from(
            "\n| reason | when | condition | type | the sender reads |\n|---|---|---|---|---|\n",
        );
        for reason in Reason::ALL {
            let why = Undelivered::new(*reason, "DOMAIN", "…");
            writeln!(
                table,
                "| `{}` | {} | `{}` | {} | {} |",
                reason.name(),
                reason.when(),
                reason.condition().name(),
                reason.error_type().name(),
                why.text()
            )
            .unwrap();
        }
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

    const BEGIN: &str = "<!-- reasons: written by a test -->";
    const END: &str = "<!-- end of reasons -->";
}
