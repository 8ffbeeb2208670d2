//! A plan by chance: every seed is another one, and always the same.

use verona_proto::policy::{ManagementPolicy, Multiplex, OnUncertain};
use verona_proto::stanza::StanzaKind;

use super::chance::Chance;
use super::clock::Moment;
use super::plan::{
    Action, Crash, DnsAnswer, Heard, LinkPlan, Parting, Plan, ProofPlan, ServerPlan, Which,
};

/// The plan of a seed.
#[must_use]
pub fn generate(seed: u64) -> Plan {
    let mut chance = Chance::new(seed, 0);
    let count = [2, 2, 2, 2, 2, 3, 3, 4][chance.index(8)];
    let tiny = chance.percent(25);
    let servers: Vec<ServerPlan> = (0..count)
        .map(|index| server(index, tiny, &mut chance))
        .collect();
    let mut links = Vec::new();
    for a in 0..count {
        for b in a + 1..count {
            links.push((a, b, link(&mut chance)));
        }
    }
    let mut plan = Plan {
        seed,
        servers,
        links,
        actions: Vec::new(),
        expectations: Vec::new(),
    };
    let span = chance.between(1, 30) * 1_000_000;
    attach(&mut plan, span, &mut chance);
    send(&mut plan, span, &mut chance);
    disturb(&mut plan, span, &mut chance);
    plan.actions.sort_by_key(|(at, _)| *at);
    plan
}

fn server(index: usize, tiny: bool, chance: &mut Chance) -> ServerPlan {
    let name = ["a", "b", "c", "d"][index];
    let all = [
        format!("{name}.lit"),
        format!("chat.{name}.lit"),
        format!("bot.{name}.lit"),
    ];
    let hosts = all[..[1, 1, 2, 2, 3][chance.index(5)]].to_vec();
    let mut limits = Vec::new();
    if tiny {
        for (name, value) in [
            ("outbox_stanzas_max", chance.between(2, 6)),
            ("component_backlog_stanzas_max", chance.between(2, 8)),
            ("unacknowledged_stanzas_max", chance.between(2, 5)),
        ] {
            limits.push((name.to_owned(), value));
        }
        if chance.percent(20) {
            limits.push(("pairs_per_stream_max".to_owned(), chance.between(1, 2)));
        }
        if chance.percent(20) {
            limits.push((
                "outboxes_bytes_max".to_owned(),
                chance.between(4_000, 40_000),
            ));
        }
        if chance.percent(20) {
            limits.push(("pairs_max".to_owned(), chance.between(1, 3)));
        }
    }
    ServerPlan {
        name: name.to_owned(),
        hosts,
        proof: match chance.below(10) {
            0..=5 => ProofPlan::Certificate,
            6 => ProofPlan::Expiring(chance.between(5, 40)),
            _ => ProofPlan::Dialback,
        },
        bidi: chance.percent(75),
        multiplex: chance.pick(&[
            Multiplex::Auto,
            Multiplex::Auto,
            Multiplex::On,
            Multiplex::Off,
        ]),
        on_uncertain: match chance.percent(70) {
            true => OnUncertain::Bounce,
            false => OnUncertain::Resend,
        },
        management: match chance.below(10) {
            0 => ManagementPolicy::Off,
            1 => ManagementPolicy::Acknowledgements,
            _ => ManagementPolicy::Auto,
        },
        direct_tls: chance.percent(25),
        limits,
    }
}

fn link(chance: &mut Chance) -> LinkPlan {
    let latency = chance.pick(&[50, 500, 5_000, 20_000, 80_000, 200_000]);
    LinkPlan {
        latency,
        jitter: match chance.percent(50) {
            true => 0,
            false => chance.between(0, latency),
        },
        room: chance.pick(&[300, 1_500, 8_000, 64_000]),
    }
}

fn attach(plan: &mut Plan, span: Moment, chance: &mut Chance) {
    for domain in 0..plan.domains().count() {
        let at = match chance.below(10) {
            0..=7 => 0,
            8 => chance.below(span),
            // Nobody serves it.
            _ => continue,
        };
        plan.actions.push((at, Action::Attach { domain }));
    }
}

fn send(plan: &mut Plan, span: Moment, chance: &mut Chance) {
    let owners: Vec<usize> = plan.domains().map(|(server, _)| server).collect();
    let bursts = chance.between(2, 14);
    for _ in 0..bursts {
        let from = chance.index(owners.len());
        let to = chance.index(owners.len());
        // Most go to another server.
        if from == to || owners[from] == owners[to] && !chance.percent(10) {
            continue;
        }
        let at = match chance.percent(40) {
            // Together with others, so that both sides dial at once.
            true => chance.below(4) * span / 4 + chance.below(50_000),
            false => chance.below(span),
        };
        let send = |chance: &mut Chance, from, to| Action::Send {
            from,
            to,
            kind: chance.pick(&[
                StanzaKind::Message,
                StanzaKind::Message,
                StanzaKind::Presence,
                StanzaKind::Iq,
            ]),
            count: u32::try_from(chance.pick(&[1, 1, 2, 3, 5, 8, 15])).unwrap_or(1),
            size: usize::try_from(chance.pick(&[0, 20, 200, 1_500])).unwrap_or(0),
        };
        let action = send(chance, from, to);
        plan.actions.push((at, action));
        if chance.percent(40) {
            let action = send(chance, to, from);
            plan.actions.push((at + chance.below(100_000), action));
        }
    }
}

fn disturb(plan: &mut Plan, span: Moment, chance: &mut Chance) {
    if chance.percent(10) {
        return;
    }
    let busy: Vec<Moment> = plan
        .actions
        .iter()
        .filter(|(_, action)| matches!(action, Action::Send { .. }))
        .map(|(at, _)| *at)
        .collect();
    let faults = chance.between(1, 6);
    for _ in 0..faults {
        let at = match busy.is_empty() || chance.percent(35) {
            true => chance.below(span + 2_000_000),
            // While something is on its way, or a connection for it begins.
            false => {
                let soon = chance.pick(&[1_000, 20_000, 200_000, 2_000_000]);
                chance.pick(&busy) + chance.below(soon)
            }
        };
        let action = fault(plan, chance);
        if let Action::Crash { server, .. } = action {
            let back = at + chance.between(0, 10_000_000);
            plan.actions.push((back, Action::Restart { server }));
        }
        if let Action::Detach { domain, .. } = action
            && chance.percent(70)
        {
            let back = at + chance.between(0, 5_000_000);
            plan.actions.push((back, Action::Attach { domain }));
        }
        if let Action::Hole { from, to, span } = action
            && chance.percent(60)
        {
            let back = Action::Hole {
                from: to,
                to: from,
                span,
            };
            plan.actions.push((at, back));
        }
        plan.actions.push((at, action));
    }
}

fn fault(plan: &Plan, chance: &mut Chance) -> Action {
    let count = plan.servers.len();
    let domains = plan.domains().count();
    let server = chance.index(count);
    let other = (server + 1 + chance.index(count - 1)) % count;
    let domain = chance.index(domains);
    let long = match chance.percent(25) {
        true => chance.between(20_000_000, 60_000_000),
        false => chance.between(50_000, 12_000_000),
    };
    match chance.below(20) {
        0..=6 => Action::Cut {
            from: server,
            to: other,
            which: chance.pick(&[Which::First, Which::Last, Which::Every]),
            after: usize::try_from(match chance.percent(30) {
                true => 0,
                false => chance.pick(&[100, 1_000, 4_000]) / 2 + chance.below(1_000),
            })
            .unwrap_or(0),
            heard: chance.pick(&[Heard::Both, Heard::Both, Heard::First, Heard::Neither]),
        },
        7 | 8 => Action::Hole {
            from: server,
            to: other,
            span: long,
        },
        9 | 10 => Action::Crash {
            server,
            how: chance.pick(&[Crash::Killed, Crash::PowerLoss]),
        },
        11 => Action::Shutdown { server },
        12 => Action::Panic { server },
        13 => Action::Freeze { server, span: long },
        14 => Action::Stall { domain, span: long },
        15 | 16 => Action::Detach {
            domain,
            how: chance.pick(&[Parting::Politely, Parting::Killed]),
        },
        17 => Action::Refuse { server, span: long },
        _ => Action::Dns {
            domain,
            says: match chance.below(5) {
                0 => DnsAnswer::Failure,
                1 => DnsAnswer::Nothing,
                2 => DnsAnswer::DeadAddress,
                3 => DnsAnswer::DeadAddressFirst,
                _ => DnsAnswer::Elsewhere(server),
            },
            span: long,
        },
    }
}
