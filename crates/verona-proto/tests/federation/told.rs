//! What a peer says when it ends a stream, and what becomes of its pairs (ERR-08).

use std::time::Duration;

use verona_proto::addr::Direction;
use verona_proto::federation::Signal;
use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stream::{Cause, Event, StreamError, TheirWords};

use crate::world::{CONFERENCE, PAIR, World};

fn says(condition: StreamCondition, cause: Cause) -> Event {
    Event::Failed(StreamError {
        words: TheirWords::Said,
        ..StreamError::peer(condition, format!("it says {}", condition.name())).at(cause)
    })
}

fn negotiating(condition: StreamCondition) -> World {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 1, "capulet.lit");
    let said = world.event(1, says(condition, Cause::Stream));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("return "), "{said:?}");
    world.end(1, &[]);
    world
}

#[test]
fn who_does_not_host_the_domain_is_not_asked_again_for_minutes() {
    //= ERR-08
    for (condition, minutes, returned) in [
        (StreamCondition::HostUnknown, 5, "remote-server-timeout"),
        (StreamCondition::HostGone, 5, "remote-server-timeout"),
        (
            StreamCondition::PolicyViolation,
            10,
            "remote-server-timeout",
        ),
    ] {
        let mut world = negotiating(condition);
        // What is sent meanwhile comes back at once, with the peer's words; other domains are not concerned.
        world.now += Duration::from_secs(minutes * 60 - 1);
        assert_eq!(
            world.want(PAIR, &["2"]),
            [format!("return {PAIR} {returned}: 2")],
            "{condition}"
        );
        assert_eq!(
            world.want("montague.lit~other.lit", &["3"]),
            ["discover other.lit for 2"]
        );
        world.now += Duration::from_secs(1);
        assert_eq!(world.want(PAIR, &["4"]), ["discover capulet.lit for 3"]);
    }
}

#[test]
fn a_domain_that_is_unknown_is_so_to_all_of_ours_and_a_policy_is_about_one() {
    //= ERR-08
    let mut world = negotiating(StreamCondition::HostUnknown);
    assert_eq!(
        world.want(CONFERENCE, &["2"]),
        [format!("return {CONFERENCE} remote-server-timeout: 2")]
    );
    let mut world = negotiating(StreamCondition::PolicyViolation);
    assert_eq!(
        world.want(CONFERENCE, &["2"]),
        ["discover capulet.lit for 2"]
    );
}

#[test]
fn whoever_connects_to_us_is_left_alone_no_longer() {
    //= ERR-08
    let mut world = negotiating(StreamCondition::HostUnknown);
    let granted = world.accept_bidi(5, PAIR);
    assert_eq!(granted, [""; 0]);
    assert_eq!(world.want(PAIR, &["2"]), [format!("carry {PAIR} on 5: 2")]);
}

#[test]
fn our_own_word_for_an_end_says_nothing_about_the_peer() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 1, "capulet.lit");
    let error = StreamError::peer(StreamCondition::HostUnknown, "we say so");
    world.event(1, Event::Failed(error));
    world.now += Duration::from_secs(10);
    assert_eq!(world.want(PAIR, &["2"]), ["discover capulet.lit for 2"]);
}

/// The pair is served, has another stanza waiting, and the peer ends the stream.
fn served(condition: StreamCondition) -> (World, Vec<String>) {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 1, "capulet.lit");
    world.granted(1, Direction::Outbound, PAIR);
    world.event(1, says(condition, Cause::Established));
    let said = world.end(1, &[PAIR]);
    (world, said)
}

#[test]
fn a_stream_that_served_is_made_again_when_the_peers_words_allow_it() {
    //= ERR-08
    for condition in [
        StreamCondition::Reset,
        StreamCondition::SeeOtherHost,
        StreamCondition::NotAuthorized,
        StreamCondition::InvalidFrom,
        StreamCondition::UndefinedCondition,
    ] {
        let (_, said) = served(condition);
        assert_eq!(said, ["discover capulet.lit for 2"], "{condition}");
    }
    // By chance within a minute, here the longest; and never so late that what waits is returned untried.
    for condition in [StreamCondition::SystemShutdown, StreamCondition::Conflict] {
        let (mut world, said) = served(condition);
        assert_eq!(said, [""; 0], "{condition}");
        assert_eq!(world.pass(29), [""; 0], "{condition}");
        assert_eq!(world.pass(2), ["discover capulet.lit for 2"], "{condition}");
        // Its own connection ends the wait.
        let (mut world, _) = served(condition);
        assert_eq!(
            world.accept_bidi(5, PAIR),
            [format!("carry {PAIR} on 5: 1")],
            "{condition}"
        );
    }
    // For one stanza nobody is silenced for minutes.
    for condition in [
        StreamCondition::PolicyViolation,
        StreamCondition::HostUnknown,
        StreamCondition::ResourceConstraint,
    ] {
        let (mut world, said) = served(condition);
        assert_eq!(said, [""; 0], "{condition}");
        assert_eq!(world.pass(2), ["discover capulet.lit for 2"], "{condition}");
    }
}

#[test]
fn a_conflict_leaves_the_other_stream_to_be_used() {
    //= ERR-08
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 1, "capulet.lit");
    world.granted(1, Direction::Outbound, PAIR);
    world.accept_bidi(5, PAIR);
    world.event(1, says(StreamCondition::Conflict, Cause::Established));
    assert_eq!(world.end(1, &[PAIR]), [format!("carry {PAIR} on 5: 1")]);
    assert_eq!(world.tell(Signal::Tick), [""; 0]);
}
