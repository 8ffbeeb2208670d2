//! Two servers that dial each other at once: a moment's wait may save a connection, and of two one goes in the end.

use std::time::Duration;

use verona_proto::addr::Direction;
use verona_proto::learned::{Outcome, Topic};
use verona_proto::limits::Limit;
use verona_proto::policy::{BidiPolicy, PeerPolicy};
use verona_proto::stream::{Cause, Event};

use crate::world::{CONFERENCE, PAIR, World, domain, limits};

/// A world in which capulet.lit is known to ask for bidi.
fn world() -> World {
    knowing(World::new())
}

fn knowing(world: World) -> World {
    let peer = domain("capulet.lit");
    world
        .learned
        .note(&peer, Topic::Bidi, Outcome::Works, "", world.now);
    world
}

#[test]
fn a_stanza_waits_a_moment_for_the_stream_that_the_peer_is_opening() {
    //= BIDI-56
    let mut world = world();
    world.accept(3, "capulet.lit");
    assert_eq!(world.want(PAIR, &["1"]), [""; 0]);
    assert_eq!(world.route(PAIR), "expected");
    world.event(3, Event::Bidirectional);
    assert_eq!(world.granted(3, Direction::Inbound, PAIR), [""; 0]);
    assert_eq!(
        world.granted(3, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 3: 1"]
    );
}

#[test]
fn it_waits_no_longer_than_a_moment() {
    //= BIDI-56
    let mut world = world();
    world.accept(3, "capulet.lit");
    world.want(PAIR, &["1"]);
    let begun = world.now;
    assert_eq!(world.wait(), ["discover capulet.lit for 1"]);
    assert_eq!(world.now - begun, Duration::from_secs(2));
    assert_eq!(world.reached(Limit::CrossingSeconds), 1);
    // And not for one stream after the other.
    let mut world = knowing(World::with(limits(|limits| limits.crossing_seconds = 2)));
    world.accept(3, "capulet.lit");
    world.want(PAIR, &["1"]);
    world.now += Duration::from_secs(1);
    world.accept(4, "capulet.lit");
    world.failed(3, Cause::Stream);
    assert_eq!(world.route(PAIR), "expected");
    let begun = world.now;
    assert_eq!(world.wait(), ["discover capulet.lit for 1"]);
    assert_eq!(world.now - begun, Duration::from_secs(1));
}

#[test]
fn it_waits_for_nothing_that_cannot_help() {
    //= BIDI-56
    let seeks = ["discover capulet.lit for 1"];
    // Nothing says that the peer will ask for bidi.
    let mut world = World::new();
    world.accept(3, "capulet.lit");
    assert_eq!(world.want(PAIR, &["1"]), seeks);
    // It is opening a stream for another pair.
    let mut world = self::world();
    world.accept(3, "capulet.lit");
    assert_eq!(world.want(CONFERENCE, &["1"]), seeks);
    // Bidi is off.
    let mut world = knowing(World::with(PeerPolicy {
        bidi: BidiPolicy::Off,
        ..PeerPolicy::default()
    }));
    world.accept(3, "capulet.lit");
    assert_eq!(world.want(PAIR, &["1"]), seeks);
    // The stream turns out to be for one direction only, or ends.
    let mut world = self::world();
    world.accept(3, "capulet.lit");
    world.want(PAIR, &["1"]);
    assert_eq!(world.granted(3, Direction::Inbound, PAIR), seeks);
    let mut world = self::world();
    world.accept(3, "capulet.lit");
    world.want(PAIR, &["1"]);
    assert_eq!(world.failed(3, Cause::Sasl), seeks);
    let mut world = self::world();
    world.accept(3, "capulet.lit");
    world.want(PAIR, &["1"]);
    assert_eq!(world.end(3, &[]), seeks);
}

#[test]
fn a_key_that_the_stream_waits_for_is_checked_at_once() {
    //= BIDI-56
    let mut world = world();
    world.accept(3, "capulet.lit");
    world.event(3, Event::Bidirectional);
    world.want(PAIR, &["1"]);
    assert_eq!(
        world.key_received(3, PAIR, "M2"),
        ["discover capulet.lit for 1"]
    );
}

#[test]
fn of_two_crossed_streams_that_of_the_smaller_domain_stays() {
    //= BIDI-53
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Bidirectional);
    world.granted(7, Direction::Outbound, PAIR);
    // capulet.lit is smaller than montague.lit: ours gives way, and keeps what it carries until it is idle.
    assert_eq!(world.accept_bidi(3, PAIR), ["converge 7"]);
    assert_eq!(world.route(PAIR), "carried");
    world.write_all(PAIR);
    world.event(7, Event::Closed { cause: Cause::Idle });
    world.end(7, &[PAIR]);
    assert_eq!(
        world.want(PAIR, &["2"]),
        ["carry montague.lit~capulet.lit on 3: 2"]
    );
}

#[test]
fn a_stream_gives_way_only_to_one_that_does_the_same() {
    //= BIDI-53
    // The peer's domain is the greater one: it is for the peer to give way.
    let pair = "montague.lit~verona.lit";
    let mut world = World::new();
    world.want(pair, &["1"]);
    world.reach(1, 7, "verona.lit");
    world.event(7, Event::Bidirectional);
    world.granted(7, Direction::Outbound, pair);
    assert_eq!(world.accept_bidi(3, pair), [""; 0]);
    // The peer's stream does not carry all that ours does.
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.event(7, Event::Bidirectional);
    world.granted(7, Direction::Outbound, PAIR);
    world.granted(7, Direction::Outbound, CONFERENCE);
    assert_eq!(world.accept_bidi(3, PAIR), [""; 0]);
    // Ours is not bidirectional, so the peer needs its own.
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.reach(1, 7, "capulet.lit");
    world.granted(7, Direction::Outbound, PAIR);
    assert_eq!(world.accept_bidi(3, PAIR), [""; 0]);
}
