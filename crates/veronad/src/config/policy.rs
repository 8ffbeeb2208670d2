//! `[defaults]` and `[[peer]]`: what suffices for whom.
//!
//! Both tables know the same keys, so both are read by the same function.

use verona::config::{Dnssec, PeerAddress};
use verona_proto::limits::{self, BadLimit, Limit, Limits};
use verona_proto::policy::{
    BidiOffer, BidiPolicy, DirectTls, DomainPattern, Federate, IdentityMethod, ManagementPolicy,
    Multiplex, OnUncertain, PeerPolicy, PeerRule, Policy, Strictness, TlsPolicy, UseLearned,
    Weaker,
};

use super::problem::Report;
use super::section::{Node, Section};
use super::{address, suggest};

/// The policy for everybody, from `[defaults]`.
pub(super) fn defaults(
    section: &mut Section<'_>,
    dnssec: &Dnssec,
    report: &mut Report,
) -> PeerPolicy {
    let keys = Keys::read(section, Scope::Everybody, dnssec, report);
    let mut policy = PeerPolicy::default();
    policy.tls = keys.tls.unwrap_or(policy.tls);
    policy.identity = keys.identity.unwrap_or(policy.identity);
    policy.weaker = keys.weaker.unwrap_or(policy.weaker);
    policy.bidi = keys.bidi.unwrap_or(policy.bidi);
    policy.multiplex = keys.multiplex.unwrap_or(policy.multiplex);
    policy.to = keys.to.unwrap_or(policy.to);
    policy.federate = keys.federate.unwrap_or(policy.federate);
    policy.on_uncertain = keys.on_uncertain.unwrap_or(policy.on_uncertain);
    policy.direct_tls = keys.direct_tls.unwrap_or(policy.direct_tls);
    policy.learned = keys.learned.unwrap_or(policy.learned);
    policy.management = keys.management.unwrap_or(policy.management);
    policy.bidi_offer = keys.bidi_offer.unwrap_or(policy.bidi_offer);
    for (name, value) in keys.limits {
        // What cannot be set was reported when it was read.
        let _ = policy.limits.set(&name, value);
    }
    if policy.limits.retry_seconds_min > policy.limits.retry_seconds_max {
        report.error(
            section.place(),
            "`retry_seconds_min` is more than `retry_seconds_max`",
        );
    }
    policy
}

/// The exceptions and the known addresses, from every `[[peer]]`.
pub(super) fn peers(
    sections: Vec<Section<'_>>,
    defaults: PeerPolicy,
    dnssec: &Dnssec,
    report: &mut Report,
) -> (Policy, Vec<(DomainPattern, PeerAddress)>) {
    let mut policy = Policy {
        defaults,
        peers: Vec::new(),
    };
    let mut addresses = Vec::new();
    for mut section in sections {
        let domain = section.get("domain");
        let address = section
            .get("address")
            .and_then(|node| address::peer(&node, node.text(report)?, report));
        let keys = Keys::read(&mut section, Scope::OnePeer, dnssec, report);
        let pattern = match domain {
            Some(node) => node
                .text(report)
                .and_then(|text| address::pattern(&node, text, report)),
            None => {
                report
                    .error(
                        section.place(),
                        "this `[[peer]]` does not say for whom it is",
                    )
                    .suggest(
                        "add `domain = \"montague.lit\"`, or a pattern such as `\"*.example.net\"`",
                    );
                None
            }
        };
        if let Some(pattern) = pattern {
            if let Some(address) = address {
                addresses.push((pattern.clone(), address));
            }
            policy.peers.push(keys.rule(pattern));
        }
        section.finish(report);
    }
    (policy, addresses)
}

/// For whom a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everybody,
    OnePeer,
}

/// The keys that both tables know, as far as they are set.
struct Keys {
    tls: Option<TlsPolicy>,
    identity: Option<Vec<IdentityMethod>>,
    pins: Option<Vec<[u8; 32]>>,
    weaker: Option<Weaker>,
    bidi: Option<BidiPolicy>,
    multiplex: Option<Multiplex>,
    to: Option<Strictness>,
    federate: Option<Federate>,
    on_uncertain: Option<OnUncertain>,
    direct_tls: Option<DirectTls>,
    learned: Option<UseLearned>,
    management: Option<ManagementPolicy>,
    bidi_offer: Option<BidiOffer>,
    limits: Vec<(String, u64)>,
}

impl Keys {
    fn read(section: &mut Section<'_>, scope: Scope, dnssec: &Dnssec, report: &mut Report) -> Self {
        let pins = match scope {
            Scope::OnePeer => section.get("pins").and_then(|node| pins(&node, report)),
            Scope::Everybody => None,
        };
        let named = section
            .get("identity")
            .and_then(|node| identity(&node, pins.as_deref(), dnssec, report));
        Self {
            tls: choice(section, "tls", TLS, report),
            // Whoever names keys and nothing else wants those keys and nothing else.
            identity: named.or_else(|| pins.as_ref().map(|_| vec![IdentityMethod::Pin])),
            pins,
            weaker: choice(section, "weaker", WEAKER, report),
            bidi: choice(section, "bidi", BIDI, report),
            multiplex: choice(section, "multiplex", MULTIPLEX, report),
            to: choice(section, "to", TO, report),
            federate: choice(section, "federate", FEDERATE, report),
            on_uncertain: choice(section, "on_uncertain", ON_UNCERTAIN, report),
            direct_tls: choice(section, "direct_tls", DIRECT_TLS, report),
            learned: choice(section, "learned", LEARNED, report),
            management: choice(section, "stream_management", MANAGEMENT, report),
            bidi_offer: choice(section, "bidi_offer", BIDI_OFFER, report),
            limits: limits(section, scope, report),
        }
    }

    fn rule(self, domain: DomainPattern) -> PeerRule {
        PeerRule {
            domain,
            tls: self.tls,
            identity: self.identity,
            pins: self.pins,
            weaker: self.weaker,
            bidi: self.bidi,
            multiplex: self.multiplex,
            to: self.to,
            federate: self.federate,
            on_uncertain: self.on_uncertain,
            direct_tls: self.direct_tls,
            learned: self.learned,
            management: self.management,
            bidi_offer: self.bidi_offer,
            limits: self.limits,
        }
    }
}

fn choice<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    choices: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    section.get(key)?.choice(choices, report)
}

fn identity(
    node: &Node<'_>,
    pins: Option<&[[u8; 32]]>,
    dnssec: &Dnssec,
    report: &mut Report,
) -> Option<Vec<IdentityMethod>> {
    let items = node.items_or_report(report)?;
    if items.is_empty() {
        report
            .error(
                &node.place(),
                "`identity` is empty: nothing could ever prove a peer",
            )
            .suggest("name at least one method, or write `federate = \"deny\"`");
        return None;
    }
    let mut methods = Vec::new();
    for item in &items {
        let Some(method) = item.choice(IDENTITY, report) else {
            continue;
        };
        if method == IdentityMethod::Pin && pins.is_none() {
            report
                .error(&item.place(), "\"pin\" proves nobody without `pins`")
                .suggest("name the keys in the same `[[peer]]`: pins = [\"sha256:…\"]");
        }
        if method == IdentityMethod::Dane && matches!(dnssec, Dnssec::Off) {
            report
                .warning(
                    &item.place(),
                    "\"dane\" proves nobody while DNSSEC is not validated",
                )
                .suggest("write `dnssec = \"validate\"` in `[dns]`");
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    if methods == [IdentityMethod::Dane] && matches!(dnssec, Dnssec::Off) {
        report
            .error(
                &node.place(),
                "nothing in `identity` is available: no peer could be proven",
            )
            .suggest("write `dnssec = \"validate\"` in `[dns]`, or name another method");
    }
    Some(methods)
}

/// `pins = ["sha256:HEX"]`: the SHA-256 of a certificate's SubjectPublicKeyInfo, as openssl prints it.
fn pins(node: &Node<'_>, report: &mut Report) -> Option<Vec<[u8; 32]>> {
    let items = node.items_or_report(report)?;
    if items.is_empty() {
        report
            .error(
                &node.place(),
                "`pins` is empty: no key could ever prove the peer",
            )
            .suggest("name at least one key, or remove `pins`");
        return None;
    }
    let mut pins = Vec::new();
    for item in &items {
        let Some(text) = item.text(report) else {
            continue;
        };
        match pin(text) {
            Some(pin) => pins.push(pin),
            None => {
                report
                    .error(
                        &item.place(),
                        "no pin: it is \"sha256:\" and the 64 hexadecimal digits of a public key's SHA-256",
                    )
                    .suggest(
                        "openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | sha256sum",
                    );
            }
        }
    }
    Some(pins)
}

fn pin(text: &str) -> Option<[u8; 32]> {
    let digits: String = text
        .strip_prefix("sha256:")?
        .chars()
        .filter(|character| *character != ':')
        .collect();
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut pin = [0; 32];
    for (byte, at) in pin.iter_mut().zip((0..digits.len()).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(pin)
}

fn limits(section: &mut Section<'_>, scope: Scope, report: &mut Report) -> Vec<(String, u64)> {
    let Some(node) = section.get("limits") else {
        return Vec::new();
    };
    let Some(mut table) = node.table(report) else {
        return Vec::new();
    };
    let mut limits = Vec::new();
    for limit in Limit::ALL {
        let name = limit.name();
        let Some(node) = table.get(name) else {
            continue;
        };
        let Some(value) = node.number(report) else {
            continue;
        };
        match Limits::default().set(name, value) {
            Ok(()) if value > most(name) => {
                report.error(&node.place(), format!("`{name}` is at most {}", most(name)));
            }
            Ok(()) => {
                if scope == Scope::OnePeer && limit.scope() == limits::Scope::Everybody {
                    report
                        .warning(
                            &node.key_place(),
                            format!("`{name}` has no effect for a single peer"),
                        )
                        .suggest("it belongs in `[defaults]`");
                }
                limits.push((name.to_owned(), value));
            }
            //= LIM-01
            Err(BadLimit::BelowFloor(floor)) => {
                report.error(
                    &node.place(),
                    format!("`{name}` is at least {floor}, not {value}"),
                );
            }
            Err(BadLimit::Unknown) => {}
        }
    }
    table.finish_with(report, |name| {
        suggest::nearest(name, Limits::names()).map(|limit| format!("did you mean `{limit}`?"))
    });
    limits
}

/// The greatest value of a limit: what keeps clocks and memory in their range.
fn most(name: &str) -> u64 {
    match name {
        // Contract §4: SIGTERM drains, at most 10 s.
        "drain_seconds" => 10,
        // COMP-13: what waits for a component that does not come back is answered in reasonable time.
        "component_reconnect_seconds" => 30,
        name if name.contains("_seconds") => SECONDS_MOST,
        _ => COUNT_MOST,
    }
}

const TLS: &[(&str, TlsPolicy)] = &[
    ("required", TlsPolicy::Required),
    ("optional", TlsPolicy::Optional),
];
const IDENTITY: &[(&str, IdentityMethod)] = &[
    ("certificate", IdentityMethod::Certificate),
    ("dane", IdentityMethod::Dane),
    ("posh", IdentityMethod::Posh),
    ("pin", IdentityMethod::Pin),
    ("dialback", IdentityMethod::Dialback),
];
const MANAGEMENT: &[(&str, ManagementPolicy)] = &[
    ("auto", ManagementPolicy::Auto),
    ("acknowledgements", ManagementPolicy::Acknowledgements),
    ("off", ManagementPolicy::Off),
];
const BIDI: &[(&str, BidiPolicy)] = &[("auto", BidiPolicy::Auto), ("off", BidiPolicy::Off)];
const MULTIPLEX: &[(&str, Multiplex)] = &[
    ("auto", Multiplex::Auto),
    ("off", Multiplex::Off),
    ("on", Multiplex::On),
];
const TO: &[(&str, Strictness)] = &[
    ("exact-pair", Strictness::ExactPair),
    ("any-hosted", Strictness::AnyHosted),
];
const FEDERATE: &[(&str, Federate)] = &[("allow", Federate::Allow), ("deny", Federate::Deny)];
const ON_UNCERTAIN: &[(&str, OnUncertain)] = &[
    ("bounce", OnUncertain::Bounce),
    ("resend", OnUncertain::Resend),
];
const LEARNED: &[(&str, UseLearned)] = &[("use", UseLearned::Use), ("ignore", UseLearned::Ignore)];
const BIDI_OFFER: &[(&str, BidiOffer)] = &[
    ("auto", BidiOffer::Auto),
    ("standard", BidiOffer::Standard),
    ("both", BidiOffer::Both),
];
const DIRECT_TLS: &[(&str, DirectTls)] = &[("auto", DirectTls::Auto), ("off", DirectTls::Off)];
const WEAKER: &[(&str, Weaker)] = &[("refuse", Weaker::Refuse), ("allow", Weaker::Allow)];

/// A year: no wait of the protocol is longer, and a clock can always be that much ahead.
const SECONDS_MOST: u64 = 365 * 24 * 60 * 60;

/// A tebi: more than any machine has to give.
const COUNT_MOST: u64 = 1 << 40;
