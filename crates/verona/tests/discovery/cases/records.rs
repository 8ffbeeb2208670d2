//! SRV records that say no, or nonsense, and names that stand for other names.

use verona_sim::name_server::message::{
    A, AAAA, CNAME, NX_DOMAIN, Record, SERV_FAIL, SRV, a, cname, dname, name_bytes, soa, srv,
};

use crate::case::Case;
use crate::world::{DIRECT, STARTTLS};
use crate::zone::{
    DOMAIN, HOST_A, HOST_B, Reply, XMPP, XMPPS, Zone, code, message, nx_domain, records, server,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = refusals();
    cases.extend(nonsense());
    cases.extend(aliases());
    cases
}

fn refusals() -> Vec<Case> {
    vec![
        Case::new("target \".\" at `_xmpp-server`", |place| {
            Zone::good(place).on(XMPP, SRV, none(XMPP))
        })
        .not_found("no XMPP server")
        .why("a decided no: the address is not tried (RFC 2782)"),
        Case::new("target \".\" at both", |place| {
            Zone::good(place)
                .on(XMPP, SRV, none(XMPP))
                .on(XMPPS, SRV, none(XMPPS))
        })
        .not_found("no XMPP server")
        .why("the same"),
        Case::new(
            "target \".\" at `_xmpps-server`, a server at `_xmpp-server`",
            |place| Zone::good(place).on(XMPPS, SRV, none(XMPPS)),
        )
        .dials(&["a:15269"])
        .why("no direct TLS, and nothing more (XEP-0368 §5)"),
        Case::new(
            "target \".\" at `_xmpps-server`, nothing at `_xmpp-server`",
            |place| Zone::without_srv(place).on(XMPPS, SRV, none(XMPPS)),
        )
        .not_found("no XMPP server")
        .why("whoever writes such records has no server at the address"),
        Case::new(
            "target \".\" at `_xmpp-server`, a server at `_xmpps-server`",
            |place| {
                Zone::good(place).on(XMPP, SRV, none(XMPP)).on(
                    XMPPS,
                    SRV,
                    records(vec![srv(XMPPS, 0, 0, DIRECT, HOST_A)]),
                )
            },
        )
        .dials(&["a:15270 TLS"])
        .why("direct TLS only"),
        Case::new("target \".\" with other servers", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                records(vec![
                    srv(XMPP, 0, 0, 0, "."),
                    srv(XMPP, 5, 0, STARTTLS, HOST_A),
                ]),
            )
        })
        .dials(&["a:15269"])
        .why("it means no only where it stands alone"),
    ]
}

fn nonsense() -> Vec<Case> {
    vec![
        Case::new("port 0", |place| {
            Zone::good(place).on(XMPP, SRV, records(vec![srv(XMPP, 0, 0, 0, HOST_A)]))
        })
        .not_found("")
        .why("nothing can be dialled, and the domain has said where it is"),
        Case::new("port 0, and another server", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                records(vec![
                    srv(XMPP, 0, 0, 0, HOST_B),
                    srv(XMPP, 5, 0, STARTTLS, HOST_A),
                ]),
            )
        })
        .dials(&["a:15269"])
        .why("what can be dialled is"),
        Case::new("the target is an address", |place| {
            let trap = place.trap().to_string();
            Zone::good(place).on(XMPP, SRV, records(vec![srv(XMPP, 0, 0, STARTTLS, &trap)]))
        })
        .timeout("without a usable SRV record")
        .why("a target is a name (RFC 2782)"),
        Case::new("the only target has no address", |place| {
            Zone::good(place).on(XMPP, SRV, server("nowhere.capulet.lit"))
        })
        .not_found("DNS has no address for nowhere.capulet.lit")
        .why("proven; the domain's own address is no server's"),
        Case::new("the first of two targets has no address", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                records(vec![
                    srv(XMPP, 0, 0, STARTTLS, "nowhere.capulet.lit"),
                    srv(XMPP, 5, 0, STARTTLS, HOST_A),
                ]),
            )
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("the others have"),
        Case::new("a target with an underscore", |place| {
            Zone::good(place)
                .on(XMPP, SRV, server("my_host.capulet.lit"))
                .on(
                    "my_host.capulet.lit",
                    A,
                    records(vec![a("my_host.capulet.lit", place.a())]),
                )
        })
        .dials(&["a:15269"])
        .why("no host name by RFC 952, and in use"),
        Case::new("a target with a space and markup in it", |place| {
            Zone::good(place).on(XMPP, SRV, server("<a href='x'>.lit"))
        })
        .timeout("without a usable SRV record")
        .why("no host name, and not repeated to anybody"),
        Case::new("a target with a space in it, and another server", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                records(vec![
                    srv(XMPP, 0, 0, STARTTLS, "no host!.capulet.lit"),
                    srv(XMPP, 5, 0, STARTTLS, HOST_A),
                ]),
            )
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("what can be used is"),
        Case::new("every record three times", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![
                        srv(XMPP, 0, 0, STARTTLS, HOST_A),
                        srv(XMPP, 0, 0, STARTTLS, HOST_A),
                        srv(XMPP, 0, 0, STARTTLS, HOST_A),
                        srv(XMPP, 5, 0, STARTTLS, HOST_B),
                    ]),
                )
                .on(HOST_A, A, records(vec![a(HOST_A, place.a()); 3]))
        })
        .dials(&["a:15269", "b:15269"])
        .questions(6)
        .why("each endpoint once"),
        Case::new("two names for one address", |place| {
            Zone::good(place)
                .on(
                    XMPP,
                    SRV,
                    records(vec![
                        srv(XMPP, 0, 0, STARTTLS, HOST_A),
                        srv(XMPP, 1, 0, STARTTLS, HOST_B),
                        srv(XMPP, 2, 0, STARTTLS, "c.capulet.lit"),
                    ]),
                )
                .on(HOST_B, A, records(vec![a(HOST_B, place.a())]))
        })
        .dials(&["a:15269", "c:15269"])
        .questions(8)
        .why("each endpoint once"),
        Case::new("a target of 63-letter labels, 253 letters long", |place| {
            let label = "x".repeat(63);
            let host = format!("{label}.{label}.{label}.{}", "y".repeat(61));
            let (ip, name) = (place.a(), host.clone());
            Zone::good(place)
                .on(XMPP, SRV, records(vec![srv(XMPP, 0, 0, STARTTLS, &host)]))
                .on(&host, A, records(vec![a(&name, ip)]))
        })
        .dials(&["a:15269"])
        .why("as long as a name may be"),
    ]
}

fn aliases() -> Vec<Case> {
    vec![
        Case::new("the server's name is an alias", |place| {
            Zone::good(place)
                .on(
                    HOST_A,
                    A,
                    records(vec![cname(HOST_A, "real.lit"), a("real.lit", place.a())]),
                )
                .on(HOST_A, AAAA, records(vec![cname(HOST_A, "real.lit")]))
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("forbidden (RFC 2782), and common"),
        Case::new(
            "an alias at the SRV name, the whole chain in the answer",
            |place| {
                let alias = || cname(XMPP, "_xmpp.host.lit");
                let end = || srv("_xmpp.host.lit", 0, 0, STARTTLS, HOST_A);
                Zone::good(place)
                    .on(XMPP, SRV, records(vec![alias(), end()]))
                    .on(XMPP, CNAME, records(vec![alias()]))
                    .on("_xmpp.host.lit", SRV, records(vec![end()]))
            },
        )
        .dials(&["a:15269"])
        .questions(8)
        .why("followed"),
        Case::new(
            "an alias at the SRV name, and nothing more in the answer",
            |place| {
                let alias = || records(vec![cname(XMPP, "_xmpp.host.lit")]);
                Zone::good(place)
                    .on(XMPP, SRV, alias())
                    .on(XMPP, CNAME, alias())
                    .on(
                        "_xmpp.host.lit",
                        SRV,
                        records(vec![srv("_xmpp.host.lit", 0, 0, STARTTLS, HOST_A)]),
                    )
            },
        )
        .dials(&["a:15269"])
        .questions(8)
        .why("followed, into any zone"),
        Case::new("an alias at the SRV name that leads nowhere", |place| {
            let alias = || records(vec![cname(XMPP, "nowhere.lit")]);
            Zone::good(place)
                .on(XMPP, SRV, alias())
                .on(XMPP, CNAME, alias())
        })
        .dials(&["the domain:5269"])
        .questions(10)
        .why("the end of the chain is proven to be absent"),
        Case::new(
            "an alias at the SRV name that leads nowhere, told with NXDOMAIN at once",
            |place| {
                let nowhere = message(|message| {
                    message.flags |= NX_DOMAIN;
                    message.answers.push(cname(XMPP, "nowhere.lit"));
                    message.authorities.push(soa("lit", 60));
                });
                Zone::good(place).on(XMPP, SRV, nowhere)
            },
        )
        .dials(&["the domain:5269"])
        .questions(6)
        .why("the same"),
        Case::new(
            "a circle of aliases at the SRV name, told with NXDOMAIN",
            |place| {
                let circle = message(|message| {
                    message.flags |= NX_DOMAIN;
                    message.answers.push(cname(XMPP, "x.lit"));
                    message.answers.push(cname("x.lit", XMPP));
                    message.authorities.push(soa("lit", 60));
                });
                Zone::good(place)
                    .on(XMPP, SRV, circle.clone())
                    .on("x.lit", SRV, circle)
            },
        )
        .timeout("")
        .questions(12)
        .why("a circle proves nothing"),
        Case::new(
            "an alias at the SRV name whose end answers SERVFAIL",
            |place| {
                let alias = || records(vec![cname(XMPP, "broken.lit")]);
                Zone::good(place)
                    .on(XMPP, SRV, alias())
                    .on(XMPP, CNAME, alias())
                    .on("broken.lit", SRV, code(SERV_FAIL))
            },
        )
        .timeout("Server Failure")
        .questions(10)
        .why("nothing is proven about it"),
        Case::new("an alias at the SRV name that leads to itself", |place| {
            Zone::good(place)
                .on(XMPP, SRV, records(vec![cname(XMPP, XMPP)]))
                .on(XMPP, CNAME, records(vec![cname(XMPP, XMPP)]))
        })
        .timeout("")
        .questions(12)
        .why("a circle proves nothing"),
        Case::new(
            "two aliases that lead to each other at the SRV name",
            |place| chain(Zone::good(place), SRV, XMPP, &["x.lit", XMPP]),
        )
        .timeout("")
        .questions(20)
        .why("a circle proves nothing"),
        Case::new("two aliases in a circle, both in each answer", |place| {
            let circle = records(vec![cname(XMPP, "x.lit"), cname("x.lit", XMPP)]);
            Zone::good(place)
                .on(XMPP, SRV, circle.clone())
                .on(XMPP, CNAME, circle.clone())
                .on("x.lit", SRV, circle.clone())
                .on("x.lit", CNAME, circle)
        })
        .timeout("")
        .questions(20)
        .why("a circle proves nothing"),
        Case::new(
            "two aliases that lead to each other at the server's name",
            |place| {
                let zone = chain(Zone::good(place), A, HOST_A, &["x.lit", HOST_A]);
                chain(zone, AAAA, HOST_A, &["x.lit", HOST_A])
            },
        )
        .timeout("")
        .questions(20)
        .why("a circle proves nothing"),
        Case::new(
            "20 aliases, one after the other, at the SRV name",
            |place| long_chain(Zone::good(place), SRV, XMPP),
        )
        .timeout("")
        .questions(12)
        .why("8 are followed"),
        Case::new(
            "20 aliases, one after the other, at the server's name",
            |place| {
                let zone = long_chain(Zone::good(place), A, HOST_A);
                long_chain(zone, AAAA, HOST_A)
            },
        )
        .timeout("")
        .questions(20)
        .why("8 are followed, and that is no absence"),
        Case::new("an alias beside the SRV record itself", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                records(vec![
                    srv(XMPP, 0, 0, STARTTLS, HOST_A),
                    cname(XMPP, "x.lit"),
                ]),
            )
        })
        .dials(&["a:15269"])
        .questions(8)
        .why("the record is there"),
        Case::new(
            "DNAME above the domain, with the alias that follows from it",
            |place| {
                let moved = "_xmpp-server._tcp.hosting.lit";
                let above = || dname(DOMAIN, "hosting.lit");
                let alias = || cname(XMPP, moved);
                let end = || srv(moved, 0, 0, STARTTLS, HOST_A);
                Zone::good(place)
                    .on(XMPP, SRV, records(vec![above(), alias(), end()]))
                    .on(XMPP, CNAME, records(vec![above(), alias()]))
                    .on(moved, SRV, records(vec![end()]))
            },
        )
        .dials(&["a:15269"])
        .questions(8)
        .why("followed (RFC 6672)"),
        Case::new(
            "DNAME above the domain, and not the alias that follows from it",
            |place| {
                let moved = "_xmpp-server._tcp.hosting.lit";
                let above = || records(vec![dname(DOMAIN, "hosting.lit")]);
                Zone::good(place).on(XMPP, SRV, above()).on(
                    moved,
                    SRV,
                    records(vec![srv(moved, 0, 0, STARTTLS, HOST_A)]),
                )
            },
        )
        .dials(&["a:15269"])
        .questions(6)
        .why("it follows all the same"),
        Case::new("a compressed target in the SRV record", |place| {
            // "a", and then the domain's name from the question: after the header and two labels.
            let mut data = vec![0, 0, 0, 0];
            data.extend_from_slice(&STARTTLS.to_be_bytes());
            data.extend_from_slice(b"\x01a\xc0");
            data.push(12 + 13 + 5);
            let record = Record::new(XMPP, SRV, data);
            assert_eq!(name_bytes("_xmpp-server._tcp").len(), 13 + 5 + 1);
            Zone::good(place).on(XMPP, SRV, records(vec![record]))
        })
        .dials(&["a:15269"])
        .why("forbidden (RFC 2782), and harmless"),
        Case::new(
            "an SRV record and NXDOMAIN for what it names as alias",
            |place| {
                Zone::good(place)
                    .on(HOST_A, A, records(vec![cname(HOST_A, "gone.lit")]))
                    .on(HOST_A, AAAA, records(vec![cname(HOST_A, "gone.lit")]))
                    .on("gone.lit", A, nx_domain())
            },
        )
        .not_found("DNS has no address for a.capulet.lit")
        .questions(8)
        .why("proven"),
    ]
}

/// "There is no such service".
fn none(name: &str) -> Reply {
    records(vec![srv(name, 0, 0, 0, ".")])
}

/// Each name is an alias of the next; the first is `from`.
fn chain(mut zone: Zone, kind: u16, from: &str, to: &[&str]) -> Zone {
    let mut name = from.to_owned();
    for next in to {
        let alias = || records(vec![cname(&name, next)]);
        zone = zone.on(&name, kind, alias()).on(&name, CNAME, alias());
        name = (*next).to_owned();
    }
    zone
}

fn long_chain(zone: Zone, kind: u16, from: &str) -> Zone {
    let names: Vec<String> = (1..=20).map(|n| format!("n{n}.lit")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    chain(zone, kind, from, &names)
}
