//! Judges what happened: from the system's socket table, from both engines' counts, from what crossed.
//!
//! Three witnesses, because each alone could be wrong in the way that matters.

use std::fmt::Write as _;

use verona::status::Link;

use super::Auth;
use super::sockets::{self, Connection};
use super::transcript::{Counted, Ends};
use super::world::World;
use crate::admin::aligned;

/// What was found.
pub(super) struct Verdict {
    /// Every TCP connection between the two.
    pub(super) table: String,
    /// Why the claims do not hold; empty when they do.
    pub(super) reasons: Vec<String>,
    /// The connection that carried everything.
    evidence: Option<Evidence>,
}

struct Evidence {
    connection: Connection,
    to_montague: u64,
    to_capulet: u64,
    verifications: usize,
}

/// Asks all witnesses.
pub(super) fn judge(auth: Auth, world: &World, counted: &[Counted]) -> Verdict {
    let mut reasons = Vec::new();
    let established = sockets::between(world.addresses()).unwrap_or_else(|error| {
        reasons.push(format!(
            "the system's table of sockets cannot be read: {error}"
        ));
        Vec::new()
    });
    let ours = world.capulet.engine.handle().links();
    let theirs = world.montague.engine.handle().links();
    let table = table(&established, counted, &ours);
    for connection in &established {
        if !counted
            .iter()
            .any(|counted| counted.ends == connection.ends)
        {
            reasons.push(format!(
                "nothing is known of the connection {}",
                shown(connection.ends)
            ));
        }
    }
    let evidence = one_connection(&established, counted, &mut reasons);
    if let Some(evidence) = &evidence {
        agree(evidence, &ours, &theirs, &mut reasons);
    }
    verifications(auth, counted, &mut reasons);
    Verdict {
        table,
        reasons,
        evidence,
    }
}

/// Exactly one connection carried stanzas, in both directions, and it is still there.
fn one_connection(
    established: &[Connection],
    counted: &[Counted],
    reasons: &mut Vec<String>,
) -> Option<Evidence> {
    let carrying: Vec<&Counted> = counted
        .iter()
        .filter(|counted| stanzas(counted) > 0)
        .collect();
    let [only] = carrying.as_slice() else {
        reasons.push(format!(
            "{} connections carried stanzas, not one",
            carrying.len()
        ));
        return None;
    };
    if !only.by_capulet {
        reasons.push("the connection that carried stanzas was opened by S, not by C".to_owned());
    }
    if only.to_montague == 0 || only.to_capulet == 0 {
        reasons.push(format!(
            "{} carried stanzas in one direction alone",
            shown(only.ends)
        ));
    }
    let Some(connection) = established
        .iter()
        .find(|connection| connection.ends == only.ends)
    else {
        reasons.push(format!(
            "{} is not established according to the system",
            shown(only.ends)
        ));
        return None;
    };
    Some(Evidence {
        connection: connection.clone(),
        to_montague: only.to_montague,
        to_capulet: only.to_capulet,
        verifications: counted.iter().filter(|counted| counted.verifies).count(),
    })
}

/// Both engines counted on that connection what crossed it, and on no other connection anything.
fn agree(evidence: &Evidence, ours: &[Link], theirs: &[Link], reasons: &mut Vec<String>) {
    let ends = evidence.connection.ends;
    for (name, links, out, into) in [
        ("C", ours, evidence.to_montague, evidence.to_capulet),
        ("S", theirs, evidence.to_capulet, evidence.to_montague),
    ] {
        let Some(link) = links.iter().find(|link| ends_of(link) == ends) else {
            reasons.push(format!(
                "{name} does not list the connection {}",
                shown(ends)
            ));
            continue;
        };
        if (link.stanzas_out, link.stanzas_in) != (out, into) {
            reasons.push(format!(
                "{name} counts {} stanzas out and {} in on {}, but {out} and {into} crossed it",
                link.stanzas_out,
                link.stanzas_in,
                shown(ends)
            ));
        }
        for other in links.iter().filter(|other| ends_of(other) != ends) {
            if other.stanzas_in + other.stanzas_out > 0 {
                reasons.push(format!(
                    "{name} counts stanzas on {} as well",
                    shown(ends_of(other))
                ));
            }
        }
    }
}

fn verifications(auth: Auth, counted: &[Counted], reasons: &mut Vec<String>) {
    //= DB-24
    //= BIDI-25
    for counted in counted.iter().filter(|counted| counted.verifies) {
        if counted.is_main {
            reasons.push("a key was verified on the connection that it was for".to_owned());
        }
        if stanzas(counted) > 0 {
            reasons.push(format!(
                "{} verified a key and carried stanzas",
                shown(counted.ends)
            ));
        }
    }
    let seen = counted.iter().any(|counted| counted.verifies);
    match auth {
        Auth::External if seen => {
            reasons.push("certificates were to prove, yet a key was verified".to_owned())
        }
        Auth::Dialback if !seen => {
            reasons.push("no key was verified on another connection".to_owned())
        }
        Auth::External | Auth::Dialback => {}
    }
}

impl Verdict {
    /// What was shown, in two or three sentences.
    pub(super) fn conclusion(&self, auth: Auth) -> String {
        let Some(evidence) = &self.evidence else {
            return String::new();
        };
        let mut text = format!(
            "\nChecked in the system's socket table and by counting on both servers: one TCP connection, {} (sockets {} \
             and {}), carried {} from C to S and {} from S to C.\n",
            shown(evidence.connection.ends),
            evidence.connection.client_inode,
            evidence.connection.server_inode,
            in_words(evidence.to_montague),
            in_words(evidence.to_capulet)
        );
        match auth {
            Auth::External => text.push_str("No other connection was needed.\n"),
            Auth::Dialback => {
                let _ = writeln!(
                    text,
                    "The {} connections that verified keys carried none.",
                    evidence.verifications
                );
            }
        }
        text
    }
}

/// Every connection that was seen or is established.
fn table(established: &[Connection], counted: &[Counted], links: &[Link]) -> String {
    let head = [
        "CONNECTION",
        "OPENED BY",
        "STATE",
        "TLS",
        "FOR",
        "STANZAS C → S",
        "C ← S",
        "BYTES C → S",
        "C ← S",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for counted in counted {
        let is_established = established
            .iter()
            .any(|connection| connection.ends == counted.ends);
        let link = links.iter().find(|link| ends_of(link) == counted.ends);
        let bytes =
            |of: fn(&Link) -> u64| link.map_or_else(|| "-".to_owned(), |link| of(link).to_string());
        let purpose = match (counted.verifies, stanzas(counted) > 0) {
            (true, false) => "verification",
            (false, true) => "stanzas",
            (true, true) => "both",
            (false, false) => "nothing",
        };
        rows.push(vec![
            shown(counted.ends),
            if counted.by_capulet { "C" } else { "S" }.to_owned(),
            if is_established {
                "established"
            } else {
                "closed"
            }
            .to_owned(),
            link.and_then(|link| link.tls.as_ref())
                .map_or_else(|| "-".to_owned(), |tls| tls.version.clone()),
            purpose.to_owned(),
            counted.to_montague.to_string(),
            counted.to_capulet.to_string(),
            bytes(|link| link.bytes_out),
            bytes(|link| link.bytes_in),
        ]);
    }
    format!(
        "\nTCP connections between the two servers when the play was over:\n{}",
        aligned(&rows).concat()
    )
}

fn in_words(stanzas: u64) -> String {
    let plural = if stanzas == 1 { "" } else { "s" };
    format!("{stanzas} stanza{plural}")
}

fn stanzas(counted: &Counted) -> u64 {
    counted.to_montague.saturating_add(counted.to_capulet)
}

fn ends_of(link: &Link) -> Ends {
    match link.role {
        verona::status::LinkRole::Initiating => Ends {
            client: link.local_address,
            server: link.peer_address,
        },
        verona::status::LinkRole::Receiving => Ends {
            client: link.peer_address,
            server: link.local_address,
        },
    }
}

fn shown(ends: Ends) -> String {
    format!("{} → {}", ends.client, ends.server)
}
