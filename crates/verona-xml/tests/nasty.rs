//! The collection of nasty documents: each has the verdict that it must have, however its bytes arrive, and where an
//! independent parser of the same subset disagrees the reason is known.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod support;

use rxml::strings::NcNameStr;
use support::{Numbers, nasty, read, rxml_accepts};
use verona_xml::{ErrorKind, Limits, Scan, Scanner};

//= STREAM-35
//= STREAM-36
//= STREAM-37
//= STREAM-38
#[test]
fn every_document_has_its_verdict() {
    let documents = nasty();
    assert_eq!(documents.len(), 128);
    for nasty in documents {
        let whole = read(&nasty.document, Limits::default(), || usize::MAX / 2);
        assert_eq!(
            whole.is_accepted(),
            nasty.accept,
            "{} {}: {whole:?}",
            nasty.number,
            nasty.name
        );

        let bytewise = read(&nasty.document, Limits::default(), || 1);
        assert_eq!(
            bytewise, whole,
            "{} {}, byte by byte",
            nasty.number, nasty.name
        );

        for seed in 0..20 {
            let mut numbers = Numbers(nasty.number * 1000 + seed);
            let split = read(&nasty.document, Limits::default(), || 1 + numbers.below(40));
            assert_eq!(
                split, whole,
                "{} {}, split by seed {seed}",
                nasty.number, nasty.name
            );
        }
    }
}

/// The stream error that a peer is sent. Documents that only lack their end have none.
///
//= STREAM-35
//= STREAM-36
//= STREAM-37
//= LIM-13
#[test]
fn every_refusal_has_its_kind() {
    for nasty in nasty() {
        let reading = read(&nasty.document, Limits::default(), || 64);
        let expected = match nasty.number {
            _ if nasty.accept => None,
            2..=12 | 110 | 118 | 120 | 121 => Some(ErrorKind::UnsupportedEncoding),
            45..=50 | 71..=73 | 76 | 119 | 122..=126 => Some(ErrorKind::Restricted),
            112..=116 => Some(ErrorKind::TooLarge),
            53 | 127 => None,
            _ => Some(ErrorKind::NotWellFormed),
        };
        let kind = reading.error.map(|error| error.kind());
        assert_eq!(
            kind, expected,
            "{} {}: {reading:?}",
            nasty.number, nasty.name
        );
    }
}

/// rxml is written by others for the same subset. Each difference is one that it was asked to have, or a defect that
/// was looked into; any other is a failure of this test.
#[test]
fn rxml_differs_where_it_is_known_to() {
    let mut unused: Vec<u64> = KNOWN_DIFFERENCES
        .iter()
        .map(|(number, _)| *number)
        .collect();
    for nasty in nasty() {
        let accepts = rxml_accepts(nasty.reduced.as_ref().unwrap_or(&nasty.document));
        let known = KNOWN_DIFFERENCES
            .iter()
            .find(|(number, _)| *number == nasty.number);
        match known {
            Some(_) => {
                assert_ne!(
                    accepts, nasty.accept,
                    "{} {}: no difference",
                    nasty.number, nasty.name
                );
                unused.retain(|number| *number != nasty.number);
            }
            None => assert_eq!(accepts, nasty.accept, "{} {}", nasty.number, nasty.name),
        }
    }
    assert_eq!(
        unused,
        [] as [u64; 0],
        "all known differences are of documents that exist"
    );
}

/// Every character there is, as a name and inside one. rxml lacks one range of the fifth edition.
#[test]
fn names_are_those_of_the_fifth_edition() {
    let mut scanner = Scanner::new(Limits::default());
    assert!(matches!(scanner.scan(b"<s>"), Ok(Scan::Header { .. })));
    for character in ('!'..=char::MAX).filter(|it| !"/>&<:".contains(*it)) {
        for name in [format!("{character}"), format!("a{character}")] {
            let theirs = NcNameStr::from_str(&name).is_ok();
            let element = format!("<{name}/>");
            let ours = match scanner.scan(element.as_bytes()) {
                Ok(Scan::Element { .. }) => true,
                Ok(other) => panic!("{other:?}"),
                Err(_) => false,
            };
            if !ours {
                scanner = Scanner::new(Limits::default());
                assert!(matches!(scanner.scan(b"<s>"), Ok(Scan::Header { .. })));
            }
            let lacking = matches!(character, '\u{FDF0}'..='\u{FFFD}');
            assert_eq!(ours, theirs || lacking, "{name:?}");
        }
    }
}

const KNOWN_DIFFERENCES: [(u64, &str); 8] = [
    (
        26,
        "rxml takes the last of two declarations of the default namespace",
    ),
    (36, "rxml lets a prefix be bound to the namespace of xmlns"),
    (
        52,
        "rxml reports a CDATA section between elements as text; its user would have to notice",
    ),
    (
        69,
        "rxml refuses character references of more than eight digits, which are legal",
    ),
    (
        98,
        "rxml reports a character reference between elements as text, here a space",
    ),
    (112, "rxml has no limit on depth"),
    (114, "rxml has no limit on attributes"),
    (115, "rxml has no limit on namespace declarations"),
];
