//! From a domain to the servers to dial, in order (RFC 6120 §3.2, RFC 2782, XEP-0368).
//!
//! Which answer permits which next step is a security decision (a failed lookup must never look like an absent one),
//! so it is pure and stands here; the engine only asks the questions.

mod other_host;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::dane::Tlsa;
use crate::grounds::Assurance;
pub use other_host::{BadOtherHost, OtherHost};

/// What is to be dialled, once both SRV questions are answered (DNS-02 … DNS-06).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// These servers, in this order; there is at least one.
    Targets(Vec<SrvRecord>),
    /// The addresses of the domain itself, at [`FALLBACK_PORT`], with STARTTLS (RFC 6120 §3.2.2); and how sure it is
    /// that no server is named.
    FallBackToAddress(Assurance),
}

/// Decides what follows from the answers for `_xmpp-server._tcp` and `_xmpps-server._tcp`.
///
/// `random` is asked as [`order`] says.
///
/// # Errors
/// [`DiscoveryError`]: `NotFound` when DNS proves that there is no server, `Temporary` when a failed lookup leaves
/// that open. A record that was found is used even if the other question failed, unless that answer was forged: then
/// somebody stands between, and what he let through is what he wants (DNS-13).
pub fn plan(
    xmpp: SrvAnswer,
    xmpps: SrvAnswer,
    random: &mut dyn FnMut(u32) -> u32,
) -> Result<Plan, DiscoveryError> {
    use Service::{Absent, Declined, Failed, Forged, Offered};
    match (Service::from(xmpp), Service::from(xmpps)) {
        //= DNS-13
        (Forged(why), Forged(_) | Offered(_) | Declined | Absent(_) | Failed(_))
        | (Offered(_) | Declined | Absent(_) | Failed(_), Forged(why)) => {
            Err(DiscoveryError::temporary(why))
        }
        //= DNS-02
        (Offered(mut records), Offered(direct)) => {
            records.extend(direct);
            Ok(Plan::Targets(order(records, random)))
        }
        //= DNS-05
        (Offered(records), Declined | Absent(_) | Failed(_))
        | (Declined | Absent(_) | Failed(_), Offered(records)) => {
            Ok(Plan::Targets(order(records, random)))
        }
        //= DNS-06
        (Failed(why), Declined | Absent(_) | Failed(_)) | (Declined | Absent(_), Failed(why)) => {
            Err(DiscoveryError::temporary(why))
        }
        //= DNS-04
        (Declined, Declined | Absent(_)) | (Absent(_), Declined) => Err(DiscoveryError::not_found(
            "its DNS says that it has no XMPP server (the SRV record names \".\")",
        )),
        (Absent(xmpp), Absent(xmpps)) => Ok(Plan::FallBackToAddress(xmpp.min(xmpps))),
    }
}

/// Puts SRV records in the order in which to try them: by priority, and inside one priority at random by weight
/// (RFC 2782, DNS-03).
///
/// `random(n)` returns a number from 0 to `n`, **both included**, all equally likely; larger ones count as `n`.
#[must_use]
pub fn order(mut records: Vec<SrvRecord>, random: &mut dyn FnMut(u32) -> u32) -> Vec<SrvRecord> {
    //= DNS-03
    records.sort_by_key(|record| record.priority);
    let mut ordered = Vec::with_capacity(records.len());
    for equal in records.chunk_by(|a, b| a.priority == b.priority) {
        draw(equal.to_vec(), random, &mut ordered);
    }
    ordered
}

/// Moves records of one priority to `ordered`, each drawn with a chance proportional to its weight.
fn draw(equal: Vec<SrvRecord>, random: &mut dyn FnMut(u32) -> u32, ordered: &mut Vec<SrvRecord>) {
    // Weightless records stand first, where only a drawn zero finds them: their chance is small, not none.
    let (mut left, weighted): (Vec<_>, Vec<_>) = equal.into_iter().partition(|r| r.weight == 0);
    // Among themselves they are equal, so a domain whose records are all weightless has its load spread too.
    let mut weightless = Vec::with_capacity(left.len());
    while let Some(last) = left.len().checked_sub(1) {
        let last = u32::try_from(last).unwrap_or(u32::MAX);
        let chosen = usize::try_from(random(last).min(last)).unwrap_or(0);
        weightless.push(left.swap_remove(chosen));
    }
    let mut left = weightless;
    left.extend(weighted);
    while !left.is_empty() {
        let total = left.iter().fold(0, running_sum);
        let drawn = random(total).min(total);
        let mut sum = 0;
        let chosen = left.iter().position(|record| {
            sum = running_sum(sum, record);
            sum >= drawn
        });
        ordered.push(left.remove(chosen.unwrap_or(0)));
    }
}

fn running_sum(sum: u32, record: &SrvRecord) -> u32 {
    sum.saturating_add(u32::from(record.weight))
}

/// The endpoints of one server: its addresses, the families taking turns, so that a dead family delays little
/// (RFC 8305 §4, DNS-07). At most [`ADDRESSES_PER_SERVER_MAX`].
#[must_use]
pub fn targets(record: &SrvRecord, ipv6: &[Ipv6Addr], ipv4: &[Ipv4Addr]) -> Vec<Target> {
    //= DNS-07
    let mut ipv6 = ipv6.iter().copied().map(IpAddr::V6);
    let mut ipv4 = ipv4.iter().copied().map(IpAddr::V4);
    let mut addresses = Vec::new();
    loop {
        let pair = [ipv6.next(), ipv4.next()];
        if pair == [None, None] {
            break;
        }
        addresses.extend(pair.into_iter().flatten());
    }
    addresses.truncate(ADDRESSES_PER_SERVER_MAX);
    addresses
        .into_iter()
        .map(|address| {
            let address = SocketAddr::new(address, record.port);
            Target::new(address, record.direct_tls, record.target.as_str())
        })
        .collect()
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// Lower is tried first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// TCP port.
    pub port: u16,
    /// The server's host name, as A-labels without the final dot; `.` alone says that there is no such service.
    pub target: String,
    /// Whether the record was found at `_xmpps-server`: TLS from the first byte (DTLS-01), else STARTTLS (DTLS-02).
    pub direct_tls: bool,
    /// How sure it is that the domain's owner wrote it: [`Assurance::Dnssec`] or [`Assurance::Dns`].
    pub assurance: Assurance,
}

/// The answer to one SRV question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SrvAnswer {
    /// The records found, at least one.
    Records(Vec<SrvRecord>),
    /// DNS says that there are none, and how sure that is: the name does not exist, or it has no SRV record.
    Absent(Assurance),
    /// The question was not put, as by a policy without direct TLS.
    NotAsked,
    /// There was no answer that proves anything; the text says why.
    Failed(String),
    /// There was one that DNSSEC disproves: it is forged, or the zone is badly signed (DNS-13).
    Bogus(String),
}

/// One endpoint to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether TLS starts at once (DTLS-01), else by STARTTLS (DTLS-02).
    pub direct_tls: bool,
    /// The host name that DNS gave, for the operator and for TLSA; a name to look for in a certificate only where
    /// `assurance` says that DNSSEC proves it (DNS-16).
    pub host: String,
    /// Its other names, of which DNSSEC proves that they lead here too.
    pub also: Vec<String>,
    /// How sure it is that the domain's owner named it.
    pub assurance: Assurance,
    /// What DNS says about its certificate.
    pub tlsa: Tlsa,
}

impl Target {
    /// An endpoint that DNS named, nobody knows who answering; with nothing said of its certificate.
    pub fn new(address: SocketAddr, direct_tls: bool, host: impl Into<String>) -> Self {
        Self {
            address,
            direct_tls,
            host: host.into(),
            also: Vec::new(),
            assurance: Assurance::Dns,
            tlsa: Tlsa::None,
        }
    }

    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.host)
            .chain(&self.also)
            .map(String::as_str)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.direct_tls { ", direct TLS" } else { "" };
        write!(f, "{} ({}{tls})", self.address, self.host)
    }
}

/// Why a domain has no endpoints to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryError {
    /// What may be concluded.
    pub kind: DiscoveryErrorKind,
    /// The reason, as the end of a sentence that began with the domain.
    pub text: String,
}

impl DiscoveryError {
    /// DNS proves that there is nothing to dial.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self {
            kind: DiscoveryErrorKind::NotFound,
            text: text.into(),
        }
    }

    /// Nothing is proven; another attempt may succeed.
    pub fn temporary(text: impl Into<String>) -> Self {
        Self {
            kind: DiscoveryErrorKind::Temporary,
            text: text.into(),
        }
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DiscoveryError {}

/// What a failed discovery tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryErrorKind {
    /// DNS proves that the domain has no server: `<remote-server-not-found/>`.
    NotFound,
    /// DNS did not answer, or not usably: `<remote-server-timeout/>`, and try again later.
    Temporary,
}

/// What an answer says of one service.
enum Service {
    /// It is offered here.
    Offered(Vec<SrvRecord>),
    /// It is decidedly not offered.
    Declined,
    /// DNS says nothing of it.
    Absent(Assurance),
    /// We do not know.
    Failed(String),
    /// We were lied to.
    Forged(String),
}

impl From<SrvAnswer> for Service {
    fn from(answer: SrvAnswer) -> Self {
        match answer {
            SrvAnswer::Records(records) => {
                let usable: Vec<_> = records
                    .into_iter()
                    // Port 0 can be dialled no more than the root can.
                    .filter(|record| record.target != NO_SERVICE && record.port != 0)
                    .collect();
                if usable.is_empty() {
                    Self::Declined
                } else {
                    Self::Offered(usable)
                }
            }
            SrvAnswer::Absent(assurance) => Self::Absent(assurance),
            // What was not asked leaves no doubt.
            SrvAnswer::NotAsked => Self::Absent(Assurance::Dnssec),
            SrvAnswer::Failed(why) => Self::Failed(why),
            SrvAnswer::Bogus(why) => Self::Forged(why),
        }
    }
}

/// The port of a server that is found without SRV records (RFC 6120 §3.2.2).
pub const FALLBACK_PORT: u16 = 5269;
/// Endpoints of one domain that are tried; a domain with a hundred servers must not keep us busy for an hour.
pub const TARGETS_MAX: usize = 16;
/// Addresses of one server that are tried, so that others have their turn within [`TARGETS_MAX`].
pub const ADDRESSES_PER_SERVER_MAX: usize = 8;
/// The target that says "no such service" (RFC 2782).
pub const NO_SERVICE: &str = ".";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord {
            priority,
            weight,
            port: 5269,
            target: target.into(),
            direct_tls: false,
            assurance: Assurance::Dns,
        }
    }

    fn direct(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord {
            direct_tls: true,
            ..srv(priority, weight, target)
        }
    }

    fn names(records: &[SrvRecord]) -> Vec<&str> {
        records
            .iter()
            .map(|record| record.target.as_str())
            .collect()
    }

    /// A fixed sequence that is as good as random here (the constants are those of Knuth's MMIX).
    fn sequence() -> impl FnMut(u32) -> u32 {
        let mut state = 0x5eed_u64;
        move |bound| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(((state >> 32) * (u64::from(bound) + 1)) >> 32).unwrap()
        }
    }

    #[test]
    fn priorities_ascend_whatever_is_drawn() {
        //= DNS-03
        let records = vec![
            srv(30, 100, "c"),
            srv(10, 0, "a"),
            srv(20, 1, "b"),
            srv(65_535, 65_535, "d"),
        ];
        for drawn in [0, 1, u32::MAX] {
            let ordered = order(records.clone(), &mut |_| drawn);
            assert_eq!(names(&ordered), ["a", "b", "c", "d"]);
        }
    }

    #[test]
    fn the_running_sum_decides_inside_a_priority() {
        //= DNS-03
        // Sums: zero 0, ten 10, thirty 40; 40 is the bound that must be asked for.
        let records = vec![srv(1, 10, "ten"), srv(1, 0, "zero"), srv(1, 30, "thirty")];
        for (drawn, first) in [
            (0, "zero"),
            (1, "ten"),
            (10, "ten"),
            (11, "thirty"),
            (40, "thirty"),
        ] {
            let mut bounds = Vec::new();
            let ordered = order(records.clone(), &mut |bound| {
                bounds.push(bound);
                if bound == 40 { drawn } else { 0 }
            });
            assert_eq!(ordered.first().unwrap().target, first, "drawn {drawn}");
            // One draw among the single weightless record, then one per record.
            assert_eq!(bounds.get(..2), Some([0, 40].as_slice()));
            assert_eq!(ordered.len(), 3);
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        //= DNS-03
        let records = vec![
            srv(1, 0, "zero"),
            srv(1, 10, "ten"),
            srv(1, 30, "thirty"),
            srv(1, 60, "sixty"),
        ];
        let mut random = sequence();
        let mut first = std::collections::BTreeMap::new();
        for _ in 0..20_000 {
            let ordered = order(records.clone(), &mut random);
            *first
                .entry(ordered.first().unwrap().target.clone())
                .or_insert(0_i32) += 1;
        }
        // Of 101 equally likely numbers 1 falls to zero, 10, 30 and 60 to the others.
        for (name, share) in [
            ("zero", 198),
            ("ten", 1_980),
            ("thirty", 5_941),
            ("sixty", 11_881),
        ] {
            let seen = *first.get(name).unwrap();
            assert!(
                (seen - share).abs() < 60 + share / 20,
                "{name}: {seen}, expected about {share}"
            );
        }
    }

    #[test]
    fn records_that_are_all_weightless_share_the_load() {
        let records = vec![srv(1, 0, "a"), srv(1, 0, "b"), srv(1, 0, "c")];
        let mut random = sequence();
        let mut first = std::collections::BTreeMap::new();
        for _ in 0..3_000 {
            let ordered = order(records.clone(), &mut random);
            *first
                .entry(ordered.first().unwrap().target.clone())
                .or_insert(0_i32) += 1;
        }
        assert!(
            first.values().all(|seen| (900..1_100).contains(seen)),
            "{first:?}"
        );
        assert_eq!(first.len(), 3);
    }

    #[test]
    fn a_source_of_randomness_that_lies_does_no_harm() {
        let records = vec![
            srv(1, 0, "a"),
            srv(1, 0, "b"),
            srv(1, 65_535, "c"),
            srv(1, 65_535, "d"),
        ];
        let ordered = order(records, &mut |_| u32::MAX);
        assert_eq!(ordered.len(), 4);
        assert_eq!(order(Vec::new(), &mut |_| 0), Vec::new());
    }

    #[test]
    fn both_services_share_one_order() {
        //= DNS-02
        let plan = plan(
            SrvAnswer::Records(vec![srv(10, 1, "starttls")]),
            SrvAnswer::Records(vec![direct(20, 1, "late"), direct(5, 1, "direct")]),
            &mut |_| 0,
        );
        let Ok(Plan::Targets(records)) = plan else {
            panic!("{plan:?}");
        };
        assert_eq!(names(&records), ["direct", "starttls", "late"]);
        assert_eq!(
            records.iter().map(|r| r.direct_tls).collect::<Vec<_>>(),
            [true, false, true]
        );
    }

    #[test]
    fn every_pair_of_answers_has_one_consequence() {
        //= DNS-04
        //= DNS-05
        //= DNS-06
        //= DNS-13
        let found = || SrvAnswer::Records(vec![srv(1, 1, "x")]);
        let root = || SrvAnswer::Records(vec![srv(0, 0, ".")]);
        let failed = || SrvAnswer::Failed("timed out".into());
        let absent = || SrvAnswer::Absent(Assurance::Dns);
        let proven = || SrvAnswer::Absent(Assurance::Dnssec);
        let bogus = || SrvAnswer::Bogus("forged".into());
        for (xmpp, xmpps, expected) in [
            (found(), absent(), "x"),
            (found(), SrvAnswer::NotAsked, "x"),
            (found(), root(), "x"),
            (found(), failed(), "x"),
            (absent(), found(), "x"),
            (root(), found(), "x"),
            (failed(), found(), "x"),
            (root(), root(), "not found"),
            (root(), absent(), "not found"),
            (root(), SrvAnswer::NotAsked, "not found"),
            (absent(), root(), "not found"),
            (root(), failed(), "temporary"),
            (failed(), root(), "temporary"),
            (failed(), absent(), "temporary"),
            (absent(), failed(), "temporary"),
            (failed(), failed(), "temporary"),
            (failed(), SrvAnswer::NotAsked, "temporary"),
            (absent(), absent(), "address (dns)"),
            (absent(), SrvAnswer::NotAsked, "address (dns)"),
            (proven(), absent(), "address (dns)"),
            (absent(), proven(), "address (dns)"),
            (proven(), proven(), "address (dnssec)"),
            (proven(), SrvAnswer::NotAsked, "address (dnssec)"),
            (bogus(), found(), "temporary"),
            (found(), bogus(), "temporary"),
            (bogus(), proven(), "temporary"),
            (proven(), bogus(), "temporary"),
            (bogus(), root(), "temporary"),
            (root(), bogus(), "temporary"),
            (bogus(), bogus(), "temporary"),
            (bogus(), SrvAnswer::NotAsked, "temporary"),
        ] {
            let told = format!("{xmpp:?} / {xmpps:?}");
            let seen = match plan(xmpp, xmpps, &mut |_| 0) {
                Ok(Plan::Targets(records)) => records.first().unwrap().target.clone(),
                Ok(Plan::FallBackToAddress(assurance)) => format!("address ({})", assurance.name()),
                Err(error) => match error.kind {
                    DiscoveryErrorKind::NotFound => "not found".into(),
                    DiscoveryErrorKind::Temporary => "temporary".into(),
                },
            };
            assert_eq!(seen, expected, "{told}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_left_out() {
        let mut portless = srv(0, 0, "portless");
        portless.port = 0;
        let mixed = SrvAnswer::Records(vec![srv(0, 0, "."), portless.clone(), srv(9, 0, "real")]);
        let Ok(Plan::Targets(records)) = plan(mixed, SrvAnswer::NotAsked, &mut |_| 0) else {
            panic!("no targets");
        };
        assert_eq!(names(&records), ["real"]);
        let error = plan(
            SrvAnswer::Records(vec![portless]),
            SrvAnswer::NotAsked,
            &mut |_| 0,
        )
        .unwrap_err();
        assert_eq!(error.kind, DiscoveryErrorKind::NotFound);
    }

    #[test]
    fn the_families_take_turns() {
        //= DNS-07
        let v6: Vec<Ipv6Addr> = (1..=3)
            .map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n))
            .collect();
        let v4 = [Ipv4Addr::new(192, 0, 2, 1)];
        let record = direct(0, 0, "a.capulet.lit");
        let seen: Vec<String> = targets(&record, &v6, &v4)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            seen,
            [
                "[2001:db8::1]:5269 (a.capulet.lit, direct TLS)",
                "192.0.2.1:5269 (a.capulet.lit, direct TLS)",
                "[2001:db8::2]:5269 (a.capulet.lit, direct TLS)",
                "[2001:db8::3]:5269 (a.capulet.lit, direct TLS)",
            ]
        );
        let many = vec![v4[0]; 100];
        assert_eq!(targets(&record, &v6, &many).len(), ADDRESSES_PER_SERVER_MAX);
        assert_eq!(targets(&record, &[], &[]), Vec::new());
    }
}
