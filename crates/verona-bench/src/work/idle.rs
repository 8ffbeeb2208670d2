//! Work (d): the memory of links that nobody uses, and of streams that have proven nothing.
//! Why both: the first is what a server with many friends holds, the second what strangers can make it hold.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::Terms;
use crate::load::{Flow, Load, blocks};
use crate::results::Work;
use crate::talk::{Call, Conversation, Standing};
use crate::world::{Kind, Server, Tuning, World, peer};

/// Runs it. Memory hardly varies, so there is one round, each server started anew for each case.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    // jabberd2 takes no more than its `max_fds`, and has two connections for each peer.
    let kinds = terms.kinds(|kind| !kind.is_bare() && kind != Kind::Jabberd2)?;
    crate::system::has_descriptors(11_000)?;
    let world = World::set(&terms.dir, 1)?;
    for kind in kinds {
        // The others take minutes for as many, and each takes the same.
        let numbers: &[usize] = match !terms.is_quick && kind.is_verona() {
            true => &[1_000, 10_000],
            false => &[1_000],
        };
        let most = numbers.iter().copied().max().unwrap_or_default();
        links(&world, kind, terms, numbers, &mut work)
            .with_context(|| format!("idle links with {}", kind.name()))?;
        for secured in [false, true] {
            strangers(&world, kind, terms, most, secured, &mut work)
                .with_context(|| format!("strangers at {}", kind.name()))?;
        }
    }
    Ok(work)
}

/// Links that have carried a stanza each way, where that needs no second connection.
fn links(
    world: &World,
    kind: Kind,
    terms: &Terms,
    numbers: &[usize],
    work: &mut Work,
) -> Result<()> {
    let server = Server::start(world, kind, &terms.verona, &Tuning::default())?;
    let component = server.component()?;
    // The first brings in what is there once.
    let mut standing = open(world, &server, 0..1, false)?;
    let before = settled(&server);
    let mut loads = Vec::new();
    let mut component = Some(component);
    for number in numbers {
        let have: usize = standing.len();
        standing.extend(open(world, &server, have..*number + 1, false)?);
        let resident = settled(&server);
        note(
            work,
            &format!("links-{number}"),
            kind,
            before,
            resident,
            *number,
        );
        if Some(number) == numbers.last()
            && let Some(component) = component.take()
        {
            // Both ways once, and then nothing again.
            let peers = standing.len();
            let inbound: Vec<_> = standing
                .iter()
                .flat_map(|one| blocks(&[(one.ours.clone(), server.domain.clone())], 200, 1))
                .collect();
            let pairs: Vec<_> = standing
                .iter()
                .map(|one| (server.domain.clone(), one.ours.clone()))
                .collect();
            let outbound = blocks(&pairs, 200, 1);
            let is_bidi = standing.iter().all(|one| one.is_bidi);
            let mut load = Load::new(component, std::mem::take(&mut standing))?;
            let stanzas = peers as u64;
            load.run(
                Flow::of(&inbound, stanzas, 100),
                match is_bidi {
                    true => Flow::of(&outbound, stanzas, 100),
                    false => Flow::of(&[], 0, 0),
                },
            )?;
            loads.push(load);
            let resident = settled(&server);
            note(
                work,
                &format!("used-links-{number}"),
                kind,
                before,
                resident,
                *number,
            );
        }
    }
    Ok(())
}

fn strangers(
    world: &World,
    kind: Kind,
    terms: &Terms,
    number: usize,
    secured: bool,
    work: &mut Work,
) -> Result<()> {
    let server = Server::start(world, kind, &terms.verona, &Tuning::default())?;
    // Some servers know no domain that nobody serves.
    let _component = server.component()?;
    let one = stranger(world, &server, secured)?;
    let before = settled(&server);
    let many = in_parallel(0..number, |_| stranger(world, &server, secured))?;
    let resident = settled(&server);
    let case = match secured {
        false => format!("strangers-{number}"),
        true => format!("strangers-with-tls-{number}"),
    };
    note(work, &case, kind, before, resident, number);
    drop((one, many));
    Ok(())
}

/// A stream up to the features, without or with TLS.
fn stranger(world: &World, server: &Server, secured: bool) -> Result<Conversation> {
    match secured {
        true => Call::secured(server.s2s, &server.domain, &world.client),
        false => Call::begun(server.s2s, &server.domain),
    }
}

fn note(work: &mut Work, case: &str, kind: Kind, before: u64, after: u64, number: usize) {
    let each = after.saturating_sub(before) as f64 / number as f64;
    work.note(case, kind.name(), "kib", each);
    work.note(case, kind.name(), "total_mib", after as f64 / 1024.0);
    println!(
        "{case:<24} {:<18} {each:7.2} KiB each, {:6.1} MiB in all",
        kind.name(),
        after as f64 / 1024.0
    );
}

/// The memory once the server has come to rest.
fn settled(server: &Server) -> u64 {
    let mut last = server.family.resident_kib();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(500));
        let next = server.family.resident_kib();
        if next.abs_diff(last) <= last / 200 {
            return next;
        }
        last = next;
    }
    last
}

/// Links of the peers with these numbers.
pub(super) fn open(
    world: &World,
    server: &Server,
    peers: Range<usize>,
    direct_tls: bool,
) -> Result<Vec<Standing>> {
    let address = match direct_tls {
        true => server.s2s_tls.context("it has no port for direct TLS")?,
        false => server.s2s,
    };
    in_parallel(peers, |number| {
        Call {
            server: address,
            direct_tls,
            from: &peer(number),
            to: &server.domain,
            tls: &world.client,
            proof: server.kind.proof(),
            bidi: true,
            management: server.kind.is_managed(),
        }
        .make()
    })
}

/// Some at a time.
fn in_parallel<T: Send>(
    numbers: Range<usize>,
    make: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let make = &make;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|first| {
                let own = numbers.clone().skip(first).step_by(AT_ONCE);
                scope.spawn(move || own.map(make).collect::<Result<Vec<T>>>())
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(
                thread
                    .join()
                    .map_err(|_| anyhow!("a thread of the load has panicked"))??,
            );
        }
        Ok(all)
    })
}

const AT_ONCE: usize = 8;
