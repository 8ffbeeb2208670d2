//! Which cells there are.
//! Why not the whole product: two bad certificates at once show nothing that one does not, but for dialback on both sides.

use super::{Asked, Cell, Certificate, Dials, Peer};

/// The cells with the servers of Debian bookworm, and with another verona.
#[must_use]
pub fn usual() -> Vec<Cell> {
    of(&[Peer::Verona, Peer::Prosody, Peer::Ejabberd, Peer::Jabberd2])
}

/// The cells with newer servers.
#[must_use]
pub fn newer() -> Vec<Cell> {
    of(&[
        Peer::ProsodyTrixie,
        Peer::EjabberdTrixie,
        Peer::ProsodyForky,
        Peer::EjabberdForky,
    ])
}

fn of(peers: &[Peer]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for peer in peers {
        for asked in [Asked::Certificate, Asked::Either] {
            for (ours, theirs) in certificates(*peer, asked) {
                for dials in [Dials::Verona, Dials::Peer, Dials::Both] {
                    cells.push(Cell {
                        peer: *peer,
                        asked,
                        dials,
                        ours: *ours,
                        theirs: *theirs,
                    });
                }
            }
        }
    }
    cells
}

/// Ours and theirs. jabberd2 proves itself by dialback and asks for nothing better, so of a policy for certificates
/// there is only one thing to see.
const fn certificates(peer: Peer, asked: Asked) -> &'static [(Certificate, Certificate)] {
    match (peer, asked) {
        (Peer::Jabberd2, Asked::Certificate) => &[
            (Certificate::Full, Certificate::Full),
            (Certificate::Full, Certificate::SelfSigned),
        ],
        _ => CERTIFICATES,
    }
}

/// Ours and theirs.
const CERTIFICATES: &[(Certificate, Certificate)] = &[
    (Certificate::Full, Certificate::Full),
    (Certificate::Full, Certificate::ServerOnly),
    (Certificate::Full, Certificate::SelfSigned),
    (Certificate::Full, Certificate::WrongName),
    (Certificate::ServerOnly, Certificate::Full),
    (Certificate::SelfSigned, Certificate::Full),
    (Certificate::WrongName, Certificate::Full),
    (Certificate::ServerOnly, Certificate::ServerOnly),
    (Certificate::SelfSigned, Certificate::SelfSigned),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cell_has_a_name_of_its_own() {
        let cells = [usual(), newer()].concat();
        let names: BTreeSet<String> = cells.iter().map(Cell::name).collect();
        assert_eq!(names.len(), cells.len());
    }

    #[test]
    fn every_value_of_every_axis_is_met_by_every_peer() {
        let cells = [usual(), newer()].concat();
        let peers: BTreeSet<Peer> = cells.iter().map(|cell| cell.peer).collect();
        assert_eq!(peers.len(), 8);
        for peer in peers {
            let own = || cells.iter().filter(|cell| cell.peer == peer);
            assert_eq!(
                own().map(|cell| cell.asked).collect::<BTreeSet<_>>().len(),
                2
            );
            assert_eq!(
                own().map(|cell| cell.dials).collect::<BTreeSet<_>>().len(),
                3
            );
            assert_eq!(
                own().map(|cell| cell.ours).collect::<BTreeSet<_>>().len(),
                4
            );
            assert_eq!(
                own().map(|cell| cell.theirs).collect::<BTreeSet<_>>().len(),
                4
            );
        }
    }
}
