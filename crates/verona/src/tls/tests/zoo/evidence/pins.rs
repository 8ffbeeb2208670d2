//! Keys that the operator named.

use rcgen::date_time_ymd;
use verona_proto::policy::IdentityMethod::{Certificate, Pin};

use super::super::catalogue::dns;
use super::super::specimen::{nothing, shown, shown_with};
use super::*;

pub(super) const TITLE: &str = "With pins: keys that you named";
pub(super) const ABOUT: &str = "`pins` names keys. A certificate with one of them is believed, whatever else stands in it; with \
     `pins` alone no other is.";

pub(super) fn cases(nursery: &Nursery) -> Vec<Case> {
    let good = nursery.server(|_| {});
    let itself = self_signed();
    let expired = nursery.server(|params| params.not_after = date_time_ymd(2020, 1, 2));
    let other = nursery.named(&[dns("capulet.lit")]);
    let thief = certified(&good.chain, &KeyPair::generate().unwrap());
    let not_pinned = "its key is none of those that are pinned for it";
    let case = |what, issued: &Issued, accepts: &[IdentityMethod]| {
        Case::new(shown(what, issued), "its key", accepts).pinned(digest_of_key(issued))
    };
    let wrong = |what, issued: &Issued, accepts: &[IdentityMethod]| {
        Case::new(shown(what, issued), "another key", accepts).pinned([7; 32])
    };
    vec![
        case("good", &good, &[Pin]).proves("pin"),
        case("self-signed", &itself, &[Pin]).proves("pin"),
        case("expired", &expired, &[Pin]).proves("pin"),
        case("for another domain", &other, &[Pin]).proves("pin"),
        case("self-signed", &itself, &[Certificate, Pin]).proves("pin"),
        case("self-signed", &itself, &[Certificate]).refused(SELF_SIGNED),
        wrong("good", &good, &[Pin]).refused(&format!("{ONLY_VALID}; {not_pinned}")),
        wrong("good", &good, &[Certificate, Pin]).proves("certificate"),
        wrong("self-signed", &itself, &[Certificate, Pin])
            .refused(&format!("{SELF_SIGNED}; {not_pinned}")),
        Case::new(nothing("none at all"), "a key", &[Pin])
            .pinned([7; 32])
            .refused("the peer showed no certificate"),
        Case::new(shown_with("good, and stolen", thief), "its key", &[Pin])
            .pinned(digest_of_key(&good))
            .connects(Verdict::NoTls, NO_KEY)
            .dialled(Verdict::NoTls, NO_KEY)
            .asked(Verdict::NoTls, NO_KEY),
    ]
}

const NO_KEY: &str = "it did not prove that it has the key of its certificate; its key is another or too weak (RSA needs \
                      2048 bits); its operator must look at the certificate";
