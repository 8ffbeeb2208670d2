//! Rules that a transcript beside this file shows, and rules about the very bytes or about quantities, which no transcript
//! can show: it compares what elements mean.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may panic and read the clock"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use verona_proto::addr::{Direction, Domain, Hosts, Jid};
use verona_proto::authorizations::{Authorizations, Flow, Rejected, Role};
use verona_proto::carriage::Custody;
use verona_proto::certificate::{CertificateName, Chain, PeerCertificate};
use verona_proto::dialback::{Secret, Secrets};
use verona_proto::policy::{Policy, Strictness};
use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stanza::{Stanza, StanzaKind};
use verona_proto::stream::{
    Event, Input, Memory, NotSent, Output, Pace, Purpose, Secured, Stream, StreamConfig, StreamIds,
};
use verona_sim::transcript::{Transcript, files};

#[test]
fn every_transcript_here_holds_in_every_delivery() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = files(&root.join("tests/rules")).unwrap_or_else(|mistake| panic!("{mistake}"));
    assert!(!files.is_empty());
    for path in files {
        if let Err(mistake) = Transcript::read(root, &path).and_then(|transcript| transcript.play())
        {
            panic!("{mistake}");
        }
    }
}

/// A peer may call the namespace of streams what it likes; we call it `stream`, and so does every server that we know.
//= STREAM-05
#[test]
fn any_prefix_is_understood_and_ours_is_the_common_one() {
    let now = Instant::now();
    let mut stream = accepted(Policy::default(), now);
    let out = feed(
        &mut stream,
        "<foo:stream xmlns:foo='http://etherx.jabber.org/streams' xmlns='jabber:server' from='capulet.lit' to='montague.lit' version='1.0'>",
        now,
    );
    assert!(failure(&out).is_none(), "{out:?}");
    let written = written(&mut stream);
    assert!(
        written.starts_with("<?xml version='1.0'?><stream:stream "),
        "{written}"
    );
    assert!(written.contains("<stream:features>"), "{written}");
    assert!(written.contains(">EXTERNAL<"), "{written}");
}

/// Nothing that we offer compresses, before authentication or behind it.
//= LIM-15
#[test]
fn no_compression_is_offered() {
    let now = Instant::now();
    let mut stream = accepted(Policy::default(), now);
    feed(&mut stream, HEADER, now);
    feed(&mut stream, AUTH, now);
    feed(&mut stream, HEADER, now);
    assert!(stream.is_open());
    let written = written(&mut stream);
    assert_eq!(written.matches("<stream:features>").count(), 2, "{written}");
    assert!(!written.contains("compress"), "{written}");
}

/// A stanza that was read whole and grew beyond the limit, by the declarations that it took from its header, costs one
/// stanza, not the stream.
//= ERR-03
//= ROUTE-12
#[test]
fn a_stanza_that_grows_too_large_costs_one_stanza() {
    let now = Instant::now();
    let mut policy = Policy::default();
    policy
        .defaults
        .limits
        .set("stanza_bytes_max", 10_000)
        .unwrap();
    let mut stream = accepted(policy, now);
    let header = HEADER.replace(" to=", &format!(" xmlns:x='{}' to=", "u".repeat(7000)));
    feed(&mut stream, &header, now);
    feed(&mut stream, AUTH, now);
    feed(&mut stream, &header, now);
    assert!(stream.is_open());
    let stanza = |body: &str| {
        format!(
            "<message from='a@capulet.lit' to='b@montague.lit' id='1'><x:a>{body}</x:a></message>"
        )
    };
    let small = feed(&mut stream, &stanza(""), now);
    assert!(delivered(&small)[0].contains("<x:a"), "{small:?}");
    let out = feed(&mut stream, &stanza(&"b".repeat(5000)), now);
    assert!(failure(&out).is_none() && stream.is_open(), "{out:?}");
    let answers = delivered(&out);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(
        answers[0].contains("type='error'") && answers[0].contains("<policy-violation "),
        "{answers:?}"
    );
    assert!(answers[0].contains("to='a@capulet.lit'"), "{answers:?}");
}

/// Before anything is authorised a stanza is told so, and not that its sender is the wrong one: there is no right one yet.
//= STREAM-34
//= BIDI-22
#[test]
fn nothing_authorised_is_said_as_such() {
    let domain = |text: &str| Domain::parse(text).unwrap();
    let (capulet, montague) = (domain("capulet.lit"), domain("montague.lit"));
    for role in [Role::Initiating, Role::Receiving] {
        for flow in [Flow::Unidirectional, Flow::Bidirectional] {
            let authorizations = Authorizations::new(role, flow);
            for to in [&montague, &domain("nobody.lit")] {
                let admitted =
                    authorizations.admits(&hosts(), |_| Strictness::AnyHosted, &capulet, to);
                assert_eq!(
                    admitted,
                    Err(Rejected::NotAuthorized),
                    "{role:?} {flow:?} {to}"
                );
            }
        }
    }
}

/// A burst of questions is answered, a flood ends the stream, and who asks slowly may ask for ever.
//= LIM-16
//= DB-52
#[test]
fn questions_are_answered_at_a_rate() {
    let now = Instant::now();
    let question = "<db:verify xmlns:db='jabber:server:dialback' from='capulet.lit' to='montague.lit' id='1'>k</db:verify>";
    let open = |now| {
        let mut stream = accepted(Policy::default(), now);
        feed(&mut stream, HEADER, now);
        feed(&mut stream, AUTH, now);
        feed(&mut stream, HEADER, now);
        assert!(stream.is_open());
        stream
    };
    let ask = |stream: &mut Stream, times: usize, at: Instant| {
        (0..times).find_map(|asked| {
            let out = feed(stream, question, at);
            stream.transmit().clear();
            failure(&out).map(|condition| (asked, condition))
        })
    };
    let mut stream = open(now);
    assert_eq!(ask(&mut stream, 512, now), None);
    assert_eq!(
        ask(&mut stream, 512, now),
        Some((0, StreamCondition::PolicyViolation))
    );
    let mut patient = open(now);
    for second in 0..600 {
        let at = now + Duration::from_secs(second);
        assert_eq!(ask(&mut patient, 4, at), None, "after {second} s");
    }
    let later = now + Duration::from_secs(600);
    let flood = ask(&mut patient, 600, later);
    assert!(
        matches!(flood, Some((_, StreamCondition::PolicyViolation))),
        "{flood:?}"
    );
}

/// Both ends tell how much they take: the accepting one in its features, before and behind authentication, the other one
/// in its request for bidi; and neither sends what is too large for the other, whatever its own limit.
//= LIM-03
//= LIM-04
//= LIM-05
//= BIDI-65
#[test]
fn limits_are_told_and_kept() {
    let now = Instant::now();
    let max_bytes = Policy::default().defaults.limits.stanza_bytes_max;
    let mut stream = accepted(Policy::default(), now);
    feed(&mut stream, HEADER, now);
    let told = |written: &str| {
        written
            .split("<max-bytes>")
            .skip(1)
            .filter_map(|rest| rest.split('<').next()?.parse().ok())
            .collect::<Vec<u64>>()
    };
    let before = told(&written(&mut stream));
    assert_eq!(before.len(), 1, "in the first features");
    let request = "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>11000</max-bytes></limits></bidi>";
    feed(&mut stream, &format!("{request}{AUTH}"), now);
    feed(&mut stream, HEADER, now);
    let behind = written(&mut stream);
    assert!(
        behind.contains("<limits xmlns='urn:xmpp:stream-limits:0'>"),
        "{behind}"
    );
    assert_eq!(told(&behind), [max_bytes], "in the last features");

    let (hosts, capulet) = (hosts(), Domain::parse("capulet.lit").unwrap());
    let montague = Domain::parse("montague.lit").unwrap();
    let pair = hosts
        .pair(Direction::Outbound, &montague, &capulet)
        .unwrap();
    let stanza = |length| {
        let payload = format!("<body>{}</body>", "b".repeat(length));
        let jid = |domain: &Domain| Jid::from(domain.clone());
        Stanza::build(
            StanzaKind::Message,
            &jid(&montague),
            &jid(&capulet),
            None,
            None,
            &payload,
        )
    };
    let (small, large) = (stanza(10_000), stanza(11_000));
    assert_eq!(stream.send(&pair, &small, now), Ok(Custody::Answered));
    assert_eq!(
        stream.send(&pair, &large, now),
        Err(NotSent::TooLarge { max_bytes: 11000 })
    );
    assert_eq!(written(&mut stream).as_bytes()[..], small.bytes()[..]);

    let purpose = Purpose::Carry {
        pair,
        external: true,
        bidi: true,
        pace: Pace::Stepwise,
        resume: Vec::new(),
    };
    let mut opened = Stream::initiating(
        config(Policy::default()),
        purpose,
        ids(),
        Some(secured(now)),
        now,
    );
    let header = HEADER.replace(
        "from='capulet.lit' to='montague.lit'",
        "from='capulet.lit' to='montague.lit' id='1'",
    );
    let features = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>\
                    <bidi xmlns='urn:xmpp:features:bidi'/></stream:features>";
    feed(&mut opened, &format!("{header}{features}"), now);
    let request = written(&mut opened);
    let (_, inside) = request.split_once("<bidi xmlns='urn:xmpp:bidi'>").unwrap();
    let (inside, _) = inside.split_once("</bidi>").unwrap();
    assert_eq!(told(inside), [max_bytes], "{request}");
}

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
    xmlns:stream='http://etherx.jabber.org/streams' from='capulet.lit' to='montague.lit' version='1.0'>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

fn hosts() -> Hosts {
    Hosts::new([Domain::parse("montague.lit").unwrap()])
}

fn config(policy: Policy) -> Arc<StreamConfig> {
    Arc::new(StreamConfig {
        hosts: Arc::new(hosts()),
        policy: Arc::new(policy),
        secrets: Secrets::from(Secret::new("d14lb4ck43v3r")),
        tls_available: true,
        attestations: verona_proto::stream::Attestations::Unavailable,
        memory: Memory::default(),
    })
}

fn ids() -> StreamIds {
    let mut count = 0;
    StreamIds::new(move || {
        count += 1;
        format!("id{count}")
    })
}

/// TLS with capulet.lit, whose certificate is good.
fn secured(now: Instant) -> Secured {
    Secured {
        certificate: PeerCertificate {
            chain: Chain::Valid,
            names: vec![CertificateName::Dns("capulet.lit".into())],
            expires: Some(now + Duration::from_secs(1_000_000)),
            ..PeerCertificate::absent()
        },
        own_certificate: true,
    }
}

/// A stream that capulet.lit opened, TLS up.
fn accepted(policy: Policy, now: Instant) -> Stream {
    Stream::receiving(config(policy), ids(), Some(secured(now)), now)
}

fn feed(stream: &mut Stream, text: &str, now: Instant) -> Vec<Output> {
    stream.handle(Input::Bytes(text.as_bytes()), now);
    std::iter::from_fn(|| stream.poll()).collect()
}

fn written(stream: &mut Stream) -> String {
    String::from_utf8(stream.transmit().split().to_vec()).unwrap()
}

fn failure(outputs: &[Output]) -> Option<StreamCondition> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::Failed(error)) => Some(error.condition),
        Output::Event(_)
        | Output::Deliver(_)
        | Output::StartTls { .. }
        | Output::Attest(_)
        | Output::Acknowledged(_)
        | Output::Answered
        | Output::Unmanaged
        | Output::Close
        | Output::CloseLast => None,
    })
}

fn delivered(outputs: &[Output]) -> Vec<String> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Deliver(admitted) => {
                Some(String::from_utf8(admitted.stanza().bytes().to_vec()).unwrap())
            }
            Output::Event(_)
            | Output::StartTls { .. }
            | Output::Attest(_)
            | Output::Acknowledged(_)
            | Output::Answered
            | Output::Unmanaged
            | Output::Close
            | Output::CloseLast => None,
        })
        .collect()
}
