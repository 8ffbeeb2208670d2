//! Every kind of evidence, policy and history against the identity or the reason that must come of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::time::Duration;

use super::*;
use crate::certificate::CertificateName;
use IdentityMethod::{Certificate, Dane as ByDane, Dialback, Pin, Posh as ByPosh};

const KEY: [u8; 32] = [7; 32];

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// A certificate of capulet.lit, by an authority that is trusted or not.
fn shown(trusted: bool, name: &str, now: Instant) -> PeerCertificate {
    PeerCertificate {
        chain: match trusted {
            true => Chain::Valid,
            false => Chain::Invalid("self-signed".into()),
        },
        names: vec![CertificateName::Dns(name.into())],
        expires: trusted.then(|| now + Duration::from_secs(60)),
        public_key: Some(KEY),
        attestations: Vec::new(),
    }
}

fn attested(certificate: PeerCertificate, dane: Dane, posh: Posh) -> PeerCertificate {
    let attestation = Attestation {
        dane,
        posh,
        ..Attestation::none(domain("capulet.lit"))
    };
    PeerCertificate {
        attestations: vec![attestation],
        ..certificate
    }
}

fn policy(identity: &[IdentityMethod]) -> PeerPolicy {
    PeerPolicy {
        identity: identity.to_vec(),
        ..PeerPolicy::default()
    }
}

const MATCHES: Dane = Dane::Matches { until: None };

fn differs() -> Dane {
    Dane::Differs("is another".into())
}

#[test]
fn any_method_that_the_policy_accepts_suffices_and_the_strongest_counts() {
    //= TLS-34
    //= DNS-17
    //= DNS-23
    let now = Instant::now();
    let posh = || Posh::Matches {
        until: now + Duration::from_secs(1),
    };
    let trusted = || shown(true, "capulet.lit", now);
    let selfsigned = || shown(false, "capulet.lit", now);
    let all = [Certificate, ByDane, ByPosh, Dialback];
    for (case, certificate, methods, expected) in [
        ("PKIX", trusted(), &all[..], Some(Identity::Certificate)),
        ("self-signed", selfsigned(), &all, None),
        (
            "DANE",
            attested(selfsigned(), MATCHES, Posh::NotLooked),
            &all,
            Some(Identity::Dane),
        ),
        (
            "both: DANE is the stronger one",
            attested(trusted(), MATCHES, Posh::NotLooked),
            &all,
            Some(Identity::Dane),
        ),
        (
            "DANE, not accepted",
            attested(selfsigned(), MATCHES, Posh::NotLooked),
            &[Certificate, Dialback],
            None,
        ),
        (
            "DANE for another certificate, which PKIX proves: the peer that dials us need not be a server",
            attested(trusted(), differs(), Posh::NotLooked),
            &all,
            Some(Identity::Certificate),
        ),
        (
            "POSH",
            attested(selfsigned(), Dane::NoRecords, posh()),
            &all,
            Some(Identity::Posh),
        ),
        (
            "POSH names others, PKIX proves: a mismatch is soft",
            attested(trusted(), Dane::NoRecords, Posh::Differs),
            &all,
            Some(Identity::Certificate),
        ),
        (
            "POSH, not accepted",
            attested(selfsigned(), Dane::NoRecords, posh()),
            &[Certificate, ByDane],
            None,
        ),
        ("PKIX, not accepted", trusted(), &[ByDane, Dialback], None),
        ("a pin that is not accepted", selfsigned(), &all, None),
        ("no certificate", PeerCertificate::absent(), &all, None),
    ] {
        let policy = PeerPolicy {
            pins: vec![KEY],
            ..policy(methods)
        };
        let judged = certified(&certificate, &domain("capulet.lit"), &policy, None, now);
        assert_eq!(judged.ok(), expected, "{case}");
    }
}

#[test]
fn what_was_found_out_for_one_domain_says_nothing_of_another() {
    let now = Instant::now();
    let certificate = attested(shown(false, "bank.lit", now), MATCHES, Posh::NotLooked);
    let policy = PeerPolicy::default();
    for (name, expected) in [("capulet.lit", true), ("bank.lit", false)] {
        let judged = certified(&certificate, &domain(name), &policy, None, now);
        assert_eq!(judged.is_ok(), expected, "{name}");
    }
}

#[test]
fn a_pin_is_the_key_and_nothing_else() {
    let now = Instant::now();
    let pinned = PeerPolicy {
        pins: vec![[1; 32], KEY],
        ..policy(&[Pin])
    };
    let other = PeerPolicy {
        pins: vec![[1; 32]],
        ..policy(&[Pin])
    };
    let name = domain("capulet.lit");
    for trusted in [true, false] {
        let certificate = shown(trusted, "capulet.lit", now);
        assert_eq!(
            certified(&certificate, &name, &pinned, Some(Strength::Dane), now),
            Ok(Identity::Pin)
        );
        assert!(certified(&certificate, &name, &other, None, now).is_err());
        let dialled = dialled(
            Some(&certificate),
            &name,
            Assurance::Configured,
            &other,
            None,
            now,
        );
        assert!(dialled.is_err(), "{dialled:?}");
    }
}

#[test]
fn a_host_that_dnssec_names_may_stand_in_the_certificate() {
    //= DNS-16
    let now = Instant::now();
    let mut certificate = shown(true, "xmpp.hoster.lit", now);
    let name = domain("capulet.lit");
    let policy = PeerPolicy::default();
    assert!(certified(&certificate, &name, &policy, None, now).is_err());
    certificate.attestations.push(Attestation {
        hosts: vec![domain("xmpp.hoster.lit")],
        ..Attestation::none(name.clone())
    });
    assert_eq!(
        certified(&certificate, &name, &policy, None, now),
        Ok(Identity::Certificate)
    );
    // For no other domain, and not where no authority vouches for the certificate.
    assert!(certified(&certificate, &domain("bank.lit"), &policy, None, now).is_err());
    certificate.chain = Chain::Invalid("self-signed".into());
    assert!(certified(&certificate, &name, &policy, None, now).is_err());
}

#[test]
fn the_server_that_we_dialled_may_be_believed_for_the_way() {
    //= BIDI-23
    let now = Instant::now();
    let name = domain("capulet.lit");
    let selfsigned = shown(false, "capulet.lit", now);
    for (assurance, methods, expected) in [
        (Assurance::Dns, &[Certificate, Dialback][..], true),
        (Assurance::Dnssec, &[Dialback], true),
        (Assurance::Configured, &[Dialback], true),
        (Assurance::Dns, &[Certificate, ByDane, ByPosh], false),
        (Assurance::Configured, &[Certificate], false),
        //= STREAM-51
        (Assurance::Redirected, &[Certificate, Dialback], false),
    ] {
        for certificate in [None, Some(&selfsigned)] {
            let policy = policy(methods);
            let judged = dialled(certificate, &name, assurance, &policy, None, now);
            let identity = expected.then_some(Identity::Resolution(assurance));
            assert_eq!(judged.ok(), identity, "{assurance:?} {methods:?}");
        }
    }
}

#[test]
fn a_server_that_dns_says_has_another_certificate_is_refused_whatever_else_it_has() {
    //= DNS-15
    //= TLS-34
    let now = Instant::now();
    let name = domain("capulet.lit");
    let ask = |certificate: &PeerCertificate, policy: &PeerPolicy| {
        dialled(
            Some(certificate),
            &name,
            Assurance::Dnssec,
            policy,
            None,
            now,
        )
    };
    let all = PeerPolicy::default();
    for trusted in [true, false] {
        let certificate = attested(shown(trusted, "capulet.lit", now), differs(), Posh::Differs);
        let refused = ask(&certificate, &all).unwrap_err();
        assert_eq!(refused, Unproven::Dane("is another".into()));
        // Unless the operator does not want to know, or knows better.
        let without = policy(&[Certificate, Dialback]);
        assert!(ask(&certificate, &without).is_ok());
        let pinned = PeerPolicy {
            pins: vec![KEY],
            ..policy(&[Pin, ByDane])
        };
        assert_eq!(ask(&certificate, &pinned), Ok(Identity::Pin));
    }
}

#[test]
fn a_peer_may_not_offer_less_than_it_proved_before() {
    let now = Instant::now();
    let name = domain("capulet.lit");
    let trusted = || shown(true, "capulet.lit", now);
    let selfsigned = || shown(false, "capulet.lit", now);
    let looked = |certificate| attested(certificate, Dane::NoRecords, Posh::NotLooked);
    let not_looked = |certificate| attested(certificate, Dane::NotLooked, Posh::NotLooked);
    let dane = |certificate| attested(certificate, MATCHES, Posh::NotLooked);
    let (certificate, stronger) = (Some(Strength::Certificate), Some(Strength::Dane));
    for (case, shown, before, dialled_ok, certified_ok) in [
        ("nothing before", selfsigned(), None, true, false),
        ("as before", trusted(), certificate, true, true),
        (
            "more than before",
            dane(selfsigned()),
            certificate,
            true,
            true,
        ),
        ("the way only", selfsigned(), certificate, false, false),
        (
            "the way only, after DANE",
            selfsigned(),
            stronger,
            false,
            false,
        ),
        (
            "a certificate, after DANE",
            looked(trusted()),
            stronger,
            false,
            false,
        ),
        ("DANE again", dane(selfsigned()), stronger, true, true),
        // Where nobody validates DNSSEC, nobody can say that there is none.
        (
            "nobody looks for DANE",
            not_looked(trusted()),
            stronger,
            true,
            true,
        ),
        (
            "nobody looks, nothing else",
            not_looked(selfsigned()),
            stronger,
            false,
            false,
        ),
        (
            "nobody looked on this stream",
            trusted(),
            stronger,
            false,
            false,
        ),
    ] {
        let policy = PeerPolicy::default();
        let way = Assurance::Dnssec;
        let by_dialling = dialled(Some(&shown), &name, way, &policy, before, now);
        assert_eq!(by_dialling.is_ok(), dialled_ok, "{case}: {by_dialling:?}");
        let by_certificate = certified(&shown, &name, &policy, before, now);
        assert_eq!(
            by_certificate.is_ok(),
            certified_ok,
            "{case}: {by_certificate:?}"
        );
        let lenient = PeerPolicy {
            weaker: Weaker::Allow,
            ..PeerPolicy::default()
        };
        let allowed = dialled(Some(&shown), &name, way, &lenient, before, now);
        assert!(allowed.is_ok(), "{case}: {allowed:?}");
    }
    let unencrypted = dialled(
        None,
        &name,
        Assurance::Configured,
        &PeerPolicy::default(),
        certificate,
        now,
    );
    let told = unencrypted.unwrap_err().to_string();
    for part in [
        "proved itself by its certificate in the last 30 days",
        "offers only dns+configured",
        "the connection is not encrypted",
        "weaker = \"allow\"",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn what_ends_an_identity() {
    //= BIDI-70
    //= DNS-17
    //= DNS-22
    let now = Instant::now();
    let name = domain("capulet.lit");
    let soon = now + Duration::from_secs(1);
    let certificate = attested(
        shown(true, "capulet.lit", now),
        Dane::Matches { until: Some(soon) },
        Posh::Matches { until: soon },
    );
    let end = |identity| expires(&certificate, &name, identity);
    assert_eq!(
        end(Identity::Certificate),
        Some(now + Duration::from_secs(60))
    );
    assert_eq!(end(Identity::Dane), Some(soon));
    assert_eq!(end(Identity::Posh), Some(soon));
    assert_eq!(end(Identity::Pin), None);
    assert_eq!(end(Identity::Dialback(Assurance::Dns)), None);
    for (later, expected) in [
        (now, Some(Identity::Dane)),
        (soon, Some(Identity::Certificate)),
    ] {
        let judged = certified(&certificate, &name, &PeerPolicy::default(), None, later);
        assert_eq!(judged.ok(), expected);
    }
    // A certificate that DNS names has no end of its own.
    let named = attested(shown(false, "capulet.lit", now), MATCHES, Posh::NotLooked);
    assert_eq!(expires(&named, &name, Identity::Dane), None);
}

#[test]
fn one_looks_further_only_where_that_may_help() {
    let now = Instant::now();
    let name = domain("capulet.lit");
    let all = PeerPolicy::default();
    let trusted = shown(true, "capulet.lit", now);
    let selfsigned = shown(false, "capulet.lit", now);
    let wanted = |certificate: &PeerCertificate, policy: &PeerPolicy, before| {
        is_attestation_wanted(certificate, &name, policy, before, now)
    };
    assert!(wanted(&selfsigned, &all, None));
    assert!(!wanted(&trusted, &all, None), "it proves itself");
    assert!(!wanted(&trusted, &all, Some(Strength::Certificate)));
    assert!(
        wanted(&trusted, &all, Some(Strength::Dane)),
        "it did more before"
    );
    assert!(!wanted(&PeerCertificate::absent(), &all, None));
    assert!(!wanted(
        &selfsigned,
        &policy(&[Certificate, Dialback]),
        None
    ));
    assert!(wanted(&selfsigned, &policy(&[ByPosh]), None));
    let known = attested(selfsigned, Dane::NoRecords, Posh::NotLooked);
    assert!(!wanted(&known, &all, None), "it was found out already");
}

#[test]
fn a_refusal_says_what_was_tried() {
    let now = Instant::now();
    let name = domain("capulet.lit");
    let certificate = attested(
        shown(false, "capulet.lit", now),
        differs(),
        Posh::Failed("https://capulet.lit/ answered 404".into()),
    );
    let refusal = certified(&certificate, &name, &PeerPolicy::default(), None, now).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the peer's certificate is not trusted: self-signed; by its TLSA records the certificate is another; POSH: \
         https://capulet.lit/ answered 404"
    );
    let trusted = shown(true, "capulet.lit", now);
    let refusal = certified(&trusted, &name, &policy(&[ByDane]), None, now).unwrap_err();
    assert!(
        refusal.to_string().contains("does not accept certificates"),
        "{refusal}"
    );
}
