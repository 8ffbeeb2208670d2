//! Reading a transcript: lines into steps, the header into a setup. Every mistake is found before anything is played,
//! as far as it can be, and names its line.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Domain, DomainPair, Hosts};
use verona_proto::certificate::{Attestation, Posh};
use verona_proto::dane::Dane;
use verona_proto::grounds::{Assurance, Strength};
use verona_proto::learned::{Outcome, Topic};
use verona_proto::policy::{
    BidiOffer, BidiPolicy, DomainPattern, Federate, IdentityMethod, ManagementPolicy, Multiplex,
    PeerPolicy, PeerRule, Policy, Strictness, TlsPolicy, UseLearned, Weaker,
};
use verona_proto::stream::{Attestations, Check, Pace, Ticket};

use super::text::Names;
use super::{Mistake, Transcript};

/// One line that does something.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `>`
    Receive,
    /// `<`
    Write,
    /// `*`
    Event,
    /// `!`
    Command,
    /// `@`
    Wait,
    /// `=`
    Assertion,
}

/// The stream that is played.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) line: usize,
    pub(super) role: Role,
    pub(super) hosts: Hosts,
    pub(super) secured: Option<Evidence>,
    pub(super) own_certificate: bool,
    pub(super) ids: Vec<String>,
    pub(super) secret: String,
    pub(super) tls_available: bool,
    pub(super) policy: Policy,
    /// Keys that we made on other streams a moment ago.
    pub(super) issued: Vec<String>,
    /// Ids of earlier streams to the same peer.
    pub(super) met: Vec<String>,
    pub(super) learned: Vec<Taught>,
    /// What peers proved before.
    pub(super) proven: Vec<(Domain, Strength)>,
    pub(super) attestations: Attestations,
    /// How the way led to the peer.
    pub(super) assurance: Assurance,
    /// Whether DNSSEC names the certificate of the server that we dial.
    pub(super) tlsa: bool,
    pub(super) names: Names,
}

/// What experience taught before.
#[derive(Clone, Debug)]
pub(super) struct Taught {
    pub(super) peer: Domain,
    pub(super) topic: Topic,
    pub(super) outcome: Outcome,
}

/// Who opened the stream, and what for.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Initiating {
        pair: DomainPair,
        external: bool,
        bidi: bool,
        pace: Pace,
        resume: Vec<Ticket>,
    },
    Receiving,
    Verifying {
        pair: DomainPair,
        checks: Vec<Check>,
    },
}

/// What the peer shows in the TLS handshake.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) trusted: bool,
    /// Empty when it shows nothing.
    pub(super) names: Vec<String>,
}

pub(super) fn parse(path: &str, lines: Vec<(usize, String)>) -> Result<Transcript, Mistake> {
    let mut names = Names::default();
    let mut specs = Vec::new();
    let mut header: Option<(usize, String)> = None;
    let mut peers = Vec::new();
    let mut steps = Vec::new();
    for (line, text) in lines {
        let mistake = |text: String| Mistake::new(path, line, text);
        let (word, rest) = match text.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (text.as_str(), ""),
        };
        let kind = match word {
            "spec" => {
                specs.extend(ids(rest).map_err(mistake)?);
                continue;
            }
            "let" => {
                let (name, value) = rest
                    .split_once('=')
                    .ok_or_else(|| mistake("`let` wants a name, `=` and a value".into()))?;
                let value = names.expand_text(value.trim()).map_err(mistake)?;
                names.bind(name.trim(), &value);
                continue;
            }
            "stream" => {
                if header.is_some() {
                    return Err(mistake("a second `stream` line".into()));
                }
                header = Some((line, names.expand_text(rest).map_err(mistake)?));
                continue;
            }
            "peer" => {
                let rest = names.expand_text(rest).map_err(mistake)?;
                peers.push(peer(&rest).map_err(mistake)?);
                continue;
            }
            ">" => Kind::Receive,
            "<" => Kind::Write,
            "*" => Kind::Event,
            "!" => Kind::Command,
            "@" => Kind::Wait,
            "=" => Kind::Assertion,
            other => return Err(mistake(format!("a line cannot begin with `{other}`"))),
        };
        if header.is_none() {
            return Err(mistake("before this there must be a `stream` line".into()));
        }
        steps.push(Step {
            line,
            kind,
            text: rest.to_owned(),
        });
    }
    if specs.is_empty() {
        return Err(Mistake::new(path, 1, "no `spec` line says what this shows"));
    }
    let (line, header) =
        header.ok_or_else(|| Mistake::new(path, 1, "there is no `stream` line"))?;
    let mut setup = setup(line, &header, names).map_err(|text| Mistake::new(path, line, text))?;
    setup.policy.peers = peers;
    let expects = |step: &Step| matches!(step.kind, Kind::Write | Kind::Event | Kind::Assertion);
    if !steps.iter().any(expects) {
        return Err(Mistake::new(path, line, "nothing is expected"));
    }
    Ok(Transcript {
        path: path.to_owned(),
        specs,
        setup,
        steps,
    })
}

/// Lines without comments and empty ones, each with those that carry it on.
pub(super) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match (line.starts_with(char::is_whitespace), lines.last_mut()) {
            (true, Some((_, before))) => {
                // Elements may stand one below the other without white space between them on the wire.
                if !before.starts_with(['>', '<']) {
                    before.push(' ');
                }
                before.push_str(trimmed);
            }
            (true | false, _) => lines.push((index + 1, trimmed.to_owned())),
        }
    }
    lines
}

fn ids(text: &str) -> Result<Vec<String>, String> {
    text.split_whitespace()
        .map(|id| {
            let is_id = id.split_once('-').is_some_and(|(area, number)| {
                area.chars().all(|c| c.is_ascii_uppercase())
                    && !number.is_empty()
                    && number.chars().all(|c| c.is_ascii_digit())
            });
            match is_id {
                true => Ok(id.to_owned()),
                false => Err(format!("`{id}` is no requirement, such as BIDI-19")),
            }
        })
        .collect()
}

fn setup(line: usize, text: &str, names: Names) -> Result<Setup, String> {
    let (role, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut keys = keys(rest)?;
    let hosts = keys.remove("hosts").ok_or("`hosts` is missing")?;
    let hosts = Hosts::new(list(&hosts, domain)?);
    let pair = keys
        .remove("pair")
        .map(|text| local_pair(&text, &hosts))
        .transpose()?;
    let mut yes = |key: &str| match keys.remove(key).as_deref() {
        None | Some("yes") => Ok(true),
        Some("no") => Ok(false),
        Some(other) => Err(format!("`{key}` is `yes` or `no`, not `{other}`")),
    };
    let (external, bidi, own_certificate) = (yes("external")?, yes("request")?, yes("own")?);
    let missing = || "`pair` is missing".to_owned();
    let role = match role {
        "receiving" => Role::Receiving,
        "initiating" => Role::Initiating {
            pair: pair.ok_or_else(missing)?,
            external,
            bidi,
            pace: match keys.remove("pace").as_deref() {
                None | Some("stepwise") => Pace::Stepwise,
                Some("ahead") => Pace::Ahead,
                Some(other) => return Err(format!("there is no pace `{other}`")),
            },
            resume: keys
                .remove("resume")
                .map(|text| list(&text, ticket))
                .transpose()?
                .unwrap_or_default(),
        },
        "verifying" => Role::Verifying {
            pair: pair.ok_or_else(missing)?,
            checks: list(&keys.remove("check").ok_or("`check` is missing")?, check)?,
        },
        other => return Err(format!("there is no role `{other}`")),
    };
    let secured = match keys.remove("secured").as_deref() {
        None | Some("none") => None,
        Some(text) => Some(evidence(text)),
    };
    let ids = keys
        .remove("ids")
        .map(|ids| ids.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let mut texts = |key: &str| -> Vec<String> {
        let text = keys.remove(key);
        text.map(|text| text.split(',').map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let (issued, met) = (texts("issued"), texts("met"));
    let learned = match keys.remove("learned") {
        Some(text) => list(&text, taught)?,
        None => Vec::new(),
    };
    let proven = match keys.remove("proven") {
        Some(text) => list(&text, strength)?,
        None => Vec::new(),
    };
    let attestations = match keys.remove("attestations").as_deref() {
        None | Some("no") => Attestations::Unavailable,
        Some("yes") => Attestations::Available,
        Some("dnssec") => Attestations::WithDnssec,
        Some(other) => return Err(format!("`attestations` is `yes` or `no`, not `{other}`")),
    };
    let assurance = match keys.remove("way").as_deref() {
        None | Some("dns") => Assurance::Dns,
        Some("dnssec") => Assurance::Dnssec,
        Some("configured") => Assurance::Configured,
        Some("redirect") => Assurance::Redirected,
        Some(other) => return Err(format!("there is no way `{other}`")),
    };
    let tlsa = keys.remove("tlsa").is_some_and(|tlsa| tlsa == "yes");
    let secret = keys.remove("secret").unwrap_or_else(|| "secret".to_owned());
    let tls_available = keys.get("tls").is_none_or(|tls| tls != "unavailable");
    if !tls_available {
        keys.insert("tls".into(), "optional".into());
    }
    let mut rule = PeerRule::new(DomainPattern::Exact(
        Domain::parse("unused.invalid").map_err(|_| "a bad domain")?,
    ));
    policy(&mut rule, keys)?;
    Ok(Setup {
        line,
        role,
        hosts,
        secured,
        own_certificate,
        ids,
        secret,
        tls_available,
        policy: Policy {
            defaults: defaults(rule),
            peers: Vec::new(),
        },
        issued,
        met,
        learned,
        proven,
        attestations,
        assurance,
        tlsa,
        names,
    })
}

/// `DOMAIN:STRENGTH`.
fn strength(text: &str) -> Result<(Domain, Strength), String> {
    let (peer, name) = text.split_once(':').unwrap_or((text, ""));
    let strength = Strength::of_name(name).ok_or_else(|| format!("nothing proves `{name}`"))?;
    Ok((domain(peer)?, strength))
}

/// `dane=matches|differs|none`, `posh=matches|differs|failed` and `host=NAME`, each optional.
pub(super) fn attestation(
    domain: Domain,
    keys: &mut BTreeMap<String, String>,
    now: Instant,
) -> Result<Attestation, String> {
    let dane = match keys.remove("dane").as_deref() {
        None => Dane::NotLooked,
        Some("none") => Dane::NoRecords,
        Some("matches") => Dane::Matches { until: None },
        Some("differs") => Dane::Differs("is none of them".into()),
        Some(other) => return Err(format!("DANE does not say `{other}`")),
    };
    let posh = match keys.remove("posh").as_deref() {
        None => Posh::NotLooked,
        Some("matches") => Posh::Matches {
            until: now + POSH_LIFE,
        },
        Some("differs") => Posh::Differs,
        Some("failed") => Posh::Failed("there is no document".into()),
        Some(other) => return Err(format!("POSH does not say `{other}`")),
    };
    let hosts = match keys.remove("host") {
        Some(text) => vec![self::domain(&text)?],
        None => Vec::new(),
    };
    Ok(Attestation {
        domain,
        dane,
        posh,
        hosts,
    })
}

/// How long a POSH document counts.
const POSH_LIFE: Duration = Duration::from_secs(3600);

/// `DOMAIN:TOPIC:OUTCOME`.
fn taught(text: &str) -> Result<Taught, String> {
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (peer, topic, outcome) = (domain(part())?, part(), part());
    Ok(Taught {
        peer,
        topic: Topic::of_name(topic).ok_or_else(|| format!("there is no topic `{topic}`"))?,
        outcome: Outcome::of_name(outcome)
            .ok_or_else(|| format!("there is no outcome `{outcome}`"))?,
    })
}

fn peer(text: &str) -> Result<PeerRule, String> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let pattern = match name.strip_prefix("*.") {
        Some(parent) => DomainPattern::Below(domain(parent)?),
        None => DomainPattern::Exact(domain(name)?),
    };
    let mut rule = PeerRule::new(pattern);
    policy(&mut rule, keys(rest)?)?;
    Ok(rule)
}

/// The keys of the policy, with their names and values of the configuration file.
fn policy(rule: &mut PeerRule, keys: BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in keys {
        let bad = || Err(format!("`{value}` is no value for `{key}`"));
        match key.as_str() {
            "tls" => {
                rule.tls = Some(match value.as_str() {
                    "required" => TlsPolicy::Required,
                    "optional" => TlsPolicy::Optional,
                    _ => return bad(),
                });
            }
            "identity" => {
                let method = |text: &str| match text {
                    "certificate" => Ok(IdentityMethod::Certificate),
                    "dane" => Ok(IdentityMethod::Dane),
                    "posh" => Ok(IdentityMethod::Posh),
                    "dialback" => Ok(IdentityMethod::Dialback),
                    _ => Err(format!("`{text}` proves no peer")),
                };
                rule.identity = Some(list(&value, method)?);
            }
            "bidi" => {
                rule.bidi = Some(match value.as_str() {
                    "auto" => BidiPolicy::Auto,
                    "off" => BidiPolicy::Off,
                    _ => return bad(),
                });
            }
            "bidi-offer" => {
                rule.bidi_offer = Some(match value.as_str() {
                    "auto" => BidiOffer::Auto,
                    "standard" => BidiOffer::Standard,
                    "both" => BidiOffer::Both,
                    _ => return bad(),
                });
            }
            "experience" => {
                rule.learned = Some(match value.as_str() {
                    "use" => UseLearned::Use,
                    "ignore" => UseLearned::Ignore,
                    _ => return bad(),
                });
            }
            "multiplex" => {
                rule.multiplex = Some(match value.as_str() {
                    "auto" => Multiplex::Auto,
                    "off" => Multiplex::Off,
                    "on" => Multiplex::On,
                    _ => return bad(),
                });
            }
            "management" => {
                rule.management = Some(match value.as_str() {
                    "auto" => ManagementPolicy::Auto,
                    "acknowledgements" => ManagementPolicy::Acknowledgements,
                    "off" => ManagementPolicy::Off,
                    _ => return bad(),
                });
            }
            "to" => {
                rule.to = Some(match value.as_str() {
                    "exact-pair" => Strictness::ExactPair,
                    "any-hosted" => Strictness::AnyHosted,
                    _ => return bad(),
                });
            }
            "federate" => {
                rule.federate = Some(match value.as_str() {
                    "allow" => Federate::Allow,
                    "deny" => Federate::Deny,
                    _ => return bad(),
                });
            }
            "weaker" => {
                rule.weaker = Some(match value.as_str() {
                    "refuse" => Weaker::Refuse,
                    "allow" => Weaker::Allow,
                    _ => return bad(),
                });
            }
            "limits" => {
                let limit = |text: &str| match text.split_once(':') {
                    Some((name, value)) => match value.parse() {
                        Ok(value) => Ok((name.to_owned(), value)),
                        Err(_) => Err(format!("`{value}` is no number")),
                    },
                    None => Err(format!("`{text}` is no limit with a value")),
                };
                rule.limits = list(&value, limit)?;
                for (name, value) in &rule.limits {
                    PeerPolicy::default()
                        .limits
                        .set(name, *value)
                        .map_err(|error| format!("the limit `{name}`: {error:?}"))?;
                }
            }
            _ => return Err(format!("there is no key `{key}`")),
        }
    }
    Ok(())
}

fn defaults(rule: PeerRule) -> PeerPolicy {
    let defaults = PeerPolicy::default();
    let mut limits = defaults.limits;
    for (name, value) in rule.limits {
        // `policy` has tried it already.
        let _ = limits.set(&name, value);
    }
    PeerPolicy {
        tls: rule.tls.unwrap_or(defaults.tls),
        identity: rule.identity.unwrap_or(defaults.identity),
        bidi: rule.bidi.unwrap_or(defaults.bidi),
        multiplex: rule.multiplex.unwrap_or(defaults.multiplex),
        // Most transcripts are about something else, and are read without it.
        management: rule.management.unwrap_or(ManagementPolicy::Off),
        to: rule.to.unwrap_or(defaults.to),
        federate: rule.federate.unwrap_or(defaults.federate),
        bidi_offer: rule.bidi_offer.unwrap_or(defaults.bidi_offer),
        learned: rule.learned.unwrap_or(defaults.learned),
        weaker: rule.weaker.unwrap_or(defaults.weaker),
        limits,
        ..defaults
    }
}

/// `ID:HANDLED:ACKNOWLEDGED:SENT`, of a stream that was lost.
pub(super) fn ticket(text: &str) -> Result<Ticket, String> {
    let bad = || format!("`{text}` is not ID:HANDLED:ACKNOWLEDGED:SENT");
    let mut words = text.split(':');
    let id = words.next().ok_or_else(bad)?.to_owned();
    let mut number = || {
        words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(bad)
    };
    Ok(Ticket {
        id,
        handled: number()?,
        acknowledged: number()?,
        sent: number()?,
    })
}

/// `key=value` in any order, each key once.
pub(super) fn keys(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut keys = BTreeMap::new();
    for word in text.split_whitespace() {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| format!("`{word}` is no key with a value"))?;
        if keys.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("`{key}` stands there twice"));
        }
    }
    Ok(keys)
}

pub(super) fn evidence(text: &str) -> Evidence {
    let names = |text: &str| text.split(',').map(str::to_owned).collect();
    match (text, text.strip_prefix("untrusted:")) {
        ("absent", _) => Evidence {
            trusted: false,
            names: Vec::new(),
        },
        (_, Some(text)) => Evidence {
            trusted: false,
            names: names(text),
        },
        (text, None) => Evidence {
            trusted: true,
            names: names(text),
        },
    }
}

/// `+90s` or `+15m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no time, such as +30s, +200ms, +500us or +15m");
    let number = text.strip_prefix('+').ok_or_else(bad)?;
    let at = number.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (digits, unit) = number.split_at(at);
    let count: u64 = digits.parse().map_err(|_| bad())?;
    match unit {
        "us" => Ok(Duration::from_micros(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_secs(count * 60)),
        "h" => Ok(Duration::from_secs(count * 3600)),
        _ => Err(bad()),
    }
}

/// `SENDER → TARGET`.
pub(super) fn arrow(text: &str) -> Result<(Domain, Domain), String> {
    let (sender, target) = text
        .split_once('→')
        .ok_or_else(|| format!("`{text}` has no →"))?;
    Ok((domain(sender.trim())?, domain(target.trim())?))
}

pub(super) fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|_| format!("`{text}` is no domain"))
}

/// `hosts=…`, `deny=DOMAIN,…` for peers that are forbidden, and the keys of the policy.
pub(super) fn reload(text: &str) -> Result<(Hosts, Policy), String> {
    let mut keys = keys(text)?;
    let hosts = keys.remove("hosts").ok_or("`hosts` is missing")?;
    let hosts = Hosts::new(list(&hosts, domain)?);
    let denied = match keys.remove("deny") {
        Some(text) => list(&text, domain)?,
        None => Vec::new(),
    };
    let mut rule = PeerRule::new(DomainPattern::Exact(domain("unused.invalid")?));
    policy(&mut rule, keys)?;
    let deny = |peer| PeerRule {
        federate: Some(Federate::Deny),
        ..PeerRule::new(DomainPattern::Exact(peer))
    };
    let policy = Policy {
        defaults: defaults(rule),
        peers: denied.into_iter().map(deny).collect(),
    };
    Ok((hosts, policy))
}

fn local_pair(text: &str, hosts: &Hosts) -> Result<DomainPair, String> {
    let (local, remote) = text
        .split_once('~')
        .ok_or_else(|| format!("`{text}` has no ~"))?;
    hosts
        .pair(Direction::Outbound, &domain(local)?, &domain(remote)?)
        .map_err(|error| format!("`{text}` is no pair: {error:?}"))
}

fn check(text: &str) -> Result<Check, String> {
    let (id, key) = text
        .split_once('/')
        .ok_or_else(|| format!("`{text}` is no id with a key"))?;
    Ok(Check {
        id: id.to_owned(),
        key: key.to_owned(),
    })
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}
