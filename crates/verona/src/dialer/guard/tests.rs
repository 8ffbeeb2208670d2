//! Each refusal, its words, and what makes an exception.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

impl Guard {
    /// One with these exceptions, for the tests of whoever asks it.
    pub(crate) fn of(
        allowed: &[&str],
        configured: &[(DomainPattern, PeerAddress)],
        limits: &Limits,
    ) -> Self {
        Self {
            rules: RwLock::new(Rules {
                allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(),
                configured: configured.to_vec(),
            }),
            listeners: Mutex::default(),
            reached: LimitCounts::default(),
            pace: Pace::new(
                size(limits.dials_per_address_max),
                seconds(limits.dial_wait_seconds),
            ),
        }
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn pattern_of(text: &str) -> DomainPattern {
    match text.strip_prefix("*.") {
        Some(parent) => DomainPattern::Below(domain(parent)),
        None => DomainPattern::Exact(domain(text)),
    }
}

fn guard(allowed: &[&str], configured: &[(&str, &str)]) -> Guard {
    let configured: Vec<_> = configured
        .iter()
        .map(|(pattern, at)| {
            let configured = PeerAddress {
                address: address(at),
                direct_tls: false,
            };
            (pattern_of(pattern), configured)
        })
        .collect();
    Guard::of(allowed, &configured, &Limits::default())
}

fn judged(guard: &Guard, to: &str) -> String {
    match guard.admit(&domain("capulet.lit"), address(to)) {
        Ok(()) => "yes".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    let guard = guard(&["10.0.0.0/8"], &[]);
    for (to, expected) in [
        ("9.9.9.9:5269", "yes"),
        ("[2a01:4f8::1]:443", "yes"),
        ("10.1.2.3:5269", "yes"),
        (
            "10.1.2.3:6379",
            "10.1.2.3:6379 is not dialled: port 6379 is for Redis, which acts on lines of text; an address in [[peer]] \
             allows it",
        ),
        (
            "192.168.1.1:5269",
            "192.168.1.1:5269 is not a public address (private (RFC 1918)); allow it by s2s.allow_networks or by an \
             address in [[peer]]",
        ),
        (
            "[::ffff:9.9.9.9]:5269",
            "[::ffff:9.9.9.9]:5269 is not a public address (IPv4-mapped (RFC 4291)); allow it by s2s.allow_networks or \
             by an address in [[peer]]",
        ),
    ] {
        assert_eq!(judged(&guard, to), expected);
    }
}

#[test]
fn what_the_operator_names_for_a_domain_may_be_dialled_for_that_domain() {
    //= DNS-09
    let guard = guard(
        &[],
        &[
            ("capulet.lit", "127.0.0.1:25"),
            ("*.montague.lit", "10.0.0.1:5269"),
        ],
    );
    assert_eq!(judged(&guard, "127.0.0.1:25"), "yes");
    assert_ne!(judged(&guard, "127.0.0.1:26"), "yes");
    assert_ne!(judged(&guard, "10.0.0.1:5269"), "yes");
    let below = domain("rooms.montague.lit");
    assert_eq!(guard.admit(&below, address("10.0.0.1:5269")), Ok(()));
    assert!(guard.admit(&below, address("127.0.0.1:25")).is_err());
}

#[test]
fn our_own_listeners_are_never_dialled() {
    //= DNS-27
    let own = "is our own listener";
    let guard = guard(&["0.0.0.0/0", "::/0"], &[("capulet.lit", "127.0.0.1:5269")]);
    assert_eq!(judged(&guard, "127.0.0.1:5269"), "yes");
    guard.never_dial(address("203.0.113.9:5269"));
    assert!(judged(&guard, "203.0.113.9:5269").contains(own));
    assert!(judged(&guard, "[::ffff:203.0.113.9]:5269").contains(own));
    assert_eq!(judged(&guard, "203.0.113.9:5270"), "yes");
    assert_eq!(judged(&guard, "203.0.113.77:5269"), "yes");
    // A listener at all addresses is reached at each address of this machine, and at no other.
    guard.never_dial(address("[::]:5269"));
    guard.never_dial(address("0.0.0.0:5280"));
    for to in [
        "127.0.0.1:5269",
        "127.1.2.3:5269",
        "[::1]:5269",
        "0.0.0.0:5269",
        "[::ffff:127.0.0.1]:5269",
        "127.0.0.1:5280",
    ] {
        assert!(judged(&guard, to).contains(own), "{to}");
    }
    assert_eq!(judged(&guard, "203.0.113.77:5269"), "yes");
    assert_eq!(judged(&guard, "[2001:db8::2]:5269"), "yes");
    // An address of this machine that is no loopback one, where there is any.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("203.0.113.77:9").is_ok() {
        let ours = SocketAddr::new(socket.local_addr().unwrap().ip(), 5269);
        assert!(judged(&guard, &ours.to_string()).contains(own), "{ours}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_address_makes_wait_and_then_refuses() {
    let guard = guard(&[], &[("busy.lit", "9.9.9.9:5269")]);
    let to = address("9.9.9.9:5269");
    let capulet = domain("capulet.lit");
    let began = tokio::time::Instant::now();
    for _ in 0..6 {
        guard.pass(&capulet, to, Errand::Own).await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let refusals = (0..100).map(|_| guard.pass(&capulet, to, Errand::Stranger));
    let mut waiting: Vec<_> = refusals.map(Box::pin).collect();
    let mut refused = 0;
    for wait in &mut waiting {
        if let Ok(Err(refusal)) = tokio::time::timeout(Duration::ZERO, wait).await {
            assert!(refusal.is_ours());
            assert_eq!(
                refusal.to_string(),
                "9.9.9.9:5269 is not dialled: so many connections to that address are being opened that this one would \
                 wait 11 s (limits dials_per_address_max, dial_wait_seconds)"
            );
            refused += 1;
        }
    }
    assert_eq!(refused, 100 - 55);
    let reached = |limit| guard.reached.count(limit);
    assert_eq!(reached(Limit::DialWaitSeconds), 100 - 55);
    // Of six of ours one waited, and of 55 of strangers 50.
    assert_eq!(reached(Limit::DialsPerAddressMax), 1 + 50);
    // Whom the operator named is not kept waiting.
    let named = domain("busy.lit");
    for _ in 0..100 {
        guard.pass(&named, to, Errand::Own).await.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}
