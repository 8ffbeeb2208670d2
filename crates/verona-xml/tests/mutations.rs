//! Documents nobody would write: how their bytes are cut changes nothing, nothing bad is delivered, and an independent
//! parser agrees about them, known differences aside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod support;

use proptest::prelude::*;
use support::stanzas::{Style, stanza};
use support::{Document, FOOTER, HEADER, Numbers, Piece, Reading, read, rxml_accepts};
use verona_xml::{Element, ErrorKind, Limits, Scan, Scanner};

proptest! {
    #![proptest_config(support::cases())]

    //= STREAM-37
    //= STREAM-43
    #[test]
    fn cutting_changes_nothing(document in document(), seed: u64, tight: bool) {
        let document = document.0;
        let limits = if tight { tight_limits() } else { Limits::default() };
        let whole = read(&document, limits, || usize::MAX / 2);
        let bytewise = read(&document, limits, || 1);
        prop_assert_eq!(&bytewise, &whole);
        let mut numbers = Numbers(seed);
        let split = read(&document, limits, || 1 + numbers.below(40));
        prop_assert_eq!(&split, &whole);
    }

    /// What is delivered is good by itself: another scanner takes it, and a tree can be made of it.
    #[test]
    fn what_is_delivered_is_good(document in document()) {
        let document = document.0;
        let reading = read(&document, Limits::default(), || 100);
        let header = reading.pieces.iter().find_map(|piece| match piece {
            Piece::Header(bytes, _) => Some(bytes),
            Piece::Space(_) | Piece::Declaration(_) | Piece::Element(..) | Piece::Close(_) => None,
        });
        for element in reading.elements() {
            let header = header.unwrap();
            let mut scanner = Scanner::new(Limits::default());
            let opened = matches!(scanner.scan(header.as_bytes()), Ok(Scan::Header { .. }));
            prop_assert!(opened);
            prop_assert!(Element::parse_header(header.as_bytes()).is_ok());
            let Ok(Scan::Element { len, head }) = scanner.scan(element) else {
                panic!("{element:?} is taken alone");
            };
            prop_assert_eq!(len, element.len());
            let tree = Element::parse(element, scanner.scope()).unwrap();
            prop_assert_eq!(tree.name(), head.local(element));
            prop_assert_eq!(tree.namespace(), head.namespace(element, scanner.scope()));
            for (from_tree, from_head) in [
                (tree.attribute("from"), head.from(element)),
                (tree.attribute("to"), head.to(element)),
                (tree.attribute("id"), head.id(element)),
                (tree.attribute("type"), head.kind(element)),
                (tree.lang(), head.lang(element)),
            ] {
                prop_assert_eq!(from_tree, from_head.as_deref());
            }
        }
    }

    /// Neither reads what the other refuses, but for reasons that are known.
    #[test]
    fn rxml_agrees(document in document()) {
        let document = document.0;
        let ours = read(&document, Limits::default(), || 100);
        let theirs = rxml_accepts(&document);
        let known = if ours.is_accepted() {
            theirs || rxml_refuses_what_is_legal(&document)
        } else {
            !theirs || we_refuse_more(&ours)
        };
        prop_assert!(
            known,
            "rxml accepts: {theirs}, we: {ours:?}, {}",
            String::from_utf8_lossy(&document)
        );
    }

    /// Reading a tree from anything ends, and does not panic.
    #[test]
    fn trees_of_anything(bytes in prop::collection::vec(any::<u8>(), 0..200), document in document()) {
        let scope = [("x", "urn:x")].into_iter().collect();
        for bytes in [&bytes, &document.0] {
            for start in [0, HEADER.len().min(bytes.len())] {
                let _ = Element::parse_header(&bytes[start..]);
                if let Ok(tree) = Element::parse(&bytes[start..], &scope) {
                    prop_assert!(!tree.name().is_empty());
                }
            }
        }
    }
}

/// A stray byte of a multi-byte character, where the scanner has nothing before it.
///
//= STREAM-37
#[test]
fn a_continuation_byte_alone_is_refused() {
    for before in [
        "",
        HEADER,
        &format!("{HEADER}<message/>"),
        &format!("{HEADER}<message>"),
    ] {
        for bytes in [&b"\x80"[..], b"\x80\x80\x80\x80\x80", b"\xBF<a/>"] {
            let document = [before.as_bytes(), bytes].concat();
            for chunk in [1, usize::MAX / 2] {
                let reading = read(&document, Limits::default(), || chunk);
                let kind = reading.error.map(|error| error.kind());
                assert_eq!(
                    kind,
                    Some(ErrorKind::UnsupportedEncoding),
                    "{before} {bytes:?}"
                );
            }
        }
    }
}

/// Documents with something wrong in most of them.
fn document() -> impl Strategy<Value = Document> {
    prop_oneof![
        // Good ones.
        (any::<u64>(), 1..4usize).prop_map(|(seed, count)| stanzas(seed, count)),
        // Good ones, changed in a few places.
        (
            any::<u64>(),
            1..3usize,
            prop::collection::vec((any::<prop::sample::Index>(), change()), 1..4)
        )
            .prop_map(|(seed, count, changes)| {
                let mut document = stanzas(seed, count);
                for (place, (removed, piece)) in changes {
                    let at = place.index(document.len());
                    let end = document.len().min(at + removed);
                    document.splice(at..end, piece);
                }
                document
            }),
        // Pieces of XML in any order.
        prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| format!(
            "{HEADER}{}{FOOTER}",
            pieces.concat()
        )
        .into_bytes()),
    ]
    .prop_map(Document)
}

fn stanzas(seed: u64, count: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut document = HEADER.replace("to='a.example'", support::stanzas::PREFIXES_ELSEWHERE);
    for _ in 0..count {
        document.push_str(&stanza(&mut numbers, Style::Anything, true));
        document.push_str(["", " ", "\r\n"][numbers.below(3)]);
    }
    document.push_str(FOOTER);
    document.into_bytes()
}

/// How many bytes go, and what comes in their place.
fn change() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let piece = prop_oneof![
        prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(BYTES).prop_map(|byte| vec![byte]),
    ];
    (0..6usize, piece)
}

/// Differences that are ours: policy, limits, and two things that rxml does not notice.
fn we_refuse_more(ours: &Reading) -> bool {
    let Some(error) = ours.error else {
        return false;
    };
    error.kind() == ErrorKind::TooLarge
        || [
            "a namespace name contains a reference",
            "a namespace name contains a tab or a line end",
            "a start tag declares a prefix twice",
            "the prefix xmlns or its namespace is declared",
            "a CDATA section stands between first-level elements",
            "text stands between first-level elements",
        ]
        .contains(&error.what())
}

/// Differences that are its: it refuses a carriage return inside an attribute's value, character references of more than
/// eight digits, and the characters from U+FDF0 to U+FFFD in names.
fn rxml_refuses_what_is_legal(document: &[u8]) -> bool {
    let text = String::from_utf8_lossy(document);
    let text = text.replace('\r', " ").replace("&#00", "&#");
    let text = text.replace(|it| matches!(it, '\u{FDF0}'..='\u{FFFD}'), "\u{F900}");
    rxml_accepts(text.as_bytes())
}

fn tight_limits() -> Limits {
    Limits {
        header_bytes_max: 500,
        stanza_bytes_max: 120,
        element_depth_max: 3,
        elements_max: 5,
        attributes_max: 3,
        attribute_bytes_max: 12,
        namespaces_max: 9,
        name_bytes_max: 10,
    }
}

const BYTES: &[u8] = b"\0\x01\t\n\r <>&;'\"=/:!?-]x\x7F\x80\xC0\xE2\xEF\xBF\xBE\xF0\xFF";

const PIECES: &[&str] = &[
    "<message>",
    "</message>",
    "<message/>",
    "<a>",
    "</a>",
    "<a b='1'>",
    "<p:a xmlns:p='u'>",
    "</p:a>",
    "<p:a/>",
    "<a xmlns='u'>",
    "<a xmlns=''>",
    "<a xmlns='&amp;'/>",
    "<a p:b='1' q:b='2' xmlns:p='u' xmlns:q='u'/>",
    "<db:a/>",
    "<a xmlns='u' xmlns='u'/>",
    "<a b='1' b='2'/>",
    "<a b='\r'/>",
    "<a b='x\ry'/>",
    "<a xml:lang='en'/>",
    "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
    "<:a/>",
    "<a:/>",
    "<\u{F8}/>",
    "<\u{10000}>",
    "</\u{10000}>",
    "<a\u{B7}/>",
    "<\u{B7}/>",
    " ",
    "\n",
    "text",
    "&lt;",
    "&#65;",
    "&#x0;",
    "&#000000065;",
    "&foo;",
    "&",
    "]]>",
    "]]",
    "<![CDATA[",
    "]]]>",
    "<![CDATA[x]]>",
    "<!-- x -->",
    "<?p?>",
    "<!DOCTYPE a>",
    "<?xml version='1.0'?>",
    "\u{FEFF}",
    "\u{FFFE}",
    "\0",
    "</stream:stream>",
    "<a b=\"'\" c='\"'/>",
    "<a b='<'/>",
    "<a b='>'/>",
    "<a b=1/>",
    "<a b/>",
    "<a  b = '1' />",
    "<a b='1'c='2'/>",
    "< a/>",
    "</a >",
    "</ a>",
    " b='2'",
    "'",
    "\"",
    "=",
    "/",
    ">",
    "<",
    "x:",
    "xmlns",
    "xmlns:x='urn:x'",
];
