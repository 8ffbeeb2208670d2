//! Certificates of web servers, and which of them are believed.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::*;
use crate::tls::RevocationLists;

/// A certificate authority made for one test.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A list that revokes the certificate of this number.
    pub(super) fn revoke(&self, number: u8) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(vec![number]),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2096, 1, 1),
            crl_number: SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// A certificate for `names`, with its key.
    pub(super) fn issue(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf(names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        certified(&certificate, &key)
    }
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn certified(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(der).unwrap();
    Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
}

fn self_signed(names: &[&str]) -> Arc<CertifiedKey> {
    let key = KeyPair::generate().unwrap();
    certified(&leaf(names).self_signed(&key).unwrap(), &key)
}

/// A certificate for no name at all, in DER.
pub(super) fn self_signed_der(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut params = leaf(&[]);
    change(&mut params);
    params.self_signed(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_now_proves_nobody() {
    //= DNS-23
    let expired = self_signed_der(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = self_signed_der(|params| {
        params.not_before = date_time_ymd(2096, 1, 1);
        params.not_after = date_time_ymd(2097, 1, 1);
    });
    let junk = b"it is no certificate".to_vec();
    let longer = [&LEAF[..], b"x"].concat();
    for certificate in [expired, early, junk, longer] {
        let world = World::new().await;
        world
            .web
            .serve(DOMAIN, PATH, ok(&document(&certificate, 600)));
        let found = world.look_up().await.unwrap();
        assert!(!found.matches(&certificate) && !found.matches(&LEAF));
    }
}

/// Why the web server of the domain is not believed with this certificate.
async fn disbelief(make: impl FnOnce(&World) -> Arc<CertifiedKey>) -> String {
    let world = World::new().await;
    world.web.certify(DOMAIN, make(&world));
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let failure = world.look_up().await.unwrap_err();
    assert_eq!(world.web.heads().len(), 0, "nothing was asked of it");
    // It is not asked again at once.
    assert_eq!(world.look_up().await.unwrap_err(), failure);
    assert_eq!(world.web.connections(), 1);
    failure.to_string()
}

#[tokio::test]
async fn a_web_server_is_believed_by_a_certificate_for_the_name_that_was_asked() {
    //= DNS-21
    for (why, said) in [
        (
            disbelief(|world| world.authority.issue(&[HOSTING], |_| {})).await,
            "is for hosting.lit, not for montague.lit",
        ),
        (
            disbelief(|world| world.authority.issue(&["*.montague.lit"], |_| {})).await,
            "is for *.montague.lit, not for montague.lit",
        ),
        (
            disbelief(|_| self_signed(&[DOMAIN])).await,
            "is not trusted: self-signed",
        ),
        (
            disbelief(|_| Authority::new("Nobody").issue(&[DOMAIN], |_| {})).await,
            "is not trusted: issued by an unknown authority",
        ),
        (
            disbelief(|world| {
                world.authority.issue(&[DOMAIN], |params| {
                    params.not_before = date_time_ymd(2001, 1, 1);
                    params.not_after = date_time_ymd(2002, 1, 1);
                })
            })
            .await,
            "is not trusted: expired on 2002-01-01",
        ),
        (
            disbelief(|world| {
                world.authority.issue(&[DOMAIN], |params| {
                    params.not_before = date_time_ymd(2096, 1, 1);
                    params.not_after = date_time_ymd(2097, 1, 1);
                })
            })
            .await,
            "is not trusted: not valid before 2096-01-01",
        ),
        (
            disbelief(|world| {
                world.authority.issue(&[DOMAIN], |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                })
            })
            .await,
            "not for server authentication",
        ),
    ] {
        let start = "https://montague.lit:";
        assert!(why.starts_with(start), "{why}");
        assert!(
            why.contains("cannot be believed: ") && why.contains(said),
            "{why}"
        );
    }
}

#[tokio::test]
async fn where_a_domain_refers_to_must_prove_its_own_name() {
    //= DNS-21
    for by_redirect in [true, false] {
        let world = World::new().await;
        world
            .web
            .certify(HOSTING, world.authority.issue(&[DOMAIN], |_| {}));
        let place = world.url(HOSTING, "/a");
        let answer = match by_redirect {
            true => web::redirect("302 Found", &place),
            false => ok(&reference(&place, 600)),
        };
        world.web.serve(DOMAIN, PATH, answer);
        world.web.serve(HOSTING, "/a", ok(&document(&LEAF, 600)));
        let why = world.look_up().await.unwrap_err().to_string();
        assert!(
            why.contains("is for montague.lit, not for hosting.lit"),
            "{why}"
        );
        assert_eq!(world.web.heads().len(), 1);
    }
}

#[tokio::test]
async fn other_authorities_count_as_soon_as_they_are_there() {
    //= DNS-21
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let trusts = |trust| {
        let handle = world.engine.handle();
        handle.replace_tls(Certificates::default(), trust).unwrap();
    };
    trusts(TrustRoots::default());
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("issued by an unknown authority"), "{why}");
    trusts(TrustRoots::from_pem(&world.authority.pem()).unwrap());
    assert!(world.look_up().await.unwrap().matches(&LEAF));
    trusts(TrustRoots::default());
    assert!(world.look_up().await.is_err());
}

#[tokio::test]
async fn a_certificate_of_ours_that_is_renewed_has_nothing_forgotten() {
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let found = world.look_up().await.unwrap();
    let handle = world.engine.handle();
    let trust = TrustRoots::from_pem(&world.authority.pem()).unwrap();
    handle.replace_tls(Certificates::default(), trust).unwrap();
    assert_eq!(world.look_up().await.unwrap(), found);
    assert_eq!(world.web.heads().len(), 1, "it is not asked again");
}

#[tokio::test]
async fn a_web_server_whose_certificate_was_revoked_is_not_believed() {
    //= DNS-21
    //= TLS-24
    let world = World::new().await;
    world.web.serve(DOMAIN, PATH, ok(&document(&LEAF, 600)));
    let numbered = |params: &mut CertificateParams| {
        params.serial_number = Some(SerialNumber::from(vec![3]));
    };
    let certificate = world.authority.issue(&[DOMAIN], numbered);
    world.web.certify(DOMAIN, certificate);
    assert!(world.look_up().await.unwrap().matches(&LEAF));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authority.crl");
    std::fs::write(&file, world.authority.revoke(3)).unwrap();
    let revoked = RevocationLists::load(&[file]).unwrap();
    let trust = TrustRoots::from_pem(&world.authority.pem()).unwrap();
    let handle = world.engine.handle();
    let replaced = handle.replace_tls(Certificates::default(), trust.revoking(revoked));
    replaced.unwrap();
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("is not trusted: revoked"), "{why}");
}
