//! An engine that ends without a word, and the next one with the same journal.
//!
//! Dropping an engine stands for the end of its process: nothing is delivered, returned or removed from there on. That a
//! real process may be killed at any instant is shown by `verona-interop journal`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use verona::config::{HostedDomain, JournalConfig};
use verona::{Attachment, Config, Engine, StartError};
use verona_proto::addr::{Domain, Jid};
use verona_proto::policy::Policy;
use verona_proto::stanza::{Stanza, StanzaClass, StanzaKind};

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// Two domains of one engine, of which one has its messages kept.
fn config(folder: &Path, limits: &[(&str, u64)]) -> Config {
    let hosted = |name| HostedDomain {
        name: domain(name),
        component: None,
    };
    let mut policy = Policy::default();
    for (name, value) in limits {
        policy.defaults.limits.set(name, *value).unwrap();
    }
    Config {
        domains: vec![hosted("rooms.capulet.lit"), hosted("gateway.capulet.lit")],
        dns_servers: vec!["127.0.0.1:9".parse().unwrap()],
        policy,
        journal: Some(JournalConfig {
            file: folder.join("journal.redb"),
            domains: vec![domain("rooms.capulet.lit")],
        }),
        ..Config::default()
    }
}

fn message(from: &str, to: &str, id: &str) -> Stanza {
    Stanza::build(
        StanzaKind::Message,
        &Jid::parse(from).unwrap(),
        &Jid::parse(to).unwrap(),
        Some("chat"),
        Some(id),
        "<body>wherefore</body>",
    )
}

async fn attach(engine: &Engine, name: &str) -> Attachment {
    engine.handle().attach(&domain(name)).unwrap()
}

async fn next(attachment: &mut Attachment) -> (Stanza, String) {
    let stanza = timeout(Duration::from_secs(10), attachment.receive())
        .await
        .expect("something arrives");
    let text = String::from_utf8(stanza.bytes().to_vec()).unwrap();
    (stanza, text)
}

/// Lets an engine end in the middle of things, as a killed process does.
async fn kill(engine: Engine) {
    drop(engine);
    tokio::time::sleep(Duration::from_millis(50)).await;
}

const ROOM: &str = "room@rooms.capulet.lit";
const GATEWAY: &str = "romeo@gateway.capulet.lit";

#[tokio::test]
async fn what_waited_for_a_component_is_there_in_order_and_marked_after_a_crash() {
    //= SM-11
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(config(folder.path(), &[])).await.unwrap();
    let mut gateway = attach(&engine, "gateway.capulet.lit").await;
    let rooms = attach(&engine, "rooms.capulet.lit").await;
    for id in ["1", "2", "3"] {
        gateway.send(message(GATEWAY, ROOM, id)).await.unwrap();
    }
    rooms.send(message(ROOM, GATEWAY, "answer")).await.unwrap();
    let (arrived, text) = next(&mut gateway).await;
    assert!(!text.contains("<delay"), "it was never late: {text}");
    drop(arrived);
    // The removal is written with the next group or a moment later.
    tokio::time::sleep(Duration::from_millis(200)).await;
    kill(engine).await;
    std::mem::forget((gateway, rooms));

    let engine = Engine::start(config(folder.path(), &[])).await.unwrap();
    let status = engine.handle().journal().unwrap();
    assert_eq!((status.entries, status.recovered), (3, 3));
    let gateway = attach(&engine, "gateway.capulet.lit").await;
    // The component is not back yet, and what is new does not overtake.
    gateway.send(message(GATEWAY, ROOM, "4")).await.unwrap();
    let mut rooms = attach(&engine, "rooms.capulet.lit").await;
    for id in ["1", "2", "3", "4"] {
        let (stanza, text) = next(&mut rooms).await;
        assert_eq!(stanza.id().as_deref(), Some(id));
        let is_marked = text
            .contains("<delay xmlns='urn:xmpp:delay' from='gateway.capulet.lit' stamp='")
            && text.contains("may have been delivered before</delay></message>");
        assert_eq!(is_marked, id != "4", "{text}");
    }
    engine.shutdown().await;

    let engine = Engine::start(config(folder.path(), &[])).await.unwrap();
    assert_eq!(engine.handle().journal().unwrap().recovered, 0);
}

#[tokio::test]
async fn what_was_for_a_peer_is_tried_again_and_its_sender_told_if_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [("outbox_age_seconds", 2), ("dns_seconds", 1)];
    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    let rooms = attach(&engine, "rooms.capulet.lit").await;
    let far = "juliet@montague.invalid";
    rooms.send(message(ROOM, far, "far")).await.unwrap();
    assert_eq!(engine.handle().journal().unwrap().entries, 1);
    kill(engine).await;
    std::mem::forget(rooms);

    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    let mut rooms = attach(&engine, "rooms.capulet.lit").await;
    let (error, _) = next(&mut rooms).await;
    assert_eq!(
        (error.class(), error.id().as_deref()),
        (StanzaClass::Error, Some("far"))
    );
    assert_eq!(
        engine.handle().journal().unwrap().entries,
        1,
        "until its sender has the error"
    );
    drop(error);
    assert_eq!(engine.handle().journal().unwrap().entries, 0);
}

#[tokio::test]
async fn an_error_for_what_was_left_waits_for_the_senders_component() {
    //= SM-11
    let folder = tempfile::tempdir().unwrap();
    let limits = [("outbox_age_seconds", 2), ("dns_seconds", 1)];
    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    let rooms = attach(&engine, "rooms.capulet.lit").await;
    let far = "juliet@montague.invalid";
    rooms.send(message(ROOM, far, "far")).await.unwrap();
    kill(engine).await;
    std::mem::forget(rooms);

    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    // The peer is given up before the component is back.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(engine.handle().journal().unwrap().entries, 1);
    let mut rooms = attach(&engine, "rooms.capulet.lit").await;
    let (error, _) = next(&mut rooms).await;
    assert_eq!(
        (error.class(), error.id().as_deref()),
        (StanzaClass::Error, Some("far"))
    );
}

#[tokio::test]
async fn what_waits_for_a_component_that_stays_away_is_returned() {
    //= ROUTE-19
    let folder = tempfile::tempdir().unwrap();
    let limits = [("component_reconnect_seconds", 1)];
    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    let gateway = attach(&engine, "gateway.capulet.lit").await;
    let rooms = attach(&engine, "rooms.capulet.lit").await;
    gateway.send(message(GATEWAY, ROOM, "1")).await.unwrap();
    kill(engine).await;
    std::mem::forget((gateway, rooms));

    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    let mut gateway = attach(&engine, "gateway.capulet.lit").await;
    let (error, text) = next(&mut gateway).await;
    assert_eq!(error.id().as_deref(), Some("1"));
    assert!(text.contains("<service-unavailable"), "{text}");
}

#[tokio::test]
async fn a_domain_that_has_its_share_in_the_journal_is_refused_and_told_so() {
    //= ROUTE-23
    let folder = tempfile::tempdir().unwrap();
    let limits = [("journal_entries_max", 2)];
    let engine = Engine::start(config(folder.path(), &limits)).await.unwrap();
    let mut gateway = attach(&engine, "gateway.capulet.lit").await;
    let _rooms = attach(&engine, "rooms.capulet.lit").await;
    for id in ["1", "2", "3"] {
        gateway.send(message(GATEWAY, ROOM, id)).await.unwrap();
    }
    let (error, text) = next(&mut gateway).await;
    assert_eq!(error.id().as_deref(), Some("3"));
    assert!(text.contains("<resource-constraint"), "{text}");
    assert!(
        text.contains("there is no room to keep this safe"),
        "{text}"
    );
    assert_eq!(engine.handle().journal().unwrap().refused, 1);
}

#[tokio::test]
async fn two_engines_do_not_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Engine::start(config(folder.path(), &[])).await.unwrap();
    match Engine::start(config(folder.path(), &[])).await {
        Err(StartError::Journal(error)) => {
            assert!(
                error.to_string().contains("another verona has it"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
}
