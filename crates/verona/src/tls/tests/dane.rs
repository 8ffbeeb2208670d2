//! Every kind of TLSA record against every kind of certificate that it may name.

use std::time::{Duration, Instant, SystemTime};

use rcgen::date_time_ymd;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256, Sha512};
use verona_proto::dane::{Dane, TlsaRecord};
use verona_proto::grounds::Identity;
use verona_proto::policy::PeerPolicy;
use verona_proto::trust;

use super::super::verify::spki;
use super::*;

/// A record of this usage that names a certificate, `selector` and `matching` as on the wire.
fn record(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> TlsaRecord {
    let selected = match selector {
        0 => certificate.to_vec(),
        _ => spki(certificate).unwrap(),
    };
    TlsaRecord {
        usage,
        selector,
        matching,
        data: match matching {
            0 => selected,
            1 => Sha256::digest(&selected).to_vec(),
            _ => Sha512::digest(&selected).to_vec(),
        },
    }
}

/// What the records say, where `trust` is what PKIX believes and montague.lit the domain.
fn said(records: &[TlsaRecord], chain: &[CertificateDer<'static>], trust: &TrustRoots) -> Dane {
    said_with(records, chain, trust, &[])
}

fn said_with(
    records: &[TlsaRecord],
    chain: &[CertificateDer<'static>],
    trust: &TrustRoots,
    hosts: &[Domain],
) -> Dane {
    let clocks = (SystemTime::now(), Instant::now());
    let certificate = evidence(Some(chain), trust, clocks.0, clocks.1);
    compare(
        records,
        chain,
        &certificate,
        &domain("montague.lit"),
        hosts,
        clocks,
    )
}

/// The word for a table.
fn word(dane: &Dane) -> &'static str {
    match dane {
        Dane::NotLooked => "not looked",
        Dane::NoRecords => "no records",
        Dane::Matches { until: None } => "matches",
        Dane::Matches { until: Some(_) } => "matches for a while",
        Dane::Differs(_) => "differs",
    }
}

#[test]
fn a_record_for_the_servers_own_certificate_asks_for_nothing_else() {
    //= DNS-17
    let authority = Authority::new("An Authority");
    let nobody = TrustRoots::default();
    let expired = authority.issue(&["montague.lit"], |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let other_name = authority.issue(&["elsewhere.lit"], |_| {});
    let client = authority.issue(&["montague.lit"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let own = rcgen::generate_simple_self_signed(vec!["montague.lit".into()]).unwrap();
    let own = vec![own.cert.der().clone()];
    for chain in [&expired.chain, &other_name.chain, &client.chain, &own] {
        for selector in [0, 1] {
            for matching in [0, 1, 2] {
                let records = [record(3, selector, matching, &chain[0])];
                let dane = said(&records, chain, &nobody);
                assert_eq!(word(&dane), "matches", "3 {selector} {matching}");
            }
        }
        let another = authority.issue(&["montague.lit"], |_| {});
        let records = [record(3, 1, 1, &another.chain[0])];
        assert_eq!(word(&said(&records, chain, &nobody)), "differs");
        // During a change of keys both are published.
        let both = [records[0].clone(), record(3, 1, 1, &chain[0])];
        assert_eq!(word(&said(&both, chain, &nobody)), "matches");
    }
}

#[test]
fn the_certificate_of_the_authority_is_not_that_of_the_server() {
    let authority = Authority::new("An Authority");
    let chain = authority
        .issue(&["montague.lit"], |_| {})
        .with(&authority)
        .chain;
    // Named as the server's own, it proves nothing, though the peer sends it along.
    let records = [record(3, 1, 1, &chain[1])];
    assert_eq!(
        word(&said(&records, &chain, &TrustRoots::default())),
        "differs"
    );
}

#[test]
fn a_record_for_an_authority_asks_for_path_dates_use_and_names() {
    //= DNS-18
    //= DNS-16
    let authority = Authority::new("An Authority");
    let intermediate = authority.intermediate(|_| {});
    let stranger = Authority::new("A Stranger");
    let name = &["montague.lit"];
    let good = authority.issue(name, |_| {});
    let below = intermediate.issue(name, |_| {}).with(&intermediate);
    let expired = authority.issue(name, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let client = authority.issue(name, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let other = authority.issue(&["elsewhere.lit"], |_| {});
    let host = authority.issue(&["xmpp.hoster.lit"], |_| {});
    let ca = authority.0.der();
    let digest = record(2, 0, 1, ca);
    let key = record(2, 1, 2, ca);
    let whole = record(2, 0, 0, ca);
    let nobody = TrustRoots::default();
    for (case, issued, expected) in [
        ("sent along", good.with(&authority), "matches for a while"),
        ("two steps", below.with(&authority), "matches for a while"),
        ("expired", expired.with(&authority), "differs"),
        ("for clients only", client.with(&authority), "differs"),
        ("another name", other.with(&authority), "differs"),
        ("the server's name", host.with(&authority), "differs"),
        (
            "of another authority, the named one sent along",
            stranger.issue(name, |_| {}).with(&authority),
            "differs",
        ),
    ] {
        for record in [&digest, &key, &whole] {
            let dane = said(std::slice::from_ref(record), &issued.chain, &nobody);
            assert_eq!(word(&dane), expected, "{case}: {record}: {dane:?}");
        }
    }
    // A digest names nothing that was not sent; the whole certificate is enough alone.
    let alone = authority.issue(name, |_| {}).chain;
    assert_eq!(word(&said(&[digest.clone()], &alone, &nobody)), "differs");
    assert_eq!(
        word(&said(&[whole.clone()], &alone, &nobody)),
        "matches for a while"
    );
    // The name of a server that DNSSEC proves to be the domain's will do.
    let host = authority
        .issue(&["xmpp.hoster.lit"], |_| {})
        .with(&authority);
    let hosts = [domain("xmpp.hoster.lit")];
    let dane = said_with(&[digest], &host.chain, &nobody, &hosts);
    assert_eq!(word(&dane), "matches for a while");
}

#[test]
fn a_record_beside_pkix_asks_for_both() {
    //= DNS-18
    let authority = Authority::new("An Authority");
    let chain = authority.issue(&["montague.lit"], |_| {}).chain;
    let other = authority.issue(&["elsewhere.lit"], |_| {}).chain;
    let (trusted, nobody) = (authority.trust(), TrustRoots::default());
    for (case, record, chain, trust, expected) in [
        (
            "both",
            record(1, 1, 1, &chain[0]),
            &chain,
            &trusted,
            "matches for a while",
        ),
        (
            "named, not trusted",
            record(1, 1, 1, &chain[0]),
            &chain,
            &nobody,
            "differs",
        ),
        (
            "trusted, not named",
            record(1, 1, 1, &other[0]),
            &chain,
            &trusted,
            "differs",
        ),
        (
            "named for another name",
            record(1, 1, 1, &other[0]),
            &other,
            &trusted,
            "differs",
        ),
        // What asks for an authority of the web besides is asked of every certificate anyway: the record says nothing.
        (
            "an authority beside PKIX",
            record(0, 1, 1, authority.0.der()),
            &chain,
            &trusted,
            "no records",
        ),
    ] {
        let dane = said(&[record], chain, trust);
        assert_eq!(word(&dane), expected, "{case}: {dane:?}");
    }
}

#[test]
fn no_record_and_no_certificate_have_their_words() {
    let authority = Authority::new("An Authority");
    let chain = authority.issue(&["montague.lit"], |_| {}).chain;
    let nobody = TrustRoots::default();
    assert_eq!(word(&said(&[], &chain, &nobody)), "no records");
    let records = [record(3, 1, 1, &chain[0])];
    assert_eq!(word(&said(&records, &[], &nobody)), "differs");
    let junk = vec![CertificateDer::from(b"no certificate".to_vec())];
    assert_eq!(word(&said(&records, &junk, &nobody)), "differs");
    let odd = [TlsaRecord {
        data: vec![1; 7],
        ..records[0].clone()
    }];
    assert_eq!(word(&said(&odd, &chain, &nobody)), "no records");
}

#[test]
fn what_matches_proves_the_domain() {
    //= DNS-15
    //= DNS-17
    let own = rcgen::generate_simple_self_signed(vec!["x.lit".into()]).unwrap();
    let chain = vec![own.cert.der().clone()];
    let clocks = (SystemTime::now(), Instant::now());
    let mut certificate = evidence(Some(&chain), &TrustRoots::default(), clocks.0, clocks.1);
    let montague = domain("montague.lit");
    let records = [record(3, 1, 1, &chain[0])];
    let dane = compare(&records, &chain, &certificate, &montague, &[], clocks);
    certificate.attestations = vec![verona_proto::certificate::Attestation {
        dane,
        ..verona_proto::certificate::Attestation::none(montague.clone())
    }];
    let far = clocks.1 + Duration::from_secs(1_000_000);
    let judged = trust::certified(&certificate, &montague, &PeerPolicy::default(), None, far);
    assert_eq!(judged, Ok(Identity::Dane));
}
