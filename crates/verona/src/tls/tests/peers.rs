//! What every kind of certificate is worth, and that none is worth anything without its key.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rcgen::{GeneralSubtree, NameConstraints, OtherNameValue, SignatureAlgorithm, date_time_ymd};
use verona_proto::certificate::{CertificateName, Chain, NotCovered};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::*;

const SRV_NAME: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 7];
const XMPP_ADDR: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 5];

/// One kind of certificate for montague.lit, and what is expected of it.
struct Kind {
    what: &'static str,
    issued: Issued,
    /// Empty for a valid chain, else a part of the reason.
    invalid: &'static str,
    covers: bool,
}

fn kinds(authority: &Authority) -> Vec<Kind> {
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    let name = &["montague.lit"];
    let usage = |usage: &[ExtendedKeyUsagePurpose]| {
        let usage = usage.to_vec();
        authority.issue(name, |params| params.extended_key_usages = usage)
    };
    let other = |id: &[u64], text: &str| {
        let san = SanType::OtherName((id.to_vec(), OtherNameValue::Utf8String(text.to_owned())));
        authority.issue(&[], |params| params.subject_alt_names = vec![san])
    };
    let raw = |entries: &[Vec<u8>]| {
        let extension = alternative_names(entries);
        authority.issue(&[], |params| params.custom_extensions = vec![extension])
    };
    let valid = |what, covers, issued| Kind {
        what,
        issued,
        invalid: "",
        covers,
    };
    let invalid = |what, invalid, issued| Kind {
        what,
        issued,
        invalid,
        covers: false,
    };
    let stranger = Authority::new("A Stranger");
    let intermediate = authority.intermediate(|_| {});
    let constrained = authority.intermediate(|params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("verona.lit".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let expired_intermediate =
        authority.intermediate(|params| params.not_after = date_time_ymd(2021, 2, 3));
    let itself = |change: &dyn Fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(name);
        change(&mut params);
        let chain = vec![params.self_signed(&key).unwrap().der().clone()];
        Issued { chain, key }
    };
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    let mut version_1 = authority.issue(name, |_| {});
    version_1.chain = vec![as_version_1(&version_1.chain[0])];
    vec![
        valid("server and client", true, usage(&[ServerAuth, ClientAuth])),
        valid("server only", true, usage(&[ServerAuth])),
        valid("no usage", true, usage(&[])),
        invalid(
            "client only",
            "not for server authentication (extendedKeyUsage)",
            usage(&[ClientAuth]),
        ),
        invalid(
            "code signing",
            "not for server authentication (extendedKeyUsage)",
            usage(&[CodeSigning]),
        ),
        invalid(
            "expired",
            "expired on 2020-01-02",
            authority.issue(name, |params| params.not_after = date_time_ymd(2020, 1, 2)),
        ),
        invalid(
            "not yet",
            "not valid before 2999-01-02",
            authority.issue(name, |params| params.not_before = date_time_ymd(2999, 1, 2)),
        ),
        invalid("self-signed", "self-signed", itself(&|_| {})),
        invalid(
            "self-signed authority",
            "self-signed",
            itself(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ),
        invalid(
            "unknown authority",
            "issued by an unknown authority (CN=A Stranger); its server sent no intermediate certificate",
            stranger.issue(name, |_| {}),
        ),
        invalid(
            "authority as a server",
            "the certificate of an authority (CA:TRUE)",
            authority.issue(name, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
            }),
        ),
        valid(
            "through an intermediate",
            true,
            intermediate.issue(name, |_| {}).with(&intermediate),
        ),
        invalid(
            "without its intermediate",
            "unknown authority (CN=An Intermediate); its server sent no intermediate certificate",
            intermediate.issue(name, |_| {}),
        ),
        invalid(
            "expired intermediate",
            "an intermediate certificate: expired on 2021-02-03",
            expired_intermediate
                .issue(name, |_| {})
                .with(&expired_intermediate),
        ),
        invalid(
            "issued by a server's certificate",
            "may not issue (basicConstraints)",
            {
                let server = authority.intermediate(|params| params.is_ca = IsCa::ExplicitNoCa);
                server.issue(name, |_| {}).with(&server)
            },
        ),
        invalid(
            "against the constraints of its authority",
            "nameConstraints",
            constrained.issue(name, |_| {}).with(&constrained),
        ),
        valid(
            "around the constraints of its authority",
            false,
            constrained
                .issue(&["verona.lit"], |params| {
                    for id in [SRV_NAME, XMPP_ADDR] {
                        let text = if id == SRV_NAME {
                            "_xmpp-server.montague.lit"
                        } else {
                            "montague.lit"
                        };
                        let value = OtherNameValue::Utf8String(text.to_owned());
                        params
                            .subject_alt_names
                            .push(SanType::OtherName((id.to_vec(), value)));
                    }
                })
                .with(&constrained),
        ),
        invalid(
            "unknown critical extension",
            "a critical extension that is unknown",
            authority.issue(name, |params| params.custom_extensions = vec![unknown]),
        ),
        invalid("version 1", "no X.509 v3 certificate", version_1),
        valid(
            "another name",
            false,
            authority.issue(&["capulet.lit"], |_| {}),
        ),
        valid(
            "among many names",
            true,
            authority.issue(&["a.lit", "b.lit", "montague.lit"], |_| {}),
        ),
        valid(
            "wildcard of the top",
            false,
            authority.issue(&["*.lit"], |_| {}),
        ),
        valid(
            "wildcard below",
            false,
            authority.issue(&["*.montague.lit"], |_| {}),
        ),
        valid(
            "common name only",
            false,
            authority.issue(&[], |params| {
                params.distinguished_name = common_name("montague.lit")
            }),
        ),
        valid(
            "SRVName",
            true,
            other(SRV_NAME, "_xmpp-server.montague.lit"),
        ),
        valid(
            "SRVName for clients",
            false,
            other(SRV_NAME, "_xmpp-client.montague.lit"),
        ),
        valid(
            "SRVName without a service",
            false,
            other(SRV_NAME, "montague.lit"),
        ),
        valid("XmppAddr", true, other(XMPP_ADDR, "montague.lit")),
        valid(
            "XmppAddr of a person",
            false,
            other(XMPP_ADDR, "romeo@montague.lit"),
        ),
        valid(
            "name of an unknown kind",
            false,
            other(&[1, 3, 6, 1, 5, 5, 7, 8, 9], "montague.lit"),
        ),
        valid(
            "SRVName as IA5String",
            true,
            raw(&[other_name(7, 0x16, "_xmpp-server.montague.lit")]),
        ),
        valid(
            "XmppAddr as IA5String",
            true,
            raw(&[other_name(5, 0x16, "montague.lit")]),
        ),
        valid(
            "XmppAddr as an octet string",
            false,
            raw(&[other_name(5, 0x04, "montague.lit")]),
        ),
        valid(
            "XmppAddr inside another value",
            false,
            raw(&[tlv(
                0xa0,
                &[
                    tlv(6, &[0x2b, 6, 1]),
                    tlv(0xa0, &other_name(5, 0x0c, "montague.lit")),
                ]
                .concat(),
            )]),
        ),
        valid(
            "dNSName with a NUL",
            false,
            raw(&[tlv(0x82, b"montague.lit\0.evil.lit")]),
        ),
        valid(
            "e-mail address and URI",
            false,
            raw(&[tlv(0x81, b"montague.lit"), tlv(0x86, b"montague.lit")]),
        ),
    ]
}

/// The same certificate as X.509 v1: without version and extensions (and with a signature that is wrong, which nobody
/// gets to check).
fn as_version_1(certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let whole: &[u8] = certificate;
    let at = |part: &[u8]| part.as_ptr() as usize - whole.as_ptr() as usize;
    let serial = at(parsed.raw_serial()) - 2;
    let key = parsed.public_key().raw;
    let tbs = tlv(0x30, &whole[serial..at(key) + key.len()]);
    let algorithm = tlv(0x30, &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let signature = tlv(0x03, &[&[0], parsed.signature_value.as_ref()].concat());
    CertificateDer::from(tlv(0x30, &[tbs, algorithm, signature].concat()))
}

fn assert_worth(kind: &Kind, facts: &TlsFacts, direction: &str) {
    let told = format!(
        "{} ({direction}, {}): {:?}",
        kind.what, facts.version, facts.evidence
    );
    match &facts.evidence.chain {
        Chain::Valid => assert_eq!(kind.invalid, "", "{told}"),
        Chain::Invalid(reason) => {
            assert!(
                kind.invalid.len() > 1 && reason.contains(kind.invalid),
                "{told}"
            );
            assert_eq!(facts.evidence.expires, None, "{told}");
        }
        Chain::Absent => panic!("{told}"),
    }
    let covered = facts
        .evidence
        .covers(&domain("montague.lit"), Instant::now());
    assert_eq!(covered.is_ok(), kind.covers, "{told}");
    assert_eq!(facts.chain, kind.issued.chain, "{told}");
}

#[tokio::test]
async fn each_certificate_is_worth_the_same_in_both_directions() {
    //= TLS-16
    //= TLS-17
    //= TLS-18
    //= TLS-19
    //= TLS-20
    //= TLS-21
    //= TLS-22
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    for kind in kinds(&authority) {
        for version in VERSIONS {
            let peer = connecting(version, Some(kind.issued.certified()));
            let (ours, theirs) = accept(&tls, peer, Some("verona.lit"), None, false).await;
            assert_worth(&kind, &ours.unwrap().1, "connecting");
            assert!(theirs.is_ok(), "{}", kind.what);

            let peer = accepting(version, kind.issued.certified());
            let (ours, theirs) = connect(&tls, peer, "verona.lit", "montague.lit", false).await;
            assert_worth(&kind, &ours.unwrap().1, "accepting");
            assert!(theirs.is_ok(), "{}", kind.what);
        }
    }
}

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
async fn a_certificate_without_its_key_is_refused() {
    // As the owner of no key, as the owner of another key: in both roles, with both versions, and with the
    // certificates of which the library reads nothing but the key.
    let authority = Authority::new("An Authority");
    let tls = ours(&authority, &["verona.lit"]);
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    let ordinary = authority.issue(&["montague.lit"], |_| {});
    let version_1 = vec![as_version_1(&ordinary.chain[0])];
    let critical = authority.issue(&["montague.lit"], |params| {
        params.custom_extensions = vec![unknown]
    });
    for chain in [&ordinary.chain, &version_1, &critical.chain] {
        for thief in [
            KeyPair::generate().unwrap(),
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        ] {
            for version in VERSIONS {
                let stolen = certified(chain, &thief);
                let peer = connecting(version, Some(Arc::clone(&stolen)));
                let (ours, _) = accept(&tls, peer, Some("verona.lit"), None, false).await;
                let error = ours.unwrap_err().to_string();
                assert!(
                    error.contains("did not prove that it has the key"),
                    "{error}"
                );

                let (ours, _) = connect(
                    &tls,
                    accepting(version, stolen),
                    "verona.lit",
                    "montague.lit",
                    false,
                )
                .await;
                let error = ours.unwrap_err().to_string();
                assert!(
                    error.starts_with("TLS with montague.lit failed: "),
                    "{error}"
                );
            }
        }
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
        // Once as it is, and once so that only the bare key is read.
        for (chain, valid) in [
            (vec![certificate.der().clone()], true),
            (vec![as_version_1(certificate.der())], false),
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
fn a_wildcard_covers_one_label() {
    //= TLS-20
    let authority = Authority::new("An Authority");
    let issued = authority.issue(&["*.montague.lit"], |_| {});
    let now = Instant::now();
    let evidence = evidence(
        Some(&issued.chain),
        &authority.trust(),
        SystemTime::now(),
        now,
    );
    assert_eq!(evidence.covers(&domain("rooms.montague.lit"), now), Ok(()));
    assert!(matches!(
        evidence.covers(&domain("montague.lit"), now),
        Err(NotCovered::Name { .. })
    ));
    assert!(matches!(
        evidence.covers(&domain("a.b.montague.lit"), now),
        Err(NotCovered::Name { .. })
    ));
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
