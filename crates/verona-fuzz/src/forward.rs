//! What is admitted on one stream and written on another: it is one well-formed element there, means the same, and has
//! nothing in it that a parser of the fourth edition of XML would end the stream over (ROUTE-11, ROUTE-30).

use std::borrow::Cow;
use std::sync::Mutex;

use verona_proto::stanza::{BadStanza, Stanza};
use verona_xml::{Edit, Element, Head, Limits, Scan, Scanner, rewrite};

use crate::choices::Choices;
use crate::referees::{Referees, Understood};

/// Headers under which stanzas come, and the content namespace that they are to be in.
const FROM: [(&str, &str); 6] = [
    (
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>",
        "jabber:server",
    ),
    (
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:p='urn:p' xmlns:q='urn:q' xml:lang='de'>",
        "jabber:server",
    ),
    (
        "<stream xmlns='http://etherx.jabber.org/streams' xmlns:x='jabber:server' xmlns:p='urn:p'>",
        "jabber:server",
    ),
    (
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>",
        "jabber:component:accept",
    ),
    (
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='jabber:client'>",
        "jabber:client",
    ),
    (
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:p='jabber:server' xmlns:é='urn:p'>",
        "jabber:server",
    ),
];

/// Headers under which they go on, which declare nothing but the content namespace.
const TO: [(&str, &str); 2] = [
    (
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
        "jabber:server",
    ),
    (
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>",
        "jabber:component:accept",
    ),
];

const FOOTER: &str = "</stream:stream>";

/// Without referees.
pub fn run(input: &[u8]) {
    let _ = examine(input);
}

/// With them; they are started with the first input.
pub fn run_with_referees(input: &[u8]) {
    static REFEREES: Mutex<Option<Referees>> = Mutex::new(None);
    let Some(travelled) = examine(input) else {
        return;
    };
    let mut referees = REFEREES
        .lock()
        .expect("nobody panicked with it and went on");
    let start = || Referees::start().expect("referees: Debian's python3 and python3-lxml");
    travelled.judge(referees.get_or_insert_with(start));
}

/// An element that our scanner accepts, in its document, and the document that it is forwarded in, if it is.
#[derive(Debug)]
pub struct Travelled {
    original: String,
    has_non_ascii_name: bool,
    tree: Element,
    forwarded: Option<String>,
    /// Whether the content namespace is the same here and there.
    is_alike: bool,
}

/// Lets an element travel and checks what can be checked without others.
#[must_use]
pub fn examine(input: &[u8]) -> Option<Travelled> {
    let mut choices = Choices::new(input);
    let how = choices.byte();
    let (header, content) = FROM[usize::from(how & 7) % FROM.len()];
    let (there, content_there) = TO[usize::from(how >> 3 & 1)];
    let element = match how >> 4 & 3 {
        0 => Cow::Borrowed(choices.rest()),
        way => Cow::Owned(wrapped(choices.rest(), way, header)),
    };
    let (scanner, head, len) = scan(header, &element, Limits::default())?;
    let element = &element[..len];
    let tree =
        Element::parse(element, scanner.scope()).expect("what the scanner accepts can be read");
    let mut travelled = Travelled {
        original: document(header, element),
        has_non_ascii_name: head.has_non_ascii_name() || header.contains('é'),
        forwarded: None,
        is_alike: content == content_there,
        tree,
    };
    let namespace = head.namespace(element, scanner.scope());
    let is_content = namespace == content || namespace.is_empty() && content != "jabber:server";
    if !is_content {
        return Some(travelled);
    }
    let lang = (how & 64 != 0).then_some("fr");
    match Stanza::read(element, &head, scanner.scope(), lang) {
        Ok(stanza) => {
            // Neither an element nor an attribute of it has a name that only some can read.
            assert!(
                !head.has_non_ascii_name() && has_plain_names(&travelled.tree),
                "{travelled:?}"
            );
            let arrived = arrives(&travelled, there, stanza.bytes(), content_there);
            assert!(is_alike(
                &travelled.tree,
                &arrived,
                [namespace, content_there],
                true
            ));
            travelled.forwarded = Some(document(there, stanza.bytes()));
        }
        // What is answered has the start tag of what came, and nothing of the peer's but values.
        Err(BadStanza::Stanza { stanza, .. }) => {
            let arrived = arrives(&travelled, there, stanza.bytes(), content_there);
            assert!(arrived.children().next().is_none() && has_plain_names(&arrived));
        }
        // No stanza; rewritten alone it travels all the same.
        Err(BadStanza::Stream(_)) => {
            let rewritten = rewrite(element, &head, scanner.scope(), &Edit::default());
            let arrived = arrives(&travelled, there, &rewritten, content_there);
            assert!(is_alike(
                &travelled.tree,
                &arrived,
                [namespace, content_there],
                true
            ));
        }
    }
    travelled.is_alike &= namespace == content_there;
    Some(travelled)
}

/// On the other stream it is one element in the content namespace, and means no less when it travels on.
fn arrives(travelled: &Travelled, there: &str, forwarded: &[u8], content: &str) -> Element {
    let shown = || format!("{} of {travelled:?}", forwarded.escape_ascii());
    // Declarations that it had from its header can exceed a limit there.
    let Some((scanner, head, len)) = scan(there, forwarded, wide()) else {
        panic!("it is no element any more: {}", shown());
    };
    assert_eq!(len, forwarded.len(), "{}", shown());
    assert_eq!(
        head.namespace(forwarded, scanner.scope()),
        content,
        "{}",
        shown()
    );
    assert!(
        !head.is_prefixed() && !head.declares_default() && !head.leans_on_scope(),
        "{}",
        shown()
    );
    let tree = Element::parse(forwarded, scanner.scope()).expect("as before");
    // What was foreign where it came from may be content here, spelled out; nothing else is left to change.
    if let Cow::Owned(again) = rewrite(forwarded, &head, scanner.scope(), &Edit::default()) {
        let (scanner, head, _) =
            scan(there, &again, wide()).unwrap_or_else(|| panic!("{}", shown()));
        let tree_again = Element::parse(&again, scanner.scope()).expect("as before");
        assert!(tree_again == tree, "{}", shown());
        let third = rewrite(&again, &head, scanner.scope(), &Edit::default());
        assert!(matches!(third, Cow::Borrowed(_)), "{}", shown());
    }
    tree
}

/// The same, but for addresses and language at the root, and for content that takes on the namespace of the stream.
fn is_alike(before: &Element, after: &Element, [from, to]: [&str; 2], is_root: bool) -> bool {
    let takes_on = before.namespace() == from && after.namespace() == to;
    let attributes = |element: &Element| {
        let mut all: Vec<_> = element
            .attributes()
            .filter(|it| !is_root || !matches!(it.name(), "from" | "to" | "lang"))
            .map(|it| {
                (
                    it.namespace().to_owned(),
                    it.name().to_owned(),
                    it.value().to_owned(),
                )
            })
            .collect();
        all.sort();
        all
    };
    before.name() == after.name()
        && (before.namespace() == after.namespace() || takes_on)
        && before.text() == after.text()
        && attributes(before) == attributes(after)
        && before.children().count() == after.children().count()
        && before
            .children()
            .zip(after.children())
            .all(|(before, after)| is_alike(before, after, [from, to], false))
}

fn has_plain_names(tree: &Element) -> bool {
    tree.name().is_ascii()
        && tree.attributes().all(|it| it.name().is_ascii())
        && tree.children().all(has_plain_names)
}

/// A stanza around the input: content (1), the rest of a start tag (2), or both with the header's own prefix (3).
fn wrapped(inner: &[u8], way: u8, header: &str) -> Vec<u8> {
    let prefix = match (way, header.contains("xmlns:x=")) {
        (3, true) => "x:",
        (_, _) => "",
    };
    let inner = String::from_utf8_lossy(inner);
    let addresses = "from='Capulet.lit' to='j@montague.lit/r'";
    match way {
        1 => format!("<message {addresses}>{inner}</message>"),
        _ => format!("<{prefix}iq {addresses} {inner}</{prefix}iq>"),
    }
    .into_bytes()
}

fn scan(header: &str, element: &[u8], limits: Limits) -> Option<(Scanner, Head, usize)> {
    let mut scanner = Scanner::new(limits);
    assert!(matches!(
        scanner.scan(header.as_bytes()),
        Ok(Scan::Header { .. })
    ));
    match scanner.scan(element) {
        Ok(Scan::Element { len, head }) => Some((scanner, head, len)),
        Ok(
            Scan::More
            | Scan::Space { .. }
            | Scan::Declaration { .. }
            | Scan::Header { .. }
            | Scan::Close { .. },
        )
        | Err(_) => None,
    }
}

fn wide() -> Limits {
    let defaults = Limits::default();
    Limits {
        namespaces_max: 10 * defaults.namespaces_max,
        attributes_max: 10 * defaults.attributes_max,
        attribute_bytes_max: 10 * defaults.attribute_bytes_max,
        stanza_bytes_max: 10 * defaults.stanza_bytes_max,
        ..defaults
    }
}

fn document(header: &str, element: &[u8]) -> String {
    let footer = match header.starts_with("<stream:") {
        true => FOOTER,
        false => "</stream>",
    };
    let element = String::from_utf8_lossy(element);
    format!("{header}{element}{footer}")
}

impl Travelled {
    /// Asks the referees: both accept what we accept and forward, and understand it as we do.
    pub fn judge(&self, referees: &mut Referees) {
        let [expat, libxml2] = referees.ask(self.original.as_bytes()).expect("they answer");
        let ours = self.meaning();
        let root = |text: &str| inner(text);
        match &libxml2 {
            Understood::Meaning(text) => {
                assert_eq!(sorted(&root(text)), ours, "libxml2: {}", self.original)
            }
            Understood::Refused(why) => panic!("libxml2 refuses {}: {why}", self.original),
        }
        match &expat {
            Understood::Meaning(text) => assert_eq!(expat, libxml2, "{text:?}: {}", self.original),
            // Names of the fifth edition: such an element is not forwarded (ROUTE-30).
            Understood::Refused(why) => assert!(
                self.has_non_ascii_name && self.forwarded.is_none(),
                "expat refuses {}: {why}",
                self.original
            ),
        }
        let Some(forwarded) = &self.forwarded else {
            return;
        };
        let there = referees.ask(forwarded.as_bytes()).expect("they answer");
        assert_eq!(there[0], there[1], "{forwarded}");
        let Understood::Meaning(text) = &there[0] else {
            panic!("{there:?}: {forwarded}, made of {}", self.original);
        };
        if let (true, Understood::Meaning(before)) = (self.is_alike, &expat) {
            let start = |text: &str| content(&inner(text));
            assert_eq!(
                start(text),
                start(before),
                "{forwarded}, made of {}",
                self.original
            );
        }
    }

    /// What we understood, as the referees write it, except that the text of an element stands before its children.
    fn meaning(&self) -> String {
        let mut out = String::new();
        say(&self.tree, &mut out);
        out
    }
}

fn say(tree: &Element, out: &mut String) {
    let mut attributes: Vec<_> = tree
        .attributes()
        .map(|it| (it.namespace(), it.name(), it.value()))
        .collect();
    // In the order of characters, as the referees' language sorts.
    attributes.sort();
    out.push_str(&format!("\u{1}{}\u{2}{}", tree.namespace(), tree.name()));
    for (namespace, name, value) in attributes {
        out.push_str(&format!("\u{3}{namespace}\u{2}{name}\u{2}{value}"));
    }
    out.push('\u{4}');
    out.push_str(&tree.text());
    for child in tree.children() {
        say(child, out);
    }
    out.push('\u{5}');
}

/// What stands in the root, the stream.
fn inner(text: &str) -> String {
    let inner = text.split_once('\u{4}').map_or("", |(_, inner)| inner);
    inner.strip_suffix('\u{5}').unwrap_or(inner).to_owned()
}

/// What stands in the first element: the start tag of a stanza may have changed.
fn content(text: &str) -> String {
    text.split_once('\u{4}')
        .map_or("", |(_, inner)| inner)
        .to_owned()
}

/// The same with the text of each element before its children.
fn sorted(text: &str) -> String {
    // For each open element: what stands before its children, and its children.
    let mut open = vec![(String::new(), String::new())];
    let mut is_start_tag = false;
    for c in text.chars() {
        match c {
            '\u{1}' => {
                open.push((String::new(), String::new()));
                is_start_tag = true;
            }
            '\u{4}' => is_start_tag = false,
            _ => {}
        }
        let depth = open.len();
        let Some((own, children)) = open.last_mut() else {
            return String::new();
        };
        match c {
            '\u{5}' => {
                let done = format!("{own}{children}\u{5}");
                open.pop();
                if let Some((_, children)) = open.last_mut() {
                    children.push_str(&done);
                }
            }
            // Text in the stream itself: white space between first-level elements.
            c if depth == 1 && !is_start_tag => debug_assert!(c.is_whitespace()),
            c => own.push(c),
        }
    }
    open.pop().map_or(String::new(), |(_, children)| children)
}
