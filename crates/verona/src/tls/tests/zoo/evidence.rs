//! What DNS, the web, the operator's pins and the past change: certificates for which PKIX alone does not decide.

mod dane;
mod past;
mod pins;
mod posh;

use std::time::{Duration, Instant, SystemTime};

use verona_proto::certificate::{Attestation, Posh};
use verona_proto::dane::{Dane, TlsaRecord};
use verona_proto::grounds::Strength;
use verona_proto::policy::{IdentityMethod, PeerPolicy, Weaker};
use verona_proto::stream::Role;

use super::super::*;
use super::catalogue::Nursery;
use super::meeting;
use super::page::{Table, plain};
use super::peer::Way;
use super::play::{Errand, Meeting, Seen};
use super::specimen::{Shown, Specimen};
use super::verdict::Verdict;

/// The tables; each case was judged.
pub(super) async fn tables(tls: &Tls, nursery: &Nursery) -> Vec<Table> {
    vec![
        table(
            tls,
            dane::TITLE,
            dane::ABOUT,
            "DNSSEC proves",
            dane::cases(nursery),
        )
        .await,
        table(
            tls,
            posh::TITLE,
            posh::ABOUT,
            "its web server",
            posh::cases(nursery),
        )
        .await,
        table(
            tls,
            pins::TITLE,
            pins::ABOUT,
            "pinned",
            pins::cases(nursery),
        )
        .await,
        table(
            tls,
            past::TITLE,
            past::ABOUT,
            "proven lately",
            past::cases(nursery),
        )
        .await,
    ]
}

/// One certificate under circumstances, with what has to come of it, written down by hand.
struct Case {
    specimen: Specimen,
    /// The circumstances, for a reader.
    given: &'static str,
    policy: PeerPolicy,
    elsewhere: Option<Elsewhere>,
    before: Option<Strength>,
    /// In each role, and where it is asked about a key.
    connects: Expectation,
    dialled: Expectation,
    asked: Expectation,
}

/// What has to come, and what the operator has to read; nothing where it is believed as well as may be.
#[derive(Clone, Debug)]
struct Expectation {
    verdict: Verdict,
    reason: String,
}

impl Case {
    fn new(shown: Shown, given: &'static str, accepts: &[IdentityMethod]) -> Self {
        let refused = || Expectation {
            verdict: Verdict::Refused,
            reason: String::new(),
        };
        Self {
            specimen: shown.not("judged below"),
            given,
            policy: PeerPolicy {
                identity: accepts.to_vec(),
                ..PeerPolicy::default()
            },
            elsewhere: None,
            before: None,
            connects: refused(),
            dialled: refused(),
            asked: refused(),
        }
    }

    fn elsewhere(mut self, elsewhere: Elsewhere) -> Self {
        self.elsewhere = Some(elsewhere);
        self
    }

    fn pinned(mut self, key: [u8; 32]) -> Self {
        self.policy.pins = vec![key];
        self
    }

    fn before(mut self, strength: Strength) -> Self {
        self.before = Some(strength);
        self
    }

    fn allowing_weaker(mut self) -> Self {
        self.policy.weaker = Weaker::Allow;
        self
    }

    /// It is believed in every role, by this.
    fn proves(self, by: &str) -> Self {
        self.connects(Verdict::External(by.into()), "")
            .dialled(Verdict::Believed(by.into()), "")
            .asked(Verdict::Asked("certificate"), "")
    }

    /// It is refused in every role, for this.
    fn refused(self, reason: &str) -> Self {
        let dialled = format!("{reason}; the policy for this peer accepts nothing weaker");
        self.connects(Verdict::Refused, reason)
            .dialled(Verdict::Refused, &dialled)
            .asked(Verdict::Refused, &dialled)
    }

    fn connects(mut self, verdict: Verdict, reason: &str) -> Self {
        self.connects = Expectation {
            verdict,
            reason: reason.to_owned(),
        };
        self
    }

    fn dialled(mut self, verdict: Verdict, reason: &str) -> Self {
        self.dialled = Expectation {
            verdict,
            reason: reason.to_owned(),
        };
        self
    }

    fn asked(mut self, verdict: Verdict, reason: &str) -> Self {
        self.asked = Expectation {
            verdict,
            reason: reason.to_owned(),
        };
        self
    }

    fn meeting<'a>(&'a self, tls: &'a Tls, role: Role, errand: Errand) -> Meeting<'a> {
        let tried = (VERSIONS[1], Way::External);
        Meeting {
            elsewhere: self.elsewhere.clone(),
            before: self.before,
            errand,
            ..meeting(tls, &self.specimen, role, tried, self.policy.clone())
        }
    }

    fn row(&self) -> Vec<String> {
        let accepts: Vec<String> = self
            .policy
            .identity
            .iter()
            .map(|method| format!("{method:?}").to_lowercase())
            .collect();
        let accepts = match self.policy.weaker {
            Weaker::Refuse => accepts.join(", "),
            Weaker::Allow => format!("{}; `weaker = \"allow\"`", accepts.join(", ")),
        };
        let none = self.specimen.shown.is_none();
        let cell = |expectation: &Expectation, dialled: bool| match none && dialled {
            true => "–".to_owned(),
            false => expectation.verdict.word(),
        };
        // What is said when it is dialled adds the policy's part, which is the same everywhere.
        let connects = self.connects.reason.as_str();
        let same = !connects.is_empty() && self.dialled.reason.starts_with(connects);
        let dialled = match same || none || self.dialled.reason.is_empty() {
            true => String::new(),
            false => format!("dialled: {}", self.dialled.reason),
        };
        let reasons = [connects, &dialled];
        let reasons: Vec<&str> = reasons
            .into_iter()
            .filter(|reason| !reason.is_empty())
            .map(|reason| {
                reason
                    .strip_prefix("the peer's certificate ")
                    .unwrap_or(reason)
            })
            .collect();
        vec![
            self.specimen.what.clone(),
            self.given.to_owned(),
            accepts,
            cell(&self.connects, false),
            cell(&self.dialled, true),
            cell(&self.asked, true),
            plain(&reasons.join(" – ")),
        ]
    }
}

async fn table(tls: &Tls, title: &str, about: &str, given: &str, cases: Vec<Case>) -> Table {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for case in &cases {
        for (role, errand, expected) in [
            (Role::Receiving, Errand::Carry, &case.connects),
            (Role::Initiating, Errand::Carry, &case.dialled),
            (Role::Initiating, Errand::Verify, &case.asked),
        ] {
            // A server without a certificate cannot be spoken TLS with.
            if case.specimen.shown.is_none() && role == Role::Initiating {
                continue;
            }
            let seen = case.meeting(tls, role, errand).play().await;
            let verdict = Verdict::of(&seen, role, Way::External);
            if verdict.as_ref() != Ok(&expected.verdict) || !is_told(expected, &seen) {
                wrong.push(format!(
                    "{}, {}, {role:?}, {errand:?}:\n  expected {expected:?}\n  came {verdict:?}\n  {seen:#?}",
                    case.specimen.what, case.given
                ));
            }
        }
        rows.push(case.row());
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    let columns = [
        "certificate",
        given,
        "accepted",
        "connects",
        "dialled",
        "asked about a key",
        "why not",
    ];
    Table::of_cells(title, about, &columns, &rows)
}

/// Whether the operator reads what is expected: in the reason of the end, else with the certificate.
fn is_told(expected: &Expectation, seen: &Seen) -> bool {
    if let Some(text) = &seen.no_tls {
        return text.ends_with(&format!(" failed: {}", expected.reason));
    }
    let failed = seen.failed.as_ref().map(|error| error.text.as_str());
    match (&seen.certificate, expected.reason.as_str()) {
        (Some(Ok(_)), "") => true,
        (Some(Err(sentence)), reason) => sentence == reason || failed == Some(reason),
        (Some(Ok(_)), reason) => failed == Some(reason),
        (None, _) => false,
    }
}

/// What DNS and the web say.
#[derive(Clone, Debug, Default)]
pub(super) struct Elsewhere {
    /// TLSA records that DNSSEC proves; none if it proves that there are none.
    records: Vec<TlsaRecord>,
    /// Hosts that DNSSEC proves to serve the domain.
    hosts: Vec<&'static str>,
    dnssec: Dnssec,
    web: Web,
}

/// Whether anybody validates what DNS says.
#[derive(Clone, Copy, Debug, Default)]
enum Dnssec {
    #[default]
    Validated,
    Off,
}

/// What the domain's web server says.
#[derive(Clone, Copy, Debug, Default)]
enum Web {
    #[default]
    NotAsked,
    NamesIt,
    NamesOthers,
    Fails,
}

impl Elsewhere {
    /// What comes of it for the certificate that was shown, as the engine would find out.
    pub(super) fn attestation(
        &self,
        facts: &TlsFacts,
        remote: &Domain,
        policy: &PeerPolicy,
        now: Instant,
    ) -> Attestation {
        let hosts: Vec<Domain> = self.hosts.iter().map(|host| domain(host)).collect();
        let clocks = (SystemTime::now(), now);
        let dane = match (self.dnssec, policy.accepts(IdentityMethod::Dane)) {
            (Dnssec::Validated, true) => compare(
                &self.records,
                &facts.chain,
                &facts.evidence,
                remote,
                &hosts,
                clocks,
            ),
            (Dnssec::Off, _) | (Dnssec::Validated, false) => Dane::NotLooked,
        };
        let posh = match self.web {
            _ if !policy.accepts(IdentityMethod::Posh) => Posh::NotLooked,
            Web::NotAsked => Posh::NotLooked,
            Web::NamesIt => Posh::Matches {
                until: now + Duration::from_secs(3600),
            },
            Web::NamesOthers => Posh::Differs,
            Web::Fails => Posh::Failed("the web server answered with status 404".into()),
        };
        Attestation {
            domain: remote.clone(),
            dane,
            posh,
            hosts,
        }
    }
}

/// The SHA-256 of the key of what is shown.
fn digest_of_key(shown: &Issued) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    let key = crate::tls::verify::spki(&shown.chain[0]).unwrap();
    Sha256::digest(key).into()
}

const SELF_SIGNED: &str = "the peer's certificate is not trusted: self-signed";
const ONLY_VALID: &str =
    "the peer's certificate is valid, but the policy for this peer does not accept certificates";
