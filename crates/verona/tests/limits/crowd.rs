//! Queues that are full, all of them together.

use verona::config::{Conflict, ListenAddress};
use verona::{Engine, SendError};
use verona_proto::limits::Limit;

use crate::world::{OURS, ROOMS, config, domain, errors, message};

/// One domain writes to a hundred servers that cannot be reached; another one still has room, and memory has an end.
//= ROUTE-23
#[tokio::test]
async fn what_all_queues_hold_has_an_end_and_nobody_takes_all_of_it() {
    const MAX: usize = 1_600_000;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = config(
        Conflict::RejectNew,
        &[("outboxes_bytes_max", MAX as u64), ("dns_seconds", 60)],
    );
    config.dns_servers = vec![silent.local_addr().unwrap()];
    let engine = Engine::start(config).await.unwrap();
    let handle = engine.handle();
    let mut noisy = handle.attach(&domain(OURS)).unwrap();
    let mut quiet = handle.attach(&domain(ROOMS)).unwrap();
    let full = || {
        let reasons = handle.bounced();
        let full = reasons
            .iter()
            .find(|(reason, _)| reason.name() == "queues-full");
        full.map_or(0, |(_, count)| usize::try_from(*count).unwrap())
    };
    let body = "x".repeat(2_000);
    let (mut most, mut returned) = (0, 0);
    for number in 0..2_000 {
        let to = format!("d{}.lit", number % 100);
        noisy.send(message(OURS, &to, number, &body)).await.unwrap();
        most = most.max(handle.outboxes_bytes());
        // It reads its errors, as it should.
        while returned < full() {
            let error = errors(&mut noisy, 1).await.remove(0).1;
            assert!(
                error.contains("type='wait'><resource-constraint"),
                "{error}"
            );
            returned += 1;
        }
    }
    assert!((MAX / 3..MAX / 2).contains(&most), "{most} of {MAX}");
    assert!((1_000..2_000).contains(&returned), "{returned} returned");
    let counted = handle.limit_reached(Limit::OutboxesBytesMax);
    assert_eq!(usize::try_from(counted).unwrap(), returned);
    for number in 0..50 {
        let to = format!("d{}.lit", number % 10);
        quiet
            .send(message(ROOMS, &to, number, &body))
            .await
            .unwrap();
    }
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), quiet.receive()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert!(handle.outboxes_bytes() <= MAX);
    drop(silent);
}

/// Which bound a queue met is told by its name.
//= ROUTE-23
#[tokio::test]
async fn each_bound_of_a_queue_is_counted_by_its_name() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = config(
        Conflict::RejectNew,
        &[
            ("outbox_stanzas_max", 2),
            ("outbox_bytes_max", 5_000),
            ("pairs_max", 2),
            ("dns_seconds", 60),
        ],
    );
    config.dns_servers = vec![silent.local_addr().unwrap()];
    let engine = Engine::start(config).await.unwrap();
    let handle = engine.handle();
    let mut program = handle.attach(&domain(OURS)).unwrap();
    let long = "x".repeat(5_000);
    let reached = || {
        [
            Limit::OutboxStanzasMax,
            Limit::OutboxBytesMax,
            Limit::PairsMax,
        ]
        .map(|limit| handle.limit_reached(limit))
    };
    for (number, (to, body, expected)) in [
        ("a.lit", "1", [0, 0, 0]),
        ("a.lit", "2", [0, 0, 0]),
        ("a.lit", "3", [1, 0, 0]),
        ("b.lit", &long, [1, 1, 0]),
        ("b.lit", "1", [1, 1, 0]),
        ("c.lit", "1", [1, 1, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        let before = reached();
        match program.send(message(OURS, to, number, body)).await {
            Ok(()) if before != expected => {
                let (id, error) = errors(&mut program, 1).await.remove(0);
                assert_eq!(id, number);
                assert!(error.contains("<resource-constraint"), "{error}");
            }
            Ok(()) => {}
            // A queue that stays full is told to whoever sends.
            Err(error) => assert!(matches!(error, SendError::Full(_)), "{error}"),
        }
        assert_eq!(reached(), expected, "{to} {number}");
    }
    drop(silent);
}

/// A server that stops, and has something for nobody who can be reached.
#[tokio::test]
async fn what_is_not_done_when_the_time_to_stop_is_over_is_counted() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (waits, expected) in [(false, 0), (true, 1)] {
        let mut config = config(
            Conflict::RejectNew,
            &[("drain_seconds", 1), ("dns_seconds", 60)],
        );
        config.dns_servers = vec![silent.local_addr().unwrap()];
        let engine = Engine::start(config).await.unwrap();
        let handle = engine.handle();
        let mut program = handle.attach(&domain(OURS)).unwrap();
        let reader = tokio::spawn(async move {
            if waits {
                program.send(message(OURS, "a.lit", 0, "x")).await.unwrap();
            }
            while let Ok(stanza) =
                tokio::time::timeout(std::time::Duration::from_secs(3), program.receive()).await
            {
                drop(stanza);
            }
        });
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let drained = engine.shutdown().await;
        assert_eq!(drained.bounced, expected);
        assert_eq!(handle.limit_reached(Limit::DrainSeconds), expected);
        reader.await.unwrap();
    }
}

/// Connections to the component listener have a bound, whether they say anything or not.
//= LIM-09
#[tokio::test]
async fn one_component_s_connection_too_many_is_closed_at_once() {
    use tokio::io::AsyncReadExt as _;
    let config = config(Conflict::RejectNew, &[("component_connections_max", 1)]);
    let engine = Engine::start(config).await.unwrap();
    let ListenAddress::Tcp(address) = engine.component_addresses()[0] else {
        panic!("no address")
    };
    let _first = crate::world::Peer::attach(&engine).await;
    let mut second = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(crate::world::WAIT, second.read(&mut byte)).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    let reached = engine
        .handle()
        .limit_reached(Limit::ComponentConnectionsMax);
    assert_eq!(reached, 1);
}
