//! No answer, or the answer that there is none: nothing is proven by it.

use std::time::Duration;

use verona_sim::name_server::Act;
use verona_sim::name_server::message::{
    A, AAAA, FORM_ERR, NOT_IMP, REFUSED, SERV_FAIL, SRV, ns, srv,
};

use crate::case::{Case, Servers, Takes};
use crate::world::{Place, STARTTLS};
use crate::zone::{
    HOST_A, HOST_B, XMPP, XMPPS, Zone, code, first, late, message, no_data, nx_domain, records,
    silence,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        failed("SERVFAIL for SRV", |place| {
            Zone::good(place).on(XMPP, SRV, code(SERV_FAIL))
        })
        .timeout("Server Failure"),
        failed("REFUSED for SRV", |place| {
            Zone::good(place).on(XMPP, SRV, code(REFUSED))
        })
        .timeout("Refused"),
        failed("NOTIMP for SRV", |place| {
            Zone::good(place).on(XMPP, SRV, code(NOT_IMP))
        })
        .timeout("Not Implemented"),
        failed("FORMERR for SRV", |place| {
            Zone::good(place).on(XMPP, SRV, code(FORM_ERR))
        })
        .timeout("Form Error"),
        failed("a response code that nobody knows (12) for SRV", |place| {
            Zone::good(place).on(XMPP, SRV, code(12))
        })
        .timeout(""),
        Case::new("SERVFAIL for `_xmpps-server` alone, a server at `_xmpp-server`", |place| {
            Zone::good(place).on(XMPPS, SRV, code(SERV_FAIL))
        })
        .dials(&["a:15269"])
        .questions(8)
        .why("a server that was found is used"),
        Case::new("SERVFAIL for `_xmpps-server` alone, nothing at `_xmpp-server`", |place| {
            Zone::without_srv(place).on(XMPPS, SRV, code(SERV_FAIL))
        })
        .timeout("Server Failure")
        .questions(8)
        .why("there may be a server for direct TLS; the address is not its"),
        Case::new("SERVFAIL for the addresses of the only server", |place| {
            Zone::good(place)
                .on(HOST_A, A, code(SERV_FAIL))
                .on(HOST_A, AAAA, code(SERV_FAIL))
        })
        .timeout("Server Failure")
        .questions(8)
        .why("it has a server, of which we do not know where"),
        Case::new("SERVFAIL for AAAA, an A record", |place| {
            Zone::good(place).on(HOST_A, AAAA, code(SERV_FAIL))
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("either family suffices"),
        Case::new("SERVFAIL for A, no AAAA record", |place| {
            Zone::good(place).on(HOST_A, A, code(SERV_FAIL))
        })
        .timeout("Server Failure")
        .questions(6)
        .why("half an absence proves nothing"),
        Case::new("SERVFAIL for the addresses of the first of two servers", |place| {
            two_servers(place)
                .on(HOST_A, A, code(SERV_FAIL))
                .on(HOST_A, AAAA, code(SERV_FAIL))
        })
        .dials(&["b:15269"])
        .questions(10)
        .why("what is known is used"),
        failed("SERVFAIL for everything", |place| {
            Zone::good(place).all(code(SERV_FAIL))
        })
        .timeout("Server Failure"),
        failed("a lame referral: the servers of another zone, no answer", |place| {
            Zone::good(place).on(
                XMPP,
                SRV,
                message(|message| message.authorities.push(ns("capulet.lit", "ns.capulet.lit"))),
            )
        })
        .timeout("must resolve for others"),
        failed("a referral upwards, to the root", |place| {
            Zone::good(place).all(message(|message| {
                message
                    .authorities
                    .push(ns(".", "a.root-servers.net"))
            }))
        })
        .timeout("must resolve for others"),
        waits("silence", |place| Zone::good(place).all(silence()))
            .timeout("did not answer")
            .why("nothing is proven"),
        waits("silence for `_xmpp-server`", |place| {
            Zone::good(place).on(XMPP, SRV, silence())
        })
        .timeout("did not answer")
        .why("whoever drops our questions does not get us to the address"),
        waits("silence for both SRV questions", |place| {
            Zone::good(place)
                .on(XMPP, SRV, silence())
                .on(XMPPS, SRV, silence())
        })
        .timeout("did not answer")
        .why("the same"),
        waits("silence for `_xmpps-server`, a server at `_xmpp-server`", |place| {
            Zone::good(place).on(XMPPS, SRV, silence())
        })
        .takes(Takes::AMoment)
        .dials(&["a:15269"])
        .why("a server that was found waits a second for the other answer, and no longer"),
        waits("silence for `_xmpps-server`, nothing at `_xmpp-server`", |place| {
            Zone::without_srv(place).on(XMPPS, SRV, silence())
        })
        .timeout("did not answer")
        .why("there may be a server for direct TLS"),
        waits("silence for the addresses of the only server", |place| {
            Zone::good(place)
                .on(HOST_A, A, silence())
                .on(HOST_A, AAAA, silence())
        })
        .timeout("did not answer")
        .why("it has a server, of which we do not know where"),
        Case::new("silence for AAAA", |place| {
            Zone::good(place).on(HOST_A, AAAA, silence())
        })
        .dials(&["a:15269"])
        .takes(Takes::AMoment)
        .questions(6)
        .why("0.3 s are enough for the other family"),
        Case::new("AAAA after 1 s", |place| {
            Zone::good(place).on(HOST_A, AAAA, late(Duration::from_secs(1), no_data()))
        })
        .dials(&["a:15269"])
        .takes(Takes::AMoment)
        .questions(6)
        .why("the same"),
        Case::new("AAAA after 5 s", |place| {
            Zone::good(place).on(HOST_A, AAAA, late(Duration::from_secs(5), no_data()))
        })
        .dials(&["a:15269"])
        .takes(Takes::AMoment)
        .questions(6)
        .why("the same"),
        waits("silence for AAAA, no A record", |place| {
            Zone::good(place)
                .on(HOST_A, AAAA, silence())
                .on(HOST_A, A, no_data())
        })
        .timeout("did not answer")
        .why("half an absence proves nothing"),
        waits("silence for the addresses of the first of two servers", |place| {
            two_servers(place)
                .on(HOST_A, A, silence())
                .on(HOST_A, AAAA, silence())
        })
        .dials(&["b:15269"])
        .questions(27)
        .why("what is known is used, once the rest is given up"),
        Case::new("every answer after 0.6 s", |place| {
            Zone::good(place).every(|_, acts| slowly(Duration::from_millis(600), acts))
        })
        .dials(&["a:15269"])
        .takes(Takes::AMoment)
        .questions(8)
        .why("slow is not silent"),
        waits("every answer after 5 s", |place| {
            Zone::good(place).every(|_, acts| slowly(Duration::from_secs(5), acts))
        })
        .timeout("did not answer")
        .why("too slow is silent"),
        Case::new("the first question of each kind is lost", |place| {
            Zone::good(place).every(|question, acts| match question.earlier {
                0 => Vec::new(),
                _ => acts,
            })
        })
        .dials(&["a:15269"])
        .takes(Takes::AMoment)
        .questions(12)
        .why("it is asked again"),
        Case::new("SERVFAIL the first time, then a server", |place| {
            let good = records(vec![srv(XMPP, 0, 0, STARTTLS, HOST_A)]);
            Zone::good(place).on(XMPP, SRV, first(1, code(SERV_FAIL), good))
        })
        .dials(&["a:15269"])
        .questions(6)
        .why("it is asked again"),
        Case::new("the first name server is silent, the second is good", Zone::good)
            .servers(Servers::Before(silence))
            .dials(&["a:15269"])
            .takes(Takes::AMoment)
            .questions(16)
            .why("both are asked"),
        Case::new("the first name server says REFUSED, the second is good", Zone::good)
            .servers(Servers::Before(|| code(REFUSED)))
            .dials(&["a:15269"])
            .takes(Takes::AMoment)
            .questions(24)
            .why("the other may know"),
        Case::new("the first name server says SERVFAIL, the second is good", Zone::good)
            .servers(Servers::Before(|| code(SERV_FAIL)))
            .dials(&["a:15269"])
            .takes(Takes::AMoment)
            .questions(24)
            .why("the other may know"),
        Case::new("EDNS is answered with FORMERR", |place| {
            Zone::good(place).every(|question, acts| match question.edns {
                true => code(FORM_ERR)(question),
                false => acts,
            })
        })
        .timeout("Form Error")
        .questions(8)
        .why("a resolver has to know EDNS (since the flag day of 2019); the text says what it answered"),
        Case::new("NXDOMAIN for SRV, SERVFAIL for the domain's addresses", |place| {
            Zone::without_srv(place)
                .on("capulet.lit", A, code(SERV_FAIL))
                .on("capulet.lit", AAAA, code(SERV_FAIL))
        })
        .timeout("Server Failure")
        .questions(8)
        .why("nothing is proven about the address"),
        Case::new("NXDOMAIN for the only server's name", |place| {
            Zone::good(place)
                .on(HOST_A, A, nx_domain())
                .on(HOST_A, AAAA, nx_domain())
        })
        .not_found("DNS has no address for a.capulet.lit")
        .why("proven: its only server does not exist"),
    ]
}

/// The SRV question gets an answer that is none; asked again twice.
fn failed(what: &'static str, zone: impl Fn(&Place) -> Zone + Send + Sync + 'static) -> Case {
    Case::new(what, zone)
        .questions(6)
        .why("nothing is proven, so nothing else is tried")
}

/// Questions without an answer.
fn waits(what: &'static str, zone: impl Fn(&Place) -> Zone + Send + Sync + 'static) -> Case {
    Case::new(what, zone).takes(Takes::DnsSeconds).questions(22)
}

fn two_servers(place: &Place) -> Zone {
    Zone::good(place).on(
        XMPP,
        SRV,
        records(vec![
            srv(XMPP, 0, 0, STARTTLS, HOST_A),
            srv(XMPP, 1, 0, STARTTLS, HOST_B),
        ]),
    )
}

fn slowly(time: Duration, acts: Vec<Act>) -> Vec<Act> {
    std::iter::once(Act::Wait(time)).chain(acts).collect()
}
