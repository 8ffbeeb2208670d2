//! Names that the peer has not proven: in stanzas, in identities, in certificates.
//! Why a ping tells: if a spoofed one is taken, its answer goes to the alleged sender, and that is us as well.

use std::sync::Arc;

use anyhow::{Result, ensure};

use super::attack::{REFUSED, Step, attack, forbidden_ping};
use crate::authority::{Order, Purposes, Signer, Validity};
use crate::case::{Case, Need};
use crate::element::{Heard, ns};
use crate::scene::{Directions, Scene, auth};
use crate::verdict::{Expect, Verdict};

const INVALID_FROM: &[Expect] = &[
    Expect::StreamError(&["invalid-from", "not-authorized", "improper-addressing"]),
    Expect::Closed,
];
const HOST_UNKNOWN: &[Expect] = &[
    Expect::StreamError(&[
        "host-unknown",
        "host-gone",
        "not-authorized",
        "invalid-from",
    ]),
    Expect::Closed,
    Expect::Ignored,
];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(senders());
    cases.extend(recipients());
    cases.extend(identities());
    cases.extend(certificates());
    cases.extend(visitors());
    cases
}

fn senders() -> Vec<Case> {
    type Sender = fn(&Scene) -> String;
    let senders: [(&str, &str, Sender, &[&'static str]); 7] = [
        (
            "other-domain",
            "from a domain that has nothing to do with the proven one",
            |scene| scene.domain.replacen('c', "x", 1),
            &["ROUTE-03"],
        ),
        (
            "subdomain",
            "from a domain below the proven one",
            |scene| scene.below("bank"),
            &["ROUTE-03"],
        ),
        (
            "parent-domain",
            "from the domain above the proven one",
            |scene| {
                scene
                    .domain
                    .split_once('.')
                    .map_or_else(String::new, |(_, parent)| parent.to_owned())
            },
            &["ROUTE-03"],
        ),
        (
            "hosted-domain",
            "from the target's own domain",
            |scene| scene.hosted().to_owned(),
            &["ROUTE-03", "BIDI-73"],
        ),
        (
            "user-of-hosted-domain",
            "from a user of the target's own domain",
            |scene| format!("admin@{}/x", scene.hosted()),
            &["ROUTE-03", "BIDI-73"],
        ),
        (
            "domain-in-the-resource",
            "from another domain, with the proven one in the resource",
            |scene| format!("bank.{}/@{}", scene.domain, scene.domain),
            &["ROUTE-03"],
        ),
        (
            "domain-in-the-user",
            "from another domain, with the proven one as the user",
            |scene| format!("{}@bank.{}", scene.domain, scene.domain),
            &["ROUTE-03"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, sender, requirements) in senders {
        for (how, step, more) in [
            ("", Step::Established, &[][..]),
            ("-bidi", Step::EstablishedBoth, &["BIDI-59"][..]),
        ] {
            cases.push(
                attack(
                    &format!("spoof-{name}{how}"),
                    &format!(
                        "A stanza comes {about}, on {}.",
                        match how {
                            "" => "an authenticated stream",
                            _ => "an authenticated stream with both directions",
                        }
                    ),
                    step,
                    INVALID_FROM,
                    move |scene: &Scene| forbidden_ping(scene, &sender(scene), scene.hosted()),
                )
                .tests(requirements)
                .tests(more)
                .security(),
            );
        }
    }
    cases.push(
        Case::new(
            "spoof-other-domain-after-dialback",
            "The same on a stream that dialback has authenticated.",
            INVALID_FROM,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                wire.send(forbidden_ping(
                    &scene,
                    &scene.below("bank"),
                    scene.hosted(),
                )?)
                .await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["ROUTE-03"])
        .security()
        .both(),
    );
    type Text = fn(&Scene) -> Result<String>;
    let malformed: [(&str, &str, Text, &[&'static str]); 4] = [
        (
            "no-from",
            "A stanza has no from.",
            |scene| Ok(forbidden_ping(scene, "", scene.hosted())?.replace("from='' ", "")),
            &["ROUTE-02"],
        ),
        (
            "empty-from",
            "A stanza's from is empty.",
            |scene| forbidden_ping(scene, "", scene.hosted()),
            &["ROUTE-02"],
        ),
        (
            "no-to",
            "A stanza has no to.",
            |scene| Ok(forbidden_ping(scene, &scene.domain, "")?.replace("to='' ", "")),
            &["ROUTE-01"],
        ),
        (
            "empty-to",
            "A stanza's to is empty.",
            |scene| forbidden_ping(scene, &scene.domain, ""),
            &["ROUTE-01"],
        ),
    ];
    for (name, about, text, requirements) in malformed {
        cases.push(
            attack(
                &format!("spoof-{name}"),
                about,
                Step::Established,
                &[Expect::StreamError(&[
                    "improper-addressing",
                    "invalid-from",
                    "host-unknown",
                    "not-authorized",
                ])],
                text,
            )
            .tests(requirements),
        );
    }
    cases
}

fn recipients() -> Vec<Case> {
    vec![
        Case::new(
            "spoof-malformed-from",
            "A stanza's from is no address, though its domain is the proven one.",
            &[
                Expect::StreamError(&["improper-addressing", "invalid-from"]),
                // What is wrong before the domain only may be said to that domain.
                Expect::StanzaError(&["jid-malformed"]),
            ],
            |scene: Arc<Scene>| async move {
                let mut wire = Step::Established.reach(&scene).await?;
                let from = format!("@{}", scene.domain);
                let id = scene.ping(&mut wire, &from, scene.hosted()).await?;
                let verdict = scene.outcome(&mut wire, scene.subject.settle).await;
                Ok(match scene.answered_at_neighbour(&id, scene.subject.settle).await {
                    Some(answer) if answer.attribute("type") == "error" => {
                        Verdict::StanzaError(answer.condition())
                    }
                    Some(answer) => Verdict::Delivered(answer.short()),
                    None => verdict,
                })
            },
        )
        .tests(&["ROUTE-07"]),
        attack(
            "spoof-to-unhosted",
            "A stanza is for a domain that the target does not host: one of ours, so that relaying would show.",
            Step::Established,
            HOST_UNKNOWN,
            |scene: &Scene| forbidden_ping(scene, &scene.domain, &scene.below("third")),
        )
        .tests(&["ROUTE-04", "ROUTE-08"])
        .security(),
        attack(
            "spoof-to-ourselves",
            "A stanza is for the very domain that it comes from.",
            Step::Established,
            HOST_UNKNOWN,
            |scene: &Scene| forbidden_ping(scene, &scene.domain, &scene.domain),
        )
        .tests(&["ROUTE-04", "ROUTE-08"])
        .security(),
        Case::new(
            "spoof-to-other-hosted",
            "A stanza is for a hosted domain that was not asked for; a target may deliver it by policy, and closes otherwise.",
            &[
                Expect::StreamError(&["host-unknown", "improper-addressing", "not-authorized"]),
                Expect::Served,
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                let second = scene.subject.second.clone().unwrap_or_default();
                let mut wire = Step::Established.reach(&scene).await?;
                let id = scene.ping(&mut wire, &scene.domain, &second).await?;
                let verdict = scene.outcome(&mut wire, scene.subject.settle).await;
                match scene
                    .answered_at_neighbour(&id, std::time::Duration::from_millis(1))
                    .await
                {
                    Some(_) => Ok(Verdict::Served),
                    None => Ok(verdict),
                }
            },
        )
        .tests(&["ROUTE-05"])
        .needs(Need::SecondDomain),
    ]
}

fn identities() -> Vec<Case> {
    type Identity = fn(&Scene) -> String;
    let identities: [(&str, &str, Identity, &[&'static str]); 5] = [
        (
            "another-domain",
            "EXTERNAL is for another domain than the header's and the certificate's.",
            |scene| scene.below("bank"),
            &["invalid-authzid", "not-authorized"],
        ),
        (
            "a-user",
            "EXTERNAL is for a user of the proven domain.",
            |scene| format!("admin@{}", scene.domain),
            &["invalid-authzid", "not-authorized"],
        ),
        (
            "the-target",
            "EXTERNAL is for the target's own domain.",
            |scene| scene.hosted().to_owned(),
            &["invalid-authzid", "not-authorized"],
        ),
        (
            "the-parent",
            "EXTERNAL is for the domain above the proven one.",
            |scene| {
                scene
                    .domain
                    .split_once('.')
                    .map_or_else(String::new, |(_, parent)| parent.to_owned())
            },
            &["invalid-authzid", "not-authorized"],
        ),
        (
            "a-nul",
            "EXTERNAL is for the proven domain, a zero byte, and another one.",
            |scene| format!("{}\0.bank.test", scene.domain),
            &[
                "invalid-authzid",
                "not-authorized",
                "incorrect-encoding",
                "malformed-request",
            ],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, identity, conditions) in identities {
        cases.push(
            Case::new(
                &format!("spoof-identity-of-{name}"),
                about,
                &[
                    Expect::SaslFailure(conditions),
                    Expect::StreamError(&[]),
                    Expect::Closed,
                ],
                move |scene: Arc<Scene>| async move {
                    let claimed = identity(&scene);
                    let mut wire = Step::Protected.reach(&scene).await?;
                    wire.send(auth(&claimed)).await;
                    let verdict = scene.judge(&mut wire).await;
                    if verdict != Verdict::Other("SASL success".to_owned()) {
                        return Ok(verdict);
                    }
                    // It was let in; as whom?
                    wire.restart();
                    wire.send(crate::scene::initial_header(&scene.domain, scene.hosted()))
                        .await;
                    wire.send(forbidden_ping(&scene, &claimed, scene.hosted())?)
                        .await;
                    Ok(match scene.judge(&mut wire).await {
                        delivered @ Verdict::Delivered(_) => delivered,
                        then => Verdict::Other(format!(
                            "SASL success, and for a stanza of that identity: {then}"
                        )),
                    })
                },
            )
            .tests(&["SASL-09"])
            .needs(Need::Trust)
            .security(),
        );
    }
    cases.push(
        Case::new(
            "spoof-covered-but-not-claimed",
            "The certificate covers a second domain that EXTERNAL was not for: its stanzas are refused.",
            INVALID_FROM,
            |scene: Arc<Scene>| async move {
                let bank = scene.below("bank");
                let shown = scene.credentials(&Order::good(&[&scene.domain, &bank]))?;
                let mut wire = scene
                    .encrypted(&scene.domain, scene.hosted(), Some(shown))
                    .await?;
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.external(&mut wire, &scene.domain, scene.hosted()).await?;
                wire.send(forbidden_ping(&scene, &bank, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["BIDI-49", "ROUTE-03"])
        .needs(Need::Trust)
        .security(),
    );
    cases
}

fn certificates() -> Vec<Case> {
    type Make = fn(&Scene) -> Order;
    let certificates: [(&str, &str, Make, &[&'static str]); 10] = [
        (
            "for-another-domain",
            "The certificate is good, for another domain.",
            |scene| Order::good(&[&scene.below("bank")]),
            &["TLS-17", "SASL-02"],
        ),
        (
            "for-a-subdomain",
            "The certificate is good, for a domain below.",
            |scene| Order::good(&[&format!("*.{}", scene.domain)]),
            &["TLS-20"],
        ),
        (
            "wildcard-two-deep",
            "The certificate is good, for all names of one label more than the domain above the one above.",
            |scene| {
                let top = scene.domain.rsplit('.').next().unwrap_or_default();
                Order::good(&[&format!("*.{top}")])
            },
            &["TLS-20"],
        ),
        (
            "self-signed",
            "The certificate names the domain and is signed by itself.",
            |scene| Order::good(&[&scene.domain]).signed_by(Signer::Itself),
            &["TLS-17", "SASL-02"],
        ),
        (
            "impostor",
            "The certificate is signed by an authority with the trusted one's name and another key.",
            |scene| Order::good(&[&scene.domain]).signed_by(Signer::Impostor),
            &["TLS-17", "TLS-33"],
        ),
        (
            "expired",
            "The certificate has expired.",
            |scene| Order::good(&[&scene.domain]).validity(Validity::Past),
            &["TLS-17", "SASL-11"],
        ),
        (
            "not-yet-valid",
            "The certificate is not valid yet.",
            |scene| Order::good(&[&scene.domain]).validity(Validity::Future),
            &["TLS-17"],
        ),
        (
            "client-purpose-only",
            "The certificate is for TLS clients only, which no server's is.",
            |scene| Order::good(&[&scene.domain]).purposes(Purposes::Client),
            &["TLS-22"],
        ),
        (
            "common-name-only",
            "The certificate names the domain as its common name and another one as what it is for.",
            |scene| Order {
                common_name: scene.domain.clone(),
                ..Order::good(&["elsewhere.test"])
            },
            &["TLS-21"],
        ),
        (
            "for-the-target",
            "The certificate is for the target's own domain, by its own authority, and so is the header.",
            |scene| Order::good(&[scene.hosted()]),
            &["STREAM-23", "BIDI-73"],
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, make, requirements) in certificates {
        let case = Case::new(
            &format!("spoof-certificate-{name}"),
            about,
            &[
                Expect::SaslFailure(&["not-authorized", "invalid-mechanism", "invalid-authzid"]),
                Expect::StreamError(&[]),
                Expect::Closed,
                Expect::TlsRefused,
            ],
            move |scene: Arc<Scene>| async move {
                let order = make(&scene);
                let from = match name {
                    "for-the-target" => scene.hosted().to_owned(),
                    _ => scene.domain.clone(),
                };
                let shown = scene.credentials(&order)?;
                // A connection that dies of the certificate is an answer, wherever it dies.
                let Ok(mut wire) = scene.encrypted(&from, scene.hosted(), Some(shown)).await else {
                    return Ok(Verdict::TlsRefused);
                };
                wire.send(crate::scene::initial_header(&from, scene.hosted()))
                    .await;
                if matches!(
                    wire.hear(crate::scene::STEP_MAX).await,
                    crate::element::Heard::Eof
                        | crate::element::Heard::Broken(_)
                        | crate::element::Heard::End
                ) {
                    return Ok(Verdict::Closed);
                }
                let features = scene.element(&mut wire).await?;
                if features.is(ns::STREAM, "error") {
                    return Ok(Verdict::StreamError(features.condition()));
                }
                // Offered or not, it is tried.
                wire.send(auth(&from)).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(requirements)
        .security();
        cases.push(match name {
            // Whoever trusts us not at all refuses it for that.
            "client-purpose-only" => case.needs(Need::Trust),
            _ => case,
        });
    }
    cases
}

fn visitors() -> Vec<Case> {
    type Addresses = fn(&Scene) -> (String, String);
    let addresses: [(&str, &str, Addresses, &[Expect]); 4] = [
        (
            "another-domain",
            "On a stream that the target opened with both directions, a stanza comes from another domain than the one it dialled.",
            |scene| (scene.below("bank"), scene.hosted().to_owned()),
            INVALID_FROM,
        ),
        (
            "the-target",
            "The same from the target's own domain.",
            |scene| (scene.hosted().to_owned(), scene.hosted().to_owned()),
            INVALID_FROM,
        ),
        (
            "to-unhosted",
            "The same from the right domain for one that is not hosted.",
            |scene| (scene.domain.clone(), scene.below("third")),
            HOST_UNKNOWN,
        ),
        (
            "no-from",
            "The same from nobody.",
            |scene| (String::new(), scene.hosted().to_owned()),
            REFUSED,
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, addresses, expected) in addresses {
        cases.push(
            Case::new(
                &format!("spoof-visit-{name}"),
                about,
                expected,
                move |scene: Arc<Scene>| async move {
                    scene.summon(&scene.domain).await?;
                    let (mut wire, asked, _) = scene.external_visitor(Directions::Both).await?;
                    ensure!(asked, "both directions were not asked for");
                    let (from, to) = addresses(&scene);
                    wire.send(forbidden_ping(&scene, &from, &to)?).await;
                    Ok(scene.judge(&mut wire).await)
                },
            )
            .tests(&["BIDI-22", "BIDI-23"])
            .needs(Need::Trust)
            .security()
            .listens(),
        );
    }
    cases.push(
        Case::new(
            "spoof-visit-to-other-hosted",
            "On a stream that the target opened with both directions, a stanza is for a hosted domain that it is not about; a target may deliver it by policy, and closes otherwise.",
            &[
                Expect::Served,
                Expect::StreamError(&["host-unknown", "improper-addressing", "not-authorized"]),
                Expect::Closed,
            ],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, asked, _) = scene.external_visitor(Directions::Both).await?;
                ensure!(asked, "both directions were not asked for");
                let second = scene.subject.second.clone().unwrap_or_default();
                let id = scene.ping(&mut wire, &scene.domain, &second).await?;
                scene.neighbour.serve_again();
                loop {
                    match wire.hear(scene.subject.settle).await {
                        crate::element::Heard::Element(answer) if answer.attribute("id") == id => {
                            return Ok(Verdict::Served);
                        }
                        crate::element::Heard::Element(error) if error.is(ns::STREAM, "error") => {
                            return Ok(Verdict::StreamError(error.condition()));
                        }
                        crate::element::Heard::Element(_) => {}
                        crate::element::Heard::Silence => {
                            let wait = scene.subject.settle;
                            return Ok(match scene.answered_at_neighbour(&id, wait).await {
                                Some(_) => Verdict::Served,
                                None => Verdict::Ignored,
                            });
                        }
                        _ => return Ok(Verdict::Closed),
                    }
                }
            },
        )
        .tests(&["BIDI-22", "ROUTE-05"])
        .needs(Need::Trust)
        .needs(Need::SecondDomain)
        .listens(),
    );
    cases.push(
        Case::new(
            "spoof-visit-header-from",
            "Our response header is from another domain than the one that was dialled: that one is not believed.",
            INVALID_FROM,
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, header) = scene.protected_visitor().await?;
                let bank = scene.below("bank");
                let text = format!(
                    "{}<stream:features>{}{}</stream:features>",
                    crate::neighbour::response_header(&bank, header.attribute("from"), "1"),
                    crate::neighbour::FEATURE_EXTERNAL,
                    crate::neighbour::FEATURE_BIDI
                );
                wire.send(text).await;
                loop {
                    match scene.element(&mut wire).await {
                        Ok(element) if element.is(ns::SASL, "auth") => break,
                        Ok(_) => {}
                        Err(_) => return Ok(Verdict::Closed),
                    }
                }
                wire.send(crate::scene::SUCCESS).await;
                wire.restart();
                wire.hear(crate::scene::STEP_MAX).await;
                let text = format!(
                    "{}<stream:features/>",
                    crate::neighbour::response_header(&bank, header.attribute("from"), "2")
                );
                wire.send(text).await;
                wire.send(forbidden_ping(&scene, &bank, scene.hosted())?).await;
                Ok(scene.judge(&mut wire).await)
            },
        )
        .tests(&["STREAM-18", "BIDI-22"])
        .needs(Need::Trust)
        .security()
        .listens(),
    );
    cases.push(
        Case::new(
            "spoof-visit-wrong-certificate",
            "The target dials us and our certificate is for another domain: without dialback it does not deliver.",
            REFUSED,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                scene.forbid(&id);
                let (mut wire, header) = scene.visitor().await?;
                scene
                    .welcome(&mut wire, &header, crate::neighbour::FEATURE_TLS)
                    .await?;
                scene.element(&mut wire).await?;
                wire.send(crate::scene::PROCEED).await;
                let shown = scene.credentials(
                    &Order::good(&["elsewhere.test"]).signed_by(Signer::Impostor),
                )?;
                if wire
                    .secure_as_server(crate::tls::server(shown)?)
                    .await
                    .is_err()
                {
                    return Ok(Verdict::Closed);
                }
                let crate::element::Heard::Header(header) =
                    wire.hear(crate::scene::STEP_MAX).await
                else {
                    return Ok(Verdict::Closed);
                };
                scene
                    .welcome(&mut wire, &header, crate::neighbour::FEATURE_BIDI)
                    .await?;
                // It may ask by dialback, since it resolved the name itself; then nothing is claimed here.
                match wire.hear(crate::scene::STEP_MAX).await {
                    Heard::Element(element)
                        if element.namespace == ns::DIALBACK || element.is(ns::BIDI, "bidi") =>
                    {
                        Ok(Verdict::Closed)
                    }
                    Heard::Element(element) if element.is(ns::STREAM, "error") => {
                        Ok(Verdict::StreamError(element.condition()))
                    }
                    Heard::Element(element) => {
                        Ok(Verdict::Other(format!("it says {}", element.short())))
                    }
                    // It says goodbye, waits for ours, and must not have delivered elsewhere.
                    Heard::End => Ok(match scene.judge(&mut wire).await {
                        Verdict::Ignored => Verdict::Closed,
                        other => other,
                    }),
                    Heard::Header(_)
                    | Heard::Eof
                    | Heard::Broken(_)
                    | Heard::Garbled(_)
                    | Heard::Silence => Ok(scene.judge(&mut wire).await),
                }
            },
        )
        .tests(&["TLS-16", "TLS-23"])
        .security()
        .listens(),
    );
    cases
}
