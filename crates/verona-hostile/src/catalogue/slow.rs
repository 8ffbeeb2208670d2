//! Peers that are silent or slow, at every point at which one can be.
//! Why a deadline everywhere: a connection that costs its opener nothing must not cost the target one for ever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::attack::Step;
use super::served::asked_for_dialback;
use crate::case::{Case, Need};
use crate::element::Heard;
use crate::neighbour::{FEATURE_EXTERNAL, FEATURE_TLS};
use crate::scene::{Directions, STEP_MAX, Scene, initial_header};
use crate::verdict::{Expect, Verdict};
use crate::wire::Wire;

const GIVEN_UP: &[Expect] = &[
    Expect::StreamError(&["connection-timeout", "policy-violation", "not-authorized"]),
    Expect::Closed,
];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, about, step) in [
        (
            "after-connecting",
            "A peer connects and says nothing.",
            Step::Connected,
        ),
        (
            "after-the-header",
            "A peer says its header and nothing more.",
            Step::Plain,
        ),
        (
            "after-tls",
            "A peer has TLS and says nothing under it.",
            Step::Encrypted,
        ),
        (
            "after-the-second-header",
            "A peer says its header under TLS and nothing more.",
            Step::Protected,
        ),
    ] {
        cases.push(
            Case::new(
                &format!("slow-silent-{name}"),
                about,
                GIVEN_UP,
                move |scene: Arc<Scene>| async move {
                    let mut wire = step.reach(&scene).await?;
                    Ok(given_up(&scene, &mut wire).await)
                },
            )
            .tests(&["STREAM-57", "LIM-14"])
            .security(),
        );
    }
    cases.push(
        Case::new(
            "slow-silent-after-proceed",
            "A peer asks for TLS and does not begin it.",
            &[Expect::Closed],
            |scene: Arc<Scene>| async move {
                let mut wire = scene.proceeded(&scene.domain, scene.hosted()).await?;
                match given_up(&scene, &mut wire).await {
                    // A TLS alert is no XML, and an end.
                    Verdict::Other(_) => Ok(Verdict::Closed),
                    other => Ok(other),
                }
            },
        )
        .tests(&["STREAM-57", "TLS-09", "LIM-14"])
        .security(),
    );
    cases.push(
        Case::new(
            "slow-silent-after-authentication",
            "A peer that has authenticated says nothing: its stream stays, and serves it afterwards.",
            &[Expect::Served],
            |scene: Arc<Scene>| async move {
                let (mut wire, _) = scene
                    .established(&scene.domain, scene.hosted(), Directions::One)
                    .await?;
                match scene
                    .outcome(&mut wire, scene.subject.patience + Duration::from_secs(2))
                    .await
                {
                    Verdict::Ignored => {}
                    other => return Ok(other),
                }
                scene
                    .served(&mut wire, &scene.domain, scene.hosted())
                    .await
            },
        )
        .tests(&["STREAM-54", "STREAM-57"]),
    );
    cases.push(
        Case::new(
            "slow-header",
            "A peer says its header at one byte a second.",
            GIVEN_UP,
            |scene: Arc<Scene>| async move {
                let mut wire = scene.dial().await?;
                let text = initial_header(&scene.domain, scene.hosted());
                Ok(drip(&scene, &mut wire, text.as_bytes()).await)
            },
        )
        .tests(&["STREAM-57", "LIM-14"])
        .security(),
    );
    cases.push(
        Case::new(
            "slow-white-space",
            "A peer says its header and then a space every second.",
            GIVEN_UP,
            |scene: Arc<Scene>| async move {
                let mut wire = Step::Protected.reach(&scene).await?;
                let text = " ".repeat(600);
                Ok(drip(&scene, &mut wire, text.as_bytes()).await)
            },
        )
        .tests(&["STREAM-57"])
        .security(),
    );
    cases.push(
        Case::new(
            "slow-failing-requests",
            "A peer asks every second by dialback for a domain that is not hosted, and never authenticates.",
            &[Expect::StreamError(&[]), Expect::Closed],
            |scene: Arc<Scene>| async move {
                let mut wire = Step::ProtectedUnproven.reach(&scene).await?;
                let until = Instant::now() + longest(&scene);
                while Instant::now() < until {
                    wire.send(crate::scene::db_result(
                        &scene.domain,
                        "nobody.example",
                        "abc",
                    ))
                    .await;
                    match scene.outcome(&mut wire, Duration::from_secs(1)).await {
                        Verdict::Dialback(..) => sleep(Duration::from_secs(1)).await,
                        Verdict::Ignored => {}
                        // A target that closes for the unhosted domain has given up as well.
                        Verdict::StreamError(condition) if condition == "host-unknown" => {
                            return Ok(Verdict::Closed);
                        }
                        other => return Ok(other),
                    }
                }
                Ok(Verdict::Ignored)
            },
        )
        .tests(&["STREAM-57", "DB-40", "LIM-16"])
        .security(),
    );
    cases.push(
        Case::new(
            "slow-close",
            "A peer is told of an error, does not close and goes on sending spaces.",
            &[Expect::Closed],
            |scene: Arc<Scene>| async move {
                let mut wire = Step::Established.reach(&scene).await?;
                wire.send("<!-- hello -->").await;
                let until = Instant::now() + longest(&scene);
                while Instant::now() < until {
                    match wire.hear(Duration::from_millis(500)).await {
                        Heard::Eof | Heard::Broken(_) => return Ok(Verdict::Closed),
                        _ => wire.send_quietly(b" ").await,
                    }
                }
                Ok(Verdict::Ignored)
            },
        )
        .tests(&["STREAM-46", "STREAM-49", "LIM-14"])
        .security(),
    );
    cases.push(never_reads());
    cases.extend(visitors());
    cases
}

/// As long as a target may take, and a little.
fn longest(scene: &Scene) -> Duration {
    scene.subject.patience + Duration::from_secs(3)
}

async fn given_up(scene: &Scene, wire: &mut Wire) -> Verdict {
    scene.outcome(wire, longest(scene)).await
}

/// Writes a byte a second until the target has had enough.
async fn drip(scene: &Scene, wire: &mut Wire, bytes: &[u8]) -> Verdict {
    let until = Instant::now() + longest(scene);
    for byte in bytes {
        if Instant::now() > until {
            return Verdict::Ignored;
        }
        wire.send_quietly(&[*byte]).await;
        match scene.outcome(wire, Duration::from_secs(1)).await {
            Verdict::Ignored => {}
            other => return other,
        }
    }
    Verdict::Ignored
}

fn never_reads() -> Case {
    Case::new(
        "slow-reader",
        "A peer asks for thousands of answers on a stream with both directions and reads none; another peer is served meanwhile.",
        &[Expect::Served],
        |scene: Arc<Scene>| async move {
            let (mut greedy, _) = scene
                .established(&scene.domain, scene.hosted(), Directions::Both)
                .await?;
            let other = scene.below("other");
            let (mut wire, _) = scene
                .established(&other, scene.hosted(), Directions::One)
                .await?;
            let resource = "r".repeat(900);
            let from = format!("a@{}/{resource}", scene.domain);
            let text = crate::scene::ping(&from, scene.hosted(), "x").repeat(40);
            let until = Instant::now() + Duration::from_secs(8);
            let flood = async {
                for _ in 0..400 {
                    if Instant::now() > until {
                        break;
                    }
                    // Not taken any more: then back-pressure has reached us, which is one good end.
                    let written = tokio::time::timeout(
                        Duration::from_secs(2),
                        greedy.send_quietly(text.as_bytes()),
                    );
                    if written.await.is_err() {
                        break;
                    }
                }
            };
            let served = async {
                sleep(Duration::from_secs(1)).await;
                scene.served(&mut wire, &other, scene.hosted()).await?;
                sleep(Duration::from_secs(2)).await;
                scene.served(&mut wire, &other, scene.hosted()).await
            };
            let (_, verdict) = tokio::join!(flood, served);
            verdict
        },
    )
    .tests(&["LIM-12", "STREAM-52"])
    .security()
}

fn visitors() -> Vec<Case> {
    type Point = &'static str;
    let points: [(&str, &str, Point); 5] = [
        (
            "after-accepting",
            "The target dials us and we say nothing: it gives up.",
            "accept",
        ),
        (
            "after-the-header",
            "The target dials us and we say our header without features: it gives up.",
            "header",
        ),
        (
            "after-proceed",
            "The target dials us and we agree to TLS and do not begin it: it gives up.",
            "proceed",
        ),
        (
            "after-auth",
            "The target authenticates to us and we never answer: it gives up.",
            "auth",
        ),
        (
            "after-db-result",
            "The target asks us by dialback and we never answer: it gives up.",
            "result",
        ),
    ];
    let mut cases = Vec::new();
    for (name, about, point) in points {
        let case = Case::new(
            &format!("slow-visit-silent-{name}"),
            about,
            &[Expect::StreamError(&[]), Expect::Closed],
            move |scene: Arc<Scene>| async move {
                let id = scene.summon(&scene.domain).await?;
                scene.forbid(&id);
                let mut wire = silent_from(&scene, point).await?;
                let verdict = given_up(&scene, &mut wire).await;
                Ok(match (point, verdict) {
                    // In place of our handshake comes the end of theirs.
                    ("proceed", Verdict::Other(_)) => Verdict::Closed,
                    (_, verdict) => verdict,
                })
            },
        )
        .tests(&["STREAM-57", "DB-07", "LIM-14", "ROUTE-24"])
        .listens();
        cases.push(match point {
            "auth" => case.needs(Need::Trust),
            _ => case,
        });
    }
    cases
}

/// A visitor that has come to the point from which we are silent.
async fn silent_from(scene: &Scene, point: &str) -> Result<Wire> {
    match point {
        "accept" => {
            let (wire, _) = scene.visitor().await?;
            Ok(wire)
        }
        "header" => {
            let (mut wire, header) = scene.visitor().await?;
            let text = crate::neighbour::response_header(
                header.attribute("to"),
                header.attribute("from"),
                "1",
            );
            wire.send(text).await;
            Ok(wire)
        }
        "proceed" => {
            let (mut wire, header) = scene.visitor().await?;
            scene.welcome(&mut wire, &header, FEATURE_TLS).await?;
            scene.element(&mut wire).await?;
            wire.send(crate::scene::PROCEED).await;
            wire.restart();
            Ok(wire)
        }
        "auth" => {
            let (mut wire, header) = scene.protected_visitor().await?;
            scene.welcome(&mut wire, &header, FEATURE_EXTERNAL).await?;
            let asked = scene.element(&mut wire).await?;
            ensure!(asked.name == "auth", "no <auth/> but {}", asked.short());
            Ok(wire)
        }
        _ => {
            let (wire, _, _) =
                tokio::time::timeout(STEP_MAX * 3, asked_for_dialback(scene, "")).await??;
            Ok(wire)
        }
    }
}
