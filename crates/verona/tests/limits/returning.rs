//! A component that leaves, and what waits for it (COMP-13).

use std::time::{Duration, Instant};

use tokio::time::sleep;
use verona::config::Conflict;
use verona::{Attachment, Engine};
use verona_proto::limits::Limit;

use crate::world::{OURS, Peer, ROOMS, WAIT, config, domain, errors, message};

async fn start(conflict: Conflict, limits: &[(&str, u64)]) -> (Engine, Attachment) {
    let engine = Engine::start(config(conflict, limits)).await.unwrap();
    let program = engine.handle().attach(&domain(OURS)).unwrap();
    (engine, program)
}

async fn send(program: &Attachment, numbers: std::ops::Range<usize>, body: &str) {
    for number in numbers {
        program
            .send(message(OURS, ROOMS, number, body))
            .await
            .unwrap();
    }
}

/// Until the engine has noticed that the component is gone.
async fn gone(engine: &Engine) {
    let began = Instant::now();
    while !engine.handle().components().is_empty() {
        assert!(began.elapsed() < WAIT, "still attached");
        sleep(Duration::from_millis(5)).await;
    }
}

//= COMP-13
#[tokio::test]
async fn who_comes_back_finds_what_waited_in_order() {
    let (engine, mut program) = start(Conflict::RejectNew, &[]).await;
    for round in 0..3 {
        let mut component = Peer::attach(&engine).await;
        send(&program, 0..5, "here").await;
        assert_eq!(component.messages(5).await, [0, 1, 2, 3, 4], "{round}");
        drop(component);
        gone(&engine).await;
        send(&program, 5..25, "meanwhile").await;
        let mut component = Peer::attach(&engine).await;
        let expected: Vec<usize> = (5..25).collect();
        assert_eq!(component.messages(20).await, expected, "{round}");
        drop(component);
        gone(&engine).await;
    }
    let nothing = tokio::time::timeout(Duration::from_millis(50), program.receive()).await;
    assert!(nothing.is_err(), "nobody got an error: {nothing:?}");
}

/// One that returned and left again is waited for anew.
//= COMP-13
#[tokio::test]
async fn who_stays_away_is_waited_for_so_long_and_no_longer() {
    let limits = [("component_reconnect_seconds", 1)];
    let (engine, mut program) = start(Conflict::RejectNew, &limits).await;
    drop(Peer::attach(&engine).await);
    gone(&engine).await;
    sleep(Duration::from_millis(700)).await;
    drop(Peer::attach(&engine).await);
    gone(&engine).await;
    let left = Instant::now();
    send(&program, 0..10, "meanwhile").await;
    let errors_ = errors(&mut program, 10).await;
    let waited = left.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(3)).contains(&waited),
        "{waited:?}"
    );
    for (at, (id, error)) in errors_.iter().enumerate() {
        assert_eq!(*id, at);
        //= ROUTE-19
        assert!(
            error.contains("type='wait'><service-unavailable"),
            "{error}"
        );
    }
    // From then on at once.
    let began = Instant::now();
    send(&program, 10..11, "later").await;
    assert_eq!(errors(&mut program, 1).await[0].0, 10);
    assert!(began.elapsed() < Duration::from_millis(500));
    let bounced: u64 = engine
        .handle()
        .bounced()
        .into_iter()
        .filter(|(reason, _)| reason.name() == "component-away")
        .map(|(_, count)| count)
        .sum();
    assert_eq!(bounced, 11);
    let limit = Limit::ComponentReconnectSeconds;
    assert_eq!(engine.handle().limit_reached(limit), 1);
}

//= COMP-13
#[tokio::test]
async fn nobody_is_waited_for_where_the_operator_says_so() {
    let limits = [("component_reconnect_seconds", 0)];
    let (engine, mut program) = start(Conflict::RejectNew, &limits).await;
    drop(Peer::attach(&engine).await);
    gone(&engine).await;
    let began = Instant::now();
    send(&program, 0..1, "meanwhile").await;
    assert_eq!(errors(&mut program, 1).await[0].0, 0);
    assert!(began.elapsed() < Duration::from_millis(500));
}

/// What was not written to the old connection as a whole goes to the new one: nothing is lost, nothing comes twice.
//= COMP-12
//= COMP-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_replaced_hands_its_queue_over() {
    let (engine, mut program) = start(Conflict::KickOld, &[]).await;
    let body = "x".repeat(10_000);
    let mut read = Vec::new();
    let mut component = Peer::attach(&engine).await;
    for round in 0..5 {
        send(&program, round * 100..(round + 1) * 100, &body).await;
        // It has read some of it; the system has some, and the engine the rest.
        read.extend(component.messages(7).await);
        let new = Peer::attach(&engine).await;
        let (rest, _cut) = std::mem::replace(&mut component, new).rest().await;
        read.extend(rest);
    }
    read.extend(component.messages(500 - read.len()).await);
    let expected: Vec<usize> = (0..500).collect();
    assert_eq!(read, expected);
    let nothing = tokio::time::timeout(Duration::from_millis(50), program.receive()).await;
    assert!(nothing.is_err(), "nobody got an error: {nothing:?}");
    let counts = engine.handle().stanza_counts();
    assert_eq!((counts.delivered, counts.bounced), (500, 0));
}

//= COMP-13
//= ROUTE-19
#[tokio::test]
async fn at_the_end_of_the_server_what_waits_is_answered_at_once() {
    let (engine, mut program) = start(Conflict::RejectNew, &[]).await;
    drop(Peer::attach(&engine).await);
    gone(&engine).await;
    send(&program, 0..50, "meanwhile").await;
    let began = Instant::now();
    let (drained, errors_) = tokio::join!(engine.shutdown(), errors(&mut program, 50));
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(errors_.len(), 50);
    assert!(
        errors_[0].1.contains("<remote-server-timeout"),
        "{errors_:?}"
    );
    assert_eq!((drained.bounced, drained.dropped), (50, 0));
}
