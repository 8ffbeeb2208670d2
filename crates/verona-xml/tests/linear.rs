//! Time is proportional to bytes, whatever a peer sends and however slowly: counted in bytes examined, not by a clock,
//! so that the result is the same on every machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod support;

use support::{FOOTER, HEADER, read_with};
use verona_xml::{Limits, Scanner};

/// Comparing with at most 32 + 32 declarations in force may cost so much per byte; nothing else comes near.
const NAMESPACES: u64 = 70;
/// Attributes are sorted to find two of the same name, here thousands where 64 are allowed.
const SORTING: u64 = 20;
const OTHERS: u64 = 4;

//= LIM-09
//= LIM-13
//= STREAM-43
#[test]
fn work_is_proportional_to_bytes() {
    for (name, constant, shape) in shapes() {
        for size in [20_000, 160_000] {
            let document = shape(size);
            assert!(
                document.len() >= size,
                "{name} is as large as it was asked to be"
            );
            for chunk in [1, 7, 1400, usize::MAX / 2] {
                let mut scanner = Scanner::new(wide());
                let reading = read_with(&mut scanner, &document, || chunk);
                assert_eq!(reading.error, None, "{name}");
                let ratio = scanner.work() / document.len() as u64;
                assert!(
                    ratio < constant,
                    "{name}: {ratio} examined for each of {} bytes in chunks of {chunk}",
                    document.len()
                );
            }
        }
    }
}

/// What counts is the bytes that arrived, so a peer that sends one of them a second does not make the others dearer.
#[test]
fn waiting_costs_nothing() {
    let mut scanner = Scanner::new(Limits::default());
    let arrived = &HEADER.as_bytes()[..100];
    let _ = scanner.scan(&arrived[..21]).unwrap();
    let before = {
        let _ = scanner.scan(&arrived[21..]).unwrap();
        scanner.work()
    };
    for _ in 0..1000 {
        let _ = scanner.scan(&arrived[21..]).unwrap();
    }
    assert_eq!(scanner.work(), before);
}

type Shape = fn(usize) -> Vec<u8>;

fn shapes() -> Vec<(&'static str, u64, Shape)> {
    vec![
        ("white space in an end tag", OTHERS, |n| {
            unfinished("<message></message", " ", n)
        }),
        ("white space in the end tag of the stream", OTHERS, |n| {
            unfinished("</stream:stream", "\n", n)
        }),
        ("a long attribute value", OTHERS, |n| {
            unfinished("<message a='", "x", n)
        }),
        ("references in an attribute value", OTHERS, |n| {
            unfinished("<message a='", "&amp;", n)
        }),
        ("an unfinished reference in a value", OTHERS, |n| {
            unfinished("<message a='&#", "0", n)
        }),
        ("long text", OTHERS, |n| {
            unfinished("<message><body>", "x", n)
        }),
        ("text of four-byte characters", OTHERS, |n| {
            unfinished("<message><body>", "\u{1F600}", n)
        }),
        ("text of references", OTHERS, |n| {
            unfinished("<message><body>", "&lt;", n)
        }),
        ("an unfinished reference", OTHERS, |n| {
            unfinished("<message><body>&#x", "0", n)
        }),
        ("brackets in text", OTHERS, |n| {
            unfinished("<message><body>", "]", n)
        }),
        ("brackets and others in text", OTHERS, |n| {
            unfinished("<message><body>", "]x]]y", n)
        }),
        ("a CDATA section", OTHERS, |n| {
            unfinished("<message><![CDATA[", "x", n)
        }),
        ("brackets in a CDATA section", OTHERS, |n| {
            unfinished("<message><![CDATA[", "]", n)
        }),
        ("less-than signs in a CDATA section", OTHERS, |n| {
            unfinished("<message><![CDATA[", "]]<", n)
        }),
        ("many CDATA sections", OTHERS, |n| {
            unfinished("<message>", "<![CDATA[]]>", n)
        }),
        ("white space in a tag", OTHERS, |n| {
            unfinished("<message ", "\t", n)
        }),
        ("white space around an equals sign", OTHERS, |n| {
            unfinished("<message a = ", " ", n)
        }),
        ("a long name", OTHERS, |n| unfinished("<", "x", n)),
        ("a long name of two-byte characters", OTHERS, |n| {
            unfinished("<", "\u{F8}", n)
        }),
        ("a long attribute name", OTHERS, |n| {
            unfinished("<message ", "x", n)
        }),
        ("many empty elements", OTHERS, |n| {
            unfinished("<message>", "<a/>", n)
        }),
        ("many elements", OTHERS, |n| {
            unfinished("<message>", "<ab></ab>", n)
        }),
        ("up and down", OTHERS, |n| {
            let nest = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
            unfinished("<message>", &nest, n)
        }),
        ("many stanzas", OTHERS, |n| {
            unfinished("", "<message to='a@b.example'><body>hi</body></message>", n)
        }),
        ("many keep-alives", OTHERS, |n| unfinished("", " ", n)),
        ("a tag of many attributes", SORTING, |n| {
            let order = |n: usize| n * 7919 % 100_003;
            let attributes: String = (0..n / 5)
                .map(|n| format!(" a{:06}=''", order(n)))
                .collect();
            unfinished(&format!("<message{attributes}>"), " ", 1)
        }),
        ("tags of 64 attributes alike to the last byte", 8, |n| {
            let name = "x".repeat(20);
            let attributes: String = (0..64).map(|n| format!(" {name}{n:02}=''")).collect();
            unfinished("<message>", &format!("<a{attributes}/>"), n)
        }),
        ("32 prefixes alike to the last byte", NAMESPACES, |n| {
            let declarations = declarations(&"p".repeat(50), 8);
            unfinished(
                &format!("<message{declarations}>"),
                &format!("<{}00:a/>", "p".repeat(50)),
                n,
            )
        }),
        ("32 namespaces alike to the last byte", NAMESPACES, |n| {
            let attributes: String = (0..32).map(|n| format!(" p{n:02}:a=''")).collect();
            unfinished(
                &format!("<message{}>", declarations("p", 200)),
                &format!("<a{attributes}/>"),
                n,
            )
        }),
        ("declarations over and over", NAMESPACES, |n| {
            unfinished("<message>", &format!("<a{}/>", declarations("p", 20)), n)
        }),
    ]
}

/// 32 declarations of prefixes and namespaces that begin alike.
fn declarations(prefix: &str, length: usize) -> String {
    let name = "n".repeat(length);
    (0..32)
        .map(|n| format!(" xmlns:{prefix}{n:02}='{name}{n:02}'"))
        .collect()
}

/// A stream whose last element begins with `opening` and goes on with as many `piece`s as make `size` bytes.
fn unfinished(opening: &str, piece: &str, size: usize) -> Vec<u8> {
    let mut document = format!("{HEADER}{opening}");
    while document.len() < size {
        document.push_str(piece);
    }
    document.into_bytes()
}

/// Limits that let the shapes grow.
fn wide() -> Limits {
    let all = usize::MAX / 2;
    Limits {
        header_bytes_max: all,
        stanza_bytes_max: all,
        element_depth_max: all,
        elements_max: all,
        attributes_max: all,
        attribute_bytes_max: all,
        namespaces_max: 32,
        name_bytes_max: all,
    }
}

#[test]
fn the_footer_still_ends_a_long_stream() {
    let mut document = unfinished("", "<message/>", 200_000);
    document.extend_from_slice(FOOTER.as_bytes());
    let mut scanner = Scanner::new(Limits::default());
    assert!(read_with(&mut scanner, &document, || 1).is_accepted());
}
