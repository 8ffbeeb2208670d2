//! Who asks when, with look-ups that a test answers itself and a clock that it moves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;

const WITHIN: Duration = Duration::from_secs(5);

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn found(host: &str) -> Found {
    Ok(PublishedCertificates {
        tlsa: Vec::new(),
        hosts: vec![host.to_owned()],
        doubt: None,
    })
}

/// Look-ups, and how often one began.
#[derive(Clone)]
struct Counted {
    look_ups: Arc<LookUps>,
    begun: Arc<AtomicUsize>,
    reached: LimitCounts,
}

impl Counted {
    fn new() -> Self {
        let reached = LimitCounts::default();
        Self {
            look_ups: Arc::new(LookUps::new(reached.clone())),
            begun: Arc::default(),
            reached,
        }
    }

    /// Asks for `name`, of which DNS takes so long to tell.
    async fn ask(&self, name: &str, takes: Duration) -> Found {
        let begun = Arc::clone(&self.begun);
        let look_up = || async move {
            begun.fetch_add(1, Ordering::SeqCst);
            sleep(takes).await;
            found("xmpp.hosting.lit")
        };
        self.look_ups.get(&domain(name), WITHIN, look_up).await
    }

    /// The same, and waits elsewhere.
    fn spawn(&self, name: String, takes: Duration) -> JoinHandle<Found> {
        let this = self.clone();
        tokio::spawn(async move { this.ask(&name, takes).await })
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

async fn settle() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_one() {
    //= DNS-19
    let dns = Counted::new();
    let second = Duration::from_secs(1);
    let (a, b, other) = tokio::join!(
        dns.ask("montague.lit", second),
        dns.ask("MONTAGUE.lit.", second),
        dns.ask("capulet.lit", second)
    );
    assert_eq!(dns.begun(), 2);
    assert_eq!(a, b);
    assert!(a.is_ok() && other.is_ok());
    // What is over is asked anew: remembering is the resolver's.
    assert!(dns.ask("montague.lit", second).await.is_ok());
    assert_eq!(dns.begun(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_goes_on_although_nobody_waits() {
    //= DNS-19
    let dns = Counted::new();
    let slow = Duration::from_secs(3);
    for _ in 0..20 {
        let impatient = timeout(Duration::from_millis(100), dns.ask("montague.lit", slow));
        assert!(impatient.await.is_err());
    }
    assert_eq!(dns.begun(), 1, "whoever comes and goes causes no others");
    let late = dns.ask("montague.lit", slow).await;
    assert_eq!((late, dns.begun()), (found("xmpp.hosting.lit"), 1));
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_its_time_is_over_or_it_panics() {
    let dns = Counted::new();
    let endless = Duration::from_secs(3600);
    let late = dns.ask("montague.lit", endless).await.unwrap_err();
    assert_eq!(late, too_late());
    for n in 0..2 * LOOK_UPS_MAX {
        let name = domain(&format!("p{n}.evil.example"));
        let panics = || async { panic!("on purpose") };
        let lost = dns.look_ups.get(&name, WITHIN, panics).await;
        assert_eq!(lost, Err(given_up()));
    }
    assert!(dns.ask("p.evil.example", Duration::ZERO).await.is_ok());
    assert!(lock(&dns.look_ups.places.taken).by_domain.is_empty());
}

#[tokio::test(start_paused = true)]
async fn slow_neighbours_and_slow_sites_do_not_take_all_places() {
    let below_one: fn(usize) -> String = |n| format!("p{n}.mallory.co.uk");
    let below_some: fn(usize) -> String = |n| format!("p{n}.slow{}.example", n / 40);
    for (slow, places) in [(below_one, LOOK_UPS_PER_SITE_MAX / 2), (below_some, 60)] {
        let dns = Counted::new();
        for name in (0..200).map(slow) {
            drop(dns.spawn(name, WITHIN * 2));
        }
        settle().await;
        assert_eq!(dns.begun(), places, "{}", slow(0));
        let asked = timeout(
            Duration::from_millis(1),
            dns.ask("bank.co.uk", Duration::ZERO),
        );
        assert!(asked.await.unwrap().is_ok(), "{}", slow(0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_is_given_up_and_counted() {
    //= LIM-14
    let dns = Counted::new();
    assert!(dns.ask("quick.lit", WITHIN / 2).await.is_ok());
    assert_eq!(dns.reached.count(Limit::AttestationSeconds), 0);
    assert!(dns.ask("slow.lit", WITHIN * 2).await.is_err());
    assert_eq!(dns.reached.count(Limit::AttestationSeconds), 1);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_waits_for_one() {
    let dns = Counted::new();
    let waiting: Vec<_> = (0..3 * LOOK_UPS_PER_SITE_MAX)
        .map(|n| dns.spawn(format!("p{n}.montague.lit"), Duration::from_secs(1)))
        .collect();
    settle().await;
    assert_eq!(dns.begun(), LOOK_UPS_PER_SITE_MAX);
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(dns.begun(), 3 * LOOK_UPS_PER_SITE_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_with_the_engine() {
    let look_ups = LookUps::new(LimitCounts::default());
    let (guard, ended) = tokio::sync::oneshot::channel::<()>();
    let look_up = || async move {
        let _guard = guard;
        pending::<Found>().await
    };
    let montague = domain("montague.lit");
    let asked = look_ups.get(&montague, Duration::MAX, look_up);
    assert!(timeout(Duration::from_secs(1), asked).await.is_err());
    drop(look_ups);
    assert!(ended.await.is_err(), "its future was dropped");
}
