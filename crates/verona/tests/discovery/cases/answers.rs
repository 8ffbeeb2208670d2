//! What DNS may say, and says to most.

use std::net::Ipv6Addr;
use std::time::Duration;

use verona_sim::name_server::message::{A, AAAA, NX_DOMAIN, SRV, a, aaaa, ns, soa, srv};

use crate::case::{Again, Case, Expect};
use crate::world::{DIRECT, STARTTLS};
use crate::zone::{
    DOMAIN, HOST_A, HOST_B, HOST_C, Reply, XMPP, XMPPS, Zone, code, message, no_data, nx_domain,
    records, server,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("one server, for STARTTLS", Zone::good)
            .dials(&["a:15269"])
            .why("the domain's own address is no server's"),
        Case::new("one server, for direct TLS", |place| {
            Zone::without_srv(place).on(XMPPS, SRV, records(vec![srv(XMPPS, 0, 0, DIRECT, HOST_A)]))
        })
        .dials(&["a:15270 TLS"])
        .why("`_xmpps-server` counts as much"),
        Case::new("servers of both kinds, with priorities", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![
                        srv(XMPP, 30, 0, STARTTLS, HOST_C),
                        srv(XMPP, 10, 0, STARTTLS, HOST_B),
                    ]),
                )
                .on(XMPPS, SRV, records(vec![srv(XMPPS, 20, 0, DIRECT, HOST_A)]))
        })
        .dials(&["b:15269", "a:15270 TLS", "c:15269"])
        .questions(8)
        .why("one order for both; the next is tried when a server fails"),
        Case::new("one priority, weights 0 and 65535", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                // A chance of one in 65,536 that this is the other way round.
                records(vec![
                    srv(XMPP, 0, 0, STARTTLS, HOST_C),
                    srv(XMPP, 0, 65535, STARTTLS, HOST_B),
                ]),
            )
        })
        .dials(&["b:15269", "c:15269"])
        .questions(6)
        .why("by weight"),
        Case::new("priorities and weights all zero", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                records(vec![
                    srv(XMPP, 0, 0, STARTTLS, HOST_A),
                    srv(XMPP, 0, 0, DIRECT, HOST_A),
                ]),
            )
        })
        .dials_in_any_order(&["a:15269", "a:15270"])
        .questions(4)
        .why("each first as often as the other"),
        Case::new("NXDOMAIN for SRV, an address", Zone::without_srv)
            .dials(&["the domain:5269"])
            .why("proven: there is no SRV record, so the address counts"),
        Case::new("no SRV data (NOERROR with SOA), an address", |place| {
            Zone::good(place)
                .on(XMPP, SRV, no_data())
                .on(XMPPS, SRV, no_data())
        })
        .dials(&["the domain:5269"])
        .why("proven"),
        Case::new("no SRV data without SOA, an address", |place| {
            Zone::good(place)
                .on(XMPP, SRV, code(0))
                .on(XMPPS, SRV, code(0))
        })
        .dials(&["the domain:5269"])
        .why("what small resolvers send for an absence (RFC 2308 §2.2)"),
        Case::new("NXDOMAIN without SOA, an address", |place| {
            Zone::good(place)
                .on(XMPP, SRV, code(NX_DOMAIN))
                .on(XMPPS, SRV, code(NX_DOMAIN))
        })
        .dials(&["the domain:5269"])
        .why("proven"),
        Case::new("no SRV data, with SOA and NS, an address", |place| {
            let reply = message(|message| {
                message.authorities.push(soa("lit", 60));
                message.authorities.push(ns("lit", "ns.lit"));
            });
            Zone::good(place).on(XMPP, SRV, reply)
        })
        .dials(&["the domain:5269"])
        .why("the SOA makes it an absence and no referral"),
        Case::new("there is no such domain", |place| {
            Zone::good(place).all(nx_domain())
        })
        .not_found("DNS has no address for capulet.lit")
        .why("proven"),
        Case::new("the domain exists, with neither SRV nor address", |place| {
            Zone::good(place).all(no_data())
        })
        .not_found("DNS has no address for capulet.lit")
        .why("proven"),
        Case::new("IPv4 only; NXDOMAIN for AAAA", |place| {
            Zone::good(place).on(HOST_A, AAAA, nx_domain())
        })
        .dials(&["a:15269"])
        .why("some servers say so of a name that has other records"),
        Case::new("IPv6 only", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![srv(
                        XMPP,
                        0,
                        0,
                        place.v6_port.unwrap_or_default(),
                        HOST_A,
                    )]),
                )
                .on(
                    HOST_A,
                    AAAA,
                    records(vec![aaaa(HOST_A, Ipv6Addr::LOCALHOST)]),
                )
                .on(HOST_A, A, no_data())
        })
        .dials(&["[::1]"])
        .needs_ipv6()
        .why("either family suffices"),
        Case::new("both families", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![
                        srv(XMPP, 0, 0, place.v6_port.unwrap_or_default(), HOST_A),
                        srv(XMPP, 1, 0, STARTTLS, HOST_B),
                    ]),
                )
                .on(
                    HOST_A,
                    AAAA,
                    records(vec![aaaa(HOST_A, Ipv6Addr::LOCALHOST)]),
                )
                // Nobody listens at that port here.
                .on(HOST_A, A, records(vec![a(HOST_A, place.dead())]))
        })
        .dials(&["[::1]", "b:15269"])
        .needs_ipv6()
        .questions(6)
        .why("IPv6 first, IPv4 next, then the next server"),
        Case::new("the first server is down", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![
                        srv(XMPP, 0, 0, STARTTLS, "dead.capulet.lit"),
                        srv(XMPP, 1, 0, STARTTLS, HOST_B),
                    ]),
                )
                .on(
                    "dead.capulet.lit",
                    A,
                    records(vec![a("dead.capulet.lit", place.dead())]),
                )
        })
        .dials(&["b:15269"])
        .questions(6)
        .why("the next in order"),
        Case::new(
            "the only server is down, the domain's address is alive",
            |place| Zone::good(place).on(HOST_A, A, records(vec![a(HOST_A, place.dead())])),
        )
        .timeout("no connection to DEAD:15269: Connection refused")
        .why("who has SRV records says where its servers are, and nowhere else (RFC 6120 §3.2.1)"),
        Case::new("the server is the domain itself", |place| {
            Zone::good(place).on(XMPP, SRV, server_at_5269(DOMAIN))
        })
        .dials(&["the domain:5269"])
        .why("an SRV record may say so"),
        Case::new("a domain below `.invalid` (the second message)", Zone::good)
            .dials(&["a:15269"])
            .why("DNS is not asked for what it cannot have (RFC 6761)")
            .then(Again {
                to: "nobody.invalid",
                after: Duration::ZERO,
                expect: Expect::NotFound("DNS has no address for nobody.invalid"),
                asks: false,
            }),
        Case::new("names in capitals", |place| {
            Zone::good(place).on(XMPP, SRV, server("A.CAPULET.LIT"))
        })
        .dials(&["a:15269"])
        .why("case means nothing in DNS"),
    ]
}

fn server_at_5269(host: &str) -> Reply {
    records(vec![srv(XMPP, 0, 0, 5269, host)])
}
