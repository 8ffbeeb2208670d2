//! A component's link, told what happens and asked what it says.
//!
//! Each test is a short dialogue: the bytes in, then the bytes and the outputs out, compared whole.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may panic, and needs some instant to begin with"
)]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::stanza::StanzaCondition;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
     xmlns:stream='http://etherx.jabber.org/streams' to='rooms.capulet.lit' xml:lang='de'>";
/// For the id 3BF96D32 and the secret `secret`.
const HANDSHAKE: &str = "<handshake>b09ea9b3b7f586be8a08d0a3dd7466f110aeb136</handshake>";
const OUR_HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
     xmlns:stream='http://etherx.jabber.org/streams' from='rooms.capulet.lit' id='3BF96D32'>";
const ANONYMOUS_HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
     xmlns:stream='http://etherx.jabber.org/streams' id='3BF96D32'>";

fn hosts() -> Hosts {
    let names = ["capulet.lit", "rooms.capulet.lit", "files.capulet.lit"];
    Hosts::new(names.map(|name| Domain::parse(name).unwrap()))
}

fn rooms() -> LocalDomain {
    hosts()
        .local(&Domain::parse("rooms.capulet.lit").unwrap())
        .unwrap()
}

/// A link and the time it is there.
struct Dialogue {
    link: ComponentLink,
    now: Instant,
    reached: LimitCounts,
}

impl Dialogue {
    fn new() -> Self {
        let domains = ComponentDomains::new([(rooms(), "secret".to_owned())]);
        let now = Instant::now();
        let link = ComponentLink::new(
            domains,
            Arc::new(hosts()),
            Limits::default(),
            "3BF96D32".to_owned(),
            now,
        );
        let reached = LimitCounts::default();
        let link = link.counting(reached.clone());
        Self { link, now, reached }
    }

    fn open() -> Self {
        let mut dialogue = Self::new();
        dialogue.says(HEADER);
        dialogue.says(HANDSHAKE);
        dialogue.tell(ComponentInput::Accepted);
        dialogue
    }

    fn says(&mut self, text: &str) -> (String, Vec<ComponentOutput>) {
        self.tell(ComponentInput::Bytes(text.as_bytes()))
    }

    fn tell(&mut self, input: ComponentInput<'_>) -> (String, Vec<ComponentOutput>) {
        self.link.handle(input, self.now);
        let outputs = std::iter::from_fn(|| self.link.poll()).collect();
        let bytes = self.link.transmit().split();
        (String::from_utf8(bytes.to_vec()).unwrap(), outputs)
    }
}

fn stream_error_of(condition: &str, text: &str) -> String {
    format!(
        "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>{text}</text>\
         </stream:error></stream:stream>"
    )
}

fn refused(
    condition: StreamCondition,
    domain: Option<LocalDomain>,
    text: &str,
) -> Vec<ComponentOutput> {
    vec![
        ComponentOutput::Event(ComponentEvent::Refused {
            domain,
            condition,
            text: text.to_owned(),
        }),
        ComponentOutput::Close,
    ]
}

fn closed(end: LinkEnd) -> Vec<ComponentOutput> {
    vec![
        ComponentOutput::Event(ComponentEvent::Closed {
            domain: Some(rooms()),
            end,
        }),
        ComponentOutput::Close,
    ]
}

/// The destination and the text of the stanzas among the outputs.
fn deliveries(outputs: &[ComponentOutput]) -> Vec<(String, String)> {
    let delivered = outputs.iter().filter_map(|output| match output {
        ComponentOutput::Deliver(admitted) => Some(admitted),
        ComponentOutput::Claim(_) | ComponentOutput::Event(_) | ComponentOutput::Close => None,
    });
    delivered
        .map(|admitted| {
            let destination = match admitted.destination() {
                Destination::Local(domain) => domain.to_string(),
                Destination::Remote(pair) => pair.to_string(),
            };
            let text = String::from_utf8(admitted.stanza().bytes().to_vec()).unwrap();
            (destination, text)
        })
        .collect()
}

#[test]
fn a_component_is_greeted_claims_its_domain_and_is_let_in() {
    //= COMP-01
    //= COMP-04
    //= COMP-05
    //= COMP-07
    let mut dialogue = Dialogue::new();
    assert_eq!(dialogue.says(HEADER), (OUR_HEADER.to_owned(), vec![]));
    let claim = ComponentOutput::Claim(rooms());
    assert_eq!(dialogue.says(HANDSHAKE), (String::new(), vec![claim]));
    let attached = ComponentOutput::Event(ComponentEvent::Attached { domain: rooms() });
    assert_eq!(
        dialogue.tell(ComponentInput::Accepted),
        ("<handshake/>".to_owned(), vec![attached])
    );
    assert_eq!(dialogue.link.deadline(), None);
}

#[test]
fn it_is_the_same_byte_by_byte() {
    let mut dialogue = Dialogue::new();
    let mut claims = 0;
    for byte in format!("{HEADER}\n{HANDSHAKE}").bytes() {
        let (_, outputs) = dialogue.tell(ComponentInput::Bytes(&[byte]));
        claims += outputs.len();
    }
    assert_eq!(claims, 1);
    let (out, _) = dialogue.tell(ComponentInput::Accepted);
    assert_eq!(out, "<handshake/>");
}

#[test]
fn a_header_that_asks_for_something_else_is_answered_in_full() {
    //= COMP-02
    //= COMP-03
    let good = "xmlns:stream='http://etherx.jabber.org/streams'";
    for (header, condition, text) in [
        (
            format!("<stream:stream xmlns='jabber:component:accept' {good} to='nobody.lit'>"),
            StreamCondition::HostUnknown,
            "no component has this domain",
        ),
        (
            // Ours, but no component's.
            format!("<stream:stream xmlns='jabber:component:accept' {good} to='capulet.lit'>"),
            StreamCondition::HostUnknown,
            "no component has this domain",
        ),
        (
            format!("<stream:stream xmlns='jabber:component:accept' {good}>"),
            StreamCondition::HostUnknown,
            "no component is named",
        ),
        (
            format!("<stream:stream xmlns='jabber:component:accept' {good} to='a@rooms.capulet.lit'>"),
            StreamCondition::ImproperAddressing,
            "&apos;to&apos; is no domain",
        ),
        (
            format!("<stream:stream xmlns='jabber:client' {good} to='rooms.capulet.lit'>"),
            StreamCondition::InvalidNamespace,
            "this is a stream of jabber:component:accept",
        ),
        (
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='urn:x' to='rooms.capulet.lit'>".to_owned(),
            StreamCondition::InvalidNamespace,
            "this is a stream of jabber:component:accept",
        ),
        (
            format!("<stream:other xmlns='jabber:component:accept' {good} to='rooms.capulet.lit'>"),
            StreamCondition::BadFormat,
            "the root is no stream",
        ),
    ] {
        let (out, outputs) = Dialogue::new().says(&header);
        assert_eq!(
            out,
            format!("{ANONYMOUS_HEADER}{}", stream_error_of(condition.name(), text)),
            "{header}"
        );
        assert_eq!(outputs, refused(condition, None, &text.replace("&apos;", "'")), "{header}");
    }
}

#[test]
fn a_wrong_handshake_or_anything_else_first_ends_the_link() {
    //= COMP-06
    //= COMP-08
    for (text, why) in [
        (
            "<handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake>",
            "the handshake is wrong",
        ),
        ("<handshake/>", "the handshake is wrong"),
        ("<handshake xmlns='urn:x'/>", "a handshake comes first"),
        (
            "<message from='a@rooms.capulet.lit' to='b@montague.lit'/>",
            "a handshake comes first",
        ),
    ] {
        let mut dialogue = Dialogue::new();
        dialogue.says(HEADER);
        assert_eq!(
            dialogue.says(&format!("{text}{HANDSHAKE}")),
            (
                stream_error_of("not-authorized", why),
                refused(StreamCondition::NotAuthorized, Some(rooms()), why)
            ),
            "{text}"
        );
        assert_eq!(
            dialogue.says(HANDSHAKE),
            (String::new(), vec![]),
            "it is over"
        );
    }
}

#[test]
fn a_second_component_is_told_of_the_conflict() {
    //= COMP-12
    let mut dialogue = Dialogue::new();
    dialogue.says(&format!("{HEADER}{HANDSHAKE}"));
    let why = "another component serves this domain";
    assert_eq!(
        dialogue.tell(ComponentInput::Conflict),
        (
            stream_error_of("conflict", why),
            refused(StreamCondition::Conflict, Some(rooms()), why)
        )
    );
}

#[test]
fn nobody_may_dawdle_before_the_handshake() {
    //= COMP-08
    for said in [
        String::new(),
        HEADER.to_owned(),
        format!("{HEADER}{HANDSHAKE}"),
    ] {
        let mut dialogue = Dialogue::new();
        dialogue.says(&said);
        let deadline = dialogue.link.deadline().unwrap();
        dialogue.now = deadline - Duration::from_millis(1);
        assert_eq!(dialogue.tell(ComponentInput::Tick), (String::new(), vec![]));
        dialogue.now = deadline;
        let (out, outputs) = dialogue.tell(ComponentInput::Tick);
        assert!(out.ends_with(&stream_error_of(
            "connection-timeout",
            "no handshake in time"
        )));
        assert_eq!(outputs.last(), Some(&ComponentOutput::Close));
        assert_eq!(dialogue.link.deadline(), None);
        assert_eq!(dialogue.reached.count(Limit::ComponentHandshakeSeconds), 1);
    }
}

#[test]
fn what_comes_before_the_claim_is_answered_waits_and_is_bounded() {
    let mut dialogue = Dialogue::new();
    let stanza = "<message from='rooms.capulet.lit' to='b@montague.lit' xml:lang='en'/>";
    let (_, outputs) = dialogue.says(&format!("{HEADER}{HANDSHAKE}{stanza}"));
    assert_eq!(outputs, [ComponentOutput::Claim(rooms())]);
    assert!(dialogue.says(stanza).1.is_empty());
    let (_, outputs) = dialogue.tell(ComponentInput::Accepted);
    assert_eq!(deliveries(&outputs).len(), 2);

    let mut dialogue = Dialogue::new();
    dialogue.says(&format!("{HEADER}{HANDSHAKE}"));
    let flood = " ".repeat(64 * 1024);
    let ended = (0..9).any(|_| dialogue.says(&flood).1.last() == Some(&ComponentOutput::Close));
    assert!(ended, "not more than one stanza's worth");
}

#[test]
fn stanzas_go_to_our_other_domains_or_out_with_their_pair() {
    //= COMP-11
    //= COMP-14
    //= COMP-19
    //= ROUTE-25
    let lang = "xml:lang='en'";
    for (stanza, destination, text) in [
        (
            format!(
                "<message {lang} from='r@rooms.capulet.lit/n' to='b@montague.lit' id='1'><body>x</body><x xmlns='urn:x'/></message>"
            ),
            "rooms.capulet.lit~montague.lit",
            format!(
                "<message {lang} from='r@rooms.capulet.lit/n' to='b@montague.lit' id='1'><body>x</body><x xmlns='urn:x'/></message>"
            ),
        ),
        (
            format!(
                "<iq {lang} type='get' from='rooms.capulet.lit' to='files.capulet.lit' id='1'/>"
            ),
            "files.capulet.lit",
            format!(
                "<iq {lang} type='get' from='rooms.capulet.lit' to='files.capulet.lit' id='1'/>"
            ),
        ),
        (
            format!("<presence {lang} from='r@rooms.capulet.lit' to='rooms.capulet.lit'/>"),
            "rooms.capulet.lit",
            format!("<presence {lang} from='r@rooms.capulet.lit' to='rooms.capulet.lit'/>"),
        ),
        (
            // Sloppy libraries.
            format!(
                "<message xmlns='jabber:client' {lang} from='rooms.capulet.lit' to='montague.lit'/>"
            ),
            "rooms.capulet.lit~montague.lit",
            format!("<message {lang} from='rooms.capulet.lit' to='montague.lit'/>"),
        ),
        (
            format!("<message xmlns='' {lang} from='rooms.capulet.lit' to='montague.lit'/>"),
            "rooms.capulet.lit~montague.lit",
            format!("<message {lang} from='rooms.capulet.lit' to='montague.lit'/>"),
        ),
        (
            format!(
                "<message xmlns='jabber:component:accept' {lang} from='rooms.capulet.lit' to='montague.lit'/>"
            ),
            "rooms.capulet.lit~montague.lit",
            format!("<message {lang} from='rooms.capulet.lit' to='montague.lit'/>"),
        ),
    ] {
        let (out, outputs) = Dialogue::open().says(&stanza);
        assert_eq!(out, "", "{stanza}");
        assert_eq!(
            deliveries(&outputs),
            [(destination.to_owned(), text)],
            "{stanza}"
        );
        assert_eq!(outputs.len(), 1);
    }
}

#[test]
fn the_language_of_the_header_goes_along() {
    //= COMP-19
    let (_, outputs) =
        Dialogue::open().says("<message from='rooms.capulet.lit' to='montague.lit'/>");
    let [(_, text)] = &deliveries(&outputs)[..] else {
        panic!("{outputs:?}");
    };
    assert!(text.contains("xml:lang='de'"), "{text}");
}

#[test]
fn a_component_speaks_for_its_domain_alone() {
    //= COMP-09
    //= COMP-10
    for from in [
        "",
        "from='capulet.lit'",
        "from='x@files.capulet.lit'",
        "from='sub.rooms.capulet.lit'",
        "from='montague.lit'",
        "from='a@b c'",
        "from=''",
        "from='@capulet.lit'",
    ] {
        let mut dialogue = Dialogue::open();
        let (out, outputs) = dialogue.says(&format!("<message {from} to='b@montague.lit'/>"));
        assert!(
            out.starts_with(
                "<stream:error><invalid-from xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            ),
            "{from}: {out}"
        );
        assert!(out.ends_with("</stream:stream>"));
        assert!(
            matches!(
                &outputs[..],
                [
                    ComponentOutput::Event(ComponentEvent::Closed {
                        domain: Some(domain),
                        end: LinkEnd::Failed { condition: StreamCondition::InvalidFrom, .. },
                    }),
                    ComponentOutput::Close,
                ] if *domain == rooms()
            ),
            "{from}: {outputs:?}"
        );
        assert!(
            dialogue
                .says("<message from='rooms.capulet.lit' to='b@montague.lit'/>")
                .1
                .is_empty()
        );
    }
}

#[test]
fn a_bad_stanza_is_answered_and_nothing_of_it_leaves() {
    //= COMP-09
    //= ROUTE-12
    let sender = "from='r@rooms.capulet.lit/n'";
    for (stanza, from, condition) in [
        (
            format!("<message {sender} id='7'/>"),
            "rooms.capulet.lit",
            "bad-request",
        ),
        (
            format!("<message {sender} id='7' to=''/>"),
            "rooms.capulet.lit",
            "jid-malformed",
        ),
        (
            format!("<message {sender} id='7' to='a@b@c d'/>"),
            "rooms.capulet.lit",
            "jid-malformed",
        ),
        (
            format!("<message {sender} id='7' to='@montague.lit'/>"),
            "montague.lit",
            "jid-malformed",
        ),
        (
            format!("<message {sender} id='7' to='b@montague.lit'><\u{2C00}/></message>"),
            "b@montague.lit",
            "bad-request",
        ),
    ] {
        let mut dialogue = Dialogue::open();
        let (out, outputs) = dialogue.says(&stanza);
        assert_eq!(out, "", "the error goes through the component's own queue");
        let [(destination, error)] = &deliveries(&outputs)[..] else {
            panic!("{stanza}: {outputs:?}");
        };
        assert_eq!(destination, "rooms.capulet.lit");
        assert!(
            error.starts_with(&format!(
                "<message from='{from}' to='r@rooms.capulet.lit/n' id='7' type='error'><error type='modify'>\
                 <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            )),
            "{error}"
        );
        let condition = StanzaCondition::from_name(condition);
        let rejected = ComponentEvent::Rejected {
            domain: rooms(),
            condition,
        };
        assert_eq!(outputs[0], ComponentOutput::Event(rejected));
        let (_, outputs) = dialogue.says("<message from='rooms.capulet.lit' to='b@montague.lit'/>");
        assert_eq!(deliveries(&outputs).len(), 1, "the link lives");
    }
}

#[test]
fn a_bad_error_is_not_answered() {
    //= ROUTE-14
    let (_, outputs) = Dialogue::open().says("<iq type='error' id='7' from='rooms.capulet.lit'/>");
    let condition = StanzaCondition::BadRequest;
    let rejected = ComponentEvent::Rejected {
        domain: rooms(),
        condition,
    };
    assert_eq!(outputs, [ComponentOutput::Event(rejected)]);
}

#[test]
fn other_elements_are_ignored_and_told_of() {
    //= ROUTE-22
    for element in [
        "<x xmlns='urn:x' from='rooms.capulet.lit' to='b@montague.lit'/>",
        "<route from='rooms.capulet.lit' to='b@montague.lit'/>",
        "<message xmlns='urn:x' from='rooms.capulet.lit' to='b@montague.lit'/>",
        HANDSHAKE,
    ] {
        let (out, outputs) = Dialogue::open().says(element);
        assert_eq!(out, "");
        let ignored = ComponentEvent::Ignored {
            domain: rooms(),
            what: "an element that is no stanza",
        };
        assert_eq!(outputs, [ComponentOutput::Event(ignored)], "{element}");
    }
}

#[test]
fn what_the_component_gets_is_what_came() {
    //= COMP-11
    //= COMP-19
    let from = Jid::parse("juliet@montague.lit").unwrap();
    let to = Jid::parse("room@rooms.capulet.lit").unwrap();
    let body = "<body xml:lang='it'>ciao</body>";
    let stanza = Stanza::build(
        StanzaKind::Message,
        &from,
        &to,
        Some("chat"),
        Some("1"),
        body,
    );
    let mut dialogue = Dialogue::new();
    assert!(!dialogue.link.send(&stanza), "not before it is let in");
    dialogue.says(&format!("{HEADER}{HANDSHAKE}"));
    assert!(!dialogue.link.send(&stanza));
    dialogue.tell(ComponentInput::Accepted);
    assert!(dialogue.link.send(&stanza));
    assert_eq!(dialogue.link.transmit().split()[..], stanza.bytes()[..]);
    dialogue.tell(ComponentInput::Close(StreamCondition::SystemShutdown));
    assert!(!dialogue.link.send(&stanza), "not after our end tag");
}

#[test]
fn the_component_closes() {
    //= COMP-21
    assert_eq!(
        Dialogue::open().says("</stream:stream>"),
        ("</stream:stream>".to_owned(), closed(LinkEnd::Closed))
    );
    let error = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
    let end = LinkEnd::Error {
        condition: StreamCondition::Conflict,
        text: None,
    };
    assert_eq!(
        Dialogue::open().says(error),
        ("</stream:stream>".to_owned(), closed(end))
    );
    assert_eq!(
        Dialogue::open().tell(ComponentInput::Eof),
        (String::new(), closed(LinkEnd::Eof))
    );
    let (out, outputs) = Dialogue::new().tell(ComponentInput::Eof);
    assert_eq!(out, "");
    let ended = ComponentEvent::Closed {
        domain: None,
        end: LinkEnd::Eof,
    };
    assert_eq!(
        outputs,
        [ComponentOutput::Event(ended), ComponentOutput::Close]
    );
}

#[test]
fn we_close_and_take_what_is_under_way() {
    //= COMP-21
    let mut dialogue = Dialogue::open();
    let (out, outputs) = dialogue.tell(ComponentInput::Close(StreamCondition::SystemShutdown));
    assert_eq!(
        out,
        "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    );
    assert!(outputs.is_empty());
    let (out, outputs) = dialogue.says("<message from='rooms.capulet.lit' to='b@montague.lit'/>");
    assert_eq!((out.as_str(), deliveries(&outputs).len()), ("", 1));
    let end = LinkEnd::ByUs {
        condition: StreamCondition::SystemShutdown,
    };
    assert_eq!(
        dialogue.says("</stream:stream>"),
        (String::new(), closed(end.clone()))
    );

    // One that does not answer.
    let mut dialogue = Dialogue::open();
    dialogue.tell(ComponentInput::Close(StreamCondition::SystemShutdown));
    dialogue.now = dialogue.link.deadline().unwrap();
    assert_eq!(
        dialogue.tell(ComponentInput::Tick),
        (String::new(), closed(end.clone()))
    );

    // One that misbehaves meanwhile gets no second error behind our end tag.
    let mut dialogue = Dialogue::open();
    dialogue.tell(ComponentInput::Close(StreamCondition::SystemShutdown));
    assert_eq!(
        dialogue.says("<message from='montague.lit' to='b@montague.lit'/>"),
        (String::new(), closed(end))
    );
}

#[test]
fn one_that_never_was_let_in_delivers_nothing_while_we_close() {
    for said in ["", HEADER] {
        let mut dialogue = Dialogue::new();
        dialogue.says(said);
        let (out, _) = dialogue.tell(ComponentInput::Close(StreamCondition::SystemShutdown));
        assert!(out.ends_with("</stream:error></stream:stream>"));
        let stanza = "<message from='rooms.capulet.lit' to='b@montague.lit'/>";
        let rest = if said.is_empty() { HEADER } else { "" };
        let (out, outputs) = dialogue.says(&format!("{rest}{HANDSHAKE}{stanza}"));
        assert_eq!((out.as_str(), outputs), ("", vec![]), "{said}");
        let (_, outputs) = dialogue.says("</stream:stream>");
        assert_eq!(outputs.last(), Some(&ComponentOutput::Close));
    }
}

#[test]
fn bad_xml_ends_the_link_before_and_after() {
    let (out, outputs) = Dialogue::new().says("<!DOCTYPE x>");
    assert!(out.starts_with(ANONYMOUS_HEADER), "{out}");
    assert!(out.contains("<restricted-xml "), "{out}");
    assert_eq!(outputs.last(), Some(&ComponentOutput::Close));

    let (out, _) = Dialogue::open().says("<message></presence>");
    assert!(out.starts_with("<stream:error><not-well-formed "), "{out}");

    let huge = format!(
        "<message from='rooms.capulet.lit' to='b@montague.lit'><body>{}</body></message>",
        "x".repeat(600 * 1024)
    );
    let (out, _) = Dialogue::open().says(&huge);
    assert!(out.starts_with("<stream:error><policy-violation "), "{out}");
    assert!(
        out.contains("<stanza-too-big xmlns='urn:xmpp:errors'/>"),
        "{out}"
    );

    let large = format!("{HEADER}<handshake>{}", "x".repeat(20 * 1024));
    let (out, _) = Dialogue::new().says(&large);
    assert!(
        out.contains("<policy-violation "),
        "little is taken from a stranger: {out}"
    );
}

#[test]
fn answers_to_nothing_are_ignored() {
    let mut dialogue = Dialogue::new();
    for input in [
        ComponentInput::Accepted,
        ComponentInput::Conflict,
        ComponentInput::Tick,
    ] {
        assert_eq!(dialogue.tell(input), (String::new(), vec![]));
    }
    let mut dialogue = Dialogue::open();
    for input in [
        ComponentInput::Accepted,
        ComponentInput::Conflict,
        ComponentInput::Tick,
    ] {
        assert_eq!(dialogue.tell(input), (String::new(), vec![]));
    }
    dialogue.tell(ComponentInput::Eof);
    for input in [
        ComponentInput::Accepted,
        ComponentInput::Close(StreamCondition::Reset),
        ComponentInput::Eof,
        ComponentInput::Bytes(b"<!"),
    ] {
        assert_eq!(dialogue.tell(input), (String::new(), vec![]));
    }
}

/// What a component may say, good and bad.
const PHRASES: &[&str] = &[
    "<message from='rooms.capulet.lit' to='b@montague.lit'><body>x</body></message>",
    "<iq type='get' id='1' from='r@rooms.capulet.lit' to='files.capulet.lit'><x xmlns='urn:x'/></iq>",
    "<message from='rooms.capulet.lit'/>",
    "<presence from='rooms.capulet.lit' to='@x'/>",
    "<x xmlns='urn:x'/>",
    " \n",
    "<message from='capulet.lit' to='b@montague.lit'/>",
    "</stream:stream>",
    "<!-- x -->",
    "\u{0}",
];

proptest! {
    #[test]
    fn how_the_bytes_are_cut_does_not_matter(
        phrases in prop::collection::vec(prop::sample::select(PHRASES), 0..8),
        cuts in prop::collection::vec(1usize..60, 1..20),
    ) {
        let text = phrases.concat();
        let (whole_out, whole) = Dialogue::open().says(&text);
        let mut dialogue = Dialogue::open();
        let (mut out, mut outputs) = (String::new(), Vec::new());
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(*cut.min(&rest.len()));
            rest = later;
            let (more_out, more) = dialogue.tell(ComponentInput::Bytes(now));
            out.push_str(&more_out);
            outputs.extend(more);
        }
        prop_assert_eq!(out, whole_out);
        prop_assert_eq!(outputs, whole);
    }
}

#[test]
fn a_stanza_that_would_grow_beyond_what_peers_take_does_not_leave() {
    //= ROUTE-12
    // With the language of its header a stanza of 64 attributes would have 65 on the way.
    for (count, is_taken) in [(60, true), (64, false)] {
        let mut dialogue = Dialogue::open();
        let attributes: String = (2..count).map(|n| format!(" a{n}='x'")).collect();
        let (_, outputs) = dialogue.says(&format!(
            "<message from='a@rooms.capulet.lit' to='b@montague.lit'{attributes}><body/></message>"
        ));
        let routed = outputs
            .iter()
            .any(|output| matches!(output, ComponentOutput::Deliver(_)));
        assert_eq!(routed, is_taken, "{count} attributes: {outputs:?}");
    }
}
