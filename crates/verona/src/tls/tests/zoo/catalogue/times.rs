//! From when and until when.

use rcgen::date_time_ymd;

use super::super::super::tlv;
use super::super::specimen::shown;
use super::super::surgery::Pieces;
use super::{Family, Nursery};

pub(super) fn family(nursery: &mut Nursery) -> Family {
    let old = nursery.root("An Old Authority", |params| {
        params.not_after = date_time_ymd(2021, 2, 3);
    });
    let late = nursery
        .authority
        .intermediate(|params| params.not_after = date_time_ymd(2021, 2, 3));
    let early = nursery
        .authority
        .intermediate(|params| params.not_before = date_time_ymd(2999, 1, 2));
    let short = nursery
        .authority
        .intermediate(|params| params.not_after = date_time_ymd(2990, 1, 1));
    let mut generalized = nursery.server(|_| {});
    let mut pieces = Pieces::of(&generalized.chain[0]);
    pieces.validity = tlv(
        0x30,
        &[tlv(0x18, b"19750101000000Z"), tlv(0x18, b"20490101000000Z")].concat(),
    );
    generalized.chain = vec![pieces.signed_by(&nursery.authority)];
    let name = &["montague.lit"];
    let specimens = vec![
        shown("expired", &{
            nursery.server(|params| params.not_after = date_time_ymd(2020, 1, 2))
        })
        .untrusted("expired on 2020-01-02"),
        shown("not valid yet", &{
            nursery.server(|params| params.not_before = date_time_ymd(2999, 1, 2))
        })
        .untrusted("not valid before 2999-01-02"),
        shown("valid from 2999 until 1999", &{
            nursery.server(|params| {
                params.not_before = date_time_ymd(2999, 1, 2);
                params.not_after = date_time_ymd(1999, 1, 2);
            })
        })
        .untrusted("it ends before it begins"),
        // RFC 5280 §4.1.2.5.
        shown("without an end (the year 9999)", &{
            nursery.server(|params| {
                params.not_after = date_time_ymd(9999, 12, 31);
            })
        })
        .proves(),
        // RFC 5280 §4.1.2.5 asks authorities for UTCTime before 2050, and peers for nothing.
        shown("dates of this century as GeneralizedTime", &generalized).proves(),
        shown(
            "its intermediate expired",
            &late.issue(name, |_| {}).with(&late),
        )
        .untrusted("an intermediate certificate: expired on 2021-02-03"),
        shown(
            "its intermediate not valid yet",
            &early.issue(name, |_| {}).with(&early),
        )
        .untrusted("an intermediate certificate: not valid before 2999-01-02"),
        shown(
            "it outlives its intermediate",
            &short.issue(name, |_| {}).with(&short),
        )
        .proves(),
        // RFC 5280 §6.1.1 d: a trust anchor is a name and a key; whoever keeps it in the store trusts it.
        shown(
            "its root expired, and is trusted all the same",
            &old.issue(name, |_| {}),
        )
        .proves(),
    ];
    Family {
        title: "Dates",
        about: "An expired certificate proves nothing, nor does one with an expired intermediate. A root is trusted as long \
                as it is in the store.",
        specimens,
    }
}
