//! The certificate zoo: every certificate in both roles under every policy, through real handshakes and the real stream.
//!
//! What has to come of each is written down beside it by hand; a run judges the code by that, and writes
//! `docs/certificates.md` from what it saw.

#![allow(
    clippy::print_stdout,
    reason = "a part that is left out has to be seen"
)]

mod catalogue;
mod evidence;
mod moments;
mod openssl;
mod page;
mod peer;
mod play;
mod specimen;
pub(super) mod surgery;
mod verdict;

use std::time::Duration;

use verona_proto::policy::{IdentityMethod, PeerPolicy};
use verona_proto::stream::Role;

use super::*;
use catalogue::{Family, Nursery};
use page::Row;
use peer::Way;
use play::{Errand, Meeting, Seen, Stay};
use specimen::{Expected, Specimen};
use verdict::Verdict;

/// What the operator accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepts {
    Default,
    CertificateOnly,
    DialbackOnly,
}

impl Accepts {
    fn policy(self) -> PeerPolicy {
        let identity = match self {
            Self::Default => return PeerPolicy::default(),
            Self::CertificateOnly => IdentityMethod::Certificate,
            Self::DialbackOnly => IdentityMethod::Dialback,
        };
        PeerPolicy {
            identity: vec![identity],
            ..PeerPolicy::default()
        }
    }

    /// How each is tried: the version of TLS says nothing about the stream, so each way has its own.
    fn tries(self, role: Role) -> Vec<(Version, Way)> {
        let [tls12, tls13] = VERSIONS;
        match (self, role) {
            (Self::DialbackOnly, _) => vec![(tls13, Way::External)],
            (Self::CertificateOnly, Role::Receiving) => vec![
                (tls13, Way::External),
                (tls12, Way::Dialback),
                (tls13, Way::Silence),
            ],
            (Self::Default | Self::CertificateOnly, _) => {
                vec![(tls13, Way::External), (tls12, Way::Dialback)]
            }
        }
    }
}

#[tokio::test]
async fn each_certificate_is_worth_what_the_standards_say() {
    //= TLS-16
    //= TLS-17
    //= TLS-18
    //= TLS-19
    //= TLS-20
    //= TLS-21
    //= TLS-22
    //= TLS-23
    //= SASL-02
    let mut nursery = Nursery::new();
    let families = catalogue::families(&mut nursery);
    let tls = trusting(&nursery);
    let mut tables = Vec::new();
    let mut wrong = Vec::new();
    for Family {
        title,
        about,
        specimens,
    } in &families
    {
        let mut rows = Vec::new();
        for specimen in specimens {
            match judge(&tls, specimen).await {
                Ok(row) => rows.push(row),
                Err(differs) => wrong.push(differs),
            }
        }
        tables.push(page::Table::of_family(title, about, rows));
    }
    let count: usize = families.iter().map(|family| family.specimens.len()).sum();
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= 150, "only {count} certificates");
    tables.extend(evidence::tables(&tls, &nursery).await);
    tables.push(moments::table(&tls, &nursery).await);
    match nursery.openssl {
        Some(_) => page::compare(&tables),
        None => println!("not run: docs/certificates.md has rows that need openssl"),
    }
}

/// Meets one certificate in both roles under every policy.
async fn judge(tls: &Tls, specimen: &Specimen) -> Result<Row, String> {
    let mut row = Row::new(specimen);
    for accepts in [
        Accepts::Default,
        Accepts::CertificateOnly,
        Accepts::DialbackOnly,
    ] {
        for role in [Role::Receiving, Role::Initiating] {
            // A server without a certificate cannot be spoken TLS with.
            if specimen.shown.is_none() && role == Role::Initiating {
                continue;
            }
            let expected = expected(specimen, accepts, role);
            for (version, way) in accepts.tries(role) {
                if way == Way::Silence && expected != Verdict::Refused {
                    continue;
                }
                let seen = meeting(tls, specimen, role, (version, way), accepts.policy())
                    .play()
                    .await;
                let verdict = Verdict::of(&seen, role, way);
                let told = told(specimen, accepts, &seen);
                if verdict != Ok(expected.clone()) || !told {
                    return Err(format!(
                        "{} ({}), {accepts:?}, {role:?}, {version:?}, {way:?}:\n  expected {expected:?}, {:?}\n  \
                         came {verdict:?}\n  {seen:#?}",
                        specimen.what, specimen.domain, specimen.expected
                    ));
                }
            }
            row.cell(accepts, role, &expected);
        }
    }
    Ok(row)
}

fn meeting<'a>(
    tls: &'a Tls,
    specimen: &'a Specimen,
    role: Role,
    (version, way): (Version, Way),
    policy: PeerPolicy,
) -> Meeting<'a> {
    Meeting {
        tls,
        specimen,
        role,
        version,
        way,
        policy,
        elsewhere: None,
        before: None,
        errand: Errand::Carry,
        later: Duration::ZERO,
        pause: Duration::ZERO,
        stay: Stay::No,
    }
}

/// What has to come of a certificate, by what it proves and what the operator accepts.
fn expected(specimen: &Specimen, accepts: Accepts, role: Role) -> Verdict {
    let proven = specimen.expected == Expected::Proves;
    if let Expected::NoTls(_) = specimen.expected {
        return Verdict::NoTls;
    }
    match (proven, accepts, role) {
        (true, Accepts::Default | Accepts::CertificateOnly, Role::Receiving) => {
            Verdict::External("certificate".to_owned())
        }
        (true, Accepts::Default | Accepts::CertificateOnly, Role::Initiating) => {
            Verdict::Believed("certificate".to_owned())
        }
        (_, Accepts::Default | Accepts::DialbackOnly, Role::Receiving) => Verdict::Dialback,
        (_, Accepts::Default | Accepts::DialbackOnly, Role::Initiating) => {
            Verdict::Believed("dns".to_owned())
        }
        (false, Accepts::CertificateOnly, _) => Verdict::Refused,
    }
}

/// Whether the operator reads what was written down, in every place where it is told.
fn told(specimen: &Specimen, accepts: Accepts, seen: &Seen) -> bool {
    let sentence = match (&specimen.expected, accepts) {
        (Expected::NoTls(reason), _) => {
            let text = seen.no_tls.as_deref().unwrap_or_default();
            let failed = seen.failed.as_ref().map(|error| error.text.as_str());
            return text.ends_with(&format!(" failed: {reason}")) && failed == Some(text);
        }
        (Expected::Proves, Accepts::Default | Accepts::CertificateOnly) => {
            return seen.certificate == Some(Ok("certificate".to_owned()));
        }
        (Expected::Proves, Accepts::DialbackOnly) => {
            "the peer's certificate is valid, but the policy for this peer does not accept certificates"
        }
        (Expected::Not(sentence), _) => sentence,
    };
    seen.certificate == Some(Err(sentence.to_owned()))
        && seen.sasl_failed.iter().all(|text| text == sentence)
}

/// TLS of ours, trusting whom the nursery trusts.
fn trusting(nursery: &Nursery) -> Tls {
    let own = nursery.authority.issue(&[play::LOCAL], |_| {});
    let certificates = Certificates::from_pem(vec![(domain(play::LOCAL), own.pem())]).unwrap();
    Tls::new(certificates, nursery.trust()).unwrap()
}
