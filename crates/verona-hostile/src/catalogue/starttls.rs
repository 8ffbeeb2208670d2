//! Plaintext smuggled past the beginning of TLS.
//! Why at every offset: whether it is taken for TLS, thrown away or believed depends on which read it falls into.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use crate::authority::Order;
use crate::case::{Case, Need};
use crate::element::{Heard, ns};
use crate::neighbour::{FEATURE_EXTERNAL, FEATURE_TLS, response_header};
use crate::scene::{BIDI, PROCEED, STARTTLS, STEP_MAX, Scene, auth, db_result, initial_header};
use crate::tls;
use crate::verdict::{Expect, Verdict};

/// The smuggled text gained nothing: the negotiation failed, or it went on as if the text had never been.
const NOTHING_GAINED: &[Expect] = &[
    Expect::TlsRefused,
    Expect::Closed,
    Expect::StreamError(&[]),
    Expect::Ignored,
];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    type Smuggled = fn(&Scene) -> String;
    let smuggled: [(&str, &str, Smuggled); 5] = [
        (
            "header",
            "A header and EXTERNAL stand behind <starttls/> in one write.",
            |scene| {
                format!(
                    "{}{}",
                    initial_header(&scene.domain, scene.hosted()),
                    auth(&scene.domain)
                )
            },
        ),
        (
            "bidi",
            "A request for both directions stands behind <starttls/>.",
            |_| BIDI.to_owned(),
        ),
        (
            "dialback",
            "A dialback request stands behind <starttls/>.",
            |scene| db_result(&scene.domain, scene.hosted(), "abc"),
        ),
        (
            "white-space",
            "White space stands behind <starttls/>.",
            |_| " \n ".to_owned(),
        ),
        (
            "starttls",
            "A second <starttls/> stands behind the first.",
            |_| STARTTLS.to_owned(),
        ),
    ];
    for (name, about, text) in smuggled {
        cases.push(
            Case::new(
                &format!("starttls-injected-{name}"),
                about,
                NOTHING_GAINED,
                move |scene: Arc<Scene>| async move {
                    let text = format!("{STARTTLS}{}", text(&scene));
                    smuggle_in(&scene, &text, text.len()).await
                },
            )
            .tests(&["TLS-07", "TLS-10"])
            .security(),
        );
    }
    cases.push(every_offset());
    cases.push(every_offset_of_proceed());
    cases.push(stanza_behind_starttls());
    cases.push(failed_handshake());
    cases
}

/// Writes `text` in two writes, cut at `cut`; then TLS, and what comes of it.
async fn smuggle_in(scene: &Scene, text: &str, cut: usize) -> Result<Verdict> {
    let mut wire = scene.dial().await?;
    scene
        .greet(&mut wire, &scene.domain, scene.hosted())
        .await?;
    let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
    wire.send(first).await;
    if !second.is_empty() {
        tokio::time::sleep(Duration::from_millis(3)).await;
        wire.send(second).await;
    }
    match scene.outcome(&mut wire, STEP_MAX).await {
        Verdict::Other(text) if text == "STARTTLS proceeds" => {}
        other => return Ok(other),
    }
    let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
    let config = tls::client(Some(shown), rustls::ALL_VERSIONS)?;
    if wire.secure_as_client(config, scene.hosted()).await.is_err() {
        return Ok(Verdict::TlsRefused);
    }
    // Nothing was said under TLS: whatever comes answers what was smuggled.
    match wire.hear(Duration::from_millis(300)).await {
        Heard::Silence => {}
        Heard::Eof | Heard::End | Heard::Broken(_) => return Ok(Verdict::Closed),
        Heard::Header(header) => {
            return Ok(Verdict::Other(format!(
                "it answers plaintext under TLS: {}",
                header.short()
            )));
        }
        Heard::Element(error) if error.is(ns::STREAM, "error") => {
            return Ok(Verdict::StreamError(error.condition()));
        }
        Heard::Element(element) => {
            return Ok(Verdict::Other(format!(
                "it answers plaintext under TLS: {}",
                element.short()
            )));
        }
        Heard::Garbled(text) => return Ok(Verdict::Other(text)),
    }
    // A target that hangs up only now has gained the text nothing either.
    let greeted = scene.greet(&mut wire, &scene.domain, scene.hosted()).await;
    if greeted.is_err() {
        return Ok(Verdict::Closed);
    }
    Ok(scene.outcome(&mut wire, Duration::from_millis(200)).await)
}

fn every_offset() -> Case {
    Case::new(
        "starttls-injected-at-every-offset",
        "<starttls/> with a header and EXTERNAL behind it, cut into two writes at every byte.",
        NOTHING_GAINED,
        |scene: Arc<Scene>| async move {
            let text = format!(
                "{STARTTLS}{}{}",
                initial_header(&scene.domain, scene.hosted()),
                auth(&scene.domain)
            );
            let mut last = Verdict::Ignored;
            let offsets: Vec<usize> = (1..text.len()).collect();
            for some in offsets.chunks(12) {
                let mut running = JoinSet::new();
                for &cut in some {
                    let (scene, text) = (Arc::clone(&scene), text.clone());
                    running.spawn(async move { (cut, smuggle_in(&scene, &text, cut).await) });
                }
                while let Some(ended) = running.join_next().await {
                    let (cut, verdict) = ended?;
                    let verdict = verdict?;
                    if !NOTHING_GAINED.iter().any(|expect| expect.accepts(&verdict)) {
                        return Ok(Verdict::Other(format!("cut at {cut}: {verdict}")));
                    }
                    last = verdict;
                }
            }
            Ok(last)
        },
    )
    .tests(&["TLS-07", "TLS-10"])
    .security()
}

fn every_offset_of_proceed() -> Case {
    Case::new(
        "starttls-proceed-injected-at-every-offset",
        "The target dials us: <proceed/> with our header, features and <success/> behind it, cut into two writes at every byte of <proceed/> and some behind.",
        NOTHING_GAINED,
        |scene: Arc<Scene>| async move {
            let mut last = Verdict::Ignored;
            let behind = PROCEED.len()..PROCEED.len() + 40;
            for cut in (1..PROCEED.len()).chain(behind.step_by(8)) {
                let domain = scene.below(&format!("k{cut}"));
                let id = scene.summon(&domain).await?;
                scene.forbid(&id);
                let verdict = smuggle_out(&scene, &domain, cut).await?;
                // One address may have so many connections and no more.
                scene.let_go();
                if !NOTHING_GAINED
                    .iter()
                    .any(|expect| expect.accepts(&verdict))
                {
                    return Ok(Verdict::Other(format!("cut at {cut}: {verdict}")));
                }
                last = verdict;
            }
            Ok(last)
        },
    )
    .tests(&["TLS-07", "TLS-10"])
    .needs(Need::Trust)
    .security()
    .listens()
}

async fn smuggle_out(scene: &Scene, domain: &str, cut: usize) -> Result<Verdict> {
    let (mut wire, header) = scene.visitor_for(domain).await?;
    scene.welcome(&mut wire, &header, FEATURE_TLS).await?;
    let asked = scene.element(&mut wire).await?;
    ensure!(
        asked.is(ns::TLS, "starttls"),
        "no <starttls/> but {}",
        asked.short()
    );
    let text = format!(
        "{PROCEED}{}<stream:features>{FEATURE_EXTERNAL}</stream:features>{}",
        response_header(domain, scene.hosted(), "smuggled"),
        crate::scene::SUCCESS
    );
    let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
    wire.send(first).await;
    tokio::time::sleep(Duration::from_millis(3)).await;
    wire.send(second).await;
    if scene.secure_visitor(&mut wire, domain).await.is_err() {
        return Ok(Verdict::TlsRefused);
    }
    match wire.hear(STEP_MAX).await {
        Heard::Header(_) => {}
        Heard::Eof | Heard::End | Heard::Broken(_) => return Ok(Verdict::Closed),
        other => return Ok(Verdict::Other(format!("no header under TLS but {other:?}"))),
    }
    // Nothing was answered under TLS: whatever comes now goes on from what was smuggled.
    match wire.hear(Duration::from_millis(300)).await {
        Heard::Silence => Ok(Verdict::Ignored),
        Heard::Element(error) if error.is(ns::STREAM, "error") => {
            Ok(Verdict::StreamError(error.condition()))
        }
        Heard::Eof | Heard::End | Heard::Broken(_) => Ok(Verdict::Closed),
        other => Ok(Verdict::Other(format!(
            "it goes on from plaintext: {other:?}"
        ))),
    }
}

fn stanza_behind_starttls() -> Case {
    Case::new(
        "starttls-injected-stanza",
        "A ping stands behind <starttls/>; the negotiation then goes on to authentication, and the ping is not answered.",
        &[
            Expect::TlsRefused,
            Expect::Closed,
            Expect::StreamError(&[]),
            Expect::Served,
        ],
        |scene: Arc<Scene>| async move {
            let ping = super::attack::forbidden_ping(&scene, &scene.domain, scene.hosted())?;
            let mut wire = scene.dial().await?;
            scene
                .greet(&mut wire, &scene.domain, scene.hosted())
                .await?;
            wire.send(format!("{STARTTLS}{ping}")).await;
            match scene.outcome(&mut wire, STEP_MAX).await {
                Verdict::Other(text) if text == "STARTTLS proceeds" => {}
                other => return Ok(other),
            }
            let shown = scene.credentials(&Order::good(&[&scene.domain]))?;
            let config = tls::client(Some(shown), rustls::ALL_VERSIONS)?;
            if wire.secure_as_client(config, scene.hosted()).await.is_err() {
                return Ok(Verdict::TlsRefused);
            }
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
            scene
                .served(&mut wire, &scene.domain, scene.hosted())
                .await?;
            match scene.judge(&mut wire).await {
                delivered @ Verdict::Delivered(_) => Ok(delivered),
                _ => Ok(Verdict::Served),
            }
        },
    )
    .tests(&["TLS-07", "TLS-10"])
    .security()
}

fn failed_handshake() -> Case {
    Case::new(
        "starttls-no-handshake",
        "After <proceed/> comes no TLS but the stream in plaintext: the connection ends without a word of XML.",
        &[Expect::Closed],
        |scene: Arc<Scene>| async move {
            let mut wire = scene.proceeded(&scene.domain, scene.hosted()).await?;
            wire.restart();
            wire.send(initial_header(&scene.domain, scene.hosted()))
                .await;
            match wire.hear(scene.subject.patience).await {
                // A TLS alert is no XML, and is what is wanted.
                Heard::Eof | Heard::Broken(_) | Heard::Garbled(_) => Ok(Verdict::Closed),
                other => Ok(Verdict::Other(format!("{other:?}"))),
            }
        },
    )
    .tests(&["TLS-09", "TLS-05"])
    .security()
}
