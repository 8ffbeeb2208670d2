//! Whom strangers may make us dial, and what they may make us hold: addresses, sizes, times.

use std::net::IpAddr;

use super::web::{Step, redirect};
use super::*;

#[tokio::test]
async fn a_private_address_is_not_asked() {
    //= DNS-21
    for address in [
        "127.0.0.2",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "::1",
        "::ffff:127.0.0.2",
        "fe80::1",
        "fd00::1",
        "64:ff9b::10.0.0.1",
    ] {
        let world = World::new().await;
        let address: IpAddr = address.parse().unwrap();
        world.dns.set(DOMAIN, &[address]);
        let why = world.look_up().await.unwrap_err().to_string();
        assert!(why.contains("is not a public address"), "{address}: {why}");
        assert_eq!(world.web.connections(), 0);
    }
}

#[tokio::test]
async fn neither_redirect_nor_reference_leads_to_a_private_address() {
    //= DNS-21
    for by_redirect in [true, false] {
        let world = World::new().await;
        let inside = Web::at((Ipv4Addr::new(127, 0, 0, 2), world.web.port()).into()).await;
        inside.certify(HOSTING, world.authority.issue(&[HOSTING], |_| {}));
        inside.serve(HOSTING, "/a", ok(&document(&LEAF, 600)));
        world.dns.set(HOSTING, &[Ipv4Addr::new(127, 0, 0, 2)]);
        let place = world.url(HOSTING, "/a");
        let answer = match by_redirect {
            true => redirect("307 Temporary Redirect", &place),
            false => ok(&reference(&place, 600)),
        };
        world.web.serve(DOMAIN, PATH, answer);
        let why = world.look_up().await.unwrap_err().to_string();
        assert!(
            why.contains("127.0.0.2:") && why.contains("not a public address"),
            "{why}"
        );
        assert_eq!(inside.connections(), 0);
    }
}

#[tokio::test]
async fn our_own_listeners_and_the_ports_of_other_services_are_not_dialled() {
    //= DNS-21
    let world = World::new().await;
    let own = world.engine.s2s_addresses()[0].port();
    let place = format!("https://{HOSTING}:{own}/");
    world.web.serve(DOMAIN, PATH, redirect("302 Found", &place));
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("is our own listener"), "{why}");
    for port in [22, 25, 6379] {
        let why =
            World::refusal(redirect("302 Found", &format!("https://{HOSTING}:{port}/"))).await;
        assert!(why.contains(&format!("port {port} is for")), "{why}");
    }
}

#[tokio::test]
async fn an_address_that_is_dead_leaves_time_for_one_that_is_not() {
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let denied: IpAddr = "::1".parse().unwrap();
    world.dns.set(DOMAIN, &[denied, LOCALHOST.into()]);
    assert!(world.look_up().await.unwrap().matches(&LEAF));
    // But no stranger's whole list is tried.
    let world = World::new().await;
    let list: Vec<IpAddr> = (1..=50)
        .map(|n| Ipv4Addr::new(10, 0, 0, n).into())
        .collect();
    world
        .dns
        .set(DOMAIN, &[list, vec![LOCALHOST.into()]].concat());
    world.look_up().await.unwrap_err();
    assert_eq!(world.web.connections(), 0);
}

#[tokio::test]
async fn one_look_up_opens_so_many_connections_and_no_more() {
    // Each hop has dead addresses before the one that answers.
    let world = World::new().await;
    world
        .dns
        .set(DOMAIN, &[Ipv4Addr::new(127, 0, 0, 9), LOCALHOST]);
    let mut config = Config::clone(&world.engine.handle().shared.config());
    config.s2s.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    config.trust = TrustRoots::from_pem(&world.authority.pem()).unwrap();
    let engine = Engine::start(config).await.unwrap();
    let shared = engine.handle().shared;
    for (hops, reached) in [(3, true), (4, false)] {
        let mut path = PATH.to_owned();
        for n in 1..hops {
            let next = format!("/{n}");
            let answer = match n {
                1 => ok(&reference(&world.url(DOMAIN, &next), 600)),
                _ => redirect("302 Found", &next),
            };
            world.web.serve(DOMAIN, &path, answer);
            path = next;
        }
        world.web.serve(DOMAIN, &path, ok(&document(&LEAF, 600)));
        let domain = Domain::parse(DOMAIN).unwrap();
        let (tls, resolver) = (shared.tls(), shared.resolver());
        let way = Way {
            domain: &domain,
            errand: Errand::Own,
            resolver: &resolver,
            guard: &shared.guard,
            wire: &shared.wire,
            sources: &[],
            tls: &tls,
        };
        // Each hop takes two: one in vain, one that answers.
        let mut budget = Budget {
            redirects: REDIRECTS_MAX,
            connections: 2 * hops - usize::from(!reached),
        };
        let first = Url::well_known(&domain, world.web.port()).unwrap();
        let (url, answered) = way.document(first, &mut budget).await.unwrap();
        let Document::Reference(place, _) = answered else {
            panic!("{answered:?}");
        };
        let second = url.follow(&place).unwrap();
        match way.document(second, &mut budget).await {
            Ok(_) => assert!(reached),
            Err(why) => {
                assert!(!reached, "{why}");
                assert!(why.to_string().contains("were tried in vain"), "{why}");
            }
        }
    }
    let domain = Domain::parse(DOMAIN).unwrap();
    let found = shared
        .posh
        .fingerprints(&shared, &domain, Errand::Own)
        .await;
    assert!(found.unwrap().matches(&LEAF));
}

#[tokio::test]
async fn what_cannot_be_reached_is_explained() {
    let world = World::new().await;
    let why = world.look_up_domain("nowhere.lit").await.unwrap_err();
    assert_eq!(why.cause, Cause::Definite);
    assert!(
        why.to_string()
            .contains("DNS has no address for nowhere.lit"),
        "{why}"
    );
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let place = format!("https://{HOSTING}:{port}/");
    world.web.serve(DOMAIN, PATH, redirect("302 Found", &place));
    let why = world.look_up().await.unwrap_err();
    assert_eq!(why.cause, Cause::Passing);
    assert!(why.to_string().contains("Connection refused"), "{why}");
}

#[tokio::test]
async fn a_document_has_a_size() {
    let whole = document(&LEAF, 600);
    let padded = |bytes: usize| format!("{whole}{}", " ".repeat(bytes - whole.len()));
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&padded(64 * 1024)));
    assert!(world.look_up().await.unwrap().matches(&LEAF));
    let why = World::refusal(ok(&padded(64 * 1024 + 1))).await;
    assert!(why.contains("has more than 65536 bytes"), "{why}");
    // It is not waited for either: neither what is announced nor what never ends.
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    for head in [announced, "HTTP/1.1 200 OK\r\n\r\n"] {
        let world = World::new().await;
        let steps = vec![
            Step::Say(head.into()),
            Step::Repeat(vec![b' '; 8192], Duration::ZERO),
        ];
        world.web.script(DOMAIN, PATH, steps);
        let why = world.look_up().await.unwrap_err().to_string();
        assert!(why.contains("has more than 65536 bytes"), "{why}");
    }
    let endless_chunks = vec![
        Step::Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into()),
        Step::Repeat(
            format!("1000\r\n{}\r\n", " ".repeat(4096)).into(),
            Duration::ZERO,
        ),
    ];
    let world = World::new().await;
    world.web.script(DOMAIN, PATH, endless_chunks);
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("has more than 65536 bytes"), "{why}");
}

#[tokio::test]
async fn a_head_has_a_size() {
    for head in [
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(500)),
        "x".repeat(64 * 1024),
    ] {
        let why = World::refusal(head).await;
        assert!(why.contains("could not be read"), "{why}");
    }
    // And no end of good news before the answer.
    let world = World::new().await;
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".to_vec();
    let steps = vec![Step::Repeat(hints, Duration::from_millis(50))];
    world.web.script(DOMAIN, PATH, steps);
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("within 5 s"), "{why}");
}

#[tokio::test]
async fn everything_together_has_a_deadline() {
    let silent = vec![Step::Wait(Duration::from_secs(60))];
    let dribble = vec![
        Step::Say("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".into()),
        Step::Repeat(b" ".to_vec(), Duration::from_millis(100)),
    ];
    let (a, b, c) = tokio::join!(lasting(silent), lasting(dribble), slow_everywhere());
    for (why, took) in [a, b, c] {
        assert!(
            why.contains("of montague.lit") && why.contains("within 5 s"),
            "{why}"
        );
        assert!((4.9..9.0).contains(&took), "{took}");
    }
}

/// What comes of a server that does so, and after how many seconds.
async fn lasting(steps: Vec<Step>) -> (String, f64) {
    let world = World::new().await;
    world.web.script(DOMAIN, PATH, steps);
    timed(&world).await
}

/// Each answer comes within four seconds, and there are three.
async fn slow_everywhere() -> (String, f64) {
    let world = World::new().await;
    let slowly = |answer: Vec<u8>| vec![Step::Wait(Duration::from_secs(4)), Step::Say(answer)];
    let redirect = redirect("302 Found", "/a");
    world.web.script(DOMAIN, PATH, slowly(redirect));
    let reference = reference(&world.url(HOSTING, "/b"), 600);
    world.web.script(DOMAIN, "/a", slowly(ok(&reference)));
    world
        .web
        .script(HOSTING, "/b", slowly(ok(&document(&LEAF, 600))));
    timed(&world).await
}

async fn timed(world: &World) -> (String, f64) {
    let began = std::time::Instant::now();
    let why = world.look_up().await.unwrap_err();
    assert_eq!(why.cause, Cause::Passing);
    (why.to_string(), began.elapsed().as_secs_f64())
}

#[tokio::test]
async fn a_server_that_never_speaks_tls_is_left_in_time() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = format!("https://{HOSTING}:{port}/");
    world.web.serve(DOMAIN, PATH, redirect("302 Found", &place));
    let (why, took) = timed(&world).await;
    assert!(why.contains("within 5 s"), "{why}");
    assert!((4.9..9.0).contains(&took), "{took}");
}
