//! What is wrong is refused when the byte that decides arrives, and what is too large when it grows past its limit: a
//! peer cannot make us wait, or hold, by not finishing what it began.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod support;

use support::{FOOTER, HEADER, read};
use verona_xml::{Error, ErrorKind, Limits, Scan, Scanner};

/// The last byte of each decides, however they arrive.
///
//= STREAM-35
//= STREAM-36
//= STREAM-37
//= STREAM-38
#[test]
fn the_deciding_byte_decides() {
    use ErrorKind::{NotWellFormed, Restricted, UnsupportedEncoding};
    for (bytes, kind) in [
        (&b"<message><body>\0"[..], NotWellFormed),
        (b"<message a='\0", NotWellFormed),
        (b"<message \x0C", NotWellFormed),
        (b"<message><![CDATA[\x1F", NotWellFormed),
        (b"<message>\xC0", UnsupportedEncoding),
        (b"<message>\xE2\x82<", UnsupportedEncoding),
        (b"<message>\xED\xA0", UnsupportedEncoding),
        (b"<message>\xF5", UnsupportedEncoding),
        (b"<message>\xEF\xBF\xBF", NotWellFormed),
        (b"<!-", Restricted),
        (b"<!D", Restricted),
        (b"<?", Restricted),
        (b"<message><?", Restricted),
        (b"<message><!-", Restricted),
        (b"<message>&f", Restricted),
        (b"<message>&amo", Restricted),
        (b"<message a='&ltx", Restricted),
        (b"<message xmlns='&", Restricted),
        (b"<message xmlns:a='b&", Restricted),
        (b"<message>& ", NotWellFormed),
        (b"<message>&#a", NotWellFormed),
        (b"<message>&#x;", NotWellFormed),
        (b"<message>&#1114112", NotWellFormed),
        (b"<message>&#xD800;", NotWellFormed),
        (b"<message>&#0;", NotWellFormed),
        (b"<message>]]>", NotWellFormed),
        (b"<message>x]]]>", NotWellFormed),
        (b"<message a='<", NotWellFormed),
        (b"<message a=1", NotWellFormed),
        (b"<message a/", NotWellFormed),
        (b"<message a='1'b", NotWellFormed),
        (b"<message / ", NotWellFormed),
        (b"<message a='' a=''>", NotWellFormed),
        (b"<message xmlns:p=''", NotWellFormed),
        (b"<message xmlns:p='a' xmlns:p='b'", NotWellFormed),
        (b"<message xmlns:xml='a'", NotWellFormed),
        (b"<p:message>", NotWellFormed),
        (b"<message p:a=''>", NotWellFormed),
        (b"<1", NotWellFormed),
        (b"<:", NotWellFormed),
        (b"<a:b:", NotWellFormed),
        (b"<a:>", NotWellFormed),
        (b"<a:1", NotWellFormed),
        (b"<\xC3\x97", NotWellFormed),
        (b"< ", NotWellFormed),
        (b"<message></b", NotWellFormed),
        (b"<message></messages", NotWellFormed),
        (b"<message></message a", NotWellFormed),
        (b"</a", NotWellFormed),
        (b"</stream:stream/", NotWellFormed),
        (b"<![", NotWellFormed),
        (b"<message><![c", NotWellFormed),
        (b"x", NotWellFormed),
        (b"&", NotWellFormed),
        (b"\xEF\xBB\xBF", NotWellFormed),
    ] {
        let document = [HEADER.as_bytes(), bytes].concat();
        for chunk in [1, usize::MAX / 2] {
            let shown = String::from_utf8_lossy(bytes);
            let early = read(&document[..document.len() - 1], Limits::default(), || chunk);
            assert_eq!(early.error, None, "{shown}, without its last byte");
            let decided = read(&document, Limits::default(), || chunk);
            assert_eq!(
                decided.error.map(|error| error.kind()),
                Some(kind),
                "{shown}"
            );
        }
    }
}

/// Before the header too.
///
//= STREAM-37
//= STREAM-38
#[test]
fn the_first_bytes_decide() {
    use ErrorKind::{NotWellFormed, Restricted, UnsupportedEncoding};
    for (bytes, kind) in [
        (&b"\xFE"[..], UnsupportedEncoding),
        (b"\xFF", UnsupportedEncoding),
        (b"<\0", UnsupportedEncoding),
        (b"\0", UnsupportedEncoding),
        (b"\xEF\xBB\xBF", NotWellFormed),
        (b" <?", Restricted),
        (b"<?xml version='1.0'?><?", Restricted),
        (b"<?xmlx", Restricted),
        (b"<?xml version='1.0'?>x", NotWellFormed),
        (b"<!D", Restricted),
        (b"</", NotWellFormed),
        (b"<stream/>", NotWellFormed),
        (b"<stream:stream>", NotWellFormed),
        (
            b"<?xml version='1.0' encoding='latin1'?>",
            UnsupportedEncoding,
        ),
    ] {
        let shown = String::from_utf8_lossy(bytes);
        let early = read(&bytes[..bytes.len() - 1], Limits::default(), || 1);
        assert_eq!(early.error, None, "{shown}, without its last byte");
        let decided = read(bytes, Limits::default(), || 1);
        assert_eq!(
            decided.error.map(|error| error.kind()),
            Some(kind),
            "{shown}"
        );
    }
}

/// A limit lets through exactly as much as it says, and refuses the first byte or thing too much.
///
//= LIM-01
//= LIM-02
//= LIM-09
//= LIM-13
//= STREAM-43
#[test]
fn limits_are_exact_and_prompt() {
    let all = Limits::default();
    let x = |count: usize| "x".repeat(count);
    for (what, limits, fits, exceeds) in [
        (
            "stanza_bytes_max",
            Limits {
                stanza_bytes_max: 20,
                ..all
            },
            format!("<a>{}</a>", x(13)),
            format!("<a>{}", x(17)),
        ),
        (
            "stanza_bytes_max",
            Limits {
                stanza_bytes_max: 10,
                ..all
            },
            "<a></a   >".to_owned(),
            "<a></a    ".to_owned(),
        ),
        (
            // The limit lies inside a character.
            "stanza_bytes_max",
            Limits {
                stanza_bytes_max: 10,
                ..all
            },
            "<a>\u{E9}x</a>".to_owned(),
            "<a>xxxxxx\u{1F600}".to_owned(),
        ),
        (
            // And that in a name.
            "stanza_bytes_max",
            Limits {
                stanza_bytes_max: 10,
                ..all
            },
            "<xxx\u{F8}\u{F8}/>".to_owned(),
            "<xxxxxxxx\u{F8}".to_owned(),
        ),
        (
            "name_bytes_max",
            Limits {
                name_bytes_max: 15,
                ..all
            },
            format!("<{}/>", x(15)),
            format!("<{}", x(16)),
        ),
        (
            "name_bytes_max",
            Limits {
                name_bytes_max: 15,
                ..all
            },
            format!("<a {}=''/>", x(15)),
            format!("<a {}", x(16)),
        ),
        (
            "attribute_bytes_max",
            Limits {
                attribute_bytes_max: 40,
                ..all
            },
            format!("<a b='{}'/>", x(40)),
            format!("<a b='{}", x(41)),
        ),
        (
            "attribute_bytes_max",
            Limits {
                attribute_bytes_max: 40,
                ..all
            },
            format!("<a b='{}&#x41;'/>", x(34)),
            format!("<a b='{}&#000", x(36)),
        ),
        (
            "attributes_max",
            Limits {
                attributes_max: 5,
                ..all
            },
            "<a b='' c='' d='' e='' f='' xmlns:p='u'/>".to_owned(),
            "<a b='' c='' d='' e='' f='' g=".to_owned(),
        ),
        (
            "namespaces_max",
            Limits {
                namespaces_max: 3,
                ..all
            },
            "<a xmlns='u'><b xmlns:p='u' xmlns:q='u'/><b xmlns:p='u' xmlns:q='u'/></a>".to_owned(),
            "<a xmlns='u'><b xmlns:p='u' xmlns:q='u'><c xmlns=''".to_owned(),
        ),
        (
            "element_depth_max",
            Limits {
                element_depth_max: 3,
                ..all
            },
            "<a><b><c/><c></c></b></a>".to_owned(),
            "<a><b><c><d".to_owned(),
        ),
        (
            "elements_max",
            Limits {
                elements_max: 3,
                ..all
            },
            "<a><b/><b></b></a>".to_owned(),
            "<a><b/><b></b><c".to_owned(),
        ),
    ] {
        let header = "<s xmlns:stream='u'>";
        for chunk in [1, usize::MAX / 2] {
            let good = read(
                format!("{header}{fits}{fits}</s>").as_bytes(),
                limits,
                || chunk,
            );
            assert_eq!((good.error, good.complete), (None, true), "{what}: {fits}");
            let document = format!("{header}{exceeds}");
            let nearly = read(&document.as_bytes()[..document.len() - 1], limits, || chunk);
            assert_eq!(
                nearly.error, None,
                "{what}: {exceeds}, without its last byte"
            );
            let too_much = read(document.as_bytes(), limits, || chunk);
            let refused = too_much.error.map(|error| (error.kind(), error.what()));
            assert_eq!(refused, Some((ErrorKind::TooLarge, what)), "{exceeds}");
        }
    }
}

//= LIM-09
#[test]
fn a_header_has_a_limit_of_its_own() {
    let limits = Limits {
        header_bytes_max: 100,
        stanza_bytes_max: 20,
        ..Limits::default()
    };
    let fits = format!("<s a='{}'>", "x".repeat(92));
    assert_eq!(fits.len(), 100);
    let reading = read(format!("{fits}<a/></s>").as_bytes(), limits, || 1);
    assert_eq!((reading.error, reading.complete), (None, true));
    let unfinished = format!("<s a='{}", "x".repeat(94));
    let reading = read(unfinished.as_bytes(), limits, || 1);
    assert_eq!(reading.error.unwrap().what(), "header_bytes_max");
    let declarations: String = (0..33).map(|n| format!(" xmlns:p{n}='u'")).collect();
    let reading = read(
        format!("<s{declarations}>").as_bytes(),
        Limits::default(),
        || 1,
    );
    assert_eq!(reading.error.unwrap().what(), "namespaces_max");
    let reading = read(
        format!("<?xml{}", " ".repeat(300)).as_bytes(),
        Limits::default(),
        || 1,
    );
    assert_eq!(reading.error.unwrap().kind(), ErrorKind::TooLarge);
}

/// A peer that has proved who it is gets more, in the middle of an element; and less again.
#[test]
fn other_limits_hold_at_once() {
    let small = Limits {
        stanza_bytes_max: 16,
        ..Limits::default()
    };
    let mut scanner = Scanner::new(small);
    assert!(matches!(
        scanner.scan(b"<s>"),
        Ok(Scan::Header { len: 3, .. })
    ));
    assert!(matches!(scanner.scan(b"<message><body>"), Ok(Scan::More)));
    scanner.set_limits(Limits::default());
    let element = b"<message><body>how art thou?</body></message>";
    assert!(matches!(scanner.scan(element), Ok(Scan::Element { .. })));

    assert!(matches!(scanner.scan(&element[..20]), Ok(Scan::More)));
    scanner.set_limits(small);
    let error = scanner.scan(element).unwrap_err();
    assert_eq!(
        (error.kind(), error.what()),
        (ErrorKind::TooLarge, "stanza_bytes_max")
    );
}

/// The innermost declaration of a prefix counts, and only where it is in force.
///
//= STREAM-36
#[test]
fn the_innermost_declaration_counts() {
    for (inside, accepted) in [
        (
            "<m xmlns:p='urn:a' xmlns:q='urn:b'><x xmlns:p='urn:b' p:a='' q:a=''/></m>",
            false,
        ),
        (
            "<m xmlns:p='urn:a' xmlns:q='urn:a'><x xmlns:p='urn:b' p:a='' q:a=''/></m>",
            true,
        ),
        (
            "<m xmlns:p='urn:a' xmlns:q='urn:a'><x xmlns:p='urn:b'/><x p:a='' q:a=''/></m>",
            false,
        ),
        (
            "<m xmlns:db='urn:a' xmlns:q='jabber:server:dialback' q:a='' db:a=''/>",
            true,
        ),
        (
            "<m xmlns:q='jabber:server:dialback' q:a='' db:a=''/>",
            false,
        ),
        ("<m xmlns:q='jabber:server' a='' q:a=''/>", true),
        ("<m xmlns:q='http://www.w3.org/XML/1998/namespace'/>", false),
        ("<m xml:lang='a' xml:lang='b'/>", false),
    ] {
        let reading = read(
            format!("{HEADER}{inside}{FOOTER}").as_bytes(),
            Limits::default(),
            || 1,
        );
        assert_eq!(reading.is_accepted(), accepted, "{inside}: {reading:?}");
    }
}

/// What was refused stays refused.
#[test]
fn a_refused_stream_does_not_recover() {
    let mut scanner = Scanner::new(Limits::default());
    let error: Error = scanner.scan(b"<s/>").unwrap_err();
    assert_eq!(scanner.scan(b"<s>").unwrap_err(), error);
    assert_eq!(
        error.to_string(),
        "the XML is not well-formed: the stream ends in its header"
    );
}

/// What came before a mistake is delivered, though both arrived together.
#[test]
fn what_came_before_a_mistake_is_delivered() {
    let document = [HEADER.as_bytes(), b"<a/><b/> <message>\xFF</message><c/>"].concat();
    let reading = read(&document, Limits::default(), || usize::MAX / 2);
    assert_eq!(reading.elements(), [b"<a/>", b"<b/>"]);
    assert_eq!(
        reading.error.unwrap().kind(),
        ErrorKind::UnsupportedEncoding
    );
}
