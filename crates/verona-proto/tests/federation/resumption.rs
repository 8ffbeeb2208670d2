//! Lost streams: taken up by either side, by both at once, by the wrong one, too late, and not at all.

use verona_proto::addr::{Direction, Jid};
use verona_proto::discovery::DiscoveryError;
use verona_proto::federation::{Remains, Signal, StreamKey};
use verona_proto::limits::Limit;
use verona_proto::outbox::{self, OutboxLimit};
use verona_proto::policy::{OnUncertain, PeerPolicy};
use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stanza::{Stanza, StanzaKind};
use verona_proto::stream::{Cause, Event, Fault, Role, StreamError, TheirSide};

use crate::world::{CONFERENCE, PAIR, World, domain};

const NOTHING: [&str; 0] = [];

/// A stream that we opened carries the pair, and is called `s7`.
fn connected(world: &mut World, ids: &[&str]) {
    world.want(PAIR, ids);
    world.reach(1, 7, "capulet.lit");
    world.granted(7, Direction::Outbound, PAIR);
    world.managed(7, PAIR, "s7");
}

/// A stream that the peer opened carries the pair, and is called `s7`.
fn accepted(world: &mut World, ids: &[&str]) {
    world.accept_bidi(7, PAIR);
    world.want(PAIR, ids);
    world.managed(7, PAIR, "s7");
}

/// The attempt reaches the peer, which takes us as before.
fn reached(world: &mut World, attempt: u64, stream: u64) {
    world.reach(attempt, stream, "capulet.lit");
    assert_eq!(world.granted(stream, Direction::Outbound, PAIR), NOTHING);
}

fn resend() -> PeerPolicy {
    PeerPolicy {
        on_uncertain: OnUncertain::Resend,
        ..PeerPolicy::default()
    }
}

#[test]
fn who_opened_the_stream_takes_it_up_at_once() {
    //= SM-14
    let mut world = World::new();
    connected(&mut world, &["1", "2", "3"]);
    assert_eq!(
        world.lose(7, "s7", Role::Initiating, &[PAIR], 2),
        ["discover capulet.lit for 2"]
    );
    assert_eq!(world.route(PAIR), "suspended");
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit resuming s7"]
    );
    assert_eq!(world.connected(2, Some(8)), NOTHING);
    world.identified(8, "capulet.lit");
    assert_eq!(world.granted(8, Direction::Outbound, PAIR), NOTHING);
    assert_eq!(
        world.resumed(8, "s7", Some(11)),
        ["settled 1", "carry montague.lit~capulet.lit on 8: 2 3"]
    );
    assert_eq!(world.federation.suspended(), 0);
    assert_eq!(
        world.reports[1..],
        [
            "montague.lit~capulet.lit lost 2",
            "montague.lit~capulet.lit looks for a server",
            "montague.lit~capulet.lit taken up: 1 arrived, 1 again",
        ]
    );
}

#[test]
fn the_peer_takes_up_what_it_opened() {
    //= SM-14
    let mut world = World::new();
    accepted(&mut world, &["1", "2"]);
    assert_eq!(world.lose(7, "s7", Role::Receiving, &[PAIR], 2), NOTHING);
    assert_eq!(world.accept_bidi(8, PAIR), NOTHING);
    assert_eq!(
        world.claim(8, "s7", 11),
        [
            "settled 1",
            "carry montague.lit~capulet.lit on 8: 2",
            "resume 8 s7 h=7"
        ]
    );
}

#[test]
fn the_accepting_side_waits_a_moment_and_then_takes_it_up_itself() {
    let mut world = World::new();
    accepted(&mut world, &["1"]);
    assert_eq!(world.lose(7, "s7", Role::Receiving, &[PAIR], 1), NOTHING);
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.pass(1), ["discover capulet.lit for 1"]);
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit resuming s7"]
    );
}

#[test]
fn nothing_on_its_way_is_told_to_the_peer_if_something_was_lately() {
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.write_all(PAIR);
    assert_eq!(
        world.lose(7, "s7", Role::Initiating, &[PAIR], 0),
        ["discover capulet.lit for 2"],
        "the peer may have something on its way to us"
    );
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.write_all(PAIR);
    world.event(7, Event::Closed { cause: Cause::Idle });
    world.their_side = TheirSide::Closed;
    assert_eq!(
        world.lose(7, "s7", Role::Initiating, &[PAIR], 0),
        NOTHING,
        "it ended in good order"
    );
    assert_eq!(world.federation.suspended(), 0, "nothing waits");
    world.want(PAIR, &["2"]);
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit"],
        "nor is anything asked for"
    );
    // But the peer may have something in question.
    world.accept_bidi(9, PAIR);
    assert_eq!(world.claim(9, "s7", 10), ["settled 0", "resume 9 s7 h=7"]);
    world.pass(120);
    world.accept_bidi(11, CONFERENCE);
    assert_eq!(world.claim(11, "s7", 10), ["resume 11 nothing"]);
}

#[test]
fn a_peer_that_noticed_the_end_later_asks_later() {
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.write_all(PAIR);
    world.event(7, Event::Closed { cause: Cause::Idle });
    world.their_side = TheirSide::Closed;
    world.lose(7, "s7", Role::Initiating, &[PAIR], 0);
    let limits = PeerPolicy::default().limits;
    world.pass(limits.resume_seconds + limits.acknowledgement_seconds);
    world.accept_bidi(9, PAIR);
    assert_eq!(world.claim(9, "s7", 10), ["settled 0", "resume 9 s7 h=7"]);
}

#[test]
fn a_peer_that_was_cut_off_behind_our_closing_tag_is_told_how_far_we_came() {
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.write_all(PAIR);
    world.event(7, Event::Closed { cause: Cause::Idle });
    assert_eq!(world.lose(7, "s7", Role::Initiating, &[PAIR], 0), NOTHING);
    world.want(PAIR, &["2"]);
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit resuming s7"]
    );
}

#[test]
fn the_next_connection_of_an_attempt_takes_up_what_the_failed_one_was_to() {
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 1);
    world.discovered(2, &["192.0.2.1:5269"]);
    world.connected(2, Some(8));
    assert_eq!(
        world.failed(8, Cause::Sasl),
        [
            "connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit resuming s7 without external"
        ]
    );
}

#[test]
fn both_sides_take_it_up_at_once() {
    let mut world = World::new();
    connected(&mut world, &["1", "2"]);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 2);
    reached(&mut world, 2, 8);
    // The peer's connection is there before its answer on ours.
    assert_eq!(world.accept_bidi(9, PAIR), NOTHING);
    assert_eq!(
        world.claim(9, "s7", 11),
        [
            "settled 1",
            "carry montague.lit~capulet.lit on 8: 2",
            "resume 9 s7 h=7"
        ]
    );
    assert_eq!(world.resumed(8, "s7", Some(11)), NOTHING, "it is known");
    assert_eq!(
        world.resumed(8, "s7", None),
        NOTHING,
        "whatever the peer says"
    );
    world.managed(9, PAIR, "s9");
    world.managed(8, PAIR, "s8");
    assert_eq!(world.lose(9, "s9", Role::Receiving, &[], 0), NOTHING);
    assert_eq!(world.route(PAIR), "carried");
    assert_eq!(world.accept_bidi(10, PAIR), NOTHING);
    assert_eq!(world.claim(10, "s9", 10), ["settled 0", "resume 10 s9 h=7"]);
}

#[test]
fn a_stream_that_is_alive_here_ends_before_it_is_taken_up() {
    //= SM-14
    let mut world = World::new();
    accepted(&mut world, &["1", "2"]);
    world.accept_bidi(8, PAIR);
    // What it still delivers is counted before the answer.
    assert_eq!(world.claim(8, "s7", 11), ["abandon 7"]);
    assert_eq!(
        world.lose(7, "s7", Role::Receiving, &[PAIR], 2),
        [
            "settled 1",
            "carry montague.lit~capulet.lit on 8: 2",
            "resume 8 s7 h=7"
        ]
    );
}

#[test]
fn who_asks_and_leaves_gets_no_answer_and_the_stream_waits_for_the_next() {
    let mut world = World::new();
    accepted(&mut world, &["1"]);
    world.accept_bidi(8, PAIR);
    assert_eq!(world.claim(8, "s7", 11), ["abandon 7"]);
    assert_eq!(world.end(8, &[]), NOTHING);
    assert_eq!(world.lose(7, "s7", Role::Receiving, &[PAIR], 1), NOTHING);
    world.accept_bidi(9, PAIR);
    assert_eq!(world.claim(9, "s7", 11), ["settled 1", "resume 9 s7 h=7"]);
}

#[test]
fn a_name_that_nobody_has_is_refused() {
    //= SM-14
    let mut world = World::new();
    world.accept_bidi(8, PAIR);
    assert_eq!(world.claim(8, "s7", 0), ["resume 8 nothing"]);
    world.managed(8, PAIR, "s8");
    assert_eq!(
        world.claim(8, "s8", 0),
        ["resume 8 nothing"],
        "not even its own, while it lives"
    );
}

#[test]
fn another_peer_does_not_take_up_a_stream_whose_name_it_knows() {
    //= SM-14
    let mut world = World::new();
    accepted(&mut world, &["1"]);
    world.accept_bidi(8, "montague.lit~bank.lit");
    assert_eq!(world.claim(8, "s7", 11), ["resume 8 nothing"]);
    assert_eq!(world.route(PAIR), "carried", "and does not end it");
    world.lose(7, "s7", Role::Receiving, &[PAIR], 1);
    assert_eq!(world.claim(8, "s7", 11), ["resume 8 nothing"]);
    assert_eq!(world.route(PAIR), "suspended");
    // One that proved nothing does not either.
    world.accept(9, "capulet.lit");
    assert_eq!(world.claim(9, "s7", 11), ["resume 9 nothing"]);
    world.accept_bidi(10, PAIR);
    assert_eq!(world.claim(10, "s7", 11), ["settled 1", "resume 10 s7 h=7"]);
}

#[test]
fn a_count_that_cannot_be_is_refused() {
    //= SM-09
    //= SM-14
    let mut world = World::new();
    accepted(&mut world, &["1"]);
    world.lose(7, "s7", Role::Receiving, &[PAIR], 1);
    world.accept_bidi(8, PAIR);
    for h in [12, 9, 0] {
        assert_eq!(world.claim(8, "s7", h), ["resume 8 nothing"], "{h}");
    }
    assert_eq!(
        world.claim(8, "s7", 10),
        [
            "settled 0",
            "carry montague.lit~capulet.lit on 8: 1",
            "resume 8 s7 h=7"
        ]
    );
}

#[test]
fn when_the_time_is_over_the_senders_hear_that_nobody_knows() {
    //= SM-12
    //= BIDI-60
    let mut world = World::new();
    connected(&mut world, &["1", "2", "3"]);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 2);
    reached(&mut world, 2, 8);
    // The peer says nothing, and its connection breaks too.
    assert_eq!(world.end(8, &[]), NOTHING);
    world.now += std::time::Duration::from_secs(55);
    world.tell(Signal::Tick);
    world.now += std::time::Duration::from_secs(65);
    let said = world.tell(Signal::Tick);
    assert!(
        said.contains(&"bounce remote-server-timeout: 1 2".to_owned()),
        "{said:?}"
    );
    assert_eq!(world.federation.suspended(), 0);
    assert_eq!(
        world.reports.last().map(String::as_str),
        Some("montague.lit~capulet.lit let go: 2 uncertain")
    );
    assert_eq!(world.reached(Limit::ResumeSeconds), 1);
}

#[test]
fn a_peer_that_notices_the_loss_later_than_we_did_is_told_all_the_same() {
    //= SM-14
    let mut world = World::new();
    accepted(&mut world, &["1"]);
    world.lose(7, "s7", Role::Receiving, &[PAIR], 1);
    world.pass(60);
    let said = world.pass(60);
    assert!(
        said.contains(&"bounce remote-server-timeout: 1".to_owned()),
        "{said:?}"
    );
    assert_eq!(world.federation.suspended(), 0, "we ask no more");
    // It waited for acknowledgements first, and for the end of the connection: it asks for so long as it waits.
    world.pass(34);
    world.accept_bidi(9, PAIR);
    assert_eq!(world.claim(9, "s7", 11), ["settled 0", "resume 9 s7 h=7"]);
    // One that never asked is forgotten.
    world.managed(9, PAIR, "s9");
    world.lose(9, "s9", Role::Receiving, &[], 0);
    world.pass(120);
    world.pass(35);
    world.accept_bidi(10, PAIR);
    assert_eq!(world.claim(10, "s9", 10), ["resume 10 nothing"]);
}

#[test]
fn a_peer_that_knows_nothing_any_more_says_so_at_once() {
    //= SM-12
    let mut world = World::new();
    connected(&mut world, &["1", "2", "3"]);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 2);
    reached(&mut world, 2, 8);
    assert_eq!(
        world.resumed(8, "s7", None),
        [
            "bounce remote-server-timeout: 1 2",
            "carry montague.lit~capulet.lit on 8: 3"
        ]
    );
}

#[test]
fn a_peer_that_is_back_is_asked_soon_however_often_it_could_not_be_reached() {
    //= SM-12
    let mut world = World::new();
    connected(&mut world, &["1", "2"]);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 1);
    // Each attempt in vain makes the wait longer.
    for attempt in 2..5 {
        world.undiscovered(attempt, DiscoveryError::temporary("no answer"));
        let mut waited = 0;
        while world.pass(1).is_empty() {
            waited += 1;
            assert!(waited < 100, "attempt {attempt} is the last");
        }
    }
    world.undiscovered(5, DiscoveryError::temporary("no answer"));
    assert_eq!(world.accept_bidi(8, PAIR), NOTHING, "it may ask itself");
    assert_eq!(world.route(PAIR), "suspended");
    assert_eq!(world.pass(1), NOTHING);
    assert_eq!(world.pass(1), ["discover capulet.lit for 6"]);
    reached(&mut world, 6, 9);
    assert_eq!(
        world.resumed(9, "s7", None),
        [
            "bounce remote-server-timeout: 1",
            "carry montague.lit~capulet.lit on 9: 2"
        ]
    );
}

#[test]
fn what_is_sent_again_says_so_and_an_iq_is_not() {
    //= SM-12
    let mut world = World::with(resend());
    let pair = world.pair(PAIR);
    let (feeder, drain) = outbox::new(OutboxLimit {
        stanzas: 10,
        bytes: 10_000,
    });
    let from = Jid::parse("romeo@montague.lit/x").unwrap();
    let to = Jid::parse("juliet@capulet.lit").unwrap();
    let build = |kind, id, payload| Stanza::build(kind, &from, &to, None, Some(id), payload);
    for stanza in [
        build(StanzaKind::Message, "1", "<body>x</body>"),
        build(StanzaKind::Iq, "2", ""),
        build(StanzaKind::Presence, "3", ""),
        build(
            StanzaKind::Message,
            "4",
            "<delay xmlns='urn:xmpp:delay' from='montague.lit' stamp='then'/>",
        ),
        build(
            StanzaKind::Message,
            "5",
            "<delay xmlns='urn:xmpp:delay' from='rooms.montague.lit' stamp='then'/>",
        ),
        build(StanzaKind::Message, "6", ""),
    ] {
        feeder.push(stanza, world.now).unwrap();
    }
    world.tell(Signal::Wanted(pair, drain));
    world.reach(1, 7, "capulet.lit");
    world.granted(7, Direction::Outbound, PAIR);
    world.managed(7, PAIR, "s7");
    world.pass(3);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 5);
    reached(&mut world, 2, 8);
    assert_eq!(
        world.resumed(8, "s7", None),
        [
            "bounce remote-server-timeout: 2",
            "carry montague.lit~capulet.lit on 8: 1 3 4 5 6"
        ]
    );
    let drain = world.drains.get_mut(PAIR).unwrap();
    let mut texts = Vec::new();
    while let Some(stanza) = drain.pull() {
        texts.push(String::from_utf8(stanza.bytes().to_vec()).unwrap());
    }
    let ours = "<delay xmlns='urn:xmpp:delay' from='montague.lit' stamp='3s-ago'>sent again after the connection was lost; may have arrived before</delay>";
    let start = |name: &str, id: &str| {
        format!("<{name} from='romeo@montague.lit/x' to='juliet@capulet.lit' id='{id}'")
    };
    assert_eq!(
        texts,
        [
            format!("{}><body>x</body>{ours}</message>", start("message", "1")),
            format!("{}>{ours}</presence>", start("presence", "3")),
            format!(
                "{}><delay xmlns='urn:xmpp:delay' from='montague.lit' stamp='then'/></message>",
                start("message", "4")
            ),
            format!(
                "{}><delay xmlns='urn:xmpp:delay' from='rooms.montague.lit' stamp='then'/>{ours}</message>",
                start("message", "5")
            ),
            format!("{}/>", start("message", "6")),
        ]
    );
    // It is stamped once, however often it is sent.
    world.managed(8, PAIR, "s8");
    world.drains.get_mut(PAIR).unwrap().requeue();
    world.lose(8, "s8", Role::Initiating, &[PAIR], 1);
    reached(&mut world, 3, 9);
    world.resumed(9, "s8", None);
    let first = world.drains.get_mut(PAIR).unwrap().pull().unwrap();
    assert_eq!(String::from_utf8(first.bytes().to_vec()).unwrap(), texts[0]);
}

#[test]
fn where_there_is_no_room_for_the_stamp_the_sender_is_told() {
    //= SM-12
    let mut policy = resend();
    policy.limits.stanza_bytes_max = 10_000;
    let mut world = World::with(policy);
    let pair = world.pair(PAIR);
    let (feeder, drain) = outbox::new(OutboxLimit {
        stanzas: 10,
        bytes: 100_000,
    });
    let jid = |text| Jid::from(domain(text));
    let body = format!("<body>{}</body>", "x".repeat(9900));
    let large = Stanza::build(
        StanzaKind::Message,
        &jid("montague.lit"),
        &jid("capulet.lit"),
        None,
        Some("1"),
        &body,
    );
    feeder.push(large, world.now).unwrap();
    world.tell(Signal::Wanted(pair, drain));
    world.reach(1, 7, "capulet.lit");
    world.granted(7, Direction::Outbound, PAIR);
    world.managed(7, PAIR, "s7");
    world.lose(7, "s7", Role::Initiating, &[PAIR], 1);
    reached(&mut world, 2, 8);
    assert_eq!(
        world.resumed(8, "s7", None),
        ["bounce remote-server-timeout: 1"]
    );
    assert_eq!(world.reached(Limit::StanzaBytesMax), 1);
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    //= SM-14
    let mut world = World::new();
    accepted(&mut world, &["1", "2"]);
    world.lose(7, "s7", Role::Receiving, &[PAIR], 2);
    world.accept_bidi(8, PAIR);
    world.claim(8, "s7", 11);
    assert_eq!(world.federation.suspended(), 0, "we know all that there is");
    world.managed(8, PAIR, "s8");
    // The connection breaks, and the peer has heard nothing.
    world.lose(8, "s8", Role::Receiving, &[PAIR], 1);
    assert_eq!(world.federation.suspended(), 1);
    world.accept_bidi(9, PAIR);
    assert_eq!(world.claim(9, "s7", 11), ["settled 0", "resume 9 s7 h=7"]);
    assert_eq!(
        world.claim(9, "s7", 12),
        ["resume 9 nothing"],
        "but not another one"
    );
    assert_eq!(
        world.claim(9, "s8", 10),
        [
            "settled 0",
            "carry montague.lit~capulet.lit on 9: 2",
            "resume 9 s8 h=7"
        ]
    );
    // That is not asked for by us, and ends with its time.
    for _ in 0..30 {
        assert_eq!(world.pass(5), NOTHING);
    }
    assert_eq!(world.claim(9, "s7", 11), ["resume 9 nothing"]);
}

#[test]
fn names_are_a_peer_s_own_and_given_once() {
    //= SM-14
    let mut world = World::new();
    connected(&mut world, &["1"]);
    // Another peer calls its stream the same.
    world.accept_bidi(8, "montague.lit~bank.lit");
    world.want("montague.lit~bank.lit", &["9"]);
    world.managed(8, "montague.lit~bank.lit", "s7");
    world.lose(7, "s7", Role::Initiating, &[PAIR], 1);
    world.lose(8, "s7", Role::Receiving, &["montague.lit~bank.lit"], 1);
    assert_eq!(world.federation.suspended(), 2);
    world.accept_bidi(9, "montague.lit~bank.lit");
    assert_eq!(world.claim(9, "s7", 11), ["settled 1", "resume 9 s7 h=7"]);
    assert_eq!(world.route(PAIR), "suspended");
    // The same peer does: nothing of the second stream waits for a name that means the first.
    world.accept_bidi(10, CONFERENCE);
    world.want(CONFERENCE, &["5"]);
    world.managed(10, PAIR, "s7");
    assert_eq!(
        world.lose(10, "s7", Role::Receiving, &[CONFERENCE], 1),
        ["bounce remote-server-timeout: 5"]
    );
    world.accept_bidi(11, PAIR);
    assert_eq!(world.claim(11, "s7", 11), ["settled 1", "resume 11 s7 h=7"]);
}

#[test]
fn no_more_streams_wait_than_the_limit_says() {
    //= SM-18
    let mut policy = PeerPolicy::default();
    policy.limits.lost_streams_max = 1;
    let mut world = World::with(policy);
    accepted(&mut world, &["1"]);
    world.accept_bidi(8, "montague.lit~bank.lit");
    world.managed(8, "montague.lit~bank.lit", "s8");
    world.lose(7, "s7", Role::Receiving, &[PAIR], 1);
    // One of which nothing of ours is on its way can be missed sooner.
    assert_eq!(
        world.lose(8, "s8", Role::Receiving, &[], 0),
        ["settled 0"; 0]
    );
    assert_eq!(world.federation.suspended(), 1);
    assert_eq!(world.route(PAIR), "suspended");
    world.pass(1);
    world.accept_bidi(9, "montague.lit~bank.lit");
    world.want("montague.lit~bank.lit", &["9"]);
    world.managed(9, "montague.lit~bank.lit", "s9");
    assert_eq!(
        world.lose(9, "s9", Role::Receiving, &["montague.lit~bank.lit"], 1),
        ["bounce remote-server-timeout: 1"]
    );
    assert_eq!(world.federation.suspended(), 1);
    // The second and the first had to go.
    assert_eq!(world.reached(Limit::LostStreamsMax), 2);
}

#[test]
fn one_pair_has_few_lost_streams() {
    let mut world = World::new();
    for stream in 7..20 {
        world.accept_bidi(stream, PAIR);
        let id = format!("s{stream}");
        world.managed(stream, PAIR, &id);
        world.lose(stream, &id, Role::Receiving, &[], 0);
        world.pass(1);
        assert!(world.federation.suspended() <= 8);
    }
    world.accept_bidi(30, PAIR);
    assert_eq!(world.claim(30, "s7", 10), ["resume 30 nothing"]);
    assert_eq!(
        world.claim(30, "s19", 10),
        ["settled 0", "resume 30 s19 h=7"]
    );
}

#[test]
fn two_lost_streams_of_a_pair_are_taken_up_together() {
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.accept_bidi(8, CONFERENCE);
    world.want(CONFERENCE, &["2"]);
    world.managed(8, PAIR, "s8");
    // As if both had been opened for the same pair.
    world.lose_for(8, "s8", Role::Initiating, PAIR, &[CONFERENCE], 1);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 1);
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit resuming s7 resuming s8"]
    );
    world.connected(2, Some(9));
    world.identified(9, "capulet.lit");
    world.granted(9, Direction::Outbound, PAIR);
    assert_eq!(world.resumed(9, "s7", Some(11)), ["settled 1"]);
    assert_eq!(world.resumed(9, "s8", Some(11)), ["settled 1"]);
    assert_eq!(world.federation.suspended(), 0);
}

#[test]
fn what_waits_behind_the_stanzas_in_question_grows_old() {
    //= ROUTE-24
    let mut world = World::new();
    accepted(&mut world, &["1", "2"]);
    world.lose(7, "s7", Role::Receiving, &[PAIR], 1);
    let mut bounced = Vec::new();
    for _ in 0..13 {
        bounced.extend(
            world
                .pass(5)
                .into_iter()
                .filter(|said| said.starts_with("bounce")),
        );
    }
    assert_eq!(bounced, ["bounce remote-server-timeout: 2"]);
    assert_eq!(world.route(PAIR), "suspended", "the other may be known yet");
}

#[test]
fn a_shutdown_waits_for_no_lost_stream() {
    let mut world = World::new();
    accepted(&mut world, &["1", "2"]);
    world.lose(7, "s7", Role::Receiving, &[PAIR], 1);
    assert_eq!(
        world.tell(Signal::Shutdown),
        [
            "bounce remote-server-timeout: 1",
            "return montague.lit~capulet.lit remote-server-timeout: 2"
        ]
    );
    let mut world = World::new();
    accepted(&mut world, &["1", "2"]);
    world.tell(Signal::Shutdown);
    assert_eq!(
        world.lose(7, "s7", Role::Receiving, &[PAIR], 1),
        [
            "bounce remote-server-timeout: 1",
            "return montague.lit~capulet.lit remote-server-timeout: 2"
        ]
    );
    assert_eq!(world.federation.suspended(), 0);
}

#[test]
fn a_peer_that_goes_down_takes_nothing_up() {
    //= SM-12
    let mut world = World::new();
    connected(&mut world, &["1", "2"]);
    let mut error = StreamError::peer(StreamCondition::SystemShutdown, "bye");
    error.fault = Fault::Peer;
    world.event(7, Event::Failed(error));
    assert_eq!(
        world.lose(7, "s7", Role::Initiating, &[PAIR], 1),
        [
            "bounce remote-server-timeout: 1",
            "discover capulet.lit for 2"
        ]
    );
    assert_eq!(world.federation.suspended(), 0);
}

#[test]
fn a_search_that_fails_is_made_again_after_its_rest() {
    let mut world = World::new();
    connected(&mut world, &["1"]);
    world.lose(7, "s7", Role::Initiating, &[PAIR], 1);
    world.discovered(2, &["192.0.2.1:5269"]);
    assert_eq!(world.connected(2, None), NOTHING);
    assert_eq!(world.route(PAIR), "suspended");
    let mut said = Vec::new();
    for _ in 0..10 {
        said.extend(world.pass(1));
    }
    assert!(
        said.contains(&"discover capulet.lit for 3".to_owned()),
        "{said:?}"
    );
}

#[test]
fn an_end_without_a_stream_to_take_up_forgets_the_name() {
    let mut world = World::new();
    accepted(&mut world, &["1"]);
    let remains = Remains::default();
    world.tell(Signal::Ended(StreamKey(7), remains));
    world.accept_bidi(8, PAIR);
    assert_eq!(world.claim(8, "s7", 10), ["resume 8 nothing"]);
}
