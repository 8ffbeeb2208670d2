//! A stanza means the same on the stream that it is written to: only its content namespace is another one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod support;

use std::borrow::Cow;

use proptest::prelude::*;
use support::Numbers;
use support::stanzas::{PREFIXES, Style, stanza};
use verona_xml::{Edit, Element, Head, Limits, Scan, Scanner, rewrite};

const SERVER: &str = "jabber:server";
const COMPONENT: &str = "jabber:component:accept";

proptest! {
    #![proptest_config(support::cases())]

    //= STREAM-06
    //= STREAM-08
    //= STREAM-09
    //= ROUTE-11
    #[test]
    fn a_rewritten_stanza_means_the_same(seed: u64, inherited: bool) {
        let mut numbers = Numbers(seed);
        let default = if inherited { SERVER } else { "http://etherx.jabber.org/streams" };
        let original = stanza(&mut numbers, Style::Anything, inherited);
        let (scanner, head) = scanned(&format!("<stream:stream xmlns='{default}' {PREFIXES}>"), &original);
        prop_assert_eq!(head.namespace(original.as_bytes(), scanner.scope()), SERVER);
        let edit = Edit {
            from: [None, Some("o'neill@\"a\".example")][numbers.below(2)],
            to: [None, Some("<b&c>\t.example")][numbers.below(2)],
            lang: [None, Some("de")][numbers.below(2)],
        };
        let rewritten = rewrite(original.as_bytes(), &head, scanner.scope(), &edit).into_owned();
        let rewritten = String::from_utf8(rewritten).unwrap();

        // It is good there, and inherits.
        let (there, head) = scanned(COMPONENT_HEADER, &rewritten);
        prop_assert_eq!(head.namespace(rewritten.as_bytes(), there.scope()), COMPONENT);
        prop_assert!(!head.is_prefixed() && !head.declares_default() && !head.leans_on_scope());

        // It is the same element, edits aside.
        let before = Element::parse(original.as_bytes(), scanner.scope()).unwrap();
        let after = Element::parse(rewritten.as_bytes(), there.scope()).unwrap();
        prop_assert!(is_taken_on(&before, &after, &edit), "{original}\n{rewritten}");
        for (name, wanted) in [("from", edit.from), ("to", edit.to)] {
            let expected = wanted.or(before.attribute(name));
            prop_assert_eq!(after.attribute(name), expected);
        }
        prop_assert_eq!(after.lang(), before.lang().or(edit.lang));

        // Doing it again changes nothing, so the fast path is the normal one.
        let again = rewrite(rewritten.as_bytes(), &head, there.scope(), &edit);
        prop_assert!(matches!(again, Cow::Borrowed(_)), "{rewritten}");
    }

    /// A tree written and read again is the same tree, whatever the default namespace is where it is written.
    #[test]
    fn a_written_tree_is_read_as_the_same(seed: u64, inherited: bool, default in 0..4usize) {
        let default = [SERVER, COMPONENT, "urn:x", ""][default];
        let header_default = if inherited { SERVER } else { "http://etherx.jabber.org/streams" };
        let original = stanza(&mut Numbers(seed), Style::Anything, inherited);
        let header = format!("<stream:stream xmlns='{header_default}' {PREFIXES}>");
        let (scanner, _) = scanned(&header, &original);
        let tree = Element::parse(original.as_bytes(), scanner.scope()).unwrap();

        let mut written = String::new();
        tree.write(default, &mut written);
        let bare = if default.is_empty() { String::new() } else { format!("xmlns='{default}'") };
        let header = format!("<t:stream xmlns:t='urn:stream' {bare}>");
        let (there, head) = scanned(&header, &written);
        prop_assert!(!head.leans_on_scope());
        prop_assert_eq!(Element::parse(written.as_bytes(), there.scope()).unwrap(), tree);
        if default == SERVER {
            prop_assert!(!head.is_prefixed() && !head.declares_default(), "{written}");
        }
    }
}

/// The common case is bytes that nobody touches.
#[test]
fn an_ordinary_stanza_is_not_copied() {
    let header = format!("<stream:stream xmlns='jabber:server' {PREFIXES} from='a.example'>");
    for stanza in [
        "<message from='r@a.example' to='j@b.example' type='chat'><body>hi</body></message>",
        "<presence/>",
        "<iq from='a.example' id='1'><query xmlns='urn:q'><x:a xmlns:x='urn:x'/></query></iq>",
        "<message><f xmlns='urn:f'><message xmlns='jabber:server'><body/></message></f></message>",
        "<message xml:lang=\"en\" to='b&apos;@b.example'/>",
    ] {
        let (scanner, head) = scanned(&header, stanza);
        let from = head.from(stanza.as_bytes());
        let to = head.to(stanza.as_bytes());
        let edit = Edit {
            from: from.as_deref(),
            to: to.as_deref(),
            lang: None,
        };
        let rewritten = rewrite(stanza.as_bytes(), &head, scanner.scope(), &edit);
        assert!(matches!(rewritten, Cow::Borrowed(_)), "{stanza}");
        assert_eq!(rewritten, stanza.as_bytes());
    }
}

//= STREAM-06
//= STREAM-08
//= STREAM-09
#[test]
fn what_is_written_where_it_has_to_be() {
    let header = format!("<stream:stream xmlns='jabber:server' {PREFIXES}>");
    let prefix_free = format!("<stream xmlns='http://etherx.jabber.org/streams' {PREFIXES}>");
    let none = Edit::default();
    let all = Edit {
        from: Some("f"),
        to: Some("t"),
        lang: Some("de"),
    };
    for (header, before, edit, after) in [
        // The default declaration goes, and with it its white space; what is foreign stays.
        (
            &header,
            "<message\txmlns=\"jabber:server\" to='a' ><body/><x xmlns='urn:x'/></message >",
            none,
            "<message to='a' ><body/><x xmlns='urn:x'/></message >",
        ),
        (&prefix_free, "<iq xmlns='jabber:server'/>", none, "<iq/>"),
        // A stanza inside an extension keeps its namespace.
        (
            &header,
            "<message xmlns='jabber:server'><f xmlns='urn:f'><message xmlns='jabber:server'/></f></message>",
            none,
            "<message><f xmlns='urn:f'><message xmlns='jabber:server'/></f></message>",
        ),
        (
            &header,
            "<x:message xmlns:x='jabber:server'><f xmlns='urn:f'><message xmlns='jabber:server'/></f></x:message>",
            none,
            "<message><f xmlns='urn:f'><message xmlns='jabber:server'/></f></message>",
        ),
        // Prefixes of the header are declared, but only those that are used and not declared anew.
        (
            &header,
            "<message><x:a y:b='1'/></message>",
            none,
            "<message xmlns:x='urn:x' xmlns:y='urn:y'><x:a y:b='1'/></message>",
        ),
        (
            &header,
            "<message xmlns:x='urn:mine'><x:a/><y:b xmlns:y='urn:mine'/></message>",
            none,
            "<message xmlns:x='urn:mine'><x:a/><y:b xmlns:y='urn:mine'/></message>",
        ),
        // A prefix for the content namespace goes, in the root and below.
        (
            &header,
            "<s:message s:a='1'/>",
            none,
            "<message xmlns:s='jabber:server' s:a='1'/>",
        ),
        (
            &header,
            "<message><s:body>a<![CDATA[<]]></s:body></message>",
            none,
            "<message><body>a&lt;</body></message>",
        ),
        (
            &header,
            "<message><body xmlns='jabber:server'><b/></body></message>",
            none,
            "<message><body><b/></body></message>",
        ),
        (
            &prefix_free,
            "<s:message><s:body/><odd/></s:message>",
            none,
            "<message><body/><odd xmlns='http://etherx.jabber.org/streams'/></message>",
        ),
        // Edits replace, or are added.
        (
            &header,
            "<message/>",
            all,
            "<message from='f' to='t' xml:lang='de'/>",
        ),
        (
            &header,
            "<message to='b&amp;c' xml:lang='' from=\"x\" id='1'>hi</message>",
            all,
            "<message to='t' xml:lang='' from='f' id='1'>hi</message>",
        ),
        (
            &header,
            "<s:message to='b'>hi</s:message>",
            all,
            "<message to='t' from='f' xml:lang='de'>hi</message>",
        ),
    ] {
        let (scanner, head) = scanned(header, before);
        let rewritten = rewrite(before.as_bytes(), &head, scanner.scope(), &edit);
        assert_eq!(std::str::from_utf8(&rewritten).unwrap(), after, "{before}");
    }
}

/// Streams with more declarations than a set of small numbers holds: too much may be declared, never twice.
#[test]
fn many_prefixes_on_a_header() {
    let declarations: String = (0..80).map(|n| format!(" xmlns:p{n}='urn:{n}'")).collect();
    let header = format!("<stream xmlns='jabber:server'{declarations}>");
    let limits = Limits {
        namespaces_max: 100,
        ..Limits::default()
    };
    for stanza in [
        "<message xmlns:p70='urn:mine'><p70:a/><p75:a/><p3:a/></message>",
        "<message><p62:a/><p63:a/><p79:a/></message>",
        "<message p0:a='1'/>",
    ] {
        let mut scanner = Scanner::new(limits);
        assert!(matches!(
            scanner.scan(header.as_bytes()),
            Ok(Scan::Header { .. })
        ));
        let Ok(Scan::Element { head, .. }) = scanner.scan(stanza.as_bytes()) else {
            panic!("{stanza}");
        };
        let rewritten = rewrite(stanza.as_bytes(), &head, scanner.scope(), &Edit::default());
        let mut there = Scanner::new(limits);
        assert!(matches!(
            there.scan(COMPONENT_HEADER.as_bytes()),
            Ok(Scan::Header { .. })
        ));
        assert!(
            matches!(there.scan(&rewritten), Ok(Scan::Element { .. })),
            "{stanza}"
        );
        let before = Element::parse(stanza.as_bytes(), scanner.scope()).unwrap();
        let after = Element::parse(&rewritten, there.scope()).unwrap();
        assert!(is_taken_on(&before, &after, &Edit::default()), "{stanza}");
    }
}

/// Nothing panics and nothing is invented when bytes, head and scope do not belong together.
#[test]
fn what_does_not_belong_together_comes_back() {
    let header = format!("<stream:stream xmlns='jabber:server' {PREFIXES}>");
    let (scanner, head) = scanned(
        &header,
        "<x:message xmlns:x='jabber:server' from='a' to='b'/>",
    );
    for bytes in [
        &b""[..],
        b"<",
        b"<message",
        b"\xFF\xFE",
        b"<x:message xmlns:x='jabber:server'",
    ] {
        let all = Edit {
            from: Some("f"),
            to: Some("t"),
            lang: Some("de"),
        };
        assert_eq!(rewrite(bytes, &head, scanner.scope(), &all), bytes);
        assert!(head.local(bytes).len() <= bytes.len());
        assert!(
            head.from(bytes)
                .is_none_or(|from| from.len() <= bytes.len())
        );
        assert!(head.namespace(bytes, scanner.scope()).len() <= bytes.len());
    }
}

const COMPONENT_HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
    xmlns:stream='http://etherx.jabber.org/streams' from='b.example'>";

/// Reads a header and a stanza, which must be good.
fn scanned(header: &str, stanza: &str) -> (Scanner, Head) {
    let mut scanner = Scanner::new(Limits::default());
    let opened = scanner.scan(header.as_bytes()).unwrap();
    assert!(
        matches!(opened, Scan::Header { len, .. } if len == header.len()),
        "{header}"
    );
    match scanner.scan(stanza.as_bytes()) {
        Ok(Scan::Element { len, head }) => {
            assert_eq!(len, stanza.len());
            (scanner, head)
        }
        other => panic!("{other:?} of {stanza}"),
    }
}

/// Whether `after` is `before` with its content in the other namespace, and no part of it left behind in the old one.
fn is_taken_on(before: &Element, after: &Element, edit: &Edit<'_>) -> bool {
    let mut pairs = vec![(before, after, true)];
    let mut root = true;
    while let Some((before, after, content_around)) = pairs.pop() {
        let taken_on = before.namespace() == SERVER && after.namespace() == COMPONENT;
        let left_behind = content_around && before.namespace() == SERVER && !taken_on;
        if !taken_on && before.namespace() != after.namespace() || left_behind {
            return false;
        }
        let attributes = |element: &Element| {
            let all = element.attributes();
            let kept = all.filter(|it| {
                let edited = matches!(it.name(), "from" | "to")
                    || it.name() == "lang" && edit.lang.is_some();
                !(root && edited)
            });
            let mut kept: Vec<_> = kept.cloned().collect();
            kept.sort();
            kept
        };
        let before_attributes: Vec<_> = attributes(before);
        let after_attributes: Vec<_> = attributes(after);
        let same = before_attributes
            .iter()
            .zip(&after_attributes)
            .all(|(one, other)| {
                (one.name(), one.namespace(), one.value())
                    == (other.name(), other.namespace(), other.value())
            });
        if !same
            || before_attributes.len() != after_attributes.len()
            || before.name() != after.name()
            || before.text() != after.text()
            || before.children().count() != after.children().count()
        {
            return false;
        }
        root = false;
        let content = before.namespace() == SERVER && taken_on;
        pairs.extend(
            before
                .children()
                .zip(after.children())
                .map(|(one, other)| (one, other, content)),
        );
    }
    true
}
