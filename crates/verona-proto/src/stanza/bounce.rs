//! Error replies: how one is made, and what never gets one.
//!
//! Two servers that answer each other's errors never stop, so the decision stands in one place (RFC 6120 §8.3.1).

use super::condition::stanza_error;
use super::{Admitted, Destination, Stanza, StanzaClass, StanzaKind, Undelivered};
use crate::addr::{Direction, Hosts};

/// The error for the sender of `stanza`, wherever the sender is; `None` when it must not get one (ROUTE-14), or when
/// the error would have to go between two domains that are not ours.
#[must_use]
pub fn bounce(hosts: &Hosts, stanza: &Stanza, why: &Undelivered) -> Option<Admitted> {
    let mut error = String::new();
    let (reason, text) = (why.reason(), Some(why.text()));
    stanza_error(&mut error, reason.condition(), reason.error_type(), text);
    reply(hosts, stanza, "error", &error)
}

/// A stanza that starts here, such as our own ping; `None` unless its sender's domain is ours.
#[must_use]
pub fn originate(hosts: &Hosts, stanza: Stanza) -> Option<Admitted> {
    //= ROUTE-25
    let destination = match (hosts.local(stanza.from())?, hosts.local(stanza.to())) {
        (_, Some(local)) => Destination::Local(local),
        (_, None) => Destination::Remote(
            hosts
                .pair(Direction::Outbound, stanza.from(), stanza.to())
                .ok()?,
        ),
    };
    Some(Admitted::new(destination, stanza))
}

/// A stanza that was admitted before the process ended, from the copy that was kept of it; `None` if neither its
/// recipient's domain nor its sender's is ours any more.
#[must_use]
pub fn readmit(hosts: &Hosts, stanza: Stanza) -> Option<Admitted> {
    match hosts.local(stanza.to()) {
        Some(local) => Some(Admitted::new(Destination::Local(local), stanza)),
        None => originate(hosts, stanza),
    }
}

/// An answer to `stanza` with the given 'type' and content, or `None` if it must not be answered.
pub(crate) fn reply(
    hosts: &Hosts,
    stanza: &Stanza,
    type_attribute: &str,
    payload: &str,
) -> Option<Admitted> {
    match stanza.class() {
        //= ROUTE-14
        StanzaClass::Error | StanzaClass::Answer => return None,
        StanzaClass::Request | StanzaClass::Other => {}
    }
    let attributes = stanza.attributes();
    let id = match (attributes.id, stanza.kind()) {
        //= ROUTE-17
        (None, StanzaKind::Iq) => Some(String::new()),
        (id, StanzaKind::Iq | StanzaKind::Message | StanzaKind::Presence) => id,
    };
    //= ROUTE-15
    //= ROUTE-16
    //= COMP-20
    //= ROUTE-29
    let reply = Stanza::build(
        stanza.kind(),
        &attributes.recipient,
        &attributes.sender,
        Some(type_attribute),
        id.as_deref(),
        payload,
    );
    // Until the sender has been told, the stanza has not been dealt with.
    let reply = match stanza.safekeeping() {
        Some(safekeeping) => reply.in_safekeeping(safekeeping.clone()),
        None => reply,
    };
    //= LOCAL-17
    //= BIDI-79
    // A domain that was ours until a moment ago still answers, and hears what became of what it sent.
    let destination = match hosts.answering(reply.to()) {
        Some(local) => Destination::Local(local),
        None => Destination::Remote(hosts.answering_pair(reply.from(), reply.to())?),
    };
    Some(Admitted::new(destination, reply))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use super::*;
    use crate::addr::Domain;
    use crate::ns;
    use crate::stanza::Reason;
    use crate::stanza::fixtures::first_level;

    fn why(reason: Reason) -> Undelivered {
        Undelivered::new(reason, "capulet.lit", "")
    }

    fn hosts() -> Hosts {
        Hosts::new(["montague.lit", "rooms.montague.lit"].map(|name| Domain::parse(name).unwrap()))
    }

    fn stanza(text: &str) -> Stanza {
        let (bytes, head, scope) = first_level(text);
        Stanza::read(&bytes, &head, &scope, None).unwrap()
    }

    #[test]
    fn an_error_has_kind_and_id_of_the_stanza_and_its_addresses_swapped() {
        //= ROUTE-15
        //= ERR-11
        for (kind, type_attribute) in [
            ("message", "chat"),
            ("presence", "subscribe"),
            ("iq", "set"),
        ] {
            let refused = stanza(&format!(
                "<{kind} from='juliet@capulet.lit/balcony' to='romeo@montague.lit/x' id='a&lt;7' type='{type_attribute}'>\
                 <body>secret</body></{kind}>"
            ));
            let why = Undelivered::new(Reason::Forbidden, "a & b", "");
            let error = bounce(&hosts(), &refused, &why).unwrap();
            let Destination::Remote(pair) = error.destination() else {
                panic!("{error:?}");
            };
            assert_eq!(pair.to_string(), "montague.lit~capulet.lit");
            let error = error.stanza();
            assert_eq!(error.kind(), refused.kind());
            assert_eq!(error.class(), StanzaClass::Error);
            assert_eq!(error.sender(), refused.recipient());
            assert_eq!(error.recipient(), refused.sender());
            assert_eq!(error.id().as_deref(), Some("a<7"));
            assert_eq!(error.type_attribute().as_deref(), Some("error"));
            let root = error.element().unwrap();
            let children: Vec<_> = root.children().collect();
            assert_eq!(children.len(), 1, "no payload");
            assert!(children[0].is("error", ""));
            assert_eq!(children[0].attribute("type"), Some("cancel"));
            assert!(
                children[0]
                    .child("not-allowed", ns::STANZA_ERRORS)
                    .is_some()
            );
            let text = children[0].child("text", ns::STANZA_ERRORS).unwrap();
            assert_eq!(text.lang(), Some("en"));
            assert_eq!(
                text.text(),
                "the configuration forbids federation with a & b"
            );
        }
    }

    #[test]
    fn errors_and_results_are_never_answered() {
        //= ROUTE-14
        for text in [
            "<message type='error' from='a@capulet.lit' to='montague.lit'/>",
            "<presence type='error' from='a@capulet.lit' to='montague.lit'/>",
            "<iq type='error' id='1' from='a@capulet.lit' to='montague.lit'/>",
            "<iq type='result' id='1' from='a@capulet.lit' to='montague.lit'/>",
        ] {
            assert_eq!(
                bounce(&hosts(), &stanza(text), &why(Reason::DomainRemoved)),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn presence_is_bounced() {
        //= ROUTE-14
        for type_attribute in ["", "type='unavailable'", "type='probe'"] {
            let refused = stanza(&format!(
                "<presence from='room@rooms.montague.lit/nick' to='a@capulet.lit' {type_attribute}/>"
            ));
            assert!(bounce(&hosts(), &refused, &why(Reason::NoServer)).is_some());
        }
    }

    #[test]
    fn a_component_gets_its_error_at_home_and_from_whom_it_could_not_reach() {
        //= ROUTE-16
        //= COMP-20
        let refused =
            stanza("<message from='room@rooms.montague.lit' to='a@capulet.lit/b' id='1'/>");
        let error = bounce(&hosts(), &refused, &why(Reason::Expired)).unwrap();
        let Destination::Local(domain) = error.destination() else {
            panic!("{error:?}");
        };
        assert_eq!(domain.to_string(), "rooms.montague.lit");
        assert_eq!(error.stanza().sender().to_string(), "a@capulet.lit/b");
    }

    #[test]
    fn no_error_goes_between_two_domains_of_others() {
        //= ROUTE-08
        let refused = stanza("<message from='a@capulet.lit' to='b@verona.lit'/>");
        assert_eq!(
            bounce(&hosts(), &refused, &why(Reason::DomainRemoved)),
            None
        );
    }

    #[test]
    fn an_iq_without_id_is_answered_with_an_empty_one() {
        //= ROUTE-17
        let refused = stanza("<iq type='get' from='a@capulet.lit' to='montague.lit'/>");
        let error = bounce(&hosts(), &refused, &why(Reason::BadRequest)).unwrap();
        assert_eq!(error.stanza().id().as_deref(), Some(""));
        let refused = stanza("<message from='a@capulet.lit' to='montague.lit'/>");
        let error = bounce(&hosts(), &refused, &why(Reason::BadRequest)).unwrap();
        assert_eq!(error.stanza().id(), None);
    }

    #[test]
    fn what_was_admitted_is_admitted_again_while_one_end_is_ours() {
        let far = stanza("<message from='a@montague.lit' to='b@capulet.lit'/>");
        assert!(matches!(
            readmit(&hosts(), far).unwrap().destination(),
            Destination::Remote(pair) if pair.to_string() == "montague.lit~capulet.lit"
        ));
        let near = stanza("<message from='b@capulet.lit' to='a@montague.lit'/>");
        assert!(matches!(
            readmit(&hosts(), near).unwrap().destination(),
            Destination::Local(domain) if domain.to_string() == "montague.lit"
        ));
        let gone = stanza("<message from='a@verona.lit' to='b@capulet.lit'/>");
        assert_eq!(readmit(&hosts(), gone), None);
    }

    #[test]
    fn only_a_domain_of_ours_originates() {
        let ours = stanza("<iq type='get' id='1' from='montague.lit' to='capulet.lit'/>");
        assert!(matches!(
            originate(&hosts(), ours).unwrap().destination(),
            Destination::Remote(_)
        ));
        let home = stanza("<iq type='get' id='1' from='montague.lit' to='rooms.montague.lit'/>");
        assert!(matches!(
            originate(&hosts(), home).unwrap().destination(),
            Destination::Local(_)
        ));
        let theirs = stanza("<iq type='get' id='1' from='capulet.lit' to='montague.lit'/>");
        assert_eq!(originate(&hosts(), theirs), None);
    }
}
