//! Peers that proved themselves before (contract §3, `weaker`).

use verona_proto::policy::IdentityMethod::{Certificate, Dane, Dialback};

use super::super::specimen::{nothing, shown};
use super::*;

pub(super) const TITLE: &str = "After a proof: `weaker`";
pub(super) const ABOUT: &str = "Whoever proved itself by a certificate in the last 30 days has to do so again, unless `weaker = \
     \"allow\"`. A peer that connects without may still ask to have its key checked; but the server that is asked about the \
     key is dialled, and held to the same.";

pub(super) fn cases(nursery: &Nursery) -> Vec<Case> {
    let all = [Certificate, Dane, Dialback];
    let good = nursery.server(|_| {});
    let itself = self_signed();
    let no_records = Elsewhere::default;
    let no_dnssec = || Elsewhere {
        dnssec: Dnssec::Off,
        ..Elsewhere::default()
    };
    let only_dns = |why: &str| less("its certificate", "dns", &format!(" ({why})"));
    let no_tlsa = format!("{SELF_SIGNED}; DNS has no TLSA record for it that may be believed");
    vec![
        Case::new(shown("good", &good), "a certificate", &all)
            .before(Strength::Certificate)
            .proves("certificate"),
        Case::new(shown("self-signed", &itself), "nothing", &all)
            .connects(Verdict::Dialback, SELF_SIGNED)
            .dialled(Verdict::Believed("dns".into()), SELF_SIGNED)
            .asked(Verdict::Asked("dns"), SELF_SIGNED),
        Case::new(shown("self-signed", &itself), "a certificate", &all)
            .before(Strength::Certificate)
            .connects(Verdict::Dialback, SELF_SIGNED)
            .dialled(Verdict::Refused, &only_dns(SELF_SIGNED))
            .asked(Verdict::Refused, &only_dns(SELF_SIGNED)),
        Case::new(shown("self-signed", &itself), "a certificate", &all)
            .before(Strength::Certificate)
            .allowing_weaker()
            .connects(Verdict::Dialback, SELF_SIGNED)
            .dialled(Verdict::Believed("dns".into()), SELF_SIGNED)
            .asked(Verdict::Asked("dns"), SELF_SIGNED),
        Case::new(nothing("none at all"), "a certificate", &all)
            .before(Strength::Certificate)
            .connects(Verdict::Dialback, "the peer showed no certificate"),
        // Where the operator has nobody validate DNSSEC, nobody can say that it is less.
        Case::new(shown("good", &good), "DANE, and DNSSEC is off", &all)
            .before(Strength::Dane)
            .elsewhere(no_dnssec())
            .proves("certificate"),
        Case::new(shown("good", &good), "DANE, and nobody may ask", &all)
            .before(Strength::Dane)
            .connects(Verdict::Dialback, &less("DANE", "certificate", ""))
            .dialled(Verdict::Refused, &less("DANE", "certificate", ""))
            .asked(Verdict::Refused, &less("DANE", "certificate", "")),
        Case::new(shown("good", &good), "DANE, and there are no records", &all)
            .before(Strength::Dane)
            .elsewhere(no_records())
            .connects(Verdict::Dialback, &less("DANE", "certificate", ""))
            .dialled(Verdict::Refused, &less("DANE", "certificate", ""))
            .asked(Verdict::Refused, &less("DANE", "certificate", "")),
        Case::new(
            shown("self-signed", &itself),
            "DANE, and there are no records",
            &all,
        )
        .before(Strength::Dane)
        .elsewhere(no_records())
        .connects(Verdict::Dialback, &no_tlsa)
        .dialled(
            Verdict::Refused,
            &less("DANE", "dns", &format!(" ({no_tlsa})")),
        )
        .asked(
            Verdict::Refused,
            &less("DANE", "dns", &format!(" ({no_tlsa})")),
        ),
    ]
}

fn less(before: &str, offered: &str, why: &str) -> String {
    format!(
        "the peer proved itself by {before} in the last 30 days and offers only {offered}{why}; if that is meant, forget what \
         is known of it (`verona forget DOMAIN`), or set weaker = \"allow\" for it"
    )
}
