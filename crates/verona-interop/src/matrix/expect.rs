//! What has to come of each cell.
//! Why written down apart from what runs it: an expectation that is read off a run expects nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};

use super::play::{Flow, Link, Seen};
use super::world::Placed;
use super::{Asked, Bidi, Cell, Certificate, Dials, Kind, Peer};
use crate::sockets::{Account, Ends};
use crate::speaker::{self, MESSAGE_BYTES_MIN};

/// How a cell has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All messages come, both ways.
    Federates,
    /// None comes; what comes back to verona's side says why, in one of these words.
    Refused(&'static [&'static str]),
}

/// How this cell has to end.
#[must_use]
pub fn outcome(cell: &Cell) -> Outcome {
    match cell.asked {
        Asked::Either => Outcome::Federates,
        // verona believes no such peer, whoever dials.
        Asked::Certificate if !is_trusted(cell.theirs) => match cell.peer.kind() {
            // It refuses ours first when that is bad too.
            Kind::Prosody => Outcome::Refused(&["certificate"]),
            Kind::Verona | Kind::Ejabberd | Kind::Jabberd2 => {
                Outcome::Refused(&["the policy for this peer accepts nothing weaker"])
            }
        },
        Asked::Certificate if !is_trusted(cell.ours) => match cell.peer.kind() {
            Kind::Verona => Outcome::Refused(&["not-authorized"]),
            Kind::Prosody => Outcome::Refused(&["Your server's certificate is"]),
            // They cannot be told to ask for a certificate: dialback suffices for them.
            Kind::Ejabberd | Kind::Jabberd2 => Outcome::Federates,
        },
        Asked::Certificate => Outcome::Federates,
    }
}

/// How many connections may carry stanzas.
#[must_use]
pub const fn carriers(cell: &Cell) -> RangeInclusive<usize> {
    match (cell.peer.bidi(), cell.dials) {
        (Bidi::All, Dials::Verona | Dials::Peer) | (Bidi::Ours, Dials::Verona) => 1..=1,
        // Each may have begun to send on its own before it knew of the other, or before there was one for both ways.
        (Bidi::All, Dials::Both) | (Bidi::Ours, Dials::Peer | Dials::Both) => 1..=2,
        // One for each direction.
        (Bidi::None, Dials::Verona | Dials::Peer | Dials::Both) => 2..=2,
    }
}

/// Whether a connection may go both ways, or one way only.
#[must_use]
pub fn may_be(cell: &Cell, link: &Link) -> bool {
    match cell.peer.bidi() {
        Bidi::All => link.bidi,
        // On theirs it depends on whether verona has dialled before, and so knows them.
        Bidi::Ours => link.bidi || link.role == "receiving",
        Bidi::None => !link.bidi,
    }
}

/// What allows verona to send, and the peer to send, on a connection that verona opened, and on one that the peer
/// opened, as `verona links` says it.
#[must_use]
pub fn grounds(cell: &Cell, role: &str) -> (&'static str, &'static str) {
    let theirs = is_trusted(cell.theirs);
    if role == "initiating" {
        let send = if takes_external(cell.peer, cell.ours) {
            "sasl"
        } else {
            "dialback"
        };
        (send, if theirs { "certificate" } else { "dns" })
    } else {
        let receive = match (theirs, cell.peer.kind()) {
            // Its key is not asked about when its certificate is good (XEP-0344 has a word for that).
            (true, Kind::Jabberd2) => "certificate",
            (true, Kind::Verona | Kind::Prosody | Kind::Ejabberd) => "sasl",
            (false, _) => "dialback",
        };
        (if theirs { "certificate" } else { "dialback" }, receive)
    }
}

/// Whether the peer takes SASL EXTERNAL with such a certificate.
fn takes_external(peer: Peer, certificate: Certificate) -> bool {
    match (peer, certificate) {
        (_, Certificate::SelfSigned | Certificate::WrongName) | (Peer::Jabberd2, _) => false,
        // It wants the client purpose; later ones do not.
        (Peer::Ejabberd, Certificate::ServerOnly) => false,
        (_, Certificate::Full | Certificate::ServerOnly) => true,
    }
}

const fn is_trusted(certificate: Certificate) -> bool {
    match certificate {
        Certificate::Full | Certificate::ServerOnly => true,
        Certificate::SelfSigned | Certificate::WrongName => false,
    }
}

/// Judges what was seen. `order` is that in which a peer that keeps a wire log wrote its messages; without one it is
/// that in which it was given them.
///
/// # Errors
/// What is wrong.
pub fn judge(placed: &Placed, seen: &Seen, order: Option<&[usize]>) -> Result<()> {
    let cell = &placed.cell;
    for flow in [&seen.near_to_far, &seen.far_to_near] {
        ensure!(
            flow.surprises.is_empty(),
            "nobody sent this: {:?}",
            flow.surprises
        );
    }
    match outcome(cell) {
        Outcome::Federates => federates(cell, seen, order),
        Outcome::Refused(words) => refused(seen, words),
    }
}

fn federates(cell: &Cell, seen: &Seen, order: Option<&[usize]>) -> Result<()> {
    whole(&seen.near_to_far, None).context("verona's messages")?;
    whole(&seen.far_to_near, order).context("the peer's messages")?;
    let carrying: Vec<&Link> = seen
        .links
        .iter()
        .filter(|link| link.has_carried())
        .collect();
    let may = carriers(cell);
    ensure!(
        may.contains(&carrying.len()),
        "{} connections carried stanzas, not {may:?}: {carrying:?}",
        carrying.len()
    );
    for link in &carrying {
        let (send, receive) = grounds(cell, &link.role);
        ensure!(may_be(cell, link), "bidi is {}: {link:?}", link.bidi);
        ensure!(
            link.stanzas_out == 0 || link.send == send,
            "verona sends by {}, not {send}: {link:?}",
            link.send
        );
        ensure!(
            link.stanzas_in == 0 || link.receive == receive,
            "the peer sends by {}, not {receive}: {link:?}",
            link.receive
        );
    }
    let sum = |of: fn(&Link) -> u64| carrying.iter().map(|link| of(link)).sum::<u64>();
    let (out, into) = (sum(|link| link.stanzas_out), sum(|link| link.stanzas_in));
    let (sent, came) = (
        u64::try_from(seen.near_to_far.sent)?,
        u64::try_from(seen.far_to_near.came.len())?,
    );
    // What was lost went with a connection that verona no longer tells of.
    let lost = u64::try_from(seen.near_to_far.lost.len())?;
    ensure!(
        (sent - lost..=sent).contains(&out) && into == came,
        "verona tells of {out} stanzas out and {into} in, not {sent} and {came}"
    );
    Ok(())
}

fn whole(flow: &Flow, order: Option<&[usize]>) -> Result<()> {
    if let Some(bounce) = &flow.bounce {
        bail!("a message came back: {bounce:?}");
    }
    let given: Vec<usize> = (0..flow.sent)
        .filter(|number| !flow.lost.contains(number))
        .collect();
    speaker::exactly(&flow.came, order.unwrap_or(&given))?;
    ensure!(
        flow.came.len() == given.len(),
        "{} of {} messages were on the wire",
        flow.came.len(),
        given.len()
    );
    Ok(())
}

fn refused(seen: &Seen, words: &[&str]) -> Result<()> {
    let came = seen.near_to_far.came.len() + seen.far_to_near.came.len();
    ensure!(came == 0, "{came} messages came although they must not");
    let carried = seen.links.iter().filter(|link| link.has_carried()).count();
    ensure!(carried == 0, "verona tells of {carried} links with stanzas");
    let bounce = seen
        .near_to_far
        .bounce
        .as_ref()
        .context("nothing came back to verona's side")?;
    ensure!(
        bounce.condition == "remote-server-timeout",
        "ROUTE-13 wants another condition: {bounce:?}"
    );
    ensure!(
        words.iter().any(|word| bounce.text.contains(word)),
        "the text names no cause ({}): {bounce:?}",
        words.join(", ")
    );
    ensure!(
        seen.far_to_near.bounce.is_some(),
        "nothing came back to the peer's side"
    );
    Ok(())
}

/// The kernel's account of a cell agrees with verona's: each connection that verona says carried stanzas has the bytes
/// for them, and no other connection of the cell has more than a negotiation needs. Gives the number of connections.
///
/// # Errors
/// What differs.
pub fn kernel_agrees(
    placed: &Placed,
    seen: &Seen,
    kernel: &BTreeMap<Ends, Account>,
) -> Result<usize> {
    let mut known = Vec::new();
    for link in seen.links.iter().filter(|link| link.has_carried()) {
        let (local, peer) = (link.local_address.parse()?, link.peer_address.parse()?);
        let (ends, from_us) = if link.role == "initiating" {
            ((local, peer), true)
        } else {
            ((peer, local), false)
        };
        let account = kernel
            .get(&ends)
            .with_context(|| format!("the kernel saw no such connection: {link:?}"))?;
        let (out, into) = if from_us {
            (account.to_listener, account.to_dialer)
        } else {
            (account.to_dialer, account.to_listener)
        };
        ensure!(
            out >= link.stanzas_out * MESSAGE_BYTES_MIN
                && into >= link.stanzas_in * MESSAGE_BYTES_MIN,
            "TCP carried {out} bytes out and {into} in, too few: {link:?}"
        );
        known.push(ends);
    }
    let mut number = 0;
    for (ends, account) in kernel {
        if ends.1 != placed.near_address && ends.1 != placed.far_address {
            continue;
        }
        number += 1;
        let most = account.to_listener.max(account.to_dialer);
        let is_excused = !seen.near_to_far.lost.is_empty();
        ensure!(
            known.contains(ends) || most < NEGOTIATION_BYTES_MAX || is_excused,
            "{} > {} carried {most} bytes and verona tells of no stanza on it",
            ends.0,
            ends.1
        );
    }
    Ok(number)
}

/// Bytes one way that a negotiation takes at most; all messages take four times as much.
const NEGOTIATION_BYTES_MAX: u64 = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail loudly.
    use super::super::cells;
    use super::*;
    use crate::speaker::Bounce;

    fn all(number: usize) -> Flow {
        Flow {
            sent: number,
            came: (0..number).collect(),
            ..Flow::default()
        }
    }

    fn cell(name: &str) -> Cell {
        let all = [cells::usual(), cells::newer()].concat();
        all.into_iter().find(|cell| cell.name() == name).unwrap()
    }

    fn link(role: &str, stanzas: u64) -> Link {
        Link {
            role: role.to_owned(),
            bidi: true,
            send: "sasl".to_owned(),
            receive: "certificate".to_owned(),
            stanzas_in: stanzas,
            stanzas_out: stanzas,
            ..Link::default()
        }
    }

    fn seen(flow: &Flow, links: Vec<Link>) -> Seen {
        Seen {
            near_to_far: flow.clone(),
            far_to_near: flow.clone(),
            links,
            ..Seen::default()
        }
    }

    fn fault(cell: &Cell, seen: &Seen) -> String {
        format!("{:#}", federates(cell, seen, None).unwrap_err())
    }

    #[test]
    fn one_connection_by_the_right_proof_passes_and_nothing_else() {
        let cell = cell("prosody/certificate/verona-first");
        let good = seen(&all(3), vec![link("initiating", 3)]);
        federates(&cell, &good, None).unwrap();
        let two = seen(&all(6), vec![link("initiating", 3), link("initiating", 3)]);
        assert!(fault(&cell, &two).contains("2 connections"));
        let mut other = good.clone();
        other.links[0].send = "dialback".to_owned();
        assert!(fault(&cell, &other).contains("not sasl"));
        let mut other = good.clone();
        other.links[0].bidi = false;
        assert!(fault(&cell, &other).contains("bidi is false"));
        let mut other = good;
        other.links[0].stanzas_in = 2;
        assert!(fault(&cell, &other).contains("3 stanzas out and 2 in"));
    }

    #[test]
    fn loss_disorder_and_bounces_fail() {
        let mut flow = all(3);
        flow.came = vec![0, 2];
        assert!(whole(&flow, None).is_err());
        flow.lost = vec![1];
        whole(&flow, None).unwrap();
        flow.came = vec![2, 0];
        assert!(whole(&flow, None).is_err());
        whole(&flow, Some(&[2, 0])).unwrap();
        // What the wire has not seen is missing all the same.
        flow.came = vec![2];
        assert!(whole(&flow, Some(&[2])).is_err());
        let mut flow = all(3);
        flow.bounce = Some(Bounce {
            number: 0,
            condition: String::new(),
            text: String::new(),
        });
        assert!(whole(&flow, None).is_err());
    }

    #[test]
    fn a_refusal_carries_nothing_and_says_why() {
        let bounce = |text: &str| Flow {
            sent: 1,
            bounce: Some(Bounce {
                number: 0,
                condition: "remote-server-timeout".into(),
                text: text.into(),
            }),
            ..Flow::default()
        };
        let good = seen(&bounce("its certificate is bad"), Vec::new());
        refused(&good, &["certificate"]).unwrap();
        assert!(refused(&good, &["dialback"]).is_err());
        let mut other = good.clone();
        other.far_to_near.came = vec![0];
        assert!(refused(&other, &["certificate"]).is_err());
        let mut other = good;
        other.near_to_far.bounce = None;
        assert!(refused(&other, &["certificate"]).is_err());
    }
}
