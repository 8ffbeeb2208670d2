//! What a head and a tree say about an element, by example.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

use verona_xml::{Element, ErrorKind, Head, Limits, Scan, Scanner, Scope};

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:db='jabber:server:dialback' xml:lang='en'>";

#[test]
fn a_head_says_what_the_start_tag_says() {
    let bytes = b"<db:result xml:lang='de' id = \"a&amp;b\" to='t\tt' type='valid' from='&#x66;' x='y'>k</db:result>";
    let (scanner, head) = scanned(bytes);
    assert_eq!(head.local(bytes), "result");
    assert_eq!(head.prefix(bytes), Some("db"));
    assert_eq!(
        head.namespace(bytes, scanner.scope()),
        "jabber:server:dialback"
    );
    assert_eq!(head.from(bytes).as_deref(), Some("f"));
    assert_eq!(head.to(bytes).as_deref(), Some("t t"));
    assert_eq!(head.id(bytes).as_deref(), Some("a&b"));
    assert_eq!(head.kind(bytes).as_deref(), Some("valid"));
    assert_eq!(head.lang(bytes).as_deref(), Some("de"));
    assert!(head.is_prefixed() && head.leans_on_scope() && !head.declares_default());
}

//= STREAM-04
//= STREAM-06
//= STREAM-09
//= ROUTE-30
#[test]
fn a_head_says_what_stands_in_the_way_of_forwarding() {
    for (bytes, yes) in [
        ("<message><body>\u{2C00}</body></message>", &[][..]),
        ("<message a='\u{2C00}'/>", &[]),
        (
            "<message xmlns:q='jabber:server'><q:a xml:lang='en'/></message>",
            &[],
        ),
        ("<message><a><\u{2C00}/></a></message>", &["non_ascii"]),
        ("<message><a \u{F8}=''/></message>", &["non_ascii"]),
        (
            "<message><a xmlns:\u{F8}='urn:x'/></message>",
            &["non_ascii"],
        ),
        ("<message><db:a/></message>", &["leans"]),
        ("<message><a db:b=''/></message>", &["leans"]),
        ("<message><a xmlns:db='urn:x' db:b=''/></message>", &[]),
        ("<message xmlns='jabber:server'/>", &["declares"]),
        ("<message><a xmlns='urn:x'/></message>", &[]),
        (
            "<q:message xmlns:q='jabber:server' xmlns='urn:x'/>",
            &["declares", "prefixed"],
        ),
        ("<db:verify/>", &["leans", "prefixed"]),
    ] {
        let (_, head) = scanned(bytes.as_bytes());
        let answers = [
            ("non_ascii", head.has_non_ascii_name()),
            ("leans", head.leans_on_scope()),
            ("declares", head.declares_default()),
            ("prefixed", head.is_prefixed()),
        ];
        for (name, answer) in answers {
            assert_eq!(answer, yes.contains(&name), "{name} of {bytes}");
        }
    }
}

#[test]
fn a_namespace_comes_from_where_it_is_declared() {
    for (bytes, namespace) in [
        ("<a/>", "jabber:server"),
        ("<a xmlns='urn:x'/>", "urn:x"),
        ("<a xmlns=''/>", ""),
        ("<x:a xmlns:x='urn:y' xmlns='urn:z'/>", "urn:y"),
        ("<xml:a/>", "http://www.w3.org/XML/1998/namespace"),
    ] {
        let (scanner, head) = scanned(bytes.as_bytes());
        assert_eq!(
            head.namespace(bytes.as_bytes(), scanner.scope()),
            namespace,
            "{bytes}"
        );
        let tree = Element::parse(bytes.as_bytes(), scanner.scope()).unwrap();
        assert_eq!(tree.namespace(), namespace, "{bytes}");
    }
}

#[test]
fn a_scope_holds_what_the_header_declares() {
    let (scanner, _) = scanned(b"<a/>");
    let scope = scanner.scope();
    assert_eq!(scope.default_namespace(), "jabber:server");
    assert_eq!(scope.get("db"), Some("jabber:server:dialback"));
    assert_eq!(scope.get("x"), None);
    assert_eq!(
        scope.iter().map(|(prefix, _)| prefix).collect::<Vec<_>>(),
        ["", "stream", "db"]
    );
    assert_eq!(Scanner::new(Limits::default()).scope(), &Scope::default());
}

#[test]
fn a_tree_says_what_is_in_it() {
    let features = tree(
        "<stream:features>\n<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
         <m xmlns='urn:m' b='1' xml:lang='en' a='&lt;2' x:a='3' xmlns:x='urn:x'>one<n/>t&amp;wo<![CDATA[ & \r\nthree]]></m>\
         <m xmlns='urn:other'/></stream:features>",
    );
    assert!(features.is("features", "http://etherx.jabber.org/streams"));
    assert!(!features.is("features", ""));
    assert_eq!(features.children().count(), 3);
    let starttls = features
        .child("starttls", "urn:ietf:params:xml:ns:xmpp-tls")
        .unwrap();
    assert!(starttls.child("required", starttls.namespace()).is_some());
    assert!(features.child("starttls", "urn:m").is_none());
    let m = features.child("m", "urn:m").unwrap();
    assert_eq!(m.text(), "onet&wo & \nthree");
    assert_eq!(m.attribute("a"), Some("<2"));
    assert_eq!(m.attribute("lang"), None);
    assert_eq!(m.lang(), Some("en"));
    let attributes = m
        .attributes()
        .map(|it| (it.name(), it.namespace(), it.value()));
    let xml = "http://www.w3.org/XML/1998/namespace";
    let expected = [
        ("b", "", "1"),
        ("lang", xml, "en"),
        ("a", "", "<2"),
        ("a", "urn:x", "3"),
    ];
    assert_eq!(attributes.collect::<Vec<_>>(), expected);
}

#[test]
fn trees_are_equal_when_they_mean_the_same() {
    let one = tree("<m xmlns='urn:m' a='1' b='2'><n>x&gt;</n></m>");
    assert_eq!(
        one,
        tree("<p:m xmlns:p='urn:m' b=\"2\" a='1' ><p:n><![CDATA[x]]>&#62;</p:n></p:m>")
    );
    for other in [
        "<m xmlns='urn:m' a='1' b='2'><n>x&gt;</n> </m>",
        "<m xmlns='urn:m' a='1' b='2'><n>x&gt;</n><n/></m>",
        "<m xmlns='urn:m' a='1' b='2'/>",
        "<m xmlns='urn:m' a='1' b='2'>x<n>x&gt;</n></m>",
        "<m xmlns='urn:m' a='1' b='2'>n</m>",
        "<m xmlns='urn:m' a='1' b='2'><n>x</n></m>",
        "<m xmlns='urn:m' a='1' b='3'><n>x&gt;</n></m>",
        "<m xmlns='urn:m' a='1'><n>x&gt;</n></m>",
        "<m xmlns='urn:m' a='1' b='2'><o>x&gt;</o></m>",
        "<m xmlns='urn:n' a='1' b='2'><n>x&gt;</n></m>",
        "<m xmlns='urn:m' xmlns:p='urn:m' a='1' p:b='2'><n>x&gt;</n></m>",
    ] {
        assert_ne!(one, tree(other), "{other}");
        assert_ne!(tree(other), one, "{other}");
    }
}

#[test]
fn a_stream_header_is_read_without_its_end() {
    let header = Element::parse_header(HEADER.as_bytes()).unwrap();
    assert!(header.is("stream", "http://etherx.jabber.org/streams"));
    assert_eq!(header.lang(), Some("en"));
    assert_eq!(
        header.attributes().count(),
        1,
        "declarations are no attributes"
    );
    for wrong in [
        "", "<a/>", "<a", "<a>b", "<p:a>", "a", "<a b>", "</a>", "<a ='1'>",
    ] {
        let error = Element::parse_header(wrong.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotWellFormed, "{wrong}");
    }
}

#[test]
fn what_is_no_element_is_no_tree() {
    for wrong in [
        "",
        "a",
        "<a>",
        "<a></b>",
        "<a/>b",
        "b<a/>",
        "<a/><a/>",
        "<a><![CDATA[</a>",
        "</a>",
        "<>",
        "<a><b></a></b>",
    ] {
        let error = Element::parse(wrong.as_bytes(), &Scope::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotWellFormed, "{wrong}");
    }
    let error = Element::parse(b"<a>\xFF</a>", &Scope::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedEncoding);
}

#[test]
fn a_tree_is_written_for_where_it_goes() {
    for (read, default, written) in [
        (
            "<db:result a='b\"'/>",
            "jabber:server",
            "<db:result xmlns:db='jabber:server:dialback' a='b&quot;'/>",
        ),
        (
            "<db:result>k</db:result>",
            "jabber:server:dialback",
            "<result>k</result>",
        ),
        ("<a><b/></a>", "jabber:server", "<a><b/></a>"),
        ("<a><b/></a>", "", "<a xmlns='jabber:server'><b/></a>"),
        (
            "<a xmlns='urn:x'><b xmlns=''/></a>",
            "urn:x",
            "<a><b xmlns=''/></a>",
        ),
        (
            "<a xmlns='urn:x'><b xmlns=''/></a>",
            "",
            "<a xmlns='urn:x'><b xmlns=''/></a>",
        ),
        (
            "<db:a xml:lang='en'><b/></db:a>",
            "jabber:server",
            "<db:a xmlns:db='jabber:server:dialback' xml:lang='en'><b/></db:a>",
        ),
    ] {
        let mut out = String::new();
        tree(read).write(default, &mut out);
        assert_eq!(out, written, "{read} in {default:?}");
    }
}

/// Reads an element on the stream of [`HEADER`].
fn tree(bytes: &str) -> Element {
    let (scanner, _) = scanned(bytes.as_bytes());
    Element::parse(bytes.as_bytes(), scanner.scope()).unwrap()
}

fn scanned(bytes: &[u8]) -> (Scanner, Head) {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(
        scanner.scan(HEADER.as_bytes()),
        Ok(Scan::Header { .. })
    ));
    match scanner.scan(bytes) {
        Ok(Scan::Element { len, head }) if len == bytes.len() => (scanner, head),
        other => panic!("{other:?} of {}", String::from_utf8_lossy(bytes)),
    }
}
