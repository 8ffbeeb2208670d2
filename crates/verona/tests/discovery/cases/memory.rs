//! What is remembered of an answer, and what is not: seen by a second message.

use std::time::Duration;

use verona_sim::name_server::message::{A, NX_DOMAIN, SERV_FAIL, SRV, a, srv};

use crate::case::{Again, Case, Expect, Takes};
use crate::world::STARTTLS;
use crate::zone::{
    DOMAIN, HOST_A, HOST_B, Reply, XMPP, XMPPS, Zone, absent, code, first, records, server, silence,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("a record that holds for a minute", Zone::good)
            .dials(&["a:15269"])
            .why("DNS is not asked again")
            .then(again(Expect::Dials(&["a:15269"]), false)),
        Case::new(
            "a record with TTL 0; another server the next time",
            |place| {
                let old = lives(0, HOST_A);
                Zone::good(place).on(XMPP, SRV, first(1, old, server(HOST_B)))
            },
        )
        .dials(&["a:15269"])
        .questions(6)
        .why("asked again")
        .then(later(Expect::Dials(&["b:15269"]), true)),
        Case::new("a record with TTL 2³¹", |place| {
            Zone::good(place).on(XMPP, SRV, lives(1 << 31, HOST_A))
        })
        .dials(&["a:15269"])
        .why("taken, and remembered for an hour at most")
        .then(again(Expect::Dials(&["a:15269"]), false)),
        Case::new("a record with TTL 2³² − 1", |place| {
            Zone::good(place).on(XMPP, SRV, lives(u32::MAX, HOST_A))
        })
        .dials(&["a:15269"])
        .why("the same")
        .then(again(Expect::Dials(&["a:15269"]), false)),
        Case::new(
            "an absence that holds for a minute; a record the next time",
            |place| {
                let now = first(1, absent(NX_DOMAIN, 60), server(HOST_A));
                Zone::good(place).on(XMPP, SRV, now)
            },
        )
        .dials(&["the domain:5269"])
        .why("an absence is remembered, a minute at most")
        .then(again(Expect::Dials(&["the domain:5269"]), false)),
        Case::new("an absence that holds for 2³¹ − 1 s", |place| {
            Zone::good(place).on(XMPP, SRV, absent(NX_DOMAIN, u32::MAX >> 1))
        })
        .dials(&["the domain:5269"])
        .why("the same")
        .then(again(Expect::Dials(&["the domain:5269"]), false)),
        Case::new(
            "an absence that holds for a second; a record the next time",
            |place| {
                let then = first(1, absent(NX_DOMAIN, 1), server(HOST_A));
                Zone::good(place)
                    .on(XMPP, SRV, then)
                    .on(XMPPS, SRV, absent(NX_DOMAIN, 1))
            },
        )
        .dials(&["the domain:5269"])
        .why("no longer than the zone says")
        .then(Again {
            after: Duration::from_millis(2100),
            ..again(Expect::Dials(&["a:15269"]), true)
        }),
        Case::new("an absence without SOA; a record the next time", |place| {
            let then = first(1, code(NX_DOMAIN), server(HOST_A));
            Zone::good(place).on(XMPP, SRV, then)
        })
        .dials(&["the domain:5269"])
        .why("nobody said for how long, so it is not remembered")
        .then(later(Expect::Dials(&["a:15269"]), true)),
        Case::new("SERVFAIL; a record for the next message", |place| {
            let then = first(3, code(SERV_FAIL), server(HOST_A));
            Zone::good(place).on(XMPP, SRV, then)
        })
        .timeout("Server Failure")
        .questions(6)
        .why("a failure is not remembered, and not as an absence")
        .then(again(Expect::Dials(&["a:15269"]), true)),
        Case::new(
            "SERVFAIL for the addresses; one for the next message",
            |place| {
                let now = first(3, code(SERV_FAIL), records(vec![a(HOST_A, place.a())]));
                Zone::good(place).on(HOST_A, A, now)
            },
        )
        .timeout("Server Failure")
        .questions(6)
        .why("the same")
        .then(again(Expect::Dials(&["a:15269"]), false)),
        Case::new("silence; a record for the next message", |place| {
            let zone = Zone::good(place);
            let patient: Reply = first(9, silence(), server(HOST_A));
            zone.on(XMPP, SRV, patient)
        })
        .timeout("did not answer")
        .takes(Takes::DnsSeconds)
        .questions(22)
        .why("the same")
        .then(again(Expect::Dials(&["a:15269"]), true)),
    ]
}

/// At once.
fn again(expect: Expect, asks: bool) -> Again {
    Again {
        to: DOMAIN,
        after: Duration::ZERO,
        expect,
        asks,
    }
}

/// After a moment in which what must not be remembered is forgotten.
fn later(expect: Expect, asks: bool) -> Again {
    Again {
        after: Duration::from_millis(1100),
        ..again(expect, asks)
    }
}

fn lives(ttl: u32, host: &'static str) -> Reply {
    records(vec![srv(XMPP, 0, 0, STARTTLS, host).ttl(ttl)])
}
