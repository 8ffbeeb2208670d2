//! How often web servers are asked, with fetches that a test answers itself and a clock that it moves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::advance;

use super::super::document::Fingerprint;
use super::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn found(seconds: u64) -> Outcome {
    Ok(Fingerprints {
        list: [Fingerprint::Sha256([7; 32])].into(),
        until: now() + Duration::from_secs(seconds),
    })
}

/// A memory, and how often it had something fetched.
struct Counted {
    memory: Memory,
    fetches: Arc<AtomicUsize>,
}

impl Counted {
    fn new() -> Self {
        Self {
            memory: Memory::new(),
            fetches: Arc::default(),
        }
    }

    async fn get(&self, name: &str, outcome: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
        let fetches = Arc::clone(&self.fetches);
        let fetch = || async move {
            fetches.fetch_add(1, Ordering::SeqCst);
            outcome()
        };
        self.memory
            .get(&domain(name), Errand::Stranger, fetch)
            .await
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_is_remembered_until_it_expires() {
    //= DNS-22
    let posh = Counted::new();
    let first = posh.get("montague.lit", || found(100)).await.unwrap();
    advance(Duration::from_secs(99)).await;
    let again = posh.get("montague.lit", || panic!("it is known")).await;
    assert_eq!(again.unwrap(), first);
    advance(Duration::from_secs(2)).await;
    let anew = posh.get("montague.lit", || found(100)).await.unwrap();
    assert!(anew.until > first.until);
    assert_eq!(posh.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_holds_for_a_second_is_believed_as_long_and_fetched_once_a_second() {
    //= DNS-22
    let posh = Counted::new();
    for second in 1..=20 {
        for _ in 0..4 {
            let known = posh.get("montague.lit", || found(1)).await.unwrap();
            assert!(known.until > now(), "it is not believed longer");
            advance(Duration::from_millis(250)).await;
        }
        assert_eq!(posh.fetches(), second);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_by_their_kind() {
    for (failure, seconds) in [
        (PoshFailure::definite("answered 404"), 600),
        (PoshFailure::passing("answered 503"), 60),
        (PoshFailure::ours("too busy"), 0),
    ] {
        let posh = Counted::new();
        let outcome = failure.clone();
        let said = posh.get("montague.lit", move || Err(outcome)).await;
        assert_eq!(said.unwrap_err(), failure);
        if seconds > 0 {
            advance(Duration::from_secs(seconds - 1)).await;
            let said = posh.get("montague.lit", || panic!("it is known")).await;
            assert_eq!(said.unwrap_err(), failure);
            advance(Duration::from_secs(2)).await;
        }
        assert!(posh.get("montague.lit", || found(100)).await.is_ok());
        assert_eq!(posh.fetches(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_wait_for_one_fetch() {
    let posh = Counted::new();
    let slow = |name: &'static str| {
        let fetches = Arc::clone(&posh.fetches);
        posh.memory_get(name, move || async move {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(3)).await;
            found(100)
        })
    };
    let (a, b, c, other) = tokio::join!(
        slow("montague.lit"),
        slow("montague.lit"),
        slow("MONTAGUE.lit."),
        slow("capulet.lit")
    );
    assert_eq!(posh.fetches(), 2);
    assert!(a.is_ok() && other.is_ok());
    assert_eq!((&a, &a), (&b, &c));
}

impl Counted {
    /// As [`Memory::get`], by name.
    async fn memory_get<F>(&self, name: &str, fetch: impl FnOnce() -> F) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.memory
            .get(&domain(name), Errand::Stranger, fetch)
            .await
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_does_not_cause_a_fetch_each_time() {
    let posh = Counted::new();
    for _ in 0..100 {
        let fetches = Arc::clone(&posh.fetches);
        let fetch = move || async move {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(5)).await;
            Err(PoshFailure::definite("answered 404"))
        };
        let impatient = posh.memory_get("montague.lit", fetch);
        let given_up = tokio::time::timeout(Duration::from_millis(100), impatient).await;
        assert!(given_up.is_err() || posh.fetches() == 1);
    }
    assert_eq!(posh.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn so_many_fetches_are_under_way_and_no_more() {
    let memory = Arc::new(Memory::new());
    let ask = |name: String, errand| {
        let memory = Arc::clone(&memory);
        tokio::spawn(async move { memory.get(&domain(&name), errand, pending::<Outcome>).await })
    };
    let mut waiting = Vec::new();
    for n in 0..100 {
        waiting.push(ask(format!("p{n}.evil.example"), Errand::Stranger));
    }
    for n in 0..100 {
        waiting.push(ask(format!("a.site{n}.example"), Errand::Stranger));
    }
    for _ in 0..waiting.len() {
        tokio::task::yield_now().await;
    }
    let held = |waiting: &[JoinHandle<Outcome>]| {
        let held = waiting.iter().filter(|task| !task.is_finished());
        held.count()
    };
    assert_eq!(held(&waiting), UNDER_WAY_FOR_STRANGERS_MAX);
    let (all, shares) = lock(&memory.entries).under_way();
    assert_eq!(
        (all, shares.of_site(&domain("any.evil.example"))),
        (UNDER_WAY_FOR_STRANGERS_MAX, UNDER_WAY_PER_SITE_MAX)
    );
    // There is room for what we want ourselves, up to a bound too.
    for n in 0..100 {
        waiting.push(ask(format!("b.own{n}.example"), Errand::Own));
    }
    for _ in 0..waiting.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(held(&waiting), UNDER_WAY_MAX);
    for refused in waiting.into_iter().filter(JoinHandle::is_finished) {
        let why = refused.await.unwrap().unwrap_err();
        assert!(why.is_ours(), "{why}");
        assert!(why.to_string().contains("too many web servers"), "{why}");
    }
    // What is refused leaves nothing behind.
    assert_eq!(lock(&memory.entries).by_domain.len(), UNDER_WAY_MAX);
}

#[tokio::test(start_paused = true)]
async fn slow_web_servers_do_not_keep_their_neighbours_from_being_asked() {
    let below_one: fn(usize) -> String = |n| format!("p{n}.mallory.co.uk");
    let below_some: fn(usize) -> String = |n| format!("p{n}.slow{}.example", n / 40);
    for slow in [below_one, below_some] {
        let memory = Arc::new(Memory::new());
        for name in (0..200).map(slow) {
            let memory = Arc::clone(&memory);
            tokio::spawn(async move {
                let name = domain(&name);
                let fetch = pending::<Outcome>;
                memory.get(&name, Errand::Stranger, fetch).await
            });
        }
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        let bank = domain("bank.co.uk");
        let fetch = || async { found(100) };
        let asked = memory.get(&bank, Errand::Stranger, fetch).await;
        assert!(asked.is_ok(), "{}: {asked:?}", slow(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_blocks_nobody() {
    let posh = Counted::new();
    let lost = posh.get("montague.lit", || panic!("on purpose")).await;
    assert!(lost.unwrap_err().is_ours());
    assert!(posh.get("montague.lit", || found(100)).await.is_ok());
    for n in 0..200 {
        let name = format!("p{n}.evil.example");
        assert!(posh.get(&name, || panic!("on purpose")).await.is_err());
    }
    assert!(posh.get("p.evil.example", || found(100)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_asked_for_anew_whatever_was_under_way() {
    let posh = Counted::new();
    let first = posh.get("montague.lit", || found(100)).await.unwrap();
    let (answer, answered) = oneshot::channel();
    let slow = || async { answered.await.unwrap() };
    let asked = posh.memory_get("capulet.lit", slow);
    let forget = async {
        tokio::task::yield_now().await;
        posh.memory.forget();
        answer.send(found(100)).unwrap();
    };
    // Who waited is told, and nobody else.
    assert!(tokio::join!(asked, forget).0.is_ok());
    advance(Duration::from_secs(1)).await;
    let anew = posh.get("montague.lit", || found(100)).await.unwrap();
    assert!(anew.until > first.until);
    let failure = || Err(PoshFailure::definite("answered 404"));
    assert!(posh.get("capulet.lit", failure).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_with_the_memory() {
    let memory = Memory::new();
    let (guard, ended) = oneshot::channel::<()>();
    let fetch = || async move {
        let _guard = guard;
        pending::<Outcome>().await
    };
    let montague = domain("montague.lit");
    let asked = memory.get(&montague, Errand::Own, fetch);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), asked)
            .await
            .is_err()
    );
    drop(memory);
    assert!(ended.await.is_err(), "its future was dropped");
}

#[tokio::test(start_paused = true)]
async fn the_memory_is_bounded_and_keeps_what_is_of_use() {
    let posh = Counted::new();
    assert!(posh.get("good.lit", || found(80_000)).await.is_ok());
    assert!(posh.get("short.lit", || found(100)).await.is_ok());
    advance(Duration::from_secs(200)).await;
    for n in 0..ENTRIES_MAX + 500 {
        let name = format!("p{n}.lit");
        let failure = || Err(PoshFailure::definite("answered 404"));
        assert!(posh.get(&name, failure).await.is_err());
        assert!(lock(&posh.memory.entries).by_domain.len() <= ENTRIES_MAX);
    }
    let known = |name: &str| {
        lock(&posh.memory.entries)
            .by_domain
            .contains_key(&domain(name))
    };
    assert!(known("good.lit"), "failures do not push it out");
    assert!(!known("short.lit"), "it was over");
    assert!(!known("p0.lit") && known(&format!("p{}.lit", ENTRIES_MAX + 499)));
    // Among documents the one that nobody asks for goes first.
    for n in 0..ENTRIES_MAX + 10 {
        let name = format!("d{n}.lit");
        assert!(posh.get(&name, || found(80_000)).await.is_ok());
        assert!(posh.get("good.lit", || panic!("it is known")).await.is_ok());
    }
    assert!(!known("d0.lit"));
}
