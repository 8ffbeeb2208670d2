//! What was learned of a peer, and that it is heeded the next time.

use std::time::Duration;

use verona_proto::addr::Direction;
use verona_proto::certificate::CertificateName;
use verona_proto::dialback::Answer;
use verona_proto::grounds::{Identity, Strength};
use verona_proto::learned::{Outcome, Phase, Topic};
use verona_proto::policy::{PeerPolicy, UseLearned};
use verona_proto::stanza::condition::{StanzaCondition, StreamCondition};
use verona_proto::stream::{Cause, Event, Peer, StreamError, TheirWords};
use verona_proto::trust::Unproven;

use crate::world::{CONFERENCE, PAIR, World, domain};

const FRANCE: &str = "montague.lit~rooms.capulet.lit";

impl World {
    fn knows(&self, topic: Topic) -> Option<Outcome> {
        self.learned
            .outcome(&domain("capulet.lit"), topic, self.now)
    }
}

#[test]
fn a_peer_that_hung_up_behind_bidi_and_came_round_without_is_not_asked_for_a_day() {
    //= BIDI-69
    let closed = Event::Closed {
        cause: Cause::Dialback,
    };
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Bidirectional);
    world.event(7, closed);
    world.end(7, &[]);
    assert_eq!(
        world.knows(Topic::Bidi),
        None,
        "it may be down for all we know"
    );
    world.connected(1, Some(8));
    world.granted(8, Direction::Outbound, PAIR);
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::HangsUp));
    world.write_all(PAIR);
    world.end(8, &[PAIR]);

    world.want(PAIR, &["2"]);
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit without bidi"]
    );
    world.connected(2, Some(9));
    world.granted(9, Direction::Outbound, PAIR);
    world.write_all(PAIR);
    world.end(9, &[PAIR]);

    // A day later it may be mended.
    world.now += Duration::from_secs(24 * 3600);
    world.want(PAIR, &["3"]);
    assert_eq!(
        world.discovered(3, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 3 to carry montague.lit~capulet.lit"]
    );
}

#[test]
fn a_peer_that_hung_up_at_auth_is_not_asked_again() {
    //= SASL-20
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, Some(7));
    world.failed(7, Cause::Sasl);
    world.connected(1, Some(8));
    world.granted(8, Direction::Outbound, PAIR);
    assert_eq!(world.knows(Topic::External), Some(Outcome::HangsUp));
    world.write_all(PAIR);
    world.end(8, &[PAIR]);
    world.want(PAIR, &["2"]);
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit without external"]
    );
}

/// A peer with which a whole negotiation went well, and which need not be waited for.
fn met(topics: &[Topic]) -> World {
    let world = World::new();
    for topic in topics {
        let peer = domain("capulet.lit");
        world
            .learned
            .note(&peer, *topic, Outcome::Works, "", world.now);
    }
    world
}

const SAID_ALL: [Topic; 3] = [Topic::Pipelining, Topic::External, Topic::Bidi];

#[test]
fn a_peer_that_took_all_of_it_before_is_not_waited_for() {
    //= STREAM-60
    for left_out in 0..=SAID_ALL.len() {
        let mut topics = SAID_ALL.to_vec();
        let is_ahead = left_out == topics.len();
        if !is_ahead {
            topics.remove(left_out);
        }
        let mut world = met(&topics);
        world.want(PAIR, &["1"]);
        let suffix = if is_ahead { " ahead" } else { "" };
        assert_eq!(
            world.discovered(1, &["192.0.2.1:5269"]),
            [format!(
                "connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit{suffix}"
            )]
        );
    }
}

#[test]
fn a_peer_announces_that_it_need_not_be_waited_for_and_who_only_claims_to_be_it_does_not() {
    //= STREAM-60
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.event(3, Event::Pipelines);
    assert_eq!(world.knows(Topic::Pipelining), None);
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Pipelines);
    assert_eq!(world.knows(Topic::Pipelining), Some(Outcome::Works));
}

#[test]
fn a_peer_that_hangs_up_where_it_is_not_waited_for_is_asked_step_by_step_at_once_and_for_a_day() {
    //= STREAM-60
    let mut world = met(&SAID_ALL);
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, Some(7));
    assert_eq!(
        world.failed(7, Cause::Sasl),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    assert_eq!(
        world.knows(Topic::Pipelining),
        Some(Outcome::Refused),
        "it may be down for all we know, and is waited for"
    );
    world.connected(1, Some(8));
    world.identified(8, "capulet.lit");
    // What it says of itself counts for less than what it does.
    world.event(8, Event::Pipelines);
    world.granted(8, Direction::Outbound, PAIR);
    assert_eq!(world.knows(Topic::Pipelining), Some(Outcome::HangsUp));
    assert_eq!(
        world.knows(Topic::External),
        Some(Outcome::Works),
        "it took our certificate in its turn"
    );
    world.event(8, Event::Pipelines);
    assert_eq!(world.knows(Topic::Pipelining), Some(Outcome::HangsUp));
    world.write_all(PAIR);
    world.end(8, &[PAIR]);
    world.want(PAIR, &["2"]);
    assert_eq!(
        world.discovered(2, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 2 to carry montague.lit~capulet.lit"]
    );
}

#[test]
fn where_it_is_not_waited_for_and_says_nothing_the_next_server_is_tried_first() {
    //= STREAM-60
    let mut world = met(&SAID_ALL);
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.connected(1, Some(7));
    let silent = StreamError::peer(StreamCondition::ConnectionTimeout, "nothing came");
    assert_eq!(
        world.event(7, Event::Failed(silent)),
        ["connect 192.0.2.2:5269 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit"]
    );
    assert_eq!(world.knows(Topic::Pipelining), Some(Outcome::Refused));
}

#[test]
fn where_it_is_not_waited_for_and_has_another_reason_nothing_is_held_against_it() {
    //= STREAM-60
    let mut world = met(&SAID_ALL);
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, Some(7));
    let mut busy = StreamError::peer(StreamCondition::ResourceConstraint, "too many connections");
    busy.words = TheirWords::Said;
    let said = world.event(7, Event::Failed(busy));
    assert!(
        !said.iter().any(|command| command.starts_with("connect")),
        "{said:?}"
    );
    assert_eq!(world.knows(Topic::Pipelining), Some(Outcome::Works));
}

#[test]
fn what_worked_before_is_not_given_up_for_one_connection_that_breaks() {
    //= SASL-20
    for (topic, cause, without) in [
        (Topic::External, Cause::Sasl, "external"),
        (Topic::Bidi, Cause::Restart, "bidi"),
    ] {
        let mut world = met(&[topic]);
        world.want(PAIR, &["1"]);
        world.discovered(1, &["192.0.2.1:5269"]);
        world.connected(1, Some(7));
        let again = "connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit";
        assert_eq!(world.failed(7, cause), [again]);
        assert_eq!(world.knows(topic), Some(Outcome::Refused), "for now");
        // The second time it is no accident.
        world.connected(1, Some(8));
        assert_eq!(
            world.failed(8, cause),
            [format!("{again} without {without}")]
        );
        world.connected(1, Some(9));
        world.granted(9, Direction::Outbound, PAIR);
        assert_eq!(world.knows(topic), Some(Outcome::HangsUp));
    }
}

#[test]
fn a_server_that_is_not_the_one_that_we_want_is_not_asked_once_more() {
    //= STREAM-60
    let mut world = met(&SAID_ALL);
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, Some(7));
    let other = StreamError::policy(StreamCondition::NotAuthorized, "another").at(Cause::Identity);
    let said = world.event(7, Event::Failed(other));
    assert!(
        !said.iter().any(|command| command.starts_with("connect")),
        "{said:?}"
    );
}

#[test]
fn a_stanza_that_overtakes_its_stream_header_costs_one_connection() {
    //= BIDI-77
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, Some(7));
    assert_eq!(
        world.failed(7, Cause::Restart),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit without bidi"]
    );
    world.connected(1, Some(8));
    assert_eq!(
        world.granted(8, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 8: 1"]
    );
}

#[test]
fn what_was_learned_can_be_ignored() {
    let mut world = World::with(PeerPolicy {
        learned: UseLearned::Ignore,
        ..PeerPolicy::default()
    });
    for topic in [Topic::Bidi, Topic::External] {
        let peer = domain("capulet.lit");
        world
            .learned
            .note(&peer, topic, Outcome::HangsUp, "", world.now);
    }
    world.want(PAIR, &["1"]);
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269"]),
        ["connect 192.0.2.1:5269 for 1 to carry montague.lit~capulet.lit"]
    );
}

#[test]
fn two_early_deaths_in_a_row_make_bidi_suspect() {
    //= BIDI-69
    let mut world = World::new();
    for stream in [3, 4] {
        world.accept_bidi(stream, PAIR);
        assert_eq!(world.knows(Topic::Bidi), Some(Outcome::Works));
        world.failed(stream, Cause::Established);
        world.end(stream, &[]);
    }
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::HangsUp));
    // A long life between them is another story.
    let mut world = World::new();
    for (stream, life) in [(3, 1), (4, 60), (5, 1)] {
        world.accept_bidi(stream, PAIR);
        world.now += Duration::from_secs(life);
        world.failed(stream, Cause::Established);
        world.end(stream, &[]);
    }
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::Works));
}

#[test]
fn a_connection_that_breaks_where_both_sides_count_says_nothing_of_bidi() {
    //= BIDI-69
    let mut world = World::new();
    for stream in [3, 4, 5] {
        world.accept_bidi(stream, PAIR);
        world.managed(stream, PAIR, "name");
        world.failed(stream, Cause::Established);
        world.end(stream, &[]);
    }
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::Works));
    // What it says itself does.
    for stream in [6, 7] {
        world.accept_bidi(stream, PAIR);
        world.managed(stream, PAIR, "name");
        let mut dies = StreamError::peer(StreamCondition::UnsupportedStanzaType, "it dies")
            .at(Cause::Established);
        dies.words = TheirWords::Said;
        world.event(stream, Event::Failed(dies));
        world.end(stream, &[]);
    }
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::HangsUp));
}

#[test]
fn who_only_claims_a_domain_teaches_nothing_about_it() {
    let mut world = World::new();
    for stream in [3, 4, 5] {
        world.accept(stream, "capulet.lit");
        world.event(stream, Event::Bidirectional);
        world.event(stream, Event::OldBidiNamespace);
        world.event(stream, Event::Multiplexes);
        world.failed(stream, Cause::Established);
        world.end(stream, &[]);
    }
    assert!(world.learned.export(world.now).is_empty());
}

#[test]
fn a_peer_that_asks_for_further_pairs_is_asked_for_some() {
    //= BIDI-76
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Bidirectional);
    world.granted(7, Direction::Outbound, PAIR);
    world.key_received(7, FRANCE, "M2");
    assert_eq!(world.knows(Topic::Requests), Some(Outcome::Works));
    assert_eq!(
        world.want(CONFERENCE, &["2"]),
        ["request conference.montague.lit~capulet.lit on 7"]
    );
}

#[test]
fn a_peer_that_died_of_a_further_pair_is_not_asked_on_another_stream_either() {
    //= BIDI-76
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    world.want(CONFERENCE, &["1"]);
    world.failed(3, Cause::Established);
    assert_eq!(world.end(3, &[]), ["discover capulet.lit for 1"]);
    assert_eq!(world.knows(Topic::Requests), Some(Outcome::HangsUp));
    world.reach(1, 4, "capulet.lit");
    world.event(4, Event::Multiplexes);
    world.granted(4, Direction::Outbound, CONFERENCE);
    assert_eq!(world.want(PAIR, &["2"]), ["discover capulet.lit for 2"]);
}

#[test]
fn a_refusal_in_good_order_does_not_count_against_the_peer() {
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    world.want(CONFERENCE, &["1"]);
    let pair = world.pair(CONFERENCE);
    let answer = Answer::Error(StanzaCondition::ItemNotFound);
    world.event(3, Event::Refused { pair, answer });
    assert_ne!(world.knows(Topic::Requests), Some(Outcome::HangsUp));
}

#[test]
fn a_further_domain_of_the_peer_is_asked_for_where_its_certificate_names_it() {
    //= DB-43
    let names = |names: &[&str]| -> Vec<CertificateName> {
        names
            .iter()
            .map(|name| CertificateName::Dns((*name).into()))
            .collect()
    };
    for (certificate, multiplexes, asked) in [
        (names(&["capulet.lit", "rooms.capulet.lit"]), true, true),
        (names(&["capulet.lit", "*.CAPULET.lit"]), true, true),
        (names(&["capulet.lit"]), true, false),
        (names(&["capulet.lit", "rooms.capulet.lit"]), false, false),
    ] {
        let mut world = World::new();
        world.want(PAIR, &["1"]);
        world.discovered(1, &["192.0.2.1:5269"]);
        world.connected(1, Some(7));
        world.event(
            7,
            Event::Identified(Peer {
                local: domain("montague.lit"),
                remote: Some(domain("capulet.lit")),
                certificate: Ok(Identity::Certificate),
                public_key: None,
                names: certificate,
            }),
        );
        if multiplexes {
            world.event(7, Event::Multiplexes);
        }
        world.granted(7, Direction::Outbound, PAIR);
        let expected = match asked {
            true => "request montague.lit~rooms.capulet.lit on 7",
            false => "discover rooms.capulet.lit for 2",
        };
        assert_eq!(world.want(FRANCE, &["2"]), [expected]);
    }
}

#[test]
fn the_last_failure_is_remembered_with_its_step_until_the_peer_is_reached() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, None);
    let known = world.learned.export(world.now);
    let failure = known[0].failure.clone().unwrap();
    assert_eq!(
        (failure.phase, failure.cause.as_str()),
        (Phase::Connect, "refused")
    );
    assert!(failure.next.is_some_and(|at| at > world.now) && failure.lasts());
    world.accept_bidi(3, PAIR);
    let known = world.learned.export(world.now);
    assert!(!known[0].failure.clone().unwrap().lasts());
}

impl World {
    /// The step and the cause of capulet.lit's last failure.
    fn failure(&self) -> Option<(Phase, String)> {
        let mut known = self.learned.export(self.now);
        let failure = known.pop()?.failure?;
        Some((failure.phase, failure.cause))
    }

    fn proved(&self, strength: Strength) {
        let peer = domain("capulet.lit");
        self.learned.note_proven(&peer, strength, self.now);
    }
}

fn weaker() -> Unproven {
    Unproven::Weaker {
        before: Strength::Dane,
        offered: Identity::Certificate,
        why: None,
    }
}

#[test]
fn a_peer_that_connects_with_less_than_it_proved_is_shown_with_the_reason() {
    //= TLS-34
    // Its own server has less, and dialback would be believed for no more than that server.
    let mut world = World::new();
    world.proved(Strength::Certificate);
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "id");
    world.reach(1, 9, "capulet.lit");
    assert_eq!(world.failure(), None);
    world.failed(9, Cause::Identity);
    let cause = "it connected to us and could not be verified: it broke";
    assert_eq!(world.failure(), Some((Phase::Identity, cause.to_owned())));
    let before = world.learned.revision();
    world.key_received(3, PAIR, "id");
    world.reach(2, 10, "capulet.lit");
    world.failed(10, Cause::Identity);
    assert_eq!(world.learned.revision(), before, "no news, and not stored");
    world.granted(3, Direction::Inbound, PAIR);
    let known = world.learned.export(world.now);
    assert!(!known[0].failure.clone().unwrap().lasts());

    // It has a certificate, and had one that DNSSEC vouched for.
    let mut world = World::new();
    world.proved(Strength::Dane);
    let cause = format!("it connected to us: {}", weaker());
    world.accept_as(3, "capulet.lit", Err(weaker()));
    assert_eq!(world.failure(), Some((Phase::Identity, cause)));
}

#[test]
fn strangers_do_not_have_failures_shown_of_whomever_they_claim_to_be() {
    // Nothing that this name proved before is at stake.
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    world.key_received(3, PAIR, "id");
    world.reach(1, 9, "capulet.lit");
    world.failed(9, Cause::Identity);
    assert_eq!(world.failure(), None);
    // Nothing that says who it is was shown.
    world.proved(Strength::Certificate);
    world.accept(4, "capulet.lit");
    assert_eq!(world.failure(), None);
    // Its server was not to be had, and proves nothing about it.
    world.key_received(4, PAIR, "id");
    world.discovered(2, &["192.0.2.1:5269"]);
    world.connected(2, None);
    assert_eq!(world.failure(), None);
}

#[test]
fn a_failure_of_a_peer_that_connects_says_nothing_about_when_we_try_again() {
    let mut world = World::new();
    world.proved(Strength::Certificate);
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, None);
    let next = |world: &World| {
        let known = world.learned.export(world.now);
        known[0].failure.clone().unwrap().next
    };
    let before = next(&world);
    assert!(before.is_some());
    world.accept_as(3, "capulet.lit", Err(weaker()));
    assert_eq!(world.failure().unwrap().0, Phase::Identity);
    assert_eq!(next(&world), before);
}

#[test]
fn a_request_that_was_answered_is_no_reason_for_the_end() {
    //= BIDI-76
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.event(3, Event::Multiplexes);
    world.want(CONFERENCE, &["1"]);
    world.granted(3, Direction::Outbound, CONFERENCE);
    world.write_all(CONFERENCE);
    world.now += Duration::from_secs(3600);
    world.failed(3, Cause::Established);
    world.end(3, &[CONFERENCE]);
    assert_eq!(world.knows(Topic::Requests), Some(Outcome::Works));
}

#[test]
fn what_was_left_out_is_tried_after_all_before_the_peer_is_called_unreachable() {
    //= SASL-20
    //= BIDI-69
    let mut world = World::new();
    let peer = domain("capulet.lit");
    for topic in [Topic::External, Topic::Bidi] {
        world
            .learned
            .note(&peer, topic, Outcome::HangsUp, "", world.now);
    }
    world.want(PAIR, &["1"]);
    let connect = |how: &str| format!("connect 192.0.2.1:5269 for 1 to carry {PAIR}{how}");
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269"]),
        [connect(" without external without bidi")]
    );
    world.connected(1, Some(7));
    assert_eq!(world.failed(7, Cause::Stream), [connect(" without bidi")]);
    world.connected(1, Some(8));
    assert_eq!(world.failed(8, Cause::Stream), [connect("")]);
    world.connected(1, Some(9));
    assert_eq!(
        world.failed(9, Cause::Stream),
        [format!("return {PAIR} remote-server-timeout: 1")]
    );
}

#[test]
fn an_early_death_counts_for_a_day_and_only_with_bidi() {
    //= BIDI-69
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.failed(3, Cause::Established);
    world.end(3, &[]);
    world.now += Duration::from_secs(24 * 3600);
    world.accept_bidi(4, PAIR);
    world.failed(4, Cause::Established);
    world.end(4, &[]);
    world.accept(5, "capulet.lit");
    world.granted(5, Direction::Inbound, PAIR);
    world.failed(5, Cause::Established);
    world.end(5, &[]);
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::Works));
}

#[test]
fn a_peer_that_requests_bidi_itself_may_still_die_of_our_request() {
    //= BIDI-69
    let mut world = World::new();
    let peer = domain("capulet.lit");
    world
        .learned
        .note(&peer, Topic::Bidi, Outcome::HangsUp, "", world.now);
    world.accept_bidi(3, PAIR);
    assert_eq!(world.knows(Topic::Bidi), Some(Outcome::HangsUp));
}

#[test]
fn a_refusal_is_of_the_pair_and_no_reason_to_rest_for_the_others() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    let pair = world.pair(PAIR);
    let answer = Answer::Invalid;
    world.event(7, Event::Refused { pair, answer });
    assert_eq!(world.want(PAIR, &["2"]), [""; 0], "this one rests");
    assert_eq!(
        world.want(CONFERENCE, &["3"]),
        ["discover capulet.lit for 2"]
    );
}

#[test]
fn a_sign_of_life_wakes_who_rests() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, None);
    assert_eq!(world.want(PAIR, &["2"]), [""; 0]);
    assert_eq!(world.route(PAIR), "resting");
    world.accept(3, "capulet.lit");
    assert_eq!(
        world.granted(3, Direction::Inbound, PAIR),
        ["discover capulet.lit for 2"]
    );
}

#[test]
fn a_peer_that_refuses_the_other_way_in_good_order_is_asked_the_first_way_after_all() {
    //= SASL-20
    let mut world = World::new();
    let peer = domain("capulet.lit");
    world
        .learned
        .note(&peer, Topic::External, Outcome::HangsUp, "", world.now);
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    let pair = world.pair(PAIR);
    let answer = Answer::Error(StanzaCondition::NotAuthorized);
    assert_eq!(
        world.event(7, Event::Refused { pair, answer }),
        [
            "close 7 undefined-condition".to_owned(),
            format!("connect 192.0.2.1:5269 for 1 to carry {PAIR}")
        ]
    );
}
