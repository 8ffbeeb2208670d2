//! A server that we dialled sends us elsewhere, in good faith or not.

use verona_proto::addr::Direction;
use verona_proto::dane::Tlsa;
use verona_proto::discovery::{DiscoveryError, Target};
use verona_proto::federation::{AttemptKey, Signal, StreamKey};
use verona_proto::grounds::Assurance;
use verona_proto::stanza::condition::StreamCondition;
use verona_proto::stream::{Cause, Event, Fault, StreamError};

use crate::world::{PAIR, World};

const RETURNED: &str = "return montague.lit~capulet.lit remote-server-timeout: 1";

fn see(host: &str) -> StreamError {
    let text = format!("the peer ended the stream with see-other-host {host}");
    let mut error = StreamError::peer(StreamCondition::SeeOtherHost, text);
    error.other_host = Some(host.to_owned());
    error
}

impl World {
    /// An attempt that negotiates with the first of these servers, on stream 1.
    fn negotiating(servers: &[&str]) -> Self {
        let mut world = Self::new();
        world.want(PAIR, &["1"]);
        world.discovered(1, servers);
        world.connected(1, Some(1));
        world
    }

    fn sent(&mut self, stream: u64, host: &str) -> Vec<String> {
        self.event(stream, Event::Failed(see(host)))
    }

    /// What the attempt is dialling, and how much each is believed.
    fn dialling(&self) -> Vec<(String, Assurance)> {
        self.dialled[&1]
            .iter()
            .map(|target| (target.to_string(), target.assurance))
            .collect()
    }
}

fn carry(addresses: &str) -> Vec<String> {
    vec![format!(
        "connect {addresses} for 1 to carry montague.lit~capulet.lit"
    )]
}

#[test]
fn an_address_is_dialled_for_the_same_domain_and_believed_by_its_certificate_alone() {
    //= STREAM-51
    let mut world = World::negotiating(&["192.0.2.1:5269", "192.0.2.2:5269"]);
    assert_eq!(
        world.sent(1, "[2001:db8::1]:9222"),
        carry("[2001:db8::1]:9222")
    );
    let expected = "[2001:db8::1]:9222 ([2001:db8::1])".to_owned();
    assert_eq!(world.dialling(), [(expected, Assurance::Redirected)]);
    assert_eq!(
        world.reports.last().unwrap(),
        "192.0.2.1:5269 (server.invalid) sends us to [2001:db8::1]:9222"
    );
    assert_eq!(world.connected(1, Some(2)), [""; 0]);
    assert_eq!(
        world.granted(2, Direction::Outbound, PAIR),
        ["carry montague.lit~capulet.lit on 2: 1"]
    );
}

#[test]
fn without_a_port_it_is_the_port_of_servers() {
    //= STREAM-51
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    assert_eq!(world.sent(1, "192.0.2.77"), carry("192.0.2.77:5269"));
}

#[test]
fn a_name_with_a_port_is_looked_up_and_one_without_is_discovered() {
    //= STREAM-51
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    assert_eq!(
        world.sent(1, "xmpp.capulet.lit:5299"),
        ["resolve xmpp.capulet.lit:5299 for 1"]
    );
    let mut signed = Target::new(([192, 0, 2, 9], 5299).into(), false, "xmpp.capulet.lit");
    signed.assurance = Assurance::Dnssec;
    signed.tlsa = Tlsa::Secure(Vec::new());
    assert_eq!(
        world.tell(Signal::Discovered(AttemptKey(1), Ok(vec![signed]))),
        carry("192.0.2.9:5299")
    );
    // Whatever DNS proves about that host, nobody has proven that it is the domain's.
    let dialled = &world.dialled[&1][0];
    assert_eq!(dialled.assurance, Assurance::Redirected);
    assert_eq!(dialled.tlsa, Tlsa::None);

    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    assert_eq!(
        world.sent(1, "hosting.example"),
        ["resolve hosting.example with direct TLS for 1"]
    );
}

#[test]
fn the_same_host_at_another_port_is_where_we_were() {
    //= STREAM-51
    // RFC 6120 §4.9.3.19: the source domain, or the name that DNS derived from it.
    for host in ["capulet.lit:5299", "server.invalid:5299"] {
        let mut world = World::negotiating(&["192.0.2.1:5269"]);
        assert_eq!(world.sent(1, host), carry("192.0.2.1:5299"));
        assert_eq!(world.dialling()[0].1, Assurance::Redirected);
    }
}

#[test]
fn direct_tls_stays_direct_tls() {
    let mut world = World::new();
    world.want(PAIR, &["1"]);
    let target = Target::new(([192, 0, 2, 1], 5270).into(), true, "xmpp.capulet.lit");
    world.tell(Signal::Discovered(AttemptKey(1), Ok(vec![target])));
    world.connected(1, Some(1));
    world.sent(1, "192.0.2.9:5271");
    assert!(world.dialled[&1][0].direct_tls);
}

#[test]
fn the_sixth_redirect_is_not_followed() {
    //= STREAM-51
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    for step in 1..=5_u64 {
        let place = format!("192.0.2.{}:5269", 10 + step);
        assert_eq!(world.sent(step, &place), carry(&place));
        world.connected(1, Some(step + 1));
    }
    assert_eq!(world.sent(6, "192.0.2.16:5269"), [RETURNED]);
    assert_eq!(
        world.reports.last().unwrap(),
        "capulet.lit unreachable: could not reach capulet.lit: the peer ended the stream with see-other-host \
         192.0.2.16:5269, and we had been sent on 5 times"
    );
}

#[test]
fn a_circle_is_left_and_the_other_servers_are_tried() {
    //= STREAM-51
    let mut world = World::negotiating(&["192.0.2.1:5269", "192.0.2.2:5269"]);
    assert_eq!(world.sent(1, "192.0.2.9:5269"), carry("192.0.2.9:5269"));
    world.connected(1, Some(2));
    // Back to the first, which sent us here: the second server of the domain has not been asked.
    assert_eq!(world.sent(2, "192.0.2.1:5269"), carry("192.0.2.2:5269"));
    assert_ne!(world.dialling()[0].1, Assurance::Redirected);
    world.connected(1, Some(3));
    // And to itself.
    assert_eq!(world.sent(3, "capulet.lit:5269"), [RETURNED]);
    assert_eq!(
        world.reports.last().unwrap(),
        "capulet.lit unreachable: could not reach capulet.lit: its servers send us in a circle: we had come from \
         capulet.lit:5269"
    );
}

#[test]
fn of_several_addresses_those_that_sent_us_are_left_out() {
    //= STREAM-51
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    world.sent(1, "hosting.example");
    assert_eq!(
        world.discovered(1, &["192.0.2.1:5269", "192.0.2.8:5269"]),
        carry("192.0.2.8:5269")
    );
}

#[test]
fn a_place_that_leads_nowhere_leaves_the_other_servers() {
    //= STREAM-51
    for error in [
        DiscoveryError::not_found("DNS has no address for it"),
        DiscoveryError::temporary("DNS did not answer"),
    ] {
        let mut world = World::negotiating(&["192.0.2.1:5269", "192.0.2.2:5269"]);
        world.sent(1, "nowhere.example:5269");
        assert_eq!(
            world.undiscovered(1, error.clone()),
            carry("192.0.2.2:5269")
        );
        // That it does not exist says nothing about the domain.
        let mut world = World::negotiating(&["192.0.2.1:5269"]);
        world.sent(1, "nowhere.example:5269");
        assert_eq!(world.undiscovered(1, error.clone()), [RETURNED]);
        let told = world.reports.last().unwrap();
        let expected = format!("a server of it sends us to nowhere.example:5269: {error}");
        assert!(told.ends_with(&expected), "{told}");
    }
    // Nor does it, if nobody listens there, or an impostor.
    let mut world = World::negotiating(&["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.sent(1, "192.0.2.9:5269");
    assert_eq!(world.connected(1, None), carry("192.0.2.2:5269"));
    let mut world = World::negotiating(&["192.0.2.1:5269", "192.0.2.2:5269"]);
    world.sent(1, "192.0.2.9:5269");
    world.connected(1, Some(2));
    assert_eq!(world.failed(2, Cause::Identity), carry("192.0.2.2:5269"));
}

#[test]
fn junk_is_told_to_the_operator_and_the_next_server_tried() {
    //= STREAM-51
    for (junk, why) in [
        ("", "that is no host"),
        ("a b", "that is no host"),
        ("2001:db8::1", "an IPv6 address must stand in brackets"),
        ("capulet.lit:0", "its port is no number from 1 to 65535"),
    ] {
        let mut world = World::negotiating(&["192.0.2.1:5269", "192.0.2.2:5269"]);
        assert_eq!(world.sent(1, junk), carry("192.0.2.2:5269"));
        assert_eq!(
            world.reports.last().unwrap(),
            &format!(
                "192.0.2.1:5269 (server.invalid) failed: the peer ended the stream with see-other-host {junk}: {why}"
            )
        );
    }
    // The condition alone, without a place.
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    let error = StreamError {
        other_host: None,
        ..see("")
    };
    assert_eq!(world.event(1, Event::Failed(error)), [RETURNED]);
}

#[test]
fn a_key_is_checked_where_the_authoritative_server_sends_us() {
    //= STREAM-51
    let mut world = World::new();
    world.accept(1, "capulet.lit");
    world.key_received(1, PAIR, "id1");
    world.discovered(1, &["192.0.2.1:5269"]);
    world.connected(1, Some(2));
    assert_eq!(
        world.sent(2, "192.0.2.9:5269"),
        ["connect 192.0.2.9:5269 for 1 to verify montague.lit~capulet.lit id1"]
    );
    assert_eq!(world.dialling()[0].1, Assurance::Redirected);
}

#[test]
fn only_a_peer_that_we_negotiate_with_can_send_us_elsewhere() {
    //= STREAM-51
    // A stream that serves ends like by any other error: the next stanza finds its way from the start.
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    world.granted(1, Direction::Outbound, PAIR);
    assert_eq!(world.sent(1, "192.0.2.9:5269"), [""; 0]);
    assert_eq!(world.end(1, &[PAIR]), ["discover capulet.lit for 2"]);
    // Nor who connected to us.
    let mut world = World::new();
    world.accept(1, "capulet.lit");
    assert_eq!(world.sent(1, "192.0.2.9:5269"), [""; 0]);
    // Nor our own words.
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    let error = StreamError {
        fault: Fault::Local,
        ..see("192.0.2.9:5269")
    };
    assert_eq!(world.event(1, Event::Failed(error)), [RETURNED]);
}

#[test]
fn nobody_follows_a_redirect_for_nothing() {
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    world.accept_bidi(5, PAIR);
    // The pair is served by another stream meanwhile.
    assert_eq!(world.sent(1, "192.0.2.9:5269"), [""; 0]);
    let mut world = World::negotiating(&["192.0.2.1:5269"]);
    world.tell(Signal::Shutdown);
    assert_eq!(world.sent(1, "192.0.2.9:5269"), [""; 0]);
    assert_eq!(
        world.tell(Signal::Ended(StreamKey(1), Default::default())),
        [""; 0]
    );
}
