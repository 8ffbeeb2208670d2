//! What a certificate is worth to other clocks, other stores and other keys than those of the zoo.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rcgen::{SignatureAlgorithm, date_time_ymd};
use verona_proto::certificate::{CertificateName, Chain};

use super::zoo::surgery::Pieces;
use super::*;

#[tokio::test]
async fn a_peer_without_a_certificate_is_not_refused() {
    //= TLS-12
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    for (version, name, suite) in [
        (
            VERSIONS[0],
            "TLSv1.2",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        (VERSIONS[1], "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let (ours, _) = accept(
            &tls,
            connecting(version, None),
            Some("verona.lit"),
            None,
            false,
        )
        .await;
        let (_, facts) = ours.unwrap();
        assert_eq!(facts.evidence, PeerCertificate::absent());
        assert_eq!(facts.chain, Vec::new());
        //= TLS-32
        assert_eq!((facts.version, facts.cipher_suite.as_str()), (name, suite));
        assert_eq!(facts.sni.as_deref(), Some("verona.lit"));
    }
}

#[tokio::test]
async fn every_usual_kind_of_key_is_proven() {
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let kinds: [&SignatureAlgorithm; 4] = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for algorithm in kinds {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = leaf(&["montague.lit"])
            .signed_by(&key, &authority.0)
            .unwrap();
        let version_1 = Pieces::of(certificate.der()).into_version_1();
        // Once as it is, and once so that only the bare key is read.
        for (chain, valid) in [
            (vec![certificate.der().clone()], true),
            (vec![version_1.signed_by(&authority)], false),
        ] {
            for version in VERSIONS {
                let own = certified(&chain, &key);
                let peer = connecting(version, Some(Arc::clone(&own)));
                let (ours, _) = accept(&tls, peer, None, None, false).await;
                let (_, facts) = ours.unwrap();
                assert_eq!(
                    facts.evidence.chain == Chain::Valid,
                    valid,
                    "{algorithm:?}: {:?}",
                    facts.evidence
                );
                let (ours, _) = connect(
                    &tls,
                    accepting(version, own),
                    "verona.lit",
                    "montague.lit",
                    false,
                )
                .await;
                let (_, facts) = ours.unwrap();
                assert_eq!(
                    facts.evidence.chain == Chain::Valid,
                    valid,
                    "{algorithm:?}: {:?}",
                    facts.evidence
                );
            }
        }
    }
}

#[test]
fn nobody_is_trusted_by_an_empty_store_or_another() {
    //= TLS-33
    let authority = Authority::new("An Authority");
    let issued = authority.issue(&["montague.lit"], |_| {});
    for trust in [
        TrustRoots::default(),
        Authority::new("An Authority").trust(),
    ] {
        let evidence = evidence(
            Some(&issued.chain),
            &trust,
            SystemTime::now(),
            Instant::now(),
        );
        assert!(matches!(evidence.chain, Chain::Invalid(_)), "{evidence:?}");
    }
    let nothing = evidence(
        Some(&[]),
        &authority.trust(),
        SystemTime::now(),
        Instant::now(),
    );
    assert_eq!(nothing, PeerCertificate::absent());
}

#[test]
fn the_end_of_the_path_is_told_on_our_clock() {
    //= TLS-25
    let day = Duration::from_secs(24 * 60 * 60);
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    // 2030-01-01 and ten days later.
    let (end, now_wall) = (1_893_456_000, at(1_893_456_000) - 10 * day);
    let now = Instant::now();
    let authority = Authority::new("An Authority");
    let long = authority.intermediate(|params| params.not_after = date_time_ymd(2040, 1, 1));
    let short = authority.intermediate(|params| params.not_after = date_time_ymd(2030, 1, 1));
    for issued in [
        authority.issue(&["montague.lit"], |params| {
            params.not_after = date_time_ymd(2030, 1, 1)
        }),
        long.issue(&["montague.lit"], |params| {
            params.not_after = date_time_ymd(2030, 1, 1)
        })
        .with(&long),
        short
            .issue(&["montague.lit"], |params| {
                params.not_after = date_time_ymd(2039, 1, 1)
            })
            .with(&short),
    ] {
        let told = evidence(Some(&issued.chain), &authority.trust(), now_wall, now);
        assert_eq!(told.expires, Some(now + 10 * day), "{told:?}");
        let later = evidence(Some(&issued.chain), &authority.trust(), at(end + 1), now);
        let Chain::Invalid(reason) = later.chain else {
            panic!("{later:?}");
        };
        assert!(reason.contains("expired on 2030-01-01"), "{reason}");
    }
}

#[test]
fn no_date_is_too_far_away() {
    let authority = Authority::new("An Authority");
    let endless = authority.issue(&["montague.lit"], |params| {
        params.not_after = date_time_ymd(9999, 12, 31)
    });
    let now = Instant::now();
    let told = evidence(
        Some(&endless.chain),
        &authority.trust(),
        SystemTime::now(),
        now,
    );
    assert!(
        told.expires
            .is_some_and(|at| at > now + Duration::from_secs(50 * 365 * 24 * 60 * 60)),
        "{told:?}"
    );
    // A clock that was never set.
    for wall in [UNIX_EPOCH, UNIX_EPOCH - Duration::from_secs(1)] {
        let told = evidence(Some(&endless.chain), &authority.trust(), wall, now);
        assert_eq!(
            told.chain,
            Chain::Invalid("not valid before 1975-01-01".into())
        );
    }
}

#[test]
fn bytes_that_are_no_certificate_are_no_evidence() {
    let authority = Authority::new("An Authority");
    let whole = authority.issue(&["montague.lit"], |_| {}).chain.remove(0);
    for length in 0..whole.len() {
        let cut = CertificateDer::from(whole[..length].to_vec());
        let told = evidence(
            Some(&[cut]),
            &authority.trust(),
            SystemTime::now(),
            Instant::now(),
        );
        assert!(matches!(told.chain, Chain::Invalid(_)), "{length}");
        assert_eq!(told.names, Vec::<CertificateName>::new(), "{length}");
    }
    let mut more = whole.to_vec();
    more.push(0);
    let told = evidence(
        Some(&[more.into()]),
        &authority.trust(),
        SystemTime::now(),
        Instant::now(),
    );
    assert!(matches!(told.chain, Chain::Invalid(_)), "{told:?}");
    // Each single byte changed: whatever comes of it, no path and no panic.
    for index in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[index] ^= 0x41;
        let told = evidence(
            Some(&[bytes.into()]),
            &authority.trust(),
            SystemTime::now(),
            Instant::now(),
        );
        assert!(matches!(told.chain, Chain::Invalid(_)), "{index}: {told:?}");
    }
}
