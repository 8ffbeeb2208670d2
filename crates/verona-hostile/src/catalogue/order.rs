//! Things said before their time, after it, or twice.
//! Why every order: each step of a negotiation is a state, and a state that takes what belongs to another is a hole.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::attack::{REFUSED, Step, attack, forbidden_ping};
use crate::authority::Order;
use crate::case::{Case, Need};
use crate::element::ns;
use crate::neighbour::FEATURE_EXTERNAL;
use crate::scene::{
    BIDI, Directions, PROCEED, STARTTLS, Scene, auth, auth_raw, db_result, initial_header,
};
use crate::verdict::{Expect, Verdict};

const NOT_AUTHORIZED: &[Expect] = &[
    Expect::StreamError(&["not-authorized", "policy-violation"]),
    Expect::Closed,
];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(stanzas());
    cases.extend(mechanisms());
    cases.extend(steps());
    cases.extend(directions());
    cases.extend(visitors());
    cases
}

fn stanzas() -> Vec<Case> {
    vec![
        attack(
            "order-stanza-before-header",
            "A stanza comes where the stream header belongs.",
            Step::Connected,
            REFUSED,
            |scene: &Scene| forbidden_ping(scene, &scene.domain, scene.hosted()),
        )
        .tests(&["STREAM-34", "STREAM-02"])
        .security(),
        attack(
            "order-stanza-before-tls",
            "A stanza comes in plaintext.",
            Step::Plain,
            NOT_AUTHORIZED,
            |scene: &Scene| forbidden_ping(scene, &scene.domain, scene.hosted()),
        )
        .tests(&["STREAM-34", "TLS-06"])
        .security(),
        attack(
            "order-stanza-as-header-under-tls",
            "A stanza comes where the header under TLS belongs.",
            Step::Encrypted,
            REFUSED,
            |scene: &Scene| forbidden_ping(scene, &scene.domain, scene.hosted()),
        )
        .tests(&["STREAM-34"])
        .security(),
        attack(
            "order-stanza-before-authentication",
            "A stanza comes under TLS, with a good certificate, before authentication.",
            Step::Protected,
            NOT_AUTHORIZED,
            |scene: &Scene| forbidden_ping(scene, &scene.domain, scene.hosted()),
        )
        .tests(&["STREAM-34", "BIDI-16"])
        .security(),
        Case::new(
            "order-stanza-while-key-is-verified",
            "A stanza comes while the key that would allow it is being verified.",
            NOT_AUTHORIZED,
            |scene: Arc<Scene>| async move {
                scene.neighbour.behave(crate::neighbour::Manner {
                    on_verify: Arc::new(|_, _| crate::neighbour::Reply::Silence),
                    ..crate::neighbour::Manner::default()
                });
                let (mut wire, greeting) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                let key = scene.key(scene.hosted(), &scene.domain, &greeting.id);
                let text = format!(
                    "{}{}",
                    db_result(&scene.domain, scene.hosted(), &key),
                    forbidden_ping(&scene, &scene.domain, scene.hosted())?
                );
                wire.send(text).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["STREAM-34", "DB-15"])
        .security()
        .both(),
        Case::new(
            "order-stanza-instead-of-restart",
            "A stanza comes right after <success/>, where the new header belongs.",
            REFUSED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send(auth(&scene.domain)).await;
                let answer = scene.element(&mut wire).await?;
                ensure!(answer.is(ns::SASL, "success"), "{}", answer.short());
                wire.restart();
                wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?)
                    .await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["SASL-15", "SASL-18"])
        .needs(Need::Trust)
        .security(),
        Case::new(
            "order-stanza-behind-auth",
            "A stanza stands behind <auth/> in one write, without a new header.",
            REFUSED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                let text = format!(
                    "{}{}",
                    auth(&scene.domain),
                    forbidden_ping(&scene, &scene.domain, scene.hosted())?
                );
                wire.send(text).await;
                // <success/> may come first.
                let first = scene.judge(&mut wire).await;
                if first != Verdict::Other("SASL success".to_owned()) {
                    return Ok(first);
                }
                wire.restart();
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["SASL-15", "STREAM-32"])
        .needs(Need::Trust)
        .security(),
    ]
}

fn mechanisms() -> Vec<Case> {
    let mut cases = vec![
        attack(
            "order-external-before-tls",
            "EXTERNAL is tried in plaintext.",
            Step::Plain,
            &[
                Expect::SaslFailure(&[
                    "encryption-required",
                    "invalid-mechanism",
                    "not-authorized",
                ]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            |scene: &Scene| Ok(auth(&scene.domain)),
        )
        .tests(&["SASL-13", "TLS-04"])
        .security(),
        attack(
            "order-plain-before-tls",
            "PLAIN is tried in plaintext.",
            Step::Plain,
            &[
                Expect::SaslFailure(&[
                    "encryption-required",
                    "invalid-mechanism",
                    "not-authorized",
                ]),
                Expect::StreamError(&[]),
                Expect::Closed,
            ],
            |_: &Scene| Ok(auth_raw("PLAIN", "AGEAYg==")),
        )
        .tests(&["SASL-13"])
        .security(),
        attack(
            "order-external-without-certificate",
            "EXTERNAL is tried without a certificate.",
            Step::ProtectedUnproven,
            &[Expect::SaslFailure(&[
                "not-authorized",
                "invalid-mechanism",
            ])],
            |scene: &Scene| Ok(auth(&scene.domain)),
        )
        .tests(&["SASL-02", "SASL-19"])
        .security(),
        attack(
            "order-response-without-auth",
            "A <response/> comes before any <auth/>.",
            Step::Protected,
            &[
                Expect::SaslFailure(&[]),
                Expect::StreamError(&[]),
                Expect::Closed,
                Expect::Ignored,
            ],
            |_: &Scene| Ok("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>"),
        )
        .tests(&["SASL-22", "STREAM-41"]),
        attack(
            "order-success-from-the-peer",
            "The peer says <success/> to itself and then pings.",
            Step::Protected,
            REFUSED,
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.domain, scene.hosted())?;
                Ok(format!(
                    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>{ping}"
                ))
            },
        )
        .tests(&["STREAM-34"])
        .security(),
        Case::new(
            "order-auth-after-auth",
            "EXTERNAL is tried again on an authenticated stream.",
            &[
                Expect::SaslFailure(&[]),
                Expect::StreamError(&[]),
                Expect::Closed,
                Expect::Ignored,
            ],
            |scene: Arc<Scene>| async move {
                let mut wire = Step::Established.reach(&scene).await?;
                wire.send(auth(&scene.domain)).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["STREAM-33", "SASL-17"])
        .security(),
        Case::new(
            "order-abort",
            "An exchange is aborted and answered as such.",
            &[Expect::SaslFailure(&["aborted"])],
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>")
                    .await;
                let answer = scene.element(&mut wire).await?;
                if answer.is(ns::SASL, "success") {
                    // Without a challenge there is nothing to abort (SASL-08).
                    return Ok(Verdict::SaslFailure("aborted".to_owned()));
                }
                ensure!(answer.is(ns::SASL, "challenge"), "{}", answer.short());
                wire.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
                    .await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["SASL-22"])
        .needs(Need::Trust),
        Case::new(
            "order-guessing-identities",
            "EXTERNAL fails again and again, each time for another identity.",
            &[
                Expect::StreamError(&["policy-violation", "not-authorized"]),
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                let mut wire = Step::Protected.reach(&scene).await?;
                let mut last = Verdict::Ignored;
                for number in 0..12 {
                    wire.send(auth(&scene.below(&format!("guess{number}"))))
                        .await;
                    last = scene.outcome(&mut wire, crate::scene::STEP_MAX).await;
                    if !matches!(last, Verdict::SaslFailure(_)) {
                        break;
                    }
                }
                Ok(last)
            },
        )
        .tests(&["SASL-21"])
        .needs(Need::Trust)
        .security(),
    ];
    for (id, about, mechanism, content, conditions) in [
        (
            "order-plain",
            "PLAIN, which no server between servers has, is no mechanism.",
            "PLAIN",
            "AGEAYg==",
            &["invalid-mechanism"][..],
        ),
        (
            "order-no-mechanism",
            "An <auth/> whose mechanism is the empty name.",
            "",
            "=",
            &["invalid-mechanism", "malformed-request"][..],
        ),
        (
            "order-identity-is-no-base64",
            "An identity with characters outside the alphabet of base64.",
            "EXTERNAL",
            "!!!!",
            &["incorrect-encoding"][..],
        ),
        (
            "order-identity-with-a-space",
            "An identity with a space inside its base64.",
            "EXTERNAL",
            "YWJj IGRlZg==",
            &["incorrect-encoding"][..],
        ),
        (
            "order-identity-with-early-padding",
            "An identity whose base64 is padded in the middle.",
            "EXTERNAL",
            "YQ==YQ==",
            &["incorrect-encoding"][..],
        ),
    ] {
        cases.push(
            attack(
                id,
                about,
                Step::Protected,
                &[Expect::SaslFailure(conditions)],
                move |_: &Scene| Ok(auth_raw(mechanism, content)),
            )
            .tests(&["SASL-12", "SASL-13"])
            .needs(Need::Trust)
            .security(),
        );
    }
    cases
}

fn steps() -> Vec<Case> {
    vec![
        attack(
            "order-starttls-under-tls",
            "STARTTLS is asked for under TLS.",
            Step::Protected,
            &[Expect::TlsRefused, Expect::StreamError(&[]), Expect::Closed],
            |_: &Scene| Ok(STARTTLS),
        )
        .tests(&["TLS-08", "TLS-11"]),
        attack(
            "order-starttls-after-authentication",
            "STARTTLS is asked for on an authenticated stream.",
            Step::Established,
            &[Expect::TlsRefused, Expect::StreamError(&[]), Expect::Closed, Expect::Ignored],
            |_: &Scene| Ok(STARTTLS),
        )
        .tests(&["TLS-08", "STREAM-41"]),
        attack(
            "order-proceed-from-the-peer",
            "The peer that connected says <proceed/>.",
            Step::Plain,
            &[Expect::TlsRefused, Expect::StreamError(&[]), Expect::Closed, Expect::Ignored],
            |_: &Scene| Ok(PROCEED),
        )
        .tests(&["STREAM-41"]),
        Case::new(
            "order-dialback-before-tls",
            "A dialback request with a genuine key comes in plaintext, and a ping behind it.",
            &[
                Expect::Dialback("error", &["policy-violation", "not-authorized"]),
                Expect::StreamError(&["policy-violation", "not-authorized"]),
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                let mut wire = scene.dial().await?;
                let greeting = scene
                    .greet(&mut wire, &scene.domain, scene.hosted())
                    .await?;
                let key = scene.key(scene.hosted(), &scene.domain, &greeting.id);
                wire.send(db_result(&scene.domain, scene.hosted(), &key))
                    .await;
                let verdict = scene.outcome(&mut wire, scene.subject.settle).await;
                wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?)
                    .await;
                match scene.judge(&mut wire).await {
                    delivered @ Verdict::Delivered(_) => Ok(delivered),
                    _ => Ok(verdict),
                }
            },
        )
        .tests(&["DB-41", "TLS-06"])
        .security(),
        attack(
            "order-header-twice",
            "A second header comes without a restart.",
            Step::Protected,
            REFUSED,
            |scene: &Scene| Ok(initial_header(&scene.domain, scene.hosted())),
        )
        .tests(&["STREAM-32", "STREAM-36"]),
        attack(
            "order-header-twice-without-declaration",
            "The same without an XML declaration: a first-level element that is a stream.",
            Step::Established,
            &[Expect::StreamError(&[]), Expect::Closed, Expect::Ignored],
            |scene: &Scene| {
                Ok(initial_header(&scene.domain, scene.hosted()).replace("<?xml version='1.0'?>", ""))
            },
        )
        .tests(&["STREAM-41"]),
        attack(
            "order-close-first",
            "The first thing is the close of a stream.",
            Step::Connected,
            REFUSED,
            |_: &Scene| Ok("</stream:stream>"),
        )
        .tests(&["STREAM-36"]),
        attack(
            "order-empty-stream",
            "The header is an empty element, so that the stream ends where it begins.",
            Step::Connected,
            REFUSED,
            |scene: &Scene| {
                Ok(initial_header(&scene.domain, scene.hosted()).replace("xml:lang='en'>", "/>"))
            },
        )
        .tests(&["STREAM-47", "STREAM-36"]),
        attack(
            "order-features-from-the-peer",
            "The peer that connected sends stream features.",
            Step::Established,
            &[Expect::StreamError(&[]), Expect::Closed, Expect::Ignored],
            |_: &Scene| Ok("<stream:features/>"),
        )
        .tests(&["STREAM-41"]),
        attack(
            "order-error-from-the-peer",
            "A stream error is answered by the close, and by no error.",
            Step::Established,
            &[Expect::Closed],
            |_: &Scene| {
                Ok("<stream:error><new-thing xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
            },
        )
        .tests(&["STREAM-49", "STREAM-50"]),
        attack(
            "order-stanza-after-close",
            "A stanza comes behind the close of our stream.",
            Step::Established,
            REFUSED,
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.domain, scene.hosted())?;
                Ok(format!("</stream:stream>{ping}"))
            },
        )
        .tests(&["STREAM-47"])
        .security(),
        attack(
            "order-end-inside-a-stanza",
            "The connection ends in the middle of a stanza, which is nobody's then.",
            Step::Established,
            &[Expect::Ignored, Expect::StreamError(&[]), Expect::Closed],
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.domain, scene.hosted())?;
                Ok(ping.replace("</iq>", ""))
            },
        )
        .tests(&["STREAM-43", "STREAM-48"])
        .security(),
        attack(
            "order-known-name-in-unknown-namespace",
            "A first-level element of an unknown namespace is ignored or refused.",
            Step::Established,
            &[Expect::Ignored, Expect::StreamError(&["unsupported-stanza-type", "policy-violation"])],
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.domain, scene.hosted())?;
                Ok(ping.replace("<iq ", "<iq xmlns='urn:foo' "))
            },
        )
        .tests(&["STREAM-41", "ROUTE-22"]),
        attack(
            "order-unknown-stanza",
            "A first-level element of the content namespace that is no stanza.",
            Step::Established,
            &[Expect::StreamError(&["unsupported-stanza-type"])],
            |scene: &Scene| {
                Ok(format!(
                    "<pubsub from='{}' to='{}'/>",
                    scene.domain,
                    scene.hosted()
                ))
            },
        )
        .tests(&["STREAM-42"]),
        attack(
            "order-client-namespace",
            "A stanza in the namespace of clients is none between servers.",
            Step::Established,
            &[Expect::Ignored, Expect::StreamError(&["unsupported-stanza-type", "invalid-namespace", "policy-violation"])],
            |scene: &Scene| {
                let ping = forbidden_ping(scene, &scene.domain, scene.hosted())?;
                Ok(ping.replace("<iq ", "<iq xmlns='jabber:client' "))
            },
        )
        .tests(&["STREAM-07", "ROUTE-22"]),
    ]
}

fn directions() -> Vec<Case> {
    vec![
        Case::new(
            "order-bidi-before-tls",
            "Both directions are asked for in plaintext only: the answer to a ping comes over another connection.",
            &[Expect::Served, Expect::StreamError(&["policy-violation"]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                let mut wire = scene.dial().await?;
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                wire.send(BIDI).await;
                wire.send(STARTTLS).await;
                match scene.outcome(&mut wire, crate::scene::STEP_MAX).await {
                    Verdict::Other(text) if text == "STARTTLS proceeds" => {}
                    other => return Ok(other),
                }
                let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
                let config = crate::tls::client(Some(shown), rustls::ALL_VERSIONS)?;
                wire.secure_as_client(config, scene.hosted()).await?;
                let greeting = scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                if greeting.features.offers_external() {
                    scene.external(&mut wire, &scene.domain, scene.hosted()).await?;
                } else {
                    scene.dialback(&mut wire, &greeting.id, &scene.domain, scene.hosted()).await?;
                }
                only_elsewhere(&scene, &mut wire).await
            },
        )
        .tests(&["BIDI-06", "TLS-10"])
        .security()
        .both(),
        Case::new(
            "order-bidi-in-the-namespace-of-the-offer",
            "A request in the namespace of the offer is no request: the answer to a ping comes over another connection.",
            &[Expect::Served, Expect::StreamError(&["unsupported-stanza-type", "policy-violation"])],
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send("<bidi xmlns='urn:xmpp:features:bidi'/>").await;
                wire.send(auth(&scene.domain)).await;
                match scene.outcome(&mut wire, crate::scene::STEP_MAX).await {
                    Verdict::Other(text) if text == "SASL success" => {}
                    other => return Ok(other),
                }
                wire.restart();
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                only_elsewhere(&scene, &mut wire).await
            },
        )
        .tests(&["BIDI-04"])
        .needs(Need::Trust)
        .both(),
        Case::new(
            "order-nothing-before-authentication",
            "A stream with both directions asked for gets no stanza before its peer is proven, and gets it then.",
            &[Expect::Served],
            |scene: Arc<Scene>| async move {
                // A stanza for us waits at the target: its connections are met and not answered.
                let id = scene.summon(&scene.domain).await?;
                let (mut wire, greeting) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send(BIDI).await;
                match scene.outcome(&mut wire, scene.subject.settle).await {
                    Verdict::Ignored => {}
                    other => return Ok(other),
                }
                let leaked = scene.trail.last(40).iter().any(|line| line.contains(&id) && line.contains(" < "));
                if leaked {
                    return Ok(Verdict::Delivered("a stanza to nobody in particular".to_owned()));
                }
                ensure!(greeting.features.offers_external(), "EXTERNAL is not offered");
                scene.external(&mut wire, &scene.domain, scene.hosted()).await?;
                let ping = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.answered_here(&mut wire, &ping).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-16", "BIDI-17"])
        .needs(Need::Trust)
        .security()
        .both(),
    ]
}

/// A ping is answered, and not on this connection.
async fn only_elsewhere(scene: &Scene, wire: &mut crate::wire::Wire) -> Result<Verdict> {
    let id = scene.ping(wire, &scene.domain, scene.hosted()).await?;
    let elsewhere = scene.answered_at_neighbour(&id, scene.subject.patience);
    tokio::pin!(elsewhere);
    loop {
        tokio::select! {
            found = &mut elsewhere => {
                return Ok(match found {
                    Some(_) => Verdict::Served,
                    None => Verdict::Other("no answer anywhere".to_owned()),
                });
            }
            heard = wire.hear(scene.subject.patience) => match heard {
                crate::element::Heard::Element(element) if element.attribute("id") == id => {
                    return Ok(Verdict::Delivered(format!("on the same connection: {}", element.short())));
                }
                crate::element::Heard::Element(_) | crate::element::Heard::Header(_) => {}
                other => return Ok(Verdict::Other(format!("no answer but {other:?}"))),
            },
        }
    }
}

fn visitors() -> Vec<Case> {
    vec![
        Case::new(
            "order-visit-no-tls-offered",
            "The target dials us and STARTTLS is missing from the features: it asks for it all the same, or leaves, and shows nothing in plaintext.",
            &[Expect::Ignored, Expect::Closed, Expect::StreamError(&[])],
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                scene.forbid(&id);
                let (mut wire, header) = scene.visitor().await?;
                scene.welcome(&mut wire, &header, FEATURE_EXTERNAL).await?;
                loop {
                    match wire.hear(scene.subject.settle).await {
                        crate::element::Heard::Element(asked) if asked.is(ns::TLS, "starttls") => {
                            wire.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>").await;
                        }
                        crate::element::Heard::Element(asked) if asked.is(ns::STREAM, "error") => {
                            return Ok(Verdict::StreamError(asked.condition()));
                        }
                        crate::element::Heard::Element(asked) => {
                            return Ok(Verdict::Other(format!("in plaintext: {}", asked.short())));
                        }
                        crate::element::Heard::Silence => return Ok(Verdict::Ignored),
                        _ => return Ok(Verdict::Closed),
                    }
                }
            },
        )
        .tests(&["TLS-05", "TLS-06"])
        .security()
        .listens(),
        Case::new(
            "order-visit-stanza-behind-success",
            "A stanza of ours comes between <success/> and our header.",
            &[Expect::StreamError(&[]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, header) = scene.protected_visitor().await?;
                let features = format!("{FEATURE_EXTERNAL}{}", crate::neighbour::FEATURE_BIDI);
                scene.welcome(&mut wire, &header, &features).await?;
                loop {
                    let element = scene.element(&mut wire).await?;
                    if element.is(ns::SASL, "auth") {
                        break;
                    }
                }
                let ping = forbidden_ping(&scene, &scene.domain, scene.hosted())?;
                wire.send(format!("{}{ping}", crate::scene::SUCCESS)).await;
                wire.restart();
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-77"])
        .needs(Need::Trust)
        .security()
        .listens(),
        Case::new(
            "order-visit-stanza-before-success",
            "A stanza of ours comes before the target has authenticated to us.",
            &[Expect::StreamError(&[]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, header) = scene.protected_visitor().await?;
                let features = format!("{FEATURE_EXTERNAL}{}", crate::neighbour::FEATURE_BIDI);
                scene.welcome(&mut wire, &header, &features).await?;
                wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-22", "STREAM-34"])
        .security()
        .listens(),
        Case::new(
            "order-visit-stanza-without-bidi",
            "A stanza of ours comes on a stream that the target opened for one direction.",
            &[Expect::StreamError(&["not-authorized", "invalid-from"]), Expect::Closed, Expect::Ignored],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, _, _) = scene.external_visitor(Directions::One).await?;
                wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-84"])
        .needs(Need::Trust)
        .security()
        .listens(),
        Case::new(
            "order-visit-stanza-before-valid",
            "A stanza of ours comes before we have answered the target's dialback request.",
            &[Expect::StreamError(&["not-authorized", "invalid-from"]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, _, _) =
                    super::served::asked_for_dialback(&scene, crate::neighbour::FEATURE_BIDI).await?;
                wire.send(forbidden_ping(&scene, &scene.domain, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-22", "DB-05"])
        .security()
        .listens(),
        Case::new(
            "order-visit-only-a-foreign-feature",
            "Features with nothing but a mandatory one that nobody knows: the target gives up and does not authenticate.",
            &[Expect::StreamError(&["unsupported-feature", "undefined-condition", "policy-violation"]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                scene.forbid(&id);
                let (mut wire, header) = scene.protected_visitor().await?;
                // Without the namespace of dialback in the header, which would be an offer of its own (DB-30).
                let text = crate::neighbour::response_header(
                    header.attribute("to"),
                    header.attribute("from"),
                    "1",
                )
                .replace(" xmlns:db='jabber:server:dialback'", "");
                wire.send(format!(
                    "{text}<stream:features><x xmlns='urn:x'><required/></x></stream:features>"
                ))
                .await;
                Ok(scene.judge_within(&mut wire, scene.subject.patience).await)
            },
        )
        .tests(&["STREAM-31", "SASL-24"])
        .listens(),
    ]
}
