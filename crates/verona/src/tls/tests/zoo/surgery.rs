//! Certificates that no library makes: the pieces of one that a library made, changed, and signed again.

use rcgen::SigningKey as _;
use rustls::pki_types::CertificateDer;

use super::super::{Authority, tlv};

/// The pieces of a certificate (RFC 5280 §4.1), each in DER.
#[derive(Clone)]
pub(in super::super) struct Pieces {
    /// Empty in X.509 v1.
    pub(super) version: Vec<u8>,
    pub(super) serial: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    pub(super) validity: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) public_key: Vec<u8>,
    /// With their `[3]`; empty if there are none.
    pub(super) extensions: Vec<u8>,
}

impl Pieces {
    pub(in super::super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let (_, certificate, _) = next(certificate);
        let (_, signed, _) = next(certificate);
        let (version, _, rest) = next(signed);
        let (serial, _, rest) = next(rest);
        let (_algorithm, _, rest) = next(rest);
        let (issuer, _, rest) = next(rest);
        let (validity, _, rest) = next(rest);
        let (subject, _, rest) = next(rest);
        let (public_key, _, extensions) = next(rest);
        Self {
            version: version.to_vec(),
            serial: serial.to_vec(),
            issuer: issuer.to_vec(),
            validity: validity.to_vec(),
            subject: subject.to_vec(),
            public_key: public_key.to_vec(),
            extensions: extensions.to_vec(),
        }
    }

    /// As X.509 v1, which knows no extensions.
    pub(in super::super) fn into_version_1(mut self) -> Self {
        self.version.clear();
        self.extensions.clear();
        self
    }

    /// Signed by `authority`, so that nothing is wrong but what was changed.
    pub(in super::super) fn signed_by(&self, authority: &Authority) -> CertificateDer<'static> {
        let sign = |message: &[u8]| authority.0.key().sign(message).unwrap();
        self.signed(&ecdsa_with(2), &sign)
    }

    /// Signed by whatever signs, with an AlgorithmIdentifier that says how.
    pub(super) fn signed(
        &self,
        algorithm: &[u8],
        sign: &dyn Fn(&[u8]) -> Vec<u8>,
    ) -> CertificateDer<'static> {
        let signed = [
            &self.version,
            &self.serial,
            algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &self.public_key,
            &self.extensions,
        ];
        let signed = tlv(0x30, &signed.map(|piece| piece.to_vec()).concat());
        let signature = tlv(0x03, &[&[0], sign(&signed).as_slice()].concat());
        let whole = [signed.as_slice(), algorithm, &signature].concat();
        CertificateDer::from(tlv(0x30, &whole))
    }
}

/// The AlgorithmIdentifier of ECDSA with SHA-224 (1), SHA-256 (2), SHA-384 (3) or SHA-512 (4).
pub(super) fn ecdsa_with(hash: u8) -> Vec<u8> {
    tlv(
        0x30,
        &tlv(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, hash]),
    )
}

/// One element of DER: with its tag, without it, and what follows.
fn next(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (head, length) = match der[1] {
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        short => (2, usize::from(short)),
    };
    let (whole, rest) = der.split_at(head + length);
    (whole, &whole[head..], rest)
}
