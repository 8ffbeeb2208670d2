//! The same line by line, with the reasons that an operator reads.

use std::time::{Duration, Instant, SystemTime};

use rcgen::{GeneralSubtree, NameConstraints, date_time_ymd};
use sha2::{Digest as _, Sha256, Sha512};
use verona_proto::dane::{Dane, TlsaRecord};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::*;

/// What a record selects of a certificate, compared in one of the three ways.
fn record(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'_>) -> TlsaRecord {
    let (_, parsed) = X509Certificate::from_der(of).unwrap();
    let selected = match selector {
        0 => of.as_ref(),
        _ => parsed.public_key().raw,
    };
    let data = match matching {
        0 => selected.to_vec(),
        1 => Sha256::digest(selected).to_vec(),
        _ => Sha512::digest(selected).to_vec(),
    };
    TlsaRecord {
        usage,
        selector,
        matching,
        data,
    }
}

/// What `records` say of a chain for montague.lit, whose server DNSSEC proves to be xmpp.montague.lit.
fn judge(records: &[TlsaRecord], chain: &[CertificateDer<'static>], trust: &TrustRoots) -> Dane {
    let (now_wall, now) = (SystemTime::now(), Instant::now());
    let domain = Domain::parse("montague.lit").unwrap();
    let hosts = [Domain::parse("xmpp.montague.lit").unwrap()];
    let evidence = evidence(Some(chain), trust, now_wall, now);
    compare(records, chain, &evidence, &domain, &hosts, (now_wall, now))
}

fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = leaf(names);
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    Issued {
        chain: vec![certificate.der().clone()],
        key,
    }
}

const MATCHES: &str = "";

/// Checks one line of a table: `MATCHES`, or a part of the reason.
fn check(what: &str, judged: &Dane, expected: &str, ends: bool) {
    match judged {
        Dane::Matches { until } => {
            assert_eq!(expected, MATCHES, "{what}: matches");
            assert_eq!(until.is_some(), ends, "{what}: {until:?}");
        }
        Dane::Differs(why) => {
            assert!(
                expected != MATCHES && why.contains(expected),
                "{what}: {why}"
            );
        }
        Dane::NoRecords | Dane::NotLooked => panic!("{what}: {judged:?}"),
    }
}

#[test]
fn the_peers_own_certificate_counts_whatever_stands_in_it() {
    //= DNS-17
    let trusted = Authority::new("An Authority");
    let stranger = Authority::new("A Stranger");
    let nobody = TrustRoots::default();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2021, 2, 3);
    let shown = [
        ("self-signed", self_signed(&["montague.lit"], |_| {})),
        ("without names", self_signed(&[], |_| {})),
        ("for another domain", self_signed(&["capulet.lit"], |_| {})),
        ("expired", self_signed(&["capulet.lit"], expired)),
        (
            "not yet valid",
            self_signed(&["montague.lit"], |params| {
                params.not_before = date_time_ymd(2200, 1, 1);
                params.not_after = date_time_ymd(2201, 1, 1);
            }),
        ),
        (
            "an authority's",
            self_signed(&["montague.lit"], |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
        ),
        ("a stranger's", stranger.issue(&["capulet.lit"], |_| {})),
        ("public", trusted.issue(&["montague.lit"], |_| {})),
    ];
    let other = self_signed(&["montague.lit"], |_| {});
    for (what, issued) in &shown {
        for selector in [0, 1] {
            for matching in [0, 1, 2] {
                let named = record(3, selector, matching, &issued.chain[0]);
                let judged = judge(std::slice::from_ref(&named), &issued.chain, &nobody);
                check(what, &judged, MATCHES, false);
                let judged = judge(&[named], &other.chain, &nobody);
                check(what, &judged, "is none of those that they name", false);
            }
        }
    }
}

#[test]
fn of_several_records_any_will_do() {
    let nobody = TrustRoots::default();
    let [old, new, other] = [0; 3].map(|_| self_signed(&["montague.lit"], |_| {}));
    let rollover = [
        record(3, 1, 1, &old.chain[0]),
        record(3, 1, 1, &new.chain[0]),
    ];
    for issued in [&old, &new] {
        check(
            "rollover",
            &judge(&rollover, &issued.chain, &nobody),
            MATCHES,
            false,
        );
    }
    let judged = judge(&rollover, &other.chain, &nobody);
    check("another", &judged, "none of those that they name", false);
    // The weaker digest names what the stronger does not: it does not count (RFC 7671 §9).
    let digests = [
        record(3, 1, 1, &old.chain[0]),
        record(3, 1, 2, &new.chain[0]),
    ];
    check(
        "weaker",
        &judge(&digests, &old.chain, &nobody),
        "none of those",
        false,
    );
    check(
        "stronger",
        &judge(&digests, &new.chain, &nobody),
        MATCHES,
        false,
    );
    // Another's certificate first in a chain that has the right one too proves nothing.
    let mut chain = other.chain.clone();
    chain.extend(old.chain.clone());
    check(
        "not the first",
        &judge(&rollover, &chain, &nobody),
        "none of those",
        false,
    );
}

#[test]
fn records_that_nobody_can_use_say_nothing() {
    //= DNS-18
    let issued = self_signed(&["montague.lit"], |_| {});
    let nobody = TrustRoots::default();
    let mut malformed = record(3, 1, 1, &issued.chain[0]);
    malformed.data.pop();
    let unusable = [
        record(0, 0, 1, &issued.chain[0]),
        record(4, 0, 1, &issued.chain[0]),
        record(255, 0, 1, &issued.chain[0]),
        TlsaRecord {
            matching: 3,
            ..record(3, 0, 1, &issued.chain[0])
        },
        TlsaRecord {
            selector: 2,
            ..record(3, 0, 1, &issued.chain[0])
        },
        malformed,
    ];
    assert_eq!(judge(&[], &issued.chain, &nobody), Dane::NoRecords);
    assert_eq!(judge(&unusable, &issued.chain, &nobody), Dane::NoRecords);
    let mut records = unusable.to_vec();
    records.push(record(3, 0, 1, &issued.chain[0]));
    check(
        "one is usable",
        &judge(&records, &issued.chain, &nobody),
        MATCHES,
        false,
    );
    check(
        "no certificate",
        &judge(&records, &[], &nobody),
        "is missing",
        false,
    );
    // Bytes that are no certificate at all are compared, and nothing more.
    let noise = [CertificateDer::from(vec![7; 40])];
    check(
        "noise",
        &judge(&records, &noise, &nobody),
        "none of those",
        false,
    );
}

#[test]
fn an_authority_that_is_named_needs_a_path_dates_and_a_name() {
    //= DNS-16
    //= DNS-18
    let root = Authority::new("An Authority");
    let stranger = Authority::new("A Stranger");
    let intermediate = root.intermediate(|_| {});
    let nobody = TrustRoots::default();
    let der = |authority: &Authority| authority.0.der().clone();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2021, 2, 3);
    let named = |authority: &Authority| record(2, 0, 1, &der(authority));
    let issue = |names: &[&str]| root.issue(names, |_| {});
    let below = |authority: &Authority| authority.issue(&["montague.lit"], |_| {}).with(authority);
    let old_root = {
        let key = KeyPair::generate().unwrap();
        let mut params = Authority::params("An Old Authority");
        expired(&mut params);
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    };
    let short = {
        let key = KeyPair::generate().unwrap();
        let mut params = Authority::params("An Authority of Few Words");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    };
    let constrained = root.intermediate(|params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("verona.lit".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let no_authority = {
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(leaf(&["montague.lit"]), key).unwrap())
    };
    let lines: Vec<(&str, TlsaRecord, Issued, &str)> = vec![
        (
            "shown",
            named(&root),
            issue(&["montague.lit"]).with(&root),
            MATCHES,
        ),
        (
            "by its key",
            record(2, 1, 2, &der(&root)),
            issue(&["montague.lit"]).with(&root),
            MATCHES,
        ),
        (
            "by its whole key",
            record(2, 1, 0, &der(&root)),
            issue(&["montague.lit"]).with(&root),
            MATCHES,
        ),
        (
            "its host's name",
            named(&root),
            issue(&["xmpp.montague.lit"]).with(&root),
            MATCHES,
        ),
        (
            "a wildcard for its host",
            named(&root),
            issue(&["*.montague.lit"]).with(&root),
            MATCHES,
        ),
        (
            "another's name",
            named(&root),
            issue(&["capulet.lit"]).with(&root),
            "neither for montague.lit nor for a server of it",
        ),
        (
            "not shown",
            named(&root),
            issue(&["montague.lit"]),
            "is none of those that they name",
        ),
        (
            "its whole key, not shown",
            record(2, 1, 0, &der(&root)),
            issue(&["montague.lit"]),
            "is none of those",
        ),
        (
            "whole in the record",
            record(2, 0, 0, &der(&root)),
            issue(&["montague.lit"]),
            MATCHES,
        ),
        (
            "whole in the record, another's path",
            record(2, 0, 0, &der(&stranger)),
            issue(&["montague.lit"]),
            "does not lead to the authority",
        ),
        (
            "an intermediate",
            named(&intermediate),
            below(&intermediate),
            MATCHES,
        ),
        (
            "the root above an intermediate",
            named(&root),
            below(&intermediate).with(&root),
            MATCHES,
        ),
        (
            "the root, without the intermediate",
            named(&root),
            intermediate.issue(&["montague.lit"], |_| {}).with(&root),
            "does not lead to the authority",
        ),
        (
            "shown, but another signed",
            named(&root),
            stranger.issue(&["montague.lit"], |_| {}).with(&root),
            "does not lead to the authority",
        ),
        (
            "an expired certificate",
            named(&root),
            root.issue(&["montague.lit"], expired).with(&root),
            "expired on 2021-02-03",
        ),
        (
            "an expired authority",
            named(&old_root),
            below(&old_root),
            "to 2021-02-03 only",
        ),
        (
            "an authority that may issue for others",
            named(&constrained),
            below(&constrained),
            "names that its authority may not certify",
        ),
        (
            "not an authority",
            named(&no_authority),
            below(&no_authority),
            "CA:FALSE",
        ),
        ("one step below", named(&short), below(&short), MATCHES),
        (
            "two steps below",
            named(&short),
            below(&short.intermediate(|_| {})).with(&short),
            "pathLenConstraint",
        ),
        (
            "its own certificate",
            record(2, 0, 1, &self_signed(&["montague.lit"], |_| {}).chain[0]),
            self_signed(&["montague.lit"], |_| {}),
            "is none of those",
        ),
        (
            "rubbish in the record",
            TlsaRecord {
                data: vec![0x30; 100],
                ..record(2, 0, 0, &der(&root))
            },
            issue(&["montague.lit"]),
            "cannot be used",
        ),
    ];
    for (what, record, issued, expected) in lines {
        check(
            what,
            &judge(&[record], &issued.chain, &nobody),
            expected,
            true,
        );
    }
}

#[test]
fn a_match_by_authority_ends_with_its_path() {
    let root = Authority::new("An Authority");
    let issued = root.issue(&["montague.lit"], |params| {
        params.not_after = (SystemTime::now() + Duration::from_secs(3_600)).into();
    });
    let issued = issued.with(&root);
    let record = record(2, 0, 1, root.0.der());
    let judged = judge(&[record], &issued.chain, &TrustRoots::default());
    let Dane::Matches { until: Some(until) } = judged else {
        panic!("{judged:?}");
    };
    let left = until - Instant::now();
    assert!(left > Duration::from_secs(3_500) && left <= Duration::from_secs(3_600));
}

#[test]
fn the_peers_own_certificate_may_have_to_be_public_too() {
    //= DNS-18
    let root = Authority::new("An Authority");
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2021, 2, 3);
    for (what, issued, trust, expected) in [
        (
            "public",
            root.issue(&["montague.lit"], |_| {}),
            root.trust(),
            MATCHES,
        ),
        (
            "its host's",
            root.issue(&["xmpp.montague.lit"], |_| {}),
            root.trust(),
            MATCHES,
        ),
        (
            "another's",
            root.issue(&["capulet.lit"], |_| {}),
            root.trust(),
            "neither for montague.lit",
        ),
        (
            "not public",
            root.issue(&["montague.lit"], |_| {}),
            TrustRoots::default(),
            "(PKIX-EE), but it is not trusted: issued by an unknown authority",
        ),
        (
            "expired",
            root.issue(&["montague.lit"], expired),
            root.trust(),
            "not trusted: expired",
        ),
    ] {
        let named = record(1, 1, 1, &issued.chain[0]);
        check(
            what,
            &judge(&[named], &issued.chain, &trust),
            expected,
            true,
        );
    }
    let other = root.issue(&["montague.lit"], |_| {});
    let named = record(1, 1, 1, &other.chain[0]);
    let issued = root.issue(&["montague.lit"], |_| {});
    check(
        "not named",
        &judge(&[named], &issued.chain, &root.trust()),
        "is none of those",
        false,
    );
}
