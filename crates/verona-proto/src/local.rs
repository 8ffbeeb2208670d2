//! What our domains answer themselves, where no component does (conformance §14).
//!
//! Every hosted domain answers the same few questions, so that an operator and a peer can see that it lives, and an
//! error looks the same whether or not there is somebody behind an address (RFC 6120 §13.11).

use std::collections::BTreeMap;

use verona_xml::{Element, Tag, end};

use crate::addr::{Hosts, LocalDomain};
use crate::ns;
use crate::stanza::{
    Admitted, Reason, Stanza, StanzaClass, StanzaKind, Undelivered, bounce, reply,
};

/// The answers that do not depend on who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalServices {
    /// The name of the software, and of the service in its identity (LOCAL-03, LOCAL-08).
    pub name: String,
    /// The version of the software; hidden when absent (LOCAL-08).
    pub version: Option<String>,
    /// Where people are reached, as URIs (XEP-0157, LOCAL-09).
    pub contacts: BTreeMap<Contact, Vec<String>>,
}

impl LocalServices {
    /// The answer to a stanza for `domain`, which no component took; `None` when there is nothing to say.
    #[must_use]
    pub fn answer(
        &self,
        hosts: &Hosts,
        stanza: &Stanza,
        domain: &LocalDomain,
        component: ComponentState,
    ) -> Option<Admitted> {
        let question = match stanza.class() {
            //= LOCAL-15
            //= ROUTE-14
            StanzaClass::Answer | StanzaClass::Error => return None,
            StanzaClass::Request => match self.question(stanza) {
                Ok(question) => Some(question),
                //= ROUTE-17
                Err(text) => return refuse(hosts, stanza, Reason::BadRequest, text),
            },
            //= ROUTE-17
            StanzaClass::Other if stanza.kind() == StanzaKind::Iq => {
                let text = "an <iq/> is of type get, set, result or error";
                return refuse(hosts, stanza, Reason::BadRequest, text);
            }
            StanzaClass::Other => None,
        };
        let whom = Whom::of(stanza);
        let payload = match (whom, question, component) {
            (Whom::Domain, Some(Question::Ping), _) => String::new(),
            (Whom::Domain, Some(Question::Version), _) => self.version(),
            (Whom::Domain, Some(Question::Info), _) => self.info(component),
            (Whom::Domain, Some(Question::Items), _) => items(hosts, domain),
            //= LOCAL-05
            (Whom::Domain, Some(Question::UnknownNode), _) => {
                return refuse(hosts, stanza, Reason::NoNode, "");
            }
            //= LOCAL-06
            (Whom::Account, Some(Question::Items), ComponentState::None) => {
                query(ns::DISCO_ITEMS, |_| {})
            }
            //= ROUTE-19
            //= COMP-23
            (_, _, ComponentState::Absent) => {
                return refuse(hosts, stanza, Reason::ComponentAway, "");
            }
            //= LOCAL-02
            //= ROUTE-20
            //= ROUTE-21
            (_, Some(_), ComponentState::None) => return unavailable(hosts, stanza),
            (_, None, ComponentState::None) => return unasked(hosts, stanza),
        };
        reply(hosts, stanza, "result", &payload)
    }

    /// What a request asks for, or what is wrong with it.
    fn question(&self, stanza: &Stanza) -> Result<Question, &'static str> {
        let Ok(iq) = stanza.element() else {
            return Err("the <iq/> cannot be read");
        };
        if iq.attribute("id").is_none_or(str::is_empty) {
            return Err("an <iq/> has an 'id'");
        }
        let mut children = iq.children();
        let (Some(child), None) = (children.next(), children.next()) else {
            return Err("a request has exactly one child");
        };
        if iq.attribute("type") != Some("get") {
            return Ok(Question::Other);
        }
        Ok(Question::of(child))
    }

    fn version(&self) -> String {
        //= LOCAL-08
        query(ns::VERSION, |out| {
            Tag::new(out, "name").text(&self.name);
            Tag::new(out, "version").text(self.version.as_deref().unwrap_or_default());
        })
    }

    fn info(&self, component: ComponentState) -> String {
        //= LOCAL-03
        let (category, kind) = match component {
            ComponentState::None => ("server", "im"),
            ComponentState::Absent => ("component", "generic"),
        };
        query(ns::DISCO_INFO, |out| {
            Tag::new(out, "identity")
                .attribute("category", category)
                .attribute("type", kind)
                .attribute("name", &self.name)
                .empty();
            //= LOCAL-07
            for feature in FEATURES {
                Tag::new(out, "feature").attribute("var", feature).empty();
            }
            self.write_contacts(out);
        })
    }

    fn write_contacts(&self, out: &mut String) {
        //= LOCAL-09
        if self.contacts.values().all(Vec::is_empty) {
            return;
        }
        Tag::new(out, "x")
            .attribute("xmlns", DATA_FORMS)
            .attribute("type", "result")
            .open();
        Tag::new(out, "field")
            .attribute("var", "FORM_TYPE")
            .attribute("type", "hidden")
            .open();
        Tag::new(out, "value").text(SERVER_INFO);
        end(out, "field");
        for (contact, addresses) in self.contacts.iter().filter(|(_, it)| !it.is_empty()) {
            Tag::new(out, "field")
                .attribute("var", contact.field())
                .attribute("type", "list-multi")
                .open();
            for address in addresses {
                Tag::new(out, "value").text(address);
            }
            end(out, "field");
        }
        end(out, "x");
    }
}

/// Whether a component should have taken the stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentState {
    /// The domain has no component.
    None,
    /// It has one, which is not connected.
    Absent,
}

/// Whom an address is for (XEP-0157 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contact {
    /// Reports of abuse.
    Abuse,
    /// The operators.
    Admin,
    /// Feedback.
    Feedback,
    /// Sales.
    Sales,
    /// Reports of security problems.
    Security,
    /// Announcements about the state of the service.
    Status,
    /// Support.
    Support,
}

impl Contact {
    /// The name of the form's field.
    fn field(self) -> &'static str {
        match self {
            Self::Abuse => "abuse-addresses",
            Self::Admin => "admin-addresses",
            Self::Feedback => "feedback-addresses",
            Self::Sales => "sales-addresses",
            Self::Security => "security-addresses",
            Self::Status => "status-addresses",
            Self::Support => "support-addresses",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Ping,
    Version,
    Info,
    Items,
    /// Either disco question about a node: we have none.
    UnknownNode,
    /// Nothing that is answered here.
    Other,
}

impl Question {
    fn of(child: &Element) -> Self {
        let node = child.attribute("node").is_some_and(|node| !node.is_empty());
        match (child.namespace(), child.name()) {
            // `<query xmlns='urn:xmpp:ping'/>` stands in the examples of XEP-0288: the namespace decides.
            //= LOCAL-01
            (ns::PING, _) => Self::Ping,
            (ns::VERSION, "query") => Self::Version,
            (ns::DISCO_INFO | ns::DISCO_ITEMS, "query") if node => Self::UnknownNode,
            (ns::DISCO_INFO, "query") => Self::Info,
            (ns::DISCO_ITEMS, "query") => Self::Items,
            (_, _) => Self::Other,
        }
    }
}

/// Which part of an address there is behind the domain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// The domain itself.
    Domain,
    /// A resource of the domain: there is none.
    Resource,
    /// Somebody at the domain: there are no accounts.
    Account,
}

impl Whom {
    fn of(stanza: &Stanza) -> Self {
        let recipient = stanza.recipient();
        match (recipient.local(), recipient.resource()) {
            (Some(_), _) => Self::Account,
            (None, Some(_)) => Self::Resource,
            (None, None) => Self::Domain,
        }
    }
}

/// A message or a presence that nobody here awaits.
fn unasked(hosts: &Hosts, stanza: &Stanza) -> Option<Admitted> {
    match stanza.kind() {
        //= ROUTE-20
        //= LOCAL-13
        StanzaKind::Message if stanza.type_attribute().as_deref() == Some("headline") => None,
        StanzaKind::Message => unavailable(hosts, stanza),
        //= LOCAL-14
        StanzaKind::Presence => None,
        // Answered before: it is a request or it is bad.
        StanzaKind::Iq => None,
    }
}

/// The same words for all, known or not.
fn unavailable(hosts: &Hosts, stanza: &Stanza) -> Option<Admitted> {
    refuse(hosts, stanza, Reason::NotProvided, "")
}

fn refuse(hosts: &Hosts, stanza: &Stanza, reason: Reason, detail: &str) -> Option<Admitted> {
    bounce(
        hosts,
        stanza,
        &Undelivered::new(reason, stanza.to(), detail),
    )
}

/// Our domains below `domain`.
fn items(hosts: &Hosts, domain: &LocalDomain) -> String {
    //= LOCAL-04
    let parent = domain.domain().ascii();
    query(ns::DISCO_ITEMS, |out| {
        for item in hosts.iter() {
            let labels = item.ascii().strip_suffix(parent);
            if labels.is_some_and(|labels| labels.ends_with('.')) {
                Tag::new(out, "item")
                    .attribute("jid", item.as_str())
                    .empty();
            }
        }
    })
}

fn query(namespace: &str, content: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    Tag::new(&mut out, "query")
        .attribute("xmlns", namespace)
        .open();
    content(&mut out);
    end(&mut out, "query");
    out
}

/// What a domain of ours understands (LOCAL-07).
const FEATURES: &[&str] = &[ns::DISCO_INFO, ns::DISCO_ITEMS, ns::VERSION, ns::PING];
/// Data forms (XEP-0004).
const DATA_FORMS: &str = "jabber:x:data";
/// The form of contact addresses (XEP-0157 §3).
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use super::*;
    use crate::addr::Domain;
    use crate::stanza::Destination;
    use crate::stanza::fixtures::first_level;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn hosts() -> Hosts {
        Hosts::new(["montague.lit", "rooms.montague.lit", "notmontague.lit"].map(domain))
    }

    fn services() -> LocalServices {
        LocalServices {
            name: "verona".to_owned(),
            version: Some("0.1 <beta>".to_owned()),
            contacts: BTreeMap::new(),
        }
    }

    fn ask_of(services: &LocalServices, text: &str, component: ComponentState) -> Option<Stanza> {
        let (bytes, head, scope) = first_level(text);
        let stanza = Stanza::read(&bytes, &head, &scope, None).unwrap();
        let local = hosts().local(stanza.to()).unwrap();
        let answer = services.answer(&hosts(), &stanza, &local, component)?;
        match answer.destination() {
            //= LOCAL-17
            Destination::Remote(pair) => {
                assert_eq!(pair.local(), &local);
                assert_eq!(pair.remote().domain(), stanza.from());
            }
            Destination::Local(to) => assert_eq!(to.domain(), stanza.from()),
        }
        assert_eq!(answer.stanza().sender(), stanza.recipient());
        assert_eq!(answer.stanza().recipient(), stanza.sender());
        assert_eq!(answer.stanza().kind(), stanza.kind());
        assert_eq!(
            answer.stanza().id(),
            stanza.id().or(match stanza.kind() {
                StanzaKind::Iq => Some(String::new()),
                StanzaKind::Message | StanzaKind::Presence => None,
            })
        );
        Some(answer.into_parts().1)
    }

    fn ask(text: &str) -> Option<Stanza> {
        ask_of(&services(), text, ComponentState::None)
    }

    fn text(stanza: &Stanza) -> &str {
        std::str::from_utf8(stanza.bytes()).unwrap()
    }

    /// The condition and the type of an error.
    fn error(stanza: Option<Stanza>) -> (String, String) {
        let root = stanza.unwrap().element().unwrap();
        assert_eq!(root.attribute("type"), Some("error"));
        let error = root.child("error", "").unwrap();
        let condition = error.children().next().unwrap();
        assert_eq!(condition.namespace(), ns::STANZA_ERRORS);
        (
            condition.name().to_owned(),
            error.attribute("type").unwrap().to_owned(),
        )
    }

    fn get(to: &str, payload: &str) -> String {
        format!(
            "<iq type='get' id='8dfc70af' from='juliet@capulet.lit/balcony' to='{to}'>{payload}</iq>"
        )
    }

    #[test]
    fn a_ping_is_answered_in_both_spellings() {
        //= LOCAL-01
        for payload in [
            "<ping xmlns='urn:xmpp:ping'/>",
            "<query xmlns='urn:xmpp:ping'/>",
        ] {
            for component in [ComponentState::None, ComponentState::Absent] {
                let answer = ask_of(&services(), &get("montague.lit", payload), component).unwrap();
                assert_eq!(
                    text(&answer),
                    "<iq from='montague.lit' to='juliet@capulet.lit/balcony' id='8dfc70af' type='result'/>"
                );
            }
        }
    }

    #[test]
    fn the_version_can_be_hidden() {
        //= LOCAL-08
        let question = get("montague.lit", "<query xmlns='jabber:iq:version'/>");
        let answer = ask(&question).unwrap();
        assert!(text(&answer).ends_with(
            "type='result'><query xmlns='jabber:iq:version'><name>verona</name>\
             <version>0.1 &lt;beta&gt;</version></query></iq>"
        ));
        let hidden = LocalServices {
            version: None,
            ..services()
        };
        let answer = ask_of(&hidden, &question, ComponentState::None).unwrap();
        assert!(text(&answer).ends_with("<name>verona</name><version></version></query></iq>"));
    }

    #[test]
    fn everything_that_is_answered_is_advertised() {
        //= LOCAL-03
        //= LOCAL-07
        let question = get(
            "montague.lit",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        );
        let root = ask(&question).unwrap().element().unwrap();
        let info = root.child("query", ns::DISCO_INFO).unwrap();
        let identity = info.child("identity", ns::DISCO_INFO).unwrap();
        assert_eq!(identity.attribute("category"), Some("server"));
        assert_eq!(identity.attribute("type"), Some("im"));
        assert_eq!(identity.attribute("name"), Some("verona"));
        let features: Vec<_> = info
            .children()
            .filter_map(|child| child.attribute("var"))
            .collect();
        assert!(features.contains(&ns::DISCO_INFO));
        for feature in features {
            let answer = ask(&get("montague.lit", &format!("<query xmlns='{feature}'/>"))).unwrap();
            assert_eq!(answer.class(), StanzaClass::Answer, "{feature}");
        }
        assert!(info.child("x", DATA_FORMS).is_none());

        let absent = ask_of(&services(), &question, ComponentState::Absent).unwrap();
        assert!(
            text(&absent).contains("<identity category='component' type='generic' name='verona'/>")
        );
    }

    #[test]
    fn contacts_are_published_as_a_form() {
        //= LOCAL-09
        let addresses =
            ["mailto:abuse@montague.lit", "xmpp:a@montague.lit?x;y&z"].map(str::to_owned);
        let services = LocalServices {
            contacts: [
                (Contact::Abuse, addresses.to_vec()),
                (Contact::Sales, vec![]),
            ]
            .into(),
            ..services()
        };
        let question = get(
            "montague.lit",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        );
        let root = ask_of(&services, &question, ComponentState::None)
            .unwrap()
            .element()
            .unwrap();
        let form = root
            .child("query", ns::DISCO_INFO)
            .unwrap()
            .child("x", DATA_FORMS)
            .unwrap();
        assert_eq!(form.attribute("type"), Some("result"));
        let fields: Vec<(Option<&str>, Vec<String>)> = form
            .children()
            .map(|field| {
                (
                    field.attribute("var"),
                    field.children().map(Element::text).collect(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                (Some("FORM_TYPE"), vec![SERVER_INFO.to_owned()]),
                (Some("abuse-addresses"), addresses.to_vec()),
            ]
        );
    }

    #[test]
    fn the_items_of_a_domain_are_our_domains_below_it() {
        //= LOCAL-04
        let payload = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
        let answer = ask(&get("montague.lit", payload)).unwrap();
        assert!(text(&answer).ends_with(
            "<query xmlns='http://jabber.org/protocol/disco#items'><item jid='rooms.montague.lit'/></query></iq>"
        ));
        let answer = ask(&get("rooms.montague.lit", payload)).unwrap();
        assert!(
            text(&answer)
                .ends_with("<query xmlns='http://jabber.org/protocol/disco#items'></query></iq>")
        );
    }

    #[test]
    fn there_are_no_nodes() {
        //= LOCAL-05
        for namespace in [ns::DISCO_INFO, ns::DISCO_ITEMS] {
            let answer = ask(&get(
                "montague.lit",
                &format!("<query xmlns='{namespace}' node='x'/>"),
            ));
            assert_eq!(error(answer), ("item-not-found".into(), "cancel".into()));
        }
    }

    #[test]
    fn whoever_is_asked_for_at_a_domain_is_not_given_away() {
        //= LOCAL-06
        //= ROUTE-20
        for to in ["romeo@montague.lit", "romeo@montague.lit/x"] {
            let answer = ask(&get(
                to,
                "<query xmlns='http://jabber.org/protocol/disco#items'/>",
            ))
            .unwrap();
            assert!(
                text(&answer).ends_with(
                    "<query xmlns='http://jabber.org/protocol/disco#items'></query></iq>"
                )
            );
            let mut errors = Vec::new();
            for payload in [
                "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                "<ping xmlns='urn:xmpp:ping'/>",
                "<query xmlns='jabber:iq:version'/>",
                "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>",
                "<vCard xmlns='vcard-temp'/>",
            ] {
                let answer = ask(&get(to, payload)).unwrap();
                errors.push(text(&answer).to_owned());
                assert_eq!(
                    error(Some(answer)),
                    ("service-unavailable".into(), "cancel".into())
                );
            }
            errors.dedup();
            assert_eq!(errors.len(), 1, "all errors are the same to the letter");
        }
    }

    #[test]
    fn an_unknown_request_is_refused() {
        //= LOCAL-02
        //= ROUTE-21
        for question in [
            get("montague.lit", "<x xmlns='urn:x'/>"),
            get("montague.lit", "<query/>"),
            get("montague.lit/resource", "<ping xmlns='urn:xmpp:ping'/>"),
            get("montague.lit", "<ping xmlns='urn:xmpp:ping'/>").replace("'get'", "'set'"),
        ] {
            assert_eq!(
                error(ask(&question)),
                ("service-unavailable".into(), "cancel".into()),
                "{question}"
            );
        }
    }

    #[test]
    fn a_bad_request_is_told_so() {
        //= ROUTE-17
        for question in [
            get("montague.lit", ""),
            get("montague.lit", "text"),
            get("montague.lit", "<a xmlns='urn:x'/><b xmlns='urn:x'/>"),
            get("montague.lit", "<ping xmlns='urn:xmpp:ping'/>").replace(" id='8dfc70af'", ""),
            get("montague.lit", "<ping xmlns='urn:xmpp:ping'/>").replace("'get'", "'subscribe'"),
            get("montague.lit", "<ping xmlns='urn:xmpp:ping'/>").replace(" type='get'", ""),
            get("romeo@montague.lit", ""),
        ] {
            assert_eq!(
                error(ask(&question)),
                ("bad-request".into(), "modify".into()),
                "{question}"
            );
        }
    }

    #[test]
    fn messages_to_nobody_come_back_and_presence_does_not() {
        //= ROUTE-20
        //= LOCAL-13
        //= LOCAL-14
        for to in [
            "montague.lit",
            "montague.lit/x",
            "romeo@montague.lit",
            "romeo@montague.lit/x",
        ] {
            let addresses = format!("from='juliet@capulet.lit' to='{to}' id='1'");
            for kind in ["", "type='chat'", "type='normal'", "type='groupchat'"] {
                assert_eq!(
                    error(ask(&format!(
                        "<message {kind} {addresses}><body>x</body></message>"
                    ))),
                    ("service-unavailable".into(), "cancel".into())
                );
            }
            for silent in [
                "message type='headline'",
                "message type='error'",
                "presence",
                "presence type='unavailable'",
                "presence type='probe'",
                "presence type='subscribe'",
                "presence type='error'",
                "iq type='result'",
                "iq type='error'",
            ] {
                assert_eq!(ask(&format!("<{silent} {addresses}/>")), None, "{silent}");
            }
        }
    }

    #[test]
    fn a_component_that_is_down_is_excused() {
        //= ROUTE-19
        //= COMP-23
        let addresses = "from='juliet@capulet.lit' to='room@rooms.montague.lit/nick' id='1'";
        for stanza in [
            format!("<message type='groupchat' {addresses}/>"),
            format!("<presence {addresses}/>"),
            format!("<iq type='get' {addresses}><ping xmlns='urn:xmpp:ping'/></iq>"),
            format!(
                "<iq type='get' {addresses}><query xmlns='http://jabber.org/protocol/disco#items'/></iq>"
            ),
            get("rooms.montague.lit", "<x xmlns='urn:x'/>"),
        ] {
            assert_eq!(
                error(ask_of(&services(), &stanza, ComponentState::Absent)),
                ("service-unavailable".into(), "wait".into()),
                "{stanza}"
            );
        }
        let answer = format!("<iq type='result' {addresses}/>");
        assert_eq!(ask_of(&services(), &answer, ComponentState::Absent), None);
    }

    #[test]
    fn a_component_of_ours_gets_its_answer_at_home() {
        let question = "<iq type='get' id='1' from='rooms.montague.lit' to='montague.lit'><ping xmlns='urn:xmpp:ping'/></iq>";
        let answer = ask(question).unwrap();
        assert_eq!(answer.to().as_str(), "rooms.montague.lit");
        assert_eq!(answer.class(), StanzaClass::Answer);
    }
}
