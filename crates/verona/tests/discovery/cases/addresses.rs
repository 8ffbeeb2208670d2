//! Addresses that a stranger has no business to name: DNS is written by anybody.

use std::net::{Ipv4Addr, Ipv6Addr};

use verona_sim::name_server::message::{A, AAAA, SRV, a, aaaa, srv};

use crate::case::{Again, Case, Expect};
use crate::world::STARTTLS;
use crate::zone::{DOMAIN, HOST_A, HOST_B, XMPP, Zone, first, no_data, records};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(
            "our own loopback, where only the Internet is dialled",
            Zone::good,
        )
        .not_found("is not a public address (loopback")
        .on_the_internet()
        .why("no network of ours is reached by what a stranger writes"),
        Case::new(
            "the same without SRV, by the domain's address",
            Zone::without_srv,
        )
        .not_found("is not a public address (loopback")
        .on_the_internet()
        .why("the same"),
        Case::new("our own listener", |place| {
            Zone::good(place).on(HOST_A, A, records(vec![a(HOST_A, place.own())]))
        })
        .not_found("is our own listener")
        .why("we would talk to ourselves"),
        Case::new("our own listener first, then a server", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![
                        srv(XMPP, 0, 0, STARTTLS, HOST_B),
                        srv(XMPP, 5, 0, STARTTLS, HOST_A),
                    ]),
                )
                .on(HOST_B, A, records(vec![a(HOST_B, place.own())]))
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("the next in order"),
        Case::new("a private address first, then a server", |place| {
            let inside = Ipv4Addr::new(10, 0, 0, 1);
            Zone::good(place).on(
                HOST_A,
                A,
                records(vec![a(HOST_A, inside), a(HOST_A, place.a())]),
            )
        })
        .dials(&["a:15269"])
        .why("only what may be dialled is"),
        Case::new(
            "a good address, and a private one the next time (rebinding)",
            |place| {
                let good = records(vec![a(HOST_A, place.a()).ttl(0)]);
                let inside = records(vec![a(HOST_A, Ipv4Addr::new(192, 168, 1, 1)).ttl(0)]);
                Zone::good(place).on(HOST_A, A, first(1, good, inside))
            },
        )
        .dials(&["a:15269"])
        .why("judged at every dial, by the address that is dialled")
        .then(Again {
            to: DOMAIN,
            after: std::time::Duration::from_millis(1100),
            expect: Expect::NotFound("192.168.1.1:15269 is not a public address"),
            asks: false,
        }),
    ];
    for (what, address, reason) in [
        (
            "the address 10.0.0.1",
            Ipv4Addr::new(10, 0, 0, 1),
            "private",
        ),
        (
            "the address 169.254.169.254, where clouds keep secrets",
            Ipv4Addr::new(169, 254, 169, 254),
            "link-local",
        ),
        ("the address 0.0.0.0", Ipv4Addr::UNSPECIFIED, "unspecified"),
        (
            "the address 224.0.0.1",
            Ipv4Addr::new(224, 0, 0, 1),
            "multicast",
        ),
        (
            "the address 255.255.255.255",
            Ipv4Addr::BROADCAST,
            "broadcast",
        ),
    ] {
        let case = Case::new(what, move |place| {
            Zone::good(place).on(HOST_A, A, records(vec![a(HOST_A, address)]))
        });
        cases.push(case.not_found(reason).why("no server is there"));
    }
    for (what, address, reason) in [
        (
            "the address ::ffff:10.0.0.1, an IPv4 address in an IPv6 one",
            Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped(),
            "private",
        ),
        (
            "the address ::ffff:192.0.2.1",
            Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(),
            "documentation",
        ),
        ("the address ::", Ipv6Addr::UNSPECIFIED, "unspecified"),
        (
            "the address fe80::1",
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
            "link-local",
        ),
        (
            "the address fd00::1",
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
            "unique local",
        ),
        (
            "the address 64:ff9b::a00:1, 10.0.0.1 behind NAT64",
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0x0a00, 1),
            "private",
        ),
    ] {
        let case = Case::new(what, move |place| {
            Zone::good(place)
                .on(HOST_A, AAAA, records(vec![aaaa(HOST_A, address)]))
                .on(HOST_A, A, no_data())
        });
        cases.push(case.not_found(reason).why("no server is there"));
    }
    cases
}
