//! XML that XMPP does not have, XML that is none, and XML that is too much.
//! Why each twice: before authentication anybody can send it, and after it the limits are wider.

use super::attack::{REFUSED, Step, attack, forbidden_ping, heavy_attack};
use crate::case::Case;
use crate::scene::Scene;
use crate::verdict::Expect;

/// What is wrong: a name, a sentence, the conditions that fit, the bytes, the requirements.
type Wrong = (
    &'static str,
    &'static str,
    &'static [&'static str],
    fn(&Scene) -> Vec<u8>,
    &'static [&'static str],
);

const RESTRICTED: &[&str] = &["restricted-xml", "bad-format"];
const MALFORMED: &[&str] = &["not-well-formed", "bad-format", "invalid-xml"];
const ENCODING: &[&str] = &["unsupported-encoding", "not-well-formed", "bad-format"];

/// A message around some bytes.
fn message(scene: &Scene, inside: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "<message from='a@{}' to='b@{}'><body>",
        scene.domain,
        scene.hosted()
    )
    .into_bytes();
    bytes.extend_from_slice(inside);
    bytes.extend_from_slice(b"</body></message>");
    bytes
}

const WRONG: &[Wrong] = &[
    (
        "comment",
        "A comment.",
        RESTRICTED,
        |_| b"<!-- hello -->".to_vec(),
        &["STREAM-35"],
    ),
    (
        "comment-inside",
        "A comment inside a stanza.",
        RESTRICTED,
        |scene| message(scene, b"<!-- hello -->"),
        &["STREAM-35"],
    ),
    (
        "processing-instruction",
        "A processing instruction.",
        RESTRICTED,
        |_| b"<?target data?>".to_vec(),
        &["STREAM-35"],
    ),
    (
        "processing-instruction-inside",
        "A processing instruction inside a stanza.",
        RESTRICTED,
        |scene| message(scene, b"<?target data?>"),
        &["STREAM-35"],
    ),
    (
        "declaration-again",
        "A second XML declaration without a restart.",
        &["restricted-xml", "bad-format", "not-well-formed"],
        |_| b"<?xml version='1.0'?>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "doctype-inside",
        "A document type where elements are.",
        &["restricted-xml", "bad-format", "not-well-formed"],
        |_| b"<!DOCTYPE a [<!ENTITY b 'c'>]>".to_vec(),
        &["STREAM-35"],
    ),
    (
        "undefined-entity",
        "A reference to an entity that nobody defined.",
        &["restricted-xml", "bad-format", "not-well-formed"],
        |scene| message(scene, b"&foo;"),
        &["STREAM-35"],
    ),
    (
        "reference-to-zero",
        "A reference to the character zero.",
        MALFORMED,
        |scene| message(scene, b"&#0;"),
        &["STREAM-36"],
    ),
    (
        "reference-to-a-surrogate",
        "A reference to half a character.",
        MALFORMED,
        |scene| message(scene, b"&#xD800;"),
        &["STREAM-36"],
    ),
    (
        "reference-too-far",
        "A reference to a character beyond Unicode.",
        MALFORMED,
        |scene| message(scene, b"&#x110000;"),
        &["STREAM-36"],
    ),
    (
        "control-character",
        "A control character.",
        MALFORMED,
        |scene| message(scene, &[1]),
        &["STREAM-36"],
    ),
    (
        "zero-byte",
        "A zero byte between stanzas.",
        MALFORMED,
        |_| vec![0],
        &["STREAM-36"],
    ),
    (
        "no-character",
        "The code point FFFE, which is no character.",
        MALFORMED,
        |scene| message(scene, "\u{fffe}".as_bytes()),
        &["STREAM-36"],
    ),
    (
        "overlong",
        "UTF-8 that is longer than needed: C0 80.",
        ENCODING,
        |scene| message(scene, &[0xc0, 0x80]),
        &["STREAM-37"],
    ),
    (
        "overlong-angle-bracket",
        "UTF-8 that is longer than needed and would be a <: C0 BC.",
        ENCODING,
        |scene| message(scene, &[0xc0, 0xbc]),
        &["STREAM-37"],
    ),
    (
        "surrogate",
        "UTF-8 of half a character: ED A0 80.",
        ENCODING,
        |scene| message(scene, &[0xed, 0xa0, 0x80]),
        &["STREAM-37"],
    ),
    (
        "lone-continuation",
        "A byte that continues nothing: 80.",
        ENCODING,
        |scene| message(scene, &[0x80]),
        &["STREAM-37"],
    ),
    (
        "cut-character",
        "A character of three bytes without its last.",
        ENCODING,
        |scene| message(scene, &[0xe2, 0x82]),
        &["STREAM-37"],
    ),
    (
        "text-between-stanzas",
        "Text between stanzas.",
        &[
            "not-well-formed",
            "bad-format",
            "invalid-xml",
            "policy-violation",
        ],
        |_| b"hello".to_vec(),
        &["STREAM-36", "STREAM-38"],
    ),
    (
        "byte-order-mark",
        "A byte order mark between stanzas.",
        &[
            "not-well-formed",
            "bad-format",
            "invalid-xml",
            "policy-violation",
        ],
        |_| "\u{feff}".as_bytes().to_vec(),
        &["STREAM-38"],
    ),
    (
        "unbound-prefix",
        "An element whose prefix is bound to nothing.",
        MALFORMED,
        |_| b"<a:b/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "unbound-attribute-prefix",
        "An attribute whose prefix is bound to nothing.",
        MALFORMED,
        |_| b"<a b:c='d'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "attribute-twice",
        "An attribute twice.",
        MALFORMED,
        |_| b"<a xmlns='u' b='1' b='2'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "attribute-twice-by-namespace",
        "An attribute twice, by two prefixes of one namespace.",
        MALFORMED,
        |_| b"<a xmlns='u' xmlns:c='v' xmlns:d='v' c:b='1' d:b='2'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "prefix-unbound-again",
        "A prefix is bound to the empty name.",
        MALFORMED,
        |_| b"<a xmlns='u' xmlns:b=''/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "prefix-xml-rebound",
        "The prefix xml is bound to something else.",
        MALFORMED,
        |_| b"<a xmlns='u' xmlns:xml='v'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "prefix-xmlns-bound",
        "The prefix xmlns is bound.",
        MALFORMED,
        |_| b"<a xmlns='u' xmlns:xmlns='v'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "two-colons",
        "A name with two colons.",
        MALFORMED,
        |_| b"<stream:a:b/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "wrong-end-tag",
        "An end tag that ends something else.",
        MALFORMED,
        |_| b"<a xmlns='u'></b>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "angle-bracket-in-attribute",
        "A < in an attribute.",
        MALFORMED,
        |_| b"<a xmlns='u' b='<'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "unquoted-attribute",
        "An attribute without quotes.",
        MALFORMED,
        |_| b"<a xmlns='u' b=c/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "attributes-without-space",
        "Two attributes without space between them.",
        MALFORMED,
        |_| b"<a xmlns='u'b='c'/>".to_vec(),
        &["STREAM-36"],
    ),
    (
        "end-of-a-section-in-text",
        "The characters ]]> in text.",
        MALFORMED,
        |scene| message(scene, b"]]>"),
        &["STREAM-36"],
    ),
    (
        "bare-ampersand",
        "An ampersand that begins no reference.",
        &[
            "not-well-formed",
            "bad-format",
            "invalid-xml",
            "restricted-xml",
        ],
        |scene| message(scene, b"a & b"),
        &["STREAM-36"],
    ),
];

const TOO_MUCH: &[Wrong] = &[
    (
        "billion-laughs",
        "Entities that double ten times, and one reference.",
        &[],
        |scene| {
            let mut text = String::from("<!DOCTYPE lolz [<!ENTITY l0 'lollollol'>");
            for number in 1..10 {
                let before = format!("&l{};", number - 1).repeat(10);
                text.push_str(&format!("<!ENTITY l{number} '{before}'>"));
            }
            text.push_str("]>");
            let mut bytes = text.into_bytes();
            bytes.extend(message(scene, b"&l9;"));
            bytes
        },
        &["STREAM-35", "LIM-13"],
    ),
    (
        "entity-from-a-file",
        "An entity that is a file of the target's.",
        &[],
        |scene| {
            let mut bytes = b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>".to_vec();
            bytes.extend(message(scene, b"&x;"));
            bytes
        },
        &["STREAM-35"],
    ),
    (
        "depth",
        "Two hundred thousand elements, each inside the one before.",
        &[],
        |_| {
            b"<a xmlns='u'>"
                .iter()
                .copied()
                .chain(b"<abcde>".repeat(200_000))
                .collect()
        },
        &["LIM-13"],
    ),
    (
        "attributes",
        "An element of a hundred thousand attributes.",
        &[],
        |_| {
            let many: String = (0..100_000)
                .map(|number| format!(" a{number}=''"))
                .collect();
            format!("<a xmlns='u'{many}/>").into_bytes()
        },
        &["LIM-13"],
    ),
    (
        "namespaces",
        "An element of a hundred thousand namespaces.",
        &[],
        |_| {
            let many: String = (0..100_000)
                .map(|number| format!(" xmlns:a{number}='u{number}'"))
                .collect();
            format!("<a xmlns='u'{many}/>").into_bytes()
        },
        &["LIM-13"],
    ),
    (
        "attribute-without-end",
        "An attribute of four megabytes that does not end.",
        &[],
        |_| {
            let mut bytes = b"<a xmlns='u' b='".to_vec();
            bytes.extend(b"x".repeat(4 << 20));
            bytes
        },
        &["LIM-09", "LIM-13", "STREAM-43"],
    ),
    (
        "name-without-end",
        "An element whose name is four megabytes and does not end.",
        &[],
        |_| {
            let mut bytes = b"<".to_vec();
            bytes.extend(b"x".repeat(4 << 20));
            bytes
        },
        &["LIM-09", "LIM-13"],
    ),
    (
        "text-without-end",
        "A message of four megabytes that does not end.",
        &[],
        |scene| {
            let mut bytes = message(scene, &b"x".repeat(4 << 20));
            bytes.truncate(bytes.len().saturating_sub(17));
            bytes
        },
        &["ERR-02", "LIM-01", "STREAM-43"],
    ),
    (
        "comment-without-end",
        "A comment of four megabytes that does not end.",
        &[],
        |_| {
            let mut bytes = b"<!--".to_vec();
            bytes.extend(b"x".repeat(4 << 20));
            bytes
        },
        &["STREAM-35", "LIM-09"],
    ),
    (
        "white-space-inside-a-tag",
        "Four megabytes of white space inside a tag.",
        &[],
        |_| {
            let mut bytes = b"<a ".to_vec();
            bytes.extend(b" ".repeat(4 << 20));
            bytes
        },
        &["LIM-09"],
    ),
    (
        "children",
        "A stanza with three hundred thousand children.",
        &[],
        |scene| message(scene, &b"<abc/>".repeat(300_000)),
        &["LIM-13", "LIM-01"],
    ),
];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (list, is_security) in [(WRONG, false), (TOO_MUCH, true)] {
        for &(name, about, conditions, bytes, requirements) in list {
            for (when, step) in [
                ("before-authentication", Step::Protected),
                ("", Step::Established),
            ] {
                let exact = [Expect::StreamError(conditions)];
                let too_big = [
                    Expect::StreamError(&[]),
                    Expect::Closed,
                    // The whole was read, thrown away, and the stream lives (ERR-03).
                    Expect::StanzaError(&["policy-violation", "not-allowed", "not-acceptable"]),
                ];
                let expected = match is_security {
                    true => too_big.as_slice(),
                    false => exact.as_slice(),
                };
                let id = match when {
                    "" => format!("xml-{name}"),
                    _ => format!("xml-{name}-{when}"),
                };
                let make = move |scene: &Scene| Ok(bytes(scene));
                let case = match is_security {
                    true => heavy_attack(&id, about, step, expected, make),
                    false => attack(&id, about, step, expected, make),
                }
                .tests(requirements);
                cases.push(match is_security {
                    true => case.security(),
                    false => case,
                });
            }
        }
    }
    cases.extend(tricks());
    cases
}

fn tricks() -> Vec<Case> {
    vec![
        attack(
            "xml-prefixed-stanza-from-elsewhere",
            "A stanza by a prefix bound to the content namespace, from a domain that is not proven.",
            Step::Established,
            REFUSED,
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.below("bank"), scene.hosted())?;
                Ok(ping
                    .replace("<iq ", "<x:iq xmlns:x='jabber:server' ")
                    .replace("</iq>", "</x:iq>"))
            },
        )
        .tests(&["STREAM-06", "ROUTE-03"])
        .security(),
        attack(
            "xml-from-by-a-prefix",
            "A stanza with a proven from, and another one by a prefix bound to the content namespace.",
            Step::Established,
            &[Expect::Ignored, Expect::StreamError(&[]), Expect::Closed],
            |scene: &Scene| {
                Ok(format!(
                    "<message xmlns:x='jabber:server' from='a@{}' x:from='a@{}' to='b@{}'/>",
                    scene.domain,
                    scene.below("bank"),
                    scene.hosted()
                ))
            },
        )
        .tests(&["ROUTE-03", "ROUTE-11"])
        .security(),
        attack(
            "xml-stanza-inside-an-unknown-element",
            "A spoofed stanza inside a first-level element that nobody knows.",
            Step::Established,
            &[
                Expect::Ignored,
                Expect::StreamError(&["unsupported-stanza-type", "policy-violation"]),
            ],
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.below("bank"), scene.hosted())?;
                Ok(format!("<x xmlns='urn:x'>{}</x>", ping.replace("<iq ", "<iq xmlns='jabber:server' ")))
            },
        )
        .tests(&["STREAM-41", "ROUTE-22"])
        .security(),
        attack(
            "xml-stanza-inside-a-section",
            "A spoofed stanza inside CDATA, with the end of the stream before it.",
            Step::Established,
            &[Expect::Ignored, Expect::StreamError(&[])],
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.below("bank"), scene.hosted())?;
                Ok(format!(
                    "<message from='a@{}' to='{}' type='headline'><body><![CDATA[</body></message></stream:stream>{ping}]]></body></message>",
                    scene.domain,
                    scene.hosted()
                ))
            },
        )
        .tests(&["STREAM-43", "ROUTE-03"])
        .security(),
        attack(
            "xml-many-unknown-elements",
            "A hundred first-level elements that nobody knows.",
            Step::Established,
            REFUSED,
            |_: &Scene| Ok("<x xmlns='urn:x'/>".repeat(100)),
        )
        .tests(&["STREAM-41"]),
    ]
}
