//! The report of a soak: a table of what became of everything, and what is not as it has to be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::faults::{Event, Kind, ServerFault, Track};
use super::ledger::{Account, Way};
use super::world::{Link, Peer};

/// A row for each way.
pub(super) fn table(accounts: &[(Way, Account)]) -> String {
    let mut text = format!(
        "{:<32} {:>8} {:>9} {:>8} {:>6} {:>6} {:>7} {:>7} {:>6} {:>5} {:>5} {:>7} {:>7}\n",
        "",
        "sent",
        "delivered",
        "bounced",
        "both",
        "acked",
        "unread",
        "socket",
        "twice",
        "order",
        "other",
        "no-res",
        "unknown"
    );
    for (way, account) in accounts {
        let _ = writeln!(
            text,
            "{:<32} {:>8} {:>9} {:>8} {:>6} {:>6} {:>7} {:>7} {:>6} {:>5} {:>5} {:>7} {:>7}",
            way.title(),
            account.sent,
            account.delivered,
            account.bounced,
            account.both.len(),
            account.acknowledged,
            account.unaccepted,
            account.in_killed_sockets,
            account.duplicates,
            account.inversions,
            account.changed,
            account.unanswered,
            account.unknown.len()
        );
    }
    text.push_str(
        "  both: arrived, and its sender got an error too · acked: acknowledged by the peer, which lost it · unread: its \
         sender's connection\n  ended before its server had read it · socket: went with a killed component's socket · \
         twice: arrived again · order: overtook\n  an earlier one of its sender · other: with another content · no-res: \
         IQs that arrived and whose answer did not\n",
    );
    for (way, account) in accounts {
        if !account.conditions.is_empty() {
            let conditions: Vec<String> = account
                .conditions
                .iter()
                .map(|(condition, count)| format!("{condition} {count}"))
                .collect();
            let _ = writeln!(text, "bounced, {}: {}", way.title(), conditions.join(", "));
        }
    }
    text
}

/// How often each thing was done.
pub(super) fn faults(events: &[Event]) -> String {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    for event in events {
        *counts.entry(event.kind).or_default() += 1;
    }
    let all: Vec<String> = counts
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    format!("faults: {}", all.join(", "))
}

/// Every fault with its time.
pub(super) fn story(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let _ = writeln!(
            text,
            "{:>8.2} to {:>8.2} s  {:?} {} {}",
            event.from.as_secs_f32(),
            event.until.as_secs_f32(),
            event.track,
            event.kind,
            event.what
        );
    }
    text
}

/// What has to be true, and is not.
pub(super) fn problems(accounts: &[(Way, Account)], events: &[Event]) -> Vec<String> {
    let mut problems = Vec::new();
    let kills = events
        .iter()
        .filter(|event| {
            event.kind == Kind::Veronas(ServerFault::KillComponent) && event.what.ends_with("Reset")
        })
        .count();
    for (way, account) in accounts {
        let mut nothing = |count: usize, what: &str| {
            if count > 0 {
                problems.push(format!("{}: {count} {what}", way.title()));
            }
        };
        nothing(account.changed, "stanzas arrived with another content");
        nothing(account.duplicates, "stanzas arrived twice");
        match way {
            Way::Veronas => {
                nothing(account.inversions, "stanzas were overtaken");
                nothing(
                    account.both.len(),
                    "stanzas arrived and were returned as well",
                );
                nothing(account.unknown.len(), "stanzas were lost");
                nothing(account.acknowledged, "stanzas were acknowledged and lost");
            }
            Way::ToAcking => nothing(account.unknown.len(), "stanzas were lost"),
            // Those that verona acknowledged and lost; what a killed Prosody had is gone with it.
            Way::FromAcking => nothing(account.acknowledged, "stanzas were acknowledged and lost"),
            Way::ToPlain => {
                let stray = account
                    .unknown
                    .iter()
                    .filter(|stanza| !was_under_way(stanza.sent_at, events))
                    .count();
                nothing(stray, "stanzas were lost while nothing was wrong");
            }
            Way::FromPlain => {}
        }
        let most = kills * IN_SOCKETS_PER_KILL;
        if account.in_killed_sockets > most {
            let count = account.in_killed_sockets;
            problems.push(format!(
                "{}: {count} stanzas went with sockets of {kills} killed components",
                way.title()
            ));
        }
        let (lost, both) = match way {
            Way::Veronas => (&account.unknown[..], &account.both[..]),
            Way::ToAcking => (&account.unknown[..], &[][..]),
            Way::FromAcking | Way::ToPlain | Way::FromPlain => (&[][..], &[][..]),
        };
        for (word, stanzas) in [("lost", lost), ("both", both)] {
            for stanza in stanzas.iter().take(SHOWN_MAX) {
                problems.push(format!("  {word}: {}", stanza.name));
            }
        }
    }
    problems
}

/// Whether something was wrong between verona and the Prosody without acknowledgements when a stanza was sent.
fn was_under_way(sent_at: Duration, events: &[Event]) -> bool {
    events.iter().any(|event| {
        let concerns = matches!(
            event.track,
            Track::Link(Link::Plain) | Track::Prosody(Peer::Plain) | Track::Veronas
        );
        concerns && event.from.saturating_sub(MARGIN) <= sent_at && sent_at <= event.until + MARGIN
    })
}

/// The component had read everything a moment before.
const IN_SOCKETS_PER_KILL: usize = 2;
const SHOWN_MAX: usize = 10;
/// A stanza is on its way for no longer when nothing is wrong, and a queue is empty again so soon.
const MARGIN: Duration = Duration::from_secs(2);
