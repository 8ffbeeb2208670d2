//! Keys and signatures that the library refuses to make, from the program `openssl`.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tempfile::TempDir;

/// The program, and a directory for its files.
pub(super) struct OpenSsl {
    program: PathBuf,
    directory: Arc<TempDir>,
    count: Cell<u32>,
}

impl OpenSsl {
    /// Finds the program, or says that a part of the zoo stays at home. Where everything has to run, that is a failure.
    pub(super) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|directory| directory.join("openssl"))
            .find(|program| program.is_file());
        if program.is_none() {
            let everything_must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!everything_must_run, "openssl is missing, and CI=true");
            println!("not run: openssl is missing");
        }
        Some(Self {
            program: program?,
            directory: Arc::new(TempDir::new().unwrap()),
            count: Cell::new(0),
        })
    }

    /// A new key, by the options of `openssl genpkey`.
    pub(super) fn key(&self, options: &[&str]) -> Key {
        let number = self.count.get();
        self.count.set(number + 1);
        let file = self.directory.path().join(format!("{number}.pem"));
        let name = file.to_str().unwrap();
        run(
            &self.program,
            &[&["genpkey", "-out", name], options].concat(),
        );
        let public = ["pkey", "-in", name, "-pubout", "-outform", "DER"];
        Key {
            public: run(&self.program, &public),
            program: self.program.clone(),
            file,
            directory: Arc::clone(&self.directory),
        }
    }
}

/// A private key that only the program uses.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Its SubjectPublicKeyInfo.
    pub(super) public: Vec<u8>,
    program: PathBuf,
    file: PathBuf,
    directory: Arc<TempDir>,
}

impl Key {
    /// A signature, by the options of `openssl pkeyutl`.
    pub(super) fn sign(&self, message: &[u8], options: &[&str]) -> Vec<u8> {
        let place = TempDir::new_in(self.directory.path()).unwrap();
        let input = place.path().join("message");
        std::fs::write(&input, message).unwrap();
        let key = self.file.to_str().unwrap();
        let input = input.to_str().unwrap();
        let fixed = ["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", input];
        run(&self.program, &[&fixed, options].concat())
    }

    /// The key as rustls takes it: it signs handshakes by `scheme`, whether the other side knows that or not.
    pub(super) fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        scheme: SignatureScheme,
        options: &'static [&'static str],
    ) -> Arc<CertifiedKey> {
        let key = Obstinate {
            key: self.clone(),
            scheme,
            options,
        };
        Arc::new(CertifiedKey::new(chain, Arc::new(key)))
    }
}

#[derive(Clone, Debug)]
struct Obstinate {
    key: Key,
    scheme: SignatureScheme,
    options: &'static [&'static str],
}

impl SigningKey for Obstinate {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(self.clone()))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is a library's, and grows"
    )]
    fn algorithm(&self) -> SignatureAlgorithm {
        // What a suite of TLS 1.2 is chosen by.
        match self.scheme {
            SignatureScheme::RSA_PSS_SHA256 => SignatureAlgorithm::RSA,
            _ => SignatureAlgorithm::ECDSA,
        }
    }
}

impl Signer for Obstinate {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(self.key.sign(message, self.options))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn run(program: &Path, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(
        done.status.success(),
        "openssl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
    done.stdout
}
