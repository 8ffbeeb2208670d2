//! What verona makes of DNS that misbehaves, seen through a whole engine: a bot writes to a domain, and what is dialled is
//! what counts. A lookup that fails must never look like an absence.
//!
//! The cases are judged here; `docs/discovery.md` has what came of them, for operators. `UPDATE=1` writes its tables anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod case;
mod cases;
mod page;
mod world;
mod zone;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use case::{Case, Expect, Takes};
use cases::Group;
use page::{Row, Table};
use verona_sim::name_server::message::SRV;
use world::{Came, DNS_SECONDS, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dns_does_nothing_wrong_is_dialled() {
    //= DNS-01
    //= DNS-02
    //= DNS-04
    //= DNS-05
    //= DNS-06
    //= DNS-08
    //= DNS-10
    //= DNS-12
    //= DNS-27
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let network = network();
    let mut running = JoinSet::new();
    let mut titles = Vec::new();
    let mut number = 0_u8;
    for (group, Group { title, cases }) in cases::all().into_iter().enumerate() {
        titles.push(title);
        for (position, case) in cases.into_iter().enumerate() {
            let at_once = Arc::clone(&at_once);
            let block = [127, network, number];
            number += 1;
            running.spawn(async move {
                let _permit = at_once.acquire().await.unwrap();
                ((group, position), play(&case, block).await)
            });
        }
    }
    let mut played = BTreeMap::new();
    while let Some(one) = running.join_next().await {
        let (at, outcome) = one.unwrap();
        played.insert(at, outcome);
    }
    assert!(played.len() >= 40, "{} behaviours", played.len());
    let mut wrong = Vec::new();
    let mut tables: Vec<Table> = titles.into_iter().map(Table::new).collect();
    for ((group, _), (row, faults)) in played {
        wrong.extend(faults);
        tables[group].rows.push(row);
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} faults",
        wrong.join("\n"),
        wrong.len()
    );
    page::compare(&tables);
}

/// The row of the table, and what is wrong.
async fn play(case: &Case, block: [u8; 3]) -> (Row, Vec<String>) {
    let Some(mut world) = World::new(case, block).await else {
        return (Row::not_run(case), Vec::new());
    };
    let mut faults = Vec::new();
    let mut fault =
        |came: &Came, say: String| faults.push(format!("{}: {say}\n  {came:?}", case.what));
    let came = world.send(zone::DOMAIN).await;
    for say in judge(&came, &case.expect) {
        fault(&came, say);
    }
    if came.took > longest(case.takes) {
        fault(&came, format!("it took {:?}", came.took));
    }
    if came.questions.len() > case.questions_max {
        fault(&came, format!("{} questions", came.questions.len()));
    }
    let mut row = Row::new(case, &came);
    if let Some(again) = &case.again {
        tokio::time::sleep(again.after).await;
        let came = world.send(again.to).await;
        for say in judge(&came, &again.expect) {
            fault(&came, format!("the second time {say}"));
        }
        let asked = format!("_xmpp-server._tcp.{} {SRV}", again.to);
        let has_asked = came.questions.contains(&asked);
        if has_asked != again.asks {
            fault(&came, format!("the second time asked {asked}: {has_asked}"));
        }
        row.second(again, &came);
    }
    world.end().await;
    (row, faults)
}

fn judge(came: &Came, expect: &Expect) -> Vec<String> {
    let mut faults = Vec::new();
    let mut dialled: Vec<&str> = came.dialled.iter().map(String::as_str).collect();
    let (dials, condition, text) = match *expect {
        Expect::Dials(these) => (these.to_vec(), TIMEOUT, ""),
        Expect::DialsInAnyOrder(these) => {
            dialled.sort_unstable();
            (these.to_vec(), TIMEOUT, "")
        }
        Expect::NotFound(text) => (Vec::new(), "remote-server-not-found", text),
        Expect::Timeout(text) => (Vec::new(), TIMEOUT, text),
    };
    if dialled != dials {
        faults.push(format!("dialled {dialled:?} and not {dials:?}"));
    }
    if came.condition != condition {
        faults.push(format!("{} and not {condition}", came.condition));
    }
    if !came.text.contains(text) {
        faults.push(format!("the sender does not read \"{text}\""));
    }
    faults
}

fn longest(takes: Takes) -> Duration {
    match takes {
        // A busy machine may be slow; what waits for a time-out takes longer.
        Takes::AtOnce => Duration::from_millis(2000),
        Takes::AMoment => Duration::from_millis(2800),
        Takes::DnsSeconds => Duration::from_millis(DNS_SECONDS * 1000 + 1000),
    }
}

/// Two runs on one machine do not want the same addresses.
fn network() -> u8 {
    let drawn = std::process::id() % 200;
    u8::try_from(drawn).unwrap() + 20
}

/// Cases that run at once.
const AT_ONCE: usize = 10;
const TIMEOUT: &str = "remote-server-timeout";
