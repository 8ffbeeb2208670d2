//! TLSA records (RFC 7673), and hosts that DNSSEC proves (DNS-16).

use rcgen::date_time_ymd;
use verona_proto::dane::{DANE_EE, DANE_TA, PKIX_EE};
use verona_proto::policy::IdentityMethod::{Certificate, Dane, Dialback};

use super::super::catalogue::dns;
use super::super::specimen::shown;
use super::*;

pub(super) const TITLE: &str = "With DNSSEC: TLSA records and names of hosts";
pub(super) const ABOUT: &str = "Where DNSSEC proves TLSA records for the servers of a domain, a certificate that they name \
     needs neither an authority nor dates nor names (`3 1 1`), and a server that we dialled and that shows another is left, \
     whatever else speaks for it. A peer that connects need not be a server, so another certificate costs it no more than \
     this proof; and DNS is not asked where the certificate suffices.";

pub(super) fn cases(nursery: &Nursery) -> Vec<Case> {
    let both = [Certificate, Dane];
    let good = nursery.server(|_| {});
    let itself = self_signed();
    let expired = nursery.server(|params| params.not_after = date_time_ymd(2020, 1, 2));
    let other = nursery.named(&[dns("capulet.lit")]);
    let host = nursery.named(&[dns("xmpp.montague.lit")]);
    let stranger = Authority::new("A Stranger");
    let own = stranger.issue(&["montague.lit"], |_| {}).with(&stranger);
    let own_expired = stranger
        .issue(&["montague.lit"], |params| {
            params.not_after = date_time_ymd(2020, 1, 2);
        })
        .with(&stranger);
    let key = |issued: &Issued| of(DANE_EE, 1, &digest_of_key(issued));
    let names_authority = || {
        let certificate = stranger.0.der();
        says(vec![TlsaRecord {
            usage: DANE_TA,
            selector: 0,
            matching: 0,
            data: certificate.to_vec(),
        }])
    };
    let names_others = || says(vec![of(DANE_EE, 1, &[7; 32])]);
    let nothing = Elsewhere::default;
    let proven_host = Elsewhere {
        hosts: vec!["xmpp.montague.lit"],
        ..Elsewhere::default()
    };
    let dialled_other =
        format!("DNS names other certificates for the peer (TLSA): the one that it shows {OTHERS}");
    let differs = format!("{SELF_SIGNED}; by its TLSA records the certificate {OTHERS}");
    vec![
        Case::new(shown("good", &good), "no TLSA records", &both)
            .elsewhere(nothing())
            .proves("certificate"),
        Case::new(shown("good", &good), "`3 1 1` of its key", &both)
            .elsewhere(says(vec![key(&good)]))
            .proves_and_dane(),
        //= TLS-34
        Case::new(shown("good", &good), "`3 1 1` of another key", &both)
            .elsewhere(names_others())
            .proves("certificate")
            .dialled(Verdict::Refused, &dialled_other)
            .asked(Verdict::Refused, &dialled_other),
        Case::new(
            shown("good", &good),
            "`3 1 1` of another key, and of its key",
            &both,
        )
        .elsewhere(says(vec![of(DANE_EE, 1, &[7; 32]), key(&good)]))
        .proves_and_dane(),
        Case::new(shown("good", &good), "`3 1 9`, which nobody knows", &both)
            .elsewhere(says(vec![of(DANE_EE, 9, &[7; 32])]))
            .proves("certificate"),
        Case::new(shown("good", &good), "`1 1 1` of its key", &both)
            .elsewhere(says(vec![of(PKIX_EE, 1, &digest_of_key(&good))]))
            .proves_and_dane(),
        Case::new(shown("self-signed", &itself), "no TLSA records", &both)
            .elsewhere(nothing())
            .refused(&format!(
                "{SELF_SIGNED}; DNS has no TLSA record for it that may be believed"
            )),
        //= TLS-34
        Case::new(shown("self-signed", &itself), "`3 1 1` of its key", &both)
            .elsewhere(says(vec![key(&itself)]))
            .proves("dane"),
        Case::new(
            shown("self-signed", &itself),
            "`3 1 1` of its key",
            &[Certificate],
        )
        .elsewhere(says(vec![key(&itself)]))
        .refused(SELF_SIGNED),
        Case::new(
            shown("self-signed", &itself),
            "`3 1 1` of another key",
            &both,
        )
        .elsewhere(names_others())
        .connects(Verdict::Refused, &differs)
        .dialled(Verdict::Refused, &dialled_other)
        .asked(Verdict::Refused, &dialled_other),
        Case::new(
            shown("self-signed", &itself),
            "`3 1 1` of another key",
            &[Certificate, Dane, Dialback],
        )
        .elsewhere(names_others())
        .connects(Verdict::Dialback, &differs)
        .dialled(Verdict::Refused, &dialled_other)
        .asked(Verdict::Refused, &dialled_other),
        Case::new(shown("self-signed", &itself), "`1 1 1` of its key", &both)
            .elsewhere(says(vec![of(PKIX_EE, 1, &digest_of_key(&itself))]))
            .connects(
                Verdict::Refused,
                &format!("{SELF_SIGNED}; by its TLSA records the certificate {NOT_PUBLIC}"),
            )
            .dialled(Verdict::Refused, &dialled(NOT_PUBLIC))
            .asked(Verdict::Refused, &dialled(NOT_PUBLIC)),
        //= DNS-17
        Case::new(shown("expired", &expired), "`3 1 1` of its key", &both)
            .elsewhere(says(vec![key(&expired)]))
            .proves("dane"),
        Case::new(
            shown("for another domain", &other),
            "`3 1 1` of its key",
            &both,
        )
        .elsewhere(says(vec![key(&other)]))
        .proves("dane"),
        Case::new(
            shown("by an authority of its own", &own),
            "`2 0 0` of the authority",
            &both,
        )
        .elsewhere(names_authority())
        .proves("dane"),
        Case::new(
            shown("by an authority of its own, expired", &own_expired),
            "`2 0 0` of the authority",
            &both,
        )
        .elsewhere(names_authority())
        .connects(
            Verdict::Refused,
            &format!("{EXPIRED}; by its TLSA records the certificate {LEADS_ELSEWHERE}"),
        )
        .dialled(Verdict::Refused, &dialled(LEADS_ELSEWHERE))
        .asked(Verdict::Refused, &dialled(LEADS_ELSEWHERE)),
        //= DNS-16
        Case::new(
            shown("for the host that serves it", &host),
            "that host",
            &both,
        )
        .elsewhere(proven_host)
        .proves("certificate"),
        Case::new(
            shown("for the host that serves it", &host),
            "nothing",
            &[Certificate],
        )
        .refused("the peer's certificate is for xmpp.montague.lit, not for montague.lit"),
    ]
}

impl Case {
    /// DNS is not asked about a peer that connects and proves itself without.
    fn proves_and_dane(self) -> Self {
        self.proves("dane")
            .connects(Verdict::External("certificate".into()), "")
    }
}

fn says(records: Vec<TlsaRecord>) -> Elsewhere {
    Elsewhere {
        records,
        ..Elsewhere::default()
    }
}

/// A record of a key.
fn of(usage: u8, matching: u8, digest: &[u8]) -> TlsaRecord {
    TlsaRecord {
        usage,
        selector: 1,
        matching,
        data: digest.to_vec(),
    }
}

/// What is said of a server that we dialled.
fn dialled(found: &str) -> String {
    format!("DNS names other certificates for the peer (TLSA): the one that it shows {found}")
}

const OTHERS: &str = "is none of those that they name (3 1 1 07070707070707070707070707070707…)";
const NOT_PUBLIC: &str = "is the one that its TLSA record names, which asks for a public authority besides (PKIX-EE), but it \
                          is not trusted: self-signed";
const LEADS_ELSEWHERE: &str =
    "does not lead to the authority that its TLSA record names: expired on 2020-01-02";
const EXPIRED: &str = "the peer's certificate is not trusted: expired on 2020-01-02";
