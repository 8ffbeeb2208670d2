//! Work (e): complete link set-ups, TLS 1.3 with both certificates, proof and bidi, for the accepting server.
//! Why the links stay open while it is measured: what it costs to close them is another question.

use anyhow::{Context, Result};

use super::Terms;
use super::idle::open;
use crate::results::Work;
use crate::world::{Kind, Server, Tuning, World};

/// Runs it.
pub(crate) fn run(terms: &Terms) -> Result<Work> {
    let mut work = terms.begin();
    // jabberd2 knows no proof but dialback, for which it connects itself.
    let kinds = terms.kinds(|kind| !kind.is_bare() && kind != Kind::Jabberd2)?;
    let world = World::set(&terms.dir, 1)?;
    let servers = kinds
        .iter()
        .map(|kind| Server::start(&world, *kind, &terms.verona, &Tuning::default()))
        .collect::<Result<Vec<_>>>()?;
    // Some know no domain that nobody serves.
    let _components = servers
        .iter()
        .map(Server::component)
        .collect::<Result<Vec<_>>>()?;
    for round in 0..terms.rounds {
        for server in &servers {
            for direct_tls in [false, true] {
                if direct_tls && server.s2s_tls.is_none() {
                    continue;
                }
                one(&world, server, round, direct_tls, terms, &mut work)
                    .with_context(|| format!("links with {}", server.kind.name()))?;
            }
        }
    }
    Ok(work)
}

fn one(
    world: &World,
    server: &Server,
    round: usize,
    direct_tls: bool,
    terms: &Terms,
    work: &mut Work,
) -> Result<()> {
    let number = match (server.kind.is_verona(), terms.is_quick) {
        (true, false) => 2_000,
        (true, true) => 800,
        (false, false) => 500,
        (false, true) => 200,
    };
    // Other peers each time: nobody is known already.
    let first = (2 * round + usize::from(direct_tls)) * number;
    let before = server.family.cpu()?;
    let start = std::time::Instant::now();
    let links = open(world, server, first..first + number, direct_tls)?;
    let took = start.elapsed();
    let spent = server.family.cpu()?.saturating_sub(before);
    drop(links);
    let case = match direct_tls {
        true => "direct-tls",
        false => "starttls",
    };
    let each = spent.as_secs_f64() * 1000.0 / number as f64;
    let rate = number as f64 / spent.as_secs_f64();
    work.note(case, server.kind.name(), "ms", each);
    work.note(case, server.kind.name(), "per_cpu_second", rate);
    println!(
        "{case:<12} {:<18} {each:6.3} ms of CPU each, {rate:6.0} for one second of CPU, {:6.0} a second",
        server.kind.name(),
        number as f64 / took.as_secs_f64()
    );
    Ok(())
}
