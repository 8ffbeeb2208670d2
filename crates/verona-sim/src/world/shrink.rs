//! A failing plan made shorter: whatever is not needed for the failure is left out.

use verona_proto::policy::{ManagementPolicy, Multiplex, OnUncertain};

use super::plan::{Action, LinkPlan, Plan, ProofPlan};
use super::play::play;

/// The shortest plan found that still fails, and how it fails.
#[must_use]
pub fn shrink(plan: &Plan) -> (Plan, String) {
    let Some(mut failure) = play(plan).failure else {
        return (plan.clone(), "does not fail".into());
    };
    let mut best = plan.clone();
    loop {
        let before = size(&best);
        leave_out(&mut best, &mut failure);
        for simpler in simpler(&best) {
            attempt(&mut best, &mut failure, simpler);
        }
        if size(&best) == before {
            return (best, failure);
        }
    }
}

/// Takes lines away: many at once first, then fewer.
fn leave_out(best: &mut Plan, failure: &mut String) {
    let mut chunk = best.actions.len().max(1);
    while chunk > 0 {
        let mut at = 0;
        while at < best.actions.len() {
            let mut shorter = best.clone();
            let end = (at + chunk).min(shorter.actions.len());
            shorter.actions.drain(at..end);
            if !attempt(best, failure, shorter) {
                at += chunk;
            }
        }
        chunk /= 2;
    }
}

fn attempt(best: &mut Plan, failure: &mut String, candidate: Plan) -> bool {
    match play(&candidate).failure {
        // Another failure is another story.
        Some(text) if kind(&text) == kind(failure) => {
            *best = candidate;
            *failure = text;
            true
        }
        Some(_) | None => false,
    }
}

/// What a failure is about, whatever it names.
fn kind(text: &str) -> String {
    let plain = text.split_whitespace().filter(|word| {
        let letters = |c: char| c.is_ascii_lowercase() || c == ':' || c == ',';
        word.chars().all(letters)
    });
    plain.collect::<Vec<_>>().join(" ")
}

/// The same plan with one thing less special about it.
fn simpler(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut changed = plan.clone();
        change(&mut changed);
        if changed != *plan {
            all.push(changed);
        }
    };
    for index in 0..plan.servers.len() {
        with(&|plan| plan.servers[index].limits.clear());
        with(&|plan| plan.servers[index].proof = ProofPlan::Certificate);
        with(&|plan| plan.servers[index].bidi = true);
        with(&|plan| plan.servers[index].multiplex = Multiplex::Auto);
        with(&|plan| plan.servers[index].on_uncertain = OnUncertain::Bounce);
        with(&|plan| plan.servers[index].management = ManagementPolicy::Auto);
        with(&|plan| plan.servers[index].direct_tls = false);
    }
    for index in 0..plan.links.len() {
        with(&|plan| plan.links[index].2 = LinkPlan::default());
        with(&|plan| plan.links[index].2.jitter = 0);
        with(&|plan| plan.links[index].2.room = LinkPlan::default().room);
    }
    for index in 0..plan.actions.len() {
        with(&|plan| {
            if let Action::Send { count, .. } = &mut plan.actions[index].1 {
                *count = (*count / 2).max(1);
            }
        });
        with(&|plan| {
            if let Action::Send { size, .. } = &mut plan.actions[index].1 {
                *size = 0;
            }
        });
    }
    if let Some(last) = unused(plan) {
        with(&|plan| {
            plan.servers.remove(last);
            plan.links.retain(|(a, b, _)| *a != last && *b != last);
        });
    }
    all
}

/// The last server, if nothing names it or a domain of it.
fn unused(plan: &Plan) -> Option<usize> {
    let last = plan
        .servers
        .len()
        .checked_sub(1)
        .filter(|last| *last >= 2)?;
    let first = plan.domains().position(|(server, _)| server == last)?;
    let named = |action: &Action| match *action {
        Action::Attach { domain }
        | Action::Detach { domain, .. }
        | Action::Stall { domain, .. } => domain >= first,
        Action::Send { from, to, .. } => from >= first || to >= first,
        Action::Crash { server, .. }
        | Action::Restart { server }
        | Action::Shutdown { server }
        | Action::Panic { server }
        | Action::Freeze { server, .. }
        | Action::Refuse { server, .. } => server == last,
        Action::Cut { from, to, .. } | Action::Hole { from, to, .. } => from == last || to == last,
        Action::Dns { domain, says, .. } => {
            domain >= first || says == super::plan::DnsAnswer::Elsewhere(last)
        }
    };
    (!plan.actions.iter().any(|(_, action)| named(action))).then_some(last)
}

/// How much there is to read in a plan.
fn size(plan: &Plan) -> (usize, usize, usize) {
    let stanzas: u32 = plan
        .actions
        .iter()
        .map(|(_, action)| match action {
            Action::Send { count, .. } => *count,
            _ => 0,
        })
        .sum();
    (
        plan.actions.len(),
        usize::try_from(stanzas).unwrap_or(usize::MAX),
        super::text::print(plan).len(),
    )
}
