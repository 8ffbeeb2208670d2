//! What came of a meeting, in a word; and whether all that was seen agrees with it.

use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stream::{Cause, Role};

use super::peer::Way;
use super::play::Seen;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The peer that connected is believed because of its certificate, proven in this way.
    External(String),
    /// The peer that connected was left dialback, and its key was checked.
    Dialback,
    /// The peer that we dialled is believed, on these grounds.
    Believed(String),
    /// The authoritative server that we dialled was asked about a key, so sure of it.
    Asked(&'static str),
    Refused,
    NoTls,
}

impl Verdict {
    /// For the table.
    pub(super) fn word(&self) -> String {
        match self {
            Self::External(by) if by == "certificate" => "EXTERNAL".to_owned(),
            Self::External(by) => format!("EXTERNAL ({by})"),
            Self::Dialback => "dialback".to_owned(),
            Self::Believed(by) => by.clone(),
            Self::Asked(assurance) => format!("asked ({assurance})"),
            Self::Refused => "refused".to_owned(),
            Self::NoTls => "no TLS".to_owned(),
        }
    }

    /// Judges what was seen. An error where it contradicts itself.
    pub(super) fn of(seen: &Seen, role: Role, way: Way) -> Result<Self, &'static str> {
        if seen.no_tls.is_some() {
            return match seen.grants.is_empty() && seen.closed && seen.heard.is_empty() {
                true => Ok(Self::NoTls),
                false => Err("something was said without TLS"),
            };
        }
        if let Some(assurance) = seen.asked {
            let good = seen.grants.is_empty() && seen.closed;
            return good
                .then_some(Self::Asked(assurance))
                .ok_or("asked, and more");
        }
        if seen.grants.is_empty() {
            return refused(seen, role, way);
        }
        if seen.failed.is_some() {
            return Err("granted and failed");
        }
        match role {
            Role::Receiving => received(seen, way),
            Role::Initiating => dialled(seen, way),
        }
    }
}

fn received(seen: &Seen, way: Way) -> Result<Verdict, &'static str> {
    let grants: Vec<&str> = seen.grants.iter().map(String::as_str).collect();
    if seen.key_checked {
        let grounds = grants == ["in by dialback", "out by inverse of dialback"];
        let tried = seen.sasl_failed.len() == usize::from(way == Way::External);
        // It is not invited to what would fail.
        return match grounds && tried && !seen.external_offered && seen.dialback_offered {
            true => Ok(Verdict::Dialback),
            false => Err("dialback with a contradiction"),
        };
    }
    let Some(Ok(by)) = &seen.certificate else {
        return Err("believed without a reason");
    };
    let first = match (way, by.as_str()) {
        (Way::External, "certificate") => "in by sasl".to_owned(),
        (Way::External | Way::Dialback | Way::Silence, _) => format!("in by {by}"),
    };
    let grounds = grants == [first.as_str(), &format!("out by inverse of {by}")];
    // Whoever is believed for its certificate need not use SASL (XEP-0344).
    match grounds && seen.external_offered && seen.dialback_offered && seen.sasl_failed.is_empty() {
        true => Ok(Verdict::External(by.clone())),
        false => Err("EXTERNAL with a contradiction"),
    }
}

fn dialled(seen: &Seen, way: Way) -> Result<Verdict, &'static str> {
    let [consent, inverse] = seen.grants.as_slice() else {
        return Err("not both directions");
    };
    let by = inverse
        .strip_prefix("in by inverse of ")
        .ok_or("no inverse")?;
    let consents = match way {
        Way::External => consent == "out by sasl" || *consent == format!("out by {by}"),
        Way::Dialback | Way::Silence => consent == "out by dialback",
    };
    let certified = match &seen.certificate {
        Some(Ok(identity)) => identity == by,
        Some(Err(_)) | None => by == "dns",
    };
    match consents && certified {
        true => Ok(Verdict::Believed(by.to_owned())),
        false => Err("believed with a contradiction"),
    }
}

/// Another server of the domain may have the certificate that DNS names (DNS-15); nothing else is worth a second try.
fn cause_of(text: &str) -> Cause {
    match text.starts_with("DNS names other certificates for the peer (TLSA): ") {
        true => Cause::Tls,
        false => Cause::Identity,
    }
}

fn refused(seen: &Seen, role: Role, way: Way) -> Result<Verdict, &'static str> {
    let Some(error) = &seen.failed else {
        return Err("neither granted nor failed");
    };
    if seen.external_offered || seen.dialback_offered || !seen.closed {
        return Err("refused and invited");
    }
    let said = |text: &str| seen.heard.contains(text);
    //= TLS-23
    let as_it_should = match (role, way) {
        // Nothing of ours was said to it, no proof above all.
        (Role::Initiating, _) => {
            error.condition == StreamCondition::NotAuthorized
                && error.cause == cause_of(&error.text)
                && seen.heard.ends_with("</stream:stream>")
                && !said("<auth")
                && !said("<db:result")
                && !said("<db:verify")
        }
        //= SASL-25
        (Role::Receiving, Way::External) => {
            error.condition == StreamCondition::PolicyViolation
                && error.text
                    == "SASL EXTERNAL failed, and the policy for this peer forbids dialback"
                && seen.sasl_failed.len() == 1
                && said("<not-authorized")
                && said("<policy-violation")
        }
        (Role::Receiving, Way::Dialback) => {
            let strict = "; the policy for this domain does not accept dialback";
            matches!(&seen.denied[..], [why] if why.ends_with(strict))
                && said("type='error'")
                && !said("type='valid'")
        }
        (Role::Receiving, Way::Silence) => {
            error.condition == StreamCondition::PolicyViolation
                && error.cause == Cause::Identity
                && error.text
                    == "the peer's certificate does not prove its domain, and the policy for it accepts nothing weaker"
                && said("<policy-violation")
        }
    };
    match as_it_should {
        true => Ok(Verdict::Refused),
        false => Err("refused in an odd way"),
    }
}
