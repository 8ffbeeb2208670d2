//! A peer that means harm gets no more than its due: memory, places, names, lines of the log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic and read the clock"
)]
use std::sync::Arc;
use std::time::{Duration, Instant};
use verona_proto::addr::*;
use verona_proto::certificate::*;
use verona_proto::dialback::*;
use verona_proto::federation::{self, Federation, Signal, StreamKey};
use verona_proto::outbox::{self, OutboxLimit};
use verona_proto::policy::*;
use verona_proto::stanza::*;
use verona_proto::stream::*;

fn d(t: &str) -> Domain {
    Domain::parse(t).unwrap()
}
fn config(policy: Policy) -> Arc<StreamConfig> {
    Arc::new(StreamConfig {
        hosts: Arc::new(Hosts::new([d("montague.lit"), d("rooms.montague.lit")])),
        policy: Arc::new(policy),
        secrets: Secrets {
            current: Secret::new("x"),
            previous: None,
        },
        tls_available: true,
        attestations: verona_proto::stream::Attestations::Unavailable,
        memory: Memory::default(),
    })
}
fn ids() -> StreamIds {
    let mut n = 0;
    StreamIds::new(move || {
        n += 1;
        format!("id{n}")
    })
}
fn secured(names: &[&str], now: Instant) -> Secured {
    Secured {
        certificate: PeerCertificate {
            chain: Chain::Valid,
            names: names
                .iter()
                .map(|n| CertificateName::Dns((*n).into()))
                .collect(),
            expires: Some(now + Duration::from_secs(99999)),
            ..PeerCertificate::absent()
        },
        own_certificate: true,
    }
}
fn header(from: Option<&str>) -> String {
    let from = from.map(|f| format!(" from='{f}'")).unwrap_or_default();
    format!(
        "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' to='montague.lit'{from} version='1.0'>"
    )
}
fn drain(s: &mut Stream) -> Vec<Output> {
    std::iter::from_fn(|| s.poll()).collect()
}
fn feed(s: &mut Stream, t: &str, now: Instant) -> Vec<Output> {
    let mut all = Vec::new();
    for chunk in t.as_bytes().chunks(16384) {
        s.handle(Input::Bytes(chunk), now);
        all.extend(drain(s));
    }
    all
}
fn authenticated(policy: Policy, now: Instant) -> Stream {
    let mut s = Stream::receiving(
        config(policy),
        ids(),
        Some(secured(&["evil.lit"], now)),
        now,
    );
    feed(&mut s, &header(Some("evil.lit")), now);
    feed(
        &mut s,
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        now,
    );
    feed(&mut s, &header(Some("evil.lit")), now);
    assert!(s.is_open());
    s
}

#[test]
fn an_unauthenticated_peer_makes_us_hold_little() {
    let now = Instant::now();
    let mut s = Stream::receiving(config(Policy::default()), ids(), None, now);
    feed(&mut s, &header(Some("evil.lit")), now);
    let id = "'".repeat(8000);
    let mut sent = 0;
    for _ in 0..60 {
        let x = format!("<db:verify from='evil.lit' to='montague.lit' id=\"{id}\">k</db:verify>");
        sent += x.len();
        feed(&mut s, &x, now);
    }
    let held = s.transmit().len();
    assert!(
        held < 64 * 1024,
        "in the clear, before TLS: {sent} bytes in, {held} bytes held in transmit"
    );
}

#[test]
fn transmit_is_bounded_after_authentication() {
    let now = Instant::now();
    let mut s = authenticated(Policy::default(), now);
    s.transmit().clear();
    let mut denied = 0;
    for i in 0..20_000 {
        let x = format!("<db:result from='a{i}.evil.lit' to='nobody.lit'>k</db:result>");
        denied += feed(&mut s, &x, now)
            .iter()
            .filter(|o| matches!(o, Output::Event(Event::Denied { .. })))
            .count();
    }
    assert!(
        s.transmit().len() < 1_000_000,
        "{} bytes held, {denied} warn! events, stream still open: {}",
        s.transmit().len(),
        s.is_open()
    );
}

#[test]
fn the_unproven_header_from_does_not_choose_the_policy() {
    let now = Instant::now();
    let mut rule = PeerRule::new(DomainPattern::Exact(d("friend.lit")));
    rule.to = Some(Strictness::AnyHosted);
    let policy = Policy {
        peers: vec![rule],
        ..Policy::default()
    };
    let mut s = Stream::receiving(
        config(policy),
        ids(),
        Some(secured(&["evil.lit"], now)),
        now,
    );
    feed(&mut s, &header(Some("friend.lit")), now); // unproven
    feed(
        &mut s,
        "<db:result from='evil.lit' to='montague.lit'>k</db:result>",
        now,
    ); // XEP-0344
    let out = feed(
        &mut s,
        "<message from='a@evil.lit' to='b@rooms.montague.lit'/>",
        now,
    );
    assert!(
        !out.iter().any(|o| matches!(o, Output::Deliver(_))),
        "delivered beyond the pair, by friend.lit's policy: {out:?}"
    );
}

#[test]
fn nothing_of_the_plaintext_header_survives_tls() {
    let now = Instant::now();
    let mut rule = PeerRule::new(DomainPattern::Exact(d("friend.lit")));
    rule.to = Some(Strictness::AnyHosted);
    let policy = Policy {
        peers: vec![rule],
        ..Policy::default()
    };
    let mut s = Stream::receiving(config(policy), ids(), None, now);
    feed(&mut s, &header(Some("friend.lit")), now);
    feed(
        &mut s,
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        now,
    );
    s.handle(Input::Secured(secured(&["evil.lit"], now)), now);
    feed(&mut s, &header(None), now);
    feed(
        &mut s,
        "<db:result from='evil.lit' to='montague.lit'>k</db:result>",
        now,
    );
    let out = feed(
        &mut s,
        "<message from='a@evil.lit' to='b@rooms.montague.lit'/>",
        now,
    );
    assert!(
        !out.iter().any(|o| matches!(o, Output::Deliver(_))),
        "TLS-10: the plaintext header's policy is in force: {out:?}"
    );
}

#[test]
fn a_relayed_stanza_is_not_much_larger_than_it_came() {
    let now = Instant::now();
    let mut s = Stream::receiving(
        config(Policy::default()),
        ids(),
        Some(secured(&["evil.lit"], now)),
        now,
    );
    let uri = "u".repeat(7000);
    let h = header(Some("evil.lit")).replace(" version=", &format!(" xmlns:x='{uri}' version="));
    feed(&mut s, &h, now);
    feed(
        &mut s,
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        now,
    );
    feed(&mut s, &h, now);
    assert!(s.is_open());
    let stanza = format!(
        "<s:message xmlns:s='jabber:server' from='a@evil.lit' to='b@montague.lit'>{}</s:message>",
        "<x:a/>".repeat(4000)
    );
    let began = Instant::now();
    let out = feed(&mut s, &stanza, now);
    let Some(Output::Deliver(a)) = out.iter().find(|o| matches!(o, Output::Deliver(_))) else {
        panic!("{out:?}")
    };
    let (len, took) = (a.stanza().bytes().len(), began.elapsed());
    assert!(
        len < 4 * stanza.len(),
        "{} bytes in, {len} bytes out, {took:?}",
        stanza.len()
    );
}

#[test]
fn what_a_peer_says_is_one_line_of_the_log() {
    let now = Instant::now();
    let mut s = Stream::receiving(config(Policy::default()), ids(), None, now);
    feed(&mut s, &header(Some("evil.lit")), now);
    let out = feed(
        &mut s,
        "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>x\n2026-01-01T00:00:00Z  INFO verona: stanzas may flow remote=bank.lit</text></stream:error>",
        now,
    );
    let text = out
        .iter()
        .find_map(|o| match o {
            Output::Event(Event::Failed(e)) => Some(e.text.clone()),
            _ => None,
        })
        .unwrap();
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn nothing_follows_our_closing_tag() {
    let now = Instant::now();
    let mut s = authenticated(Policy::default(), now);
    s.transmit().clear();
    s.handle(
        Input::Command(Command::Close(
            StreamError::local(StreamCondition::UndefinedCondition, "idle").quietly(),
        )),
        now,
    );
    drain(&mut s);
    feed(&mut s, "<!-- x -->", now);
    let text = String::from_utf8_lossy(s.transmit()).into_owned();
    assert!(
        text.ends_with("</stream:stream>") && text.matches("</stream:stream>").count() == 1,
        "{text}"
    );
}

#[test]
fn bad_stanzas_while_closing_are_not_an_event_each() {
    let now = Instant::now();
    let mut s = authenticated(Policy::default(), now);
    s.handle(
        Input::Command(Command::Close(
            StreamError::local(StreamCondition::UndefinedCondition, "idle").quietly(),
        )),
        now,
    );
    drain(&mut s);
    let out = feed(
        &mut s,
        &"<message from='x.lit' to='montague.lit'/>".repeat(10_000),
        now,
    );
    let failed = out
        .iter()
        .filter(|o| matches!(o, Output::Event(Event::Failed(_))))
        .count();
    assert!(failed <= 1, "{failed} warn! lines and federation signals");
}

fn pair(h: &Hosts, remote: &str) -> DomainPair {
    h.pair(Direction::Inbound, &d(remote), &d("montague.lit"))
        .unwrap()
}
fn commands(f: &mut Federation) -> Vec<federation::Command> {
    std::iter::from_fn(|| f.poll()).collect()
}

#[test]
fn one_attacker_does_not_stop_everybodys_dialback() {
    let (now, h) = (Instant::now(), Hosts::new([d("montague.lit")]));
    let mut f = Federation::new(Arc::new(Policy::default()), |_| 0);
    // 16 unauthenticated streams of one address, 4 keys each: the domains' servers never answer.
    for stream in 0..16u64 {
        f.handle(Signal::Accepted(StreamKey(stream)), now);
        for n in 0..4 {
            let check = KeyCheck {
                pair: pair(&h, &format!("x{stream}-{n}.evil.lit")),
                id: "i".into(),
                key: "k".into(),
            };
            f.handle(
                Signal::Stream(StreamKey(stream), Event::KeyReceived(check)),
                now,
            );
        }
    }
    commands(&mut f);
    // The streams' own deadline (30 s) has passed long ago, nothing told the federation.
    let later = now + Duration::from_secs(50);
    f.handle(Signal::Tick, later);
    f.handle(Signal::Accepted(StreamKey(99)), later);
    let check = KeyCheck {
        pair: pair(&h, "honest.lit"),
        id: "i".into(),
        key: "k".into(),
    };
    f.handle(
        Signal::Stream(StreamKey(99), Event::KeyReceived(check)),
        later,
    );
    let out = commands(&mut f);
    assert!(
        out.iter()
            .any(|c| matches!(c, federation::Command::Discover { .. })),
        "honest.lit gets: {out:?}"
    );
}

#[test]
fn slow_domains_do_not_stop_all_others() {
    let (now, h) = (Instant::now(), Hosts::new([d("montague.lit")]));
    let mut f = Federation::new(Arc::new(Policy::default()), |_| 0);
    let mut feeders = Vec::new();
    let mut want = |f: &mut Federation, remote: &str, at: Instant| {
        let (feeder, drain) = outbox::new(OutboxLimit {
            stanzas: 10,
            bytes: 10_000,
        });
        let from = Jid::parse("montague.lit").unwrap();
        let to = Jid::parse(remote).unwrap();
        feeder
            .push(
                Stanza::build(StanzaKind::Message, &from, &to, None, None, ""),
                at,
            )
            .unwrap();
        feeders.push(feeder);
        let p = h
            .pair(Direction::Outbound, &d("montague.lit"), &d(remote))
            .unwrap();
        f.handle(Signal::Wanted(p, drain), at);
        commands(f)
    };
    for n in 0..200 {
        want(&mut f, &format!("x{n}.evil.lit"), now);
    }
    let later = now + Duration::from_secs(100); // their stanzas were bounced at 60 s
    f.handle(Signal::Tick, later);
    let _ = commands(&mut f);
    let out = want(&mut f, "honest.lit", later);
    assert!(
        out.iter()
            .any(|c| matches!(c, federation::Command::Discover { .. })),
        "honest.lit gets no attempt though nobody waits for the 200 any more: {out:?}"
    );
}
