//! The resolver against a scripted DNS server on loopback: every kind of answer, and none. What is signed is in `signed`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use verona_proto::limits::{Limit, LimitCounts};
use verona_sim::name_server::message::UDP_BYTES_MAX;
use verona_sim::name_server::{Act, NameServer, Transport};

use super::*;

mod forged;
mod signed;

/// What the server does with a question.
#[derive(Clone)]
enum Reply {
    Records(Vec<RData>),
    /// Records of other names, as behind a CNAME.
    Chain(Vec<(&'static str, RData)>),
    Code(ResponseCode),
    /// NOERROR, nothing in the answer, the zone's SOA.
    NoData,
    /// NOERROR, nothing in the answer, the servers of another zone.
    Referral,
    Silence,
}

/// A server that answers by (name, type), NXDOMAIN to all else, and remembers what it was asked.
struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    async fn new(script: &[(&str, Reply)]) -> Self {
        let script: BTreeMap<String, Reply> = script
            .iter()
            .map(|(question, reply)| ((*question).to_owned(), reply.clone()))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&asked));
        let address = serve(move |query| respond(&script, &log, query)).await;
        Self { address, asked }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(&[self.address], Duration::from_secs(1)).unwrap()
    }

    async fn discover(
        &self,
        domain: &str,
        direct_tls: bool,
    ) -> Result<Vec<String>, DiscoveryError> {
        let found = self
            .resolver()
            .discover(&Domain::parse(domain).unwrap(), direct_tls)
            .await?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

/// Answers by UDP and TCP at a free port of loopback, as long as the runtime lives.
async fn serve(answer: impl Fn(&Message) -> Option<Message> + Send + Sync + 'static) -> SocketAddr {
    let server = NameServer::start(move |question| {
        let Some(message) = answer(&Message::from_vec(&question.message).unwrap()) else {
            return Vec::new();
        };
        let mut bytes = message.to_vec().unwrap();
        if question.transport == Transport::Udp && bytes.len() > UDP_BYTES_MAX {
            bytes = message.truncate().to_vec().unwrap();
        }
        vec![Act::Say(bytes)]
    })
    .unwrap();
    let address = server.address();
    tokio::spawn(async move {
        let _serving = server;
        std::future::pending::<()>().await;
    });
    address
}

fn respond(
    script: &BTreeMap<String, Reply>,
    log: &Mutex<Vec<String>>,
    query: &Message,
) -> Option<Message> {
    let question = query.queries.first().unwrap();
    let key = format!(
        "{} {}",
        question.name().to_ascii().to_lowercase(),
        question.query_type()
    );
    log.lock().unwrap().push(key.clone());
    let reply = script
        .get(&key)
        .cloned()
        .unwrap_or(Reply::Code(ResponseCode::NXDomain));
    answer(query, reply)
}

fn answer(query: &Message, reply: Reply) -> Option<Message> {
    let question = query.queries.first().unwrap().clone();
    let owner = question.name().clone();
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(question);
    match reply {
        Reply::Silence => return None,
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Records(records) => {
            message.add_answers(
                records
                    .into_iter()
                    .map(|data| Record::from_rdata(owner.clone(), 60, data)),
            );
        }
        Reply::Chain(records) => {
            message.add_answers(
                records
                    .into_iter()
                    .map(|(name, data)| Record::from_rdata(self::name(name), 60, data)),
            );
        }
        Reply::NoData => {
            let soa = SOA::new(name("ns.lit."), name("postmaster.lit."), 1, 60, 60, 60, 60);
            message.add_authority(Record::from_rdata(name("lit."), 60, RData::SOA(soa)));
        }
        Reply::Referral => {
            message.add_authority(Record::from_rdata(
                name("lit."),
                60,
                RData::NS(NS(name("ns.lit."))),
            ));
        }
    }
    Some(message)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 1, port, name(target)))
}

fn a(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

fn aaaa(last: u16) -> RData {
    RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
}

const XMPP: &str = "_xmpp-server._tcp.capulet.lit. SRV";
const XMPPS: &str = "_xmpps-server._tcp.capulet.lit. SRV";

#[tokio::test]
async fn servers_come_in_order_with_both_families() {
    //= DNS-01
    let dns = Dns::new(&[
        (
            XMPP,
            Reply::Records(vec![
                srv(20, 5269, "b.capulet.lit."),
                srv(10, 5299, "a.capulet.lit."),
            ]),
        ),
        (XMPPS, Reply::Records(vec![srv(15, 443, "a.capulet.lit.")])),
        ("a.capulet.lit. A", Reply::Records(vec![a(1), a(2)])),
        ("a.capulet.lit. AAAA", Reply::Records(vec![aaaa(1)])),
        ("b.capulet.lit. A", Reply::Records(vec![a(3)])),
        ("b.capulet.lit. AAAA", Reply::NoData),
    ])
    .await;
    assert_eq!(
        dns.discover("capulet.lit", true).await.unwrap(),
        [
            "[2001:db8::1]:5299 (a.capulet.lit)",
            "192.0.2.1:5299 (a.capulet.lit)",
            "192.0.2.2:5299 (a.capulet.lit)",
            "[2001:db8::1]:443 (a.capulet.lit, direct TLS)",
            "192.0.2.1:443 (a.capulet.lit, direct TLS)",
            "192.0.2.2:443 (a.capulet.lit, direct TLS)",
            "192.0.2.3:5269 (b.capulet.lit)",
        ]
    );
    assert_eq!(
        dns.asked(),
        [
            "_xmpp-server._tcp.capulet.lit. SRV",
            "_xmpps-server._tcp.capulet.lit. SRV",
            "a.capulet.lit. A",
            "a.capulet.lit. AAAA",
            "b.capulet.lit. A",
            "b.capulet.lit. AAAA",
        ]
    );
}

#[tokio::test]
async fn without_direct_tls_its_records_are_not_asked_for() {
    let dns = Dns::new(&[
        (XMPP, Reply::Records(vec![srv(0, 5269, "a.capulet.lit.")])),
        ("a.capulet.lit. A", Reply::Records(vec![a(1)])),
    ])
    .await;
    let found = dns.discover("capulet.lit", false).await.unwrap();
    assert_eq!(found, ["192.0.2.1:5269 (a.capulet.lit)"]);
    assert!(!dns.asked().contains(&XMPPS.to_owned()));
}

#[tokio::test]
async fn an_internationalised_name_is_asked_for_by_its_a_labels() {
    //= DNS-11
    let dns = Dns::new(&[
        (
            "_xmpp-server._tcp.xn--bcher-kva.lit. SRV",
            Reply::Records(vec![srv(0, 5269, "A.Capulet.LIT.")]),
        ),
        ("a.capulet.lit. A", Reply::Records(vec![a(1)])),
    ])
    .await;
    let found = dns.discover("bücher.lit", false).await.unwrap();
    assert_eq!(found, ["192.0.2.1:5269 (a.capulet.lit)"]);
}

#[tokio::test]
async fn what_was_answered_is_not_asked_again_and_what_failed_is() {
    //= DNS-10
    let dns = Dns::new(&[
        (
            XMPP,
            Reply::Records(vec![
                srv(0, 5269, "a.capulet.lit."),
                srv(1, 5269, "b.capulet.lit."),
                srv(2, 5269, "c.capulet.lit."),
            ]),
        ),
        (XMPPS, Reply::NoData),
        ("a.capulet.lit. A", Reply::Records(vec![a(1)])),
        ("a.capulet.lit. AAAA", Reply::NoData),
        ("b.capulet.lit. A", Reply::Code(ResponseCode::ServFail)),
        ("b.capulet.lit. AAAA", Reply::Referral),
        // Without an SOA nobody says for how long.
        ("c.capulet.lit. A", Reply::Code(ResponseCode::NXDomain)),
        ("c.capulet.lit. AAAA", Reply::Code(ResponseCode::NXDomain)),
    ])
    .await;
    let resolver = dns.resolver();
    let domain = Domain::parse("Capulet.LIT").unwrap();
    let first = resolver.discover(&domain, true).await.unwrap();
    dns.asked.lock().unwrap().clear();
    assert_eq!(resolver.discover(&domain, true).await.unwrap(), first);
    assert_eq!(
        dns.asked(),
        [
            "b.capulet.lit. A",
            "b.capulet.lit. AAAA",
            "c.capulet.lit. A",
            "c.capulet.lit. AAAA",
        ]
    );
}

#[tokio::test]
async fn an_address_is_no_host() {
    let dns = Dns::new(&[
        (
            XMPP,
            Reply::Records(vec![
                srv(0, 5269, "192.0.2.1."),
                srv(1, 5269, "a.capulet.lit."),
            ]),
        ),
        ("192.0.2.1. A", Reply::Records(vec![a(1)])),
        ("a.capulet.lit. A", Reply::Records(vec![a(2)])),
    ])
    .await;
    let found = dns.discover("capulet.lit", false).await.unwrap();
    assert_eq!(found, ["192.0.2.2:5269 (a.capulet.lit)"]);
}

#[tokio::test]
async fn absence_that_is_proven_falls_back_to_the_address() {
    //= DNS-06
    for absent in [Reply::NoData, Reply::Code(ResponseCode::NXDomain)] {
        let dns = Dns::new(&[
            (XMPP, absent.clone()),
            (XMPPS, absent),
            ("capulet.lit. A", Reply::Records(vec![a(7)])),
            ("capulet.lit. AAAA", Reply::NoData),
        ])
        .await;
        assert_eq!(
            dns.discover("capulet.lit", true).await.unwrap(),
            ["192.0.2.7:5269 (capulet.lit)"]
        );
    }
}

#[tokio::test]
async fn nothing_else_falls_back() {
    //= DNS-04
    //= DNS-05
    //= DNS-06
    use DiscoveryErrorKind::{NotFound, Temporary};
    let root = || Reply::Records(vec![srv(0, 0, ".")]);
    for (xmpp, xmpps, kind, text) in [
        (root(), root(), NotFound, "no XMPP server"),
        (root(), Reply::NoData, NotFound, "no XMPP server"),
        (Reply::NoData, root(), NotFound, "no XMPP server"),
        (
            Reply::Code(ResponseCode::ServFail),
            Reply::NoData,
            Temporary,
            "Server Failure",
        ),
        (
            Reply::Code(ResponseCode::Refused),
            Reply::NoData,
            Temporary,
            "Refused",
        ),
        (
            Reply::NoData,
            Reply::Code(ResponseCode::ServFail),
            Temporary,
            "Server Failure",
        ),
        (
            Reply::Referral,
            Reply::NoData,
            Temporary,
            "no definite answer",
        ),
        (Reply::Silence, Reply::NoData, Temporary, "did not answer"),
        (
            Reply::Records(vec![srv(0, 5269, "dead.capulet.lit.")]),
            Reply::NoData,
            NotFound,
            "no address for dead.capulet.lit",
        ),
        (
            Reply::Records(vec![
                srv(0, 5269, "dead.capulet.lit."),
                srv(1, 5269, "lame.capulet.lit."),
            ]),
            Reply::NoData,
            Temporary,
            "lame.capulet.lit",
        ),
    ] {
        let dns = Dns::new(&[
            (XMPP, xmpp),
            (XMPPS, xmpps),
            ("capulet.lit. A", Reply::Records(vec![a(7)])),
            ("lame.capulet.lit. A", Reply::Code(ResponseCode::ServFail)),
            (
                "lame.capulet.lit. AAAA",
                Reply::Code(ResponseCode::ServFail),
            ),
        ])
        .await;
        let error = dns.discover("capulet.lit", true).await.unwrap_err();
        assert_eq!(error.kind, kind, "{text}: {error}");
        assert!(error.text.contains(text), "{text}: {error}");
        assert!(
            !dns.asked().contains(&"capulet.lit. A".to_owned()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_found_is_used_though_the_other_question_failed() {
    let dns = Dns::new(&[
        (XMPP, Reply::Records(vec![srv(0, 5269, "a.capulet.lit.")])),
        (XMPPS, Reply::Code(ResponseCode::ServFail)),
        ("a.capulet.lit. A", Reply::Records(vec![a(1)])),
        ("a.capulet.lit. AAAA", Reply::Code(ResponseCode::ServFail)),
    ])
    .await;
    assert_eq!(
        dns.discover("capulet.lit", true).await.unwrap(),
        ["192.0.2.1:5269 (a.capulet.lit)"]
    );
}

#[tokio::test]
async fn aliases_are_followed() {
    //= DNS-12
    let alias = || RData::CNAME(CNAME(name("real.montague.lit.")));
    let dns = Dns::new(&[
        (
            XMPP,
            Reply::Records(vec![
                srv(0, 5269, "alias.capulet.lit."),
                srv(1, 5269, "whole.capulet.lit."),
            ]),
        ),
        // Only the alias: the resolver has to ask on.
        ("alias.capulet.lit. A", Reply::Records(vec![alias()])),
        ("real.montague.lit. A", Reply::Records(vec![a(4)])),
        // The whole chain in one answer.
        (
            "whole.capulet.lit. A",
            Reply::Chain(vec![
                ("whole.capulet.lit.", alias()),
                ("real.montague.lit.", a(5)),
            ]),
        ),
    ])
    .await;
    assert_eq!(
        dns.discover("capulet.lit", false).await.unwrap(),
        [
            "192.0.2.4:5269 (alias.capulet.lit)",
            "192.0.2.5:5269 (whole.capulet.lit)"
        ]
    );
}

#[tokio::test]
async fn an_alias_at_the_service_is_followed() {
    let alias = || RData::CNAME(CNAME(name("_xmpp.host.lit.")));
    let record = || srv(0, 5269, "a.host.lit.");
    for whole in [true, false] {
        let mut chain = vec![("_xmpp-server._tcp.capulet.lit.", alias())];
        if whole {
            chain.push(("_xmpp.host.lit.", record()));
        }
        let dns = Dns::new(&[
            (XMPP, Reply::Chain(chain)),
            (
                "_xmpp-server._tcp.capulet.lit. CNAME",
                Reply::Records(vec![alias()]),
            ),
            ("_xmpp.host.lit. SRV", Reply::Records(vec![record()])),
            ("a.host.lit. A", Reply::Records(vec![a(6)])),
            ("a.host.lit. SRV", Reply::NoData),
            ("capulet.lit. A", Reply::Records(vec![a(7)])),
        ])
        .await;
        // Twice, because the second answer may come from the cache.
        let resolver = dns.resolver();
        for _ in 0..2 {
            let found = resolver
                .discover(&Domain::parse("capulet.lit").unwrap(), false)
                .await
                .unwrap();
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(
                found,
                ["192.0.2.6:5269 (a.host.lit)"],
                "whole chain: {whole}"
            );
        }
    }
}

#[tokio::test]
async fn an_alias_that_leads_nowhere_is_an_absence() {
    let alias = |target: &str| Reply::Records(vec![RData::CNAME(CNAME(name(target)))]);
    let dns = Dns::new(&[
        (XMPP, alias("nowhere.lit.")),
        (
            "_xmpp-server._tcp.capulet.lit. CNAME",
            alias("nowhere.lit."),
        ),
        ("capulet.lit. A", Reply::Records(vec![a(7)])),
    ])
    .await;
    assert_eq!(
        dns.discover("capulet.lit", false).await.unwrap(),
        ["192.0.2.7:5269 (capulet.lit)"]
    );
}

#[tokio::test]
async fn a_flood_of_servers_comes_by_tcp_and_is_cut() {
    let many: Vec<RData> = (0..60)
        .map(|n| srv(n, 5269, &format!("h{n}.capulet.lit.")))
        .collect();
    let hosts: Vec<String> = (0..60).map(|n| format!("h{n}.capulet.lit. A")).collect();
    let mut script = vec![(XMPP, Reply::Records(many))];
    script.extend(
        hosts
            .iter()
            .zip(0..)
            .map(|(host, n)| (host.as_str(), Reply::Records(vec![a(n)]))),
    );
    let dns = Dns::new(&script).await;
    let found = dns.discover("capulet.lit", false).await.unwrap();
    assert_eq!(found.len(), TARGETS_MAX);
    assert_eq!(found.first().unwrap(), "192.0.2.0:5269 (h0.capulet.lit)");
    // One question for the records, two for each host that has a chance.
    assert_eq!(dns.asked().len(), 1 + 2 * TARGETS_MAX);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let dns = Dns::new(&[(XMPP, Reply::Silence), (XMPPS, Reply::Silence)]).await;
    let reached = LimitCounts::default();
    let resolver = Resolver::new(&[dns.address], Duration::from_millis(300)).unwrap();
    let resolver = resolver.counting(reached.clone());
    let start = Instant::now();
    let error = resolver
        .discover(&Domain::parse("capulet.lit").unwrap(), true)
        .await
        .unwrap_err();
    assert_eq!(error.kind, DiscoveryErrorKind::Temporary);
    assert!(error.text.contains("did not answer"), "{error}");
    assert!(reached.count(Limit::DnsSeconds) > 0);
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn what_is_late_is_done_without() {
    //= DNS-07
    let dns = Dns::new(&[
        (
            XMPP,
            Reply::Records(vec![
                srv(0, 5269, "silent.capulet.lit."),
                srv(1, 5269, "half.capulet.lit."),
            ]),
        ),
        ("silent.capulet.lit. A", Reply::Silence),
        ("silent.capulet.lit. AAAA", Reply::Silence),
        ("half.capulet.lit. A", Reply::Records(vec![a(8)])),
        ("half.capulet.lit. AAAA", Reply::Silence),
    ])
    .await;
    let start = Instant::now();
    assert_eq!(
        dns.discover("capulet.lit", false).await.unwrap(),
        ["192.0.2.8:5269 (half.capulet.lit)"]
    );
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn an_address_needs_no_dns() {
    let dns = Dns::new(&[]).await;
    assert_eq!(
        dns.discover("192.0.2.9", true).await.unwrap(),
        ["192.0.2.9:5269 (192.0.2.9)"]
    );
    assert_eq!(
        dns.discover("[2001:db8::9]", true).await.unwrap(),
        ["[2001:db8::9]:5269 ([2001:db8::9])"]
    );
    assert_eq!(dns.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_too_long_for_dns_is_not_found() {
    let label = "a".repeat(60);
    let domain = [label.as_str(); 4].join(".");
    let dns = Dns::new(&[]).await;
    let error = dns.discover(&domain, true).await.unwrap_err();
    assert_eq!(error.kind, DiscoveryErrorKind::NotFound);
}

#[test]
fn randomness_stays_within_its_bound() {
    for bound in [0, 1, 5, u32::MAX] {
        assert!((0..1000).all(|_| random(bound) <= bound));
    }
    let drawn: std::collections::BTreeSet<u32> = (0..1000).map(|_| random(5)).collect();
    assert_eq!(drawn.len(), 6, "both ends included: {drawn:?}");
}
