//! Certificates for one case: an authority of its own, or none at all for servers that sign for themselves.
//! Why generated: a key in the repository would be trusted by somebody one day, and would expire on another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use sha2::{Digest as _, Sha256};

/// What the certificates say that they are for.
///
/// Public authorities leave out the client purpose since 2026; every server met here takes such a certificate all the
/// same, in both roles (peers.md §1b).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purposes {
    /// TLS server and TLS client.
    ServerAndClient,
    /// TLS server only.
    ServerOnly,
}

/// A certificate authority that lives as long as its case.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Interop test authority");
        limit_validity(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
        })
    }

    /// Writes the authority's certificate to `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.issuer.pem()).with_context(|| format!("writing {}", path.display()))
    }
}

/// A certificate and its key in two files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A certificate with its key, PEM.
#[derive(Clone)]
pub struct Issued {
    certificate: String,
    key: String,
    public_key: Vec<u8>,
}

impl Issued {
    /// Makes a certificate for `name` (dNSName only); without an authority it is signed by its own key.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn new(name: &str, purposes: Purposes, authority: Option<&Authority>) -> Result<Self> {
        Self::for_names(&[name], purposes, authority)
    }

    /// The same for several names.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn for_names(
        names: &[&str],
        purposes: Purposes,
        authority: Option<&Authority>,
    ) -> Result<Self> {
        Self::make(names, purposes, authority, None)
    }

    /// A certificate for a server, with a number by which it is known again.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn numbered(name: &str, number: u64, authority: &Authority) -> Result<Self> {
        Self::make(&[name], Purposes::ServerOnly, Some(authority), Some(number))
    }

    /// The certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key, PEM.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    fn make(
        names: &[&str],
        purposes: Purposes,
        authority: Option<&Authority>,
        number: Option<u64>,
    ) -> Result<Self> {
        let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(all)?;
        limit_validity(&mut params);
        let name = names.first().copied().unwrap_or_default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = match purposes {
            Purposes::ServerAndClient => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Purposes::ServerOnly => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = number.map(SerialNumber::from);
        let key = KeyPair::generate()?;
        let certificate = match authority {
            Some(authority) => params.signed_by(&key, &authority.issuer)?,
            None => params.self_signed(&key)?,
        };
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            public_key: key.subject_public_key_info(),
        })
    }

    /// The SHA-256 of its key, as a TLSA record `3 1 1` names it.
    #[must_use]
    pub fn key_digest(&self) -> String {
        use std::fmt::Write as _;
        Sha256::digest(&self.public_key)
            .iter()
            .fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    /// Writes `NAME.pem`, chain and key in one file, as verona reads it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_together(&self, dir: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("{name}.pem"));
        fs::write(&path, format!("{}{}", self.certificate, self.key))?;
        // verona warns of keys that everybody may read, and no case wants a warning without a reason.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// Writes `NAME.crt` and `NAME.key`, as Prosody reads them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_apart(&self, dir: &Path, name: &str) -> Result<CertificateFiles> {
        fs::create_dir_all(dir)?;
        let files = CertificateFiles {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, &self.certificate)?;
        fs::write(&files.key, &self.key)?;
        Ok(files)
    }
}

/// From the beginning of last year to the end of the next. ejabberd sets a timer for the end of every certificate, and
/// the default of this library, some thousand years, is more than its timers take: it would go without certificates.
fn limit_validity(params: &mut CertificateParams) {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // A day more or less at the turn of a year does not matter.
    let year = i32::try_from(1970 + seconds / SECONDS_IN_YEAR).unwrap_or(i32::MAX);
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + 1, 12, 31);
}

const SECONDS_IN_YEAR: u64 = 31_556_952;
