//! Routes, attempts, verifications, reuse, bounds.

use std::time::Duration;

use verona_proto::addr::{Direction, DomainPair};
use verona_proto::dialback::{Answer, Verdict};
use verona_proto::discovery::DiscoveryError;
use verona_proto::federation::{AttemptKey, Reached, Signal, StreamKey, Unreached};
use verona_proto::limits::Limit;
use verona_proto::policy::{Federate, Multiplex, PeerPolicy};
use verona_proto::stanza::condition::StanzaCondition;
use verona_proto::stream::{Cause, Event, Fault};

use crate::world::{CONFERENCE, PAIR, World, limits};

#[test]
fn a_stanza_finds_its_way_over_the_first_server_that_answers() {
    //= DNS-08
    let mut world = World::new();
    assert_eq!(
        world.want(PAIR, &["1", "2"]),
        ["discover capulet.lit for 1"]
    );
    assert_eq!(world.route(PAIR), "seeking");
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269", "192.0.2.3:5269"]),
        [
            "connect 192.0.2.1:5269 192.0.2.2:5269 192.0.2.3:5269 for 1 to carry montague.lit~capulet.lit"
        ]
    );
    // The first server refused, the second answered before the third was tried, and speaks nonsense.
    assert_eq!(world.connected_to(1, 7, 1), [""; 0]);
    assert_eq!(
        world.failed(7, Cause::Stream),
        ["connect 192.0.2.3:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    assert_eq!(world.end(7, &[]), [""; 0]);
    assert_eq!(world.connected(1, Some(8)), [""; 0]);
    assert_eq!(
        world.granted(8, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 8: 1 2"]
    );
    assert_eq!(world.route(PAIR), "carried");
}

#[test]
fn servers_that_lost_the_race_are_tried_when_the_winner_is_of_no_use() {
    //= DNS-08
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269", "192.0.2.3:5269"]);
    // The second one answered while the first had not yet, and speaks no XMPP.
    let mut targets = world.dialled.remove(&1).unwrap();
    let reached = Reached {
        stream: StreamKey(7),
        target: targets.remove(1),
        failed: Vec::new(),
        left: targets,
    };
    world.tell(Signal::Connected(AttemptKey(1), Ok(reached)));
    assert_eq!(
        world.failed(7, Cause::Stream),
        ["connect 192.0.2.1:5269 192.0.2.3:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    // It is a server of the domain all the same: whom it takes for an impostor, another one would too.
    world.connected_to(1, 8, 1);
    assert_eq!(
        world.failed(8, Cause::Identity),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}

#[test]
fn a_domain_whose_servers_may_not_be_dialled_has_none() {
    //= DNS-27
    let own = |fault| {
        move |target| Unreached {
            target,
            text: "is our own listener".into(),
            fault,
        }
    };
    for (faults, expected) in [
        ([Fault::Policy, Fault::Policy], "remote-server-not-found"),
        ([Fault::Policy, Fault::Peer], "remote-server-timeout"),
        ([Fault::Local, Fault::Policy], "resource-constraint"),
    ] {
        let mut world = World::new();
        world.want(PAIR, &["1"]);
        world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
        let targets = world.dialled.remove(&1).unwrap();
        let failed = targets.into_iter().zip(faults);
        let failed = failed.map(|(target, fault)| own(fault)(target)).collect();
        assert_eq!(
            world.tell(Signal::Connected(AttemptKey(1), Err(failed))),
            [format!("return montague.lit~capulet.lit {expected}: 1")]
        );
    }
}

#[test]
fn every_server_that_failed_is_reported_with_its_reason() {
    //= DNS-05
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
    // Those that its SRV records named are all there is: its own address at 5269 is not tried.
    assert_eq!(
        world.connected(1, None),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
    assert_eq!(
        world.reports,
        [
            "montague.lit~capulet.lit looks for a server",
            "192.0.2.1:5269 (server.invalid) failed: refused",
            "192.0.2.2:5269 (server.invalid) failed: refused",
            "capulet.lit unreachable: could not reach capulet.lit: refused",
        ]
    );
}

#[test]
fn a_server_that_hangs_up_at_auth_is_asked_once_more_without_it() {
    //= SASL-20
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.connected(1, Some(7));
    assert_eq!(
        world.failed(7, Cause::Sasl),
        [
            "connect 192.0.2.1:5269 192.0.2.2:5269 for 1 to carry montague.lit~capulet.lit without external"
        ]
    );
    world.connected(1, Some(8));
    assert_eq!(
        world.failed(8, Cause::Sasl),
        ["connect 192.0.2.2:5269 for 1 to carry montague.lit~capulet.lit without external"]
    );
}

#[test]
fn a_server_that_hangs_up_behind_bidi_is_asked_once_more_without_it() {
    //= BIDI-69
    let closed = Event::Closed {
        cause: Cause::Dialback,
    };
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Bidirectional);
    assert_eq!(world.event(7, closed.clone()), [""; 0]);
    assert_eq!(
        world.end(7, &[]),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit without bidi"]
    );
    world.connected(1, Some(8));
    assert_eq!(world.event(8, closed.clone()), [""; 0]);
    assert_eq!(
        world.end(8, &[]),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
    // Where bidi was not requested it is not what made the peer hang up.
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(world.event(7, closed), [""; 0]);
    assert_eq!(
        world.end(7, &[]),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}

#[test]
fn what_another_server_would_say_too_is_asked_of_no_other() {
    //= DB-12
    for (answer, condition) in [
        (Answer::Invalid, "internal-server-error"),
        (
            Answer::Error(StanzaCondition::ItemNotFound),
            "remote-server-timeout",
        ),
    ] {
        let mut world = World::new();
        world.want(PAIR, &["1"]);
        world.discovered(1, &["192.0.2.1:5269"]);
        world.connected(1, Some(7));
        let pair = world.pair(PAIR);
        assert_eq!(
            world.event(7, Event::Refused { pair, answer }),
            [
                "close 7 undefined-condition".to_owned(),
                format!("return montague.lit~capulet.lit {condition}: 1")
            ]
        );
        assert_eq!(world.route(PAIR), "none");
    }
    // The certificate is not good enough: no other server of the domain is tried.
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.connected(1, Some(7));
    assert_eq!(
        world.failed(7, Cause::Identity),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}

#[test]
fn an_unreachable_domain_is_told_to_the_sender_and_left_alone_for_longer_each_time() {
    //= ROUTE-13
    //= STREAM-56
    let mut world = World::new();
    let mut waits = Vec::new();
    world.want(PAIR, &["1"]);
    for attempt in 1..=4 {
        world.discovered(attempt, &["192.0.2.1:5269"]);
        let id = attempt.to_string();
        assert_eq!(
            world.connected(attempt, None),
            [format!(
                "return montague.lit~capulet.lit remote-server-timeout: {id}"
            )]
        );
        // The next stanza waits out the pause, and then has an attempt of its own.
        let before = world.now;
        let next = (attempt + 1).to_string();
        assert_eq!(world.want(PAIR, &[&next]), [""; 0]);
        assert_eq!(world.route(PAIR), "resting");
        let mut said = Vec::new();
        while said.is_empty() {
            said = world.wait();
        }
        assert_eq!(said, [format!("discover capulet.lit for {next}")]);
        waits.push((world.now - before).as_secs());
    }
    assert_eq!(waits, [1, 3, 7, 15]);
}

#[test]
fn the_condition_tells_at_which_step_it_failed() {
    //= ROUTE-13
    let not_found = DiscoveryError::not_found("no such name");
    let temporary = DiscoveryError::temporary("no answer");
    for (error, condition) in [
        (not_found, "remote-server-not-found"),
        (temporary, "remote-server-timeout"),
    ] {
        let mut world = World::new();
        world.want(PAIR, &["1"]);
        assert_eq!(
            world.undiscovered(1, error),
            [format!("return montague.lit~capulet.lit {condition}: 1")]
        );
    }
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    assert_eq!(
        world.discovered(1, &[]),
        ["return montague.lit~capulet.lit remote-server-not-found: 1"]
    );
}

#[test]
fn a_domain_that_reaches_us_is_left_alone_no_longer() {
    //= STREAM-56
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.undiscovered(1, DiscoveryError::temporary("no answer"));
    assert_eq!(world.want(PAIR, &["2"]), [""; 0]);
    assert_eq!(
        world.accept_bidi(3, PAIR),
        ["carry montague.lit~capulet.lit on 3: 2"]
    );
    // Another pair with the same domain need not wait either.
    assert_eq!(
        world.want(CONFERENCE, &["3"]),
        ["discover capulet.lit for 2"]
    );
}

#[test]
fn the_connection_that_is_there_is_used_before_one_is_opened() {
    //= BIDI-55
    let mut world = World::new();
    assert_eq!(world.accept_bidi(3, PAIR), [""; 0]);
    assert_eq!(
        world.want(PAIR, &["1"]),
        ["carry montague.lit~capulet.lit on 3: 1"]
    );
}

#[test]
fn a_connection_without_bidi_is_not_used_for_the_other_direction() {
    //= BIDI-83
    //= BIDI-50
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    assert_eq!(world.granted(3, Direction::Inbound, PAIR), [""; 0]);
    assert_eq!(world.want(PAIR, &["1"]), ["discover capulet.lit for 1"]);
}

#[test]
fn simultaneous_connections_lose_nothing_and_keep_one_order() {
    //= ROUTE-10
    // B-m22: both dial at once; each is granted on both.
    //= BIDI-51
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1", "2"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.accept_bidi(3, PAIR),
        ["carry montague.lit~capulet.lit on 3: 1 2"]
    );
    // Our own is granted as well: the pair stays where it is.
    assert_eq!(world.granted(7, Direction::Outbound, PAIR), [""; 0]);
    assert_eq!(world.route(PAIR), "carried");
    // The first one ends: what it gave back goes on over the other, in order.
    assert_eq!(
        world.end(3, &[PAIR]),
        ["carry montague.lit~capulet.lit on 7: 1 2"]
    );
}

#[test]
fn of_two_that_are_granted_the_one_that_we_opened_gets_the_first_stanza() {
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.granted(7, Direction::Outbound, PAIR);
    world.accept_bidi(3, PAIR);
    // The pair was idle and is forgotten.
    world.write_all(PAIR);
    assert_eq!(
        world.want(PAIR, &["2"]),
        ["carry montague.lit~capulet.lit on 7: 2"]
    );
}

#[test]
fn prosodys_own_stream_carries_when_it_is_granted_first() {
    // Our key makes the peer open a connection of its own; with bidi it is granted before ours.
    //= BIDI-52
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.accept(3, "capulet.lit");
    world.event(3, Event::Bidirectional);
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["discover capulet.lit for 2"],
        "its key is checked at once, whatever waits for our own (BIDI-56)"
    );
    world.reach(2, 8, "capulet.lit");
    assert_eq!(
        world.verified(8, PAIR, "M2", Verdict::Valid),
        ["verdict montague.lit~capulet.lit on 3 valid"]
    );
    world.granted(3, Direction::Inbound, PAIR);
    assert_eq!(
        world.granted(3, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 3: 1"]
    );
    // Ours is refused a moment later: nobody waits for it, nothing is returned.
    let pair = world.pair(PAIR);
    let answer = Answer::Error(StanzaCondition::ResourceConstraint);
    assert_eq!(
        world.event(7, Event::Refused { pair, answer }),
        ["close 7 undefined-condition"]
    );
    assert_eq!(world.route(PAIR), "carried");
}

#[test]
fn a_key_is_checked_on_a_connection_that_we_open_and_on_no_other() {
    //= BIDI-24
    //= BIDI-25
    //= DB-23
    let mut world = World::new();
    // B-m23: a good connection with the domain is there already, and even multiplexes.
    world.accept_bidi(2, PAIR);
    world.event(2, Event::Multiplexes);
    world.accept(3, "capulet.lit");
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["discover capulet.lit for 1"]
    );
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 1 to verify montague.lit~capulet.lit M2"]
    );
    assert_eq!(world.connected(1, Some(7)), [""; 0]);
    // Nobody but that connection may answer, and only to the question.
    for (stream, pair, id) in [
        (2, PAIR, "M2"),
        (3, PAIR, "M2"),
        (7, PAIR, "M1"),
        (7, CONFERENCE, "M2"),
    ] {
        assert_eq!(
            world.verified(stream, pair, id, Verdict::Valid),
            [""; 0],
            "{stream} {pair} {id}"
        );
    }
    assert_eq!(
        world.verified(7, PAIR, "M2", Verdict::Valid),
        ["verdict montague.lit~capulet.lit on 3 valid"]
    );
    assert_eq!(world.verified(7, PAIR, "M2", Verdict::Invalid), [""; 0]);
}

#[test]
fn two_streams_with_one_id_get_each_its_own_verdict() {
    // B-m27: ids of streams that we opened are chosen by the peer.
    //= BIDI-36
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.accept(4, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    world.key_received(4, PAIR, "M2");
    world.reach(1, 7, "capulet.lit");
    world.reach(2, 8, "capulet.lit");
    assert_eq!(
        world.verified(8, PAIR, "M2", Verdict::Invalid),
        ["verdict montague.lit~capulet.lit on 4 invalid"]
    );
    assert_eq!(
        world.verified(7, PAIR, "M2", Verdict::Valid),
        ["verdict montague.lit~capulet.lit on 3 valid"]
    );
}

#[test]
fn a_key_that_cannot_be_checked_is_answered_by_the_reason() {
    // B-m3, B-m4, B-m5.
    //= DB-38
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    assert_eq!(
        world.undiscovered(1, DiscoveryError::not_found("no such name")),
        ["verdict montague.lit~capulet.lit on 3 remote-server-not-found"]
    );
    world.pass(5);
    world.key_received(3, PAIR, "M2");
    world.discovered(2, &["192.0.2.1:5269"]);
    assert_eq!(
        world.connected(2, None),
        ["verdict montague.lit~capulet.lit on 3 remote-connection-failed"]
    );
    world.pass(5);
    world.key_received(3, PAIR, "M2");
    world.reach(3, 7, "capulet.lit");
    assert_eq!(
        world.end(7, &[]),
        ["verdict montague.lit~capulet.lit on 3 remote-server-timeout"]
    );
    world.pass(5);
    world.key_received(3, PAIR, "M2");
    world.reach(4, 8, "capulet.lit");
    assert_eq!(
        world.failed(8, Cause::Tls),
        ["verdict montague.lit~capulet.lit on 3 policy-violation"]
    );
    world.pass(5);
    world.key_received(3, PAIR, "M2");
    world.reach(5, 9, "capulet.lit");
    let unknown = Verdict::Error(StanzaCondition::ItemNotFound);
    assert_eq!(
        world.verified(9, PAIR, "M2", unknown),
        ["verdict montague.lit~capulet.lit on 3 remote-server-not-found"]
    );
}

#[test]
fn a_question_whose_asker_is_gone_is_dropped() {
    // B-m6.
    //= DB-28
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    world.reach(1, 7, "capulet.lit");
    assert_eq!(world.end(3, &[]), ["close 7 undefined-condition"]);
    assert_eq!(world.verified(7, PAIR, "M2", Verdict::Valid), [""; 0]);
    assert_eq!(world.end(7, &[]), [""; 0]);
}

#[test]
fn an_authoritative_server_that_never_answers_has_a_deadline() {
    //= DB-38
    //= LIM-14
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "M2");
    assert_eq!(
        world.wait(),
        ["verdict montague.lit~capulet.lit on 3 remote-server-timeout"]
    );
    assert_eq!(world.discovered(1, &["192.0.2.1:5269"]), [""; 0]);
}

#[test]
fn a_further_pair_is_asked_for_where_the_peer_said_that_it_copes() {
    //= BIDI-26
    //= BIDI-76
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(
        world.want(CONFERENCE, &["1"]),
        ["request conference.montague.lit~capulet.lit on 3"]
    );
    assert_eq!(world.route(CONFERENCE), "requested");
    assert_eq!(
        world.granted(3, Direction::Outbound, CONFERENCE),
        ["carry conference.montague.lit~capulet.lit on 3: 1"]
    );
}

#[test]
fn nobody_else_is_asked_for_a_further_pair() {
    //= BIDI-27
    //= BIDI-76
    let seeks = "discover capulet.lit for 1";
    // It does not say that it copes.
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // It copes, but is not bidirectional.
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.event(3, Event::Multiplexes);
    world.granted(3, Direction::Inbound, PAIR);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // It copes, but has proven another domain and only claims this one.
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.event(3, Event::Multiplexes);
    world.event(3, Event::Bidirectional);
    world.granted(3, Direction::Inbound, "montague.lit~rooms.capulet.lit");
    world.granted(3, Direction::Outbound, "montague.lit~rooms.capulet.lit");
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // The configuration forbids it.
    let mut world = World::with(PeerPolicy {
        multiplex: Multiplex::Off,
        ..PeerPolicy::default()
    });
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    // It has as many pairs as a stream may have.
    let mut world = World::with(limits(|limits| limits.pairs_per_stream_max = 1));
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(world.want(CONFERENCE, &["1"]), [seeks]);
    assert_eq!(world.reached(Limit::PairsPerStreamMax), 1);
}

#[test]
fn a_peer_that_refuses_a_further_pair_gets_a_connection_and_is_not_asked_again() {
    // B-m17, and refusals of other kinds.
    //= BIDI-76
    let refusals: [fn(DomainPair) -> Event; 2] = [
        |pair| Event::Unanswered { pair },
        |pair| Event::Refused {
            pair,
            answer: Answer::Error(StanzaCondition::NotAllowed),
        },
    ];
    for refusal in refusals {
        let mut world = World::new();
        world.accept_bidi(3, PAIR);
        world.event(3, Event::Multiplexes);
        world.want(PAIR, &["0"]);
        world.want(CONFERENCE, &["1"]);
        let pair = world.pair(CONFERENCE);
        assert_eq!(
            world.event(3, refusal(pair)),
            ["discover capulet.lit for 1"]
        );
        assert_eq!(world.route(CONFERENCE), "seeking");
        // The stream that refused goes on with what it carries.
        assert_eq!(world.route(PAIR), "carried");
        world.discovered(1, &["192.0.2.1:5269"]);
        world.connected(1, Some(7));
        assert_eq!(
            world.granted(7, Direction::Outbound, CONFERENCE),
            ["carry conference.montague.lit~capulet.lit on 7: 1"]
        );
    }
}

#[test]
fn a_further_pair_that_is_invalid_is_never_sent_and_the_others_move() {
    //= DB-12
    //= DB-13
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    world.want(PAIR, &["0"]);
    world.want(CONFERENCE, &["1"]);
    let pair = world.pair(CONFERENCE);
    let answer = Answer::Invalid;
    assert_eq!(
        world.event(3, Event::Refused { pair, answer }),
        [
            "return conference.montague.lit~capulet.lit internal-server-error: 1",
            "close 3 undefined-condition"
        ]
    );
    assert_eq!(world.end(3, &[PAIR]), ["discover capulet.lit for 1"]);
}

#[test]
fn a_peer_that_dies_of_a_further_pair_loses_no_stanza() {
    // B-m16.
    //= BIDI-76
    //= BIDI-59
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    world.want(PAIR, &["1", "2"]);
    world.want(CONFERENCE, &["3"]);
    assert_eq!(world.failed(3, Cause::Established), [""; 0]);
    assert_eq!(
        world.end(3, &[PAIR]),
        ["discover capulet.lit for 1", "discover capulet.lit for 2"]
    );
    world.reach(1, 7, "capulet.lit");
    world.reach(2, 8, "capulet.lit");
    assert_eq!(
        world.granted(7, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 7: 1 2"]
    );
    assert_eq!(
        world.granted(8, Direction::Outbound, CONFERENCE),
        ["carry conference.montague.lit~capulet.lit on 8: 3"]
    );
}

#[test]
fn a_stream_that_closes_is_given_nothing_more() {
    //= BIDI-58
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(
        3,
        Event::Closed {
            cause: Cause::Established,
        },
    );
    assert_eq!(world.want(PAIR, &["1"]), ["discover capulet.lit for 1"]);
}

#[test]
fn a_stream_that_takes_no_command_any_more_is_still_known_until_it_ends() {
    //= SM-14
    let mut world = World::new();
    world.accept_bidi(1, PAIR);
    world.managed(1, PAIR, "a");
    assert_eq!(
        world.want(PAIR, &["1"]),
        ["carry montague.lit~capulet.lit on 1: 1"]
    );
    // It is about to end, and takes nothing any more.
    let drain = world.drains.remove(PAIR).unwrap();
    let undone = Signal::Undone(StreamKey(1), world.pair(PAIR), Some(drain));
    assert_eq!(world.tell(undone), ["discover capulet.lit for 1"]);
    assert_eq!(world.route(PAIR), "seeking");
    // What it leaves is not here yet: whoever takes it up waits for that.
    world.accept(2, "capulet.lit");
    world.granted(2, Direction::Inbound, PAIR);
    let claim = Event::ResumeRequested {
        id: "a".to_owned(),
        h: 0,
    };
    assert_eq!(world.event(2, claim), ["abandon 1"]);
    assert_eq!(world.end(1, &[]), ["resume 2 nothing"]);
}

#[test]
fn a_request_that_a_stream_does_not_take_is_one_less_to_wait_for() {
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    assert_eq!(
        world.want(CONFERENCE, &["1"]),
        ["request conference.montague.lit~capulet.lit on 3"]
    );
    let undone = Signal::Undone(StreamKey(3), world.pair(CONFERENCE), None);
    assert_eq!(world.tell(undone), ["discover capulet.lit for 1"]);
    assert_eq!(world.route(CONFERENCE), "seeking");
}

#[test]
fn what_an_ended_stream_gives_back_is_served_again_in_order() {
    //= STREAM-47
    //= BIDI-58
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.want(PAIR, &["1", "2", "3"]);
    assert_eq!(world.end(3, &[PAIR]), ["discover capulet.lit for 1"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.granted(7, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 7: 1 2 3"]
    );
    // An empty queue needs nobody.
    world.write_all(PAIR);
    assert_eq!(world.end(7, &[PAIR]), [""; 0]);
    assert_eq!(world.route(PAIR), "none");
}

#[test]
fn a_stanza_that_waits_too_long_goes_back() {
    //= ROUTE-24
    let mut world = World::with(limits(|limits| {
        limits.outbox_age_seconds = 20;
        limits.attempt_seconds = 1000;
    }));
    world.want(PAIR, &["1"]);
    assert_eq!(world.pass(19), [""; 0]);
    assert_eq!(world.reached(Limit::OutboxAgeSeconds), 0);
    assert_eq!(world.pass(2), ["bounce remote-server-timeout: 1"]);
    assert_eq!(world.reached(Limit::OutboxAgeSeconds), 1);
    // Nobody waits for the attempt any more.
    assert_eq!(world.route(PAIR), "none");
    assert_eq!(world.discovered(1, &["192.0.2.1:5269"]), [""; 0]);
    assert_eq!(world.want(PAIR, &["2"]), ["discover capulet.lit for 2"]);
}

#[test]
fn an_attempt_over_many_slow_servers_has_an_end() {
    //= LIM-14
    let mut world = World::with(limits(|limits| limits.outbox_age_seconds = 1000));
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.wait(),
        [
            "return montague.lit~capulet.lit remote-server-timeout: 1",
            "close 7 undefined-condition"
        ]
    );
    assert_eq!(world.reached(Limit::AttemptSeconds), 1);
}

#[test]
fn the_rest_after_failures_has_a_longest() {
    //= STREAM-56
    let mut world = World::with(limits(|limits| limits.retry_seconds_max = 3));
    let begun = world.now;
    for attempt in 1..=3 {
        world.want(PAIR, &["1"]);
        assert_eq!(world.reached(Limit::RetrySecondsMax), attempt.max(2) - 2);
        world.undiscovered(attempt, DiscoveryError::temporary("no answer"));
        world.pass(3);
    }
    assert_eq!(world.reached(Limit::RetrySecondsMax), 2);
    assert_eq!(world.now - begun, Duration::from_secs(9));
}

#[test]
fn attempts_are_bounded_and_those_that_wait_get_their_turn() {
    let mut world = World::with(limits(|limits| limits.attempts_concurrent_max = 2));
    assert_eq!(
        world.want("montague.lit~a.lit", &["1"]),
        ["discover a.lit for 1"]
    );
    assert_eq!(
        world.want("montague.lit~b.lit", &["2"]),
        ["discover b.lit for 2"]
    );
    assert_eq!(world.reached(Limit::AttemptsConcurrentMax), 0);
    assert_eq!(world.want("montague.lit~c.lit", &["3"]), [""; 0]);
    assert_eq!(world.reached(Limit::AttemptsConcurrentMax), 1);
    assert_eq!(
        world.undiscovered(1, DiscoveryError::not_found("no such name")),
        [
            "return montague.lit~a.lit remote-server-not-found: 1",
            "discover c.lit for 3"
        ]
    );
}

#[test]
fn keys_under_check_are_bounded() {
    //= DB-53
    let mut world = World::with(limits(|limits| limits.verifications_pending_max = 1));
    world.accept(3, "capulet.lit");
    world.accept(4, "other.lit");
    assert_eq!(world.key_received(3, PAIR, "M2").len(), 1);
    assert_eq!(
        world.key_received(4, "montague.lit~other.lit", "M3"),
        ["verdict montague.lit~other.lit on 4 resource-constraint"]
    );
    assert_eq!(world.reached(Limit::VerificationsPendingMax), 1);
}

#[test]
fn a_forbidden_domain_is_neither_dialled_nor_asked() {
    //= ROUTE-26
    let mut world = World::with(PeerPolicy {
        federate: Federate::Deny,
        ..PeerPolicy::default()
    });
    assert_eq!(
        world.want(PAIR, &["1"]),
        ["return montague.lit~capulet.lit not-allowed: 1"]
    );
}

#[test]
fn at_the_end_everything_is_given_back_and_every_stream_closed() {
    //= STREAM-59
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.want(PAIR, &["1"]);
    world.want("montague.lit~other.lit", &["2"]);
    world.reach(1, 7, "other.lit");
    assert_eq!(
        world.want("montague.lit~slow.lit", &["3"]),
        ["discover slow.lit for 2"]
    );
    assert_eq!(
        world.tell(Signal::Shutdown),
        [
            "return montague.lit~other.lit remote-server-timeout: 2",
            "return montague.lit~slow.lit remote-server-timeout: 3",
            "close 3 system-shutdown",
            "close 7 system-shutdown"
        ]
    );
    // What comes late is refused.
    assert_eq!(
        world.want(CONFERENCE, &["4"]),
        ["return conference.montague.lit~capulet.lit remote-server-timeout: 4"]
    );
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["verdict montague.lit~capulet.lit on 3 resource-constraint"]
    );
    assert_eq!(world.discovered(2, &["192.0.2.1:5269"]), [""; 0]);
    assert_eq!(world.connected(2, Some(9)), ["close 9 undefined-condition"]);
    assert_eq!(
        world.end(3, &[PAIR]),
        ["return montague.lit~capulet.lit remote-server-timeout: 1"]
    );
}

#[test]
fn a_domain_that_is_never_reached_leaves_nothing_behind() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, None);
    world.want(PAIR, &["2"]);
    assert_eq!(world.route(PAIR), "resting");
    let resting = |world: &World| !format!("{:?}", world.federation).contains("resting: {}");
    assert!(resting(&world));
    // The wait is over and the next attempt fails as well: nobody wants the domain any more.
    assert_eq!(world.wait(), ["discover capulet.lit for 2"]);
    assert!(!resting(&world));
    world.discovered(2, &["192.0.2.1:5269"]);
    world.connected(2, None);
    assert!(!resting(&world));
}
