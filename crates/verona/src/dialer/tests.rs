//! The dialler with a recorder in the place of the network: what it would have dialled, and when.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Mutex;

use verona_proto::limits::{Limit, LimitCounts, Limits};
use verona_proto::policy::DomainPattern;

use super::*;
use crate::config::PeerAddress;
use crate::shared::lock;

/// In the place of the network: notes what is dialled and when.
#[derive(Default)]
struct Recorder {
    dialled: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Recorder {
    fn dial(&self, address: SocketAddr, answers: bool) -> impl Future<Output = io::Result<()>> {
        lock(&self.dialled).push((address, Instant::now()));
        async move {
            match answers {
                true => Ok(()),
                false => std::future::pending().await,
            }
        }
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let dialled = lock(&self.dialled);
        dialled.iter().map(|(address, _)| *address).collect()
    }
}

fn way<'a>(guard: &'a Guard, remote: &'a Domain, errand: Errand) -> Way<'a> {
    Way {
        guard,
        remote,
        errand,
        each: Duration::from_secs(10),
        until: Instant::now() + Duration::from_secs(60),
        reached: LimitCounts::default(),
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn target(address: &str) -> Target {
    Target::new(address.parse().unwrap(), false, "server.invalid")
}

/// What a stranger could have us dial, of which no packet may leave this machine.
const HARMFUL: &[&str] = &[
    // Ourselves, and what is behind our back.
    "127.0.0.1:5269",
    "127.0.0.1:5347",
    "127.255.255.254:5269",
    "[::1]:5269",
    "0.0.0.0:5269",
    "0.1.2.3:5269",
    "[::]:5269",
    "[::127.0.0.1]:5269",
    "[::ffff:127.0.0.1]:5269",
    "[::ffff:0.0.0.0]:5269",
    "[64:ff9b::127.0.0.1]:5269",
    "[2002:7f00:1::1]:5269",
    // Private networks, in every spelling.
    "10.0.0.1:5269",
    "10.255.255.255:5269",
    "172.16.0.1:5269",
    "172.31.255.255:443",
    "192.168.0.1:5269",
    "192.168.255.255:5222",
    "100.64.0.1:5269",
    "100.127.255.254:5269",
    "[fc00::1]:5269",
    "[fd12:3456:789a::1]:5269",
    "[::ffff:10.0.0.1]:5269",
    "[::ffff:192.168.1.1]:5269",
    "[64:ff9b::10.0.0.1]:5269",
    "[64:ff9b::192.168.1.1]:443",
    "[64:ff9b:1::1]:5269",
    "[2002:c0a8:101::1]:5269",
    "[fec0::1]:5269",
    // The cloud's metadata, and whoever is on the same cable.
    "169.254.169.254:80",
    "169.254.169.254:443",
    "169.254.169.254:5269",
    "[::ffff:169.254.169.254]:443",
    "[64:ff9b::169.254.169.254]:443",
    "[fe80::1]:5269",
    "[febf::1]:5269",
    "[fd00:ec2::254]:443",
    // Many at once.
    "224.0.0.1:5269",
    "239.255.255.250:1900",
    "255.255.255.255:5269",
    "240.0.0.1:5269",
    "[ff02::1]:5269",
    "[ff05::2]:5269",
    // Nobody.
    "192.0.0.1:5269",
    "192.0.2.1:5269",
    "198.18.0.1:5269",
    "198.51.100.1:5269",
    "203.0.113.1:5269",
    "192.88.99.1:5269",
    "[100::1]:5269",
    "[2001::1]:5269",
    "[2001:db8::1]:5269",
    "[3fff::1]:5269",
    "[5f00::1]:5269",
    // Somebody else's service.
    "9.9.9.9:22",
    "9.9.9.9:25",
    "9.9.9.9:53",
    "9.9.9.9:80",
    "9.9.9.9:465",
    "9.9.9.9:3306",
    "9.9.9.9:6379",
    "9.9.9.9:6667",
    "9.9.9.9:9100",
    "9.9.9.9:11211",
    "9.9.9.9:0",
    "[2620:fe::fe]:25",
    "[64:ff9b::9.9.9.9]:6379",
    "[2a01:4f8::1]:2375",
    // Our own listener at a public address.
    "9.9.9.10:5269",
    "[2620:fe::10]:5270",
];

#[tokio::test(start_paused = true)]
async fn no_packet_leaves_for_an_address_that_a_stranger_has_no_business_to_name() {
    //= DNS-27
    assert!(HARMFUL.len() >= 60);
    let guard = Guard::of(&[], &[], &Limits::default());
    guard.never_dial("9.9.9.10:5269".parse().unwrap());
    guard.never_dial("[2620:fe::10]:5270".parse().unwrap());
    let remote = domain("mallory.example");
    for errand in [Errand::Own, Errand::Stranger] {
        let recorder = Recorder::default();
        let all = HARMFUL.iter().map(|address| target(address)).collect();
        let failed = way(&guard, &remote, errand)
            .reach(all, |address| recorder.dial(address, true))
            .await
            .unwrap_err();
        assert_eq!(recorder.addresses(), []);
        // Each with its own reason.
        assert_eq!(failed.len(), HARMFUL.len());
        for (unreached, address) in failed.iter().zip(HARMFUL) {
            let address = target(address).address;
            assert_eq!(unreached.target.address, address);
            let text = &unreached.text;
            assert!(text.starts_with(&address.to_string()), "{address}: {text}");
            assert_eq!(unreached.fault, Fault::Policy);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_harmless_address_among_them_is_dialled_and_no_other() {
    let guard = Guard::of(&[], &[], &Limits::default());
    let recorder = Recorder::default();
    let mut all: Vec<Target> = HARMFUL.iter().map(|address| target(address)).collect();
    all.insert(30, target("9.9.9.9:5269"));
    let remote = domain("capulet.lit");
    let begun = Instant::now();
    let won = way(&guard, &remote, Errand::Own)
        .reach(all, |address| recorder.dial(address, true))
        .await
        .unwrap();
    assert_eq!(won.target, target("9.9.9.9:5269"));
    assert_eq!(won.failed.len(), 30);
    assert_eq!(recorder.addresses(), ["9.9.9.9:5269".parse().unwrap()]);
    // A refusal costs no time.
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_allows_is_dialled() {
    let limits = Limits::default();
    let configured = PeerAddress {
        address: "127.0.0.1:25".parse().unwrap(),
        direct_tls: false,
    };
    let pattern = DomainPattern::Exact(domain("capulet.lit"));
    let guard = Guard::of(&["10.0.0.0/8"], &[(pattern, configured)], &limits);
    for (to, remote, allowed) in [
        ("127.0.0.1:25", "capulet.lit", true),
        ("127.0.0.1:25", "mallory.example", false),
        ("10.1.1.1:5269", "mallory.example", true),
        ("10.1.1.1:25", "mallory.example", false),
    ] {
        let recorder = Recorder::default();
        let remote = domain(remote);
        let _ = way(&guard, &remote, Errand::Own)
            .reach(vec![target(to)], |address| recorder.dial(address, true))
            .await;
        assert_eq!(
            recorder.addresses().len(),
            usize::from(allowed),
            "{to} {remote}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_has_its_time_and_no_more() {
    //= LIM-14
    let guard = Guard::of(&[], &[], &Limits::default());
    let recorder = Recorder::default();
    let remote = domain("capulet.lit");
    let way = way(&guard, &remote, Errand::Own);
    let begun = Instant::now();
    let targets = vec![target("9.9.9.9:5269"), target("9.9.9.10:5269")];
    let failed = way
        .reach(targets, |address| recorder.dial(address, false))
        .await
        .unwrap_err();
    assert_eq!(failed.len(), 2);
    assert_eq!(begun.elapsed(), Duration::from_millis(10_250));
    assert_eq!(way.reached.count(Limit::ConnectSeconds), 2);
}

/// How many of `moments` lie within the fullest second.
fn fullest_second(moments: &[(SocketAddr, Instant)]) -> usize {
    let second = Duration::from_secs(1);
    let within = |from: Instant| {
        let near = |(_, at): &&(SocketAddr, Instant)| *at >= from && *at < from + second;
        moments.iter().filter(near).count()
    };
    moments
        .iter()
        .map(|(_, from)| within(*from))
        .max()
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn five_thousand_domains_with_one_victim_dial_it_ten_times_a_second() {
    let guard = Guard::of(&[], &[], &Limits::default());
    let recorder = Recorder::default();
    let begun = Instant::now();
    let served = Mutex::new(0_usize);
    let dials = (0..5_000_u32).map(|number| {
        let (guard, recorder, served) = (&guard, &recorder, &served);
        async move {
            // A hundred new ones in each second, as fast as a flood of names makes them.
            tokio::time::sleep(Duration::from_millis(u64::from(number) * 10)).await;
            let remote = domain(&format!("d{number}.example"));
            let errand = match number % 2 {
                0 => Errand::Own,
                _ => Errand::Stranger,
            };
            // The victim by both its ports, with direct TLS and without: one address all the same.
            let mut all = vec![target("9.9.9.9:5269"), target("9.9.9.9:5270")];
            all[1].direct_tls = true;
            let result = way(guard, &remote, errand)
                .reach(all, |address| recorder.dial(address, number % 3 == 0))
                .await;
            match result {
                Ok(_) => *lock(served) += 1,
                Err(failed) => assert!(!failed.is_empty()),
            }
        }
    });
    all_of(dials).await;
    let dialled = lock(&recorder.dialled).clone();
    assert_eq!(fullest_second(&dialled), 10);
    let seconds = begun.elapsed().as_secs();
    assert!(
        dialled.len() as u64 <= 10 * (seconds + 1),
        "{} in {seconds} s",
        dialled.len()
    );
    // And the victim is not cut off: what may be dialled, is.
    assert!(dialled.len() > 400, "{}", dialled.len());
    assert!(*lock(&served) > 100);
}

/// Runs them all at once.
async fn all_of<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut under_way: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        under_way.retain_mut(|future| future.as_mut().poll(context).is_pending());
        match under_way.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_stand_in_the_way_of_our_own_dials() {
    let guard = Guard::of(&[], &[], &Limits::default());
    let recorder = Recorder::default();
    let remote = domain("capulet.lit");
    let one = || vec![target("9.9.9.9:5269")];
    let flood = (0..1_000).map(|_| async {
        let _ = way(&guard, &remote, Errand::Stranger)
            .reach(one(), |address| recorder.dial(address, true))
            .await;
    });
    let own = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begun = Instant::now();
        way(&guard, &remote, Errand::Own)
            .reach(one(), |address| recorder.dial(address, true))
            .await
            .unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
    };
    tokio::join!(all_of(flood), own);
}
