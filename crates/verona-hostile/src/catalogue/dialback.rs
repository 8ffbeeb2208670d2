//! Dialback: keys that are wrong, answers that nobody asked for, and authorities that lie, fail or stay silent.
//! Why so many: whoever takes one answer for another gives a domain away (XEP-0220 §3, XEP-0288 §4).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::attack::{REFUSED, Step, attack, forbidden_ping};
use super::served::{asked_for_dialback, vouched_for};
use crate::case::{Case, Need};
use crate::dns::Answer;
use crate::element::{Element, Heard, ns};
use crate::key::dialback_key;
use crate::neighbour::{FEATURE_BIDI, Manner, Reply, result_answer, verify_answer};
use crate::scene::{BIDI, Directions, STEP_MAX, Scene, db_result, db_verify};
use crate::verdict::{Expect, Verdict};

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(requests());
    cases.extend(authorities());
    cases.extend(unsolicited());
    cases.extend(vouching());
    cases.extend(answers_to_the_target());
    cases.extend(reverse());
    cases
}

/// The verdict in a dialback answer.
fn said(answer: &Element) -> Verdict {
    let kind = answer.attribute("type").to_owned();
    let condition = match kind.as_str() {
        "error" => answer.condition(),
        _ => String::new(),
    };
    Verdict::Dialback(kind, condition)
}

/// Sends one request on a stream without a certificate and judges.
async fn request(scene: &Scene, text: impl Fn(&str) -> String) -> Result<Verdict> {
    let (mut wire, greeting) = scene
        .protected_unproven(&scene.domain, scene.hosted())
        .await?;
    wire.send(text(&greeting.id)).await;
    Ok(scene
        .outcome(&mut wire, scene.subject.patience + STEP_MAX)
        .await)
}

const UNHOSTED: &[Expect] = &[
    Expect::Dialback("error", &["item-not-found"]),
    Expect::StreamError(&["host-unknown"]),
];

fn requests() -> Vec<Case> {
    vec![
        Case::new(
            "dialback-to-unhosted",
            "A request for a domain that is not hosted.",
            UNHOSTED,
            |scene: Arc<Scene>| async move {
                request(&scene, |_| db_result(&scene.domain, "nobody.example", "abc")).await
            },
        )
        .tests(&["DB-17"]),
        Case::new(
            "dialback-from-hosted",
            "A request from a domain that the target hosts itself.",
            &[
                Expect::Dialback("error", &["not-acceptable", "not-allowed", "forbidden"]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                request(&scene, |_| db_result(scene.hosted(), scene.hosted(), "abc")).await
            },
        )
        .tests(&["DB-18", "BIDI-73"])
        .security(),
        Case::new(
            "dialback-no-from",
            "A request from nobody.",
            &[Expect::StreamError(&["improper-addressing", "invalid-from"])],
            |scene: Arc<Scene>| async move {
                request(&scene, |_| format!("<db:result to='{}'>abc</db:result>", scene.hosted())).await
            },
        )
        .tests(&["DB-16"]),
        Case::new(
            "dialback-no-to",
            "A request for nobody.",
            &[Expect::StreamError(&["improper-addressing", "host-unknown"])],
            |scene: Arc<Scene>| async move {
                request(&scene, |_| format!("<db:result from='{}'>abc</db:result>", scene.domain)).await
            },
        )
        .tests(&["DB-16"]),
        Case::new(
            "dialback-wrong-key",
            "The only request of a stream has a key that its authority refuses.",
            &[Expect::Dialback("invalid", &[])],
            |scene: Arc<Scene>| async move {
                request(&scene, |_| db_result(&scene.domain, scene.hosted(), "abc")).await
            },
        )
        .tests(&["DB-21", "DB-38"])
        .both(),
        Case::new(
            "dialback-wrong-key-closes",
            "After the only request of a stream was invalid, the stream is closed and a stanza is not taken.",
            REFUSED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                wire.send(db_result(&scene.domain, scene.hosted(), "abc")).await;
                let answer = scene.dialback_answer(&mut wire).await?;
                ensure!(answer.attribute("type") == "invalid", "{}", answer.short());
                wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["DB-21", "STREAM-34"])
        .security()
        .both(),
        Case::new(
            "dialback-empty-key",
            "A request whose key is empty.",
            &[
                Expect::Dialback("invalid", &[]),
                Expect::Dialback("error", &[]),
                Expect::StreamError(&[]),
            ],
            |scene: Arc<Scene>| async move {
                request(&scene, |_| format!("<db:result from='{}' to='{}'/>", scene.domain, scene.hosted())).await
            },
        )
        .tests(&["DB-21"])
        .both(),
        Case::new(
            "dialback-key-of-the-plaintext-stream",
            "The key is for the stream's id before TLS.",
            &[Expect::Dialback("invalid", &[])],
            |scene: Arc<Scene>| async move {
                let mut wire = scene.dial().await?;
                let before = scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                wire.send(crate::scene::STARTTLS).await;
                scene.element(&mut wire).await?;
                let config = crate::tls::client(None, rustls::ALL_VERSIONS)?;
                wire.secure_as_client(config, scene.hosted()).await?;
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                let answer = scene
                    .dialback(&mut wire, &before.id, &scene.domain, scene.hosted())
                    .await?;
                Ok(said(&answer))
            },
        )
        .tests(&["DB-04", "STREAM-16"])
        .security()
        .both(),
        Case::new(
            "dialback-key-of-another-stream",
            "The key is genuine, for another stream that is open as well.",
            &[Expect::Dialback("invalid", &[])],
            |scene: Arc<Scene>| async move {
                let (first, other) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                scene.keep(first);
                let (mut wire, _) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                let answer = scene
                    .dialback(&mut wire, &other.id, &scene.domain, scene.hosted())
                    .await?;
                Ok(said(&answer))
            },
        )
        .tests(&["DB-22", "BIDI-36"])
        .security()
        .both(),
        Case::new(
            "dialback-second-pair-wrong-key",
            "A second domain's key is wrong: the first domain is served all the same, or the stream is closed.",
            &[
                Expect::Dialback("error", &["forbidden", "not-authorized"]),
                Expect::Dialback("invalid", &[]),
            ],
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let bank = scene.below("bank");
                wire.send(db_result(&bank, scene.hosted(), "abc")).await;
                let answer = scene.dialback_answer(&mut wire).await?;
                if answer.attribute("type") == "error" {
                    scene.served(&mut wire, &scene.domain, scene.hosted()).await?;
                }
                wire.send(forbidden_ping(&scene, &bank, scene.hosted())?).await;
                match scene.judge(&mut wire).await {
                    delivered @ Verdict::Delivered(_) => Ok(delivered),
                    _ => Ok(said(&answer)),
                }
            },
        )
        .tests(&["DB-21", "DB-40"])
        .both(),
        attack(
            "dialback-unknown-type",
            "A result whose type nobody knows starts no verification.",
            Step::ProtectedUnproven,
            &[Expect::Ignored, Expect::StreamError(&[]), Expect::Closed],
            |scene: &Scene| {
                Ok(format!(
                    "<db:result from='{}' to='{}' type='maybe'>abc</db:result>",
                    scene.domain,
                    scene.hosted()
                ))
            },
        )
        .tests(&["DB-56"]),
        attack(
            "dialback-in-the-content-namespace",
            "A <result/> in the content namespace is no dialback.",
            Step::ProtectedUnproven,
            REFUSED,
            |scene: &Scene| {
                Ok(format!(
                    "<result from='{}' to='{}'>abc</result>",
                    scene.domain,
                    scene.hosted()
                ))
            },
        )
        .tests(&["STREAM-42", "DB-29"]),
        Case::new(
            "dialback-own-prefix",
            "A request that declares dialback's namespace itself, as its default.",
            &[Expect::Dialback("valid", &[])],
            |scene: Arc<Scene>| async move {
                request(&scene, |id| {
                    let key = scene.key(scene.hosted(), &scene.domain, id);
                    format!(
                        "<result xmlns='jabber:server:dialback' from='{}' to='{}'>\n {key}\n</result>",
                        scene.domain,
                        scene.hosted()
                    )
                })
                .await
            },
        )
        .tests(&["DB-29", "DB-36"])
        .both(),
        Case::new(
            "dialback-many-at-once",
            "Forty requests for forty domains whose authority is silent, in one write: some are refused at once, and none is let in.",
            &[Expect::Dialback("error", &["resource-constraint", "policy-violation", "not-acceptable"]), Expect::StreamError(&[]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                scene.neighbour.behave(Manner {
                    on_verify: Arc::new(|_, _| Reply::Silence),
                    ..Manner::default()
                });
                request(&scene, |_| {
                    (0..40)
                        .map(|number| db_result(&scene.below(&format!("f{number}")), scene.hosted(), "abc"))
                        .collect()
                })
                .await
            },
        )
        .tests(&["DB-53", "LIM-09", "LIM-16"])
        .security()
        .both(),
        Case::new(
            "dialback-twice-while-pending",
            "The same request twice before the first is decided: valid for both, or one answer for both, and never two verifications that disagree.",
            &[Expect::Dialback("valid", &[])],
            |scene: Arc<Scene>| async move {
                request(&scene, |id| {
                    let key = scene.key(scene.hosted(), &scene.domain, id);
                    db_result(&scene.domain, scene.hosted(), &key).repeat(2)
                })
                .await
            },
        )
        .tests(&["DB-48"])
        .both(),
        Case::new(
            "dialback-good-key-then-bad-key-while-pending",
            "A wrong key follows the right one before the first is decided: it is not let in by the other's verdict, nor is the right one dropped silently.",
            &[
                Expect::Dialback("valid", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::Dialback("error", &[]),
                Expect::StreamError(&[]),
            ],
            |scene: Arc<Scene>| async move {
                request(&scene, |id| {
                    let key = scene.key(scene.hosted(), &scene.domain, id);
                    format!(
                        "{}{}",
                        db_result(&scene.domain, scene.hosted(), &key),
                        db_result(&scene.domain, scene.hosted(), "abc")
                    )
                })
                .await
            },
        )
        .tests(&["DB-48", "BIDI-36"])
        .both(),
        Case::new(
            "dialback-bad-key-then-good-key-while-pending",
            "A right key follows a wrong one in one write, while the authority judges each by its text: the wrong one is not valid first.",
            &[
                Expect::Dialback("invalid", &[]),
                Expect::Dialback("error", &[]),
                Expect::StreamError(&[]),
            ],
            |scene: Arc<Scene>| async move {
                request(&scene, |id| {
                    let key = scene.key(scene.hosted(), &scene.domain, id);
                    format!(
                        "{}{}",
                        db_result(&scene.domain, scene.hosted(), "abc"),
                        db_result(&scene.domain, scene.hosted(), &key)
                    )
                })
                .await
            },
        )
        .tests(&["DB-48"])
        .security()
        .both(),
    ]
}

/// How the authority for the claimed domain fails, and what the requester is told.
fn authorities() -> Vec<Case> {
    type Decide = fn(&Element, bool) -> Reply;
    let answers: [(&str, &str, Decide, &[Expect], &[&'static str]); 9] = [
        (
            "says-error",
            "The authority does not know the domain.",
            |verify, _| {
                Reply::Say(verify_answer(verify, "error").replace("/>", "><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>"))
            },
            &[
                Expect::Dialback(
                    "error",
                    &[
                        "remote-server-not-found",
                        "remote-server-timeout",
                        "not-acceptable",
                    ],
                ),
                Expect::Dialback("invalid", &[]),
            ],
            &["DB-37", "DB-38"],
        ),
        (
            "hangs-up",
            "The authority hangs up instead of answering.",
            |_, _| Reply::HangUp,
            &[Expect::Dialback(
                "error",
                &["remote-server-timeout", "remote-connection-failed"],
            )],
            &["DB-38"],
        ),
        (
            "is-silent",
            "The authority never answers.",
            |_, _| Reply::Silence,
            &[
                Expect::Dialback(
                    "error",
                    &["remote-server-timeout", "remote-connection-failed"],
                ),
                Expect::StreamError(&["connection-timeout"]),
            ],
            &["DB-38", "LIM-14"],
        ),
        (
            "answers-for-another-id",
            "The authority answers valid for another id.",
            |verify, _| Reply::Say(verify_answer(verify, "valid").replace("id='", "id='x")),
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            &["DB-27"],
        ),
        (
            "answers-for-another-domain",
            "The authority answers valid for another domain.",
            |verify, _| Reply::Say(verify_answer(verify, "valid").replace("from='", "from='x.")),
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            &["DB-27"],
        ),
        (
            "answers-the-wrong-way-round",
            "The authority answers valid with from and to as they were.",
            |verify, _| {
                Reply::Say(format!(
                    "<db:verify from='{}' to='{}' id='{}' type='valid'/>",
                    verify.attribute("from"),
                    verify.attribute("to"),
                    verify.attribute("id")
                ))
            },
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            &["DB-27"],
        ),
        (
            "answers-with-an-unknown-type",
            "The authority answers with a type that nobody knows.",
            |verify, _| Reply::Say(verify_answer(verify, "probably")),
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            &["DB-56"],
        ),
        (
            "answers-by-a-result",
            "The authority answers by a <db:result/> and not by a <db:verify/>.",
            |verify, _| Reply::Say(result_answer(verify, "valid")),
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            &["DB-27", "DB-09"],
        ),
        (
            "says-invalid-then-valid",
            "The authority says invalid, and valid right behind it.",
            |verify, _| {
                Reply::Say(format!(
                    "{}{}",
                    verify_answer(verify, "invalid"),
                    verify_answer(verify, "valid")
                ))
            },
            &[Expect::Dialback("invalid", &[])],
            &["DB-27"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, decide, expected, requirements) in answers {
        let is_security = !matches!(name, "says-error" | "hangs-up" | "is-silent");
        let case = Case::new(
            &format!("dialback-authority-{name}"),
            about,
            expected,
            move |scene: Arc<Scene>| async move {
                scene.neighbour.behave(Manner {
                    on_verify: Arc::new(decide),
                    ..Manner::default()
                });
                request(&scene, |id| {
                    let key = scene.key(scene.hosted(), &scene.domain, id);
                    db_result(&scene.domain, scene.hosted(), &key)
                })
                .await
            },
        )
        .tests(requirements)
        .both();
        cases.push(match is_security {
            true => case.security(),
            false => case,
        });
    }
    // Beside the ports of servers: one that is known for another service need not be dialled at all.
    let closed = SocketAddr::from(([127, 0, 0, 1], 5268));
    let places: [(&str, &str, Option<Answer>, &[&'static str]); 4] = [
        (
            "has-no-name",
            "The claimed domain does not exist.",
            Some(Answer::NoName),
            &["remote-server-not-found"],
        ),
        (
            "has-no-service",
            "The claimed domain decidedly has no such service.",
            Some(Answer::NoService),
            &["remote-server-not-found", "remote-connection-failed"],
        ),
        (
            "does-not-listen",
            "Nobody listens where the claimed domain's server is said to be.",
            Some(Answer::Server(closed)),
            &["remote-connection-failed", "remote-server-timeout"],
        ),
        (
            "is-the-target",
            "The claimed domain resolves to the target itself.",
            None,
            &[],
        ),
    ];
    for (name, about, answer, conditions) in places {
        cases.push(
            Case::new(
                &format!("dialback-authority-{name}"),
                about,
                &[Expect::Dialback("error", conditions)],
                move |scene: Arc<Scene>| async move {
                    let domain = scene.below("claimed");
                    let answer = answer.unwrap_or(Answer::Server(scene.subject.address));
                    scene.resolve(&domain, answer);
                    request(&scene, |_| db_result(&domain, scene.hosted(), "abc")).await
                },
            )
            .tests(&["DB-38", "ERR-07"])
            .both(),
        );
    }
    cases.push(
        Case::new(
            "dialback-authority-name-server-is-silent",
            "The name server never answers for the claimed domain.",
            &[
                Expect::Dialback(
                    "error",
                    &["remote-server-not-found", "remote-server-timeout"],
                ),
                Expect::StreamError(&["connection-timeout"]),
            ],
            |scene: Arc<Scene>| async move {
                let domain = scene.below("claimed");
                scene.resolve(&domain, Answer::Silence);
                request(&scene, |_| db_result(&domain, scene.hosted(), "abc")).await
            },
        )
        .tests(&["DB-38", "LIM-14"])
        .both(),
    );
    cases.push(
        Case::new(
            "dialback-not-on-the-same-connection",
            "A key is verified over a connection that the target opens, and nothing but the verdict comes on the one that asked.",
            &[Expect::Dialback("valid", &[])],
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                wire.send(BIDI).await;
                let key = scene.key(scene.hosted(), &scene.domain, &greeting.id);
                wire.send(db_result(&scene.domain, scene.hosted(), &key)).await;
                let Heard::Element(answer) = wire.hear(scene.subject.patience).await else {
                    return Ok(Verdict::Other("no answer".to_owned()));
                };
                let asked = scene
                    .neighbour
                    .wait_for(Duration::from_millis(10), |element| {
                        element.is(ns::DIALBACK, "verify")
                    })
                    .await;
                ensure!(asked.is_some(), "no <db:verify/> came to the listener");
                match answer.is(ns::DIALBACK, "result") {
                    true => Ok(said(&answer)),
                    false => Ok(Verdict::Other(format!("on the asking connection: {}", answer.short()))),
                }
            },
        )
        .tests(&["DB-24", "BIDI-24", "DB-23"])
        .security()
        .both(),
    );
    cases.push(
        Case::new(
            "dialback-vouching-for-oneself",
            "The peer answers its own request by a <db:verify/> of type valid on the connection that asked, while the authority is silent.",
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                scene.neighbour.behave(Manner {
                    on_verify: Arc::new(|_, _| Reply::Silence),
                    ..Manner::default()
                });
                request(&scene, |id| {
                    format!(
                        "{}<db:verify from='{}' to='{}' id='{id}' type='valid'/>",
                        db_result(&scene.domain, scene.hosted(), "abc"),
                        scene.domain,
                        scene.hosted()
                    )
                })
                .await
            },
        )
        .tests(&["DB-24", "DB-27", "BIDI-38"])
        .security()
        .both(),
    );
    cases.push(
        Case::new(
            "dialback-stanza-on-the-verifying-connection",
            "The authority answers valid and sends a stanza behind it, on the connection that the target opened to ask.",
            &[Expect::Served],
            |scene: Arc<Scene>| async move {
                let id = crate::key::random_id()?;
                scene.forbid(&id);
                let stanza = crate::scene::ping(&scene.domain, scene.hosted(), &id);
                scene.neighbour.behave(Manner {
                    on_verify: Arc::new(move |verify, _| {
                        Reply::Say(format!("{}{stanza}", verify_answer(verify, "valid")))
                    }),
                    ..Manner::default()
                });
                let (mut wire, _) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                scene.neighbour.behave(Manner::default());
                match scene.judge(&mut wire).await {
                    Verdict::Ignored => {
                        scene.served(&mut wire, &scene.domain, scene.hosted()).await
                    }
                    other => Ok(other),
                }
            },
        )
        .tests(&["BIDI-84", "DB-25", "BIDI-67"])
        .security()
        .both(),
    );
    cases
}

/// Answers to questions that the target never asked, on streams that we opened.
fn unsolicited() -> Vec<Case> {
    type Text = fn(&Scene, &str) -> String;
    let forms: [(&str, &str, Text); 6] = [
        (
            "result-for-ourselves",
            "a <db:result/> says that we are valid",
            |scene, _| {
                format!(
                    "<db:result from='{}' to='{}' type='valid'/>",
                    scene.hosted(),
                    scene.domain
                )
            },
        ),
        (
            "result-for-the-target",
            "a <db:result/> says that the target is valid for a domain that is not ours here",
            |scene, _| {
                format!(
                    "<db:result from='{}' to='{}' type='valid'/>",
                    scene.below("bank"),
                    scene.hosted()
                )
            },
        ),
        (
            "verify-with-the-stream-id",
            "a <db:verify/> says that another domain's key is valid, with this stream's id",
            |scene, id| {
                format!(
                    "<db:verify from='{}' to='{}' id='{id}' type='valid'/>",
                    scene.below("bank"),
                    scene.hosted()
                )
            },
        ),
        (
            "verify-without-id",
            "a <db:verify/> says that another domain's key is valid, without an id",
            |scene, _| {
                format!(
                    "<db:verify from='{}' to='{}' type='valid'/>",
                    scene.below("bank"),
                    scene.hosted()
                )
            },
        ),
        (
            "result-invalid",
            "a <db:result/> says that the target is invalid",
            |scene, _| {
                format!(
                    "<db:result from='{}' to='{}' type='invalid'/>",
                    scene.domain,
                    scene.hosted()
                )
            },
        ),
        (
            "result-error",
            "a <db:result/> of type error for a domain that is not ours here",
            |scene, _| {
                format!(
                    "<db:result from='{}' to='{}' type='error'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
                    scene.below("bank"),
                    scene.hosted()
                )
            },
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, text) in forms {
        for (how, directions) in [("", Directions::One), ("-bidi", Directions::Both)] {
            let about = format!(
                "Unasked, {about}, on {}; a stanza from that domain is refused.",
                match directions {
                    Directions::One => "a stream that we opened",
                    Directions::Both => "a stream with both directions that we opened",
                }
            );
            cases.push(
                Case::new(
                    &format!("dialback-unasked-{name}{how}"),
                    &about,
                    REFUSED,
                    move |scene: Arc<Scene>| async move {
                        let (mut wire, greeting) = scene
                            .established(&scene.domain, scene.hosted(), directions)
                            .await?;
                        wire.send(text(&scene, &greeting.id)).await;
                        wire.send(forbidden_ping(
                            &scene,
                            &scene.below("bank"),
                            scene.hosted(),
                        )?)
                        .await;
                        Ok(scene.judge(&mut wire).await)
                    },
                )
                .tests(&["DB-09", "DB-27", "BIDI-37", "BIDI-38"])
                .security(),
            );
        }
        cases.push(
            Case::new(
                &format!("dialback-unasked-{name}-unauthenticated"),
                &format!(
                    "Unasked and before authentication, {about}; a stanza of ours is refused."
                ),
                REFUSED,
                move |scene: Arc<Scene>| async move {
                    let (mut wire, greeting) = scene
                        .protected_unproven(&scene.domain, scene.hosted())
                        .await?;
                    wire.send(text(&scene, &greeting.id)).await;
                    wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?)
                        .await;
                    Ok(scene.judge(&mut wire).await)
                },
            )
            .tests(&["DB-09", "DB-27", "STREAM-34"])
            .security(),
        );
    }
    cases.push(
        Case::new(
            "dialback-unasked-does-not-attract",
            "After an unasked valid for another domain on a stream with both directions, what is for that domain goes to where its name leads.",
            &[Expect::Served],
            |scene: Arc<Scene>| async move {
                let bank = scene.below("bank");
                let (mut attacker, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                attacker
                    .send(format!(
                        "<db:result from='{bank}' to='{}' type='valid'/>",
                        scene.hosted()
                    ))
                    .await;
                let (mut wire, _) = scene.established(&bank, scene.hosted(), Directions::One).await?;
                let id = scene.ping(&mut wire, &bank, scene.hosted()).await?;
                let found = scene
                    .answered_at_neighbour(&id, scene.subject.patience)
                    .await;
                loop {
                    match attacker.hear(Duration::from_millis(300)).await {
                        Heard::Element(element) if element.attribute("id") == id => {
                            return Ok(Verdict::Delivered(format!(
                                "to the wrong peer: {}",
                                element.short()
                            )));
                        }
                        Heard::Element(_) => {}
                        // What the target makes of the unasked answer is another case's question.
                        _ if found.is_some() => return Ok(Verdict::Served),
                        _ => bail!("no answer where the name leads"),
                    }
                }
            },
        )
        .tests(&["BIDI-39", "BIDI-37", "DB-09"])
        .security()
        .both(),
    );
    cases.push(
        attack(
            "dialback-unasked-twenty-times",
            "Twenty unasked answers on one stream are too many.",
            Step::Established,
            REFUSED,
            |scene: &Scene| {
                Ok(format!(
                    "<db:verify from='{}' to='{}' id='x' type='valid'/>",
                    scene.below("bank"),
                    scene.hosted()
                )
                .repeat(20))
            },
        )
        .tests(&["BIDI-41"]),
    );
    cases
}

/// What the target vouches for when it is the authority.
fn vouching() -> Vec<Case> {
    let not_valid: &[Expect] = &[
        Expect::Dialback("invalid", &[]),
        Expect::Dialback("error", &[]),
        Expect::StreamError(&[]),
    ];
    type Text = fn(&Scene) -> String;
    let forged: [(&str, &str, Text, &[Expect], &[&'static str]); 6] = [
        (
            "made-up-key",
            "A key that the target never made is asked for.",
            |scene| db_verify(&scene.domain, scene.hosted(), "x", "abc"),
            &[Expect::Dialback("invalid", &[])],
            &["DB-32", "DB-34"],
        ),
        (
            "empty-key",
            "An empty key is asked for.",
            |scene| db_verify(&scene.domain, scene.hosted(), "x", ""),
            not_valid,
            &["DB-34"],
        ),
        (
            "unhosted-domain",
            "A key of a domain that is not hosted is asked for.",
            |scene| db_verify(&scene.domain, "nobody.example", "x", "abc"),
            &[
                Expect::Dialback("error", &["item-not-found"]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&["host-unknown"]),
            ],
            &["DB-33"],
        ),
        (
            "no-id",
            "A key without an id is asked for.",
            |scene| db_verify(&scene.domain, scene.hosted(), "x", "abc").replace(" id='x'", ""),
            &[
                Expect::Dialback("invalid", &[]),
                Expect::Dialback("error", &[]),
                Expect::StreamError(&[]),
                Expect::Ignored,
            ],
            &["DB-51"],
        ),
        (
            "no-addresses",
            "A key of nobody for nobody is asked for.",
            |_| "<db:verify id='x'>abc</db:verify>".to_owned(),
            &[
                Expect::Dialback("error", &[]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Ignored,
            ],
            &["DB-51"],
        ),
        (
            "children-for-a-key",
            "A key that has elements in it is asked for.",
            |scene| db_verify(&scene.domain, scene.hosted(), "x", "<a xmlns='u'>abc</a>"),
            not_valid,
            &["DB-51"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, text, expected, requirements) in forged {
        cases.push(
            attack(
                &format!("vouch-{name}"),
                about,
                Step::ProtectedUnproven,
                expected,
                move |scene: &Scene| Ok(text(scene)),
            )
            .tests(requirements),
        );
    }
    cases.push(
        attack(
            "vouch-key-of-an-id-never-used",
            "A key that the target would have made, for an id that was never used, is asked for.",
            Step::ProtectedUnproven,
            &[Expect::Dialback("invalid", &[])],
            |scene: &Scene| {
                let secret = scene.subject.secret.clone().unwrap_or_default();
                let key = dialback_key(&secret, &scene.domain, scene.hosted(), "never-used");
                Ok(db_verify(&scene.domain, scene.hosted(), "never-used", &key))
            },
        )
        .tests(&["DB-35", "BIDI-35"])
        .needs(Need::Secret)
        .security(),
    );
    type Change = fn(&Scene, &str, &str) -> (String, String, String);
    let changes: [(&str, &str, Change); 3] = [
        (
            "another-id",
            "A genuine key of the target is asked for with another id.",
            |scene, id, key| (scene.domain.clone(), format!("{id}0"), key.to_owned()),
        ),
        (
            "another-receiver",
            "A genuine key of the target is asked for by another domain than the one it was for.",
            |scene, id, key| (scene.below("bank"), id.to_owned(), key.to_owned()),
        ),
        (
            "half-a-key",
            "The first half of a genuine key of the target is asked for.",
            |scene, id, key| {
                let half = key.len() / 2;
                (
                    scene.domain.clone(),
                    id.to_owned(),
                    key.get(..half).unwrap_or_default().to_owned(),
                )
            },
        ),
    ];
    for (name, about, change) in changes {
        cases.push(
            Case::new(
                &format!("vouch-{name}"),
                about,
                not_valid,
                move |scene: Arc<Scene>| async move {
                    scene.summon(&scene.domain).await?;
                    let (_wire, stream, request) = asked_for_dialback(&scene, "").await?;
                    let (asker, id, key) = change(&scene, &stream, request.text.trim());
                    let kind = vouched_for(&scene, &id, &key, &asker).await?;
                    Ok(Verdict::Dialback(kind, String::new()))
                },
            )
            .tests(&["DB-34", "DB-35"])
            .security()
            .both(),
        );
    }
    cases.push(
        Case::new(
            "vouch-on-the-stream-itself",
            "On the stream that the target opened, and with that stream's id, we ask for the target's own key: it does not vouch for itself there.",
            &[
                Expect::Dialback("error", &["not-acceptable", "not-allowed"]),
                Expect::Dialback("invalid", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
                Expect::Ignored,
            ],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, stream, request) = asked_for_dialback(&scene, FEATURE_BIDI).await?;
                wire.send(db_verify(&scene.domain, scene.hosted(), &stream, request.text.trim()))
                    .await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-43", "BIDI-25"])
        .security()
        .listens(),
    );
    cases.push(
        Case::new(
            "vouch-a-thousand-times",
            "A thousand made-up keys are asked for on one stream: none is valid, and the target still answers others.",
            &[
                Expect::Dialback("invalid", &[]),
                Expect::Dialback("error", &[]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                let mut wire = Step::ProtectedUnproven.reach(&scene).await?;
                let text: String = (0..1000)
                    .map(|number| db_verify(&scene.domain, scene.hosted(), &format!("i{number}"), "abc"))
                    .collect();
                wire.send_quietly(text.as_bytes()).await;
                let mut last = scene.outcome(&mut wire, STEP_MAX).await;
                for _ in 1..1000 {
                    if last == Verdict::Dialback("valid".to_owned(), String::new()) {
                        return Ok(last);
                    }
                    match scene.outcome(&mut wire, scene.subject.settle).await {
                        Verdict::Ignored => break,
                        next => {
                            let is_over = !matches!(next, Verdict::Dialback(..));
                            last = next;
                            if is_over {
                                break;
                            }
                        }
                    }
                }
                let (mut other, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                scene.served(&mut other, &scene.domain, scene.hosted()).await?;
                Ok(last)
            },
        )
        .tests(&["DB-52", "DB-34"])
        .security(),
    );
    cases
}

/// What we say to the target's own request, on the stream that it opened.
fn answers_to_the_target() -> Vec<Case> {
    type Text = fn(&Scene, &Element) -> String;
    let nothing_sent: &[Expect] = &[Expect::Ignored, Expect::Closed, Expect::StreamError(&[])];
    let answers: [(&str, &str, Text, &[&'static str]); 6] = [
        (
            "invalid",
            "The target's key is invalid: it does not deliver.",
            |_, request| result_answer(request, "invalid"),
            &["DB-12"],
        ),
        (
            "error",
            "The target's request fails: it does not deliver.",
            |_, request| {
                result_answer(request, "error").replace("/>", "><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>")
            },
            &["DB-14"],
        ),
        (
            "valid-for-another-domain",
            "The target's request is answered as valid for another domain of ours.",
            |scene, request| {
                format!(
                    "<db:result from='{}' to='{}' type='valid'/>",
                    scene.below("bank"),
                    request.attribute("from")
                )
            },
            &["DB-09", "BIDI-39"],
        ),
        (
            "valid-the-wrong-way-round",
            "The target's request is answered as valid with from and to as they were.",
            |_, request| {
                format!(
                    "<db:result from='{}' to='{}' type='valid'/>",
                    request.attribute("from"),
                    request.attribute("to")
                )
            },
            &["DB-09"],
        ),
        (
            "unknown-type",
            "The target's request is answered with a type that nobody knows.",
            |_, request| result_answer(request, "yes"),
            &["DB-56"],
        ),
        (
            "verify-for-result",
            "The target's request is answered by a <db:verify/> of type valid.",
            |_, request| {
                format!(
                    "<db:verify from='{}' to='{}' id='x' type='valid'/>",
                    request.attribute("to"),
                    request.attribute("from")
                )
            },
            &["BIDI-40", "DB-27"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, text, requirements) in answers {
        let case = Case::new(
            &format!("answer-{name}"),
            about,
            nothing_sent,
            move |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                scene.forbid(&id);
                let (mut wire, _, request) = asked_for_dialback(&scene, "").await?;
                wire.send(text(&scene, &request)).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(requirements)
        .listens();
        cases.push(match name {
            "invalid" | "error" => case,
            _ => case.security(),
        });
    }
    cases.push(
        Case::new(
            "answer-before-the-request",
            "We say valid before our features, when the target cannot have asked: it waits for the answer to its request, or leaves.",
            nothing_sent,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                scene.forbid(&id);
                let (mut wire, header) = scene.protected_visitor().await?;
                let stream = crate::key::random_id()?;
                let text = format!(
                    "{}<db:result from='{}' to='{}' type='valid'/><stream:features>{}</stream:features>",
                    crate::neighbour::response_header(
                        header.attribute("to"),
                        header.attribute("from"),
                        &stream
                    ),
                    header.attribute("to"),
                    header.attribute("from"),
                    crate::neighbour::FEATURE_DIALBACK,
                );
                wire.send(text).await;
                match scene.judge(&mut wire).await {
                    // Its request is what should come.
                    Verdict::Other(_) => Ok(scene.judge(&mut wire).await),
                    other => Ok(other),
                }
            },
        )
        .tests(&["DB-09"])
        .security()
        .listens(),
    );
    cases
}

/// Requests of ours on streams that the target opened.
fn reverse() -> Vec<Case> {
    type Text = fn(&Scene, &str) -> String;
    let requests: [(
        &str,
        &str,
        Directions,
        Text,
        &[&'static str],
        &[&'static str],
    ); 6] = [
        (
            "without-bidi",
            "A reverse request on a stream with one direction.",
            Directions::One,
            |scene, id| {
                let rooms = scene.below("rooms");
                let key = scene.key(scene.hosted(), &rooms, id);
                db_result(&rooms, scene.hosted(), &key)
            },
            &["not-allowed", "not-acceptable", "not-authorized"],
            &["BIDI-42"],
        ),
        (
            "wrong-key",
            "A reverse request with a key that the domain's authority refuses.",
            Directions::Both,
            |scene, _| db_result(&scene.below("rooms"), scene.hosted(), "abc"),
            &["forbidden", "not-authorized"],
            &["BIDI-25", "BIDI-29"],
        ),
        (
            "from-hosted",
            "A reverse request from the target's own domain.",
            Directions::Both,
            |scene, _| db_result(scene.hosted(), scene.hosted(), "abc"),
            &["not-acceptable", "not-allowed"],
            &["BIDI-31", "BIDI-73"],
        ),
        (
            "to-unhosted",
            "A reverse request for a domain that the target does not host.",
            Directions::Both,
            |scene, id| {
                let rooms = scene.below("rooms");
                let key = scene.key("nobody.example", &rooms, id);
                db_result(&rooms, "nobody.example", &key)
            },
            &["item-not-found"],
            &["BIDI-29", "BIDI-31"],
        ),
        (
            "to-other-hosted",
            "A reverse request for a hosted domain that the target has not proven on this stream.",
            Directions::Both,
            |scene, id| {
                let rooms = scene.below("rooms");
                let second = scene.subject.second.clone().unwrap_or_default();
                let key = scene.key(&second, &rooms, id);
                db_result(&rooms, &second, &key)
            },
            &[
                "item-not-found",
                "not-acceptable",
                "not-allowed",
                "policy-violation",
            ],
            &["BIDI-31", "BIDI-27"],
        ),
        (
            "key-of-another-id",
            "A reverse request with a genuine key for another id.",
            Directions::Both,
            |scene, _| {
                let rooms = scene.below("rooms");
                let key = scene.key(scene.hosted(), &rooms, "another");
                db_result(&rooms, scene.hosted(), &key)
            },
            &["forbidden", "not-authorized"],
            &["BIDI-34", "BIDI-35"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, directions, text, conditions, requirements) in requests {
        cases.push(
            Case::new(
                &format!("reverse-{name}"),
                &format!("{about} No stanza from that domain is taken."),
                &[
                    Expect::Dialback("error", conditions),
                    Expect::Dialback("invalid", &[]),
                    Expect::StreamError(&[]),
                    Expect::Closed,
                ],
                move |scene: Arc<Scene>| async move {
                    scene.summon(&scene.domain).await?;
                    let (mut wire, _, id) = scene.external_visitor(directions).await?;
                    scene.neighbour.serve_again();
                    wire.send(text(&scene, &id)).await;
                    let verdict = scene.outcome(&mut wire, scene.subject.patience).await;
                    wire.send(forbidden_ping(
                        &scene,
                        &scene.below("rooms"),
                        scene.hosted(),
                    )?)
                    .await;
                    match scene.judge(&mut wire).await {
                        delivered @ Verdict::Delivered(_) => Ok(delivered),
                        _ => Ok(verdict),
                    }
                },
            )
            .tests(requirements)
            .needs(Need::Trust)
            .needs(Need::SecondDomain)
            .security()
            .listens(),
        );
    }
    cases.push(
        Case::new(
            "reverse-unasked-valid",
            "On a stream that the target opened with both directions, an unasked valid of a second domain of ours: its stanzas are refused.",
            REFUSED,
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, _, id) = scene.external_visitor(Directions::Both).await?;
                let rooms = scene.below("rooms");
                wire.send(format!(
                    "<db:result from='{rooms}' to='{0}' type='valid'/><db:verify from='{rooms}' to='{0}' id='{id}' type='valid'/>",
                    scene.hosted()
                ))
                .await;
                wire.send(forbidden_ping(&scene, &rooms, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-39", "BIDI-40"])
        .needs(Need::Trust)
        .security()
        .listens(),
    );
    cases
}
