//! Nesting cannot exhaust a stack: everything that reads or writes elements does so without recursion, or to a depth
//! that is bounded; shown on a stack of 256 KiB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod support;

use support::{FOOTER, HEADER, read};
use verona_xml::{Edit, Element, ErrorKind, Limits, Scan, Scanner, Scope, rewrite};

//= LIM-13
#[test]
fn a_depth_bomb_meets_a_small_stack() {
    on_a_small_stack(|| {
        for depth in [1, 63, 64, 65, 128, 129, 1000, 1_000_000] {
            let document = format!("{HEADER}{}{FOOTER}", nested(depth));
            let unlimited = Limits {
                element_depth_max: usize::MAX,
                elements_max: usize::MAX,
                stanza_bytes_max: usize::MAX,
                ..Limits::default()
            };
            for (limits, deepest) in [(Limits::default(), 64), (unlimited, Limits::DEPTH_CEILING)] {
                let reading = read(document.as_bytes(), limits, || 4096);
                if depth <= deepest {
                    assert!(reading.is_accepted(), "{depth}");
                    continue;
                }
                let error = reading.error.unwrap();
                assert_eq!(error.kind(), ErrorKind::TooLarge);
                let what = error.what();
                assert!(what == "element_depth_max", "{depth}: {what}");
            }
        }
    });
}

#[test]
fn the_deepest_trees_meet_a_small_stack() {
    on_a_small_stack(|| {
        let deepest = nested(Limits::DEPTH_CEILING);
        let tree = Element::parse(deepest.as_bytes(), &Scope::default()).unwrap();
        let copy = tree.clone();
        assert_eq!(copy, tree);
        assert_eq!(
            format!("{tree:?}").len(),
            deepest.len() - 3,
            "the innermost is written <a/>"
        );
        drop(copy);

        for depth in [Limits::DEPTH_CEILING + 2, 1_000_000] {
            let error = Element::parse(nested(depth).as_bytes(), &Scope::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
    });
}

#[test]
fn the_deepest_stanza_is_rewritten_on_a_small_stack() {
    on_a_small_stack(|| {
        let limits = Limits {
            element_depth_max: Limits::DEPTH_CEILING,
            ..Limits::default()
        };
        let mut scanner = Scanner::new(limits);
        let header = b"<stream xmlns='urn:s' xmlns:x='jabber:server'>";
        assert!(matches!(scanner.scan(header), Ok(Scan::Header { .. })));
        let depth = Limits::DEPTH_CEILING;
        let stanza = format!("{}{}", "<x:a>".repeat(depth), "</x:a>".repeat(depth));
        let Ok(Scan::Element { head, .. }) = scanner.scan(stanza.as_bytes()) else {
            panic!("the deepest stanza is accepted");
        };
        let rewritten = rewrite(stanza.as_bytes(), &head, scanner.scope(), &Edit::default());
        let expected = format!(
            "{}<a/>{}",
            "<a>".repeat(depth - 1),
            "</a>".repeat(depth - 1)
        );
        assert_eq!(String::from_utf8(rewritten.into_owned()).unwrap(), expected);
    });
}

fn nested(depth: usize) -> String {
    format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth))
}

#[allow(clippy::disallowed_methods)] // only a thread of its own has a stack of a chosen size
fn on_a_small_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    thread.spawn(test).unwrap().join().unwrap();
}
