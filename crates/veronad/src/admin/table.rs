//! Tables for people.
//!
//! Columns are as wide as what stands in them: addresses of IPv6 and of IPv4 differ by thirty characters.

use std::fmt::Write as _;

use crate::json::{Component, Link, Pair, Peer, Queue, Status};
use crate::output::printable;

/// The links, each with its pairs below it.
pub(super) fn links(links: &[Link]) -> String {
    if links.is_empty() {
        return "no live connection\n".to_owned();
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(links.iter().map(row));
    let lines = aligned(&rows);
    let mut lines = lines.into_iter();
    let mut out = lines.next().unwrap_or_default();
    for (line, link) in lines.zip(links) {
        out.push_str(&line);
        for pair in &link.pairs {
            out.push_str(&self::pair(pair));
        }
    }
    out
}

const HEAD: [&str; 10] = [
    "ID",
    "ROLE",
    "PEER",
    "TRANSPORT",
    "BIDI",
    "IN",
    "OUT",
    "UNACK",
    "RTT",
    "SINCE",
];

fn row(link: &Link) -> Vec<String> {
    let transport = match &link.tls {
        Some(tls) => format!("{} {}", link.transport, tls.version),
        None => link.transport.clone(),
    };
    vec![
        link.id.to_string(),
        link.role.clone(),
        link.peer_address.to_string(),
        transport,
        if link.bidi { "yes" } else { "no" }.to_owned(),
        link.stanzas_in.to_string(),
        link.stanzas_out.to_string(),
        link.unacknowledged.to_string(),
        link.rtt_ms
            .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms")),
        link.since.clone(),
    ]
}

fn pair(pair: &Pair) -> String {
    let (arrow, grounds) = match (&pair.send, &pair.receive) {
        (Some(send), Some(receive)) => (
            "↔",
            format!(
                "sends by {}, receives by {}",
                send.sentence(),
                receive.sentence()
            ),
        ),
        (Some(send), None) => ("→", format!("sends by {}", send.sentence())),
        (None, Some(receive)) => ("←", format!("receives by {}", receive.sentence())),
        (None, None) => ("·", "neither way yet".to_owned()),
    };
    format!("  {} {arrow} {}: {grounds}\n", pair.local, pair.remote)
}

/// The peers, each with what is known of it below it.
pub(super) fn peers(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "nothing is known of any peer yet\n".to_owned();
    }
    let rows: Vec<Vec<String>> = peers
        .iter()
        .flat_map(|peer| &peer.learned)
        .map(|lesson| {
            vec![
                lesson.topic.clone(),
                lesson.outcome.clone(),
                printable(&lesson.text),
                format!("since {}, until {}", lesson.since, lesson.until),
            ]
        })
        .collect();
    let mut lessons = aligned(&rows).into_iter();
    let mut out = String::new();
    for peer in peers {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}  {}", peer.domain, standing(peer));
        for line in lessons.by_ref().take(peer.learned.len()) {
            let _ = write!(out, "  {line}");
        }
        if peer.ignored && !peer.learned.is_empty() {
            out.push_str("  none of this is used: the configuration says `learned = \"ignore\"`\n");
        }
        if peer.early_deaths > 0 {
            let _ = writeln!(
                out,
                "  connections that died soon after they had begun to serve, in a row: {}",
                peer.early_deaths
            );
        }
        for proof in &peer.proven {
            let _ = writeln!(
                out,
                "  proved itself by {} {}, and is held to that until {}",
                proof.by, proof.since, proof.until
            );
        }
        if let Some(failure) = &peer.failure {
            let _ = writeln!(
                out,
                "  last failure {}, at the step {}: {}",
                failure.since,
                failure.phase,
                printable(&failure.cause)
            );
            let _ = match &failure.reached {
                Some(reached) => writeln!(out, "    reached again {reached}"),
                None => writeln!(out, "    {}", failure.advice),
            };
        }
    }
    out
}

/// How it stands with a peer now.
fn standing(peer: &Peer) -> String {
    let lasts = peer
        .failure
        .as_ref()
        .is_some_and(|failure| failure.reached.is_none());
    match (peer.links.as_slice(), &peer.next_attempt) {
        ([link], _) => format!("connected (link {link})"),
        ([_, _, ..], _) => {
            let ids: Vec<String> = peer.links.iter().map(ToString::to_string).collect();
            format!("connected (links {})", ids.join(", "))
        }
        ([], Some(next)) => format!("not reachable, next attempt not before {next}"),
        ([], None) if lasts => "not reachable, next attempt with the next stanza".to_owned(),
        ([], None) => "not connected".to_owned(),
    }
}

/// The daemon in a few lines.
pub(super) fn status(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "verona {} runs since {}", status.verona, status.since);
    let _ = writeln!(out, "domains:     {}", listed(&status.domains));
    let _ = writeln!(out, "servers:     {}", listed(&status.s2s));
    let _ = writeln!(out, "components:  {}", listed(&status.components));
    let first = status.certificates.iter().min_by_key(|own| &own.expires);
    let _ = match first {
        Some(own) => writeln!(
            out,
            "certificates: {}, the first to expire is that of {} on {}",
            status.certificates.len(),
            own.domain,
            own.expires.get(..10).unwrap_or(&own.expires)
        ),
        None => writeln!(out, "certificates: none"),
    };
    for problem in status.certificate_problems.iter().take(PROBLEMS_SHOWN_MAX) {
        let _ = writeln!(out, "  {}", printable(problem));
    }
    if let Some(journal) = &status.journal {
        let _ = writeln!(
            out,
            "journal:     {} messages ({} bytes) under way, {} recovered at the start, {} put aside, {} refused",
            journal.entries, journal.bytes, journal.recovered, journal.set_aside, journal.refused
        );
        if let Some(failure) = &journal.failure {
            let _ = writeln!(
                out,
                "  {} cannot be written, so messages of its domains are refused: {}",
                printable(&journal.file),
                printable(failure)
            );
        }
    }
    let _ = writeln!(
        out,
        "links:       {}, {} stanzas in, {} out",
        status.links, status.stanzas_in, status.stanzas_out
    );
    if let Some(managed) = &status.stream_management {
        let _ = writeln!(
            out,
            "acknowledged: {} stanzas by peers that do, {} are not yet; streams lost with stanzas on their way: {}, {} taken \
             up again, {} let go, {} wait",
            managed.acknowledged,
            managed.unacknowledged,
            managed.lost,
            managed.taken_up,
            managed.let_go,
            managed.suspended
        );
    }
    out
}

/// The components, one a line.
pub(super) fn components(components: &[Component]) -> String {
    if components.is_empty() {
        return "no domain has a component\n".to_owned();
    }
    let mut rows = vec![vec!["DOMAIN".to_owned(), "STATE".to_owned()]];
    rows.extend(components.iter().map(|component| {
        let state = if component.attached {
            "attached"
        } else {
            "absent"
        };
        vec![component.domain.clone(), state.to_owned()]
    }));
    aligned(&rows).concat()
}

/// The queues that hold something, the fullest first.
pub(super) fn queue(queues: &[Queue]) -> String {
    let mut full: Vec<&Queue> = queues.iter().filter(|queue| queue.bytes > 0).collect();
    if full.is_empty() {
        return "nothing waits\n".to_owned();
    }
    full.sort_by_key(|queue| std::cmp::Reverse(queue.stanzas));
    let head = ["FROM", "TO", "STANZAS", "BYTES", "OLDEST", "ROUTE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(full.into_iter().map(|queue| {
        let route = match (queue.link, &queue.next_attempt) {
            (Some(link), _) => format!("{} (link {link})", queue.route),
            (None, Some(next)) => format!("{}, next attempt not before {next}", queue.route),
            (None, None) => queue.route.clone(),
        };
        vec![
            queue.local.clone(),
            queue.remote.clone(),
            queue.stanzas.to_string(),
            queue.bytes.to_string(),
            queue
                .oldest_seconds
                .map_or_else(|| "-".to_owned(), |age| format!("{age:.1} s")),
            route,
        ]
    }));
    aligned(&rows).concat()
}

/// The others are in the JSON.
const PROBLEMS_SHOWN_MAX: usize = 10;

fn listed(items: &[String]) -> String {
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

/// One line per row, each cell as wide as the widest of its column.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    /// A peer in the document's own words.
    fn peer(document: serde_json::Value) -> Peer {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn every_standing_of_a_peer_has_words() {
        let lesson = json!({"topic": "bidi", "outcome": "hangs-up", "text": "it \u{1b}[31mhung up", "since": "S", "until": "U"});
        let long = json!({"topic": "requests", "outcome": "works", "text": "it announced that it copes", "since": "S", "until": "U"});
        let failure = |reached: Option<&str>| json!({"phase": "tls", "cause": "no", "advice": "mend it", "since": "S", "reached": reached});
        let shown = peers(&[
            peer(
                json!({"domain": "a.lit", "links": [1], "learned": [lesson], "ignored": true,
                        "early_deaths": 0, "failure": null, "next_attempt": null}),
            ),
            peer(
                json!({"domain": "b.lit", "links": [2, 5], "learned": [long], "ignored": false,
                        "early_deaths": 2, "failure": failure(Some("R")), "next_attempt": null}),
            ),
            peer(
                json!({"domain": "c.lit", "links": [], "learned": [], "ignored": true,
                        "early_deaths": 0, "failure": failure(None), "next_attempt": "N"}),
            ),
            peer(
                json!({"domain": "d.lit", "links": [], "learned": [], "ignored": false,
                        "early_deaths": 0, "failure": failure(None), "next_attempt": null}),
            ),
            peer(
                json!({"domain": "e.lit", "links": [], "learned": [], "ignored": false,
                        "early_deaths": 1, "failure": null, "next_attempt": null}),
            ),
        ]);
        let expected = "\
a.lit  connected (link 1)
  bidi      hangs-up  it \u{fffd}[31mhung up             since S, until U
  none of this is used: the configuration says `learned = \"ignore\"`
b.lit  connected (links 2, 5)
  requests  works     it announced that it copes  since S, until U
  connections that died soon after they had begun to serve, in a row: 2
  last failure S, at the step tls: no
    reached again R
c.lit  not reachable, next attempt not before N
  last failure S, at the step tls: no
    mend it
d.lit  not reachable, next attempt with the next stanza
  last failure S, at the step tls: no
    mend it
e.lit  not connected
  connections that died soon after they had begun to serve, in a row: 1
";
        assert_eq!(shown, expected);
        assert_eq!(peers(&[]), "nothing is known of any peer yet\n");
    }
}
