//! What a peer's certificate is worth, judged after the handshake that proved possession of its key.
//!
//! The verifier of the library would abort the handshake of every peer without a perfect certificate, and would refuse
//! the server certificates that peers show as clients. Here the two questions are apart: "do you have the key?" is
//! asked in the handshake and never waived, "who vouches for it?" is answered by [`evidence`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use webpki::{
    CertRevocationList, EndEntityCert, KeyUsage, RawPublicKeyEntity, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::time::ASN1Time;

use super::revocation::RevocationLists;
use super::trust::TrustRoots;

/// Judges the certificates that a peer showed: path to a trusted root, dates, use and names.
///
/// Both sides of a connection are judged as *servers*, because servers they are (TLS-22). `now_wall` and `now` are the
/// same moment on the two clocks; the certificate's end is told on the second, which nobody sets back.
#[must_use]
pub fn evidence(
    chain: Option<&[CertificateDer<'_>]>,
    trust: &TrustRoots,
    now_wall: SystemTime,
    now: Instant,
) -> PeerCertificate {
    let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
        return PeerCertificate::absent();
    };
    let names = names(leaf);
    let public_key = public_key(leaf).ok().map(|key| Sha256::digest(&key).into());
    match path(
        leaf,
        intermediates,
        trust.anchors(),
        trust.revocations(),
        now_wall,
    ) {
        Ok(verified) => PeerCertificate {
            chain: Chain::Valid,
            names: if verified.constrained {
                names.into_iter().filter(is_dns).collect()
            } else {
                names
            },
            expires: Some(on_our_clock(verified.not_after, now_wall, now)),
            public_key,
            attestations: Vec::new(),
        },
        Err(reason) => PeerCertificate {
            chain: Chain::Invalid(reason),
            names,
            expires: None,
            public_key,
            attestations: Vec::new(),
        },
    }
}

/// Accepts every certificate, but never a peer that does not have its key. For both sides of a handshake.
#[derive(Debug)]
pub struct DeferredVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl DeferredVerifier {
    /// Checks signatures with the provider's algorithms.
    #[must_use]
    pub fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_readable(certificate) {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        }
        let key = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad_encoding())?;
        // TLS 1.2 names a family of algorithms; the key says which of them it is.
        self.algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| {
                key.verify_signature(*algorithm, message, signed.signature())
                    .is_ok()
            })
            .then(HandshakeSignatureValid::assertion)
            .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_readable(certificate) {
            return verify_tls13_signature(message, certificate, signed, &self.algorithms);
        }
        verify_tls13_signature_with_raw_key(
            message,
            &public_key(certificate)?,
            signed,
            &self.algorithms,
        )
    }
}

impl ClientCertVerifier for DeferredVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A list would make peers keep back certificates that other roots signed.
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        //= TLS-12
        false
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        //= TLS-17
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for DeferredVerifier {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        //= TLS-16
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether webpki reads the certificate. It refuses X.509 v1 and unknown critical extensions, whose owners may have
/// their keys all the same; [`evidence`] never calls such a certificate valid.
fn is_readable(certificate: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(certificate).is_ok()
}

/// The SubjectPublicKeyInfo of a certificate; none if it cannot be read.
pub(super) fn spki(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    public_key(certificate).ok().map(|key| key.to_vec())
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let parsed = parse(certificate).ok_or_else(bad_encoding)?;
    Ok(SubjectPublicKeyInfoDer::from(
        parsed.public_key().raw.to_vec(),
    ))
}

fn bad_encoding() -> Error {
    Error::InvalidCertificate(CertificateError::BadEncoding)
}

/// A path to a trusted root.
pub(super) struct Verified {
    /// The earliest end of the path's certificates, in seconds since 1970.
    pub(super) not_after: i64,
    /// How many authorities stand between the certificate and the root.
    pub(super) intermediates: usize,
    /// Whether an authority on the path may certify only some names. The library enforces that for DNS names and knows
    /// no other kind that matters here, so those other kinds prove nothing then.
    pub(super) constrained: bool,
}

/// Builds the path, or says why there is none.
pub(super) fn path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    revocations: &RevocationLists,
    now_wall: SystemTime,
) -> Result<Verified, String> {
    let since_1970 = now_wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let explain = |cause: webpki::Error| explain(&cause, leaf, intermediates);
    let certificate = EndEntityCert::try_from(leaf).map_err(explain)?;
    let verify = |lists: &[&CertRevocationList<'_>]| {
        let revocation = RevocationOptionsBuilder::new(lists)
            .ok()
            //= TLS-24
            .map(|builder| {
                builder
                    .with_status_policy(UnknownStatusPolicy::Allow)
                    .build()
            });
        //= TLS-22
        let verified = certificate.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            intermediates,
            UnixTime::since_unix_epoch(since_1970),
            KeyUsage::server_auth(),
            revocation,
            Some(&issuers_may_issue),
        )?;
        Ok(summary(leaf, &verified))
    };
    let mut lists = revocations.all();
    let mut judged = verify(&lists);
    if judged.as_ref().is_err_and(is_about_lists) {
        // A list that its authority has not signed, or not with this key, says nothing; the others still do.
        lists.retain(|list| !verify(&[*list]).is_err_and(|cause| is_about_lists(&cause)));
        judged = verify(&lists);
    }
    match judged {
        Ok(summary) => summary.ok_or_else(|| "it cannot be read".to_owned()),
        Err(webpki::Error::CertRevoked) => {
            Err(revoked(parse(leaf).is_some_and(|c| revocations.name(&c))))
        }
        Err(cause) => Err(explain(cause)),
    }
}

/// The library believes basicConstraints alone (RFC 5280 §6.1.4 n).
fn issuers_may_issue(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    let may_issue = path.intermediate_certificates().all(|issuer| {
        let der = issuer.der();
        let usage = parse(&der).map(|parsed| match parsed.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        });
        usage == Some(true)
    });
    match may_issue {
        true => Ok(()),
        false => Err(webpki::Error::EndEntityUsedAsCa),
    }
}

fn revoked(leaf: bool) -> String {
    let whose = if leaf {
        ""
    } else {
        "issued by an authority that was "
    };
    format!("{whose}revoked, says a list of revoked certificates (CRL)")
}

/// Whether a list is at fault, and not the certificate.
fn is_about_lists(cause: &webpki::Error) -> bool {
    use webpki::Error as E;
    matches!(
        cause,
        E::InvalidCrlSignatureForPublicKey
            | E::IssuerNotCrlSigner
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
    )
}

fn summary(leaf: &CertificateDer<'_>, verified: &VerifiedPath<'_>) -> Option<Verified> {
    let mut not_after = not_after(leaf)?;
    let mut constrained = verified.anchor().name_constraints.is_some();
    let mut intermediates = 0;
    for issuer in verified.intermediate_certificates() {
        intermediates += 1;
        let der = issuer.der();
        let parsed = parse(&der)?;
        not_after = not_after.min(parsed.validity().not_after.timestamp());
        constrained |= parsed.name_constraints().ok()?.is_some();
    }
    Some(Verified {
        not_after,
        intermediates,
        constrained,
    })
}

/// The sentence for an operator, to stand after "not trusted: ".
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn explain(
    cause: &webpki::Error,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> String {
    use webpki::Error as E;
    let parsed = parse(leaf);
    let self_signed = parsed
        .as_ref()
        .is_some_and(|c| c.subject().as_raw() == c.issuer().as_raw());
    match cause {
        E::CertExpired { not_after, .. } => {
            let end = i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX);
            let whose = parsed.is_none_or(|c| c.validity().not_after.timestamp() == end);
            format!("{}expired on {}", whose_prefix(whose), date(end))
        }
        E::CertNotValidYet { not_before, .. } => {
            let start = i64::try_from(not_before.as_secs()).unwrap_or(i64::MAX);
            let whose = parsed.is_none_or(|c| c.validity().not_before.timestamp() == start);
            format!("{}not valid before {}", whose_prefix(whose), date(start))
        }
        E::UnknownIssuer if self_signed => "self-signed".to_owned(),
        E::UnknownIssuer => {
            let issuer = parsed
                .map(|c| shown(&c.issuer().to_string()))
                .unwrap_or_default();
            let missing = if intermediates.is_empty() {
                "; its server sent no intermediate certificate"
            } else {
                ""
            };
            format!("issued by an unknown authority ({issuer}){missing}")
        }
        E::CaUsedAsEndEntity if self_signed => {
            "self-signed, and the certificate of an authority (CA:TRUE), not of a server".to_owned()
        }
        E::CaUsedAsEndEntity => {
            "it is the certificate of an authority (CA:TRUE), not of a server".to_owned()
        }
        E::InvalidCertValidity => "it ends before it begins".to_owned(),
        E::ExtensionValueInvalid => "it has an extension twice, or one that is damaged".to_owned(),
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => {
            "not for server authentication (extendedKeyUsage)".to_owned()
        }
        E::NameConstraintViolation => {
            "it has names that its authority may not certify (nameConstraints)".to_owned()
        }
        E::PathLenConstraintViolated | E::EndEntityUsedAsCa => {
            "issued by a certificate that may not issue (basicConstraints, keyUsage)".to_owned()
        }
        E::MaximumPathDepthExceeded => {
            "there are too many intermediates between it and a trusted authority".to_owned()
        }
        E::InvalidSignatureForPublicKey if self_signed => {
            "self-signed, and not with the key of the trusted authority of that name".to_owned()
        }
        // Of a key that is too short the library says no more than that.
        E::InvalidSignatureForPublicKey if any_is_signed_with_rsa(leaf, intermediates) => {
            "its signature is wrong, or by a key that is too short (RSA needs 2048 bits)".to_owned()
        }
        E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => {
            "its signature is wrong".to_owned()
        }
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "signed with an algorithm that is not accepted (such as SHA-1 or RSA below 2048 bits)"
                .to_owned()
        }
        E::UnsupportedCertVersion => {
            let whose = whose_prefix(!is_readable(leaf));
            format!("{whose}it is no X.509 v3 certificate")
        }
        E::UnsupportedCriticalExtension => {
            let whose = whose_prefix(!is_readable(leaf));
            format!("{whose}it has a critical extension that is unknown here")
        }
        other => format!("it cannot be used ({other})"),
    }
}

fn any_is_signed_with_rsa(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> bool {
    std::iter::once(leaf).chain(intermediates).any(|der| {
        parse(der).is_some_and(|certificate| {
            RSA_SIGNATURES.contains(&certificate.signature_algorithm.algorithm)
        })
    })
}

fn whose_prefix(leaf: bool) -> &'static str {
    if leaf {
        ""
    } else {
        "an intermediate certificate: "
    }
}

/// The names that the certificate claims: those of its subjectAltName, never its common name (TLS-21).
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<CertificateName> {
    let Some(parsed) = parse(certificate) else {
        return Vec::new();
    };
    //= TLS-21
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is a library's, and grows"
)]
fn name(name: &GeneralName<'_>) -> Option<CertificateName> {
    //= TLS-18
    match name {
        GeneralName::DNSName(text) if text.is_ascii() => {
            Some(CertificateName::Dns((*text).to_owned()))
        }
        GeneralName::OtherName(id, value) if *id == SRV_NAME => {
            let text = other_name(value, Tag::Ia5String)?;
            let (service, domain) = text.split_once('.')?;
            Some(CertificateName::Srv {
                service: service.to_owned(),
                domain: domain.to_owned(),
            })
        }
        GeneralName::OtherName(id, value) if *id == XMPP_ADDR => {
            other_name(value, Tag::Utf8String).map(CertificateName::XmppAddr)
        }
        _ => None,
    }
}

/// The text inside an otherName's `[0] EXPLICIT`; of the type that its definition says, or the other of the two, which
/// authorities confuse.
fn other_name(value: &[u8], defined: Tag) -> Option<String> {
    let (rest, wrapper) = Any::from_der(value).ok()?;
    if !rest.is_empty() || wrapper.class() != Class::ContextSpecific || wrapper.tag() != Tag(0) {
        return None;
    }
    let (rest, inner) = Any::from_der(wrapper.data).ok()?;
    let typed = [defined, Tag::Ia5String, Tag::Utf8String].contains(&inner.tag());
    if !rest.is_empty() || inner.class() != Class::Universal || !typed {
        return None;
    }
    let text = std::str::from_utf8(inner.data).ok()?;
    (inner.tag() == Tag::Utf8String || text.is_ascii()).then(|| text.to_owned())
}

pub(super) fn is_dns(name: &CertificateName) -> bool {
    match name {
        CertificateName::Dns(_) => true,
        CertificateName::Srv { .. } | CertificateName::XmppAddr(_) => false,
    }
}

/// Reads a certificate, to its last byte.
pub(super) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Some(parsed),
        Ok(_) | Err(_) => None,
    }
}

/// Until when a certificate in DER is valid by its dates alone, on our clock; `None` if it is not valid at the moment that
/// is `now_wall` and `now` on the two clocks. One that cannot be read has no dates.
pub(crate) fn valid_until(
    certificate: &[u8],
    now_wall: SystemTime,
    now: Instant,
) -> Option<Instant> {
    let certificate = CertificateDer::from(certificate);
    let dates = parse(&certificate)?.validity().clone();
    let (from, to) = (dates.not_before.timestamp(), dates.not_after.timestamp());
    let is_valid = moment(from) <= now_wall && now_wall <= moment(to);
    is_valid.then(|| on_our_clock(to, now_wall, now))
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    Some(parse(certificate)?.validity().not_after.timestamp())
}

/// A moment of the wall clock on the clock that is never set.
pub(super) fn on_our_clock(seconds: i64, now_wall: SystemTime, now: Instant) -> Instant {
    let left = moment(seconds).duration_since(now_wall).unwrap_or_default();
    // A certificate without an end carries the year 9999; the clock need not reach that far.
    now.checked_add(left.min(FAR_FUTURE)).unwrap_or(now)
}

/// Seconds since 1970 as the system's time; what lies before is 1970, what it cannot express the far future.
pub(super) fn moment(seconds: i64) -> SystemTime {
    let since_1970 = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UNIX_EPOCH
        .checked_add(since_1970)
        .unwrap_or(UNIX_EPOCH + FAR_FUTURE * 2)
}

/// A day such as 2026-01-02 (UTC), from seconds since 1970.
pub(super) fn date(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds)
        .map(|time| time.to_datetime().date().to_string())
        .unwrap_or_else(|_| "an impossible day".to_owned())
}

/// A stranger's text for a log: one line, and not a long one.
fn shown(text: &str) -> String {
    text.chars()
        .take(SHOWN_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// id-on-dnsSRV (RFC 4985 §2).
const SRV_NAME: Oid<'static> = oid!(1.3.6.1.5.5.7.8.7);
/// id-on-xmppAddr (RFC 6120 §13.7.1.4).
const XMPP_ADDR: Oid<'static> = oid!(1.3.6.1.5.5.7.8.5);
/// PKCS #1 v1.5 with SHA-256, SHA-384 and SHA-512, and RSA-PSS (RFC 8017): what is looked at at all.
const RSA_SIGNATURES: [Oid<'static>; 4] = [
    oid!(1.2.840.113549.1.1.11),
    oid!(1.2.840.113549.1.1.12),
    oid!(1.2.840.113549.1.1.13),
    oid!(1.2.840.113549.1.1.10),
];
/// A hundred years.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
const SHOWN_CHARS_MAX: usize = 100;
