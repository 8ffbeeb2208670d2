//! Queues that are full, all of them together.

use verona::Engine;
use verona::config::Conflict;

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
