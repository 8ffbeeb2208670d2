//! A running engine that takes over another configuration behaves as one that was started with it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

use sha1::{Digest as _, Sha1};
use verona_proto::addr::Jid;
use verona_proto::dialback::Secret;
use verona_proto::policy::{
    BidiPolicy, Federate, IdentityMethod, PeerRule, Policy, Strictness, TlsPolicy,
};

use super::*;
use crate::Engine;
use crate::config::{Component, HostedDomain};
use crate::resolver::TrustAnchors;

const SECRETS: [&str; 3] = ["one", "two", "three"];

/// Numbers from a seed, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*: chance enough, and no crate for it.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn is(&mut self) -> bool {
        self.below(2) == 0
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len() as u64);
        &items[usize::try_from(index).unwrap()]
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn ours() -> Vec<Domain> {
    ["a.lit", "b.lit", "c.lit", "d.lit", "e.lit"]
        .map(domain)
        .to_vec()
}

fn theirs() -> Vec<Domain> {
    ["x.lit", "y.lit", "deep.y.lit", "z.lit"]
        .map(domain)
        .to_vec()
}

fn pattern(dice: &mut Dice) -> DomainPattern {
    match dice.below(3) {
        0 => DomainPattern::Below(domain("y.lit")),
        _ => DomainPattern::Exact(dice.of(&theirs()).clone()),
    }
}

fn rule(dice: &mut Dice) -> PeerRule {
    let mut rule = PeerRule::new(pattern(dice));
    rule.federate = dice
        .is()
        .then(|| *dice.of(&[Federate::Allow, Federate::Deny]));
    rule.tls = dice
        .is()
        .then(|| *dice.of(&[TlsPolicy::Required, TlsPolicy::Optional]));
    rule.bidi = dice
        .is()
        .then(|| *dice.of(&[BidiPolicy::Auto, BidiPolicy::Off]));
    rule.to = dice
        .is()
        .then(|| *dice.of(&[Strictness::ExactPair, Strictness::AnyHosted]));
    rule.identity = dice.is().then(|| vec![IdentityMethod::Dialback]);
    if dice.is() {
        rule.limits = vec![("idle_seconds".into(), 60 + dice.below(600))];
    }
    rule
}

fn config(dice: &mut Dice) -> Config {
    let mut config = Config::default();
    for name in ours() {
        if dice.below(3) > 0 {
            let component = dice.is().then(|| Component {
                secret: (*dice.of(&SECRETS)).into(),
                conflict: *dice.of(&[
                    crate::config::Conflict::RejectNew,
                    crate::config::Conflict::KickOld,
                ]),
            });
            config.domains.push(HostedDomain { name, component });
        }
    }
    config.policy = Policy::default();
    let limits = &mut config.policy.defaults.limits;
    for name in [
        "outbox_stanzas_max",
        "outbox_bytes_max",
        "pairs_max",
        "streams_per_address_max",
        "negotiations_max",
        "drain_seconds",
        "dials_per_address_max",
        "component_connections_max",
        "component_backlog_stanzas_max",
    ] {
        if dice.is() {
            // Some bounds may not be so low; then the default stays.
            let _ = limits.set(name, 10 + dice.below(1000));
        }
    }
    config.policy.peers = (0..dice.below(4)).map(|_| rule(dice)).collect();
    for _ in 0..dice.below(3) {
        let address = PeerAddress {
            address: SocketAddr::from(([127, 0, 0, 1], 1 + u16::try_from(dice.below(3)).unwrap())),
            direct_tls: dice.is(),
        };
        config.addresses.push((pattern(dice), address));
    }
    if dice.is() {
        config.s2s.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    }
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    config.s2s.listen = vec![any; usize::try_from(dice.below(3)).unwrap()];
    config.s2s.listen_tls = vec![any; usize::try_from(dice.below(2)).unwrap()];
    config.components = vec![ListenAddress::Tcp(any); usize::try_from(dice.below(2)).unwrap()];
    config.dns_servers = vec![([127, 0, 0, 1], 9).into()];
    if dice.is() {
        config.dnssec = Dnssec::Validate(TrustAnchors::public_root());
    }
    config.dialback_secret = Some(Secret::new(
        SECRETS[usize::try_from(dice.below(3)).unwrap()],
    ));
    config.dialback_previous_secret = dice
        .is()
        .then(|| Secret::new(SECRETS[usize::try_from(dice.below(3)).unwrap()]));
    config
}

/// Everything by which two engines could differ that begin anew from here, as text.
async fn behaviour(handle: &Handle) -> String {
    let shared = &handle.shared;
    let mut text = String::new();
    let mut line = |what: &str, value: &dyn fmt::Debug| {
        writeln!(text, "{what}: {value:?}").unwrap();
    };
    let hosts = shared.hosts();
    line("hosts", &hosts.iter().collect::<Vec<_>>());
    line(
        "hosts of the table",
        &shared
            .switchboard
            .hosts()
            .iter()
            .cloned()
            .collect::<Vec<_>>(),
    );
    line("hosted", &handle.hosted());
    line("limits", &shared.limits());
    line("gate", &shared.gate);
    let table = format!("{:?}", shared.switchboard);
    let bounds = table
        .split("shares:")
        .next()
        .unwrap()
        .replace("used: 0", "");
    assert!(
        bounds.contains("stanzas") && bounds.contains("Budget"),
        "{bounds}"
    );
    line("bounds", &bounds);
    let streams = shared.streams();
    line("attestations", &streams.attestations);
    line("tls", &streams.tls_available);
    line("validates", &shared.resolver().validates());
    line("servers", &handle.s2s_addresses().len());
    line("components", &handle.component_addresses().len());
    let (receiving, originating) = (domain("x.lit"), domain("a.lit"));
    line("key", &streams.secrets.key(&receiving, &originating, "id"));
    if let Some(previous) = &shared.config().dialback_previous_secret {
        let key = previous.key(&receiving, &originating, "id");
        line(
            "previous",
            &streams.secrets.is_key(&receiving, &originating, "id", &key),
        );
    }
    let current = shared.current();
    for name in ours() {
        line("conflict", &current.conflict(&name));
        let Some(local) = hosts.local(&name) else {
            continue;
        };
        for secret in SECRETS {
            let digest = Sha1::digest(format!("id{secret}"));
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            line(
                secret,
                &current.components.is_handshake(&local, "id", &digest),
            );
        }
    }
    for name in ours().iter().chain(&theirs()) {
        line("policy", &shared.policy().for_peer(name));
        line("address", &shared.configured_address(name));
        for address in [
            "127.0.0.1:1",
            "127.0.0.1:2",
            "192.0.2.1:5269",
            "127.0.0.1:22",
        ] {
            let refusal = shared.guard.admit(name, address.parse().unwrap()).err();
            line("guard", &refusal.map(|refusal| refusal.to_string()));
        }
    }
    // What the federation itself decides.
    let from = hosts.iter().next().cloned();
    for to in theirs() {
        let denied = shared.policy().for_peer(&to).federate == Federate::Deny;
        if let (Some(from), true) = (&from, denied) {
            let patience = std::time::Duration::from_secs(5);
            line("ping", &handle.ping(from, &Jid::from(to), patience).await);
        }
    }
    text
}

#[tokio::test]
async fn a_reload_is_as_good_as_a_restart() {
    let mut differed = 0;
    let mut denied = 0;
    for seed in 1..=60_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (before, next) = (config(&mut dice), config(&mut dice));
        let reloaded = Engine::start(before).await.unwrap();
        let first = behaviour(&reloaded.handle()).await;
        let told = reloaded.handle().reload(next.clone()).await.unwrap();
        let started = Engine::start(next).await.unwrap();
        let (there, here) = (
            behaviour(&reloaded.handle()).await,
            behaviour(&started.handle()).await,
        );
        if there != here {
            let lines = there.lines().zip(here.lines()).filter(|(a, b)| a != b);
            let lines: Vec<_> = lines.collect();
            panic!("seed {seed}: reloaded and started differ: {lines:#?}");
        }
        differed += usize::from(first != here);
        denied += usize::from(here.contains("forbids federation"));
        let hosts = started.handle().shared.hosts();
        let names: BTreeSet<&Domain> = hosts.iter().collect();
        assert!(told.added.iter().all(|name| names.contains(name)));
        assert!(told.removed.iter().all(|name| !names.contains(name)));
    }
    assert!(differed > 50, "the configurations must differ: {differed}");
    assert!(denied > 5, "some peers must be denied: {denied}");
}

#[tokio::test]
async fn what_cannot_be_had_changes_nothing() {
    let mut dice = Dice(7);
    let mut config = config(&mut dice);
    config.s2s.listen = vec![([127, 0, 0, 1], 0).into()];
    let engine = Engine::start(config.clone()).await.unwrap();
    let before = behaviour(&engine.handle()).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut next = super::tests::config(&mut dice);
    next.s2s.listen = vec![([127, 0, 0, 1], 0).into(), taken.local_addr().unwrap()];
    let error = engine.handle().reload(next).await.unwrap_err();
    assert!(error.to_string().contains("cannot listen on"), "{error}");
    assert_eq!(behaviour(&engine.handle()).await, before);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_for_a_moment_is_forgotten() {
    //= BIDI-79
    let hosted = |name: &str| HostedDomain {
        name: domain(name),
        component: None,
    };
    let with = |domains: Vec<HostedDomain>, secret: &str| Config {
        domains,
        dns_servers: vec![([127, 0, 0, 1], 9).into()],
        dialback_secret: Some(Secret::new(secret)),
        ..Config::default()
    };
    let engine = Engine::start(with(vec![hosted("a.lit"), hosted("b.lit")], "one"))
        .await
        .unwrap();
    let handle = engine.handle();
    let mut bot = handle.attach(&domain("b.lit")).unwrap();
    let told = handle
        .reload(with(vec![hosted("a.lit")], "two"))
        .await
        .unwrap();
    assert_eq!(told.to_string(), "domains removed: b.lit");
    let shared = &handle.shared;
    let is_old_key_known = || {
        let streams = shared.streams();
        let (x, a) = (domain("x.lit"), domain("a.lit"));
        let key = Secret::new("one").key(&x, &a, "id");
        streams.secrets.is_key(&x, &a, "id", &key)
    };
    assert!(shared.hosts().answering(&domain("b.lit")).is_some());
    assert!(is_old_key_known(), "it may be on its way");
    let stanza = verona_proto::stanza::Stanza::build(
        verona_proto::stanza::StanzaKind::Message,
        &Jid::from(domain("b.lit")),
        &Jid::from(domain("a.lit")),
        None,
        None,
        "",
    );
    assert!(bot.send(stanza).await.is_err(), "it is not ours any more");
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert!(shared.hosts().answering(&domain("b.lit")).is_none());
    assert!(!is_old_key_known());
    let nothing = tokio::time::timeout(Duration::from_secs(1), bot.receive()).await;
    assert!(nothing.is_err());
}
