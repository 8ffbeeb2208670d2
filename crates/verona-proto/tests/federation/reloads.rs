//! Domains, peers and policy change while queues wait and streams carry.

use std::sync::Arc;

use verona_proto::addr::{Direction, Hosts};
use verona_proto::carriage::Left;
use verona_proto::federation::{Reload, Signal, StreamKey};
use verona_proto::policy::{DomainPattern, Federate, PeerRule, Policy};
use verona_proto::stream::Event;

use crate::world::{CONFERENCE, PAIR, World, domain};

/// The configuration with these domains of ours and these peers denied.
fn reload(ours: &[&str], denied: &[&str], moved: &[&str]) -> Signal {
    let exact = |name: &&str| DomainPattern::Exact(domain(name));
    let deny = |name: &&str| PeerRule {
        federate: Some(Federate::Deny),
        ..PeerRule::new(exact(name))
    };
    Signal::Reload(Reload {
        hosts: Arc::new(Hosts::new(ours.iter().map(|name| domain(name)))),
        policy: Arc::new(Policy {
            peers: denied.iter().map(deny).collect(),
            ..Policy::default()
        }),
        moved: moved.iter().map(exact).collect(),
    })
}

const BOTH: &[&str] = &["montague.lit", "conference.montague.lit"];
const ONE: &[&str] = &["montague.lit"];

#[test]
fn what_waits_for_a_domain_that_departs_is_returned_and_the_rest_waits_on() {
    //= BIDI-79
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.want(CONFERENCE, &["2", "3"]);
    assert_eq!(
        world.tell(reload(ONE, &[], &[])),
        ["return conference.montague.lit~capulet.lit service-unavailable: 2 3"]
    );
    assert_eq!(world.route(PAIR), "seeking");
    // Its attempt brings nobody anything any more, and takes no place.
    assert_eq!(world.discovered(2, &["192.0.2.1:5269"]), [""; 0]);
    world.reach(1, 7, "capulet.lit");
    assert_eq!(
        world.granted(7, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 7: 1"]
    );
    // An answer that has no stream finds nobody, and nobody is dialled for it.
    assert_eq!(
        world.want(CONFERENCE, &["4"]),
        ["return conference.montague.lit~capulet.lit service-unavailable: 4"]
    );
}

#[test]
fn answers_of_a_domain_that_departed_take_the_stream_that_it_had() {
    //= BIDI-79
    let mut world = World::new();
    world.accept_bidi(3, PAIR);
    world.granted(3, Direction::Inbound, CONFERENCE);
    world.granted(3, Direction::Outbound, CONFERENCE);
    assert_eq!(world.tell(reload(ONE, &[], &[])), [""; 0]);
    let pair = world.pair(CONFERENCE);
    for direction in [Direction::Inbound, Direction::Outbound] {
        let revoked = Event::Revoked {
            pair: pair.clone(),
            direction,
        };
        assert_eq!(world.event(3, revoked), [""; 0]);
    }
    assert_eq!(
        world.want(CONFERENCE, &["1"]),
        ["carry conference.montague.lit~capulet.lit on 3: 1"]
    );
    // A minute later the stream gives the queue back, and what comes after that finds nobody.
    world.event(3, Event::Departed { pair: pair.clone() });
    let left = Left {
        drain: world.drains.remove(CONFERENCE).unwrap(),
        pair,
        uncertain: 0,
    };
    assert_eq!(
        world.tell(Signal::Declined(StreamKey(3), left)),
        ["return conference.montague.lit~capulet.lit service-unavailable: 1"]
    );
    assert_eq!(
        world.want(CONFERENCE, &["2"]),
        ["return conference.montague.lit~capulet.lit service-unavailable: 2"]
    );
    assert_eq!(
        world.want(PAIR, &["3"]),
        ["carry montague.lit~capulet.lit on 3: 3"]
    );
}

#[test]
fn a_domain_that_comes_back_is_served_as_before() {
    let mut world = World::new();
    world.accept_bidi(3, CONFERENCE);
    world.tell(reload(ONE, &[], &[]));
    let revoked = Event::Revoked {
        pair: world.pair(CONFERENCE),
        direction: Direction::Outbound,
    };
    world.event(3, revoked);
    world.tell(reload(BOTH, &[], &[]));
    world.granted(3, Direction::Outbound, CONFERENCE);
    assert_eq!(
        world.want(CONFERENCE, &["1"]),
        ["carry conference.montague.lit~capulet.lit on 3: 1"]
    );
}

#[test]
fn what_waits_for_a_peer_that_is_denied_is_returned() {
    //= BIDI-71
    //= ROUTE-26
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    world.want("montague.lit~laurence.lit", &["2"]);
    assert_eq!(
        world.tell(reload(BOTH, &["capulet.lit"], &[])),
        ["return montague.lit~capulet.lit not-allowed: 1"]
    );
    assert_eq!(world.route("montague.lit~laurence.lit"), "seeking");
    assert_eq!(
        world.want(PAIR, &["3"]),
        ["return montague.lit~capulet.lit not-allowed: 3"]
    );
}

#[test]
fn a_peer_whose_address_is_mended_is_tried_at_once() {
    let mut world = World::new();
    for (pair, attempt) in [(PAIR, 1), ("montague.lit~laurence.lit", 2)] {
        world.want(pair, &["1"]);
        world.discovered(attempt, &["192.0.2.1:5269"]);
        world.connected(attempt, None);
        world.want(pair, &["2"]);
        assert_eq!(world.route(pair), "resting");
    }
    assert_eq!(
        world.tell(reload(BOTH, &[], &["capulet.lit"])),
        ["discover capulet.lit for 3"]
    );
    assert_eq!(world.route(PAIR), "seeking");
    assert_eq!(world.route("montague.lit~laurence.lit"), "resting");
}

#[test]
fn a_peer_that_is_ours_from_now_on_is_not_dialled_any_more() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    assert_eq!(
        world.tell(reload(
            &["montague.lit", "conference.montague.lit", "capulet.lit"],
            &[],
            &[]
        )),
        ["return montague.lit~capulet.lit internal-server-error: 1"]
    );
}
