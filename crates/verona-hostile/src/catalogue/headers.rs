//! Stream headers that are wrong in one point.
//! Why before and after TLS: what is said in plaintext is forgotten, and must still not be believed meanwhile.

use std::sync::Arc;

use super::attack::{REFUSED, Step, attack, heavy_attack};
use crate::authority::Order;
use crate::case::{Case, Need};
use crate::element::Heard;
use crate::scene::{STEP_MAX, Scene, initial_header};
use crate::verdict::{Expect, Verdict};

/// What is wrong: a name, a sentence, the conditions that fit, the header, the requirements.
type Wrong = (
    &'static str,
    &'static str,
    &'static [&'static str],
    fn(&Scene) -> Vec<u8>,
    &'static [&'static str],
);

const WRONG: &[Wrong] = &[
    (
        "stream-namespace",
        "The namespace of the stream is wrong.",
        &["invalid-namespace"],
        |scene| {
            replaced(
                scene,
                "http://etherx.jabber.org/streams",
                "http://wrong.example/",
            )
        },
        &["STREAM-02", "STREAM-03"],
    ),
    (
        "client-namespace",
        "The content namespace is that of clients.",
        &["invalid-namespace"],
        |scene| replaced(scene, "'jabber:server'", "'jabber:client'"),
        &["STREAM-07"],
    ),
    (
        "component-namespace",
        "The content namespace is that of components.",
        &["invalid-namespace"],
        |scene| replaced(scene, "'jabber:server'", "'jabber:component:accept'"),
        &["STREAM-07"],
    ),
    (
        "root-name",
        "The root is no <stream/>.",
        &[
            "bad-format",
            "invalid-xml",
            "not-well-formed",
            "invalid-namespace",
            "bad-namespace-prefix",
        ],
        |scene| replaced(scene, "<stream:stream", "<stream:flow"),
        &["STREAM-02"],
    ),
    (
        "unhosted-to",
        "The header is for a domain that is not hosted.",
        &["host-unknown"],
        |scene| initial_header(&scene.domain, "nobody.example").into_bytes(),
        &["STREAM-19"],
    ),
    (
        "no-to",
        "The header is for nobody, and more than one domain is hosted.",
        &["host-unknown", "improper-addressing"],
        |scene| replaced(scene, &format!("to='{}'", scene.hosted()), ""),
        &["STREAM-21"],
    ),
    (
        "to-with-a-user",
        "The header is for an address with a user.",
        &["improper-addressing", "host-unknown"],
        |scene| initial_header(&scene.domain, &format!("user@{}", scene.hosted())).into_bytes(),
        &["STREAM-22"],
    ),
    (
        "from-with-a-user",
        "The header is from an address with a user.",
        &["improper-addressing", "invalid-from"],
        |scene| initial_header(&format!("user@{}", scene.domain), scene.hosted()).into_bytes(),
        &["STREAM-22"],
    ),
    (
        "from-that-is-no-domain",
        "The header is from something that is no domain.",
        &["improper-addressing", "invalid-from"],
        |scene| initial_header("a b..c", scene.hosted()).into_bytes(),
        &["STREAM-22"],
    ),
    (
        "from-hosted",
        "The header is from the target's own domain.",
        &[],
        |scene| initial_header(scene.hosted(), scene.hosted()).into_bytes(),
        &["STREAM-23", "BIDI-73"],
    ),
    (
        "no-version",
        "The header has no version, as before 2004.",
        &["unsupported-version"],
        |scene| replaced(scene, "version='1.0' xml", "xml"),
        &["STREAM-26"],
    ),
    (
        "attribute-twice",
        "The header has an attribute twice.",
        &["not-well-formed", "bad-format"],
        |scene| replaced(scene, "xml:lang='en'", "xml:lang='en' version='1.0'"),
        &["STREAM-36"],
    ),
    (
        "unbound-prefix",
        "The header's prefix is bound to nothing.",
        &[
            "not-well-formed",
            "bad-format",
            "invalid-namespace",
            "bad-namespace-prefix",
        ],
        |scene| replaced(scene, "xmlns:stream='http://etherx.jabber.org/streams'", ""),
        &["STREAM-36"],
    ),
    (
        "utf-16-declared",
        "The XML declaration names another encoding.",
        &["unsupported-encoding"],
        |scene| {
            replaced(
                scene,
                "<?xml version='1.0'?>",
                "<?xml version='1.0' encoding='UTF-16'?>",
            )
        },
        &["STREAM-37"],
    ),
    (
        "utf-16",
        "The header is in UTF-16.",
        &["unsupported-encoding", "not-well-formed", "bad-format"],
        |scene| {
            let text = initial_header(&scene.domain, scene.hosted());
            let mut bytes = vec![0xff, 0xfe];
            bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            bytes
        },
        &["STREAM-37"],
    ),
    (
        "no-utf-8",
        "The header has bytes that are no UTF-8.",
        &["unsupported-encoding", "not-well-formed", "bad-format"],
        |scene| {
            let text = initial_header(&scene.domain, scene.hosted());
            text.bytes()
                .flat_map(|byte| {
                    if byte == b'e' {
                        vec![0xc0, 0x80]
                    } else {
                        vec![byte]
                    }
                })
                .collect()
        },
        &["STREAM-37"],
    ),
    (
        "comment-first",
        "A comment stands before the header.",
        &["restricted-xml", "bad-format"],
        |scene| replaced(scene, "<stream:stream", "<!-- hello --><stream:stream"),
        &["STREAM-35"],
    ),
    (
        "doctype",
        "A document type stands before the header.",
        &["restricted-xml", "bad-format"],
        |scene| replaced(scene, "<stream:stream", "<!DOCTYPE stream><stream:stream"),
        &["STREAM-35"],
    ),
    (
        "entities",
        "A document type with an entity from a file stands before the header, whose to is that entity.",
        &["restricted-xml", "bad-format"],
        |scene| {
            replaced(
                scene,
                "<stream:stream",
                "<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><stream:stream a='&x;'",
            )
        },
        &["STREAM-35", "LIM-13"],
    ),
    (
        "text-first",
        "Text stands before the header.",
        &["not-well-formed", "bad-format", "invalid-xml"],
        |scene| replaced(scene, "<?xml", "hello <?xml"),
        &["STREAM-36"],
    ),
    (
        "http",
        "The other side speaks HTTP.",
        &[],
        |_| b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
        &["STREAM-36"],
    ),
    (
        "tls-from-the-first-byte",
        "The other side begins with a TLS record.",
        &[],
        |_| vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0, 0x16, 3, 1, 0, 1, 0],
        &["STREAM-37", "TLS-09"],
    ),
    (
        "nul",
        "The first bytes are zeros.",
        &[],
        |_| vec![0; 64],
        &["STREAM-36"],
    ),
    (
        "huge",
        "The header has an attribute of a megabyte.",
        &[],
        |scene| {
            let long = format!("xml:lang='en' x='{}'", "y".repeat(1 << 20));
            replaced(scene, "xml:lang='en'", &long)
        },
        &["LIM-09"],
    ),
    (
        "many-attributes",
        "The header has ten thousand attributes.",
        &[],
        |scene| {
            let many: String = (0..10_000).map(|number| format!("a{number}='' ")).collect();
            replaced(scene, "xml:lang='en'", &many)
        },
        &["LIM-09", "LIM-13"],
    ),
    (
        "many-namespaces",
        "The header declares ten thousand namespaces.",
        &[],
        |scene| {
            let many: String = (0..10_000)
                .map(|number| format!("xmlns:a{number}='u{number}' "))
                .collect();
            replaced(scene, "xml:lang='en'", &many)
        },
        &["LIM-09", "LIM-13"],
    ),
];

fn replaced(scene: &Scene, what: &str, by: &str) -> Vec<u8> {
    initial_header(&scene.domain, scene.hosted())
        .replace(what, by)
        .into_bytes()
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, about, conditions, header, requirements) in WRONG {
        let expected = [Expect::StreamError(conditions), Expect::Closed];
        // What is no XML at all may be answered by nothing but the end.
        let expected = match conditions.is_empty() {
            true => REFUSED,
            false => expected.get(..1).unwrap_or_default(),
        };
        let is_security = matches!(
            name,
            "entities" | "huge" | "many-attributes" | "many-namespaces" | "from-hosted"
        );
        let mark = |case: Case| {
            let case = case.tests(requirements);
            match is_security {
                true => case.security(),
                false => case,
            }
        };
        let begin = match name {
            "huge" | "many-attributes" | "many-namespaces" => heavy_attack,
            _ => attack,
        };
        cases.push(mark(begin(
            &format!("header-{name}"),
            about,
            Step::Connected,
            expected,
            move |scene: &Scene| Ok(header(scene)),
        )));
        if matches!(
            name,
            "unhosted-to" | "from-hosted" | "no-version" | "stream-namespace" | "doctype" | "huge"
        ) {
            cases.push(mark(attack(
                &format!("header-{name}-under-tls"),
                about,
                Step::Encrypted,
                expected,
                move |scene: &Scene| Ok(header(scene)),
            )));
        }
    }
    cases.push(response_first());
    cases.extend(restarts());
    cases
}

/// An error about the header comes behind a header of the target's own.
fn response_first() -> Case {
    Case::new(
        "header-error-has-a-header",
        "An error that the header causes comes behind the target's own header, which names a hosted domain or none.",
        &[Expect::StreamError(&["host-unknown"])],
        |scene: Arc<Scene>| async move {
            let mut wire = scene.dial().await?;
            wire.send(initial_header(&scene.domain, "nobody.example"))
                .await;
            let Heard::Header(header) = wire.hear(STEP_MAX).await else {
                return Ok(Verdict::Other("no header".to_owned()));
            };
            let from = header.attribute("from");
            if from == "nobody.example" {
                return Ok(Verdict::Other(
                    "it answers for a domain that it does not host".to_owned(),
                ));
            }
            Ok(scene.judge(&mut wire).await)
        },
    )
    .tests(&["STREAM-03", "STREAM-19"])
}

fn restarts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, about, from, to) in [
        (
            "header-from-changes-after-external",
            "The header after EXTERNAL is from another domain, which then pings.",
            "bank",
            "",
        ),
        (
            "header-to-changes-after-external",
            "The header after EXTERNAL is for another hosted domain, which is then pinged.",
            "",
            "second",
        ),
    ] {
        cases.push(
            Case::new(
                id,
                about,
                &[
                    Expect::StreamError(&[
                        "invalid-from",
                        "improper-addressing",
                        "not-authorized",
                        "host-unknown",
                        "policy-violation",
                    ]),
                    Expect::Closed,
                ],
                move |scene: Arc<Scene>| async move {
                    let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                    wire.send(crate::scene::auth(&scene.domain)).await;
                    scene.element(&mut wire).await?;
                    wire.restart();
                    let from = match from {
                        "" => scene.domain.clone(),
                        name => scene.below(name),
                    };
                    let second = scene.subject.second.clone().unwrap_or_default();
                    let to = match to {
                        "" => scene.hosted(),
                        _ => second.as_str(),
                    };
                    wire.send(initial_header(&from, to)).await;
                    wire.send(super::attack::forbidden_ping(&scene, &from, to)?)
                        .await;
                    Ok(scene.judge(&mut wire).await)
                },
            )
            .tests(&["STREAM-24"])
            .needs(Need::Trust)
            .needs(Need::SecondDomain)
            .security(),
        );
    }
    cases.push(
        Case::new(
            "header-from-in-plaintext-is-forgotten",
            "The plaintext header is from another domain than that under TLS, which alone counts.",
            &[Expect::Served],
            |scene: Arc<Scene>| async move {
                let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
                let other = scene.below("other");
                let mut wire = scene.encrypted(&other, scene.hosted(), Some(shown)).await?;
                let greeting = scene
                    .greet(&mut wire, &scene.domain, scene.hosted())
                    .await?;
                if greeting.features.offers_external() {
                    scene
                        .external(&mut wire, &scene.domain, scene.hosted())
                        .await?;
                } else {
                    scene
                        .dialback(&mut wire, &greeting.id, &scene.domain, scene.hosted())
                        .await?;
                }
                let verdict = scene
                    .served(&mut wire, &scene.domain, scene.hosted())
                    .await?;
                wire.send(super::attack::forbidden_ping(
                    &scene,
                    &other,
                    scene.hosted(),
                )?)
                .await;
                match scene.judge(&mut wire).await {
                    delivered @ Verdict::Delivered(_) => Ok(delivered),
                    _ => Ok(verdict),
                }
            },
        )
        .tests(&["TLS-10", "STREAM-58", "BIDI-45"])
        .security()
        .both(),
    );
    cases.extend([cut_short()]);
    cases
}

fn cut_short() -> Case {
    Case::new(
        "header-visit-wrong-namespace",
        "The target dials us and our header is in a wrong namespace: it gives up.",
        REFUSED,
        |scene: Arc<Scene>| async move {
            scene.summon(&scene.domain).await?;
            let (mut wire, header) = scene.visitor().await?;
            let text = crate::neighbour::response_header(
                header.attribute("to"),
                header.attribute("from"),
                "1",
            );
            wire.send(text.replace("http://etherx.jabber.org/streams", "http://wrong.example/"))
                .await;
            wire.send("<stream:features/>").await;
            Ok::<Verdict, anyhow::Error>(scene.judge(&mut wire).await)
        },
    )
    .tests(&["STREAM-02"])
    .listens()
}
