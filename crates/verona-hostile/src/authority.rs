//! Certificates of every kind, made when a case asks: good, expired, for another name, for the wrong purpose, by nobody.
//! Why generated: a key in a repository is trusted by somebody one day, and expires on another.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What is right or wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its dNSNames.
    pub names: Vec<String>,
    /// Who signs it.
    pub signer: Signer,
    /// What it may be used for.
    pub purposes: Purposes,
    /// When it is valid.
    pub validity: Validity,
    /// The common name of its subject.
    pub common_name: String,
}

/// Who signs a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The authority that the target was told to trust.
    Authority,
    /// An authority that looks like it and has another key.
    Impostor,
    /// Nobody but its own key.
    Itself,
}

/// The extended key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purposes {
    /// TLS server and TLS client.
    Both,
    /// TLS server only, as public authorities issue them since 2026.
    Server,
    /// TLS client only.
    Client,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// For decades.
    Current,
    /// It was, years ago.
    Past,
    /// It will be, in years.
    Future,
}

impl Order {
    /// A certificate without a fault for these names.
    #[must_use]
    pub fn good(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            signer: Signer::Authority,
            purposes: Purposes::Both,
            validity: Validity::Current,
            common_name: names
                .first()
                .map_or_else(String::new, |&name| name.to_owned()),
        }
    }

    /// The same, signed by another.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self { signer, ..self }
    }

    /// The same for other purposes.
    #[must_use]
    pub fn purposes(self, purposes: Purposes) -> Self {
        Self { purposes, ..self }
    }

    /// The same at another time.
    #[must_use]
    pub fn validity(self, validity: Validity) -> Self {
        Self { validity, ..self }
    }
}

/// A certificate with its key, as TLS takes them.
pub struct Credentials {
    /// The chain, the certificate itself first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
    /// Both as PEM, the certificate first.
    pub pem: (String, String),
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
            pem: self.pem.clone(),
        }
    }
}

/// The authority that the target trusts, and the one that only looks like it.
#[derive(Clone)]
pub struct Authority {
    trusted: Arc<CertifiedIssuer<'static, KeyPair>>,
    impostor: Arc<CertifiedIssuer<'static, KeyPair>>,
}

impl Authority {
    /// Two authorities with new keys.
    ///
    /// # Errors
    /// The keys cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self {
            trusted: Arc::new(issuer()?),
            impostor: Arc::new(issuer()?),
        })
    }

    /// The certificate of the authority to trust, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.trusted.pem()
    }

    /// Makes a certificate.
    ///
    /// # Errors
    /// The key cannot be made, or a name is none.
    pub fn issue(&self, order: &Order) -> Result<Credentials> {
        let mut params = CertificateParams::new(order.names.clone())?;
        params
            .distinguished_name
            .push(DnType::CommonName, order.common_name.as_str());
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        params.extended_key_usages = match order.purposes {
            Purposes::Both => vec![server, client],
            Purposes::Server => vec![server],
            Purposes::Client => vec![client],
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let (from, until) = match order.validity {
            Validity::Current => (2020, 2090),
            Validity::Past => (2015, 2018),
            Validity::Future => (2080, 2090),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = match order.signer {
            Signer::Authority => params.signed_by(&key, &self.trusted)?,
            Signer::Impostor => params.signed_by(&key, &self.impostor)?,
            Signer::Itself => params.self_signed(&key)?,
        };
        Ok(Credentials {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            pem: (certificate.pem(), key.serialize_pem()),
        })
    }

    /// Writes the trusted authority's certificate to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.pem()).with_context(|| format!("writing {}", path.display()))
    }
}

fn issuer() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Hostile test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}
