//! Much of everything: connections, pairs, stanzas, garbage.
//! Why alone: each is meant to take what the target has, and the question is what is left for the others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::attack::Step;
use crate::authority::Order;
use crate::case::{Case, Need};
use crate::element::Heard;
use crate::key::hex;
use crate::scene::{Directions, STEP_MAX, Scene, auth, db_result, initial_header, ping};
use crate::verdict::{Expect, Verdict};

const SERVED: &[Expect] = &[Expect::Served];

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    [
        stanzas(),
        connections(),
        half_open(),
        reconnections(),
        garbage(),
        pairs(),
        dialback(),
        failed_authentications(),
        unanswerable(),
        summons(),
    ]
    .into_iter()
    .map(|case| case.alone().security())
    .collect()
}

/// A peer of another address is let in and served, and soon.
async fn others_are_served(scene: &Scene) -> Result<Verdict> {
    let domain = scene.below("other");
    let served = async {
        let (mut wire, _) = scene
            .established(&domain, scene.hosted(), Directions::One)
            .await?;
        scene.served(&mut wire, &domain, scene.hosted()).await
    };
    match timeout(Duration::from_secs(20), served).await {
        Ok(verdict) => verdict,
        Err(_) => bail!("others are not served within 20 s"),
    }
}

fn stanzas() -> Case {
    Case::new(
        "flood-stanzas",
        "Five thousand pings as fast as they are taken: all are answered, or the stream is ended; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let (mut wire, _) = scene
                .established(&scene.domain, scene.hosted(), Directions::Both)
                .await?;
            for hundred in 0..50 {
                let text: String = (0..100)
                    .map(|number| {
                        ping(
                            &scene.domain,
                            scene.hosted(),
                            &format!("{hundred}-{number}"),
                        )
                    })
                    .collect();
                wire.send_quietly(text.as_bytes()).await;
                while let Heard::Element(_) = wire.hear(Duration::from_millis(1)).await {}
            }
            others_are_served(&scene).await
        },
    )
    .tests(&["LIM-11", "LIM-12"])
}

fn connections() -> Case {
    Case::new(
        "flood-connections",
        "Three hundred connections from one address that say nothing; others, from elsewhere, are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let mut open = Vec::new();
            for _ in 0..300 {
                match timeout(Duration::from_secs(2), scene.dial_bare()).await {
                    Ok(Ok(stream)) => open.push(stream),
                    // Refused: just so.
                    Ok(Err(_)) | Err(_) => break,
                }
            }
            let verdict = elsewhere(&scene).await;
            drop(open);
            verdict
        },
    )
    .tests(&["LIM-08"])
}

/// A peer of another address. With one address for all there is none, and the flood has to be over first.
async fn elsewhere(scene: &Arc<Scene>) -> Result<Verdict> {
    match scene.from_elsewhere() {
        Some(other) => others_are_served(&other).await,
        None => Ok(Verdict::Served),
    }
}

fn half_open() -> Case {
    Case::new(
        "flood-unfinished-handshakes",
        "Thirty connections stop in the middle of TLS; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let mut open = Vec::new();
            for _ in 0..30 {
                let Ok(mut wire) = scene.proceeded(&scene.domain, scene.hosted()).await else {
                    break;
                };
                wire.send_quietly(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await;
                open.push(wire);
            }
            let verdict = elsewhere(&scene).await;
            drop(open);
            verdict
        },
    )
    .tests(&["LIM-08", "LIM-14"])
}

fn reconnections() -> Case {
    Case::new(
        "flood-reconnections",
        "Five hundred connections, each cut after its header; others are served afterwards.",
        SERVED,
        |scene: Arc<Scene>| async move {
            for _ in 0..25 {
                let mut running = JoinSet::new();
                for _ in 0..20 {
                    let scene = Arc::clone(&scene);
                    running.spawn(async move {
                        if let Ok(mut wire) = scene.dial().await {
                            wire.send(initial_header(&scene.domain, scene.hosted()))
                                .await;
                        }
                    });
                }
                while running.join_next().await.is_some() {}
            }
            elsewhere(&scene).await
        },
    )
    .tests(&["LIM-08"])
}

fn garbage() -> Case {
    Case::new(
        "flood-garbage",
        "Forty connections, each with a megabyte of noise, before and after TLS; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            // Noise of a counter's hashes: the same in every run.
            let noise: Vec<u8> = (0..32_768_u32)
                .flat_map(|number| {
                    use sha2::{Digest, Sha256};
                    Sha256::digest(number.to_be_bytes()).to_vec()
                })
                .collect();
            let noise = Arc::new(noise);
            for step in [Step::Connected, Step::Encrypted] {
                let mut running = JoinSet::new();
                for _ in 0..20 {
                    let (scene, noise) = (Arc::clone(&scene), Arc::clone(&noise));
                    running.spawn(async move {
                        if let Ok(mut wire) = step.reach(&scene).await {
                            wire.send_quietly(&noise).await;
                        }
                    });
                }
                while running.join_next().await.is_some() {}
            }
            elsewhere(&scene).await
        },
    )
    .tests(&["STREAM-36", "LIM-09"])
}

fn pairs() -> Case {
    Case::new(
        "flood-pairs",
        "Four hundred domains that the certificate covers ask on one stream: all are valid or some get an error; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let names: Vec<String> = (0..400).map(|n| scene.below(&format!("p{n}"))).collect();
            let mut covered: Vec<&str> = names.iter().map(String::as_str).collect();
            covered.insert(0, &scene.domain);
            let shown = scene.credentials(&Order::good(&covered))?;
            let mut wire = scene
                .encrypted(&scene.domain, scene.hosted(), Some(shown))
                .await?;
            scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
            let greeting = scene
                .external(&mut wire, &scene.domain, scene.hosted())
                .await?;
            for name in &names {
                let key = scene.key(scene.hosted(), name, &greeting.id);
                wire.send_quietly(db_result(name, scene.hosted(), &key).as_bytes())
                    .await;
                match scene.outcome(&mut wire, STEP_MAX).await {
                    Verdict::Dialback(kind, condition) => {
                        if kind == "error" && condition == "resource-constraint" {
                            break;
                        }
                    }
                    Verdict::StreamError(_) | Verdict::Closed => break,
                    other => return Ok(other),
                }
            }
            elsewhere(&scene).await
        },
    )
    .tests(&["LIM-10", "DB-38"])
    .needs(Need::Trust)
}

fn dialback() -> Case {
    Case::new(
        "flood-dialback",
        "Twenty streams ask for fifty domains each, none of which answers; others are served, by dialback too.",
        SERVED,
        |scene: Arc<Scene>| async move {
            scene.resolve(&scene.below("void"), crate::dns::Answer::NoName);
            let mut open = Vec::new();
            for number in 0..20 {
                let Ok(mut wire) = Step::ProtectedUnproven.reach(&scene).await else {
                    break;
                };
                let text: String = (0..50)
                    .map(|other| {
                        let from = scene.below(&format!("s{number}-{other}.void"));
                        db_result(&from, scene.hosted(), "abc")
                    })
                    .collect();
                wire.send_quietly(text.as_bytes()).await;
                open.push(wire);
            }
            elsewhere(&scene).await?;
            drop(open);
            let Some(other) = scene.from_elsewhere() else {
                return Ok(Verdict::Served);
            };
            let domain = other.below("honest");
            let (mut wire, _) = other
                .dialled_back(&domain, other.hosted(), Directions::One)
                .await?;
            other.served(&mut wire, &domain, other.hosted()).await
        },
    )
    .tests(&["DB-53", "DB-52"])
}

fn failed_authentications() -> Case {
    Case::new(
        "flood-failed-authentications",
        "Twenty connections fail EXTERNAL until they are closed; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let mut running = JoinSet::new();
            for number in 0..20 {
                let scene = Arc::clone(&scene);
                running.spawn(async move {
                    if let Ok(mut wire) = Step::ProtectedUnproven.reach(&scene).await {
                        for _ in 0..10 {
                            wire.send(auth(&scene.below(&format!("g{number}")))).await;
                            let verdict = scene.outcome(&mut wire, STEP_MAX).await;
                            if !matches!(verdict, Verdict::SaslFailure(_)) {
                                break;
                            }
                        }
                    }
                });
            }
            while running.join_next().await.is_some() {}
            elsewhere(&scene).await
        },
    )
    .tests(&["SASL-21", "LIM-08"])
}

fn unanswerable() -> Case {
    Case::new(
        "flood-unanswerable",
        "A thousand pings of a proven domain whose server has gone: the answers wait or are dropped; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let gone = scene.below("gone");
            let (mut wire, _) = scene
                .established(&gone, scene.hosted(), Directions::One)
                .await?;
            scene.resolve(&gone, crate::dns::Answer::Silence);
            for ten in 0..100 {
                let text: String = (0..10)
                    .map(|number| ping(&gone, scene.hosted(), &hex(&[ten, number])))
                    .collect();
                wire.send_quietly(text.as_bytes()).await;
            }
            elsewhere(&scene).await
        },
    )
    .tests(&["ROUTE-23", "ROUTE-24"])
}

fn summons() -> Case {
    Case::new(
        "flood-attempts",
        "Two hundred proven domains want answers and none of their servers speaks; others are served.",
        SERVED,
        |scene: Arc<Scene>| async move {
            let names: Vec<String> = (0..200).map(|n| scene.below(&format!("m{n}"))).collect();
            let mut covered: Vec<&str> = names.iter().map(String::as_str).collect();
            covered.insert(0, &scene.domain);
            let shown = scene.credentials(&Order::good(&covered))?;
            let mut wire = scene
                .encrypted(&scene.domain, scene.hosted(), Some(shown))
                .await?;
            scene.greet(&mut wire, &scene.domain, scene.hosted()).await?;
            let greeting = scene
                .external(&mut wire, &scene.domain, scene.hosted())
                .await?;
            for name in &names {
                let key = scene.key(scene.hosted(), name, &greeting.id);
                wire.send_quietly(db_result(name, scene.hosted(), &key).as_bytes())
                    .await;
                let verdict = scene.outcome(&mut wire, STEP_MAX).await;
                if verdict != Verdict::Dialback("valid".to_owned(), String::new()) {
                    break;
                }
            }
            // From here on whoever connects is met by nobody.
            scene.neighbour.hand_over();
            for name in &names {
                wire.send_quietly(ping(name, scene.hosted(), "x").as_bytes())
                    .await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            elsewhere(&scene).await
        },
    )
    .tests(&["LIM-09", "ROUTE-23"])
    .needs(Need::Trust)
}
