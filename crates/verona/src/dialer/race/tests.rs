//! The race on a paused clock: who is dialled when, and what is told of it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::time::sleep;

use super::*;
use crate::shared::lock;

/// A network of servers, each with a time to answer and an answer, which notes when each is dialled.
#[derive(Clone, Default)]
struct Network {
    answers: BTreeMap<u8, (u64, bool)>,
    dialled: Arc<Mutex<Vec<(u8, u64)>>>,
    open: Arc<AtomicUsize>,
    most_open: Arc<AtomicUsize>,
}

/// One dial under way.
struct Socket(Arc<AtomicUsize>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const NEVER: u64 = 1_000_000;

impl Network {
    /// Milliseconds until each server, numbered from 0, answers, and whether it lets us in.
    fn new(answers: &[(u64, bool)]) -> Self {
        Self {
            answers: (0..).zip(answers.iter().copied()).collect(),
            ..Self::default()
        }
    }

    async fn race(&self, time: u64) -> Result<Won<u8>, Vec<Unreached>> {
        let begun = Instant::now();
        let targets = self.answers.keys().map(|number| target(*number)).collect();
        race(targets, begun + Duration::from_millis(time), |target| {
            let number = number(target);
            let at = u64::try_from(begun.elapsed().as_millis()).unwrap();
            lock(&self.dialled).push((number, at));
            let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
            self.most_open.fetch_max(open, Ordering::Relaxed);
            let socket = Socket(Arc::clone(&self.open));
            let (after, lets_in) = *self.answers.get(&number).unwrap();
            async move {
                let _socket = socket;
                sleep(Duration::from_millis(after)).await;
                match lets_in {
                    true => Ok(number),
                    false => Err(Failed {
                        text: format!("{number} refused"),
                        fault: Fault::Peer,
                    }),
                }
            }
        })
        .await
    }

    /// Who was dialled, and after how many milliseconds.
    fn dialled(&self) -> Vec<(u8, u64)> {
        lock(&self.dialled).clone()
    }
}

fn target(number: u8) -> Target {
    Target::new(([192, 0, 2, number], 5269).into(), false, "server.invalid")
}

fn number(target: &Target) -> u8 {
    match target.address.ip() {
        std::net::IpAddr::V4(v4) => v4.octets()[3],
        std::net::IpAddr::V6(_) => unreachable!("there are none here"),
    }
}

fn numbers(targets: &[Target]) -> Vec<u8> {
    targets.iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_in_time_is_the_only_one_dialled() {
    //= DNS-07
    let network = Network::new(&[(249, true), (0, true), (0, true)]);
    let won = network.race(60_000).await.unwrap();
    assert_eq!((won.connection, number(&won.target)), (0, 0));
    assert_eq!(numbers(&won.left), [1, 2]);
    assert_eq!(won.failed, []);
    assert_eq!(network.dialled(), [(0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_costs_a_quarter_of_a_second_and_is_still_worth_a_try() {
    //= DNS-07
    let begun = Instant::now();
    let network = Network::new(&[(NEVER, true), (20, true), (0, true)]);
    let won = network.race(60_000).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_millis(270));
    assert_eq!(won.connection, 1);
    assert_eq!(numbers(&won.left), [0, 2]);
    assert_eq!(network.dialled(), [(0, 0), (1, 250)]);
    // The loser's socket is gone.
    assert_eq!(network.open.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_one_at_once() {
    let network = Network::new(&[
        (10, false),
        (NEVER, true),
        (NEVER, true),
        (30, false),
        (5, true),
    ]);
    let won = network.race(60_000).await.unwrap();
    assert_eq!(
        network.dialled(),
        [(0, 0), (1, 10), (2, 260), (3, 510), (4, 540)]
    );
    assert_eq!(won.connection, 4);
    let failed: Vec<&str> = won.failed.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(failed, ["0 refused", "3 refused"]);
    assert_eq!(numbers(&won.left), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_may_still_win() {
    let network = Network::new(&[(400, true), (NEVER, true), (NEVER, true)]);
    let won = network.race(60_000).await.unwrap();
    assert_eq!(won.connection, 0);
    assert_eq!(network.dialled(), [(0, 0), (1, 250)]);
    assert_eq!(numbers(&won.left), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_answer_at_the_same_moment_the_first_in_order_wins() {
    let network = Network::new(&[(300, true), (50, true)]);
    let won = network.race(60_000).await.unwrap();
    assert_eq!(won.connection, 0);
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_all_are_told_in_the_order_of_their_failing() {
    let network = Network::new(&[(700, false), (10, false), (100, false)]);
    let failed = network.race(60_000).await.unwrap_err();
    let texts: Vec<&str> = failed.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["1 refused", "2 refused", "0 refused"]);
    assert_eq!(network.dialled(), [(0, 0), (1, 250), (2, 260)]);
    assert!(Network::default().race(1).await.unwrap_err().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_whole_is_kept() {
    let begun = Instant::now();
    let network = Network::new(&[(NEVER, true), (100, false), (NEVER, true), (0, true)]);
    let failed = network.race(600).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::from_millis(600));
    // The last one's turn would have come at exactly that moment.
    assert_eq!(network.dialled(), [(0, 0), (1, 250), (2, 350)]);
    let who: Vec<u8> = failed.iter().map(|one| number(&one.target)).collect();
    assert_eq!(who, [1, 0, 2]);
    assert_eq!(
        failed.last().unwrap().text,
        "no connection to 192.0.2.2:5269 in the time that there was for all servers together"
    );
    assert_eq!(network.open.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_sockets_than_one_server_has_addresses() {
    let mut answers = vec![(10_000, false); 15];
    answers.push((1, true));
    let network = Network::new(&answers);
    let won = network.race(60_000).await.unwrap();
    assert_eq!(won.connection, 15);
    assert_eq!(network.most_open.load(Ordering::Relaxed), 8);
    let dialled = network.dialled();
    assert_eq!(dialled.get(..8).unwrap().last(), Some(&(7, 1_750)));
    // A place is free when the first has failed.
    assert_eq!(dialled.get(8), Some(&(8, 10_000)));
    assert_eq!(dialled.last(), Some(&(15, 11_750)));
}
