//! Well-behaved peers, which must be served in every form that the specifications allow.
//! Why first: these are the controls of everything else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::authority::{Order, Purposes};
use crate::case::{Case, Need};
use crate::element::{Heard, ns};
use crate::neighbour::{FEATURE_DIALBACK, FEATURE_EXTERNAL, Reply, result_answer};
use crate::scene::{
    BIDI, Directions, STARTTLS, STEP_MAX, Scene, auth, auth_raw, db_result, db_verify,
    initial_header, ping,
};
use crate::tls;
use crate::verdict::{Expect, Verdict};

const SERVED: &[Expect] = &[Expect::Served];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(authentication());
    cases.extend(pairs());
    cases.extend(both_directions());
    cases.extend(forms());
    cases.extend(visitors());
    cases
}

fn authentication() -> Vec<Case> {
    vec![
        Case::new(
            "served-external",
            "A peer with a good certificate authenticates by EXTERNAL and pings; the answer comes over a connection of the target's.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene.protected(&scene.domain, scene.hosted()).await?;
                ensure!(greeting.features.offers_external(), "EXTERNAL is not offered");
                scene.external(&mut wire, &scene.domain, scene.hosted()).await?;
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                elsewhere(&scene, &id).await
            },
        )
        .tests(&["SASL-01", "SASL-02", "BIDI-83"])
        .needs(Need::Trust)
        .both(),
        Case::new(
            "served-dialback",
            "A peer without a certificate authenticates by dialback and pings.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                elsewhere(&scene, &id).await
            },
        )
        .tests(&["DB-15", "DB-20", "DB-22", "DB-47"])
        .both(),
        Case::new(
            "served-server-purpose-only",
            "A certificate for TLS servers only is good for EXTERNAL.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let order = Order::good(&[&scene.domain]).purposes(Purposes::Server);
                by_external(&scene, order).await
            },
        )
        .tests(&["TLS-22"])
        .needs(Need::Trust),
        Case::new(
            "served-wildcard-certificate",
            "A certificate for all names of one more label is good for one of them.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let from = scene.below("rooms");
                let order = Order::good(&[&format!("*.{}", scene.domain)]);
                by_external_as(&scene, order, &from).await
            },
        )
        .tests(&["TLS-20"])
        .needs(Need::Trust),
        Case::new(
            "served-authzid-empty",
            "EXTERNAL with a zero-length identity (=) is for the header's from.",
            SERVED,
            |scene: Arc<Scene>| async move { with_auth(&scene, auth_raw("EXTERNAL", "=")).await },
        )
        .tests(&["SASL-08", "SASL-10"])
        .needs(Need::Trust),
        Case::new(
            "served-authzid-absent",
            "EXTERNAL without initial content is asked for it and then succeeds with none.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>").await;
                let mut answer = scene.element(&mut wire).await?;
                if answer.is(ns::SASL, "challenge") {
                    wire.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
                    answer = scene.element(&mut wire).await?;
                }
                ensure!(answer.is(ns::SASL, "success"), "no <success/> but {}", answer.short());
                wire.restart();
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["SASL-08"])
        .needs(Need::Trust),
        Case::new(
            "served-authzid-white-space",
            "White space around the identity, as the figure of XEP-0288 has it, does no harm or is refused as an encoding.",
            &[Expect::Served, Expect::SaslFailure(&["incorrect-encoding"])],
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                let text = auth(&scene.domain).replace('>', ">\n  ").replace("</", "\n</");
                wire.send(text.trim_end()).await;
                let answer = scene.element(&mut wire).await?;
                if answer.is(ns::SASL, "failure") {
                    return Ok(Verdict::SaslFailure(answer.condition()));
                }
                wire.restart();
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["SASL-12"])
        .needs(Need::Trust),
        Case::new(
            "served-dialback-after-sasl-failure",
            "After an EXTERNAL that failed, dialback on the same stream is let in.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                wire.send(auth(&scene.domain)).await;
                let answer = scene.element(&mut wire).await?;
                ensure!(answer.is(ns::SASL, "failure"), "no <failure/> but {}", answer.short());
                valid(&scene, &mut wire, &greeting.id, &scene.domain, scene.hosted()).await?;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["SASL-19", "BIDI-46", "DB-47"]),
        Case::new(
            "served-tls-1.2",
            "A peer that has TLS 1.2 only is served.",
            SERVED,
            |scene: Arc<Scene>| async move { with_tls(&scene, &rustls::version::TLS12).await },
        )
        .tests(&["TLS-26"])
        .needs(Need::Trust),
        Case::new(
            "served-tls-1.3",
            "A peer that has TLS 1.3 only is served.",
            SERVED,
            |scene: Arc<Scene>| async move { with_tls(&scene, &rustls::version::TLS13).await },
        )
        .tests(&["TLS-26"])
        .needs(Need::Trust),
        Case::new(
            "served-without-certificate",
            "A peer without a certificate gets TLS, and EXTERNAL is not offered to it.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (_, greeting) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                match greeting.features.offers_external() {
                    true => Ok(Verdict::Other("EXTERNAL is offered without a certificate".to_owned())),
                    false => Ok(Verdict::Served),
                }
            },
        )
        .tests(&["TLS-12", "SASL-02"]),
    ]
}

/// The pong of a ping has come to our listener.
async fn elsewhere(scene: &Scene, id: &str) -> Result<Verdict> {
    match scene
        .answered_at_neighbour(id, scene.subject.patience)
        .await
    {
        Some(answer) if answer.attribute("type") == "result" => Ok(Verdict::Served),
        Some(answer) => Ok(Verdict::StanzaError(answer.condition())),
        None => bail!("no answer at the listener"),
    }
}

async fn valid(
    scene: &Scene,
    wire: &mut crate::wire::Wire,
    id: &str,
    from: &str,
    to: &str,
) -> Result<()> {
    let answer = scene.dialback(wire, id, from, to).await?;
    ensure!(
        answer.attribute("type") == "valid",
        "not valid: {}",
        answer.short()
    );
    Ok(())
}

async fn by_external(scene: &Scene, order: Order) -> Result<Verdict> {
    by_external_as(scene, order, &scene.domain).await
}

async fn by_external_as(scene: &Scene, order: Order, from: &str) -> Result<Verdict> {
    let shown = scene.credentials(&order)?;
    let mut wire = scene.encrypted(from, scene.hosted(), Some(shown)).await?;
    scene.greet(&mut wire, from, scene.hosted()).await?;
    scene.external(&mut wire, from, scene.hosted()).await?;
    scene.served(&mut wire, from, scene.hosted()).await
}

async fn with_auth(scene: &Scene, text: String) -> Result<Verdict> {
    let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
    wire.send(text).await;
    let answer = scene.element(&mut wire).await?;
    ensure!(
        answer.is(ns::SASL, "success"),
        "no <success/> but {}",
        answer.short()
    );
    wire.restart();
    scene
        .greet(&mut wire, &scene.domain, scene.hosted())
        .await?;
    scene.served(&mut wire, &scene.domain, scene.hosted()).await
}

async fn with_tls(
    scene: &Scene,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<Verdict> {
    let mut wire = scene.proceeded(&scene.domain, scene.hosted()).await?;
    let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
    wire.secure_as_client(tls::client(Some(shown), &[version])?, scene.hosted())
        .await?;
    scene
        .greet(&mut wire, &scene.domain, scene.hosted())
        .await?;
    scene
        .external(&mut wire, &scene.domain, scene.hosted())
        .await?;
    scene.served(&mut wire, &scene.domain, scene.hosted()).await
}

fn pairs() -> Vec<Case> {
    vec![
        Case::new(
            "served-sender-multiplexing",
            "A second domain of the peer proves itself by dialback on the stream of the first.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let rooms = scene.below("rooms");
                valid(&scene, &mut wire, &greeting.id, &rooms, scene.hosted()).await?;
                scene.served(&mut wire, &rooms, scene.hosted()).await?;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["DB-42", "BIDI-49"]),
        Case::new(
            "served-target-multiplexing",
            "A peer asks on one stream for a second domain of the target.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let second = scene.subject.second.clone().unwrap_or_default();
                let (mut wire, greeting) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                valid(&scene, &mut wire, &greeting.id, &scene.domain, &second).await?;
                scene.served(&mut wire, &scene.domain, &second).await
            },
        )
        .tests(&["DB-43", "DB-47"])
        .needs(Need::SecondDomain),
        Case::new(
            "served-certificate-for-a-second-domain",
            "A second domain that the certificate covers is valid; whether a key is checked or not is the target's choice.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let rooms = scene.below("rooms");
                let shown = scene.credentials(&Order::good(&[&scene.domain, &rooms]))?;
                let mut wire = scene
                    .encrypted(&scene.domain, scene.hosted(), Some(shown))
                    .await?;
                scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                let greeting = scene.external(&mut wire, &scene.domain, scene.hosted()).await?;
                valid(&scene, &mut wire, &greeting.id, &rooms, scene.hosted()).await?;
                scene.served(&mut wire, &rooms, scene.hosted()).await
            },
        )
        .tests(&["DB-44"])
        .needs(Need::Trust),
        Case::new(
            "served-dialback-twice",
            "The same request again is answered with the same verdict.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                valid(&scene, &mut wire, &greeting.id, &scene.domain, scene.hosted()).await?;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["DB-48"]),
        Case::new(
            "served-second-connection",
            "A peer that has a stream opens another one, which is served as well.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (first, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                // The answer may take either stream or a third.
                let mut first = first;
                let verdict = scene.answered(&mut first, &id).await;
                match verdict {
                    Ok(_) => Ok(Verdict::Served),
                    Err(_) => {
                        scene.answered_here(&mut wire, &id).await?;
                        Ok(Verdict::Served)
                    }
                }
            },
        )
        .tests(&["BIDI-50", "BIDI-54"]),
    ]
}

fn both_directions() -> Vec<Case> {
    vec![
        Case::new(
            "served-bidi-external",
            "With both directions asked for before EXTERNAL, the answer to a ping comes on the same connection.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-01", "BIDI-17", "BIDI-19", "BIDI-44", "BIDI-55"])
        .needs(Need::Trust),
        Case::new(
            "served-bidi-dialback",
            "With both directions asked for before dialback, the answer to a ping comes on the same connection.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-18", "BIDI-20", "BIDI-55"]),
        Case::new(
            "served-bidi-second-domain",
            "A second domain that proves itself on a bidirectional stream gets its answers there too.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                let rooms = scene.below("rooms");
                valid(&scene, &mut wire, &greeting.id, &rooms, scene.hosted()).await?;
                same_connection(&scene, &mut wire, &rooms).await
            },
        )
        .tests(&["BIDI-20", "BIDI-49"]),
        Case::new(
            "served-bidi-in-one-write",
            "The request for both directions and EXTERNAL come in one write.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send(format!("{BIDI}{}", auth(&scene.domain))).await;
                after_auth(&scene, &mut wire).await?;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-09"])
        .needs(Need::Trust),
        Case::new(
            "served-bidi-twice",
            "The request for both directions comes twice and counts once.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send(format!("{BIDI}{BIDI}{}", auth(&scene.domain))).await;
                after_auth(&scene, &mut wire).await?;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-12"])
        .needs(Need::Trust),
        Case::new(
            "served-bidi-with-content",
            "The request for both directions has limits and an unknown child in it.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send(format!(
                    "<bidi xmlns='urn:xmpp:bidi' a='b'><limits xmlns='urn:xmpp:stream-limits:0'>\
                     <max-bytes>262144</max-bytes></limits><x xmlns='urn:x'/></bidi>{}",
                    auth(&scene.domain)
                ))
                .await;
                after_auth(&scene, &mut wire).await?;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-66"])
        .needs(Need::Trust),
        Case::new(
            "served-bidi-behind-auth",
            "The request for both directions stands behind <auth/> in one write and takes effect with its success.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene.protected(&scene.domain, scene.hosted()).await?;
                wire.send(format!("{}{BIDI}", auth(&scene.domain))).await;
                after_auth(&scene, &mut wire).await?;
                served_anywhere(&scene, &mut wire).await
            },
        )
        .tests(&["BIDI-15"])
        .needs(Need::Trust),
        Case::new(
            "served-bidi-after-external",
            "A request for both directions after EXTERNAL opens the pair that was proven.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                wire.send(BIDI).await;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-13"])
        .needs(Need::Trust),
        Case::new(
            "served-bidi-after-dialback",
            "A request for both directions after dialback opens the pairs that were verified.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .dialled_back(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                wire.send(BIDI).await;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-14"]),
        Case::new(
            "served-bidi-sasl-failure-dialback",
            "The request for both directions survives an EXTERNAL that failed; dialback follows.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, greeting) = scene
                    .protected_unproven(&scene.domain, scene.hosted())
                    .await?;
                wire.send(format!("{BIDI}{}", auth(&scene.domain))).await;
                let answer = scene.element(&mut wire).await?;
                ensure!(answer.is(ns::SASL, "failure"), "no <failure/> but {}", answer.short());
                valid(&scene, &mut wire, &greeting.id, &scene.domain, scene.hosted()).await?;
                same_connection(&scene, &mut wire, &scene.domain).await
            },
        )
        .tests(&["BIDI-46"]),
        Case::new(
            "served-bidi-needs-no-stanza",
            "A bidirectional stream on which the peer never sends a stanza carries what is for it.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut quiet, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.answered_here(&mut quiet, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-82", "BIDI-55"]),
        Case::new(
            "served-half-close",
            "A ping and the close of our stream in one write: the ping is answered.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let id = crate::key::random_id()?;
                wire.send(format!(
                    "{}</stream:stream>",
                    ping(&scene.domain, scene.hosted(), &id)
                ))
                .await;
                scene.answered(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-57", "STREAM-47"]),
        Case::new(
            "served-close",
            "Our close is answered by the target's.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                wire.send("</stream:stream>").await;
                match wire.hear(STEP_MAX).await {
                    Heard::End => Ok(Verdict::Served),
                    other => Ok(Verdict::Other(format!("no </stream:stream> but {other:?}"))),
                }
            },
        )
        .tests(&["STREAM-47"]),
    ]
}

async fn after_auth(scene: &Scene, wire: &mut crate::wire::Wire) -> Result<()> {
    let answer = scene.element(wire).await?;
    ensure!(
        answer.is(ns::SASL, "success"),
        "no <success/> but {}",
        answer.short()
    );
    wire.restart();
    scene.greet(wire, &scene.domain, scene.hosted()).await?;
    Ok(())
}

async fn same_connection(
    scene: &Scene,
    wire: &mut crate::wire::Wire,
    from: &str,
) -> Result<Verdict> {
    let id = scene.ping(wire, from, scene.hosted()).await?;
    let here = scene.answered_here(wire, &id).await;
    match here {
        Ok(_) => Ok(Verdict::Served),
        Err(error) => match scene
            .answered_at_neighbour(&id, Duration::from_millis(10))
            .await
        {
            Some(_) => Ok(Verdict::Other(
                "answered, but over another connection".to_owned(),
            )),
            None => Err(error),
        },
    }
}

async fn served_anywhere(scene: &Scene, wire: &mut crate::wire::Wire) -> Result<Verdict> {
    scene.served(wire, &scene.domain, scene.hosted()).await
}

fn forms() -> Vec<Case> {
    vec![
        Case::new(
            "served-byte-by-byte",
            "A whole negotiation and a ping, one byte at a time.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .encrypted_slowly()
                    .await?;
                slowly(&mut wire, &initial_header(&scene.domain, scene.hosted())).await;
                let greeting = scene.greeting(&mut wire).await?;
                if greeting.features.offers_external() {
                    slowly(&mut wire, &auth(&scene.domain)).await;
                    let answer = scene.element(&mut wire).await?;
                    ensure!(answer.is(ns::SASL, "success"), "{}", answer.short());
                    wire.restart();
                    slowly(&mut wire, &initial_header(&scene.domain, scene.hosted())).await;
                    scene.greeting(&mut wire).await?;
                } else {
                    valid(&scene, &mut wire, &greeting.id, &scene.domain, scene.hosted()).await?;
                }
                let id = crate::key::random_id()?;
                slowly(&mut wire, &ping(&scene.domain, scene.hosted(), &id)).await;
                scene.answered(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-09", "STREAM-52"]),
        Case::new(
            "served-default-stream-namespace",
            "The header has the stream's namespace as its default, and stanzas declare theirs.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let header = format!(
                    "<stream xmlns='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
                     from='{}' to='{}' version='1.0'>",
                    scene.domain,
                    scene.hosted()
                );
                with_header(&scene, &header, "xmlns='jabber:server' ").await
            },
        )
        .tests(&["STREAM-04"])
        .needs(Need::Trust),
        Case::new(
            "served-other-prefix",
            "The header has another prefix for the stream's namespace; a target may say that it wants the usual one.",
            &[Expect::Served, Expect::StreamError(&["bad-namespace-prefix"])],
            |scene: Arc<Scene>| async move {
                let header = format!(
                    "<flow:stream xmlns='jabber:server' xmlns:flow='http://etherx.jabber.org/streams' \
                     xmlns:db='jabber:server:dialback' from='{}' to='{}' version='1.0'>",
                    scene.domain,
                    scene.hosted()
                );
                with_header(&scene, &header, "").await
            },
        )
        .tests(&["STREAM-05"])
        .needs(Need::Trust),
        Case::new(
            "served-header-extras",
            "The header has an id, a minor version of tomorrow, a foreign attribute and namespaces that nobody needs.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let header = format!(
                    "<?xml version='1.0' encoding='UTF-8'?>\n<stream:stream xmlns='jabber:server' \
                     xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
                     xmlns:x='urn:x' x:y='z' id='mine' from='{}' to='{}' version='1.13' xml:lang='de'>",
                    scene.domain,
                    scene.hosted()
                );
                with_header(&scene, &header, "").await
            },
        )
        .tests(&["STREAM-13", "STREAM-25"])
        .needs(Need::Trust),
        Case::new(
            "served-domain-in-capitals",
            "The header's domains are in capitals and mean the same domains.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let from = scene.domain.to_uppercase();
                let to = scene.hosted().to_uppercase();
                let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
                let mut wire = scene.encrypted(&scene.domain, scene.hosted(), Some(shown)).await?;
                let greeting = scene.greet(&mut wire, &from, &to).await?;
                ensure!(greeting.features.offers_external(), "EXTERNAL is not offered");
                scene.external(&mut wire, &from, &to).await?;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["STREAM-45", "ROUTE-06"])
        .needs(Need::Trust),
        Case::new(
            "served-white-space-between-stanzas",
            "White space between stanzas keeps a connection alive and does nothing else.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                wire.send(" \n\t  ").await;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await?;
                wire.send(" ").await;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["STREAM-40"]),
        Case::new(
            "served-stanza-of-10000-bytes",
            "A stanza of just under 10000 bytes is below every limit that a server may set.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let text = format!(
                    "<message from='a@{}' to='b@{}' type='chat'><body>{}</body></message>",
                    scene.domain,
                    scene.hosted(),
                    "x".repeat(9_800)
                );
                wire.send(text).await;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["LIM-01"]),
        Case::new(
            "served-character-data",
            "CDATA, character references and the five entities are no restricted XML.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                wire.send(format!(
                    "<message from='a@{}' to='b@{}' type='headline'><body><![CDATA[<&>]]>&lt;&gt;&amp;&apos;&quot;&#65;&#x1F600;</body></message>",
                    scene.domain,
                    scene.hosted()
                ))
                .await;
                scene.served(&mut wire, &scene.domain, scene.hosted()).await
            },
        )
        .tests(&["STREAM-35", "ROUTE-11"]),
        Case::new(
            "served-ids-are-fresh",
            "The ids of the streams of one connection and of the next differ, and none is ours.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let mut ids = Vec::new();
                for _ in 0..2 {
                    let mut wire = scene.dial().await?;
                    let first = scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                    wire.send(STARTTLS).await;
                    scene.element(&mut wire).await?;
                    let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
                    wire.secure_as_client(
                        tls::client(Some(shown), rustls::ALL_VERSIONS)?,
                        scene.hosted(),
                    )
                    .await?;
                    let second = scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                    ids.extend([first.id, second.id.clone()]);
                    if second.features.offers_external() {
                        let third = scene
                            .external(&mut wire, &scene.domain, scene.hosted())
                            .await?;
                        ids.push(third.id);
                    }
                }
                let number = ids.len();
                ids.sort();
                ids.dedup();
                ensure!(ids.iter().all(|id| id.len() >= 8), "short ids: {ids:?}");
                match ids.len() == number {
                    true => Ok(Verdict::Served),
                    false => Ok(Verdict::Other(format!("an id came twice: {ids:?}"))),
                }
            },
        )
        .tests(&["STREAM-15", "SASL-16"]),
        Case::new(
            "served-response-header",
            "The response header has from, to, id, version and a language.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (_, greeting) = scene.protected(&scene.domain, scene.hosted()).await?;
                let header = greeting.header;
                ensure!(header.attribute("from") == scene.hosted(), "{}", header.short());
                ensure!(header.attribute("to") == scene.domain, "{}", header.short());
                ensure!(header.attribute("version") == "1.0", "version");
                match header.has("lang") {
                    true => Ok(Verdict::Served),
                    false => Ok(Verdict::Other("no xml:lang".to_owned())),
                }
            },
        )
        .tests(&["STREAM-14", "STREAM-25"]),
        Case::new(
            "served-plain-features",
            "Before TLS the features have STARTTLS, required, and neither mechanisms nor dialback nor the offer of both directions.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let mut wire = scene.dial().await?;
                let greeting = scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
                let features = greeting.features;
                let starttls = features.child(ns::TLS, "starttls");
                ensure!(
                    starttls.is_some_and(|own| own.child(ns::TLS, "required").is_some()),
                    "STARTTLS is not required: {}",
                    features.short()
                );
                let early = ["mechanisms", "dialback", "bidi"];
                match features
                    .children
                    .iter()
                    .find(|feature| early.contains(&feature.name.as_str()))
                {
                    None => Ok(Verdict::Served),
                    Some(feature) => Ok(Verdict::Other(format!("<{}/> before TLS", feature.name))),
                }
            },
        )
        .tests(&["TLS-02", "TLS-03", "TLS-04", "BIDI-02"]),
        Case::new(
            "served-protected-features",
            "After TLS the features have EXTERNAL, the offer of both directions and dialback with errors, and no STARTTLS.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (_, greeting) = scene.protected(&scene.domain, scene.hosted()).await?;
                let features = greeting.features;
                let mut lacks = Vec::new();
                if !features.offers_external() {
                    lacks.push("no EXTERNAL");
                }
                if features.child(ns::BIDI_FEATURE, "bidi").is_none() {
                    lacks.push("no bidi");
                }
                if features
                    .child("urn:xmpp:features:dialback", "dialback")
                    .is_none_or(|own| own.children.is_empty())
                {
                    lacks.push("no dialback errors");
                }
                if features.child(ns::TLS, "starttls").is_some() {
                    lacks.push("STARTTLS again");
                }
                match lacks.is_empty() {
                    true => Ok(Verdict::Served),
                    false => Ok(Verdict::Other(lacks.join(", "))),
                }
            },
        )
        .tests(&["BIDI-01", "DB-31", "TLS-11", "SASL-02"])
        .needs(Need::Trust),
        Case::new(
            "served-authenticated-features",
            "After EXTERNAL the features have neither mechanisms nor STARTTLS, nor the offer of what is on already.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let (_, greeting) = scene
                    .established(&scene.domain, scene.hosted(), Directions::Both)
                    .await?;
                let features = greeting.features;
                for (namespace, name) in [
                    (ns::SASL, "mechanisms"),
                    (ns::TLS, "starttls"),
                    (ns::BIDI_FEATURE, "bidi"),
                ] {
                    if features.child(namespace, name).is_some() {
                        return Ok(Verdict::Other(format!("<{name}/> after EXTERNAL")));
                    }
                }
                Ok(Verdict::Served)
            },
        )
        .tests(&["SASL-17", "BIDI-03"])
        .needs(Need::Trust),
        Case::new(
            "served-unknown-request",
            "An iq of a kind that nobody knows gets an error, and not silence.",
            &[Expect::StanzaError(&["service-unavailable", "feature-not-implemented"])],
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let id = crate::key::random_id()?;
                wire.send(format!(
                    "<iq from='{}' to='{}' id='{id}' type='get'><q xmlns='urn:x'/></iq>",
                    scene.domain,
                    scene.hosted()
                ))
                .await;
                let answer = scene.answered(&mut wire, &id).await?;
                Ok(Verdict::StanzaError(answer.condition()))
            },
        )
        .tests(&["ROUTE-21"]),
    ]
}

impl Scene {
    /// A connection with TLS whose negotiation was written byte by byte.
    async fn encrypted_slowly(&self) -> Result<(crate::wire::Wire, ())> {
        let mut wire = self.dial().await?;
        slowly(&mut wire, &initial_header(&self.domain, self.hosted())).await;
        self.greeting(&mut wire).await?;
        slowly(&mut wire, STARTTLS).await;
        let answer = self.element(&mut wire).await?;
        ensure!(answer.is(ns::TLS, "proceed"), "{}", answer.short());
        let shown = self.credentials(&Order::good(&[&self.domain]))?;
        wire.secure_as_client(
            tls::client(Some(shown), rustls::ALL_VERSIONS)?,
            self.hosted(),
        )
        .await?;
        Ok((wire, ()))
    }
}

async fn slowly(wire: &mut crate::wire::Wire, text: &str) {
    for byte in text.as_bytes() {
        wire.send_quietly(&[*byte]).await;
    }
}

async fn with_header(scene: &Scene, header: &str, declaration: &str) -> Result<Verdict> {
    let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
    let mut wire = scene
        .encrypted(&scene.domain, scene.hosted(), Some(shown))
        .await?;
    wire.send(header).await;
    match wire.hear(STEP_MAX).await {
        Heard::Header(_) => {}
        other => bail!("no header but {other:?}"),
    }
    let features = scene.element(&mut wire).await?;
    if features.is(ns::STREAM, "error") {
        return Ok(Verdict::StreamError(features.condition()));
    }
    wire.send(auth(&scene.domain)).await;
    let answer = scene.element(&mut wire).await?;
    ensure!(
        answer.is(ns::SASL, "success"),
        "no <success/> but {}",
        answer.short()
    );
    wire.restart();
    wire.send(header).await;
    scene.greeting(&mut wire).await?;
    let id = crate::key::random_id()?;
    let text = ping(&scene.domain, scene.hosted(), &id);
    wire.send(text.replacen("<iq ", &format!("<iq {declaration}"), 1))
        .await;
    let answer = scene.answered(&mut wire, &id).await?;
    match answer.attribute("type") {
        "result" => Ok(Verdict::Served),
        _ => Ok(Verdict::StanzaError(answer.condition())),
    }
}

fn visitors() -> Vec<Case> {
    vec![
        Case::new(
            "served-visit-external",
            "The target dials us, authenticates by EXTERNAL with its domain, and delivers.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                let (mut wire, _, _) = scene.external_visitor(Directions::One).await?;
                scene.answered_here(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["SASL-06", "SASL-07", "STREAM-32"])
        .listens(),
        Case::new(
            "served-visit-dialback",
            "The target dials us, authenticates by dialback, and its key is the one that it vouches for.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                let (mut wire, stream, request) = asked_for_dialback(&scene, "").await?;
                ensure!(vouched_for(&scene, &stream, request.text.trim(), &scene.domain).await? == "valid", "its own key is not valid");
                wire.send(result_answer(&request, "valid")).await;
                scene.answered_here(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["DB-01", "DB-04", "DB-11", "DB-32"])
        .listens(),
        Case::new(
            "served-key-with-white-space",
            "A key that was broken into lines on its way is still the key.",
            &[Expect::Dialback("valid", &[])],
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (wire, stream, request) = asked_for_dialback(&scene, "").await?;
                let key = format!("\n  {}\n", request.text.trim());
                let kind = vouched_for(&scene, &stream, &key, &scene.domain).await?;
                drop(wire);
                Ok(Verdict::Dialback(kind, String::new()))
            },
        )
        .tests(&["DB-36"])
        .listens(),
        Case::new(
            "served-visit-bidi",
            "The target dials us, asks for both directions, and answers a ping of ours on the same connection.",
            SERVED,
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, asked, _) = scene.external_visitor(Directions::Both).await?;
                if !asked {
                    return Ok(Verdict::Other("both directions were not asked for".to_owned()));
                }
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.answered_here(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-07", "BIDI-08", "BIDI-61", "BIDI-81"])
        .needs(Need::Trust)
        .listens(),
        Case::new(
            "served-visit-bidi-dialback",
            "The same when it authenticates by dialback.",
            SERVED,
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, _, request) =
                    asked_for_dialback(&scene, crate::neighbour::FEATURE_BIDI).await?;
                let asked = scene
                    .trail
                    .last(12)
                    .iter()
                    .any(|line| line.contains("< <bidi"));
                if !asked {
                    return Ok(Verdict::Other("both directions were not asked for".to_owned()));
                }
                wire.send(result_answer(&request, "valid")).await;
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                scene.answered_here(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-08", "BIDI-81", "STREAM-52"])
        .listens(),
        Case::new(
            "served-reverse-request",
            "On a stream that the target opened with both directions, we prove a second domain of ours; it is verified elsewhere and then served.",
            SERVED,
            |scene: Arc<Scene>| async move {
                scene.summon(&scene.domain).await?;
                let (mut wire, asked, id) = scene.external_visitor(Directions::Both).await?;
                ensure!(asked, "both directions were not asked for");
                scene.neighbour.serve_again();
                let rooms = scene.below("rooms");
                let key = scene.key(scene.hosted(), &rooms, &id);
                wire.send(db_result(&rooms, scene.hosted(), &key)).await;
                let answer = scene.dialback_answer(&mut wire).await?;
                if answer.attribute("type") != "valid" {
                    return Ok(Verdict::Dialback(answer.attribute("type").to_owned(), answer.condition()));
                }
                let ping = scene.ping(&mut wire, &rooms, scene.hosted()).await?;
                scene.answered_here(&mut wire, &ping).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["BIDI-25", "BIDI-30", "BIDI-32", "BIDI-33"])
        .needs(Need::Trust)
        .listens(),
        Case::new(
            "served-visit-unknown-features",
            "Features that nobody knows, in an odd order, do not keep the target from authenticating.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                let (mut wire, header) = scene.protected_visitor().await?;
                let features = format!(
                    "<foo xmlns='urn:foo'><bar/></foo>{FEATURE_DIALBACK}<a:b xmlns:a='urn:a' c='d'/>{FEATURE_EXTERNAL}<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>nonsense</max-bytes></limits>"
                );
                scene.welcome(&mut wire, &header, &features).await?;
                let asked = scene.element(&mut wire).await?;
                ensure!(asked.is(ns::SASL, "auth"), "no <auth/> but {}", asked.short());
                wire.send(crate::scene::SUCCESS).await;
                wire.restart();
                let Heard::Header(header) = wire.hear(STEP_MAX).await else {
                    bail!("no header after <success/>");
                };
                scene.welcome(&mut wire, &header, "").await?;
                scene.answered_here(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["STREAM-30", "SASL-03", "LIM-06"])
        .listens(),
        Case::new(
            "served-visit-sasl-failure",
            "When we refuse EXTERNAL the target goes on with dialback, on the same stream or a new one.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                let (mut wire, header) = scene.protected_visitor().await?;
                scene
                    .welcome(&mut wire, &header, &format!("{FEATURE_EXTERNAL}{FEATURE_DIALBACK}"))
                    .await?;
                let asked = scene.element(&mut wire).await?;
                ensure!(asked.is(ns::SASL, "auth"), "no <auth/> but {}", asked.short());
                // Whoever comes back on a new connection is served.
                scene.neighbour.serve_again();
                wire.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>").await;
                if let Heard::Element(request) = wire.hear(STEP_MAX).await
                    && request.is(ns::DIALBACK, "result")
                {
                    wire.send(result_answer(&request, "valid")).await;
                }
                scene.answered(&mut wire, &id).await?;
                Ok(Verdict::Served)
            },
        )
        .tests(&["SASL-20", "DB-47"])
        .listens(),
        Case::new(
            "served-answers-with-extras",
            "A valid that echoes the key and has an id is a valid.",
            SERVED,
            |scene: Arc<Scene>| async move {
                scene.neighbour.behave(crate::neighbour::Manner {
                    features: FEATURE_DIALBACK.to_owned(),
                    on_result: Arc::new(|request, _| {
                        Reply::Say(
                            result_answer(request, "valid").replace(
                                "/>",
                                &format!(" id='x'>{}</db:result>", request.text.trim()),
                            ),
                        )
                    }),
                    ..crate::neighbour::Manner::default()
                });
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                let id = scene.ping(&mut wire, &scene.domain, scene.hosted()).await?;
                elsewhere(&scene, &id).await
            },
        )
        .tests(&["DB-55"])
        .both(),
        Case::new(
            "served-visit-close",
            "We close a stream that the target opened: it closes too.",
            SERVED,
            |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                let (mut wire, _, _) = scene.external_visitor(Directions::One).await?;
                scene.answered_here(&mut wire, &id).await?;
                wire.send("</stream:stream>").await;
                match scene.outcome(&mut wire, scene.subject.patience).await {
                    Verdict::Closed => Ok(Verdict::Served),
                    other => Ok(other),
                }
            },
        )
        .tests(&["STREAM-47", "BIDI-58"])
        .listens(),
    ]
}

/// A visitor that asks for dialback: the connection, the id of its stream, and the request.
pub(super) async fn asked_for_dialback(
    scene: &Scene,
    more_features: &str,
) -> Result<(crate::wire::Wire, String, crate::element::Element)> {
    let (mut wire, header) = scene.protected_visitor().await?;
    let id = scene
        .welcome(
            &mut wire,
            &header,
            &format!("{FEATURE_DIALBACK}{more_features}"),
        )
        .await?;
    loop {
        let request = scene.element(&mut wire).await?;
        if request.is(ns::DIALBACK, "result") {
            return Ok((wire, id, request));
        }
        ensure!(
            request.is(ns::BIDI, "bidi"),
            "no request but {}",
            request.short()
        );
    }
}

/// What the target says about a key, asked over a connection of ours: the type of its answer.
pub(super) async fn vouched_for(
    scene: &Scene,
    stream: &str,
    key: &str,
    asker: &str,
) -> Result<String> {
    let (mut wire, _) = scene.protected_unproven(asker, scene.hosted()).await?;
    wire.send(db_verify(asker, scene.hosted(), stream, key))
        .await;
    let answer = scene.dialback_answer(&mut wire).await?;
    Ok(answer.attribute("type").to_owned())
}
