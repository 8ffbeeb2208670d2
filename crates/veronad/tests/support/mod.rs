//! Directories with certificates and secrets, and the binary run in them.
//! What a test of the daemon needs of a machine, made anew for each.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, and each test file uses its part"
)]

pub(crate) mod daemon;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use sha1::{Digest as _, Sha1};

/// Runs `verona` in `dir`, without the environment that changes what it says.
pub(crate) fn verona(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verona"));
    command.current_dir(dir).args(arguments);
    for name in [
        "RUST_LOG",
        "NOTIFY_SOCKET",
        "NO_COLOR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "STATE_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A certification authority that nobody knows.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "An authority of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Chain and key for `names`.
    pub(crate) fn issue(&self, names: &[&str], expired: bool) -> (String, String) {
        let end = if expired {
            date_time_ymd(2020, 1, 2)
        } else {
            date_time_ymd(4000, 1, 1)
        };
        self.issue_until(names, |params| params.not_after = end)
    }

    /// The same, with anything changed.
    pub(crate) fn issue_until(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

impl Authority {
    /// A list of what it has revoked, which was to be replaced in 2020.
    pub(crate) fn list(&self, numbers: &[u64]) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2020, 2, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: numbers
                .iter()
                .map(|number| RevokedCertParams {
                    serial_number: SerialNumber::from(*number),
                    revocation_time: date_time_ymd(2020, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// So many seconds from now, on the clock that begins in 1970.
pub(crate) fn since_1970(seconds: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now + Duration::from_secs(seconds)
}

/// A file that only its owner reads.
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory with what an operator has: an authority, certificates in both layouts, secrets, and some of it wrong.
pub(crate) fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let authority = Authority::new();
    write(&at("ca.pem"), &authority.pem());
    let (chain, key) = authority.issue(&["capulet.lit", "*.capulet.lit"], false);
    write(&at("certs/capulet.lit.pem"), &format!("{chain}{key}"));
    let (chain, key) = authority.issue(&["montague.lit", "conference.montague.lit"], false);
    write(&at("certs/montague.lit/fullchain.pem"), &chain);
    write(&at("certs/montague.lit/privkey.pem"), &key);
    let (chain, _) = authority.issue(&["mismatch.lit"], false);
    let (_, key) = authority.issue(&["mismatch.lit"], false);
    write(&at("certs/mismatch.lit.pem"), &format!("{chain}{key}"));
    let (chain, _) = authority.issue(&["keyless.lit"], false);
    write(&at("certs/keyless.lit/fullchain.pem"), &chain);
    let (chain, key) = authority.issue(&["expired.lit"], true);
    write(&at("certs/expired.lit.pem"), &format!("{chain}{key}"));
    let (chain, key) = authority.issue_until(&["soon.lit"], |params| {
        params.not_after = date_time_ymd(1970, 1, 1) + since_1970(10 * 24 * 60 * 60 + 60);
    });
    write(&at("certs/soon.lit.pem"), &format!("{chain}{key}"));
    write(&at("old.crl"), &authority.list(&[]));
    write(&at("rooms.secret"), "s3cr3t\n");
    write(&at("empty.secret"), "\n");
    write(
        &at("root.key"),
        ". IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n",
    );
    write(&at("open.secret"), "s3cr3t\n");
    std::fs::set_permissions(at("open.secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
    dir
}

/// A process that does not outlive its test.
pub(crate) struct Child(pub(crate) std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends Ctrl-C.
pub(crate) fn interrupt(child: &std::process::Child) {
    signal(child, "INT");
}

/// Sends a signal by name.
pub(crate) fn signal(child: &std::process::Child, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// One request over TCP: status and body.
pub(crate) fn http(address: &str, request: &str) -> (u16, String) {
    exchange(TcpStream::connect(address).unwrap(), request)
}

/// One request over any stream: status and body.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, body.to_owned())
}

/// Attaches as the component of `domain` (XEP-0114).
pub(crate) fn component(address: &str, domain: &str, secret: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let header = format!(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
    );
    stream.write_all(header.as_bytes()).unwrap();
    let answer = read_until(&mut stream, ">");
    let answer = if answer.starts_with("<?xml") {
        answer + &read_until(&mut stream, ">")
    } else {
        answer
    };
    let (_, rest) = answer.split_once(" id='").unwrap();
    let id = rest.split('\'').next().unwrap();
    let digest = Sha1::digest(format!("{id}{secret}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    stream
        .write_all(format!("<handshake>{hex}</handshake>").as_bytes())
        .unwrap();
    assert_eq!(read_until(&mut stream, ">"), "<handshake/>");
    stream
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}
